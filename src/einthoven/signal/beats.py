"""Where the beats are: candidates on the QRS envelope, and small networks that judge them.

The envelope is that of Pan and Tompkins (doi:10.1109/TBME.1985.325532). Their thresholds, their search-back
and their T-wave rule are replaced by learning: one network scores every candidate, three more those about
which the first is in doubt, and a beat is a candidate whose score is high enough and the highest within
`REFRACTORY`. They were trained on DS1 (de Chazal's design half of the MIT-BIH records) with real and made
noise added (`einthoven.runtime.detection`).

Every decision depends on a bounded stretch of signal around it (see `DETECTION_LAG` and
`DETECTION_MEMORY`) and never on a final decision about another beat, so that a stream, a chunk and
the whole recording give the same beats.
"""

import functools
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.signal import candidates, perceptron
from einthoven.signal.candidates import (
    AHEAD,
    BACK,
    BLOCK,
    DOUBT_INPUTS,
    INPUTS,
    LEVEL_BLOCKS,
    PLACE,
    PRIMARIES,
    RADIUS,
    SCORE,
    SPAN,
    VIEW,
    WINDOW,
)
from einthoven.signal.kernel import kernel
from einthoven.signal.perceptron import Perceptron
from einthoven.signal.shipped import shipped

__all__ = [
    "BLOCK",
    "DETECTION_LAG",
    "DETECTION_MEMORY",
    "DETECTION_REACH",
    "PLACE",
    "REFRACTORY",
    "Judges",
    "Trace",
    "detect",
    "judge_at_first_sight",
    "load_judges",
    "locate",
    "pack_judges",
]

REFRACTORY: Final = 22
"""Of candidates within 176 ms one can be a beat."""
DOUBT: Final = 5 * SCORE
"""First scores below this, either way, are for the other networks to judge."""
THRESHOLD: Final = round(-1.5 * SCORE)
"""Score from which a candidate is a beat. Even odds would be 0; a missed beat is dearer than an extra one."""
_LIKED_MOST: Final = 14
"""Twelve others are compared with, and two more may be too near."""

_LOG, _KIND, _SHARE, _FIRST, _FINAL = range(5)
_COLUMNS: Final = 5

JUDGES_FILE: Final = "beat-candidates.msgpack"
JUDGES_SHA256: Final = "77401ff050b0255459545ae861fd1697601b2afab2f09b7ceb52016578e965b9"

_SCORED: Final = AHEAD + REFRACTORY
DETECTION_LAG = BLOCK - 1 + AHEAD + _SCORED + REFRACTORY
"""Envelope samples after a candidate that its decision may need."""
DETECTION_REACH = VIEW + RADIUS
"""Envelope samples before the first undecided candidate that a call needs; the rest is in the trace."""
DETECTION_MEMORY = SPAN + BACK + VIEW + (LEVEL_BLOCKS + 2) * BLOCK
"""Envelope samples before a candidate that its decision may need."""


class Judges(NamedTuple):
    """The network of first sight, and those that are asked in doubt."""

    version: str
    first: Perceptron
    second: tuple[Perceptron, Perceptron, Perceptron]
    """Their scores are averaged."""


class _Packed(msgspec.Struct, frozen=True):
    """The file's content."""

    version: str
    first: perceptron.Packed
    second: tuple[perceptron.Packed, perceptron.Packed, perceptron.Packed]


class Trace(NamedTuple):
    """What later decisions need of a signal that is gone."""

    first_block: int
    """Number of the first block in ``maxima``."""
    maxima: NDArray[np.int32]
    """Largest envelope of each whole block, shape (blocks,)."""
    known: int
    """Candidates before this position have their scores."""
    positions: NDArray[np.int64]
    """Earlier candidates that later ones are compared with, ascending; shape (candidates,)."""
    windows: NDArray[np.int8]
    """The signal around them, shape (candidates, 9)."""
    table: NDArray[np.int16]
    """Shape (5, candidates): logarithm of height (1/256); what they are (1 large enough to be compared with,
    2 a beat at first sight); logarithm of height over level, first and last score, which are 0 where they are
    no longer asked for."""

    @staticmethod
    def empty(position: int) -> "Trace":
        """No history before an absolute position."""
        return Trace(
            -(-position // BLOCK),
            np.empty(0, np.int32),
            position,
            np.empty(0, np.int64),
            np.empty((0, WINDOW), np.int8),
            np.empty((_COLUMNS, 0), np.int16),
        )


def pack_judges(judges: Judges) -> bytes:
    """The file that `load_judges` reads."""
    a, b, c = (perceptron.pack(one) for one in judges.second)
    return msgspec.msgpack.encode(_Packed(judges.version, perceptron.pack(judges.first), (a, b, c)))


@functools.cache
def load_judges() -> Judges:
    """The shipped networks.

    Raises
    ------
    DefectError : the file in the package is not the one that this version was released with.
    """
    content = shipped(JUDGES_FILE, JUDGES_SHA256)
    packed = msgspec.msgpack.decode(content, type=_Packed)
    a, b, c = (perceptron.unpack(one) for one in packed.second)
    return Judges(packed.version, perceptron.unpack(packed.first), (a, b, c))


def detect(
    envelope: NDArray[np.int32],
    first: int,
    cleaned: NDArray[np.int16],
    cleaned_first: int,
    after: int,
    trace: Trace,
    judges: Judges | None = None,
) -> tuple[NDArray[np.int64], int, Trace]:
    """Beats whose decision is final.

    Parameters
    ----------
    envelope : shape (n,), absolute positions ``first`` to ``first + n``. It must reach back to
        ``after`` minus `DETECTION_REACH` (or the start of the signal).
    cleaned : the clean signal that it was made of, from ``cleaned_first`` on, no earlier than the signal
        began; it reaches `DETECTION_REACH` back too.
    after : candidates before this position were decided by earlier calls.
    trace : what earlier calls left.
    judges : other networks than the shipped ones.

    Returns
    -------
    positions (ascending, all in ``after`` to ``until``), ``until``, and the trace for the next call.
    """
    end = first + envelope.size
    known_until = min(end - RADIUS, BLOCK * (end // BLOCK))
    until = known_until - AHEAD - _SCORED - REFRACTORY
    if until <= after:
        return np.empty(0, np.int64), after, trace
    judges = judges or load_judges()
    maxima = np.empty(max(end // BLOCK - trace.first_block, 0), np.int32)
    maxima[: trace.maxima.size] = trace.maxima
    found, table = _judge(
        envelope,
        first,
        cleaned,
        cleaned_first,
        after,
        until,
        known_until,
        trace.first_block,
        trace.maxima.size,
        maxima,
        trace[2:],
        *_plain(judges),
    )
    keep = max(0, until // BLOCK - LEVEL_BLOCKS - 2 - trace.first_block)
    return found, until, Trace(trace.first_block + keep, maxima[keep:].copy(), until + REFRACTORY, *table)


def judge_at_first_sight(
    envelope: NDArray[np.int32], cleaned: NDArray[np.int16], first: Perceptron | None
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32], NDArray[np.int16]]:
    """Every candidate of a whole signal, for training.

    ``envelope`` and ``cleaned`` of one length, from position 0 on. Returns the candidates' fiducials, what
    the first network is told of each, what the second is told, and the first network's scores; without a
    ``first`` network the last two are zero.
    """
    maxima = np.empty(envelope.size // BLOCK, np.int32)
    fiducials, inputs, compared, scores = _first_sight(
        envelope, cleaned, maxima, tuple(first or _NOBODY), first is not None
    )
    return fiducials, inputs, compared, scores


def _plain(judges: Judges) -> tuple[tuple[Any, ...], tuple[tuple[Any, ...], ...]]:
    """As plain tuples: of a named one the dispatcher reads every name, each time."""
    a, b, c = judges.second
    return tuple(judges.first), (tuple(a), tuple(b), tuple(c))


_NOBODY: Final = Perceptron.of(
    np.zeros(INPUTS, np.float32),
    np.zeros(INPUTS, np.float32),
    np.array([INPUTS, 1]),
    np.zeros(INPUTS + 1, np.float32),
)


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
def _score(odds):  # type: ignore[no-untyped-def]
    """Log odds as a 16-bit score."""
    return np.int16(min(max(np.rint(odds * np.float32(SCORE)), np.float32(-32000)), np.float32(32000)))


@kernel
def _is_highest(at, scores, k, least):  # type: ignore[no-untyped-def]
    """Whether no candidate within `REFRACTORY` scores more, or as much and comes first."""
    if scores[k] < least:
        return False
    for side in range(2):
        step = -1 if side == 0 else 1
        j = k + step
        while 0 <= j < at.size and abs(at[j] - at[k]) <= REFRACTORY:
            if scores[j] > scores[k] or (scores[j] == scores[k] and j < k):
                return False
            j += step
    return True


@kernel
def _judge(  # type: ignore[no-untyped-def]
    envelope,
    first,
    cleaned,
    cleaned_first,
    after,
    until,
    known_until,
    first_block,
    known_blocks,
    maxima,
    before,
    judge,
    doubters,
):
    known, positions, old_windows, old_table = before
    old = positions.size
    most = old + max(known_until - known, 0) // RADIUS + 2
    at = np.empty(most, np.int64)
    level = np.empty(most, np.int32)
    at[:old] = positions
    tops = candidates.hills(envelope)
    candidates.block_maxima(tops, first, first_block, known_blocks, maxima)
    count = old + candidates.find(tops, first, known, known_until, first_block, maxima, at[old:], level[old:])
    at, level = at[:count], level[:count]
    logs, shares = np.empty(count, np.int16), np.empty(count, np.int16)
    windows = np.empty((count, WINDOW), np.int8)
    liked, is_primary = np.empty(count, np.bool_), np.zeros(count, np.bool_)
    firsts, finals = np.empty(count, np.int16), np.empty(count, np.int16)
    windows[:old] = old_windows
    for k in range(old):
        logs[k], shares[k] = old_table[_LOG, k], old_table[_SHARE, k]
        liked[k], is_primary[k] = old_table[_KIND, k] & 1 != 0, old_table[_KIND, k] & 2 != 0
        firsts[k], finals[k] = old_table[_FIRST, k], old_table[_FINAL, k]
    candidates.measure(envelope, first, at[old:], level[old:], logs[old:], shares[old:], liked[old:])
    candidates.look(cleaned, cleaned_first, at[old:], windows[old:])
    scored = count
    while scored > old and at[scored - 1] >= known_until - AHEAD:
        scored -= 1
    inputs = np.empty((scored - old, INPUTS), np.float32)
    candidates.describe(
        tops, first, cleaned, cleaned_first, old, scored, at, level, logs, windows, liked, inputs
    )
    odds = np.empty(scored - old, np.float32)
    perceptron.answer(inputs, scored - old, judge, odds)
    for k in range(old, scored):
        firsts[k] = _score(odds[k - old])
        finals[k] = firsts[k]
    primaries = scored
    while primaries > old and at[primaries - 1] >= known_until - AHEAD - REFRACTORY:
        primaries -= 1
    for k in range(old, primaries):
        is_primary[k] = _is_highest(at[:scored], firsts[:scored], k, np.int16(0))
    decided = primaries
    while decided > old and at[decided - 1] >= until + REFRACTORY:
        decided -= 1
    doubtful = np.empty(decided - old, np.int64)
    doubts = np.int64(0)
    for k in range(old, decided):
        if abs(np.int32(firsts[k])) < DOUBT:
            doubtful[doubts] = k
            doubts += 1
    rows = np.empty((doubts, DOUBT_INPUTS + INPUTS), np.float32)
    for i in range(doubts):
        k = doubtful[i]
        candidates.compare(
            k, at[:primaries], logs, shares, windows, firsts, is_primary, inputs[k - old], rows[i]
        )
    sums = np.zeros(doubts, np.float32)
    for doubter in doubters:
        perceptron.answer(rows, doubts, doubter, odds)
        for i in range(doubts):
            sums[i] += odds[i]
    for i in range(doubts):
        finals[doubtful[i]] = _score(sums[i] / np.float32(len(doubters)))
    found = np.empty(decided, np.int64)
    n = 0
    for k in range(decided):
        if after <= at[k] < until and _is_highest(at[:decided], finals[:decided], k, np.int16(THRESHOLD)):
            found[n] = at[k]
            n += 1
    # Whom later candidates are compared with.
    kept = np.zeros(decided, np.bool_)
    likes = firsts_kept = 0
    for back in range(decided):
        k = decided - 1 - back
        kept[k] = at[k] >= until - AHEAD
        if liked[k] and likes < _LIKED_MOST and at[k] >= until - BACK:
            kept[k] = True
            likes += 1
        if is_primary[k] and firsts_kept < PRIMARIES and at[k] >= until - SPAN:
            kept[k] = True
            firsts_kept += 1
        if at[k] < until - AHEAD:
            shares[k] = firsts[k] = finals[k] = 0
    rest = np.flatnonzero(kept)
    table = np.empty((_COLUMNS, rest.size), np.int16)
    for i in range(rest.size):
        k = rest[i]
        table[_LOG, i], table[_SHARE, i] = logs[k], shares[k]
        table[_KIND, i] = np.int16(liked[k]) + 2 * np.int16(is_primary[k])
        table[_FIRST, i], table[_FINAL, i] = firsts[k], finals[k]
    return found[:n].copy(), (at[rest], windows[rest], table)


@kernel
def _first_sight(envelope, cleaned, maxima, judge, is_judged):  # type: ignore[no-untyped-def]
    end = maxima.size * BLOCK - RADIUS
    at = np.empty(max(end, 0) // RADIUS + 2, np.int64)
    level = np.empty(at.size, np.int32)
    tops = candidates.hills(envelope)
    candidates.block_maxima(tops, 0, 0, 0, maxima)
    count = candidates.find(tops, 0, 0, end, 0, maxima, at, level)
    at, level = at[:count], level[:count]
    logs, shares = np.empty(count, np.int16), np.empty(count, np.int16)
    windows = np.empty((count, WINDOW), np.int8)
    liked, is_primary = np.empty(count, np.bool_), np.zeros(count, np.bool_)
    candidates.measure(envelope, 0, at, level, logs, shares, liked)
    candidates.look(cleaned, 0, at, windows)
    inputs = np.empty((count, INPUTS), np.float32)
    candidates.describe(tops, 0, cleaned, 0, 0, count, at, level, logs, windows, liked, inputs)
    firsts = np.zeros(count, np.int16)
    rows = np.zeros((count, DOUBT_INPUTS + INPUTS), np.float32)
    if is_judged:
        odds = np.empty(count, np.float32)
        perceptron.answer(inputs, count, judge, odds)
        for k in range(count):
            firsts[k] = _score(odds[k])
        for k in range(count):
            is_primary[k] = _is_highest(at, firsts, k, np.int16(0))
        for k in range(count):
            candidates.compare(k, at, logs, shares, windows, firsts, is_primary, inputs[k], rows[k])
    fiducials = np.empty(count, np.int64)
    _locate(cleaned, 0, at, 0, cleaned.size, fiducials)
    return fiducials, inputs, rows, firsts


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
