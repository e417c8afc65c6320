"""Bearer tokens: 32 random bytes behind a prefix that says what they are for; only their digest is kept."""

import hashlib
import secrets
from typing import Final, Literal

__all__ = ["PREFIXES", "TokenKind", "digest_of_token", "new_token"]

TokenKind = Literal["device", "gateway", "user", "session", "setup"]

PREFIXES: Final[dict[TokenKind, str]] = {
    "device": "eid_",
    "gateway": "eig_",
    "user": "eiu_",
    "session": "eiu_",
    "setup": "eis_",
}
"""A device sends for one patient, a gateway for all of its organisation; a user's token and a session act for
a person; a setup token makes an organisation's first administrator, once."""


def new_token(kind: TokenKind) -> str:
    """A token that nobody had before; it is shown once and never kept."""
    return PREFIXES[kind] + secrets.token_urlsafe(32)


def digest_of_token(token: str) -> bytes:
    """What is kept of a token. A secret of 256 random bits needs no slow hash."""
    return hashlib.sha256(token.encode()).digest()
