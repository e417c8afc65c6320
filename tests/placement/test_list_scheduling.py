"""A schedule keeps its laws whatever the workflow, and is never worse than all of it in one region."""

import math
import time
from collections import defaultdict
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.continuum import Price, Region
from einthoven.errors import InputInvalid
from einthoven.placement import Schedule, Step, listing, schedule

PLACES = ["vienna", "oregon", ""]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Step], list[Region], dict[str, float]]:
    count = draw(st.integers(1, 14))
    steps = []
    for number in range(count):
        before = draw(st.lists(st.integers(0, max(0, number - 1)), max_size=3, unique=True)) if number else []
        steps.append(
            Step(
                name=f"s{number}",
                busy_s=draw(st.floats(0.001, 3)),
                after=tuple(f"s{one}" for one in before),
                output_bytes=draw(st.integers(0, 20_000_000)),
                data_at=draw(st.sampled_from(PLACES)),
                data_bytes=draw(st.integers(0, 20_000_000)),
                needs=frozenset({"eu"}) if draw(st.integers(0, 5)) == 0 else frozenset(),
            )
        )
    regions = [
        Region(
            name=f"r{number}",
            kind="inline",
            place=draw(st.sampled_from(PLACES)),
            slots=draw(st.integers(1, 4)),
            labels=("eu",) if number == 0 or draw(st.booleans()) else (),
            rtt_s=draw(st.floats(0, 0.2)),
            bandwidth_mb_s=draw(st.floats(1, 100)),
            price=Price(per_gb_s=draw(st.floats(0, 1)), per_egress_gb=draw(st.floats(0, 1))),
        )
        for number in range(draw(st.integers(1, 4)))
    ]
    return steps, regions, {one.name: draw(st.floats(0.5, 4)) for one in regions}


def check(made: Schedule, steps: list[Step], regions: list[Region], speeds: dict[str, float]) -> None:
    by_name = {one.name: one for one in regions}
    where = made.by_step
    assert where.keys() == {one.name for one in steps}
    slots = defaultdict(list)
    for step in steps:
        at = where[step.name]
        region = by_name[at.region]
        assert step.needs.issubset(region.labels)
        assert at.end_s - at.begin_s == pytest.approx(region.rtt_s + step.busy_s / speeds[region.name])
        assert 0 <= at.slot < region.slots
        slots[at.region, at.slot].append((at.begin_s, at.end_s))
        for name in step.after:
            there = by_name[where[name].region]
            moves = (there.place or there.name) != (region.place or region.name)
            way_s = region.rtt_s + step_bytes(steps, name) / (region.bandwidth_mb_s * 1e6) if moves else 0.0
            earliest_s = where[name].end_s + (way_s if moves and step_bytes(steps, name) else 0.0)
            # What another invocation had brought there before may be used.
            assert at.begin_s >= where[name].end_s - 1e-9
            assert at.begin_s >= earliest_s - 1e-9 or moves
    for busy in slots.values():
        busy.sort()
        assert all(one[1] <= other[0] + 1e-9 for one, other in pairwise(busy))
    assert made.makespan_s == max(one.end_s for one in made.planned)


def only(regions: list[Region], region: Region) -> list[Region]:
    return [msgspec.structs.replace(one, is_draining=one is not region) for one in regions]


def step_bytes(steps: list[Step], name: str) -> int:
    return next(one.output_bytes for one in steps if one.name == name)


@given(world=worlds())
def test_nothing_begins_before_what_it_reads_and_no_slot_does_two_things(
    world: tuple[list[Step], list[Region], dict[str, float]],
) -> None:
    steps, regions, speeds = world
    made = schedule(steps, regions, speeds=speeds)
    check(made, steps, regions, speeds)
    fastest = max(speeds.values())
    assert made.makespan_s >= max(one.busy_s for one in steps) / fastest - 1e-9
    for region in regions:
        if all(one.needs.issubset(region.labels) for one in steps):
            assert made.makespan_s <= schedule(steps, only(regions, region), speeds=speeds).makespan_s + 1e-9


@given(world=worlds(), worth=st.floats(0.001, 10))
def test_who_weighs_money_against_time_never_pays_more_for_the_two_than_one_region_would(
    world: tuple[list[Step], list[Region], dict[str, float]], worth: float
) -> None:
    steps, regions, speeds = world
    made = schedule(steps, regions, speeds=speeds, worth_per_s=worth)
    check(made, steps, regions, speeds)
    for region in regions:
        if all(one.needs.issubset(region.labels) for one in steps):
            alone = schedule(steps, only(regions, region), speeds=speeds, worth_per_s=worth)
            assert made.cost + worth * made.makespan_s <= alone.cost + worth * alone.makespan_s + 1e-6, (
                region.name
            )


def hours(count: int, at: str = "vienna") -> list[Step]:
    """The batch workflow: an hour each, and joined."""
    each = [
        Step(name=f"hour {n}", busy_s=1.0, data_at=at, data_bytes=3_000_000, output_bytes=300_000)
        for n in range(count)
    ]
    return [*each, Step(name="join", busy_s=0.1, after=tuple(one.name for one in each))]


def test_hours_run_side_by_side_in_as_many_regions_as_it_takes() -> None:
    regions = [Region(name=name, kind="inline", place="vienna", slots=3) for name in "abcd"]
    assert schedule(hours(12), regions).makespan_s == pytest.approx(1.1)
    assert schedule(hours(12), regions[:1]).makespan_s == pytest.approx(4.1)
    drained = [*regions[:1], *(Region(name=n, kind="inline", slots=3, is_draining=True) for n in "bcd")]
    assert schedule(hours(12), drained).makespan_s == pytest.approx(4.1)


def test_computing_goes_to_the_data_where_moving_it_is_slow_or_dear() -> None:
    near = Region(name="near", kind="inline", place="vienna", slots=2, price=Price(per_egress_gb=100.0))
    far = Region(name="far", kind="inline", place="oregon", slots=50, bandwidth_mb_s=0.5)
    made = schedule(hours(6), [near, far])
    assert {one.region for one in made.planned} == {"near"}
    quick = Region(name="quick", kind="inline", place="oregon", slots=50, bandwidth_mb_s=50.0)
    spread = schedule(hours(6), [near, quick])
    assert {one.region for one in spread.planned} == {"near", "quick"}
    assert spread.makespan_s < made.makespan_s
    thrifty = schedule(hours(6), [near, quick], worth_per_s=0.001)
    assert {one.region for one in thrifty.planned} == {"near"}
    assert thrifty.cost < spread.cost


def test_what_was_brought_to_a_place_once_is_there_for_all() -> None:
    first = Step(name="first", busy_s=1.0, output_bytes=10_000_000, needs=frozenset({"here"}))
    readers = [Step(name=f"r{n}", busy_s=1.0, after=("first",), needs=frozenset({"there"})) for n in range(5)]
    here = Region(name="h", kind="inline", place="a", labels=("here",), price=Price(per_egress_gb=1.0))
    there = Region(name="t", kind="inline", place="b", labels=("there",), slots=5, bandwidth_mb_s=10.0)
    made = schedule([first, *readers], [here, there])
    assert made.makespan_s == pytest.approx(1.0 + 1.0 + 1.0)
    assert made.cost == pytest.approx(0.01)


def test_what_cannot_be_scheduled_is_said() -> None:
    region = Region(name="r", kind="inline")
    with pytest.raises(InputInvalid, match="circle"):
        schedule([Step(name="a", busy_s=1, after=("b",)), Step(name="b", busy_s=1, after=("a",))], [region])
    with pytest.raises(InputInvalid, match="no invocation 'x'"):
        schedule([Step(name="a", busy_s=1, after=("x",))], [region])
    with pytest.raises(InputInvalid, match="same name"):
        schedule([Step(name="a", busy_s=1), Step(name="a", busy_s=1)], [region])
    with pytest.raises(InputInvalid, match="no region may have"):
        schedule([Step(name="a", busy_s=1, needs=frozenset({"eu"}))], [region])
    assert schedule([], []) == Schedule(planned=(), makespan_s=0.0, cost=0.0)
    assert math.isfinite(schedule([Step(name="a", busy_s=1)], [region]).makespan_s)


@given(
    world=worlds(),
    taken=st.dictionaries(st.sampled_from(["r0", "r1", "nobody"]), st.lists(st.floats(0, 5), max_size=6)),
)
def test_what_is_taken_by_something_else_is_not_given_again(world, taken: dict[str, list[float]]) -> None:
    """However little is left: at no moment do more run in a region than it has slots."""
    steps, regions, speeds = world
    made = schedule(steps, regions, speeds=speeds, taken_s=taken)
    check(made, steps, regions, speeds)
    for region in regions:
        until_s = sorted(taken.get(region.name, []))[-region.slots :]
        own = [one for one in made.planned if one.region == region.name]
        for one in own:
            beside = sum(
                other is not one and other.begin_s <= one.begin_s < other.end_s - 1e-9 for other in own
            )
            assert beside + 1 + sum(one.begin_s < end_s - 1e-9 for end_s in until_s) <= region.slots


def test_fused_functions_go_where_all_of_them_are() -> None:
    step = Step(name="a", busy_s=1.0, function="split+join")
    regions = [
        Region(name="some", kind="inline", functions=("split",)),
        Region(name="all", kind="inline", functions=("split", "join", "analysis"), rtt_s=1.0),
    ]
    assert schedule([step], regions).planned[0].region == "all"


def test_a_week_of_quarters_of_an_hour_is_scheduled_in_a_moment() -> None:
    """672 invocations that know nothing of each other, on 16 regions of 50 slots."""
    steps = [Step(name=f"s{n}", busy_s=1.0, function="f") for n in range(672)]
    regions = [Region(name=f"r{n}", kind="inline", slots=50, rtt_s=0.01 * n) for n in range(16)]
    began_s = time.perf_counter()
    made = schedule(steps, regions)
    assert time.perf_counter() - began_s < 3.0
    assert made.makespan_s < 1.2


def test_many_invocations_that_read_data_are_scheduled_in_one_walk_over_each_timeline() -> None:
    """What waits a moment for its data leaves gaps in which nothing fits: nobody looks into them."""
    regions = [
        Region(name=f"r{n}", kind="http", address="http://a", slots=20, place=f"p{n}", bandwidth_mb_s=100.0)
        for n in range(4)
    ]
    looked = 0
    gap = listing._gap

    def counted(*what: Any) -> float:
        nonlocal looked
        looked += 1
        return gap(*what)

    steps = [Step(name=str(n), busy_s=1.0, data_at="p0", data_bytes=5_000_000) for n in range(400)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(listing, "_gap", counted)
        made = schedule(steps, regions)
    assert len(made.planned) == 400
    assert looked == 0
