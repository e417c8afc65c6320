"""Questions to the database from the event loop: each in a thread that has its own conversation."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from einthoven.errors import Overloaded
from einthoven.storage.database import Connection, Database, Statements

__all__ = ["Connections"]

T = TypeVar("T")


class Connections:
    """A few threads, each with its own `Connection`, opened with the first question.

    Parameters
    ----------
    waiting_max : so many questions wait at most; one more would be answered to nobody, and is refused.
    """

    def __init__(
        self, database: Database, threads: int = 2, name: str = "database", *, waiting_max: int = 256
    ) -> None:
        self._database = database
        self._waiting_max = waiting_max
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._own = threading.local()
        self._opened: list[Connection] = []
        self._waiting = 0

    async def read(self, question: Callable[[Statements], T]) -> T:
        """What a question finds, in one consistent view.

        Raises
        ------
        Overloaded : too many questions wait.
        DatabaseUnavailable : no answer.
        """
        return await self._perform(self._read, question)

    async def write(self, change: Callable[[Statements], T]) -> T:
        """What a change gives back, once it is on disk.

        Raises
        ------
        Overloaded : too many questions wait; nothing was changed.
        DatabaseUnavailable : no answer; nothing was changed.
        """
        return await self._perform(self._write, change)

    def close(self) -> None:
        """Finish what was asked and end the conversations."""
        self._pool.shutdown()
        for connection in self._opened:
            connection.close()
        self._opened.clear()

    async def _perform(
        self, perform: Callable[[Callable[[Statements], T]], T], work: Callable[[Statements], T]
    ) -> T:
        if self._waiting >= self._waiting_max:
            raise Overloaded(
                "more questions to the database wait than are answered.",
                where="service",
                remedy="Ask again in a moment.",
            )
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, perform, work)
        finally:
            self._waiting -= 1

    def _read(self, question: Callable[[Statements], T]) -> T:
        with self._connection().reading() as statements:
            return question(statements)

    def _write(self, change: Callable[[Statements], T]) -> T:
        with self._connection().writing() as statements:
            return change(statements)

    def _connection(self) -> Connection:
        connection: Connection | None = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = self._database.connect()
            self._opened.append(connection)
        return connection
