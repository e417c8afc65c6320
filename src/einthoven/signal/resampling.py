"""From any sampling rate to the analysis grid of 125 Hz, exactly the same however a signal is cut.

Sample ``k`` of the grid lies at source position ``k * down / up`` counted from the first sample of
the recording, whatever piece of it is at hand; all arithmetic is in integers. So a piece of a
recording, resampled with its neighbours' samples around it, is bit for bit the piece of the
resampled whole.
"""

import functools
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from einthoven.signal.kernel import kernel
from einthoven.signal.recording import Counts, Lead, missing

__all__ = [
    "FS",
    "UNITS_PER_MV",
    "Ratio",
    "fill",
    "grid_length",
    "lost_on_grid",
    "ratio_of",
    "resample",
    "source_position",
    "source_positions",
]

FS = 125
"""The analysis grid, Hz."""
UNITS_PER_MV = 200
"""The analysis unit is 5 µV, the step of the MIT-BIH recordings."""
_FINE = 8
_FINE_LIMIT = 1 << 18
_TAP_BITS = 12
_SHIFT = _TAP_BITS + 3  # 2**3 is _FINE
_PASS_HZ = 40.0
_DECIMALS = 100


class Ratio(NamedTuple):
    """How to get from one sampling rate to the grid."""

    up: int
    down: int
    half: int
    """Source samples needed on each side of a grid sample."""
    taps: NDArray[np.int32]
    """Shape (up, 2 half + 1): a Kaiser-windowed sinc per phase, each summing to 4096."""


@functools.cache
def ratio_of(fs: float) -> Ratio:
    """The resampling ratio for a source at ``fs`` Hz (rounded to a fraction with denominator <= 100).

    The pass band ends at 40 Hz (or 0.4 ``fs``), where the cleaning filter ends too; what folds, folds
    above it. Stop band 53 dB (Kaiser, beta 5).
    """
    rate = Fraction(fs).limit_denominator(_DECIMALS)
    step = rate / FS
    up, down = step.denominator, step.numerator
    if up == down:
        return Ratio(1, 1, 0, np.full((1, 1), 1 << _TAP_BITS, np.int32))
    pass_hz = min(_PASS_HZ, 0.4 * fs)
    stop_hz = (FS if fs >= FS else fs) - pass_hz
    half = int(np.ceil(3.13 * fs / (stop_hz - pass_hz) / 2))
    cutoff = (pass_hz + stop_hz) / fs  # twice the -6 dB frequency, in cycles per source sample
    offset = np.arange(up)[:, None] / up
    at = np.arange(-half, half + 1)[None, :] - offset
    inside = np.clip(1 - (at / (half + 1)) ** 2, 0, None)
    kernel = np.sinc(cutoff * at) * np.i0(5.0 * np.sqrt(inside))
    kernel /= kernel.sum(1, keepdims=True)
    taps = np.rint(kernel * (1 << _TAP_BITS)).astype(np.int32)
    taps[:, half] += (1 << _TAP_BITS) - taps.sum(1, dtype=np.int32)
    return Ratio(up, down, half, taps)


def grid_length(samples: int, ratio: Ratio) -> int:
    """How many grid samples lie inside a recording of so many source samples."""
    return 0 if samples <= 0 else (samples - 1) * ratio.up // ratio.down + 1


def source_position(k: int, ratio: Ratio) -> int:
    """The source sample nearest to grid sample ``k``."""
    return (2 * k * ratio.down + ratio.up) // (2 * ratio.up)


def source_positions(k: NDArray[np.int64], ratio: Ratio) -> NDArray[np.int64]:
    """The source samples nearest to grid samples ``k``."""
    if ratio.half == 0:
        return k.copy()
    return np.asarray((2 * k * ratio.down + ratio.up) // (2 * ratio.up), np.int64)


def fill(
    counts: Counts, lead: Lead, longest: int, held: int, held_for: int
) -> tuple[NDArray[np.int32], NDArray[np.bool_], int, int]:
    """ADC counts of one lead to eighths of the analysis unit, clipped at 163 mV, and which are missing.

    A missing sample takes the last valid value for ``longest`` samples, then 0. ``held`` is the last valid
    value before these and ``held_for`` how many samples ago it was; both come back as they are at the end.
    """
    fine, lost = np.empty(counts.size, np.int32), np.empty(counts.size, np.bool_)
    scale = UNITS_PER_MV * _FINE / lead.gain
    held, held_for = _fill(
        counts, missing(counts.dtype), float(lead.baseline), scale, longest, held, held_for, fine, lost
    )
    return fine, lost, held, held_for


def lost_on_grid(
    lost: NDArray[np.bool_], first: int, start: int, stop: int, ratio: Ratio
) -> NDArray[np.bool_]:
    """Whether the source sample nearest to each grid sample is missing; ``lost`` from ``first`` on."""
    if ratio.half == 0:
        return lost[start - first : max(start, stop) - first]
    out = np.zeros(max(0, stop - start), np.bool_)
    if lost.any():
        _lost_on_grid(lost, first, start, ratio.up, ratio.down, out)
    return out


def resample(fine: NDArray[np.int32], first: int, start: int, stop: int, ratio: Ratio) -> NDArray[np.int16]:
    """Grid samples ``start`` to ``stop`` in analysis units.

    ``fine`` holds source samples from position ``first`` on, and must reach ``ratio.half`` samples
    beyond both ends.
    """
    out = np.empty(max(0, stop - start), np.int16)
    if ratio.half == 0:
        _round(fine[start - first :], out)
        return out
    _resample(fine, first, start, ratio.up, ratio.down, ratio.half, ratio.taps, out)
    return out


@kernel
def _fill(counts, absent, baseline, scale, longest, held, held_for, fine, lost):  # type: ignore[no-untyped-def]
    least, most = np.float64(-_FINE_LIMIT), np.float64(_FINE_LIMIT - 1)
    is_complete = True
    for i in range(counts.size):
        lost[i] = counts[i] == absent
        is_complete &= not lost[i]
        fine[i] = np.int32(min(max(np.rint((counts[i] - baseline) * scale), least), most))
    if is_complete and counts.size > 0:
        return np.int64(fine[-1]), np.int64(0)
    for i in range(counts.size):
        if lost[i]:
            held_for = min(held_for + 1, longest + 1)
            fine[i] = held if held_for <= longest else 0
        else:
            held = np.int64(fine[i])
            held_for = 0
    return held, held_for


@kernel
def _lost_on_grid(lost, first, start, up, down, out):  # type: ignore[no-untyped-def]
    for k in range(out.size):
        at = (2 * (start + k) * down + up) // (2 * up) - first
        out[k] = lost[min(max(at, 0), lost.size - 1)]


@kernel
def _round(fine, out):  # type: ignore[no-untyped-def]
    for k in range(out.size):
        out[k] = min(max((fine[k] + _FINE // 2) // _FINE, -32767), 32767)


@kernel
def _resample(fine, first, start, up, down, half, taps, out):  # type: ignore[no-untyped-def]
    width = 2 * half + 1
    for k in range(out.size):
        at = (start + k) * down
        base = at // up - first - half
        phase = at % up
        total = np.int64(0)
        row = taps[phase]
        near = fine[base : base + width]
        for j in range(width):
            total += np.int64(row[j]) * near[j]
        value = (total + (1 << (_SHIFT - 1))) >> _SHIFT
        out[k] = min(max(value, -32767), 32767)
