"""Both published shapes are there: HRA uses hardly more than the least, and accepts more than others do."""

import math

import pytest

from einthoven.experiments.figures import Found, Setup
from einthoven.experiments.offloading import offloading
from einthoven.experiments.planning import accepted_online, planned
from einthoven.placement.offloading import ONE_STATION, draw
from einthoven.placement.offloading.exact import cheapest_set
from einthoven.placement.offloading.plans import Limits


@pytest.fixture(scope="module")
def found() -> Found:
    return offloading(Setup(seconds=5.0, seed=2, told=lambda _: None))


def test_no_method_is_above_the_optimum_and_the_optimum_is_not_above_the_bound(found: Found) -> None:
    for case in {one.case for one in found.rows}:
        of = {one.figure.removeprefix("accepted, "): one.ours for one in found.rows if one.case == case}
        if "optimum" in of:
            assert (
                max(of["in order of arrival"], of["HRA, reconstructed"], of["ours"]) <= of["optimum"] + 1e-6
            )
            assert of["optimum"] <= of["bound"] + 1e-6
        if "HRA above it" in of:
            assert of["HRA above it, at most"] >= of["HRA above it"] >= -0.01


def test_nothing_is_said_to_be_published_but_the_shapes(found: Found) -> None:
    assert all(one.published is None for one in found.rows)
    assert "shape only" in found.known
    assert "10.1109/ACCESS.2021.3071848" in found.sources[0]
    assert any("reconstruction" in one for one in found.remarks)


def test_means_say_how_sure_they_are(found: Found) -> None:
    assert all(one.within is not None for one in found.rows if one.figure.startswith("accepted"))
    assert "2 seeds" in " ".join(found.remarks)


def test_hra_uses_little_more_than_the_least_for_as_many(found: Found) -> None:
    """The published figure 4b, on six draws of fifteen requests."""
    above = []
    for seed in range(6):
        drawn = draw(ONE_STATION, 15, seed)
        plan = planned(drawn, "hra")
        least = cheapest_set(drawn.instance, len(plan.accepted), Limits())
        assert least.is_proven
        above.append(plan.cost / least.upper - 1)
    assert min(above) > -1e-4
    assert math.fsum(above) / 6 < 0.1


def test_shares_given_anew_accept_more_sessions() -> None:
    """The reference tables have 82.8 and 91.5 per cent, means of four runs."""
    frozen, ours = (accepted_online(20, 0, 700, is_frozen=is_frozen) for is_frozen in (True, False))
    assert ours - frozen > 5
