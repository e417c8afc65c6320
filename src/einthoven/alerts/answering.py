"""What people do to an alert (acknowledge, assign, escalate, suppress, resume, close), and receipts."""

import msgspec

from einthoven.alerts.alert import Alert, Change, advance, episode_of
from einthoven.alerts.lifecycle import LifeEvent
from einthoven.alerts.rules import AlertRules
from einthoven.alerts.sightings import NS
from einthoven.errors import AlertStepRefused

__all__ = ["acknowledge", "assign", "close", "delivered", "escalate", "resume", "suppress"]

_SUPPRESSED_MOST_NS = 7 * 86_400 * NS


def acknowledge(alert: Alert, rules: AlertRules, at_ns: int, *, by: str, why: str = "") -> Change:
    """Somebody has looked: the signal stops, the condition stays.

    Raises
    ------
    AlertStepRefused : it was acknowledged before, or is closed.
    """
    return advance(alert, LifeEvent.ACKNOWLEDGED, rules, at_ns, by=by, why=why)


def assign(alert: Alert, rules: AlertRules, at_ns: int, *, to: str, by: str, why: str = "") -> Change:
    """Somebody is to see to it; the signal goes on until it is acknowledged.

    Raises
    ------
    AlertStepRefused : it is closed.
    """
    assigned = msgspec.structs.replace(alert, assignee=to)
    return advance(assigned, LifeEvent.ASSIGNED, rules, at_ns, by=by, why=why, detail=to)


def escalate(alert: Alert, rules: AlertRules, at_ns: int, *, by: str, why: str = "") -> Change:
    """The next rung is told now, whatever time this one has left.

    Raises
    ------
    AlertStepRefused : nobody stands above, somebody has acknowledged it, or it is closed.
    """
    if alert.rung + 1 >= len(rules.ladder):
        raise AlertStepRefused(
            "the ladder has no higher rung.", where="alert", remedy="Sign alert rules with one more rung."
        )
    climbs = str(alert.rung + 1)
    return advance(alert, LifeEvent.ESCALATED, rules, at_ns, by=by, why=why, detail=climbs)


def suppress(alert: Alert, rules: AlertRules, at_ns: int, *, until_ns: int, by: str, why: str) -> Change:
    """The signal is off until some time, at most a week ahead, for a reason.

    Raises
    ------
    AlertStepRefused : no reason, a time that is past or too far, or the alert is closed.
    """
    _reasoned(why)
    if not at_ns < until_ns <= at_ns + _SUPPRESSED_MOST_NS:
        raise AlertStepRefused(
            "an alert is suppressed until a time that comes within a week.",
            where="until",
            remedy="Give a time in the next seven days.",
        )
    off = msgspec.structs.replace(alert, suppressed_until_ns=until_ns)
    return advance(off, LifeEvent.SUPPRESSED, rules, at_ns, by=by, why=why, detail=str(until_ns))


def resume(alert: Alert, rules: AlertRules, at_ns: int, *, by: str, why: str = "") -> Change:
    """The suppression ends before its time.

    Raises
    ------
    AlertStepRefused : it is not suppressed.
    """
    return advance(alert, LifeEvent.RESUMED, rules, at_ns, by=by, why=why)


def close(alert: Alert, rules: AlertRules, at_ns: int, *, by: str, why: str) -> Change:
    """Done with, for a reason: seen to, false, device taken off. What goes on is not told again.

    Raises
    ------
    AlertStepRefused : no reason, nobody has acknowledged it, or it is closed.
    """
    _reasoned(why)
    if alert.end_ns is None:
        ended = msgspec.structs.replace(alert, end_ns=max(at_ns, alert.onset_ns), shown=())
        return advance(ended, LifeEvent.CLOSED, rules, at_ns, by=by, why=why, episode=episode_of(ended))
    return advance(alert, LifeEvent.CLOSED, rules, at_ns, by=by, why=why)


def delivered(alert: Alert, rules: AlertRules, at_ns: int, *, rung: int, receipt: str) -> tuple[Change, ...]:
    """A receipt came for what a rung was told; only the first from the rung that was told last is a step."""
    is_first = alert.state.is_open and rung == alert.rung and alert.delivered_ns is None
    if not is_first:
        return ()
    return (advance(alert, LifeEvent.DELIVERED, rules, at_ns, by="receipt", why=receipt, detail=str(rung)),)


def _reasoned(why: str) -> None:
    if not why.strip():
        raise AlertStepRefused("this step needs a reason.", where="why", remedy="Say why, in a few words.")
