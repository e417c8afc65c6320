r"""Signed notes: a text, a blank line, and signatures of the text, one a line.

The format is C2SP's signed-note, the one of Go's checksum database, and so are the keys: ``name+id+key``,
where ``id`` is the first 4 bytes of ``SHA-256(name ‖ "\n" ‖ kind ‖ public key)`` in hexadecimal and ``key``
is kind and public key in base64. Two kinds of signature are read: kind 1 is Ed25519 over the text; kind 4 is
C2SP's cosignature/v1, by which a witness says when it saw a checkpoint. Base64 that another text would decode
to as well is refused, so that no byte of a note can be changed unnoticed.
"""

import base64
import binascii
import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from einthoven.errors import InputInvalid, KeyRefused, LedgerTampered

__all__ = [
    "COSIGNS",
    "NAME",
    "SIGNS",
    "Note",
    "Signature",
    "SignatureKind",
    "SigningKey",
    "VerifyingKey",
    "cosigned",
    "print_note",
    "read_note",
    "read_verifying_key",
    "signed",
]

SignatureKind = Literal[1, 4]
SIGNS: Final[SignatureKind] = 1
"""Of a ledger's own key: Ed25519 over the text."""
COSIGNS: Final[SignatureKind] = 4
"""Of a witness: Ed25519 over the time and the text."""
NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9./_-]{0,62}[A-Za-z0-9])?")
"""What a ledger or a witness may be called: a domain with a path, without a scheme."""
_TEXT_MOST: Final = 4096
_SIGNATURES_MOST: Final = 100
_SIGNATURE_BYTES: Final = 64
_KEY_BYTES: Final = 32
_ID_BYTES: Final = 4
_TIME_BYTES: Final = 8
_LINE: Final = re.compile(r"— (\S+) (\S+)")


class VerifyingKey(msgspec.Struct, frozen=True):
    """The public half of a key, under a name."""

    name: str
    public: bytes
    """Ed25519, 32 bytes."""
    kind: SignatureKind = SIGNS

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name) or len(self.public) != _KEY_BYTES:
            raise KeyRefused(
                "this is no key under a name of letters, digits, '.', '/', '_' and '-'.", where="key"
            )

    @property
    def id(self) -> bytes:
        """4 bytes by which a signature says whose it is."""
        return sha256(self.name.encode() + bytes([10, self.kind]) + self.public).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{_base64(bytes([self.kind]) + self.public)}"

    def verifies(self, text: str, signature: "Signature") -> bool:
        """Whether a signature is this key's, of this text."""
        if (signature.name, signature.key_id) != (self.name, self.id):
            return False
        content = signature.content
        if self.kind == COSIGNS:
            if len(content) != _TIME_BYTES + _SIGNATURE_BYTES:
                return False
            message, content = _timed(text, signature.time_s), content[_TIME_BYTES:]
        else:
            message = text.encode()
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(content, message)
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """The private half of a key. It is never printed."""

    def __init__(self, name: str, private: Ed25519PrivateKey, kind: SignatureKind = SIGNS) -> None:
        self._private = private
        self.verifying = VerifyingKey(name, private.public_key().public_bytes_raw(), kind)

    @classmethod
    def made(cls, name: str, kind: SignatureKind = SIGNS) -> "SigningKey":
        """A new key."""
        return cls(name, Ed25519PrivateKey.generate(), kind)

    def __repr__(self) -> str:
        return f"SigningKey({self.verifying.name!r})"

    @property
    def secret(self) -> bytes:
        """32 bytes, for whoever keeps it."""
        return self._private.private_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Ed25519 of a message, 64 bytes."""
        return self._private.sign(message)

    def as_cosigner(self) -> "SigningKey":
        """The same key for the signatures of a witness."""
        return SigningKey(self.verifying.name, self._private, COSIGNS)


class Signature(msgspec.Struct, frozen=True):
    """One line under a note."""

    name: str
    key_id: bytes
    content: bytes
    """Of kind 1 the signature; of kind 4 the time, 8 bytes big-endian, and the signature."""

    @property
    def time_s(self) -> int:
        """When a witness says that it cosigned; UTC, s since the epoch."""
        return int.from_bytes(self.content[:_TIME_BYTES])

    def __str__(self) -> str:
        return f"— {self.name} {_base64(self.key_id + self.content)}"


class Note(msgspec.Struct, frozen=True):
    """A text and who signed it; nothing is verified by having one."""

    text: str
    """Lines, each with its end."""
    signatures: tuple[Signature, ...]

    def with_signatures(self, more: Iterable[Signature]) -> "Note":
        """The note with those that it does not have yet, in the order of their lines."""
        return Note(self.text, tuple(sorted({*self.signatures, *more}, key=str)))


def read_verifying_key(text: str) -> VerifyingKey:
    """The key that `VerifyingKey` prints so.

    Raises
    ------
    KeyRefused : it is none, or its id is not its own.
    """
    name, _, rest = text.strip().partition("+")
    encoded = rest.partition("+")[2]
    content = _decoded(encoded) or b"\x00"
    if content[0] not in {SIGNS, COSIGNS} or len(content) != 1 + _KEY_BYTES:
        raise KeyRefused(
            "this is no verifying key.", where="key", remedy="Give one line like name+0123abcd+AbCd…"
        )
    key = VerifyingKey(name, content[1:], COSIGNS if content[0] == COSIGNS else SIGNS)
    if str(key) != text.strip():
        raise KeyRefused(
            "the key's id is not that of its name and content.", where="key", remedy="Ask for it again."
        )
    return key


def signed(text: str, keys: Iterable[SigningKey]) -> Note:
    """A text under the signatures of keys of kind 1."""
    message = text.encode()
    lines = (Signature(key.verifying.name, key.verifying.id, key.sign(message)) for key in keys)
    return Note(text, ()).with_signatures(lines)


def cosigned(text: str, key: SigningKey, time_s: int) -> Signature:
    """What a witness, with a key of kind 4, puts under a checkpoint that it found consistent.

    Raises
    ------
    InputInvalid : a key of another kind, or a time before 1970.
    """
    if key.verifying.kind != COSIGNS or not 0 <= time_s < 2**63:
        raise InputInvalid("a witness cosigns with a cosigning key, after 1970.", where="cosignature")
    content = key.sign(_timed(text, time_s))
    return Signature(key.verifying.name, key.verifying.id, time_s.to_bytes(_TIME_BYTES) + content)


def print_note(note: Note) -> str:
    """The note as text."""
    return f"{note.text}\n" + "".join(f"{one}\n" for one in note.signatures)


def read_note(text: str, where: str = "note") -> Note:
    """The note that `print_note` prints so.

    Raises
    ------
    LedgerTampered : it is none.
    """
    body, _, lines = text.rpartition("\n\n")
    signatures = []
    for line in lines.splitlines():
        found = _LINE.fullmatch(line)
        content = _decoded(found[2]) if found else None
        if found is None or content is None:
            break
        signatures.append(Signature(found[1], content[:_ID_BYTES], content[_ID_BYTES:]))
    note = Note(f"{body}\n", tuple(signatures))
    too_much = len(note.text) > _TEXT_MOST or len(signatures) > _SIGNATURES_MOST
    if too_much or not body or not signatures or print_note(note) != text:
        raise LedgerTampered("this is no signed note.", where=where, remedy="Ask for it again.")
    return note


def _timed(text: str, time_s: int) -> bytes:
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _decoded(text: str) -> bytes | None:
    """What a text is the base64 of; None if it is that of nothing, or not the only one."""
    try:
        content = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        return None
    return content if _base64(content) == text else None
