"""How much each request of a feasible set gets of each resource."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from einthoven.placement.offloading.duality import cheapest_surcharges, least_utilisation
from einthoven.placement.offloading.feasibility import gram
from einthoven.placement.offloading.instance import FloatArray, Instance, IntArray
from einthoven.placement.offloading.plans import Allocation
from einthoven.placement.offloading.sharing import shares_at

__all__ = ["Shared", "allocate", "components", "perron"]

_POLISHES: Final = 50
_STRICTLY: Final = 1e-9


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Shared:
    """Shares of a set, parts of capacities (n, L), and the prices of whole resources (J) behind them."""

    shares: FloatArray
    prices: FloatArray
    least_utilisation: float


def allocate(instance: Instance, options: IntArray, allocation: Allocation) -> Shared:
    """Shares of a feasible set."""
    balanced = _balanced(instance, options)
    least = balanced.least_utilisation
    if allocation == "stretched":
        return _stretched(instance, options, balanced)
    # With nothing left there is one way to serve the set, and no finite surcharge would lead to it.
    if allocation == "cheapest" and least < 1.0 - _STRICTLY:
        base = np.ones(len(instance.capacities))
        prices = base + cheapest_surcharges(instance, options, base)
        shares = shares_at(instance, options, prices)
        if instance.summed(options, shares).max(initial=0.0) <= 1.0:
            return Shared(shares=shares, prices=prices, least_utilisation=least)
    return balanced


def perron(matrix: FloatArray) -> tuple[float, FloatArray]:
    """The largest eigenvalue and the positive vector of a matrix whose resources all hang together.

    Small entries of the vector become divisors, so it is polished by power steps; the value is never below
    the true one (Collatz and Wielandt).
    """
    vector = np.maximum(np.abs(np.linalg.eigh(matrix)[1][:, -1]), 1e-300)
    for _ in range(_POLISHES):
        vector = matrix @ vector
        vector /= np.linalg.norm(vector)
    return float((matrix @ vector / vector).max()), vector


def components(matrix: FloatArray | IntArray) -> list[IntArray]:
    """Resources that hang together by requests that use both; those that nobody uses are in none."""
    linked = matrix > 0
    open_ = set(np.flatnonzero(matrix.diagonal() > 0).tolist())
    found = []
    while open_:
        ripe = {min(open_)}
        group: set[int] = set()
        while ripe:
            group |= ripe
            ripe = set(np.flatnonzero(linked[list(ripe)].any(axis=0)).tolist()) - group
        open_ -= group
        found.append(np.array(sorted(group), dtype=np.int64))
    return found


def _balanced(instance: Instance, options: IntArray) -> Shared:
    """All resources of a component equally used: the Perron vector's squares are the prices."""
    if not instance.is_additive:
        balance = least_utilisation(instance, options)
        prices = np.where(balance.prices > 0, balance.prices, 1.0)
        shares = shares_at(instance, options, prices)
        return Shared(shares=shares, prices=balance.prices, least_utilisation=balance.upper)
    matrix = gram(instance, options)
    prices, worst = np.zeros(len(matrix)), 0.0
    for group in components(matrix):
        value, vector = perron(matrix[np.ix_(group, group)])
        prices[group] = vector**2
        worst = max(worst, value)
    shares = np.zeros_like(instance.loads[options])
    asked = instance.loads[options] > 0
    charged = np.where(asked, prices[instance.paths[options]], 1.0)
    root = instance.roots[options]
    # x = sqrt(a / p) sum(sqrt(p a)) with sqrt(p) = z
    shares = root / np.sqrt(charged) * (root * np.sqrt(charged)).sum(axis=1, keepdims=True)
    return Shared(shares=shares, prices=prices, least_utilisation=worst)


def _stretched(instance: Instance, options: IntArray, balanced: Shared) -> Shared:
    """Everything given away: in each component shares grow until its resources are full."""
    use = instance.summed(options, balanced.shares)
    mine = np.where(instance.loads[options] > 0, use[instance.paths[options]], 0.0).max(axis=1, initial=0.0)
    shares = balanced.shares / mine[:, None]
    return Shared(shares=shares, prices=balanced.prices, least_utilisation=balanced.least_utilisation)
