"""``einthoven views``: what a person and a program see of a patient's views, and views made anew."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from einthoven.cli import run
from einthoven.server.batch_views import BatchLayer
from einthoven.signal.recording import Segment
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.storage import FolderStore, open_database
from einthoven.testing.views import Lake, segments_of_source

START_NS = 1_700_000_000 * 10**9 // (3600 * 10**9) * 3600 * 10**9
SPAN = ["--from", "2023-11-14T22:00:00Z", "--until", "2023-11-15T00:00:00Z"]


@pytest.fixture(scope="module")
def segments() -> list[Segment]:
    return segments_of_source(
        VirtualPatient(3, SCENES["paroxysm"], duration_s=1500.0), START_NS, patient="p-1"
    )


@pytest.fixture
def folder(tmp_path: Path, segments: list[Segment]) -> Iterator[Path]:
    """A service's data folder, half of it in batch views."""
    database = open_database(str(tmp_path / "einthoven.db"))
    database.migrate()
    connection = database.connect()
    lake = Lake(connection, FolderStore(tmp_path / "objects"))
    lake.send(segments[:30])
    lake.cover()
    lake.send(segments[30:])
    yield tmp_path
    connection.close()


def said(capsys: pytest.CaptureFixture[str], folder: Path, *words: str, code: int = 0) -> str:
    assert run(["views", *words, "--data-folder", str(folder)]) == code
    return capsys.readouterr().out


def as_json(capsys: pytest.CaptureFixture[str], folder: Path, *words: str) -> Any:
    return json.loads(said(capsys, folder, *words, "--json"))


def test_a_table_and_a_line_tell_of_a_patient(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = said(capsys, folder, "show", "p-1", *SPAN, "--resolution", "5m")
    assert "14 Nov 22:05" in page
    assert "atrial fibrillation" in page
    assert any(block in page for block in "▁▂▃▄▅▆▇█")


def test_programs_get_the_same_as_over_http(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys, folder, "show", "p-1", *SPAN, "--resolution", "1h")
    assert found["devices"] == ["d"]
    assert found["startMs"] == [START_NS // 10**6]
    assert found["heartRate"]["mean"][0] > 40


def test_views_are_drawn(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "trend.svg"
    said(capsys, folder, "show", "p-1", *SPAN, "-o", str(path))
    words = {one.text for one in ET.parse(path).iter("{http://www.w3.org/2000/svg}text")}
    assert {"Patient p-1", "atrial fibrillation", "readable"} <= words


def test_of_an_unknown_patient_nothing_was_received(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Nothing was received" in said(capsys, folder, "show", "nobody", *SPAN)


@pytest.mark.parametrize(
    "words",
    [
        ("show", "p-1", "--from", "yesterday"),
        ("show", "p-1", "--from", "2023-01-01T00:00:00Z", "--resolution", "1m"),
        ("show", "p-1", *SPAN, "-o", "trend.txt"),
        ("rebuild", "--patient", "nobody"),
    ],
)
def test_what_cannot_be_is_said(folder: Path, words: tuple[str, ...]) -> None:
    assert run(["views", *words, "--data-folder", str(folder)]) == 2


def test_views_are_made_anew_where_another_version_made_them(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = as_json(capsys, folder, "list")
    assert (row["device"], row["patient"], row["days"], row["behind"], row["outdated"]) == (
        "d",
        "p-1",
        1,
        20,
        0,
    )
    before = as_json(capsys, folder, "show", "p-1", *SPAN)
    assert as_json(capsys, folder, "rebuild", "--outdated")["streams"] == 0
    old = BatchLayer.versions.func
    monkeypatch.setattr(BatchLayer, "versions", property(lambda self: {**old(self), "bdc": "999"}))
    assert as_json(capsys, folder, "list")[0]["outdated"] == 1
    done = as_json(capsys, folder, "rebuild", "--outdated")
    assert (done["streams"], done["days"], done["recordings"]) == (1, 1, 0)
    assert as_json(capsys, folder, "list")[0]["outdated"] == 0
    after = as_json(capsys, folder, "show", "p-1", *SPAN)
    assert {made["bdc"] for made in after.pop("functions").values()} >= {"999"}
    before.pop("functions")
    assert after == before
