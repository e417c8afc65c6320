"""What every source reads: the values to which its references lead, if they can be read from there."""

from typing import NamedTuple

import msgspec

from einthoven.workflow.flaws import Path, listed, short
from einthoven.workflow.model import ASYNC_HANDLER
from einthoven.workflow.report import Report
from einthoven.workflow.scopes import Hidden, Nowhere, Reach, Room, Scope, Seats, Trail
from einthoven.workflow.sources import Files, MalformedSource, Reference, parse_reference, parse_source

__all__ = ["Flow", "Reaches", "Types", "Viewpoint", "Wiring"]

Reaches = tuple[Reach | Nowhere | None, ...]
"""Values of which the first that is there is read; None is ``NULL``."""
Flow = Files | Reaches
"""What a source reads."""
Types = list[str | None]
"""The type of each alternative of a source, as far as it is known."""


class Viewpoint(NamedTuple):
    """From where something is read."""

    scope: Scope
    """What is visible."""
    reader: str | None
    """Who reads; None for the outputs of the workflow."""
    trail: Trail
    """Where that stands."""


class Wiring:
    """The sources of one name space.

    Parameters
    ----------
    flows : where what each source reads is kept, by its path.
    """

    def __init__(self, report: Report, seats: Seats, flows: dict[Path, Flow]) -> None:
        self.report = report
        self.flows = flows
        self.consumed: set[tuple[Room, str, str]] = set()
        """Room, producer and port of what somebody reads."""
        self._seats = seats

    # ---------------------------------------------------------------- sources

    def values(self, text: str, path: Path, view: Viewpoint) -> Types:
        """What a source reads where files cannot stand."""
        given = self.source(text, path, view)
        if isinstance(self.flows.get(path), Files):
            self.report.say("E301", path, "files can only be read by a dataIn.", "Write producer/port.")
            return [None]
        return given

    def source(self, text: str, path: Path, view: Viewpoint) -> Types:
        """What a source reads."""
        try:
            source = parse_source(text)
        except MalformedSource as error:
            self.report.say("E301", path, f"this is no source: {error}.", "Write producer/port.")
            return [None]
        if isinstance(source, Files):
            self.flows[path] = source
            return ["file" if len(source.urls) == 1 else "collection"]
        found = tuple(None if one is None else self._reach(one, path, view) for one in source.alternatives)
        self.flows[path] = found
        return [one.type if isinstance(one, Reach) else None for one in found]

    def passed_on(self, owner: str, port: str, path: Path, type_: str | None) -> None:
        """A source that is the bare name of an input of ``owner``."""
        self.flows[path] = (self._read("in", Reference(owner, port), type_),)

    def number(self, reference: Reference, path: Path, key: Path, view: Viewpoint) -> None:
        """A reference to a number; what it reads is kept by ``key``."""
        reach = self._reach(reference, path, view)
        self.flows[key] = (reach,)
        if isinstance(reach, Reach) and reach.type not in {"number", None}:
            said = f"{short(str(reference))} is of type {reach.type}, and a number is wanted."
            self.report.say("E310", path, said)

    def operand(self, text: str, path: Path, view: Viewpoint) -> str | None:
        """The type of an operand, as far as it is known; what cannot be read is a constant."""
        try:
            reference = parse_reference(text)
        except MalformedSource:
            return None if _is_json(text) else "string"
        producer = view.scope.find(reference.producer)
        if producer is None and reference.producer in self._seats:
            why = self._seats.why_hidden(reference.producer, view.reader, view.trail, ())
            is_strict = self.report.mode == "strict"
            if is_strict or not why.exists_once or self._seats.type_of(reference) is None:
                self.report.say("W608", path, f"this is taken as a text: {why.message}", why.hint)
                return "string"
        elif producer is None or reference.port not in producer.ports:
            if producer is not None:
                said = f"{short(reference.producer)} has no port {short(reference.port)}."
                known = f"It has: {listed(producer.ports)}." if producer.ports else ""
                self.report.say("W608", path, f"this is taken as a text: {said}", known)
            return "string"
        reach = self._reach(reference, path, view)
        self.flows[path] = (reach,)
        return reach.type if isinstance(reach, Reach) else None

    # ---------------------------------------------------------------- references

    def hidden(self, name: str, path: Path, view: Viewpoint) -> Hidden:
        """Say why a producer cannot be read."""
        visible = view.scope.names() if self.report.wants_hints else ()
        why = self._seats.why_hidden(name, view.reader, view.trail, visible)
        self.report.say(why.code, path, why.message, why.hint)
        return why

    def _reach(self, reference: Reference, path: Path, view: Viewpoint) -> Reach | Nowhere:
        producer = view.scope.find(reference.producer)
        if producer is None:
            if not self.hidden(reference.producer, path, view).exists_once:
                return Nowhere(str(reference))
            return self._read("out", reference, self._seats.type_of(reference))
        if reference.port not in producer.ports:
            self.report.say(
                "E303",
                path,
                f"{short(reference.producer)} has no port {short(reference.port)} that can be read here.",
                f"It has: {listed(producer.ports)}." if producer.ports else "",
            )
            return Nowhere(str(reference))
        if producer.is_pending and not view.scope.is_joined(reference.producer):
            self.report.say(
                "E314",
                path,
                f"{short(reference.producer)} is asynchronous, and nothing has waited for it.",
                f"Put a {ASYNC_HANDLER} of invoke-type SYNC in front.",
            )
        return self._read(producer.room, reference, producer.ports[reference.port])

    def _read(self, room: Room, reference: Reference, type_: str | None) -> Reach:
        self.consumed.add((room, reference.producer, reference.port))
        known = None if reference.segments else type_
        return Reach(room, reference.producer, reference.port, reference.segments, known)


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, UnicodeEncodeError):
        return False
    return True
