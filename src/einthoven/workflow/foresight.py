"""What a parallelFor gives to the function behind it, told while it arises.

A function that takes a list one element after the other (joining hours does) may go ahead with the first
elements while the others are computed. Which functions do is said by whoever runs a workflow
(`einthoven.workflow.policy.Policy`), and what is told is a hint: the invocation comes as it would have come,
with the whole list, and nothing that comes out depends on it.
"""

from collections.abc import Sequence
from typing import Any

from einthoven.workflow.events import Foresee
from einthoven.workflow.program import CallStep, Input, ParallelForStep, Take
from einthoven.workflow.rooms import is_own
from einthoven.workflow.scopes import Reach

__all__ = ["Foreseen", "given_whole"]


class Foreseen:
    """An invocation that will come, and how far its list has arisen."""

    def __init__(self, key: str, type_: str, inputs: dict[str, Any], port: str, output: str) -> None:
        self._key = key
        self._type = type_
        self._inputs = inputs
        self._port = port
        self.output = output
        """Of the parallelFor, which the list is."""
        self._told = 0
        self._early: set[int] = set()
        """Iterations that ended before one in front of them."""

    def arisen(self, ordinal: int, values: Sequence[Any]) -> Foresee | None:
        """An iteration ended; what is new of the list, up to the first that is still going on."""
        self._early.add(ordinal)
        first = until = self._told
        while until in self._early:
            self._early.remove(until)
            until += 1
        self._told = until
        if first == until:
            return None
        return Foresee(
            key=self._key,
            type=self._type,
            inputs=self._inputs,
            port=self._port,
            first=first,
            values=tuple(values[first:until]),
        )


def given_whole(step: ParallelForStep, then: CallStep, port: str | None) -> str | None:
    """The output of a parallelFor whose list, as it is, is an input of the call; None if there is none."""
    of_port = [one for one in then.inputs if one.name == port and one.is_sent]
    if len(of_port) != 1:
        return None
    output = _output_behind(of_port[0], step)
    for one in step.outputs:
        is_list = one.type in {"collection", "array", None} and one.aggregation not in {"+", "*"}
        if one.name == output and is_list and not is_own(one, step.name):
            return one.name
    return None


def _output_behind(one: Input, step: ParallelForStep) -> str | None:
    if not isinstance(one.value, Take) or one.index is not None or one.distribution is not None:
        return None
    match one.value.alternatives:
        case (Reach(room="out", producer=step.name, segments=()) as reach,):
            return reach.port
    return None
