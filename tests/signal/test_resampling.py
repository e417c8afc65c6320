"""The 125-Hz grid: faithful in the pass band, and the same however the signal is cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.signal.recording import Lead
from einthoven.signal.resampling import (
    fill,
    grid_length,
    lost_on_grid,
    ratio_of,
    resample,
    source_position,
    source_positions,
)

LOST = np.iinfo(np.int32).min
RATES = [50.0, 64.0, 96.0, 125.0, 128.0, 200.0, 250.0, 256.0, 300.0, 333.33, 360.0, 500.0, 1000.0]


def fine_units(counts: np.ndarray, lead: Lead) -> np.ndarray:
    return fill(counts, lead, 0, 0, 1)[0]


def whole(counts: np.ndarray, fs: float) -> np.ndarray:
    ratio = ratio_of(fs)
    fine = np.pad(fine_units(counts.astype(np.int32), Lead("I", 200.0, 0)), ratio.half, mode="edge")
    return resample(fine, -ratio.half, 0, grid_length(counts.size, ratio), ratio)


@pytest.mark.parametrize("fs", RATES)
@pytest.mark.parametrize("hz", [1.0, 10.0, 18.0])
def test_a_tone_in_the_pass_band_comes_through(fs: float, hz: float) -> None:
    ratio = ratio_of(fs)
    tone = np.rint(2000 * np.sin(2 * np.pi * hz * np.arange(round(8 * fs)) / fs))
    out = whole(tone, fs)
    at_s = np.arange(out.size) * ratio.down / ratio.up / fs
    expected = 2000 * np.sin(2 * np.pi * hz * at_s)
    inside = slice(50, out.size - 50)
    assert np.abs(out - expected)[inside].max() < 0.012 * 2000


@pytest.mark.parametrize("fs", [250.0, 360.0, 500.0, 1000.0])
def test_what_would_fold_below_40_hz_is_gone(fs: float) -> None:
    tone = 2000 * np.sin(2 * np.pi * 95.0 * np.arange(round(8 * fs)) / fs)
    assert np.abs(whole(np.rint(tone), fs))[50:-50].max() < 20


def test_125_hz_at_200_counts_per_mv_is_the_identity() -> None:
    counts = np.random.default_rng(1).integers(-2000, 2000, 1000)
    np.testing.assert_array_equal(whole(counts, 125.0), counts)


@given(fs=st.floats(50, 1000), k=st.integers(0, 10**9))
def test_positions_go_there_and_back(fs: float, k: int) -> None:
    ratio = ratio_of(fs)
    source = source_position(k, ratio)
    assert abs(source * ratio.up - k * ratio.down) <= ratio.up / 2 + 0.5
    assert source_positions(np.array([k]), ratio)[0] == source


@given(fs=st.sampled_from(RATES), cut=st.integers(40, 900), seed=st.integers(0, 99))
def test_a_piece_resampled_with_its_neighbours_is_the_piece_of_the_whole(
    fs: float, cut: int, seed: int
) -> None:
    counts = np.random.default_rng(seed).integers(-30_000, 30_000, 1000).astype(np.int32)
    ratio = ratio_of(fs)
    everything = whole(counts, fs)
    first = -(-cut * ratio.up // ratio.down)
    start = min(first + ratio.half * ratio.up // ratio.down + 2, everything.size)
    piece = fine_units(counts[cut - 40 :], Lead("I", 200.0, 0))
    padded = np.pad(piece, (0, ratio.half), mode="edge")
    again = resample(padded, cut - 40, start, everything.size, ratio)
    np.testing.assert_array_equal(again, everything[start:])


@given(counts=st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1), gain=st.floats(1e-3, 1e7))
def test_scaling_never_overflows(counts: list[int], gain: float) -> None:
    fine = fine_units(np.array(counts, np.int32), Lead("I", gain, 0))
    assert np.abs(fine.astype(np.int64)).max() <= 2**18


@given(
    counts=st.lists(st.one_of(st.integers(-500, 500), st.just(LOST)), min_size=1, max_size=60),
    cut=st.integers(0, 60),
    longest=st.integers(0, 8),
)
def test_missing_samples_hold_the_last_valid_one_for_a_while_however_they_are_cut(
    counts: list[int], cut: int, longest: int
) -> None:
    lead = Lead("I", 200.0, 0)
    samples = np.array(counts, np.int32)
    fine, lost, held, held_for = fill(samples, lead, longest, 0, longest + 1)
    expected, last, age = [], 0, longest + 1
    for count in counts:
        last, age = (8 * count, 0) if count != LOST else (last, age + 1)
        expected.append(last if age <= longest else 0)
    assert fine.tolist() == expected
    assert lost.tolist() == [count == LOST for count in counts]
    first = fill(samples[:cut], lead, longest, 0, longest + 1)
    second = fill(samples[cut:], lead, longest, first[2], first[3])
    np.testing.assert_array_equal(np.concatenate((first[0], second[0])), fine)
    assert second[2:] == (held, held_for)


@given(fs=st.sampled_from(RATES), seed=st.integers(0, 99))
def test_a_grid_sample_is_missing_where_its_nearest_source_sample_is(fs: float, seed: int) -> None:
    ratio = ratio_of(fs)
    lost = np.random.default_rng(seed).random(400) < 0.1
    stop = grid_length(lost.size, ratio)
    nearest = source_positions(np.arange(stop), ratio)
    np.testing.assert_array_equal(lost_on_grid(lost, 0, 0, stop, ratio), lost[np.minimum(nearest, 399)])
