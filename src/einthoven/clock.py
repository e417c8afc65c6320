"""Time as a value: whoever needs the time is given a clock."""

import time
from typing import Protocol

__all__ = ["Clock", "SystemClock", "VirtualClock"]


class Clock(Protocol):
    """Where the time comes from."""

    def now_s(self) -> float:
        """Seconds that only go forward, from an arbitrary start; for durations."""
        ...

    def utc_ns(self) -> int:
        """UTC, ns since the epoch; for stamps."""
        ...


class SystemClock:
    """The machine's time."""

    def now_s(self) -> float:
        """See `Clock`."""
        return time.perf_counter()

    def utc_ns(self) -> int:
        """See `Clock`."""
        return time.time_ns()


class VirtualClock:
    """Time that moves when it is told to; for tests and simulations."""

    def __init__(self, utc_ns: int = 0) -> None:
        self._passed_s = 0.0
        self._epoch_ns = utc_ns

    def now_s(self) -> float:
        """See `Clock`."""
        return self._passed_s

    def utc_ns(self) -> int:
        """See `Clock`."""
        return self._epoch_ns + round(self._passed_s * 1e9)

    def advance(self, seconds: float) -> None:
        """Let so much time pass."""
        self._passed_s += seconds
