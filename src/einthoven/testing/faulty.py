"""A region that misbehaves as it is told to, in front of any other one."""

import asyncio

from einthoven.runtime.conducting import InvocationBroke
from einthoven.runtime.region_port import Answer, Call, Probed, RegionPort
from einthoven.workflow import Break

__all__ = ["FaultyRegion"]


class FaultyRegion:
    """A region with faults; see `RegionPort`.

    Parameters
    ----------
    slots : beyond so many at once it answers that there are too many.
    """

    def __init__(self, port: RegionPort, slots: int, delay_s: float = 0.0) -> None:
        self._port = port
        self.slots = slots
        self.delay_s = delay_s
        self.fails: Break | None = None
        self.hangs = False
        self.now = self.most = self.refused = 0
        """Calls under way, the most there ever were, and those that were too many."""
        self.keys: list[str] = []
        """Of the calls that were performed."""
        self._mended = asyncio.Event()

    async def invoke(self, call: Call) -> Answer:
        """See `RegionPort`."""
        if self.now >= self.slots:
            self.refused += 1
            raise InvocationBroke("throttled", "too many calls", 0.05)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            if self.hangs:
                await self._mended.wait()
            if self.fails is not None:
                raise InvocationBroke(self.fails, "it fails")
            answer = await self._port.invoke(call)
            self.keys.append(call.key)
            return answer
        finally:
            self.now -= 1

    def mend(self) -> None:
        """Behave."""
        self.fails = None
        self.hangs = False
        self._mended.set()
        self._mended = asyncio.Event()

    async def probe(self) -> Probed:
        """See `RegionPort`."""
        if self.fails is not None:
            raise InvocationBroke(self.fails, "it fails")
        return await self._port.probe()

    async def close(self) -> None:
        """See `RegionPort`."""
        await self._port.close()
