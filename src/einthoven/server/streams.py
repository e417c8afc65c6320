"""Streams and segments as they lie in the database, to be looked at."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from einthoven.storage.database import Row, Statements, within

__all__ = [
    "CLOCK_S",
    "SegmentRow",
    "StreamRow",
    "list_streams",
    "read_gaps",
    "segments_of",
    "sequence_at",
]


class StreamRow(msgspec.Struct, frozen=True):
    """One stream."""

    id: int
    device: str
    patient: str
    lead: str
    fs: float
    gain: float
    baseline: int
    start_ns: int
    seen_ns: int
    next_sequence: int
    waiting: int
    skew_ns: int
    region: str
    refused: str
    missing: int = 0
    """Segments that were skipped and did not come."""


class SegmentRow(msgspec.Struct, frozen=True):
    """One segment."""

    stream: int
    device: str
    sequence: int
    status: str
    start_ns: int
    received_ns: int
    samples: int
    answer: bytes | None


def list_streams(
    statements: Statements,
    org: str,
    *,
    patient: str | None = None,
    device: str | None = None,
    after: str = "",
    limit: int,
    seen: tuple[str, Sequence[object]] = ("1 = 1", ()),
) -> list[StreamRow]:
    """Streams of an organisation by device; of those that a condition on their rows leaves."""
    values: list[object] = [org, after, *seen[1]]
    sql = f"{_STREAMS} AND {seen[0]}"
    for column, value in (("patient", patient), ("device", device)):
        if value is not None:
            sql += f" AND {column} = ?"
            values.append(value)
    rows = statements.rows(f"{sql} ORDER BY device LIMIT ?", (*values, limit))
    ids = [row[0] for row in rows]
    missing: dict[int, int] = {}
    if ids:
        missing = _pairs(
            statements.rows(
                within(
                    "SELECT stream, SUM(last - first + 1) FROM gaps WHERE stream IN (*) GROUP BY stream",
                    len(ids),
                ),
                ids,
            )
        )
    return [
        msgspec.structs.replace(one, missing=int(missing.get(one.id, 0)))
        for one in (StreamRow(*row) for row in rows)
    ]


def read_gaps(statements: Statements, stream: int, limit: int) -> list[tuple[int, int]]:
    """The first ranges of sequence numbers that are missing, ends included."""
    rows = statements.rows(
        "SELECT first, last FROM gaps WHERE stream = ? ORDER BY first LIMIT ?", (stream, limit)
    )
    return [(row[0], row[1]) for row in rows]


def segments_of(
    statements: Statements,
    org: str,
    patient: str,
    *,
    from_ns: int,
    until_ns: int,
    after: tuple[int, int],
    limit: int,
) -> list[SegmentRow]:
    """Segments that begin in a span, behind ``after`` (stream, sequence), each device's in order.

    There is no index by time, which every segment would pay for; sequence numbers rise with time, as long as
    a device's clock is not set back by more than `CLOCK_S`.
    """
    streams = statements.rows(
        "SELECT id, device FROM streams WHERE org = ? AND patient = ? AND id >= ? ORDER BY id",
        (org, patient, after[0]),
    )
    found: list[SegmentRow] = []
    for id_, device in streams:
        first = sequence_at(statements, id_, from_ns - _CLOCK_NS)
        last = sequence_at(statements, id_, until_ns + _CLOCK_NS)
        if id_ == after[0]:
            first = max(first, after[1] + 1)
        rows = statements.rows(_SEGMENTS, (id_, first, last, from_ns, until_ns, limit - len(found)))
        found += [SegmentRow(id_, device, *row) for row in rows]
        if len(found) == limit:
            break
    return found


def sequence_at(statements: Statements, stream: int, instant_ns: int) -> int:
    """The first sequence number whose segment begins then or later; one that is too high if none does."""
    low = high = 0
    rows = statements.rows("SELECT MIN(sequence), MAX(sequence) FROM segments WHERE stream = ?", (stream,))
    if rows[0][0] is not None:
        low, high = rows[0][0], rows[0][1] + 1
    while low < high:
        middle = (low + high) // 2
        sequence, start_ns = statements.rows(_FROM, (stream, middle))[0]
        if start_ns < instant_ns:
            low = sequence + 1
        else:
            high = middle
    return low


CLOCK_S: Final = 86_400
"""How far a device's clock may have been set back for its segments to be found by time."""
_CLOCK_NS: Final = CLOCK_S * 10**9
_FROM: Final = (
    "SELECT sequence, start_ns FROM segments WHERE stream = ? AND sequence >= ? ORDER BY sequence LIMIT 1"
)
_STREAMS: Final = (
    "SELECT id, device, patient, lead, fs, gain, baseline, start_ns, seen_ns, next_sequence, waiting, "
    "skew_ns, region, refused FROM streams WHERE org = ? AND device > ?"
)
_SEGMENTS: Final = (
    "SELECT sequence, status, start_ns, received_ns, samples, answer FROM segments WHERE stream = ? "
    "AND sequence >= ? AND sequence <= ? AND start_ns >= ? AND start_ns < ? ORDER BY sequence LIMIT ?"
)


def _pairs(rows: list[Row]) -> dict[int, Any]:
    return {row[0]: row[1] for row in rows}
