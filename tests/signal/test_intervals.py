"""QRS and QT of a mean beat, rates and variability: measured on shapes and intervals that are known."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.signal.intervals import measure
from einthoven.signal.morphology import AFTER, BEFORE, MinuteBeat
from einthoven.signal.variability import (
    IntervalSums,
    PendingIntervals,
    add_intervals,
    grow_intervals,
    heart_rate,
    rr_intervals,
    variability,
)

X_S = np.arange(-BEFORE, AFTER + 1) / 125


def a_beat(
    *,
    sigma_s: float = 0.012,
    t_at_s: float = 0.28,
    rr_ms: float = 900.0,
    calm: int = 60,
    share: float = 1.0,
) -> MinuteBeat:
    shape = 200 * np.exp(-0.5 * (X_S / sigma_s) ** 2) + 50 * np.exp(-0.5 * ((X_S - t_at_s) / 0.045) ** 2)
    return MinuteBeat(calm, share, rr_ms, shape.astype(np.float32))


def test_a_wider_qrs_measures_wider() -> None:
    narrow, wide = measure(0, a_beat()), measure(0, a_beat(sigma_s=0.03))
    assert narrow.qrs_ms is not None
    assert wide.qrs_ms is not None
    assert 56 <= narrow.qrs_ms <= 96
    assert wide.qrs_ms > narrow.qrs_ms + 40


@pytest.mark.parametrize("t_at_s", [0.24, 0.28, 0.32])
def test_qt_follows_the_t_wave(t_at_s: float) -> None:
    """The tangent meets the line two standard deviations after the peak of a Gaussian."""
    row = measure(0, a_beat(t_at_s=t_at_s))
    assert row.qrs_ms is not None
    assert row.qt_ms == pytest.approx(1000 * (t_at_s + 2 * 0.045) + row.qrs_ms / 2, abs=16)


def test_qtc_is_fridericias_and_none_at_unusual_rates() -> None:
    row = measure(0, a_beat(rr_ms=1000.0))
    assert row.qtc_ms == pytest.approx(row.qt_ms)
    row = measure(0, a_beat(rr_ms=729.0))
    assert row.qt_ms is not None
    assert row.qtc_ms == pytest.approx(row.qt_ms / 0.9)
    assert measure(0, a_beat(rr_ms=1600.0)).qtc_ms is None


def test_too_few_beats_a_flat_t_or_a_t_past_the_next_beat_measure_nothing() -> None:
    assert measure(0, a_beat(calm=5)).qrs_ms is None
    flat = MinuteBeat(60, 1.0, 900.0, (200 * np.exp(-0.5 * (X_S / 0.012) ** 2)).astype(np.float32))
    assert measure(0, flat).qrs_ms is not None
    assert measure(0, flat).qt_ms is None
    assert measure(0, a_beat(rr_ms=450.0)).qt_ms is None
    assert measure(0, a_beat(share=0.5)).qt_ms is None


def grid_of(rr_s: list[float]) -> np.ndarray:
    return np.rint(np.cumsum([1.0, *rr_s]) * 125).astype(np.int64)


def test_rates_and_variability_of_a_regular_rhythm() -> None:
    grid = grid_of([0.8] * 99)
    intervals = rr_intervals(grid, np.zeros(100, np.uint8), 0, np.ones(90, np.uint8))
    rate = heart_rate(add_intervals(intervals))
    assert rate.mean == pytest.approx(75)
    assert rate.min == pytest.approx(75)
    assert rate.max == pytest.approx(75)
    hrv = variability(add_intervals(intervals))
    assert hrv.nn_share == 1
    assert hrv.sdnn_ms == pytest.approx(0, abs=1e-6)
    assert hrv.pnn50_percent == 0


def test_alternating_intervals_have_the_rmssd_of_their_step() -> None:
    intervals = rr_intervals(grid_of([0.8, 0.88] * 50), np.zeros(101, np.uint8), 0, np.ones(90, np.uint8))
    hrv = variability(add_intervals(intervals))
    assert hrv.rmssd_ms == pytest.approx(80)
    assert hrv.pnn50_percent == 100
    assert hrv.sdnn_ms == pytest.approx(40, abs=0.5)


def test_ectopic_neighbours_gaps_and_noise_are_left_out_and_said() -> None:
    classes = np.zeros(100, np.uint8)
    classes[50] = 2
    cells = np.ones(90, np.uint8)
    cells[20] = 3
    intervals = rr_intervals(grid_of([0.8] * 99), classes, 0, cells)
    assert not intervals.nn[48:52].any()
    assert 0.9 < variability(add_intervals(intervals)).nn_share < 0.95
    assert not intervals.sound[(intervals.end > 20 * 125) & (intervals.end - intervals.rr < 21 * 125)].any()
    classes[::3] = 2
    assert variability(add_intervals(rr_intervals(grid_of([0.8] * 99), classes, 0, cells))).sdnn_ms is None


def test_no_beats_have_no_rate() -> None:
    nothing = rr_intervals(np.array([5]), np.zeros(1, np.uint8), 0, np.ones(3, np.uint8))
    assert heart_rate(add_intervals(nothing)).mean is None
    assert variability(add_intervals(nothing)).mean_nn_ms is None


@given(
    steps=st.lists(st.integers(20, 420), min_size=2, max_size=80),
    seed=st.integers(0, 999),
)
def test_rates_and_variability_are_their_definitions(steps: list[int], seed: int) -> None:
    """The compiled loops against the definitions, written with NumPy."""
    rng = np.random.default_rng(seed)
    grid = 37_000 + np.cumsum(np.array(steps, np.int64))
    classes = np.where(rng.random(grid.size) < 0.9, 0, 2).astype(np.uint8)
    cells = np.full(grid[-1] // 125 + 1, 1, np.uint8)
    found = rr_intervals(grid, classes, 0, cells)
    rr_s = np.diff(grid) / 125
    np.testing.assert_array_equal(found.rr_s, rr_s)
    np.testing.assert_array_equal(found.sound, rr_s < 3)
    pairs = (classes[1:] == 0) & (classes[:-1] == 0)
    calm = pairs & np.r_[True, pairs[:-1]] & np.r_[pairs[1:], True]
    np.testing.assert_array_equal(found.nn, calm & (rr_s >= 0.3) & (rr_s <= 2.0))
    rate = heart_rate(add_intervals(found))
    sound = rr_s[found.sound]
    if sound.size:
        assert rate.mean == pytest.approx(60 / sound.mean())
    measured = variability(add_intervals(found))
    nn_ms = 1000 * rr_s[found.nn]
    if nn_ms.size < max(0.8 * rr_s.size, 2):
        assert measured.sdnn_ms is None
        return
    differences = 1000 * np.diff(rr_s)[found.nn[1:] & found.nn[:-1]]
    means = [
        nn_ms[found.end[found.nn] // 37_500 == piece].mean() for piece in set(found.end[found.nn] // 37_500)
    ]
    assert measured.mean_nn_ms == pytest.approx(nn_ms.mean())
    assert measured.sdnn_ms == pytest.approx(nn_ms.std(ddof=1), abs=1e-6)
    assert measured.rmssd_ms == (
        pytest.approx(np.sqrt(np.mean(differences**2))) if differences.size else None
    )
    assert measured.pnn50_percent == (
        pytest.approx(100 * np.mean(np.abs(differences) > 50)) if differences.size else None
    )
    assert measured.sdann_ms == (pytest.approx(np.std(means, ddof=1), abs=1e-5) if len(means) > 1 else None)


@given(
    steps=st.lists(st.integers(20, 420), min_size=0, max_size=80),
    cuts_s=st.lists(st.integers(0, 60), max_size=8),
    seed=st.integers(0, 999),
)
def test_intervals_that_grow_are_those_of_the_whole_and_so_are_their_sums(
    steps: list[int], cuts_s: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    grid = 37_400 + np.cumsum(np.array(steps, np.int64))
    classes = rng.choice(np.array([0, 0, 0, 0, 0, 0, 0, 0, 2, 4], np.uint8), grid.size)
    first_cell = 290
    count = int(grid[-1] // 125) + 1 - first_cell if grid.size else 10
    cells = rng.choice(np.array([1, 1, 1, 1, 1, 1, 2, 3], np.uint16), count)
    whole = rr_intervals(grid, classes, first_cell, cells)
    pending, sums, parts = PendingIntervals.at(first_cell), IntervalSums.none(), []
    edges = [0, *sorted(min(cut, count) for cut in cuts_s), count]
    beat = 0
    for number, (start, stop) in enumerate(pairwise(edges)):
        is_last = number == len(edges) - 2
        # The beats of a span are those before its end; some lie in a second that is not known yet.
        until = (
            beat
            if rng.random() < 0.2 and not is_last
            else int(np.searchsorted(grid, (first_cell + stop) * 125 + int(rng.integers(0, 125))))
        )
        until = grid.size if is_last else max(beat, until)
        pending, found = grow_intervals(
            pending, grid[beat:until], classes[beat:until], cells[start:stop], is_last=is_last
        )
        beat = until
        sums = add_intervals(found, sums)
        parts.append(found)
    for column in range(4):
        np.testing.assert_array_equal(np.concatenate([part[column] for part in parts]), whole[column])
    at_once = add_intervals(whole)
    assert heart_rate(sums) == heart_rate(at_once)
    assert variability(sums) == variability(at_once)
