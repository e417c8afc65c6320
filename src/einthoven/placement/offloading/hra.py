"""HRA, a reconstruction: the single-request optimum, cheapest requests first.

Kovacevic, Harjula, Glisic, Lorenzo and Ylianttila (IEEE Access 9, 2021, doi:10.1109/ACCESS.2021.3071848)
describe a heuristic built on the optimum of a single request, nearly optimal in its use of resources, and
better than first come, first served. Its listing and parameters are not known to us. This agrees with all
that was stated; it is our reconstruction, not their program.
"""

from einthoven.placement.offloading.baselines import Frozen, by_cost, serve_in_order
from einthoven.placement.offloading.greedy import cheapest_first
from einthoven.placement.offloading.instance import Instance, IntArray

__all__ = ["hra", "hra_order"]


def hra(instance: Instance, *, recaps: bool = True) -> Frozen:
    """Requests by the cost of their cheapest option, each at the cheapest that fits, shares settled.

    Parameters
    ----------
    recaps : whether one whose cheapest shares do not fit takes the cheapest that do; without: HRA-frozen.
    """
    return serve_in_order(instance, hra_order(instance), by_cost(instance), recaps=recaps)


def hra_order(instance: Instance) -> IntArray:
    """Requests by the cost of their cheapest option."""
    return cheapest_first(instance, by_cost(instance))
