"""Uploads: files on their way here, and how much of each is safe.

Plain functions inside a transaction of the caller's. Every one of them is told the organisation and the owner
and finds nothing beyond.
"""

import secrets
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from einthoven.errors import Conflict, NotFound
from einthoven.storage.database import Row, Statements
from einthoven.storage.received import Part

__all__ = [
    "Upload",
    "UploadState",
    "advance",
    "close_upload",
    "expired_uploads",
    "find_or_begin",
    "forget_upload",
    "parts_of",
    "set_state",
    "upload_of",
]

UploadState = Literal["open", "whole", "wrong"]
"""``whole``: its content was checked. ``wrong``: all bytes came, and they are others than were announced."""

_COLUMNS: Final = (
    "number, id, org, owner, filename, sha256, bytes, received, parts, state, created_ns, expires_ns"
)


class Upload(msgspec.Struct, frozen=True):
    """A file on its way here."""

    number: int
    id: str
    org: str
    owner: str
    filename: str
    sha256: str
    bytes: int
    received: int
    """Bytes from the start that are safe."""
    parts: int
    state: UploadState
    created_ns: int
    expires_ns: int


def find_or_begin(
    statements: Statements,
    *,
    org: str,
    owner: str,
    filename: str,
    sha256: str,
    size: int,
    now_ns: int,
    expires_ns: int,
    open_max: int,
) -> tuple[Upload, bool]:
    """The owner's upload of this content, whole or not, or a new one; whether it is new.

    Parameters
    ----------
    open_max : so many unfinished ones the owner may have.

    Raises
    ------
    Conflict : the owner has as many.
    """
    rows = statements.rows(
        f"SELECT {_COLUMNS} FROM uploads WHERE org = ? AND owner = ? AND sha256 = ? AND bytes = ? "  # noqa: S608
        "AND (state = 'whole' OR (state = 'open' AND expires_ns > ?)) ORDER BY number",
        (org, owner, sha256, size, now_ns),
    )
    known = [Upload(*row) for row in rows]
    for state in ("whole", "open"):
        for one in known:
            if one.state == state and one.filename == filename:
                return one, False
    is_here = any(one.state == "whole" for one in known)
    if not is_here:
        _refuse_many(statements, org, owner, now_ns, open_max)
    id_ = f"upl_{secrets.token_hex(12)}"
    statements.run(
        "INSERT INTO uploads (id, org, owner, filename, sha256, bytes, received, parts, state, created_ns, "
        "expires_ns) VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?)",
        (
            *(id_, org, owner, filename, sha256, size),
            *((size, "whole") if is_here else (0, "open")),
            *(now_ns, expires_ns),
        ),
    )
    return upload_of(statements, org, owner, id_), not is_here


def _refuse_many(statements: Statements, org: str, owner: str, now_ns: int, open_max: int) -> None:
    rows = statements.rows(
        "SELECT COUNT(*) FROM uploads WHERE org = ? AND owner = ? AND state = 'open' AND expires_ns > ?",
        (org, owner, now_ns),
    )
    if rows[0][0] >= open_max:
        raise Conflict(
            f"{open_max} uploads of this sender are unfinished.",
            where="uploads",
            remedy="Finish or delete some first.",
        )


def upload_of(statements: Statements, org: str, owner: str, id_: str) -> Upload:
    """One upload.

    Raises
    ------
    NotFound : the owner has none of this name.
    """
    rows = statements.rows(
        f"SELECT {_COLUMNS} FROM uploads WHERE org = ? AND owner = ? AND id = ?",  # noqa: S608
        (org, owner, id_),
    )
    if not rows:
        raise NotFound("there is no such upload.", where="upload", remedy="Begin a new one.")
    return Upload(*rows[0])


def advance(statements: Statements, upload: Upload, parts: Sequence[Part], expires_ns: int) -> bool:
    """Note that parts are safe that follow what was; False when somebody else came before."""
    moved = statements.run(
        "UPDATE uploads SET received = ?, parts = parts + ?, expires_ns = ? "
        "WHERE number = ? AND received = ? AND state = 'open'",
        (parts[-1].until, len(parts), expires_ns, upload.number, parts[0].first),
    )
    if moved:
        statements.run_many(
            "INSERT INTO upload_parts (upload, first, bytes, object) VALUES (?, ?, ?, ?)",
            [(upload.number, part.first, part.bytes, part.object) for part in parts],
        )
    return bool(moved)


def parts_of(statements: Statements, upload: int, first: int = 0) -> list[Part]:
    """What is safe of an upload (by its number) from a byte on, in order."""
    rows: list[Row] = statements.rows(
        "SELECT first, bytes, object FROM upload_parts WHERE upload = ? AND first >= ? ORDER BY first",
        (upload, first),
    )
    return [Part(*row) for row in rows]


def set_state(statements: Statements, upload: int, state: UploadState) -> None:
    """What became of an upload of which all bytes came; the manifest or nobody needs its parts now."""
    statements.run("DELETE FROM upload_parts WHERE upload = ?", (upload,))
    statements.run(
        "UPDATE uploads SET state = ?, parts = 0 WHERE number = ? AND state = 'open'", (state, upload)
    )


def close_upload(statements: Statements, upload: int, expired_ns: int | None = None) -> bool:
    """Take nothing more of an upload that is not whole, or has expired by then too; whether it is so."""
    which, values = ("", ()) if expired_ns is None else (" AND expires_ns <= ?", (expired_ns,))
    return bool(
        statements.run(
            f"UPDATE uploads SET state = 'wrong' WHERE number = ? AND state <> 'whole'{which}",  # noqa: S608
            (upload, *values),
        )
    )


def forget_upload(statements: Statements, upload: int) -> None:
    """Remove an upload of which nothing more is taken."""
    statements.run("DELETE FROM upload_parts WHERE upload = ?", (upload,))
    statements.run("DELETE FROM uploads WHERE number = ? AND state = 'wrong'", (upload,))


def expired_uploads(statements: Statements, now_ns: int, limit: int) -> list[Upload]:
    """Uploads of all organisations whose time is over, the oldest first."""
    rows = statements.rows(
        f"SELECT {_COLUMNS} FROM uploads WHERE state <> 'whole' AND expires_ns <= ? "  # noqa: S608
        "ORDER BY expires_ns LIMIT ?",
        (now_ns, limit),
    )
    return [Upload(*row) for row in rows]
