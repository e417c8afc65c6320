"""What can be read in each second: the three grades, why a second is unreadable, and fibrillation.

A *cell* is one second of the analysis grid, counted from the start of the recording. It carries a
grade (1 all waves, 2 QRS only, 3 unusable), the reasons for a 3, and whether the four seconds that
begin with it look like ventricular fibrillation or flutter. A cell depends on its own samples and the
`CELL_LAG` after them.

Fibrillation is told by the leakage of the signal past a notch at its own mean frequency (Kuo and
Dillman, Computers in Cardiology 1978) together with the share of samples near the baseline: an ECG with
QRS complexes rests most of the time, a fibrillating one never. The thresholds were set on cu01-cu18 and
record 207 against the other MIT-BIH records and real noise.
"""

from collections import namedtuple
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.signal.kernel import kernel

__all__ = [
    "CELL",
    "CELL_LAG",
    "FIBRILLATION",
    "GRADE",
    "LEAD_OFF",
    "LOST",
    "LOUD",
    "NOISE",
    "SATURATED",
    "QualityLimits",
    "cells",
]

CELL = 125
"""Samples in a cell."""
WINDOW_CELLS = 4
CELL_LAG = WINDOW_CELLS * CELL
"""Samples from the start of a cell that it needs."""

GRADE: Final = 3
"""Mask of the grade in a cell's byte."""
LOST: Final = 4
LEAD_OFF: Final = 8
SATURATED: Final = 16
NOISE: Final = 32
FIBRILLATION: Final = 64
LOUD: Final = 128
"""A deflection large enough to be a missed beat lies in the second: it is not silence."""


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
    leakage: float = 0.60
    near_share: float = 0.45
    fibrillation_least: int = 20
    crossings_least: int = 10
    crossings_most: int = 80
    loud: int = 40
    """A cleaned deflection of 0.2 mV may be a beat that was missed."""


_Limits: Any = namedtuple("_Limits", QualityLimits.__struct_fields__)  # type: ignore[misc]  # as the kernel sees them
DEFAULT: Final = QualityLimits()


def cells(
    units: NDArray[np.int16],
    lost: NDArray[np.bool_],
    cleaned: NDArray[np.int16],
    limits: QualityLimits = DEFAULT,
) -> NDArray[np.uint8]:
    """One byte per whole second that has its four seconds; all inputs of shape (n,), from a cell's start.

    Returns shape (max(0, n // 125 - 3),): grade in the low two bits, then the reasons.
    """
    count = max(0, units.size // CELL - WINDOW_CELLS + 1)
    out = np.empty(count, np.uint8)
    if count:
        _cells(units, lost, cleaned, _Limits(*map(float, msgspec.structs.astuple(limits))), out)
    return out


@kernel
def _cells(units, lost, cleaned, limits, out):  # type: ignore[no-untyped-def]
    total = out.size + WINDOW_CELLS - 1
    top = np.empty(total, np.int32)
    for s in range(total):
        largest = np.int32(0)
        for i in range(s * CELL, (s + 1) * CELL):
            largest = max(largest, abs(np.int32(cleaned[i])))
        top[s] = largest
    histogram = np.empty(256, np.int32)
    for s in range(out.size):
        start = s * CELL
        low = high = units[start]
        missing = 0
        railed = 0
        run = 1
        for i in range(start, start + CELL):
            low = min(low, units[i])
            high = max(high, units[i])
            missing += lost[i]
            if i > start and units[i] == units[i - 1] and abs(np.int32(units[i])) >= limits.rail:
                run += 1
                railed += 6 if run == 6 else (1 if run > 6 else 0)
            else:
                run = 1
        flags = 0
        if missing > limits.lost_share * CELL:
            flags |= LOST
        if high - low <= limits.flat_span and not flags:
            flags |= LEAD_OFF
        if railed > limits.saturated_share * CELL or top[s] > limits.largest:
            flags |= SATURATED
        # The second largest of four seconds is the amplitude: one artefact does not make it.
        first = second = np.int32(0)
        for w in range(s, s + WINDOW_CELLS):
            if top[w] > first:
                second = first
                first = top[w]
            elif top[w] > second:
                second = top[w]
        histogram[:] = 0
        for i in range(start + 1, start + CELL):
            d = abs(np.int32(units[i + 1]) - 2 * np.int32(units[i]) + np.int32(units[i - 1]))
            histogram[min(d, 255)] += 1
        seen = 0
        rough = 0
        while seen + histogram[rough] <= CELL // 2:
            seen += histogram[rough]
            rough += 1
        grade = 1
        if rough > limits.noise_floor:
            if second < limits.unusable_ratio * rough:
                flags |= NOISE
            elif second < limits.qrs_only_ratio * rough:
                grade = 2
        if flags:
            grade = 3
        if second >= limits.fibrillation_least and not flags & (LOST | LEAD_OFF):
            flags |= _fibrillates(cleaned[start : start + CELL_LAG], second, rough, limits)
        if top[s] >= limits.loud:
            flags |= LOUD
        out[s] = grade | flags


@kernel
def _fibrillates(x, amplitude, rough, limits):  # type: ignore[no-untyped-def]
    n = x.size
    size = np.int64(0)
    change = np.int64(0)
    near = 0
    crossings = 0
    for i in range(n):
        a = abs(np.int64(x[i]))
        size += a
        near += 5 * a < amplitude
        if i > 0:
            change += abs(np.int64(x[i]) - np.int64(x[i - 1]))
            crossings += (x[i] >= 0) != (x[i - 1] >= 0)
    if (
        near >= limits.near_share * n
        or not limits.crossings_least <= crossings <= limits.crossings_most
        or 4 * rough > amplitude
    ):
        return 0
    half_period = min(max(np.int64(np.pi * size / max(change, 1) + 0.5), 1), n // 2)
    passed = np.int64(0)
    whole = np.int64(0)
    for i in range(half_period, n):
        a = np.int64(x[i])
        b = np.int64(x[i - half_period])
        passed += abs(a + b)
        whole += abs(a) + abs(b)
    return FIBRILLATION if passed < limits.leakage * whole else 0
