"""Which found beat is which annotated beat."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["pair_beats"]


def pair_beats(reference: NDArray[np.int64], test: NDArray[np.int64], window: int) -> list[tuple[int, int]]:
    """Pairs of indices, one to one, in time order, as WFDB's ``bxb`` makes them.

    The earlier unpaired beat is taken. It is paired with the other list's current beat if the two lie within
    ``window`` samples and the other side's next beat is not closer, or fits the next beat here better still.
    """
    pairs: list[tuple[int, int]] = []
    i = j = 0
    while i < reference.size and j < test.size:
        distance = int(test[j] - reference[i])
        if abs(distance) > window:
            i, j = (i + 1, j) if distance > 0 else (i, j + 1)
        elif distance >= 0 and _leaves(reference, i, test, j, distance):
            i += 1
        elif distance < 0 and _leaves(test, j, reference, i, -distance):
            j += 1
        else:
            pairs.append((i, j))
            i, j = i + 1, j + 1
    return pairs


def _leaves(early: NDArray[np.int64], i: int, late: NDArray[np.int64], j: int, distance: int) -> bool:
    """Whether the later beat is left to the early side's next one."""
    if i + 1 >= early.size:
        return False
    next_distance = abs(int(early[i + 1] - late[j]))
    if next_distance >= distance:
        return False
    return j + 1 >= late.size or abs(int(early[i + 1] - late[j + 1])) >= next_distance
