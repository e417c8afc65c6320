"""Large values go through the store and not through whoever drives: by size, checked, and cleared away."""

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from einthoven.clock import SystemClock
from einthoven.runtime.conducting import ByReference, Conductor, InProcess
from einthoven.runtime.exchange import Exchange
from einthoven.runtime.worker_pool import WorkerPool
from einthoven.runtime.workflow_runs import WorkflowRuns
from einthoven.storage import Database, FolderStore
from einthoven.storage.runs import entries_of
from einthoven.workflow import Done, Entry, Failure, Policy

WORKFLOW = b"""
name: "w"
dataIns: [{name: "n", type: "number", source: "n"}]
workflowBody:
- parallelFor:
    name: "l"
    loopCounter: {name: "k", type: "number", from: "0", to: "4"}
    loopBody:
    - function:
        name: "make"
        type: "make"
        dataIns: [{name: "n", type: "number", source: "w/n"}, {name: "k", type: "number", source: "l/k"}]
        dataOuts: [{name: "list", type: "array"}]
    - function:
        name: "double"
        type: "double"
        dataIns: [{name: "list", type: "array", source: "make/list"}]
        dataOuts: [{name: "list", type: "array"}]
    dataOuts: [{name: "lists", type: "collection", source: "double/list"}]
- function:
    name: "sum"
    type: "sum"
    dataIns: [{name: "lists", type: "collection", source: "l/lists"}]
    dataOuts: [{name: "y", type: "number"}]
dataOuts: [{name: "y", type: "number", source: "sum/y"}]
"""


def make(n: int, k: int) -> dict[str, Any]:
    return {"list": [k] * n}


def double(list: Any) -> dict[str, Any]:  # noqa: A002 - the workflow's name
    return {"list": [2 * one for one in list]}


def total(lists: Any) -> dict[str, Any]:
    return {"y": sum(map(sum, lists))}


FUNCTIONS: dict[str, Any] = {"make": make, "double": double, "sum": total}
N = 20_000
RESULT = Done({"y": 2 * N * 6})


def runs_on(
    database: Database,
    folder: Path,
    functions: Any = FUNCTIONS,
    pool: WorkerPool | None = None,
    least: int = 4096,
) -> WorkflowRuns:
    clock = SystemClock()
    invoker = InProcess(functions, pool, exchange=Exchange(str(folder), least))
    return WorkflowRuns(
        database,
        Conductor(invoker, slots=4, clock=clock),
        clock,
        policy=Policy(backoff_s=0.001),
        store=FolderStore(folder),
        passes_references=True,
    )


def drive(runs: WorkflowRuns, run: Any) -> Entry:
    entry = asyncio.run(runs.drive(run))
    runs.close()
    return entry


def largest_row(database: Database, run: Any) -> int:
    with closing(database.connect()) as connection:
        return max(len(one.content) for one in entries_of(connection, run.number))


@pytest.mark.parametrize("count", [1, 2])
def test_workers_hand_large_values_on_and_clear_them_away(
    database: Database, tmp_path: Path, count: int
) -> None:
    pool = WorkerPool(count)
    try:
        runs = runs_on(database, tmp_path, pool=pool)
        run = runs.begin(WORKFLOW, {"n": N})
        assert drive(runs, run) == RESULT
    finally:
        pool.close()
    assert largest_row(database, run) < 200
    assert list(FolderStore(tmp_path).names("runs")) == []


@pytest.mark.parametrize(("n", "large"), [(100, 0), (N, 6)])
def test_small_values_go_with_the_call_and_large_ones_lie_in_the_store(
    database: Database, tmp_path: Path, n: int, large: int
) -> None:
    """Eight lists, of 0, 1, 2, 3 and of 0, 2, 4, 6: what is alike lies there once."""
    there: list[int] = []

    def looking(lists: Any) -> dict[str, Any]:
        there.append(len(list(FolderStore(tmp_path).names("runs"))))
        return total(lists)

    runs = runs_on(database, tmp_path, {**FUNCTIONS, "sum": looking})
    assert drive(runs, runs.begin(WORKFLOW, {"n": n})) == Done({"y": 12 * n})
    assert there == [large]


def test_of_a_run_that_failed_they_stay_and_whoever_goes_on_has_them(
    database: Database, tmp_path: Path
) -> None:
    """What succeeded is not done again, and what lies in the store is enough for what is."""
    made: list[int] = []
    is_broken = True

    def noted(n: int, k: int) -> dict[str, Any]:
        made.append(k)
        return make(n, k)

    def broken(lists: Any) -> dict[str, Any]:
        return {"error": "no"} if is_broken else total(lists)

    runs = runs_on(database, tmp_path, {**FUNCTIONS, "make": noted, "sum": broken})
    run = runs.begin(WORKFLOW, {"n": N})
    assert isinstance(asyncio.run(runs.drive(run)), Failure)
    assert len(list(FolderStore(tmp_path).names(f"runs/{run.id}/values"))) > 0
    is_broken = False
    again, failed = runs.redrive(run.id)
    assert failed == 1
    assert drive(runs, again) == RESULT
    assert sorted(made) == [0, 1, 2, 3]
    assert list(FolderStore(tmp_path).names("runs")) == []


def test_a_value_that_was_changed_is_noticed(database: Database, tmp_path: Path) -> None:
    def spoilt(list: Any) -> dict[str, Any]:  # noqa: A002
        reply = double(list)
        for name in FolderStore(tmp_path).names("runs"):
            FolderStore(tmp_path).put(name, b"other")
        return reply

    runs = runs_on(database, tmp_path, {**FUNCTIONS, "double": spoilt})
    entry = drive(runs, runs.begin(WORKFLOW, {"n": N}))
    assert isinstance(entry, Failure)
    assert "not what was written" in entry.message


def test_functions_that_know_nothing_of_it_are_given_values(database: Database, tmp_path: Path) -> None:
    """Such as those behind HTTP: whoever calls them fetches and keeps."""
    clock = SystemClock()
    invoker = ByReference(InProcess(FUNCTIONS), Exchange(str(tmp_path), 4096))
    runs = WorkflowRuns(
        database,
        Conductor(invoker, slots=4, clock=clock),
        clock,
        store=FolderStore(tmp_path),
        passes_references=True,
    )
    run = runs.begin(WORKFLOW, {"n": N})
    assert drive(runs, run) == RESULT
    assert largest_row(database, run) < 200
