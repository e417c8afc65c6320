"""What is asked is checked once; the scenario draws what its specification says."""

from typing import Any

import numpy as np
import pytest

from einthoven.errors import InputInvalid
from einthoven.placement.offloading import ONE_STATION, THREE_STATIONS, Scenario, draw, draw_online, prepare

FINE: dict[str, Any] = {
    "capacities": [20e6, 20e9],
    "paths": [[0, 1], [0, 1]],
    "works": [[2.5e5, 4e8], [1e5, 0.0]],
    "owners": [0, 1],
    "slacks_s": [0.1, 0.2],
}


def test_the_scenario_is_the_reference_to_the_digits_shown() -> None:
    twenty, forty = draw(THREE_STATIONS, 20, 20_000).instance, draw(THREE_STATIONS, 40, 40_000).instance
    assert len(twenty.owners) == 77
    assert twenty.loads.sum() == pytest.approx(11.535798774, abs=5e-10)
    assert twenty.paths[0].tolist()[:2] == [2, 5]
    assert twenty.demands[0].tolist() == pytest.approx([723725.54, 501334240, 0], rel=1e-8)
    assert len(forty.owners) == 160
    assert forty.loads.sum() == pytest.approx(28.406491803, abs=5e-10)


def test_the_same_seed_draws_the_same() -> None:
    one, other = (draw(THREE_STATIONS, 30, 7, has_values=True) for _ in range(2))
    assert np.array_equal(one.instance.demands, other.instance.demands)
    assert np.array_equal(one.instance.values, other.instance.values)
    assert one.arrival.tolist() == other.arrival.tolist()
    assert sorted(one.arrival.tolist()) == list(range(30))
    assert set(one.instance.values.tolist()) <= {1.0, 3.0, 10.0}
    online = draw_online(THREE_STATIONS, 20, 3, requests=50)
    assert np.all(np.diff(online.arrives_s) > 0)
    assert np.all(online.holds_s > 0)


def test_one_station_has_no_neighbours() -> None:
    instance = draw(ONE_STATION, 20, 5).instance
    assert set(instance.sites) == {"edge-0", "core"}
    with pytest.raises(InputInvalid, match="base station"):
        Scenario(stations=0)


def test_options_that_are_late_even_alone_are_dropped_and_remembered() -> None:
    instance = prepare(
        capacities=[10.0],
        paths=[[0], [0], [0], [0]],
        works=[[4.0], [20.0], [12.0], [1.0]],
        owners=[2, 0, 1, 0],
        slacks_s=[1.0, 1.0, 1.0, -0.5],
        count=4,
    )
    assert instance.owners.tolist() == [2]
    assert instance.given.tolist() == [0]
    assert [len(instance.options_of(one)) for one in range(4)] == [0, 0, 1, 0]
    assert instance.alone[:3].tolist() == pytest.approx([2.0, 1.2, 0.4])
    assert np.isnan(instance.alone[3])
    assert prepare(capacities=[1.0], paths=[[0]], works=[[1]], owners=[0], slacks_s=[0.0]).alone[0] == np.inf


def test_options_come_in_any_order_and_lie_by_request() -> None:
    instance = prepare(
        capacities=[10.0, 10.0],
        paths=[[0], [1], [1], [0]],
        works=[[1.0], [2.0], [3.0], [4.0]],
        owners=[1, 0, 1, 0],
        sites=["a", "b", "c", "d"],
        kinds=["edge", "core", "local", "neighbour"],
    )
    assert instance.owners.tolist() == [0, 0, 1, 1]
    assert instance.sites == ("b", "d", "a", "c")
    assert instance.kinds.tolist() == [3, 2, 1, 0]
    assert instance.options_of(1) == range(2, 4)
    assert instance.dense_roots([1])[0].tolist() == pytest.approx([0.4**0.5, 0.0])


def test_its_arrays_cannot_be_changed() -> None:
    instance = prepare(**FINE)
    with pytest.raises(ValueError, match="read-only"):
        instance.demands[0, 0] = 1.0


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("capacities", [20e6, 0.0]),
        ("capacities", [20e6, float("nan")]),
        ("capacities", [[20e6, 1.0]]),
        ("capacities", "many"),
        ("paths", [[0, 2], [0, 1]]),
        ("paths", [[0, 0], [0, 1]]),
        ("paths", [[0.5, 1], [0, 1]]),
        ("works", [[-1.0, 1.0], [1.0, 1.0]]),
        ("works", [[0.0, 0.0], [1.0, 1.0]]),
        ("capacities", []),
        ("works", [[1.0], [1.0]]),
        ("owners", [0, -1]),
        ("owners", [0]),
        ("slacks_s", [0.1, float("inf")]),
        ("values", [1.0, 0.0]),
        ("values", [1.0, 1.0, float("nan")]),
        ("kinds", ["edge", "moon"]),
        ("kinds", ["edge"]),
        ("caps", [[0.0, 1.0], [1.0, 1.0]]),
        ("gains_hz", [[-1.0, 1.0], [1.0, 1.0]]),
        ("resources", ["radio"]),
        ("requests", ["a"]),
        ("sites", ["a"]),
    ],
)
def test_what_is_wrong_is_told_by_its_name(where: str, value: object) -> None:
    with pytest.raises(InputInvalid) as caught:
        prepare(**{**FINE, where: value})
    assert caught.value.where == where
    assert caught.value.remedy
