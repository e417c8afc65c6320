"""Why a beat has its class and why an episode was opened, in words: from features and the rules' limits."""

from collections.abc import Callable
from typing import Final

import msgspec

from einthoven.functions.evidence import Evidence, FeatureEvidence
from einthoven.signal.findings import BEAT_CLASSES, Beats, Episode
from einthoven.signal.quality import FIBRILLATION, GRADE, LEAD_OFF, LOST, NOISE, SATURATED
from einthoven.signal.rules import RULES, Criteria, Kind

__all__ = [
    "CLASS_NAMES",
    "LIMITS",
    "beat_reason",
    "episode_reason",
    "episode_span",
    "grade_reason",
    "limits_of",
]

CLASS_NAMES: Final = {
    "N": "normal",
    "S": "supraventricular",
    "V": "ventricular",
    "F": "fusion",
    "Q": "unknown",
}
_MOST_REASONS: Final = 4
_LEAST_WEIGHT: Final = 0.2
"""What changes the odds by less than a fifth is no reason."""


def _early(value: float) -> str:
    share = round(100 * abs(1 - value))
    return "on time" if share < 8 else f"{share} % {'premature' if value < 1 else 'late'}"


def _pause(value: float) -> str:
    if abs(value - 1) < 0.08:
        return "followed by the usual interval"
    return f"followed by an interval {abs(round(100 * (value - 1)))} % {'longer' if value > 1 else 'shorter'}"


def _likeness(what: str) -> Callable[[float], str]:
    return lambda value: f"{what} likeness {value:.2f}"


_TOPICS: Final[tuple[tuple[str, tuple[str, ...], Callable[[float], str]], ...]] = (
    ("pre/local", ("pre", "local/"), _early),
    ("post/local", ("post",), _pause),
    (
        "irregularity",
        ("irregular",),
        lambda value: f"intervals around it irregular by {100 * value:.0f} %",
    ),
    ("width/patient", ("width",), lambda value: f"{value:.1f} times as wide"),
    ("amplitude/patient", ("amplitude",), lambda value: f"{value:.1f} times as high"),
    ("corr QRS", ("corr QRS", "dist QRS", "QRS", "slope", "corr all"), _likeness("QRS")),
    ("corr P", ("corr P", "dist P", "P "), _likeness("P wave")),
    ("corr T", ("corr T", "dist T", "T "), _likeness("T wave")),
    ("corr with previous", ("corr with",), _likeness("to the beat before,")),
)
"""What a reader knows: the feature that is told, how the names of its kind begin, and the words. Features of
one kind speak together; one of no kind is told by its name."""

LIMITS: Final[dict[Kind, tuple[str, ...]]] = {
    "ventricular_fibrillation": ("fibrillation_score", "fibrillation_score_end", "fibrillation_windows"),
    "asystole": ("asystole_s",),
    "ventricular_tachycardia": ("vt_beats", "vt_bpm"),
    "extreme_bradycardia": ("extreme_bradycardia_bpm", "extreme_bradycardia_beats"),
    "extreme_tachycardia": ("extreme_tachycardia_bpm", "extreme_tachycardia_beats"),
    "ventricular_run": ("run_beats",),
    "pause": ("pause_s",),
    "supraventricular_tachycardia": ("svt_bpm", "svt_s"),
    "supraventricular_run": ("run_beats",),
    "atrial_fibrillation": ("af_score", "af_score_end", "af_judgements"),
    "bradycardia": ("bradycardia_bpm", "rate_s"),
    "tachycardia": ("tachycardia_bpm", "rate_s"),
    "lead_off": ("lead_off_s",),
    "gap": ("gap_s",),
    "noise": ("noise_s",),
}
"""Which fields of `Criteria` an episode's rule has its limits in."""


def beat_reason(told: Evidence, final: str) -> str:
    """One sentence on a beat of class ``final``."""
    kind = told.kind
    share = f"{100 * told.votes[kind]:.0f} % of votes"
    name = CLASS_NAMES[kind]
    why = f"{kind} ({name}, {share}) {_why(told)}."
    if final == kind:
        return why
    rule = (
        "an S in atrial fibrillation is not told apart"
        if (kind, final) == ("S", "N")
        else "what lies around it does not look like beats, cannot be read, or fibrillates"
    )
    return f"{why} Then {final} by the rhythm rules: {rule}."


def _why(told: Evidence) -> str:
    known = {one.name: one for one in told.features if one.weight is not None}
    if not known:
        return "by shape and timing alone: too little is known of the patient yet"
    if told.kind == "N":
        # What is usual is of class N itself, so nothing speaks for it but likeness.
        usual = [
            _in_words(known[name]) for name in ("pre/local", "width/patient", "corr QRS") if name in known
        ]
        return f"like the patient's usual beats ({', '.join(usual)})"
    weights: dict[str, float] = {}
    for one in known.values():
        topic = _topic(one.name)
        weights[topic] = weights.get(topic, 0.0) + (one.weight or 0.0)
    topics = sorted(
        (name for name in weights if weights[name] >= _LEAST_WEIGHT), key=lambda name: -weights[name]
    )
    if not topics:
        return "by many features together, none of weight by itself"
    shown = [known.get(name) or _heaviest(known, name) for name in topics[:_MOST_REASONS]]
    return f"because, beside the patient's own: {', '.join(_in_words(one) for one in shown)}"


def _topic(name: str) -> str:
    for topic, beginnings, _ in _TOPICS:
        if name.startswith(beginnings):
            return topic
    return name


def _heaviest(known: dict[str, FeatureEvidence], topic: str) -> FeatureEvidence:
    """The feature that speaks most, of a kind whose own is not among the classifier's."""
    return max(
        (one for one in known.values() if _topic(one.name) == topic), key=lambda one: one.weight or 0.0
    )


def _in_words(one: FeatureEvidence) -> str:
    for name, _, phrase in _TOPICS:
        if name == one.name:
            return phrase(one.value)
    usual = "" if one.usual is None else f" (usually {one.usual:.2f})"
    return f"{one.name} {one.value:.2f}{usual}"


def limits_of(kind: Kind, criteria: Criteria) -> dict[str, float]:
    """The limits that a kind of episode hangs on, by the names of their fields."""
    values = msgspec.structs.asdict(criteria)
    return {name: values[name] for name in LIMITS.get(kind, ()) if name in values}


def episode_span(episode: Episode, fs: float) -> str:
    """When it was, in words."""
    if episode.end is None:
        return f"from {episode.onset / fs:.1f} s on"
    return f"{episode.onset / fs:.1f} to {episode.end / fs:.1f} s"


def episode_reason(episode: Episode, beats: Beats, fs: float, criteria: Criteria) -> str:
    """Rule, limits, and what was measured on the beats of the strip that lie in the episode."""
    rule = RULES[episode.kind]
    limits = ", ".join(f"{name} {value:g}" for name, value in limits_of(episode.kind, criteria).items())
    inside = beats.positions >= episode.onset
    if episode.end is not None:
        inside &= beats.positions <= episode.end
    intervals_s = (beats.positions[inside][1:] - beats.positions[inside][:-1]) / fs
    seen = ""
    if intervals_s.size:
        kinds = [BEAT_CLASSES[code] for code in beats.classes[inside]]
        counted = " ".join(f"{kinds.count(name)} {name}" for name in BEAT_CLASSES if name in kinds)
        seen = (
            f" Here: {counted}, {60 / intervals_s.mean():.0f}/min, RR {intervals_s.min():.2f} to "
            f"{intervals_s.max():.2f} s."
        )
    return f"{rule.rule}{f' ({limits})' if limits else ''}.{seen}"


def grade_reason(cell: int) -> str:
    """What made a second what it is; nothing for a good one."""
    told = [
        words
        for flag, words in (
            (LOST, "missing"),
            (LEAD_OFF, "flat"),
            (SATURATED, "railed"),
            (NOISE, "rough"),
            (FIBRILLATION, "fibrillates"),
        )
        if cell & flag
    ]
    if not told and cell & GRADE == 2:
        return "QRS only"
    return ", ".join(told)
