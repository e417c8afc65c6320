"""What happens to a batch of segments: analysed in order, and all that follows from it committed at once.

One transaction holds the segments, their samples, the answers, the patients' states and the alerts. So
whatever dies, an acknowledged segment is on disk, and what is not acknowledged left no trace or is recognised
when it comes again. Any number of engines may work on one database: each stream has a version, and a batch in
which another engine was faster with a stream does that stream again from what the other one left.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Protocol

import msgspec

from einthoven.errors import (
    CallerError,
    Conflict,
    DefectError,
    EinthovenError,
    InputInvalid,
    Overloaded,
    SequenceReused,
    StateUnreadable,
)
from einthoven.functions import PatientState, decode_state, encode_state
from einthoven.runtime.online import Placed, Stream, advance_all, check_set_up, place
from einthoven.server.wire import (
    Answer,
    Arrival,
    answer_of,
    decode_answer,
    digest_of,
    encode_answer,
    utc_text,
)
from einthoven.signal.findings import Findings
from einthoven.signal.recording import Lead, Recording, RecordingInfo, Segment
from einthoven.signal.rules import Criteria
from einthoven.storage.blocks import KeptSegment, block_of, segment_of
from einthoven.storage.database import Connection, Row, Statements, within

__all__ = [
    "Engine",
    "Follower",
    "Nobody",
    "Outcome",
    "Recorded",
    "pack_segment",
    "segment_kept",
    "unpack_segment",
]

Outcome = Answer | EinthovenError

_LAST: Final = 2**62
_KEPT: Final = 20_000
"""Streams kept in memory; the others are read again."""
_ATTEMPTS: Final = 12
"""How often a batch is done again because others were faster, before it is given back."""


class _Known(msgspec.Struct, eq=False):
    """One stream as this engine last saw it committed."""

    id: int
    patient: str
    version: int
    waiting: int
    """Segments that were accepted and not analysed."""
    stream: Stream
    state: PatientState


class Recorded(msgspec.Struct, frozen=True, eq=False):
    """What one segment found, for whoever takes part in the transaction."""

    org: str
    patient: str
    stream: int
    findings: Findings
    start_ns: int
    received_ns: int
    is_last: bool = False
    """The stream ends here."""
    is_anew: bool = False
    """It began anew with this segment: what was before goes on no more."""


class _Entry(msgspec.Struct, eq=False):
    """One segment to be written."""

    index: int | None
    """Its place among the arrivals; None for one that was waiting."""
    arrival: Arrival
    digest: int
    answer: Answer
    start_ns: int
    is_new: bool
    """Whether its samples are not in the journal yet."""
    placed: Placed | None = None
    """None where it is not to be analysed now."""
    findings: Findings | None = None
    block: bytes = b""
    """Its samples as the journal keeps them."""
    kept: bytes | None = None
    """Its answer as it is kept."""


class _Plan(msgspec.Struct, eq=False):
    """What is to be written of one stream, if nobody else was faster."""

    key: tuple[str, str]
    known: _Known | None
    after: Stream
    state: PatientState
    waiting: int
    entries: list[_Entry]
    indices: list[int]
    """Arrivals that are done again where somebody was."""
    packed: bytes = b""
    """The state."""
    skew_ns: int | None = None
    """How much later the newest segment arrived than its last sample was taken, by the device's clock."""


class Follower(Protocol):
    """What else belongs into the transaction: alerts."""

    def look(self, statements: Statements) -> None:
        """Notice what changed; called with each batch, before anything is asked."""
        ...

    def criteria(self, statements: Statements, org: str, patient: str) -> Criteria | None:
        """Limits of the rhythm rules for a patient."""
        ...

    def follow(self, statements: Statements, found: Sequence[Recorded]) -> object:
        """Take part in the transaction; `Conflict` has the batch done again."""
        ...

    def committed(self, result: Any) -> None:
        """What ``follow`` gave is on disk."""
        ...


class Nobody:
    """No alerts: for measurements and tests."""

    def look(self, statements: Statements) -> None:
        """See `Follower`."""

    def criteria(self, statements: Statements, org: str, patient: str) -> Criteria | None:  # noqa: ARG002
        """See `Follower`."""
        return None

    def follow(self, statements: Statements, found: Sequence[Recorded]) -> object:  # noqa: ARG002
        """See `Follower`."""
        return None

    def committed(self, result: Any) -> None:
        """See `Follower`."""


class Engine:
    """Analyses and commits; for one thread."""

    def __init__(
        self,
        connection: Connection,
        follower: Follower | None = None,
    ) -> None:
        self._connection = connection
        self._follower = follower or Nobody()
        self._limits: dict[tuple[str, str], Criteria | None] = {}
        self._streams: OrderedDict[tuple[str, str], _Known] = OrderedDict()

    def close(self) -> None:
        """End its conversation with the database."""
        self._connection.close()

    def process(self, arrivals: Sequence[Arrival]) -> list[Outcome]:
        """What becomes of each; when this returns, all that is not an error is on disk.

        Raises
        ------
        DatabaseUnavailable : nothing of the batch is known to be on disk; sent again, nothing is done twice.
        """
        outcomes: list[Outcome | None] = [None] * len(arrivals)
        left = list(range(len(arrivals)))
        for _ in range(_ATTEMPTS + len(arrivals)):
            if not left:
                break
            now, later = _first_of_each(left, arrivals)
            self._read(arrivals[i] for i in now)
            plans = []
            for group in _by_stream(now, arrivals):
                plan = self._plan(group, arrivals, outcomes)
                if plan is not None:
                    plans.append(plan)
            sound = self._analyse(plans, outcomes)
            left = sorted([*self._write(sound, outcomes), *later])
        for index in left:
            outcomes[index] = Overloaded(
                "others were faster with this stream every time.",
                where="stream",
                remedy="Send the segment again.",
            )
        if None in outcomes:
            raise DefectError("a segment has no outcome.")
        return [outcome for outcome in outcomes if outcome is not None]

    def work_off(self, most: int) -> int:
        """Analyse up to so many segments that were accepted and wait, oldest first; how many were."""
        with self._connection.reading() as statements:
            rows = statements.rows(
                "SELECT org, device FROM streams WHERE waiting > 0 ORDER BY seen_ns LIMIT ?", (most,)
            )
        plans: list[_Plan] = []
        left = most
        for org, device in rows:
            if left <= 0:
                break
            with self._connection.reading() as statements:
                self._read_streams(statements, [(org, device)])
                known = self._streams.get((org, device))
                if known is None or not known.waiting:
                    continue
                self._look(statements, [(org, known.patient)])
            plan = _Plan((org, device), known, known.stream, known.state, known.waiting, [], [])
            self._take_waiting(plan, None, None, most=left)
            left -= len(plan.entries)
            plans.append(plan)
        plans = self._analyse(plans, [])
        self._write(plans, [])
        return most - left

    # ---------------------------------------------------------------- read

    def _read(self, arrivals: Iterable[Arrival]) -> None:
        """Bring what is known of these streams and patients up to date."""
        arrivals = list(arrivals)
        keys = {(one.org, one.segment.device): None for one in arrivals}
        cached = {known.id: key for key in keys if (known := self._streams.get(key)) is not None}
        stale = [key for key in keys if key not in self._streams]
        with self._connection.reading() as statements:
            self._look(statements, {(one.org, one.segment.patient) for one in arrivals})
            if cached:
                versions = _versions(
                    statements.rows(
                        within("SELECT id, version FROM streams WHERE id IN (*)", len(cached)), list(cached)
                    )
                )
                stale += [
                    key for id_, key in cached.items() if versions.get(id_) != self._streams[key].version
                ]
            self._read_streams(statements, stale)

    def _look(self, statements: Statements, patients: Iterable[tuple[str, str]]) -> None:
        self._follower.look(statements)
        self._limits = {key: self._follower.criteria(statements, *key) for key in patients}

    def _read_streams(self, statements: Statements, keys: Sequence[tuple[str, str]]) -> None:
        for org, device in keys:
            rows = statements.rows(_STREAM, (org, device))
            if rows:
                self._streams[org, device] = _known(rows[0])
            else:
                self._streams.pop((org, device), None)

    # ---------------------------------------------------------------- plan

    def _plan(
        self, indices: Sequence[int], arrivals: Sequence[Arrival], outcomes: list[Outcome | None]
    ) -> _Plan | None:
        """Analyse the segments of one stream as far as nothing speaks against it."""
        first = arrivals[indices[0]]
        key = (first.org, first.segment.device)
        known = self._streams.get(key)
        stream = known.stream if known else None
        plan: _Plan | None = None
        for index in indices:
            arrival = arrivals[index]
            try:
                if known is not None and arrival.segment.patient != known.patient:
                    raise InputInvalid(
                        "the device sends for another patient.",
                        where="deviceId",
                        remedy="Give each patient's device its own name.",
                    )
                if plan is None and known is not None:
                    plan = _Plan(key, known, known.stream, known.state, known.waiting, [], [])
                before = plan.after if plan else stream
                if before is not None and arrival.segment.sequence < before.next_sequence:
                    outcomes[index] = self._seen(plan, index, arrival)
                    continue
                if arrival.mode == "accept" and plan is not None and plan.waiting:
                    outcome = self._kept(plan, arrival)
                    if outcome is not None:
                        outcomes[index] = outcome
                        continue
                elif plan is not None and plan.waiting:
                    if self._take_waiting(plan, index, arrival):
                        continue
                    before = plan.after
                if arrival.mode == "accept":
                    if before is not None:
                        check_set_up(before, arrival.segment)
                    placed, after = None, before or _begun(arrival.segment)
                else:
                    placed = self._place(before, arrival)
                    after = placed.after
            except EinthovenError as error:
                outcomes[index] = error
                continue
            if plan is None:
                plan = _Plan(key, None, after, PatientState(), 0, [], [])
            plan.after = after
            plan.waiting += placed is None
            plan.skew_ns = arrival.received_ns - _end_ns(arrival.segment)
            plan.indices.append(index)
            answer = Answer(arrival.segment.sequence, "accepted")
            digest = digest_of(arrival.segment)
            plan.entries.append(_Entry(index, arrival, digest, answer, after.start_ns, True, placed))
        return plan

    def _place(self, before: Stream | None, arrival: Arrival) -> Placed:
        limits = self._limits.get((arrival.org, arrival.segment.patient))
        return place(before, arrival.segment, is_last=arrival.is_last, criteria=limits)

    def _seen(self, plan: _Plan | None, index: int, arrival: Arrival) -> Outcome | None:
        """The answer to a segment whose turn is over: the first one again, or late."""
        if plan is None:
            raise DefectError("a segment is late in a stream that is not known.")
        known = self._kept(plan, arrival)
        if known is not None:
            return known
        sequence, digest = arrival.segment.sequence, digest_of(arrival.segment)
        answer = Answer(sequence, "late", start_time=utc_text(plan.after.start_ns))
        plan.indices.append(index)
        plan.entries.append(_Entry(index, arrival, digest, answer, plan.after.start_ns, is_new=True))
        return None

    def _kept(self, plan: _Plan, arrival: Arrival) -> Answer | None:
        """The answer to a segment that is on disk already."""
        if plan.known is None:
            return None
        with self._connection.reading() as statements:
            rows = statements.rows(
                "SELECT digest, answer FROM segments WHERE stream = ? AND sequence = ?",
                (plan.known.id, arrival.segment.sequence),
            )
        if not rows:
            return None
        if rows[0][0] != digest_of(arrival.segment):
            raise _reused()
        return _again(arrival.segment.sequence, rows[0][1])

    def _waiting_entry(self, plan: _Plan, waiting: Arrival, digest: int, index: int | None) -> _Entry:
        """A segment that was accepted, at its place; one that fits nowhere is left to the batch layer."""
        sequence = waiting.segment.sequence
        try:
            placed = self._place(plan.after, waiting) if sequence >= plan.after.next_sequence else None
        except CallerError:
            placed = None
        if placed is None:
            late = Answer(sequence, "late", start_time=utc_text(plan.after.start_ns))
            return _Entry(index, waiting, digest, late, plan.after.start_ns, is_new=False)
        plan.after = placed.after
        answer = Answer(sequence, "accepted")
        return _Entry(index, waiting, digest, answer, placed.after.start_ns, is_new=False, placed=placed)

    def _take_waiting(
        self, plan: _Plan, index: int | None, arrival: Arrival | None, *, most: int = _LAST
    ) -> bool:
        """Analyse what was accepted up to this arrival; whether it is one of them."""
        if plan.known is None:
            return False
        limit = _LAST if arrival is None else arrival.segment.sequence
        with self._connection.reading() as statements:
            rows = statements.rows(
                "SELECT j.sequence, j.block, s.is_last, s.received_ns, s.digest FROM segments s "
                "JOIN journal j ON j.stream = s.stream AND j.sequence = s.sequence "
                "WHERE s.stream = ? AND s.status = 'accepted' AND s.sequence <= ? "
                "ORDER BY s.sequence LIMIT ?",
                (plan.known.id, limit, most),
            )
        has_own = False
        taken = {entry.arrival.segment.sequence for entry in plan.entries}
        for sequence, block, is_last, received_ns, digest in rows:
            if sequence in taken:
                continue
            segment = unpack_segment(block)
            waiting = Arrival(plan.key[0], segment, bool(is_last), received_ns)
            is_own = arrival is not None and sequence == arrival.segment.sequence
            if arrival is not None and is_own and digest != digest_of(arrival.segment):
                raise _reused()
            plan.waiting -= 1
            plan.entries.append(self._waiting_entry(plan, waiting, digest, index if is_own else None))
            if is_own and index is not None:
                plan.indices.append(index)
                has_own = True
        return has_own

    # ---------------------------------------------------------------- analyse

    @staticmethod
    def _analyse(plans: Sequence[_Plan], outcomes: list[Outcome | None]) -> list[_Plan]:
        """Find what there is to find; the plans that can be written."""
        entries = [[entry for entry in plan.entries if entry.placed is not None] for plan in plans]
        streams = [
            ([entry.placed for entry in these if entry.placed is not None], plan.state)
            for plan, these in zip(plans, entries, strict=True)
        ]
        sound = []
        for plan, these, result in zip(plans, entries, advance_all(streams), strict=True):
            if isinstance(result, EinthovenError):
                for index in plan.indices:
                    outcomes[index] = result
                continue
            plan.state = result.state
            for entry, findings in zip(these, result.findings, strict=True):
                entry.findings = findings
                entry.answer = answer_of(entry.arrival.segment.sequence, findings, entry.start_ns)
            sound.append(plan)
        return sound

    # ---------------------------------------------------------------- write

    def _write(self, plans: Sequence[_Plan], outcomes: list[Outcome | None]) -> list[int]:
        """Commit; the arrivals that are to be done again."""
        plans = [plan for plan in plans if plan.entries]
        if not plans:
            return []
        again: list[int] = []
        written: list[tuple[_Plan, int]] = []
        for plan in plans:
            _pack(plan)
        try:
            with self._connection.writing() as statements:
                old = [plan.known.id for plan in plans if plan.known is not None]
                versions = _versions(statements.rows(within(_LOCKED, len(old)), old)) if old else {}
                for plan in plans:
                    id_ = self._claim(statements, plan, versions)
                    if id_ is None:
                        again.extend(plan.indices)
                    else:
                        written.append((plan, id_))
                _store(statements, written)
                result = self._follower.follow(statements, list(_found(written)))
        except Conflict:
            return [index for plan in plans for index in plan.indices]
        self._follower.committed(result)
        for plan, id_ in written:
            version = plan.known.version + 1 if plan.known else 1
            self._remember(plan, id_, version)
            for entry in plan.entries:
                if entry.index is not None:
                    outcomes[entry.index] = entry.answer
        return again

    def _claim(self, statements: Statements, plan: _Plan, versions: dict[int, int]) -> int | None:
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

    def _remember(self, plan: _Plan, id_: int, version: int) -> None:
        patient = plan.entries[0].arrival.segment.patient
        self._streams[plan.key] = _Known(id_, patient, version, plan.waiting, plan.after, plan.state)
        self._streams.move_to_end(plan.key)
        while len(self._streams) > _KEPT:
            self._streams.popitem(last=False)


_STREAM: Final = (
    "SELECT id, patient, version, waiting, fs, lead, gain, baseline, start_ns, next_sequence, next_position, "
    "state FROM streams WHERE org = ? AND device = ?"
)
_LOCKED: Final = "SELECT id, version FROM streams WHERE id IN (*) ORDER BY id /*lock*/"


def _versions(rows: list[Row]) -> dict[int, int]:
    return {row[0]: row[1] for row in rows}


def _known(row: Row) -> _Known:
    id_, patient, version, waiting, fs, lead, gain, baseline, start_ns, sequence, position, state = row
    try:
        remembered = decode_state(state) if state else PatientState()
    except StateUnreadable:  # of an older program: the stream begins anew, its samples are all there
        remembered, position, start_ns = PatientState(), 0, 0
    stream = Stream(fs, Lead(lead, gain, baseline), start_ns, sequence, position)
    return _Known(id_, patient, version, waiting, stream, remembered)


def _first_of_each(indices: Sequence[int], arrivals: Sequence[Arrival]) -> tuple[list[int], list[int]]:
    """Indices that can be done together, and the others.

    A segment that repeats another waits for it. Of a stream of which some are only to be accepted, these come
    first: what is to be answered finds them on disk then, like all others that wait.
    """
    accepting = {
        (arrivals[index].org, arrivals[index].segment.device)
        for index in indices
        if arrivals[index].mode == "accept"
    }
    seen: set[tuple[str, str, int]] = set()
    now: list[int] = []
    later: list[int] = []
    for index in indices:
        one = arrivals[index]
        stream = (one.org, one.segment.device)
        key = (*stream, one.segment.sequence)
        waits = key in seen or (one.mode == "answer" and stream in accepting)
        if waits:
            later.append(index)
        else:
            now.append(index)
            seen.add(key)
    return now, later


def _by_stream(indices: Sequence[int], arrivals: Sequence[Arrival]) -> Iterator[list[int]]:
    """Indices of one stream after the other, each in order of sequence."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index in indices:
        one = arrivals[index]
        groups.setdefault((one.org, one.segment.device), []).append(index)
    for group in groups.values():
        yield sorted(group, key=lambda index: arrivals[index].segment.sequence)


def _reused() -> SequenceReused:
    return SequenceReused(
        "this sequence number came before with other content.",
        where="sequence",
        remedy="Count on; after a restart use another device name.",
    )


def _begun(segment: Segment) -> Stream:
    info = segment.recording.info
    return Stream(info.fs, info.leads[0], segment.start_ns, segment.sequence, 0)


def _end_ns(segment: Segment) -> int:
    return segment.start_ns + round(1e9 * segment.recording.info.duration_s)


def _again(sequence: int, kept: bytes | None) -> Answer:
    if kept is None:
        return Answer(sequence, "duplicate")
    return msgspec.structs.replace(decode_answer(kept), status="duplicate")


def _found(written: Sequence[tuple[_Plan, int]]) -> Iterator[Recorded]:
    for plan, id_ in written:
        for number, entry in enumerate(plan.entries):
            if entry.findings is not None and entry.placed is not None:
                arrival = entry.arrival
                yield Recorded(
                    arrival.org,
                    arrival.segment.patient,
                    id_,
                    entry.findings,
                    entry.start_ns,
                    arrival.received_ns,
                    is_last=arrival.is_last,
                    is_anew=entry.placed.is_begin and (plan.known is not None or number > 0),
                )


def _pack(plan: _Plan) -> None:
    """Make the bytes before the transaction: while it lasts nobody else writes."""
    plan.packed = encode_state(plan.state)
    for entry in plan.entries:
        if entry.findings is not None:
            entry.kept = encode_answer(entry.answer, entry.findings, entry.start_ns)
        if entry.is_new:
            entry.block = pack_segment(entry.arrival.org, entry.arrival.segment)


def _store(statements: Statements, written: Sequence[tuple[_Plan, int]]) -> None:
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
                plan.packed,
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


def _is_over(plan: _Plan) -> int | None:
    """Whether the stream ended with the newest segment; None where only late ones came."""
    timely = [entry for entry in plan.entries if entry.answer.status != "late"]
    return int(timely[-1].arrival.is_last) if timely else None


def _track_gaps(statements: Statements, id_: int, entry: _Entry, due: int | None) -> int | None:
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


def pack_segment(org: str, segment: Segment) -> bytes:
    """A segment as the journal and later a container keep it: it says what it is, and whether it is whole."""
    info = segment.recording.info
    lead = info.leads[0]
    kept = KeptSegment(
        org=org,
        patient=segment.patient,
        device=segment.device,
        lead=lead.name,
        sequence=segment.sequence,
        start_ns=segment.start_ns,
        fs=info.fs,
        gain=lead.gain,
        baseline=lead.baseline,
        samples=segment.recording.counts[0],
    )
    return block_of(kept.head, kept)


def unpack_segment(block: bytes) -> Segment:
    """A segment from the journal."""
    return segment_kept(segment_of(block)[1])


def segment_kept(kept: KeptSegment) -> Segment:
    """A segment as it came, from what is kept of it."""
    lead = Lead(kept.lead, kept.gain, kept.baseline)
    info = RecordingInfo("segment", kept.fs, (lead,), kept.samples.size)
    recording = Recording(info, kept.samples[None, :])
    return Segment(kept.patient, kept.device, kept.sequence, kept.start_ns, recording)
