"""What is declared becomes what is planned: options, the ways to them, and nothing that must not be."""

import math
from itertools import pairwise, permutations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.continuum import TIERS, Continuum, Link, RequestClass, Site, read_continuum
from einthoven.errors import InputInvalid
from einthoven.placement.offloading.instance import KINDS
from einthoven.placement.offloading.methods import plan
from einthoven.placement.offloading.options import placed, problem_of, uses_of
from einthoven.placement.offloading.scenario import ONE_STATION, draw

TEXT = """
[regions.here]
kind = "pool"
slots = 4

[sites.ward]
tier = "local"
compute = "6 Gcycle/s"
capabilities = ["spo2"]
[sites.ambulance]
tier = "local"
compute = "4 Gcycle/s"
is_stable = false
capabilities = ["o2-valve"]
[sites.north]
tier = "edge"
compute = "20 Gcycle/s"
one_request = "5 Gcycle/s"
[sites.south]
tier = "edge"
compute = "20 Gcycle/s"
[sites.router]
tier = "core"
[sites.cloud]
tier = "core"
region = "here"
slot_compute = "3 Gcycle/s"
startup = "2 ms"
[links.lan]
between = ["ward", "north"]
rate = "100 Mbit/s"
latency = "1 ms"
is_duplex = false
loss = 0.2
[links.slow]
between = ["ward", "south"]
rate = "100 Mbit/s"
latency = "9 ms"
[links.haul]
between = ["north", "south"]
rate = "300 Mbit/s"
latency = "4 ms"
[links.up]
between = ["south", "router"]
rate = "300 Mbit/s"
latency = "5 ms"
[links.down]
between = ["router", "cloud"]
rate = "300 Mbit/s"
latency = "10 ms"
[links.air]
between = ["ambulance", "south"]
tech = "5g"
[cells.mast]
site = "north"
bandwidth = "20 MHz"
down_bandwidth = "10 MHz"
latency = "1 ms"
snr = { near = "20 dB" }
"""


def asked(**fields: object) -> Continuum:
    """The continuum above with one class of requests."""
    said = {"input": "40 kbit", "work": "40 Mcycle", "deadline": "500 ms", **fields}
    table = "\n".join(
        f"{key} = {value if isinstance(value, int | list) else repr(value)}" for key, value in said.items()
    )
    return read_continuum(f"{TEXT}\n[requests.asked]\n{table}\n")


def ways(continuum: Continuum) -> dict[str, tuple[str, ...]]:
    return {way.site: way.through for way in problem_of(continuum).ways}


def test_every_site_that_computes_is_an_option_by_the_quickest_way() -> None:
    """South is reached through north, 5 ms, and not straight, 9 ms; a router only passes on."""
    assert ways(asked(site="ward")) == {
        "ward": ("ward",),
        "north": ("ward", "north"),
        "south": ("ward", "north", "south"),
        "cloud": ("ward", "north", "south", "router", "cloud"),
    }
    problem = problem_of(asked(site="ward"))
    assert [KINDS[kind] for kind in problem.instance.kinds] == ["local", "edge", "neighbour", "core"]
    assert problem.instance.sites == ("ward", "north", "south", "cloud")


def test_what_may_leave_computes_only_what_begins_there() -> None:
    assert "ambulance" not in ways(asked(site="ward"))
    assert list(ways(asked(site="ambulance"))) == ["ambulance", "south", "north", "ward", "cloud"]


def test_a_tier_that_must_not_see_a_request_is_never_an_option_nor_on_the_way_to_one() -> None:
    """With only local sites allowed, nothing leads from the ward to anywhere."""
    assert list(ways(asked(site="ward", highest_tier="edge"))) == ["ward", "north", "south"]
    assert list(ways(asked(site="ward", highest_tier="local"))) == ["ward"]


def test_only_sites_that_have_what_is_needed_are_options_and_else_it_is_said_why() -> None:
    assert list(ways(asked(site="ward", needs=["spo2"]))) == ["ward"]
    nobody = problem_of(asked(site="ward", needs=["mri"]))
    assert nobody.nowhere == {"asked": "no site that computes has mri"}
    assert np.isnan(nobody.instance.alone).all()
    (why,) = problem_of(asked(site="ward", needs=["o2-valve"])).nowhere.values()
    assert why.startswith("no way leads from ward to ambulance through stable sites")


def test_delays_are_there_and_back_only_if_something_comes_back() -> None:
    def delays(**fields: object) -> dict[str, float]:
        found = problem_of(asked(site="ward", **fields)).ways
        return {way.site: pytest.approx(way.delay_s) for way in found}

    assert delays() == {"ward": 0.0, "north": 0.001, "south": 0.005, "cloud": 0.022}
    assert delays(output="1 kbit") == {"ward": 0.0, "north": 0.002, "south": 0.01, "cloud": 0.042}


def test_works_are_what_is_sent_again_what_comes_back_and_cycles() -> None:
    """A fifth is lost on the ward's network, which both directions share."""
    problem = problem_of(asked(site="ward", output="8 kbit"))
    instance = problem.instance
    option = instance.sites.index("north")
    works = instance.demands[option] * instance.slacks_s[option]
    resources = [instance.resources[one] for one in instance.paths[option]]
    held = {name: work for name, work in zip(resources, works, strict=True) if work}
    assert held == {"lan": pytest.approx(60e3), "north compute": pytest.approx(40e6)}
    far = instance.sites.index("cloud")
    names = {
        instance.resources[path]
        for path, need in zip(instance.paths[far], instance.demands[far], strict=True)
        if need
    }
    assert names == {
        "lan", "haul to south", "haul to north", "up to router", "up to south", "down to cloud",
        "down to router", "cloud compute",
    }  # fmt: skip


def test_the_air_is_shared_by_how_well_it_is_heard() -> None:
    instance = problem_of(asked(cell="mast", snr="near", output="8 kbit")).instance
    option = instance.sites.index("north")
    held = {
        instance.resources[path]: need * instance.slacks_s[option]
        for path, need in zip(instance.paths[option], instance.demands[option], strict=True)
        if need
    }
    efficiency = np.log2(1 + 100)
    assert held["mast up"] == pytest.approx(40e3 / efficiency)
    assert held["mast down"] == pytest.approx(8e3 / efficiency)
    assert instance.capacities[instance.resources.index("mast down")] == 10e6
    assert instance.slacks_s[option] == pytest.approx(0.5 - 0.002)


def test_fixed_power_is_a_gain_in_the_whole_band() -> None:
    text = asked(cell="mast", snr="near")
    cell = read_continuum(TEXT.replace('down_bandwidth = "10 MHz"', 'power = "fixed"')).cells
    instance = problem_of(
        Continuum(
            sites=text.sites, links=text.links, regions=text.regions, cells=cell, requests=text.requests
        )
    ).instance
    assert instance.gains_hz is not None
    assert np.all(instance.gains_hz[:, 0] == 20e6 * 100)
    assert not instance.gains_hz[:, 1:].any()
    assert not instance.is_additive


def test_one_core_and_one_slot_are_the_most_that_a_request_can_use() -> None:
    instance = problem_of(asked(site="ward")).instance
    assert instance.caps is not None
    caps = {
        site: instance.caps[option][instance.demands[option] > 0].min()
        for option, site in enumerate(instance.sites)
    }
    assert caps == {"ward": np.inf, "north": 5e9, "south": np.inf, "cloud": 3e9}
    assert instance.capacities[instance.resources.index("cloud compute")] == 4 * 3e9


def test_requests_of_a_class_are_alike_and_have_names_of_their_own() -> None:
    problem = problem_of(asked(site="ward", count=3, value=7))
    assert problem.instance.requests == ("asked-1", "asked-2", "asked-3")
    assert problem.instance.values.tolist() == [7.0] * 3
    assert [problem.of_request(number).name for number in range(3)] == ["asked"] * 3
    assert [problem.way(option).site for option in problem.instance.options_of(1)] == [
        "ward", "north", "south", "cloud",
    ]  # fmt: skip


def test_nothing_asked_and_nothing_that_computes_are_errors() -> None:
    with pytest.raises(InputInvalid, match="nothing is asked"):
        problem_of(read_continuum(TEXT))
    idle = asked(site="ward")
    passing = tuple(msgspec.structs.replace(one, cycles_per_s=0.0) for one in idle.sites if not one.region)
    with pytest.raises(InputInvalid, match="no site computes"):
        problem_of(Continuum(sites=passing, requests=idle.requests))


@given(seed=st.integers(0, 10_000))
def test_the_reference_scenario_written_as_a_file_is_the_same_problem(seed: int) -> None:
    """One station: what is drawn is written with units, read, and gives the same demands."""
    drawn = draw(ONE_STATION, 12, seed).instance
    lines = [
        '[sites.core]\ntier = "core"\ncompute = "100 Gcycle/s"',
        '[sites.edge]\ntier = "edge"\ncompute = "20 Gcycle/s"',
        '[cells.air]\nsite = "edge"\nbandwidth = "20 MHz"',
        '[links.back]\nbetween = ["edge", "core"]\nrate = "300 Mbit/s"\nlatency = "30 ms"',
    ]
    kept = []
    for request in range(drawn.count):
        for option in drawn.options_of(request):
            if drawn.sites[option] == "core":
                slack_s = drawn.slacks_s[option]
                works = drawn.demands[option] * slack_s
                bits, cycles = works[1], works[2]
                snr_db = 10 * np.log10(2 ** (bits / works[0]) - 1)
                kept.append(request)
                lines.append(
                    f'[requests.r-{request}]\ncell = "air"\nsnr = "{float(snr_db)!r} dB"\n'
                    f'input = "{float(bits)!r} bit"\nwork = "{float(cycles)!r} cycle"\n'
                    f'deadline = "{float(slack_s + 0.031)!r} s"'
                )
    if not kept:
        return
    read = problem_of(read_continuum("\n".join(lines))).instance
    mine = [drawn.roots[option] for request in kept for option in drawn.options_of(request)]
    assert len(read.owners) == len(mine)
    np.testing.assert_allclose(np.sort(read.roots), np.sort(mine), rtol=1e-9)
    np.testing.assert_allclose(read.alone, drawn.alone[kept], rtol=1e-9)


@st.composite
def continua(draw_: st.DrawFn) -> Continuum:
    """Up to five sites of any tier, some of which may leave, joined at random, and one request."""
    count = draw_(st.integers(1, 5))
    names = [f"s{number}" for number in range(count)]
    sites = tuple(
        Site(
            name=name,
            tier=draw_(st.sampled_from(TIERS)),
            cycles_per_s=draw_(st.sampled_from([0.0, 1e9])),
            is_stable=draw_(st.booleans()),
        )
        for name in names
    )
    pairs = [(a, b) for a in names for b in names if a < b]
    links = tuple(
        Link(
            name=f"{a}-{b}",
            between=(a, b),
            bits_per_s=1e6,
            latency_s=draw_(st.integers(0, 9)) / 1000,
        )
        for a, b in pairs
        if draw_(st.booleans())
    )
    highest = draw_(st.sampled_from(TIERS[TIERS.index(sites[0].tier) :]))
    request = RequestClass(
        name="r", site="s0", input_bits=1.0, cycles=1.0, deadline_s=9.0, highest_tier=highest
    )
    return Continuum(sites=sites, links=links, requests=(request,))


def ways_by_trying(continuum: Continuum) -> dict[str, float]:
    """The least latency to every site that computes, by trying all orders of sites between."""
    (request,) = continuum.requests
    latency_s = {frozenset(link.between): link.latency_s for link in continuum.links}
    others = [
        site.name for site in continuum.sites[1:] if site.is_stable and request.may_be_seen_at(site.tier)
    ]
    found: dict[str, float] = {}
    for count in range(len(others) + 1):
        for through in permutations(others, count):
            hops = [frozenset(pair) for pair in pairwise(("s0", *through))]
            if all(hop in latency_s for hop in hops):
                last = ("s0", *through)[-1]
                found[last] = min(found.get(last, math.inf), sum(latency_s[hop] for hop in hops))
    return {name: least for name, least in found.items() if continuum.site(name).cycles_per_s}


@given(continuum=continua())
def test_ways_are_all_that_may_be_and_the_quickest(continuum: Continuum) -> None:
    """No site of a tier that must not see it, none that may leave, and no way that is longer than needed."""
    if not any(site.cycles_per_s for site in continuum.sites):
        return
    problem = problem_of(continuum)
    found = {way.site: way.delay_s for way in problem.ways}
    assert found == {name: pytest.approx(least) for name, least in ways_by_trying(continuum).items()}
    assert bool(problem.nowhere) == (not found)


@pytest.mark.parametrize("power", ["density", "fixed"])
def test_a_plan_in_names_tells_how_long_each_phase_takes(power: str) -> None:
    """With fixed power a phase on the air is not work by share; the answer is in time all the same."""
    text = TEXT.replace('down_bandwidth = "10 MHz"', f'power = "{power}"')
    request = (
        '[requests.r]\ncell = "mast"\nsnr = "near"\ninput = "400 kbit"\nwork = "400 Mcycle"\n'
        'deadline = "200 ms"\ncount = 4\n'
    )
    problem = problem_of(read_continuum(f"{text}\n{request}"))
    made = plan(problem.instance, method="hra")
    every = placed(problem, made)
    assert len(every) == len(made.accepted) > 0
    for one in every:
        assert one.cell == "mast"
        assert one.phases[0].resource == "mast up"
        assert one.phases[0].unit == "Hz"
        assert one.answers_s == pytest.approx(one.delay_s + sum(phase.takes_s for phase in one.phases))
        assert one.answers_s == pytest.approx(one.deadline_s)
        rate = 400e3 / one.phases[0].takes_s
        share = one.phases[0].share
        ratio = 100.0 if power == "density" else 100.0 * 20e6 / share
        assert rate == pytest.approx(share * np.log2(1 + ratio))
    uses = {use.resource: use for use in uses_of(problem, made)}
    given_hz = sum(one.phases[0].share for one in every)
    assert uses["mast up"].part == pytest.approx(given_hz / uses["mast up"].capacity)
