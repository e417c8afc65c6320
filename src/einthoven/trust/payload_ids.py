"""How a public payload key is called; without the extra, for whoever keeps keys and opens nothing."""

from hashlib import sha256
from typing import Final

__all__ = ["PAYLOAD_KEY_BYTES", "payload_key_id"]

PAYLOAD_KEY_BYTES: Final = 32
_ID_BYTES: Final = 8


def payload_key_id(public: bytes) -> bytes:
    """The first 8 bytes of SHA-256 of a public key."""
    return sha256(public).digest()[:_ID_BYTES]
