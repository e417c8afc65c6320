"""The online path: segments in, findings out, a patient's state in between.

(device, sequence) is the idempotency key. A lost segment becomes a gap of missing samples, so that positions
stay true; after a long silence the stream begins anew. `place` and `advance_all` are the path itself, as
plain functions on frozen values; `OnlinePath` keeps them in memory, the service in a database.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.clock import Clock
from einthoven.errors import DefectError, EinthovenError, InputInvalid
from einthoven.functions import Ecg, PatientState, analyse_batch, features_of, in_sequence, sense_batch
from einthoven.signal.findings import Findings
from einthoven.signal.recording import Lead, Segment, missing
from einthoven.signal.rules import Criteria

__all__ = [
    "Advanced",
    "InOrder",
    "OnlinePath",
    "Placed",
    "Receipt",
    "Sensed",
    "Stream",
    "Totals",
    "advance",
    "advance_all",
    "check_set_up",
    "place",
    "sense_all",
]

LONGEST_GAP_S: Final = 300.0
"""A gap up to here is filled with missing samples; beyond it the stream begins anew."""
SKEW_S: Final = 2.0
"""Between segments that follow each other by number, so much less or more time is the clock's affair."""
_REMEMBERED: Final = 8
"""Receipts kept per device, to answer a repeated segment as the first time."""
_PIECE_S: Final = 60.0

Status = Literal["analysed", "duplicate", "late"]


class Stream(msgspec.Struct, frozen=True):
    """Where a stream stands between two segments; the analysis has its `PatientState` beside it."""

    fs: float
    lead: Lead
    start_ns: int
    """UTC of position 0, ns since the epoch."""
    next_sequence: int
    next_position: int


class Placed(msgspec.Struct, frozen=True, eq=False):
    """A segment at its place in its stream: what is to be analysed, in order."""

    after: Stream
    """The stream behind the segment."""
    pieces: tuple[Ecg, ...]
    """Missing samples for what was lost, then the segment."""
    is_begin: bool
    """Whether the stream begins here: the analysis starts from nothing."""
    has_gap: bool


class InOrder(Protocol):
    """A segment of which the analysis needs to know no more; `Placed` is one."""

    @property
    def pieces(self) -> tuple[Ecg, ...]:
        """See `Placed`."""
        ...

    @property
    def is_begin(self) -> bool:
        """See `Placed`."""
        ...


class Receipt(msgspec.Struct, frozen=True, eq=False):
    """The answer to one segment."""

    status: Status
    sequence: int
    findings: Findings | None
    """None for a late segment: the batch layer will see to it."""
    start_ns: int
    """UTC of position 0 of the stream, ns since the epoch; positions in the findings count from there."""
    elapsed_s: float


class Totals(msgspec.Struct, frozen=True):
    """How many segments came in and what became of them."""

    received: int = 0
    analysed: int = 0
    duplicates: int = 0
    late: int = 0
    gaps: int = 0


def place(
    stream: Stream | None, segment: Segment, *, is_last: bool = False, criteria: Criteria | None = None
) -> Placed:
    """Where a segment that was not seen before belongs.

    Raises
    ------
    InputInvalid : more than one lead, or a device that changed its rate or gain within a stream.
    """
    info = segment.recording.info
    if len(info.leads) != 1:
        raise InputInvalid(
            f"the segment has {len(info.leads)} leads; the online path takes one.",
            where="segment.leads",
            remedy="Send one stream per lead.",
        )
    lead = info.leads[0]
    gap = 0
    has_gap = False
    before = stream
    if before is not None:
        check_set_up(before, segment)
        gap = _gap(before, segment)
        follows = segment.sequence == before.next_sequence
        if follows and gap < SKEW_S * before.fs:
            gap = 0
        has_gap = not follows or gap > 0
        if not 0 <= gap <= LONGEST_GAP_S * before.fs:
            before = None
    is_begin = before is None
    if before is None:
        before = Stream(info.fs, lead, segment.start_ns, segment.sequence, 0)
        gap = 0
    first = before.next_position + gap
    pieces = [
        _piece(before, lost, start, is_last=False, criteria=criteria) for start, lost in _blank(before, gap)
    ]
    pieces.append(
        _piece(before, _widened(segment.recording.counts[0]), first, is_last=is_last, criteria=criteria)
    )
    after = msgspec.structs.replace(
        before, next_sequence=segment.sequence + 1, next_position=first + info.samples
    )
    return Placed(after, tuple(pieces), is_begin, has_gap)


def check_set_up(stream: Stream, segment: Segment) -> None:
    """A stream has one rate, gain and lead from its beginning to its end.

    Raises
    ------
    InputInvalid : the segment has another.
    """
    info = segment.recording.info
    if info.fs != stream.fs or info.leads[0] != stream.lead:
        raise InputInvalid(
            "the device changed its sampling rate, gain or lead within a stream.",
            where="segment",
            remedy="Use another device name for the new set-up.",
        )


def advance(placed: Placed, state: PatientState) -> tuple[Findings, PatientState]:
    """Analyse what was placed."""
    (result,) = advance_all([([placed], state)])
    if isinstance(result, EinthovenError):
        raise result
    return result.findings[0], result.state


Batch = Callable[
    [Sequence[Ecg], Sequence[PatientState | None]], list[tuple[Ecg, PatientState] | EinthovenError]
]
"""Functions over one piece of each of many streams."""


class Advanced(msgspec.Struct, frozen=True, eq=False):
    """One stream after its segments."""

    findings: tuple[Findings, ...]
    """Of each segment."""
    state: PatientState


def advance_all(
    streams: Sequence[tuple[Sequence[InOrder], PatientState]], by: Batch = analyse_batch
) -> list[Advanced | EinthovenError]:
    """Analyse many streams side by side, each with its segments in order.

    The first pieces of all streams are analysed together, then the second ones, and so on. What is wrong with
    one stream is that stream's error.

    Parameters
    ----------
    by : `interpret_batch` where the pieces were sensed already.
    """
    found: list[Advanced | EinthovenError] = []
    for one in _worked(streams, by):
        parts = [[_findings(result) for result in results] for results in one.results]
        found.append(one.error or Advanced(tuple(map(in_sequence, parts)), one.state))
    return found


class Sensed(NamedTuple):
    """One stream of which nobody needs the samples any more."""

    segments: tuple[tuple[Ecg, ...], ...]
    """The pieces of each segment, their features alone."""
    state: PatientState
    """With the sections of the functions that saw the samples."""


def sense_all(
    streams: Sequence[tuple[Sequence[InOrder], PatientState]],
) -> list[Sensed | EinthovenError]:
    """What `advance_all` does first, as far as it needs samples; see `einthoven.functions.features_of`."""
    return [
        one.error or Sensed(tuple(tuple(map(features_of, its)) for its in one.results), one.state)
        for one in _worked(streams, sense_batch)
    ]


def _worked(streams: Sequence[tuple[Sequence[InOrder], PatientState]], by: Batch) -> "list[_Work]":
    work = [_Work(placed, state) for placed, state in streams]
    while now := [one for one in work if one.error is None and one.pieces]:
        answers = by([one.pieces[-1][1] for one in now], [one.state for one in now])
        for one, answer in zip(now, answers, strict=True):
            one.take(answer)
    return work


def _findings(result: Ecg) -> Findings:
    if result.findings is None:
        raise DefectError("the pipeline left no findings.")
    return result.findings


class _Work:
    """What is still to be analysed of one stream, last first, and what was found."""

    def __init__(self, placed: Sequence[InOrder], state: PatientState) -> None:
        self.pieces = [(number, piece) for number, one in enumerate(placed) for piece in one.pieces][::-1]
        self.results: list[list[Ecg]] = [[] for _ in placed]
        self.error: EinthovenError | None = None
        self._state = state
        self._begins = {number for number, one in enumerate(placed) if one.is_begin}

    @property
    def state(self) -> PatientState:
        """As the next piece finds it."""
        if self.pieces and self.pieces[-1][0] in self._begins and not self.results[self.pieces[-1][0]]:
            return PatientState()
        return self._state

    def take(self, answer: tuple[Ecg, PatientState] | EinthovenError) -> None:
        """The newest piece was analysed."""
        number, _ = self.pieces.pop()
        if isinstance(answer, EinthovenError):
            self.error = answer
            return
        result, self._state = answer
        self.results[number].append(result)


def _blank(stream: Stream, gap: int) -> Iterator[tuple[int, NDArray[np.int32]]]:
    """Missing samples in pieces, each with its position."""
    longest = int(_PIECE_S * stream.fs)
    for start in range(0, gap, longest):
        yield (
            stream.next_position + start,
            np.full(min(longest, gap - start), missing(np.dtype(np.int32)), np.int32),
        )


def _widened(counts: NDArray[np.int16] | NDArray[np.int32]) -> NDArray[np.int32]:
    samples = counts.astype(np.int32)
    if counts.dtype == np.int16:
        samples[counts == missing(counts.dtype)] = missing(np.dtype(np.int32))
    return samples


def _piece(
    stream: Stream, samples: NDArray[np.int32], first: int, *, is_last: bool, criteria: Criteria | None
) -> Ecg:
    return Ecg(
        fs=stream.fs,
        gain=stream.lead.gain,
        baseline=stream.lead.baseline,
        lead=stream.lead.name,
        first=first,
        is_last=is_last,
        samples=samples,
        criteria=criteria,
    )


def _gap(stream: Stream, segment: Segment) -> int:
    """Samples between the end of the stream and the segment."""
    due_ns = stream.start_ns + round(stream.next_position * 1e9 / stream.fs)
    return round((segment.start_ns - due_ns) * stream.fs / 1e9)


class _Kept(msgspec.Struct):
    """What is kept in memory of one device."""

    stream: Stream
    state: PatientState
    receipts: OrderedDict[int, Receipt]


class OnlinePath:
    """Takes segments of many patients and keeps each one's state in memory.

    Parameters
    ----------
    criteria : limits of the rhythm rules by patient; the defaults for a patient who is not named.
    """

    def __init__(self, clock: Clock, criteria: Mapping[str, Criteria] | None = None) -> None:
        self._clock = clock
        self._criteria = dict(criteria or {})
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._counts = Totals()

    @property
    def counts(self) -> Totals:
        """Totals since the start."""
        return self._counts

    def receive(self, segment: Segment, *, is_last: bool = False) -> Receipt:
        """Analyse one segment, in order of its device's sequence.

        Raises
        ------
        InputInvalid : see `place`.
        """
        began_s = self._clock.now_s()
        key = (segment.patient, segment.device)
        kept = self._kept.get(key)
        self._count(received=1)
        if kept is not None:
            if segment.sequence in kept.receipts:
                self._count(duplicates=1)
                return msgspec.structs.replace(kept.receipts[segment.sequence], status="duplicate")
            if segment.sequence < kept.stream.next_sequence:
                self._count(late=1)
                return Receipt("late", segment.sequence, None, kept.stream.start_ns, 0.0)
        placed = place(
            kept.stream if kept else None,
            segment,
            is_last=is_last,
            criteria=self._criteria.get(segment.patient),
        )
        findings, state = advance(placed, kept.state if kept else PatientState())
        receipt = Receipt(
            "analysed", segment.sequence, findings, placed.after.start_ns, self._clock.now_s() - began_s
        )
        receipts = OrderedDict[int, Receipt]() if kept is None or placed.is_begin else kept.receipts
        receipts[segment.sequence] = receipt
        while len(receipts) > _REMEMBERED:
            receipts.popitem(last=False)
        self._kept[key] = _Kept(placed.after, state, receipts)
        self._count(analysed=1, gaps=int(placed.has_gap))
        return receipt

    def _count(self, **more: int) -> None:
        self._counts = msgspec.structs.replace(
            self._counts, **{name: getattr(self._counts, name) + value for name, value in more.items()}
        )
