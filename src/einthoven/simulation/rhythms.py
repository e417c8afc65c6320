"""When beats come: one schedule per period of one rhythm.

Sinus rhythm has the bimodal spectrum of McSharry et al. (doi:10.1109/TBME.2003.808805): Mayer waves at
0.1 Hz and respiration, here as a sum of sinusoids with random phases, which can be evaluated anywhere.
Atrial fibrillation draws RR from a log-normal law. Fibrillating ventricles are frequency-modulated
sinusoids that wax and wane: a plausible waveform of this project's own, not one fitted to recordings.
"""

from typing import Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import InputInvalid

__all__ = ["Period", "Rhythm", "Schedule", "atrial_activity", "schedule", "ventricular_activity"]

Rhythm = Literal[
    "sinus",
    "bigeminy",
    "trigeminy",
    "atrial_fibrillation",
    "atrial_flutter",
    "supraventricular_tachycardia",
    "ventricular_tachycardia",
    "ventricular_flutter",
    "ventricular_fibrillation",
    "pause",
    "asystole",
]

_RATES_BPM: Final[dict[str, float]] = {
    "sinus": 70.0,
    "bigeminy": 75.0,
    "trigeminy": 75.0,
    "atrial_fibrillation": 95.0,
    "atrial_flutter": 100.0,
    "supraventricular_tachycardia": 175.0,
    "ventricular_tachycardia": 170.0,
    "ventricular_flutter": 250.0,
    "ventricular_fibrillation": 300.0,
    "pause": 0.0,
    "asystole": 0.0,
}
_SILENT: Final = frozenset({"ventricular_flutter", "ventricular_fibrillation", "pause", "asystole"})
_LEAST_RR_S: Final = 0.28


class Period(msgspec.Struct, frozen=True):
    """A stretch of one rhythm."""

    rhythm: Rhythm
    duration_s: float
    rate_bpm: float | None = None
    """Mean ventricular rate (of VF and flutter: the dominant frequency x 60); None for the usual one."""
    rr_sd_s: float = 0.03
    """Standard deviation of RR in sinus rhythm."""
    pvc_share: float = 0.0
    """Share of beats that are premature and ventricular."""
    pac_share: float = 0.0
    """Share that are premature and supraventricular."""
    run_beats: int = 1
    """Ventricular beats in a row wherever one comes."""
    fusion_share: float = 0.0

    def __post_init__(self) -> None:
        if self.rhythm not in _RATES_BPM:
            raise InputInvalid(
                f"{self.rhythm!r} is not a rhythm.",
                where="period.rhythm",
                remedy=f"One of: {', '.join(_RATES_BPM)}.",
            )
        if not 0 < self.duration_s < float("inf"):
            raise InputInvalid(
                f"the duration is {self.duration_s:g} s.",
                where="period.duration_s",
                remedy="Give a positive one.",
            )
        if self.rate_bpm is not None and not 15 <= self.rate_bpm <= 400:
            raise InputInvalid(
                f"the rate is {self.rate_bpm:g}/min.",
                where="period.rate_bpm",
                remedy="Give 15 to 400 beats/min.",
            )
        for name in ("pvc_share", "pac_share", "fusion_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputInvalid("a share must lie in 0 to 1.", where=f"period.{name}")
        if not 0 <= self.rr_sd_s <= 0.3 or not 1 <= self.run_beats <= 1000:
            raise InputInvalid("the RR deviation or run length is out of range.", where="period")

    @property
    def rate(self) -> float:
        """Mean rate, beats/min."""
        return self.rate_bpm if self.rate_bpm is not None else _RATES_BPM[self.rhythm]


class Schedule(msgspec.Struct, frozen=True, eq=False):
    """Beats as columns, in time order."""

    times_s: NDArray[np.float64]
    kinds: NDArray[np.str_]
    """N, S, V or F."""
    rr_s: NDArray[np.float64]
    """Interval that the beat's T wave is stretched by: the one before it."""
    has_p: NDArray[np.bool_]
    scales: NDArray[np.float64]


def schedule(period: Period, begin_s: float, rng: np.random.Generator) -> Schedule:
    """The beats of a period that begins at ``begin_s``."""
    rows = [] if period.rhythm in _SILENT else _beats(period, begin_s, rng)
    times = np.array([row[0] for row in rows], np.float64)
    return Schedule(
        times_s=times,
        kinds=np.array([row[1] for row in rows], "U1"),
        rr_s=np.array([row[2] for row in rows], np.float64),
        has_p=np.array([row[3] for row in rows], np.bool_),
        scales=1 + 0.03 * rng.standard_normal(times.size),
    )


def _beats(period: Period, begin_s: float, rng: np.random.Generator) -> list[tuple[float, str, float, bool]]:
    mean_s = 60 / period.rate
    modulation = _Modulation(period.rr_sd_s, rng)
    end_s = begin_s + period.duration_s
    rows: list[tuple[float, str, float, bool]] = []
    at_s = begin_s + min(0.5 * mean_s, 0.4)
    rr_s = mean_s
    count = 0
    while at_s < end_s:
        kind, has_p, follows_s = "N", True, mean_s
        match period.rhythm:
            case "sinus":
                follows_s = mean_s + modulation.at(at_s)
            case "bigeminy" | "trigeminy":
                cycle = 2 if period.rhythm == "bigeminy" else 3
                is_last = count % cycle == cycle - 1
                kind, has_p = ("V", False) if is_last else ("N", True)
                before_ectopic = count % cycle == cycle - 2
                follows_s = mean_s * (1.4 if is_last else 0.6 if before_ectopic else 1.0)
                follows_s += modulation.at(at_s) / 2
            case "atrial_fibrillation":
                has_p = False
                follows_s = mean_s * float(rng.lognormal(-0.02, 0.2))
            case "atrial_flutter":
                has_p = False
                follows_s = float(rng.choice((2, 2, 3, 4))) / 5.0 if period.rate_bpm is None else mean_s
            case "supraventricular_tachycardia":
                kind, has_p = "S", False
                follows_s = mean_s + 0.004 * float(rng.standard_normal())
            case "ventricular_tachycardia":
                kind, has_p = "V", False
                follows_s = mean_s + 0.008 * float(rng.standard_normal())
        rows.append((at_s, kind, rr_s, has_p))
        count += 1
        rr_s = max(follows_s, _LEAST_RR_S)
        at_s += rr_s
        if period.rhythm in {"sinus", "atrial_fibrillation"}:
            at_s, rr_s = _ectopics(period, rows, at_s, rr_s, mean_s, end_s, rng)
    return rows


def _ectopics(
    period: Period,
    rows: list[tuple[float, str, float, bool]],
    at_s: float,
    rr_s: float,
    mean_s: float,
    end_s: float,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Perhaps put ectopic beats before the next one; returns when that one comes now."""
    draw = float(rng.random())
    last_s = rows[-1][0]
    if draw < period.pvc_share:
        early_s = last_s + max(0.6 * rr_s, 0.3)
        run_s = 60 / 160
        for number in range(period.run_beats):
            if early_s >= end_s:
                break
            rows.append((early_s, "V", 0.6 * rr_s if number == 0 else run_s, False))
            early_s += run_s
        last_v_s = rows[-1][0]
        return last_v_s + 1.35 * mean_s, 1.35 * mean_s
    if draw < period.pvc_share + period.pac_share:
        early_s = last_s + max(0.65 * rr_s, 0.3)
        if early_s < end_s:
            rows.append((early_s, "S", 0.65 * rr_s, True))
            return early_s + mean_s, mean_s
    if draw < period.pvc_share + period.pac_share + period.fusion_share and at_s < end_s:
        rows.append((at_s, "F", rr_s, True))
        return at_s + mean_s, mean_s
    return at_s, rr_s


class _Modulation:
    """RR around its mean: a bimodal spectrum as a sum of sinusoids with random phases."""

    def __init__(self, sd_s: float, rng: np.random.Generator) -> None:
        low = 0.1 + 0.01 * rng.standard_normal(6)
        high = 0.25 + 0.015 * rng.standard_normal(6)
        self._hz = np.concatenate((low, high))
        self._phase = rng.uniform(0, 2 * np.pi, 12)
        self._height_s = sd_s * np.sqrt(2 / 12)

    def at(self, at_s: float) -> float:
        return float(self._height_s * np.sin(2 * np.pi * self._hz * at_s + self._phase).sum())


def atrial_activity(
    period: Period, t_s: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """What the atria show between the beats, mV: f waves or flutter waves; nothing else has any."""
    if period.rhythm == "atrial_fibrillation":
        hz, phase = rng.uniform(5, 8), rng.uniform(0, 2 * np.pi, 4)
        angle = 2 * np.pi * hz * t_s + 2.5 * np.sin(2 * np.pi * 0.37 * t_s + phase[0])
        size = 0.05 * (1 + 0.5 * np.sin(2 * np.pi * 0.21 * t_s + phase[1]))
        return np.asarray(size * (np.sin(angle + phase[2]) + 0.4 * np.sin(2 * angle + phase[3])))
    if period.rhythm == "atrial_flutter":
        phase = (t_s * 5.0 + rng.uniform()) % 1.0
        return np.asarray(0.12 * (1 - 2 * phase) * np.minimum(1, 12 * (1 - phase)))
    return np.zeros_like(t_s)


def ventricular_activity(
    period: Period, t_s: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """The waveform of fibrillation or flutter of the ventricles, mV; nothing in other rhythms."""
    hz = period.rate / 60
    phase = rng.uniform(0, 2 * np.pi, 8)
    if period.rhythm == "ventricular_flutter":
        angle = 2 * np.pi * hz * t_s + phase[0]
        return np.asarray(0.9 * np.sin(angle) + 0.15 * np.sin(2 * angle + phase[1]))
    if period.rhythm == "ventricular_fibrillation":
        wander = 1.8 * np.sin(2 * np.pi * 0.23 * t_s + phase[0]) + 1.1 * np.sin(
            2 * np.pi * 0.61 * t_s + phase[1]
        )
        angle = 2 * np.pi * hz * t_s + wander
        size = 0.5 * (
            1
            + 0.35 * np.sin(2 * np.pi * 0.31 * t_s + phase[2])
            + 0.2 * np.sin(2 * np.pi * 0.83 * t_s + phase[3])
        )
        second = 0.35 * np.sin(1.37 * angle + phase[5] + 0.9 * np.sin(2 * np.pi * 0.41 * t_s + phase[6]))
        return np.asarray(size * (np.sin(angle + phase[4]) + second))
    return np.zeros_like(t_s)
