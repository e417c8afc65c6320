"""Sites witness each other: each remembers the others' newest checkpoint, and cosigns what follows from it.

A ledger that shows one history here and another there, or takes an entry back, must sign two checkpoints of
which neither begins with the other. Whoever sees both has the proof, in the ledger's own signatures. So a
site that does not show how its new checkpoint follows from the one that a witness remembers gets no
cosignature, and the witness a finding, which is a high-priority alert.
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from einthoven.errors import InputInvalid
from einthoven.trust.checkpoints import Checkpoint, KeyRing, checkpoint_of
from einthoven.trust.entries import CheckpointReceived
from einthoven.trust.merkle import is_consistent
from einthoven.trust.notes import Note, Signature, SigningKey, cosigned, print_note, read_note

__all__ = ["FINDINGS", "FindingKind", "LedgerFinding", "Witnessed", "remembered", "witness"]

FindingKind = Literal["fork", "rewrite", "rollback", "unproven"]
FINDINGS: Final[dict[FindingKind, str]] = {
    "fork": "two different trees of one size were signed",
    "rewrite": "a later tree was signed that does not begin with the earlier one",
    "rollback": "a smaller tree was signed after a larger one",
    "unproven": "a later tree was signed, and it was not shown that it begins with the earlier one",
}
"""What can be wrong between two checkpoints of a ledger. The first three are proven by what it signed."""
_NS: Final = 1_000_000_000
_HEX_SHOWN: Final = 16


class LedgerFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Two checkpoints of one ledger that do not belong to one history; both are signed by it."""

    kind: FindingKind
    origin: str
    before: str
    """The note that was remembered."""
    after: str
    """The note that came."""
    at_ns: int
    priority: Literal["high"] = "high"

    @property
    def text(self) -> str:
        """One sentence for whoever is alerted."""
        old, new = (checkpoint_of(read_note(one)) for one in (self.before, self.after))
        return (
            f"Ledger {self.origin}: {FINDINGS[self.kind]} ({old.size} entries {old.root.hex()[:_HEX_SHOWN]}, "
            f"{new.size} entries {new.root.hex()[:_HEX_SHOWN]})."
        )


class Witnessed(msgspec.Struct, frozen=True):
    """What came of looking at another site's checkpoint."""

    entry: CheckpointReceived
    """For the witness's own ledger."""
    remembered: str
    """The note to remember from now on."""
    cosignature: Signature | None = None
    finding: LedgerFinding | None = None


def remembered(note: Note, ring: KeyRing) -> Checkpoint:
    """The checkpoint of a note that was kept.

    Raises
    ------
    LedgerTampered : it is not one that the ledger signed.
    """
    return ring.verified(note, "remembered")


def witness(
    note: Note,
    *,
    proof: Sequence[bytes] = (),
    old_root: bytes | None = None,
    ring: KeyRing,
    before: Note | None,
    key: SigningKey,
    at_ns: int,
) -> Witnessed:
    """Look at another site's checkpoint, and cosign it if it follows from the one before.

    Parameters
    ----------
    proof : that its tree begins with the one of ``before``
    old_root : in place of a proof, the root of as many entries as ``before`` has, computed from all entries
        of an export that `note` was verified with; then a tree that does not fit is proven to be rewritten
    ring : the other site's keys
    before : the note that is remembered of it, if there is one
    key : the witness's own, of any kind

    Raises
    ------
    LedgerTampered : it is not signed by the other site: nothing follows from it, and nothing is remembered.
    InputInvalid : it is older than the one that is remembered; so is every copy of an old one.
    """
    new = ring.verified(note)
    if before is None:
        return _accepted(note, new, key, at_ns)
    old = remembered(before, ring)
    kind: FindingKind
    if new.size < old.size:
        if new.made_ns <= old.made_ns:
            raise InputInvalid(
                f"a later checkpoint, of {old.size} entries, is remembered.",
                where="checkpoint",
                remedy="Ask for the newest one.",
            )
        kind = "rollback"
    elif new.size == old.size:
        if new.root == old.root:
            return _accepted(note, new, key, at_ns)
        kind = "fork"
    elif old_root is not None:
        if old_root == old.root:
            return _accepted(note, new, key, at_ns)
        kind = "rewrite"
    elif is_consistent(old.size, old.root, new.size, new.root, proof):
        return _accepted(note, new, key, at_ns)
    else:
        kind = "unproven"
    finding = LedgerFinding(
        kind=kind, origin=new.origin, before=print_note(before), after=print_note(note), at_ns=at_ns
    )
    return Witnessed(_entry(new, kind, at_ns), print_note(before), finding=finding)


def _accepted(note: Note, new: Checkpoint, key: SigningKey, at_ns: int) -> Witnessed:
    cosignature = cosigned(note.text, key.as_cosigner(), at_ns // _NS)
    return Witnessed(_entry(new, "consistent", at_ns), print_note(note), cosignature)


def _entry(new: Checkpoint, finding: FindingKind | Literal["consistent"], at_ns: int) -> CheckpointReceived:
    return CheckpointReceived(
        at_ns=at_ns, origin=new.origin, size=new.size, root=new.root.hex(), finding=finding
    )
