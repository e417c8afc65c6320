"""Found beats against annotated ones, as the reference tool pairs them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["BeatScore", "pair_beats", "score_beats"]


class BeatScore(NamedTuple):
    """Counts of one record or of many."""

    found: int
    missed: int
    extra: int

    @property
    def se(self) -> float:
        """Sensitivity."""
        return self.found / (self.found + self.missed)

    @property
    def ppv(self) -> float:
        """Positive predictivity."""
        return self.found / (self.found + self.extra)


def pair_beats(reference: NDArray[np.int64], test: NDArray[np.int64], window: int) -> list[tuple[int, int]]:
    """Pairs of indices, one to one, in time order, as WFDB's ``bxb`` makes them.

    The earlier unpaired beat is taken; it is paired with the other list's current beat if they lie within
    ``window`` samples and the other's next beat is not closer, or fits the next beat here better.
    """
    pairs: list[tuple[int, int]] = []
    i = j = 0
    while i < reference.size and j < test.size:
        distance = int(test[j] - reference[i])
        if abs(distance) > window:
            if distance > 0:
                i += 1
            else:
                j += 1
            continue
        if distance >= 0 and i + 1 < reference.size:
            closer = abs(int(reference[i + 1] - test[j])) < distance
            taken = j + 1 < test.size and abs(int(test[j + 1] - reference[i + 1])) < abs(
                int(reference[i + 1] - test[j])
            )
            if closer and not taken:
                i += 1
                continue
        if distance < 0 and j + 1 < test.size:
            closer = abs(int(test[j + 1] - reference[i])) < -distance
            taken = i + 1 < reference.size and abs(int(reference[i + 1] - test[j + 1])) < abs(
                int(test[j + 1] - reference[i])
            )
            if closer and not taken:
                j += 1
                continue
        pairs.append((i, j))
        i += 1
        j += 1
    return pairs


def score_beats(
    reference: NDArray[np.int64],
    test: NDArray[np.int64],
    *,
    fs: float,
    start_s: float = 300.0,
    without: NDArray[np.int64] | None = None,
    window_s: float = 0.15,
) -> BeatScore:
    """Score from ``start_s`` on, outside the intervals ``without`` (n, 2), samples.

    Simpler than ``bxb`` at the border: beats are cut at ``start_s`` on both sides before pairing.
    """
    intervals = np.empty((0, 2), np.int64) if without is None else without

    def kept(samples: NDArray[np.int64]) -> NDArray[np.int64]:
        keep = samples >= start_s * fs
        for begin, end in intervals:
            keep &= ~((samples >= begin) & (samples <= end))
        return samples[keep]

    a, b = kept(reference), kept(test)
    pairs = len(pair_beats(a, b, int(window_s * fs)))
    return BeatScore(pairs, a.size - pairs, b.size - pairs)
