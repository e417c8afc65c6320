"""A ledger in a real database: what was acknowledged is there, and every other history is found."""

import contextlib
import errno
import os
import random
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from einthoven.errors import Conflict, InputInvalid, KeyRefused, LedgerTampered, NotFound, StoreUnavailable
from einthoven.runtime import ledgers
from einthoven.runtime.ledgers import add_cosignatures, append, change_keys, checkpoint, create, export
from einthoven.runtime.secret_files import keep_ledger_key, keep_secret, ledger_keys, secret_named, secrets_in
from einthoven.storage import Database, open_database
from einthoven.storage.ledgers import TILE, entries_between
from einthoven.trust.checkpoints import Checkpoint, KeyRing, checkpoint_of, sign_checkpoint
from einthoven.trust.entries import AlertStepped, Entry, KeyChanged, write_entry
from einthoven.trust.exports import (
    ExportReport,
    export_lines,
    print_growth,
    print_inclusion,
    read_growth,
    read_inclusion,
    verify_export,
    verify_inclusion,
)
from einthoven.trust.merkle import is_consistent, leaf_hashes, root_of
from einthoven.trust.notes import Note, SigningKey, cosigned, print_note
from einthoven.trust.secrets import close_secret, open_secret

EXAMPLES = Path(__file__).parents[2] / "examples" / "ledger"
sys.path.insert(0, str(EXAMPLES))
import verify_ledger  # noqa: E402 - a script, not of the package

ORIGIN = "clinic.example/ledger"
THOROUGH = os.environ.get("EINTHOVEN_EXAMPLES") == "thorough"


def key_of(number: int, name: str = ORIGIN) -> SigningKey:
    return SigningKey(name, Ed25519PrivateKey.from_private_bytes(bytes([number] * 32)))


SESAME = "open sesame"
KEY, WITNESS = key_of(1), key_of(7, "w.example").as_cosigner()


def entry_of(number: int) -> Entry:
    return AlertStepped(
        at_ns=number, patient=f"p-{number}", alert="a", condition="pause", event="began", state="active"
    )


def introduced(key: SigningKey, what: str = "introduced") -> KeyChanged:
    return KeyChanged(at_ns=0, change=what, key=str(key.verifying), by="ann")


def lines_of(content: bytes) -> list[bytes]:
    return content.splitlines(keepends=True)


def verified(content: bytes, **wanted) -> ExportReport:
    return verify_export(lines_of(content), **wanted)


def parts_of(
    batches: list[int], keys: list[SigningKey], first: list[Entry]
) -> list[tuple[list[bytes], Note]]:
    contents: list[bytes] = []
    parts = []
    for count in batches:
        new = [write_entry(one) for one in first] if not contents else []
        new += [write_entry(entry_of(len(contents) + one)) for one in range(count)]
        contents += new
        said = Checkpoint(ORIGIN, len(contents), root_of(leaf_hashes(contents)), len(contents))
        parts.append((new, sign_checkpoint(said, keys)))
    return parts


def built(batches: list[int], *, cosigned_last: bool = True) -> bytes:
    """An export of a small ledger with a witness, without a database."""
    parts = parts_of(batches, [KEY], [introduced(KEY), introduced(WITNESS)])
    if cosigned_last:
        lines, note = parts[-1]
        parts[-1] = (lines, note.with_signatures([cosigned(note.text, WITNESS, 99)]))
    return b"".join(export_lines(ORIGIN, checkpoint_of(parts[-1][1]).size, len(parts), parts))


SMALL = built([0, 2])


def is_found(content: bytes) -> bool:
    """Whether both verifiers refuse it, the program's and the script's."""
    try:
        verified(content, keys=[KEY.verifying])
    except LedgerTampered:
        pass
    else:
        return False
    try:
        verify_ledger.verify(content, [verify_ledger.read_key(str(KEY.verifying))])
    except (verify_ledger.Tampered, ValueError, KeyError, StopIteration, RuntimeError):
        return True
    return False


def test_a_ledger_is_made_grows_and_is_verified_from_its_export_alone(database: Database) -> None:
    connection = database.connect()
    with connection.writing() as statements:
        create(statements, "main", KEY, by="ann", now_ns=1)
        with pytest.raises(Conflict, match="has a ledger"):
            create(statements, "main", KEY, by="ann", now_ns=1)
        create(statements, "ward", key_of(2, "ward.example"), by="ann", now_ns=1)
    at = 1
    for count in (1, 300, 5, 1000):
        with connection.writing() as statements:
            assert append(statements, "main", [entry_of(at + one) for one in range(count)]) == at
        at += count
        with connection.writing() as statements:
            note = checkpoint(statements, "main", [KEY, key_of(9)], at)
            assert checkpoint(statements, "main", [], at + 1) == note, "nothing new, nothing to sign"
    with connection.reading() as statements:
        content = b"".join(export(statements, "main"))
        kept = list(entries_between(statements, "main", 0, at))
        assert list(entries_between(statements, "main", 250, 400)) == kept[250:400]
        assert list(entries_between(statements, "main", at, at + 5)) == []
        (own,) = entries_between(statements, "ward", 0, 9)
    connection.close()
    assert kept[1:] == [write_entry(entry_of(one)) for one in range(1, at)]
    assert own != kept[0], "each organisation has its own"
    told: list[tuple[int, int]] = []
    report = verified(content, keys=[KEY.verifying], sizes=[0, 7, at], told=lambda *done: told.append(done))
    assert (report.origin, report.entries, report.checkpoints, report.is_pinned) == (ORIGIN, at, 5, True)
    assert report.kinds == {"alert-stepped": at - 1, "key-changed": 1}
    assert (report.first_ns, report.last_ns, report.made_ns) == (1, at - 1, at)
    assert report.root == root_of(leaf_hashes(kept)) == report.roots[at]
    assert report.roots[7] == root_of(leaf_hashes(kept[:7]))
    assert told[-1] == (at, at)
    assert not verified(content).is_pinned
    assert verify_ledger.verify(content)[1:3] == (at, 5)


def test_what_an_entry_tells_of_and_the_entry_are_kept_together_or_not_at_all(database: Database) -> None:
    connection = database.connect()
    with connection.writing() as statements:
        create(statements, "main", KEY, by="ann", now_ns=1)
    with contextlib.suppress(RuntimeError), connection.writing() as statements:
        append(statements, "main", [entry_of(1)])
        raise RuntimeError
    with connection.reading() as statements:
        assert ledgers.head(statements, "main").size == 1
        with pytest.raises(NotFound):
            ledgers.head(statements, "none")
    with connection.writing() as statements, pytest.raises(InputInvalid, match="keys are not changed"):
        append(statements, "main", [introduced(key_of(2))])
    with connection.writing() as statements:
        append(statements, "main", [entry_of(1)])
        with pytest.raises(KeyRefused, match="no key that is here"):
            checkpoint(statements, "main", [key_of(2)], 2)
    connection.close()


def test_of_many_who_append_at_once_each_comes_behind_the_one_before(database: Database) -> None:
    connection = database.connect()
    with connection.writing() as statements:
        create(statements, "main", KEY, by="ann", now_ns=1)
    numbers: list[int] = []

    def add(worker: int) -> None:
        own = database.connect()
        for turn in range(8):
            with own.writing() as statements:
                at = append(statements, "main", [entry_of(100 * worker + turn), entry_of(0)])
            numbers.append(at)
        own.close()

    threads = [threading.Thread(target=add, args=(worker,)) for worker in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(numbers) == list(range(1, 65, 2))
    with connection.writing() as statements:
        checkpoint(statements, "main", [KEY], 9)
    with connection.reading() as statements:
        assert verified(b"".join(export(statements, "main"))).entries == 65
    connection.close()


TAMPERS = {
    "an entry": "UPDATE ledger_batches SET content = ? WHERE first = 1",
    "a batch less": "DELETE FROM ledger_batches WHERE first = 301 AND content <> ?",
    "an entry behind the last checkpoint": "UPDATE ledger_batches SET content = ? WHERE first = 306",
    "the edge": "UPDATE ledgers SET peaks = ?",
    "a tile": "UPDATE ledger_tiles SET hashes = ?",
    "the hash above a tile": "UPDATE ledger_tiles SET root = ?",
    "a checkpoint": "UPDATE ledger_checkpoints SET note = REPLACE(note, 'made 3', 'made 4') WHERE note <> ?",
    "a checkpoint less": "DELETE FROM ledger_checkpoints WHERE size = 306 AND note <> ?",
    "a forged cosignature": "INSERT INTO ledger_cosignatures VALUES ('main', 306, ?)",
    "a thief's key": "INSERT INTO ledger_keys VALUES ('main', 7, ?, 306, NULL)",
    "a key that is retired": "UPDATE ledger_keys SET until_size = 306 WHERE signing_key <> ?",
    "the size": "UPDATE ledgers SET size = size - 1 WHERE peaks <> ?",
    "what is signed": "UPDATE ledgers SET signed = 301 WHERE peaks <> ?",
}


@pytest.mark.parametrize("what", TAMPERS)
def test_whatever_is_changed_in_the_database_is_found(database: Database, what: str) -> None:
    connection = database.connect()
    with connection.writing() as statements:
        create(statements, "main", KEY, by="ann", now_ns=1)
        append(statements, "main", [entry_of(one) for one in range(300)])
        checkpoint(statements, "main", [KEY], 2)
        append(statements, "main", [entry_of(one) for one in range(5)])
        checkpoint(statements, "main", [KEY], 3)
        append(statements, "main", [entry_of(9)])
    with connection.reading() as statements:
        assert ledgers.verify_kept(statements, "main", [KEY.verifying]).entries == 306
    thief = key_of(66)
    value: bytes | str = b"\n".join(write_entry(entry_of(one + 1)) for one in range(300))
    if "behind" in what:
        value = write_entry(entry_of(10))
    elif what == "a tile":
        value = bytes(32 * TILE)
    elif what in {"the edge", "the hash above a tile"}:
        value = bytes(32 * (307).bit_count()) if what == "the edge" else bytes(32)
    elif what == "a forged cosignature":
        value = str(cosigned("x\n", thief.as_cosigner(), 1))
    elif what == "a thief's key":
        value = str(thief.verifying)
    elif "key" in what or "checkpoint" in what:
        value = ""
    with connection.writing() as statements:
        assert statements.run(TAMPERS[what], (value,)) > 0
    with connection.reading() as statements, pytest.raises(LedgerTampered):
        ledgers.verify_kept(statements, "main", [KEY.verifying])
    connection.close()


@pytest.fixture(scope="module")
def long_ledger(tmp_path_factory: pytest.TempPathFactory) -> Database:
    """More than one tile of tiles, in SQLite."""
    database = open_database(str(tmp_path_factory.mktemp("ledger") / "einthoven.db"))
    database.migrate()
    connection = database.connect()
    with connection.writing() as statements:
        create(statements, "main", KEY, by="ann", now_ns=1)
    size = TILE * TILE + 3 * TILE + 17
    while size > 1:
        count = min(size - 1, 20_011)
        with connection.writing() as statements:
            append(statements, "main", [entry_of(one) for one in range(count)])
            if size > count + 1:
                checkpoint(statements, "main", [KEY], 2)
        size -= count
    with connection.writing() as statements:
        checkpoint(statements, "main", [KEY], 3)
    connection.close()
    return database


def test_any_entry_of_a_long_ledger_and_any_growth_is_proven_from_tiles(long_ledger: Database) -> None:
    connection = long_ledger.connect()
    ring = KeyRing.of(ORIGIN, [KEY.verifying])
    with connection.reading() as statements:
        head = ledgers.head(statements, "main")
        assert head.tiled == head.size - 17
        leaves = leaf_hashes(entries_between(statements, "main", 0, head.size))
        whole = root_of(leaves)
        rng = random.Random(5)
        edges = {0, 1, TILE, TILE * TILE - 1, TILE * TILE, head.size - 18, head.size - 1}
        for number in edges | {rng.randrange(head.size) for _ in range(12)}:
            proof = ledgers.prove_inclusion(statements, "main", number)
            assert read_inclusion(print_inclusion(proof)) == proof
            assert verify_inclusion(proof, ring).root == whole
        for first in edges | {head.size, TILE * TILE + 1}:
            growth = ledgers.prove_growth(statements, "main", first)
            assert read_growth(print_growth(growth)) == growth
            old = root_of(leaves[:first])
            assert is_consistent(first, old, head.size, checkpoint_of(growth.note).root, growth.path)
        with pytest.raises(InputInvalid):
            ledgers.prove_inclusion(statements, "main", head.size)
    connection.close()


def test_a_tile_of_tiles_that_was_changed_is_found(long_ledger: Database) -> None:
    connection = long_ledger.connect()
    for column in ("hashes", "root"):
        with connection.writing() as statements:
            ((kept,),) = statements.rows(f"SELECT {column} FROM ledger_tiles WHERE level = 1")  # noqa: S608
            change = f"UPDATE ledger_tiles SET {column} = ? WHERE level = 1"  # noqa: S608
            assert statements.run(change, (bytes(len(kept)),)) == 1
        with connection.reading() as statements, pytest.raises(LedgerTampered, match="below"):
            ledgers.verify_kept(statements, "main", [KEY.verifying])
        with connection.writing() as statements:
            statements.run(change, (kept,))
    with connection.reading() as statements:
        ledgers.verify_kept(statements, "main", [KEY.verifying])
    connection.close()


def test_no_byte_of_a_proof_can_be_changed(long_ledger: Database) -> None:
    connection = long_ledger.connect()
    with connection.reading() as statements:
        text = print_inclusion(ledgers.prove_inclusion(statements, "main", 70_000 - 5_000)).encode()
    connection.close()
    ring = KeyRing.of(ORIGIN, [KEY.verifying])
    for at in range(len(text)):
        changed = text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :]
        with pytest.raises((LedgerTampered, UnicodeDecodeError)):
            verify_inclusion(read_inclusion(changed.decode()), ring)
    for wrong in ("", "einthoven ledger inclusion 1\n", "einthoven ledger growth 1\nx\n\n"):
        for read in (read_inclusion, read_growth):
            with pytest.raises(LedgerTampered):
                read(wrong)


@pytest.mark.parametrize("part", range(8))
def test_no_byte_of_an_export_can_be_changed_left_out_or_put_in(part: int) -> None:
    """Every byte: bits flipped, taken away, said twice."""
    assert verified(SMALL, keys=[KEY.verifying]).entries == 4
    assert verify_ledger.verify(SMALL)[1] == 4
    for at in range(part, len(SMALL), 8):
        flips = [1 << bit for bit in range(8)] if THOROUGH else [1 << at % 8, 0x80 >> at // 8 % 8]
        for flip in flips:
            assert is_found(SMALL[:at] + bytes([SMALL[at] ^ flip]) + SMALL[at + 1 :]), at
        assert is_found(SMALL[:at] + SMALL[at + 1 :]), at
        assert is_found(SMALL[:at] + SMALL[at : at + 1] + SMALL[at:]), at


def test_an_export_that_is_cut_off_anywhere_is_found() -> None:
    for stop in range(len(SMALL)):
        assert is_found(SMALL[:stop]), stop
    assert is_found(SMALL + b"\n")
    assert is_found(SMALL + SMALL)


def test_lines_that_are_exchanged_are_found() -> None:
    lines = lines_of(SMALL)
    for one in range(len(lines)):
        for other in range(one):
            moved = list(lines)
            moved[one], moved[other] = moved[other], moved[one]
            assert moved == lines or is_found(b"".join(moved)), (one, other)


def test_a_history_that_somebody_without_the_key_wrote_anew_is_found() -> None:
    """A thief of the database has every entry and no key: nothing that fits the key can be made."""
    thief = key_of(66)
    again = parts_of([0, 2], [thief], [introduced(thief)])
    whole = b"".join(export_lines(ORIGIN, 3, 2, again))
    assert verified(whole).entries == 3, "it is a ledger in itself; whose, only a key says"
    assert is_found(whole)
    joined = parts_of([0, 1], [KEY], [introduced(KEY)])
    contents = [line for lines, _ in joined for line in lines]
    for trick in ([introduced(thief)], [introduced(thief), introduced(KEY, "retired")]):
        new = [write_entry(one) for one in (*trick, entry_of(5))]
        said = Checkpoint(ORIGIN, len(contents) + len(new), root_of(leaf_hashes([*contents, *new])), 9)
        parts = [*joined, (new, sign_checkpoint(said, [thief]))]
        assert is_found(b"".join(export_lines(ORIGIN, said.size, 3, parts))), "a thief's key lets itself in"
    forged = cosigned(joined[-1][1].text, key_of(67, "w.example").as_cosigner(), 5)
    parts = [joined[0], (joined[1][0], joined[1][1].with_signatures([forged]))]
    assert is_found(b"".join(export_lines(ORIGIN, 2, 2, parts))), "a witness that the ledger does not know"


def test_what_a_file_alone_cannot_show_a_kept_checkpoint_and_witnesses_do() -> None:
    parts = parts_of([0, 2, 2], [KEY], [introduced(KEY), introduced(WITNESS)])
    newest, older = parts[-1][1], parts[1][1]
    shorter = b"".join(export_lines(ORIGIN, 4, 2, parts[:2]))
    assert verified(shorter, keys=[KEY.verifying], kept=[older]).entries == 4
    with pytest.raises(LedgerTampered, match="shorter"):
        verified(shorter, kept=[newest])
    with pytest.raises(verify_ledger.Tampered, match="does not begin"):
        verify_ledger.verify(shorter, (), verify_ledger.read_note(print_note(newest)))
    fork = parts_of([0, 1, 3], [KEY], [introduced(KEY), introduced(WITNESS)])
    fork = [fork[0], ([*fork[1][0], *fork[2][0][1:], write_entry(entry_of(8))], fork[2][1])]
    contents = [line for lines, _ in fork for line in lines]
    said = Checkpoint(ORIGIN, len(contents), root_of(leaf_hashes(contents)), 9)
    fork[1] = (fork[1][0], sign_checkpoint(said, [KEY]))
    other = b"".join(export_lines(ORIGIN, len(contents), 2, fork))
    assert verified(other, keys=[KEY.verifying])
    with pytest.raises(LedgerTampered, match="does not begin"):
        verified(other, kept=[older])
    with pytest.raises(LedgerTampered, match="witnesses"):
        verified(shorter, witnesses=1)
    assert verified(SMALL, witnesses=1).witnesses == {"w.example": 4}


@settings(max_examples=60 if not THOROUGH else 500)
@given(st.data())
def test_tampering_with_a_long_export_is_found(data: st.DataObject) -> None:
    """Anything that is not the file: bytes, lines and blocks changed, moved, copied and removed."""
    lines = lines_of(LONG)
    kind = data.draw(st.sampled_from(["bytes", "swap", "drop", "copy", "cut"]))
    at = data.draw(st.integers(0, len(lines) - 1))
    if kind == "bytes":
        place = data.draw(st.integers(0, len(LONG) - 1))
        new = data.draw(st.binary(min_size=1, max_size=4))
        content = LONG[:place] + new + LONG[place + len(new) :]
    elif kind == "cut":
        content = LONG[: data.draw(st.integers(0, len(LONG) - 1))]
    else:
        other = data.draw(st.integers(0, len(lines) - 1))
        moved = list(lines)
        if kind == "swap":
            moved[at], moved[other] = moved[other], moved[at]
        elif kind == "drop":
            del moved[at : at + data.draw(st.integers(1, 80))]
        else:
            moved[other:other] = lines[at : at + data.draw(st.integers(1, 80))]
        content = b"".join(moved)
    assert content == LONG or is_found(content)


LONG = built([300, 1, 64, 200])


def test_a_key_is_rotated_and_the_old_one_signs_its_own_end(tmp_path: Path) -> None:
    database = open_database(str(tmp_path / "einthoven.db"))
    database.migrate()
    connection = database.connect()
    old, new = SigningKey.made(ORIGIN), SigningKey.made(ORIGIN)
    for one in (old, new):
        keep_ledger_key(tmp_path, "main", one, SESAME)
    with connection.writing() as statements:
        create(statements, "main", old, by="ann", now_ns=1)
    keys = ledger_keys(tmp_path, "main", ORIGIN, SESAME)
    assert {str(key.verifying) for key in keys} == {str(old.verifying), str(new.verifying)}
    for trial in ([introduced(old, "retired")], [introduced(new, "retired")]):
        with connection.writing() as statements, pytest.raises((Conflict, LedgerTampered)):
            change_keys(statements, "main", trial, keys, 2)
    with connection.writing() as statements:
        changes = [introduced(new), introduced(old, "retired"), introduced(WITNESS)]
        note = change_keys(statements, "main", changes, keys, 2)
        assert old.verifying.verifies(note.text, note.signatures[0])
        assert (
            add_cosignatures(statements, "main", note.with_signatures([cosigned(note.text, WITNESS, 3)])) == 1
        )
        assert (
            add_cosignatures(statements, "main", note.with_signatures([cosigned(note.text, WITNESS, 3)])) == 0
        )
        append(statements, "main", [entry_of(1)])
        with pytest.raises(KeyRefused):
            checkpoint(statements, "main", [old], 4)
        later = checkpoint(statements, "main", keys, 4)
        said = sign_checkpoint(Checkpoint(ORIGIN, 5, bytes(32), 4), [new])
        with pytest.raises(InputInvalid, match="not kept here"):
            add_cosignatures(statements, "main", said)
        stranger = cosigned(later.text, key_of(3).as_cosigner(), 3)
        with pytest.raises(LedgerTampered, match="nobody who may sign"):
            add_cosignatures(statements, "main", later.with_signatures([stranger]))
    with connection.reading() as statements:
        content = b"".join(export(statements, "main"))
    connection.close()
    for key in (old, new):
        report = verified(content, keys=[key.verifying], witnesses=1, kept=[note])
        assert report.is_pinned
    assert [one.until for one in report.ring.keys] == [4, None, None]
    assert verify_ledger.verify(content, [verify_ledger.read_key(str(new.verifying))])[1] == 5


def test_sites_witness_each_other_and_enter_what_they_saw(tmp_path: Path) -> None:
    database = open_database(str(tmp_path / "einthoven.db"))
    database.migrate()
    connection = database.connect()
    mine = key_of(5, "other.example")
    ring = KeyRing.of(ORIGIN, [KEY.verifying])
    parts = parts_of([2, 3], [KEY], [introduced(KEY)])
    forked = parts_of([2, 3], [KEY], [introduced(KEY), introduced(WITNESS)])
    with connection.writing() as statements:
        create(statements, "main", mine, by="ann", now_ns=1)
        seen = ledgers.witness_other(statements, "main", parts[0][1], ring=ring, key=mine, now_ns=10**9)
        assert seen.cosignature
        first = root_of(leaf_hashes(parts[0][0]))
        seen = ledgers.witness_other(
            *(statements, "main", parts[1][1]),
            ring=ring,
            key=mine,
            now_ns=2 * 10**9,
            old_root=lambda _: first,
        )
        assert seen.cosignature
        assert seen.finding is None
        seen = ledgers.witness_other(statements, "main", forked[1][1], ring=ring, key=mine, now_ns=3 * 10**9)
        assert seen.finding
        checkpoint(statements, "main", [mine], 4)
    with connection.reading() as statements:
        content = b"".join(export(statements, "main"))
    connection.close()
    assert content.count(b'"finding":"consistent"') == 2
    assert content.count(f'"finding":"{seen.finding.kind}"'.encode()) == 1
    assert verified(content).entries == 4


WRITER = """
import sys
from einthoven.runtime.ledgers import append
from einthoven.storage import open_database
from einthoven.trust.entries import AlertStepped
connection = open_database(sys.argv[1]).connect()
number = 0
while True:
    batch = [AlertStepped(at_ns=number + n, patient="p", alert="a", condition="c", event="e", state="s")
             for n in range(50)]
    with connection.writing() as statements:
        at = append(statements, "main", batch)
    number += 50
    print(at + 50, flush=True)
"""


def test_a_writer_that_is_killed_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    """SIGKILL at any moment: each batch is there whole or not at all, and the ledger goes on."""
    path = str(tmp_path / "einthoven.db")
    database = open_database(path)
    database.migrate()
    connection = database.connect()
    with connection.writing() as statements:
        create(statements, "main", KEY, by="ann", now_ns=1)
    for turn in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True
        ) as writer:
            acknowledged = 0
            for line in writer.stdout:
                acknowledged = int(line)
                if acknowledged > 2000 * (turn + 1):
                    writer.send_signal(signal.SIGKILL)
                    break
            acknowledged = int(([*writer.stdout] or [str(acknowledged)])[-1].strip() or acknowledged)
        with connection.reading() as statements:
            size = ledgers.head(statements, "main").size
            assert acknowledged <= size
            assert (size - 1) % 50 == 0
            kept = list(entries_between(statements, "main", 0, size))
            assert len(kept) == size
        with connection.writing() as statements:
            note = checkpoint(statements, "main", [KEY], 5)
        assert checkpoint_of(note).root == root_of(leaf_hashes(kept))
    with connection.reading() as statements:
        assert verified(b"".join(export(statements, "main"))).entries == size
    connection.close()


def test_a_secret_is_found_by_its_whole_name(tmp_path: Path) -> None:
    keep_secret(tmp_path, "chain", "main-2", passphrase=SESAME)
    assert secret_named(tmp_path, "chain", "main") is None
    secret = keep_secret(tmp_path, "chain", "main", passphrase="")
    assert secret_named(tmp_path, "chain", "main", passphrase="") == secret, "the other one stays closed"
    with pytest.raises(KeyRefused, match="passphrase"):
        secret_named(tmp_path, "chain", "main-2", passphrase="")
    (tmp_path / "keys" / "chain-folder.json").mkdir()
    with pytest.raises(StoreUnavailable, match="could not be read"):
        secret_named(tmp_path, "chain", "folder")


def test_a_secret_is_kept_once_where_files_have_one_name_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)  # as on exFAT and on some shares
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: kept_or_none(tmp_path), range(32)))
    (secret,) = [one for one in found if one is not None]
    assert secret_named(tmp_path, "site", "ward") == secret
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["site-ward.json"]


def kept_or_none(folder: Path) -> bytes | None:
    try:
        return keep_secret(folder, "site", "ward")
    except KeyRefused:
        return None


def test_a_secret_lies_closed_and_only_its_owner_reads_the_file(tmp_path: Path) -> None:
    secret = keep_secret(tmp_path, "pseudonyms", "main.1", passphrase=SESAME)
    path = tmp_path / "keys" / "pseudonyms-main.1.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert secrets_in(tmp_path, "pseudonyms", passphrase=SESAME) == {"main.1": secret}
    assert secrets_in(tmp_path, "ledger") == {}
    text = path.read_text()
    assert close_secret("ledger", secret) != close_secret("pseudonyms", secret)
    with pytest.raises(KeyRefused, match="passphrase"):
        open_secret("pseudonyms", text, "open barley")
    with pytest.raises(KeyRefused, match="passphrase"):
        open_secret("ledger", text.replace("pseudonyms", "ledger"), SESAME)
    with pytest.raises(KeyRefused, match="no key for ledger"):
        open_secret("ledger", close_secret("pseudonyms", secret))
    with pytest.raises(KeyRefused, match="holds no key"):
        open_secret("ledger", "{}")
    with pytest.raises(KeyRefused, match="32 bytes"):
        close_secret("ledger", b"")
    with pytest.raises(KeyRefused, match="of this name"):
        keep_secret(tmp_path, "pseudonyms", "main.1")
