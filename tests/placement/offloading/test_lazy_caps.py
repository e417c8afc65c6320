"""Leaving caps out until they matter changes how long planning takes, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from einthoven.placement.offloading.certificate import certify, verify_certificate
from einthoven.placement.offloading.instance import Instance, prepare_dense
from einthoven.placement.offloading.lazy_caps import planned_lazily
from einthoven.placement.offloading.methods import plan
from einthoven.placement.offloading.plans import Allocation, Plan
from einthoven.placement.offloading.relaxation import bound_of
from einthoven.placement.offloading.verify import flaws_of


def drawn(seed: int, requests: int, cap: float) -> Instance:
    """Requests over a radio, two processors and a link, no share above a part of its resource."""
    random = np.random.default_rng(seed)
    demands = np.zeros((2 * requests, 4))
    demands[0::2, [0, 1]] = random.uniform(0.02, 0.25, (requests, 2))
    demands[1::2, [0, 2]] = random.uniform(0.02, 0.25, (requests, 2))
    demands[1::2, 3] = random.uniform(0.01, 0.1, requests)
    owners = np.repeat(np.arange(requests), 2)
    caps = np.full_like(demands, np.inf)
    caps[:, 1:3] = cap
    width = 3
    order = np.argsort(demands == 0, axis=1, kind="stable")[:, :width]
    return prepare_dense(
        capacities=np.ones(4), demands=demands, owners=owners, caps=np.take_along_axis(caps, order, axis=1)
    )


def best(instance: Instance, allocation: Allocation = "balanced") -> Plan:
    return plan(instance, method="exact", allocation=allocation)


@pytest.mark.parametrize(
    ("seed", "cap", "allocation"),
    [(0, 0.3, "balanced"), (1, 0.3, "cheapest"), (0, 0.26, "balanced"), (1, 0.3, "stretched")],
)
def test_a_plan_keeps_the_caps_and_is_as_good_as_with_them_from_the_start(
    seed: int, cap: float, allocation: Allocation
) -> None:
    instance = drawn(seed, 4, cap)
    lazy = planned_lazily(instance, best, allocation)
    assert lazy.allocation == ("balanced" if allocation == "stretched" else allocation)
    assert flaws_of(instance, lazy) == ()
    assert lazy.value == best(instance).value
    assert lazy.is_proven
    assert lazy.dual is not None
    assert lazy.bound <= max(lazy.value, bound_of(instance, lazy.dual)) + 1e-9
    assert verify_certificate(certify(instance, lazy)) == ()


def test_each_of_the_three_ways_is_taken() -> None:
    """Caps that nobody meets, caps that other shares keep, caps for which others are chosen."""
    asked: list[bool] = []

    def planner(instance: Instance, _: Allocation) -> Plan:
        asked.append(instance.caps is not None)
        return plan(instance, method="ldg")

    ways = set()
    for seed in range(6):
        for cap in (0.26, 0.4, 1.0):
            asked.clear()
            instance = drawn(seed, 4, cap)
            found = planned_lazily(instance, planner, "balanced")
            loose = plan(replace(instance, caps=None), method="ldg")
            ways.add((len(asked), bool(flaws_of(instance, loose))))
            assert flaws_of(instance, found) == ()
    assert ways == {(1, False), (1, True), (2, True)}


def test_without_caps_there_is_nothing_to_leave_out() -> None:
    instance = replace(drawn(1, 4, 1.0), caps=None)
    assert planned_lazily(instance, best, "balanced").value == pytest.approx(best(instance).value)
