"""The service anchors ledgers now and then, and a chain that contradicts one is an alert."""

import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("eth_utils", reason="the extra chain is not installed")

from einthoven.clock import SystemClock
from einthoven.runtime import ledgers
from einthoven.runtime.anchors import Anchoring, until_done
from einthoven.runtime.json_rpc import Chain
from einthoven.runtime.secret_files import keep_secret
from einthoven.server.anchor_keeper import AnchorKeeper
from einthoven.server.desk import Desk, Raised
from einthoven.server.settings import Settings
from einthoven.storage import Database
from einthoven.storage.anchors import anchors_of, chain_of
from einthoven.storage.database import Connection
from einthoven.testing.chain_nodes import ChainNode
from einthoven.trust.contract_calls import sender_of
from einthoven.trust.entries import ConsentChanged
from einthoven.trust.notes import SigningKey

ORIGIN = "clinic.example/kept"
S = 10**9


class Kept:
    """A service's database with a ledger that is anchored, and the job."""

    def __init__(self, connection: Connection, node: ChainNode, folder: Path) -> None:
        self.connection, self.node, self.folder = connection, node, folder
        self.key = SigningKey.made(ORIGIN)
        self.told: list[Raised] = []
        self.now_ns = SystemClock().utc_ns()
        self.consents = 0
        with connection.writing() as statements:
            ledgers.create(statements, "main", self.key, by="ann", now_ns=1)
        account, blind = (keep_secret(folder, kind, "main") for kind in ("chain", "consents"))
        node.fund(sender_of(account))
        self.by = Anchoring(Chain(node.url), "main", SystemClock(), account=account, consents=blind)
        until_done(lambda _: self.by.deploy(connection), SystemClock(), lambda _: None, wait_s=30.0)
        self.keeper = self.keeper_at(node.url)

    def keeper_at(self, url: str) -> AnchorKeeper:
        settings = Settings(data_folder=str(self.folder), chain_url=url, anchor_every_s=3600.0)
        return AnchorKeeper(settings, Desk({"1": bytes(32)}), self.told.append)

    def grow(self) -> int:
        self.consents += 1
        entry = ConsentChanged(
            at_ns=1, patient="p-1", change="given", consent="c", version=self.consents, digest="00", by="a"
        )
        with self.connection.writing() as statements:
            ledgers.append(statements, "main", [entry])
            ledgers.checkpoint(statements, "main", [self.key], 2)
            return ledgers.head(statements, "main").signed

    def after(self, seconds: float, looks: int = 4) -> list[int]:
        """Sizes that are anchored once time has passed and the job has looked a few times."""
        self.now_ns += round(seconds * S)
        for _ in range(looks):
            self.keeper.anchor(self.connection, self.now_ns)
            self.now_ns += S
        with self.connection.reading() as statements:
            return [one.size for one in anchors_of(statements, "main")]

    def alerts(self) -> list[tuple[str, str]]:
        return [(c.alert.condition, c.alert.state.value) for one in self.told for c in one.changes]


@pytest.fixture
def kept(database: Database, node: ChainNode, tmp_path: Path) -> Iterator[Kept]:
    with closing(database.connect()) as connection:
        yield Kept(connection, node, tmp_path)


def test_checkpoints_are_anchored_as_often_as_is_set_and_consents_with_them(kept: Kept) -> None:
    first = kept.grow()
    assert kept.after(0.0) == [first]
    second = kept.grow()
    assert kept.after(60.0) == [first], "not yet"
    assert kept.after(3600.0) == [first, second]
    with kept.connection.reading() as statements:
        assert chain_of(statements, "main").registered == second
    assert kept.told == [] or kept.alerts() == []


def test_a_chain_that_is_away_is_logged_and_tried_again(kept: Kept, caplog: pytest.LogCaptureFixture) -> None:
    size = kept.grow()
    here, kept.keeper = kept.keeper, kept.keeper_at("http://127.0.0.1:1")
    with caplog.at_level(logging.WARNING):
        assert kept.after(0.0) == []
    assert "a ledger was not anchored" in caplog.text
    kept.keeper = here
    assert kept.after(0.0) == [size]
    assert kept.alerts() == []


def test_a_chain_that_contradicts_a_ledger_is_alerted_of_until_they_agree(kept: Kept) -> None:
    kept.grow()
    size = kept.grow()
    assert kept.after(0.0) == [size]
    with kept.connection.writing() as statements:
        (note,) = statements.rows("SELECT note FROM ledger_checkpoints WHERE size = ?", (size,))[0]
        statements.run("DELETE FROM ledger_checkpoints WHERE size = ?", (size,))
    kept.after(3600.0)
    assert kept.alerts()[:1] == [("ledger_inconsistent", "active-unacknowledged")]
    with kept.connection.writing() as statements:
        statements.run("INSERT INTO ledger_checkpoints (org, size, note) VALUES ('main', ?, ?)", (size, note))
    kept.after(3600.0)
    assert kept.alerts()[-1][1].startswith("cleared")


def test_an_alert_goes_on_while_nothing_can_be_compared(kept: Kept) -> None:
    size = kept.grow()
    assert kept.after(0.0) == [size]
    with kept.connection.writing() as statements:
        statements.run("DELETE FROM ledger_checkpoints WHERE size = ?", (size,))
    kept.after(3600.0)
    assert kept.alerts() == [("ledger_inconsistent", "active-unacknowledged")]
    kept.node.asked("evm_setAutomine", False)
    try:
        assert kept.by.admit(kept.connection, "ward.example", sender_of(bytes([5] * 32))).is_waiting
        kept.after(3600.0)
        assert len(kept.alerts()) == 1, "another transaction is waited for"
    finally:
        kept.node.asked("evm_setAutomine", True)
        kept.node.asked("evm_mine")


def test_without_a_key_or_a_chain_nothing_is_done(kept: Kept, tmp_path: Path) -> None:
    kept.grow()
    kept.keeper = AnchorKeeper(Settings(data_folder=str(tmp_path)), Desk({"1": bytes(32)}), kept.told.append)
    assert kept.after(0.0) == []
    kept.folder = tmp_path / "elsewhere"
    kept.keeper = kept.keeper_at(kept.node.url)
    assert kept.after(0.0) == []
