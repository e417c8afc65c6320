"""A burst that was seen coming: instances start when it comes, are kept warm for it, or are woken before."""

from typing import Final, NamedTuple

import msgspec
import numpy as np

from einthoven.experiments.calibration import calibrated
from einthoven.experiments.costs import PRICES
from einthoven.experiments.figures import Found, Row, Setup, row
from einthoven.pictures.charts import Bars, Chart, draw_bars
from einthoven.placement import Dispatch
from einthoven.simulation.regions import simulate
from einthoven.simulation.serverless import Load, Outcome, declared

__all__ = ["prewarming"]

_HOUR_S: Final = 3600.0
_IDLE_S: Final = 600.0
"""After so long Cloud Run may end an instance; it says 15 min at most."""
_BURST: Final = 48
_BURST_AT_S: Final = 2400.0
_RUNS: Final = 20
_EVERY_S: Final = 60.0


class _Way(NamedTuple):
    name: str
    kept: int
    is_expected: bool


_WAYS: Final = (
    _Way("instances start when it comes", 0, False),
    _Way("a quarter is kept warm", _BURST // 4, False),
    _Way("all are kept warm", _BURST, False),
    _Way("all are woken before it", 0, True),
)


def prewarming(setup: Setup) -> Found:
    """An hour in which little happens, and once 48 recordings are uploaded within a second."""
    rows: list[Row] = []
    means, worst = [], []
    for way in _WAYS:
        setup.told(way.name)
        runs = [_run(way, 1000 * setup.seed + number) for number in range(_RUNS)]
        of_burst = np.concatenate([_of_burst(one) for one, _ in runs])
        means.append(float(of_burst.mean()))
        worst.append(float(np.percentile(of_burst, 99)))
        rows += [
            row(way.name, "burst: mean", "s", means[-1]),
            row(way.name, "burst: p99", "s", worst[-1]),
            row(way.name, "cold starts seen", "", float(np.mean([one.uses[0].cold for one, _ in runs]))),
            row(way.name, "calls for nothing", "", float(np.mean([one.uses[0].warmings for one, _ in runs]))),
            row(way.name, "cost of the hour", "m$", 1e3 * float(np.mean([spent for _, spent in runs]))),
        ]
    chart = Chart(
        title="A burst that was seen coming",
        subtitle=f"{_BURST} requests within a second, after {_BURST_AT_S / 60:g} quiet minutes",
        x="",
        y="s until an answer",
    )
    drawn = draw_bars(
        chart,
        ["none", "a quarter", "all kept", "woken"],
        [Bars(name="mean", values=means), Bars(name="p99", values=worst)],
    )
    return Found(
        rows=tuple(rows),
        charts=(("prewarming.svg", drawn.file(chart.title)),),
        remarks=(
            f"Means of {_RUNS} hours. An instance is gone after {_IDLE_S / 60:g} min without a call, and "
            "what is kept warm is called after 8; Google's prices, where an idle instance costs nothing.",
            "Calls for nothing are taken to meet instances that stand free, all of them at once.",
        ),
    )


def _run(way: _Way, seed: int) -> tuple[Outcome, float]:
    region = msgspec.structs.replace(calibrated().region, idle_s=_IDLE_S, slow_share=0.0, cold_share_most=0.0)
    load = Load(
        rate_per_s=1 / _EVERY_S,
        seconds=_HOUR_S,
        pattern="even",
        is_warm=False,
        burst_factor=1 + _BURST * _EVERY_S,
        burst_from_s=_BURST_AT_S,
        burst_s=1.0,
    )
    dispatch = Dispatch([declared(region, price=PRICES["google"], warm=way.kept)])
    if way.is_expected:
        dispatch.expect(region.name, _BURST, _BURST_AT_S)
    outcome = simulate([region], load, dispatch=dispatch, seed=seed)
    return outcome, outcome.spent


def _of_burst(outcome: Outcome) -> np.ndarray:
    is_of_it = (outcome.came_s >= _BURST_AT_S) & (outcome.came_s < _BURST_AT_S + 1.0)
    return outcome.took_s[is_of_it]
