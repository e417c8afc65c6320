"""When beats come: one schedule per period of one rhythm.

Sinus rhythm has the bimodal spectrum of McSharry et al. (doi:10.1109/TBME.2003.808805): Mayer waves at
0.1 Hz and respiration, here as a sum of sinusoids with random phases, which can be evaluated anywhere.
Atrial fibrillation draws RR from a log-normal law. Atria have a schedule of their own: an ectopic beat has
another P wave, a blocked one has a P wave and no beat. Fibrillating ventricles are frequency-modulated
sinusoids that wax and wane: a plausible waveform of this project's own, not one fitted to recordings.
"""

from typing import Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import InputInvalid

__all__ = ["PWaves", "Period", "Rhythm", "Schedule", "atrial_activity", "schedule", "ventricular_activity"]

Rhythm = Literal[
    "sinus",
    "bigeminy",
    "trigeminy",
    "atrial_bigeminy",
    "atrial_trigeminy",
    "sick_sinus",
    "junctional",
    "av_block",
    "wenckebach",
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
    "atrial_bigeminy": 70.0,
    "atrial_trigeminy": 70.0,
    "sick_sinus": 55.0,
    "junctional": 50.0,
    "av_block": 75.0,
    "wenckebach": 75.0,
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
    """Mean ventricular rate (of VF and flutter: the dominant frequency x 60; of AV block and sick sinus: the
    sinus rate; of atrial flutter: that of a fixed conduction); None for the usual one."""
    end_rate_bpm: float | None = None
    """Sinus rate at the end of the period, reached steadily; None: it stays."""
    rr_sd_s: float = 0.03
    """Standard deviation of RR in sinus rhythm."""
    pvc_share: float = 0.0
    """Share of beats that are premature and ventricular."""
    pac_share: float = 0.0
    """Share that are premature and supraventricular."""
    run_beats: int = 1
    """Ventricular beats in a row wherever one comes."""
    atrial_run_beats: int = 1
    """Supraventricular beats in a row wherever one comes; in sick sinus their mean number."""
    coupling: float = 0.65
    """Interval before a supraventricular beat as a share of the usual one."""
    blocked_share: float = 0.0
    """Share of sinus beats after which a premature P wave is not conducted."""
    pause_share: float = 0.0
    """Share of sinus beats after which the sinus node is late: by one beat, or arrested."""
    escape_bpm: float | None = None
    """Rate at which the junction escapes in such a pause; None: it does not."""
    fusion_share: float = 0.0
    irregularity: float = 0.2
    """Spread of the logarithm of RR in atrial fibrillation."""
    conduction: tuple[int, ...] = (2, 2, 3, 4)
    """Atrial beats for one ventricular, one of these at a time; of flutter and AV block."""
    hold_beats: int = 1
    """Ventricular beats for which a conduction is kept, on average."""
    pr_delay_s: float = 0.0
    """By how much PR is longer than the patient's usual."""

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
        if self.end_rate_bpm is not None and not 15 <= self.end_rate_bpm <= 400:
            raise InputInvalid("the rate at the end must lie in 15 to 400/min.", where="period.end_rate_bpm")
        if self.escape_bpm is not None and not 15 <= self.escape_bpm <= 200:
            raise InputInvalid("the escape rate must lie in 15 to 200/min.", where="period.escape_bpm")
        for name in ("pvc_share", "pac_share", "blocked_share", "pause_share", "fusion_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputInvalid("a share must lie in 0 to 1.", where=f"period.{name}")
        if not 0 <= self.rr_sd_s <= 0.3 or not 0 <= self.irregularity <= 0.6:
            raise InputInvalid("the RR deviation is out of range.", where="period")
        if not all(1 <= beats <= 1000 for beats in (self.run_beats, self.atrial_run_beats, self.hold_beats)):
            raise InputInvalid("a run has 1 to 1000 beats.", where="period")
        if not 0.2 <= self.coupling <= 1 or not 0 <= self.pr_delay_s <= 0.3:
            raise InputInvalid("the coupling or PR delay is out of range.", where="period")
        if not self.conduction or not all(1 <= beats <= 8 for beats in self.conduction):
            raise InputInvalid("a conduction is 1 to 8 atrial beats.", where="period.conduction")

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
    scales: NDArray[np.float64]
    p_waves: "PWaves"


class PWaves(msgspec.Struct, frozen=True, eq=False):
    """What the atria do, as columns; P waves without a beat are blocked."""

    times_s: NDArray[np.float64]
    """Where R comes, or would come, after the patient's usual PR."""
    is_ectopic: NDArray[np.bool_]
    rr_s: NDArray[np.float64]
    scales: NDArray[np.float64]


def schedule(period: Period, begin_s: float, rng: np.random.Generator) -> Schedule:
    """The beats of a period that begins at ``begin_s``."""
    script = _Script(period, begin_s, rng)
    if period.rhythm not in _SILENT:
        script.write()
    times = np.array([row[0] for row in script.beats], np.float64)
    scales = 1 + 0.03 * rng.standard_normal(times.size)
    ends = np.array([row[0] for row in script.p_waves], np.float64)
    follows = np.searchsorted(times, ends - 1e-9)
    return Schedule(
        times_s=times,
        kinds=np.array([row[1] for row in script.beats], "U1"),
        rr_s=np.array([row[2] for row in script.beats], np.float64),
        scales=scales,
        p_waves=PWaves(
            times_s=ends,
            is_ectopic=np.array([row[1] for row in script.p_waves], np.bool_),
            rr_s=np.array([row[2] for row in script.p_waves], np.float64),
            scales=np.append(scales, 1.0)[follows],
        ),
    )


class _Script:
    """Beats and P waves of one period while they are written, one after the other."""

    def __init__(self, period: Period, begin_s: float, rng: np.random.Generator) -> None:
        self.period = period
        self.beats: list[tuple[float, str, float]] = []
        self.p_waves: list[tuple[float, bool, float]] = []
        self._rng = rng
        self._begin_s, self._end_s = begin_s, begin_s + period.duration_s
        self._modulation = _Modulation(period.rr_sd_s, rng)
        self._mean_s = 60 / max(period.rate, 1.0)
        self._at_s = begin_s + min(0.5 * self._mean_s, 0.4)
        self._rr_s = self._mean_s

    def write(self) -> None:
        """All beats until the end."""
        match self.period.rhythm:
            case "sinus" | "atrial_fibrillation":
                write = self._with_ectopics
            case "atrial_bigeminy" | "atrial_trigeminy":
                write = self._atrial_cycle
            case "sick_sinus":
                write = self._sick_sinus
            case "av_block":
                write = self._av_block
            case "wenckebach":
                write = self._wenckebach
            case _:
                write = self._steady
        while self._at_s < self._end_s:
            write()

    def _beat(self, kind: str, p: str, follows_s: float, *, delay_s: float = 0.0) -> None:
        """A beat now, its P wave if it has one (sinus or ectopic), and the next beat ``follows_s`` later."""
        if self._at_s >= self._end_s:
            return
        self.beats.append((self._at_s, kind, self._rr_s))
        if p:
            ahead_s = delay_s + self.period.pr_delay_s
            self.p_waves.append((self._at_s - ahead_s, p == "ectopic", self._rr_s))
        self._rr_s = max(follows_s, _LEAST_RR_S)
        self._at_s += self._rr_s

    def _blocked(self, after_s: float, *, is_ectopic: bool) -> None:
        """A P wave that no beat follows, for the beat that would come ``after_s`` after the last."""
        would_s = self.beats[-1][0] + after_s
        if would_s < self._end_s:
            self.p_waves.append((would_s - self.period.pr_delay_s, is_ectopic, after_s))

    def _sinus_s(self) -> float:
        """The next sinus interval."""
        mean_s = self._mean_s
        if self.period.end_rate_bpm is not None:
            share = (self._at_s - self._begin_s) / self.period.duration_s
            mean_s = 60 / (self.period.rate + share * (self.period.end_rate_bpm - self.period.rate))
        return mean_s + self._modulation.at(self._at_s)

    def _steady(self) -> None:
        period, mean_s = self.period, self._mean_s
        match period.rhythm:
            case "bigeminy" | "trigeminy":
                cycle = 2 if period.rhythm == "bigeminy" else 3
                place = len(self.beats) % cycle
                is_last, before_ectopic = place == cycle - 1, place == cycle - 2
                follows_s = mean_s * (1.4 if is_last else 0.6 if before_ectopic else 1.0)
                follows_s += self._modulation.at(self._at_s) / 2
                self._beat("V" if is_last else "N", "" if is_last else "sinus", follows_s)
            case "atrial_flutter" if period.rate_bpm is None:
                beats = int(self._rng.choice(period.conduction))
                for _ in range(int(self._rng.geometric(1 / period.hold_beats))):
                    self._beat("N", "", beats / 5.0)
            case "atrial_flutter":
                self._beat("N", "", mean_s)
            case "junctional":
                self._beat("N", "", mean_s + self._modulation.at(self._at_s) / 2)
            case "supraventricular_tachycardia":
                self._beat("S", "", mean_s + 0.004 * float(self._rng.standard_normal()))
            case "ventricular_tachycardia":
                self._beat("V", "", mean_s + 0.008 * float(self._rng.standard_normal()))

    def _with_ectopics(self) -> None:
        """A sinus or fibrillation beat, and perhaps ectopic ones or a pause before the next."""
        period, rng = self.period, self._rng
        is_sinus = period.rhythm == "sinus"
        follows_s = (
            self._sinus_s()
            if is_sinus
            else self._mean_s * float(rng.lognormal(-(period.irregularity**2) / 2, period.irregularity))
        )
        self._beat("N", "sinus" if is_sinus else "", follows_s)
        if self._at_s >= self._end_s:
            return
        last_s, rr_s = self.beats[-1][0], self._rr_s
        draw = float(rng.random())
        if draw < period.pvc_share:
            self._early(last_s, max(0.6 * rr_s, 0.3))
            for _ in range(period.run_beats - 1):
                self._beat("V", "", 60 / 160)
            self._beat("V", "", 1.35 * self._mean_s)
            return
        draw -= period.pvc_share
        if draw < period.pac_share:
            self._early(last_s, max(period.coupling * rr_s, _LEAST_RR_S))
            for _ in range(period.atrial_run_beats - 1):
                self._beat("S", "ectopic", period.coupling * rr_s * (1 + 0.02 * float(rng.standard_normal())))
            is_run = period.atrial_run_beats > 1
            self._beat("S", "ectopic", self._mean_s * (float(rng.uniform(1, 1.6)) if is_run else 1.0))
            return
        draw -= period.pac_share
        if draw < period.fusion_share:
            self._beat("F", "sinus", self._mean_s)
            return
        draw -= period.fusion_share
        if draw < period.blocked_share:
            self._blocked(period.coupling * rr_s, is_ectopic=True)
            self._early(last_s, rr_s * float(rng.uniform(1.1, 1.8)))
            return
        draw -= period.blocked_share
        if draw < period.pause_share:
            whole = float(rng.random()) < 0.5
            pause_s = rr_s * (2.0 if whole else float(rng.uniform(1.5, 4.0)))
            self._pause(last_s, pause_s)

    def _early(self, last_s: float, rr_s: float) -> None:
        """The next beat comes ``rr_s`` after the last one instead."""
        self._at_s, self._rr_s = last_s + rr_s, rr_s

    def _pause(self, last_s: float, pause_s: float) -> None:
        """Silence, in which the junction escapes if it does."""
        if self.period.escape_bpm is not None:
            escape_s = 60 / self.period.escape_bpm
            while pause_s > escape_s + 0.7 * self._mean_s:
                self._early(last_s, escape_s)
                self._beat("N", "", escape_s)
                last_s += escape_s
                pause_s -= escape_s
        self._early(last_s, pause_s)

    def _atrial_cycle(self) -> None:
        """One or two sinus beats and one premature atrial beat."""
        if self.period.rhythm == "atrial_trigeminy":
            self._beat("N", "sinus", self._sinus_s())
        early_s = self.period.coupling * self._mean_s
        self._beat("N", "sinus", early_s + self._modulation.at(self._at_s) / 2)
        self._beat("S", "ectopic", self._sinus_s() * float(self._rng.uniform(1.0, 1.15)))

    def _sick_sinus(self) -> None:
        """One to three slow sinus beats, a run of atrial ectopic beats, and a pause."""
        period, rng = self.period, self._rng
        ectopic_s = period.coupling * self._mean_s
        for _ in range(int(rng.integers(0, 3))):
            self._beat("N", "sinus", self._sinus_s())
        self._beat("N", "sinus", ectopic_s * float(rng.uniform(0.85, 1.1)))
        for _ in range(int(rng.geometric(1 / period.atrial_run_beats)) - 1):
            self._beat("S", "ectopic", ectopic_s * (1 + 0.03 * float(rng.standard_normal())))
        self._beat("S", "ectopic", self._mean_s * float(rng.uniform(0.9, 1.8)))

    def _av_block(self) -> None:
        """Sinus beats of which one in so many is conducted, without a change of PR."""
        beats = int(self._rng.choice(self.period.conduction))
        for _ in range(int(self._rng.geometric(1 / self.period.hold_beats))):
            if self._at_s >= self._end_s:
                return
            atrial_s = self._sinus_s()
            self._beat("N", "sinus", beats * atrial_s)
            for dropped in range(1, beats):
                self._blocked(dropped * atrial_s, is_ectopic=False)

    def _wenckebach(self) -> None:
        """PR grows, less at each beat, until a P wave is not conducted."""
        count = int(self._rng.integers(2, 6))
        delay_s, growth_s = 0.0, float(self._rng.uniform(0.05, 0.12))
        for number in range(count):
            if self._at_s >= self._end_s:
                return
            atrial_s = self._sinus_s()
            if number == count - 1:
                self._beat("N", "sinus", 2 * atrial_s - delay_s, delay_s=delay_s)
                self._blocked(atrial_s - delay_s, is_ectopic=False)
            else:
                self._beat("N", "sinus", atrial_s + growth_s, delay_s=delay_s)
                delay_s += growth_s
                growth_s *= 0.5


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
