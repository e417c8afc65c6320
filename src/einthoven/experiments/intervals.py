"""How sure a mean over seeds is: Student's t, because seeds are few."""

import math
from collections.abc import Sequence
from functools import cache
from statistics import fmean, stdev

import msgspec

__all__ = ["Mean", "mean_of", "student_t"]


class Mean(msgspec.Struct, frozen=True):
    """A mean and half of its 95 % interval; NaN where there is but one value."""

    value: float
    within: float


def mean_of(values: Sequence[float]) -> Mean:
    """The mean of values that are independent of each other, and how sure it is (95 %, Student's t).

    Examples
    --------
    >>> mean_of([1.0, 2.0, 3.0]).value
    2.0
    """
    if len(values) < 2:
        return Mean(fmean(values), math.nan)
    return Mean(fmean(values), student_t(len(values) - 1) * stdev(values) / math.sqrt(len(values)))


@cache
def student_t(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, by bisection of Abramowitz and Stegun's 26.7.3 and 26.7.4."""
    low, high = 0.0, 13.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _two_sided(middle, freedom) < 0.95 else (low, middle)
    return high


def _two_sided(t: float, freedom: int) -> float:
    """The chance that a value of Student's t lies between ``-t`` and ``t``; freedom is a whole number."""
    angle = math.atan(t / math.sqrt(freedom))
    term, total = (math.cos(angle) if freedom % 2 else 1.0), 0.0
    for n in range(2 + freedom % 2, freedom + 1, 2):
        total += term
        term *= math.cos(angle) ** 2 * (n - 1) / n
    if freedom % 2 == 0:
        return math.sin(angle) * total
    return 2 / math.pi * (angle + math.sin(angle) * total)
