"""Whether a workflow makes sense: every error in one pass, each with where it is and how to mend it.

Strict mode is for what is written here; lenient mode takes what public tools of the language write, and
says what it tolerated: the same codes as warnings. Beside the flaws a check finds out what every source
reads, so that a workflow that was checked need not be understood a second time.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import msgspec

from einthoven.workflow.constraints import PROPERTIES, Stand, plan_number, rule_of, value_of
from einthoven.workflow.expressions import (
    Block,
    MalformedExpression,
    Replicate,
    known_type,
    parse_bound,
    parse_constant,
    parse_distribution,
    parse_element_index,
    parse_resource,
)
from einthoven.workflow.flaws import Flaw, Mode, Path, Place, listed, short
from einthoven.workflow.model import (
    KEYS,
    TYPES,
    Body,
    Compound,
    Condition,
    Construct,
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
    SubWorkflow,
    Switch,
    While,
    Workflow,
    bodies_of,
    constructs_in,
)
from einthoven.workflow.reader import Reading, read
from einthoven.workflow.scopes import Hidden, Nowhere, Producer, Reach, Scope, Seats, Step, Trail
from einthoven.workflow.sources import (
    NAME,
    Files,
    MalformedSource,
    Reference,
    Source,
    parse_reference,
    parse_source,
)

__all__ = [
    "ASYNC_HANDLER",
    "Checked",
    "Flow",
    "FunctionType",
    "check",
    "check_text",
    "is_asynchronous",
    "is_forwarded",
]

ASYNC_HANDLER: Final = "build-in:asyncHandler"
"""The function of the language that waits for asynchronous calls."""

Flow = Files | tuple[Reach | Nowhere | None, ...]
"""What a source reads: files, or the first of several that is there; None is ``NULL``."""


class FunctionType(msgspec.Struct, frozen=True):
    """What a function type takes and gives: the type of each port."""

    name: str
    takes: dict[str, str]
    gives: dict[str, str]
    may_lack: frozenset[str] = frozenset()
    """Inputs that need not be given; they are null then."""


class Checked(msgspec.Struct, frozen=True):
    """A workflow and what was found in it."""

    workflow: Workflow | None
    """None where an error was found."""
    flaws: tuple[Flaw, ...]
    flows: dict[Path, Flow]
    """By the path of the source, operand or bound (of a number in an element-index: the port's path,
    ``element-index``, the reference); of an operand or bound that is a constant there is none."""


def check_text(
    text: str | bytes, mode: Mode = "strict", types: Mapping[str, FunctionType] | None = None
) -> Checked:
    """Read a document and check it; flaws in the order of their places."""
    return check(read(text, mode), mode, types)


def check(
    reading: Reading, mode: Mode = "strict", types: Mapping[str, FunctionType] | None = None
) -> Checked:
    """Check what was read.

    Parameters
    ----------
    types : the function types that can be called; None where they are not known, and calls are not
        checked against them.
    """
    flaws, flows = list(reading.flaws), {}
    if reading.draft is not None:
        checker = _Checker(mode, reading.place, types)
        checker.workflow(reading.draft)
        flaws, flows = flaws + checker.flaws, checker.flows
    flaws.sort(key=lambda one: (one.place.line, one.place.column, one.code))
    is_sound = not any(one.severity == "error" for one in flaws)
    return Checked(reading.workflow if is_sound else None, tuple(flaws), flows)


def is_asynchronous(construct: Construct, inherited: bool) -> bool:
    """Whether a call is only queued; compounds hand their ``invoke-type`` to what is in them."""
    said = value_of(construct.properties, "invoke-type")
    return inherited if said is None else said.strip().upper() == "ASYNC"


_TOLERATED: Final = frozenset(
    {
        "E203",
        "E302",
        "E303",
        "E304",
        "E305",
        "E306",
        "E309",
        "E310",
        "E312",
        "E313",
        "E408",
        "E501",
        "E502",
        "E509",
        "E605",
    }
)
"""Errors in strict mode, warnings in lenient mode."""
_LISTS: Final = frozenset({"array", "collection"})
_ORDER: Final = frozenset({">", ">=", "<", "=<", "<="})
_TEXT_ONLY: Final = frozenset({"startsWith", "endsWith"})
_OPERATORS: Final = _ORDER | _TEXT_ONLY | {"==", "!=", "contains"}
_LENIENT_OPERATORS: Final = frozenset({"≤", "≥"})
_HINTS_MAX: Final = 100
"""Behind so many flaws nobody looks for the name that was meant."""
_SECRETS: Final = ("secret", "privatekey", "accesskey", "sessiontoken", "password")


def _goes_into(given: str | None, wanted: str | None) -> bool:
    return (
        given is None
        or wanted is None
        or given in {wanted, "null"}
        or (given in _LISTS and wanted in _LISTS)
        or (given == "file" and wanted == "string")
    )


class _Checker:
    def __init__(
        self, mode: Mode, place: Callable[[Path], Place], types: Mapping[str, FunctionType] | None
    ) -> None:
        self._mode = mode
        self._place = place
        self._types = types
        self._subs: dict[str, SubWorkflow] = {}
        self._seats = Seats(())
        self._declared: dict[tuple[str, str, str], Path] = {}
        self._consumed: set[tuple[str, str, str]] = set()
        self.flaws: list[Flaw] = []
        self.flows: dict[Path, Flow] = {}

    # ---------------------------------------------------------------- saying

    def _say(
        self, code: str, path: Path, message: str, hint: str = "", *, is_tolerated: bool = False
    ) -> None:
        """``is_tolerated`` says that lenient mode takes this one, though not every flaw of its code."""
        is_lenient = self._mode == "lenient" and (is_tolerated or code in _TOLERATED)
        is_warning = code[0] == "W" or is_lenient
        self.flaws.append(
            Flaw(
                code=code,
                severity="warning" if is_warning else "error",
                path=path,
                place=self._place(path),
                message=message,
                hint=hint,
            )
        )

    # ---------------------------------------------------------------- name spaces

    def workflow(self, one: Workflow) -> None:
        for k, sub in enumerate(one.sub_workflows):
            if sub.name in self._subs:
                self._say(
                    "E202",
                    ("subFCs", k, "name"),
                    f"there are two sub-workflows {short(sub.name)}.",
                    "Rename one.",
                )
            self._subs.setdefault(sub.name, sub)
        self._circles(one)
        for k, sub in enumerate(one.sub_workflows):
            path: Path = ("subFCs", k)
            self._settings(sub.constraints, sub.properties, "sub-workflow", path)
            self._space(sub.name, sub.data_ins, (*path, "subFCBody"), sub.body, sub.data_outs, path)
        self._space(one.name, one.data_ins, ("workflowBody",), one.body, one.data_outs, ())

    def _circles(self, one: Workflow) -> None:
        """Sub-workflows that lead back to themselves."""
        number = {sub.name: k for k, sub in reversed(tuple(enumerate(one.sub_workflows)))}
        ended: set[str] = set()
        for start in self._subs:
            trail = {} if start in ended else {start: self._called_by(start)}
            while trail:
                caller = next(reversed(trail))
                callee = next(trail[caller], None)
                if callee is None:
                    del trail[caller]
                    ended.add(caller)
                elif callee in trail:
                    self._say(
                        "E205",
                        ("subFCs", number[caller], "name"),
                        f"{short(caller)} calls {short(callee)}, which leads back to it.",
                        "Use while or for.",
                    )
                elif callee not in ended:
                    trail[callee] = self._called_by(callee)

    def _called_by(self, name: str) -> Iterator[str]:
        """The sub-workflows that a sub-workflow calls, each once."""
        functions = (one for one in constructs_in(self._subs[name].body) if isinstance(one, Function))
        return iter(
            dict.fromkeys(one.type for one in functions if one.type is not None and one.type in self._subs)
        )

    def _space(
        self,
        name: str,
        ins: tuple[DataIn, ...],
        body_path: Path,
        body: Body,
        outs: tuple[DataOut, ...],
        path: Path,
    ) -> None:
        """One name space: a workflow or a sub-workflow."""
        self._seats = Seats(body, name, {one.name: one.type for one in ins})
        self._declared, self._consumed = {}, set()
        self._name(name, (*path, "name"))
        self._unique_names(name, body, body_path)
        self._unique_ports(ins, (*path, "dataIns"))
        self._unique_ports(outs, (*path, "dataOuts"))
        for k, port in enumerate(ins):
            self._root_input(port, (*path, "dataIns", k))
            self._declared["in", name, port.name] = (*path, "dataIns", k)
        scope = Scope()
        scope.producers[name] = Producer("in", {port.name: self._known(port.type) for port in ins})
        self._body(body, body_path, scope, (), is_async=False)
        for k, out in enumerate(outs):
            self._output(out, (*path, "dataOuts", k), "dataOut", scope, None, ())
        for key, at in self._declared.items():
            if key not in self._consumed:
                self._say("W606", at, f"nobody reads {short(f'{key[1]}/{key[2]}')}.", "Remove the port.")

    def _unique_names(self, owner: str, body: Body, body_path: Path) -> None:
        seen = {owner}
        for one, path in _placed(body, body_path):
            self._name(one.name, (*path, "name"))
            if one.name in seen:
                self._say(
                    "E202",
                    (*path, "name"),
                    f"the name {short(one.name)} is used twice.",
                    "Rename one of the two.",
                )
            seen.add(one.name)

    def _name(self, name: str, path: Path) -> None:
        if name == "NULL":
            self._say("E204", path, "NULL is a word of the language.", "Choose another name.")
        elif NAME.fullmatch(name) is None:
            self._say(
                "E201",
                path,
                f"{short(name)} cannot be a name.",
                "A letter or _, then letters, digits and _ . - are wanted.",
            )

    def _unique_ports(
        self, ports: Iterable[DataIn | DataOut | DataLoop], path: Path, seen: set[str] | None = None
    ) -> None:
        seen = set() if seen is None else seen
        for k, port in enumerate(ports):
            self._name(port.name, (*path, k, "name"))
            if port.name in seen:
                self._say(
                    "E203",
                    (*path, k, "name"),
                    f"there are two ports {short(port.name)}.",
                    "Rename one of the two.",
                )
            seen.add(port.name)
            plain = port.name.lower().replace("_", "").replace("-", "")
            if any(word in plain for word in _SECRETS):
                self._say(
                    "E605",
                    (*path, k, "name"),
                    f"{short(port.name)} looks like a credential.",
                    "Give secrets to whoever invokes the function, never to a workflow.",
                )

    def _known(self, written: str) -> str | None:
        type_ = known_type(written) if self._mode == "lenient" else written
        return type_ if type_ in TYPES else None

    def _type(self, written: str, path: Path) -> str | None:
        if written not in TYPES:
            self._say(
                "E312",
                (*path, "type"),
                f"there is no type {short(written)}.",
                f"Known are: {', '.join(TYPES)}.",
            )
        return self._known(written)

    # ---------------------------------------------------------------- ports

    def _root_input(self, port: DataIn, path: Path) -> None:
        self._type(port.type, path)
        self._settings(port.constraints, port.properties, "dataIn", path)
        if port.source is None and port.value is None:
            self._say(
                "E307",
                path,
                f"the input {short(port.name)} has neither source nor value.",
                "Add a source: its key.",
            )
        elif port.source is not None and port.value is not None:
            self._say(
                "E308",
                path,
                f"the input {short(port.name)} has both source and value.",
                "Remove one of them.",
            )
        self._constant(port, path)

    def _constant(self, port: DataIn | DataLoop, path: Path) -> None:
        type_ = self._known(port.type)
        if port.value is None or type_ is None:
            return
        try:
            parse_constant(port.value, type_)
        except MalformedExpression as error:
            self._say("E311", (*path, "value"), f"this is no constant of type {type_}: {error}.")

    def _inputs(self, one: Construct, path: Path, scope: Scope, trail: Trail) -> dict[str, str | None]:
        """Check the dataIns of a construct; the type of each."""
        stand: Stand = "dataIn of a parallelFor" if isinstance(one, ParallelFor) else "dataIn"
        types: dict[str, str | None] = {}
        for k, port in enumerate(one.data_ins):
            at: Path = (*path, "dataIns", k)
            types[port.name] = self._type(port.type, at)
            self._settings(port.constraints, port.properties, stand, at)
            if port.source is not None and port.value is not None:
                self._say("E308", at, f"{short(port.name)} has both source and value.", "Remove one of them.")
            elif port.source is not None:
                given = self._source(port.source, (*at, "source"), scope, one.name, trail)
                self._delivered(port, at, given, stand)
            elif port.value is None:
                said = f"{short(port.name)} has neither source nor value."
                self._say("E307", at, said, "Add a source.", is_tolerated=_is_stored(port))
            self._numbers(port, at, scope, one.name, trail)
            if not (isinstance(one, Function) and one.type == ASYNC_HANDLER):
                self._constant(port, at)
        return types

    def _numbers(self, port: DataIn, at: Path, scope: Scope, reader: str, trail: Trail) -> None:
        """The numbers of an element-index that are known at run time only."""
        for k, one in enumerate(port.constraints):
            if one.name != "element-index":
                continue
            try:
                index = parse_element_index(one.value)
            except MalformedExpression:
                continue
            for reference in index.references:
                path: Path = (*at, "constraints", k, "value")
                reach = self._reach(reference, path, scope, reader, trail)
                self.flows[(*at, "element-index", str(reference))] = (reach,)
                self._number(reach, reference, path)

    def _number(self, reach: Reach | Nowhere, reference: Reference, path: Path) -> None:
        if isinstance(reach, Reach) and reach.type not in {"number", None}:
            self._say(
                "E310", path, f"{short(str(reference))} is of type {reach.type}, and a number is wanted."
            )

    def _delivered(self, port: DataIn, at: Path, given: list[str | None], stand: Stand) -> None:
        """Whether what a source gives, after index and distribution, is what the port wants."""
        wanted = self._known(port.type)
        index_text = value_of(port.constraints, "element-index")
        how_text = value_of(port.constraints, "distribution") if stand != "dataIn" else None
        try:
            index = None if index_text is None else parse_element_index(index_text)
            how = None if how_text is None else parse_distribution(how_text)
        except MalformedExpression:
            return
        if index is not None:
            if any(one is not None and one not in _LISTS for one in given):
                self._say("E310", at, f"only a list has elements, and {short(port.source or '')} is none.")
            given = [None if index.is_single and how is None else "array"]
        if how == Block(1):
            return
        if how is not None and not isinstance(how, Replicate):
            given = ["array"]
        self._fits(given, wanted, port, (*at, "source"))

    def _output(
        self, port: DataOut, path: Path, stand: Stand, scope: Scope, owner: Compound | None, trail: Trail
    ) -> None:
        """One dataOut of a compound, or of a workflow (``owner`` is None)."""
        wanted = self._type(port.type, path)
        self._settings(port.constraints, port.properties, stand, path)
        if port.source is None:
            self._say("E104", path, f"{short(port.name)} has no source.", "Say which value it is.")
            return
        at: Path = (*path, "source")
        if isinstance(owner, ParallelFor) and _is_passed_on(port.source, owner):
            self._consumed.add(("in", owner.name, port.source))
            self.flows[at] = (Reach("in", owner.name, port.source, (), wanted),)
            said, hint = short(port.source), f"Write it behind {short(owner.name)}/."
            self._say("E301", at, f"{said} is a bare name.", hint, is_tolerated=True)
            return
        given = self._value_of(port.source, at, scope, owner.name if owner else None, trail)
        flow = self.flows.get(at)
        if flow is None or isinstance(flow, Files):
            return
        is_several = len([one for one in flow if one is not None]) > 1
        is_list = wanted is None or wanted in _LISTS
        aggregation = (value_of(port.constraints, "aggregation") or "").strip()
        if isinstance(owner, Parallel) and is_several:
            if not aggregation and wanted != "collection":
                self._say(
                    "E309", at, "all of these exist.", 'Add the constraint aggregation: "+", "*" or ",".'
                )
            elif aggregation in {"+", "*"}:
                if not is_list:
                    self._say(
                        "E310",
                        path,
                        f"what is put together is a list, and {short(port.name)} of type {wanted}.",
                    )
                self._fits(given, "array", port, at)
            elif wanted not in {"collection", "object", None}:
                self._say(
                    "E310", path, f"by producer it is an object, and {short(port.name)} of type {wanted}."
                )
            return
        if is_several and not isinstance(owner, If | Switch) and owner is not None:
            self._say("E309", at, f"a {KEYS[type(owner)]} has one source for each dataOut.")
        if isinstance(owner, ParallelFor) and any(
            isinstance(one, Reach) and (one.room, one.producer) != ("in", owner.name) for one in flow
        ):
            if not is_list:
                self._say(
                    "E313",
                    path,
                    f"every iteration gives a value of {short(port.name)}, and its type is {wanted}.",
                    "Make it a collection.",
                )
            return
        self._fits(given, wanted, port, at)

    def _fits(
        self, given: list[str | None], wanted: str | None, port: DataIn | DataOut | DataLoop, path: Path
    ) -> None:
        for one in dict.fromkeys(given):
            if not _goes_into(one, wanted):
                said = f"a value of type {one} is no {wanted}, which {short(port.name)} wants."
                self._say("E310", path, said, "Give both the same type.")

    # ---------------------------------------------------------------- sources

    def _value_of(
        self, text: str, path: Path, scope: Scope, reader: str | None, trail: Trail
    ) -> list[str | None]:
        """What a source reads where files cannot stand."""
        given = self._source(text, path, scope, reader, trail)
        if isinstance(self.flows.get(path), Files):
            self._say("E301", path, "files can only be read by a dataIn.", "Write producer/port.")
            return [None]
        return given

    def _source(
        self, text: str, path: Path, scope: Scope, reader: str | None, trail: Trail
    ) -> list[str | None]:
        """What a source reads; the type of each alternative."""
        try:
            source = parse_source(text)
        except MalformedSource as error:
            self._say("E301", path, f"this is no source: {error}.", "Write producer/port.")
            return [None]
        if isinstance(source, Files):
            self.flows[path] = source
            return ["file" if len(source.urls) == 1 else "collection"]
        return self._alternatives(source, path, scope, reader, trail)

    def _alternatives(
        self, source: Source, path: Path, scope: Scope, reader: str | None, trail: Trail
    ) -> list[str | None]:
        found = [
            None if one is None else self._reach(one, path, scope, reader, trail)
            for one in source.alternatives
        ]
        self.flows[path] = tuple(found)
        return [one.type if isinstance(one, Reach) else None for one in found]

    def _reach(
        self, reference: Reference, path: Path, scope: Scope, reader: str | None, trail: Trail
    ) -> Reach | Nowhere:
        producer = scope.find(reference.producer)
        if producer is None:
            why = self._hidden(reference.producer, path, scope, reader, trail)
            if not why.exists_once:
                return Nowhere(str(reference))
            return self._read("out", reference, self._seats.type_of(reference))
        if reference.port not in producer.ports:
            self._say(
                "E303",
                path,
                f"{short(reference.producer)} has no port {short(reference.port)} that can be read here.",
                f"It has: {listed(producer.ports)}." if producer.ports else "",
            )
            return Nowhere(str(reference))
        if producer.is_pending and not scope.is_joined(reference.producer):
            self._say(
                "E314",
                path,
                f"{short(reference.producer)} is asynchronous, and nothing has waited for it.",
                f"Put a {ASYNC_HANDLER} of invoke-type SYNC in front.",
            )
        return self._read(producer.room, reference, producer.ports[reference.port])

    def _hidden(self, name: str, path: Path, scope: Scope, reader: str | None, trail: Trail) -> Hidden:
        visible = scope.names() if len(self.flaws) < _HINTS_MAX else ()
        why = self._seats.why_hidden(name, reader, trail, visible)
        self._say(why.code, path, why.message, why.hint)
        return why

    def _read(self, room: str, reference: Reference, type_: str | None) -> Reach:
        self._consumed.add((room, reference.producer, reference.port))
        return Reach(
            "in" if room == "in" else "out",
            reference.producer,
            reference.port,
            reference.segments,
            None if reference.segments else type_,
        )

    # ---------------------------------------------------------------- bodies

    def _body(self, body: Body, path: Path, scope: Scope, trail: Trail, *, is_async: bool) -> None:
        for k, one in enumerate(body):
            at: Path = (*path, k, KEYS[type(one)])
            self._unique_ports(one.data_outs, (*at, "dataOuts"))
            self._settings(one.constraints, one.properties, KEYS[type(one)], at)  # type: ignore[arg-type]
            is_queued = is_asynchronous(one, is_async)
            if isinstance(one, Function):
                self._function(one, at, scope, trail, is_queued=is_queued)
            else:
                self._compound(one, at, scope, trail, is_async=is_queued)
            for j, port in enumerate(one.data_outs):
                if not (isinstance(one, Function) and one.type == ASYNC_HANDLER):
                    self._declared["out", one.name, port.name] = (*at, "dataOuts", j)

    def _function(self, one: Function, path: Path, scope: Scope, trail: Trail, *, is_queued: bool) -> None:
        self._unique_ports(one.data_ins, (*path, "dataIns"))
        types = self._inputs(one, path, scope, trail)
        for k, port in enumerate(one.data_outs):
            self._type(port.type, (*path, "dataOuts", k))
            self._settings(port.constraints, port.properties, "dataOut", (*path, "dataOuts", k))
        self._resource(one, path)
        if one.type == ASYNC_HANDLER:
            self._handler(one, path, scope, trail)
            is_queued = False
        elif one.type in self._subs:
            self._call_of_sub(one, path, self._subs[one.type])
        elif one.type is not None and self._types is not None and one.type in self._types:
            known = self._types[one.type]
            callee = f"the function type {short(one.type)}"
            self._call(one, path, known.takes, known.gives, callee, known.may_lack)
        readable = {port.name: self._known(port.type) for port in one.data_outs}
        forwarded = {port.name: types[port.name] for port in one.data_ins if is_forwarded(port)}
        scope.producers[one.name] = Producer("out", readable | forwarded, is_queued)

    def _call_of_sub(self, one: Function, path: Path, sub: SubWorkflow) -> None:
        takes = {port.source or port.name: port.type for port in sub.data_ins if port.value is None}
        gives = {port.name: port.type for port in sub.data_outs}
        self._call(one, path, takes, gives, f"the sub-workflow {short(sub.name)}")

    def _call(
        self,
        one: Function,
        path: Path,
        takes: Mapping[str, str],
        gives: Mapping[str, str],
        callee: str,
        may_lack: frozenset[str] = frozenset(),
    ) -> None:
        sent = {port.name for port in one.data_ins if not port.passing}
        for name in takes:
            if name not in sent and name not in may_lack:
                self._say("E206", path, f"{callee} wants the input {short(name)}.", "Add the dataIn.")
        for k, port in enumerate(one.data_ins):
            at: Path = (*path, "dataIns", k)
            if port.passing:
                continue
            if port.name not in takes:
                self._say(
                    "E206", at, f"{callee} has no input {short(port.name)}.", f"It has: {listed(takes)}."
                )
            elif not _goes_into(self._known(port.type), self._known(takes[port.name])):
                self._say("E310", at, f"{callee} wants {short(port.name)} of type {takes[port.name]}.")
        for k, out in enumerate(one.data_outs):
            at = (*path, "dataOuts", k)
            if out.name not in gives:
                self._say("E206", at, f"{callee} gives no {short(out.name)}.", f"It gives: {listed(gives)}.")
            elif not _goes_into(self._known(gives[out.name]), self._known(out.type)):
                self._say("E310", at, f"{callee} gives {short(out.name)} of type {gives[out.name]}.")

    def _resource(self, one: Function, path: Path) -> None:
        at = _path_of(one.properties, "resource", path)
        said = value_of(one.properties, "resource")
        if said is not None and said.strip():
            try:
                parse_resource(said)
            except MalformedExpression as error:
                self._say("E604", at, f"this is no resource: {error}.")
            return
        is_known = one.type in self._subs or one.type == ASYNC_HANDLER or one.type is None
        if not is_known and (self._types is None or one.type not in self._types):
            self._say(
                "W603",
                at,
                f"{short(one.name)} has no resource.",
                "Whoever runs it must know the function type.",
            )

    def _handler(self, one: Function, path: Path, scope: Scope, trail: Trail) -> None:
        """The built-in that joins: which calls it waits for."""
        names = next((port.value for port in one.data_ins if port.value is not None), None)
        gives = [self._known(port.type) for port in one.data_outs]
        if len(one.data_ins) != 1 or names is None or gives != ["boolean"]:
            self._say(
                "E206",
                path,
                f"{ASYNC_HANDLER} has one dataIn, whose value names functions, and one boolean dataOut.",
            )
            return
        for name in (said.strip() for said in names.split(",")):
            producer = scope.find(name)
            if producer is None:
                self._hidden(name, (*path, "dataIns", 0, "value"), scope, one.name, trail)
        if (value_of(one.properties, "invoke-type") or "SYNC").strip().upper() == "SYNC":
            scope.joined.update(said.strip() for said in names.split(","))

    def _compound(self, one: Compound, path: Path, scope: Scope, trail: Trail, *, is_async: bool) -> None:
        seen: set[str] = set()
        self._unique_ports(one.data_ins, (*path, "dataIns"), seen)
        types = self._inputs(one, path, scope, trail)
        inside = Scope(scope)
        own = Producer("in", types)
        inside.producers[one.name] = own
        for k, port in enumerate(one.data_ins):
            self._declared["in", one.name, port.name] = (*path, "dataIns", k)
        if isinstance(one, For | While):
            self._unique_ports(one.data_loops, (*path, "dataLoops"), seen)
            for k, loop in enumerate(one.data_loops):
                self._loop_begin(loop, (*path, "dataLoops", k), inside, one.name, trail)
            types.update((loop.name, self._known(loop.type)) for loop in one.data_loops)
        match one:
            case If() | While():
                self._condition(one.condition, (*path, "condition"), inside, one.name, trail)
            case Switch():
                self._switch(one, path, inside, trail)
        if isinstance(one, For | ParallelFor):
            self._counter(one.counter, (*path, "loopCounter"), inside, one.name, trail, seen)
            if one.counter.name is not None:
                types[one.counter.name] = "number"
        within = Scope()
        within.producers[one.name] = own
        for k, (tail, body) in enumerate(bodies_of(one)):
            room = Scope(inside)
            step = Step(one.name, isinstance(one, For | While | ParallelFor), isinstance(one, Parallel), k)
            self._body(body, (*path, *tail), room, (*trail, step), is_async=is_async)
            within.producers.update(room.producers)
            within.joined.update(room.joined)
        if isinstance(one, Sequence | Parallel):
            scope.joined.update(within.joined)
        if isinstance(one, For | While):
            for k, loop in enumerate(one.data_loops):
                self._loop_end(loop, (*path, "dataLoops", k), within, one.name, trail)
        stand: Stand = "dataOut"
        if isinstance(one, Parallel):
            stand = "dataOut of a parallel"
        elif isinstance(one, ParallelFor):
            stand = "dataOut of a parallelFor"
        for k, out in enumerate(one.data_outs):
            self._output(out, (*path, "dataOuts", k), stand, within, one, trail)
        scope.producers[one.name] = Producer(
            "out", {out.name: self._known(out.type) for out in one.data_outs}
        )

    # ---------------------------------------------------------------- loops and branches

    def _loop_begin(self, loop: DataLoop, path: Path, scope: Scope, reader: str, trail: Trail) -> None:
        self._type(loop.type, path)
        self._settings(loop.constraints, loop.properties, "dataLoop", path)
        self._constant(loop, path)
        if (loop.init_source is None) == (loop.value is None):
            self._say(
                "E406",
                path,
                f"{short(loop.name)} needs initSource or value, and not both.",
                "Say how it begins.",
            )
        if loop.init_source is not None:
            given = self._source(loop.init_source, (*path, "initSource"), scope, reader, trail)
            self._fits(given, self._known(loop.type), loop, (*path, "initSource"))

    def _loop_end(self, loop: DataLoop, path: Path, within: Scope, reader: str, trail: Trail) -> None:
        if loop.loop_source is None:
            self._say(
                "E406",
                path,
                f"{short(loop.name)} has no loopSource.",
                "Say which value the next iteration gets.",
            )
            return
        given = self._value_of(loop.loop_source, (*path, "loopSource"), within, reader, trail)
        self._fits(given, self._known(loop.type), loop, (*path, "loopSource"))

    def _counter(
        self, counter: LoopCounter, path: Path, scope: Scope, reader: str, trail: Trail, seen: set[str]
    ) -> None:
        if counter.name is not None:
            self._name(counter.name, (*path, "name"))
            if counter.name in seen:
                self._say(
                    "E203",
                    (*path, "name"),
                    f"there is a port {short(counter.name)} too.",
                    "Rename one of the two.",
                )
        if counter.type is not None and self._type(counter.type, path) not in {"number", None}:
            self._say("E310", (*path, "type"), "a counter is of type number.")
        for key, text in (("from", counter.begin), ("to", counter.end), ("step", counter.step)):
            if text is None:
                continue
            try:
                bound = parse_bound(text)
            except MalformedExpression as error:
                self._say("E404", (*path, key), f"{error}.", "Write a whole number, or producer/port.")
                continue
            if isinstance(bound, Reference):
                reach = self._reach(bound, (*path, key), scope, reader, trail)
                self.flows[(*path, key)] = (reach,)
                self._number(reach, bound, (*path, key))
            elif key == "step" and bound < 1:
                self._say("E405", (*path, key), "a step must be 1 or more.")

    def _condition(self, condition: Condition, path: Path, scope: Scope, reader: str, trail: Trail) -> None:
        if condition.combined_with not in {"and", "or"}:
            self._say(
                "E402",
                (*path, "combinedWith"),
                "and, or or, is wanted.",
                "With one condition either will do.",
            )
        if not condition.conditions:
            self._say("E402", (*path, "conditions"), "there is no condition.", "Write one at least.")
        for k, one in enumerate(condition.conditions):
            at: Path = (*path, "conditions", k)
            if one.operator not in _OPERATORS:
                self._say(
                    "E401",
                    (*at, "operator"),
                    f"there is no operator {short(one.operator)}.",
                    f"Known are: {', '.join(sorted(_OPERATORS))}.",
                    is_tolerated=one.operator in _LENIENT_OPERATORS,
                )
            first = self._operand(one.data1, (*at, "data1"), scope, reader, trail)
            second = self._operand(one.data2, (*at, "data2"), scope, reader, trail)
            if one.operator in _ORDER | _LENIENT_OPERATORS and "string" in {first, second}:
                self._say("E403", at, "strings have no order.", "Compare numbers.")

    def _operand(self, text: str, path: Path, scope: Scope, reader: str, trail: Trail) -> str | None:
        """The type of an operand, as far as it is known; what cannot be read is a constant."""
        try:
            reference = parse_reference(text)
        except MalformedSource:
            return None if _is_json(text) else "string"
        producer = scope.find(reference.producer)
        if producer is None and reference.producer in self._seats:
            why = self._seats.why_hidden(reference.producer, reader, trail, ())
            if self._mode == "strict" or not why.exists_once or self._seats.type_of(reference) is None:
                self._say("W608", path, f"this is taken as a text: {why.message}", why.hint)
                return "string"
        elif producer is None or reference.port not in producer.ports:
            if producer is not None:
                said = f"{short(reference.producer)} has no port {short(reference.port)}."
                known = f"It has: {listed(producer.ports)}." if producer.ports else ""
                self._say("W608", path, f"this is taken as a text: {said}", known)
            return "string"
        reach = self._reach(reference, path, scope, reader, trail)
        self.flows[path] = (reach,)
        return reach.type if isinstance(reach, Reach) else None

    def _switch(self, one: Switch, path: Path, scope: Scope, trail: Trail) -> None:
        looked_at, at = one.data_eval, (*path, "dataEval")
        type_ = self._known(looked_at.type)
        if type_ not in {"string", "number"}:
            self._say("E409", at, "what a switch looks at is of type string or number.")
            type_ = None
        given = self._value_of(looked_at.source, (*at, "source"), scope, one.name, trail)
        for found in dict.fromkeys(given):
            if not _goes_into(found, type_):
                self._say("E310", (*at, "source"), f"a value of type {found} is no {type_}.")
        ended: set[object] = set()
        for k, case in enumerate(one.cases):
            value: object = case.value
            if type_ == "number":
                try:
                    value = parse_constant(case.value, "number")
                except MalformedExpression as error:
                    self._say("E311", (*path, "cases", k, "value"), f"this is no number: {error}.")
                    continue
            if value in ended:
                self._say(
                    "E408",
                    (*path, "cases", k),
                    f"this case is never reached: {short(case.value)} ended the switch before.",
                    "Remove it, or the break of the one before.",
                )
            if case.breaks:
                ended.add(value)

    # ---------------------------------------------------------------- constraints and properties

    def _settings(
        self, constraints: tuple[Setting, ...], properties: tuple[Setting, ...], stand: Stand, path: Path
    ) -> None:
        seen: set[str] = set()
        plans: list[int] = []
        for k, one in enumerate(constraints):
            at: Path = (*path, "constraints", k)
            if one.name in seen:
                self._say("E509", at, f"the constraint {short(one.name)} stands here twice.", "Keep one.")
            seen.add(one.name)
            rule = rule_of(one.name)
            if rule is None:
                if not one.name.startswith("X-"):
                    self._say(
                        "E501", at, f"there is no constraint {short(one.name)}.", "Extensions begin with X-."
                    )
                continue
            if stand not in rule.stands:
                where = " or ".join(sorted(rule.stands))
                self._say(
                    "E502", at, f"{short(one.name)} cannot stand on a {stand}.", f"Put it on a {where}."
                )
            try:
                rule.check(one.value)
            except MalformedExpression as error:
                self._say(rule.code, (*at, "value"), f"{short(one.name)} is malformed: {error}.")
            number = plan_number(one.name)
            plans += [] if number is None else [number]
        if sorted(plans) != list(range(len(plans))):
            self._say(
                "E507",
                (*path, "constraints"),
                "the plans are not numbered 0, 1, 2 and so on.",
                "Number them so.",
            )
        if stand == "while" and "X-maxIterations" not in seen:
            self._say("W607", path, "it may run 10,000 times.", "Add the constraint X-maxIterations.")
        for k, one in enumerate(properties):
            at = (*path, "properties", k)
            if one.name not in PROPERTIES and not one.name.startswith("X-"):
                self._say(
                    "W601",
                    at,
                    f"nobody knows the property {short(one.name)}.",
                    "It is kept, and has no effect.",
                )
            if one.name == "invoke-type" and one.value.strip().upper() not in {"SYNC", "ASYNC"}:
                self._say("E602", (*at, "value"), "SYNC or ASYNC is wanted.")


def is_forwarded(port: DataIn) -> bool:
    """Whether an input of a function can be read behind it (``passing``, or the property ``replicate``)."""
    return port.passing or (value_of(port.properties, "replicate") or "").strip().lower() == "true"


def _is_passed_on(source: str, owner: ParallelFor) -> bool:
    """A bare name that a ``passing`` input of a parallelFor makes readable, as in public workflows."""
    return any(port.name == source and port.passing for port in owner.data_ins)


def _placed(body: Body, path: Path) -> Iterable[tuple[Construct, Path]]:
    for k, one in enumerate(body):
        at: Path = (*path, k, KEYS[type(one)])
        yield one, at
        for tail, inner in bodies_of(one):
            yield from _placed(inner, (*at, *tail))


def _path_of(settings: tuple[Setting, ...], name: str, path: Path) -> Path:
    at = [k for k, one in enumerate(settings) if one.name == name]
    return (*path, "properties", at[-1], "value") if at else path


def _is_stored(port: DataIn) -> bool:
    """A port whose value a scheduler fills in: data that functions upload."""
    return any(one.name in {"datatransfer", "uploadId", "fileamount", "filesize"} for one in port.properties)


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, UnicodeEncodeError):
        return False
    return True
