"""What a run does: every construct, and each defect of the public engine turned into its opposite."""

import itertools
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.testing.workflows import Breakdown, program_of, run_workflow
from einthoven.workflow import (
    Abandon,
    Cancelled,
    Done,
    Execution,
    Failure,
    Invoke,
    Policy,
    Record,
    Replied,
    Warn,
)

HEAD = """
name: "w"
dataIns:
- {name: "n", type: "number", source: "n"}
- {name: "items", type: "collection", source: "items"}
- {name: "text", type: "string", source: "text"}
- {name: "thing", type: "object", source: "thing"}
workflowBody:
"""


def call(name: str, ins: str = "", type_: str = "", outs: str = "y: number", more: str = "") -> str:
    """One function; ``ins`` is ``port: source`` and ``outs`` ``port: type``, divided by semicolons.

    A source that begins with = is a constant.
    """
    given = []
    for one in filter(None, (part.strip() for part in ins.split(";"))):
        port, _, source = one.partition(": ")
        kind, _, source = (
            source.partition(" ") if source.count(" ") and not source.startswith("=") else ("", "", source)
        )
        key = "value" if source.startswith("=") else "source"
        given.append(f'{{name: "{port}", type: "{kind or "number"}", {key}: "{source.lstrip("=")}"}}')
    taken = [
        f'{{name: "{port}", type: "{kind}"}}'
        for port, _, kind in (part.strip().partition(": ") for part in filter(None, outs.split(";")))
    ]
    text = f'- function: {{name: "{name}", type: "{type_ or name}", dataIns: [{", ".join(given)}], '
    return text + f"dataOuts: [{', '.join(taken)}]{', ' + more if more else ''}}}\n"


def indented(text: str, by: int) -> str:
    return "".join(" " * by + line + "\n" for line in text.splitlines())


def outs(*ports: str) -> str:
    """``name type source`` each."""
    said = [f'{{name: "{p.split()[0]}", type: "{p.split()[1]}", source: "{p.split()[2]}"}}' for p in ports]
    return f"dataOuts: [{', '.join(said)}]\n"


def add(x: float, by: float = 1) -> dict[str, Any]:
    return {"y": x + by}


def outputs(text: str, functions: Any, inputs: Any = None, **options: Any) -> dict[str, Any]:
    entry = run_workflow(text, functions, inputs, **options).entry
    assert isinstance(entry, Done), entry
    return entry.outputs


def failure(text: str, functions: Any, inputs: Any = None, **options: Any) -> Failure:
    entry = run_workflow(text, functions, inputs, **options).entry
    assert isinstance(entry, Failure), entry
    return entry


# -------------------------------------------------------------------- constructs


def test_functions_run_one_after_the_other_and_see_everything_before_them() -> None:
    body = call("a", "x: w/n", "add") + call("b", "x: a/y", "add") + call("c", "x: a/y; by: b/y", "add")
    assert outputs(HEAD + body + outs("first number a/y", "last number c/y"), {"add": add}, {"n": 1}) == {
        "first": 2,
        "last": 5,
    }


def test_the_result_is_what_the_workflow_says_and_nothing_else() -> None:
    body = call("a", "x: w/n", "add") + call("b", "x: a/y", "add")
    assert outputs(HEAD + body + outs("r number a/y"), {"add": add}, {"n": 1}) == {"r": 2}
    assert outputs(HEAD + body, {"add": add}, {"n": 1}) == {}


SEQUENCE = (
    HEAD
    + """
- sequence:
    name: "s"
    dataIns: [{name: "v", type: "number", source: "w/n"}]
    sequenceBody:
"""
    + indented(call("a", "x: s/v", "add") + call("b", "x: a/y", "add"), 4)
    + "    "
    + outs("v number b/y", "same number s/v")
    + call("c", "x: s/v", "add")
    + outs("r number c/y", "inner number s/v")
)


def test_a_port_that_a_compound_uses_twice_is_its_input_inside_and_its_output_behind() -> None:
    assert outputs(SEQUENCE, {"add": add}, {"n": 1}) == {"r": 4, "inner": 3}


def choice(condition: str, both: str = "and", otherwise: bool = True) -> str:
    text = HEAD + '- if:\n    name: "i"\n    condition:\n'
    text += f'      combinedWith: "{both}"\n      conditions: [{condition}]\n    then:\n'
    text += indented(call("a", "x: w/n", "add"), 4)
    if otherwise:
        text += "    else:\n" + indented(call("b", "x: w/n; by: =10", "add"), 4)
    source = "a/y,b/y" if otherwise else "a/y,NULL"
    return text + f"    {outs(f'r number {source}')}" + outs("r number i/r")


def term(first: str, operator: str, second: str, negation: str = "") -> str:
    more = f', negation: "{negation}"' if negation else ""
    return f'{{data1: "{first}", operator: "{operator}", data2: "{second}"{more}}}'


@pytest.mark.parametrize(
    ("condition", "is_met"),
    [
        (term("w/n", ">", "2"), True),
        (term("w/n", "==", "2"), False),
        (term("w/n", "=<", "2.9"), True),
        (term("w/n", "<=", "2.9"), True),
        (term("w/n", ">=", "2.91"), False),
        (term("w/n", "<", "3"), True),
        (term("w/n", "!=", "2.9"), False),
        (term("w/text", "startsWith", "AF"), True),
        (term("w/text", "startsWith", "AF", "true"), False),
        (term("w/text", "endsWith", "ib"), True),
        (term("w/text", "contains", "Fi"), True),
        (term("w/text", "==", "AFib"), True),
        (term("w/items", "contains", "2"), True),
        (term("w/items", "contains", "3"), False),
        (term("w/thing/a/1", "==", "5"), True),
        (term("3", ">", "2"), True),
        (term("w/text", "==", "2"), False),
    ],
)
def test_a_condition_compares_as_the_language_says(condition: str, is_met: bool) -> None:
    inputs = {"n": 2.9, "text": "AFib", "items": [1, 2], "thing": {"a": [4, 5]}}
    assert outputs(choice(condition), {"add": add}, inputs) == {"r": 3.9 if is_met else 12.9}


def test_conditions_are_joined_by_and_or_or() -> None:
    two = f"{term('w/n', '>', '0')}, {term('w/n', '>', '5')}"
    assert outputs(choice(two, "and"), {"add": add}, {"n": 1}) == {"r": 11}
    assert outputs(choice(two, "or"), {"add": add}, {"n": 1}) == {"r": 2}


def test_without_else_nothing_runs_and_the_port_is_null() -> None:
    assert outputs(choice(term("w/n", ">", "5"), otherwise=False), {"add": add}, {"n": 1}) == {"r": None}


@pytest.mark.parametrize(
    ("condition", "inputs"),
    [(term("w/n", ">", "2"), {"n": None}), (term("w/thing", ">", "2"), {"n": 1, "thing": {}})],
)
def test_what_cannot_be_compared_is_an_error_of_the_run(condition: str, inputs: dict[str, Any]) -> None:
    assert failure(choice(condition), {"add": add}, inputs).code == "R702"


def test_two_outputs_of_a_branch_have_each_their_own_value() -> None:
    text = HEAD + '- if:\n    name: "i"\n    condition: {combinedWith: "and", conditions: ['
    text += term("w/n", ">", "0") + "]}\n    then:\n"
    text += indented(call("a", "x: w/n", "two", "out: number; out2: number"), 4)
    text += f"    {outs('p number a/out,NULL', 'q number a/out2,NULL')}" + outs(
        "p number i/p", "q number i/q"
    )
    assert outputs(text, {"two": lambda x: {"out": x, "out2": -x}}, {"n": 1}) == {"p": 1, "q": -1}


def switch(*cases: str, default: bool = True, type_: str = "string", source: str = "w/text") -> str:
    text = (
        HEAD + f'- switch:\n    name: "s"\n    dataEval: {{name: "e", type: "{type_}", source: "{source}"}}\n'
    )
    text += "    cases:\n"
    for k, case in enumerate(cases):
        value, _, breaks = case.partition(" ")
        text += (
            f'    - value: "{value}"\n'
            + (f'      break: "{breaks}"\n' if breaks else "")
            + "      functions:\n"
        )
        text += indented(call(f"f{k}", f"x: ={k}", "mark"), 6)
    if default:
        text += "    default:\n" + indented(call("d", "x: =99", "mark"), 4)
    return text


@pytest.mark.parametrize(
    ("cases", "value", "marked"),
    [
        (["A true", "B true", "C true"], "B", [1]),
        (["B", "B", "C"], "B", [0, 1]),
        (["B true", "C"], "B", [0]),
        (["A", "B"], "Z", [99]),
        (["A", "B"], "A", [0]),
        (["A", "B"], None, [99]),
    ],
)
def test_a_switch_runs_the_cases_that_are_equal(
    cases: list[str], value: str | None, marked: list[int]
) -> None:
    text = switch(*cases)
    seen: list[float] = []
    outputs(text, {"mark": lambda x: seen.append(x) or {"y": x}}, {"text": value})
    assert seen == marked


def test_a_switch_compares_numbers_as_numbers_and_may_run_nothing() -> None:
    seen: list[float] = []
    mark = {"mark": lambda x: seen.append(x) or {"y": x}}
    outputs(switch("1", "2.0", type_="number", source="w/n"), mark, {"n": 2})
    outputs(switch("1", "2", type_="number", source="w/n", default=False), mark, {"n": 3})
    assert seen == [1]


def loop(head: str, body: str, *outputs: str, kind: str = "for") -> str:
    return (
        f'- {kind}:\n    name: "l"\n'
        + indented(head, 4)
        + "    loopBody:\n"
        + indented(body, 4)
        + f"    {outs(*outputs)}"
    )


CARRIED = 'dataLoops:\n- {name: "v", type: "number", initSource: "w/n", loopSource: "a/y"}\n'


@pytest.mark.parametrize(
    ("bounds", "result"), [("0 3", 4), ("0 0", 1), ("5 3", 1), ("0 10 step 3", 5), ("2 w/n step 1", 1)]
)
def test_a_for_hands_on_from_iteration_to_iteration(bounds: str, result: int) -> None:
    begin, end, *step = bounds.split()
    counter = f'loopCounter: {{name: "k", type: "number", from: "{begin}", to: "{end}"'
    counter += f', step: "{step[1]}"' if step else ""
    text = HEAD + loop(CARRIED + counter + "}", call("a", "x: l/v", "add"), "v number l/v", "last number a/y")
    found = outputs(text + outs("v number l/v", "last number l/last"), {"add": add}, {"n": 1})
    assert found == {"v": result, "last": result if result > 1 else None}


def test_a_for_can_read_its_counter() -> None:
    counter = 'loopCounter: {name: "k", type: "number", from: "3", to: "10", step: "3"}'
    seen: list[float] = []
    text = HEAD + loop(counter, call("a", "x: l/k", "mark"), "last number a/y") + outs("r number l/last")
    assert outputs(text, {"mark": lambda x: seen.append(x) or {"y": x}}) == {"r": 9}
    assert seen == [3, 6, 9]


def repeated(most: int) -> str:
    head = CARRIED + f'condition: {{combinedWith: "and", conditions: [{term("l/v", "<", "5")}]}}\n'
    head += f'constraints: [{{name: "X-maxIterations", value: "{most}"}}]'
    return HEAD + loop(head, call("a", "x: l/v", "add"), "v number l/v", kind="while") + outs("v number l/v")


def test_a_while_tests_before_each_iteration_and_is_bounded() -> None:
    assert outputs(repeated(100), {"add": add}, {"n": 1}) == {"v": 5}
    assert outputs(repeated(1), {"add": add}, {"n": 7}) == {"v": 7}
    assert failure(repeated(3), {"add": add}, {"n": 1}).code == "R712"
    assert outputs(repeated(4), {"add": add}, {"n": 1}) == {"v": 5}


def sections(*bodies: str, output: str = "") -> str:
    text = HEAD + '- parallel:\n    name: "p"\n    parallelBody:\n'
    for body in bodies:
        text += "    - section:\n" + indented(body, 6)
    return text + (f"    dataOuts:\n    - {output}\n" if output else "")


@pytest.mark.parametrize(
    ("aggregation", "value"),
    [
        ("+", [1, 2, 3]),
        ("*", [1, 2, 3]),
        (",", {"a/y": [1, 2], "b/y": [3]}),
        ("", {"a/y": [1, 2], "b/y": [3]}),
    ],
)
def test_a_parallel_puts_together_in_the_order_that_is_written(aggregation: str, value: Any) -> None:
    said = f', constraints: [{{name: "aggregation", value: "{aggregation}"}}]' if aggregation else ""
    text = sections(
        call("a", "", "slow", "y: collection"),
        call("b", "", "quick", "y: collection"),
        output=f'{{name: "r", type: "collection", source: "a/y,b/y"{said}}}',
    )
    functions = {"slow": lambda: {"y": [1, 2]}, "quick": lambda: {"y": [3]}}
    enacted = run_workflow(
        text + outs("r collection p/r"),
        functions,
        after_s=lambda invoke: 2.0 if invoke.type == "slow" else 1.0,
    )
    assert enacted.entry == Done({"r": value})
    assert enacted.ended_s == 2.0, "sections run side by side"


def each(
    bounds: str = "0 w/n",
    body: str = "",
    port: str = "",
    output: str = "r collection a/y",
    constraints: str = "",
    aggregation: str = "",
) -> str:
    begin, end, *step = bounds.split()
    text = HEAD + '- parallelFor:\n    name: "l"\n'
    text += f"    dataIns:\n    - {port}\n" if port else ""
    text += f'    loopCounter: {{name: "k", type: "number", from: "{begin}", to: "{end}"'
    text += (f', step: "{step[0]}"' if step else "") + "}\n"
    text += "    loopBody:\n" + indented(body or call("a", "x: l/k", "same"), 4)
    name, type_, source = output.split()
    said = f', constraints: [{{name: "aggregation", value: "{aggregation}"}}]' if aggregation else ""
    text += f'    dataOuts: [{{name: "{name}", type: "{type_}", source: "{source}"{said}}}]\n'
    text += f"    constraints: [{constraints}]\n" if constraints else ""
    return text + outs(f"r {type_} l/{name}")


def same(x: Any) -> dict[str, Any]:
    return {"y": x}


def test_iterations_come_out_in_the_order_of_the_counter_however_long_they_take() -> None:
    enacted = run_workflow(
        each(), {"same": same}, {"n": 8}, after_s=lambda invoke: (8 - invoke.inputs["x"]) * 0.01
    )
    assert enacted.entry == Done({"r": list(range(8))})
    assert enacted.ended_s == pytest.approx(0.08)


@pytest.mark.parametrize(
    ("bounds", "counted"),
    [
        ("0 0", []),
        ("0 10 2", [0, 2, 4, 6, 8]),
        ("0 10 w/n", [0, 3, 6, 9]),
        ("w/n 6", [3, 4, 5]),
        ("5 2", []),
        ("0 w/thing/count", [0, 1]),
    ],
)
def test_a_parallel_for_makes_exactly_its_iterations(bounds: str, counted: list[int]) -> None:
    enacted = run_workflow(each(bounds), {"same": same}, {"n": 3, "thing": {"count": 2.0}})
    assert enacted.entry == Done({"r": counted})
    assert len(enacted.invoked) == len(counted)


@pytest.mark.parametrize(
    ("bounds", "inputs", "code"),
    [
        ("0 w/n", {"n": 2.5}, "R705"),
        ("0 w/n", {}, "R701"),
        ("0 5 w/n", {"n": 0}, "R705"),
        ("0 w/n", {"n": 10**9}, "R712"),
    ],
)
def test_a_bound_that_is_no_count_is_an_error_of_the_run(
    bounds: str, inputs: dict[str, Any], code: str
) -> None:
    assert failure(each(bounds), {"same": same}, inputs).code == code


def port(how: str, type_: str = "collection", source: str = "w/items", more: str = "") -> str:
    said = f'{{name: "distribution", value: "{how}"}}' if how else ""
    said += (", " if said and more else "") + more
    return f'{{name: "part", type: "{type_}", source: "{source}"' + (
        f", constraints: [{said}]}}" if said else "}"
    )


PART = call("a", "x: collection l/part", "same", "y: collection")


@pytest.mark.parametrize(
    ("how", "n", "parts"),
    [
        ("BLOCK(2)", 3, [[0, 1], [2, 3], [4]]),
        ("BLOCK(3,1)", 2, [[0, 1, 2], [2, 3, 4]]),
        ("SPLIT(2)", 2, [[0, 1, 2], [3, 4]]),
        ("REPLICATE(2)", 2, [[0, 1, 2, 3, 4]] * 2),
        ("REPLICATE(*)", 3, [[0, 1, 2, 3, 4]] * 3),
        ("", 2, [[0, 1, 2, 3, 4]] * 2),
    ],
)
def test_what_is_distributed_arrives_in_parts(how: str, n: int, parts: list[Any]) -> None:
    text = each(body=PART, port=port(how))
    assert outputs(text, {"same": same}, {"n": n, "items": [0, 1, 2, 3, 4]}) == {"r": parts}


def test_a_block_of_one_delivers_elements_whatever_they_are() -> None:
    text = each(body=call("a", "x: object l/part", "same", "y: object"), port=port("BLOCK(1)", "object"))
    things = [{"v": 2.9}, None, {"v": [1]}]
    assert outputs(text, {"same": same}, {"n": 3, "items": things}) == {"r": things}
    assert failure(text, {"same": same}, {"n": 1, "items": [3]}).code == "R702"


def test_too_few_chunks_are_an_error_before_anything_is_invoked() -> None:
    enacted = run_workflow(
        each(body=PART, port=port("BLOCK(2)")), {"same": same}, {"n": 4, "items": [1, 2, 3]}
    )
    assert isinstance(enacted.entry, Failure)
    assert (enacted.entry.code, enacted.invoked) == ("R703", [])
    assert (
        failure(each(body=PART, port=port("REPLICATE(2)")), {"same": same}, {"n": 4, "items": []}).code
        == "R703"
    )


def test_too_many_chunks_are_an_error_or_a_warning() -> None:
    text = each(body=call("a", "x: l/part", "same"), port=port("BLOCK(1)", "number"))
    inputs = {"n": 2, "items": [5, 6, 7]}
    assert failure(text, {"same": same}, inputs).code == "R704"
    enacted = run_workflow(text, {"same": same}, inputs, lenient=True)
    assert enacted.entry == Done({"r": [5, 6]})
    assert [one.code for one in enacted.commands if isinstance(one, Warn)] == ["R704"]


def test_elements_are_chosen_before_they_are_distributed() -> None:
    index = '{name: "element-index", value: "5,0:2"}'
    text = each("3 7", body=call("a", "x: l/part", "same"), port=port("BLOCK(1)", "number", more=index))
    assert outputs(text, {"same": same}, {"items": [10, 11, 12, 13, 14, 15]}) == {"r": [15, 10, 11, 12]}
    assert failure(text, {"same": same}, {"items": [1]}).code == "R706"


def test_one_index_without_distribution_gives_the_element() -> None:
    index = 'constraints: [{name: "element-index", value: "w/n"}]'
    port = f'dataIns: [{{name: "x", type: "number", source: "w/items", {index}}}]'
    text = HEAD + call("a", "", "same").replace("dataIns: []", port)
    assert outputs(text + outs("r number a/y"), {"same": same}, {"n": 1, "items": [4, 5, 6]}) == {"r": 5}


def test_lists_of_iterations_are_put_together_on_demand() -> None:
    text = each(body=PART, port=port("BLOCK(2)"), aggregation="+")
    assert outputs(text, {"same": same}, {"n": 3, "items": [0, 1, 2, 3, 4]}) == {"r": [0, 1, 2, 3, 4]}


def test_a_parallel_for_hands_on_its_inputs_whole() -> None:
    text = each(body=PART, port=port("BLOCK(2)"), output="r collection l/part")
    assert outputs(text, {"same": same}, {"n": 3, "items": [0, 1, 2, 3, 4]}) == {"r": [0, 1, 2, 3, 4]}


# -------------------------------------------------------------------- data flow


def test_inputs_can_be_read_behind_a_function_and_need_not_be_sent() -> None:
    text = (
        HEAD
        + """
- function:
    name: "a"
    type: "count"
    dataIns:
    - {name: "x", type: "number", source: "w/n", passing: true}
    - {name: "z", type: "number", source: "w/n", properties: [{name: "replicate", value: "true"}]}
    dataOuts: [{name: "z", type: "number"}, {name: "keys", type: "collection"}]
"""
    )
    found = outputs(
        text + outs("x number a/x", "z number a/z", "keys collection a/keys"),
        {"count": lambda **given: {"keys": sorted(given), "z": -1}},
        {"n": 5},
    )
    assert found == {"x": 5, "z": 5, "keys": ["z"]}


def test_a_part_of_an_object_that_is_missing_is_an_error() -> None:
    text = HEAD + call("a", "x: w/thing/a/0", "same") + outs("r number a/y")
    assert outputs(text, {"same": same}, {"thing": {"a": [7]}}) == {"r": 7}
    assert failure(text, {"same": same}, {"thing": {"a": []}}).code == "R706"
    assert failure(text, {"same": same}, {"thing": {"b": 1}}).code == "R706"


def test_a_missing_input_is_an_error_and_a_null_is_none() -> None:
    text = HEAD + call("a", "x: w/n", "same") + outs("r number a/y")
    lost = failure(text, {"same": same})
    assert (lost.code, lost.path, lost.message) == ("R701", "a/x", "the inputs of the run have no 'n'")
    assert outputs(text, {"same": same}, {"n": None}) == {"r": None}
    assert failure(text, {"same": same}, {"n": "1"}).code == "R702"


def test_an_output_of_a_branch_that_did_not_run_is_missing_without_null() -> None:
    text = choice(term("w/n", ">", "5"), otherwise=False).replace("a/y,NULL", "a/y")
    assert failure(text, {"add": add}, {"n": 1}).code == "R701"
    assert outputs(text, {"add": add}, {"n": 6}) == {"r": 7}


SUB = (
    """
name: "w"
subFCs:
- name: "twice"
  dataIns: [{name: "v", type: "number", source: "value"}]
  subFCBody:
"""
    + indented(call("a", "x: twice/v", "add") + call("b", "x: a/y", "add"), 2)
    + """
  dataOuts: [{name: "r", type: "number", source: "b/y"}]
dataIns: [{name: "n", type: "number", source: "n"}]
workflowBody:
"""
    + call("a", "value: w/n", "twice", "r: number")
    + call("c", "value: a/r", "twice", "r: number")
    + outs("r number c/r")
)


def test_a_sub_workflow_is_called_like_a_function_and_each_call_has_its_own_names() -> None:
    enacted = run_workflow(SUB, {"add": add}, {"n": 0})
    assert enacted.entry == Done({"r": 4})
    assert enacted.invoked == ["a/a", "a/b", "c/a", "c/b"]


ASYNC = (
    HEAD
    + call("a", "x: w/n", "slow", more='properties: [{name: "invoke-type", value: "ASYNC"}]')
    + call("b", "x: w/n", "quick")
    + """
- function:
    name: "j"
    type: "build-in:asyncHandler"
    dataIns: [{name: "f", type: "collection", value: "a"}]
    dataOuts: [{name: "done", type: "boolean"}]
    properties: [{name: "invoke-type", value: "MODE"}]
"""
    + "{more}"
)


def test_an_asynchronous_call_is_queued_and_joined() -> None:
    text = ASYNC.replace("MODE", "SYNC").replace("{more}", call("c", "x: a/y", "quick"))
    slow = {"after_s": lambda invoke: 5.0 if invoke.type == "slow" else 1.0}
    enacted = run_workflow(
        text + outs("r number c/y", "d boolean j/done"), {"slow": add, "quick": add}, {"n": 1}, **slow
    )
    assert enacted.entry == Done({"r": 3, "d": True})
    assert enacted.ended_s == 6.0
    text = ASYNC.replace("MODE", "ASYNC").replace("{more}", "")
    enacted = run_workflow(text + outs("d boolean j/done"), {"slow": add, "quick": add}, {"n": 1}, **slow)
    assert (enacted.entry, enacted.ended_s) == (Done({"d": False}), 5.0), "the run waits for what is queued"


def test_asynchronous_calls_are_abandoned_in_the_order_in_which_they_began() -> None:
    more = 'properties: [{name: "invoke-type", value: "ASYNC"}]'
    text = HEAD + "".join(call(f"a{k}", "x: w/n", "slow", more=more) for k in range(30))
    enacted = run_workflow(text, {"slow": add}, {"n": 1}, after_s=5.0, cancel_at_s=1.0)
    abandoned = [one.call for one in enacted.commands if isinstance(one, Abandon)]
    assert abandoned == [one.call for one in enacted.commands if isinstance(one, Invoke)]


def test_a_failed_asynchronous_call_fails_the_run() -> None:
    def fail(x: float) -> Any:
        raise Breakdown("function")

    text = ASYNC.replace("MODE", "SYNC").replace("{more}", "")
    assert failure(text, {"slow": fail, "quick": add}, {"n": 1}).path == "a"


# -------------------------------------------------------------------- failures


def failing(times: int, **how: Any) -> Any:
    counted = itertools.count()

    def function(x: Any = None) -> dict[str, Any]:
        if next(counted) < times:
            raise Breakdown(**how)
        return {"y": x}

    return function


def with_constraints(*constraints: str, resource: str = "https://one.example.org/") -> str:
    said = ", ".join(
        f'{{name: "{c.partition(" ")[0]}", value: "{c.partition(" ")[2]}"}}' for c in constraints
    )
    more = f'properties: [{{name: "resource", value: "{resource}"}}], constraints: [{said}]'
    return HEAD + call("a", "x: w/n", "f", more=more) + call("b", "x: a/y", "same") + outs("r number b/y")


def test_a_failure_stops_what_depends_on_it() -> None:
    enacted = run_workflow(with_constraints(), {"f": failing(9, kind="server"), "same": same}, {"n": 1})
    assert enacted.invoked == ["a"]
    assert enacted.entry == Failure(code="R708", path="a", message="it broke", broke="server")


def test_a_call_is_repeated_as_often_as_the_workflow_says() -> None:
    text = with_constraints("FT-Retries 2")
    assert outputs(text, {"f": failing(2), "same": same}, {"n": 1}) == {"r": 1}
    enacted = run_workflow(text, {"f": failing(3), "same": same}, {"n": 1})
    assert isinstance(enacted.entry, Failure)
    assert enacted.invoked == ["a"] * 3
    assert 0.15 <= enacted.ended_s <= 0.3, "with a growing pause in between"


@pytest.mark.parametrize(
    ("kind", "attempts"),
    [("transport", 3), ("throttled", 3), ("timeout", 3), ("function", 1), ("refused", 1)],
)
def test_without_being_told_only_that_is_repeated_which_may_help(kind: Any, attempts: int) -> None:
    enacted = run_workflow(with_constraints(), {"f": failing(9, kind=kind)}, {"n": 1})
    assert len(enacted.invoked) == attempts


def test_what_will_never_be_taken_is_not_repeated() -> None:
    assert (
        len(
            run_workflow(
                with_constraints("FT-Retries 5"), {"f": failing(9, kind="refused")}, {"n": 1}
            ).invoked
        )
        == 1
    )


def test_the_other_end_says_how_long_to_wait() -> None:
    enacted = run_workflow(
        with_constraints(), {"f": failing(1, kind="throttled", retry_after_s=7.0), "same": same}, {"n": 1}
    )
    assert enacted.ended_s == 7.0


def test_plans_come_after_the_repetitions_and_all_of_one_at_once() -> None:
    text = with_constraints(
        "FT-AltPlan-1 0.9;https://four.example.org/;",
        "FT-AltPlan-0 0.9;https://two.example.org/;https://three.example.org/;",
        "FT-Retries 1",
    )
    enacted = run_workflow(text, {"f": failing(4), "same": same}, {"n": 1})
    attempts = [one for one in enacted.commands if isinstance(one, Invoke) and one.path == "a"]
    said = [(one.attempt, one.resource.address[8:].split(".")[0]) for one in attempts if one.resource]
    assert said == [(0, "one"), (1, "one"), (2, "two"), (2, "three"), (3, "four")]
    assert len({one.key for one in attempts}) == 1


def test_the_first_of_a_plan_that_succeeds_counts_and_the_others_are_abandoned() -> None:
    text = with_constraints("FT-AltPlan-0 0.9;https://two.example.org/;https://three.example.org/;")
    counted = itertools.count()

    def f(x: float) -> dict[str, Any]:
        if next(counted) == 0:
            raise Breakdown("function")
        return {"y": 10}

    enacted = run_workflow(
        text,
        {"f": f, "same": same},
        {"n": 1},
        after_s=lambda one: 5.0 if one.resource and "two" in one.resource.address else 1.0,
    )
    assert enacted.entry == Done({"r": 10})
    assert [one.call for one in enacted.commands if isinstance(one, Abandon)] == [2]
    assert enacted.ended_s == 3.0


@pytest.mark.parametrize(
    ("constraint", "code", "at_s"),
    [
        ("C-maxRunningTime 1500", "R711", 101.5),
        ("C-latestFinishingTime 1970-01-01 00:01:42.250", "R710", 102.25),
        ("C-latestStartingTime 1970-01-01 00:01:39", "R709", 100.0),
        ("X-timeout 700", "R708", 100.7),
    ],
)
def test_deadlines_are_kept_to_the_millisecond(constraint: str, code: str, at_s: float) -> None:
    enacted = run_workflow(
        with_constraints(constraint, "FT-Retries 0"),
        {"f": same, "same": same},
        {"n": 1},
        after_s=60.0,
        begin_s=100.0,
    )
    assert isinstance(enacted.entry, Failure)
    assert (enacted.entry.code, enacted.entry.path) == (code, "a")
    assert enacted.ended_s == pytest.approx(at_s, abs=1e-3)


def test_the_clock_of_a_deadline_runs_through_the_repetitions() -> None:
    text = with_constraints("C-maxRunningTime 2500", "FT-Retries 9")
    enacted = run_workflow(text, {"f": failing(99)}, {"n": 1}, after_s=1.0)
    assert isinstance(enacted.entry, Failure)
    assert (enacted.entry.code, len(enacted.invoked)) == ("R711", 3)


def test_no_answer_at_all_ends_by_the_default_time_out() -> None:
    enacted = run_workflow(
        with_constraints(), {"f": same}, {"n": 1}, after_s=1e9, policy=Policy(timeout_s=3.0, retries=0)
    )
    assert isinstance(enacted.entry, Failure)
    assert (enacted.entry.broke, enacted.ended_s) == ("timeout", 3.0)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ([1], "reply"),
        ({}, "reply"),
        ({"y": "1"}, "reply"),
        ({"y": True}, "reply"),
        ({"error": "no", "y": 1}, "function"),
    ],
)
def test_an_answer_that_is_none_is_a_failure(reply: Any, kind: str) -> None:
    assert failure(with_constraints(), {"f": lambda **_: reply, "same": same}, {"n": 1}).broke == kind


def test_the_word_error_in_an_answer_is_only_a_word() -> None:
    text = HEAD + call("a", "x: w/n", "f", "y: string") + outs("r string a/y")
    assert outputs(text, {"f": lambda **_: {"y": "error: none"}}, {"n": 1}) == {"r": "error: none"}


def test_the_first_failure_ends_the_siblings() -> None:
    def f(x: float) -> dict[str, Any]:
        if x == 1:
            raise Breakdown("function")
        return {"y": x}

    enacted = run_workflow(
        each("0 4", body=call("a", "x: l/k", "f")),
        {"f": f},
        after_s=lambda one: 1.0 if one.inputs["x"] == 1 else 9.0,
    )
    assert isinstance(enacted.entry, Failure)
    assert (enacted.entry.path, enacted.ended_s) == ("l[1]/a", 1.0)
    assert len([one for one in enacted.commands if isinstance(one, Abandon)]) == 3


@pytest.mark.parametrize(("percent", "succeeds"), [("20", True), ("19.9", False), ("100", True)])
def test_a_part_of_the_iterations_may_fail_where_that_is_tolerated(percent: str, succeeds: bool) -> None:
    def f(x: float) -> dict[str, Any]:
        if x in {3, 7}:
            raise Breakdown("function")
        return {"y": x}

    text = each(
        "0 10",
        call("a", "x: l/k", "f"),
        constraints=f'{{name: "X-toleratedFailurePercentage", value: "{percent}"}}',
    )
    enacted = run_workflow(text, {"f": f})
    if succeeds:
        assert enacted.entry == Done({"r": [0, 1, 2, None, 4, 5, 6, None, 8, 9]})
        assert [one.message for one in enacted.commands if isinstance(one, Warn)] == [
            "2 of 10 iterations failed: 3, 7"
        ]
    else:
        assert isinstance(enacted.entry, Failure)


def test_a_run_can_be_cancelled() -> None:
    enacted = run_workflow(each("0 3"), {"same": same}, after_s=10.0, cancel_at_s=4.0)
    assert isinstance(enacted.entry, Failure)
    assert (enacted.entry.code, enacted.ended_s) == ("R714", 4.0)
    assert len([one for one in enacted.commands if isinstance(one, Abandon)]) == 3


def test_no_value_stands_in_what_is_said_of_a_failure() -> None:
    marker = 8_675_309.25
    texts = [
        failure(with_constraints(), {"f": lambda **_: {"y": str(marker)}}, {"n": marker}).message,
        failure(
            choice(term("w/n", ">", "w/thing/a")), {"add": add}, {"n": marker, "thing": {"a": []}}
        ).message,
        failure(HEAD + call("a", "x: w/n", "same"), {"same": same}, {"n": str(marker)}).message,
        failure(each("0 w/n"), {"same": same}, {"n": marker}).message,
    ]
    assert not any("8675309" in text for text in texts)


# -------------------------------------------------------------------- limits


def test_no_more_iterations_are_in_flight_than_the_workflow_allows() -> None:
    for text, most in ((each("0 50", constraints='{name: "concurrency", value: "7"}'), 7), (each("0 50"), 5)):
        flying = peak = 0
        for one in run_workflow(text, {"same": same}, after_s=1.0, policy=Policy(concurrency=5)).commands:
            flying += isinstance(one, Invoke)
            peak = max(peak, flying)
            flying -= isinstance(one, Record)
        assert peak == most


def test_an_execution_of_many_iterations_holds_only_those_in_flight() -> None:
    program = program_of(each("0 10000", constraints='{name: "concurrency", value: "16"}'))
    execution = Execution(program, "run", {})
    commands = execution.start(0.0)
    largest = 0
    while execution.entry is None:
        waiting = [one for one in commands if isinstance(one, Invoke)]
        commands = [
            new for one in waiting for new in execution.handle(Replied(one.call, {"y": one.inputs["x"]}), 0.0)
        ]
        largest = max(largest, len(execution._tasks._calls), len(execution._tasks._timed))
    assert execution.entry == Done({"r": list(range(10_000))})
    assert largest <= 16
    assert len(execution._tasks._timers) <= 128


def test_an_answer_that_comes_too_late_or_twice_is_ignored() -> None:
    execution = Execution(
        program_of(HEAD + call("a", "x: w/n", "same") + outs("r number a/y")), "run", {"n": 1}
    )
    (invoke,) = execution.start(0.0)
    assert isinstance(invoke, Invoke)
    assert execution.handle(Replied(99, {"y": 5}), 0.0) == []
    execution.handle(Replied(invoke.call, {"y": 5}), 0.0)
    assert execution.entry == Done({"r": 5})
    assert execution.handle(Replied(invoke.call, {"y": 6}), 0.0) == []
    assert execution.handle(Cancelled(), 0.0) == []
    assert execution.entry == Done({"r": 5})


# -------------------------------------------------------------------- laws


MANY = each(
    "0 6",
    call("a", "x: l/k", "f") + call("b", "x: a/y", "f"),
    output="r collection b/y",
    constraints='{name: "concurrency", value: "4"}',
)


@given(st.randoms(use_true_random=False))
def test_the_result_does_not_depend_on_the_order_of_the_answers(luck: random.Random) -> None:
    enacted = run_workflow(MANY, {"f": add}, after_s=lambda _: luck.random())
    assert enacted.entry == Done({"r": [k + 2 for k in range(6)]})


@given(st.integers(0, 40), st.randoms(use_true_random=False))
def test_a_run_that_was_cut_off_goes_on_without_repeating_what_was_recorded(
    cut: int, luck: random.Random
) -> None:
    def f(x: float) -> dict[str, Any]:
        if luck.random() < 0.2:
            raise Breakdown("transport")
        return {"y": x + 1}

    policy = Policy(retries=50)
    first = run_workflow(MANY, {"f": f}, after_s=lambda _: luck.random(), policy=policy)
    known = {one.path: one.entry for one in first.commands[:cut] if isinstance(one, Record)}
    again = run_workflow(MANY, {"f": f}, after_s=lambda _: luck.random(), policy=policy, known=known)
    assert again.entry == first.entry
    assert not set(again.invoked) & set(known)
    assert set(again.invoked) | set(known) == set(first.invoked)


def test_a_tolerated_failure_stays_one_after_a_restart() -> None:
    text = each(
        "0 4", call("a", "x: l/k", "f"), constraints='{name: "X-toleratedFailurePercentage", value: "50"}'
    )

    def f(x: float) -> dict[str, Any]:
        if x == 2:
            raise Breakdown("function")
        return {"y": x}

    first = run_workflow(text, {"f": f})
    known = {one.path: one.entry for one in first.commands if isinstance(one, Record)}
    again = run_workflow(text, {}, known=known)
    assert again.entry == first.entry == Done({"r": [0, 1, None, 3]})
    assert again.invoked == []
