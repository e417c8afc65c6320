"""Functions that will run in the same place, made one invocation: what passes between them stays there.

The results are those of the unfused workflow: the functions are called in the same order with the same
inputs, and whatever somebody outside reads is given. What only the next function reads is neither sent nor
recorded, so a run that is cut off within a fused invocation does all of it again.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from einthoven.workflow.events import Handed
from einthoven.workflow.expressions import Resource
from einthoven.workflow.program import (
    CallStep,
    ForStep,
    FusedStep,
    IfStep,
    Input,
    Output,
    ParallelForStep,
    Program,
    Space,
    Step,
    Steps,
    SwitchStep,
    Take,
    WhileStep,
)
from einthoven.workflow.scopes import Reach
from einthoven.workflow.walking import bodies_of, reaches, with_bodies

__all__ = ["Place", "fuse", "groups_of", "handed"]

Place = Callable[[str, Resource | None], str | None]
"""Where a function of a type with a resource will run; None where that is not known."""


def handed(one: Input, within: set[str]) -> Handed | None:
    """The earlier stage of the same invocation that an input reads; None where it is another's."""
    if not isinstance(one.value, Take) or one.index is not None or len(one.value.alternatives) != 1:
        return None
    reach = one.value.alternatives[0]
    if not isinstance(reach, Reach) or reach.room != "out" or reach.producer not in within:
        return None
    return Handed(reach.producer, reach.port, reach.segments)


def fuse(program: Program, place_of: Place) -> Program:
    """The program with consecutive functions of one place joined."""
    spaces = {name: _fused_space(space, place_of) for name, space in program.subs.items()}
    return msgspec.structs.replace(program, main=_fused_space(program.main, place_of), subs=spaces)


def groups_of(program: Program) -> list[tuple[str, ...]]:
    """The names of the functions of each fused invocation, in the order of the document."""
    found: list[tuple[str, ...]] = []
    for space in (*program.subs.values(), program.main):
        _gather(space.body, found)
    return found


def _gather(steps: Steps, found: list[tuple[str, ...]]) -> None:
    for step in steps:
        if isinstance(step, FusedStep):
            found.append(tuple(stage.name for stage in step.stages))
        for body in bodies_of(step):
            _gather(body, found)


def _fused_space(space: Space, place_of: Place) -> Space:
    readers = _Readers(space)
    return msgspec.structs.replace(space, body=_body(space.body, place_of, readers))


def _body(steps: Steps, place_of: Place, readers: "_Readers") -> Steps:
    found: list[Step] = []
    group: list[CallStep] = []
    place: str | None = None
    for step in steps:
        here = _place(step, place_of)
        if not isinstance(step, CallStep) or here is None:
            found += _closed(group, readers)
            found.append(with_bodies(step, lambda body: _body(body, place_of, readers)))
            group, place = [], None
        elif here == place and _goes_with(step, group):
            group.append(step)
        else:
            found += _closed(group, readers)
            group, place = [step], here
    return tuple(found + _closed(group, readers))


def _place(step: Step, place_of: Place) -> str | None:
    """Calls that have a promise of their own to keep (plans, deadlines, repetitions) stay alone."""
    if not isinstance(step, CallStep) or step.type is None or step.sub is not None or step.is_queued:
        return None
    limits = (step.retries, step.latest_start_s, step.latest_finish_s, step.running_s, step.timeout_s)
    if step.plans or any(limit is not None for limit in limits):
        return None
    if any(one.is_forwarded for one in step.inputs):
        return None
    return place_of(step.type, step.resource)


def _goes_with(step: CallStep, group: list[CallStep]) -> bool:
    """Whether all that it reads of the group is handed on as it is: no alternatives, no index."""
    within = {one.name for one in group}
    return all(
        handed(one, within) is not None or not any(reach.producer in within for reach in reaches(one))
        for one in step.inputs
    )


def _closed(group: list[CallStep], readers: "_Readers") -> list[Step]:
    if len(group) < 2:
        return list(group)
    names = [step.name for step in group]
    leaving = tuple(
        (step.name, port)
        for step in group
        for port, _ in step.outputs
        if readers.is_read_outside(step.name, port, names)
    )
    return [FusedStep(name="+".join(names), stages=tuple(group), leaving=leaving)]


class _Readers:
    """Who reads which output: for each the names of the steps that do; a compound's own sources have none."""

    def __init__(self, space: Space) -> None:
        self._of: dict[tuple[str, str], set[str]] = {}
        self._outputs(space.outputs)
        self._steps(space.body)

    def is_read_outside(self, name: str, port: str, group: list[str]) -> bool:
        """Whether anybody but the steps of the group reads it."""
        return bool(self._of.get((name, port), set()) - set(group))

    def _note(self, reader: str, values: Any) -> None:
        for reach in reaches(values):
            if reach.room == "out":
                self._of.setdefault((reach.producer, reach.port), set()).add(reader)

    def _outputs(self, outputs: tuple[Output, ...]) -> None:
        self._note("", outputs)

    def _steps(self, steps: Steps) -> None:
        for step in steps:
            self._note(step.name if isinstance(step, CallStep) else "", step.inputs)
            match step:
                case CallStep():
                    continue
                case IfStep():
                    self._note("", step.test)
                case SwitchStep():
                    self._note("", step.looked_at)
                case ForStep():
                    self._note("", (step.counter, step.loops))
                case WhileStep():
                    self._note("", (step.test, step.loops))
                case ParallelForStep():
                    self._note("", step.counter)
            for body in bodies_of(step):
                self._steps(body)
            self._outputs(getattr(step, "outputs", ()) if not isinstance(step, FusedStep) else ())
