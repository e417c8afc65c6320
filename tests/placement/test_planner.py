"""Offline work by schedule: what begins where and when, in a world whose times nobody knows beforehand."""

import heapq
import math
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from einthoven.continuum import Region
from einthoven.placement import Dispatch, GiveUp, Invocation, Planner, Send, Settle, Terms


def region(name: str, **more: Any) -> Region:
    return Region(**{"name": name, "kind": "inline", **more})


class World:
    """A dispatch, a planner before it or none, and regions that take the time that they take."""

    def __init__(
        self,
        regions: list[Region],
        took_s: dict[str, float],
        *,
        is_planned: bool,
        fails: dict[str, float] | None = None,
        noise: float = 0.0,
        seed: int = 0,
        policy: str = "balanced",
    ) -> None:
        self.dispatch = Dispatch(regions, Terms(policy=policy, waiting=100_000))
        self.planner = Planner(self.dispatch.standings) if is_planned else None
        self.took_s = took_s
        self.fails = fails or {}
        self.noise = noise
        self.rng = random.Random(seed)
        self.now_s = 0.0
        self.events: list[tuple[float, int, int, str]] = []
        self.given_up: set[int] = set()
        self.attempts: dict[int, int] = {}
        self.answered: dict[int, str] = {}
        self.failed: dict[int, str] = {}
        self.sent: list[tuple[int, str]] = []
        self._count = 0

    def run(self, invocations: list[Invocation], most_s: float = 1e6) -> float:
        """When the last one was settled."""
        if self.planner is None:
            for one in invocations:
                self.perform(self.dispatch.submit(one, self.now_s))
        else:
            for one in invocations:
                self.planner.add(one)
        last_s = 0.0
        while len(self.answered) + len(self.failed) < len(invocations):
            self.begin()
            event_s = self.events[0][0] if self.events else math.inf
            wake_s = self.dispatch.wake_at_s(self.now_s)
            if self.planner is not None:
                wake_s = min(wake_s, self.planner.wake_at_s(self.now_s))
            assert min(event_s, wake_s) < math.inf, "it waits for nothing"
            if wake_s < event_s:
                self.now_s = max(self.now_s, wake_s)
                self.perform(self.dispatch.woken(self.now_s))
            else:
                self.now_s, _, attempt, name = heapq.heappop(self.events)
                if attempt in self.given_up:
                    continue
                is_away = self.now_s >= self.fails.get(name, math.inf)
                self.perform(
                    self.dispatch.broke(attempt, "transport", "away", self.now_s)
                    if is_away
                    else self.dispatch.answered(attempt, self.now_s)
                )
            assert self.now_s < most_s
            last_s = self.now_s
        return last_s

    def begin(self) -> None:
        if self.planner is not None:
            for invocation, name in self.planner.go(self.now_s):
                wanted = Invocation(
                    number=invocation.number, function="f", urgency=2, prefers=name, needs=invocation.needs
                )
                self.perform(self.dispatch.submit(wanted, self.now_s))

    def perform(self, commands: list[Any]) -> None:
        for one in commands:
            match one:
                case Send():
                    self._count += 1
                    self.attempts[one.attempt] = one.invocation.number
                    self.sent.append((one.invocation.number, one.region))
                    took_s = self.took_s[one.region] * math.exp(self.noise * self.rng.gauss(0, 1))
                    is_away = self.now_s >= self.fails.get(one.region, math.inf)
                    at_s = self.now_s + (0.01 if is_away else took_s)
                    heapq.heappush(self.events, (at_s, self._count, one.attempt, one.region))
                    standing = self.dispatch.standings[one.region]
                    assert standing.in_flight <= standing.region.slots
                case GiveUp(attempt):
                    self.given_up.add(attempt)
                case Settle(number, attempt, failed):
                    assert number not in self.answered
                    if failed is None:
                        assert attempt is not None
                        self.answered[number] = "answered"
                    else:
                        self.failed[number] = failed.kind
                    if self.planner is not None:
                        self.planner.ended(number, self.now_s)


def batch(count: int, **more: Any) -> list[Invocation]:
    return [Invocation(number=n, function="f", urgency=2, **more) for n in range(count)]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Region], dict[str, float]]:
    names = "abcd"[: draw(st.integers(1, 4))]
    regions = [region(name, slots=draw(st.integers(1, 5)), rtt_s=draw(st.floats(0, 0.2))) for name in names]
    return regions, {one.name: one.rtt_s + draw(st.floats(0.01, 8)) for one in regions}


@given(world=worlds(), count=st.integers(0, 40), noise=st.floats(0, 0.5), seed=st.integers(0, 99))
def test_everything_is_answered_once_and_in_no_more_than_the_slots(
    world, count: int, noise: float, seed: int
) -> None:
    regions, took_s = world
    made = World(regions, took_s, is_planned=True, noise=noise, seed=seed)
    made.run(batch(count))
    assert len(made.answered) == count
    assert not made.failed
    assert made.planner is not None
    assert made.planner.waiting == 0


@given(world=worlds(), count=st.integers(1, 40), at_s=st.floats(0, 5), seed=st.integers(0, 99))
def test_what_a_region_that_dies_was_to_have_others_do(world, count: int, at_s: float, seed: int) -> None:
    regions, took_s = world
    regions = [*regions, region("mortal", slots=3)]
    made = World(
        regions, {**took_s, "mortal": 0.5}, is_planned=True, fails={"mortal": at_s}, noise=0.1, seed=seed
    )
    made.run(batch(count))
    assert len(made.answered) == count


@given(world=worlds(), count=st.integers(1, 60), seed=st.integers(0, 99))
def test_it_is_never_much_later_than_the_best_region_alone(world, count: int, seed: int) -> None:
    """Though no time is known at first: what was begun to find out how long it takes is what it may cost."""
    regions, took_s = world
    last_s = World(regions, took_s, is_planned=True, seed=seed).run(batch(count))
    alone_s = min(math.ceil(count / one.slots) * took_s[one.name] for one in regions)
    assert last_s <= alone_s + max(took_s.values()) + 1.0


def test_the_last_ones_wait_for_the_fast_region_instead_of_beginning_in_the_slow_one() -> None:
    """Which is what makes a schedule: a policy only sees who is free."""
    regions = [region("fast", slots=2), region("slow", slots=2)]
    took_s = {"fast": 1.0, "slow": 6.0}
    planned = World(regions, took_s, is_planned=True)
    assert planned.run(batch(21)) <= 10.0 + 0.5
    for policy in ("balanced", "fastest", "least-loaded"):
        assert World(regions, took_s, is_planned=False, policy=policy).run(batch(21)) >= 12.0


def test_data_are_brought_where_that_is_worth_it() -> None:
    regions = [region("near", place="vienna"), region("far", place="oregon", slots=50, bandwidth_mb_s=1.0)]
    for size, expected in ((1_000, "far"), (1_000_000_000, "near")):
        world = World(regions, {"near": 1.0, "far": 1.0}, is_planned=True)
        assert world.planner is not None
        for one in batch(6, data_at="vienna", data_bytes=size):
            world.planner.add(one)
        begun = world.planner.go(0.0)
        chosen = [one.region for one in world.planner.schedule.planned]
        assert chosen.count(expected) >= 5, chosen
        assert {one.region for one in begun} <= {"near", "far"}


def test_what_no_region_that_is_well_may_have_goes_as_the_policy_says() -> None:
    dispatch = Dispatch([region("a", labels=("eu",)), region("b", slots=9)])
    planner = Planner(dispatch.standings)
    planner.add(Invocation(number=1, function="f", needs=frozenset({"eu"})))
    planner.add(Invocation(number=2, function="f", needs=frozenset({"moon"})))
    dispatch.standings["a"].avoid(0.0)
    assert {(one.invocation.number, one.region) for one in planner.go(0.0)} == {(1, ""), (2, "")}
    assert planner.wake_at_s(0.0) == math.inf


def test_what_nobody_wants_any_more_does_not_begin() -> None:
    dispatch = Dispatch([region("a")])
    planner = Planner(dispatch.standings)
    for one in batch(3):
        planner.add(one)
    (first,) = planner.go(0.0)
    planner.withdraw(1)
    planner.ended(first.invocation.number, 1.0)
    assert [one.invocation.number for one in planner.go(1.0)] == [2]
    assert planner.waiting == 0
