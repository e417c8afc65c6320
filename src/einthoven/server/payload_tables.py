"""Which device seals with which key, and which of its envelopes were taken."""

from collections.abc import Sequence

import msgspec

from einthoven.errors import Conflict, NotFound
from einthoven.server.accounts import check_org
from einthoven.server.auditing import record
from einthoven.storage.database import Statements
from einthoven.trust.payload_ids import payload_key_id
from einthoven.trust.replay import ReplayWindow

__all__ = ["KnownKey", "add_key", "keep_windows", "key_epoch", "keys_in_force", "keys_of", "retire_key"]


class KnownKey(msgspec.Struct, frozen=True):
    """The public key of a device."""

    id: str
    device: str
    public: bytes
    since_ns: int
    retired_ns: int | None = None


def key_epoch(statements: Statements) -> int:
    """Rises whenever a device's key comes or is retired."""
    return int(statements.rows("SELECT version FROM epochs WHERE name = 'payload-keys'")[0][0])


def keys_in_force(statements: Statements, org: str) -> list[KnownKey]:
    """All keys of an organisation's devices but the retired ones."""
    rows = statements.rows(
        "SELECT key_id, device, public_key, since_ns FROM payload_keys WHERE org = ? AND retired_ns IS NULL",
        (org,),
    )
    return [KnownKey(id_, device, bytes(public), since_ns) for id_, device, public, since_ns in rows]


def keys_of(statements: Statements, org: str, device: str) -> list[KnownKey]:
    """A device's keys, the retired ones too, oldest first."""
    rows = statements.rows(
        "SELECT key_id, device, public_key, since_ns, retired_ns FROM payload_keys "
        "WHERE org = ? AND device = ? ORDER BY since_ns, key_id",
        (org, device),
    )
    return [KnownKey(id_, name, bytes(public), *times) for id_, name, public, *times in rows]


def add_key(
    statements: Statements, org: str, device: str, public: bytes, *, by: str, now_ns: int
) -> KnownKey:
    """Take what this key seals for the device's; the same again changes nothing.

    Raises
    ------
    Conflict : it is another device's, or it was retired. NotFound : there is no such organisation.
    """
    check_org(statements, org)
    id_ = payload_key_id(public).hex()
    statements.run("UPDATE epochs SET version = version + 1 WHERE name = 'payload-keys'")
    found = statements.rows(
        "SELECT device, public_key, since_ns, retired_ns FROM payload_keys WHERE org = ? AND key_id = ?",
        (org, id_),
    )
    if found:
        owner, known, since_ns, retired_ns = found[0]
        if (owner, bytes(known), retired_ns) != (device, public, None):
            raise Conflict(
                "this key was given to a device before, or is retired.",
                where="publicKey",
                remedy="Let the device make another one.",
            )
        return KnownKey(id_, device, public, since_ns)
    statements.run(
        "INSERT INTO payload_keys (org, key_id, device, public_key, since_ns) VALUES (?, ?, ?, ?, ?)",
        (org, id_, device, public, now_ns),
    )
    record(statements, org, now_ns, by, "payload-key.added", f"device:{device}", id_)
    return KnownKey(id_, device, public, now_ns)


def retire_key(statements: Statements, org: str, device: str, id_: str, *, by: str, now_ns: int) -> None:
    """Take nothing more that this key seals; again changes nothing.

    Raises
    ------
    NotFound : the device has no such key.
    """
    statements.run("UPDATE epochs SET version = version + 1 WHERE name = 'payload-keys'")
    found = [one for one in keys_of(statements, org, device) if one.id == id_]
    if not found:
        raise NotFound("the device has no such key.", where="key", remedy="List the device's keys.")
    if found[0].retired_ns is None:
        statements.run(
            "UPDATE payload_keys SET retired_ns = ? WHERE org = ? AND key_id = ?", (now_ns, org, id_)
        )
        record(statements, org, now_ns, by, "payload-key.retired", f"device:{device}", id_)


def keep_windows(statements: Statements, windows: Sequence[tuple[int, ReplayWindow]]) -> None:
    """Keep streams' windows, in the transaction that keeps what was in the envelopes."""
    if windows:
        statements.run_many(
            "INSERT INTO payload_windows (stream, highest, seen) VALUES (?, ?, ?) "
            "ON CONFLICT (stream) DO UPDATE SET highest = excluded.highest, seen = excluded.seen",
            [(stream, window.highest, window.seen) for stream, window in windows],
        )
