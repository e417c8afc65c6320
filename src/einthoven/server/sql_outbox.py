"""The outbox as a table: what is to be told is written with the alert, and taken out when it was received."""

import logging
import secrets
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import msgspec

from einthoven.alerts import ChannelHealth, Failure, Notification, Receipt, delivered
from einthoven.alerts.notifications import Recipient
from einthoven.errors import Conflict
from einthoven.server import alert_tables
from einthoven.server.connections import Connections
from einthoven.server.delivery.outbox import DeadLetter, Due
from einthoven.server.ledger_entries import keep_steps
from einthoven.storage.database import Database, Row, Statements

__all__ = ["SqlOutbox", "dead_letters", "forget_heartbeats", "read_health", "revive"]

_LOG: Final = logging.getLogger("einthoven.outbox")
_NS: Final = 10**9
_PACK: Final = msgspec.msgpack.Encoder()
_NOTIFICATION: Final = msgspec.msgpack.Decoder(Notification)
_HEALTH: Final = msgspec.msgpack.Decoder(ChannelHealth)
_LETTERS: Final = 10_000
_CLAIM: Final = (
    "SELECT id, content, attempts FROM outbox WHERE state = 'waiting' AND next_ns <= ? AND id IN "
    "(SELECT id FROM (SELECT id, urgency, created_ns, ROW_NUMBER() OVER "
    "(PARTITION BY org, channel, address ORDER BY urgency, created_ns, id) AS place "
    "FROM outbox WHERE state = 'waiting' AND next_ns <= ? {others}AND NOT EXISTS "
    "(SELECT 1 FROM outbox AS earlier WHERE earlier.state = 'waiting' AND earlier.org = outbox.org "
    "AND earlier.channel = outbox.channel AND earlier.address = outbox.address "
    "AND earlier.alert_id = outbox.alert_id AND earlier.step < outbox.step)) AS heads "
    "WHERE place <= ? ORDER BY urgency, created_ns, id LIMIT ?) "
    "ORDER BY urgency, created_ns, id LIMIT ? /*lock*/"
)
"""The first of each lane, ranked among its recipient's, so that no recipient hides the others; then those
that nobody else took meanwhile."""
_CANDIDATES: Final = 4
"""So many times the limit is looked at, since others claim at the same time."""
_WAITING_MAX: Final = 4096
"""A receipt that is not kept is a message that is sent twice: more than the deliveries under way."""
_OTHERS: Final = "AND (org, channel, address) NOT IN (VALUES {full}) "


class SqlOutbox:
    """See `einthoven.server.delivery.Outbox`.

    Parameters
    ----------
    keys : of signatures of alert rules, by name.
    """

    def __init__(self, database: Database, keys: Mapping[str, bytes]) -> None:
        self._connections = Connections(database, 2, "outbox", waiting_max=_WAITING_MAX)
        self._keys = keys

    def close(self) -> None:
        """End the conversations."""
        self._connections.close()

    async def add(self, notifications: Iterable[Notification]) -> None:
        """See `Outbox`."""
        these = list(notifications)
        await self._connections.write(lambda s: alert_tables.put_notifications(s, these))

    async def claim(
        self, at_ns: int, *, lease_s: float, limit: int, most_each: int, full: Collection[Recipient]
    ) -> list[Due]:
        """See `Outbox`."""
        until_ns = at_ns + round(lease_s * _NS)
        others = _OTHERS.format(full=", ".join(["(?, ?, ?)"] * len(full))) if full else ""
        sql = _CLAIM.format(others=others)
        values = (
            at_ns,
            at_ns,
            *(word for one in full for word in one),
            most_each,
            limit * _CANDIDATES,
            limit,
        )

        def change(statements: Statements) -> list[Due]:
            claimed: list[Due] = []
            for id_, content, attempts in statements.rows(sql, values):
                claim = secrets.token_hex(8)
                statements.run(
                    "UPDATE outbox SET next_ns = ?, holder = ? WHERE id = ?", (until_ns, claim, id_)
                )
                claimed.append(Due(_NOTIFICATION.decode(content), attempts, claim))
            return claimed

        if not await self._connections.read(lambda s: _is_due(s, at_ns)):
            return []
        return await self._connections.write(change)

    async def done(self, due: Due, receipt: Receipt) -> None:
        """See `Outbox`; the alert takes its step in the same transaction."""
        one = due.notification

        def change(statements: Statements) -> None:
            touched = statements.run(
                "UPDATE outbox SET state = 'done', ended_ns = ?, holder = '', result = ? "
                "WHERE id = ? AND state <> 'done'",
                (receipt.at_ns, receipt.reference, one.id),
            )
            if not touched:
                return
            health = _health(statements, one)
            _keep_health(statements, health.after_receipt(receipt.at_ns))
            if not one.alert_id:
                return
            rows = statements.rows("SELECT 1 FROM alerts WHERE org = ? AND id = ?", (one.org, one.alert_id))
            if not rows:
                return
            alert = alert_tables.read_alert(statements, one.org, one.alert_id)
            rules = alert_tables.rules_for(statements, one.org, alert.ruled_by, self._keys)
            steps = delivered(alert, rules, receipt.at_ns, rung=one.rung, receipt=receipt.reference)
            alert_tables.store(statements, steps, rules)
            keep_steps(statements, steps)

        for _ in range(8):
            try:
                await self._connections.write(change)
            except Conflict:
                continue
            return
        _LOG.warning("a receipt could not be kept; it is told again", extra={"channel": one.channel})

    async def failed(self, due: Due, failure: Failure, again_ns: int | None) -> None:
        """See `Outbox`."""
        one = due.notification

        def change(statements: Statements) -> None:
            touched = statements.run(
                "UPDATE outbox SET attempts = attempts + 1, state = ?, next_ns = ?, holder = '', "
                "ended_ns = ?, result = ? WHERE id = ? AND holder = ? AND state = 'waiting'",
                (
                    "dead" if again_ns is None else "waiting",
                    again_ns or failure.at_ns,
                    failure.at_ns if again_ns is None else None,
                    msgspec.json.encode(failure).decode(),
                    one.id,
                    due.claim,
                ),
            )
            if touched:
                _keep_health(statements, _health(statements, one).after_failure(failure.at_ns))

        await self._connections.write(change)

    async def next_due_ns(self) -> int | None:
        """See `Outbox`."""
        rows = await self._connections.read(
            lambda s: s.rows("SELECT MIN(next_ns) FROM outbox WHERE state = 'waiting'")
        )
        found: int | None = rows[0][0]
        return found

    async def dead_letters(self, org: str) -> list[DeadLetter]:
        """See `Outbox`."""
        return await self._connections.read(lambda s: dead_letters(s, org, _LETTERS))

    async def revive(self, notification_id: str, at_ns: int) -> bool:
        """See `Outbox`."""
        return await self._connections.write(lambda s: revive(s, None, notification_id, at_ns))


def revive(statements: Statements, org: str | None, notification_id: str, at_ns: int) -> bool:
    """Try a dead letter anew, if there is one, of one organisation or of any."""
    rows = statements.rows(
        "SELECT content, org FROM outbox WHERE id = ? AND state = 'dead' /*lock*/", (notification_id,)
    )
    if not rows or org not in (None, rows[0][1]):
        return False
    anew = msgspec.structs.replace(_NOTIFICATION.decode(rows[0][0]), created_ns=at_ns)
    statements.run(
        "UPDATE outbox SET state = 'waiting', attempts = 0, next_ns = ?, created_ns = ?, holder = '', "
        "ended_ns = NULL, result = '', content = ? WHERE id = ?",
        (at_ns, at_ns, _PACK.encode(anew), notification_id),
    )
    return True


def dead_letters(statements: Statements, org: str, limit: int) -> list[DeadLetter]:
    """What was given up in an organisation, oldest first."""
    rows = statements.rows(
        "SELECT content, attempts, result FROM outbox WHERE org = ? AND state = 'dead' "
        "ORDER BY ended_ns, id LIMIT ?",
        (org, limit),
    )
    return [_letter(row) for row in rows]


def read_health(statements: Statements) -> list[ChannelHealth]:
    """How deliveries go, for every channel through which anything went or waits to go."""
    waiting: dict[tuple[str, str], int] = {
        (org, channel): since
        for org, channel, since in statements.rows(
            "SELECT org, channel, MIN(created_ns) FROM outbox WHERE state = 'waiting' AND alert_id <> '' "
            "GROUP BY org, channel"
        )
    }
    known = {
        (one.org, one.channel): one
        for one in (_HEALTH.decode(row[0]) for row in statements.rows("SELECT content FROM channel_health"))
    }
    return [
        msgspec.structs.replace(known.get(key) or ChannelHealth(*key), waiting_ns=waiting.get(key))
        for key in sorted(known.keys() | waiting.keys())
    ]


def _is_due(statements: Statements, at_ns: int) -> bool:
    """Whether it is worth a transaction."""
    return bool(
        statements.rows("SELECT 1 FROM outbox WHERE state = 'waiting' AND next_ns <= ? LIMIT 1", (at_ns,))
    )


def _health(statements: Statements, one: Notification) -> ChannelHealth:
    rows = statements.rows(
        "SELECT content FROM channel_health WHERE org = ? AND channel = ? /*lock*/", (one.org, one.channel)
    )
    return _HEALTH.decode(rows[0][0]) if rows else ChannelHealth(one.org, one.channel)


def _keep_health(statements: Statements, health: ChannelHealth) -> None:
    statements.run(
        "INSERT INTO channel_health (org, channel, content) VALUES (?, ?, ?) "
        "ON CONFLICT (org, channel) DO UPDATE SET content = excluded.content",
        (health.org, health.channel, _PACK.encode(health)),
    )


def _letter(row: Row) -> DeadLetter:
    content, attempts, result = row
    return DeadLetter(_NOTIFICATION.decode(content), attempts, msgspec.json.decode(result, type=Failure))


def forget_heartbeats(statements: Statements, before_ns: int) -> None:
    """Remove heart-beats that were told, or given up, before a time; what was told of alerts stays."""
    statements.run(
        "DELETE FROM outbox WHERE alert_id = '' AND state <> 'waiting' AND ended_ns < ?", (before_ns,)
    )
