"""A ledger on a real chain: what is anchored is there once, and what contradicts it is found."""

import http.server
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.resources import files
from pathlib import Path

import pytest

pytest.importorskip("eth_utils", reason="the extra chain is not installed")

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from einthoven.clock import SystemClock, VirtualClock
from einthoven.errors import (
    ChainUnavailable,
    Conflict,
    FundsMissing,
    InputInvalid,
    KeyRefused,
    LedgerTampered,
    NotFound,
    TransactionReverted,
    WrongChain,
)
from einthoven.runtime import ledgers
from einthoven.runtime.anchors import Anchoring, Step, anchored_roots, chain_view, until_done
from einthoven.runtime.json_rpc import Chain, Sending
from einthoven.storage import Database, open_database
from einthoven.storage.anchors import (
    KeptAnchor,
    KeptChain,
    SentTransaction,
    add_anchor,
    anchors_of,
    chain_of,
    forget_anchors,
    sent_of,
)
from einthoven.storage.database import Connection
from einthoven.testing.chain_nodes import ChainNode
from einthoven.trust.anchoring import Anchor, blinded, consent_salt, ledger_id, with_salt
from einthoven.trust.contract_calls import (
    MOST_CONSENTS,
    admit_call,
    anchor_call,
    consent_call,
    consent_from,
    register_call,
    sender_of,
)
from einthoven.trust.entries import AlertStepped, ConsentChanged
from einthoven.trust.notes import SigningKey

ROOT = Path(__file__).parents[2]
ORIGIN = "clinic.example/ledger"
ACCOUNT, OTHER, BLIND = bytes([7] * 32), bytes([8] * 32), bytes([9] * 32)
GAS = {"deploy": 1_050_000, "admit": 60_000, "anchor": 90_000, "register": 60_000 * MOST_CONSENTS + 60_000}
"""The most that docs/anchoring.md promises."""


class Site:
    """A ledger in a database, and an account."""

    def __init__(self, database: Database, node: ChainNode, **more) -> None:
        self.database, self.node = database, node
        self.key = SigningKey.made(ORIGIN)
        self.connection = database.connect()
        with self.connection.writing() as statements:
            ledgers.create(statements, "main", self.key, by="ann", now_ns=1)
        self.anchoring = self.as_account(**more)

    def as_account(self, account: bytes = ACCOUNT, clock=None, url: str = "", **more) -> Anchoring:
        return Anchoring(
            Chain(url or self.node.url),
            "main",
            clock or SystemClock(),
            account=account,
            consents=BLIND,
            **more,
        )

    def done(self, step, wait_s: float = 30.0) -> Step:
        return until_done(step, SystemClock(), time.sleep, wait_s=wait_s)

    def deploy(self) -> Step:
        return self.done(lambda _: self.anchoring.deploy(self.connection))

    def now(self, anchoring: Anchoring | None = None, wait_s: float = 30.0) -> Step:
        by = anchoring or self.anchoring
        return self.done(lambda may: by.step(self.connection, may_anchor=may), wait_s)

    def grow(self, *entries) -> int:
        steps = [
            AlertStepped(at_ns=1, patient="p-1", alert="a", condition="c", event="began", state="active")
        ]
        with self.connection.writing() as statements:
            ledgers.append(statements, "main", entries or steps)
            ledgers.checkpoint(statements, "main", [self.key], 2)
            return ledgers.head(statements, "main").signed

    def kept(self) -> list[KeptAnchor]:
        with self.connection.reading() as statements:
            return anchors_of(statements, "main")

    @property
    def contract(self) -> str:
        with self.connection.reading() as statements:
            return chain_of(statements, "main").contract

    def events(self) -> list[dict]:
        return self.node.asked(
            "eth_getLogs", {"address": self.contract, "fromBlock": "0x0", "toBlock": "latest"}
        )


@pytest.fixture
def site(database: Database, node: ChainNode) -> Iterator[Site]:
    node.fund(sender_of(ACCOUNT))
    found = Site(database, node)
    yield found
    found.connection.close()


@pytest.fixture
def small(tmp_path: Path, node: ChainNode) -> Iterator[Site]:
    """The same in SQLite only."""
    node.fund(sender_of(ACCOUNT))
    yield from _small(tmp_path, node)


def _small(tmp_path: Path, node: ChainNode) -> Iterator[Site]:
    database = open_database(str(tmp_path / "anchors.db"))
    database.migrate()
    found = Site(database, node)
    yield found
    found.connection.close()


@contextmanager
def another(tmp_path: Path, anvil: Path, *words: str) -> Iterator[Site]:
    """A site with a chain of its own."""
    folder = tmp_path / "chain"
    folder.mkdir()
    node = ChainNode(anvil, folder, words)
    try:
        node.fund(sender_of(ACCOUNT))
        yield from _small(tmp_path, node)
    finally:
        node.kill()


def consent(number: int, version: int = 1, change: str = "given", digest: str = "00ff") -> ConsentChanged:
    return ConsentChanged(
        at_ns=1, patient=f"p-{number}", change=change, consent="c-1", version=version, digest=digest, by="ann"
    )


def test_the_package_keeps_the_contract_as_it_is_compiled_from_its_source() -> None:
    pytest.importorskip("vyper", reason="the compiler vyper is not installed")
    # In a process of its own: the compiler is not of the product.
    command = [sys.executable, str(ROOT / "contracts" / "compiled.py"), "-"]
    compiled = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    kept = (files("einthoven.trust") / "ledger-anchors.json").read_text()
    assert kept == compiled, "run python contracts/compiled.py"


def test_a_checkpoint_is_anchored_once_and_costs_what_is_promised(site: Site) -> None:
    deployed = site.deploy()
    assert [one.deed for one in deployed.done] == ["deploy", "admit"]
    assert site.deploy().done == (), "it is there"
    first, size = site.now(), site.grow()
    second = site.now()
    assert [one.deed for one in (*first.done, *second.done)] == ["anchor", "anchor"]
    assert site.now().done == (), "it is anchored"
    assert [one.size for one in site.kept()] == [1, size]
    assert all(one.gas <= GAS[one.deed] for one in (*deployed.done, *first.done, *second.done))
    assert site.kept()[-1].fee_wei > site.kept()[-1].gas, "what was paid is known"
    view = chain_view(Chain(site.node.url), site.contract, ORIGIN)
    assert view.site == site.anchoring.account
    assert view.latest == Anchor(size, site.kept()[-1].root)
    with site.connection.reading() as statements:
        report = ledgers.verify_kept(statements, "main", anchors=[view.latest])
    assert report.roots == {1: site.kept()[0].root, size: view.latest.root}


def test_consents_are_registered_in_batches_and_found_by_their_salt_alone(site: Site) -> None:
    site.deploy()
    size = site.grow(*(consent(number) for number in range(MOST_CONSENTS + 6)))
    step = site.now()
    assert [one.deed for one in step.done] == ["anchor", "register", "register"]
    assert all(one.gas <= GAS[one.deed] for one in step.done)
    site.grow(consent(3, 2, "revoked", "aa"))
    assert [one.deed for one in site.now().done] == ["anchor", "register"]
    salt = consent_salt(BLIND, ORIGIN, "p-3", "c-1")
    expected = with_salt(salt, 2, "aa", is_revoked=True)
    chain = Chain(site.node.url)
    asked = consent_call(ledger_id(ORIGIN), expected.subject)
    assert consent_from(chain.call(site.contract, asked), expected.subject) == expected
    for number in (2, MOST_CONSENTS + 5):
        one = blinded(consent(number), BLIND, ORIGIN)
        asked = consent_call(ledger_id(ORIGIN), one.subject)
        assert consent_from(chain.call(site.contract, asked), one.subject) == one
    nobody = consent_call(ledger_id(ORIGIN), bytes(32))
    assert consent_from(chain.call(site.contract, nobody), bytes(32)) is None
    with site.connection.reading() as statements:
        assert chain_of(statements, "main").registered > size


def test_a_version_of_a_consent_that_does_not_follow_stops_nothing(small: Site) -> None:
    small.deploy()
    small.grow(consent(1, 2), consent(1, 1), consent(2, 1))
    step = small.now()
    assert step.skipped == (1,)
    small.grow(consent(1, 1, digest="bb"))
    assert small.now().skipped == (1,)
    one = blinded(consent(2), BLIND, ORIGIN)
    answer = Chain(small.node.url).call(small.contract, consent_call(ledger_id(ORIGIN), one.subject))
    assert consent_from(answer, one.subject) == one


def test_consents_that_another_account_kept_out_are_registered_later(small: Site) -> None:
    class Overtaken(Chain):
        """Somebody else is given the ledger just before consents are registered."""

        def estimate(self, sender: str, contract: str | None, data: bytes) -> int:
            hand_over(small, stranger)
            return super().estimate(sender, contract, data)

    stranger = sender_of(OTHER)
    small.deploy()
    small.now()
    small.grow(consent(1), consent(2))
    assert small.anchoring.step(small.connection).is_waiting
    overtaken = Anchoring(Overtaken(small.node.url), "main", SystemClock(), account=ACCOUNT, consents=BLIND)
    with pytest.raises(TransactionReverted, match="another account"):
        overtaken.step(small.connection)
    with small.connection.reading() as statements:
        assert chain_of(statements, "main").registered <= 1
    hand_over(small, small.anchoring.account, by=stranger)
    assert [one.deed for one in small.now().done] == ["register"]


def hand_over(site: Site, to: str, by: str = "") -> None:
    """Let another account write about the ledger."""
    words = encode(["bytes32", "address"], [ledger_id(ORIGIN), to])
    data = "0x" + (keccak(text="hand_over(bytes32,address)")[:4] + words).hex()
    sender = by or site.anchoring.account
    site.node.fund(sender)
    site.node.asked("anvil_impersonateAccount", sender)
    site.node.asked("eth_sendTransaction", {"from": sender, "to": site.contract, "data": data})
    site.node.asked("anvil_stopImpersonatingAccount", sender)


def test_what_one_chain_lost_is_kept_of_another(database: Database) -> None:
    with closing(database.connect()) as connection, connection.writing() as statements:
        places = [("0xa", 1), ("0xa", 2), ("0xb", 1)]
        for contract, chain_id in places:
            one = KeptAnchor(
                org="main",
                chain_id=chain_id,
                contract=contract,
                size=5,
                root=bytes(32),
                transaction="",
                block=1,
                at_s=1,
                gas=0,
                fee_wei=0,
            )
            assert add_anchor(statements, one)
        forget_anchors(statements, KeptChain(org="main", chain_id=1, contract="0xa"), [5])
        left = [(one.contract, one.chain_id) for one in anchors_of(statements, "main")]
    assert sorted(left) == [("0xa", 2), ("0xb", 1)]


def test_nothing_of_a_patient_is_in_what_is_sent(small: Site) -> None:
    small.deploy()
    small.grow(consent(4711, digest="c0ffee"))
    small.now()
    sent = [small.node.asked("eth_getTransactionByHash", one["transactionHash"]) for one in small.events()]
    content = "".join(one["input"] for one in sent)
    for secret in (b"p-4711", b"c-1", b"ann", b"c0ffee", bytes.fromhex("c0ffee"), ORIGIN.encode()):
        assert secret.hex() not in content.replace(small.contract.lower().removeprefix("0x"), "")


def refused(site: Site, data: bytes, by: str | None = None) -> str:
    with pytest.raises(TransactionReverted) as caught:
        Chain(site.node.url).estimate(by or site.anchoring.account, site.contract, data)
    return caught.value.what


def test_the_contract_refuses_rewrites_and_other_accounts(small: Site) -> None:
    small.deploy()
    small.grow()
    small.now()
    ledger, (kept,) = ledger_id(ORIGIN), small.kept()
    stranger = sender_of(OTHER)
    small.node.fund(stranger)
    size, root = kept.size, bytes([1] * 32)
    assert "another root was anchored" in refused(small, anchor_call(ledger, Anchor(size, root)))
    assert "a larger size was anchored" in refused(small, anchor_call(ledger, Anchor(size - 1, root)))
    assert "no root" in refused(small, anchor_call(ledger, Anchor(size + 1, bytes(32))))
    grown = anchor_call(ledger, Anchor(size + 1, root))
    assert "another account" in refused(small, grown, stranger)
    assert "another account" in refused(small, register_call(ledger, []), stranger)
    assert "no site was admitted" in refused(small, anchor_call(ledger_id("b.example"), Anchor(1, root)))
    assert "has a site" in refused(small, admit_call(ledger, stranger))
    assert "only who deployed" in refused(small, admit_call(ledger_id("b.example"), stranger), stranger)
    again = anchor_call(ledger, Anchor(size, kept.root))
    assert Chain(small.node.url).estimate(small.anchoring.account, small.contract, again) < 40_000


def test_another_account_does_not_anchor_until_it_is_admitted(small: Site, tmp_path: Path) -> None:
    small.deploy()
    stranger = small.as_account(OTHER)
    small.node.fund(stranger.account)
    with pytest.raises(KeyRefused, match="may not write"):
        small.now(stranger)
    with pytest.raises(Conflict, match="another account"):
        small.anchoring.admit(small.connection, ORIGIN, stranger.account)
    admitted = small.done(lambda _: small.anchoring.admit(small.connection, "ward.example", stranger.account))
    assert [one.deed for one in admitted.done] == ["admit"]
    database = open_database(str(tmp_path / "ward.db"))
    database.migrate()
    with closing(database.connect()) as connection:
        with connection.writing() as statements:
            ledgers.create(statements, "main", SigningKey.made("ward.example"), by="bea", now_ns=1)
        with pytest.raises(NotFound, match="anchored nowhere"):
            stranger.step(connection)
        with pytest.raises(WrongChain, match="no contract"):
            stranger.use(connection, stranger.account)
        assert stranger.use(connection, small.contract).contract == small.contract
        done = small.done(lambda may: stranger.step(connection, may_anchor=may))
        assert [one.deed for one in done.done] == ["anchor"]


def rewritten(connection: Connection, key: SigningKey, entries: int) -> None:
    """Another history, made by whoever has the key and the database."""
    with connection.writing() as statements:
        for table in ("batches", "checkpoints", "keys", "cosignatures", "tiles"):
            statements.run(f"DELETE FROM ledger_{table}")  # noqa: S608
        statements.run("DELETE FROM ledgers")
        ledgers.create(statements, "main", key, by="thief", now_ns=5)
        for number in range(entries - 1):
            ledgers.append(statements, "main", [consent(number)])
        ledgers.checkpoint(statements, "main", [key], 6)


@pytest.mark.parametrize("entries", [1, 2, 3, 5])
def test_a_history_other_than_the_anchored_one_is_found_though_its_key_signed_it(
    small: Site, entries: int
) -> None:
    small.deploy()
    small.grow()
    size = small.grow()
    small.now()
    rewritten(small.connection, small.key, entries)
    with pytest.raises(LedgerTampered, match=f"of {size} entries that the chain says"):
        small.now()
    with small.connection.reading() as statements, pytest.raises(LedgerTampered, match=f"{size} entries"):
        ledgers.verify_kept(statements, "main")
    with small.connection.writing() as statements:
        statements.run("DELETE FROM ledger_anchors")
    view = chain_view(Chain(small.node.url), small.contract, ORIGIN)
    with small.connection.reading() as statements, pytest.raises(LedgerTampered, match=f"{size} entries"):
        ledgers.verify_kept(statements, "main", anchors=[view.latest])


def test_a_node_that_is_killed_in_between_loses_nothing_and_doubles_nothing(
    tmp_path: Path, anvil: Path
) -> None:
    with another(tmp_path, anvil) as site:
        site.deploy()
        site.node.save()
        site.node.kill()
        site.node.start(["--no-mining"])
        size = site.grow()
        with pytest.raises(ChainUnavailable, match="not deep enough"):
            site.now(wait_s=0.0)
        with site.connection.reading() as statements:
            sent = sent_of(statements, "main")
        assert site.kept() == []
        site.node.kill()
        with pytest.raises(ChainUnavailable, match="does not answer"):
            site.now()
        site.node.start()
        assert Chain(site.node.url).receipt(sent.hashes[0]) is None, "the node forgot it"
        step = site.now(site.as_account())
        assert [(one.deed, one.transaction) for one in step.done] == [("anchor", sent.hashes[0])]
        assert [one.size for one in site.kept()] == [size]
        assert len(site.events()) == 2, "admitted and anchored, once each"


def test_a_transaction_that_waits_too_long_is_offered_more_for(tmp_path: Path, anvil: Path) -> None:
    with another(tmp_path, anvil) as site:
        site.deploy()
        site.node.asked("evm_setAutomine", False)
        clock = VirtualClock(utc_ns=10**18)
        slow = site.as_account(clock=clock)
        assert slow.step(site.connection).is_waiting
        clock.advance(100.0)
        assert slow.step(site.connection).is_waiting
        with site.connection.reading() as statements:
            hashes = sent_of(statements, "main").hashes
        assert len(set(hashes)) == 2
        site.node.asked("evm_setAutomine", True)
        site.node.asked("evm_mine")
        (done,) = site.now(slow).done
        assert done.transaction == hashes[-1]
        assert len(site.events()) == 2


def sent_by(site: Site) -> SentTransaction:
    with site.connection.reading() as statements:
        found = sent_of(statements, "main")
    assert found is not None
    return found


def offered(site: Site, transaction: str) -> int:
    """wei for one unit of gas."""
    return int(site.node.asked("eth_getTransactionByHash", transaction)["maxFeePerGas"], 16)


def test_what_is_offered_stays_within_a_multiple_of_what_the_chain_asks(tmp_path: Path, anvil: Path) -> None:
    with another(tmp_path, anvil) as site:
        site.deploy()
        site.node.asked("evm_setAutomine", False)
        clock = VirtualClock(utc_ns=10**18)
        slow = site.as_account(clock=clock)
        for _ in range(40):
            assert slow.step(site.connection).is_waiting
            clock.advance(100.0)
        last = sent_by(site).hashes[-1]
        asked = Chain(site.node.url).fees().most
        assert 5 * asked < offered(site, last) <= 10 * asked
        site.node.asked("evm_setAutomine", True)
        site.node.asked("evm_mine")
        (done,) = site.now(slow).done
        assert done.transaction == last


def test_what_cannot_be_offered_more_for_is_still_known_when_a_block_takes_it(
    tmp_path: Path, anvil: Path
) -> None:
    with another(tmp_path, anvil) as site:
        site.deploy()
        site.node.asked("evm_setAutomine", False)
        clock = VirtualClock(utc_ns=10**18)
        slow = site.as_account(clock=clock)
        assert slow.step(site.connection).is_waiting
        (first,) = sent_by(site).hashes
        gas = int(site.node.asked("eth_getTransactionByHash", first)["gas"], 16)
        site.node.asked("anvil_setBalance", slow.account, hex(gas * offered(site, first)))
        clock.advance(100.0)
        for _ in range(2):
            with pytest.raises(FundsMissing):
                slow.step(site.connection)
        site.node.asked("evm_mine")
        (done,) = slow.step(site.connection).done
        assert (done.deed, done.transaction) == ("anchor", first)


def test_a_node_that_refuses_for_reasons_of_its_own_is_offered_more_in_the_end(
    tmp_path: Path, anvil: Path
) -> None:
    class Picky(Chain):
        """A node that does not like one transaction."""

        def send(self, raw: bytes) -> Sending:
            if raw == refused:
                raise ChainUnavailable("the chain's node refuses: not today.", where=self.place)
            return super().send(raw)

    with another(tmp_path, anvil) as site:
        site.deploy()
        site.node.asked("evm_setAutomine", False)
        clock = VirtualClock(utc_ns=10**18)
        chain = Picky(site.node.url)
        slow = Anchoring(chain, "main", clock, account=ACCOUNT, consents=BLIND)
        refused = b""
        assert slow.step(site.connection).is_waiting
        refused = sent_by(site).raw
        site.node.asked("anvil_dropTransaction", sent_by(site).hashes[0])
        with pytest.raises(ChainUnavailable, match="not today"):
            slow.step(site.connection)
        clock.advance(100.0)
        assert slow.step(site.connection).is_waiting
        site.node.asked("evm_mine")
        assert [one.deed for one in slow.step(site.connection).done] == ["anchor"]


def test_a_base_fee_that_rises_above_what_was_offered_delays_it_only(tmp_path: Path, anvil: Path) -> None:
    with another(tmp_path, anvil) as site:
        site.deploy()
        site.node.asked("evm_setAutomine", False)
        assert site.anchoring.step(site.connection).is_waiting
        (first,) = sent_by(site).hashes
        high = 3 * offered(site, first)
        site.node.asked("anvil_dropTransaction", first)
        site.node.asked("anvil_setNextBlockBaseFeePerGas", hex(high))
        site.node.asked("evm_mine")
        site.node.asked("anvil_setNextBlockBaseFeePerGas", hex(high))
        assert site.anchoring.step(site.connection).is_waiting
        assert len(sent_by(site).hashes) == 2
        site.node.asked("evm_mine")
        assert [one.deed for one in site.now().done] == ["anchor"]


def test_a_number_that_another_transaction_took_is_given_up_when_that_is_deep_enough(
    tmp_path: Path, anvil: Path
) -> None:
    with another(tmp_path, anvil) as site:
        site.deploy()
        site.node.asked("evm_setAutomine", False)
        deep = site.as_account(confirmations=3)
        assert deep.step(site.connection).is_waiting
        (first,) = sent_by(site).hashes
        site.node.asked("anvil_dropTransaction", first)
        site.node.asked("anvil_impersonateAccount", deep.account)
        site.node.asked("eth_sendTransaction", {"from": deep.account, "to": deep.account, "value": "0x1"})
        site.node.asked("evm_mine")
        assert deep.step(site.connection).is_waiting
        assert sent_by(site).hashes == (first,)
        site.node.asked("anvil_mine", "0x2")
        assert deep.step(site.connection).is_waiting
        assert sent_by(site).hashes != (first,)


def test_another_transaction_of_the_account_that_takes_the_number_delays_it_only(
    tmp_path: Path, anvil: Path
) -> None:
    with another(tmp_path, anvil) as site:
        site.deploy()
        site.node.asked("evm_setAutomine", False)
        assert site.anchoring.step(site.connection).is_waiting
        with site.connection.reading() as statements:
            sent = sent_of(statements, "main")
        site.node.asked("anvil_dropTransaction", sent.hashes[0])
        site.node.asked("anvil_setNonce", site.anchoring.account, hex(sent.nonce + 1))
        site.node.asked("evm_setAutomine", True)
        assert [one.deed for one in site.now().done] == ["anchor"]
        assert [one.size for one in site.kept()] == [1]


def test_it_is_believed_when_it_is_deep_enough_and_what_a_chain_loses_is_told_again(
    tmp_path: Path, anvil: Path
) -> None:
    with another(tmp_path, anvil) as site:
        site.deploy()
        before = site.node.asked("evm_snapshot")
        deep = site.as_account(confirmations=3)
        assert deep.step(site.connection).is_waiting
        assert deep.step(site.connection).is_waiting
        site.node.asked("anvil_mine", "0x2")
        (done,) = deep.step(site.connection).done
        assert done.deed == "anchor"
        assert site.node.asked("evm_revert", before)
        assert anchored_roots(Chain(site.node.url), site.contract, ORIGIN, [1]) == {}
        assert [one.deed for one in site.now().done] == ["anchor"]
        assert [one.size for one in site.kept()] == [1]


def test_chains_without_a_base_fee_are_paid_by_price(tmp_path: Path, anvil: Path) -> None:
    with another(tmp_path, anvil, "--hardfork", "berlin") as site:
        assert Chain(site.node.url).fees().tip is None
        site.deploy()
        site.node.asked("evm_setAutomine", False)
        clock = VirtualClock(utc_ns=10**18)
        slow = site.as_account(clock=clock)
        assert slow.step(site.connection).is_waiting
        clock.advance(100.0)
        assert slow.step(site.connection).is_waiting
        site.node.asked("evm_setAutomine", True)
        site.node.asked("evm_mine")
        assert [one.deed for one in site.now().done] == ["anchor"]


def test_what_stands_against_it_is_told_apart(small: Site, tmp_path: Path, anvil: Path) -> None:
    poor = small.as_account(bytes([11] * 32))
    with pytest.raises(FundsMissing, match="has 0 wei"):
        poor.deploy(small.connection)
    with pytest.raises(NotFound, match="anchored nowhere"):
        small.now()
    small.deploy()
    with pytest.raises(WrongChain, match="another contract"):
        small.as_account(contract=small.anchoring.account).step(small.connection)
    (tmp_path / "b").mkdir()
    elsewhere = ChainNode(anvil, words=["--chain-id", "7"])
    try:
        with pytest.raises(WrongChain, match="another chain"):
            small.as_account(url=elsewhere.url).step(small.connection)
    finally:
        elsewhere.kill()
    with pytest.raises(ChainUnavailable, match="does not answer"):
        small.as_account(url=elsewhere.url).step(small.connection)
    with pytest.raises(KeyRefused, match="no key of an account"):
        small.as_account(bytes(32))


def test_to_import_what_signs_leaves_the_depth_of_calls_as_it_was() -> None:
    script = (
        "import sys; before = sys.getrecursionlimit(); import einthoven.trust.contract_calls; "
        "assert sys.getrecursionlimit() == before"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://x",
        "http://",
        "127.0.0.1:8545",
        "http://x:port",
        "http://[::1",
        "http://knoten/schlüssel",
        "http://a..b",
    ],
)
def test_what_is_no_address_is_said_to_be_none(url: str) -> None:
    with pytest.raises(InputInvalid, match="no address"):
        Chain(url)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b"{}",
        b'{"result": 7}',
        b'{"result": "0xzz"}',
        b'{"result": null}',
        b'{"error": 3}',
        b'{"error": {"code": "x"}}',
        b'{"error": {"code": -32000, "message": "busy"}}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_whatever_a_node_answers_is_a_typed_error_without_the_secret_of_the_address(answer: bytes) -> None:
    class Liar(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Liar) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        chain = Chain(f"http://ann:secret@127.0.0.1:{server.server_port}/v3/token")
        for ask in (chain.chain_id, chain.block, lambda: chain.receipt("0x00"), lambda: chain.code("0x00")):
            try:
                ask()
            except ChainUnavailable as error:
                assert "secret" not in str(error)
                assert "token" not in str(error)
        with pytest.raises(ChainUnavailable):
            chain_view(chain, "0x" + 40 * "0", ORIGIN, 1)
        server.shutdown()
