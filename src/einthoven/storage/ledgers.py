"""The rows of ledgers: batches of entries that are only ever added, and what was signed over them.

An entry is a line of bytes; what it says, and what its hash is, others know. Everything happens in a
transaction of the caller's, so that an act and the entry that tells of it are kept together or not at all. Of
several who append to one ledger at once each waits for the one before it: `head_of` with ``for_append``
locks.

Tiles are rows of 256 hashes of the tree; they follow from the entries and can be made again.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from einthoven.errors import Conflict, DefectError, InputInvalid, LedgerTampered
from einthoven.storage.database import LOCK, Statements

__all__ = [
    "TILE",
    "KeptKey",
    "LedgerHead",
    "OtherLedger",
    "add_batch",
    "add_checkpoint",
    "add_cosignature",
    "add_key",
    "add_ledger",
    "add_tile",
    "checkpoint_before",
    "checkpoints",
    "cosignatures",
    "end_key",
    "entries_between",
    "head_of",
    "keys_of",
    "other_ledger",
    "remember_other",
    "tile",
    "tile_roots",
    "tiled",
]

TILE: Final = 256
"""Hashes of a tile."""
_HASH_BYTES: Final = 32
_PAGE: Final = 64
_ENTRY_BYTES_MOST: Final = 4096
_HEAD: Final = "SELECT org, origin, size, peaks, signed, tiled FROM ledgers WHERE org = ?"
_HEAD_LOCKED: Final = f"{_HEAD} {LOCK}"


class LedgerHead(msgspec.Struct, frozen=True):
    """Where a ledger stands."""

    org: str
    origin: str
    """The name under which its checkpoints are signed."""
    size: int
    """Entries."""
    peaks: bytes
    """Hashes of the complete subtrees on the right edge, the largest first."""
    signed: int
    """Entries that the newest checkpoint covers."""
    tiled: int
    """Entries whose hashes are in tiles."""


class KeptKey(msgspec.Struct, frozen=True):
    """A public key that a ledger believes."""

    number: int
    key: str
    after: int
    until: int | None


class OtherLedger(msgspec.Struct, frozen=True):
    """What is remembered of another site's ledger."""

    origin: str
    keys: str
    """Verifying keys, one a line, each with the sizes that it may sign."""
    note: str
    """Its newest checkpoint that was believed."""


def add_ledger(statements: Statements, org: str, origin: str) -> LedgerHead:
    """An empty ledger.

    Raises
    ------
    Conflict : the organisation has one.
    """
    added = statements.run(
        "INSERT INTO ledgers (org, origin, size, peaks, signed, tiled) VALUES (?, ?, 0, ?, 0, 0) "
        "ON CONFLICT (org) DO NOTHING",
        (org, origin, b""),
    )
    if not added:
        raise Conflict(
            "this organisation has a ledger.", where="ledger", remedy="Go on with it; it is never made anew."
        )
    return LedgerHead(org, origin, 0, b"", 0, 0)


def head_of(statements: Statements, org: str, *, for_append: bool = False) -> LedgerHead | None:
    """Where an organisation's ledger stands; None if it has none."""
    rows = statements.rows(_HEAD_LOCKED if for_append else _HEAD, (org,))
    if not rows:
        return None
    found = LedgerHead(*rows[0])
    return msgspec.structs.replace(found, peaks=_bytes(found.peaks))


def add_batch(statements: Statements, head: LedgerHead, entries: Sequence[bytes], peaks: bytes) -> LedgerHead:
    """Keep entries behind those of a head that was read with ``for_append`` in this transaction.

    Raises
    ------
    InputInvalid : an entry that is empty, too long or more than a line.
    LedgerTampered : there are entries behind the last one.
    """
    if not entries:
        return head
    content = b"\n".join(entries)
    if content.count(b"\n") != len(entries) - 1 or not all(
        0 < len(entry) <= _ENTRY_BYTES_MOST for entry in entries
    ):
        raise InputInvalid(f"an entry is one line of 1 to {_ENTRY_BYTES_MOST} bytes.", where="entry")
    added = statements.run(
        "INSERT INTO ledger_batches (org, first, entries, content) VALUES (?, ?, ?, ?) "
        "ON CONFLICT DO NOTHING",
        (head.org, head.size, len(entries), content),
    )
    if added != 1:
        raise _taken("entries", head.size)
    size = head.size + len(entries)
    moved = statements.run(
        "UPDATE ledgers SET size = ?, peaks = ? WHERE org = ? AND size = ?",
        (size, peaks, head.org, head.size),
    )
    if moved != 1:
        raise DefectError("the ledger grew under a head that was locked.", where="ledger")
    return msgspec.structs.replace(head, size=size, peaks=peaks)


def entries_between(statements: Statements, org: str, start: int, stop: int) -> Iterator[bytes]:
    """Entries ``start`` to ``stop``, in order, some batches at a time."""
    at = start
    while at < stop:
        batches = statements.rows(
            "SELECT first, content FROM ledger_batches WHERE org = ? AND first >= "
            "(SELECT COALESCE(MAX(first), 0) FROM ledger_batches WHERE org = ? AND first <= ?) "
            "AND first < ? ORDER BY first LIMIT ?",
            (org, org, at, stop, _PAGE),
        )
        before = at
        for first, content in batches:
            lines = _bytes(content).split(b"\n")
            yield from lines[at - first : stop - first]
            at = first + len(lines)
        if at == before:
            return


def add_tile(statements: Statements, org: str, level: int, number: int, hashes: bytes, root: bytes) -> None:
    """Keep a tile and the hash above it, unless they are there."""
    statements.run(
        "INSERT INTO ledger_tiles (org, level, number, hashes, root) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (org, level, number) DO NOTHING",
        (org, level, number, hashes, root),
    )


def tiled(statements: Statements, org: str, size: int) -> None:
    """Note that entries up to ``size`` are in tiles."""
    statements.run("UPDATE ledgers SET tiled = ? WHERE org = ? AND tiled < ?", (size, org, size))


def tile(statements: Statements, org: str, level: int, number: int) -> list[bytes] | None:
    """The 256 hashes of a tile; None if there is none."""
    rows = statements.rows(
        "SELECT hashes FROM ledger_tiles WHERE org = ? AND level = ? AND number = ?", (org, level, number)
    )
    if not rows:
        return None
    hashes = _bytes(rows[0][0])
    return [hashes[at : at + _HASH_BYTES] for at in range(0, len(hashes), _HASH_BYTES)]


def tile_roots(statements: Statements, org: str, level: int, start: int, stop: int) -> list[bytes]:
    """The hashes above tiles ``start`` to ``stop`` of a level."""
    rows = statements.rows(
        "SELECT root FROM ledger_tiles WHERE org = ? AND level = ? AND number >= ? AND number < ? "
        "ORDER BY number",
        (org, level, start, stop),
    )
    return [_bytes(row[0]) for row in rows]


def add_checkpoint(statements: Statements, org: str, size: int, note: str) -> None:
    """Keep a signed checkpoint; of each size there is one.

    Raises
    ------
    LedgerTampered : there is one of this size, which the ledger does not know of.
    """
    added = statements.run(
        "INSERT INTO ledger_checkpoints (org, size, note) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (org, size, note),
    )
    if added != 1:
        raise _taken("a checkpoint", size)
    statements.run("UPDATE ledgers SET signed = ? WHERE org = ?", (size, org))


def checkpoints(statements: Statements, org: str, *, after: int = -1) -> Iterator[tuple[int, str]]:
    """Sizes and notes of the checkpoints of more than ``after`` entries, the smallest first."""
    while rows := statements.rows(
        "SELECT size, note FROM ledger_checkpoints WHERE org = ? AND size > ? ORDER BY size LIMIT ?",
        (org, after, _PAGE),
    ):
        yield from ((size, note) for size, note in rows)
        after = rows[-1][0]


def checkpoint_before(statements: Statements, org: str, size: int) -> tuple[int, str] | None:
    """Size and note of the newest checkpoint of at most ``size`` entries."""
    rows = statements.rows(
        "SELECT size, note FROM ledger_checkpoints WHERE org = ? AND size <= ? ORDER BY size DESC LIMIT 1",
        (org, size),
    )
    return (rows[0][0], rows[0][1]) if rows else None


def add_cosignature(statements: Statements, org: str, size: int, signature: str) -> bool:
    """Keep a witness's line under a checkpoint; False if it is there."""
    return bool(
        statements.run(
            "INSERT INTO ledger_cosignatures (org, size, signature) VALUES (?, ?, ?) "
            "ON CONFLICT (org, size, signature) DO NOTHING",
            (org, size, signature),
        )
    )


def cosignatures(statements: Statements, org: str, start: int, stop: int) -> dict[int, list[str]]:
    """Lines of witnesses under the checkpoints of ``start`` to ``stop`` entries, both with."""
    found: dict[int, list[str]] = {}
    for size, signature in statements.rows(
        "SELECT size, signature FROM ledger_cosignatures WHERE org = ? AND size >= ? AND size <= ? "
        "ORDER BY size, signature",
        (org, start, stop),
    ):
        found.setdefault(size, []).append(signature)
    return found


def add_key(statements: Statements, org: str, key: str, after: int) -> None:
    """Believe a key, for checkpoints of more than ``after`` entries."""
    statements.run(
        "INSERT INTO ledger_keys (org, number, signing_key, after_size, until_size) "
        "SELECT ?, COUNT(*), ?, ?, NULL FROM ledger_keys WHERE org = ?",
        (org, key, after, org),
    )


def end_key(statements: Statements, org: str, key: str, until: int) -> None:
    """Believe a key no more, for checkpoints of more than ``until`` entries."""
    statements.run(
        "UPDATE ledger_keys SET until_size = ? WHERE org = ? AND signing_key = ? AND until_size IS NULL",
        (until, org, key),
    )


def keys_of(statements: Statements, org: str) -> list[KeptKey]:
    """All keys that were ever believed, in their order."""
    rows = statements.rows(
        "SELECT number, signing_key, after_size, until_size FROM ledger_keys WHERE org = ? ORDER BY number",
        (org,),
    )
    return [KeptKey(*row) for row in rows]


def other_ledger(statements: Statements, org: str, origin: str) -> OtherLedger | None:
    """What is remembered of another site's ledger."""
    rows = statements.rows(
        f"SELECT origin, keys, note FROM ledger_others WHERE org = ? AND origin = ? {LOCK}",  # noqa: S608
        (org, origin),
    )
    return OtherLedger(*rows[0]) if rows else None


def remember_other(statements: Statements, org: str, other: OtherLedger) -> None:
    """Remember another site's checkpoint in place of the one before."""
    statements.run(
        "INSERT INTO ledger_others (org, origin, keys, note) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (org, origin) DO UPDATE SET keys = excluded.keys, note = excluded.note",
        (org, other.origin, other.keys, other.note),
    )


def _taken(what: str, size: int) -> LedgerTampered:
    return LedgerTampered(
        f"there is {what} already of a ledger of this size.",
        where=f"ledger {size}",
        remedy="Find out who writes the database; restore it from a backup.",
    )


def _bytes(content: Any) -> bytes:
    """What somebody put there by hand may be text in SQLite, whatever the column says."""
    return content.encode() if isinstance(content, str) else bytes(content)
