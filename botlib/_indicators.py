"""The compiled loops behind `botlib.indicators`, which checks the arguments and applies the NaN policy.

Each writes every row of ``out`` from (T, N) panels without NaN. Bars are the outer loop and symbols the inner one, with
a state per symbol in arrays, so that the compiler can work on several symbols at once.

Windows are split at block borders, every ``n`` bars (van Herk 1992, Gil and Werman 1993): a window is the tail of the
block before and the head of this one. Tails are gathered backwards once a block, the head grows bar by bar: constant
work a bar, and nothing from outside the window can linger as it does in a running sum.

What needs no state is one loop over the flattened panel: n bars later is the same panel without its first n rows.
"""

from __future__ import annotations

import numpy as np

from botlib._jit import compiled


@compiled(error_model="numpy")
def sma(out: np.ndarray, x: np.ndarray, n: int) -> None:
    """Sums are of distances from the block's first value: small numbers, and exactly 0 for equal ones."""
    rows, columns = x.shape
    out[: min(n - 1, rows)] = np.nan
    if rows < n:
        return
    tail = np.zeros((n + 1, columns))  # tail[i]: sum over bars i, i+1, ... of the block before
    head = np.zeros(columns)
    anchor = 0
    for t in range(rows):
        k = t % n
        if k == 0 and t > 0:
            anchor = t
            head[:] = 0.0
            for i in range(n - 1, 0, -1):
                for j in range(columns):
                    tail[i, j] = tail[i + 1, j] + (x[t - n + i, j] - x[t, j])
        for j in range(columns):
            head[j] += x[t, j] - x[anchor, j]
            out[t, j] = x[anchor, j] + (tail[k + 1, j] + head[j]) / n if t >= n - 1 else np.nan


@compiled(error_model="numpy")
def stddev(out: np.ndarray, x: np.ndarray, n: int, ddof: int) -> None:
    """As `sma`, with sums of squares; the anchor lies in the window, so cancellation stays far below its spread."""
    rows, columns = x.shape
    out[: min(n - 1, rows)] = np.nan
    if rows < n:
        return
    tail, tail2 = np.zeros((n + 1, columns)), np.zeros((n + 1, columns))
    head, head2 = np.zeros(columns), np.zeros(columns)
    anchor = 0
    for t in range(rows):
        k = t % n
        if k == 0 and t > 0:
            anchor = t
            head[:] = 0.0
            head2[:] = 0.0
            for i in range(n - 1, 0, -1):
                for j in range(columns):
                    d = x[t - n + i, j] - x[t, j]
                    tail[i, j] = tail[i + 1, j] + d
                    tail2[i, j] = tail2[i + 1, j] + d * d
        for j in range(columns):
            d = x[t, j] - x[anchor, j]
            head[j] += d
            head2[j] += d * d
            total = tail[k + 1, j] + head[j]
            squares = tail2[k + 1, j] + head2[j] - total * total / n
            out[t, j] = np.sqrt(max(squares, 0.0) / (n - ddof)) if t >= n - 1 else np.nan


@compiled(error_model="numpy")
def extreme(out: np.ndarray, x: np.ndarray, n: int, lag: int, sign: float) -> None:
    """The highest (sign 1) or lowest (sign -1) of n bars that end ``lag`` bars ago."""
    rows, columns = x.shape
    out[: min(n - 1 + lag, rows)] = np.nan
    if rows < n + lag:
        return
    tail = np.full((n + 1, columns), -np.inf)
    head = np.full(columns, -np.inf)
    for t in range(rows - lag):
        k = t % n
        if k == 0 and t > 0:
            head[:] = -np.inf
            for i in range(n - 1, 0, -1):
                for j in range(columns):
                    tail[i, j] = max(tail[i + 1, j], sign * x[t - n + i, j])
        for j in range(columns):
            head[j] = max(head[j], sign * x[t, j])
            out[t + lag, j] = sign * max(tail[k + 1, j], head[j]) if t >= n - 1 else np.nan


@compiled(error_model="numpy")
def smooth(out: np.ndarray, x: np.ndarray, n: int, alpha: float, sma_seed: bool) -> None:
    """Exponential average; the seed is a matter of the first weights (see `_weights`)."""
    rows, columns = x.shape
    share = 1.0 / n
    state = np.zeros(columns)
    for t in range(rows):
        keep, gain = _weights(t, n, share, alpha, sma_seed)
        for j in range(columns):
            value = keep * state[j] + gain * x[t, j]
            state[j] = value
            out[t, j] = value
    out[: min(n - 1 if sma_seed else 0, rows)] = np.nan


@compiled(error_model="numpy")
def rsi(out: np.ndarray, close: np.ndarray, n: int, sma_seed: bool) -> None:
    rows, columns = close.shape
    share = 1.0 / n
    up, down = np.zeros(columns), np.zeros(columns)
    if columns == 1:  # one symbol: its state stays in registers, a third faster
        u = d = 0.0
        for t in range(1, rows):
            keep, gain = _weights(t - 1, n, share, share, sma_seed)
            u, d = _rises_and_falls(u, d, close[t, 0] - close[t - 1, 0], keep, gain)
            out[t, 0] = 100.0 * u / (u + d)
    else:
        for t in range(1, rows):
            keep, gain = _weights(t - 1, n, share, share, sma_seed)
            for j in range(columns):
                u, d = _rises_and_falls(up[j], down[j], close[t, j] - close[t - 1, j], keep, gain)
                up[j], down[j] = u, d
                out[t, j] = 100.0 * u / (u + d)
    out[: min(n if sma_seed else 1, rows)] = np.nan


@compiled(error_model="numpy")
def atr(out: np.ndarray, high: np.ndarray, low: np.ndarray, close: np.ndarray, n: int, sma_seed: bool) -> None:
    rows, columns = close.shape
    share = 1.0 / n
    state = np.zeros(columns)
    for t in range(1, rows):
        keep, gain = _weights(t - 1, n, share, share, sma_seed)
        for j in range(columns):
            value = keep * state[j] + gain * _true_range(high[t, j], low[t, j], close[t - 1, j])
            state[j] = value
            out[t, j] = value
    out[: min(n if sma_seed else 1, rows)] = np.nan


@compiled(error_model="numpy")
def adx(out: np.ndarray, high: np.ndarray, low: np.ndarray, close: np.ndarray, n: int) -> None:
    rows, columns = close.shape
    out[: min(2 * n - 1, rows)] = np.nan
    plus, minus, average = np.zeros(columns), np.zeros(columns), np.zeros(columns)
    for t in range(1, rows):
        keep = 1.0 if t < n else 1.0 - 1.0 / n  # sums until n - 1 moves are in, Wilder's running sums from then on
        for j in range(columns):
            rise, fall = high[t, j] - high[t - 1, j], low[t - 1, j] - low[t, j]
            plus[j] = keep * plus[j] + (rise if rise > fall and rise > 0.0 else 0.0)
            minus[j] = keep * minus[j] + (fall if fall > rise and fall > 0.0 else 0.0)
            # The true range divides both directions and falls out of DX = |DI+ - DI-| / (DI+ + DI-).
            moved = plus[j] + minus[j]
            dx = 100.0 * abs(plus[j] - minus[j]) / moved
            if t >= 2 * n:
                average[j] = average[j] + (dx - average[j]) / n if moved > 0.0 else average[j]
            elif t >= n:
                average[j] += dx / n if moved > 0.0 else 0.0
            if t >= 2 * n - 1:
                out[t, j] = average[j]


@compiled(error_model="numpy")
def change(out: np.ndarray, x: np.ndarray, n: int, lag: int, in_percent: bool) -> None:
    out[: n + lag] = np.nan
    result, then, now = _flat(out[n + lag:]), _flat(x), _flat(x[n:])
    for i in range(result.size):
        result[i] = 100.0 * (now[i] / then[i] - 1.0) if in_percent else now[i] - then[i]


@compiled(error_model="numpy")
def risen(out: np.ndarray, x: np.ndarray, n: int) -> None:
    out[:n] = False
    result, then, now = _flat(out[n:]), _flat(x), _flat(x[n:])
    for i in range(result.size):
        result[i] = now[i] > then[i]


@compiled(error_model="numpy")
def crossed(out: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    out[:1] = False
    result, a_before, a_now, b_before, b_now = _flat(out[1:]), _flat(a), _flat(a[1:]), _flat(b), _flat(b[1:])
    for i in range(result.size):
        result[i] = (a_now[i] > b_now[i]) & (a_before[i] <= b_before[i])


@compiled(error_model="numpy")
def rank(out: np.ndarray, x: np.ndarray) -> None:
    """Mean ranks of each row from 1; this one does meet NaN, which stays."""
    rows, columns = x.shape
    for t in range(rows):
        order = np.argsort(x[t])  # NaN last
        first = 0
        while first < columns:
            value = x[t, order[first]]
            last = first
            while last + 1 < columns and x[t, order[last + 1]] == value:
                last += 1
            for i in range(first, last + 1):
                out[t, order[i]] = 0.5 * (first + last) + 1.0 if value == value else np.nan
            first = last + 1


# --- shared steps --------------------------------------------------------------------------------------------------


@compiled(error_model="numpy")
def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(x.size)


@compiled(error_model="numpy")
def _weights(i: int, n: int, share: float, alpha: float, sma_seed: bool) -> tuple[float, float]:
    """What an average keeps of itself and takes of its i-th input; ``share`` is 1 / n.

    The mean of the first n inputs is the sum of their shares; an average seeded with the first input starts as that.
    """
    if sma_seed:
        return (1.0, share) if i < n else (1.0 - alpha, alpha)
    return (0.0, 1.0) if i == 0 else (1.0 - alpha, alpha)


@compiled(error_model="numpy")
def _rises_and_falls(up: float, down: float, move: float, keep: float, gain: float) -> tuple[float, float]:
    """One step of RSI's two averages."""
    rise, fall = (move if move > 0.0 else 0.0), (-move if move < 0.0 else 0.0)
    return keep * up + gain * rise, keep * down + gain * fall


@compiled(error_model="numpy")
def _true_range(high: float, low: float, close_before: float) -> float:
    return max(high - low, abs(high - close_before), abs(low - close_before))


# --- bars that a symbol does not have ------------------------------------------------------------------------------


@compiled(error_model="numpy")
def first_full(x: np.ndarray) -> int:
    """The first row from which on no value is NaN, if all before it are NaN; -1 for any other pattern."""
    rows, columns = x.shape
    start = 0
    while start < rows and columns > 0 and x[start, 0] != x[start, 0]:
        for j in range(columns):
            if x[start, j] == x[start, j]:
                return -1
        start += 1
    rest = x[start:].reshape((rows - start) * columns)
    holes = False
    for i in range(rest.size):
        holes |= rest[i] != rest[i]
    return -1 if holes else start


@compiled(error_model="numpy")
def pack(x: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Each column's known values moved up to its top; NaN below."""
    packed = np.full(x.shape, np.nan)
    filled = np.zeros(x.shape[1], np.int64)
    for t in range(x.shape[0]):
        for j in range(x.shape[1]):
            if known[t, j]:
                packed[filled[j], j] = x[t, j]
                filled[j] += 1
    return packed


@compiled(error_model="numpy")
def unpack(out: np.ndarray, packed: np.ndarray, known: np.ndarray) -> None:
    """The inverse of `pack`; where nothing is known, ``out`` stays as it is."""
    taken = np.zeros(out.shape[1], np.int64)
    for t in range(out.shape[0]):
        for j in range(out.shape[1]):
            if known[t, j]:
                out[t, j] = packed[taken[j], j]
                taken[j] += 1
