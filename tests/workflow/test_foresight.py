"""What a parallelFor gives is told while it arises to whoever goes ahead; nothing depends on that."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.testing.workflows import Breakdown, program_of, run_workflow
from einthoven.workflow import Done, Foresee, Invoke, Policy, Record

PROGRAM = """
name: "w"
dataIns:
- {{name: "n", type: "number", source: "n"}}
workflowBody:
- parallelFor:
    name: "l"
    loopCounter: {{name: "k", type: "number", from: "0", to: "w/n"}}
    loopBody:
    - function:
        name: "a"
        type: "double"
        dataIns: [{{name: "x", type: "number", source: "l/k"}}]
        dataOuts: [{{name: "y", type: "number"}}]
    dataOuts:
    - {{name: "ys", type: "collection", source: "a/y"{aggregation}}}
    constraints: [{tolerated}]
{between}
- function:
    name: "s"
    type: "sum"
    dataIns:
    - {{name: "n", type: "number", source: "w/n"}}
    - {{name: "ys", type: "collection", source: "{source}"{index}}}
    dataOuts: [{{name: "r", type: "number"}}]
dataOuts: [{{name: "r", type: "number", source: "s/r"}}]
"""
BETWEEN = """- function:
    name: "b"
    type: "nothing"
    dataIns: [{name: "n", type: "number", source: "w/n"}]
    dataOuts: [{name: "y", type: "number"}]"""
AHEAD = Policy(ahead={"sum": "ys"}, retries=0)


def program(**parts: str) -> Any:
    given = {"aggregation": "", "tolerated": "", "between": "", "source": "l/ys", "index": "", **parts}
    return program_of(PROGRAM.format(**given))


def double(x: int) -> dict[str, Any]:
    return {"y": 2 * x}


def added(n: int, ys: Sequence[int | None]) -> dict[str, Any]:
    return {"r": n + sum(one or 0 for one in ys)}


FUNCTIONS = {"double": double, "sum": added, "nothing": lambda n: {"y": n}}


def foreseen(commands: Sequence[Any]) -> list[Foresee]:
    return [one for one in commands if isinstance(one, Foresee)]


@given(st.integers(1, 12), st.integers(0, 30), st.randoms(use_true_random=False))
def test_what_is_told_is_the_list_in_order_and_the_invocation_comes_as_ever(
    count: int, cut: int, luck: random.Random
) -> None:
    one = program()
    plain = run_workflow(one, FUNCTIONS, {"n": count}, after_s=lambda _: luck.random())
    known = {made.path: made.entry for made in plain.commands[:cut] if isinstance(made, Record)}
    for before in ({}, known):
        enacted = run_workflow(
            one, FUNCTIONS, {"n": count}, after_s=lambda _: luck.random(), policy=AHEAD, known=before
        )
        assert enacted.entry == plain.entry == Done({"r": count + count * (count - 1)})
        told = foreseen(enacted.commands)
        if "s" in before:
            assert told == [], "it is over"
            continue
        (call,) = (made for made in enacted.commands if isinstance(made, Invoke) and made.type == "sum")
        assert {(made.key, made.type, made.port) for made in told} == {(call.key, "sum", "ys")}
        assert all(made.inputs == {"n": count} for made in told)
        values: list[Any] = []
        for made in told:
            assert made.first == len(values)
            assert made.values
            values += made.values
        assert values == call.inputs["ys"]
        assert enacted.commands.index(told[-1]) < enacted.commands.index(call)


def test_what_is_known_in_front_is_told_before_the_rest_is_there() -> None:
    enacted = run_workflow(
        program(),
        FUNCTIONS,
        {"n": 4},
        policy=AHEAD,
        after_s=lambda one: (1.0, 3.0, 2.0, 4.0)[one.inputs["x"]] if one.type == "double" else 0.0,
    )
    assert [(one.first, one.values) for one in foreseen(enacted.commands)] == [
        (0, (0,)),
        (1, (2, 4)),
        (3, (6,)),
    ]


def test_an_iteration_that_may_fail_is_told_as_the_null_that_it_gives() -> None:
    def failing(x: int) -> dict[str, Any]:
        if x == 1:
            raise Breakdown("function")
        return double(x)

    one = program(tolerated='{name: "X-toleratedFailurePercentage", value: "50"}')
    enacted = run_workflow(one, {**FUNCTIONS, "double": failing}, {"n": 3}, policy=AHEAD)
    values = [value for made in foreseen(enacted.commands) for value in made.values]
    assert values == [0, None, 4]


@pytest.mark.parametrize(
    ("parts", "policy"),
    [
        ({}, Policy()),
        ({}, Policy(ahead={"sum": "n"})),
        ({}, Policy(ahead={"double": "x"})),
        ({"between": BETWEEN}, AHEAD),
        ({"index": ', constraints: [{name: "element-index", value: "0:1"}]'}, AHEAD),
        ({"aggregation": ', constraints: [{name: "aggregation", value: "+"}]'}, AHEAD),
    ],
)
def test_nothing_is_told_of_what_is_not_the_list_as_it_is(parts: dict[str, str], policy: Policy) -> None:
    enacted = run_workflow(program(**parts), FUNCTIONS, {"n": 3}, policy=policy)
    assert isinstance(enacted.entry, Done)
    assert foreseen(enacted.commands) == []
