"""The master dataset: what was sealed is found again, sample for sample, whatever came late, twice or not."""

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.errors import InputInvalid, ObjectDamaged, RecordingNotFound
from einthoven.functions import analyse, count_hours, split
from einthoven.records import open_recording
from einthoven.signal.recording import Recording
from einthoven.storage import FolderStore, KeptSegment, MasterDataset, open_store
from einthoven.storage.containers import Entry
from einthoven.storage.spans import Located, place
from einthoven.testing.builders import a_kept_segment, some_kept_segments

S = 10**9
START = int(datetime(2026, 11, 26, 13, 59, 30, tzinfo=UTC).timestamp()) * S
MISSING = -32768


def a_stream(count: int, *, fs: float = 125.0, seed: int = 1, size: int = 1250) -> list[KeptSegment]:
    """Segments of ten seconds, one after the other, across the hour."""
    samples = np.cumsum(np.random.default_rng(seed).integers(-9, 10, count * size)).astype(np.int16)
    return [
        a_kept_segment(
            sequence=i,
            start_ns=START + round(i * size * S / fs),
            fs=fs,
            samples=samples[i * size : (i + 1) * size],
        )
        for i in range(count)
    ]


def whole(segments: list[KeptSegment]) -> np.ndarray:
    return np.concatenate([one.samples for one in segments])


@given(
    seed=st.integers(0, 99),
    fs=st.sampled_from([50.0, 125.0, 256.5, 1000.0]),
    size=st.integers(50, 3000),
    lost=st.sets(st.integers(0, 11)),
    twice=st.sets(st.integers(0, 11)),
    cuts=st.lists(st.integers(0, 12), max_size=3),
    window=st.tuples(st.integers(-3000, 40_000), st.integers(-3000, 40_000)),
)
def test_a_span_is_what_was_sent_and_the_rest_is_missing(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    fs: float,
    size: int,
    lost: set[int],
    twice: set[int],
    cuts: list[int],
    window: tuple[int, int],
) -> None:
    dataset = MasterDataset(FolderStore(tmp_path_factory.mktemp("store")))
    stream = a_stream(12, fs=fs, seed=seed, size=size)
    sent = [stream[i] for i in range(12) if i not in lost] + [stream[i] for i in twice - lost]
    sent = [sent[i] for i in np.random.default_rng(seed).permutation(len(sent))]
    borders = sorted({0, *cuts, len(sent)})
    for start, stop in pairwise(borders):
        dataset.seal(sent[start:stop])
    expected = whole(stream)
    for i in lost:
        expected[i * size : (i + 1) * size] = MISSING
    until_ns = START + round(12 * size * S / fs)
    if len(lost) == 12:
        with pytest.raises(RecordingNotFound):
            dataset.span("main", "patient-1", START, until_ns)
        return
    source = dataset.span("main", "patient-1", START, until_ns)
    assert source.info.samples == 12 * size
    np.testing.assert_array_equal(source.read(0, 12 * size)[0], expected)
    start, stop = sorted(max(0, at) for at in window)
    np.testing.assert_array_equal(source.read(*window)[0], expected[max(0, window[0]) : max(0, window[1])])
    np.testing.assert_array_equal(source.read(start, stop, 0)[0], expected[start:stop])


@given(segments=some_kept_segments(), seed=st.integers(0, 99))
def test_sealing_again_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, segments: list[KeptSegment], seed: int
) -> None:
    store = FolderStore(tmp_path_factory.mktemp("store"))
    first = MasterDataset(store).seal(segments)
    names = list(store.names())
    shuffled = [segments[i] for i in np.random.default_rng(seed).permutation(len(segments))]
    assert MasterDataset(store).seal([*shuffled, *shuffled]) == first
    assert list(store.names()) == names == sorted(one.name for one in first)
    found = MasterDataset(store).verify()
    assert found.problems == ()
    assert found.segments == sum(len(one.entries) for one in first)
    assert found.size == sum(one.size for one in first)


def test_containers_are_named_by_organisation_hour_and_content(tmp_path: Path) -> None:
    sealed = MasterDataset(FolderStore(tmp_path)).seal(a_stream(12))
    assert [one.name[:28] for one in sealed] == [
        "segments/main/2026/11/26/13-",
        "segments/main/2026/11/26/14-",
    ]
    assert [len(one.entries) for one in sealed] == [3, 9]


def test_a_span_begins_and_ends_anywhere(tmp_path: Path) -> None:
    dataset = MasterDataset(FolderStore(tmp_path))
    stream = a_stream(12)
    dataset.seal(stream)
    source = dataset.span("main", "patient-1", START - 2 * S, START + 15 * S)
    expected = np.concatenate([np.full(250, MISSING), whole(stream)[: 15 * 125]])
    np.testing.assert_array_equal(source.read(0, 10**9)[0], expected)
    late = dataset.span("main", "patient-1", START + 33 * S, START + 37 * S)
    np.testing.assert_array_equal(late.read(0, 500)[0], whole(stream)[33 * 125 : 37 * 125])


def test_clocks_that_jitter_leave_no_gaps_and_those_that_drift_are_followed(tmp_path: Path) -> None:
    dataset = MasterDataset(FolderStore(tmp_path))
    stream = a_stream(6)
    jitter_ms = [0, 30, -40, 10, 60, -20]
    dataset.seal(
        msgspec.structs.replace(one, start_ns=one.start_ns + ms * 10**6)
        for one, ms in zip(stream, jitter_ms, strict=True)
    )
    source = dataset.span("main", "patient-1", START, START + 60 * S)
    np.testing.assert_array_equal(source.read(0, 7500)[0], whole(stream))
    drifting = [located(i, START + round(i * 10.04 * S)) for i in range(100)]
    error_s = [
        (one.start - (one.located.entry.start_ns - START) / S * 125) / 125
        for one in place(drifting, START, 10**6)
    ]
    assert -0.11 < min(error_s) <= max(error_s) < 0.01


def located(sequence: int, start_ns: int, count: int = 1250) -> Located:
    entry = Entry("main", "p", "d", "ECG", sequence, start_ns, 125.0, 200.0, 0, 2, count, 16, 100)
    return Located("x", entry)


def test_of_two_that_overlap_the_earlier_is_read() -> None:
    placed = place([located(7, START + 4 * S), located(3, START), located(4, START + S, 125)], START, 2000)
    assert [(one.located.entry.sequence, one.start, one.stop, one.skip) for one in placed] == [
        (3, 0, 1250, 0),
        (7, 1250, 1750, 750),
    ]


def test_other_patients_devices_and_leads_stay_apart(tmp_path: Path) -> None:
    dataset = MasterDataset(FolderStore(tmp_path))
    changes = ({}, {"patient": "patient-2"}, {"org": "north"}, {"device": "d-2"}, {"lead": "V5"})
    dataset.seal(
        a_kept_segment(start_ns=START, samples=np.full(1250, i, np.int16), **change)
        for i, change in enumerate(changes)
    )
    until = START + 10 * S
    assert dataset.span("main", "patient-2", START, until).read(0, 1)[0, 0] == 1
    assert dataset.span("north", "patient-1", START, until).read(0, 1)[0, 0] == 2
    assert dataset.span("main", "patient-1", START, until, device="d-2").read(0, 1)[0, 0] == 3
    assert dataset.span("main", "patient-1", START, until, lead="V5").read(0, 1)[0, 0] == 4
    with pytest.raises(InputInvalid, match="2 devices"):
        dataset.span("main", "patient-1", START, until)
    with pytest.raises(InputInvalid, match="2 leads"):
        dataset.span("main", "patient-1", START, until, device="device-1")
    with pytest.raises(RecordingNotFound):
        dataset.span("main", "nobody", START, until)
    with pytest.raises(InputInvalid, match="before it begins"):
        dataset.span("main", "patient-2", until, START - S)


def test_a_change_of_gain_is_no_one_recording(tmp_path: Path) -> None:
    dataset = MasterDataset(FolderStore(tmp_path))
    one, other = a_stream(2)
    dataset.seal([one, msgspec.structs.replace(other, gain=100.0)])
    with pytest.raises(InputInvalid, match="2 rates or gains"):
        dataset.span("main", "patient-1", START, START + 20 * S)
    assert dataset.span("main", "patient-1", START, START + 10 * S).info.samples == 1250


def test_wide_and_narrow_samples_keep_what_is_missing(tmp_path: Path) -> None:
    dataset = MasterDataset(FolderStore(tmp_path))
    one, other = a_stream(2)
    one.samples[5] = MISSING
    dataset.seal([one, msgspec.structs.replace(other, samples=other.samples.astype(np.int32) + 10**6)])
    counts = dataset.span("main", "patient-1", START, START + 20 * S).read(0, 2500)[0]
    assert counts.dtype == np.int32
    assert counts[5] == -(2**31)
    assert counts[6] == one.samples[6]
    np.testing.assert_array_equal(counts[1250:], other.samples.astype(np.int32) + 10**6)


def test_damage_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    stream = a_stream(3)
    (sealed,) = MasterDataset(store).seal(stream)
    hit = sealed.entries[1]
    content = bytearray(store.get(sealed.name))
    content[hit.offset + hit.length // 2] ^= 1
    store.put(sealed.name, bytes(content))
    dataset = MasterDataset(store)
    found = dataset.verify("main")
    assert (found.objects, found.segments) == (1, 2)
    assert [(one.start, one.stop) for one in found.problems if one.start is not None] == [
        (hit.offset, hit.offset + hit.length)
    ]
    assert any("not what the name says" in one.what for one in found.problems)
    source = dataset.span("main", "patient-1", START, START + 30 * S)
    np.testing.assert_array_equal(source.read(0, 1250)[0], stream[0].samples)
    with pytest.raises(ObjectDamaged, match=f"{sealed.name}, bytes {hit.offset} to"):
        source.read(0, 1251)
    patched = dataset.span("main", "patient-1", START, START + 30 * S, damaged_is_missing=True)
    assert (patched.read(1250, 2500) == MISSING).all()
    np.testing.assert_array_equal(patched.read(2500, 3750)[0], stream[2].samples)


def test_without_its_index_a_container_is_still_read(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    stream = a_stream(3)
    (sealed,) = MasterDataset(store).seal(stream)
    store.put(sealed.name, store.get(sealed.name)[:-70])
    source = MasterDataset(store).span("main", "patient-1", START, START + 30 * S)
    np.testing.assert_array_equal(source.read(0, 3750)[0], whole(stream))
    assert MasterDataset(store).verify().problems


def test_what_is_no_container_is_told(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put("segments/main/notes.txt", b"hello")
    (sealed,) = MasterDataset(store).seal(a_stream(1))
    store.put(sealed.name.replace("/26/13-", "/27/13-"), store.get(sealed.name))
    whats = {one.what for one in MasterDataset(store).verify().problems}
    assert {"this is no container's name", "a segment of another organisation or hour lies in it"} <= whats


def test_the_dataset_lies_in_s3_too(s3_options: dict[str, str]) -> None:
    dataset = MasterDataset(open_store("s3://einthoven/dataset", s3_options))
    stream = a_stream(12)
    assert dataset.seal(stream) == dataset.seal(reversed(stream))
    source = dataset.span("main", "patient-1", START, START + 120 * S)
    np.testing.assert_array_equal(source.read(0, 15_000)[0], whole(stream))
    assert dataset.verify("main").problems == ()


def test_a_record_cut_into_segments_is_analysed_as_the_record_is(data: Path, tmp_path: Path) -> None:
    dataset = MasterDataset(FolderStore(tmp_path))
    with open_recording(data / "mitdb" / "100") as source:
        info = source.info
        counts = source.read(0, 108_000, 0)
    dataset.seal(
        KeptSegment(
            "main",
            "p",
            "d",
            "MLII",
            i,
            START + 30 * i * S,
            360.0,
            info.leads[0].gain,
            info.leads[0].baseline,
            counts[0, i * 10_800 : (i + 1) * 10_800],
        )
        for i in range(10)
    )
    span = dataset.span("main", "p", START, START + 300 * S)
    np.testing.assert_array_equal(span.read(0, 108_000), counts)
    beats = []
    for one in (
        span,
        Recording(msgspec.structs.replace(info, leads=info.leads[:1], samples=108_000), counts),
    ):
        (everything,) = count_hours(one.info, 1e9)
        findings = analyse(split(one, everything))[0].findings
        assert findings is not None
        beats.append(findings.beats.positions)
    np.testing.assert_array_equal(*beats)
    assert beats[0].size > 300
