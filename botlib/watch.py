"""The account's safety at and between the bars' closes: peak, day, holds and the kill. Pure: a change is a new `Watch`.

The arithmetic is `botlib.safety.trading_state`, as in a backtest. At a bar's close the limits are looked at as there.
Between the bars prices are single prints, of which one may be wrong, so that a limit is breached only if it is with the
more favourable of the last two good prints of every holding, made at different times. Marks between bars do not raise
the peak.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from botlib import safety
from botlib.errors import InputError
from botlib.order_state import count, finite, positive
from botlib.safety import STATE_NAMES, SafetyControls
from botlib.watch_prices import NO_PRICES, Price, Prices, is_print

DAILY_LOSS, PRICES = "daily-loss", "prices"
"""Holds that `Watch` places and lifts itself."""

ASKED = "asked"
"""The hold that a person asks for, and lifts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The session's holdings at one moment.

    ``prices`` are (price, when it was made): a print that is polled twice is one print. Of a bar's close it is the
    time at which the bar ended.
    """

    cash: float
    """Dollars, receivable dividends included."""
    positions: Mapping[str, float]
    """Shares, below 0 when short."""
    prices: Mapping[str, tuple[float, pd.Timestamp]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What must outlive a session: see `record` and `from_record`."""

    day: dt.date
    """Exchange date; it never runs backward."""
    equity: float
    """At the last bar's close, in dollars."""
    peak: float
    day_start: float
    killed: str = ""
    """Why trading was halted for good; "": it was not."""
    holds: Mapping[str, str] = field(default_factory=dict)
    """Why only exits are allowed: reasons by name. Each stays until it is lifted, "daily-loss" until the next day."""
    orders_today: int = 0
    exits_today: Mapping[str, int] = field(default_factory=dict)
    prices: Mapping[str, Prices] = field(default_factory=dict)

    @classmethod
    def start(cls, equity: float, day: dt.date) -> Watch:
        """Of a new ledger. Raises `InputError` unless the equity is above 0."""
        _check_equity(equity)
        return cls(day=_date(day), equity=equity, peak=equity, day_start=equity)

    # --- What it says -------------------------------------------------------------------------------------------------

    @property
    def latched(self) -> bool:
        """Whether a kill stands."""
        return bool(self.killed)

    @property
    def state(self) -> int:
        """ACTIVE, REDUCE_ONLY or HALTED: the strictest of the kill and the holds."""
        if self.killed:
            return safety.HALTED
        return safety.REDUCE_ONLY if self.holds else safety.ACTIVE

    @property
    def reason(self) -> str:
        """Why it is not active."""
        return self.killed or "; ".join(self.holds[name] for name in sorted(self.holds))

    def last_good(self, symbol: str) -> float | None:
        """The last price that was in line with the one before it; None while there is none."""
        good = self.prices.get(symbol, NO_PRICES).good
        return None if good is None else good.price

    # --- What happens -------------------------------------------------------------------------------------------------

    def marked(self, controls: SafetyControls, mark: Mark) -> Watch:
        """Prices between bars. A holding without a good price allows only exits until it has one, and trips nothing."""
        watch, wrong = self._priced(controls, mark, final=False)
        wrong = wrong or watch._unpriced(mark)
        if wrong:
            return watch.held(PRICES, wrong)
        worst = [prices.cautious(mark.positions[s]) for s, prices in watch._of_holdings(mark).items()]
        watch = watch.released(PRICES)
        if None in worst:  # a first print alone says nothing
            return watch
        return watch._judged(controls, math.fsum([mark.cash, *(value for value in worst if value is not None)]))

    def closed(self, controls: SafetyControls, mark: Mark, day: dt.date, equity: float) -> Watch:
        """A bar's close on exchange date ``day``, with the equity that the book has there.

        Parameters
        ----------
        mark : Mark
            Closes of the symbols that have this bar; a holding may be missing.
        equity : float
            With it the limits are judged as in a backtest, unless a holding's close is out of line.
        """
        watch, wrong = self.on_day(day)._priced(controls, mark, final=True)
        if not finite(equity):
            wrong = wrong or "the account's equity is not known"
        watch = watch.held(PRICES, wrong) if wrong else watch.released(PRICES)
        if not wrong:
            watch = replace(watch, equity=equity, peak=max(watch.peak, equity))._judged(controls, equity)
        return watch

    def on_day(self, day: dt.date) -> Watch:
        """A later exchange date starts anew; the same or an earlier one changes nothing."""
        if _date(day) <= self.day:
            return self
        return replace(self, day=day, day_start=self.equity, orders_today=0, exits_today={}).released(DAILY_LOSS)

    def flow(self, amount: float) -> Watch:
        """A deposit, or with a negative amount a withdrawal: it moves peak and day start. Dividends are no flows."""
        if not finite(amount):
            raise InputError(f"amount = {amount!r}: a deposit or withdrawal is a finite number of dollars.")
        return replace(self, equity=self.equity + amount, peak=self.peak + amount, day_start=self.day_start + amount)

    def split(self, symbol: str, ratio: float) -> Watch:
        """New shares for one old one: its prices are divided by the ratio."""
        if not positive(ratio):
            raise InputError(f"ratio = {ratio!r}: a split gives a number of new shares above 0 for an old one.")
        known = self.prices.get(symbol)
        return self if known is None else replace(self, prices={**self.prices, symbol: known.split(ratio)})

    def sent(self, symbol: str, adds_risk: bool) -> Watch:
        """An order is about to be sent (a bracket is one): count it."""
        if adds_risk:
            return replace(self, orders_today=self.orders_today + 1)
        return replace(self, exits_today={**self.exits_today, symbol: self.exits_today.get(symbol, 0) + 1})

    def kill(self, reason: str) -> Watch:
        """Halt for good; a second kill keeps the first one's reason."""
        return self if self.killed else replace(self, killed=reason or "kill")

    def held(self, name: str, reason: str) -> Watch:
        """Only exits from now on, until `released` by the same name."""
        return self if self.holds.get(name) == reason else replace(self, holds={**self.holds, name: reason})

    def released(self, name: str) -> Watch:
        """Lift one hold."""
        if name not in self.holds:
            return self
        return replace(self, holds={other: reason for other, reason in self.holds.items() if other != name})

    def cleared(self, equity: float) -> tuple[Watch, tuple[str, ...]]:
        """A person lifts the kill, and what a person asked for before: the account starts a new peak here. Returns a
        sentence for each thing that resets, and for each that does not."""
        _check_equity(equity)
        asked, watch = self.holds.get(ASKED), self.released(ASKED)
        if asked is None and not self.killed:
            return self, ("No kill stands; nothing was reset.",)
        said = [] if asked is None else [f"Entries are not held back any more. They were because: {asked}."]
        if self.killed:
            said += [f"The kill is lifted. It stood because: {self.killed}.",
                     f"The peak that drawdown counts from is reset from ${self.peak:,.2f} to ${equity:,.2f}.",
                     f"The day's start, ${self.day_start:,.2f}, and the {self.orders_today} orders of the day stay."]
            watch = replace(watch, killed="", equity=equity, peak=equity)
        if watch.holds:
            said.append(f"Still only exits are allowed: {watch.reason}.")
        return watch, tuple(said)

    # --- Inside -------------------------------------------------------------------------------------------------------

    def _priced(self, controls: SafetyControls, mark: Mark, final: bool) -> tuple[Watch, str]:
        """The prices of a mark, and what is wrong with those of holdings ("": nothing)."""
        known, wrong = dict(self.prices), []
        for symbol, (price, time) in mark.prices.items():
            known[symbol] = known.get(symbol, NO_PRICES).with_print(price, time, controls.price_collar_pct, final)
        for symbol, quantity in mark.positions.items():
            if quantity == 0:
                continue
            if symbol in mark.prices and not is_print(*mark.prices[symbol]):
                price, time = mark.prices[symbol]
                wrong.append(f"{symbol} has the price {price!r} of {time!r}")
            elif (suspect := known.get(symbol, NO_PRICES).suspect) is not None:
                wrong.append(f"{symbol} at {suspect.price:,.4f} is out of line with its last good price")
        return replace(self, prices=known), "; ".join(sorted(wrong))

    def _unpriced(self, mark: Mark) -> str:
        """What else a mark between bars must have."""
        wrong = [f"{s} has no price" for s in self._of_holdings(mark)
                 if s not in mark.prices or self.last_good(s) is None]
        wrong += [f"the position in {s} is {q!r}" for s, q in mark.positions.items() if not finite(q)]
        return "; ".join(sorted(wrong)) or ("" if finite(mark.cash) else f"cash is {mark.cash!r}")

    def _of_holdings(self, mark: Mark) -> dict[str, Prices]:
        return {s: self.prices.get(s, NO_PRICES) for s, quantity in mark.positions.items() if quantity != 0}

    def _judged(self, controls: SafetyControls, equity: float) -> Watch:
        """The limits, with this equity."""
        state = safety.trading_state(float(equity), float(self.peak), float(self.day_start), self.latched,
                                     controls.max_drawdown_pct, controls.max_daily_loss_pct)
        if state == safety.HALTED:
            fall = safety.fall_pct(float(equity), float(self.peak))
            return self.kill(f"equity of ${equity:,.2f} is {fall:.2f} % below its peak of ${self.peak:,.2f}; "
                             f"max_drawdown_pct is {controls.max_drawdown_pct:g}")
        if state == safety.REDUCE_ONLY and DAILY_LOSS not in self.holds:
            fall = safety.fall_pct(float(equity), float(self.day_start))
            return self.held(DAILY_LOSS, f"equity of ${equity:,.2f} is {fall:.2f} % below the day's start of "
                             f"${self.day_start:,.2f}; max_daily_loss_pct is {controls.max_daily_loss_pct:g}")
        return self

    # --- Kept ---------------------------------------------------------------------------------------------------------

    def record(self) -> dict[str, Any]:
        """All of it as JSON takes it."""
        return {**self.small_record(), "prices": {s: p.record() for s, p in self.prices.items()}}

    def small_record(self) -> dict[str, Any]:
        """`record` without the prices."""
        return {"day": self.day.isoformat(), "equity": self.equity, "peak": self.peak, "day_start": self.day_start,
                "killed": self.killed, "holds": dict(self.holds), "orders_today": self.orders_today,
                "exits_today": dict(self.exits_today)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Watch:
        """The same `Watch` again.

        Raises
        ------
        InputError
            Anything is missing or no number: what was recorded must not be guessed.
        """
        try:
            amounts = {name: record[name] for name in ("equity", "peak", "day_start")}
            counts = {"orders_today": record["orders_today"], **record["exits_today"]}
            killed, holds = record["killed"], dict(record["holds"])
            prices = {s: Prices.from_record(p) for s, p in record["prices"].items()}
            day = dt.date.fromisoformat(record["day"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"the recorded safety state cannot be read ({type(error).__name__}: {error}); run "
                             "`python -m botlib reconcile` before trading on.") from None
        wrong = [name for name, value in amounts.items() if not finite(value)]
        wrong += [name for name, value in counts.items() if not count(value)]
        wrong += [name for name, value in {"killed": killed, **holds}.items() if not isinstance(value, str)]
        if wrong:
            raise InputError(f"the recorded safety state has no valid {', '.join(wrong)}; run `python -m botlib "
                             "reconcile` before trading on.")
        return cls(day=day, killed=killed, holds=holds, prices=prices, orders_today=record["orders_today"],
                   exits_today=dict(record["exits_today"]), **amounts)


@dataclass(frozen=True, slots=True)
class Change:
    """What a person, the events and the alerts are told."""

    kind: str
    """"safety", "kill" or "kill-cleared"."""
    level: str
    """"info", "warning" or "alarm"."""
    text: str
    state: str
    """The trading state afterwards, by name."""


def changes(before: Watch, after: Watch) -> tuple[Change, ...]:
    """What differs in kill and holds, the kill first."""
    now, found = STATE_NAMES[after.state], []
    if after.killed and not before.killed:
        found.append(Change("kill", "alarm", f"KILL: {after.killed}", now))
    if before.killed and not after.killed:
        found.append(Change("kill-cleared", "warning", f"the kill is lifted; it stood because: {before.killed}", now))
    for name in sorted({*before.holds, *after.holds}):
        if name not in before.holds:
            found.append(Change("safety", "warning", f"only exits, {name}: {after.holds[name]}", now))
        elif name not in after.holds:
            found.append(Change("safety", "info", f"lifted, {name}: {before.holds[name]}", now))
    return tuple(found)


def _check_equity(equity: float) -> None:
    if not positive(equity):
        raise InputError(f"equity = {equity!r}: drawdown and daily loss need an equity above 0 to count from.")


def _date(day: object) -> dt.date:
    if isinstance(day, dt.datetime) or not isinstance(day, dt.date):
        raise InputError(f"day = {day!r}: it must be a date, that of the exchange.")
    return day


__all__ = ["ASKED", "DAILY_LOSS", "PRICES", "Change", "Mark", "Price", "Prices", "Watch", "changes"]
