"""`einthoven fhir`: a bundle or lines, a time or a refusal, a pseudonym and nothing else of anybody."""

import json
import re
from pathlib import Path

import pytest

from einthoven.cli import run
from einthoven.records import write_edf, write_recording
from einthoven.records.text_writing import write_csv
from einthoven.signal.recording import Recording, RecordingInfo
from einthoven.simulation import SCENES, VirtualPatient

START = ["--start", "2026-11-26T08:00:00Z"]


@pytest.fixture
def stem(tmp_path: Path) -> Path:
    write_recording(tmp_path / "p", VirtualPatient(seed=2, scene=SCENES["ectopy"], fs=250, duration_s=20))
    return tmp_path / "p"


def test_a_bundle_or_lines_by_the_ending(stem: Path, capsys) -> None:
    bundle, lines = stem.with_name("b.json"), stem.with_name("b.ndjson")
    assert run(["fhir", str(stem), str(bundle), "--patient", "p-1", *START, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["resources"]["DiagnosticReport"] == 1
    assert run(["fhir", str(stem), str(lines), "--patient", "p-1", *START, "--test-data"]) == 0
    assert "1 DiagnosticReport" in capsys.readouterr().out
    entries = json.loads(bundle.read_text())["entry"]
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [entry["resource"]["id"] for entry in entries] == [row["id"] for row in rows]
    (provenance,) = [row for row in rows if row["resourceType"] == "Provenance"]
    assert len(provenance["entity"]) == 2, "the header and the samples"


def test_what_is_there_is_replaced_only_if_that_is_said_and_the_recording_never(stem: Path, capsys) -> None:
    target = stem.with_name("b.json")
    target.write_text("mine")
    words = ["--patient", "p-1", *START]
    assert run(["fhir", str(stem), str(target), *words]) == 2
    assert target.read_text() == "mine"
    assert run(["fhir", str(stem), str(target), *words, "--force"]) == 0
    assert target.read_text() != "mine"
    assert run(["fhir", str(stem), f"{stem}.dat", *words, "--force"]) == 2
    assert "this is what is read" in capsys.readouterr().err


def test_a_rate_that_the_file_does_not_say_is_said_by_the_person_or_to_them(stem: Path, capsys) -> None:
    source = VirtualPatient(seed=2, scene=SCENES["healthy"], fs=250, duration_s=20)
    path, target = stem.with_name("q.csv"), stem.with_name("b.json")
    write_csv(path, source)
    words = ["fhir", str(path), str(target), "--patient", "p-1", *START, "--force"]
    assert run(words) == 0
    assert "125 Hz" in capsys.readouterr().err
    assert run([*words, "--json"]) == 0
    assert "125 Hz" in json.loads(capsys.readouterr().out)["remarks"][0]
    assert run([*words, "--fs", "250", "--gain", str(source.info.leads[0].gain), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["remarks"] == []
    periods = re.findall(r'"period":([\d.]+)', target.read_text())
    assert set(periods) == {"4.0"}


def test_a_start_in_the_file_is_enough(stem: Path) -> None:
    source = VirtualPatient(seed=2, scene=SCENES["healthy"], fs=250, duration_s=10)
    info = RecordingInfo("q", 250.0, source.info.leads, 2500, 1_795_600_800_000_000_000)
    write_edf(stem.with_name("q.edf"), Recording(info, source.read(0, 2500)))
    target = stem.with_name("q.json")
    assert run(["fhir", str(stem.with_name("q.edf")), str(target), "--patient", "p-1"]) == 0
    assert "2026-11-25T10:00:00Z" in target.read_text()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--patient", "p-1"], "does not say when it begins"),
        (["--patient", "Ada Lovelace", *START], "no pseudonym"),
        (["--patient", "p-1", "--start", "yesterday"], "this is no time"),
        (["--patient", "p-1", *START, "--pdf", "p.hea"], "no PDF"),
    ],
)
def test_what_is_missing_or_wrong_is_said_and_nothing_is_written(
    stem: Path, words: list[str], why: str, capsys
) -> None:
    words = [str(stem.with_name(word)) if word == "p.hea" else word for word in words]
    assert run(["fhir", str(stem), str(stem.with_name("b.json")), *words]) == 2
    said = capsys.readouterr().err
    assert why in said
    assert "Lovelace" not in said
    assert not stem.with_name("b.json").exists()
