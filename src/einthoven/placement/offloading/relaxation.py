"""How good any plan can be at best, by letting options be taken in part.

Two ways to the same number, the value of ``max sum(v y), sum(y v vᵀ) <= I``: cuts with a linear program, to
all digits; or, with very many options, ascent with a barrier, within a per cent and without a solver. Either
gives a `Dual` that anybody can check, and fractions of options by which to round.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from einthoven.placement.offloading.feasibility import gram, takes_of
from einthoven.placement.offloading.greedy import Choice, accept_in_order, by_log_det, worth
from einthoven.placement.offloading.instance import FloatArray, Instance
from einthoven.placement.offloading.plans import Dual, Limits
from einthoven.placement.offloading.sharing import costs_at
from einthoven.placement.offloading.solver import Program
from einthoven.signal.kernel import inlined, kernel

__all__ = ["Relaxed", "ascend", "bound_of", "dual_costs", "priced", "relax", "round_off", "whole"]

_TIGHT: Final = 1e-7
_LIGHT: Final = 1e-9
_MANY: Final = 1500
_FEW_ROUNDS: Final = 40
_HEAVY: Final = 1e-3
_STILL: Final = 0.01
_INSIDE: Final = 0.9
_SWEEPS: Final = 10
_BARRIERS: Final = (0.3, 0.1, 0.03)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Relaxed:
    """A bound, why it holds, and how much of each option the relaxation takes (K)."""

    bound: float
    dual: Dual
    taken: FloatArray
    program: Program | None = None


def relax(instance: Instance, limits: Limits, left_s: Callable[[], float] = lambda: float("inf")) -> Relaxed:
    """The bound by cuts: solve, cut off what needs more than there is, again, while seconds are left.

    With many options rounds are dear and the last of them bring little: then the first cuts are those of
    `ascend`, and there are few rounds. Whenever it stops, the bound holds.
    """
    program, rounds = Program(instance), limits.cut_rounds
    if instance.is_additive and len(instance.owners) > _MANY:
        risen, rounds = ascend(instance, left_s).dual, min(rounds, _FEW_ROUNDS)
        for vector in risen.vectors[risen.weights > _HEAVY * risen.weights.max(initial=0.0)]:
            program.cut(vector)
    else:
        program.cut_pairs()
    point = program.solve()
    for _ in range(rounds):
        if left_s() <= 0 or point.taken is None or program.separate(point.taken, _TIGHT) <= 1 + _TIGHT:
            break
        point = program.solve()
    weights = program.weights()
    heavy = np.flatnonzero(weights > _LIGHT)
    dual = Dual(
        vectors=np.array([program.cuts[one] for one in heavy]).reshape(len(heavy), len(instance.capacities)),
        weights=weights[heavy],
    )
    taken = np.zeros(len(instance.owners)) if point.taken is None else point.taken
    return Relaxed(bound=bound_of(instance, dual), dual=dual, taken=taken, program=program)


def bound_of(instance: Instance, dual: Dual) -> float:
    """What a dual proves; see there."""
    costs = dual_costs(instance, dual)
    gains = np.zeros(instance.count)
    np.maximum.at(gains, instance.owners, instance.values[instance.owners] - costs)
    return float(gains.sum() + dual.weights @ (dual.vectors**2).sum(axis=1))


def dual_costs(instance: Instance, dual: Dual) -> FloatArray:
    """What each option costs at a dual's prices, weighed (K)."""
    costs = np.zeros(len(instance.owners))
    everything = np.arange(len(costs))
    for weight, vector in zip(dual.weights, dual.vectors, strict=True):
        if instance.is_additive:
            costs += weight * (instance.roots * vector[instance.paths]).sum(axis=1) ** 2
        else:
            costs += weight * costs_at(instance, everything, vector**2)
    return costs


def ascend(instance: Instance, left_s: Callable[[], float] = lambda: float("inf")) -> Relaxed:
    """The bound without a solver, for additive instances of any size.

    Maximises ``sum(v y) + t log det(I - M(y))`` request by request, each in closed form, for falling t. At
    the maximum ``t (I - M)⁻¹`` is optimal for the dual problem but for ``t J``; before, it is a bound like
    any other matrix without negative eigenvalues, and the best multiple of it is taken.
    """
    size = len(instance.capacities)
    taken = np.zeros(len(instance.owners))
    for option in by_log_det(instance).values():
        taken[option] = _INSIDE
    best = np.inf
    matrix: FloatArray = np.zeros((size, size))
    for barrier in _BARRIERS:
        for _ in range(_SWEEPS):
            some = np.flatnonzero(taken)
            inverse = np.linalg.inv(np.eye(size) - gram(instance, some, taken[some])).astype(np.float64)
            moved = _sweep(
                inverse, instance.paths, instance.roots, instance.starts, instance.values, barrier, taken
            )
            bound, factor = _scaled(instance, inverse)
            if bound < best:
                best, matrix = bound, np.asarray(factor * inverse)
            if moved < _STILL * len(some) or left_s() <= 0:
                break
    weights, vectors = np.linalg.eigh(matrix)
    heavy = weights > 0
    dual = Dual(vectors=np.ascontiguousarray(vectors.T[heavy]), weights=weights[heavy])
    return Relaxed(bound=bound_of(instance, dual), dual=dual, taken=taken)


@inlined
def _product(inverse, paths, roots, one, other):  # type: ignore[no-untyped-def]
    """``vᵀGv'`` of two options."""
    total = 0.0
    for a in range(paths.shape[1]):
        for b in range(paths.shape[1]):
            total += roots[one, a] * inverse[paths[one, a], paths[other, b]] * roots[other, b]
    return total


@inlined
def _update(inverse, paths, roots, option, change, g):  # type: ignore[no-untyped-def]
    """G after so much more of an option."""
    count, take = len(g), 0.0
    for j in range(count):
        total = 0.0
        for a in range(paths.shape[1]):
            total += inverse[j, paths[option, a]] * roots[option, a]
        g[j] = total
    for a in range(paths.shape[1]):
        take += g[paths[option, a]] * roots[option, a]
    scale = change / (1.0 - change * take)
    for j in range(count):
        scaled = g[j] * scale
        for k in range(count):
            inverse[j, k] += scaled * g[k]


def priced(instance: Instance, vector: FloatArray) -> Dual:
    """The best dual of one vector: the least bound over its weight."""
    costs = costs_at(instance, np.arange(len(instance.owners)), vector**2)
    return Dual(
        vectors=vector[None, :], weights=np.array([_weight(instance, costs, float(vector @ vector))[1]])
    )


def _scaled(instance: Instance, inverse: FloatArray) -> tuple[float, float]:
    """The bound by the best multiple of a matrix, and that multiple."""
    takes = takes_of(inverse, instance.paths, instance.roots)
    return _weight(instance, takes, float(np.trace(inverse)))


def _weight(instance: Instance, costs: FloatArray, offset: float) -> tuple[float, float]:
    """The least of ``sum_i max(0, value_i - w min_k cost_ik) + w offset`` over w: at one of its corners."""
    least = np.full(instance.count, np.inf)
    np.minimum.at(least, instance.owners, costs)
    asks = np.isfinite(least)
    value, cost = instance.values[asks], np.maximum(least[asks], 1e-300)
    corners = value / cost
    order = np.argsort(-corners, kind="stable")
    # At a corner all with larger ones still gain.
    bounds = np.cumsum(value[order]) - corners[order] * (np.cumsum(cost[order]) - offset)
    if not len(bounds):
        return 0.0, 0.0
    at = int(np.argmin(bounds))
    return (
        (float(bounds[at]), float(corners[order][at]))
        if bounds[at] < value.sum()
        else (float(value.sum()), 0.0)
    )


@kernel
def _sweep(inverse, paths, roots, starts, values, barrier, taken):  # type: ignore[no-untyped-def]
    """Let each request in turn take the best of its options more or less, and shift to a better one.

    All three in closed form: with ``q = vᵀGv`` taking ``d`` more of an option changes the determinant by ``1
    - d q``; shifting d from one to another by ``1 - d (q - q') - d² (q q' - (vᵀGv')²)``. Gives how many
    moved.
    """
    count = inverse.shape[0]
    g = np.empty(count)
    moved = 0
    for request in range(len(values)):
        first, last = starts[request], starts[request + 1]
        room, best, least, changed = 1.0, -1, np.inf, False
        for option in range(first, last):
            room -= taken[option]
            take = _product(inverse, paths, roots, option, option)
            if take < least:
                least, best = take, option
        if best < 0:
            continue
        for held in range(first, last):
            if taken[held] <= 0.0 and held != best:
                continue
            change = 1.0 / _product(inverse, paths, roots, held, held) - barrier / values[request]
            change = min(max(change, -taken[held]), room)
            if abs(change) > 1e-4 or (change < 0.0 and change == -taken[held]):
                _update(inverse, paths, roots, held, change, g)
                taken[held] += change
                room -= change
                changed = True
        for held in range(first, last):
            if taken[held] <= 0.0 or held == best:
                continue
            there = _product(inverse, paths, roots, best, best)
            here = _product(inverse, paths, roots, held, held)
            cross = _product(inverse, paths, roots, best, held)
            bend = there * here - cross * cross
            if here <= there:
                continue
            change = taken[held] if bend <= 0.0 else min(taken[held], (here - there) / (2 * bend))
            if change > 1e-4:
                _update(inverse, paths, roots, held, -change, g)
                _update(inverse, paths, roots, best, change, g)
                taken[held] -= change
                taken[best] += change
                changed = True
        moved += changed
    return moved


def round_off(instance: Instance, relaxed: Relaxed) -> Choice:
    """Cut-LP rounding (CLR): requests in the order of how much of them the relaxation takes, while they fit.

    With values also in two other orders, and the best is kept: the plain one can lose most of the value.
    """
    fractions = np.bincount(instance.owners, weights=relaxed.taken, minlength=instance.count)
    weighed: list[FloatArray] = [fractions.astype(np.float64)]
    if instance.has_values:
        weighed += [instance.values * fractions, instance.values * (fractions + 1e-3)]
    choices = [accept_in_order(instance, np.argsort(-one, kind="stable"), -relaxed.taken) for one in weighed]
    return max(choices, key=lambda choice: worth(instance, choice))


def whole(instance: Instance, bound: float) -> float:
    """A bound rounded down, where all values are whole numbers."""
    return float(np.floor(bound + 1e-6)) if np.all(instance.values % 1 == 0) else bound
