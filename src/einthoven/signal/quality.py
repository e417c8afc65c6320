"""What can be read in each second: the three grades, why a second is unreadable, and fibrillation.

A *cell* is one second of the analysis grid, counted from the start of the recording. It carries a
grade (1 all waves, 2 QRS only, 3 unusable), the reasons for a 3, and in its high byte how much the four
seconds that begin with it look like ventricular fibrillation or flutter. A cell depends on its own
samples and the `CELL_LAG` after them.

Fibrillation is told by ten numbers that a small perceptron weighs (`einthoven.signal.scores`): the leakage
of the signal past a notch at its own mean frequency (Kuo and Dillman, Computers in Cardiology 1978); the
share of samples near the baseline, and of slopes near zero (an ECG with QRS complexes rests most of the
time, a fibrillating one never); how even the slopes are; mean frequency, zero crossings, roughness, and
whether one second is quiet. None depends on the size of the signal. Deviations: absolute values for
squares where they suffice, four seconds without overlap of filters, integers up to the last division.
"""

import functools
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.signal.kernel import kernel, part
from einthoven.signal.scores import ScoreModel, evaluate, load_scores

__all__ = [
    "CELL",
    "CELL_LAG",
    "FIBRILLATION",
    "FIBRILLATION_FEATURES",
    "GRADE",
    "LEAD_OFF",
    "LOST",
    "LOUD",
    "NOISE",
    "SATURATED",
    "SCORE_LEAST",
    "SCORE_SHIFT",
    "SCORE_STEP",
    "SCORE_ZERO",
    "QualityLimits",
    "cells",
    "fibrillation_features",
    "grades_at",
    "is_plausible",
    "with_scores",
]

CELL = 125
"""Samples in a cell."""
WINDOW_CELLS = 4
CELL_LAG = WINDOW_CELLS * CELL
"""Samples from the start of a cell that it needs."""
_BENDS: Final = 128
_NO_BEND: Final = np.uint8(255)
_PLACES: Final = 8
"""Binary places of the largest second difference that is told from larger ones."""

GRADE: Final = 3
"""Mask of the grade in a cell's byte."""
LOST: Final = 4
LEAD_OFF: Final = 8
SATURATED: Final = 16
NOISE: Final = 32
"""Muscle, mains or motion hides the beats."""
FIBRILLATION: Final = 64
"""The score of the four seconds is above 1: surely no place for a silence or an interval."""
LOUD: Final = 128
"""A deflection large enough to be a missed beat lies in the second: it is not silence."""
SCORE_SHIFT: Final = 8
"""The high byte is the score: log-odds 0 at `SCORE_ZERO`, `SCORE_STEP` to one, at least `SCORE_LEAST`."""
SCORE_ZERO: Final = 128
SCORE_STEP: Final = 16
SCORE_LEAST: Final = 64

FIBRILLATION_FEATURES: Final = (
    "leakage",
    "near baseline",
    "flat slopes",
    "zero crossings",
    "slope evenness",
    "slope spread",
    "log frequency",
    "roughness",
    "quietest second",
    "steepness",
)
"""Names of the columns that `fibrillation_features` returns, in order."""


class QualityLimits(msgspec.Struct, frozen=True):
    """Where the grades begin; units of 5 µV unless the name says otherwise."""

    lost_share: float = 0.2
    """More missing samples than this: unusable."""
    flat_span: int = 2
    """A second whose samples span no more than this: lead off."""
    rail: int = 800
    """Equal samples beyond this (4 mV) are at the amplifier's rail."""
    saturated_share: float = 0.2
    largest: int = 2000
    """A cleaned deflection beyond 10 mV is no heart."""
    noise_floor: float = 12.0
    """Median second difference up to which muscle and mains noise is taken for none."""
    unusable_ratio: float = 7.0
    """Four-second amplitude over the median second difference; below it nothing can be read."""
    qrs_only_ratio: float = 16.0
    motion_leakage: float = 0.75
    """Motion of an electrode leaves neither a baseline nor flat stretches, and is not periodic: leakage
    above this and slopes less even than this, with fewer samples near the baseline and fewer flat slopes
    than the next two (unusable) or the two after them (QRS only)."""
    motion_evenness: float = 0.18
    motion_near: float = 0.60
    motion_flat: float = 0.85
    doubtful_near: float = 0.70
    doubtful_flat: float = 0.90
    fibrillation_least: int = 32
    """An amplitude of less than 0.16 mV is no fibrillation that could be told from wander or silence; with no
    beat in it, it is told as asystole."""
    fibrillation_leakage: float = 0.84
    """Beyond any of these five the signal is no fibrillation, and is not scored: 98 in 100 windows of
    cu01-cu18 keep to each, muscle noise and motion seldom to all."""
    fibrillation_near: float = 0.65
    fibrillation_crossings: float = 70.0
    """Zero crossings in four seconds."""
    fibrillation_roughness: float = 0.13
    """Median second difference over amplitude."""
    fibrillation_slowest_hz: float = 1.5
    """Mean frequency below which it is wander."""
    loud: int = 40
    """A cleaned deflection of 0.2 mV may be a beat that was missed."""


_LIMITS = np.dtype([(name, np.float64) for name in QualityLimits.__struct_fields__])
DEFAULT: Final = QualityLimits()


def cells(
    units: NDArray[np.int16],
    lost: NDArray[np.bool_],
    cleaned: NDArray[np.int16],
    limits: QualityLimits = DEFAULT,
) -> NDArray[np.uint16]:
    """Two bytes per whole second that has its four seconds; all inputs of shape (n,), from a cell's start.

    Returns shape (max(0, n // 125 - 3),): grade in the low two bits, then the reasons, then the score.
    """
    count = max(0, units.size // CELL - WINDOW_CELLS + 1)
    out = np.empty(count, np.uint16)
    if count:
        features = np.empty((count, len(FIBRILLATION_FEATURES) + 1))
        _grade(
            units,
            lost,
            cleaned,
            _as_kernel_sees(limits),
            features,
            out,
            *_weights(load_scores().fibrillation),
        )
    return out


@functools.cache
def _as_kernel_sees(limits: QualityLimits) -> Any:
    """One record, which is handed on as a pointer."""
    return np.array([msgspec.structs.astuple(limits)], _LIMITS)


def with_scores(
    graded: NDArray[np.uint16],
    cleaned: NDArray[np.int16],
    model: ScoreModel,
    limits: QualityLimits = DEFAULT,
) -> NDArray[np.uint16]:
    """The cells with their fibrillation scores by ``model``; ``cleaned`` from the first cell's start."""
    features = fibrillation_features(cleaned)
    scored = graded[: len(features)].copy()
    _score(features, _as_kernel_sees(limits), scored, *_weights(model))
    return scored


def _weights(model: ScoreModel) -> tuple[Any, ...]:
    return model.mean, model.inverse_spread, model.weights, model.perceptrons, model.bias


def is_plausible(features: NDArray[np.float64], limits: QualityLimits = DEFAULT) -> NDArray[np.bool_]:
    """Which windows could be fibrillation at all; rows of `fibrillation_features`."""
    chosen = _as_kernel_sees(limits)
    return np.array([_plausible(row, chosen) for row in features], np.bool_)


def fibrillation_features(cleaned: NDArray[np.int16]) -> NDArray[np.float64]:
    """What the score is made of, for the four seconds from each whole second; ``cleaned`` in units.

    Returns shape (max(0, n // 125 - 3), 11): the columns of `FIBRILLATION_FEATURES`, then the amplitude.
    """
    out = np.empty((max(0, cleaned.size // CELL - WINDOW_CELLS + 1), len(FIBRILLATION_FEATURES) + 1))
    if len(out):
        _features(cleaned, out)
    return out


def grades_at(grid: NDArray[np.int64], first_cell: int, cells: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Grade of the second in which each position lies, or of the nearest one that is given."""
    out = np.empty(grid.size, np.uint8)
    _grades_at(grid, first_cell, cells, out)
    return out


@kernel
def _grades_at(grid, first_cell, cells, out):  # type: ignore[no-untyped-def]
    for k in range(grid.size):
        second = min(max(grid[k] // CELL - first_cell, 0), cells.size - 1)
        out[k] = cells[second] & GRADE


@kernel
def _grade(  # type: ignore[no-untyped-def]
    units, lost, cleaned, limits, features, out, mean, inverse, weights, perceptrons, bias
):
    _cells(units, lost, cleaned, limits, out)
    _features(cleaned, features)
    _lower(features, limits, out)
    _score(features, limits, out, mean, inverse, weights, perceptrons, bias)


@kernel
def _cells(units, lost, cleaned, limits, out):  # type: ignore[no-untyped-def]
    limit = limits[0]
    total = out.size + WINDOW_CELLS - 1
    top = np.empty(total, np.int32)
    for s in range(total):
        largest = np.int32(0)
        part = cleaned[s * CELL : (s + 1) * CELL]
        for i in range(CELL):
            largest = max(largest, abs(np.int32(part[i])))
        top[s] = largest
    bends = np.full(_BENDS, _NO_BEND, np.uint8)
    for s in range(out.size):
        start = s * CELL
        second_of = units[start : start + CELL]
        absent = lost[start : start + CELL]
        low = high = np.int32(second_of[0])
        missing = np.int32(0)
        for i in range(CELL):
            low = min(low, np.int32(second_of[i]))
            high = max(high, np.int32(second_of[i]))
            missing = np.int32(missing + np.int32(absent[i]))
        railed = 0
        if max(high, -low) >= limit.rail:
            run = 1
            for i in range(1, CELL):
                if second_of[i] == second_of[i - 1] and abs(np.int32(second_of[i])) >= limit.rail:
                    run += 1
                    railed += 6 if run == 6 else (1 if run > 6 else 0)
                else:
                    run = 1
        flags = 0
        if missing > limit.lost_share * CELL:
            flags |= LOST
        if high - low <= limit.flat_span and not flags:
            flags |= LEAD_OFF
        if railed > limit.saturated_share * CELL or top[s] > limit.largest:
            flags |= SATURATED
        amplitude = _second_largest(top, s)
        rough = _roughness(units[start : start + CELL + 1], bends)
        grade = 1
        if rough > limit.noise_floor:
            if amplitude < limit.unusable_ratio * rough:
                flags |= NOISE
            elif amplitude < limit.qrs_only_ratio * rough:
                grade = 2
        if flags:
            grade = 3
        if top[s] >= limit.loud:
            flags |= LOUD
        out[s] = grade | flags


@part
def _roughness(x, bends):  # type: ignore[no-untyped-def]
    """Median second difference of a second, up to 255; ``bends`` is room for them."""
    here, after = x[1:], x[2:]
    for i in range(CELL - 2):
        bend = abs(np.int32(np.int32(after[i]) + np.int32(x[i])) - np.int32(2) * np.int32(here[i]))
        bends[i] = np.uint8(min(bend, np.int32(255)))
    bends[CELL - 2] = _NO_BEND
    if x.size > CELL:
        bends[CELL - 2] = min(abs(np.int32(x[CELL]) - 2 * np.int32(x[CELL - 1]) + np.int32(x[CELL - 2])), 255)
    found = np.int32(0)
    for place in range(_PLACES - 1, -1, -1):
        tried = np.uint8((2 * found + 1) << place)
        below = np.int32(0)
        for i in range(_BENDS):
            below = np.int32(below + np.int32(bends[i] < tried))
        # The sign is the place's digit, see `selection.select`.
        found = np.int32(2 * found + np.int32(np.uint32(below - np.int32(CELL // 2 + 1)) >> np.uint32(31)))
    return found


@part
def _second_largest(values, start):  # type: ignore[no-untyped-def]
    """The second largest of four seconds: one artefact does not make it."""
    first = second = np.int32(0)
    for w in range(start, start + WINDOW_CELLS):
        if values[w] > first:
            second = first
            first = values[w]
        elif values[w] > second:
            second = values[w]
    return second


@kernel
def _features(x, out):  # type: ignore[no-untyped-def]
    total = out.shape[0] + WINDOW_CELLS - 1
    top = np.zeros(total, np.int32)
    steep = np.zeros(total, np.int32)
    size = np.zeros(total, np.int64)
    change = np.zeros(total, np.int64)
    square = np.zeros(total, np.int64)
    crossings = np.zeros(total, np.int32)
    rough = np.empty(total, np.int32)
    bends = np.full(_BENDS, _NO_BEND, np.uint8)
    level = np.empty(total * CELL, np.int32)
    slope = np.zeros(total * CELL, np.int32)
    for i in range(level.size):
        level[i] = abs(np.int32(x[i]))
    following, rises = x[1 : level.size], slope[1:]
    for i in range(rises.size):
        rises[i] = abs(np.int32(following[i]) - np.int32(x[i]))
    for s in range(total):
        # Within the second only: it does not matter what came before it.
        start = s * CELL
        largest = steepest = np.int32(0)
        sum_of = moved = np.int32(0)
        squares = np.int64(0)
        signs = np.int32(0)
        levels = level[start : start + CELL]
        for i in range(CELL):
            largest = max(largest, levels[i])
            sum_of = np.int32(sum_of + levels[i])
        slopes = slope[start + 1 : start + CELL]
        before, after = x[start : start + CELL - 1], x[start + 1 : start + CELL]
        for i in range(CELL - 1):
            steepest = max(steepest, slopes[i])
            moved = np.int32(moved + slopes[i])
            signs = np.int32(signs + np.int32((before[i] >= 0) != (after[i] >= 0)))
        for i in range(CELL - 1):
            squares += np.int64(slopes[i]) * np.int64(slopes[i])
        top[s] = largest
        steep[s] = steepest
        size[s] = sum_of
        change[s] = moved
        square[s] = squares
        crossings[s] = signs
        rough[s] = _roughness(x[start : start + CELL], bends)
    for s in range(out.shape[0]):
        start = s * CELL
        stop = start + CELL_LAG
        amplitude = _second_largest(top, s)
        steepest = _second_largest(steep, s)
        sum_of = moved = squares = np.int64(1)
        signs = np.int32(0)
        quiet = top[s]
        for w in range(s, s + WINDOW_CELLS):
            sum_of += size[w]
            moved += change[w]
            squares += square[w]
            signs += crossings[w]
            quiet = min(quiet, top[w])
        near = flat = np.int32(0)
        small = np.int32(amplitude // 5)
        gentle = np.int32(steepest // 8)
        levels, slopes = level[start:stop], slope[start + 1 : stop]
        for i in range(CELL_LAG):
            near = np.int32(near + np.int32(levels[i] <= small))
        for i in range(CELL_LAG - 1):
            flat = np.int32(flat + np.int32(slopes[i] <= gentle))
        half = min(max(np.int64(np.pi * sum_of / moved + 0.5), 1), CELL_LAG // 2)
        passed = whole = np.int32(0)
        now, then = x[start + half : stop], x[start : stop - half]
        for i in range(now.size):
            passed = np.int32(passed + abs(np.int32(now[i]) + np.int32(then[i])))
            whole = np.int32(whole + np.int32(abs(np.int32(now[i])) + abs(np.int32(then[i]))))
        f = out[s]
        f[0] = passed / (whole + 1.0)
        f[1] = near / CELL_LAG
        f[2] = flat / CELL_LAG
        f[3] = signs / 100.0
        f[4] = moved / (CELL_LAG * (steepest + 1.0))
        f[5] = np.log(np.float64(CELL_LAG) * squares / (np.float64(moved) * moved))
        f[6] = np.log(moved / np.float64(sum_of))
        f[7] = rough[s] / (amplitude + 1.0)
        f[8] = quiet / (amplitude + 1.0)
        f[9] = steepest / (amplitude + 1.0)
        f[10] = amplitude


@part
def _plausible(f, records):  # type: ignore[no-untyped-def]
    limits = records[0]
    return (
        f[10] >= limits.fibrillation_least
        and f[0] < limits.fibrillation_leakage
        and f[1] < limits.fibrillation_near
        and 100 * f[3] < limits.fibrillation_crossings
        and f[7] < limits.fibrillation_roughness
        and np.exp(f[6]) * CELL > 2 * np.pi * limits.fibrillation_slowest_hz
    )


@part
def _lower(features, limits, out):  # type: ignore[no-untyped-def]
    """Lower the grades where motion or muscle leaves no baseline; fibrillation is periodic."""
    limit = limits[0]
    for s in range(out.size):
        f = features[s]
        if f[10] < limit.loud:
            continue  # what is smaller is silence
        if f[0] <= limit.fibrillation_leakage and not (
            f[0] > limit.motion_leakage and f[4] < limit.motion_evenness
        ):
            continue
        if f[1] < limit.motion_near and f[2] < limit.motion_flat:
            out[s] |= 3 | NOISE
        elif f[1] < limit.doubtful_near and f[2] < limit.doubtful_flat and out[s] & GRADE == 1:
            out[s] += 1


@kernel
def _score(features, limits, out, mean, inverse, weights, perceptrons, bias):  # type: ignore[no-untyped-def]
    row = np.empty(mean.size, np.float64)
    for s in range(out.size):
        flags = out[s] & 0xBF
        if flags & (LOST | LEAD_OFF) or not _plausible(features[s], limits):
            out[s] = flags | (SCORE_LEAST << SCORE_SHIFT)
            continue
        for i in range(mean.size):
            row[i] = features[s, i]
        score = evaluate(row, mean, inverse, weights, perceptrons, bias)
        byte = min(max(np.int64(SCORE_ZERO + SCORE_STEP * score + 0.5), SCORE_LEAST), 255)
        if score > 2:
            flags |= FIBRILLATION
        out[s] = flags | (byte << SCORE_SHIFT)
