"""What is told of a change, and to whom: rows of the outbox, written in the change's own transaction."""

import hashlib
from datetime import UTC, datetime
from typing import Final

import msgspec

from einthoven.alerts.alert import Alert, Change, What
from einthoven.alerts.rules import AlertRules, Contact, choice_of
from einthoven.alerts.sightings import NS, PRIORITIES, AlertKind, AlertPriority, mark_of

__all__ = [
    "NO_RUNG",
    "AlertMessage",
    "Heartbeat",
    "Notification",
    "Recipient",
    "heartbeat",
    "instant",
    "notify",
]

Recipient = tuple[str, str, str]
"""Organisation, channel, address: who may be slow."""
NO_RUNG: Final = -1
"""The rung of those who are on none: what they take is no sign that anybody on the ladder heard."""
_SIGNALS: Final[tuple[What, ...]] = ("raised", "repeated", "reopened", "worsened", "resumed", "escalated")


def instant(ns: int) -> str:
    """RFC 3339, UTC, to the millisecond."""
    return (
        datetime.fromtimestamp(ns // NS, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        + f".{ns // 1_000_000 % 1000:03d}Z"
    )


class AlertMessage(msgspec.Struct, frozen=True, rename="camel", tag="alert", tag_field="kind"):
    """What a receiver is told of an alert. It knows the patient by pseudonym only."""

    what: What
    org: str
    alert_id: str
    step: int
    patient: str
    """Pseudonym."""
    condition: AlertKind
    about: str
    title: str
    priority: AlertPriority
    is_technical: bool
    mark: str
    state: str
    onset: str
    end: str | None
    is_late: bool
    episodes: int
    confidence: int
    grade: int
    reason: str
    rung: int
    assignee: str
    at: str
    """When it changed."""


class Heartbeat(msgspec.Struct, frozen=True, rename="camel", tag="heartbeat", tag_field="kind"):
    """Nothing happened, and the path works; a receiver that misses it knows that the path is broken."""

    org: str
    every_s: float
    at: str


class Notification(msgspec.Struct, frozen=True):
    """One message to one recipient: a row of the outbox."""

    id: str
    """The same for the same change and recipient; receivers drop what they have seen."""
    org: str
    channel: str
    address: str
    alert_id: str
    """Empty for a heart-beat."""
    step: int
    rung: int
    """Of the ladder, so that a receipt counts for it; `NO_RUNG` for a heart-beat."""
    urgency: int
    """0 is most urgent; the order in which a full outbox is emptied."""
    created_ns: int
    content: AlertMessage | Heartbeat

    @property
    def recipient(self) -> Recipient:
        """Who is to get it."""
        return (self.org, self.channel, self.address)

    @property
    def lane(self) -> tuple[str, str, str, str]:
        """What is delivered in order, one after the other: an alert to a recipient."""
        return (*self.recipient, self.alert_id)


def notify(change: Change, rules: AlertRules) -> tuple[Notification, ...]:
    """The notifications of one change, each recipient once.

    Those on the ladder hear when the signal begins, when it climbs to them, of what is found late, and of the
    end where the rules say so.
    """
    broken = change.alert.about if change.alert.condition == "alert_path_broken" else None
    told = {(one.channel, one.address): rung for rung, one in _on_ladder(change, rules, broken)}
    message = _message(change)
    return tuple(
        _notification(change.alert, message, channel, address, rung)
        for (channel, address), rung in told.items()
    )


def _on_ladder(change: Change, rules: AlertRules, broken: str | None) -> list[tuple[int, Contact]]:
    """Who hears of the change, with the rung for which their receipt counts; nobody on a broken channel."""
    rungs = [
        [(number, contact) for contact in rung.contacts if contact.channel != broken]
        for number, rung in enumerate(rules.ladder)
    ]
    last = change.alert.rung
    if not _is_heard(change, rules):
        return []
    first = last if change.what == "escalated" else 0
    heard = [one for rung in rungs[first : last + 1] for one in rung]
    if not heard:
        # The whole rung hangs on the broken channel: the next that does not is told in its place.
        instead = next((rung for rung in rungs[last + 1 :] if rung), [])
        heard = [(last, contact) for _, contact in instead]
    return heard


def _is_heard(change: Change, rules: AlertRules) -> bool:
    """Whether those on the ladder hear of it."""
    if change.what == "ended":
        return (
            bool(choice_of(rules, change.alert.condition).tells_end) and not change.alert.state.is_suppressed
        )
    if change.what == "repeated" and change.step.detail != "late":
        # The signal is on.
        return False
    return change.alert.state.is_unacknowledged and change.what in _SIGNALS


def _message(change: Change) -> AlertMessage:
    alert = change.alert
    return AlertMessage(
        what=change.what,
        org=alert.org,
        alert_id=alert.id,
        step=alert.steps,
        patient=alert.patient,
        condition=alert.condition,
        about=alert.about,
        title=alert.title,
        priority=alert.priority,
        is_technical=alert.is_technical,
        mark=mark_of(alert.priority, is_technical=alert.is_technical),
        state=alert.state.value,
        onset=instant(alert.onset_ns),
        end=None if alert.end_ns is None else instant(alert.end_ns),
        is_late=alert.is_late or change.step.detail == "late",
        episodes=alert.episodes,
        confidence=alert.confidence,
        grade=alert.grade,
        reason=alert.reason,
        rung=alert.rung,
        assignee=alert.assignee,
        at=instant(change.step.at_ns),
    )


def _notification(alert: Alert, message: AlertMessage, channel: str, address: str, rung: int) -> Notification:
    return Notification(
        id=_id(alert.id, alert.steps, channel, address),
        org=alert.org,
        channel=channel,
        address=address,
        alert_id=alert.id,
        step=alert.steps,
        rung=rung,
        urgency=alert.urgency,
        created_ns=alert.changed_ns,
        content=message,
    )


def heartbeat(org: str, contact: Contact, every_s: float, at_ns: int) -> Notification:
    """The heart-beat of a channel; within one period it is always the same one."""
    beat = at_ns // max(1, round(every_s * NS))
    return Notification(
        id=_id(f"heartbeat/{org}/{every_s:g}", beat, contact.channel, contact.address),
        org=org,
        channel=contact.channel,
        address=contact.address,
        alert_id="",
        step=beat,
        rung=NO_RUNG,
        urgency=_LEAST_URGENT,
        created_ns=at_ns,
        content=Heartbeat(org=org, every_s=every_s, at=instant(at_ns)),
    )


_LEAST_URGENT: Final = 2 * len(PRIORITIES)


def _id(name: str, number: int, channel: str, address: str) -> str:
    digest = hashlib.sha256(msgspec.json.encode((name, number, channel, address)))
    return "msg_" + digest.hexdigest()[:32]
