"""Heart rate against the reference's, measurement by measurement, as WFDB's ``mxm`` compares them.

A measurement is the mean rate of the last `INTERVALS` intervals at a beat, made in the same way of the
reference's beats and of the test's, whatever their classes, with no fibrillation and no shutdown between.
"""

from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.evaluation.beats import inside
from einthoven.evaluation.labels import Labels

__all__ = ["INTERVALS", "RateScore", "rate_score"]

INTERVALS: Final = 8
"""RR intervals in a measurement; the analysis gives its least and greatest rate over as many."""


class RateScore(msgspec.Struct, frozen=True):
    """Errors of one record, or of many."""

    count: int = 0
    """Test measurements."""
    squares_bpm2: float = 0.0
    """Sum of their squared errors, (beats/min)²."""
    references: int = 0
    """Reference measurements."""
    reference_sum_bpm: float = 0.0

    @property
    def error_bpm(self) -> float | None:
        """Root mean square error, beats/min; None without a measurement."""
        return float(np.sqrt(self.squares_bpm2 / self.count)) if self.count else None

    @property
    def error_percent(self) -> float | None:
        """The same, per cent of the mean reference measurement."""
        error, total = self.error_bpm, self.reference_sum_bpm
        return None if error is None or not total else 100 * error * self.references / total

    def __add__(self, other: "RateScore") -> "RateScore":
        mine, theirs = msgspec.structs.astuple(self), msgspec.structs.astuple(other)
        return RateScore(*(a + b for a, b in zip(mine, theirs, strict=True)))


class _Measurements(NamedTuple):
    samples: NDArray[np.int64]
    rates_bpm: NDArray[np.float64]


def rate_score(reference: Labels, test: Labels, *, fs: float, start_s: float = 300.0, end: int) -> RateScore:
    """Compare each test measurement with the reference measurement nearest in time, in the test period."""
    start = round(start_s * fs)
    theirs = _measure(reference, reference.fibrillation, fs, start, end)
    ours = _measure(test, reference.fibrillation, fs, start, end)
    if not theirs.samples.size or not ours.samples.size:
        return RateScore(0, 0.0, theirs.samples.size, float(theirs.rates_bpm.sum()))
    after = np.minimum(np.searchsorted(theirs.samples, ours.samples), theirs.samples.size - 1)
    before = np.maximum(after - 1, 0)
    is_before = ours.samples - theirs.samples[before] <= theirs.samples[after] - ours.samples
    nearest = np.where(is_before, before, after)
    errors = ours.rates_bpm - theirs.rates_bpm[nearest]
    return RateScore(
        errors.size, float(np.square(errors).sum()), theirs.samples.size, float(theirs.rates_bpm.sum())
    )


def _measure(labels: Labels, excluded: NDArray[np.int64], fs: float, start: int, end: int) -> _Measurements:
    beats = labels.beats[(labels.beats <= end) & ~inside(labels.beats, excluded)]
    if beats.size <= INTERVALS:
        return _Measurements(np.empty(0, np.int64), np.empty(0))
    breaks = np.sort(
        np.concatenate((excluded[:, 0], labels.fibrillation[:, 0], labels.shutdown[:, 0])).astype(np.int64)
    )
    piece = np.searchsorted(breaks, beats)
    first, last = beats[:-INTERVALS], beats[INTERVALS:]
    whole = (piece[:-INTERVALS] == piece[INTERVALS:]) & (last > first) & (last >= start)
    spans_s = (last[whole] - first[whole]) / fs
    return _Measurements(last[whole], 60 * INTERVALS / spans_s)
