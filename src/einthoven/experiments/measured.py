"""Experiments on real regions of this machine: what they carry, what faults cost, what a simulation says."""

from typing import Final

import numpy as np

from einthoven.experiments.figures import Found, Row, Setup, row
from einthoven.experiments.real_regions import (
    FAULTS,
    OfferedRow,
    measure_fault,
    measure_offered,
    measure_throughput,
)
from einthoven.pictures.charts import Bars, Chart, draw_bars
from einthoven.placement import Dispatch, Terms
from einthoven.simulation.regions import simulate
from einthoven.simulation.serverless import ANSWERED, Load, ServerlessRegion, declared

__all__ = ["faults", "federation", "validation"]

_SLOTS: Final = 8
_LATENCY_S: Final = 0.05
_REGIONS: Final = 4
_SHARES: Final = (0.5, 0.8, 1.3)
"""Of what the regions can carry, that is offered."""


def federation(setup: Setup) -> Found:
    """How much one, two, three and four limited regions carry."""
    counts = (1, 2, 3, _REGIONS)
    made = measure_throughput(
        counts, slots=_SLOTS, seconds=_real_s(setup), latency_s=_LATENCY_S, told=setup.told
    )
    rows: list[Row] = []
    for one in made:
        case = f"{one.regions} region{'s' if one.regions > 1 else ''}"
        rows += [
            row(case, "answered", "/s", one.answered_per_s),
            row(case, "times one region", "", one.ratio),
            row(case, "mean", "ms", one.mean_ms),
            row(case, "p99", "ms", one.p99_ms),
            row(case, "lost or wrong", "", one.lost + one.wrong),
        ]
    chart = Chart(title="Regions as one", x="regions", y="answered / s")
    bars = [Bars(name="measured", values=tuple(one.answered_per_s for one in made))]
    svg = draw_bars(chart, [str(one.regions) for one in made], bars)
    return Found(
        rows=tuple(rows), charts=(("federation.svg", svg.file(chart.title)),), remarks=(_HOW,), how="measured"
    )


def faults(setup: Setup) -> Found:
    """What it costs that one of four regions fails, under as much load as they carry."""
    rows: list[Row] = []
    for fault in FAULTS:
        setup.told(fault)
        one = measure_fault(
            fault, regions=_REGIONS, slots=_SLOTS, seconds=_real_s(setup), latency_s=_LATENCY_S
        )
        rows += [
            row(fault, "sent", "", one.sent),
            row(fault, "lost", "", one.lost),
            row(fault, "wrong", "", one.wrong),
            row(fault, "answered before", "/s", one.before_per_s),
            row(fault, "answered meanwhile", "/s", one.during_per_s),
            row(fault, "recovered after", "s", one.recovered_s),
            row(fault, "p99 meanwhile", "ms", one.p99_ms),
        ]
        if one.again_s is not None:
            rows.append(row(fault, "used again after", "s", one.again_s))
    return Found(rows=tuple(rows), remarks=(_HOW, _RECOVERED), how="measured")


def validation(setup: Setup) -> Found:
    """The simulation against real regions at a small scale: answers a second and how long they take.

    The one thing that is taken from a real run is how long a call takes when nothing else is going on.
    """
    seconds = _real_s(setup)
    setup.told("one region, hardly used")
    idle = measure_offered(
        10.0, regions=_REGIONS, slots=_SLOTS, seconds=min(seconds, 5.0), latency_s=_LATENCY_S
    )
    took_s = idle.mean_ms / 1000
    capacity = _REGIONS * _SLOTS / took_s
    rows: list[Row] = [row("hardly used", "a call", "ms", idle.mean_ms)]
    for share in _SHARES:
        rate = round(share * capacity)
        setup.told(f"{rate}/s, really")
        real = measure_offered(rate, regions=_REGIONS, slots=_SLOTS, seconds=seconds, latency_s=_LATENCY_S)
        setup.told(f"{rate}/s, simulated")
        made = _simulated(rate, seconds, took_s, setup.seed)
        case = f"{rate}/s offered ({share:.0%} of what four regions can carry)"
        for figure, unit, simulated, measured in (
            ("answered", "/s", made.answered_per_s, real.answered_per_s),
            ("mean", "ms", made.mean_ms, real.mean_ms),
        ):
            rows += [
                row(case, f"{figure}, measured", unit, measured),
                row(case, f"{figure}, simulated", unit, simulated),
                row(case, "the simulation is off by", "%", 100 * (simulated / measured - 1)),
            ]
    return Found(rows=tuple(rows), remarks=(_HOW,), how="ours")


def _simulated(rate: float, seconds: float, took_s: float, seed: int) -> OfferedRow:
    regions = [
        ServerlessRegion(
            name=f"region-{number + 1}", slots=_SLOTS, floor_s=took_s, per_hour_s=0.0, queue=0, held=0
        ).steady()
        for number in range(_REGIONS)
    ]
    dispatch = Dispatch([declared(one) for one in regions], Terms(hedged_share=0.0))
    load = Load(rate_per_s=rate, seconds=seconds, pattern="even", deadline_s=30.0)
    made = simulate(regions, load, dispatch=dispatch, seed=seed)
    answered = made.status == ANSWERED
    inside = answered & (made.came_s + made.took_s < seconds)
    return OfferedRow(
        offered_per_s=rate,
        answered_per_s=float(inside.sum()) / seconds,
        mean_ms=1000 * float(np.mean(made.took_s[answered])),
        refused=int((~answered).sum()),
        wrong=0,
    )


def _real_s(setup: Setup) -> float:
    """Real seconds are dearer than simulated ones."""
    return min(setup.seconds, 10.0)


_HOW: Final = (
    f"Real processes on this machine, each behind a wire of {1000 * _LATENCY_S:.0f} ms one way and with "
    f"{_SLOTS} slots; every answer is compared with the function's own."
)
_RECOVERED: Final = (
    "Recovered: until in no half second less than four fifths of what the three others carry was answered."
)
