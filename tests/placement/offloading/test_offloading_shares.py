"""What one request and what many hold: golden vectors, and other optimisers that agree."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from einthoven.placement.offloading import Instance, plan, prepare
from einthoven.placement.offloading.allocation import allocate, components, perron
from einthoven.placement.offloading.duality import cheapest_surcharges, least_utilisation
from einthoven.placement.offloading.feasibility import (
    SlackInverse,
    fits_two,
    gram,
    is_feasible,
    top,
    worst_of,
)
from einthoven.placement.offloading.fixed_power import powered_shares, rates, slopes
from einthoven.placement.offloading.sharing import cheapest_shares, costs_at, shares_at

C = np.array([20e6, 20e9])
SIX = [
    (1e6, 4, 4e8, 0.10),
    (5e5, 2, 2e8, 0.20),
    (8e5, 6, 6e8, 0.15),
    (2e5, 3, 1e8, 0.05),
    (6e5, 5, 9e8, 0.25),
    (9e5, 3, 3e8, 0.12),
]


def six() -> Instance:
    return prepare(
        capacities=C,
        paths=[[0, 1]] * 6,
        works=[[bits / efficiency, cycles] for bits, efficiency, cycles, _ in SIX],
        owners=range(6),
        slacks_s=[slack_s for *_, slack_s in SIX],
    )


def test_one_request_at_prices_is_the_golden_vector() -> None:
    demand, price = np.array([2.5e6, 4e9]), 1 / C
    shares = cheapest_shares(demand, price)
    assert shares.tolist() == pytest.approx([5.662277660e6, 7.162277660e9], rel=1e-9)
    assert price @ shares == pytest.approx(0.641227766017, abs=1e-12)
    assert (demand / shares).tolist() == pytest.approx([0.441518440, 0.558481560], abs=1e-9)
    assert prepare(capacities=C, paths=[[0, 1]], works=[demand], owners=[0]).alone[0] == pytest.approx(0.325)


def test_with_caps_it_is_the_golden_vector_or_nothing() -> None:
    demand = np.array([2.5e6, 4e9])
    assert cheapest_shares(demand, 1 / C, np.array([5e6, 20e9])).tolist() == pytest.approx([5e6, 8e9])
    assert np.isnan(cheapest_shares(demand, 1 / C, np.array([5.2e6, 7.6e9]))).all()
    assert np.isnan(cheapest_shares(demand, 1 / C, np.array([0.0, 20e9]))).all()


@given(seed=st.integers(0, 2**32))
def test_capped_shares_meet_the_deadline_at_the_least_cost(seed: int) -> None:
    """No shift of slack between two phases, within the caps, is cheaper."""
    random = np.random.default_rng(seed)
    demand, price = random.uniform(0.01, 1, 4), random.uniform(0.1, 10, 4)
    cap = demand * random.uniform(2, 12, 4)
    shares = cheapest_shares(demand, price, cap)
    if (demand / cap).sum() > 1 + 1e-9:
        assert np.isnan(shares).all()
        return
    assert (demand / shares).sum() <= 1 + 1e-9
    assert np.all(shares <= cap * (1 + 1e-9))
    spent = demand / shares
    for i in range(4):
        for j in range(4):
            moved = spent.copy()
            moved[i] += 1e-4
            moved[j] -= 1e-4
            if i != j and moved[j] > 0 and np.all(demand / moved <= cap):
                assert price @ (demand / moved) >= price @ shares - 1e-9


def test_a_fixed_power_is_the_golden_vector() -> None:
    demand, gain = np.array([[1e7, 4e9]]), np.array([[1e8, 0.0]])
    shares = powered_shares(demand / C, np.ones((1, 2)), gain / C, None) * C
    assert shares[0].tolist() == pytest.approx([4.72519e6, 7.59646e9], rel=1e-5)
    assert float((shares / C).sum()) == pytest.approx(0.616082695951, abs=1e-11)
    assert float(0.1 * demand[0, 0] / rates(shares, gain)[0, 0]) == pytest.approx(0.0473439, abs=1e-7)
    limit = rates(np.array([1e14]), np.array([1e8]))[0]
    assert limit == pytest.approx(1.442695041e8, rel=1e-5)


@given(
    share=st.floats(1e-3, 1e3), gain=st.floats(1e-3, 1e3), load=st.floats(0.01, 0.2), price=st.floats(0.1, 10)
)
def test_the_slopes_of_a_rate_are_its_differences(
    share: float, gain: float, load: float, price: float
) -> None:
    step = 1e-4 * share
    below, at, above = (rates(np.array([share + d]), np.array([gain]))[0] for d in (-step, 0, step))
    first, second = slopes(np.array([share]), np.array([gain]))
    assert first[0] == pytest.approx((above - below) / (2 * step), rel=1e-5)
    assert second[0] == pytest.approx((above - 2 * at + below) / step**2, rel=1e-3, abs=1e-6 / share)
    # Where the rate is nearly the share itself, the closed form must come out.
    wide = powered_shares(np.array([[load, load]]), np.array([[1.0, price]]), np.array([[0.0, 0.0]]), None)
    assert wide[0].tolist() == pytest.approx(
        cheapest_shares(np.array([load, load]), np.array([1.0, price])).tolist(), rel=1e-9
    )


def test_sets_are_the_golden_vectors() -> None:
    instance = six()
    wanted = {
        (0,): 0.325,
        (0, 1): 0.435035071,
        (0, 1, 2): 0.667979531,
        (0, 1, 2, 3): 0.834009216,
        (1, 2, 3, 4, 5): 0.942872374,
        (0, 1, 2, 3, 4, 5): 1.266669178,
    }
    for chosen, least in wanted.items():
        assert worst_of(instance, np.array(chosen))[0] == pytest.approx(least, abs=1e-9)
    subsets = [np.flatnonzero([number >> bit & 1 for bit in range(6)]) for number in range(64)]
    feasible = [one for one in subsets if is_feasible(instance, one)]
    assert [sum(len(one) == size for one in feasible) for size in range(7)] == [1, 6, 15, 20, 15, 1, 0]
    for chosen_ in subsets:
        assert fits_two(instance.loads[chosen_]) == is_feasible(instance, chosen_)
    best = plan(instance, method="exact")
    assert best.accepted.tolist() == [1, 2, 3, 4, 5]
    assert best.is_proven


def test_a_balanced_allocation_is_the_golden_vector() -> None:
    instance, chosen = six(), np.array([0, 1, 2])
    shared = allocate(instance, chosen, "balanced")
    assert np.sqrt(shared.prices).tolist() == pytest.approx([0.57731671, 0.81652031], abs=1e-8)
    assert (shared.prices / C).tolist() == pytest.approx([1.66647293e-8, 3.33352707e-11], rel=1e-8)
    wanted = [[6.97252587e6, 6.23587304e9], [2.83127669e6, 1.79050049e9], [3.55578806e6, 5.33321709e9]]
    assert (shared.shares * C) == pytest.approx(np.array(wanted), rel=1e-8)
    assert (instance.loads[chosen] / shared.shares).sum(axis=1).tolist() == pytest.approx([1, 1, 1])
    assert shared.shares.sum(axis=0).tolist() == pytest.approx([0.667979531] * 2, abs=1e-9)


def slsqp(instance: Instance) -> float:
    """The least utilisation by a general optimiser, over how each request splits its slack."""
    loads = instance.loads
    asked = loads > 0
    count, width = loads.shape

    def use(split: np.ndarray) -> np.ndarray:
        return np.bincount(
            instance.paths[asked], weights=loads[asked] / split, minlength=len(instance.capacities)
        )

    where = np.flatnonzero(asked.ravel())
    rows = where // width
    start = (1.0 / asked.sum(axis=1))[rows]
    done = minimize(
        lambda x: x[-1],
        np.append(start, use(start).max()),
        jac=lambda x: np.append(np.zeros(len(x) - 1), 1.0),
        bounds=[(1e-6, 1.0)] * len(start) + [(0.0, None)],
        constraints=[
            {
                "type": "ineq",
                "fun": lambda x: x[-1] - use(x[:-1]),
                "jac": lambda x: _slope(instance, asked, x[:-1]),
            },
            {
                "type": "eq",
                "fun": lambda x: np.bincount(rows, weights=x[:-1], minlength=count) - 1,
                "jac": lambda _: np.hstack([(rows == np.arange(count)[:, None]) * 1.0, np.zeros((count, 1))]),
            },
        ],
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-13},
    )
    return float(use(done.x[:-1]).max())


def _slope(instance: Instance, asked: np.ndarray, split: np.ndarray) -> np.ndarray:
    slope = np.zeros((len(instance.capacities), len(split) + 1))
    slope[instance.paths[asked], np.arange(len(split))] = instance.loads[asked] / split**2
    slope[:, -1] = 1.0
    return slope


def test_the_eigenvalue_is_what_a_general_optimiser_finds(a_set) -> None:
    """On 200 random sets over resources of 1e6 to 1e11, and so is the answer whether they fit."""
    worst = 0.0
    for seed in range(200):
        instance = a_set(seed)
        chosen = np.arange(len(instance.owners))
        value, _ = worst_of(instance, chosen)
        other = slsqp(instance)
        worst = max(worst, abs(value - other) / other)
        for factor in (0.99, 1.01):
            scaled = prepare(
                capacities=instance.capacities * value * factor,
                paths=instance.paths,
                works=instance.demands,
                owners=instance.owners,
            )
            if len(scaled.owners) == len(chosen):
                assert is_feasible(scaled, chosen) == (other / (value * factor) <= 1)
    assert worst <= 1e-6


def test_the_general_duality_agrees_with_the_eigenvalue(a_set) -> None:
    for seed in range(30):
        instance = a_set(seed)
        chosen = np.arange(len(instance.owners))
        balance = least_utilisation(instance, chosen)
        value, _ = worst_of(instance, chosen)
        assert balance.lower == pytest.approx(value, rel=1e-8)
        assert balance.upper == pytest.approx(value, rel=1e-8)


def capped(instance: Instance, seed: int, *, is_powered: bool) -> Instance:
    """The same set with caps on some shares, and with fixed powers on the first phases."""
    random = np.random.default_rng(seed)
    needs = instance.loads.sum(axis=1, keepdims=True)
    parts = instance.loads * np.where(random.random(instance.loads.shape) < 0.5, 1.6 / needs, 1e3)
    caps = np.where(instance.loads > 0, np.maximum(parts, 1.5 * instance.loads) * needs * 2.5, 1.0)
    gains = np.zeros_like(caps)
    gains[:, 0] = random.uniform(1.0, 3.0, len(gains))
    there = instance.capacities[instance.paths]
    return prepare(
        capacities=instance.capacities,
        paths=instance.paths,
        works=instance.demands,
        owners=instance.owners,
        caps=caps * there,
        gains_hz=gains * there if is_powered else None,
    )


def general_slsqp(instance: Instance) -> float:
    """The same with caps and fixed powers, over the shares themselves, by their logarithms."""
    loads, asked = instance.loads, instance.loads > 0
    rows = np.flatnonzero(asked.ravel()) // loads.shape[1]
    caps, gains = instance.cap_parts[asked], np.zeros(int(asked.sum()))
    if instance.gain_parts is not None:
        gains = instance.gain_parts[asked]

    def late(logs: np.ndarray) -> np.ndarray:
        return 1 - np.bincount(rows, weights=loads[asked] / rates(np.exp(logs), gains))

    def use(logs: np.ndarray) -> np.ndarray:
        return np.bincount(instance.paths[asked], weights=np.exp(logs), minlength=len(instance.capacities))

    start = np.log(np.minimum(caps, 3 * loads[asked] * asked.sum(axis=1)[rows]))
    done = minimize(
        lambda x: x[-1],
        np.append(start, use(start).max()),
        bounds=[(-20.0, float(np.log(cap))) for cap in caps] + [(0.0, None)],
        constraints=[
            {"type": "ineq", "fun": lambda x: x[-1] - use(x[:-1])},
            {"type": "ineq", "fun": lambda x: late(x[:-1])},
        ],
        method="SLSQP",
        options={"maxiter": 1000, "ftol": 1e-14},
    )
    assert late(done.x[:-1]).min() > -1e-7
    return float(use(done.x[:-1]).max())


@pytest.mark.parametrize("is_powered", [False, True])
def test_with_caps_and_fixed_powers_duality_is_what_a_general_optimiser_finds(a_set, is_powered) -> None:
    compared = bound = 0
    for seed in range(12):
        instance = capped(a_set(seed), seed, is_powered=is_powered)
        chosen = np.arange(len(instance.owners))
        if len(np.unique(instance.owners)) < 2:
            continue
        balance = least_utilisation(instance, chosen)
        assert balance.upper - balance.lower <= 1e-8 * balance.upper
        other = general_slsqp(instance)
        # The optimiser may stop early above the least, never below it.
        assert other >= balance.lower * (1 - 1e-6)
        compared += abs(other - balance.upper) <= 1e-6 * other
        shares = shares_at(instance, chosen, np.maximum(balance.prices, 1e-9))
        bound += bool(np.any((instance.loads > 0) & (shares >= instance.cap_parts * (1 - 1e-9))))
    assert compared >= 9
    assert bound >= 4


@given(seed=st.integers(0, 10_000))
def test_no_shares_are_cheaper_than_the_cheapest(seed: int) -> None:
    """Weak duality shows it: the surcharges prove a cost that the shares reach, and the shares fit."""
    random = np.random.default_rng(seed)
    count, size = int(random.integers(2, 8)), int(random.integers(2, 5))
    paths = np.array([random.permutation(size)[:2] for _ in range(count)])
    loads = random.uniform(0.01, 1.0, (count, 2))
    loads *= 0.9 / max(1.0, worst_matrix(paths, loads, size))
    instance = prepare(capacities=np.ones(size), paths=paths, works=loads, owners=range(count))
    chosen = np.arange(count)
    base = np.ones(size)
    surcharges = cheapest_surcharges(instance, chosen, base)
    shares = shares_at(instance, chosen, base + surcharges)
    use = instance.summed(chosen, shares)
    assert np.all(use <= 1)
    assert (loads / shares).sum(axis=1).tolist() == pytest.approx([1] * count)
    proven = float(costs_at(instance, chosen, base + surcharges).sum() - surcharges.sum())
    assert proven == pytest.approx(float(use.sum()), rel=1e-8)
    assert float(use.sum()) <= float(allocate(instance, chosen, "balanced").shares.sum()) * (1 + 1e-9)


def worst_matrix(paths: np.ndarray, loads: np.ndarray, size: int) -> float:
    dense = np.zeros((len(paths), size))
    np.add.at(dense, (np.arange(len(paths))[:, None], paths), loads)
    return float(np.linalg.norm(np.sqrt(dense), 2) ** 2)


@given(seed=st.integers(0, 10_000))
def test_stretched_shares_leave_nothing_and_make_everybody_early(seed: int) -> None:
    random = np.random.default_rng(seed)
    paths = np.array([random.permutation(5)[:2] for _ in range(4)])
    loads = random.uniform(0.001, 0.1, (4, 2))
    instance = prepare(capacities=np.ones(5), paths=paths, works=loads, owners=range(4))
    chosen = np.arange(4)
    balanced = allocate(instance, chosen, "balanced")
    stretched = allocate(instance, chosen, "stretched")
    use = instance.summed(chosen, stretched.shares)
    assert use[use > 0].tolist() == pytest.approx([1.0] * int((use > 0).sum()))
    late = (loads / stretched.shares).sum(axis=1)
    assert late.max() == pytest.approx(balanced.least_utilisation)
    assert instance.summed(chosen, balanced.shares).max() == pytest.approx(balanced.least_utilisation)


def test_what_hangs_together_is_found_and_the_rest_stands_alone() -> None:
    matrix = np.zeros((5, 5))
    matrix[np.ix_([0, 3], [0, 3])] = 1.0
    matrix[1, 1] = 0.5
    assert [one.tolist() for one in components(matrix)] == [[0, 3], [1]]
    value, vector = perron(matrix[np.ix_([0, 3], [0, 3])])
    assert value == pytest.approx(2.0)
    assert vector.tolist() == pytest.approx([0.5**0.5] * 2)


@given(seed=st.integers(0, 10_000))
def test_the_rank_one_test_is_the_eigenvalue_after_any_coming_and_going(seed: int) -> None:
    random = np.random.default_rng(seed)
    size = 5
    load = SlackInverse(size)
    held: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(60):
        path, root = random.permutation(size)[:3], np.sqrt(random.uniform(0.001, 0.2, 3))
        grown = load.matrix.copy()
        np.add.at(grown, np.ix_(path, path), np.outer(root, root))
        fits = bool(top(grown)[0] <= 1)
        assert load.fits(path, root) == fits
        if fits:
            load.add(path, root)
            held.append((path, root))
        elif held:
            load.remove(*held.pop(int(random.integers(len(held)))))
    assert (
        np.abs(load.inverse - np.linalg.inv(np.eye(size) - load.matrix)).max()
        <= 1e-8 * np.abs(load.inverse).max()
    )


def test_adding_never_makes_it_easier(a_set) -> None:
    for seed in range(20):
        instance = a_set(seed)
        values = [worst_of(instance, np.arange(count))[0] for count in range(1, len(instance.owners) + 1)]
        assert all(after >= before - 1e-12 for before, after in pairwise(values))
        assert top(gram(instance, range(len(instance.owners))))[0] == pytest.approx(values[-1])


def test_an_instance_without_limits_is_the_same_with_very_high_ones(a_set) -> None:
    for seed in range(10):
        instance = a_set(seed)
        loose = dataclasses.replace(instance, caps=np.full(instance.demands.shape, 1e15))
        chosen = np.arange(len(instance.owners))
        assert not loose.is_additive
        assert worst_of(loose, chosen)[0] == pytest.approx(worst_of(instance, chosen)[0], rel=1e-8)
