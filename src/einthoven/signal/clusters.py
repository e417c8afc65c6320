"""Beats that look alike: for each class a few mean shapes, and which of them each beat resembles most.

Leader clustering (Hartigan, Clustering Algorithms, 1975, chapter 3): the beat with most beats like it leads
the first cluster, of those that are left again the one with most, until few are left. Deviation: leaders are
sought among a sample spread evenly over the recording, so that a month takes as long as an hour.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALIKE", "Shapes", "assign", "find_shapes", "normalised"]

ALIKE: Final = 0.9
"""Least correlation of beats that are alike."""
_SAMPLE: Final = 1024
_MOST: Final = 4
"""Clusters of one class."""
_LEFT: Final = 0.02
"""Share of a class that need not have a cluster of its own."""


class Shapes(NamedTuple):
    """Mean shapes, those of a class together, the most populous first."""

    codes: NDArray[np.uint8]
    """Class of each, shape (clusters,)."""
    shapes: NDArray[np.float32]
    """Mean 0, length 1; shape (clusters, samples)."""


def normalised(shapes: NDArray[np.floating]) -> NDArray[np.float32]:
    """Each row with mean 0 and length 1; a flat row, or one with NaN, is all 0."""
    known = np.nan_to_num(shapes.astype(np.float32))
    known -= known.mean(axis=1, keepdims=True)
    length = np.linalg.norm(known, axis=1, keepdims=True)
    is_whole = np.isfinite(shapes).all(axis=1, keepdims=True) & (length > 0)
    return np.where(is_whole, known / np.where(length > 0, length, 1.0), 0.0).astype(np.float32)


def find_shapes(shapes: NDArray[np.floating], codes: NDArray[np.uint8]) -> Shapes:
    """What beats look like.

    Parameters
    ----------
    shapes : shape (beats, samples), in any unit; NaN where a sample is missing. The first and the last sample
        are there so that beats can be compared when one of them lies a sample off.
    codes : class of each beat.
    """
    found_codes: list[int] = []
    found: list[NDArray[np.float32]] = []
    for code in np.unique(codes).tolist():
        of_class = np.flatnonzero(codes == code)
        sample = of_class[np.linspace(0, of_class.size - 1, min(of_class.size, _SAMPLE)).astype(np.int64)]
        known = shapes[sample][np.isfinite(shapes[sample]).all(axis=1)]
        for shape in _leaders(_moved(known)):
            found_codes.append(code)
            found.append(shape)
    width = max(0, shapes.shape[1] - 2)
    return Shapes(np.array(found_codes, np.uint8), np.array(found, np.float32).reshape(len(found), width))


def _moved(shapes: NDArray[np.floating]) -> NDArray[np.float32]:
    """As they are, a sample earlier and a sample later, normalised; shape (3, beats, samples - 2)."""
    width = shapes.shape[1] - 2
    return np.stack([normalised(shapes[:, first : first + width]) for first in (1, 0, 2)])


def _leaders(moved: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    some = moved[0]
    alike = np.max([one @ some.T for one in moved], axis=0) >= ALIKE
    alike |= alike.T
    left = np.any(some, axis=1)
    least = _LEFT * len(some)
    shapes: list[NDArray[np.float32]] = []
    while left.any() and len(shapes) < _MOST and (not shapes or left.sum() > least):
        followers = (alike & left).sum(axis=1)
        leader = int(np.argmax(np.where(left, followers, -1)))
        members = alike[leader] & left
        nearest = np.argmax(moved[:, members] @ some[leader], axis=0)
        shape = normalised(moved[nearest, np.flatnonzero(members)].mean(axis=0, keepdims=True))[0]
        shapes.append(shape)
        left &= ~members & (np.max(moved @ shape, axis=0) < ALIKE)
    return shapes


def assign(shapes: Shapes, beats: NDArray[np.floating], codes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The cluster of its class that each beat resembles most; -1 where there is none, or a sample is missing.

    Parameters
    ----------
    beats : shape (beats, samples), as for `find_shapes`. codes : class of each.
    """
    if not shapes.codes.size:
        return np.full(len(codes), -1, np.int64)
    moved = _moved(beats)
    likeness = np.max(moved @ shapes.shapes.T, axis=0)
    likeness[codes[:, None] != shapes.codes[None, :]] = -2.0
    is_known = np.any(moved[0], axis=1) & (likeness.max(axis=1) > -2.0)
    return np.where(is_known, np.argmax(likeness, axis=1), -1)
