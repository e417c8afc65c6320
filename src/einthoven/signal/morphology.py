"""What each beat looks like beside its patient's own: the features that its class is told from.

A beat is compared with the *patient context*: the mean calm beat, RR intervals, amplitude and width of
the last three to four minutes, kept per minute of the recording and built causally, beat by beat, in
integers. So a feature depends on at most `CONTEXT_MEMORY` samples before the beat and
`CONTEXT_LAG` after it, and on nothing else.

The features follow the ratios of de Chazal, O'Dwyer and Reilly (IEEE Trans. Biomed. Eng. 51(7), 2004,
doi:10.1109/TBME.2004.827359) and the patient template used by many since. Deviations: one lead; the
patient's RR and template are causal; deflections count in the direction of the patient's own R wave, so
that the lead's polarity does not matter; a beat's prematurity is told against the upper half of four
minutes' intervals, which a run of premature beats does not shift; irregularity is the smallest over
neighbours one, two and three beats apart, so that bigeminy and trigeminy are not taken for fibrillation.

Where most beats are ectopic, or the conduction changes, no interval is the usual one. For such patients
the rhythm is also told by how abruptly it changed, by whether long intervals are whole multiples (block),
and by the P wave: that of a beat, freed from the T wave before it, is compared with the P waves of *late*
beats, which are the sinus node's whoever has the majority.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from einthoven.signal.kernel import kernel, part
from einthoven.signal.resampling import FS, UNITS_PER_MV
from einthoven.signal.selection import EMPTY, SLOTS, select, select_three

__all__ = [
    "AFTER",
    "BEFORE",
    "CONTEXT_LAG",
    "CONTEXT_MEMORY",
    "FEATURES",
    "HISTORY",
    "MINUTE",
    "MINUTES",
    "REACH",
    "SHAPE_FEATURES",
    "Appearance",
    "MinuteBeat",
    "PatientContext",
    "appearance",
    "describe",
    "turn",
]

BEFORE, AFTER = 40, 64
"""Cleaned samples before and after the fiducial that a beat is described by (320 and 512 ms)."""
REACH = BEFORE + 2
"""Cleaned samples before the fiducial that its features need: roughness looks at three in a row."""
MINUTE = 7500
MINUTES = 3
"""Whole minutes kept before the current one."""
CONTEXT_LAG = 188
"""Samples (1.5 s) after a beat in which the next beats are looked for."""
WINDOW = 24
"""Intervals up to a beat's own that make its recent rhythm, as far as they lie within `RECENT`."""
LAGS = 3
"""An interval is compared with those one, two and three before it."""
HISTORY = WINDOW + LAGS + 2
"""Beats kept from earlier calls."""
RECENT = 3750
"""Samples (30 s) before a beat whose intervals make its local rhythm."""
CONTEXT_MEMORY = (MINUTES + 1) * MINUTE + 2 * RECENT
"""Samples before a beat that its features may need."""

_P = np.arange(-31, -8, 2)
_QRS = np.arange(-10, 13)
_T = np.arange(16, 62, 3)
_POINTS = np.concatenate([_P, _QRS, _T]).astype(np.int64)
_SIZE = _POINTS.size
_P_END = _P.size
_QRS_AT, _T_AT = 16, 48
_QRS_END = _QRS_AT + _QRS.size
_SLOT = np.concatenate([np.arange(_P_END), np.arange(_QRS_AT, _QRS_END), np.arange(_T_AT, SLOTS)])
"""In a kernel each point has its slot, and each zone begins with a whole vector; slots between are 0."""
_IS_POINT = np.isin(np.arange(SLOTS), _SLOT)
_STEP = 16
_CALM, _RR_COUNT, _RR_SUM, _AMPLITUDE, _WIDTH, _IRREGULAR = range(6)
_LATE = _IRREGULAR + LAGS
_COUNTS = _LATE + 1
_PAIRS = _P_END // 2
_SHORTEST, _LONGEST = 25, 375
"""An interval counts as 0.2 to 3 s."""
_BINS = 32
_EDGES = np.rint(_SHORTEST * (_LONGEST / _SHORTEST) ** (np.arange(_BINS + 1) / _BINS)).astype(np.int64)
_BIN = np.clip(np.searchsorted(_EDGES, np.arange(_LONGEST + 1), "right") - 1, 0, _BINS - 1).astype(np.int64)
_AROUND = REACH + AFTER + 1
_FLAT = 60.0
"""Square of a P zone that is as good as none (units)."""
_ODD = 0.8
"""A QRS less like the patient's than this is not of its shape."""
_SHARPNESS = 4
"""The template is held in quarters of a unit."""

SHAPE_FEATURES = (
    "pre/local",
    "post/local",
    "pre/patient",
    "post/patient",
    "pre/post",
    "pre2/local",
    "post2/local",
    "local/patient",
    "irregularity",
    "pre/typical",
    "post/typical",
    "pre2/typical",
    "mean3/typical",
    "local/typical",
    "pre/median",
    "pre/lower",
    "pre/upper",
    "pre+post/median",
    "run",
    "run/upper",
    "irregular share",
    "irregular minutes",
    "amplitude/patient",
    "width",
    "width/patient",
    "patient width",
    "spread",
    "corr QRS",
    "corr P",
    "corr T",
    "corr all",
    "dist QRS",
    "dist P",
    "dist T",
    "dist all, own scale",
    "QRS max",
    "QRS min",
    "QRS sum",
    "T sum",
    "P sum",
    "P range",
    "P gain",
    "T gain",
    "T against QRS",
    "slope, patient scale",
    "slope, own scale",
    "path",
    "noise",
    "corr with previous",
    "context",
)
"""What the shape of a beat is told from: ratios of intervals, and likenesses to the patient's beat."""
FEATURES = (
    *SHAPE_FEATURES,
    "pre/long",
    "steady",
    "onset",
    "multiple",
    "common share",
    "late P",
    "bare P",
)
"""Names of the columns that `describe` returns, in order."""


class PatientContext(NamedTuple):
    """What is remembered of a patient's beats; every array is an exact integer sum or mean."""

    frozen: NDArray[np.int16]
    """Mean calm beat of each of the last whole minutes, oldest first; shape (3, 51), units."""
    sums: NDArray[np.int32]
    """Sum over the current minute's calm beats, shape (105,), units."""
    counts: NDArray[np.int32]
    """Per minute, the current one last, shape (9, 4): calm beats, intervals, and sums of their RR, of
    the calm beats' amplitude and width, of intervals unlike the one one, two and three before, and late
    beats."""
    intervals: NDArray[np.int32]
    """How many intervals of each length the same minutes had; shape (4, 32), lengths as `_EDGES`."""
    late: NDArray[np.int32]
    """Mean P zone of each minute's late beats less that of its calm beat, and of the current minute their
    sum, less as often that of the last calm beat; points in pairs, shape (4, 6), units. Differences are
    small numbers, and so take fewer bytes."""
    odd: NDArray[np.int32]
    """Which of the last 24 beats were not shaped like the patient's: one number, the last beat its
    lowest bit."""
    previous: NDArray[np.int16]
    """The QRS of the last described beat, shape (23,), units."""

    def copy(self) -> "PatientContext":
        """A context that may be added to without changing this one."""
        return PatientContext(
            self.frozen.copy(),
            self.sums.copy(),
            self.counts.copy(),
            self.intervals.copy(),
            self.late.copy(),
            self.odd.copy(),
            self.previous.copy(),
        )

    @staticmethod
    def empty() -> "PatientContext":
        """Nothing known of the patient yet."""
        return PatientContext(
            np.zeros((MINUTES, _SIZE), np.int16),
            np.zeros(BEFORE + AFTER + 1, np.int32),
            np.zeros((_COUNTS, MINUTES + 1), np.int32),
            np.zeros((MINUTES + 1, _BINS), np.int32),
            np.zeros((MINUTES + 1, _PAIRS), np.int32),
            np.zeros(1, np.int32),
            np.zeros(_QRS.size, np.int16),
        )


class MinuteBeat(NamedTuple):
    """The mean calm beat of one minute, from which intervals are measured."""

    calm: int
    """How many beats it is the mean of."""
    share: float
    """Share of the minute's beats that these are."""
    rr_ms: float
    """Mean RR of the minute's beats, ms."""
    shape: NDArray[np.float32]
    """`BEFORE` samples before the fiducial to `AFTER` after it, units; shape (105,)."""


def describe(
    cleaned: NDArray[np.int16],
    first: int,
    beats: NDArray[np.int64],
    known: int,
    count: int,
    context: PatientContext,
) -> tuple[NDArray[np.float32], NDArray[np.int32], PatientContext]:
    """Features of ``count`` beats of one minute, from ``beats[known]`` on.

    Parameters
    ----------
    cleaned : shape (n,), units; absolute positions from ``first`` on; reaches `REACH` before and `AFTER`
        after each described beat (what is missing at the ends of the recording counts as 0).
    beats : fiducials, ascending: ``known`` already described, then those to describe, then all that
        follow within `CONTEXT_LAG`.
    context : as left by the call before, or by `turn` where a new minute begins.

    Returns
    -------
    features of shape (count, len(FEATURES)), sizes of shape (count, 2): peak amplitude (units) and width
    (samples), and the context after the last of them.
    """
    features = np.zeros((count, len(FEATURES)), np.float32)
    sizes = np.zeros((count, 2), np.int32)
    if count == 0:
        return features, sizes, context
    after = context.copy()
    _describe(cleaned, first, beats, known, _EDGES, _BIN, *after, features, sizes)
    return features, sizes, after


class Appearance(NamedTuple):
    """What later functions are told of how beats look; each of shape (beats,)."""

    agreement: NDArray[np.uint8]
    """Likeness of the QRS to the patient's, or to the beat before if that is greater; per cent."""
    p_wave: NDArray[np.int8]
    """Likeness of the P zone to the patient's; per cent, signed."""
    widths_ms: NDArray[np.uint16]
    amplitudes_uv: NDArray[np.int32]
    patient_amplitudes: NDArray[np.float64]
    """The patient's QRS amplitude at each beat, units."""


def appearance(features: NDArray[np.float32], sizes: NDArray[np.int32]) -> Appearance:
    """What `describe` found, as later functions are told it."""
    count = len(features)
    told = Appearance(
        np.empty(count, np.uint8),
        np.empty(count, np.int8),
        np.empty(count, np.uint16),
        np.empty(count, np.int32),
        np.empty(count, np.float64),
    )
    _appearance(features, sizes, *told)
    return told


def turn(context: PatientContext) -> tuple[MinuteBeat, PatientContext]:
    """End the current minute: its mean beat, and the context that the next minute begins with."""
    calm = int(context.counts[_CALM, MINUTES])
    rr_count = max(int(context.counts[_RR_COUNT, MINUTES]), 1)
    rr_ms = 1000 / FS * float(context.counts[_RR_SUM, MINUTES]) / rr_count
    shape = np.empty(BEFORE + AFTER + 1, np.float32)
    after = context.copy()
    _turn(after.frozen, after.sums, after.counts, after.intervals, after.late, calm, shape)
    return MinuteBeat(calm, calm / max(rr_count, calm), rr_ms, shape), after


@part
def _pair(beat, i):  # type: ignore[no-untyped-def]
    """Two neighbouring points of a mean beat's P zone, as one."""
    return np.int32(beat[2 * i]) + np.int32(beat[2 * i + 1])


@kernel
def _turn(frozen, sums, counts, intervals, late, calm, shape):  # type: ignore[no-untyped-def]
    lates = counts[_LATE, MINUTES]
    for i in range(_PAIRS):
        late[MINUTES, i] += lates * _pair(frozen[MINUTES - 1], i)
    for m in range(MINUTES):
        if m + 1 < MINUTES:
            frozen[m] = frozen[m + 1]
        counts[:, m] = counts[:, m + 1]
        intervals[m] = intervals[m + 1]
        late[m] = late[m + 1]
    counts[:, MINUTES] = 0
    intervals[MINUTES] = 0
    late[MINUTES] = 0
    for i in range(_SIZE):
        frozen[MINUTES - 1, i] = np.int16(np.rint(sums[_POINTS[i] + BEFORE] / max(calm, 1)))
    for i in range(_PAIRS):
        mean = np.int32(np.rint(late[MINUTES - 1, i] / max(lates, 1)))
        late[MINUTES - 1, i] = mean - _pair(frozen[MINUTES - 1], i)
    for i in range(shape.size):
        shape[i] = sums[i] / max(calm, 1)
    sums[:] = 0


_QRS_LIKENESS = FEATURES.index("corr QRS")
_P_LIKENESS = FEATURES.index("corr P")
_PREVIOUS_LIKENESS = FEATURES.index("corr with previous")
_RELATIVE_AMPLITUDE = FEATURES.index("amplitude/patient")


@kernel
def _appearance(features, sizes, agreement, p_wave, widths_ms, amplitudes_uv, patient_amplitudes):  # type: ignore[no-untyped-def]
    hundred, one = np.float32(100), np.float32(1)
    for k in range(features.shape[0]):
        alike = max(features[k, _QRS_LIKENESS], features[k, _PREVIOUS_LIKENESS])
        agreement[k] = np.uint8(np.rint(hundred * min(max(alike, np.float32(0)), one)))
        p_wave[k] = np.int8(np.rint(hundred * min(max(features[k, _P_LIKENESS], -one), one)))
        amplitudes_uv[k] = sizes[k, 0] * (1000 // UNITS_PER_MV)
        widths_ms[k] = sizes[k, 1] * (1000 // FS)
        patient_amplitudes[k] = sizes[k, 0] / max(np.float64(features[k, _RELATIVE_AMPLITUDE]), 1e-3)


@part
def _tally(a, b, start, count):  # type: ignore[no-untyped-def]
    """Over sixteen slots of ``count`` points: the count, and the sums of a, of b and of their products.

    The products are a b, a a and b b; last comes the sum of |4 a - b|. Integers, so in any order.
    """
    sum_a = sum_b = ab = aa = bb = apart = np.int64(0)
    of_a, of_b = a[start : start + _STEP], b[start : start + _STEP]
    for i in range(_STEP):
        u, v = np.int64(of_a[i]), np.int64(of_b[i])
        sum_a += u
        sum_b += v
        ab += u * v
        aa += u * u
        bb += v * v
        apart += abs(_SHARPNESS * u - v)
    return np.int64(count), sum_a, sum_b, ab, aa, bb, apart


@part
def _sum(one, other):  # type: ignore[no-untyped-def]
    """Of two tallies."""
    return (
        one[0] + other[0],
        one[1] + other[1],
        one[2] + other[2],
        one[3] + other[3],
        one[4] + other[4],
        one[5] + other[5],
        one[6] + other[6],
    )


@part
def _likeness(products):  # type: ignore[no-untyped-def]
    """Correlation coefficient; 0 where one of the two is flat."""
    n, a, b, ab, aa, bb, _ = products
    spread = np.float64(n * aa - a * a) * np.float64(n * bb - b * b)
    return np.float64(n * ab - a * b) / np.sqrt(spread) if spread > 0 else 0.0


@part
def _gain(products, floor):  # type: ignore[no-untyped-def]
    """By how much b must be multiplied to be most like a, -3 to 4; ``floor`` is the noise's share."""
    n, a, b, ab, _, bb, _ = products
    gain = np.float64(n * ab - a * b) / (np.float64(n * bb - b * b) + floor)
    return min(max(gain, -3.0), 4.0)


@part
def _look_around(cleaned, start, out):  # type: ignore[no-untyped-def]
    """The clean samples from ``start`` on; 0 where there is none."""
    if start >= 0 and start + _AROUND <= cleaned.size:
        part = cleaned[start : start + _AROUND]
        for i in range(_AROUND):
            out[i] = part[i]
        return
    for i in range(_AROUND):
        out[i] = cleaned[start + i] if 0 <= start + i < cleaned.size else 0


@part
def _template_of(whole, sums, out):  # type: ignore[no-untyped-def]
    """The sum of all calm beats at each point, from the whole minutes' and the current one's."""
    for i in range(SLOTS):
        out[i] = whole[i]
    for i in range(_SIZE):
        out[_SLOT[i]] += sums[_POINTS[i] + BEFORE]


@part
def _quantile(histogram, edges, total, share):  # type: ignore[no-untyped-def]
    """The interval that this share of all are not longer than; straight inside a bin."""
    wanted = share * total
    below = np.int64(0)
    for i in range(histogram.size):
        here = histogram[i]
        if here > 0 and below + here >= wanted:
            return edges[i] + (wanted - below) / here * (edges[i + 1] - edges[i])
        below += here
    return np.float64(edges[-1])


@part
def _rhythm(recent, pre, post):  # type: ignore[no-untyped-def]
    """Three measures of the intervals before a beat, its own ``pre`` the first of them.

    For how many beats intervals have been alike from one to the next, at most 12; the step by which that
    began, 1 where it does not show; and how far long intervals are on average from twice or three times
    this one.
    """
    steady = np.int64(0)
    while steady + 1 < recent.size and 6 * abs(recent[steady] - recent[steady + 1]) <= recent[steady]:
        steady += 1
    onset = 1.0
    if steady + 1 < recent.size:
        onset = min(recent[steady + 1] / recent[steady], 4.0)
    times = post / pre
    off, longs = 0.25, 1
    if 1.5 < times < 3.5:
        off += abs(times - np.rint(times))
        longs += 1
    for interval in recent[:16]:
        times = interval / pre
        if 1.5 < times < 3.5:
            off += abs(times - np.rint(times))
            longs += 1
    return min(steady, 12), onset, off / longs


@part
def _agreement(own, sums, count):  # type: ignore[no-untyped-def]
    """Likeness of a P zone to the mean of ``count`` others, less where both are flat; 1 without others."""
    if count == 0:
        return 1.0
    n = own.size
    a = b = 0.0
    for i in range(n):
        a += own[i]
        b += sums[i] / count
    ab = aa = bb = 0.0
    for i in range(n):
        u, v = own[i] - a / n, sums[i] / count - b / n
        ab += u * v
        aa += u * u
        bb += v * v
    return ab / np.sqrt((aa + _FLAT) * (bb + _FLAT))


@kernel
def _describe(  # type: ignore[no-untyped-def]
    cleaned,
    first,
    beats,
    known,
    edges,
    bins,
    frozen,
    sums,
    counts,
    intervals,
    late,
    odd_bits,
    previous,
    features,
    sizes,
):
    end = known + features.shape[0]
    around = np.zeros(_AROUND, np.int32)
    shape = np.zeros(SLOTS, np.int32)
    order = np.full(SLOTS, EMPTY, np.int32)
    template = np.zeros(SLOTS, np.int32)
    earlier = np.zeros(SLOTS, np.int32)
    earlier[_QRS_AT:_QRS_END] = previous
    apart = np.empty(SLOTS, np.float64)
    some = np.full(SLOTS, EMPTY, np.int32)
    # The intervals, and which are unlike the one one, two and three before.
    rr = np.zeros(end, np.int32)
    odd = np.zeros(end, np.int32)
    for k in range(max(0, known - WINDOW), known):
        odd[k] = (odd_bits[0] >> (known - 1 - k)) & 1
    recent = np.zeros(WINDOW, np.int32)
    unlike = np.zeros((end, LAGS), np.int32)
    for k in range(1, end):
        rr[k] = min(max(beats[k] - beats[k - 1], _SHORTEST), _LONGEST)
        for lag in range(1, LAGS + 1):
            if k > lag and beats[k] - beats[k - lag - 1] < RECENT:
                unlike[k, lag - 1] = 12 * abs(rr[k] - rr[k - lag]) > rr[k]
    # What the minutes say, and the whole ones' part of the template.
    known_minutes = np.zeros(_COUNTS, np.int64)
    histogram = np.zeros(_BINS, np.int64)
    whole = np.zeros(SLOTS, np.int64)
    bare = np.zeros(SLOTS, np.int32)
    late_p, own_p = np.zeros(_PAIRS, np.int64), np.zeros(_PAIRS, np.int64)
    for m in range(MINUTES + 1):
        for i in range(_COUNTS):
            known_minutes[i] += counts[i, m]
        for i in range(_BINS):
            histogram[i] += intervals[m, i]
        for i in range(_PAIRS):
            beside = np.int64(_pair(frozen[min(m, MINUTES - 1)], i))
            times = np.int64(counts[_LATE, m] if m < MINUTES else 1)
            late_p[i] += times * late[m, i] + np.int64(counts[_LATE, m]) * beside
        if m < MINUTES and counts[_CALM, m] > 0:
            for i in range(_SIZE):
                whole[_SLOT[i]] += np.int64(counts[_CALM, m]) * frozen[m, i]
    of_calm = np.empty(SLOTS, np.int64)
    _template_of(whole, sums, of_calm)
    window = np.full(SLOTS, EMPTY, np.int32)
    in_window = np.int64(0)
    begin = max(1, known)
    since = begin
    irregular = np.zeros(LAGS, np.int64)
    while (
        since > 1 and known < end and known - since < WINDOW - 1 and beats[known] - beats[since - 2] < RECENT
    ):
        since -= 1
        window[since % SLOTS] = rr[since]
        in_window += 1
        for lag in range(LAGS):
            irregular[lag] += unlike[since, lag]
    for k in range(known, end):
        p = beats[k]
        # The beat itself.
        _look_around(cleaned, p - REACH - first, around)
        for i in range(_P_END):
            order[i] = around[REACH + _P[0] + 2 * i]
        for i in range(_QRS.size):
            order[_QRS_AT + i] = around[REACH + _QRS[0] + i]
        for i in range(_T.size):
            order[_T_AT + i] = around[REACH + _T[0] + 3 * i]
        base = select(order, _SIZE // 2, -(1 << 15), 16)
        amplitude = np.int32(1)
        for i in range(SLOTS):
            moved = min(max(np.int32(order[i] - base), np.int32(-32767)), np.int32(32767))
            shape[i] = moved if _IS_POINT[i] else 0
        for i in range(_QRS_AT, _QRS_END):
            amplitude = max(amplitude, abs(shape[i]))
        width = 0
        for i in range(_QRS_AT, _QRS_END):
            width += 10 * abs(shape[i]) > 3 * amplitude
        # Its intervals, in samples.
        if k > 0:
            window[k % SLOTS] = rr[k]
            in_window += 1
            for lag in range(LAGS):
                irregular[lag] += unlike[k, lag]
        while since <= k and (k - since >= WINDOW or p - beats[since - 1] >= RECENT):
            window[since % SLOTS] = EMPTY
            in_window -= 1
            for lag in range(LAGS):
                irregular[lag] -= unlike[since, lag]
            since += 1
        rr_count = known_minutes[_RR_COUNT]
        patient = known_minutes[_RR_SUM] / rr_count if rr_count > 0 else 100.0
        has_pre = in_window > 0
        total = 0
        m = min(in_window, 10)
        for j in range(k, k - m, -1):
            total += rr[j]
        local = total / m if has_pre else patient
        pre = np.float64(rr[k]) if has_pre else patient
        pre2 = np.float64(rr[k - 1]) if in_window > 1 else pre
        pre3 = np.float64(rr[k - 2]) if in_window > 2 else pre2
        post = np.float64(CONTEXT_LAG)
        post2 = local
        if k + 1 < beats.size and beats[k + 1] - p <= CONTEXT_LAG:
            post = np.float64(max(beats[k + 1] - p, _SHORTEST))
            if k + 2 < beats.size and beats[k + 2] - p <= CONTEXT_LAG:
                post2 = np.float64(max(beats[k + 2] - beats[k + 1], _SHORTEST))
        if has_pre:
            counts[_RR_COUNT, MINUTES] += 1
            counts[_RR_SUM, MINUTES] += rr[k]
            intervals[MINUTES, bins[rr[k]]] += 1
            known_minutes[_RR_COUNT] += 1
            known_minutes[_RR_SUM] += rr[k]
            histogram[bins[rr[k]]] += 1
            for lag in range(LAGS):
                counts[_IRREGULAR + lag, MINUTES] += unlike[k, lag]
                known_minutes[_IRREGULAR + lag] += unlike[k, lag]
            typical = _quantile(histogram, edges, known_minutes[_RR_COUNT], 0.6)
            long = _quantile(histogram, edges, known_minutes[_RR_COUNT], 0.9)
            low_rr, middle_rr, high_rr = select_three(
                window, (in_window // 4, in_window // 2, 3 * in_window // 4), 9
            )
            lower, middle, upper = np.float64(low_rr), np.float64(middle_rr), np.float64(high_rr)
        else:
            typical = lower = middle = upper = long = patient
        m = min(in_window, 16 + 1) - 1
        some[:16] = EMPTY
        for j in range(m):
            some[j] = abs(rr[k - j] - rr[k - j - 1])
        irregularity = select(some, m // 2, 0, 9) / local if m > 2 else 0.0
        run = 0
        run_sum = 0
        while run < min(12, in_window) and rr[k - run] < 0.87 * upper:
            run_sum += rr[k - run]
            run += 1
        share = min(irregular[0], irregular[1], irregular[2]) / max(in_window, 1)
        minutes_share = min(
            known_minutes[_IRREGULAR], known_minutes[_IRREGULAR + 1], known_minutes[_IRREGULAR + 2]
        ) / max(known_minutes[_RR_COUNT], 1)
        # The patient's beat.
        calm = known_minutes[_CALM]
        if calm > 0:
            patient_amplitude = max(known_minutes[_AMPLITUDE] / calm, 1.0)
            patient_width = max(known_minutes[_WIDTH] / calm, 1.0)
            for i in range(SLOTS):
                mean = np.float64(_SHARPNESS * of_calm[i]) / np.float64(calm)
                template[i] = np.int32(np.rint(min(max(mean, -131068.0), 131068.0)))
        else:
            patient_amplitude = np.float64(amplitude)
            patient_width = np.float64(max(width, 1))
            for i in range(SLOTS):
                template[i] = _SHARPNESS * shape[i]
        main = np.int32(0)
        for i in range(_QRS_AT, _QRS_END):
            if abs(template[i]) > abs(main):
                main = template[i]
        scale = 1 / patient_amplitude if main >= 0 else -1 / patient_amplitude
        of_p = _tally(shape, template, 0, _P_END)
        of_qrs = _sum(
            _tally(shape, template, _QRS_AT, _STEP),
            _tally(shape, template, _QRS_AT + _STEP, _QRS.size - _STEP),
        )
        of_t = _tally(shape, template, _T_AT, _T.size)
        odd[k] = _likeness(of_qrs) < _ODD
        of_all = _sum(_sum(of_p, of_qrs), of_t)
        own = 1.0 / (_SHARPNESS * amplitude)
        theirs = 1 / (_SHARPNESS * patient_amplitude)
        for i in range(SLOTS):
            apart[i] = abs(_SHARPNESS * shape[i] * own - template[i] * theirs)
        away = 0.0
        for i in range(_SIZE):
            away += apart[_SLOT[i]]
        high = low = shape[_QRS_AT]
        slope = path = np.int32(0)
        for i in range(_QRS_AT + 1, _QRS_END):
            high = max(high, shape[i])
            low = min(low, shape[i])
            step = abs(shape[i] - shape[i - 1])
            slope = max(slope, step)
            path += step
        if main < 0:
            high, low = low, high
        p_high = p_low = shape[0]
        for i in range(_P_END):
            p_high = max(p_high, shape[i])
            p_low = min(p_low, shape[i])
        # How far its slopes are spread in time, and the roughness of what comes before it.
        moment0 = moment1 = moment2 = np.int64(0)
        for i in range(max(p - 22 - first, 1), min(p + 26 - first, cleaned.size)):
            steep = np.int64(abs(np.int32(cleaned[i]) - np.int32(cleaned[i - 1])))
            at = i - (p - first)
            moment0 += steep
            moment1 += steep * at
            moment2 += steep * at * at
        spread = 0.0
        if moment0 > 0:
            centre = moment1 / moment0
            spread = np.sqrt(max(moment2 / moment0 - centre * centre, 0.0))
        rough = np.int64(0)
        for i in range(max(p - BEFORE - first, 2), min(p - 12 - first, cleaned.size)):
            rough += abs(np.int32(cleaned[i]) - 2 * np.int32(cleaned[i - 1]) + np.int32(cleaned[i - 2]))
        with_previous = _sum(
            _tally(shape, earlier, _QRS_AT, _STEP),
            _tally(shape, earlier, _QRS_AT + _STEP, _QRS.size - _STEP),
        )
        f = features[k - known]
        f[0] = pre / local
        f[1] = post / local
        f[2] = pre / patient
        f[3] = post / patient
        f[4] = pre / post
        f[5] = pre2 / local
        f[6] = post2 / local
        f[7] = local / patient
        f[8] = irregularity
        f[9] = pre / typical
        f[10] = post / typical
        f[11] = pre2 / typical
        f[12] = (pre + pre2 + pre3) / (3 * typical)
        f[13] = local / typical
        f[14] = pre / middle
        f[15] = pre / lower
        f[16] = pre / upper
        f[17] = (pre + min(post, 2 * middle)) / (2 * middle)
        f[18] = run
        f[19] = run_sum / run / upper if run > 0 else 1.0
        f[20] = share
        f[21] = minutes_share
        f[22] = amplitude / patient_amplitude
        f[23] = width
        f[24] = width / patient_width
        f[25] = patient_width
        f[26] = spread
        f[27] = _likeness(of_qrs)
        f[28] = _likeness(of_p)
        f[29] = _likeness(of_t)
        f[30] = _likeness(of_all)
        f[31] = of_qrs[6] * theirs / of_qrs[0]
        f[32] = of_p[6] * theirs / of_p[0]
        f[33] = of_t[6] * theirs / of_t[0]
        f[34] = away / _SIZE
        f[35] = high * scale
        f[36] = low * scale
        f[37] = of_qrs[1] * scale
        f[38] = of_t[1] * scale
        f[39] = of_p[1] * scale
        f[40] = (p_high - p_low) / patient_amplitude
        f[41] = _SHARPNESS * _gain(of_p, 20000.0)
        f[42] = _SHARPNESS * _gain(of_t, 20000.0)
        f[43] = (of_t[1] if of_qrs[1] >= 0 else -of_t[1]) / amplitude
        f[44] = slope / patient_amplitude
        f[45] = slope / amplitude
        f[46] = path / amplitude
        f[47] = rough / (28.0 * amplitude)
        f[48] = _likeness(with_previous)
        f[49] = min(calm, 60) / 60
        # Intervals between beats of the patient's own shape; all where there are hardly any.
        plain = 0
        for j in range(in_window):
            if j == 0 or odd[k - j] + odd[k - j - 1] == 0:
                recent[plain] = rr[k - j]
                plain += 1
        if 5 * plain < in_window:
            plain = in_window
            for j in range(plain):
                recent[j] = rr[k - j]
        commonest = np.int64(0)
        for i in range(histogram.size - 1):
            commonest = max(commonest, histogram[i] + histogram[i + 1])
        f[50] = pre / long
        f[51], f[52], f[53] = _rhythm(recent[:plain], pre, post)
        f[54] = commonest / max(known_minutes[_RR_COUNT], 1)
        # The P zone without the T wave of the beat before, as far as the patient's own tells it.
        for i in range(_P_END):
            bare[i] = shape[i]
            after = rr[k] + _P[i]
            if has_pre and calm > 0 and after < _T[-1]:
                after = max(after - _T[0], 0)
                j, rest = _T_AT + after // 3, after % 3
                tail = ((3 - rest) * template[j] + rest * template[j + 1]) / (3.0 * _SHARPNESS)
                bare[i] -= np.int32(np.rint(tail))
        for i in range(own_p.size):
            own_p[i] = bare[2 * i] + bare[2 * i + 1]
        f[55] = _agreement(own_p, late_p, known_minutes[_LATE])
        f[56] = _likeness(_tally(bare, template, 0, _P_END))
        # Late against the last intervals and as it is, so that what is remembered of a beat depends on half
        # a minute before it and not on minutes.
        if has_pre and pre > 1.2 * lower:
            counts[_LATE, MINUTES] += 1
            known_minutes[_LATE] += 1
            for i in range(own_p.size):
                zone = shape[2 * i] + shape[2 * i + 1]
                late[MINUTES, i] += zone - _pair(frozen[MINUTES - 1], i)
                late_p[i] += zone
        sizes[k - known, 0] = amplitude
        sizes[k - known, 1] = width
        # What the next beats will know of this one.
        is_whole = p - BEFORE >= first
        if is_whole and (not has_pre or 0.85 * local < pre < 1.6 * local):
            counts[_CALM, MINUTES] += 1
            counts[_AMPLITUDE, MINUTES] += amplitude
            counts[_WIDTH, MINUTES] += width
            known_minutes[_CALM] += 1
            known_minutes[_AMPLITUDE] += amplitude
            known_minutes[_WIDTH] += width
            here = min(sums.size, cleaned.size - (p - BEFORE - first))
            for i in range(here):
                sums[i] += np.int32(around[i + REACH - BEFORE] - base)
            _template_of(whole, sums, of_calm)
        for i in range(_QRS_AT, _QRS_END):
            earlier[i] = shape[i]
        odd_bits[0] = ((odd_bits[0] << 1) & ((1 << WINDOW) - 1)) | odd[k]
    for i in range(previous.size):
        previous[i] = earlier[_QRS_AT + i]
