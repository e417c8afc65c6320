"""MIT annotation files: what is written is read, by us and by the oracle."""

from pathlib import Path

import numpy as np
import pytest
import wfdb
from hypothesis import given
from hypothesis import strategies as st

from einthoven.errors import EinthovenError, InputInvalid, RecordingNotFound, RecordingUnreadable
from einthoven.records import Annotations, read_annotations, write_annotations
from einthoven.records.annotation import SYMBOLS

AUX = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40)


@st.composite
def annotations(draw: st.DrawFn) -> Annotations:
    steps = draw(st.lists(st.integers(0, 3000) | st.integers(0, 2_000_000), max_size=30))
    count = len(steps)

    def column(values: st.SearchStrategy[object]) -> tuple[object, ...]:
        return tuple(draw(st.lists(values, min_size=count, max_size=count)))

    return Annotations(
        samples=np.cumsum(np.array([1, *steps], np.int64))[1:],
        symbols=column(st.sampled_from(sorted(SYMBOLS.values()))),
        aux=column(AUX),
        subtypes=column(st.integers(-8, 7)),
        channels=column(st.integers(0, 3)),
        nums=column(st.integers(-8, 7)),
    )


def assert_equal(one: Annotations, other: Annotations) -> None:
    np.testing.assert_array_equal(one.samples, other.samples)
    assert one.symbols == other.symbols
    for column in ("aux", "subtypes", "channels", "nums"):
        assert getattr(one, column) == getattr(other, column), column


@given(annotations())
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, written: Annotations) -> None:
    path = tmp_path_factory.mktemp("ann") / "r.ein"
    write_annotations(path, written)
    assert_equal(written, read_annotations(path))


def test_real_annotations_read_as_the_oracle_reads_them(data) -> None:
    for path in sorted(data.glob("*/*.atr")):
        truth = wfdb.rdann(str(path.with_suffix("")), "atr")
        ours = read_annotations(path)
        np.testing.assert_array_equal(ours.samples, truth.sample)
        assert list(ours.symbols) == truth.symbol
        assert list(ours.aux) == [text.rstrip("\0") for text in truth.aux_note]
        assert list(ours.subtypes) == truth.subtype.tolist()
        assert list(ours.channels) == truth.chan.tolist()
        assert list(ours.nums) == truth.num.tolist()


def test_the_oracle_reads_what_we_write(data, tmp_path: Path) -> None:
    ours = read_annotations(data / "mitdb" / "207.atr")
    write_annotations(tmp_path / "207.ein", ours)
    theirs = wfdb.rdann(str(tmp_path / "207"), "ein")
    np.testing.assert_array_equal(theirs.sample, ours.samples)
    assert theirs.symbol == list(ours.symbols)
    assert [text.rstrip("\0") for text in theirs.aux_note] == list(ours.aux)


def test_a_time_resolution_is_read_as_a_rate(tmp_path: Path) -> None:
    wfdb.wrann("r", "ein", np.array([10, 20]), ["N", "V"], fs=250, write_dir=str(tmp_path))
    ours = read_annotations(tmp_path / "r.ein")
    assert ours.fs == 250
    assert ours.samples.tolist() == [10, 20]
    assert ours.symbols == ("N", "V")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (Annotations(np.array([5, 3]), ("N", "N")), "go back in time"),
        (Annotations(np.array([5]), ("Ü",)), "not an annotation symbol"),
        (Annotations(np.array([5]), ("N",), aux=("x" * 300,)), "more than 254 bytes"),
        (Annotations(np.array([2**40]), ("N",)), "too far apart"),
        (Annotations(np.array([5]), ("[59]",)), "not an annotation symbol"),
        (Annotations(np.array([5]), ("N",), aux=("≥ 3",)), "not of Latin-1"),
        (Annotations(np.array([5]), ("N",), subtypes=(128,)), "the subtype must lie"),
        (Annotations(np.array([5]), ("N",), channels=(256,)), "the channel must lie"),
        (Annotations(np.array([5]), ("N",), nums=(-129,)), "the num must lie"),
        (Annotations(np.array([5]), ("N",), fs=float("nan")), "the time resolution is nan"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path: Path, wrong: Annotations, says: str) -> None:
    with pytest.raises(InputInvalid, match=says):
        write_annotations(tmp_path / "r.ein", wrong)
    assert not list(tmp_path.iterdir()), "nothing half-written is left behind"


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(InputInvalid, match="2 samples and 1 symbols"):
        Annotations(np.array([1, 2]), ("N",))


def test_a_file_that_ends_in_the_middle_is_said_to(tmp_path: Path) -> None:
    (tmp_path / "r.ein").write_bytes((59 << 10).to_bytes(2, "little"))
    with pytest.raises(RecordingUnreadable, match="ends in the middle"):
        read_annotations(tmp_path / "r.ein")
    with pytest.raises(RecordingNotFound):
        read_annotations(tmp_path / "s.ein")


@given(st.binary(max_size=400))
def test_any_bytes_give_annotations_or_a_typed_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "r.ein"
    path.write_bytes(content)
    try:
        read_annotations(path)
    except EinthovenError as error:
        assert error.fault == "caller"


def test_signed_bytes_and_channels_read_as_the_oracle_wrote_them(tmp_path: Path) -> None:
    """annot(5): subtype is a signed byte, the channel an unsigned one."""
    subtypes, channels = np.array([-1, -128, 127]), np.array([255, 128, 1])
    wfdb.wrann(
        "r",
        "ein",
        np.array([10, 20, 30]),
        ["N", "~", "V"],
        subtype=subtypes,
        chan=channels,
        write_dir=str(tmp_path),
    )
    ours = read_annotations(tmp_path / "r.ein")
    assert ours.subtypes == tuple(subtypes.tolist())
    assert ours.channels == tuple(channels.tolist())


@given(annotations())
def test_the_oracle_reads_every_column_that_we_write(
    tmp_path_factory: pytest.TempPathFactory, written: Annotations
) -> None:
    """The oracle takes a note at sample 0 for a definition, so that every annotation comes later here."""
    folder = tmp_path_factory.mktemp("ann")
    later = Annotations(
        written.samples + 1, written.symbols, written.aux, written.subtypes, written.channels, written.nums
    )
    if not len(later):
        return
    write_annotations(folder / "r.ein", later)
    theirs = wfdb.rdann(str(folder / "r"), "ein")
    assert theirs.sample.tolist() == later.samples.tolist()
    assert tuple(theirs.symbol) == later.symbols
    assert tuple(text.rstrip("\0") for text in theirs.aux_note) == later.aux
    assert tuple(theirs.subtype.tolist()) == later.subtypes
    assert tuple(theirs.chan.tolist()) == later.channels
    assert tuple(theirs.num.tolist()) == later.nums


def test_a_rate_is_written_and_read_and_the_oracle_reads_it_too(tmp_path: Path) -> None:
    write_annotations(str(tmp_path / "r.ein"), Annotations(np.array([5]), ("N",), fs=128.5))
    assert read_annotations(str(tmp_path / "r.ein")).fs == 128.5
    assert wfdb.rdann(str(tmp_path / "r"), "ein").fs == 128.5


def test_a_code_without_a_symbol_survives(tmp_path: Path) -> None:
    write_annotations(tmp_path / "r.ein", Annotations(np.array([5]), ("[42]",)))
    assert read_annotations(tmp_path / "r.ein").symbols == ("[42]",)


@pytest.mark.parametrize("said", ["e+", "..", "1e999", "0", "-5", "nan"])
def test_a_time_resolution_that_is_none_is_a_note_like_others(tmp_path: Path, said: str) -> None:
    text = f"## time resolution: {said}"
    note = Annotations(np.array([0, 7]), ('"', "N"), aux=(text, ""))
    write_annotations(tmp_path / "r.ein", note)
    ours = read_annotations(tmp_path / "r.ein")
    assert ours.fs is None
    assert_equal(ours, Annotations(note.samples, note.symbols, note.aux, (0, 0), (0, 0), (0, 0)))


@pytest.mark.parametrize("samples", [np.array([1.5]), np.array([[1]])])
def test_samples_are_one_row_of_whole_numbers(samples: np.ndarray) -> None:
    with pytest.raises(InputInvalid, match="the samples are"):
        Annotations(samples, ("N",))


@pytest.mark.parametrize("cut", [2, 3, 4])
def test_annotations_without_their_end_mark_are_not_taken_for_all(tmp_path: Path, cut: int) -> None:
    write_annotations(tmp_path / "r.ein", Annotations(np.array([5, 9]), ("N", "V")))
    content = (tmp_path / "r.ein").read_bytes()
    (tmp_path / "r.ein").write_bytes(content[:-cut])
    with pytest.raises(RecordingUnreadable, match="ends in the middle"):
        read_annotations(tmp_path / "r.ein")
