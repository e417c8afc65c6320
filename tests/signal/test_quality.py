"""Quality, second by second: what can be read, and why not."""

import numpy as np
import pytest

from einthoven.functions import Ecg, PatientState, preprocessing
from einthoven.records import open_recording
from einthoven.runtime.batch import analyse_source
from einthoven.signal.quality import FIBRILLATION, GRADE, LEAD_OFF, LOST, LOUD, NOISE, SATURATED
from einthoven.simulation import SCENES, Noise, Period, Scene, VirtualPatient


def cells_of(noises: tuple[Noise, ...] = (), *, scene: str = "healthy", seed: int = 3) -> np.ndarray:
    """Cells of 30 s of a virtual patient."""
    model = SCENES[scene]
    patient = VirtualPatient(seed, Scene("test", "", model.periods, noises, model.has_heart))
    ecg = Ecg(samples=patient.read(0, 3750)[0].astype(np.int32))
    if any(noise.kind == "gap" for noise in noises):
        counts = patient.read(0, 3750)[0]
        samples = counts.astype(np.int32)
        samples[counts == np.iinfo(np.int16).min] = np.iinfo(np.int32).min
        ecg = Ecg(samples=samples)
    cleaned = preprocessing(ecg, PatientState())[0].cleaned
    assert cleaned is not None
    return cleaned.cells


def test_a_clean_ecg_is_grade_one_and_loud() -> None:
    cells = cells_of()
    assert cells.size == 30
    assert (cells & GRADE == 1).all()
    assert (cells & LOUD).any()
    assert not (cells & (LOST | LEAD_OFF | SATURATED | NOISE | FIBRILLATION)).any()


@pytest.mark.parametrize(("kind", "flag"), [("lead_off", LEAD_OFF), ("gap", LOST), ("saturation", SATURATED)])
def test_a_technical_fault_is_named_in_its_own_seconds(kind: str, flag: int) -> None:
    cells = cells_of((Noise(kind, start_s=10.0, end_s=15.0),))
    assert (cells[10:15] & GRADE == 3).all()
    assert (cells[10:15] & flag).all()
    assert (np.delete(cells, slice(9, 16)) & GRADE == 1).all()


@pytest.mark.parametrize(("amplitude_mv", "grade"), [(0.02, 1), (0.6, 3)])
def test_muscle_noise_costs_a_grade_when_it_hides_the_beats(amplitude_mv: float, grade: int) -> None:
    cells = cells_of((Noise("muscle", amplitude_mv),))
    assert np.median(cells & GRADE) == grade


def test_mains_is_filtered_not_feared() -> None:
    assert (cells_of((Noise("wander", 0.5),)) & GRADE == 1).all()


def test_fibrillation_is_seen_and_sinus_rhythm_is_not_taken_for_it() -> None:
    scene = Scene("vf", "", (Period("ventricular_fibrillation", 60.0),))
    cleaned = preprocessing(
        Ecg(samples=VirtualPatient(1, scene).read(0, 3750)[0].astype(np.int32)), PatientState()
    )[0].cleaned
    assert cleaned is not None
    assert np.mean((cleaned.cells & FIBRILLATION) != 0) > 0.8
    for name in ("healthy", "bradycardia", "atrial_fibrillation", "bigeminy", "noise_only"):
        assert not (cells_of(scene=name) & FIBRILLATION).any(), name


def test_real_noise_is_never_taken_for_fibrillation(data) -> None:
    for name in ("bw", "ma"):
        with open_recording(data / "nstdb" / name) as source:
            for lead in (0, 1):
                findings = analyse_source(source, lead)
                assert findings is not None
                assert not [e for e in findings.episodes if e.kind == "ventricular_fibrillation"]
