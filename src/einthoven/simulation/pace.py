"""How many segments a second are due when: a steady rate with a ramp and bursts, and its inverse."""

import bisect
import math
from collections.abc import Sequence

import msgspec

__all__ = ["Burst", "Pace"]

_AT_ONCE_S = 1e-9
"""A slope over less than this is not a number."""


class Burst(msgspec.Struct, frozen=True):
    """For a while everything comes ``factor`` times as fast."""

    at_s: float
    length_s: float
    factor: float


class _Stretch(msgspec.Struct, frozen=True):
    """Between two changes the rate is a straight line."""

    begin_s: float
    rate_per_s: float
    slope: float
    """Per s of the rate."""
    before: float
    """Segments due before it."""


class Pace:
    """Segment number n is due when ``n`` segments' worth of rate has passed.

    Parameters
    ----------
    rate_per_s : when steady.
    ramp_s : the rate rises from nothing in a straight line for so long; less than a nanosecond is none.
    bursts : multiply the rate; they must not overlap.
    """

    def __init__(self, rate_per_s: float, ramp_s: float = 0.0, bursts: Sequence[Burst] = ()) -> None:
        if ramp_s < _AT_ONCE_S:
            ramp_s = 0.0
        changes = {0.0, ramp_s}
        for burst in bursts:
            changes |= {burst.at_s, burst.at_s + burst.length_s}
        self._stretches: list[_Stretch] = []
        before = 0.0
        begins = sorted(changes)
        for begin_s, end_s in zip(begins, [*begins[1:], math.inf], strict=True):
            factor = math.prod(
                burst.factor for burst in bursts if burst.at_s <= begin_s < burst.at_s + burst.length_s
            )
            is_rising = begin_s < ramp_s
            slope = rate_per_s * factor / ramp_s if is_rising else 0.0
            start = slope * begin_s if is_rising else rate_per_s * factor
            self._stretches.append(_Stretch(begin_s, start, slope, before))
            if end_s < math.inf:
                length_s = end_s - begin_s
                before += length_s * (start + slope * length_s / 2)
        self._befores = [one.before for one in self._stretches]
        self._begins = [one.begin_s for one in self._stretches]

    def due_s(self, n: float) -> float:
        """When ``n`` segments' worth has passed, s."""
        one = self._stretches[bisect.bisect_right(self._befores, n) - 1]
        more = n - one.before
        if one.slope:
            both = one.rate_per_s + math.sqrt(one.rate_per_s**2 + 2 * one.slope * more)
            return one.begin_s + 2 * more / both if both else one.begin_s
        return one.begin_s + more / one.rate_per_s

    def passed(self, at_s: float) -> float:
        """How many segments' worth has passed by ``at_s``."""
        one = self._stretches[bisect.bisect_right(self._begins, at_s) - 1]
        into_s = at_s - one.begin_s
        return one.before + into_s * (one.rate_per_s + one.slope * into_s / 2)

    def count(self, duration_s: float) -> int:
        """How many segments are due before ``duration_s``; number 0 is due at once."""
        return math.ceil(self.passed(duration_s) - 1e-9)
