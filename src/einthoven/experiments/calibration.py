"""The model of a region, fitted on one half of the published load tests and judged on the other.

The halves: of each length the tests are numbered by load; the first, third, ... teach, the others judge. The
fit is a random search with a seed, and for the slow spells a grid; where its steps begin was found by hand on
the teaching half. `einthoven experiment calibration --fit FILE` makes the shipped parameters
again.
"""

import math
import tomllib
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from itertools import groupby
from typing import Final

import msgspec
import numpy as np

from einthoven.experiments.published import LoadTest, load_tests
from einthoven.simulation.regions import simulate
from einthoven.simulation.serverless import Load, MeasuringTool, ServerlessRegion

__all__ = [
    "Calibration",
    "Compared",
    "Criterion",
    "Errors",
    "acceptance",
    "calibrated",
    "compared",
    "errors_of",
    "fit",
    "halves",
    "written",
]

_LEAST_REQUESTS: Final = 5000
_QUICK: Final = ("jitter_s", "jitter_sigma", "floor_s", "per_hour_s", "cooling_s")
_COLD: Final = ("cold_s", "cold_sigma", "cold_share_most", "cold_per_s")
_SLOW_SHARES: Final = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35)
_SLOW_MOSTS: Final = (1.8, 2.1, 2.4)
_CROWDED_PER_S: Final = 300.0
_FIT_S: Final = 120.0
_BUSY: Final = MeasuringTool(lag_s=0.3, lag_from_per_s=550.0, lag_full_per_s=620.0)
_SEEN_MOST: Final = 0.7
"""Of a logarithm: one run that went wrong there does not pull the whole model along."""


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """What was fitted."""

    region: ServerlessRegion
    tool: MeasuringTool


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A published load test and the same simulated."""

    published: LoadTest
    is_judging: bool
    """Whether nothing was fitted on it."""
    reached_per_s: float
    ok_per_s: float
    error_pct: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


class Criterion(msgspec.Struct, frozen=True, kw_only=True):
    """What a calibrated model must show."""

    name: str
    ours: float
    least: float
    most: float

    @property
    def is_met(self) -> bool:
        """Whether it does."""
        return self.least <= self.ours <= self.most


class Errors(msgspec.Struct, frozen=True, kw_only=True):
    """How far the model is from load tests, per cent; negative: it is too low."""

    plateau: float | None
    """Of the mean of successful answers a second where 1,000 or more were offered."""
    p50: float
    """Of the median of the tests' medians: the least and the greatest of the lengths differ by less."""
    p50_worst: float
    """Of the same, of the length that is worst."""
    p99: float
    """Of the mean of the logarithms of p99."""
    p99_worst: float
    p50_each: float
    """Median of the sizes of the error of each test."""
    p99_each: float
    p50_within: float
    """Share of the tests that are within 15 %, per cent."""
    p99_within: float
    error_points: float
    """Median size of the error of the share of failures where 600 or more were offered, points."""


def halves() -> tuple[tuple[LoadTest, ...], tuple[LoadTest, ...]]:
    """The tests that teach and those that judge; without those whose rate means nothing."""
    teach: list[LoadTest] = []
    judge: list[LoadTest] = []
    for _, tests in groupby(load_tests(), key=lambda one: one.length_s):
        for number, test in enumerate(tests):
            if test.is_steady:
                (judge if number % 2 else teach).append(test)
    return tuple(teach), tuple(judge)


def calibrated() -> Calibration:
    """The parameters that are shipped."""
    text = files("einthoven.experiments.published").joinpath("cloud-run.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), Calibration)


def written(calibration: Calibration) -> str:
    """As a file that `calibrated` reads."""
    lines = [
        "# The model of a Cloud Run region, fitted on half of the published load tests. Made by:",
        "# einthoven experiment calibration --fit cloud-run.toml",
    ]
    for table in ("region", "tool"):
        lines += ["", f"[{table}]"]
        value = getattr(calibration, table)
        for field in value.__struct_fields__:
            one = getattr(value, field)
            lines.append(f'{field} = "{one}"' if isinstance(one, str) else f"{field} = {one!r}")
    return "\n".join(lines) + "\n"


def compared(
    calibration: Calibration,
    tests: Iterable[LoadTest],
    *,
    seconds: float = 120.0,
    seed: int = 0,
    runs: int = 1,
) -> list[Compared]:
    """The same tests on the model.

    Parameters
    ----------
    seconds : of each run; a slow one takes longer, until there are some thousand requests.
    runs : of each test; their figures are averaged.
    """
    judging = set(halves()[1])
    made = []
    for test in tests:
        figures = np.mean(
            [_run(calibration, test, seconds, 10_000 * (seed + 17 * number)) for number in range(runs)],
            axis=0,
        )
        reached_per_s, ok_per_s, error_pct, p50_s, p95_s, p99_s = figures.tolist()
        made.append(
            Compared(
                published=test,
                is_judging=test in judging,
                reached_per_s=round(reached_per_s, 2),
                ok_per_s=round(ok_per_s, 2),
                error_pct=round(error_pct, 3),
                p50_ms=round(1000 * p50_s),
                p95_ms=round(1000 * p95_s),
                p99_ms=round(1000 * p99_s),
            )
        )
    return made


def _run(calibration: Calibration, test: LoadTest, seconds: float, seed: int) -> tuple[float, ...]:
    """Requests a second reached and answered, per cent that failed, percentiles in s."""
    rate_per_s = calibration.tool.reached_per_s(test.target_per_s)
    load = Load(
        rate_per_s=rate_per_s,
        seconds=max(seconds, min(_LEAST_REQUESTS, 50 * seconds) / rate_per_s),
        length_s=test.length_s,
    )
    own = seed + 7 * test.length_s + round(test.target_per_s)
    outcome = calibration.tool.seen(simulate([calibration.region], load, seed=own), rate_per_s, own)
    percentiles = np.percentile(outcome.took_s, (50, 95, 99)).tolist()
    return (outcome.all_per_s, outcome.answered_per_s, 100 * outcome.error_share, *percentiles)


def errors_of(made: Sequence[Compared]) -> Errors:
    """How far they are apart."""
    full = [one for one in made if one.published.target_per_s >= 1000]
    busy = [one for one in made if one.published.target_per_s >= 600]
    p50, p50_of = _by_length(made, "p50_ms")
    p99, p99_of = _by_length(made, "p99_ms")
    plateau = None
    if full:
        plateau = _percent(sum(one.ok_per_s for one in full), sum(one.published.ok_per_s for one in full))
    return Errors(
        plateau=plateau,
        p50=p50,
        p50_worst=max(p50_of, key=abs),
        p99=p99,
        p99_worst=max(p99_of, key=abs),
        p50_each=_median_size(made, "p50_ms"),
        p99_each=_median_size(made, "p99_ms"),
        p50_within=_within(made, "p50_ms"),
        p99_within=_within(made, "p99_ms"),
        error_points=round(
            float(np.median([abs(one.error_pct - one.published.error_pct) for one in busy])), 2
        )
        if busy
        else 0.0,
    )


def acceptance(made: Sequence[Compared]) -> tuple[Criterion, ...]:
    """The criteria that were set for the model before it was made, on comparisons with all load tests."""
    found = []
    medians_s = {}
    for length_s, tests in groupby(
        sorted(made, key=lambda one: one.published.length_s), key=lambda one: one.published.length_s
    ):
        clean = [one for one in tests if not one.published.flag and one.published.error_pct <= 0.5]
        theirs_ms = float(np.median([one.published.p50_ms for one in clean]))
        medians_s[length_s] = float(np.median([one.p50_ms for one in clean])) / 1000
        found.append(_around(f"p50 of {length_s} s of ECG, s", medians_s[length_s], theirs_ms / 1000, 0.08))
    slope, _ = np.polyfit([one / 3600 for one in medians_s], list(medians_s.values()), 1)
    found.append(_around("more for an hour of ECG, s", float(slope), 1.5, 0.10))
    ten = {one.published.target_per_s: one for one in made if one.published.length_s == 10}
    full = [one for target, one in ten.items() if target >= 1000]
    plateau = float(np.mean([one.ok_per_s for one in full]))
    found.append(Criterion(name="plateau, /s", ours=plateau, least=800.0, most=900.0))
    for target, share in ((700.0, 3.0), (1000.0, 11.5), (1500.0, 24.6)):
        name = f"failed at {target:g}/s, %"
        found.append(
            Criterion(name=name, ours=ten[target].error_pct, least=max(0.0, share - 5), most=share + 5)
        )
    p99_s = float(np.median([one.p99_ms for one in full])) / 1000
    found.append(Criterion(name="p99 when it is full, s", ours=p99_s, least=10.0, most=12.0))
    short = [one for one in made if one.published.length_s <= 120 and one.p95_ms < 2200]
    tails = [one.p99_ms / 1000 for one in short]
    cold = [one for one in tails if one >= 4.0]
    found.append(Criterion(name="tests with a cold tail, p99 s", ours=_middle(cold), least=5.0, most=7.7))
    warm = [one for one in tails if one < 4.0]
    found.append(Criterion(name="tests without, p99 s", ours=_middle(warm), least=1.8, most=3.1))
    return tuple(found)


def _around(name: str, ours: float, theirs: float, share: float) -> Criterion:
    return Criterion(name=name, ours=ours, least=theirs * (1 - share), most=theirs * (1 + share))


def _middle(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else math.nan


def _percent(ours: float, theirs: float) -> float:
    return round(100.0 * (ours / theirs - 1.0), 2)


def _each(made: Iterable[Compared], field: str) -> list[float]:
    return [math.log(getattr(one, field) / getattr(one.published, field)) for one in made]


def _by_length(made: Sequence[Compared], field: str) -> tuple[float, list[float]]:
    """The typical error over everything, and of each length: the median of its tests' errors."""
    ordered = sorted(made, key=lambda one: one.published.length_s)
    of = [
        100.0 * math.expm1(float(np.median(_each(tests, field))))
        for _, tests in groupby(ordered, key=lambda one: one.published.length_s)
    ]
    whole = 100.0 * math.expm1(float(np.median(_each(made, field))))
    return round(whole, 2), [round(one, 2) for one in of]


def _median_size(made: Sequence[Compared], field: str) -> float:
    return round(100.0 * float(np.median(np.abs(np.expm1(_each(made, field))))), 2)


def _within(made: Sequence[Compared], field: str) -> float:
    return round(100.0 * float((np.abs(np.expm1(_each(made, field))) <= 0.15).mean()), 1)


# -------------------------------------------------------------------- fitting


def fit(
    told: Callable[[str], None],
    teach: Sequence[LoadTest] | None = None,
    *,
    rounds: int = 60,
    seed: int = 1,
) -> Calibration:
    """Fit everything; takes minutes.

    Parameters
    ----------
    told : hears of every step that was better.
    teach : the load tests to fit on; None: the teaching half.
    rounds : steps that are tried for each group of parameters.
    """
    teach = halves()[0] if teach is None else teach
    best = Calibration(region=ServerlessRegion(name="cloud-run"), tool=_tool(teach))
    quiet = [one for one in teach if one.target_per_s < _CROWDED_PER_S]
    crowded = [one for one in teach if one.target_per_s >= _CROWDED_PER_S]
    rng = np.random.default_rng(seed)
    for names, percentiles in ((_QUICK, ("p50_ms", "p95_ms")), (_COLD, ("p99_ms",))):
        best = _searched(best, names, quiet, percentiles, rng, rounds, told)
    return _spelled(best, crowded, told) if crowded else best


def _spelled(start: Calibration, tests: Sequence[LoadTest], told: Callable[[str], None]) -> Calibration:
    """Try every combination of how often and how slow: chance is too great there for small steps."""
    best, least = start, math.inf
    for share in _SLOW_SHARES:
        for most in _SLOW_MOSTS:
            region = msgspec.structs.replace(start.region, slow_share=share, slow_most=most)
            tried = msgspec.structs.replace(start, region=region)
            loss = _loss(tried, tests, ("p50_ms", "p99_ms", "p95_ms"), runs=2)
            if loss < least:
                best, least = tried, loss
                told(f"slow {share:g} of the time, {most:g} times at most: loss {loss:.4f}")
    return best


def _tool(teach: Sequence[LoadTest]) -> MeasuringTool:
    """Its limit, from what it should have sent and what it did."""
    busy = [one for one in teach if one.target_per_s >= _CROWDED_PER_S]

    def miss(tool: MeasuringTool) -> float:
        return sum(abs(math.log(tool.reached_per_s(one.target_per_s) / one.throughput_per_s)) for one in busy)

    made = [
        msgspec.structs.replace(_BUSY, limit_per_s=float(limit), sharpness=float(sharpness))
        for limit in range(1000, 2001, 25)
        for sharpness in np.arange(2.0, 8.0, 0.5)
    ]
    return min(made, key=miss)


def _searched(
    start: Calibration,
    names: Sequence[str],
    tests: Sequence[LoadTest],
    percentiles: Sequence[str],
    rng: np.random.Generator,
    rounds: int,
    told: Callable[[str], None],
) -> Calibration:
    """Change a few parameters at a time by chance, keep what is better, in smaller and smaller steps."""
    best, least = start, _loss(start, tests, percentiles)
    for number in range(rounds):
        step = 0.35 * (1.0 - number / rounds) + 0.03
        chosen = [one for one in names if rng.random() < 2.5 / len(names)] or [names[number % len(names)]]
        tried = _changed(best, {one: math.exp(step * rng.standard_normal()) for one in chosen})
        if tried is None:
            continue
        loss = _loss(tried, tests, percentiles)
        if loss < least:
            best, least = tried, loss
            told(f"{', '.join(percentiles)}: step {number + 1} of {rounds}, loss {least:.4f}")
    return best


def _changed(calibration: Calibration, factors: dict[str, float]) -> Calibration | None:
    """With some parameters multiplied; None where that makes no sense."""
    made: dict[str, ServerlessRegion | MeasuringTool] = {}
    parts: tuple[tuple[str, ServerlessRegion | MeasuringTool], ...] = (
        ("region", calibration.region),
        ("tool", calibration.tool),
    )
    for part, value in parts:
        new = {}
        for name in factors.keys() & set(value.__struct_fields__):
            number = getattr(value, name) * factors[name]
            new[name] = max(1, round(number)) if name in ("queue", "held") else float(f"{number:.4g}")
        made[part] = msgspec.structs.replace(value, **new)
    region, tool = made["region"], made["tool"]
    assert isinstance(region, ServerlessRegion)  # noqa: S101 - for the type checker
    assert isinstance(tool, MeasuringTool)  # noqa: S101 - for the type checker
    is_sound = (
        1.0 <= region.slow_least <= region.slow_most
        and region.slow_share <= 1.0
        and region.cold_share_most <= 0.04
        and tool.lag_from_per_s + 1 <= tool.lag_full_per_s
    )
    return Calibration(region=region, tool=tool) if is_sound else None


def _loss(
    calibration: Calibration, tests: Sequence[LoadTest], percentiles: Sequence[str], runs: int = 1
) -> float:
    made = compared(calibration, tests, seconds=_FIT_S, runs=runs)
    total = 0.0
    for name in percentiles:
        weight = 0.4 if name == "p95_ms" else 1.0
        total += weight * sum(min(_SEEN_MOST, abs(one)) for one in _each(made, name))
    for one in made:
        weight = 5.0 if one.published.target_per_s >= 1000 else 2.0
        total += weight * abs(math.log(max(1e-3, one.ok_per_s) / one.published.ok_per_s))
        total += 0.04 * abs(one.error_pct - one.published.error_pct)
    return total / len(made)
