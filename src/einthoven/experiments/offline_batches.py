"""The article's batch experiments on simulated regions: makespan, speed-up; and the three machines before."""

import math
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.experiments.calibration import calibrated
from einthoven.experiments.federation import CITIES, cities
from einthoven.experiments.figures import Found, Row, Setup, row
from einthoven.experiments.published import article
from einthoven.pictures.charts import Bars, Chart, Line, draw_bars, draw_lines
from einthoven.placement import Dispatch, Terms
from einthoven.simulation.regions import simulate
from einthoven.simulation.serverless import Load, ServerlessRegion, declared
from einthoven.simulation.stations import Station, through

__all__ = ["makespan", "speedup", "vm_baseline"]

_REPEATS: Final = 4
"""Five runs, of which the first is dropped, as in the article."""
_DRAWS: Final = 100
"""Runs for a mean that does not move."""
_MB_PER_HOUR: Final = 2.76
_STORE_MB_S: Final = 43.0
"""Of the one store, for a reader in its own city; as others measured it."""
_GREEDY: Final = ("balanced", "fastest", "least-loaded")
_CHAIN: Final = 5
"""Calls behind each request."""


def _chunks_s(region: ServerlessRegion, hours: int, seed: int) -> float:
    """Until the slowest of so many hours, all begun at once, has been processed."""
    load = Load(rate_per_s=float(hours), seconds=1.0, length_s=3600.0, pattern="at-once")
    return float(simulate([region], load, seed=seed).took_s.max())


def _reading_s(hours: int) -> float:
    """Every split reads the whole file, all at one time from one store."""
    return hours * _MB_PER_HOUR / _STORE_MB_S


def _makespans_s(
    region: ServerlessRegion, hours: int, base_s: float, seed: int, runs: int
) -> NDArray[np.float64]:
    spans = [_chunks_s(region, hours, seed + number) for number in range(runs)]
    return base_s + _reading_s(hours) + np.array(spans)


def _fitted_base_s(region: ServerlessRegion, seed: int) -> float:
    """What the caller adds: so much that one hour takes what the article says."""
    printed = article()["batch"]
    one = [_chunks_s(region, 1, 7 * seed + number) for number in range(4 * _DRAWS)]
    return float(printed["makespan_s"][0] - _reading_s(1) - np.mean(one))


def _measured(setup: Setup) -> tuple[dict[int, list[NDArray[np.float64]]], dict[int, float], float]:
    """Makespans of each region, as many as in the article; the mean of many; what the caller adds."""
    region = calibrated().region
    base_s = _fitted_base_s(region, setup.seed)
    hours = [int(one) for one in article()["batch"]["hours"]]
    runs, means = {}, {}
    for one in hours:
        setup.told(f"{one} h of ECG")
        seeds = [10_000 * setup.seed + 1000 * one + 100 * number for number in range(len(CITIES))]
        runs[one] = [
            _makespans_s(each, one, base_s, seed, _REPEATS)
            for each, seed in zip(cities(region), seeds, strict=True)
        ]
        means[one] = float(_makespans_s(region, one, base_s, 90_000 + setup.seed, _DRAWS).mean())
    return runs, means, base_s


def makespan(setup: Setup) -> Found:
    """How long 1, 2 and 12 hours take, chunk by chunk."""
    runs, means, base_s = _measured(setup)
    printed = article()["batch"]
    rows = []
    for hours, theirs, rate in zip(
        printed["hours"], printed["makespan_s"], printed["ecg_min_per_s"], strict=True
    ):
        rows.append(row(f"{hours} h", "makespan", "s", means[hours], theirs))
        rows.append(row(f"{hours} h", "ECG a second", "min/s", hours * 60 / means[hours], rate))
        for city, spans in zip(CITIES, runs[hours], strict=True):
            rows.append(row(f"{hours} h, {city}", f"makespan, {_REPEATS} runs", "s", float(spans.mean())))
    chart = Chart(title="Makespan of a batch", subtitle="An hour a chunk, all at once", x="", y="s")
    drawn = draw_bars(
        chart,
        [f"{one} h" for one in printed["hours"]],
        [
            Bars(name="simulated", values=[means[one] for one in printed["hours"]]),
            Bars(name="published", values=printed["makespan_s"], is_hollow=True),
        ],
    )
    rows += _scheduled(setup)
    return Found(
        rows=tuple(rows),
        charts=(("makespan.svg", drawn.file(chart.title)),),
        remarks=(
            f"{base_s:.2f} s of every makespan are the caller's (orchestration from Innsbruck, counting, "
            "storage): chosen so that one hour comes out. Two and twelve hours are predicted.",
            f"Every split reads the whole file ({_MB_PER_HOUR:g} MB an hour) from one store of "
            f"{_STORE_MB_S:g} MB/s.",
            f"Three unequal regions, few slots, one of them four times slower: each invocation to whichever "
            f"region is free, or all that wait by schedule. The first batch finds out how long regions take, "
            f"the second knows. Means of {_BATCHES} runs.",
        ),
    )


_FIRST_HOURS: Final = 120
_THEN_HOURS: Final = (24, 120)
_BATCHES: Final = 10
_AGAIN_S: Final = 100.0
_UNEQUAL: Final = (("frankfurt", 12, 1.0, 0.011), ("london", 12, 1.5, 0.022), ("virginia", 24, 4.0, 0.109))
"""Name, slots, how much slower, time there and back from Innsbruck."""


def _scheduled(setup: Setup) -> list[Row]:
    """Batches whose hours are given away one by one, or by schedule."""
    base = calibrated().region
    regions = [
        msgspec.structs.replace(
            base,
            name=name,
            slots=slots,
            rtt_s=rtt_s,
            floor_s=base.floor_s * slower,
            per_hour_s=base.per_hour_s * slower,
        )
        for name, slots, slower, rtt_s in _UNEQUAL
    ]
    rows = []
    for name in (*_GREEDY, "schedule"):
        spans: dict[str, list[float]] = {}
        setup.told(f"three unequal regions, {name}")
        for number in range(_BATCHES):
            seed = 1000 * setup.seed + number
            for hours in _THEN_HOURS:
                first_s, then_s = _two_batches_s(regions, hours, name, seed)
                spans.setdefault(f"{_FIRST_HOURS} h, nothing is known", []).append(first_s)
                spans.setdefault(f"{hours} h, times are known", []).append(then_s)
        rows += [row(f"three regions, {name}", case, "s", float(np.mean(one))) for case, one in spans.items()]
    return rows


def _two_batches_s(
    regions: list[ServerlessRegion], hours: int, policy: str, seed: int
) -> tuple[float, float]:
    """How long a first batch takes, and then one of so many hours."""
    is_scheduled = policy == "schedule"
    load = Load(
        rate_per_s=float(_FIRST_HOURS),
        seconds=1.0,
        length_s=3600.0,
        pattern="at-once",
        urgency=2,
        data_at=("frankfurt",),
        data_bytes=round(1e6 * _MB_PER_HOUR),
        burst_factor=1.0 + 1e3 * hours / _FIRST_HOURS,
        burst_from_s=_AGAIN_S,
        burst_s=1e-3,
    )
    known = [declared(one, bandwidth_mb_s=_STORE_MB_S) for one in regions]
    terms = Terms(policy=Terms().policy if is_scheduled else policy, waiting=20 * _FIRST_HOURS)
    outcome = simulate(regions, load, dispatch=Dispatch(known, terms), is_scheduled=is_scheduled, seed=seed)
    is_first = outcome.came_s < _AGAIN_S
    return float(outcome.took_s[is_first].max()), float(outcome.took_s[~is_first].max())


def speedup(setup: Setup) -> Found:
    """How much faster hours are together than one after the other."""
    runs, means, _ = _measured(setup)
    printed = article()["batch"]
    theirs = dict(zip(printed["hours"], printed["makespan_s"], strict=True))
    rows: list[Row] = []
    ours_of, theirs_of = [], []
    for hours in printed["hours"][1:]:
        mean = hours * means[1] / means[hours]
        published = hours * theirs[1] / theirs[hours]
        ours_of.append(mean)
        theirs_of.append(published)
        rows.append(row(f"{hours} h", "speed-up of the means", "", mean, published))
        rows.append(
            row(f"{hours} h", "efficiency", "%", 100 * mean / hours, 100 * published / hours),
        )
        each = [
            hours * float(one.mean()) / float(many.mean())
            for one, many in zip(runs[1], runs[hours], strict=True)
        ]
        least, most = printed["speedup_least"][str(hours)], printed["speedup_most"][str(hours)]
        rows.append(row(f"{hours} h", "speed-up, lowest of four regions", "", min(each), least))
        rows.append(row(f"{hours} h", "speed-up, highest of four regions", "", max(each), most))
    chart = Chart(title="Speed-up of a batch", subtitle="S(h) = h T(1) / T(h)", x="", y="times")
    drawn = draw_bars(
        chart,
        [f"{one} h" for one in printed["hours"][1:]],
        [
            Bars(name="simulated", values=ours_of),
            Bars(name="published", values=theirs_of, is_hollow=True),
        ],
    )
    return Found(
        rows=tuple(rows),
        charts=(("speedup.svg", drawn.file(chart.title)),),
        remarks=("Published speed-ups of the means are derived from the printed rates.",),
    )


# -------------------------------------------------------------------- virtual machines


_VM_WORKERS: Final = 4
_ROOM: Final = 1000
_RATES: Final = (5.0, 10.0, 20.0, 40.0, 100.0, 533.0)
_BURST: Final = 500


def vm_baseline(setup: Setup) -> Found:
    """Three virtual machines with three queues, against serverless."""
    printed = article()["vm"]
    call_s = float(printed["call_s"])
    machines = (
        Station(name="DPU", workers=_VM_WORKERS, service_s=2 * call_s, room=_ROOM),
        Station(name="BDC", workers=_VM_WORKERS, service_s=call_s, room=_ROOM),
        Station(name="Main", workers=_VM_WORKERS, service_s=0.25 * call_s, room=_ROOM),
    )
    region = calibrated().region
    rows: list[Row] = []
    theirs_per_s, ours_per_s = [], []
    for rate in _RATES:
        setup.told(f"{rate:g} requests a second")
        load = Load(rate_per_s=rate, seconds=setup.seconds)
        came_s = load.arrivals_s(setup.seed)
        took_s = through(machines, came_s) - came_s
        in_time = took_s[np.isfinite(took_s) & (took_s <= 30.0)]
        outcome = simulate([region], load, seed=setup.seed)
        over_s = float(came_s.max())
        theirs_per_s.append(in_time.size / over_s)
        ours_per_s.append(outcome.answered_per_s)
        for name, per_s, p50, p99, failed in (
            (
                "three VMs",
                theirs_per_s[-1],
                float(np.median(in_time)) if in_time.size else math.nan,
                float(np.percentile(in_time, 99)) if in_time.size else math.nan,
                1 - in_time.size / came_s.size,
            ),
            (
                "serverless",
                ours_per_s[-1],
                outcome.percentile_s(50, of_all=False),
                outcome.percentile_s(99, of_all=False),
                outcome.error_share,
            ),
        ):
            case = f"{name}, {rate:g}/s"
            rows += [
                row(case, "answered within 30 s", "/s", per_s),
                row(case, "failed or later", "%", 100 * failed),
                row(case, "p50", "s", p50),
                row(case, "p99", "s", p99),
            ]
    setup.told(f"{_BURST} files at once")
    rows += _burst(region, call_s, setup.seed, printed)
    chart = Chart(
        title="Three virtual machines do not scale out",
        subtitle=f"{_VM_WORKERS} workers each, {call_s:g} s a call; against one serverless region",
        x="offered, requests/s",
        y="answered within 30 s, requests/s",
    )
    drawn = draw_lines(
        chart,
        [
            Line(name="serverless", x=_RATES, y=ours_per_s),
            Line(name="three VMs", x=_RATES, y=theirs_per_s),
        ],
    )
    return Found(
        rows=tuple(rows),
        charts=(("vm-baseline.svg", drawn.file(chart.title)),),
        remarks=(
            f"Assumed, for nobody has published it: {_VM_WORKERS} workers a machine, {call_s:g} s a function "
            "call (MIPRO 2022), preprocessing and postprocessing on one machine.",
            f"The burst: {_BURST} files of one minute, beat detection alone; the parallel machine has two "
            "workers.",
        ),
    )


def _burst(region: ServerlessRegion, call_s: float, seed: int, printed: dict[str, float]) -> list[Row]:
    """Beat detection alone, all at once: one call instead of the chain."""
    one_call = msgspec.structs.replace(
        region,
        floor_s=region.floor_s / _CHAIN,
        jitter_s=region.jitter_s / _CHAIN,
        jitter_most_s=region.jitter_most_s / _CHAIN,
        cooling_s=region.cooling_s / _CHAIN,
        cold_s=region.cold_s / (_CHAIN - 1),
    )
    load = Load(rate_per_s=float(_BURST), seconds=1.0, length_s=60.0, pattern="at-once")
    spans = [float(simulate([one_call], load, seed=seed + number).took_s.max()) for number in range(20)]
    serverless_s = float(np.mean(spans))
    together = np.zeros(_BURST)
    rows = [row("burst: serverless", "until the last is done", "s", serverless_s)]
    for name, workers, published in (
        ("sequential VM", 1, printed["times_faster_than_sequential"]),
        ("parallel VM", 2, printed["times_faster_than_parallel"]),
    ):
        span_s = float(through((Station(name=name, workers=workers, service_s=call_s),), together).max())
        rows.append(row(f"burst: {name}", "until the last is done", "s", span_s))
        rows.append(
            row(f"burst: {name}", "times slower than serverless", "", span_s / serverless_s, published)
        )
    return rows
