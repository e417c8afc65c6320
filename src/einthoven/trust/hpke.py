"""Hybrid public key encryption with an authenticated sender: RFC 9180, mode Auth, one suite.

The suite is DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305 (0x0020, 0x0001, 0x0003). Curve,
cipher and HMAC are those of ``cryptography`` and the standard library; here is only how the RFC joins them,
and its test vectors are the tests. Deviation: the number of a message is given, not counted, so that messages
may be opened in any order, or not at all; whoever seals sees to it that none is used twice.

What mode Auth does not do (RFC 9180, 9.1.1): whoever has the receiver's private key can make messages that
seem to come from any sender, to this receiver; and can read those that were sent to it before.
"""

import hmac
from collections.abc import Callable
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

__all__ = ["ENC_BYTES", "TAG_BYTES", "Context", "receiver_context", "sender_context"]

ENC_BYTES: Final = 32
TAG_BYTES: Final = 16
_KEM: Final = b"KEM\x00\x20"
_SUITE: Final = b"HPKE\x00\x20\x00\x01\x00\x03"
_MODE_AUTH: Final = b"\x02"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_HASH_BYTES: Final = 32


class Context:
    """What sender and receiver share after the first message; each message has its own nonce."""

    def __init__(self, shared: bytes, info: bytes) -> None:
        context = (
            _MODE_AUTH
            + _extract(_SUITE, b"", b"psk_id_hash", b"")
            + _extract(_SUITE, b"", b"info_hash", info)
        )
        secret = _extract(_SUITE, shared, b"secret", b"")
        self._cipher = ChaCha20Poly1305(_expand(_SUITE, secret, b"key", context, _KEY_BYTES))
        self._nonce = int.from_bytes(_expand(_SUITE, secret, b"base_nonce", context, _NONCE_BYTES))

    def seal(self, number: int, aad: bytes, content: bytes) -> bytes:
        """The ciphertext of message ``number`` of 0 to 2**96 - 1, which nothing else may have."""
        return self._cipher.encrypt((self._nonce ^ number).to_bytes(_NONCE_BYTES), content, aad)

    def open(self, number: int, aad: bytes, sealed: bytes) -> bytes | None:
        """The content; None if it is not what was sealed under this number and ``aad``."""
        try:
            return self._cipher.decrypt((self._nonce ^ number).to_bytes(_NONCE_BYTES), sealed, aad)
        except InvalidTag:
            return None


def sender_context(
    receiver: X25519PublicKey,
    sender: X25519PrivateKey,
    info: bytes,
    *,
    ephemeral: Callable[[], X25519PrivateKey] = X25519PrivateKey.generate,
) -> tuple[bytes, Context]:
    """SetupAuthS: what the receiver needs to have the same context, and the context."""
    once = ephemeral()
    enc = once.public_key().public_bytes_raw()
    shared = once.exchange(receiver) + sender.exchange(receiver)
    kem_context = enc + receiver.public_bytes_raw() + sender.public_key().public_bytes_raw()
    return enc, Context(_shared(shared, kem_context), info)


def receiver_context(
    enc: bytes, receiver: X25519PrivateKey, sender: X25519PublicKey, info: bytes
) -> Context | None:
    """SetupAuthR; None if a key is one that X25519 must not be used with."""
    try:
        shared = receiver.exchange(X25519PublicKey.from_public_bytes(enc)) + receiver.exchange(sender)
    except ValueError:
        return None
    kem_context = enc + receiver.public_key().public_bytes_raw() + sender.public_bytes_raw()
    return Context(_shared(shared, kem_context), info)


def _shared(dh: bytes, kem_context: bytes) -> bytes:
    return _expand(_KEM, _extract(_KEM, b"", b"eae_prk", dh), b"shared_secret", kem_context, _HASH_BYTES)


def _extract(suite: bytes, salt: bytes, label: bytes, content: bytes) -> bytes:
    """LabeledExtract of RFC 9180, section 4; HKDF-Extract is HMAC."""
    return hmac.digest(salt, b"HPKE-v1" + suite + label + content, sha256)


def _expand(suite: bytes, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    """LabeledExpand; one block of HKDF-Expand, which is as much as is ever asked for."""
    labeled = length.to_bytes(2) + b"HPKE-v1" + suite + label + info
    return hmac.digest(key, labeled + b"\x01", sha256)[:length]
