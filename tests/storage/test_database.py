"""What both databases promise alike."""

import contextlib
import threading
import time
from pathlib import Path

import pytest

from einthoven.errors import DatabaseUnavailable, InputInvalid
from einthoven.storage import Database, open_database, within
from einthoven.storage.migrations import MIGRATIONS

_ADD = "INSERT INTO leases (job, holder, until_ns) VALUES (?, ?, ?)"


def jobs(database: Database) -> list[str]:
    connection = database.connect()
    with connection.reading() as statements:
        found = [row[0] for row in statements.rows("SELECT job FROM leases ORDER BY job")]
    connection.close()
    return found


def test_what_a_block_wrote_is_there_for_everybody_when_it_ends(database: Database) -> None:
    connection = database.connect()
    with connection.writing() as statements:
        statements.run(_ADD, ("a", "me", 1))
        statements.run_many(_ADD, [("b", "me", 2), ("c", "me", 3)])
    connection.close()
    assert jobs(database) == ["a", "b", "c"]


def test_of_a_block_that_fails_nothing_happened(database: Database) -> None:
    connection = database.connect()

    def fail() -> None:
        with connection.writing() as statements:
            statements.run(_ADD, ("a", "me", 1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with connection.writing() as statements:
        statements.run(_ADD, ("b", "me", 1))
    connection.close()
    assert jobs(database) == ["b"]


def test_a_view_does_not_change_while_it_is_read(database: Database) -> None:
    reader, writer = database.connect(), database.connect()
    with reader.reading() as statements:
        before = statements.rows("SELECT COUNT(*) FROM leases")
        with writer.writing() as other:
            other.run(_ADD, ("a", "me", 1))
        assert statements.rows("SELECT COUNT(*) FROM leases") == before == [(0,)]
    with reader.reading() as statements:
        assert statements.rows("SELECT COUNT(*) FROM leases") == [(1,)]
    reader.close()
    writer.close()


def test_a_locked_row_waits_for_the_one_before(database: Database) -> None:
    """Two who add one to the same number make two."""
    connection = database.connect()
    with connection.writing() as statements:
        statements.run(_ADD, ("count", "me", 0))

    def add() -> None:
        own = database.connect()
        for _ in range(20):
            with own.writing() as statements:
                ((value,),) = statements.rows("SELECT until_ns FROM leases WHERE job = 'count' /*lock*/")
                statements.run("UPDATE leases SET until_ns = ? WHERE job = 'count'", (value + 1,))
        own.close()

    threads = [threading.Thread(target=add) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with connection.reading() as statements:
        assert statements.rows("SELECT until_ns FROM leases") == [(40,)]
    connection.close()


def test_bytes_percent_signs_and_large_numbers_come_back_as_they_went(database: Database) -> None:
    connection = database.connect()
    with connection.writing() as statements:
        statements.run(
            "INSERT INTO journal (stream, sequence, received_ns, block) VALUES (?, ?, ?, ?)",
            (2**62, 7, -(2**62), bytes(range(256))),
        )
        statements.run(_ADD, ("100 % ? %s", "é", -(2**62)))
        assert statements.rows("SELECT stream, received_ns, block FROM journal") == [
            (2**62, -(2**62), bytes(range(256)))
        ]
        assert statements.rows("SELECT job, holder FROM leases WHERE job LIKE '100 %'") == [
            ("100 % ? %s", "é")
        ]
    connection.close()


def test_within_stands_for_as_many_values(database: Database) -> None:
    connection = database.connect()
    with connection.writing() as statements:
        statements.run_many(_ADD, [(name, "me", 0) for name in "abcd"])
        found = statements.rows(
            within("SELECT job FROM leases WHERE job IN (*) ORDER BY job", 3), ["a", "c", "x"]
        )
    connection.close()
    assert found == [("a",), ("c",)]


def test_tables_are_made_once_by_however_many(database_url: str) -> None:
    databases = [open_database(database_url) for _ in range(3)]
    threads = [threading.Thread(target=database.migrate) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert databases[0].migrate() == len(MIGRATIONS)
    assert jobs(databases[1]) == []


def test_whoever_tidies_while_somebody_reads_holds_up_no_writer(tmp_path: Path) -> None:
    database = open_database(f"sqlite://{tmp_path / 'e.db'}")
    database.migrate()
    writer, reader, tidier = (database.connect() for _ in range(3))
    with writer.writing() as statements:
        statements.run("CREATE TABLE much (content BLOB)")
        statements.run("INSERT INTO much VALUES (zeroblob(20000000))")
    with reader.reading() as seen:
        seen.rows("SELECT COUNT(*) FROM much")
        with writer.writing() as statements:
            statements.run("DELETE FROM much")
        began_s = time.monotonic()
        tidier.tidy()
        assert time.monotonic() - began_s < 5.0, "the reader is not waited for"
    tidier.tidy()
    assert (tmp_path / "e.db-wal").stat().st_size == 0
    for one in (writer, reader, tidier):
        one.close()


def test_a_database_of_a_newer_program_is_left_alone(tmp_path: Path) -> None:
    database = open_database(f"sqlite://{tmp_path / 'newer.db'}")
    database.migrate()
    connection = database.connect()
    with connection.writing() as statements:
        statements.run(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    with pytest.raises(InputInvalid, match="newer program"):
        database.migrate()


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE leases ADD COLUMN since_ns BIGINT",
        "ALTER TABLE leases RENAME COLUMN until_ns TO ends_ns",
        "DROP TABLE leases",
    ],
)
def test_a_database_with_other_tables_than_this_program_makes_is_left_alone(
    database: Database, change: str
) -> None:
    assert database.migrate() == len(MIGRATIONS), "its own are good"
    with contextlib.closing(database.connect()) as connection, connection.writing() as statements:
        statements.run(change)
    with pytest.raises(InputInvalid, match="the table leases is not"):
        database.migrate()


@pytest.mark.parametrize("url", ["/nowhere/at/all.db", "postgresql://127.0.0.1:9/none"])
def test_a_database_that_is_not_there_is_a_peers_error(url: str) -> None:
    with pytest.raises(DatabaseUnavailable) as caught:
        open_database(url).connect()
    assert "127.0.0.1" not in str(caught.value)


def test_another_scheme_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(InputInvalid, match="postgresql"):
        open_database("mysql://host/name")
