"""Streams and segments as they lie in the database, to be looked at."""

from typing import Any, Final

import msgspec

from einthoven.storage.database import Row, Statements, within

__all__ = ["SegmentRow", "StreamRow", "list_streams", "read_gaps", "segments_of"]


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
) -> list[StreamRow]:
    """Streams of an organisation by device."""
    sql, values = _STREAMS, [org, after]
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
    after: tuple[int, int, int],
    limit: int,
) -> list[SegmentRow]:
    """Segments that begin in a span, behind ``after`` (start, stream, sequence), in this order."""
    streams: dict[int, str] = _pairs(
        statements.rows("SELECT id, device FROM streams WHERE org = ? AND patient = ?", (org, patient))
    )
    found: list[SegmentRow] = []
    for id_, device in streams.items():
        same_start = after[2] if id_ == after[1] else -1 if id_ > after[1] else _BEHIND_ALL
        begin_ns, sequence = max((from_ns, -1), (after[0], same_start))
        rows = statements.rows(_SEGMENTS, (id_, begin_ns, begin_ns, sequence, until_ns, limit))
        found += [SegmentRow(id_, device, *row) for row in rows]
    return sorted(found, key=lambda one: (one.start_ns, one.stream, one.sequence))[:limit]


_BEHIND_ALL: Final = 2**62
_STREAMS: Final = (
    "SELECT id, device, patient, lead, fs, gain, baseline, start_ns, seen_ns, next_sequence, waiting, "
    "skew_ns FROM streams WHERE org = ? AND device > ?"
)
_SEGMENTS: Final = (
    "SELECT sequence, status, start_ns, received_ns, samples, answer FROM segments "
    "WHERE stream = ? AND start_ns >= ? AND (start_ns, sequence) > (?, ?) AND start_ns < ? "
    "ORDER BY start_ns, sequence LIMIT ?"
)


def _pairs(rows: list[Row]) -> dict[int, Any]:
    return {row[0]: row[1] for row in rows}
