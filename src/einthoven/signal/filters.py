"""Cleaning and the QRS envelope: short symmetric filters in integers.

Integers make running sums exact, so every output depends on a fixed number of neighbours and on
nothing else: not on where a chunk began, and not on the order of additions. Symmetry keeps waves in
place (zero phase), as forward-backward filtering does for the recursive filters common in the field.
"""

import numpy as np
from numpy.typing import NDArray

from einthoven.signal.kernel import kernel, part

__all__ = ["CLEAN_REACH", "ENVELOPE_REACH", "clean", "envelope"]

_BASELINE = 128
"""The baseline is two moving averages of 128 samples (1.024 s): a triangle that ends at about 0.5 Hz."""

_LOW_PASS = np.array([2666, 1137, -496, -66, 239, -116, -57, 74], np.int32)
"""Half of a symmetric 15-tap low pass, 1/4096: flat to 36 Hz, -5 dB at 40 Hz, zeros at 50 and 60 Hz.

Weighted least squares on 0-36 and 49-62.5 Hz. Its zeros are the power-line filter."""

_QRS_BAND = np.array([1100, 625, -95, -397, -407, -279, -128, -17, 40, 54, 42, 23, 7, -3, -7, -8], np.int32)
"""Half of a symmetric 31-tap band pass, 1/4096: 8-22 Hz at half power, nothing at 0 Hz.

The autocorrelation of a first-order Butterworth band pass: what running it forward and backward does."""

CLEAN_REACH = _BASELINE - 1 + _LOW_PASS.size - 1
"""Samples on each side that one cleaned sample depends on."""
_BOX = 6
ENVELOPE_REACH = _QRS_BAND.size - 1 + 1 + _BOX
"""Cleaned samples on each side that one sample of the envelope depends on."""
_LIMIT = 4000
"""The QRS band is clipped at 20 mV, so that the envelope fits in 32 bits."""


def clean(units: NDArray[np.int16]) -> NDArray[np.int16]:
    """0.5-40 Hz without mains, in analysis units.

    Input of shape (n + 2 CLEAN_REACH,), output of shape (n,): the margins are used up.
    """
    out = np.empty(max(0, units.size - 2 * CLEAN_REACH), np.int16)
    if out.size:
        _clean(units, _LOW_PASS, out)
    return out


def envelope(cleaned: NDArray[np.int16]) -> NDArray[np.int32]:
    """Energy of slope and deflection in the QRS band, averaged over 104 ms; units squared.

    Input of shape (n + 2 ENVELOPE_REACH,), output of shape (n,). After Pan and Tompkins (IEEE Trans.
    Biomed. Eng. 32(3), 1985, doi:10.1109/TBME.1985.325532); deviations: the deflection itself counts
    too (a quarter), so that a slow wide beat is not lost between its slopes; all filters are symmetric.
    """
    out = np.empty(max(0, cleaned.size - 2 * ENVELOPE_REACH), np.int32)
    if out.size:
        _envelope(cleaned, _QRS_BAND, out)
    return out


@part
def _symmetric(x, taps, out):  # type: ignore[no-untyped-def]
    """A symmetric filter, 1/4096, rounded: the loops run over slices, so that they become SIMD in 32 bits.

    Four taps and their mirror images in one pass; ``taps`` are a whole number of fours.
    """
    half = taps.size - 1
    n = out.size
    for i in range(n):
        out[i] = np.int32(2048) - np.int32(taps[0] * x[half + i])
    for first in range(0, taps.size, 4):
        t0, t1, t2, t3 = taps[first], taps[first + 1], taps[first + 2], taps[first + 3]
        b0, a0 = x[half - first :], x[half + first :]
        b1, a1 = x[half - first - 1 :], x[half + first + 1 :]
        b2, a2 = x[half - first - 2 :], x[half + first + 2 :]
        b3, a3 = x[half - first - 3 :], x[half + first + 3 :]
        for i in range(n):
            near = np.int32(t0 * np.int32(b0[i] + a0[i])) + np.int32(t1 * np.int32(b1[i] + a1[i]))
            far = np.int32(t2 * np.int32(b2[i] + a2[i])) + np.int32(t3 * np.int32(b3[i] + a3[i]))
            out[i] = np.int32(out[i] + np.int32(near + far))
    for i in range(n):
        out[i] = np.int32(out[i] >> 12)


@part
def _plus(values, apart, out):  # type: ignore[no-untyped-def]
    """The sum of each and the one ``apart`` after it: by doubling, of any number in a row."""
    after = values[apart:]
    for i in range(after.size):
        out[i] = np.int32(values[i] + after[i])


@part
def _moving_sum(values, out, room):  # type: ignore[no-untyped-def]
    """The sum of each and the 127 after it; of the last 127 the sums mean nothing."""
    _plus(values, 1, out)
    for apart in (2, 8, 32):
        _plus(out, apart, room)
        _plus(room, 2 * apart, out)


@kernel
def _clean(units, low_pass, out):  # type: ignore[no-untyped-def]
    half = low_pass.size - 1
    n = out.size + 2 * half
    wide = np.empty(units.size, np.int32)
    for i in range(wide.size):
        wide[i] = units[i]
    once, twice = np.empty(wide.size, np.int32), np.empty(wide.size, np.int32)
    room = np.empty(wide.size, np.int32)
    _moving_sum(wide, once, room)
    _moving_sum(once, twice, room)
    level = np.empty(n, np.int32)
    middle = wide[_BASELINE - 1 :]
    for i in range(n):
        level[i] = np.int32(middle[i] - np.int32(np.int32(twice[i] + np.int32(8192)) >> 14))
    sums = np.empty(out.size, np.int32)
    _symmetric(level, low_pass, sums)
    for i in range(out.size):
        out[i] = min(max(sums[i], np.int32(-32767)), np.int32(32767))


@kernel
def _envelope(cleaned, band_taps, out):  # type: ignore[no-untyped-def]
    n = out.size + 2 * _BOX + 2
    wide = np.empty(cleaned.size, np.int32)
    for i in range(cleaned.size):
        wide[i] = cleaned[i]
    band = np.empty(n, np.int32)
    _symmetric(wide, band_taps, band)
    for i in range(n):
        band[i] = min(max(band[i], np.int32(-_LIMIT)), np.int32(_LIMIT))
    energy = np.empty(n - 2, np.int32)
    here = band[1:]
    after = band[2:]
    for i in range(n - 2):
        slope = np.int32(after[i] - band[i])
        square = np.int32(here[i] * here[i])
        energy[i] = np.int32(np.int32(slope * slope) + np.int32(square >> 2))
    two, four, eight = np.empty(n - 2, np.int32), np.empty(n - 2, np.int32), np.empty(n - 2, np.int32)
    _plus(energy, 1, two)
    _plus(two, 2, four)
    _plus(four, 4, eight)
    later, last = four[8:], energy[2 * _BOX :]
    for i in range(out.size):
        out[i] = np.int32(np.int32(eight[i] + later[i]) + last[i]) // np.int32(2 * _BOX + 1)
