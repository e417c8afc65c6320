"""Quantities with their units: "20 MHz", "300 Mbit/s", "5 ms". What is written is checked, not guessed.

A quantity is a number and a unit, which may carry an SI prefix (or, of bytes, a binary one). It is read into
base units as exactly as a float can be: digits are shifted, not multiplied, so that what is written of a
number is read as the same number.
"""

import math
import re
from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec

from einthoven.errors import InputInvalid

__all__ = [
    "DIMENSIONS",
    "Bits",
    "BitsPerS",
    "Bytes",
    "Cycles",
    "CyclesPerBit",
    "CyclesPerS",
    "Decibels",
    "Dimension",
    "Hertz",
    "JoulesPerBit",
    "Seconds",
    "Watts",
    "dimension_of",
    "read_quantity",
    "write_quantity",
]


class Dimension(msgspec.Struct, frozen=True):
    """What a quantity is of."""

    name: str
    units: dict[str, Decimal]
    """What may be written, and how many base units it is; the first is the base unit."""
    example: str
    least: float = 0.0
    has_prefixes: bool = True

    @property
    def base(self) -> str:
        """The base unit."""
        return next(iter(self.units))


def _dimension(name: str, base: str, example: str, **others: int) -> Dimension:
    return Dimension(name, {base: Decimal(1), **{unit: Decimal(n) for unit, n in others.items()}}, example)


_BINARY: Final = {f"{prefix}iB": 1024**n for n, prefix in enumerate("KMGT", 1)}
DIMENSIONS: Final = {
    one.name: one
    for one in (
        _dimension("frequency", "Hz", "20 MHz"),
        _dimension("rate", "bit/s", "300 Mbit/s", **{"B/s": 8}),
        _dimension("compute", "cycle/s", "20 Gcycle/s"),
        _dimension("time", "s", "5 ms", min=60, h=3600),
        _dimension("data", "bit", "40 kbit", B=8),
        _dimension("work", "cycle", "400 Mcycle"),
        _dimension("work for a bit", "cycle/bit", "500 cycle/bit"),
        _dimension("power", "W", "2 W"),
        _dimension("energy for a bit", "J/bit", "50 nJ/bit"),
        _dimension("storage", "B", "16 GB", **_BINARY),
        Dimension("ratio", {"dB": Decimal(1)}, "12 dB", -math.inf, has_prefixes=False),
    )
}
"""By name."""

_PREFIXES: Final = {"n": -9, "µ": -6, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12}
_WHOLE: Final = frozenset({"min", "h", *_BINARY})
"""Units that take no prefix."""
_WRITTEN: Final = re.compile(r"([+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?) ?(.*)")
_LONGEST: Final = 60

Hertz = Annotated[float, msgspec.Meta(extra={"dimension": "frequency"})]
BitsPerS = Annotated[float, msgspec.Meta(extra={"dimension": "rate"})]
CyclesPerS = Annotated[float, msgspec.Meta(extra={"dimension": "compute"})]
Seconds = Annotated[float, msgspec.Meta(extra={"dimension": "time"})]
Bits = Annotated[float, msgspec.Meta(extra={"dimension": "data"})]
Cycles = Annotated[float, msgspec.Meta(extra={"dimension": "work"})]
CyclesPerBit = Annotated[float, msgspec.Meta(extra={"dimension": "work for a bit"})]
Watts = Annotated[float, msgspec.Meta(extra={"dimension": "power"})]
JoulesPerBit = Annotated[float, msgspec.Meta(extra={"dimension": "energy for a bit"})]
Bytes = Annotated[float, msgspec.Meta(extra={"dimension": "storage"})]
Decibels = Annotated[float, msgspec.Meta(extra={"dimension": "ratio"})]


def dimension_of(kind: msgspec.inspect.Type) -> Dimension | None:
    """The dimension of a field that is one of the types above; None if it is none of them."""
    extra = kind.extra if isinstance(kind, msgspec.inspect.Metadata) else None
    return DIMENSIONS[extra["dimension"]] if extra and "dimension" in extra else None


def read_quantity(written: Any, dimension: Dimension, where: str = "") -> float:
    """A quantity in base units.

    Parameters
    ----------
    written : like "20 MHz"
    where : the place, for messages

    Raises
    ------
    InputInvalid : it has no unit, one of another dimension or one that nobody knows; it is no finite number
        or a negative one.
    """
    if isinstance(written, int | float) and not isinstance(written, bool):
        raise _refused(f"{written:g} has no unit", dimension, where)
    found = _WRITTEN.fullmatch(written) if isinstance(written, str) else None
    if found is None:
        raise _refused(f"{_quoted(written)} is not a quantity", dimension, where)
    number, unit = found.groups()
    if not unit:
        raise _refused(f"{_quoted(written)} has no unit", dimension, where)
    scale = _scale(unit, dimension)
    if scale is None:
        others = [one.name for one in DIMENSIONS.values() if _scale(unit, one) is not None]
        what = f"is a quantity of {others[0]}" if others else "has a unit that nobody knows"
        raise _refused(f"{_quoted(written)} {what}", dimension, where)
    value = float(Decimal(number) * scale)
    if not math.isfinite(value):
        raise _refused(f"{_quoted(written)} is too large", dimension, where)
    if value < dimension.least:
        raise _refused(f"{_quoted(written)} is negative", dimension, where)
    return value


def write_quantity(value: float, dimension: Dimension) -> str:
    """A finite value in base units as text; `read_quantity` reads it as the same."""
    exact = Decimal(repr(float(value)))
    if not exact:
        return f"0 {dimension.base}"
    exponent = exact.adjusted()
    prefix, shift = "", 0
    if dimension.has_prefixes:
        for name, power in _PREFIXES.items():
            if name != "u" and power <= exponent:
                prefix, shift = name, power
    number = exact.scaleb(-shift).normalize()
    plain = -4 <= number.adjusted() <= 6
    words = f"{number:f}" if plain else f"{number:e}"
    return f"{words} {prefix}{dimension.base}"


def _scale(unit: str, dimension: Dimension) -> Decimal | None:
    """How many base units one of ``unit`` is; None if it is not of this dimension."""
    for known, factor in dimension.units.items():
        if unit == known:
            return factor
        prefix = unit.removesuffix(known)
        is_prefixed = dimension.has_prefixes and known not in _WHOLE and unit == prefix + known
        if is_prefixed and prefix in _PREFIXES:
            return factor.scaleb(_PREFIXES[prefix])
    return None


def _quoted(written: Any) -> str:
    if not isinstance(written, str):
        return f"a {type(written).__name__}"
    return f'"{written if len(written) <= _LONGEST else written[:_LONGEST] + "…"}"'


def _refused(what: str, dimension: Dimension, where: str) -> InputInvalid:
    return InputInvalid(
        f'{what}; {dimension.name} is wanted, like "{dimension.example}".',
        where=where,
        remedy="Units are written with their prefix, after the number.",
    )
