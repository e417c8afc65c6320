"""Routes of alerts: what is open, what somebody does about it, and the rules that decide."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from litestar import get, post, put
from litestar.params import JSONBody, Parameter, PathParameter
from litestar.types import ControllerRouterHandler
from msgspec import Meta

from einthoven.alerts import (
    Alert,
    AlertRules,
    Change,
    acknowledge,
    assign,
    close,
    escalate,
    mark_of,
    resume,
    sign,
    suppress,
)
from einthoven.errors import AccessDenied, InputInvalid, NotFound
from einthoven.names import PSEUDONYM
from einthoven.server import alert_tables
from einthoven.server.access import alerts_seen
from einthoven.server.delivery.outbox import DeadLetter
from einthoven.server.identities import Person
from einthoven.server.ledger_entries import keep_steps
from einthoven.server.reception import Reception
from einthoven.server.requests import Asker, Limit, Parts, PseudonymInPath, Seeing, UserName, instant
from einthoven.server.sql_outbox import dead_letters, revive
from einthoven.storage.database import Statements

__all__ = ["HANDLERS", "AlertSeen", "seen"]

Why = Annotated[str, Meta(max_length=500, description="In a few words.")]
AlertInPath = Annotated[str, PathParameter(pattern="^alt_[0-9a-f]{24}$", description="An alert's id.")]
NotificationInPath = Annotated[
    str, PathParameter(pattern="^msg_[0-9a-f]{32}$", description="A notification's id.")
]


class AlertSeen(msgspec.Struct, frozen=True, rename="camel"):
    """One alert as it is now."""

    id: str
    patient: str
    condition: str
    about: str
    """What a technical condition concerns: a device, a channel."""
    title: str
    priority: str
    mark: str
    is_technical: bool
    state: str
    onset: datetime
    end: datetime | None
    episodes: int
    is_late: bool
    confidence: int
    grade: int
    reason: str
    raised_at: datetime
    changed_at: datetime
    assignee: str
    suppressed_until: datetime | None
    rung: int
    steps: int


class StepSeen(msgspec.Struct, frozen=True, rename="camel"):
    """One step of its life."""

    number: int
    event: str
    before: str
    after: str
    at: datetime
    by: str
    why: str
    detail: str


class AlertDetail(msgspec.Struct, frozen=True, rename="camel"):
    """One alert and its life so far."""

    alert: AlertSeen
    steps: list[StepSeen]


class AlertList(msgspec.Struct, frozen=True, rename="camel"):
    """Open alerts: the urgent first, then the oldest."""

    items: list[AlertSeen]


class Step(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Something that somebody does to an alert."""

    why: Why = ""


class Assignment(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Who is to see to it."""

    to: UserName
    why: Why = ""


class Suppression(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """No signal for a while, for a reason."""

    minutes: Annotated[int, Meta(ge=1, le=7 * 1440)]
    why: Annotated[str, Meta(min_length=1, max_length=500)]


class Closing(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Done with, for a reason."""

    why: Annotated[str, Meta(min_length=1, max_length=500)]


class RulesSeen(msgspec.Struct, frozen=True, rename="camel"):
    """Rules in force, and who signed them; version 0 are the defaults, which nobody signed."""

    rules: AlertRules
    signed_by: str
    signed_at: datetime | None


class LetterSeen(msgspec.Struct, frozen=True, rename="camel"):
    """A notification that was given up."""

    id: str
    channel: str
    alert: str
    """Empty for a heart-beat."""
    made_at: datetime
    attempts: int
    reason: str
    """Of the last failure."""


class LetterList(msgspec.Struct, frozen=True, rename="camel"):
    """Oldest first."""

    items: list[LetterSeen]


class Retried(msgspec.Struct, frozen=True, rename="camel"):
    """It is tried again now."""

    id: str


@get("/v1/alerts")
async def alerts(
    reception: Parts,
    person: Asker,
    sight: Seeing,
    patient: Annotated[str | None, Parameter(pattern=PSEUDONYM, description="Of one patient only.")] = None,
    limit: Limit = 100,
) -> AlertList:
    """Alerts that are not closed: the most urgent first, of those the oldest.

    Whoever asks sees those of the patients that they may see; administrators those that no ECG shows.
    """
    found = await reception.connections.read(
        lambda s: alert_tables.open_alerts(s, person.org, patient, limit, alerts_seen(sight))
    )
    return AlertList([seen(one) for one in found])


@get("/v1/alerts/{alert:str}")
async def alert_detail(reception: Parts, person: Asker, alert: AlertInPath) -> AlertDetail:
    """One alert: what it is, and who did what about it."""

    def question(statements: Statements) -> AlertDetail:
        found = alert_tables.read_alert(statements, person.org, alert)
        steps = alert_tables.read_steps(statements, person.org, alert)
        return AlertDetail(seen(found), [_step(one) for one in steps])

    return await reception.connections.read(question)


@post("/v1/alerts/{alert:str}/acknowledge", status_code=200)
async def acknowledge_alert(
    reception: Parts, person: Asker, alert: AlertInPath, data: JSONBody[Step]
) -> AlertSeen:
    """Somebody has looked: the signal stops, the condition stays."""
    return await _answer(
        reception, person, alert, lambda a, r, at: acknowledge(a, r, at, by=person.user, why=data.why)
    )


@post("/v1/alerts/{alert:str}/assign", status_code=200)
async def assign_alert(
    reception: Parts, person: Asker, alert: AlertInPath, data: JSONBody[Assignment]
) -> AlertSeen:
    """Somebody is to see to it."""
    return await _answer(
        reception, person, alert, lambda a, r, at: assign(a, r, at, to=data.to, by=person.user, why=data.why)
    )


@post("/v1/alerts/{alert:str}/escalate", status_code=200)
async def escalate_alert(
    reception: Parts, person: Asker, alert: AlertInPath, data: JSONBody[Step]
) -> AlertSeen:
    """Tell the next rung of the ladder now, without waiting for the time that this one has."""
    return await _answer(
        reception, person, alert, lambda a, r, at: escalate(a, r, at, by=person.user, why=data.why)
    )


@post("/v1/alerts/{alert:str}/suppress", status_code=200)
async def suppress_alert(
    reception: Parts, person: Asker, alert: AlertInPath, data: JSONBody[Suppression]
) -> AlertSeen:
    """No signal for some minutes, for a reason."""
    return await _answer(
        reception,
        person,
        alert,
        lambda a, r, at: suppress(
            a, r, at, until_ns=at + data.minutes * 60 * 10**9, by=person.user, why=data.why
        ),
    )


@post("/v1/alerts/{alert:str}/resume", status_code=200)
async def resume_alert(
    reception: Parts, person: Asker, alert: AlertInPath, data: JSONBody[Step]
) -> AlertSeen:
    """The suppression ends before its time."""
    return await _answer(
        reception, person, alert, lambda a, r, at: resume(a, r, at, by=person.user, why=data.why)
    )


@post("/v1/alerts/{alert:str}/close", status_code=200)
async def close_alert(
    reception: Parts, person: Asker, alert: AlertInPath, data: JSONBody[Closing]
) -> AlertSeen:
    """Done with, for a reason."""
    return await _answer(
        reception, person, alert, lambda a, r, at: close(a, r, at, by=person.user, why=data.why)
    )


@get("/v1/rules")
async def organisation_rules(reception: Parts, person: Asker) -> RulesSeen:
    """The organisation's alert rules."""
    return await _rules(reception, person, "")


@put("/v1/rules")
async def sign_organisation_rules(reception: Parts, person: Asker, data: JSONBody[AlertRules]) -> RulesSeen:
    """Sign the next version of the organisation's alert rules."""
    return await _sign(reception, person, "", data)


@get("/v1/patients/{patient:str}/rules")
async def patient_rules(reception: Parts, person: Asker, patient: PseudonymInPath) -> RulesSeen:
    """A patient's alert rules; the defaults, if there are none of their own."""
    return await _rules(reception, person, patient)


@put("/v1/patients/{patient:str}/rules")
async def sign_patient_rules(
    reception: Parts, person: Asker, patient: PseudonymInPath, data: JSONBody[AlertRules]
) -> RulesSeen:
    """Sign the next version of a patient's alert rules."""
    return await _sign(reception, person, patient, data)


@get("/v1/dead-letters")
async def dead_letter_list(reception: Parts, person: Asker, limit: Limit = 100) -> LetterList:
    """Notifications that were given up: nobody heard."""
    found = await reception.connections.read(lambda s: dead_letters(s, person.org, limit))
    return LetterList([_letter(one) for one in found])


@post("/v1/dead-letters/{notification:str}/retry", status_code=200)
async def retry_dead_letter(reception: Parts, person: Asker, notification: NotificationInPath) -> Retried:
    """Try a notification that was given up anew."""
    now_ns = reception.clock.utc_ns()
    if not await reception.connections.write(lambda s: revive(s, person.org, notification, now_ns)):
        raise NotFound("there is no such dead letter.", where="notification", remedy="List them.")
    return Retried(notification)


HANDLERS: Final[tuple[ControllerRouterHandler, ...]] = (
    alerts,
    alert_detail,
    acknowledge_alert,
    assign_alert,
    escalate_alert,
    suppress_alert,
    resume_alert,
    close_alert,
    organisation_rules,
    sign_organisation_rules,
    patient_rules,
    sign_patient_rules,
    dead_letter_list,
    retry_dead_letter,
)


async def _answer(
    reception: Reception,
    person: Person,
    alert: str,
    step: Callable[[Alert, AlertRules, int], Change],
) -> AlertSeen:
    """Somebody's step, with all that follows from it, in one transaction."""
    now_ns = reception.clock.utc_ns()

    def change(statements: Statements) -> Change:
        found = alert_tables.read_alert(statements, person.org, alert)
        if found.condition == "emergency_access" and person.role != "admin":
            raise AccessDenied(
                "whether an emergency was one, administrators look into.",
                where="alert",
                remedy="Ask an administrator.",
            )
        rules = alert_tables.rules_for(statements, person.org, found.ruled_by, reception.keys)
        made = step(found, rules, now_ns)
        alert_tables.store(statements, (made,), rules)
        keep_steps(statements, (made,))
        return made

    return seen((await reception.connections.write(change)).alert)


async def _rules(reception: Reception, person: Person, patient: str) -> RulesSeen:
    def question(statements: Statements) -> RulesSeen:
        history = alert_tables.read_history(statements, person.org, patient)
        rules = alert_tables.rules_of(statements, person.org, patient, reception.keys)
        if rules is None:
            return RulesSeen(AlertRules(org=person.org, patient=patient), "", None)
        about = history[-1].signature
        return RulesSeen(rules, about.account, instant(about.signed_ns))

    return await reception.connections.read(question)


async def _sign(reception: Reception, person: Person, patient: str, rules: AlertRules) -> RulesSeen:
    if (rules.org, rules.patient) != (person.org, patient):
        raise InputInvalid(
            "the rules name another organisation or patient.",
            where="rules",
            remedy="Name the one of the path.",
        )
    now_ns = reception.clock.utc_ns()

    def change(statements: Statements) -> RulesSeen:
        history = alert_tables.read_history(statements, person.org, patient)
        signed = sign(
            rules,
            account=person.user,
            role=person.role,
            at_ns=now_ns,
            keys=reception.keys,
            key=max(reception.keys),
            before=history[-1] if history else None,
        )
        alert_tables.add_rules(statements, signed)
        alert_tables.apply_rules(statements, rules)
        return RulesSeen(rules, person.user, instant(now_ns))

    return await reception.connections.write(change)


def _letter(one: DeadLetter) -> LetterSeen:
    return LetterSeen(
        id=one.notification.id,
        channel=one.notification.channel,
        alert=one.notification.alert_id,
        made_at=instant(one.notification.created_ns),
        attempts=one.attempts,
        reason=one.failure.reason,
    )


def seen(one: Alert) -> AlertSeen:
    """An alert as it goes out."""
    return AlertSeen(
        id=one.id,
        patient=one.patient,
        condition=one.condition,
        about=one.about,
        title=one.title,
        priority=one.priority,
        mark=mark_of(one.priority, is_technical=one.is_technical),
        is_technical=one.is_technical,
        state=one.state.value,
        onset=instant(one.onset_ns),
        end=None if one.end_ns is None else instant(one.end_ns),
        episodes=one.episodes,
        is_late=one.is_late,
        confidence=one.confidence,
        grade=one.grade,
        reason=one.reason,
        raised_at=instant(one.raised_ns),
        changed_at=instant(one.changed_ns),
        assignee=one.assignee,
        suppressed_until=None if one.suppressed_until_ns is None else instant(one.suppressed_until_ns),
        rung=one.rung,
        steps=one.steps,
    )


def _step(one: Any) -> StepSeen:
    return StepSeen(
        number=one.number,
        event=one.event.value,
        before=one.before.value,
        after=one.after.value,
        at=instant(one.at_ns),
        by=one.by,
        why=one.why,
        detail=one.detail,
    )
