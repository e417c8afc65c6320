"""Segments analysed in regions, asked for by a thread that waits.

What regions cannot do in time, have no room for, or do otherwise than this program would, is done here: a
segment that was accepted is analysed whatever becomes of the regions.
"""

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import CancelledError
from itertools import count
from typing import Any, Final, NamedTuple

import numpy as np

from einthoven.continuum import Region, Spot
from einthoven.errors import EinthovenError, StateUnreadable
from einthoven.functions import PatientState, check_state, encode
from einthoven.functions.codec import decode_as
from einthoven.runtime.conducting import InvocationBroke
from einthoven.runtime.federation import Federation, Request
from einthoven.runtime.hosted import ANALYSES, INTERPRETATIONS
from einthoven.runtime.online import Sensed, sense_all
from einthoven.runtime.segment_analysis import (
    INTERPRETING_VERSION,
    VERSION,
    Analysed,
    AnalysesGave,
    CarriedState,
    Following,
    StreamGave,
    Streams,
    analyse_here,
    asked_of,
    interpret_here,
    interpretable,
    interpretation_asked,
    interpreted,
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
        apart = [number for number, one in enumerate(streams) if interpretable(one)]
        if not apart:
            return self._analysed(federation, streams)
        others = [number for number in range(len(streams)) if number not in set(apart)]
        found = dict(
            zip(apart, self._interpreted(federation, [streams[number] for number in apart]), strict=True)
        )
        if others:
            gave = self._analysed(federation, [streams[number] for number in others])
            found |= dict(zip(others, gave, strict=True))
        return [found[number] for number in range(len(streams))]

    def _interpreted(self, federation: Federation, streams: Streams) -> list[Analysed | EinthovenError]:
        """Samples are seen here; what they show is told, and what it means is found there or here."""
        found: list[Analysed | EinthovenError | None] = [None] * len(streams)
        sensed: dict[int, Sensed] = {}
        for number, seen in enumerate(_sensed(streams)):
            if isinstance(seen, EinthovenError):
                found[number] = seen
            else:
                sensed[number] = seen
        ways: dict[frozenset[Spot], list[int]] = {}
        for number in sensed:
            ways.setdefault(streams[number].features, []).append(number)
        groups = [
            its[first : first + _TOGETHER] for its in ways.values() for first in range(0, len(its), _TOGETHER)
        ]
        pairs = [[(streams[number], sensed[number]) for number in group] for group in groups]
        calls = [
            _Asking(
                INTERPRETATIONS,
                encode(interpretation_asked(its), "msgpack"),
                [one for one, _ in its],
                [_features_bytes(one) for _, one in its],
                its[0][0].features,
                "",
            )
            for its in pairs
        ]
        gave = self._waited_for(self._asked(federation, calls), len(groups))
        for group, its, answer in zip(groups, pairs, gave, strict=True):
            read = _read(answer, [one for one, _ in its], INTERPRETING_VERSION)
            for number, one in zip(group, read, strict=True):
                if isinstance(one, Analysed):
                    found[number] = interpreted(sensed[number], one.findings, one.state.value)
        left = [number for number in sensed if found[number] is None]
        here = iter(interpret_here([(streams[number], sensed[number]) for number in left]) if left else ())
        segments = sum(len(streams[number].segments) for number in left)
        self._counted(sum(len(streams[number].segments) for number in sensed) - segments, segments)
        return [next(here) if one is None else one for one in found]

    def _analysed(self, federation: Federation, streams: Streams) -> list[Analysed | EinthovenError]:
        groups = list(_grouped(streams))
        asked = [[streams[number] for number in group] for group in groups]
        calls = [
            _Asking(
                ANALYSES,
                encode(asked_of(one), "msgpack"),
                one,
                [_content_bytes(its) for its in one],
                one[0].admits,
                one[0].region or "",
            )
            for one in asked
        ]
        gave = self._waited_for(self._asked(federation, calls), len(groups))
        found: list[Analysed | EinthovenError | None] = [None] * len(streams)
        for group, its, answer in zip(groups, asked, gave, strict=True):
            for number, one in zip(group, _read(answer, its, VERSION), strict=True):
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

    async def _asked(self, federation: Federation, calls: "Sequence[_Asking]") -> list[bytes | None]:
        return await asyncio.gather(*(self._call(federation, one) for one in calls))

    async def _call(self, federation: Federation, asking: "_Asking") -> bytes | None:
        def sent(region: Region) -> None:
            for one, size in zip(asking.streams, asking.sizes, strict=True):
                one.sent(region, size)

        request = Request(
            function=asking.function,
            content=asking.content,
            encoding="msgpack",
            key=f"{self._own}-{next(self._numbers)}",
            timeout_s=self._patience_s,
            needs=self._needs,
            admits=asking.admits,
            prefers=asking.prefers,
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


class _Asking(NamedTuple):
    """One call of a region."""

    function: str
    content: bytes
    streams: Streams
    sizes: Sequence[int]
    """Bytes of each stream in it."""
    admits: frozenset[Spot] | None
    prefers: str


def _sensed(streams: Streams) -> list[Sensed | EinthovenError]:
    """The samples of each stream seen, in this process."""
    states: list[PatientState | StateUnreadable] = []
    for one in streams:
        try:
            states.append(one.state.value)
        except StateUnreadable as error:
            states.append(error)
    sound = [
        (one.segments, state)
        for one, state in zip(streams, states, strict=True)
        if isinstance(state, PatientState)
    ]
    found = iter(sense_all(sound))
    return [next(found) if isinstance(state, PatientState) else state for state in states]


def _features_bytes(one: Sensed) -> int:
    """What of a stream goes out, about: beats and their features."""
    return sum(
        column.nbytes
        for pieces in one.segments
        for piece in pieces
        if piece.beats is not None
        for column in (getattr(piece.beats.beats, name) for name in piece.beats.beats.__struct_fields__)
        if isinstance(column, np.ndarray)
    )


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


def _read(content: bytes | None, group: Streams, version: str) -> list[Analysed | EinthovenError | None]:
    """What a region found, stream by stream; None where it found nothing that can be used."""
    nothing: list[Analysed | EinthovenError | None] = [None] * len(group)
    if content is None:
        return nothing
    try:
        gave = decode_as(content, "msgpack", AnalysesGave)
    except EinthovenError:
        return nothing
    if gave.version != version or len(gave.streams) != len(group):
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
