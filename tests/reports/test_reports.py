"""A report says what the findings say, shows it true to scale, and is the same whenever it is made."""

import math
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pypdfium2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einthoven.errors import InputInvalid
from einthoven.reports import Heading, Report, gather
from einthoven.reports.content import episodes_by_kind, hours_of, intervals_of, rates_of, report_of
from einthoven.reports.gathering import STRIP_S, shown_in
from einthoven.reports.identity import mark_of
from einthoven.reports.pages import print_report
from einthoven.reports.sheet import Sheet, printable
from einthoven.runtime.batch import analyse_source
from einthoven.signal.clusters import assign, find_shapes, normalised
from einthoven.signal.findings import Findings
from einthoven.signal.recording import Recording, recording_from_mv, span_mv
from einthoven.simulation import SCENES, VirtualPatient

HOURS = 1.6


@pytest.fixture(scope="module")
def recording() -> Recording:
    patient = VirtualPatient(11, SCENES["paroxysm"], fs=125.0, duration_s=HOURS * 3600)
    info = patient.info
    counts = patient.read(0, info.samples)[0]
    ecg_mv = (counts - info.leads[0].baseline) / info.leads[0].gain
    return recording_from_mv("p1", ecg_mv, info.fs)


@pytest.fixture(scope="module")
def findings(recording: Recording) -> Findings:
    found = analyse_source(recording)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def report(recording: Recording, findings: Findings) -> Report:
    return gather(recording, 0, findings, Heading(patient="Jane Doe"))


def words_of(content: bytes) -> list[str]:
    document = pypdfium2.PdfDocument(content)
    return [document[number].get_textpage().get_text_range() for number in range(len(document))]


def test_slowest_and_fastest_are_those_of_the_findings(findings: Findings) -> None:
    slowest, fastest = rates_of(intervals_of(findings))
    assert slowest is not None
    assert fastest is not None
    assert slowest.bpm == pytest.approx(findings.heart_rate.min)
    assert fastest.bpm == pytest.approx(findings.heart_rate.max)


def test_hours_add_up_to_the_whole(report: Report, findings: Findings) -> None:
    assert len(report.hours) == math.ceil(HOURS)
    assert sum(one.beats for one in report.hours) == sum(report.beats.values()) == len(findings.beats)
    assert sum(one.ventricular for one in report.hours) == report.beats["V"]
    assert sum(one.supraventricular for one in report.hours) == report.beats["S"]
    read_s = report.readable.all_waves_s + report.readable.qrs_only_s
    assert sum(one.analysed_s for one in report.hours) == pytest.approx(read_s, abs=1)
    af = [one for one in report.episodes if one.kind == "atrial_fibrillation"]
    assert sum(one.fibrillation_s for one in report.hours) == pytest.approx(sum(one.total_s for one in af))
    rates = [one.max_bpm for one in report.hours if one.max_bpm is not None]
    assert report.fastest is not None
    assert max(rates) == pytest.approx(report.fastest.bpm)


def test_clusters_hold_every_beat_whose_samples_are_there(report: Report) -> None:
    assert sum(one.beats for one in report.clusters) >= sum(report.beats.values()) - 2
    for letter, count in report.beats.items():
        assert sum(one.beats for one in report.clusters if one.letter == letter) <= count
    counts = [one.beats for one in report.clusters]
    assert counts == sorted(counts, reverse=True)


def test_strips_lie_in_the_recording_and_carry_its_beats(report: Report, findings: Findings) -> None:
    assert report.strips[0].title == "Usual rhythm"
    for strip in report.strips:
        assert strip.ecg_mv.size == round(STRIP_S * strip.fs)
        assert 0 <= strip.at_s <= report.duration_s - STRIP_S + 1e-6
        first = round(strip.at_s * strip.fs)
        inside = (findings.beats.positions >= first) & (findings.beats.positions < first + strip.ecg_mv.size)
        assert len(strip.beats) == np.count_nonzero(inside)
        assert all(0 <= at_s < STRIP_S for at_s, _ in strip.beats)


def test_a_report_is_the_same_whenever_it_is_made(report: Report) -> None:
    content = print_report(report)
    assert content == print_report(report)
    assert content[:5] == b"%PDF-"
    other = msgspec.structs.replace(report, heading=Heading(patient="John Roe"))
    assert print_report(other) != content


def test_every_page_has_the_notice_and_the_state(report: Report) -> None:
    pages = words_of(print_report(report))
    assert len(pages) >= 5
    for number, words in enumerate(pages, 1):
        assert "Not a medical device" in words
        assert "analysed, version 1: nobody has looked at it yet" in words
        assert f"page {number}" in words
    assert "Jane Doe" in pages[0]
    assert f"{sum(report.beats.values()):,}" in pages[0]
    assert f"{report.mean_bpm:.0f} /min" in pages[0]


def test_strips_are_true_to_scale(report: Report) -> None:
    """A millivolt is 10 mm high and a second 25 mm wide: measured on the page as it is drawn."""
    flat = np.zeros(875, np.float32)
    flat[250:500] = 1.0
    (strip, *_) = report.strips
    step = msgspec.structs.replace(strip, fs=125.0, ecg_mv=flat, beats=())
    content = print_report(msgspec.structs.replace(report, strips=(step,)))
    document = pypdfium2.PdfDocument(content)
    number = next(n for n, words in enumerate(words_of(content)) if "Usual rhythm" in words)
    per_mm = 8
    image = np.asarray(document[number].render(scale=25.4 / 72 * per_mm).to_pil().convert("L"))
    dark = image[:, round(25 * per_mm) :] < 100  # behind the pulse
    rows = np.flatnonzero(dark[: 80 * per_mm].sum(axis=1) > 40 * per_mm)
    top = rows[rows > 30 * per_mm].min()
    base = rows.max()
    assert (base - top) / per_mm == pytest.approx(10.0, abs=0.3)
    columns = np.flatnonzero(dark[round((top + base) / 2)])
    assert (columns.max() - columns.min()) / per_mm == pytest.approx(250 / 125 * 25, abs=0.4)


def test_who_stands_for_it_is_said_on_each_page(report: Report) -> None:
    said = Heading(
        conclusion="Fibrillation.\nSee strips.", by="Dr Who", at="2026-11-27", version=2, amends="ab" * 32
    )
    content = print_report(msgspec.structs.replace(report, heading=said))
    pages = words_of(content)
    assert all("finalised, version 2" in words for words in pages)
    assert "Fibrillation." in pages[0]
    assert "Dr Who" in pages[0]
    assert "ab" * 32 in re.sub(r"\s", "", pages[-1])
    said_of = f"einthoven report 1; finalised; version 2; recording {report.mark}; amends {'ab' * 32}"
    assert said_of.encode() in content


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"by": "Dr Who", "at": "now"}, "with a conclusion"),
        ({"by": "Dr Who", "conclusion": "x"}, "said together"),
        ({"patient": "x" * 5000}, "more than"),
    ],
)
def test_nobody_stands_for_nothing(wrong: dict[str, Any], what: str) -> None:
    with pytest.raises(InputInvalid, match=what):
        Heading(**wrong)


def test_what_a_font_does_not_have_is_a_question_mark() -> None:
    assert printable("Müller – 30 µV\x07\u4e2d") == "Müller – 30 µV??"


def test_a_long_conclusion_goes_on_behind_its_page(report: Report) -> None:
    said = Heading(conclusion="A sentence about the rhythm that is rather long. " * 70 + "x" * 300)
    pages = words_of(print_report(msgspec.structs.replace(report, heading=said)))
    assert " ".join(" ".join(pages).split()).count("A sentence about the rhythm") >= 68, "but for page breaks"


def test_a_recording_without_beats_has_a_report() -> None:
    flat = recording_from_mv("flat", np.zeros(125 * 40), 125.0)
    found = analyse_source(flat)
    assert found is not None
    pages = words_of(print_report(gather(flat, 0, found, Heading())))
    assert any("No beats were found" in words for words in pages)


def test_any_recording_can_be_told_of_hour_by_hour(findings: Findings) -> None:
    for seconds in (0.0, 1.0, 3600.0, 3601.0, 9000.0):
        assert len(hours_of(findings, intervals_of(findings), seconds)) == math.ceil(seconds / 3600)


def test_an_episode_that_goes_on_lasts_until_the_end(findings: Findings) -> None:
    (first, *_) = findings.episodes
    going_on = msgspec.structs.replace(first, end=None)
    some = msgspec.structs.replace(findings, episodes=(going_on,))
    (told,) = episodes_by_kind(some, intervals_of(some))
    assert told.total_s == pytest.approx((findings.until - first.onset) / findings.fs)
    report = report_of(recording_from_mv("x", np.zeros(10), 125.0).info, 0, some, Heading())
    assert report.episodes == (told,)


def test_pauses_are_counted_once_and_alike_on_all_pages(findings: Findings, recording: Recording) -> None:
    (first, *_) = findings.episodes

    def episode(kind: str, onset_s: float, end_s: float) -> Any:
        return msgspec.structs.replace(
            first, kind=kind, onset=round(onset_s * findings.fs), end=round(end_s * findings.fs)
        )

    some = (
        episode("pause", 10, 13), episode("pause", 100, 104), episode("asystole", 103, 110),
        episode("asystole", 4000, 4006), episode("ventricular_fibrillation", 200, 230),
    )  # fmt: skip
    report = report_of(recording.info, 0, msgspec.structs.replace(findings, episodes=some), Heading())
    assert (report.pauses.count, report.pauses.longest_s) == (3, pytest.approx(10.0))
    assert [one.pauses for one in report.hours] == [2, 1]
    assert {one.kind for one in report.episodes if one.fastest_bpm is not None} == set()
    pages = words_of(print_report(msgspec.structs.replace(report, remarks=("Taken for granted.",))))
    assert "3, longest 10.0 s" in pages[0]
    assert "Not classifiable" in pages[0]
    assert "Taken for granted." in pages[-1]


def test_a_rate_in_fibrillation_or_asystole_is_none() -> None:
    source = VirtualPatient(4, SCENES["vt_to_vf"], fs=250.0, duration_s=240.0)
    found = analyse_source(source)
    assert found is not None
    told = report_of(source.info, 0, found, Heading())
    wild = [
        (one.onset / 250, (found.until if one.end is None else one.end) / 250)
        for one in found.episodes
        if one.kind == "ventricular_fibrillation"
    ]
    assert wild
    for rate in (told.slowest, told.fastest):
        assert rate is not None
        seconds = 8 * 60 / rate.bpm
        assert not any(start < rate.at_s and rate.at_s - seconds < stop for start, stop in wild)
    assert told.hours[0].max_bpm == pytest.approx(told.fastest.bpm)
    assert told.mean_bpm is not None
    assert told.slowest.bpm <= told.mean_bpm <= told.fastest.bpm
    pages = " ".join(" ".join(words_of(print_report(told))).split())
    assert "Those in ventricular fibrillation or asystole are left out." in pages


def test_the_usual_rhythm_is_that_of_most_of_the_time_though_none_of_it_is_normal() -> None:
    """A sick sinus for minutes, few of whose intervals are NN, and then a little sinus rhythm."""
    parts = []
    for scene, seconds in (("sick_sinus", 240.0), ("healthy", 30.0)):
        source = VirtualPatient(5, SCENES[scene], fs=125.0, duration_s=seconds)
        parts.append(span_mv(source, 0, 0, source.info.samples))
    whole = recording_from_mv("r", np.concatenate(parts), 125.0)
    found = analyse_source(whole)
    assert found is not None
    usual = shown_in(report_of(whole.info, 0, found, Heading()), found)[0]
    assert usual.title == "Usual rhythm"
    assert usual.at_s < 240.0 - STRIP_S


def test_few_intervals_have_the_rates_that_the_findings_have() -> None:
    source = VirtualPatient(3, SCENES["healthy"], fs=125.0, duration_s=5.0)
    found = analyse_source(source)
    assert found is not None
    assert 2 < len(found.beats) < 9
    slowest, fastest = rates_of(intervals_of(found))
    assert slowest is not None
    assert slowest == fastest
    assert slowest.bpm == pytest.approx(found.heart_rate.min)


@given(
    words=st.lists(st.text("aWi.-", min_size=1, max_size=60), max_size=30).map(" ".join)
    | st.integers(1, 400).map(lambda n: "W" * n)
)
def test_lines_hold_all_words_and_none_is_wider(words: str) -> None:
    sheet = Sheet("t", "s")
    lines = sheet.wrapped(words, 60.0, 3.2)
    assert all(sheet.width_of(line, 3.2) <= 60.0 for line in lines)
    assert "".join(lines).replace(" ", "") == words.replace(" ", "")


def test_a_word_of_a_page_is_cut_without_measuring_each_of_its_ends() -> None:
    """A conclusion of 4,000 letters without a space took a quarter of a minute."""
    measured = 0

    class Counted(Sheet):
        def width_of(self, words: str, size: float, *, bold: bool = False) -> float:
            nonlocal measured
            measured += 1
            return super().width_of(words, size, bold=bold)

    lines = Counted("t", "s").wrapped("x" * 4000, 150.0, 3.2)
    assert measured < 20 * len(lines)


def test_a_tab_is_a_space_and_pages_are_numbered_to_the_last(report: Report) -> None:
    said = Heading(conclusion="Rhythm:\tsinus.")
    pages = words_of(print_report(msgspec.structs.replace(report, heading=said)))
    assert "?" not in pages[0]
    for number, words in enumerate(pages, 1):
        assert f"page {number} of {len(pages)}" in words


def test_what_tells_recordings_apart_is_their_samples_whatever_file_they_are_in(
    recording: Recording, report: Report
) -> None:
    info = recording.info
    renamed = Recording(msgspec.structs.replace(info, name="x", start_ns=5), recording.counts)
    shorter = Recording(msgspec.structs.replace(info, samples=info.samples - 1), recording.counts[:, :-1])
    other = Recording(info, recording.counts + 1)
    assert mark_of(recording) == mark_of(renamed) == report.mark
    assert len({mark_of(one) for one in (recording, shorter, other)}) == 3
    narrow = np.array([[1, -32768, 3]], np.int16)
    wide = np.array([[1, -(2**31), 3]], np.int32)
    few = msgspec.structs.replace(info, samples=3)
    assert mark_of(Recording(few, narrow)) == mark_of(Recording(few, wide))
    assert f"; recording {report.mark}".encode() in print_report(report)


def some_shapes() -> Iterator[np.ndarray]:
    t = np.linspace(-1, 1, 40)
    yield np.exp(-40 * t**2)
    yield np.exp(-8 * (t - 0.2) ** 2) - np.exp(-8 * (t + 0.3) ** 2)
    yield -np.exp(-20 * (t + 0.1) ** 2)


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), counts=st.lists(st.integers(20, 200), min_size=1, max_size=3))
def test_beats_of_one_shape_are_one_cluster_whatever_their_size(seed: int, counts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    rows, kinds = [], []
    for kind, (shape, count) in enumerate(zip(some_shapes(), counts, strict=False)):
        for _ in range(count):
            moved = np.roll(shape, rng.integers(-1, 2))
            rows.append(rng.uniform(0.3, 3.0) * moved + rng.normal(0, 0.01, shape.size) + rng.uniform(-1, 1))
            kinds.append(kind)
    order = rng.permutation(len(rows))
    shapes, truth = np.array(rows)[order], np.array(kinds)[order]
    codes = np.zeros(len(rows), np.uint8)
    found = find_shapes(shapes, codes)
    which = assign(found, shapes, codes)
    assert found.codes.size == len(counts[:3])
    for kind in range(len(counts)):
        assert len(set(which[truth == kind].tolist())) == 1
    assert len({which[truth == kind][0] for kind in range(len(counts))}) == len(counts)


def test_beats_with_missing_samples_are_in_no_cluster() -> None:
    shapes = np.stack([*some_shapes()] * 10)
    shapes[4, 7] = np.nan
    codes = np.zeros(len(shapes), np.uint8)
    which = assign(find_shapes(shapes, codes), shapes, codes)
    assert which[4] == -1
    assert (np.delete(which, 4) >= 0).all()
    assert (assign(find_shapes(shapes[:0], codes[:0]), shapes, codes) == -1).all()
    assert not np.any(normalised(np.ones((2, 5))))
