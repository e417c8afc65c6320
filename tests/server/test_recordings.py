"""Whole recordings: sent, analysed beside everything else, and asked for; on both databases."""

import contextlib
import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest

from einthoven.clock import SystemClock
from einthoven.functions import Ecg, encode, in_sequence
from einthoven.records import open_recording, recording_files, write_edf, write_recording
from einthoven.records.ishne import write_ishne
from einthoven.runtime.batch import analyse_source
from einthoven.runtime.joined_findings import findings_in, joined_in
from einthoven.runtime.upload_client import Destination, accepted, file_digest, send_file
from einthoven.server.recording_runs import RecordingRuns
from einthoven.server.running import RunningService, processes_under
from einthoven.signal.recording import Recording
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.storage import FolderStore, open_database, open_store
from einthoven.storage.received import ReceivedFiles
from einthoven.testing.serving import Served, serving
from einthoven.testing.uploads import begin, piece, send_whole

START = "2026-11-26T08:00:00Z"


DATABASES = ["sqlite", "postgresql"] if os.environ.get("EINTHOVEN_EXAMPLES") == "thorough" else ["postgresql"]
"""SQLite has its turn in the tests of the commands and of the pages."""


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new, empty database."""
    if request.param == "sqlite":
        return str(tmp_path / "einthoven.db")
    return str(request.getfixturevalue("postgresql")())


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A WFDB record of two hours and a half, two leads."""
    path = tmp_path_factory.mktemp("records") / "holter"
    scenes = ("vt_to_vf", "ectopy")
    sources = [VirtualPatient(7, SCENES[one], fs=250.0, duration_s=9000.0) for one in scenes]
    lead = sources[0].info.leads[0]
    leads = tuple(msgspec.structs.replace(lead, name=name) for name in ("I", "V5"))
    info = msgspec.structs.replace(sources[0].info, leads=leads)
    counts = np.concatenate([one.read(0, info.samples, 0) for one in sources])
    write_recording(path, Recording(info, counts))
    return path


def findings_of(path: Path, lead: int = 0, **described: Any) -> bytes:
    """What the unsplit recording gives."""
    with open_recording(path, **described) as source:
        found = analyse_source(source, lead, chunk_s=1e9)
    return encode(Ecg(fs=found.fs, findings=found), "msgpack")


def found_in(folder: Path, name: str) -> bytes:
    """What is kept."""
    store = FolderStore(folder)
    found = in_sequence(list(findings_in(joined_in(name, store), store)))
    return encode(Ecg(fs=found.fs, findings=found), "msgpack")


@contextlib.contextmanager
def analysing(served: Served, **more: Any) -> Iterator[RecordingRuns]:
    settings = msgspec.structs.replace(served.service.settings, batch_processes=2, **more)
    runs = RecordingRuns(served.database, SystemClock(), settings, f"test-{time.monotonic_ns()}")
    try:
        yield runs
    finally:
        runs.stop(30)


def sent(client: httpx.Client, record: Path, **more: Any) -> httpx.Response:
    """A WFDB record, uploaded and begun."""
    names = [send_whole(client, path.read_bytes(), path.name) for path in recording_files(record)]
    return client.post("/v1/recordings", json={"uploads": names, "startTime": START, **more})


def awaited(client: httpx.Client, recording: str, *states: str) -> dict[str, Any]:
    """The recording once it is in one of these states, or has ended."""
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s:
        seen = client.get(f"/v1/recordings/{recording}").json()
        if seen["state"] in {"done", "failed", "cancelled", *states}:
            return dict(seen)
        time.sleep(0.05)
    pytest.fail("the recording did not end")


def when(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    until_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until_s, "it did not happen"
        time.sleep(0.05)


def objects(served: Served) -> Path:
    return served.service.settings.folder / "objects"


def test_a_recording_gives_what_the_unsplit_one_gives(served: Served, record: Path) -> None:
    device = served.device()
    begun = sent(device, record)
    assert begun.status_code == 202, begun.text
    seen = begun.json()
    assert (seen["state"], seen["progress"]) == ("waiting", {"done": 0, "total": None})
    assert device.get(f"/v1/recordings/{seen['id']}/result").status_code == 409
    with analysing(served):
        seen = awaited(device, seen["id"])
        assert seen["state"] == "done", seen
        when(
            lambda: (
                not (objects(served) / "work").is_dir()
                or not any((objects(served) / "work").rglob("hours/*"))
            )
        )
        when(lambda: not any((served.service.settings.folder / "recordings-cache").iterdir()))
    assert seen["progress"] == {"done": 3, "total": 3}
    assert (seen["startTime"], seen["fs"], seen["samples"]) == (START, 250.0, 2_250_000)
    answer = device.get(f"/v1/recordings/{seen['id']}/result")
    assert answer.status_code == 200, answer.text
    result = answer.json()
    assert found_in(objects(served), result["object"]) == findings_of(record)
    assert result["object"].startswith("findings/main/")
    assert sum(result["beats"]["classes"].values()) == result["beats"]["total"] > 9000
    kinds = {one["kind"] for one in result["episodes"]}
    assert "ventricular_fibrillation" in kinds
    assert [one["condition"] for one in result["alerts"]]
    assert sum(result["quality"]["grades"]) == 9000
    assert result["versions"]["bdc"]
    for path in recording_files(record):  # what was received stays
        files = ReceivedFiles(open_store(str(objects(served))))
        manifest = files.manifest("main", file_digest(path)[0])
        assert manifest is not None
        assert b"".join(files.content(manifest)) == path.read_bytes()


def test_the_same_recording_is_analysed_once(served: Served, record: Path) -> None:
    device = served.device()
    first = sent(device, record)
    again = sent(device, record)
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["id"] == again.json()["id"]
    for other in ({"startTime": "2026-11-26T09:00:00Z"}, {"lead": 1}, {"fs": 250}):
        new = sent(device, record, **other)
        assert new.status_code == 202
        assert new.json()["id"] != first.json()["id"]


def test_each_lead_can_be_asked_for(served: Served, record: Path) -> None:
    device = served.device()
    with open_recording(record) as source:
        name = source.info.leads[1].name
    with analysing(served):
        seen = awaited(device, sent(device, record, lead=name).json()["id"])
        assert (seen["state"], seen["lead"]) == ("done", name)
        wrong = awaited(device, sent(device, record, lead="nine").json()["id"])
    result = device.get(f"/v1/recordings/{seen['id']}/result").json()
    assert found_in(objects(served), result["object"]) == findings_of(record, 1)
    assert (wrong["state"], wrong["error"]["code"]) == ("failed", "input-invalid")


def test_a_file_that_does_not_describe_itself_is_read_as_its_sender_says(
    served: Served, tmp_path: Path
) -> None:
    source = VirtualPatient(3, SCENES["ectopy"], fs=250.0, duration_s=200.0)
    text = "\n".join(map(str, source.read(0, 50_000, 0)[0].tolist())) + "\n"
    path = tmp_path / "counts.csv"
    path.write_text(text)
    device = served.device()
    body = {"upload": send_whole(device, text.encode()), "startTime": START, "fs": 250.0, "gain": 400}
    with analysing(served):
        seen = awaited(device, device.post("/v1/recordings", json=body).json()["id"])
    result = device.get(f"/v1/recordings/{seen['id']}/result").json()
    assert result["fs"] == 250.0
    assert found_in(objects(served), result["object"]) == findings_of(path, fs=250.0, gain=400)


def test_what_is_taken_for_granted_of_a_file_is_said_of_the_recording(
    sqlite_served: Served, tmp_path: Path
) -> None:
    path = tmp_path / "counts.csv"
    path.write_text("".join(f"{n % 7}\n" for n in range(125 * 20)))
    device, seen = sqlite_served.device(), []
    with analysing(sqlite_served):
        name = send_whole(device, path.read_bytes(), path.name)
        for about in ({}, {"fs": 125, "gain": 200}):
            body = {"uploads": [name], "startTime": START, **about}
            seen.append(awaited(device, device.post("/v1/recordings", json=body).json()["id"]))
    assert [one["state"] for one in seen] == ["done", "done"]
    assert "125 Hz" in seen[0]["remarks"][0]
    assert seen[1]["remarks"] == []


def test_files_of_other_formats_say_themselves_when_they_begin(served: Served, tmp_path: Path) -> None:
    """EDF+ to the fraction that its first data record says, ISHNE to the second."""
    source = VirtualPatient(3, SCENES["ectopy"], fs=250.0, duration_s=100.0)
    info = msgspec.structs.replace(source.info, start_ns=1_795_600_800_250_000_000)
    recording = Recording(info, source.read(0, info.samples))
    write_edf(tmp_path / "a.edf", recording)
    write_ishne(tmp_path / "b.ecg", recording)
    device = served.device()
    with analysing(served):
        for name, start in (("a.edf", "2026-11-25T10:00:00.250000Z"), ("b.ecg", "2026-11-25T10:00:00Z")):
            upload = send_whole(device, (tmp_path / name).read_bytes())
            begun = device.post("/v1/recordings", json={"upload": upload})
            assert begun.status_code == 202, begun.text
            seen = awaited(device, begun.json()["id"])
            assert (seen["state"], seen["startTime"], seen["fs"]) == ("done", start, 250.0)
            result = device.get(f"/v1/recordings/{seen['id']}/result").json()
            assert found_in(objects(served), result["object"]) == findings_of(tmp_path / name)
        write_edf(tmp_path / "c.edf", Recording(source.info, recording.counts))
        undated = send_whole(device, (tmp_path / "c.edf").read_bytes())
        assert device.post("/v1/recordings", json={"upload": undated}).json()["where"] == "startTime"


def test_an_object_of_the_operators_store_is_taken_too(served: Served, tmp_path: Path) -> None:
    source = VirtualPatient(3, SCENES["healthy"], duration_s=100.0)
    counts = source.read(0, source.info.samples, 0)[0].tolist()
    content = json.dumps({"fs": 125, "startTime": START, "samples": counts}).encode()
    FolderStore(tmp_path / "bucket").put("exports/one.json", content)
    sha256 = hashlib.sha256(content).hexdigest()
    gateway = served.gateway()
    about = {"patientId": "p7", "deviceId": "import"}
    body = {"object": "exports/one.json", "sha256": sha256, **about}
    assert gateway.post("/v1/recordings", json=body).status_code == 403  # no store is set
    settings = msgspec.structs.replace(served.service.settings, recordings_store=str(tmp_path / "bucket"))
    with serving(served.database, settings=settings) as open_to_it, analysing(open_to_it):
        gateway = open_to_it.gateway()
        begun = gateway.post("/v1/recordings", json=body)
        assert begun.status_code == 202, begun.text
        seen = awaited(gateway, begun.json()["id"])
        assert (seen["state"], seen["startTime"], seen["bytes"]) == ("done", START, len(content))
        wrong = gateway.post("/v1/recordings", json={**body, "sha256": "0" * 64}).json()
        absent = gateway.post("/v1/recordings", json={**body, "object": "two", "sha256": "1" * 64}).json()
        errors = [awaited(gateway, one["id"])["error"] for one in (wrong, absent)]
        assert errors[0] == errors[1]  # what is there is not told to whoever does not know its content
        assert errors[0]["code"] == "digest-mismatch"
        assert gateway.post("/v1/recordings", json={**body, "object": "../etc/passwd"}).status_code == 400
    manifest = ReceivedFiles(open_store(str(objects(served)))).manifest("main", sha256)
    assert manifest is not None


def test_what_is_no_recording_fails_and_says_why(served: Served) -> None:
    device = served.device()
    texts = (b"one,two\nthree\n", b"{]", b'{"samples": "none"}')
    with analysing(served):
        for number, text in enumerate(texts):
            body = {"upload": send_whole(device, text), "startTime": f"2026-11-26T08:00:0{number}Z"}
            seen = awaited(device, device.post("/v1/recordings", json=body).json()["id"])
            assert seen["state"] == "failed"
            assert seen["error"]["code"] == "recording-unreadable"
            assert str(served.service.settings.folder) not in json.dumps(seen)
            assert device.get(f"/v1/recordings/{seen['id']}/result").status_code == 409


def test_a_recording_that_waits_is_cancelled_at_once(served: Served, record: Path) -> None:
    device = served.device()
    id_ = sent(device, record).json()["id"]
    cancelled = device.post(f"/v1/recordings/{id_}/cancel")
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert device.post(f"/v1/recordings/{id_}/cancel").status_code == 200
    with analysing(served):
        time.sleep(1.0)
        assert device.get(f"/v1/recordings/{id_}").json()["state"] == "cancelled"
        technician = served.person("technician")
        assert technician.post(f"/v1/recordings/{id_}/redrive").json()["state"] == "waiting"
        assert awaited(device, id_)["state"] == "done"
        assert technician.post(f"/v1/recordings/{id_}/redrive").status_code == 409
        assert device.post(f"/v1/recordings/{id_}/cancel").status_code == 409


@pytest.fixture(scope="module")
def long_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day."""
    path = tmp_path_factory.mktemp("long") / "long"
    write_recording(path, VirtualPatient(7, SCENES["ectopy"], fs=125.0, duration_s=24 * 3600.0))
    return path


def test_a_recording_is_cancelled_while_it_is_analysed(served: Served, long_record: Path) -> None:
    device = served.device()
    id_ = sent(device, long_record).json()["id"]
    with analysing(served):
        assert awaited(device, id_, "going")["state"] == "going"
        assert device.post(f"/v1/recordings/{id_}/cancel").json()["state"] == "cancelled"
        with served.writing() as statements:
            run = statements.rows("SELECT run FROM recordings WHERE id = ?", (id_,))[0][0]

        def is_tidy() -> bool:
            with served.writing() as statements:
                tidy = statements.rows("SELECT is_tidy FROM recordings WHERE id = ?", (id_,))
                state = statements.rows("SELECT state FROM runs WHERE id = ?", (run,))
            return tidy == [(1,)] and state in ([("cancelled",)], [])

        when(is_tidy)
        assert not list((objects(served) / "work").rglob("hours/*"))
    assert device.get(f"/v1/recordings/{id_}").json()["state"] == "cancelled"


def test_who_sees_what(served: Served, record: Path) -> None:
    device = served.device("p1")
    id_ = sent(device, record).json()["id"]
    mine = [served.gateway(), served.person("clinician"), served.person("patient", patient="p1")]
    mine += [served.person("technician"), served.device("p1", device="other"), device]
    for client in mine:
        assert client.get(f"/v1/recordings/{id_}").status_code == 200
        assert [one["id"] for one in client.get("/v1/recordings").json()["items"]] == [id_]
        assert client.get("/v1/recordings?patient=p1").status_code == 200
    others = [served.gateway("north"), served.person("clinician", "north"), served.device("p2")]
    others.append(served.person("patient", patient="p2"))
    for client in others:
        for ask in ("", "/result"):
            assert client.get(f"/v1/recordings/{id_}{ask}").status_code == 404
        assert client.get("/v1/recordings").json()["items"] == []
    assert served.device("p2").get("/v1/recordings?patient=p1").status_code == 403
    assert served.device("p2").post(f"/v1/recordings/{id_}/cancel").status_code == 404
    assert served.person("admin").get("/v1/recordings").status_code == 403
    assert served.person("technician").get(f"/v1/recordings/{id_}/result").status_code == 403


def test_recordings_come_in_pages_the_newest_first(served: Served) -> None:
    gateway = served.gateway()
    upload = send_whole(gateway, b"1\n2\n")
    ids = []
    for number in range(5):
        body = {"upload": upload, "startTime": START, "patientId": "p1", "deviceId": f"d{number}"}
        ids.append(gateway.post("/v1/recordings", json=body).json()["id"])
    found, after = [], ""
    while after is not None:
        page = gateway.get("/v1/recordings", params={"limit": 2, "after": after}).json()
        found += [one["id"] for one in page["items"]]
        after = page["next"]
    assert found == ids[::-1]


@pytest.mark.parametrize(
    ("body", "status", "where"),
    [
        ({}, 400, "upload"),
        ({"upload": "{}", "object": "a"}, 400, "upload"),
        ({"upload": f"upl_{'0' * 24}"}, 404, "upload"),
        ({"uploads": []}, 400, "uploads"),
        ({"upload": "{}"}, 400, "startTime"),
        ({"upload": "{}", "startTime": "2026-11-26T08:00:00"}, 400, "start_time"),
        ({"upload": "{}", "startTime": START, "patientId": "p2"}, 403, "patientId"),
        ({"upload": "{}", "startTime": START, "deviceId": "d2"}, 403, "deviceId"),
        ({"upload": "{}", "startTime": START, "surprise": 1}, 400, "request"),
        ({"uploads": ["{}", "{}"], "startTime": START}, 400, "uploads"),
        ({"object": "a", "sha256": "0" * 64, "startTime": START}, 403, "object"),
    ],
)
def test_a_recording_that_cannot_be_is_refused(
    body: dict[str, Any], status: int, where: str, sqlite_served: Served
) -> None:
    device = sqlite_served.device("r1")
    name = send_whole(device, b"1\n2\n")
    filled = json.loads(json.dumps(body).replace("{}", name)) if body else body
    answer = device.post("/v1/recordings", json=filled)
    assert answer.status_code == status, answer.text
    assert answer.json()["where"].lower().replace("_", "") == where.lower().replace("_", "")


def test_an_upload_that_is_not_complete_is_no_recording(served: Served) -> None:
    device = served.device()
    path = begin(device, b"1\n2\n3\n")
    piece(device, path, 0, b"1\n2\n")
    body = {"upload": path.rpartition("/")[2], "startTime": START}
    assert device.post("/v1/recordings", json=body).status_code == 409


def test_a_person_says_for_whom_a_recording_is(served: Served) -> None:
    clinician = served.person("clinician")
    body = {"upload": send_whole(clinician, b"1\n2\n"), "startTime": START}
    assert clinician.post("/v1/recordings", json=body).json()["where"] == "patientId"
    body |= {"patientId": "p1", "deviceId": "holter-3"}
    assert clinician.post("/v1/recordings", json=body).status_code == 202


def test_of_several_that_could_each_recording_is_analysed_by_one(served: Served, record: Path) -> None:
    device = served.device()
    times = [f"2026-11-26T0{hour}:00:00Z" for hour in range(4)]
    with analysing(served), analysing(served), analysing(served):
        ids = [sent(device, record, startTime=time_).json()["id"] for time_ in times]
        assert [awaited(device, id_)["state"] for id_ in ids] == ["done"] * 4
    with served.writing() as statements:
        runs = statements.rows("SELECT COUNT(*), COUNT(DISTINCT id) FROM runs WHERE state = 'done'")
        attempts = statements.rows("SELECT SUM(attempts) FROM recordings")
        counts = statements.rows("SELECT DISTINCT COUNT(*) FROM invocations GROUP BY run")
    assert (runs, [tuple(map(int, row)) for row in attempts], counts) == ([(4, 4)], [(4,)], [(5,)])


def test_a_store_that_fails_for_a_while_costs_a_recording_nothing(served: Served, record: Path) -> None:
    device = served.device()
    id_ = sent(device, record).json()["id"]
    folder = objects(served)
    with analysing(served):
        seen = device.get(f"/v1/recordings/{id_}").json()
        assert seen["state"] in ("waiting", "going", "done")
    with served.writing() as statements:
        statements.run("UPDATE recordings SET state = 'waiting', run = NULL, is_tidy = 0, ended_ns = NULL")
    folder.rename(folder.with_name("elsewhere"))
    with analysing(served):
        time.sleep(1.5)
        assert device.get(f"/v1/recordings/{id_}").json()["state"] == "waiting"
        folder.with_name("elsewhere").rename(folder)
        assert awaited(device, id_)["state"] == "done"


# -------------------------------------------------------------------- kill -9


def background_of(service: RunningService) -> list[int]:
    """The background process, and those that compute for it."""
    found = []
    for number in processes_under(service.process.pid):
        with contextlib.suppress(OSError):
            if b"einthoven.server.background" in Path(f"/proc/{number}/cmdline").read_bytes():
                found += [number, *processes_under(number)]
    return found


def test_whatever_is_killed_a_recording_arrives_and_is_analysed_once(
    tmp_path: Path, database_url: str
) -> None:
    """Supervisor, workers and those that compute, in the middle of the upload and of the analysis."""
    record = tmp_path / "day"
    write_recording(record, VirtualPatient(11, SCENES["ectopy"], fs=125.0, duration_s=16 * 3600.0))
    folder = tmp_path / "service"
    folder.mkdir()
    open_database(database_url).migrate()
    service = RunningService(folder, database=database_url, flags=("--batch-processes", "1"))
    service.wait_until_ready()
    token = service.token("gateway")
    killed: list[str] = []

    def kill_all(what: str) -> None:
        everything = processes_under(service.process.pid)
        service.process.kill()
        for number in everything:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        service.restart()
        killed.append(what)

    begun = 0

    def told(count: int) -> None:
        nonlocal begun
        if begun < 2 and count > (begun + 1) * 4_000_000:
            begun += 1
            threading.Thread(target=kill_all, args=("upload",)).start()
            while begun == 1 and not killed:
                time.sleep(0.01)

    destination = Destination(service.url, token, SystemClock(), patience_s=60)
    uploads = []
    for path in recording_files(record):
        sha256, size = file_digest(path)
        done = send_file(destination, path, path.name, sha256, size, told)
        uploads.append(done.upload)
    while len(killed) < begun:
        time.sleep(0.01)
    assert killed
    body = {"uploads": uploads, "startTime": START, "patientId": "p1", "deviceId": "holter"}
    head = {"Content-Type": "application/json"}
    seen = accepted(destination.ask("POST", "/v1/recordings", json.dumps(body).encode(), head)).value
    kills = 0
    until_s = time.monotonic() + 120
    while seen["state"] in ("waiting", "going"):
        assert time.monotonic() < until_s, (folder / "service.log").read_text()[-3000:]
        seen = accepted(destination.ask("GET", f"/v1/recordings/{seen['id']}")).value
        if seen["state"] == "going" and kills < 2 and seen["progress"]["done"] > 2 + 5 * kills:
            kills += 1
            if kills == 1:
                for number in background_of(service):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(number, signal.SIGKILL)
            else:
                kill_all("analysis")
        time.sleep(0.02)
    assert seen["state"] == "done", seen
    assert kills >= 1
    result = accepted(destination.ask("GET", f"/v1/recordings/{seen['id']}/result")).value
    again = accepted(destination.ask("POST", "/v1/recordings", json.dumps(body).encode(), head))
    assert (again.status, again.value["id"]) == (200, seen["id"])
    destination.close()
    assert service.stop() == 0
    assert found_in(folder / "objects", result["object"]) == findings_of(record)
    connection = open_database(database_url).connect()
    with connection.reading() as statements:
        runs = statements.rows("SELECT state FROM runs")
        twice = statements.rows("SELECT path, COUNT(*) FROM invocations GROUP BY path HAVING COUNT(*) > 1")
    connection.close()
    assert (runs, twice) == ([("done",)], [])
