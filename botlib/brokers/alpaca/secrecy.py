"""What keeps keys out of sight: texts that do not show themselves, and errors without the frames that hold them."""

from __future__ import annotations

import hmac
from typing import Any, TypeVar

Error = TypeVar("Error", bound=BaseException)


class Secret:
    """A text that shows itself only to `reveal`: not in repr, str, formatting, `vars`, a pickle or a traceback."""

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value

    def reveal(self) -> str:
        """The text itself: for the wire only."""
        return self.__value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.__value.encode(), other.__value.encode())

    def __hash__(self) -> int:
        return hash(("Secret", self.__value))

    def __bool__(self) -> bool:
        return bool(self.__value)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("a secret is not pickled: read it from the environment again where it is needed")

    def __getstate__(self) -> object:
        raise TypeError("a secret has no state to be kept")


class Masked(str):
    """A key for a library that wants text and sends it: its letters are there, and in no repr, format or pickle."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("a secret is not pickled")


def bare(error: Error) -> Error:
    """The error without its frames and without those it came from.

    To be raised after the handler that caught it has ended. The frames of HTTP and websocket libraries hold headers and
    messages with the keys, and a traceback that prints variables prints them.
    """
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error
