"""What every function keeps: total, deterministic, leaves its input alone, survives encoding."""

from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.errors import DefectError, InputInvalid, StateUnreadable
from einthoven.functions import (
    PIPELINE,
    Ecg,
    PatientState,
    analyse,
    bdc,
    contract_of,
    count_hours,
    decode,
    encode,
    encode_state,
    finalization,
    postprocessing,
    preprocessing,
    split,
)
from einthoven.signal.rules import Criteria
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.testing.builders import a_recording

Call = Callable[[Ecg, PatientState], tuple[Ecg, PatientState]]


def an_ecg(seed: int = 1, seconds: float = 30.0, *, is_last: bool = False) -> Ecg:
    recording = a_recording(seed=seed, duration_s=seconds)
    (everything,) = count_hours(recording.info, 1e9)
    return msgspec.structs.replace(split(recording, everything), is_last=is_last)


def before(call: Call, ecg: Ecg) -> tuple[Ecg, PatientState]:
    """The value that a function gets from those before it."""
    state = PatientState()
    for earlier in PIPELINE[: PIPELINE.index(call)]:
        ecg, state = earlier(ecg, state)
    return ecg, state


@pytest.mark.parametrize("call", [*PIPELINE, count_hours, split])
def test_each_function_carries_its_contract(call: Call) -> None:
    contract = contract_of(call)
    assert contract.name == call.__name__
    assert contract.version
    assert 0 < contract.memory_mb <= 512
    assert 0 < contract.timeout_s <= 60


def test_a_callable_without_a_contract_is_our_fault() -> None:
    with pytest.raises(DefectError, match="no contract"):
        contract_of(lambda: None)


@pytest.mark.parametrize("call", PIPELINE)
def test_the_same_input_gives_the_same_output_and_is_left_alone(call: Call) -> None:
    ecg, state = before(call, an_ecg())
    kept = encode(ecg, "msgpack"), encode_state(state)
    first, second = call(ecg, state), call(ecg, state)
    assert encode(first[0], "msgpack") == encode(second[0], "msgpack")
    assert encode_state(first[1]) == encode_state(second[1])
    assert (encode(ecg, "msgpack"), encode_state(state)) == kept


@pytest.mark.parametrize("call", PIPELINE)
@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_the_input_may_have_travelled(call: Call, encoding: str) -> None:
    ecg, state = before(call, an_ecg())
    here, _ = call(ecg, state)
    there, _ = call(decode(encode(ecg, encoding), encoding), state)
    assert encode(here, "msgpack") == encode(there, "msgpack")


@pytest.mark.parametrize("call", PIPELINE)
def test_each_adds_its_section_and_drops_none(call: Call) -> None:
    ecg, state = before(call, an_ecg())
    after, _ = call(ecg, state)
    for field in ecg.__struct_fields__:
        if getattr(ecg, field) is not None:
            assert getattr(after, field) is not None, f"{field} was dropped"
    assert contract_of(call).name in after.versions


@pytest.mark.parametrize(
    ("call", "missing"), [(bdc, "preprocessed"), (postprocessing, "beats"), (finalization, "rhythm")]
)
def test_a_function_out_of_order_says_which_comes_first(call: Call, missing: str) -> None:
    with pytest.raises(InputInvalid, match=missing):
        call(an_ecg(), PatientState())


def test_neither_samples_nor_reference_is_an_error() -> None:
    with pytest.raises(InputInvalid, match="no samples"):
        preprocessing(Ecg(), PatientState())


def test_a_segment_that_does_not_follow_is_refused_and_the_state_stays_good() -> None:
    first = an_ecg()
    _, state = analyse(first, None)
    with pytest.raises(StateUnreadable, match="ends at sample 3750 and the segment begins at 0"):
        analyse(first, state)
    following = msgspec.structs.replace(first, first=3750)
    assert analyse(following, state)[0].findings is not None


@given(
    samples=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=400),
    fs=st.sampled_from([50.0, 125.0, 333.3, 1000.0]),
    gain=st.sampled_from([0.001, 1.0, 200.0, 1e7]),
    baseline=st.sampled_from([0, -(2**31) + 1, 2**31 - 1]),
    is_last=st.booleans(),
)
def test_any_samples_give_findings(
    samples: list[int], fs: float, gain: float, baseline: int, is_last: bool
) -> None:
    """An ECG is never an error: empty, one sample, wild and missing ones all give a typed result."""
    ecg = Ecg(fs=fs, gain=gain, baseline=baseline, is_last=is_last, samples=np.array(samples, np.int32))
    findings = analyse(ecg)[0].findings
    assert findings is not None
    assert (np.diff(findings.beats.positions) > 0).all()
    assert not len(findings.beats) or 0 <= findings.beats.positions[0] <= findings.beats.positions[-1] < len(
        samples
    )


@pytest.mark.parametrize("seconds", [1, 30, 600])
@pytest.mark.parametrize("value", [0, 1000, -2000, 2047, np.iinfo(np.int32).min])
def test_a_constant_signal_has_no_beats_and_is_not_asystole(seconds: int, value: int) -> None:
    """Flat is a lead that is off, or missing: a technical condition, never a rhythm."""
    findings = analyse(Ecg(samples=np.full(125 * seconds, value, np.int32)))[0].findings
    assert findings is not None
    assert len(findings.beats) == 0
    assert findings.quality.analysable_fraction == 0
    kinds = {episode.kind for episode in findings.episodes}
    assert kinds <= {"lead_off", "gap", "noise"}
    assert bool(kinds) == (seconds >= 30)


def test_silence_with_the_leads_on_is_asystole() -> None:
    rng = np.random.default_rng(1)
    ecg = an_ecg(3, 20).samples
    assert ecg is not None
    silence = np.rint(1.5 * rng.standard_normal(125 * 20) + 8 * np.sin(np.arange(2500) / 60)).astype(np.int32)
    findings = analyse(Ecg(samples=np.concatenate((ecg, silence))))[0].findings
    assert findings is not None
    (asystole,) = [e for e in findings.episodes if e.kind == "asystole" and e.onset > 125 * 15]
    assert asystole.priority == "high"
    assert abs(asystole.onset / 125 - 20) < 1.6
    assert asystole.end is None


@pytest.mark.parametrize("first", [1, 37, 50, 99, 3750])
def test_a_stream_may_begin_anywhere_on_the_grid(first: int) -> None:
    """Levels are kept per block of the grid; a T wave in the first part of one is no beat."""
    patient = VirtualPatient(5, SCENES["healthy"])
    begin = int(patient.truth(0, 2).beats.positions[0]) + 20
    samples = patient.read(begin, begin + 3750)[0].astype(np.int32)
    at_zero = analyse(Ecg(samples=samples))[0].findings
    elsewhere = analyse(Ecg(samples=samples, first=first))[0].findings
    assert at_zero is not None
    assert elsewhere is not None
    np.testing.assert_array_equal(elsewhere.beats.positions - first, at_zero.beats.positions)


def test_limits_travel_with_the_object_by_value_and_change_the_rules() -> None:
    samples = VirtualPatient(5, SCENES["healthy"], duration_s=90.0).read(0, 11250)[0].astype(np.int32)
    limits = Criteria(bradycardia_bpm=99.0)
    plain = analyse(Ecg(samples=samples))[0].findings
    sent = decode(encode(Ecg(samples=samples, criteria=limits), "json"), "json")
    assert sent.criteria == limits
    found = analyse(sent)[0].findings
    assert plain is not None
    assert found is not None
    assert "bradycardia" not in {episode.kind for episode in plain.episodes}
    assert "bradycardia" in {episode.kind for episode in found.episodes}


def test_limits_out_of_range_are_refused_when_the_object_is_read() -> None:
    with pytest.raises(InputInvalid, match="pause_s is 99"):
        decode(b'{"criteria": {"pause_s": 99}}', "json")


def test_every_beat_carries_its_confidence_and_its_grade() -> None:
    samples = VirtualPatient(5, SCENES["healthy"], duration_s=40.0).read(0, 5000)[0].astype(np.int32)
    findings = analyse(Ecg(samples=samples))[0].findings
    assert findings is not None
    beats = findings.beats
    assert beats.grades.shape == beats.confidences.shape == beats.positions.shape
    assert set(beats.grades.tolist()) <= {1, 2, 3}
    assert beats.p_shape.size == 4 * len(beats)
