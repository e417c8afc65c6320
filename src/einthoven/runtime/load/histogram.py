"""Durations in buckets that grow with them: any percentile within 0.2 %, in a few kilobytes.

After HdrHistogram (G. Tene, hdrhistogram.org): durations in whole microseconds; up to 511 µs each has a
bucket of its own, above that each power of two is cut into 256. Deviation: buckets are a dictionary, because
a run fills a few hundred of thousands, and those of two histograms are added key by key.
"""

from typing import Final

import msgspec

__all__ = ["RELATIVE_ERROR", "Histogram", "Percentiles"]

_BITS: Final = 8
RELATIVE_ERROR: Final = 2.0**-9
"""A percentile is the middle of its bucket: at most so much from the true one, plus half a microsecond."""
_LONGEST_US: Final = 2**40


class Percentiles(msgspec.Struct, frozen=True):
    """A distribution of durations in six numbers, ms; None when there is none."""

    p50: float | None
    p90: float | None
    p99: float | None
    p999: float | None
    max: float | None
    mean: float | None


class Histogram:
    """Counts of durations; grows by what is recorded and by other histograms."""

    __slots__ = ("_buckets", "_count", "_max_us", "_total_us")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self._count = 0
        self._total_us = 0
        self._max_us = 0

    def __len__(self) -> int:
        return self._count

    def record(self, seconds: float, times: int = 1) -> None:
        """Count a duration; a negative one as none."""
        us = int(seconds * 1e6 + 0.5)
        if us < 0:
            us = 0
        elif us > _LONGEST_US:
            us = _LONGEST_US
        shift = us.bit_length() - _BITS - 1
        key = (shift << (_BITS + 1)) + (us >> shift) if shift > 0 else us
        buckets = self._buckets
        buckets[key] = buckets.get(key, 0) + times
        self._count += times
        self._total_us += us * times
        self._max_us = max(self._max_us, us)

    def add(self, other: "Histogram") -> None:
        """Count everything that another one counted."""
        for key, count in other._buckets.items():
            self._buckets[key] = self._buckets.get(key, 0) + count
        self._count += other._count
        self._total_us += other._total_us
        self._max_us = max(self._max_us, other._max_us)

    def quantile_s(self, share: float) -> float | None:
        """The smallest recorded duration that at least ``share`` of all do not exceed, s."""
        if not self._count:
            return None
        wanted = max(1, min(self._count, -int(-share * self._count // 1)))
        seen = 0
        for key in sorted(self._buckets):
            seen += self._buckets[key]
            if seen >= wanted:
                return min(_middle_us(key), self._max_us) / 1e6
        return self._max_us / 1e6

    def percentiles_ms(self) -> Percentiles:
        """The usual ones."""
        if not self._count:
            return Percentiles(None, None, None, None, None, None)
        values = [self.quantile_s(share) or 0.0 for share in (0.5, 0.9, 0.99, 0.999)]
        mean_s = self._total_us / self._count / 1e6
        return Percentiles(*(round(1000 * one, 3) for one in (*values, self._max_us / 1e6, mean_s)))


def _middle_us(key: int) -> float:
    shift = key >> (_BITS + 1)
    if not shift:
        return float(key)
    low = (key & ((1 << (_BITS + 1)) - 1)) << shift
    return low + ((1 << shift) - 1) / 2
