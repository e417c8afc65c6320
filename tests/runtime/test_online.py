"""The online path: each segment once, in order, with its gaps."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.clock import VirtualClock
from einthoven.errors import InputInvalid
from einthoven.functions import Ecg, analyse
from einthoven.runtime.batch import analyse_source
from einthoven.runtime.online import OnlinePath, Totals
from einthoven.signal.recording import Recording, RecordingInfo, Segment
from einthoven.signal.rules import Criteria
from einthoven.testing.builders import a_recording

EPOCH_NS = 1_700_000_000_000_000_000


def segments(recording: Recording, seconds: float = 30.0) -> list[Segment]:
    info = recording.info
    size = round(seconds * info.fs)
    return [
        Segment(
            patient="p",
            device="d",
            sequence=number,
            start_ns=EPOCH_NS + round(start * 1e9 / info.fs),
            recording=Recording(
                msgspec.structs.replace(info, samples=min(size, info.samples - start)),
                np.array(recording.counts[:, start : start + size]),
            ),
        )
        for number, start in enumerate(range(0, info.samples, size))
    ]


def test_segments_give_the_beats_of_the_recording() -> None:
    recording = a_recording(seed=5, duration_s=300)
    online = OnlinePath(VirtualClock())
    parts = segments(recording)
    receipts = [online.receive(part, is_last=part is parts[-1]) for part in parts]
    whole = analyse_source(recording)
    found = np.concatenate([receipt.findings.beats.positions for receipt in receipts])
    np.testing.assert_array_equal(found, whole.beats.positions)
    assert online.counts == Totals(received=10, analysed=10)


def test_the_same_segment_twice_gets_the_same_answer_and_changes_nothing() -> None:
    recording = a_recording(seed=5, duration_s=120)
    online, other = OnlinePath(VirtualClock()), OnlinePath(VirtualClock())
    for part in segments(recording):
        first, again = online.receive(part), online.receive(part)
        assert (first.status, again.status) == ("analysed", "duplicate")
        assert again.findings is first.findings
        np.testing.assert_array_equal(first.findings.beats.grid, other.receive(part).findings.beats.grid)
    assert online.counts == Totals(received=8, analysed=4, duplicates=4)


def test_a_segment_that_comes_too_late_is_left_to_the_batch_layer() -> None:
    parts = segments(a_recording(seed=5, duration_s=600))
    online = OnlinePath(VirtualClock())
    for part in parts[2:]:
        online.receive(part)
    receipt = online.receive(parts[0])
    assert (receipt.status, receipt.findings) == ("late", None)
    assert online.counts.late == 1


@given(lost=st.sets(st.integers(1, 8), min_size=1, max_size=5))
def test_lost_segments_are_gaps_and_positions_stay_true(lost: set[int]) -> None:
    """The stream with segments lost is the recording with their samples missing."""
    recording = a_recording(seed=8, duration_s=300)
    parts = segments(recording)
    online = OnlinePath(VirtualClock())
    receipts = [
        online.receive(part, is_last=part is parts[-1]) for part in parts if part.sequence not in lost
    ]
    samples = recording.counts[0].astype(np.int32)
    for number in lost:
        samples[3750 * number : 3750 * (number + 1)] = np.iinfo(np.int32).min
    whole = analyse(Ecg(samples=samples))[0].findings
    found = np.concatenate([receipt.findings.beats.positions for receipt in receipts])
    ended = [e for receipt in receipts for e in receipt.findings.episodes if e.end is not None]
    np.testing.assert_array_equal(found, whole.beats.positions)
    assert ended == [e for e in whole.episodes if e.end is not None]
    assert online.counts.gaps == len({n for n in lost if n - 1 not in lost})


def test_after_a_long_silence_the_stream_begins_anew() -> None:
    first, second = segments(a_recording(seed=5, duration_s=60))
    online = OnlinePath(VirtualClock())
    online.receive(first)
    late = msgspec.structs.replace(second, sequence=500, start_ns=EPOCH_NS + 10**13)
    receipt = online.receive(late)
    assert receipt.status == "analysed"
    assert receipt.start_ns == EPOCH_NS + 10**13
    assert receipt.findings.first == 0


def test_a_device_may_not_change_its_set_up_within_a_stream() -> None:
    first, second = segments(a_recording(seed=5, duration_s=60))
    online = OnlinePath(VirtualClock())
    online.receive(first)
    info = msgspec.structs.replace(second.recording.info, fs=250.0)
    changed = msgspec.structs.replace(second, recording=Recording(info, np.array(second.recording.counts)))
    with pytest.raises(InputInvalid, match="changed its sampling rate"):
        online.receive(changed)
    assert online.receive(second).status == "analysed", "nothing accepted is lost"


def test_two_leads_or_a_long_segment_are_refused() -> None:
    recording = a_recording(seed=5, duration_s=61)
    with pytest.raises(InputInvalid, match=r"61\.0 s long"):
        Segment("p", "d", 0, 0, recording)
    with pytest.raises(InputInvalid, match="negative"):
        Segment("p", "d", -1, 0, a_recording(duration_s=1))
    info = recording.info
    two = RecordingInfo("two", info.fs, info.leads * 2, 10)
    with pytest.raises(InputInvalid, match="2 leads"):
        OnlinePath(VirtualClock()).receive(
            Segment("p", "d", 0, 0, Recording(two, np.zeros((2, 10), np.int16)))
        )


def test_each_patient_may_have_their_own_limits() -> None:
    parts = segments(a_recording(seed=2, duration_s=90))
    limits = Criteria(bradycardia_bpm=99.0, tachycardia_bpm=200.0)
    kinds = {}
    for patient, online in {
        "p": OnlinePath(VirtualClock(), {"p": limits}),
        "other": OnlinePath(VirtualClock(), {"somebody": limits}),
    }.items():
        receipts = [online.receive(part, is_last=part is parts[-1]) for part in parts]
        kinds[patient] = {episode.kind for one in receipts for episode in one.findings.episodes}
    assert "bradycardia" in kinds["p"]
    assert "bradycardia" not in kinds["other"]


def test_time_that_passed_between_two_numbers_is_a_gap_and_a_clock_that_jitters_is_not() -> None:
    first, second, third = segments(a_recording(duration_s=30.0), 10.0)
    path = OnlinePath(VirtualClock())
    path.receive(first)
    jitter = msgspec.structs.replace(second, start_ns=second.start_ns + 1_500_000_000)
    path.receive(jitter)
    assert path.counts.gaps == 0
    pause = msgspec.structs.replace(third, start_ns=third.start_ns + 10_000_000_000)
    receipt = path.receive(pause, is_last=True)
    assert path.counts.gaps == 1
    assert receipt.findings is not None
    assert receipt.findings.until == round(40.0 * 125)
