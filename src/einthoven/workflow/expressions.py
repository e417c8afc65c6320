"""What the small languages inside a workflow say: constants, distribution, element-index, fault tolerance.

Source: the texts of AFCL's constraints as its public engine reads them; where that engine is at odds with
the language (a last block of one element, an index without an end, a plan without its last semicolon) the
language is followed.
"""

import json
import math
import re
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec

from einthoven.workflow.sources import MalformedSource, Reference, parse_reference

__all__ = [
    "AltPlan",
    "Block",
    "Distribution",
    "ElementIndex",
    "MalformedExpression",
    "OutOfRange",
    "Part",
    "Replicate",
    "Resource",
    "Split",
    "chunk_count",
    "chunk_of",
    "known_type",
    "parse_bound",
    "parse_constant",
    "parse_distribution",
    "parse_element_index",
    "parse_plan",
    "parse_resource",
    "parse_timestamp",
    "select",
]


class MalformedExpression(ValueError):
    """A text that does not say what it should; its message says why."""


class OutOfRange(ValueError):
    """An index beyond the elements that there are."""


# -------------------------------------------------------------------- constants


_OTHER_TYPES: Final = {"bool": "boolean"}
_LITERALS: Final[dict[str, type | tuple[type, ...]]] = {
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
    "collection": list,
}


def known_type(written: str) -> str:
    """A type as the language spells it: any case, and ``bool``, are taken."""
    said = written.strip().lower()
    return _OTHER_TYPES.get(said, said)


def parse_constant(text: str, type_: str) -> Any:
    """A constant of a type of the language (`known_type`); of an unknown type the text itself.

    Raises
    ------
    MalformedExpression : the text is no constant of the type.
    """
    if type_ == "null":
        if text != "null":
            raise MalformedExpression("a constant of type null is written null")
        return None
    wanted = _LITERALS.get(type_)
    if wanted is None:
        return text
    try:
        value = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise MalformedExpression(f"it is not the JSON text of a value of type {type_}") from None
    if not isinstance(value, wanted) or (type_ == "number" and isinstance(value, bool)):
        raise MalformedExpression(f"it is JSON, but no value of type {type_}")
    return value


def _no_number(said: str) -> Any:
    raise ValueError(said)


def parse_bound(text: str) -> int | Reference:
    """A bound of a loop: an integer (``3.0`` is one), or a reference.

    Raises
    ------
    MalformedExpression : it is neither.
    """
    said = text.strip()
    if re.fullmatch(r"[+-]?\d{1,18}(\.0*)?", said):
        return int(said.partition(".")[0])
    try:
        return parse_reference(said)
    except MalformedSource:
        raise MalformedExpression(f"{said[:60]!r} is neither an integer nor a reference") from None


# -------------------------------------------------------------------- distribution


class Block(msgspec.Struct, frozen=True):
    """Pieces of ``size`` elements, each beginning ``size - overlap`` after the one before."""

    size: int
    overlap: int = 0


class Split(msgspec.Struct, frozen=True):
    """At most ``pieces`` pieces of equal size, the last one perhaps shorter."""

    pieces: int


class Replicate(msgspec.Struct, frozen=True):
    """The whole value, ``times`` times; None: as often as there are iterations."""

    times: int | None = None


Distribution = Block | Split | Replicate
_DISTRIBUTION: Final = re.compile(
    r"\s*(BLOCK|SPLIT|REPLICATE)\s*\(\s*(\d{1,18}|\*)\s*(?:,\s*(\d{1,18})\s*)?\)\s*", re.IGNORECASE
)


def parse_distribution(text: str) -> Distribution:
    """``BLOCK(b)``, ``BLOCK(b, o)``, ``SPLIT(p)``, ``REPLICATE(k)`` or ``REPLICATE(*)``.

    Raises
    ------
    MalformedExpression : another word, a size below 1, an overlap that is not below the size.
    """
    found = _DISTRIBUTION.fullmatch(text)
    if found is None:
        raise MalformedExpression("BLOCK(b), BLOCK(b, o), SPLIT(p), REPLICATE(k) or REPLICATE(*) is wanted")
    word, first, second = found.group(1).upper(), found.group(2), found.group(3)
    if second is not None and word != "BLOCK":
        raise MalformedExpression(f"{word} has one number")
    if first == "*":
        if word != "REPLICATE":
            raise MalformedExpression(f"{word} has a number, not *")
        return Replicate()
    size = int(first)
    if size < 1:
        raise MalformedExpression(f"the number of {word} must be 1 or more")
    if word == "REPLICATE":
        return Replicate(size)
    if word == "SPLIT":
        return Split(size)
    overlap = int(second or 0)
    if overlap >= size:
        raise MalformedExpression("the overlap must be smaller than the block")
    return Block(size, overlap)


def chunk_count(how: Distribution, count: int, iterations: int) -> int:
    """How many chunks ``count`` elements make."""
    match how:
        case Replicate():
            return iterations if how.times is None else how.times
        case Split():
            return math.ceil(count / math.ceil(count / how.pieces)) if count else 0
        case Block():
            if count <= how.size:
                return min(count, 1)
            return math.ceil((count - how.size) / (how.size - how.overlap)) + 1


def chunk_of(how: Block | Split, elements: list[Any], ordinal: int) -> Any:
    """Chunk ``ordinal``: the element itself of ``BLOCK(1)``, else a list, also of one element."""
    if how == Block(1):
        return elements[ordinal]
    if isinstance(how, Split):
        size = math.ceil(len(elements) / how.pieces)
        return elements[ordinal * size : (ordinal + 1) * size]
    begin = ordinal * (how.size - how.overlap)
    return elements[begin : begin + how.size]


# -------------------------------------------------------------------- element-index


class Part(msgspec.Struct, frozen=True):
    """``begin:end:stride`` (the end is one of them), or one index where ``is_range`` is not set."""

    begin: int | Reference | None
    end: int | Reference | None = None
    stride: int | Reference | None = None
    is_range: bool = False


class ElementIndex(msgspec.Struct, frozen=True):
    """The parts in the order in which they are written."""

    parts: tuple[Part, ...]

    @property
    def is_single(self) -> bool:
        """One plain index: it gives the element, not a list."""
        return len(self.parts) == 1 and not self.parts[0].is_range

    @property
    def references(self) -> tuple[Reference, ...]:
        """The numbers that are known at run time only."""
        said = (one for part in self.parts for one in (part.begin, part.end, part.stride))
        return tuple(one for one in said if isinstance(one, Reference))


def parse_element_index(text: str) -> ElementIndex:
    """A list of ``i`` or ``begin:end[:stride]``, divided by commas; the end is inclusive.

    Raises
    ------
    MalformedExpression : something else, a negative index, a stride of zero.
    """
    return ElementIndex(tuple(_part(one) for one in text.split(",")))


def _part(text: str) -> Part:
    said = text.split(":")
    if len(said) > 3:
        raise MalformedExpression(f"{text.strip()[:40]!r} has more than two colons")
    numbers = [_index(one, may_be_empty=len(said) > 1) for one in said]
    if len(said) == 1:
        return Part(numbers[0])
    begin, end, stride = (*numbers, None)[:3]
    if any(isinstance(one, int) and one < 0 for one in (begin, end)):
        raise MalformedExpression("an index counts from 0 and cannot be negative")
    if stride == 0:
        raise MalformedExpression("a stride cannot be 0")
    return Part(begin, end, stride, is_range=True)


def _index(text: str, *, may_be_empty: bool) -> int | Reference | None:
    said = text.strip()
    if not said and may_be_empty:
        return None
    if re.fullmatch(r"-?\d{1,18}", said):
        number = int(said)
        if number < 0 and not may_be_empty:
            raise MalformedExpression("an index counts from 0 and cannot be negative")
        return number
    try:
        return parse_reference(said)
    except MalformedSource:
        raise MalformedExpression(f"{said[:40]!r} is neither an index nor a reference") from None


def select(index: ElementIndex, elements: list[Any], value_of: dict[Reference, int]) -> list[Any]:
    """The elements that are asked for, in the order in which they are.

    ``value_of`` gives the numbers of the references.

    Raises
    ------
    OutOfRange : an index beyond the elements, or a number of a reference that is none.
    """
    chosen: list[Any] = []
    for part in index.parts:
        begin, end, stride = (
            value_of[one] if isinstance(one, Reference) else one
            for one in (part.begin, part.end, part.stride)
        )
        if not part.is_range:
            begin = end = begin or 0
        stride = 1 if stride is None else stride
        if stride == 0:
            raise OutOfRange("a stride of 0")
        if begin is None and end is None and not elements:
            continue
        begin = begin if begin is not None else 0 if stride > 0 else len(elements) - 1
        end = end if end is not None else len(elements) - 1 if stride > 0 else 0
        if not (0 <= begin < len(elements) and 0 <= end < len(elements)):
            raise OutOfRange(f"elements {begin} to {end} of {len(elements)}")
        chosen += (
            elements[begin : end + 1 : stride] if stride > 0 else elements[end : begin + 1][::-1][::-stride]
        )
    return chosen


# -------------------------------------------------------------------- resources, fault tolerance, deadlines


Family = Literal["http", "arn", "uri"]
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/]\S*")


class Resource(msgspec.Struct, frozen=True):
    """Where a function is: ``[language:]`` and an URL, an ARN or another URI."""

    address: str
    language: str | None = None

    @property
    def family(self) -> Family:
        """By what it is called."""
        if self.address.startswith(("http://", "https://")):
            return "http"
        return "arn" if self.address.startswith("arn:") else "uri"


def parse_resource(text: str) -> Resource:
    """``https://…``, ``arn:…``, ``scheme://…``, each perhaps behind ``language:``.

    Raises
    ------
    MalformedExpression : something else.
    """
    said = text.strip()
    if not said:
        raise MalformedExpression("it is empty")
    if _is_address(said):
        return Resource(said)
    language, _, address = said.partition(":")
    if not language or not _is_address(address.strip()):
        raise MalformedExpression("an address (https://…, arn:…, scheme://…), or language:address, is wanted")
    return Resource(address.strip(), language)


def _is_address(said: str) -> bool:
    return _SCHEME.fullmatch(said) is not None or re.fullmatch(r"arn:[^\s:]+:\S+", said) is not None


class AltPlan(msgspec.Struct, frozen=True):
    """Resources that are called at once when the ones before have failed; the first success counts."""

    availability: float | None
    """As the scheduler that wrote the plan saw it; for information."""
    resources: tuple[Resource, ...]


def parse_plan(text: str) -> AltPlan:
    """``availability;resource[##deployment];…``; the last semicolon may be missing.

    Raises
    ------
    MalformedExpression : no number in front, no resource, or a malformed one.
    """
    first, *rest = (one.strip() for one in text.split(";"))
    said = [one for one in rest if one]
    if not said:
        raise MalformedExpression("availability;resource; is wanted, and here is no resource")
    return AltPlan(_fraction(first), tuple(parse_resource(one.partition("##")[0]) for one in said))


def _fraction(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise MalformedExpression("the availability in front must be a number from 0 to 1")
    return number


def parse_timestamp(text: str) -> float:
    """Seconds since 1970: ``YYYY-MM-DD hh:mm:ss.fff`` (UTC), or ISO 8601 with a zone.

    Raises
    ------
    MalformedExpression : something else.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise MalformedExpression("YYYY-MM-DD hh:mm:ss.fff, or ISO 8601 with a zone, is wanted") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
