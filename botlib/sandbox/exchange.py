"""`Exchange`: the local Alpaca's pure core. One account, its orders and a replayed market; no I/O, no clock.

What happens follows from (bars, seed, calls) alone. A bar happens whole by `advance`, or in two halves: `open_bar`,
`close_bar`. Fills, costs and buying power are those of `botlib.rules`, the order matrix is `botlib.alpaca_rules`; what
is refused raises `Refusal` with Alpaca's status, code and message.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from botlib import adjust, alpaca_rules, rules
from botlib.alpaca_rules import AssetFacts, MarketFacts, OrderFacts, OrderRequest, ReplaceRequest
from botlib.bars import Bars
from botlib.errors import InputError
from botlib.params import Costs
from botlib.sandbox import admission, matching, replacing
from botlib.sandbox.account import Account
from botlib.sandbox.book import Book
from botlib.sandbox.journal import Journal
from botlib.sandbox.orders import Activity, Order, Position, Refusal, TradeUpdate, copied
from botlib.sandbox.tape import Tape


class Exchange:
    """A local, Alpaca-faithful exchange on replayed bars.

    Parameters
    ----------
    bars : Bars
        Raw prices with a calendar; their actions, if any, are applied.
    cash : float
        Dollars.
    costs : Costs
        What fills cost here. Alpaca's paper venue charges nothing (`Costs.none`, the default).
    seed : int
        Of ids and of whatever is random.
    first : int
        The first bar that happens; those before it are history.
    multiplier : float
        Buying power by equity: 4, as Alpaca's margin accounts; 1 is a cash account without shorts.
    whole_splits : bool
        Splits leave whole shares, the rest is paid in cash.
    partial_fill_pct : float
        How many fills of a hundred come in two parts. Alpaca's paper venue: 10.

    Raises
    ------
    InputError
        See `Tape`; and cash, multiplier or partial_fill_pct out of range.
    """

    def __init__(self, bars: Bars, *, cash: float = 100_000.0, costs: Costs | None = None, seed: int = 0,
                 first: int = 1, multiplier: float = 4.0, whole_splits: bool = True,
                 partial_fill_pct: float = 0.0) -> None:
        for name, value, low, high in (("cash", cash, 0.0, 1e12), ("multiplier", multiplier, 1.0, 4.0),
                                       ("partial_fill_pct", partial_fill_pct, 0.0, 100.0)):
            if not low <= value <= high:
                raise InputError(f"{name} = {value!r}: it must be {low:g} to {high:g}.")
        self.bars, self.seed, self.tape = bars, seed, Tape(bars, first)
        self.partial_fill_pct, self.whole_splits = partial_fill_pct, whole_splits
        self.random = np.random.default_rng(seed)
        self.journal = Journal(self.tape, seed)
        self._costs, self._multiplier = costs or Costs.none(), multiplier
        self._actions = _actions_by_bar(bars)
        self._halted: set[str] = set()
        self.stuck_cancels = False
        self.shorting_enabled = multiplier > 1.0
        self.adjusts_orders = True
        self.trading_blocked = self.account_blocked = self.trade_suspended_by_user = False
        self.used: dict[str, float] = {}
        self._begin(cash)

    def _begin(self, cash: float) -> None:
        """An empty account."""
        new_id = self.journal.new_id
        self.account_id, self.created_at = new_id(), self.now
        self.account_number = f"PA3{self.account_id[:9].upper().replace('-', '0')}"
        self.account = Account(self.tape, cash, self._costs, self._multiplier, self.whole_splits, new_id)
        self.book = Book(self.journal, self.account)
        self.equity_history: list[tuple[int, float]] = [(self.now, cash)]

    # --- the account, as readers want it ------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        """Virtual time, UTC ns."""
        return self.tape.now

    @property
    def bar(self) -> int:
        """The last bar that happened, whole."""
        return self.tape.bar

    @property
    def done(self) -> bool:
        """Whether every bar has happened."""
        return self.tape.done

    @property
    def orders(self) -> dict[str, Order]:
        """By id, in order of submission, legs included."""
        return self.book.orders

    @property
    def positions(self) -> dict[str, Position]:
        """By symbol, none with a quantity of 0."""
        return self.account.positions

    @property
    def activities(self) -> list[Activity]:
        """What moved cash or shares; only grows, and begins anew with a reset."""
        return self.account.activities

    @property
    def updates(self) -> list[TradeUpdate]:
        """What the trade_updates stream says; only grows."""
        return self.journal.updates

    @property
    def cash(self) -> float:
        """Dollars."""
        return self.account.cash

    @property
    def equity(self) -> float:
        """Cash and positions at the last prints, dollars."""
        return self.account.equity

    @property
    def buying_power(self) -> float:
        """Dollars that new entries may reserve."""
        return self.account.buying_power

    def price(self, symbol: str) -> float | None:
        """The last print; None when unknown."""
        return self.tape.price(symbol)

    def asset(self, symbol: str) -> AssetFacts | None:
        """What may be done with a symbol; None when it is unknown."""
        if symbol not in self.tape.column:
            return None
        return AssetFacts(tradable=True, fractionable=True, shortable=True, easy_to_borrow=True, marginable=True)

    def market_facts(self, symbol: str) -> MarketFacts:
        """The hours and the price that the order matrix asks for."""
        return MarketFacts(is_open=self.tape.is_open, minute_of_day_et=self.tape.minute_of_day,
                           extended_open=self.tape.is_extended, last_price=self.price(symbol))

    def held_for_orders(self, symbol: str) -> float:
        """Shares that working exits may still trade; a protective pair counts once."""
        return self.book.held(symbol)

    def available(self, symbol: str) -> float:
        """Shares that no order holds, signed like the position."""
        return self.book.available(symbol)

    # --- time ---------------------------------------------------------------------------------------------------------

    def advance(self) -> bool:
        """The next bar happens, whole; False when there is none left."""
        if self.tape.done:
            return False
        if not self.tape.in_progress:
            self.open_bar()
        self.close_bar()
        return True

    def tell(self, now: int) -> None:
        """Virtual time goes on to ``now`` (UTC ns), without a bar."""
        self.tape.tell(now)
        self.book.expire(self.now)

    def open_bar(self) -> None:
        """The next bar's session begins, if it is its first, and its opening prints happen."""
        self.settle()
        t = self.tape.bar + 1
        self.tape.tell(int(self.tape.starts[t]))
        self.book.expire(self.now)
        if self.tape.begins_session(t):
            self._begin_session(t)
        self.book.open_session(extended=not self.tape.regular(t))
        self.used = {}
        self.tape.in_progress = True
        matching.open_bar(self, t)
        self.tape.mark(t, "open")
        self.tape.tell(self.journal.last)

    def close_bar(self) -> None:
        """The rest of the bar happens, and its close."""
        self.settle()
        t, last = self.tape.bar + 1, self.tape.ends_session(self.tape.bar + 1)
        matching.within_bar(self, t)
        if last:
            matching.at_close(self, t)
        self.tape.mark(t)
        self.tape.bar, self.tape.in_progress = t, False
        self.tape.tell(int(self.tape.ends[t]))
        if last:
            self.book.end_session(t, self.now)
        self.tape.tell(int(self.tape.finals[t]))
        self.book.expire(self.now)
        self.book.tidy()
        self.equity_history.append((self.now, self.equity))

    def settle(self) -> None:
        """What is pending becomes so: accepted orders new, cancelled ones gone. Every call begins with it."""
        self.book.settle(self.stuck_cancels)

    def _begin_session(self, t: int) -> None:
        self.account.remember_close()
        self.account.begin_session(int(self.bars.sessions[t]), self.now)
        for symbol, kind, value, pay_session in self._actions.get(t, ()):
            if kind == "split":
                if self.adjusts_orders:
                    replacing.split_orders(self, symbol, value)
                self.account.split(symbol, value, self.now)
                replacing.drop_empty(self, symbol)
            else:
                self.account.dividend(symbol, value, pay_session, self.now)

    # --- orders -------------------------------------------------------------------------------------------------------

    def submit(self, request: OrderRequest) -> Order:
        """Accept an order; the copy returned is "pending_new" in market hours, else "accepted".

        Raises `Refusal`.
        """
        self.settle()
        self._check_account()
        asset = self.asset(request.symbol)
        admission.refused(alpaca_rules.unknown_symbol(request.symbol) if asset is None else None)
        admission.refused(alpaca_rules.check(request, asset=asset, market=self.market_facts(request.symbol)))
        admission.refused(alpaca_rules.check_position(request, self.account.qty(request.symbol), asset=asset))
        admission.check_client_id(self, request.client_order_id)
        order = admission.make(self, request)
        admission.admit(self, order)
        self.book.add(order, not self.tape.is_open and not (order.extended_hours and self.tape.is_extended))
        return copied(order)

    def replace(self, order_id: str, *, qty: float | None = None, time_in_force: Any = None,
                limit_price: float | None = None, stop_price: float | None = None, trail: float | None = None,
                client_order_id: str | None = None) -> Order:
        """A new order in an old one's place. Raises `Refusal`."""
        self.settle()
        self._check_account()
        old = self._find(order_id)
        changes = ReplaceRequest(qty=qty, time_in_force=time_in_force, limit_price=limit_price, stop_price=stop_price,
                                 trail=trail, client_order_id=client_order_id)
        facts = OrderFacts(request=replacing.as_request(old), status=old.status, filled_qty=old.filled_qty,
                           group_role=old.group_role)
        admission.refused(alpaca_rules.check_replace(facts, changes, market=self.market_facts(old.symbol)))
        admission.check_client_id(self, client_order_id)
        new = replacing.successor(self, old, changes)
        replacing.admit(self, old, new)
        self.book.replace(old, new)
        return copied(new)

    def cancel(self, order_id: str) -> None:
        """Ask for an order's end; it is "pending_cancel" until the next call. Raises `Refusal`."""
        self.settle()
        order = self._find(order_id)
        if order.status in ("canceled", "pending_cancel"):
            return
        if not order.open:
            raise Refusal(422, 42210000, f"order is already in \"{order.status}\" state", "not-cancelable")
        self.book.ask_cancel(order)

    def cancel_all(self) -> list[tuple[Order, int]]:
        """Ask for every order's end; each with the HTTP status of its cancel."""
        self.settle()
        tops = self.book.tops()
        for order in tops:
            if order.status != "pending_cancel":
                self.book.ask_cancel(order)
        return [(copied(o), 200) for o in tops]

    def close_position(self, symbol: str, *, qty: float | None = None, percentage: float | None = None) -> Order:
        """A market order that closes a position, or a part of it. Raises `Refusal`."""
        self.settle()
        held = self.account.qty(symbol)
        if held == 0.0:
            raise Refusal(404, 40410000, "position does not exist", "no-position")
        wanted = abs(held)
        if qty is not None:
            wanted = qty
        elif percentage is not None:
            wanted = rules.round_quantity(abs(held) * percentage / 100.0, True)
        return self.submit(OrderRequest(symbol=symbol, side="sell" if held > 0.0 else "buy", qty=wanted))

    def close_all(self, cancel_orders: bool) -> list[tuple[str, Order | Refusal]]:
        """A market order for every position; by symbol the order, or why there is none."""
        if cancel_orders:
            self.cancel_all()
        self.settle()
        made: list[tuple[str, Order | Refusal]] = []
        for symbol in sorted(self.positions):
            try:
                made.append((symbol, self.close_position(symbol)))
            except Refusal as refusal:
                made.append((symbol, refusal))
        return made

    def get(self, order_id: str) -> Order:
        """A copy of an order. Raises `Refusal` (404)."""
        self.settle()
        return copied(self._find(order_id))

    def by_client_order_id(self, client_order_id: str) -> Order:
        """A copy of an order. Raises `Refusal` (404)."""
        self.settle()
        if client_order_id not in self.book.by_client_id:
            raise Refusal(404, 40410000, f"order not found for {client_order_id}", "unknown-order")
        return copied(self.book.by_client_id[client_order_id])

    def _find(self, order_id: str) -> Order:
        if order_id not in self.orders:
            raise Refusal(404, 40410000, f"order not found for {order_id}", "unknown-order")
        return self.orders[order_id]

    def _check_account(self) -> None:
        if self.account_blocked or self.trading_blocked:
            raise Refusal(403, 40310000, "account is blocked from trading", "account-blocked")
        if self.trade_suspended_by_user:
            raise Refusal(403, 40310000, "new orders are rejected by user request", "trading-suspended")

    # --- what a test or a fault may do --------------------------------------------------------------------------------

    def halt(self, symbol: str) -> None:
        """No fills in a symbol until `resume`."""
        self._halted.add(symbol)

    def resume(self, symbol: str) -> None:
        """Trading goes on."""
        self._halted.discard(symbol)

    def halted(self, symbol: str) -> bool:
        """Whether a symbol is halted."""
        return symbol in self._halted

    def block(self, blocked: bool = True) -> None:
        """Block the account from trading, or unblock it."""
        self.trading_blocked = self.account_blocked = blocked

    def deposit(self, amount: float) -> None:
        """Money comes in, or goes out when negative. Raises `InputError` when it is 0 or not finite."""
        if amount == 0.0 or not math.isfinite(amount):
            raise InputError(f"amount = {amount!r}: a deposit is a number of dollars above 0, a withdrawal below.")
        self.account.transfer(amount, self.journal.stamp())

    def foreign_order(self, request: OrderRequest) -> Order:
        """Somebody else sends an order from this account. Raises `Refusal`."""
        return self.submit(request)

    def reset(self, cash: float) -> None:
        """A paper reset: a new account id, no orders, no positions."""
        self.journal.next_account()
        self._begin(cash)


def _actions_by_bar(bars: Bars) -> dict[int, list[tuple[str, str, float, int]]]:
    """(symbol, type, value, pay session) by the bar before which they act."""
    out: dict[int, list[tuple[str, str, float, int]]] = {}
    for row in adjust.acting(bars.actions, bars.symbols, bars.sessions).itertuples():
        out.setdefault(int(row.bar), []).append((row.symbol, row.type, float(row.value), int(row.pay_session)))
    return out
