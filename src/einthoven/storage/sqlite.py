"""SQLite: the embedded default. One file, a write-ahead log, every commit on disk."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from einthoven.errors import DatabaseUnavailable

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
from einthoven.storage.database import Row
from einthoven.storage.migrations import (
    MIGRATIONS,
    SQLITE,
    SQLITE_COLUMNS,
    refuse_newer,
    refuse_other,
    spelled,
)

__all__ = ["SqliteDatabase"]

_WAIT_S: Final = 30.0
"""How long a writer waits for the one before it."""
_LOG_PAGES: Final = 65_536
"""With so many pages of log (256 MB) whoever commits copies it; `SqliteConnection.tidy` comes before that."""
_TIDY_BYTES: Final = 2**24
"""A shorter log is left alone."""
_TIDY_MS: Final = 20


class _SqliteStatements:
    """See `einthoven.storage.database.Statements`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        return self._connection.execute(sql, values).fetchall()

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        return self._connection.execute(sql, values).rowcount

    def run_many(self, sql: str, values: Iterable[Sequence[Any]]) -> None:
        self._connection.executemany(sql, values)


class _Turn:
    """Whose turn it is to write, on this machine: a lock on a file beside the database.

    SQLite alone would have a writer sleep and look again, a few ms to some dozen; here the next one is woken
    at once. The lock ends with its process, however that ends. Where there are no such locks SQLite's own
    waiting does.
    """

    def __init__(self, path: Path) -> None:
        self._file = (path.with_name(f"{path.name}-turn")).open("ab")

    def __enter__(self) -> None:
        if fcntl is not None:
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        if fcntl is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Stand back."""
        self._file.close()


class SqliteConnection:
    """See `einthoven.storage.database.Connection`."""

    def __init__(self, path: Path) -> None:
        with _failures():
            self._connection = sqlite3.connect(
                path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False, cached_statements=256
            )
            self._turn = _Turn(path)
            with self._turn:  # the first ones at once would find it locked, and SQLite does not wait for this
                self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
            self._connection.execute("PRAGMA foreign_keys = ON")
        self._statements = _SqliteStatements(self._connection)
        self._path = path

    @contextmanager
    def reading(self) -> Iterator[_SqliteStatements]:
        """See `einthoven.storage.database.Connection`."""
        with _failures():
            self._connection.execute("BEGIN")
            try:
                yield self._statements
            finally:
                self._connection.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[_SqliteStatements]:
        """See `einthoven.storage.database.Connection`."""
        with _failures(), self._turn:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._statements
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def tidy(self) -> None:
        """Copy the log into the file: most of it beside the writers, the rest in a short turn of its own."""
        log = self._path.with_name(f"{self._path.name}-wal")
        if not log.exists() or log.stat().st_size < _TIDY_BYTES:
            return
        with _failures():
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            with self._turn:
                # It waits for readers too, while all writers wait for it: rather the next time.
                self._connection.execute(f"PRAGMA busy_timeout = {_TIDY_MS}")
                try:
                    self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                finally:
                    self._connection.execute(f"PRAGMA busy_timeout = {round(1000 * _WAIT_S)}")

    def close(self) -> None:
        """See `einthoven.storage.database.Connection`."""
        self._connection.close()
        self._turn.close()


class SqliteDatabase:
    """One file; its folder must exist."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def connect(self) -> SqliteConnection:
        """See `einthoven.storage.database.Database`."""
        return SqliteConnection(self._path)

    def migrate(self) -> int:
        """See `einthoven.storage.database.Database`."""
        connection = self.connect()
        try:
            with connection.writing() as statements:
                version: int = statements.rows("PRAGMA user_version")[0][0]
                refuse_newer(version)
                for step in MIGRATIONS[version:]:
                    for sql in spelled(step, SQLITE):
                        statements.run(sql)
                statements.run(f"PRAGMA user_version = {len(MIGRATIONS)}")
                refuse_other((table, column) for table, column in statements.rows(SQLITE_COLUMNS))
        finally:
            connection.close()
        return len(MIGRATIONS)


@contextmanager
def _failures() -> Iterator[None]:
    """SQLite's own errors in ours; never with a value in the text."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise DatabaseUnavailable(
            f"SQLite could not do it ({error}).", where="database", remedy="Check space, rights and the disk."
        ) from error
