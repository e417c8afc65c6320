"""Processes that call functions, and are replaced when one dies."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any, Final

__all__ = ["WorkerDied", "WorkerPool"]


class WorkerDied(Exception):
    """A worker ended in the middle of a call; the same call may succeed in another."""


_LOOK_S: Final = 1.0


class WorkerPool:
    """A number of workers.

    Parameters
    ----------
    count : one: a thread of this process, since nothing would run beside it. More: processes.
    niceness : how much is added to that of this process; then even one worker is a process of its own, so
        that everything else on the machine goes before it.
    """

    def __init__(self, count: int, niceness: int | None = None) -> None:
        self._count = count
        self._niceness = niceness
        self._executor: Executor | None = None

    async def call(self, function: Callable[[], Any]) -> Any:
        """What a function gives that a worker calls.

        Raises
        ------
        WorkerDied : the worker ended before the function did.
        """
        executor = self._executor = self._executor or self._made()
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, function)
        except BrokenExecutor:
            if self._executor is executor:
                self._executor = None
                executor.shutdown(wait=False, cancel_futures=True)
            raise WorkerDied from None

    def close(self) -> None:
        """End the workers; what they are doing is waited for. They begin anew with the next call."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None

    def _made(self) -> Executor:
        if self._count == 1 and self._niceness is None:
            return ThreadPoolExecutor(1, thread_name_prefix="worker")
        return ProcessPoolExecutor(
            self._count,
            mp_context=get_context("spawn"),
            initializer=_begin,
            initargs=(self._niceness or 0, os.getpid()),
        )


def _begin(niceness: int, parent: int) -> None:
    if niceness:
        os.nice(niceness)
    threading.Thread(target=_end_without, args=(parent,), name="parent", daemon=True).start()


def _end_without(parent: int) -> None:
    """A worker whose parent was killed would wait for work for ever."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)
