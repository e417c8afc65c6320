"""Ectopic beats by how many come in a row, as EC57's reference tool groups them.

One is single, two are a couplet, three to five a short run, six or more a long one (WFDB ``rxr``).
Deviation: a ventricular run is of V beats alone; ``rxr`` counts fusion beats in.
"""

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["Ectopy", "count_runs"]

_LONGEST_GAP: Final = 375
"""Grid samples (3 s) between two beats in a row."""


class Ectopy(msgspec.Struct, frozen=True):
    """How often ectopic beats of one class came alone, in pairs and in runs."""

    beats: int
    singles: int
    couplets: int
    short_runs: int
    long_runs: int
    longest: int
    """Beats of the longest run."""


def count_runs(grid: NDArray[np.int64], classes: NDArray[np.uint8], code: int) -> Ectopy:
    """Group the beats of class ``code``; grid positions and classes of all beats, shape (beats,)."""
    of_class = classes == code
    if not of_class.any():
        return Ectopy(0, 0, 0, 0, 0, 0)
    continues = np.zeros(classes.size, np.bool_)
    continues[1:] = of_class[1:] & of_class[:-1] & (np.diff(grid) <= _LONGEST_GAP)
    starts = np.flatnonzero(of_class & ~continues)
    # Between two starts lie the run's own beats, and others that count for nothing.
    lengths = np.add.reduceat(of_class.astype(np.int64), starts)
    return Ectopy(
        beats=int(of_class.sum()),
        singles=int(np.count_nonzero(lengths == 1)),
        couplets=int(np.count_nonzero(lengths == 2)),
        short_runs=int(np.count_nonzero((lengths >= 3) & (lengths <= 5))),
        long_runs=int(np.count_nonzero(lengths >= 6)),
        longest=int(lengths.max()),
    )
