"""Where the beats are: candidates on the QRS envelope, a local level, and a second look into gaps.

Every decision depends on a bounded stretch of signal around it (see `DETECTION_LAG` and
`DETECTION_MEMORY`) and never on an earlier decision about another beat, so that a stream, a chunk and
the whole recording give the same beats.

The scheme is that of Pan and Tompkins (doi:10.1109/TBME.1985.325532) with these deviations: the
threshold is a share of the median of block maxima instead of two running averages; a T wave is told
by a stronger neighbour before it; the search-back may fill a gap with more than one beat, and looks
at what follows the gap as well as at what precedes it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from einthoven.signal.kernel import kernel

__all__ = [
    "BLOCK",
    "DETECTION_LAG",
    "DETECTION_MEMORY",
    "DETECTION_REACH",
    "LEVEL_BLOCKS",
    "NEIGHBOURS",
    "PLACE",
    "Trace",
    "detect",
    "locate",
]

NEIGHBOURS = 25
"""A candidate is the largest envelope within 200 ms on each side: 300 beats/min is the limit."""
BLOCK = 100
"""Block for the local level, samples (0.8 s); maxima are taken over two blocks."""
LEVEL_BLOCKS = 12
"""Blocks before the candidate's own that make the level; one after it counts too."""
PRIMARY_SHARE = 0.13
"""A candidate this large against the level is a beat (0.36 in amplitude)."""
SECONDARY_SHARE = 0.06
"""A candidate this large is a beat if it lies in a gap (0.24 in amplitude)."""
GAP = 1.5
"""A gap is an interval this many times the typical one."""
T_WAVE = 45
"""Samples (360 ms) after a beat in which a weaker wave is its T wave."""
T_WAVE_SHARE = 0.35
NEAR = 38
"""Samples (304 ms) that a gap's beat keeps from the beats around it."""
LOOK_AHEAD = 200
"""Samples (1.6 s) after a candidate in which the next beat is looked for."""
LOOK_BACK = 500
"""Samples (4 s) before a candidate in which the previous beat is looked for."""
REACH = 200
"""Samples (1.6 s) around a gap's candidate, at most, in which a larger one takes its place."""
TYPICAL_SPAN = 2500
"""Samples (20 s) whose intervals make the typical one."""
TYPICAL_COUNT = 8
FLOOR = 150
"""Lowest level, units squared: a QRS of 0.06 mV; deflections under 0.02 mV are silence."""
PLACE = 8
"""Samples (64 ms) around the candidate in which the largest deflection is the beat's position."""

DETECTION_LAG = max(NEIGHBOURS, 3 * BLOCK) + LOOK_AHEAD
"""Envelope samples after a candidate that its decision may need."""
DETECTION_REACH = REACH + NEIGHBOURS
"""Envelope samples before the first undecided candidate that a call needs; the rest is in the trace."""
DETECTION_MEMORY = TYPICAL_SPAN + (LEVEL_BLOCKS + 1) * BLOCK
"""Envelope samples before a candidate that its decision may need."""


class Trace(NamedTuple):
    """What later decisions need of an envelope that is gone."""

    first_block: int
    """Number of the first block in ``maxima``."""
    maxima: NDArray[np.int32]
    """Largest envelope of each complete block, shape (blocks,)."""
    primaries: NDArray[np.int64]
    """Positions of the last beats found at first sight, ascending."""

    @staticmethod
    def empty(position: int) -> "Trace":
        """No history before an absolute position."""
        return Trace(-(-position // BLOCK), np.empty(0, np.int32), np.empty(0, np.int64))


def detect(
    envelope: NDArray[np.int32], first: int, after: int, trace: Trace
) -> tuple[NDArray[np.int64], int, Trace]:
    """Beats whose decision is final.

    Parameters
    ----------
    envelope : shape (n,), absolute positions ``first`` to ``first + n``. It must reach back to
        ``after`` minus `DETECTION_REACH` (or the start of the signal).
    after : candidates before this position were decided by earlier calls.
    trace : what earlier calls left.

    Returns
    -------
    positions (ascending, all in ``after`` to ``until``), ``until``, and the trace for the next call.
    """
    end = first + envelope.size
    until = min(end - NEIGHBOURS, BLOCK * (end // BLOCK - 1)) - LOOK_AHEAD
    if until <= after:
        return np.empty(0, np.int64), after, trace
    blocks = end // BLOCK - trace.first_block
    maxima = np.zeros(max(blocks, 0), np.int32)
    known = trace.maxima.size
    maxima[:known] = trace.maxima
    _block_maxima(envelope, first, trace.first_block, known, maxima)
    found, primaries = _decide(envelope, first, after, until, trace.first_block, maxima, trace.primaries)
    keep = max(0, until // BLOCK - LEVEL_BLOCKS - 2 - trace.first_block)
    recent = primaries[primaries >= until - TYPICAL_SPAN][-(TYPICAL_COUNT + 1) :]
    return found, until, Trace(trace.first_block + keep, maxima[keep:].copy(), recent.copy())


def locate(
    cleaned: NDArray[np.int16], first: int, positions: NDArray[np.int64], start: int, stop: int
) -> NDArray[np.int64]:
    """Each beat's fiducial: the largest deflection of either sign within 64 ms of the candidate.

    ``cleaned`` begins at position ``first``; fiducials lie in ``start`` to ``stop``, where the signal is.
    """
    out = np.empty_like(positions)
    _locate(cleaned, first, positions, start, stop, out)
    return out


@kernel
def _block_maxima(envelope, first, first_block, known, maxima):  # type: ignore[no-untyped-def]
    for b in range(known, maxima.size):
        start = (first_block + b) * BLOCK - first
        top = np.int32(0)
        for i in range(max(0, start), start + BLOCK):
            top = max(top, envelope[i])
        maxima[b] = top


@kernel
def _level(maxima, block):  # type: ignore[no-untyped-def]
    """Median (lower) of the two-block maxima around ``block``, an index into ``maxima``."""
    near = np.empty(LEVEL_BLOCKS + 2, np.int32)
    count = 0
    for b in range(max(0, block - LEVEL_BLOCKS), min(maxima.size, block + 2)):
        value = max(maxima[b], maxima[b - 1]) if b > 0 else maxima[b]
        j = count
        while j > 0 and near[j - 1] > value:
            near[j] = near[j - 1]
            j -= 1
        near[j] = value
        count += 1
    return max(near[(count - 1) // 2], FLOOR)


@kernel
def _decide(envelope, first, after, until, first_block, maxima, known):  # type: ignore[no-untyped-def]
    size = envelope.size
    stop = min(size - NEIGHBOURS, until + LOOK_AHEAD - first)
    at = np.empty(size // NEIGHBOURS + 2, np.int64)
    height = np.empty(at.size, np.float64)
    level = np.empty(at.size, np.float64)
    count = 0
    i = 0
    while i < stop:
        here = envelope[i]
        is_peak = here > 0
        j = i + 1
        while is_peak and j <= i + NEIGHBOURS:
            if envelope[j] > here:
                is_peak = False
                i = j - 1
            j += 1
        if is_peak:
            for j in range(max(0, i - NEIGHBOURS), i):
                if envelope[j] >= here:
                    is_peak = False
                    break
        if is_peak:
            at[count] = first + i
            height[count] = here
            count += 1
        i += 1
    is_primary = np.zeros(count, np.bool_)
    last_block = -(1 << 62)  # no block yet; a first part of one has number -1
    last_level = 0.0
    for k in range(count):
        block = at[k] // BLOCK - first_block
        if block != last_block:
            last_block = block
            last_level = np.float64(_level(maxima, block))
        level[k] = last_level
        if height[k] > PRIMARY_SHARE * last_level:
            is_primary[k] = True
            j = k - 1
            while j >= 0 and at[k] - at[j] < T_WAVE:
                if height[j] * T_WAVE_SHARE > height[k]:
                    is_primary[k] = False
                    break
                j -= 1
    # Primaries: those of earlier calls, then those at or after `after`.
    primaries = np.empty(known.size + count, np.int64)
    total = 0
    for k in range(known.size):
        if known[k] < after:
            primaries[total] = known[k]
            total += 1
    for k in range(count):
        if is_primary[k] and at[k] >= after:
            primaries[total] = at[k]
            total += 1
    found = np.empty(count, np.int64)
    n = 0
    nearest = 0
    sums = np.empty(TYPICAL_COUNT, np.int64)
    for k in range(count):
        c = at[k]
        if c < after or c >= until:
            continue
        if is_primary[k]:
            found[n] = c
            n += 1
            continue
        if height[k] <= SECONDARY_SHARE * level[k]:
            continue
        while nearest < total and primaries[nearest] <= c:
            nearest += 1
        previous = c - LOOK_BACK // 2
        if nearest > 0:
            previous = max(primaries[nearest - 1], c - LOOK_BACK)
        following = c + LOOK_AHEAD
        if nearest < total:
            following = min(primaries[nearest], following)
        if c - previous <= NEAR or following - c <= NEAR:
            continue
        m = 0
        j = nearest - 1
        while j > 0 and m < TYPICAL_COUNT and primaries[j - 1] >= c - TYPICAL_SPAN:
            value = primaries[j] - primaries[j - 1]
            slot = m
            while slot > 0 and sums[slot - 1] > value:
                sums[slot] = sums[slot - 1]
                slot -= 1
            sums[slot] = value
            m += 1
            j -= 1
        if m < 3:
            continue
        typical = sums[m // 2]
        if following - previous <= GAP * typical:
            continue
        is_best = True
        reach = min(0.6 * typical, REACH)
        for step in (-1, 1):
            j = k + step
            while 0 <= j < count and abs(at[j] - c) < reach:
                if (
                    not is_primary[j]
                    and height[j] > height[k]
                    and at[j] - previous > NEAR
                    and following - at[j] > NEAR
                ):
                    is_best = False
                j += step
        if is_best:
            found[n] = c
            n += 1
    last = total
    while last > 0 and primaries[last - 1] >= until:
        last -= 1
    return found[:n].copy(), primaries[:last].copy()


@kernel
def _locate(cleaned, first, positions, start, stop, out):  # type: ignore[no-untyped-def]
    for k in range(positions.size):
        centre = positions[k] - first
        best = -1
        low = max(start - first, centre - PLACE)
        high = min(cleaned.size, stop - first, centre + PLACE + 1)
        out[k] = positions[k]
        for i in range(low, high):
            value = abs(np.int32(cleaned[i]))
            if value > best:
                best = value
                out[k] = first + i
