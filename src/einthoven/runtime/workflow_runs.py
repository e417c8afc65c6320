"""Runs of workflows that survive whoever drives them: begun, resumed and begun again where they failed.

A run is its document, its inputs, and what each invocation gave. All of it is in the database, so any
process can go on with it; a lease makes sure that only one does.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec

from einthoven.clock import Clock
from einthoven.errors import Conflict, EinthovenError, InputInvalid
from einthoven.runtime.claims import Claims
from einthoven.runtime.conducting import Conductor, JournalWriter
from einthoven.runtime.exchange import forget_values
from einthoven.storage import Connection, Database, ObjectStore
from einthoven.storage.leases import give_back, take_lease
from einthoven.storage.runs import (
    KeptRun,
    RunState,
    begin_run,
    end_run,
    entries_of,
    forget_run,
    reopen_run,
    run_of,
    unfinished_runs,
)
from einthoven.workflow import (
    Checked,
    Done,
    Entry,
    Execution,
    Failure,
    Flaw,
    Policy,
    Warn,
    check_text,
    compile_workflow,
)
from einthoven.workflow.flaws import Mode
from einthoven.workflow.fusion import Place, fuse
from einthoven.workflow.references import passing_by_reference

__all__ = ["LEASE_S", "WorkflowInvalid", "WorkflowRuns", "check_document"]

_Found = TypeVar("_Found")
LEASE_S: Final = 10.0
"""So long after its driver died a run can be taken over."""


class WorkflowInvalid(InputInvalid):
    """A workflow with errors; all of them are in ``flaws``."""

    def __init__(self, name: str, flaws: tuple[Flaw, ...]) -> None:
        errors = [one for one in flaws if one.severity == "error"]
        first = errors[0]
        more = f" And {len(errors) - 1} more." if len(errors) > 1 else ""
        super().__init__(
            f"the workflow has errors: {first.code} {first.message}{more}",
            where=f"{name}:{first.place.line}:{first.place.column}",
            remedy=first.hint or "einthoven workflow check says all of them.",
        )
        self.flaws = flaws


def check_document(text: str | bytes, mode: Mode, name: str) -> Checked:
    """Read and check a document.

    Raises
    ------
    WorkflowInvalid : it has errors.
    """
    checked = _checked(text, mode)
    if checked.workflow is None:
        raise WorkflowInvalid(name, checked.flaws)
    return checked


@lru_cache(maxsize=32)
def _checked(text: str | bytes, mode: Mode) -> Checked:
    """One document is run again and again."""
    return check_text(text, mode)


class WorkflowRuns:
    """Begins runs, and goes on with them.

    Parameters
    ----------
    place_of : where functions run; those of one place are made one invocation. None: none are.
    store : where large entries lie; None: in the database, as small ones.
    passes_references : whether whoever invokes keeps large values in ``store`` and fetches them. When a run
        is done, its values go; of one that failed they stay for whoever drives it again.
    holder : this process, among those that share the database.
    """

    def __init__(
        self,
        database: Database,
        conductor: Conductor,
        clock: Clock,
        *,
        org: str = "default",
        policy: Policy | None = None,
        place_of: Place | None = None,
        store: ObjectStore | None = None,
        holder: str | None = None,
        passes_references: bool = False,
    ) -> None:
        self._passes_references = passes_references
        self._store = store
        self._database = database
        self._conductor = conductor
        self._clock = clock
        self._org = org
        self._policy = policy
        self._place_of = place_of
        self._claims = Claims(store)
        self._holder = holder or secrets.token_hex(8)
        self._writer: JournalWriter | None = None

    def close(self) -> None:
        """Write what waits, and let others have the runs."""
        if self._writer is not None:
            self._writer.close()
        self._with(lambda connection: give_back(connection, self._holder))

    def begin(
        self,
        document: bytes,
        inputs: Mapping[str, Any],
        mode: Mode = "strict",
        options: Mapping[str, Any] | None = None,
        id_: str | None = None,
    ) -> KeptRun:
        """Keep a new run; `drive` performs it.

        Parameters
        ----------
        options : with what functions it is performed; kept for whoever goes on with it.
        id_ : its name, which no other run has; None for a random one.

        Raises
        ------
        WorkflowInvalid : the document has errors.
        DatabaseUnavailable : no answer.
        """
        checked = check_document(document, mode, "workflow")
        run = KeptRun(
            id=id_ or secrets.token_hex(8),
            org=self._org,
            workflow=checked.workflow.name if checked.workflow else "",
            mode=mode,
            document=document,
            inputs=msgspec.json.encode(dict(inputs)),
            options=msgspec.json.encode(dict(options or {})),
            began_ns=self._clock.utc_ns(),
        )
        return self._with(lambda connection: begin_run(connection, run))

    async def drive(
        self,
        run: KeptRun,
        warned: Callable[[Warn], None] | None = None,
        ended: Callable[[str], None] | None = None,
    ) -> Entry:
        """Perform a run, or what is left of it, to its end; see `Conductor.run`.

        Raises
        ------
        Conflict : another process drives it.
        DatabaseUnavailable : the journal cannot be written; the run can be resumed.
        """
        if run.state != "going":
            return self._claims.entry(run.outcome or b"")
        self._take(run)
        entries = self._with(lambda connection: entries_of(connection, run.number))
        checked = check_document(run.document, "lenient" if run.mode == "lenient" else "strict", run.id)
        program = compile_workflow(checked, is_lenient=run.mode == "lenient")
        if self._place_of is not None:
            program = fuse(program, self._place_of)
        if self._passes_references:
            program = passing_by_reference(program)
        execution = Execution(
            program,
            run.id,
            msgspec.json.decode(run.inputs),
            known={one.path: self._claims.entry(one.content) for one in entries},
            policy=self._policy,
        )
        if self._writer is None:
            self._writer = JournalWriter(self._database.connect, self._clock, self._claims)
        journal = self._writer.of(run.number, run.id)
        driving = asyncio.ensure_future(
            self._conductor.run(execution, journal=journal, warned=warned, ended=ended)
        )
        keeping = asyncio.ensure_future(self._keep(run))
        try:
            await asyncio.wait({driving, keeping}, return_when=asyncio.FIRST_COMPLETED)
            if keeping.done() and not driving.done():
                keeping.result()
            entry = await driving
        finally:
            driving.cancel()
            keeping.cancel()
        self._end(run, entry)
        return entry

    def resume(self, id_: str) -> KeptRun:
        """A run that somebody left, or that has ended.

        Raises
        ------
        NotFound : no such run.
        """
        return self._with(lambda connection: run_of(connection, self._org, id_))

    def redrive(self, id_: str) -> tuple[KeptRun, int]:
        """A run that failed or was cancelled, to be driven again; how many invocations are repeated.

        What succeeded is not repeated.

        Raises
        ------
        NotFound : no such run.
        Conflict : it is going on, or all of it succeeded.
        """
        run = self.resume(id_)
        if run.state == "going":
            raise Conflict("the run has not ended.", where=id_, remedy="Resume it.")
        if run.state == "done":
            raise Conflict("all of the run succeeded.", where=id_, remedy="Begin a new one.")
        failed = self._with(lambda connection: reopen_run(connection, run.number))
        return msgspec.structs.replace(run, state="going", outcome=None, ended_ns=None), failed

    def cancel(self, id_: str) -> None:
        """End a run that nobody drives; nothing happens when it has ended.

        Raises
        ------
        NotFound : no such run.
        Conflict : another process drives it.
        """
        run = self.resume(id_)
        if run.state == "going":
            self._take(run)
            self._end(run, Failure(code="R714", path="", message="cancelled"))

    def forget(self, id_: str) -> None:
        """Remove a run that has ended, with all that is kept of it.

        Raises
        ------
        NotFound : no such run.
        Conflict : it has not ended.
        """
        run = self.resume(id_)
        if run.state == "going":
            raise Conflict("the run has not ended.", where=id_, remedy="Resume it, or wait for its end.")
        self._claims.forget(run.id)
        self._with(lambda connection: forget_run(connection, run.number))

    def unfinished(self) -> list[KeptRun]:
        """Runs that nobody has brought to an end."""
        return self._with(unfinished_runs)

    def _end(self, run: KeptRun, entry: Entry) -> None:
        state: RunState = (
            "done" if isinstance(entry, Done) else "cancelled" if entry.code == "R714" else "failed"
        )
        now_ns = self._clock.utc_ns()
        outcome = self._claims.packed(run.id, entry)
        self._with(lambda connection: end_run(connection, run.number, state, outcome, now_ns))
        self._with(lambda connection: give_back(connection, self._holder, _job(run)))
        if state == "done" and self._store is not None and self._passes_references:
            with suppress(EinthovenError):  # they go with the run, then
                forget_values(self._store, run.id)

    # ---------------------------------------------------------------- whose it is

    def _take(self, run: KeptRun) -> None:
        now_ns = self._clock.utc_ns()
        if not self._with(lambda one: take_lease(one, _job(run), self._holder, now_ns, LEASE_S)):
            raise Conflict(
                "another process drives this run.",
                where=run.id,
                remedy=f"Wait for its end; where that process died, {LEASE_S:g} s are enough.",
            )

    async def _keep(self, run: KeptRun) -> None:
        while True:
            await asyncio.sleep(LEASE_S / 3)
            await asyncio.get_running_loop().run_in_executor(None, self._take, run)

    def _with(self, use: Callable[[Connection], _Found]) -> _Found:
        connection = self._database.connect()
        try:
            return use(connection)
        finally:
            connection.close()


def _job(run: KeptRun) -> str:
    return f"run:{run.number}"
