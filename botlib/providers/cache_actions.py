"""The cache's corporate actions: asked for once a day and after each final session, and what prices rest on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from botlib import adjust
from botlib.providers.cache_series import Series, fingerprint
from botlib.providers.cache_store import Store
from botlib.providers.sessions import Sessions

_KIND = "actions"


@dataclass(frozen=True)
class ActionsCache:
    """The actions of one provider's symbols.

    Attributes
    ----------
    store : Store
        Where they lie.
    sessions : Sessions
        Tells when they are due again.
    adjustment : str
        What the provider's prices are already adjusted for: "raw", "split" or "all".
    """

    store: Store
    sessions: Sessions
    adjustment: str

    def current(self, names: tuple[str, ...], now: pd.Timestamp,
                ask: Callable[[list[str]], pd.DataFrame]) -> dict[str, Series]:
        """Each symbol's actions as of ``now``; ``ask`` gives the source's answer for those that are due."""
        asof = [self.sessions.last_final(now), now.tz_convert(self.sessions.tz).normalize().value]
        fresh = {name: one for name, one in self.stored(names).items() if one.asof == asof}
        if len(fresh) == len(names):
            return fresh
        with self.store.lock():
            fresh = {name: one for name, one in self.stored(names).items() if one.asof == asof}
            if stale := [name for name in names if name not in fresh]:
                table = adjust.check_actions(ask(stale))
                for name in stale:
                    fresh[name] = Series(table[table["symbol"] == name].reset_index(drop=True), asof=asof)
                    self.store.save(_KIND, name, fresh[name])
        return fresh

    def stored(self, names: tuple[str, ...]) -> dict[str, Series]:
        """What is held, however old; symbols without any are left out."""
        found = {name: self.store.load(_KIND, name) for name in names}
        return {name: one for name, one in found.items() if one is not None}

    def bases(self, names: tuple[str, ...], tables: Callable[[tuple[str, ...]], dict[str, Series]]) -> dict[str, str]:
        """A fingerprint of the actions each symbol's prices are adjusted for; "" where unknown or not adjusted.

        ``tables`` gives the actions; it is not called where the source does not adjust.
        """
        known = dict.fromkeys(names, "")
        if self.adjustment == "raw":
            return known
        types = ("split",) if self.adjustment == "split" else adjust.ACTION_TYPES
        return known | {name: fingerprint(one.frame, types) for name, one in tables(names).items()}
