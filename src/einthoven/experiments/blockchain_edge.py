"""What evidence of everything costs at the edge: the published study beside ours, and a batched log instead.

Published (Ejaz, Kumar, Kovacevic, Ylianttila, Harjula, Health-BlockEdge, Sensors 21(7):2502, 2021, doi
10.3390/s21072502) are three ranges of how much a chain adds. Simulator, topology and parameters are not known
to us; `einthoven.experiments.deployments` is a reconstruction whose parameters were chosen so that the ranges
come out at one class of algorithms, and they do so only there.
"""

from collections.abc import Sequence
from itertools import product
from typing import Final, Literal

import msgspec

from einthoven.continuum import Continuum
from einthoven.experiments.deployments import (
    CLASSES,
    DEPLOYMENTS,
    EVIDENCES,
    Deployment,
    Evidence,
    Parameters,
    algorithm_cycles,
    emissions,
    flow,
    homes,
    parameters,
)
from einthoven.experiments.evidence import EvidenceCost, evidence_cost
from einthoven.experiments.figures import Found, Row, Setup, row
from einthoven.experiments.published import health_blockedge
from einthoven.pictures.charts import Bars, Chart, Line, draw_bars, draw_lines
from einthoven.pictures.svg import Svg
from einthoven.simulation.flow_events import FlowsRun, run_flows
from einthoven.simulation.flows import formula

__all__ = ["KPIS", "Change", "Measured", "blockchain_edge", "measured"]

Kpi = Literal["latency", "power", "network", "operations"]
KPIS: Final[dict[Kpi, str]] = {
    "latency": "ms",
    "power": "W",
    "network": "B",
    "operations": "MI",
}
"""Units. Latency is of the control loop; power is dynamic, of all; the others are for one window."""
_TITLES: Final[dict[Kpi, str]] = {
    "latency": "End-to-end latency",
    "power": "Power above idle",
    "network": "Network use",
    "operations": "Operations",
}
_SOURCES: Final = (
    "Ejaz, Kumar, Kovacevic, Ylianttila, Harjula, Sensors 21(7):2502, 2021, doi 10.3390/s21072502",
    "Finnish Journal of eHealth and eWelfare 14(1), 2022",
)
_KNOWN: Final = (
    "Known are three ranges of what a chain adds (power 10 to 20 %, overhead of computing and communication "
    "13 to 22 %, operations 10 to 15 %), that the best tier depends on the algorithm, and that the edge "
    "relieves the upper tiers. Simulator, topology, parameters and single figures are not available."
)
_REFERENCE: Final = "n^2"
"""The class at which the ranges come out; which one was published is not known."""
_SLOW_S: Final = 6.0
"""Between windows of the class that once a second nothing could keep up with."""
_LOOKED_S: Final = (30.0, 60.0)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One cell: a figure without evidence and with a chain, and by how much chain and log change it."""

    deployment: Deployment
    complexity: str
    kpi: Kpi
    off: float
    on: float
    change_percent: float
    ledger_change_percent: float


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment with one kind of evidence, simulated until all was over."""

    latency_s: float
    power_w: float
    """Above idle, of all patients together."""
    static_w: float
    network_bytes: float
    """Of one window, over all links."""
    byte_seconds: float
    operations: float
    """Cycles, of one window."""

    def of(self, kpi: Kpi) -> float:
        """The figure in the unit of `KPIS`."""
        return {
            "latency": 1e3 * self.latency_s,
            "power": self.power_w,
            "network": self.network_bytes,
            "operations": self.operations / 1e6,
        }[kpi]


def period_s(of: Parameters, complexity: str) -> float:
    """Between the windows of a patient: of the largest class, longer than of the others."""
    return _SLOW_S if complexity == "n^3" else of.period_s


def measured(
    of: Parameters, deployment: Deployment, evidence: Evidence, complexity: str, windows: int = 1
) -> Measured:
    """Simulate so many windows of every patient, one patient after the other."""
    every_s = period_s(of, complexity)
    cycles = algorithm_cycles(of, complexity)
    continuum = homes(of.patients)
    ran = run_flows(
        continuum, list(emissions(of, deployment, evidence, cycles, windows=windows, period_s=every_s))
    )
    count = of.patients * windows
    return Measured(
        latency_s=float(ran.latency_s.mean()),
        power_w=ran.dynamic_j / (windows * every_s),
        static_w=ran.static_j / ran.elapsed_s,
        network_bytes=ran.received_bytes / count,
        byte_seconds=sum(one.byte_seconds for one in ran.links) / count,
        operations=ran.done_cycles / count,
    )


def blockchain_edge(setup: Setup) -> Found:
    """Deployments by evidence by class; where the ranges hold and where not; a log instead; this machine.

    `setup.seconds` says how many windows of each patient are simulated: one for each minute of it.
    """
    of = parameters("A")
    windows = max(1, round(setup.seconds / 60))
    found: dict[tuple[Deployment, Evidence, str], Measured] = {}
    for deployment, evidence, complexity in product(DEPLOYMENTS, EVIDENCES, CLASSES):
        setup.told(f"{deployment}, {evidence}, {complexity}")
        found[deployment, evidence, complexity] = measured(of, deployment, evidence, complexity, windows)
    changes = tuple(
        _change(found, deployment, complexity, kpi)
        for deployment, complexity, kpi in product(DEPLOYMENTS, CLASSES, KPIS)
    )
    setup.told("the second set of parameters")
    rows = [
        *_ranges(changes),
        *_second_set(windows),
        *_ledger(changes),
        *_best(found),
        *_agreement(of, found),
    ]
    setup.told("too much work")
    overloads = _overloads(of)
    setup.told("the ledger on this machine")
    cost = evidence_cost()
    rows += [*overloads, *_machine(of, cost)]
    static_w = found["cloud", "off", _REFERENCE].static_w
    return Found(
        rows=tuple(rows),
        changes=changes,
        units={kpi: unit for kpi, unit in KPIS.items()},  # noqa: C416 - words, not any of four
        charts=(
            ("blockchain-edge.svg", _changes_chart(changes)),
            ("blockchain-edge-figure.svg", _figure(found)),
            ("blockchain-edge-complexity.svg", _curve(of)),
        ),
        remarks=(
            f"{_KNOWN} Parameters (set A) are ours, chosen so that the ranges come out at class "
            f"{_REFERENCE}; many others would do.",
            "What a chain adds to a window is fixed, so its share falls as the algorithm grows: one "
            "percentage says nothing without its class. Outside that class the ranges do not hold.",
            f"Power is dynamic; what is switched on takes {static_w:.1f} W more in every case, of which the "
            "chain changes nothing.",
            f"Windows of class n^3 come every {_SLOW_S:g} s: once a second the rows of overload say that "
            "nothing keeps up, and a latency would be the longer the longer one looks.",
            "Agreement between validators is in no row but its own: nothing is sent for it otherwise.",
            "A log shows a change only from its next checkpoint on; commands stay signed one by one where "
            "they must be believed at once.",
            "On this machine: the best of several rounds of the program's own code; a machine that does "
            "other work gives other figures, their ratio hardly.",
        ),
        sources=_SOURCES,
        known=_KNOWN,
    )


def _change(
    found: dict[tuple[Deployment, Evidence, str], Measured], deployment: Deployment, complexity: str, kpi: Kpi
) -> Change:
    off, on, log = (found[deployment, evidence, complexity].of(kpi) for evidence in EVIDENCES)
    return Change(
        deployment=deployment,
        complexity=complexity,
        kpi=kpi,
        off=float(f"{off:.8g}"),
        on=float(f"{on:.8g}"),
        change_percent=round(100 * (on / off - 1), 3),
        ledger_change_percent=round(100 * (log / off - 1), 3),
    )


def _ranges(changes: Sequence[Change]) -> list[Row]:
    ranges = health_blockedge()["ranges"]
    return [
        row(
            f"{one.deployment}, {one.complexity}, chain",
            f"adds to {one.kpi}",
            "%",
            one.change_percent,
            within_range=tuple(ranges[one.kpi])
            if one.kpi in ranges and one.complexity == _REFERENCE
            else None,
        )
        for one in changes
    ]


def _second_set(windows: int) -> list[Row]:
    """That the ranges say little about the parameters: another set, in which verifying is dearer."""
    of, ranges = parameters("B"), health_blockedge()["ranges"]
    rows = []
    for deployment in DEPLOYMENTS:
        off = measured(of, deployment, "off", _REFERENCE, windows)
        on = measured(of, deployment, "chain", _REFERENCE, windows)
        for kpi in KPIS:
            change = 100 * (on.of(kpi) / off.of(kpi) - 1)
            limits = tuple(ranges[kpi]) if kpi in ranges else None
            case = f"{deployment}, {_REFERENCE}, chain, set B"
            rows.append(row(case, f"adds to {kpi}", "%", change, within_range=limits))
    return rows


def _ledger(changes: Sequence[Change]) -> list[Row]:
    """What a batched log adds, and of how much of the chain's that is at most."""
    rows = [
        row(f"{one.deployment}, {one.complexity}, log", f"adds to {one.kpi}", "%", one.ledger_change_percent)
        for one in changes
        if one.complexity == _REFERENCE
    ]
    for kpi in KPIS:
        parts = [one.ledger_change_percent / one.change_percent for one in changes if one.kpi == kpi]
        rows.append(row("log against chain", f"of what it adds to {kpi}, at most", "%", 100 * max(parts)))
    return rows


def _best(found: dict[tuple[Deployment, Evidence, str], Measured]) -> list[Row]:
    """Where the loop is shortest, by class; and what the tiers above home carry."""
    rows = []
    for complexity in CLASSES:
        latency_ms = {one: found[one, "chain", complexity].of("latency") for one in DEPLOYMENTS}
        best = min(latency_ms, key=lambda one: latency_ms[one])
        rows.append(row(f"{complexity}, chain", f"shortest loop: {best}", "ms", latency_ms[best]))
    return rows


def _agreement(of: Parameters, found: dict[tuple[Deployment, Evidence, str], Measured]) -> list[Row]:
    """What sending transactions and blocks to validators would add to network use; no other row has it."""
    told = health_blockedge()["agreement"]
    windows_per_s = of.patients / of.period_s
    headers = told["header_bytes"] / told["block_s"] / windows_per_s
    each = told["validators"] * (told["transactions"] * told["transaction_bytes"] + headers)
    return [
        row(
            f"{deployment}, {_REFERENCE}, {told['validators']} validators",
            "agreement would add to network",
            "%",
            100 * each / found[deployment, "off", _REFERENCE].network_bytes,
        )
        for deployment in DEPLOYMENTS
    ]


def _overloads(of: Parameters) -> list[Row]:
    """The largest class once a second: how much more is asked than can be done, and how it piles up."""
    cycles, rows = algorithm_cycles(of, "n^3"), []
    for deployment in DEPLOYMENTS:
        runs = [_for_a_while(of, deployment, cycles, seconds) for seconds in _LOOKED_S]
        site = max(runs[-1].sites, key=lambda one: one.demand)
        uses = [one.site(site.name) for one in runs]
        waiting = [one.asked_cycles - one.done_cycles for one in uses]
        grows = (waiting[1] - waiting[0]) / (_LOOKED_S[1] - _LOOKED_S[0]) / 1e6
        what = "home" if site.name.startswith("home") else site.name
        case = f"{deployment}, n^3 each second: overload"
        rows += [
            row(case, f"asked of {what}", "% of its best", 100 * site.demand),
            row(case, "backlog grows by", "MI/s", grows),
        ]
    return rows


def _for_a_while(of: Parameters, deployment: Deployment, cycles: float, seconds: float) -> FlowsRun:
    made = list(emissions(of, deployment, "off", cycles, windows=round(seconds / of.period_s)))
    return run_flows(homes(of.patients), made, until_s=seconds)


def _machine(of: Parameters, cost: EvidenceCost) -> list[Row]:
    """The work of one message: as the model has it, and as this machine does it."""
    model_chain = of.sign_cycles + of.verify_cycles
    model_log = model_chain / of.log_leaves + of.log_append_cycles
    case = "this machine, one message"
    return [
        row(case, "sign by itself", "µs", cost.sign_us),
        row(case, "verify by itself", "µs", cost.verify_us),
        row(case, f"leaf and growth, {of.log_leaves} at a time", "µs", cost.append_us),
        row(case, "checkpoint: sign, for all", "µs", cost.checkpoint_us),
        row(case, "checkpoint: verify, for all", "µs", cost.verify_checkpoint_us),
        row(case, "chain", "µs", cost.chain_us),
        row(case, "log", "µs", cost.log_us(of.log_leaves)),
        row(case, "log of chain", "%", 100 * cost.log_us(of.log_leaves) / cost.chain_us),
        row(case, f"kept on disk with checkpoints, {of.log_leaves} at a time", "µs", cost.kept_us),
        row("the model, one message", "log of chain", "%", 100 * model_log / model_chain),
    ]


# -------------------------------------------------------------------- pictures


def _changes_chart(changes: Sequence[Change]) -> str:
    """Four indicators of three deployments: what chain and log add at the class of reference."""
    names, chain, log = [], [], []
    for deployment in DEPLOYMENTS:
        for one in changes:
            if one.deployment == deployment and one.complexity == _REFERENCE:
                names.append(f"{deployment} {one.kpi}")
                chain.append(one.change_percent)
                log.append(one.ledger_change_percent)
    chart = Chart(
        title="What evidence adds",
        subtitle=f"Class {_REFERENCE}; published: power 10–20 %, overhead 13–22 %, operations 10–15 %",
        x="",
        y="more than without, %",
        width_mm=280.0,
    )
    bars = [Bars(name="chain, each message", values=chain), Bars(name="log, 64 a checkpoint", values=log)]
    return draw_bars(chart, names, bars).file(chart.title)


def _figure(found: dict[tuple[Deployment, Evidence, str], Measured]) -> str:
    """All four indicators under each other: deployments by class, without evidence and with each kind."""
    panels = [_panel(found, kpi) for kpi in KPIS]
    sheet = Svg(panels[0].width_mm, sum(one.height_mm for one in panels))
    top_mm = 0.0
    for panel in panels:
        sheet.put(panel, 0.0, top_mm)
        top_mm += panel.height_mm
    return sheet.file("Evidence at the edge: latency, power, network use, operations")


def _panel(found: dict[tuple[Deployment, Evidence, str], Measured], kpi: Kpi) -> Svg:
    unit, part = ("kB", 1e-3) if kpi == "network" else (KPIS[kpi], 1.0)
    chart = Chart(
        title=_TITLES[kpi],
        subtitle=f"By deployment and class; n^3 every {_SLOW_S:g} s, the others every second",
        x="",
        y=f"{kpi}, {unit}",
        width_mm=280.0,
        height_mm=75.0,
    )
    cells = list(product(DEPLOYMENTS, CLASSES))
    names = {"off": "without", "chain": "chain", "log": "log"}
    bars = [
        Bars(
            name=names[evidence],
            values=[
                part * found[deployment, evidence, complexity].of(kpi) for deployment, complexity in cells
            ],
        )
        for evidence in EVIDENCES
    ]
    return draw_bars(chart, [" ".join(cell) for cell in cells], bars)


def _curve(of: Parameters) -> str:
    """What a chain adds to operations, over the work of the algorithm."""
    work = [0.1, *map(float, range(2, 42, 2))]
    continuum = homes(1)
    lines = []
    for deployment, evidence in product(DEPLOYMENTS, EVIDENCES[1:]):
        adds = [_adds(continuum, of, deployment, evidence, 1e6 * one) for one in work]
        colour = DEPLOYMENTS.index(deployment)
        name = f"{deployment}, {evidence}"
        lines.append(Line(name=name, x=work, y=adds, colour=colour, is_dashed=evidence == "log"))
    chart = Chart(
        title="Operations that evidence adds",
        subtitle="The work of evidence is fixed, so its share falls as the algorithm grows",
        x="algorithm, millions of operations a window",
        y="more than without, %",
    )
    return draw_lines(chart, lines).file(chart.title)


def _adds(
    continuum: Continuum, of: Parameters, deployment: Deployment, evidence: Evidence, cycles: float
) -> float:
    def operations(kind: Evidence) -> float:
        return sum(formula(continuum, flow(of, deployment, kind, cycles, "-1")).cycles.values())

    return 100 * (operations(evidence) / operations("off") - 1)
