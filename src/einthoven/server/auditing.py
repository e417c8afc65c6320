"""Who did what to accounts and tokens: rows that are only ever added.

The subject is a user or the number of a token, never a patient; the token says whose it is.
"""

import msgspec

from einthoven.storage.database import Statements

__all__ = ["LOGIN_FAILED", "Act", "acts", "failures_since", "record"]

LOGIN_FAILED = "login.failed"


class Act(msgspec.Struct, frozen=True):
    """One thing that somebody did."""

    id: int
    at_ns: int
    actor: str
    """A user's name; ``setup`` for a first administrator, ``offline`` for the command line."""
    action: str
    subject: str
    detail: str


def record(
    statements: Statements, org: str, now_ns: int, actor: str, action: str, subject: str, detail: str = ""
) -> None:
    """Add one row, in the transaction of what it tells of."""
    statements.run(
        "INSERT INTO audit (org, at_ns, actor, action, subject, detail) VALUES (?, ?, ?, ?, ?, ?)",
        (org, now_ns, actor, action, subject, detail),
    )


def acts(statements: Statements, org: str, *, after: int, limit: int) -> list[Act]:
    """Rows of one organisation in the order in which they were written."""
    rows = statements.rows(
        "SELECT id, at_ns, actor, action, subject, detail FROM audit WHERE org = ? AND id > ? "
        "ORDER BY id LIMIT ?",
        (org, after, limit),
    )
    return [Act(*row) for row in rows]


def failures_since(statements: Statements, org: str, subject: str, since_ns: int) -> int:
    """How often somebody failed to log in as this one."""
    rows = statements.rows(
        "SELECT COUNT(*) FROM audit WHERE org = ? AND action = ? AND subject = ? AND at_ns > ?",
        (org, LOGIN_FAILED, subject, since_ns),
    )
    return int(rows[0][0])
