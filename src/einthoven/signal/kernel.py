"""How the inner loops are compiled: once, to native code, kept in numba's cache for later processes."""

from collections.abc import Callable
from typing import Any

import numba

__all__ = ["inlined", "kernel", "part"]


def kernel(loop: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a loop over arrays; it releases the interpreter lock while it runs.

    No ``fastmath``: reordered additions would make a result depend on how many samples came together. Division
    by zero is NumPy's, infinite and silent: a check before each division would keep loops from becoming SIMD.
    """
    compiled: Callable[..., Any] = numba.njit(cache=True, nogil=True, error_model="numpy")(loop)
    return compiled


def part(loop: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a piece of a kernel that allocates nothing.

    It only borrows its arrays, and so counts no references to them: each count is an atomic operation, and a
    call counts every array twice.
    """
    compiled: Callable[..., Any] = numba.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)(loop)  # type: ignore[call-overload]
    return compiled


def inlined(loop: Callable[..., Any]) -> Callable[..., Any]:
    """A piece of kernels, compiled into each that calls it: what is called for every few values."""
    compiled: Callable[..., Any] = numba.njit(nogil=True, inline="always")(loop)
    return compiled
