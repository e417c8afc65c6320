"""QRS width and QT of a minute's mean beat.

QRS: from the first to the last sample around the fiducial whose slope exceeds 6 % of the steepest.
QT: from there to where the tangent to the steepest part of the T wave's end meets the isoelectric line
(Lepeschkin and Surawicz, Circulation 6(3), 1952). Measured on the mean of at least ten calm beats, not
beat by beat: one sample of the grid is 8 ms. QTc after Fridericia (QT / RR^(1/3)).
"""

from typing import Final

import numpy as np

from einthoven.signal.findings import MinuteIntervals
from einthoven.signal.kernel import kernel
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
    onset, offset, end = _waves(beat.shape.astype(np.float64))
    if offset < 0:
        return MinuteIntervals(minute, beat.calm, beat.rr_ms, None, None, None)
    qrs_ms = float((offset - onset + 1) * _MS)
    if end < 0 or beat.share < LEAST_SHARE or (end - onset) * _MS > LONGEST_QT_SHARE * beat.rr_ms:
        return MinuteIntervals(minute, beat.calm, beat.rr_ms, qrs_ms, None, None)
    qt_ms = float((end - onset) * _MS)
    sound = 500.0 <= beat.rr_ms <= 1500.0
    qtc_ms = float(qt_ms / np.cbrt(beat.rr_ms / 1000)) if sound else None
    return MinuteIntervals(minute, beat.calm, beat.rr_ms, qrs_ms, qt_ms, qtc_ms)


@kernel
def _waves(shape):  # type: ignore[no-untyped-def]
    """Where QRS begins and ends and where T ends; negative where it cannot be told."""
    slope = np.empty(shape.size, np.float64)
    _slope(shape, slope)
    top = 0.0
    for i in range(BEFORE - 12, BEFORE + 16):
        top = max(top, abs(slope[i]))
    steep = np.empty(28, np.int64)
    count = np.int64(0)
    for i in range(steep.size):
        if abs(slope[BEFORE - 12 + i]) > 0.06 * top:
            steep[count] = i
            count += 1
    if count < 2:
        return -1, -1, -1.0
    onset = BEFORE - 12 + _hanging_together(steep[:count], -1)
    offset = BEFORE - 12 + _hanging_together(steep[:count], 1)
    return onset, offset, _t_end(shape, onset, offset, slope)


@kernel
def _slope(values, out):  # type: ignore[no-untyped-def]
    """Central differences, one-sided at the ends."""
    last = values.size - 1
    for i in range(1, last):
        out[i] = 0.5 * (values[i + 1] - values[i - 1])
    out[0], out[last] = values[1] - values[0], values[last] - values[last - 1]


@kernel
def _hanging_together(steep, step):  # type: ignore[no-untyped-def]
    """The last of the steep samples, to one side of the fiducial, that hang together (gaps of up to 3)."""
    k = 0 if step > 0 else steep.size - 1
    while 0 <= k < steep.size and step * (steep[k] - 12) < 0:
        k += step
    if not 0 <= k < steep.size:
        return steep[k - step]
    while 0 <= k + step < steep.size and abs(steep[k + step] - steep[k]) <= 4:
        k += step
    return steep[k]


@kernel
def _t_end(shape, onset, offset, slope):  # type: ignore[no-untyped-def]
    """Where the tangent to the steepest part of the T wave's end meets the level before QRS."""
    base = 0.0
    first, stop = max(0, onset - 4), max(1, onset)
    for i in range(first, stop):
        base += shape[i]
    base /= stop - first
    start = offset + 8
    zone = shape[start : shape.size - 2] - base
    if zone.size < 12:
        return -1.0
    peak = 0
    for i in range(zone.size):
        if abs(zone[i]) > abs(zone[peak]):
            peak = i
    if abs(zone[peak]) < _LEAST_T_UNITS or peak > zone.size - 4:
        return -1.0
    upright = 1.0 if zone[peak] > 0 else -1.0
    _slope(zone, slope[: zone.size])
    steepest = peak
    for i in range(peak, zone.size):
        if slope[i] * upright < slope[steepest] * upright:
            steepest = i
    falling = slope[steepest] * upright
    if falling >= 0:
        return -1.0
    end = start + steepest + zone[steepest] * upright / -falling
    return end if end < shape.size + 6 else -1.0
