"""``einthoven report``: from a recording to a PDF in one command, and never over what somebody signed."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from einthoven.cli.reports import command
from einthoven.errors import Conflict, InputInvalid
from einthoven.records import open_recording, write_edf, write_recording
from einthoven.records.text_writing import write_csv
from einthoven.simulation import SCENES, VirtualPatient


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "p7"
    write_recording(path, VirtualPatient(3, SCENES["healthy"], fs=125.0, duration_s=300.0))
    return path


def run(*words: Any) -> Result:
    done = CliRunner().invoke(command, [str(word) for word in words], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done


def test_one_command_makes_a_report_and_says_what_is_in_it(recording: Path, tmp_path: Path) -> None:
    output = tmp_path / "r.pdf"
    told = json.loads(run(recording, "-o", output, "--patient", "A", "--workers", 1, "--json").stdout)
    content = output.read_bytes()
    assert told["sha256"] == hashlib.sha256(content).hexdigest()
    assert told["report"]["heading"]["patient"] == "A"
    assert told["report"]["beats"]["N"] > 200
    assert told["report"]["strips"][0]["title"] == "Usual rhythm"
    run(recording, "-o", output, "--patient", "A", "--workers", 1)
    assert output.read_bytes() == content, "the same input gives the same bytes"


def test_what_was_finalised_is_amended_and_never_written_over(recording: Path, tmp_path: Path) -> None:
    first, second, words = tmp_path / "1.pdf", tmp_path / "2.pdf", tmp_path / "conclusion.txt"
    words.write_text("Sinus rhythm.\n")
    finalised = ["--conclusion", words, "--finalise", "Dr Who", "--at", "2026-11-27", "--workers", 1]
    assert "finalised, version 1" in run(recording, "-o", first, *finalised).stdout
    content = first.read_bytes()
    for more in ([], finalised, [*finalised, "--amends", first]):
        with pytest.raises(Conflict, match="not written over"):
            run(recording, "-o", first, *more)
    assert first.read_bytes() == content
    told = json.loads(run(recording, "-o", second, *finalised, "--amends", first, "--json").stdout)
    assert told["report"]["heading"]["version"] == 2
    assert told["report"]["heading"]["amends"] == hashlib.sha256(content).hexdigest()
    draft = tmp_path / "draft.pdf"
    run(recording, "-o", draft, "--workers", 1)
    with pytest.raises(InputInvalid, match="no finalised report"):
        run(recording, "-o", tmp_path / "3.pdf", *finalised, "--amends", draft)


def test_a_report_of_another_recording_is_not_amended(recording: Path, tmp_path: Path) -> None:
    words = tmp_path / "conclusion.txt"
    words.write_text("Sinus rhythm.\n")
    finalised = ["--conclusion", words, "--finalise", "Dr Who", "--at", "2026-11-27", "--workers", 1]
    run(recording, "-o", tmp_path / "1.pdf", *finalised)
    other = tmp_path / "p7"
    write_recording(other, VirtualPatient(4, SCENES["healthy"], fs=125.0, duration_s=300.0))
    with pytest.raises(InputInvalid, match="of another recording"):
        run(other, "-o", tmp_path / "2.pdf", *finalised, "--amends", tmp_path / "1.pdf")
    with open_recording(recording) as source:
        write_edf(tmp_path / "copy.edf", source)
    amended = run(tmp_path / "copy.edf", "-o", tmp_path / "3.pdf", *finalised, "--amends", tmp_path / "1.pdf")
    assert "version 2" in amended.stdout, "it is the same recording in another format"


def test_a_rate_that_the_file_does_not_say_is_said_by_the_person_or_to_them(tmp_path: Path) -> None:
    source = VirtualPatient(3, SCENES["healthy"], fs=250.0, duration_s=60.0)
    path = tmp_path / "p.csv"
    write_csv(path, source)
    gain = source.info.leads[0].gain
    guessed = run(path, "-o", tmp_path / "1.pdf", "--workers", 1)
    assert "125 Hz" in guessed.stderr
    told = json.loads(
        run(
            path, "-o", tmp_path / "2.pdf", "--workers", 1, "--json",
            "--fs", 250, "--gain", gain, "--baseline", source.info.leads[0].baseline,
        ).stdout
    )  # fmt: skip
    assert told["report"]["fs"] == 250.0
    assert told["report"]["duration_s"] == pytest.approx(60.0)
    assert told["report"]["remarks"] == []


def test_only_a_report_is_replaced_unasked_and_the_recording_never(recording: Path, tmp_path: Path) -> None:
    output = tmp_path / "letter.pdf"
    output.write_bytes(b"%PDF- mine")
    with pytest.raises(Conflict, match="there already"):
        run(recording, "-o", output, "--workers", 1)
    run(recording, "-o", output, "--workers", 1, "--force")
    run(recording, "-o", output, "--workers", 1)
    words = tmp_path / "conclusion.txt"
    words.write_text("Sinus rhythm.")
    for read in (f"{recording}.dat", words):
        with pytest.raises(Conflict, match="this is what is read"):
            run(recording, "-o", read, "--conclusion", words, "--workers", 1, "--force")
    assert words.read_text() == "Sinus rhythm."


def test_what_is_wrong_is_said(recording: Path, tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="with a conclusion"):
        run(recording, "-o", tmp_path / "r.pdf", "--finalise", "Dr Who")
    with pytest.raises(InputInvalid, match="cannot be read"):
        run(recording, "-o", tmp_path / "r.pdf", "--conclusion", tmp_path / "none.txt")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(InputInvalid, match="not UTF-8"):
        run(recording, "-o", tmp_path / "r.pdf", "--conclusion", tmp_path / "bytes.txt")
    assert not (tmp_path / "r.pdf").exists()
