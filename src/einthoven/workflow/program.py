"""A workflow that was checked, ready to run: every text is understood, every source is resolved."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from einthoven.workflow.checker import Checked
from einthoven.workflow.constraints import is_asynchronous, is_forwarded, plan_number, value_of
from einthoven.workflow.expressions import (
    Distribution,
    ElementIndex,
    Resource,
    known_type,
    parse_bound,
    parse_constant,
    parse_distribution,
    parse_element_index,
    parse_plan,
    parse_resource,
    parse_timestamp,
)
from einthoven.workflow.flaws import Path
from einthoven.workflow.model import (
    ASYNC_HANDLER,
    KEYS,
    TYPES,
    Body,
    Compound,
    Condition,
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
    Switch,
    While,
)
from einthoven.workflow.scopes import Nowhere, Reach
from einthoven.workflow.sources import Files, Reference
from einthoven.workflow.wiring import Flow

__all__ = [
    "CallStep",
    "CaseOf",
    "Constant",
    "CounterOf",
    "ForStep",
    "FusedStep",
    "IfStep",
    "Input",
    "JoinStep",
    "Loop",
    "NotRunnable",
    "Output",
    "ParallelForStep",
    "ParallelStep",
    "Program",
    "RootInput",
    "SequenceStep",
    "Space",
    "Step",
    "Steps",
    "SwitchStep",
    "Take",
    "Term",
    "Test",
    "Value",
    "WhileStep",
    "compile_workflow",
]

_WHILE_MAX: Final = 10_000


class NotRunnable(ValueError):
    """A workflow with errors cannot be compiled; its checker says which."""


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Constant(msgspec.Struct, frozen=True):
    """A value that stands in the workflow."""

    value: Any


class Take(msgspec.Struct, frozen=True):
    """The first of several values that is there; None is ``NULL``."""

    alternatives: tuple[Reach | Nowhere | None, ...]


Value = Constant | Take


class Input(_Part, frozen=True, kw_only=True):
    """One input of a construct and where it comes from."""

    name: str
    type: str | None
    value: Value | None
    """None where nothing is wired: a lenient reader let it pass."""
    index: ElementIndex | None = None
    numbers: tuple[tuple[Reference, Take], ...] = ()
    """Of the index, what is known at run time only."""
    distribution: Distribution | None = None
    is_sent: bool = True
    is_forwarded: bool = False


class Output(_Part, frozen=True, kw_only=True):
    """One output of a compound, or of a workflow."""

    name: str
    type: str | None
    take: Take
    aggregation: str | None = None


class Term(_Part, frozen=True, kw_only=True):
    """One comparison. An operand that is a `Constant` is a text, typed by the other one."""

    first: Value
    second: Value
    operator: str
    is_negated: bool


class Test(_Part, frozen=True, kw_only=True):
    """Terms, all or one of which must hold."""

    terms: tuple[Term, ...]
    needs_all: bool


class CounterOf(_Part, frozen=True, kw_only=True):
    """The counter of a loop."""

    name: str | None
    begin: Value
    end: Value
    step: Value


class Loop(_Part, frozen=True, kw_only=True):
    """What one iteration hands to the next."""

    name: str
    type: str | None
    begin: Value
    next: Take


class _Step(_Part, frozen=True, kw_only=True):
    name: str
    inputs: tuple[Input, ...] = ()


class CallStep(_Step, frozen=True, kw_only=True):
    """An invocation of a function, or of a sub-workflow."""

    type: str | None
    """None: it does nothing, and its outputs are null."""
    outputs: tuple[tuple[str, str | None], ...] = ()
    sub: str | None = None
    resource: Resource | None = None
    retries: int | None = None
    """None where the workflow leaves it to who runs it."""
    plans: tuple[tuple[Resource, ...], ...] = ()
    latest_start_s: float | None = None
    latest_finish_s: float | None = None
    running_s: float | None = None
    timeout_s: float | None = None
    """Of each attempt."""
    is_queued: bool = False
    """The body goes on without waiting for it."""
    leaves: tuple[str, ...] = ()
    """Outputs that may be passed by reference; see `einthoven.workflow.references`."""
    comes: tuple[str, ...] = ()
    """Inputs that may come so."""


class FusedStep(_Step, frozen=True, kw_only=True):
    """Functions that run in one place, one after the other, as one invocation."""

    stages: tuple[CallStep, ...]
    leaving: tuple[tuple[str, str], ...]
    """Stage and port of what is read elsewhere."""
    leaves: tuple[str, ...] = ()
    """As of a `CallStep`, named ``stage/port``."""
    comes: tuple[str, ...] = ()


class JoinStep(_Step, frozen=True, kw_only=True):
    """The built-in that waits for asynchronous calls, or asks whether they have ended."""

    awaited: tuple[str, ...]
    output: str
    waits: bool


class _CompoundStep(_Step, frozen=True, kw_only=True):
    outputs: tuple[Output, ...] = ()


class SequenceStep(_CompoundStep, frozen=True, kw_only=True):
    """One after the other."""

    body: "Steps"


class IfStep(_CompoundStep, frozen=True, kw_only=True):
    """One of two bodies."""

    test: Test
    then: "Steps"
    otherwise: "Steps"


class CaseOf(_Part, frozen=True, kw_only=True):
    """One case of a switch."""

    value: Any
    body: "Steps"
    breaks: bool


class SwitchStep(_CompoundStep, frozen=True, kw_only=True):
    """The bodies of the cases that are equal."""

    looked_at: Take
    type: str
    cases: tuple[CaseOf, ...]
    default: "Steps"


class ForStep(_CompoundStep, frozen=True, kw_only=True):
    """Iterations one after the other."""

    counter: CounterOf
    loops: tuple[Loop, ...]
    body: "Steps"


class WhileStep(_CompoundStep, frozen=True, kw_only=True):
    """Iterations as long as a test holds."""

    test: Test
    loops: tuple[Loop, ...]
    body: "Steps"
    iterations_max: int


class ParallelStep(_CompoundStep, frozen=True, kw_only=True):
    """Sections side by side."""

    sections: tuple["Steps", ...]


class ParallelForStep(_CompoundStep, frozen=True, kw_only=True):
    """Iterations side by side."""

    counter: CounterOf
    body: "Steps"
    concurrency: int | None
    tolerated_percent: float


Step = (
    CallStep
    | FusedStep
    | JoinStep
    | SequenceStep
    | IfStep
    | SwitchStep
    | ForStep
    | WhileStep
    | ParallelStep
    | ParallelForStep
)
Steps = tuple[Step, ...]


class RootInput(_Part, frozen=True, kw_only=True):
    """One input of a workflow or sub-workflow."""

    name: str
    type: str | None
    key: str
    """Its name in the input document, or the caller's port."""
    constant: Constant | None


class Space(_Part, frozen=True, kw_only=True):
    """A workflow or sub-workflow: a name space of its own."""

    name: str
    inputs: tuple[RootInput, ...]
    body: Steps
    outputs: tuple[Output, ...]


class Program(_Part, frozen=True, kw_only=True):
    """A whole workflow."""

    main: Space
    subs: dict[str, Space]
    is_lenient: bool = False
    """Surplus chunks are dropped with a warning, instead of being an error."""


def compile_workflow(checked: Checked, *, is_lenient: bool = False) -> Program:
    """A program of a workflow that was checked.

    Raises
    ------
    NotRunnable : an error was found in it.
    """
    workflow = checked.workflow
    if workflow is None:
        raise NotRunnable("the workflow has errors")
    compiler = _Compiler(checked.flows, frozenset(one.name for one in workflow.sub_workflows))
    subs = {
        one.name: Space(
            name=one.name,
            inputs=tuple(map(_root_input, one.data_ins)),
            body=compiler.body(one.body, ("subFCs", k, "subFCBody"), is_async=False),
            outputs=compiler.outputs(one.data_outs, ("subFCs", k)),
        )
        for k, one in enumerate(workflow.sub_workflows)
    }
    main = Space(
        name=workflow.name,
        inputs=tuple(map(_root_input, workflow.data_ins)),
        body=compiler.body(workflow.body, ("workflowBody",), is_async=False),
        outputs=compiler.outputs(workflow.data_outs, ()),
    )
    return Program(main=main, subs=subs, is_lenient=is_lenient)


def _type(written: str) -> str | None:
    type_ = known_type(written)
    return type_ if type_ in TYPES else None


def _constant(port: DataIn | DataLoop) -> Constant | None:
    if port.value is None:
        return None
    return Constant(parse_constant(port.value, _type(port.type) or "string"))


def _root_input(port: DataIn) -> RootInput:
    return RootInput(
        name=port.name, type=_type(port.type), key=port.source or port.name, constant=_constant(port)
    )


class _Compiler:
    def __init__(self, flows: dict[Path, Flow], subs: frozenset[str]) -> None:
        self._flows = flows
        self._subs = subs

    def _value(self, path: Path) -> Value:
        flow = self._flows[path]
        if isinstance(flow, Files):
            return Constant(flow.urls[0] if len(flow.urls) == 1 else list(flow.urls))
        return Take(flow)

    def _take(self, path: Path) -> Take:
        flow = self._flows.get(path, ())
        return Take(()) if isinstance(flow, Files) else Take(flow)

    def _inputs(self, ports: tuple[DataIn, ...], path: Path) -> tuple[Input, ...]:
        return tuple(self._input(one, (*path, "dataIns", k)) for k, one in enumerate(ports))

    def _input(self, port: DataIn, path: Path) -> Input:
        index = value_of(port.constraints, "element-index")
        how = value_of(port.constraints, "distribution")
        parsed = None if index is None else parse_element_index(index)
        return Input(
            name=port.name,
            type=_type(port.type),
            value=self._value((*path, "source")) if port.source is not None else _constant(port),
            index=parsed,
            numbers=tuple(
                (one, self._take((*path, "element-index", str(one))))
                for one in (parsed.references if parsed else ())
            ),
            distribution=None if how is None else parse_distribution(how),
            is_sent=not port.passing,
            is_forwarded=is_forwarded(port),
        )

    def outputs(self, ports: tuple[DataOut, ...], path: Path) -> tuple[Output, ...]:
        return tuple(
            Output(
                name=one.name,
                type=_type(one.type),
                take=self._take((*path, "dataOuts", k, "source")),
                aggregation=(value_of(one.constraints, "aggregation") or "").strip() or None,
            )
            for k, one in enumerate(ports)
        )

    def body(self, body: Body, path: Path, *, is_async: bool) -> Steps:
        return tuple(
            self._function(one, (*path, k, "function"), is_async=is_async)
            if isinstance(one, Function)
            else self._compound(one, (*path, k, KEYS[type(one)]), is_async=is_async)
            for k, one in enumerate(body)
        )

    def _function(self, one: Function, path: Path, *, is_async: bool) -> Step:
        if one.type == ASYNC_HANDLER:
            names = one.data_ins[0].value or ""
            said = value_of(one.properties, "invoke-type") or "SYNC"
            return JoinStep(
                name=one.name,
                awaited=tuple(name.strip() for name in names.split(",")),
                output=one.data_outs[0].name,
                waits=said.strip().upper() == "SYNC",
            )
        said_resource = (value_of(one.properties, "resource") or "").strip()
        plans = {plan_number(port.name): parse_plan(port.value).resources for port in _plans(one.constraints)}
        return CallStep(
            name=one.name,
            inputs=self._inputs(one.data_ins, path),
            type=one.type,
            outputs=tuple((port.name, _type(port.type)) for port in one.data_outs),
            sub=one.type if one.type in self._subs else None,
            resource=parse_resource(said_resource) if said_resource else None,
            retries=_whole(one.constraints, "FT-Retries"),
            plans=tuple(resources for _, resources in sorted(plans.items(), key=lambda item: item[0] or 0)),
            latest_start_s=_moment(one.constraints, "C-latestStartingTime"),
            latest_finish_s=_moment(one.constraints, "C-latestFinishingTime"),
            running_s=_seconds(one.constraints, "C-maxRunningTime"),
            timeout_s=_seconds(one.constraints, "X-timeout"),
            is_queued=is_asynchronous(one, is_async),
        )

    def _compound(self, one: Compound, path: Path, *, is_async: bool) -> Step:
        is_async = is_asynchronous(one, is_async)
        inputs, outputs = self._inputs(one.data_ins, path), self.outputs(one.data_outs, path)

        def body(inner: Body, *tail: str | int) -> Steps:
            return self.body(inner, (*path, *tail), is_async=is_async)

        match one:
            case Sequence():
                steps = body(one.body, "sequenceBody")
                return SequenceStep(name=one.name, inputs=inputs, outputs=outputs, body=steps)
            case If():
                return IfStep(
                    name=one.name,
                    inputs=inputs,
                    outputs=outputs,
                    test=self._test(one.condition, (*path, "condition")),
                    then=body(one.then, "then"),
                    otherwise=body(one.otherwise, "else"),
                )
            case Switch():
                type_ = _type(one.data_eval.type) or "string"
                return SwitchStep(
                    name=one.name,
                    inputs=inputs,
                    outputs=outputs,
                    looked_at=self._take((*path, "dataEval", "source")),
                    type=type_,
                    cases=tuple(
                        CaseOf(
                            value=parse_constant(case.value, type_),
                            body=body(case.functions, "cases", k, "functions"),
                            breaks=case.breaks,
                        )
                        for k, case in enumerate(one.cases)
                    ),
                    default=body(one.default, "default"),
                )
            case For():
                return ForStep(
                    name=one.name,
                    inputs=inputs,
                    outputs=outputs,
                    counter=self._counter(one.counter, (*path, "loopCounter")),
                    loops=self._loops(one.data_loops, path),
                    body=body(one.body, "loopBody"),
                )
            case While():
                return WhileStep(
                    name=one.name,
                    inputs=inputs,
                    outputs=outputs,
                    test=self._test(one.condition, (*path, "condition")),
                    loops=self._loops(one.data_loops, path),
                    body=body(one.body, "loopBody"),
                    iterations_max=_whole(one.constraints, "X-maxIterations") or _WHILE_MAX,
                )
            case Parallel():
                return ParallelStep(
                    name=one.name,
                    inputs=inputs,
                    outputs=outputs,
                    sections=tuple(
                        body(inner, "parallelBody", k, "section") for k, inner in enumerate(one.sections)
                    ),
                )
            case ParallelFor():
                percent = value_of(one.constraints, "X-toleratedFailurePercentage")
                return ParallelForStep(
                    name=one.name,
                    inputs=inputs,
                    outputs=outputs,
                    counter=self._counter(one.counter, (*path, "loopCounter")),
                    body=body(one.body, "loopBody"),
                    concurrency=_whole(one.constraints, "concurrency"),
                    tolerated_percent=0.0 if percent is None else float(percent),
                )

    def _test(self, condition: Condition, path: Path) -> Test:
        return Test(
            terms=tuple(
                Term(
                    first=self._operand(one.data1, (*path, "conditions", k, "data1")),
                    second=self._operand(one.data2, (*path, "conditions", k, "data2")),
                    operator=one.operator,
                    is_negated=one.negation,
                )
                for k, one in enumerate(condition.conditions)
            ),
            needs_all=condition.combined_with == "and",
        )

    def _operand(self, text: str, path: Path) -> Value:
        return self._take(path) if path in self._flows else Constant(text)

    def _counter(self, counter: LoopCounter, path: Path) -> CounterOf:
        def bound(key: str, text: str) -> Value:
            said = parse_bound(text)
            return Constant(said) if isinstance(said, int) else self._take((*path, key))

        return CounterOf(
            name=counter.name,
            begin=bound("from", counter.begin),
            end=bound("to", counter.end),
            step=bound("step", counter.step or "1"),
        )

    def _loops(self, loops: Iterable[DataLoop], path: Path) -> tuple[Loop, ...]:
        return tuple(
            Loop(
                name=one.name,
                type=_type(one.type),
                begin=_constant(one) or self._value((*path, "dataLoops", k, "initSource")),
                next=self._take((*path, "dataLoops", k, "loopSource")),
            )
            for k, one in enumerate(loops)
        )


def _plans(constraints: tuple[Setting, ...]) -> Iterable[Setting]:
    return (one for one in constraints if plan_number(one.name) is not None)


def _whole(constraints: tuple[Setting, ...], name: str) -> int | None:
    said = value_of(constraints, name)
    return None if said is None else int(said)


def _moment(constraints: tuple[Setting, ...], name: str) -> float | None:
    said = value_of(constraints, name)
    return None if said is None else parse_timestamp(said)


def _seconds(constraints: tuple[Setting, ...], name: str) -> float | None:
    said = value_of(constraints, name)
    return None if said is None else float(said) / 1e3
