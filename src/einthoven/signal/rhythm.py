"""Rhythm: beats and quality cells in time order in, episodes out. One fold, one small state.

The fold is the only part of the analysis whose memory is unbounded (an episode may last for days), and
it reads nothing but beats and cells. So a recording that was analysed in chunks is joined by folding
their beats and cells again, and the episodes are those of the whole by construction.

The rules and their limits are the table in `einthoven.signal.rules`.
"""

import functools
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.signal.atrial import ATRIAL_FEATURES, P_SHAPE, SUMS, WINDOW_BEATS, atrial_features, room
from einthoven.signal.kernel import kernel, part
from einthoven.signal.quality import (
    CELL,
    FIBRILLATION,
    GRADE,
    LEAD_OFF,
    LOST,
    LOUD,
    SCORE_LEAST,
    SCORE_SHIFT,
    SCORE_STEP,
    SCORE_ZERO,
)
from einthoven.signal.rules import KINDS, Criteria, Kind
from einthoven.signal.scores import RhythmScores, evaluate, load_scores

__all__ = [
    "BeatColumns",
    "Episodes",
    "OpenEpisode",
    "RhythmState",
    "atrial_row",
    "evidence_row",
    "fold",
    "open_episodes",
]

_LIMITS = np.dtype([(name, np.float64) for name in Criteria.__struct_fields__])

(
    _VF,
    _ASYSTOLE,
    _VT,
    _XBRADY,
    _XTACHY,
    _VRUN,
    _PAUSE,
    _SVT,
    _SRUN,
    _AF,
    _BRADY,
    _TACHY,
    _BIGEMINY,
    _TRIGEMINY,
    _OFF,
    _GAP,
    _NOISE,
) = np.arange(len(KINDS))  # not Python integers: for each of those numba would compile anew

N, S, V, F, Q = range(5)

_RING = 64
"""Beats remembered: 48 for atrial fibrillation, those of 30 s for rates up to 120 beats/min."""
_RING_SPAN = 15000
"""Samples (120 s) after which a remembered beat no longer counts."""
_AGREEMENT_BEATS = 8
_T_WAVE_CELLS = 2
"""Loud seconds that a silence may begin with: the one of the last beat, and its T wave's."""
_BLOCK_CELLS = 5
"""Atrial fibrillation is judged every five seconds, over the last six such blocks."""
_BLOCKS = 6
_WINDOW = _BLOCKS * _BLOCK_CELLS * CELL
_SURE_SPAN = _WINDOW
"""From 30 s of history on a judgement is a whole one."""
_SURE_STEPS = 30
_SCORES = 5
"""Windows of 4 s whose scores are averaged: they span 8 s."""
_SIMILAR = 85
"""Per cent of agreement from which a beat is the patient's own."""
_UNLIKE = 12
"""Per cent of agreement below which a beat in seconds that cannot be read is taken for noise."""
_UNUSABLE = SUMS
"""Column of a block that counts its unusable seconds."""
# Scalars of the state.
(
    _COUNT,  # beats so far, at most _RING in the ring
    _LAST,  # position of the last beat, or where the signal began
    _BAD,  # unreadable cells since the last beat
    _WILD,  # fibrillating cells since the last beat
    _LOUD,  # cells since the last beat in which a beat may have been missed
    _VF_YES,  # consecutive cells with evidence of fibrillation
    _VF_NO,  # consecutive cells without
    _VF_FIRST,  # first of the consecutive ones
    _VF_LAST,  # last one
    _V_COUNT,  # V in a row
    _V_FIRST,
    _S_COUNT,  # S in a row
    _S_FIRST,
    _FAST_FIRST,  # first of the fast narrow beats in a row, -1 when none
    _ALTERNATE,  # N V alternations in a row
    _ALT_FIRST,
    _TRIPLE,  # beats in a row that repeat the class three beats before
    _TRIPLE_FIRST,
    _OFF_FIRST,  # first flat cell in a row, -1 when none
    _GAP_FIRST,
    _NOISE_FIRST,
    _CELL,  # next cell to fold
    _BEGAN,  # where the signal began
    _BLOCK,  # number of the newest block
    _TRUSTED,  # whether the last beats look like beats
    _AF_YES,  # judgements in a row for atrial fibrillation
    _AF_FROM,  # where the first of them places the onset
    _AF_NO,  # judgements in a row against it
    _AF_UNKNOWN,  # judgements in a row that could not be made
    _GRADE,  # of the last second
    _GRADE_BEFORE,  # of the second before it
    _V_SURE,  # sum of the confidences of the V in a row, per cent
    _S_SURE,
    _TRUST,  # mean agreement of the last beats, per cent
) = np.arange(34)


class RhythmState(NamedTuple):
    """What the fold remembers."""

    scalars: NDArray[np.int64]
    opened: NDArray[np.int64]
    """Shape (4, kinds): onset of the open episode of each kind, -1 when none; end of its last one, or -1;
    its confidence, per cent, and its grade when it was opened."""
    positions: NDArray[np.int64]
    """The last beats, a ring; shape (64,)."""
    classes: NDArray[np.uint8]
    agreement: NDArray[np.uint8]
    sound: NDArray[np.bool_]
    """Whether the interval before the beat is free of unreadable cells."""
    blocks: NDArray[np.int32]
    """Sums over the beats of the last six five-second blocks; shape (6, 8), see `atrial.SUMS`."""
    scores: NDArray[np.uint8]
    """The last five cells' scores, oldest first."""

    @staticmethod
    def at(position: int) -> "RhythmState":
        """No history before an absolute position on the grid."""
        scalars = np.zeros(34, np.int64)
        scalars[[_LAST, _BEGAN]] = position
        scalars[[_FAST_FIRST, _OFF_FIRST, _GAP_FIRST, _NOISE_FIRST]] = -1
        scalars[_CELL] = -(-position // CELL)
        scalars[_TRUST] = 100
        scalars[_BLOCK] = position // CELL // _BLOCK_CELLS
        opened = np.full((4, len(KINDS)), -1, np.int64)
        opened[2:] = 0
        return RhythmState(
            scalars,
            opened,
            np.zeros(_RING, np.int64),
            np.zeros(_RING, np.uint8),
            np.zeros(_RING, np.uint8),
            np.zeros(_RING, np.bool_),
            np.zeros((_BLOCKS, SUMS + 1), np.int32),
            np.full(_SCORES, SCORE_LEAST, np.uint8),
        )

    def copy(self) -> "RhythmState":
        """A state that may be folded into without changing this one."""
        return RhythmState(
            self.scalars.copy(),
            self.opened.copy(),
            self.positions.copy(),
            self.classes.copy(),
            self.agreement.copy(),
            self.sound.copy(),
            self.blocks.copy(),
            self.scores.copy(),
        )


class Episodes(NamedTuple):
    """Episodes as columns, in the order in which they ended; positions on the analysis grid."""

    kind: NDArray[np.int64]
    """Index into `KINDS`."""
    onset: NDArray[np.int64]
    end: NDArray[np.int64]
    confidence: NDArray[np.int64]
    """Per cent."""
    grade: NDArray[np.int64]
    """The worse grade of the last two seconds before it was decided, 1 to 3."""


class BeatColumns(NamedTuple):
    """What the fold reads of beats; each of shape (beats,), but ``p_shape`` of shape (beats, 4)."""

    positions: NDArray[np.int64]
    classes: NDArray[np.uint8]
    confidences: NDArray[np.uint8]
    """Per cent."""
    agreement: NDArray[np.uint8]
    """Per cent."""
    p_wave: NDArray[np.int8]
    """Per cent, signed."""
    p_shape: NDArray[np.int8]


def fold(
    state: RhythmState,
    beats: BeatColumns,
    cells: NDArray[np.uint16],
    until: int,
    criteria: Criteria,
    scores: RhythmScores | None = None,
) -> tuple[RhythmState, NDArray[np.uint8], Episodes]:
    """Fold beats and cells up to ``until`` (grid position).

    Parameters
    ----------
    beats : those before ``until`` that were not folded yet, ascending.
    cells : the quality cells that were not folded yet; those that end after ``until`` are left for later.
    scores : the shipped ones when None.

    Returns
    -------
    the new state, the classes after the rules (S in atrial fibrillation becomes N, a beat in noise becomes
    Q), and the episodes that ended.
    """
    after = state.copy()
    polished = beats.classes.copy()
    rows = np.empty((6 * polished.size + 8 * cells.size + len(KINDS) + 8, 5), np.int64)
    chosen = scores or load_scores()
    model = chosen.atrial
    count = _fold(
        *after,
        beats.positions,
        polished,
        beats.confidences,
        beats.agreement,
        beats.p_wave,
        beats.p_shape,
        cells,
        until,
        _limits(criteria),
        chosen.evidence,
        model.mean,
        model.inverse_spread,
        model.weights,
        model.perceptrons,
        model.bias,
        rows,
    )
    return after, polished, Episodes(*np.ascontiguousarray(rows[:count].T))


@functools.lru_cache(maxsize=1024)
def _limits(criteria: Criteria) -> Any:
    """As the kernel sees them: one record, which is handed on as a pointer, where a tuple would be copied.

    A deployment has few sets of limits, and a segment comes every moment.
    """
    return np.array([msgspec.structs.astuple(criteria)], _LIMITS)


def atrial_row(state: RhythmState) -> NDArray[np.float64] | None:
    """What atrial fibrillation is judged by now: the `ATRIAL_FEATURES`; None when the beats are too few."""
    out = np.empty(len(ATRIAL_FEATURES))
    known = _window(
        state.scalars, state.positions, state.classes, state.agreement, state.sound, state.blocks, room(), out
    )
    return out if known else None


def evidence_row(state: RhythmState) -> NDArray[np.float64]:
    """What fibrillation is judged by now, shape (4,): see `RhythmScores.evidence`."""
    return np.array(_evidence(state.scalars, state.positions, state.agreement, state.scores))


class OpenEpisode(NamedTuple):
    """An episode that has not ended; position on the analysis grid, confidence in per cent."""

    kind: Kind
    onset: int
    confidence: int
    grade: int


def open_episodes(state: RhythmState) -> list[OpenEpisode]:
    """Those that have not ended, most urgent first."""
    onsets, _, confidences, grades = state.opened.tolist()
    return [
        OpenEpisode(KINDS[k], onset, confidences[k], grades[k])
        for k, onset in enumerate(onsets)
        if onset >= 0
    ]


@part
def _close(opened, kind, end, rows, n):  # type: ignore[no-untyped-def]
    if opened[0, kind] < 0:
        return n
    rows[n, 0] = kind
    rows[n, 1] = opened[0, kind]
    rows[n, 2] = max(end, opened[0, kind])
    rows[n, 3] = opened[2, kind]
    rows[n, 4] = opened[3, kind]
    opened[0, kind] = -1
    opened[1, kind] = rows[n, 2]
    return n + 1


@part
def _open(z, opened, kind, onset, confidence):  # type: ignore[no-untyped-def]
    """Begin an episode, no earlier than the last of its kind ended."""
    opened[0, kind] = max(onset, opened[1, kind])
    opened[2, kind] = min(max(confidence, 0), 100)
    opened[3, kind] = max(z[_GRADE], z[_GRADE_BEFORE], 1)


@part
def _likelihood(score):  # type: ignore[no-untyped-def]
    return np.int64(100.0 / (1.0 + np.exp(-score)) + 0.5)


@part
def _stretch(z, slot, kind, is_so, least_s, start, opened, rows, n):  # type: ignore[no-untyped-def]
    """A technical episode: cells in a row with a property, opened once they last."""
    if is_so:
        if z[slot] < 0:
            z[slot] = start
        if opened[0, kind] < 0 and start + CELL - z[slot] >= least_s * CELL:
            _open(z, opened, kind, z[slot], np.int64(100))
    elif z[slot] >= 0:
        n = _close(opened, kind, start, rows, n)
        z[slot] = -1
    return n


@part
def _enter(z, blocks, second):  # type: ignore[no-untyped-def]
    """Make the block of a second the newest, emptying those that begin."""
    while z[_BLOCK] < second // _BLOCK_CELLS:
        z[_BLOCK] += 1
        blocks[z[_BLOCK] % _BLOCKS] = 0


@part
def _evidence(z, ring, ring_agreement, scores):  # type: ignore[no-untyped-def]
    """Mean score of the last five cells; rate, agreement and share of like beats in these 5 s."""
    total = 0.0
    for i in range(_SCORES):
        total += np.float64(scores[i]) - SCORE_ZERO
    since = (z[_CELL] - _SCORES) * CELL
    count = similar = agreement = 0
    j = z[_COUNT] - 1
    while j >= max(0, z[_COUNT] - _RING) and ring[j % _RING] >= since:
        count += 1
        agreement += ring_agreement[j % _RING]
        similar += ring_agreement[j % _RING] >= _SIMILAR
        j -= 1
    return (
        total / (SCORE_STEP * _SCORES),
        count / _SCORES,
        agreement / (100.0 * count) if count > 0 else 0.5,
        similar / count if count > 0 else 0.5,
    )


@part
def _window(z, ring, ring_classes, ring_agreement, ring_sound, blocks, room, out):  # type: ignore[no-untyped-def]
    """The features of the last 30 s; False when the beats are too few."""
    since = z[_CELL] * CELL - _WINDOW
    first = z[_COUNT]
    while (
        first > max(0, z[_COUNT] - _RING)
        and z[_COUNT] - first < WINDOW_BEATS
        and ring[(first - 1) % _RING] >= since
    ):
        first -= 1
    n = z[_COUNT] - first
    positions, classes, agreement, sound = room.positions, room.classes, room.agreement, room.sound
    for k in range(n):
        slot = (first + k) % _RING
        positions[k] = ring[slot]
        classes[k] = ring_classes[slot]
        agreement[k] = ring_agreement[slot]
        sound[k] = ring_sound[slot]
    sums = room.sums
    sums[:] = 0
    for b in range(_BLOCKS):
        for c in range(SUMS + 1):
            sums[c] += blocks[b, c]
    unusable = sums[_UNUSABLE] / (_BLOCKS * _BLOCK_CELLS)
    return atrial_features(positions, classes, agreement, sound, n, sums, unusable, room, out)


@part
def _onset_of_window(z, ring):  # type: ignore[no-untyped-def]
    """The beat where what the window shows began: the one in its middle; the first, if it began so."""
    now = z[_CELL] * CELL
    return _beat_since(z, ring, z[_BEGAN] if now - z[_BEGAN] <= _WINDOW else now - _WINDOW // 2)


@part
def _end_in_window(z, ring):  # type: ignore[no-untyped-def]
    """The beat in the middle of the window, where what it does not show any more ended."""
    now = z[_CELL] * CELL
    return _beat_since(z, ring, now - min(_WINDOW, now - z[_BEGAN]) // 2)


@part
def _beat_since(z, ring, since):  # type: ignore[no-untyped-def]
    """The first beat that is kept from then on."""
    j = z[_COUNT] - 1
    while j > max(0, z[_COUNT] - _RING) and ring[(j - 1) % _RING] >= since:
        j -= 1
    return ring[j % _RING]


@part
def _judge_atria(  # type: ignore[no-untyped-def]
    z,
    opened,
    ring,
    ring_classes,
    ring_agreement,
    ring_sound,
    blocks,
    c,
    mean,
    inverse,
    weights,
    perceptrons,
    bias,
    room,
    row,
    rows,
    n,
):
    """Atrial fibrillation, with hysteresis: every five seconds, on thirty."""
    known = (
        z[_TRUSTED] != 0
        and opened[0, _VF] < 0
        and _window(z, ring, ring_classes, ring_agreement, ring_sound, blocks, room, row)
    )
    if not known:
        z[_AF_UNKNOWN] += 1
        z[_AF_YES] = 0
        if z[_AF_UNKNOWN] >= _BLOCKS:
            n = _close(opened, _AF, z[_CELL] * CELL - _WINDOW, rows, n)
        return n
    z[_AF_UNKNOWN] = 0
    is_sure = z[_CELL] * CELL - z[_BEGAN] >= _SURE_SPAN or row[20] * WINDOW_BEATS >= _SURE_STEPS
    score = evaluate(row, mean, inverse, weights, perceptrons, bias)
    if z[_AF_YES] == 0:
        z[_AF_FROM] = _onset_of_window(z, ring)
    z[_AF_YES] = z[_AF_YES] + 1 if score > (c.af_score if is_sure else c.af_score_early) else 0
    z[_AF_NO] = z[_AF_NO] + 1 if score < c.af_score_end else 0
    # At the beginning nothing says that the rhythm was another: the first whole judgement counts alone.
    needed = 1.0 if z[_CELL] * CELL - z[_BEGAN] <= _WINDOW + _BLOCK_CELLS * CELL else c.af_judgements
    if opened[0, _AF] < 0:
        if z[_AF_YES] >= needed:
            _open(z, opened, _AF, z[_AF_FROM], _likelihood(score))
    elif z[_AF_NO] >= c.af_judgements_end:
        n = _close(opened, _AF, _end_in_window(z, ring), rows, n)
    return n


@part
def _fold_cell(  # type: ignore[no-untyped-def]
    z, opened, ring, ring_agreement, blocks, scores, cell, start, c, evidence, rows, n
):
    grade = cell & GRADE
    wild = (cell & FIBRILLATION) != 0
    z[_GRADE_BEFORE] = z[_GRADE]
    z[_GRADE] = grade
    _enter(z, blocks, z[_CELL])
    blocks[z[_BLOCK] % _BLOCKS, _UNUSABLE] += grade == GRADE
    for i in range(_SCORES - 1):
        scores[i] = scores[i + 1]
    scores[_SCORES - 1] = cell >> SCORE_SHIFT
    z[_CELL] += 1
    if grade == GRADE and not wild:
        z[_BAD] += 1
    z[_LOUD] += (cell & LOUD) != 0
    z[_WILD] += wild
    # The four seconds of a cell begin with it: what five of them say lies around the first's end.
    of_waves, rate, likeness, similar = _evidence(z, ring, ring_agreement, scores)
    score = evidence[4] + evidence[0] * of_waves
    score = score + evidence[1] * rate + evidence[2] * likeness + evidence[3] * similar
    if score > (c.fibrillation_score if opened[0, _VF] < 0 else c.fibrillation_score_end):
        z[_VF_NO] = 0
        if z[_VF_YES] == 0 and opened[0, _VF] < 0:
            z[_VF_FIRST] = start
        z[_VF_YES] += 1
        z[_VF_LAST] = start
        if opened[0, _VF] < 0 and z[_VF_YES] >= c.fibrillation_windows:
            _open(z, opened, _VF, max(z[_VF_FIRST] - 2 * CELL, z[_BEGAN]), _likelihood(score))
    else:
        z[_VF_YES] = 0
        z[_VF_NO] += 1
        if z[_VF_NO] >= 4:
            n = _close(opened, _VF, z[_VF_LAST] + 2 * CELL, rows, n)
    n = _stretch(z, _OFF_FIRST, _OFF, (cell & LEAD_OFF) != 0, c.lead_off_s, start, opened, rows, n)
    n = _stretch(z, _GAP_FIRST, _GAP, (cell & LOST) != 0, c.gap_s, start, opened, rows, n)
    is_noise = grade == GRADE and (cell & (LEAD_OFF | LOST)) == 0 and not wild
    n = _stretch(z, _NOISE_FIRST, _NOISE, is_noise, c.noise_s, start, opened, rows, n)
    silent = z[_BAD] == 0 and z[_WILD] == 0 and z[_LOUD] <= _T_WAVE_CELLS
    if opened[0, _ASYSTOLE] < 0 and silent and start + CELL - z[_LAST] >= c.asystole_s * CELL:
        _open(z, opened, _ASYSTOLE, z[_LAST], z[_TRUST])
    elif opened[0, _ASYSTOLE] >= 0 and (z[_BAD] > 0 or z[_WILD] > 0):
        n = _close(opened, _ASYSTOLE, start, rows, n)
    return n


@part
def _rate(z, ring, sound, beats):  # type: ignore[no-untyped-def]
    """Mean rate over the last ``beats`` intervals, beats/min; 0 when they are not all sound and recent."""
    count = z[_COUNT]
    if count <= beats:
        return 0.0
    last = count - 1
    for j in range(beats):
        if not sound[(last - j) % _RING]:
            return 0.0
    span = ring[last % _RING] - ring[(last - beats) % _RING]
    if span <= 0 or span > _RING_SPAN:
        return 0.0
    return 60.0 * CELL * beats / span


@part
def _mean_rate(z, ring, sound, span_s):  # type: ignore[no-untyped-def]
    """Mean rate over the beats of the last ``span_s`` seconds (or the ring), 0 when they are not sound."""
    last = z[_COUNT] - 1
    newest = ring[last % _RING]
    j = last
    oldest = max(0, z[_COUNT] - _RING)
    while j > oldest and newest - ring[j % _RING] < span_s * CELL:
        if not sound[j % _RING]:
            return 0.0, newest
        j -= 1
    first = ring[j % _RING]
    # Above 126 beats/min the ring holds less than 30 s; 63 intervals then stand for them.
    if newest - first < span_s * CELL and last - j < _RING - 1:
        return 0.0, newest
    if newest - first <= 0 or newest - first > 2 * span_s * CELL:
        return 0.0, newest
    return 60.0 * CELL * (last - j) / (newest - first), first


@part
def _fold_beat(  # type: ignore[no-untyped-def]
    z,
    opened,
    ring,
    ring_classes,
    ring_agreement,
    ring_sound,
    blocks,
    p,
    raw,
    confidence,
    agreement,
    p_wave,
    p_shape,
    c,
    rows,
    n,
):
    gap = p - z[_LAST]
    previous = z[_LAST]
    readable = z[_BAD] == 0 and z[_WILD] == 0
    silent = z[_LOUD] <= _T_WAVE_CELLS
    is_first = z[_COUNT] == 0
    if readable and silent and gap >= c.asystole_s * CELL and opened[0, _ASYSTOLE] < 0:
        _open(z, opened, _ASYSTOLE, previous, z[_TRUST])  # it ended before a whole second could tell
    n = _close(opened, _ASYSTOLE, p, rows, n)
    if readable and silent and not is_first and c.pause_s * CELL <= gap < c.asystole_s * CELL:
        _open(z, opened, _PAUSE, previous, z[_TRUST])
        n = _close(opened, _PAUSE, p, rows, n)
    sound = readable and not is_first and gap < c.pause_s * CELL
    slot = z[_COUNT] % _RING
    ring[slot] = p
    ring_agreement[slot] = agreement
    ring_sound[slot] = sound
    ring_classes[slot] = raw
    z[_COUNT] += 1
    z[_LAST] = p
    z[_BAD] = 0
    z[_WILD] = 0
    z[_LOUD] = 0
    last = z[_COUNT] - 1
    if raw != V:
        _enter(z, blocks, p // CELL)
        block = blocks[p // CELL // _BLOCK_CELLS % _BLOCKS]
        for i in range(P_SHAPE):
            block[i] += p_shape[i]
            block[P_SHAPE] += np.int32(p_shape[i]) * p_shape[i]
        block[P_SHAPE + 1] += p_wave
        block[P_SHAPE + 2] += 1
    # Do these beats look like beats?
    total = 0
    m = 0
    j = last
    while m < _AGREEMENT_BEATS and j >= 0 and m < _RING and p - ring[j % _RING] <= _RING_SPAN:
        total += ring_agreement[j % _RING]
        m += 1
        j -= 1
    trusted = total >= 100.0 * c.agreement_least * m
    z[_TRUST] = total // m
    z[_TRUSTED] = trusted
    beat = raw
    fibrillates = opened[0, _VF] >= 0 and z[_VF_NO] == 0
    if not trusted or fibrillates or (not readable and agreement < _UNLIKE):
        beat = Q
    elif raw == S and opened[0, _AF] >= 0:
        beat = N
    # Runs of V.
    if beat == V and (z[_V_COUNT] == 0 or sound):
        if z[_V_COUNT] == 0:
            z[_V_FIRST] = p
            z[_V_SURE] = 0
        z[_V_COUNT] += 1
        z[_V_SURE] += confidence
        if z[_V_COUNT] >= c.run_beats and opened[0, _VRUN] < 0 and opened[0, _VT] < 0:
            _open(z, opened, _VRUN, z[_V_FIRST], z[_V_SURE] * z[_TRUST] // (100 * z[_V_COUNT]))
        if (
            z[_V_COUNT] >= c.vt_beats
            and opened[0, _VT] < 0
            and 60.0 * CELL * (z[_V_COUNT] - 1) > c.vt_bpm * (p - z[_V_FIRST])
        ):
            _open(z, opened, _VT, z[_V_FIRST], z[_V_SURE] * z[_TRUST] // (100 * z[_V_COUNT]))
            opened[0, _VRUN] = -1
    else:
        n = _close(opened, _VT, previous, rows, n)
        n = _close(opened, _VRUN, previous, rows, n)
        z[_V_COUNT] = 1 if beat == V else 0
        z[_V_FIRST] = p
        z[_V_SURE] = confidence
    # Runs of S, and fast narrow beats.
    if beat == S and (z[_S_COUNT] == 0 or sound):
        if z[_S_COUNT] == 0:
            z[_S_FIRST] = p
            z[_S_SURE] = 0
        z[_S_COUNT] += 1
        z[_S_SURE] += confidence
        if z[_S_COUNT] >= c.run_beats and opened[0, _SRUN] < 0:
            _open(z, opened, _SRUN, z[_S_FIRST], z[_S_SURE] // z[_S_COUNT])
    else:
        n = _close(opened, _SRUN, previous, rows, n)
        z[_S_COUNT] = 1 if beat == S else 0
        z[_S_FIRST] = p
        z[_S_SURE] = confidence
    if sound and (beat == N or beat == S) and gap * c.svt_bpm < 60.0 * CELL:
        if z[_FAST_FIRST] < 0:
            z[_FAST_FIRST] = previous
        if opened[0, _SVT] < 0 and p - z[_FAST_FIRST] > c.svt_s * CELL:
            _open(z, opened, _SVT, z[_FAST_FIRST], z[_TRUST])
    else:
        n = _close(opened, _SVT, previous, rows, n)
        z[_FAST_FIRST] = -1
    # Rates.
    few = np.int64(c.extreme_bradycardia_beats)
    rate = _rate(z, ring, ring_sound, few) if trusted else 0.0
    if gap < c.asystole_s * CELL or rate > 0:
        if opened[0, _XBRADY] < 0 and 0 < rate < c.extreme_bradycardia_bpm:
            _open(z, opened, _XBRADY, ring[(last - few) % _RING], z[_TRUST])
        elif opened[0, _XBRADY] >= 0 and (rate == 0 or rate > 1.1 * c.extreme_bradycardia_bpm):
            n = _close(opened, _XBRADY, p, rows, n)
    many = np.int64(c.extreme_tachycardia_beats)
    rate = _rate(z, ring, ring_sound, many) if trusted and opened[0, _VF] < 0 else 0.0
    if opened[0, _XTACHY] < 0 and rate > c.extreme_tachycardia_bpm and opened[0, _VT] < 0:
        _open(z, opened, _XTACHY, ring[(last - many) % _RING], z[_TRUST])
    elif opened[0, _XTACHY] >= 0 and (rate < 0.9 * c.extreme_tachycardia_bpm or opened[0, _VT] >= 0):
        n = _close(opened, _XTACHY, p, rows, n)
    rate, first = _mean_rate(z, ring, ring_sound, c.rate_s)
    rate = rate if trusted else 0.0
    if opened[0, _BRADY] < 0 and 0 < rate < c.bradycardia_bpm:
        _open(z, opened, _BRADY, first, z[_TRUST])
    elif opened[0, _BRADY] >= 0 and (rate == 0 or rate > 1.1 * c.bradycardia_bpm):
        n = _close(opened, _BRADY, p, rows, n)
    if opened[0, _TACHY] < 0 and rate > c.tachycardia_bpm:
        _open(z, opened, _TACHY, first, z[_TRUST])
    elif opened[0, _TACHY] >= 0 and rate < 0.9 * c.tachycardia_bpm:
        n = _close(opened, _TACHY, p, rows, n)
    # Patterns of N and V; `a`, `b` and `d` are the classes one, two and three beats before.
    ring_classes[slot] = beat
    a = ring_classes[(last - 1) % _RING] if last >= 1 else np.uint8(Q)
    b = ring_classes[(last - 2) % _RING] if last >= 2 else np.uint8(Q)
    d = ring_classes[(last - 3) % _RING] if last >= 3 else np.uint8(Q)
    if sound and ((beat == V and a == N) or (beat == N and a == V)):
        if z[_ALTERNATE] == 0:
            z[_ALT_FIRST] = previous
        z[_ALTERNATE] += 1
        if z[_ALTERNATE] >= 2 * c.bigeminy_repeats - 1 and opened[0, _BIGEMINY] < 0:
            _open(z, opened, _BIGEMINY, z[_ALT_FIRST], z[_TRUST])
    else:
        n = _close(opened, _BIGEMINY, previous, rows, n)
        z[_ALTERNATE] = 0
    triple = (
        sound
        and beat == d
        and (beat == N or beat == V)
        and (a == N or a == V)
        and (b == N or b == V)
        and (beat == V) + (a == V) + (b == V) == 1
    )
    if triple:
        if z[_TRIPLE] == 0:
            z[_TRIPLE_FIRST] = ring[(last - 3) % _RING]
        z[_TRIPLE] += 1
        if z[_TRIPLE] >= 3 * (c.trigeminy_repeats - 1) and opened[0, _TRIGEMINY] < 0:
            _open(z, opened, _TRIGEMINY, z[_TRIPLE_FIRST], z[_TRUST])
    else:
        n = _close(opened, _TRIGEMINY, previous, rows, n)
        z[_TRIPLE] = 0
    return beat, n


@kernel
def _fold(  # type: ignore[no-untyped-def]
    z,
    opened,
    ring,
    ring_classes,
    ring_agreement,
    ring_sound,
    blocks,
    scores,
    positions,
    classes,
    confidences,
    agreement,
    p_wave,
    p_shape,
    cells,
    until,
    limits,
    evidence,
    mean,
    inverse,
    weights,
    perceptrons,
    bias,
    rows,
):
    c = limits[0]
    for_atria, row = room(), np.empty(mean.size, np.float64)
    n = np.int64(0)
    k = np.int64(0)
    s = np.int64(0)
    while True:
        cell_end = (z[_CELL] + 1) * CELL
        has_cell = s < cells.size and cell_end <= until
        if k < positions.size and (not has_cell or positions[k] < cell_end):
            beat, n = _fold_beat(
                z,
                opened,
                ring,
                ring_classes,
                ring_agreement,
                ring_sound,
                blocks,
                positions[k],
                classes[k],
                confidences[k],
                agreement[k],
                p_wave[k],
                p_shape[k],
                c,
                rows,
                n,
            )
            classes[k] = beat
            k += 1
        elif has_cell:
            start = z[_CELL] * CELL
            n = _fold_cell(
                z, opened, ring, ring_agreement, blocks, scores, cells[s], start, c, evidence, rows, n
            )
            if z[_CELL] % _BLOCK_CELLS == 0:
                n = _judge_atria(
                    z,
                    opened,
                    ring,
                    ring_classes,
                    ring_agreement,
                    ring_sound,
                    blocks,
                    c,
                    mean,
                    inverse,
                    weights,
                    perceptrons,
                    bias,
                    for_atria,
                    row,
                    rows,
                    n,
                )
            s += 1
        else:
            return n
