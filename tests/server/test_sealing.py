"""From the journal into the master dataset, exactly once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from einthoven.errors import DatabaseUnavailable
from einthoven.server.engine import Engine
from einthoven.server.sealing import Sealer
from einthoven.server.wire import Arrival
from einthoven.storage import Connection, Database, FolderStore, MasterDataset
from einthoven.testing.builders import some_segments

NS = 10**9
NOW_NS = 5000 * NS
DAY_S = 86_400.0


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    found = database.connect()
    yield found
    found.close()


@pytest.fixture
def dataset(tmp_path: Path) -> MasterDataset:
    return MasterDataset(FolderStore(tmp_path / "objects"))


def received(connection: Connection, mode: str = "answer") -> list[Arrival]:
    these = [
        Arrival("main", one, False, one.start_ns + 11 * NS, mode)  # type: ignore[arg-type]
        for device in ("a", "b")
        for one in some_segments(device, 4)
    ]
    Engine(connection).process(these)
    return these


def count(connection: Connection, table: str) -> int:
    with connection.reading() as statements:
        return int(statements.rows(f"SELECT COUNT(*) FROM {table}")[0][0])  # noqa: S608 - ours


def assert_kept(connection: Connection, dataset: MasterDataset, these: list[Arrival]) -> None:
    """Every segment lies where its row says, as it was sent; nothing lies there twice."""
    verified = dataset.verify()
    assert (verified.segments, verified.problems) == (len(these), ())
    with connection.reading() as statements:
        rows = statements.rows(
            "SELECT t.device, s.sequence, o.name, s.place FROM segments s "
            "JOIN streams t ON t.id = s.stream JOIN objects o ON o.id = s.object"
        )
    places = {(device, sequence): (name, place) for device, sequence, name, place in rows}
    for one in these:
        name, place = places[one.segment.device, one.segment.sequence]
        (entry,) = [entry for entry in dataset.entries(name) if entry.offset == place]
        assert (entry.device, entry.sequence) == (one.segment.device, one.segment.sequence)
        span = dataset.span(
            "main",
            one.segment.patient,
            one.segment.start_ns,
            one.segment.start_ns + 10 * NS,
            device=one.segment.device,
        )
        np.testing.assert_array_equal(span.read(0, span.info.samples), one.segment.recording.counts)


def test_what_waited_long_enough_is_sealed_and_leaves_the_journal(
    connection: Connection, dataset: MasterDataset
) -> None:
    these = received(connection)
    sealer = Sealer(dataset, after_s=300.0, bytes_=2**20)
    assert sealer.seal(connection, these[0].received_ns + 299 * NS) == 0
    assert sealer.seal(connection, NOW_NS) == 8
    assert sealer.seal(connection, NOW_NS) == 0
    assert count(connection, "journal") == 0
    assert_kept(connection, dataset, these)


def test_what_is_large_enough_is_sealed_at_once(connection: Connection, dataset: MasterDataset) -> None:
    these = received(connection)
    sealer = Sealer(dataset, after_s=DAY_S, bytes_=3 * 2500)
    assert sealer.seal(connection, these[-1].received_ns) == 3
    while sealer.seal(connection, these[-1].received_ns):
        pass
    assert count(connection, "journal") == 2
    assert count(connection, "objects") == 2


def test_what_waits_to_be_analysed_stays(connection: Connection, dataset: MasterDataset) -> None:
    these = received(connection, "accept")
    sealer = Sealer(dataset, after_s=1.0, bytes_=2**20)
    assert sealer.seal(connection, NOW_NS) == 0
    Engine(connection).work_off(8)
    assert sealer.seal(connection, NOW_NS) == 8
    assert_kept(connection, dataset, these)


class Breaking:
    """A connection that breaks at the end of its next transaction."""

    def __init__(self, inner: Connection) -> None:
        self.inner = inner
        self.reading = inner.reading

    def writing(self) -> Any:
        inner = self.inner.writing()

        class Half:
            def __enter__(self) -> Any:
                return inner.__enter__()

            def __exit__(self, *_: object) -> None:
                error = DatabaseUnavailable("the connection broke.")
                inner.__exit__(type(error), error, None)
                raise error

        return Half()


def test_a_crash_between_object_and_database_costs_nothing(
    connection: Connection, dataset: MasterDataset
) -> None:
    these = received(connection)
    sealer = Sealer(dataset, after_s=1.0, bytes_=2**20)
    with pytest.raises(DatabaseUnavailable):
        sealer.seal(Breaking(connection), NOW_NS)  # type: ignore[arg-type]
    assert count(connection, "journal") == 8
    assert sealer.seal(connection, NOW_NS + NS) == 8
    assert count(connection, "journal") == 0
    assert count(connection, "objects") == 1
    assert_kept(connection, dataset, these)
