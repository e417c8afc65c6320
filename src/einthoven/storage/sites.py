"""What site managers keep: their state, what happened, what people wish, tokens of nodes that are to come.

Contents are bytes here; what they mean is `einthoven.edge`.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from einthoven.storage.database import Statements

__all__ = [
    "KeptSite",
    "KeptWish",
    "NodeToken",
    "add_happenings",
    "add_node_token",
    "add_wish",
    "end_wish",
    "forget_happenings",
    "happenings_of",
    "keep_site",
    "node_token",
    "outcome_of",
    "read_site",
    "remove_node_token",
    "tell_status",
    "waiting_wishes",
]

_KEPT_WISHES_NS: Final = 24 * 3600 * 10**9


class KeptSite(msgspec.Struct, frozen=True, kw_only=True):
    """A site as its last manager kept it."""

    term: int
    content: bytes
    status: bytes
    """How its nodes were lately; lost without harm."""
    status_ns: int


class KeptWish(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants a site manager to do."""

    id: int
    content: bytes


class NodeToken(msgspec.Struct, frozen=True, kw_only=True):
    """A node may join once, by proof that it has the other half of this key."""

    site: str
    public: bytes
    node: str
    content: bytes
    expires_ns: int


def read_site(statements: Statements, site: str) -> KeptSite | None:
    """A site, if it ever had a manager."""
    rows = statements.rows("SELECT term, content, status, status_ns FROM sites WHERE site = ?", (site,))
    if not rows:
        return None
    term, content, status, status_ns = rows[0]
    return KeptSite(term=term, content=bytes(content), status=bytes(status), status_ns=status_ns)


def keep_site(statements: Statements, site: str, before: int | None, term: int, content: bytes) -> bool:
    """Keep a site's state; whether its term was still the one that the caller kept before."""
    if before is None:
        sql = (
            "INSERT INTO sites (site, term, content, status, status_ns) VALUES (?, ?, ?, ?, 0) "
            "ON CONFLICT (site) DO NOTHING"
        )
        return statements.run(sql, (site, term, content, b"")) == 1
    return (
        statements.run(
            "UPDATE sites SET term = ?, content = ? WHERE site = ? AND term = ?",
            (term, content, site, before),
        )
        == 1
    )


def tell_status(statements: Statements, site: str, term: int, status: bytes, now_ns: int) -> None:
    """How the nodes are, by the manager of this term."""
    statements.run(
        "UPDATE sites SET status = ?, status_ns = ? WHERE site = ? AND term = ?", (status, now_ns, site, term)
    )


def add_happenings(statements: Statements, site: str, at_ns: int, contents: Iterable[bytes]) -> None:
    """For the record."""
    statements.run_many(
        "INSERT INTO site_happenings (site, at_ns, content) VALUES (?, ?, ?)",
        [(site, at_ns, content) for content in contents],
    )


def happenings_of(statements: Statements, site: str, most: int) -> list[tuple[int, bytes]]:
    """The newest, oldest first: when, UTC ns, and what."""
    rows = statements.rows(
        "SELECT at_ns, content FROM site_happenings WHERE site = ? ORDER BY id DESC LIMIT ?", (site, most)
    )
    return [(at_ns, bytes(content)) for at_ns, content in reversed(rows)]


def forget_happenings(statements: Statements, site: str, before_ns: int) -> None:
    """What is older than that."""
    statements.run("DELETE FROM site_happenings WHERE site = ? AND at_ns < ?", (site, before_ns))


def add_wish(statements: Statements, site: str, now_ns: int, content: bytes) -> int:
    """Ask the site's manager for something; the number under which it is answered."""
    statements.run(
        "DELETE FROM site_wishes WHERE outcome IS NOT NULL AND asked_ns < ?", (now_ns - _KEPT_WISHES_NS,)
    )
    rows = statements.rows(
        "INSERT INTO site_wishes (site, asked_ns, content) VALUES (?, ?, ?) RETURNING id",
        (site, now_ns, content),
    )
    return int(rows[0][0])


def waiting_wishes(statements: Statements, site: str) -> list[KeptWish]:
    """Those that nobody answered, the oldest first."""
    rows = statements.rows(
        "SELECT id, content FROM site_wishes WHERE site = ? AND outcome IS NULL ORDER BY id", (site,)
    )
    return [KeptWish(id=id_, content=bytes(content)) for id_, content in rows]


def end_wish(statements: Statements, id_: int, outcome: str) -> None:
    """It was done (empty), or not, and why."""
    statements.run("UPDATE site_wishes SET outcome = ? WHERE id = ? AND outcome IS NULL", (outcome, id_))


def outcome_of(statements: Statements, id_: int) -> str | None:
    """What became of a wish; None as long as nobody answered."""
    rows = statements.rows("SELECT outcome FROM site_wishes WHERE id = ?", (id_,))
    if not rows:
        return ""
    outcome: str | None = rows[0][0]
    return outcome


def add_node_token(statements: Statements, token: NodeToken, now_ns: int) -> None:
    """Let a node join; those that nobody used in time are forgotten."""
    statements.run("DELETE FROM node_tokens WHERE expires_ns < ?", (now_ns,))
    statements.run(
        "INSERT INTO node_tokens (site, public, node, content, expires_ns) VALUES (?, ?, ?, ?, ?)",
        (token.site, token.public, token.node, token.content, token.expires_ns),
    )


def node_token(statements: Statements, site: str, public: bytes, now_ns: int) -> NodeToken | None:
    """A token that is good now."""
    rows = statements.rows(
        "SELECT node, content, expires_ns FROM node_tokens WHERE site = ? AND public = ? AND expires_ns >= ?",
        (site, public, now_ns),
    )
    if not rows:
        return None
    node, content, expires_ns = rows[0]
    return NodeToken(site=site, public=public, node=node, content=bytes(content), expires_ns=expires_ns)


def remove_node_token(statements: Statements, site: str, public: bytes) -> None:
    """It was used."""
    statements.run("DELETE FROM node_tokens WHERE site = ? AND public = ?", (site, public))
