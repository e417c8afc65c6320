"""The Merkle tree of a log, as RFC 9162 (section 2.1) has it: hashes, growth, proofs and their verification.

A leaf is ``SHA-256(0x00 ‖ entry)``, a node ``SHA-256(0x01 ‖ left ‖ right)``, the tree of no entries
``SHA-256()``; a tree of n leaves has the greatest power of two below n of them on its left side. A `Frontier`
is all that an append needs: the hashes of the complete subtrees on the right edge, one for each bit of n.

Proofs are made from complete subtrees, which never change once they are there: whoever keeps the tree gives
``nodes(level, number)``, the hash of leaves ``number · 2**level`` to ``(number + 1) · 2**level``.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from hashlib import sha256
from typing import Final

import msgspec

from einthoven.errors import InputInvalid

__all__ = [
    "EMPTY_ROOT",
    "HASH_BYTES",
    "Frontier",
    "Nodes",
    "consistency_proof",
    "inclusion_proof",
    "is_consistent",
    "is_included",
    "leaf_hash",
    "leaf_hashes",
    "node_hash",
    "nodes_of",
    "root_of",
]

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256().digest()
"""The root of a tree without leaves."""
Nodes = Callable[[int, int], bytes]
"""Level, from 0 for leaves, and number from the left; the hash of that complete subtree."""


def leaf_hash(entry: bytes) -> bytes:
    """What the tree holds of an entry."""
    return sha256(b"\x00" + entry).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """What the tree holds of each entry."""
    return [sha256(b"\x00" + entry).digest() for entry in entries]


def node_hash(left: bytes, right: bytes) -> bytes:
    """What the tree holds above two nodes."""
    return sha256(b"\x01" + left + right).digest()


class Frontier(msgspec.Struct, frozen=True):
    """A tree as far as appending to it and naming its root needs: at most 64 hashes, whatever its size."""

    size: int = 0
    """Leaves."""
    peaks: tuple[bytes, ...] = ()
    """Roots of the complete subtrees, the largest first: one for each bit of ``size``."""

    def __post_init__(self) -> None:
        if len(self.peaks) != self.size.bit_count() or self.size < 0:
            raise InputInvalid("a frontier has one hash for each bit of its size.", where="peaks")

    @property
    def root(self) -> bytes:
        """The hash of the whole tree."""
        if not self.peaks:
            return EMPTY_ROOT
        return reduce(lambda right, left: node_hash(left, right), reversed(self.peaks))

    def grown(self, leaves: Sequence[bytes]) -> "Frontier":
        """The frontier after so many more leaf hashes, in order; as many hashes again, whatever the size."""
        levels = [level for level in range(self.size.bit_length()) if self.size >> level & 1]
        edge = dict(zip(reversed(levels), self.peaks, strict=True))
        row, level = list(leaves), 0
        while row:
            if level in edge:
                row.insert(0, edge.pop(level))
            if len(row) % 2:
                edge[level] = row.pop()
            pairs = iter(row)
            row = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
            level += 1
        return Frontier(self.size + len(leaves), tuple(edge[level] for level in sorted(edge, reverse=True)))


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root of the tree of these leaf hashes."""
    return Frontier().grown(leaves).root


def nodes_of(leaves: Sequence[bytes]) -> Nodes:
    """The complete subtrees of leaf hashes in memory, for proofs of small logs."""
    rows = [list(leaves)]
    while len(rows[-1]) > 1:
        row = rows[-1]
        rows.append([node_hash(*row[at : at + 2]) for at in range(0, len(row) - 1, 2)])
    return lambda level, number: rows[level][number]


def inclusion_proof(nodes: Nodes, number: int, size: int) -> tuple[bytes, ...]:
    """The proof that leaf ``number`` is in the tree of ``size`` leaves (RFC 9162, 2.1.3.1).

    Raises
    ------
    InputInvalid : there is no such leaf.
    """
    if not 0 <= number < size:
        raise InputInvalid(f"a tree of {size} leaves has no leaf {number}.", where="number")
    path = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + _left_side(stop - start)
        if number < middle:
            path.append(_subtree(nodes, middle, stop))
            stop = middle
        else:
            path.append(_subtree(nodes, start, middle))
            start = middle
    return tuple(reversed(path))


def consistency_proof(nodes: Nodes, first: int, second: int) -> tuple[bytes, ...]:
    """The proof that the tree of ``second`` leaves begins with that of ``first`` (RFC 9162, 2.1.4.1).

    It is empty when the two are the same, and when the first is empty, with which every tree begins.

    Raises
    ------
    InputInvalid : the second is smaller than the first.
    """
    if not 0 <= first <= second:
        raise InputInvalid(f"a tree of {second} leaves does not begin with {first}.", where="first")
    if first in {0, second}:
        return ()
    path = []
    start, stop = 0, second
    is_whole = True  # the subtree that is left is one that a verifier of the first tree knows
    while first != stop:
        middle = start + _left_side(stop - start)
        if first <= middle:
            path.append(_subtree(nodes, middle, stop))
            stop = middle
        else:
            path.append(_subtree(nodes, start, middle))
            start = middle
            is_whole = False
    if not is_whole:
        path.append(_subtree(nodes, start, stop))
    return tuple(reversed(path))


def is_included(leaf: bytes, number: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether a proof shows that a leaf hash is leaf ``number`` of that tree (RFC 9162, 2.1.3.2)."""
    if not 0 <= number < size:
        return False
    low, high, found = number, size - 1, leaf
    for one in proof:
        if not high:
            return False
        if low & 1 or low == high:
            found = node_hash(one, found)
            while low and not low & 1:
                low, high = low >> 1, high >> 1
        else:
            found = node_hash(found, one)
        low, high = low >> 1, high >> 1
    return not high and found == root


def is_consistent(
    first: int, first_root: bytes, second: int, second_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether a proof shows that the second tree begins with the first (RFC 9162, 2.1.4.2).

    Every tree begins with the empty one, and with itself; the proof of either is empty.
    """
    if not 0 <= first <= second:
        return False
    if first == second:
        return not proof and first_root == second_root
    if not first:
        return not proof and first_root == EMPTY_ROOT
    if not proof:
        return False
    path = list(proof) if first & (first - 1) else [first_root, *proof]
    low, high = first - 1, second - 1
    while low & 1:
        low, high = low >> 1, high >> 1
    old = new = path[0]
    for one in path[1:]:
        if not high:
            return False
        if low & 1 or low == high:
            old, new = node_hash(one, old), node_hash(one, new)
            while low and not low & 1:
                low, high = low >> 1, high >> 1
        else:
            new = node_hash(new, one)
        low, high = low >> 1, high >> 1
    return not high and old == first_root and new == second_root


def _left_side(leaves: int) -> int:
    """The greatest power of two below a number of leaves of at least 2."""
    return 1 << (leaves - 1).bit_length() - 1


def _subtree(nodes: Nodes, start: int, stop: int) -> bytes:
    """The hash of the leaves from ``start``, a multiple of the subtree's left side, to ``stop``."""
    leaves = stop - start
    if leaves & (leaves - 1) == 0:
        level = leaves.bit_length() - 1
        return nodes(level, start >> level)
    middle = start + _left_side(leaves)
    return node_hash(_subtree(nodes, start, middle), _subtree(nodes, middle, stop))
