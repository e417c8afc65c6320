"""Streams are placed in regions under a deadline while the service runs, or refused with the reason."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from einthoven.clock import SystemClock
from einthoven.errors import EinthovenError
from einthoven.runtime.segment_analysis import Analysed, Streams, analyse_here
from einthoven.server.data_gate import DataGate
from einthoven.server.engine import Engine
from einthoven.server.placing import Placing
from einthoven.server.region_figures import RegionFigures
from einthoven.server.wire import Arrival
from einthoven.storage import Connection, Database
from einthoven.testing.builders import some_segments

NS = 10**9
NOW_NS = 1_900_000_000 * NS
DECLARED = """
[regions.near]
kind = "http"
address = "http://127.0.0.1:1"
slots = 1
tier = "edge"

[regions.far]
kind = "http"
address = "http://127.0.0.1:2"
slots = 1

[sites.clinic]
tier = "local"

[sites.mast]
tier = "edge"
region = "near"
slot_compute = "1 Gcycle/s"

[sites.cloud]
tier = "core"
region = "far"
slot_compute = "1 Gcycle/s"

[links.lan]
between = ["clinic", "mast"]
rate = "100 Mbit/s"
latency = "1 ms"

[links.uplink]
between = ["clinic", "cloud"]
rate = "100 Mbit/s"
latency = "20 ms"

[requests.segments]
site = "clinic"
input = "60 kbit"
work = "40 Mcycle"
deadline = "100 ms"
"""
"""Each region has room for one stream or two."""


class World:
    """Streams that send, and the job that places them."""

    def __init__(self, connection: Connection, path: Path) -> None:
        self.connection = connection
        self.path = path
        self.path.write_text(DECLARED)
        self.figures: Mapping[str, RegionFigures] = {}
        self.now_ns = NOW_NS
        self.placing = Placing(path, lambda: self.figures)
        self.engine = Engine(connection)

    def sends(self, device: str) -> None:
        (one,) = some_segments(device, 1)
        self.engine.process([Arrival("main", one, False, self.now_ns, "answer")])

    def place(self, seconds: float = 0.0) -> dict[str, tuple[str, str]]:
        self.now_ns += round(seconds * NS)
        self.placing.place(self.connection, self.now_ns)
        with self.connection.reading() as statements:
            rows = statements.rows("SELECT device, region, refused FROM streams ORDER BY device")
        return {device: (region, refused) for device, region, refused in rows}


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[World]:
    connection = database.connect()
    yield World(connection, tmp_path / "continuum.toml")
    connection.close()


def test_streams_are_placed_while_there_is_room_and_then_refused_with_the_reason(world: World) -> None:
    for device in "abcdef":
        world.sends(device)
    found = world.place()
    placed = {device: region for device, (region, _) in found.items() if region}
    assert set(placed.values()) == {"near", "far"}
    assert 2 <= len(placed) < 6
    refused = {why for region, why in found.values() if not region}
    assert all("what is left" in why for why in refused)
    assert world.place(1.0) == found, "nothing changes while nothing changes"


def test_whoever_ends_or_falls_silent_makes_room(world: World) -> None:
    for device in "abcdef":
        world.sends(device)
    before = world.place()
    gone = next(device for device, (region, _) in before.items() if region)
    with world.connection.writing() as statements:
        statements.run("UPDATE streams SET is_over = 1 WHERE device = ?", (gone,))
    found = world.place(1.0)
    assert found[gone] == ("", "")
    assert any(found[device][0] for device, (region, _) in before.items() if not region)
    assert set(world.place(300.0).values()) == {("", "")}, "nobody was heard of for five minutes"


def test_a_region_that_fails_loses_its_streams_to_others_or_to_the_service(world: World) -> None:
    for device in "ab":
        world.sends(device)
    before = world.place()
    assert all(region for region, _ in before.values())
    world.figures = {"near": RegionFigures(slots=0.0), "far": RegionFigures(slots=1.0)}
    found = world.place(1.0)
    assert {region for region, _ in found.values() if region} == {"far"}
    world.figures = {"near": RegionFigures(slots=0.0), "far": RegionFigures(slots=0.4)}
    assert all(why and not region for region, why in world.place(1.0).values())
    world.figures = {}
    assert all(region for region, _ in world.place(1.0).values()), "they come back at once"


def test_a_way_that_got_slow_is_left(world: World) -> None:
    world.sends("a")
    world.figures = {"near": RegionFigures(slots=1.0, way_s=0.3)}
    assert world.place()["a"] == ("far", "")
    world.figures = {
        "near": RegionFigures(slots=1.0, way_s=0.001),
        "far": RegionFigures(slots=1.0, way_s=0.3),
    }
    assert world.place(1.0)["a"] == ("near", "")


def test_small_changes_move_nobody(world: World) -> None:
    for device in "abc":
        world.sends(device)
    world.figures = {"near": RegionFigures(slots=1.0, way_s=0.0020, way_bits_per_s=9.0e7)}
    before = world.place()
    world.figures = {"near": RegionFigures(slots=1.0, way_s=0.0021, way_bits_per_s=9.1e7)}
    stands = world.placing._stands
    assert world.place(1.0) == before
    assert world.placing._stands is stands


def test_nothing_is_planned_where_no_class_of_segments_is_declared(world: World) -> None:
    world.sends("a")
    assert world.place()["a"][0]
    world.path.write_text(DECLARED.split("[requests", maxsplit=1)[0])
    assert world.place(1.0)["a"] == ("", "")
    world.path.unlink()
    assert world.place(1.0)["a"] == ("", "")


def test_a_file_with_an_error_changes_nothing(world: World) -> None:
    world.sends("a")
    before = world.place()
    world.path.write_text("regions = 3")
    assert world.place(1.0) == before
    # What regions are found to be holds on, and is not taken for what was declared.
    world.figures = {name: RegionFigures(slots=0.0) for name in ("near", "far")}
    assert world.place(1.0)["a"][1]
    world.figures = {}
    assert world.place(1.0)["a"][0]


def test_the_engine_knows_where_a_stream_belongs(world: World) -> None:
    asked: list[str | None] = []

    def analyst(streams: Streams) -> list[Analysed | EinthovenError]:
        asked.extend(one.region for one in streams)
        return analyse_here(streams)

    engine = Engine(world.connection, analyst=analyst)
    these = some_segments("a", 4)

    def send(number: int) -> None:
        engine.process([Arrival("main", these[number], False, world.now_ns, "answer")])

    send(0)
    send(1)
    assert asked == ["", ""]
    region, _ = world.place()["a"]
    send(2)
    assert asked[2] == region
    with world.connection.writing() as statements:
        statements.run("UPDATE streams SET region = '', refused = 'no room'")
    send(3)
    assert asked[3] is None, "here"


def test_a_stream_is_placed_only_where_its_patients_data_may_go(world: World, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    functions = "\n".join(
        f'{one} = ["samples"]' for one in ("preprocessing", "bdc", "postprocessing", "finalization")
    )
    rule = '[[rules]]\nname = "near"\ndata = ["samples"]\nregions = ["near"]\nconsent = "none"\n'
    policy.write_text(f"version = 1\n[functions]\n{functions}\n{rule}")
    gate = DataGate(policy, lambda: world.placing.regions, SystemClock())
    world.placing = Placing(world.path, lambda: world.figures, gate)
    for device in "abcdef":
        world.sends(device)
    found = world.place()
    assert {region for region, _ in found.values()} == {"near", ""}
    policy.write_text(policy.read_text().replace("near", "far"))
    assert {region for region, _ in world.place(1.0).values()} == {"far", ""}
    world.figures = {"near": RegionFigures(slots=1.0), "far": RegionFigures(slots=0.0)}
    assert all(why and not region for region, why in world.place(1.0).values())
    policy.unlink()
    world.figures = {}
    assert all(why and not region for region, why in world.place(20.0).values())
