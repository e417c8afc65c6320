"""The model of a region keeps the laws of queues, and the dispatch before it those of its own."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einthoven.continuum import Price
from einthoven.errors import InputInvalid
from einthoven.placement import POLICIES, Dispatch, Terms
from einthoven.simulation.regions import simulate
from einthoven.simulation.serverless import (
    ANSWERED,
    EXPIRED,
    FAILED,
    REFUSED,
    Load,
    MeasuringTool,
    Outcome,
    Pattern,
    ServerlessRegion,
    declared,
)

SMALL = ServerlessRegion(name="small", slots=20, queue=5, held=10, cold_s=1.0, slow_full_per_s=5.0)


def check_every_request_is_accounted_for(outcome: Outcome, asked: int) -> None:
    assert outcome.status.size == outcome.came_s.size == asked
    assert np.isfinite(outcome.took_s).all()
    assert (outcome.took_s > 0).all()
    assert ((outcome.region >= 0) == (outcome.status == ANSWERED)).all()
    for use in outcome.uses:
        assert use.requests == use.answered + use.refused + use.expired + use.left


@given(
    rate_per_s=st.floats(0.5, 60),
    seed=st.integers(0, 10_000),
    pattern=st.sampled_from(["poisson", "even", "patients", "at-once"]),
    queue=st.integers(0, 20),
    held=st.integers(0, 20),
    patience_s=st.floats(0.1, 5),
    is_warm=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_no_request_is_lost_and_no_more_are_served_than_there_are_slots(
    rate_per_s: float,
    seed: int,
    pattern: Pattern,
    queue: int,
    held: int,
    patience_s: float,
    is_warm: bool,
) -> None:
    region = msgspec.structs.replace(SMALL, queue=queue, held=held, patience_s=patience_s)
    load = Load(rate_per_s=rate_per_s, seconds=30.0, pattern=pattern, is_warm=is_warm)
    outcome = simulate([region], load, seed=seed)
    check_every_request_is_accounted_for(outcome, outcome.came_s.size)
    (use,) = outcome.uses
    assert use.most_busy <= region.slots
    assert use.answered == int((outcome.status == ANSWERED).sum())
    assert use.refused == int((outcome.status == REFUSED).sum())
    assert use.expired == int((outcome.status == EXPIRED).sum())
    waits = outcome.took_s[outcome.status == EXPIRED]
    assert np.allclose(waits, patience_s)
    assert (outcome.took_s[outcome.status == ANSWERED] >= region.floor_s).all()


@given(
    rate_per_s=st.floats(1, 90),
    seed=st.integers(0, 10_000),
    policy=st.sampled_from(sorted(POLICIES)),
    waiting=st.integers(0, 50),
    deadline_s=st.one_of(st.none(), st.floats(0.5, 10)),
    hedged_share=st.sampled_from([0.0, 0.05, 1.0]),
    attempt_s=st.sampled_from([1.2, 30.0]),
)
@settings(deadline=None, max_examples=60)
def test_a_dispatch_settles_every_request_whatever_its_regions_do(
    rate_per_s: float,
    seed: int,
    policy: str,
    waiting: int,
    deadline_s: float | None,
    hedged_share: float,
    attempt_s: float,
) -> None:
    regions = [
        SMALL,
        msgspec.structs.replace(SMALL, name="far", rtt_s=0.2),
        msgspec.structs.replace(SMALL, name="narrow", slots=3, queue=0, held=0),
    ]
    terms = Terms(policy=policy, waiting=waiting, hedged_share=hedged_share, attempt_s=attempt_s, seed=seed)
    # The narrow region has fewer slots than the dispatch believes.
    known = [declared(msgspec.structs.replace(one, slots=20)) for one in regions]
    dispatch = Dispatch(known, terms)
    load = Load(rate_per_s=rate_per_s, seconds=20.0, deadline_s=deadline_s)
    outcome = simulate(regions, load, dispatch=dispatch, seed=seed)
    check_every_request_is_accounted_for(outcome, outcome.came_s.size)
    assert dispatch.waiting == 0
    assert all(one.in_flight == 0 for one in dispatch.standings.values())
    for use, region in zip(outcome.uses, regions, strict=True):
        assert use.most_busy <= region.slots
    assert set(outcome.status.tolist()) <= {ANSWERED, FAILED}
    if deadline_s is not None:
        assert (outcome.took_s <= deadline_s + 1e-6).all()


def test_the_same_seed_gives_the_same_and_another_another() -> None:
    load = Load(rate_per_s=20.0, seconds=60.0)

    def run(seed: int) -> list[float]:
        return simulate([SMALL], load, seed=seed).took_s.tolist()

    def dispatched(seed: int) -> list[float]:
        dispatch = Dispatch([declared(SMALL)], Terms(seed=seed))
        return simulate([SMALL], load, dispatch=dispatch, seed=seed).took_s.tolist()

    assert run(1) == run(1) != run(2)
    assert dispatched(1) == dispatched(1) != dispatched(2)


def test_without_anything_drawn_the_plateau_is_slots_by_service_time() -> None:
    region = ServerlessRegion().steady()
    outcome = simulate([region], Load(rate_per_s=1500.0, seconds=60.0, pattern="poisson"))
    wanted = region.slots / (region.floor_s + region.per_hour_s * 30 / 3600)
    # What waits when the last request comes is answered too, in a second more.
    over_s = outcome.elapsed_s
    assert outcome.uses[0].answered / over_s == pytest.approx(wanted, rel=0.03)
    assert outcome.answered_per_s == pytest.approx(wanted, rel=0.05)


@pytest.mark.parametrize("rate_per_s", [100.0, 500.0, 1200.0])
def test_littles_law_holds(rate_per_s: float) -> None:
    """Requests in service are how many begin a second, times how long each is served."""
    region = ServerlessRegion(queue=0, held=0, jitter_s=0.0)
    outcome = simulate([region], Load(rate_per_s=rate_per_s, seconds=200.0, pattern="poisson"), seed=4)
    served = outcome.took_s[outcome.status == ANSWERED]
    (use,) = outcome.uses
    assert use.slot_s == pytest.approx(served.sum(), rel=1e-9)
    per_s = served.size / outcome.elapsed_s
    assert use.mean_busy == pytest.approx(per_s * served.mean(), rel=1e-9)


def test_rare_requests_find_what_has_cooled_down() -> None:
    region = msgspec.structs.replace(ServerlessRegion(), cold_share_most=0.0, slow_share=0.0)
    medians = {
        rate: simulate([region], Load(rate_per_s=rate, seconds=120.0)).percentile_s(50)
        for rate in (50.0, 150.0)
    }
    assert medians[50.0] - medians[150.0] == pytest.approx(region.cooling_s, abs=0.02)


def test_a_cold_region_meets_its_first_requests_cold_and_is_warm_then() -> None:
    region = msgspec.structs.replace(ServerlessRegion(), slow_share=0.0, cold_share_most=0.0)
    load = Load(rate_per_s=100.0, seconds=60.0, pattern="poisson", is_warm=False)
    outcome = simulate([region], load)
    early = outcome.took_s[outcome.came_s < 3]
    late = outcome.took_s[outcome.came_s > 20]
    assert np.median(early) > np.median(late) + 3
    assert outcome.uses[0].cold >= 300


def test_behind_a_dispatch_that_knows_the_slots_no_region_refuses_anything() -> None:
    """Back-pressure: what does not fit waits before the region."""
    regions = [msgspec.structs.replace(SMALL, name=name, queue=0, held=0) for name in "abcd"]
    dispatch = Dispatch([declared(one) for one in regions], Terms(hedged_share=0.0, waiting=10_000))
    load = Load(rate_per_s=200.0, seconds=20.0)
    outcome = simulate(regions, load, dispatch=dispatch)
    assert all(use.refused == use.expired == 0 for use in outcome.uses)
    assert outcome.error_share == 0
    alone = simulate(regions, msgspec.structs.replace(load, rate_per_s=50.0))
    assert alone.error_share > 0.4


def test_requests_are_paid_for() -> None:
    dispatch = Dispatch([declared(SMALL, price=Price(per_invocation=0.5))])
    outcome = simulate([SMALL], Load(rate_per_s=5.0, seconds=10.0), dispatch=dispatch)
    assert outcome.spent == pytest.approx(0.5 * outcome.came_s.size)


@pytest.mark.parametrize("pattern", ["poisson", "even", "patients", "at-once"])
def test_every_pattern_has_its_rate(pattern: Pattern) -> None:
    load = Load(rate_per_s=200.0, seconds=60.0, pattern=pattern)
    times = load.arrivals_s(3)
    assert times.size == 12_000
    assert (np.diff(times) >= 0).all()
    assert times[0] >= 0
    if pattern == "patients":
        assert np.allclose(times[:6000] + 30.0, times[6000:]), "each patient comes every 30 s"


def test_a_burst_brings_so_many_more() -> None:
    load = Load(rate_per_s=100.0, seconds=60.0, burst_from_s=20.0, burst_s=10.0, burst_factor=5.0)
    times = load.arrivals_s(3)
    inside = int(((times >= 20) & (times < 30)).sum())
    assert inside == pytest.approx(5000, rel=0.05)
    assert times.size - inside == pytest.approx(5000, rel=0.05)
    assert (np.diff(times) >= 0).all()


def test_a_tool_sends_no_more_than_it_can_and_is_late_when_it_is_busy() -> None:
    tool = MeasuringTool(limit_per_s=1000.0, lag_s=0.5, lag_from_per_s=400.0, lag_full_per_s=500.0)
    assert tool.reached_per_s(100.0) == pytest.approx(100.0, rel=0.01)
    assert 800 < tool.reached_per_s(1500.0) < 1000
    assert MeasuringTool().reached_per_s(1e6) == 1e6
    outcome = simulate([SMALL], Load(rate_per_s=20.0, seconds=20.0))
    assert tool.seen(outcome, 300.0) is outcome
    seen = tool.seen(outcome, 600.0)
    later = seen.took_s - outcome.took_s
    assert (later[outcome.status == REFUSED] == 0).all()
    assert np.median(later[outcome.status == ANSWERED]) == pytest.approx(0.5, rel=0.1)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InputInvalid, match="slots"):
        ServerlessRegion(slots=0)
    with pytest.raises(InputInvalid, match="0 or more"):
        ServerlessRegion(floor_s=-1.0)
    with pytest.raises(InputInvalid, match="0 or more"):
        ServerlessRegion(floor_s=math.nan)
    with pytest.raises(InputInvalid, match="name of its own"):
        simulate([SMALL, SMALL], Load(rate_per_s=1.0))


# -------------------------------------------------------------------- instances that are warm


def sparse(**more: object) -> Load:
    return Load(**{"rate_per_s": 0.01, "seconds": 1000.0, "pattern": "even", "is_warm": False, **more})


def test_an_instance_that_was_not_used_for_long_is_cold_again() -> None:
    """A request each 100 s."""
    for idle_s, cold in ((90.0, 10), (101.0, 1), (math.inf, 1)):
        region = msgspec.structs.replace(SMALL.steady(), idle_s=idle_s)
        assert simulate([region], sparse(), seed=1).uses[0].cold == cold


def test_what_is_kept_warm_is_not_cold_and_what_is_expected_neither() -> None:
    region = msgspec.structs.replace(SMALL.steady(), idle_s=50.0, cold_s=2.0)
    burst = {"burst_factor": 1001.0, "burst_from_s": 500.0, "burst_s": 1.0}
    kept = simulate([region], sparse(**burst), dispatch=Dispatch([declared(region, warm=12)]), seed=1)
    assert kept.uses[0].cold <= 1, "but for the first, which comes with the calls that wake"
    assert kept.uses[0].warmings >= 12 * 1000 / 50 * 0.8
    woken = Dispatch([declared(region)])
    woken.expect(region.name, 12, 500.0)
    outcome = simulate([region], sparse(**burst), dispatch=woken, seed=1)
    assert outcome.uses[0].warmings == 12
    alone = simulate([region], sparse(**burst), dispatch=Dispatch([declared(region)]), seed=1)
    assert alone.uses[0].most_busy == 11, "the burst, and the one of that moment"
    assert outcome.uses[0].cold == alone.uses[0].cold - 11
    assert np.isfinite(kept.took_s).all()


def test_keeping_warm_is_paid_for() -> None:
    region = msgspec.structs.replace(SMALL.steady(), idle_s=50.0)
    price = Price(per_invocation=1.0)
    spent = [
        simulate(
            [region],
            sparse(),
            dispatch=Dispatch([declared(region, price=price, warm=warm)]),
            seed=1,
        )
        for warm in (0, 5)
    ]
    assert spent[1].spent - spent[0].spent == pytest.approx(spent[1].uses[0].warmings)
    assert spent[0].uses[0].warmings == 0
