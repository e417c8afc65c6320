"""What patients agreed to, version by version, and what was decided and moved because of it: rows.

Versions of a consent are only ever added. What a resource says is the affair of whoever reads it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from einthoven.errors import Conflict
from einthoven.storage.database import Statements, within

__all__ = [
    "Movement",
    "add_consent",
    "add_movements",
    "consents_of",
    "due_movements",
    "end_movements",
    "newest_consent",
    "note_decision",
    "orgs_with_movements",
]

_AT_ONCE: Final = 500
_NEWEST: Final = (
    "SELECT patient, version, resource FROM consents c WHERE org = ? AND patient IN (*) AND version = "
    "(SELECT MAX(version) FROM consents n WHERE n.org = c.org AND n.patient = c.patient)"
)


class Movement(msgspec.Struct, frozen=True, kw_only=True):
    """What of a patient's data went to a region, in sum."""

    org: str
    patient: str
    region: str
    tier: str
    data: str
    """Class of it."""
    since_ns: int
    content_bytes: int


def newest_consent(statements: Statements, org: str, patient: str) -> bytes | None:
    """The newest version of a patient's consent; None if there is none."""
    return consents_of(statements, org, [patient]).get(patient)


def consents_of(statements: Statements, org: str, patients: Collection[str]) -> Mapping[str, bytes]:
    """The newest version of each patient's consent; nothing of those who have none."""
    found: dict[str, bytes] = {}
    wanted = list(patients)
    for first in range(0, len(wanted), _AT_ONCE):
        some = wanted[first : first + _AT_ONCE]
        for patient, _, resource in statements.rows(within(_NEWEST, len(some)), (org, *some)):
            found[patient] = bytes(resource)
    return found


def add_consent(
    statements: Statements, org: str, patient: str, version: int, resource: bytes, *, by: str, at_ns: int
) -> None:
    """Keep the next version.

    Raises
    ------
    Conflict : somebody else has just kept it.
    """
    added = statements.run(
        "INSERT INTO consents (org, patient, version, at_ns, account, resource) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT DO NOTHING",
        (org, patient, version, at_ns, by, resource),
    )
    if not added:
        raise Conflict(
            "somebody else has just changed it.", where="meta.versionId", remedy="Read the newest version."
        )


def note_decision(
    statements: Statements, org: str, patient: str, function: str, region: str, said: str
) -> bool:
    """Remember what was decided; whether that is something else than before."""
    return bool(
        statements.rows(
            "INSERT INTO data_decisions (org, patient, function, region, said) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (org, patient, function, region) DO UPDATE SET said = excluded.said "
            "WHERE data_decisions.said <> excluded.said RETURNING org",
            (org, patient, function, region, said),
        )
    )


def add_movements(statements: Statements, movements: Sequence[Movement]) -> None:
    """Add to what went; rows are locked in the order of their keys."""
    statements.run_many(
        "INSERT INTO data_movements (org, patient, region, tier, data, since_ns, content_bytes) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (org, patient, region, tier, data) DO UPDATE SET "
        "content_bytes = data_movements.content_bytes + excluded.content_bytes",
        sorted(msgspec.structs.astuple(one) for one in movements),
    )


def orgs_with_movements(statements: Statements, before_ns: int) -> list[str]:
    """Whose sums were begun before."""
    rows = statements.rows(
        "SELECT DISTINCT org FROM data_movements WHERE since_ns < ? ORDER BY org", (before_ns,)
    )
    return [str(row[0]) for row in rows]


def due_movements(statements: Statements, org: str, before_ns: int, most: int) -> list[Movement]:
    """Sums that were begun before; nobody else adds to them until the transaction ends."""
    rows = statements.rows(
        "SELECT patient, region, tier, data, since_ns, content_bytes FROM data_movements "
        "WHERE org = ? AND since_ns < ? ORDER BY patient, region, tier, data LIMIT ? /*lock*/",
        (org, before_ns, most),
    )
    return [
        Movement(org=org, patient=a, region=b, tier=c, data=d, since_ns=e, content_bytes=f)
        for a, b, c, d, e, f in rows
    ]


def end_movements(statements: Statements, movements: Sequence[Movement]) -> None:
    """They are told; what goes from now on is summed anew."""
    statements.run_many(
        "DELETE FROM data_movements WHERE org = ? AND patient = ? AND region = ? AND tier = ? AND data = ?",
        [(one.org, one.patient, one.region, one.tier, one.data) for one in movements],
    )
