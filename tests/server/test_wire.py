"""Segments over the wire: three spellings of the same thing."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.errors import AccessDenied, CallerError, InputInvalid
from einthoven.server.wire import (
    BATCH_MAX,
    Answer,
    Arrival,
    Encoding,
    Sender,
    decode_segments,
    digest_of,
    encode_answers,
    utc_text,
)

GATEWAY = Sender("main", 1, None, None)
DEVICE = Sender("main", 2, "p-1", "d-1")
START = datetime(2026, 11, 26, 1, 2, 3, 456789, UTC)
START_NS = int(START.timestamp()) * 10**9 + 456_789_000


def spelled(samples: list[int], spelling: str, **more: Any) -> tuple[bytes, Encoding]:
    body: dict[str, Any] = {"sequence": 7, "startTime": "2026-11-26T01:02:03.456789Z", **more}
    packed = np.array(samples, "<i2").tobytes()
    if spelling == "json":
        return json.dumps({**body, "samples": samples}).encode(), "json"
    if spelling == "base64":
        return json.dumps({**body, "samplesBase64": base64.b64encode(packed).decode()}).encode(), "json"
    return msgspec.msgpack.encode({**body, "samples": packed}), "msgpack"


def one(content: bytes, encoding: Encoding, sender: Sender = DEVICE) -> Arrival:
    (arrival,), _ = decode_segments(content, encoding, sender, 0)
    if isinstance(arrival, CallerError):
        raise arrival
    return arrival


@given(
    samples=st.lists(st.integers(-32768, 32767), max_size=50), spelling=st.sampled_from(["base64", "msgpack"])
)
def test_each_spelling_says_the_same(samples: list[int], spelling: str) -> None:
    arrival, other = one(*spelled(samples, "json")), one(*spelled(samples, spelling))
    assert arrival.segment.recording.counts.tolist() == other.segment.recording.counts.tolist() == [samples]
    assert digest_of(arrival.segment) == digest_of(other.segment)
    assert (arrival.segment.patient, arrival.segment.device, arrival.segment.sequence) == ("p-1", "d-1", 7)
    assert arrival.segment.start_ns == other.segment.start_ns == START_NS


def test_a_time_is_text_or_ns() -> None:
    assert one(*spelled([1], "json", startTime=START_NS)).segment.start_ns == START_NS
    assert (
        one(*spelled([1], "json", startTime="2026-11-26T02:02:03.456789+01:00")).segment.start_ns == START_NS
    )
    assert utc_text(START_NS) == "2026-11-26T01:02:03.456789Z"


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_a_list_is_answered_as_a_list_even_of_one(encoding: Encoding) -> None:
    body = {"sequence": 1, "startTime": 5, "samples": [1] if encoding == "json" else b"\1\0"}
    packed = json.dumps([body]).encode() if encoding == "json" else msgspec.msgpack.encode([body])
    arrivals, is_list = decode_segments(packed, encoding, DEVICE, 0)
    assert is_list
    assert len(arrivals) == 1


def test_a_gateway_says_whose_segment_it_is() -> None:
    with pytest.raises(InputInvalid, match="patientId"):
        one(*spelled([1], "json"), GATEWAY)
    arrival = one(*spelled([1], "json", patientId="p-9", deviceId="d-9"), GATEWAY)
    assert (arrival.segment.patient, arrival.segment.device) == ("p-9", "d-9")


@pytest.mark.parametrize("field", ["patientId", "deviceId"])
def test_a_device_speaks_for_nobody_else(field: str) -> None:
    with pytest.raises(AccessDenied) as caught:
        one(*spelled([1], "json", **{field: "p-2"}))
    assert "p-2" not in str(caught.value)


@pytest.mark.parametrize(
    "more",
    [
        {"sequence": -1},
        {"sequence": 2**53},
        {"fs": 10},
        {"fs": float("nan")},
        {"gain": 0},
        {"baseline": 2**40},
        {"lead": ""},
        {"lead": "L" * 17},
        {"startTime": -1},
        {"startTime": 2**62},
        {"startTime": "yesterday"},
        {"startTime": "2026-11-26T01:02:03"},
        {"unknown": 1},
        {"sequence": "7"},
        {"samples": None},
    ],
)
def test_what_breaks_the_contract_is_refused_by_name(more: dict[str, Any]) -> None:
    content = msgspec.json.encode({"sequence": 7, "startTime": 5, "samples": [1, 2], **more})
    with pytest.raises(InputInvalid):
        one(content, "json")


def test_a_minute_is_the_longest_segment() -> None:
    assert one(*spelled([0] * 7500, "json")).segment.recording.info.samples == 7500
    with pytest.raises(InputInvalid, match="60 s"):
        one(*spelled([0] * 7501, "json"))


def test_one_wrong_segment_of_a_list_is_wrong_alone() -> None:
    bodies = [
        {"sequence": k, "startTime": 5, "samples": [1], "fs": 125 + 10_000 * (k == 1)} for k in range(3)
    ]
    arrivals, _ = decode_segments(json.dumps(bodies).encode(), "json", DEVICE, 0)
    assert [isinstance(arrival, Arrival) for arrival in arrivals] == [True, False, True]


@pytest.mark.parametrize("count", [0, BATCH_MAX + 1])
def test_a_list_is_neither_empty_nor_endless(count: int) -> None:
    bodies = [{"sequence": k, "startTime": 5, "samples": []} for k in range(count)]
    with pytest.raises(InputInvalid, match="1 to 256"):
        decode_segments(json.dumps(bodies).encode(), "json", DEVICE, 0)


@given(content=st.binary(max_size=200), encoding=st.sampled_from(["json", "msgpack"]))
def test_any_bytes_are_segments_or_a_typed_error(content: bytes, encoding: Encoding) -> None:
    try:
        decode_segments(content, encoding, DEVICE, 0)
    except CallerError as error:
        assert error.what


def test_an_answer_reads_the_same_in_both_encodings() -> None:
    answer = Answer(3, "late", start_time="2026-11-26T00:00:00Z")
    assert msgspec.json.decode(encode_answers(answer, "json")) == msgspec.msgpack.decode(
        encode_answers(answer, "msgpack")
    )
