"""A live panel of a session: what the ledger says, once a second, and the buttons Stop, Reduce only and Kill.

    botlib.panel.show(session)                          # in the notebook that started it
    botlib.panel.show()                                 # in any other one: the session that runs
    botlib.panel.show(db="trades.sqlite", account="…")

It reads the ledger over a connection of its own and asks by requests in it, so any number of panels in any kernel can
attach. While the session runs the page is a widget, which comes back by itself when the browser's page is loaded again;
at the end it becomes plain HTML, and no widget holds anything any more.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from botlib.errors import BotlibError
from botlib.panel_page import page
from botlib.panel_status import Status, find_session, read
from botlib.repository.hosts import person

if TYPE_CHECKING:
    from botlib.live import Session
    from botlib.repository import Repository

EVERY = 1.0
"""Seconds between two looks at the ledger."""

_MOST = 4  # panels of this kernel that go on; the oldest gives way, as its cell was run again
_SHOWN: deque[Panel] = deque()

_SAID = {"stop": "Stop: asked for. The session ends after the pass under way.",
         "reduce-only": "Reduce only: asked for. Entries are cancelled, exits go on.",
         "kill": "Kill: asked for. Trading halts until a person lifts it: python -m botlib kill --clear"}


def show(session: Session | None = None, *, db: str | os.PathLike[str] | None = None, account: str | None = None,
         session_id: str | None = None, root: str | os.PathLike[str] | None = None) -> None:
    """Show a session's panel below this cell. Where nobody sits before it (a headless run), nothing is shown.

    Parameters
    ----------
    session : Session, optional
        From `botlib.start_session`; without it, one that the ledger knows.
    db : path or URL, optional
        The ledger; default: that of the session, or trades.sqlite.
    account : str, optional
        An account id: its newest session. Default: of all accounts.
    session_id : str, optional
        One session, by its id or how it begins.
    root : path, optional
        The project's folder.

    Raises
    ------
    InputError
        There is no such ledger or session.
    """
    from botlib.keyboard import keyboard
    from botlib.repository import Repository

    if keyboard() is None or (session is not None and not hasattr(session, "started")):  # the latter: a record
        return
    if session is not None:
        db = session.params.database(os.environ) if db is None else db
        root, session_id = session.root if root is None else root, session.started.session_id
    repository = Repository.open("trades.sqlite" if db is None else db, root=root, create=False, checked=False,
                                 busy_seconds=5.0)
    try:
        panel = Panel(repository, find_session(repository, account, session_id))
        panel.refresh()
    except BaseException:
        repository.close()
        raise
    while len(_SHOWN) >= _MOST:
        _SHOWN.popleft().close()
    _SHOWN.append(panel)
    panel.display()


class Panel:
    """One view of one session; made by `show`."""

    def __init__(self, repository: Repository, session_id: str) -> None:
        self.repository, self.session_id = repository, session_id
        self.status: Status | None = None
        self.note = ""
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._place: Any = None
        self._view: Any = None
        self._buttons: Any = None

    # --- reading and asking -------------------------------------------------------------------------------------------

    def refresh(self) -> Status:
        """Read the ledger. Raises `RepositoryError` when it cannot be read."""
        self.status = read(self.repository, self.session_id)
        return self.status

    def html(self, *, live: bool = True) -> str:
        """The page of what was read last."""
        assert self.status is not None
        return page(self.status, now=pd.Timestamp.now(tz=_zone()), note=self.note, live=live)

    def ask(self, kind: str) -> None:
        """Write a request for the session: "stop", "reduce-only" or "kill"."""
        assert self.status is not None
        try:
            with self.repository.writing() as tx:
                tx.request(self.status.ledger.account_id, kind, by=person(), time=pd.Timestamp.now("UTC"), note="panel")
            self.note = _SAID[kind]
        except BotlibError as error:
            self.note = f"{kind}: not asked for, since the ledger cannot be written: {error}"

    # --- the notebook -------------------------------------------------------------------------------------------------

    def display(self) -> None:
        """Show it and keep it up to date, by a task on the kernel's own loop."""
        import ipywidgets as widgets
        from IPython.display import HTML, display

        assert self.status is not None
        if not self.status.running:
            display(HTML(self.html(live=False)))
            return
        self._loop = asyncio.get_running_loop()
        # As wide as the cell and no wider: what does not fit wraps or scrolls inside the page.
        self._view = widgets.HTML(self.html(), layout=widgets.Layout(width="auto", min_width="0", margin="0"))
        self._buttons = self._make_buttons()
        display(widgets.VBox([self._view, self._buttons], layout=widgets.Layout(overflow="hidden")))
        self._place = display(HTML(""), display_id=True)
        self._task = self._loop.create_task(self._follow())

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            try:
                status = await asyncio.to_thread(self.refresh)
            except BotlibError as error:  # a ledger out of reach is no reason to stop looking
                self._view.value = f"{self.html()}<p><b>The ledger cannot be read: {escape(str(error))}</b></p>"
                continue
            if not status.running:
                break
            self._view.value = self.html()
        from IPython.display import HTML

        self.note = ""
        # What a widget holds is no record; after the page was loaded again it is all that is seen of this cell.
        self._view.value = "<i>The session has ended. Its last state: botlib.panel.show() in a new cell.</i>"
        self._buttons.close()
        self._place.update(HTML(self.html(live=False)))
        self._forget()

    def _make_buttons(self) -> Any:
        import ipywidgets as widgets

        def button(text: str, style: str, tip: str, act: Callable[[], None]) -> Any:
            made = widgets.Button(description=text, button_style=style, tooltip=tip,
                                  layout=widgets.Layout(width="auto"))
            made.on_click(lambda _: act())
            return made

        row = widgets.HBox(layout=widgets.Layout(flex_flow="row wrap"))
        first = (
            button("Stop", "", "End the session in an orderly way", lambda: self._clicked("stop")),
            button("Reduce only", "", "Cancel entries; only exits from now on", lambda: self._clicked("reduce-only")),
            button("Kill …", "danger", "Halt trading until a person lifts it; asks once more", lambda: swap(True)))
        second = (
            widgets.Label("Halt trading for good? Entries are cancelled; only a person lifts it."),
            button("Yes, kill", "danger", "Halt trading", lambda: sure_of_it()),
            button("No", "", "Go on", lambda: swap(False)))

        def swap(sure: bool) -> None:
            row.children = second if sure else first

        def sure_of_it() -> None:
            swap(False)
            self._clicked("kill")

        swap(False)
        return row

    def _clicked(self, kind: str) -> None:
        # The ledger may be locked for a moment: the loop must not wait for it. Some kernels call from another thread.
        assert self._loop is not None
        self.note = f"{kind}: asking …"
        self._loop.call_soon_threadsafe(lambda: self._loop.create_task(  # type: ignore[union-attr]
            asyncio.to_thread(self.ask, kind)))

    def close(self) -> None:
        """Stop looking; what is shown stands still."""
        if self._task is not None:
            self._task.cancel()
        for widget in (self._view, self._buttons):
            if widget is not None:
                widget.close()
        self._forget()

    def _forget(self) -> None:
        self.repository.close()
        if self in _SHOWN:
            _SHOWN.remove(self)


def _zone() -> Any:
    """This machine's zone."""
    import datetime as dt

    return dt.datetime.now().astimezone().tzinfo


__all__ = ["EVERY", "Panel", "show"]
