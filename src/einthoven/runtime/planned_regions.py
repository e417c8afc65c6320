"""A federation that performs offline work by schedule; see `einthoven.placement.Planner`."""

import asyncio
import itertools
import math
from collections.abc import Callable
from functools import partial

from einthoven.clock import Clock
from einthoven.continuum import Spot
from einthoven.placement import Invocation, Planner
from einthoven.runtime.conducting import InvocationBroke
from einthoven.runtime.federation import (
    Admission,
    DataOf,
    FederatedRegions,
    Federation,
    Request,
    nobody_asks,
    nothing_else,
)
from einthoven.runtime.region_port import Answer, Call, Probed

__all__ = ["PlannedRegions"]


class PlannedRegions:
    """A federation as if it were one region (see `RegionPort`), for work that can wait.

    Calls are held back until the schedule of all that wait lets them go. Where it has one begin later than an
    instance takes to start, the region is told to expect it.

    Parameters
    ----------
    needs : of all invocations.
    data_of : what a call of a function reads besides.
    admission : which regions may have it, asked again when its turn comes; None: all.
    """

    def __init__(
        self,
        federation: Federation,
        clock: Clock,
        *,
        needs: frozenset[str] = frozenset(),
        data_of: Callable[[str], DataOf] = nothing_else,
        admission: Admission | None = None,
    ) -> None:
        self._federation = federation
        self._clock = clock
        self._needs = needs
        self._data_of = data_of
        self._admission = admission
        self._planner = Planner(federation.standings)
        self._numbers = itertools.count()
        self._gates: dict[int, asyncio.Future[str]] = {}
        self._look: asyncio.Handle | None = None
        self._look_at_s = math.inf
        self._told: object = None
        self._is_closed = False

    async def invoke(self, call: Call) -> Answer:
        """See `RegionPort`; the time of a call is also that in which it is held back."""
        if self._is_closed:
            raise _closed()
        number = next(self._numbers)
        data = self._data_of(call.function)
        admits = await self._admits(call)
        invocation = Invocation(
            number=number,
            function=call.function,
            urgency=2,
            needs=self._needs,
            admits=admits,
            data_at=data.at,
            data_bytes=data.bytes,
        )
        until_s = self._clock.now_s() + call.timeout_s
        gate: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._gates[number] = gate
        self._planner.add(invocation)
        self._look_in(0.0)
        try:
            async with asyncio.timeout(call.timeout_s):
                region = await gate
        except TimeoutError:
            self._planner.withdraw(number)
            raise InvocationBroke("timeout", "its turn did not come in time") from None
        except BaseException:
            self._planner.withdraw(number)
            raise
        finally:
            del self._gates[number]
        try:
            admits = await self._admits(call)
        except BaseException:
            self._planner.ended(number, self._clock.now_s())
            raise
        request = Request(
            function=call.function,
            content=call.content,
            encoding=call.encoding,
            key=call.key,
            timeout_s=max(0.001, until_s - self._clock.now_s()),
            urgency=2,
            needs=self._needs,
            admits=admits,
            sent=nobody_asks if self._admission is None else partial(self._admission.sent, call),
            prefers=region,
            data_at=data.at,
            data_bytes=data.bytes,
        )
        try:
            return await self._federation.invoke(request)
        finally:
            self._planner.ended(number, self._clock.now_s())
            self._look_in(0.0)

    async def _admits(self, call: Call) -> frozenset[Spot] | None:
        """The regions that may have a call now; raises InvocationBroke where there are none."""
        admits = None if self._admission is None else await self._admission(call.function)
        if admits is not None and not admits:
            raise InvocationBroke("refused", "no region may have the data")
        return admits

    async def probe(self) -> Probed:
        """See `RegionPort`."""
        return await FederatedRegions(self._federation).probe()

    async def close(self) -> None:
        """See `RegionPort`."""
        self._is_closed = True
        if self._look is not None:
            self._look.cancel()
        for gate in self._gates.values():
            if not gate.done():
                gate.set_exception(_closed())
        await self._federation.close()

    # ---------------------------------------------------------------- time

    def _look_in(self, pause_s: float) -> None:
        """Let go what may; all that comes in one turn of the loop is scheduled together."""
        if self._is_closed:
            return
        now_s = self._clock.now_s()
        if self._look is not None and self._look_at_s <= now_s + pause_s:
            return
        if self._look is not None:
            self._look.cancel()
        self._look_at_s = now_s + pause_s
        self._look = asyncio.get_running_loop().call_later(pause_s, self._let_go)

    def _let_go(self) -> None:
        self._look, self._look_at_s = None, math.inf
        now_s = self._clock.now_s()
        for begun in self._planner.go(now_s):
            gate = self._gates.get(begun.invocation.number)
            if gate is None or gate.done():
                self._planner.withdraw(begun.invocation.number)
            else:
                gate.set_result(begun.region)
        self._expect()
        wake_s = self._planner.wake_at_s(now_s)
        if wake_s < math.inf:
            self._look_in(wake_s - now_s)

    def _expect(self) -> None:
        """Have instances started where the schedule begins something later."""
        schedule = self._planner.schedule
        if schedule is None or schedule is self._told:
            return
        self._told = schedule
        for name in {one.region for one in schedule.planned}:
            standing = self._federation.standings.get(name)
            begins_s = min(one.begin_s for one in schedule.planned if one.region == name)
            if standing is None or standing.region.kind != "http":
                continue
            if begins_s >= standing.region.cold_s:
                slots = {one.slot for one in schedule.planned if one.region == name}
                self._federation.expect(name, len(slots), begins_s)


def _closed() -> InvocationBroke:
    return InvocationBroke("transport", "the federation was closed")
