"""The article's two workflows, with the real functions: by reference hour by hour, and by value."""

import asyncio
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from einthoven.clock import SystemClock
from einthoven.errors import InputInvalid
from einthoven.functions import Ecg, PatientState, analyse, encode, in_sequence
from einthoven.records import open_recording, write_recording
from einthoven.runtime.batch import analyse_source
from einthoven.runtime.conducting import Conductor, InProcess
from einthoven.runtime.ecg_functions import (
    ECG_FUNCTION_TYPES,
    Reading,
    ahead_functions,
    cutting_of,
    ecg_functions,
)
from einthoven.runtime.joined_findings import SPAN_S, findings_in, joined_in
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.storage import FolderStore
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
    program: Any, inputs: dict[str, Any], store: Path, chunk_s: float = 3600.0, span_s: float = SPAN_S
) -> tuple[Any, list[str]]:
    invoker = Counted(ecg_functions(str(store), chunk_s, span_s=span_s))
    conductor = Conductor(invoker, slots=4, clock=SystemClock())
    return asyncio.run(conductor.run(Execution(program, "r", inputs))), invoker.paths


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("records") / "one"
    write_recording(path, VirtualPatient(7, SCENES["vt_to_vf"], fs=250.0, duration_s=430.0))
    return path


def found_in(store: Path, name: str) -> bytes:
    kept = FolderStore(store)
    return encode(Ecg(findings=in_sequence(list(findings_in(joined_in(name, kept), kept)))), "msgpack")


@pytest.mark.parametrize(
    ("chunk_s", "span_s", "spans"),
    [
        (60.0, 86_400.0, 1),
        (60.0, 60.0, 8),
        (60.0, 150.0, 3),
        (100.0, 250.0, 2),
        (250.0, 1.0, 2),
        (3600.0, 1.0, 1),
    ],
)
def test_the_batch_workflow_finds_what_the_unsplit_recording_gives(
    recording: Path, tmp_path: Path, chunk_s: float, span_s: float, spans: int
) -> None:
    inputs = {"ecgDataFilePath": str(recording)}
    entry, paths = performed(shipped("batch.yaml"), inputs, tmp_path, chunk_s, span_s)
    assert isinstance(entry, Done), entry
    with open_recording(recording) as source:
        whole = analyse_source(source)
    assert whole is not None
    assert found_in(tmp_path, entry.outputs["ecgDataFilePath"]) == encode(Ecg(findings=whole), "msgpack")
    said = joined_in(entry.outputs["ecgDataFilePath"], FolderStore(tmp_path))
    assert len(said.parts) == spans
    assert said.beats == dict(zip("NSVFQ", np.bincount(whole.beats.classes, minlength=5), strict=True))
    assert said.seconds == tuple(whole.quality.seconds(grade) for grade in (1, 2, 3))
    assert (said.first, said.until, said.episodes) == (0, 107_500, len(whole.episodes))
    assert (said.heart_rate, said.variability) == (whole.heart_rate, whole.variability)
    assert entry.outputs["summary"]["beats"] == len(whole.beats) > 300
    assert entry.outputs["alert"]["priority"] == "high"
    hours = -(-430 // int(chunk_s))
    assert len(entry.outputs["results"]) == hours
    assert len(paths) == 2 + 5 * hours, "countHours, five for each hour, join"


@pytest.mark.parametrize("groups", [[8], [1, 7], [3, 1, 2], [1] * 8, [2, 2]])
def test_hours_that_were_joined_ahead_are_not_joined_again_and_the_whole_is_the_same(
    recording: Path, tmp_path: Path, groups: list[int]
) -> None:
    inputs = {"ecgDataFilePath": str(recording)}
    store = FolderStore(tmp_path)
    entry, _ = performed(shipped("batch.yaml"), inputs, tmp_path, 60.0, 150.0)
    assert isinstance(entry, Done)
    results, expected = entry.outputs["results"], entry.outputs["ecgDataFilePath"]
    join = ecg_functions(str(tmp_path), 60.0, span_s=150.0)["join"]
    ahead = ahead_functions(str(tmp_path), 60.0, span_s=150.0)["join"]
    contents = {name: store.get(name) for name in results}
    first = 0
    for size in groups:
        some = tuple(results[first : first + size])
        ahead(first, some, inputs)
        first += size
        for name in some:
            store.delete(name)
    found = join(str(recording), results)
    assert (found["ecgDataFilePath"], found["alert"]) == (expected, entry.outputs["alert"])
    for name, content in contents.items():
        store.put(name, content)
    assert join(str(recording), results) == found, "what was joined ahead is used once"


def test_what_was_joined_ahead_of_other_hours_is_not_used(recording: Path, tmp_path: Path) -> None:
    inputs = {"ecgDataFilePath": str(recording)}
    entry, _ = performed(shipped("batch.yaml"), inputs, tmp_path, 60.0)
    assert isinstance(entry, Done)
    results = entry.outputs["results"]
    join = ecg_functions(str(tmp_path), 60.0)["join"]
    ahead = ahead_functions(str(tmp_path), 60.0)["join"]
    ahead(1, tuple(results[1:3]), inputs)  # there was nothing in front of them
    ahead(0, tuple(results[:2]), inputs)
    ahead(3, tuple(results[3:]), inputs)  # one is missing in between
    assert join(str(recording), results)["ecgDataFilePath"] == entry.outputs["ecgDataFilePath"]
    other = tmp_path / "other"
    write_recording(other, VirtualPatient(8, SCENES["healthy"], fs=250.0, duration_s=430.0))
    entry, _ = performed(shipped("batch.yaml"), {"ecgDataFilePath": str(other)}, tmp_path, 60.0)
    assert isinstance(entry, Done)
    ahead(0, tuple(results[:4]), {"ecgDataFilePath": str(other)})
    found = join(str(other), entry.outputs["results"])
    assert found["ecgDataFilePath"] == entry.outputs["ecgDataFilePath"]


def test_a_real_recording_in_ten_minutes_is_the_same_as_whole(data: Path, tmp_path: Path) -> None:
    path = data / "mitdb" / "208"
    entry, _ = performed(shipped("batch.yaml"), {"ecgDataFilePath": str(path)}, tmp_path, 600.0)
    assert isinstance(entry, Done), entry
    with open_recording(path) as source:
        whole = analyse_source(source)
    assert found_in(tmp_path, entry.outputs["ecgDataFilePath"]) == encode(Ecg(findings=whole), "msgpack")


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


def test_how_it_is_cut_may_be_said_with_the_call_but_not_where_files_lie(
    recording: Path, tmp_path: Path
) -> None:
    functions = ecg_functions(str(tmp_path), reading=Reading(folder=str(recording.parent)))
    said = cutting_of(Reading(folder="/nowhere", lead=0), 60.0)
    assert functions["countHours"](recording.name, cutting=said)["hoursCount"] == 8
    assert functions["countHours"](recording.name)["hoursCount"] == 1
    split = functions["split"]
    assert split(recording.name, 3, cutting=said) == ecg_functions(str(tmp_path), 60.0)["split"](
        str(recording), 3
    )
    for wrong in ({}, {"chunk_s": "long"}, {"chunk_s": 60.0, "x": 1}, {"chunk_s": 1.0}):
        with pytest.raises(InputInvalid):
            split(recording.name, 0, cutting=wrong)


def test_hours_that_were_cut_otherwise_are_not_joined(recording: Path, tmp_path: Path) -> None:
    entry, _ = performed(shipped("batch.yaml"), {"ecgDataFilePath": str(recording)}, tmp_path, 60.0)
    assert isinstance(entry, Done)
    hours = entry.outputs["results"]
    join = ecg_functions(str(tmp_path), 60.0)["join"]
    assert join(str(recording), hours)["summary"] == entry.outputs["summary"]
    with pytest.raises(InputInvalid, match="cut otherwise"):
        join(str(recording), [hours[1], *hours[1:]])
    with pytest.raises(InputInvalid, match="8 results of 4 hours"):
        ecg_functions(str(tmp_path), 120.0)["join"](str(recording), hours)
