"""EDF+ and BDF+ out: exact in counts, gain, zero and time, and readable by the oracle."""

from fractions import Fraction
from pathlib import Path

import edfio
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from einthoven.errors import InputInvalid, RecordingUnreadable
from einthoven.records import Annotations, open_recording, read_annotations, write_edf
from einthoven.records.annotation import SYMBOLS
from einthoven.records.edf_scaling import layout_of, scaling_of
from einthoven.signal.recording import Lead, Recording, RecordingInfo, missing

LOST = missing(np.dtype(np.int16))


def a_recording(counts: np.ndarray, fs: float = 125.0, start_ns: int | None = None) -> Recording:
    leads = tuple(Lead(f"V{n + 1}", 200.0 + n, 10 * n) for n in range(counts.shape[0]))
    return Recording(RecordingInfo("r", fs, leads, counts.shape[1], start_ns), counts.astype(np.int16))


@given(
    leads=st.integers(1, 3),
    samples=st.integers(0, 700),
    suffix=st.sampled_from([".edf", ".bdf"]),
    fs=st.sampled_from([125.0, 128.5, 1000 / 3]),
    seed=st.integers(0, 999),
    lost=st.sampled_from(["nothing", "some", "a stretch", "all"]),
)
def test_what_is_written_reads_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, leads, samples, suffix, fs, seed, lost
) -> None:
    path = tmp_path_factory.mktemp("w") / f"r{suffix}"
    rng = np.random.default_rng(seed)
    counts = rng.integers(-20_000, 20_001, (leads, samples)).astype(np.int16)
    if lost == "some":
        counts[:, ::7] = LOST
    elif lost != "nothing":
        counts[:, slice(None) if lost == "all" else slice(100, 620)] = LOST
    assert write_edf(path, a_recording(counts, fs)) == ()
    with open_recording(path) as source:
        back = source.read(0, samples)
        marks = np.where(back == missing(back.dtype), LOST, back)
        np.testing.assert_array_equal(marks, counts)
        assert source.info.fs == fs
        assert source.info.leads == a_recording(counts, fs).info.leads
        assert source.remarks == ()


def test_the_oracle_agrees_and_finds_the_annotations(tmp_path: Path, data: Path) -> None:
    path = tmp_path / "207.edf"
    marks = read_annotations(data / "mitdb" / "207.atr")
    with open_recording(data / "mitdb" / "207") as source:
        assert write_edf(path, source, marks) == ()
        counts, fs = source.read(0, source.info.samples), source.info.fs
    theirs = edfio.read_edf(path)
    for row, signal in enumerate(theirs.signals):
        np.testing.assert_array_equal(signal.digital[: counts.shape[1]], counts[row])
        np.testing.assert_allclose(signal.data[: counts.shape[1]], (counts[row] - 1024) / 200, atol=1e-12)
    assert [signal.label for signal in theirs.signals] == ["ECG MLII", "ECG V1"]
    assert [round(one.onset * fs) for one in theirs.annotations] == marks.samples.tolist()
    assert {one.text for one in theirs.annotations} >= {"V", "+ (VFL", "!", "["}
    with open_recording(path) as source:
        back = source.annotations()
    for name in ("symbols", "aux", "subtypes", "channels", "nums"):
        assert getattr(back, name) == getattr(marks, name)
    np.testing.assert_array_equal(back.samples, marks.samples)


def test_the_oracle_reads_bdf(tmp_path: Path) -> None:
    info = RecordingInfo("r", 250.0, (Lead("II", 1e5, 0),), 500)
    counts = np.random.default_rng(3).integers(-(2**23) + 1, 2**23, (1, 500)).astype(np.int32)
    write_edf(tmp_path / "r.bdf", Recording(info, counts))
    np.testing.assert_array_equal(edfio.read_bdf(tmp_path / "r.bdf").signals[0].digital, counts[0])


def test_a_gap_in_all_leads_makes_a_discontinuous_file(tmp_path: Path) -> None:
    counts = np.arange(2 * 125 * 100).reshape(2, -1).astype(np.int16)
    counts[:, 1000:11_000] = LOST
    write_edf(tmp_path / "gap.edf", a_recording(counts))
    whole = (tmp_path / "gap.edf").read_bytes()
    assert whole[192:197] == b"EDF+D"
    assert int(whole[236:244]) == 20
    with open_recording(tmp_path / "gap.edf") as source:
        np.testing.assert_array_equal(source.read(0, 12_500), counts)
        np.testing.assert_array_equal(source.read(900, 11_100, 1)[0], counts[1, 900:11_100])


def test_a_gap_of_hours_costs_nothing(tmp_path: Path) -> None:
    counts = np.full((1, 125 * 7200), LOST)
    counts[0, :1000] = counts[0, -1000:] = 7
    write_edf(tmp_path / "gap.edf", a_recording(counts))
    assert (tmp_path / "gap.edf").stat().st_size < 10_000
    with open_recording(tmp_path / "gap.edf") as source:
        np.testing.assert_array_equal(source.read(0, counts.size), counts)


@given(
    gain=st.floats(1e-2, 1e5) | st.integers(1, 10**6).map(lambda n: n / 1000) | st.integers(1, 10_000),
    baseline=st.integers(-2000, 2000),
)
def test_gain_and_zero_are_exact_or_it_is_said(
    tmp_path_factory: pytest.TempPathFactory, gain: float, baseline: int
) -> None:
    path = tmp_path_factory.mktemp("w") / "r.edf"
    lead = Lead("II", float(gain), baseline)
    losses = write_edf(
        path, Recording(RecordingInfo("r", 250.0, (lead,), 250), np.full((1, 250), 5, np.int16))
    )
    with open_recording(path) as source:
        back = source.info.leads[0]
    assert back.gain == lead.gain or any("The gain" in said for said in losses)
    assert (back.baseline != lead.baseline) == any("The zero" in said for said in losses)
    assert back.gain == pytest.approx(lead.gain, rel=1e-4)


def test_a_zero_that_the_header_does_not_hold_is_said(tmp_path: Path) -> None:
    lead = Lead("II", 31_415.92653589793, 4321)
    info = RecordingInfo("r", 250.0, (lead,), 250)
    losses = write_edf(tmp_path / "r.bdf", Recording(info, np.full((1, 250), 5, np.int32)))
    with open_recording(tmp_path / "r.bdf") as source:
        moved = source.info.leads[0].baseline - lead.baseline
    assert moved
    assert losses[1:] == (f"The zero of lead II is written {abs(moved)} counts off.",)


def test_usual_gains_are_exact_in_the_whole_range() -> None:
    for gain in (200.0, 1000.0, 100.0, 409.6, 204.8, 1e3 / 3, 306.7, 163.84, 10_000.0):
        scaling = scaling_of(Lead("II", gain, 0), -10_000, 10_000, -32768, 32767)
        assert scaling.error == 0, gain


@given(fs=st.floats(50, 1000))
def test_a_rate_is_exact_or_within_a_millionth(fs: float) -> None:
    layout = layout_of(fs)
    read = float(Fraction(layout.samples) / layout.duration_s)
    assert read == fs if layout.is_exact else read == pytest.approx(fs, rel=1e-5)


def test_usual_rates_are_exact_in_records_of_a_second() -> None:
    assert all(layout_of(fs).duration == "1" for fs in (125.0, 128.0, 200.0, 250.0, 360.0, 500.0, 1000.0))
    assert (layout_of(128.5).samples, layout_of(128.5).duration) == (257, "2")


@given(start_us=st.integers(-(10**15), 10**16) | st.none(), suffix=st.sampled_from([".edf", ".bdf"]))
def test_the_start_reads_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, start_us: int | None, suffix: str
) -> None:
    path = tmp_path_factory.mktemp("w") / f"r{suffix}"
    start_ns = None if start_us is None else start_us * 1000
    write_edf(path, a_recording(np.zeros((1, 300)), start_ns=start_ns))
    with open_recording(path) as source:
        assert source.info.start_ns == start_ns


def test_the_oracle_reads_the_start(tmp_path: Path) -> None:
    write_edf(tmp_path / "r.edf", a_recording(np.zeros((1, 125)), start_ns=1_795_600_800_123_456_000))
    read = edfio.read_edf(tmp_path / "r.edf")
    assert (read.startdate.isoformat(), read.starttime.isoformat()) == ("2026-11-25", "10:00:00.123456")


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0\x14\x15"), max_size=20)


@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 1400),
            st.sampled_from([*SYMBOLS.values(), "[42]"]),
            TEXTS,
            st.sampled_from([0, 0, 0, -128, 51]),
            st.sampled_from([0, 0, 0, 255]),
            st.sampled_from([0, 0, 0, -7]),
        ),
        max_size=60,
    ),
    start_ns=st.sampled_from([None, 123_456_789]),
)
def test_annotations_read_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, rows: list, start_ns: int | None
) -> None:
    path = tmp_path_factory.mktemp("w") / "r.edf"
    rows.sort(key=lambda row: row[0])
    columns = list(zip(*rows, strict=True)) or [()] * 6
    given_ = Annotations(np.array(columns[0], np.int64), *columns[1:])
    write_edf(path, a_recording(np.zeros((1, 1400)), start_ns=start_ns), given_)
    with open_recording(path) as source:
        back = source.annotations()
    assert back.samples.tolist() == given_.samples.tolist()
    for name in ("symbols", "aux", "subtypes", "channels", "nums"):
        assert getattr(back, name) == getattr(given_, name)


def test_a_burst_of_annotations_does_not_swell_every_record(tmp_path: Path) -> None:
    """Texts that do not fit in their data record are in those after it; their times are their own."""
    samples = np.full(2000, 40, np.int64)
    marks = Annotations(samples, ("N",) * 2000)
    write_edf(tmp_path / "r.edf", a_recording(np.zeros((1, 125 * 1000))), marks)
    assert (tmp_path / "r.edf").stat().st_size < 125 * 1000 * 2 + 1000 * 600
    with open_recording(tmp_path / "r.edf") as source:
        assert source.annotations().samples.tolist() == samples.tolist()


def test_durations_of_other_programs_go_out_again(tmp_path: Path) -> None:
    marks = Annotations(np.array([10]), ('"',), ("Apnoe {lasts 1.5 s}",))
    write_edf(tmp_path / "r.edf", a_recording(np.zeros((1, 250))), marks)
    assert edfio.read_edf(tmp_path / "r.edf").annotations[0].duration == 1.5
    with open_recording(tmp_path / "r.edf") as source:
        assert source.annotations().aux == marks.aux


def test_annotations_that_count_at_another_rate_keep_their_time(tmp_path: Path) -> None:
    marks = Annotations(np.array([1000]), ("N",), fs=1000.0)
    write_edf(tmp_path / "r.edf", a_recording(np.zeros((1, 250))), marks)
    with open_recording(tmp_path / "r.edf") as source:
        assert source.annotations().samples.tolist() == [125]


def test_counts_that_do_not_fit_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    info = RecordingInfo("r", 250.0, (Lead("II", 200.0, 0),), 2)
    for counts, suffix in (([40_000, 0], ".edf"), ([2**24, 0], ".bdf"), ([-32768, -(2**31)], ".edf")):
        with pytest.raises(InputInvalid, match="do not fit"):
            write_edf(tmp_path / f"r{suffix}", Recording(info, np.array([counts], np.int32)))
    assert not list(tmp_path.iterdir())


def test_what_separates_texts_is_refused_in_them(tmp_path: Path) -> None:
    marks = Annotations(np.array([0]), ("N",), ("a\x14b",))
    with pytest.raises(InputInvalid, match="separate"):
        write_edf(tmp_path / "r.edf", a_recording(np.zeros((1, 10))), marks)


@given(name=st.text(st.characters(codec="ascii", categories=["L", "N", "P", "Zs"]), min_size=1, max_size=12))
@example(name="ECGx")
@example(name="EKGs")
@example(name="ECG ")
@example(name="ecg2")
def test_the_name_of_a_lead_reads_back_or_it_is_said(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    path = tmp_path_factory.mktemp("w") / "r.edf"
    info = RecordingInfo("r", 250.0, (Lead(name, 200.0, 0),), 1)
    losses = write_edf(path, Recording(info, np.zeros((1, 1), np.int16)))
    with open_recording(path) as source:
        assert (source.info.leads[0].name == name) == (losses == ())


def test_a_name_that_is_too_long_is_shortened_and_that_is_said(tmp_path: Path) -> None:
    info = RecordingInfo("r", 250.0, (Lead("the left arm of µ", 200.0, 0),), 1)
    losses = write_edf(tmp_path / "r.edf", Recording(info, np.zeros((1, 1), np.int16)))
    assert losses == ("The name of lead the left arm of µ is written as ECG the left arm.",)


def test_a_folder_that_is_not_there_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(RecordingUnreadable, match="cannot be written"):
        write_edf(tmp_path / "no" / "r.edf", a_recording(np.zeros((1, 10))))


def test_the_analysis_of_a_copy_is_that_of_the_original(tmp_path: Path, data: Path) -> None:
    from einthoven.runtime.batch import analyse_source  # noqa: PLC0415 - compiles kernels

    with open_recording(data / "mitdb" / "100") as source:
        part = Recording(
            RecordingInfo("100", source.info.fs, source.info.leads, 36_000), source.read(0, 36_000)
        )
    write_edf(tmp_path / "100.edf", part)
    with open_recording(tmp_path / "100.edf") as copy:
        ours, theirs = analyse_source(copy), analyse_source(part)
    assert ours.beats.positions.tolist() == theirs.beats.positions.tolist()
    assert ours.episodes == theirs.episodes
