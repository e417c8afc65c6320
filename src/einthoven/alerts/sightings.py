"""Sightings: a condition on the clock, as one of the paths found it. What alerts are made of."""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from einthoven.signal.findings import Condition
from einthoven.signal.rules import RULES, Kind

__all__ = [
    "ALERT_KINDS",
    "DOUBT",
    "MARKS",
    "NS",
    "PRIORITIES",
    "WATCH_KINDS",
    "AlertKind",
    "AlertPriority",
    "Path",
    "Sighting",
    "WatchKind",
    "is_higher",
    "mark_of",
    "sightings_of",
    "title_of",
]

NS: Final = 1_000_000_000
"""Nanoseconds in a second."""

AlertPriority = Literal["high", "medium", "low"]
"""As IEC 60601-1-8 has them; technical alerts are a list of their own, with the same three."""
WatchKind = Literal[
    "device_silent", "data_late", "alert_path_broken", "ledger_inconsistent", "emergency_access"
]
AlertKind = Literal[Kind, WatchKind]
Path = Literal["online", "batch", "watch"]
"""Which way it was found: in the stream, in the whole recording, or by watching devices and channels."""

PRIORITIES: Final[tuple[AlertPriority, ...]] = ("high", "medium", "low")
"""Most urgent first."""
MARKS: Final[dict[AlertPriority, str]] = {"high": "***", "medium": "**", "low": "*"}
"""What bedside monitors print beside the words, so that colour is never alone."""
WATCH_KINDS: Final[dict[WatchKind, tuple[AlertPriority, str]]] = {
    "ledger_inconsistent": ("high", "Ledger is not what was signed"),
    "emergency_access": ("high", "Somebody broke the glass"),
    "alert_path_broken": ("medium", "Alert path broken"),
    "device_silent": ("low", "Device silent"),
    "data_late": ("low", "Data late"),
}
"""Technical conditions that no ECG shows."""
ALERT_KINDS: Final[tuple[AlertKind, ...]] = (
    *(kind for kind, rule in RULES.items() if rule.priority != "none"),
    *WATCH_KINDS,
)
"""Everything that can be alerted of."""
DOUBT: Final = "doubt"
"""What a technical alert is about when its kind would be urgent: the lead, not the patient."""


def is_higher(one: AlertPriority, other: AlertPriority) -> bool:
    """Whether ``one`` is more urgent than ``other``."""
    return PRIORITIES.index(one) < PRIORITIES.index(other)


def mark_of(priority: AlertPriority, *, is_technical: bool) -> str:
    """The asterisks, and a sign for the technical list."""
    return f"(t) {MARKS[priority]}" if is_technical else MARKS[priority]


def title_of(kind: AlertKind) -> str:
    """How the condition is called."""
    for watched, (_, title) in WATCH_KINDS.items():
        if kind == watched:
            return title
    return next(rule.title for one, rule in RULES.items() if one == kind)


class Sighting(msgspec.Struct, frozen=True):
    """One condition in absolute time. The same condition may be sighted often; an alert is made once."""

    condition: AlertKind
    priority: AlertPriority
    is_technical: bool
    onset_ns: int
    """UTC, ns since the epoch."""
    end_ns: int | None
    """None while it goes on."""
    until_ns: int
    """How far its path had looked when it was sighted."""
    confidence: int = 100
    """Per cent."""
    grade: int = 1
    path: Path = "online"
    stream: int | None = None
    """In which it was found; None for what is not of one stream."""
    about: str = ""
    """What a technical condition concerns: a device, a channel, or `DOUBT`; empty for the patient's own."""
    reason: str = ""
    """Why it is technical when its kind would be urgent, or what was noticed."""

    @property
    def lasted_ns(self) -> int:
        """As far as is known."""
        return (self.until_ns if self.end_ns is None else self.end_ns) - self.onset_ns


def sightings_of(
    conditions: Sequence[Condition],
    *,
    fs: float,
    start_ns: int,
    until: int,
    path: Path = "online",
    stream: int | None = None,
    is_over: bool = False,
) -> tuple[Sighting, ...]:
    """What findings say, on the clock; what is held alerts nobody and is left out.

    Parameters
    ----------
    fs, until : of the findings
    start_ns : UTC of the stream's or the recording's first sample
    stream : the number of the stream, if it is one
    is_over : the stream or recording ends here, and with it what goes on
    """

    def instant(sample: int) -> int:
        return start_ns + round(sample * NS / fs)

    sightings = []
    for one in conditions:
        if one.action == "hold" or one.priority == "none":
            continue
        is_technical = one.priority == "technical"
        end = until if one.end is None and is_over else one.end
        sightings.append(
            Sighting(
                condition=one.condition,
                priority="low" if one.priority == "technical" else one.priority,
                is_technical=is_technical,
                onset_ns=instant(one.onset),
                end_ns=None if end is None else max(instant(end), instant(one.onset)),
                until_ns=max(instant(until), instant(one.onset)),
                confidence=one.confidence,
                grade=one.grade,
                path=path,
                stream=stream,
                about=DOUBT if one.action == "doubt" else "",
                reason=one.reason,
            )
        )
    return tuple(sightings)
