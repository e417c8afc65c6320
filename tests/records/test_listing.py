"""The files of a recording: together they can be read, and without one of them they cannot."""

import shutil
from pathlib import Path

import pytest

from einthoven.errors import RecordingNotFound, ReferenceRefused
from einthoven.records import open_recording, recording_files, write_recording
from einthoven.simulation import SCENES, VirtualPatient


@pytest.fixture
def record(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        write_recording(tmp_path / name, VirtualPatient(7, SCENES["healthy"], fs=250.0, duration_s=10.0))
    (tmp_path / "all.hea").write_text("all/3 1 250 6000\none 2500\n~ 1000\ntwo 2500\n")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("one", ["one.hea", "one.dat"]),
        ("one.hea", ["one.hea", "one.dat"]),
        ("one.dat", ["one.hea", "one.dat"]),
        ("all", ["all.hea", "one.hea", "one.dat", "two.hea", "two.dat"]),
    ],
)
def test_a_record_is_its_header_its_signals_and_its_segments(
    record: Path, name: str, files: list[str]
) -> None:
    found = recording_files(record / name)
    assert [path.name for path in found] == files
    elsewhere = record / "elsewhere"
    elsewhere.mkdir()
    for path in found:
        shutil.copy(path, elsewhere)
    with open_recording(elsewhere / files[0]) as moved, open_recording(record / name) as source:
        assert (moved.read(0, 6000) == source.read(0, 6000)).all()


def test_any_other_recording_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("1\n2\n")
    assert recording_files(tmp_path / "x.csv") == (tmp_path / "x.csv",)


def test_what_is_missing_is_said(record: Path) -> None:
    with pytest.raises(RecordingNotFound):
        recording_files(record / "none")
    (record / "two.dat").unlink()
    with pytest.raises(RecordingNotFound):
        recording_files(record / "all")
    (record / "all.hea").write_text("all 1 250 10\n../../passwd 16\n")
    with pytest.raises(ReferenceRefused):
        recording_files(record / "all")
