"""What patients agreed to, version by version, and what was decided and moved because of it: rows.

Versions of a consent are only ever added. What a resource says is the affair of whoever reads it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from einthoven.errors import Conflict
from einthoven.storage.database import Statements, within

__all__ = [
    "Movement",
    "add_consent",
    "add_movements",
    "consents_of",
    "newest_consent",
    "note_decision",
    "take_movements",
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


def take_movements(statements: Statements, before_ns: int, most: int) -> Iterator[Movement]:
    """Sums that were begun before, and are so ended."""
    rows = statements.rows(
        "SELECT org, patient, region, tier, data, since_ns, content_bytes FROM data_movements "
        "WHERE since_ns < ? ORDER BY org, patient, region, tier, data LIMIT ? /*lock*/",
        (before_ns, most),
    )
    statements.run_many(
        "DELETE FROM data_movements WHERE org = ? AND patient = ? AND region = ? AND tier = ? AND data = ?",
        [row[:5] for row in rows],
    )
    return (
        Movement(org=a, patient=b, region=c, tier=d, data=e, since_ns=f, content_bytes=g)
        for a, b, c, d, e, f, g in rows
    )
