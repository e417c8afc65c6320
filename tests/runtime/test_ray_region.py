"""Regions on a real Ray cluster of three nodes on this machine: placed, bounded, and one of them killed."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from einthoven.records import write_recording
from einthoven.runtime.conducting import InProcess, InvocationBroke
from einthoven.runtime.ecg_functions import ecg_functions, holding
from einthoven.runtime.hosted import Hosted, perform
from einthoven.runtime.ray_region import RayRegion
from einthoven.runtime.region_invoker import RegionInvoker
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.testing.loop import in_loop
from einthoven.testing.regions import REGION_CHECKS, a_call, a_slow_call

ray = pytest.importorskip("ray", reason="Ray is not installed: einthoven[ray]")
pytestmark = pytest.mark.filterwarnings("default")  # what Ray warns of is not ours

SOON_S = 5.0
WATCHFUL = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 500,
    "health_check_failure_threshold": 3,
}
"""Of the cluster's head, as docs/reference/ray-regions.md advises: by itself it waits 15 s."""


@pytest.fixture(scope="module")
def nodes() -> Iterator[dict[str, Any]]:
    """A head, a node ``edge`` and a node ``cloud``, each with an address and one processor of its own."""
    with pytest.MonkeyPatch.context() as environment, warnings.catch_warnings():
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        environment.setenv("RAY_AUTH_MODE", "disabled")
        warnings.simplefilter("ignore")
        from ray.cluster_utils import Cluster  # noqa: PLC0415 - an extra

        cluster = Cluster()
        found = {"cluster": cluster}
        for name, ip in (("head", "127.0.0.2"), ("edge", "127.0.0.3"), ("cloud", "127.0.0.4")):
            found[name] = cluster.add_node(
                node_ip_address=ip,
                num_cpus=1,
                resources={name: 1},
                include_dashboard=False,
                object_store_memory=150_000_000,
                **({"_system_config": WATCHFUL} if name == "head" else {}),
            )
        yield found
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture
def a_region(nodes: dict[str, Any]) -> Callable[..., Any]:
    """Makes regions of the cluster, which close behind their block."""

    @asynccontextmanager
    async def made(resource: str | None = None, **more: Any) -> AsyncIterator[RayRegion]:
        hosted = more.pop("hosted", Hosted())
        region = RayRegion(
            hosted,
            address=nodes["cluster"].address,
            node_ip="127.0.0.2",
            resource=resource,
            slots=more.pop("slots", 4),
        )
        try:
            yield region
        finally:
            await region.close()

    return made


@pytest.fixture(autouse=True, scope="module")
def _connected(nodes: dict[str, Any]) -> Iterator[None]:
    """One region holds the connection for all tests: workers are of a connection, and start slowly."""
    loop = asyncio.new_event_loop()

    async def held() -> RayRegion:
        region = RayRegion(Hosted(), address=nodes["cluster"].address, node_ip="127.0.0.2", slots=4)
        await region.probe()
        return region

    region = loop.run_until_complete(held())
    yield
    loop.run_until_complete(region.close())
    loop.close()
    assert not ray.is_initialized(), "the last one who holds it gives it up"


@pytest.mark.parametrize("check", REGION_CHECKS, ids=lambda check: check.__name__)
@in_loop
async def test_a_ray_region_keeps_the_promises(a_region, check) -> None:
    await check(a_region)


@in_loop
async def test_calls_land_where_the_region_is(a_region, nodes: dict[str, Any]) -> None:
    """A worker of each node has done what its region was asked, and no other."""
    async with a_region("edge") as edge, a_region("cloud") as cloud:
        for region in (edge, cloud):
            assert (await region.probe()).slots == 1
        before = {name: cpu_s_of(nodes[name]) for name in ("head", "edge", "cloud")}
        for _ in range(10):
            await edge.invoke(a_slow_call())
        after = {name: cpu_s_of(nodes[name]) for name in ("head", "edge", "cloud")}
    spent = {name: after[name] - before[name] for name in before}
    assert spent["edge"] > 0.3
    assert spent["cloud"] < 0.1 > spent["head"]


def workers_of(node: Any) -> list[int]:
    """The worker processes that a node's raylet started."""
    raylet = node.all_processes["raylet"][0].process.pid
    children = Path(f"/proc/{raylet}/task/{raylet}/children").read_text().split()
    titles = {child: Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    return [int(child) for child in children if titles[child].startswith((b"ray::IDLE", b"ray::einthoven"))]


def cpu_s_of(node: Any) -> float:
    ticks = 0
    for worker in workers_of(node):
        fields = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@in_loop
async def test_no_more_calls_go_on_than_there_are_slots(a_region) -> None:
    """The second of two waits, and within its own time."""
    async with a_region("cloud", slots=1) as region:
        await region.invoke(a_slow_call())
        first = asyncio.ensure_future(region.invoke(a_slow_call()))
        await asyncio.sleep(0)
        with pytest.raises(InvocationBroke) as broke:
            await region.invoke(a_slow_call(timeout_s=0.01))
        assert broke.value.kind == "timeout"
        await first


@in_loop
async def test_a_resource_that_no_node_has_is_no_region(a_region) -> None:
    async with a_region("moon") as region:
        with pytest.raises(InvocationBroke) as broke:
            await region.probe()
        assert broke.value.kind == "transport"
        began_s = time.monotonic()
        with pytest.raises(InvocationBroke) as broke:
            await region.invoke(a_call())
        assert broke.value.kind == "transport"
        assert time.monotonic() - began_s < SOON_S


@in_loop
async def test_a_process_has_one_cluster(a_region) -> None:
    with pytest.raises(InvocationBroke) as broke:
        await RayRegion(Hosted(), address="127.0.0.9:6379", slots=1).probe()
    assert broke.value.kind == "refused"


@in_loop
async def test_the_batch_workflow_on_ray_gives_what_this_process_gives(a_region, tmp_path: Path) -> None:
    """Two hours in chunks of ten minutes: the outputs, and every object in the store, byte for byte."""
    from test_region_invoker import CHUNK_S, performed, what_lies_in  # noqa: PLC0415 - beside this one

    recording, here, there = tmp_path / "two-hours", tmp_path / "here", tmp_path / "there"
    write_recording(recording, VirtualPatient(3, SCENES["vt_to_vf"], fs=125.0, duration_s=7200.0))
    own = InProcess(ecg_functions(str(here), CHUNK_S), holding=holding(str(here)))
    expected = await performed(own, recording, is_fused=True)
    async with a_region(hosted=Hosted(store=str(there), chunk_s=CHUNK_S)) as region:
        assert await performed(RegionInvoker(region, 60.0), recording, is_fused=True) == expected
    assert what_lies_in(there) == what_lies_in(here)


@in_loop
async def test_a_killed_worker_breaks_its_call_and_the_next_has_another(
    a_region, nodes: dict[str, Any]
) -> None:
    async with a_region("cloud") as region:
        call = a_call(20)
        await region.invoke(call)
        under_way = asyncio.gather(*(region.invoke(a_slow_call()) for _ in range(4)), return_exceptions=True)
        await asyncio.sleep(0.06)
        for worker in workers_of(nodes["cloud"]):
            os.kill(worker, signal.SIGKILL)
        broke = [end for end in await under_way if isinstance(end, BaseException)]
        assert broke
        assert {getattr(end, "kind", end) for end in broke} == {"transport"}
        assert (await region.invoke(call)).content == perform(Hosted(), call).content


@in_loop
async def test_a_killed_node_breaks_its_calls_and_others_go_on(a_region, nodes: dict[str, Any]) -> None:
    """The last test: the node does not come back."""
    async with a_region("edge", slots=50) as edge, a_region("cloud") as cloud:
        await asyncio.gather(edge.invoke(a_slow_call()), cloud.invoke(a_slow_call()))
        under_way = [asyncio.ensure_future(edge.invoke(a_slow_call())) for _ in range(50)]
        await asyncio.sleep(0.2)
        began_s = time.monotonic()
        nodes["cluster"].remove_node(nodes["edge"], allow_graceful=False)
        call = a_call(21)
        assert (await cloud.invoke(call)).content == perform(Hosted(), call).content
        ends = await asyncio.gather(*under_way, return_exceptions=True)
        took_s = time.monotonic() - began_s
        kinds = {end.kind for end in ends if isinstance(end, InvocationBroke)}
        assert kinds == {"transport"}
        assert took_s < SOON_S
        assert (await cloud.probe()).slots == 1


ALONE = """
import asyncio, os, sys
from einthoven.runtime.conducting import InvocationBroke
from einthoven.runtime.hosted import Hosted, perform
from einthoven.runtime.ray_region import RayRegion
from einthoven.runtime.region_port import Call
from einthoven.testing.regions import a_call
import ray

async def main():
    region = RayRegion(Hosted(), slots=2)
    assert (await region.probe()).slots == 2
    assert (await region.invoke(a_call(1))).content == perform(Hosted(), a_call(1)).content
    for content in (b'{"ecg": {"patientId": "somebody-4711", "samples": ["x-1234567"]}}', b'somebody-4711'):
        call = Call(function="analysis", content=content, encoding="json", key="k", timeout_s=60.0)
        try:
            await region.invoke(call)
        except InvocationBroke as broke:
            print(broke.kind)
    await region.close()
    assert not ray.is_initialized()

asyncio.run(main())
"""


def test_a_cluster_of_its_own_ends_with_the_region_and_writes_no_values() -> None:
    """Neither to the terminal nor into the files that Ray keeps."""
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        ran = subprocess.run(
            [sys.executable, "-c", ALONE],
            env={**os.environ, "RAY_TMPDIR": folder, "RAY_AUTH_MODE": "disabled"},
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert (ran.returncode, ran.stdout.split()) == (0, [b"refused", b"refused"]), ran.stderr.decode()
        logs = [path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()]
    assert logs
    for text in (ran.stderr, *logs):
        assert b"somebody-4711" not in text
        assert b"1234567" not in text
