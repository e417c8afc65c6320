"""Scripts: what happens to a virtual patient, period by period."""

from typing import Final

import msgspec

from einthoven.errors import InputInvalid
from einthoven.simulation.noise import Noise
from einthoven.simulation.rhythms import Period

__all__ = ["SCENES", "Scene"]

_LONG_S: Final = 86_400.0


class Scene(msgspec.Struct, frozen=True):
    """A patient's script; after its last period it begins again."""

    name: str
    about: str
    periods: tuple[Period, ...]
    noises: tuple[Noise, ...] = ()
    has_heart: bool = True
    """False: the electrodes lie on nothing; only noise is recorded."""

    def __post_init__(self) -> None:
        if not self.periods:
            raise InputInvalid("a scene needs a period.", where="scene.periods", remedy="Add at least one.")

    @property
    def duration_s(self) -> float:
        """Length of one round."""
        return sum(period.duration_s for period in self.periods)


def _scenes() -> tuple[Scene, ...]:
    sinus = Period("sinus", 12.0)
    wander = Noise("wander", 0.06)
    return (
        Scene("healthy", "sinus rhythm", (Period("sinus", _LONG_S, 68, rr_sd_s=0.045),), (wander,)),
        Scene(
            "vt_to_vf",
            "ventricular tachycardia that turns into fibrillation",
            (
                Period("sinus", 10, 84),
                Period("ventricular_tachycardia", 8, 190),
                Period("ventricular_fibrillation", 60),
            ),
            (wander,),
        ),
        Scene(
            "atrial_fibrillation",
            "atrial fibrillation throughout",
            (Period("atrial_fibrillation", _LONG_S, 108),),
            (wander,),
        ),
        Scene(
            "paroxysm",
            "sinus rhythm with minutes of atrial fibrillation",
            (Period("sinus", 120, 66), Period("atrial_fibrillation", 180, 104), Period("sinus", 300, 70)),
            (wander,),
        ),
        Scene(
            "pauses",
            "sinus arrest, more than 3 s between two beats",
            (sinus, Period("pause", 2.65), Period("sinus", 20, 62)),
            (wander,),
        ),
        Scene(
            "asystole",
            "sinus rhythm that stops",
            (Period("sinus", 20, 58), Period("asystole", 15), Period("sinus", 60, 55)),
            (wander,),
        ),
        Scene(
            "noise_only",
            "no heart: moving electrodes and muscle; must stay quiet",
            (Period("asystole", _LONG_S),),
            (Noise("muscle", 0.25), Noise("motion", 0.35)),
            has_heart=False,
        ),
        Scene(
            "ectopy",
            "single and paired ventricular beats, some supraventricular",
            (
                Period("sinus", 240, 72, pvc_share=0.06, pac_share=0.02),
                Period("sinus", 60, 74, pvc_share=0.05, run_beats=2),
            ),
            (wander,),
        ),
        Scene(
            "bigeminy",
            "every second beat ventricular",
            (sinus, Period("bigeminy", 40), Period("sinus", 40)),
            (wander,),
        ),
        Scene(
            "svt",
            "a narrow tachycardia",
            (
                Period("sinus", 20, 76),
                Period("supraventricular_tachycardia", 60, 180),
                Period("sinus", 120, 80),
            ),
            (wander,),
        ),
        Scene(
            "lead_off",
            "sinus rhythm, and a lead that falls off for a while",
            (Period("sinus", _LONG_S, 74),),
            (wander, Noise("lead_off", start_s=12, end_s=24)),
        ),
        Scene(
            "atrial_bigeminy",
            "every second beat atrial",
            (sinus, Period("atrial_bigeminy", 60), Period("sinus", 40)),
            (wander,),
        ),
        Scene(
            "atrial_runs",
            "sinus rhythm with runs of atrial beats",
            (Period("sinus", _LONG_S, 68, pac_share=0.03, atrial_run_beats=6),),
            (wander,),
        ),
        Scene(
            "sick_sinus",
            "a slow sinus node: most beats are atrial, in runs between pauses",
            (Period("sick_sinus", _LONG_S, 48, coupling=0.6, atrial_run_beats=12),),
            (wander,),
        ),
        Scene(
            "av_block",
            "conduction that changes between 1:1 and 2:1",
            (Period("av_block", _LONG_S, 84, rr_sd_s=0.015, conduction=(1, 2), hold_beats=12),),
            (wander,),
        ),
        Scene(
            "wenckebach", "PR that grows until a beat is dropped", (Period("wenckebach", _LONG_S),), (wander,)
        ),
        Scene(
            "escape",
            "sinus pauses in which the junction escapes",
            (Period("sinus", _LONG_S, 64, pause_share=0.05, escape_bpm=42),),
            (wander,),
        ),
        Scene("bradycardia", "36 beats a minute", (Period("sinus", _LONG_S, 36, rr_sd_s=0.04),), (wander,)),
    )


SCENES: Final[dict[str, Scene]] = {scene.name: scene for scene in _scenes()}
"""Ready-made scenes by name."""
