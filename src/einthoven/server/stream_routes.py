"""Routes of what devices sent: streams, and the answers to a patient's segments."""

from datetime import datetime
from typing import Annotated, Final

import msgspec
from litestar import get
from litestar.params import Parameter
from litestar.types import ControllerRouterHandler

from einthoven.errors import NotFound
from einthoven.names import PSEUDONYM
from einthoven.server.requests import (
    LATEST_NS,
    Asker,
    Limit,
    Parts,
    PseudonymInPath,
    Seeing,
    instant,
    instant_ns,
    instant_parameter,
)
from einthoven.server.streams import SegmentRow, StreamRow, list_streams, read_gaps, segments_of
from einthoven.server.wire import Answer, decode_answer
from einthoven.storage.database import Statements

__all__ = ["HANDLERS"]

_GAPS_MAX: Final = 100


class StreamSeen(msgspec.Struct, frozen=True, rename="camel"):
    """What one device sends of one patient."""

    device: str
    patient: str
    lead: str
    fs: float
    gain: float
    baseline: int
    start_time: datetime
    """UTC of position 0."""
    last_seen: datetime
    """When its newest segment arrived."""
    next_sequence: int
    waiting: int
    """Segments that were accepted and are not analysed yet."""
    missing: int
    """Segments that were skipped and did not come."""
    region: str | None
    """The region that its segments are planned to be analysed in; null where none is planned."""
    refused: str | None
    """Why no region answers it in time, where that is so: then it is analysed in the service."""
    clock_skew_s: float
    """How much later its newest segment arrived than its last sample was taken, by the device's clock."""


class StreamPage(msgspec.Struct, frozen=True, rename="camel"):
    """Streams by device; ``next`` is ``after`` of the next page."""

    items: list[StreamSeen]
    next: str | None


class StreamDetail(msgspec.Struct, frozen=True, rename="camel"):
    """One stream, and the first hundred ranges of sequence numbers that are missing in it."""

    stream: StreamSeen
    gaps: list[tuple[int, int]]


class SegmentSeen(msgspec.Struct, frozen=True, rename="camel"):
    """One segment and what was found in it."""

    device: str
    sequence: int
    status: str
    start_time: datetime
    received_at: datetime
    samples: int
    answer: Answer | None


class SegmentPage(msgspec.Struct, frozen=True, rename="camel"):
    """Segments by device and sequence; ``next`` is ``after`` of the next page."""

    items: list[SegmentSeen]
    next: str | None


@get("/v1/streams")
async def streams(
    reception: Parts,
    person: Asker,
    sight: Seeing,
    patient: Annotated[str | None, Parameter(pattern=PSEUDONYM, description="Of one patient only.")] = None,
    after: Annotated[
        str,
        Parameter(pattern="^[A-Za-z0-9._-]{0,64}$", description="Where the page before ended."),
    ] = "",
    limit: Limit = 100,
) -> StreamPage:
    """Streams of the organisation; a patient sees the own ones."""
    found = await reception.connections.read(
        lambda s: list_streams(
            s, person.org, patient=patient, after=after, limit=limit + 1, seen=sight.of("segments")
        )
    )
    return StreamPage(
        [_seen(one) for one in found[:limit]], found[limit - 1].device if found[limit:] else None
    )


@get("/v1/streams/{device:str}")
async def stream(reception: Parts, person: Asker, device: PseudonymInPath) -> StreamDetail:
    """One stream with its gaps."""

    def question(statements: Statements) -> StreamDetail:
        found = list_streams(statements, person.org, device=device, limit=1)
        if not found:
            raise NotFound("there is no such stream.", where="device", remedy="List the streams.")
        return StreamDetail(_seen(found[0]), read_gaps(statements, found[0].id, _GAPS_MAX))

    return await reception.connections.read(question)


@get("/v1/patients/{patient:str}/segments")
async def patient_segments(
    reception: Parts,
    person: Asker,
    patient: PseudonymInPath,
    from_: Annotated[str | None, instant_parameter("from", "Segments that begin then or later.")] = None,
    until: Annotated[str | None, instant_parameter("until", "Segments that begin before.")] = None,
    after: Annotated[
        str,
        Parameter(pattern=r"^([0-9]{1,16}\.[0-9]{1,16})?$", description="Where the page before ended."),
    ] = "",
    limit: Limit = 100,
) -> SegmentPage:
    """Segments of one patient and what was found in them."""
    cursor = _cursor(after)
    from_ns, until_ns = instant_ns("from", from_, 0), instant_ns("until", until, LATEST_NS)
    found = await reception.connections.read(
        lambda s: segments_of(
            s,
            person.org,
            patient,
            from_ns=from_ns,
            until_ns=until_ns,
            after=cursor,
            limit=limit + 1,
        )
    )
    last = found[limit - 1] if found[limit:] else None
    return SegmentPage(
        [_segment(one) for one in found[:limit]],
        f"{last.stream}.{last.sequence}" if last else None,
    )


HANDLERS: Final[tuple[ControllerRouterHandler, ...]] = (streams, stream, patient_segments)


def _cursor(text: str) -> tuple[int, int]:
    stream, _, sequence = text.strip().partition(".")
    return (int(stream), int(sequence)) if text else (0, -1)


def _seen(one: StreamRow) -> StreamSeen:
    return StreamSeen(
        device=one.device,
        patient=one.patient,
        lead=one.lead,
        fs=one.fs,
        gain=one.gain,
        baseline=one.baseline,
        start_time=instant(one.start_ns),
        last_seen=instant(one.seen_ns),
        next_sequence=one.next_sequence,
        waiting=one.waiting,
        missing=one.missing,
        region=one.region or None,
        refused=one.refused or None,
        clock_skew_s=one.skew_ns / 1e9,
    )


def _segment(one: SegmentRow) -> SegmentSeen:
    return SegmentSeen(
        device=one.device,
        sequence=one.sequence,
        status=one.status,
        start_time=instant(one.start_ns),
        received_at=instant(one.received_ns),
        samples=one.samples,
        answer=None if one.answer is None else decode_answer(one.answer),
    )
