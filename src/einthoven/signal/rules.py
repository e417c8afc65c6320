"""The rhythm rules as a table: what is an episode, how urgent it is, and where its limits lie.

"C15" is the alarm definition of the PhysioNet/CinC Challenge 2015, "Holter" a Holter vendor's notify-at-once
list, "EC57" the reference tools' grouping, "ours" a definition of this project. The fold that applies the
rules is `einthoven.signal.rhythm`.
"""

from typing import Final, Literal, NamedTuple

import msgspec

__all__ = ["KINDS", "RULES", "Criteria", "Kind", "Priority", "Rule"]

Priority = Literal["high", "medium", "low", "technical", "none"]
Kind = Literal[
    "ventricular_fibrillation",
    "asystole",
    "ventricular_tachycardia",
    "extreme_bradycardia",
    "extreme_tachycardia",
    "ventricular_run",
    "pause",
    "supraventricular_tachycardia",
    "supraventricular_run",
    "atrial_fibrillation",
    "bradycardia",
    "tachycardia",
    "bigeminy",
    "trigeminy",
    "lead_off",
    "gap",
    "noise",
]


class Criteria(msgspec.Struct, frozen=True):
    """The limits of every rhythm rule: defaults that a clinician may change per patient."""

    asystole_s: float = 4.0
    pause_s: float = 3.0
    fibrillation_windows: float = 3.0
    """Consecutive positive 4-s windows, one a second: 3 of them span 6 s of waveform."""
    vt_beats: float = 5.0
    vt_bpm: float = 100.0
    run_beats: float = 3.0
    extreme_bradycardia_bpm: float = 40.0
    extreme_bradycardia_beats: float = 5.0
    extreme_tachycardia_bpm: float = 140.0
    extreme_tachycardia_beats: float = 17.0
    bradycardia_bpm: float = 50.0
    tachycardia_bpm: float = 100.0
    rate_s: float = 30.0
    svt_bpm: float = 150.0
    svt_s: float = 30.0
    af_irregularity: float = 0.09
    """Median of successive RR differences over the median RR, 40 intervals free of V beats."""
    af_irregularity_end: float = 0.06
    af_p_wave: float = 0.4
    """Median correlation of the P zone with the patient's: above it atrial activity is consistent."""
    af_p_wave_end: float = 0.6
    agreement_least: float = 0.45
    """Mean likeness of the last eight beats to the template or to each other; below it they are noise."""
    lead_off_s: float = 5.0
    gap_s: float = 5.0
    noise_s: float = 60.0


class Rule(NamedTuple):
    """What an episode of one kind means."""

    priority: Priority
    title: str
    rule: str
    source: str


RULES: Final[dict[Kind, Rule]] = {
    "ventricular_fibrillation": Rule(
        "high", "Ventricular fibrillation or flutter", "fibrillatory or oscillatory waveform >= 4 s", "C15"
    ),
    "asystole": Rule("high", "Asystole", "no beat for >= 4 s, lead on and readable", "C15"),
    "ventricular_tachycardia": Rule(
        "high", "Ventricular tachycardia", ">= 5 V in a row at > 100 beats/min", "C15"
    ),
    "extreme_bradycardia": Rule("high", "Extreme bradycardia", "< 40 beats/min over 5 beats", "C15"),
    "extreme_tachycardia": Rule("high", "Extreme tachycardia", "> 140 beats/min over 17 beats", "C15"),
    "ventricular_run": Rule("medium", "Ventricular run", ">= 3 V in a row, not a tachycardia", "Holter"),
    "pause": Rule("medium", "Pause", "RR >= 3.0 s", "Holter"),
    "supraventricular_tachycardia": Rule(
        "medium", "Supraventricular tachycardia", "narrow beats at > 150 beats/min for > 30 s", "Holter"
    ),
    "supraventricular_run": Rule("none", "Supraventricular run", ">= 3 S in a row", "EC57"),
    "atrial_fibrillation": Rule(
        "low", "Atrial fibrillation", "irregular RR and no consistent P wave over 40 intervals", "ours"
    ),
    "bradycardia": Rule("low", "Bradycardia", "< 50 beats/min over 30 s", "Holter"),
    "tachycardia": Rule("low", "Tachycardia", "> 100 beats/min over 30 s", "Holter"),
    "bigeminy": Rule("none", "Bigeminy", "N V three times in a row", "ours"),
    "trigeminy": Rule("none", "Trigeminy", "N N V three times in a row", "ours"),
    "lead_off": Rule("technical", "Lead off", "flat for >= 5 s", "ours"),
    "gap": Rule("technical", "Gap", "samples missing for >= 5 s", "ours"),
    "noise": Rule("technical", "Noise", "unusable for >= 60 s", "ours"),
}
"""Every kind of episode, most urgent first."""

KINDS: Final[tuple[Kind, ...]] = tuple(RULES)
