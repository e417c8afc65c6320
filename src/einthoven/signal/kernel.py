"""How the inner loops are compiled: once, to native code, kept in numba's cache for later processes."""

from collections.abc import Callable
from typing import Any

import numba

__all__ = ["kernel"]


def kernel(loop: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a loop over arrays; it releases the interpreter lock while it runs.

    No ``fastmath``: reordered additions would make a result depend on how many samples came together.
    """
    compiled: Callable[..., Any] = numba.njit(cache=True, nogil=True)(loop)
    return compiled
