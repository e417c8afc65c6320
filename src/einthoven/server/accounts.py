"""Organisations, users and tokens as they lie in the database.

Plain functions inside a transaction of the caller's: the service calls them in its threads, the command line
directly. Every one of them is told the organisation and looks at nothing beyond it.
"""

import re
from collections.abc import Sequence
from typing import Final, Literal, get_args

import msgspec

from einthoven.errors import Conflict, InputInvalid, NotFound
from einthoven.names import ORGANISATION, PSEUDONYM, USER
from einthoven.server.auditing import record
from einthoven.server.tokens import TokenKind, digest_of_token, new_token
from einthoven.storage.database import Row, Statements, within

__all__ = [
    "MAIN",
    "ROLES",
    "Bearer",
    "Organisation",
    "Role",
    "Token",
    "User",
    "add_organisation",
    "add_user",
    "bearers",
    "change_user",
    "check_org",
    "drop_ended_sessions",
    "ensure_main",
    "epoch",
    "has_users",
    "issue",
    "issue_setup",
    "list_organisations",
    "list_tokens",
    "list_users",
    "mark_used",
    "read_token",
    "read_user",
    "remove_user",
    "revoke",
    "revoke_of_user",
]

Role = Literal["admin", "clinician", "technician", "auditor", "patient"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)

MAIN: Final = "main"
"""The organisation that runs the service; only its administrators make others."""
LABEL: Final = r"^[^\x00-\x1f\x7f-\x9f]{0,80}$"
SETUP_S: Final = 24 * 3600
"""How long a setup token is good for."""


class Organisation(msgspec.Struct, frozen=True):
    """Who shares patients, devices and users."""

    org: str
    name: str
    created_ns: int
    access: str = "open"
    """Whether a role is enough to see its patients: open or granted."""


class User(msgspec.Struct, frozen=True):
    """A person who logs in."""

    id: int
    org: str
    name: str
    role: Role
    patient: str | None
    """Of the role patient: the pseudonym whose data this person may see."""
    created_ns: int
    hash: str
    """Argon2id."""


class Token(msgspec.Struct, frozen=True):
    """What is known of a token; not the token."""

    id: int
    org: str
    kind: TokenKind
    user: str | None
    patient: str | None
    device: str | None
    label: str
    created_ns: int
    expires_ns: int | None
    revoked_ns: int | None
    used_ns: int | None
    """When it was last used, give or take an hour."""


class Bearer(msgspec.Struct, frozen=True):
    """Who shows up with a token."""

    digest: bytes
    token: int
    org: str
    kind: TokenKind
    patient: str | None
    device: str | None
    expires_ns: int | None
    revoked_ns: int | None
    user: str | None
    role: Role | None
    user_patient: str | None
    used_ns: int | None


# ------------------------------------------------------------------- organisations


def add_organisation(statements: Statements, org: str, name: str, now_ns: int) -> Organisation:
    """Make an organisation.

    Raises
    ------
    InputInvalid : not a name of one. Conflict : it is there already.
    """
    _check(org, ORGANISATION, "organisation", "Use 1 to 40 of a-z, 0-9 and '-'.")
    _check(name, LABEL, "name", "Use up to 80 printable characters.")
    rows = statements.rows(
        "INSERT INTO orgs (org, name, created_ns) VALUES (?, ?, ?) "
        "ON CONFLICT (org) DO NOTHING RETURNING org",
        (org, name, now_ns),
    )
    if not rows:
        raise Conflict("there is such an organisation.", where="organisation", remedy="Choose another name.")
    return Organisation(org, name, now_ns)


def ensure_main(statements: Statements, now_ns: int) -> None:
    """Make ``main`` where it is missing."""
    statements.run(
        "INSERT INTO orgs (org, name, created_ns) VALUES (?, ?, ?) ON CONFLICT (org) DO NOTHING",
        (MAIN, "", now_ns),
    )


def list_organisations(statements: Statements) -> list[Organisation]:
    """All of them, by name."""
    return [
        Organisation(*row)
        for row in statements.rows("SELECT org, name, created_ns, access FROM orgs ORDER BY org")
    ]


# ------------------------------------------------------------------- users


def has_users(statements: Statements, org: str | None = None) -> bool:
    """Whether anybody can log in, at all or in one organisation."""
    if org is None:
        return bool(statements.rows("SELECT 1 FROM users LIMIT 1"))
    return bool(statements.rows("SELECT 1 FROM users WHERE org = ? LIMIT 1", (org,)))


def add_user(
    statements: Statements, org: str, name: str, role: Role, *, patient: str | None, hash_: str, now_ns: int
) -> User:
    """Make a user.

    Raises
    ------
    InputInvalid : a name or role that is none. Conflict : there is a user of that name.
    """
    _check(name, USER, "name", "Use 1 to 64 of a-z, 0-9, '.', '_', '-', a letter or digit first.")
    patient = _patient_of(role, patient)
    check_org(statements, org)
    rows = statements.rows(
        "INSERT INTO users (org, name, role, patient, hash, created_ns) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (org, name) DO NOTHING RETURNING id",
        (org, name, role, patient, hash_, now_ns),
    )
    if not rows:
        raise Conflict("there is a user of this name.", where="name", remedy="Choose another name.")
    return User(rows[0][0], org, name, role, patient, now_ns, hash_)


def read_user(statements: Statements, org: str, name: str) -> User:
    """One user.

    Raises
    ------
    NotFound : none of that name in this organisation.
    """
    rows = statements.rows(f"{_USERS} WHERE org = ? AND name = ?", (org, name))
    if not rows:
        raise NotFound("there is no user of this name.", where="name", remedy="List the users.")
    return User(*rows[0])


def list_users(statements: Statements, org: str, *, after: str = "", limit: int = 1000) -> list[User]:
    """Users of an organisation by name."""
    rows = statements.rows(f"{_USERS} WHERE org = ? AND name > ? ORDER BY name LIMIT ?", (org, after, limit))
    return [User(*row) for row in rows]


def change_user(
    statements: Statements,
    user: User,
    *,
    role: Role | None = None,
    patient: str | None = None,
    hash_: str | None = None,
) -> User:
    """Give a user another role or password.

    Raises
    ------
    Conflict : nobody would be left to administer. InputInvalid : a patient without a pseudonym.
    """
    role = role or user.role
    kept = user.patient if role == "patient" else None
    changed = msgspec.structs.replace(
        user,
        role=role,
        patient=_patient_of(role, patient or kept),
        hash=hash_ or user.hash,
    )
    if user.role == "admin" and changed.role != "admin":
        _refuse_last(statements, user)
    statements.run(
        "UPDATE users SET role = ?, patient = ?, hash = ? WHERE org = ? AND id = ?",
        (changed.role, changed.patient, changed.hash, user.org, user.id),
    )
    return changed


def remove_user(statements: Statements, user: User, now_ns: int) -> None:
    """Remove a user and revoke what was theirs.

    Raises
    ------
    Conflict : nobody would be left to administer.
    """
    if user.role == "admin":
        _refuse_last(statements, user)
    revoke_of_user(statements, user, now_ns)
    statements.run("DELETE FROM users WHERE org = ? AND id = ?", (user.org, user.id))


_USERS: Final = "SELECT id, org, name, role, patient, created_ns, hash FROM users"


def _patient_of(role: Role, patient: str | None) -> str | None:
    if role not in ROLES:
        raise InputInvalid("there is no such role.", where="role", remedy=f"Use one of {', '.join(ROLES)}.")
    if role != "patient":
        if patient is not None:
            raise InputInvalid(
                "only the role patient has a pseudonym.", where="patient", remedy="Leave patient out."
            )
        return None
    if patient is None:
        raise InputInvalid(
            "a patient needs the pseudonym under which the data lies.", where="patient", remedy="Add patient."
        )
    _check(patient, PSEUDONYM, "patient", "Use 1 to 64 of letters, digits, '.', '_', '-'.")
    return patient


def _refuse_last(statements: Statements, user: User) -> None:
    rows = statements.rows(
        "SELECT id FROM users WHERE org = ? AND role = 'admin' ORDER BY id /*lock*/", (user.org,)
    )
    if all(row[0] == user.id for row in rows):
        raise Conflict(
            "this is the organisation's only administrator.", where="role", remedy="Make another one first."
        )


# ------------------------------------------------------------------- tokens


def issue(
    statements: Statements,
    org: str,
    kind: TokenKind,
    *,
    now_ns: int,
    user: User | None = None,
    patient: str | None = None,
    device: str | None = None,
    label: str = "",
    lifetime_s: float | None = None,
) -> tuple[Token, str]:
    """A new token: what is kept of it, and itself, which is not.

    Raises
    ------
    InputInvalid : a device's token without patient and device, or another one with them. NotFound : no such
    organisation.
    """
    _check(label, LABEL, "label", "Use up to 80 printable characters.")
    for field, value in (("patient", patient), ("device", device)):
        if kind == "device":
            _check(value or "", PSEUDONYM, field, "Use 1 to 64 of letters, digits, '.', '_', '-'.")
        elif value is not None:
            raise InputInvalid(
                "only a device's token is for one patient.", where=field, remedy=f"Leave {field} out."
            )
    check_org(statements, org)
    secret = new_token(kind)
    expires_ns = None if lifetime_s is None else now_ns + round(lifetime_s * 1e9)
    rows = statements.rows(
        "INSERT INTO tokens (org, digest, kind, user_id, patient, device, label, created_ns, expires_ns) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        (
            org,
            digest_of_token(secret),
            kind,
            user.id if user else None,
            patient,
            device,
            label,
            now_ns,
            expires_ns,
        ),
    )
    token = Token(
        rows[0][0],
        org,
        kind,
        user.name if user else None,
        patient,
        device,
        label,
        now_ns,
        expires_ns,
        None,
        None,
    )
    return token, secret


def issue_setup(statements: Statements, org: str, now_ns: int) -> str | None:
    """A one-time token that makes the first administrator; None if the organisation has users.

    Earlier ones stop being good. ``main`` is made if it is missing.
    """
    if has_users(statements, org):
        return None
    if org == MAIN:
        ensure_main(statements, now_ns)
    statements.run(
        "UPDATE tokens SET revoked_ns = ? WHERE org = ? AND kind = 'setup' AND revoked_ns IS NULL",
        (now_ns, org),
    )
    token, secret = issue(statements, org, "setup", now_ns=now_ns, lifetime_s=SETUP_S)
    record(statements, org, now_ns, "service", "token.issued", f"token:{token.id}", "setup")
    return secret


def read_token(statements: Statements, org: str, id_: int) -> Token:
    """One token.

    Raises
    ------
    NotFound : none of that number in this organisation.
    """
    rows = statements.rows(f"{_TOKENS} WHERE t.org = ? AND t.id = ?", (org, id_))
    if not rows:
        raise NotFound("there is no token of this number.", where="token", remedy="List the tokens.")
    return Token(*rows[0])


def list_tokens(
    statements: Statements,
    org: str,
    kinds: Sequence[TokenKind],
    *,
    user: str | None = None,
    after: int = 0,
    limit: int = 1000,
) -> list[Token]:
    """Tokens of these kinds, those of one user or all, in the order in which they were issued."""
    if not kinds:
        return []
    sql = f"{_TOKENS} WHERE t.org = ? AND t.id > ? AND t.kind IN (*)"
    values: list[object] = [org, after, *kinds]
    if user is not None:
        sql += " AND u.name = ?"
        values.append(user)
    rows = statements.rows(within(f"{sql} ORDER BY t.id LIMIT ?", len(kinds)), (*values, limit))
    return [Token(*row) for row in rows]


def revoke(statements: Statements, org: str, id_: int, now_ns: int) -> bool:
    """Revoke one token; whether it was good until now. Workers notice within seconds."""
    kinds = statements.rows(
        "UPDATE tokens SET revoked_ns = ? WHERE org = ? AND id = ? AND revoked_ns IS NULL RETURNING kind",
        (now_ns, org, id_),
    )
    if kinds and kinds[0][0] in ("device", "gateway"):
        statements.run("UPDATE epochs SET version = version + 1 WHERE name = 'senders'")
    return bool(kinds)


def revoke_of_user(statements: Statements, user: User, now_ns: int, *, sessions_only: bool = False) -> None:
    """Revoke what a user holds. People are looked up every few seconds, so no epoch begins."""
    kinds = ("session",) if sessions_only else ("session", "user")
    statements.run(
        within(
            "UPDATE tokens SET revoked_ns = ? WHERE org = ? AND user_id = ? AND revoked_ns IS NULL "
            "AND kind IN (*)",
            len(kinds),
        ),
        (now_ns, user.org, user.id, *kinds),
    )


def drop_ended_sessions(statements: Statements, user: User, now_ns: int) -> None:
    """Forget a user's sessions that ended by themselves; the audit still knows when they began."""
    statements.run(
        "DELETE FROM tokens WHERE org = ? AND user_id = ? AND kind = 'session' AND expires_ns < ?",
        (user.org, user.id, now_ns),
    )


def epoch(statements: Statements) -> int:
    """Rises whenever a device's or gateway's token stops being good before its time."""
    return int(statements.rows("SELECT version FROM epochs WHERE name = 'senders'")[0][0])


def bearers(statements: Statements, digests: Sequence[bytes]) -> list[Bearer]:
    """Those of these digests that are known."""
    rows: list[Row] = statements.rows(within(_BEARERS, len(digests)), digests) if digests else []
    return [Bearer(bytes(row[0]), *row[1:]) for row in rows]


def mark_used(statements: Statements, ids: Sequence[int], now_ns: int) -> None:
    """Remember that tokens are in use."""
    statements.run_many("UPDATE tokens SET used_ns = ? WHERE id = ?", [(now_ns, id_) for id_ in ids])


_TOKENS: Final = (
    "SELECT t.id, t.org, t.kind, u.name, t.patient, t.device, t.label, t.created_ns, t.expires_ns, "
    "t.revoked_ns, t.used_ns FROM tokens t LEFT JOIN users u ON u.org = t.org AND u.id = t.user_id"
)
_BEARERS: Final = (
    "SELECT t.digest, t.id, t.org, t.kind, t.patient, t.device, t.expires_ns, t.revoked_ns, u.name, u.role, "
    "u.patient, t.used_ns FROM tokens t LEFT JOIN users u ON u.org = t.org AND u.id = t.user_id "
    "WHERE t.digest IN (*)"
)


def check_org(statements: Statements, org: str) -> None:
    """Raise `NotFound` where there is no such organisation."""
    if not statements.rows("SELECT 1 FROM orgs WHERE org = ?", (org,)):
        raise NotFound("there is no such organisation.", where="organisation", remedy="Make it first.")


def _check(value: str, pattern: str, where: str, remedy: str) -> None:
    if not re.match(pattern, value) or value.endswith("\n"):
        raise InputInvalid("this is not such a name.", where=where, remedy=remedy)
