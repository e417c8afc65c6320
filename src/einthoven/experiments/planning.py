"""The planner measured: acceptance beside the baselines and the optimum, sessions, and how long it takes."""

import math
import time
from collections.abc import Callable
from heapq import heappop, heappush
from statistics import fmean, median
from typing import Final

import msgspec

from einthoven.placement.offloading.methods import plan
from einthoven.placement.offloading.plans import Plan
from einthoven.placement.offloading.scenario import THREE_STATIONS, Drawn, draw, draw_online
from einthoven.placement.offloading.sessions import Admitted, Sessions, Terms, offers_of

__all__ = ["PlanFigures", "Sizes", "accepted_online", "bench_plan", "planned"]

_SETTLING: Final = 200
"""First arrivals of a run, which meet an empty continuum and do not count."""
_METHODS: Final = {
    "fcfs": "fcfs",
    "edge_first": "edge-first",
    "cloud_only": "cloud-only",
    "hra": "hra",
    "ours": "default",
    "exact": "exact",
}
_TIMED: Final = 3
_ACTIVE: Final = 100


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured."""

    requests: tuple[int, ...] = (20, 40, 60, 90, 120, 300)
    loads: tuple[int, ...] = (20, 30, 50)
    arrivals: int = 1500
    many: int = 10_000
    many_stations: int = 99
    """And a core: a hundred sites."""


class Accepted(msgspec.Struct, frozen=True):
    """Accepted requests, per cent, means over seeds."""

    n: int
    fcfs: float
    edge_first: float
    cloud_only: float
    hra: float
    """Reconstructed."""
    ours: float
    exact: float | None
    """None: not sought, it takes too long."""
    bound: float
    seeds: int
    exact_proven: int = 0
    """Seeds of which the optimum is proven."""


class Online(msgspec.Struct, frozen=True):
    """Accepted sessions, per cent, means over seeds."""

    load: int
    fcfs: float
    ours: float


class Times(msgspec.Struct, frozen=True):
    """How long planning takes, seconds and milliseconds."""

    n300: float
    """The default method, 300 requests at three stations."""
    online_ms: float
    """One arrival among a hundred sessions, median."""
    n10000: float
    """10,000 requests at a hundred sites."""
    online_p99_ms: float
    many_requests: int
    """What `n10000` really was, where less was asked."""
    many_sites: int


class PlanFigures(msgspec.Struct, frozen=True):
    """All that is measured."""

    rows: tuple[Accepted, ...]
    online: tuple[Online, ...]
    time_s: Times


_ALL: Final = Sizes()


def planned(drawn: Drawn, method: str) -> Plan:
    """A plan for drawn requests, those that come first being first where that matters."""
    return plan(drawn.instance, method=method, arrival=drawn.arrival)


def accepted_online(load: float, seed: int, arrivals: int, *, is_frozen: bool) -> float:
    """Accepted sessions, per cent, of those that meet a continuum that others use already.

    Parameters
    ----------
    load : sessions offered at one time, in the mean.
    is_frozen : shares are given at arrival, the cheapest that what is left suffices for, and never change.
    """
    online = draw_online(THREE_STATIONS, load, seed, requests=arrivals)
    terms = Terms(reallocations_per_s=0.0) if is_frozen else Terms()
    sessions = Sessions(online.instance.capacities, terms=terms)
    ends: list[tuple[float, str]] = []
    accepted = []
    for number, (at_s, holds_s) in enumerate(zip(online.arrives_s, online.holds_s, strict=True)):
        while ends and ends[0][0] <= at_s:
            sessions.depart(heappop(ends)[1])
        name = str(number)
        answer = sessions.admit(name, offers_of(online.instance, number), at_s=float(at_s))
        accepted.append(isinstance(answer, Admitted))
        if accepted[-1]:
            heappush(ends, (float(at_s + holds_s), name))
    return 100 * fmean(accepted[min(_SETTLING, arrivals // 2) :])


def bench_plan(
    seeds: int, exact_most: int, told: Callable[[str, int], None], *, sizes: Sizes = _ALL
) -> PlanFigures:
    """All figures.

    Parameters
    ----------
    seeds : of each size; of sessions a third.
    exact_most : requests up to which the optimum is sought.
    told : is told what is being done, and how much of all of it is done, per cent.
    """
    steps = len(sizes.requests) * seeds + len(sizes.loads) * _runs(seeds) + _TIMED
    done = 0

    def step(what: str) -> None:
        nonlocal done
        told(what, round(100 * done / steps))
        done += 1

    rows = tuple(_accepted(n, seeds, exact_most, step) for n in sizes.requests)
    online = tuple(_online(load, _runs(seeds), sizes.arrivals, step) for load in sizes.loads)
    return PlanFigures(rows=rows, online=online, time_s=_times(sizes, step))


def _runs(seeds: int) -> int:
    return max(1, seeds // 3)


def _accepted(n: int, seeds: int, exact_most: int, step: Callable[[str], None]) -> Accepted:
    found: dict[str, list[float]] = {name: [] for name in _METHODS}
    bounds, proven = [], 0
    for seed in range(seeds):
        step(f"{n} requests, seed {seed + 1} of {seeds}")
        drawn = draw(THREE_STATIONS, n, 1000 * n + seed)
        for name, method in _METHODS.items():
            if name == "exact" and n > exact_most:
                continue
            made = planned(drawn, method)
            found[name].append(100 * made.acceptance)
            if name == "ours":
                bounds.append(100 * made.bound / n)
            proven += name == "exact" and made.is_proven
    means = {name: fmean(values) if values else None for name, values in found.items()}
    return Accepted(
        n=n,
        **{name: None if value is None else round(value, 2) for name, value in means.items()},  # type: ignore[arg-type]
        bound=round(fmean(bounds), 2),
        seeds=seeds,
        exact_proven=proven,
    )


def _online(load: int, runs: int, arrivals: int, step: Callable[[str], None]) -> Online:
    fcfs, ours = [], []
    for seed in range(runs):
        step(f"sessions, {load} offered at one time, {seed + 1} of {runs}")
        fcfs.append(accepted_online(load, seed, arrivals, is_frozen=True))
        ours.append(accepted_online(load, seed, arrivals, is_frozen=False))
    return Online(load=load, fcfs=round(fmean(fcfs), 2), ours=round(fmean(ours), 2))


def _times(sizes: Sizes, step: Callable[[str], None]) -> Times:
    step("how long 300 requests take")
    n300 = _timed(lambda: planned(draw(THREE_STATIONS, 300, 300_000), "default"), 3)
    step("how long an arrival takes")
    arrivals_ms = _arrivals_ms()
    step(f"how long {sizes.many:,} requests at {sizes.many_stations + 1} sites take")
    many = msgspec.structs.replace(THREE_STATIONS, stations=sizes.many_stations)
    drawn = draw(many, sizes.many, sizes.many)
    n10000 = _timed(lambda: planned(drawn, "default"), 1)
    return Times(
        n300=round(n300, 3),
        online_ms=round(median(arrivals_ms), 3),
        n10000=round(n10000, 1),
        online_p99_ms=round(sorted(arrivals_ms)[math.ceil(0.99 * len(arrivals_ms)) - 1], 3),
        many_requests=sizes.many,
        many_sites=sizes.many_stations + 1,
    )


def _timed(planner: Callable[[], Plan], runs: int) -> float:
    """Seconds of the quickest of some runs, because others use the machine too."""
    took = []
    for _ in range(runs):
        begun = time.perf_counter()
        planner()
        took.append(time.perf_counter() - begun)
    return min(took)


def _arrivals_ms() -> list[float]:
    """Arrivals among a hundred sessions, each followed by a departure."""
    light = msgspec.structs.replace(THREE_STATIONS, bits=(0.01e6, 0.1e6))
    instance = draw_online(light, _ACTIVE, 1, requests=5 * _ACTIVE).instance
    sessions = Sessions(instance.capacities)
    took = []
    for number in range(instance.count):
        offers = offers_of(instance, number)
        begun = time.perf_counter()
        sessions.admit(str(number), offers)
        elapsed_s = time.perf_counter() - begun
        if len(sessions) > _ACTIVE:
            took.append(1000 * elapsed_s)
            sessions.depart(sessions.names[0])
    return took
