"""A serverless region as a model, what is asked of it, and what became of that. No I/O.

What a region does is a phenomenon, not a mechanism that anybody has published: each part stands for something
that 120 load tests of Cloud Run show (`einthoven.experiments.calibration` fits it, docs/experiments.md says
where it is wrong).
"""

import math
from typing import Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.continuum import Price, Region
from einthoven.errors import InputInvalid

__all__ = [
    "ANSWERED",
    "EXPIRED",
    "FAILED",
    "REFUSED",
    "Load",
    "MeasuringTool",
    "Outcome",
    "Pattern",
    "RegionUse",
    "ServerlessRegion",
    "declared",
]

ANSWERED: Final = 0
REFUSED: Final = 1
"""Too many requests, said at once."""
EXPIRED: Final = 2
"""Too many requests, said after it had waited."""
FAILED: Final = 3
"""The dispatch gave it up: no room, or no time left."""

Pattern = Literal["poisson", "even", "patients", "at-once"]
_EVERY_S: Final = 30.0
_DAY_S: Final = 86_400.0


class ServerlessRegion(msgspec.Struct, frozen=True, kw_only=True):
    """One region: a front door with slots, and functions behind it."""

    name: str = "region"
    slots: int = 1000
    """Requests in service at one time; each has an instance of every function."""
    floor_s: float = 1.05
    """What every request takes, however short its ECG."""
    per_hour_s: float = 1.5
    """On top, for each hour of ECG."""
    jitter_s: float = 0.07
    """On top, on the way and in no slot, log-normal: its median."""
    jitter_sigma: float = 1.1
    jitter_most_s: float = 3.0
    cooling_s: float = 0.1
    """On top where requests are rare, because instances and connections cool down."""
    cooling_below_per_s: float = 85.0
    cold_s: float = 4.5
    """On top for a request that meets cold instances, log-normal: its median."""
    cold_sigma: float = 0.14
    cold_per_s: float = 2.2
    """Requests a second that do, however many there are,"""
    cold_share_most: float = 0.035
    """but no more than this share of them."""
    slow_share: float = 0.2
    """Of the time it is slow for a spell, where it is much used."""
    slow_full_per_s: float = 400.0
    """From so many requests a second on; below, in proportion fewer."""
    slow_least: float = 1.3
    """What a spell multiplies service times by is drawn between this"""
    slow_most: float = 2.4
    """and this."""
    spell_s: float = 8.0
    """Mean length of a spell, slow or not."""
    queue: int = 40
    """Requests that wait in order for a slot, at most."""
    held: int = 1300
    """Requests beyond those that are held back, at most, and let in when the queue is empty."""
    idle_s: float = math.inf
    """An instance that was not used for so long is gone; infinite: never."""
    warming_s: float = 0.01
    """What a call takes, in a warm instance, that only keeps it so."""
    patience_s: float = 10.0
    """Whoever waits longer is refused."""
    refusal_s: float = 0.04
    """How long it takes to refuse at once."""
    rtt_s: float = 0.0
    """To and from whoever asks; what the measurements contain is in the floor."""

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise InputInvalid(f"there are {self.slots} slots; at least 1 is needed.", where="slots")
        for field in self.__struct_fields__:
            value = getattr(self, field)
            if isinstance(value, float | int) and not value >= 0:
                raise InputInvalid(f"the value is {value}; it must be 0 or more.", where=field)

    def steady(self) -> "ServerlessRegion":
        """The same without anything that is drawn: every request takes as long."""
        return msgspec.structs.replace(
            self, jitter_s=0.0, cooling_s=0.0, cold_per_s=0.0, cold_share_most=0.0, slow_share=0.0
        )


def declared(
    region: ServerlessRegion,
    *,
    place: str = "",
    price: Price = Price(),  # noqa: B008 - frozen
    bandwidth_mb_s: float = math.inf,
    warm: int = 0,
) -> Region:
    """How such a region would stand in `continuum.toml`; of its instances ``warm`` are kept so."""
    return Region(
        name=region.name,
        kind="http",
        address=f"https://{region.name}.invalid",
        slots=region.slots,
        rtt_s=region.rtt_s,
        warm=warm,
        idle_s=min(region.idle_s, _DAY_S),
        cold_s=region.cold_s,
        place=place or region.name,
        bandwidth_mb_s=bandwidth_mb_s,
        price=price,
    )


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of the regions."""

    rate_per_s: float
    """Requests, of each region; with a dispatch, of all together."""
    seconds: float = 120.0
    length_s: float = 30.0
    """ECG in each request."""
    pattern: Pattern = "patients"
    """`patients`: each every 30 s, beginning at a random moment; `even`; `poisson`; `at-once`: all at 0."""
    is_warm: bool = True
    """Whether the regions have served as many before."""
    deadline_s: float | None = None
    """After its beginning an answer is of no use; for a dispatch."""
    urgency: int = 1
    burst_factor: float = 1.0
    """For a while so many times as many come,"""
    burst_from_s: float = 0.0
    burst_s: float = 0.0
    """for so long."""
    data_bytes: int = 0
    """What each request refers to, which has to be brought to where it is served."""
    data_at: tuple[str, ...] = ()
    """Where that lies: the places in turn."""
    memory_mb: int = 512
    busy_s: float = 0.0
    """How long each is said to take, for its price; 0: nobody says."""

    def arrivals_s(self, seed: int) -> NDArray[np.float64]:
        """When requests come."""
        rng = np.random.default_rng(seed)
        steady_s = self._steady_s(rng)
        more = round((self.burst_factor - 1.0) * self.rate_per_s * self.burst_s)
        if more <= 0:
            return steady_s
        burst_s = rng.uniform(self.burst_from_s, self.burst_from_s + self.burst_s, more)
        return np.sort(np.concatenate((steady_s, burst_s)))

    def _steady_s(self, rng: np.random.Generator) -> NDArray[np.float64]:
        count = max(1, round(self.rate_per_s * self.seconds))
        if self.pattern == "at-once":
            return np.zeros(count)
        if self.pattern == "even":
            return np.arange(count) / self.rate_per_s
        if self.pattern == "poisson":
            return np.cumsum(rng.exponential(1 / self.rate_per_s, count))
        patients = max(1, round(self.rate_per_s * _EVERY_S))
        first = np.sort(rng.uniform(0, _EVERY_S, patients))
        rounds = math.ceil(self.seconds / _EVERY_S)
        times = (first + _EVERY_S * np.arange(rounds)[:, None]).ravel()
        return np.asarray(times[times < self.seconds], np.float64)


class RegionUse(msgspec.Struct, frozen=True):
    """How one region was used."""

    name: str
    requests: int
    """That reached it."""
    answered: int
    refused: int
    expired: int
    left: int
    """Of which nobody waited any more before they were served."""
    cold: int
    warmings: int
    """Calls that only kept instances warm."""
    most_busy: int
    """Slots, at one time."""
    mean_busy: float
    """Slots, over the time until the last answer."""
    slot_s: float
    """Seconds that slots were held, all together."""


class Outcome(msgspec.Struct, frozen=True, eq=False):
    """What became of every request."""

    came_s: NDArray[np.float64]
    took_s: NDArray[np.float64]
    """Until its answer, whatever that was."""
    status: NDArray[np.int8]
    """ANSWERED, REFUSED, EXPIRED or FAILED."""
    region: NDArray[np.int16]
    """Which answered; -1: none."""
    uses: tuple[RegionUse, ...]
    elapsed_s: float
    """Until the last answer."""
    spent: float = 0.0
    """By declared prices, with a dispatch."""

    @property
    def answered_per_s(self) -> float:
        """Successful answers a second."""
        return self._per_s(int((self.status == ANSWERED).sum()))

    @property
    def all_per_s(self) -> float:
        """Answers a second, refusals included."""
        return self._per_s(self.status.size)

    def _per_s(self, count: int) -> float:
        """Over the time in which requests came: the last answers come after it."""
        over_s = float(self.came_s.max()) if self.came_s.size else 0.0
        return count / over_s if over_s else 0.0

    @property
    def error_share(self) -> float:
        """Of the requests."""
        return float((self.status != ANSWERED).mean())

    def percentile_s(self, percent: float, *, of_all: bool = True) -> float:
        """Of the times to an answer; of all answers, as load tests count them, or of successful ones."""
        times = self.took_s if of_all else self.took_s[self.status == ANSWERED]
        return float(np.percentile(times, percent)) if times.size else math.nan


class MeasuringTool(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever sends requests and times them is a machine too."""

    limit_per_s: float = math.inf
    """It sends no more, however many it should."""
    sharpness: float = 4.0
    """How suddenly it falls behind near its limit."""
    lag_s: float = 0.0
    """What it, or the way to the region, adds to an answer when it is busy, log-normal: the median."""
    lag_sigma: float = 0.5
    lag_from_per_s: float = 450.0
    """It is not busy below so many requests a second,"""
    lag_full_per_s: float = 600.0
    """and busy from so many on."""

    def reached_per_s(self, target_per_s: float) -> float:
        """What it sends when it should send so many."""
        share = target_per_s / self.limit_per_s
        return float(target_per_s / (1.0 + share**self.sharpness) ** (1.0 / self.sharpness))

    def seen(self, outcome: Outcome, rate_per_s: float, seed: int = 0) -> Outcome:
        """What it measures; what is refused at once is as fast as it is."""
        span_per_s = self.lag_full_per_s - self.lag_from_per_s
        busy = min(1.0, max(0.0, (rate_per_s - self.lag_from_per_s) / span_per_s))
        if not busy or not self.lag_s:
            return outcome
        rng = np.random.default_rng(seed)
        lag_s = busy * self.lag_s * np.exp(self.lag_sigma * rng.standard_normal(outcome.took_s.size))
        took_s = outcome.took_s + np.where(outcome.status == REFUSED, 0.0, lag_s)
        return msgspec.structs.replace(outcome, took_s=took_s)
