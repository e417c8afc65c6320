"""The study of evidence at the edge: known figures, the ranges and where they end, and what a log costs."""

import math
from pathlib import Path

import pytest

from einthoven.experiments.blockchain_edge import KPIS, Change, blockchain_edge, measured
from einthoven.experiments.deployments import (
    CLASSES,
    DEPLOYMENTS,
    EVIDENCES,
    Deployment,
    Evidence,
    algorithm_cycles,
    emissions,
    flow,
    homes,
    parameters,
)
from einthoven.experiments.figures import Found, Setup
from einthoven.experiments.published import health_blockedge
from einthoven.simulation.flow_events import Outage, run_flows
from einthoven.simulation.flows import Transfer, formula

GOLDEN = {
    # MI at home, edge, cloud; bytes of the links; ms; ms·B; W of computing and of the network
    ("cloud", "off"): (
        (3, 0, 11.8304), (1500, 2100, 2100, 2100, 600), 224.3137, 232200, (3.781863, 0.228480),
    ),
    ("cloud", "chain"): (
        (4.19, 0.2, 12.5304), (1500, 2548, 2548, 2548, 600), 225.5981, 279688, (4.174607, 0.262886),
    ),
    ("cloud", "log"): (
        (3.504937, 0.007125, 11.845337), (1500, 2178.25, 2178.25, 2178.25, 600), 224.8327, 240494.5,
        (3.861489, 0.234490),
    ),
    ("edge", "off"): ((3, 9.8304, 2), (1500, 2100, 1000, 1000, 600), 16.9990, 117800, (1.948296, 0.214400)),
    ("edge", "chain"): (
        (4.19, 10.5304, 2.2), (1500, 2548, 1224, 1224, 600), 18.3307, 141992, (2.247781, 0.245939),
    ),
    ("edge", "log"): (
        (3.504937, 9.845337, 2.007125), (1500, 2178.25, 1039.125, 1039.125, 600), 17.5180, 122025.5,
        (2.026465, 0.219909),
    ),
    ("local", "off"): ((12.8304, 0, 2), (1500, 1000, 1000, 1000, 600), 21.5104, 115600, (2.463185, 0.144000)),
    ("local", "chain"): (
        (14.3204, 0.2, 2.2), (1500, 1224, 1224, 1224, 600), 22.5004, 139344, (2.759258, 0.161203),
    ),
    ("local", "log"): (
        (13.336025, 0.007125, 2.007125), (1500, 1039.125, 1039.125, 1039.125, 600), 22.0082, 119747.2,
        (2.540709, 0.147005),
    ),
}  # fmt: skip
LINKS = ("sensor-home-1", "home-edge-1", "edge-proxy", "proxy-cloud", "home-actuator-1")
CURVE_MS = {
    "n": (225.4, 17.4, 12.7),
    "n log n": (225.4, 17.4, 13.2),
    "n^2": (225.6, 18.3, 22.5),
    "n^3": (253.5, 143.2, 1271.0),
}


@pytest.fixture(scope="module")
def found() -> Found:
    return blockchain_edge(Setup(seconds=5.0, seed=1, told=lambda _: None))


def changes(found: Found) -> list[Change]:
    return [one for one in found.changes if isinstance(one, Change)]


@pytest.mark.parametrize(("deployment", "evidence"), GOLDEN)
def test_a_window_takes_what_was_computed_by_hand(deployment: Deployment, evidence: Evidence) -> None:
    """Class n^2, set A; the figures were computed twice before there was a simulator."""
    of = parameters("A")
    mi, sent, latency_ms, weighted, power_w = GOLDEN[deployment, evidence]
    ours = formula(homes(1), flow(of, deployment, evidence, algorithm_cycles(of, "n^2"), "-1"))
    assert tuple(ours.cycles.get(one, 0.0) / 1e6 for one in ("home-1", "edge", "cloud")) == pytest.approx(
        mi, abs=1e-6
    )
    assert tuple(ours.sent_bytes[one] for one in LINKS) == sent
    assert 1e3 * ours.latency_s == pytest.approx(latency_ms, abs=5e-5)
    assert 1e3 * ours.byte_seconds == pytest.approx(weighted, abs=0.06)
    patients = of.patients
    assert (patients * ours.compute_j, patients * ours.network_j) == pytest.approx(power_w, abs=6e-7)


@pytest.mark.parametrize("complexity", CLASSES)
@pytest.mark.parametrize("deployment", DEPLOYMENTS)
@pytest.mark.parametrize("evidence", EVIDENCES)
def test_patients_one_after_the_other_never_wait(
    deployment: Deployment, evidence: Evidence, complexity: str
) -> None:
    of = parameters("A")
    cycles = algorithm_cycles(of, complexity)
    alone = formula(homes(1), flow(of, deployment, evidence, cycles, "-1"))
    ours = measured(of, deployment, evidence, complexity)
    assert ours.latency_s == pytest.approx(alone.latency_s, abs=1e-9)
    assert ours.static_w == pytest.approx(1606.8666)
    if evidence == "chain":
        expected = dict(zip(DEPLOYMENTS, CURVE_MS[complexity], strict=True))[deployment]
        assert 1e3 * ours.latency_s == pytest.approx(expected, abs=0.051)


def test_patients_at_once_wait_for_those_before_them() -> None:
    of = parameters("A")
    cycles = algorithm_cycles(of, "n^3")
    made = list(emissions(of, "edge", "chain", cycles, period_s=6.0, is_staggered=False))
    alone = formula(homes(1), flow(of, "edge", "chain", cycles, "-1"))
    waited_ms = 1e3 * (run_flows(homes(of.patients), made).latency_s - alone.latency_s)
    assert waited_ms.mean() == pytest.approx(2455.0, abs=0.1)
    assert waited_ms.max() == pytest.approx(4910.1, abs=0.1)


@pytest.mark.parametrize("name", ["A", "B"])
@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_the_published_ranges_hold_at_one_class_and_not_at_others(name: str, deployment: Deployment) -> None:
    of = parameters(name)
    for complexity, holds in (("n", False), ("n^2", True), ("n^3", False)):
        off, on = (measured(of, deployment, evidence, complexity) for evidence in EVIDENCES[:2])
        adds = {kpi: 100 * (on.of(kpi) / off.of(kpi) - 1) for kpi in KPIS}
        ranges = health_blockedge()["ranges"]
        inside = [ranges[kpi][0] <= adds[kpi] <= ranges[kpi][1] for kpi in ranges]
        assert all(inside) == holds, adds
    assert adds["operations"] < 1


def test_the_table_has_the_agreed_columns_and_all_cells(found: Found) -> None:
    columns = ("deployment", "complexity", "kpi", "off", "on", "change_percent", "ledger_change_percent")
    assert {one.__struct_fields__ for one in found.changes} == {columns}
    cells = {(one.deployment, one.complexity, one.kpi) for one in changes(found)}
    assert len(cells) == len(found.changes) == len(DEPLOYMENTS) * len(CLASSES) * len(KPIS)
    for one in changes(found):
        assert one.change_percent == pytest.approx(100 * (one.on / one.off - 1), abs=1e-3)


def test_a_log_adds_less_than_a_third_of_what_a_chain_does(found: Found) -> None:
    """Of power, network and operations. Of latency it adds half: hash and anonymising are in both."""
    for one in changes(found):
        part = one.ledger_change_percent / one.change_percent
        assert 0 < part < (0.52 if one.kpi == "latency" else 1 / 3), one


def test_the_best_tier_depends_on_the_algorithm_and_on_the_way_to_the_cloud(found: Found) -> None:
    best = [one.figure for one in found.rows if one.figure.startswith("shortest loop")]
    assert [one.split(": ")[1] for one in best] == ["local", "local", "edge", "edge"]
    of = parameters("A")
    near = homes(1)
    links = tuple(
        type(one)(
            name=one.name,
            between=one.between,
            bits_per_s=one.bits_per_s,
            latency_s=0.020 if one.name == "proxy-cloud" else one.latency_s,
        )
        for one in near.links
    )
    near = type(near)(sites=near.sites, links=links)
    cycles = algorithm_cycles(of, "n^3")
    latency_s = {one: formula(near, flow(of, one, "chain", cycles, "-1")).latency_s for one in DEPLOYMENTS}
    assert min(latency_s, key=lambda one: latency_s[one]) == "cloud"
    assert 1e3 * latency_s["cloud"] == pytest.approx(93.5, abs=0.05)


def test_what_nothing_can_keep_up_with_is_said_to_be_overload(found: Found) -> None:
    asked = {one.case.split(",")[0]: one.ours for one in found.rows if one.figure.startswith("asked of")}
    assert asked == pytest.approx({"cloud": 113, "edge": 503, "local": 126}, rel=0.01)
    assert all(one.ours > 0 for one in found.rows if one.figure == "backlog grows by")


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
@pytest.mark.parametrize("evidence", EVIDENCES)
def test_samples_stay_below_the_tier_that_computes(deployment: Deployment, evidence: Evidence) -> None:
    """On no link above, whatever fails: what happened is looked through, step by step."""
    of = parameters("A")
    made = list(emissions(of, deployment, evidence, algorithm_cycles(of, "n^2"), windows=2))
    outages = [
        Outage(name=name, from_s=0.2, to_s=1.1) for name in ("edge-proxy", "proxy-cloud", "edge", "home-3")
    ]
    ran = run_flows(homes(of.patients), made, outages=outages)
    steps = [made[one.emission].flow.steps[one.step] for one in ran.happened]
    above = {
        step.link.split("-")[0] for step in steps if isinstance(step, Transfer) and step.data == "samples"
    }
    assert above <= {"cloud": {"sensor", "home", "edge", "proxy"}, "edge": {"sensor", "home"}}.get(
        deployment, {"sensor"}
    )
    assert len(ran.happened) > 100


def test_the_ledger_was_measured_here(found: Found) -> None:
    here = {one.figure: one.ours for one in found.rows if one.case.startswith("this machine")}
    assert all(math.isfinite(one) and one > 0 for one in here.values())
    assert here["log"] < here["chain"] / 3


def test_agreement_is_counted_by_itself_and_would_leave_the_range(found: Found) -> None:
    """32 kB/s more, and block headers, of 336, 248 and 204 kB/s."""
    adds = [one.ours for one in found.rows if one.figure.startswith("agreement")]
    assert adds == pytest.approx([9.6, 13.0, 15.8], abs=0.05)


def test_the_picture_in_the_documentation_is_what_comes_out(found: Found) -> None:
    kept = Path(__file__).parent.parent.parent / "docs" / "pictures" / "blockchain-edge.svg"
    assert kept.read_text() == dict(found.charts)["blockchain-edge.svg"]
