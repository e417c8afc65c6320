"""Regions by schedule: real calls are held back, go where they are planned, and elsewhere when that fails."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from einthoven.clock import SystemClock
from einthoven.continuum import Region, Spot
from einthoven.placement import Terms
from einthoven.runtime.conducting import InvocationBroke
from einthoven.runtime.federation import FederatedRegions, Federation
from einthoven.runtime.hosted import Hosted, perform
from einthoven.runtime.local_regions import InlineRegion
from einthoven.runtime.planned_regions import PlannedRegions
from einthoven.runtime.region_port import Call, RegionPort
from einthoven.testing.faulty import FaultyRegion
from einthoven.testing.regions import REGION_CHECKS, a_call

CALL = a_call(1)
EXPECTED = perform(Hosted(), CALL).content


def planned(
    run: Callable[[PlannedRegions, dict[str, FaultyRegion]], Awaitable[None]],
    delays_s: dict[str, float],
    slots: int = 2,
    **more: Any,
) -> None:
    async def main() -> None:
        ports = {name: FaultyRegion(InlineRegion(Hosted()), slots, one) for name, one in delays_s.items()}
        regions = [Region(name=name, kind="inline", slots=slots) for name in ports]
        federation = Federation(regions, ports, SystemClock(), Terms(waiting=1000))
        found = PlannedRegions(federation, SystemClock(), **more)
        try:
            await run(found, ports)
        finally:
            await found.close()

    asyncio.run(main())


def call(number: int, **more: Any) -> Any:
    return a_call(1, key=f"k{number}", **more)


@pytest.mark.parametrize(
    "check",
    [one for one in REGION_CHECKS if one.__name__ not in ("too_much_is_told", "errors_hold_no_values")],
    ids=lambda check: check.__name__,
)
def test_it_is_a_region_as_any_other(check: Any) -> None:
    @asynccontextmanager
    async def made():
        region = Region(name="a", kind="inline", slots=4)
        federation = Federation([region], {"a": InlineRegion(Hosted())}, SystemClock())
        found = PlannedRegions(federation, SystemClock())
        try:
            yield found
        finally:
            await found.close()

    asyncio.run(check(made))


def test_once_their_times_are_known_the_slow_region_is_not_given_the_last_ones() -> None:
    async def run(regions: PlannedRegions, ports: dict[str, FaultyRegion]) -> None:
        await asyncio.gather(*(regions.invoke(call(n)) for n in range(12)))
        before = len(ports["slow"].keys)
        assert before, "nobody knew"
        began_s = time.perf_counter()
        answers = await asyncio.gather(*(regions.invoke(call(20 + n)) for n in range(12)))
        assert time.perf_counter() - began_s < 0.9
        assert {one.content for one in answers} == {EXPECTED}
        assert len(ports["slow"].keys) == before

    planned(run, {"fast": 0.05, "slow": 1.0})


def test_a_region_that_dies_or_slows_down_on_the_way_costs_no_answer() -> None:
    async def run(regions: PlannedRegions, ports: dict[str, FaultyRegion]) -> None:
        going = [asyncio.ensure_future(regions.invoke(call(n))) for n in range(40)]
        await asyncio.sleep(0.1)
        ports["a"].fails = "transport"
        ports["b"].delay_s = 0.5
        answers = await asyncio.wait_for(asyncio.gather(*going), 20)
        assert {one.content for one in answers} == {EXPECTED}
        assert len(ports["c"].keys) > len(ports["b"].keys)

    planned(run, {"a": 0.03, "b": 0.03, "c": 0.03})


def test_what_is_held_back_breaks_when_it_is_closed_and_what_comes_later_too() -> None:
    async def run(regions: PlannedRegions, ports: dict[str, FaultyRegion]) -> None:
        going = [asyncio.ensure_future(regions.invoke(call(n))) for n in range(8)]
        await asyncio.sleep(0.02)
        await regions.close()
        ended = await asyncio.wait_for(asyncio.gather(*going, return_exceptions=True), 2)
        assert {one.kind for one in ended} == {"transport"}
        with pytest.raises(InvocationBroke, match="closed"):
            await asyncio.wait_for(regions.invoke(call(9)), 2)

    planned(run, {"a": 0.1}, slots=1)


def test_whoever_gives_up_or_has_no_time_leaves_nothing_behind() -> None:
    async def run(regions: PlannedRegions, ports: dict[str, FaultyRegion]) -> None:
        going = [asyncio.ensure_future(regions.invoke(call(n))) for n in range(20)]
        hurried = asyncio.ensure_future(regions.invoke(call(30, timeout_s=0.05)))
        await asyncio.sleep(0.02)
        for task in going[5:]:
            task.cancel()
        with pytest.raises(InvocationBroke) as caught:
            await hurried
        assert caught.value.kind == "timeout"
        assert {one.content for one in await asyncio.gather(*going[:5])} == {EXPECTED}
        assert (await regions.invoke(call(31))).content == EXPECTED
        assert all(port.now == 0 for port in ports.values())

    planned(run, {"a": 0.1}, slots=1)


class Admits:
    """Lets calls go to some of the regions."""

    def __init__(self, *regions: Region) -> None:
        self.regions = regions
        self.went: list[str] = []

    async def __call__(self, function: str) -> frozenset[Spot]:  # noqa: ARG002 - the same for all
        return frozenset(one.spot for one in self.regions)

    def sent(self, call: Call, region: Region) -> None:  # noqa: ARG002 - where is enough
        self.went.append(region.name)


@pytest.mark.parametrize("is_planned", [True, False])
def test_calls_go_only_where_they_are_admitted_when_they_go(is_planned: bool) -> None:
    async def main() -> None:
        ports = {name: FaultyRegion(InlineRegion(Hosted()), 2, 0.01) for name in "abc"}
        declared = {name: Region(name=name, kind="inline", slots=2) for name in ports}
        federation = Federation(declared.values(), ports, SystemClock(), Terms(hedged_share=1.0))
        admission = Admits(declared["a"], declared["b"])
        regions: RegionPort = (
            PlannedRegions(federation, SystemClock(), admission=admission)
            if is_planned
            else FederatedRegions(federation, admission=admission)
        )
        await asyncio.gather(*(regions.invoke(call(n)) for n in range(12)))
        assert not ports["c"].keys
        ports["a"].fails = "transport"
        await asyncio.gather(*(regions.invoke(call(20 + n)) for n in range(6)))
        assert not ports["c"].keys, "not even instead of one that fails"
        assert set(admission.went) == {"a", "b"}
        admission.regions = ()
        with pytest.raises(InvocationBroke, match="no region may have the data"):
            await regions.invoke(call(40))
        await regions.close()

    asyncio.run(main())
