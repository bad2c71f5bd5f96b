"""One bar happens to the account: corporate actions, the open, the bar, its close (RULES: what a bar fills, money)."""

from __future__ import annotations

import math

from botlib import rules, safety
from botlib._jit import compiled
from botlib.engine.state import (
    CANCELLED,
    DIVIDEND,
    DONE,
    ENTRY,
    EXIT,
    EXPIRED,
    NO_LEG,
    REJECTED,
    R_BELOW_ONE_SHARE,
    R_BUYING_POWER,
    R_EXIT,
    R_KILL,
    R_NONE,
    R_OCO,
    R_PARTIAL,
    R_SESSION_CLOSE,
    SPLIT,
    STOP_LEG,
    TARGET_LEG,
    WORKING,
    actions,
    closes,
    equity_curve,
    fee_rows,
    fills,
    gross_curve,
    halts,
    head,
    held,
    highs,
    last_close,
    lots,
    lows,
    opens,
    orders,
    payable,
    position,
    sessions,
    standing,
    trades,
    used,
    used_bar,
    volumes,
    wanted,
    working,
)

# --- Orders and lots ---------------------------------------------------------------------------------------------------


@compiled()
def end_order(w, oid, t, status, reason):
    """An order becomes terminal; what it still reserved is free again."""
    o = orders(w)[oid]
    o.status, o.reason, o.closed = status, reason, t
    w.reserved -= o.reserved
    o.reserved = 0.0


@compiled()
def new_order(w, t, symbol, side, kind, purpose, quantity, limit, stop):
    """Append a working order and return its id; legs rest with their lot, all others in the working list."""
    oid = w.n_orders
    o = orders(w)[oid]
    o.symbol, o.decided, o.closed, o.lot = symbol, t, -1, -1
    o.side, o.kind, o.purpose, o.status, o.reason, o.triggered = side, kind, purpose, WORKING, R_NONE, False
    o.quantity, o.filled, o.limit, o.stop, o.reserved = quantity, 0.0, limit, stop, 0.0
    o.stop_loss, o.take_profit, o.notional = NO_LEG, NO_LEG, 0.0
    w.n_orders = oid + 1
    if purpose != STOP_LEG and purpose != TARGET_LEG:
        working(w)[w.n_open] = oid
        w.n_open += 1
    return oid


@compiled()
def protect(w, lot_id, t, acts_from):
    """Put a lot's legs to work as an OCO pair; a lot without leg prices stays bare."""
    lot = lots(w)[lot_id]
    lot.legs_from = acts_from
    lot.triggered = False
    lot.stop_order = lot.target_order = -1
    if lot.stop == lot.stop:
        lot.stop_order = new_order(w, t, lot.symbol, -lot.side, rules.STOP, STOP_LEG, lot.quantity, lot.cap, lot.stop)
        orders(w)[lot.stop_order].lot = lot_id
    if lot.target == lot.target:
        lot.target_order = new_order(w, t, lot.symbol, -lot.side, rules.LIMIT, TARGET_LEG, lot.quantity, lot.target, 0.0)
        orders(w)[lot.target_order].lot = lot_id
    lot.legs = lot.stop_order >= 0 or lot.target_order >= 0


@compiled()
def end_legs(w, lot_id, t, reason):
    """Cancel a lot's legs that still work."""
    lot = lots(w)[lot_id]
    if lot.legs:
        if lot.stop_order >= 0 and orders(w)[lot.stop_order].status == WORKING:
            end_order(w, lot.stop_order, t, CANCELLED, reason)
        if lot.target_order >= 0 and orders(w)[lot.target_order].status == WORKING:
            end_order(w, lot.target_order, t, CANCELLED, reason)
        lot.legs = False


@compiled()
def protect_symbol(w, symbol, t):
    """Re-protect what is left after a reduction, from the next bar on."""
    lot_id = head(w)[symbol]
    while lot_id >= 0:
        if not lots(w)[lot_id].legs:
            protect(w, lot_id, t, t + 1)
        lot_id = lots(w)[lot_id].next


@compiled()
def end_symbol_legs(w, symbol, t):
    """A signal exit or a reduction first cancels the legs."""
    lot_id = head(w)[symbol]
    while lot_id >= 0:
        end_legs(w, lot_id, t, R_EXIT)
        lot_id = lots(w)[lot_id].next


@compiled()
def hold(w, symbol):
    """Enter a symbol into the sorted list of those held, so that sums run in the order of names."""
    i = w.n_held
    while i > 0 and held(w)[i - 1] > symbol:
        held(w)[i] = held(w)[i - 1]
        i -= 1
    held(w)[i] = symbol
    w.n_held += 1


@compiled()
def unhold(w, symbol):
    """Take a symbol off the list of those held."""
    i = 0
    while held(w)[i] != symbol:
        i += 1
    w.n_held -= 1
    while i < w.n_held:
        held(w)[i] = held(w)[i + 1]
        i += 1
    position(w)[symbol] = 0.0
    wanted(w)[symbol] = math.nan


@compiled()
def add_lot(w, oid, t, quantity, price, cost_per_share):
    """Shares bought or sold short by one entry fill: the unit that legs protect and trades close."""
    o = orders(w)[oid]
    lot_id = w.free_lot
    if lot_id >= 0:
        w.free_lot = lots(w)[lot_id].next
    else:
        lot_id = w.n_lots
        w.n_lots += 1
    lot = lots(w)[lot_id]
    lot.symbol, lot.next, lot.entry_bar, lot.entry_order, lot.side = o.symbol, -1, t, oid, o.side
    lot.quantity, lot.entry_price, lot.cost_per_share = quantity, price, cost_per_share
    lot.stop, lot.target, lot.legs = o.stop_loss, o.take_profit, False
    lot.cap = rules.stop_cap(-o.side, lot.stop) if lot.stop == lot.stop else 0.0
    if head(w)[o.symbol] < 0:
        head(w)[o.symbol] = lot_id
        hold(w, o.symbol)
    else:
        last = head(w)[o.symbol]
        while lots(w)[last].next >= 0:
            last = lots(w)[last].next
        lots(w)[last].next = lot_id
    position(w)[o.symbol] += o.side * quantity
    return lot_id


@compiled()
def close_lot(w, lot_id, t, oid, purpose, quantity, price, cost):
    """Record a round trip for part or all of a lot; an empty lot is unlinked."""
    lot = lots(w)[lot_id]
    symbol = lot.symbol
    trade = trades(w)[w.n_trades]
    w.n_trades += 1
    trade.symbol, trade.entry_bar, trade.exit_bar = symbol, lot.entry_bar, t
    trade.entry_order, trade.exit_order, trade.side, trade.purpose = lot.entry_order, oid, lot.side, purpose
    trade.quantity, trade.entry_price, trade.exit_price = quantity, lot.entry_price, price
    trade.costs = lot.cost_per_share * quantity + cost
    trade.pnl = lot.side * (price - lot.entry_price) * quantity - trade.costs
    position(w)[symbol] -= lot.side * quantity
    lot.quantity -= quantity
    if lot.quantity > 1e-9:
        return
    if head(w)[symbol] == lot_id:
        head(w)[symbol] = lot.next
    else:
        before = head(w)[symbol]
        while lots(w)[before].next != lot_id:
            before = lots(w)[before].next
        lots(w)[before].next = lot.next
    lot.next = w.free_lot
    w.free_lot = lot_id
    if head(w)[symbol] < 0:
        unhold(w, symbol)


# --- Executions --------------------------------------------------------------------------------------------------------


@compiled()
def allowed_quantity(w, t, symbol, quantity):
    """``quantity``, or what is left of the bar's volume under the participation cap."""
    if w.participation_pct == math.inf:
        return quantity
    if used_bar(w)[symbol] != t:
        used_bar(w)[symbol] = t
        used(w)[symbol] = 0.0
    room = rules.participation_quantity(volumes(w)[t, symbol], w.participation_pct, w.fractional) - used(w)[symbol]
    quantity = max(0.0, min(quantity, room))
    used(w)[symbol] += quantity
    return quantity


@compiled()
def book_fill(w, t, oid, quantity, price, asked, at_open):
    """Move the cash of one execution, record it and return its costs; ``asked`` is the price before slippage."""
    o = orders(w)[oid]
    paid = rules.commission(quantity, price, w.commission_bps, w.commission_per_share, w.commission_min)
    fees = 0.0
    if not w.textbook:
        paid = rules.cents_up(paid)
        if w.fees:
            f = fee_rows(w)[w.fee_row]
            fees = rules.regulatory_fees(o.side, quantity, price, f.sec_rate, f.taf_per_share, f.taf_max, f.cat_per_share)
    fill = fills(w)[w.n_fills]
    w.n_fills += 1
    fill.order, fill.symbol, fill.bar, fill.side, fill.at_open = oid, o.symbol, t, o.side, at_open
    fill.quantity, fill.price, fill.commission, fill.fees = quantity, price, paid, fees
    fill.slippage = o.side * (price - asked) * quantity
    w.slippage += fill.slippage
    w.cash -= o.side * quantity * price + paid + fees
    w.commissions += paid
    w.fees_paid += fees
    w.traded += quantity * price
    return paid + fees


@compiled()
def priced(w, t, o, price, slips, quantity):
    """The fill price under the convention in force."""
    volume = volumes(w)[t, o.symbol]
    if w.textbook:  # every fill slips, nothing is rounded
        return rules.slipped(o.side, price, w.slippage_bps, w.impact_bps, quantity, volume)
    limit = o.limit if o.kind == rules.STOP else 0.0
    return rules.fill_price(o.side, price, slips, limit, w.slippage_bps, w.impact_bps, quantity, volume)


@compiled()
def enter(w, t, oid, price, slips, at_open):
    """Execute an entry; returns the id of its lot, or -1."""
    o = orders(w)[oid]
    if w.textbook:
        fill = priced(w, t, o, price, slips, 0.0)
        if not w.shares:  # the convention sizes at the fill, from the equity of the decision
            o.quantity = rules.round_quantity(o.notional / (fill * (1.0 + w.commission_bps / 10_000.0)), w.fractional)
        needed = o.quantity * fill * (1.0 + w.commission_bps / 10_000.0)
        if o.quantity <= 0.0 or needed > w.cash:
            end_order(w, oid, t, REJECTED, R_BELOW_ONE_SHARE if o.quantity <= 0.0 else R_BUYING_POWER)
            return -1
        o.stop_loss = fill * (1.0 - o.side * w.stop_loss_pct / 100.0)
        o.take_profit = fill * (1.0 + o.side * w.take_profit_pct / 100.0)
    quantity = allowed_quantity(w, t, o.symbol, o.quantity)
    if quantity <= 0.0:
        return -1
    fill = priced(w, t, o, price, slips, quantity)
    cost = book_fill(w, t, oid, quantity, fill, price, at_open)
    o.filled = quantity
    complete = quantity >= o.quantity
    end_order(w, oid, t, DONE if complete else CANCELLED, R_NONE if complete else R_PARTIAL)
    lot_id = add_lot(w, oid, t, quantity, fill, cost / quantity)
    # A bracket's legs act from the entry fill on; a partly filled one is cancelled at the close and gets an OCO.
    protect(w, lot_id, t, t + 1 if w.textbook or not complete else t)
    return lot_id


@compiled()
def leave(w, t, oid, price, slips, at_open):
    """Execute an exit or a reduction, oldest lots first."""
    o = orders(w)[oid]
    quantity = allowed_quantity(w, t, o.symbol, o.quantity - o.filled)
    if quantity <= 0.0:
        return
    fill = priced(w, t, o, price, slips, quantity)
    cost = book_fill(w, t, oid, quantity, fill, price, at_open) / quantity
    o.filled += quantity
    if o.filled >= o.quantity:
        end_order(w, oid, t, DONE, R_NONE)
    symbol, purpose = o.symbol, o.purpose
    left = quantity
    while left > 0.0 and head(w)[symbol] >= 0:
        lot_id = head(w)[symbol]
        part = min(left, lots(w)[lot_id].quantity)
        close_lot(w, lot_id, t, oid, purpose, part, fill, cost * part)
        left -= part
    if o.status == DONE:
        protect_symbol(w, symbol, t)


@compiled()
def leave_by_leg(w, t, lot_id, oid, price, slips, at_open):
    """A leg executes; its sibling is cancelled, or shrinks with it."""
    lot = lots(w)[lot_id]
    o = orders(w)[oid]
    quantity = allowed_quantity(w, t, lot.symbol, lot.quantity)
    if quantity <= 0.0:
        return
    fill = priced(w, t, o, price, slips, quantity)
    cost = book_fill(w, t, oid, quantity, fill, price, at_open)
    o.filled += quantity
    if quantity >= lot.quantity:
        end_order(w, oid, t, DONE, R_NONE)
        end_legs(w, lot_id, t, R_OCO)
    elif o.purpose == STOP_LEG:
        trigger(w, lot_id, t)
    close_lot(w, lot_id, t, oid, o.purpose, quantity, fill, cost)


@compiled()
def trigger(w, lot_id, t):
    """A stop leg that has triggered: its OCO sibling is gone."""
    lot = lots(w)[lot_id]
    lot.triggered = True
    orders(w)[lot.stop_order].triggered = True
    if lot.target_order >= 0 and orders(w)[lot.target_order].status == WORKING:
        end_order(w, lot.target_order, t, CANCELLED, R_OCO)


# --- Legs --------------------------------------------------------------------------------------------------------------


@compiled()
def legs_textbook(w, t, lot_id):
    """Stop, then target; a gap beyond either fills at the open."""
    lot = lots(w)[lot_id]
    o, h, low = opens(w)[t, lot.symbol], highs(w)[t, lot.symbol], lows(w)[t, lot.symbol]
    if lot.side > 0:
        if low <= lot.stop:
            leave_by_leg(w, t, lot_id, lot.stop_order, min(o, lot.stop), True, o <= lot.stop)
        elif h >= lot.target:
            leave_by_leg(w, t, lot_id, lot.target_order, max(o, lot.target), True, o >= lot.target)
    elif h >= lot.stop:
        leave_by_leg(w, t, lot_id, lot.stop_order, max(o, lot.stop), True, o >= lot.stop)
    elif low <= lot.target:
        leave_by_leg(w, t, lot_id, lot.target_order, min(o, lot.target), True, o <= lot.target)


@compiled()
def legs_broker(w, t, lot_id, from_open, target_too):
    """At the open: a stop it has passed, then a target it has passed. Within the bar: the stop, then the target."""
    lot = lots(w)[lot_id]
    side = -lot.side
    o, h, low = opens(w)[t, lot.symbol], highs(w)[t, lot.symbol], lows(w)[t, lot.symbol]
    if from_open:
        out, price, slips = rules.fill_at_open(rules.STOP, side, o, lot.cap, lot.stop, lot.triggered)
        if out == rules.FILLED:
            leave_by_leg(w, t, lot_id, lot.stop_order, price, slips, True)
            return
        if out == rules.TRIGGERED:
            trigger(w, lot_id, t)
        if not lot.triggered and lot.target_order >= 0:
            out, price, slips = rules.fill_at_open(rules.LIMIT, side, o, lot.target, 0.0, False)
            if out == rules.FILLED:
                leave_by_leg(w, t, lot_id, lot.target_order, price, slips, True)
                return
    if lot.stop_order >= 0:
        out, price, slips = rules.fill_within(rules.STOP, side, h, low, lot.cap, lot.stop, lot.triggered)
        if out == rules.FILLED:
            leave_by_leg(w, t, lot_id, lot.stop_order, price, slips, False)
            return
    if target_too and not lot.triggered and lot.target_order >= 0:
        out, price, slips = rules.fill_within(rules.LIMIT, side, h, low, lot.target, 0.0, False)
        if out == rules.FILLED:
            leave_by_leg(w, t, lot_id, lot.target_order, price, slips, False)


@compiled()
def fill_legs(w, t):
    """Every resting leg meets the bar."""
    i = 0
    while i < w.n_held:
        symbol = held(w)[i]
        lot_id = head(w)[symbol]
        h, low = highs(w)[t, symbol], lows(w)[t, symbol]
        while lot_id >= 0:
            lot = lots(w)[lot_id]
            following = lot.next
            if lot.legs and t >= lot.legs_from and h == h:
                # Nothing can happen to legs the whole bar stays between.
                if lot.side > 0:
                    untouched = low > lot.stop and h < lot.target
                else:
                    untouched = h < lot.stop and low > lot.target
                if not untouched or lot.triggered:
                    if w.textbook:
                        legs_textbook(w, t, lot_id)
                    else:
                        legs_broker(w, t, lot_id, True, True)
            lot_id = following
        if i < w.n_held and held(w)[i] == symbol:
            i += 1


# --- Orders meet the bar -----------------------------------------------------------------------------------------------


@compiled()
def execute(w, t, oid, price, slips, at_open):
    """Execute a working order that the bar fills."""
    o = orders(w)[oid]
    if o.purpose != ENTRY:
        leave(w, t, oid, price, slips, at_open)
        return
    kind = o.kind
    lot_id = enter(w, t, oid, price, slips, at_open)
    if lot_id < 0 or at_open:
        return
    # An entry within the bar: its stop may be hit in what is left of it, the worse case is taken. A target beyond a stop
    # entry lies on the way; one beyond a limit entry may have traded before it, so it waits for the next bar.
    if o.filled >= o.quantity and lots(w)[lot_id].legs:
        legs_broker(w, t, lot_id, False, kind == rules.STOP)


@compiled()
def orders_at_open(w, t):
    """Market orders, then stops, then limits that the open fills, each in order of submission."""
    for kind in (rules.MARKET, rules.STOP, rules.LIMIT):
        for i in range(w.n_open):
            oid = working(w)[i]
            o = orders(w)[oid]
            if o.kind != kind or o.status != WORKING:
                continue
            out, price, slips = rules.fill_at_open(kind, o.side, opens(w)[t, o.symbol], o.limit, o.stop, o.triggered)
            if out == rules.FILLED:
                execute(w, t, oid, price, slips, True)
            elif out == rules.TRIGGERED:
                o.triggered = True


@compiled()
def orders_within(w, t):
    """Stops, then limits that the rest of the bar fills."""
    for kind in (rules.STOP, rules.LIMIT):
        for i in range(w.n_open):
            oid = working(w)[i]
            o = orders(w)[oid]
            if o.kind != kind or o.status != WORKING:
                continue
            out, price, slips = rules.fill_within(kind, o.side, highs(w)[t, o.symbol], lows(w)[t, o.symbol], o.limit, o.stop,
                                                  o.triggered)
            if out == rules.FILLED:
                execute(w, t, oid, price, slips, False)


@compiled()
def drop_ended(w):
    """Keep only working orders in the working list."""
    n = 0
    for i in range(w.n_open):
        if orders(w)[working(w)[i]].status == WORKING:
            working(w)[n] = working(w)[i]
            n += 1
    w.n_open = n


# --- Sessions ----------------------------------------------------------------------------------------------------------


@compiled()
def apply_split(w, symbol, ratio):
    """Quantities times the ratio, prices divided by it; equity does not move."""
    fractional = w.fractional
    shares = 0.0
    lot_id = head(w)[symbol]
    while lot_id >= 0:
        lot = lots(w)[lot_id]
        w.cash += lot.side * rules.split_cash_in_lieu(lot.quantity, ratio, last_close(w)[symbol], fractional)
        lot.quantity = rules.split_quantity(lot.quantity, ratio, fractional)
        lot.entry_price /= ratio
        lot.cost_per_share /= ratio
        if lot.stop_order >= 0:
            lot.stop = rules.split_price(lot.side, lot.stop, ratio, True)
            lot.cap = rules.stop_cap(-lot.side, lot.stop)
            orders(w)[lot.stop_order].stop, orders(w)[lot.stop_order].quantity = lot.stop, lot.quantity
            orders(w)[lot.stop_order].limit = lot.cap
        if lot.target_order >= 0:
            lot.target = rules.split_price(lot.side, lot.target, ratio, False)
            orders(w)[lot.target_order].limit, orders(w)[lot.target_order].quantity = lot.target, lot.quantity
        shares += lot.side * lot.quantity
        lot_id = lot.next
    position(w)[symbol] = shares
    last_close(w)[symbol] /= ratio
    for i in range(w.n_open):
        o = orders(w)[working(w)[i]]
        if o.symbol == symbol:
            o.quantity = rules.split_quantity(o.quantity, ratio, fractional)
            if o.purpose != ENTRY:
                o.quantity = min(o.quantity, abs(shares))
            o.limit, o.stop = o.limit / ratio, o.stop / ratio
            o.stop_loss = rules.split_price(o.side, o.stop_loss, ratio, True)
            o.take_profit = rules.split_price(o.side, o.take_profit, ratio, False)


@compiled()
def begin_session(w, t):
    """Before the first print: the day's counters, interest, payments and corporate actions."""
    today = sessions(w)[t]
    w.day_orders = 0
    w.day_start = w.equity
    w.daily_halt = False
    if w.state != safety.HALTED:
        w.state = safety.ACTIVE
    while w.fee_row + 1 < w.n_fee_rows and fee_rows(w)[w.fee_row + 1].session <= today:
        w.fee_row += 1
    if w.n_held > 0 and (w.borrow_pct > 0.0 or w.margin_pct > 0.0):
        days = today - w.session
        owed = 0.0
        for i in range(w.n_held):
            symbol = held(w)[i]
            owed += rules.interest(max(0.0, -position(w)[symbol] * last_close(w)[symbol]), w.borrow_pct, days)
        owed = rules.cents_up(owed) + rules.cents_up(rules.interest(max(0.0, -w.cash), w.margin_pct, days))
        w.cash -= owed
        w.interest += owed
    for i in range(w.n_payable):
        due = payable(w)[i]
        if due.amount != 0.0 and due.session <= today:
            w.cash += due.amount
            w.receivable -= due.amount
            due.amount = 0.0
    w.session = today
    while w.action < w.n_actions and actions(w)[w.action].bar <= t:
        act = actions(w)[w.action]
        w.action += 1
        if act.kind == SPLIT:
            apply_split(w, act.symbol, act.value)
        elif act.kind == DIVIDEND and position(w)[act.symbol] != 0.0:
            amount = math.floor(position(w)[act.symbol] * act.value * 100.0 + 0.5) / 100.0
            w.dividends += amount
            if act.pay_session <= today:
                w.cash += amount
            else:
                payable(w)[w.n_payable].session, payable(w)[w.n_payable].amount = act.pay_session, amount
                w.n_payable += 1
                w.receivable += amount


@compiled()
def expire_orders(w, t):
    """The session's close ends day orders; an unfinished market exit stands over to the next session."""
    for i in range(w.n_open):
        oid = working(w)[i]
        o = orders(w)[oid]
        end_order(w, oid, t, EXPIRED, R_SESSION_CLOSE)
        if o.purpose != ENTRY:
            if o.purpose == EXIT and o.kind == rules.MARKET and standing(w)[o.symbol] != standing(w)[o.symbol]:
                standing(w)[o.symbol] = 0.0
                w.any_standing = True
            protect_symbol(w, o.symbol, t)
    w.n_open = 0


@compiled()
def check_safety(w, t):
    """The limits at the bar's close: latch the kill, or stop new risk until the next session."""
    w.peak = max(w.peak, w.equity)
    was_halted = w.state == safety.HALTED
    w.state = safety.trading_state(w.equity, w.peak, w.day_start, was_halted, w.max_drawdown_pct, w.max_daily_loss_pct)
    if w.state == safety.HALTED and not was_halted:
        add_halt(w, t, 0, w.state, safety.fall_pct(w.equity, w.peak), w.max_drawdown_pct)
        for i in range(w.n_open):
            if orders(w)[working(w)[i]].purpose == ENTRY:
                end_order(w, working(w)[i], t, CANCELLED, R_KILL)
        drop_ended(w)
        if w.flatten:
            for i in range(w.n_held):
                standing(w)[held(w)[i]] = 0.0
            w.any_standing = True
    elif w.state == safety.REDUCE_ONLY and not w.daily_halt:
        w.daily_halt = True
        add_halt(w, t, 1, w.state, safety.fall_pct(w.equity, w.day_start), w.max_daily_loss_pct)
    elif w.daily_halt and w.state == safety.ACTIVE:
        w.state = safety.REDUCE_ONLY  # lasts for the session, also when the loss shrinks


@compiled()
def add_halt(w, t, limit, state, value_pct, limit_pct):
    """Note when and by which limit trading stopped."""
    halt = halts(w)[w.n_halts]
    w.n_halts += 1
    halt.bar, halt.limit, halt.state, halt.value_pct, halt.limit_pct = t, limit, state, value_pct, limit_pct


@compiled()
def close_bar(w, t):
    """Mark to the close, end what the session's close ends, look at the limits."""
    value, gross = 0.0, 0.0
    for i in range(w.n_held):
        symbol = held(w)[i]
        c = closes(w)[t, symbol]
        if c > 0.0:
            last_close(w)[symbol] = c
        worth = position(w)[symbol] * last_close(w)[symbol]
        value += worth
        gross += abs(worth)
    w.equity = w.cash + w.receivable + value
    w.gross = gross
    equity_curve(w)[t], gross_curve(w)[t] = w.equity, gross
    if w.n_open > 0 and (t + 1 == w.bars or sessions(w)[t + 1] != sessions(w)[t]):
        expire_orders(w, t)
    if w.safety:
        check_safety(w, t)


@compiled()
def advance(w, t):
    """Bar ``t`` happens, from the moment before its first print to its close."""
    if sessions(w)[t] != w.session:
        begin_session(w, t)
    if w.n_open > 0:
        orders_at_open(w, t)
    if w.n_held > 0:
        fill_legs(w, t)
    if w.n_open > 0:
        if not w.textbook:
            orders_within(w, t)
        drop_ended(w)
    close_bar(w, t)
