"""What a recording is, and the one way its samples are read: a span at a time.

Samples are ADC counts, exactly as the device gave them, with the ``gain`` (counts per mV) and
``baseline`` (counts at 0 mV) that turn them into mV. A sample that the device marked as missing is
the smallest value of its integer type.
"""

import functools
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import InputInvalid

__all__ = [
    "MAX_FS",
    "MIN_FS",
    "SEGMENT_MAX_S",
    "Counts",
    "Lead",
    "Recording",
    "RecordingInfo",
    "RecordingSource",
    "Segment",
    "missing",
    "recording_from_mv",
    "span_mv",
]

MIN_FS = 50.0
"""Lowest accepted sampling rate, Hz."""
MAX_FS = 1000.0
"""Highest accepted sampling rate, Hz."""
SEGMENT_MAX_S = 60.0
"""Longest stretch that counts as a segment, s."""
MAX_GAIN = 1e7
"""Counts per mV; beyond it a 32-bit count is under a nanovolt and the header is wrong."""
MIN_GAIN = 1e-3
_COUNTS_PER_MV = 10_000.0

Counts = NDArray[np.int16] | NDArray[np.int32]
"""ADC counts, shape (leads, samples)."""


@functools.cache
def missing(dtype: np.dtype[np.int16] | np.dtype[np.int32]) -> int:
    """The count that marks a missing sample in arrays of this type."""
    return int(np.iinfo(dtype).min)


class Lead(msgspec.Struct, frozen=True):
    """One lead of a recording."""

    name: str
    """As the file spells it: ``MLII``, ``V5``, ``ECG1``."""
    gain: float
    """ADC counts per mV."""
    baseline: int
    """ADC counts at 0 mV."""

    def __post_init__(self) -> None:
        if not MIN_GAIN <= self.gain <= MAX_GAIN:  # NaN fails too
            raise InputInvalid(
                f"the gain is {self.gain:g} counts per mV; it must lie in {MIN_GAIN:g} to {MAX_GAIN:g}.",
                where=f"lead {self.name}",
                remedy="Give the gain in ADC counts per millivolt (MIT-BIH records have 200).",
            )
        if not -(2**31) < self.baseline < 2**31:
            raise InputInvalid(
                "the baseline does not fit in 32 bits.",
                where=f"lead {self.name}",
                remedy="Give the baseline in ADC counts at 0 mV.",
            )


class RecordingInfo(msgspec.Struct, frozen=True):
    """What is known of a recording without reading its samples."""

    name: str
    fs: float
    """Sampling rate, Hz."""
    leads: tuple[Lead, ...]
    samples: int
    """Samples in each lead."""
    start_ns: int | None = None
    """UTC of the first sample, ns since the epoch; None when the file does not say."""

    def __post_init__(self) -> None:
        if not MIN_FS <= self.fs <= MAX_FS:
            raise InputInvalid(
                f"the sampling rate is {self.fs:g} Hz; it must lie in {MIN_FS:g} to {MAX_FS:g} Hz.",
                where=self.name,
                remedy="Check the header, or resample the recording first.",
            )
        if self.samples < 0:
            raise InputInvalid(f"the length is {self.samples} samples.", where=self.name)

    @property
    def duration_s(self) -> float:
        """Length, s."""
        return self.samples / self.fs


class RecordingSource(Protocol):
    """Something that gives the samples of one recording, a span at a time, in constant memory."""

    @property
    def info(self) -> RecordingInfo:
        """What is known without reading samples."""
        ...

    def read(self, start: int, stop: int, lead: int | None = None) -> Counts:
        """Counts of samples ``start`` to ``stop`` (clipped to the recording).

        Shape (leads, samples) when ``lead`` is None, else (1, samples).
        """
        ...


class Recording(msgspec.Struct, frozen=True, eq=False):
    """A recording in memory; it is also its own source."""

    info: RecordingInfo
    counts: Counts
    """Shape (leads, samples), read-only."""

    def __post_init__(self) -> None:
        shape = (len(self.info.leads), self.info.samples)
        if self.counts.shape != shape or self.counts.dtype not in (np.int16, np.int32):
            raise InputInvalid(
                f"the samples are {self.counts.dtype} of shape {self.counts.shape}; "
                f"the description says int16 or int32 of shape {shape}.",
                where=self.info.name,
            )
        self.counts.flags.writeable = False

    def read(self, start: int, stop: int, lead: int | None = None) -> Counts:
        """A view of samples ``start`` to ``stop``; see `RecordingSource`."""
        rows = slice(None) if lead is None else slice(lead, lead + 1)
        return self.counts[rows, max(0, start) : max(0, stop)]


def recording_from_mv(
    name: str, ecg_mv: NDArray[np.floating], fs: float, leads: tuple[str, ...] = ("ECG",)
) -> Recording:
    """A recording from floating-point samples, shape (samples,) or (leads, samples), mV.

    Kept at 0.1 µV. NaN is a missing sample; what lies beyond 100 mV, infinities too, is clipped there, where
    the quality grade calls it saturated.

    Raises
    ------
    InputInvalid : another shape, or a sampling rate out of range.
    """
    rows = np.atleast_2d(np.asarray(ecg_mv, np.float64))
    if rows.ndim != 2 or rows.shape[0] != len(leads):
        raise InputInvalid(
            f"the samples have shape {np.shape(ecg_mv)}; {len(leads)} leads were named.",
            where=name,
            remedy="Give an array of shape (leads, samples) and a name for each lead.",
        )
    lost = np.isnan(rows)
    counts = np.rint(np.clip(np.where(lost, 0.0, rows), -100.0, 100.0) * _COUNTS_PER_MV).astype(np.int32)
    counts[lost] = missing(np.dtype(np.int32))
    described = tuple(Lead(lead, _COUNTS_PER_MV, 0) for lead in leads)
    return Recording(RecordingInfo(name, fs, described, counts.shape[1]), counts)


def span_mv(source: RecordingSource, lead: int, start: int, stop: int) -> NDArray[np.float32]:
    """Samples ``start`` to ``stop`` of one lead, mV, as the device gave them; NaN where one is missing."""
    counts = source.read(start, stop, lead)[0]
    described = source.info.leads[lead]
    ecg_mv = (counts - np.float64(described.baseline)) / described.gain
    return np.where(counts == missing(counts.dtype), np.nan, ecg_mv).astype(np.float32)


class Segment(msgspec.Struct, frozen=True, eq=False):
    """At most 60 s of one lead from one device: the unit of the online path."""

    patient: str
    """Pseudonym; never a name."""
    device: str
    sequence: int
    """Counts up by one from each segment of a device to the next."""
    start_ns: int
    """UTC of the first sample, ns since the epoch."""
    recording: Recording

    def __post_init__(self) -> None:
        if self.sequence < 0:
            raise InputInvalid("the sequence number is negative.", where="segment.sequence")
        if self.recording.info.duration_s > SEGMENT_MAX_S:
            raise InputInvalid(
                f"the segment is {self.recording.info.duration_s:.1f} s long; "
                f"at most {SEGMENT_MAX_S:g} s are accepted.",
                where="segment",
                remedy="Send shorter segments, or upload the whole as a recording.",
            )
