"""Sends a backtest's orders to the local exchange, bar by bar, as the rules say a session does.

The decisions are the backtest's; what the exchange makes of them is its own. Protective orders that the backtest puts
to work by itself are sent the way a broker wants them: with the entry as a bracket, or later as an OCO pair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import botlib
from botlib import rules
from botlib.alpaca_rules import OrderRequest
from botlib.bars import Bars
from botlib.engine.state import DONE, ENTRY, R_BUYING_POWER, REJECTED, STOP_LEG, TARGET_LEG, WORKING
from botlib.sandbox.exchange import Exchange
from botlib.sandbox.orders import Order, Refusal

NS_A_DAY = 86_400_000_000_000
RENEWED_BEFORE = 10 * NS_A_DAY  # of their end after 90 days
PASSED = ("bracket-wrong-side", "stop-wrong-side", "leg-wrong-side")
TYPES = ("market", "limit", "stop")


class Mirror:
    """One backtest and one exchange on the same bars, costs and cash; ``run`` plays all bars.

    The backtest's book tells how an order ended: a split or a partial fill has changed it. ``until(t)``, the same
    backtest on the bars up to ``t``, tells how the orders decided at ``t`` were sent; without it they are taken as they
    ended.
    """

    def __init__(self, result: botlib.BacktestResult, exchange: Exchange,
                 until: Callable[[int], botlib.BacktestResult] | None = None) -> None:
        self.result, self.exchange = result, exchange
        self.orders, self.symbols = result.book.rows("orders").copy(), result.bars.symbols
        for t in sorted({int(o["decided"]) for o in self.orders}) if until is not None else ():
            sent = until(t).book.rows("orders")
            for i in np.flatnonzero(self.orders["decided"] == t):
                for name in ("quantity", "kind", "limit", "stop", "stop_loss", "take_profit"):
                    self.orders[i][name] = sent[i][name]
        self.decided: dict[int, list[int]] = {}
        self.closed: dict[int, list[int]] = {}
        for i, o in enumerate(self.orders):
            self.decided.setdefault(int(o["decided"]), []).append(i)
            if o["status"] not in (WORKING, DONE, REJECTED):
                self.closed.setdefault(int(o["closed"]), []).append(i)
        self.done: dict[int, set[int]] = {}
        for i, o in enumerate(self.orders):
            if o["purpose"] == ENTRY and o["status"] == DONE:
                self.done.setdefault(int(o["closed"]), set()).add(i)
        self.ids: dict[int, str] = {}
        self.bracket_legs: set[int] = set()
        self.cash: list[float] = []
        self.equity: list[float] = []
        self.unfit: list[tuple[int, str]] = []
        """(number, rule) of the backtest's refusals for want of buying power, as the exchange answers them."""
        self.renewed = 0

    def run(self, *, halves: bool = False) -> Mirror:
        """Play every bar; in ``halves``: its opening prints, then the rest."""
        x = self.exchange
        self.note()
        self.act(x.bar)
        while not x.done:
            if halves:
                x.open_bar()
                x.settle()
                x.close_bar()
            else:
                x.advance()
            self.note()
            self.act(x.bar)
        return self

    def note(self) -> None:
        self.cash.append(self.exchange.cash)
        self.equity.append(self.exchange.equity + sum(d.amount for d in self.exchange.account._due))

    def act(self, t: int) -> None:
        """What a session does between the end of bar ``t`` and the next print."""
        x, opened, closed = self.exchange, self.decided.get(t, []), self.closed.get(t, [])
        entries = self.done.get(t, set())
        legs = [i for i in opened if self.orders[i]["purpose"] in (STOP_LEG, TARGET_LEG)]
        pairs = self.adopt(legs, entries)
        for i in closed:  # ends first: an exit waits until its legs are gone
            if i in self.ids and x.get(self.ids[i]).open:
                x.cancel(self.ids[i])
        x.settle()
        again = [i for i, name in self.ids.items() if x.orders[name].status == "expired"
                 and self.orders[i]["kind"] == rules.MARKET and self.orders[i]["purpose"] in (STOP_LEG, TARGET_LEG)
                 and not 0 <= self.orders[i]["closed"] <= t]  # a way out that found no print is sent again
        self.renew()  # before entries: a simple exit beside an entry of the other side would be a wash trade
        for i in again:
            self.orders[i]["quantity"] = x.orders[self.ids[i]].left
        for pair in pairs + [[i] for i in again]:
            if not any(i in closed for i in pair):
                self.send_pair(pair)
        for i in [i for i in opened if i not in legs]:
            if self.orders[i]["status"] != REJECTED:
                self.send(i)
            elif self.orders[i]["reason"] == R_BUYING_POWER:
                try:
                    self.send(i)
                    self.unfit.append((i, "accepted"))
                except Refusal as refusal:
                    self.unfit.append((i, refusal.rule))

    def renew(self) -> None:
        """Protection that would end soon is cancelled and sent anew."""
        x = self.exchange
        for pair in list(x.book.pairs):
            self._renew([o for o in pair.members if o.open])
        for order in [o for o in x.book.working if o.time_in_force == "gtc" and not o.legs]:
            self._renew([order])

    def _renew(self, old: list[Order]) -> None:
        x = self.exchange
        if old[0].expires_at > x.now + RENEWED_BEFORE:
            return
        mine = {order.id: i for i, order_id in self.ids.items() for order in old if order.id == order_id}
        x.cancel(old[0].id)
        x.settle()
        fields: dict[str, Any] = {"symbol": old[0].symbol, "side": "buy" if old[0].side > 0 else "sell",
                                  "qty": old[0].left, "time_in_force": "gtc"}
        if len(old) == 2:
            fields |= {"type": "limit", "order_class": "oco", "take_profit": old[0].limit_price,
                       "stop_loss": old[1].stop_price}
        elif old[0].type == "limit":
            fields |= {"type": "limit", "limit_price": old[0].limit_price}
        elif old[0].triggered:  # a capped stop that the price has left behind is a limit order
            fields |= {"type": "limit", "limit_price": old[0].cap}
        else:
            fields |= {"type": "stop", "stop_price": old[0].stop_price}
        self.submit([mine[o.id] for o in old], OrderRequest(**fields))
        self.renewed += 1

    def adopt(self, legs: list[int], entries: set[int]) -> list[list[int]]:
        """Legs of an entry that filled in this bar are those of its bracket; the others are returned, in pairs."""
        pairs: dict[tuple[int, int], list[int]] = {}
        for i in legs:
            pairs.setdefault((int(self.orders[i]["lot"]), i - (1 if i - 1 in legs and self.orders[i - 1]["lot"] ==
                                                                 self.orders[i]["lot"] else 0)), []).append(i)
        left = []
        for pair in pairs.values():
            o = self.orders[pair[0]]
            mine = [e for e in entries if self.orders[e]["symbol"] == o["symbol"] and e in self.ids
                    and self.exchange.orders[self.ids[e]].legs and e not in self.bracket_legs]
            if mine:
                entry = mine[0]
                self.bracket_legs.add(entry)
                by_role = {leg.group_role: leg.id for leg in self.exchange.orders[self.ids[entry]].legs}
                for i in pair:
                    role = "stop_loss" if self.orders[i]["purpose"] == STOP_LEG else "take_profit"
                    self.ids[i] = by_role[role]
            else:
                left.append(pair)
        return left

    def send(self, i: int) -> None:
        o = self.orders[i]
        kind = TYPES[o["kind"]]
        fields: dict[str, Any] = {"type": kind, "time_in_force": "day"}
        if kind == "limit":
            fields["limit_price"] = float(o["limit"])
        if kind == "stop":
            fields["stop_price"] = float(o["stop"])
        if o["purpose"] == ENTRY:
            stop, target = float(o["stop_loss"]), float(o["take_profit"])
            if not np.isnan(stop):
                fields["stop_loss"] = stop
            if not np.isnan(target):
                fields["take_profit"] = target
            has = (not np.isnan(stop)) + (not np.isnan(target))
            fields["order_class"] = ("simple", "oto", "bracket")[has]
            fields["time_in_force"] = "gtc" if has else "day"
        self.submit([i], OrderRequest(symbol=self.symbols[o["symbol"]], side="buy" if o["side"] > 0 else "sell",
                                      qty=float(o["quantity"]), **fields))

    def send_pair(self, pair: list[int]) -> None:
        """Protection that follows later: an OCO, or the one leg there is."""
        by = {int(self.orders[i]["purpose"]): self.orders[i] for i in pair}
        o = self.orders[pair[0]]
        base = {"symbol": self.symbols[o["symbol"]], "side": "buy" if o["side"] > 0 else "sell",
                "qty": float(o["quantity"]), "time_in_force": "gtc"}
        if o["kind"] == rules.MARKET:  # the close has passed the leg
            request = OrderRequest(symbol=base["symbol"], side=base["side"], qty=base["qty"])
        elif len(by) == 2:
            request = OrderRequest(**base, type="limit", order_class="oco", take_profit=float(by[TARGET_LEG]["limit"]),
                                   stop_loss=float(by[STOP_LEG]["stop"]))
        elif STOP_LEG in by:
            request = OrderRequest(**base, type="stop", stop_price=float(by[STOP_LEG]["stop"]))
        else:
            request = OrderRequest(**base, type="limit", limit_price=float(by[TARGET_LEG]["limit"]))
        try:
            self.submit(sorted(pair, key=lambda i: -self.orders[i]["purpose"]), request)
        except Refusal as refusal:
            if refusal.rule not in PASSED:
                raise
            self.submit(list(pair), OrderRequest(symbol=base["symbol"], side=base["side"], qty=base["qty"]))

    def submit(self, which: list[int], request: OrderRequest) -> None:
        order = self.exchange.submit(request)
        for i, one in zip(which, (order, *order.legs), strict=False):
            self.ids[i] = one.id


def engine_fills(result: botlib.BacktestResult) -> list[tuple[Any, ...]]:
    """(session, symbol, side, quantity, price) of the backtest, sorted."""
    rows = result.book.rows("fills")
    return sorted((int(f["bar"]), result.bars.symbols[f["symbol"]], int(f["side"]), float(f["quantity"]),
                   float(f["price"])) for f in rows)


def exchange_fills(exchange: Exchange, bars: Bars) -> list[tuple[Any, ...]]:
    """The same of the exchange."""
    starts = exchange.tape.starts
    return sorted((int(np.searchsorted(starts, a.time, side="right")) - 1, a.symbol, a.side, a.qty, a.price)
                  for a in exchange.activities if a.type == "FILL")
