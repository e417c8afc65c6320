"""What the detector's networks promise besides accuracy on clean records: noise, silence, other hospitals."""

from importlib import resources

import numpy as np
import pytest

from einthoven.errors import DefectError
from einthoven.evaluation import pair_beats
from einthoven.evaluation.stress import NoiseLevel
from einthoven.functions import Ecg, analyse
from einthoven.records import open_recording, read_annotations
from einthoven.runtime.accuracy import Stress, compared_record
from einthoven.runtime.batch import analyse_source
from einthoven.runtime.detection import RENDERINGS, Rendering, noises_of, sights_of, train_judges
from einthoven.signal import beats as detector
from einthoven.signal.beats import load_judges, pack_judges

NOISY = ("100", "103", "118", "119", "122", "209")


def qrs_under(data, level: str) -> tuple[float, float]:
    """Sensitivity and predictivity inside the noisy periods, per cent, first lead, stream."""
    total = np.zeros(3, int)
    for name in NOISY:
        stress = Stress(NoiseLevel.parse(level), data / "nstdb", data / "mitdb" / "118")
        report = compared_record(
            data / "mitdb" / name, lead=0, mode="stream", class_map="bxb", start_s=300.0, stress=stress
        ).report
        assert report.noisy is not None
        total += report.noisy.beats.qrs()
    found, missed, extra = total.tolist()
    return 100 * found / (found + missed), 100 * found / (found + extra)


@pytest.mark.parametrize(
    ("level", "least_se", "least_ppv"),
    [("em:6", 98.0, 90.0), ("ma:6", 98.0, 92.0), ("bw:0", 99.5, 99.0)],
)
def test_beats_are_found_and_noise_is_not_under_noise(data, level, least_se, least_ppv) -> None:
    se, ppv = qrs_under(data, level)
    assert se >= least_se
    assert ppv >= least_ppv


def test_other_monitors_and_rapid_rhythms_are_read(data) -> None:
    """CUDB up to the first mark of fibrillation: 250 Hz, patient monitors, ventricular tachycardia."""
    found = missed = extra = 0
    for number in range(1, 19):
        path = data / "cudb" / f"cu{number:02d}"
        marks = read_annotations(path.with_suffix(".atr"))
        symbols = np.array(marks.symbols)
        with open_recording(path) as source:
            end = int(np.min(marks.samples[symbols == "["], initial=source.info.samples))
            findings = analyse_source(source)
        beats = marks.samples[np.isin(symbols, ["N", "Q", "V"]) & (marks.samples < end)]
        positions = findings.beats.positions[findings.beats.positions < end]
        pairs = len(pair_beats(beats, positions, 37))
        found, missed, extra = found + pairs, missed + beats.size - pairs, extra + positions.size - pairs
    assert found / (found + missed) >= 0.985
    assert found / (found + extra) >= 0.985


@pytest.mark.parametrize("name", ["100", "119", "231"])
def test_an_electrode_upside_down_changes_little(data, name: str) -> None:
    with open_recording(data / "mitdb" / name) as source:
        samples = source.read(0, 360 * 300, 0)[0].astype(np.int32)
    upright, turned = (
        analyse(Ecg(fs=360.0, gain=200.0, baseline=1024, samples=counts))[0].findings
        for counts in (samples, 2048 - samples)
    )
    assert upright is not None
    assert turned is not None
    pairs = len(pair_beats(upright.beats.positions, turned.beats.positions, 54))
    assert pairs >= 0.99 * max(len(upright.beats), len(turned.beats))


def test_networks_that_were_tampered_with_are_refused(monkeypatch) -> None:
    content = resources.files("einthoven.signal").joinpath(detector.JUDGES_FILE).read_bytes()
    assert len(content) < 2**20
    monkeypatch.setattr(detector, "JUDGES_SHA256", "0" * 64)
    load_judges.cache_clear()
    with pytest.raises(DefectError, match="digest"):
        load_judges()
    monkeypatch.undo()
    load_judges.cache_clear()


def test_training_sees_each_lead_whole_in_pieces_and_spoilt(data) -> None:
    sights = list(sights_of(data, "101", noises_of(data)))
    pieces = sum(61 if rendering.is_cut else 1 for rendering in RENDERINGS)
    assert len(sights) == 2 * pieces
    whole = sights[0]
    assert whole.cleaned.size == 225_695
    assert not whole.is_spoilt
    assert whole.beats.size == 1865
    assert sum(sight.beats.size for sight in sights[1:62]) == 1865
    spoilt = [sight for sight in sights if sight.is_spoilt]
    assert all(sight.beats.size <= 1865 for sight in spoilt)
    assert any(sight.unscored.size for sight in spoilt), "a heart was muted somewhere"


def test_training_twice_gives_the_same_bytes(data) -> None:
    few = (Rendering(0), Rendering(2, noisy=0.85))
    first, again = (pack_judges(train_judges(data, "t", ["101"], few)) for _ in range(2))
    assert first == again
    assert first != pack_judges(train_judges(data, "t", ["101"], few, seed=2))
