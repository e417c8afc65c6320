"""``einthoven demo``: events as lines, a summary at the end, nothing lost."""

import json
from pathlib import Path

import pytest

from einthoven.cli import run
from einthoven.records import write_recording
from einthoven.simulation import SCENES, VirtualPatient


def lines(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict]:
    assert run(["demo", "--json", *words]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_ward_raises_its_alerts_and_the_noisy_patient_none(capsys) -> None:
    """Forty seconds of the ward, ten times as fast."""
    events = lines(capsys, "--seconds", "4", "--speed", "10")
    assert events[0]["event"] == "started"
    raised = {(e["patient"], e["condition"]) for e in events if e["event"] == "alert"}
    assert {condition for patient, condition in raised if patient == "vt_to_vf"} & {
        "ventricular_tachycardia",
        "ventricular_fibrillation",
    }
    assert ("atrial_fibrillation", "atrial_fibrillation") in raised
    assert ("pauses", "pause") in raised
    assert not [patient for patient, _ in raised if patient in {"noise_only", "healthy", "lead_off"}]
    assert all(
        {"at_s", "patient", "condition", "priority", "onset_s"} <= set(e)
        for e in events
        if "alert" in e["event"]
    )
    summary = events[-1]
    assert summary["event"] == "summary"
    assert summary["sent"] == summary["received"] == summary["analysed"] > 100
    assert summary["lost"] == 0
    assert 0 < summary["latency_ms"]["p50"] <= summary["latency_ms"]["p99"]


def test_recordings_are_replayed(tmp_path: Path, capsys) -> None:
    for name in ("one", "two"):
        write_recording(tmp_path / name, VirtualPatient(1, SCENES["asystole"], duration_s=40.0, fs=250.0))
    words = ["--replay", str(tmp_path / "one"), str(tmp_path / "two"), "--speed", "100", "--seconds", "5"]
    events = lines(capsys, *words)
    assert {e["patient"] for e in events if e["event"] == "alert" and e["condition"] == "asystole"} == {
        "one",
        "two.1",
    }
    assert events[-1]["sent"] == 40


def test_the_view_ends_by_itself_with_a_sentence(capsys) -> None:
    assert run(["demo", "--seconds", "2", "--speed", "10"]) == 0
    assert "lost 0" in capsys.readouterr().out


def test_a_file_that_is_not_there_is_said_to_be(capsys) -> None:
    assert run(["demo", "--json", "--replay", "nothing"]) == 2
    assert "recording-not-found" in capsys.readouterr().err
