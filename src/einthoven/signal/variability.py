"""Heart rate and its variability, over intervals that may be counted, with what was left out stated.

NN: both beats N, 0.3 to 2.0 s, not next to an ectopic beat, and no unreadable second between. Measures
after the Task Force (Circulation 93(5), 1996): SDNN, SDANN (SD of 5-min means), RMSSD, pNN50. Beats lie on
an 8-ms grid, so RMSSD has a floor of 5.7 ms.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from einthoven.signal.findings import HeartRate, Variability
from einthoven.signal.quality import CELL, GRADE
from einthoven.signal.resampling import FS

__all__ = ["Intervals", "heart_rate", "rr_intervals", "variability"]

LEAST_SHARE: Final = 0.8
_LONGEST_S: Final = 3.0
_UNKNOWN: Final = 4
_FIVE_MINUTES_S: Final = 300.0


class Intervals(NamedTuple):
    """RR intervals as columns, shape (beats - 1,)."""

    end_s: NDArray[np.float64]
    """Time of the later beat, s from the start of the recording."""
    rr_s: NDArray[np.float64]
    sound: NDArray[np.bool_]
    """No unreadable second between, both beats known, under 3 s."""
    nn: NDArray[np.bool_]


def rr_intervals(
    grid: NDArray[np.int64], classes: NDArray[np.uint8], first_cell: int, cells: NDArray[np.uint16]
) -> Intervals:
    """Intervals between beats at grid positions, given the quality cells that they fall in."""
    if grid.size < 2:
        nothing = np.empty(0, np.float64)
        return Intervals(nothing, nothing, np.empty(0, np.bool_), np.empty(0, np.bool_))
    rr_s = np.diff(grid) / FS
    bad = np.concatenate(([0], np.cumsum((cells & GRADE) == GRADE)))
    a = np.clip(grid[:-1] // CELL - first_cell, 0, cells.size)
    b = np.clip(grid[1:] // CELL - first_cell + 1, 0, cells.size)
    known = classes != _UNKNOWN
    sound = (bad[b] == bad[a]) & known[1:] & known[:-1] & (rr_s < _LONGEST_S)
    normal = classes == 0
    both = normal[1:] & normal[:-1]
    calm = both.copy()
    calm[1:] &= both[:-1]
    calm[:-1] &= both[1:]
    nn = sound & calm & (rr_s >= 0.3) & (rr_s <= 2.0)
    return Intervals(grid[1:] / FS, rr_s, sound, nn)


def heart_rate(intervals: Intervals) -> HeartRate:
    """Mean rate over the sound intervals; least and greatest mean of eight successive sound ones."""
    sound = intervals.rr_s[intervals.sound]
    if sound.size == 0:
        return HeartRate(None, None, None)
    mean = 60.0 / float(sound.mean())
    span = min(8, sound.size)
    sums = np.cumsum(np.concatenate(([0.0], intervals.rr_s * intervals.sound)))
    counts = np.cumsum(np.concatenate(([0], intervals.sound)))
    whole = counts[span:] - counts[:-span] == span
    if not whole.any():
        return HeartRate(mean, None, None)
    means = (sums[span:] - sums[:-span])[whole] / span
    return HeartRate(mean, 60.0 / float(means.max()), 60.0 / float(means.min()))


def variability(intervals: Intervals) -> Variability:
    """Measures over NN intervals; only the share when it is under 80 %."""
    total = intervals.rr_s.size
    nn = intervals.nn
    share = float(nn.mean()) if total else 0.0
    if share < LEAST_SHARE or np.count_nonzero(nn) < 2:
        return Variability(share, None, None, None, None, None)
    nn_ms = 1000 * intervals.rr_s[nn]
    pairs = nn[1:] & nn[:-1]
    steps = 1000 * np.diff(intervals.rr_s)[pairs]
    rmssd = float(np.sqrt(np.mean(steps**2))) if steps.size else None
    pnn50 = float(100 * np.mean(np.abs(steps) > 50)) if steps.size else None
    pieces = (intervals.end_s[nn] // _FIVE_MINUTES_S).astype(np.int64)
    counts = np.bincount(pieces)
    means = np.bincount(pieces, nn_ms)[counts > 0] / counts[counts > 0]
    sdann = float(means.std(ddof=1)) if means.size > 1 else None
    return Variability(share, float(nn_ms.mean()), float(nn_ms.std(ddof=1)), rmssd, pnn50, sdann)
