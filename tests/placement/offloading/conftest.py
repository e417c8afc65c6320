"""Problems for the tests of offloading, and answers by other means than ours."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from einthoven.placement.offloading import Instance, Scenario, draw, prepare

FloatArray = NDArray[np.float64]
TIGHT = Scenario(
    bandwidth_hz=8e6, edge_cycle_s=8e9, core_cycle_s=20e9, backhaul_bit_s=100e6, xhaul_bit_s=100e6
)


@pytest.fixture(scope="session")
def a_tight_one() -> Callable[..., Instance]:
    """Few requests for little capacity, with or without values."""

    def make(requests: int, seed: int, *, has_values: bool = False) -> Instance:
        return draw(TIGHT, requests, seed, has_values=has_values).instance

    return make


@pytest.fixture(scope="session")
def a_set() -> Callable[[int], Instance]:
    """Requests of one option each, on random paths over resources of very different sizes."""

    def make(seed: int) -> Instance:
        random = np.random.default_rng(seed)
        size, count = int(random.integers(2, 7)), int(random.integers(2, 7))
        capacities = 10 ** random.uniform(6, 11, size)
        width = min(size, 4)
        paths = np.array([random.permutation(size)[:width] for _ in range(count)])
        lengths = random.integers(1, width + 1, count)
        parts = random.uniform(0.002, 0.4, (count, width)) * (np.arange(width) < lengths[:, None])
        works = parts / np.maximum(1.0, parts.sum(axis=1, keepdims=True) * 1.01) * capacities[paths]
        return prepare(capacities=capacities, paths=paths, works=works, owners=np.arange(count))

    return make


@pytest.fixture(scope="session")
def enumerated() -> Callable[[Instance], float]:
    """The most value of all choices, by trying them, with nothing but an eigenvalue."""

    def best(instance: Instance) -> float:
        rows = instance.dense_roots()
        after = np.append(np.cumsum(instance.values[::-1])[::-1], 0.0)
        top = 0.0

        def go(request: int, matrix: FloatArray, value: float) -> None:
            nonlocal top
            top = max(top, value)
            if request == instance.count or value + after[request] <= top:
                return
            for option in instance.options_of(request):
                grown = matrix + np.outer(rows[option], rows[option])
                if np.linalg.eigvalsh(grown)[-1] <= 1 + 1e-12:
                    go(request + 1, grown, value + instance.values[request])
            go(request + 1, matrix, value)

        size = len(instance.capacities)
        go(0, np.zeros((size, size)), 0.0)
        return top

    return best
