"""Atrial activity: what the P zone of a beat looks like, and thirty seconds of beats as a few numbers.

Irregular intervals alone do not make atrial fibrillation: ectopy is irregular too (Zhou et al., PLoS ONE
10(8) e0136544, 2015, lose half their specificity to it). So the numbers pair irregularity (robust
differences; the share of pairs of intervals that resemble each other, which is what sample entropy and
COSEn count, Lake and Moorman, Am. J. Physiol. 300, 2011; turning points; autocorrelation) with the mean
shape of the P zone over the beats and how much of its energy is in that mean: a P wave is the same in
every beat, f waves are not. Deviations: entropies over at most 48 intervals with a fixed tolerance of
6 % of the median; the P zone is four cosine coefficients of twelve samples.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from einthoven.signal.kernel import kernel, part
from einthoven.signal.selection import EMPTY, SLOTS, select, select_by_rank

__all__ = [
    "ATRIAL_FEATURES",
    "P_SHAPE",
    "P_SHAPE_STEP",
    "SUMS",
    "WINDOW_BEATS",
    "Room",
    "atrial_features",
    "p_shapes",
    "room",
]

P_SHAPE: Final = 4
"""Numbers that describe the P zone of one beat."""
P_SHAPE_STEP: Final = 400.0
"""Steps to one patient's QRS amplitude."""
WINDOW_BEATS: Final = 48
LEAST_STEPS: Final = 6
TOLERANCE: Final = 0.06
"""Two intervals that differ by less than this share of the median are alike."""
_STEPS: Final = 4096
"""Of one median: pairs are compared in integers, whose loops become SIMD."""
_ALIKE: Final = round(TOLERANCE * _STEPS)
_WIDE: Final = round(2 * TOLERANCE * _STEPS)
_NEAR: Final = round(0.08 * _STEPS)
_PLACES: Final = 12
"""Binary places of an interval that may be used; a pause, at most 20 s, is none."""
_FARTHEST: Final = round(0.3 * _STEPS)

_POINTS = np.arange(-31, -8, 2)
_COSINES = np.array(
    [np.cos(np.pi * k * (np.arange(_POINTS.size) + 0.5) / _POINTS.size) / 6 for k in range(1, P_SHAPE + 1)]
)

SUMS: Final = P_SHAPE + 3
"""Sums over beats that the window needs: the coefficients, their squares, P likeness, beats."""

ATRIAL_FEATURES: Final = (
    "median step",
    "steps over 6 %",
    "steps over 12 %",
    "mean step",
    "unlike pairs",
    "pairs within 12 %",
    "sample entropy",
    "step over two",
    "step over three",
    "turning points",
    "autocorrelation",
    "unlike in a row",
    "nearest pair",
    "rate",
    "early",
    "late",
    "share of V",
    "share of S",
    "share of F",
    "agreement",
    "steps",
    "unusable",
    "P likeness",
    "P shape 1",
    "P shape 2",
    "P shape 3",
    "P shape 4",
    "P coherence",
    "P level",
    "steps over 6 %, V included",
    "unlike pairs, V included",
)
"""Names of the columns that `atrial_features` gives, in order."""

_V, _Q = 2, 4


class Room(NamedTuple):
    """Where `atrial_features` works: a judgement every five seconds is too often to ask for memory."""

    positions: NDArray[np.int64]
    classes: NDArray[np.uint8]
    agreement: NDArray[np.uint8]
    sound: NDArray[np.bool_]
    usable: NDArray[np.bool_]
    sums: NDArray[np.int64]
    numbers: NDArray[np.float64]
    whole: NDArray[np.int32]


def p_shapes(
    cleaned: NDArray[np.int16], first: int, beats: NDArray[np.int64], amplitudes: NDArray[np.float64]
) -> NDArray[np.int8]:
    """The P zone (-248 to -72 ms) of each beat as `P_SHAPE` cosine coefficients, row after row.

    Parameters
    ----------
    cleaned : shape (n,), units; absolute positions from ``first`` on; what is missing counts as 0.
    beats : fiducials, shape (beats,).
    amplitudes : the patient's QRS amplitude at each beat, units; shape (beats,).

    Returns
    -------
    shape (beats * `P_SHAPE`,), 1 / `P_SHAPE_STEP` of that amplitude.
    """
    out = np.empty(beats.size * P_SHAPE, np.int8)
    _p_shapes(cleaned, first, beats, amplitudes, _POINTS, _COSINES, out)
    return out


@kernel
def _p_shapes(cleaned, first, beats, amplitudes, points, cosines, out):  # type: ignore[no-untyped-def]
    for k in range(beats.size):
        scale = 400.0 / max(amplitudes[k], 20.0)
        for c in range(cosines.shape[0]):
            total = 0.0
            for i in range(points.size):
                at = beats[k] + points[i] - first
                if 0 <= at < cleaned.size:
                    total += cosines[c, i] * cleaned[at]
            out[k * cosines.shape[0] + c] = np.int8(min(max(np.rint(total * scale), -127.0), 127.0))


@kernel
def room():  # type: ignore[no-untyped-def]
    """Room for any number of judgements, one after the other."""
    return Room(
        np.empty(WINDOW_BEATS, np.int64),
        np.empty(WINDOW_BEATS, np.uint8),
        np.empty(WINDOW_BEATS, np.uint8),
        np.empty(WINDOW_BEATS, np.bool_),
        np.empty(WINDOW_BEATS, np.bool_),
        np.empty(SUMS + 1, np.int64),
        np.empty((4, SLOTS), np.float64),
        np.empty((3, SLOTS), np.int32),
    )


@part
def _is_narrow(kind):  # type: ignore[no-untyped-def]
    return kind != _V and kind != _Q


@part
def _in_steps(values, m, out):  # type: ignore[no-untyped-def]
    """In integers, and beyond the first ``m`` so far away that they resemble none."""
    for i in range(WINDOW_BEATS):
        out[i] = np.int32(min(np.rint(values[i] * _STEPS), 1e6)) if i < m else np.int32(1 << 30)


@part
def _alike(x, m):  # type: ignore[no-untyped-def]
    """Of pairs among the first ``m``: how many are alike; ``x`` as `_in_steps`."""
    alike = np.int64(0)
    for i in range(m):
        near = np.int32(0)
        for j in range(WINDOW_BEATS):
            near = np.int32(near + np.int32(abs(x[j] - x[i]) < _ALIKE))
        alike += near
    return (alike - m) // 2


@part
def _pairs(x, y, m):  # type: ignore[no-untyped-def]
    """Of pairs among the first ``m``: x alike, y alike, y within twice as much, both alike, both near.

    Last the sum over each one's distance to the nearest other. ``x`` and ``y`` as `_in_steps`.
    """
    begin = end = wide = both = near = total = np.int64(0)
    for i in range(m):
        a, b = x[i], y[i]
        begins = ends = wider = boths = nears = np.int32(0)
        nearest = np.int32(_FARTHEST)
        for j in range(WINDOW_BEATS):
            dx, dy = abs(x[j] - a), abs(y[j] - b)
            larger = max(dx, dy)
            nearest = min(nearest, larger if j != i else np.int32(_FARTHEST))
            begins = np.int32(begins + np.int32(dx < _ALIKE))
            ends = np.int32(ends + np.int32(dy < _ALIKE))
            wider = np.int32(wider + np.int32(dy < _WIDE))
            boths = np.int32(boths + np.int32(larger < _ALIKE))
            nears = np.int32(nears + np.int32(larger < _NEAR))
        begin += begins
        end += ends
        wide += wider
        both += boths
        near += nears
        total += nearest
    # Each pair was seen from both sides, and each one beside itself.
    return (
        (begin - m) // 2,
        (end - m) // 2,
        (wide - m) // 2,
        (both - m) // 2,
        (near - m) // 2,
        total,
    )


@part
def atrial_features(  # type: ignore[no-untyped-def]
    positions, classes, agreement, sound, n, sums, unusable, room, out
):
    """Fill ``out`` from the last ``n`` beats, oldest first; False when they are too few.

    ``sound[k]``: the interval before beat k may be used. ``sums``: see `SUMS`. ``unusable``: share of the
    seconds.
    """
    rr, x, y, some = room.numbers[0], room.numbers[1], room.numbers[2], room.numbers[3]
    intervals, whole_x, whole_y = room.whole[0], room.whole[1], room.whole[2]
    usable = room.usable
    usable[:] = False
    steps = 0
    for attempt in range(2):
        steps = 0
        for k in range(1, n):
            is_narrow = _is_narrow(classes[k]) and _is_narrow(classes[k - 1])
            usable[k] = sound[k] and (attempt == 1 or is_narrow)
            steps += usable[k] and usable[k - 1]
        if steps >= LEAST_STEPS:
            break
    if steps < LEAST_STEPS or sums[P_SHAPE + 2] < 1:
        return False
    intervals[:] = EMPTY
    total = 0.0
    m = np.int64(0)
    for k in range(1, n):
        rr[k] = positions[k] - positions[k - 1]
        if usable[k]:
            intervals[m] = np.int32(rr[k])
            total += rr[k]
            m += 1
    mean = total / m
    median = np.float64(select(intervals, m // 2, 0, _PLACES))
    some[:] = np.inf
    over6 = over12 = early = late = 0
    step_sum = 0.0
    product = power = 0.0
    m = np.int64(0)
    for k in range(2, n):
        if usable[k] and usable[k - 1]:
            x[m] = rr[k - 1] / median
            y[m] = rr[k] / median
            d = abs(y[m] - x[m])
            some[m] = d
            step_sum += min(d, 0.5)
            over6 += d > 0.06
            over12 += d > 0.12
            early += y[m] < 0.85
            late += y[m] > 1.2
            a = min(max(x[m] - 1, -0.5), 0.5)
            b = min(max(y[m] - 1, -0.5), 0.5)
            product += a * b
            power += b * b
            m += 1
    out[0] = select_by_rank(some, m, m // 2)
    out[1] = over6 / m
    out[2] = over12 / m
    out[3] = step_sum / m
    # Pairs of steps: how many begin alike, end alike, both.
    pairs = m * (m - 1) // 2
    _in_steps(x, m, whole_x)
    _in_steps(y, m, whole_y)
    begin, end, wide, both, near, nearest = _pairs(whole_x, whole_y, m)
    out[4] = -np.log((end + 1) / (pairs + 2))
    out[5] = wide / pairs
    out[6] = -np.log((both + 1) / (begin + 2))
    for apart in (2, 3):
        count = 0
        sum_of = 0.0
        for k in range(1 + apart, n):
            if usable[k] and usable[k - apart]:
                sum_of += min(abs(rr[k] - rr[k - apart]) / median, 0.5)
                count += 1
        out[5 + apart] = sum_of / count if count > 0 else out[3]
    turns = count = 0
    for k in range(3, n):
        if usable[k] and usable[k - 1] and usable[k - 2]:
            turns += (rr[k] - rr[k - 1]) * (rr[k - 1] - rr[k - 2]) < 0
            count += 1
    out[9] = turns / count if count > 0 else 0.5
    out[10] = min(max((product / m) / (power / m + 1e-4), -1.0), 1.0)
    out[11] = -np.log((near + 1) / (pairs + 2))
    out[12] = nearest / (np.float64(_STEPS) * m)
    out[13] = 75.0 / mean
    out[14] = early / m
    out[15] = late / m
    for kind in range(3):
        count = 0
        for k in range(n):
            count += classes[k] == (_V if kind == 0 else (1 if kind == 1 else 3))
        out[16 + kind] = count / n
    count = 0
    for k in range(n):
        count += agreement[k]
    out[19] = count / (100.0 * n)
    out[20] = m / WINDOW_BEATS
    out[21] = unusable
    beats = sums[P_SHAPE + 2]
    out[22] = sums[P_SHAPE + 1] / (100.0 * beats)
    energy = 0.0
    for c in range(P_SHAPE):
        share = sums[c] / (P_SHAPE_STEP * beats)
        out[23 + c] = 10 * share
        energy += share * share
    level = sums[P_SHAPE] / (P_SHAPE_STEP * P_SHAPE_STEP * beats)
    out[27] = energy / (level + 1e-6)
    out[28] = np.log(level + 1e-5)
    # Once more with V: in fibrillation an aberrant beat is easily called V.
    over6 = count = 0
    m = np.int64(0)
    for k in range(1, n):
        if sound[k]:
            some[m] = rr[k] / median
            m += 1
            if k > 1 and sound[k - 1]:
                over6 += abs(rr[k] - rr[k - 1]) / median > 0.06
                count += 1
    _in_steps(some, m, whole_x)
    alike = _alike(whole_x, m)
    out[29] = over6 / max(count, 1)
    out[30] = -np.log((2 * alike + 2) / (m * (m - 1) + 4.0))
    return True
