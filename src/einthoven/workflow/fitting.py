"""Whether a value of one type goes where another is wanted."""

from collections.abc import Iterable
from typing import Final

from einthoven.workflow.constraints import value_of
from einthoven.workflow.declarations import known
from einthoven.workflow.expressions import (
    Block,
    MalformedExpression,
    Replicate,
    parse_distribution,
    parse_element_index,
)
from einthoven.workflow.flaws import Path, short
from einthoven.workflow.model import DataIn, DataLoop, DataOut
from einthoven.workflow.report import Report

__all__ = ["LISTS", "check_delivery", "check_fit", "goes_into"]

LISTS: Final = frozenset({"array", "collection"})
"""Types of lists."""


def goes_into(given: str | None, wanted: str | None) -> bool:
    """Whether a value of a type can be one of another; None where a type is not known."""
    return (
        given is None
        or wanted is None
        or given in {wanted, "null"}
        or (given in LISTS and wanted in LISTS)
        or (given == "file" and wanted == "string")
    )


def check_fit(
    report: Report,
    given: Iterable[str | None],
    wanted: str | None,
    port: DataIn | DataOut | DataLoop,
    path: Path,
) -> None:
    """Whether all that a source may give is of the type that a port wants."""
    for one in dict.fromkeys(given):
        if not goes_into(one, wanted):
            said = f"a value of type {one} is no {wanted}, which {short(port.name)} wants."
            report.say("E310", path, said, "Give both the same type.")


def check_delivery(
    report: Report, port: DataIn, path: Path, given: list[str | None], *, is_distributed: bool
) -> None:
    """Whether what a source gives, after index and distribution, is what the port wants."""
    index_text = value_of(port.constraints, "element-index")
    how_text = value_of(port.constraints, "distribution") if is_distributed else None
    try:
        index = None if index_text is None else parse_element_index(index_text)
        how = None if how_text is None else parse_distribution(how_text)
    except MalformedExpression:
        return
    if index is not None:
        if any(one is not None and one not in LISTS for one in given):
            said = f"only a list has elements, and {short(port.source or '')} is none."
            report.say("E310", path, said)
        given = [None if index.is_single and how is None else "array"]
    if how == Block(1):
        return
    if how is not None and not isinstance(how, Replicate):
        given = ["array"]
    check_fit(report, given, known(port.type, report.mode), port, (*path, "source"))
