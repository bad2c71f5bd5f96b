"""What a bar does to working orders, in the order that `botlib.rules` and the backtest have it.

At the open, then within the bar: exits, protective pairs among them, before entries; of each, market orders, then
stops, then limits and targets; of one kind, what came to work first. So is a bar's volume shared under a participation
cap. The legs of an entry act from its fill on. An order meets only bars that open after it was submitted; one that
would expire before the next one opens meets the close of the bar it was sent in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from botlib import rules
from botlib.sandbox.book import Pair
from botlib.sandbox.orders import Order

if TYPE_CHECKING:
    from botlib.sandbox.exchange import Exchange

KIND = {"market": rules.MARKET, "limit": rules.LIMIT, "stop": rules.STOP, "stop_limit": rules.STOP,
        "trailing_stop": rules.STOP}
NS_A_MILLISECOND = 1_000_000


def open_bar(x: Exchange, t: int) -> None:
    """The opening prints of bar ``t``."""
    exits_meet(x, t, (rules.MARKET, rules.STOP, rules.LIMIT), at_open, pair_at_open)
    found = len(x.book.pairs)
    for kind in (rules.MARKET, rules.STOP, rules.LIMIT):
        for order in [o for o in x.book.working if KIND[o.type] == kind and not o.closes]:
            if meets(x, order, t):
                at_open(x, order, t)
    for kind in (rules.STOP, rules.LIMIT):
        for pair in pairs(x, t, x.book.pairs[found:]):  # those that came with the open's entries
            pair_at_open(x, pair, t, kind)
    if x.tape.regular(t):
        for order in list(x.book.working):  # what had only the opening print
            if order.open and order.first_bar <= t and (order.time_in_force in ("ioc", "fok") or (
                    order.time_in_force == "opg" and x.tape.opens_session(t))):
                x.book.end(order, "canceled")


def within_bar(x: Exchange, t: int) -> None:
    """The rest of bar ``t``."""
    exits_meet(x, t, (rules.STOP, rules.LIMIT), within, pair_within)
    for kind in (rules.STOP, rules.LIMIT):
        for order in [o for o in x.book.working if KIND[o.type] == kind and not o.closes]:
            if meets(x, order, t):
                within(x, order, t)


def exits_meet(x: Exchange, t: int, kinds: tuple[int, ...], one: Callable[[Exchange, Order, int], None],
               protective: Callable[[Exchange, Pair, int, int], None]) -> None:
    """Working exits and pairs meet a print: by kind, then by symbol, then what came to work first."""
    acting: list[Order | Pair] = [o for o in x.book.working if o.closes]
    acting = sorted([*acting, *pairs(x, t, x.book.pairs)], key=lambda exit_: (
        (exit_.order.symbol, exit_.place) if isinstance(exit_, Pair) else (exit_.symbol, x.book.place(exit_))))
    for kind in kinds:
        for exit_ in acting:
            if isinstance(exit_, Pair):
                protective(x, exit_, t, kind)
            elif KIND[exit_.type] == kind and meets(x, exit_, t):
                one(x, exit_, t)


def at_close(x: Exchange, t: int) -> None:
    """Orders on the close of the session's last bar; and those for the day that were sent while it ran: they would
    expire with it, and its close is the one print that is still ahead of them."""
    for order in list(x.book.working):
        late = order.time_in_force == "day" and order.first_bar > t and not order.extended_hours
        on_close = order.time_in_force == "cls" and order.first_bar <= t
        if (late or on_close) and order.open and not x.halted(order.symbol):
            at_print(x, order, t, float(x.bars.close[t, x.tape.column[order.symbol]]), "close")


def meets(x: Exchange, order: Order, t: int) -> bool:
    """Whether an order takes part in bar ``t``."""
    if not order.open or order.first_bar > t or order.time_in_force == "cls" or x.halted(order.symbol):
        return False
    if order.time_in_force == "opg":
        return x.tape.opens_session(t)
    return x.tape.regular(t) or (order.extended_hours and order.type == "limit")


def pairs(x: Exchange, t: int, among: list[Pair]) -> list[Pair]:
    """Those of ``among`` that act in bar ``t``."""
    if not x.tape.regular(t):
        return []
    return [p for p in among if p.open and p.first_bar <= t and not x.halted(p.order.symbol)]


def at_open(x: Exchange, order: Order, t: int) -> None:
    """What the opening print does to a working order."""
    at_print(x, order, t, float(x.bars.open[t, x.tape.column[order.symbol]]), "open")


def at_print(x: Exchange, order: Order, t: int, price: float, when: str) -> None:
    """What one print does to a working order; NaN is none."""
    if order.type == "trailing_stop" and not order.triggered:
        trail(order, price)
    out, asked, slips = rules.fill_at_open(KIND[order.type], order.side, price, limit_of(order),
                                           order.stop_price or 0.0, order.triggered)
    if out == rules.FILLED:
        order.triggered = order.type != "limit"
        execute(x, order, t, asked, slips, when)
    elif out == rules.TRIGGERED:
        order.triggered = True


def within(x: Exchange, order: Order, t: int) -> None:
    """What the rest of the bar does to an order that the open did not fill."""
    column = x.tape.column[order.symbol]
    high, low = float(x.bars.high[t, column]), float(x.bars.low[t, column])
    out, asked, slips = rules.fill_within(KIND[order.type], order.side, high, low, limit_of(order),
                                          order.stop_price or 0.0, order.triggered)
    if out == rules.NOT_FILLED and order.type == "trailing_stop" and not order.triggered and high > 0.0:
        # Whether the high came before the low is not known: the stop follows the high, and meets the close.
        trail(order, high if order.side < 0 else low)
        close = float(x.bars.close[t, column])
        out, asked, slips = rules.fill_within(rules.STOP, order.side, close, close, 0.0, order.stop_price or 0.0,
                                              order.triggered)
    if out == rules.TRIGGERED:
        order.triggered = True
    if out != rules.FILLED:
        return
    order.triggered = order.type != "limit"
    legs = execute(x, order, t, asked, slips, "within")
    # An entry within the bar: its stop may be hit in what is left of it, the worse case is taken. A target beyond a
    # stop entry lies on the way; one beyond a limit entry may have traded before it, so it waits for the next bar.
    if legs is not None:
        pair_within(x, legs, t, rules.STOP)
        if KIND[order.type] == rules.STOP:
            pair_within(x, legs, t, rules.LIMIT)


def trail(order: Order, price: float) -> None:
    """A trailing stop follows the best price since it was set."""
    if not price > 0.0:
        return
    best = price if order.hwm is None else (max(order.hwm, price) if order.side < 0 else min(order.hwm, price))
    if best != order.hwm:
        order.hwm = best
        away = order.trail_price if order.trail_price is not None else best * (order.trail_percent or 0.0) / 100.0
        stop = best + order.side * away
        order.stop_price = rules.floor_to_tick(stop) if order.side < 0 else rules.ceil_to_tick(stop)


def limit_of(order: Order) -> float:
    """The limit as `rules` takes it: a limit order's price, a stop's cap."""
    return (order.limit_price or 0.0) if order.type == "limit" else order.cap


# --- Pairs ------------------------------------------------------------------------------------------------------------


def pair_at_open(x: Exchange, pair: Pair, t: int, kind: int) -> None:
    """At the open: a stop, or a target, that it has passed."""
    order = pair.stop if kind == rules.STOP else pair.target if kind == rules.LIMIT else None
    if order is not None and order.open:
        price = float(x.bars.open[t, x.tape.column[order.symbol]])
        out, asked, slips = rules.fill_at_open(kind, order.side, price, limit_of(order), order.stop_price or 0.0,
                                               order.triggered)
        fill_pair(x, pair, order, t, out, asked, slips, "open")


def pair_within(x: Exchange, pair: Pair, t: int, kind: int) -> None:
    """Within the bar: the stop, or the target."""
    order = pair.stop if kind == rules.STOP else pair.target
    if order is not None and order.open:
        column = x.tape.column[order.symbol]
        high, low = float(x.bars.high[t, column]), float(x.bars.low[t, column])
        out, asked, slips = rules.fill_within(kind, order.side, high, low, limit_of(order), order.stop_price or 0.0,
                                              order.triggered)
        fill_pair(x, pair, order, t, out, asked, slips, "within")


def fill_pair(x: Exchange, pair: Pair, order: Order, t: int, out: int, asked: float, slips: bool, when: str) -> None:
    """What a print did to one of a pair. A stop that it reached has triggered, also when the volume leaves nothing to
    fill it."""
    if order is pair.stop and out != rules.NOT_FILLED:
        trigger(x, pair, t)
    if out != rules.FILLED:
        return
    if order is pair.stop:
        execute(x, order, t, asked, slips, when)
    else:
        hit_target(x, pair, t, asked, slips, when)


def trigger(x: Exchange, pair: Pair, t: int) -> None:
    """A stop that has triggered works; its sibling is gone."""
    stop, target = pair.stop, pair.target
    assert stop is not None
    if not stop.triggered:
        stop.triggered = True
        if stop.status == "held":
            x.book.become(stop, "new")
    if target is not None and target.open:
        x.book.end(target, "canceled")


def hit_target(x: Exchange, pair: Pair, t: int, asked: float, slips: bool, when: str) -> None:
    """A target fills: its stop is cancelled without a word in the stream, or shrinks with it."""
    target, stop = pair.target, pair.stop
    assert target is not None
    execute(x, target, t, asked, slips, when)
    if stop is not None and stop.open:
        if target.open:
            stop.qty = target.left
        else:
            x.book.end(stop, "canceled", silent=True)


# --- Executions -------------------------------------------------------------------------------------------------------


def room(x: Exchange, t: int, order: Order, quantity: float) -> float:
    """``quantity``, or what is left of the position it closes and of the bar's volume under the participation cap."""
    opposite = max(0.0, -order.side * x.account.qty(order.symbol))
    if order.closes or opposite > 0.0:  # never through zero
        quantity = min(quantity, opposite)
    most = x.account.costs.max_participation_pct
    if most is None:
        return rules.exact_quantity(quantity)
    whole = order.qty is not None and float(order.qty).is_integer()
    volume = float(x.bars.volume[t, x.tape.column[order.symbol]])
    left = rules.participation_quantity(volume, most, not whole) - x.used.get(order.symbol, 0.0)
    return max(0.0, rules.exact_quantity(min(quantity, left)))


def by_chance(x: Exchange, order: Order, quantity: float) -> float:
    """``quantity``, or now and then a part of it: the venue leaves the rest for the next print. Once an order."""
    if x.partial_fill_pct <= 0.0 or order.filled_qty > 0.0 or quantity < 2.0:
        return quantity
    if x.random.random() * 100.0 >= x.partial_fill_pct:
        return quantity
    return float(x.random.integers(1, int(quantity)))


def execute(x: Exchange, order: Order, t: int, asked: float, slips: bool, when: str) -> Pair | None:
    """Trade an order, or as much of it as may be; returns the pair that a complete entry put to work."""
    if order.closes and order.side * x.account.qty(order.symbol) >= 0.0:  # a split took what it was to close
        x.book.end_group(order, "canceled")
        return None
    wanted = order.shares(asked)
    if order.qty is None and order.closes:
        wanted = min(wanted, abs(x.account.qty(order.symbol)))
    quantity = room(x, t, order, wanted)
    if order.time_in_force == "fok":
        quantity = quantity if quantity >= wanted else 0.0
    else:
        quantity = by_chance(x, order, quantity)
    if quantity <= 0.0:
        return None
    if order.qty is None:
        order.qty = wanted
    x.used[order.symbol] = x.used.get(order.symbol, 0.0) + quantity
    volume = float(x.bars.volume[t, x.tape.column[order.symbol]])
    costs = x.account.costs
    cap = order.cap if KIND[order.type] == rules.STOP else 0.0
    price = rules.fill_price(order.side, asked, slips, cap, costs.slippage_bps, costs.volume_impact_bps, quantity,
                             volume)
    return x.book.fill(order, quantity, price, asked, x.journal.stamp(when_ns(x, t, when)))


def when_ns(x: Exchange, t: int, when: str) -> int:
    """The time of a print: 3 ms after the open, the middle of the bar, its end."""
    start, end = int(x.tape.starts[t]), int(x.tape.ends[t])
    return {"open": start + 3 * NS_A_MILLISECOND, "within": start + (end - start) // 2, "close": end}[when]
