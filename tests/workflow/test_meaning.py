"""Workflows made up at random mean what a direct reading of the language says, however they are run.

Each is made together with its meaning: a plain Python function over the values that are visible. The
execution must give the same whatever the order of answers, fused or not, and cut off anywhere.
"""

import asyncio
import random
import tempfile
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from einthoven.clock import SystemClock
from einthoven.runtime.conducting import Conductor, InProcess
from einthoven.runtime.exchange import Exchange
from einthoven.testing.workflows import run_workflow
from einthoven.workflow import (
    Done,
    Execution,
    Program,
    Record,
    check_text,
    compile_workflow,
    print_workflow,
)
from einthoven.workflow.fusion import fuse
from einthoven.workflow.model import (
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
    Workflow,
)
from einthoven.workflow.references import passing_by_reference

Values = dict[str, Any]
Meaning = Callable[[Values], Values]
"""From what is visible to that and what the construct adds."""


class Made(NamedTuple):
    construct: Construct
    meaning: Meaning
    out: str
    """What can be read of it behind."""
    may_be_null: bool


def mixed(x: Any, y: Any) -> dict[str, Any]:
    return {"y": ((x if x is not None else 7) * 3 + (y if y is not None else 11) + 1) % 1009}


def total(values: Any) -> dict[str, Any]:
    listed = values.values() if isinstance(values, dict) else values
    return {"y": sum((k + 1) * (value if value is not None else 5) for k, value in enumerate(listed)) % 1009}


FUNCTIONS = {"mixed": mixed, "total": total, "also": mixed}


class Making:
    """Draws constructs; knows what is visible, and the names that are taken."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.count = 0
        self.subs: list[SubWorkflow] = []

    def name(self, word: str) -> str:
        self.count += 1
        return f"{word}{self.count}"

    def pick(self, refs: Iterable[str]) -> str:
        return str(self.draw(st.sampled_from(sorted(refs))))

    def body(self, visible: set[str], sound: set[str], depth: int) -> tuple[list[Construct], Meaning, Made]:
        """Some constructs one after the other; the last one is what a compound gives."""
        visible, sound = set(visible), set(sound)
        made: list[Made] = []
        for _ in range(self.draw(st.integers(1, 3))):
            for one in self.some(visible, sound, depth):
                made.append(one)
                if one.out:
                    visible.add(one.out)
                    if not one.may_be_null:
                        sound.add(one.out)

        def meaning(values: Values) -> Values:
            for one in made:
                values = one.meaning(values)
            return values

        return [one.construct for one in made], meaning, made[-1]

    def some(self, visible: set[str], sound: set[str], depth: int) -> list[Made]:
        makers: list[Callable[..., list[Made]]] = [self.call, self.call]
        if depth:
            makers += [
                self.sequence,
                self.choice,
                self.switch,
                self.loop,
                self.repeated,
                self.sections,
                self.each,
                self.procedure,
            ]
        return self.draw(st.sampled_from(makers))(visible, sound, depth)

    def call(self, visible: set[str], _: set[str], __: int) -> list[Made]:
        name, x, y = self.name("f"), self.pick(visible), self.pick(visible)
        construct = Function(
            name=name,
            type=self.pick(["mixed", "also"]),
            data_ins=(
                DataIn(name="x", type="number", source=x),
                DataIn(name="y", type="number", source=y),
            ),
            data_outs=(DataOut(name="y", type="number"),),
        )
        return [
            Made(construct, lambda v: v | {f"{name}/y": mixed(v[x], v[y])["y"]}, f"{name}/y", False),
        ]

    def sequence(self, visible: set[str], sound: set[str], depth: int) -> list[Made]:
        name, source = self.name("s"), self.pick(sound)
        own = f"{name}/v"
        body, inner, last = self.body(visible | {own}, sound | {own}, depth - 1)
        construct = Sequence(
            name=name,
            data_ins=(DataIn(name="v", type="number", source=source),),
            data_outs=(DataOut(name="v", type="number", source=last.out),),
            body=tuple(body),
        )

        def meaning(values: Values) -> Values:
            after = inner(values | {own: values[source]})
            return values | {own: after[last.out]}

        return [Made(construct, meaning, own, last.may_be_null)]

    def test(self, sound: set[str]) -> tuple[Comparison, Callable[[Values], bool]]:
        source, limit = self.pick(sound), self.draw(st.integers(0, 1000))
        negated = self.draw(st.booleans())
        term = Comparison(data1=source, data2=str(limit), operator="<", negation=negated)
        return term, lambda values: (values[source] < limit) != negated

    def choice(self, visible: set[str], sound: set[str], depth: int) -> list[Made]:
        name = self.name("i")
        (a, first), (b, second) = self.test(sound), self.test(sound)
        both = self.draw(st.sampled_from(["and", "or"]))
        then, on_true, yes = self.body(visible, sound, depth - 1)
        has_else = self.draw(st.booleans())
        otherwise, on_false, no = self.body(visible, sound, depth - 1) if has_else else ([], None, None)
        construct = If(
            name=name,
            condition=Condition(combined_with=both, conditions=(a, b)),
            then=tuple(then),
            otherwise=tuple(otherwise),
            data_outs=(DataOut(name="y", type="number", source=f"{yes.out},{no.out if no else 'NULL'}"),),
        )

        def meaning(values: Values) -> Values:
            if (all if both == "and" else any)((first(values), second(values))):
                return values | {f"{name}/y": on_true(values)[yes.out]}
            found = on_false(values)[no.out] if on_false and no else None
            return values | {f"{name}/y": found}

        may_be_null = yes.may_be_null or no is None or no.may_be_null
        return [Made(construct, meaning, f"{name}/y", may_be_null)]

    def switch(self, visible: set[str], sound: set[str], _: int) -> list[Made]:
        name, remainder = self.name("x"), self.name("f")
        look = Function(
            name=remainder,
            type="total",
            data_ins=(DataIn(name="values", type="collection", value="[1]"),),
            data_outs=(DataOut(name="y", type="number"),),
        )
        bodies = [self.body(visible, sound, 0) for _ in range(2)]
        breaks = self.draw(st.booleans())
        values_of = self.draw(st.sampled_from([("1", "1.0"), ("1", "2"), ("2", "3")]))
        if breaks and values_of == ("1", "1.0"):
            values_of = ("1", "2")
        cases = tuple(
            Case(value=value, functions=tuple(body), breaks=breaks)
            for value, (body, _, _) in zip(values_of, bodies, strict=True)
        )
        outs = [last.out for _, _, last in bodies]
        construct = Switch(
            name=name,
            data_eval=DataEval(name="e", type="number", source=f"{remainder}/y"),
            cases=cases,
            data_outs=(DataOut(name="y", type="number", source=f"{outs[0]},{outs[1]},NULL"),),
        )

        def meaning(values: Values) -> Values:
            after = dict(values)
            for value, (_, inner, last) in zip(values_of, bodies, strict=True):
                if float(value) == 1.0:
                    after.setdefault("found", inner(values)[last.out])
                    if breaks:
                        break
            return values | {f"{remainder}/y": 1, f"{name}/y": after.pop("found", None)}

        return [
            Made(look, lambda v: v | {f"{remainder}/y": 1}, f"{remainder}/y", False),
            Made(construct, meaning, f"{name}/y", True),
        ]

    def carried(self, name: str, visible: set[str], sound: set[str], counter: str, depth: int) -> Any:
        """The body of a loop that carries a number, and how the loop begins."""
        source = self.pick(sound)
        own = f"{name}/v"
        inside = {own, counter}
        body, inner, last = self.body(visible | inside, sound | inside, depth - 1)
        if last.may_be_null:
            (closing,) = self.call(visible | inside | {last.out}, sound, 0)
            body = [*body, closing.construct]
            before = inner
            inner, last = (lambda v: closing.meaning(before(v))), closing
        loops = (DataLoop(name="v", type="number", init_source=source, loop_source=last.out),)
        return source, own, tuple(body), inner, last, loops

    def loop(self, visible: set[str], sound: set[str], depth: int) -> list[Made]:
        name = self.name("l")
        source, own, body, inner, last, loops = self.carried(name, visible, sound, f"{name}/k", depth)
        begin, step = self.draw(st.integers(-2, 2)), self.draw(st.integers(1, 2))
        count = self.draw(st.integers(0, 3))
        counter = LoopCounter(
            name="k", type="number", begin=str(begin), end=str(begin + count * step), step=str(step)
        )
        construct = For(
            name=name,
            counter=counter,
            data_loops=loops,
            body=body,
            data_outs=(DataOut(name="y", type="number", source=own),),
        )

        def meaning(values: Values) -> Values:
            v = values[source]
            for k in range(count):
                v = inner(values | {own: v, f"{name}/k": begin + k * step})[last.out]
            return values | {f"{name}/y": v}

        return [Made(construct, meaning, f"{name}/y", False)]

    def repeated(self, visible: set[str], sound: set[str], depth: int) -> list[Made]:
        """It ends by a counter of its own, which it carries beside the number."""
        name = self.name("r")
        ticks, tick = f"{name}/ticks", self.name("f")
        source, own, body, inner, last, loops = self.carried(name, visible, sound, ticks, depth)
        most = self.draw(st.integers(0, 3))
        counting = (*loops, DataLoop(name="ticks", type="number", value="0", loop_source=f"{tick}/y"))
        step = Function(
            name=tick,
            type="mixed",
            data_ins=(
                DataIn(name="x", type="number", value="0"),
                DataIn(name="y", type="number", source=ticks),
            ),
            data_outs=(DataOut(name="y", type="number"),),
        )
        construct = While(
            name=name,
            condition=Condition(
                combined_with="and", conditions=(Comparison(data1=ticks, data2=str(most), operator="<"),)
            ),
            data_loops=counting,
            body=(*body, step),
            data_outs=(DataOut(name="y", type="number", source=own),),
            constraints=(Setting(name="X-maxIterations", value="10"),),
        )

        def meaning(values: Values) -> Values:
            v, at = values[source], 0
            while at < most:
                v = inner(values | {own: v, ticks: at})[last.out]
                at = mixed(0, at)["y"]
            return values | {f"{name}/y": v}

        return [Made(construct, meaning, f"{name}/y", False)]

    def totalled(self, construct: Construct, found: Callable[[Values], Any], out: str) -> list[Made]:
        """A construct that gives a collection, and what makes a number of it."""
        name = self.name("t")
        adding = Function(
            name=name,
            type="total",
            data_ins=(DataIn(name="values", type="collection", source=out),),
            data_outs=(DataOut(name="y", type="number"),),
        )

        def meaning(values: Values) -> Values:
            return values | {f"{name}/y": total(found(values))["y"]}

        return [
            Made(construct, lambda v: v, "", False),
            Made(adding, meaning, f"{name}/y", False),
        ]

    def sections(self, visible: set[str], sound: set[str], depth: int) -> list[Made]:
        name = self.name("p")
        bodies = [self.body(visible, sound, depth - 1) for _ in range(self.draw(st.integers(2, 3)))]
        source = ",".join(last.out for _, _, last in bodies)
        construct = Parallel(
            name=name,
            sections=tuple(tuple(body) for body, _, _ in bodies),
            data_outs=(DataOut(name="ys", type="collection", source=source),),
        )
        return self.totalled(
            construct, lambda v: [inner(v)[last.out] for _, inner, last in bodies], f"{name}/ys"
        )

    def each(self, visible: set[str], sound: set[str], depth: int) -> list[Made]:
        name, count = self.name("e"), self.draw(st.integers(0, 4))
        counter = f"{name}/k"
        body, inner, last = self.body(visible | {counter}, sound | {counter}, depth - 1)
        limit = self.draw(st.integers(1, 4))
        construct = ParallelFor(
            name=name,
            counter=LoopCounter(name="k", type="number", begin="0", end=str(count)),
            body=tuple(body),
            data_outs=(DataOut(name="ys", type="collection", source=last.out),),
            constraints=(Setting(name="concurrency", value=str(limit)),),
        )
        return self.totalled(
            construct, lambda v: [inner(v | {counter: k})[last.out] for k in range(count)], f"{name}/ys"
        )

    def procedure(self, visible: set[str], _: set[str], __: int) -> list[Made]:
        sub, name, source = self.name("sub"), self.name("c"), self.pick(visible)
        own = f"{sub}/v"
        body, inner, last = self.body({own}, set(), 0)
        self.subs.append(
            SubWorkflow(
                name=sub,
                data_ins=(DataIn(name="v", type="number", source="given"),),
                body=tuple(body),
                data_outs=(DataOut(name="r", type="number", source=last.out),),
            )
        )
        construct = Function(
            name=name,
            type=sub,
            data_ins=(DataIn(name="given", type="number", source=source),),
            data_outs=(DataOut(name="r", type="number"),),
        )
        return [
            Made(
                construct,
                lambda v: v | {f"{name}/r": inner({own: v[source]})[last.out]},
                f"{name}/r",
                last.may_be_null,
            )
        ]


@st.composite
def workflows(draw: Any) -> tuple[Program, dict[str, Any]]:
    """A program, and what it gives for n = 4."""
    making = Making(draw)
    body, meaning, last = making.body({"w/n"}, {"w/n"}, 2)
    workflow = Workflow(
        name="w",
        sub_workflows=tuple(making.subs),
        data_ins=(DataIn(name="n", type="number", source="n"),),
        body=tuple(body),
        data_outs=(DataOut(name="r", type="number", source=last.out),),
    )
    checked = check_text(print_workflow(workflow))
    errors = [one.text("made") for one in checked.flaws if one.severity == "error"]
    assert not errors, "\n".join([*errors, print_workflow(workflow)])
    return compile_workflow(checked), {"r": meaning({"w/n": 4})[last.out]}


@given(workflows(), st.randoms(use_true_random=False))
def test_a_workflow_means_what_it_says_whatever_takes_how_long(
    made: tuple[Program, dict[str, Any]], luck: random.Random
) -> None:
    program, expected = made
    enacted = run_workflow(program, FUNCTIONS, {"n": 4}, after_s=lambda _: luck.random(), slots=3)
    assert enacted.entry == Done(expected)


@given(workflows(), st.integers(0, 30), st.randoms(use_true_random=False))
def test_a_workflow_that_is_cut_off_anywhere_goes_on_to_the_same(
    made: tuple[Program, dict[str, Any]], cut: int, luck: random.Random
) -> None:
    program, expected = made
    first = run_workflow(program, FUNCTIONS, {"n": 4}, after_s=lambda _: luck.random())
    known = {one.path: one.entry for one in first.commands[:cut] if isinstance(one, Record)}
    again = run_workflow(program, FUNCTIONS, {"n": 4}, after_s=lambda _: luck.random(), known=known)
    assert again.entry == Done(expected)
    assert sorted([*again.invoked, *known]) == sorted(first.invoked)


@given(workflows(), st.dictionaries(st.sampled_from(sorted(FUNCTIONS)), st.sampled_from(["here", "there"])))
def test_a_fused_workflow_means_the_same(
    made: tuple[Program, dict[str, Any]], places: dict[str, str]
) -> None:
    program, expected = made
    fused = fuse(program, lambda type_, _: places.get(type_))
    conductor = Conductor(InProcess(FUNCTIONS), slots=4, clock=SystemClock())
    assert asyncio.run(conductor.run(Execution(fused, "r", {"n": 4}))) == Done(expected)


@given(workflows(), st.booleans(), st.randoms(use_true_random=False))
def test_a_workflow_whose_values_lie_elsewhere_means_the_same(
    made: tuple[Program, dict[str, Any]], is_fused: bool, luck: random.Random
) -> None:
    """Whatever may be passed by reference is; what is not redeemed would be no number."""
    program, expected = made
    if is_fused:
        program = fuse(program, lambda _type, _resource: "here")
    with tempfile.TemporaryDirectory() as folder:
        exchange = Exchange(folder, least_bytes=luck.choice([0, 0, 4]))
        conductor = Conductor(InProcess(FUNCTIONS, exchange=exchange), slots=4, clock=SystemClock())
        execution = Execution(passing_by_reference(program), "r", {"n": 4})
        assert asyncio.run(conductor.run(execution)) == Done(expected)
