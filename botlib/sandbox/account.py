"""`Account`: cash, positions, buying power, corporate actions and the activities that tell of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from botlib import rules
from botlib.fees import fee_rates
from botlib.params import Costs
from botlib.sandbox.formats import local
from botlib.sandbox.orders import Activity, Order, Position
from botlib.sandbox.tape import Tape


class _Due(NamedTuple):
    """A dividend on its way."""

    session: int
    symbol: str
    qty: float
    rate: float
    amount: float


class Account:
    """One account on a tape.

    Attributes
    ----------
    cash, reserved : float
        Dollars; what working entries hold of the buying power.
    positions : dict of str to Position
        By symbol, none with a quantity of 0.
    activities : list of Activity
        Only grows.
    last_equity : float
        Equity at the previous session's close.
    """

    def __init__(self, tape: Tape, cash: float, costs: Costs, multiplier: float, whole_splits: bool,
                 new_id: Callable[[], str]) -> None:
        self.tape, self.costs, self.multiplier, self.whole_splits = tape, costs, multiplier, whole_splits
        self.cash, self.reserved = cash, 0.0
        self.positions: dict[str, Position] = {}
        self.activities: list[Activity] = []
        self.last_equity = cash
        self.fees_paid = 0.0
        self._new_id = new_id
        self._due: list[_Due] = []
        self._session = int(tape.bars.sessions[tape.bar])
        days = np.unique(tape.bars.sessions)
        rates = fee_rates(days)
        self._fees = dict(zip(days.tolist(), zip(rates.sec_rate, rates.taf_per_share, rates.taf_max,
                                                 rates.cat_per_share, strict=True), strict=True))

    # --- worth --------------------------------------------------------------------------------------------------------

    def qty(self, symbol: str) -> float:
        """Signed shares."""
        held = self.positions.get(symbol)
        return 0.0 if held is None else held.qty

    def market_value(self, side: int) -> float:
        """Longs (+1) or shorts (-1, a negative number) at the last prints, dollars."""
        return sum((p.qty * self.tape.last[self.tape.column[s]] for s, p in sorted(self.positions.items())
                    if p.qty * side > 0.0), 0.0)

    @property
    def equity(self) -> float:
        """Cash and positions at the last prints; a dividend counts when it is paid."""
        value = 0.0
        for symbol in sorted(self.positions):
            value += self.positions[symbol].qty * self.tape.last[self.tape.column[symbol]]
        return self.cash + value

    @property
    def gross(self) -> float:
        """Longs plus shorts, dollars."""
        return self.market_value(1) - self.market_value(-1)

    @property
    def buying_power(self) -> float:
        """What new entries may still reserve, dollars."""
        return rules.buying_power(self.cash, self.equity, self.gross, self.reserved, self.multiplier * 100.0,
                                  self.multiplier <= 1.0)

    # --- fills --------------------------------------------------------------------------------------------------------

    def book(self, order: Order, quantity: float, price: float, asked: float, time: int) -> None:
        """Move the shares and the cash of one execution and tell it; ``asked`` is the price before slippage."""
        paid = rules.cents_up(rules.commission(quantity, price, self.costs.commission_bps,
                                               self.costs.commission_per_share, self.costs.commission_min))
        fees = 0.0
        if self.costs.regulatory_fees:
            fees = rules.regulatory_fees(order.side, quantity, price, *self._fees[self._session])
        self.cash -= order.side * quantity * price + paid + fees
        self.fees_paid += paid + fees
        self._move(order.symbol, order.side * quantity, price)
        order.filled_qty = rules.exact_quantity(order.filled_qty + quantity)
        order.filled_value += quantity * price
        leaves = max(0.0, order.left)
        self.tell("FILL", time, symbol=order.symbol, qty=quantity, price=price, side=order.side, order_id=order.id,
                  cum_qty=order.filled_qty, leaves_qty=leaves, partial=leaves > 0.0)
        for amount, sub_type, what in ((paid, "COM", "commission"), (fees, "REG", "SEC, TAF and CAT fees")):
            if amount > 0.0:
                self.tell("FEE", time, symbol=order.symbol, net_amount=-amount, sub_type=sub_type,
                          order_id=order.id, description=f"{what} on {quantity:g} {order.symbol}")

    def _move(self, symbol: str, signed: float, price: float) -> None:
        held = self.positions.get(symbol)
        if held is None:
            self.positions[symbol] = Position(symbol=symbol, qty=signed, avg_entry_price=price)
            return
        after = rules.exact_quantity(held.qty + signed)
        if after == 0.0:
            del self.positions[symbol]
            return
        if held.qty * signed > 0.0:
            held.avg_entry_price = (held.avg_entry_price * held.qty + price * signed) / after
        held.qty = after

    def tell(self, kind: str, time: int, **fields: object) -> None:
        """Append an activity."""
        stamp = local(time)
        name = f"{stamp:%Y%m%d%H%M%S}{stamp.microsecond // 1000:03d}::{self._new_id()}"
        self.activities.append(Activity(id=name, type=kind, time=time, **fields))  # type: ignore[arg-type]

    def transfer(self, amount: float, time: int) -> None:
        """A deposit, or a withdrawal when negative."""
        self.cash += amount
        self.tell("CSD" if amount > 0.0 else "CSW", time, net_amount=amount, description="transfer")

    # --- days ---------------------------------------------------------------------------------------------------------

    def remember_close(self) -> None:
        """What was at the previous session's close; as at Alpaca it changes when the next session begins."""
        self.last_equity = self.equity
        for symbol, held in self.positions.items():
            held.lastday_qty, held.lastday_price = held.qty, float(self.tape.last[self.tape.column[symbol]])

    def begin_session(self, today: int, time: int) -> None:
        """Before the first print: interest, and dividends that are due."""
        if self.positions and (self.costs.borrow_rate_pct > 0.0 or self.costs.margin_rate_pct > 0.0):
            days = today - self._session
            owed = 0.0
            for symbol in sorted(self.positions):
                short = max(0.0, -self.positions[symbol].qty * self.tape.last[self.tape.column[symbol]])
                owed += rules.interest(short, self.costs.borrow_rate_pct, days)
            owed = rules.cents_up(owed) + rules.cents_up(
                rules.interest(max(0.0, -self.cash), self.costs.margin_rate_pct, days))
            if owed > 0.0:
                self.cash -= owed
                self.tell("INT", time, net_amount=-owed, description=f"interest of {days} days")
        for due in [d for d in self._due if d.session <= today]:
            self._pay(due, time)
        self._due = [d for d in self._due if d.session > today]
        self._session = today

    def _pay(self, due: _Due, time: int) -> None:
        self.cash += due.amount
        self.tell("DIV", time, symbol=due.symbol, qty=due.qty, price=due.rate, net_amount=due.amount,
                  description=f"cash dividend of {due.rate:g} a share")

    def dividend(self, symbol: str, rate: float, pay_session: int, time: int) -> None:
        """On the ex-date: due to those who hold, owed by those who are short."""
        qty = self.qty(symbol)
        if qty == 0.0:
            return
        due = _Due(pay_session, symbol, qty, rate, math.floor(qty * rate * 100.0 + 0.5) / 100.0)
        if pay_session <= self._session:
            self._pay(due, time)
        else:
            self._due.append(due)

    def split(self, symbol: str, ratio: float, time: int) -> None:
        """Shares times the ratio, last print by it; parts of a share are paid out."""
        column, held = self.tape.column[symbol], self.positions.get(symbol)
        if held is not None:
            side, old = (1 if held.qty > 0.0 else -1), abs(held.qty)
            fractional = not self.whole_splits and side > 0
            new = rules.split_quantity(old, ratio, fractional)
            cash = side * rules.split_cash_in_lieu(old, ratio, float(self.tape.last[column]), fractional)
            self.cash += cash
            held.avg_entry_price /= ratio
            held.qty = side * new
            held.lastday_qty, held.lastday_price = held.lastday_qty * ratio, held.lastday_price / ratio
            self.tell("SPLIT", time, symbol=symbol, qty=held.qty - side * old, net_amount=cash,
                      description=f"split {ratio:g} for 1")
            if new == 0.0:
                del self.positions[symbol]
        self.tape.last[column] /= ratio
