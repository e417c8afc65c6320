"""How far away a region is and how fast the way there carries, out of the calls that were made.

A call of ``b`` bits takes ``latency + b / rate`` beside the function itself. Both come from the line through
what was seen, weighted so that the old is forgotten (exponentially weighted least squares). Calls that are
all of one size tell the sum alone: the rate is then not known.
"""

import math
from typing import Final

__all__ = ["WayMeter"]

_KEEPS: Final = 0.98
"""Weight of what was known beside one more call: half of it is forgotten in 34 calls."""
_LEAST_SPREAD: Final = 0.1
"""Sizes that differ less than by so much of their mean tell no rate."""
_LEAST_SEEN: Final = 5.0


class WayMeter:
    """The way to one region."""

    def __init__(self) -> None:
        self._weight = self._x = self._y = self._xx = self._xy = 0.0

    def note(self, bits: float, took_s: float) -> None:
        """A call of so many bits, there and back, took so long beside the function itself."""
        if not (math.isfinite(bits) and math.isfinite(took_s) and bits >= 0):
            return
        took_s = max(0.0, took_s)
        self._weight = _KEEPS * self._weight + 1.0
        share = 1.0 / self._weight
        before_x, before_y = self._x, self._y
        self._x += share * (bits - before_x)
        self._y += share * (took_s - before_y)
        self._xx = (1 - share) * (self._xx + share * (bits - before_x) ** 2)
        self._xy = (1 - share) * (self._xy + share * (bits - before_x) * (took_s - before_y))

    @property
    def bits_per_s(self) -> float | None:
        """How fast it carries; None where that is not known."""
        has_seen = self._weight >= _LEAST_SEEN
        if not has_seen or self._xx <= (_LEAST_SPREAD * self._x) ** 2 or self._xy <= 0:
            return None
        return self._xx / self._xy

    @property
    def latency_s(self) -> float | None:
        """What a call takes however small it is; None where nothing was seen."""
        if not self._weight:
            return None
        rate = self.bits_per_s
        return self._y if rate is None else max(0.0, self._y - self._x / rate)
