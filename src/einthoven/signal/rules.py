"""The rhythm rules as a table: what is an episode, how urgent it is, and where its limits lie.

"C15" is the alarm definition of the PhysioNet/CinC Challenge 2015, "Holter" a Holter vendor's notify-at-once
list, "EC57" the reference tools' grouping, "ours" a definition of this project. The fold that applies the
rules is `einthoven.signal.rhythm`.
"""

import tomllib
from typing import Final, Literal, NamedTuple

import msgspec

from einthoven.errors import InputInvalid

__all__ = [
    "GUARDS",
    "KINDS",
    "ORDERED",
    "RANGES",
    "RULES",
    "Criteria",
    "Guard",
    "Kind",
    "Priority",
    "Rule",
    "criteria_of",
    "guard_of",
]

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


class Criteria(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The limits of every rhythm rule: defaults that a deployment may change, for all patients or one.

    Raises
    ------
    InputInvalid : a limit lies outside its `RANGES`; the message names it and the range.
    """

    asystole_s: float = 4.0
    pause_s: float = 3.0
    fibrillation_score: float = 2.0
    """Log-odds of 8 s of signal and its beats, judged each second, above which it is fibrillation."""
    fibrillation_score_end: float = 0.0
    """Four seconds below it end it."""
    fibrillation_windows: float = 2.0
    """Consecutive seconds with such a judgement."""
    vt_beats: float = 5.0
    vt_bpm: float = 100.0
    run_beats: float = 3.0
    extreme_bradycardia_bpm: float = 40.0
    extreme_bradycardia_beats: float = 5.0
    extreme_tachycardia_bpm: float = 140.0
    extreme_tachycardia_beats: float = 17.0
    bradycardia_bpm: float = 50.0
    tachycardia_bpm: float = 120.0
    rate_s: float = 30.0
    svt_bpm: float = 150.0
    svt_s: float = 30.0
    bigeminy_repeats: float = 3.0
    trigeminy_repeats: float = 3.0
    af_score: float = 0.4
    """Log-odds of 30 s of beats, judged every 5 s, above which they fibrillate."""
    af_score_early: float = 2.5
    """The same while less than 25 s, and fewer than 30 intervals, are known."""
    af_score_end: float = 0.0
    """Below it they do not."""
    af_judgements: float = 8.0
    """Judgements in a row that begin an episode; in the first 35 s of a stream one suffices."""
    af_judgements_end: float = 2.0
    agreement_least: float = 0.45
    """Mean likeness of the last eight beats to the template or to each other; below it they are noise."""
    lead_off_s: float = 5.0
    gap_s: float = 5.0
    noise_s: float = 60.0

    def __post_init__(self) -> None:
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise InputInvalid(
                    f"{name} is {value:g}; it must lie in {least:g} to {most:g}.",
                    where=name,
                    remedy="See the limits in docs/reference/rhythm-rules.md.",
                )
        for low, high in ORDERED:
            if not getattr(self, low) < getattr(self, high):
                raise InputInvalid(
                    f"{low} is {getattr(self, low):g}; it must be less than {high}, "
                    f"which is {getattr(self, high):g}.",
                    where=low,
                    remedy="Change one of the two.",
                )


RANGES: Final[dict[str, tuple[float, float]]] = {
    "asystole_s": (2, 30),
    "pause_s": (1, 20),
    "fibrillation_score": (-10, 20),
    "fibrillation_score_end": (-20, 20),
    "fibrillation_windows": (1, 30),
    "vt_beats": (3, 60),
    "vt_bpm": (60, 250),
    "run_beats": (2, 60),
    "extreme_bradycardia_bpm": (10, 80),
    "extreme_bradycardia_beats": (2, 60),
    "extreme_tachycardia_bpm": (80, 300),
    "extreme_tachycardia_beats": (2, 60),
    "bradycardia_bpm": (20, 100),
    "tachycardia_bpm": (60, 250),
    "rate_s": (5, 60),
    "svt_bpm": (80, 300),
    "svt_s": (2, 600),
    "bigeminy_repeats": (2, 100),
    "trigeminy_repeats": (2, 100),
    "af_score": (-10, 20),
    "af_score_early": (-10, 20),
    "af_score_end": (-20, 20),
    "af_judgements": (1, 100),
    "af_judgements_end": (1, 100),
    "agreement_least": (0, 1),
    "lead_off_s": (1, 600),
    "gap_s": (1, 600),
    "noise_s": (1, 3600),
}
"""Least and greatest value of each limit, both allowed."""

ORDERED: Final = (
    ("pause_s", "asystole_s"),
    ("bradycardia_bpm", "tachycardia_bpm"),
    ("extreme_bradycardia_bpm", "extreme_tachycardia_bpm"),
    ("af_score_end", "af_score"),
    ("fibrillation_score_end", "fibrillation_score"),
)
"""The first of each pair must be less than the second."""


def criteria_of(content: bytes | str, where: str = "") -> Criteria:
    """Limits from TOML: one key a line; what is not named keeps its default.

    Raises
    ------
    InputInvalid : not TOML, a key that is no limit, a value that is no number or out of range.
    """
    try:
        return msgspec.convert(tomllib.loads(_text(content)), Criteria)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputInvalid(
            f"the rules are not valid TOML: {error}.",
            where=where,
            remedy="Write lines such as pause_s = 2.5.",
        ) from None
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, InputInvalid):
            raise error.__cause__ from None
        raise InputInvalid(
            f"{error}.", where=where, remedy=f"The limits are {', '.join(Criteria.__struct_fields__)}."
        ) from None


def _text(content: bytes | str) -> str:
    return content.decode("utf-8") if isinstance(content, bytes) else content


class Rule(NamedTuple):
    """What an episode of one kind means."""

    priority: Priority
    title: str
    rule: str
    source: str


RULES: Final[dict[Kind, Rule]] = {
    "ventricular_fibrillation": Rule(
        "high", "Ventricular fibrillation or flutter", "fibrillatory or oscillatory waveform over 8 s", "C15"
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
        "low", "Atrial fibrillation", "irregular RR without a consistent P wave over 30 s", "ours"
    ),
    "bradycardia": Rule("low", "Bradycardia", "< 50 beats/min over 30 s", "Holter"),
    "tachycardia": Rule("low", "Tachycardia", "> 120 beats/min over 30 s", "ours"),
    "bigeminy": Rule("none", "Bigeminy", "N V three times in a row", "ours"),
    "trigeminy": Rule("none", "Trigeminy", "N N V three times in a row", "ours"),
    "lead_off": Rule("technical", "Lead off", "flat for >= 5 s", "ours"),
    "gap": Rule("technical", "Gap", "samples missing for >= 5 s", "ours"),
    "noise": Rule("technical", "Noise", "unusable for >= 60 s", "ours"),
}
"""Every kind of episode, most urgent first."""

KINDS: Final[tuple[Kind, ...]] = tuple(RULES)


Action = Literal["hold", "doubt"]


class Guard(NamedTuple):
    """When an episode raises no alert, or only a technical one, and why.

    ``hold``: it is told in findings and alerts nobody. ``doubt``: the alert is technical: somebody must look
    at the lead, not at the patient.
    """

    kinds: tuple[Kind, ...]
    action: Action
    grade_from: int
    """It applies from this grade on."""
    confidence_below: int
    """And below this confidence, per cent."""
    reason: str


GUARDS: Final[tuple[Guard, ...]] = (
    Guard(
        ("ventricular_fibrillation", "asystole"),
        "doubt",
        3,
        101,
        "the signal cannot be read: noise and a dangerous rhythm cannot be told apart",
    ),
    Guard(
        (
            "ventricular_tachycardia",
            "extreme_bradycardia",
            "extreme_tachycardia",
            "ventricular_run",
            "pause",
            "supraventricular_tachycardia",
            "atrial_fibrillation",
            "bradycardia",
            "tachycardia",
        ),
        "hold",
        3,
        101,
        "decided on seconds that cannot be read",
    ),
    Guard(
        ("asystole",),
        "doubt",
        1,
        60,
        "the beats before the silence did not look like beats",
    ),
    Guard(("pause",), "hold", 1, 60, "the beats around the silence did not look like beats"),
    Guard(
        ("ventricular_tachycardia",),
        "doubt",
        1,
        55,
        "the beats resemble nothing: noise and tachycardia cannot be told apart",
    ),
    Guard(("ventricular_run",), "hold", 1, 55, "it is not sure that these beats are ventricular"),
)
"""The first that applies is taken."""


def guard_of(kind: Kind, confidence: int, grade: int) -> Guard | None:
    """The guard that applies to an episode, if any."""
    for guard in GUARDS:
        if kind in guard.kinds and grade >= guard.grade_from and confidence < guard.confidence_below:
            return guard
    return None
