"""Checkpoints: what a ledger says, signed, that its tree is; and who may say it.

The text of a checkpoint is C2SP's tlog-checkpoint: the ledger's name, the size of the tree, its root in
base64, and here one line more, the time (``made 1764000000000000000``, UTC, ns). A ledger signs each of its
sizes once.

Keys change, and who witnesses does. Which keys are in force is said by those that were before, in entries of
the ledger itself (`KeyChanged`): what introduces a key is covered by a checkpoint of a key that was believed
already. So whoever writes the database but has no key cannot introduce one.
"""

import base64
import binascii
from collections.abc import Iterable
from typing import Final

import msgspec

from einthoven.errors import InputInvalid, KeyRefused, LedgerTampered
from einthoven.trust.entries import KeyChanged
from einthoven.trust.merkle import HASH_BYTES
from einthoven.trust.notes import (
    COSIGNS,
    NAME,
    SIGNS,
    Note,
    SignatureKind,
    SigningKey,
    VerifyingKey,
    read_verifying_key,
    signed,
)

__all__ = ["Checkpoint", "KeyRing", "RingKey", "checkpoint_of", "print_checkpoint", "sign_checkpoint"]

_MADE: Final = "made "


class Checkpoint(msgspec.Struct, frozen=True):
    """What a ledger was at one moment."""

    origin: str
    """The ledger's name."""
    size: int
    """Entries."""
    root: bytes
    made_ns: int
    """UTC, ns since the epoch."""

    def __post_init__(self) -> None:
        is_sized = 0 <= self.size < 2**63 and 0 <= self.made_ns < 2**63 and len(self.root) == HASH_BYTES
        if not NAME.fullmatch(self.origin) or not is_sized:
            raise InputInvalid(
                "a checkpoint has a name of letters, digits, and './_-', a size, a root and a time.",
                where="checkpoint",
            )


def print_checkpoint(checkpoint: Checkpoint) -> str:
    """The text that is signed."""
    root = base64.b64encode(checkpoint.root).decode()
    return f"{checkpoint.origin}\n{checkpoint.size}\n{root}\n{_MADE}{checkpoint.made_ns}\n"


def checkpoint_of(note: Note, where: str = "checkpoint") -> Checkpoint:
    """The checkpoint that a note says; nothing is verified by reading it.

    Raises
    ------
    LedgerTampered : it says none.
    """
    lines = note.text.split("\n")
    try:
        origin, size, root, made, _ = lines
        found = Checkpoint(
            origin, int(size), base64.b64decode(root, validate=True), int(made.removeprefix(_MADE))
        )
    except (ValueError, binascii.Error, InputInvalid):
        found = None
    if found is None or print_checkpoint(found) != note.text:
        raise LedgerTampered("this is no checkpoint.", where=where, remedy="Ask for it again.")
    return found


def sign_checkpoint(checkpoint: Checkpoint, keys: Iterable[SigningKey]) -> Note:
    """The checkpoint under the ledger's signatures."""
    return signed(print_checkpoint(checkpoint), keys)


class RingKey(msgspec.Struct, frozen=True):
    """A key and the checkpoints that it may sign."""

    key: VerifyingKey
    after: int = -1
    """Those of more entries than this."""
    until: int | None = None
    """Those of at most so many entries; None while it is in force."""

    def signs(self, size: int) -> bool:
        """Whether it may sign the checkpoint of so many entries."""
        return self.after < size and (self.until is None or size <= self.until)


class KeyRing(msgspec.Struct, frozen=True):
    """Which keys are believed of one ledger: its own, and those of its witnesses."""

    origin: str
    keys: tuple[RingKey, ...] = ()

    @classmethod
    def of(cls, origin: str, keys: Iterable[VerifyingKey]) -> "KeyRing":
        """The keys that somebody trusts from the beginning."""
        return cls(origin, tuple(RingKey(key) for key in dict.fromkeys(keys)))

    def in_force(self, size: int, kind: SignatureKind) -> list[VerifyingKey]:
        """Those of one kind that may sign the checkpoint of a size."""
        return [one.key for one in self.keys if one.key.kind == kind and one.signs(size)]

    def changed(self, entry: KeyChanged, covered: int, where: str = "entry") -> "KeyRing":
        """The ring after an entry that the checkpoint of ``covered`` entries was the first to cover.

        The ledger's own key may sign from the next checkpoint on: this one was signed by those before it. A
        witness may sign this one. Who is retired may still sign it.

        Raises
        ------
        LedgerTampered : a key of another name than the ledger's, or one is retired that is not in force.
        """
        try:
            key = read_verifying_key(entry.key)
        except KeyRefused as error:
            raise LedgerTampered(error.what, where=where) from None
        known = any(one.key == key and one.until is None for one in self.keys)
        if entry.change == "introduced" and (key.kind == COSIGNS or key.name == self.origin):
            new = RingKey(key, after=covered if key.kind == SIGNS else covered - 1)
            return self if known else msgspec.structs.replace(self, keys=(*self.keys, new))
        if entry.change == "retired" and known:
            kept = tuple(
                msgspec.structs.replace(one, until=covered) if one.key == key and one.until is None else one
                for one in self.keys
            )
            return msgspec.structs.replace(self, keys=kept)
        raise LedgerTampered(
            "a change of keys does not fit the keys before it.",
            where=where,
            remedy="Find out who wrote it.",
        )

    def verified(self, note: Note, where: str = "checkpoint") -> Checkpoint:
        """The checkpoint that a note says, if the ledger signed it; who else did is not looked at.

        Raises
        ------
        LedgerTampered : it is of another ledger, or no key that may sign it did.
        """
        found = checkpoint_of(note, where)
        if found.origin != self.origin:
            raise LedgerTampered("the checkpoint is of another ledger.", where=where)
        if not self._signers(note, found.size, SIGNS):
            raise LedgerTampered(
                f"no key that is in force signed the checkpoint of {found.size} entries.",
                where=where,
                remedy="Give the ledger's key if it is another; otherwise somebody forged this.",
            )
        return found

    def witnesses(self, note: Note, where: str = "checkpoint") -> list[str]:
        """Names of the witnesses that cosigned a note, after `verified` looked at the ledger's own part.

        Raises
        ------
        LedgerTampered : a signature is of nobody who may sign this checkpoint, or is of another text.
        """
        size = checkpoint_of(note, where).size
        own, others = self._signers(note, size, SIGNS), self._signers(note, size, COSIGNS)
        if len(own) + len(others) != len(note.signatures):
            raise LedgerTampered(
                f"a signature under the checkpoint of {size} entries is of nobody who may sign it.",
                where=where,
                remedy="Somebody forged it, or changed the text.",
            )
        return others

    def _signers(self, note: Note, size: int, kind: SignatureKind) -> list[str]:
        keys = {(key.name, key.id): key for key in self.in_force(size, kind)}
        found = []
        for one in note.signatures:
            key = keys.get((one.name, one.key_id))
            if key is not None and key.verifies(note.text, one):
                found.append(key.name)
        return found
