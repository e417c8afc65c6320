"""``einthoven analyze`` as a person and as a program meet it."""

import itertools
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
import wfdb

from einthoven.cli import run
from einthoven.records import read_annotations, write_recording
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.testing.builders import a_recording


@pytest.fixture(scope="module")
def stem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("records")
    patient = VirtualPatient(7, SCENES["vt_to_vf"], fs=250.0, duration_s=70.0)
    write_recording(folder / "vt", patient)
    write_recording(folder / "plain", VirtualPatient(7, SCENES["healthy"], fs=360.0, duration_s=130.0))
    return folder


def as_json(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[dict], str]:
    code = run(["analyze", "--json", *words])
    out, err = capsys.readouterr()
    return code, json.loads(out), err


def test_the_json_has_the_keys_that_are_promised(stem: Path, capsys) -> None:
    code, (figures,), _ = as_json(capsys, str(stem / "vt"))
    assert code == 0
    recording = {"name": "vt", "fs": 250.0, "duration_s": 70.0, "leads": ["MLII"], "remarks": []}
    assert figures["recording"] == recording
    assert set(figures) >= {
        *("recording", "beats", "heart_rate_bpm", "episodes", "quality"),
        *("alerts", "elapsed_s", "machine", "version"),
    }
    assert set(figures["beats"]) == {"total", "by_class"}
    assert sum(figures["beats"]["by_class"].values()) == figures["beats"]["total"] > 0
    assert set(figures["heart_rate_bpm"]) == {"mean", "min", "max"}
    assert set(figures["machine"]) == {"cores", "processor", "python"}
    assert all(
        set(e) == {"kind", "onset_s", "end_s", "priority", "confidence", "grade"} for e in figures["episodes"]
    )
    onsets = [e["onset_s"] for e in figures["episodes"]]
    assert onsets == sorted(onsets)
    assert "high" in {alert["priority"] for alert in figures["alerts"]}
    assert 0 <= figures["quality"]["analysable_fraction"] <= 1


def test_the_json_matches_its_published_schema(stem: Path, capsys) -> None:
    schema = json.loads(
        (Path(__file__).parents[2] / "docs" / "reference" / "analyze.schema.json").read_text()
    )
    _, figures, _ = as_json(capsys, str(stem / "vt"), str(stem / "plain"))
    for one in figures:
        assert set(one) == set(schema["items"]["properties"]), "every key is described, and no other"
        assert set(schema["items"]["required"]) <= set(one)


def test_a_page_says_what_was_found(stem: Path, capsys) -> None:
    assert run(["analyze", str(stem / "plain")]) == 0
    page = capsys.readouterr().out
    for words in ("plain", "360 Hz", "Beats", "Heart rate", "Quality", "No episodes", "Not a medical device"):
        assert words in page


def test_neither_chunks_nor_workers_change_a_figure(stem: Path, capsys) -> None:
    figures = []
    for words in ([], ["--chunk", "1"], ["--chunk", "1", "--workers", "2"], ["--workers", "1"]):
        code, found, _ = as_json(capsys, str(stem / "plain"), str(stem / "vt"), *words)
        assert code == 0
        for one in found:
            del one["elapsed_s"]
        figures.append(found)
    assert all(found == figures[0] for found in figures)


def test_annotations_are_wfdbs_at_the_recordings_own_rate(stem: Path, tmp_path: Path, capsys) -> None:
    _, (figures,), _ = as_json(capsys, str(stem / "vt"), "--annotations", str(tmp_path / "out"))
    theirs = wfdb.rdann(str(tmp_path / "out" / "vt"), "ein")
    beats = [symbol for symbol in theirs.symbol if symbol != "+"]
    assert set(beats) <= set("NSVFQ")
    assert len(beats) == figures["beats"]["total"]
    assert theirs.sample[-1] < 70 * 250
    marks = read_annotations(tmp_path / "out" / "vt.ein")
    changes = [
        (s, a) for s, k, a in zip(marks.samples.tolist(), marks.symbols, marks.aux, strict=True) if k == "+"
    ]
    assert changes[0] == (0, "(N")
    assert any(aux in {"(VFL", "(VT"} for _, aux in changes)
    assert all(a[1] != b[1] for a, b in itertools.pairwise(changes)), "each mark is a change"
    assert (np.diff(marks.samples) >= 0).all()


def test_a_lead_is_chosen_by_name(data, capsys) -> None:
    _, (first,), _ = as_json(capsys, str(data / "mitdb" / "100"))
    _, (second,), _ = as_json(capsys, str(data / "mitdb" / "100"), "--lead", "V5")
    assert (first["lead"], second["lead"]) == ("MLII", "V5")
    assert run(["analyze", str(data / "mitdb" / "100"), "--lead", "aVR"]) == 2
    assert "the recording has MLII, V5" in capsys.readouterr().err


def test_one_bad_file_does_not_stop_the_others(stem: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "bad.csv").write_text("1\n2\nx\n")
    code, found, err = as_json(capsys, str(tmp_path / "bad.csv"), str(stem / "plain"), str(tmp_path / "none"))
    assert code == 2
    assert [figures["recording"]["name"] for figures in found] == ["plain"]
    errors = [json.loads(line)["error"] for line in err.splitlines()]
    assert {error["code"] for error in errors} == {"recording-unreadable", "recording-not-found"}
    assert all(error["remedy"] and error["where"] for error in errors)


@pytest.mark.parametrize(
    ("content", "suffix"),
    [(b"", ".csv"), (b"512\n", ".csv"), (b"512\n" * 300, ".csv"), (b"[]", ".json"), (b"[1]", ".json")],
)
def test_hardly_any_ecg_is_a_result_too(tmp_path: Path, capsys, content: bytes, suffix: str) -> None:
    (tmp_path / f"r{suffix}").write_bytes(content)
    code, (figures,), _ = as_json(capsys, str(tmp_path / f"r{suffix}"))
    assert code == 0
    assert figures["beats"]["total"] == 0
    assert run(["analyze", str(tmp_path / f"r{suffix}")]) == 0


@pytest.mark.parametrize(
    "words",
    [
        ["analyze"],
        ["analyze", "--chunk", "0.5", "x"],
        ["analyze", "--chunk", "nan", "x"],
        ["analyze", "--workers", "0", "x"],
        ["analyze", "--nonsense", "x"],
        ["analyze", ""],
        ["analyze", "a\0b"],
        ["nonsense"],
    ],
)
def test_wrong_words_are_the_callers_fault_and_no_traceback(words: list[str], capsys) -> None:
    assert run(words) == 2
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert err


def test_the_article_file_of_integers_is_read(tmp_path: Path, capsys) -> None:
    counts = a_recording(seed=3, duration_s=30).counts[0]
    counts = np.where(counts == -32768, 0, counts)
    (tmp_path / "segment.txt").write_text("\n".join(map(str, counts)))
    code, (figures,), _ = as_json(capsys, str(tmp_path / "segment.txt"))
    assert code == 0
    assert figures["recording"]["fs"] == 125.0
    assert figures["beats"]["total"] > 10
    msgspec.json.encode(figures)


def test_rules_from_a_file_change_what_is_told(tmp_path: Path, capsys) -> None:
    write_recording(tmp_path / "calm", VirtualPatient(7, SCENES["healthy"], fs=250.0, duration_s=90.0))
    rules = tmp_path / "rules.toml"
    rules.write_text("bradycardia_bpm = 99\ntachycardia_bpm = 200\n")
    _, (plain,), _ = as_json(capsys, str(tmp_path / "calm"))
    code, (changed,), _ = as_json(capsys, "--rules", str(rules), str(tmp_path / "calm"))
    assert code == 0
    assert "bradycardia" not in {episode["kind"] for episode in plain["episodes"]}
    assert "bradycardia" in {episode["kind"] for episode in changed["episodes"]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pause_s = 99", "pause_s is 99; it must lie in 1 to 20"),
        ("paws = 1", "paws"),
        (None, "cannot be read"),
    ],
)
def test_wrong_rules_are_refused_with_file_and_key(
    stem: Path, tmp_path: Path, capsys, text: str | None, words: str
) -> None:
    rules = tmp_path / "rules.toml"
    if text is not None:
        rules.write_text(text)
    assert run(["analyze", "--rules", str(rules), str(stem / "vt")]) == 2
    err = capsys.readouterr().err
    assert "rules.toml" in err
    assert words in err
