"""Workers that die are replaced, and the invocation is tried again."""

import asyncio
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from einthoven.clock import SystemClock
from einthoven.runtime.conducting import Conductor, InProcess
from einthoven.runtime.worker_pool import WorkerDied, WorkerPool
from einthoven.testing.workflows import program_of
from einthoven.workflow import Done, Execution, Policy

PROGRAM = """
name: "w"
workflowBody:
- parallelFor:
    name: "l"
    loopCounter: {name: "k", type: "number", from: "0", to: "6"}
    loopBody:
    - function:
        name: "a"
        type: "f"
        dataIns: [{name: "x", type: "number", source: "l/k"}]
        dataOuts: [{name: "y", type: "number"}]
    dataOuts: [{name: "ys", type: "collection", source: "a/y"}]
dataOuts: [{name: "ys", type: "collection", source: "l/ys"}]
"""


def dying_once(mark: Path, x: int) -> dict[str, Any]:
    if x == 3 and not mark.exists():
        mark.touch()
        os._exit(1)
    return {"y": x}


def test_an_invocation_whose_worker_died_is_done_by_another(tmp_path: Path) -> None:
    pool = WorkerPool(2)
    invoker = InProcess({"f": partial(dying_once, tmp_path / "died")}, pool)
    conductor = Conductor(invoker, slots=4, clock=SystemClock())
    policy = Policy(backoff_s=0.01, retries=3)
    try:
        entry = asyncio.run(conductor.run(Execution(program_of(PROGRAM), "r", {}, policy=policy)))
    finally:
        pool.close()
    assert entry == Done({"ys": list(range(6))})
    assert (tmp_path / "died").exists()


def test_whoever_calls_is_told_that_a_worker_died() -> None:
    pool = WorkerPool(2)

    async def call() -> Any:
        with pytest.raises(WorkerDied):
            await pool.call(partial(os._exit, 1))
        return await pool.call(os.getpid)

    try:
        assert asyncio.run(call()) != os.getpid()
    finally:
        pool.close()


def test_one_worker_is_a_thread_of_this_process() -> None:
    pool = WorkerPool(1)
    try:
        assert asyncio.run(pool.call(os.getpid)) == os.getpid()
    finally:
        pool.close()


def test_workers_that_are_to_stand_back_are_processes_that_do() -> None:
    """Even a single one: a thread would hold up its own process."""
    pool = WorkerPool(1, 3)

    async def asked() -> tuple[int, int]:
        return await pool.call(os.getpid), await pool.call(partial(os.nice, 0))

    try:
        number, niceness = asyncio.run(asked())
    finally:
        pool.close()
    assert number != os.getpid()
    assert niceness == min(19, os.nice(0) + 3)


PARENT = """
import asyncio, os, time
from functools import partial
from einthoven.runtime.worker_pool import WorkerPool

async def main():
    pool = WorkerPool(1, 1)
    print(await pool.call(os.getpid), flush=True)
    await pool.call(partial(time.sleep, 60))

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py")], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
    until_s = time.monotonic() + 10
    while Path(f"/proc/{worker}/cmdline").exists() and Path(f"/proc/{worker}/cmdline").read_bytes():
        assert time.monotonic() < until_s, "the worker lives on"
        time.sleep(0.1)


def went(mark: Path, name: str) -> None:
    with mark.open("a") as file:
        file.write(f"{os.getpid()} {name}\n")


def asked(mark: Path) -> dict[str, Any]:
    went(mark, "asked")
    return {"pid": os.getpid()}


def test_one_goes_ahead_and_whoever_follows_comes_behind_it_in_the_same_process(tmp_path: Path) -> None:
    pool, mark = WorkerPool(2), tmp_path / "mark"

    async def check() -> None:
        begun = [pool.go_ahead(partial(went, mark, name)) for name in "abc"]
        assert None not in begun
        followed = await pool.follow(partial(asked, mark))
        other = await pool.call(partial(asked, mark))
        lines = [line.split() for line in mark.read_text().splitlines()]
        assert [name for _, name in lines] == ["a", "b", "c", "asked", "asked"]
        assert {pid for pid, _ in lines[:4]} == {str(followed["pid"])}
        assert other != followed

    try:
        asyncio.run(check())
    finally:
        pool.close()


def test_where_there_is_one_worker_nobody_goes_ahead(tmp_path: Path) -> None:
    pool = WorkerPool(1, niceness=0)
    try:
        assert pool.go_ahead(partial(went, tmp_path / "mark", "a")) is None
        assert asyncio.run(pool.follow(partial(asked, tmp_path / "mark")))
    finally:
        pool.close()
    assert "asked" in (tmp_path / "mark").read_text()


LIST = PROGRAM.replace(
    'dataOuts: [{name: "ys", type: "collection", source: "l/ys"}]\n',
    """
- function:
    name: "s"
    type: "sum"
    dataIns: [{name: "ys", type: "collection", source: "l/ys"}]
    dataOuts: [{name: "r", type: "number"}]
dataOuts: [{name: "r", type: "number", source: "s/r"}]
""",
).replace('source: "a/y"}]\n', 'source: "a/y"}]', 1)
_SUMS: list[int] = []


def slowly(x: int) -> dict[str, Any]:
    time.sleep(0.15)
    return {"y": x}


def summed_ahead(is_dying: bool, first: int, values: tuple[int, ...], _: dict[str, Any]) -> None:
    if is_dying and first >= 2:
        os._exit(1)
    assert first == len(_SUMS)
    _SUMS.extend(values)


def summed(mark: Path, ys: list[int]) -> dict[str, Any]:
    with mark.open("a") as file:
        file.write(f"{len(_SUMS)}\n")
    assert ys[: len(_SUMS)] == _SUMS
    return {"r": sum(ys)}


@pytest.mark.parametrize("is_dying", [False, True])
def test_a_function_goes_on_with_what_was_done_ahead_of_it_or_from_the_beginning(
    tmp_path: Path, is_dying: bool
) -> None:
    pool = WorkerPool(2)
    functions = {"f": slowly, "sum": partial(summed, tmp_path / "mark")}
    invoker = InProcess(functions, pool, ahead={"sum": partial(summed_ahead, is_dying)})
    policy = Policy(backoff_s=0.01, ahead={"sum": "ys"}, concurrency=2)
    conductor = Conductor(invoker, slots=4, clock=SystemClock(), foreseen=invoker.foresee)
    try:
        for run in ("first", "second"):
            pool.close()  # what went ahead of one run is nothing to the other
            started = pool.go_ahead(partial(went, tmp_path / "there", run))
            assert started is not None
            started.result()
            entry = asyncio.run(conductor.run(Execution(program_of(LIST), run, {}, policy=policy)))
            assert entry == Done({"r": 15})
    finally:
        pool.close()
    reached = [int(line) for line in (tmp_path / "mark").read_text().splitlines()]
    assert reached == ([0, 0] if is_dying else [6, 6])
