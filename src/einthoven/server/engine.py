"""What happens to a batch of segments: analysed in order, and all that follows from it committed at once.

One transaction holds the segments, their samples, the answers, the patients' states and the alerts. So
whatever dies, an acknowledged segment is on disk, and what is not acknowledged left no trace or is recognised
when it comes again. Any number of engines may work on one database: each stream has a version, and a batch in
which another engine was faster with a stream does that stream again from what the other one left.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from einthoven.errors import (
    CallerError,
    Conflict,
    DefectError,
    EinthovenError,
    EnvelopeReplayed,
    InputInvalid,
    Overloaded,
    SequenceReused,
    StateUnreadable,
)
from einthoven.functions import PatientState
from einthoven.runtime.hosted import ANALYSES, INTERPRETATIONS
from einthoven.runtime.online import Placed, Stream, check_set_up, place
from einthoven.runtime.segment_analysis import Analysed, Analyst, CarriedState, Following, analyse_here
from einthoven.server.data_gate import Admitted, DataGate, Patient
from einthoven.server.kept_segments import unpack_segment
from einthoven.server.payload_tables import keep_windows
from einthoven.server.stream_plans import (
    Entry,
    Known,
    Plan,
    Recorded,
    pack_plan,
    patient_of,
    recorded_in,
    resumed,
)
from einthoven.server.stream_tables import (
    claim_stream,
    locked_versions,
    read_stream,
    read_versions,
    store_plans,
)
from einthoven.server.wire import (
    Answer,
    Arrival,
    answer_of,
    decode_answer,
    digest_of,
    utc_text,
)
from einthoven.signal.recording import Segment
from einthoven.signal.rules import Criteria
from einthoven.storage.database import Connection, Statements
from einthoven.trust.replay import ReplayWindow

__all__ = ["Engine", "Follower", "Nobody", "Outcome"]

Outcome = Answer | EinthovenError

_LAST: Final = 2**62
_KEPT: Final = 20_000
"""Streams kept in memory; the others are read again."""
_ATTEMPTS: Final = 12
"""How often a batch is done again because others were faster, before it is given back."""


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
    """Analyses and commits; for one thread.

    Parameters
    ----------
    analyst : who analyses the segments: this process, or regions.
    gate : says which regions may have what; None: all.
    """

    def __init__(
        self,
        connection: Connection,
        follower: Follower | None = None,
        analyst: Analyst = analyse_here,
        gate: DataGate | None = None,
    ) -> None:
        self._connection = connection
        self._gate = gate
        self._analyst = analyst
        self._follower = follower or Nobody()
        self._limits: dict[tuple[str, str], Criteria | None] = {}
        self._streams: OrderedDict[tuple[str, str], Known] = OrderedDict()

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
        plans: list[Plan] = []
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
            plan = resumed((org, device), known)
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
                now = read_versions(statements, list(cached))
                for id_, (_, region) in now.items():
                    self._streams[cached[id_]].region = region
                stale += [
                    key
                    for id_, key in cached.items()
                    if id_ not in now or now[id_][0] != self._streams[key].version
                ]
            self._read_streams(statements, stale)

    def _look(self, statements: Statements, patients: Iterable[tuple[str, str]]) -> None:
        self._follower.look(statements)
        self._limits = {key: self._follower.criteria(statements, *key) for key in patients}

    def _read_streams(self, statements: Statements, keys: Sequence[tuple[str, str]]) -> None:
        for org, device in keys:
            known = read_stream(statements, org, device)
            if known is not None:
                self._streams[org, device] = known
            else:
                self._streams.pop((org, device), None)

    # ---------------------------------------------------------------- plan

    def _plan(
        self, indices: Sequence[int], arrivals: Sequence[Arrival], outcomes: list[Outcome | None]
    ) -> Plan | None:
        """Analyse the segments of one stream as far as nothing speaks against it."""
        first = arrivals[indices[0]]
        key = (first.org, first.segment.device)
        known = self._streams.get(key)
        stream = known.stream if known else None
        plan: Plan | None = None
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
                    plan = resumed(key, known)
                window = self._window(plan, arrival)
                before = plan.after if plan else stream
                if before is not None and arrival.segment.sequence < before.next_sequence:
                    outcomes[index] = self._seen(plan, index, arrival, window)
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
                plan = Plan(key, None, after, CarriedState(PatientState()), 0, [], [])
            plan.after = after
            _take_envelope(plan, arrival, window)
            plan.waiting += placed is None
            plan.skew_ns = arrival.received_ns - _end_ns(arrival.segment)
            plan.indices.append(index)
            answer = Answer(arrival.segment.sequence, "accepted")
            digest = digest_of(arrival.segment)
            plan.entries.append(Entry(index, arrival, digest, answer, after.start_ns, True, placed))
        return plan

    def _place(self, before: Stream | None, arrival: Arrival) -> Placed:
        limits = self._limits.get((arrival.org, arrival.segment.patient))
        return place(before, arrival.segment, is_last=arrival.is_last, criteria=limits)

    def _window(self, plan: Plan | None, arrival: Arrival) -> ReplayWindow:
        """The device's window when the arrival's envelope is taken.

        Of an envelope that was taken before, what is on disk is answered again: it is a repetition.

        Raises
        ------
        EnvelopeReplayed : it was taken before, and this was not in it. SequenceReused : nor was this content.
        """
        window = plan.window if plan else ReplayWindow()
        envelope = arrival.envelope
        if envelope is None or (plan and plan.envelopes.get(envelope.sequence) == envelope.tag):
            return window
        try:
            return window.after(envelope.sequence)
        except EnvelopeReplayed:
            if plan is None or self._kept(plan, arrival) is None:
                raise
            return window

    def _seen(self, plan: Plan | None, index: int, arrival: Arrival, window: ReplayWindow) -> Outcome | None:
        """The answer to a segment whose turn is over: the first one again, or late."""
        if plan is None:
            raise DefectError("a segment is late in a stream that is not known.")
        known = self._kept(plan, arrival)
        if known is not None:
            return known
        sequence, digest = arrival.segment.sequence, digest_of(arrival.segment)
        answer = Answer(sequence, "late", start_time=utc_text(plan.after.start_ns))
        plan.indices.append(index)
        plan.entries.append(Entry(index, arrival, digest, answer, plan.after.start_ns, is_new=True))
        _take_envelope(plan, arrival, window)
        return None

    def _kept(self, plan: Plan, arrival: Arrival) -> Answer | None:
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

    def _waiting_entry(self, plan: Plan, waiting: Arrival, digest: int, index: int | None) -> Entry:
        """A segment that was accepted, at its place; one that fits nowhere is left to the batch layer."""
        sequence = waiting.segment.sequence
        try:
            placed = self._place(plan.after, waiting) if sequence >= plan.after.next_sequence else None
        except CallerError:
            placed = None
        if placed is None:
            late = Answer(sequence, "late", start_time=utc_text(plan.after.start_ns))
            return Entry(index, waiting, digest, late, plan.after.start_ns, is_new=False)
        plan.after = placed.after
        answer = Answer(sequence, "accepted")
        return Entry(index, waiting, digest, answer, placed.after.start_ns, is_new=False, placed=placed)

    def _take_waiting(
        self, plan: Plan, index: int | None, arrival: Arrival | None, *, most: int = _LAST
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

    def _analyse(self, plans: Sequence[Plan], outcomes: list[Outcome | None]) -> list[Plan]:
        """Find what there is to find; the plans that can be written."""
        entries = [[entry for entry in plan.entries if entry.placed is not None] for plan in plans]
        asked = [(plan, these) for plan, these in zip(plans, entries, strict=True) if these]
        admitted = self._admitted([plan for plan, _ in asked])
        found = iter(
            self._analyst(
                [self._following(plan, these, admitted) for plan, these in asked],
            )
        )
        sound = []
        for plan, these in zip(plans, entries, strict=True):
            result = next(found) if these else Analysed((), plan.state)
            if isinstance(result, EinthovenError):
                if isinstance(result, StateUnreadable):  # it is read again, and begins anew
                    self._streams.pop(plan.key, None)
                for index in plan.indices:
                    outcomes[index] = result
                continue
            plan.state = result.state
            for entry, findings in zip(these, result.findings, strict=True):
                entry.findings = findings
                entry.answer = answer_of(entry.arrival.segment.sequence, findings, entry.start_ns)
            sound.append(plan)
        return sound

    def _admitted(self, plans: Sequence[Plan]) -> Mapping[Patient, Admitted] | None:
        """Where the patients' samples may go; of those that may go nowhere, the features. None: anywhere."""
        if self._gate is None or not plans:
            return None
        found = self._gate.admitted(self._connection, {patient_of(one) for one in plans}, ANALYSES)
        bound = {patient for patient, own in found.items() if not own}
        if bound:
            found = found | self._gate.admitted(self._connection, bound, INTERPRETATIONS)
        return found

    def _following(
        self, plan: Plan, entries: Sequence[Entry], admitted: Mapping[Patient, Admitted] | None
    ) -> Following:
        segments = [one.placed for one in entries if one.placed is not None]
        region = plan.known.region if plan.known else ""
        if self._gate is None or admitted is None:
            return Following(segments, plan.state, region)
        patient = patient_of(plan)
        own = admitted[patient]
        samples = frozenset(spot for spot, data in own.items() if data != "features")
        features = frozenset(own) - samples
        return Following(segments, plan.state, region, samples, features, self._gate.sends(patient, own))

    # ---------------------------------------------------------------- write

    def _write(self, plans: Sequence[Plan], outcomes: list[Outcome | None]) -> list[int]:
        """Commit; the arrivals that are to be done again."""
        plans = [plan for plan in plans if plan.entries]
        if not plans:
            return []
        again: list[int] = []
        written: list[tuple[Plan, int]] = []
        for plan in plans:
            pack_plan(plan)
        try:
            with self._connection.writing() as statements:
                versions = locked_versions(statements, plans)
                for plan in plans:
                    id_ = claim_stream(statements, plan, versions)
                    if id_ is None:
                        again.extend(plan.indices)
                    else:
                        written.append((plan, id_))
                store_plans(statements, written)
                keep_windows(statements, [(id_, plan.window) for plan, id_ in written if plan.envelopes])
                went = {} if self._gate is None else self._gate.keep(statements)
                result = self._follower.follow(statements, list(recorded_in(written)))
        except Conflict:
            return [index for plan in plans for index in plan.indices]
        self._follower.committed(result)
        if self._gate is not None:
            self._gate.kept(went)
        for plan, id_ in written:
            version = plan.known.version + 1 if plan.known else 1
            self._remember(plan, id_, version)
            for entry in plan.entries:
                if entry.index is not None:
                    outcomes[entry.index] = entry.answer
        return again

    def _remember(self, plan: Plan, id_: int, version: int) -> None:
        patient = plan.entries[0].arrival.segment.patient
        region = plan.known.region if plan.known else ""
        self._streams[plan.key] = Known(
            id_, patient, version, plan.waiting, plan.after, plan.state, region, plan.window
        )
        self._streams.move_to_end(plan.key)
        while len(self._streams) > _KEPT:
            self._streams.popitem(last=False)


def _take_envelope(plan: Plan, arrival: Arrival, window: ReplayWindow) -> None:
    """Its number is taken with what is written of it; what is refused may come again."""
    if arrival.envelope is not None:
        plan.window = window
        plan.envelopes[arrival.envelope.sequence] = arrival.envelope.tag


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
