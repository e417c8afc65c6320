"""From the cloud alone to three tiers: how long the loop is, what the network carries, what a failure leaves.

The steps of an architecture as the Finnish Journal of eHealth and eWelfare 14(1), 2022, tells them: 1a all in
the cloud, 1b algorithms at base stations, 1c also at home. It prints no figures of them; the model is that of
`einthoven.experiments.deployments`.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.experiments.deployments import (
    CLASSES,
    Deployment,
    Parameters,
    algorithm_cycles,
    emissions,
    flow,
    homes,
    parameters,
)
from einthoven.experiments.figures import Found, Row, Setup, row
from einthoven.pictures.charts import Bars, Chart, Line, draw_bars, draw_lines
from einthoven.simulation.flow_events import Emission, FlowsRun, Outage, run_flows
from einthoven.simulation.flows import Work, formula

__all__ = ["ARCHITECTURES", "Failure", "evolution", "failed"]

ARCHITECTURES: Final[dict[Deployment, str]] = {
    "cloud": "1a cloud",
    "edge": "1b two tiers",
    "local": "1c three tiers",
}
_SOURCES: Final = ("Finnish Journal of eHealth and eWelfare 14(1), 2022",)
_KNOWN: Final = (
    "Known is the order: placing algorithms at the edge relieves the upper tiers in every case, the best "
    "tier depends on the algorithm, and what is local works without the access network. No figures are "
    "printed."
)
_CLASS: Final = "n^2"
_UPLINKS: Final = {"access": "home-edge", "backhaul": "edge-proxy"}
"""What fails, and the links that it is."""
_TIERS: Final = {"local": "at home", "edge": "access", "core": "backhaul"}


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What an outage of an uplink leaves, in the middle third of the time."""

    closed_before_pct: float
    """Loops that are closed of those that begin, before it"""
    closed_meanwhile_pct: float
    """and while it lasts."""
    closed_after_pct: float
    arrived_pct: float
    """Windows of the outage whose result reaches the cloud at all."""
    latest_s: float
    """How late the latest of these is; 0 if there is none."""


def evolution(setup: Setup) -> Found:
    """Loops by class, bytes by tier, and the outage of access network and backhaul.

    `setup.seconds` is simulated; the middle third of it is the outage.
    """
    of = parameters("A")
    rows: list[Row] = []
    for deployment, name in ARCHITECTURES.items():
        for complexity in CLASSES:
            alone = formula(
                homes(1), flow(of, deployment, "off", algorithm_cycles(of, complexity), "-1")
            ).latency_s
            rows.append(row(name, f"loop, class {complexity}", "ms", 1e3 * alone))
    loads: dict[Deployment, Mapping[str, float]] = {}
    for deployment, name in ARCHITECTURES.items():
        setup.told(f"{name}, network")
        loads[deployment] = _load(of, deployment)
        rows += [
            row(name, f"network, {where}", "kB/s", loads[deployment][tier] / 1e3)
            for tier, where in _TIERS.items()
        ]
    failures = {}
    for what in _UPLINKS:
        for deployment, name in ARCHITECTURES.items():
            setup.told(f"{name}, {what} fails")
            found = failures[what, deployment] = failed(of, deployment, what, setup.seconds)
            case = f"{name}, {what} fails"
            rows += [
                row(case, "loops closed before", "%", found.closed_before_pct),
                row(case, "loops closed meanwhile", "%", found.closed_meanwhile_pct),
                row(case, "loops closed after", "%", found.closed_after_pct),
                row(case, "results of that time in the cloud", "%", found.arrived_pct),
                row(case, "the latest of them after", "s", found.latest_s),
            ]
    return Found(
        rows=tuple(rows),
        charts=(
            ("evolution-latency.svg", _latency_chart(of)),
            ("evolution-network.svg", _network_chart(loads)),
            ("evolution-failure.svg", _failure_chart(failures)),
        ),
        remarks=(
            _KNOWN,
            f"{of.patients} patients, a window a second, class {_CLASS} unless it is said; parameters are "
            "those of blockchain-edge, without evidence. Loops are of one patient alone.",
            f"An uplink fails for the middle third of {setup.seconds:g} s: the access network of all homes, "
            "or what lies behind the base station. A window that cannot be sent is dropped, for a late "
            "command is of no use; a result waits until the way is there again.",
        ),
        sources=_SOURCES,
        known=_KNOWN,
    )


def _load(of: Parameters, deployment: Deployment) -> dict[str, float]:
    """Bytes a second by tier; both links behind the base station are counted."""
    made = list(emissions(of, deployment, "off", algorithm_cycles(of, _CLASS)))
    ran = run_flows(homes(of.patients), made)
    load = dict.fromkeys(_TIERS, 0.0)
    for link in ran.links:
        load[link.tier] += link.received_bytes / of.period_s
    return load


def failed(of: Parameters, deployment: Deployment, what: str, seconds: float) -> Failure:
    """An uplink that is gone for the middle third of the time.

    Parameters
    ----------
    what : "access", of every home, or "backhaul"
    """
    windows = max(3, round(seconds / of.period_s))
    from_s, to_s = windows * of.period_s / 3, 2 * windows * of.period_s / 3
    continuum = homes(of.patients)
    outages = [
        Outage(name=link.name, from_s=from_s, to_s=to_s)
        for link in continuum.links
        if link.name.startswith(_UPLINKS[what])
    ]
    made = list(emissions(of, deployment, "off", algorithm_cycles(of, _CLASS), windows=windows))
    ran = run_flows(continuum, made, outages=outages)
    at_s = np.array([one.at_s for one in made])
    is_closed = np.isfinite(ran.latency_s)
    # what is on its way when the outage begins, or its answer when it ends, is of neither time
    longest_s = float(np.nanmax(ran.latency_s[at_s < from_s / 2]))
    is_before, is_after = at_s < from_s - longest_s, at_s >= to_s
    is_meanwhile = (at_s >= from_s) & (at_s < to_s - longest_s)
    arrives_s = _arrivals_s(ran, made)
    late_s = (arrives_s - at_s)[is_meanwhile]
    arrived = np.isfinite(late_s)
    return Failure(
        closed_before_pct=100 * float(is_closed[is_before].mean()),
        closed_meanwhile_pct=100 * float(is_closed[is_meanwhile].mean()),
        closed_after_pct=100 * float(is_closed[is_after].mean()),
        arrived_pct=100 * float(arrived.mean()),
        latest_s=float(late_s[arrived].max()) if arrived.any() else 0.0,
    )


def _arrivals_s(ran: FlowsRun, made: Sequence[Emission]) -> NDArray[np.float64]:
    """When what the cloud does with each window was done; infinite: never."""
    arrives_s = np.full(len(made), np.inf)
    for one in ran.happened:
        step = made[one.emission].flow.steps[one.step]
        if one.status == "done" and isinstance(step, Work) and step.site == "cloud":
            arrives_s[one.emission] = one.arrives_s
    return arrives_s


# -------------------------------------------------------------------- pictures


def _latency_chart(of: Parameters) -> str:
    work = [0.1, *map(float, range(2, 31, 2))]
    continuum = homes(1)
    lines = [
        Line(
            name=name,
            x=work,
            y=[
                1e3 * formula(continuum, flow(of, deployment, "off", 1e6 * one, "-1")).latency_s
                for one in work
            ],
        )
        for deployment, name in ARCHITECTURES.items()
    ]
    chart = Chart(
        title="How long the loop is",
        subtitle="One patient alone, from the sensor to the actuator",
        x="algorithm, millions of operations a window",
        y="ms",
    )
    return draw_lines(chart, lines).file(chart.title)


def _network_chart(loads: Mapping[Deployment, Mapping[str, float]]) -> str:
    chart = Chart(
        title="What the network carries",
        subtitle="By tier; behind the base station on two links",
        x="",
        y="kB/s",
    )
    bars = [
        Bars(name=name, values=[loads[deployment][tier] / 1e3 for tier in _TIERS])
        for deployment, name in ARCHITECTURES.items()
    ]
    return draw_bars(chart, list(_TIERS.values()), bars).file(chart.title)


def _failure_chart(failures: Mapping[tuple[str, Deployment], Failure]) -> str:
    names = [f"{what}: {figure}" for what in _UPLINKS for figure in ("loops closed", "results arrive")]
    bars = []
    for deployment, name in ARCHITECTURES.items():
        several = [failures[what, deployment] for what in _UPLINKS]
        values = [pct for one in several for pct in (one.closed_meanwhile_pct, one.arrived_pct)]
        bars.append(Bars(name=name, values=values))
    chart = Chart(
        title="What goes on while an uplink fails",
        subtitle="Of the windows of that time: the loop is closed; the result is in the cloud at last",
        x="",
        y="%",
        width_mm=170.0,
    )
    return draw_bars(chart, names, bars).file(chart.title)
