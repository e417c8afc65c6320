"""Where a run sends to, and how."""

import re
import ssl
from typing import Final
from urllib.parse import urlsplit

import msgspec

from einthoven.errors import InputInvalid
from einthoven.runtime.load.deliveries import WireEncoding

__all__ = ["INGEST_PATH", "Target"]

INGEST_PATH: Final = "/v1/segments"
MAX_CONNECTIONS: Final = 4096
_HOST: Final = re.compile(r"[A-Za-z0-9._:-]+")
_PATH: Final = re.compile(r"[\x21-\x7e]+")


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One destination and the manner of sending."""

    destination: str
    """http or https URL; without a path, the ingest path is added."""
    encoding: WireEncoding = "json"
    connections: int = 64
    """At most so many at once, one request in flight on each."""
    is_closed: bool = False
    """As fast as answers come, instead of by the plan's schedule."""
    duration_s: float | None = None
    """A closed run ends then. An open one should have sent everything; what is not answered ``drain_s`` later
    is lost. None for no end."""
    timeout_s: float = 10.0
    """After so long without an answer the connection is given up and the request is sent again."""
    drain_s: float = 30.0
    """How long after the last due request answers are waited for."""
    check_every: int = 16
    """One request in so many has its findings looked at wholly; 1 for each."""
    prefers_async: bool = False
    """Ask for an answer before the analysis (``Prefer: respond-async``)."""

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.destination)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            raise InputInvalid(
                "the destination is not an http or https URL.",
                where="destination",
                remedy="Give, for example, http://127.0.0.1:8080.",
            )
        if parts.username is not None or parts.password is not None:
            raise InputInvalid(
                "the destination carries a user name.", where="destination", remedy="Give a token instead."
            )
        if not _HOST.fullmatch(parts.hostname) or not _PATH.fullmatch(self.path):
            raise InputInvalid("the destination holds characters that no URL has.", where="destination")
        if not 1 <= self.connections <= MAX_CONNECTIONS:
            raise InputInvalid(
                f"{self.connections} connections.",
                where="connections",
                remedy=f"Give 1 to {MAX_CONNECTIONS}.",
            )
        if not 0 < self.timeout_s <= 3600 or not 0 <= self.drain_s <= 86_400 or self.check_every < 1:
            raise InputInvalid("a time-out, drain or share of checks is out of range.", where="target")
        if self.duration_s is not None and not self.duration_s > 0:
            raise InputInvalid("the duration must be positive.", where="duration_s")

    @property
    def host(self) -> str:
        """Name or address."""
        return urlsplit(self.destination).hostname or ""

    @property
    def is_secure(self) -> bool:
        """Over TLS."""
        return urlsplit(self.destination).scheme == "https"

    @property
    def port(self) -> int:
        """Of the service."""
        return urlsplit(self.destination).port or (443 if self.is_secure else 80)

    @property
    def path(self) -> str:
        """With its query."""
        parts = urlsplit(self.destination)
        path = INGEST_PATH if parts.path in ("", "/") else parts.path
        return f"{path}?{parts.query}" if parts.query else path

    def tls(self) -> ssl.SSLContext | None:
        """The context of a secure destination; its certificate is verified."""
        return ssl.create_default_context() if self.is_secure else None

    def head(self, media_type: str, token: str | None) -> bytes:
        """The head of a request, up to the value of its length."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        lines = [
            f"POST {self.path} HTTP/1.1",
            f"Host: {host}:{self.port}",
            f"Content-Type: {media_type}",
            f"Accept: {media_type}",
            "User-Agent: einthoven-patients",
        ]
        if token is not None:
            lines.append(f"Authorization: Bearer {token}")
        if self.prefers_async:
            lines.append("Prefer: respond-async")
        return ("\r\n".join(lines) + "\r\nContent-Length: ").encode("ascii")
