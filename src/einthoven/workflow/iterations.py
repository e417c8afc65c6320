"""What goes into the iterations of a loop and what comes out of iterations and sections put together."""

from collections.abc import Callable, Iterable
from typing import Any

from einthoven.workflow.events import Warn
from einthoven.workflow.expressions import Block, Replicate, Split, chunk_count, chunk_of
from einthoven.workflow.program import CounterOf, Input, Loop, Output, Take
from einthoven.workflow.rooms import (
    ABSENT,
    Frame,
    Room,
    demand_type,
    output_of,
    present,
    read,
    said_of,
    value_of,
    whole,
)
from einthoven.workflow.scopes import Reach
from einthoven.workflow.tasks import failed

__all__ = ["beginning", "chunks_of", "collected", "count_of", "gathered", "handed_on", "iteration"]


def count_of(counter: CounterOf, room: Room, path: str, most: int) -> tuple[int, int, int]:
    """First value, step, number of iterations."""
    begin, end, step = (
        whole(value_of(one, room, path), f"{path}/{key}")
        for key, one in (("from", counter.begin), ("to", counter.end), ("step", counter.step))
    )
    if step < 1:
        raise failed("R705", f"{path}/step", "a step must be 1 or more")
    count = max(0, -((begin - end) // step))
    if count > most:
        raise failed("R712", path, f"it wants more than {most} iterations")
    return begin, step, count


def iteration(name: str, frame: Frame, ordinal: int, ins: dict[str, Any]) -> Frame:
    """Where one iteration of a loop runs."""
    room = Room(frame.room)
    room.ins[name] = ins
    return Frame(f"{frame.prefix}{name}[{ordinal}]/", room)


# -------------------------------------------------------------------- one after the other


def beginning(loops: Iterable[Loop], room: Room, path: str) -> dict[str, Any]:
    """What the first iteration is handed."""
    return present({one.name: value_of(one.begin, room, path) for one in loops})


def handed_on(loops: Iterable[Loop], room: Room, path: str) -> dict[str, Any]:
    """What an iteration hands to the next."""
    values = {one.name: read(one.next, room, path) for one in loops}
    for one in loops:
        if values[one.name] is not ABSENT:
            demand_type(values[one.name], one.type, f"{path}/{one.name}")
    return present(values)


# -------------------------------------------------------------------- side by side


def chunks_of(
    one: Input, value: Any, count: int, path: str, warn: Callable[[Warn], None] | None
) -> Callable[[int], Any]:
    """What each iteration is given of one input; surplus chunks fail where nobody is to be warned."""
    how = one.distribution
    if how is None or how == Replicate():
        return lambda _: value
    elements = value if isinstance(value, list) else [value]
    where = f"{path}/{one.name}"
    there = chunk_count(how, len(elements), count)
    said = f"there are {there} chunks for {count} iterations"
    if there < count:
        raise failed("R703", where, said)
    if there > count:
        if warn is None:
            raise failed("R704", where, said)
        warn(Warn("R704", where, said))
    if isinstance(how, Block | Split):
        return lambda ordinal: _typed(chunk_of(how, elements, ordinal), one, f"{path}[{ordinal}]")
    return lambda _: value


def _typed(value: Any, one: Input, path: str) -> Any:
    demand_type(value, one.type, f"{path}/{one.name}")
    return value


def collected(one: Output, values: list[Any]) -> Any:
    """The output of a parallelFor, of what each iteration gave."""
    if one.type not in {"collection", "array", None}:
        return values[-1] if values else None
    if one.aggregation in {"+", "*"} and _are_lists(values):
        return _concatenated(values)
    return values


def gathered(one: Output, room: Room, path: str) -> Any:
    """The output of a parallel: several values put together."""
    references = [ref for ref in one.take.alternatives if isinstance(ref, Reach)]
    if len(references) < 2:
        return output_of(one, room, path)
    values = {said_of(ref): read(Take((ref,)), room, path) for ref in references}
    for said, value in values.items():
        if value is ABSENT:
            raise failed("R701", f"{path}/{one.name}", f"{said} is missing")
    if one.aggregation not in {"+", "*"}:
        return values
    if not _are_lists(values.values()):
        raise failed("R702", f"{path}/{one.name}", "only lists can be put together")
    return _concatenated(values.values())


def _are_lists(values: Iterable[Any]) -> bool:
    return all(value is None or isinstance(value, list) for value in values)


def _concatenated(values: Iterable[Any]) -> list[Any]:
    return [element for value in values if value is not None for element in value]
