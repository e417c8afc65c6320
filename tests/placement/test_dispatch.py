"""Dispatching as a conversation: what is sent where, what is settled, and the laws that always hold."""

import heapq
import math
import random
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.continuum import Price, Region
from einthoven.errors import Conflict, InputInvalid, NotFound
from einthoven.placement import POLICIES, Dispatch, GiveUp, Invocation, Send, Settle, Terms, Warm

KINDS = ["transport", "timeout", "throttled", "server", "refused", "payload", "function", "reply"]


def region(name: str, **more: Any) -> Region:
    return Region(name=name, kind="inline", **more)


def call(number: int, **more: Any) -> Invocation:
    return Invocation(number=number, function=more.pop("function", "analysis"), **more)


def sent(commands: list[Any]) -> list[tuple[int, str]]:
    return [(one.invocation.number, one.region) for one in commands if isinstance(one, Send)]


def settled(commands: list[Any]) -> list[tuple[int, str | None]]:
    return [
        (one.number, one.failed.kind if one.failed else None) for one in commands if isinstance(one, Settle)
    ]


class World:
    """Drives a dispatch against regions that behave by chance, by a clock of its own."""

    def __init__(self, dispatch: Dispatch, rng: random.Random, odds: dict[str, dict[str, float]]) -> None:
        self.dispatch = dispatch
        self.rng = rng
        self.odds = odds
        self.now_s = 0.0
        self.events: list[tuple[float, int, str, int, str]] = []
        self.going: dict[int, tuple[int, str]] = {}
        self.settled: dict[int, str | None] = {}
        self.last_s = 0.0
        """When the last one was settled."""
        self.load: dict[str, int] = {}
        self.heaviest: dict[str, int] = {}
        self._count = 0

    def at(self, at_s: float, what: str, number: int, more: str = "") -> None:
        self._count += 1
        heapq.heappush(self.events, (at_s, self._count, what, number, more))

    def perform(self, commands: list[Any]) -> None:
        for one in commands:
            match one:
                case Send():
                    assert one.invocation.number not in self.settled, "it was sent when it was over"
                    assert one.timeout_s > 0
                    self.going[one.attempt] = (one.invocation.number, one.region)
                    load = self.load[one.region] = self.load.get(one.region, 0) + 1
                    self.heaviest[one.region] = max(self.heaviest.get(one.region, 0), load)
                    self._answer(one)
                case GiveUp(attempt):
                    self.load[self.going.pop(attempt)[1]] -= 1
                case Settle():
                    assert one.number not in self.settled, "it was settled twice"
                    self.settled[one.number] = one.failed.kind if one.failed else None
                    self.last_s = self.now_s

    def _answer(self, send: Send) -> None:
        odds = self.odds.get(send.region, {})
        took_s = self.rng.expovariate(1 / odds.get("took_s", 0.05))
        if self.rng.random() < odds.get("hangs", 0.0) or took_s > send.timeout_s:
            self.at(self.now_s + send.timeout_s, "broke", send.attempt, "timeout")
        elif self.rng.random() < odds.get("fails", 0.0):
            self.at(self.now_s + took_s, "broke", send.attempt, self.rng.choice(KINDS))
        else:
            self.at(self.now_s + took_s, "answered", send.attempt)

    def step(self) -> bool:
        wake_s = self.dispatch.wake_at_s(self.now_s)
        if not self.events and wake_s == math.inf:
            return False
        if not self.events or wake_s <= self.events[0][0]:
            self.now_s = max(self.now_s, wake_s)
            self.perform(self.dispatch.woken(self.now_s))
            return True
        at_s, _, what, number, more = heapq.heappop(self.events)
        self.now_s = max(self.now_s, at_s)
        match what:
            case "submit":
                self.perform(self.dispatch.submit(self.calls[number], self.now_s))
            case "answered" | "broke" if number in self.going:
                self.load[self.going.pop(number)[1]] -= 1
                ended = (
                    self.dispatch.answered(number, self.now_s)
                    if what == "answered"
                    else self.dispatch.broke(number, more, "it broke", self.now_s)  # type: ignore[arg-type]
                )
                self.perform(ended)
        return True

    def run(self, calls: list[Invocation], every_s: float) -> None:
        self.calls = {one.number: one for one in calls}
        for one in calls:
            self.at(one.number * every_s, "submit", one.number)
        for _ in range(200 * len(calls) + 10_000):
            if not self.step():
                return
        raise AssertionError("it does not end")


@given(
    seed=st.integers(0, 10_000),
    slots=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    policy=st.sampled_from(sorted(POLICIES)),
    fails=st.floats(0, 0.9),
    hangs=st.floats(0, 0.3),
    waiting=st.integers(0, 30),
    has_deadlines=st.booleans(),
)
def test_each_invocation_is_settled_once_and_no_region_is_given_more_than_its_slots(
    seed: int,
    slots: list[int],
    policy: str,
    fails: float,
    hangs: float,
    waiting: int,
    has_deadlines: bool,
) -> None:
    rng = random.Random(seed)
    regions = [region(f"r{n}", slots=count, labels=("eu",) if n % 2 else ()) for n, count in enumerate(slots)]
    terms = Terms(policy=policy, waiting=waiting, attempt_s=1.0, seed=seed, hedged_share=0.2)
    world = World(
        Dispatch(regions, terms),
        rng,
        {one.name: {"fails": fails * rng.random(), "hangs": hangs * rng.random()} for one in regions},
    )
    calls = [
        call(
            number,
            urgency=rng.choice((0, 1, 2)),
            deadline_s=number * 0.01 + rng.uniform(0.05, 5) if has_deadlines else None,
            needs=frozenset({"eu"}) if rng.random() < 0.2 else frozenset(),
            session=f"p{rng.randrange(4)}" if rng.random() < 0.5 else None,
        )
        for number in range(80)
    ]
    world.run(calls, 0.01)
    assert world.settled.keys() == world.calls.keys()
    assert world.going == {}, "an attempt that nobody waits for was not given up"
    for one in regions:
        assert world.heaviest.get(one.name, 0) <= one.slots
        assert world.dispatch.standings[one.name].in_flight == 0
    assert world.dispatch.waiting == 0


@given(seed=st.integers(0, 10_000), policy=st.sampled_from(sorted(POLICIES)))
def test_what_some_region_can_answer_is_answered(seed: int, policy: str) -> None:
    """Whatever the others do: they hang, refuse connections, or give garbage."""
    rng = random.Random(seed)
    regions = [region(name, slots=4) for name in ("good", "dead", "hanging", "mad")]
    odds = {
        "dead": {"fails": 0.0, "hangs": 0.0},
        "hanging": {"hangs": 1.0},
        "mad": {"fails": 0.0},
    }
    world = World(Dispatch(regions, Terms(policy=policy, attempt_s=1.0, seed=seed)), rng, odds)
    answer = world._answer

    def mad(send: Send) -> None:
        if send.region in ("dead", "mad"):
            kind = "transport" if send.region == "dead" else "reply"
            world.at(world.now_s + 0.001, "broke", send.attempt, kind)
        else:
            answer(send)

    world._answer = mad  # type: ignore[method-assign]
    world.run([call(number) for number in range(60)], 0.05)
    assert set(world.settled.values()) == {None}


def test_labels_decide_where_data_may_go() -> None:
    dispatch = Dispatch([region("here", labels=("eu", "gpu")), region("there", slots=100)])
    wanted = frozenset({"eu", "gpu"})
    assert sent(dispatch.submit(call(1, needs=wanted), 0.0)) == [(1, "here")]
    assert sent(dispatch.submit(call(2, needs=wanted), 0.0)) == [], "it waits for the one that may have it"
    (refused,) = dispatch.submit(call(3, needs=frozenset({"us"})), 0.0)
    assert isinstance(refused, Settle)
    assert refused.failed is not None
    assert refused.failed.kind == "refused"
    assert "label us" in refused.failed.message
    assert sent(dispatch.answered(0, 0.1)) == [(2, "here")]


@given(
    seed=st.integers(0, 10_000),
    labels=st.lists(st.sampled_from(["eu", "us"]), min_size=4, max_size=4),
    changes=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["eu", "us"])), max_size=4),
)
def test_whoever_may_not_have_the_data_is_given_none_whatever_happens(
    seed: int, labels: list[str], changes: list[tuple[int, str]]
) -> None:
    """Through retries, hedges, waiting and regions that become others meanwhile."""
    regions = [region(f"r{i}", labels=(label,), slots=2) for i, label in enumerate(labels)]
    rng = random.Random(seed)
    dispatch = Dispatch(regions, Terms(seed=seed, hedged_share=1.0, explored_share=0.2, attempts=6))
    admits = frozenset(one.spot for one in regions if "eu" in one.labels)
    spots = {one.name: one.spot for one in regions}
    now_s = 0.0
    going: list[Send] = []

    def perform(commands: list[Any]) -> None:
        for one in commands:
            if isinstance(one, Send):
                assert spots[one.region] in admits
                going.append(one)

    for number in range(20):
        perform(dispatch.submit(call(number, admits=admits, deadline_s=now_s + 5.0), now_s))
        if number % 5 == 0 and number // 5 < len(changes):
            at, label = changes[number // 5]
            other = region(f"r{at}", labels=(label,), slots=2)
            spots[other.name] = other.spot
            perform(dispatch.change(other, now_s))
        now_s += 0.2
        perform(dispatch.woken(now_s))
        while going and rng.random() < 0.7:
            done = going.pop(rng.randrange(len(going)))
            if rng.random() < 0.4:
                perform(
                    dispatch.broke(done.attempt, rng.choice(["server", "throttled", "timeout"]), "", now_s)
                )
            else:
                perform(dispatch.answered(done.attempt, now_s))


def test_a_call_that_no_region_may_have_is_refused_at_once() -> None:
    dispatch = Dispatch([region("ward", labels=("eu",))])
    ((number, kind),) = settled(dispatch.submit(call(1, admits=frozenset()), 0.0))
    assert (number, kind) == (1, "refused")


def test_what_is_urgent_goes_first_and_what_can_wait_is_refused_first() -> None:
    dispatch = Dispatch([region("one")], Terms(waiting=10))
    assert sent(dispatch.submit(call(0, urgency=2), 0.0)) == [(0, "one")]
    refused = [settled(dispatch.submit(call(n, urgency=2), 0.0)) for n in range(1, 9)]
    assert refused == [[]] * 6 + [[(7, "throttled")], [(8, "throttled")]]
    assert settled(dispatch.submit(call(20, urgency=0), 0.0)) == []
    assert sent(dispatch.answered(0, 0.1)) == [(20, "one")]


def test_a_region_that_is_gone_is_avoided_and_tried_again_with_one() -> None:
    dispatch = Dispatch([region("a", slots=10), region("b", slots=10)], Terms(policy="round-robin"))
    number = 0
    now_s = 0.0
    to_a = []
    for number in range(30):
        now_s += 0.01
        commands = dispatch.submit(call(number), now_s)
        while any(isinstance(one, Send) for one in commands):
            (send,) = [one for one in commands if isinstance(one, Send)]
            if send.region == "a":
                to_a.append(number)
                commands = dispatch.broke(send.attempt, "transport", "refused", now_s)
            else:
                commands = dispatch.answered(send.attempt, now_s)
        assert settled(commands) == [(number, None)]
    assert len(to_a) == 4, "it was asked until it had failed four times in a row"
    now_s += 0.5
    first = [one for n in (30, 31) for one in dispatch.submit(call(n), now_s)]
    assert sorted(name for _, name in sent(first)).count("a") <= 1
    assert dispatch.standings["a"].breaker in ("open", "half-open")


def test_an_answer_that_is_late_is_asked_of_another_region_and_the_first_one_counts() -> None:
    dispatch = Dispatch([region("a", slots=9), region("b", slots=9)], Terms(hedged_share=1.0))
    now_s = 0.0
    for number in range(20):
        (send,) = dispatch.submit(call(number), now_s)
        assert isinstance(send, Send)
        now_s += 0.1
        dispatch.answered(send.attempt, now_s)
    (send,) = dispatch.submit(call(50, urgency=0), now_s)
    assert isinstance(send, Send)
    began_s = now_s
    commands: list[Any] = []
    while not sent(commands):
        now_s = dispatch.wake_at_s(now_s)
        commands = dispatch.woken(now_s)
    assert began_s + 0.1 < now_s < began_s + 1, "it was not late yet, or for long"
    (second,) = [one for one in commands if isinstance(one, Send)]
    assert {send.region, second.region} == {"a", "b"}
    ended = dispatch.answered(second.attempt, now_s + 0.01)
    assert ended[:2] == [Settle(50, second.attempt, None), GiveUp(send.attempt)]
    assert dispatch.answered(send.attempt, now_s + 0.02) == []


def test_a_session_stays_where_it_is_until_that_is_worse() -> None:
    dispatch = Dispatch([region(name, slots=50) for name in "abcd"], Terms(policy="random", seed=3))
    (first,) = dispatch.submit(call(0, session="p"), 0.0)
    assert isinstance(first, Send)
    dispatch.answered(first.attempt, 0.05)
    now_s = 0.05
    for number in range(1, 20):
        (send,) = dispatch.submit(call(number, session="p"), now_s)
        assert isinstance(send, Send)
        assert send.region == first.region
        now_s += 0.05
        dispatch.answered(send.attempt, now_s)
    dispatch.change(region(first.region, slots=50, is_draining=True), now_s)
    (moved,) = dispatch.submit(call(99, session="p"), now_s)
    assert isinstance(moved, Send)
    assert moved.region != first.region


def test_work_goes_to_the_data_when_moving_it_costs_more() -> None:
    near = region("near", place="vienna", rtt_s=0.02, slots=9)
    far = region("far", place="oregon", rtt_s=0.001, bandwidth_mb_s=10.0, slots=9)
    dispatch = Dispatch([far, near], Terms(policy="fastest"))
    assert sent(dispatch.submit(call(0), 0.0)) == [(0, "far")]
    large = call(1, data_at="vienna", data_bytes=30_000_000)
    assert sent(dispatch.submit(large, 0.0)) == [(1, "near")]


def test_what_can_wait_goes_where_it_is_cheap_and_what_is_urgent_where_it_is_fast() -> None:
    fast = region("fast", slots=9, rtt_s=0.001, price=Price(per_invocation=1e-3))
    cheap = region("cheap", slots=9, rtt_s=0.1, price=Price(per_invocation=1e-6))
    dispatch = Dispatch([fast, cheap])
    assert sent(dispatch.submit(call(0, urgency=0), 0.0)) == [(0, "fast")]
    assert sent(dispatch.submit(call(1, urgency=2), 0.0)) == [(1, "cheap")]


def test_regions_come_and_go_and_what_they_have_goes_on_elsewhere() -> None:
    dispatch = Dispatch([region("a", slots=2)])
    assert sent(dispatch.submit(call(0), 0.0)) == [(0, "a")]
    dispatch.add(region("b", slots=2))
    with pytest.raises(Conflict, match="already"):
        dispatch.add(region("b"))
    moved = dispatch.remove("a", 0.1)
    assert moved[0] == GiveUp(0)
    assert sent(moved) == [(0, "b")]
    with pytest.raises(NotFound, match="no region 'a'"):
        dispatch.remove("a", 0.2)
    drained = dispatch.change(region("b", slots=2, is_draining=True), 0.2)
    assert drained == []
    (refused,) = dispatch.submit(call(1), 0.2)
    assert isinstance(refused, Settle)


def test_an_unknown_policy_is_said_with_those_that_there_are() -> None:
    with pytest.raises(InputInvalid, match="balanced"):
        Dispatch([], Terms(policy="best"))


def test_a_decision_among_sixteen_regions_takes_a_few_microseconds() -> None:
    dispatch = Dispatch([region(f"r{n}", slots=1000) for n in range(16)])
    taken_s = []
    for batch in range(20):
        calls = [call(1000 * batch + number) for number in range(200)]
        began_s = time.perf_counter()
        commands = [dispatch.submit(one, 0.0) for one in calls]
        taken_s.append((time.perf_counter() - began_s) / 200)
        for made in commands:
            dispatch.answered(made[0].attempt, 0.05)  # type: ignore[union-attr]
    assert min(taken_s) < 100e-6, "the goal is 20 µs on a quiet machine; bench says how many"


class Steady(World):
    """Every answer takes as long."""

    took_s = 1.0

    def _answer(self, send: Send) -> None:
        if self.took_s > send.timeout_s:
            self.at(self.now_s + send.timeout_s, "broke", send.attempt, "timeout")
        else:
            self.at(self.now_s + self.took_s, "answered", send.attempt)


def test_a_flood_of_invocations_with_deadlines_does_not_make_a_region_look_broken() -> None:
    dispatch = Dispatch([region("one", slots=10)], Terms(waiting=1000))
    world = Steady(dispatch, random.Random(1), {})
    world.run([call(n, deadline_s=n / 30 + 5.0) for n in range(1800)], 1 / 30)
    answered = sum(one is None for one in world.settled.values())
    assert answered > 0.9 * 10 * 60, "ten slots, a second each, for a minute"
    assert dispatch.standings["one"].failures == 0


def test_a_region_that_was_slow_is_found_to_be_fast_again() -> None:
    regions = [region("a", slots=50), region("b", slots=50)]
    dispatch = Dispatch(regions, Terms(policy="fastest"))
    went: dict[str, int] = {"a": 0, "b": 0}
    now_s = 0.0
    for number in range(6000):
        now_s += 0.02
        commands = dispatch.submit(call(number), now_s)
        for one in commands:
            if isinstance(one, Send):
                slow = one.region == "b" and number < 1000
                went[one.region] += number >= 4000
                dispatch.answered(one.attempt, now_s + (0.3 if slow else 0.05 if one.region == "b" else 0.1))
    assert went["b"] > went["a"], "b has been twice as fast for long"


def test_of_a_region_that_has_not_answered_the_usual_time_is_thought() -> None:
    dispatch = Dispatch([region("a", slots=1000)], Terms(policy="fastest"))
    for number in range(50):
        (send,) = dispatch.submit(call(number), float(number))
        assert isinstance(send, Send)
        dispatch.answered(send.attempt, number + 0.9)
    dispatch.add(region("b", slots=1000, rtt_s=0.05))
    assert dispatch.standings["b"].latency_s("analysis") == pytest.approx(0.95, abs=0.01)


def test_when_no_region_answers_whoever_waits_is_told_before_long() -> None:
    dispatch = Dispatch([region("a"), region("b")], Terms(patience_s=5.0))
    odds = {name: {"fails": 0.0} for name in "ab"}
    world = World(dispatch, random.Random(1), odds)
    world._answer = lambda send: world.at(world.now_s, "broke", send.attempt, "transport")  # type: ignore[method-assign]
    world.run([call(n, deadline_s=3600.0) for n in range(60)], 0.05)
    assert set(world.settled.values()) == {"transport"}
    assert world.last_s < 60 * 0.05 + 40, "not when their time is over in an hour"


# -------------------------------------------------------------------- what regions have


def test_a_function_that_a_region_lacks_is_looked_for_in_all_others_and_not_there_again() -> None:
    """However many lack it: that is no fault of the invocation, and uses none of its attempts."""
    dispatch = Dispatch([region(f"r{n}") for n in range(9)], Terms(policy="round-robin", attempts=1))
    commands = dispatch.submit(call(1, function="split"), 0.0)
    asked = []
    while sent(commands)[0][1] != "r8":
        asked.append(sent(commands)[0][1])
        (send,) = commands
        commands = dispatch.broke(send.attempt, "refused", "unknown", 0.0, is_unknown=True)
    assert len(asked) == len(set(asked))
    assert settled(dispatch.answered(commands[0].attempt, 0.1)) == [(1, None)]
    for number in range(2, 30):
        (send,) = dispatch.submit(call(number, function="split", urgency=0), 1.0)
        assert send.region not in asked
        dispatch.answered(send.attempt, 1.0)


def test_a_function_that_nobody_has_is_refused_at_once_also_to_those_who_wait() -> None:
    dispatch = Dispatch([region("a")])
    (send,) = dispatch.submit(call(1, function="split"), 0.0)
    assert dispatch.submit(call(2, function="split"), 0.0) == []
    commands = dispatch.broke(send.attempt, "refused", "unknown", 0.0, is_unknown=True)
    assert settled(commands) == [(1, "refused"), (2, "refused")]
    assert dispatch.waiting == 0
    (settle,) = dispatch.submit(call(3, function="split"), 0.0)
    assert settle.failed.is_unknown
    assert "split" in settle.failed.message
    assert sent(dispatch.submit(call(4), 0.0)) == [(4, "a")], "other functions go there"


def test_what_a_region_says_it_has_is_what_it_is_given_until_it_says_otherwise() -> None:
    dispatch = Dispatch([region("a", slots=99), region("b", slots=99, functions=("split", "join"))])
    dispatch.learn("a", ["split"], 0.0)
    dispatch.learn("b", ["split", "analysis"], 0.0)
    dispatch.learn("gone", ["split"], 0.0)
    assert {sent(dispatch.submit(call(n, function="join"), 0.0))[0][1] for n in range(9)} == {"b"}
    (settle,) = dispatch.submit(call(20), 0.0)
    assert settle.failed.is_unknown, "what is declared counts for b, not what it says"
    (settle,) = dispatch.submit(call(21, function="split+analysis"), 0.0)
    assert settle.failed.is_unknown, "of fused functions it needs all"
    dispatch.learn("a", ["split", "analysis"], 1.0)
    assert sent(dispatch.submit(call(22, function="split+analysis"), 1.0)) == [(22, "a")]
    dispatch.learn("a", [], 2.0)
    assert sent(dispatch.submit(call(23, function="anything"), 2.0)) == [(23, "a")], "it does not say"


def test_a_function_may_be_waited_for_where_its_only_region_is_away() -> None:
    dispatch = Dispatch([region("a"), region("b")], Terms(policy="round-robin"))
    dispatch.standings["b"].avoid(0.0)
    (send,) = dispatch.submit(call(1, function="split"), 0.0)
    assert send.region == "a"
    assert settled(dispatch.broke(send.attempt, "refused", "unknown", 0.0, is_unknown=True)) == []
    commands: list[Any] = []
    now_s = 0.0
    while not sent(commands):
        now_s = dispatch.wake_at_s(now_s)
        assert now_s < 2.0
        commands = dispatch.woken(now_s)
    assert sent(commands) == [(1, "b")]


# -------------------------------------------------------------------- instances that are warm


def warmed(commands: list[Any]) -> list[tuple[str, int]]:
    return [(one.region, one.calls) for one in commands if isinstance(one, Warm)]


def test_instances_are_kept_warm_at_intervals_and_what_is_in_use_need_not_be_called() -> None:
    dispatch = Dispatch([region("a", slots=9, warm=4, idle_s=100.0), region("b", slots=9)])
    assert dispatch.wake_at_s(5.0) <= 5.0, "from the beginning"
    assert warmed(dispatch.woken(5.0)) == [("a", 4)]
    assert dispatch.wake_at_s(5.0) == pytest.approx(85.0)
    assert warmed(dispatch.woken(84.0)) == []
    for number in range(3):
        dispatch.submit(call(number, needs=frozenset(), session="s", urgency=0), 84.5)
    busy = dispatch.standings["a"].in_flight
    assert warmed(dispatch.woken(85.0)) == ([("a", 4 - busy)] if busy < 4 else [])
    dispatch.warmed("a", 0.01)
    assert dispatch.standings["a"].warmings == 1


def test_keeping_warm_costs_what_a_call_costs() -> None:
    price = Price(per_invocation=1.0, per_gb_s=8.0, billing_step_s=0.5)
    dispatch = Dispatch([region("a", price=price)])
    dispatch.warmed("a", 0.1)
    assert dispatch.standings["a"].spent == pytest.approx(1.0 + 8.0 * 0.5 / 8)


def test_a_burst_that_is_expected_finds_instances_that_have_started() -> None:
    dispatch = Dispatch([region("a", slots=8, cold_s=3.0)])
    dispatch.expect("a", 20, 60.0)
    dispatch.expect("nobody", 20, 60.0)
    assert dispatch.wake_at_s(0.0) == 57.0
    assert warmed(dispatch.woken(57.0)) == [("a", 8)], "no more than its slots"
    assert dispatch.wake_at_s(57.0) == math.inf, "once"
    dispatch.expect("a", 2, 57.5)
    assert warmed(dispatch.woken(57.0)) == [("a", 2)], "late is better than not at all"


def test_what_drains_or_is_gone_or_does_not_answer_is_not_kept_warm() -> None:
    dispatch = Dispatch([region(name, warm=1, idle_s=10.0) for name in "abc"])
    dispatch.change(region("a", warm=1, idle_s=10.0, is_draining=True), 0.0)
    dispatch.remove("b", 0.0)
    dispatch.standings["c"].avoid(0.0)
    assert warmed(dispatch.woken(0.0)) == []
    dispatch.change(region("a", warm=1, idle_s=10.0), 1.0)
    dispatch.standings["c"].refused(1.0)
    dispatch.change(region("c", warm=0), 1.0)
    assert warmed(dispatch.woken(8.0)) == [("a", 1)]
    assert warmed(dispatch.woken(100.0)) == [("a", 1)], "c is not any more"
