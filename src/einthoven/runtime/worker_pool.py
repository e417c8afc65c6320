"""Processes that call functions; one that dies, or whose function hangs, is replaced, and it alone.

Each has a pipe and a thread of this process that waits for it, so that one can be ended alone. (The standard
library's pool is broken as a whole when one of its processes is.)
"""

import asyncio
import math
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Final

__all__ = ["WorkerDied", "WorkerEnded", "WorkerPool"]


class WorkerDied(Exception):
    """A worker ended in the middle of a call; the same call may succeed in another."""


class WorkerEnded(Exception):
    """A call took longer than it may, and its worker was ended."""


_LOOK_S: Final = 1.0


class WorkerPool:
    """A number of workers.

    Parameters
    ----------
    count : one: a thread of this process, since nothing would run beside it. More: processes.
    niceness : how much is added to that of this process; then even one worker is a process of its own, so
        that everything else on the machine goes before it.
    begin : what each process does before its first call, which takes no time of that.

    Where there are several, one more may go ahead of what will be asked for (`go_ahead`).
    """

    def __init__(
        self, count: int, niceness: int | None = None, *, begin: Callable[[], None] | None = None
    ) -> None:
        self._begin = begin
        self._count = count
        self._niceness = niceness
        self._is_thread = count == 1 and niceness is None
        self._executor: ThreadPoolExecutor | None = None
        self._ahead: ThreadPoolExecutor | None = None
        self._own = threading.local()
        self._workers: set[_Worker] = set()
        self._until_s = math.inf

    @property
    def hangs(self) -> bool:
        """Whether the one worker is a thread whose function takes longer than it may: nothing can end it."""
        return time.monotonic() > self._until_s

    async def call(self, function: Callable[[], Any], limit_s: float | None = None) -> Any:
        """What a function gives that a worker calls.

        Parameters
        ----------
        limit_s : after so long a process is ended, counted from when it begins with the function.

        Raises
        ------
        WorkerDied : the worker ended before the function did.
        WorkerEnded : it was ended.
        """
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._count, thread_name_prefix="worker")
        perform = self._here if self._is_thread else self._there
        return await asyncio.get_running_loop().run_in_executor(self._executor, perform, function, limit_s)

    def go_ahead(self, function: Callable[[], None]) -> Future[None] | None:
        """Have something done that may never be asked for, one after the other, in one more process.

        Returns
        -------
        What becomes of it; None where a single worker has all to do, and this would only take its time.
        """
        if self._count == 1:
            return None
        if self._ahead is None:
            self._ahead = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        return self._ahead.submit(self._there, function, None)

    async def follow(self, function: Callable[[], Any]) -> Any:
        """What a function gives that is called where `go_ahead` was done, and behind it; raises as `call`."""
        if self._ahead is None:
            return await self.call(function)
        return await asyncio.get_running_loop().run_in_executor(self._ahead, self._there, function, None)

    def close(self, *, waits: bool = True) -> None:
        """End the workers. They begin anew with the next call.

        Parameters
        ----------
        waits : for what they are doing; else processes are ended in the middle of it.
        """
        if not waits:
            for worker in tuple(self._workers):
                worker.kill()
        for executor in (self._executor, self._ahead):
            if executor is not None:
                executor.shutdown(wait=True, cancel_futures=True)
        self._executor = self._ahead = None
        for worker in self._workers:
            worker.end()
        self._workers.clear()
        self._own = threading.local()

    def _here(self, function: Callable[[], Any], limit_s: float | None) -> Any:
        self._until_s = math.inf if limit_s is None else time.monotonic() + limit_s
        try:
            return function()
        finally:
            self._until_s = math.inf

    def _there(self, function: Callable[[], Any], limit_s: float | None) -> Any:
        """In a thread that has a process."""
        worker: _Worker | None = getattr(self._own, "worker", None)
        if worker is None or not worker.is_alive:
            if worker is not None:
                self._workers.discard(worker)
            self._own.worker = worker = _Worker(self._niceness or 0, self._begin)
            self._workers.add(worker)
        return worker.call(function, limit_s)


class _Worker:
    """A process that calls what it is sent."""

    def __init__(self, niceness: int, begin: Callable[[], None] | None) -> None:
        context = get_context("spawn")
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=_work, args=(there, niceness, os.getpid(), begin), daemon=True)
        self._process.start()
        there.close()

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    def call(self, function: Callable[[], Any], limit_s: float | None) -> Any:
        try:
            self._pipe.send(function)
            self._pipe.recv()  # it begins
            if not self._pipe.poll(limit_s):
                self.kill()
                raise WorkerEnded
            has_raised, gave = self._pipe.recv()
        except (EOFError, OSError):
            self.kill()
            raise WorkerDied from None
        if has_raised:
            raise gave
        return gave

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def end(self) -> None:
        """Let it go; it does nothing any more."""
        self._pipe.close()
        self._process.join()


def _work(pipe: Connection, niceness: int, parent: int, begin: Callable[[], None] | None) -> None:
    """Call what comes until nothing can come any more."""
    if niceness:
        os.nice(niceness)
    threading.Thread(target=_end_without, args=(parent,), name="parent", daemon=True).start()
    try:
        if begin is not None:
            begin()
        while True:
            _say(pipe, *_called(pipe))
    except (EOFError, OSError, KeyboardInterrupt):
        return


def _called(pipe: Connection) -> tuple[bool, Any]:
    """Whether what was sent raised, and what; or what it gave."""
    try:
        function = pipe.recv()
    except (EOFError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - it cannot be read here; whoever sent it is told
        pipe.send(None)
        return True, error
    pipe.send(None)
    try:
        return False, function()
    except Exception as error:  # noqa: BLE001 - whoever sent it is told
        return True, error


def _say(pipe: Connection, has_raised: bool, gave: Any) -> None:
    try:
        pipe.send((has_raised, gave))
    except (EOFError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - it cannot be sent; its text may hold values
        pipe.send((True, TypeError(f"what the function gave cannot be sent ({type(error).__name__})")))


def _end_without(parent: int) -> None:
    """A worker whose parent was killed would go on with its function, and then wait for work for ever."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)
