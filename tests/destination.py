"""A little service to send to: analyses truly, or misbehaves in the way that the path names.

Run as a program it prints its port. Its wire format is that of the service, unknown fields refused.
"""

import asyncio
import base64
import socket
import sys
from typing import Any

import msgspec
import numpy as np
import uvicorn

from einthoven.clock import SystemClock
from einthoven.errors import InputInvalid
from einthoven.runtime.online import OnlinePath, Receipt
from einthoven.signal.findings import BEAT_CLASSES
from einthoven.signal.recording import Lead, Recording, RecordingInfo, Segment


class Sent(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    device_id: str
    sequence: int
    start_time: int | str
    patient_id: str | None = None
    fs: float = 125.0
    gain: float = 200.0
    baseline: int = 0
    lead: str = "ECG"
    is_last: bool = False
    samples: list[int] | bytes | None = None
    samples_base64: str | None = None


CHAOS = ("true", "busy", "true", "limited", "drops", "true", "broken", "hangs", "partly", "true", "true")
"""A prime number of behaviours, so that a request sent again meets another."""


class Numbered(msgspec.Struct):
    sequence: int


CANNED = (
    b'"first":0,"until":3000,"fs":125.0,"beats":{"positions":[100,200],"classes":"NN"},'
    b'"heartRate":{"mean":75,"min":75,"max":75},"episodes":[],"conditions":[],"quality":{"grades":[30,0,0]}}'
)


def segment(sent: Sent) -> Segment:
    if isinstance(sent.samples, list):
        counts = np.array(sent.samples, np.int16)
    else:
        raw = base64.b64decode(sent.samples_base64) if sent.samples is None else sent.samples
        counts = np.frombuffer(raw, "<i2").astype(np.int16)
    info = RecordingInfo("sent", sent.fs, (Lead(sent.lead, sent.gain, sent.baseline),), counts.size)
    patient = sent.patient_id or sent.device_id
    return Segment(
        patient, sent.device_id, sent.sequence, int(sent.start_time), Recording(info, counts[None, :])
    )


def answer(receipt: Receipt) -> dict[str, Any]:
    found = receipt.findings
    said = {"sequence": receipt.sequence, "status": receipt.status, "startTime": receipt.start_ns}
    if found is None or receipt.status == "late":
        return said
    return said | {
        "first": found.first,
        "until": found.until,
        "fs": found.fs,
        "beats": {
            "positions": found.beats.positions.tolist(),
            "classes": "".join(BEAT_CLASSES[code] for code in found.beats.classes),
        },
        "heartRate": msgspec.to_builtins(found.heart_rate),
        "episodes": [msgspec.to_builtins(one) for one in found.episodes],
        "conditions": [msgspec.to_builtins(one) for one in found.conditions],
        "quality": {"grades": [found.quality.seconds(grade) for grade in (1, 2, 3)]},
    }


class Destination:
    """One behaviour a path; a misbehaving one misbehaves at its every third request."""

    def __init__(self) -> None:
        self.online: dict[str, OnlinePath] = {}
        self.requests: dict[str, int] = {}
        self.seen: dict[str, list[tuple[str, int]]] = {}

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            part = await receive()
            body += part["body"]
            if not part.get("more_body"):
                break
        path = scope["path"]
        headers = dict(scope["headers"])
        number = self.requests[path] = self.requests.get(path, 0) + 1
        behaviour = path.split("/")[1]
        if behaviour == "seen":
            await self.say(send, 200, msgspec.json.encode(self.seen.get(path.removeprefix("/seen"), [])))
            return
        is_bad_turn = number % 3 == 0
        if behaviour == "chaos":
            behaviour = CHAOS[7 * number % len(CHAOS)]
            is_bad_turn = True
        if behaviour == "guarded" and headers.get(b"authorization") != b"Bearer eig_right":
            problem = {"code": "token-invalid", "fault": "caller", "what": "", "where": "", "remedy": ""}
            await self.say(send, 401, msgspec.json.encode(problem))
        elif behaviour == "busy" and is_bad_turn:
            await self.say(send, 503, b"{}", (b"retry-after", b"0.05"))
        elif behaviour == "limited" and is_bad_turn:
            await self.say(send, 429, b"{}", (b"retry-after", b"0.05"))
        elif behaviour == "broken" and is_bad_turn:
            await self.say(send, 500, b"oh")
        elif (behaviour == "hangs" and is_bad_turn) or behaviour == "silent":
            await asyncio.sleep(3600)
        elif behaviour == "error-text" and is_bad_turn:
            await self.say(send, 200, b'{"error":"out of memory"}')
        elif behaviour == "not-json" and is_bad_turn:
            await self.say(send, 200, b"<html>")
        else:
            await self.serve(path, behaviour, is_bad_turn, headers, body, send)

    async def serve(self, path, behaviour, is_bad_turn, headers, body, send) -> None:
        is_packed = headers[b"content-type"] == b"application/msgpack"
        decode, encode = (
            (msgspec.msgpack.decode, msgspec.msgpack.encode)
            if is_packed
            else (msgspec.json.decode, msgspec.json.encode)
        )
        sent = decode(body, type=Sent | list[Sent])
        items = sent if isinstance(sent, list) else [sent]
        answers = [self.analyse(path, one) for one in items]
        if behaviour == "drops" and is_bad_turn:
            head = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9999")]}
            await send(head)
            await send({"type": "http.response.body", "body": b"{", "more_body": True})
            raise ConnectionAbortedError
        if behaviour == "wrong-sequence" and is_bad_turn:
            answers[0]["sequence"] += 1
        if behaviour == "wrong-status" and is_bad_turn:
            answers[0]["status"] = "fine"
        if behaviour == "insane" and is_bad_turn:
            answers[0]["beats"] = {"positions": [900, 100], "classes": "NN"}
        if behaviour == "shapeless" and is_bad_turn:
            del answers[0]["beats"]
        if behaviour == "partly" and is_bad_turn:
            answers[-1] = {
                "sequence": items[-1].sequence,
                "status": "refused",
                "error": {"code": "overload", "fault": "ours", "what": "", "where": "", "remedy": ""},
            }
        await self.say(send, 200, encode(answers if isinstance(sent, list) else answers[0]))

    def analyse(self, path: str, one: Sent) -> dict[str, Any]:
        self.seen.setdefault(path, []).append((one.device_id, one.sequence))
        online = self.online.setdefault(path, OnlinePath(SystemClock()))
        try:
            return answer(online.receive(segment(one), is_last=one.is_last))
        except InputInvalid as error:
            return {"sequence": one.sequence, "status": "refused", "error": error.as_dict()}

    async def say(self, send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
        await send({"type": "http.response.body", "body": body})


def main(port: int = 0, certificate: str | None = None, key: str | None = None) -> None:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen(128)
    print(listening.getsockname()[1], flush=True)  # noqa: T201
    settings = uvicorn.Config(
        Destination(),
        log_level="critical",
        access_log=False,
        lifespan="off",
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    uvicorn.Server(settings).run(sockets=[listening])


if __name__ == "__main__":
    sys.exit(main(*(int(word) if word.isdecimal() else word for word in sys.argv[1:])))
