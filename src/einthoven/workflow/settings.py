"""The constraints and properties of a construct or port: whether they can stand there and can be read."""

from einthoven.workflow.constraints import PROPERTIES, Stand, plan_number, rule_of
from einthoven.workflow.expressions import MalformedExpression
from einthoven.workflow.flaws import Path, short
from einthoven.workflow.model import Setting
from einthoven.workflow.report import Report

__all__ = ["check_settings"]


def check_settings(
    report: Report,
    constraints: tuple[Setting, ...],
    properties: tuple[Setting, ...],
    stand: Stand,
    path: Path,
) -> None:
    """Check both lists of one construct or port."""
    seen: set[str] = set()
    plans: list[int] = []
    for k, one in enumerate(constraints):
        at: Path = (*path, "constraints", k)
        if one.name in seen:
            report.say("E509", at, f"the constraint {short(one.name)} stands here twice.", "Keep one.")
        seen.add(one.name)
        _constraint(report, one, stand, at)
        number = plan_number(one.name)
        plans += [] if number is None else [number]
    if sorted(plans) != list(range(len(plans))):
        said = "the plans are not numbered 0, 1, 2 and so on."
        report.say("E507", (*path, "constraints"), said, "Number them so.")
    if stand == "while" and "X-maxIterations" not in seen:
        report.say("W607", path, "it may run 10,000 times.", "Add the constraint X-maxIterations.")
    for k, one in enumerate(properties):
        _property(report, one, (*path, "properties", k))


def _constraint(report: Report, one: Setting, stand: Stand, path: Path) -> None:
    rule = rule_of(one.name)
    if rule is None:
        if not one.name.startswith("X-"):
            said = f"there is no constraint {short(one.name)}."
            report.say("E501", path, said, "Extensions begin with X-.")
        return
    if stand not in rule.stands:
        where = " or ".join(sorted(rule.stands))
        report.say("E502", path, f"{short(one.name)} cannot stand on a {stand}.", f"Put it on a {where}.")
    try:
        rule.check(one.value)
    except MalformedExpression as error:
        report.say(rule.code, (*path, "value"), f"{short(one.name)} is malformed: {error}.")


def _property(report: Report, one: Setting, path: Path) -> None:
    if one.name not in PROPERTIES and not one.name.startswith("X-"):
        said = f"nobody knows the property {short(one.name)}."
        report.say("W601", path, said, "It is kept, and has no effect.")
    if one.name == "invoke-type" and one.value.strip().upper() not in {"SYNC", "ASYNC"}:
        report.say("E602", (*path, "value"), "SYNC or ASYNC is wanted.")
