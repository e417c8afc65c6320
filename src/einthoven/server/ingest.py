"""``POST /v1/segments``: the hot route, as a lean ASGI application beside the framework.

Parsing and analysis are what it costs; see docs/performance.md for what the framework would add.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final

from einthoven.clock import Clock
from einthoven.errors import (
    AccessDenied,
    AlertStepRefused,
    CallerError,
    Conflict,
    DatabaseUnavailable,
    DigestMismatch,
    EinthovenError,
    InputInvalid,
    NotFound,
    Overloaded,
    RateExceeded,
    RulesRefused,
    SequenceReused,
    TokenInvalid,
)
from einthoven.server.engine import Outcome
from einthoven.server.intake import Intake, status_word
from einthoven.server.metrics import METRICS
from einthoven.server.payload_opening import NotOpenedHere, OpenedPayload
from einthoven.server.tracing import NO_TRACES, Spans
from einthoven.server.wire import (
    Answer,
    Arrival,
    Encoding,
    Envelope,
    Mode,
    Sender,
    decode_segments,
    encode_answers,
    refusal,
)

__all__ = ["INGEST_PATH", "SEALED", "STATUS", "IngestRoute", "status_of", "token_in"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

INGEST_PATH: Final = "/v1/segments"
BODY_MAX: Final = 16 * 2**20
"""Most bytes in one request: 256 segments of a minute as JSON."""
RETRY_AFTER_S: Final = 1
STATUS: Final[dict[type[EinthovenError], int]] = {
    TokenInvalid: 401,
    AccessDenied: 403,
    SequenceReused: 409,
    AlertStepRefused: 409,
    RulesRefused: 409,
    Conflict: 409,
    NotFound: 404,
    DigestMismatch: 422,
    CallerError: 400,
    RateExceeded: 429,
    Overloaded: 503,
    DatabaseUnavailable: 503,
}
"""HTTP's word for each kind of error; of a kind that is not listed its parent's; else 500."""
SEALED: Final = "application/vnd.einthoven.sealed"
"""Type of a body that is one envelope; see docs/reference/payloads.md."""
_SEALED: Final = SEALED.encode()
_TYPES: Final[dict[bytes, Encoding]] = {
    b"": "json",
    b"application/json": "json",
    b"application/msgpack": "msgpack",
    b"application/x-msgpack": "msgpack",
    b"application/vnd.msgpack": "msgpack",
}


class _TooLarge(InputInvalid):
    """The body is larger than is read."""


class _WrongType(InputInvalid):
    """The body's type is not one of ours."""


def status_of(error: EinthovenError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, _TooLarge):
        return 413
    if isinstance(error, (_WrongType, NotOpenedHere)):
        return 415
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return 500


class IngestRoute:
    """An ASGI application.

    Parameters
    ----------
    identify : who a token belongs to; raises `TokenInvalid`, `AccessDenied` or `Overloaded`.
    unseal : what a device sealed; raises `EnvelopeRefused` and others.
    is_plain_taken : whether segments may come as they are.
    body_max_bytes : a larger request is refused.
    """

    def __init__(
        self,
        intake: Intake,
        identify: Callable[[str, int], Awaitable[Sender]],
        clock: Clock,
        *,
        unseal: Callable[[Sender, bytes], Awaitable[OpenedPayload]],
        is_plain_taken: bool = True,
        body_max_bytes: int = BODY_MAX,
        spans: Spans = NO_TRACES,
    ) -> None:
        self._spans = spans
        self._unseal = unseal
        self._is_plain_taken = is_plain_taken
        self._body_max_bytes = body_max_bytes
        self._intake = intake
        self._identify = identify
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        encoding: Encoding = "json"
        shown: str = encoding
        envelope: Envelope | None = None
        try:
            token, content_type, mode, length, parent = _headers(scope)
            kind = content_type.split(b";")[0].strip().lower()
            is_sealed = kind == _SEALED
            if is_sealed:
                shown = "sealed"
            else:
                shown = encoding = self._plain(kind)
            sender = await self._identify(token, 1)
            content = await _body(receive, length, self._body_max_bytes)
            began_s = self._clock.now_s()
            if is_sealed:
                opened = await self._unseal(sender, content)
                sender, encoding = opened.sender, opened.encoding
                content, envelope = opened.content, opened.envelope
            arrivals, is_list = decode_segments(
                content, encoding, sender, self._clock.utc_ns(), mode, envelope
            )
            if len(arrivals) > 1:
                await self._identify(token, len(arrivals) - 1)
            with self._spans.request(parent, shown, len(arrivals)) as told:
                outcomes = await self._perform(arrivals)
                told.update(Counter(map(status_word, outcomes)))
            if not is_list and isinstance(outcomes[0], EinthovenError):
                raise outcomes[0]
        except EinthovenError as error:
            METRICS.requests.labels(shown, str(status_of(error))).inc()
            await _respond(
                send, status_of(error), encode_answers(error.as_dict(), encoding), encoding, is_error=True
            )
            return
        answers = [_answer(arrivals[i], outcome) for i, outcome in enumerate(outcomes)]
        if any(answer.status == "refused" for answer in answers):
            status = 207
        else:
            status = 202 if mode == "accept" else 200
        METRICS.requests.labels(shown, str(status)).inc()
        METRICS.ingest.observe(self._clock.now_s() - began_s)
        await _respond(send, status, encode_answers(answers if is_list else answers[0], encoding), encoding)

    def _plain(self, kind: bytes) -> Encoding:
        """The encoding of a body that is not sealed."""
        if not self._is_plain_taken:
            raise _WrongType(
                "segments are taken sealed alone.",
                where="Content-Type",
                remedy=f"Seal them, and send {SEALED}; see docs/reference/payloads.md.",
            )
        encoding = _TYPES.get(kind)
        if encoding is None:
            raise _WrongType(
                "the type is not one of those that are read.",
                where="Content-Type",
                remedy=f"Send application/json, application/msgpack or {SEALED}.",
            )
        return encoding

    async def _perform(self, arrivals: Sequence[Arrival | CallerError]) -> list[Outcome]:
        """Outcomes in the order of the request; what was wrong from the start stays where it stood."""
        good = [arrival for arrival in arrivals if isinstance(arrival, Arrival)]
        found = iter(await self._intake.submit(good) if good else ())
        return [arrival if isinstance(arrival, CallerError) else next(found) for arrival in arrivals]


def _answer(arrival: Arrival | CallerError, outcome: Outcome) -> Answer:
    if isinstance(outcome, EinthovenError):
        return refusal(arrival.segment.sequence if isinstance(arrival, Arrival) else -1, outcome)
    return outcome


def _headers(scope: Scope) -> tuple[str, bytes, Mode, int, str]:
    token, content_type, mode, length, parent = "", b"", b"", 0, ""
    for name, value in scope["headers"]:
        if name == b"authorization":
            token = token_in(value)
        elif name == b"content-type":
            content_type = value
        elif name == b"prefer":
            mode = value
        elif name == b"content-length":
            length = int(value) if value.isdigit() else 0
        elif name == b"traceparent":
            parent = value.decode("latin-1")
    return token, content_type, "accept" if b"respond-async" in mode else "answer", length, parent


def token_in(value: bytes) -> str:
    """The token in an Authorization header; empty where there is none."""
    return value[7:].decode("latin-1").strip() if value[:7].lower() == b"bearer " else ""


async def _body(receive: Receive, length: int, most: int) -> bytes:
    if length > most:
        raise _too_large(most)
    parts = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InputInvalid("the request ended before its body.", where="request")
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            raise _too_large(most)
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(most: int) -> _TooLarge:
    return _TooLarge(
        f"the request is larger than {most} bytes.", where="request", remedy="Split it into several."
    )


async def _respond(
    send: Send, status: int, content: bytes, encoding: Encoding, *, is_error: bool = False
) -> None:
    kind = b"application/msgpack" if encoding == "msgpack" else b"application/json"
    headers = [(b"content-type", kind), (b"content-length", str(len(content)).encode())]
    if is_error and status in (429, 503):
        headers.append((b"retry-after", str(RETRY_AFTER_S).encode()))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
