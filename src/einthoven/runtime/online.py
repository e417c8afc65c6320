"""The online path: segments in, findings out, a patient's state in between.

(device, sequence) is the idempotency key. A lost segment becomes a gap of missing samples, so that positions
stay true; after a long silence the stream begins anew. `place` and `advance` are the path itself, as plain
functions on frozen values; `OnlinePath` keeps the values in memory, the service keeps them in a database.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.clock import Clock
from einthoven.errors import DefectError, InputInvalid
from einthoven.functions import Ecg, PatientState, analyse, in_sequence
from einthoven.signal.findings import Findings
from einthoven.signal.recording import Lead, Segment, missing
from einthoven.signal.rules import Criteria

__all__ = ["OnlinePath", "Placed", "Receipt", "Stream", "Totals", "advance", "place"]

LONGEST_GAP_S: Final = 300.0
"""A gap up to here is filled with missing samples; beyond it the stream begins anew."""
SKEW_S: Final = 2.0
"""Between segments that follow each other by number, so much less or more time is the clock's affair."""
_REMEMBERED: Final = 8
"""Receipts kept per device, to answer a repeated segment as the first time."""
_PIECE_S: Final = 60.0

Status = Literal["analysed", "duplicate", "late"]


class Stream(msgspec.Struct, frozen=True, eq=False):
    """What is known of one device's stream between two segments."""

    fs: float
    lead: Lead
    start_ns: int
    """UTC of position 0, ns since the epoch."""
    next_sequence: int
    next_position: int
    state: PatientState


class Placed(msgspec.Struct, frozen=True, eq=False):
    """A segment at its place in its stream: what is to be analysed, in order."""

    stream: Stream
    """As it stands before; a new one where nothing is continued."""
    pieces: tuple[Ecg, ...]
    """Missing samples for what was lost, then the segment."""
    has_gap: bool


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
    gap = has_gap = 0
    if stream is not None:
        if info.fs != stream.fs or lead != stream.lead:
            raise InputInvalid(
                "the device changed its sampling rate, gain or lead within a stream.",
                where="segment",
                remedy="Use another device name for the new set-up.",
            )
        gap = _gap(stream, segment)
        follows = segment.sequence == stream.next_sequence
        if follows and gap < SKEW_S * stream.fs:
            gap = 0
        has_gap = not follows or gap > 0
        if not 0 <= gap <= LONGEST_GAP_S * stream.fs:
            stream = None
    if stream is None:
        stream = Stream(info.fs, lead, segment.start_ns, segment.sequence, 0, PatientState())
        gap = 0
    position = stream.next_position
    pieces = []
    longest = int(_PIECE_S * stream.fs)
    blank = missing(np.dtype(np.int32))
    for start in range(0, gap, longest):
        lost = np.full(min(longest, gap - start), blank, np.int32)
        pieces.append(_piece(stream, lost, position + start, is_last=False, criteria=criteria))
    counts = segment.recording.counts[0]
    samples = counts.astype(np.int32)
    if counts.dtype == np.int16:
        samples[counts == missing(counts.dtype)] = blank
    pieces.append(_piece(stream, samples, position + gap, is_last=is_last, criteria=criteria))
    return Placed(stream, tuple(pieces), bool(has_gap))


def advance(placed: Placed, segment: Segment) -> tuple[Findings, Stream]:
    """Analyse what was placed: the findings, and the stream after it."""
    state = placed.stream.state
    parts = []
    for piece in placed.pieces:
        result, state = analyse(piece, state)
        if result.findings is None:
            raise DefectError("the pipeline left no findings.")
        parts.append(result.findings)
    last = placed.pieces[-1]
    after = msgspec.structs.replace(
        placed.stream,
        next_sequence=segment.sequence + 1,
        next_position=last.first + segment.recording.info.samples,
        state=state,
    )
    return in_sequence(parts), after


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
        findings, after = advance(placed, segment)
        receipt = Receipt(
            "analysed", segment.sequence, findings, after.start_ns, self._clock.now_s() - began_s
        )
        continues = kept is not None and placed.stream is kept.stream
        receipts = kept.receipts if kept is not None and continues else OrderedDict[int, Receipt]()
        receipts[segment.sequence] = receipt
        while len(receipts) > _REMEMBERED:
            receipts.popitem(last=False)
        self._kept[key] = _Kept(after, receipts)
        self._count(analysed=1, gaps=int(placed.has_gap))
        return receipt

    def _count(self, **more: int) -> None:
        self._counts = msgspec.structs.replace(
            self._counts, **{name: getattr(self._counts, name) + value for name, value in more.items()}
        )
