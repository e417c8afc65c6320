"""Functions behind HTTP: any address gets a POST with the inputs as JSON, and answers with a JSON object."""

from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec

from einthoven.runtime.conducting import FunctionRefused, InvocationBroke
from einthoven.workflow import Break, Invoke

__all__ = ["ANSWER_MAX_BYTES", "INPUTS_MAX_BYTES", "HttpFunctions"]

ANSWER_MAX_BYTES: Final = 64 * 2**20
"""A longer answer is not read."""
INPUTS_MAX_BYTES: Final = 32 * 2**20
"""Longer inputs are not sent: it is what serverless platforms take at most. The rest goes by reference."""


class HttpFunctions:
    """Calls resources over HTTP, as many at a time as whoever drives wants.

    The header ``Idempotency-Key`` is the same in every attempt of an invocation, and after a restart.
    """

    def __init__(self, inputs_max_bytes: int = INPUTS_MAX_BYTES) -> None:
        self._inputs_max_bytes = inputs_max_bytes
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def invoke(self, invoke: Invoke) -> Any:
        """See `einthoven.runtime.conducting.Invoker`."""
        if invoke.resource is None or invoke.resource.family != "http":
            raise FunctionRefused(f"nobody here calls where the function {invoke.type!r} is")
        if self._session is None:
            limits = aiohttp.ClientTimeout(total=None, sock_connect=30.0)
            connector = aiohttp.TCPConnector(limit=0)
            self._session = aiohttp.ClientSession(timeout=limits, connector=connector)
        host = urlsplit(invoke.resource.address).hostname
        body = msgspec.json.encode(invoke.inputs)
        if len(body) > self._inputs_max_bytes:
            said = f"the inputs have {len(body)} bytes, and {host} is sent {self._inputs_max_bytes} at most"
            raise InvocationBroke("payload", f"{said}: pass them by reference")
        headers = {"Content-Type": "application/json", "Idempotency-Key": invoke.key}
        try:
            async with self._session.post(
                invoke.resource.address,
                data=body,
                headers=headers,
                allow_redirects=False,
            ) as answer:
                if answer.status >= 300:
                    raise InvocationBroke(
                        _kind(answer.status),
                        f"{host} answered {answer.status}",
                        _seconds(answer.headers.get("Retry-After")),
                    )
                return await _object(answer, str(host))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise InvocationBroke("transport", f"{host} cannot be reached ({type(error).__name__})") from None


async def _object(answer: aiohttp.ClientResponse, host: str) -> Any:
    content = bytearray()
    async for piece in answer.content.iter_any():
        content += piece
        if len(content) > ANSWER_MAX_BYTES:
            raise InvocationBroke("reply", f"{host} answered with more than {ANSWER_MAX_BYTES} bytes")
    try:
        return msgspec.json.decode(bytes(content))
    except (msgspec.DecodeError, RecursionError):
        raise InvocationBroke("reply", f"{host} did not answer with JSON") from None


def _kind(status: int) -> Break:
    if status == 408:
        return "timeout"
    if status == 429:
        return "throttled"
    return "server" if status >= 500 else "refused"


def _seconds(said: str | None) -> float | None:
    return float(said) if said is not None and said.strip().isdecimal() else None
