"""Deployments as published and as the code of real nodes does them, in virtual time."""

import numpy as np

from einthoven.experiments.figures import Setup
from einthoven.experiments.published import local_edge
from einthoven.experiments.site_deployments import deployment, drawn_s


def found_with(seed: int):
    return deployment(Setup(seconds=1.0, seed=seed, told=lambda _: None))


def test_the_model_of_the_prototype_lies_in_all_that_was_printed() -> None:
    rows = found_with(1).rows
    assert all(one.is_in_range in (None, True) for one in rows)
    assert sum(one.is_in_range is True for one in rows) == 5


def test_a_phase_takes_between_its_least_and_its_most() -> None:
    for name in ("native", "container"):
        phases = local_edge()[name]
        took_s = drawn_s(phases, 1000, 3)
        assert took_s.min() >= sum(least_s for least_s, _ in phases.values())
        assert took_s.max() <= sum(most_s for _, most_s in phases.values())
        assert np.array_equal(took_s, drawn_s(phases, 1000, 3))


def test_hundreds_of_nodes_at_once_are_served_before_the_prototype_has_found_one() -> None:
    rows = {(one.case, one.figure): one.ours for one in found_with(2).rows}
    assert rows["ours, 200 at once", "the last one"] < rows["prototype, native", "mean"]
    assert rows["ours, 200 at once", "the last one"] < 6.0
    assert found_with(2).rows == found_with(2).rows, "the same seed gives the same"
