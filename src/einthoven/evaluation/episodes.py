"""Episodes by overlap, as WFDB's ``epicmp`` counts: how many are touched, and how much of their time."""

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["EpisodeScore", "score_episodes"]


class EpisodeScore(msgspec.Struct, frozen=True):
    """Counts and seconds of one record, or of many."""

    found: int = 0
    missed: int = 0
    right: int = 0
    wrong: int = 0
    reference_s: float = 0.0
    test_s: float = 0.0
    both_s: float = 0.0

    def __add__(self, other: "EpisodeScore") -> "EpisodeScore":
        mine, theirs = msgspec.structs.astuple(self), msgspec.structs.astuple(other)
        return EpisodeScore(*(a + b for a, b in zip(mine, theirs, strict=True)))


def score_episodes(
    reference: NDArray[np.int64], test: NDArray[np.int64], *, fs: float, start_s: float = 300.0, end: int
) -> EpisodeScore:
    """Compare spans (n, 2) from ``start_s`` to sample ``end``; an earlier onset counts from there."""
    start = round(start_s * fs)
    a, b = _clipped(reference, start, end), _clipped(test, start, end)
    both = sum(max(0, min(ae, be) - max(ab, bb)) for ab, ae in a for bb, be in b)
    found = sum(any(min(ae, be) > max(ab, bb) for bb, be in b) for ab, ae in a)
    right = sum(any(min(ae, be) > max(ab, bb) for ab, ae in a) for bb, be in b)
    return EpisodeScore(
        found=found,
        missed=len(a) - found,
        right=right,
        wrong=len(b) - right,
        reference_s=sum(e - s for s, e in a) / fs,
        test_s=sum(e - s for s, e in b) / fs,
        both_s=both / fs,
    )


def _clipped(spans: NDArray[np.int64], start: int, end: int) -> list[tuple[int, int]]:
    clipped = [(max(int(s), start), min(int(e), end)) for s, e in spans]
    return [(s, e) for s, e in clipped if e > s]
