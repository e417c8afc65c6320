"""The alert desk: what the engine's findings raise, inside the engine's own transaction."""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from einthoven.alerts import (
    AlertRules,
    Change,
    Notification,
    end_all,
    receive,
    sightings_of,
)
from einthoven.server import alert_tables
from einthoven.server.ledger_entries import keep_steps
from einthoven.server.stream_plans import Recorded
from einthoven.signal.findings import Condition
from einthoven.signal.rules import Criteria
from einthoven.storage.database import Statements

__all__ = ["Desk", "Raised", "limits_of"]

_STREAMS_MAX = 50_000


class Raised(msgspec.Struct, frozen=True, eq=False):
    """What one transaction did to alerts."""

    changes: tuple[Change, ...] = ()
    notifications: tuple[Notification, ...] = ()
    told: dict[int, tuple[Condition, ...]] = {}
    """What each stream said."""


class Desk:
    """Knows the rules in force and what was told last; for one thread.

    Parameters
    ----------
    keys : keys of signatures, by name.
    told : hears of what happened to alerts, once it is on disk.
    """

    def __init__(
        self, keys: Mapping[str, bytes], told: Callable[[Raised], None] = lambda _raised: None
    ) -> None:
        self._keys = keys
        self._tell = told
        self._epoch = -1
        self._own: set[tuple[str, str]] = set()
        """Organisation and patient for whom rules were signed."""
        self._rules: dict[tuple[str, str], AlertRules] = {}
        self._told: dict[int, tuple[Condition, ...]] = {}

    def look(self, statements: Statements) -> None:
        """Notice new rules; called with each batch."""
        epoch = alert_tables.rules_epoch(statements)
        if epoch != self._epoch:
            self._own = alert_tables.patients_with_rules(statements)
            self._rules.clear()
            self._told.clear()
            self._epoch = epoch

    def criteria(self, statements: Statements, org: str, patient: str) -> Criteria:
        """Limits of the rhythm rules for a patient."""
        return self.rules(statements, org, patient).limits

    def rules(self, statements: Statements, org: str, patient: str) -> AlertRules:
        """What holds for a patient; see `einthoven.server.alert_tables.rules_for`."""
        key = (org, patient) if (org, patient) in self._own else (org, "")
        found = self._rules.get(key)
        if found is None:
            found = self._rules[key] = alert_tables.rules_for(statements, *key, self._keys)
        return found

    def follow(self, statements: Statements, found: Sequence[Recorded]) -> Raised:
        """Alerts of what was found; part of the transaction."""
        changes: list[Change] = []
        notifications: list[Notification] = []
        told: dict[int, tuple[Condition, ...]] = {}
        for one in found:
            conditions = one.findings.conditions
            rules = self.rules(statements, one.org, one.patient)
            is_border = one.is_last or one.is_anew
            if not is_border and one.stream not in told and self._is_told(one.stream, conditions, rules):
                continue
            these = self._receive(statements, one, rules)
            notifications += alert_tables.store(statements, these, rules)
            changes += these
            told[one.stream] = conditions
        keep_steps(statements, changes)
        return Raised(tuple(changes), tuple(notifications), told)

    @staticmethod
    def _receive(statements: Statements, one: Recorded, rules: AlertRules) -> tuple[Change, ...]:
        findings = one.findings
        sightings = sightings_of(
            findings.conditions,
            fs=findings.fs,
            start_ns=one.start_ns,
            until=findings.until,
            stream=one.stream,
            is_over=one.is_last,
        )
        if not sightings and not one.is_anew:
            return ()
        known = alert_tables.load_patient(statements, one.org, one.patient, sightings)
        ended: tuple[Change, ...] = ()
        if one.is_anew:
            why = "the stream began anew"
            ended = end_all(known, rules, one.received_ns, stream=one.stream, end_ns=one.start_ns, why=why)
        return ended + receive(known.after(ended), sightings, rules, one.received_ns)

    def committed(self, raised: Raised) -> None:
        """It is on disk; only now it counts as told."""
        self._told.update(raised.told)
        if len(self._told) > _STREAMS_MAX:
            self._told.clear()
        if raised.changes:
            self._tell(raised)

    def _is_told(self, stream: int, conditions: tuple[Condition, ...], rules: AlertRules) -> bool:
        """Whether this is word for word what the stream said last; then nothing can follow from it.

        With a delay in the rules time alone can make an alert of what goes on.
        """
        if not conditions:
            return True
        is_delayed = any(choice.delay_s for choice in rules.choices.values())
        return not is_delayed and self._told.get(stream) == conditions


def limits_of(desk: Desk) -> Callable[[Statements, str, str], Criteria]:
    """Limits of the rhythm rules for a patient, as they are in force when they are asked."""

    def limits(statements: Statements, org: str, patient: str) -> Criteria:
        desk.look(statements)
        return desk.criteria(statements, org, patient)

    return limits
