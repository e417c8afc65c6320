"""A set that grows: which options still fit beside it, and what they would take."""

from collections.abc import Iterable

import numpy as np

from einthoven.placement.offloading.duality import least_utilisation
from einthoven.placement.offloading.feasibility import SlackInverse, gram
from einthoven.placement.offloading.instance import FloatArray, Instance, IntArray
from einthoven.placement.offloading.sharing import costs_at

__all__ = ["Admission"]


class Admission:
    """Options that were accepted, and the test for the next; exact for every kind of instance.

    Where the spectral test does not hold, prices that were found for the set so far often tell at once that
    another does not fit: at any prices a feasible set costs at most their sum.
    """

    def __init__(self, instance: Instance, options: Iterable[int] = ()) -> None:
        self.instance = instance
        self.options = [int(one) for one in options]
        size = len(instance.capacities)
        self._prices = np.full(size, 1.0 / size)
        self.slack = SlackInverse(size)
        if self.options:
            if instance.is_additive:
                self.slack = SlackInverse(size, gram(instance, self.options))
            else:
                self._balance()

    def takes(self, options: IntArray) -> FloatArray:
        """Of each option the part of what is left that it would use: ``vᵀGv``.

        Where the spectral test does not hold: its cost at the present prices, over what they leave.
        """
        instance = self.instance
        if instance.is_additive:
            return self.slack.takes(instance.paths[options], instance.roots[options])
        costs = costs_at(instance, options, self._prices)
        spent = costs_at(instance, np.array(self.options, dtype=np.int64), self._prices).sum()
        return np.asarray(costs / max(1e-12, 1.0 - float(spent)))

    def fits(self, option: int) -> bool:
        """Whether one more can be served."""
        instance = self.instance
        if instance.is_additive:
            return self.slack.fits(instance.paths[option], instance.roots[option])
        together = np.array([*self.options, option], dtype=np.int64)
        if float(costs_at(instance, together, self._prices).sum()) > 1.0 + 1e-9:
            return False
        return least_utilisation(instance, together, decides=True).upper <= 1.0 + 1e-10

    def add(self, option: int) -> None:
        """Accept one that fits."""
        self.options.append(int(option))
        if self.instance.is_additive:
            self.slack.add(self.instance.paths[option], self.instance.roots[option])
        else:
            self._balance()

    def _balance(self) -> None:
        found = least_utilisation(self.instance, np.array(self.options, dtype=np.int64)).prices
        # A little of every resource, else what nobody uses yet would seem to cost nothing.
        self._prices = (found + 1e-3 / len(found)) / (1.0 + 1e-3)
