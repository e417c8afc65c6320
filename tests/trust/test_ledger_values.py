"""Entries, notes, checkpoints, keys, batches and witnesses: each as a value, without a place to keep it."""

import base64
import typing

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from einthoven.clock import VirtualClock
from einthoven.errors import EinthovenError, InputInvalid, KeyRefused, LedgerTampered
from einthoven.names import PSEUDONYM
from einthoven.trust import Entry, read_entry, write_entry
from einthoven.trust.batching import Batching, BatchLimits
from einthoven.trust.checkpoints import Checkpoint, KeyRing, checkpoint_of, print_checkpoint, sign_checkpoint
from einthoven.trust.entries import AlertStepped, KeyChanged, Reidentified
from einthoven.trust.merkle import consistency_proof, leaf_hashes, nodes_of, root_of
from einthoven.trust.notes import (
    COSIGNS,
    SIGNS,
    Note,
    SigningKey,
    VerifyingKey,
    cosigned,
    print_note,
    read_note,
    read_verifying_key,
    signed,
)
from einthoven.trust.witnessing import witness

# The key and the note of the reference implementation's documentation (golang.org/x/mod/sumdb/note).
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SEED = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
PETER_NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
HOUR_NS = 3600 * 10**9
KINDS = typing.get_args(Entry)


def key_of(number: int, name: str = "clinic.example/ledger") -> SigningKey:
    return SigningKey(name, Ed25519PrivateKey.from_private_bytes(bytes([number] * 32)))


def words(name: str) -> st.SearchStrategy[str]:
    """What a field of an entry takes."""
    if name in {"patient", "pseudonym"}:
        return st.from_regex(PSEUDONYM, fullmatch=True).filter(lambda one: "\n" not in one)
    if name in {"digest", "root"}:
        return st.binary(max_size=64).map(bytes.hex)
    return st.text("abcXYZ019._:/+=-", max_size=128)


def entries() -> st.SearchStrategy[Entry]:
    def built(kind: type) -> st.SearchStrategy[Entry]:
        hints = typing.get_type_hints(kind)
        strategies = {}
        for name in kind.__struct_fields__:
            if hints[name] is str:
                strategies[name] = words(name)
            elif hints[name] is int:
                strategies[name] = st.integers(-(2**63), 2**63 - 1)
            else:
                strategies[name] = st.from_type(hints[name])
        return st.builds(kind, **strategies)

    return st.sampled_from(KINDS).flatmap(built)


@given(entries())
def test_what_is_written_is_read_as_the_same(entry: Entry) -> None:
    content = write_entry(entry)
    assert read_entry(content) == entry
    assert write_entry(read_entry(content)) == content
    assert b"\n" not in content


@given(entries(), st.data())
def test_another_form_of_an_entry_is_no_entry(entry: Entry, data: st.DataObject) -> None:
    """One happening has one form, or its hash would depend on who wrote it."""
    content = write_entry(entry)
    at = data.draw(st.integers(0, len(content)))
    changed = content[:at] + b" " + content[at:]
    with pytest.raises(LedgerTampered):
        read_entry(changed)
    with pytest.raises(LedgerTampered):
        read_entry(content.replace(b'"kind"', b'"Kind"'))


def test_an_entry_is_a_line_that_anybody_can_read() -> None:
    entry = AlertStepped(
        at_ns=1_764_000_000_000_000_000,
        patient="p1-mzxw6ytb",
        alert="a1",
        condition="asystole",
        event="acknowledged",
        state="active-acknowledged",
        by="nurse.ann",
    )
    assert write_entry(entry) == (
        b'{"kind":"alert-stepped","at_ns":1764000000000000000,"patient":"p1-mzxw6ytb","alert":"a1",'
        b'"condition":"asystole","event":"acknowledged","state":"active-acknowledged","by":"nurse.ann"}'
    )


@pytest.mark.parametrize("case", ["Jane Doe", "j@example.org", "a\nb", "ü", "x" * 129, '"'])
def test_an_entry_takes_no_name_and_no_free_text(case: str) -> None:
    with pytest.raises(InputInvalid, match="no names and no free text"):
        Reidentified(
            at_ns=0, pseudonym="p1", by="ann", purpose="research", epoch=1, reason="correction", case=case
        )


def test_a_note_and_its_keys_are_those_of_the_reference_implementation() -> None:
    """Ed25519 signs a text in one way only, so that the bytes are the same."""
    key = read_verifying_key(PETER)
    assert str(key) == PETER
    note = read_note(PETER_NOTE)
    assert print_note(note) == PETER_NOTE
    assert key.verifies(note.text, note.signatures[0])
    seed = base64.b64decode(PETER_SEED)
    assert seed[0] == SIGNS
    again = SigningKey("PeterNeumann", Ed25519PrivateKey.from_private_bytes(seed[1:]))
    assert str(again.verifying) == PETER
    assert print_note(signed(note.text, [again])) == PETER_NOTE
    assert "PeterNeumann" in repr(again)


def test_a_cosignature_is_over_its_time_and_the_text() -> None:
    """C2SP's tlog-cosignature, message and layout."""
    key = key_of(1, "witness.example").as_cosigner()
    assert key.verifying.kind == COSIGNS
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    cosignature = cosigned(text, key, 1679315147)
    message = f"cosignature/v1\ntime 1679315147\n{text}".encode()
    assert cosignature.content == (1679315147).to_bytes(8) + key.sign(message)
    assert cosignature.time_s == 1679315147
    assert key.verifying.verifies(text, cosignature)
    assert not key.verifying.verifies(text.replace("163", "164"), cosignature)
    assert read_verifying_key(str(key.verifying)) == key.verifying
    with pytest.raises(InputInvalid, match="cosigning key"):
        cosigned(text, key_of(1), 0)


@pytest.mark.parametrize("at", range(len(PETER)))
def test_no_letter_of_a_key_can_be_changed(at: int) -> None:
    with pytest.raises(KeyRefused):
        read_verifying_key(PETER[:at] + chr(ord(PETER[at]) ^ 1) + PETER[at + 1 :])


@pytest.mark.parametrize("at", range(len(PETER_NOTE.encode())))
def test_no_byte_of_a_note_can_be_changed(at: int) -> None:
    key = read_verifying_key(PETER)
    content = bytearray(PETER_NOTE.encode())
    for bit in range(8):
        content[at] ^= 1 << bit
        try:
            note = read_note(content.decode())
            assert not any(key.verifies(note.text, one) for one in note.signatures)
        except (LedgerTampered, UnicodeDecodeError):
            pass
        content[at] ^= 1 << bit


def a_checkpoint(entries: int, made_ns: int = 0, salt: bytes = b"") -> Checkpoint:
    leaves = leaf_hashes(bytes([one]) + salt * (one > 2) for one in range(entries))
    return Checkpoint("clinic.example/ledger", entries, root_of(leaves), made_ns)


def test_a_checkpoint_is_three_lines_and_a_time() -> None:
    checkpoint = Checkpoint("clinic.example/ledger", 3, bytes(32), 1_764_000_000_000_000_000)
    assert print_checkpoint(checkpoint) == (
        "clinic.example/ledger\n3\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\nmade 1764000000000000000\n"
    )
    assert checkpoint_of(Note(print_checkpoint(checkpoint), ())) == checkpoint
    for wrong in ("3\n", "a b\n3\nAA=\nmade 1\n", print_checkpoint(checkpoint).replace("\n3\n", "\n03\n")):
        with pytest.raises(LedgerTampered):
            checkpoint_of(Note(wrong, ()))
    with pytest.raises(InputInvalid):
        Checkpoint("clinic", -1, bytes(32), 0)


def change(what: typing.Literal["introduced", "retired"], key: VerifyingKey) -> KeyChanged:
    return KeyChanged(at_ns=0, change=what, key=str(key), by="ann")


def test_a_new_key_is_believed_behind_the_checkpoint_by_which_an_old_one_covered_it() -> None:
    """And the old one until the checkpoint that covers its end."""
    old, new = key_of(1), key_of(2)
    ring = KeyRing.of("clinic.example/ledger", [old.verifying])
    with pytest.raises(LedgerTampered, match="no key that is in force"):
        ring.verified(sign_checkpoint(a_checkpoint(5), [new]))
    ring = ring.changed(change("introduced", new.verifying), 3).changed(change("retired", old.verifying), 5)
    assert ring.verified(sign_checkpoint(a_checkpoint(4), [new]))
    assert ring.verified(sign_checkpoint(a_checkpoint(5), [old]))
    for size, key in ((3, new), (6, old)):
        with pytest.raises(LedgerTampered, match=f"checkpoint of {size} entries"):
            ring.verified(sign_checkpoint(a_checkpoint(size), [key]))
    assert ring.changed(change("introduced", new.verifying), 7) == ring, "it is in force already"
    for entry in (
        change("retired", old.verifying),
        change("introduced", key_of(3, "other.example").verifying),
        KeyChanged(at_ns=0, change="introduced", key="nonsense", by="ann"),
    ):
        with pytest.raises(LedgerTampered):
            ring.changed(entry, 9)
    with pytest.raises(LedgerTampered, match="another ledger"):
        KeyRing.of("other.example", []).verified(sign_checkpoint(a_checkpoint(1), [old]))


def test_every_signature_under_a_checkpoint_is_of_somebody_who_may_sign_it() -> None:
    witness_key, stranger = key_of(7, "w.example").as_cosigner(), key_of(8, "w.example").as_cosigner()
    ring = KeyRing.of("clinic.example/ledger", [key_of(1).verifying])
    note = sign_checkpoint(a_checkpoint(5), [key_of(1)])
    cosignature = cosigned(note.text, witness_key, 7)
    with pytest.raises(LedgerTampered, match="nobody who may sign it"):
        ring.witnesses(note.with_signatures([cosignature]))
    ring = ring.changed(change("introduced", witness_key.verifying), 5)
    assert ring.witnesses(note.with_signatures([cosignature])) == ["w.example"]
    assert ring.verified(note.with_signatures([cosignature]))
    for forged in (cosigned(note.text, stranger, 7), cosigned(f"{note.text}x\n", witness_key, 7)):
        with pytest.raises(LedgerTampered, match="nobody who may sign it"):
            ring.witnesses(note.with_signatures([cosignature, forged]))


def test_a_checkpoint_is_due_after_so_many_entries_or_so_much_time() -> None:
    clock = VirtualClock()
    batching = Batching(BatchLimits(entries=3, age_s=2.0))
    assert batching.due_s is None
    assert not batching.is_due(clock.now_s())
    assert not batching.appended(2, clock.now_s())
    assert batching.due_s == 2.0
    clock.advance(1.0)
    assert batching.appended(1, clock.now_s())
    batching.closed(3, clock.now_s())
    assert batching.due_s is None
    clock.advance(5.0)
    assert not batching.appended(1, clock.now_s())
    clock.advance(1.9)
    assert not batching.is_due(clock.now_s())
    clock.advance(0.1)
    assert batching.is_due(clock.now_s())
    assert batching.appended(1, clock.now_s())
    batching.closed(1, clock.now_s())
    assert batching.waiting == 1
    assert batching.is_due(clock.now_s()), "what came while it was signed is not forgotten"


@given(
    st.lists(st.tuples(st.floats(0, 3), st.integers(0, 5)), max_size=30),
    st.integers(1, 6),
    st.floats(0, 5),
)
def test_no_entry_waits_longer_than_it_may(steps: list[tuple[float, int]], most: int, age_s: float) -> None:
    clock = VirtualClock()
    batching = Batching(BatchLimits(entries=most, age_s=age_s))
    arrived: list[float] = []
    for wait_s, count in steps:
        due_s = batching.due_s
        clock.advance(wait_s if due_s is None else max(0.0, min(wait_s, due_s - clock.now_s())))
        arrived += [clock.now_s()] * count
        if batching.appended(count, clock.now_s()):
            batching.closed(len(arrived), clock.now_s())
            arrived.clear()
        assert batching.waiting == len(arrived) < most
        assert all(clock.now_s() - one <= age_s for one in arrived)


@pytest.mark.parametrize("limits", [{"entries": 0}, {"age_s": -1.0}, {"age_s": float("nan")}])
def test_limits_of_a_batch_are_checked(limits: dict[str, float]) -> None:
    with pytest.raises(InputInvalid):
        BatchLimits(**limits)


WITNESS = key_of(9, "other.example/witness")
RING = KeyRing.of("clinic.example/ledger", [key_of(1).verifying])


def looked_at(note: Note, before: Note | None, **evidence: typing.Any):
    return witness(note, before=before, ring=RING, key=WITNESS, at_ns=HOUR_NS, **evidence)


def note_of(entries: int, made_ns: int = 0, salt: bytes = b"") -> Note:
    return sign_checkpoint(a_checkpoint(entries, made_ns, salt), [key_of(1)])


def test_a_witness_cosigns_what_follows_from_what_it_saw() -> None:
    first, second = note_of(3), note_of(7, 1)
    seen = looked_at(first, None)
    assert seen.entry.finding == "consistent"
    assert seen.cosignature
    assert WITNESS.as_cosigner().verifying.verifies(first.text, seen.cosignature)
    nodes = nodes_of(leaf_hashes(bytes([one]) for one in range(7)))
    for evidence in ({"proof": consistency_proof(nodes, 3, 7)}, {"old_root": a_checkpoint(3).root}):
        seen = looked_at(second, read_note(seen.remembered), **evidence)
        assert seen.finding is None
        assert seen.remembered == print_note(second)
    again = looked_at(note_of(7, 2), second)
    assert again.cosignature, "a ledger that did not grow is the same ledger"
    both = second.with_signatures([again.cosignature, *second.signatures])
    assert both.signatures == (*second.signatures, again.cosignature), "in the order of their names"


def test_a_witness_tells_every_history_that_is_not_the_one_it_saw() -> None:
    """Two texts of one ledger's own signature are the proof; what it showed before stays remembered."""
    before = note_of(5, made_ns=10)
    other = note_of(7, 20, salt=b"x")
    nodes = nodes_of(leaf_hashes(bytes([one]) + b"x" * (one > 2) for one in range(7)))
    looks = {
        "fork": looked_at(note_of(5, 20, salt=b"x"), before),
        "rollback": looked_at(note_of(4, 20), before),
        "rewrite": looked_at(other, before, old_root=a_checkpoint(5, salt=b"x").root),
        "unproven": looked_at(other, before, proof=consistency_proof(nodes, 5, 7)),
    }
    for kind, look in looks.items():
        assert look.finding
        assert (look.finding.kind, look.finding.priority) == (kind, "high")
        assert look.entry.finding == kind
        assert look.cosignature is None
        assert look.remembered == print_note(before)
        assert look.finding.text.startswith("Ledger clinic.example/ledger: ")
        for note in (look.finding.before, look.finding.after):
            assert RING.verified(read_note(note))


def test_a_witness_believes_no_stranger_and_is_not_alarmed_by_an_old_copy() -> None:
    before = note_of(5, made_ns=10)
    with pytest.raises(InputInvalid, match="later checkpoint"):
        looked_at(note_of(4, 9), before)
    forged = sign_checkpoint(a_checkpoint(5, 20, salt=b"x"), [key_of(2)])
    with pytest.raises(LedgerTampered, match="no key that is in force"):
        looked_at(forged, before)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_note_or_a_typed_error(content: bytes) -> None:
    text = content.decode("utf-8", "replace")
    for read in (read_note, read_verifying_key):
        with pytest.raises(EinthovenError):
            read(text)
    with pytest.raises(LedgerTampered):
        read_entry(content)


def test_a_key_is_32_bytes_under_a_name() -> None:
    for name, public in (("a b", bytes(32)), ("a", bytes(31))):
        with pytest.raises(KeyRefused):
            VerifyingKey(name, public)
    assert SigningKey.made("a").verifying.kind == SIGNS
