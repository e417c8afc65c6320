"""Runs of workflows and what each invocation gave: enough to go on after a crash, doing nothing twice.

What is kept of an invocation is written once, under its path; whoever writes it a second time changes
nothing.
"""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from einthoven.errors import NotFound
from einthoven.storage.database import Connection, Row, Statements

__all__ = [
    "KeptEntry",
    "KeptRun",
    "RunState",
    "append_entries",
    "begin_run",
    "end_run",
    "entries_of",
    "forget_run",
    "list_runs",
    "reopen_run",
    "run_of",
    "unfinished_runs",
]

RunState = Literal["going", "done", "failed", "cancelled"]

_COLUMNS: Final = (
    "number, id, org, workflow, mode, document, inputs, options, state, began_ns, ended_ns, outcome"
)


class KeptRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run as it is kept."""

    number: int = 0
    """Given by the database."""
    id: str
    org: str
    workflow: str
    mode: str
    """How strictly its document is read."""
    document: bytes
    inputs: bytes
    options: bytes = b"{}"
    """With what it is performed, as whoever began it wrote it: who goes on with it needs the same."""
    state: RunState = "going"
    began_ns: int
    ended_ns: int | None = None
    outcome: bytes | None = None


class KeptEntry(msgspec.Struct, frozen=True):
    """How one invocation ended."""

    path: str
    is_failure: bool
    ended_ns: int
    took_ns: int
    """Since its first attempt began."""
    content: bytes


def begin_run(connection: Connection, run: KeptRun) -> KeptRun:
    """Keep a new run; it is on disk when this returns, with its number."""
    with connection.writing() as statements:
        statements.run(
            "INSERT INTO runs (id, org, workflow, mode, document, inputs, options, state, began_ns) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, 'going', ?)",
            (run.id, run.org, run.workflow, run.mode, run.document, run.inputs, run.options, run.began_ns),
        )
        number: int = statements.rows("SELECT number FROM runs WHERE id = ?", (run.id,))[0][0]
    return msgspec.structs.replace(run, number=number)


def append_entries(statements: Statements, entries: Iterable[tuple[int, KeptEntry]]) -> None:
    """Keep how invocations of runs (by their numbers) ended, within a transaction of the caller's."""
    statements.run_many(
        "INSERT INTO invocations (run, path, is_failure, ended_ns, took_ns, entry) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (run, path) DO NOTHING",
        [
            (run, one.path, int(one.is_failure), one.ended_ns, one.took_ns, one.content)
            for run, one in entries
        ],
    )


def end_run(connection: Connection, run: int, state: RunState, outcome: bytes, now_ns: int) -> None:
    """Keep how a run ended."""
    with connection.writing() as statements:
        statements.run(
            "UPDATE runs SET state = ?, outcome = ?, ended_ns = ? WHERE number = ?",
            (state, outcome, now_ns, run),
        )


def reopen_run(connection: Connection, run: int) -> int:
    """Let a run that ended go on: its failed invocations are forgotten; how many they were."""
    with connection.writing() as statements:
        statements.run(
            "UPDATE runs SET state = 'going', outcome = NULL, ended_ns = NULL WHERE number = ?", (run,)
        )
        return statements.run("DELETE FROM invocations WHERE run = ? AND is_failure = 1", (run,))


def forget_run(connection: Connection, run: int) -> None:
    """Remove a run and its entries."""
    with connection.writing() as statements:
        statements.run("DELETE FROM invocations WHERE run = ?", (run,))
        statements.run("DELETE FROM runs WHERE number = ?", (run,))


def run_of(connection: Connection, org: str, id_: str) -> KeptRun:
    """One run.

    Raises
    ------
    NotFound : the organisation has no such run.
    """
    with connection.reading() as statements:
        rows = statements.rows(f"SELECT {_COLUMNS} FROM runs WHERE org = ? AND id = ?", (org, id_))  # noqa: S608
    if not rows:
        raise NotFound("there is no such run.", where=id_, remedy="List the runs.")
    return _run(rows[0])


def list_runs(connection: Connection, org: str, limit: int = 100) -> list[KeptRun]:
    """The newest runs first."""
    with connection.reading() as statements:
        rows = statements.rows(
            f"SELECT {_COLUMNS} FROM runs WHERE org = ? ORDER BY number DESC LIMIT ?",  # noqa: S608
            (org, limit),
        )
    return list(map(_run, rows))


def unfinished_runs(connection: Connection) -> list[KeptRun]:
    """What was going on when somebody ended, of all organisations, the oldest first."""
    with connection.reading() as statements:
        rows = statements.rows(f"SELECT {_COLUMNS} FROM runs WHERE state = 'going' ORDER BY number")  # noqa: S608
    return list(map(_run, rows))


def entries_of(connection: Connection, run: int) -> list[KeptEntry]:
    """How the invocations of a run ended, in the order of their ending."""
    with connection.reading() as statements:
        rows = statements.rows(
            "SELECT path, is_failure, ended_ns, took_ns, entry FROM invocations WHERE run = ? "
            "ORDER BY ended_ns, path",
            (run,),
        )
    return [
        KeptEntry(path, bool(is_failure), ended_ns, took_ns, entry)
        for path, is_failure, ended_ns, took_ns, entry in rows
    ]


def _run(row: Row) -> KeptRun:
    named = dict(zip(_COLUMNS.split(", "), row, strict=True))
    for name in ("document", "inputs", "options", "outcome"):
        named[name] = None if named[name] is None else bytes(named[name])
    return KeptRun(**named)
