"""The contract that every function keeps: a plain callable with a name, a version and its needs.

A function takes a value and the patient's state and returns both anew. It does no I/O, changes nothing
that it was given, and answers the same for the same input. The decorator only notes what a region must
know; the callable stays what it was.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from einthoven.errors import DefectError

__all__ = ["Contract", "contract_of", "function"]


class Contract(msgspec.Struct, frozen=True):
    """What a region must know to run a function."""

    name: str
    version: str
    memory_mb: int
    timeout_s: float


_CONTRACT: Final = "__einthoven_contract__"
_F = TypeVar("_F", bound=Callable[..., Any])


def function(*, version: str, memory_mb: int, timeout_s: float) -> Callable[[_F], _F]:
    """Note the contract on a plain function; its name is the function's name."""

    def note(call: _F) -> _F:
        setattr(call, _CONTRACT, Contract(call.__name__, version, memory_mb, timeout_s))
        return call

    return note


def contract_of(call: Callable[..., Any]) -> Contract:
    """The contract noted on a function."""
    contract = getattr(call, _CONTRACT, None)
    if not isinstance(contract, Contract):
        raise DefectError(
            "the callable carries no contract.", where=repr(call), remedy="Decorate it with @function."
        )
    return contract
