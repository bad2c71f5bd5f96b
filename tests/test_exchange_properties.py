"""Random calls at the local exchange: whatever is asked of it, the books balance and nobody sees the future."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import numpy as np
import pandas as pd
import pytest
from engine_helpers import make_bars
from exchange_helpers import sessions
from hypothesis import given, settings
from hypothesis import strategies as st

import botlib
from botlib.alpaca_rules import OrderRequest
from botlib.bars import Bars
from botlib.sandbox.exchange import Exchange
from botlib.sandbox.orders import Refusal

pytestmark = pytest.mark.slow  # long random scripts

NAMES = ("ALFA", "GOLF", "ZULU")
CASH = 100_000.0
PAID = botlib.Costs(slippage_bps=3.0, commission_bps=1.0, regulatory_fees=True, borrow_rate_pct=3.0,
                    margin_rate_pct=8.0)

# Who may follow whom, from the order statuses of Alpaca's Trading API document ("An order may be canceled through the
# API up until the point it reaches a state of either filled, canceled, or expired"); held is a leg's first status.
NEXT = {
    "": {"accepted", "pending_new", "held", "new", "partially_filled"},
    "accepted": {"new", "pending_cancel", "canceled", "expired"},
    "pending_new": {"new", "canceled", "expired"},
    "held": {"new", "pending_cancel", "canceled", "expired", "replaced"},
    "new": {"partially_filled", "filled", "pending_cancel", "canceled", "expired", "replaced"},
    "partially_filled": {"partially_filled", "filled", "pending_cancel", "canceled", "expired", "replaced"},
    "pending_cancel": {"pending_cancel", "filled", "canceled", "expired"},
    "filled": set(), "canceled": set(), "expired": set(), "replaced": set(),
}
EVENTS = {"fill": {"filled"}, "partial_fill": {"partially_filled", "pending_cancel"},
          "new": {"new", "partially_filled"}}
"""The status beside an event, where it is not that of its name; a replacement begins with "new"."""


# --- Markets and calls ------------------------------------------------------------------------------------------------


def world(seed: int, intraday: bool) -> Bars:
    """Three symbols with gaps, holes, thin volume, splits and dividends; intraday with bars before and after hours."""
    rng = np.random.default_rng(seed)
    count = 15 if intraday else 14
    days = sessions(3 if intraday else count)
    times = ("8h30min", "9h30min", "11h30min", "15h", "16h30min")
    index = pd.DatetimeIndex([d + pd.Timedelta(h) for d in days for h in times]) if intraday else days
    cells: dict[str, list[Any]] = {}
    actions = []
    for symbol in NAMES:
        price, column = float(rng.uniform(2.0, 90.0)), []
        split_at = int(rng.integers(1, len(days)))
        for t in range(count):
            first = t > 0 and index[t].date() != index[t - 1].date()
            if first and days[split_at].date() == index[t].date() and rng.random() < 0.6:
                ratio = float(rng.choice([2.0, 1.5, 0.1, 0.25]))
                actions.append((symbol, str(index[t].date()), "split", ratio))
                price /= ratio
            if first and rng.random() < 0.25:
                later = str((index[t] + pd.Timedelta(days=int(rng.integers(1, 4)))).date())
                actions.append((symbol, str(index[t].date()), "cash_dividend", round(price * 0.01, 2),
                                later if rng.random() < 0.5 else None))
            opened = max(1.2, price * (1.0 + rng.normal(0.0, 0.02) + (rng.normal(0.0, 0.1) if rng.random() < 0.2
                                                                        else 0.0)))
            path = np.round([opened, *(opened * np.cumprod(1.0 + rng.normal(0.0, 0.015, 4)))], 2)
            volume = float(rng.choice([0.0, 40.0, 800.0, 1e6, 1e6]))
            column.append(None if t and rng.random() < 0.08 and symbol != NAMES[0] else
                          tuple(float(v) for v in (path[0], path.max(), path.min(), path[-1], volume)))
            price = max(1.2, float(path[-1]))
        cells[symbol] = column
    return make_bars(cells, index, calendar="XNYS", actions=actions or None, interval="1h" if intraday else "1d")


CALLS = ("submit", "submit", "submit", "submit", "bracket", "bracket", "oco", "cancel", "replace", "replace", "advance",
         "advance", "advance", "half", "close_position", "cancel_all", "close_all", "halt", "resume", "stuck", "loose",
         "deposit", "partial", "block", "unblock", "tell", "get")
Call = tuple[str, int]
calls = st.lists(st.tuples(st.sampled_from(CALLS), st.integers(0, 10**6)), min_size=5, max_size=70)


class Player:
    """Carries calls out; what is random in them follows from their number and from what the exchange shows."""

    def __init__(self, x: Exchange) -> None:
        self.x = x
        self.refusals: set[str] = set()

    def do(self, call: Call) -> None:
        name, dice = call
        try:
            getattr(self, name)(np.random.default_rng(dice))
        except Refusal as refusal:
            assert refusal.status in (403, 404, 422) and refusal.code and refusal.message and refusal.rule
            self.refusals.add(refusal.rule)

    def price(self, rng: np.random.Generator, symbol: str, spread: float = 0.04) -> float:
        return round(max(0.5, (self.x.price(symbol) or 10.0) * (1.0 + rng.normal(0.0, spread))), 2)

    def submit(self, rng: np.random.Generator) -> None:
        symbol = str(rng.choice(NAMES))
        kind = str(rng.choice(["market", "limit", "stop", "stop_limit", "trailing_stop"]))
        fields: dict[str, Any] = {"time_in_force": str(rng.choice(["day", "gtc", "ioc", "fok", "opg", "cls"]))}
        if kind in ("stop", "stop_limit", "trailing_stop"):
            fields["time_in_force"] = str(rng.choice(["day", "gtc"]))
        if kind in ("limit", "stop_limit"):
            fields["limit_price"] = self.price(rng, symbol)
        if kind in ("stop", "stop_limit"):
            fields["stop_price"] = self.price(rng, symbol)
        if kind == "trailing_stop":
            fields["trail_percent"] = 3.0
        if kind == "limit" and rng.random() < 0.3:
            fields |= {"extended_hours": True, "time_in_force": "day"}
        size: dict[str, Any] = {"qty": float(rng.integers(1, 400))}
        if rng.random() < 0.15:
            size = {"qty": round(float(rng.uniform(0.1, 30.0)), 3)}
            fields |= {"time_in_force": "day"}
        elif kind == "market" and rng.random() < 0.2:
            size = {"notional": float(rng.integers(1, 9_000))}
            fields |= {"time_in_force": "day"}
        if rng.random() < 0.1:
            fields["client_order_id"] = f"mine-{rng.integers(3)}"
        self.x.submit(OrderRequest(symbol=symbol, side=str(rng.choice(["buy", "sell"])), type=kind, **size,  # type: ignore[arg-type]
                                   **fields))

    def bracket(self, rng: np.random.Generator) -> None:
        symbol, up = str(rng.choice(NAMES)), 1.0 if rng.random() < 0.6 else -1.0
        last = self.x.price(symbol) or 10.0
        limit = round(last * (1.0 - up * 0.005), 2)
        profit, loss = round(limit * (1.0 + up * 0.03), 2), round(limit * (1.0 - up * 0.02), 2)
        legs: dict[str, Any] = [{"take_profit": profit, "stop_loss": loss}, {"stop_loss": loss},
                                {"take_profit": profit}][int(rng.integers(3))]
        if "stop_loss" in legs and rng.random() < 0.3:
            legs["stop_loss_limit"] = round(loss - up * 0.05, 2)
        entry: dict[str, Any] = [{}, {"type": "limit", "limit_price": limit}][int(rng.integers(2))]
        self.x.submit(OrderRequest(symbol=symbol, side="buy" if up > 0 else "sell", qty=float(rng.integers(1, 200)),
                                   time_in_force=str(rng.choice(["day", "gtc"])),  # type: ignore[arg-type]
                                   order_class="bracket" if "take_profit" in legs and "stop_loss" in legs else "oto",
                                   **entry, **legs))

    def oco(self, rng: np.random.Generator) -> None:
        held = [s for s in NAMES if s in self.x.positions]
        if not held:
            return
        symbol = str(rng.choice(held))
        qty, last = self.x.positions[symbol].qty, self.x.price(symbol) or 10.0
        up = 1.0 if qty > 0 else -1.0
        size = float(math.floor(abs(qty) * rng.choice([0.5, 1.0]))) or 1.0
        self.x.submit(OrderRequest(symbol=symbol, side="sell" if qty > 0 else "buy", qty=size, type="limit",
                                   time_in_force="gtc", order_class="oco", take_profit=round(last * (1 + up * 0.02), 2),
                                   stop_loss=round(last * (1 - up * 0.02), 2)))

    def some_order(self, rng: np.random.Generator) -> str:
        working = [o.id for o in self.x.orders.values() if o.open]
        ids = working if working and rng.random() < 0.8 else list(self.x.orders) or ["no-such-order"]
        return ids[int(rng.integers(len(ids)))]

    def cancel(self, rng: np.random.Generator) -> None:
        self.x.cancel(self.some_order(rng))

    def get(self, rng: np.random.Generator) -> None:
        self.x.get(self.some_order(rng))

    def replace(self, rng: np.random.Generator) -> None:
        name = self.some_order(rng)
        old = self.x.orders.get(name)
        changes: dict[str, Any] = {}
        if old is not None and old.limit_price is not None and rng.random() < 0.7:
            changes["limit_price"] = self.price(rng, old.symbol)
        if old is not None and old.stop_price is not None and old.type != "trailing_stop" and rng.random() < 0.7:
            changes["stop_price"] = self.price(rng, old.symbol)
        if old is not None and old.type == "trailing_stop":
            changes["trail"] = 2.0
        if rng.random() < 0.4:
            changes["qty"] = float(rng.integers(1, 400))
        if rng.random() < 0.3:
            changes["time_in_force"] = str(rng.choice(["day", "gtc"]))
        self.x.replace(name, **changes)

    def advance(self, _: Any) -> None:
        self.x.advance()

    def half(self, _: Any) -> None:
        if self.x.tape.in_progress:
            self.x.close_bar()
        elif not self.x.done:
            self.x.open_bar()

    def close_position(self, rng: np.random.Generator) -> None:
        self.x.close_position(str(rng.choice(NAMES)), percentage=float(rng.choice([33.0, 50.0, 100.0])))

    def cancel_all(self, _: Any) -> None:
        self.x.cancel_all()

    def close_all(self, rng: np.random.Generator) -> None:
        self.x.close_all(bool(rng.random() < 0.5))

    def halt(self, rng: np.random.Generator) -> None:
        self.x.halt(str(rng.choice(NAMES)))

    def resume(self, _: Any) -> None:
        for symbol in NAMES:
            self.x.resume(symbol)

    def stuck(self, _: Any) -> None:
        self.x.stuck_cancels = True

    def loose(self, _: Any) -> None:
        self.x.stuck_cancels = False

    def deposit(self, rng: np.random.Generator) -> None:
        self.x.deposit(float(rng.choice([-500.0, 2_000.0])))

    def partial(self, rng: np.random.Generator) -> None:
        self.x.partial_fill_pct = float(rng.choice([0.0, 60.0]))

    def block(self, _: Any) -> None:
        self.x.block()

    def unblock(self, _: Any) -> None:
        self.x.block(False)

    def tell(self, rng: np.random.Generator) -> None:
        """Time goes on, but not beyond what happens next."""
        tape = self.x.tape
        times = (tape.finals if tape.in_progress else tape.starts)[tape.bar + 1:]
        if len(times) and times[0] > self.x.now:
            self.x.tell(self.x.now + int(rng.integers(0, int(times[0]) - self.x.now)))


# --- What must hold ---------------------------------------------------------------------------------------------------


def check(x: Exchange) -> None:
    """The invariants of one account, from its activities and updates alone."""
    cash, held, filled = CASH, defaultdict(float), defaultdict(float)
    for a in x.activities:
        cash += a.net_amount - (a.side * a.qty * a.price if a.type == "FILL" else 0.0)
        if a.type == "FILL":
            before = held[a.symbol]
            held[a.symbol] += a.side * a.qty
            filled[a.order_id] += a.qty
            assert before * held[a.symbol] >= -1e-9, "through zero in one fill"
            assert a.qty > 0.0 and a.price > 0.0
        elif a.type == "SPLIT":
            held[a.symbol] += a.qty
    assert x.cash == pytest.approx(cash, abs=1e-6)
    assert {s: p.qty for s, p in x.positions.items()} == pytest.approx(
        {s: q for s, q in held.items() if abs(q) > 1e-9}, abs=1e-7)
    for order in x.orders.values():
        chain = filled[order.id] + sum(filled[o.id] for o in ancestors(x, order))
        assert order.filled_qty == pytest.approx(chain, abs=1e-7)
        assert order.qty is None or order.filled_qty <= order.qty + 1e-7
        assert order.status != "filled" or order.left <= 1e-7
        assert order.reserved >= 0.0 and (order.open or order.reserved == 0.0)
    working = [o for o in x.orders.values() if o.open]
    assert x.account.reserved == pytest.approx(sum(o.reserved for o in working), abs=1e-6)
    assert working or x.account.reserved == 0.0
    for symbol in NAMES:
        check_held(x, symbol)
    assert x.equity == pytest.approx(x.cash + sum(p.qty * (x.price(s) or 0.0) for s, p in x.positions.items()))


def ancestors(x: Exchange, order: Any) -> list[Any]:
    out = []
    while order.replaces is not None:
        order = x.orders[order.replaces]
        out.append(order)
    return out


def check_held(x: Exchange, symbol: str) -> None:
    """Open exits, a group once, never exceed what there is to close; nor does what the exchange says is held."""
    position = x.positions[symbol].qty if symbol in x.positions else 0.0
    groups: dict[str, float] = {}
    for o in x.orders.values():
        waiting = o.parent is not None and o.parent.open and o.order_class != "oco"
        if o.symbol == symbol and o.open and o.position_intent.endswith("close") and not waiting and o.qty is not None:
            key = o.group_id or o.id
            groups[key] = max(groups.get(key, 0.0), o.left)
            assert o.side * position <= 0.0, "an exit on the side of the position"
    assert sum(groups.values()) <= abs(position) + 1e-7
    assert 0.0 <= x.held_for_orders(symbol) <= abs(position)
    assert abs(x.available(symbol)) == pytest.approx(abs(position) - x.held_for_orders(symbol))
    assert x.available(symbol) * position >= 0.0


def check_updates(x: Exchange) -> None:
    """Times never decrease; every change of status is allowed and told, but for the documented silent one."""
    status: dict[str, str] = defaultdict(str)
    time = 0
    for u in x.updates:
        assert u.time >= time
        time, o = u.time, u.order
        assert o.status in EVENTS.get(u.event, {u.event}), (u.event, o.status)
        if status[o.id] == "" and o.parent is not None and u.event != "held":
            status[o.id] = "held" if o.replaces is None else ""  # legs begin held, inside their parent
        assert o.status in NEXT[status[o.id]], (status[o.id], o.status)
        status[o.id] = o.status
        assert (u.price is not None) == (u.event in ("fill", "partial_fill"))
    for o in x.orders.values():
        told = status[o.id] or "held"
        silent = o.group_role == "stop_loss" and o.status == "canceled" and told in ("held", "new", "pending_cancel")
        assert o.status == told or (silent and any(
            p.status == "filled" and p.group_id == o.group_id and p.group_role == "take_profit"
            for p in x.orders.values())), (told, o.status)


def play(x: Exchange, script: list[Call], *, checked: bool) -> Player:
    player = Player(x)
    for call in script:
        player.do(call)
        if checked:
            check(x)
    return player


def told(x: Exchange) -> list[str]:
    """All that readers get, in letters."""
    return [repr(u) for u in x.updates] + [repr(a) for a in x.activities] + [repr(e) for e in x.equity_history] + [
        repr((x.now, x.bar, x.cash, x.equity, x.buying_power, x.price(s), x.held_for_orders(s))) for s in NAMES]


def exchange(bars: Bars, seed: int, **options: Any) -> Exchange:
    costs = PAID if seed % 2 else botlib.Costs(max_participation_pct=25.0, regulatory_fees=False)
    return Exchange(bars, cash=CASH, costs=costs, seed=seed, first=2, **options)


# --- The properties ---------------------------------------------------------------------------------------------------


@settings(max_examples=150)
@given(st.integers(0, 10**6), st.booleans(), calls)
def test_the_books_balance_after_every_call(seed, intraday, script):
    x = exchange(world(seed, intraday), seed)
    play(x, script, checked=True)
    check_updates(x)
    while x.advance():
        check(x)
    check_updates(x)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.booleans(), calls)
def test_the_same_seed_and_calls_give_the_same_bytes(seed, intraday, script):
    bars = world(seed, intraday)
    one, two = exchange(bars, seed), exchange(bars, seed)
    play(one, script, checked=False)
    play(two, script, checked=False)
    assert told(one) == told(two)


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.booleans(), calls)
def test_what_is_told_does_not_depend_on_the_future(seed, intraday, script):
    """Other bars after the last one that happened, and other actions: up to then every reader says the same."""
    bars = world(seed, intraday)
    one = exchange(bars, seed)
    play(one, script, checked=False)
    known = one.bar + one.tape.in_progress
    rng = np.random.default_rng(seed + 1)
    panels = {}
    for name in ("open", "high", "low", "close", "volume"):
        panel = getattr(bars, name).copy()
        later = slice(known + 1, None) if name == "open" or not one.tape.in_progress else slice(known, None)
        panel[later] = np.round(panel[later] * rng.uniform(0.3, 3.0), 2)
        if name == "volume":  # the bar in progress is filled by its whole volume, as the backtest does
            panel[known] = bars.volume[known]
        panels[name] = panel
    for wide, pick in (("high", np.fmax), ("low", np.fmin)):
        for name in ("open", "close"):
            panels[wide] = pick(panels[wide], np.where(np.isnan(panels[wide]), np.nan, panels[name]))
    actions = bars.actions
    if actions is not None:
        actions = actions[actions["ex_date"] <= bars.index[known].tz_localize(None)].reset_index(drop=True)
    other = Bars(bars.index, bars.symbols, **panels, interval=bars.interval, calendar="XNYS", actions=actions)
    two = exchange(other, seed)
    play(two, script, checked=False)
    assert told(one) == told(two)


@settings(max_examples=25)
@given(st.integers(0, 10**6), calls)
def test_a_cash_account_never_borrows_or_shorts(seed, script):
    """Nobody withdraws here, and nothing slips beyond what a limit or the last close reserved but for gaps."""
    x = Exchange(world(seed, False), cash=CASH, seed=seed, first=2, multiplier=1.0)
    player = Player(x)
    for call in script:
        player.do(call)
        assert all(p.qty > 0.0 for p in x.positions.values())
        assert all(o.position_intent in ("buy_to_open", "sell_to_close") for o in x.orders.values())


def test_the_random_calls_reach_every_state_and_most_refusals():
    """The properties above would hold for an exchange that refuses everything."""
    rng = np.random.default_rng(0)
    statuses, events, refusals = set(), set(), set()
    for seed in range(60):
        x = exchange(world(seed, bool(seed % 2)), seed)
        script = [(CALLS[int(rng.integers(len(CALLS)))], int(rng.integers(10**6))) for _ in range(70)]
        refusals |= play(x, script, checked=False).refusals
        statuses |= {u.order.status for u in x.updates}
        events |= {u.event for u in x.updates}
    assert statuses == set(NEXT) - {""}
    assert events == {"accepted", "pending_new", "new", "held", "partial_fill", "fill", "pending_cancel", "canceled",
                      "expired", "replaced"}
    assert refusals >= {"insufficient-quantity", "wash-trade", "duplicate-client-order-id",
                        "account-blocked", "opposite-entry", "not-cancelable", "no-position", "replace-state",
                        "replace-done", "replace-unchanged", "bracket-not-entry", "stop-wrong-side", "opg-window"}
