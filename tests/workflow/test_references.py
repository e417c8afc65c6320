"""Which values may stay where they were made: those that nobody looks into on their way."""

import pytest

from einthoven.testing.workflows import program_of
from einthoven.workflow.answers import has_type
from einthoven.workflow.fusion import fuse
from einthoven.workflow.program import CallStep, FusedStep, Program, Steps
from einthoven.workflow.references import Kind, Referenced, kind_of, passing_by_reference

BEGIN = """
name: "w"
dataIns: [{name: "n", type: "number", source: "n"}]
workflowBody:
- function:
    name: "make"
    type: "make"
    dataIns: [{name: "n", type: "number", source: "w/n"}]
    dataOuts:
    - {name: "thing", type: "object"}
    - {name: "list", type: "collection"}
    - {name: "count", type: "number"}
"""
TAKE = """
- function:
    name: "take"
    type: "take"
    dataIns: [{name: "given", type: "object", source: "%s"}%s]
    dataOuts: [{name: "y", type: "number"}]
"""
END = """
dataOuts: [{name: "y", type: "number", source: "take/y"}%s]
"""
EACH = """
- parallelFor:
    name: "l"
    dataIns: [{name: "one", type: "%s", source: "%s"%s}]
    loopCounter: {name: "k", type: "number", from: "0", to: "%s"}
    loopBody:
    - function:
        name: "part"
        type: "part"
        dataIns: [{name: "x", type: "%s", source: "l/one"}]
        dataOuts: [{name: "big", type: "object"}, {name: "bits", type: "collection"}]
    dataOuts:
    - {name: "bigs", type: "collection", source: "part/big"}
    - name: "bits"
      type: "collection"
      source: "part/bits"
      constraints: [{name: "aggregation", value: "+"}]
"""


def calls(steps: Steps) -> dict[str, CallStep | FusedStep]:
    found: dict[str, CallStep | FusedStep] = {}
    for step in steps:
        if isinstance(step, CallStep | FusedStep):
            found[step.name] = step
        for inner in ("body", "then", "otherwise"):
            found |= calls(getattr(step, inner, ()))
    return found


def marked(text: str) -> dict[str, tuple[set[str], set[str]]]:
    """What may leave and come by reference, by function."""
    program: Program = passing_by_reference(program_of(text))
    return {name: (set(one.leaves), set(one.comes)) for name, one in calls(program.main.body).items()}


def test_what_is_only_handed_on_may_stay_where_it_is() -> None:
    found = marked(BEGIN + TAKE % ("make/thing", "") + END % "")
    assert found["make"] == ({"thing", "list", "count"}, set())
    assert found["take"] == (set(), {"given"})


def test_what_a_workflow_gives_in_the_end_is_given_by_value() -> None:
    end = END % ', {name: "thing", type: "object", source: "make/thing"}'
    found = marked(BEGIN + TAKE % ("make/thing", "") + end)
    assert "thing" not in found["make"][0]
    assert found["take"] == (set(), set())


@pytest.mark.parametrize(
    ("port", "looks"),
    [
        ("thing", '{name: "given", type: "object", source: "make/thing/part"}'),
        (
            "list",
            '{name: "given", type: "object", source: "make/list", '
            'constraints: [{name: "element-index", value: "0"}]}',
        ),
    ],
)
def test_who_wants_a_part_of_it_looks_into_it(port: str, looks: str) -> None:
    text = BEGIN + TAKE % ("make/thing", "") + END % ""
    text = text.replace('{name: "given", type: "object", source: "make/thing"}', looks)
    found = marked(text)
    assert port not in found["make"][0]
    assert found["take"] == (set(), set())


def test_tests_and_counters_look() -> None:
    text = (
        BEGIN
        + EACH % ("object", "make/thing", "", "make/count", "object")
        + TAKE % ("make/thing", "")
        + END % ""
    )
    found = marked(text)
    assert found["make"][0] == {"thing", "list"}
    assert found["part"] == ({"big"}, {"x"})


def test_a_distribution_looks_and_so_does_what_puts_lists_together() -> None:
    how = ', constraints: [{name: "distribution", value: "BLOCK(1)"}]'
    text = BEGIN + EACH % ("object", "make/list", how, "3", "object") + TAKE % ("make/thing", "") + END % ""
    found = marked(text)
    assert "list" not in found["make"][0]
    assert "bits" not in found["part"][0]
    assert found["part"][1] == set()


def test_what_comes_in_a_list_from_a_loop_is_known_to_come_so() -> None:
    text = BEGIN + EACH % ("object", "make/thing", "", "3", "object")
    text += TAKE % ("make/thing", ', {name: "all", type: "collection", source: "l/bigs"}') + END % ""
    found = marked(text)
    assert "big" in found["part"][0]
    assert found["take"][1] == {"given", "all"}


def test_a_fused_invocation_names_its_stages() -> None:
    text = BEGIN + TAKE % ("make/thing", "") + END % ""
    program = passing_by_reference(fuse(program_of(text), lambda *_: "here"))
    (step,) = calls(program.main.body).values()
    assert isinstance(step, FusedStep)
    assert (step.leaves, step.comes) == ((), ())


@pytest.mark.parametrize(
    ("value", "kind", "types"),
    [
        ("a", "string", {"string", "file"}),
        (1.5, "number", {"number"}),
        (True, "boolean", {"boolean"}),
        ([1], "array", {"array", "collection"}),
        ({"a": 1}, "object", {"object", "collection"}),
    ],
)
def test_a_reference_has_the_types_of_what_it_refers_to(value: object, kind: Kind, types: set[str]) -> None:
    assert kind_of(value) == kind
    reference = Referenced("runs/r/values/x", "00", 10, kind)
    for type_ in ("string", "file", "number", "boolean", "object", "array", "collection"):
        assert has_type(reference, type_) == (type_ in types) == has_type(value, type_)
    assert kind_of(None) is None
