"""``einthoven analyze --explain``: a drawing of one moment, with the reasons that the program had."""

import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from einthoven.cli import run
from einthoven.functions import PatientState, count_hours, preprocessing, split
from einthoven.pictures.explanation import draw_explanation
from einthoven.pictures.reasons import LIMITS, beat_reason, episode_reason, grade_reason, limits_of
from einthoven.records import write_recording
from einthoven.runtime.batch import analyse_source
from einthoven.runtime.explaining import Moment, explain
from einthoven.signal.findings import Beats, Episode
from einthoven.signal.quality import FIBRILLATION, LEAD_OFF, NOISE
from einthoven.signal.recording import Recording
from einthoven.signal.rules import KINDS, Criteria
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.testing.builders import a_recording

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def stem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("records")
    write_recording(folder / "ectopy", VirtualPatient(3, SCENES["ectopy"], fs=360.0, duration_s=200.0))
    write_recording(folder / "pauses", VirtualPatient(7, SCENES["pauses"], fs=250.0, duration_s=120.0))
    return folder


def words_of(path: Path) -> str:
    return " ".join(" ".join(ET.parse(path).getroot().itertext()).split())


def test_a_ventricular_beat_is_drawn_with_its_reasons(stem: Path, tmp_path: Path, capsys) -> None:
    assert run(["analyze", str(stem / "ectopy"), "--json", "--annotations", str(tmp_path)]) == 0
    capsys.readouterr()
    findings = analyse_source(VirtualPatient(3, SCENES["ectopy"], fs=360.0, duration_s=200.0))
    assert findings is not None
    late = (findings.beats.classes == 2) & (findings.beats.positions > 150 * 360)
    at_s = float(findings.beats.positions[np.flatnonzero(late)[0]]) / 360
    path = tmp_path / "why.svg"
    words = ["analyze", str(stem / "ectopy"), "--explain", f"{at_s:.2f}", "-o", str(path)]
    assert run([*words, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["beat"]["class"] == "V"
    assert figures["beat"]["votes"]["V"] > 0.5
    assert "times as wide" in figures["beat"]["reason"]
    drawn = words_of(path)
    for text in ("ectopy", "recorded", "analysed", "RR, ms", "quality", "Votes", "told as"):
        assert text in drawn
    assert "What speaks for V, and against it" in drawn
    assert f"{100 * figures['beat']['votes']['V']:.1f} %" in drawn
    heaviest = max(figures["beat"]["features"], key=lambda one: abs(one["weight"]))
    assert f"{heaviest['name']} {heaviest['value']:.2f}" in drawn
    assert "Not a medical device" in drawn
    assert run(words) == 0
    assert figures["beat"]["reason"] in capsys.readouterr().out


def test_the_sheet_has_its_true_size_and_loads_nothing(stem: Path, tmp_path: Path) -> None:
    path = tmp_path / "why.svg"
    assert run(["analyze", str(stem / "ectopy"), "--explain", "100", "-o", str(path)]) == 0
    root = ET.parse(path).getroot()
    width_mm = float(root.attrib["width"].removesuffix("mm"))
    assert root.attrib["viewBox"].split()[2] == f"{width_mm:g}"
    assert width_mm > 250
    assert "href" not in path.read_text()


def test_an_episode_is_drawn_with_its_rule_and_limits(stem: Path, tmp_path: Path, capsys) -> None:
    path = tmp_path / "pause.svg"
    words = ["analyze", str(stem / "pauses"), "--explain", "pause", "-o", str(path)]
    assert run([*words, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    pause = next(episode for episode in figures["episodes"] if episode["kind"] == "pause")
    assert pause["limits"] == {"pause_s": 3.0}
    assert figures["start_s"] < pause["onset_s"] < figures["start_s"] + 10
    assert "RR >= 3.0 s (pause_s 3)" in pause["reason"]
    assert "Pause" in words_of(path)


def test_without_a_name_the_drawing_lies_here_under_record_and_time(
    stem: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["analyze", str(stem / "ectopy"), "--explain", "0:01:40"]) == 0
    assert (tmp_path / "ectopy-0-01-40.svg").exists()
    assert "ectopy-0-01-40.svg" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["--explain", "later"],
        ["--explain", "1e6"],
        ["--explain", "201"],
        ["--explain", "asystole:4"],
        ["--explain", "5", "-o", "x.pdf"],
        ["--explain", "5", "-o", "x"],
        ["--explain", "5", "--lead", "aVR"],
        ["--explain", "5", "more"],
        ["--explain", "5", "--annotations", "marks"],
        ["--explain", "5", "-o", "no/such/folder/x.svg"],
        ["-o", "x.svg"],
    ],
)
def test_wrong_words_are_the_callers_fault(stem: Path, words: list[str], capsys) -> None:
    assert run(["analyze", str(stem / "ectopy"), *words]) == 2
    out, err = capsys.readouterr()
    assert err
    assert "Traceback" not in out + err


def test_a_png_is_drawn_where_the_library_is_and_asked_for_where_not(
    stem: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    words = ["analyze", str(stem / "ectopy"), "--explain", "100", "-o", str(tmp_path / "why.png")]
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    assert run(words) == 2
    assert "einthoven[plot]" in capsys.readouterr().err
    monkeypatch.undo()
    pytest.importorskip("resvg_py")
    assert run(words) == 0
    assert (tmp_path / "why.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("size", [1, 40, 700, 2500])
def test_any_recording_can_be_explained(size: int) -> None:
    rng = np.random.default_rng(size)
    for ecg_mv in (np.zeros(size), rng.normal(0, 1, size), np.full(size, np.nan)):
        for at_s in (0.0, (size - 1) / 125):
            told = explain(a_recording(ecg_mv), 0, Moment(at_s=at_s))
            assert ET.fromstring(draw_explanation(told).file("t")).tag == f"{SVG}svg"


@pytest.mark.parametrize("seed", range(4))
def test_awkward_ecg_can_be_explained_anywhere(seed: int) -> None:
    recording: Recording = a_recording(seed=seed, duration_s=60)
    for at_s in (0, 17, 33.3, 59.9):
        told = explain(recording, 0, Moment(at_s=at_s))
        drawn = draw_explanation(told).file("t")
        assert ET.fromstring(drawn) is not None
        if told.evidence is not None and told.chosen is not None:
            assert told.beats.grid[told.chosen] == told.evidence.grid


def test_a_beat_that_the_rhythm_rules_changed_says_so() -> None:
    patient = VirtualPatient(3, SCENES["ectopy"], fs=125.0, duration_s=60.0)
    told = explain(patient, 0, Moment(at_s=30.0)).evidence
    assert told is not None
    assert "by the rhythm rules" not in beat_reason(told, told.kind)
    assert "Then Q by the rhythm rules" in beat_reason(told, "Q")


def test_every_limit_that_is_named_is_one_of_the_rules() -> None:
    criteria = Criteria(pause_s=2.5)
    assert limits_of("pause", criteria) == {"pause_s": 2.5}
    assert set(LIMITS) <= set(KINDS)
    for names in LIMITS.values():
        assert set(names) <= set(Criteria.__struct_fields__)
    reason = episode_reason(Episode("pause", 0, None, "medium"), Beats.none(), 125.0, criteria)
    assert "pause_s 2.5" in reason


def test_a_second_says_what_is_wrong_with_it() -> None:
    assert grade_reason(1) == ""
    assert grade_reason(2) == "QRS only"
    assert grade_reason(3 | NOISE) == "rough"
    assert grade_reason(3 | LEAD_OFF) == "flat"
    assert grade_reason(1 | FIBRILLATION) == "fibrillates"


def test_nothing_is_found_in_silence_and_its_trace_is_drawn() -> None:
    told = explain(a_recording(np.zeros(125 * 30)), 0, Moment(at_s=10.0))
    assert told.evidence is None
    assert told.cleaned_mv.tolist() == [0.0] * 1250
    assert "No beat was found here" in draw_explanation(told).file("t")


def test_a_beat_that_is_not_on_the_strip_is_not_explained() -> None:
    """Ten seconds into an asystole there is nothing to tell a class of."""
    patient = VirtualPatient(3, SCENES["healthy"], fs=125.0, duration_s=60.0)
    ecg_mv = (patient.read(0, 7500, 0)[0] - float(patient.info.leads[0].baseline)) / patient.info.leads[
        0
    ].gain
    ecg_mv[30 * 125 :] = 0.0
    told = explain(a_recording(ecg_mv), 0, Moment(at_s=45.0))
    assert (told.evidence, told.chosen) == (None, None)
    assert told.start_s == 40.0


@pytest.mark.parametrize("fs", [50.0, 128.0, 360.0, 999.0])
def test_the_clean_strip_is_the_pipelines_own(fs: float) -> None:
    patient = VirtualPatient(3, SCENES["ectopy"], fs=fs, duration_s=60.0)
    (chunk,) = count_hours(patient.info, 1e9)
    prepared, _ = preprocessing(split(patient, chunk), PatientState())
    assert prepared.cleaned is not None
    told = explain(patient, 0, Moment(at_s=30.0))
    first = round(told.start_s * 125)
    whole = prepared.cleaned.samples[first - prepared.cleaned.first :][:1250] / 200
    assert np.allclose(told.cleaned_mv, whole, atol=1e-6)
