"""The evidence on a beat is the pipeline's own: the features and votes that the beat was told by."""

from pathlib import Path

import numpy as np
import pytest

from einthoven.errors import InputInvalid
from einthoven.functions import Ecg, PatientState, bdc, count_hours, preprocessing, split
from einthoven.functions.bdc import describe_beats
from einthoven.functions.evidence import evidence
from einthoven.records import open_recording
from einthoven.runtime.batch import analyse_source
from einthoven.runtime.explaining import Moment, explain
from einthoven.signal.classes import CLASSES, classify, load_model, vote
from einthoven.signal.morphology import AFTER, BEFORE, FEATURES
from einthoven.signal.recording import RecordingSource
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.testing.builders import a_recording


@pytest.fixture(scope="module")
def ectopy() -> VirtualPatient:
    return VirtualPatient(3, SCENES["ectopy"], fs=360.0, duration_s=400.0)


def whole(source: RecordingSource) -> Ecg:
    (chunk,) = count_hours(source.info, 1e9)
    return split(source, chunk)


def test_votes_are_what_classes_and_confidences_are_counted_from() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(0, 2, (500, len(FEATURES))).astype(np.float32)
    classes, confidences = classify(features, load_model())
    votes = vote(features, load_model())
    assert (votes.argmax(axis=1) == classes).all()
    assert np.allclose(100 * votes.max(axis=1), confidences, atol=0.51)
    assert np.allclose(votes.sum(axis=1), 1, atol=1e-5)


def test_the_evidence_is_that_of_the_function(ectopy: VirtualPatient) -> None:
    """The same features, bit for bit, and the class and confidence that bdc gives."""
    ecg = whole(ectopy)
    prepared, state = preprocessing(ecg, PatientState())
    told, _ = bdc(prepared, state)
    assert prepared.cleaned is not None
    assert told.beats is not None
    described, _ = describe_beats(prepared.cleaned, None, is_last=True)
    beats = told.beats.beats
    for k in range(0, len(beats), 25):
        found = evidence(ecg, int(beats.positions[k]) + 3)
        assert found is not None
        assert found.grid == beats.grid[k]
        assert [one.name for one in found.features] == list(FEATURES)
        assert [one.value for one in found.features] == described.features[k].tolist()
        assert found.kind == CLASSES[beats.morphology[k]]
        assert round(100 * found.votes[found.kind]) == pytest.approx(beats.confidences[k], abs=1)


def test_weights_sum_to_the_way_from_the_usual_beat_to_this_one(ectopy: VirtualPatient) -> None:
    findings = analyse_source(ectopy)
    assert findings is not None
    ecg = whole(ectopy)
    k = int(np.flatnonzero((findings.beats.morphology == 2) & (findings.beats.grid > 125 * 300))[0])
    found = evidence(ecg, int(findings.beats.positions[k]))
    assert found is not None
    assert found.kind == "V"
    usual = np.array([[one.usual for one in found.features]], np.float32)
    own = np.array([[one.value for one in found.features]], np.float32)
    code = CLASSES.index("V")
    odds = [
        np.log(share / (1 - share)) for share in (vote(row, load_model())[0, code] for row in (usual, own))
    ]
    assert sum(one.weight or 0 for one in found.features) == pytest.approx(odds[1] - odds[0], abs=0.01)
    assert odds[1] > odds[0]
    assert all((one.usual_low or 0) <= (one.usual or 0) <= (one.usual_high or 0) for one in found.features)
    again = evidence(ecg, int(findings.beats.positions[k]))
    assert again is not None
    assert again.features == found.features


def test_the_template_is_the_patients_mean_calm_beat(ectopy: VirtualPatient) -> None:
    found = evidence(whole(ectopy), 350 * 360)
    assert found is not None
    assert found.shape_mv.shape == found.template_mv.shape == (BEFORE + AFTER + 1,)
    assert found.template_beats > 100
    calm = [evidence(whole(ectopy), second * 360) for second in (340, 345)]
    likeness = [np.corrcoef(one.shape_mv, found.template_mv)[0, 1] for one in calm if one and one.kind == "N"]
    assert likeness
    assert min(likeness) > 0.95


def test_the_first_beats_have_nothing_to_be_compared_with(ectopy: VirtualPatient) -> None:
    found = evidence(whole(ectopy), 0)
    assert found is not None
    assert found.usual_beats == 0
    assert {one.weight for one in found.features} == {None}
    assert found.template_mv.size == 0


def test_where_there_is_no_beat_there_is_no_evidence() -> None:
    assert evidence(whole(a_recording(np.zeros(125 * 20))), 100) is None
    with pytest.raises(InputInvalid):
        evidence(Ecg(), 0)


@pytest.mark.parametrize(
    ("text", "at_s"),
    [("83.5", 83.5), ("1:23.5", 83.5), ("0:01:23.5", 83.5), ("2:00:00", 7200.0), ("0", 0.0), (" 5 ", 5.0)],
)
def test_times_are_seconds_or_clock_times(text: str, at_s: float) -> None:
    assert Moment.parse(text).at_s == at_s


@pytest.mark.parametrize("text", ["", "x", "-1", "1:60", "1:2:3:4", "nan", "inf", "pause:0", "pause:x", "::"])
def test_what_is_no_moment_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(InputInvalid, match=r"h:mm:ss"):
        Moment.parse(text)


def test_an_episode_is_a_moment_too() -> None:
    assert Moment.parse("pause") == Moment(kind="pause", number=1)
    assert Moment.parse("ventricular_run:3") == Moment(kind="ventricular_run", number=3)


def test_a_moment_of_a_long_record_is_explained_from_a_part_as_from_the_whole(data: Path) -> None:
    """Law: what a chunk reads is enough for its evidence to be that of the whole record."""
    with open_recording(data / "mitdb" / "208") as source:
        (chunk,) = count_hours(source.info, 1e9)
        ecg = split(source, chunk)
        for second in (3.0, 415.0, 1000.0, 1386.0, 1804.0):
            part = explain(source, 0, Moment(at_s=second)).evidence
            entire = evidence(ecg, round(second * 360))
            assert part is not None
            assert entire is not None
            assert (part.grid, part.votes, part.features) == (entire.grid, entire.votes, entire.features)
            assert np.array_equal(part.template_mv, entire.template_mv)
