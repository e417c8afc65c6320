"""An alert, its steps and what one step changes: the rows that a database keeps of them."""

import hashlib
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from einthoven.alerts.lifecycle import AlertState, LifeEvent, state_after
from einthoven.alerts.rules import AlertRules
from einthoven.alerts.sightings import NS, PRIORITIES, AlertKind, AlertPriority, title_of

__all__ = [
    "Alert",
    "AlertEpisode",
    "AlertKey",
    "Change",
    "LifeStep",
    "PatientAlerts",
    "Shown",
    "What",
    "advance",
    "alert_id",
    "episode_of",
    "retimed",
]

What = Literal[
    "raised",
    "repeated",
    "reopened",
    "worsened",
    "joined",
    "left",
    "ended",
    "delivered",
    "escalated",
    "assigned",
    "acknowledged",
    "suppressed",
    "resumed",
    "closed",
]
AlertKey = tuple[AlertKind, str]
"""Condition, and what it is about: with organisation and patient, that of which one alert is open."""


class Shown(msgspec.Struct, frozen=True):
    """A stream that shows the condition now."""

    stream: int
    onset_ns: int
    """As this stream has it."""


class Alert(msgspec.Struct, frozen=True):
    """One condition of one patient that somebody must be told of."""

    org: str
    patient: str
    """Pseudonym; empty for what concerns the organisation, such as a channel."""
    condition: AlertKind
    about: str
    number: int
    """Counts the alerts of one key, from 1."""
    id: str
    """The same for the same organisation, patient, condition, about and number."""
    priority: AlertPriority
    """The highest it has been told with."""
    is_technical: bool
    state: AlertState
    onset_ns: int
    """Of the episode that is told, UTC."""
    end_ns: int | None
    episodes: int
    """How many episodes it stands for."""
    latest_onset_ns: int
    """The greatest onset ever sighted of this key: what is not later is no news of the stream."""
    is_late: bool
    """The episode that is told was found by the batch layer, not in the stream."""
    confidence: int
    grade: int
    reason: str
    """Why it is technical when its kind would be urgent, or what was noticed."""
    raised_ns: int
    changed_ns: int
    shown: tuple[Shown, ...] = ()
    """In which streams it goes on: it ends when the last of them ends it."""
    steps: int = 0
    """How many it has taken; also the version of the row."""
    assignee: str = ""
    """Account that is to see to it."""
    suppressed_until_ns: int | None = None
    rung: int = 0
    """The last of the ladder that was told, from 0."""
    rung_ns: int = 0
    """When that was."""
    delivered_ns: int | None = None
    """The first receipt from that rung."""
    escalate_ns: int | None = None
    """When the next rung is told, unless somebody answers."""
    close_ns: int | None = None
    """When it expires."""

    @property
    def key(self) -> AlertKey:
        """What it is an alert of."""
        return (self.condition, self.about)

    @property
    def ruled_by(self) -> str:
        """The pseudonym whose rules hold for it; empty: the organisation's.

        Of who broke the glass those are told who stand on the organisation's ladder, not on the patient's.
        """
        return "" if self.condition == "emergency_access" else self.patient

    @property
    def urgency(self) -> int:
        """0 is most urgent; what is technical comes behind all that the ECG showed."""
        return PRIORITIES.index(self.priority) + len(PRIORITIES) * self.is_technical

    @property
    def title(self) -> str:
        """What it is called."""
        return title_of(self.condition)

    @property
    def due_ns(self) -> int | None:
        """When the clock next has something to do with it; a column with an index."""
        times = (self.escalate_ns, self.close_ns, self.suppressed_until_ns)
        return min((time for time in times if time is not None), default=None)


class AlertEpisode(msgspec.Struct, frozen=True):
    """An episode that an alert stands for, so that whoever finds it again finds the same alert."""

    org: str
    patient: str
    condition: AlertKind
    about: str
    onset_ns: int
    end_ns: int | None
    alert_id: str

    @property
    def key(self) -> AlertKey:
        """What it is an episode of."""
        return (self.condition, self.about)


class LifeStep(msgspec.Struct, frozen=True):
    """One step of an alert's life: who, when, why. Rows that are added and never changed."""

    org: str
    alert_id: str
    number: int
    """From 1; with the alert's id the key, so that of two writers one must fail."""
    event: LifeEvent
    before: AlertState
    after: AlertState
    at_ns: int
    by: str
    """``ecg``, ``watch``, ``clock``, ``receipt`` or an account."""
    why: str
    detail: str = ""
    """Who it was assigned to, which rung was told, until when it is suppressed, …"""


class Change(msgspec.Struct, frozen=True):
    """Something that happened to an alert: what is stored, shown and told."""

    what: What
    alert: Alert
    """As it is now."""
    step: LifeStep
    episode: AlertEpisode | None = None
    """To be kept in place of the one with this key and onset, or added."""


class PatientAlerts(msgspec.Struct, frozen=True):
    """What is known of one patient's alerts."""

    org: str
    patient: str
    alerts: tuple[Alert, ...] = ()
    """The latest of each key, whether open or closed."""
    episodes: tuple[AlertEpisode, ...] = ()
    """At least those of the sighted keys that end after the earliest sighted onset, or go on."""

    def after(self, changes: Iterable[Change]) -> "PatientAlerts":
        """What is known once these have happened; a database does the same with rows."""
        alerts = {alert.key: alert for alert in self.alerts}
        episodes = {(*episode.key, episode.onset_ns): episode for episode in self.episodes}
        for change in changes:
            alerts[change.alert.key] = change.alert
            if change.episode is not None:
                episodes[(*change.episode.key, change.episode.onset_ns)] = change.episode
        return msgspec.structs.replace(self, alerts=tuple(alerts.values()), episodes=tuple(episodes.values()))

    def since(self, ns: int) -> "PatientAlerts":
        """Without the episodes that ended before; enough to receive what began after."""
        kept = tuple(one for one in self.episodes if one.end_ns is None or one.end_ns >= ns)
        return self if len(kept) == len(self.episodes) else msgspec.structs.replace(self, episodes=kept)

    def latest(self, key: AlertKey) -> Alert | None:
        """The latest alert of a key."""
        return next((alert for alert in self.alerts if alert.key == key), None)


def alert_id(org: str, patient: str, key: AlertKey, number: int) -> str:
    """The same for the same alert, so that what is done again after a crash is the same thing."""
    name = msgspec.json.encode((org, patient, *key, number))
    return "alt_" + hashlib.sha256(name).hexdigest()[:24]


def episode_of(alert: Alert) -> AlertEpisode:
    """The episode that the alert tells, as a row."""
    return AlertEpisode(
        org=alert.org,
        patient=alert.patient,
        condition=alert.condition,
        about=alert.about,
        onset_ns=alert.onset_ns,
        end_ns=alert.end_ns,
        alert_id=alert.id,
    )


def advance(
    alert: Alert,
    event: LifeEvent,
    rules: AlertRules,
    at_ns: int,
    *,
    by: str,
    why: str = "",
    detail: str = "",
    episode: AlertEpisode | None = None,
) -> Change:
    """One step along the table, with the times that follow from it.

    Raises
    ------
    AlertStepRefused : the table has no such step.
    """
    before, after = alert.state, state_after(alert.state, event)
    moved = msgspec.structs.replace(alert, state=after, changed_ns=at_ns, steps=alert.steps + 1)
    moved = retimed(_climbed(moved, before, event), rules)
    step = LifeStep(alert.org, alert.id, moved.steps, event, before, after, at_ns, by, why, detail)
    return Change(_what(event, before), moved, step, episode)


def _what(event: LifeEvent, before: AlertState) -> What:
    if event is LifeEvent.BEGAN:
        if before is AlertState.NEW:
            return "raised"
        return "reopened" if before is AlertState.CLEARED_ACKNOWLEDGED else "repeated"
    return _WORDS[event]


_WORDS: Final[dict[LifeEvent, What]] = {
    LifeEvent.WORSENED: "worsened",
    LifeEvent.JOINED: "joined",
    LifeEvent.LEFT: "left",
    LifeEvent.ENDED: "ended",
    LifeEvent.DELIVERED: "delivered",
    LifeEvent.ESCALATED: "escalated",
    LifeEvent.ASSIGNED: "assigned",
    LifeEvent.ACKNOWLEDGED: "acknowledged",
    LifeEvent.SUPPRESSED: "suppressed",
    LifeEvent.RESUMED: "resumed",
    LifeEvent.EXPIRED: "closed",
    LifeEvent.CLOSED: "closed",
}


def _climbed(alert: Alert, before: AlertState, event: LifeEvent) -> Alert:
    """Where on the ladder a step leads."""
    if alert.state.is_unacknowledged and not before.is_unacknowledged:
        # The signal begins: from the foot of the ladder.
        return msgspec.structs.replace(alert, rung=0, rung_ns=alert.changed_ns, delivered_ns=None)
    if event is LifeEvent.ESCALATED:
        return msgspec.structs.replace(
            alert, rung=alert.rung + 1, rung_ns=alert.changed_ns, delivered_ns=None
        )
    if event is LifeEvent.DELIVERED:
        return msgspec.structs.replace(alert, delivered_ns=alert.changed_ns)
    return alert


def retimed(alert: Alert, rules: AlertRules) -> Alert:
    """What the clock has to do next under these rules; to be asked again when an alert's rules change."""
    patience = rules.patience_for(alert.priority)
    waits = alert.state.is_unacknowledged and alert.rung + 1 < len(rules.ladder)
    calls = alert.state.is_active or alert.priority in rules.latching
    wait_s = patience.receipt_s if alert.delivered_ns is None else patience.acknowledge_s
    expires = alert.state is AlertState.CLEARED_ACKNOWLEDGED or (
        alert.state is AlertState.CLEARED and alert.priority not in rules.latching
    )
    return msgspec.structs.replace(
        alert,
        escalate_ns=alert.rung_ns + round(wait_s * NS) if waits and calls else None,
        close_ns=alert.changed_ns + round(rules.close_after_s * NS) if expires else None,
        suppressed_until_ns=alert.suppressed_until_ns if alert.state.is_suppressed else None,
    )
