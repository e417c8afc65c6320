"""Files as they were received: in parts, kept once, in a folder and in a real S3 store."""

import hashlib
import json
import time
from pathlib import Path

import pytest

from einthoven.clock import SystemClock
from einthoven.errors import ObjectDamaged
from einthoven.functions import Ecg, encode, in_sequence
from einthoven.records import open_recording
from einthoven.runtime.batch import analyse_source
from einthoven.runtime.joined_findings import findings_in, joined_in
from einthoven.server.recording_runs import RecordingRuns
from einthoven.server.settings import Settings
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.storage import FolderStore, open_database, open_store
from einthoven.storage.received import Part, ReceivedFiles
from einthoven.testing.serving import serving
from einthoven.testing.uploads import send_whole

CONTENT = [b"one" * 1000, b"two", b"three" * 500]
WHOLE = b"".join(CONTENT)
SHA256 = hashlib.sha256(WHOLE).hexdigest()


def put(files: ReceivedFiles, upload: str = "upl_a") -> list[Part]:
    parts, first = [], 0
    for content in CONTENT:
        parts.append(files.put_part("main", SHA256, upload, first, content))
        first += len(content)
    return parts


def test_a_file_comes_back_as_it_was_sent(tmp_path: Path) -> None:
    files = ReceivedFiles(FolderStore(tmp_path / "objects"))
    assert files.manifest("main", SHA256) is None
    parts = put(files)
    assert files.keep("main", SHA256, parts)
    assert files.keep("main", SHA256, parts)
    manifest = files.manifest("main", SHA256)
    assert manifest is not None
    assert (manifest.bytes, manifest.parts) == (len(WHOLE), tuple(parts))
    assert b"".join(files.content(manifest)) == WHOLE
    files.copy_to("main", SHA256, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == WHOLE
    assert files.manifest("north", SHA256) is None


def test_of_two_that_send_the_same_file_the_first_is_kept(tmp_path: Path) -> None:
    files = ReceivedFiles(FolderStore(tmp_path))
    parts = put(files)
    assert files.keep("main", SHA256, parts)
    assert not files.keep("main", SHA256, put(files, "upl_b"))
    files.discard("main", SHA256, "upl_b")
    files.discard("main", SHA256, "upl_a", but=parts)
    manifest = files.manifest("main", SHA256)
    assert manifest is not None
    assert b"".join(files.content(manifest)) == WHOLE


@pytest.mark.parametrize("damage", ["missing", "shorter", "other"])
def test_a_file_that_is_damaged_is_not_copied(damage: str, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "objects")
    files = ReceivedFiles(store)
    parts = put(files)
    files.keep("main", SHA256, parts)
    if damage == "missing":
        store.delete(parts[1].object)
    else:
        store.put(parts[1].object, b"tw" if damage == "shorter" else b"TWO")
    with pytest.raises(ObjectDamaged):
        files.copy_to("main", SHA256, tmp_path / "copy")
    with pytest.raises(ObjectDamaged):
        files.copy_to("main", "0" * 64, tmp_path / "copy")
    assert not list(tmp_path.glob("*copy*"))


def test_a_recording_goes_through_an_s3_store(
    s3_options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Upload, analysis in other processes and result; what was only needed on the way goes."""
    for name, value in s3_options.items():
        monkeypatch.setenv(name, value)
    source = VirtualPatient(5, SCENES["ectopy"], duration_s=9000.0)
    text = "\n".join(map(str, source.read(0, source.info.samples, 0)[0].tolist())) + "\n"
    path = tmp_path / "recording.csv"
    path.write_text(text)
    address = f"s3://einthoven/received-{time.time_ns()}"
    settings = Settings(data_folder=str(tmp_path / "data"), objects=address, batch_processes=2)
    settings.folder.mkdir()
    database = open_database(settings.database_url)
    database.migrate()
    with serving(database, settings=settings) as served:
        device = served.device()
        body = {"upload": send_whole(device, text.encode()), "startTime": "2026-11-26T08:00:00Z"}
        id_ = device.post("/v1/recordings", json=body).json()["id"]
        runs = RecordingRuns(database, SystemClock(), settings, "test")
        try:
            until_s = time.monotonic() + 60
            while device.get(f"/v1/recordings/{id_}").json()["state"] in ("waiting", "going"):
                assert time.monotonic() < until_s
                time.sleep(0.1)
            result = device.get(f"/v1/recordings/{id_}/result")
            assert result.status_code == 200, json.dumps(device.get(f"/v1/recordings/{id_}").json())
            store = open_store(address)
            while list(store.names("work")):
                assert time.monotonic() < until_s
                time.sleep(0.1)
        finally:
            runs.stop(30)
    with open_recording(path) as opened:
        found = analyse_source(opened, chunk_s=1e9)
    assert found is not None
    kept = in_sequence(list(findings_in(joined_in(result.json()["object"], store), store)))
    assert encode(Ecg(fs=kept.fs, findings=kept), "msgpack") == encode(
        Ecg(fs=found.fs, findings=found), "msgpack"
    )
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    manifest = ReceivedFiles(store).manifest("main", sha256)
    assert manifest is not None
    assert b"".join(ReceivedFiles(store).content(manifest)) == text.encode()
