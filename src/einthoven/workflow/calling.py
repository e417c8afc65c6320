"""Calls: what can be called, with which ports, where it runs, and who calls whom in a circle."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from einthoven.workflow.constraints import value_of
from einthoven.workflow.declarations import known
from einthoven.workflow.expressions import MalformedExpression, parse_resource
from einthoven.workflow.fitting import goes_into
from einthoven.workflow.flaws import Path, listed, short
from einthoven.workflow.model import ASYNC_HANDLER, Function, Setting, SubWorkflow, constructs_in
from einthoven.workflow.report import Report
from einthoven.workflow.wiring import Viewpoint, Wiring

__all__ = ["Callees", "FunctionType", "callees_of", "check_call", "check_join"]


class FunctionType(msgspec.Struct, frozen=True):
    """What a function type takes and gives: the type of each port."""

    name: str
    takes: dict[str, str]
    gives: dict[str, str]
    may_lack: frozenset[str] = frozenset()
    """Inputs that need not be given; they are null then."""


class Callees(NamedTuple):
    """What can be called."""

    subs: Mapping[str, SubWorkflow]
    types: Mapping[str, FunctionType] | None
    """None where they are not known."""


# -------------------------------------------------------------------- sub-workflows


def callees_of(
    report: Report, subs: Sequence[SubWorkflow], types: Mapping[str, FunctionType] | None
) -> Callees:
    """Sub-workflows by name, and whether each has one of its own and leads nowhere back."""
    found: dict[str, SubWorkflow] = {}
    for k, sub in enumerate(subs):
        if sub.name in found:
            said = f"there are two sub-workflows {short(sub.name)}."
            report.say("E202", ("subFCs", k, "name"), said, "Rename one.")
        found.setdefault(sub.name, sub)
    number = {sub.name: k for k, sub in reversed(tuple(enumerate(subs)))}
    for caller, callee in _circles(found):
        said = f"{short(caller)} calls {short(callee)}, which leads back to it."
        report.say("E205", ("subFCs", number[caller], "name"), said, "Use while or for.")
    return Callees(found, types)


def _circles(subs: Mapping[str, SubWorkflow]) -> Iterator[tuple[str, str]]:
    """Who calls one that leads back to it."""
    ended: set[str] = set()
    for start in subs:
        trail = {} if start in ended else {start: _called_by(start, subs)}
        while trail:
            caller = next(reversed(trail))
            callee = next(trail[caller], None)
            if callee is None:
                del trail[caller]
                ended.add(caller)
            elif callee in trail:
                yield caller, callee
            elif callee not in ended:
                trail[callee] = _called_by(callee, subs)


def _called_by(name: str, subs: Mapping[str, SubWorkflow]) -> Iterator[str]:
    """The sub-workflows that a sub-workflow calls, each once."""
    functions = (one for one in constructs_in(subs[name].body) if isinstance(one, Function))
    return iter(dict.fromkeys(one.type for one in functions if one.type is not None and one.type in subs))


# -------------------------------------------------------------------- one call


def check_call(report: Report, one: Function, path: Path, callees: Callees) -> None:
    """Where a function runs, and whether its ports are those of what it calls."""
    sub = None if one.type is None else callees.subs.get(one.type)
    type_ = None if one.type is None or callees.types is None else callees.types.get(one.type)
    is_built_in = one.type == ASYNC_HANDLER or one.type is None
    _resource(report, one, path, is_known=is_built_in or sub is not None or type_ is not None)
    if one.type == ASYNC_HANDLER:
        return
    if sub is not None:
        takes = {port.source or port.name: port.type for port in sub.data_ins if port.value is None}
        gives = {port.name: port.type for port in sub.data_outs}
        as_type = FunctionType(sub.name, takes, gives)
        _ports(report, one, path, as_type, f"the sub-workflow {short(sub.name)}")
    elif type_ is not None:
        _ports(report, one, path, type_, f"the function type {short(str(one.type))}")


def _ports(report: Report, one: Function, path: Path, callee: FunctionType, said: str) -> None:
    """Whether a function has the ports of what it calls, which ``said`` tells in words."""
    takes, gives = callee.takes, callee.gives
    sent = {port.name for port in one.data_ins if not port.passing}
    for name in takes:
        if name not in sent and name not in callee.may_lack:
            report.say("E206", path, f"{said} wants the input {short(name)}.", "Add the dataIn.")
    for k, port in enumerate(one.data_ins):
        at: Path = (*path, "dataIns", k)
        if port.passing:
            continue
        if port.name not in takes:
            report.say("E206", at, f"{said} has no input {short(port.name)}.", f"It has: {listed(takes)}.")
        elif not goes_into(known(port.type, report.mode), known(takes[port.name], report.mode)):
            report.say("E310", at, f"{said} wants {short(port.name)} of type {takes[port.name]}.")
    for k, out in enumerate(one.data_outs):
        at = (*path, "dataOuts", k)
        if out.name not in gives:
            report.say("E206", at, f"{said} gives no {short(out.name)}.", f"It gives: {listed(gives)}.")
        elif not goes_into(known(gives[out.name], report.mode), known(out.type, report.mode)):
            report.say("E310", at, f"{said} gives {short(out.name)} of type {gives[out.name]}.")


def _resource(report: Report, one: Function, path: Path, *, is_known: bool) -> None:
    """Where it runs; what is known needs no place."""
    said = value_of(one.properties, "resource")
    if said is not None and said.strip():
        try:
            parse_resource(said)
        except MalformedExpression as error:
            at = _path_of(one.properties, "resource", path)
            report.say("E604", at, f"this is no resource: {error}.")
    elif not is_known:
        hint = "Whoever runs it must know the function type."
        report.say(
            "W603", _path_of(one.properties, "resource", path), f"{short(one.name)} has no resource.", hint
        )


def _path_of(settings: tuple[Setting, ...], name: str, path: Path) -> Path:
    at = [k for k, one in enumerate(settings) if one.name == name]
    return (*path, "properties", at[-1], "value") if at else path


def check_join(wiring: Wiring, one: Function, path: Path, view: Viewpoint) -> None:
    """The built-in that joins: which calls it waits for."""
    report = wiring.report
    names = next((port.value for port in one.data_ins if port.value is not None), None)
    gives = [known(port.type, report.mode) for port in one.data_outs]
    if len(one.data_ins) != 1 or names is None or gives != ["boolean"]:
        said = f"{ASYNC_HANDLER} has one dataIn, whose value names functions, and one boolean dataOut."
        report.say("E206", path, said)
        return
    awaited = [said.strip() for said in names.split(",")]
    for name in awaited:
        if view.scope.find(name) is None:
            wiring.hidden(name, (*path, "dataIns", 0, "value"), view)
    if (value_of(one.properties, "invoke-type") or "SYNC").strip().upper() == "SYNC":
        view.scope.joined.update(awaited)
