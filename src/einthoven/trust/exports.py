"""A ledger as a file that anybody verifies without asking anybody; and proofs about parts of it.

An export is text: a heading, the ledger's name, how many entries and checkpoints follow; then the entries,
one a line, and behind the entries that a checkpoint covers, between two empty lines, that checkpoint with the
signatures under it; at last the line ``end``. All entries are covered. Which keys are believed follows from
the entries, beginning with the first, in which the ledger introduces its first key. So there is no byte that
is not either covered by a root that is signed, or a signature that must be one, or the only thing that can
stand there.

What a file alone cannot show is that it is the newest one, and whose the keys are. For that whoever verifies
gives a checkpoint that was kept, and a key that was learnt otherwise; or asks for witnesses.
"""

import base64
import binascii
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Final, NoReturn

import msgspec

from einthoven.errors import KeyRefused, LedgerTampered
from einthoven.trust.checkpoints import Checkpoint, KeyRing, checkpoint_of
from einthoven.trust.entries import KeyChanged, read_entry
from einthoven.trust.merkle import EMPTY_ROOT, HASH_BYTES, Frontier, is_included, leaf_hash, leaf_hashes
from einthoven.trust.notes import SIGNS, Note, VerifyingKey, print_note, read_note, read_verifying_key

__all__ = [
    "EXPORT",
    "ExportReport",
    "GrowthProof",
    "InclusionProof",
    "export_lines",
    "print_growth",
    "print_inclusion",
    "read_growth",
    "read_inclusion",
    "verify_export",
    "verify_inclusion",
]

EXPORT: Final = b"einthoven ledger export 1\n"
_INCLUSION: Final = "einthoven ledger inclusion 1"
_GROWTH: Final = "einthoven ledger growth 1"
_END: Final = b"end\n"
_KEY_CHANGE: Final = b'{"kind":"key-changed",'
_HEADING: Final = 4
"""Lines."""
_LINE_MOST: Final = 8192
_NOTE_LINES_MOST: Final = 128
_HASHES_MOST: Final = 130
_DIGITS_MOST: Final = 20
_TOLD_EVERY: Final = 16_384
_NEWEST_ROOTS: Final = 256


class ExportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was verified."""

    origin: str
    entries: int
    checkpoints: int
    frontier: Frontier
    """The tree of all entries."""
    made_ns: int
    """When the newest checkpoint was signed."""
    first_ns: int
    """Of the earliest entry."""
    last_ns: int
    kinds: dict[str, int]
    """How many entries of each kind."""
    ring: KeyRing
    witnesses: dict[str, int]
    """Entries of the newest checkpoint that each witness cosigned."""
    newest: str
    """The newest checkpoint with its signatures."""
    is_pinned: bool
    """A key that was given signed a checkpoint."""
    roots: dict[int, bytes]
    """Of the sizes that were asked for."""
    newest_roots: dict[int, bytes]
    """Of the last checkpoints, by their sizes; not more than a chain is asked for at once."""

    @property
    def root(self) -> bytes:
        """Of all entries."""
        return self.frontier.root


class _Stamp(msgspec.Struct, frozen=True):
    kind: str
    at_ns: int


def export_lines(
    origin: str, entries: int, checkpoints: int, parts: Iterable[tuple[Iterable[bytes], Note]]
) -> Iterator[bytes]:
    """The export, in pieces; ``parts`` are entries and the checkpoint that covers them and all before."""
    yield EXPORT + f"{origin}\n{entries} entries\n{checkpoints} checkpoints\n".encode()
    for lines, note in parts:
        for line in lines:
            yield line + b"\n"
        yield f"\n{print_note(note)}\n".encode()
    yield _END


def verify_export(
    lines: Iterable[bytes],
    *,
    keys: Collection[VerifyingKey] = (),
    kept: Sequence[Note] = (),
    witnesses: int = 0,
    sizes: Collection[int] = (),
    told: Callable[[int, int], object] = lambda *_: None,
) -> ExportReport:
    """Verify an export: every root, every signature, every byte.

    Parameters
    ----------
    lines : of the file, each with its end
    keys : one of them must have signed a checkpoint
    kept : checkpoints of this ledger that were seen before: it must still begin with their trees
    witnesses : so many must have cosigned one of the ledger's checkpoints, counted by name
    sizes : of which the roots are wanted
    told : how many entries are done, and of how many

    Raises
    ------
    LedgerTampered : the first thing that is not as it was signed, and where.
    """
    return _Verification(keys, kept, sizes, told).performed(iter(lines), witnesses)


class _Verification:
    """One pass over an export."""

    def __init__(
        self,
        keys: Collection[VerifyingKey],
        kept: Sequence[Note],
        sizes: Collection[int],
        told: Callable[[int, int], object],
    ) -> None:
        self._pins = set(keys)
        self._kept = kept
        self._sizes = {*sizes, *(checkpoint_of(note, "kept checkpoint").size for note in kept)}
        self._told = told
        self._number = 0
        self._frontier = Frontier()
        self._pending: list[bytes] = []
        self._changes: list[tuple[int, KeyChanged]] = []
        self._ring = KeyRing("")
        self._roots = {0: EMPTY_ROOT}
        self._kinds: dict[str, int] = {}
        self._span_ns = (2**63, -(2**63))
        self._witnesses: dict[str, int] = {}
        self._is_pinned = False
        self._last: tuple[Checkpoint, str] | None = None
        self._newest_roots: deque[tuple[int, bytes]] = deque(maxlen=_NEWEST_ROOTS)
        self._stamps: msgspec.json.Decoder[_Stamp] = msgspec.json.Decoder(_Stamp)

    def performed(self, lines: Iterator[bytes], witnesses: int) -> ExportReport:
        if next(lines, b"") != EXPORT:
            _refuse("this is no export of a ledger.", "line 1", "Make it with einthoven ledger export.")
        origin = next(lines, b"").decode("ascii", "replace").removesuffix("\n")
        entries, checkpoints = (_counted(next(lines, b""), what) for what in ("entries", "checkpoints"))
        self._ring = KeyRing(origin)
        done = 0
        for line in lines:
            self._number += 1
            if line[:1] == b"{":
                self._take(line)
                if not self.size % _TOLD_EVERY:
                    self._told(self.size, entries)
            elif line == b"\n":
                done += 1
                self._close(lines, f"checkpoint {done}")
            elif line == _END:
                break
            else:
                _refuse("neither an entry nor a checkpoint.", f"line {self._number + _HEADING}")
        else:
            _refuse("the export is cut off.", f"line {self._number + _HEADING}")
        if next(lines, None) is not None:
            _refuse("something stands behind the end.", f"line {self._number + _HEADING + 1}")
        if (self.size, done) != (entries, checkpoints) or self._pending or self._last is None:
            _refuse(
                f"{entries} entries, {checkpoints} checkpoints are told; {self.size}, {done} are there, "
                f"{len(self._pending)} entries behind the last one.",
                "end",
            )
        self._told(self.size, entries)
        self._compared(witnesses)
        newest, note = self._last
        return ExportReport(
            origin=origin,
            entries=entries,
            checkpoints=checkpoints,
            frontier=self._frontier,
            made_ns=newest.made_ns,
            first_ns=self._span_ns[0],
            last_ns=self._span_ns[1],
            kinds=dict(sorted(self._kinds.items())),
            ring=self._ring,
            witnesses=self._witnesses,
            newest=note,
            is_pinned=self._is_pinned,
            roots={size: self._roots[size] for size in self._sizes if size in self._roots},
            newest_roots=dict(self._newest_roots),
        )

    @property
    def size(self) -> int:
        """Entries so far."""
        return self._frontier.size + len(self._pending)

    def _take(self, line: bytes) -> None:
        if line[-1:] != b"\n" or len(line) > _LINE_MOST:
            _refuse("an entry is cut off or too long.", f"entry {self.size}")
        entry = line[:-1]
        try:
            stamp = self._stamps.decode(entry)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            _refuse("this is no entry.", f"entry {self.size}")
        self._kinds[stamp.kind] = self._kinds.get(stamp.kind, 0) + 1
        first_ns, last_ns = self._span_ns
        if not first_ns <= stamp.at_ns <= last_ns:
            self._span_ns = (min(first_ns, stamp.at_ns), max(last_ns, stamp.at_ns))
        if entry.startswith(_KEY_CHANGE):
            change = read_entry(entry, f"entry {self.size}")
            if isinstance(change, KeyChanged):
                self._changes.append((self.size, change))
        self._pending.append(entry)

    def _close(self, lines: Iterator[bytes], where: str) -> None:
        body, signatures = _until_empty(lines, where), _until_empty(lines, where)
        self._number += len(body) + len(signatures) + 2
        try:
            text = b"".join((*body, b"\n", *signatures)).decode()
        except UnicodeDecodeError:
            _refuse("a checkpoint is no text.", where)
        self._verify(read_note(text, where), where)

    def _verify(self, note: Note, where: str) -> None:
        before = self._frontier.size
        if note != note.with_signatures(()):
            _refuse("signatures are out of order, or one stands there twice.", where)
        self._grow()
        if not before:
            self._believe_first(where)
        checkpoint = self._ring.verified(note, where)
        if (checkpoint.size, checkpoint.root) != (self._frontier.size, self._frontier.root):
            _refuse(
                f"the entries before it are not those that it was signed for: one of entries {before} to "
                f"{self._frontier.size - 1} was changed, added, moved or taken away.",
                where,
            )
        if self._last is not None and checkpoint.size <= self._last[0].size:
            _refuse("a checkpoint covers no entry that the one before does not.", where)
        self._is_pinned |= any(
            key in self._pins and any(key.verifies(note.text, one) for one in note.signatures)
            for key in self._ring.in_force(checkpoint.size, SIGNS)
        )
        for number, change in self._changes:
            self._ring = self._ring.changed(change, checkpoint.size, f"entry {number}")
        self._changes.clear()
        for name in self._ring.witnesses(note, where):
            self._witnesses[name] = checkpoint.size
        self._last = (checkpoint, print_note(note))
        self._newest_roots.append((checkpoint.size, checkpoint.root))

    def _grow(self) -> None:
        """Take what is pending into the tree, by way of the sizes whose roots are wanted."""
        start, leaves = self._frontier.size, leaf_hashes(self._pending)
        stops = sorted(size for size in self._sizes if start < size < start + len(leaves))
        for stop in (*stops, start + len(leaves)):
            self._frontier = self._frontier.grown(leaves[self._frontier.size - start : stop - start])
            if stop in self._sizes:
                self._roots[stop] = self._frontier.root
        self._pending = []

    def _believe_first(self, where: str) -> None:
        """The ledger's first entry introduces its first key, which signs for itself."""
        number, change = self._changes[0] if self._changes else (-1, None)
        if number != 0 or change is None or change.change != "introduced":
            _refuse("the first entry does not introduce the ledger's key.", where)
        try:
            key = read_verifying_key(change.key)
        except KeyRefused as error:
            _refuse(error.what, "entry 0")
        if key.kind != SIGNS or key.name != self._ring.origin:
            _refuse("the first entry introduces the key of another ledger.", where)
        self._ring = KeyRing.of(self._ring.origin, [key])

    def _compared(self, witnesses: int) -> None:
        """Against what is known from elsewhere."""
        if self._pins and not self._is_pinned:
            _refuse(
                "none of the keys that were given signed a checkpoint of it.", "keys", "Is it another ledger?"
            )
        for note in self._kept:
            before = self._ring.verified(note, "kept checkpoint")
            if self._roots.get(before.size) != before.root:
                what = "is shorter than" if before.size > self.size else "does not begin with"
                _refuse(
                    f"the ledger {what} the tree of {before.size} entries that it signed before.",
                    "kept checkpoint",
                    "Keep both: together they are the proof.",
                )
        if len(self._witnesses) < witnesses:
            _refuse(
                f"{len(self._witnesses)} witnesses cosigned; {witnesses} are wanted.",
                "witnesses",
                "Have its checkpoints witnessed.",
            )


class InclusionProof(msgspec.Struct, frozen=True):
    """That an entry is in a ledger, as a checkpoint of it shows."""

    number: int
    entry: bytes
    path: tuple[bytes, ...]
    note: Note


class GrowthProof(msgspec.Struct, frozen=True):
    """That a ledger only grew since it had ``first`` entries; what a witness asks for."""

    first: int
    path: tuple[bytes, ...]
    note: Note


def print_inclusion(proof: InclusionProof) -> str:
    """The proof as text."""
    lines = [str(proof.number), proof.entry.decode(), *map(_base64, proof.path)]
    return _printed(_INCLUSION, lines, proof.note)


def print_growth(proof: GrowthProof) -> str:
    """The proof as text."""
    return _printed(_GROWTH, [str(proof.first), *map(_base64, proof.path)], proof.note)


def read_inclusion(text: str, where: str = "proof") -> InclusionProof:
    """The proof that `print_inclusion` prints so; nothing is verified by reading it.

    Raises
    ------
    LedgerTampered : it is none.
    """
    lines, note = _parts(text, _INCLUSION, where)
    number, entry, *hashes = lines if len(lines) > 1 else ("", "")
    proof = InclusionProof(_number(number, where), entry.encode(), _hashes(hashes, where), note)
    return proof if print_inclusion(proof) == text else _refuse("this is no proof.", where)


def read_growth(text: str, where: str = "proof") -> GrowthProof:
    """The proof that `print_growth` prints so; nothing is verified by reading it.

    Raises
    ------
    LedgerTampered : it is none.
    """
    (number, *hashes), note = _parts(text, _GROWTH, where)
    proof = GrowthProof(_number(number, where), _hashes(hashes, where), note)
    return proof if print_growth(proof) == text else _refuse("this is no proof.", where)


def verify_inclusion(proof: InclusionProof, ring: KeyRing, where: str = "proof") -> Checkpoint:
    """The checkpoint under which the entry is in the ledger.

    Raises
    ------
    LedgerTampered : it is not, or the checkpoint is not one that a key of the ring signed.
    """
    checkpoint = ring.verified(proof.note, where)
    leaf = leaf_hash(proof.entry)
    if not is_included(leaf, proof.number, checkpoint.size, proof.path, checkpoint.root):
        _refuse("the entry is not in the ledger that was signed.", where)
    return checkpoint


def _printed(heading: str, lines: Iterable[str], note: Note) -> str:
    return "".join(f"{line}\n" for line in (heading, *lines, "")) + print_note(note)


def _parts(text: str, heading: str, where: str) -> tuple[list[str], Note]:
    first, _, rest = text.partition("\n")
    lines, _, note = rest.partition("\n\n")
    if first != heading or len(text) > _LINE_MOST * 2:
        _refuse("this is no proof.", where)
    return lines.split("\n"), read_note(note, where)


def _number(text: str, where: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < _DIGITS_MOST):
        _refuse("this is no proof: a number is wanted.", where)
    return int(text)


def _hashes(lines: Sequence[str], where: str) -> tuple[bytes, ...]:
    try:
        hashes = tuple(base64.b64decode(line, validate=True) for line in lines)
    except (binascii.Error, ValueError):
        hashes = (b"",)
    if any(len(one) != HASH_BYTES for one in hashes) or len(hashes) > _HASHES_MOST:
        _refuse("this is no proof: hashes are wanted.", where)
    return hashes


def _counted(line: bytes, what: str) -> int:
    number, _, word = line.decode("ascii", "replace").partition(" ")
    if word != f"{what}\n":
        _refuse(f"a number of {what} is wanted.", "heading")
    count = _number(number, "heading")
    return count if str(count) == number else _refuse("a number is not written as one.", "heading")


def _until_empty(lines: Iterator[bytes], where: str) -> list[bytes]:
    found: list[bytes] = []
    for line in lines:
        if line == b"\n":
            return found
        found.append(line)
        if len(found) > _NOTE_LINES_MOST or len(line) > _LINE_MOST:
            break
    return _refuse("a checkpoint is cut off or too long.", where)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _refuse(what: str, where: str, remedy: str = "Find out who changed it.") -> NoReturn:
    raise LedgerTampered(what, where=where, remedy=remedy)
