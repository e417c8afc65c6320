"""Files to a service over connections that break, each byte once as far as that can be.

The protocol is tus 1.0.0 with checksums. Nothing is kept here: the service finds an upload by its sender and
the SHA-256 of the file, so the same call goes on after a crash, and sends nothing when all is there. The
standard library's client is enough: one request at a time, whose bodies are a few MiB.
"""

import base64
import hashlib
import http.client
import json
import random
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from einthoven.clock import Clock
from einthoven.errors import (
    DestinationUnavailable,
    DigestMismatch,
    InputInvalid,
    NotFound,
    RecordingUnreadable,
)
from einthoven.runtime.told_errors import error_of

__all__ = ["LONG_S", "Answer", "Destination", "Sent", "accepted", "file_digest", "send_file"]

_FIRST_BYTES: Final = 2**20
_LEAST_BYTES: Final = 64 * 2**10
_MOST_BYTES: Final = 8 * 2**20
_QUICK_S: Final = 1.0
"""A piece that took less is followed by one of twice the size."""
_SLOW_S: Final = 8.0
_PAUSE_S: Final = 0.5
_PAUSE_MOST_S: Final = 30.0
_ANSWER_S: Final = 60.0
LONG_S: Final = 120.0
"""Checking a file of many GB takes the service a while, which it does behind the last piece."""
_BEGINNINGS: Final = 5
_WRONG_PARTS: Final = 5
_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_UNANSWERED: Final = (OSError, http.client.HTTPException)


class Answer(msgspec.Struct, frozen=True):
    """What the service said."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def value(self) -> Any:
        """Its content, which is JSON."""
        return json.loads(self.content)


class Sent(msgspec.Struct, frozen=True):
    """A file that the service has."""

    upload: str
    sha256: str
    bytes: int
    sent_bytes: int
    """Sent by this call."""


class Destination:
    """A service, over one connection at a time that is opened again when it breaks.

    Parameters
    ----------
    url : http or https; may have a path, when the service lies below one.
    patience_s : so long without any progress it is tried again.
    pause : waits; the process's own sleep.

    Raises
    ------
    InputInvalid : not an address.
    """

    def __init__(
        self,
        url: str,
        token: str,
        clock: Clock,
        *,
        patience_s: float = 600.0,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise InputInvalid(
                "the address is not an http or https URL.",
                where="--to",
                remedy="Give, for example, https://ecg.example.",
            )
        if not (token.isascii() and token.isprintable() and token.strip()):
            raise InputInvalid("there is no token.", where="--token", remedy="Set EINTHOVEN_TOKEN.")
        self._host, self._port = parts.hostname, port
        self._prefix = parts.path.rstrip("/")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._token = token.strip()
        self._clock = clock
        self._patience_s = patience_s
        self._pause = pause
        self._connection: http.client.HTTPConnection | None = None
        self._failures = 0
        self._well_s = clock.now_s()

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def once(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] = {},
        timeout_s: float = _ANSWER_S,
    ) -> Answer | None:
        """What the service answers; None if nothing came, or that it should be tried again."""
        fields = {"Authorization": f"Bearer {self._token}", "Tus-Resumable": "1.0.0", **headers}
        try:
            if self._connection is None:
                self._connection = self._opened()
            self._connection.timeout = timeout_s
            if self._connection.sock is not None:
                self._connection.sock.settimeout(timeout_s)
            self._connection.request(method, f"{self._prefix}{path}", body, fields)
            response = self._connection.getresponse()
            content = response.read()
        except _UNANSWERED:
            self.close()
            return None
        answer = Answer(
            response.status, {name.lower(): value for name, value in response.getheaders()}, content
        )
        if answer.status in _AGAIN:
            self._wait_as_told(answer)
            return None
        return answer

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] = {},
        timeout_s: float = _ANSWER_S,
    ) -> Answer:
        """The same, as often as it takes; for requests that may come twice.

        Raises
        ------
        DestinationUnavailable : for longer than is waited for.
        """
        while True:
            answer = self.once(method, path, body, headers, timeout_s)
            if answer is not None:
                self.went_well()
                return answer
            self.wait()

    def went_well(self) -> None:
        """Something got through: patience begins anew."""
        self._failures = 0
        self._well_s = self._clock.now_s()

    def wait(self) -> None:
        """Pause after a failure, the longer the more there were, and not all at once.

        Raises
        ------
        DestinationUnavailable : nothing has got through for too long.
        """
        if self._clock.now_s() - self._well_s > self._patience_s:
            raise DestinationUnavailable(
                "the service has not been reached for too long.",
                where=f"{self._host}:{self._port or ''}".rstrip(":"),
                remedy="The same command goes on where it stopped.",
            )
        wanted_s = min(_PAUSE_MOST_S, _PAUSE_S * 2**self._failures)
        self._failures = min(self._failures + 1, 16)
        self._pause(wanted_s * random.uniform(0.5, 1.0))  # noqa: S311 - that many do not come at once

    def _wait_as_told(self, answer: Answer) -> None:
        told = answer.headers.get("retry-after", "")
        if told.isdecimal():
            self._pause(min(float(told), _PAUSE_MOST_S))

    def _opened(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port)
        return http.client.HTTPSConnection(self._host, self._port, context=self._tls)


def file_digest(path: Path, told: Callable[[int], None] = lambda _: None) -> tuple[str, int]:
    """SHA-256 and size of a file.

    Parameters
    ----------
    told : how many bytes more were read.

    Raises
    ------
    RecordingUnreadable : it cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while block := file.read(_FIRST_BYTES):
                digest.update(block)
                size += len(block)
                told(len(block))
    except OSError as error:
        raise RecordingUnreadable(
            f"the file cannot be read ({error.strerror}).", where=str(path), remedy="Check its rights."
        ) from error
    return digest.hexdigest(), size


def send_file(
    destination: Destination,
    path: Path,
    name: str,
    sha256: str,
    size: int,
    told: Callable[[int], None] = lambda _: None,
) -> Sent:
    """Bring a file to a service; what is there already is not sent.

    Parameters
    ----------
    name : what the service calls it.
    sha256, size : see `file_digest`.
    told : how many bytes of it the service has now.

    Raises
    ------
    DestinationUnavailable : not reached for too long; the same call goes on.
    DigestMismatch : the file became another one meanwhile.
    EinthovenError : what the service refused, as it said.
    """
    sending = _Sending(destination, path, name, sha256, size, told)
    for _ in range(_BEGINNINGS):
        try:
            return sending.performed()
        except NotFound:  # it expired, or is no good: begin anew
            continue
    raise DestinationUnavailable(
        "the service forgets the upload again and again.",
        where="upload",
        remedy="Report it to whoever runs it.",
    )


class _Sending:
    def __init__(
        self,
        destination: Destination,
        path: Path,
        name: str,
        sha256: str,
        size: int,
        told: Callable[[int], None],
    ) -> None:
        self._destination = destination
        self._path = path
        self._name = name
        self._sha256 = sha256
        self._size = size
        self._told = told
        self._piece = _FIRST_BYTES
        self._sent = 0
        self._wrong = 0

    def performed(self) -> Sent:
        upload, offset = self._begun()
        self._told(offset)
        while offset < self._size:
            offset = self._moved(upload, offset)
            self._told(offset)
        return Sent(upload, self._sha256, self._size, self._sent)

    def _begun(self) -> tuple[str, int]:
        about = ",".join(
            f"{name} {base64.b64encode(value.encode()).decode()}"
            for name, value in (("filename", self._name), ("sha256", self._sha256))
        )
        answer = accepted(
            self._destination.ask(
                "POST",
                "/v1/uploads",
                headers={"Upload-Length": str(self._size), "Upload-Metadata": about, "Content-Length": "0"},
            )
        )
        upload = answer.headers.get("location", "").rpartition("/")[2]
        offset = answer.headers.get("upload-offset", "0")
        return upload, self._checked(offset)

    def _moved(self, upload: str, offset: int) -> int:
        """Send one piece; how many bytes the service has then."""
        content = self._content(offset)
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        headers = {
            "Content-Type": "application/offset+octet-stream",
            "Upload-Offset": str(offset),
            "Upload-Checksum": f"sha256 {digest}",
        }
        timeout_s = LONG_S if offset + len(content) == self._size else _ANSWER_S
        began_s = time.monotonic()
        answer = self._destination.once("PATCH", f"/v1/uploads/{upload}", content, headers, timeout_s)
        self._sent += len(content)
        if answer is not None and answer.status == 204:
            self._adapt(time.monotonic() - began_s)
            self._destination.went_well()
            return self._checked(answer.headers.get("upload-offset", ""))
        if answer is None:
            self._piece = max(_LEAST_BYTES, self._piece // 2)
            self._destination.wait()
        elif answer.status == 460 and self._wrong < _WRONG_PARTS:
            self._wrong += 1
        elif answer.status != 409:
            accepted(answer)
        return self._asked(upload)

    def _asked(self, upload: str) -> int:
        answer = self._destination.ask("HEAD", f"/v1/uploads/{upload}")
        if answer.status in (404, 410):
            raise NotFound("the upload is gone.", where="upload", remedy="Begin a new one.")
        return self._checked(accepted(answer).headers.get("upload-offset", ""))

    def _checked(self, offset: str) -> int:
        if not offset.isdecimal() or int(offset) > self._size:
            raise DestinationUnavailable(
                "the answer is not that of a service of ours.", where="--to", remedy="Check the address."
            )
        return int(offset)

    def _content(self, offset: int) -> bytes:
        try:
            with self._path.open("rb") as file:
                file.seek(offset)
                content = file.read(min(self._piece, self._size - offset))
        except OSError as error:
            raise RecordingUnreadable(
                f"the file cannot be read ({error.strerror}).",
                where=str(self._path),
                remedy="Check its rights.",
            ) from error
        if not content:
            raise DigestMismatch(
                "the file became shorter while it was sent.",
                where=str(self._path),
                remedy="Send it when nothing writes to it.",
            )
        return content

    def _adapt(self, took_s: float) -> None:
        if took_s < _QUICK_S:
            self._piece = min(_MOST_BYTES, 2 * self._piece)
        elif took_s > _SLOW_S:
            self._piece = max(_LEAST_BYTES, self._piece // 2)


def accepted(answer: Answer) -> Answer:
    """The answer, unless it is a refusal, which is raised as the service said it.

    Raises
    ------
    EinthovenError : of the kind that the service named.
    """
    if answer.status < 300:
        return answer
    try:
        said = msgspec.json.decode(answer.content, type=dict[str, str])
        error = error_of(said)
    except (msgspec.DecodeError, KeyError):
        error = DestinationUnavailable(
            f"the service answered with status {answer.status}.", where="--to", remedy="Check the address."
        )
    raise error
