"""The one way to a region: bytes in, bytes out, whatever stands behind.

A region is a place that accepts invocations (`einthoven.continuum`). However it is reached - in this process,
through a pool, over HTTP, NATS or Ray - it keeps the same promises; `einthoven.testing.check_region` checks
them all.
"""

from typing import Literal, Protocol

import msgspec

__all__ = ["Answer", "Call", "CallEncoding", "HostedFunction", "Probed", "RegionPort"]

CallEncoding = Literal["json", "msgpack"]


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at one invocation."""

    function: str
    content: bytes
    """Its inputs by name: a JSON or MessagePack object."""
    encoding: CallEncoding
    key: str
    """The idempotency key: the same in every attempt at the invocation, wherever it is made."""
    timeout_s: float


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the function gave."""

    content: bytes
    """Its outputs by name, in the call's encoding."""
    busy_s: float
    """How long the function itself took, as the region says; NaN where it does not say."""


class HostedFunction(msgspec.Struct, frozen=True, kw_only=True):
    """A function that a region has."""

    name: str
    version: str
    memory_mb: int
    timeout_s: float


class Probed(msgspec.Struct, frozen=True, kw_only=True):
    """What a region says of itself."""

    functions: tuple[HostedFunction, ...]
    """Empty: it does not say."""
    slots: int
    """Invocations that it performs at once."""
    is_draining: bool = False
    """It finishes what it has, and takes nothing new."""
    encodings: tuple[str, ...] = ()
    """Of calls that it reads; empty: it does not say."""


class RegionPort(Protocol):
    """How a region is reached.

    Any number of calls may be under way at once. A call that is cancelled is given up on this side; whether
    the function still ends on the other one is open, and that is what the idempotency key is for.
    """

    async def invoke(self, call: Call) -> Answer:
        """What the function gave, within the call's time.

        Raises
        ------
        einthoven.runtime.conducting.InvocationBroke : there is no answer; its kind says why: ``transport``,
            ``timeout``, ``throttled``, ``server``, ``refused``, ``payload``, ``function`` or ``reply``. An
            answer that holds an error is none, whatever else came with it.
        einthoven.runtime.conducting.FunctionUnknown : of these, where it does not have the function.
        """
        ...

    async def probe(self) -> Probed:
        """Ask what it has; raises as `invoke` does."""
        ...

    async def close(self) -> None:
        """Give up connections and workers; what is under way breaks."""
        ...
