"""Grants as rows, and which patients somebody sees; in the caller's transaction."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from einthoven.errors import NotFound
from einthoven.storage.database import Row, Statements, within
from einthoven.trust.grants import SEEN_CLASSES, AccessRule, Grant, SeenClass

__all__ = [
    "KeptGrant",
    "Sight",
    "add_grant",
    "ended_emergencies",
    "grant_of",
    "grants_for",
    "grants_of_account",
    "list_grants",
    "mark_told",
    "rule_of",
    "set_rule",
    "void_grant",
]

_BITS: Final[dict[SeenClass, int]] = {one: 1 << place for place, one in enumerate(SEEN_CLASSES)}
"""How the classes of a grant stand in its row."""
_COLUMNS: Final = (
    "g.number, g.why, g.id, g.patient, g.account, g.role, g.data, g.basis, g.since_ns, g.until_ns, "
    "g.revoked_ns, g.given_by, g.given_role, g.reason, g.case_number"
)
_STANDS: Final = (
    "(g.account = '' OR EXISTS (SELECT 1 FROM users u WHERE u.org = g.org AND u.name = g.account "
    "AND u.created_ns <= g.since_ns))"
)
"""Whoever is called so now is who was meant then."""


class KeptGrant(msgspec.Struct, frozen=True):
    """A grant, its number, and what was said about it in words, which leave this table for no other."""

    number: int
    why: str
    grant: Grant


class Sight(msgspec.Struct, frozen=True):
    """Whose data somebody sees in a list, at a moment; the same as `decide_access` says of each."""

    org: str
    account: str
    role: str
    own_patient: str | None
    rule: str
    now_ns: int

    @property
    def is_limited(self) -> bool:
        """Whether it is not all of the organisation's."""
        return self.role == "patient" or self.own_patient is not None or self.rule != "open"

    def of(self, data: SeenClass, column: str = "patient") -> tuple[str, tuple[Any, ...]]:
        """A condition on a column that holds pseudonyms, and its values."""
        if self.role == "patient" or self.own_patient is not None:
            return f"{column} = ?", (self.own_patient or "",)
        if not self.is_limited:
            return "1 = 1", ()
        return (
            f"{column} IN (SELECT g.patient FROM grants g WHERE g.org = ? "  # noqa: S608 - a column's name
            "AND ((g.account = ? AND g.account <> '') OR (g.role = ? AND g.role <> '')) "
            "AND (g.data / ?) % 2 = 1 AND g.since_ns <= ? AND (g.until_ns IS NULL OR g.until_ns > ?) "
            f"AND g.revoked_ns IS NULL AND {_STANDS})",
            (self.org, self.account, self.role, _BITS[data], self.now_ns, self.now_ns),
        )


def rule_of(statements: Statements, org: str) -> str:
    """Whether a role is enough; ``granted`` where nobody knows."""
    rows = statements.rows("SELECT access FROM orgs WHERE org = ?", (org,))
    return str(rows[0][0]) if rows else "granted"


def set_rule(statements: Statements, org: str, rule: AccessRule) -> bool:
    """Put another rule in force; whether it is another one."""
    return bool(statements.run("UPDATE orgs SET access = ? WHERE org = ? AND access <> ?", (rule, org, rule)))


def add_grant(statements: Statements, org: str, grant: Grant, why: str) -> KeptGrant:
    """Keep a grant; one in an emergency is watched until it ends."""
    rows = statements.rows(
        "INSERT INTO grants (id, org, patient, account, role, data, basis, since_ns, until_ns, given_by, "
        "given_role, reason, case_number, why, is_told) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "RETURNING number",
        (
            grant.id,
            org,
            grant.patient,
            grant.account,
            grant.role,
            sum(_BITS[one] for one in set(grant.data)),
            grant.basis,
            grant.since_ns,
            grant.until_ns,
            grant.by,
            grant.by_role,
            grant.reason,
            grant.case,
            why,
            int(grant.basis == "emergency"),
        ),
    )
    return KeptGrant(int(rows[0][0]), why, grant)


def grant_of(statements: Statements, org: str, patient: str, id_: str) -> KeptGrant:
    """One grant.

    Raises
    ------
    NotFound : this patient has none of that id.
    """
    rows = statements.rows(
        f"SELECT {_COLUMNS} FROM grants g WHERE g.org = ? AND g.patient = ? AND g.id = ? /*lock*/",  # noqa: S608
        (org, patient, id_),
    )
    if not rows:
        raise NotFound("there is no such grant.", where="grant", remedy="List the patient's grants.")
    return _kept(rows[0])


def void_grant(statements: Statements, id_: str, now_ns: int) -> bool:
    """End a grant; whether it had not been ended before."""
    return bool(
        statements.run(
            "UPDATE grants SET revoked_ns = ? WHERE id = ? AND revoked_ns IS NULL "
            "AND (until_ns IS NULL OR until_ns > ?)",
            (now_ns, id_, now_ns),
        )
    )


def list_grants(
    statements: Statements,
    org: str,
    patient: str,
    *,
    to: tuple[str, str] | None = None,
    after: int = 0,
    limit: int,
) -> list[KeptGrant]:
    """A patient's grants in the order in which they were given; to an account or role only, if named."""
    sql = f"SELECT {_COLUMNS} FROM grants g WHERE g.org = ? AND g.patient = ? AND g.number > ?"  # noqa: S608
    values: list[Any] = [org, patient, after]
    if to is not None:
        sql += " AND (g.account = ? OR g.role = ?)"
        values += to
    rows = statements.rows(f"{sql} ORDER BY g.number LIMIT ?", (*values, limit))
    return list(map(_kept, rows))


def grants_for(
    statements: Statements, org: str, patients: Sequence[str], *, account: str = "", role: str = ""
) -> list[Grant]:
    """Grants on some patients that speak of whoever is called or has the role so; without either, all.

    Those to somebody who is not there any more are left out, though another has the name now.
    """
    if not patients:
        return []
    sql = (
        f"SELECT {_COLUMNS} FROM grants g WHERE g.org = ? AND g.patient IN (*) AND g.revoked_ns IS NULL "  # noqa: S608
        f"AND {_STANDS}"
    )
    values: list[Any] = [org, *patients]
    if account or role:
        sql += " AND (g.account = ? OR g.role = ?)"
        values += [account, role]
    return [_kept(row).grant for row in statements.rows(within(sql, len(patients)), values)]


def grants_of_account(statements: Statements, org: str, account: str, now_ns: int) -> list[Grant]:
    """What somebody holds now by name."""
    rows = statements.rows(
        f"SELECT {_COLUMNS} FROM grants g WHERE g.org = ? AND g.account = ? AND g.revoked_ns IS NULL "  # noqa: S608
        "AND (g.until_ns IS NULL OR g.until_ns > ?) ORDER BY g.number",
        (org, account, now_ns),
    )
    return [_kept(row).grant for row in rows]


def ended_emergencies(statements: Statements, now_ns: int, limit: int) -> list[tuple[str, Grant]]:
    """Organisation and grant of emergencies that are over and still alerted of."""
    rows = statements.rows(
        f"SELECT g.org, {_COLUMNS} FROM grants g WHERE g.is_told = 1 "  # noqa: S608
        "AND (g.until_ns <= ? OR g.revoked_ns IS NOT NULL) ORDER BY g.number LIMIT ?",
        (now_ns, limit),
    )
    return [(str(row[0]), _kept(row[1:]).grant) for row in rows]


def mark_told(statements: Statements, id_: str) -> None:
    """Its end was alerted of."""
    statements.run("UPDATE grants SET is_told = 0 WHERE id = ?", (id_,))


def _kept(row: Row) -> KeptGrant:
    number, why, id_, patient, account, role, data, basis, since_ns, until_ns, revoked_ns, *given = row
    by, by_role, reason, case = given
    return KeptGrant(
        int(number),
        str(why),
        Grant(
            id=id_,
            patient=patient,
            account=account,
            role=role,
            data=tuple(one for one, bit in _BITS.items() if data & bit),
            basis=basis,
            since_ns=since_ns,
            until_ns=until_ns,
            revoked_ns=revoked_ns,
            by=by,
            by_role=by_role,
            reason=reason,
            case=case,
        ),
    )
