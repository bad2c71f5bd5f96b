"""A second, slow implementation of the broker convention in plain Python, to hold the compiled engine against.

It was written from the text of the trading rules alone, before the engine was read; the five places where the rules
are silent and the engine's choice was taken over are marked "silent". Numbers are `fractions.Fraction`, so that nothing
here depends on the order of additions or on how a float rounds. The subset: targets as weights, market entries, exits,
reductions and increases, bracket legs, whole shares, slippage and commission in basis points, longs and shorts,
several symbols, daily bars, holes. Not here: splits, dividends, fees, partial fills, safety limits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

HUNDRED = Fraction(100)
CENT = Fraction(1, 100)


def exact(number: float) -> Fraction:
    """The number as it is written: 0.1 is one tenth."""
    return Fraction(repr(float(number)))


def tick_of(price: Fraction) -> Fraction:
    return Fraction(1, 100) if price >= 1 else Fraction(1, 10_000)


def floor_tick(price: Fraction) -> Fraction:
    return math.floor(price / tick_of(price)) * tick_of(price)


def ceil_tick(price: Fraction) -> Fraction:
    return math.ceil(price / tick_of(price)) * tick_of(price)


def four_decimals(price: Fraction) -> Fraction:
    """Silent: half up."""
    return Fraction(math.floor(price * 10_000 + Fraction(1, 2)), 10_000)


def cents_up(amount: Fraction) -> Fraction:
    """Silent: a commission counts as a fee (rule 11)."""
    return Fraction(math.ceil(amount * 100), 100)


@dataclass
class Order:
    """A market order that waits for the next print; ``quantity`` is signed."""

    quantity: int
    close: Fraction  # of the decision
    kind: str  # entry, exit or reduce
    target: Fraction


@dataclass
class Lot:
    """One entry and its bracket; ``quantity`` is signed."""

    quantity: int
    price: Fraction
    bar: int
    paid: Fraction  # commission of the entry, for what is left of the lot
    stop: Fraction | None
    limit: Fraction | None  # what a short's buy stop pays at most
    target: Fraction | None
    acts_from: int
    triggered: bool = False
    out: str = ""  # a leg that could not be placed any more


@dataclass
class Book:
    """One symbol."""

    lots: list[Lot] = field(default_factory=list)
    held_target: Fraction | None = None
    standing: Fraction | None = None  # a target still to be reached
    order: Order | None = None
    last: Fraction = Fraction(0)

    @property
    def quantity(self) -> int:
        return sum(lot.quantity for lot in self.lots)


@dataclass(frozen=True)
class Trade:
    symbol: str
    side: str
    quantity: int
    entry_bar: int
    exit_bar: int
    entry_price: Fraction
    exit_price: Fraction
    pnl: Fraction
    reason: str


class ReferenceBroker:
    """Runs targets over bars; afterwards ``trades``, ``equity`` (one a bar), ``refused`` and ``expired`` are there.

    Parameters
    ----------
    symbols : names, N of them
    bars : for each bar, for each symbol (open, high, low, close), or None where there is none
    targets : for each bar, for each symbol a weight, or None to keep
    """

    def __init__(self, symbols, bars, targets, *, cash, max_position_pct, stop_loss_pct, take_profit_pct,
                 slippage_bps, commission_bps, max_gross_exposure_pct=100.0, warmup=0):
        self.symbols, self.bars, self.targets, self.warmup = symbols, bars, targets, warmup
        self.cash = exact(cash)
        self.cap = exact(max_position_pct) / HUNDRED
        self.stop_loss = None if stop_loss_pct is None else exact(stop_loss_pct) / HUNDRED
        self.take_profit = None if take_profit_pct is None else exact(take_profit_pct) / HUNDRED
        self.slippage = exact(slippage_bps) / 10_000
        self.commission = exact(commission_bps) / 10_000
        self.gross = exact(max_gross_exposure_pct) / HUNDRED
        self.books = [Book() for _ in symbols]
        self.by_name = sorted(range(len(symbols)), key=lambda n: symbols[n])
        self.trades: list[Trade] = []
        self.equity: list[Fraction] = []
        self.refused = self.expired = 0

    def run(self) -> ReferenceBroker:
        for t, row in enumerate(self.bars):
            prints = [None if cell is None else tuple(exact(p) for p in cell) for cell in row]
            for n in self.by_name:
                if prints[n] is not None:
                    self.trade(n, t, *prints[n])
            for book, bar in zip(self.books, prints):
                if bar is not None:
                    book.last = bar[3]
                elif book.order is not None:
                    self.expire(book, t)
            self.equity.append(self.worth())
            if t >= self.warmup:
                self.decide(t, prints)
        return self

    def worth(self) -> Fraction:
        return self.cash + sum((b.quantity * b.last for b in self.books), Fraction(0))

    def expire(self, book: Book, t: int) -> None:
        """Rule 8: an entry not filled by the session's close is cancelled. Silent: so is an exit or a reduction; the
        legs come back and it is decided again at the next close that has a price."""
        if book.order.kind != "entry" and book.standing is None:
            book.standing = book.order.target
        if book.order.kind != "entry":
            self.protect(book, t, book.last)
        book.order = None
        self.expired += 1

    def protect(self, book: Book, t: int, close: Fraction) -> None:
        """Rule 9: what is left is protected again. Silent: from the next bar on; a leg that the close has passed, or
        come nearer than a cent, is refused by the broker: then the lot is sold at the next print."""
        for lot in book.lots:
            lot.acts_from, lot.triggered, lot.out = t + 1, False, ""
            up = 1 if lot.quantity > 0 else -1
            if lot.stop is not None and up * (close - lot.stop) < CENT:
                lot.out = "stop"
            elif lot.target is not None and up * (lot.target - close) < CENT:
                lot.out = "target"

    # --- what a bar fills, rule 10 ------------------------------------------------------------------------------------

    def slipped(self, price: Fraction, buys: bool) -> Fraction:
        return four_decimals(price * (1 + self.slippage if buys else 1 - self.slippage))

    def trade(self, n, t, open_, high, low, close) -> None:
        book = self.books[n]
        if book.order is not None:
            order, book.order = book.order, None
            price = self.slipped(open_, order.quantity > 0)
            book.held_target = order.target
            if order.kind == "entry":
                self.enter(book, t, order, price)
            else:
                self.reduce(n, t, order, price, close)
        for lot in [lot for lot in book.lots if lot.acts_from <= t]:
            self.legs_at_the_open(n, t, lot, open_)
        for lot in [lot for lot in book.lots if lot.acts_from <= t]:
            self.legs_within(n, t, lot, high, low)
        if not book.lots:
            book.held_target = None

    def enter(self, book: Book, t: int, order: Order, price: Fraction) -> None:
        fee = cents_up(abs(order.quantity) * price * self.commission)
        self.cash -= order.quantity * price + fee
        stop, limit, target = self.legs(order)
        book.lots.append(Lot(order.quantity, price, t, fee, stop, limit, target, acts_from=t))

    def legs(self, order: Order):
        """Rule 8; and rule 10's cap of a buy stop."""
        stop = limit = target = None
        if order.quantity > 0:
            if self.stop_loss is not None:
                stop = floor_tick(order.close * (1 - self.stop_loss))
            if self.take_profit is not None:
                target = ceil_tick(order.close * (1 + self.take_profit))
        else:
            if self.stop_loss is not None:
                stop = ceil_tick(order.close * (1 + self.stop_loss))
                limit = floor_tick(stop * (Fraction(104, 100) if stop < 50 else Fraction(1025, 1000)))
            if self.take_profit is not None:
                target = floor_tick(order.close * (1 - self.take_profit))
        return stop, limit, target

    def legs_at_the_open(self, n, t, lot: Lot, open_) -> None:
        if lot.out:
            self.leave(n, t, lot, self.slipped(open_, lot.quantity < 0), lot.out)
            return
        if lot.quantity > 0:
            if lot.stop is not None and open_ <= lot.stop:
                self.leave(n, t, lot, self.slipped(open_, False), "stop")
            elif lot.target is not None and open_ >= lot.target:
                self.leave(n, t, lot, four_decimals(open_), "target")
            return
        if lot.triggered and open_ <= lot.limit:
            self.leave(n, t, lot, four_decimals(open_), "stop")  # it rests as a limit order by now
        elif lot.stop is not None and not lot.triggered and open_ >= lot.stop:
            lot.triggered = True
            if open_ <= lot.limit:
                self.leave(n, t, lot, min(self.slipped(open_, True), lot.limit), "stop")
        elif lot.target is not None and open_ <= lot.target:
            self.leave(n, t, lot, four_decimals(open_), "target")

    def legs_within(self, n, t, lot: Lot, high, low) -> None:
        if lot.quantity > 0:
            if lot.stop is not None and low <= lot.stop:
                self.leave(n, t, lot, self.slipped(lot.stop, False), "stop")
            elif lot.target is not None and high >= lot.target:
                self.leave(n, t, lot, lot.target, "target")
            return
        if lot.triggered:
            if low <= lot.limit:
                self.leave(n, t, lot, lot.limit, "stop")
        elif lot.stop is not None and high >= lot.stop:
            self.leave(n, t, lot, min(self.slipped(lot.stop, True), lot.limit), "stop")
        elif lot.target is not None and low <= lot.target:
            self.leave(n, t, lot, lot.target, "target")

    def leave(self, n, t, lot: Lot, price: Fraction, reason: str) -> None:
        self.books[n].lots.remove(lot)
        self.settle(n, t, lot, lot.quantity, price, cents_up(abs(lot.quantity) * price * self.commission), reason)

    def reduce(self, n, t, order: Order, price: Fraction, close: Fraction) -> None:
        """A signal exit or a reduction. Silent: the oldest lots go first."""
        book, left = self.books[n], -order.quantity
        fee = cents_up(abs(left) * price * self.commission)
        for lot in list(book.lots):
            part = min(abs(lot.quantity), abs(left)) * (1 if left > 0 else -1)
            if part == 0:
                break
            if part == lot.quantity:
                book.lots.remove(lot)
            left -= part
            self.settle(n, t, lot, part, price, fee * Fraction(part, -order.quantity),
                        "signal" if order.kind == "exit" else "reduce")
        self.protect(book, t, close)

    def settle(self, n, t, lot: Lot, part: int, price: Fraction, fee: Fraction, reason: str) -> None:
        paid = lot.paid * Fraction(part, lot.quantity)
        self.cash += part * price - fee
        self.trades.append(Trade(self.symbols[n], "long" if part > 0 else "short", abs(part), lot.bar, t, lot.price,
                                 price, part * (price - lot.price) - fee - paid, reason))
        lot.paid -= paid
        lot.quantity -= part

    # --- what a close decides, rules 4 to 7 ---------------------------------------------------------------------------

    def decide(self, t: int, prints) -> None:
        equity = self.worth()
        entries = []
        for n in self.by_name:
            book, wanted = self.books[n], self.targets[t][n]
            weight = book.standing if wanted is None else self.clipped(wanted)
            if prints[n] is None or weight is None:
                continue
            book.standing = None
            order = self.order_for(book, weight, equity)
            if order is not None and order.kind == "entry":
                entries.append((book, order))
            elif order is not None:
                book.order = order
                for lot in book.lots:
                    lot.acts_from = math.inf  # rule 9: the legs are cancelled first
        used = sum((abs(b.quantity) * b.last for b in self.books), Fraction(0))  # exits free it on execution
        for book, order in entries:
            # An open short reserves 3 % more than the last price (Alpaca).
            need = abs(order.quantity) * order.close * (1 if order.quantity > 0 else Fraction(103, 100))
            if used + need > self.gross * equity:
                self.refused += 1
            else:
                used += need
                book.order = order

    def clipped(self, weight: float) -> Fraction:
        return max(-self.cap, min(self.cap, exact(weight)))

    def order_for(self, book: Book, weight: Fraction, equity: Fraction) -> Order | None:
        held = book.quantity
        size = math.floor(abs(weight) * equity / book.last) * (1 if weight > 0 else -1)
        if held and weight * held <= 0:
            book.standing = weight if weight else None  # rule 7: a reversal first closes
            return Order(-held, book.last, "exit", Fraction(0))
        if weight == 0 or (held and weight == book.held_target):  # rule 4
            return None
        if size == held:
            book.held_target = weight if held else None
            return None
        if size == 0:
            return Order(-held, book.last, "exit", Fraction(0))
        return Order(size - held, book.last, "entry" if abs(size) > abs(held) else "reduce", weight)
