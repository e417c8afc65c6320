"""List scheduling: where and when each invocation of a workflow runs, when all of them are known.

HEFT (Topcuoglu, Hariri, Wu, IEEE TPDS 13(3), 2002): invocations in order of their upward rank, each where it
ends first, in the earliest gap that is long enough. Deviations: a region has many slots, each with a
timeline of its own; what an invocation reads must be brought to its place, and whatever was brought once is
there; money may be weighed against time. HEFT promises nothing, so all of it in each single region is
scheduled too, and the best schedule is taken.
"""

import bisect
import heapq
import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from einthoven.continuum import Region, Spot
from einthoven.errors import InputInvalid

__all__ = ["Planned", "Schedule", "Step", "schedule"]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One invocation of a workflow."""

    name: str
    busy_s: float
    """On a region of speed 1."""
    function: str = ""
    after: tuple[str, ...] = ()
    """Those whose outputs it reads."""
    output_bytes: int = 0
    """What each of those behind it reads."""
    data_at: str = ""
    """The place of what it reads besides."""
    data_bytes: int = 0
    memory_mb: int = 128
    needs: frozenset[str] = frozenset()
    admits: frozenset[Spot] | None = None
    """See `einthoven.placement.Invocation`."""


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """Where and when an invocation runs."""

    step: str
    region: str
    slot: int
    begin_s: float
    end_s: float
    cost: float


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """All of them, in order of their beginning."""

    planned: tuple[Planned, ...]
    makespan_s: float
    cost: float

    @property
    def by_step(self) -> dict[str, Planned]:
        """Each by its name."""
        return {one.step: one for one in self.planned}


def schedule(
    steps: Sequence[Step],
    regions: Sequence[Region],
    *,
    speeds: Mapping[str, float] | None = None,
    worth_per_s: float = math.inf,
    taken_s: Mapping[str, Sequence[float]] = MappingProxyType({}),
) -> Schedule:
    """A schedule of a workflow's invocations.

    Parameters
    ----------
    speeds : of regions, by name; 1 where there is none.
    worth_per_s : what a second less is worth, in the currency of the prices; infinite: time is all.
    taken_s : of regions, by name: for how long slots are still taken by something else.

    Raises
    ------
    InputInvalid : a circle, a name that is there twice or not at all, or nobody may have an invocation.
    """
    order = _ranked(steps, regions)
    if not steps:
        return Schedule(planned=(), makespan_s=0.0, cost=0.0)
    map_ = _Map.of(regions)
    usable = [one for one in regions if not one.is_draining]
    tried = [usable, *([one] for one in usable)] if len(usable) > 1 else [usable]
    found = [
        made
        for some in tried
        if (made := _made(order, some, map_, speeds or {}, worth_per_s, taken_s)) is not None
    ]
    if not found:
        raise InputInvalid(
            "no region may have every invocation.",
            where="regions",
            remedy="Compare the labels and functions that they need with those that regions have.",
        )
    if worth_per_s == math.inf:
        return min(found, key=lambda one: (one.makespan_s, one.cost))
    return min(found, key=lambda one: one.cost + worth_per_s * one.makespan_s)


def _ranked(steps: Sequence[Step], regions: Sequence[Region]) -> list[Step]:
    """By falling upward rank, the longest way from one to the end: what it reads comes before it."""
    by_name = {one.name: one for one in steps}
    if len(by_name) != len(steps):
        raise InputInvalid("two invocations have the same name.", where="steps")
    behind: dict[str, list[str]] = {name: [] for name in by_name}
    for one in steps:
        for name in one.after:
            if name not in by_name:
                raise InputInvalid(f"there is no invocation {name!r}.", where=f"steps/{one.name}/after")
            behind[name].append(one.name)
    bandwidths = [one.bandwidth_mb_s for one in regions if one.bandwidth_mb_s < math.inf]
    per_byte_s = len(bandwidths) / (sum(bandwidths) * 1e6) if bandwidths else 0.0
    ranks: dict[str, float] = {}
    for name in reversed(_in_order(by_name, behind)):
        one = by_name[name]
        moved_s = one.output_bytes * per_byte_s
        ranks[name] = one.busy_s + max((moved_s + ranks[other] for other in behind[name]), default=0.0)
    place = {name: number for number, name in enumerate(_in_order(by_name, behind))}
    return sorted(steps, key=lambda one: (-ranks[one.name], place[one.name]))


def _in_order(by_name: Mapping[str, Step], behind: Mapping[str, Iterable[str]]) -> list[str]:
    """A topological order; raises InputInvalid."""
    open_ = {name: len(set(one.after)) for name, one in by_name.items()}
    ready = deque(name for name, count in open_.items() if not count)
    order: list[str] = []
    while ready:
        name = ready.popleft()
        order.append(name)
        for other in set(behind[name]):
            open_[other] -= 1
            if not open_[other]:
                ready.append(other)
    if len(order) < len(by_name):
        raise InputInvalid("invocations wait for each other in a circle.", where="steps")
    return order


_NO_TIME_S: Final = 1e-12


class _Timelines:
    """Of the slots of one region that are used.

    Parameters
    ----------
    shortest_s : no stretch is shorter; so a gap that is shorter is none.
    """

    def __init__(self, region: Region, taken_s: Sequence[float], shortest_s: float) -> None:
        self._slots = region.slots
        self._shortest_s = shortest_s
        self._busy: list[list[tuple[float, float]]] = []
        self._ends: list[tuple[float, int]] = []
        """A heap of the ends of all slots that are used, as long as none of them has a gap."""
        self._has_gaps = False
        for slot, until_s in enumerate(sorted(taken_s)[-self._slots :]):
            self.take(slot, 0.0, until_s)

    def earliest(self, ready_s: float, length_s: float) -> tuple[float, int]:
        """When so long a stretch can begin, and in which slot."""
        if not self._has_gaps:
            end_s, slot = self._ends[0] if self._ends else (math.inf, -1)
            if end_s <= ready_s or len(self._busy) >= self._slots:
                return max(ready_s, end_s), slot
            return ready_s, len(self._busy)
        best = (math.inf, -1)
        for number, busy in enumerate(self._busy):
            begin_s = _gap(busy, ready_s, length_s)
            if begin_s < best[0]:
                best = (begin_s, number)
            if begin_s == ready_s:
                return best
        return (ready_s, len(self._busy)) if len(self._busy) < self._slots else best

    def take(self, slot: int, begin_s: float, end_s: float) -> None:
        """Use it."""
        if slot == len(self._busy):
            self._busy.append([])
        before_s = self._busy[slot][-1][1] if self._busy[slot] else 0.0
        self._has_gaps = self._has_gaps or begin_s - before_s >= max(self._shortest_s, _NO_TIME_S)
        if self._ends and self._ends[0] == (before_s, slot):
            heapq.heapreplace(self._ends, (end_s, slot))
        else:
            heapq.heappush(self._ends, (end_s, slot))
        bisect.insort(self._busy[slot], (begin_s, end_s))


def _gap(busy: list[tuple[float, float]], ready_s: float, length_s: float) -> float:
    begin_s = ready_s
    for number in range(max(0, bisect.bisect_left(busy, (ready_s,)) - 1), len(busy)):
        from_s, to_s = busy[number]
        if begin_s + length_s <= from_s:
            return begin_s
        begin_s = max(begin_s, to_s)
    return begin_s


def _made(
    order: Sequence[Step],
    regions: Sequence[Region],
    map_: "_Map",
    speeds: Mapping[str, float],
    worth_per_s: float,
    taken_s: Mapping[str, Sequence[float]],
) -> Schedule | None:
    least_s = min((one.busy_s for one in order), default=0.0)
    timelines = {
        one.name: _Timelines(one, taken_s.get(one.name, ()), one.rtt_s + least_s / speeds.get(one.name, 1.0))
        for one in regions
    }
    done: dict[str, Planned] = {}
    there: dict[tuple[str, str], float] = {}
    by_name = {one.name: one for one in order}
    for step in order:
        best: tuple[tuple[float, float], Planned, dict[tuple[str, str], float]] | None = None
        for region in regions:
            if not step.needs.issubset(region.labels) or not (
                step.admits is None or region.spot in step.admits
            ):
                continue
            if region.functions and not set(step.function.split("+")).issubset(region.functions):
                continue
            ready_s, moved, egress = _brought(step, region, by_name, done, there, map_)
            length_s = region.rtt_s + step.busy_s / speeds.get(region.name, 1.0)
            begin_s, slot = timelines[region.name].earliest(ready_s, length_s)
            cost = region.price.of_call(length_s - region.rtt_s, step.memory_mb, 0) + egress
            planned = Planned(
                step=step.name,
                region=region.name,
                slot=slot,
                begin_s=begin_s,
                end_s=begin_s + length_s,
                cost=cost,
            )
            weighed = (planned.end_s, cost)
            if worth_per_s < math.inf:
                weighed = (cost + worth_per_s * planned.end_s, cost)
            if best is None or weighed < best[0]:
                best = (weighed, planned, moved)
        if best is None:
            return None
        _, planned, moved = best
        timelines[planned.region].take(planned.slot, planned.begin_s, planned.end_s)
        there.update(moved)
        done[step.name] = planned
    planned_all = tuple(sorted(done.values(), key=lambda one: (one.begin_s, one.step)))
    return Schedule(
        planned=planned_all,
        makespan_s=max(one.end_s for one in planned_all),
        cost=sum(one.cost for one in planned_all),
    )


def _brought(
    step: Step,
    region: Region,
    by_name: Mapping[str, Step],
    done: Mapping[str, Planned],
    there: Mapping[tuple[str, str], float],
    map_: "_Map",
) -> tuple[float, dict[tuple[str, str], float], float]:
    """When all that it reads is at a region's place, what is new there, and what bringing it costs."""
    place = map_.places[region.name]
    ready_s, egress = 0.0, 0.0
    moved: dict[tuple[str, str], float] = {}
    reads = [
        (name, map_.places[done[name].region], done[name].end_s, by_name[name].output_bytes)
        for name in step.after
    ]
    if step.data_bytes:
        reads.append((f"data of {step.name}", step.data_at, 0.0, step.data_bytes))
    for name, at, from_s, size in reads:
        if at == place or not size:
            ready_s = max(ready_s, from_s)
            continue
        arrives_s = from_s + region.rtt_s + size / (region.bandwidth_mb_s * 1e6)
        known_s = there.get((name, place))
        ready_s = max(ready_s, arrives_s if known_s is None else min(known_s, arrives_s))
        if known_s is None:
            moved[name, place] = arrives_s
            egress += map_.per_egress_gb.get(at, 0.0) * size / 1e9
    return ready_s, moved, egress


class _Map(msgspec.Struct, frozen=True):
    """Which region is where, and what it costs to leave a place."""

    places: dict[str, str]
    per_egress_gb: dict[str, float]

    @staticmethod
    def of(regions: Iterable[Region]) -> "_Map":
        """Of all regions; one without a place is a place of its own."""
        places = {one.name: one.place or one.name for one in regions}
        dearest: dict[str, float] = {}
        for one in regions:
            place = places[one.name]
            dearest[place] = max(dearest.get(place, 0.0), one.price.per_egress_gb)
        return _Map(places, dearest)
