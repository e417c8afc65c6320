"""Serverless regions on a virtual clock: slots, queues, cold starts, slow spells at work. No I/O.

Requests reach a region directly, as in the published load tests, or through the very
`einthoven.placement.Dispatch` that the service drives.
"""

import heapq
import itertools
import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import InputInvalid
from einthoven.placement import Dispatch, GiveUp, Invocation, Planner, Send, Settle, Warm
from einthoven.placement.dispatch import Command
from einthoven.simulation.serverless import (
    ANSWERED,
    EXPIRED,
    FAILED,
    REFUSED,
    Load,
    Outcome,
    RegionUse,
    ServerlessRegion,
)

__all__ = ["simulate"]

_RATE_TAU_S: Final = 10.0
"""Over about so long a region counts how often it is asked."""
_DRAWN: Final = 4096
_LEAST_S: Final = 1e-6
"""A dispatch refuses in no time; so a time is never nothing."""
_DONE, _EXPIRES, _ARRIVES, _ANSWERS, _REFUSES, _LATE = range(6)
_NEW, _WAITING, _HELD, _SERVED, _OVER = range(5)


class _Request:
    """One that a region has, or is on its way."""

    __slots__ = ("attempt", "came_s", "number", "refused_as", "state")

    def __init__(self, number: int, came_s: float, attempt: int = -1) -> None:
        self.number = number
        self.came_s = came_s
        self.attempt = attempt
        self.state = _NEW
        self.refused_as = ANSWERED


_Event = tuple[float, int, int, "_Running | None", _Request]


class _Running:
    """A region at work."""

    def __init__(
        self, region: ServerlessRegion, load: Load, rate_per_s: float, heap: list[_Event], seed: int
    ) -> None:
        self.region = region
        self._base_s = region.floor_s + region.per_hour_s * load.length_s / 3600
        self._heap = heap
        self._normals = _normals(seed)
        self._uniforms = _uniforms(seed + 1)
        self.busy = self.most_busy = 0
        self._used_s = [0.0] * (region.slots if load.is_warm else 0)
        """When each instance was used last; the first ones are, whenever there are several."""
        self._waiting: deque[_Request] = deque()
        self._held: deque[_Request] = deque()
        self._waits = self._holds = 0
        self._rate_per_s = rate_per_s if load.is_warm else 0.0
        self._heard_s = 0.0
        self._factor = 1.0
        self._turns_s = -math.inf
        self._slot_s = 0.0
        self._changed_s = 0.0
        self.requests = self.answered = self.refused = self.expired = self.left = self.cold = 0
        self.warmings = 0

    def arrive(self, request: _Request, now_s: float, order: int) -> bool:
        """A request has come; False: it is refused at once."""
        self.requests += 1
        gap_s = now_s - self._heard_s
        self._heard_s = now_s
        self._rate_per_s = self._rate_per_s * math.exp(-gap_s / _RATE_TAU_S) + 1 / _RATE_TAU_S
        if self.busy < self.region.slots:
            self._begin(request, now_s, order)
            return True
        if self._waits < self.region.queue:
            self._waiting.append(request)
            request.state = _WAITING
            self._waits += 1
        elif self._holds < self.region.held:
            self._held.append(request)
            request.state = _HELD
            self._holds += 1
        else:
            self.refused += 1
            request.state = _OVER
            return False
        heapq.heappush(self._heap, (now_s + self.region.patience_s, order, _EXPIRES, self, request))
        return True

    def _begin(self, request: _Request, now_s: float, order: int) -> None:
        self._slot_s += self.busy * (now_s - self._changed_s)
        self._changed_s = now_s
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        request.state = _SERVED
        heapq.heappush(self._heap, (now_s + self._service_s(now_s), order, _DONE, self, request))

    def done(self, request: _Request, now_s: float, orders: Iterator[int]) -> None:
        """A request has been served; the next one begins."""
        self._slot_s += self.busy * (now_s - self._changed_s)
        self._changed_s = now_s
        self._used_s[self.busy - 1] = now_s
        self.busy -= 1
        self.answered += 1
        request.state = _OVER
        following = self._next()
        if following is not None:
            self._begin(following, now_s, next(orders))

    def _next(self) -> _Request | None:
        if self._waits:
            while True:
                one = self._waiting.popleft()
                if one.state == _WAITING:
                    self._waits -= 1
                    return one
        self._waiting.clear()
        if self._holds:
            while True:
                one = self._held.popleft()
                if one.state == _HELD:
                    self._holds -= 1
                    return one
        self._held.clear()
        return None

    def leave(self, request: _Request) -> bool:
        """A request waits no longer; False: it does not wait."""
        if request.state == _WAITING:
            self._waits -= 1
        elif request.state == _HELD:
            self._holds -= 1
        else:
            return False
        request.state = _OVER
        return True

    def _service_s(self, now_s: float) -> float:
        region = self.region
        if now_s >= self._turns_s:
            self._turn(now_s)
        took_s = self._base_s
        rate_per_s = self._rate_per_s
        if rate_per_s < region.cooling_below_per_s:
            took_s += region.cooling_s
        took_s *= self._factor
        is_cold = self._wake(self.busy, now_s)
        if not is_cold:
            share = region.cold_share_most
            if share and rate_per_s * share > region.cold_per_s:
                share = region.cold_per_s / rate_per_s
            is_cold = share > 0 and next(self._uniforms) < share
        if is_cold:
            self.cold += 1
            took_s += region.cold_s * math.exp(region.cold_sigma * next(self._normals))
        return took_s

    def _wake(self, number: int, now_s: float) -> bool:
        """Use an instance; whether it had to start for it."""
        if number > len(self._used_s):
            self._used_s += [now_s] * (number - len(self._used_s))
            return True
        is_cold = now_s - self._used_s[number - 1] > self.region.idle_s
        self._used_s[number - 1] = now_s
        return is_cold

    def warm(self, count: int, now_s: float) -> list[float]:
        """Be called so many times at once for nothing, beside what is in service; how long each takes."""
        took_s = []
        for number in range(self.busy + 1, min(self.busy + count, self.region.slots) + 1):
            cold_s = self.region.cold_s if self._wake(number, now_s) else 0.0
            took_s.append(self.region.warming_s + cold_s)
            self.warmings += 1
        return took_s

    def way_s(self) -> float:
        """How long an answer is on its way."""
        region = self.region
        if not region.jitter_s:
            return 0.0
        drawn_s = region.jitter_s * math.exp(region.jitter_sigma * next(self._normals))
        return min(drawn_s, region.jitter_most_s)

    def _turn(self, now_s: float) -> None:
        """Another spell."""
        region = self.region
        if not region.slow_share:
            self._turns_s = math.inf
            return
        share = region.slow_share * min(1.0, self._rate_per_s / region.slow_full_per_s)
        self._factor = 1.0
        if next(self._uniforms) < share:
            self._factor = region.slow_least + (region.slow_most - region.slow_least) * next(self._uniforms)
        self._turns_s = now_s - region.spell_s * math.log(1.0 - next(self._uniforms))

    def use(self, until_s: float) -> RegionUse:
        """How it was used."""
        return RegionUse(
            name=self.region.name,
            requests=self.requests,
            answered=self.answered,
            refused=self.refused,
            expired=self.expired,
            left=self.left,
            cold=self.cold,
            warmings=self.warmings,
            most_busy=self.most_busy,
            mean_busy=self._slot_s / until_s if until_s else 0.0,
            slot_s=self._slot_s,
        )


def _normals(seed: int) -> Iterator[float]:
    rng = np.random.default_rng(seed)
    while True:
        yield from rng.standard_normal(_DRAWN).tolist()


def _uniforms(seed: int) -> Iterator[float]:
    rng = np.random.default_rng(seed)
    while True:
        yield from rng.random(_DRAWN).tolist()


def simulate(
    regions: Sequence[ServerlessRegion],
    load: Load,
    *,
    dispatch: Dispatch | None = None,
    is_scheduled: bool = False,
    seed: int = 0,
) -> Outcome:
    """Send a load to regions and see what becomes of it; the same seed gives the same.

    Parameters
    ----------
    dispatch : sends each request where it wants, among regions of the same names; without one each region
        has a load of its own, and whoever is refused stays so.
    is_scheduled : what waits before the dispatch is held back and goes by schedule.
    """
    names = [one.name for one in regions]
    if len(set(names)) < len(names) or not names:
        raise InputInvalid("each region needs a name of its own, and there must be one.", where="regions")
    if dispatch is None:
        return _direct(regions, load, seed)
    planner = Planner(dispatch.standings) if is_scheduled else None
    return _Dispatched(regions, load, dispatch, planner, seed).run()


def _direct(regions: Sequence[ServerlessRegion], load: Load, seed: int) -> Outcome:
    """Regions know nothing of each other, so they are run one after the other."""
    parts = [_alone(one, load, 1000 * seed + 10 * number) for number, one in enumerate(regions)]
    count = [came.size for came, *_ in parts]
    order = np.argsort(np.concatenate([came for came, *_ in parts]), kind="stable")
    which = np.repeat(np.arange(len(parts)), count).astype(np.int16)
    status = np.concatenate([part[2] for part in parts])[order]
    return Outcome(
        came_s=np.concatenate([part[0] for part in parts])[order],
        took_s=np.concatenate([part[1] for part in parts])[order],
        status=status,
        region=np.where(status == ANSWERED, which[order], -1).astype(np.int16),
        uses=tuple(part[3] for part in parts),
        elapsed_s=max(part[4] for part in parts),
    )


def _alone(
    region: ServerlessRegion, load: Load, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int8], RegionUse, float]:
    came_s = load.arrivals_s(seed)
    took_s = np.zeros(came_s.size)
    status = np.zeros(came_s.size, np.int8)
    heap: list[_Event] = []
    running = _Running(region, load, load.rate_per_s, heap, seed + 1)
    orders = itertools.count()
    rtt_s = region.rtt_s
    now_s = 0.0
    for number, at_s in enumerate([*came_s.tolist(), math.inf]):
        while heap and heap[0][0] <= at_s:
            now_s, _, kind, _, request = heapq.heappop(heap)
            if kind == _DONE:
                took_s[request.number] = now_s - request.came_s + rtt_s + running.way_s()
                running.done(request, now_s, orders)
            elif running.leave(request):
                running.expired += 1
                took_s[request.number] = now_s - request.came_s + rtt_s
                status[request.number] = EXPIRED
        if at_s < math.inf and not running.arrive(_Request(number, at_s), at_s, next(orders)):
            took_s[number] = region.refusal_s + rtt_s
            status[number] = REFUSED
    elapsed_s = float((came_s + took_s).max()) if came_s.size else 0.0
    return came_s, took_s, status, running.use(elapsed_s), elapsed_s


class _Dispatched:
    """Regions behind a dispatch."""

    def __init__(
        self,
        regions: Sequence[ServerlessRegion],
        load: Load,
        dispatch: Dispatch,
        planner: Planner | None,
        seed: int,
    ) -> None:
        self._planner = planner
        self._load = load
        self._dispatch = dispatch
        self._heap: list[_Event] = []
        self._orders = itertools.count()
        each_per_s = load.rate_per_s / len(regions)
        self._running = {
            one.name: _Running(one, load, each_per_s, self._heap, 1000 * seed + 10 * number + 1)
            for number, one in enumerate(regions)
        }
        self._numbers = {one.name: number for number, one in enumerate(regions)}
        self._attempts: dict[int, tuple[_Request, _Running]] = {}
        self._came_s = load.arrivals_s(1000 * seed)
        self._took_s = np.full(self._came_s.size, math.nan)
        self._status = np.full(self._came_s.size, FAILED, np.int8)
        self._region = np.full(self._came_s.size, -1, np.int16)

    def run(self) -> Outcome:
        """Until everything is settled and every region is idle."""
        dispatch, heap, load = self._dispatch, self._heap, self._load
        arrivals = self._came_s.tolist()
        number, count = 0, len(arrivals)
        deadline_s = load.deadline_s
        now_s = 0.0
        while True:
            self._begin(now_s)
            at_s = arrivals[number] if number < count else math.inf
            event_s = heap[0][0] if heap else math.inf
            wake_s = self._wake_at_s(now_s)
            if at_s == event_s == math.inf and (wake_s == math.inf or not self._is_open):
                break
            if wake_s < at_s and wake_s < event_s:
                now_s = max(now_s, wake_s)
                self._perform(dispatch.woken(now_s), now_s)
            elif at_s <= event_s:
                now_s = at_s
                invocation = Invocation(
                    number=number,
                    function="ecg",
                    urgency=load.urgency,
                    deadline_s=None if deadline_s is None else at_s + deadline_s,
                    data_at=load.data_at[number % len(load.data_at)] if load.data_at else "",
                    data_bytes=load.data_bytes,
                    memory_mb=load.memory_mb,
                    busy_s=load.busy_s,
                )
                number += 1
                if self._planner is None:
                    self._perform(dispatch.submit(invocation, now_s), now_s)
                else:
                    self._planner.add(invocation)
            else:
                now_s, _, kind, running, request = heapq.heappop(heap)
                self._happen(kind, running, request, now_s)
        elapsed_s = float(np.nanmax(self._came_s + self._took_s))
        return Outcome(
            came_s=self._came_s,
            took_s=self._took_s,
            status=self._status,
            region=self._region,
            uses=tuple(one.use(elapsed_s) for one in self._running.values()),
            elapsed_s=elapsed_s,
            spent=sum(one.spent for one in dispatch.standings.values()),
        )

    @property
    def _is_open(self) -> bool:
        return self._dispatch.unsettled > 0 or (self._planner is not None and self._planner.waiting > 0)

    def _begin(self, now_s: float) -> None:
        """Let go what the schedule has begin now."""
        if self._planner is not None:
            for invocation, region in self._planner.go(now_s):
                wanted = msgspec.structs.replace(invocation, prefers=region)
                self._perform(self._dispatch.submit(wanted, now_s), now_s)

    def _wake_at_s(self, now_s: float) -> float:
        at_s = self._dispatch.wake_at_s(now_s)
        return at_s if self._planner is None else min(at_s, self._planner.wake_at_s(now_s))

    def _happen(self, kind: int, running: "_Running | None", request: _Request, now_s: float) -> None:
        assert running is not None  # noqa: S101 - only those that begin nowhere have none
        half_s = running.region.rtt_s / 2
        if kind == _ARRIVES:
            if request.state == _NEW and not running.arrive(request, now_s, next(self._orders)):
                request.refused_as = REFUSED
                self._later(now_s + running.region.refusal_s + half_s, _ANSWERS, running, request)
        elif kind == _DONE:
            running.done(request, now_s, self._orders)
            self._answer(now_s, half_s + running.way_s(), running, request)
        elif kind == _EXPIRES:
            if running.leave(request):
                running.expired += 1
                request.refused_as = EXPIRED
                self._answer(now_s, half_s, running, request)
        elif kind == _ANSWERS:
            self._told(request, now_s)
        elif request.attempt in self._attempts:
            del self._attempts[request.attempt]
            running.left += running.leave(request)
            self._perform(self._dispatch.broke(request.attempt, "timeout", "late", now_s), now_s)

    def _answer(self, now_s: float, way_s: float, running: _Running, request: _Request) -> None:
        if way_s:
            self._later(now_s + way_s, _ANSWERS, running, request)
        else:
            self._told(request, now_s)

    def _told(self, request: _Request, now_s: float) -> None:
        """The dispatch hears of an answer, if it still waits for it."""
        if self._attempts.pop(request.attempt, None) is None:
            return
        if request.refused_as == ANSWERED:
            commands = self._dispatch.answered(request.attempt, now_s)
        else:
            commands = self._dispatch.broke(request.attempt, "throttled", "full", now_s)
        self._perform(commands, now_s)

    def _bringing_s(self, send: Send) -> float:
        """How long its data are on their way."""
        invocation = send.invocation
        if not invocation.data_bytes:
            return 0.0
        region = self._dispatch.standings[send.region].region
        if region.place == invocation.data_at:
            return 0.0
        return invocation.data_bytes / (region.bandwidth_mb_s * 1e6)

    def _later(self, at_s: float, kind: int, running: _Running, request: _Request) -> None:
        heapq.heappush(self._heap, (at_s, next(self._orders), kind, running, request))

    def _perform(self, commands: list[Command], now_s: float) -> None:
        for command in commands:
            if isinstance(command, Send):
                running = self._running[command.region]
                request = _Request(command.invocation.number, now_s, command.attempt)
                self._attempts[command.attempt] = (request, running)
                away_s = running.region.rtt_s / 2 + self._bringing_s(command)
                if away_s:
                    self._later(now_s + away_s, _ARRIVES, running, request)
                elif not running.arrive(request, now_s, next(self._orders)):
                    request.refused_as = REFUSED
                    self._later(now_s + running.region.refusal_s, _ANSWERS, running, request)
                if command.timeout_s < math.inf:
                    self._later(now_s + command.timeout_s, _LATE, running, request)
                self._region[command.invocation.number] = self._numbers[command.region]
            elif isinstance(command, GiveUp):
                # What runs there runs on: a region is not told.
                request, running = self._attempts.pop(command.attempt)
                if running.leave(request):
                    running.left += 1
                elif request.state == _NEW:
                    request.state = _OVER
            elif isinstance(command, Warm):
                for took_s in self._running[command.region].warm(command.calls, now_s):
                    self._dispatch.warmed(command.region, took_s, self._load.memory_mb)
            elif isinstance(command, Settle):
                if self._planner is not None:
                    self._planner.ended(command.number, now_s)
                self._took_s[command.number] = max(_LEAST_S, now_s - self._came_s[command.number])
                if command.failed is None:
                    self._status[command.number] = ANSWERED
                else:
                    self._region[command.number] = -1
