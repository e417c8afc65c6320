"""The online path in one process: segments in, findings out, a patient's state in between.

(device, sequence) is the idempotency key. A lost segment becomes a gap of missing samples, so that positions
stay true; after a long silence the stream begins anew.
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

__all__ = ["OnlinePath", "Receipt", "Totals"]

LONGEST_GAP_S: Final = 300.0
"""A gap up to here is filled with missing samples; beyond it the stream begins anew."""
_REMEMBERED: Final = 8
"""Receipts kept per device, to answer a repeated segment as the first time."""
_PIECE_S: Final = 60.0

_OneLead = NDArray[np.int16] | NDArray[np.int32]
Status = Literal["analysed", "duplicate", "late"]


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


class _Stream(msgspec.Struct):
    """What is kept of one device."""

    fs: float
    lead: Lead
    start_ns: int
    next_sequence: int
    next_position: int
    state: PatientState
    receipts: OrderedDict[int, Receipt]


class OnlinePath:
    """Takes segments of many patients and keeps each one's state.

    Parameters
    ----------
    criteria : limits of the rhythm rules by patient; the defaults for a patient who is not named.
    """

    def __init__(self, clock: Clock, criteria: Mapping[str, Criteria] | None = None) -> None:
        self._clock = clock
        self._criteria = dict(criteria or {})
        self._streams: dict[tuple[str, str], _Stream] = {}
        self._counts = Totals()

    @property
    def counts(self) -> Totals:
        """Totals since the start."""
        return self._counts

    def receive(self, segment: Segment, *, is_last: bool = False) -> Receipt:
        """Analyse one segment, in order of its device's sequence.

        Raises
        ------
        InputInvalid : more than one lead, or a device that changed its rate or gain within a stream.
        """
        began_s = self._clock.now_s()
        info = segment.recording.info
        if len(info.leads) != 1:
            raise InputInvalid(
                f"the segment has {len(info.leads)} leads; the online path takes one.",
                where="segment.leads",
                remedy="Send one stream per lead.",
            )
        key = (segment.patient, segment.device)
        stream = self._streams.get(key)
        self._count(received=1)
        if stream is not None:
            if segment.sequence in stream.receipts:
                self._count(duplicates=1)
                return msgspec.structs.replace(stream.receipts[segment.sequence], status="duplicate")
            if segment.sequence < stream.next_sequence:
                self._count(late=1)
                return Receipt("late", segment.sequence, None, stream.start_ns, 0.0)
            if not self._continues(stream, segment):
                stream = None
        if stream is None:
            stream = _Stream(
                info.fs, info.leads[0], segment.start_ns, segment.sequence, 0, PatientState(), OrderedDict()
            )
        parts = self._fill_gap(stream, segment)
        parts.append(
            self._analyse(stream, segment.recording.counts[0], patient=segment.patient, is_last=is_last)
        )
        receipt = Receipt(
            "analysed", segment.sequence, in_sequence(parts), stream.start_ns, self._clock.now_s() - began_s
        )
        stream.next_sequence = segment.sequence + 1
        stream.receipts[segment.sequence] = receipt
        while len(stream.receipts) > _REMEMBERED:
            stream.receipts.popitem(last=False)
        self._streams[key] = stream
        self._count(analysed=1)
        return receipt

    def _continues(self, stream: _Stream, segment: Segment) -> bool:
        """Whether the segment belongs to the stream; not after a silence that is too long to fill."""
        info = segment.recording.info
        if info.fs != stream.fs or info.leads[0] != stream.lead:
            raise InputInvalid(
                "the device changed its sampling rate, gain or lead within a stream.",
                where="segment",
                remedy="Use another device name for the new set-up.",
            )
        if segment.sequence == stream.next_sequence:
            return True
        self._count(gaps=1)
        return 0 <= _gap(stream, segment) <= LONGEST_GAP_S * stream.fs

    def _fill_gap(self, stream: _Stream, segment: Segment) -> list[Findings]:
        """Missing samples for the segments that were lost; what is found meanwhile belongs to the answer."""
        if segment.sequence == stream.next_sequence:
            return []
        gap = _gap(stream, segment)
        piece = int(_PIECE_S * stream.fs)
        return [
            self._analyse(
                stream,
                np.full(min(piece, gap - start), missing(np.dtype(np.int32)), np.int32),
                patient=segment.patient,
                is_last=False,
            )
            for start in range(0, gap, piece)
        ]

    def _analyse(self, stream: _Stream, counts: _OneLead, *, patient: str, is_last: bool) -> Findings:
        samples = counts.astype(np.int32)
        if counts.dtype == np.int16:
            samples[counts == missing(counts.dtype)] = missing(np.dtype(np.int32))
        ecg = Ecg(
            fs=stream.fs,
            gain=stream.lead.gain,
            baseline=stream.lead.baseline,
            lead=stream.lead.name,
            first=stream.next_position,
            is_last=is_last,
            samples=samples,
            criteria=self._criteria.get(patient),
        )
        result, stream.state = analyse(ecg, stream.state)
        stream.next_position += samples.size
        if result.findings is None:
            raise DefectError("the pipeline left no findings.")
        return result.findings

    def _count(self, **more: int) -> None:
        self._counts = msgspec.structs.replace(
            self._counts, **{name: getattr(self._counts, name) + value for name, value in more.items()}
        )


def _gap(stream: _Stream, segment: Segment) -> int:
    """Samples between the end of the stream and the segment."""
    due_ns = stream.start_ns + round(stream.next_position * 1e9 / stream.fs)
    return round((segment.start_ns - due_ns) * stream.fs / 1e9)
