"""Whether a workflow makes sense: every error in one pass, each with where it is and how to mend it.

Strict mode is for what is written here; lenient mode takes what public tools of the language write, and
says what it tolerated: the same codes as warnings. Beside the flaws a check finds out what every source
reads, so that a workflow that was checked need not be understood a second time.

Here is the walk through a document and what is visible where; the modules that it imports look at one thing
each.
"""

from collections.abc import Iterable, Mapping

import msgspec

from einthoven.workflow.calling import Callees, FunctionType, callees_of, check_call, check_join
from einthoven.workflow.constraints import is_asynchronous, is_forwarded
from einthoven.workflow.declarations import check_name, check_names, check_ports, check_type, known
from einthoven.workflow.flaws import Flaw, Mode, Path, short
from einthoven.workflow.model import (
    ASYNC_HANDLER,
    KEYS,
    Body,
    Compound,
    DataIn,
    DataLoop,
    DataOut,
    For,
    Function,
    If,
    Parallel,
    ParallelFor,
    Sequence,
    SubWorkflow,
    Switch,
    While,
    Workflow,
    bodies_of,
)
from einthoven.workflow.ports import (
    check_inputs,
    check_loop_begin,
    check_loop_end,
    check_output,
    check_root_input,
)
from einthoven.workflow.reader import Reading, read
from einthoven.workflow.report import Report
from einthoven.workflow.scopes import Producer, Room, Scope, Seats, Step, Trail
from einthoven.workflow.settings import check_settings
from einthoven.workflow.steering import check_condition, check_counter, check_switch
from einthoven.workflow.wiring import Flow, Viewpoint, Wiring

__all__ = ["Checked", "check", "check_text"]


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
    report, flows = Report(mode, reading.place), dict[Path, Flow]()
    if reading.draft is not None:
        _workflow(report, flows, reading.draft, types)
    flaws = sorted(
        (*reading.flaws, *report.flaws), key=lambda one: (one.place.line, one.place.column, one.code)
    )
    is_sound = not any(one.severity == "error" for one in flaws)
    return Checked(reading.workflow if is_sound else None, tuple(flaws), flows)


def _workflow(
    report: Report, flows: dict[Path, Flow], one: Workflow, types: Mapping[str, FunctionType] | None
) -> None:
    callees = callees_of(report, one.sub_workflows, types)
    for k, sub in enumerate(one.sub_workflows):
        path: Path = ("subFCs", k)
        check_settings(report, sub.constraints, sub.properties, "sub-workflow", path)
        _Space(report, flows, callees, sub).check(path, (*path, "subFCBody"))
    _Space(report, flows, callees, one).check((), ("workflowBody",))


class _Space:
    """One name space: a workflow or a sub-workflow."""

    def __init__(
        self, report: Report, flows: dict[Path, Flow], callees: Callees, root: Workflow | SubWorkflow
    ) -> None:
        seats = Seats(root.body, root.name, {one.name: one.type for one in root.data_ins})
        self._root = root
        self._report = report
        self._wiring = Wiring(report, seats, flows)
        self._callees = callees
        self._declared: dict[tuple[Room, str, str], Path] = {}

    def check(self, path: Path, body_path: Path) -> None:
        report, root = self._report, self._root
        check_name(report, root.name, (*path, "name"))
        check_names(report, root.name, root.body, body_path)
        check_ports(report, root.data_ins, (*path, "dataIns"))
        check_ports(report, root.data_outs, (*path, "dataOuts"))
        for k, port in enumerate(root.data_ins):
            check_root_input(report, port, (*path, "dataIns", k))
        self._declare("in", root.name, root.data_ins, (*path, "dataIns"))
        scope = Scope()
        scope.producers[root.name] = Producer("in", self._types(root.data_ins))
        self._body(root.body, body_path, scope, (), is_async=False)
        for k, out in enumerate(root.data_outs):
            check_output(self._wiring, out, (*path, "dataOuts", k), None, Viewpoint(scope, None, ()))
        for key, at in self._declared.items():
            if key not in self._wiring.consumed:
                said = f"nobody reads {short(f'{key[1]}/{key[2]}')}."
                report.say("W606", at, said, "Remove the port.")

    def _declare(self, room: Room, name: str, ports: Iterable[DataIn | DataOut], path: Path) -> None:
        """Ports that somebody should read."""
        for k, port in enumerate(ports):
            self._declared[room, name, port.name] = (*path, k)

    def _types(self, ports: Iterable[DataIn | DataOut | DataLoop]) -> dict[str, str | None]:
        return {port.name: known(port.type, self._report.mode) for port in ports}

    def _body(self, body: Body, path: Path, scope: Scope, trail: Trail, *, is_async: bool) -> None:
        for k, one in enumerate(body):
            at: Path = (*path, k, KEYS[type(one)])
            check_ports(self._report, one.data_outs, (*at, "dataOuts"))
            check_settings(self._report, one.constraints, one.properties, KEYS[type(one)], at)  # type: ignore[arg-type]
            view, is_queued = Viewpoint(scope, one.name, trail), is_asynchronous(one, is_async)
            if isinstance(one, Function):
                self._function(one, at, view, is_queued=is_queued)
            else:
                self._compound(one, at, view, is_async=is_queued)
            if not (isinstance(one, Function) and one.type == ASYNC_HANDLER):
                self._declare("out", one.name, one.data_outs, (*at, "dataOuts"))

    def _function(self, one: Function, path: Path, view: Viewpoint, *, is_queued: bool) -> None:
        report = self._report
        check_ports(report, one.data_ins, (*path, "dataIns"))
        types = check_inputs(self._wiring, one, path, view)
        for k, port in enumerate(one.data_outs):
            at: Path = (*path, "dataOuts", k)
            check_type(report, port.type, at)
            check_settings(report, port.constraints, port.properties, "dataOut", at)
        check_call(report, one, path, self._callees)
        if one.type == ASYNC_HANDLER:
            check_join(self._wiring, one, path, view)
            is_queued = False
        forwarded = {port.name: types[port.name] for port in one.data_ins if is_forwarded(port)}
        readable = self._types(one.data_outs) | forwarded
        view.scope.producers[one.name] = Producer("out", readable, is_queued)

    # ---------------------------------------------------------------- compounds

    def _compound(self, one: Compound, path: Path, view: Viewpoint, *, is_async: bool) -> None:
        wiring, seen = self._wiring, set[str]()
        check_ports(self._report, one.data_ins, (*path, "dataIns"), seen)
        types = check_inputs(wiring, one, path, view)
        inside = view._replace(scope=Scope(view.scope))
        own = Producer("in", types)
        inside.scope.producers[one.name] = own
        self._declare("in", one.name, one.data_ins, (*path, "dataIns"))
        if isinstance(one, For | While):
            check_ports(self._report, one.data_loops, (*path, "dataLoops"), seen)
            for k, loop in enumerate(one.data_loops):
                check_loop_begin(wiring, loop, (*path, "dataLoops", k), inside)
            types.update(self._types(one.data_loops))
        match one:
            case If() | While():
                check_condition(wiring, one.condition, (*path, "condition"), inside)
            case Switch():
                check_switch(wiring, one, path, inside)
        if isinstance(one, For | ParallelFor):
            check_counter(wiring, one.counter, (*path, "loopCounter"), inside, seen)
            if one.counter.name is not None:
                types[one.counter.name] = "number"
        within = view._replace(scope=self._bodies(one, path, inside, own, is_async=is_async))
        if isinstance(one, Sequence | Parallel):
            view.scope.joined.update(within.scope.joined)
        if isinstance(one, For | While):
            for k, loop in enumerate(one.data_loops):
                check_loop_end(wiring, loop, (*path, "dataLoops", k), within)
        for k, out in enumerate(one.data_outs):
            check_output(wiring, out, (*path, "dataOuts", k), one, within)
        view.scope.producers[one.name] = Producer("out", self._types(one.data_outs))

    def _bodies(
        self, one: Compound, path: Path, inside: Viewpoint, own: Producer, *, is_async: bool
    ) -> Scope:
        """Check the bodies of a compound, none of which sees another; what its outputs see."""
        within = Scope()
        within.producers[one.name] = own
        for k, (tail, body) in enumerate(bodies_of(one)):
            room = Scope(inside.scope)
            step = Step(one.name, isinstance(one, For | While | ParallelFor), isinstance(one, Parallel), k)
            self._body(body, (*path, *tail), room, (*inside.trail, step), is_async=is_async)
            within.producers.update(room.producers)
            within.joined.update(room.joined)
        return within
