"""Recordings as text: integers one a row, and JSON; anything else is refused with the row's number."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.errors import EinthovenError, InputInvalid, RecordingUnreadable
from einthoven.records import open_recording
from einthoven.signal.recording import missing

LOST = missing(np.dtype(np.int32))
COUNTS = st.integers(-(2**31) + 1, 2**31 - 1)


@given(
    rows=st.integers(1, 3).flatmap(
        lambda n: st.lists(st.lists(COUNTS, min_size=n, max_size=n), min_size=1, max_size=40)
    ),
    header=st.booleans(),
    end=st.sampled_from(["\n", "\r\n"]),
    trailing=st.booleans(),
    span=st.tuples(st.integers(0, 45), st.integers(0, 45)),
)
def test_csv_reads_back_any_span(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[list[int]],
    header: bool,
    end: str,
    trailing: bool,
    span: tuple[int, int],
) -> None:
    path = tmp_path_factory.mktemp("csv") / "r.csv"
    names = [f"lead {n}" for n in range(len(rows[0]))]
    lines = ([",".join(names)] if header else []) + [",".join(map(str, row)) for row in rows]
    path.write_bytes((end.join(lines) + (end if trailing else "")).encode())
    with open_recording(path, fs=250, gain=100) as source:
        assert source.info.samples == len(rows)
        assert source.info.fs == 250
        assert not header or [lead.name for lead in source.info.leads] == names
        np.testing.assert_array_equal(source.read(*span), np.array(rows).T[:, span[0] : span[1]])


def test_a_long_csv_is_read_in_constant_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    counts = np.arange(600_000) % 1024
    path.write_text("\n".join(map(str, counts)))
    with open_recording(path) as source:
        tracemalloc.start()
        for start in range(0, source.info.samples, 20_000):
            np.testing.assert_array_equal(
                source.read(start, start + 20_000)[0], counts[start : start + 20_000]
            )
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 10 * 2**20


def test_the_articles_file_is_one_lead_at_125_hz(tmp_path: Path) -> None:
    (tmp_path / "ecg.txt").write_text("512\n513\n\n511\n")
    with open_recording(tmp_path / "ecg.txt") as source:
        assert (source.info.fs, source.info.samples, len(source.info.leads)) == (125.0, 4, 1)
        assert source.read(0, 4).tolist() == [[512, 513, LOST, 511]]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"1\n2\nx\n", "sample 2: not a whole number"),
        (b"1\n2.5\n", "sample 1: not a whole number"),
        (b"1\nnan\n", "sample 1: not a whole number"),
        (b"1,2\n3\n", "sample 1: 1 values instead of 2"),
        (b"1\n99999999999\n", "sample 1: .* does not fit in 32 bits|sample 1: a number that does not fit"),
        (b"\xff\xfe1\n2\n", "neither numbers nor names"),
        (b"\x00\x01\x02\x03\n", "neither numbers nor names"),
        (b"1" * 5000, "too long to be one of samples"),
        (b"1\n" + b"2" * 10_000 + b"\n", "a row has more than"),
    ],
)
def test_a_csv_that_is_none_names_the_row(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "r.csv").write_bytes(content)
    with (
        pytest.raises(RecordingUnreadable, match=says) as caught,
        open_recording(tmp_path / "r.csv") as source,
    ):
        source.read(0, 10)
    assert "99999999999" not in str(caught.value), "no sample is repeated in an error"


def test_an_empty_file_is_an_empty_recording(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_bytes(b"")
    with open_recording(tmp_path / "r.csv") as source:
        assert source.info.samples == 0
        assert source.read(0, 10).shape == (1, 0)


@given(samples=st.lists(COUNTS | st.none(), max_size=50), bare=st.booleans())
def test_json_reads_back(
    tmp_path_factory: pytest.TempPathFactory, samples: list[int | None], bare: bool
) -> None:
    path = tmp_path_factory.mktemp("json") / "r.json"
    whole = {
        "patientId": "p",
        "startTime": "2026-11-25T10:00:00Z",
        "fs": 250,
        "gain": 100,
        "samples": samples,
    }
    path.write_text(json.dumps(samples if bare else whole))
    with open_recording(path) as source:
        assert source.info.fs == (125 if bare else 250)
        assert (source.info.start_ns is None) == bare
        expected = [LOST if value is None else value for value in samples]
        assert source.read(0, 100).tolist() == [expected]


@pytest.mark.parametrize(
    "content",
    [
        b"[1, 2",
        b"[1, NaN]",
        b"[1, Infinity]",
        b"[1, 2.5]",
        b'["1"]',
        b"[[1]]",
        b"{}",
        b'{"samples": 3}',
        b'{"samples": [1], "fs": "fast"}',
        b'{"samples": [1e400]}',
        b'{"samples": [123456789012]}',
        b"\xff\xfe[1]",
        b'{"samples": [1], "startTime": "yesterday"}',
        b"[" * 100_000,
        b'{"samples":' * 50_000,
        b'{"samples": [' + b"[" * 100_000 + b"]}",
        b"",
    ],
)
def test_json_that_is_no_recording_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(RecordingUnreadable, match=r"not a JSON recording|not text|neither") as caught:
        open_recording(tmp_path / "r.json")
    assert caught.value.remedy


@pytest.mark.parametrize(
    "field", ['"fs": 1e9', '"fs": 0', '"gain": 0', '"gain": 1e300', '"baseline": 9999999999']
)
def test_json_with_absurd_settings_is_refused(tmp_path: Path, field: str) -> None:
    (tmp_path / "r.json").write_text(f'{{"samples": [1, 2], {field}}}')
    with pytest.raises(InputInvalid):
        open_recording(tmp_path / "r.json")


def test_a_json_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    """A sparse file: it claims 300 MB and holds nothing."""
    with (tmp_path / "r.json").open("wb") as file:
        file.write(b"[")
        file.truncate(300 * 2**20)
    with pytest.raises(RecordingUnreadable, match="more than"):
        open_recording(tmp_path / "r.json")


@given(content=st.binary(max_size=300), suffix=st.sampled_from([".csv", ".json", ".txt", ".dat", ".hea", ""]))
def test_any_file_gives_a_recording_or_a_typed_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str
) -> None:
    path = tmp_path_factory.mktemp("any") / f"r{suffix}"
    path.write_bytes(content)
    try:
        with open_recording(path) as source:
            source.read(0, 1000)
    except EinthovenError as error:
        assert error.fault == "caller"
