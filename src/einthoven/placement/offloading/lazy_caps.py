"""Caps on shares, left out until they matter.

A cap such as one core seldom binds where many share a processor: what is given to one is below it. Without
caps the spectral test holds, and planning is much quicker. So a problem with caps is planned without them
first. If those whom that accepts can also be served within the caps, with other shares if need be, it is a
plan of the problem as it is, and since it was chosen among more, its bound holds too. Otherwise the problem
is planned with its caps.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from einthoven.placement.offloading.allocation import allocate
from einthoven.placement.offloading.instance import Instance
from einthoven.placement.offloading.plans import Allocation, Plan
from einthoven.placement.offloading.relaxation import bound_of
from einthoven.placement.offloading.verify import checked, flaws_of

__all__ = ["planned_lazily"]


def planned_lazily(
    instance: Instance, planner: Callable[[Instance, Allocation], Plan], allocation: Allocation
) -> Plan:
    """What a planner says, without the caps if they do not matter.

    Parameters
    ----------
    planner : gives a feasible plan, with an allocation, and an upper bound of any instance.
    """
    if instance.caps is None:
        return planner(instance, allocation)
    # Within caps nothing is stretched: what is left could be given to nobody.
    within: Allocation = "balanced" if allocation == "stretched" else allocation
    loose = planner(replace(instance, caps=None), within)
    found = loose if not flaws_of(instance, loose) else _within(instance, loose, within)
    if found is None:
        return planner(instance, within)
    if found.dual is None:
        return found
    # Options cost more within caps, so the same dual proves more.
    bound = max(found.value, bound_of(instance, found.dual))
    return replace(found, bound=min(found.bound, bound))


def _within(instance: Instance, loose: Plan, allocation: Allocation) -> Plan | None:
    """The same requests at the same sites with shares within the caps; None if that cannot be."""
    shared = allocate(instance, loose.options, allocation)
    if not shared.least_utilisation <= 1.0:
        return None
    parts = np.where(instance.loads[loose.options] > 0, shared.shares, 0.0)
    used = instance.summed(loose.options, parts)
    return checked(
        instance,
        replace(
            loose,
            allocation=allocation,
            shares=parts * instance.capacities[instance.paths[loose.options]],
            prices=shared.prices / instance.capacities,
            utilisations=used,
            least_utilisation=shared.least_utilisation,
            cost=float(used.sum()),
        ),
    )
