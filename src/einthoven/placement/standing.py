"""How a region stands: how long it takes, how full it is, whether it answers at all.

Latencies are means that forget (EWMA) of what answered, with their mean deviation, as in the round-trip
estimator of Jacobson (SIGCOMM 1988). A region that fails is avoided for a while that doubles, then tried with
one invocation: the circuit breaker of Nygard, "Release It!" (2007). One that says "too many" is given less,
and then more again by and by (AIMD; Chiu and Jain, 1989).
"""

import math
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final, Literal

from einthoven.continuum import Region

__all__ = ["Breaker", "Standing"]

Breaker = Literal["closed", "open", "half-open"]
_GAIN: Final = 0.1
_DEVIATION_GAIN: Final = 0.2
_UNKNOWN_S: Final = 0.05
"""Of a function nobody has seen; whatever is declared of the way there comes on top."""
_FAILURES_IN_A_ROW: Final = 4
_FAILING: Final = 0.5
_LEAST_SEEN: Final = 10
_WELL: Final = 0.1
"""Error rate that one answer after a time of failing leaves."""
_AWAY_S: Final = 0.5
_AWAY_MOST_S: Final = 30.0
_STALLED_S: Final = 0.5
_STALLED_TIMES: Final = 8.0
_LESS: Final = 0.8
_COSTS_LAST: Final = 32


class Standing:
    """One region.

    It is told of each attempt when it begins and how it ends. Times are seconds of one clock.

    Parameters
    ----------
    usual_s : how long functions take anywhere, without the way there; what is thought of one that this
        region has not answered yet.
    """

    def __init__(self, region: Region, usual_s: Mapping[str, float] = MappingProxyType({})) -> None:
        self.region = region
        self._usual_s = usual_s
        self.in_flight = 0
        self.limit = float(region.slots)
        self.breaker: Breaker = "closed"
        self.open_until_s = -math.inf
        self.error_rate = 0.0
        self.answers = 0
        self.failures = 0
        self.spent = 0.0
        """What its invocations have cost, by its declared prices, and what keeping it warm did."""
        self.warmings = 0
        """Calls that asked for nothing, to keep instances warm."""
        self._has: frozenset[str] | None = None
        self._lacks: set[str] = set()
        self._latency_s: dict[str, float] = {}
        self._deviation_s: dict[str, float] = {}
        self._costs: dict[tuple[str, int], float] = {}
        """Looked at anew every so many answers."""
        self._failed_in_a_row = 0
        self._away_s = _AWAY_S
        self._paused_until_s = -math.inf
        self._heard_s = -math.inf
        self._seen = 0

    def declare(self, region: Region) -> None:
        """Its declaration has changed."""
        if region.slots != self.region.slots:
            self.limit = float(region.slots)
        self.region = region
        self._costs.clear()

    def learn(self, functions: Collection[str]) -> None:
        """What it says that it has; nothing: it does not say. What it was said to lack may be there now."""
        self._has = frozenset(functions) or None
        self._lacks.clear()

    def lack(self, function: str) -> None:
        """It said that it does not have a function."""
        self._lacks.add(function)

    def may_have(self, function: str) -> bool:
        """Whether it can be given a function, or several whose names ``+`` joins."""
        known = frozenset(self.region.functions) or self._has
        return function not in self._lacks and (known is None or known.issuperset(function.split("+")))

    def latency_s(self, function: str) -> float:
        """How long an invocation of a function takes, as far as is known."""
        known = self._latency_s.get(function)
        return self.region.rtt_s + self._usual_s.get(function, _UNKNOWN_S) if known is None else known

    def late_s(self, function: str) -> float | None:
        """After how long an answer is late; None where nothing is known."""
        known = self._latency_s.get(function)
        if known is not None:
            return known + 4 * self._deviation_s[function]
        return 3 * self.latency_s(function) if function in self._usual_s else None

    def usual_cost(self, function: str, memory_mb: int) -> float:
        """What an invocation costs there by itself, by its declared prices and its usual time."""
        key = (function, memory_mb)
        known = self._costs.get(key)
        if known is None:
            known = self.region.price.of_call(self.latency_s(function), memory_mb, 0)
            self._costs[key] = known
        return known

    @property
    def fill(self) -> float:
        """How full it is, 1 when it takes no more."""
        return self.in_flight / self.limit

    def is_free(self, now_s: float) -> bool:
        """Whether it can be given one more."""
        if self.region.is_draining or self.in_flight >= self.limit or now_s < self._paused_until_s:
            return False
        if self.breaker == "closed":
            return True
        return now_s >= self.open_until_s and self.in_flight == 0

    def is_due(self, now_s: float) -> bool:
        """Whether it was avoided for long enough, and one invocation should find out how it is."""
        return self.breaker == "open" and now_s >= self.open_until_s and self.is_free(now_s)

    def free_at_s(self, now_s: float) -> float:
        """When it should be asked again, if nothing is heard of it before."""
        if self.region.is_draining:
            return math.inf
        until_s = max(self._paused_until_s, self.open_until_s)
        return until_s if until_s > now_s else math.inf

    def begin(self, now_s: float) -> None:
        """It is given an invocation."""
        if self.in_flight == 0:
            self._heard_s = now_s
        self.in_flight += 1
        if self.breaker == "open":
            self.breaker = "half-open"

    def answered(self, function: str, took_s: float, now_s: float, cost: float = 0.0) -> None:
        """It answered."""
        self.in_flight -= 1
        self.answers += 1
        self.spent += cost
        if self.answers % _COSTS_LAST == 0:
            self._costs.clear()
        self._heard(now_s)
        self._count(is_failure=False)
        self._failed_in_a_row = 0
        self._away_s = _AWAY_S
        if self.breaker != "closed":
            self.breaker = "closed"
            self.error_rate = min(self.error_rate, _WELL)
        self.open_until_s = -math.inf
        self.limit = min(float(self.region.slots), self.limit + 1.0 / self.limit)
        before = self._latency_s.get(function)
        if before is None:
            self._latency_s[function], self._deviation_s[function] = took_s, took_s / 2
            return
        away_s = took_s - before
        self._latency_s[function] = before + _GAIN * away_s
        self._deviation_s[function] += _DEVIATION_GAIN * (abs(away_s) - self._deviation_s[function])

    def warmed(self, busy_s: float, memory_mb: int) -> None:
        """A call that asked for nothing was answered."""
        self.warmings += 1
        self.spent += self.region.price.of_call(busy_s, memory_mb, 0)

    def throttled(self, now_s: float, retry_after_s: float | None) -> None:
        """It said that it has too much already; that is an answer, and no failure."""
        self.in_flight -= 1
        self._heard(now_s)
        self.limit = max(1.0, _LESS * min(self.limit, self.in_flight + 1.0))
        if retry_after_s is not None:
            self._paused_until_s = max(self._paused_until_s, now_s + min(retry_after_s, _AWAY_MOST_S))
        elif self.in_flight == 0:
            self._paused_until_s = now_s + _AWAY_S / 10
        if self.breaker == "half-open":
            self.breaker = "closed"

    def failed(self, now_s: float) -> None:
        """It did not answer, or with garbage."""
        self.in_flight -= 1
        self.failures += 1
        self._failed_in_a_row += 1
        self._count(is_failure=True)
        is_failing = self._seen >= _LEAST_SEEN and self.error_rate > _FAILING
        if self.breaker == "half-open" or is_failing or self._failed_in_a_row >= _FAILURES_IN_A_ROW:
            self.avoid(now_s)

    def given_up(self) -> None:
        """Nobody waits for it any more; that says nothing of it."""
        self.in_flight -= 1

    def refused(self, now_s: float) -> None:
        """It answered that the invocation is wrong; so it stands well."""
        self.in_flight -= 1
        self.answers += 1
        self._heard(now_s)
        self._failed_in_a_row = 0
        self._count(is_failure=False)
        if self.breaker == "half-open":
            self.breaker = "closed"

    def is_stalled(self, now_s: float) -> bool:
        """Whether nothing has been heard of it for so long that it hangs, in all likelihood."""
        if self.in_flight == 0 or self.breaker == "open":
            return False
        usual_s = max(self._latency_s.values(), default=0.0)
        if not usual_s:
            usual_s = self.region.rtt_s + max((10 * _UNKNOWN_S, *self._usual_s.values()))
        return now_s - self._heard_s > max(_STALLED_S, _STALLED_TIMES * usual_s)

    def avoid(self, now_s: float) -> None:
        """Give it nothing for a while."""
        if self.breaker != "open" or now_s >= self.open_until_s:
            self.breaker = "open"
            self.open_until_s = now_s + self._away_s
            self._away_s = min(_AWAY_MOST_S, 2 * self._away_s)

    def _heard(self, now_s: float) -> None:
        self._heard_s = now_s

    def _count(self, *, is_failure: bool) -> None:
        self._seen += 1
        self.error_rate += _GAIN * (is_failure - self.error_rate)
