"""The tree is RFC 9162's: its published roots and proofs, and its definition, written down naively."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.errors import InputInvalid
from einthoven.trust.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    is_consistent,
    is_included,
    leaf_hash,
    leaf_hashes,
    nodes_of,
    root_of,
)

# The leaves, roots and proofs that the reference implementation of Certificate Transparency is tested with.
CT_LEAVES = [bytes.fromhex(one) for one in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
CT_ROOTS = [bytes.fromhex(one) for one in (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)]  # fmt: skip
CT_CONSISTENCY = {
    (1, 1): (),
    (1, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (6, 8): (
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 5): (
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ),
}
CT_INCLUSION = {
    (0, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (5, 8): (
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
}
ENTRIES = st.lists(st.binary(max_size=9), max_size=70)


def naive_root(entries: list[bytes]) -> bytes:
    """MTH of RFC 9162, 2.1.1, word by word."""
    if not entries:
        return sha256().digest()
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    k = max(2**power for power in range(20) if 2**power < len(entries))
    return sha256(b"\x01" + naive_root(entries[:k]) + naive_root(entries[k:])).digest()


def naive_path(number: int, entries: list[bytes]) -> list[bytes]:
    """PATH of RFC 9162, 2.1.3.1."""
    if len(entries) == 1:
        return []
    k = max(2**power for power in range(20) if 2**power < len(entries))
    if number < k:
        return [*naive_path(number, entries[:k]), naive_root(entries[k:])]
    return [*naive_path(number - k, entries[k:]), naive_root(entries[:k])]


def naive_proof(first: int, entries: list[bytes], is_whole: bool = True) -> list[bytes]:
    """SUBPROOF of RFC 9162, 2.1.4.1."""
    if first == len(entries):
        return [] if is_whole else [naive_root(entries)]
    k = max(2**power for power in range(20) if 2**power < len(entries))
    if first <= k:
        return [*naive_proof(first, entries[:k], is_whole), naive_root(entries[k:])]
    return [*naive_proof(first - k, entries[k:], False), naive_root(entries[:k])]


@pytest.mark.parametrize("size", range(len(CT_ROOTS)))
def test_the_roots_are_those_of_certificate_transparency(size: int) -> None:
    assert root_of(leaf_hashes(CT_LEAVES[:size])) == CT_ROOTS[size]
    assert CT_ROOTS[0] == EMPTY_ROOT == Frontier().root


def test_the_proofs_are_those_of_certificate_transparency() -> None:
    for (first, second), proof in CT_CONSISTENCY.items():
        nodes = nodes_of(leaf_hashes(CT_LEAVES[:second]))
        assert consistency_proof(nodes, first, second) == tuple(map(bytes.fromhex, proof))
    for (number, size), path in CT_INCLUSION.items():
        nodes = nodes_of(leaf_hashes(CT_LEAVES[:size]))
        assert inclusion_proof(nodes, number, size) == tuple(map(bytes.fromhex, path))


@given(ENTRIES, st.integers(1, 20))
def test_a_tree_that_grows_is_the_tree_that_is_defined(entries: list[bytes], step: int) -> None:
    """Whatever the batches, and with no more state than one hash for each bit of the size."""
    frontier = Frontier()
    for start in range(0, len(entries), step):
        frontier = frontier.grown(leaf_hashes(entries[start : start + step]))
    assert frontier.root == naive_root(entries)
    assert len(frontier.peaks) == len(entries).bit_count()


@pytest.mark.parametrize("size", range(1, 34))
def test_every_proof_of_small_trees_is_the_defined_one_and_is_accepted(size: int) -> None:
    entries = [bytes([one]) for one in range(size)]
    nodes, root = nodes_of(leaf_hashes(entries)), naive_root(entries)
    for number in range(size):
        path = inclusion_proof(nodes, number, size)
        assert path == tuple(naive_path(number, entries))
        assert is_included(leaf_hash(entries[number]), number, size, path, root)
    for first in range(1, size + 1):
        proof = consistency_proof(nodes, first, size)
        assert proof == tuple(naive_proof(first, entries))
        assert is_consistent(first, naive_root(entries[:first]), size, root, proof)


@given(st.data(), st.integers(1, 40))
def test_no_other_proof_is_accepted(data: st.DataObject, size: int) -> None:
    """One bit, one hash more or less, another place, another size, another root."""
    entries = [bytes([one]) for one in range(size)]
    nodes, root = nodes_of(leaf_hashes(entries)), naive_root(entries)
    number, first = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    leaf, path = leaf_hash(entries[number]), inclusion_proof(nodes, number, size)
    old, proof = naive_root(entries[:first]), consistency_proof(nodes, first, size)
    bit = data.draw(st.integers(0, 255))

    def flipped(hash_: bytes) -> bytes:
        return (int.from_bytes(hash_) ^ 1 << bit).to_bytes(32)

    for at in range(len(path)):
        assert not is_included(leaf, number, size, (*path[:at], flipped(path[at]), *path[at + 1 :]), root)
        assert not is_included(leaf, number, size, path[:at] + path[at + 1 :], root)
    assert not is_included(leaf, number, size, (*path, root), root)
    assert not is_included(flipped(leaf), number, size, path, root)
    assert not is_included(leaf, number, size, path, flipped(root))
    for other in {*range(-1, size + 2)} - {number}:
        assert not is_included(leaf, other, size, path, root)
    for at in range(len(proof)):
        changed = (*proof[:at], flipped(proof[at]), *proof[at + 1 :])
        assert not is_consistent(first, old, size, root, changed)
        assert not is_consistent(first, old, size, root, proof[:at] + proof[at + 1 :])
    assert not is_consistent(first, old, size, root, (*proof, root))
    assert not is_consistent(first, flipped(old), size, root, proof)
    assert not is_consistent(first, old, size, flipped(root), proof)
    for other in {*range(-1, size + 2)} - {first}:
        assert not is_consistent(other, old, size, root, proof)


def test_every_tree_begins_with_the_empty_one_and_nothing_else_is_empty() -> None:
    root = root_of(leaf_hashes([b"a"]))
    assert consistency_proof(nodes_of(leaf_hashes([b"a"])), 0, 1) == ()
    assert is_consistent(0, EMPTY_ROOT, 1, root, ())
    assert not is_consistent(0, root, 1, root, ())
    assert not is_consistent(0, EMPTY_ROOT, 1, root, (root,))


def test_what_a_tree_does_not_hold_is_refused() -> None:
    nodes = nodes_of([leaf_hash(b"a")])
    with pytest.raises(InputInvalid, match="has no leaf 1"):
        inclusion_proof(nodes, 1, 1)
    with pytest.raises(InputInvalid, match="does not begin with 2"):
        consistency_proof(nodes, 2, 1)
    with pytest.raises(InputInvalid, match="each bit"):
        Frontier(3, (b"",))
