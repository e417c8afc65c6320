"""What it costs: a patient's day, and moving data against waiting."""

from collections.abc import Sequence
from statistics import mean
from typing import Final

import msgspec

from einthoven.continuum import Price
from einthoven.experiments.calibration import calibrated
from einthoven.experiments.figures import Found, Row, Setup, row
from einthoven.pictures.charts import Chart, Line, draw_lines
from einthoven.placement import Dispatch, Terms
from einthoven.simulation.regions import simulate
from einthoven.simulation.serverless import Load, Outcome, ServerlessRegion, declared

__all__ = ["PRICES", "cost"]

PRICES: Final = {
    "aws": Price(per_invocation=2e-7, per_gb_s=1.66667e-5, per_egress_gb=0.09, billing_step_s=0.001),
    "google": Price(per_invocation=4e-7, per_gb_s=1.85e-5, per_egress_gb=0.12, billing_step_s=0.1),
    "ibm": Price(per_gb_s=1.7e-5, per_egress_gb=0.09, billing_step_s=0.1),
    "alibaba": Price(per_invocation=2e-7, per_gb_s=1.668e-5, per_egress_gb=0.08, billing_step_s=0.1),
}
"""In dollars: calls, memory and billing steps as the metadata of xAFCL gives them (2025, partly older);
Google's processor is in its memory's price (512 MB hold 0.8 GHz); egress is assumed, in the order of list
prices."""
_WINDOWS_A_DAY: Final = 2880
_MEMORY_MB: Final = 512
_CHAIN: Final = 5
_HOP_S: Final = 0.1
_PATIENTS: Final = 60
_HOURS: Final = 12
_MINUTE_S: Final = 60.0
_RUNS: Final = 5
_HOUR_BYTES: Final = 2_760_000
_PLACES: Final = ("frankfurt", "london", "virginia", "virginia", "virginia")
"""Where recordings were uploaded, in turn."""


class _Site(msgspec.Struct, frozen=True, kw_only=True):
    """A region of the made-up federation."""

    name: str
    place: str
    provider: str
    rtt_s: float
    """From Innsbruck."""
    bandwidth_mb_s: float
    """Of data from other places."""
    slower: float = 1.0
    slots: int = 60

    def region(self, base: ServerlessRegion) -> ServerlessRegion:
        """As the simulation wants it."""
        return msgspec.structs.replace(
            base,
            name=self.name,
            rtt_s=self.rtt_s,
            slots=self.slots,
            floor_s=base.floor_s * self.slower,
            per_hour_s=base.per_hour_s * self.slower,
        )


_SITES: Final = (
    _Site(name="google-frankfurt", place="frankfurt", provider="google", rtt_s=0.011, bandwidth_mb_s=43.0),
    _Site(name="aws-london", place="london", provider="aws", rtt_s=0.022, bandwidth_mb_s=26.0),
    _Site(
        name="alibaba-virginia",
        place="virginia",
        provider="alibaba",
        rtt_s=0.109,
        bandwidth_mb_s=13.0,
        slower=1.3,
    ),
)
_CHOICES: Final = (
    # name, the only region, policy
    ("naive, cheapest region", "alibaba-virginia", "cheapest"),
    ("naive, fastest region", "google-frankfurt", "fastest"),
    ("random", None, "random"),
    ("fastest", None, "fastest"),
    ("cheapest", None, "cheapest"),
    ("balanced", None, "balanced"),
)


def cost(setup: Setup) -> Found:
    """Dollars for a patient's day, by provider; dollars and time of a minute of uploads, by policy."""
    rows = _days(setup)
    found = _uploads(setup)
    rows += [one for _, lines in found for one in lines]
    chart = Chart(
        title="Moving data or waiting",
        subtitle=f"{_PATIENTS} recordings of {_HOURS} h, uploaded to three places within a minute",
        x="p95 of an hour's time, s",
        y="cost, $",
        width_mm=170.0,
    )
    lines = [
        Line(name=name, x=[figures[0].ours], y=[figures[1].ours], is_joined=False) for name, figures in found
    ]
    return Found(
        rows=tuple(rows),
        charts=(("cost.svg", draw_lines(chart, lines).file(chart.title)),),
        remarks=(
            "Nobody has published what a patient's day costs. Prices are the providers' lists', those of "
            "egress assumed. Storage, databases and the phone's way to the cloud are not in it.",
            "A naive choice sends all to one region and does not look at egress; a policy does. Means of "
            f"{_RUNS} runs.",
        ),
    )


def _days(setup: Setup) -> list[Row]:
    region = calibrated().region
    setup.told("a patient's day")
    load = Load(rate_per_s=100.0, seconds=setup.seconds)
    outcome = simulate([region], load, seed=setup.seed)
    busy_s = float(outcome.uses[0].slot_s / max(1, outcome.uses[0].answered))
    fused_s = busy_s - (_CHAIN - 1) * _HOP_S
    rows = []
    for name, price in PRICES.items():
        each = [price.of_call(busy_s / _CHAIN, _MEMORY_MB, 0)] * _CHAIN
        rows.append(row(f"{name}, five calls", "a patient's day", "$", _WINDOWS_A_DAY * sum(each)))
        fused = price.of_call(fused_s, _MEMORY_MB, 0)
        rows.append(row(f"{name}, fused to one", "a patient's day", "$", _WINDOWS_A_DAY * fused))
    return rows


def _uploads(setup: Setup) -> list[tuple[str, list[Row]]]:
    """By name: time, cost, and what of it is egress."""
    base = calibrated().region
    load = Load(
        rate_per_s=_PATIENTS * _HOURS / _MINUTE_S,
        seconds=_MINUTE_S,
        length_s=3600.0,
        pattern="poisson",
        data_bytes=_HOUR_BYTES,
        data_at=_PLACES,
        urgency=2,
        memory_mb=_MEMORY_MB,
        busy_s=base.floor_s + base.per_hour_s,
    )
    found = []
    for name, only, policy in _CHOICES:
        setup.told(f"a minute of uploads: {name}")
        sites = [one for one in _SITES if only in (None, one.name)]
        regions = [one.region(base) for one in sites]
        known = [
            declared(region, place=one.place, price=PRICES[one.provider], bandwidth_mb_s=one.bandwidth_mb_s)
            for region, one in zip(regions, sites, strict=True)
        ]
        runs = []
        egress = computing = 0.0
        for number in range(_RUNS):
            seed = 100 * setup.seed + number
            terms = Terms(policy=policy, waiting=100_000, hedged_share=0.0, attempt_s=600.0, seed=seed)
            outcome = simulate(regions, load, dispatch=Dispatch(known, terms), seed=seed)
            runs.append(outcome)
            egress += _egress(outcome, sites) / _RUNS
            computing += _computing(outcome, sites) / _RUNS
        case = f"uploads: {name}"
        figures = [
            row(case, "p95 of an hour's time", "s", mean([one.percentile_s(95) for one in runs])),
            row(case, "cost", "$", computing + egress),
            row(case, "of which egress", "$", egress),
            row(case, "makespan", "s", mean([one.elapsed_s for one in runs])),
            row(case, "failed", "%", 100 * mean([one.error_share for one in runs])),
        ]
        found.append((name, figures))
    return found


def _egress(outcome: Outcome, sites: Sequence[_Site]) -> float:
    """Dollars for data that left their places."""
    return sum(
        _HOUR_BYTES / 1e9 * PRICES[sites[which].provider].per_egress_gb
        for number, which in enumerate(outcome.region.tolist())
        if which >= 0 and sites[which].place != _PLACES[number % len(_PLACES)]
    )


def _computing(outcome: Outcome, sites: Sequence[_Site]) -> float:
    """Dollars for calls and memory, as long as it really was held."""
    return sum(
        use.requests * PRICES[one.provider].per_invocation
        + use.slot_s * _MEMORY_MB / 1024 * PRICES[one.provider].per_gb_s
        for use, one in zip(outcome.uses, sites, strict=True)
    )
