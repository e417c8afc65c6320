"""The n-th smallest of a few numbers, without branches: a processor cannot guess how a sort will go.

An integer is found by halving the range that it lies in and counting how many are below. The count is over
a fixed number of slots, so that the loop becomes a handful of vector instructions: a median of 51 takes 30
to 60 ns, by partitioning 500.
"""

from typing import Final

import numpy as np

from einthoven.signal.kernel import part

__all__ = ["EMPTY", "SLOTS", "select", "select_by_rank", "select_three"]

SLOTS: Final = 64
EMPTY: Final = np.int32(2**31 - 1)
"""What stands in a slot that is not used."""


@part
def select(values, n, least, places):  # type: ignore[no-untyped-def]
    """The value that ``n`` of the `SLOTS` ``values`` come before in order.

    It lies in ``least`` to ``least`` + 2 ** ``places`` - 1, and is found place by place, as a binary number.
    """
    found = np.int32(0)
    more = np.int32(n + 1)
    for place in range(places - 1, -1, -1):
        tried = np.int32(least + ((2 * found + 1) << place))
        below = np.int32(0)
        for i in range(SLOTS):
            below = np.int32(below + np.int32(values[i] < tried))
        # The sign is the place's digit: of a condition the compiler would make a branch.
        found = np.int32(2 * found + np.int32(np.uint32(below - more) >> np.uint32(31)))
    return np.int32(least + found)


@part
def select_three(values, n, places):  # type: ignore[no-untyped-def]
    """As `select` with a ``least`` of 0, for three ``n`` at once: none waits for the others' counts."""
    a = b = c = np.int32(0)
    for place in range(places - 1, -1, -1):
        try_a = np.int32((2 * a + 1) << place)
        try_b = np.int32((2 * b + 1) << place)
        try_c = np.int32((2 * c + 1) << place)
        below_a = below_b = below_c = np.int32(0)
        for i in range(SLOTS):
            below_a = np.int32(below_a + np.int32(values[i] < try_a))
            below_b = np.int32(below_b + np.int32(values[i] < try_b))
            below_c = np.int32(below_c + np.int32(values[i] < try_c))
        a = np.int32(2 * a + np.int32(np.uint32(below_a - np.int32(n[0] + 1)) >> np.uint32(31)))
        b = np.int32(2 * b + np.int32(np.uint32(below_b - np.int32(n[1] + 1)) >> np.uint32(31)))
        c = np.int32(2 * c + np.int32(np.uint32(below_c - np.int32(n[2] + 1)) >> np.uint32(31)))
    return a, b, c


@part
def select_by_rank(values, count, n):  # type: ignore[no-untyped-def]
    """The value that ``n`` of the first ``count`` come before in order; the other slots hold infinity."""
    found = -np.inf
    for k in range(count):
        below = np.int32(0)
        for i in range(SLOTS):
            below = np.int32(below + np.int32(values[i] < values[k]))
        found = max(found, values[k] if below <= n else -np.inf)
    return found
