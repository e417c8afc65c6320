"""What is wrong, or only tolerated, in a workflow document: where, what, and how to mend it."""

import itertools
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

__all__ = [
    "CODES",
    "HINTS_MAX",
    "Flaw",
    "Mode",
    "Path",
    "Place",
    "Severity",
    "flaw_of",
    "listed",
    "path_text",
    "short",
]

Mode = Literal["strict", "lenient"]
Severity = Literal["error", "warning"]
Path = tuple[str | int, ...]
"""Keys and places in lists that lead to a node, from the root."""

CODES: Final[dict[str, str]] = {
    "E101": "not YAML, too large, or too deep",
    "E102": "a node of another shape than is wanted here",
    "E103": "unknown key",
    "E104": "a key that is needed is missing",
    "E105": "an empty body, or empty cases or sections",
    "E106": "unknown construct",
    "E107": "a number, boolean or nothing where a string is wanted",
    "E108": "a key twice in one mapping",
    "E201": "malformed name",
    "E202": "a name used twice",
    "E203": "a port name twice in one list",
    "E204": "reserved name",
    "E205": "sub-workflows that call each other in a circle",
    "E206": "ports of a call that differ from the sub-workflow's",
    "E301": "malformed source",
    "E302": "unknown producer",
    "E303": "a producer without such a port",
    "E304": "a producer that stands later",
    "E305": "a producer hidden inside another compound",
    "E306": "a producer in another section of the same parallel",
    "E307": "a dataIn with neither source nor value",
    "E308": "a dataIn with both source and value",
    "E309": "several sources that exist together, without aggregation",
    "E310": "types that do not go together",
    "E311": "a constant that is not of its type",
    "E312": "unknown type",
    "E313": "one value of many iterations",
    "E314": "the output of an asynchronous call read before it is joined",
    "E401": "unknown operator",
    "E402": "a condition without terms, or without combinedWith",
    "E403": "strings have no order",
    "E404": "a loop bound that is neither an integer nor a reference",
    "E405": "a step below 1",
    "E406": "a dataLoop without loopSource, or without exactly one of initSource and value",
    "E408": "a case that can never be reached",
    "E409": "dataEval without source, or neither string nor number",
    "E501": "unknown constraint",
    "E502": "a constraint in the wrong place",
    "E503": "malformed distribution",
    "E504": "malformed element-index",
    "E505": "malformed aggregation",
    "E506": "concurrency below 1",
    "E507": "malformed fault tolerance",
    "E508": "malformed deadline",
    "E509": "the same constraint twice",
    "E602": "invoke-type that is neither SYNC nor ASYNC",
    "E604": "malformed resource",
    "E605": "a port that looks like a credential",
    "W601": "unknown property",
    "W603": "no resource",
    "W606": "a port that nobody reads",
    "W607": "a while without X-maxIterations",
    "W608": "an operand that looks like a reference and is a text",
}
"""What each code says; the numbers are those of the language's reference page."""

_TOLERATED: Final = frozenset(
    {
        "E103",
        "E107",
        "E108",
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

HINTS_MAX: Final = 100
"""Behind so many flaws nobody looks for what was meant."""


class Place(msgspec.Struct, frozen=True):
    """Where something stands in the text; both count from 1."""

    line: int
    column: int


class Flaw(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was found."""

    code: str
    severity: Severity
    path: Path
    place: Place
    message: str
    hint: str = ""

    def text(self, file: str) -> str:
        """One line: ``file:line:column  code  path  message  hint``."""
        hint = f" {self.hint}" if self.hint else ""
        where = path_text(self.path)
        at = f"{file}:{self.place.line}:{self.place.column}"
        return f"{at}  {self.code}  {where + '  ' if where else ''}{self.message}{hint}"


def flaw_of(
    mode: Mode, code: str, path: Path, place: Place, message: str, hint: str = "", *, is_tolerated: bool
) -> Flaw:
    """A flaw, as severe as the mode has it.

    Parameters
    ----------
    is_tolerated : lenient mode takes this one, though not every flaw of its code.
    """
    is_lenient = mode == "lenient" and (is_tolerated or code in _TOLERATED)
    return Flaw(
        code=code,
        severity="warning" if is_lenient or code[0] == "W" else "error",
        path=path,
        place=place,
        message=message,
        hint=hint,
    )


def short(text: str, most: int = 60) -> str:
    """A text in quotes, cut where it is long: a message never repeats what a document says at length."""
    return repr(text if len(text) <= most else text[:most] + "…")


def listed(names: Iterable[str], most: int = 8) -> str:
    """The first of some names."""
    said = [one if len(one) <= 40 else one[:40] + "…" for one in itertools.islice(names, most + 1)]
    return ", ".join(said[:most]) + (" …" if len(said) > most else "")


def path_text(path: Path) -> str:
    """``workflowBody[0].function.dataIns[1].source``."""
    said = ""
    for part in path:
        said += f"[{part}]" if isinstance(part, int) else f".{part}" if said else part
    return said
