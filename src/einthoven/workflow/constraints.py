"""The constraints and properties of the language: where each may stand, and what its text must say."""

import math
import re
from collections.abc import Callable, Iterable
from typing import Final, Literal, NamedTuple

from einthoven.workflow.expressions import (
    MalformedExpression,
    parse_distribution,
    parse_element_index,
    parse_plan,
    parse_timestamp,
)
from einthoven.workflow.model import Construct, DataIn, Setting

__all__ = [
    "PROPERTIES",
    "Rule",
    "Stand",
    "is_asynchronous",
    "is_forwarded",
    "plan_number",
    "rule_of",
    "value_of",
]

Stand = Literal[
    "function",
    "sequence",
    "if",
    "switch",
    "for",
    "while",
    "parallel",
    "parallelFor",
    "sub-workflow",
    "dataIn",
    "dataIn of a parallelFor",
    "dataOut",
    "dataOut of a parallel",
    "dataOut of a parallelFor",
    "dataLoop",
]
"""What carries a constraint."""

PROPERTIES: Final = frozenset(
    {
        "resource",
        "invoke-type",
        "service",
        "services",
        "simValue",
        "replicate",
        "datatransfer",
        "fileamount",
        "filesize",
        "uploadId",
    }
)
"""Properties that somebody reads; others are hints that are kept."""


class Rule(NamedTuple):
    """One constraint."""

    stands: frozenset[Stand]
    code: str
    """Of the flaw where its text is malformed."""
    check: Callable[[str], object]
    """Raises `MalformedExpression`."""


def rule_of(name: str) -> Rule | None:
    """The rule of a constraint; None where the language has none of that name."""
    return _ALT_PLAN if plan_number(name) is not None else _RULES.get(name)


def plan_number(name: str) -> int | None:
    """The i of ``FT-AltPlan-i``."""
    found = re.fullmatch(r"FT-AltPlan-(\d{1,6})", name)
    return int(found.group(1)) if found else None


def value_of(settings: Iterable[Setting], name: str) -> str | None:
    """The text of a property or constraint; the last one where it stands twice."""
    return next((one.value for one in reversed(tuple(settings)) if one.name == name), None)


def is_asynchronous(construct: Construct, inherited: bool) -> bool:
    """Whether a call is only queued; compounds hand their ``invoke-type`` to what is in them."""
    said = value_of(construct.properties, "invoke-type")
    return inherited if said is None else said.strip().upper() == "ASYNC"


def is_forwarded(port: DataIn) -> bool:
    """Whether an input of a function can be read behind it (``passing``, or the property ``replicate``)."""
    return port.passing or (value_of(port.properties, "replicate") or "").strip().lower() == "true"


def _whole(least: int) -> Callable[[str], int]:
    def check(text: str) -> int:
        if re.fullmatch(r"\d{1,15}", text.strip()) is None or int(text) < least:
            raise MalformedExpression(f"a whole number of {least} or more is wanted")
        return int(text)

    return check


def _number(text: str, above: float, most: float, wanted: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not above < number <= most:
        raise MalformedExpression(f"{wanted} is wanted")
    return number


def _milliseconds(text: str) -> float:
    return _number(text, 0.0, 1e12, "a number of milliseconds above 0")


def _availability(text: str) -> float:
    return _number(text, 0.0, 1.0, "a number above 0 and at most 1")


def _percentage(text: str) -> float:
    return _number(text, -1e-12, 100.0, "a percentage from 0 to 100")


def _aggregation(text: str) -> str:
    if text.strip() not in {"+", "*", ","}:
        raise MalformedExpression("+ or * (put together in order) or , (by producer) is wanted")
    return text.strip()


_FUNCTION: Final[frozenset[Stand]] = frozenset({"function"})
_ALT_PLAN: Final = Rule(_FUNCTION, "E507", parse_plan)
_RULES: Final[dict[str, Rule]] = {
    "distribution": Rule(frozenset({"dataIn of a parallelFor"}), "E503", parse_distribution),
    "element-index": Rule(frozenset({"dataIn", "dataIn of a parallelFor"}), "E504", parse_element_index),
    "aggregation": Rule(
        frozenset({"dataOut of a parallel", "dataOut of a parallelFor"}), "E505", _aggregation
    ),
    "concurrency": Rule(frozenset({"parallelFor"}), "E506", _whole(1)),
    "FT-Retries": Rule(_FUNCTION, "E507", _whole(0)),
    "FT-AltStrat-requiredAvailability": Rule(_FUNCTION, "E507", _availability),
    "C-latestStartingTime": Rule(_FUNCTION, "E508", parse_timestamp),
    "C-latestFinishingTime": Rule(_FUNCTION, "E508", parse_timestamp),
    "C-maxRunningTime": Rule(_FUNCTION, "E508", _milliseconds),
    "X-timeout": Rule(_FUNCTION, "E508", _milliseconds),
    "X-maxIterations": Rule(frozenset({"while"}), "E508", _whole(1)),
    "X-toleratedFailurePercentage": Rule(frozenset({"parallelFor"}), "E507", _percentage),
}
