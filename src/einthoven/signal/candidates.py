"""Where a beat may be, and what speaks for and against it.

A *candidate* is a local maximum of the QRS envelope. Two small networks judge it: the first by the signal
around it and by its likeness to other candidates near it; the second, where the first is in doubt, also by
what the first said of its neighbours and by its likeness to the last beats that the first found. Every
number here is made of integers (logarithms are linear between powers of two), so that a candidate's inputs
are the same on every machine and however the signal was cut.
"""

from typing import Final

import numpy as np

from einthoven.signal.kernel import kernel, part
from einthoven.signal.selection import EMPTY

__all__ = [
    "AHEAD",
    "BACK",
    "BLOCK",
    "DOUBT_INPUTS",
    "FLOOR",
    "INPUTS",
    "LEVEL_BLOCKS",
    "PRIMARIES",
    "RADIUS",
    "SCORE",
    "SPAN",
    "VIEW",
    "WINDOW",
    "block_maxima",
    "compare",
    "describe",
    "find",
    "hills",
    "look",
    "measure",
]

RADIUS: Final = 12
"""A candidate is the largest envelope within 96 ms on each side."""
BLOCK: Final = 100
"""Block for the local level, samples (0.8 s); maxima are taken over two blocks."""
LEVEL_BLOCKS: Final = 12
"""Blocks before the candidate's own that make the level."""
FLOOR: Final = 150
"""Lowest level, units squared: a QRS of 0.06 mV."""
SILENCE: Final = 8
"""Envelope, units squared, up to which there is nothing: a QRS of 0.013 mV."""
LEAST: Final = 50
"""A candidate is at least this fraction of the level (1/50; a seventh in amplitude)."""
LIKE: Final = 10
"""Others are compared with if they are at least this fraction of their level (a third in amplitude)."""
VIEW: Final = 150
"""Samples (1.2 s) around a candidate that the first network sees, at most."""
BACK: Final = 750
"""Samples (6 s) before a candidate in which others are compared with it."""
AHEAD: Final = 150
"""Samples (1.2 s) after a candidate in which others are compared with it, or judged beside it."""
SPAN: Final = 2500
"""Samples (20 s) before a candidate in which the last beats are looked for."""
PRIMARIES: Final = 9
"""How many of the last beats, found at first sight, a doubtful candidate is compared with."""
PLACE: Final = 8
"""Samples (64 ms) around the envelope's maximum in which the largest deflection is the fiducial."""
SCORE: Final = 256
"""Scores are log odds times this, rounded."""

WINDOW: Final = 9
"""Clean samples of a candidate that are compared, every second one, the fiducial in the middle."""
MARGIN: Final = VIEW + 26
"""Zeros around the envelope, so that nothing need ask where it ends."""
_ROOM: Final = 16
"""Room for the blocks of a level, a whole number of vectors."""
_APART: Final = 25
"""Samples between candidates that may be compared."""
_BEFORE_MOST, _AFTER_MOST = 12, 5
"""How many others before and after are compared with, at most."""

_WAVE = np.arange(-24, 25, 2)
_SHAPE = np.array(
    [-100, -80, -64, -52, -42, -34, -26, -20, -14, -9, -5, 0, 5, 9, 14, 20, 26, 34, 42, 52, 64, 80, 100]
)
_RINGS = np.array([12, 25, 40, 60, 80, 100, 125, 150])
_RINGS_EACH: Final = _RINGS.size - 1
_QUIET_STEP: Final = 12
_QUIET_STEPS: Final = 12
_LIKENESSES: Final = 6
INPUTS: Final = _WAVE.size + _SHAPE.size + 2 * _RINGS_EACH + _LIKENESSES + 4
"""What the first network is told of a candidate."""

_NEIGHBOURS = np.array([12, 25, 38, 50, 62, 75, 90, 105, 120, 135, 150])
_LOWEST: Final = -8.0
DOUBT_INPUTS: Final = 1 + 4 * (_NEIGHBOURS.size - 1) + 6 + 6
"""What the second network is told besides."""


@part
def _log(value):  # type: ignore[no-untyped-def]
    """256 times the logarithm to base 2 of a positive integer, linear between powers of two.

    Exponent and first eight binary places of the same number in floating point.
    """
    return (np.float64(value).view(np.int64) >> np.int64(44)) - np.int64(256 * 1023)


@kernel
def hills(envelope):  # type: ignore[no-untyped-def]
    """The envelope between `MARGIN` zeros on both sides, and the largest of each 8 and each 16 from there on.

    So the largest of any 8 to 32 is told by looking at two. Shape (3, size and margins).
    """
    whole = np.zeros((3, envelope.size + 2 * MARGIN), np.int32)
    whole[0, MARGIN : MARGIN + envelope.size] = envelope
    two, four = np.zeros(whole.shape[1], np.int32), np.zeros(whole.shape[1], np.int32)
    _larger(whole[0], 1, two)
    _larger(two, 2, four)
    _larger(four, 4, whole[1])
    _larger(whole[1], 8, whole[2])
    return whole


@part
def block_maxima(tops, first, first_block, known, maxima):  # type: ignore[no-untyped-def]
    """Largest envelope of each whole block, see `hills`; the first ``known`` are there already."""
    for b in range(known, maxima.size):
        start = MARGIN + (first_block + b) * BLOCK - first
        top = tops[2, start + BLOCK - 16]
        for i in range(start, start + BLOCK - 16, 16):
            top = max(top, tops[2, i])
        maxima[b] = top


@part
def _larger(values, apart, out):  # type: ignore[no-untyped-def]
    """The larger of each and the one ``apart`` after it."""
    after = values[apart:]
    for i in range(after.size):
        out[i] = max(values[i], after[i])


@part
def _level(maxima, block, near):  # type: ignore[no-untyped-def]
    """Median (lower) of the two-block maxima up to ``block``, an index into ``maxima``; ``near`` is room."""
    count = 0
    for b in range(max(0, block - LEVEL_BLOCKS), block + 1):
        near[count] = max(maxima[b], maxima[b - 1]) if b > 0 else maxima[b]
        count += 1
    level = np.int32(FLOOR)
    for i in range(count):
        below = np.int32(0)
        for j in range(_ROOM):
            below = np.int32(below + np.int32(near[j] < near[i]))
        level = max(level, near[i] if below <= (count - 1) // 2 else np.int32(0))
    return level


@kernel
def find(tops, first, begin, stop, first_block, maxima, at, level):  # type: ignore[no-untyped-def]
    """Candidates from ``begin`` to before ``stop``; fills ``at`` and ``level``, returns how many.

    ``tops``: see `hills`; the envelope begins at ``first``.
    """
    here, eight = tops[0, MARGIN + begin - first :], tops[1, MARGIN + begin - first :]
    eight_before = tops[1, MARGIN + begin - first - RADIUS :]
    is_peak = np.zeros(max(stop - begin, 0), np.bool_)
    for i in range(is_peak.size):
        ahead = max(eight[i + 1], eight[i + 1 + RADIUS - 8])
        behind = max(eight_before[i], eight_before[i + RADIUS - 8])
        is_peak[i] = (here[i] > SILENCE) & (here[i] >= ahead) & (here[i] > behind)
    near = np.full(_ROOM, EMPTY, np.int32)
    count = 0
    last_block = np.int64(-(1 << 62))
    here_level = np.int64(FLOOR)
    for i in range(is_peak.size):
        if not is_peak[i]:
            continue
        block = max((begin + i) // BLOCK - first_block, 0)  # a first part of a block has no level
        if block != last_block:
            last_block = block
            here_level = np.int64(_level(maxima, block, near))
        if LEAST * np.int64(here[i]) > here_level:
            at[count] = begin + i
            level[count] = here_level
            count += 1
    return count


@kernel
def look(cleaned, first, at, windows):  # type: ignore[no-untyped-def]
    """The signal around each candidate's fiducial, every second sample, at one size: 127 times unit norm."""
    size = cleaned.size
    part = np.empty(WINDOW, np.int64)
    for k in range(at.size):
        centre = at[k] - first
        best = np.int32(-1)
        fiducial = centre
        for i in range(max(0, centre - PLACE), min(size, centre + PLACE + 1)):
            value = abs(np.int32(cleaned[i]))
            if value > best:
                best = value
                fiducial = i
        total = np.int64(0)
        for i in range(WINDOW):
            j = fiducial + 2 * i - (WINDOW - 1)
            part[i] = cleaned[j] if 0 <= j < size else 0
            total += part[i]
        squares = np.int64(0)
        for i in range(WINDOW):
            part[i] = WINDOW * part[i] - total
            squares += part[i] * part[i]
        scale = 127.0 / np.sqrt(np.float64(squares + 1))
        for i in range(WINDOW):
            windows[k, i] = np.int8(np.rint(scale * part[i]))


@kernel
def describe(  # type: ignore[no-untyped-def]
    tops, first, cleaned, cleaned_first, begin, stop, at, level, logs, windows, liked, rows
):
    """Inputs of the candidates from ``begin`` to before ``stop``; the others are there to be compared with.

    ``tops``: see `hills`. ``logs`` of the heights, 1/256; ``liked`` tells who is large enough to be compared
    with.
    """
    wave = np.zeros(_WAVE.size, np.int32)
    heights = np.empty(_SHAPE.size + 2 * _RINGS_EACH, np.int64)
    quiet = np.empty(2 * _QUIET_STEPS + 1, np.int64)
    envelope = tops[0]
    for k in range(begin, stop):
        p = at[k] - first + MARGIN
        row = rows[k - begin]
        here = np.int64(level[k])
        base = here // 512 + 1
        level_log = _log(here)
        height_log = _log(np.int64(envelope[p]) + base)
        _strided(cleaned, at[k] - cleaned_first, wave)
        total = np.int32(0)
        for i in range(_WAVE.size):
            total = np.int32(total + wave[i])
        scale = np.float32(0.5 / (_WAVE.size * np.sqrt(np.float64(here))))
        for i in range(_WAVE.size):
            turned = np.float32(np.int32(_WAVE.size) * wave[i] - total) * scale
            row[i] = min(max(turned, np.float32(-4)), np.float32(4))
        for i in range(_SHAPE.size):
            heights[i] = envelope[p + _SHAPE[i]]
        for ring in range(_RINGS_EACH):
            near, far = _RINGS[ring], _RINGS[ring + 1]
            width = 8 if far - near < 16 else 16
            highest = tops[1] if far - near < 16 else tops[2]
            heights[_SHAPE.size + ring] = max(highest[p - far], highest[p - near - width])
            heights[_SHAPE.size + _RINGS_EACH + ring] = max(
                highest[p + near + 1], highest[p + far + 1 - width]
            )
        o = _WAVE.size
        for i in range(_SHAPE.size):
            row[o + i] = np.float32(_log(heights[i] + base) - level_log) / np.float32(256)
        for i in range(_SHAPE.size, _SHAPE.size + 2 * _RINGS_EACH):
            row[o + i] = np.float32(_log(heights[i] + base) - height_log) / np.float32(256)
        o += heights.size
        _liken(k, at, logs, windows, liked, row, o)
        o += _LIKENESSES
        row[o] = np.float32(level_log - _log(np.int64(FLOOR))) / np.float32(256)
        for i in range(quiet.size):
            quiet[i] = envelope[p + _QUIET_STEP * (i - _QUIET_STEPS)]
        some = large = np.int64(0)
        for i in range(quiet.size):
            some += 64 * quiet[i] > here
            large += 16 * quiet[i] > here
        row[o + 1] = some / np.float32(2 * _QUIET_STEPS + 1)
        row[o + 2] = large / np.float32(2 * _QUIET_STEPS + 1)
        row[o + 3] = np.float32(logs[k] - level_log) / np.float32(256)


@part
def _strided(cleaned, centre, wave):  # type: ignore[no-untyped-def]
    """Every second clean sample around a position; 0 where there is none."""
    start = centre + _WAVE[0]
    if start >= 0 and start + 2 * _WAVE.size <= cleaned.size:
        part = cleaned[start : start + 2 * _WAVE.size]
        for i in range(_WAVE.size):
            wave[i] = part[2 * i]
        return
    for i in range(_WAVE.size):
        j = start + 2 * i
        wave[i] = cleaned[j] if 0 <= j < cleaned.size else 0


@part
def _liken(k, at, logs, windows, liked, row, o):  # type: ignore[no-untyped-def]
    """Likeness to the candidates around: the four best, the share of good ones, and their relative size."""
    best = second = third = fourth = np.float32(-1)
    good = np.int64(0)
    number = 0
    weights = np.float64(1e-3)
    sizes = np.float64(0)
    for side in range(2):
        step = -1 if side == 0 else 1
        most = _BEFORE_MOST if side == 0 else _AFTER_MOST
        seen = 0
        j = k + step
        while 0 <= j < at.size and seen < most and -BACK <= at[j] - at[k] <= AHEAD:
            if liked[j] and abs(at[j] - at[k]) > _APART:
                seen += 1
                product = np.int32(0)
                for i in range(WINDOW):
                    product += np.int32(windows[k, i]) * np.int32(windows[j, i])
                likeness = np.float32(product) / np.float32(127 * 127)
                number += 1
                good += likeness > np.float32(0.8)
                if likeness > np.float32(0.5):
                    weight = (likeness - 0.5) * (likeness - 0.5)
                    sizes += weight * (np.int64(logs[k]) - np.int64(logs[j]))
                    weights += weight
                fourth = max(fourth, min(third, likeness))
                third = max(third, min(second, likeness))
                second = max(second, min(best, likeness))
                best = max(best, likeness)
            j += step
    row[o], row[o + 1], row[o + 2], row[o + 3] = best, second, third, fourth
    row[o + 4] = good / np.float32(max(number, 1))
    row[o + 5] = min(max(np.float32(sizes / weights / 256), np.float32(-4)), np.float32(4))


@kernel
def compare(k, at, logs, shares, windows, firsts, is_primary, own, row):  # type: ignore[no-untyped-def]
    """What the second network is told of candidate ``k``.

    ``firsts`` are the first network's scores, ``shares`` the logarithms of height over level, ``own`` what
    the first network was told of this candidate.
    """
    rings = _NEIGHBOURS.size - 1
    intervals = np.empty(PRIMARIES, np.int64)
    deviations = np.empty(PRIMARIES, np.int64)
    sizes = np.empty(PRIMARIES, np.int64)
    mean = np.zeros(WINDOW, np.int64)
    p = at[k]
    row[0] = np.float32(firsts[k]) / np.float32(SCORE)
    o = 1
    following = p + AHEAD
    for side in range(2):
        row[o : o + rings] = np.float32(_LOWEST)
        row[o + rings : o + 2 * rings] = 0
        step = -1 if side == 0 else 1
        j = k + step
        while 0 <= j < at.size and abs(at[j] - p) <= _NEIGHBOURS[rings]:
            if side == 1 and is_primary[j] and at[j] < following:
                following = at[j]
            for ring in range(rings):
                if _NEIGHBOURS[ring] < abs(at[j] - p) <= _NEIGHBOURS[ring + 1]:
                    score = np.float32(firsts[j]) / np.float32(SCORE)
                    if score > row[o + ring]:
                        row[o + ring] = score
                        row[o + rings + ring] = np.float32(shares[j] - shares[k]) / np.float32(256)
            j += step
        o += 2 * rings
    # The last beats that were found at first sight, their intervals and their shape.
    count = np.int64(0)
    previous = p - 3 * BLOCK
    later = np.int64(0)
    upright = 0
    best = second = np.int64(-127 * 127)
    m = np.int64(0)
    j = k - 1
    while j >= 0 and m < PRIMARIES and at[j] >= p - SPAN:
        if is_primary[j]:
            product = np.int64(0)
            for i in range(WINDOW):
                mean[i] += windows[j, i]
                product += np.int64(windows[j, i]) * np.int64(windows[k, i])
            if product > best:
                second = best
                best = product
            elif product > second:
                second = product
            upright += 1 if windows[j, WINDOW // 2] > 0 else -1
            _insert(sizes, m, np.int64(logs[j]))
            if m == 0:
                previous = at[j]
            else:
                _insert(intervals, count, later - at[j])
                count += 1
            later = at[j]
            m += 1
        j -= 1
    typical = np.float32(intervals[count // 2]) if count > 2 else np.float32(100)
    spread = np.float32(0.5)
    if count > 2:
        for i in range(count):
            _insert(deviations, i, abs(intervals[i] - intervals[count // 2]))
        spread = np.float32(deviations[count // 2]) / typical
    before = np.float32(p - previous) / typical
    after = np.float32(following - p) / typical
    row[o] = min(before, np.float32(3))
    row[o + 1] = min(after, np.float32(3))
    row[o + 2] = min(before + after, np.float32(5))
    row[o + 3] = typical / np.float32(100)
    row[o + 4] = spread
    row[o + 5] = np.float32(count)
    o += 6
    row[o : o + 6] = 0
    if m > 0:
        product = np.int64(0)
        squares = np.int64(0)
        for i in range(WINDOW):
            squares += mean[i] * mean[i]
            product += mean[i] * np.int64(windows[k, i])
        norm = np.float32(np.sqrt(np.float64(squares + 1)))
        row[o] = np.float32(product) / (norm * np.float32(127))
        row[o + 1] = np.float32(best) / np.float32(127 * 127)
        row[o + 2] = np.float32(second if m > 1 else best) / np.float32(127 * 127)
        row[o + 3] = np.float32(np.int64(logs[k]) - sizes[m // 2]) / np.float32(256)
        row[o + 4] = norm / np.float32(127 * m)
        row[o + 5] = np.float32(m)
    o += 6
    for i in range(INPUTS):
        row[o + i] = own[i]
    if upright < 0:
        for i in range(_WAVE.size):
            row[o + i] = -own[i]


@part
def _insert(values, count, value):  # type: ignore[no-untyped-def]
    j = count
    while j > 0 and values[j - 1] > value:
        values[j] = values[j - 1]
        j -= 1
    values[j] = value


@part
def measure(envelope, first, at, level, logs, shares, liked):  # type: ignore[no-untyped-def]
    """Logarithms (1/256) of height and of height over level, and who is large enough to be compared with."""
    for k in range(at.size):
        height = np.int64(envelope[at[k] - first])
        logs[k] = _log(height)
        shares[k] = _log(height) - _log(np.int64(level[k]))
        liked[k] = LIKE * height > level[k]
