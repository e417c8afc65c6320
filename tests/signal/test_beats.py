"""Accuracy on the 48 MIT-BIH records: a ratchet that only tightens."""

import numpy as np
import pytest

from einthoven.evaluation import CLASS_MAPS, beat_table, labels_of, pair_beats
from einthoven.records import annotations_of, open_recording, read_annotations
from einthoven.runtime.batch import analyse_source
from einthoven.runtime.training import DS1, class_of

WRONG = 104
"""QRS missed or invented on the 48 records, first lead, after 5:00, VF left out. Lower it; never raise it."""
WRONG_SECOND = 1651
"""The same on the second lead."""
REFERENCE_BEATS = 91_285
V_FOUND, V_WRONG = 3509, 229
"""V called V, and N, S or nothing called V, in the records of DS1, end to end."""
V_NOISE = 5
"""Beats by which a change elsewhere may move these two without being called a loss."""


def annotated(data, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Beat samples and their classes."""
    marks = read_annotations(data / "mitdb" / f"{name}.atr")
    kinds = np.array([class_of(symbol) or "" for symbol in marks.symbols])
    return marks.samples[kinds != ""], kinds[kinds != ""]


@pytest.fixture(scope="session")
def analysed(data) -> dict[str, object]:
    """Findings of every record's first lead."""
    found = {}
    for name in (data / "mitdb" / "RECORDS").read_text().split():
        with open_recording(data / "mitdb" / name) as source:
            found[name] = analyse_source(source)
    return found


def count_qrs(data, found: dict[str, object]) -> tuple[int, int, int]:
    """Found, missed, invented over all records."""
    total = np.zeros(3, int)
    for name, findings in found.items():
        reference = labels_of(read_annotations(data / "mitdb" / f"{name}.atr"), 650_000, CLASS_MAPS["bxb"])
        test = labels_of(annotations_of(findings), 650_000, CLASS_MAPS["bxb"])
        total += beat_table(reference, test, fs=360.0, end=650_000).qrs()
    return tuple(total.tolist())


def test_qrs_detection_finds_what_it_found(data, analysed) -> None:
    found, missed, extra = count_qrs(data, analysed)
    assert found + missed == REFERENCE_BEATS, "an evaluation without these totals is wrong"
    assert missed + extra <= WRONG
    assert found / (found + missed) >= 0.995
    assert found / (found + extra) >= 0.995


def test_the_second_lead_is_read_as_well_as_it_was(data) -> None:
    second = {}
    for name in (data / "mitdb" / "RECORDS").read_text().split():
        with open_recording(data / "mitdb" / name) as source:
            second[name] = analyse_source(source, 1)
    _, missed, extra = count_qrs(data, second)
    assert missed + extra <= WRONG_SECOND


def test_ventricular_beats_are_told_as_well_as_they_were(data, analysed) -> None:
    """These records trained the model, so this guards the chain before it and proves no accuracy.

    What the classifier knows of patients it never saw is kept by the ratchet of the model card. DS2 is not
    scored here, because its figures may be looked at once for each release.
    """
    found = wrong = 0
    for name in DS1:
        findings = analysed[name]
        beats, kinds = annotated(data, name)
        called_v = findings.beats.classes == 2
        pairs = pair_beats(beats, findings.beats.positions, 54)
        is_v = sum(1 for i, j in pairs if kinds[i] == "V" and called_v[j])
        fusion = sum(1 for i, j in pairs if kinds[i] == "F" and called_v[j])
        found += is_v
        wrong += int(called_v.sum()) - is_v - fusion
    assert found >= V_FOUND - V_NOISE
    assert wrong <= V_WRONG + V_NOISE


def test_urgent_false_alarms_on_the_48_records_are_few(data, analysed) -> None:
    """Asystole: dropouts of the first lead in 116 and 208; fibrillation only in the record that has it."""
    asystole = [(n, e) for n, f in analysed.items() for e in f.episodes if e.kind == "asystole"]
    assert [n for n, e in asystole if beats_inside(data, n, e)] == ["116", "208"]
    fibrillating = {
        n
        for n, f in analysed.items()
        for c in f.conditions
        if c.condition == "ventricular_fibrillation" and c.priority == "high"
    }
    assert fibrillating == {"207"}


def beats_inside(data, name: str, episode) -> bool:
    beats, _ = annotated(data, name)
    return bool(((beats > episode.onset + 60) & (beats < episode.end - 60)).any())
