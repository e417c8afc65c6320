"""What is to be sent when: the values that a plan hands to the engine."""

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

__all__ = ["Bodies", "Delivery", "Kind", "Request", "WireEncoding"]

Kind = Literal["timely", "buffered", "late", "repeat"]
"""``timely``: when its last sample was taken. ``buffered``: when its device came back. ``late``: after its
successor, on purpose. ``repeat``: a second time, on purpose."""

WireEncoding = Literal["json", "json-base64", "msgpack"]


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """One segment on its way, once."""

    due_s: float
    """Since the start of the run: when it is meant to be sent."""
    stream: int
    """Number of the patient, and of its device."""
    number: int
    """Of the segment in its stream, from 0."""
    kind: Kind = "timely"
    is_last: bool = False
    """No segment of the stream follows."""


class Request(msgspec.Struct, frozen=True):
    """Deliveries that go in one HTTP request."""

    due_s: float
    """Since the start of the run: when it is meant to be sent, and what its latency is counted from."""
    deliveries: tuple[Delivery, ...]


class Bodies(Protocol):
    """Turns deliveries into the bytes of a request, at once: the engine calls it for each."""

    @property
    def media_type(self) -> str:
        """Of the bodies, and of the answers that are expected."""
        ...

    def body(self, deliveries: Sequence[Delivery]) -> bytes:
        """One segment as an object, several as an array of objects."""
        ...

    def sequence(self, delivery: Delivery) -> int:
        """What the device calls the segment."""
        ...

    def token(self, delivery: Delivery) -> str | None:
        """Bearer token of the request that carries it."""
        ...
