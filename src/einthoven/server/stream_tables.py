"""Streams as rows: what an engine reads of them, and writes of its plans, in the caller's transaction."""

from collections.abc import Sequence
from typing import Final

from einthoven.errors import StateUnreadable
from einthoven.functions import PatientState, decode_state
from einthoven.runtime.online import Stream
from einthoven.runtime.segment_analysis import CarriedState
from einthoven.server.stream_plans import Entry, Known, Plan
from einthoven.signal.recording import Lead
from einthoven.storage.database import Row, Statements, within
from einthoven.trust.replay import ReplayWindow

__all__ = ["claim_stream", "locked_versions", "read_stream", "read_versions", "store_plans"]

_STREAM: Final = (
    "SELECT id, patient, version, waiting, fs, lead, gain, baseline, start_ns, next_sequence, next_position, "
    "state, region, refused, highest, seen FROM streams LEFT JOIN payload_windows ON stream = id "
    "WHERE org = ? AND device = ?"
)
_LOCKED: Final = "SELECT id, version FROM streams WHERE id IN (*) ORDER BY id /*lock*/"


def read_stream(statements: Statements, org: str, device: str) -> Known | None:
    """What is kept of a stream; None where there is none."""
    rows = statements.rows(_STREAM, (org, device))
    return _known(rows[0]) if rows else None


def read_versions(statements: Statements, ids: Sequence[int]) -> dict[int, tuple[int, str | None]]:
    """Version and region of streams."""
    rows = statements.rows(
        within("SELECT id, version, region, refused FROM streams WHERE id IN (*)", len(ids)), ids
    )
    return {id_: (version, _region(region, refused)) for id_, version, region, refused in rows}


def locked_versions(statements: Statements, plans: Sequence[Plan]) -> dict[int, int]:
    """Versions of the plans' streams, which nobody else changes until the transaction ends."""
    old = [plan.known.id for plan in plans if plan.known is not None]
    return dict(statements.rows(within(_LOCKED, len(old)), old)) if old else {}


def claim_stream(statements: Statements, plan: Plan, versions: dict[int, int]) -> int | None:
    """The stream's number, if it is still as it was when the plan was made."""
    if plan.known is not None:
        return plan.known.id if versions.get(plan.known.id) == plan.known.version else None
    org, device = plan.key
    first = plan.entries[0].arrival.segment
    lead = plan.after.lead
    rows = statements.rows(
        "INSERT INTO streams (org, device, patient, lead, fs, gain, baseline, start_ns, next_sequence, "
        "next_position, version, waiting, seen_ns, skew_ns, state) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0, 0, 0, ?) "
        "ON CONFLICT (org, device) DO NOTHING RETURNING id",
        (org, device, first.patient, lead.name, plan.after.fs, lead.gain, lead.baseline, b""),
    )
    return int(rows[0][0]) if rows else None


def store_plans(statements: Statements, written: Sequence[tuple[Plan, int]]) -> None:
    """Segments, samples, gaps, answers and states of a batch."""
    fresh, journal, done, streams = [], [], [], []
    for plan, id_ in written:
        start = plan.known.stream.next_sequence if plan.known else None
        for entry in plan.entries:
            segment = entry.arrival.segment
            if entry.is_new:
                fresh.append(
                    (
                        id_,
                        segment.sequence,
                        entry.answer.status,
                        segment.start_ns,
                        entry.arrival.received_ns,
                        segment.recording.info.samples,
                        entry.digest,
                        int(entry.arrival.is_last),
                        entry.kept,
                    )
                )
                journal.append(
                    (
                        id_,
                        segment.sequence,
                        entry.arrival.received_ns,
                        entry.block,
                    )
                )
            else:
                done.append((entry.answer.status, entry.kept, id_, segment.sequence))
            start = _track_gaps(statements, id_, entry, start)
        seen_ns = max(entry.arrival.received_ns for entry in plan.entries)
        after = plan.after
        streams.append(
            (
                after.start_ns,
                after.next_sequence,
                after.next_position,
                plan.waiting,
                seen_ns,
                plan.skew_ns,
                _is_over(plan),
                plan.state.pack(),
                id_,
            )
        )
    statements.run_many(
        "INSERT INTO segments (stream, sequence, status, start_ns, received_ns, samples, digest, is_last, "
        "answer) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        fresh,
    )
    statements.run_many(
        "INSERT INTO journal (stream, sequence, received_ns, block) VALUES (?, ?, ?, ?)", journal
    )
    if done:
        statements.run_many(
            "UPDATE segments SET status = ?, answer = ? WHERE stream = ? AND sequence = ?", done
        )
    statements.run_many(
        "UPDATE streams SET version = version + 1, start_ns = ?, next_sequence = ?, next_position = ?, "
        "waiting = ?, seen_ns = ?, skew_ns = COALESCE(?, skew_ns), is_over = COALESCE(?, is_over), state = ? "
        "WHERE id = ?",
        streams,
    )


def _is_over(plan: Plan) -> int | None:
    """Whether the stream ended with the newest segment; None where only late ones came."""
    timely = [entry for entry in plan.entries if entry.answer.status != "late"]
    return int(timely[-1].arrival.is_last) if timely else None


def _track_gaps(statements: Statements, id_: int, entry: Entry, due: int | None) -> int | None:
    """Keep the ranges of sequence numbers that never came; the number that is due after this segment."""
    sequence = entry.arrival.segment.sequence
    if entry.answer.status == "late":
        for first, last in statements.rows(
            "SELECT first, last FROM gaps WHERE stream = ? AND first <= ? AND last >= ?",
            (id_, sequence, sequence),
        ):
            statements.run("DELETE FROM gaps WHERE stream = ? AND first = ?", (id_, first))
            for a, b in ((first, sequence - 1), (sequence + 1, last)):
                if a <= b:
                    statements.run("INSERT INTO gaps (stream, first, last) VALUES (?, ?, ?)", (id_, a, b))
        return due
    if entry.answer.status == "accepted":
        return due
    if due is not None and sequence > due:
        statements.run("INSERT INTO gaps (stream, first, last) VALUES (?, ?, ?)", (id_, due, sequence - 1))
    return sequence + 1


def _region(region: str, refused: str) -> str | None:
    """Where a stream is analysed: one that no region can answer in time, here."""
    return None if refused else region


def _known(row: Row) -> Known:
    id_, patient, version, waiting, fs, lead, gain, baseline, start_ns, sequence, position, state = row[:12]
    region, refused, highest, seen = row[12:]
    try:
        remembered = decode_state(state) if state else PatientState()
    except StateUnreadable:  # of an older program: the stream begins anew, its samples are all there
        remembered, state, position, start_ns = PatientState(), b"", 0, 0
    stream = Stream(fs, Lead(lead, gain, baseline), start_ns, sequence, position)
    return Known(
        id_,
        patient,
        version,
        waiting,
        stream,
        CarriedState(remembered, state or None),
        _region(region, refused),
        ReplayWindow() if highest is None else ReplayWindow(highest, bytes(seen)),
    )
