"""A ledger that is kept: entries in, checkpoints out, in transactions of a database.

`append` belongs into the transaction of what its entries tell of. `checkpoint` is called when
`einthoven.trust.batching` says so, by whoever holds the ledger's key.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final

from einthoven.errors import Conflict, InputInvalid, KeyRefused, LedgerTampered, NotFound
from einthoven.storage import ledgers as rows
from einthoven.storage.anchors import anchors_of
from einthoven.storage.database import Statements
from einthoven.storage.ledgers import TILE, LedgerHead, OtherLedger
from einthoven.trust.anchoring import Anchor, compared
from einthoven.trust.checkpoints import Checkpoint, KeyRing, RingKey, checkpoint_of, sign_checkpoint
from einthoven.trust.entries import Entry, KeyChanged, write_entry
from einthoven.trust.exports import ExportReport, GrowthProof, InclusionProof, export_lines, verify_export
from einthoven.trust.merkle import (
    HASH_BYTES,
    Frontier,
    Nodes,
    consistency_proof,
    inclusion_proof,
    leaf_hashes,
    root_of,
)
from einthoven.trust.notes import (
    SIGNS,
    Note,
    SigningKey,
    VerifyingKey,
    print_note,
    read_note,
    read_verifying_key,
)
from einthoven.trust.witnessing import Witnessed, witness

__all__ = [
    "add_cosignatures",
    "append",
    "change_keys",
    "checkpoint",
    "create",
    "export",
    "head",
    "note_of",
    "prove_growth",
    "prove_inclusion",
    "ring_of",
    "ring_of_other",
    "verify_kept",
    "verifying_keys",
    "witness_other",
]

_TILE_LEVELS: Final = TILE.bit_length() - 1
_CACHED_TILES: Final = 512
_LINES: Final = re.compile(rb"[^\n]*\n|[^\n]+")


def create(statements: Statements, org: str, key: SigningKey, *, by: str, now_ns: int) -> Note:
    """A ledger with one entry, which introduces its key, and a checkpoint of that.

    Raises
    ------
    Conflict : the organisation has a ledger.
    """
    found = rows.add_ledger(statements, org, key.verifying.name)
    rows.add_key(statements, org, str(key.verifying), -1)
    entry = KeyChanged(at_ns=now_ns, change="introduced", key=str(key.verifying), by=by)
    _append(statements, found, [entry])
    return checkpoint(statements, org, [key], now_ns)


def head(statements: Statements, org: str, *, for_append: bool = False) -> LedgerHead:
    """Where the ledger stands.

    Raises
    ------
    NotFound : the organisation has none.
    """
    found = rows.head_of(statements, org, for_append=for_append)
    if found is None:
        raise NotFound(
            "this organisation has no ledger.",
            where="ledger",
            remedy="Make one: einthoven ledger create NAME.",
        )
    return found


def append(statements: Statements, org: str, entries: Sequence[Entry]) -> int:
    """Keep entries at the end; the number of the first. They are there if the transaction is.

    Raises
    ------
    InputInvalid : a change of keys, which is more than an entry; see `change_keys`.
    NotFound : the organisation has no ledger.
    """
    if any(isinstance(entry, KeyChanged) for entry in entries):
        raise InputInvalid(
            "keys are not changed by an entry alone.", where="entry", remedy="Use change_keys."
        )
    return _append(statements, head(statements, org, for_append=True), entries)


def _append(statements: Statements, found: LedgerHead, entries: Sequence[Entry]) -> int:
    contents = [write_entry(entry) for entry in entries]
    grown = _frontier(found).grown(leaf_hashes(contents))
    rows.add_batch(statements, found, contents, b"".join(grown.peaks))
    return found.size


def checkpoint(statements: Statements, org: str, keys: Iterable[SigningKey], now_ns: int) -> Note:
    """The checkpoint of all entries: a new one, or the one that covers them already.

    Raises
    ------
    KeyRefused : none of the keys is in force.
    NotFound : the organisation has no ledger.
    """
    found = head(statements, org, for_append=True)
    if found.signed == found.size:
        return note_of(statements, org, found.size)
    believed = ring_of(statements, org).in_force(found.size, SIGNS)
    signers = [key for key in keys if key.verifying in believed]
    if not signers:
        raise KeyRefused(
            "no key that is here may sign this ledger's checkpoints.",
            where="ledger key",
            remedy="Sign where the key is, or give the passphrase that opens it.",
        )
    said = Checkpoint(found.origin, found.size, _frontier(found).root, now_ns)
    note = sign_checkpoint(said, signers)
    rows.add_checkpoint(statements, org, found.size, print_note(note))
    _fill_tiles(statements, found)
    return note


def change_keys(
    statements: Statements, org: str, changes: Sequence[KeyChanged], keys: Iterable[SigningKey], now_ns: int
) -> Note:
    """Enter changes of keys, and have those that are in force until now sign a checkpoint of them.

    Raises
    ------
    Conflict : nobody could sign the next checkpoint.
    KeyRefused : none of ``keys`` is in force, or a key of another ledger.
    LedgerTampered : a key is retired that is not in force.
    NotFound : the organisation has no ledger.
    """
    found, before = head(statements, org, for_append=True), ring_of(statements, org)
    size = found.size + len(changes)
    after = before
    for at, change in enumerate(changes, found.size):
        after = after.changed(change, size, f"entry {at}")
    if not after.in_force(size + 1, SIGNS):
        raise Conflict("no key would be left to sign with.", where="key", remedy="Introduce another first.")
    _append(statements, found, changes)
    note = checkpoint(statements, org, keys, now_ns)
    for old in before.keys:
        if old not in after.keys:
            rows.end_key(statements, org, str(old.key), size)
    for new in after.keys[len(before.keys) :]:
        rows.add_key(statements, org, str(new.key), new.after)
    return note


def ring_of(statements: Statements, org: str) -> KeyRing:
    """The keys that the ledger believes.

    Raises
    ------
    LedgerTampered : what is kept is no key.
    NotFound : the organisation has no ledger.
    """
    found = head(statements, org)
    try:
        keys = [
            RingKey(read_verifying_key(one.key), one.after, one.until)
            for one in rows.keys_of(statements, org)
        ]
    except KeyRefused as error:
        raise _beside(error.what, "ledger_keys") from None
    return KeyRing(found.origin, tuple(keys))


def note_of(statements: Statements, org: str, size: int) -> Note:
    """The newest checkpoint of at most so many entries, with the cosignatures that came for it.

    Raises
    ------
    NotFound : there is none.
    """
    kept = rows.checkpoint_before(statements, org, size)
    if kept is None:
        raise NotFound("the ledger has no checkpoint.", where="ledger", remedy="einthoven ledger checkpoint")
    lines = rows.cosignatures(statements, org, kept[0], kept[0]).get(kept[0], [])
    return _with_lines(kept[1], lines)


def add_cosignatures(statements: Statements, org: str, note: Note) -> int:
    """Keep what witnesses put under one of this ledger's checkpoints; how many were new.

    Raises
    ------
    InputInvalid : it is not a checkpoint that this ledger keeps.
    LedgerTampered : a signature is of nobody who may sign it.
    """
    ring = ring_of(statements, org)
    size = ring.verified(note).size
    kept = note_of(statements, org, size)
    if kept.text != note.text:
        raise InputInvalid("this checkpoint is not kept here.", where="checkpoint")
    ring.witnesses(note)
    own = set(kept.signatures)
    return sum(
        rows.add_cosignature(statements, org, size, str(one)) for one in note.signatures if one not in own
    )


def prove_inclusion(statements: Statements, org: str, number: int) -> InclusionProof:
    """That an entry is in the ledger, under its newest checkpoint.

    Raises
    ------
    InputInvalid : no checkpoint covers such an entry.
    NotFound : the organisation has no ledger.
    """
    found = head(statements, org)
    note = note_of(statements, org, found.size)
    path = inclusion_proof(_nodes(statements, found), number, checkpoint_of(note).size)
    (entry,) = rows.entries_between(statements, org, number, number + 1)
    return InclusionProof(number, entry, path, note)


def prove_growth(statements: Statements, org: str, first: int) -> GrowthProof:
    """That the ledger, under its newest checkpoint, begins with the tree of its first entries.

    Raises
    ------
    InputInvalid : no checkpoint covers so many.
    NotFound : the organisation has no ledger.
    """
    found = head(statements, org)
    note = note_of(statements, org, found.size)
    path = consistency_proof(_nodes(statements, found), first, checkpoint_of(note).size)
    return GrowthProof(first, path, note)


def export(statements: Statements, org: str) -> Iterator[bytes]:
    """The export, in pieces, up to the newest checkpoint; ``statements`` are of one reading.

    Raises
    ------
    NotFound : the organisation has no ledger, or no checkpoint.
    """
    found = head(statements, org)
    note_of(statements, org, found.size)
    sizes = [size for size, _ in rows.checkpoints(statements, org)]
    yield from export_lines(found.origin, sizes[-1], len(sizes), _parts(statements, org))


def verify_kept(
    statements: Statements,
    org: str,
    keys: Collection[VerifyingKey] = (),
    told: Callable[[int, int], object] = lambda *_: None,
    anchors: Collection[Anchor] = (),
) -> ExportReport:
    """Verify what is kept, as whoever has an export would; and what is kept beside that.

    Parameters
    ----------
    keys, told : as in `einthoven.trust.exports.verify_export`
    anchors : what a chain says that the ledger was, beside what is kept of that

    Raises
    ------
    LedgerTampered : something is not as it was signed, or does not follow from what was.
    NotFound : the organisation has no ledger.
    """
    found = head(statements, org)
    pieces = export(statements, org)
    lines = (line for piece in pieces for line in _LINES.findall(piece))
    kept = [Anchor(one.size, one.root) for one in anchors_of(statements, org)]
    sizes = [one.size for one in (*kept, *anchors)]
    report = verify_export(lines, keys=keys, told=told, sizes=sizes)
    for one in anchors:
        compared(one, report.roots, "chain")
    for one in kept:
        compared(one, report.roots, "ledger_anchors")
    behind = leaf_hashes(rows.entries_between(statements, org, report.entries, found.size))
    if (found.signed, found.size) != (report.entries, report.entries + len(behind)):
        raise _beside("there are not as many entries as it is told.", "ledgers")
    if report.frontier.grown(behind) != _frontier(found):
        raise _beside("the edge of the tree is not that of the entries.", "ledgers")
    if report.ring != ring_of(statements, org):
        raise _beside("the keys that are believed are not those that the entries say.", "ledger_keys")
    _verify_tiles(statements, found)
    return report


def _verify_tiles(statements: Statements, found: LedgerHead) -> None:
    level, tiles = 0, found.tiled // TILE
    while tiles:
        for number in range(tiles):
            start, stop = TILE * number, TILE * (number + 1)
            below = (
                leaf_hashes(rows.entries_between(statements, found.org, start, stop))
                if level == 0
                else rows.tile_roots(statements, found.org, level - 1, start, stop)
            )
            roots = rows.tile_roots(statements, found.org, level, number, number + 1)
            if rows.tile(statements, found.org, level, number) != below or roots != [root_of(below)]:
                raise _beside("a tile is not that of what is below it.", f"ledger_tiles {level} {number}")
        level, tiles = level + 1, tiles // TILE


def verifying_keys(statements: Statements, org: str, publics: Iterable[bytes]) -> list[VerifyingKey]:
    """Keys of an organisation's ledger from their public halves; raises NotFound."""
    origin = head(statements, org).origin
    return [VerifyingKey(origin, public, SIGNS) for public in publics]


def _beside(what: str, where: str) -> LedgerTampered:
    return LedgerTampered(
        what, where=where, remedy="Find out who writes the database; restore it from a backup."
    )


def _parts(statements: Statements, org: str) -> Iterator[tuple[Iterator[bytes], Note]]:
    before = 0
    lines = rows.cosignatures(statements, org, 0, 2**62)
    for size, note in rows.checkpoints(statements, org):
        yield rows.entries_between(statements, org, before, size), _with_lines(note, lines.get(size, ()))
        before = size


def witness_other(
    statements: Statements,
    org: str,
    note: Note,
    *,
    ring: KeyRing,
    key: SigningKey,
    now_ns: int,
    proof: Sequence[bytes] = (),
    old_root: Callable[[int], bytes | None] = lambda _: None,
) -> Witnessed:
    """Look at another site's checkpoint, remember it, and enter that in this ledger.

    Parameters
    ----------
    ring : of the other ledger
    old_root : root of its first so many entries, if all of them are at hand

    Raises
    ------
    As `einthoven.trust.witnessing.witness` does.
    """
    kept = rows.other_ledger(statements, org, ring.origin)
    before = read_note(kept.note, "remembered") if kept else None
    root = old_root(checkpoint_of(before).size) if before else None
    seen = witness(note, proof=proof, old_root=root, ring=ring, before=before, key=key, at_ns=now_ns)
    # Who signed another history says nothing of keys any more.
    keys = kept.keys if kept and seen.finding else _printed_keys(ring)
    rows.remember_other(statements, org, OtherLedger(ring.origin, keys, seen.remembered))
    append(statements, org, [seen.entry])
    return seen


def ring_of_other(
    statements: Statements, org: str, origin: str, given: Iterable[VerifyingKey] = ()
) -> KeyRing:
    """The keys that are believed of another ledger: those that were seen to be, and those that are given.

    A key that was seen to be retired stays so, whoever gives it.

    Raises
    ------
    NotFound : it was never seen, and no key is given.
    """
    kept = rows.other_ledger(statements, org, origin)
    keys = []
    for line in kept.keys.splitlines() if kept else ():
        key, after, until = line.split(" ")
        keys.append(RingKey(read_verifying_key(key), int(after), None if until == "-" else int(until)))
    known = {one.key for one in keys}
    keys += [RingKey(key) for key in dict.fromkeys(given) if key not in known]
    if not keys:
        raise NotFound(
            "this ledger was never seen here.", where="key", remedy="Give its key, learnt otherwise: --key."
        )
    return KeyRing(origin, tuple(keys))


def _printed_keys(ring: KeyRing) -> str:
    return "\n".join(f"{one.key} {one.after} {'-' if one.until is None else one.until}" for one in ring.keys)


def _with_lines(note: str, lines: Iterable[str]) -> Note:
    return read_note(note + "".join(f"{line}\n" for line in lines), "kept checkpoint").with_signatures(())


def _frontier(found: LedgerHead) -> Frontier:
    peaks = bytes(found.peaks)
    if len(peaks) != HASH_BYTES * found.size.bit_count():
        raise _beside("the edge of the tree is not that of so many entries.", "ledgers")
    return Frontier(found.size, tuple(peaks[at : at + HASH_BYTES] for at in range(0, len(peaks), HASH_BYTES)))


def _fill_tiles(statements: Statements, found: LedgerHead) -> None:
    """Keep the hashes of all tiles that became whole, and those of the tiles above them."""
    for number in range(found.tiled // TILE, found.size // TILE):
        start = TILE * number
        hashes = leaf_hashes(rows.entries_between(statements, found.org, start, start + TILE))
        level, at = 0, number
        while True:
            rows.add_tile(statements, found.org, level, at, b"".join(hashes), root_of(hashes))
            level, at, place = level + 1, at // TILE, at % TILE
            if place != TILE - 1:
                break
            hashes = rows.tile_roots(statements, found.org, level - 1, TILE * at, TILE * (at + 1))
    rows.tiled(statements, found.org, found.size // TILE * TILE)


def _nodes(statements: Statements, found: LedgerHead) -> Nodes:
    """The complete subtrees that a checkpoint covers: out of tiles, and the newest out of entries."""

    @lru_cache(maxsize=_CACHED_TILES)
    def hashes(level: int, number: int) -> Sequence[bytes]:
        kept = rows.tile(statements, found.org, level, number)
        if kept is not None:
            return kept
        start, stop = TILE * number, TILE * (number + 1)
        if level == 0:
            return leaf_hashes(rows.entries_between(statements, found.org, start, min(stop, found.size)))
        return rows.tile_roots(statements, found.org, level - 1, start, stop)

    def node(level: int, number: int) -> bytes:
        tiles, above = divmod(level, _TILE_LEVELS)
        tile, place = divmod(number << above, TILE)
        row = hashes(tiles, tile)
        return row[place] if above == 0 else root_of(row[place : place + (1 << above)])

    return node
