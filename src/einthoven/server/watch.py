"""What the clock does to alerts, and alerts that no ECG shows: devices that fall silent or send late."""

from collections.abc import Callable, Sequence
from typing import Final

from einthoven.alerts import (
    AlertRules,
    Change,
    Contact,
    DeviceSeen,
    PathPolicy,
    WatchKind,
    heartbeat,
    pass_time,
    receive,
    watch_channel,
    watch_device,
)
from einthoven.server import alert_tables
from einthoven.server.desk import Desk, Raised
from einthoven.server.grant_tables import ended_emergencies
from einthoven.server.granting import watch_end
from einthoven.server.ledger_entries import keep_steps
from einthoven.server.sql_outbox import read_health
from einthoven.storage.database import Connection, Statements

__all__ = ["Watch"]

_MOST: Final = 200
_BITS: Final[dict[WatchKind, int]] = {"device_silent": 1, "data_late": 2}
"""How what was told of a stream stands in its row."""


def _device(
    org: str, patient: str, device: str, seen_ns: int, skew_ns: int, is_over: int, told: int
) -> DeviceSeen:
    kinds = frozenset(kind for kind, bit in _BITS.items() if told & bit)
    return DeviceSeen(org, patient, device, seen_ns, seen_ns - skew_ns, bool(is_over), kinds)


class Watch:
    """Jobs of the alert desk; for one thread.

    Parameters
    ----------
    committed : told what became of alerts, once it is on disk.
    """

    def __init__(
        self, desk: Desk, committed: Callable[[Raised], None], policy: PathPolicy | None = None
    ) -> None:
        self._desk = desk
        self._policy = policy or PathPolicy()
        self._committed = committed

    def pass_clock(self, connection: Connection, now_ns: int) -> int:
        """Climb ladders, end suppressions, close what is over."""
        with connection.reading() as statements:
            if not alert_tables.due_alerts(statements, now_ns, 1):
                return 0
        changes: list[Change] = []
        with connection.writing() as statements:
            self._desk.look(statements)
            for alert in alert_tables.due_alerts(statements, now_ns, _MOST):
                rules = self._desk.rules(statements, alert.org, alert.ruled_by)
                changes += self._keep(statements, pass_time(alert, rules, now_ns), rules)
            keep_steps(statements, changes)
        self._committed(Raised(tuple(changes)))
        return len(changes)

    def look_at_devices(self, connection: Connection, now_ns: int) -> int:
        """Alert of devices that are silent or late, and end that when they are heard of again."""
        with connection.reading() as statements:
            self._desk.look(statements)
            rows = statements.rows(
                "SELECT id, org, patient, device, seen_ns, skew_ns, is_over, told FROM streams"
            )
            news = [
                (stream, seen)
                for stream, seen in ((row[0], _device(*row[1:])) for row in rows)
                if seen.due(self._desk.rules(statements, seen.org, seen.patient), now_ns) != seen.told
            ]
        if not news:
            return 0
        changes: list[Change] = []
        with connection.writing() as statements:
            for stream, seen in news[:_MOST]:
                rules = self._desk.rules(statements, seen.org, seen.patient)
                known = alert_tables.load_patient(statements, seen.org, seen.patient, ())
                sightings = watch_device(known, seen, rules, now_ns)
                known = alert_tables.load_patient(statements, seen.org, seen.patient, sightings)
                changes += self._keep(statements, receive(known, sightings, rules, now_ns), rules)
                told = sum(_BITS[kind] for kind in seen.due(rules, now_ns))
                statements.run("UPDATE streams SET told = ? WHERE id = ?", (told, stream))
            keep_steps(statements, changes)
        self._committed(Raised(tuple(changes)))
        return max(0, len(news) - _MOST)

    def look_at_channels(self, connection: Connection, now_ns: int) -> int:
        """Alert of channels whose deliveries fail or whose receipts stop."""
        with connection.reading() as statements:
            channels = [
                health
                for health in read_health(statements)
                if watch_channel(
                    alert_tables.load_patient(statements, health.org, "", ()), health, self._policy, now_ns
                )
            ]
        if not channels:
            return 0
        changes: list[Change] = []
        with connection.writing() as statements:
            self._desk.look(statements)
            for health in channels:
                rules = self._desk.rules(statements, health.org, "")
                known = alert_tables.load_patient(statements, health.org, "", ())
                sightings = watch_channel(known, health, self._policy, now_ns)
                known = alert_tables.load_patient(statements, health.org, "", sightings)
                changes += self._keep(statements, receive(known, sightings, rules, now_ns), rules)
            keep_steps(statements, changes)
        self._committed(Raised(tuple(changes)))
        return 0

    def look_at_emergencies(self, connection: Connection, now_ns: int) -> int:
        """End what is alerted of emergencies in which somebody saw a patient, and sees no more."""
        with connection.reading() as statements:
            if not ended_emergencies(statements, now_ns, 1):
                return 0
        changes: list[Change] = []
        with connection.writing() as statements:
            self._desk.look(statements)
            for org, grant in ended_emergencies(statements, now_ns, _MOST):
                changes += watch_end(statements, org, grant, self._desk.rules(statements, org, ""), now_ns)
            keep_steps(statements, changes)
        self._committed(Raised(tuple(changes)))
        return 0

    def beat(self, connection: Connection, now_ns: int) -> int:
        """A heart-beat to everybody who stands on a ladder."""
        with connection.writing() as statements:
            self._desk.look(statements)
            told: dict[str, set[Contact]] = {}
            for org, patient in statements.rows("SELECT DISTINCT org, patient FROM alert_rules"):
                rules = self._desk.rules(statements, org, patient)
                contacts = told.setdefault(org, set())
                contacts.update(contact for rung in rules.ladder for contact in rung.contacts)
            beats = [
                heartbeat(org, contact, self._policy.heartbeat_s, now_ns)
                for org, contacts in sorted(told.items())
                for contact in sorted(contacts, key=lambda one: (one.channel, one.address))
            ]
            alert_tables.put_notifications(statements, beats)
        return 0

    @staticmethod
    def _keep(statements: Statements, changes: Sequence[Change], rules: AlertRules) -> Sequence[Change]:
        alert_tables.store(statements, changes, rules)
        return changes
