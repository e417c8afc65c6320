"""Workflows that a region performs: the same results as in this process, however they are cut into calls."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from einthoven.clock import SystemClock
from einthoven.records import write_recording
from einthoven.runtime.conducting import Conductor, FunctionUnknown, InProcess, InvocationBroke, Invoker
from einthoven.runtime.ecg_functions import ecg_functions, holding
from einthoven.runtime.hosted import Hosted
from einthoven.runtime.local_regions import InlineRegion, PoolRegion
from einthoven.runtime.region_invoker import RegionInvoker
from einthoven.runtime.region_port import Answer, Call, RegionPort
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.testing.loop import in_loop
from einthoven.workflow import Done, Execution, Failure, Invoke, check_text, compile_workflow
from einthoven.workflow.fusion import fuse

CHUNK_S = 600.0


def the_batch_workflow(is_fused: bool) -> Any:
    checked = check_text(files("einthoven.workflow").joinpath("ecg", "batch.yaml").read_bytes())
    program = compile_workflow(checked)
    return fuse(program, lambda *_: "there") if is_fused else program


def what_lies_in(store: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(store)): path.read_bytes() for path in sorted(store.rglob("*")) if path.is_file()
    }


@pytest.fixture(scope="module")
def two_hours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("records") / "two-hours"
    write_recording(path, VirtualPatient(3, SCENES["vt_to_vf"], fs=125.0, duration_s=7200.0))
    return path


async def performed(invoker: Invoker, recording: Path, is_fused: bool) -> dict[str, Any]:
    conductor = Conductor(invoker, slots=4, clock=SystemClock())
    execution = Execution(the_batch_workflow(is_fused), "r", {"ecgDataFilePath": str(recording)})
    entry = await conductor.run(execution)
    assert isinstance(entry, Done), entry
    return entry.outputs


@pytest.mark.parametrize("is_fused", [True, False], ids=["fused", "apart"])
@in_loop
async def test_a_pool_gives_the_batch_workflow_what_this_process_gives(
    two_hours: Path, tmp_path: Path, is_fused: bool
) -> None:
    """The outputs, and every object in the store, byte for byte."""
    here, there = tmp_path / "here", tmp_path / "there"
    own = InProcess(ecg_functions(str(here), CHUNK_S), holding=holding(str(here)))
    region = RegionInvoker(PoolRegion(Hosted(store=str(there), chunk_s=CHUNK_S), 2), 60.0)
    try:
        expected = await performed(own, two_hours, is_fused)
        assert await performed(region, two_hours, is_fused) == expected
    finally:
        await region.close()
    assert len(expected["results"]) == 12
    assert what_lies_in(there) == what_lies_in(here)


class Apart:
    """In front of a region: it takes no fused functions, as a host with a URL for each."""

    def __init__(self, port: RegionPort) -> None:
        self.port = port
        self.invoke_of: list[str] = []
        self.close = port.close
        self.probe = port.probe

    async def invoke(self, call: Call) -> Answer:
        self.invoke_of.append(call.function)
        if "+" in call.function:
            raise FunctionUnknown("one function a URL")
        return await self.port.invoke(call)


@in_loop
async def test_where_nobody_takes_fused_functions_they_are_called_one_after_the_other(
    two_hours: Path, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    own = InProcess(ecg_functions(str(here), CHUNK_S), holding=holding(str(here)))
    apart = Apart(InlineRegion(Hosted(store=str(there), chunk_s=CHUNK_S)))
    expected = await performed(own, two_hours, True)
    assert await performed(RegionInvoker(apart, 60.0), two_hours, True) == expected
    assert {"split", "finalization"} < set(apart.invoke_of)
    lost = {name: what for name, what in what_lies_in(here).items() if what_lies_in(there).get(name) != what}
    assert not lost


@in_loop
async def test_what_breaks_in_the_region_is_told_as_its_kind(tmp_path: Path) -> None:
    region = RegionInvoker(InlineRegion(Hosted(store=str(tmp_path))), 60.0)
    conductor = Conductor(region, slots=4, clock=SystemClock())
    program = the_batch_workflow(is_fused=True)
    entry = await conductor.run(Execution(program, "r", {"ecgDataFilePath": str(tmp_path / "nobody")}))
    assert isinstance(entry, Failure)
    assert (entry.path, entry.broke) == ("countHours", "refused")


@pytest.mark.parametrize("type_", ["nobody+split", "split+nobody", "+"])
@in_loop
async def test_fused_functions_that_the_region_lacks_are_refused(tmp_path: Path, type_: str) -> None:
    region = InlineRegion(Hosted(store=str(tmp_path)))
    stage = b'{"name": "a", "type": "nobody", "inputs": [], "outputs": [], "leaving": []}'
    for content in (b'{"stages": [' + stage + b'], "inputs": {}}', b'{"stages": 3}', b"{}", b"[]", b"\xff"):
        call = Call(function=type_, content=content, encoding="json", key="k", timeout_s=60.0)
        with pytest.raises(InvocationBroke) as broke:
            await region.invoke(call)
        assert broke.value.kind == "refused"


class Mumbling:
    """A region that answers with something else."""

    async def invoke(self, _: Call) -> Answer:
        return Answer(content=b"\xff{", busy_s=0.0)


@in_loop
async def test_an_answer_that_is_no_json_is_none() -> None:
    invoke = Invoke(call=1, path="a", key="r/a", type="split", resource=None, inputs={}, attempt=1)
    with pytest.raises(InvocationBroke) as broke:
        await RegionInvoker(Mumbling(), 60.0).invoke(invoke)
    assert broke.value.kind == "reply"
