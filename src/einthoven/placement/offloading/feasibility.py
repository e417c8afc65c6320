"""Whether a set of requests can be served together: the largest eigenvalue of a small matrix.

With ``v_j = sqrt(a_j / C_j)`` of each request and ``M = sum(v vᵀ)``, the least possible utilisation of the
most used resource is the largest eigenvalue of M; so a set is feasible if and only if that is at most 1. (For
additive phases, divisible shares and no caps; the proof is in docs/offloading.md.) We use it in three forms:
the eigenvalue, one product for a newcomer to a known set, and a formula for two resources.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np

from einthoven.placement.offloading.duality import least_utilisation
from einthoven.placement.offloading.instance import FloatArray, Instance, IntArray

__all__ = ["EXCESS", "SlackInverse", "fits_two", "gram", "is_feasible", "takes_of", "top", "worst_of"]

EXCESS: Final = 1e-12
"""An eigenvalue this far above 1 is rounding."""
_NEAR: Final = 1e-6
_ROOM: Final = 1e-4
_UPDATES: Final = 1000


def gram(
    instance: Instance, options: Iterable[int] | IntArray, weights: FloatArray | None = None
) -> FloatArray:
    """M of a set of options, weighted or whole (J, J)."""
    some = np.fromiter(options, dtype=np.int64)
    size = len(instance.capacities)
    path, root = instance.paths[some], instance.roots[some]
    products = root[:, :, None] * root[:, None, :]
    if weights is not None:
        products = products * weights[:, None, None]
    pairs = (path[:, :, None] * size + path[:, None, :]).ravel()
    flat = np.bincount(pairs, weights=products.ravel(), minlength=size * size)
    return flat.astype(np.float64).reshape(size, size)


def top(matrix: FloatArray) -> tuple[float, FloatArray]:
    """The largest eigenvalue of a symmetric matrix without negative numbers, and its vector without any."""
    values, vectors = np.linalg.eigh(matrix)
    return float(values[-1]), np.abs(vectors[:, -1])


def worst_of(instance: Instance, options: IntArray) -> tuple[float, FloatArray]:
    """The least utilisation of the most used resource, and prices of the whole resources that show it (J)."""
    if instance.is_additive:
        value, vector = top(gram(instance, options))
        return value, vector**2
    balance = least_utilisation(instance, options)
    return balance.upper, balance.prices


def is_feasible(instance: Instance, options: IntArray) -> bool:
    """Whether a set can be served together."""
    if instance.is_additive:
        return bool(np.linalg.eigvalsh(gram(instance, options))[-1] <= 1 + EXCESS)
    return least_utilisation(instance, options, decides=True).upper <= 1 + 1e-9


def fits_two(loads: FloatArray) -> bool:
    """The same for two resources by their sums: (n, 2) parts of capacities; O(1) for each newcomer."""
    first, second = loads.sum(axis=0)
    cross = np.sqrt(loads[:, 0] * loads[:, 1]).sum()
    return bool(first <= 1 and second <= 1 and (1 - first) * (1 - second) >= cross**2)


def takes_of(matrix: FloatArray, paths: IntArray, roots: FloatArray) -> FloatArray:
    """``vᵀGv`` of many options (n)."""
    total = np.zeros(len(paths))
    for a in range(paths.shape[1]):
        for b in range(paths.shape[1]):
            total += roots[:, a] * matrix[paths[:, a], paths[:, b]] * roots[:, b]
    return total


class SlackInverse:
    """``G = (I - M)⁻¹`` of a feasible set: a newcomer fits if and only if ``vᵀGv <= 1``.

    (Schur complement.) That product, the newcomer's *take*, is the part of what is left that it would use.
    G follows M by rank-one updates; it is computed anew every thousand of them and near the border, where
    they lose digits.
    """

    def __init__(self, resources: int, matrix: FloatArray | None = None) -> None:
        self.matrix = np.zeros((resources, resources)) if matrix is None else matrix.copy()
        self.inverse: FloatArray = np.eye(resources)
        self._updates = 0
        if matrix is not None:
            self.rebuild()

    def rebuild(self) -> None:
        """Compute G from M; a set on the border itself is treated as a hair inside."""
        self._updates = 0
        identity = np.eye(len(self.matrix))
        largest = float(np.linalg.eigvalsh(self.matrix)[-1])
        self.inverse = np.asarray(
            np.linalg.inv(max(1.0, largest + 1e-9) * identity - self.matrix), dtype=np.float64
        )

    def takes(self, paths: IntArray, roots: FloatArray) -> FloatArray:
        """Of many options at once (n)."""
        return takes_of(self.inverse, paths, roots)

    def fits(self, path: IntArray, root: FloatArray) -> bool:
        """Whether one option fits; on the border the eigenvalue itself decides."""
        take = float(root @ self.inverse[np.ix_(path, path)] @ root)
        if abs(take - 1.0) > _NEAR:
            return take < 1.0
        grown = self.matrix.copy()
        np.add.at(grown, np.ix_(path, path), np.outer(root, root))
        return bool(np.linalg.eigvalsh(grown)[-1] <= 1 + EXCESS)

    def add(self, path: IntArray, root: FloatArray) -> None:
        """Take an option in that fits."""
        np.add.at(self.matrix, np.ix_(path, path), np.outer(root, root))
        g = self.inverse[:, path] @ root
        room = 1.0 - float(root @ g[path])
        self._follow(g, 1.0 / room if room > _ROOM else None)

    def remove(self, path: IntArray, root: FloatArray) -> None:
        """Let one go."""
        np.subtract.at(self.matrix, np.ix_(path, path), np.outer(root, root))
        g = self.inverse[:, path] @ root
        grows = 1.0 + float(root @ g[path])
        self._follow(g, -1.0 / grows if grows < 1.0 / _ROOM else None)

    def _follow(self, g: FloatArray, factor: float | None) -> None:
        self._updates += 1
        if factor is None or self._updates >= _UPDATES:
            self.rebuild()
        else:
            self.inverse += np.outer(g, g) * factor
