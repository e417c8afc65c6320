"""Runs that are cut off at every write of their journal, and killed: they end as if nothing had happened."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from einthoven.clock import SystemClock, VirtualClock
from einthoven.errors import Conflict, DatabaseUnavailable, NotFound, ObjectDamaged
from einthoven.runtime.conducting import Conductor, InProcess
from einthoven.runtime.workflow_runs import WorkflowInvalid, WorkflowRuns
from einthoven.storage import Connection, Database, FolderStore, open_database
from einthoven.storage.database import Statements
from einthoven.storage.runs import entries_of, list_runs
from einthoven.workflow import Done, Entry, Failure, Policy

WORKFLOW = b"""
name: "w"
dataIns: [{name: "n", type: "number", source: "n"}]
workflowBody:
- for:
    name: "chain"
    dataLoops: [{name: "v", type: "number", initSource: "w/n", loopSource: "link/y"}]
    loopCounter: {name: "i", type: "number", from: "0", to: "95"}
    loopBody:
    - function:
        name: "link"
        type: "step"
        dataIns: [{name: "x", type: "number", source: "chain/v"}]
        dataOuts: [{name: "y", type: "number"}]
    dataOuts: [{name: "v", type: "number", source: "chain/v"}]
- parallelFor:
    name: "wide"
    loopCounter: {name: "k", type: "number", from: "0", to: "20"}
    loopBody:
    - function:
        name: "first"
        type: "step"
        dataIns: [{name: "x", type: "number", source: "wide/k"}]
        dataOuts: [{name: "y", type: "number"}]
    - function:
        name: "second"
        type: "step"
        dataIns: [{name: "x", type: "number", source: "first/y"}]
        dataOuts: [{name: "y", type: "number"}]
    dataOuts: [{name: "ys", type: "collection", source: "second/y"}]
    constraints: [{name: "concurrency", value: "3"}]
dataOuts:
- {name: "v", type: "number", source: "chain/v"}
- {name: "ys", type: "collection", source: "wide/ys"}
"""
RESULT = Done({"v": 96, "ys": [k + 2 for k in range(20)]})
INVOCATIONS = 135


class Steps:
    """The functions of the workflow; where that is wanted, the journal is written before each."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.written: Callable[[], Awaitable[None]] | None = None

    async def invoke(self, invoke: Any) -> dict[str, Any]:
        self.keys.append(invoke.path)
        if self.written is not None:
            await self.written()
        return {"y": invoke.inputs["x"] + 1}


class Crashing:
    """A database that is gone from a certain write on: before it, or when it was done but nobody was told."""

    def __init__(self, database: Database, at: int, *, is_done: bool) -> None:
        self._database = database
        self._left = at
        self._is_done = is_done
        self.writes = 0

    def migrate(self) -> int:
        return self._database.migrate()

    def connect(self) -> Connection:
        return _CrashingConnection(self, self._database.connect())

    def cut(self) -> None:
        raise DatabaseUnavailable("the machine is gone.", where="test", remedy="None.")

    @contextmanager
    def written(self, connection: Connection) -> Iterator[Statements]:
        self.writes += 1
        self._left -= 1
        if self._left < 0 or (self._left == 0 and not self._is_done):
            self.cut()
        with connection.writing() as statements:
            yield statements
        if self._left == 0:
            self.cut()


class _CrashingConnection:
    def __init__(self, owner: Crashing, connection: Connection) -> None:
        self._owner, self._connection = owner, connection
        self.reading, self.tidy, self.close = connection.reading, connection.tidy, connection.close

    def writing(self) -> Any:
        return self._owner.written(self._connection)


@pytest.fixture
def on_disk(tmp_path: Path) -> Database:
    found = open_database(str(tmp_path / "runs.db"))
    found.migrate()
    return found


def runs_on(database: Any, invoker: Any, holder: str = "one", clock: Any = None) -> WorkflowRuns:
    clock = clock or SystemClock()
    policy = Policy(backoff_s=0.0001)
    return WorkflowRuns(
        database, Conductor(invoker, slots=8, clock=clock), clock, policy=policy, holder=holder
    )


def known_paths(database: Database, run: int) -> set[str]:
    with closing(database.connect()) as connection:
        return {one.path for one in entries_of(connection, run)}


async def written(runs: WorkflowRuns, run: int) -> None:
    assert runs._writer is not None
    await runs._writer.flush(run)


def states(database: Database) -> list[str]:
    with closing(database.connect()) as connection:
        return [one.state for one in list_runs(connection, "default")]


def driven(runs: WorkflowRuns, run: Any) -> Entry:
    entry = asyncio.run(runs.drive(run))
    runs.close()
    return entry


def test_every_write_of_the_journal_may_be_the_last(on_disk: Database) -> None:
    points = 0
    kept = 0
    for is_done in (False, True):
        at = 1
        while True:
            first = Steps()
            runs = runs_on(Crashing(on_disk, at, is_done=is_done), first)
            run = runs_on(on_disk, first).begin(WORKFLOW, {"n": 1})
            first.written = partial(written, runs, run.number)
            try:
                entry = driven(runs, run)
            except DatabaseUnavailable:
                entry = None
            if entry is not None:
                break
            points += 1
            known = known_paths(on_disk, run.number)
            kept += len(known)
            second = Steps()
            assert driven(runs_on(on_disk, second), run) == RESULT
            assert not set(second.keys) & known, "what was kept is not done again"
            assert len(second.keys) == INVOCATIONS - len(known), "what was not is done once"
            at += 1
    assert points >= 200
    assert kept > 0


def test_a_run_that_ended_is_not_performed_again(database: Database) -> None:
    runs = runs_on(database, Steps())
    run = runs.begin(WORKFLOW, {"n": 1})
    assert driven(runs, run) == RESULT
    again = runs_on(database, None)
    assert driven(again, again.resume(run.id)) == RESULT
    assert states(database) == ["done"]
    assert again.unfinished() == []


def test_only_one_process_drives_a_run_until_its_lease_is_over(database: Database) -> None:
    clock = VirtualClock(1_000_000_000)
    dead = runs_on(database, Steps(), "dead", clock)
    run = dead.begin(WORKFLOW, {"n": 1})
    dead._take(run)
    other = runs_on(database, Steps(), "other", clock)
    with pytest.raises(Conflict):
        asyncio.run(other.drive(run))
    assert [one.id for one in other.unfinished()] == [run.id]
    clock.advance(11.0)
    assert asyncio.run(other.drive(run)) == RESULT
    other.close()


def test_what_failed_is_done_again_and_nothing_else(database: Database) -> None:
    calls: list[float] = []
    is_broken = True

    def step(x: float) -> dict[str, Any]:
        calls.append(x)
        return {"error": "no"} if is_broken and x == 17 else {"y": x + 1}

    runs = runs_on(database, InProcess({"step": step}))
    run = runs.begin(WORKFLOW, {"n": 1})
    entry = asyncio.run(runs.drive(run))
    assert isinstance(entry, Failure)
    assert (entry.path, runs.resume(run.id).state) == ("chain[16]/link", "failed")
    is_broken = False
    calls.clear()
    again, failed = runs.redrive(run.id)
    assert failed == 1
    assert asyncio.run(runs.drive(again)) == RESULT
    assert len(calls) == INVOCATIONS - 16
    with pytest.raises(NotFound):
        runs.redrive("nonsense")
    runs.close()


def test_a_workflow_with_errors_is_not_begun(database: Database) -> None:
    with pytest.raises(WorkflowInvalid, match="E302") as raised:
        runs_on(database, Steps()).begin(WORKFLOW.replace(b"first/y", b"frist/y"), {})
    assert [one.code for one in raised.value.flaws if one.severity == "error"] == ["E302"]
    assert states(database) == []


LARGE = b"""
name: "w"
dataIns: [{name: "n", type: "number", source: "n"}]
workflowBody:
- function:
    name: "a"
    type: "large"
    dataIns: [{name: "n", type: "number", source: "w/n"}]
    dataOuts: [{name: "list", type: "array"}]
- function:
    name: "b"
    type: "length"
    dataIns: [{name: "list", type: "array", source: "a/list"}]
    dataOuts: [{name: "y", type: "number"}]
dataOuts: [{name: "y", type: "number", source: "b/y"}, {name: "list", type: "array", source: "a/list"}]
"""


def test_what_is_large_lies_in_the_store_and_goes_with_the_run(database: Database, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    functions = {"large": lambda n: {"list": list(range(n))}, "length": lambda list: {"y": len(list)}}  # noqa: A006
    clock = SystemClock()
    runs = WorkflowRuns(
        database, Conductor(InProcess(functions), slots=1, clock=clock), clock, store=store, holder="one"
    )
    small, large = runs.begin(LARGE, {"n": 10}), runs.begin(LARGE, {"n": 100_000})
    assert asyncio.run(runs.drive(small)) == Done({"y": 10, "list": list(range(10))})
    assert list(store.names()) == []
    expected = Done({"y": 100_000, "list": list(range(100_000))})
    assert asyncio.run(runs.drive(large)) == expected
    kept = list(store.names())
    assert len(kept) == 2, "one of the invocation, one of the run"
    assert asyncio.run(runs.drive(runs.resume(large.id))) == expected
    with closing(database.connect()) as connection:
        assert max(len(one.content) for one in entries_of(connection, large.number)) < 300
    store.put(kept[0], b"other")
    store.put(kept[1], b"other")
    with pytest.raises(ObjectDamaged):
        asyncio.run(runs.drive(runs.resume(large.id)))
    runs.forget(large.id)
    assert list(store.names()) == []
    with pytest.raises(NotFound):
        runs.resume(large.id)
    runs.close()


CHILD = """
import asyncio, sys, time
from einthoven.clock import SystemClock
from einthoven.runtime.conducting import Conductor, InProcess
from einthoven.runtime.workflow_runs import WorkflowRuns
from einthoven.storage import open_database

def step(x):
    with open(sys.argv[3], "a") as done:
        done.write("x")
    time.sleep(0.003)
    return {"y": x + 1}

clock = SystemClock()
conductor = Conductor(InProcess({"step": step}), slots=2, clock=clock)
runs = WorkflowRuns(open_database(sys.argv[1]), conductor, clock)
asyncio.run(runs.drive(runs.resume(sys.argv[2])))
"""


def test_a_driver_that_is_killed_has_done_nothing_in_vain(tmp_path: Path, on_disk: Database) -> None:
    runs = runs_on(on_disk, Steps())
    run = runs.begin(WORKFLOW, {"n": 1})
    performed = tmp_path / "performed"
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(CHILD), str(tmp_path / "runs.db"), run.id, str(performed)]
        )
        before = performed.stat().st_size if performed.exists() else 0
        until_s = time.monotonic() + 30
        while time.monotonic() < until_s and (
            not performed.exists() or performed.stat().st_size < before + 12
        ):
            time.sleep(0.002)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        with closing(on_disk.connect()) as connection, connection.writing() as statements:
            statements.run("DELETE FROM leases")
    known = known_paths(on_disk, run.number)
    assert len(known) >= 12, "what was in flight, or about to be written, is lost, and no more"
    invoker = Steps()
    assert driven(runs_on(on_disk, invoker), run) == RESULT
    assert len(invoker.keys) == INVOCATIONS - len(known)
