"""Alerts as rows: loaded for one patient, changed by plain functions, stored; in the caller's transaction."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from einthoven.alerts import (
    Alert,
    AlertEpisode,
    AlertRules,
    Change,
    LifeStep,
    Notification,
    PatientAlerts,
    Sighting,
    SignedRules,
    episodes_needed,
    notify,
    retimed,
    rules_in_force,
)
from einthoven.errors import Conflict, NotFound, RulesRefused
from einthoven.storage.database import Row, Statements, within

__all__ = [
    "add_rules",
    "apply_rules",
    "due_alerts",
    "load_patient",
    "newest_change",
    "open_alerts",
    "open_alerts_of",
    "patients_with_rules",
    "put_notifications",
    "read_alert",
    "read_changes",
    "read_history",
    "read_steps",
    "rules_epoch",
    "rules_for",
    "rules_of",
    "store",
]

_LOG: Final = logging.getLogger("einthoven.alerts")
_PACK = msgspec.msgpack.Encoder()
_ALERT = msgspec.msgpack.Decoder(Alert)
_STEP = msgspec.msgpack.Decoder(LifeStep)
_CHANGE = msgspec.msgpack.Decoder(Change)
_SIGNED = msgspec.msgpack.Decoder(SignedRules)


def load_patient(
    statements: Statements, org: str, patient: str, sightings: Sequence[Sighting]
) -> PatientAlerts:
    """What must be known of a patient to receive these sightings; nobody else changes it until the end.

    Streams of one patient may be written side by side, so the latest alert of each key is locked.
    """
    rows = statements.rows(
        "SELECT content FROM alerts WHERE org = ? AND patient = ? AND number = "
        "(SELECT MAX(number) FROM alerts AS all_of_them WHERE all_of_them.org = alerts.org "
        "AND all_of_them.patient = alerts.patient AND all_of_them.condition = alerts.condition "
        "AND all_of_them.about = alerts.about) ORDER BY condition, about /*lock*/",
        (org, patient),
    )
    latest = {alert.key: alert for alert in (_ALERT.decode(row[0]) for row in rows)}
    episodes: list[AlertEpisode] = []
    for (condition, about), since_ns in episodes_needed(sightings).items():
        if (condition, about) in latest:
            episodes += [
                AlertEpisode(*row)
                for row in statements.rows(
                    "SELECT org, patient, condition, about, onset_ns, end_ns, alert_id FROM alert_episodes "
                    "WHERE org = ? AND patient = ? AND condition = ? AND about = ? "
                    "AND (end_ns IS NULL OR end_ns >= ?)",
                    (org, patient, condition, about, since_ns),
                )
            ]
    return PatientAlerts(org, patient, tuple(latest.values()), tuple(episodes))


def store(statements: Statements, changes: Sequence[Change], rules: AlertRules) -> list[Notification]:
    """Write what happened, and who is to be told of it; `ledger_entries.keep_steps` comes after the last.

    Raises
    ------
    Conflict : somebody else changed the alert in the meantime.
    """
    told: list[Notification] = []
    for change in changes:
        _store_one(statements, change)
        told += notify(change, rules)
    put_notifications(statements, told)
    return told


def _store_one(statements: Statements, change: Change) -> None:
    alert = change.alert
    row = (
        alert.steps,
        alert.urgency,
        int(alert.state.is_open),
        alert.raised_ns,
        alert.due_ns,
        _PACK.encode(alert),
    )
    if alert.steps == 1:
        touched = statements.run(
            "INSERT INTO alerts (steps, urgency, is_open, raised_ns, due_ns, content, "
            "org, patient, condition, about, number, id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            (*row, alert.org, alert.patient, alert.condition, alert.about, alert.number, alert.id),
        )
    else:
        touched = statements.run(
            "UPDATE alerts SET steps = ?, urgency = ?, is_open = ?, raised_ns = ?, due_ns = ?, "
            "content = ? WHERE id = ? AND steps = ?",
            (*row, alert.id, alert.steps - 1),
        )
    if touched != 1:
        raise Conflict("somebody else changed this alert.", where="alert", remedy="Look again, then decide.")
    step = change.step
    statements.run(
        "INSERT INTO alert_steps (org, alert_id, number, at_ns, content) VALUES (?, ?, ?, ?, ?)",
        (step.org, step.alert_id, step.number, step.at_ns, _PACK.encode(step)),
    )
    statements.run(
        "INSERT INTO alert_changes (org, patient, at_ns, content) VALUES (?, ?, ?, ?)",
        (alert.org, alert.patient, step.at_ns, _PACK.encode(change)),
    )
    if change.episode is not None:
        one = change.episode
        statements.run(
            "INSERT INTO alert_episodes (org, patient, condition, about, onset_ns, end_ns, alert_id) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (org, patient, condition, about, onset_ns) "
            "DO UPDATE SET end_ns = excluded.end_ns, alert_id = excluded.alert_id",
            (one.org, one.patient, one.condition, one.about, one.onset_ns, one.end_ns, one.alert_id),
        )


def put_notifications(statements: Statements, told: Iterable[Notification]) -> None:
    """Into the outbox; what is there already stays as it is."""
    statements.run_many(
        "INSERT INTO outbox (id, org, channel, address, alert_id, step, urgency, created_ns, content, state, "
        "attempts, next_ns, holder, result) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'waiting', 0, ?, '', '') "
        "ON CONFLICT (id) DO NOTHING",
        [
            (
                one.id,
                one.org,
                one.channel,
                one.address,
                one.alert_id,
                one.step,
                one.urgency,
                one.created_ns,
                _PACK.encode(one),
                one.created_ns,
            )
            for one in told
        ],
    )


def read_alert(statements: Statements, org: str, alert_id: str) -> Alert:
    """One alert.

    Raises
    ------
    NotFound : none of that id in this organisation.
    """
    rows = statements.rows("SELECT content FROM alerts WHERE org = ? AND id = ? /*lock*/", (org, alert_id))
    if not rows:
        raise NotFound("there is no such alert.", where="alert", remedy="List the alerts.")
    return _ALERT.decode(rows[0][0])


def read_steps(statements: Statements, org: str, alert_id: str) -> list[LifeStep]:
    """The life of an alert so far."""
    rows = statements.rows(
        "SELECT content FROM alert_steps WHERE org = ? AND alert_id = ? ORDER BY number", (org, alert_id)
    )
    return [_STEP.decode(row[0]) for row in rows]


def open_alerts(
    statements: Statements,
    org: str,
    patient: str | None,
    limit: int,
    seen: tuple[str, Sequence[object]] = ("1 = 1", ()),
) -> list[Alert]:
    """Alerts that are not closed: the most urgent first, of those the oldest.

    Parameters
    ----------
    seen : a condition on their rows, and its values; the others are left out.
    """
    which, values = ("", ()) if patient is None else (" AND patient = ?", (patient,))
    rows = statements.rows(
        f"SELECT content FROM alerts WHERE org = ?{which} AND is_open = 1 AND {seen[0]} "  # noqa: S608
        "ORDER BY urgency, raised_ns, id LIMIT ?",
        (org, *values, *seen[1], limit),
    )
    return [_ALERT.decode(row[0]) for row in rows]


def open_alerts_of(
    statements: Statements,
    org: str,
    patients: Sequence[str],
    seen: tuple[str, Sequence[object]] = ("1 = 1", ()),
) -> list[Alert]:
    """Alerts of some patients that are not closed; of those that a condition on their rows leaves."""
    rows = statements.rows(
        within(
            "SELECT content FROM alerts WHERE org = ? AND is_open = 1 AND patient IN (*) "  # noqa: S608
            f"AND {seen[0]} ORDER BY urgency, raised_ns, id",
            len(patients),
        ),
        (org, *patients, *seen[1]),
    )
    return [_ALERT.decode(row[0]) for row in rows]


def due_alerts(statements: Statements, now_ns: int, limit: int) -> list[Alert]:
    """Alerts with which the clock has something to do."""
    rows = statements.rows(
        "SELECT content FROM alerts WHERE due_ns <= ? ORDER BY due_ns LIMIT ? /*lock*/", (now_ns, limit)
    )
    return [_ALERT.decode(row[0]) for row in rows]


def newest_change(statements: Statements, org: str) -> int:
    """Number of the newest change in an organisation; 0 if there is none."""
    return int(statements.rows("SELECT COALESCE(MAX(id), 0) FROM alert_changes WHERE org = ?", (org,))[0][0])


def read_changes(statements: Statements, org: str, after: int, limit: int) -> list[tuple[int, Change]]:
    """What happened to an organisation's alerts behind change number ``after``, in order."""
    rows: list[Row] = statements.rows(
        "SELECT id, content FROM alert_changes WHERE org = ? AND id > ? ORDER BY id LIMIT ?",
        (org, after, limit),
    )
    return [(row[0], _CHANGE.decode(row[1])) for row in rows]


# ------------------------------------------------------------------- rules


def rules_epoch(statements: Statements) -> int:
    """A number that changes whenever alert rules do."""
    return int(statements.rows("SELECT version FROM epochs WHERE name = 'alert_rules'")[0][0])


def patients_with_rules(statements: Statements) -> set[tuple[str, str]]:
    """Organisation and pseudonym of all for whom rules were signed; the empty one is the organisation's."""
    return {(row[0], row[1]) for row in statements.rows("SELECT DISTINCT org, patient FROM alert_rules")}


def read_history(statements: Statements, org: str, patient: str) -> list[SignedRules]:
    """All versions of a patient's rules, oldest first; of the organisation's for the empty pseudonym."""
    rows = statements.rows(
        "SELECT content FROM alert_rules WHERE org = ? AND patient = ? ORDER BY version", (org, patient)
    )
    return [_SIGNED.decode(row[0]) for row in rows]


def add_rules(statements: Statements, signed: SignedRules) -> None:
    """Put the next version in force.

    Raises
    ------
    Conflict : somebody else was faster with this version.
    """
    about = signed.signature
    touched = statements.run(
        "INSERT INTO alert_rules (org, patient, version, content) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (about.org, about.patient, about.version, _PACK.encode(signed)),
    )
    if touched != 1:
        raise Conflict(
            "somebody else put this version in force.", where="version", remedy="Read it, then change it."
        )
    statements.run("UPDATE epochs SET version = version + 1 WHERE name = 'alert_rules'")


def rules_of(statements: Statements, org: str, patient: str, keys: Mapping[str, bytes]) -> AlertRules | None:
    """A patient's own rules, or for the empty pseudonym the organisation's; None if nobody signed any.

    Raises
    ------
    RulesRefused : they do not verify.
    """
    return rules_in_force(read_history(statements, org, patient), keys, org=org, patient=patient)


def rules_for(statements: Statements, org: str, patient: str, keys: Mapping[str, bytes]) -> AlertRules:
    """What holds for a patient: their own rules, else the organisation's, else the defaults.

    Rules that do not verify do not hold: somebody altered them. Alerts go on under the next best.
    """
    for one in (patient, "") if patient else ("",):
        try:
            found = rules_of(statements, org, one, keys)
        except RulesRefused as error:
            _LOG.error("alert rules do not verify; the next best hold", extra={"code": error.code})
            continue
        if found is not None:
            return found
    return AlertRules(org=org)


def apply_rules(statements: Statements, rules: AlertRules) -> None:
    """Reckon anew what the clock has to do with the open alerts that new rules concern."""
    own = (
        "SELECT content FROM alerts WHERE org = ? AND is_open = 1 AND patient = ? "
        "AND condition <> 'emergency_access' ORDER BY id /*lock*/"
    )
    others = (
        "SELECT content FROM alerts WHERE org = ? AND is_open = 1 AND (condition = 'emergency_access' "
        "OR patient NOT IN (SELECT patient FROM alert_rules WHERE org = ?)) ORDER BY id /*lock*/"
    )
    sql, of = (own, rules.patient) if rules.patient else (others, rules.org)
    rows = statements.rows(sql, (rules.org, of))
    for row in rows:
        alert = retimed(_ALERT.decode(row[0]), rules)
        statements.run(
            "UPDATE alerts SET due_ns = ?, content = ? WHERE id = ?",
            (alert.due_ns, _PACK.encode(alert), alert.id),
        )
