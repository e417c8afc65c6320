"""What time does to an alert: climb a rung, end a suppression, expire. The time is given."""

from einthoven.alerts.alert import Alert, Change, advance
from einthoven.alerts.lifecycle import LifeEvent
from einthoven.alerts.rules import AlertRules

__all__ = ["pass_time"]


def pass_time(alert: Alert, rules: AlertRules, at_ns: int) -> tuple[Change, ...]:
    """The one step that is due, if any. Call it for alerts whose ``due_ns`` has come; again changes nothing.

    A rung is climbed once, however late it is noticed, and the next waits its whole time.
    """
    if _has_come(alert.suppressed_until_ns, at_ns):
        return (advance(alert, LifeEvent.RESUMED, rules, at_ns, by="clock", why="the time is over"),)
    if _has_come(alert.escalate_ns, at_ns):
        if alert.rung + 1 >= len(rules.ladder):
            return ()
        why = "no delivery receipt" if alert.delivered_ns is None else "no acknowledgement"
        climbs = str(alert.rung + 1)
        return (advance(alert, LifeEvent.ESCALATED, rules, at_ns, by="clock", why=why, detail=climbs),)
    if _has_come(alert.close_ns, at_ns):
        return (advance(alert, LifeEvent.EXPIRED, rules, at_ns, by="clock", why="over for long enough"),)
    return ()


def _has_come(time_ns: int | None, at_ns: int) -> bool:
    return time_ns is not None and time_ns <= at_ns
