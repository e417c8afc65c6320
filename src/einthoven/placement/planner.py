"""Offline work by schedule: invocations are held back, and each goes where and when the schedule has it.

Whatever waits at a moment is scheduled together (`einthoven.placement.listing`), with the times that regions
have been measured to take, so that the count of a loop need not be known before it begins. It is scheduled
anew when more comes, when a region fails or comes back, when something took much longer or shorter than
planned, and when a region has nothing to do while others have. A region that is not well is given nothing by
schedule; where none is, or none may have it, an invocation goes as the policy says.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from einthoven.continuum import Region
from einthoven.placement.listing import Schedule, Step, schedule
from einthoven.placement.policies import Invocation
from einthoven.placement.standing import Standing

__all__ = ["Go", "Planner"]

_LOOK_S: Final = 0.25
_PAUSE_EACH_S: Final = 0.002
"""A schedule is kept for so long for each invocation in it, because making one takes time."""
_LEAST_S: Final = 1e-6
_OFF: Final = 1.3
"""So many times longer or shorter than planned is otherwise than planned."""


class Go(NamedTuple):
    """An invocation begins now; in the region, unless that is not free."""

    invocation: Invocation
    region: str
    """Empty: as the policy says."""


class _Going(NamedTuple):
    region: str
    function: str
    began_s: float
    planned_s: float


class Planner:
    """Schedules what waits, over and over.

    Parameters
    ----------
    standings : how regions stand, as `einthoven.placement.Dispatch` has them; looked at, never changed.
    worth_per_s : see `schedule`.
    """

    def __init__(self, standings: Mapping[str, Standing], *, worth_per_s: float = math.inf) -> None:
        self._standings = standings
        self._worth_per_s = worth_per_s
        self._waiting: dict[int, Invocation] = {}
        self._going: dict[int, _Going] = {}
        self._queues: dict[str, deque[int]] = {}
        self._planned_s: dict[int, float] = {}
        """How long each that waits is planned to take."""
        self._usable: frozenset[str] = frozenset()
        self._is_stale = False
        self._again_s = -math.inf
        self.schedule: Schedule | None = None
        """The last one, counted from when it was made; None: there was none."""

    @property
    def waiting(self) -> int:
        """Invocations that have not begun."""
        return len(self._waiting)

    def add(self, invocation: Invocation) -> None:
        """One more that waits; its number is its own."""
        self._waiting[invocation.number] = invocation
        self._is_stale = True

    def withdraw(self, number: int) -> None:
        """Nobody wants it any more."""
        self._waiting.pop(number, None)
        self._going.pop(number, None)

    def ended(self, number: int, now_s: float) -> None:
        """One that went has its answer, or none."""
        gone = self._going.pop(number, None)
        if gone is not None and self._waiting:
            took_s = now_s - gone.began_s
            self._is_stale |= not gone.planned_s / _OFF <= took_s <= gone.planned_s * _OFF

    def go(self, now_s: float) -> list[Go]:
        """What begins now."""
        if not self._waiting:
            return []
        well = frozenset(name for name, one in self._standings.items() if _is_well(one))
        if well != self._usable or self._has_idle(well):
            self._is_stale = True
        begun: list[Go] = []
        if self._is_stale and (now_s >= self._again_s or self._usable - well):
            begun += [self._begun(number, "", now_s) for number in self._homeless(well)]
            self._plan(well, now_s)
        for name, queue in self._queues.items():
            free = int(self._standings[name].limit) - self._standings[name].in_flight if name in well else 0
            while queue and free > 0:
                number = queue.popleft()
                if number in self._waiting:
                    begun.append(self._begun(number, name, now_s))
                    free -= 1
        return begun

    def wake_at_s(self, now_s: float) -> float:
        """When to look again if nothing happens before."""
        if not self._waiting:
            return math.inf
        return max(now_s, self._again_s) if self._is_stale else now_s + _LOOK_S

    # ---------------------------------------------------------------- the schedule

    def _has_idle(self, well: Iterable[str]) -> bool:
        """Whether a region has nothing to do, and another one more than it can begin."""
        return any(self._queues.values()) and any(
            not self._queues.get(name) and self._standings[name].in_flight < int(self._standings[name].limit)
            for name in well
        )

    def _homeless(self, well: Iterable[str]) -> list[int]:
        """Those that no region may have which is well."""
        kinds = {(one.function, one.needs, one.admits) for one in self._waiting.values()}
        housed = {
            (function, needs, admits)
            for function, needs, admits in kinds
            for name in well
            if needs.issubset(self._standings[name].region.labels)
            and (admits is None or self._standings[name].region.spot in admits)
            and self._standings[name].may_have(function)
        }
        return [
            one.number
            for one in self._waiting.values()
            if (one.function, one.needs, one.admits) not in housed
        ]

    def _plan(self, well: frozenset[str], now_s: float) -> None:
        self._usable, self._is_stale = well, False
        self._again_s = now_s + _PAUSE_EACH_S * len(self._waiting)
        self._queues, self._planned_s = {}, {}
        if not self._waiting:
            return
        functions = {one.function for one in self._waiting.values()}
        regions = [one for name in sorted(well) if (one := self._as_known(name, functions)) is not None]
        busy_s = {
            (one.name, each): self._busy_s(one.name, each, now_s) for one in regions for each in functions
        }
        base_s = {each: min(busy_s[one.name, each] for one in regions) for each in functions}
        speeds = {
            one.name: sum(base_s.values()) / sum(busy_s[one.name, each] for each in functions)
            for one in regions
        }
        steps = [
            Step(
                name=str(one.number),
                busy_s=base_s[one.function],
                function=one.function,
                data_at=one.data_at,
                data_bytes=one.data_bytes,
                memory_mb=one.memory_mb,
                needs=one.needs,
                admits=one.admits,
            )
            for one in self._waiting.values()
        ]
        self.schedule = schedule(
            steps, regions, speeds=speeds, worth_per_s=self._worth_per_s, taken_s=self._taken_s(now_s)
        )
        for planned in self.schedule.planned:
            self._queues.setdefault(planned.region, deque()).append(int(planned.step))
            self._planned_s[int(planned.step)] = planned.end_s - planned.begin_s

    def _as_known(self, name: str, functions: Iterable[str]) -> Region | None:
        """A region as it is now: with the slots that it takes, and the functions that it has."""
        standing = self._standings[name]
        known = tuple(one for one in functions if standing.may_have(one))
        names = {part for one in known for part in (one, *one.split("+"))}
        slots = max(1, int(standing.limit))
        return (
            msgspec.structs.replace(standing.region, slots=slots, functions=tuple(names)) if known else None
        )

    def _busy_s(self, name: str, function: str, now_s: float) -> float:
        """As measured; but no less than what goes on there has taken already."""
        standing = self._standings[name]
        going_s = [
            now_s - one.began_s
            for one in self._going.values()
            if one.region == name and one.function == function
        ]
        return max(_LEAST_S, standing.latency_s(function) - standing.region.rtt_s, *going_s)

    def _taken_s(self, now_s: float) -> dict[str, list[float]]:
        """For how long slots are taken: by what went from here, and as long by what others gave."""
        taken: dict[str, list[float]] = {}
        for one in self._going.values():
            # What takes longer than it should is taken to take as long again.
            so_far_s = now_s - one.began_s
            left_s = self._latency_s(one) - so_far_s
            taken.setdefault(one.region, []).append(left_s if left_s > 0 else so_far_s)
        for name in self._usable:
            own = taken.get(name, [])
            others = self._standings[name].in_flight - len(own)
            taken[name] = own + [max(own, default=0.0)] * max(0, others)
        return taken

    def _latency_s(self, going: _Going) -> float:
        standing = self._standings.get(going.region)
        return going.planned_s if standing is None else standing.latency_s(going.function)

    def _begun(self, number: int, region: str, now_s: float) -> Go:
        invocation = self._waiting.pop(number)
        planned_s = self._planned_s.pop(number, math.inf)
        self._going[number] = _Going(region, invocation.function, now_s, planned_s)
        return Go(invocation, region)


def _is_well(standing: Standing) -> bool:
    return standing.breaker == "closed" and not standing.region.is_draining
