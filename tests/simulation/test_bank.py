"""Bodies: what is sent is what the patient's record holds, in each encoding, and the truth goes with it."""

import base64

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.errors import InputInvalid
from einthoven.runtime.load.deliveries import Delivery
from einthoven.signal.recording import Lead, Recording, RecordingInfo
from einthoven.simulation.bank import Bank, Names, allotted, virtual_records
from einthoven.simulation.noise import Noise
from einthoven.simulation.scenes import SCENES
from einthoven.simulation.traffic import Traffic, deliveries
from einthoven.testing.builders import a_recording

ENCODINGS = ("json", "json-base64", "msgpack")
BEGIN_NS = 1_700_000_000_000_000_000


def filled(traffic: Traffic, records, encoding="json", names=None, **more) -> Bank:
    endless = msgspec.structs.replace(traffic, duration_s=None)
    bank = Bank(endless, records, encoding, names or Names(), **more)
    shares = list(bank.fill())
    assert shares[-1] == 1
    bank.begin(BEGIN_NS)
    return bank


def decoded(body: bytes, encoding: str) -> list[dict]:
    plain = msgspec.msgpack.decode(body) if encoding == "msgpack" else msgspec.json.decode(body)
    return plain if isinstance(plain, list) else [plain]


def counts(fields: dict, encoding: str) -> np.ndarray:
    if encoding == "json":
        return np.array(fields["samples"], np.int16)
    raw = base64.b64decode(fields["samplesBase64"]) if encoding == "json-base64" else fields["samples"]
    return np.frombuffer(raw, "<i2")


@given(
    st.sampled_from(ENCODINGS),
    st.integers(1, 30),
    st.integers(0, 2**31 - 1),
    st.lists(st.tuples(st.integers(0, 29), st.integers(0, 100), st.booleans()), min_size=1, max_size=5),
)
def test_bodies_carry_the_fields_and_samples_of_their_segments(encoding, patients, first, sends) -> None:
    traffic = Traffic(patients=patients, segments_per_minute=60)
    recording = a_recording(duration_s=7.5)
    bank = filled(traffic, [recording], encoding, Names(run="r", first_sequence=first))
    several = [Delivery(0.0, stream % patients, number, "timely", last) for stream, number, last in sends]
    items = decoded(bank.body(several), encoding)
    assert len(items) == len(several)
    for fields, one in zip(items, several, strict=True):
        assert fields["patientId"] == f"r-{one.stream:05d}"
        assert fields["deviceId"] == f"r-device-{one.stream:05d}"
        assert fields["sequence"] == first + one.number == bank.sequence(one)
        assert fields["startTime"] == bank.start_ns(one)
        assert fields.get("isLast", False) is one.is_last
        assert (fields["fs"], fields["gain"], fields["lead"]) == (125.0, 200.0, "MLII")
        pieces = [recording.counts[0, k * 125 : (k + 1) * 125] for k in range(7)]
        assert any(np.array_equal(counts(fields, encoding), piece) for piece in pieces)


def test_only_what_will_be_sent_is_encoded() -> None:
    traffic = Traffic(patients=2, segments_per_minute=60, duration_s=3)
    bank = Bank(traffic, [a_recording(duration_s=60), a_recording(duration_s=60)], "json", Names())
    assert len(list(bank.fill())) == 6
    assert all(decoded(bank.body([one]), "json")[0]["samples"] for one in deliveries(traffic))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_stream_walks_through_its_record_and_begins_again(encoding: str) -> None:
    recording = a_recording(duration_s=5.0)
    bank = filled(Traffic(patients=1, segments_per_minute=60), [recording], encoding)
    bodies = [decoded(bank.body([Delivery(0.0, 0, number)]), encoding)[0] for number in range(10)]
    walked = np.concatenate([counts(fields, encoding) for fields in bodies[:5]])
    begins = [k for k in range(5) if np.array_equal(np.roll(recording.counts[0], -125 * k), walked)]
    assert len(begins) == 1
    np.testing.assert_array_equal(walked, np.concatenate([counts(fields, encoding) for fields in bodies[5:]]))


def test_segments_of_a_stream_follow_each_other_to_the_nanosecond() -> None:
    bank = filled(Traffic(patients=4), [a_recording(duration_s=60)])
    starts = [bank.start_ns(Delivery(0.0, 3, number)) for number in range(5)]
    assert set(np.diff(starts)) == {30_000_000_000}
    assert starts[0] == BEGIN_NS + round((3 * 30 / 4 - 30) * 1e9), "its last sample is taken when it is sent"


def test_clocks_are_wrong_by_no_more_than_asked() -> None:
    traffic = Traffic(patients=200, clock_skew_s=5.0, clock_drift_ppm=100.0)
    bank = filled(traffic, [a_recording(duration_s=60)])
    plain = filled(Traffic(patients=200), [a_recording(duration_s=60)])
    starts, steps = [], []
    for stream in range(200):
        at_ns = [bank.start_ns(Delivery(0.0, stream, number)) for number in (0, 1000)]
        starts.append(at_ns[0] - plain.start_ns(Delivery(0.0, stream, 0)))
        steps.append((at_ns[1] - at_ns[0]) / 30_000e9 - 1)
    assert 4 < max(map(abs, starts)) / 1e9 <= 5
    assert 90 < max(map(abs, steps)) * 1e6 <= 100.01


def test_scenes_are_allotted_in_proportion() -> None:
    names = [scene.name for scene in allotted({"healthy": 2, "svt": 1}, 9)]
    assert (names.count("healthy"), names.count("svt")) == (6, 3)
    assert len(allotted(None, 80)) == 80
    assert {scene.name for scene in allotted(None, 80)} == set(SCENES)
    with pytest.raises(InputInvalid, match="no scene"):
        allotted({"happy": 1}, 3)
    with pytest.raises(InputInvalid, match="weights"):
        allotted({"healthy": 0}, 3)


def test_the_truth_counts_from_the_first_sample_sent() -> None:
    """Over the end of the record too: each true beat stands on its deflection."""
    traffic = Traffic(patients=3, segments_per_minute=4)
    records = virtual_records(traffic, {"healthy": 1})
    bank = filled(traffic, records)
    truth = list(bank.truth([50, 2, 0]))
    assert [line["samples"] for line in truth] == [50 * 1875, 2 * 1875, 0]
    sent = np.concatenate(
        [counts(decoded(bank.body([Delivery(0.0, 0, k)]), "json")[0], "json") for k in range(50)]
    )
    positions = np.array(truth[0]["beats"]["positions"])
    assert 50 * 15 < positions.size < 50 * 25
    inside = positions[(positions > 5) & (positions < sent.size - 5)]
    heights = [sent[p - 3 : p + 4].max() for p in inside]
    assert np.mean(np.array(heights) > 80) > 0.98
    assert {line["kind"] for line in truth[0]["episodes"]} == {"sinus"}


def test_noise_is_laid_over_real_records_and_missing_samples_stay_missing() -> None:
    counts_in = np.zeros((1, 1250), np.int16)
    counts_in[0, 100:200] = -32768
    recording = Recording(RecordingInfo("flat", 125.0, (Lead("II", 200.0, 0),), 1250), counts_in)
    traffic = Traffic(patients=1, segments_per_minute=6)
    bank = filled(traffic, [recording], noises=(Noise("muscle", 0.2),))
    sent = counts(decoded(bank.body([Delivery(0.0, 0, 0)]), "json")[0], "json")
    assert (sent[100:200] == -32768).all()
    assert 20 < sent[200:].std() < 80


def test_fine_counts_are_made_to_fit_into_sixteen_bits() -> None:
    fine = np.full((1, 1250), 300_000, np.int32)
    recording = Recording(RecordingInfo("fine", 125.0, (Lead("II", 100_000.0, 0),), 1250), fine)
    bank = filled(Traffic(patients=1, segments_per_minute=6), [recording])
    fields = decoded(bank.body([Delivery(0.0, 0, 0)]), "json")[0]
    assert np.array(fields["samples"][0]) / fields["gain"] == 3.0


def test_device_tokens_name_the_patients() -> None:
    traffic = Traffic(patients=2)
    names = Names(device_tokens={"a": "eid_a", "b": "eid_b", "c": "eid_c"})
    bank = filled(traffic, [a_recording()], names=names)
    plan = list(deliveries(traffic))
    assert [bank.token(one) for one in plan[:2]] == ["eid_a", "eid_b"]
    fields = decoded(bank.body(plan[:1]), "json")[0]
    assert fields["deviceId"] == "a"
    assert "patientId" not in fields
    with pytest.raises(InputInvalid, match="batch"):
        Bank(Traffic(patients=2, batch=2), [a_recording()], "json", names)
    with pytest.raises(InputInvalid, match="device tokens"):
        Bank(Traffic(patients=4), [a_recording()], "json", names)


@pytest.mark.parametrize("token", ["a b", "a\r\nX: y", "ü"])
def test_no_token_breaks_out_of_its_header(token: str) -> None:
    with pytest.raises(InputInvalid, match="token"):
        Names(gateway_token=token)
