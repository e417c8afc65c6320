"""What the checker finds: every code with its place, what may be read from where, what lenient mode takes."""

import textwrap
from importlib import resources
from typing import NamedTuple

import pytest

from einthoven.testing.workflows import flaws_of, program_of
from einthoven.workflow import CODES, Checked, FunctionType, check_text, compile_workflow
from einthoven.workflow.flaws import Flaw, Place, path_text
from einthoven.workflow.scopes import Nowhere, Reach

HEAD = """\
name: "w"
dataIns:
- {name: "n", type: "number", source: "n"}
- {name: "s", type: "string", source: "s"}
- {name: "c", type: "collection", source: "c"}
- {name: "o", type: "object", source: "o"}
workflowBody:
"""
UNUSED = {"W603", "W606", "W607"}


def port(said: str, more: str = "") -> str:
    """``name type source``, or ``name type =constant``."""
    name, type_, *source = said.split(" ", 2)
    text = f'{{name: "{name}", type: "{type_}"'
    if source:
        text += f', value: "{source[0][1:]}"' if source[0].startswith("=") else f', source: "{source[0]}"'
    return text + (f", {more}" if more else "") + "}"


def ports(key: str, said: str) -> str:
    return f"{key}: [{', '.join(port(one.strip()) for one in said.split(';') if one.strip())}]"


def fn(name: str, ins: str = "", outs: str = "y number", more: str = "", type_: str = "t") -> str:
    """One function in one line."""
    parts = [f'name: "{name}"', f'type: "{type_}"', ports("dataIns", ins), ports("dataOuts", outs)]
    return "- function: {" + ", ".join([*parts, *([more] if more else [])]) + "}\n"


def constraint(name: str, value: str) -> str:
    return f'constraints: [{{name: "{name}", value: "{value}"}}]'


def prop(name: str, value: str) -> str:
    return f'properties: [{{name: "{name}", value: "{value}"}}]'


def inner(*functions: str) -> str:
    """A body within a line."""
    return "[" + ", ".join(one.strip().removeprefix("- ") for one in functions) + "]"


def sequence(name: str, body: str, ins: str = "", outs: str = "") -> str:
    return (
        f'- sequence: {{name: "{name}", {ports("dataIns", ins)}, sequenceBody: {body}, '
        f"{ports('dataOuts', outs)}}}\n"
    )


def if_(
    name: str, then: str, otherwise: str = "", outs: str = "", ins: str = "", test: str = "w/n > 1"
) -> str:
    first, operator, second = test.split(" ")
    term = f'{{data1: "{first}", operator: "{operator}", data2: "{second}"}}'
    other = f", else: {otherwise}" if otherwise else ""
    return (
        f'- if: {{name: "{name}", {ports("dataIns", ins)}, condition: {{combinedWith: "and", '
        f"conditions: [{term}]}}, then: {then}{other}, {ports('dataOuts', outs)}}}\n"
    )


def switch(name: str, cases: str, looked_at: str = "l string w/s", outs: str = "") -> str:
    return (
        f'- switch: {{name: "{name}", dataEval: {port(looked_at)}, cases: [{cases}], '
        f"{ports('dataOuts', outs)}}}\n"
    )


def case(value: str, body: str, more: str = "") -> str:
    return f'{{value: "{value}", {more}functions: {body}}}'


def loop(
    kind: str,
    name: str,
    body: str,
    ins: str = "",
    outs: str = "",
    counter: str = 'name: "i", type: "number", from: "0", to: "3"',
    more: str = "",
) -> str:
    return (
        f'- {kind}: {{name: "{name}", {ports("dataIns", ins)}, loopCounter: {{{counter}}}, loopBody: {body}, '
        f"{ports('dataOuts', outs)}{', ' + more if more else ''}}}\n"
    )


def while_(name: str, loops: str, test: str, body: str, more: str = "") -> str:
    return (
        f'- while: {{name: "{name}", dataLoops: [{loops}], condition: {test}, loopBody: {body}'
        f"{', ' + more if more else ''}}}\n"
    )


def parallel(name: str, *sections: str, outs: str = "", ins: str = "") -> str:
    said = ", ".join(f"{{section: {one}}}" for one in sections)
    return (
        f'- parallel: {{name: "{name}", {ports("dataIns", ins)}, parallelBody: [{said}], '
        f"{outs if outs.startswith('dataOuts') else ports('dataOuts', outs)}}}\n"
    )


def sub(name: str, body: str, ins: str = "", outs: str = "") -> str:
    return f'- {{name: "{name}", {ports("dataIns", ins)}, subFCBody: {body}, {ports("dataOuts", outs)}}}\n'


def with_subs(subs: str, body: str) -> str:
    return HEAD.replace("workflowBody:\n", f"subFCs:\n{subs}workflowBody:\n") + body


def marked(text: str) -> tuple[str, Place]:
    """A text without its mark §, and where that stood."""
    before, _, after = text.partition("§")
    line = before.count("\n") + 1
    return before + after, Place(line, len(before) - before.rfind("\n"))


def found_in(text: str, mode: str = "strict", **options: object) -> list[Flaw]:
    return list(check_text(text, mode, **options).flaws)


def codes_of(text: str, mode: str = "strict", **options: object) -> list[str]:
    return [one.code for one in flaws_of(text, mode, **options)]


def errors_of(text: str, mode: str = "lenient") -> list[str]:
    return [one.text("w") for one in check_text(text, mode).flaws if one.severity == "error"]


# -------------------------------------------------------------------- every code


class Row(NamedTuple):
    """A document with one flaw, its place marked with §."""

    code: str
    path: str
    text: str
    lenient: str = "error"


F = "workflowBody[0].function"
INNER = inner(fn("g", "x number w/n"))
TOLERATED = "warning"
BELOW_3 = '{combinedWith: "and", conditions: [{data1: "l/d", operator: "<", data2: "3"}]}'
ROWS = [
    Row("E101", "", '§name: "w"\n---\nname: "v"\n'.replace("§", "").replace("---\n", "---\n§")),
    Row("E102", "workflowBody", HEAD.replace("workflowBody:\n", 'workflowBody: §"f"\n')),
    Row("E103", F, HEAD + fn("f", more='§colour: "red"'), TOLERATED),
    Row("E104", F, HEAD + '- function: §{type: "t"}\n'),
    Row("E104", F, HEAD + '- function: §{name: "f"}\n', TOLERATED),
    Row("E104", "workflowBody[0].sequence.dataOuts[0]",
        HEAD + sequence("q", INNER, outs="y number").replace('{name: "y", type: "number"}]}\n',
                                                             '§{name: "y", type: "number"}]}\n')),
    Row("E105", "workflowBody[0].sequence.sequenceBody", HEAD + sequence("q", "§[]")),
    Row("E106", "workflowBody[0]", HEAD + '- §funktion: {name: "f", type: "t"}\n'),
    Row("E107", f"{F}.dataIns[0].value",
        HEAD + fn("f", "x number =5").replace('value: "5"', "value: §5"), TOLERATED),
    Row("E108", F, HEAD + fn("f", more='§type: "t"'), TOLERATED),
    Row("E201", f"{F}.name", HEAD + fn("1f").replace('"1f"', '§"1f"')),
    Row("E201", f"{F}.dataOuts[0].name", HEAD + fn("f", outs="a/b number").replace('"a/b"', '§"a/b"')),
    Row("E202", "workflowBody[1].function.name", HEAD + fn("f") + fn("f").replace('"f"', '§"f"')),
    Row("E202", f"{F}.name", HEAD + fn("w").replace('"w"', '§"w"')),
    Row("E202", "subFCs[1].name",
        with_subs(sub("a", inner(fn("g"))) * 2, fn("f", "", "", type_="a"))
        .replace('\n- {name: "a"', '\n- {name: §"a"').replace('§"a"', '"a"', 1)),
    Row("E203", f"{F}.dataIns[1].name",
        HEAD + fn("f", "x number w/n; x number w/n").replace('"w/n"}, {name: ', '"w/n"}, {name: §'),
        TOLERATED),
    Row("E203", "workflowBody[0].for.loopCounter.name",
        HEAD + loop("for", "l", INNER, "i number w/n").replace('Counter: {name: "i"', 'Counter: {name: §"i"'),
        TOLERATED),
    Row("E204", f"{F}.name", HEAD + fn("NULL").replace('"NULL"', '§"NULL"')),
    Row("E205", "subFCs[0].name",
        with_subs(sub("a", inner(fn("f", "", "", type_="a"))), fn("f", "", "", type_="a")).replace(
            '- {name: "a"', '- {name: §"a"')),
    Row("E206", "workflowBody[0].function",
        with_subs(sub("a", inner(fn("f", "x number a/n")), "n number n"), fn("f", "", "", type_="a")).replace(
            'workflowBody:\n- function: {', "workflowBody:\n- function: §{")),
    Row("E206", f"{F}.dataIns[0]",
        with_subs(sub("a", inner(fn("f"))), fn("f", "n number w/n", "", type_="a")).replace(
            '[{name: "n", type: "number", source: "w/n"}', '[§{name: "n", type: "number", source: "w/n"}')),
    Row("E206", f"{F}.dataOuts[0]",
        with_subs(sub("a", inner(fn("g"))), fn("f", type_="a")).replace(
            'type: "a", dataIns: [], dataOuts: [', 'type: "a", dataIns: [], dataOuts: [§')),
    Row("E206", F, HEAD + fn("f", "x collection w/c", "y boolean", type_="build-in:asyncHandler").replace(
        "function: {", "function: §{")),
    Row("E301", f"{F}.dataIns[0].source", HEAD + fn("f", "x number n").replace('"n"}]', '§"n"}]')),
    Row("E301", "workflowBody[0].sequence.dataOuts[0].source",
        HEAD + sequence("q", INNER, outs="y file s3://b/k").replace('"s3:', '§"s3:')),
    Row("E302", f"{F}.dataIns[0].source", HEAD + fn("f", "x number nobody/n").replace('"nob', '§"nob'),
        TOLERATED),
    Row("E303", f"{F}.dataIns[0].source", HEAD + fn("f", "x number w/z").replace('"w/z', '§"w/z'), TOLERATED),
    Row("E304", f"{F}.dataIns[0].source",
        HEAD + fn("f", "x number g/y").replace('"g/y', '§"g/y') + fn("g"), TOLERATED),
    Row("E305", "workflowBody[1].function.dataIns[0].source",
        HEAD + sequence("q", inner(fn("g"))) + fn("f", "x number g/y").replace('"g/y', '§"g/y'), TOLERATED),
    Row("E306", "workflowBody[0].parallel.parallelBody[1].section[0].function.dataIns[0].source",
        HEAD + parallel("p", inner(fn("a")), inner(fn("b", "x number a/y"))).replace('"a/y', '§"a/y'),
        TOLERATED),
    Row("E307", f"{F}.dataIns[0]", HEAD + fn("f", "x number").replace("[{", "[§{", 1)),
    Row("E307", f"{F}.dataIns[0]",
        HEAD + fn("f", "x file").replace("[{", "[§{", 1).replace(
            '"file"', '"file", ' + prop("datatransfer", "upload")),
        TOLERATED),
    Row("E307", "dataIns[0]",
        HEAD.replace('- {name: "n", type: "number", source: "n"}', '- §{name: "n", type: "number"}')
        + fn("f", "x number w/n")),
    Row("E308", f"{F}.dataIns[0]", HEAD + fn("f", "x number w/n").replace("[{", "[§{", 1).replace(
        '"w/n"', '"w/n", value: "1"')),
    Row("E308", "dataIns[0]",
        HEAD.replace('- {name: "n"', '- §{value: "1", name: "n"') + fn("f", "x number w/n")),
    Row("E309", "workflowBody[0].parallel.dataOuts[0].source",
        HEAD + parallel("p", inner(fn("a")), inner(fn("b")), outs="y number a/y,b/y").replace('"a/', '§"a/'),
        TOLERATED),
    Row("E309", "workflowBody[0].for.dataOuts[0].source",
        HEAD + loop("for", "l", inner(fn("a"), fn("b")), outs="y number a/y,b/y").replace('"a/y', '§"a/y'),
        TOLERATED),
    Row("E310", f"{F}.dataIns[0].source", HEAD + fn("f", "x string w/n").replace('"w/n', '§"w/n'), TOLERATED),
    Row("E310", "workflowBody[0].for.loopCounter.to",
        HEAD + loop("for", "l", INNER, counter='name: "i", type: "number", from: "0", to: §"w/s"'),
        TOLERATED),
    Row("E310", f"{F}.dataIns[0].constraints[0].value",
        HEAD + fn("f").replace("dataIns: []", "dataIns: [" + port(
            "x array w/c", constraint("element-index", "0:w/s").replace('"0:', '§"0:')) + "]"), TOLERATED),
    Row("E310", "workflowBody[0].parallel.dataOuts[0].source",
        HEAD + parallel("p", inner(fn("a")), inner(fn("b")), outs="dataOuts: [" + port(
            "y array a/y,b/y", constraint("aggregation", "+")) + "]").replace('"a/y', '§"a/y'), TOLERATED),
    Row("E311", f"{F}.dataIns[0].value", HEAD + fn("f", "x number =five").replace('"five', '§"five')),
    Row("E311", "workflowBody[0].switch.cases[0].value",
        HEAD + switch("k", case("x", INNER), "l number w/n").replace('"x"', '§"x"', 1)),
    Row("E312", f"{F}.dataOuts[0].type", HEAD + fn("f", outs="y Number").replace('"Number', '§"Number'),
        TOLERATED),
    Row("E313", "workflowBody[0].parallelFor.dataOuts[0]",
        HEAD + loop("parallelFor", "l", inner(fn("g")), outs="r number g/y").replace(
            'dataOuts: [{name: "r"', 'dataOuts: [§{name: "r"'), TOLERATED),
    Row("E314", "workflowBody[1].function.dataIns[0].source",
        HEAD + fn("f", more=prop("invoke-type", "ASYNC")) + fn("g", "x number f/y").replace('"f/y', '§"f/y')),
    Row("E401", "workflowBody[0].if.condition.conditions[0].operator",
        HEAD + if_("i", INNER, test="w/n <> 1").replace('"<>"', '§"<>"')),
    Row("E401", "workflowBody[0].if.condition.conditions[0].operator",
        HEAD + if_("i", INNER, test="w/n ≤ 1").replace('"≤"', '§"≤"'), TOLERATED),
    Row("E402", "workflowBody[0].if.condition.conditions",
        HEAD + f'- if: {{name: "i", condition: {{combinedWith: "or", conditions: §[]}}, then: {INNER}}}\n'),
    Row("E402", "workflowBody[0].if.condition",
        HEAD + if_("i", INNER).replace('{combinedWith: "and", ', "§{")),
    Row("E402", "workflowBody[0].if.condition.combinedWith",
        HEAD + if_("i", INNER).replace('"and"', '§"xor"')),
    Row("E403", "workflowBody[0].if.condition.conditions[0]",
        HEAD + if_("i", INNER, test="w/s > abc").replace("conditions: [{", "conditions: [§{")),
    Row("E404", "workflowBody[0].for.loopCounter.to",
        HEAD + loop("for", "l", INNER, counter='name: "i", type: "number", from: "0", to: §"2.5"')),
    Row("E405", "workflowBody[0].for.loopCounter.step",
        HEAD + loop("for", "l", INNER, counter='name: "i", type: "number", from: "0", to: "2", step: §"0"')),
    Row("E406", "workflowBody[0].while.dataLoops[0]",
        HEAD + while_("l", '§{name: "d", type: "number", value: "1"}',
                      BELOW_3, INNER)),
    Row("E406", "workflowBody[0].while.dataLoops[0]",
        HEAD + while_("l", '§{name: "d", type: "number", value: "1", initSource: "w/n", loopSource: "g/y"}',
                      BELOW_3, INNER)),
    Row("E408", "workflowBody[0].switch.cases[1]",
        HEAD + switch("k", case("2", inner(fn("a")), 'break: "true", ') + ", §" + case("2.0", inner(fn("b"))),
                      "l number w/n"), TOLERATED),
    Row("E409", "workflowBody[0].switch.dataEval",
        HEAD + switch("k", case("x", INNER), "l boolean w/o/yes").replace("dataEval: ", "dataEval: §")),
    Row("E409", "workflowBody[0].switch.dataEval",
        HEAD + switch("k", case("x", INNER), "l string").replace("dataEval: ", "dataEval: §")),
    Row("E409", "workflowBody[0].switch",
        HEAD + f'- switch: §{{name: "k", cases: [{case("x", INNER)}]}}\n'),
    Row("E501", f"{F}.constraints[0]", HEAD + fn("f", more=constraint("FT-Retry", "1")).replace(
        "constraints: [", "constraints: [§"), TOLERATED),
    Row("E502", f"{F}.constraints[0]", HEAD + fn("f", more=constraint("concurrency", "1")).replace(
        "constraints: [", "constraints: [§"), TOLERATED),
    *(
        Row(code, "workflowBody[0].parallelFor.dataIns[0].constraints[0].value",
            HEAD + loop("parallelFor", "l", inner(fn("g"))).replace("dataIns: []", "dataIns: [" + port(
                "x array w/c", constraint(name, value).replace(f'"{value}"', f'§"{value}"')) + "]", 1))
        for code, name, value in (
            ("E503", "distribution", "BLOCK(2,2)"),
            ("E503", "distribution", "BLOCK(0)"),
            ("E504", "element-index", "3:-1"),
        )
    ),
    Row("E505", "workflowBody[0].parallelFor.dataOuts[0].constraints[0].value",
        HEAD + loop("parallelFor", "l", inner(fn("g"))).replace("dataOuts: []}", "dataOuts: [" + port(
            "r array g/y", constraint("aggregation", "-").replace('"-"', '§"-"')) + "]}")),
    Row("E506", "workflowBody[0].parallelFor.constraints[0].value",
        HEAD + loop("parallelFor", "l", inner(fn("g")),
                    more=constraint("concurrency", "0").replace('"0"', '§"0"'))),
    Row("E507", f"{F}.constraints[0].value",
        HEAD + fn("f", more=constraint("FT-Retries", "-1").replace('"-1"', '§"-1"'))),
    Row("E507", f"{F}.constraints",
        HEAD + fn("f", more=constraint("FT-AltPlan-1", "0.9;https://h/;").replace("[", "§["))),
    Row("E508", f"{F}.constraints[0].value",
        HEAD + fn("f", more=constraint("C-latestStartingTime", "soon").replace('"soon"', '§"soon"'))),
    Row("E509", f"{F}.constraints[1]",
        HEAD + fn("f", more=constraint("FT-Retries", "1")[:-1] + ', §{name: "FT-Retries", value: "2"}]'),
        TOLERATED),
    Row("E602", f"{F}.properties[0].value",
        HEAD + fn("f", more=prop("invoke-type", "LATER").replace('"LATER"', '§"LATER"'))),
    Row("E604", f"{F}.properties[0].value",
        HEAD + fn("f", more=prop("resource", "nowhere").replace('"nowhere"', '§"nowhere"'))),
    Row("E605", f"{F}.dataIns[0].name",
        HEAD + fn("f", "aws_secret_access_key string w/s").replace('"aws', '§"aws'), TOLERATED),
    Row("W601", f"{F}.properties[0]", HEAD + fn("f", more=prop("colour", "red").replace("[", "[§")),
        TOLERATED),
    Row("W603", F, HEAD + fn("f").replace("function: {", "function: §{"), TOLERATED),
    Row("W606", f"{F}.dataOuts[0]", HEAD + fn("f").replace("dataOuts: [", "dataOuts: [§"), TOLERATED),
    Row("W607", "workflowBody[0].while",
        HEAD + while_("l", '{name: "d", type: "number", value: "1", loopSource: "g/y"}',
                      BELOW_3,
                      inner(fn("g"))).replace("while: ", "while: §"), TOLERATED),
    Row("W608", "workflowBody[0].if.condition.conditions[0].data1",
        HEAD + if_("i", INNER, test="w/z == 1").replace('"w/z"', '§"w/z"'), TOLERATED),
    Row("W608", "workflowBody[0].if.condition.conditions[0].data1",
        HEAD + if_("i", inner(fn("g")), test="g/y == 1").replace('"g/y"', '§"g/y"'), TOLERATED),
]  # fmt: skip


def found_with(row: Row, mode: str) -> tuple[list[Flaw], Place, Checked]:
    text, place = marked(row.text)
    checked = check_text(text, mode)
    wanted = [one for one in checked.flaws if one.code == row.code or one.code not in UNUSED]
    if row.code in UNUSED:
        wanted = [one for one in wanted if one.place == place] or wanted
    return wanted, place, checked


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.code}-{k}" for k, row in enumerate(ROWS)])
def test_each_flaw_is_found_alone_and_where_it_is(row: Row) -> None:
    flaws, place, checked = found_with(row, "strict")
    severity = "warning" if row.code[0] == "W" else "error"
    assert [(one.code, path_text(one.path), one.place, one.severity) for one in flaws] == [
        (row.code, row.path, place, severity)
    ], [one.text("w") for one in checked.flaws]
    assert (checked.workflow is None) == (severity == "error")
    assert flaws[0].text("w").startswith(f"w:{place.line}:{place.column}  {row.code}  ")


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.code}-{k}" for k, row in enumerate(ROWS)])
def test_lenient_mode_says_the_same_and_tolerates_what_public_tools_write(row: Row) -> None:
    flaws, place, checked = found_with(row, "lenient")
    assert [(one.code, path_text(one.path), one.place, one.severity) for one in flaws] == [
        (row.code, row.path, place, row.lenient)
    ], [one.text("w") for one in checked.flaws]
    assert (checked.workflow is None) == (row.lenient == "error")
    if checked.workflow is not None:
        compile_workflow(checked, is_lenient=True)


def test_every_code_has_a_document() -> None:
    assert {row.code for row in ROWS} == set(CODES)


def test_messages_are_sentences() -> None:
    for row in ROWS:
        for one in found_with(row, "strict")[0]:
            assert one.message.endswith("."), one.message
            assert not one.hint or one.hint.endswith((".", "?")), one.hint


def test_all_errors_are_found_in_one_pass_in_the_order_of_their_places() -> None:
    text = (
        HEAD
        + fn("f", "x string w/n; p number w/z", more='colour: "red"')
        + fn("f", "x number g/y")
        + fn("NULL")
    )
    text = text.replace('- {name: "n", type: "number"', '- {name: "n", type: "Zahl"')
    found = flaws_of(text)
    assert [one.code for one in found] == ["E312", "E303", "E103", "E202", "E302", "E204"]
    assert [one.place for one in found] == sorted(
        (one.place for one in found), key=lambda at: (at.line, at.column)
    )


def test_what_a_message_repeats_of_a_document_is_cut() -> None:
    long = "x" * 5000
    text = HEAD + fn("f", f"{long} string w/n; q number {long}/y; r number w/{long}", f"y {long}", type_=long)
    for one in check_text(text + sequence(long, inner(fn("g"))) + fn("h", "x number g/y")).flaws:
        assert len(one.message) < 300
        assert len(one.hint) < 500


# -------------------------------------------------------------------- what may be read from where


def test_a_construct_reads_the_workflow_what_is_around_it_and_what_stands_before_it() -> None:
    deep = inner(fn("d", "a number w/n; b number q/m; c number before/y; e number l/i; f number first/y"))
    body = sequence("q", inner(fn("first"), loop("for", "l", deep)), "m number w/n")
    assert codes_of(HEAD + fn("before") + body) == []


def test_a_loop_reads_its_counter_and_what_it_carries() -> None:
    loops = '{name: "d", type: "number", initSource: "w/n", loopSource: "g/y"}'
    body = loop("for", "l", inner(fn("g", "a number l/d; b number l/i; c number l/x")), "x number w/n")
    text = HEAD + body.replace("loopCounter", f"dataLoops: [{loops}], loopCounter")
    assert codes_of(text) == []
    assert codes_of(text.replace('"l/d"', '"l/e"')) == ["E303"]


def test_a_counter_does_not_read_itself_and_a_compound_does_not_begin_with_its_own() -> None:
    counter = 'name: "i", type: "number", from: "0", to: "{}"'
    assert codes_of(HEAD + loop("for", "l", INNER, counter=counter.format("l/i"))) == ["E303"]
    assert codes_of(HEAD + loop("for", "l", INNER, "m number w/n", counter=counter.format("l/m"))) == []
    [own] = flaws_of(HEAD + loop("for", "l", inner(fn("g")), "m number g/y"))
    assert (own.code, own.message) == ("E305", "'g' is inside 'l', which has not begun.")
    assert codes_of(HEAD + fn("f", "x number f/y")) == ["E304"]


def test_the_outputs_of_a_compound_are_its_childrens_and_its_own_inputs() -> None:
    assert codes_of(HEAD + sequence("q", inner(fn("g")), "m number w/n", "a number g/y; b number q/m")) == []
    for source in ("before/y", "w/n", "around/m"):
        inside = sequence("q", inner(fn("g")), "", f"a number {source}")
        text = HEAD + fn("before") + sequence("around", inner(inside), "m number w/n", "a number q/a")
        assert codes_of(text) == ["E305"], source


def test_a_grandchild_is_read_through_its_parent() -> None:
    inside = sequence("q", inner(fn("g")), "", "a number g/y")
    assert codes_of(HEAD + sequence("around", inner(inside), "", "a number q/a")) == []
    [hidden] = flaws_of(HEAD + sequence("around", inner(inside), "", "a number g/y"))
    assert (hidden.code, hidden.hint) == ("E305", "Give 'q' a dataOut of it, and read that.")


def test_another_branch_has_not_run() -> None:
    text = HEAD + if_("i", inner(fn("a")), inner(fn("b", "x number a/y")))
    assert codes_of(text) == ["E305"]
    cases = case("1", inner(fn("a"))) + ", " + case("2", inner(fn("b", "x number a/y")))
    assert codes_of(HEAD + switch("k", cases)) == ["E305"]


def test_what_stands_later_is_later_also_from_within_and_into_a_compound() -> None:
    assert codes_of(HEAD + sequence("q", inner(fn("g", "x number f/y"))) + fn("f")) == ["E304"]
    assert codes_of(HEAD + fn("g", "x number f/y") + sequence("q", inner(fn("f")))) == ["E304"]
    assert codes_of(HEAD + loop("for", "l", inner(fn("a", "x number b/y"), fn("b")))) == ["E304"]


def test_sections_do_not_read_each_other_however_deep() -> None:
    text = HEAD + parallel(
        "p", inner(sequence("q", inner(fn("a")))), inner(sequence("r", inner(fn("b", "x number a/y"))))
    )
    assert codes_of(text) == ["E306"]
    assert codes_of(HEAD + parallel("p", inner(fn("a"), fn("b", "x number a/y")))) == []


def test_a_sub_workflow_sees_nothing_of_its_caller() -> None:
    body = sub("a", inner(fn("g", "x number {}")), "n number m", "r number g/y")
    text = with_subs(body, fn("first") + fn("f", "m number w/n", "r number", type_="a"))
    assert codes_of(text.replace("{}", "a/n")) == []
    assert codes_of(text.replace("{}", "w/n")) == ["E302"]
    assert codes_of(text.replace("{}", "first/y")) == ["E302"]


def test_names_may_repeat_in_another_name_space() -> None:
    text = with_subs(sub("a", inner(fn("f")), "", "y number f/y"), fn("f", "", "y number", type_="a"))
    assert codes_of(text) == []


def test_a_port_name_means_the_input_inside_and_the_output_outside() -> None:
    body = sequence("q", inner(fn("g", "x number q/v", "y string")), "v number w/n", "v string g/y")
    assert codes_of(HEAD + body + fn("h", "x string q/v")) == []


def test_inputs_can_be_read_behind_a_function_where_it_passes_them_on() -> None:
    def text(more: str) -> str:
        first = fn("f").replace("dataIns: []", f"dataIns: [{port('x number w/n', more)}]")
        return HEAD + first + fn("g", "x number f/x")

    assert codes_of(text("")) == ["E303"]
    assert codes_of(text("passing: true")) == []
    assert codes_of(text(prop("replicate", "true"))) == []


def test_parts_of_objects_are_not_typed_beforehand() -> None:
    assert codes_of(HEAD + fn("f", "x number w/o/patient/id")) == []
    assert codes_of(HEAD + fn("f", "x number w/o")) == ["E310"]


@pytest.mark.parametrize(
    ("given", "wanted", "is_fine"),
    [
        ("array", "collection", True),
        ("collection", "array", True),
        ("file", "string", True),
        ("string", "file", False),
        ("null", "object", True),
        ("object", "null", False),
        ("number", "string", False),
        ("boolean", "boolean", True),
    ],
)
def test_types_go_together_as_the_language_says(given: str, wanted: str, is_fine: bool) -> None:
    text = HEAD + fn("f", outs=f"y {given}") + fn("g", f"x {wanted} f/y")
    assert codes_of(text) == ([] if is_fine else ["E310"])


# -------------------------------------------------------------------- several sources, lists, files


def test_several_sources_are_tried_in_order_except_where_all_exist() -> None:
    branches = if_("i", inner(fn("a")), inner(fn("b")), "y number a/y,b/y,NULL")
    assert codes_of(HEAD + branches + fn("g", "x number i/y") + fn("h", "x number g/y,i/y")) == []
    assert codes_of(HEAD + sequence("q", inner(fn("a"), fn("b")), "", "y number a/y,b/y")) == ["E309"]


@pytest.mark.parametrize(
    ("type_", "aggregation", "codes"),
    [
        ("collection", None, []),
        ("array", None, ["E309"]),
        ("object", ",", []),
        ("collection", ",", []),
        ("array", ",", ["E310"]),
        ("array", "*", []),
        ("collection", " + ", []),
        ("number", "+", ["E310"]),
    ],
)
def test_a_parallel_puts_lists_together(type_: str, aggregation: str | None, codes: list[str]) -> None:
    more = "" if aggregation is None else constraint("aggregation", aggregation)
    out = "dataOuts: [" + port(f"y {type_} a/y,b/y", more) + "]"
    sections = inner(fn("a", outs="y array")), inner(fn("b", outs="y collection"))
    assert codes_of(HEAD + parallel("p", *sections, outs=out)) == codes


def test_an_input_passes_through_a_parallel_for_as_it_is() -> None:
    assert codes_of(HEAD + loop("parallelFor", "l", inner(fn("g")), "m number w/n", "r number l/m")) == []


@pytest.mark.parametrize(
    ("how", "type_", "codes"),
    [
        ("BLOCK(1)", "number", []),
        ("BLOCK(2)", "number", ["E310"]),
        ("BLOCK(3, 1)", "array", []),
        ("SPLIT(4)", "collection", []),
        ("REPLICATE(*)", "collection", []),
        ("REPLICATE(2)", "number", ["E310"]),
    ],
)
def test_chunks_are_lists_except_single_elements(how: str, type_: str, codes: list[str]) -> None:
    given = port(f"x {type_} w/c", constraint("distribution", how))
    text = loop("parallelFor", "l", inner(fn("g"))).replace("dataIns: []", f"dataIns: [{given}]", 1)
    assert codes_of(HEAD + text) == codes


@pytest.mark.parametrize(
    ("source", "type_", "index", "codes"),
    [
        ("w/c", "number", "2", []),
        ("w/c", "number", "0:2", ["E310"]),
        ("w/c", "array", "0:w/n, w/n", []),
        ("w/n", "array", "0", ["E310"]),
        ("w/c", "array", "0:w/z", ["E303"]),
        ("w/c", "array", "0:later/y", ["E304"]),
    ],
)
def test_an_index_takes_elements_of_a_list(source: str, type_: str, index: str, codes: list[str]) -> None:
    given = port(f"x {type_} {source}", constraint("element-index", index))
    text = HEAD + fn("f").replace("dataIns: []", f"dataIns: [{given}]") + fn("later")
    assert codes_of(text) == codes


def test_the_numbers_of_an_index_are_looked_up_also_for_a_constant() -> None:
    given = port("x array =[1,2,3]", constraint("element-index", "0:{}"))
    text = HEAD + fn("f").replace("dataIns: []", f"dataIns: [{given}]")
    assert codes_of(text.replace("{}", "w/n")) == []
    assert codes_of(text.replace("{}", "nobody/y")) == ["E302"]


def test_files_are_read_by_inputs_only() -> None:
    assert (
        codes_of(HEAD + fn("f", "a file s3://b/k; b collection s3://b/k,s3://b/l; c string https://h/x"))
        == []
    )
    assert codes_of(HEAD + fn("f", "a number s3://b/k")) == ["E310"]
    assert codes_of(HEAD + switch("k", case("x", INNER), "l string s3://b/k")) == ["E301"]
    assert codes_of(HEAD + fn("f") + 'dataOuts: [{name: "r", type: "file", source: "s3://b/k"}]\n') == [
        "E301"
    ]


# -------------------------------------------------------------------- conditions, cases, loops


@pytest.mark.parametrize(
    ("test", "codes"),
    [
        ("w/n > 40", []),
        ("w/n <= 40", []),
        ("w/n =< 40", []),
        ("w/s startsWith AF", []),
        ("w/s contains a/b", []),
        ("w/s < 40", ["E403"]),
        ("w/n < abc", ["E403"]),
        ("w/o/rate < 40", []),
    ],
)
def test_strings_have_no_order(test: str, codes: list[str]) -> None:
    assert codes_of(HEAD + if_("i", INNER, test=test)) == codes


def test_an_operand_that_nobody_gives_is_a_text_and_lenient_mode_reads_branches() -> None:
    text = HEAD + if_("i", inner(fn("a"))) + if_("j", inner(fn("b")), test="a/y == 1")
    assert codes_of(text) == ["W608"]
    checked = check_text(text, "lenient")
    path = ("workflowBody", 1, "if", "condition", "conditions", 0, "data1")
    assert checked.flows[path] == (Reach("out", "a", "y", (), "number"),)


def test_a_case_is_reached_until_one_that_is_equal_breaks() -> None:
    def text(second: str, more: str, type_: str = "string w/s") -> str:
        return HEAD + switch(
            "k", case("2", inner(fn("a")), more) + ", " + case(second, inner(fn("b"))), f"l {type_}"
        )

    assert codes_of(text("2", "")) == []
    assert codes_of(text("2", 'break: "false", ')) == []
    assert codes_of(text("2", 'break: "true", ')) == ["E408"]
    assert codes_of(text("2.0", 'break: "true", ')) == []
    assert codes_of(text("2.0", 'break: "true", ', "number w/n")) == ["E408"]


def test_bounds_are_whole_numbers_or_references() -> None:
    counter = 'name: "i", type: "{}", from: "{}", to: "{}", step: "{}"'
    for said, codes in (
        (("number", "3.0", "w/n", "2"), []),
        (("number", "0", "many", "1"), ["E404"]),
        (("number", "0", "9", "-1"), ["E405"]),
        (("string", "0", "9", "1"), ["E310"]),
        (("number", "0", "w/o/count", "w/n"), []),
    ):
        assert codes_of(HEAD + loop("for", "l", INNER, counter=counter.format(*said))) == codes, said


# -------------------------------------------------------------------- calls


TYPES = {
    "qrs": FunctionType("qrs", {"signal": "array", "fs": "number"}, {"peaks": "array"}, frozenset({"fs"})),
}


@pytest.mark.parametrize(
    ("ins", "outs", "codes"),
    [
        ("signal collection w/c; fs number w/n", "peaks array", []),
        ("signal array w/c", "peaks collection", []),
        ("signal array w/c", "", []),
        ("fs number w/n", "peaks array", ["E206"]),
        ("signal array w/c; gain number w/n", "peaks array", ["E206"]),
        ("signal array w/c", "peaks array; rate number", ["E206"]),
        ("signal object w/o", "peaks array", ["E310"]),
        ("signal array w/c", "peaks number", ["E310"]),
    ],
)
def test_calls_are_checked_against_the_function_types_that_are_known(
    ins: str, outs: str, codes: list[str]
) -> None:
    text = HEAD + fn("f", ins, outs, type_="qrs")
    assert codes_of(text, types=TYPES) == codes
    assert codes_of(text) == []


def test_a_known_function_type_needs_no_resource() -> None:
    text = HEAD + fn("f", "signal array w/c", "", type_="qrs") + fn("g", "x number w/n", "", type_="other")
    assert [one.path for one in found_in(text, types=TYPES) if one.code == "W603"] == [
        ("workflowBody", 1, "function")
    ]
    assert len([one for one in found_in(text) if one.code == "W603"]) == 2


def test_sub_workflows_in_a_circle_are_found_once_for_each_circle() -> None:
    def calls(name: str, *callees: str) -> str:
        return sub(name, inner(*(fn(f"f{k}", "", "", type_=one) for k, one in enumerate(callees))))

    start = fn("f", "", "", type_="a")
    assert codes_of(with_subs(calls("a", "b") + calls("b", "c") + calls("c", "t"), start)) == []
    assert (
        codes_of(with_subs(calls("a", "b", "c") + calls("b", "d") + calls("c", "d") + calls("d", "t"), start))
        == []
    )
    found = flaws_of(with_subs(calls("a", "b") + calls("b", "a", "c") + calls("c", "c"), start))
    assert [(one.code, one.message) for one in found] == [
        ("E205", "'b' calls 'a', which leads back to it."),
        ("E205", "'c' calls 'c', which leads back to it."),
    ]


def test_a_long_chain_of_sub_workflows_takes_no_long_time() -> None:
    chain = "".join(sub(f"s{k}", inner(fn("f", "", "", type_=f"s{k + 1}"))) for k in range(1500))
    assert codes_of(with_subs(chain, fn("f", "", "", type_="s0"))) == []
    assert codes_of(with_subs(chain + sub("s1500", inner(fn("f", "", "", type_="s0"))), fn("f"))) == ["E205"]


# -------------------------------------------------------------------- asynchronous calls


ASYNC = prop("invoke-type", "ASYNC")


def join(name: str, functions: str, more: str = "") -> str:
    return fn(name, f"functions collection ={functions}", "done boolean", more, "build-in:asyncHandler")


def test_the_output_of_an_asynchronous_call_is_read_behind_a_join() -> None:
    queued, reader = fn("f", more=ASYNC), fn("g", "x number f/y")
    assert codes_of(HEAD + queued + join("j", "f") + reader) == []
    assert codes_of(HEAD + queued + join("j", "f", prop("invoke-type", "SYNC")) + reader) == []
    assert codes_of(HEAD + queued + reader + join("j", "f")) == ["E314"]
    assert codes_of(HEAD + queued + join("j", "f", ASYNC) + reader) == ["E314"]
    assert codes_of(HEAD + queued + fn("h", more=ASYNC) + join("j", "h") + reader) == ["E314"]
    assert codes_of(HEAD + queued + fn("h", more=ASYNC) + join("j", "h, f") + reader) == []


def test_a_join_that_surely_happened_counts_also_behind_its_compound() -> None:
    queued, reader = fn("f", more=ASYNC), fn("g", "x number f/y")
    assert codes_of(HEAD + queued + sequence("q", inner(join("j", "f"))) + reader) == []
    assert codes_of(HEAD + queued + parallel("p", inner(join("j", "f")), inner(fn("h"))) + reader) == []
    assert codes_of(HEAD + queued + if_("i", inner(join("j", "f"))) + reader) == ["E314"]
    assert codes_of(HEAD + queued + loop("for", "l", inner(join("j", "f"))) + reader) == ["E314"]


def test_one_section_does_not_wait_for_the_join_of_another() -> None:
    text = HEAD + fn("f", more=ASYNC) + parallel("p", inner(join("j", "f")), inner(fn("g", "x number f/y")))
    assert codes_of(text) == ["E314"]


def test_a_compound_hands_its_invoke_type_to_what_is_in_it() -> None:
    def text(more: str) -> str:
        body = sequence("q", inner(fn("f", more=more), fn("g", "x number f/y")))
        return HEAD + body.replace('"q", ', f'"q", {ASYNC}, ')

    assert codes_of(text("")) == ["E314"]
    assert codes_of(text(prop("invoke-type", "SYNC"))) == []


def test_a_join_names_calls_that_it_can_see() -> None:
    assert codes_of(HEAD + join("j", "nobody")) == ["E302"]
    assert codes_of(HEAD + sequence("q", inner(fn("f", more=ASYNC))) + join("j", "f")) == ["E305"]


# -------------------------------------------------------------------- what lenient mode takes


def test_lenient_mode_reads_into_what_exists_once() -> None:
    compounds = (
        if_("k", inner(fn("g"))),
        switch("k", case("1", inner(fn("g")))),
        sequence("k", inner(fn("g"))),
        parallel("k", inner(fn("g"))),
        sequence("k", inner(if_("i", inner(fn("g"))))),
    )
    for compound in compounds:
        checked = check_text(HEAD + compound + fn("f", "x number [g/y,NULL]"), "lenient")
        flow = checked.flows["workflowBody", 1, "function", "dataIns", 0, "source"]
        assert flow == (Reach("out", "g", "y", (), "number"), None)
        assert checked.workflow is not None


def test_lenient_mode_does_not_read_into_loops_nor_what_has_not_run() -> None:
    texts = (
        loop("for", "k", inner(fn("g"))) + fn("f", "x number g/y"),
        loop("parallelFor", "k", inner(if_("i", inner(fn("g"))))) + fn("f", "x number g/y"),
        fn("f", "x number g/y") + sequence("k", inner(fn("g"))),
        if_("i", inner(fn("g")), inner(fn("f", "x number g/y"))),
        parallel("i", inner(fn("g")), inner(fn("f", "x number g/y"))),
        fn("f", "x number nobody/y"),
    )
    for text in texts:
        checked = check_text(HEAD + text, "lenient")
        assert checked.workflow is not None
        said = text.partition('source: "')[2].partition('"')[0]
        assert list(checked.flows.values()).count((Nowhere(said),)) == 1


def test_a_bare_name_is_an_input_that_a_parallel_for_passes_on() -> None:
    given = port("total number w/n", "passing: true")
    text = HEAD + loop("parallelFor", "l", inner(fn("g")), outs="all number total").replace(
        "dataIns: []", f"dataIns: [{given}]", 1
    )
    text += 'dataOuts: [{name: "r", type: "number", source: "l/all"}]\n'
    assert codes_of(text) == ["E301"]
    checked = check_text(text, "lenient")
    out = ("workflowBody", 0, "parallelFor", "dataOuts", 0, "source")
    assert checked.flows[out] == (Reach("in", "l", "total", (), "number"),)
    assert [one.severity for one in checked.flaws if one.code == "E301"] == ["warning"]
    assert "l/total" not in " ".join(one.message for one in checked.flaws)
    for other in (text.replace("passing: true", "passing: false"), text.replace("parallelFor", "for")):
        assert [one for one in errors_of(other) if "E301" in one]


def test_lenient_mode_takes_types_in_any_case_and_does_not_check_unknown_ones() -> None:
    text = HEAD + fn("f", "x Number w/n; b bool =true; u gizmo w/c", "y BOOLEAN") + fn("g", "x boolean f/y")
    assert codes_of(text) == ["E312"] * 4
    assert {one.code for one in flaws_of(text, "lenient")} == {"E312"}
    assert errors_of(text) == []
    assert codes_of(HEAD + fn("f", "b bool =yes"), "lenient") == ["E312", "E311"]


def test_a_function_without_a_type_and_an_empty_resource_compile_in_lenient_mode() -> None:
    text = HEAD + fn("f", more=prop("resource", "")).replace('type: "t", ', "", 1)
    assert errors_of(text) == []
    assert program_of(text, lenient=True).main.body[0].name == "f"


def test_what_no_tool_may_write_is_an_error_in_lenient_mode_too() -> None:
    texts = (
        "name: [",
        HEAD + '- whale: {name: "x"}\n',
        HEAD + "[]",
        HEAD + fn("f") + fn("f"),
        HEAD + loop("for", "l", INNER, counter='from: "0", to: "1", step: "0"'),
        with_subs(sub("a", inner(fn("f", "", "", type_="a"))), fn("f")),
    )
    for text in texts:
        assert errors_of(text), text


# -------------------------------------------------------------------- our workflows, and public ones


@pytest.mark.parametrize("name", ["near_real_time", "batch"])
def test_the_ecg_workflows_are_valid(name: str) -> None:
    text = (resources.files("einthoven.workflow") / "ecg" / f"{name}.yaml").read_bytes()
    for mode in ("strict", "lenient"):
        checked = check_text(text, mode)
        assert {one.code for one in checked.flaws} <= {"W603"}
        compile_workflow(checked)


def chunked(how: str, said: str = "x array w/c") -> str:
    return port(said, constraint("distribution", how))


def with_ins(text: str, *ins: str) -> str:
    return text.replace("dataIns: []", f"dataIns: [{', '.join(ins)}]", 1)


def concat(name: str, said: str, aggregation: str = "*") -> str:
    return f"dataOuts: [{port(said, constraint('aggregation', aggregation))}]"


UPLOAD = port("out file", prop("datatransfer", "upload"))
COUNTER_750 = 'name: "i", type: "number", from: "0", to: "750", step: "1"'
PASSED = port("total number w/n", "passing: true")
NO_TYPE = fn("quiet").replace('type: "t", ', "")
PUBLIC: dict[str, tuple[str, set[str]]] = {
    "gate change alert": (
        fn("count", outs="n number; gates collection")
        + with_ins(
            loop(
                "parallelFor", "each",
                inner(parallel("both", inner(if_("which", inner(fn("a", outs="t string")),
                                                 inner(fn("b", outs="t string")), "t string a/t,b/t")),
                               inner(fn("log", "x array each/x")), outs="t string which/t")),
                outs="ts collection both/t", counter='name: "i", type: "number", from: "0", to: "count/n"',
            ),
            chunked("BLOCK(5)", "x array count/gates"),
        ),
        set(),
    ),
    "three providers in a chain": (
        fn("one", "x number w/n", more=prop("resource", "arn:aws:lambda:eu-west-1:0:function:one"))
        + fn("two", "x number one/y", more=prop("resource", "python:https://two.example.org/"))
        + fn("three", "x number two/y", more=prop("resource", "java:https://three.example.org/")),
        set(),
    ),
    "plans without retries": (
        fn("f", "x number w/n", more=constraint("FT-AltPlan-0", "0.9;https://a.example.org/;")[:-1]
           + ', {name: "FT-AltPlan-1", value: "0.8;arn:aws:lambda:x;arn:aws:lambda:y"}]'),
        set(),
    ),
    "anomaly detection": (
        switch("first", case("a", inner(parallel("p", inner(fn("x1")), inner(NO_TYPE))), 'break: "true", ')
               + ", " + case("b", inner(fn("x2"))), outs="y number x2/y,NULL")
        + switch("second", case("a", inner(fn("x3"))), outs="y number x3/y,NULL"),
        {"E104"},
    ),
    "Monte Carlo on two providers": (
        parallel(
            "both",
            inner(with_ins(loop("parallelFor", "l1", inner(fn("a")), counter=COUNTER_750,
                                outs="total number total; hits number a/y"), PASSED)),
            inner(with_ins(loop("parallelFor", "l2", inner(fn("b")), counter=COUNTER_750,
                                outs="total number total; hits number b/y"), PASSED)),
        ),
        {"E301", "E313"},
    ),
    "1000 genomes": (
        fn("keys", "secret_key string w/s", "n number")
        + parallel("p", inner(loop("parallelFor", "l", inner(fn("a", "x number l/i")), outs="y number a/y")),
                   inner(fn("b"))),
        {"E605", "E313"},
    ),
    "montage": (
        with_ins(fn("project", "", "y file"), UPLOAD)
        + fn("quiet2", "access_key string w/s").replace('type: "t", ', "")
        + loop("parallelFor", "l", inner(fn("a")), outs="y number a/y", more=constraint("concurrency", "950"))
        + fn("late", "x number a/y", more=prop("service", "S3:eu:1:2")),
        {"E104", "E305", "E307", "E313", "E605"},
    ),
    "BWA": (
        loop("for", "l", inner(parallel("p", inner(fn("split0", "x number l/i", more=prop("resource", ""))),
                                        inner(fn("align", "x number split0/y")))),
             counter='type: "number", from: "0", to: "2"').replace('"l/i"', '"w/n"'),
        {"E104", "E306"},
    ),
    "speech translation": (
        parallel(
            "both",
            *(
                inner(with_ins(
                    loop("parallelFor", f"l{k}", inner(fn(f"f{k}", f"x string l{k}/x", "y string")),
                         outs=f"ys collection f{k}/y",
                         counter=f'type: "number", from: "{k * 3}", to: "{k * 3 + 3}"'),
                    chunked("BLOCK(1)", "x string w/c").replace(
                        "[", f'[{{name: "element-index", value: "{k * 3}:{k * 3 + 2}"}}, '),
                ))
                for k in (0, 1)
            ),
            outs=concat("both", "ys collection l0/ys,l1/ys"),
        ),
        {"E104"},
    ),
    "PDF to speech": (
        with_ins(fn("f"), port("bucket string w/s"), port("bucket string w/s", "passing: true"))
        + with_ins(loop("parallelFor", "l", inner(fn("g", "b string l/bucket; r string f/region")),
                        counter='from: "0", to: "w/n"'),
                   chunked("REPLICATE(*)", "bucket string f/bucket")),
        {"E104", "E203", "E303"},
    ),
    "sources combined out of branches": (
        if_("i", inner(fn("a", outs="y array")), inner(fn("b", outs="y array")))
        + with_ins(loop("parallelFor", "l", inner(fn("g", "x number l/x")), counter='from: "0", to: "2"'),
                   chunked("BLOCK(1)", "x number [a/y,b/y]")),
        {"E104", "E305"},
    ),
    "parts of objects": (
        fn("f", "x string w/o/patient/id/value") + NO_TYPE,
        {"E104"},
    ),
    "asynchronous calls": (
        fn("f", more=ASYNC) + join("j", "f") + fn("g", "x number f/undeclared"),
        {"E303"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLIC)
def test_workflows_like_the_public_ones_have_the_verdicts_that_are_expected(name: str) -> None:
    text, codes = HEAD + PUBLIC[name][0], PUBLIC[name][1]
    found = flaws_of(text)
    assert {one.code for one in found} == codes, [one.text("w") for one in found]
    assert all(one.severity == "error" for one in found)
    assert errors_of(text) == []
    program_of(text, lenient=True)


def test_a_document_may_be_indented() -> None:
    assert codes_of(textwrap.indent(HEAD + fn("f"), "    ")) == []
