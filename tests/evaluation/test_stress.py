"""Noise stress: the ratio is the one asked for, the clean minutes are untouched, and the recipe is nst's."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.cli import run
from einthoven.errors import InputInvalid
from einthoven.evaluation import CLASS_MAPS, labels_of
from einthoven.evaluation.stress import (
    NoiseLevel,
    add_noise,
    gain_for,
    noise_power_mv2,
    noisy_spans,
    recovered_noise,
    signal_power_mv2,
    snr_inside_db,
)
from einthoven.records import open_recording, read_annotations
from einthoven.runtime.accuracy import Stress, stressed

FS = 100.0
MISSING = int(np.iinfo(np.int32).min)


def test_noise_is_on_for_two_minutes_in_four_after_five() -> None:
    spans_s = noisy_spans(100 * 1000, FS) / FS
    assert spans_s[:, 0].tolist() == [300, 540, 780]
    assert spans_s[:, 1].tolist() == [419.99, 659.99, 899.99]
    assert noisy_spans(100 * 310, FS).tolist() == [[30_000, 30_999]], "cut at the record's end"
    assert noisy_spans(100 * 300, FS).size == 0


def test_the_signal_is_measured_by_its_normal_qrs_without_the_extremes() -> None:
    """Twenty complexes, one of them a hundred times as high: 5 % at each end do not count."""
    ecg = np.zeros(4000)
    beats = np.arange(100, 4000, 200)
    ecg[beats] = 2.0
    ecg[beats[7]] = 200.0
    assert signal_power_mv2(ecg, beats, FS) == pytest.approx(2.0**2 / 8)
    with pytest.raises(InputInvalid, match="no normal QRS"):
        signal_power_mv2(ecg, beats[:0], FS)
    with pytest.raises(InputInvalid, match="no normal QRS"):
        signal_power_mv2(np.zeros(4000), beats, FS)


def test_the_noise_is_measured_by_seconds_about_their_own_mean() -> None:
    alternating = np.tile([0.3, -0.3], 5000) + np.repeat(np.arange(100.0), 100)
    assert noise_power_mv2(alternating, FS) == pytest.approx(0.09)
    assert noise_power_mv2(np.zeros(50), FS) == 0.0


@given(st.floats(-20, 40), st.floats(0.05, 3))
def test_the_ratio_measured_afterwards_is_the_one_asked_for(snr_db: float, height_mv: float) -> None:
    rng = np.random.default_rng(1)
    ecg = np.zeros(90_000)
    beats = np.arange(50, 90_000, 80)
    ecg[beats] = height_mv
    noise = rng.standard_normal(ecg.size)
    spans = noisy_spans(ecg.size, FS)
    signal = signal_power_mv2(ecg, beats, FS)
    gain = gain_for(signal, noise_power_mv2(noise, FS), snr_db)
    counts = np.rint(ecg * 100_000).astype(np.int32)
    added = (add_noise(counts, 100_000 * gain * noise, spans, MISSING) - counts) / 100_000
    assert snr_inside_db(signal, added, spans, FS) == pytest.approx(snr_db, abs=0.2)


def test_clean_minutes_are_left_as_they_are_and_the_noise_makes_no_step() -> None:
    rng = np.random.default_rng(2)
    counts = rng.integers(-500, 500, 80_000).astype(np.int32)
    counts[[10, 35_000, 50_000]] = MISSING
    noise = np.cumsum(rng.standard_normal(80_000))
    spans = noisy_spans(counts.size, FS)
    mixed = add_noise(counts, noise, spans, MISSING)
    assert (mixed[:30_000] == counts[:30_000]).all(), "bit for bit"
    assert ((mixed == MISSING) == (counts == MISSING)).all()
    added = np.where(counts == MISSING, 0, mixed.astype(np.int64) - counts)
    known = counts != MISSING
    between = added[42_000:54_000][known[42_000:54_000]]
    assert np.unique(between).size == 1, "an offset and nothing else"
    assert np.abs(np.diff(added[known])).max() <= np.abs(np.diff(noise)).max() + 1


def test_noise_that_was_added_can_be_had_back() -> None:
    rng = np.random.default_rng(3)
    clean = np.rint(100 * np.sin(np.arange(80_000) / 9)).astype(np.int32)
    noise = 50 * rng.standard_normal(80_000)
    spans = noisy_spans(clean.size, FS)
    mixed = add_noise(clean, noise, spans, MISSING)
    back = recovered_noise(mixed.astype(float), clean.astype(float), spans)
    for begin, end in spans:
        inside = slice(begin, end + 1)
        assert np.allclose(back[inside], noise[inside] - noise[begin], atol=1.0)
    assert not back[: spans[0, 0]].any()


@pytest.mark.parametrize("text", ["", "em", "em:", "em:x", "xx:6", "em:nan", "em:1e9", "em:-31", ":6", "6"])
def test_what_is_no_level_of_noise_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InputInvalid, match="em:6"):
        NoiseLevel.parse(text)
    assert run(["bench", "ec57", "--data", ".", f"--noise={text}"]) == 2


def test_a_level_is_written_as_it_is_read() -> None:
    for text in ("em:6", "bw:-6", "ma:12.5"):
        assert str(NoiseLevel.parse(f" {text} ")) == text


def stress_of(data: Path, level: str) -> Stress:
    return Stress(NoiseLevel.parse(level), data / "nstdb", data / "mitdb" / "118")


def test_electrode_motion_at_0_db_makes_118e00_of_118(data: Path) -> None:
    """The published noisy record, lead by lead, apart from offsets that last at least a noisy period."""
    path = data / "mitdb" / "118"
    for lead in (0, 1):
        with open_recording(path) as source, open_recording(data / "nstdb" / "118e00") as published:
            labels = labels_of(
                read_annotations(path.with_name("118.atr")), source.info.samples, CLASS_MAPS["bxb"]
            )
            ours = stressed(source, lead, labels, stress_of(data, "em:0")).recording.counts[0]
            theirs = published.read(0, published.info.samples, lead)[0].astype(np.int64)
            clean = source.read(0, source.info.samples, lead)[0]
        assert (ours[: 300 * 360] == clean[: 300 * 360]).all()
        for begin, end in noisy_spans(clean.size, 360.0):
            difference = ours[begin : end + 1] - theirs[begin : end + 1]
            assert np.ptp(difference) <= 2, "counts"


def test_noise_needs_a_record_of_its_rate_and_length(data: Path) -> None:
    with open_recording(data / "nsrdb" / first_record(data / "nsrdb")) as source:
        marks = read_annotations(data / "nsrdb" / f"{source.info.name}.atr")
        labels = labels_of(marks, source.info.samples, CLASS_MAPS["bxb"])
        with pytest.raises(InputInvalid, match="rate"):
            stressed(source, 0, labels, stress_of(data, "bw:0"))


def first_record(folder: Path) -> str:
    return sorted(path.stem for path in folder.glob("*.hea"))[0]


def test_more_noise_costs_more_and_the_periods_are_counted_apart(data: Path, capsys) -> None:
    words = ["bench", "ec57", "--data", str(data), "--noise", "em:12,em:0", "--noise", "ma:6"]
    words += ["--records", "103,119", "--workers", "1"]
    assert run(words) == 0
    page = capsys.readouterr().out
    assert "em:12" in page
    assert "none" in page
    assert run([*words, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["protocol"]["noise"] == ["em:12", "em:0", "ma:6"]
    assert not figures["protocol"]["standard"]
    noisy = {level: one["gross"]["noisy"] for level, one in figures["noise"].items()}
    assert noisy["em:12"]["qrs"]["f1"] > noisy["em:0"]["qrs"]["f1"]
    assert figures["gross"]["noisy"]["qrs"]["f1"] > noisy["em:12"]["qrs"]["f1"]
    for one in noisy.values():
        assert sum(one["seconds_by_grade"]) == 2 * (6 * 120 + 66), "seconds inside the periods"
        assert sum(one["share_by_grade"]) == pytest.approx(100, abs=0.01)
    beats = sum(figures["gross"]["noisy"]["counts"]["qrs"][:2])
    assert all(sum(one["counts"]["qrs"][:2]) == beats for one in noisy.values()), "the same beats"
    assert noisy["em:12"]["measured_snr_db"] - noisy["em:0"]["measured_snr_db"] == pytest.approx(12, abs=0.1)
