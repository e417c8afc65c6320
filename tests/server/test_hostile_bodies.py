"""Whatever is sent to the hot route: an answer that says what is wrong, and a worker that lives on."""

import json
import logging
import math
import socket
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einthoven.testing.serving import Served, a_segment, packed

GOOD = a_segment(0, seconds=2.0, patientId="p1", deviceId="d1")
FIELDS = (*GOOD, "gain", "baseline", "lead", "isLast", "samplesBase64", "surprise", "")
NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from(
        [0, -1, 2**31, 2**53, 2**62, 2**63, 2**64 - 1, -(2**63), 1e308, 5e-324, math.nan, math.inf, -math.inf]
    ),
)
TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "1969-12-31T23:59:59Z",
            "2026-02-30T00:00:00Z",
            "2026-11-26T08:00:00",
            "2026-11-26T08:00:00+99:00",
            "p1\n",
            "p1\0",
            "../../etc/passwd",
            "' OR 1=1 --",
            "A" * 65,
            "QUJ",
            "====",
            "AAA=",
            "\ud800",
        ]
    ),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
DISTORTED = st.dictionaries(st.sampled_from(FIELDS), VALUES, min_size=1, max_size=3)
TYPES = st.sampled_from(
    [
        "application/json",
        "application/json; charset=utf-16",
        "application/msgpack",
        "application/x-msgpack",
        "APPLICATION/JSON",
        "text/plain",
        "",
        ";",
        "application/json, application/msgpack",
        "multipart/form-data",
    ]
)


def as_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=True).encode()


def as_msgpack(value: Any) -> bytes:
    """With samples as bytes where they are integers; integers beyond 64 bits as floats."""
    if isinstance(value, dict) and isinstance(value.get("samples"), list):
        try:
            return packed(value)
        except (OverflowError, ValueError, TypeError, UnicodeEncodeError):
            pass
    try:
        return msgspec.msgpack.encode(value)
    except (OverflowError, UnicodeEncodeError):
        return msgspec.msgpack.encode(repr(value))


def survives(served: Served, answer: httpx.Response) -> None:
    """No defect, no traceback; and a good segment is still taken."""
    assert answer.status_code < 500, answer.text
    assert b"Traceback" not in answer.content
    assert b".py" not in answer.content
    if answer.status_code >= 400 and answer.headers["Content-Type"] == "application/json":
        assert set(answer.json()) == {"code", "fault", "what", "where", "remedy"}


@pytest.fixture(scope="module")
def gateway(sqlite_served: Served) -> httpx.Client:
    return sqlite_served.gateway()


@pytest.fixture(autouse=True)
def lives_on(sqlite_served: Served, gateway: httpx.Client):
    """After each test the same worker takes a good segment, and its engine never failed."""
    yield
    good = a_segment(0, seconds=2.0, patientId="good", deviceId="good")
    answer = gateway.post("/v1/segments", json=good)
    assert answer.json()["status"] in ("analysed", "duplicate")
    assert sqlite_served.service.intake.counts.failed == 0


@given(st.binary(max_size=400), TYPES)
def test_random_bytes(sqlite_served: Served, gateway: httpx.Client, body: bytes, kind: str) -> None:
    survives(sqlite_served, gateway.post("/v1/segments", content=body, headers={"Content-Type": kind}))


@given(st.integers(0, 3000), st.booleans(), st.integers(0, 255), TYPES)
def test_a_good_body_cut_or_bent(sqlite_served, gateway, at: int, is_packed: bool, byte: int, kind) -> None:
    whole = packed(GOOD) if is_packed else as_json(GOOD)
    at %= len(whole)
    for body in (whole[:at], whole[:at] + bytes([byte]) + whole[at + 1 :]):
        survives(sqlite_served, gateway.post("/v1/segments", content=body, headers={"Content-Type": kind}))


@settings(max_examples=300)
@given(DISTORTED, st.booleans(), st.booleans(), st.booleans(), st.integers(0, 40))
def test_a_good_segment_with_wrong_values(
    sqlite_served, gateway, wrong: dict[str, Any], is_packed: bool, is_list: bool, waits: bool, number: int
) -> None:
    """Also with a device of its own, so that what is taken is analysed and not only compared."""
    body: Any = {**GOOD, "deviceId": f"d{number}", "sequence": number} | wrong
    if is_list:
        body = [body, {**GOOD, "deviceId": "beside"}]
    content = as_msgpack(body) if is_packed else as_json(body)
    headers = {"Content-Type": "application/msgpack" if is_packed else "application/json"}
    if not waits:
        headers["Prefer"] = "respond-async"
    survives(sqlite_served, gateway.post("/v1/segments", content=content, headers=headers))


@given(VALUES, st.booleans())
def test_anything_else_that_is_json_or_msgpack(sqlite_served, gateway, value: Any, is_packed: bool) -> None:
    content = as_msgpack(value) if is_packed else as_json(value)
    kind = "application/msgpack" if is_packed else "application/json"
    survives(sqlite_served, gateway.post("/v1/segments", content=content, headers={"Content-Type": kind}))


DEEP = 200_000


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"[" * DEEP, "application/json", 400),
        (b'{"a":' * DEEP, "application/json", 400),
        (
            b'{"sequence":0,"startTime":0,"samples":' + b"[" * DEEP + b"]" * DEEP + b"}",
            "application/json",
            400,
        ),
        (b"\x91" * DEEP, "application/msgpack", 400),
        (b"\x81\xa1a" * DEEP, "application/msgpack", 400),
        (b"\xdd\xff\xff\xff\xff", "application/msgpack", 400),
        (b"\xdf\xff\xff\xff\xff", "application/msgpack", 400),
        (b"\xc6\xff\xff\xff\xff", "application/msgpack", 400),
        (b"", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"[" + b",".join([b"{}"] * 257) + b"]", "application/json", 400),
        (as_json({**GOOD, "samples": [0] * 10**6}), "application/json", 400),
        (as_json([GOOD] * 257), "application/json", 400),
        (as_json({**GOOD, "samples": [10**400]}), "application/json", 400),
        (as_json({**GOOD, "sequence": 10**400}), "application/json", 400),
        (b'{"sequence": 1e999, "startTime": 0, "samples": []}', "application/json", 400),
        (b"\xef\xbb\xbf{}", "application/json", 400),
        (as_json({**GOOD, "startTime": "0001-01-01T00:00:00Z"}), "application/json", 400),
        (as_json({**GOOD, "startTime": "9999-12-31T23:59:59Z"}), "application/json", 400),
        (as_json({**GOOD, "startTime": -1}), "application/json", 400),
        (as_json({**GOOD, "startTime": 2**62}), "application/json", 400),
        (as_json({**GOOD, "sequence": 2**53}), "application/json", 400),
        (as_json({**GOOD, "lead": "a\0"}), "application/json", 400),
        (b'{"sequence":0,"startTime":0,"lead":"\xff\xfe","samples":[]}', "application/json", 400),
        (b" " * (17 * 2**20), "application/json", 413),
        (as_json(GOOD), "text/csv", 415),
    ],
    ids=range(26),
)
def test_known_attacks(sqlite_served, gateway, content: bytes, kind: str, status: int) -> None:
    answer = gateway.post("/v1/segments", content=content, headers={"Content-Type": kind})
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: -1\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Content-Length: abc\r\n",
        b"Content-Length: 0x10\r\n",
        b"Content-Length: 10\r\nContent-Length: 20\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Authorization: Bearer \xff\xfe\r\nContent-Length: 2\r\n",
        b"Authorization: " + b"A" * 60_000 + b"\r\nContent-Length: 2\r\n",
        b"Content-Type: \x01\x02\r\nContent-Length: 2\r\n",
        b"Content-Type: application/json\r\nContent-Type: application/msgpack\r\nContent-Length: 2\r\n",
        b"Prefer: " + b"respond-async," * 1000 + b"\r\nContent-Length: 2\r\n",
        b"\x00: x\r\n",
        b" folded\r\n",
    ],
    ids=range(14),
)
def test_bad_headers(sqlite_served: Served, gateway: httpx.Client, head: bytes) -> None:
    """Straight to the socket; an answer of the caller's fault, or the connection ends."""
    host, port = sqlite_served.url.removeprefix("http://").split(":")
    token = gateway.headers["Authorization"].encode()
    own = b"" if b"Authorization" in head else b"Authorization: " + token + b"\r\n"
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(b"POST /v1/segments HTTP/1.1\r\nHost: x\r\n" + own + head + b"\r\n{}")
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while part := connection.recv(65_536):
            received += part
    if received:
        assert received.startswith(b"HTTP/1.1 4"), received[:200]
        assert b"Traceback" not in received


def test_a_client_that_goes_away_in_the_middle(sqlite_served: Served, gateway: httpx.Client) -> None:
    host, port = sqlite_served.url.removeprefix("http://").split(":")
    token = gateway.headers["Authorization"].encode()
    for sent in (b"", b"{", as_json(GOOD)[:100]):
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(
                b"POST /v1/segments HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\nAuthorization: "
                + token
                + b"\r\n\r\n"
                + sent
            )


PATIENT = "pseudonym-7Q4Z"


def test_logs_and_errors_hold_no_patient_no_token_and_no_sample(
    sqlite_served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """One run with a known pseudonym, in which as much as possible goes wrong, at the chattiest level.

    The log of requests, with their paths, is off; pytest listens to it all the same.
    """
    assert not logging.getLogger("uvicorn.access").propagate
    id_, secret = sqlite_served.token("device", PATIENT)
    device = sqlite_served.client(secret)
    clinician, admin = sqlite_served.person("clinician"), sqlite_served.person("admin")
    marked = np.full(250, 23571, np.int16).tolist()
    told = []
    with caplog.at_level(logging.DEBUG):
        for body in (
            a_segment(0, seconds=2.0),
            {**a_segment(0, seconds=2.0), "samples": marked},
            {**a_segment(1, seconds=2.0), "samples": [*marked, 99999]},
            {**a_segment(1, seconds=2.0), "patientId": "other"},
            {**a_segment(1, seconds=2.0), "fs": 1},
            {**a_segment(1, seconds=2.0), PATIENT: 1},
            [a_segment(1, seconds=2.0), a_segment(2, seconds=2.0, gain=0.0)],
        ):
            answer = device.post("/v1/segments", json=body)
            if answer.status_code not in (200, 207):
                told.append(answer.text)
        for client in (clinician, admin, device, sqlite_served.client("eid_" + PATIENT)):
            paths = (
                f"/v1/streams/{PATIENT}-none",
                f"/v1/patients/{PATIENT}%00/segments",
                f"/v1/patients/{PATIENT}/segments?from={PATIENT}",
                f"/v1/{PATIENT}",
                f"/v1/users/{PATIENT}",
            )
            told += [client.get(path).text for path in paths]
            told.append(client.post("/v1/users", json={PATIENT: PATIENT}).text)
            told.append(client.post("/v1/login", json={"name": PATIENT.lower(), "password": PATIENT}).text)
        admin.delete(f"/v1/tokens/{id_}")
    told += [
        record.getMessage() for record in caplog.records if record.name.startswith(("einthoven", "litestar"))
    ]
    told += [record.getMessage() for record in caplog.records if record.name == "uvicorn.error"]
    with sqlite_served.writing() as statements:
        told.append(repr(statements.rows("SELECT * FROM audit")))
    for text in told:
        for word in (PATIENT, PATIENT.lower(), secret, "23571", "99999"):
            assert word not in text, text[:300]
