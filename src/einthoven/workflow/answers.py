"""Whether a value is of a type of the language, what is within it, and whether an answer counts."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from einthoven.workflow.events import Break
from einthoven.workflow.references import Kind, Referenced

__all__ = ["has_type", "part_of", "what_is_wrong"]

_KINDS: Final[dict[str, type | tuple[type, ...]]] = {
    "string": str,
    "file": str,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
    "collection": (list, dict),  # what a parallel gives by producer is one too
}

_REFERENCED: Final[dict[str, tuple[Kind, ...]]] = {
    "string": ("string",),
    "file": ("string",),
    "number": ("number",),
    "boolean": ("boolean",),
    "object": ("object",),
    "array": ("array",),
    "collection": ("array", "object"),
}


def has_type(value: Any, type_: str | None) -> bool:
    """Null is a value of every type."""
    if value is None or type_ is None:
        return True
    if isinstance(value, Referenced):
        return value.kind in _REFERENCED.get(type_, ())
    if type_ == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type_ in _KINDS and isinstance(value, _KINDS[type_])


def part_of(value: Any, segments: Sequence[str]) -> Any:
    """What is within an object or a list, at the end of some keys or numbers.

    Raises
    ------
    LookupError : nothing is there.
    """
    for segment in segments:
        if isinstance(value, Mapping) and segment in value:
            value = value[segment]
        elif isinstance(value, list) and segment.isdecimal() and int(segment) < len(value):
            value = value[int(segment)]
        else:
            raise LookupError(segment)
    return value


def what_is_wrong(reply: Any, outputs: Sequence[tuple[str, str | None]]) -> tuple[Break, str] | None:
    """Why an answer does not count: no object, an ``error``, an output that is missing or of another type."""
    if not isinstance(reply, Mapping):
        return "reply", "the answer is no JSON object"
    if "error" in reply and not any(name == "error" for name, _ in outputs):
        return "function", "the function answered with an error"
    for name, type_ in outputs:
        if name not in reply:
            return "reply", f"the answer has no {name!r}"
        if not has_type(reply[name], type_):
            return "reply", f"the answer's {name!r} is not of type {type_}"
    return None
