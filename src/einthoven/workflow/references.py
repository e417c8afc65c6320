"""Values that stay where they were made: an execution hands on where they lie.

A large output need not travel to whoever drives the workflow and from there to the next function; it is
enough to say where it is. That is possible where nobody on the way looks into it: no test, no count, no part
of it, no distribution, no aggregation. Which outputs these are is seen in the program, before it runs. What a
workflow gives in the end is always given by value.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final, Literal, NamedTuple

import msgspec

from einthoven.workflow.expressions import Replicate
from einthoven.workflow.program import (
    CallStep,
    ForStep,
    FusedStep,
    IfStep,
    Input,
    Output,
    ParallelForStep,
    ParallelStep,
    Program,
    SequenceStep,
    Space,
    Step,
    Steps,
    SwitchStep,
    Take,
    WhileStep,
)
from einthoven.workflow.scopes import Reach
from einthoven.workflow.walking import bodies_of, reaches, with_bodies

__all__ = ["Kind", "Referenced", "kind_of", "passing_by_reference"]

Kind = Literal["string", "number", "boolean", "object", "array"]


class Referenced:
    """A value that lies elsewhere; it says what it is, and not what is in it."""

    __slots__ = ("bytes", "kind", "name", "sha256")

    def __init__(self, name: str, sha256: str, bytes_: int, kind: Kind) -> None:
        self.name: Final = name
        self.sha256: Final = sha256
        self.bytes: Final = bytes_
        self.kind: Final = kind

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Referenced) and (self.name, self.sha256) == (other.name, other.sha256)

    def __hash__(self) -> int:
        return hash((self.name, self.sha256))

    def __repr__(self) -> str:
        return f"Referenced({self.name!r}, {self.bytes} bytes)"


def kind_of(value: Any) -> Kind | None:
    """What a value is; None of what is nothing."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


class _Port(NamedTuple):
    """A place where values are read: an output of a step, or an input that a body sees."""

    room: str
    producer: str
    port: str


def passing_by_reference(program: Program) -> Program:
    """The program with what may be passed so marked; its results are the same."""
    subs = {name: _marked_space(space) for name, space in program.subs.items()}
    return msgspec.structs.replace(program, main=_marked_space(program.main), subs=subs)


def _marked_space(space: Space) -> Space:
    flow = _Flow(space)
    return msgspec.structs.replace(space, body=_marked(space.body, flow))


class _Flow:
    """Which outputs of functions nobody looks into, and which inputs they may come to."""

    def __init__(self, space: Space) -> None:
        self._from: dict[_Port, set[_Port]] = {}
        """Of each place where values come to: those that they come from."""
        self._looked: set[_Port] = set()
        self._look(output.take for output in space.outputs)
        self._steps(space.body)
        waiting = list(self._looked)
        while waiting:
            for origin in self._from.get(waiting.pop(), set()) - self._looked:
                self._looked.add(origin)
                waiting.append(origin)

    def may_leave(self, name: str, port: str) -> bool:
        """Whether an output of a function may be passed by reference."""
        return _Port("out", name, port) not in self._looked

    def may_come(self, one: Input) -> bool:
        """Whether what comes to an input of a function may have been."""
        seen: set[_Port] = set()
        waiting = [_port(reach) for reach in reaches(one.value)]
        while waiting:
            port = waiting.pop()
            if port in seen or port in self._looked:
                continue
            seen.add(port)
            if port.room == "out" and port not in self._from:
                return True
            waiting += self._from.get(port, ())
        return False

    def _look(self, values: Iterable[Any]) -> None:
        self._looked.update(_port(reach) for value in values for reach in reaches(value))

    def _leads(self, value: Any, to: _Port) -> None:
        for reach in reaches(value):
            if reach.segments:
                self._looked.add(_port(reach))
            else:
                self._from.setdefault(to, set()).add(_port(reach))
        self._from.setdefault(to, set())

    def _inputs(self, name: str, inputs: Iterable[Input], *, is_call: bool) -> None:
        for one in inputs:
            self._look(take for _, take in one.numbers)
            if one.index is not None or not (one.distribution is None or one.distribution == Replicate()):
                self._look([one.value])
            elif is_call:
                self._look(_parts(one.value))
                if one.is_forwarded:
                    self._leads(one.value, _Port("out", name, one.name))
            else:
                self._leads(one.value, _Port("in", name, one.name))

    def _outputs(self, name: str, outputs: Iterable[Output]) -> None:
        for one in outputs:
            if one.aggregation in {"+", "*"}:
                self._look([one.take])
            else:
                self._leads(one.take, _Port("out", name, one.name))

    def _steps(self, steps: Steps) -> None:
        for step in steps:
            match step:
                case CallStep():
                    if step.sub is not None:  # its body is another name space
                        self._look(one.value for one in step.inputs)
                        self._looked.update(_Port("out", step.name, port) for port, _ in step.outputs)
                    self._inputs(step.name, step.inputs, is_call=True)
                    continue
                case FusedStep():
                    for stage in step.stages:
                        self._inputs(stage.name, stage.inputs, is_call=True)
                    continue
                case SequenceStep() | ForStep() | WhileStep() | ParallelForStep() | IfStep() | ParallelStep():
                    self._inputs(step.name, step.inputs, is_call=False)
                case SwitchStep():
                    self._inputs(step.name, step.inputs, is_call=False)
                    self._look([step.looked_at])
                case _:
                    continue
            if isinstance(step, IfStep | WhileStep):
                self._look([step.test])
            if isinstance(step, ForStep | ParallelForStep):
                self._look([step.counter])
            if isinstance(step, ForStep | WhileStep):
                for loop in step.loops:
                    self._leads((loop.begin, loop.next), _Port("in", step.name, loop.name))
            for body in bodies_of(step):
                self._steps(body)
            self._outputs(step.name, step.outputs)


def _port(reach: Reach) -> _Port:
    return _Port(reach.room, reach.producer, reach.port)


def _parts(value: Any) -> Iterator[Take]:
    """What a call reads of the inside of a value."""
    yield from (Take((reach,)) for reach in reaches(value) if reach.segments)


def _marked(steps: Steps, flow: _Flow) -> Steps:
    return tuple(_marked_step(step, flow) for step in steps)


def _marked_step(step: Step, flow: _Flow) -> Step:
    match step:
        case CallStep():
            if step.type is None or step.sub is not None:
                return step
            return msgspec.structs.replace(
                step,
                leaves=tuple(port for port, _ in step.outputs if flow.may_leave(step.name, port)),
                comes=tuple(one.name for one in step.inputs if flow.may_come(one)),
            )
        case FusedStep():
            within = {stage.name for stage in step.stages}
            return msgspec.structs.replace(
                step,
                leaves=tuple(f"{name}/{port}" for name, port in step.leaving if flow.may_leave(name, port)),
                comes=tuple(
                    f"{stage.name}/{one.name}"
                    for stage in step.stages
                    for one in stage.inputs
                    if flow.may_come(one)
                    and not any(reach.producer in within for reach in reaches(one.value))
                ),
            )
    return with_bodies(step, lambda body: _marked(body, flow))
