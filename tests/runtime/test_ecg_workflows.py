"""The article's two workflows, with the real functions: by reference hour by hour, and by value."""

import asyncio
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from einthoven.clock import SystemClock
from einthoven.functions import Ecg, PatientState, analyse, decode, encode
from einthoven.records import open_recording, write_recording
from einthoven.runtime.batch import analyse_source
from einthoven.runtime.conducting import Conductor, InProcess
from einthoven.runtime.ecg_functions import ECG_FUNCTION_TYPES, ecg_functions
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.workflow import Done, Execution, Failure, Record, check_text, compile_workflow


def shipped(name: str) -> Any:
    text = files("einthoven.workflow").joinpath("ecg", name).read_bytes()
    checked = check_text(text, "strict", ECG_FUNCTION_TYPES)
    assert [one.text(name) for one in checked.flaws] == []
    return compile_workflow(checked)


class Counted(InProcess):
    def __init__(self, functions: Any) -> None:
        super().__init__(functions)
        self.paths: list[str] = []

    async def invoke(self, invoke: Any) -> Any:
        self.paths.append(invoke.path)
        return await super().invoke(invoke)


def performed(
    program: Any, inputs: dict[str, Any], store: Path, chunk_s: float = 3600.0
) -> tuple[Any, list[str]]:
    invoker = Counted(ecg_functions(str(store), chunk_s))
    conductor = Conductor(invoker, slots=4, clock=SystemClock())
    return asyncio.run(conductor.run(Execution(program, "r", inputs))), invoker.paths


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("records") / "one"
    write_recording(path, VirtualPatient(7, SCENES["vt_to_vf"], fs=250.0, duration_s=430.0))
    return path


def findings_in(store: Path, name: str) -> bytes:
    return encode(Ecg(findings=decode((store / name).read_bytes(), "msgpack").findings), "msgpack")


@pytest.mark.parametrize("chunk_s", [60.0, 100.0, 250.0, 3600.0])
def test_the_batch_workflow_finds_what_the_unsplit_recording_gives(
    recording: Path, tmp_path: Path, chunk_s: float
) -> None:
    entry, paths = performed(shipped("batch.yaml"), {"ecgDataFilePath": str(recording)}, tmp_path, chunk_s)
    assert isinstance(entry, Done), entry
    with open_recording(recording) as source:
        whole = analyse_source(source)
    assert whole is not None
    assert findings_in(tmp_path, entry.outputs["ecgDataFilePath"]) == encode(Ecg(findings=whole), "msgpack")
    assert entry.outputs["summary"]["beats"] == len(whole.beats) > 300
    assert entry.outputs["alert"]["priority"] == "high"
    hours = -(-430 // int(chunk_s))
    assert len(entry.outputs["results"]) == hours
    assert len(paths) == 2 + 5 * hours, "countHours, five for each hour, join"


def test_a_real_recording_in_ten_minutes_is_the_same_as_whole(data: Path, tmp_path: Path) -> None:
    path = data / "mitdb" / "208"
    entry, _ = performed(shipped("batch.yaml"), {"ecgDataFilePath": str(path)}, tmp_path, 600.0)
    assert isinstance(entry, Done), entry
    with open_recording(path) as source:
        whole = analyse_source(source)
    assert findings_in(tmp_path, entry.outputs["ecgDataFilePath"]) == encode(Ecg(findings=whole), "msgpack")


def test_an_hour_that_is_written_twice_has_one_name(recording: Path, tmp_path: Path) -> None:
    split = ecg_functions(str(tmp_path), 100.0)["split"]
    assert split(str(recording), 1) == split(str(recording), 1) != split(str(recording), 2)
    assert len(list((tmp_path / "hours").iterdir())) == 2


def test_a_recording_that_is_not_there_fails_the_run_without_saying_more(tmp_path: Path) -> None:
    entry, paths = performed(shipped("batch.yaml"), {"ecgDataFilePath": str(tmp_path / "nobody")}, tmp_path)
    assert isinstance(entry, Failure)
    assert (entry.path, entry.broke, paths) == ("countHours", "refused", ["countHours"])
    assert str(tmp_path) not in entry.message, "where it is may say whose it is"


def test_the_near_real_time_workflow_gives_by_value_what_the_functions_give(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    patient = VirtualPatient(7, SCENES["healthy"], fs=125.0, duration_s=30.0)
    samples = patient.read(0, 3750, 0)[0].astype(np.int32) + rng.integers(-2, 2, 3750, dtype=np.int32)
    ecg = Ecg(fs=125.0, gain=200.0, baseline=0, lead="II", is_last=True, samples=samples)
    given = json.loads(encode(ecg, "json"))
    entry, paths = performed(
        shipped("near_real_time.yaml"), {"ecg": given, "ecgDataFilePath": None}, tmp_path
    )
    assert isinstance(entry, Done), entry
    assert paths == ["preprocessing", "bdc", "postprocessing", "finalization"]
    expected = analyse(ecg, PatientState())[0]
    assert expected.findings is not None
    assert entry.outputs["summary"]["beats"] == len(expected.findings.beats) > 20
    assert list(tmp_path.iterdir()) == [], "nothing is stored of what goes by value"


def test_what_is_told_of_a_recording_is_the_most_urgent_whatever_kinds_there_are(tmp_path: Path) -> None:
    path = tmp_path / "off"
    told = set()
    for scene in sorted(SCENES):
        write_recording(path, VirtualPatient(3, SCENES[scene], fs=125.0, duration_s=90.0))
        entry, _ = performed(shipped("batch.yaml"), {"ecgDataFilePath": str(path)}, tmp_path)
        assert isinstance(entry, Done), (scene, entry)
        told.add(entry.outputs["alert"]["priority"] if entry.outputs["alert"] else None)
    assert {"high", None} < told


def test_a_stage_wants_one_of_the_two(tmp_path: Path) -> None:
    program = shipped("near_real_time.yaml")
    entry, _ = performed(program, {"ecg": None, "ecgDataFilePath": None}, tmp_path)
    assert isinstance(entry, Failure)
    assert (entry.path, entry.broke) == ("preprocessing", "refused")


def test_the_journal_of_a_run_by_reference_holds_no_samples(recording: Path, tmp_path: Path) -> None:
    program = shipped("batch.yaml")
    kept: list[Any] = []

    class Keeping:
        def append(self, path: str, entry: Any, took_s: float) -> None:
            assert took_s >= 0
            kept.append(Record(path, entry))

        async def flush(self) -> None:
            pass

    conductor = Conductor(InProcess(ecg_functions(str(tmp_path), 100.0)), slots=2, clock=SystemClock())
    asyncio.run(
        conductor.run(Execution(program, "r", {"ecgDataFilePath": str(recording)}), journal=Keeping())
    )
    assert len(kept) == 2 + 5 * 5
    assert all(len(repr(one)) < 700 for one in kept)
