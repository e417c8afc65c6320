"""What both sides of a region over NATS agree on: servers, subjects and headers.

``einthoven.functions.REGION.call.FUNCTION``
    an invocation; the members are one queue group, so that one of them has it
``einthoven.functions.REGION.info``
    what a member has; every member answers
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

from einthoven.errors import InputInvalid
from einthoven.runtime.region_port import HostedFunction

__all__ = [
    "BEAT_S",
    "BUSY",
    "ENCODING",
    "ERROR",
    "ERROR_TEXT",
    "FUNCTION",
    "HEADERS_MAX_BYTES",
    "KEY",
    "RETRY_AFTER",
    "TIMEOUT",
    "UNKNOWN",
    "WORKING",
    "Member",
    "NatsLink",
    "Unreached",
    "is_token",
    "number_in",
    "subject_of_function",
    "subject_of_info",
]

KEY: Final = "Idempotency-Key"
"""Percent-encoded. Of the call, as the next two."""
ENCODING: Final = "Einthoven-Encoding"
TIMEOUT: Final = "Einthoven-Timeout-Ms"
"""How long the answer is waited for: a duration, since clocks differ."""
FUNCTION: Final = "Einthoven-Function"
"""Of a call of several functions fused into one, that goes to those who have the first: all their names."""
BUSY: Final = "Einthoven-Busy-Us"
"""Of an answer: how long the function took."""
ERROR: Final = "Einthoven-Error"
"""Of an answer that is none: its kind."""
ERROR_TEXT: Final = "Einthoven-Error-Text"
"""Percent-encoded."""
UNKNOWN: Final = "Einthoven-Unknown"
"""Of one that is ``refused`` because the member does not have the function."""
RETRY_AFTER: Final = "Einthoven-Retry-After-Ms"
WORKING: Final = "Einthoven-Working"
"""Of a sign of life: the answer comes later."""

BEAT_S: Final = 0.25
"""Between two signs of life of a member that works on a call."""
HEADERS_MAX_BYTES: Final = 4096
"""So much is kept free for headers of what a server takes at most."""
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SCHEMES: Final = frozenset({"nats", "tls", "ws", "wss"})


class Unreached(Exception):
    """The servers cannot be reached, or did not take it; the message holds no value."""


class NatsLink(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach the NATS servers.

    Raises
    ------
    InputInvalid : no server, or an address that is none.
    """

    servers: tuple[str, ...]
    """URLs, ``nats://host:4222``; the first that can be reached is taken, so those nearby stand first."""
    credentials: str | None = None
    """Path of a user credentials file (JWT and key)."""
    needs_tls: bool = False
    """Servers that do not offer it are not spoken to; so it is for ``tls://`` and with each of the next."""
    ca: str | None = None
    """Path of the certificates that the servers' are checked with; None: those of this machine."""
    certificate: str | None = None
    """Path of this side's own, with its key in ``key``."""
    key: str | None = None

    def __post_init__(self) -> None:
        try:
            parts = [urlsplit(one) for one in self.servers]
            is_right = all(one.scheme in _SCHEMES and one.hostname and (one.port or 1) for one in parts)
        except ValueError:
            is_right = False
        if not parts or not is_right:
            raise InputInvalid(
                "the address is not one of a NATS server.",
                where="servers",
                remedy="Give one or more as nats://host:4222 or tls://host:4222.",
            )
        if (self.certificate is None) != (self.key is None):
            raise InputInvalid("a certificate and its key go together.", where="certificate")

    @property
    def is_encrypted(self) -> bool:
        """Whether a server without TLS is refused."""
        schemes = {urlsplit(one).scheme for one in self.servers}
        return self.needs_tls or self.ca is not None or self.key is not None or bool(schemes & {"tls", "wss"})

    @property
    def places(self) -> str:
        """The servers, without what is secret in their addresses."""
        return ", ".join(urlsplit(one).netloc.rpartition("@")[2] for one in self.servers)

    def __repr__(self) -> str:
        return f"NatsLink({self.places})"


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """What a member says of itself."""

    id: str
    functions: tuple[HostedFunction, ...]
    slots: int
    is_draining: bool = False


def is_token(name: str) -> bool:
    """Whether a region or a function may be called so in a subject."""
    return _TOKEN.fullmatch(name) is not None


def number_in(headers: Mapping[str, str], name: str) -> int | None:
    """A whole number, if that is what the header has; whoever sent it may be anybody."""
    said = headers.get(name, "")
    return int(said) if said.isdecimal() and len(said) <= 12 else None


def subject_of_function(region: str, function: str) -> str:
    """Where an invocation is sent."""
    return f"einthoven.functions.{region}.call.{function}"


def subject_of_info(region: str) -> str:
    """Where members are asked what they have; raises InputInvalid if no region may be called so."""
    if not is_token(region):
        raise InputInvalid(
            "the name of a region has letters, digits, - and _ only, 64 at most.", where="region"
        )
    return f"einthoven.functions.{region}.info"
