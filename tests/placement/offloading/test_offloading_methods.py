"""Every method gives plans that hold; none is better than the exact one; the reference figures come out."""

import dataclasses
import math
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einthoven.errors import InputInvalid, PlanRefuted
from einthoven.placement.offloading import (
    METHODS,
    ONE_STATION,
    THREE_STATIONS,
    Instance,
    Limits,
    Scenario,
    draw,
    flaws_of,
    plan,
    prepare,
)
from einthoven.placement.offloading.allocation import allocate
from einthoven.placement.offloading.exact import cheapest_set
from einthoven.placement.offloading.feasibility import is_feasible
from einthoven.placement.offloading.greedy import by_log_det, improve_count, improve_value, worth
from einthoven.placement.offloading.relaxation import ascend, bound_of, relax, round_off
from einthoven.placement.offloading.verify import bound_by, checked

THOROUGH = os.environ.get("EINTHOVEN_EXAMPLES") == "thorough"
# The optimum of each seed 1000 N + s, from the specification; also proven by a solver of another kind.
OPTIMA = {
    20: [19, 20, 20, 18, 20, 17, 19, 19, 20, 18, 20, 20],
    40: [34, 35, 32, 34, 35, 37, 35, 33, 32, 32, 36, 39],
    60: [43, 46, 45, 40, 43, 46, 45, 46, 50, 43, 46, 44],
    90: [59, 56, 54, 50, 49, 53, 53, 55, 53, 59, 53, 53],
    120: [59, 64, 61, 63, 63, 64, 60, 60, 66, 62, 63, 66],
}
# Some whose bound does not settle it take ten seconds of search; all of them are looked at thoroughly only.
QUICK = {20: range(12), 40: [0, 1, 5, 10], 60: [2, 3, 7], 90: [4, 8], 120: [4, 5]}


def accepted(instance: Instance, method: str, **others: object) -> int:
    return len(plan(instance, method=method, **others).accepted)  # type: ignore[arg-type]


def test_the_golden_instances_come_out() -> None:
    small, large = draw(THREE_STATIONS, 20, 20_000), draw(THREE_STATIONS, 40, 40_000)
    best = plan(small.instance, method="exact")
    assert (len(best.accepted), best.is_proven) == (19, True)
    assert relax(small.instance, Limits()).bound == pytest.approx(19.828591, abs=5e-7)
    assert accepted(small.instance, "fcfs", arrival=small.arrival) == 18
    reconstructed = plan(small.instance, method="hra")
    assert len(reconstructed.accepted) == 18
    assert reconstructed.cost == pytest.approx(3.507271464, abs=1e-9)
    assert reconstructed.least_utilisation == pytest.approx(0.550747587, abs=1e-9)

    assert accepted(large.instance, "exact") == 34
    assert relax(large.instance, Limits()).bound == pytest.approx(34.867096, abs=5e-7)
    assert accepted(large.instance, "fcfs", arrival=large.arrival) == 21
    assert accepted(large.instance, "hra-frozen") == 30
    reconstructed = plan(large.instance, method="hra")
    assert len(reconstructed.accepted) == 32
    assert reconstructed.cost == pytest.approx(6.912349866, abs=1e-9)
    cheapest = allocate(large.instance, reconstructed.options, "cheapest")
    assert cheapest.shares.sum() == pytest.approx(6.779373412, abs=1e-8)


@pytest.mark.parametrize("requests", OPTIMA)
def test_the_optimum_of_every_seed_is_found_and_proven(requests: int) -> None:
    seeds = range(12) if THOROUGH else QUICK[requests]
    shares: dict[str, list[float]] = {"clr-ls": [], "ldg": [], "hra": []}
    for seed in seeds:
        instance = draw(THREE_STATIONS, requests, 1000 * requests + seed).instance
        best = plan(instance, method="exact")
        optimum = OPTIMA[requests][seed]
        assert (len(best.accepted), best.is_proven) == (optimum, True), seed
        near = plan(instance, method="clr-ls")
        assert near.bound >= optimum
        assert optimum - len(near.accepted) <= 1
        for method, ratios in shares.items():
            ratios.append(accepted(instance, method) / optimum)
    assert np.mean(shares["clr-ls"]) >= 0.985
    assert np.mean(shares["ldg"]) >= 0.975
    if requests >= 40:
        ahead = (np.array(shares["clr-ls"]) - shares["hra"]) * [OPTIMA[requests][seed] for seed in seeds]
        assert 100 * np.mean(ahead) / requests >= 4


@pytest.mark.parametrize("has_values", [False, True])
def test_the_exact_one_is_what_trying_everything_finds(a_tight_one, enumerated, has_values) -> None:
    """On fifty instances each, with and without values."""
    for seed in range(50):
        instance = a_tight_one((5 if THOROUGH else 3) + seed % 6, seed, has_values=has_values)
        best = plan(instance, method="exact")
        assert best.value == enumerated(instance)
        assert best.is_proven


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_plans_that_hold_and_none_beats_the_exact_one(a_tight_one, method) -> None:
    for seed in range(1):
        for has_values in (False, True):
            instance = a_tight_one(11, seed, has_values=has_values)
            best = plan(instance, method="exact")
            arrival = np.random.default_rng(seed).permutation(11)
            made = plan(instance, method=method, arrival=arrival, seed=seed)
            assert flaws_of(instance, made) == ()
            assert made.value <= best.value
            assert made.bound >= best.value
            assert made.is_proven <= (made.value == best.value)
            again = plan(instance, method=method, arrival=arrival, seed=seed)
            assert again.chosen() == made.chosen()


@pytest.mark.parametrize("allocation", ["balanced", "stretched", "cheapest"])
def test_every_allocation_holds_and_is_what_it_says(allocation) -> None:
    instance = draw(THREE_STATIONS, 40, 40_001).instance
    made = plan(instance, method="ldg", allocation=allocation)
    balanced = plan(instance, method="ldg")
    late = np.divide(
        instance.demands[made.options],
        made.shares,
        out=np.zeros_like(made.shares),
        where=made.shares > 0,
    ).sum(axis=1)
    assert made.least_utilisation == balanced.least_utilisation
    if allocation == "stretched":
        assert late.max() == pytest.approx(made.least_utilisation, abs=1e-9)
        assert made.utilisations[made.utilisations > 0].min() == pytest.approx(1)
    else:
        assert late.tolist() == pytest.approx([1] * len(late))
        assert made.cost <= balanced.cost + 1e-9
    held = made.held(instance, 0)
    assert sum(held.values()) == pytest.approx(made.shares[0].sum())


@settings(max_examples=500 if THOROUGH else 12)
@given(seed=st.integers(0, 2**32), scale=st.floats(1.01, 3))
def test_more_of_everything_never_serves_fewer(a_tight_one, seed, scale) -> None:
    instance = a_tight_one(6, seed)
    more = dataclasses.replace(instance, capacities=instance.capacities * scale)
    assert accepted(more, "exact") >= accepted(instance, "exact")


@settings(max_examples=500 if THOROUGH else 12)
@given(seed=st.integers(0, 2**32))
def test_the_order_and_the_units_of_things_do_not_matter(a_tight_one, seed) -> None:
    random = np.random.default_rng(seed)
    instance = a_tight_one(8, seed)
    turned, mixed = random.permutation(8), random.permutation(len(instance.capacities))
    units = 10 ** random.uniform(-3, 3, len(mixed))
    where = np.argsort(mixed)
    other = prepare(
        capacities=instance.capacities[mixed] * units,
        paths=where[instance.paths],
        works=instance.demands * units[where[instance.paths]],
        owners=turned[instance.owners],
        count=8,
    )
    for method in ("exact", "ldg", "hra", "hra-spectral"):
        assert accepted(other, method) == accepted(instance, method), method


def test_one_station_shows_both_published_shapes() -> None:
    """HRA uses nearly as little as can be for its own count, and accepts far more than first come."""
    seeds = range(20 if THOROUGH else 2)
    gaps = []
    for requests in (5, 10, 15, 20, 30, 40, 60) if THOROUGH else (5, 10, 15):
        ahead = 0
        for seed in seeds:
            drawn = draw(ONE_STATION, requests, 31 * requests + seed)
            made = plan(drawn.instance, method="hra")
            first = accepted(drawn.instance, "fcfs", arrival=drawn.arrival)
            ahead += len(made.accepted) - first
            assert accepted(drawn.instance, "clr-ls") == accepted(drawn.instance, "exact")
            least = cheapest_set(drawn.instance, len(made.accepted), Limits())
            assert least.is_proven
            assert made.cost >= least.lower * (1 - 1e-6)
            gaps.append(made.cost / least.upper - 1)
        assert ahead >= 0
    assert np.mean(gaps) <= 0.05


def test_the_cheapest_set_is_what_trying_all_sets_finds(a_tight_one) -> None:
    for seed in range(2):
        instance = a_tight_one(4, seed)
        costs = {
            count: min(
                (
                    float(allocate(instance, np.array(some), "cheapest").shares.sum())
                    for some in _choices(instance, count)
                    if is_feasible(instance, np.array(some))
                ),
                default=np.inf,
            )
            for count in (1, 2)
        }
        for count, cost in costs.items():
            found = cheapest_set(instance, count, Limits(), precision=1e-6)
            assert found.upper == pytest.approx(cost, rel=2e-6)


def _choices(instance: Instance, count: int, request: int = 0) -> list[tuple[int, ...]]:
    if count == 0:
        return [()]
    if request == instance.count:
        return []
    with_it = [
        (option, *rest)
        for option in instance.options_of(request)
        for rest in _choices(instance, count - 1, request + 1)
    ]
    return with_it + _choices(instance, count, request + 1)


def test_values_are_kept_and_nobody_of_less_value_stands_in_the_way() -> None:
    for requests, seeds in ((10, 4), (40, 3), (90, 8)) if THOROUGH else ((10, 2), (30, 1)):
        for seed in range(seeds):
            instance = draw(THREE_STATIONS, requests, 5000 * requests + seed, has_values=True).instance
            made, best = (
                plan(instance, method="value"),
                plan(instance, method="exact", limits=Limits(nodes=2000)),
            )
            assert made.value >= 0.98 * best.value
            chosen = made.chosen()
            for request in set(range(requests)) - set(chosen):
                for other, held in chosen.items():
                    if instance.values[other] >= instance.values[request]:
                        continue
                    kept = [option for option in chosen.values() if option != held]
                    for option in instance.options_of(request):
                        assert not is_feasible(instance, np.array([*kept, option]))


def test_local_search_never_loses_and_stops_where_it_is_told(a_tight_one) -> None:
    for seed in range(3):
        instance = a_tight_one(20, seed, has_values=True)
        start = by_log_det(instance)
        assert len(improve_count(instance, start, rounds=20)) >= len(start)
        assert improve_count(instance, start, rounds=0) == start
        assert improve_count(instance, start, rounds=20, enough=0.0) == start
        assert improve_count(instance, start, rounds=20, is_over=lambda: True) == start
        assert worth(instance, improve_value(instance, start, rounds=20)) >= worth(instance, start)


def test_looking_lazily_chooses_what_looking_at_all_does() -> None:
    for seed in range(5):
        instance = draw(THREE_STATIONS, 60, seed, has_values=True).instance
        rows = instance.dense_roots()
        matrix = np.zeros((13, 13))
        alive = np.ones(len(rows), dtype=bool)
        chosen = {}
        while alive.any():
            inverse = np.linalg.inv(np.eye(13) - matrix)
            takes = ((rows @ inverse) * rows).sum(axis=1)
            alive &= takes <= 1 - 1e-9
            if not alive.any():
                break
            option = int(np.argmax(np.where(alive, instance.values[instance.owners] / takes, -1.0)))
            matrix += np.outer(rows[option], rows[option])
            chosen[int(instance.owners[option])] = option
            alive &= instance.owners != instance.owners[option]
        assert by_log_det(instance) == chosen


def test_both_ways_to_a_bound_agree_and_anybody_can_compute_it() -> None:
    for seed in range(2):
        instance = draw(THREE_STATIONS, 120, seed, has_values=seed % 2 == 1).instance
        cut, risen = relax(instance, Limits()), ascend(instance)
        assert cut.bound <= risen.bound <= cut.bound * 1.02
        assert worth(instance, round_off(instance, cut)) <= cut.bound
        for relaxed in (cut, risen):
            assert bound_by(instance, relaxed.dual) == pytest.approx(relaxed.bound, rel=1e-9)
            assert bound_of(instance, relaxed.dual) == relaxed.bound
        hasty = relax(instance, Limits(), lambda: 0.0), ascend(instance, lambda: 0.0)
        for relaxed in hasty:
            assert bound_by(instance, relaxed.dual) == pytest.approx(relaxed.bound, rel=1e-9)
            assert relaxed.bound >= cut.bound - 1e-6
        negative = dataclasses.replace(cut.dual, weights=-cut.dual.weights)
        assert bound_by(instance, negative) == np.inf


def limited(seed: int) -> Instance:
    """Six requests with caps and radios of fixed power."""
    drawn = draw(Scenario(stations=1, bandwidth_hz=5e6, edge_cycle_s=8e9, core_cycle_s=12e9), 6, seed)
    instance = drawn.instance
    caps = np.minimum(instance.capacities[instance.paths] * 0.6, instance.demands * 6.0)
    gains = np.zeros_like(caps)
    gains[:, 0] = 4 * instance.capacities[instance.paths[:, 0]]
    return prepare(
        capacities=instance.capacities,
        paths=instance.paths,
        works=instance.demands,
        owners=instance.owners,
        caps=np.where(caps > 0, caps, 1.0),
        gains_hz=gains,
        count=6,
        sites=instance.sites,
        kinds=instance.kinds,
    )


def test_with_caps_and_fixed_powers_the_exact_one_is_what_trying_all_finds() -> None:
    for seed in range(3 if THOROUGH else 1):
        instance = limited(seed)
        assert not instance.is_additive
        best = plan(instance, method="exact")
        most = max(
            count
            for count in range(7)
            if any(
                is_feasible(instance, np.array(some, dtype=np.int64)) for some in _choices(instance, count)
            )
        )
        assert (len(best.accepted), best.is_proven) == (most, True)
        for method in METHODS:
            made = plan(instance, method=method)
            assert len(made.accepted) <= most
            assert made.bound >= most
        assert len(plan(instance, allocation="cheapest").accepted) <= most
        with pytest.raises(InputInvalid, match="stretched"):
            plan(instance, allocation="stretched")
        assert bound_by(instance, plan(instance).dual) == pytest.approx(
            relax(instance, Limits()).bound, rel=1e-6
        )


def test_without_the_solver_the_default_plans_and_others_say_what_to_install(
    monkeypatch, a_tight_one
) -> None:
    monkeypatch.setitem(sys.modules, "highspy", None)
    instance = a_tight_one(15, 3)
    made = plan(instance)
    assert flaws_of(instance, made) == ()
    assert made.bound < np.inf
    assert plan(limited(0)).bound < np.inf
    with pytest.raises(InputInvalid, match=r"pip install 'einthoven\[plan\]'"):
        plan(instance, method="exact")


def test_what_is_asked_wrongly_is_refused(a_tight_one) -> None:
    instance = a_tight_one(4, 1)
    for wrong, where in (
        ({"method": "magic"}, "method"),
        ({"allocation": "generous"}, "allocation"),
        ({"allocation": "frozen"}, "allocation"),
        ({"arrival": [0, 1, 1, 2]}, "arrival"),
        ({"limits": Limits(seconds=1.0)}, "limits.seconds"),
    ):
        with pytest.raises(InputInvalid) as caught:
            plan(instance, **wrong)
        assert caught.value.where == where


def test_nothing_to_plan_is_a_plan_of_nothing() -> None:
    nothing = prepare(
        capacities=[1.0], paths=np.zeros((0, 1), dtype=int), works=np.zeros((0, 1)), owners=[], count=3
    )
    for method in METHODS:
        made = plan(nothing, method=method)
        assert (len(made.accepted), made.offered, made.value) == (0, 3, 0.0)


def test_when_time_is_over_the_best_so_far_and_a_bound_are_given() -> None:
    instance = draw(THREE_STATIONS, 40, 40_009).instance
    clock = iter(np.arange(0.0, 1e6, 100.0))
    made = plan(instance, method="exact", limits=Limits(seconds=150.0), clock=lambda: float(next(clock)))
    assert not made.is_proven
    assert made.value <= 32 <= made.bound
    few = plan(instance, method="exact", limits=Limits(integer_rounds=1))
    assert few.value <= 32 <= few.bound
    assert 0 < few.gap < 0.05


def test_a_plan_that_does_not_hold_is_never_an_answer(a_tight_one) -> None:
    instance = a_tight_one(10, 2)
    made = plan(instance)
    small = made.shares.copy()
    small[0] *= 0.999
    wrong = [
        dataclasses.replace(made, shares=small),
        dataclasses.replace(made, shares=made.shares * 2),
        dataclasses.replace(made, shares=made.shares * np.nan),
        dataclasses.replace(made, shares=made.shares[1:]),
        dataclasses.replace(made, accepted=np.roll(made.accepted, 1)),
        dataclasses.replace(made, options=made.options + 10_000),
        dataclasses.replace(made, value=made.value + 1),
        dataclasses.replace(made, cost=made.cost * 1.01),
        dataclasses.replace(made, bound=made.value - 1),
        dataclasses.replace(made, offered=3),
        dataclasses.replace(made, utilisations=made.utilisations * 0.9),
    ]
    for one in wrong:
        assert flaws_of(instance, one)
        with pytest.raises(PlanRefuted, match="does not hold"):
            checked(instance, one)
    limited_one = limited(1)
    capped = plan(limited_one)
    over = dataclasses.replace(limited_one, caps=limited_one.caps / 3)
    assert any("cap" in flaw for flaw in flaws_of(over, capped))


def test_a_solver_that_does_not_run_is_told() -> None:
    """HiGHS has one scheduler a process, and refuses another number of threads than the first."""
    program = """
import highspy, numpy as np
other = highspy.Highs()
other.setOptionValue("threads", 2)
none = np.zeros(0, dtype=np.int32)
other.addCols(2, -np.ones(2), np.zeros(2), np.ones(2), 0, none, none, np.zeros(0))
other.addRow(-1e30, 1.5, 2, np.array([0, 1], dtype=np.int32), np.ones(2))
other.changeColIntegrality(0, highspy.HighsVarType.kInteger)
other.run()
from einthoven.errors import SolverFailed
from einthoven.placement.offloading import THREE_STATIONS, draw, plan
try:
    plan(draw(THREE_STATIONS, 20, 1).instance, method="clr")
except SolverFailed as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "HiGHS ended with" in done.stdout
    assert "one thread" in done.stdout


def test_three_hundred_requests_take_no_time_and_ten_thousand_at_a_hundred_sites_little() -> None:
    instance = draw(THREE_STATIONS, 300, 300_000).instance
    by_log_det(instance)
    start = time.perf_counter()
    plan(instance, method="ldg")
    assert time.perf_counter() - start < 0.1
    large = draw(*((Scenario(stations=99), 10_000) if THOROUGH else (Scenario(stations=12), 400)), 1).instance
    assert large.paths.nbytes + large.demands.nbytes < 2e9
    start = time.perf_counter()
    made = plan(large, limits=Limits(relaxed_options=3_000))
    assert time.perf_counter() - start < (240 if THOROUGH else 60)
    assert made.gap < 0.08


@pytest.mark.parametrize("seed", range(300_000, 300_012 if THOROUGH else 300_003))
def test_of_three_hundred_requests_as_many_are_accepted_as_can_be(seed: int) -> None:
    """So what the heuristic of the article leaves to be won there is won: 3.9 points, mean of 12 seeds."""
    made = plan(draw(THREE_STATIONS, 300, seed).instance)
    assert len(made.chosen()) == math.floor(made.bound + 1e-6)
