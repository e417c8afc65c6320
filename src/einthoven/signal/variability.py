"""Heart rate and its variability, over intervals that may be counted, with what was left out stated.

NN: both beats N, 0.3 to 2.0 s, not next to an ectopic beat, and no unreadable second between. Measures
after the Task Force (Circulation 93(5), 1996): SDNN, SDANN (SD of 5-min means), RMSSD, pNN50. Beats lie on
an 8-ms grid, so RMSSD has a floor of 5.7 ms. Sums are of whole grid steps, so however a recording is cut,
they are the same.
"""

import math
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.signal.findings import HeartRate, Variability
from einthoven.signal.kernel import kernel
from einthoven.signal.quality import CELL, GRADE
from einthoven.signal.resampling import FS

__all__ = [
    "LEAST_SHARE",
    "IntervalSums",
    "Intervals",
    "PendingIntervals",
    "add_intervals",
    "grow_intervals",
    "heart_rate",
    "rates_in_rows",
    "rr_intervals",
    "variability",
]

LEAST_SHARE: Final = 0.8
_LONGEST: Final = 3 * FS
_UNKNOWN: Final = 4
_FIVE_MINUTES: Final = 300 * FS
_RATE_INTERVALS: Final = 8
_STEP_MS: Final = 1000 // FS
_SUMS: Final = 16


class Intervals(NamedTuple):
    """RR intervals as columns, shape (beats - 1,)."""

    end: NDArray[np.int64]
    """Position of the later beat on the grid."""
    rr: NDArray[np.int64]
    """Length in steps of the grid, 8 ms."""
    sound: NDArray[np.bool_]
    """No unreadable second between, both beats known, under 3 s."""
    nn: NDArray[np.bool_]

    @property
    def rr_s(self) -> NDArray[np.float64]:
        """Length, s."""
        return self.rr / FS


def rr_intervals(
    grid: NDArray[np.int64], classes: NDArray[np.uint8], first_cell: int, cells: NDArray[np.uint16]
) -> Intervals:
    """Intervals between beats at grid positions, given the quality cells that they fall in."""
    count = max(0, grid.size - 1)
    end, rr = np.empty(count, np.int64), np.empty(count, np.int64)
    sound, nn = np.empty(count, np.bool_), np.empty(count, np.bool_)
    if count:
        _intervals(grid, classes, first_cell, cells, end, rr, sound, nn)
    return Intervals(end, rr, sound, nn)


class PendingIntervals(msgspec.Struct, frozen=True, eq=False):
    """The newest beats and seconds of a growing stretch: their intervals wait for what comes next."""

    counted: int
    """The intervals before this beat are decided."""
    grid: NDArray[np.int64]
    classes: NDArray[np.uint8]
    first_cell: int
    cells: NDArray[np.uint16]

    @staticmethod
    def at(first_cell: int) -> "PendingIntervals":
        """Nothing, before the first second of a stretch."""
        nothing = np.empty(0, np.int64)
        return PendingIntervals(0, nothing, nothing.astype(np.uint8), first_cell, nothing.astype(np.uint16))


def grow_intervals(
    pending: PendingIntervals,
    grid: NDArray[np.int64],
    classes: NDArray[np.uint8],
    cells: NDArray[np.uint16],
    *,
    is_last: bool,
) -> tuple[PendingIntervals, Intervals]:
    """Beats and seconds that follow; the intervals that they decide, each once, in order.

    One is decided when the beat behind it is known, and every second that it touches.
    """
    grid = np.concatenate((pending.grid, grid))
    classes = np.concatenate((pending.classes, classes))
    cells = np.concatenate((pending.cells, cells))
    found = rr_intervals(grid, classes, pending.first_cell, cells)
    if is_last:
        ready = max(0, grid.size - 1)
    else:
        inside = int(np.searchsorted(grid, (pending.first_cell + cells.size) * CELL))
        ready = max(0, min(inside - 1, grid.size - 2))
    ready = max(ready, pending.counted)
    new = slice(pending.counted, ready)
    keep = max(0, ready - 1)
    # What follows lies behind the beats that are known; where none is, it may lie anywhere.
    first_cell = int(grid[ready] // CELL) if grid.size else pending.first_cell
    first_cell = min(max(first_cell, pending.first_cell), pending.first_cell + cells.size)
    after = PendingIntervals(
        ready - keep,
        grid[keep:].copy(),
        classes[keep:].copy(),
        first_cell,
        cells[first_cell - pending.first_cell :].copy(),
    )
    return after, Intervals(found.end[new], found.rr[new], found.sound[new], found.nn[new])


class IntervalSums(msgspec.Struct, frozen=True, eq=False):
    """Of which the measures are made: whole numbers, to which consecutive intervals are added."""

    sums: NDArray[np.int64]
    """Shape (16,), in steps of the grid; see `_add`."""
    recent: NDArray[np.int64]
    """The last sound intervals without a break, shape (8,)."""
    piece_sums: NDArray[np.int64]
    """Of the NN intervals of each five minutes that have some and are over."""
    piece_counts: NDArray[np.int64]

    @staticmethod
    def none() -> "IntervalSums":
        """No intervals."""
        nothing = np.empty(0, np.int64)
        return IntervalSums(np.zeros(_SUMS, np.int64), np.zeros(_RATE_INTERVALS, np.int64), nothing, nothing)


def add_intervals(intervals: Intervals, before: IntervalSums | None = None) -> IntervalSums:
    """The sums over intervals that follow those before."""
    before = before or IntervalSums.none()
    if not intervals.rr.size:
        return before
    sums, recent = before.sums.copy(), before.recent.copy()
    most = int(intervals.end[-1] - intervals.end[0]) // _FIVE_MINUTES + 3
    piece_sums, piece_counts = np.empty(most, np.int64), np.empty(most, np.int64)
    pieces = _add(*intervals, sums, recent, piece_sums, piece_counts)
    return IntervalSums(
        sums,
        recent,
        np.concatenate((before.piece_sums, piece_sums[:pieces])),
        np.concatenate((before.piece_counts, piece_counts[:pieces])),
    )


def heart_rate(sums: IntervalSums) -> HeartRate:
    """Mean rate over the sound intervals; least and greatest mean of eight successive sound ones.

    Where there are fewer than eight in all, those of all of them, if they follow each other.
    """
    count, total, longest, shortest, row = sums.sums[1:6].tolist()
    if count == 0:
        return HeartRate(None, None, None)
    mean = 60.0 * FS * count / total
    if count < _RATE_INTERVALS:
        return HeartRate(mean, mean, mean) if row == count else HeartRate(mean, None, None)
    if longest == 0:
        return HeartRate(mean, None, None)
    window = 60.0 * FS * _RATE_INTERVALS
    return HeartRate(mean, window / longest, window / shortest)


def rates_in_rows(intervals: Intervals) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Of each eight sound intervals in a row the end, on the grid, and the mean rate.

    Their least and greatest are those of `heart_rate`. Where there are fewer than eight in all, those of all
    of them, if they follow each other.
    """
    at = np.flatnonzero(intervals.sound)
    in_row = _RATE_INTERVALS if at.size >= _RATE_INTERVALS else at.size
    if not in_row or intervals.rr.size < in_row:
        return np.empty(0, np.int64), np.empty(0, np.float64)
    lengths = np.concatenate(([0], np.cumsum(intervals.rr)))
    sound = np.concatenate(([0], np.cumsum(intervals.sound)))
    whole = sound[in_row:] - sound[:-in_row] == in_row
    steps = (lengths[in_row:] - lengths[:-in_row])[whole]
    return intervals.end[in_row - 1 :][whole], 60.0 * FS * in_row / steps


def variability(sums: IntervalSums) -> Variability:
    """Measures over NN intervals; only the share when it is under 80 %."""
    total = int(sums.sums[0])
    nn, nn_sum, nn_squares, steps, step_squares, large = sums.sums[6:12].tolist()
    share = nn / total if total else 0.0
    if share < LEAST_SHARE or nn < 2:
        return Variability(share, None, None, None, None, None)
    return Variability(
        nn_share=share,
        mean_nn_ms=_STEP_MS * nn_sum / nn,
        sdnn_ms=_STEP_MS * math.sqrt((nn * nn_squares - nn_sum * nn_sum) / (nn * (nn - 1))),
        rmssd_ms=_STEP_MS * math.sqrt(step_squares / steps) if steps else None,
        pnn50_percent=100 * large / steps if steps else None,
        sdann_ms=_sdann_ms(sums),
    )


def _sdann_ms(sums: IntervalSums) -> float | None:
    open_count, open_sum = sums.sums[13:15].tolist()
    pieces = sums.piece_sums.size + (open_count > 0)
    if pieces < 2:
        return None
    means = sums.piece_sums / sums.piece_counts
    if open_count:
        means = np.append(means, open_sum / open_count)
    return float(_STEP_MS * np.std(means, ddof=1))


@kernel
def _intervals(grid, classes, first_cell, cells, end, rr, sound, nn):  # type: ignore[no-untyped-def]
    last = grid.size - 1
    for k in range(last):
        rr[k] = grid[k + 1] - grid[k]
        end[k] = grid[k + 1]
        is_sound = classes[k] != _UNKNOWN and classes[k + 1] != _UNKNOWN and rr[k] < _LONGEST
        if is_sound:
            begin = min(max(grid[k] // CELL - first_cell, 0), cells.size)
            stop = min(max(grid[k + 1] // CELL - first_cell + 1, 0), cells.size)
            for cell in range(begin, stop):
                if (cells[cell] & GRADE) == GRADE:
                    is_sound = False
        sound[k] = is_sound
        calm = classes[k] == 0 and classes[k + 1] == 0
        calm = calm and (k == 0 or classes[k - 1] == 0) and (k + 2 > last or classes[k + 2] == 0)
        nn[k] = is_sound and calm and 10 * rr[k] >= 3 * FS and rr[k] <= 2 * FS


@kernel
def _add(end, rr, sound, nn, sums, recent, piece_sums, piece_counts):  # type: ignore[no-untyped-def]
    """Add intervals to sums, and give the pieces that ended; how many.

    Sums: 0 intervals; 1 sound ones, 2 their sum, 3 and 4 the greatest and least sum of eight, 5 the most
    that follow each other, 8 at most; 6 NN, 7 their sum, 8 of their squares; 9 steps from NN to NN, 10 sum of
    their squares, 11 those over 50 ms; 12 to 14 number, count and sum of the open five minutes; 15 sound ones
    since a break, negative while the last interval was not NN.
    """
    pieces = 0
    row = abs(sums[15]) - 1 if sums[15] else 0
    is_nn = sums[15] > 0
    for k in range(rr.size):
        sums[0] += 1
        if sound[k]:
            sums[1] += 1
            sums[2] += rr[k]
            for j in range(_RATE_INTERVALS - 1):
                recent[j] = recent[j + 1]
            recent[_RATE_INTERVALS - 1] = rr[k]
            row = min(row + 1, _RATE_INTERVALS)
            sums[5] = max(sums[5], row)
            if row == _RATE_INTERVALS:
                total = recent.sum()
                sums[3] = max(sums[3], total)
                sums[4] = total if sums[4] == 0 else min(sums[4], total)
        else:
            row = 0
        if nn[k]:
            sums[6] += 1
            sums[7] += rr[k]
            sums[8] += rr[k] * rr[k]
            if is_nn:
                # An NN interval is sound, and so was the one before.
                step = rr[k] - recent[_RATE_INTERVALS - 2]
                sums[9] += 1
                sums[10] += step * step
                sums[11] += abs(step) * 1000 > 50 * FS
            number = end[k] // _FIVE_MINUTES
            if sums[13] and number != sums[12]:
                piece_counts[pieces] = sums[13]
                piece_sums[pieces] = sums[14]
                pieces += 1
                sums[13] = sums[14] = 0
            sums[12] = number
            sums[13] += 1
            sums[14] += rr[k]
        is_nn = nn[k]
    sums[15] = (row + 1) if is_nn else -(row + 1)
    return pieces
