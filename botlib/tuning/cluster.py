"""A sweep beyond one machine: points and accounts spread over the workers of a Dask cluster, with the same numbers.

Each piece of work is a run of points, next to each other so that they share indicators, of all accounts or some. A
worker that dies costs the time of its pieces: others do them again.
"""

from __future__ import annotations

import itertools
import pickle
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from botlib.errors import BotlibError, InputError
from botlib.tuning.grid import Grid, Point
from botlib.tuning.running import Run, Terms

if TYPE_CHECKING:
    from botlib.bars import Bars

PIECES = 4
"""Pieces of work for each thread of the cluster: a slow worker keeps nobody waiting for long."""
ROUNDS = 3
"""How often work that was lost with its workers is given out."""
PATIENCE_SECONDS = 60.0
"""How long a cluster may be without any worker."""

Piece = tuple[list[Point], list[int]]
Found = tuple[np.ndarray, np.ndarray | None]


def carry_out(run: Run, client: Any, progress: Callable[[int], Any], *, patience: float = PATIENCE_SECONDS,
              clock: Callable[[], float] = time.monotonic) -> None:
    """Fill in figures and equity of ``run`` by the workers of a `dask.distributed.Client`.

    Raises
    ------
    InputError
        ``client`` is none, or its workers have another version of botlib.
    BotlibError
        Workers die of one piece of work again and again, or there is none.
    """
    if not all(hasattr(client, name) for name in ("submit", "scatter", "nthreads")):
        raise InputError(f"client is a {type(client).__name__}; it must be a dask.distributed.Client: pip install "
                         "'botlib[scale]'.")
    if getattr(client, "asynchronous", False):
        raise InputError("client is asynchronous; sweep needs one that waits: Client(...) without asynchronous=True.")
    done, left = 0, list(pieces(run, sum(client.nthreads().values())))
    for _ in range(ROUNDS):
        lost = []
        for piece, found in _given_out(run, client, left, patience, clock):
            if found is None:
                lost.append(piece)
                continue
            _into(run, piece, found)
            done += sum(len(point.rows) for point in piece[0]) * len(piece[1])
            progress(done)
        left = lost
        if not left:
            return
    raise BotlibError(f"{len(left)} pieces of the sweep took their workers down {ROUNDS} times each, most likely for "
                      "want of memory: fewer values, equity=False, or workers with more memory.")


def pieces(run: Run, threads: int) -> Iterator[Piece]:
    """Points and accounts in pieces: by points, and by accounts too where there are few points."""
    points, accounts = run.grid.points, run.traded
    wanted = max(1, PIECES * threads)
    groups = 1 if len(points) >= wanted else min(len(accounts), -(-wanted // max(1, len(points))))
    for some in np.array_split(np.arange(len(points)), min(wanted, len(points))):
        for mine in np.array_split(np.array(accounts, dtype=int), max(1, groups)):
            if len(mine):
                yield [points[n] for n in some], mine.tolist()


def rows_of(points: Sequence[Point]) -> np.ndarray:
    """Numbers of the points in the grid of all."""
    return np.concatenate([point.rows for point in points])


def part(grid: Grid, points: Sequence[Point]) -> Grid:
    """A grid of these points alone, numbered from 0 in the order of `rows_of`."""
    ends = np.cumsum([0, *(len(point.rows) for point in points)])
    spans = itertools.pairwise(ends.tolist())
    made = [replace(point, rows=np.arange(a, b)) for point, (a, b) in zip(points, spans, strict=True)]
    return Grid(values={"point": list(range(int(ends[-1])))}, points=made, risks=grid.risks, impossible=[])


def work(bars: Bars, packed: bytes, accounts: list[int], wanted: str) -> Found:
    """What a worker does: (figures, equity) of these accounts at these points. Raises `InputError`."""
    if wanted != version("botlib"):
        raise InputError(f"a worker of the cluster has botlib {version('botlib')}, this process has {wanted}: install "
                         "the same version on both.")
    grid, terms = pickle.loads(packed)
    run = Run(bars, grid, terms)
    run.traded = accounts
    run.carry_out(1)
    return run.figures[accounts], None if run.equity is None else run.equity[accounts]


def _given_out(run: Run, client: Any, given: Sequence[Piece], patience: float,
               clock: Callable[[], float]) -> Iterator[tuple[Piece, Found | None]]:
    """Each piece with what came of it, None where its workers died of it, in the order in which they are done."""
    import cloudpickle
    from distributed import CancelledError, KilledWorker, wait

    terms: Terms = run.terms
    try:
        bars = client.scatter(run.bars, broadcast=True, hash=False, timeout=patience)
    except TimeoutError:
        raise _deserted(patience) from None
    futures: dict[Any, Piece] = {}
    try:
        with _by_value(type(run.grid.points[0].strategy)):
            for piece in given:
                packed = cloudpickle.dumps((part(run.grid, piece[0]), terms))
                futures[client.submit(work, bars, packed, piece[1], version("botlib"), pure=False)] = piece
        since = clock()
        while futures:
            try:
                over = wait(list(futures), timeout=min(5.0, patience), return_when="FIRST_COMPLETED").done
            except TimeoutError:
                if client.nthreads():
                    since = clock()
                elif clock() - since > patience:
                    raise _deserted(patience) from None
                continue
            for future in over:
                piece = futures.pop(future)
                try:
                    yield piece, future.result()
                except (KilledWorker, CancelledError):
                    yield piece, None
    finally:
        client.cancel([*futures, bars])


def _deserted(seconds: float) -> BotlibError:
    return BotlibError(f"the cluster has had no worker for {seconds:g} seconds; start one, or leave out client=.")


@contextmanager
def _by_value(strategy: type) -> Iterator[None]:
    """A strategy that is not botlib's own travels with its module's code: workers need not have its file."""
    import cloudpickle

    module = sys.modules.get(strategy.__module__)  # None of one from a path: it travels so anyway
    if module is None or module.__name__.partition(".")[0] in ("botlib", "__main__"):
        yield
        return
    cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def _into(run: Run, piece: Piece, found: Found) -> None:
    at = np.ix_(np.array(piece[1]), rows_of(piece[0]))
    run.figures[at] = found[0]
    if run.equity is not None and found[1] is not None:
        run.equity[at] = found[1]
