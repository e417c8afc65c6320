"""The ward as it stands: what every patient's streams just said, and which of their alerts are open.

A page reads it once and is then told of what changes (`einthoven.server.events`). Of each stream the newest
answer counts that was given.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec

from einthoven.alerts import Alert
from einthoven.server import alert_tables
from einthoven.server.access import alerts_seen
from einthoven.server.grant_tables import Sight, rule_of
from einthoven.server.requests import instant
from einthoven.server.wire import Grades
from einthoven.signal.findings import Condition, HeartRate
from einthoven.storage.database import Row, Statements, within

__all__ = ["StreamNow", "WardPage", "changed_streams", "read_ward", "without_findings"]

Readable = Literal["all", "qrs", "none"]
_READABLE: Final[tuple[Readable, ...]] = ("all", "qrs", "none")


class StreamNow(msgspec.Struct, frozen=True, rename="camel"):
    """What one device's stream just said."""

    device: str
    patient: str
    lead: str
    last_seen: datetime
    """When its newest segment arrived."""
    clock_skew_s: float
    """How much later that was than its last sample was taken, by the device's clock."""
    waiting: int
    """Segments that were accepted and are not analysed yet."""
    missing: int
    """Segments that were skipped and did not come."""
    is_over: bool
    region: str | None
    """The region that its segments are planned to be analysed in; null for the service itself."""
    refused: str | None
    """Why no region answers it in time, where that is so."""
    heart_rate: float | None = None
    """Mean of the newest span, beats/min; null where nothing could be counted."""
    readable: Readable | None = None
    """What most of the newest seconds show: all waves, QRS only, or nothing."""
    conditions: tuple[str, ...] = ()
    """Kinds of what goes on."""


class WardPage(msgspec.Struct, frozen=True):
    """Streams and open alerts of some patients, by pseudonym."""

    patients: list[str]
    """The empty one stands for what concerns the organisation."""
    streams: list[StreamNow]
    alerts: list[Alert]
    newest: int
    """Number of the newest change of alerts that is in it."""
    next: str | None
    """The last pseudonym of this page, if there are more."""


class _Glimpse(msgspec.Struct, frozen=True, rename="camel"):
    """What a ward shows of an answer."""

    heart_rate: HeartRate | None = None
    quality: Grades | None = None
    conditions: tuple[Condition, ...] = ()


_GLIMPSE: Final = msgspec.msgpack.Decoder(_Glimpse)
_NOW: Final = (
    "SELECT t.id, t.version, t.device, t.patient, t.lead, t.seen_ns, t.skew_ns, t.waiting, "
    "(SELECT COALESCE(SUM(g.last - g.first + 1), 0) FROM gaps g WHERE g.stream = t.id), "
    "t.is_over, t.region, t.refused, s.answer FROM streams t "
    "LEFT JOIN segments s ON s.stream = t.id AND s.sequence = t.next_sequence - 1 WHERE "
)
_TOGETHER: Final = 500


def read_ward(
    statements: Statements,
    sight: Sight,
    *,
    patient: str | None = None,
    after: str | None = None,
    limit: int,
) -> WardPage:
    """A page of the ward, in one consistent view.

    Parameters
    ----------
    sight : whose streams are seen; of alerts those are seen that the organisation's rule says.
    patient : this one only.
    after : the last pseudonym of the page before.
    """
    org = sight.org
    newest = alert_tables.newest_change(statements, org)
    of_alerts = alerts_seen(msgspec.structs.replace(sight, rule=rule_of(statements, org)))
    patients = [patient] if patient is not None else _patients(statements, sight, of_alerts, after, limit + 1)
    of_streams = sight.of("findings", "t.patient")
    shown = patients[:limit]
    streams: list[StreamNow] = []
    alerts: list[Alert] = []
    for first in range(0, len(shown), _TOGETHER):
        some = shown[first : first + _TOGETHER]
        sql = within(
            f"{_NOW}t.org = ? AND t.patient IN (*) AND {of_streams[0]} ORDER BY t.patient, t.device",
            len(some),
        )
        streams += [_stream(row) for row in statements.rows(sql, (org, *some, *of_streams[1]))]
        alerts += alert_tables.open_alerts_of(statements, org, some, of_alerts)
    return WardPage(shown, streams, alerts, newest, shown[-1] if patients[limit:] else None)


def changed_streams(
    statements: Statements, org: str, known: Mapping[int, int], since_ns: int
) -> tuple[dict[int, int], list[StreamNow]]:
    """Versions of streams that were heard of since a time, and those that are not as they were known."""
    versions: dict[int, int] = dict(
        statements.rows("SELECT id, version FROM streams WHERE org = ? AND seen_ns >= ?", (org, since_ns))
    )
    changed = [id_ for id_, version in versions.items() if known.get(id_) != version]
    found: list[StreamNow] = []
    for first in range(0, len(changed), _TOGETHER):
        some = changed[first : first + _TOGETHER]
        rows = statements.rows(within(f"{_NOW}t.id IN (*)", len(some)), some)
        found += [_stream(row) for row in rows]
    return versions, found


def without_findings(streams: Sequence[StreamNow]) -> list[StreamNow]:
    """The same for those who look after devices and not after patients."""
    return [msgspec.structs.replace(one, heart_rate=None, readable=None, conditions=()) for one in streams]


def _patients(
    statements: Statements,
    sight: Sight,
    of_alerts: tuple[str, tuple[object, ...]],
    after: str | None,
    limit: int,
) -> list[str]:
    beyond = "patient >= ?" if after is None else "patient > ?"
    of_streams = sight.of("findings")
    rows = statements.rows(
        f"SELECT patient FROM streams WHERE org = ? AND {beyond} AND {of_streams[0]} UNION "  # noqa: S608
        f"SELECT patient FROM alerts WHERE org = ? AND is_open = 1 AND {beyond} AND {of_alerts[0]} "
        "ORDER BY patient LIMIT ?",
        (sight.org, after or "", *of_streams[1], sight.org, after or "", *of_alerts[1], limit),
    )
    return [row[0] for row in rows]


def _stream(row: Row) -> StreamNow:
    _, _, device, patient, lead, seen_ns, skew_ns, waiting, missing, is_over, region, refused, answer = row
    glimpse = _GLIMPSE.decode(answer) if answer is not None else _Glimpse()
    grades = glimpse.quality.grades if glimpse.quality else (0, 0, 0)
    return StreamNow(
        device=device,
        patient=patient,
        lead=lead,
        last_seen=instant(seen_ns),
        clock_skew_s=round(skew_ns / 1e9, 3),
        waiting=waiting,
        missing=int(missing),
        is_over=bool(is_over),
        region=region or None,
        refused=refused or None,
        heart_rate=glimpse.heart_rate.mean if glimpse.heart_rate else None,
        readable=_READABLE[grades.index(max(grades))] if any(grades) else None,
        conditions=tuple(
            sorted({one.condition for one in glimpse.conditions if one.end is None and one.action == "alert"})
        ),
    )
