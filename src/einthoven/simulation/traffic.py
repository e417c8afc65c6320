"""Who sends what when: a plan that follows from its parameters and its seed alone. No I/O, no clock.

The article's generator has two parameters, concurrent streams and files per minute; its streams start evenly
spread over the time between two files of one stream. So segment number n of all, counted over all patients in
turn, is due at n / rate, and patient p sends n = p, p + patients, ... Ramps and bursts bend that line
(`Pace`); absences, late and repeated deliveries are moved off it.
"""

import heapq
import math
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
import numpy as np

from einthoven.errors import InputInvalid
from einthoven.runtime.load.deliveries import Delivery, Kind, Request
from einthoven.simulation.pace import Burst, Pace

__all__ = ["MAX_BATCH", "MAX_PATIENTS", "Traffic", "deliveries", "requests"]

MAX_PATIENTS: Final = 10_000
MAX_BATCH: Final = 256
_DRAWN_AT_ONCE: Final = 4096
_TURN: Final = (math.sqrt(5) - 1) / 2
"""Successive absences of one patient begin this much of their round later, so that they do not line up."""
_ABSENCE_SHARE: Final = 3
"""A round of absence is so many times as long as the absence."""


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of a plan."""

    patients: int = 2
    """Concurrent streams."""
    segments_per_minute: float = 2.0
    """Of each patient; a segment is as long as the time between two (2: 30 s)."""
    rate_per_s: float | None = None
    """Segments a second of all patients together; None for what they would send in life."""
    duration_s: float | None = 60.0
    """None for no end."""
    ramp_s: float = 0.0
    """The rate rises from nothing for so long."""
    burst_at_s: float | None = None
    burst_length_s: float = 10.0
    burst_factor: float = 10.0
    offline_share: float = 0.0
    """Share of the patients that leave, come back and deliver what they kept."""
    offline_s: float = 120.0
    repeated_share: float = 0.0
    """Share of the segments that are sent a second time, 0 to 2 intervals later."""
    late_share: float = 0.0
    """Share of the segments that come ``late_s`` late."""
    late_s: float | None = None
    """None for two and a half intervals."""
    swapped_share: float = 0.0
    """Share of the segments that come after their successor."""
    clock_skew_s: float = 0.0
    """Devices' clocks are wrong by up to so much, either way."""
    clock_drift_ppm: float = 0.0
    """And run fast or slow by up to so much."""
    batch: int = 1
    """Segments in a request."""
    linger_s: float = 1.0
    """A request goes incomplete when its first segment has waited so long."""
    seed: int = 1905

    def __post_init__(self) -> None:
        _within("patients", self.patients, 1, MAX_PATIENTS)
        _within("segments_per_minute", self.segments_per_minute, 1, 120)
        _within("rate_per_s", self.rate_per_s, 1e-3, 1e6)
        _within("duration_s", self.duration_s, 1e-3, 1e8)
        _within("ramp_s", self.ramp_s, 0, 1e6)
        _within("burst_at_s", self.burst_at_s, 0, 1e8)
        _within("burst_length_s", self.burst_length_s, 0.1, 1e6)
        _within("burst_factor", self.burst_factor, 1, 1000)
        _within("offline_s", self.offline_s, 0.1, 1e6)
        _within("late_s", self.late_s, 0, 1e6)
        _within("clock_skew_s", self.clock_skew_s, 0, 1e7)
        _within("clock_drift_ppm", self.clock_drift_ppm, 0, 10_000)
        _within("batch", self.batch, 1, MAX_BATCH)
        _within("linger_s", self.linger_s, 0, 60)
        _within("seed", self.seed, 0, 2**63 - 1)
        for name in ("offline_share", "repeated_share", "late_share", "swapped_share"):
            _within(name, getattr(self, name), 0, 1)

    @property
    def segment_s(self) -> float:
        """Length of a segment."""
        return 60 / self.segments_per_minute

    @property
    def natural_per_s(self) -> float:
        """What so many patients send in life, segments a second."""
        return self.patients / self.segment_s

    @property
    def pace(self) -> Pace:
        """When each segment is due, but for what is moved."""
        bursts = () if self.burst_at_s is None else (
            Burst(self.burst_at_s, self.burst_length_s, self.burst_factor),
        )  # fmt: skip
        return Pace(self.rate_per_s or self.natural_per_s, self.ramp_s, bursts)

    @property
    def segments(self) -> int | None:
        """How many in all, each counted once; None when there is no end."""
        return None if self.duration_s is None else self.pace.count(self.duration_s)

    @property
    def head_start_s(self) -> float:
        """How far in the past the streams begin, so that none runs ahead of the clock.

        A rate above life's makes streams run faster than time.
        """
        rate = self.rate_per_s or self.natural_per_s
        if self.duration_s is None:
            return 0.0 if rate <= self.natural_per_s else 86_400.0
        streamed_s = self.pace.passed(self.duration_s) / self.patients * self.segment_s
        return max(0.0, streamed_s - self.duration_s)


def _within(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:  # NaN fails too
        raise InputInvalid(f"{value:g} is out of range.", where=name, remedy=f"Give {low:g} to {high:g}.")


def deliveries(traffic: Traffic) -> Iterator[Delivery]:
    """Every delivery of the plan, in the order in which they are due."""
    patients, pace = traffic.patients, traffic.pace
    total = traffic.segments
    end_s = math.inf if traffic.duration_s is None else traffic.duration_s
    interval_s = patients / (traffic.rate_per_s or traffic.natural_per_s)
    late_s = 2.5 * interval_s if traffic.late_s is None else traffic.late_s
    absences = _Absences(traffic, end_s)
    shares = (traffic.repeated_share, traffic.late_share, traffic.swapped_share)
    draws = _draws(traffic.seed) if any(shares) else None
    moved: list[tuple[float, float, Delivery]] = []
    n = 0
    while total is None or n < total:
        due_s = pace.due_s(n)
        # What was moved to before this one goes first; at the same moment the lower number does.
        while moved and (moved[0][0], moved[0][1]) < (due_s, n):
            yield heapq.heappop(moved)[2]
        number, patient = divmod(n, patients)
        is_last = total is not None and n + patients >= total
        at_s, order, kind = due_s, float(n), "timely"
        if draws is not None:
            is_repeated, is_late, is_swapped, after = next(draws)
            if is_late < traffic.late_share and not is_last:
                limit_s = math.inf if total is None else pace.due_s(_last_of(patient, patients, total))
                at_s, order, kind = min(due_s + late_s, limit_s), n + 0.25, "late"
            elif is_swapped < traffic.swapped_share and (total is None or n + 2 * patients < total):
                at_s, order, kind = pace.due_s(n + patients), n + patients + 0.5, "late"
        away_s = absences.until(patient, at_s)
        if away_s > at_s:
            at_s, kind = away_s, "buffered" if kind == "timely" else kind
        one = Delivery(at_s, patient, number, _KINDS[kind], is_last)
        if kind == "timely":
            yield one
        else:
            heapq.heappush(moved, (at_s, order, one))
        if draws is not None and is_repeated < traffic.repeated_share:
            again_s = min(at_s + 2 * after * interval_s, max(end_s, at_s))
            again_s = absences.until(patient, again_s)
            again = Delivery(again_s, patient, number, "repeat", is_last)
            heapq.heappush(moved, (again_s, n + patients * 1e9, again))
        n += 1
    while moved:
        yield heapq.heappop(moved)[2]


_KINDS: Final[dict[str, Kind]] = {"timely": "timely", "buffered": "buffered", "late": "late"}


def _last_of(patient: int, patients: int, total: int) -> int:
    """The number among all of a patient's last segment."""
    return patient + (total - 1 - patient) // patients * patients


def _draws(seed: int) -> Iterator[list[float]]:
    """Four uniform numbers for each segment in turn."""
    rng = np.random.default_rng((seed, 21))
    while True:
        yield from rng.random((_DRAWN_AT_ONCE, 4)).tolist()


class _Absences:
    """When which patient is offline: once in each of its rounds."""

    def __init__(self, traffic: Traffic, end_s: float) -> None:
        rng = np.random.default_rng((traffic.seed, 22))
        leaving = round(traffic.offline_share * traffic.patients)
        chosen = rng.permutation(traffic.patients)[:leaving].tolist()
        self._begins: dict[int, float] = dict(zip(chosen, rng.random(leaving).tolist(), strict=True))
        self._length_s = traffic.offline_s
        self._round_s = _ABSENCE_SHARE * traffic.offline_s
        self._end_s = end_s

    def until(self, patient: int, at_s: float) -> float:
        """When the patient can deliver what is ready at ``at_s``; at the end everybody comes back."""
        begin: float | None = self._begins.get(patient)
        if begin is None or at_s >= self._end_s:
            return at_s
        turn = math.floor(at_s / self._round_s)
        into = (begin + turn * _TURN) % 1.0
        from_s = turn * self._round_s + into * (self._round_s - self._length_s)
        if from_s <= at_s < from_s + self._length_s:
            return min(from_s + self._length_s, self._end_s)
        return at_s


def requests(traffic: Traffic, plan: Iterable[Delivery] | None = None) -> Iterator[Request]:
    """The deliveries gathered into requests of ``traffic.batch`` segments.

    A request is due when its last segment is; when a segment that is due ``linger_s`` after its first one
    has not come, it goes without.
    """
    plan = deliveries(traffic) if plan is None else plan
    if traffic.batch == 1:
        for one in plan:
            yield Request(one.due_s, (one,))
        return
    held: list[Delivery] = []
    for one in plan:
        if held and one.due_s > held[0].due_s + traffic.linger_s:
            yield Request(held[0].due_s + traffic.linger_s, tuple(held))
            held = []
        held.append(one)
        if len(held) == traffic.batch:
            yield Request(one.due_s, tuple(held))
            held = []
    if held:
        yield Request(held[-1].due_s, tuple(held))
