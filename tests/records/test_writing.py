"""WFDB out: exact in ADC counts, and readable by the oracle."""

from pathlib import Path

import numpy as np
import pytest
import wfdb
from hypothesis import given
from hypothesis import strategies as st

from einthoven.errors import InputInvalid, RecordingUnreadable
from einthoven.records import open_recording, write_recording
from einthoven.signal.recording import Lead, Recording, RecordingInfo, missing

LOST = missing(np.dtype(np.int16))


def a_recording(counts: np.ndarray, fs: float = 125.0) -> Recording:
    leads = tuple(Lead(f"L{n}", 200.0 + n, 10 * n) for n in range(counts.shape[0]))
    return Recording(RecordingInfo("r", fs, leads, counts.shape[1]), counts.astype(np.int16))


@given(
    leads=st.integers(1, 3),
    samples=st.integers(1, 200),
    wfdb_format=st.sampled_from([16, 24, 32, 212]),
    seed=st.integers(0, 999),
    lost=st.booleans(),
)
def test_what_is_written_reads_back_exactly(
    tmp_path_factory: pytest.TempPathFactory,
    leads: int,
    samples: int,
    wfdb_format: int,
    seed: int,
    lost: bool,
) -> None:
    folder = tmp_path_factory.mktemp("w")
    counts = np.random.default_rng(seed).integers(-2047, 2048, (leads, samples)).astype(np.int16)
    if lost:
        counts[:, ::7] = LOST
    write_recording(folder / "r", a_recording(counts, 128.5), wfdb_format=wfdb_format)
    with open_recording(folder / "r") as source:
        back = source.read(0, samples)
        np.testing.assert_array_equal(np.where(back == missing(back.dtype), LOST, back), counts)
        assert source.info.fs == 128.5
        assert [lead.gain for lead in source.info.leads] == [200.0 + n for n in range(leads)]


def test_the_oracle_agrees_and_its_checksum_too(tmp_path: Path, data) -> None:
    with open_recording(data / "mitdb" / "207") as source:
        write_recording(tmp_path / "copy", source, wfdb_format=212)
        ours = wfdb.rdrecord(str(tmp_path / "copy"), physical=False)
    theirs = wfdb.rdrecord(str(data / "mitdb" / "207"), physical=False)
    np.testing.assert_array_equal(ours.d_signal, theirs.d_signal)
    assert ours.checksum == theirs.checksum
    assert ours.init_value == theirs.init_value
    assert ours.sig_name == theirs.sig_name


@pytest.mark.parametrize("wfdb_format", [24, 32])
def test_the_oracle_reads_more_than_16_bits(tmp_path: Path, wfdb_format: int) -> None:
    limit = 2 ** (wfdb_format - 1)
    counts = np.random.default_rng(1).integers(-limit + 1, limit, (2, 100)).astype(np.int32)
    leads = (Lead("I", 1e6, 0), Lead("II", 1e6, 7))
    write_recording(
        tmp_path / "r", Recording(RecordingInfo("r", 250.0, leads, 100), counts), wfdb_format=wfdb_format
    )
    read = wfdb.rdrecord(str(tmp_path / "r"), physical=False)
    np.testing.assert_array_equal(read.d_signal.T, counts)


def test_counts_that_do_not_fit_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="do not fit in format 212"):
        write_recording(tmp_path / "r", a_recording(np.full((1, 10), 3000)), wfdb_format=212)
    assert not list(tmp_path.iterdir())


def test_a_bad_name_or_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="letters"):
        write_recording(tmp_path / "a b", a_recording(np.zeros((1, 10))))
    with pytest.raises(RecordingUnreadable, match="cannot be written"):
        write_recording(tmp_path / "no" / "r", a_recording(np.zeros((1, 10))))


@given(
    gain=st.floats(1e-3, 1e7),
    fs=st.floats(50, 1000),
    start_us=st.integers(-(10**15), 10**16) | st.none(),
)
def test_gain_rate_and_start_read_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, gain: float, fs: float, start_us: int | None
) -> None:
    path = tmp_path_factory.mktemp("w") / "r"
    start_ns = None if start_us is None else start_us * 1000
    info = RecordingInfo("r", fs, (Lead("II", gain, -7),), 1, start_ns)
    write_recording(str(path), Recording(info, np.array([[1]], np.int16)))
    with open_recording(path) as source:
        assert source.info == info


def test_the_oracle_reads_the_start(tmp_path: Path) -> None:
    info = RecordingInfo("r", 250.0, (Lead("II", 200.0, 0),), 1, 1_795_600_800_123_456_000)
    write_recording(tmp_path / "r", Recording(info, np.array([[1]], np.int16)))
    assert wfdb.rdheader(str(tmp_path / "r")).base_datetime.isoformat() == "2026-11-25T10:00:00.123456"


@pytest.mark.parametrize("wfdb_format", [16, 212])
def test_an_empty_recording_is_a_recording(tmp_path: Path, wfdb_format: int) -> None:
    write_recording(tmp_path / "r", a_recording(np.zeros((2, 0))), wfdb_format=wfdb_format)
    with open_recording(tmp_path / "r") as source:
        assert source.info.samples == 0
        assert source.read(0, 10).shape == (2, 0)


def test_a_name_cannot_add_a_line_to_the_header(tmp_path: Path) -> None:
    info = RecordingInfo("r", 250.0, (Lead("II\nx.dat 16", 200.0, 0),), 1)
    with pytest.raises(InputInvalid, match="cannot be printed"):
        write_recording(tmp_path / "r", Recording(info, np.array([[1]], np.int16)))
    assert not list(tmp_path.iterdir())


def test_a_start_of_no_era_is_refused(tmp_path: Path) -> None:
    info = RecordingInfo("r", 250.0, (Lead("II", 200.0, 0),), 1, 10**24)
    with pytest.raises(InputInvalid, match="no instant"):
        write_recording(tmp_path / "r", Recording(info, np.array([[1]], np.int16)))


def test_what_was_there_stays_when_writing_fails(tmp_path: Path) -> None:
    write_recording(tmp_path / "r", a_recording(np.ones((1, 10))))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputInvalid):
        write_recording(tmp_path / "r", a_recording(np.full((1, 10), 3000)), wfdb_format=212)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_place_that_is_taken_by_a_folder_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "r.dat").mkdir()
    (tmp_path / "r.hea").mkdir()
    with pytest.raises(RecordingUnreadable, match="cannot be written"):
        write_recording(tmp_path / "r", a_recording(np.ones((1, 10))))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.dat", "r.hea"]


def test_files_are_readable_as_any_other_file_that_is_made_here(tmp_path: Path) -> None:
    """A recording is made to be given on: its rights are those of the folder's other new files."""
    write_recording(tmp_path / "r", a_recording(np.zeros((1, 10))))
    (tmp_path / "other").write_text("")
    for name in ("r.hea", "r.dat"):
        assert (tmp_path / name).stat().st_mode == (tmp_path / "other").stat().st_mode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "r.dat", "r.hea"]
