"""Cleaning and the envelope: response, symmetry, and independence of where a piece begins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.signal.filters import CLEAN_REACH, ENVELOPE_REACH, clean, envelope


def response(hz: float) -> float:
    """Amplitude of a cleaned 5-mV tone against the tone."""
    t_s = np.arange(2500) / 125
    tone = np.rint(1000 * np.cos(2 * np.pi * hz * t_s)).astype(np.int16)
    out = clean(tone).astype(float)
    t_s = t_s[CLEAN_REACH:-CLEAN_REACH]
    return abs(np.mean(out * np.exp(-2j * np.pi * hz * t_s))) * 2 / 1000


@pytest.mark.parametrize(
    ("hz", "low", "high"),
    [
        (0.05, 0.0, 0.02),
        (0.2, 0.0, 0.2),
        (1.0, 0.95, 1.05),
        (5.0, 0.96, 1.04),
        (15.0, 0.96, 1.04),
        (30.0, 0.95, 1.06),
        (40.0, 0.4, 0.7),
        (50.0, 0.0, 0.005),
        (60.0, 0.0, 0.005),
    ],
)
def test_the_pass_band_is_half_a_hertz_to_forty_without_mains(hz: float, low: float, high: float) -> None:
    assert low <= response(hz) <= high


def test_a_wave_stays_in_place() -> None:
    bump = np.rint(300 * np.exp(-0.5 * ((np.arange(1001) - 500) / 2.0) ** 2)).astype(np.int16)
    out = clean(bump)
    assert int(np.argmax(out)) + CLEAN_REACH == 500
    assert np.abs(out - out[::-1]).max() <= 1


@given(seed=st.integers(0, 1000), cut=st.integers(0, 300))
def test_a_piece_with_its_margins_is_the_piece_of_the_whole(seed: int, cut: int) -> None:
    units = np.random.default_rng(seed).integers(-32_000, 32_000, 1200).astype(np.int16)
    np.testing.assert_array_equal(clean(units)[cut:], clean(units[cut:]))
    np.testing.assert_array_equal(envelope(units)[cut:], envelope(units[cut:]))


@given(st.lists(st.sampled_from([-32767, 32767, 0]), min_size=600, max_size=600))
def test_the_wildest_signal_does_not_overflow(units: list[int]) -> None:
    energy = envelope(np.array(units, np.int16))
    assert (energy >= 0).all()


def test_too_little_signal_gives_nothing() -> None:
    assert clean(np.zeros(2 * CLEAN_REACH, np.int16)).size == 0
    assert envelope(np.zeros(2 * ENVELOPE_REACH, np.int16)).size == 0
