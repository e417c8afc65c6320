"""Builders of alerts: what does not matter to a test is filled in."""

from typing import Any

import msgspec

from einthoven.alerts import (
    Alert,
    AlertRules,
    Change,
    Contact,
    LifeEvent,
    PatientAlerts,
    Rung,
    Sighting,
    receive,
)
from einthoven.alerts.alert import advance

__all__ = ["a_ladder", "a_raised_alert", "a_sighting", "after_event"]

SECOND_NS = 1_000_000_000


def a_sighting(onset_s: float = 10.0, end_s: float | None = None, **facts: Any) -> Sighting:
    """Asystole in stream 1, unless told otherwise; times in seconds since the epoch."""
    onset_ns = round(onset_s * SECOND_NS)
    end_ns = None if end_s is None else round(end_s * SECOND_NS)
    is_of_stream = facts.get("path", "online") == "online"
    known: dict[str, Any] = {
        "condition": "asystole",
        "priority": "high",
        "is_technical": False,
        "onset_ns": onset_ns,
        "end_ns": end_ns,
        "until_ns": onset_ns + 5 * SECOND_NS if end_ns is None else end_ns,
        "stream": 1 if is_of_stream else None,
    }
    return Sighting(**{**known, **facts})


def a_ladder(*rungs: str, channel: str = "webhook") -> tuple[Rung, ...]:
    """Rungs of one contact each."""
    return tuple(Rung((Contact(channel, rung),)) for rung in rungs)


def a_raised_alert(rules: AlertRules | None = None, at_s: float = 15.0, **facts: Any) -> Change:
    """The change that raises an alert of one sighting."""
    rules = rules or AlertRules()
    known = PatientAlerts(rules.org, "p-1")
    return receive(known, (a_sighting(**facts),), rules, round(at_s * SECOND_NS))[0]


def after_event(alert: Alert, event: LifeEvent, rules: AlertRules | None = None, at_s: float = 20.0) -> Alert:
    """The alert once this has happened, with whatever it needs."""
    at_ns = round(at_s * SECOND_NS)
    if event is LifeEvent.SUPPRESSED:
        alert = msgspec.structs.replace(alert, suppressed_until_ns=at_ns + 600 * SECOND_NS)
    return advance(alert, event, rules or AlertRules(), at_ns, by="test").alert
