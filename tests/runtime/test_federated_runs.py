"""A workflow performed in federated regions is the one performed here, whatever happens to a region."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from json import loads
from pathlib import Path

import pytest

from einthoven.clock import SystemClock
from einthoven.continuum import Region
from einthoven.placement import Terms
from einthoven.records import write_recording
from einthoven.runtime.ecg_functions import Reading
from einthoven.runtime.federation import FederatedRegions, Federation
from einthoven.runtime.hosted import Hosted
from einthoven.runtime.http_region import HttpRegion
from einthoven.runtime.local_regions import PoolRegion
from einthoven.runtime.planned_regions import PlannedRegions
from einthoven.runtime.region_port import RegionPort
from einthoven.runtime.run_sessions import RunFunctions, run_session, shipped
from einthoven.runtime.worker_pool import WorkerPool
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.storage import Database, open_database
from einthoven.workflow import Done


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("federated") / "long"
    write_recording(path, VirtualPatient(7, SCENES["paroxysm"], fs=125.0, duration_s=2400.0))
    return path


@contextmanager
def host(store: Path, folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A real process that serves functions."""
    command = [
        sys.executable,
        "-m",
        "einthoven",
        "functions",
        "serve",
        "--json",
        "--port",
        "0",
        "--slots",
        "2",
    ]
    process = subprocess.Popen(
        [*command, "--store", str(store), "--folder", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PORT": "0"},
    )
    try:
        assert process.stdout
        yield loads(process.stdout.readline())["url"], process
    finally:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


def outputs_of(database: Database, store: Path, recording: Path, regions: RegionPort | None) -> Done:
    reading = Reading(folder=str(recording.parent), lead=0)
    kept = RunFunctions(store=str(store), chunk_min=5.0, reading=reading)
    with (
        closing(WorkerPool(1)) as pool,
        run_session(database, "main", kept, pool, 1, SystemClock(), regions=regions) as runs,
    ):
        run = runs.begin(shipped("ecg-batch"), {"ecgDataFilePath": recording.name})

        async def drive() -> Done:
            try:
                entry = await runs.drive(run)
            finally:
                if regions is not None:
                    await regions.close()
            assert isinstance(entry, Done), entry
            return entry

        return asyncio.run(drive())


@pytest.mark.parametrize("is_scheduled", [False, True], ids=["by policy", "by schedule"])
@pytest.mark.parametrize("is_killed", [False, True], ids=["well", "one is killed"])
def test_a_run_in_regions_is_the_run_here_also_when_one_of_them_is_killed(
    tmp_path: Path, recording: Path, is_killed: bool, is_scheduled: bool
) -> None:
    database = open_database(str(tmp_path / "runs.db"))
    database.migrate()
    expected = outputs_of(database, tmp_path / "here", recording, None)
    store = tmp_path / "there"
    with host(store, recording.parent) as (url, process):
        hosted = Hosted(store=str(store), reading=Reading(folder=str(recording.parent)), chunk_s=300.0)
        federation = Federation(
            [Region(name="pool", kind="pool"), Region(name="host", kind="http", address=url, slots=2)],
            {"pool": PoolRegion(hosted, 1), "host": HttpRegion(url)},
            SystemClock(),
            Terms(policy="least-loaded"),
        )

        def kill() -> None:
            while federation.standings["host"].answers < 2:
                time.sleep(0.005)
            process.kill()

        if is_killed:
            threading.Thread(target=kill).start()
        regions: RegionPort = FederatedRegions(federation)
        if is_scheduled:
            regions = PlannedRegions(federation, SystemClock())
        made = outputs_of(database, store, recording, regions)
        assert made.outputs == expected.outputs
        assert federation.standings["host"].answers >= 2
        assert federation.standings["pool"].answers >= 2
    name = made.outputs["ecgDataFilePath"]
    assert (store / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
