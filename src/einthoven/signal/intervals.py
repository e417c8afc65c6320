"""QRS width and QT of a minute's mean beat.

QRS: from the first to the last sample around the fiducial whose slope exceeds 6 % of the steepest.
QT: from there to where the tangent to the steepest part of the T wave's end meets the isoelectric line
(Lepeschkin and Surawicz, Circulation 6(3), 1952). Measured on the mean of at least ten calm beats, not
beat by beat: one sample of the grid is 8 ms. QTc after Fridericia (QT / RR^(1/3)).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from einthoven.signal.findings import MinuteIntervals
from einthoven.signal.morphology import BEFORE, MinuteBeat
from einthoven.signal.resampling import FS

__all__ = ["measure"]

LEAST_BEATS: Final = 10
LEAST_SHARE: Final = 0.7
"""QT is not measured when fewer of the minute's beats are calm: the mean would mix shapes."""
LONGEST_QT_SHARE: Final = 0.75
"""A T wave that ends later than this share of RR is not told from the next P wave."""
_MS: Final = 1000 / FS
_LEAST_T_UNITS: Final = 8.0
"""A T wave of less than 40 µV has no end that could be told."""


def measure(minute: int, beat: MinuteBeat) -> MinuteIntervals:
    """Intervals of one minute; None for what cannot be measured."""
    if beat.calm < LEAST_BEATS:
        return MinuteIntervals(minute, beat.calm, beat.rr_ms, None, None, None)
    shape = beat.shape.astype(np.float64)
    slope = np.abs(_slope(shape))
    near = slope[BEFORE - 12 : BEFORE + 16]
    steep = np.flatnonzero(near > 0.06 * near.max()) if near.max() > 0 else np.empty(0, np.int64)
    if steep.size < 2:
        return MinuteIntervals(minute, beat.calm, beat.rr_ms, None, None, None)
    onset = BEFORE - 12 + _contiguous_start(steep, 12)
    offset = BEFORE - 12 + _contiguous_end(steep, 12)
    qrs_ms = float((offset - onset + 1) * _MS)
    end = _t_end(shape, offset, onset)
    if end is None or beat.share < LEAST_SHARE or (end - onset) * _MS > LONGEST_QT_SHARE * beat.rr_ms:
        return MinuteIntervals(minute, beat.calm, beat.rr_ms, qrs_ms, None, None)
    qt_ms = float((end - onset) * _MS)
    sound = 500.0 <= beat.rr_ms <= 1500.0
    qtc_ms = float(qt_ms / np.cbrt(beat.rr_ms / 1000)) if sound else None
    return MinuteIntervals(minute, beat.calm, beat.rr_ms, qrs_ms, qt_ms, qtc_ms)


def _slope(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Central differences, one-sided at the ends."""
    out = np.empty_like(values)
    out[1:-1] = 0.5 * (values[2:] - values[:-2])
    out[0], out[-1] = values[1] - values[0], values[-1] - values[-2]
    return out


def _contiguous_start(steep: NDArray[np.int64], centre: int) -> int:
    """First of the steep samples that hang together (gaps of up to 3 samples) around the centre."""
    before = steep[steep <= centre]
    if before.size == 0:
        return int(steep[0])
    breaks = np.flatnonzero(np.diff(before) > 4)
    return int(before[breaks[-1] + 1] if breaks.size else before[0])


def _contiguous_end(steep: NDArray[np.int64], centre: int) -> int:
    after = steep[steep >= centre]
    if after.size == 0:
        return int(steep[-1])
    breaks = np.flatnonzero(np.diff(after) > 4)
    return int(after[breaks[0]] if breaks.size else after[-1])


def _t_end(shape: NDArray[np.float64], offset: int, onset: int) -> float | None:
    base = float(np.mean(shape[max(0, onset - 4) : max(1, onset)]))
    start = offset + 8
    zone = shape[start:-2] - base
    if zone.size < 12:
        return None
    peak = int(np.argmax(np.abs(zone)))
    height = zone[peak]
    if abs(height) < _LEAST_T_UNITS or peak > zone.size - 4:
        return None
    falling = _slope(zone) * np.sign(height)
    steepest = peak + int(np.argmin(falling[peak:]))
    slope = falling[steepest]
    if slope >= 0:
        return None
    end = start + steepest + float(zone[steepest] * np.sign(height) / -slope)
    return end if end < shape.size + 6 else None
