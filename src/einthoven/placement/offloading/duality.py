"""Prices that prove: what any set of requests must use at least, and the cheapest way to serve it.

At prices ``q`` of the whole resources request i cannot cost less than ``h_i(q)``, whatever the others do. So
the most used resource of a set is used at least ``max sum_i h_i(q)`` over prices that sum to 1; and serving a
set costs at least ``max sum_i h_i(p + m) - sum(m)`` over surcharges ``m >= 0``. Both are concave, both are
reached, and the shares at the best prices are the answer. Sets without caps and fixed powers need only an
eigenvalue for the first (`feasibility.worst_of`); this is for all.

Both by Newton's method inside a barrier ``t sum(log)``: at its maximum the shares use ``t / m`` less than
there is, so they can be handed out as they are.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from einthoven.placement.offloading.fixed_power import rates, slopes
from einthoven.placement.offloading.instance import FloatArray, Instance, IntArray
from einthoven.placement.offloading.sharing import shares_at

__all__ = ["Balance", "cheapest_surcharges", "least_utilisation"]

_STEPS = 60
_NARROW = 1e-11


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Balance:
    """What the most used resource is used at least, between two numbers, and the prices that show it."""

    lower: float
    upper: float
    prices: FloatArray
    """Of each whole resource (J), summing to 1; 0 where nobody uses it."""


@dataclass(frozen=True, slots=True, eq=False)
class _Demand:
    """Of a set at prices: its cost, its use of each resource, and how the use answers to prices."""

    cost: float
    use: FloatArray
    answer: FloatArray


def least_utilisation(
    instance: Instance,
    options: IntArray,
    weights: FloatArray | None = None,
    *,
    decides: bool = False,
) -> Balance:
    """The least possible utilisation of the most used resource.

    Parameters
    ----------
    weights : how much of each option counts (n); all of it by default.
    decides : stop as soon as it is known whether it is at most 1.
    """
    prices = np.zeros(len(instance.capacities))
    if not len(options):
        return Balance(lower=0.0, upper=0.0, prices=prices)
    used = _used(instance, options)
    weight = np.ones(len(options)) if weights is None else weights

    def at(q: FloatArray) -> _Demand:
        prices[used] = q
        return _demand(instance, options, weight, prices, used)

    q = np.full(len(used), 1.0 / len(used))
    now = at(q)
    barrier = 0.1 * now.cost / len(used)
    while True:
        q, now = _climb(at, q, now, barrier, cost_of=0.0, sums_to_one=True)
        upper = float(now.use.max())
        decided = decides and (upper <= 1.0 or now.cost > 1.0 + 1e-9)
        if decided or len(used) * barrier <= _NARROW * now.cost:
            prices = prices.copy()
            prices[used] = q
            return Balance(lower=now.cost, upper=upper, prices=prices)
        barrier *= 0.1


def cheapest_surcharges(
    instance: Instance, options: IntArray, prices: FloatArray, *, room: float = 1.0
) -> FloatArray:
    """Surcharges on prices of whole resources (J), at which what a set asks for fits and is cheapest.

    The set must be feasible with something left; where nothing is, no finite surcharge would do.

    Parameters
    ----------
    room : how much of each resource there is, as a part of its capacity.
    """
    surcharges = np.zeros(len(instance.capacities))
    if not len(options):
        return surcharges
    used = _used(instance, options)
    weight = np.ones(len(options))
    charged = prices.copy()

    def at(m: FloatArray) -> _Demand:
        charged[used] = prices[used] + m
        return _demand(instance, options, weight, charged, used)

    m = np.ones(len(used))
    now, barrier = at(m), 1.0
    while len(used) * barrier > _NARROW:
        m, now = _climb(at, m, now, barrier, cost_of=room, sums_to_one=False)
        barrier *= 0.1
    surcharges[used] = m
    return surcharges


def _climb(
    at: Callable[[FloatArray], _Demand],
    q: FloatArray,
    now: _Demand,
    barrier: float,
    *,
    cost_of: float,
    sums_to_one: bool,
) -> tuple[FloatArray, _Demand]:
    """Newton's method to the maximum of ``cost(q) - cost_of sum(q) + barrier sum(log q)``."""

    def height(prices: FloatArray, demand: _Demand) -> float:
        return demand.cost - cost_of * float(prices.sum()) + barrier * float(np.log(prices).sum())

    count = len(q)
    here = height(q, now)
    for _ in range(_STEPS):
        slope = now.use - cost_of + barrier / q
        bend = now.answer - np.diag(barrier / q**2)
        # In units of the prices themselves: they span many powers of ten.
        bend, scaled = bend * np.outer(q, q), slope * q
        if sums_to_one:
            system = np.zeros((count + 1, count + 1))
            system[:count, :count] = bend
            system[:count, count] = system[count, :count] = q
            step = np.linalg.solve(system, np.append(-scaled, 0.0))[:count]
        else:
            step = np.linalg.solve(bend, -scaled)
        rise = float(scaled @ step)
        if rise <= 1e-6 * barrier:
            break
        length = min(1.0, 0.9 / max(1e-300, float(-step.min())) if step.min() < 0 else 1.0)
        while length > 1e-12:
            tried = q * (1 + length * step)
            there = at(tried)
            reached = height(tried, there)
            if reached >= here + 1e-4 * length * rise:
                break
            length *= 0.5
        else:
            break
        q, now, here = tried, there, reached
    return q, now


def _used(instance: Instance, options: IntArray) -> IntArray:
    return np.unique(instance.paths[options][instance.loads[options] > 0])


def _demand(
    instance: Instance, options: IntArray, weights: FloatArray, prices: FloatArray, used: IntArray
) -> _Demand:
    """What a set does at prices.

    The answer of one request: with phase times ``f``, ``dx = -(dp - f' (sum f' dp / f'') / sum(f'² / f'')) /
    (m f'')`` over the phases that are not capped, from differentiating ``p = -m f'`` and ``sum f = 1``.
    """
    paths, loads = instance.paths[options], instance.loads[options]
    shares = shares_at(instance, options, prices)
    gains = np.zeros_like(loads) if instance.gain_parts is None else instance.gain_parts[options]
    asked = loads > 0
    free = asked if instance.cap_parts is None else asked & (shares < instance.cap_parts[options])
    held = np.where(asked, shares, 1.0)
    rate = rates(held, gains)
    first, second = slopes(held, gains)
    falls = -loads * first / rate**2
    bends = loads * (2 * first**2 / rate**3 - second / rate**2)
    price = prices[paths]
    multiplier = np.where(free, -price / np.where(free, falls, -1.0), 0.0).max(axis=1)
    soft = np.divide(1.0, multiplier[:, None] * bends, out=np.zeros_like(loads), where=free)
    toward = falls * soft
    total = (falls * toward).sum(axis=1)
    inverse = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
    answer = toward[:, :, None] * toward[:, None, :] * inverse[:, None, None]
    places = np.arange(loads.shape[1])
    answer[:, places, places] -= soft
    size = len(prices)
    use = instance.summed(options, np.where(asked, shares, 0.0) * weights[:, None])
    pairs = (paths[:, :, None] * size + paths[:, None, :]).ravel()
    flat = np.bincount(pairs, weights=(answer * weights[:, None, None]).ravel(), minlength=size * size)
    bend = flat.astype(np.float64).reshape(size, size)
    return _Demand(float((use * prices)[used].sum()), use[used], bend[np.ix_(used, used)])
