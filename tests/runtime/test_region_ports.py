"""Regions of this machine keep what every region promises; a pool outlives its workers."""

import asyncio
import multiprocessing
import os
import signal
from contextlib import asynccontextmanager
from functools import partial

import pytest

from einthoven.runtime.conducting import InvocationBroke
from einthoven.runtime.hosted import Hosted, perform
from einthoven.runtime.local_regions import InlineRegion, PoolRegion
from einthoven.testing.loop import in_loop
from einthoven.testing.regions import REGION_CHECKS, a_call, a_slow_call

MAKERS = {
    "inline": partial(InlineRegion, Hosted()),
    "a thread": partial(PoolRegion, Hosted(), 1),
    "processes": partial(PoolRegion, Hosted(), 2),
}


@pytest.mark.parametrize("check", REGION_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("kind", MAKERS)
@in_loop
async def test_regions_of_this_machine_keep_the_promises(kind, check) -> None:
    @asynccontextmanager
    async def made():
        region = MAKERS[kind]()
        try:
            yield region
        finally:
            await region.close()

    await check(made)


@in_loop
async def test_a_worker_that_is_killed_breaks_its_call_and_the_next_one_has_another() -> None:
    region = PoolRegion(Hosted(), 2)
    try:
        call = a_call(20)
        expected = perform(Hosted(), call).content
        assert (await region.invoke(call)).content == expected
        under_way = [asyncio.ensure_future(region.invoke(a_slow_call())) for _ in range(6)]
        await asyncio.sleep(0.02)
        children = {child.pid for child in multiprocessing.active_children()}
        assert len(children) == 2
        os.kill(min(children), signal.SIGKILL)
        for ended in await asyncio.gather(*under_way, return_exceptions=True):
            if isinstance(ended, BaseException):
                assert isinstance(ended, InvocationBroke)
                assert ended.kind == "transport"
        assert any(isinstance(task.exception(), InvocationBroke) for task in under_way)
        assert (await region.invoke(call)).content == expected
    finally:
        await region.close()


@in_loop
async def test_a_pool_says_how_many_it_performs_at_once() -> None:
    region = PoolRegion(Hosted(), 3)
    assert (await region.probe()).slots == 3
    await region.close()
