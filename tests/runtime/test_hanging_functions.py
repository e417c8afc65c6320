"""A function that really hangs - it reads what nobody writes - does not keep its place for ever."""

import asyncio
import json
import multiprocessing
import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

pytest.importorskip("aiohttp", reason="aiohttp is not installed (extra delivery)")

from einthoven.clock import SystemClock
from einthoven.continuum import Region
from einthoven.functions import Ecg, encode
from einthoven.placement import Terms
from einthoven.runtime.conducting import InvocationBroke
from einthoven.runtime.federation import Federation, Request
from einthoven.runtime.hosted import Hosted, perform
from einthoven.runtime.http_region import HttpRegion
from einthoven.runtime.kernels import warm_kernels
from einthoven.runtime.local_regions import InlineRegion, PoolRegion
from einthoven.runtime.region_port import Answer, Call, RegionPort
from einthoven.runtime.worker_pool import WorkerEnded, WorkerPool
from einthoven.server.function_host import FunctionHost, HostLimits, in_workers
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.testing.function_hosts import serving_host
from einthoven.testing.loop import in_loop
from einthoven.testing.regions import a_call, a_slow_call

LONGEST_S = 0.4
OBJECT = encode(
    Ecg(samples=VirtualPatient(3, SCENES["healthy"]).read(0, 3750)[0].astype(np.int32)), "msgpack"
)


@pytest.fixture
def hosted(tmp_path: Path) -> Hosted:
    """With one object that is read, and one that never is: it is a pipe into which nobody writes."""
    (tmp_path / "good").write_bytes(OBJECT)
    os.mkfifo(tmp_path / "stuck")
    return Hosted(store=str(tmp_path))


def let_go(hosted: Hosted) -> None:
    """Whoever waits at the pipe reads its end."""
    os.close(os.open(Path(hosted.store) / "stuck", os.O_WRONLY))


def reading(name: str, key: str, timeout_s: float = 20.0) -> Call:
    content = json.dumps({"ecgDataFilePath": name}).encode()
    return Call(function="preprocessing", content=content, encoding="json", key=key, timeout_s=timeout_s)


def children() -> set[int | None]:
    return {child.pid for child in multiprocessing.active_children()}


@in_loop
async def test_a_worker_that_hangs_is_ended_and_no_other_is_touched() -> None:
    others = children()
    pool = WorkerPool(2)
    try:
        await asyncio.gather(*(pool.call(partial(time.sleep, 0.3)) for _ in range(2)))
        before = children() - others
        assert len(before) == 2
        beside = asyncio.ensure_future(pool.call(partial(time.sleep, 1.0)))
        began_s = time.perf_counter()
        with pytest.raises(WorkerEnded):
            await pool.call(partial(time.sleep, 1000), LONGEST_S)
        assert LONGEST_S <= time.perf_counter() - began_s < 6
        assert not beside.done()
        await beside
        (neighbour,) = (children() - others) & before
        await asyncio.gather(*(pool.call(partial(time.sleep, 0.3)) for _ in range(2)))
        after = children() - others
        assert len(after) == 2
        assert neighbour in after
    finally:
        pool.close()
    assert children() == others


@in_loop
async def test_what_waits_in_line_is_not_counted_as_hanging() -> None:
    pool = WorkerPool(1, 0)
    try:
        began_s = time.perf_counter()
        await asyncio.gather(*(pool.call(partial(time.sleep, 0.2), 1.0) for _ in range(7)))
        assert time.perf_counter() - began_s > 1.4
    finally:
        pool.close()


@in_loop
async def test_a_pool_has_all_its_workers_again_after_functions_that_hung(hosted: Hosted) -> None:
    region = PoolRegion(hosted, 2, longest_s=LONGEST_S)
    try:
        stuck = (region.invoke(reading("stuck", f"s{number}")) for number in range(2))
        for ended in await asyncio.gather(*stuck, return_exceptions=True):
            assert isinstance(ended, InvocationBroke)
            assert ended.kind == "timeout"
        answers = await asyncio.gather(*(region.invoke(reading("good", f"g{n}")) for n in range(4)))
        assert {one.content for one in answers} == {perform(hosted, reading("good", "g")).content}
    finally:
        await region.close()


@in_loop
async def test_a_call_in_a_hurry_ends_no_worker(hosted: Hosted) -> None:
    """Its time is over long before the function is known to hang, and whoever comes next needs the worker."""
    region = PoolRegion(hosted, 1, niceness=0)
    try:
        await region.warm()
        for _ in range(3):
            with pytest.raises(InvocationBroke) as caught:
                await region.invoke(a_slow_call(0.005))
            assert caught.value.kind == "timeout"
        began_s = time.perf_counter()
        await region.invoke(a_call(1))
        assert time.perf_counter() - began_s < 0.8, "it had to begin anew"
    finally:
        await region.close()


@in_loop
async def test_what_hangs_is_closed_without_waiting_for_it(hosted: Hosted) -> None:
    region = PoolRegion(hosted, 1, niceness=0)
    await region.warm()
    stuck = asyncio.ensure_future(region.invoke(reading("stuck", "s")))
    await asyncio.sleep(0.05)
    began_s = time.perf_counter()
    await region.close()
    assert time.perf_counter() - began_s < 3
    with pytest.raises(InvocationBroke, match="closed"):
        await stuck


@in_loop
async def test_inline_says_that_it_cannot_interrupt(hosted: Hosted) -> None:
    region = InlineRegion(hosted)
    with pytest.raises(InvocationBroke, match="cannot be interrupted here") as caught:
        await region.invoke(a_slow_call(0.001))
    assert caught.value.kind == "timeout"
    await region.close()


@in_loop
async def test_what_hangs_in_one_region_is_answered_by_another(hosted: Hosted, tmp_path: Path) -> None:
    """There the object can be read."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "stuck").write_bytes(OBJECT)
    there = Hosted(store=str(other))
    ports: dict[str, RegionPort] = {
        "a": PoolRegion(hosted, 1, niceness=0, longest_s=LONGEST_S),
        "b": InlineRegion(there),
    }
    regions = [
        Region(name="a", kind="pool", longest_s=LONGEST_S),
        Region(name="b", kind="inline", rtt_s=1.0),
    ]
    federation = Federation(regions, ports, SystemClock(), Terms(policy="fastest", hedged_share=0.0))
    try:
        call = reading("stuck", "k")
        request = Request(function=call.function, content=call.content, encoding="json", key="k")
        answer: Answer = await federation.invoke(request)
        assert json.loads(answer.content)["ecgDataFilePath"].endswith(".preprocessing")
        assert federation.standings["a"].failures == 1
        assert federation.standings["b"].answers == 1
    finally:
        await federation.close()


# -------------------------------------------------------------------- behind HTTP


def serving(hosted: Hosted, workers: WorkerPool, **limits: Any) -> Any:
    found = HostLimits(timeout_max_s=LONGEST_S, **limits)
    performing = in_workers(hosted, workers, found.timeout_max_s)
    return serving_host(
        FunctionHost(hosted, performing, SystemClock(), limits=found, hangs=lambda: workers.hangs)
    )


@pytest.fixture
def processes() -> Iterator[WorkerPool]:
    pool = WorkerPool(2, begin=warm_kernels)
    yield pool
    pool.close()


def test_a_host_ends_what_hangs_and_its_slot_is_free_again(hosted: Hosted, processes: WorkerPool) -> None:
    async def run(url: str) -> None:
        region = HttpRegion(url)
        try:
            for number in range(2):
                with pytest.raises(InvocationBroke) as caught:
                    await region.invoke(reading("stuck", f"s{number}"))
                assert caught.value.kind == "timeout"
            for number in range(100):
                both = (region.invoke(reading("good", f"g{number}/{n}")) for n in range(2))
                answers = await asyncio.gather(*both, return_exceptions=True)
                if not any(isinstance(one, BaseException) for one in answers):
                    return
            raise AssertionError("new workers never begin")
        finally:
            await region.close()

    with serving(hosted, processes, slots=2) as url:
        asyncio.run(run(url))
        assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200


def test_a_host_of_one_thread_says_that_it_is_not_well_until_the_function_ends(hosted: Hosted) -> None:
    """So whoever watches over it starts it anew; nothing else ends a thread."""
    workers = WorkerPool(1)
    with serving(hosted, workers) as url, httpx.Client(base_url=url, trust_env=False) as client:
        assert client.get("/healthz").status_code == 200
        content = reading("stuck", "s").content
        answer = client.post(
            "/functions/preprocessing", content=content, headers={"Content-Type": "application/json"}
        )
        assert (answer.status_code, answer.json()["kind"]) == (504, "timeout")
        for path in ("/healthz", "/readyz"):
            assert client.get(path).status_code == 503
        let_go(hosted)
        until_s = time.monotonic() + 5
        while client.get("/healthz").status_code != 200:
            assert time.monotonic() < until_s
            time.sleep(0.02)
    workers.close()
