"""Processes that call functions, and are replaced when one dies."""

import asyncio
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

__all__ = ["WorkerDied", "WorkerPool"]


class WorkerDied(Exception):
    """A worker ended in the middle of a call; the same call may succeed in another."""


class WorkerPool:
    """A number of workers.

    Parameters
    ----------
    count : one: a thread of this process, since nothing would run beside it. More: processes.
    """

    def __init__(self, count: int) -> None:
        self._count = count
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
        """End the workers; what they are doing is waited for."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)

    def _made(self) -> Executor:
        if self._count == 1:
            return ThreadPoolExecutor(1, thread_name_prefix="worker")
        return ProcessPoolExecutor(self._count, mp_context=get_context("spawn"))
