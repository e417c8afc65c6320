"""Flows over sites and links: bytes and work add up, energy is power times time, causes come first."""

import math
import os
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einthoven.continuum import Continuum, Link, Site, read_continuum
from einthoven.errors import InputInvalid
from einthoven.simulation.flow_events import Emission, FlowsRun, Outage, run_flows
from einthoven.simulation.flows import Flow, Step, Transfer, Work, formula

EXAMPLES = 1000 if os.environ.get("EINTHOVEN_EXAMPLES") == "thorough" else 60
TIERS_OF = {"home": "local", "mast": "edge", "cloud": "core"}
AMOUNTS = st.integers(0, 40).map(lambda n: 0.25 * n)


@st.composite
def continua(draw: st.DrawFn) -> Continuum:
    """Three sites in a row, with all that can differ."""
    sites = tuple(
        Site(
            name=name,
            tier=tier,  # type: ignore[arg-type]
            cycles_per_s=draw(st.sampled_from([1.0, 4.0])),
            one_request_cycles_per_s=draw(st.sampled_from([1.0, 3.0, math.inf])),
            busy_w=draw(st.sampled_from([5.0, 8.0])),
            idle_w=draw(st.sampled_from([0.0, 2.0])),
            startup_s=draw(st.sampled_from([0.0, 0.5])),
        )
        for name, tier in TIERS_OF.items()
    )
    links = tuple(
        Link(
            name=f"{a}-{b}",
            between=(a, b),
            bits_per_s=draw(st.sampled_from([8.0, 32.0])),
            latency_s=draw(st.sampled_from([0.0, 0.25])),
            joules_per_bit=draw(st.sampled_from([0.0, 0.5])),
            loss=draw(st.sampled_from([0.0, 0.3])),
            is_duplex=draw(st.booleans()),
        )
        for a, b in pairwise(TIERS_OF)
    )
    return Continuum(sites=sites, links=links)


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    steps: list[Step] = []
    for number in range(draw(st.integers(1, 6))):
        after = draw(st.sets(st.integers(0, number - 1), max_size=2)) if number else set()
        is_loop = not number or (draw(st.booleans()) and all(steps[one].is_loop for one in after))
        if draw(st.booleans()):
            site = draw(st.sampled_from(list(TIERS_OF)))
            steps.append(
                Work(name=f"w{number}", site=site, cycles=draw(AMOUNTS), after=tuple(after), is_loop=is_loop)
            )
        else:
            a, b = draw(st.sampled_from(list(pairwise(TIERS_OF))))
            steps.append(
                Transfer(
                    name=f"t{number}",
                    link=f"{a}-{b}",
                    to=draw(st.sampled_from([a, b])),
                    content_bytes=draw(AMOUNTS),
                    after=tuple(after),
                    is_loop=is_loop,
                    is_kept=draw(st.booleans()),
                )
            )
    return Flow(name="made", steps=tuple(steps))


@st.composite
def runs(draw: st.DrawFn) -> tuple[Continuum, list[Emission], FlowsRun]:
    continuum = draw(continua())
    made = [
        Emission(at_s=0.5 * draw(st.integers(0, 20)), flow=draw(flows()))
        for _ in range(draw(st.integers(1, 6)))
    ]
    names = [one.name for one in continuum.sites] + [one.name for one in continuum.links]
    outages = [
        Outage(name=draw(st.sampled_from(names)), from_s=begins, to_s=begins + draw(st.integers(1, 8)))
        for begins in draw(st.lists(st.integers(0, 12).map(float), max_size=3))
    ]
    until_s = draw(st.sampled_from([math.inf, 3.0, 9.5]))
    ran = run_flows(continuum, made, until_s=until_s, outages=outages, seed=draw(st.integers(0, 9)))
    assert_same(ran, run_flows(continuum, made, until_s=until_s, outages=outages, seed=0), continuum)
    return continuum, made, ran


def assert_same(one: FlowsRun, other: FlowsRun, continuum: Continuum) -> None:
    """Where nothing can be lost, the seed changes nothing."""
    if not any(link.loss for link in continuum.links):
        assert (one.sites, one.links, one.happened) == (other.sites, other.links, other.happened)


@settings(max_examples=EXAMPLES, deadline=None)
@given(runs())
def test_what_comes_in_goes_out_is_dropped_or_is_under_way(
    of: tuple[Continuum, list[Emission], FlowsRun],
) -> None:
    """By link in bytes, by site in cycles; counted again from what happened, step by step."""
    _, made, ran = of
    done = {(one.emission, one.step) for one in ran.happened if one.arrives_s <= ran.elapsed_s}
    for link in ran.links:
        whole = link.received_bytes + link.dropped_bytes + link.under_way_bytes
        assert link.entered_bytes == pytest.approx(whole)
        arrived = [
            step.content_bytes
            for emission, number in done
            if isinstance(step := made[emission].flow.steps[number], Transfer) and step.link == link.name
        ]
        assert link.received_bytes == pytest.approx(math.fsum(arrived))
    for site in ran.sites:
        assert site.issued_cycles == pytest.approx(
            site.done_cycles + site.dropped_cycles + site.waiting_cycles
        )
        assert site.issued_cycles <= site.asked_cycles + 1e-9
        assert site.utilisation <= 1 + 1e-9
        assert site.utilisation <= site.demand + 1e-9


@settings(max_examples=EXAMPLES, deadline=None)
@given(runs())
def test_energy_is_power_times_time(of: tuple[Continuum, list[Emission], FlowsRun]) -> None:
    """The power of all that is busy, moment by moment, summed over time, is what sites and links say."""
    continuum, made, ran = of
    changes: list[tuple[float, float]] = []
    for one in ran.happened:
        step = made[one.emission].flow.steps[one.step]
        if isinstance(step, Work):
            site = continuum.site(step.site)
            each = min(site.cycles_per_s, site.one_request_cycles_per_s)
            power_w = (site.busy_w - site.idle_w) * each / site.cycles_per_s
        else:
            link = next(two for two in continuum.links if two.name == step.link)
            power_w = link.joules_per_bit * link.bits_per_s
        changes += [(one.begins_s, power_w), (one.ends_s, -power_w)]
    changes.sort()
    energy_j = now_w = 0.0
    for (at_s, change_w), (next_s, _) in pairwise([*changes, (ran.elapsed_s, 0.0)]):
        now_w += change_w
        energy_j += now_w * (next_s - at_s)
    assert ran.dynamic_j == pytest.approx(energy_j, abs=1e-9)


@settings(max_examples=EXAMPLES, deadline=None)
@given(runs())
def test_nothing_happens_before_its_cause(of: tuple[Continuum, list[Emission], FlowsRun]) -> None:
    _, made, ran = of
    arrives = {(one.emission, one.step): one.arrives_s for one in ran.happened if one.status == "done"}
    for one in ran.happened:
        assert made[one.emission].at_s <= one.ready_s <= one.begins_s <= one.ends_s <= one.arrives_s
        for before in made[one.emission].flow.steps[one.step].after:
            assert arrives[one.emission, before] <= one.ready_s
    assert [one.ends_s for one in ran.happened] == sorted(one.ends_s for one in ran.happened)


@settings(max_examples=EXAMPLES, deadline=None)
@given(continua(), flows(), st.integers(0, 3))
def test_the_same_seed_gives_the_same_run(continuum: Continuum, flow: Flow, seed: int) -> None:
    made = [Emission(at_s=0.5 * number, flow=flow) for number in range(4)]
    one, other = (run_flows(continuum, made, seed=seed) for _ in range(2))
    assert (one.sites, one.links, one.happened) == (other.sites, other.links, other.happened)
    assert np.array_equal(one.latency_s, other.latency_s, equal_nan=True)


@settings(max_examples=EXAMPLES, deadline=None)
@given(continua(), flows())
def test_no_loop_is_faster_than_the_formula(continuum: Continuum, flow: Flow) -> None:
    alone = formula(continuum, flow)
    ran = run_flows(continuum, [Emission(at_s=0.0, flow=flow)])
    assert ran.latency_s[0] >= alone.latency_s - 1e-9
    assert ran.done_cycles == pytest.approx(math.fsum(alone.cycles.values()))
    assert ran.received_bytes == pytest.approx(math.fsum(alone.sent_bytes.values()))
    if not any(link.loss for link in continuum.links):
        assert ran.dynamic_j == pytest.approx(alone.compute_j + alone.network_j)
        weighted = math.fsum(one.byte_seconds for one in ran.links)
        assert weighted == pytest.approx(alone.byte_seconds)


PAIR = """
[sites.home]
tier = "local"
compute = "2 cycle/s"
busy_power = "3 W"
idle_power = "1 W"
[sites.mast]
tier = "edge"
[links.air]
between = ["home", "mast"]
rate = "8 bit/s"
latency = "1 s"
energy = "2 J/bit"
"""


def sent(content_bytes: float, *, is_kept: bool = False) -> Flow:
    step = Transfer(name="up", link="air", to="mast", content_bytes=content_bytes, is_kept=is_kept)
    return Flow(name="sent", steps=(step,))


def test_what_is_sent_in_an_outage_is_dropped_or_kept_for_later() -> None:
    outage = Outage(name="air", from_s=1.0, to_s=10.0)
    made = [Emission(at_s=0.0, flow=sent(4.0)), Emission(at_s=2.0, flow=sent(1.0))]
    dropped = run_flows(read_continuum(PAIR), made, outages=[outage])
    assert np.isnan(dropped.latency_s).all()
    assert (dropped.link("air").dropped_bytes, dropped.link("air").energy_j) == (5.0, 16.0)
    kept = run_flows(
        read_continuum(PAIR),
        [Emission(at_s=0.0, flow=sent(4.0, is_kept=True)), Emission(at_s=2.0, flow=sent(1.0, is_kept=True))],
        outages=[outage],
    )
    assert kept.latency_s.tolist() == [15.0, 14.0]
    assert kept.link("air").energy_j == 16.0 + 80.0


def test_a_site_that_is_gone_takes_no_power_and_drops_its_work() -> None:
    flow = Flow(name="think", steps=(Work(name="think", site="home", cycles=8.0),))
    outage = Outage(name="home", from_s=1.0, to_s=3.0)
    ran = run_flows(read_continuum(PAIR), [Emission(at_s=0.0, flow=flow)], until_s=5.0, outages=[outage])
    home = ran.site("home")
    assert (home.dropped_cycles, home.static_j, home.dynamic_j) == (8.0, 3.0, 2.0)


def test_overload_is_said_and_its_backlog_grows_with_time() -> None:
    """Three cycles a second where there are two: a second's work more waits for every two seconds."""
    flow = Flow(name="think", steps=(Work(name="think", site="home", cycles=3.0),))
    made = [Emission(at_s=float(second), flow=flow) for second in range(100)]
    waiting = []
    for until_s in (20.0, 40.0, 80.0):
        ran = run_flows(read_continuum(PAIR), made, until_s=until_s)
        assert ran.overloaded == ("home",)
        assert ran.mean_latency_s is None
        waiting.append(ran.site("home").asked_cycles - ran.site("home").done_cycles)
    assert waiting[2] - waiting[1] == pytest.approx(2 * (waiting[1] - waiting[0]), abs=3)
    assert waiting[0] == pytest.approx(20, abs=5)


def test_a_direction_of_a_link_that_is_not_duplex_waits_for_the_other() -> None:
    back = Flow(name="back", steps=(Transfer(name="down", link="air", to="home", content_bytes=2.0),))
    made = [Emission(at_s=0.0, flow=sent(2.0)), Emission(at_s=0.0, flow=back)]
    duplex = run_flows(read_continuum(PAIR), made)
    shared = run_flows(read_continuum(PAIR.replace("energy", "is_duplex = false\nenergy")), made)
    assert duplex.latency_s.tolist() == [3.0, 3.0]
    assert shared.latency_s.tolist() == [3.0, 5.0]


def test_what_is_not_declared_is_refused() -> None:
    continuum = read_continuum(PAIR)
    elsewhere = Flow(name="x", steps=(Work(name="think", site="moon", cycles=1.0),))
    passes_on = Flow(name="x", steps=(Work(name="think", site="mast", cycles=1.0),))
    for flow, words in ((elsewhere, "no site 'moon'"), (passes_on, "computes nothing")):
        with pytest.raises(InputInvalid, match=words):
            run_flows(continuum, [Emission(at_s=0.0, flow=flow)])
    wrong = Transfer(name="up", link="air", to="moon", content_bytes=1.0)
    with pytest.raises(InputInvalid, match="does not lead to"):
        formula(continuum, Flow(name="x", steps=(wrong,)))
    with pytest.raises(InputInvalid, match="cannot be"):
        run_flows(continuum, [], outages=[Outage(name="air", from_s=2.0, to_s=1.0)])
    with pytest.raises(InputInvalid, match="stand before it"):
        Flow(name="x", steps=(Work(name="think", site="home", cycles=1.0, after=(0,)),))
    with pytest.raises(InputInvalid, match="of the control loop waits"):
        Flow(
            name="x",
            steps=(
                Work(name="a", site="home", cycles=1.0),
                Work(name="b", site="home", cycles=1.0, is_loop=False),
                Work(name="c", site="home", cycles=1.0, after=(1,)),
            ),
        )
