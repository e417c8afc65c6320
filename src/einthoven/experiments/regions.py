"""What a region costs: a decision where an invocation goes, and the way there and back."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import numpy as np

from einthoven.clock import SystemClock
from einthoven.continuum import Price, Region
from einthoven.experiments.real_regions import serving_region
from einthoven.experiments.segments import segment_contents
from einthoven.placement import POLICIES, Dispatch, Invocation, Send, Terms
from einthoven.runtime.federation import Federation, Request
from einthoven.runtime.hosted import Hosted, perform
from einthoven.runtime.http_region import HttpRegion
from einthoven.runtime.local_regions import InlineRegion, PoolRegion
from einthoven.runtime.region_port import Call, CallEncoding, RegionPort

__all__ = ["DecisionCost", "RegionCosts", "WayCost", "bench_regions"]

_REGIONS: Final = 16
_GROUP: Final = 200
_ROUNDS: Final = 30
_CALLS: Final = 400


class DecisionCost(msgspec.Struct, frozen=True):
    """One policy, among 16 regions that are all free and have prices."""

    policy: str
    us: float
    """To decide and note it, the best of thirty rounds of 200."""


class WayCost(msgspec.Struct, frozen=True):
    """One kind of region, calls one after the other, of a 30-s segment."""

    kind: str
    encoding: str
    p50_ms: float
    p99_ms: float
    over_ms: float
    """The median beyond the function alone, in the same run and in turns with it."""


class RegionCosts(msgspec.Struct, frozen=True):
    """All of it."""

    decisions: list[DecisionCost]
    ways: list[WayCost]


def bench_regions(told: Callable[[str], None] = lambda _: None) -> RegionCosts:
    """Measure both; the ways are to processes of this machine, without any latency but their own."""
    told("decisions")
    decisions = [_decision(policy) for policy in POLICIES]
    return RegionCosts(decisions, asyncio.run(_ways(told)))


def _decision(policy: str) -> DecisionCost:
    price = Price(per_invocation=4e-7, per_gb_s=2.5e-6, per_egress_gb=0.1, billing_step_s=0.1)
    regions = [
        Region(name=f"r{n}", kind="inline", slots=1000, place=f"p{n}", price=price) for n in range(_REGIONS)
    ]
    dispatch = Dispatch(regions, Terms(policy=policy))
    best_s = float("inf")
    for number in range(_ROUNDS):
        calls = [
            Invocation(number=_GROUP * number + n, function="analysis", content_bytes=15_000)
            for n in range(_GROUP)
        ]
        began_s = time.perf_counter()
        made = [dispatch.submit(one, 0.0) for one in calls]
        best_s = min(best_s, time.perf_counter() - began_s)
        for commands in made:
            for one in commands:
                if isinstance(one, Send):
                    dispatch.answered(one.attempt, 0.05)
    return DecisionCost(policy, round(1e6 * best_s / _GROUP, 1))


async def _ways(told: Callable[[str], None]) -> list[WayCost]:
    found = []
    async with serving_region(slots=2) as url:
        kinds: dict[str, Callable[[], RegionPort]] = {
            "inline": lambda: InlineRegion(Hosted()),
            "pool": lambda: PoolRegion(Hosted(), 2),
            "http": lambda: HttpRegion(url),
        }
        for kind, make in kinds.items():
            encodings: tuple[CallEncoding, ...] = ("msgpack", "json") if kind == "http" else ("msgpack",)
            for encoding in encodings:
                told(f"the way to a region of kind {kind}, {encoding}")
                async with _opened(make) as port:
                    found.append(await _way(kind, encoding, port.invoke))
        told("the way through a federation")
        async with _opened(lambda: HttpRegion(url)) as port:
            region = Region(name="http", kind="http", address=url, slots=2)
            federation = Federation([region], {"http": port}, SystemClock())

            async def through(call: Call) -> object:
                request = Request(
                    function=call.function, content=call.content, encoding=call.encoding, key=call.key
                )
                return await federation.invoke(request)

            found.append(await _way("http, federated", "msgpack", through))
    return found


@asynccontextmanager
async def _opened(make: Callable[[], RegionPort]) -> AsyncIterator[RegionPort]:
    port = make()
    try:
        yield port
    finally:
        await port.close()


async def _way(kind: str, encoding: CallEncoding, invoke: Callable[[Call], object]) -> WayCost:
    (content,) = segment_contents(1, encoding)
    there_s, here_s = [], []
    for number in range(_CALLS + _CALLS // 10):
        call = Call(
            function="analysis",
            content=content,
            encoding=encoding,
            key=f"bench-{time.time_ns()}-{number}",
            timeout_s=30.0,
        )
        began_s = time.perf_counter()
        await invoke(call)  # type: ignore[misc]
        between_s = time.perf_counter()
        perform(Hosted(), call)
        if number >= _CALLS // 10:
            there_s.append(between_s - began_s)
            here_s.append(time.perf_counter() - between_s)
    return WayCost(
        kind=kind,
        encoding=encoding,
        p50_ms=round(1000 * statistics.median(there_s), 3),
        p99_ms=round(1000 * float(np.quantile(there_s, 0.99, method="higher")), 3),
        over_ms=round(1000 * (statistics.median(there_s) - statistics.median(here_s)), 3),
    )
