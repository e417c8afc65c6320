"""ISHNE Holter files: the layout of the paper, the checksum, and refusals."""

import binascii
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.errors import EinthovenError, InputInvalid, RecordingUnreadable
from einthoven.records import open_recording
from einthoven.records.ishne import IshneRecording, ishne_start_ns, write_ishne
from einthoven.signal.recording import Lead, Recording, RecordingInfo, missing

LOST = missing(np.dtype(np.int16))


def a_recording(counts: np.ndarray, baseline: int = 0, start_ns: int | None = None) -> Recording:
    names = ("I", "II", "V1", "V5")
    leads = tuple(Lead(names[n], 200.0, baseline) for n in range(counts.shape[0]))
    return Recording(RecordingInfo("r", 180.0, leads, counts.shape[1], start_ns), counts.astype(np.int16))


def a_file(
    path: Path, samples: np.ndarray, said: int | None = None, block: bytes = b"", name: bytes = b""
) -> Path:
    """A file as the paper has it, written field by field."""
    leads = samples.shape[1]
    header = struct.pack(
        "<iiiih40s40s20shh3h3h3h3hh12h12h12hh40sh80s80s88s",
        len(block), samples.size if said is None else said, 522, 522 + len(block), 1, name, b"", b"", 0, 0,
        0, 0, 0, 25, 11, 2026, 0, 0, 0, 10, 30, 15, leads, *[11, 15] + [-9] * 10, *[0] * 12,
        *[5000, 2500] + [-9] * 10, 0, b"", 200, b"", b"", b"",
    )  # fmt: skip
    assert len(header) == 512
    checksum = struct.pack("<H", binascii.crc_hqx(header + block, 0xFFFF))
    path.write_bytes(b"ISHNE1.0" + checksum + header + block + samples.astype("<i2").tobytes())
    return path


@pytest.mark.parametrize("per_lead", [False, True])
def test_a_file_is_read_as_the_paper_has_it(tmp_path: Path, per_lead: bool) -> None:
    samples = np.arange(2000).reshape(1000, 2)
    path = a_file(tmp_path / "a.ecg", samples, 1000 if per_lead else 2000, block=b"some words")
    with open_recording(path) as source:
        assert source.info.leads == (Lead("V1", 200.0, 0), Lead("V5", 400.0, 0))
        assert (source.info.fs, source.info.samples) == (200.0, 1000)
        assert source.info.start_ns == 1_795_602_615 * 10**9
        np.testing.assert_array_equal(source.read(-5, 10_000), samples.T)
        np.testing.assert_array_equal(source.read(100, 200, 1)[0], samples[100:200, 1])
        assert source.remarks == ()


@given(
    leads=st.integers(1, 4),
    samples=st.integers(0, 400),
    baseline=st.integers(-1000, 1000),
    start_s=st.none() | st.integers(0, 10**10),
    seed=st.integers(0, 99),
)
def test_what_is_written_reads_back_as_the_same_voltages(
    tmp_path_factory: pytest.TempPathFactory, leads, samples, baseline, start_s, seed
) -> None:
    path = tmp_path_factory.mktemp("i") / "r.ecg"
    counts = np.random.default_rng(seed).integers(-20_000, 20_000, (leads, samples)).astype(np.int16)
    counts[:, ::9] = LOST
    start_ns = None if start_s is None else start_s * 10**9
    assert write_ishne(path, a_recording(counts, baseline, start_ns)) == ()
    with open_recording(path) as source:
        back = source.read(0, samples)
        np.testing.assert_array_equal(back == LOST, counts == LOST)
        np.testing.assert_array_equal(back[back != LOST], counts[counts != LOST] - baseline)
        assert source.info.fs == 180.0
        assert [lead.gain for lead in source.info.leads] == [200.0] * leads
        assert source.info.start_ns == start_ns


def test_the_checksum_is_the_one_of_the_standard() -> None:
    """CRC-CCITT with the polynomial 0x1021 and the start 0xFFFF: 0x29B1 for the digits 1 to 9."""
    assert binascii.crc_hqx(b"123456789", 0xFFFF) == 0x29B1


@given(at=st.integers(8, 521), value=st.integers(0, 255))
def test_a_header_that_was_changed_is_refused(
    tmp_path_factory: pytest.TempPathFactory, at: int, value: int
) -> None:
    path = tmp_path_factory.mktemp("i") / "r.ecg"
    write_ishne(path, a_recording(np.ones((2, 100))))
    whole = bytearray(path.read_bytes())
    was, whole[at] = whole[at], value
    path.write_bytes(bytes(whole))
    if was == value:
        IshneRecording(path).close()
    else:
        with pytest.raises(RecordingUnreadable):
            open_recording(path)


@given(cut=st.integers(0, 900))
def test_a_file_that_was_cut_is_refused(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("i") / "r.ecg"
    write_ishne(path, a_recording(np.ones((2, 100))))
    path.write_bytes(path.read_bytes()[: -1 - cut])
    with pytest.raises(EinthovenError):
        open_recording(path)


def test_a_number_of_samples_that_is_neither_is_refused(tmp_path: Path) -> None:
    path = a_file(tmp_path / "a.ecg", np.zeros((1000, 2)), 999)
    with pytest.raises(RecordingUnreadable, match="says 999 samples; the file has 2000 of 2 leads"):
        open_recording(path)


def test_who_the_patient_is_is_not_told(tmp_path: Path) -> None:
    path = a_file(tmp_path / "a.ecg", np.zeros((10, 2)), name=b"Ada")
    with open_recording(path) as source:
        assert source.remarks == ("What the header says of patient and recorder is left out.",)
        assert "Ada" not in repr(source.info)


def test_what_the_format_does_not_hold_is_said_or_refused(tmp_path: Path) -> None:
    def written(
        lead: Lead, fs: float = 200.0, start_ns: int | None = None, count: int = 1
    ) -> tuple[str, ...]:
        info = RecordingInfo("r", fs, (lead,) * count, 1, start_ns)
        return write_ishne(tmp_path / "r.ecg", Recording(info, np.full((count, 1), 7, np.int16)))

    assert written(Lead("MLII", 306.7, 0), start_ns=1) == (
        "The gain of lead MLII is written to 1e+02 parts in a million.",
        "ISHNE has no code for lead MLII; it is written as unknown.",
        "The start is written to the second.",
    )
    with pytest.raises(InputInvalid, match="whole sampling rates"):
        written(Lead("II", 200.0, 0), fs=128.5)
    for gain in (20.0, 3e6):
        with pytest.raises(InputInvalid, match="nV a count"):
            written(Lead("II", gain, 0))
    with pytest.raises(InputInvalid, match="1 to 12 leads"):
        written(Lead("II", 200.0, 0), count=13)
    with pytest.raises(InputInvalid, match="16 bits from their baseline"):
        written(Lead("II", 200.0, -32_765))


def test_only_a_header_has_a_start() -> None:
    assert ishne_start_ns(b"ISHNE1.0") is None
    assert ishne_start_ns(b"ISHNE1.0" + bytes(514)) is None
