"""A plan: which requests are accepted, where each runs, what it holds, and how good that is at best."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

import msgspec
import numpy as np

from einthoven.placement.offloading.instance import FloatArray, Instance, IntArray

__all__ = ["ALLOCATIONS", "Allocation", "Dual", "Limits", "Plan"]

Allocation = Literal["balanced", "stretched", "cheapest", "frozen"]
"""How shares are given.

balanced : all resources of what hangs together equally loaded, every deadline met exactly.
stretched : the same, with everything given away; every request is early by the headroom.
cheapest : the least sum of utilisations, every deadline met exactly.
frozen : each request's share was settled when it came, and never changed after that.
"""
ALLOCATIONS: Final[tuple[Allocation, ...]] = get_args(Allocation)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How hard to look: counts, so that the same input gives the same plan, and seconds if asked."""

    cut_rounds: int = 200
    """Rounds of the relaxation."""
    search_rounds: int = 60
    """Rounds of the local search."""
    searched: int = 150
    """With more resources than these the default does without it, which would take minutes."""
    integer_rounds: int = 2000
    """Rounds of the exact search."""
    nodes: int = 2_000_000
    """Of the tree of one integer round."""
    relaxed_options: int = 5_000
    """With more options the bound is computed without a linear program, which would take minutes."""
    seconds: float = float("inf")
    """After which what was found by then is the answer; a clock must be given with it."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Dual:
    """Why no plan can be worth more than a bound: vectors over the resources, with weights.

    For any vector ``z`` a feasible set has ``sum((zᵀv)²) <= zᵀz``, since its M is at most 1. So with weights
    ``w`` no plan is worth more than ``sum_i max(0, max_k(value_i - sum_m w_m (z_mᵀ v_ik)²)) + sum_m w_m
    z_mᵀz_m``: anybody can compute that, no solver need be trusted. With caps or fixed powers ``(zᵀv)²`` is
    the least cost of the option at prices ``z²``.
    """

    vectors: FloatArray
    """(cuts, J)"""
    weights: FloatArray
    """(cuts), 0 or more"""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Plan:
    """An answer. Whatever made it, it went through `verify.flaws_of` before anybody sees it."""

    method: str
    allocation: Allocation
    offered: int
    """Requests that asked."""
    accepted: IntArray
    """Those that were accepted, ascending (n)."""
    options: IntArray
    """The option each of them has (n)."""
    shares: FloatArray
    """What each holds at each place of its path, in the resource's unit (n, L)."""
    prices: FloatArray
    """Per unit of each resource (J). With balanced, stretched and cheapest shares every request can compute
    its own from them (`sharing.shares_at`), so a new allocation is told with J numbers."""
    utilisations: FloatArray
    """Given away of each resource (J), part of its capacity."""
    least_utilisation: float
    """The least that the most used resource can be used when this set is served: at most 1. What is missing
    to 1 is the headroom: every deadline could be shorter by that factor."""
    value: float
    """Of what was accepted."""
    cost: float
    """Sum of the utilisations."""
    bound: float
    """No plan is worth more; infinite where the method knows none."""
    is_proven: bool
    """No plan is worth more than this one."""
    dual: Dual | None = None

    @property
    def acceptance(self) -> float:
        """Accepted part of the requests; 1 if there were none."""
        return len(self.accepted) / self.offered if self.offered else 1.0

    @property
    def gap(self) -> float:
        """How much more than this plan the best could be worth, as a part of the bound."""
        if self.is_proven or self.value >= self.bound:
            return 0.0
        return 1.0 - self.value / self.bound

    def chosen(self) -> dict[int, int]:
        """The option of each accepted request."""
        return dict(zip(self.accepted.tolist(), self.options.tolist(), strict=True))

    def held(self, instance: Instance, number: int) -> dict[int, float]:
        """What the accepted request of a place in the plan holds: shares by resource."""
        option = self.options[number]
        pairs = zip(instance.paths[option], instance.demands[option], self.shares[number], strict=True)
        return {int(resource): float(share) for resource, demand, share in pairs if demand > 0}

    def __post_init__(self) -> None:
        for name in self.__slots__:
            array = getattr(self, name)
            if isinstance(array, np.ndarray):
                array.flags.writeable = False
