"""Which values can be read from where: the producers that are visible, and why another is not.

From a construct one sees the workflow's (or sub-workflow's) inputs, the inputs of everything around it, and
what stands earlier in the same body or in one around it; from the dataOuts of a compound its own children
and inputs.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal, NamedTuple

import msgspec

from einthoven.workflow.flaws import listed, short
from einthoven.workflow.model import Body, For, Function, ParallelFor, While, bodies_of
from einthoven.workflow.sources import Reference

__all__ = ["Hidden", "Nowhere", "Producer", "Reach", "Room", "Scope", "Seats", "Trail"]

Room = Literal["in", "out"]
"""A construct's inputs (with its counter and what its iterations hand on), or its outputs."""


class Reach(msgspec.Struct, frozen=True):
    """A value that a reference reads."""

    room: Room
    producer: str
    port: str
    segments: tuple[str, ...] = ()
    type: str | None = None
    """None where it is not known: a part of an object, an element of a collection."""


class Nowhere(msgspec.Struct, frozen=True):
    """A reference that leads nowhere; a lenient reader let it pass."""

    reference: str


class Producer(NamedTuple):
    """What can be read of one construct."""

    room: Room
    ports: dict[str, str | None]
    """The type of each."""
    is_pending: bool = False
    """An asynchronous call: only behind a join."""


class Scope:
    """The producers that are visible from one place; those nearer hide those farther out."""

    def __init__(self, outer: "Scope | None" = None) -> None:
        self._outer = outer
        self.producers: dict[str, Producer] = {}
        self.joined: set[str] = set()

    def find(self, name: str) -> Producer | None:
        """The nearest producer of a name."""
        return next((one.producers[name] for one in self._chain() if name in one.producers), None)

    def is_joined(self, name: str) -> bool:
        """Whether an asynchronous call has surely ended."""
        return any(name in one.joined for one in self._chain())

    def names(self) -> Iterator[str]:
        """Of everything that is visible."""
        for one in self._chain():
            yield from one.producers

    def _chain(self) -> Iterator["Scope"]:
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope._outer


class Step(NamedTuple):
    """One compound on the way to a construct, and which of its bodies."""

    compound: str
    is_loop: bool
    is_parallel: bool
    body: int


Trail = tuple[Step, ...]


class _Seat(NamedTuple):
    order: int
    trail: Trail
    types: dict[str, str]
    is_function: bool


class Hidden(NamedTuple):
    """Why a name is not visible."""

    code: str
    message: str
    hint: str
    exists_once: bool = False
    """It ran before, at most once, and only its compound hides it."""


_LOOPS: Final = (For, While, ParallelFor)


class Seats:
    """Where every construct of a name space stands; ``root`` is the workflow, and what it is given."""

    def __init__(self, body: Body, root: str = "", inputs: Mapping[str, str] | None = None) -> None:
        self._seats: dict[str, _Seat] = {root: _Seat(-1, (), dict(inputs or {}), False)} if root else {}
        self._fill(body, ())

    def __contains__(self, name: str) -> bool:
        return name in self._seats

    def _fill(self, body: Body, trail: Trail) -> None:
        for one in body:
            types = {port.name: port.type for port in one.data_outs}
            self._seats.setdefault(one.name, _Seat(len(self._seats), trail, types, isinstance(one, Function)))
            for k, (path, inner) in enumerate(bodies_of(one)):
                step = Step(one.name, isinstance(one, _LOOPS), path[0] == "parallelBody", k)
                self._fill(inner, (*trail, step))

    def type_of(self, reference: Reference) -> str | None:
        """The type that a construct gives a port, hidden or not; None where it has no such port."""
        seat = self._seats.get(reference.producer)
        return seat.types.get(reference.port) if seat else None

    def why_hidden(self, name: str, reader: str | None, trail: Trail, visible: Iterable[str]) -> Hidden:
        """Why ``name`` cannot be read by ``reader``, which stands at the end of ``trail``.

        ``reader`` is None for the outputs of the workflow.
        """
        seat = self._seats.get(name)
        said = short(name)
        if seat is None:
            return Hidden("E302", f"there is no producer {said} here.", _nearest(name, visible))
        common = 0
        while common < min(len(seat.trail), len(trail)) and seat.trail[common] == trail[common]:
            common += 1
        below = seat.trail[common:]
        if below and common < len(trail) and below[0].compound == trail[common].compound:
            if below[0].is_parallel:
                return Hidden(
                    "E306",
                    f"{said} is in another section of {short(below[0].compound)}.",
                    "Sections run side by side: put both into one.",
                )
            return Hidden(
                "E305", f"{said} is in another branch of {short(below[0].compound)}.", "It has not run."
            )
        within = tuple(step for step in below if step.compound != reader)
        is_own = len(within) < len(below)
        if reader is not None and not is_own and self._seats[reader].order <= seat.order:
            return Hidden("E304", f"{said} stands later.", "Move it in front, or hand it on with dataLoops.")
        if within:
            inside = short(within[0].compound)
            return Hidden(
                "E305",
                f"{said} is inside {inside}.",
                f"Give {inside} a dataOut of it, and read that.",
                exists_once=not any(step.is_loop for step in within),
            )
        if is_own:
            return Hidden(
                "E305",
                f"{said} is inside {short(str(reader))}, which has not begun.",
                "Read something before it.",
            )
        return Hidden(
            "E305", f"{said} is not inside.", "A compound's dataOuts come from its own inputs and children."
        )


def _nearest(name: str, known: Iterable[str]) -> str:
    seen = list(dict.fromkeys(known))
    close = difflib.get_close_matches(name[:60], seen, 1)
    if close:
        return f"Did you mean {short(close[0])}?"
    return f"Visible are: {listed(seen)}." if seen else ""
