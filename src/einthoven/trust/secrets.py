"""Secrets of 32 bytes as text that may lie on a disk: closed under a passphrase, or open where there is none.

Closed is ChaCha20-Poly1305 under a key that Argon2id (RFC 9106, its second recommendation: 64 MiB, 3 passes,
4 lanes) makes of the passphrase; what the secret is for is authenticated with it, so that one key does not
pass for another.
"""

import base64
import binascii
import os
from typing import Final, Literal

import msgspec
from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from einthoven.errors import KeyRefused

__all__ = ["SECRET_BYTES", "SecretKind", "close_secret", "open_secret"]

SecretKind = Literal["ledger", "pseudonyms", "payload", "device", "chain", "consents", "site"]
SECRET_BYTES: Final = 32
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_PASSES: Final = 3
_MEMORY_KIB: Final = 65_536
_LANES: Final = 4


class _Closed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The text, as JSON."""

    kind: SecretKind
    secret: str
    """Base64; of a closed one, of its ciphertext."""
    salt: str = ""
    nonce: str = ""
    version: Literal[1] = 1


def close_secret(kind: SecretKind, secret: bytes, passphrase: str = "") -> str:
    """The text to keep; not the same for the same secret, unless it is open."""
    if len(secret) != SECRET_BYTES:
        raise KeyRefused(f"a secret has {SECRET_BYTES} bytes.", where="key")
    if not passphrase:
        closed = _Closed(kind, _base64(secret))
    else:
        salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
        box = ChaCha20Poly1305(_key(passphrase, salt)).encrypt(nonce, secret, kind.encode())
        closed = _Closed(kind, _base64(box), _base64(salt), _base64(nonce))
    return msgspec.json.format(msgspec.json.encode(closed)).decode() + "\n"


def open_secret(kind: SecretKind, text: str, passphrase: str = "", where: str = "key") -> bytes:
    """The secret.

    Raises
    ------
    KeyRefused : no secret of this kind, a damaged one, or another passphrase closed it.
    """
    try:
        closed = msgspec.json.decode(text, type=_Closed)
        secret, salt, nonce = (
            base64.b64decode(one, validate=True) for one in (closed.secret, closed.salt, closed.nonce)
        )
        if salt:
            secret = ChaCha20Poly1305(_key(passphrase, salt)).decrypt(nonce, secret, closed.kind.encode())
    except (msgspec.MsgspecError, binascii.Error, UnicodeDecodeError, ValueError):
        raise KeyRefused("the file holds no key.", where=where, remedy="Restore it from a backup.") from None
    except InvalidTag:
        raise KeyRefused(
            "the passphrase does not open the key, or the file is damaged.",
            where=where,
            remedy="Give the one that closed it in EINTHOVEN_PASSPHRASE.",
        ) from None
    if closed.kind != kind or len(secret) != SECRET_BYTES:
        raise KeyRefused(f"this is no key for {kind}.", where=where, remedy="Name the right file.")
    return secret


def _key(passphrase: str, salt: bytes) -> bytes:
    return hash_secret_raw(passphrase.encode(), salt, _PASSES, _MEMORY_KIB, _LANES, SECRET_BYTES, Type.ID)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
