"""`einthoven convert`: files out, losses said, nothing overwritten."""

import json
from pathlib import Path

import numpy as np
import pytest

from einthoven.cli import run
from einthoven.records import Annotations, open_recording, write_annotations, write_recording
from einthoven.simulation import SCENES, VirtualPatient


@pytest.fixture
def stem(tmp_path: Path) -> Path:
    write_recording(tmp_path / "p", VirtualPatient(seed=2, scene=SCENES["ectopy"], fs=250, duration_s=20))
    return tmp_path / "p"


def test_it_says_what_it_wrote(stem: Path, capsys) -> None:
    target = stem.with_name("q.edf")
    assert run(["convert", str(stem), str(target), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "from": str(stem),
        "to": [str(target)],
        "format": "edf",
        "leads": ["MLII"],
        "samples": 5000,
        "annotations": 0,
        "not_carried": [],
    }
    with open_recording(stem) as ours, open_recording(target) as theirs:
        np.testing.assert_array_equal(ours.read(0, 5000), theirs.read(0, 5000))


def test_losses_are_on_standard_error_and_strict_writes_nothing(stem: Path, capsys) -> None:
    assert run(["convert", str(stem), str(stem.with_name("q.csv")), "--strict"]) == 2
    assert not stem.with_name("q.csv").exists()
    assert "not everything can be carried" in capsys.readouterr().err
    assert run(["convert", str(stem), str(stem.with_name("q.csv"))]) == 0
    said = capsys.readouterr()
    assert "q.csv: MLII, 5,000 samples." in said.out
    assert said.err.startswith("Not carried: CSV says neither the rate (250.0 Hz)")


def test_a_file_that_is_there_stays_unless_forced(stem: Path, capsys) -> None:
    target = stem.with_name("q.json")
    target.write_text("mine")
    assert run(["convert", str(stem), str(target)]) == 2
    assert "there already" in capsys.readouterr().err
    assert target.read_text() == "mine"
    assert run(["convert", str(stem), str(target), "--force"]) == 0
    with open_recording(target) as source:
        assert source.info.samples == 5000


def test_the_recording_itself_is_never_written_over(stem: Path, capsys) -> None:
    before = stem.with_suffix(".dat").read_bytes()
    for target in (stem, stem.with_suffix(".hea")):
        assert run(["convert", str(stem), str(target), "--force"]) == 2
        assert "this is what is read" in capsys.readouterr().err
    assert stem.with_suffix(".dat").read_bytes() == before
    marks = stem.with_name("other.atr")
    write_annotations(marks, Annotations(np.array([], np.int64), ()))
    kept = marks.read_bytes()
    words = ["convert", str(stem), str(stem.with_name("other")), "--annotations", str(marks), "--force"]
    assert run(words) == 2
    assert marks.read_bytes() == kept


def test_annotations_of_the_analysis_go_into_the_file(stem: Path, capsys) -> None:
    folder = stem.parent / "marks"
    assert run(["analyze", str(stem), "--annotations", str(folder), "--json"]) == 0
    capsys.readouterr()
    target = stem.with_name("q.edf")
    assert run(["convert", str(stem), str(target), "--annotations", str(folder / "p.ein"), "--json"]) == 0
    count = json.loads(capsys.readouterr().out)["annotations"]
    with open_recording(target) as source:
        assert len(source.annotations()) == count > 15
