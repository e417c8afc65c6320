"""``einthoven upload`` and ``einthoven recordings`` as a person and as a program meet them."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from einthoven.cli import run
from einthoven.clock import SystemClock
from einthoven.records import write_recording
from einthoven.server.recording_runs import RecordingRuns
from einthoven.server.settings import Settings
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.storage import open_database
from einthoven.testing.serving import Served, serving

START = "2026-11-26T08:00:00Z"


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("records") / "holter"
    write_recording(path, VirtualPatient(7, SCENES["vt_to_vf"], fs=250.0, duration_s=4000.0))
    return path


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A service with all that it does, whose database the commands find."""
    settings = Settings(data_folder=str(tmp_path), batch_processes=1)
    database = open_database(settings.database_url)
    database.migrate()
    monkeypatch.setenv("EINTHOVEN_DATA_FOLDER", str(tmp_path))
    with serving(database, settings=settings) as served:
        runs = RecordingRuns(database, SystemClock(), settings, "test")
        monkeypatch.setenv("EINTHOVEN_URL", served.url)
        monkeypatch.setenv("EINTHOVEN_TOKEN", served.token("device")[1])
        yield served
        runs.stop(30)


def told(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_a_record_is_sent_analysed_and_shown(service: Served, record: Path, capsys) -> None:
    assert run(["upload", str(record), "--start", START, "--wait"]) == 0
    page = capsys.readouterr().out
    for words in ("Beats", "Heart rate", "Ventricular fibrillation", "***", "2026-11-26 08:00:00", "medical"):
        assert words in page
    assert run(["upload", f"{record}.hea", "--start", START, "--wait", "--json"]) == 0
    (row,) = told(capsys)
    assert (row["state"], row["sent_bytes"], len(row["uploads"])) == ("done", 0, 2)
    assert row["bytes"] == sum(path.stat().st_size for path in record.parent.iterdir())
    assert row["result"]["beats"]["total"] > 3000


def test_a_name_of_a_file_stays_here(service: Served, tmp_path: Path, capsys) -> None:
    path = tmp_path / "Jane Doe.CSV"
    path.write_text("\n".join(map(str, range(1000))) + "\n")
    assert run(["upload", str(path), "--start", START]) == 0
    assert "is recording rec_" in capsys.readouterr().out
    with service.writing() as statements:
        assert statements.rows("SELECT filename FROM uploads") == [("recording.csv",)]


def test_recordings_are_listed_shown_cancelled_and_redriven(service: Served, record: Path, capsys) -> None:
    assert run(["upload", str(record), "--start", START, "--wait", "--json"]) == 0
    id_ = told(capsys)[0]["recording"]
    assert run(["recordings", "list", "--json"]) == 0
    (row,) = told(capsys)
    assert (row["recording"], row["state"], row["hours"], row["patient"]) == (id_, "done", "2 of 2", "p1")
    assert run(["recordings", "list", "--patient", "p2"]) == 0
    assert "None." in capsys.readouterr().out
    assert run(["recordings", "show", id_]) == 0
    assert "Ventricular fibrillation" in capsys.readouterr().out
    assert run(["recordings", "show", id_, "--json"]) == 0
    shown = told(capsys)
    assert shown["progress"] == {"done": 2, "total": 2}
    assert shown["result"]["fs"] == 250.0
    assert run(["recordings", "cancel", id_]) == 2
    assert run(["recordings", "redrive", id_]) == 2
    assert run(["recordings", "show", "rec_x"]) == 2
    capsys.readouterr()
    with service.writing() as statements:
        statements.run("UPDATE recordings SET state = 'failed', code = 'defect', error = 'It broke.'")
    assert run(["recordings", "show", id_]) == 0
    assert "It broke." in capsys.readouterr().out
    assert run(["recordings", "redrive", id_, "--json"]) == 0
    assert told(capsys) == {"recording": id_, "state": "waiting"}
    until_s = time.monotonic() + 30
    while time.monotonic() < until_s:
        assert run(["recordings", "show", id_, "--json"]) == 0
        if told(capsys)["state"] == "done":
            return
        time.sleep(0.2)
    pytest.fail("it was not done again")


def test_a_run_of_the_services_is_left_to_the_service(service: Served, record: Path, capsys) -> None:
    assert run(["upload", str(record), "--start", START, "--wait", "--json"]) == 0
    capsys.readouterr()
    assert run(["workflow", "runs", "--json"]) == 0
    (row,) = told(capsys)
    with service.writing() as statements:
        statements.run("UPDATE runs SET state = 'going'")
    assert run(["workflow", "resume", row["run"]]) == 2
    assert "einthoven recordings show" in capsys.readouterr().err
    assert run(["workflow", "resume", "--all"]) == 0


def test_what_cannot_be_analysed_leaves_with_one(service: Served, tmp_path: Path, capsys) -> None:
    path = tmp_path / "x.csv"
    path.write_text("one,two\nthree\n")
    assert run(["upload", str(path), "--start", START, "--wait"]) == 1
    assert "could not be analysed" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["nothing-here"],
        ["{}", "--start", "yesterday"],
        ["{}", "{}", "--start", START],
        ["{}", "--start", START, "--patient", "p2"],
        ["{}"],
    ],
)
def test_what_is_wrong_is_said_before_anything_is_analysed(
    words: list[str], service: Served, tmp_path: Path, capsys
) -> None:
    path = tmp_path / "x.csv"
    path.write_text("1\n2\n")
    assert run(["upload", *(word.replace("{}", str(path)) for word in words)]) == 2
    assert "einthoven: " in capsys.readouterr().err
    with service.writing() as statements:
        assert statements.rows("SELECT COUNT(*) FROM recordings") == [(0,)]


def test_a_token_may_lie_in_a_file(service: Served, tmp_path: Path, monkeypatch, capsys) -> None:
    path = tmp_path / "x.csv"
    path.write_text("1\n2\n")
    monkeypatch.delenv("EINTHOVEN_TOKEN")
    assert run(["upload", str(path), "--start", START]) == 2
    assert "EINTHOVEN_TOKEN" in capsys.readouterr().err
    (tmp_path / "token").write_text(service.token("device")[1] + "\n")
    assert run(["upload", str(path), "--start", START, "--token-file", str(tmp_path / "token")]) == 0
