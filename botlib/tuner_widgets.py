"""The widgets of the tuner: sliders and menus from the strategy's dataclass, two pictures, the meter, and *Save as*."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from botlib import tuner_page
from botlib.errors import BotlibError
from botlib.tune_figures import DPI, LABELS, CurvePicture, SurfacePicture, value_text
from botlib.tuner import DIVIDED, PORTFOLIO, Position, Tuner
from botlib.tuner_save import save
from botlib.tuner_work import Worker
from botlib.tuning.choices import Choice
from botlib.tuning.verdicts import plateau_words, verdicts

if TYPE_CHECKING:
    import numpy as np

    from botlib.repository import Repository
    from botlib.tuning.ground import Ground
    from botlib.tuning.judging import Honesty
    from botlib.tuning.study import Curve

_LABELS, _SHORT = {"description_width": "140px"}, {"description_width": "90px"}
_UNDER = {"margin": "-8px 0 2px 148px"}
_ACCOUNTS = {PORTFOLIO: "all symbols, one account", DIVIDED: "all symbols, an account each"}


class View:
    """The widgets of one tuner; made by `show`."""

    def __init__(self, tuner: Tuner, repository: Callable[[], Repository] | None = None) -> None:
        import ipywidgets as widgets

        self.tuner = tuner
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pictures: dict[tuple[str, str], CurvePicture] = {}
        self._surface = SurfacePicture(titled=False)
        self._deaf = False
        self.worker = Worker(tuner, self, repository)

        def menu(name: str, options: Any, value: Any, tip: str) -> Any:
            made = widgets.Dropdown(options=options, value=value, description=name, tooltip=tip, style=_SHORT,
                                    layout=widgets.Layout(width="auto"))
            made.observe(self._menu_moved, "value")
            return made

        at, axes = tuner.at, tuner.axes(tuner.at.strategy)
        accounts = [(_ACCOUNTS.get(name, name), name) for name in tuner.accounts]
        self.strategy = menu("strategy", tuner.strategies, at.strategy, "What is tuned")
        self.account = menu("account", accounts, at.account,
                            "One account for all, one for each symbol, or a single symbol")
        self.metric = menu("heat map", [(text, name) for name, text in LABELS.items()], at.metric,
                           "The figure of the heat map")
        self.x = menu("across", axes, at.x, "Parameter across the heat map")
        self.y = menu("up", axes, at.y, "Parameter up the heat map")
        self.sliders = widgets.GridBox(layout=_grid(300))
        self.turned: dict[str, Any] = {}
        self.picture, self.map = (
            widgets.Image(format="png", layout=widgets.Layout(width=f"{width:g}px", max_width="100%",
                                                              object_fit="contain"))
            for width in (CurvePicture.SIZE[0] * DPI, SurfacePicture.SIZE[0] * DPI))
        self.meter, self.point, self.said, self.saved, *self.heads = (widgets.HTML() for _ in range(6))
        self.name = widgets.Text(description="new file", placeholder="a new name", style=_SHORT,
                                 tooltip="Name of the parameter file to write, without its ending")
        self.save = widgets.Button(description="Save as", tooltip="Write parameters/NAME.yaml with its evidence",
                                   layout=widgets.Layout(width="auto"))
        self.save.on_click(lambda _: self._save())
        wrap = widgets.Layout(flex_flow="row wrap")
        menus = widgets.GridBox([self.strategy, self.account, self.metric, self.x, self.y], layout=_grid(245))
        self.all = widgets.VBox([menus, self.sliders, self.said,
                                 widgets.HBox([widgets.VBox([head, image]) for head, image in zip(
                                     self.heads, (self.picture, self.map), strict=True)], layout=wrap),
                                 self.point, self.meter, widgets.HBox([self.name, self.save, self.saved], layout=wrap)])
        self._turnable()

    def display(self) -> None:
        """Show it, and begin."""
        from IPython.display import display

        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None
        display(self.all)
        self.worker.start()
        self.worker.move(self.tuner.at)

    def close(self) -> None:
        """Answer no more; what is shown stands still."""
        self.worker.close()

    # --- what a person does -------------------------------------------------------------------------------------------

    def _turnable(self) -> None:
        """A slider or a menu for each parameter of the strategy."""
        import ipywidgets as widgets

        choices = self.tuner.choices(self.tuner.at.strategy)
        self.turned = {choice.name: self._widget(choice) for choice in choices}
        self.sliders.children = tuple(
            widgets.VBox([self.turned[one.name], widgets.HTML(tuner_page.small(one.help), layout=_UNDER)])
            for one in choices)

    def _widget(self, choice: Choice) -> Any:
        import ipywidgets as widgets

        kind = widgets.SelectionSlider if choice.ordered else widgets.Dropdown
        # By their numbers: a selection whose value is None counts as none.
        made = kind(options=[(value_text(v), n) for n, v in enumerate(choice.values)],
                    value=choice.values.index(self.tuner.at.point[choice.name]),
                    description=choice.name, tooltip=choice.help, style=_LABELS, layout=widgets.Layout(width="auto"))
        made.observe(lambda change: self._slid(choice.name, choice.values[change["new"]]), "value")
        return made

    def _slid(self, name: str, value: Any) -> None:
        if not self._deaf:
            self.tuner.at = self.tuner.at.moved(**{name: value})
            self.worker.move(self.tuner.at)

    def _menu_moved(self, change: Any) -> None:
        if self._deaf:
            return
        self._deaf = True
        try:
            if change["owner"] is self.strategy:
                self.tuner.at = self.tuner.beginning(self.strategy.value, self.account.value, self.metric.value)
                axes = self.tuner.axes(self.tuner.at.strategy)
                self.x.options, self.y.options = axes, axes
                self.x.value, self.y.value = self.tuner.at.x, self.tuner.at.y
                self._turnable()
            elif self.x.value == self.y.value:  # the two change places
                other = self.y if change["owner"] is self.x else self.x
                other.value = change["old"]
        except BotlibError as error:  # the menu goes back to what is shown
            self.strategy.value = self.tuner.at.strategy
            self.said.value = tuner_page.sentence(str(error), wrong=True)
            return
        finally:
            self._deaf = False
        self.tuner.at = Position(self.tuner.at.strategy, self.account.value, self.x.value, self.y.value,
                                 self.metric.value, self.tuner.at.point)
        self.worker.move(self.tuner.at)

    def _save(self) -> None:
        try:
            file = save(self.tuner, self.tuner.at, self.name.value)
        except BotlibError as error:
            self.saved.value = tuner_page.sentence(str(error), wrong=True)
            return
        where = f"parameters/{file.name}"
        self.saved.value = tuner_page.sentence(f"Saved {where}, with its evidence. Run it: python -m botlib backtest "
                                               f"--config {where}")

    # --- what the worker finds ----------------------------------------------------------------------------------------

    def account_picture(self, at: Position) -> CurvePicture:
        key = at.strategy, at.account
        if key not in self._pictures:
            self._pictures = {key: CurvePicture(self.tuner.study(at), titled=False)}
        return self._pictures[key]

    def drawn(self, at: Position, curve: Curve, held: np.ndarray) -> None:
        def draw() -> None:
            picture = self.account_picture(at)
            picture.show(curve, held)
            self.picture.value = picture.png()
            self.heads[0].value = tuner_page.heading(*picture.heading)

        self._on_screen(draw)

    def waits(self, at: Position) -> None:
        self._on_screen(lambda: setattr(self.heads[1], "value", tuner_page.heading(
            "Searching ...", "the map is still that of the point before")))

    def surface(self, at: Position, ground: Ground, words: str) -> None:
        def draw() -> None:
            found = ground.surface(at.metric)
            self._surface.show(found, at.point, words)
            self.map.value = self._surface.png()
            self.heads[1].value = tuner_page.heading(*self._surface.heading)
            around = found.plateau(*found.at(at.point))
            self.point.value = tuner_page.point_line(
                at.point, words or plateau_words(around.median, around.lowest, around.cells))

        self._on_screen(draw)

    def honesty(self, at: Position, found: Honesty | None, pending: bool) -> None:
        if found is not None:
            out = self.tuner.curve(at).sharpe_out
            self._on_screen(lambda: setattr(self.meter, "value", tuner_page.meter(
                verdicts(found, out, pending=pending))))

    def says(self, text: str) -> None:
        if text or self.said.value:
            self._on_screen(lambda: setattr(self.said, "value", tuner_page.sentence(text, wrong=True)))

    def _on_screen(self, draw: Callable[[], None]) -> None:
        """On the kernel's own loop, as all that draws: matplotlib's settings belong to everybody."""
        if self._loop is None:
            draw()
            return
        done: Future[None] = Future()

        def run() -> None:
            try:
                draw()
                done.set_result(None)
            except BaseException as error:
                done.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        while self._loop.is_running() and not self.worker.closed:  # at its end the kernel waits for this thread
            with suppress(TimeoutError):
                done.result(1.0)
                return


def _grid(least: int) -> dict[str, str]:
    """As many columns as there is room for."""
    columns = f"repeat(auto-fit, minmax({least}px, 1fr))"
    return {"grid_template_columns": columns, "grid_gap": "2px 16px", "width": "100%"}
