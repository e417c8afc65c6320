"""Real regions measured: processes that serve functions, each behind a wire with latency and faults.

Every region is a process of `einthoven functions serve` with a declared number of slots; the wire before it
makes it as far away as a region of a cloud is, so that its slots and not this machine's processors are its
limit. What is sent are 30-s segments of a virtual patient, and every answer is compared with what the
function gives in this process.
"""

import asyncio
import json
import statistics
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Literal

import msgspec
import numpy as np

from einthoven.clock import Clock, SystemClock
from einthoven.continuum import Region
from einthoven.errors import DefectError
from einthoven.experiments.segments import segment_contents
from einthoven.experiments.shaping import ShapedWire
from einthoven.placement import Terms
from einthoven.runtime.conducting import InvocationBroke
from einthoven.runtime.federation import Federation, Request
from einthoven.runtime.hosted import Hosted, perform
from einthoven.runtime.http_region import HttpRegion
from einthoven.runtime.region_port import Call

__all__ = [
    "FAULTS",
    "Fault",
    "FaultRow",
    "FederationRow",
    "OfferedRow",
    "measure_fault",
    "measure_offered",
    "measure_throughput",
    "serving_region",
]

Fault = Literal["dies", "hangs", "slows", "garbage", "flaps", "cut"]
FAULTS: Final[tuple[Fault, ...]] = ("dies", "hangs", "slows", "garbage", "flaps", "cut")
_WINDOW_S: Final = 0.5
_ENOUGH: Final = 0.8
_LATENCY_S: Final = 0.05
_START_S: Final = 60.0


class Site(msgspec.Struct, frozen=True, eq=False):
    """One region that runs: its process and the wire before it."""

    region: Region
    process: subprocess.Popen[bytes]
    wire: ShapedWire


class FederationRow(msgspec.Struct, frozen=True, kw_only=True):
    """How much some regions carry together."""

    regions: int
    slots: int
    """Of each."""
    answered_per_s: float
    ratio: float
    """To the first row."""
    mean_ms: float
    p99_ms: float
    lost: int
    wrong: int


class OfferedRow(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of so much that is offered, whatever comes back."""

    offered_per_s: float
    answered_per_s: float
    """While it was offered."""
    mean_ms: float
    refused: int
    wrong: int


class FaultRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one region's fault cost."""

    fault: Fault
    sent: int
    answered: int
    lost: int
    wrong: int
    before_per_s: float
    """Answered a second before the fault."""
    during_per_s: float
    """While it lasted."""
    recovered_s: float
    """Until in no half second less was answered than four fifths of what the other regions carry."""
    p99_ms: float
    """While it lasted."""
    again_s: float | None
    """Until the region was used again, once it was mended; None for one that is dead."""


class _Segments:
    """What is sent, and what must come back."""

    def __init__(self) -> None:
        self.contents = segment_contents(10)
        self.expected: list[bytes] = []
        for content in self.contents:
            call = Call(
                function="analysis", content=content, encoding="msgpack", key="expected", timeout_s=60.0
            )
            self.expected.append(perform(Hosted(), call).content)


class _Sent(msgspec.Struct, frozen=True):
    began_s: float
    ended_s: float
    is_lost: bool
    is_wrong: bool


@asynccontextmanager
async def _sites(count: int, slots: int, latency_s: float) -> AsyncIterator[list[Site]]:
    """Regions that run until the context ends."""
    processes = [_host(slots) for _ in range(count)]
    wires: list[ShapedWire] = []
    try:
        ports = await asyncio.gather(*(asyncio.to_thread(_port_of, one) for one in processes))
        sites = []
        for number, (process, port) in enumerate(zip(processes, ports, strict=True)):
            wire = ShapedWire("127.0.0.1", port, latency_s)
            await wire.open()
            wires.append(wire)
            region = Region(
                name=f"region-{number + 1}",
                kind="http",
                address=f"http://127.0.0.1:{wire.port}",
                place=f"place-{number + 1}",
                slots=slots,
                rtt_s=2 * latency_s,
            )
            sites.append(Site(region, process, wire))
        yield sites
    finally:
        for wire in wires:
            await wire.close()
        for process in processes:
            process.kill()
        for process in processes:
            await asyncio.to_thread(_reap, process)


@asynccontextmanager
async def serving_region(slots: int) -> AsyncIterator[str]:
    """The address of a process that serves the functions over HTTP, while the context lasts."""
    process = _host(slots)
    try:
        yield f"http://127.0.0.1:{await asyncio.to_thread(_port_of, process)}"
    finally:
        process.kill()
        await asyncio.to_thread(_reap, process)


def _host(slots: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "einthoven", "functions", "serve", "--port", "0", "--json"]
    return subprocess.Popen(  # noqa: S603 - ourselves
        [*command, "--slots", str(slots)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _port_of(process: subprocess.Popen[bytes]) -> int:
    line = process.stdout.readline() if process.stdout else b""
    if not line:
        raise DefectError("a region did not start.", where="experiment", remedy="Report it.")
    return int(json.loads(line)["port"])


def _reap(process: subprocess.Popen[bytes]) -> None:
    process.wait()
    if process.stdout:
        process.stdout.close()


class _Load:
    """Sends segments, and notes what became of each."""

    def __init__(self, federation: Federation, segments: _Segments, clock: Clock) -> None:
        self._federation = federation
        self._segments = segments
        self._clock = clock
        self._number = 0
        self.sent: list[_Sent] = []
        self.tasks: set[asyncio.Task[None]] = set()

    def send(self, timeout_s: float) -> None:
        """Send one, and do not wait for it."""
        task = asyncio.ensure_future(self._one(timeout_s))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _one(self, timeout_s: float) -> None:
        number = self._number
        self._number += 1
        which = number % len(self._segments.contents)
        request = Request(
            function="analysis",
            content=self._segments.contents[which],
            encoding="msgpack",
            key=f"experiment-{id(self)}-{number}",
            timeout_s=timeout_s,
            session=f"patient-{number % 500}",
        )
        began_s = self._clock.now_s()
        is_lost = is_wrong = False
        try:
            answer = await self._federation.invoke(request)
            is_wrong = answer.content != self._segments.expected[which]
        except InvocationBroke:
            is_lost = True
        self.sent.append(_Sent(began_s, self._clock.now_s(), is_lost, is_wrong))

    async def keep_full(self, until_s: float, at_once: int, timeout_s: float) -> None:
        """So many at a time, always."""
        while self._clock.now_s() < until_s:
            while len(self.tasks) < at_once:
                self.send(timeout_s)
            await asyncio.wait(self.tasks, return_when=asyncio.FIRST_COMPLETED, timeout=0.1)
        await self.settle()

    async def offer(self, until_s: float, per_s: float, timeout_s: float) -> None:
        """So many a second, whatever comes back."""
        due_s = self._clock.now_s()
        while self._clock.now_s() < until_s:
            while due_s <= self._clock.now_s():
                self.send(timeout_s)
                due_s += 1.0 / per_s
            await asyncio.sleep(max(0.0, due_s - self._clock.now_s()))

    async def settle(self) -> None:
        """Wait for all that is under way."""
        while self.tasks:
            await asyncio.wait(self.tasks)


async def _federated(sites: Sequence[Site], clock: Clock, terms: Terms) -> Federation:
    ports = {one.region.name: HttpRegion(one.region.address) for one in sites}
    federation = Federation([one.region for one in sites], ports, clock, terms)
    await asyncio.gather(*(federation.probe(one.region.name) for one in sites))
    return federation


def measure_throughput(
    counts: Sequence[int] = (1, 4),
    *,
    slots: int = 8,
    seconds: float = 6.0,
    latency_s: float = _LATENCY_S,
    told: Callable[[str], None] = lambda _: None,
) -> list[FederationRow]:
    """How much one, and several limited regions carry when there is always more to do.

    Parameters
    ----------
    slots : of each region; latency_s : of one way to each.
    """
    rows: list[FederationRow] = []
    segments = _Segments()
    for count in counts:
        told(f"{count} region{'s' if count > 1 else ''} of {slots} slots, {seconds:g} s")
        rows.append(asyncio.run(_throughput(segments, count, slots, seconds, latency_s)))
    first = rows[0].answered_per_s
    return [msgspec.structs.replace(one, ratio=round(one.answered_per_s / first, 3)) for one in rows]


async def _throughput(
    segments: _Segments, count: int, slots: int, seconds: float, latency_s: float
) -> FederationRow:
    clock = SystemClock()
    async with _sites(count, slots, latency_s) as sites:
        federation = await _federated(sites, clock, Terms(hedged_share=0.0))
        try:
            warm = _Load(federation, segments, clock)
            await warm.keep_full(clock.now_s() + 1.5, 2 * count * slots, 30.0)
            load = _Load(federation, segments, clock)
            began_s = clock.now_s()
            await load.keep_full(began_s + seconds, 2 * count * slots, 30.0)
        finally:
            await federation.close()
    inside = [one for one in load.sent if not one.is_lost and one.ended_s < began_s + seconds]
    taken_s = [one.ended_s - one.began_s for one in inside]
    return FederationRow(
        regions=count,
        slots=slots,
        answered_per_s=round(len(inside) / seconds, 1),
        ratio=1.0,
        mean_ms=round(1000 * statistics.fmean(taken_s), 1),
        p99_ms=round(1000 * _p99(taken_s), 1),
        lost=sum(one.is_lost for one in load.sent),
        wrong=sum(one.is_wrong for one in load.sent),
    )


def measure_offered(
    per_s: float, *, regions: int = 4, slots: int = 8, seconds: float = 6.0, latency_s: float = _LATENCY_S
) -> OfferedRow:
    """What becomes of evenly spaced requests; those for which there is no room are refused at once."""
    return asyncio.run(_offered(per_s, regions, slots, seconds, latency_s))


async def _offered(per_s: float, count: int, slots: int, seconds: float, latency_s: float) -> OfferedRow:
    clock = SystemClock()
    segments = _Segments()
    async with _sites(count, slots, latency_s) as sites:
        federation = await _federated(sites, clock, Terms(hedged_share=0.0))
        try:
            warm = _Load(federation, segments, clock)
            await warm.keep_full(clock.now_s() + 1.5, count * slots, 30.0)
            load = _Load(federation, segments, clock)
            began_s = clock.now_s()
            await load.offer(began_s + seconds, per_s, 30.0)
            until_s = clock.now_s()
            await load.settle()
        finally:
            await federation.close()
    answered = [one for one in load.sent if not one.is_lost]
    return OfferedRow(
        offered_per_s=per_s,
        answered_per_s=round(sum(one.ended_s < until_s for one in answered) / (until_s - began_s), 1),
        mean_ms=round(1000 * statistics.fmean(one.ended_s - one.began_s for one in answered), 1),
        refused=sum(one.is_lost for one in load.sent),
        wrong=sum(one.is_wrong for one in load.sent),
    )


def measure_fault(
    fault: Fault,
    *,
    regions: int = 4,
    slots: int = 8,
    seconds: float = 4.0,
    latency_s: float = _LATENCY_S,
) -> FaultRow:
    """What it costs that one of several regions fails, under as much load as they carry without it.

    Parameters
    ----------
    seconds : before the fault, while it lasts, and after it.
    """
    return asyncio.run(_fault(fault, regions, slots, seconds, latency_s))


async def _fault(fault: Fault, count: int, slots: int, seconds: float, latency_s: float) -> FaultRow:
    clock = SystemClock()
    segments = _Segments()
    async with _sites(count, slots, latency_s) as sites:
        federation = await _federated(sites, clock, Terms())
        load = _Load(federation, segments, clock)
        victim = sites[0]
        standing = federation.standings[victim.region.name]
        try:
            await load.keep_full(clock.now_s() + 1.5, 2 * count * slots, 30.0)
            load.sent.clear()
            began_s = clock.now_s()
            going = asyncio.ensure_future(load.keep_full(began_s + 3 * seconds, 2 * count * slots, 30.0))
            await asyncio.sleep(seconds)
            broke_s = clock.now_s()
            harm = asyncio.ensure_future(_harm(victim, fault, latency_s, seconds))
            await asyncio.sleep(seconds)
            await harm
            mended_s = clock.now_s()
            answers = standing.answers
            again_s = None
            while not going.done():
                if again_s is None and fault != "dies" and standing.answers > answers + slots:
                    again_s = clock.now_s() - mended_s
                await asyncio.sleep(0.02)
            await going
        finally:
            await federation.close()
    before = _rate(load.sent, began_s, broke_s)
    during = [one for one in load.sent if broke_s <= one.ended_s < mended_s]
    others = before * (count - 1) / count
    return FaultRow(
        fault=fault,
        sent=len(load.sent),
        answered=sum(not one.is_lost for one in load.sent),
        lost=sum(one.is_lost for one in load.sent),
        wrong=sum(one.is_wrong for one in load.sent),
        before_per_s=round(before, 1),
        during_per_s=round(_rate(load.sent, broke_s, mended_s), 1),
        recovered_s=_recovered_s(load.sent, broke_s, mended_s, others),
        p99_ms=round(1000 * _p99([one.ended_s - one.began_s for one in during]), 1),
        again_s=None if again_s is None else round(again_s, 2),
    )


async def _harm(site: Site, fault: Fault, latency_s: float, seconds: float) -> None:
    """One fault, from its beginning to its end."""
    wire = site.wire
    if fault == "dies":
        site.process.kill()
        return
    if fault == "hangs":
        wire.hang()
    elif fault == "slows":
        wire.latency_s = 10 * latency_s
    elif fault == "garbage":
        wire.is_garbling = True
    elif fault == "cut":
        wire.cut()
    if fault == "flaps":
        until_s = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < until_s:
            wire.cut()
            await asyncio.sleep(0.3)
            wire.mend()
            await asyncio.sleep(0.3)
    else:
        await asyncio.sleep(seconds)
    wire.mend()
    wire.latency_s = latency_s


def _rate(sent: Sequence[_Sent], since_s: float, until_s: float) -> float:
    inside = sum(not one.is_lost and since_s <= one.ended_s < until_s for one in sent)
    return inside / (until_s - since_s)


def _recovered_s(sent: Sequence[_Sent], broke_s: float, mended_s: float, others_per_s: float) -> float:
    """Until no window answered less than four fifths of what the other regions carry; 0 if none did."""
    recovered_s = 0.0
    at_s = broke_s
    while at_s + _WINDOW_S <= mended_s:
        if _rate(sent, at_s, at_s + _WINDOW_S) < _ENOUGH * others_per_s:
            recovered_s = at_s + _WINDOW_S - broke_s
        at_s += _WINDOW_S / 5
    return round(recovered_s, 2)


def _p99(values: Sequence[float]) -> float:
    return float(np.quantile(values, 0.99, method="higher")) if values else float("nan")
