"""One keep-alive HTTP/1.1 connection: a request out, an answer in, nothing else.

Its own `asyncio.Protocol` with the parser of httptools, because the usual clients cost more than the service
they measure: docs/reference/patients.md has figures.
"""

import asyncio
from typing import Protocol, cast

import httptools

__all__ = ["Connection", "Owner"]

MAX_ANSWER_BYTES = 64 * 2**20


class Owner(Protocol):
    """Who is told what happens on a connection."""

    def answered(self, connection: "Connection") -> None:
        """A whole answer has come; it lies on the connection until the next request."""
        ...

    def broken(self, connection: "Connection", reason: str) -> None:
        """The connection is gone."""
        ...


class Connection(asyncio.Protocol):
    """Sends one request at a time."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._parser = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._size = 0
        self._transport: asyncio.Transport | None = None
        self._abort_reason = ""
        self.is_waiting = False
        """A request was sent, and its answer has not come."""
        self.is_ending = False
        """The service takes no further request on it."""
        self.status = 0
        self.retry_after = b""
        self.body = b""
        self.bytes_received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)  # of uvloop: like one, but not a kind of one
        self._transport.set_write_buffer_limits(high=2**30)

    def send(self, content: bytes) -> None:
        """Send a whole request; the answer is told to the owner."""
        self.is_waiting = True
        self.retry_after = b""
        if self._transport is not None:
            self._transport.write(content)

    def abort(self, reason: str) -> None:
        """Give the connection up; the owner is told the reason."""
        self._abort_reason = self._abort_reason or reason
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Nothing more will be sent."""
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self.bytes_received += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.abort("not-http")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """See `asyncio.Protocol`."""
        self._transport = None
        self._owner.broken(self, self._abort_reason or "reset")

    def on_message_begin(self) -> None:
        """See httptools: an answer begins."""
        self._parts.clear()
        self._size = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools."""
        if len(name) == 11 and name.lower() == b"retry-after":
            self.retry_after = value

    def on_body(self, part: bytes) -> None:
        """See httptools."""
        self._parts.append(part)
        self._size += len(part)
        if self._size > MAX_ANSWER_BYTES:
            self.abort("answer-too-large")

    def on_message_complete(self) -> None:
        """See httptools: the answer is whole."""
        status = self._parser.get_status_code()
        if status < 200:
            return
        if not self.is_waiting:
            self.abort("unasked-answer")
            return
        self.status = status
        self.body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self.is_waiting = False
        self.is_ending = not self._parser.should_keep_alive()
        self._owner.answered(self)
        if self.is_ending:
            self.close()
