"""A table of a file made a value: quantities are read by the dimension of their field, flaws are gathered."""

import re
from functools import cache
from typing import Any, TypeVar

import msgspec

from einthoven.continuum.quantities import Dimension, dimension_of, read_quantity
from einthoven.errors import EinthovenError, InputInvalid

__all__ = ["quantities_of", "read_table"]

S = TypeVar("S", bound=msgspec.Struct)


@cache
def quantities_of(kind: type[msgspec.Struct]) -> dict[str, tuple[Dimension, bool]]:
    """The keys of a table that are quantities: of what, and whether they are a table of named ones."""
    found = {}
    described = msgspec.inspect.type_info(kind)
    assert isinstance(described, msgspec.inspect.StructType)  # noqa: S101 - for the type checker
    for field in described.fields:
        is_table = isinstance(field.type, msgspec.inspect.DictType)
        inner = field.type.value_type if isinstance(field.type, msgspec.inspect.DictType) else field.type
        dimension = dimension_of(inner)
        if dimension is not None:
            found[field.encode_name] = (dimension, is_table)
    return found


def read_table(kind: type[S], name: str, table: Any, place: str) -> S | list[str]:
    """A value, or all that is wrong with its table, each beginning with the place.

    Parameters
    ----------
    name : of the table, which is the value's
    place : of the table in the file
    """
    if not isinstance(table, dict):
        return [f"{place}: a table is wanted"]
    if "name" in table:
        return [f"{place}.name: the table's own name is its name"]
    flaws: list[str] = []
    ready = {"name": name, **table}
    for key, (dimension, is_table) in quantities_of(kind).items():
        written = table.get(key)
        if written is None:
            continue
        if is_table and not isinstance(written, dict):
            flaws.append(f"{place}.{key}: a table is wanted")
            continue
        inner = {f".{one}": text for one, text in written.items()} if is_table else {"": written}
        read = {}
        for below, text in inner.items():
            try:
                read[below[1:]] = read_quantity(text, dimension)
            except InputInvalid as error:
                flaws.append(f"{place}.{key}{below}: {error.what.rstrip('.')}")
        ready[key] = read if is_table else read.get("", 1.0)
    try:
        made = msgspec.convert(ready, kind)
    except EinthovenError as error:
        # What stands in for a quantity that could not be read may be what it is about.
        return flaws or [f"{place}.{error.where}: {error.what.rstrip('.')}"]
    except msgspec.ValidationError as error:
        return [*flaws, f"{place}{_said(str(error))}"]
    return flaws or made


def _said(message: str) -> str:
    at = re.search(r" - at `\$\.?([^`]*)`", message)
    field = f".{at.group(1)}" if at and at.group(1) else ""
    return f"{field}: {message.split(' - at ', maxsplit=1)[0].lower()}"
