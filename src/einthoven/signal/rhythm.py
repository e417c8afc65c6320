"""Rhythm: beats and quality cells in time order in, episodes out. One fold, one small state.

The fold is the only part of the analysis whose memory is unbounded (an episode may last for days), and
it reads nothing but beats and cells. So a recording that was analysed in chunks is joined by folding
their beats and cells again, and the episodes are those of the whole by construction.

The rules and their limits are the table in `einthoven.signal.rules`.
"""

from collections import namedtuple
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.signal.kernel import kernel
from einthoven.signal.quality import CELL, FIBRILLATION, GRADE, LEAD_OFF, LOST, LOUD
from einthoven.signal.rules import KINDS, Criteria, Kind

__all__ = ["Episodes", "RhythmState", "fold", "open_episodes"]

_Limits: Any = namedtuple("_Limits", Criteria.__struct_fields__)  # type: ignore[misc]  # as the kernel sees them

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
) = range(len(KINDS))

N, S, V, F, Q = range(5)

_RING = 64
"""Beats remembered: 41 for atrial fibrillation, those of 30 s for rates up to 120 beats/min."""
_RING_SPAN = 15000
"""Samples (120 s) after which a remembered beat no longer counts."""
_AF_INTERVALS = 40
_AF_LEAST = 6
"""Beats in a row that must be found fibrillating before an episode begins."""
_AGREEMENT_BEATS = 8
_T_WAVE_CELLS = 2
"""Loud seconds that a silence may begin with: the one of the last beat, and its T wave's."""
# Scalars of the state.
(
    _COUNT,  # beats so far, at most _RING in the ring
    _LAST,  # position of the last beat, or where the signal began
    _BAD,  # unreadable cells since the last beat
    _WILD,  # fibrillating cells since the last beat
    _LOUD,  # cells since the last beat in which a beat may have been missed
    _VF_YES,  # consecutive positive windows
    _VF_NO,  # consecutive negative windows
    _VF_FIRST,  # first of the consecutive positives
    _VF_LAST,  # last positive
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
    _AF_BEATS,  # fibrillating beats in a row
) = range(23)


class RhythmState(NamedTuple):
    """What the fold remembers."""

    scalars: NDArray[np.int64]
    opened: NDArray[np.int64]
    """Shape (2, kinds): onset of the open episode of each kind, -1 when none; end of its last one, or -1."""
    positions: NDArray[np.int64]
    """The last beats, a ring; shape (64,)."""
    classes: NDArray[np.uint8]
    agreement: NDArray[np.uint8]
    p_wave: NDArray[np.int8]
    sound: NDArray[np.bool_]
    """Whether the interval before the beat is free of unreadable cells."""

    @staticmethod
    def at(position: int) -> "RhythmState":
        """No history before an absolute position on the grid."""
        scalars = np.zeros(23, np.int64)
        scalars[_LAST] = position
        scalars[[_FAST_FIRST, _OFF_FIRST, _GAP_FIRST, _NOISE_FIRST]] = -1
        scalars[_CELL] = -(-position // CELL)
        return RhythmState(
            scalars,
            np.full((2, len(KINDS)), -1, np.int64),
            np.zeros(_RING, np.int64),
            np.zeros(_RING, np.uint8),
            np.zeros(_RING, np.uint8),
            np.zeros(_RING, np.int8),
            np.zeros(_RING, np.bool_),
        )

    def copy(self) -> "RhythmState":
        """A state that may be folded into without changing this one."""
        return RhythmState(
            self.scalars.copy(),
            self.opened.copy(),
            self.positions.copy(),
            self.classes.copy(),
            self.agreement.copy(),
            self.p_wave.copy(),
            self.sound.copy(),
        )


class Episodes(NamedTuple):
    """Episodes as columns, in the order in which they ended; positions on the analysis grid."""

    kind: NDArray[np.int64]
    """Index into `KINDS`."""
    onset: NDArray[np.int64]
    end: NDArray[np.int64]


def fold(
    state: RhythmState,
    positions: NDArray[np.int64],
    classes: NDArray[np.uint8],
    agreement: NDArray[np.uint8],
    p_wave: NDArray[np.int8],
    cells: NDArray[np.uint8],
    until: int,
    criteria: Criteria,
) -> tuple[RhythmState, NDArray[np.uint8], Episodes]:
    """Fold beats and cells up to ``until`` (grid position).

    Parameters
    ----------
    positions, classes, agreement (per cent), p_wave (per cent, signed) : the beats before ``until`` that
        were not folded yet, ascending.
    cells : the quality cells that were not folded yet; those that end after ``until`` are left for later.

    Returns
    -------
    the new state, the classes after the rules (S in atrial fibrillation becomes N, a beat in noise becomes
    Q), and the episodes that ended.
    """
    after = state.copy()
    polished = classes.copy()
    rows = np.empty((4 * positions.size + 4 * cells.size + len(KINDS) + 8, 3), np.int64)
    count = _fold(
        *after,
        positions,
        polished,
        agreement,
        p_wave,
        cells,
        until,
        _Limits(*msgspec.structs.astuple(criteria)),
        rows,
    )
    ended = rows[:count]
    return after, polished, Episodes(ended[:, 0].copy(), ended[:, 1].copy(), ended[:, 2].copy())


def open_episodes(state: RhythmState) -> list[tuple[Kind, int]]:
    """Kind and onset (grid position) of each episode that has not ended, most urgent first."""
    return [(KINDS[k], int(onset)) for k, onset in enumerate(state.opened[0]) if onset >= 0]


@kernel
def _close(opened, kind, end, rows, n):  # type: ignore[no-untyped-def]
    if opened[0, kind] < 0:
        return n
    rows[n, 0] = kind
    rows[n, 1] = opened[0, kind]
    rows[n, 2] = end
    opened[0, kind] = -1
    opened[1, kind] = end
    return n + 1


@kernel
def _open(opened, kind, onset):  # type: ignore[no-untyped-def]
    """Begin an episode, no earlier than the last of its kind ended."""
    opened[0, kind] = max(onset, opened[1, kind])


@kernel
def _stretch(z, slot, kind, is_so, least_s, start, opened, rows, n):  # type: ignore[no-untyped-def]
    """A technical episode: cells in a row with a property, opened once they last."""
    if is_so:
        if z[slot] < 0:
            z[slot] = start
        if opened[0, kind] < 0 and start + CELL - z[slot] >= least_s * CELL:
            _open(opened, kind, z[slot])
    elif z[slot] >= 0:
        n = _close(opened, kind, start, rows, n)
        z[slot] = -1
    return n


@kernel
def _fold_cell(z, opened, cell, start, c, rows, n):  # type: ignore[no-untyped-def]
    grade = cell & GRADE
    wild = (cell & FIBRILLATION) != 0
    if grade == GRADE and not wild:
        z[_BAD] += 1
    z[_LOUD] += (cell & LOUD) != 0
    if wild:
        z[_WILD] += 1
        z[_VF_NO] = 0
        if z[_VF_YES] == 0 and opened[0, _VF] < 0:
            z[_VF_FIRST] = start
        z[_VF_YES] += 1
        z[_VF_LAST] = start
        if opened[0, _VF] < 0 and z[_VF_YES] >= c.fibrillation_windows:
            _open(opened, _VF, z[_VF_FIRST])
    else:
        z[_VF_YES] = 0
        z[_VF_NO] += 1
        if z[_VF_NO] >= 4:
            n = _close(opened, _VF, z[_VF_LAST] + 4 * CELL, rows, n)
    n = _stretch(z, _OFF_FIRST, _OFF, (cell & LEAD_OFF) != 0, c.lead_off_s, start, opened, rows, n)
    n = _stretch(z, _GAP_FIRST, _GAP, (cell & LOST) != 0, c.gap_s, start, opened, rows, n)
    is_noise = grade == GRADE and (cell & (LEAD_OFF | LOST)) == 0 and not wild
    n = _stretch(z, _NOISE_FIRST, _NOISE, is_noise, c.noise_s, start, opened, rows, n)
    silent = z[_BAD] == 0 and z[_WILD] == 0 and z[_LOUD] <= _T_WAVE_CELLS
    if opened[0, _ASYSTOLE] < 0 and silent and start + CELL - z[_LAST] >= c.asystole_s * CELL:
        _open(opened, _ASYSTOLE, z[_LAST])
    elif opened[0, _ASYSTOLE] >= 0 and (z[_BAD] > 0 or z[_WILD] > 0):
        n = _close(opened, _ASYSTOLE, start, rows, n)
    return n


@kernel
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


@kernel
def _insert(values, count, value):  # type: ignore[no-untyped-def]
    j = count
    while j > 0 and values[j - 1] > value:
        values[j] = values[j - 1]
        j -= 1
    values[j] = value


@kernel
def _irregularity(z, ring, classes, p_wave, sound):  # type: ignore[no-untyped-def]
    """Irregularity and median P-wave likeness over the last beats; (0, 1) when there are too few."""
    steps = np.empty(_AF_INTERVALS, np.int64)
    intervals = np.empty(_AF_INTERVALS, np.int64)
    likeness = np.empty(_AF_INTERVALS + 1, np.int64)
    m = 0
    p = 0
    last = z[_COUNT] - 1
    newest = ring[last % _RING]
    oldest = max(0, z[_COUNT] - _RING) + 2
    j = last
    while j >= oldest and m < _AF_INTERVALS and newest - ring[(j - 2) % _RING] <= _RING_SPAN:
        here, before, earlier = j % _RING, (j - 1) % _RING, (j - 2) % _RING
        if classes[here] != V and p < _AF_INTERVALS:
            _insert(likeness, p, np.int64(p_wave[here]))
            p += 1
        if (
            sound[here]
            and sound[before]
            and classes[here] != V
            and classes[before] != V
            and classes[earlier] != V
        ):
            rr = ring[here] - ring[before]
            _insert(steps, m, abs(rr - (ring[before] - ring[earlier])))
            _insert(intervals, m, rr)
            m += 1
        j -= 1
    if m < _AF_INTERVALS // 2:
        return 0.0, 1.0
    return steps[m // 2] / intervals[m // 2], likeness[p // 2] / 100.0


@kernel
def _half_back(z, ring):  # type: ignore[no-untyped-def]
    """Where the middle of the irregularity window lies: an onset or an end is placed there."""
    back = min(_AF_INTERVALS // 2, z[_COUNT] - 1, _RING - 1)
    return ring[(z[_COUNT] - 1 - back) % _RING]


@kernel
def _mean_rate(z, ring, sound, span_s):  # type: ignore[no-untyped-def]
    """Mean rate over the beats of the last ``span_s`` seconds (or the ring), 0 when they are not sound."""
    last = z[_COUNT] - 1
    newest = ring[last % _RING]
    j = last
    oldest = max(0, z[_COUNT] - _RING + 1)
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


@kernel
def _fold_beat(  # type: ignore[no-untyped-def]
    z, opened, ring, ring_classes, ring_agreement, ring_p, ring_sound, p, raw, agreement, p_wave, c, rows, n
):
    gap = p - z[_LAST]
    previous = z[_LAST]
    readable = z[_BAD] == 0 and z[_WILD] == 0
    silent = z[_LOUD] <= _T_WAVE_CELLS
    is_first = z[_COUNT] == 0
    n = _close(opened, _ASYSTOLE, p, rows, n)
    if readable and silent and not is_first and c.pause_s * CELL <= gap < c.asystole_s * CELL:
        _open(opened, _PAUSE, previous)
        n = _close(opened, _PAUSE, p, rows, n)
    sound = readable and not is_first and gap < c.pause_s * CELL
    slot = z[_COUNT] % _RING
    ring[slot] = p
    ring_agreement[slot] = agreement
    ring_p[slot] = p_wave
    ring_sound[slot] = sound
    ring_classes[slot] = raw
    z[_COUNT] += 1
    z[_LAST] = p
    z[_BAD] = 0
    z[_WILD] = 0
    z[_LOUD] = 0
    last = z[_COUNT] - 1
    # Do these beats look like beats?
    total = 0
    m = 0
    j = last
    while m < _AGREEMENT_BEATS and j >= 0 and m < _RING and p - ring[j % _RING] <= _RING_SPAN:
        total += ring_agreement[j % _RING]
        m += 1
        j -= 1
    trusted = total >= 100.0 * c.agreement_least * m
    irregularity, likeness = _irregularity(z, ring, ring_classes, ring_p, ring_sound)
    fibrillates = (
        trusted and opened[0, _VF] < 0 and irregularity > c.af_irregularity and likeness < c.af_p_wave
    )
    beat = raw
    if not trusted or opened[0, _VF] >= 0 or not readable:
        beat = Q
    elif raw == S and fibrillates:
        beat = N
    # Atrial fibrillation, with hysteresis.
    z[_AF_BEATS] = z[_AF_BEATS] + 1 if fibrillates else 0
    if opened[0, _AF] < 0:
        if z[_AF_BEATS] >= _AF_LEAST:
            _open(opened, _AF, _half_back(z, ring))
    elif irregularity < c.af_irregularity_end or likeness > c.af_p_wave_end:
        n = _close(opened, _AF, max(opened[0, _AF], _half_back(z, ring)), rows, n)
    # Runs of V.
    if beat == V and (z[_V_COUNT] == 0 or sound):
        if z[_V_COUNT] == 0:
            z[_V_FIRST] = p
        z[_V_COUNT] += 1
        if z[_V_COUNT] >= c.run_beats and opened[0, _VRUN] < 0 and opened[0, _VT] < 0:
            _open(opened, _VRUN, z[_V_FIRST])
        if (
            z[_V_COUNT] >= c.vt_beats
            and opened[0, _VT] < 0
            and 60.0 * CELL * (z[_V_COUNT] - 1) > c.vt_bpm * (p - z[_V_FIRST])
        ):
            _open(opened, _VT, z[_V_FIRST])
            opened[0, _VRUN] = -1
    else:
        n = _close(opened, _VT, previous, rows, n)
        n = _close(opened, _VRUN, previous, rows, n)
        z[_V_COUNT] = 1 if beat == V else 0
        z[_V_FIRST] = p
    # Runs of S, and fast narrow beats.
    if beat == S and (z[_S_COUNT] == 0 or sound):
        if z[_S_COUNT] == 0:
            z[_S_FIRST] = p
        z[_S_COUNT] += 1
        if z[_S_COUNT] >= c.run_beats and opened[0, _SRUN] < 0:
            _open(opened, _SRUN, z[_S_FIRST])
    else:
        n = _close(opened, _SRUN, previous, rows, n)
        z[_S_COUNT] = 1 if beat == S else 0
        z[_S_FIRST] = p
    if sound and (beat == N or beat == S) and gap * c.svt_bpm < 60.0 * CELL:
        if z[_FAST_FIRST] < 0:
            z[_FAST_FIRST] = previous
        if opened[0, _SVT] < 0 and p - z[_FAST_FIRST] > c.svt_s * CELL:
            _open(opened, _SVT, z[_FAST_FIRST])
    else:
        n = _close(opened, _SVT, previous, rows, n)
        z[_FAST_FIRST] = -1
    # Rates.
    few = np.int64(c.extreme_bradycardia_beats)
    rate = _rate(z, ring, ring_sound, few) if trusted else 0.0
    if gap < c.asystole_s * CELL or rate > 0:
        if opened[0, _XBRADY] < 0 and 0 < rate < c.extreme_bradycardia_bpm:
            _open(opened, _XBRADY, ring[(last - few) % _RING])
        elif opened[0, _XBRADY] >= 0 and (rate == 0 or rate > 1.1 * c.extreme_bradycardia_bpm):
            n = _close(opened, _XBRADY, p, rows, n)
    many = np.int64(c.extreme_tachycardia_beats)
    rate = _rate(z, ring, ring_sound, many) if trusted and opened[0, _VF] < 0 else 0.0
    if opened[0, _XTACHY] < 0 and rate > c.extreme_tachycardia_bpm and opened[0, _VT] < 0:
        _open(opened, _XTACHY, ring[(last - many) % _RING])
    elif opened[0, _XTACHY] >= 0 and (rate < 0.9 * c.extreme_tachycardia_bpm or opened[0, _VT] >= 0):
        n = _close(opened, _XTACHY, p, rows, n)
    rate, first = _mean_rate(z, ring, ring_sound, c.rate_s)
    rate = rate if trusted else 0.0
    if opened[0, _BRADY] < 0 and 0 < rate < c.bradycardia_bpm:
        _open(opened, _BRADY, first)
    elif opened[0, _BRADY] >= 0 and (rate == 0 or rate > 1.1 * c.bradycardia_bpm):
        n = _close(opened, _BRADY, p, rows, n)
    if opened[0, _TACHY] < 0 and rate > c.tachycardia_bpm:
        _open(opened, _TACHY, first)
    elif opened[0, _TACHY] >= 0 and rate < 0.9 * c.tachycardia_bpm:
        n = _close(opened, _TACHY, p, rows, n)
    # Patterns of N and V; `a`, `b` and `d` are the classes one, two and three beats before.
    ring_classes[slot] = beat if beat != N or raw != S else N
    a = ring_classes[(last - 1) % _RING] if last >= 1 else np.uint8(Q)
    b = ring_classes[(last - 2) % _RING] if last >= 2 else np.uint8(Q)
    d = ring_classes[(last - 3) % _RING] if last >= 3 else np.uint8(Q)
    if sound and ((beat == V and a == N) or (beat == N and a == V)):
        if z[_ALTERNATE] == 0:
            z[_ALT_FIRST] = previous
        z[_ALTERNATE] += 1
        if z[_ALTERNATE] >= 5 and opened[0, _BIGEMINY] < 0:
            _open(opened, _BIGEMINY, z[_ALT_FIRST])
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
        if z[_TRIPLE] >= 6 and opened[0, _TRIGEMINY] < 0:
            _open(opened, _TRIGEMINY, z[_TRIPLE_FIRST])
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
    ring_p,
    ring_sound,
    positions,
    classes,
    agreement,
    p_wave,
    cells,
    until,
    c,
    rows,
):
    n = 0
    k = 0
    s = 0
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
                ring_p,
                ring_sound,
                positions[k],
                classes[k],
                agreement[k],
                p_wave[k],
                c,
                rows,
                n,
            )
            classes[k] = beat
            k += 1
        elif has_cell:
            n = _fold_cell(z, opened, cells[s], z[_CELL] * CELL, c, rows, n)
            z[_CELL] += 1
            s += 1
        else:
            return n
