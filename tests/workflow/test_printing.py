"""A workflow that is printed reads as the same workflow, whatever is in it."""

from typing import Any

import msgspec
import yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from einthoven.workflow import Workflow, print_workflow, read
from einthoven.workflow.model import (
    KEYS,
    Case,
    Comparison,
    Condition,
    Construct,
    DataEval,
    DataIn,
    DataLoop,
    DataOut,
    For,
    Function,
    If,
    LoopCounter,
    Parallel,
    ParallelFor,
    Sequence,
    Setting,
    SubWorkflow,
    Switch,
    While,
    constructs_in,
)

# Half of a surrogate pair is no character; all others can be written, as escapes if need be.
TEXTS = st.text(max_size=12) | st.sampled_from(
    [
        *(
            "",
            " ",
            "'",
            '"',
            "\\",
            "\n",
            "\r\n",
            "\t",
            "a: b",
            "- a",
            "# a",
            "*a",
            "&a",
            "!a",
            "%a",
            "{a}",
            "[a]",
        ),
        *(
            "null",
            "~",
            "true",
            "yes",
            "1",
            "1.0",
            "0x1",
            "2024-01-01",
            "<<",
            "=",
            "---",
            "...",
            "a\n\n  b \n",
            "|",
        ),
        *("\x00", "\x07", "\x1b", "\x7f", "\x85", "\xa0", "\u2028", "\u2029", "\ufeff", "\ufffe", "\uffff"),
        *("💓", "心電図", "é", "e\u0301", "\u202eabc", " a ", "a" * 200, "a b " * 60),
    ]
)
MAYBE = st.none() | TEXTS


def few(one: st.SearchStrategy[Any], least: int = 0, most: int = 2) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(one, min_size=least, max_size=most).map(tuple)


SETTINGS = few(st.builds(Setting, name=TEXTS, value=TEXTS))
TAIL = {"properties": SETTINGS, "constraints": SETTINGS}
PORT = {"name": TEXTS, "type": TEXTS, "passing": st.booleans(), **TAIL}
DATA_INS = few(st.builds(DataIn, source=MAYBE, value=MAYBE, **PORT))
DATA_OUTS = few(st.builds(DataOut, source=MAYBE, saveto=MAYBE, **PORT))
DATA_LOOPS = few(st.builds(DataLoop, init_source=MAYBE, value=MAYBE, loop_source=MAYBE, **PORT))
COMPARISONS = few(
    st.builds(Comparison, data1=TEXTS, data2=TEXTS, operator=TEXTS, negation=st.booleans()), most=3
)
CONDITIONS = st.builds(Condition, combined_with=TEXTS, conditions=COMPARISONS)
COMMON = {"name": TEXTS, "data_ins": DATA_INS, "data_outs": DATA_OUTS, **TAIL}


def constructs(*, is_lenient: bool = False) -> st.SearchStrategy[Construct]:
    """All of them, within each other; a lenient reader takes some without a type or name."""
    optional = MAYBE if is_lenient else TEXTS
    deployment = MAYBE if is_lenient else st.none()
    counter = st.builds(LoopCounter, name=optional, type=optional, begin=TEXTS, end=TEXTS, step=MAYBE)
    functions = st.builds(Function, type=optional, deployment=deployment, **COMMON)

    def compounds(inner: st.SearchStrategy[Construct]) -> st.SearchStrategy[Construct]:
        body, maybe = few(inner, 1), few(inner)
        cases = few(st.builds(Case, value=TEXTS, functions=body, breaks=st.booleans()), 1)
        looked_at = st.builds(DataEval, name=TEXTS, type=TEXTS, source=TEXTS)
        return st.one_of(
            st.builds(Sequence, body=body, **COMMON),
            st.builds(If, condition=CONDITIONS, then=body, otherwise=maybe, **COMMON),
            st.builds(Switch, data_eval=looked_at, cases=cases, default=maybe, **COMMON),
            st.builds(For, counter=counter, data_loops=DATA_LOOPS, body=body, **COMMON),
            st.builds(While, condition=CONDITIONS, data_loops=DATA_LOOPS, body=body, **COMMON),
            st.builds(Parallel, sections=few(body, 1), **COMMON),
            st.builds(ParallelFor, counter=counter, body=body, **COMMON),
        )

    return st.recursive(functions, compounds, max_leaves=4)


def workflows(*, is_lenient: bool = False) -> st.SearchStrategy[Workflow]:
    body = few(constructs(is_lenient=is_lenient), 1)
    return st.builds(
        Workflow,
        name=TEXTS,
        sub_workflows=few(st.builds(SubWorkflow, body=body, **COMMON), most=1),
        data_ins=DATA_INS,
        body=body,
        data_outs=DATA_OUTS,
    )


def read_back(workflow: Workflow, mode: str = "strict") -> Workflow | None:
    reading = read(print_workflow(workflow), mode)
    assert [one.text("w") for one in reading.flaws if one.severity == "error"] == []
    return reading.workflow


@given(workflows())
def test_what_is_printed_reads_as_the_same_workflow(workflow: Workflow) -> None:
    assert read_back(workflow) == workflow


@given(workflows(is_lenient=True))
def test_what_a_lenient_reader_took_is_printed_for_a_lenient_reader(workflow: Workflow) -> None:
    assert read_back(workflow, "lenient") == workflow


@given(workflows())
def test_printing_what_was_printed_changes_nothing(workflow: Workflow) -> None:
    once = print_workflow(workflow)
    again = read(once).workflow
    assert again is not None
    assert print_workflow(again) == once


@given(TEXTS)
def test_every_text_survives_in_every_place(text: str) -> None:
    setting = (Setting(name=text, value=text),)
    both = {"name": text, "type": text, "properties": setting, "constraints": setting}
    data_in = DataIn(source=text, value=text, passing=True, **both)
    data_out = DataOut(source=text, saveto=text, **both)
    function = Function(data_ins=(data_in,), data_outs=(data_out,), **both)
    workflow = Workflow(name=text, data_ins=(data_in,), body=(function,), data_outs=(data_out,))
    assert read_back(workflow) == workflow


@given(constructs())
def test_other_readers_of_yaml_see_texts_as_texts(construct: Construct) -> None:
    """What is printed is plain YAML: strings, true, lists and mappings."""
    workflow = Workflow(name="w", body=(construct,))

    def kinds(node: Any) -> set[type]:
        if isinstance(node, dict):
            return set().union(*(kinds(one) for one in (*node, *node.values())))
        if isinstance(node, list):
            return set().union(*map(kinds, node))
        return {type(node)}

    tree = yaml.load(print_workflow(workflow), Loader=yaml.SafeLoader)
    assert kinds(tree) <= {str, bool}
    [item] = tree["workflowBody"]
    assert list(item) == [KEYS[type(construct)]]


def test_a_workflow_is_printed_in_the_order_of_the_language() -> None:
    function = Function(
        name="f",
        type="t",
        data_ins=(DataIn(name="x", type="number", source="w/n", passing=True),),
        data_outs=(DataOut(name="y", type="number"),),
        constraints=(Setting(name="FT-Retries", value="2"),),
    )
    workflow = Workflow(
        name="w",
        data_ins=(DataIn(name="n", type="number", source="n"),),
        body=(function,),
        data_outs=(DataOut(name="r", type="number", source="f/y"),),
    )
    assert print_workflow(workflow) == (
        """\
---
name: "w"
dataIns:
- name: "n"
  type: "number"
  source: "n"
workflowBody:
- function:
    name: "f"
    type: "t"
    dataIns:
    - name: "x"
      type: "number"
      source: "w/n"
      passing: true
    dataOuts:
    - name: "y"
      type: "number"
    constraints:
    - name: "FT-Retries"
      value: "2"
dataOuts:
- name: "r"
  type: "number"
  source: "f/y"
"""
    )


def test_long_texts_stay_in_one_line() -> None:
    source = ",".join(f"producer{k}/port" for k in range(500))
    workflow = Workflow(
        name="w", body=(Function(name="f", type="t", data_ins=(DataIn(name="x", type="y", source=source),)),)
    )
    assert f'source: "{source}"' in print_workflow(workflow)
    text = "word " * 500_000
    assert read_back(msgspec.structs.replace(workflow, name=text)) == msgspec.structs.replace(
        workflow, name=text
    )


def test_the_examples_hold_every_construct() -> None:
    seen: set[type] = set()

    @settings(phases=[Phase.generate], database=None, max_examples=200)
    @given(workflows())
    def look(workflow: Workflow) -> None:
        seen.update(map(type, constructs_in(workflow.body)))

    look()
    assert seen == set(KEYS)
