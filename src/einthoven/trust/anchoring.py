"""What a ledger leaves on a chain, and what the two say of each other.

An anchor is a size of the tree and its root, as the contract of ``contracts/`` keeps them under the SHA-256
of the ledger's name. A root covers all entries before it, so the newest anchor is the only one that a ledger
must be held against.

Of consents the chain has no pseudonym and no digest that the ledger has, but hashes under a salt for each
consent, which a secret of the site gives. Otherwise whoever has a pseudonym, from an export or a patient,
could read from the chain when this patient consented and took it back, for ever; and the digest of a document
with few possible contents can be guessed. The site can show one consent to somebody by its salt, and no
other; to forget all, the secret is destroyed.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from einthoven.errors import InputInvalid, LedgerTampered
from einthoven.trust.entries import ConsentChanged
from einthoven.trust.merkle import HASH_BYTES

__all__ = [
    "NO_ROOT",
    "Anchor",
    "BlindedConsent",
    "ChainView",
    "blinded",
    "compared",
    "consent_salt",
    "ledger_id",
    "with_salt",
]

NO_ROOT: Final = bytes(HASH_BYTES)
"""What the contract gives for what was never anchored."""
_INT64: Final = 2**63


class Anchor(msgspec.Struct, frozen=True):
    """A tree that is told on a chain."""

    size: int
    """Entries."""
    root: bytes

    def __post_init__(self) -> None:
        if not 0 <= self.size < _INT64 or len(self.root) != HASH_BYTES:
            raise InputInvalid("an anchor has a size and a root.", where="anchor")


class ChainView(msgspec.Struct, frozen=True, kw_only=True):
    """What the contract says of one ledger."""

    site: str
    """The account that may write about it; empty where none was admitted."""
    latest: Anchor | None
    """None where nothing was anchored."""


class BlindedConsent(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a consent as it stands on the chain."""

    subject: bytes
    version: int
    digest: bytes
    is_revoked: bool


def ledger_id(origin: str) -> bytes:
    """The ledger's name on a chain."""
    return hashlib.sha256(origin.encode()).digest()


def consent_salt(secret: bytes, origin: str, patient: str, consent: str) -> bytes:
    """What blinds all versions of one consent; to be shown to whoever may find it on the chain."""
    named = "\0".join((origin, patient, consent)).encode()
    return hmac.digest(secret, b"einthoven consent on a chain 1\0" + named, "sha256")


def blinded(entry: ConsentChanged, secret: bytes, origin: str) -> BlindedConsent:
    """A change of consent as it is registered."""
    salt = consent_salt(secret, origin, entry.patient, entry.consent)
    return with_salt(salt, entry.version, entry.digest, is_revoked=entry.change == "revoked")


def with_salt(salt: bytes, version: int, digest: str, *, is_revoked: bool) -> BlindedConsent:
    """What stands on the chain for a consent whose salt was shown, of a document with this digest."""
    said = b"\1" + salt + version.to_bytes(8) + digest.encode()
    return BlindedConsent(
        subject=hashlib.sha256(b"\0" + salt).digest(),
        version=version,
        digest=hashlib.sha256(said).digest(),
        is_revoked=is_revoked,
    )


def compared(
    anchor: Anchor, root_of: Callable[[int], bytes | None] | Mapping[int, bytes], where: str
) -> None:
    """Hold a ledger against what is anchored of it.

    Parameters
    ----------
    root_of : root of the ledger's first so many entries; None or nothing where it signed none of this size

    Raises
    ------
    LedgerTampered : the ledger is shorter, or had other entries.
    """
    root = root_of.get(anchor.size) if isinstance(root_of, Mapping) else root_of(anchor.size)
    if root != anchor.root:
        what = "has no checkpoint" if root is None else "does not begin with the tree"
        raise LedgerTampered(
            f"the ledger {what} of {anchor.size} entries that the chain says it had.",
            where=where,
            remedy="Go on with the newest copy of the ledger, or find out who wrote this one.",
        )
