"""The published offloading figures, on scenarios of our own: who is accepted, and what that takes.

Published (Kovacevic et al., IEEE Access 9, 2021, doi 10.1109/ACCESS.2021.3071848) is a heuristic, HRA, whose
use of resources is the optimum's or close to it, and that accepts more than requests served as they come. The
numbers in its figures, its parameters and its listing are not available, so only the shapes can be repeated,
and HRA is a reconstruction.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from einthoven.experiments.figures import Found, Row, Setup, row
from einthoven.experiments.intervals import Mean, mean_of
from einthoven.experiments.planning import accepted_online, planned
from einthoven.pictures.charts import Bars, Chart, Line, draw_bars, draw_lines
from einthoven.placement.offloading.exact import cheapest_set
from einthoven.placement.offloading.plans import Limits
from einthoven.placement.offloading.scenario import ONE_STATION, THREE_STATIONS, Scenario, draw

__all__ = ["offloading"]

_SOURCES: Final = (
    "Kovacevic, Harjula, Glisic, Lorenzo, Ylianttila, IEEE Access 9, 2021, doi 10.1109/ACCESS.2021.3071848",
    "Finnish Journal of eHealth and eWelfare 14(1), 2022, figures 4b and 4c",
)
_KNOWN: Final = (
    "Two figures are known by their shape only, their numbers are not available: (4b) HRA's use of resources "
    "is the optimum's or close to it, (4c) HRA accepts more than requests served as they come."
)
_SECONDS: Final = 120.0
_SEEDS: Final = 20
_ARRIVALS: Final = 1500
_EXACT_MOST: Final = 60
"""Requests; with more the optimum takes seconds a draw, and the bound is a per cent above it at most."""
_METHODS: Final = {
    "fcfs": "in order of arrival",
    "hra": "HRA, reconstructed",
    "default": "ours",
    "exact": "optimum",
    "bound": "bound",
}
_COLOURS: Final = {"fcfs": 1, "hra": 4, "default": 0, "exact": 2, "bound": 3}


class _Size(msgspec.Struct, frozen=True):
    """How much is drawn."""

    seeds: int
    arrivals: int
    largest: int
    crowd: int
    """Requests for each station where other conditions are compared."""
    loads: tuple[int, ...]
    """Sessions offered at one time."""


class _Case(msgspec.Struct, frozen=True, kw_only=True):
    """Draws of one kind."""

    name: str
    scenario: Scenario
    requests: int
    first_seed: int
    methods: tuple[str, ...] = ("fcfs", "hra", "default", "bound")


def offloading(setup: Setup) -> Found:
    """Both published figures, then sizes, stations, radio, work, deadlines, and sessions that come and go.

    `setup.seconds` says how much is drawn: all of it for the 120 s that are usual, else a share of it.
    """
    part = min(1.0, setup.seconds / _SECONDS)
    is_whole = part > 0.5
    size = _Size(
        max(2, round(_SEEDS * part)),
        max(250, round(_ARRIVALS * part)),
        300 if is_whole else 20,
        20 if is_whole else 5,
        (10, 20, 30, 40, 50) if is_whole else (20, 50),
    )
    rows: list[Row] = []
    charts: list[tuple[str, str]] = []
    for made, drawn in (
        _one_station(setup, size),
        _sizes(setup, size),
        _conditions(setup, size),
        _sessions(setup, size),
    ):
        rows += made
        charts += drawn
    return Found(
        rows=tuple(rows),
        charts=tuple(charts),
        remarks=(
            f"{_KNOWN} So the column of published figures is empty.",
            "HRA is a reconstruction from the article's words; its listing is not available. The scenarios "
            "are our own.",
            f"Means over {size.seeds} seeds, ± half of a 95 % interval (Student's t).",
            "The optimum is proven, unless a row says of how many draws not; no plan is above the bound.",
        ),
        how="planned",
        sources=_SOURCES,
        known=_KNOWN,
    )


def _measured(case: _Case, setup: Setup, size: _Size) -> tuple[list[Row], dict[str, Mean]]:
    """Accepted requests by method, per cent."""
    unproven = 0
    found: dict[str, list[float]] = {method: [] for method in case.methods}
    for number in range(size.seeds):
        setup.told(f"{case.name}, {number + 1} of {size.seeds}")
        drawn = draw(case.scenario, case.requests, _seed(case, setup, number))
        for method in case.methods:
            if method == "bound":
                continue
            plan = planned(drawn, method)
            found[method].append(100 * plan.acceptance)
            unproven += method == "exact" and not plan.is_proven
            if method == "default":
                found["bound"].append(100 * plan.bound / case.requests)
    means = {method: mean_of(values) for method, values in found.items()}
    rows = [
        row(case.name, f"accepted, {_METHODS[method]}", "%", mean.value, within=mean.within)
        for method, mean in means.items()
    ]
    if unproven:
        rows.append(row(case.name, "optimum not proven", "draws", unproven))
    return rows, means


def _seed(case: _Case, setup: Setup, number: int) -> int:
    return case.first_seed + number + 1_000_000 * (setup.seed - 1)


def _lines(xs: Sequence[float], found: Iterable[Mapping[str, Mean]]) -> list[Line]:
    """A line for each method, over what is measured of it."""
    every = list(found)
    lines = []
    for method, name in _METHODS.items():
        pairs = [(x, means[method]) for x, means in zip(xs, every, strict=True) if method in means]
        if pairs:
            lines.append(
                Line(
                    name=name,
                    x=[x for x, _ in pairs],
                    y=[mean.value for _, mean in pairs],
                    within=[mean.within for _, mean in pairs],
                    colour=_COLOURS[method],
                    is_dashed=method == "bound",
                    is_joined=method != "exact",
                )
            )
    return lines


# -------------------------------------------------------------------- the published figures


def _one_station(setup: Setup, size: _Size) -> tuple[list[Row], list[tuple[str, str]]]:
    """Resource use of HRA and the optimum (4b), acceptance of HRA and of order of arrival (4c)."""
    counts = [n for n in (5, 10, 15, 20, 30, 40, 60) if n <= size.largest]
    rows: list[Row] = []
    accepted, used = [], []
    for requests in counts:
        case = _Case(
            name=f"1 station, {requests} requests",
            scenario=ONE_STATION,
            requests=requests,
            first_seed=31 * requests,
            methods=("fcfs", "hra", "default", "exact", "bound"),
        )
        made, means = _measured(case, setup, size)
        made_of_use, uses = _resources(case, setup, size)
        rows += made + made_of_use
        accepted.append(means)
        used.append(uses)
    xs = [float(n) for n in counts]
    acceptance = Chart(
        title="Accepted requests, one station",
        subtitle="The published figure compares HRA with order of arrival; means and 95 % intervals",
        x="requests",
        y="accepted, %",
    )
    resources = Chart(
        title="Use of resources, one station",
        subtitle="Sum of utilisations of HRA, and the least for as many requests",
        x="requests",
        y="sum of utilisations",
    )
    lines = [
        Line(
            name=name,
            x=xs,
            y=[means[which].value for means in used],
            within=[means[which].within for means in used],
            colour=colour,
        )
        for which, name, colour in ((0, _METHODS["hra"], _COLOURS["hra"]), (1, "optimum", _COLOURS["exact"]))
    ]
    return rows, [
        ("offloading-acceptance.svg", draw_lines(acceptance, _lines(xs, accepted)).file(acceptance.title)),
        ("offloading-resources.svg", draw_lines(resources, lines).file(resources.title)),
    ]


def _resources(case: _Case, setup: Setup, size: _Size) -> tuple[list[Row], tuple[Mean, Mean]]:
    """What HRA gives away, and what would have been enough for as many requests."""
    ours, least, gaps, unproven = [], [], [], 0
    for number in range(size.seeds):
        setup.told(f"{case.name}, least use of resources, {number + 1} of {size.seeds}")
        drawn = draw(case.scenario, case.requests, _seed(case, setup, number))
        plan = planned(drawn, "hra")
        found = cheapest_set(drawn.instance, len(plan.accepted), Limits())
        unproven += not found.is_proven
        ours.append(plan.cost)
        least.append(found.upper)
        gaps.append(100 * (plan.cost / found.upper - 1) if found.upper else 0.0)
    means = mean_of(ours), mean_of(least)
    gap = mean_of(gaps)
    rows = [
        row(case.name, "use of HRA", "utilisations", means[0].value, within=means[0].within),
        row(case.name, "least use for as many", "utilisations", means[1].value, within=means[1].within),
        row(case.name, "HRA above it", "%", gap.value, within=gap.within),
        row(case.name, "HRA above it, at most", "%", max(gaps)),
    ]
    if unproven:
        rows.append(row(case.name, "least use not proven", "draws", unproven))
    return rows, means


# -------------------------------------------------------------------- beyond them


def _sizes(setup: Setup, size: _Size) -> tuple[list[Row], list[tuple[str, str]]]:
    """Three stations, from few requests to far too many."""
    counts = [n for n in (10, 20, 40, 60, 90, 120, 200, 300) if n <= size.largest]
    rows: list[Row] = []
    found = []
    for requests in counts:
        exact = ("exact",) if requests <= _EXACT_MOST else ()
        case = _Case(
            name=f"3 stations, {requests} requests",
            scenario=THREE_STATIONS,
            requests=requests,
            first_seed=1000 * requests,
            methods=("fcfs", "hra", "default", *exact, "bound"),
        )
        made, means = _measured(case, setup, size)
        rows += made
        found.append(means)
    chart = Chart(
        title="Accepted requests, three stations",
        subtitle="Means and 95 % intervals; no plan whatever is above the bound",
        x="requests",
        y="accepted, %",
    )
    lines = _lines([float(n) for n in counts], found)
    return rows, [("offloading-sizes.svg", draw_lines(chart, lines).file(chart.title))]


def _conditions(setup: Setup, size: _Size) -> tuple[list[Row], list[tuple[str, str]]]:
    """Other stations, radios, work and deadlines, with as many requests for each station."""
    other = msgspec.structs.replace
    variants = {
        "1 station": ONE_STATION,
        "3 stations": THREE_STATIONS,
        "6 stations": other(THREE_STATIONS, stations=6),
        "0-10 dB": other(THREE_STATIONS, snr_db=(0.0, 10.0)),
        "15-30 dB": other(THREE_STATIONS, snr_db=(15.0, 30.0)),
        "half the work": other(THREE_STATIONS, cycles_per_bit=(50.0, 500.0)),
        "twice the work": other(THREE_STATIONS, cycles_per_bit=(200.0, 2000.0)),
        "half the time": other(THREE_STATIONS, deadline_s=(0.025, 0.15)),
        "twice the time": other(THREE_STATIONS, deadline_s=(0.1, 0.6)),
    }
    rows: list[Row] = []
    found = []
    for name, scenario in variants.items():
        requests = size.crowd * scenario.stations
        case = _Case(
            name=f"{name}, {size.crowd} requests a station",
            scenario=scenario,
            requests=requests,
            first_seed=77 * requests,
        )
        made, means = _measured(case, setup, size)
        rows += made
        found.append(means)
    chart = Chart(
        title="Other conditions",
        subtitle=f"{size.crowd} requests for each station; where nothing else is said: 3 stations, 0-25 dB",
        x="",
        y="accepted, %",
        width_mm=260.0,
    )
    bars = [
        Bars(
            name=_METHODS[method],
            values=[means[method].value for means in found],
            colour=_COLOURS[method],
            is_hollow=method == "bound",
        )
        for method in ("fcfs", "hra", "default", "bound")
    ]
    return rows, [("offloading-conditions.svg", draw_bars(chart, list(variants), bars).file(chart.title))]


def _sessions(setup: Setup, size: _Size) -> tuple[list[Row], list[tuple[str, str]]]:
    """Sessions that come and go: shares that are never changed, against shares that are."""
    rows: list[Row] = []
    found: dict[str, list[Mean]] = {"fcfs": [], "ours": []}
    runs = max(2, size.seeds // 5)
    for load in size.loads:
        case = f"sessions, {load} offered at one time"
        for method, words in (("fcfs", "never allocated again"), ("ours", "allocated again")):
            values = []
            for number in range(runs):
                setup.told(f"{case}, {words}, {number + 1} of {runs}")
                seed = number + 1_000_000 * (setup.seed - 1)
                values.append(accepted_online(load, seed, size.arrivals, is_frozen=method == "fcfs"))
            found[method].append(mean_of(values))
            mean = found[method][-1]
            rows.append(row(case, f"accepted, {words}", "%", mean.value, within=mean.within))
    chart = Chart(
        title="Sessions that come and go",
        subtitle=f"{size.arrivals} arrivals in each of {runs} runs, three stations",
        x="sessions offered at one time, in the mean",
        y="accepted, %",
    )
    lines = [
        Line(
            name=name,
            x=[float(load) for load in size.loads],
            y=[mean.value for mean in found[method]],
            within=[mean.within for mean in found[method]],
            colour=_COLOURS[colour],
        )
        for method, name, colour in (
            ("fcfs", "shares as given at arrival", "fcfs"),
            ("ours", "ours, allocated again", "default"),
        )
    ]
    return rows, [("offloading-sessions.svg", draw_lines(chart, lines).file(chart.title))]
