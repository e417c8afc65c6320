"""What decides which bodies run and how often: counters, conditions, and what a switch looks at."""

from typing import Final

from einthoven.workflow.declarations import check_name, check_type, known
from einthoven.workflow.expressions import MalformedExpression, parse_bound, parse_constant
from einthoven.workflow.fitting import goes_into
from einthoven.workflow.flaws import Path, short
from einthoven.workflow.model import Case, Condition, LoopCounter, Switch
from einthoven.workflow.report import Report
from einthoven.workflow.sources import Reference
from einthoven.workflow.wiring import Viewpoint, Wiring

__all__ = ["check_condition", "check_counter", "check_switch"]

_ORDER: Final = frozenset({">", ">=", "<", "=<", "<="})
_TEXT_ONLY: Final = frozenset({"startsWith", "endsWith"})
_OPERATORS: Final = _ORDER | _TEXT_ONLY | {"==", "!=", "contains"}
_LENIENT_OPERATORS: Final = frozenset({"≤", "≥"})


def check_counter(wiring: Wiring, counter: LoopCounter, path: Path, view: Viewpoint, ports: set[str]) -> None:
    """The counter of a loop that has these ports."""
    report = wiring.report
    if counter.name is not None:
        check_name(report, counter.name, (*path, "name"))
        if counter.name in ports:
            said = f"there is a port {short(counter.name)} too."
            report.say("E203", (*path, "name"), said, "Rename one of the two.")
    if counter.type is not None and check_type(report, counter.type, path) not in {"number", None}:
        report.say("E310", (*path, "type"), "a counter is of type number.")
    for key, text in (("from", counter.begin), ("to", counter.end), ("step", counter.step)):
        if text is None:
            continue
        at: Path = (*path, key)
        try:
            bound = parse_bound(text)
        except MalformedExpression as error:
            report.say("E404", at, f"{error}.", "Write a whole number, or producer/port.")
            continue
        if isinstance(bound, Reference):
            wiring.number(bound, at, at, view)
        elif key == "step" and bound < 1:
            report.say("E405", at, "a step must be 1 or more.")


def check_condition(wiring: Wiring, condition: Condition, path: Path, view: Viewpoint) -> None:
    """The terms of a condition and how they are combined."""
    report = wiring.report
    if condition.combined_with not in {"and", "or"}:
        hint = "With one condition either will do."
        report.say("E402", (*path, "combinedWith"), "and, or or, is wanted.", hint)
    if not condition.conditions:
        report.say("E402", (*path, "conditions"), "there is no condition.", "Write one at least.")
    for k, one in enumerate(condition.conditions):
        at: Path = (*path, "conditions", k)
        if one.operator not in _OPERATORS:
            report.say(
                "E401",
                (*at, "operator"),
                f"there is no operator {short(one.operator)}.",
                f"Known are: {', '.join(sorted(_OPERATORS))}.",
                is_tolerated=one.operator in _LENIENT_OPERATORS,
            )
        first = wiring.operand(one.data1, (*at, "data1"), view)
        second = wiring.operand(one.data2, (*at, "data2"), view)
        if one.operator in _ORDER | _LENIENT_OPERATORS and "string" in {first, second}:
            report.say("E403", at, "strings have no order.", "Compare numbers.")


def check_switch(wiring: Wiring, one: Switch, path: Path, view: Viewpoint) -> None:
    """What a switch looks at, and its cases."""
    report = wiring.report
    looked_at, at = one.data_eval, (*path, "dataEval")
    type_ = known(looked_at.type, report.mode)
    if type_ not in {"string", "number"}:
        report.say("E409", at, "what a switch looks at is of type string or number.")
        type_ = None
    for found in dict.fromkeys(wiring.values(looked_at.source, (*at, "source"), view)):
        if not goes_into(found, type_):
            report.say("E310", (*at, "source"), f"a value of type {found} is no {type_}.")
    _cases(report, one.cases, path, type_)


def _cases(report: Report, cases: tuple[Case, ...], path: Path, type_: str | None) -> None:
    ended: set[object] = set()
    for k, case in enumerate(cases):
        value: object = case.value
        if type_ == "number":
            try:
                value = parse_constant(case.value, "number")
            except MalformedExpression as error:
                report.say("E311", (*path, "cases", k, "value"), f"this is no number: {error}.")
                continue
        if value in ended:
            report.say(
                "E408",
                (*path, "cases", k),
                f"this case is never reached: {short(case.value)} ended the switch before.",
                "Remove it, or the break of the one before.",
            )
        if case.breaks:
            ended.add(value)
