"""Each step towards the patient relieves the tiers above, and leaves more that works when they fail."""

import pytest

from einthoven.experiments.deployments import DEPLOYMENTS, Deployment, parameters
from einthoven.experiments.evolution import ARCHITECTURES, evolution, failed
from einthoven.experiments.figures import Found, Setup


@pytest.fixture(scope="module")
def found() -> Found:
    return evolution(Setup(seconds=6.0, seed=1, told=lambda _: None))


def figure(found: Found, deployment: Deployment, name: str) -> float:
    return next(one.ours for one in found.rows if (one.case, one.figure) == (ARCHITECTURES[deployment], name))


def test_the_upper_tiers_carry_less_with_each_step(found: Found) -> None:
    """336, 248 and 204 kB/s of 40 patients, as computed by hand."""
    total = {
        one: sum(figure(found, one, f"network, {where}") for where in ("at home", "access", "backhaul"))
        for one in DEPLOYMENTS
    }
    assert total == {"cloud": 336, "edge": 248, "local": 204}
    for where in ("access", "backhaul"):
        carried = [figure(found, one, f"network, {where}") for one in DEPLOYMENTS]
        assert carried == sorted(carried, reverse=True)


def test_small_algorithms_are_best_at_home_and_large_ones_are_not(found: Found) -> None:
    for complexity, best in (("n", "local"), ("n log n", "local"), ("n^2", "edge"), ("n^3", "edge")):
        loops = {one: figure(found, one, f"loop, class {complexity}") for one in DEPLOYMENTS}
        assert min(loops, key=lambda one: loops[one]) == best


@pytest.mark.parametrize(
    ("deployment", "what", "works"),
    [
        ("cloud", "access", False),
        ("cloud", "backhaul", False),
        ("edge", "access", False),
        ("edge", "backhaul", True),
        ("local", "access", True),
        ("local", "backhaul", True),
    ],
)
def test_what_is_below_the_failure_goes_on(deployment: Deployment, what: str, works: bool) -> None:
    """And its results are not lost: they arrive when the way is there again, at the latest at once then."""
    found = failed(parameters(), deployment, what, 9.0)
    assert (found.closed_before_pct, found.closed_after_pct) == (100, 100)
    assert found.closed_meanwhile_pct == found.arrived_pct == (100 if works else 0)
    assert (3.0 < found.latest_s < 3.3) if works else found.latest_s == 0


def test_nothing_is_said_to_be_published(found: Found) -> None:
    assert all(one.published is None for one in found.rows)
    assert "No figures are printed" in " ".join(found.remarks)
