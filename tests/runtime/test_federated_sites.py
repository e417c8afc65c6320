"""Three hosts learn together from records that stay with them, and learn what one process would."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from einthoven.records import (
    Annotations,
    open_recording,
    read_annotations,
    write_annotations,
    write_recording,
)
from einthoven.runtime.conducting import FunctionUnknown, InvocationBroke
from einthoven.runtime.federated_sites import FEDERATED_ROUND, learn_across, site_from
from einthoven.runtime.hosted import Hosted, perform
from einthoven.runtime.http_region import HttpRegion
from einthoven.runtime.region_port import Call
from einthoven.runtime.training import VARIANTS, training_rows
from einthoven.signal.classes import pack_model
from einthoven.signal.federated import Coordinator, Count, Counted, Plan, learn_together
from einthoven.signal.recording import Recording

PLAN = Plan(rounds=2, networks=1)
SITES = {"a": ("101", "106", "119"), "b": ("208", "209", "118"), "c": ("201", "207", "223")}
PART_S = 400


@pytest.fixture(scope="module")
def folders(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Some minutes of three records at each site."""
    root = tmp_path_factory.mktemp("sites")
    for site, names in SITES.items():
        (root / site).mkdir()
        for name in names:
            with open_recording(data / "mitdb" / name) as source:
                samples = int(PART_S * source.info.fs)
                info = msgspec.structs.replace(source.info, samples=samples)
                write_recording(root / site / name, Recording(info, source.read(0, samples).copy()))
            marks = read_annotations(data / "mitdb" / f"{name}.atr")
            many = int((marks.samples < samples).sum())
            write_annotations(
                root / site / f"{name}.atr", Annotations(marks.samples[:many], marks.symbols[:many])
            )
    return {site: root / site for site in SITES}


@pytest.fixture(scope="module")
def expected(folders: dict[str, Path]) -> bytes:
    """What one process learns from the same records at the same sites."""
    sites = {
        site: site_from(
            {name: [training_rows(folder, name, one) for one in VARIANTS] for name in SITES[site]}
        )
        for site, folder in folders.items()
    }
    return pack_model(learn_together(PLAN, sites).ensemble(), "x")


def learnt(addresses: dict[str, str]) -> Coordinator:
    async def run() -> Coordinator:
        ports = {name: HttpRegion(address) for name, address in addresses.items()}
        try:
            return await learn_across(PLAN, ports)
        finally:
            for port in ports.values():
                await port.close()

    return asyncio.run(run())


@pytest.fixture(scope="module")
def hosts(folders: dict[str, Path], expected: bytes) -> Iterator[dict[str, str]]:
    """A process at each site; what they run is compiled by then."""
    command = [sys.executable, "-m", "einthoven", "functions", "serve", "--port", "0", "--json"]
    with ExitStack() as stack:
        running = {}
        for site, folder in folders.items():
            process = stack.enter_context(
                subprocess.Popen([*command, "--learn-from", str(folder)], stdout=subprocess.PIPE)
            )
            stack.callback(process.kill)
            running[site] = process
        yield {site: json.loads(process.stdout.readline())["url"] for site, process in running.items()}


def test_three_processes_learn_what_one_would_bit_for_bit(hosts: dict[str, str], expected: bytes) -> None:
    found = learnt(hosts)
    assert found.taken == [("a", "b", "c")] * PLAN.rounds
    assert not found.refused
    assert pack_model(found.ensemble(), "x") == expected


def test_a_site_that_is_not_reached_does_not_hold_up_the_others(hosts: dict[str, str]) -> None:
    found = learnt({**hosts, "b": "http://127.0.0.1:9"})
    assert found.taken == [("a", "c")] * PLAN.rounds


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_the_function_is_there_where_records_are_and_nowhere_else(
    folders: dict[str, Path], encoding: str
) -> None:
    encode = getattr(msgspec, encoding).encode
    call = Call(function=FEDERATED_ROUND, content=encode(Count()), encoding=encoding, key="k", timeout_s=60.0)
    hosted = Hosted(learns_from=str(folders["a"]))
    assert FEDERATED_ROUND in [one.name for one in hosted.functions]
    found = getattr(msgspec, encoding).decode(perform(hosted, call).content, type=Counted)
    assert found.heads[0].rows > 1000
    assert FEDERATED_ROUND not in [one.name for one in Hosted().functions]
    with pytest.raises(FunctionUnknown):
        perform(Hosted(), call)


def test_a_folder_without_annotated_records_gives_nothing_and_no_name(tmp_path: Path) -> None:
    call = Call(
        function=FEDERATED_ROUND,
        content=msgspec.msgpack.encode(Count()),
        encoding="msgpack",
        key="k",
        timeout_s=60.0,
    )
    with pytest.raises(InvocationBroke) as caught:
        perform(Hosted(learns_from=str(tmp_path)), call)
    assert caught.value.kind == "refused"
    assert str(tmp_path) not in str(caught.value)
