"""The report of a recording that the service keeps: made anew until somebody stands for it, then kept."""

import hashlib
import time
from pathlib import Path

import httpx
import pypdfium2

from einthoven.clock import SystemClock
from einthoven.records import recording_files, write_recording
from einthoven.server.printing import room_in
from einthoven.server.recording_runs import RecordingRuns
from einthoven.server.settings import Settings
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.storage import Database
from einthoven.testing.serving import Served, serving
from einthoven.testing.uploads import send_whole

START = "2026-11-26T08:00:00Z"


def analysed(served: Served, tmp_path: Path) -> str:
    """A recording of five minutes, done; its id."""
    path = tmp_path / "short"
    write_recording(path, VirtualPatient(7, SCENES["ectopy"], fs=250.0, duration_s=300.0))
    device = served.device()
    names = [send_whole(device, one.read_bytes(), one.name) for one in recording_files(path)]
    id_ = device.post("/v1/recordings", json={"uploads": names, "startTime": START}).json()["id"]
    assert served.person("clinician").get(f"/v1/recordings/{id_}/report").status_code == 409
    runs = RecordingRuns(served.database, SystemClock(), served.service.settings, "test")
    try:
        until_s = time.monotonic() + 60
        while device.get(f"/v1/recordings/{id_}").json()["state"] != "done":
            assert time.monotonic() < until_s
            time.sleep(0.05)
    finally:
        runs.stop(30)
    return str(id_)


def words_of(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/pdf"
    document = pypdfium2.PdfDocument(answer.content)
    return "".join(document[n].get_textpage().get_text_range() for n in range(len(document)))


def test_a_report_is_made_until_somebody_stands_for_it_and_kept_from_then_on(
    served: Served, tmp_path: Path
) -> None:
    id_ = analysed(served, tmp_path)
    route, clinician = f"/v1/recordings/{id_}", served.person("clinician")
    first = clinician.get(f"{route}/report")
    assert "nobody has looked at it yet" in words_of(first)
    assert "p1" in words_of(first)
    assert "2026-11-26 08:00:00 UTC" in words_of(first)
    assert clinician.get(f"{route}/report").content == first.content
    assert clinician.get(f"{route}/reports").json() == {"items": []}
    assert not any((served.service.settings.folder / "reports-cache").iterdir())

    said = {"conclusion": "Ventricular ectopy.", "indication": "palpitations"}
    done = clinician.post(f"{route}/reports", json=said)
    assert done.status_code == 201, done.text
    kept = clinician.get(f"{route}/report")
    assert "finalised, version 1" in words_of(kept)
    assert "Ventricular ectopy." in words_of(kept)
    assert done.json()["sha256"] == hashlib.sha256(kept.content).hexdigest()

    again = clinician.post(f"{route}/reports", json=said)
    assert again.status_code == 409, "somebody stands for it already"
    amended = clinician.post(f"{route}/reports", json={"conclusion": "Bigeminy.", "amends": 1})
    assert amended.status_code == 201
    assert done.json()["sha256"] in words_of(clinician.get(f"{route}/report")).replace("\r\n", "")
    assert clinician.get(f"{route}/report?version=1").content == kept.content
    assert clinician.get(f"{route}/report?version=3").status_code == 404
    assert [one["version"] for one in clinician.get(f"{route}/reports").json()["items"]] == [2, 1]


def test_what_a_killed_printer_left_is_gone_when_the_service_starts(
    database: Database, tmp_path: Path
) -> None:
    """Files of patients; what another process prints at the moment is let be."""
    settings = Settings(data_folder=str(tmp_path))
    folder = tmp_path / "reports-cache"
    left = folder / "report-left"
    left.mkdir(parents=True)
    (left / "r.dat").write_bytes(b"samples")
    with room_in(folder) as aside:
        with serving(database, settings=settings):
            assert aside.exists()
            assert left.exists()
        assert set(folder.iterdir()) == {aside, left}
    with serving(database, settings=settings):
        assert list(folder.iterdir()) == []


def test_patients_see_their_own_and_only_clinicians_stand_for_one(
    sqlite_served: Served, tmp_path: Path
) -> None:
    route = f"/v1/recordings/{analysed(sqlite_served, tmp_path)}"
    own, other = sqlite_served.person("patient", patient="p1"), sqlite_served.person("patient", patient="p2")
    assert "not a medical device" in words_of(own.get(f"{route}/report")).lower()
    for path in ("report", "reports"):
        assert other.get(f"{route}/{path}").status_code == 404
        for role in ("admin", "technician", "auditor"):
            assert sqlite_served.person(role).get(f"{route}/{path}").status_code == 403
    for person in (own, sqlite_served.person("technician")):
        assert person.post(f"{route}/reports", json={"conclusion": "x"}).status_code == 403
    clinician = sqlite_served.person("clinician")
    for wrong in ({}, {"conclusion": ""}, {"conclusion": "x", "by": "me"}, {"conclusion": "x\x07"}):
        assert clinician.post(f"{route}/reports", json=wrong).status_code == 400
