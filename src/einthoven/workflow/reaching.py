"""What is read, in whatever part of a program."""

from collections.abc import Iterator
from typing import Any

from einthoven.workflow.program import CounterOf, Input, Loop, Output, Take, Test
from einthoven.workflow.scopes import Reach

__all__ = ["reaches"]


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
