"""What a condition's operators mean: numbers are compared as real numbers, and texts are never ordered."""

import json
from typing import Any, Final

import msgspec

__all__ = ["Incomparable", "Text", "holds"]


class Incomparable(ValueError):
    """Two values that an operator cannot compare; the message names types, never values."""


class Text(msgspec.Struct, frozen=True):
    """A constant as it is written; the other operand says what it is."""

    text: str


_SAME: Final = {"=<": "<=", "≤": "<=", "≥": ">="}


def holds(first: Any, second: Any, operator: str) -> bool:
    """Whether ``first operator second``; an operand may be a `Text`.

    Raises
    ------
    Incomparable : values that have no such relation.
    """
    operator = _SAME.get(operator, operator)
    first, second = _typed(first, second, operator), _typed(second, first, operator)
    match operator:
        case "==":
            return _equal(first, second)
        case "!=":
            return not _equal(first, second)
        case "contains" if isinstance(first, list):
            return any(_equal(one, second) for one in first)
        case "contains" | "startsWith" | "endsWith" if isinstance(first, str) and isinstance(second, str):
            if operator == "contains":
                return second in first
            return first.startswith(second) if operator == "startsWith" else first.endswith(second)
        case "<" | "<=" | ">" | ">=" if _is_number(first) and _is_number(second):
            return bool(
                (first < second) or (operator == "<=" and first == second)
                if operator[0] == "<"
                else (first > second) or (operator == ">=" and first == second)
            )
    raise Incomparable(f"{_kind(first)} {operator} {_kind(second)}")


def _typed(value: Any, other: Any, operator: str) -> Any:
    if not isinstance(value, Text):
        return value
    if isinstance(other, Text):
        return (
            _read(value.text)
            if _is_number(_read(value.text)) and _is_number(_read(other.text))
            else value.text
        )
    if isinstance(other, list) and operator == "contains":
        said = _read(value.text)
        return value.text if any(isinstance(one, str) for one in other) or said is _NOTHING else said
    if _is_number(other) or isinstance(other, bool | list | dict):
        said = _read(value.text)
        if said is _NOTHING:
            raise Incomparable(f"{_kind(other)} {operator} a text")
        return said
    if other is None and value.text == "null":
        return None
    return value.text


_KINDS: Final[dict[type, str]] = {str: "a text", Text: "a text", list: "a list", dict: "an object"}
_NOTHING: Final = object()


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _NOTHING


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equal(first: Any, second: Any) -> bool:
    """Numbers with numbers, booleans with booleans, null only with null."""
    if isinstance(first, bool) != isinstance(second, bool):
        return False
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(_equal, first, second))
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_equal(first[key], second[key]) for key in first)
    return bool(first == second)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if _is_number(value):
        return "a number"
    return _KINDS.get(type(value), "a value")
