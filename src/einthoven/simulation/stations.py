"""Servers that do not scale out: a queue, a fixed number of workers, room for so many. No I/O."""

import heapq
import math

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["Station", "through"]


class Station(msgspec.Struct, frozen=True, kw_only=True):
    """One virtual machine with one queue, first come, first served."""

    name: str
    workers: int
    service_s: float
    """Of one request, by one worker."""
    room: int = 1_000_000
    """Requests that wait, at most; more are refused."""

    @property
    def most_per_s(self) -> float:
        """What it can carry."""
        return self.workers / self.service_s


def through(stations: tuple[Station, ...], came_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """When each request has left the last of the stations, one after the other; NaN: refused on the way.

    Parameters
    ----------
    came_s : when requests come, in order.
    """
    leaves_s = came_s.astype(np.float64)
    for station in stations:
        order = np.argsort(leaves_s, kind="stable")
        order = order[np.isfinite(leaves_s[order])]
        left = np.full(leaves_s.size, math.nan)
        left[order] = _one(station, leaves_s[order])
        leaves_s = left
    return leaves_s


def _one(station: Station, came_s: NDArray[np.float64]) -> NDArray[np.float64]:
    free = [0.0] * station.workers
    starts: list[float] = []
    """A heap: when those that wait will begin."""
    left = np.full(came_s.size, math.nan)
    for number, at_s in enumerate(came_s.tolist()):
        while starts and starts[0] <= at_s:
            heapq.heappop(starts)
        begin_s = max(at_s, free[0])
        if begin_s > at_s:
            if len(starts) >= station.room:
                continue
            heapq.heappush(starts, begin_s)
        left[number] = begin_s + station.service_s
        heapq.heapreplace(free, left[number])
    return left
