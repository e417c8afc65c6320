"""Through a program: the bodies within a step, and what is read in whatever part of it."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from einthoven.workflow.program import (
    CounterOf,
    ForStep,
    IfStep,
    Input,
    Loop,
    Output,
    ParallelForStep,
    ParallelStep,
    SequenceStep,
    Step,
    Steps,
    SwitchStep,
    Take,
    Test,
    WhileStep,
)
from einthoven.workflow.scopes import Reach

__all__ = ["bodies_of", "reaches", "with_bodies"]


def bodies_of(step: Step) -> tuple[Steps, ...]:
    """The bodies of a compound, in the order of the document; none of a call."""
    match step:
        case SequenceStep() | ForStep() | WhileStep() | ParallelForStep():
            return (step.body,)
        case IfStep():
            return (step.then, step.otherwise)
        case SwitchStep():
            return (*(case.body for case in step.cases), step.default)
        case ParallelStep():
            return step.sections
    return ()


def with_bodies(step: Step, change: Callable[[Steps], Steps]) -> Step:
    """A compound with each of its bodies changed; a call as it is."""
    match step:
        case SequenceStep() | ForStep() | WhileStep() | ParallelForStep():
            return msgspec.structs.replace(step, body=change(step.body))
        case IfStep():
            return msgspec.structs.replace(step, then=change(step.then), otherwise=change(step.otherwise))
        case SwitchStep():
            cases = tuple(msgspec.structs.replace(case, body=change(case.body)) for case in step.cases)
            return msgspec.structs.replace(step, cases=cases, default=change(step.default))
        case ParallelStep():
            return msgspec.structs.replace(step, sections=tuple(map(change, step.sections)))
    return step


def reaches(values: Any) -> Iterator[Reach]:
    """Every value that is read."""
    match values:
        case Reach():
            yield values
        case tuple():
            for one in values:
                yield from reaches(one)
        case Take():
            yield from reaches(values.alternatives)
        case Input():
            yield from reaches((values.value, tuple(take for _, take in values.numbers)))
        case Output():
            yield from reaches(values.take)
        case Loop():
            yield from reaches((values.begin, values.next))
        case CounterOf():
            yield from reaches((values.begin, values.end, values.step))
        case Test():
            yield from reaches(tuple(side for term in values.terms for side in (term.first, term.second)))
