"""Pseudonyms: who a patient or a device is stays where the site's secret is.

A pseudonym is ``p<epoch>-`` and 26 letters: HMAC-SHA-256, cut to 128 bits, of the identifier, under a key
that is in turn the HMAC of purpose and epoch under the site's secret. So the pseudonyms of one patient for
two purposes, or in two epochs, have nothing to do with each other for anybody without the secret; and there
is no table that could be stolen. Whoever has the secret and the site's own list of identifiers finds whose it
is.

Dates are shifted by whole days, the same for all dates of one patient and purpose, so that what lies between
two of them stays what it was.
"""

import base64
import hmac
import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Final, Literal

import msgspec

from einthoven.errors import InputInvalid, NotFound
from einthoven.trust.entries import Reason, Reidentified

__all__ = ["DAY_NS", "PseudonymKey", "SubjectKind", "epoch_of", "reidentify"]

SubjectKind = Literal["patient", "device"]
DAY_NS: Final = 86_400 * 10**9
_LETTERS: Final[dict[SubjectKind, str]] = {"patient": "p", "device": "d"}
_SHOWN_BYTES: Final = 16
_SECRET_BYTES_LEAST: Final = 32
_EPOCHS_MOST: Final = 10_000
_SHIFT_MOST_DAYS: Final = 3650
_PURPOSE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_PSEUDONYM: Final = re.compile(r"([pd])(0|[1-9][0-9]{0,3})-[a-z2-7]{26}")


class PseudonymKey(msgspec.Struct, frozen=True):
    """What makes the pseudonyms of one purpose in one epoch; it is as secret as the site's secret."""

    purpose: str
    epoch: int
    key: bytes

    def __repr__(self) -> str:
        return f"PseudonymKey({self.purpose!r}, epoch {self.epoch})"

    @classmethod
    def of(cls, secret: bytes, org: str, purpose: str, epoch: int) -> "PseudonymKey":
        """The key of an organisation's purpose and epoch.

        Raises
        ------
        InputInvalid : a secret of less than 32 bytes, a purpose that is no word, an epoch out of range.
        """
        if len(secret) < _SECRET_BYTES_LEAST:
            raise InputInvalid(f"the secret has less than {_SECRET_BYTES_LEAST} bytes.", where="secret")
        if not _PURPOSE.fullmatch(purpose) or not 0 <= epoch < _EPOCHS_MOST:
            raise InputInvalid(
                f"a purpose is a word of a-z, 0-9 and '-', an epoch 0 to {_EPOCHS_MOST - 1}.", where="purpose"
            )
        return cls(purpose, epoch, _mac(secret, b"pseudonyms 1", org, purpose, str(epoch)))

    def pseudonym(self, identifier: str, kind: SubjectKind = "patient") -> str:
        """How the one with this identifier is called."""
        shown = base64.b32encode(_mac(self.key, b"name", kind, identifier)[:_SHOWN_BYTES])
        return f"{_LETTERS[kind]}{self.epoch}-{shown.decode().lower().rstrip('=')}"

    def shift_ns(self, identifier: str, most_days: int) -> int:
        """By how much all times of a patient are moved: 1 to ``most_days`` whole days, back.

        Back, so that nothing seems to happen in the future. With 0 nothing is moved.

        Raises
        ------
        InputInvalid : more than ten years, or less than nothing.
        """
        if not 0 <= most_days <= _SHIFT_MOST_DAYS:
            raise InputInvalid(f"dates are shifted by 0 to {_SHIFT_MOST_DAYS} days.", where="shift")
        if not most_days:
            return 0
        drawn = int.from_bytes(_mac(self.key, b"shift", identifier)[:8])
        return -DAY_NS * (1 + drawn % most_days)


def epoch_of(pseudonym: str) -> int:
    """In which epoch a pseudonym was made.

    Raises
    ------
    InputInvalid : it is none that `PseudonymKey` makes.
    """
    found = _PSEUDONYM.fullmatch(pseudonym)
    if found is None:
        raise InputInvalid("this is no pseudonym of this site's making.", where="pseudonym")
    return int(found[2])


def reidentify(
    key: PseudonymKey,
    pseudonym: str,
    identifiers: Iterable[str],
    *,
    by: str,
    reason: Reason,
    at_ns: int,
    case: str = "",
) -> tuple[str, Reidentified]:
    """Whose pseudonym it is, and the entry that tells that somebody was told.

    The entry belongs into the ledger before the name is shown to anybody.

    Parameters
    ----------
    key : of the purpose and epoch of the pseudonym
    identifiers : of all patients, or devices, of the site

    Raises
    ------
    InputInvalid : it is no pseudonym, it is of another epoch, or ``by`` or ``case`` is no word.
    NotFound : it is nobody's of these.
    """
    if epoch_of(pseudonym) != key.epoch:
        raise InputInvalid(
            f"the pseudonym is of epoch {epoch_of(pseudonym)}, the key of epoch {key.epoch}.", where="epoch"
        )
    entry = Reidentified(
        at_ns=at_ns,
        pseudonym=pseudonym,
        by=by,
        purpose=key.purpose,
        epoch=key.epoch,
        reason=reason,
        case=case,
    )
    kind: SubjectKind = "patient" if pseudonym[0] == _LETTERS["patient"] else "device"
    for identifier in identifiers:
        if hmac.compare_digest(key.pseudonym(identifier, kind), pseudonym):
            return identifier, entry
    raise NotFound(
        "this pseudonym is of nobody here.",
        where="pseudonym",
        remedy="Check the purpose, and that it is this site's.",
    )


def _mac(key: bytes, domain: bytes, *parts: str) -> bytes:
    """HMAC over parts that cannot run into each other: each follows its length."""
    message = [domain]
    for part in parts:
        content = part.encode()
        message += [len(content).to_bytes(4), content]
    return hmac.digest(key, b"\x00".join(message), sha256)
