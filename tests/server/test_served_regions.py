"""Regions of a process of the service follow their file, whatever goes wrong on the way."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from einthoven.clock import SystemClock
from einthoven.continuum import Region, write_region
from einthoven.placement import Terms
from einthoven.runtime.hosted import ANALYSES
from einthoven.runtime.reaching import way_of
from einthoven.server.metrics import families
from einthoven.server.region_figures import figures_in
from einthoven.server.served_regions import ServedRegions

WARD = Region(name="ward", kind="http", address="http://127.0.0.1:9", slots=8)


def following(path: Path, run: Callable[[ServedRegions], Awaitable[None]], shares: int = 1) -> None:
    async def main() -> None:
        served = ServedRegions(path, SystemClock(), Terms(), shares=shares, function=ANALYSES)
        await served.start()
        try:
            await run(served)
        finally:
            await served.close()

    asyncio.run(main())


def write(path: Path, *regions: Region) -> None:
    path.write_text("\n".join(map(write_region, regions)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "continuum.toml"


def test_regions_come_change_and_go_with_the_file(path: Path) -> None:
    async def run(served: ServedRegions) -> None:
        assert served.current is None
        write(path, WARD)
        await served._follow()
        assert served.current is not None
        assert served.federation.standings["ward"].region.slots == 4, "half of them: two processes share it"
        write(path, Region(**{**fields(WARD), "slots": 20}))
        await served._follow()
        assert served.federation.standings["ward"].region.slots == 10
        path.write_text("regions = 3")
        await served._follow()
        assert served.federation.standings["ward"].region.slots == 10
        path.unlink()
        await served._follow()
        assert served.current is None

    following(path, run, shares=2)


def fields(region: Region) -> dict[str, object]:
    return {name: getattr(region, name) for name in region.__struct_fields__}


def test_a_region_whose_token_is_not_there_yet_is_tried_again(path: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    write(path, Region(**{**fields(WARD), "token_file": str(token)}))

    async def run(served: ServedRegions) -> None:
        assert served.current is None
        token.write_text("secret")
        await served._follow()
        assert set(served.federation.standings) == {"ward"}
        assert not served._refused

    following(path, run)


def test_what_changes_the_way_to_a_region_makes_it_another_one(path: Path) -> None:
    one = Region(
        name="url",
        kind="http",
        address="http://127.0.0.1:9/{function}",
        functions=("analysis",),
    )
    write(path, one)

    async def run(served: ServedRegions) -> None:
        port = served.federation._ports["url"]
        write(path, Region(**{**fields(one), "place": "elsewhere"}))
        await served._follow()
        assert served.federation._ports["url"] is port, "the way is the same"
        write(path, Region(**{**fields(one), "functions": ("analysis", "analyses")}))
        await served._follow()
        assert served.federation._ports["url"] is not port

    following(path, run)


@pytest.mark.parametrize(
    ("kind", "address", "is_other"), [("http", "http://127.0.0.1:9", False), ("ray", "auto", True)]
)
def test_slots_are_part_of_the_way_where_they_are_made_here(kind: str, address: str, is_other: bool) -> None:
    one, more = (Region(name="a", kind=kind, address=address, slots=n) for n in (1, 2))  # type: ignore[arg-type]
    assert (way_of(one) != way_of(more)) is is_other


def test_of_a_region_that_is_gone_nothing_is_told(path: Path) -> None:
    write(path, Region(**{**fields(WARD), "name": "told"}))

    async def run(served: ServedRegions) -> None:
        served._tell()
        assert figures_in(families())["told"].slots == 8
        path.unlink()
        await served._follow()
        served._tell()
        assert figures_in(families())["told"].slots == 0
        assert figures_in(families())["told"].way_s is None

    following(path, run)
