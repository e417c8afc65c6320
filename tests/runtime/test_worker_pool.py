"""Workers that die are replaced, and the invocation is tried again."""

import asyncio
import os
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
