"""Recordings that are to be analysed as wholes, and what became of each.

Plain functions inside a transaction of the caller's; those that answer somebody are told the organisation.
"""

import hashlib
import secrets
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from einthoven.errors import EinthovenError, NotFound
from einthoven.storage.database import Row, Statements

__all__ = [
    "KeptRecording",
    "ReadAs",
    "RecordingFile",
    "RecordingState",
    "add_recording",
    "analyse_again",
    "begin_attempt",
    "cancel_recording",
    "describe_recording",
    "digest_of_files",
    "due_recordings",
    "end_recording",
    "forgive_attempt",
    "hours_done",
    "list_recordings",
    "mark_tidy",
    "publish_recording",
    "recording_numbered",
    "recording_of",
    "redrive_recording",
    "unpublished_recording",
]

RecordingState = Literal["waiting", "going", "done", "failed", "cancelled"]

_COLUMNS: Final = (
    "number, id, org, patient, device, read_as, asked_ns, start_ns, lead, fs, samples, hours, remarks, "
    "digest, bytes, files, state, attempts, run, result, published, code, error, is_tidy, created_ns, "
    "began_ns, ended_ns"
)


class RecordingFile(msgspec.Struct, frozen=True):
    """One file of a recording; its content is found by its digest."""

    name: str
    sha256: str
    bytes: int = 0
    object: str = ""
    """Where it lies in the operator's store; empty for what was uploaded."""


class ReadAs(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the sender wants the files to be read; what is left out they say themselves."""

    lead: str = ""
    """Its name or number; empty for the first."""
    fs: float | None = None
    gain: float | None = None
    baseline: int | None = None


class KeptRecording(msgspec.Struct, frozen=True, kw_only=True):
    """One recording as it is kept."""

    number: int = 0
    """Given by the database."""
    id: str = ""
    org: str
    patient: str
    device: str
    read_as: ReadAs = ReadAs()
    asked_ns: int = -1
    """UTC of the first sample as the sender says; -1 where the file says it."""
    start_ns: int | None = None
    lead: str | None = None
    """The name of the one that is analysed."""
    fs: float | None = None
    samples: int | None = None
    hours: int | None = None
    remarks: tuple[str, ...] = ()
    """What was taken for granted of its files, and what of them was left out."""
    digest: str
    """Of its files together."""
    bytes: int = 0
    files: tuple[RecordingFile, ...]
    """The first is the one that is opened."""
    state: RecordingState = "waiting"
    attempts: int = 0
    run: str | None = None
    result: str | None = None
    """Object with the findings of the whole."""
    published: int | None = None
    code: str = ""
    error: str = ""
    is_tidy: bool = False
    """Whether what was only needed on the way is gone."""
    created_ns: int = 0
    began_ns: int | None = None
    ended_ns: int | None = None


_READ_AS: Final = msgspec.json.Decoder(ReadAs)
_REMARKS: Final = msgspec.json.Decoder(tuple[str, ...])
_FILES: Final = msgspec.json.Decoder(tuple[RecordingFile, ...])


def digest_of_files(files: Sequence[RecordingFile]) -> str:
    """SHA-256 of what a recording is: of its one file, or of the names and digests of several."""
    if len(files) == 1:
        return files[0].sha256
    lines = "".join(sorted(f"{one.sha256}  {one.name}\n" for one in files))
    return hashlib.sha256(lines.encode()).hexdigest()


def add_recording(statements: Statements, new: KeptRecording) -> tuple[KeptRecording, bool]:
    """Keep a recording to be analysed, or find the one that is the same; whether it is new."""
    read_as = msgspec.json.encode(new.read_as).decode()
    id_ = f"rec_{secrets.token_hex(12)}"
    rows = statements.rows(
        "INSERT INTO recordings (id, org, patient, device, read_as, asked_ns, start_ns, digest, bytes, "
        "files, remarks, state, attempts, code, error, is_tidy, created_ns) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '[]', 'waiting', 0, '', '', 0, ?) "
        "ON CONFLICT (org, patient, device, digest, read_as, asked_ns) DO NOTHING RETURNING id",
        (
            *(id_, new.org, new.patient, new.device, read_as, new.asked_ns, new.start_ns),
            *(new.digest, new.bytes, msgspec.json.encode(new.files), new.created_ns),
        ),
    )
    if rows:
        return recording_of(statements, new.org, id_), True
    found = statements.rows(
        f"SELECT {_COLUMNS} FROM recordings WHERE org = ? AND patient = ? AND device = ? "  # noqa: S608
        "AND digest = ? AND read_as = ? AND asked_ns = ?",
        (new.org, new.patient, new.device, new.digest, read_as, new.asked_ns),
    )
    return _recording(found[0]), False


def recording_of(statements: Statements, org: str, id_: str, *, patient: str | None = None) -> KeptRecording:
    """One recording, of one patient if one is named.

    Raises
    ------
    NotFound : there is none that the asker may see.
    """
    which, values = ("", ()) if patient is None else (" AND patient = ?", (patient,))
    rows = statements.rows(
        f"SELECT {_COLUMNS} FROM recordings WHERE org = ? AND id = ?{which}",  # noqa: S608
        (org, id_, *values),
    )
    if not rows:
        raise NotFound("there is no such recording.", where="recording", remedy="List the recordings.")
    return _recording(rows[0])


def list_recordings(
    statements: Statements,
    org: str,
    *,
    patient: str | None = None,
    before: int = 2**62,
    limit: int = 100,
    seen: tuple[str, Sequence[object]] = ("1 = 1", ()),
) -> list[KeptRecording]:
    """The newest first, from before a number on; of those that a condition on their rows leaves."""
    which, values = ("", ()) if patient is None else (" AND patient = ?", (patient,))
    rows = statements.rows(
        f"SELECT {_COLUMNS} FROM recordings WHERE org = ?{which} AND number < ? "  # noqa: S608
        f"AND {seen[0]} ORDER BY number DESC LIMIT ?",
        (org, *values, before, *seen[1], limit),
    )
    return list(map(_recording, rows))


def due_recordings(statements: Statements, limit: int) -> list[KeptRecording]:
    """Those with which something is still to be done, of all organisations, the oldest first."""
    rows = statements.rows(
        f"SELECT {_COLUMNS} FROM recordings WHERE is_tidy = 0 ORDER BY number LIMIT ?",  # noqa: S608
        (limit,),
    )
    return list(map(_recording, rows))


def recording_numbered(statements: Statements, number: int) -> KeptRecording:
    """One recording by its number, as it is now."""
    rows = statements.rows(f"SELECT {_COLUMNS} FROM recordings WHERE number = ?", (number,))  # noqa: S608
    return _recording(rows[0])


def begin_attempt(statements: Statements, number: int) -> bool:
    """Count one more attempt at a recording; False when it has ended meanwhile."""
    return bool(
        statements.run(
            "UPDATE recordings SET attempts = attempts + 1 "
            "WHERE number = ? AND state IN ('waiting', 'going')",
            (number,),
        )
    )


def forgive_attempt(statements: Statements, number: int) -> None:
    """Do not count an attempt that ended for a reason that will pass."""
    statements.run(
        "UPDATE recordings SET attempts = attempts - 1 WHERE number = ? AND attempts > 0", (number,)
    )


def describe_recording(
    statements: Statements,
    number: int,
    *,
    start_ns: int,
    lead: str,
    fs: float,
    samples: int,
    hours: int,
    remarks: tuple[str, ...],
    size: int,
    run: str,
    now_ns: int,
) -> bool:
    """Note what the file says and which run analyses it; False when it has ended meanwhile."""
    return bool(
        statements.run(
            "UPDATE recordings SET state = 'going', start_ns = ?, lead = ?, fs = ?, samples = ?, hours = ?, "
            "remarks = ?, bytes = ?, run = ?, began_ns = COALESCE(began_ns, ?) "
            "WHERE number = ? AND state IN ('waiting', 'going')",
            (
                *(start_ns, lead, fs, samples, hours, msgspec.json.encode(remarks).decode()),
                *(size, run, now_ns, number),
            ),
        )
    )


def end_recording(
    statements: Statements,
    number: int,
    state: RecordingState,
    now_ns: int,
    *,
    result: str | None = None,
    error: EinthovenError | None = None,
) -> bool:
    """Note how a recording ended; False when it had ended before."""
    code, what = ("", "") if error is None else (error.code, f"{error.what} {error.remedy}".strip())
    return bool(
        statements.run(
            "UPDATE recordings SET state = ?, result = ?, code = ?, error = ?, ended_ns = ? "
            "WHERE number = ? AND state IN ('waiting', 'going')",
            (state, result, code, what, now_ns, number),
        )
    )


def cancel_recording(statements: Statements, number: int, now_ns: int) -> bool:
    """End a recording that is not to be analysed; False when it had ended before."""
    return end_recording(statements, number, "cancelled", now_ns)


def redrive_recording(statements: Statements, number: int) -> bool:
    """Begin anew with one that failed or was cancelled, once all is tidy; False where it is not so."""
    return bool(
        statements.run(
            "UPDATE recordings SET state = 'waiting', attempts = 0, run = NULL, code = '', error = '', "
            "is_tidy = 0, ended_ns = NULL WHERE number = ? AND is_tidy = 1 "
            "AND state IN ('failed', 'cancelled')",
            (number,),
        )
    )


def analyse_again(statements: Statements, number: int) -> bool:
    """Have one that was analysed analysed anew, by functions of other versions; False where it is not so.

    What is known of it stays what it was until the new result takes its place.
    """
    return bool(
        statements.run(
            "UPDATE recordings SET state = 'waiting', attempts = 0, run = NULL, is_tidy = 0, "
            "ended_ns = NULL, published = NULL WHERE number = ? AND is_tidy = 1 AND state = 'done'",
            (number,),
        )
    )


def unpublished_recording(statements: Statements) -> KeptRecording | None:
    """The oldest one that was analysed and is in no view yet, of all organisations."""
    rows = statements.rows(
        f"SELECT {_COLUMNS} FROM recordings WHERE state = 'done' AND published IS NULL "  # noqa: S608
        "ORDER BY number LIMIT 1"
    )
    return _recording(rows[0]) if rows else None


def publish_recording(statements: Statements, one: KeptRecording, now_ns: int) -> None:
    """Note that views were made of this result."""
    statements.run(
        "UPDATE recordings SET published = ? WHERE number = ? AND result = ?",
        (now_ns, one.number, one.result),
    )


def mark_tidy(statements: Statements, number: int) -> None:
    """Note that nothing is left of a recording that has ended but what is kept of it."""
    statements.run(
        "UPDATE recordings SET is_tidy = 1 WHERE number = ? AND state NOT IN ('waiting', 'going')", (number,)
    )


def hours_done(statements: Statements, recording: KeptRecording) -> int:
    """How many of its hours have been analysed: of all invocations that ended, those beside the first."""
    if recording.state == "done":
        return recording.hours or 0
    if recording.run is None:
        return 0
    rows = statements.rows(
        "SELECT COUNT(*) FROM invocations WHERE is_failure = 0 "
        "AND run = (SELECT number FROM runs WHERE org = ? AND id = ?)",
        (recording.org, recording.run),
    )
    return max(0, min(int(rows[0][0]) - 1, recording.hours or 0))


def _recording(row: Row) -> KeptRecording:
    named = dict(zip(_COLUMNS.split(", "), row, strict=True))
    named["read_as"] = _READ_AS.decode(named["read_as"])
    named["files"] = _FILES.decode(bytes(named["files"]))
    named["remarks"] = _REMARKS.decode(named["remarks"])
    named["is_tidy"] = bool(named["is_tidy"])
    return KeptRecording(**named)
