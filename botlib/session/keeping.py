"""`Keeper`: a session's state as packed JSON, of which only what changed since the last time is written anew.

A pass writes the whole state several times, and most of it is the same each time. Long records, such as orders, links
and intents, are remembered with their text, and a text is taken again only for the same values: what is packed is what
`SessionCore.state` says, whoever changed it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from botlib.engine import carrying
from botlib.repository.values import Packer, exact

if TYPE_CHECKING:
    from botlib.engine.book import Book
    from botlib.session.core import SessionCore
    from botlib.session.links import Intent, Link
    from botlib.session.memory import Memory

_PIECE = 64  # records in a piece: about what zlib looks back at


class Keeper:
    """Packs the state of one session."""

    def __init__(self) -> None:
        self._packer = Packer()
        self._texts: dict[str, dict[Hashable, tuple[Any, str]]] = {}  # by kind and name: values, and their text

    def checkpoint(self, core: SessionCore, memory: Memory) -> bytes:
        """Where a restart goes on, as `Repository.checkpoint` reads it: {"core": `SessionCore.state`, …}."""
        return self._packer.pack(self.pieces(core, memory))

    def opening(self, core: SessionCore) -> tuple[str, ...]:
        """The text of the state before a decision, in pieces. The ids by which executions and activities are known
        that were told before have nothing to do with it."""
        return ("{", *self._core(core), "}")

    @staticmethod
    def state(opening: Sequence[str]) -> dict[str, Any]:
        """What an opening says."""
        found: dict[str, Any] = json.loads("".join(opening))
        return found

    def packed(self, opening: Sequence[str]) -> bytes:
        """An opening, as `Repository.opening` reads it."""
        return self._packer.pack(opening, aside=True)

    def pieces(self, core: SessionCore, memory: Memory) -> Iterator[str]:
        """The text of a checkpoint."""
        yield '{"core":{'
        yield from self._core(core)
        yield f',"activities":{exact(core.booked_activities)},"finished":{exact(list(core.finished))}}},'
        yield inner(memory.small())
        prices = memory.watch.prices
        yield ',"watch":{' + inner(memory.watch.small_record()) + ',"prices":{'
        yield from self._joined("prices", prices, [(one,) for one in prices.values()], list(prices.values()), _records,
                                named=True)
        yield "}}}"

    def _core(self, core: SessionCore) -> Iterator[str]:
        """The core's state without its braces."""
        yield inner(core.small_state()) + ',"book":{'
        yield from self._book(core.book, core.bars.symbols, core.uids, core.linked(), core.t)
        yield '},"intents":['
        intents, links = core.intents, core.links
        yield from self._joined("intents", intents, [one.values for one in intents.values()], list(intents.values()),
                                _plain)
        yield '],"links":['
        yield from self._joined("links", links, [one.values for one in links.values()], list(links.values()), _plain)
        yield "]"

    def _book(self, book: Book, symbols: Sequence[str], uids: Sequence[int], keep: set[int], t: int) -> Iterator[str]:
        """What `carrying.to_state` says, without its braces."""
        lots, columns = carrying.open_lots(book), carrying.mattering(book)
        rows, at_work = carrying.useful_orders(book, uids, keep, lots), carrying.open_orders(book)
        yield f'"t":{t},"account":{exact(carrying.account_state(book))},"symbols":'
        yield from self._joined("symbols", (0,), [(symbols, columns.tobytes(),
                                                   carrying.symbol_rows(book, columns).tobytes())], (columns,),
                                lambda some: [carrying.symbol_states(book, symbols, one) for one in some])
        yield ',"lots":['
        told = zip(_bytes(book.lots[lots]), carrying.lot_numbers(book, uids, lots), strict=True)
        yield from self._joined("lots", lots, list(told), lots,
                                lambda some: carrying.lot_states(book, symbols, uids, some))
        yield '],"orders":['
        works = [(one, row in at_work) for one, row in zip(_bytes(book.orders[rows]), rows, strict=True)]
        yield from self._joined("orders", [uids[row] for row in rows], works, rows,
                                lambda some: carrying.order_states(book, symbols, uids, some))
        yield "]"

    def _joined(self, kind: str, names: Iterable[Hashable], values: Sequence[Any], records: Sequence[Any],
                plain: Callable[[list[Any]], list[Any]], *, named: bool = False) -> Iterator[str]:
        """Records as JSON, in pieces. ``values`` decide whether a record is as it was; ``plain`` gives what JSON takes
        of those that are not. ``named``: as members of an object."""
        known, names = self._texts.get(kind, {}), list(names)
        found = list(map(known.get, names))
        new = [n for n, (old, value) in enumerate(zip(found, values, strict=True)) if old is None or old[0] != value]
        for n, one in zip(new, plain([records[n] for n in new]) if new else (), strict=True):
            found[n] = values[n], f"{exact(names[n])}:{exact(one)}" if named else exact(one)
        self._texts[kind] = dict(zip(names, found, strict=True))  # type: ignore[arg-type]
        texts = [text for _, text in found]  # type: ignore[misc]
        for start in range(0, len(texts), _PIECE):
            yield ("," if start else "") + ",".join(texts[start:start + _PIECE])


def inner(values: Mapping[str, Any]) -> str:
    """The text of an object without its braces."""
    return exact(values)[1:-1]


@cache
def _packed(kind: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype([(name, kind[name]) for name in kind.names or ()])


def _plain(some: list[Intent | Link]) -> list[Any]:
    return [one.plain() for one in some]


def _records(some: list[Any]) -> list[Any]:
    return [one.record() for one in some]


def _bytes(records: Any) -> list[bytes]:
    """Each record's bytes, without those between its fields."""
    raw, size = records.astype(_packed(records.dtype)).tobytes(), _packed(records.dtype).itemsize
    return [raw[at:at + size] for at in range(0, len(raw), size)]
