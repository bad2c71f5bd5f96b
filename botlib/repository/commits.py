"""Ending a transaction, also when the answer to COMMIT gets lost."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from botlib.errors import RepositoryError
from botlib.repository.connecting import Place

ASK_SECONDS = 10.0
"""How long the server is asked what became of a transaction."""


def commit(connection: Connection, engine: Engine, where: Place, number: int | None,
           wait: Callable[[float], None] = time.sleep) -> None:
    """Commit; when the connection breaks before the answer, ask the server what became of transaction ``number``.

    Raises
    ------
    RepositoryError
        It was rolled back (``written`` False), or nobody can say (``written`` None).
    """
    try:
        connection.commit()
    except DBAPIError as error:
        if number is None or not error.connection_invalidated:
            raise
        fate = _ask(engine, number, wait)
        if fate == "committed":
            return
        if fate == "aborted":
            raise RepositoryError(f"Database {where.shown}: the connection broke before the commit; nothing of this "
                                  "transaction was written.") from None
        raise RepositoryError(f"Database {where.shown}: the connection broke during the commit, and the server cannot "
                              "be asked whether it happened; read again what should be there.",
                              written=None) from None


def _ask(engine: Engine, number: int, wait: Callable[[float], None]) -> str | None:
    pause, asked = 0.05, 0.0
    while asked < ASK_SECONDS:
        try:
            with engine.connect() as connection:
                fate = connection.exec_driver_sql("SELECT txid_status(%s)", (number,)).scalar_one()
            if fate != "in progress":
                return None if fate is None else str(fate)
        except DBAPIError:
            pass
        wait(pause)
        asked, pause = asked + pause, min(2.0 * pause, 1.0)
    return None
