"""The tuner: sliders, menus and pictures on a search over parameters.

    from botlib import tuner_view
    tuning = tuner_view.show(settings, bars)
    print(tuning.words())

In JupyterLab and voila each move redraws in place. Where nobody sits before it (a headless run), the same pictures are
drawn once, of the position that the settings name.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from botlib.bars import Bars
from botlib.tune_figures import CurvePicture, SurfacePicture
from botlib.tuner import Tuner
from botlib.tuner_save import save

if TYPE_CHECKING:
    from botlib.config import TuneParams
    from botlib.repository import Repository
    from botlib.tuner_widgets import View

_SHOWN: deque[View] = deque()
_MOST = 2  # views of this kernel that answer; the oldest gives way, as its cell was run again
_SAVED_DPI = 160


def show(settings: TuneParams, bars: Bars, *, root: str | Path | None = None,
         clock: Callable[[], pd.Timestamp] | None = None) -> Tuner:
    """Show the tuner below this cell.

    Parameters
    ----------
    settings : TuneParams
    bars : Bars
        From ``settings.load_bars()``.
    root : path, optional
        The project's folder.
    clock : function, optional
        The time that trials and files are dated with; default: this machine's.

    Raises
    ------
    InputError
        The bars are too few for the split, or a setting names no parameter of the strategy.
    """
    tuner = Tuner(settings, bars, clock=clock or (lambda: pd.Timestamp.now("UTC")), root=root)
    tuner.study(tuner.start)
    if watched():
        while len(_SHOWN) >= _MOST:
            _SHOWN.popleft().close()
        from botlib.tuner_widgets import View

        view = View(tuner, partial(opened, tuner))
        _SHOWN.append(view)
        view.display()
    else:
        headless(tuner)
    return tuner


def watched() -> bool:
    """Whether somebody looks at this kernel: JupyterLab asks, voila says so."""
    from botlib.keyboard import keyboard

    return keyboard() is not None or os.environ.get("SERVER_SOFTWARE", "").startswith("voila")


def opened(tuner: Tuner) -> Repository:
    """The repository that counts the trials; made when there is none."""
    from botlib.repository import Repository

    return Repository.open(tuner.settings.database(os.environ), root=tuner.root, checked=False)


def headless(tuner: Tuner) -> None:
    """The pictures and the honesty of the first position, once; and its file, where one is asked for."""
    from IPython.display import Image, display

    at = tuner.start
    curve, held, ground = tuner.curve(at), tuner.held(at), tuner.ground(at)
    ground.search()
    with opened(tuner) as repository:
        tuner.work_out(at, ground, repository)
    account, surface = CurvePicture(tuner.study(at), _SAVED_DPI), SurfacePicture(_SAVED_DPI)
    account.show(curve, held)
    surface.show(ground.surface(at.metric), at.point)
    for picture in (account, surface):
        display(Image(picture.png(), width=picture.width))
    if tuner.settings.save_as:
        save(tuner, at, tuner.settings.save_as)
