"""Features: what they depend on, what they do not, and what they say of known rhythms."""

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from einthoven.signal.learning import RHYTHM_FEATURES
from einthoven.signal.morphology import (
    CONTEXT_MEMORY,
    FEATURES,
    HISTORY,
    MINUTE,
    RECENT,
    PatientContext,
    describe,
    turn,
)

COLUMN = {name: number for number, name in enumerate(FEATURES)}
GOLDEN = "da8b4a6b59e3cd9523724fbe8adc7ac4dba94c44e5d828ffdd54ab62c524cac2"
"""SHA-256 of the features below, rounded to 32 bits: another value means that a feature changed."""


def a_signal(intervals: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Clean samples with a beat after each interval (samples), every shape a little different."""
    rng = np.random.default_rng(seed)
    beats = np.cumsum(np.array([60, *intervals]))
    signal = rng.integers(-4, 5, beats[-1] + 300)
    for p in beats.tolist():
        signal[p - 3 : p + 4] += np.array([-20, 60, 150, 230, 140, -50, -30]) + rng.integers(-5, 6, 7)
        signal[p - 24 : p - 14] += 15
        signal[p + 25 : p + 45] += 40
    return signal.astype(np.int16), beats


def described(signal: np.ndarray, beats: np.ndarray) -> np.ndarray:
    """Features of all beats, minute by minute."""
    context = PatientContext.empty()
    rows, known, minute = [], 0, 0
    while known < beats.size:
        count = int(np.searchsorted(beats, (minute + 1) * MINUTE)) - known
        features, _, context = describe(signal, 0, beats, known, count, context)
        rows.append(features)
        known += count
        minute += 1
        _, context = turn(context)
    return np.concatenate(rows)


def an_irregular_rhythm(count: int = 150) -> list[int]:
    return np.random.default_rng(5).integers(45, 140, count).tolist()


def test_every_feature_has_its_own_name_and_is_finite() -> None:
    features = described(*a_signal(an_irregular_rhythm()))
    assert len(set(FEATURES)) == len(FEATURES) == features.shape[1]
    assert np.isfinite(features).all()
    assert set(RHYTHM_FEATURES) <= set(FEATURES)


def test_features_are_what_they_were() -> None:
    features = described(*a_signal(an_irregular_rhythm()))
    assert hashlib.sha256(features.astype("<f4").tobytes()).hexdigest() == GOLDEN


@given(cut=st.integers(1, 149))
def test_beats_are_described_in_two_calls_as_in_one(cut: int) -> None:
    """All that a call needs of earlier ones is the context and the last `HISTORY` beats."""
    signal, beats = a_signal([70] * 20 + an_irregular_rhythm(60))
    beats = beats[beats < MINUTE]
    cut = min(cut, beats.size - 1)
    whole, _, end = describe(signal, 0, beats, 0, beats.size, PatientContext.empty())
    first, _, between = describe(signal, 0, beats, 0, cut, PatientContext.empty())
    kept = max(0, cut - HISTORY)
    second, _, other_end = describe(signal, 0, beats[kept:], cut - kept, beats.size - cut, between)
    np.testing.assert_array_equal(whole, np.concatenate((first, second)))
    for one, other in zip(end, other_end, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_beat_depends_on_the_memory_and_on_nothing_before_it() -> None:
    rhythm = an_irregular_rhythm(500)
    signal, beats = a_signal(rhythm)
    features = described(signal, beats)
    late = int(np.searchsorted(beats, CONTEXT_MEMORY + MINUTE))
    other = signal.copy()
    gone = int(beats[late] - CONTEXT_MEMORY) // MINUTE * MINUTE
    other[: gone - MINUTE // 2] = 0
    moved = beats[beats >= gone - RECENT]
    np.testing.assert_array_equal(described(other, moved)[-(beats.size - late) :], features[late:])


def test_an_inverted_lead_has_the_same_features() -> None:
    signal, beats = a_signal(an_irregular_rhythm())
    np.testing.assert_array_equal(described(-signal, beats), described(signal, beats))


def test_an_early_beat_is_early_against_what_is_typical_of_the_patient() -> None:
    features = described(*a_signal([100] * 50 + [70, 130] + [100] * 20))
    early = features[51]
    assert 0.65 < early[COLUMN["pre/typical"]] < 0.75
    assert early[COLUMN["post/typical"]] > 1.2
    assert 0.95 < features[40, COLUMN["pre/typical"]] < 1.05


def test_a_run_of_early_beats_stays_early() -> None:
    """The local rhythm follows the run at once; what is typical does not, for as long as a minute."""
    features = described(*a_signal([100] * 150 + [65] * 60))
    last = features[-1]
    assert last[COLUMN["pre/local"]] > 0.99
    assert last[COLUMN["pre/typical"]] < 0.75


def test_bigeminy_and_trigeminy_are_not_irregular_and_fibrillation_is() -> None:
    for rhythm in ([60, 140] * 40, [60, 130, 100] * 27):
        last = described(*a_signal(rhythm))[-1]
        assert last[COLUMN["irregular share"]] == 0
        assert last[COLUMN["irregular minutes"]] < 0.05
    last = described(*a_signal(an_irregular_rhythm()))[-1]
    assert last[COLUMN["irregular share"]] > 0.4
    assert last[COLUMN["irregular minutes"]] > 0.4


def test_an_absent_p_wave_has_no_gain() -> None:
    signal, beats = a_signal([100] * 60)
    for p in beats[40:].tolist():
        signal[p - 24 : p - 14] -= 15
    features = described(signal, beats)
    assert features[35, COLUMN["P gain"]] > 0.7
    assert abs(features[41, COLUMN["P gain"]]) < 0.3


def test_a_run_begins_with_a_step_and_a_faster_sinus_rhythm_without_one() -> None:
    run = described(*a_signal([100] * 30 + [60] * 6))[-1]
    assert run[COLUMN["steady"]] == 5
    assert run[COLUMN["onset"]] > 1.5
    ramp = described(*a_signal([100 - k for k in range(40)]))[-1]
    assert ramp[COLUMN["steady"]] == 12
    assert ramp[COLUMN["onset"]] == 1


def test_in_block_long_intervals_are_whole_multiples() -> None:
    block = described(*a_signal([80, 160, 80, 80, 160, 80] * 6))[-1]
    pauses = described(*a_signal([80, 125, 80, 80, 200, 80] * 6))[-1]
    assert block[COLUMN["multiple"]] < 0.1
    assert pauses[COLUMN["multiple"]] > 0.3


def test_a_ventricular_pause_is_no_sign_of_block() -> None:
    """Intervals at beats of another shape do not count."""
    signal, beats = a_signal(([80] * 5 + [50, 160]) * 8)
    plain = described(signal, beats)
    for p in beats[6::7].tolist():
        signal[p - 10 : p + 13] = np.concatenate((np.arange(0, -240, -20), np.arange(-220, 0, 20)))
    assert described(signal, beats)[-3, COLUMN["multiple"]] > plain[-3, COLUMN["multiple"]] + 0.05


def test_where_most_beats_are_ectopic_the_late_ones_show_the_sinus_p_wave() -> None:
    """Runs at 60 with an inverted P wave, one or two sinus beats after each: the majority is not normal."""
    rhythm = ([60] * 8 + [130, 110]) * 10
    signal, beats = a_signal(rhythm)
    ectopic = np.array([False] + [interval == 60 for interval in rhythm])
    for p in beats[ectopic].tolist():
        signal[p - 24 : p - 14] -= 45
    features = described(signal, beats)[60:]
    late, ectopic = features[:, COLUMN["late P"]], ectopic[60:]
    assert late[~ectopic].min() > 0.8
    assert late[ectopic].max() < 0


def test_a_t_wave_is_no_p_wave() -> None:
    """A beat without a P wave, so early that the T wave before it lies where its P wave would be."""
    signal, beats = a_signal([100] * 40 + [55] + [100] * 3)
    early = int(beats[41])
    signal[early - 24 : early - 14] -= 15
    features = described(signal, beats)[41]
    assert abs(features[COLUMN["bare P"]]) < 0.6
    assert features[COLUMN["late P"]] == 1


def test_no_beats_give_no_features() -> None:
    context = PatientContext.empty()
    features, sizes, after = describe(np.zeros(10, np.int16), 0, np.empty(0, np.int64), 0, 0, context)
    assert features.shape == (0, len(FEATURES))
    assert sizes.shape == (0, 2)
    assert after is context
