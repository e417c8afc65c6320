"""One request: the cheapest shares that meet its deadline at given prices.

The least of ``sum(p x)`` with ``sum(a / x) <= 1`` is, by Cauchy and Schwarz, ``x = sqrt(a / p) sum(sqrt(p
a))`` and costs ``sum(sqrt(p a))²``. So whoever knows the prices knows its own shares.
"""

import numpy as np

from einthoven.placement.offloading.fixed_power import powered_shares
from einthoven.placement.offloading.instance import FloatArray, Instance, IntArray

__all__ = ["cheapest_shares", "costs_at", "shares_at"]

_TOLERANCE = 1e-12
_FREE = 1e-12
_NOTHING = 1e-12


def cheapest_shares(demands: FloatArray, prices: FloatArray, caps: FloatArray | None = None) -> FloatArray:
    """Shares of one request, or of each row; NaN where no shares within the caps are enough.

    Parameters
    ----------
    demands : (..., L), 0 off the path.
    prices : (..., L) or (L), above 0 on the path.
    caps : (..., L), shares that must not be exceeded.

    Notes
    -----
    With caps by an active set: all that exceed are set to their caps at once, and the others are computed
    again. That is exact, since capping leaves less slack to the others: whatever exceeded its cap does so for
    good.
    """
    prices = np.broadcast_to(prices, demands.shape)
    asked = demands > 0
    root = np.where(asked, np.sqrt(prices * demands), 0.0)
    per = np.sqrt(np.divide(demands, prices, out=np.zeros_like(demands), where=asked))
    if caps is None:
        return np.asarray(per * root.sum(axis=-1, keepdims=True))
    # Next to nothing is not enough anyway, and nothing would divide by zero.
    caps = np.maximum(caps, _NOTHING * demands)
    free, slack = asked.copy(), np.ones((*demands.shape[:-1], 1))
    shares = np.zeros_like(demands)
    for _ in range(demands.shape[-1] + 1):
        wanted = per * np.where(free, root, 0.0).sum(axis=-1, keepdims=True) / np.where(slack > 0, slack, 1.0)
        over = free & (wanted > caps * (1 + _TOLERANCE))
        shares = np.where(free, wanted, shares)
        if not over.any():
            break
        shares = np.where(over, caps, shares)
        slack = slack - np.divide(demands, caps, out=np.zeros_like(demands), where=over).sum(
            axis=-1, keepdims=True
        )
        free &= ~over
    least = np.divide(demands, caps, out=np.zeros_like(demands), where=asked).sum(axis=-1, keepdims=True)
    fits = (least <= 1 + _TOLERANCE) & ((slack > 0) | ~free.any(axis=-1, keepdims=True))
    return np.asarray(np.where(fits, shares, np.nan))


def shares_at(instance: Instance, options: IntArray, prices: FloatArray) -> FloatArray:
    """What options hold at prices, as parts of the capacities (n, L).

    Parameters
    ----------
    prices : of each whole resource (J), above 0.
    """
    loads, price = instance.loads[options], prices[instance.paths[options]]
    caps = None if instance.cap_parts is None else instance.cap_parts[options]
    if instance.gain_parts is None:
        return cheapest_shares(loads, price, caps)
    return powered_shares(loads, price, instance.gain_parts[options], caps)


def costs_at(instance: Instance, options: IntArray, prices: FloatArray) -> FloatArray:
    """What those shares cost (n)."""
    if instance.is_additive:
        roots = np.sqrt(prices)[instance.paths[options]] * instance.roots[options]
        return np.asarray(roots.sum(axis=-1) ** 2)
    # Without a price there is no cheapest share; at next to none its cost is next to nothing.
    prices = np.maximum(prices, _FREE * prices.max(initial=1e-300))
    shares = shares_at(instance, options, prices)
    return np.asarray((prices[instance.paths[options]] * shares).sum(axis=-1))
