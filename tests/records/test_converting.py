"""One format into another: what is carried is exact, what is not is said."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.errors import InputInvalid, RecordingUnreadable
from einthoven.records import Annotations, open_recording, read_annotations, write_annotations, write_edf
from einthoven.records.converting import FORMATS_OUT, annotations_with, plan_conversion
from einthoven.records.text_writing import write_csv, write_json
from einthoven.signal.recording import Lead, Recording, RecordingInfo, missing

LOST = missing(np.dtype(np.int32))


def a_recording(counts: np.ndarray, start_ns: int | None = None) -> Recording:
    leads = tuple(Lead(name, 200.5, 3) for name in ("I", "II", "V1")[: counts.shape[0]])
    return Recording(RecordingInfo("r", 250.0, leads, counts.shape[1], start_ns), counts.astype(np.int32))


def known(counts: np.ndarray) -> np.ndarray:
    return np.where(counts == missing(counts.dtype), LOST, counts.astype(np.int64))


@given(
    leads=st.integers(1, 3),
    samples=st.integers(1, 300),
    bits=st.sampled_from([12, 15, 23]),
    lost=st.booleans(),
    start_us=st.none() | st.integers(0, 10**15),
    endings=st.lists(st.sampled_from(["", ".edf", ".bdf", ".json"]), min_size=1, max_size=3),
    seed=st.integers(0, 99),
)
def test_a_recording_survives_any_chain_of_formats(
    tmp_path_factory: pytest.TempPathFactory, leads, samples, bits, lost, start_us, endings, seed
) -> None:
    """Counts, gain, baseline, rate, leads, start and annotations, as far as the formats hold them."""
    folder = tmp_path_factory.mktemp("c")
    limit = 2 ** (bits - 1) - 1
    counts = np.random.default_rng(seed).integers(-limit + 1, limit, (leads, samples))
    if lost:
        counts[:, ::5] = LOST
    original = a_recording(counts, None if start_us is None else 1000 * start_us)
    marks = Annotations(np.array([0, samples - 1]), ("N", "+"), ("", "(AFIB"), (0, 51))
    source, carried = original, marks
    with contextlib.ExitStack() as stack:
        for number, ending in enumerate(endings):
            if (
                bits > 16
                and ending == ".edf"
                and np.abs(known(counts)[counts != LOST]).max(initial=0) > 2**15
            ):
                with pytest.raises(InputInvalid, match="do not fit"):
                    plan_conversion(source, folder / "r.edf", carried)
                return
            path = folder / f"r{number}{ending}"
            plan = plan_conversion(source, path, carried)
            plan.perform()
            assert all(file.exists() for file in plan.files)
            assert bool(plan.losses) == (ending == ".json" and carried is not None)
            source = stack.enter_context(open_recording(path))
            carried = annotations_with(path, source)
            assert (carried is None) == (".json" in endings[: number + 1])
        np.testing.assert_array_equal(known(source.read(0, samples)), counts)
    assert (source.info.fs, source.info.leads) == (250.0, original.info.leads)
    assert source.info.start_ns == original.info.start_ns
    if carried is not None:
        assert (carried.samples.tolist(), carried.symbols, carried.aux) == (
            marks.samples.tolist(), marks.symbols, marks.aux,
        )  # fmt: skip
        assert carried.subtypes == marks.subtypes


def test_annotations_of_another_record_are_not_left_beside_a_new_one(tmp_path: Path) -> None:
    write_annotations(tmp_path / "r.atr", Annotations(np.array([1]), ("V",)))
    plan = plan_conversion(a_recording(np.array([[1, 2], [3, 4]])), tmp_path / "r", None)
    assert plan.removed == (tmp_path / "r.atr",)
    plan.perform()
    with open_recording(tmp_path / "r") as source:
        assert annotations_with(tmp_path / "r", source) is None


def test_csv_holds_counts_and_says_what_it_does_not(tmp_path: Path) -> None:
    counts = np.array([[1, LOST, -3], [40_000, 5, 6]])
    plan = plan_conversion(a_recording(counts, 5), tmp_path / "r.csv", Annotations(np.array([0]), ("N",)))
    plan.perform()
    assert (tmp_path / "r.csv").read_text() == "I,II\n1,40000\n,5\n-3,6\n"
    assert plan.losses == (
        "CSV has no place for annotations; 1 are left out.",
        "CSV says neither the rate (250.0 Hz) nor gains and baselines "
        "(counts per mV: I 200.5 from 3, II 200.5 from 3).",
        "CSV does not say when the recording starts.",
    )
    with open_recording(tmp_path / "r.csv", fs=250, gain=200.5, baseline=3) as source:
        np.testing.assert_array_equal(known(source.read(0, 3)), counts)
        assert source.info.leads == a_recording(counts).info.leads


@pytest.mark.parametrize("name", ["1", "a,b", "", " a", "a\tb", 'a"b', "x" * 65, "+5", "-", "+", "1-2"])
def test_a_lead_that_cannot_head_a_column_is_refused(tmp_path: Path, name: str) -> None:
    info = RecordingInfo("r", 250.0, (Lead(name, 200.0, 0),), 1)
    with pytest.raises(InputInvalid, match="row of CSV"):
        write_csv(tmp_path / "r.csv", Recording(info, np.zeros((1, 1), np.int16)))
    assert not list(tmp_path.iterdir())


def test_an_empty_recording_is_one_in_json(tmp_path: Path) -> None:
    write_json(tmp_path / "r.json", a_recording(np.zeros((2, 0))))
    with open_recording(tmp_path / "r.json") as source:
        assert (source.info.samples, [lead.name for lead in source.info.leads]) == (0, ["I", "II"])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"leads": []}', "at least one"),
        ('{"leads": [{"samples": [1]}], "samples": [1]}', "at least one"),
        ('{"fs": 125}', "missing required field `samples`"),
        ('{"leads": [{"samples": [1]}, {"samples": [1, 2]}]}', "different numbers"),
        ('{"leads": [{"samples": [1]}, {"samples": [1.5]}]}', "sample 0 is not a whole number"),
    ],
)
def test_leads_in_json_that_are_not_whole_are_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(RecordingUnreadable, match=why):
        open_recording(tmp_path / "r.json")


def test_what_an_annotation_file_does_not_take_is_counted(tmp_path: Path) -> None:
    marks = Annotations(
        np.array([-3, 0, 1, 2]), ('"', '"', '"', "N"), ("early", "\u03c0", "x" * 300, ""), fs=250.0
    )
    plan = plan_conversion(a_recording(np.zeros((1, 9))), tmp_path / "r", marks)
    assert plan.losses == (
        "2 texts of annotations are shortened to 254 letters, with ? for letters that are not of Latin-1.",
        "1 annotations before the first sample are left out.",
    )
    plan.perform()
    back = read_annotations(tmp_path / "r.atr")
    assert back.aux == ("?", "x" * 254, "")
    assert back.fs is None


@pytest.mark.parametrize(
    ("name", "read"), [("", "ECG1"), (" I", "I"), ("II ", "II"), ("left arm", "left arm")]
)
def test_a_name_that_a_header_does_not_hold_is_said(tmp_path: Path, name: str, read: str) -> None:
    info = RecordingInfo("r", 250.0, (Lead(name, 200.0, 0),), 1)
    plan = plan_conversion(Recording(info, np.zeros((1, 1), np.int16)), tmp_path / "r", None)
    plan.perform()
    with open_recording(tmp_path / "r") as source:
        assert source.info.leads[0].name == read
    said = () if name == read else (f"The name of lead {name!r} is written as {read}.",)
    assert plan.losses == said


@pytest.mark.parametrize("ending", ["", ".edf"])
def test_annotations_that_lay_between_samples_are_counted(tmp_path: Path, ending: str) -> None:
    """A third of a second is no sample at 250 Hz; what we wrote ourselves comes back to the sample."""
    whole = Annotations(np.array([3, 77, 149]), ("N", "V", "N"))
    write_edf(tmp_path / "a.edf", a_recording(np.zeros((1, 500))), whole)
    between = Annotations(np.array([1, 2]), ("N", "V"), fs=3.0)
    write_edf(tmp_path / "b.edf", a_recording(np.zeros((1, 500))), between)
    losses = []
    for name in ("a", "b"):
        with open_recording(tmp_path / f"{name}.edf") as source:
            marks = annotations_with(tmp_path / f"{name}.edf", source)
            losses.append(plan_conversion(source, tmp_path / f"{name}2{ending}", marks).losses)
    assert losses == [(), ("2 annotations lay between two samples and are taken at the nearest.",)]


@pytest.mark.parametrize("ending", ["", ".edf"])
def test_annotations_behind_the_end_are_carried(tmp_path: Path, ending: str) -> None:
    marks = Annotations(np.array([3, 700]), ("N", "V"))
    plan_conversion(a_recording(np.zeros((1, 500))), tmp_path / f"r{ending}", marks).perform()
    with open_recording(tmp_path / f"r{ending}") as source:
        assert annotations_with(tmp_path / f"r{ending}", source).samples.tolist() == [3, 700]


def test_a_nanosecond_is_lost_where_a_format_has_microseconds(tmp_path: Path) -> None:
    recording = a_recording(np.zeros((1, 300)), 1_001)
    losses = {
        ending: plan_conversion(recording, tmp_path / f"r{ending}", None).losses
        for ending in ("", ".json", ".edf")
    }
    assert losses[""] == losses[".json"] == ("The start is written to the microsecond.",)
    assert losses[".edf"] == ()


def test_an_ending_of_no_format_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match=r"\.edf, \.bdf"):
        plan_conversion(a_recording(np.zeros((1, 1))), tmp_path / "r.xyz", None)
    assert set(FORMATS_OUT) >= {"", ".edf", ".bdf", ".csv", ".json"}


def test_annotations_beside_a_header_come_along_and_no_others(tmp_path: Path) -> None:
    marks = Annotations(np.array([1]), ("V",))
    plan_conversion(a_recording(np.zeros((1, 9))), tmp_path / "r", None).perform()
    with open_recording(tmp_path / "r") as source:
        assert annotations_with(tmp_path / "r", source) is None
        write_annotations(tmp_path / "r.atr", marks)
        assert annotations_with(tmp_path / "r.dat", source).symbols == ("V",)
