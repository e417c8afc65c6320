"""What a source says: references, one after the other in the order in which they are tried."""

import re
from typing import Final

import msgspec

from einthoven.workflow.flaws import short

__all__ = ["NAME", "Files", "MalformedSource", "Reference", "Source", "parse_reference", "parse_source"]

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
"""Of constructs and ports."""
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")


class MalformedSource(ValueError):
    """A text that is no source; its message says why."""


class Reference(msgspec.Struct, frozen=True):
    """``producer/port``, and what is taken out of the value that stands there."""

    producer: str
    port: str
    segments: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "/".join((self.producer, self.port, *self.segments))


class Source(msgspec.Struct, frozen=True):
    """References in the order in which they are tried; None is the ``NULL`` of the language."""

    alternatives: tuple[Reference | None, ...]

    @property
    def references(self) -> tuple[Reference, ...]:
        """Without ``NULL``."""
        return tuple(one for one in self.alternatives if one is not None)


class Files(msgspec.Struct, frozen=True):
    """Files that stand in the workflow itself."""

    urls: tuple[str, ...]


def parse_reference(text: str) -> Reference:
    """``producer/port[/segment…]``.

    Raises
    ------
    MalformedSource : it is something else.
    """
    producer, *rest = text.strip().split("/")
    if not rest:
        raise MalformedSource(f"{short(text)} is no reference: producer/port is wanted")
    if NAME.fullmatch(producer) is None:
        raise MalformedSource(f"{short(producer)} cannot be the name of a producer")
    if NAME.fullmatch(rest[0]) is None:
        raise MalformedSource(f"{short(rest[0])} cannot be the name of a port")
    if not all(rest):
        raise MalformedSource(f"there is nothing between two slashes of {short(text)}")
    return Reference(producer, rest[0], tuple(rest[1:]))


def parse_source(text: str) -> Source | Files:
    """A reference, several in square brackets or without, ``NULL`` among them, or files.

    Raises
    ------
    MalformedSource : it is something else.
    """
    said = text.strip()
    if said.startswith("[") and said.endswith("]"):
        said = said[1:-1]
    parts = [one.strip() for one in said.split(",")]
    if all(_URL.fullmatch(one) for one in parts):
        return Files(tuple(parts))
    if not all(parts):
        raise MalformedSource("there is nothing between two commas" if len(parts) > 1 else "it is empty")
    found = tuple(None if one == "NULL" else parse_reference(one) for one in parts)
    if not any(found):
        raise MalformedSource("NULL alone is no source: write a value of type null")
    return Source(found)
