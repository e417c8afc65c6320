"""Asking a region how it is: what it has, how far away it is, and how long a segment takes there."""

import asyncio
import statistics
import uuid

import msgspec
import numpy as np

from einthoven.clock import Clock
from einthoven.runtime.conducting import InvocationBroke
from einthoven.runtime.region_port import Call, Probed, RegionPort

__all__ = ["RegionReport", "report_on"]


class RegionReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a region is; None where nobody could say."""

    answers: bool
    why: str = ""
    """It does not answer."""
    rtt_s: float | None = None
    """The fastest of three answers about itself."""
    slots: int | None = None
    is_draining: bool = False
    functions: tuple[str, ...] = ()
    calls: int = 0
    failed: int = 0
    p50_s: float | None = None
    """Of the calls that were answered."""
    p99_s: float | None = None
    busy_s: float | None = None
    """The median of what the function itself took, as the region says."""


async def report_on(
    port: RegionPort,
    clock: Clock,
    *,
    content: bytes = b"",
    calls: int = 0,
    at_once: int = 1,
    timeout_s: float = 5.0,
) -> RegionReport:
    """How a region is.

    Parameters
    ----------
    content : of a call of ``analysis``, MessagePack; calls : how many of them to make.
    """
    said: Probed | None = None
    rtts_s: list[float] = []
    try:
        for _ in range(3):
            began_s = clock.now_s()
            async with asyncio.timeout(timeout_s):
                said = await port.probe()
            rtts_s.append(clock.now_s() - began_s)
    except InvocationBroke as broke:
        return RegionReport(answers=False, why=broke.message)
    except TimeoutError:
        return RegionReport(answers=False, why=f"no answer in {timeout_s:g} s")
    report = RegionReport(
        answers=True,
        rtt_s=min(rtts_s),
        slots=said.slots if said else None,
        is_draining=said.is_draining if said else False,
        functions=tuple(one.name for one in said.functions) if said else (),
    )
    if not calls:
        return report
    taken_s: list[float] = []
    busy_s: list[float] = []
    failed: list[str] = []
    free = asyncio.Semaphore(at_once)

    async def one() -> None:
        call = Call(
            function="analysis",
            content=content,
            encoding="msgpack",
            key=uuid.uuid4().hex,
            timeout_s=timeout_s,
        )
        async with free:
            began_s = clock.now_s()
            try:
                answer = await port.invoke(call)
            except InvocationBroke as broke:
                failed.append(broke.message)
                return
            taken_s.append(clock.now_s() - began_s)
            busy_s.append(answer.busy_s)

    await asyncio.gather(*(one() for _ in range(calls)))
    return msgspec.structs.replace(
        report,
        why=failed[0] if failed else "",
        calls=calls,
        failed=len(failed),
        p50_s=statistics.median(taken_s) if taken_s else None,
        p99_s=float(np.quantile(taken_s, 0.99, method="higher")) if taken_s else None,
        busy_s=statistics.median(busy_s) if busy_s else None,
    )
