"""The values of bodies that run: what is given to a construct, what it gives, and what is read in between.

A value that is not there (a branch that did not run, an input that nobody gave) is `ABSENT`; only whoever
cannot do without it fails.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from einthoven.workflow.answers import has_type, part_of
from einthoven.workflow.comparing import Incomparable, Text, holds
from einthoven.workflow.expressions import ElementIndex, OutOfRange, Replicate, select
from einthoven.workflow.program import Constant, Input, Output, Space, Take, Test, Value
from einthoven.workflow.scopes import Nowhere, Reach
from einthoven.workflow.tasks import Task, failed

__all__ = [
    "ABSENT",
    "Frame",
    "Room",
    "condition_holds",
    "demand_type",
    "enter",
    "given",
    "input_of",
    "is_own",
    "leave",
    "output_of",
    "present",
    "read",
    "said_of",
    "taken",
    "value_of",
    "whole",
    "why_absent",
]


class _Absent:
    """Of a value that is not there."""


ABSENT: Final = _Absent()


class Room:
    """The values of one body that is running; a loop makes a new one for each iteration."""

    __slots__ = ("ins", "outer", "outs", "queued")

    def __init__(self, outer: "Room | None" = None) -> None:
        self.outer = outer
        self.ins: dict[str, dict[str, Any]] = {}
        self.outs: dict[str, dict[str, Any]] = {}
        self.queued: dict[str, Task] = {}

    def find(self, room: str, producer: str, port: str) -> Any:
        """The value of a port, of the nearest producer of that name."""
        place: Room | None = self
        while place is not None:
            found = (place.ins if room == "in" else place.outs).get(producer)
            if found is not None:
                return found.get(port, ABSENT)
            place = place.outer
        return ABSENT

    def queued_task(self, name: str) -> Task | None:
        """The asynchronous call of a name; None where it was not begun."""
        place: Room | None = self
        while place is not None:
            if name in place.queued:
                return place.queued[name]
            place = place.outer
        return None


class Frame(msgspec.Struct, frozen=True):
    """Where a body runs."""

    prefix: str
    room: Room


# -------------------------------------------------------------------- reading


def read(take: Take, room: Room, path: str) -> Any:
    """The first alternative that is there, or that nothing is."""
    for one in take.alternatives:
        if one is None:
            return None
        if isinstance(one, Nowhere):
            continue
        value = room.find(one.room, one.producer, one.port)
        if value is not ABSENT:
            return _inside(value, one, path) if one.segments else value
    return ABSENT


def _inside(value: Any, reach: Reach, path: str) -> Any:
    """What is at the end of the segments of a reference."""
    try:
        return part_of(value, reach.segments)
    except LookupError:
        raise failed("R706", path, f"there is no {said_of(reach)}") from None


def said_of(reach: Reach) -> str:
    """A reference as it is written."""
    return "/".join((reach.producer, reach.port, *reach.segments))


def value_of(value: Value | None, room: Room, path: str) -> Any:
    """A constant, or what is read."""
    if value is None:
        return ABSENT
    return value.value if isinstance(value, Constant) else read(value, room, path)


def whole(value: Any, path: str) -> int:
    """A value that must be a whole number."""
    if value is ABSENT:
        raise failed("R701", path, "a number is missing")
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_whole(value):
        raise failed("R705", path, "a whole number is wanted")
    return int(value)


def _is_whole(value: float) -> bool:
    return isinstance(value, int) or (math.isfinite(value) and value == int(value))


def demand_type(value: Any, type_: str | None, path: str) -> None:
    """Fail where a value is of another type."""
    if not has_type(value, type_):
        raise failed("R702", path, f"the value is not of type {type_}")


def present(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those values that are there."""
    return {name: value for name, value in values.items() if value is not ABSENT}


def condition_holds(test: Test, room: Room, path: str) -> bool:
    """Whether a condition holds."""
    return (all if test.needs_all else any)(
        _compared(term.first, term.second, term.operator, room, path) != term.is_negated
        for term in test.terms
    )


def _compared(first: Value, second: Value, operator: str, room: Room, path: str) -> bool:
    values = [
        Text(one.value) if isinstance(one, Constant) else read(one, room, path) for one in (first, second)
    ]
    if ABSENT in values:
        raise failed("R701", path, "a value of the condition is missing")
    try:
        return holds(values[0], values[1], operator)
    except Incomparable as error:
        raise failed("R702", path, f"the condition cannot be tested: {error}") from None


# -------------------------------------------------------------------- inputs


def input_of(one: Input, room: Room, path: str) -> Any:
    """What a construct is given of one input."""
    value = value_of(one.value, room, path)
    if one.index is not None and value is not ABSENT:
        value = _selected(one, one.index, value, room, path)
    if (one.distribution is None or isinstance(one.distribution, Replicate)) and value is not ABSENT:
        demand_type(value, one.type, f"{path}/{one.name}")
    return value


def _selected(one: Input, index: ElementIndex, value: Any, room: Room, path: str) -> Any:
    elements = value if isinstance(value, list) else [value]
    numbers = {
        reference: whole(read(take, room, path), f"{path}/{one.name}") for reference, take in one.numbers
    }
    try:
        chosen = select(index, elements, numbers)
    except OutOfRange as error:
        raise failed("R706", f"{path}/{one.name}", f"the index is out of range: {error}") from None
    return chosen[0] if index.is_single and one.distribution is None else chosen


def enter(inputs: Iterable[Input], name: str, frame: Frame) -> dict[str, Any]:
    """Give a compound its inputs; what is absent stays so until somebody wants it."""
    path = frame.prefix + name
    frame.room.ins[name] = present({one.name: input_of(one, frame.room, path) for one in inputs})
    return frame.room.ins[name]


def why_absent(one: Input, main: Space) -> str:
    """A key that the inputs of the run lack is named; it is the workflow's word, no value."""
    if isinstance(one.value, Take):
        for reach in one.value.alternatives:
            if isinstance(reach, Reach) and (reach.room, reach.producer) == ("in", main.name):
                keys = [port.key for port in main.inputs if port.name == reach.port]
                return f"the inputs of the run have no {(keys or [reach.port])[0]!r}"
    return "nothing that ran gave this input"


# -------------------------------------------------------------------- outputs


def output_of(one: Output, room: Room, path: str) -> Any:
    """What a compound gives of one output."""
    value = read(one.take, room, path)
    if value is not ABSENT:
        demand_type(value, one.type, f"{path}/{one.name}")
    return value


def leave(outputs: Sequence[Output], name: str, frame: Frame) -> None:
    """Give a compound its outputs."""
    path = frame.prefix + name
    frame.room.outs[name] = present({one.name: output_of(one, frame.room, path) for one in outputs})


def is_own(one: Output, name: str) -> bool:
    """Whether an output only hands an input on."""
    return all(
        isinstance(ref, Reach) and (ref.room, ref.producer) == ("in", name) for ref in one.take.alternatives
    )


# -------------------------------------------------------------------- name spaces


def taken(space: Space, document: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The inputs of a name space, out of a document or a caller's ports."""
    values: dict[str, Any] = {}
    for one in space.inputs:
        if one.constant is not None and one.key not in document:
            values[one.name] = one.constant.value
        elif one.key in document:
            demand_type(document[one.key], one.type, f"{path}/{one.name}")
            values[one.name] = document[one.key]
    return values


def given(space: Space, room: Room, path: str) -> dict[str, Any]:
    """The outputs of a name space; all must be there."""
    outputs = {}
    for one in space.outputs:
        value = output_of(one, room, path)
        if value is ABSENT:
            raise failed("R701", f"{path}/{one.name}", "nothing that ran gave this output")
        outputs[one.name] = value
    return outputs
