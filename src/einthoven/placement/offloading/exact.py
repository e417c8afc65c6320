"""The best set of all, with proof: integer programs and cuts in turn.

The program knows feasibility only by its cuts: its points are separated like fractional ones until one is
feasible or there is none. Most of the work is spared by what is known before: a good choice, which often
reaches the bound rounded down already. Else the program is only asked for something better.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from einthoven.placement.offloading.duality import cheapest_surcharges
from einthoven.placement.offloading.feasibility import worst_of
from einthoven.placement.offloading.greedy import Choice, worth
from einthoven.placement.offloading.instance import FloatArray, Instance, IntArray
from einthoven.placement.offloading.plans import Limits
from einthoven.placement.offloading.relaxation import Relaxed, whole
from einthoven.placement.offloading.sharing import costs_at, shares_at
from einthoven.placement.offloading.solver import Program

__all__ = ["Cheapest", "Searched", "cheapest_set", "search"]

_WHOLE: Final = 5e-10
_AGAIN: Final = 5e-6
_NEAR: Final = 2e-6
_LOOSE: Final = 1e-6
_SAME: Final = 1e-6


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Searched:
    """The best choice that was found, and what none can exceed."""

    choice: Choice
    bound: float
    is_proven: bool


def search(
    instance: Instance,
    relaxed: Relaxed,
    known: Choice,
    limits: Limits,
    *,
    left_s: Callable[[], float] = lambda: float("inf"),
) -> Searched:
    """The most valuable choice.

    Parameters
    ----------
    relaxed : with its program, whose cuts are kept.
    known : a feasible choice to begin with.
    left_s : seconds that may still be spent.
    """
    value, bound = worth(instance, known), whole(instance, relaxed.bound)
    if value >= bound - _SAME:
        return Searched(choice=known, bound=value, is_proven=True)
    program = relaxed.program
    if program is None:
        return Searched(choice=known, bound=bound, is_proven=False)
    step = 1.0 if np.all(instance.values % 1 == 0) else _SAME * max(1.0, value)
    program.make_integer()
    program.demand_value(value + step - _SAME)
    for _ in range(limits.integer_rounds):
        if left_s() <= 0:
            break
        point = program.solve(nodes=limits.nodes, seconds=left_s())
        if point.is_infeasible:
            return Searched(choice=known, bound=value, is_proven=True)
        bound = min(bound, max(value, whole(instance, -point.bound)))
        if point.taken is None:
            break
        taken = np.round(point.taken)
        options = np.flatnonzero(taken)
        worst = program.separate(taken, _WHOLE)
        if worst <= 1 + _WHOLE:
            known = {int(instance.owners[option]): int(option) for option in options}
            value = worth(instance, known)
            if value >= bound - _SAME:
                return Searched(choice=known, bound=value, is_proven=True)
            program.demand_value(value + step - _SAME)
        elif worst < 1 + _AGAIN:
            # Within the tolerance of its rows the solver would bring it again for ever.
            program.forbid(options)
    return Searched(choice=known, bound=bound, is_proven=False)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Cheapest:
    """The least cost, as a sum of utilisations, of serving so many requests: between two numbers."""

    choice: Choice
    lower: float
    upper: float
    is_proven: bool


def cheapest_set(
    instance: Instance,
    count: int,
    limits: Limits,
    *,
    precision: float = 1e-4,
    left_s: Callable[[], float] = lambda: float("inf"),
) -> Cheapest:
    """The cheapest way to serve at least so many requests; infinite where none was found.

    By cuts of both kinds: at any surcharges m a set costs at least ``sum(h(p + m)) - sum(m)``.
    """
    program = Program(instance, count=count, slack=_LOOSE)
    program.cut_pairs()
    program.make_integer()
    everything = np.arange(len(instance.owners))
    base = np.ones(len(instance.capacities))
    program.bound_cost(costs_at(instance, everything, base), 0.0)
    lower, upper, best = 0.0, float("inf"), Choice()
    for _ in range(limits.integer_rounds):
        if left_s() <= 0:
            break
        point = program.solve(nodes=limits.nodes, seconds=left_s())
        if point.is_infeasible or point.taken is None:
            break
        lower = max(lower, point.bound)
        taken = np.round(point.taken)
        if program.separate(taken, _NEAR) > 1 + _NEAR:
            continue
        options = np.flatnonzero(taken)
        cost, surcharges = _cheapest(instance, options)
        if cost < upper:
            upper, best = cost, {int(instance.owners[option]): int(option) for option in options}
        if upper - lower <= precision * max(1.0, upper):
            return Cheapest(choice=best, lower=lower, upper=upper, is_proven=True)
        program.bound_cost(costs_at(instance, everything, base + surcharges), float(surcharges.sum()))
    return Cheapest(choice=best, lower=lower, upper=upper, is_proven=False)


def _cheapest(instance: Instance, options: IntArray) -> tuple[float, FloatArray]:
    """The least cost of a set, and the surcharges that prove it; of a set on the border nearly so."""
    base = np.ones(len(instance.capacities))
    worst = worst_of(instance, options)[0]
    room = max(1.0, worst * (1 + _NEAR))
    surcharges = cheapest_surcharges(instance, options, base, room=room)
    shares = shares_at(instance, options, base + surcharges)
    return float(shares.sum()), surcharges
