"""A real patient's beats on another rhythm: where the script has them, and of that patient alone."""

import numpy as np
import pytest

from einthoven.runtime.retiming import RealPatient, Script, retimed_rows
from einthoven.signal.learning import CLASSES
from einthoven.signal.morphology import FEATURES

NORMAL, ATRIAL, VENTRICULAR = (CLASSES.find(kind) for kind in "NSV")


def a_script(labels: list[int], intervals: list[int]) -> Script:
    times = np.cumsum(np.resize(intervals, 200)) - intervals[0]
    return Script(times, np.resize(labels, 200), float(np.median(intervals)))


def test_beats_lie_where_the_script_has_them_at_the_patients_rate(data) -> None:
    script = a_script([NORMAL], [100, 100, 140])
    part = RealPatient(data / "mitdb", "209", 0).play(script, np.random.default_rng(1))
    ratio = np.diff(part.beats) / np.diff(script.times)
    assert np.ptp(ratio) < 0.03
    for beat in part.beats.tolist():
        near = np.abs(part.samples[beat - 6 : beat + 7].astype(int))
        assert near.max() > 0.8 * np.abs(part.samples[beat - 30 : beat + 31].astype(int)).max()


def test_the_same_draw_is_the_same_recording(data) -> None:
    patient = RealPatient(data / "mitdb", "209", 0)
    script = a_script([NORMAL, ATRIAL], [100, 70])
    one, same, other = (patient.play(script, np.random.default_rng(seed)).samples for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert one.size != other.size or (one != other).any()


def test_most_atrial_beats_have_another_p_wave_and_the_same_qrs(data) -> None:
    patient = RealPatient(data / "mitdb", "122", 0)
    script = a_script([NORMAL, NORMAL, ATRIAL], [100, 100, 100])
    changed = []
    for seed in range(12):
        rows = retimed_rows(patient, script, np.random.default_rng(seed))
        usual, atrial = (rows.features[60:][rows.labels[60:] == label] for label in (NORMAL, ATRIAL))
        p, qrs = FEATURES.index("P gain"), FEATURES.index("corr QRS")
        changed.append(abs(np.median(usual[:, p]) - np.median(atrial[:, p])) > 0.2)
        assert np.median(atrial[:, qrs]) > 0.98
    assert 4 < sum(changed) < 12


def test_a_patient_without_ventricular_beats_plays_none(data) -> None:
    script = a_script([NORMAL, VENTRICULAR], [100, 60])
    assert not RealPatient(data / "mitdb", "115", 0).can(script)
    assert RealPatient(data / "mitdb", "119", 0).can(script)


@pytest.mark.parametrize("lead", [0, 1])
def test_rows_are_finite_and_one_a_beat(data, lead: int) -> None:
    script = a_script([NORMAL, NORMAL, VENTRICULAR], [100, 55, 150])
    rows = retimed_rows(RealPatient(data / "mitdb", "119", lead), script, np.random.default_rng(0))
    assert rows.features.shape == (200, len(FEATURES))
    assert np.isfinite(rows.features).all()
