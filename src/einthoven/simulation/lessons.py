"""Patients that the beat classifier is taught and tested by, because few recordings have such rhythms.

A lesson is a rhythm with parameters that are drawn for each patient: rates, coupling, lengths of runs,
conduction. For a test they are drawn from ranges that are wider by two fifths, and from other seeds.
"""

import zlib
from collections.abc import Callable
from typing import Final

import msgspec
import numpy as np

from einthoven.simulation.noise import Noise
from einthoven.simulation.patients import VirtualPatient
from einthoven.simulation.rhythms import Period
from einthoven.simulation.scenes import Scene

__all__ = ["CONDUCTED", "ECTOPIC", "LESSONS", "UNTAUGHT", "VENTRICULAR", "lesson"]

DURATION_S: Final = 480.0
_FLUTTER: Final = ((2, 2, 3, 4), (2, 3), (2, 4), (4,), (3, 4), (2, 2, 2, 4))


class _Draw:
    """Parameters of one patient."""

    def __init__(self, rng: np.random.Generator, *, wide: bool) -> None:
        self._rng, self._wide = rng, wide

    def one(self, low: float, high: float) -> float:
        """Between the two; in a test up to a fifth of their distance beyond, never under half of ``low``."""
        beyond = 0.2 * (high - low) if self._wide else 0.0
        return float(self._rng.uniform(max(low - beyond, 0.5 * low), high + beyond))

    def whole(self, low: float, high: float) -> int:
        return max(1, int(self.one(low, high)))

    def maybe(self, share: float) -> bool:
        return float(self._rng.random()) < share

    def conduction(self) -> tuple[int, ...]:
        return _FLUTTER[int(self._rng.integers(len(_FLUTTER)))]

    def spread(self) -> float:
        """Deviation of RR in sinus rhythm, s."""
        return self.one(0.01, 0.05)

    def sinus(self, duration_s: float = DURATION_S, **more: float | None) -> Period:
        usual: dict[str, float | None] = {"rate_bpm": self.one(50, 95), "rr_sd_s": self.spread()}
        return msgspec.convert({"rhythm": "sinus", "duration_s": duration_s, **usual, **more}, Period)

    def mixed(self, period: Period) -> tuple[Period, ...]:
        """The rhythm throughout, or with sinus rhythm of its rate in between."""
        if self.maybe(0.5):
            return (period,)
        part = msgspec.structs.replace(period, duration_s=self.one(30, 200))
        return (self.sinus(self.one(30, 150), rate_bpm=period.rate), part)


def _ramps(d: _Draw) -> tuple[Period, ...]:
    calm, fast = d.one(50, 80), d.one(95, 150)
    return (
        d.sinus(d.one(40, 120), rate_bpm=calm, end_rate_bpm=fast),
        d.sinus(d.one(20, 120), rate_bpm=fast, end_rate_bpm=calm),
        d.sinus(d.one(40, 120), rate_bpm=calm),
    )


def _runs(d: _Draw, share: tuple[float, float], beats: tuple[float, float]) -> tuple[Period, ...]:
    run = msgspec.structs.replace(
        d.sinus(rate_bpm=d.one(50, 85), pac_share=d.one(*share), coupling=d.one(0.42, 0.7)),
        atrial_run_beats=d.whole(*beats),
    )
    return (run,)


def _atrial(d: _Draw, rhythm: str) -> tuple[Period, ...]:
    rate_bpm, coupling = d.one(55, 90), d.one(0.5, 0.8)
    period = Period("atrial_bigeminy", DURATION_S, rate_bpm, rr_sd_s=d.spread(), coupling=coupling)
    if rhythm == "trigeminy":
        period = msgspec.structs.replace(period, rhythm="atrial_trigeminy")
    return d.mixed(period)


def _sick_sinus(d: _Draw) -> tuple[Period, ...]:
    coupling, beats = d.one(0.4, 0.75), d.whole(3, 25)
    rate_bpm, spread_s = d.one(38, 65), d.spread()
    return (
        Period(
            "sick_sinus",
            DURATION_S,
            rate_bpm,
            rr_sd_s=spread_s,
            coupling=coupling,
            atrial_run_beats=beats,
        ),
    )


def _pauses(d: _Draw) -> tuple[Period, ...]:
    escape_bpm = d.one(35, 50) if d.maybe(0.5) else None
    return (d.sinus(rate_bpm=d.one(50, 80), pause_share=d.one(0.02, 0.15), escape_bpm=escape_bpm),)


def _block(d: _Draw, conduction: tuple[int, ...], hold_beats: int) -> Period:
    return Period(
        "av_block",
        DURATION_S,
        d.one(60, 110),
        rr_sd_s=d.spread() / 2,
        conduction=conduction,
        hold_beats=hold_beats,
        pr_delay_s=d.one(0, 0.05),
    )


def _block_that_changes(d: _Draw) -> tuple[Period, ...]:
    return (_block(d, (1, 2) if d.maybe(0.6) else (1, 1, 2, 3), d.whole(2, 25)),)


def _fibrillation(d: _Draw) -> tuple[Period, ...]:
    share = max(0.0, d.one(-0.04, 0.04))
    rate_bpm, irregularity = d.one(60, 140), d.one(0.1, 0.3)
    return (Period("atrial_fibrillation", DURATION_S, rate_bpm, irregularity=irregularity, pvc_share=share),)


def _fibrillation_at_times(d: _Draw) -> tuple[Period, ...]:
    length_s, rate_bpm, irregularity = d.one(30, 150), d.one(70, 140), d.one(0.12, 0.28)
    return (
        Period("atrial_fibrillation", length_s, rate_bpm, irregularity=irregularity),
        d.sinus(d.one(30, 150)),
    )


def _flutter(d: _Draw) -> tuple[Period, ...]:
    return (Period("atrial_flutter", DURATION_S, conduction=d.conduction(), hold_beats=d.whole(1, 12)),)


def _flutter_at_times(d: _Draw) -> tuple[Period, ...]:
    rate_bpm = d.one(120, 170) if d.maybe(0.5) else None
    length_s = d.one(20, 120)
    flutter = Period(
        "atrial_flutter", length_s, rate_bpm, conduction=d.conduction(), hold_beats=d.whole(1, 12)
    )
    return (flutter, d.sinus(d.one(30, 150)))


ECTOPIC: Final[dict[str, Callable[[_Draw], tuple[Period, ...]]]] = {
    "atrial beats": lambda d: (d.sinus(pac_share=d.one(0.01, 0.12), coupling=d.one(0.5, 0.8)),),
    "atrial bigeminy": lambda d: _atrial(d, "bigeminy"),
    "atrial trigeminy": lambda d: _atrial(d, "trigeminy"),
    "short atrial runs": lambda d: _runs(d, (0.01, 0.04), (3, 12)),
    "long atrial runs": lambda d: _runs(d, (0.005, 0.02), (15, 60)),
    "sick sinus": _sick_sinus,
}
"""Rhythms with supraventricular beats."""
CONDUCTED: Final[dict[str, Callable[[_Draw], tuple[Period, ...]]]] = {
    "sinus arrhythmia": lambda d: (d.sinus(rate_bpm=d.one(50, 80), rr_sd_s=d.one(0.06, 0.13)),),
    "sinus ramps": _ramps,
    "sinus pauses": _pauses,
    "blocked atrial beats": lambda d: (d.sinus(blocked_share=d.one(0.03, 0.15), coupling=d.one(0.45, 0.6)),),
    "2:1 block": lambda d: d.mixed(_block(d, (2,), 1)),
    "block that changes": _block_that_changes,
    "Wenckebach": lambda d: d.mixed(Period("wenckebach", DURATION_S, d.one(60, 100), rr_sd_s=d.spread())),
}
"""Rhythms of early and late beats that all come from the sinus node."""
VENTRICULAR: Final[dict[str, Callable[[_Draw], tuple[Period, ...]]]] = {
    "many ventricular beats": lambda d: (
        msgspec.structs.replace(d.sinus(pvc_share=d.one(0.1, 0.35)), run_beats=d.whole(1, 4)),
    ),
    "ventricular bigeminy": lambda d: d.mixed(
        Period("bigeminy", DURATION_S, d.one(60, 95), rr_sd_s=d.spread())
    ),
    "ventricular trigeminy": lambda d: d.mixed(
        Period("trigeminy", DURATION_S, d.one(60, 95), rr_sd_s=d.spread())
    ),
}
"""Rhythms of ventricular beats, whose pauses and early beats are not the atria's."""
LESSONS: Final[dict[str, Callable[[_Draw], tuple[Period, ...]]]] = {
    "healthy": lambda d: (d.sinus(),),
    "ventricular beats": lambda d: (d.sinus(pvc_share=d.one(0.02, 0.12)),),
    **ECTOPIC,
    **CONDUCTED,
    **VENTRICULAR,
    "junctional": lambda d: d.mixed(Period("junctional", DURATION_S, d.one(40, 75), rr_sd_s=d.spread())),
    "fibrillation": _fibrillation,
    "fibrillation at times": _fibrillation_at_times,
    "flutter": _flutter,
    "flutter at times": _flutter_at_times,
}
"""All of them by name."""
UNTAUGHT: Final = frozenset({"flutter at times"})
"""Only tested: nothing that the classifier sees tells fast regular flutter from an atrial run, and taught as
N it costs the runs of real patients."""


def lesson(name: str, seed: int, *, wide: bool = False) -> VirtualPatient:
    """One patient with the rhythm of that name; ``wide`` for a test."""
    number = zlib.crc32(name.encode())
    draw = _Draw(np.random.default_rng((number, seed, int(wide))), wide=wide)
    periods = LESSONS[name](draw)
    noises = (Noise("wander", draw.one(0.02, 0.1)), Noise("muscle", draw.one(0.003, 0.03)))
    scene = Scene(name, "a lesson", periods, noises)
    return VirtualPatient(1_000_000 * (number % 1000) + 2 * seed + int(wide), scene, duration_s=DURATION_S)
