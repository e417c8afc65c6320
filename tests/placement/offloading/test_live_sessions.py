"""Requests that come and go in a continuum that changes: the plan follows what is there."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einthoven.continuum import Continuum, read_continuum
from einthoven.errors import Conflict, InputInvalid
from einthoven.placement.offloading import LiveSessions, Refused, RegionNow, Started, Terms, as_it_stands

CLINIC = """
[regions.near]
kind = "http"
address = "http://127.0.0.1:1"
slots = 2
tier = "edge"

[regions.far]
kind = "http"
address = "http://127.0.0.1:2"
slots = 8

[sites.clinic]
tier = "local"

[sites.mast]
tier = "edge"
region = "near"
slot_compute = "1 Gcycle/s"

[sites.cloud]
tier = "core"
region = "far"
slot_compute = "1 Gcycle/s"

[links.lan]
between = ["clinic", "mast"]
rate = "100 Mbit/s"
latency = "1 ms"

[links.uplink]
between = ["clinic", "cloud"]
rate = "50 Mbit/s"
latency = "20 ms"

[requests.segments]
site = "clinic"
input = "60 kbit"
work = "20 Mcycle"
deadline = "200 ms"

[requests.alarms]
site = "clinic"
input = "60 kbit"
work = "20 Mcycle"
deadline = "200 ms"
value = 5

[requests.hurried]
site = "clinic"
input = "60 kbit"
work = "20 Mcycle"
deadline = "5 ms"
"""
DECLARED = read_continuum(CLINIC)


def filled(live: LiveSessions, request: str = "segments") -> tuple[list[str], Refused]:
    """Let as many in as fit; their names, and why the next one does not."""
    names: list[str] = []
    while True:
        answer = live.admit(f"{request}-{len(names)}", request)
        if isinstance(answer, Refused):
            return names, answer
        names.append(answer.name)


def check(live: LiveSessions) -> None:
    """Nothing is given away twice, and each runs at a site that computes."""
    assert all(use.part <= 1 + 1e-9 for use in live.uses())
    for name in live.names:
        site = live.continuum.site(live.site(name))
        assert live.continuum.cycles_per_s(site) > 0
        assert live.region(name) == site.region


def test_requests_run_where_they_are_in_time_until_nothing_is_left() -> None:
    live = LiveSessions(DECLARED)
    names, why = filled(live)
    assert {live.region(name) for name in names} == {"near", "far"}
    assert (why.reason, bool(why.resource)) == ("full", True)
    # Ten slots of 1 Gcycle/s, each request 20 Mcycle in 200 ms and less: no more than a hundred.
    assert 40 < len(names) < 100
    check(live)
    hopeless = live.admit("hurried", "hurried")
    assert isinstance(hopeless, Refused)
    assert hopeless.reason == "never"
    live.depart(names[0])
    assert isinstance(live.admit("again", "segments"), Started)


def test_what_is_told_of_a_start_can_be_acted_on() -> None:
    started = LiveSessions(DECLARED).admit("one", "segments")
    assert isinstance(started, Started)
    assert (started.site, started.region) in {("mast", "near"), ("cloud", "far")}
    (link,) = [share for name, share in started.shares.items() if "compute" not in name]
    (declared,) = [one for one in DECLARED.links if started.site in one.between]
    compute = started.shares[f"{started.site} compute"]
    answered_s = declared.latency_s + 60e3 / link + 20e6 / compute
    assert answered_s == pytest.approx(started.deadline_s) == 0.2


def test_a_region_that_is_lost_costs_the_least_valuable_their_place_and_nobody_else() -> None:
    live = LiveSessions(DECLARED)
    alarms = [live.admit(f"alarm-{number}", "alarms") for number in range(10)]
    assert all(isinstance(one, Started) for one in alarms)
    names, _ = filled(live)
    lost = live.follow(as_it_stands(DECLARED, {"far": RegionNow(slots=0)}))
    check(live)
    assert {live.region(name) for name in live.names} == {"near"}
    assert set(lost.evicted) <= set(names), "alarms are worth more"
    assert lost.moved
    back = live.follow(DECLARED)
    assert not back.evicted
    assert not back.moved
    for name in lost.evicted:
        assert isinstance(live.admit(name, "segments"), Started)
    check(live)


def test_a_region_that_fills_up_or_comes_nearer_changes_who_is_let_in() -> None:
    fewer, more = LiveSessions(DECLARED), LiveSessions(DECLARED)
    fewer.follow(as_it_stands(DECLARED, {"far": RegionNow(slots=1), "near": RegionNow(slots=1)}))
    more.follow(as_it_stands(DECLARED, {"near": RegionNow(slots=20, latency_s=0.0005, bits_per_s=1e9)}))
    count = len(filled(LiveSessions(DECLARED))[0])
    assert len(filled(fewer)[0]) < count < len(filled(more)[0])


def test_a_slow_way_is_no_way_in_time() -> None:
    live = LiveSessions(DECLARED)
    live.follow(as_it_stands(DECLARED, {name: RegionNow(slots=4, latency_s=0.5) for name in ("near", "far")}))
    answer = live.admit("one", "segments")
    assert isinstance(answer, Refused)
    assert answer.reason == "never"


def test_when_nothing_computes_all_are_refused_and_nobody_is_lost_for_ever() -> None:
    live = LiveSessions(DECLARED)
    names, _ = filled(live)
    gone = live.follow(as_it_stands(DECLARED, {name: RegionNow(slots=0) for name in ("near", "far")}))
    assert set(gone.evicted) == set(names)
    assert isinstance(live.admit("one", "segments"), Refused)
    live.follow(DECLARED)
    assert isinstance(live.admit("one", "segments"), Started)


def test_moves_are_bounded() -> None:
    live = LiveSessions(DECLARED, Terms(moves=3))
    for number in range(15):
        live.admit(f"one-{number}", "segments")
    near = [name for name in live.names if live.region(name) == "near"]
    done = live.follow(as_it_stands(DECLARED, {"near": RegionNow(slots=0)}))
    assert len(done.moved) == min(3, len(near))
    assert len(done.evicted) == max(0, len(near) - 3)


def test_frozen_sessions_keep_their_shares_or_go() -> None:
    live = LiveSessions(DECLARED)
    live.admit("one", "segments")
    live._sessions.freeze("one")
    before = live._sessions.shares("one")
    filled(live)
    own = live.region("one")
    live.follow(as_it_stands(DECLARED, {"far" if own == "near" else "near": RegionNow(slots=1)}))
    after = {live._described.resources[at]: share for at, share in live._sessions.shares("one").items()}
    assert sorted(after.values()) == pytest.approx(sorted(before.values()))
    assert "one" in live.follow(as_it_stands(DECLARED, {own: RegionNow(slots=0)})).evicted


def test_one_name_runs_once_and_classes_are_declared() -> None:
    live = LiveSessions(DECLARED)
    live.admit("one", "segments")
    with pytest.raises(Conflict):
        live.admit("one", "segments")
    with pytest.raises(InputInvalid, match="request"):
        live.admit("two", "nobody")
    without = tuple(one for one in DECLARED.requests if one.name != "segments")
    assert live.follow(msgspec.structs.replace(DECLARED, requests=without)).evicted == ("one",)


STATES = st.fixed_dictionaries(
    {
        name: st.builds(
            RegionNow,
            slots=st.integers(0, 6),
            latency_s=st.one_of(st.none(), st.floats(0.0, 0.15)),
            bits_per_s=st.one_of(st.none(), st.floats(1e6, 1e9)),
        )
        for name in ("near", "far")
    }
)
EVENTS = st.one_of(
    st.tuples(st.just("admit"), st.sampled_from(["segments", "alarms", "hurried"])),
    st.tuples(st.just("depart"), st.integers(0, 100)),
    st.tuples(st.just("follow"), STATES),
)


@settings(max_examples=60)
@given(st.lists(EVENTS, max_size=40))
def test_whatever_happens_nobody_who_runs_misses_the_deadline(events: list[tuple[str, object]]) -> None:
    live, running, declared = LiveSessions(DECLARED), list[str](), DECLARED
    for number, (what, detail) in enumerate(events):
        match what:
            case "admit":
                if isinstance(live.admit(str(number), str(detail)), Started):
                    running.append(str(number))
            case "depart" if running:
                live.depart(running.pop(int(str(detail)) % len(running)))
            case "follow":
                declared = as_it_stands(DECLARED, detail)  # type: ignore[arg-type]
                done = live.follow(declared)
                running = [name for name in running if name not in done.evicted]
        assert set(live.names) == set(running)
        check(live)
        in_time(live, declared)


def in_time(live: LiveSessions, declared: Continuum) -> None:
    """By the shares that each holds, and nothing else."""
    sessions = live._sessions
    for name in live.names:
        session = sessions._session(name)
        shares = np.array([sessions.shares(name).get(int(at), np.inf) for at in session.path])
        assert float(np.sum(session.demand / shares)) <= 1 + 1e-6


def test_of_two_links_that_are_alike_one_is_taken() -> None:
    twice = CLINIC + '[links.lan-2]\nbetween = ["clinic", "mast"]\nrate = "100 Mbit/s"\nlatency = "1 ms"\n'
    assert isinstance(LiveSessions(read_continuum(twice)).admit("one", "segments"), Started)


def test_cells_with_a_fixed_power_are_refused() -> None:
    air = """
[cells.air]
site = "mast"
bandwidth = "10 MHz"
power = "fixed"

[requests.patches]
cell = "air"
snr = "3 dB"
input = "60 kbit"
work = "20 Mcycle"
deadline = "200 ms"
"""
    with pytest.raises(InputInvalid, match="fixed power"):
        LiveSessions(read_continuum(CLINIC + air))


def test_whoever_is_ended_for_another_is_forgotten() -> None:
    live = LiveSessions(DECLARED)
    names, _ = filled(live)
    started = live.admit("alarm", "alarms", may_preempt=True)
    assert isinstance(started, Started)
    assert started.evicted
    assert set(live.names) == {*names, "alarm"} - set(started.evicted)
    assert set(live._classes) == set(live.names)
    live.follow(as_it_stands(DECLARED, {"far": RegionNow(slots=1)}))
    check(live)


def test_a_session_is_never_in_a_region_that_it_may_not_be_in() -> None:
    live = LiveSessions(read_continuum(CLINIC))
    started = live.admit("s", "segments", regions=frozenset({"far"}))
    assert isinstance(started, Started)
    assert started.region == "far"
    gone = as_it_stands(live.continuum, {"far": RegionNow(slots=0)})
    assert live.follow(gone).evicted == ("s",), "though there is room near by"
    refused = live.admit("s", "segments", regions=frozenset())
    assert isinstance(refused, Refused)
    assert refused.reason == "never"
    assert isinstance(live.admit("s", "segments"), Started)
