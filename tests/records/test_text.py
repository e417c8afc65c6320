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


def test_an_empty_json_file_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_bytes(b" \n")
    with pytest.raises(RecordingUnreadable, match="it is empty"):
        open_recording(tmp_path / "r.json")


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


FIELDS = st.sampled_from([b"1", b"-2", b"+3", b"", b" 4", b"-", b"--1", b"1-2", b"1 2", b"5\r", b"1_0", b"x"])


@given(
    rows=st.lists(st.lists(FIELDS, min_size=1, max_size=3), min_size=1, max_size=12),
    separator=st.sampled_from([b",", b";"]),
)
def test_the_quick_and_the_careful_way_agree(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[bytes]], separator: bytes
) -> None:
    """A last row in parentheses spoils no other row, but sends the whole block the careful way."""
    folder = tmp_path_factory.mktemp("ways")
    lines = [separator.join([b"7"] * len(rows[0])), *(separator.join(row) for row in rows)]
    outcomes = []
    for name, end in (("quick", []), ("careful", [b"(" for _ in rows[:1]])):
        (folder / f"{name}.csv").write_bytes(b"\n".join(lines + end) + b"\n")
        with open_recording(folder / f"{name}.csv") as source:
            try:
                outcomes.append(source.read(0, len(lines)).tolist())
            except RecordingUnreadable as error:
                outcomes.append(error.what)
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"1\r2\n3\n4\n", "sample 0: not a whole number"),
        (b"1\n1_000\n", "sample 1: not a whole number"),
        (b"nan\n3\n", "neither numbers nor names"),
        (b"2.5\n3\n", "neither numbers nor names"),
    ],
)
def test_a_row_is_not_taken_for_something_else(tmp_path: Path, content: bytes, says: str) -> None:
    """A stray carriage return is no row, an underscore no digit, and a number no name."""
    (tmp_path / "r.csv").write_bytes(content)
    with pytest.raises(RecordingUnreadable, match=says), open_recording(tmp_path / "r.csv") as source:
        source.read(0, 3)


@pytest.mark.parametrize("content", [b"%PDF-1.7\n%\xe2\xe3\xcf\n1 0 obj\n", b"Dear colleague\nhere it is\n"])
def test_a_text_that_is_no_recording_does_not_open(tmp_path: Path, content: bytes) -> None:
    """A first row may name leads; then the second has their samples."""
    (tmp_path / "r.csv").write_bytes(content)
    with pytest.raises(RecordingUnreadable, match="sample 0: not a whole number"):
        open_recording(tmp_path / "r.csv")


def test_a_file_that_begins_with_lost_samples_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_bytes(b"\n" * 5000 + b"3\n")
    with open_recording(tmp_path / "r.csv") as source:
        assert source.info.samples == 5001
        assert source.read(4999, 5001).tolist() == [[LOST, 3]]


def test_a_text_file_that_shrinks_while_it_is_read_is_said_to(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_bytes(b"12\n34\n56\n")
    with open_recording(tmp_path / "r.csv") as source:
        (tmp_path / "r.csv").write_bytes(b"12\n3")
        with pytest.raises(RecordingUnreadable, match="changed while it was read"):
            source.read(0, 3)


@pytest.mark.parametrize("setting", [{"fs": 0}, {"gain": 0}, {"fs": 1e9}])
@pytest.mark.parametrize("name", ["r.csv", "r.json"])
def test_a_setting_that_cannot_be_is_not_replaced_by_the_usual_one(
    tmp_path: Path, name: str, setting: dict[str, float]
) -> None:
    (tmp_path / name).write_text("[1]" if name == "r.json" else "1\n")
    with pytest.raises(InputInvalid):
        open_recording(tmp_path / name, **setting)


def test_a_setting_must_not_contradict_the_file(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('{"samples": [1], "fs": 250, "gain": 100, "baseline": 5}')
    with open_recording(tmp_path / "r.json", fs=250, gain=100, baseline=5) as source:
        assert source.info.leads[0].baseline == 5
    for setting in ({"fs": 360}, {"gain": 200}, {"baseline": 0}):
        with pytest.raises(InputInvalid, match="the file says"):
            open_recording(tmp_path / "r.json", **setting)


def test_a_start_without_a_zone_is_utc(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('{"samples": [1], "startTime": "2026-11-25T10:00:00.000001"}')
    with open_recording(tmp_path / "r.json") as source:
        assert source.info.start_ns == 1_795_600_800_000_001_000


@pytest.mark.parametrize(
    ("wrong", "number"), [("x", 2), ("2.5", 2), ("99999999999", 2), ("[", 2), ("true", 2), ("", 2)]
)
def test_json_that_is_none_names_the_sample(tmp_path: Path, wrong: str, number: int) -> None:
    (tmp_path / "r.json").write_text(f"[1, 2, {wrong}, 4]")
    with pytest.raises(RecordingUnreadable, match=f"sample {number} is not a whole number") as caught:
        open_recording(tmp_path / "r.json")
    assert "99999999999" not in str(caught.value)


def test_a_long_json_is_read_by_blocks_and_names_a_sample_of_any_of_them(tmp_path: Path) -> None:
    counts = (np.arange(700_000) * 7919 % 100_000 - 50_000).tolist()
    (tmp_path / "r.json").write_text(json.dumps(counts))
    with open_recording(tmp_path / "r.json") as source:
        assert source.read(0, 700_000)[0].tolist() == counts
    (tmp_path / "r.json").write_text(json.dumps([*counts, "x"]))
    with pytest.raises(RecordingUnreadable, match="sample 700000 is not"):
        open_recording(tmp_path / "r.json")


@pytest.mark.parametrize("content", ["[1,2],[3]", "[1,]", "[,1]", "[1 2]", "[1] x", "[", "]", "[[1],[2]]"])
def test_arrays_that_only_look_like_one_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(RecordingUnreadable, match="not a JSON recording"):
        open_recording(tmp_path / "r.json")


@pytest.mark.parametrize("name", ["r.csv", "r.json"])
@pytest.mark.parametrize("lead", [-1, 1])
def test_a_lead_that_is_not_there_is_refused(tmp_path: Path, name: str, lead: int) -> None:
    (tmp_path / name).write_text("[1]" if name == "r.json" else "1\n")
    with (
        open_recording(tmp_path / name) as source,
        pytest.raises(InputInvalid, match=f"there is no lead {lead}"),
    ):
        source.read(0, 1, lead)


@pytest.mark.parametrize(
    ("name", "text", "given", "said"),
    [
        ("r.csv", "1\n2\n", {}, ("125 Hz", "200 counts per mV")),
        ("r.csv", "1\n2\n", {"fs": 250.0}, ("200 counts per mV",)),
        ("r.csv", "1\n2\n", {"fs": 250.0, "gain": 100.0}, ()),
        ("r.json", "[1, 2]", {"gain": 100.0}, ("125 Hz",)),
        ("r.json", '{"samples": [1, 2], "fs": 250, "gain": 100}', {}, ()),
        (
            "r.json",
            '{"leads": [{"samples": [1], "gain": 9}, {"samples": [2]}], "fs": 250}',
            {},
            ("200 counts",),
        ),
    ],
)
def test_what_is_taken_for_granted_is_said(
    tmp_path: Path, name: str, text: str, given: dict[str, float], said: tuple[str, ...]
) -> None:
    (tmp_path / name).write_text(text)
    with open_recording(tmp_path / name, **given) as source:
        assert len(source.remarks) == bool(said)
        assert all(one in source.remarks[0] for one in said)
