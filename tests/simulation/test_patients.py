"""Virtual patients: true to their script, the same from the same seed, however they are read."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.errors import InputInvalid
from einthoven.runtime.batch import analyse_source
from einthoven.signal.recording import missing
from einthoven.simulation import SCENES, Noise, Period, Scene, VirtualPatient

LOST = missing(np.dtype(np.int16))
NAMES = st.sampled_from(sorted(SCENES))


def one_period(rhythm: str, duration_s: float = 120.0, *noises: Noise, **more: float) -> Scene:
    return Scene("test", "", (Period(rhythm, duration_s, **more),), noises)


@given(
    name=NAMES,
    seed=st.integers(0, 50),
    fs=st.sampled_from([50.0, 125.0, 250.0, 360.0]),
    cuts=st.lists(st.integers(0, 12_000), max_size=5),
)
def test_where_a_reading_is_cut_changes_nothing(name: str, seed: int, fs: float, cuts: list[int]) -> None:
    patient = VirtualPatient(seed, SCENES[name], fs=fs)
    borders = sorted({0, 12_000, *cuts})
    whole = VirtualPatient(seed, SCENES[name], fs=fs).read(0, 12_000)
    pieces = [patient.read(a, b) for a, b in itertools.pairwise(borders)]
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)


def test_a_seed_is_a_patient_and_another_seed_another() -> None:
    one, same, other = (VirtualPatient(seed, SCENES["healthy"]).read(0, 3750) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).mean() > 0.5


@given(seed=st.integers(0, 30), rhythm=st.sampled_from(["sinus", "bigeminy", "ventricular_tachycardia"]))
def test_each_true_beat_is_a_deflection_of_the_signal(seed: int, rhythm: str) -> None:
    patient = VirtualPatient(seed, one_period(rhythm, 40.0), fs=250.0)
    signal = np.abs(patient.read(0, 10_000)[0].astype(float))
    beats = patient.truth(1, 39).beats
    assert beats.positions.size > 30
    for position in beats.positions:
        near = signal[position - 10 : position + 11]
        around = signal[position - 40 : position + 41]
        assert near.max() > 0.8 * around.max()
        assert near.max() > 60


@pytest.mark.parametrize("rate_bpm", [36, 70, 110])
def test_sinus_rhythm_has_the_rate_and_variability_that_were_asked_for(rate_bpm: float) -> None:
    beats = VirtualPatient(3, one_period("sinus", 600.0, rate_bpm=rate_bpm, rr_sd_s=0.05)).truth(0, 600).beats
    rr_s = np.diff(beats.positions) / 125
    assert 60 / rr_s.mean() == pytest.approx(rate_bpm, rel=0.02)
    assert rr_s.std() == pytest.approx(0.05, rel=0.35)


def test_sinus_rhythm_has_mayer_waves_and_respiration() -> None:
    """The bimodal spectrum of the published model."""
    beats = VirtualPatient(3, one_period("sinus", 600.0, rr_sd_s=0.05)).truth(0, 600).beats
    at_s = beats.positions / 125
    rr = np.interp(np.arange(5, 595, 0.25), at_s[1:], np.diff(at_s))
    power = np.abs(np.fft.rfft(rr - rr.mean())) ** 2
    hz = np.fft.rfftfreq(rr.size, 0.25)
    low, high, between = (
        power[(hz > a) & (hz < b)].sum() for a, b in ((0.06, 0.14), (0.19, 0.31), (0.15, 0.18))
    )
    assert low > 5 * between
    assert high > 5 * between


def test_atrial_fibrillation_is_irregular_and_has_no_p_waves() -> None:
    truth = VirtualPatient(3, SCENES["atrial_fibrillation"]).truth(0, 300)
    rr_s = np.diff(truth.beats.positions) / 125
    assert 0.12 < rr_s.std() / rr_s.mean() < 0.3
    assert rr_s.min() >= 0.27


def test_ectopic_beats_come_early_and_in_the_share_asked_for() -> None:
    scene = one_period("sinus", 1200.0, pvc_share=0.1, pac_share=0.05)
    beats = VirtualPatient(4, scene).truth(0, 1200).beats
    shares = {kind: float(np.mean(beats.classes == kind)) for kind in "NSV"}
    assert shares["V"] == pytest.approx(0.1, abs=0.03)
    assert shares["S"] == pytest.approx(0.05, abs=0.02)
    rr = np.diff(beats.positions)
    assert np.median(rr[beats.classes[1:] == "V"]) < 0.8 * np.median(rr)


def intervals_of(scene: Scene, seed: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Intervals (s) of ten minutes and the class of the beat that ends each."""
    beats = VirtualPatient(seed, scene, fs=1000).truth(0, 600).beats
    return np.diff(beats.positions) / 1000, beats.classes[1:]


@pytest.mark.parametrize(("rhythm", "share"), [("atrial_bigeminy", 1 / 2), ("atrial_trigeminy", 1 / 3)])
def test_every_second_or_third_beat_is_atrial_and_early(rhythm: str, share: float) -> None:
    rr_s, kinds = intervals_of(one_period(rhythm, 600.0, coupling=0.6))
    assert np.mean(kinds == "S") == pytest.approx(share, abs=0.01)
    assert rr_s[kinds == "S"].max() < 0.8 * rr_s[kinds == "N"].min()


def test_a_sick_sinus_node_leaves_most_beats_to_the_atria() -> None:
    rr_s, kinds = intervals_of(one_period("sick_sinus", 600.0, coupling=0.5, atrial_run_beats=10))
    assert np.mean(kinds == "S") > 0.75
    first = (kinds == "N") & (np.roll(kinds, 1) == "S")
    assert np.median(rr_s[first]) > 1.5 * np.median(rr_s[kinds == "S"])


def test_in_two_to_one_block_an_interval_is_one_atrial_cycle_or_two() -> None:
    rr_s, kinds = intervals_of(
        one_period("av_block", 600.0, rate_bpm=75, rr_sd_s=0.0, conduction=(1, 2), hold_beats=5)
    )
    assert set(kinds) == {"N"}
    assert set(np.round(rr_s, 2)) == {0.8, 1.6}


def test_a_blocked_p_wave_has_no_beat() -> None:
    blocked = VirtualPatient(4, one_period("av_block", 60.0, rr_sd_s=0.0, conduction=(2,)), fs=250.0)
    signal = blocked.read(0, 15_000)[0].astype(float)
    for position in blocked.truth(2, 58).beats.positions.tolist():
        middle = position + 200  # where the beat would be that was not conducted
        before, after = signal[middle - 50 : middle - 30], signal[middle - 10 : middle + 10]
        assert before.max() > after.max() + 8
        assert np.abs(after).max() < 60


def test_in_wenckebach_block_pr_grows_until_a_beat_is_dropped() -> None:
    rr_s, _ = intervals_of(one_period("wenckebach", 600.0, rr_sd_s=0.0))
    pause = np.flatnonzero(rr_s > 1.25)
    assert pause.size > 50
    before = pause[pause > 1] - 1
    assert (rr_s[before] < rr_s[before - 1] + 1e-3).mean() > 0.4
    assert (rr_s[pause] < 1.6).all()


def test_the_junction_escapes_in_a_pause_if_it_is_told_to() -> None:
    longest_s = [
        intervals_of(one_period("sinus", 600.0, pause_share=0.1, escape_bpm=escape_bpm))[0].max()
        for escape_bpm in (None, 45.0)
    ]
    assert longest_s[0] > 2.5
    assert longest_s[1] < 2.3


def test_a_sinus_rate_can_rise() -> None:
    rr_s, _ = intervals_of(one_period("sinus", 600.0, rate_bpm=60, end_rate_bpm=120))
    assert rr_s[:20].mean() == pytest.approx(1.0, rel=0.05)
    assert rr_s[-20:].mean() == pytest.approx(0.5, rel=0.05)


def test_silent_hearts_have_no_beats_but_are_never_exactly_flat() -> None:
    for rhythm in ("asystole", "pause", "ventricular_fibrillation", "ventricular_flutter"):
        patient = VirtualPatient(1, one_period(rhythm, 60.0))
        assert patient.truth(0, 60).beats.positions.size == 0
        counts = patient.read(0, 7500)[0]
        assert all(np.ptp(counts[start : start + 125]) > 2 for start in range(0, 7500, 125))


def test_technical_faults_show_as_devices_show_them() -> None:
    patient = VirtualPatient(
        1,
        one_period(
            "sinus",
            60.0,
            Noise("lead_off", start_s=5, end_s=10),
            Noise("gap", start_s=20, end_s=25),
            Noise("saturation", start_s=30, end_s=35),
        ),
        baseline=100,
    )
    counts = patient.read(0, 7500)[0]
    assert (counts[625:1250] == 100).all()
    assert (counts[2500:3125] == LOST).all()
    assert (counts[3750:4375] == 2047).all()
    assert (counts[counts != LOST] >= -2047).all()


@given(
    kind=st.sampled_from(["wander", "muscle", "motion", "mains_50", "mains_60", "white"]),
    seed=st.integers(0, 20),
)
def test_noise_has_about_the_size_it_is_given_and_stays_in_its_span(kind: str, seed: int) -> None:
    quiet = VirtualPatient(seed, one_period("asystole", 120.0))
    noisy = VirtualPatient(seed, one_period("asystole", 120.0, Noise(kind, 0.5, start_s=30, end_s=90)))
    added = (noisy.read(0, 15_000)[0].astype(float) - quiet.read(0, 15_000)[0]) / 200
    assert np.abs(added[:3750]).max() < 0.011
    assert np.abs(added[11_250:]).max() < 0.011
    assert 0.1 < added[3750:11_250].std() < 1.5


def test_the_script_is_told_as_episodes_and_begins_again() -> None:
    scene = SCENES["vt_to_vf"]
    truth = VirtualPatient(1, scene).truth(0, 100)
    assert [(kind, onset) for kind, onset, _ in truth.episodes] == [
        ("sinus", 0),
        ("ventricular_tachycardia", 10),
        ("ventricular_fibrillation", 18),
        ("sinus", 78),
        ("ventricular_tachycardia", 88),
        ("ventricular_fibrillation", 96),
    ]


def test_a_day_is_read_at_its_end_without_living_through_it() -> None:
    patient = VirtualPatient(1, SCENES["healthy"])
    began_s = time.process_time()
    assert patient.read(10_790_000, 10_800_000).shape == (1, 10_000)
    assert time.process_time() - began_s < 5


def test_beyond_the_end_there_is_nothing() -> None:
    patient = VirtualPatient(1, SCENES["healthy"], duration_s=10)
    assert patient.read(1000, 9999).shape == (1, 250)
    assert patient.read(1250, 2000).shape == (1, 0)
    assert patient.info.duration_s == 10


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Period("waltz", 10), "not a rhythm"),
        (lambda: Period("sinus", 0), "duration"),
        (lambda: Period("sinus", 10, 1000), "rate"),
        (lambda: Period("sinus", 10, pvc_share=2), "share"),
        (lambda: Period("sinus", 10, run_beats=0), "run has"),
        (lambda: Period("sinus", 10, rr_sd_s=1), "RR deviation"),
        (lambda: Period("sinus", 10, end_rate_bpm=1000), "rate at the end"),
        (lambda: Period("sinus", 10, escape_bpm=1), "escape rate"),
        (lambda: Period("sinus", 10, coupling=2), "coupling"),
        (lambda: Period("av_block", 10, conduction=()), "conduction"),
        (lambda: Noise("jazz"), "not a kind of noise"),
        (lambda: Noise("white", -1), "amplitude"),
        (lambda: Noise("white", start_s=5, end_s=5), "begin before"),
        (lambda: Scene("x", "", ()), "needs a period"),
        (lambda: VirtualPatient(-1, SCENES["healthy"]), "seed"),
        (lambda: VirtualPatient(1, SCENES["healthy"], fs=20), "sampling rate"),
        (lambda: VirtualPatient(1, SCENES["healthy"], gain=0), "gain"),
    ],
)
def test_what_cannot_be_simulated_is_refused(make, says: str) -> None:
    with pytest.raises(InputInvalid, match=says):
        make()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("healthy", set()),
        ("noise_only", set()),
        ("ectopy", set()),
        ("vt_to_vf", {"ventricular_fibrillation"}),
        ("atrial_fibrillation", {"atrial_fibrillation"}),
        ("pauses", {"pause"}),
        ("asystole", {"asystole"}),
        ("svt", {"supraventricular_tachycardia"}),
        ("bradycardia", {"extreme_bradycardia"}),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_the_analysis_hears_what_the_script_says(name: str, wanted: set[str], seed: int) -> None:
    """Truth against findings: what is there is found, and the healthy and the noisy stay quiet."""
    findings = analyse_source(VirtualPatient(seed, SCENES[name], duration_s=100.0))
    kinds = {e.kind for e in findings.episodes if e.priority not in {"none", "technical"}}
    assert wanted <= kinds
    if not wanted:
        assert kinds == set()
