"""Regions behind HTTP, and several regions as one, keep what every way to a region promises."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from einthoven.clock import SystemClock
from einthoven.continuum import Region
from einthoven.runtime.federation import FederatedRegions, Federation
from einthoven.runtime.hosted import Hosted
from einthoven.runtime.http_region import HttpRegion
from einthoven.runtime.local_regions import PoolRegion
from einthoven.runtime.region_port import RegionPort
from einthoven.testing.function_hosts import a_host
from einthoven.testing.regions import REGION_CHECKS


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with a_host() as found:
        yield found


@pytest.mark.parametrize("check", REGION_CHECKS, ids=lambda check: check.__name__)
def test_a_region_behind_http_keeps_the_promises(url: str, check) -> None:
    @asynccontextmanager
    async def made() -> AsyncIterator[RegionPort]:
        region = HttpRegion(url)
        try:
            yield region
        finally:
            await region.close()

    asyncio.run(check(made))


@pytest.mark.parametrize("check", REGION_CHECKS, ids=lambda check: check.__name__)
def test_several_regions_as_one_keep_the_promises(url: str, check) -> None:
    @asynccontextmanager
    async def made() -> AsyncIterator[RegionPort]:
        regions = [
            Region(name="here", kind="pool", slots=1),
            Region(name="there", kind="http", address=url, slots=4),
        ]
        ports = {"here": PoolRegion(Hosted(), 1), "there": HttpRegion(url)}
        federation = FederatedRegions(Federation(regions, ports, SystemClock()))
        try:
            yield federation
        finally:
            await federation.close()

    asyncio.run(check(made))
