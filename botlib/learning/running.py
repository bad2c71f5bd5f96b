"""Learning as the notebook and the command line run it: the ledger opened, the proposal written, the result saved."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from botlib.bars import Bars
from botlib.learning.estimate import Learned, learn, slippage_of
from botlib.learning.proposal import propose
from botlib.project import project_root, shown
from botlib.result_file import save_learning
from botlib.strategies import strategy_hash

if TYPE_CHECKING:
    from botlib.learn_config import LearnParams


def estimate(settings: LearnParams, bars: Bars, *, root: str | Path | None = None,
             clock: Callable[[], pd.Timestamp] | None = None) -> Learned:
    """`botlib.learning.estimate.learn` with what the ledger says; trials are counted there.

    Parameters
    ----------
    settings : LearnParams
    bars : Bars
        From ``settings.load_bars()``.
    root : path, optional
        The project's folder.
    clock : function, optional
        Tells the time at which trials were first seen.

    Raises
    ------
    InputError, DataError, RepositoryError
    """
    from botlib.repository import Repository

    strategy, db = settings.load_strategy(root), settings.database(os.environ)
    with nullcontext() if db is None else Repository.open(db, root=root, checked=False) as repository:
        return learn(settings, bars, strategy, slippage_of(settings, bars, repository), repository=repository,
                     time=pd.Timestamp.now("UTC") if clock is None else clock())


def save(found: Learned, output_dir: str = "", *, root: str | Path | None = None) -> str:
    """Write the proposal where the settings say so, and the run's result.json where there is a run; returns a sentence.
    """
    file, new, said = "", False, "No proposal was written: write = False."
    if found.settings.write:
        path, new = propose(found, root=root)
        file = shown(path, project_root(root))
        said = f"Proposal: {file}" if new else f"The proposal is there already: {file}. Nothing was written."
    gates: dict[str, Any] = {gate.name: {"passed": gate.passed, "says": gate.sentence} for gate in found.gates}
    save_learning(output_dir, recommendation=f"{found.recommendation}. {found.sentence}", proposal=file, written=new,
                  gates=gates,
                  data_hash=found.bars.data_hash(), strategy_hash=strategy_hash(found.strategy),
                  warnings=found.bars.warnings)
    return said
