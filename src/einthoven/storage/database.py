"""The database behind one small seam: plain SQL that SQLite and PostgreSQL both speak.

A `Connection` belongs to one thread at a time. Statements use ``?`` for a value. Everything that is
acknowledged was committed by `Connection.writing`, which returns only when it is on disk.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

__all__ = ["LOCK", "Connection", "Database", "Row", "Statements", "within"]

Row = tuple[Any, ...]

LOCK: Final = "/*lock*/"
"""Behind a SELECT inside `Connection.writing`: nobody else changes these rows until the end of it."""


class Statements(Protocol):
    """What can be said inside one transaction."""

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """What a statement gives back."""
        ...

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Perform a statement; how many rows it touched."""
        ...

    def run_many(self, sql: str, values: Iterable[Sequence[Any]]) -> None:
        """Perform a statement once for each set of values."""
        ...


class Connection(Protocol):
    """One conversation with the database."""

    def reading(self) -> AbstractContextManager[Statements]:
        """A consistent view that changes nothing and waits for nobody.

        Raises
        ------
        DatabaseUnavailable : no answer; the same call may succeed later.
        """
        ...

    def writing(self) -> AbstractContextManager[Statements]:
        """One transaction: all of it is on disk when the block ends, or none of it happened.

        Raises
        ------
        DatabaseUnavailable : no answer; nothing of it happened. Where the connection broke during the commit
            itself this is not known; whoever repeats must use a key that cannot be entered twice.
        """
        ...

    def tidy(self) -> None:
        """Do now what the database would else do in the middle of somebody's transaction.

        Raises
        ------
        DatabaseUnavailable : no answer.
        """
        ...

    def close(self) -> None:
        """End the conversation."""
        ...


class Database(Protocol):
    """Where tables live."""

    def connect(self) -> Connection:
        """A new conversation, for the calling thread.

        Raises
        ------
        DatabaseUnavailable : no answer.
        """
        ...

    def migrate(self) -> int:
        """Bring the tables up to this program's version; the version reached.

        Raises
        ------
        InputInvalid : the database was written by a newer program, or by one that was never released.
        """
        ...


def within(sql: str, count: int) -> str:
    """A statement whose ``(*)`` stands for ``count`` values: ``id IN (*)``."""
    return sql.replace("(*)", f"({', '.join('?' * count)})")
