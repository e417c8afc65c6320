"""How the inner loops are compiled: once, to native code, kept in numba's cache for later processes."""

from collections.abc import Callable
from typing import Any

import numba

__all__ = ["kernel", "kernel_part"]


def kernel(loop: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a loop over arrays; it releases the interpreter lock while it runs.

    No ``fastmath``: reordered additions would make a result depend on how many samples came together.
    """
    compiled: Callable[..., Any] = numba.njit(cache=True, nogil=True)(loop)
    return compiled


def kernel_part(loop: Callable[..., Any]) -> Callable[..., Any]:
    """A piece of kernels, compiled into each that calls it: what is called for every few values."""
    compiled: Callable[..., Any] = numba.njit(nogil=True, inline="always")(loop)
    return compiled
