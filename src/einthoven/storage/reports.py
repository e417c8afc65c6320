"""Finalised reports of recordings: versions that are added and never changed."""

import msgspec

from einthoven.errors import Conflict, NotFound
from einthoven.storage.database import Statements

__all__ = ["KeptReport", "add_report", "newest_report", "report_of", "reports_of"]


class KeptReport(msgspec.Struct, frozen=True, kw_only=True):
    """One version of the report of a recording."""

    org: str
    recording: str
    version: int
    sha256: str
    """Of the file."""
    bytes: int
    object: str
    """Where the file lies in the service's object store."""
    by: str
    """The user who stands for it."""
    at_ns: int
    conclusion: str


_COLUMNS = "org, recording, version, sha256, bytes, object, by_user, at_ns, conclusion"


def add_report(statements: Statements, new: KeptReport) -> None:
    """Keep a version.

    Raises
    ------
    Conflict : somebody else finalised meanwhile.
    """
    added = statements.run(
        f"INSERT INTO reports ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608
        "ON CONFLICT DO NOTHING",
        msgspec.structs.astuple(new),
    )
    if added != 1:
        raise Conflict(
            "somebody else finalised the report meanwhile.",
            where="amends",
            remedy="Read the newest version, and amend that.",
        )


def reports_of(statements: Statements, org: str, recording: str) -> list[KeptReport]:
    """All versions, the newest first."""
    rows = statements.rows(
        f"SELECT {_COLUMNS} FROM reports WHERE org = ? AND recording = ? ORDER BY version DESC",  # noqa: S608
        (org, recording),
    )
    return [_report(row) for row in rows]


def newest_report(statements: Statements, org: str, recording: str) -> KeptReport | None:
    """The newest version; None where nobody finalised any."""
    return next(iter(reports_of(statements, org, recording)), None)


def report_of(statements: Statements, org: str, recording: str, version: int) -> KeptReport:
    """One version.

    Raises
    ------
    NotFound : there is none.
    """
    found = next((one for one in reports_of(statements, org, recording) if one.version == version), None)
    if found is None:
        raise NotFound("there is no such version.", where="version", remedy="List the reports.")
    return found


def _report(row: tuple[object, ...]) -> KeptReport:
    found: KeptReport = msgspec.convert(dict(zip(KeptReport.__struct_fields__, row, strict=True)), KeptReport)
    return found
