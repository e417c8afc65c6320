"""Percentiles of a histogram are those of the durations, within the error that it states."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.runtime.load.histogram import RELATIVE_ERROR, Histogram

DURATIONS = st.lists(st.floats(0, 4000) | st.floats(0, 0.01), min_size=1, max_size=300)


def of(durations: list[float]) -> Histogram:
    histogram = Histogram()
    for seconds in durations:
        histogram.record(seconds)
    return histogram


@given(DURATIONS, st.floats(0, 1))
def test_a_percentile_is_within_the_stated_error_of_the_exact_one(
    durations: list[float], share: float
) -> None:
    exact_s = float(np.quantile(durations, share, method="inverted_cdf"))
    found_s = of(durations).quantile_s(share)
    assert found_s == pytest.approx(exact_s, rel=RELATIVE_ERROR, abs=0.6e-6)


@given(DURATIONS, DURATIONS)
def test_two_histograms_added_are_that_of_all(one: list[float], other: list[float]) -> None:
    added = of(one)
    added.add(of(other))
    assert added.percentiles_ms() == of(one + other).percentiles_ms()
    assert len(added) == len(one) + len(other)


@given(DURATIONS)
def test_maximum_and_mean_are_exact(durations: list[float]) -> None:
    spread = of(durations).percentiles_ms()
    assert spread.max == pytest.approx(1000 * max(durations), abs=1e-3)
    assert spread.mean == pytest.approx(1000 * math.fsum(durations) / len(durations), abs=2e-3)
    assert spread.p50 <= spread.p90 <= spread.p99 <= spread.p999 <= spread.max


def test_nothing_recorded_has_no_percentiles() -> None:
    assert Histogram().quantile_s(0.5) is None
    assert Histogram().percentiles_ms().p99 is None


def test_what_cannot_be_is_counted_at_the_edges() -> None:
    histogram = of([-1.0, 1e30])
    assert histogram.quantile_s(0.1) == 0
    assert len(histogram) == 2


def test_many_at_once_are_many() -> None:
    histogram = Histogram()
    histogram.record(0.25, times=99)
    histogram.record(1.0)
    assert histogram.quantile_s(0.99) == pytest.approx(0.25, rel=RELATIVE_ERROR)
    assert histogram.quantile_s(0.991) == pytest.approx(1.0, rel=RELATIVE_ERROR)
