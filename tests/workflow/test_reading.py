"""From YAML to a workflow: every error of form with its place, and nothing in a document can break it."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from einthoven.workflow import Place, check_text, read
from einthoven.workflow.flaws import path_text
from einthoven.workflow.model import DataIn, Function, Parallel, Setting, Switch, While
from einthoven.workflow.reader import BYTES_MAX, DEPTH_MAX, NODES_MAX

BODY = 'workflowBody:\n- function: {name: "f", type: "t"}\n'
SMALL = 'name: "w"\n' + BODY
HEAD = 'name: "w"\nworkflowBody:\n- '
FN = 'function: {name: "f", type: "t"}'
SWITCH = HEAD + 'switch: {name: "s", dataEval: {name: "d", type: "string", source: "w/s"}, cases: '
PORT = "workflowBody[0].function.dataIns[0]"
CONDITION = '{combinedWith: "and", conditions: [{data1: "1", operator: "==", data2: "1"}]}'


def with_port(said: str) -> str:
    """A document whose only function has one dataIn."""
    return 'name: "w"\nworkflowBody:\n- function: {name: "f", type: "t", dataIns: [{' + said + "}]}\n"


def port_of(text: str, mode: str = "lenient") -> DataIn:
    workflow = read(text, mode).workflow
    assert workflow is not None
    return workflow.body[0].data_ins[0]


def marked(text: str) -> tuple[str, Place]:
    """A text without its mark §, and where that stood."""
    before, _, after = text.partition("§")
    return before + after, Place(before.count("\n") + 1, len(before) - before.rfind("\n"))


def said_of(text: str | bytes, mode: str = "strict") -> list[tuple[str, str, int, int]]:
    return [
        (one.code, path_text(one.path), one.place.line, one.place.column) for one in read(text, mode).flaws
    ]


# -------------------------------------------------------------------- errors of form


FORM = [
    ("E101", "", 'name: "w"\nworkflowBody: [\n§'),
    ("E101", "", 'name: "w"\n§\tworkflowBody: []\n'),
    ("E101", "", 'name: "w"\nworkflowBody: §*nothing\n'),
    ("E101", "", f"{SMALL}---\n§{SMALL}"),
    ("E101", "", "§"),
    ("E101", "", "§# nothing but a remark\n"),
    ("E102", "", "§- a\n"),
    ("E102", "", "--- §~\n"),
    ("E102", "name", f"name: §[w]\n{BODY}"),
    ("E102", "", f'§? [a]\n: b\nname: "w"\n{BODY}'.replace("§? ", "? §")),
    ("E102", "workflowBody", 'name: "w"\nworkflowBody: §{a: b}\n'),
    ("E102", "workflowBody", 'name: "w"\nworkflowBody:§\n'),
    ("E102", "workflowBody[0]", 'name: "w"\nworkflowBody:\n- §f\n'),
    ("E102", "workflowBody[0]", 'name: "w"\nworkflowBody:\n- §{}\n'),
    ("E102", "workflowBody[0]", 'name: "w"\nworkflowBody:\n- §function: {}\n  sequence: {}\n'),
    ("E102", "workflowBody[0]", 'name: "w"\nworkflowBody:\n- ? §[function]\n  : {}\n'),
    ("E102", "workflowBody[0].function", 'name: "w"\nworkflowBody:\n- function: §"f"\n'),
    ("E102", f"{PORT}.passing", with_port('name: "a", type: "x", passing: §"maybe"')),
    ("E102", f"{PORT}.passing", with_port('name: "a", type: "x", passing: §[true]')),
    (
        "E102",
        "workflowBody[0].switch.cases[0].break",
        SWITCH + f'[{{value: "1", break: §"perhaps", functions: [{FN}]}}]}}\n',
    ),
    ("E103", "", f"{SMALL}§colour: red\n"),
    ("E103", "workflowBody[0].function", SMALL.replace('type: "t"', 'type: "t", §typ: "t"')),
    ("E103", "", SMALL.replace("workflowBody", "§FCBody")),
    ("E104", "", f"§{BODY}"),
    ("E104", "", '§name: "w"\n'),
    ("E104", "workflowBody[0].function.dataIns[0]", with_port('name: "x"').replace("[{", "[§{")),
    ("E104", "workflowBody[0].function", SMALL.replace(', type: "t"', "").replace("{", "§{")),
    ("E104", "workflowBody[0].sequence", 'name: "w"\nworkflowBody:\n- sequence:\n    §name: "q"\n'),
    ("E105", "workflowBody", 'name: "w"\nworkflowBody: §[]\n'),
    ("E105", "workflowBody[0].parallel.parallelBody", HEAD + 'parallel: {name: "p", parallelBody: §[]}\n'),
    (
        "E105",
        "workflowBody[0].parallel.parallelBody[0].section",
        'name: "w"\nworkflowBody:\n- parallel: {name: "p", parallelBody: [{section: §[]}]}\n',
    ),
    (
        "E105",
        "workflowBody[0].if.else",
        f'name: "w"\nworkflowBody:\n- if: {{name: "i", condition: {CONDITION}, '
        'then: [function: {name: "f", type: "t"}], else: §[]}\n',
    ),
    (
        "E105",
        "workflowBody[0].switch.cases",
        SWITCH + "§[]}\n",
    ),
    ("E106", "workflowBody[0]", 'name: "w"\nworkflowBody:\n- §parallelfor: {}\n'),
    ("E107", "name", f"name: §5\n{BODY}"),
    ("E107", "name", f"name: §2.5\n{BODY}"),
    ("E107", "name", f"name: §true\n{BODY}"),
    ("E107", "name", f"name: §2024-01-02\n{BODY}"),
    ("E107", "name", f"name:§\n{BODY}"),
    ("E107", f"{PORT}.value", with_port('name: "x", type: "array", value: §[1, 2]')),
    ("E107", f"{PORT}.passing", with_port('name: "x", type: "x", passing: §"true"')),
    ("E108", "", f'{SMALL}§name: "v"\n'),
    ("E108", "workflowBody[0].function", SMALL.replace('"t"', '"t", §"type": "u"')),
]  # fmt: skip


@pytest.mark.parametrize(("code", "path", "text"), FORM, ids=[f"{row[0]}-{k}" for k, row in enumerate(FORM)])
def test_each_error_of_form_is_found_alone_and_where_it_is(code: str, path: str, text: str) -> None:
    text, place = marked(text)
    assert said_of(text) == [(code, path, place.line, place.column)]
    reading = read(text)
    assert reading.workflow is None
    assert reading.flaws[0].severity == "error"


def test_all_errors_of_form_are_found_in_one_pass() -> None:
    text = """\
name: 5
colour: "red"
workflowBody:
- function: {name: "f", type: "t", typ: "t"}
- whale: {}
- sequence: {name: "q", sequenceBody: []}
- function: {name: "g", type: "t", dataIns: [{name: "x"}], type: "u"}
- if: {name: "i", then: [f]}
"""
    assert [code for code, *_ in said_of(text)] == [
        *("E107", "E103", "E103", "E106", "E105", "E104", "E108", "E102", "E104")
    ]


def test_what_is_understood_is_checked_in_spite_of_errors_of_form() -> None:
    text = HEAD + 'function: {name: "f", dataIns: [{name: "x", type: "number", source: "n/y"}]}\n'
    assert [one.code for one in check_text(text).flaws] == ["E104", "E302"]
    assert read(text).workflow is None
    assert read(text).draft is not None


def test_a_misspelled_key_is_answered_with_the_right_one() -> None:
    [flaw] = read(SMALL.replace('type: "t"', 'type: "t", dataIn: []')).flaws
    assert flaw.hint == "Did you mean 'dataIns'?"
    [flaw] = read(SMALL + "zzz: 1\n").flaws
    assert flaw.hint == "Known are: name, subFCs, dataIns, workflowBody, dataOuts."
    [flaw] = read(SMALL.replace("function", "functoin")).flaws
    assert flaw.hint == "Did you mean 'function'?"


def test_places_are_those_of_the_values() -> None:
    reading = read(with_port('name: "a", type: "x", source: "w/s"'))
    at = ("workflowBody", 0, "function", "dataIns", 0)
    assert reading.place((*at, "source")) == Place(3, 77)
    assert reading.place((*at, "constraints", 3, "value")) == reading.place(at) == Place(3, 46)
    assert reading.place(("nowhere",)) == Place(1, 1)


def test_a_flaw_is_one_line_that_an_editor_understands() -> None:
    [flaw] = read(SMALL + 'nmae: "x"\n').flaws
    assert flaw.text("a.yaml") == "a.yaml:4:1  E103  the key 'nmae' is not known here. Did you mean 'name'?"
    [flaw] = read('name: "w"\nworkflowBody: []\n').flaws
    assert flaw.text("a.yaml").startswith("a.yaml:2:15  E105  workflowBody  there is nothing in it.")


# -------------------------------------------------------------------- hostile documents


def test_a_small_document_of_aliases_does_not_become_a_large_one() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 9)]
    bomb = "\n".join(lines)
    assert {one.code for one in read(bomb).flaws} == {"E103", "E104"}
    for mode in ("strict", "lenient"):
        text = bomb + "\n" + with_port('name: "x", type: "array", value: *a8')
        last = read(text, mode).flaws[-1]
        assert (last.code, last.severity) == ("E101", "error")
        assert str(NODES_MAX) in last.message
        assert read(text, mode).workflow is None


def test_a_bomb_in_a_key_is_not_followed() -> None:
    keys = ["? &a0 [x, x] : 1"] + [f"? &a{k} [*a{k - 1}, *a{k - 1}] : 1" for k in range(1, 60)]
    text = with_port(f'name: "x", type: "object", value: {{{", ".join(keys)}}}')
    codes = [one.code for one in read(text, "lenient").flaws]
    assert codes.count("E102") == 60


def test_a_long_text_is_not_repeated_by_aliases() -> None:
    ports = ", ".join('{name: "x", type: *long}' for _ in range(100))
    text = HEAD + f'function: {{name: "f", type: &long "{"x" * 10**5}", dataIns: [{ports}]}}\n'
    last = read(text).flaws[-1]
    assert (last.code, str(BYTES_MAX) in last.message) == ("E101", True)


@pytest.mark.parametrize(
    "text",
    [
        'name: "w"\nworkflowBody: &a [sequence: {name: "q", sequenceBody: *a}]\n',
        'name: "w"\nworkflowBody: &a [*a]\n',
        "&a [*a]\n",
        "&a {name: *a, *a : b}\n",
        with_port('name: "x", type: "array", value: &a [*a]'),
        with_port('name: "x", type: "object", value: &a {b: *a}'),
        with_port('name: "x", type: "object", value: &a {? *a : b}'),
    ],
)
def test_an_alias_within_itself_ends(text: str) -> None:
    for mode in ("strict", "lenient"):
        reading = read(text, mode)
        assert reading.workflow is None
        assert {one.code for one in reading.flaws} & {"E101", "E102"}


@pytest.mark.parametrize(
    "text", ["[" * 10**6, "{a: " * 10**5, "- " * 10**5, "? " * 10**5, "[" * 900 + "]" * 900]
)
def test_what_is_nested_too_deep_is_not_read(text: str) -> None:
    assert {one.code for one in read(text).flaws} <= {"E101", "E102"}
    assert read(text).workflow is None


def nested(depth: int) -> str:
    text = 'function: {name: "f", type: "t"}'
    for k in range(depth):
        text = f'sequence: {{name: "q{k}", sequenceBody: [{text}]}}'
    return f'name: "w"\nworkflowBody: [{text}]\n'


def test_compounds_may_be_nested_but_not_without_end() -> None:
    assert read(nested(30)).workflow is not None
    [flaw] = read(nested(40)).flaws
    assert (flaw.code, str(DEPTH_MAX) in flaw.message) == ("E101", True)


def test_a_document_that_is_too_large_is_not_read() -> None:
    for text in (b"x" * 5 * 2**20, "ä" * (BYTES_MAX // 2 + 1)):
        assert said_of(text) == [("E101", "", 1, 1)]
    padded = SMALL + "#" * (BYTES_MAX - len(SMALL))
    assert read(padded).workflow is not None


def test_many_unknown_keys_end_as_too_many_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("einthoven.workflow.reader.NODES_MAX", 1000)
    reading = read(SMALL + "".join(f"k{k}: 1\n" for k in range(1000)))
    assert len(reading.flaws) < 1000
    assert reading.flaws[-1].code == "E101"
    assert reading.workflow is None


@pytest.mark.parametrize(
    "text",
    [
        b"name: \xff\xfe",
        b"\xe4\xf6\xfc",
        b"name: \x00",
        b"\xff",
        b"\xfe\xff\xd8\x00",
        "name: \x07",
        "name: \ud800",
    ],
)
def test_what_is_no_text_is_not_yaml(text: str | bytes) -> None:
    assert [code for code, *_ in said_of(text)] == ["E101"]


def test_text_may_come_as_bytes_in_any_encoding_of_yaml() -> None:
    text = SMALL.replace('"t"', '"träge 心"')
    for content in (text, text.encode(), b"\xef\xbb\xbf" + text.encode(), text.encode("utf-16")):
        workflow = read(content).workflow
        assert workflow is not None
        assert workflow.body[0].type == "träge 心"


@pytest.mark.parametrize(
    "said",
    [
        "!!bool x",
        "!!bool [a]",
        "!!int x",
        "!!null x",
        "!!python/name:os.system x",
        "!mine {a: b}",
        "!!map [a]",
        "<<",
    ],
)
def test_tags_are_never_more_than_a_shape(said: str) -> None:
    for key in ("passing", "value", "source"):
        for mode in ("strict", "lenient"):
            read(with_port(f'name: "x", type: "y", {key}: {said}'), mode)
    read(SWITCH + f'[{{value: "1", break: {said}, functions: [{FN}]}}]}}\n', "lenient")


ECG = Path(__file__).parents[2] / "src" / "einthoven" / "workflow" / "ecg"
WORDS = st.sampled_from(
    [
        *("name", "type", "source", "value", "passing", "properties", "constraints", "dataIns", "dataOuts"),
        *(
            "workflowBody",
            "FCBody",
            "subFCs",
            "subFCBody",
            "function",
            "deployment",
            "sequence",
            "sequenceBody",
        ),
        *("if", "condition", "combinedWith", "conditions", "data1", "operator", "negation", "then", "else"),
        *("switch", "dataEval", "cases", "break", "functions", "default", "for", "while", "dataLoops"),
        *(
            "loopCounter",
            "from",
            "to",
            "step",
            "loopBody",
            "parallelFor",
            "parallel",
            "parallelBody",
            "section",
        ),
        *("<<", "=", "~", "a/b", "2024-01-01", "1.5", "yes", "1"),
    ]
)
LEAVES = WORDS | st.text(max_size=5) | st.integers() | st.booleans() | st.none() | st.floats()
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=6),
    max_leaves=40,
)


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_no_text_makes_the_reader_raise(text: str | bytes) -> None:
    for mode in ("strict", "lenient"):
        checked = check_text(text, mode)
        assert (checked.workflow is None) == any(one.severity == "error" for one in checked.flaws)


@given(st.dictionaries(WORDS, TREES, max_size=6) | TREES)
def test_no_tree_makes_the_reader_or_the_checker_raise(tree: object) -> None:
    for text in (json.dumps(tree), yaml.safe_dump(tree, allow_unicode=True)):
        for mode in ("strict", "lenient"):
            checked = check_text(text, mode)
            assert (checked.workflow is None) == any(one.severity == "error" for one in checked.flaws)


@given(st.data())
def test_no_damage_to_a_workflow_makes_the_reader_or_the_checker_raise(data: st.DataObject) -> None:
    text = bytearray((ECG / "batch.yaml").read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 30))] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b'"', b"[", b"}", b"\n", b"NULL", b"/", b"-"])
        )
    for mode in ("strict", "lenient"):
        check_text(bytes(text), mode)


# -------------------------------------------------------------------- what lenient mode takes


def warned(text: str, *codes: str) -> None:
    """Errors in strict mode, and the same as warnings in lenient mode."""
    assert [(one.code, one.severity) for one in read(text).flaws] == [(code, "error") for code in codes]
    assert [(one.code, one.severity) for one in read(text, "lenient").flaws] == [
        (code, "warning") for code in codes
    ]
    assert read(text).workflow is None


def test_lenient_mode_calls_the_body_by_its_other_name() -> None:
    text = SMALL.replace("workflowBody", "FCBody")
    warned(text, "E103")
    assert read(text, "lenient").workflow == read(SMALL).workflow
    assert [one.code for one in read(text + BODY, "lenient").flaws] == ["E103", "E108"]


def test_lenient_mode_takes_counters_without_a_name_or_type() -> None:
    text = HEAD + f'for: {{name: "l", loopCounter: {{from: "0", to: "3"}}, loopBody: [{FN}]}}\n'
    warned(text, "E104", "E104")
    counter = read(text, "lenient").workflow.body[0].counter
    assert (counter.name, counter.type, counter.begin, counter.end, counter.step) == (
        None,
        None,
        "0",
        "3",
        None,
    )


def test_lenient_mode_takes_a_function_without_a_type_and_its_deployment() -> None:
    text = SMALL.replace('type: "t"', 'deployment: "AWS_eu-west-1_512"')
    warned(text, "E103", "E104")
    assert read(text, "lenient").workflow.body == (Function(name="f", deployment="AWS_eu-west-1_512"),)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("5", "5"),
        ("-2.50", "-2.50"),
        ("0x10", "0x10"),
        ("True", "true"),
        ("FALSE", "false"),
        ("null", "null"),
        ("~", "null"),
        ("", ""),
        ("2024-01-02", "2024-01-02"),
        ("[1, 2.5, true, null, a]", '[1,2.5,true,null,"a"]'),
        ("[]", "[]"),
        ("{a: {b: [~, 'ü']}, 2: 0x1}", '{"a":{"b":[null,"ü"]},"2":"0x1"}'),
    ],
)
def test_lenient_mode_takes_constants_as_yaml_has_them(written: str, text: str) -> None:
    document = with_port(f'name: "x", type: "y", value: {written}')
    warned(document, "E107")
    assert port_of(document).value == text


def test_lenient_mode_takes_numbers_and_booleans_for_texts_everywhere() -> None:
    text = (
        HEAD
        + 'while: {name: 1, condition: {combinedWith: "and", conditions: [{data1: 2, operator: "<", '
        + f"data2: 3.5, negation: yes}}]}}, loopBody: [{FN}], "
        + 'constraints: [{name: "X-maxIterations", value: 5}]}\n'
    )
    warned(text, *["E107"] * 5)
    found = read(text, "lenient").workflow.body[0]
    assert isinstance(found, While)
    assert found.name == "1"
    assert found.constraints == (Setting(name="X-maxIterations", value="5"),)
    [term] = found.condition.conditions
    assert (term.data1, term.data2, term.negation) == ("2", "3.5", True)


@pytest.mark.parametrize(
    ("written", "is_passing", "codes"),
    [
        ("true", True, ()),
        ("False", False, ()),
        ("yes", True, ("E107",)),
        ("off", False, ("E107",)),
        ('"true"', True, ("E107",)),
        ('"false"', False, ("E107",)),
    ],
)
def test_passing_is_a_boolean(written: str, is_passing: bool, codes: tuple[str, ...]) -> None:
    text = with_port(f'name: "x", type: "y", passing: {written}')
    assert tuple(one.code for one in read(text).flaws) == codes
    assert port_of(text).passing is is_passing


@pytest.mark.parametrize(
    ("written", "breaks", "codes"),
    [('"true"', True, ()), ('"false"', False, ()), ("true", True, ("E107",)), ("no", False, ("E107",))],
)
def test_break_is_a_text(written: str, breaks: bool, codes: tuple[str, ...]) -> None:
    text = SWITCH + f'[{{value: "1", break: {written}, functions: [{FN}]}}]}}\n'
    assert tuple(one.code for one in read(text).flaws) == codes
    found = read(text, "lenient").workflow.body[0]
    assert isinstance(found, Switch)
    assert found.cases[0].breaks is breaks


def test_services_are_a_list_that_lenient_mode_keeps_as_json() -> None:
    text = SMALL.replace(
        'type: "t"', 'type: "t", properties: [{name: "services", value: [{name: "S3", workPerUnit: 5}]}]'
    )
    warned(text, "E107")
    [setting] = read(text, "lenient").workflow.body[0].properties
    assert json.loads(setting.value) == [{"name": "S3", "workPerUnit": 5}]


def test_a_key_that_stands_twice_counts_as_its_last() -> None:
    text = SMALL + 'name: "v"\n'
    warned(text, "E108")
    assert read(text, "lenient").workflow.name == "v"


def test_outputs_may_have_properties_and_constraints_in_both_modes() -> None:
    said = '{name: "y", type: "number", properties: [{name: "simValue", value: "3"}], constraints: []}'
    for mode in ("strict", "lenient"):
        reading = read(SMALL.replace('type: "t"', f'type: "t", dataOuts: [{said}]'), mode)
        assert reading.flaws == ()
        assert reading.workflow.body[0].data_outs[0].properties == (Setting(name="simValue", value="3"),)


def test_aliases_are_followed() -> None:
    text = (
        'name: "w"\nworkflowBody:\n- parallel: {name: "p", parallelBody: [{section: &s [function: '
        '{name: "f", type: "t"}]}, {section: *s}]}\n'
    )
    found = read(text).workflow.body[0]
    assert isinstance(found, Parallel)
    assert found.sections[0] == found.sections[1]
