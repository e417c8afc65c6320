"""Our host of functions behind an AWS Lambda function URL: events are requests, what is returned an answer.

Source: AWS Lambda Developer Guide, "Invoking Lambda function URLs", payload format 2.0. What the platform
takes and gives is text, or base64 where it is none. `handler` is what Lambda is told to call; its settings
are environment variables, docs/reference/function-host.md names them.
"""

import asyncio
import base64
import binascii
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, Protocol
from urllib.parse import unquote

import msgspec

from einthoven.clock import SystemClock
from einthoven.errors import InputInvalid
from einthoven.runtime.ecg_functions import Reading
from einthoven.runtime.hosted import Hosted
from einthoven.runtime.kernels import warm_kernels
from einthoven.runtime.worker_pool import WorkerPool
from einthoven.server.function_host import FunctionHost, FunctionProblem, HostLimits, in_workers

__all__ = ["FunctionUrl", "LambdaContext", "handler"]

_ANSWER_MAX_BYTES: Final = 6 * 2**20 - 2**14
"""Of the text that is returned: Lambda takes 6 MB, with headers."""
_TEXT_MAX_BYTES: Final = 2**18
"""A longer text goes in base64: each quotation mark of JSON is written as two."""
_TEXTS: Final = ("application/json", "application/problem+json", "text/")
_LEAST_S: Final = 0.05
_MARGIN_S: Final = 0.5
"""So long before Lambda would end it a call is told that it took too long."""


class LambdaContext(Protocol):
    """What Lambda tells of an invocation."""

    def get_remaining_time_in_millis(self) -> int:
        """Until it is ended."""
        ...


class _Http(msgspec.Struct, frozen=True):
    method: str


class _RequestContext(msgspec.Struct, frozen=True):
    http: _Http


class _Event(msgspec.Struct, frozen=True, rename="camel"):
    """What of an event is looked at; the rest says where it came from."""

    version: str
    raw_path: str
    request_context: _RequestContext
    headers: dict[str, str] = {}
    body: str | None = None
    is_base64_encoded: bool = False


class FunctionUrl:
    """A host that gets its requests as events.

    Parameters
    ----------
    tokens : one of these must be given as bearer token; none: everybody may call.
    """

    def __init__(self, hosted: Hosted, *, tokens: tuple[str, ...] = ()) -> None:
        self._hosted = hosted
        self._tokens = tokens
        self._workers = WorkerPool(1)
        self._runner = asyncio.Runner()
        self._host: FunctionHost | None = None

    def __call__(self, event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
        """The answer to one event.

        Raises
        ------
        InputInvalid : it is none of a function URL.
        """
        try:
            request = msgspec.convert(event, _Event)
            body = request.body or ""
            content = base64.b64decode(body, validate=True) if request.is_base64_encoded else body.encode()
        except (msgspec.ValidationError, binascii.Error, ValueError):
            raise InputInvalid(
                "the event is not one of a function URL with payload format 2.0.",
                where="event",
                remedy="Call the function by its URL.",
            ) from None
        if self._workers.hangs:  # no other instance is made while this one lives
            os._exit(1)
        if self._host is None:
            self._host = self._made(context.get_remaining_time_in_millis() / 1000)
        return self._runner.run(_answered(self._host, request, content))

    def close(self) -> None:
        """End the worker."""
        self._runner.close()
        self._workers.close()

    def _made(self, longest_s: float) -> FunctionHost:
        """Lambda sends one event at a time; it is ended with the time of the first, which is that of all."""
        warm_kernels()
        return FunctionHost(
            self._hosted,
            in_workers(self._hosted, self._workers, longest_s),
            SystemClock(),
            limits=HostLimits(timeout_max_s=max(_LEAST_S, longest_s - _MARGIN_S)),
            tokens=self._tokens,
        )


async def _answered(host: FunctionHost, request: _Event, content: bytes) -> dict[str, Any]:
    scope = {
        "type": "http",
        "method": request.request_context.http.method,
        "path": unquote(request.raw_path),
        "headers": [
            (name.lower().encode("latin-1"), value.encode("latin-1", "replace"))
            for name, value in request.headers.items()
        ],
    }
    said: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: Any) -> None:
        said.append(message)

    await host(scope, receive, send)
    start, *parts = said
    headers = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
    del headers["content-length"]
    return _returned(start["status"], headers, b"".join(part["body"] for part in parts))


def _returned(status: int, headers: dict[str, str], content: bytes) -> dict[str, Any]:
    is_text = headers["content-type"].startswith(_TEXTS) and len(content) <= _TEXT_MAX_BYTES
    body = content.decode() if is_text else base64.b64encode(content).decode()
    if len(body) > _ANSWER_MAX_BYTES:
        problem = FunctionProblem(
            title="Content Too Large",
            status=413,
            detail=f"the answer has {len(content)} bytes, more than Lambda gives back.",
            kind="payload",
            remedy="Pass it by reference: ecgDataFilePath.",
        )
        return _returned(413, {"content-type": "application/problem+json"}, msgspec.json.encode(problem))
    return {"statusCode": status, "headers": headers, "body": body, "isBase64Encoded": not is_text}


def handler(event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
    """What Lambda calls; see `FunctionUrl`."""
    return _own()(event, context)


@lru_cache(maxsize=1)
def _own() -> FunctionUrl:
    """The one of this process.

    Raises
    ------
    InputInvalid : anybody could call, and nobody said that they may.
    """
    token = os.environ.get("EINTHOVEN_FUNCTIONS_TOKEN", "").strip()
    if not token and os.environ.get("EINTHOVEN_FUNCTIONS_ANONYMOUS") != "1":
        raise InputInvalid(
            "the functions could be called by anybody.",
            where="EINTHOVEN_FUNCTIONS_TOKEN",
            remedy="Give a token, or set EINTHOVEN_FUNCTIONS_ANONYMOUS=1 where AWS_IAM asks who calls.",
        )
    hosted = Hosted(
        store=os.environ.get("EINTHOVEN_FUNCTIONS_STORE") or None,
        reading=Reading(folder=os.environ.get("EINTHOVEN_FUNCTIONS_FOLDER", "")),
    )
    return FunctionUrl(hosted, tokens=(token,) if token else ())
