"""Standard Webhooks signatures: made here, and checked by receivers with `verify_webhook`.

What is signed is ``id.timestamp.body``, with HMAC-SHA256 under a secret written as ``whsec_`` and base64.
Several secrets may be in force while one is replaced by another; one valid signature is enough.
"""

import base64
import binascii
import hashlib
import hmac
import secrets as randomness
from collections.abc import Mapping, Sequence
from typing import Final

from einthoven.errors import InputInvalid

__all__ = ["TOLERANCE_S", "new_secret", "sign_webhook", "verify_webhook"]

TOLERANCE_S: Final = 300.0
"""How old, or how far ahead, a message may be when it is verified."""
_PREFIX: Final = "whsec_"
_LEAST_BYTES: Final = 24


def new_secret() -> str:
    """A secret for one receiver."""
    return _PREFIX + base64.b64encode(randomness.token_bytes(32)).decode()


def sign_webhook(secrets: Sequence[str], message_id: str, timestamp_s: int, body: bytes) -> str:
    """The header ``webhook-signature``: one signature a secret.

    Raises
    ------
    InputInvalid : a secret is not ``whsec_`` and base64 of at least 24 bytes.
    """
    return " ".join(f"v1,{_signature(secret, message_id, timestamp_s, body)}" for secret in secrets)


def verify_webhook(
    secrets: Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    *,
    at_s: float,
    tolerance_s: float = TOLERANCE_S,
) -> str:
    """The message's id, if it was signed with one of the secrets and is not old; drop an id that was seen.

    Raises
    ------
    InputInvalid : a header is missing, the signature is wrong, or the message is too old or from the future.
    """
    known = {name.lower(): value for name, value in headers.items()}
    try:
        message_id = known["webhook-id"]
        timestamp_s = int(known["webhook-timestamp"])
        given = known["webhook-signature"].split()
    except (KeyError, ValueError):
        raise InputInvalid(
            "the webhook has no valid id, timestamp and signature.",
            where="headers",
            remedy="Send webhook-id, webhook-timestamp and webhook-signature.",
        ) from None
    if abs(at_s - timestamp_s) > tolerance_s:
        raise InputInvalid(
            "the webhook is too old, or from the future.",
            where="webhook-timestamp",
            remedy="Set both clocks; drop what was recorded and sent again.",
        )
    expected = [f"v1,{_signature(secret, message_id, timestamp_s, body)}".encode() for secret in secrets]
    # Every pair is compared, so that the time does not tell which one is near.
    matches = [hmac.compare_digest(one, other.encode()) for one in expected for other in given]
    if not any(matches):
        raise InputInvalid(
            "the signature of the webhook is wrong.",
            where="webhook-signature",
            remedy="Verify the raw body, with the secret of this receiver.",
        )
    return message_id


def _signature(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    signed = b".".join((message_id.encode(), str(timestamp_s).encode(), body))
    return base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256)).decode()


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < _LEAST_BYTES:
        raise InputInvalid(
            "a webhook secret is whsec_ and the base64 of at least 24 bytes.",
            where="secret",
            remedy="Make one with new_secret().",
        )
    return key
