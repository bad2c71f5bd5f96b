"""Every order of a plan meets the gates: what is known of it and of the account, as the gates want it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from botlib import rules
from botlib.engine.state import ENTRY, WORKING
from botlib.gates import Gate, validate
from botlib.order_state import OrderState, average_volume
from botlib.safety import SafetyControls
from botlib.session.checking import usual_age
from botlib.session.core import LEGS, SessionCore
from botlib.session.links import Intent
from botlib.session.observing import Facts
from botlib.watch import Watch

_VOLUME_DAYS = 40  # looked at for an average daily volume


def guard(core: SessionCore, intent: Intent, facts: Facts, watch: Watch, controls: SafetyControls, *,
          final: pd.Timestamp, session_seconds: float | None, externals: Mapping[str, float]) -> Gate:
    """Whether an intent may be sent now.

    Parameters
    ----------
    final : pandas.Timestamp
        When the bar of the decision became final.
    session_seconds : float, optional
        From one session's close to the next one's, for the usual age of daily bars.
    externals : mapping
        Shares by symbol that are not the ledger's; they count in gross exposure.
    """
    request, i = intent.request, core.column[intent.symbol]
    side = 1 if request.side == "buy" else -1
    close = float(core.book.last_close[i]) if core.book.position[i] else float(core.bars.close[-1, i])
    price = request.limit_price or request.stop_price or close
    orders = core.book.rows("orders")
    other = (orders["status"] == WORKING) & (orders["symbol"] == i)
    other[_rows(core, intent)] = False
    others = orders[other]
    adds = others[(others["purpose"] == ENTRY) & (others["side"] == side)]
    state = OrderState(
        symbol=intent.symbol, adds_risk=intent.adds_risk, side=request.side, qty=request.qty, price=price,
        last_good_price=watch.last_good(intent.symbol) if intent.adds_risk else close,
        position=float(core.book.position[i]),
        working_same_side_qty=float((adds["quantity"] - adds["filled"]).sum()),
        working_exits_qty=_working_exits(core, others, intent), state=watch.state, latched=watch.latched,
        account_blocked=bool(facts.account.blocked), orders_today=watch.orders_today,
        exits_today=watch.exits_today.get(intent.symbol, 0),
        equity=float(core.book["equity"] - core.book["receivable"]),
        data_age_seconds=max(0.0, (facts.time - final).total_seconds()),
        usual_data_age_seconds=usual_age(controls, core.bars.interval, session_seconds),
        gross=_gross(core, facts, externals), working_gross=_working_gross(core, intent),
        account_equity=facts.account.equity, adv=_adv(core, i))
    return validate(controls, state)


def _working_exits(core: SessionCore, others: np.ndarray, intent: Intent) -> float:
    """Shares on their way out by other orders: exits, and each other lot's legs once."""
    exits = others[~np.isin(others["purpose"], (ENTRY, *LEGS))]
    total = float((exits["quantity"] - exits["filled"]).sum())
    legs = others[np.isin(others["purpose"], LEGS)]
    mine = {int(core.book.orders["lot"][core.rows[uid]]) for uid in intent.uids if uid in core.rows}
    for lot in set(legs["lot"].tolist()) - (mine if intent.purpose == "protect" else set()):
        total += float(core.book.lots["quantity"][lot])
    return total


def _gross(core: SessionCore, facts: Facts, externals: Mapping[str, float]) -> float | None:
    total = float(core.book["gross"])
    for symbol, shares in externals.items():
        price = facts.prices.get(symbol)
        if price is None:
            return None
        total += abs(shares) * price
    return total


def _rows(core: SessionCore, intent: Intent) -> list[int]:
    """The book's rows of what an intent carries out."""
    return [core.rows[uid] for uid in intent.uids if uid in core.rows]


def _working_gross(core: SessionCore, intent: Intent) -> float:
    orders = core.book.rows("orders")
    other = (orders["status"] == WORKING) & (orders["purpose"] == ENTRY)
    other[_rows(core, intent)] = False
    entries = orders[other]
    symbols = entries["symbol"]
    close = core.bars.close[-1, symbols]
    prices = np.where(entries["kind"] == rules.LIMIT, entries["limit"], close)
    for n in np.flatnonzero(~(prices > 0.0)):
        prices[n] = _last_close(core, int(symbols[n]))
    return float(((entries["quantity"] - entries["filled"]) * prices).sum())


def _last_close(core: SessionCore, i: int) -> float:
    """The latest close there is: a symbol may have no bar now."""
    close = core.bars.close[:, i]
    if close[-1] > 0.0:
        return float(close[-1])
    known = np.flatnonzero(close > 0.0)
    return float(close[known[-1]]) if len(known) else float("nan")


def _adv(core: SessionCore, i: int) -> float | None:
    """Average daily volume; intraday bars are added up by session, the running one left out."""
    volume: Any = core.bars.volume[:, i]
    if core.bars.interval != "1d":
        first = np.append(0, np.flatnonzero(np.diff(core.bars.sessions)) + 1)[-_VOLUME_DAYS - 1:]
        sums = np.add.reduceat(np.nan_to_num(volume[first[0]:]), first - first[0])
        volume = sums[:-1] if len(sums) > 1 else sums
    return average_volume(volume[-_VOLUME_DAYS:][~np.isnan(volume[-_VOLUME_DAYS:])])
