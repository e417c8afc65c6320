"""The ports of constructs and workflows together with what is wired to them."""

from einthoven.workflow.constraints import Stand, value_of
from einthoven.workflow.declarations import check_constant, check_type, known
from einthoven.workflow.expressions import MalformedExpression, parse_element_index
from einthoven.workflow.fitting import LISTS, check_delivery, check_fit
from einthoven.workflow.flaws import Path, short
from einthoven.workflow.model import (
    ASYNC_HANDLER,
    KEYS,
    Compound,
    Construct,
    DataIn,
    DataLoop,
    DataOut,
    Function,
    If,
    Parallel,
    ParallelFor,
    Switch,
)
from einthoven.workflow.report import Report
from einthoven.workflow.scopes import Reach
from einthoven.workflow.settings import check_settings
from einthoven.workflow.sources import Files
from einthoven.workflow.wiring import Reaches, Types, Viewpoint, Wiring

__all__ = [
    "check_inputs",
    "check_loop_begin",
    "check_loop_end",
    "check_output",
    "check_root_input",
]


# -------------------------------------------------------------------- inputs


def check_root_input(report: Report, port: DataIn, path: Path) -> None:
    """One dataIn of a workflow or sub-workflow: its source is a key."""
    check_type(report, port.type, path)
    check_settings(report, port.constraints, port.properties, "dataIn", path)
    if port.source is None and port.value is None:
        said = f"the input {short(port.name)} has neither source nor value."
        report.say("E307", path, said, "Add a source: its key.")
    elif port.source is not None and port.value is not None:
        said = f"the input {short(port.name)} has both source and value."
        report.say("E308", path, said, "Remove one of them.")
    check_constant(report, port, path)


def check_inputs(wiring: Wiring, one: Construct, path: Path, view: Viewpoint) -> dict[str, str | None]:
    """The dataIns of a construct; the type of each."""
    report = wiring.report
    is_distributed = isinstance(one, ParallelFor)
    stand: Stand = "dataIn of a parallelFor" if is_distributed else "dataIn"
    types: dict[str, str | None] = {}
    for k, port in enumerate(one.data_ins):
        at: Path = (*path, "dataIns", k)
        types[port.name] = check_type(report, port.type, at)
        check_settings(report, port.constraints, port.properties, stand, at)
        if port.source is not None and port.value is not None:
            report.say("E308", at, f"{short(port.name)} has both source and value.", "Remove one of them.")
        elif port.source is not None:
            given = wiring.source(port.source, (*at, "source"), view)
            check_delivery(report, port, at, given, is_distributed=is_distributed)
        elif port.value is None:
            said = f"{short(port.name)} has neither source nor value."
            report.say("E307", at, said, "Add a source.", is_tolerated=_is_stored(port))
        _numbers(wiring, port, at, view)
        if not (isinstance(one, Function) and one.type == ASYNC_HANDLER):
            check_constant(report, port, at)
    return types


def _is_stored(port: DataIn) -> bool:
    """A port whose value a scheduler fills in: data that functions upload."""
    return any(one.name in {"datatransfer", "uploadId", "fileamount", "filesize"} for one in port.properties)


def _numbers(wiring: Wiring, port: DataIn, path: Path, view: Viewpoint) -> None:
    """The numbers of an element-index that are known at run time only."""
    for k, one in enumerate(port.constraints):
        if one.name != "element-index":
            continue
        try:
            index = parse_element_index(one.value)
        except MalformedExpression:
            continue
        for reference in index.references:
            key: Path = (*path, "element-index", str(reference))
            wiring.number(reference, (*path, "constraints", k, "value"), key, view)


# -------------------------------------------------------------------- what iterations hand on


def check_loop_begin(wiring: Wiring, loop: DataLoop, path: Path, view: Viewpoint) -> None:
    """A dataLoop by itself, and what the first iteration gets."""
    report = wiring.report
    type_ = check_type(report, loop.type, path)
    check_settings(report, loop.constraints, loop.properties, "dataLoop", path)
    check_constant(report, loop, path)
    if (loop.init_source is None) == (loop.value is None):
        said = f"{short(loop.name)} needs initSource or value, and not both."
        report.say("E406", path, said, "Say how it begins.")
    if loop.init_source is not None:
        given = wiring.source(loop.init_source, (*path, "initSource"), view)
        check_fit(report, given, type_, loop, (*path, "initSource"))


def check_loop_end(wiring: Wiring, loop: DataLoop, path: Path, view: Viewpoint) -> None:
    """What the next iteration gets."""
    report = wiring.report
    if loop.loop_source is None:
        said = f"{short(loop.name)} has no loopSource."
        report.say("E406", path, said, "Say which value the next iteration gets.")
        return
    given = wiring.values(loop.loop_source, (*path, "loopSource"), view)
    check_fit(report, given, known(loop.type, report.mode), loop, (*path, "loopSource"))


# -------------------------------------------------------------------- outputs


def check_output(wiring: Wiring, port: DataOut, path: Path, owner: Compound | None, view: Viewpoint) -> None:
    """One dataOut of a compound, or of a workflow (``owner`` is None)."""
    report = wiring.report
    wanted = check_type(report, port.type, path)
    check_settings(report, port.constraints, port.properties, _stand_of(owner), path)
    if port.source is None:
        report.say("E104", path, f"{short(port.name)} has no source.", "Say which value it is.")
        return
    at: Path = (*path, "source")
    if isinstance(owner, ParallelFor) and _is_passed_on(port.source, owner):
        wiring.passed_on(owner.name, port.source, at, wanted)
        said, hint = short(port.source), f"Write it behind {short(owner.name)}/."
        report.say("E301", at, f"{said} is a bare name.", hint, is_tolerated=True)
        return
    given = wiring.values(port.source, at, view)
    flow = wiring.flows.get(at)
    if flow is None or isinstance(flow, Files):
        return
    is_several = len([one for one in flow if one is not None]) > 1
    if is_several and isinstance(owner, Parallel):
        _gathered(report, port, path, wanted, given)
        return
    if is_several and not isinstance(owner, If | Switch) and owner is not None:
        report.say("E309", at, f"a {KEYS[type(owner)]} has one source for each dataOut.")
    if isinstance(owner, ParallelFor) and _comes_from_within(flow, owner):
        if not _is_list(wanted):
            said = f"every iteration gives a value of {short(port.name)}, and its type is {wanted}."
            report.say("E313", path, said, "Make it a collection.")
        return
    check_fit(report, given, wanted, port, at)


def _gathered(report: Report, port: DataOut, path: Path, wanted: str | None, given: Types) -> None:
    """A dataOut of a parallel that several sections give."""
    at: Path = (*path, "source")
    aggregation = (value_of(port.constraints, "aggregation") or "").strip()
    if not aggregation and wanted != "collection":
        report.say("E309", at, "all of these exist.", 'Add the constraint aggregation: "+", "*" or ",".')
    elif aggregation in {"+", "*"}:
        if not _is_list(wanted):
            said = f"what is put together is a list, and {short(port.name)} of type {wanted}."
            report.say("E310", path, said)
        check_fit(report, given, "array", port, at)
    elif wanted not in {"collection", "object", None}:
        said = f"by producer it is an object, and {short(port.name)} of type {wanted}."
        report.say("E310", path, said)


def _stand_of(owner: Compound | None) -> Stand:
    if isinstance(owner, Parallel):
        return "dataOut of a parallel"
    return "dataOut of a parallelFor" if isinstance(owner, ParallelFor) else "dataOut"


def _is_passed_on(source: str, owner: ParallelFor) -> bool:
    """A bare name that a ``passing`` input of a parallelFor makes readable, as in public workflows."""
    return any(port.name == source and port.passing for port in owner.data_ins)


def _comes_from_within(flow: Reaches, owner: ParallelFor) -> bool:
    """Whether it is something else than inputs of the loop."""
    return any(isinstance(one, Reach) and (one.room, one.producer) != ("in", owner.name) for one in flow)


def _is_list(wanted: str | None) -> bool:
    return wanted is None or wanted in LISTS
