"""Random requests around base stations: the scenario by which planners are compared.

All numbers are our own; those of the publication are not known. The order in which numbers are drawn is part
of the contract: request by request its station, bits, cycles a bit, deadline and signal-to-noise ratio; then,
if they are wanted, the values of all; then the order of arrival.
"""

from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from einthoven.errors import InputInvalid
from einthoven.placement.offloading.instance import KINDS, FloatArray, Instance, IntArray, prepare

__all__ = ["ONE_STATION", "THREE_STATIONS", "Drawn", "Online", "Scenario", "draw", "draw_online"]

_VALUES: Final = (1.0, 3.0, 10.0)
_CHANCES: Final = (0.7, 0.2, 0.1)


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """Stations with a radio and an edge server each, joined to each other and to one core."""

    stations: int = 3
    bandwidth_hz: float = 20e6
    edge_cycle_s: float = 20e9
    core_cycle_s: float = 100e9
    backhaul_bit_s: float = 300e6
    xhaul_bit_s: float = 300e6
    """Between stations; each has one line for what it sends to others."""
    has_neighbours: bool = True
    """Whether requests may run at other stations' servers."""
    propagation_s: float = 0.001
    xhaul_s: float = 0.004
    backhaul_s: float = 0.030
    bits: tuple[float, float] = (0.1e6, 1.0e6)
    cycles_per_bit: tuple[float, float] = (100.0, 1000.0)
    deadline_s: tuple[float, float] = (0.05, 0.30)
    snr_db: tuple[float, float] = (0.0, 25.0)

    def __post_init__(self) -> None:
        if self.stations < 1:
            raise InputInvalid("there must be a base station.", where="stations")


THREE_STATIONS: Final = Scenario()
ONE_STATION: Final = Scenario(stations=1, has_neighbours=False, xhaul_bit_s=1.0)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Drawn:
    """Requests, and the order in which they come."""

    instance: Instance
    arrival: IntArray


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Online:
    """Requests, and when each comes and how long it stays."""

    instance: Instance
    arrives_s: FloatArray
    holds_s: FloatArray


def draw(scenario: Scenario, requests: int, seed: int, *, has_values: bool = False) -> Drawn:
    """Requests that all want to run at one time.

    Parameters
    ----------
    has_values : values of 1, 3 and 10 with probabilities 0.7, 0.2 and 0.1; else all are worth 1.
    """
    random = np.random.default_rng(seed)
    drawn = _requests(random, scenario, requests)
    values = random.choice(_VALUES, requests, p=_CHANCES) if has_values else np.ones(requests)
    return Drawn(instance=_instance(scenario, drawn, values), arrival=random.permutation(requests))


def draw_online(scenario: Scenario, load: float, seed: int, *, requests: int = 1500) -> Online:
    """Requests that come one a second (Poisson) and stay ``load`` seconds (exponential), in the mean.

    So ``load`` is how many would run at one time if all were accepted.
    """
    random = np.random.default_rng(seed)
    instance = _instance(scenario, _requests(random, scenario, requests), np.ones(requests))
    arrives_s = np.cumsum(random.exponential(1.0, requests))
    return Online(instance=instance, arrives_s=arrives_s, holds_s=random.exponential(load, requests))


def _requests(random: np.random.Generator, scenario: Scenario, count: int) -> FloatArray:
    """Station, bits, cycles, deadline and spectral efficiency of each (N, 5)."""
    rows = np.zeros((count, 5))
    for row in rows:
        row[0] = random.integers(scenario.stations)
        row[1] = random.uniform(*scenario.bits)
        row[2] = row[1] * random.uniform(*scenario.cycles_per_bit)
        row[3] = random.uniform(*scenario.deadline_s)
        row[4] = np.log2(1 + 10 ** (random.uniform(*scenario.snr_db) / 10))
    return rows


def _instance(scenario: Scenario, drawn: FloatArray, values: FloatArray) -> Instance:
    """Resources: radios, edge servers, backhauls, X-hauls of the stations in turn, and the core's servers."""
    count, stations = len(drawn), scenario.stations
    station = drawn[:, 0].astype(np.int64)
    bits, cycles, deadline_s, efficiency = drawn[:, 1:].T
    radio_hz_s = bits / efficiency
    others = [(station + step) % stations for step in range(1, stations if scenario.has_neighbours else 1)]
    near = np.sort(np.stack(others, axis=1), axis=1) if others else np.zeros((count, 0), dtype=np.int64)
    width = 2 + near.shape[1]
    paths = np.zeros((count, width, 3), dtype=np.int64)
    works = np.zeros((count, width, 3))
    paths[:, :, 0], works[:, :, 0] = station[:, None], radio_hz_s[:, None]
    paths[:, 0, 1], works[:, 0, 1] = stations + station, cycles
    paths[:, 1:-1, 1], works[:, 1:-1, 1] = 3 * stations + station[:, None], bits[:, None]
    paths[:, 1:-1, 2], works[:, 1:-1, 2] = stations + near, cycles[:, None]
    paths[:, -1, 1], works[:, -1, 1] = 2 * stations + station, bits
    paths[:, -1, 2], works[:, -1, 2] = 4 * stations, cycles
    slacks_s = np.repeat((deadline_s - scenario.propagation_s)[:, None], width, axis=1)
    slacks_s[:, 1:-1] -= scenario.xhaul_s
    slacks_s[:, -1] -= scenario.backhaul_s
    kinds = [KINDS.index("edge"), *[KINDS.index("neighbour")] * near.shape[1], KINDS.index("core")]
    edges = [f"edge-{number}" for number in range(stations)]
    at = np.concatenate([station[:, None], near], axis=1)
    return prepare(
        capacities=np.repeat(
            [
                scenario.bandwidth_hz,
                scenario.edge_cycle_s,
                scenario.backhaul_bit_s,
                scenario.xhaul_bit_s,
                scenario.core_cycle_s,
            ],
            [stations] * 4 + [1],
        ),
        paths=paths.reshape(-1, 3),
        works=works.reshape(-1, 3),
        owners=np.repeat(np.arange(count), width),
        slacks_s=slacks_s.reshape(-1),
        values=values,
        kinds=np.tile(np.array(kinds, dtype=np.uint8), count),
        resources=[
            *(f"{what}-{n}" for what in ("radio", "edge", "backhaul", "xhaul") for n in range(stations)),
            "core",
        ],
        units=["Hz"] * stations + ["cycle/s"] * stations + ["bit/s"] * (2 * stations) + ["cycle/s"],
        sites=[name for row in at.tolist() for name in (*(edges[n] for n in row), "core")],
    )
