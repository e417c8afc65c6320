"""What each beat looks like beside its patient's own: the features that its class is told from.

A beat is compared with the *patient context*: the mean calm beat, RR interval, amplitude and width of
the last three to four minutes, kept per minute of the recording and built causally, beat by beat, in
integers. So a feature depends on at most `CONTEXT_MEMORY` samples before the beat and
`CONTEXT_LAG` after it, and on nothing else.

The features follow the ratios of de Chazal, O'Dwyer and Reilly (IEEE Trans. Biomed. Eng. 51(7), 2004,
doi:10.1109/TBME.2004.827359) and the patient template used by many since; deviations: one lead; the
patient's mean RR and template are causal; every ratio is bounded.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from einthoven.signal.kernel import kernel
from einthoven.signal.resampling import FS

__all__ = [
    "AFTER",
    "BEFORE",
    "CONTEXT_LAG",
    "CONTEXT_MEMORY",
    "FEATURES",
    "HISTORY",
    "MINUTE",
    "MinuteBeat",
    "PatientContext",
    "describe",
    "turn",
]

BEFORE, AFTER = 40, 64
"""Cleaned samples before and after the fiducial that a beat is described by (320 and 512 ms)."""
MINUTE = 7500
MINUTES = 3
"""Whole minutes kept before the current one."""
CONTEXT_LAG = 188
"""Samples (1.5 s) after a beat in which the next beats are looked for."""
HISTORY = 18
"""Beats kept from earlier calls."""
RECENT = 3750
"""Samples (30 s) before a beat whose intervals make its local rhythm."""
CONTEXT_MEMORY = (MINUTES + 1) * MINUTE + RECENT
"""Samples before a beat that its features may need."""

_P = np.arange(-31, -8, 2)
_QRS = np.arange(-10, 13)
_T = np.arange(16, 62, 3)
_POINTS = np.concatenate([_P, _QRS, _T]).astype(np.int64)
_P_END = _P.size
_QRS_END = _P.size + _QRS.size
_SIZE = _POINTS.size
_CALM, _RR_COUNT, _RR_SUM, _AMPLITUDE, _WIDTH = range(5)

FEATURES = (
    "pre/local",
    "post/local",
    "pre/patient",
    "post/patient",
    "pre/post",
    "pre2/local",
    "post2/local",
    "pre/median7",
    "local/patient",
    "irregularity",
    "amplitude/patient",
    "width",
    "width/patient",
    "corr QRS",
    "corr P",
    "corr T",
    "corr all",
    "dist QRS",
    "dist P",
    "dist T",
    "QRS max",
    "QRS min",
    "QRS sum",
    "T sum",
    "P range",
    "P sum",
    "slope, patient scale",
    "slope, own scale",
    "corr with previous",
    "context",
)
"""Names of the columns that `describe` returns, in order."""


class PatientContext(NamedTuple):
    """What is remembered of a patient's beats; every array is an exact integer sum or mean."""

    frozen: NDArray[np.int16]
    """Mean calm beat of each of the last whole minutes, oldest first; shape (3, 51), units."""
    sums: NDArray[np.int32]
    """Sum over the current minute's calm beats, shape (105,), units."""
    counts: NDArray[np.int32]
    """Calm beats, RR count, RR sum, amplitude sum, width sum; shape (4, 5), the current minute last."""
    previous: NDArray[np.int16]
    """The last described beat, shape (51,), units."""

    def copy(self) -> "PatientContext":
        """A context that may be added to without changing this one."""
        return PatientContext(self.frozen.copy(), self.sums.copy(), self.counts.copy(), self.previous.copy())

    @staticmethod
    def empty() -> "PatientContext":
        """Nothing known of the patient yet."""
        return PatientContext(
            np.zeros((MINUTES, _SIZE), np.int16),
            np.zeros(BEFORE + AFTER + 1, np.int32),
            np.zeros((MINUTES + 1, 5), np.int32),
            np.zeros(_SIZE, np.int16),
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
    cleaned : shape (n,), units; absolute positions from ``first`` on; reaches `BEFORE` before and `AFTER`
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
    _describe(cleaned, first, beats, known, _POINTS, *after, features, sizes)
    return features, sizes, after


def turn(context: PatientContext) -> tuple[MinuteBeat, PatientContext]:
    """End the current minute: its mean beat, and the context that the next minute begins with."""
    calm = int(context.counts[MINUTES, _CALM])
    rr_count = max(int(context.counts[MINUTES, _RR_COUNT]), 1)
    rr_ms = 1000 / FS * float(context.counts[MINUTES, _RR_SUM]) / rr_count
    shape = context.sums / np.float64(max(calm, 1))
    frozen = np.empty_like(context.frozen)
    frozen[:-1] = context.frozen[1:]
    frozen[-1] = np.rint(shape[_POINTS + BEFORE]).astype(np.int16)
    counts = np.zeros_like(context.counts)
    counts[:-1] = context.counts[1:]
    return (
        MinuteBeat(calm, calm / max(rr_count, calm), rr_ms, shape.astype(np.float32)),
        PatientContext(frozen, np.zeros_like(context.sums), counts, context.previous),
    )


@kernel
def _correlation(a, b, start, stop):  # type: ignore[no-untyped-def]
    n = stop - start
    mean_a = mean_b = 0.0
    for i in range(start, stop):
        mean_a += a[i]
        mean_b += b[i]
    mean_a /= n
    mean_b /= n
    ab = aa = bb = 0.0
    for i in range(start, stop):
        u = a[i] - mean_a
        v = b[i] - mean_b
        ab += u * v
        aa += u * u
        bb += v * v
    return ab / np.sqrt(aa * bb + 1e-3)


@kernel
def _median(values, count):  # type: ignore[no-untyped-def]
    """Upper median of the first ``count`` values, sorting them in place."""
    for i in range(1, count):
        v = values[i]
        j = i
        while j > 0 and values[j - 1] > v:
            values[j] = values[j - 1]
            j -= 1
        values[j] = v
    return values[count // 2]


@kernel
def _describe(  # type: ignore[no-untyped-def]
    cleaned, first, beats, known, points, frozen, sums, counts, previous, features, sizes
):
    size = points.size
    shape = np.empty(size, np.int32)
    order = np.empty(size, np.int32)
    template = np.empty(size, np.float64)
    own = np.empty(size, np.float64)
    scaled = np.empty(size, np.float64)
    last = np.empty(size, np.float64)
    some = np.empty(16, np.float64)
    for k in range(known, known + features.shape[0]):
        p = beats[k]
        # The beat itself.
        for i in range(size):
            at = p + points[i] - first
            shape[i] = cleaned[at] if 0 <= at < cleaned.size else 0
            order[i] = shape[i]
        base = _median(order, size)
        amplitude = np.int32(1)
        for i in range(size):
            shape[i] -= base
        for i in range(_P_END, _QRS_END):
            amplitude = max(amplitude, abs(shape[i]))
        width = 0
        for i in range(_P_END, _QRS_END):
            if 10 * abs(shape[i]) > 3 * amplitude:
                width += 1
        # Its intervals, in samples; an interval counts as 0.2 to 3 s.
        calm = rr_count = rr_sum = amplitude_sum = width_sum = 0
        for m in range(MINUTES + 1):
            calm += counts[m, _CALM]
            rr_count += counts[m, _RR_COUNT]
            rr_sum += counts[m, _RR_SUM]
            amplitude_sum += counts[m, _AMPLITUDE]
            width_sum += counts[m, _WIDTH]
        m = 0
        local = 0.0
        j = k
        while j > 0 and m < 10 and p - beats[j - 1] < RECENT:
            some[m] = min(max(beats[j] - beats[j - 1], 25), 375)
            local += some[m]
            m += 1
            j -= 1
        has_pre = m > 0
        patient = rr_sum / rr_count if rr_count > 0 else 100.0
        local = local / m if m > 0 else patient
        pre = some[0] if m > 0 else patient
        pre2 = some[1] if m > 1 else pre
        median7 = _median(some, min(m, 7)) if m > 0 else patient
        post = np.float64(CONTEXT_LAG)
        post2 = local
        if k + 1 < beats.size and beats[k + 1] - p <= CONTEXT_LAG:
            post = np.float64(max(beats[k + 1] - p, 25))
            if k + 2 < beats.size and beats[k + 2] - p <= CONTEXT_LAG:
                post2 = np.float64(max(beats[k + 2] - beats[k + 1], 25))
        m = 0
        j = k
        while j > 1 and m < 16 and p - beats[j - 2] < RECENT:
            some[m] = abs(min(beats[j] - beats[j - 1], 375) - min(beats[j - 1] - beats[j - 2], 375))
            m += 1
            j -= 1
        irregularity = _median(some, m) / local if m > 2 else 0.0
        # The patient's beat.
        if calm > 0:
            patient_amplitude = max(amplitude_sum / calm, 1.0)
            patient_width = max(width_sum / calm, 1.0)
            for i in range(size):
                total = np.float64(sums[points[i] + BEFORE])
                for m in range(MINUTES):
                    total += np.float64(counts[m, _CALM]) * frozen[m, i]
                template[i] = total / calm / patient_amplitude
        else:
            patient_amplitude = np.float64(amplitude)
            patient_width = np.float64(max(width, 1))
            for i in range(size):
                template[i] = shape[i] / patient_amplitude
        for i in range(size):
            own[i] = shape[i]
            scaled[i] = shape[i] / patient_amplitude
            last[i] = previous[i]
        f = features[k - known]
        f[0] = pre / local
        f[1] = post / local
        f[2] = pre / patient
        f[3] = post / patient
        f[4] = pre / post
        f[5] = pre2 / local
        f[6] = post2 / local
        f[7] = pre / median7
        f[8] = local / patient
        f[9] = irregularity
        f[10] = amplitude / patient_amplitude
        f[11] = width
        f[12] = width / patient_width
        f[13] = _correlation(own, template, _P_END, _QRS_END)
        f[14] = _correlation(own, template, 0, _P_END)
        f[15] = _correlation(own, template, _QRS_END, size)
        f[16] = _correlation(own, template, 0, size)
        for zone in range(3):
            start = 0 if zone == 1 else (_P_END if zone == 0 else _QRS_END)
            stop = _QRS_END if zone == 0 else (_P_END if zone == 1 else size)
            distance = 0.0
            for i in range(start, stop):
                distance += abs(scaled[i] - template[i])
            f[17 + zone] = distance / (stop - start)
        high = low = scaled[_P_END]
        total = 0.0
        slope = 0.0
        for i in range(_P_END, _QRS_END):
            high = max(high, scaled[i])
            low = min(low, scaled[i])
            total += scaled[i]
            if i > _P_END:
                slope = max(slope, abs(scaled[i] - scaled[i - 1]))
        f[20] = high
        f[21] = low
        f[22] = total
        total = 0.0
        for i in range(_QRS_END, size):
            total += scaled[i]
        f[23] = total
        high = low = scaled[0]
        total = 0.0
        for i in range(_P_END):
            high = max(high, scaled[i])
            low = min(low, scaled[i])
            total += scaled[i]
        f[24] = high - low
        f[25] = total
        f[26] = slope
        f[27] = slope * patient_amplitude / amplitude
        f[28] = _correlation(own, last, _P_END, _QRS_END)
        f[29] = min(calm, 60) / 60
        sizes[k - known, 0] = amplitude
        sizes[k - known, 1] = width
        # What the next beats will know of this one.
        if has_pre:
            counts[MINUTES, _RR_COUNT] += 1
            counts[MINUTES, _RR_SUM] += np.int32(pre)
        is_whole = p - BEFORE >= first
        if is_whole and (not has_pre or 0.85 * local < pre < 1.6 * local):
            counts[MINUTES, _CALM] += 1
            counts[MINUTES, _AMPLITUDE] += amplitude
            counts[MINUTES, _WIDTH] += width
            for i in range(sums.size):
                at = p + i - BEFORE - first
                if 0 <= at < cleaned.size:
                    sums[i] += cleaned[at] - base
        for i in range(size):
            previous[i] = min(max(shape[i], -32767), 32767)
