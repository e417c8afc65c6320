"""Segments analysed in regions, asked for by a thread that waits.

What regions cannot do in time, have no room for, or do otherwise than this program would, is done here: a
segment that was accepted is analysed whatever becomes of the regions.
"""

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import CancelledError
from itertools import count
from typing import Any, Final

from einthoven.continuum import Region
from einthoven.errors import EinthovenError, StateUnreadable
from einthoven.functions import check_state, encode
from einthoven.functions.codec import decode_as
from einthoven.runtime.conducting import InvocationBroke
from einthoven.runtime.federation import Federation, Request
from einthoven.runtime.hosted import ANALYSES
from einthoven.runtime.segment_analysis import (
    VERSION,
    Analysed,
    AnalysesGave,
    CarriedState,
    Following,
    StreamGave,
    Streams,
    analyse_here,
    asked_of,
)

__all__ = ["RegionalAnalyst"]

_TOGETHER: Final = 16
"""Segments in one call: more gain nothing, and several regions can share a batch."""
_MEMORY_MB: Final = 256


class RegionalAnalyst:
    """An `einthoven.runtime.segment_analysis.Analyst` for one thread, beside the event loop of a federation.

    Parameters
    ----------
    federation : those of ``loop``; None where there is none now.
    patience_s : so long regions are waited for, s.
    needs : labels that a region must have.
    counted : told how many segments of a batch regions analysed, and how many were left.
    """

    def __init__(
        self,
        federation: Callable[[], Federation | None],
        loop: asyncio.AbstractEventLoop,
        *,
        patience_s: float,
        needs: frozenset[str] = frozenset(),
        counted: Callable[[int, int], None] = lambda _there, _here: None,
    ) -> None:
        self._federation = federation
        self._loop = loop
        self._patience_s = patience_s
        self._needs = needs
        self._counted = counted
        self._own = secrets.token_hex(8)
        self._numbers = count()

    def __call__(self, streams: Streams) -> list[Analysed | EinthovenError]:
        """See `einthoven.runtime.segment_analysis.Analyst`."""
        federation = self._federation()
        if federation is None or not streams:
            return analyse_here(streams)
        groups = list(_grouped(streams))
        asked = [[streams[number] for number in group] for group in groups]
        calls = [(encode(asked_of(one), "msgpack"), one) for one in asked]
        gave = self._waited_for(self._asked(federation, calls), len(groups))
        found: list[Analysed | EinthovenError | None] = [None] * len(streams)
        for group, its, answer in zip(groups, asked, gave, strict=True):
            for number, one in zip(group, _read(answer, its), strict=True):
                found[number] = one
        return self._completed(streams, found)

    def _completed(
        self, streams: Streams, found: Sequence[Analysed | EinthovenError | None]
    ) -> list[Analysed | EinthovenError]:
        """With what the regions left analysed here."""
        left = [number for number, one in enumerate(found) if one is None]
        here = iter(analyse_here([streams[number] for number in left])) if left else iter(())
        segments = sum(len(streams[number].segments) for number in left)
        self._counted(sum(len(one.segments) for one in streams) - segments, segments)
        return [next(here) if one is None else one for one in found]

    async def _asked(
        self, federation: Federation, calls: Sequence[tuple[bytes, Streams]]
    ) -> list[bytes | None]:
        return await asyncio.gather(*(self._call(federation, *one) for one in calls))

    async def _call(self, federation: Federation, content: bytes, streams: Streams) -> bytes | None:
        sizes = [_content_bytes(one) for one in streams]

        def sent(region: Region) -> None:
            for one, size in zip(streams, sizes, strict=True):
                one.sent(region, size)

        request = Request(
            function=ANALYSES,
            content=content,
            encoding="msgpack",
            key=f"{self._own}-{next(self._numbers)}",
            timeout_s=self._patience_s,
            needs=self._needs,
            admits=streams[0].admits,
            prefers=streams[0].region or "",
            memory_mb=_MEMORY_MB,
            sent=sent,
        )
        try:
            return (await federation.invoke(request)).content
        except InvocationBroke:
            return None

    def _waited_for(self, asking: Coroutine[Any, Any, list[bytes | None]], groups: int) -> list[bytes | None]:
        try:
            return asyncio.run_coroutine_threadsafe(asking, self._loop).result()
        except (RuntimeError, CancelledError):  # the loop ends
            asking.close()
            return [None] * groups


def _grouped(streams: Streams) -> Iterator[list[int]]:
    """Numbers of the streams whose segments are one call; those that stay here are in none."""
    ways = [(one.region, one.admits) for one in streams]
    for way in dict.fromkeys(ways):
        if way[0] is None or way[1] == frozenset():
            continue
        group: list[int] = []
        size = 0
        for number, one in enumerate(streams):
            if ways[number] != way:
                continue
            if group and size + len(one.segments) > _TOGETHER:
                yield group
                group, size = [], 0
            group.append(number)
            size += len(one.segments)
        yield group


def _content_bytes(one: Following) -> int:
    """What of a stream goes out: its samples, and its state if it has one."""
    samples = sum(
        piece.samples.nbytes for its in one.segments for piece in its.pieces if piece.samples is not None
    )
    return samples + (0 if one.segments[0].is_begin else len(one.state.pack()))


def _read(content: bytes | None, group: Streams) -> list[Analysed | EinthovenError | None]:
    """What a region found, stream by stream; None where it found nothing that can be used."""
    nothing: list[Analysed | EinthovenError | None] = [None] * len(group)
    if content is None:
        return nothing
    try:
        gave = decode_as(content, "msgpack", AnalysesGave)
    except EinthovenError:
        return nothing
    if gave.version != VERSION or len(gave.streams) != len(group):
        return nothing
    return [_analysed(one, len(its.segments)) for one, its in zip(gave.streams, group, strict=True)]


def _analysed(one: StreamGave | None, segments: int) -> Analysed | None:
    if one is None or len(one.findings) != segments:
        return None
    try:
        check_state(one.state)
    except StateUnreadable:
        return None
    return Analysed(one.findings, CarriedState(packed=one.state))
