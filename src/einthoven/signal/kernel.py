"""How the inner loops are compiled: once, to native code, kept in numba's cache for later processes."""

from collections.abc import Callable
from typing import Any, Final

import numba

__all__ = ["inlined", "kernel", "part"]

_OPTIONS: Final[dict[str, Any]] = {"cache": True, "nogil": True, "error_model": "numpy"}
# Known to numba since 0.47 though it is not in its manual: arrays are used and none is made or counted.
_BORROWING: Final[dict[str, Any]] = {"_nrt": False}


def kernel(loop: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a loop over arrays; it releases the interpreter lock while it runs.

    No ``fastmath``: reordered additions would make a result depend on how many samples came together.
    Division by zero is NumPy's, infinite and silent: a check before each would keep loops from being SIMD.
    """
    compiled: Callable[..., Any] = numba.njit(**_OPTIONS)(loop)
    return compiled


def part(loop: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a piece of a kernel that allocates nothing.

    It only borrows its arrays, and so counts no references to them: each count is an atomic operation, and a
    call counts every array twice.
    """
    compiled: Callable[..., Any] = numba.njit(**_OPTIONS, **_BORROWING)(loop)
    return compiled


def inlined(loop: Callable[..., Any]) -> Callable[..., Any]:
    """A piece of kernels, compiled into each that calls it: what is called for every few values."""
    compiled: Callable[..., Any] = numba.njit(nogil=True, inline="always")(loop)
    return compiled
