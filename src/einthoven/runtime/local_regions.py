"""Regions of this machine: the thread of the event loop, and a pool of workers."""

import asyncio
import math
from functools import partial

from einthoven.runtime.conducting import InvocationBroke
from einthoven.runtime.hosted import Hosted, a_call_for_nothing, perform
from einthoven.runtime.kernels import warm_kernels
from einthoven.runtime.region_port import Answer, Call, Probed
from einthoven.runtime.worker_pool import WorkerDied, WorkerEnded, WorkerPool

__all__ = ["InlineRegion", "PoolRegion"]


class InlineRegion:
    """Functions in the thread of the event loop: for those that take under a millisecond.

    Nothing costs less, and nothing else goes on meanwhile. A function cannot be interrupted: one that took
    longer than its time is told so afterwards, and one that hangs holds up everything.
    """

    def __init__(self, hosted: Hosted) -> None:
        self._hosted = hosted
        self._is_closed = False

    async def warm(self) -> None:
        """Load the functions, so that the first call has not to wait for it."""
        perform(self._hosted, a_call_for_nothing(""))

    async def invoke(self, call: Call) -> Answer:
        """See `RegionPort`."""
        if self._is_closed:
            raise _closed()
        answer = perform(self._hosted, call)
        if answer.busy_s > call.timeout_s:
            raise InvocationBroke(
                "timeout", f"it took longer than {call.timeout_s:g} s, and cannot be interrupted here"
            )
        return answer

    async def probe(self) -> Probed:
        """See `RegionPort`."""
        if self._is_closed:
            raise _closed()
        return Probed(functions=self._hosted.functions, slots=1)

    async def close(self) -> None:
        """See `RegionPort`."""
        self._is_closed = True


class PoolRegion:
    """Functions in workers of this process; what finds none free waits in line, within its time.

    A function that hangs is ended with its worker, if that is a process, and another one takes its place.

    Parameters
    ----------
    workers : see `WorkerPool`; one is a thread.
    niceness : see `WorkerPool`.
    longest_s : no function may take longer, whatever time its call has; see `Hosted.limit_s`.
    """

    def __init__(
        self, hosted: Hosted, workers: int, niceness: int | None = None, longest_s: float = math.inf
    ) -> None:
        self._hosted = hosted
        self._longest_s = longest_s
        self._slots = workers
        self._pool = WorkerPool(workers, niceness, begin=warm_kernels)
        self._under_way: set[asyncio.Task[Answer]] = set()
        self._is_closed = False

    async def warm(self) -> None:
        """Begin the workers and have them load the functions; raises as `invoke` does."""
        await asyncio.gather(*(self.invoke(a_call_for_nothing("")) for _ in range(self._slots)))

    async def invoke(self, call: Call) -> Answer:
        """See `RegionPort`."""
        if self._is_closed:
            raise _closed()
        limit_s = self._hosted.limit_s(call, self._longest_s)
        task: asyncio.Task[Answer] = asyncio.ensure_future(
            self._pool.call(partial(perform, self._hosted, call), limit_s)
        )
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        try:
            done, _ = await asyncio.wait((task,), timeout=call.timeout_s)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if not done:
            task.cancel()
            raise _late(call)
        try:
            return task.result()
        except asyncio.CancelledError:
            raise _closed() from None
        except WorkerEnded:
            raise InvocationBroke("timeout", "the function took longer than it may, and was ended") from None
        except WorkerDied:
            if self._is_closed:
                raise _closed() from None
            raise InvocationBroke("transport", "the worker ended in the middle of the call") from None

    async def probe(self) -> Probed:
        """See `RegionPort`."""
        if self._is_closed:
            raise _closed()
        return Probed(functions=self._hosted.functions, slots=self._slots)

    async def close(self) -> None:
        """See `RegionPort`; a function that a thread is calling is waited for, its answer is not."""
        self._is_closed = True
        for task in self._under_way:
            task.cancel()
        await asyncio.to_thread(self._pool.close, waits=False)


def _closed() -> InvocationBroke:
    return InvocationBroke("transport", "the region is closed")


def _late(call: Call) -> InvocationBroke:
    return InvocationBroke("timeout", f"no answer within {call.timeout_s:g} s")
