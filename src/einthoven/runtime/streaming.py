"""Recordings played as streams: cut into segments, sent when they are due, analysed, watched for alerts.

The loop owns no thread and no real time: it is given a clock and a way to sleep, so that a test plays an
hour in a second and the demonstration plays it in an hour.
"""

from collections.abc import Callable, Iterator
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.alerts import AlertBook, Change, sightings_of
from einthoven.clock import Clock
from einthoven.errors import InputInvalid
from einthoven.runtime.online import OnlinePath, Receipt, Totals
from einthoven.signal.recording import SEGMENT_MAX_S, Counts, Recording, RecordingSource, Segment

__all__ = ["Analysed", "Player", "StreamSummary", "Wait"]

_LATENCIES_KEPT: Final = 1_000_000


class Analysed(msgspec.Struct, frozen=True, eq=False):
    """One segment went through."""

    patient: str
    at_s: float
    """Since the player started, in stream time."""
    receipt: Receipt
    changes: tuple[Change, ...]


class Wait(msgspec.Struct, frozen=True):
    """Nothing is due; somebody may draw now."""

    at_s: float


class StreamSummary(msgspec.Struct, frozen=True):
    """How it went."""

    sent: int
    counts: Totals
    lost: int
    alerts: int
    technical: int
    latency_p50_ms: float | None
    latency_p99_ms: float | None


class _Stream:
    """One patient's recording and how far it has been sent."""

    def __init__(
        self, patient: str, source: RecordingSource, lead: int, start_s: float, segment_s: float
    ) -> None:
        self.patient = patient
        self.source = source
        self.lead = lead
        self.start_s = start_s
        self.size = max(1, round(segment_s * source.info.fs))
        self.sequence = 0

    @property
    def begin(self) -> int:
        return self.sequence * self.size

    @property
    def is_over(self) -> bool:
        return self.begin >= self.source.info.samples

    @property
    def due_s(self) -> float:
        """When the last sample of the next segment has been taken."""
        end = min(self.begin + self.size, self.source.info.samples)
        return self.start_s + end / self.source.info.fs

    @property
    def is_last(self) -> bool:
        return self.begin + self.size >= self.source.info.samples

    def next(self, epoch_ns: int) -> Segment:
        """Cut the next segment."""
        info = self.source.info
        counts: Counts = self.source.read(self.begin, self.begin + self.size, self.lead).copy()
        start_s = self.start_s + self.begin / info.fs
        described = msgspec.structs.replace(
            info, leads=(info.leads[self.lead],), samples=counts.shape[1], start_ns=None
        )
        segment = Segment(
            patient=self.patient,
            device="player",
            sequence=self.sequence,
            start_ns=epoch_ns + round(start_s * 1e9),
            recording=Recording(described, counts),
        )
        self.sequence += 1
        return segment


class Player:
    """Plays recordings into the online path.

    Parameters
    ----------
    sources : recording of each patient, by pseudonym; its first lead is sent.
    segment_s : length of a segment; at most 60 s.
    speed : stream seconds per second of the clock.
    """

    def __init__(
        self,
        sources: dict[str, RecordingSource],
        clock: Clock,
        sleep: Callable[[float], None],
        *,
        segment_s: float = 2.0,
        speed: float = 1.0,
        lead: int = 0,
    ) -> None:
        if not 0.1 <= segment_s <= SEGMENT_MAX_S:
            raise InputInvalid(
                f"the segment length is {segment_s:g} s.", where="segment", remedy="Give 0.1 to 60 s."
            )
        if not 0.01 <= speed <= 10_000:
            raise InputInvalid(f"the speed is {speed:g}.", where="speed", remedy="Give 0.01 to 10000.")
        self._clock = clock
        self._sleep = sleep
        self._speed = speed
        # Patients do not begin together: their segments are spread over one segment's length.
        self._streams = [
            _Stream(patient, source, lead, segment_s * number / max(len(sources), 1), segment_s)
            for number, (patient, source) in enumerate(sources.items())
        ]
        self._online = OnlinePath(clock)
        self._book = AlertBook()
        self._latencies_ms: list[float] = []
        self._sent = 0
        self._raised = 0
        self._technical = 0
        self._began_s = 0.0

    @property
    def book(self) -> AlertBook:
        """The alerts so far; their times count from the beginning of each stream."""
        return self._book

    def at_s(self) -> float:
        """Stream time now."""
        return (self._clock.now_s() - self._began_s) * self._speed

    def window(self, patient: str, seconds: float) -> NDArray[np.float64]:
        """The newest ``seconds`` of a patient's signal, mV; what has not been taken yet is left out."""
        stream = next(stream for stream in self._streams if stream.patient == patient)
        info = stream.source.info
        end = round((self.at_s() - stream.start_s) * info.fs)
        counts = stream.source.read(end - round(seconds * info.fs), end, stream.lead)[0].astype(np.float64)
        counts[counts <= -32768] = np.nan
        described = info.leads[stream.lead]
        return np.asarray((counts - described.baseline) / described.gain, np.float64)

    def play(self, seconds: float | None, tick_s: float = 0.1) -> Iterator[Analysed | Wait]:
        """Send what is due, in order; ends after ``seconds`` of the clock, or when every stream is over."""
        self._began_s = self._clock.now_s()
        epoch_ns = self._clock.utc_ns()
        while True:
            if seconds is not None and self._clock.now_s() - self._began_s >= seconds:
                return
            waiting = [stream for stream in self._streams if not stream.is_over]
            if not waiting:
                return
            stream = min(waiting, key=lambda one: one.due_s)
            ahead_s = (stream.due_s - self.at_s()) / self._speed
            if ahead_s > 0:
                yield Wait(self.at_s())
                self._sleep(max(0.0, min((stream.due_s - self.at_s()) / self._speed, tick_s)))
                continue
            yield self._send(stream, epoch_ns)

    def _send(self, stream: _Stream, epoch_ns: int) -> Analysed:
        due_s, is_last = stream.due_s, stream.is_last
        self._sent += 1
        receipt = self._online.receive(stream.next(epoch_ns), is_last=is_last)
        changes: tuple[Change, ...] = ()
        if receipt.findings is not None:
            found = receipt.findings
            sightings = sightings_of(
                found.conditions, fs=found.fs, start_ns=0, until=found.until, is_over=is_last
            )
            changes = self._book.receive(stream.patient, sightings, self.at_s())
        for change in changes:
            if change.what == "raised":
                self._technical += change.alert.is_technical
                self._raised += not change.alert.is_technical
        if len(self._latencies_ms) < _LATENCIES_KEPT:
            self._latencies_ms.append(1000 * (self.at_s() - due_s) / self._speed)
        return Analysed(stream.patient, self.at_s(), receipt, changes)

    def summary(self) -> StreamSummary:
        """Totals so far."""
        counts = self._online.counts
        latencies = np.array(self._latencies_ms)
        return StreamSummary(
            sent=self._sent,
            counts=counts,
            lost=self._sent - counts.analysed - counts.duplicates - counts.late,
            alerts=self._raised,
            technical=self._technical,
            latency_p50_ms=float(np.percentile(latencies, 50)) if latencies.size else None,
            latency_p99_ms=float(np.percentile(latencies, 99)) if latencies.size else None,
        )
