"""Heart rate and its variability, over intervals that may be counted, with what was left out stated.

NN: both beats N, 0.3 to 2.0 s, not next to an ectopic beat, and no unreadable second between. Measures
after the Task Force (Circulation 93(5), 1996): SDNN, SDANN (SD of 5-min means), RMSSD, pNN50. Beats lie on
an 8-ms grid, so RMSSD has a floor of 5.7 ms.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from einthoven.signal.findings import HeartRate, Variability
from einthoven.signal.kernel import kernel
from einthoven.signal.quality import CELL, GRADE
from einthoven.signal.resampling import FS

__all__ = ["LEAST_SHARE", "Intervals", "heart_rate", "rr_intervals", "variability"]

LEAST_SHARE: Final = 0.8
_LONGEST_S: Final = 3.0
_UNKNOWN: Final = 4
_FIVE_MINUTES_S: Final = 300.0
_RATE_INTERVALS: Final = 8


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
    count = grid.size - 1
    rr_s, end_s = np.empty(count), np.empty(count)
    sound, nn = np.empty(count, np.bool_), np.empty(count, np.bool_)
    _intervals(grid, classes, first_cell, cells, end_s, rr_s, sound, nn)
    return Intervals(end_s, rr_s, sound, nn)


def heart_rate(intervals: Intervals) -> HeartRate:
    """Mean rate over the sound intervals; least and greatest mean of eight successive sound ones."""
    count, mean_s, longest_s, shortest_s = _rates(intervals.rr_s, intervals.sound)
    if count == 0:
        return HeartRate(None, None, None)
    if longest_s == 0:
        return HeartRate(60.0 / mean_s, None, None)
    return HeartRate(60.0 / mean_s, 60.0 / longest_s, 60.0 / shortest_s)


def variability(intervals: Intervals) -> Variability:
    """Measures over NN intervals; only the share when it is under 80 %."""
    total = intervals.rr_s.size
    count, mean_ms, sdnn_ms, steps, rmssd_ms, pnn50, pieces, sdann_ms = _spread(
        intervals.end_s, intervals.rr_s, intervals.nn
    )
    share = count / total if total else 0.0
    if share < LEAST_SHARE or count < 2:
        return Variability(share, None, None, None, None, None)
    return Variability(
        nn_share=share,
        mean_nn_ms=mean_ms,
        sdnn_ms=sdnn_ms,
        rmssd_ms=rmssd_ms if steps else None,
        pnn50_percent=pnn50 if steps else None,
        sdann_ms=sdann_ms if pieces > 1 else None,
    )


@kernel
def _intervals(grid, classes, first_cell, cells, end_s, rr_s, sound, nn):  # type: ignore[no-untyped-def]
    last = grid.size - 1
    for k in range(last):
        rr_s[k] = (grid[k + 1] - grid[k]) / FS
        end_s[k] = grid[k + 1] / FS
        is_sound = classes[k] != _UNKNOWN and classes[k + 1] != _UNKNOWN and rr_s[k] < _LONGEST_S
        if is_sound:
            begin = min(max(grid[k] // CELL - first_cell, 0), cells.size)
            end = min(max(grid[k + 1] // CELL - first_cell + 1, 0), cells.size)
            for cell in range(begin, end):
                if (cells[cell] & GRADE) == GRADE:
                    is_sound = False
        sound[k] = is_sound
        calm = classes[k] == 0 and classes[k + 1] == 0
        calm = calm and (k == 0 or classes[k - 1] == 0) and (k + 2 > last or classes[k + 2] == 0)
        nn[k] = is_sound and calm and 0.3 <= rr_s[k] <= 2.0


@kernel
def _rates(rr_s, sound):  # type: ignore[no-untyped-def]
    """How many are sound, their mean, and the greatest and least mean of a span of sound ones, s."""
    count = 0
    total = 0.0
    for k in range(rr_s.size):
        if sound[k]:
            count += 1
            total += rr_s[k]
    span = min(_RATE_INTERVALS, count)
    longest = shortest = 0.0
    row = 0
    for k in range(rr_s.size):
        row = row + 1 if sound[k] else 0
        if span > 0 and row >= span:
            part = 0.0
            for j in range(k + 1 - span, k + 1):
                part += rr_s[j]
            part /= span
            longest = max(longest, part)
            shortest = part if shortest == 0.0 else min(shortest, part)
    return count, total / max(count, 1), longest, shortest


@kernel
def _spread(end_s, rr_s, nn):  # type: ignore[no-untyped-def]
    """Count, mean and SD of NN; steps, RMSSD and pNN50; five-minute pieces and the SD of their means."""
    count = 0
    total = 0.0
    for k in range(rr_s.size):
        if nn[k]:
            count += 1
            total += 1000 * rr_s[k]
    mean = total / max(count, 1)
    squares = 0.0
    steps = large = 0
    step_squares = 0.0
    pieces = 0
    piece = piece_count = 0
    piece_total = sum_of_means = squares_of_means = 0.0
    for k in range(rr_s.size):
        if not nn[k]:
            continue
        squares += (1000 * rr_s[k] - mean) ** 2
        if k > 0 and nn[k - 1]:
            step = 1000 * (rr_s[k] - rr_s[k - 1])
            steps += 1
            step_squares += step * step
            large += abs(step) > 50
        number = int(end_s[k] // _FIVE_MINUTES_S)
        if piece_count and number != piece:
            away = piece_total / piece_count - mean
            pieces += 1
            sum_of_means += away
            squares_of_means += away * away
            piece_count = 0
            piece_total = 0.0
        piece = number
        piece_count += 1
        piece_total += 1000 * rr_s[k]
    if piece_count:
        away = piece_total / piece_count - mean
        pieces += 1
        sum_of_means += away
        squares_of_means += away * away
    sdnn = np.sqrt(squares / (count - 1)) if count > 1 else 0.0
    rmssd = np.sqrt(step_squares / steps) if steps else 0.0
    between = squares_of_means - sum_of_means * sum_of_means / max(pieces, 1)
    sdann = np.sqrt(max(between, 0.0) / (pieces - 1)) if pieces > 1 else 0.0
    return count, mean, sdnn, steps, rmssd, 100 * large / max(steps, 1), pieces, sdann
