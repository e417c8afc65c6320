"""WFDB recordings: the oracle is the ``wfdb`` package; nothing in a header is believed unchecked."""

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import wfdb
from hypothesis import given
from hypothesis import strategies as st

from einthoven.errors import (
    EinthovenError,
    InputInvalid,
    RecordingNotFound,
    RecordingUnreadable,
    ReferenceRefused,
)
from einthoven.records import open_recording
from einthoven.records.formats import FORMATS
from einthoven.signal.recording import missing

LOST = missing(np.dtype(np.int16))


def record_names(data: Path) -> list[Path]:
    names = []
    for database in ("mitdb", "cudb", "nsrdb", "nstdb", "cinc2017"):
        lines = (data / database / "RECORDS").read_text().split()
        names += [data / database / name for name in lines[:48]]
    return names


def test_every_real_recording_reads_as_the_oracle_reads_it(data) -> None:
    for path in record_names(data):
        truth = wfdb.rdrecord(str(path), sampto=20_000 if "cinc" not in str(path) else None, physical=False)
        with open_recording(path) as source:
            counts = source.read(0, truth.sig_len)
            info = source.info
        different = counts != truth.d_signal.T
        assert (counts[different] == LOST).all(), f"{path.name} differs where no sample is missing"
        assert info.fs == truth.fs
        assert [lead.name for lead in info.leads] == truth.sig_name
        assert [lead.gain for lead in info.leads] == truth.adc_gain
        assert [lead.baseline for lead in info.leads] == truth.baseline


def test_missing_samples_are_those_the_oracle_reads_as_nan(data) -> None:
    path = data / "cudb" / "cu02"
    truth = wfdb.rdrecord(str(path))
    with open_recording(path) as source:
        counts = source.read(0, source.info.samples)
    np.testing.assert_array_equal(counts == LOST, np.isnan(truth.p_signal.T))


@given(cuts=st.lists(st.integers(0, 650_000), min_size=2, max_size=2), lead=st.sampled_from([None, 0, 1]))
def test_a_span_is_the_same_span_of_the_whole(data, cuts: list[int], lead: int | None) -> None:
    start, stop = sorted(cuts)
    start, stop = min(start, 649_999), min(stop, start + 20_000)
    with open_recording(data / "mitdb" / "100") as source:
        whole = wfdb.rdrecord(
            str(data / "mitdb" / "100"), sampfrom=start, sampto=max(stop, start + 1), physical=False
        )
        span = source.read(start, stop, lead)
    expected = whole.d_signal.T[:, : stop - start]
    np.testing.assert_array_equal(span, expected if lead is None else expected[lead : lead + 1])


@pytest.mark.parametrize("name", ["100", "100.hea", "100.dat"])
def test_a_record_is_named_by_its_stem_its_header_or_its_signals(data, name: str) -> None:
    with open_recording(data / "mitdb" / name) as source:
        assert source.info.name == "100"


@pytest.mark.parametrize("wfdb_format", ["16", "24", "32", "80", "212", "61", "160"])
def test_formats_read_back_what_the_oracle_wrote(tmp_path: Path, wfdb_format: str) -> None:
    rng = np.random.default_rng(int(wfdb_format))
    limit = {"80": 127, "212": 2047}.get(wfdb_format, 30_000)
    if wfdb_format in {"24", "32"}:
        limit = 8_000_000
    counts = rng.integers(-limit, limit + 1, (1001, 3))
    if wfdb_format in {"61", "160"}:
        pack = ">i2" if wfdb_format == "61" else "<u2"
        (tmp_path / "r.dat").write_bytes(
            (counts + (32768 if wfdb_format == "160" else 0)).astype(pack).tobytes()
        )
        lines = "".join(f"r.dat {wfdb_format} 200 16 0 0 0 0 L{n}\n" for n in range(3))
        (tmp_path / "r.hea").write_text(f"r 3 250 1001\n{lines}")
    else:
        wfdb.wrsamp(
            "r",
            250,
            ["mV"] * 3,
            ["I", "II", "V1"],
            d_signal=counts,
            fmt=[wfdb_format] * 3,
            adc_gain=[200] * 3,
            baseline=[0] * 3,
            write_dir=str(tmp_path),
        )
    with open_recording(tmp_path / "r") as source:
        assert source.info.samples == 1001
        np.testing.assert_array_equal(source.read(0, 1001), counts.T)
        np.testing.assert_array_equal(source.read(500, 777, 1), counts.T[1:2, 500:777])


@given(values=st.lists(st.integers(-511, 511), min_size=3, max_size=30).filter(lambda v: len(v) % 3 == 0))
def test_the_packed_formats_are_unpacked_as_their_page_says(values: list[int]) -> None:
    """signal(5): 310 packs three 10-bit samples into two words, 311 into one of 32 bits."""
    packed_310, packed_311 = b"", b""
    for a, b, c in zip(values[::3], values[1::3], values[2::3], strict=True):
        third = c & 0x3FF
        packed_310 += struct.pack(
            "<HH", ((a & 0x3FF) << 1) | ((third & 0x1F) << 11), ((b & 0x3FF) << 1) | ((third >> 5) << 11)
        )
        packed_311 += struct.pack("<I", (a & 0x3FF) | ((b & 0x3FF) << 10) | (third << 20))
    assert FORMATS[310].decode(np.frombuffer(packed_310, np.uint8)).tolist() == values
    assert FORMATS[311].decode(np.frombuffer(packed_311, np.uint8)).tolist() == values


def a_record(folder: Path, header: str, content: bytes = b"\0" * 64) -> Path:
    (folder / "r.hea").write_text(header)
    (folder / "r.dat").write_bytes(content)
    return folder / "r"


def test_a_truncated_file_says_how_many_bytes_are_missing(tmp_path: Path) -> None:
    path = a_record(tmp_path, "r 1 250 1000\nr.dat 16 200 12 0 0 0 0 II\n")
    with pytest.raises(RecordingUnreadable, match=r"1000 samples, 2000 bytes; the file has 64") as caught:
        open_recording(path)
    assert caught.value.where.endswith("r.dat")
    assert caught.value.remedy


def test_an_absurd_length_does_not_allocate(tmp_path: Path) -> None:
    path = a_record(
        tmp_path, "r 2 250 1000000000000\nr.dat 212 200 12 0 0 0 0 I\nr.dat 212 200 12 0 0 0 0 II\n"
    )
    with pytest.raises(RecordingUnreadable, match="the header promises"):
        open_recording(path)


def test_a_header_without_a_length_takes_the_files(tmp_path: Path) -> None:
    path = a_record(tmp_path, "r 2 250\nr.dat 16 200 12 0 0 0 0 I\nr.dat 16 200 12 0 0 0 0 II\n")
    with open_recording(path) as source:
        assert source.info.samples == 16


@pytest.mark.parametrize("name", ["../r.dat", "/etc/passwd", "a/b.dat", "..", ".", "a\\b"])
def test_a_header_may_not_point_outside_its_folder(tmp_path: Path, name: str) -> None:
    path = a_record(tmp_path, f"r 1 250 10\n{name} 16 200 12 0 0 0 0 II\n")
    with pytest.raises(ReferenceRefused, match="outside its own folder"):
        open_recording(path)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("", "the header is empty"),
        ("r\n", "line 1: the record line needs"),
        ("r x 250 10\n", "line 1: the number of signals"),
        ("r 1 abc 10\n", "line 1: the sampling rate"),
        ("r 1 250 -4\n", "line 1: the number of samples"),
        ("r 2 250 10\nr.dat 16\n", "2 signal lines are announced and 1 follow"),
        ("r 1 250 10\nr.dat\n", "line 2: a signal line needs"),
        ("r 1 250 10\nr.dat flac\n", "line 2: the signal's format"),
        ("r 1 250 10\nr.dat 99\n", "signal format 99 is not read"),
        ("r 1 250 10\nr.dat 16 1e999 12 0 0 0 0 II\n", "the gain is inf"),
        ("r 1 250 10\nr.dat 16 -5 12 0 0 0 0 II\n", "the gain is -5"),
        ("r 1 1e9 10\nr.dat 16 200 12 0 0 0 0 II\n", "the sampling rate is 1e\\+09 Hz"),
        ("r 1 nan 10\nr.dat 16 200 12 0 0 0 0 II\n", "the sampling rate is nan Hz"),
        ("r 1 250 10\nr.dat 16:5 200 12 0 0 0 0 II\n", "skewed"),
        ("r 9999 250 10\n", "at most 512"),
        ("r 0 250 10\n", "no signals"),
    ],
)
def test_a_wrong_header_names_the_line_and_the_remedy(tmp_path: Path, header: str, says: str) -> None:
    path = a_record(tmp_path, header)
    with pytest.raises(EinthovenError, match=says) as caught:
        open_recording(path)
    assert caught.value.fault == "caller"


def test_a_binary_header_is_said_to_be_no_text(tmp_path: Path) -> None:
    (tmp_path / "r.hea").write_bytes(b"r 1 \xff\xfe 250\n")
    with pytest.raises(RecordingUnreadable, match="not text"):
        open_recording(tmp_path / "r")


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(RecordingNotFound, match="no such file"):
        open_recording(tmp_path / "nothing")
    (tmp_path / "r.hea").write_text("r 1 250 10\nr.dat 16 200 12 0 0 0 0 II\n")
    with pytest.raises(RecordingNotFound, match="no such file"):
        open_recording(tmp_path / "r")
    with pytest.raises(EinthovenError):
        open_recording(tmp_path)
    with pytest.raises(EinthovenError):
        open_recording("a\0b")


@given(
    header=st.binary(max_size=200)
    | st.text(alphabet="r 0123456789.dathe/()+-:x~\n", max_size=200).map(str.encode)
)
def test_any_header_gives_a_recording_or_a_typed_error(
    tmp_path_factory: pytest.TempPathFactory, header: bytes
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "r.hea").write_bytes(header)
    (folder / "r.dat").write_bytes(b"\1\2\3" * 100)
    try:
        with open_recording(folder / "r") as source:
            source.read(0, 10)
    except EinthovenError as error:
        assert error.what
        assert error.fault == "caller"


def segments(folder: Path) -> Path:
    """Two segments of two leads with a gap between; the second lacks a lead (variable layout)."""
    rng = np.random.default_rng(1)
    first, second = rng.integers(-500, 500, (400, 2)), rng.integers(-500, 500, (300, 1))
    common = {"fs": 250, "write_dir": str(folder)}
    wfdb.wrsamp(
        "m_1", units=["mV"] * 2, sig_name=["I", "II"], d_signal=first, fmt=["16"] * 2, adc_gain=[200] * 2,
        baseline=[0] * 2, **common,
    )  # fmt: skip
    wfdb.wrsamp(
        "m_2",
        units=["mV"],
        sig_name=["II"],
        d_signal=second,
        fmt=["16"],
        adc_gain=[200],
        baseline=[0],
        **common,
    )
    (folder / "m_layout.hea").write_text(
        "m_layout 2 250 0\n~ 0 200(0)/mV 16 0 0 0 0 I\n~ 0 200(0)/mV 16 0 0 0 0 II\n"
    )
    (folder / "m.hea").write_text("m/4 2 250 750\nm_layout 0\nm_1 400\n~ 50\nm_2 300\n")
    np.savez(folder / "truth.npz", first=first, second=second)
    return folder / "m"


def test_segments_are_read_as_one_with_gaps_and_absent_leads_missing(tmp_path: Path) -> None:
    path = segments(tmp_path)
    truth = np.load(tmp_path / "truth.npz")
    with open_recording(path) as source:
        assert source.info.samples == 750
        counts = source.read(0, 750)
        np.testing.assert_array_equal(source.read(390, 460, 1), counts[1:2, 390:460])
    np.testing.assert_array_equal(counts[:, :400], truth["first"].T)
    assert (counts[:, 400:450] == LOST).all()
    assert (counts[0, 450:] == LOST).all()
    np.testing.assert_array_equal(counts[1, 450:], truth["second"][:, 0])


def test_segments_that_do_not_add_up_are_refused(tmp_path: Path) -> None:
    path = segments(tmp_path)
    header = path.with_suffix(".hea")
    header.write_text(header.read_text().replace("250 750", "250 751"))
    with pytest.raises(RecordingUnreadable, match="750 samples together; the header says 751"):
        open_recording(path)
    header.write_text("m/1 2 250 750\nm 750\n")
    with pytest.raises(RecordingUnreadable, match="itself made of segments"):
        open_recording(path)


def test_several_samples_per_frame_are_averaged(tmp_path: Path) -> None:
    frames = np.arange(40, dtype="<i2").reshape(10, 4)
    path = a_record(
        tmp_path, "r 2 100 10\nr.dat 16x3 200 12 0 0 0 0 A\nr.dat 16 200 12 0 0 0 0 B\n", frames.tobytes()
    )
    with open_recording(path) as source:
        np.testing.assert_array_equal(source.read(0, 10), [frames[:, 1], frames[:, 3]])


def test_units_are_brought_to_millivolts(tmp_path: Path) -> None:
    path = a_record(tmp_path, "r 1 250 10\nr.dat 16 2(0)/uV 12 0 0 0 0 II\n")
    with open_recording(path) as source:
        assert source.info.leads[0].gain == 2000


def test_a_lead_that_is_no_voltage_is_listed_and_not_read(tmp_path: Path) -> None:
    """Its gain is in counts per mmHg; taken for counts per mV it would be a wrong ECG."""
    path = a_record(tmp_path, "r 2 250 10\nr.dat 16 200 12 0 0 0 0 II\nr.dat 16 10/mmHg 12 0 0 0 0 ABP\n")
    with open_recording(path) as source:
        assert [lead.name for lead in source.info.leads] == ["II", "ABP"]
        assert source.read(0, 10, 0).shape == (1, 10)
        for lead in (1, None):
            with pytest.raises(RecordingUnreadable, match=r"lead 1 \(ABP\) is no voltage.*mmHg"):
                source.read(0, 10, lead)


@pytest.mark.parametrize("lead", [-1, 1, 7])
def test_a_lead_that_is_not_there_is_refused(tmp_path: Path, lead: int) -> None:
    path = a_record(tmp_path, "r 1 250 10\nr.dat 16 200 12 0 0 0 0 II\n")
    with open_recording(path) as source, pytest.raises(InputInvalid, match=f"there is no lead {lead}"):
        source.read(0, 10, lead)


def test_a_rate_or_gain_must_not_contradict_the_header(tmp_path: Path) -> None:
    path = a_record(tmp_path, "r 1 250 10\nr.dat 16 200(5) 12 0 0 0 0 II\n")
    with open_recording(path, fs=250, gain=200, baseline=5) as source:
        assert source.info.fs == 250
    for setting in ({"fs": 360}, {"gain": 100}, {"baseline": 0}):
        with pytest.raises(InputInvalid, match="the file says"):
            open_recording(path, **setting)


@pytest.mark.parametrize(
    "line",
    [
        "r.dat " + "9" * 5000,
        "r.dat 16 200(" + "9" * 5000 + ")",
        "r.dat 16+" + "9" * 30,
        "r.dat 16x" + "9" * 30,
        "r.dat 16+1000",
        "r.dat ١٦",
    ],
)
def test_numbers_without_end_are_a_typed_error(tmp_path: Path, line: str) -> None:
    for samples in ("", " 10"):
        with pytest.raises(RecordingUnreadable):
            open_recording(a_record(tmp_path, f"r 1 250{samples}\n{line}\n"))


def test_a_file_that_shrinks_while_it_is_read_gives_no_invented_zeros(tmp_path: Path) -> None:
    path = a_record(tmp_path, "r 1 250 32\nr.dat 16 200 12 0 0 0 0 II\n", b"\1\0" * 32)
    with open_recording(path) as source:
        (tmp_path / "r.dat").write_bytes(b"\1\0" * 4)
        with pytest.raises(RecordingUnreadable, match="became shorter while it was read: 8 bytes where 20"):
            source.read(0, 10)


@pytest.mark.parametrize("number", sorted(FORMATS))
@pytest.mark.parametrize("samples", range(1, 8))
def test_the_fewest_bytes_that_hold_the_samples_are_enough_and_no_fewer(
    tmp_path: Path, number: int, samples: int
) -> None:
    needed = FORMATS[number].octets_of(samples)
    header = f"r 1 250 {samples}\nr.dat {number} 200 12 0 0 0 0 II\n"
    with open_recording(a_record(tmp_path, header, b"\1" * needed)) as source:
        assert source.read(0, samples).shape == (1, samples)
    with pytest.raises(RecordingUnreadable, match=f"{needed} bytes; the file has {needed - 1}"):
        open_recording(a_record(tmp_path, header, b"\1" * (needed - 1)))


@given(seed=st.integers(0, 999), per_frame=st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_frames_are_averaged_as_the_oracle_does(
    tmp_path_factory: pytest.TempPathFactory, seed: int, per_frame: list[int]
) -> None:
    """The mean is cut towards zero, below zero too."""
    frames = np.random.default_rng(seed).integers(-50, 50, (9, sum(per_frame))).astype("<i2")
    lines = "".join(f"r.dat 16x{count} 200 12 0 0 0 0 L{n}\n" for n, count in enumerate(per_frame))
    header = f"r {len(per_frame)} 100 9\n{lines}"
    path = a_record(tmp_path_factory.mktemp("frames"), header, frames.tobytes())
    truth = wfdb.rdrecord(str(path), physical=False).d_signal.T
    with open_recording(path) as source:
        np.testing.assert_array_equal(source.read(0, 9), truth)


def test_a_sample_lost_in_a_frame_loses_its_mean(tmp_path: Path) -> None:
    frames = np.array([[2, 4], [-32768, 4], [6, 8]], "<i2")
    path = a_record(tmp_path, "r 1 100 3\nr.dat 16x2 200 12 0 0 0 0 A\n", frames.tobytes())
    with open_recording(path) as source:
        assert source.read(0, 3).tolist() == [[3, LOST, 7]]


def test_several_files_offsets_and_formats_make_one_record(tmp_path: Path) -> None:
    narrow, wide = np.array([1, -32768, 3], "<i2"), np.array([70_000, 5, -(2**31)], "<i4")
    (tmp_path / "r.hea").write_text("r 2 250 3\na.dat 16+4 200 12 0 0 0 0 I\nb.dat 32+1 200 12 0 0 0 0 II\n")
    (tmp_path / "a.dat").write_bytes(b"head" + narrow.tobytes())
    (tmp_path / "b.dat").write_bytes(b"h" + wide.tobytes())
    lost = missing(np.dtype(np.int32))
    with open_recording(tmp_path / "r") as source:
        assert source.read(0, 3).tolist() == [[1, lost, 3], [70_000, 5, lost]]
        assert source.read(1, 3, 0).tolist() == [[lost, 3]]


def a_segment(folder: Path, name: str, counts: np.ndarray, line: str, fs: int = 250) -> None:
    (folder / f"{name}.dat").write_bytes(counts.tobytes())
    lines = f"{name}.dat {line}\n" * counts.shape[1]
    (folder / f"{name}.hea").write_text(f"{name} {counts.shape[1]} {fs} {counts.shape[0]}\n{lines}")


def test_leads_of_one_name_are_kept_apart_in_segments(tmp_path: Path) -> None:
    counts = np.arange(8, dtype="<i2").reshape(4, 2)
    a_segment(tmp_path, "m_1", counts, "16 200 12 0 0 0 0 ECG")
    (tmp_path / "m.hea").write_text("m/1 2 250 4\nm_1 4\n")
    with open_recording(tmp_path / "m") as source:
        np.testing.assert_array_equal(source.read(0, 4), counts.T)


@given(span=st.tuples(st.integers(0, 14), st.integers(0, 14)))
def test_a_span_over_segments_has_the_type_and_marks_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, span: tuple[int, int]
) -> None:
    """Whatever values happen to lie in the span: a lost sample is marked alike in every one."""
    folder = tmp_path_factory.mktemp("wide")
    a_segment(folder, "m_1", np.array([[1], [-32768], [3], [4]], "<i2"), "16 200 12 0 0 0 0 II")
    a_segment(folder, "m_2", np.array([[1], [-(2**31)], [3], [70_000]], "<i4"), "32 200 12 0 0 0 0 II")
    (folder / "m.hea").write_text("m/3 1 250\nm_1 4\n~ 3\nm_2 4\n")
    with open_recording(folder / "m") as source:
        whole, part = source.read(0, 11), source.read(*span)
    assert part.dtype == whole.dtype == np.int32
    np.testing.assert_array_equal(part, whole[:, slice(*span)])


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("m_1 4\nnone 5\n", "no such file"),
        ("m_1 5\nm_1 4\n", "has 4 samples; the record says 5"),
        ("m_1 4\nfast 4\n", "is sampled at 500 Hz; the record at 250 Hz"),
        ("m_1 4\n~ 9007199254740992\n", "samples of gaps; more than a year"),
        ("m_1 4\n../m_1 4\n", "outside its own folder"),
        ("m_1 4\nm 4\n", "itself made of segments"),
        ("~ 4\n~ 4\n", "has no segment"),
    ],
)
def test_a_record_of_broken_segments_does_not_open(tmp_path: Path, lines: str, says: str) -> None:
    a_segment(tmp_path, "m_1", np.zeros((4, 1), "<i2"), "16 200 12 0 0 0 0 II")
    a_segment(tmp_path, "fast", np.zeros((4, 1), "<i2"), "16 200 12 0 0 0 0 II", fs=500)
    (tmp_path / "m.hea").write_text(f"m/2 1 250\n{lines}")
    with pytest.raises(EinthovenError, match=says):
        open_recording(tmp_path / "m")


@pytest.mark.parametrize(
    ("fields", "start_ns"),
    [
        ("10:00:00.5 25/11/2026", 1_795_600_800_500_000_000),
        ("10:00 25/11/2026", 1_795_565_400_000_000_000),
        ("10:00:00.9999999 25/11/2026", 1_795_600_800_999_999_900),
        ("10:00:00", None),
        ("25:00:00 25/11/2026", None),
        ("10:00:00 31/2/2026", None),
        ("1:2:3:4 25/11/2026", None),
    ],
)
def test_a_start_is_an_instant_or_nothing(tmp_path: Path, fields: str, start_ns: int | None) -> None:
    """header(5): one part is seconds, two are minutes and seconds; the zone is taken to be UTC."""
    path = a_record(tmp_path, f"r 1 250 10 {fields}\nr.dat 16 200 12 0 0 0 0 II\n")
    with open_recording(path) as source:
        assert source.info.start_ns == start_ns


def test_two_days_are_read_in_constant_memory(tmp_path: Path) -> None:
    """48 h of two leads at 360 Hz, 187 MB in a sparse file; what is held is a chunk and its copies."""
    samples, chunk = 48 * 3600 * 360, 360 * 600
    path = a_record(tmp_path, f"r 2 360 {samples}\n" + "r.dat 212 200 12 0 0 0 0 II\n" * 2)
    with (tmp_path / "r.dat").open("wb") as file:
        file.truncate(samples * 3)
    with open_recording(path) as source:
        tracemalloc.start()
        read = sum(source.read(at, at + chunk).shape[1] for at in range(0, samples, chunk))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert read == samples
    assert peak < 10 * 2**20


def test_a_folder_and_a_closed_recording_are_typed_errors(tmp_path: Path) -> None:
    with pytest.raises(RecordingUnreadable, match="not a regular file"):
        open_recording(tmp_path)
    source = open_recording(a_record(tmp_path, "r 1 250 10\nr.dat 16 200 12 0 0 0 0 II\n"))
    source.close()
    with pytest.raises(RecordingUnreadable, match="cannot be read"):
        source.read(0, 10)


TOKENS = st.sampled_from(
    ["r", "r.dat", "~", "m_1", "1", "2", "0", "250", "16", "212", "310", "16x2", "212:1", "16+3", "16+999",
     "200", "200(0)/mV", "0/uV", "1/mmHg", "-5", "1e9", "r/2", "r/1", "10:00:00", "1/1/2020", "999999999999",
     "II"]
)  # fmt: skip


@given(lines=st.lists(st.lists(TOKENS, max_size=9).map(" ".join), max_size=4), span=st.integers(0, 70))
def test_any_likely_header_gives_a_recording_whose_spans_agree_or_a_typed_error(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], span: int
) -> None:
    folder = tmp_path_factory.mktemp("likely")
    a_segment(folder, "m_1", np.zeros((4, 1), "<i2"), "16 200 12 0 0 0 0 II")
    (folder / "r.dat").write_bytes(bytes(range(120)))
    (folder / "r.hea").write_text("\n".join([f"r {max(len(lines), 1)} 250", *lines]))
    try:
        with open_recording(folder / "r") as source:
            whole = source.read(0, 1000)
            np.testing.assert_array_equal(source.read(span, span + 9), whole[:, span : span + 9])
            assert whole.shape == (len(source.info.leads), min(source.info.samples, 1000))
    except EinthovenError as error:
        assert error.fault == "caller"
