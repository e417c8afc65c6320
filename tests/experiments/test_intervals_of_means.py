"""Intervals of means are those of the textbook, and none is invented."""

import math

import pytest
from scipy import stats

from einthoven.experiments.figures import row
from einthoven.experiments.intervals import mean_of, student_t


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 11, 19, 30, 99])
def test_quantiles_are_those_of_student(freedom: int) -> None:
    assert student_t(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)


def test_the_interval_is_the_one_that_scipy_gives() -> None:
    values = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0]
    found = mean_of(values)
    low, high = stats.t.interval(0.95, 5, loc=found.value, scale=stats.sem(values))
    assert (found.value - found.within, found.value + found.within) == pytest.approx((low, high))


def test_one_value_has_no_interval() -> None:
    assert math.isnan(mean_of([7.0]).within)
    assert row("case", "figure", "%", 7.0, within=math.nan).within is None
