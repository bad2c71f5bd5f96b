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
from botlib.engine.state import (
    DONE,
    ENTRY,
    R_BELOW_ONE_SHARE,
    R_BUYING_POWER,
    R_LEG_PRICE,
    R_LEGS,
    R_ONE_DOLLAR,
    R_STOP_SIDE,
    R_WHOLE_SHORTS,
    REJECTED,
    STOP_LEG,
    TARGET_LEG,
    WORKING,
)
from botlib.sandbox.exchange import Exchange
from botlib.sandbox.orders import Order, Refusal

NS_A_DAY = 86_400_000_000_000
RENEWED_BEFORE = 10 * NS_A_DAY  # of their end after 90 days
PASSED = ("bracket-wrong-side", "stop-wrong-side", "leg-wrong-side")
TYPES = ("market", "limit", "stop")
REFUSED_AS = {R_BUYING_POWER: "insufficient-buying-power", R_STOP_SIDE: "stop-wrong-side", R_LEGS: "bracket-wrong-side",
              R_LEG_PRICE: "price-positive", R_ONE_DOLLAR: "cost-minimum", R_WHOLE_SHORTS: "fractional-short",
              R_BELOW_ONE_SHARE: "quantity-positive"}
"""The backtest's reasons for which an order is refused as it stands, whatever else works, and the exchange's rules."""


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
        self.ended = self.orders.copy()  # after the splits that an order met
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
        self.refused: list[tuple[str, str]] = []
        """For each of the backtest's refusals in `REFUSED_AS` the rule that it names, and the exchange's answer."""
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
        for pair in [[i] for i in again] + pairs:  # the older lot first
            if not any(i in closed for i in pair):
                self.send_pair(pair)
        for i in [i for i in opened if i not in legs]:
            if self.orders[i]["status"] != REJECTED:
                self.send(i)
            elif int(self.orders[i]["reason"]) in REFUSED_AS:
                expected = REFUSED_AS[int(self.orders[i]["reason"])]
                try:
                    self.send(i)
                    self.refused.append((expected, "accepted"))
                except Refusal as refusal:
                    self.refused.append((expected, refusal.rule))

    def renew(self) -> None:
        """Protection that would end soon is cancelled and sent anew; all of a symbol's, so that the oldest lot's stays
        the first."""
        x = self.exchange
        resting = [(p.place, [o for o in p.members if o.open]) for p in x.book.pairs]
        resting += [(x.book.place(o), [o]) for o in x.book.working if o.time_in_force == "gtc" and o.closes]
        due = {old[0].symbol for _, old in resting if old[0].expires_at <= x.now + RENEWED_BEFORE}
        for _, old in sorted(resting, key=lambda one: one[0]):
            if old[0].symbol in due:
                self._renew(old)

    def _renew(self, old: list[Order]) -> None:
        x = self.exchange
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
        pairs: list[list[int]] = []
        for i in legs:
            o, before = self.orders[i], self.orders[i - 1]
            second = o["purpose"] == TARGET_LEG and i - 1 in legs and before["purpose"] == STOP_LEG
            if second and o["lot"] == before["lot"] and o["kind"] == rules.LIMIT and before["kind"] == rules.STOP:
                pairs[-1].append(i)
            else:
                pairs.append([i])
        left = []
        for pair in pairs:
            o = self.orders[pair[-1]]  # the target, when there is one: a stop shrinks with its fills
            name, price = ("stop_loss", "stop") if o["purpose"] == STOP_LEG else ("take_profit", "limit")
            mine = [e for e in sorted(entries) if self.orders[e]["symbol"] == o["symbol"] and e in self.ids
                    and self.ended[e][name] == o[price] and self.ended[e]["quantity"] == o["quantity"]
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
