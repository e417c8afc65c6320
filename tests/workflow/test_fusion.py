"""Functions of one place made one invocation: fewer invocations, and the same results."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.clock import SystemClock
from einthoven.runtime.conducting import Conductor, InProcess
from einthoven.testing.workflows import program_of
from einthoven.workflow import Done, Execution, Failure, Invoke, Program
from einthoven.workflow.fusion import fuse

CHAIN = """
name: "w"
dataIns: [{name: "n", type: "number", source: "n"}]
workflowBody:
- parallelFor:
    name: "l"
    loopCounter: {name: "k", type: "number", from: "0", to: "3"}
    loopBody:
    - function:
        name: "a"
        type: "made"
        dataIns: [{name: "x", type: "number", source: "l/k"}, {name: "n", type: "number", source: "w/n"}]
        dataOuts: [{name: "thing", type: "object"}, {name: "unread", type: "number"}]
    - function:
        name: "b"
        type: "taken"
        dataIns: [{name: "v", type: "number", source: "a/thing/deep/0"}]
        dataOuts: [{name: "y", type: "number"}]
        B
    - function:
        name: "c"
        type: "sum"
        dataIns: [{name: "p", type: "number", source: "b/y"}, {name: "q", type: "object", source: "a/thing"}]
        dataOuts: [{name: "y", type: "number"}]
    dataOuts:
    - {name: "cs", type: "collection", source: "c/y"}
    - {name: "bs", type: "collection", source: "b/y"}
dataOuts:
- {name: "cs", type: "collection", source: "l/cs"}
- {name: "bs", type: "collection", source: "l/bs"}
"""
FUNCTIONS = {
    "made": lambda x, n: {"thing": {"deep": [x + n]}, "unread": 1},
    "taken": lambda v: {"y": 2 * v},
    "sum": lambda p, q: {"y": p + q["deep"][0]},
}
EXPECTED = Done({"cs": [15, 18, 21], "bs": [10, 12, 14]})


class Seeing(InProcess):
    def __init__(self, functions: Any) -> None:
        super().__init__(functions)
        self.invoked: list[Invoke] = []

    async def invoke(self, invoke: Invoke) -> Any:
        self.invoked.append(invoke)
        return await super().invoke(invoke)


def performed(program: Program, functions: Any = FUNCTIONS) -> tuple[Any, list[Invoke]]:
    seeing = Seeing(functions)
    conductor = Conductor(seeing, slots=2, clock=SystemClock())
    return asyncio.run(conductor.run(Execution(program, "r", {"n": 5}))), seeing.invoked


def chain(more: str = "") -> Program:
    return program_of(CHAIN.replace("        B\n", f"        {more}\n" if more else ""))


def test_a_fused_workflow_gives_the_same_with_one_invocation_for_three() -> None:
    plain, invoked = performed(chain())
    assert (plain, len(invoked)) == (EXPECTED, 9)
    fused, invoked = performed(fuse(chain(), lambda *_: "here"))
    assert (fused, [one.path for one in invoked]) == (EXPECTED, [f"l[{k}]/a+b+c" for k in range(3)])


def test_only_what_others_read_leaves_and_only_what_comes_from_outside_enters() -> None:
    _, (one, *_) = performed(fuse(chain(), lambda *_: "here"))
    assert set(one.inputs) == {"a/x", "a/n"}
    assert [stage.leaving for stage in one.stages] == [(), ("y",), ("y",)]


@given(st.dictionaries(st.sampled_from(sorted(FUNCTIONS)), st.sampled_from(["one", "two", None])))
def test_wherever_functions_run_the_result_is_the_same(places: dict[str, str | None]) -> None:
    fused = fuse(chain(), lambda type_, _: places.get(type_))
    assert performed(fused)[0] == EXPECTED


@pytest.mark.parametrize(
    "promise",
    [
        'constraints: [{name: "FT-Retries", value: "1"}]',
        'constraints: [{name: "C-maxRunningTime", value: "60000"}]',
        'constraints: [{name: "FT-AltPlan-0", value: "0.9;https://b.example.org/;"}]',
    ],
)
def test_a_function_with_a_promise_of_its_own_stays_alone(promise: str) -> None:
    entry, invoked = performed(fuse(chain(promise), lambda *_: "here"))
    assert (entry, len(invoked)) == (EXPECTED, 9)


@pytest.mark.parametrize("reply", [[], {}, {"y": "text"}, {"error": "no"}])
def test_a_stage_that_fails_ends_the_others_and_is_named(reply: Any) -> None:
    called: list[float] = []
    functions = {**FUNCTIONS, "taken": lambda **_: reply, "sum": lambda **_: called.append(1)}
    entry, _ = performed(fuse(chain(), lambda *_: "here"), functions)
    assert isinstance(entry, Failure)
    assert (entry.path, entry.message[:3], called) == ("l[0]/a+b+c", "b: ", [])


def test_what_is_one_of_several_alternatives_is_not_handed_on_inside() -> None:
    text = """
    name: "w"
    dataIns: [{name: "n", type: "number", source: "n"}]
    workflowBody:
    - function:
        name: "a"
        type: "taken"
        dataIns: [{name: "v", type: "number", source: "w/n"}]
        dataOuts: [{name: "y", type: "number"}]
    - function:
        name: "b"
        type: "taken"
        dataIns: [{name: "v", type: "number", source: "a/y,w/n"}]
        dataOuts: [{name: "y", type: "number"}]
    dataOuts: [{name: "r", type: "number", source: "b/y"}]
    """
    entry, invoked = performed(fuse(program_of(text), lambda *_: "here"))
    assert (entry, len(invoked)) == (Done({"r": 20}), 2)
