"""The trading arithmetic, once.

Pure compiled functions of numbers: sizes, ticks, what a bar fills and at which price, costs, buying power, splits. The
compiled backtest, the local exchange and the sessions call these same functions, so their decisions cannot drift apart.
Nothing here knows of time, files, networks or a strategy. Quantities are in shares and positive, ``side`` is +1 to buy
and -1 to sell (a position's side: +1 long, -1 short), prices in dollars. A NaN price fills and sizes nothing.
"""

from __future__ import annotations

import math

from botlib._jit import compiled

BUY, SELL = 1, -1
MARKET, LIMIT, STOP = 0, 1, 2

NOT_FILLED, FILLED, TRIGGERED = 0, 1, 2
"""What a bar did to an order; TRIGGERED is a stop that became a limit order which the price has left behind."""

SHORT_RESERVE = 1.03
"""Alpaca reserves a short sale at the higher of its limit and 3 % above the ask."""

LEG_DISTANCE = 0.01
"""Dollars that a protective leg must be away from the price when it is placed."""

_TICK_SLACK = 1e-6  # of a tick: 110 * 0.95 is 104.49999999999999, and means 104.50
_CENT_SLACK = 1e-6  # of a cent
_SHARE_SLACK = 1e-9  # of a share


# --- Prices -----------------------------------------------------------------------------------------------------------


@compiled()
def ticks_per_dollar(price: float) -> float:
    """100 at or above $1, 10,000 below (SEC Rule 612; Alpaca refuses anything finer)."""
    return 100.0 if price >= 1.0 else 10_000.0


@compiled()
def floor_to_tick(price: float) -> float:
    """The highest valid price not above ``price``; a missing one (NaN) stays missing."""
    if not price > 0.0:
        return price
    n = ticks_per_dollar(price)
    return math.floor(price * n + _TICK_SLACK) / n


@compiled()
def ceil_to_tick(price: float) -> float:
    """The lowest valid price not below ``price``; a missing one (NaN) stays missing."""
    if not price > 0.0:
        return price
    n = ticks_per_dollar(price)
    return math.ceil(price * n - _TICK_SLACK) / n


@compiled()
def round_fill(price: float) -> float:
    """A fill price, rounded half up to 4 decimals."""
    return math.floor(price * 10_000.0 + 0.5 + _TICK_SLACK) / 10_000.0


@compiled()
def stop_leg_price(position_side: int, close: float, stop_loss_pct: float) -> float:
    """The protective stop of an entry decided at ``close``: floored for longs, raised for shorts."""
    if position_side > 0:
        return floor_to_tick(close * (1.0 - stop_loss_pct / 100.0))
    return ceil_to_tick(close * (1.0 + stop_loss_pct / 100.0))


@compiled()
def target_leg_price(position_side: int, close: float, take_profit_pct: float) -> float:
    """The profit target of an entry decided at ``close``: raised for longs, floored for shorts."""
    if position_side > 0:
        return ceil_to_tick(close * (1.0 + take_profit_pct / 100.0))
    return floor_to_tick(close * (1.0 - take_profit_pct / 100.0))


@compiled()
def leg_passed(position_side: int, price: float, stop: float, target: float) -> int:
    """Whether the price has passed a protective leg, so that it can't be placed: STOP, LIMIT (the target) or -1.

    Alpaca wants both at least a cent away from the price, else it refuses the order. A missing leg (NaN) is not passed.
    """
    if position_side * (price - stop) < LEG_DISTANCE - _TICK_SLACK:
        return STOP
    if position_side * (target - price) < LEG_DISTANCE - _TICK_SLACK:
        return LIMIT
    return -1


@compiled()
def stop_passed(side: int, price: float, stop: float) -> bool:
    """Whether the price is at or beyond an order's stop, so that Alpaca refuses it. An unknown price (NaN) is not."""
    return side * (stop - price) <= 0.0


@compiled()
def stop_cap(side: int, stop: float) -> float:
    """The limit Alpaca adds to a buy stop: +4 % under $50, else +2.5 %, on a tick. A sell stop has none (0)."""
    if side < 0:
        return 0.0
    return floor_to_tick(stop * (1.04 if stop < 50.0 else 1.025))


# --- Sizes ------------------------------------------------------------------------------------------------------------


@compiled()
def round_quantity(quantity: float, fractional: bool) -> float:
    """Whole shares, or 9 decimals; always down."""
    if not quantity > 0.0:
        return 0.0
    if fractional:
        return math.floor(quantity * 1e9 + _SHARE_SLACK) / 1e9
    return math.floor(quantity + _SHARE_SLACK)


@compiled()
def exact_quantity(quantity: float) -> float:
    """A sum or difference of quantities without the dust of adding floats: the nearest 9 decimals."""
    return math.floor(quantity * 1e9 + 0.5) / 1e9


@compiled()
def target_quantity(weight: float, equity: float, price: float, fractional: bool) -> float:
    """Shares for a target weight: ``floor(|weight| * equity / price)``. Shorts are whole: Alpaca has no other."""
    if not (price > 0.0 and equity > 0.0):
        return 0.0
    return round_quantity(abs(weight) * equity / price, fractional and weight > 0.0)


@compiled()
def participation_quantity(volume: float, max_participation_pct: float, fractional: bool) -> float:
    """The most a bar's volume lets us trade; ``inf`` when there is no cap (``max_participation_pct`` is inf)."""
    if max_participation_pct == math.inf:
        return math.inf
    if not volume > 0.0:
        return 0.0
    return round_quantity(volume * max_participation_pct / 100.0, fractional)


# --- What a bar fills -------------------------------------------------------------------------------------------------


@compiled()
def slipped(side: int, price: float, slippage_bps: float, impact_bps: float, quantity: float, volume: float) -> float:
    """``price`` moved against us: a fixed part, and one that grows with the square of our share of the bar's volume
    (the form of zipline's VolumeShareSlippage)."""
    bps = slippage_bps
    if impact_bps > 0.0 and volume > 0.0:
        share = quantity / volume
        bps += impact_bps * share * share
    return price * (1.0 + side * bps / 10_000.0)


@compiled()
def fill_at_open(kind: int, side: int, open_: float, limit: float, stop: float, triggered: bool):
    """What the opening print does to a working order.

    Returns ``(outcome, price, slips)``. A market order fills; a stop that the open has passed fills at the open, unless
    the open lies beyond its cap (a stop's ``limit``; 0: none); a limit that the open has passed fills at the open,
    better than asked.
    """
    if not open_ > 0.0:
        return NOT_FILLED, 0.0, False
    if kind == MARKET:
        return FILLED, open_, True
    if kind == LIMIT:
        if (side > 0 and open_ <= limit) or (side < 0 and open_ >= limit):
            return FILLED, open_, False
        return NOT_FILLED, 0.0, False
    within = limit <= 0.0 or (open_ <= limit if side > 0 else open_ >= limit)
    if triggered:  # it has become a limit order, or a market order when it has no cap
        return (FILLED, open_, limit <= 0.0) if within else (NOT_FILLED, 0.0, False)
    if (open_ >= stop) if side > 0 else (open_ <= stop):
        return (FILLED, open_, True) if within else (TRIGGERED, 0.0, False)
    return NOT_FILLED, 0.0, False


@compiled()
def fill_within(kind: int, side: int, high: float, low: float, limit: float, stop: float, triggered: bool):
    """What the rest of the bar does to an order that the open did not fill: ``(outcome, price, slips)``.

    A stop-limit order that triggers with its limit on the near side of the stop waits for the next bar: whether the
    price came back is not known.
    """
    if kind == LIMIT or (kind == STOP and triggered and limit > 0.0):
        if (side > 0 and low <= limit) or (side < 0 and high >= limit):
            return FILLED, limit, False
        return NOT_FILLED, 0.0, False
    if kind == STOP and not triggered and ((side > 0 and high >= stop) or (side < 0 and low <= stop)):
        if limit > 0.0 and side * (stop - limit) > 0.0:  # a stop-limit order whose limit lies on the near side
            return TRIGGERED, 0.0, False
        return FILLED, stop, True
    return NOT_FILLED, 0.0, False


@compiled()
def fill_price(side: int, price: float, slips: bool, limit: float, slippage_bps: float, impact_bps: float,
               quantity: float, volume: float) -> float:
    """The price of a fill: slipped where it slips, never beyond a stop's cap, rounded to 4 decimals."""
    if slips:
        price = slipped(side, price, slippage_bps, impact_bps, quantity, volume)
        if limit > 0.0:
            price = min(price, limit) if side > 0 else max(price, limit)
    return round_fill(price)


# --- Costs ------------------------------------------------------------------------------------------------------------


@compiled()
def cents_up(amount: float) -> float:
    """A fee, rounded up to the cent."""
    return math.ceil(amount * 100.0 - _CENT_SLACK) / 100.0


@compiled()
def commission(quantity: float, price: float, bps: float, per_share: float, minimum: float) -> float:
    """The broker's commission on one fill, unrounded."""
    return max(minimum, quantity * price * bps / 10_000.0 + quantity * per_share)


@compiled()
def regulatory_fees(side: int, quantity: float, price: float, sec_rate: float, taf_per_share: float, taf_max: float,
                    cat_per_share: float) -> float:
    """SEC Section 31 and FINRA TAF on sells, CAT on both sides, each rounded up to the cent."""
    fees = cents_up(quantity * cat_per_share)
    if side < 0:
        fees += cents_up(quantity * price * sec_rate) + cents_up(min(quantity * taf_per_share, taf_max))
    return fees


@compiled()
def interest(amount: float, rate_pct: float, days: int) -> float:
    """Simple interest for calendar days on a 360-day year, as US brokers charge it."""
    return amount * rate_pct / 100.0 * days / 360.0


# --- Buying power -----------------------------------------------------------------------------------------------------


@compiled()
def reserve(side: int, quantity: float, kind: int, close: float, limit: float) -> float:
    """Buying power an entry holds from its submission to its execution.

    A market buy at the last close, a limit buy at its limit, a buy stop at its cap; a short sale at the higher of its
    limit and 3 % above the last close.
    """
    if side > 0:
        return quantity * (close if kind == MARKET else limit)
    return quantity * max(limit if kind == LIMIT else 0.0, SHORT_RESERVE * close)


@compiled()
def buying_power(cash: float, equity: float, gross: float, reserved: float, max_gross_exposure_pct: float,
                 cash_account: bool) -> float:
    """What is left for new entries: the gross exposure the account may still take, in a cash account no more than cash.

    Proceeds of a sale count at once: settlement on the next day is not modelled.
    """
    room = equity * max_gross_exposure_pct / 100.0 - gross
    if cash_account:
        room = min(room, cash)
    return room - reserved


@compiled()
def fits(needed: float, available: float) -> bool:
    """Whether an order fits; rounding, up to 1e-8 of what is available, does not refuse it."""
    return needed <= available + 1e-8 * max(1.0, abs(available))


# --- Corporate actions ------------------------------------------------------------------------------------------------


@compiled()
def split_quantity(quantity: float, ratio: float, fractional: bool) -> float:
    """Shares of a position after a split; a fraction of a share is paid out in cash (see `split_cash_in_lieu`)."""
    return round_quantity(quantity * ratio, fractional)


@compiled()
def split_cash_in_lieu(quantity: float, ratio: float, last_close: float, fractional: bool) -> float:
    """Cash for the fraction of a share that a split leaves over, at the last close, so that equity does not move."""
    return (quantity * ratio - split_quantity(quantity, ratio, fractional)) * last_close / ratio


@compiled()
def split_price(position_side: int, price: float, ratio: float, is_stop: bool) -> float:
    """A resting leg's price after a split, on a tick, rounded the way the leg was."""
    down = (position_side > 0) == is_stop
    return floor_to_tick(price / ratio) if down else ceil_to_tick(price / ratio)
