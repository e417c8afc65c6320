"""What is declared, looked at by itself: names, the ports of a list, their types and constants."""

from collections.abc import Iterable
from typing import Final

from einthoven.workflow.expressions import MalformedExpression, known_type, parse_constant
from einthoven.workflow.flaws import Mode, Path, short
from einthoven.workflow.model import KEYS, TYPES, Body, Construct, DataIn, DataLoop, DataOut, bodies_of
from einthoven.workflow.report import Report
from einthoven.workflow.sources import NAME

__all__ = [
    "check_constant",
    "check_name",
    "check_names",
    "check_ports",
    "check_type",
    "known",
]

_SECRETS: Final = ("secret", "privatekey", "accesskey", "sessiontoken", "password")


def known(written: str, mode: Mode) -> str | None:
    """The type of a port as it is written; None where there is none of that name."""
    type_ = known_type(written) if mode == "lenient" else written
    return type_ if type_ in TYPES else None


def check_type(report: Report, written: str, path: Path) -> str | None:
    """Whether there is such a type, and which it is."""
    if written not in TYPES:
        report.say(
            "E312", (*path, "type"), f"there is no type {short(written)}.", f"Known are: {', '.join(TYPES)}."
        )
    return known(written, report.mode)


def check_constant(report: Report, port: DataIn | DataLoop, path: Path) -> None:
    """Whether a constant is of the type of its port."""
    type_ = known(port.type, report.mode)
    if port.value is None or type_ is None:
        return
    try:
        parse_constant(port.value, type_)
    except MalformedExpression as error:
        report.say("E311", (*path, "value"), f"this is no constant of type {type_}: {error}.")


def check_name(report: Report, name: str, path: Path) -> None:
    """Whether something can be called so."""
    if name == "NULL":
        report.say("E204", path, "NULL is a word of the language.", "Choose another name.")
    elif NAME.fullmatch(name) is None:
        said = "A letter or _, then letters, digits and _ . - are wanted."
        report.say("E201", path, f"{short(name)} cannot be a name.", said)


def check_names(report: Report, owner: str, body: Body, body_path: Path) -> None:
    """The names of all constructs of a name space, which is called ``owner``."""
    seen = {owner}
    for one, path in _placed(body, body_path):
        at = (*path, "name")
        check_name(report, one.name, at)
        if one.name in seen:
            report.say("E202", at, f"the name {short(one.name)} is used twice.", "Rename one of the two.")
        seen.add(one.name)


def _placed(body: Body, path: Path) -> Iterable[tuple[Construct, Path]]:
    for k, one in enumerate(body):
        at: Path = (*path, k, KEYS[type(one)])
        yield one, at
        for tail, inner in bodies_of(one):
            yield from _placed(inner, (*at, *tail))


def check_ports(
    report: Report, ports: Iterable[DataIn | DataOut | DataLoop], path: Path, seen: set[str] | None = None
) -> None:
    """The names of the ports of a list; those in ``seen`` are taken, and these are added."""
    seen = set() if seen is None else seen
    for k, port in enumerate(ports):
        at: Path = (*path, k, "name")
        check_name(report, port.name, at)
        if port.name in seen:
            report.say("E203", at, f"there are two ports {short(port.name)}.", "Rename one of the two.")
        seen.add(port.name)
        plain = port.name.lower().replace("_", "").replace("-", "")
        if any(word in plain for word in _SECRETS):
            report.say(
                "E605",
                at,
                f"{short(port.name)} looks like a credential.",
                "Give secrets to whoever invokes the function, never to a workflow.",
            )
