"""EDF and BDF in: what others wrote reads as they say it, gaps as gaps, and nothing is guessed."""

import datetime
from pathlib import Path

import edfio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.errors import EinthovenError, InputInvalid, RecordingUnreadable
from einthoven.records import open_recording, read_annotations, write_edf
from einthoven.records.edf import EdfRecording
from einthoven.records.edf_header import is_edf
from einthoven.signal.recording import Lead, Recording, RecordingInfo, missing, span_mv

LOST_16 = missing(np.dtype(np.int16))


def a_signal(
    label: str = "ECG II",
    unit: str = "mV",
    fs: float = 250,
    seconds: int = 4,
    digital: tuple[int, int] = (-32767, 32767),
    physical: tuple[float, float] = (-5.0, 5.0),
    seed: int = 0,
) -> edfio.EdfSignal:
    counts = np.random.default_rng(seed).integers(digital[0], digital[1] + 1, round(seconds * fs))
    return edfio.EdfSignal.from_digital(
        counts.astype(np.int16), fs, label=label, physical_dimension=unit, physical_range=physical,
        digital_range=digital,
    )  # fmt: skip


def an_edf(path: Path, *signals: edfio.EdfSignal, **about) -> Path:
    edfio.Edf(list(signals), **about).write(path)
    return path


def with_bytes(path: Path, at: int, content: bytes) -> Path:
    """The same file with other bytes at a place."""
    whole = bytearray(path.read_bytes())
    whole[at : at + len(content)] = content
    path.write_bytes(bytes(whole))
    return path


def with_column(path: Path, at: int, content: bytes) -> Path:
    """The same file with another field of its first signal; ``at`` is where it lies in a file of one."""
    count = int(path.read_bytes()[252:256])
    return with_bytes(path, 256 + count * (at - 256), content)


def test_what_another_program_wrote_reads_as_the_same_voltages(tmp_path: Path) -> None:
    signals = [a_signal("ECG II"), a_signal("ECG V5", unit="uV", physical=(-3276.7, 3276.7), seed=1)]
    path = an_edf(tmp_path / "a.edf", *signals)
    with open_recording(path) as source:
        assert source.info.fs == 250
        assert [lead.name for lead in source.info.leads] == ["II", "V5"]
        assert source.info.leads[0].gain == 6553.4
        assert source.info.leads[1].gain == 10_000
        np.testing.assert_array_equal(source.read(0, 1000), [one.digital for one in signals])
        np.testing.assert_allclose(span_mv(source, 1, 0, 1000), signals[1].data / 1000, atol=1e-6)


@given(
    starts_s=st.lists(st.integers(0, 3), min_size=3, max_size=3),
    spans=st.lists(st.tuples(st.integers(-5, 3000), st.integers(0, 3000)), min_size=1, max_size=8),
)
def test_any_span_of_a_file_with_gaps_is_a_part_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, starts_s: list[int], spans: list[tuple[int, int]]
) -> None:
    """Four records of a second; before each but the first a gap of so many seconds."""
    path = tmp_path_factory.mktemp("e") / "a.edf"
    signal = a_signal()
    an_edf(path, signal, annotations=[edfio.EdfAnnotation(0.0, None, "x")])
    whole = bytearray(path.read_bytes())
    whole[192:197] = b"EDF+D"
    expected = np.full(250 * (4 + sum(starts_s)), LOST_16)
    for number in (3, 2, 1, 0):
        at_s = number + sum(starts_s[:number])
        if number:
            old = b"+%d\x14\x14\0" % number
            assert whole.count(old) == 1
            whole = whole.replace(old, (b"+%d\x14\x14" % at_s).ljust(len(old), b"\0"))
        expected[250 * at_s : 250 * (at_s + 1)] = signal.digital[250 * number : 250 * (number + 1)]
    path.write_bytes(bytes(whole))
    with open_recording(path) as source:
        assert source.info.samples == expected.size
        for start, length in spans:
            np.testing.assert_array_equal(
                source.read(start, start + length, 0)[0], expected[max(0, start) : max(0, start + length)]
            )


@given(start=st.integers(-5, 1100), length=st.integers(0, 1100), lead=st.sampled_from([None, 0, 1]))
def test_any_span_is_a_part_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, start: int, length: int, lead: int | None
) -> None:
    path = tmp_path_factory.mktemp("e") / "a.edf"
    an_edf(path, a_signal("ECG I"), a_signal("Resp", unit="", fs=25), a_signal("ECG II", seed=1))
    with open_recording(path) as source:
        whole = source.read(0, 1000)
        rows = slice(None) if lead is None else slice(lead, lead + 1)
        expected = whole[rows, max(0, start) : max(0, start + length)]
        np.testing.assert_array_equal(source.read(start, start + length, lead), expected)


def test_what_is_no_ecg_is_left_out_and_named(tmp_path: Path) -> None:
    path = an_edf(
        tmp_path / "psg.edf",
        a_signal("EEG Fpz-Cz", unit="uV", fs=100),
        a_signal("ECG", fs=250),
        a_signal("ECG HR", unit="bpm", fs=1),
    )
    with open_recording(path) as source:
        assert [lead.name for lead in source.info.leads] == ["ECG"]
        assert source.info.fs == 250
        assert source.remarks == ("Left out, because they are no ECG: EEG Fpz-Cz, ECG HR.",)


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("ECG", "ECG"),
        ("EKG1", "EKG1"),
        ("ECG aVR", "aVR"),
        ("MLII", "MLII"),
        ("V5", "V5"),
        ("ecg-2", "ecg-2"),
    ],
)
def test_an_ecg_is_known_by_its_label(tmp_path: Path, label: str, name: str) -> None:
    with open_recording(an_edf(tmp_path / "a.edf", a_signal(label))) as source:
        assert source.info.leads[0].name == name


@pytest.mark.parametrize("label", ["", "EEG", "ECGating", "Chan 1", "VIII"])
def test_a_file_without_a_labelled_ecg_is_refused_with_what_it_has(tmp_path: Path, label: str) -> None:
    path = an_edf(tmp_path / "a.edf", a_signal(label))
    with pytest.raises(RecordingUnreadable, match=f"labelled as an ECG; there are '{label}'"):
        open_recording(path)


@pytest.mark.parametrize("unit", ["", "mmHg", "au", "mVolt"])
def test_an_ecg_in_an_unknown_unit_is_refused_not_guessed(tmp_path: Path, unit: str) -> None:
    path = an_edf(tmp_path / "a.edf", a_signal(unit=unit))
    with pytest.raises(RecordingUnreadable, match="unit"):
        open_recording(path)


@pytest.mark.parametrize(
    ("unit", "counts_per_mv"), [("V", 6.5534), ("mV", 6553.4), ("uV", 6_553_400.0), ("\u00b5V", 6_553_400.0)]
)
def test_volts_are_known_in_their_sizes(tmp_path: Path, unit: str, counts_per_mv: float) -> None:
    path = with_column(an_edf(tmp_path / "a.edf", a_signal()), 352, unit.ljust(8).encode("latin-1"))
    with open_recording(path) as source:
        assert source.info.leads[0].gain == counts_per_mv


def test_leads_of_different_rates_are_refused(tmp_path: Path) -> None:
    path = an_edf(tmp_path / "a.edf", a_signal("ECG I", fs=250), a_signal("ECG II", fs=500))
    with pytest.raises(RecordingUnreadable, match="different sampling rates: 250, 500"):
        open_recording(path)


def test_a_zero_between_two_counts_is_taken_at_the_nearest_and_said(tmp_path: Path) -> None:
    path = an_edf(tmp_path / "a.edf", a_signal(digital=(-32768, 32767), physical=(-5.0, 5.0)))
    with open_recording(path) as source:
        lead = source.info.leads[0]
        assert (lead.gain, lead.baseline) == (6553.5, 0)
        assert source.remarks == (
            "The zero of II lies between two counts and is taken at the nearest, at most 0.076 µV off.",
        )


def test_the_smallest_sample_of_another_program_is_a_sample(tmp_path: Path) -> None:
    """Only a file that says so has missing samples; a converter at its rail is not one that was off."""
    signal = edfio.EdfSignal.from_digital(
        np.array([-32768, 0] * 125, np.int16), 250, label="ECG", physical_dimension="mV",
        physical_range=(-3.2768, 3.2767),
    )  # fmt: skip
    with open_recording(an_edf(tmp_path / "a.edf", signal)) as source:
        assert source.read(0, 2).tolist() == [[-32768, 0]]
        assert not np.isnan(span_mv(source, 0, 0, 250)).any()


def test_an_inverted_range_is_turned_so_that_the_gain_is_positive(tmp_path: Path) -> None:
    path = an_edf(tmp_path / "a.edf", a_signal(physical=(-5.0, 5.0)))
    digital = edfio.read_edf(path).signals[0].digital
    with_column(path, 360, b"5".ljust(8))
    with_column(path, 368, b"-5".ljust(8))
    with open_recording(path) as source:
        assert source.info.leads[0].gain == 6553.4
        np.testing.assert_array_equal(source.read(0, 1000)[0], -digital.astype(np.int32))


def test_the_start_is_read_to_the_fraction_of_a_second(tmp_path: Path) -> None:
    path = an_edf(
        tmp_path / "a.edf",
        a_signal(),
        recording=edfio.Recording(startdate=datetime.date(2026, 11, 25)),
        starttime=datetime.time(10, 0, 0, 250_000),
        annotations=[edfio.EdfAnnotation(1.0, None, "Lights off")],
    )
    with open_recording(path) as source:
        assert source.info.start_ns == 1_795_600_800_250_000_000
        assert source.annotations().samples.tolist() == [250]


@pytest.mark.parametrize(
    ("day", "start_ns"),
    [(b"01.01.85", 473_385_600 * 10**9), (b"31.12.84", 3_629_059_200 * 10**9), (b"nonsense", None)],
)
def test_a_plain_file_has_two_digits_of_the_year(tmp_path: Path, day: bytes, start_ns: int | None) -> None:
    path = with_bytes(an_edf(tmp_path / "a.edf", a_signal()), 168, day + b"00.00.00")
    with_bytes(path, 88, b"device 7".ljust(80))
    with open_recording(path) as source:
        assert source.info.start_ns == start_ns


def test_an_unknown_date_is_no_start(tmp_path: Path) -> None:
    with open_recording(an_edf(tmp_path / "a.edf", a_signal())) as source:
        assert source.info.start_ns is None


def test_texts_of_other_programs_are_notes_with_their_duration(tmp_path: Path) -> None:
    """A text N may be anything; only our own files say that texts are symbols of annot(5)."""
    path = an_edf(
        tmp_path / "a.edf",
        a_signal(),
        annotations=[edfio.EdfAnnotation(2.0, 1.5, "Apnoe \u00e9"), edfio.EdfAnnotation(0.5, None, "N")],
    )
    with open_recording(path) as source:
        found = source.annotations()
    assert found.symbols == ('"', '"')
    assert found.aux == ("N", "Apnoe \u00e9 {lasts 1.5 s}")
    assert found.samples.tolist() == [125, 500]


def test_who_the_patient_is_is_nowhere(tmp_path: Path, capsys) -> None:
    path = an_edf(
        tmp_path / "a.edf",
        a_signal(),
        patient=edfio.Patient(code="MRN7", name="Ada_Lovelace", sex="F"),
        recording=edfio.Recording(investigator_technician_code="Babbage"),
    )
    with EdfRecording(path) as source:
        said = repr(source.info) + repr(source.header) + "".join(source.remarks)
        assert source.remarks[-1] == "What the header says of patient, place and equipment is left out."
        write_edf(tmp_path / "b.edf", source)
    with pytest.raises(EinthovenError) as caught:
        open_recording(with_bytes(path, 244, b"x".ljust(8)))
    said += str(caught.value) + capsys.readouterr().out + (tmp_path / "b.edf").read_text("latin-1")
    assert not any(word in said for word in ("MRN7", "Ada", "Lovelace", "Babbage"))


def test_gaps_of_another_program_are_missing_samples(tmp_path: Path) -> None:
    """A continuous file with annotations, made discontinuous by its records' own times."""
    path = an_edf(tmp_path / "a.edf", a_signal(seconds=4), annotations=[edfio.EdfAnnotation(0.0, None, "x")])
    digital = edfio.read_edf(path).signals[0].digital
    whole = bytearray(path.read_bytes())
    whole[192:197] = b"EDF+D"
    for old, new in ((b"+2\x14\x14", b"+5\x14\x14"), (b"+3\x14\x14", b"+6\x14\x14")):
        assert whole.count(old) == 1
        whole = whole.replace(old, new)
    path.write_bytes(bytes(whole))
    with open_recording(path) as source:
        assert source.info.samples == 1750
        counts = source.read(0, 1750)[0]
        np.testing.assert_array_equal(counts[:500], digital[:500])
        assert (counts[500:1250] == LOST_16).all()
        np.testing.assert_array_equal(counts[1250:], digital[500:])
        for first, last in ((450, 1300), (600, 700), (600, 1300), (500, 1250), (400, 600), (1249, 1251)):
            np.testing.assert_array_equal(source.read(first, last, 0)[0], counts[first:last])
    whole = bytearray(path.read_bytes()).replace(b"+6\x14\x14", b"+4\x14\x14")
    path.write_bytes(bytes(whole))
    with pytest.raises(RecordingUnreadable, match="data record 3 begins before"):
        open_recording(path)


@pytest.mark.parametrize(
    ("at", "content", "why"),
    [
        (244, b"x", "duration of a data record"),
        (244, b"0", "no length"),
        (236, b"99", "promises 99 data records; the file has 4"),
        (236, b"-2", "negative"),
        (376, b"32767", "empty range"),
        (360, b"5", "empty range"),
        (360, b"1/3", "must be a number"),
        (360, b"1e999999", "must be a number"),
        (472, b"-4", "negative"),
        (184, b"512", "header of 768 bytes"),
    ],
)
def test_a_header_that_cannot_be_is_refused(tmp_path: Path, at: int, content: bytes, why: str) -> None:
    path = an_edf(tmp_path / "a.edf", a_signal(), annotations=[edfio.EdfAnnotation(0.0, None, "x")])
    with pytest.raises(RecordingUnreadable, match=why):
        open_recording((with_bytes if at < 256 else with_column)(path, at, content.ljust(8)))


def test_a_file_that_is_still_written_has_its_whole_records(tmp_path: Path) -> None:
    path = with_bytes(an_edf(tmp_path / "a.edf", a_signal()), 236, b"-1".ljust(8))
    path.write_bytes(path.read_bytes()[:-1])
    with open_recording(path) as source:
        assert source.info.samples == 750


def test_what_the_caller_says_must_not_contradict_the_file(tmp_path: Path) -> None:
    path = an_edf(tmp_path / "a.edf", a_signal())
    open_recording(path, fs=250, gain=6553.4).close()
    with pytest.raises(InputInvalid, match="the file says 250"):
        open_recording(path, fs=500)


def test_the_content_tells_the_format_not_the_name(tmp_path: Path) -> None:
    path = an_edf(tmp_path / "a.edf", a_signal()).rename(tmp_path / "a.csv")
    with open_recording(path) as source:
        assert source.info.fs == 250
    (tmp_path / "b.edf").write_text("1\n" * 400)
    with open_recording(tmp_path / "b.edf") as source:
        assert source.info.samples == 400


def test_an_annotation_reader_says_where_those_of_an_edf_are(tmp_path: Path) -> None:
    with pytest.raises(RecordingUnreadable, match="EDF file"):
        read_annotations(an_edf(tmp_path / "a.edf", a_signal()))


@given(at=st.integers(0, 1200), content=st.binary(min_size=1, max_size=40), cut=st.integers(0, 3000))
def test_a_damaged_file_is_read_or_refused_and_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, at: int, content: bytes, cut: int
) -> None:
    path = tmp_path_factory.mktemp("e") / "a.edf"
    counts = np.arange(500, dtype=np.int16)[None, :]
    info = RecordingInfo("r", 125.0, (Lead("II", 200.0, 0),), 500)
    write_edf(path, Recording(info, counts))
    with_bytes(path, at, content)
    whole = path.read_bytes()
    path.write_bytes(whole[: max(0, len(whole) - cut)] if cut < 1500 else whole)
    try:
        with EdfRecording(path) as source:
            assert source.read(0, min(10_000, source.info.samples)).shape[0] == len(source.info.leads)
            source.annotations()
    except EinthovenError:
        pass


@pytest.mark.parametrize("ending", [".edf", ".bdf", ".ecg"])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is empty"),
        (b"0    ", "does not begin as"),
        (b"0       ", "does not begin as"),
        (b"0       X X X X".ljust(200), "does not begin as"),
        (b"\xffBIOSEMI", "does not begin as"),
        (b"ISHNE", "does not begin as"),
        (b"hello world", "does not begin as"),
        (b"<html>\n<body>\n", "does not begin as"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_told_so(
    tmp_path: Path, ending: str, content: bytes, why: str
) -> None:
    path = tmp_path / f"r{ending}"
    path.write_bytes(content)
    with pytest.raises(RecordingUnreadable, match=why):
        open_recording(path)


def test_only_the_first_words_of_a_header_are_one() -> None:
    assert not is_edf(b"0       ")
    assert not is_edf(b"0       " + b"1\n" * 400)
