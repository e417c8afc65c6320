"""Is a plan true? Computed from the instance's own numbers, with no line of the code that plans."""

from itertools import pairwise
from typing import Final

import numpy as np

from einthoven.errors import PlanRefuted
from einthoven.placement.offloading.instance import FloatArray, Instance, IntArray
from einthoven.placement.offloading.plans import Dual, Plan

__all__ = ["TOLERANCE", "bound_by", "checked", "flaws_of", "least_use"]

TOLERANCE: Final = 1e-9


def checked(instance: Instance, plan: Plan) -> Plan:
    """The same plan, if it holds.

    Raises
    ------
    PlanRefuted : it does not. That is our fault, and never an answer.
    """
    flaws = flaws_of(instance, plan)
    if flaws:
        raise PlanRefuted(
            f"the plan does not hold: {'; '.join(flaws)}.",
            where=plan.method,
            remedy="Please report it with the instance; another method may do meanwhile.",
        )
    return plan


def flaws_of(instance: Instance, plan: Plan) -> tuple[str, ...]:
    """What is wrong with a plan; nothing if it holds.

    It holds if each request has one option of its own, every accepted request meets its deadline with the
    shares it holds, no resource is given away more than there is, and its sums are its sums; all within 1e-9.
    """
    count = len(plan.accepted)
    shaped = plan.options.shape == (count,) and plan.shares.shape == (count, instance.paths.shape[1])
    if not shaped or {plan.prices.shape, plan.utilisations.shape} != {instance.capacities.shape}:
        return ("its parts are of different lengths",)
    if count and not (plan.options.min() >= 0 and plan.options.max() < len(instance.owners)):
        return ("an option does not exist",)
    if count and not (plan.accepted.min() >= 0 and plan.accepted.max() < len(instance.values)):
        return ("an accepted request does not exist",)
    flaws = []
    if not np.array_equal(instance.owners[plan.options], plan.accepted):
        flaws.append("an accepted request has an option of another")
    if count > 1 and not bool(np.all(plan.accepted[1:] > plan.accepted[:-1])):
        flaws.append("a request is accepted twice")
    asked = instance.demands[plan.options] > 0
    held = np.where(asked, plan.shares, 1.0)
    if not bool(np.all(np.isfinite(held) & (held > 0))):
        return (*flaws, "a share is nothing, or no number")
    speed = held
    if instance.gains_hz is not None:
        gain = instance.gains_hz[plan.options]
        speed = np.where(gain > 0, held * np.log2(1.0 + gain / held), held)
    late = (np.where(asked, instance.demands[plan.options] / speed, 0.0)).sum(axis=1)
    for number in np.flatnonzero(late > 1 + TOLERANCE)[:3]:
        name = instance.requests[int(plan.accepted[number])]
        flaws.append(f"{name} takes {float(late[number]):.9f} of its slack")
    if instance.caps is not None and bool(
        np.any(asked & (plan.shares > instance.caps[plan.options] * (1 + TOLERANCE)))
    ):
        flaws.append("a share is above its cap")
    given = np.zeros(len(instance.capacities))
    np.add.at(given, instance.paths[plan.options], np.where(asked, plan.shares, 0.0))
    used = given / instance.capacities
    flaws += [
        f"{instance.resources[int(number)]} is given away {float(used[number]):.9f} times"
        for number in np.flatnonzero(used > 1 + TOLERANCE)[:3]
    ]
    if not np.allclose(used, plan.utilisations, rtol=TOLERANCE, atol=TOLERANCE):
        flaws.append("the utilisations are not those of the shares")
    if not np.isclose(float(used.sum()), plan.cost, rtol=TOLERANCE, atol=TOLERANCE):
        flaws.append("the cost is not that of the shares")
    worth = float(instance.values[plan.accepted].sum())
    if not np.isclose(worth, plan.value, rtol=TOLERANCE):
        flaws.append("the value is not that of the accepted requests")
    if plan.offered != len(instance.values):
        flaws.append("it is a plan for another number of requests")
    if plan.bound < plan.value * (1 - 1e-6):
        flaws.append("it is worth more than its bound")
    return tuple(flaws)


def least_use(
    instance: Instance, options: IntArray, scale: FloatArray | None = None, slack: FloatArray | None = None
) -> float:
    """The least utilisation of the most used resource by a set, of an additive instance: an eigenvalue.

    Parameters
    ----------
    scale : times what there is of each resource (J).
    slack : times the slack of each option (n).
    """
    capacities = instance.capacities if scale is None else instance.capacities * scale
    rows = np.zeros((len(options), len(capacities)))
    demands = instance.demands[options] if slack is None else instance.demands[options] / slack[:, None]
    np.add.at(rows, (np.arange(len(options))[:, None], instance.paths[options]), demands)
    rows = np.sqrt(rows / capacities)
    # The largest singular value, squared, without ever making the matrix.
    return float(np.linalg.norm(rows, 2)) ** 2 if len(options) else 0.0


def bound_by(instance: Instance, dual: Dual) -> float:
    """What a dual proves: every weight of 0 or more and every vector gives a valid bound."""
    if bool(np.any(dual.weights < 0)) or not bool(np.all(np.isfinite(dual.vectors))):
        return float("inf")
    costs = np.zeros(len(instance.owners))
    for weight, vector in zip(dual.weights, dual.vectors, strict=True):
        if instance.is_additive:
            reach = np.sqrt(instance.demands / instance.capacities[instance.paths]) * vector[instance.paths]
            costs += weight * reach.sum(axis=1) ** 2
        else:
            costs += weight * _least_costs(instance, vector**2)
    gain = instance.values[instance.owners] - costs
    best = [max(0.0, float(gain[a:b].max(initial=0.0))) for a, b in pairwise(instance.starts.tolist())]
    return sum(best) + float(dual.weights @ (dual.vectors**2).sum(axis=1))


def _least_costs(instance: Instance, prices: FloatArray) -> FloatArray:
    """What options cost at least at prices of whole resources, with caps and fixed powers.

    For any multiplier m of the deadline the cost is at least the sum of ``min(price x + m time(x)) - m``;
    that is concave in m, and each term convex in x, so both are found by halving. Every m gives a true bound.
    """
    capacity = instance.capacities[instance.paths]
    load, price = instance.demands / capacity, np.maximum(prices[instance.paths], 1e-12 * prices.max())
    cap = np.full(load.shape, np.inf) if instance.caps is None else instance.caps / capacity
    gain = np.zeros(load.shape) if instance.gains_hz is None else instance.gains_hz / capacity
    low, high = np.full(len(load), -60.0), np.full(len(load), 60.0)
    for _ in range(70):
        middle = (low + high) / 2
        late = _times(load, price, cap, gain, np.exp(middle))[1] > 1.0
        low, high = np.where(late, middle, low), np.where(late, high, middle)
    multiplier = np.exp((low + high) / 2)
    spent, taken = _times(load, price, cap, gain, multiplier)
    return np.asarray(spent + multiplier * (taken - 1.0))


def _times(
    load: FloatArray, price: FloatArray, cap: FloatArray, gain: FloatArray, multiplier: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Cost and part of the slack of each option, each phase by itself the best at a multiplier."""
    asked, many = load > 0, multiplier[:, None] * load
    share = np.sqrt(many / price)
    if bool(np.any(gain > 0)):
        least, most = np.log(share) - 40.0, np.log(np.maximum(share, 1e-300)) + 40.0
        for _ in range(70):
            x = np.exp((least + most) / 2)
            u = np.where(gain > 0, gain / x, 1.0)
            slope = np.where(u < 1e-4, u * u * (0.5 - 2 * u / 3), np.log1p(u) - u / (1 + u)) / np.log(2.0)
            dear = price * (x * np.log1p(u) / np.log(2.0)) ** 2 > many * slope
            least, most = np.where(dear, least, (least + most) / 2), np.where(dear, (least + most) / 2, most)
        share = np.where(gain > 0, np.exp((least + most) / 2), share)
    share = np.where(asked, np.minimum(share, cap), 1.0)
    rate = np.where(gain > 0, share * np.log1p(np.where(asked, gain, 0.0) / share) / np.log(2.0), share)
    spent = np.where(asked, price * share, 0.0).sum(axis=1)
    return spent, np.where(asked, load / np.where(asked, rate, 1.0), 0.0).sum(axis=1)
