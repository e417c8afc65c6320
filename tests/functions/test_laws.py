"""The laws: chunks joined = whole, segments with state = whole, by value = by reference, batch = alone."""

import re

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from einthoven.errors import EinthovenError, StateUnreadable
from einthoven.functions import (
    PIPELINE,
    Chunk,
    Ecg,
    PatientState,
    analyse,
    analyse_batch,
    count_hours,
    decode_state,
    encode,
    encode_state,
    join,
    own_part,
    split,
)
from einthoven.functions.chunks import LAG_S
from einthoven.records import open_recording
from einthoven.runtime.batch import analyse_source
from einthoven.runtime.invocation import fetch, findings_alone, run_pipeline
from einthoven.signal.findings import Findings
from einthoven.signal.recording import Recording, RecordingSource
from einthoven.storage import FolderStore
from einthoven.testing.builders import a_recording, some_ecg_mv

RATES = st.sampled_from([125.0, 50.0, 128.0, 250.0, 256.5, 360.0, 500.0, 1000.0])


def assert_same(one: Findings, other: Findings) -> None:
    """Bit for bit, beat for beat, episode for episode."""
    for column in one.beats.__struct_fields__:
        np.testing.assert_array_equal(getattr(one.beats, column), getattr(other.beats, column), column)
    assert one.episodes == other.episodes
    assert one.intervals == other.intervals
    assert one.heart_rate == other.heart_rate
    assert one.variability == other.variability
    np.testing.assert_array_equal(one.quality.cells, other.quality.cells)


def whole(source: RecordingSource) -> Findings:
    (chunk,) = count_hours(source.info, 1e9)
    findings = analyse(split(source, chunk))[0].findings
    assert findings is not None
    return findings


def in_chunks(source: RecordingSource, chunk_s: float) -> Findings:
    findings = analyse_source(source, 0, chunk_s)
    assert findings is not None
    return findings


def in_segments(
    source: RecordingSource, lengths: list[int], *, encoded: bool
) -> tuple[Findings, list[Findings]]:
    """The stream's findings folded together, and each segment's own."""
    (everything,) = count_hours(source.info, 1e9)
    ecg = split(source, everything)
    assert ecg.samples is not None
    parts: list[Findings] = []
    state = PatientState()
    at = 0
    while at < source.info.samples:
        length = lengths[len(parts) % len(lengths)]
        end = min(at + length, source.info.samples)
        segment = msgspec.structs.replace(
            ecg, samples=ecg.samples[at:end], first=at, is_last=end == source.info.samples
        )
        result, state = analyse(segment, state)
        assert result.findings is not None
        parts.append(result.findings)
        margin_s = (end - result.findings.until) / source.info.fs
        assert end == source.info.samples or margin_s <= LAG_S, "the newest edge is later than stated"
        if encoded:
            packed = encode_state(state)
            assert len(packed) < 2300, "of 50,000 generated states none had more than 2,214 bytes"
            state = decode_state(packed)
        at = end
    return join(parts), parts


@given(seed=st.integers(0, 10_000), minutes=st.floats(2.0, 25.0), fs=RATES, chunk_min=st.floats(1.0, 12.0))
def test_chunks_analysed_apart_and_joined_are_the_whole(
    seed: int, minutes: float, fs: float, chunk_min: float
) -> None:
    recording = a_recording(seed=seed, duration_s=60 * minutes, fs=fs)
    assert_same(whole(recording), in_chunks(recording, 60 * chunk_min))


@given(
    seed=st.integers(0, 10_000),
    minutes=st.floats(0.5, 6.0),
    fs=RATES,
    lengths_s=st.lists(st.floats(0.02, 60.0), min_size=1, max_size=6),
    encoded=st.booleans(),
)
@example(seed=345, minutes=5.49625361624298, fs=50.0, lengths_s=[1.3125], encoded=False)
@example(seed=3834, minutes=4.795723680930129, fs=128.0, lengths_s=[1.0], encoded=True)
def test_segments_with_carried_state_are_the_whole(
    seed: int, minutes: float, fs: float, lengths_s: list[float], encoded: bool
) -> None:
    recording = a_recording(seed=seed, duration_s=60 * minutes, fs=fs)
    lengths = [max(1, round(s * fs)) for s in lengths_s]
    if sum(lengths) / len(lengths) * 2000 < recording.info.samples:
        lengths.append(round(30 * fs))
    one = whole(recording)
    joined, parts = in_segments(recording, lengths, encoded=encoded)
    assert_same(one, joined)
    ended = [e for part in parts for e in part.episodes if e.end is not None]
    assert [*ended, *(e for e in parts[-1].episodes if e.end is None)] == list(one.episodes)
    polished = np.concatenate([part.beats.classes for part in parts])
    np.testing.assert_array_equal(polished, one.beats.classes)


@given(seed=st.integers(0, 10_000), seconds=st.floats(0.1, 90.0), fs=RATES)
def test_by_value_and_by_reference_answer_the_same_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, seed: int, seconds: float, fs: float
) -> None:
    recording = a_recording(seed=seed, duration_s=seconds, fs=fs)
    by_value_and_by_reference(recording, FolderStore(tmp_path_factory.mktemp("store")))


def by_value_and_by_reference(recording: RecordingSource, store: FolderStore) -> None:
    (everything,) = count_hours(recording.info, 1e9)
    ecg = split(recording, everything)
    before, _ = run_pipeline(PIPELINE[:-1], ecg, PatientState())
    by_value, state = run_pipeline(PIPELINE, ecg, PatientState())
    for encoding in ("json", "msgpack"):
        store.put(f"in/{encoding}", encode(ecg, encoding))
        reference = Ecg(ecg_data_file_path=f"in/{encoding}")
        answer, state_too = run_pipeline(PIPELINE, reference, PatientState(), store)
        assert answer.samples is None
        assert answer.ecg_data_file_path is not None
        assert re.fullmatch(r"in/[0-9a-f]{32}\.finalization", answer.ecg_data_file_path)
        loaded = fetch(answer.ecg_data_file_path, store)
        assert encode(loaded, "msgpack") == encode(findings_alone(by_value), "msgpack")
        assert encode(loaded, "json") == encode(findings_alone(by_value), "json")
        on_the_way, _ = run_pipeline(PIPELINE[:-1], reference, PatientState(), store)
        assert on_the_way.ecg_data_file_path is not None
        assert encode(fetch(on_the_way.ecg_data_file_path, store), "msgpack") == encode(before, "msgpack")
        assert encode_state(state_too) == encode_state(state)


def a_segment(seed: int, fs: float, seconds: float, first: int, *, is_last: bool) -> Ecg:
    """Of seed 0 nothing but silence; of no seconds, no sample."""
    recording = a_recording(seed=seed, duration_s=max(seconds, 1 / fs), fs=fs)
    samples = recording.counts[0].astype(np.int32)[: round(seconds * fs)]
    lead = recording.info.leads[0]
    return Ecg(
        fs=fs,
        gain=lead.gain,
        first=first,
        is_last=is_last,
        samples=samples if seed else np.zeros_like(samples),
    )


PATIENTS = st.lists(
    st.tuples(
        st.integers(0, 10_000),
        RATES,
        st.lists(st.one_of(st.just(0.0), st.floats(0.0, 70.0)), min_size=1, max_size=3),
        st.booleans(),
    ),
    max_size=6,
)


@given(patients=PATIENTS, misfits=st.sets(st.integers(0, 5)))
def test_a_batch_answers_each_patient_as_alone_bit_for_bit(
    patients: list[tuple[int, float, list[float], bool]], misfits: set[int]
) -> None:
    """Any mix of rates, lengths and states; a segment out of its stream is its own patient's error alone."""
    states: list[PatientState | None] = [None] * len(patients)
    firsts = [0] * len(patients)
    for turn in range(3):
        here = [k for k, (_, _, lengths, _) in enumerate(patients) if turn < len(lengths)]
        ecgs = []
        for k in here:
            seed, fs, lengths, is_last = patients[k]
            # One who does not fit skips a sample.
            skipped = int(k in misfits and turn == 2)
            ends = is_last and turn + 1 == len(lengths)
            ecgs.append(a_segment(seed, fs, lengths[turn], firsts[k] + skipped, is_last=ends))
        answers = analyse_batch(ecgs, [states[k] for k in here])
        assert len(answers) == len(here)
        for k, ecg, answer in zip(here, ecgs, answers, strict=True):
            if k in misfits and turn == 2:
                assert isinstance(answer, StateUnreadable)
                continue
            assert not isinstance(answer, EinthovenError)
            alone, after = analyse(ecg, states[k])
            assert encode(answer[0], "msgpack") == encode(alone, "msgpack")
            assert encode(answer[1], "msgpack") == encode(after, "msgpack")
            states[k] = after
            firsts[k] += ecg.samples.size if ecg.samples is not None else 0


@pytest.mark.parametrize("record", ["100", "203", "207", "232"])
def test_the_laws_hold_on_real_recordings(data, tmp_path, record: str) -> None:
    with open_recording(data / "mitdb" / record) as source:
        one = whole(source)
        for chunk_min in (1.0, 7.3, 20.0):
            assert_same(one, in_chunks(source, 60 * chunk_min))
        for lengths_s in ([30.0], [5.0, 0.3, 60.0]):
            joined, _ = in_segments(source, [round(360 * s) for s in lengths_s], encoded=True)
            assert_same(one, joined)
        minute = Recording(
            msgspec.structs.replace(source.info, samples=21600), np.array(source.read(360000, 381600))
        )
        by_value_and_by_reference(minute, FolderStore(tmp_path))


def test_a_two_hour_chunk_of_a_three_hour_recording_is_exact(data) -> None:
    """Three hours stitched of real half-hours: long enough for the longest chunk length promised."""
    names = ["100", "106", "119", "200", "203", "208"]
    pieces = []
    for name in names:
        with open_recording(data / "mitdb" / name) as source:
            pieces.append(source.read(0, source.info.samples, 0))
            info = source.info
    counts = np.concatenate(pieces, axis=1)
    recording = Recording(
        msgspec.structs.replace(info, leads=info.leads[:1], samples=counts.shape[1]), counts
    )
    assert_same(whole(recording), in_chunks(recording, 7200.0))


@given(samples=st.integers(0, 10**9), fs=RATES, chunk_s=st.floats(60.0, 7200.0))
def test_chunks_own_every_sample_once_and_read_what_they_need(
    samples: int, fs: float, chunk_s: float
) -> None:
    info = msgspec.structs.replace(a_recording().info, samples=samples, fs=fs)
    if samples / (chunk_s * fs) > 10_000:
        samples = int(samples % (chunk_s * fs * 10_000))
        info = msgspec.structs.replace(info, samples=samples)
    chunks = count_hours(info, chunk_s)
    borders = [0, *(chunk.stop for chunk in chunks)]
    assert [chunk.start for chunk in chunks] == borders[:-1]
    assert borders[-1] == samples
    for chunk in chunks:
        assert 0 <= chunk.read_start <= chunk.start < chunk.stop <= chunk.read_stop <= samples
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))


def test_own_part_drops_what_the_neighbours_own() -> None:
    recording = a_recording(some_ecg_mv(3, 900), seed=3)
    chunks = count_hours(recording.info, 300)
    middle: Chunk = chunks[1]
    findings = analyse(split(recording, middle))[0].findings
    assert findings is not None
    part = own_part(findings, middle)
    assert part.beats.positions.min() >= middle.start
    assert part.beats.positions.max() < middle.stop
    assert part.quality.first_cell == 300
    assert part.quality.cells.size == 300
