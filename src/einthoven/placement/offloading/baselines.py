"""What others do, and what one would do without a plan: requests in the order in which they come.

Each accepted request keeps the shares that it was given, so what is left is what the next can have. *Re-cap*:
a request whose cheapest shares do not fit takes the cheapest that do. First come, first served without re-cap
is the published baseline; with re-cap, or with new shares for all at each arrival, it is another, and has
another name.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from einthoven.placement.offloading.fixed_power import powered_shares
from einthoven.placement.offloading.greedy import Choice
from einthoven.placement.offloading.instance import KINDS, FloatArray, Instance, IntArray, Kind
from einthoven.placement.offloading.sharing import cheapest_shares, costs_at, shares_at

__all__ = ["Frozen", "by_cost", "by_kind", "drawn_at_random", "only", "serve_in_order"]

_TOLERANCE = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Frozen:
    """Who was accepted, and the shares that were settled then (parts of capacities, by request)."""

    choice: Choice
    shares: dict[int, FloatArray]


def serve_in_order(
    instance: Instance, order: Iterable[int], ranks: FloatArray, *, recaps: bool = True
) -> Frozen:
    """Accept requests in an order, each at the first of its options that what is left suffices for.

    Parameters
    ----------
    ranks : of options (K), the least first; infinite: never.
    recaps : whether shares dearer than the cheapest are taken where those do not fit.
    """
    prices = np.ones(len(instance.capacities))
    everything = np.arange(len(instance.owners))
    cheapest = shares_at(instance, everything, prices)
    left = np.ones(len(instance.capacities))
    choice, settled = Choice(), {}
    for request in order:
        bounds = instance.options_of(int(request))
        options = np.arange(bounds.start, bounds.stop)
        options = options[np.isfinite(ranks[options])]
        options = options[np.argsort(ranks[options], kind="stable")]
        path, asked = instance.paths[options], instance.loads[options] > 0
        shares = cheapest[options]
        fits = np.all(~asked | (shares <= left[path] * (1 + _TOLERANCE)), axis=1)
        if recaps and not fits[:1].all():
            capped = _capped(instance, options, left)
            shares = np.where(fits[:, None], shares, capped)
            fits |= ~np.isnan(capped).any(axis=1)
        if not fits.any():
            continue
        at = int(np.argmax(fits))
        np.subtract.at(left, path[at], np.where(asked[at], shares[at], 0.0))
        # Shares that fit within rounding leave nothing, not less.
        np.maximum(left, 0.0, out=left)
        choice[int(request)] = int(options[at])
        settled[int(request)] = shares[at]
    return Frozen(choice, settled)


def _capped(instance: Instance, options: IntArray, left: FloatArray) -> FloatArray:
    """The cheapest shares of options within what is left; NaN where there are none."""
    loads, room = instance.loads[options], left[instance.paths[options]]
    caps = room if instance.cap_parts is None else np.minimum(room, instance.cap_parts[options])
    prices = np.ones_like(loads)
    if instance.gain_parts is None:
        return cheapest_shares(loads, prices, caps)
    return powered_shares(loads, prices, instance.gain_parts[options], caps)


def by_cost(instance: Instance) -> FloatArray:
    """Options cheapest first, a cost being a sum of utilisations."""
    return costs_at(instance, np.arange(len(instance.owners)), np.ones(len(instance.capacities)))


def by_kind(instance: Instance) -> FloatArray:
    """Nearest first: local, edge, neighbour, core; the cheapest of a kind."""
    ranks = np.empty(len(instance.owners))
    ranks[np.lexsort((by_cost(instance), instance.kinds))] = np.arange(len(ranks))
    return ranks


def only(instance: Instance, kind: Kind) -> FloatArray:
    """Options of one kind, cheapest first."""
    return np.where(instance.kinds == KINDS.index(kind), by_cost(instance), np.inf)


def drawn_at_random(instance: Instance, seed: int) -> FloatArray:
    """One option of each request."""
    random = np.random.default_rng(seed)
    ranks = np.full(len(instance.owners), np.inf)
    for request in range(instance.count):
        options = np.array(instance.options_of(request), dtype=np.int64)
        ranks[random.permutation(options)[:1]] = 0.0
    return ranks
