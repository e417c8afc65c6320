"""A ledger's checkpoints and changes of consent onto a chain, one transaction at a time.

No call waits for a chain longer than for one answer, and none keeps a transaction of the database open
meanwhile. `Anchoring.step` does what can be done now; who calls it again goes on, after a crash too: a
transaction is kept before it is sent, and what the contract has it has once.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from einthoven.clock import Clock
from einthoven.errors import (
    ChainUnavailable,
    Conflict,
    KeyRefused,
    LedgerTampered,
    NotFound,
    TransactionReverted,
    WrongChain,
)
from einthoven.runtime import ledgers
from einthoven.runtime.chain_accounts import ChainAccount, Done, Landed, check_chain
from einthoven.runtime.json_rpc import Chain
from einthoven.storage import anchors as rows
from einthoven.storage.anchors import KeptAnchor, KeptChain
from einthoven.storage.database import Connection, Statements
from einthoven.storage.ledgers import checkpoint_before, entries_between
from einthoven.trust.anchoring import Anchor, BlindedConsent, ChainView, blinded, compared, ledger_id
from einthoven.trust.checkpoints import checkpoint_of
from einthoven.trust.contract_calls import (
    MOST_CONSENTS,
    MOST_ROOTS,
    admit_call,
    anchor_call,
    consent_call,
    consent_from,
    contract_creation,
    contract_runtime,
    latest_call,
    read_view,
    register_call,
    roots_call,
    roots_from,
)
from einthoven.trust.entries import ConsentChanged, read_entry
from einthoven.trust.notes import read_note

__all__ = ["Anchoring", "Done", "Step", "anchored_roots", "chain_view", "is_contract", "until_done"]

_LOG: Final = logging.getLogger("einthoven.anchors")
_CONSENT: Final = b'{"kind":"consent-changed",'
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 2.0


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What could be done now."""

    done: tuple[Done, ...] = ()
    is_waiting: bool = False
    """A transaction is on its way; call again."""
    is_compared: bool = False
    """The ledger was held against what the chain says of it, and they agree."""
    skipped: tuple[int, ...] = ()
    """Versions of consents that the contract never takes: they do not follow from those before."""


class Anchoring:
    """One organisation's ledger and one chain.

    Parameters
    ----------
    account : secret key of the account that writes
    consents : secret that blinds consents
    contract : address that must be the one that is kept; empty to believe the database
    confirmations : blocks, with its own, until a transaction is believed
    """

    def __init__(
        self,
        chain: Chain,
        org: str,
        clock: Clock,
        *,
        account: bytes,
        consents: bytes,
        contract: str = "",
        confirmations: int = 1,
    ) -> None:
        self._chain = chain
        self._org = org
        self._consents = consents
        self._contract = contract
        self._account = ChainAccount(
            chain, org, clock, account, confirmations=confirmations, landed=self._landed
        )

    @property
    def account(self) -> str:
        """The address that writes."""
        return self._account.address

    def deploy(self, connection: Connection) -> Step:
        """Make a contract, and let this account write about this ledger in it.

        Raises
        ------
        ChainUnavailable, ChainRefused : as `step`
        """
        done, is_waiting = self._account.settled(connection)
        if is_waiting:
            return Step(done=done, is_waiting=True)
        kept = self._kept(connection)
        if kept is None:
            self._account.send(connection, "deploy", None, contract_creation(), 0)
            return Step(done=done, is_waiting=True)
        origin, _ = self._ledger(connection)
        if chain_view(self._chain, kept.contract, origin, kept.chain_id).site:
            return Step(done=done)
        self._account.send(
            connection, "admit", kept.contract, admit_call(ledger_id(origin), self._account.address), 0
        )
        return Step(done=done, is_waiting=True)

    def admit(self, connection: Connection, origin: str, site: str) -> Step:
        """Let another site's account write about its ledger in the contract that this account made."""
        done, is_waiting = self._account.settled(connection)
        kept = self._kept(connection)
        if kept is None:
            raise _no_contract()
        if is_waiting:
            return Step(done=done, is_waiting=True)
        known = chain_view(self._chain, kept.contract, origin, kept.chain_id).site
        if known == site:
            return Step(done=done)
        if known:
            raise Conflict("another account writes about this ledger.", where="ledger")
        self._account.send(connection, "admit", kept.contract, admit_call(ledger_id(origin), site), 0)
        return Step(done=done, is_waiting=True)

    def use(self, connection: Connection, contract: str) -> KeptChain:
        """Anchor in a contract that is there.

        Raises
        ------
        Conflict : a transaction is on its way.
        WrongChain : there is no such contract.
        """
        _, is_waiting = self._account.settled(connection)
        if is_waiting:
            raise Conflict("a transaction is on its way.", where="chain", remedy="Try again later.")
        chain_id = self._chain.chain_id()
        is_contract(self._chain, contract)
        before = self._kept(connection)
        if before is not None and (before.chain_id, before.contract) == (chain_id, contract):
            return before
        kept = KeptChain(org=self._org, chain_id=chain_id, contract=contract)
        with connection.writing() as statements:
            rows.keep_chain(statements, kept)
        return kept

    def step(self, connection: Connection, *, may_anchor: bool = True) -> Step:
        """Anchor what is not, as far as that can be done now.

        Parameters
        ----------
        may_anchor : or only finish what goes on, with the consents that the newest anchor covers

        Raises
        ------
        LedgerTampered : the chain says that the ledger was another.
        KeyRefused : another account writes about this ledger.
        NotFound : there is no ledger, or no contract yet.
        ChainUnavailable : the node does not answer; nothing is lost.
        ChainRefused : another chain, no such contract, no funds, or the contract refuses.
        """
        done, is_waiting = self._account.settled(connection)
        if is_waiting:
            return Step(done=done, is_waiting=True)
        kept = self._kept(connection)
        if kept is None:
            raise _no_contract()
        origin, signed = self._ledger(connection)
        view = chain_view(self._chain, kept.contract, origin, kept.chain_id)
        if view.site != self._account.address:
            raise KeyRefused(
                f"the account {self._account.address} may not write about this ledger in the contract.",
                where="chain key",
                remedy="Have it admitted by whoever made the contract." if not view.site else "Use its own.",
            )
        is_compared = view.latest is not None
        if view.latest is not None:
            self._compare(connection, view.latest, kept)
        self._forget_lost(connection, kept, origin)
        if may_anchor and (view.latest is None or view.latest.size < signed.size):
            data = anchor_call(ledger_id(origin), signed)
            self._account.send(connection, "anchor", kept.contract, data, signed.size)
            return Step(done=done, is_waiting=True, is_compared=is_compared)
        covered = view.latest.size if view.latest else 0
        upto, changes = self._changes(connection, kept.registered, covered, origin)
        if not changes:
            if upto > kept.registered:
                with connection.writing() as statements:
                    rows.registered(statements, self._org, upto)
            return Step(done=done, is_compared=is_compared)
        skipped = self._register(connection, kept, origin, changes, upto)
        return Step(done=done, is_waiting=True, skipped=skipped, is_compared=is_compared)

    # ---------------------------------------------------------------- what is here

    def _kept(self, connection: Connection) -> KeptChain | None:
        with connection.reading() as statements:
            kept = rows.chain_of(statements, self._org)
        if kept is not None and self._contract and kept.contract != self._contract:
            raise WrongChain(
                "the database names another contract than the settings.",
                where="contract",
                remedy="Find out who wrote it; einthoven ledger anchor use names the right one.",
            )
        return kept

    def _ledger(self, connection: Connection) -> tuple[str, Anchor]:
        with connection.reading() as statements:
            head = ledgers.head(statements, self._org)
            said = checkpoint_of(ledgers.note_of(statements, self._org, head.signed))
        return head.origin, Anchor(said.size, said.root)

    def _compare(self, connection: Connection, latest: Anchor, kept: KeptChain) -> None:
        with connection.reading() as statements:
            compared(latest, lambda size: _root_at(statements, self._org, size), self._chain.place)
            known = rows.anchors_of(statements, self._org)
        if not any(one.size == latest.size and _is_there(one, kept) for one in known):
            block = self._chain.block()
            seen = _anchor_row(kept, latest, block.number, block.at_s)
            with connection.writing() as statements:
                rows.add_anchor(statements, seen)

    def _forget_lost(self, connection: Connection, kept: KeptChain, origin: str) -> None:
        """What a chain lost because it went back further than was waited for will be anchored anew."""
        with connection.reading() as statements:
            known = [one for one in rows.anchors_of(statements, self._org) if _is_there(one, kept)]
        newest = known[-MOST_ROOTS:]
        found = anchored_roots(self._chain, kept.contract, origin, [one.size for one in newest])
        lost = [one.size for one in newest if one.size not in found]
        if lost:
            _LOG.warning("the chain lost anchors that it had; they are told again")
            with connection.writing() as statements:
                rows.forget_anchors(statements, kept, lost)

    def _changes(
        self, connection: Connection, start: int, stop: int, origin: str
    ) -> tuple[int, list[BlindedConsent]]:
        """Changes of consent for one transaction, and up to which entry they are all."""
        found: list[BlindedConsent] = []
        with connection.reading() as statements:
            for number, entry in _consents(statements, self._org, start, stop):
                if len(found) == MOST_CONSENTS:
                    return number, found
                found.append(blinded(entry, self._consents, origin))
        return stop, found

    # ---------------------------------------------------------------- transactions

    def _register(
        self, connection: Connection, kept: KeptChain, origin: str, changes: list[BlindedConsent], upto: int
    ) -> tuple[int, ...]:
        """Register what the contract takes; what it will never take is skipped, so that it stops nothing."""
        ledger = ledger_id(origin)
        try:
            self._account.send(connection, "register", kept.contract, register_call(ledger, changes), upto)
        except TransactionReverted:
            taken, skipped = self._taken(kept.contract, ledger, changes)
            if not taken:
                with connection.writing() as statements:
                    rows.registered(statements, self._org, upto)
            else:
                self._account.send(connection, "register", kept.contract, register_call(ledger, taken), upto)
            _LOG.warning("%d versions of consents do not follow from those before", len(skipped))
            return skipped
        return ()

    def _taken(
        self, contract: str, ledger: bytes, changes: Sequence[BlindedConsent]
    ) -> tuple[list[BlindedConsent], tuple[int, ...]]:
        taken: list[BlindedConsent] = []
        skipped = []
        for one in changes:
            try:
                self._chain.call(contract, register_call(ledger, [*taken, one]), self._account.address)
                taken.append(one)
            except TransactionReverted:
                if not self._is_passed(contract, ledger, one, taken):
                    raise
                skipped.append(one.version)
        return taken, tuple(skipped)

    def _is_passed(
        self, contract: str, ledger: bytes, change: BlindedConsent, taken: Sequence[BlindedConsent]
    ) -> bool:
        """Whether the contract has, or is just given, this version or a later one, and so never takes it."""
        if any(one.subject == change.subject and one.version >= change.version for one in taken):
            return True
        answer = self._chain.call(contract, consent_call(ledger, change.subject))
        newest = consent_from(answer, change.subject)
        return newest is not None and newest.version >= change.version

    def _landed(self, statements: Statements, one: Landed) -> None:
        """Keep what a transaction did."""
        sent, receipt = one.sent, one.receipt
        kept = rows.chain_of(statements, self._org)
        if sent.deed == "deploy":
            chain = KeptChain(org=self._org, chain_id=sent.chain_id, contract=receipt.contract)
            rows.keep_chain(statements, chain)
        elif sent.deed == "anchor" and kept is not None:
            root = _root_at(statements, self._org, sent.size)
            if root is not None:
                anchor = _anchor_row(kept, Anchor(sent.size, root), receipt.block, one.at_s)
                paid = {"transaction": one.transaction, "gas": receipt.gas, "fee_wei": receipt.fee_wei}
                rows.add_anchor(statements, msgspec.structs.replace(anchor, **paid))
        elif sent.deed == "register":
            rows.registered(statements, self._org, sent.size)


# -------------------------------------------------------------------- asking only


def is_contract(chain: Chain, contract: str) -> None:
    """Whether our contract, as it was compiled, is at that address.

    Raises
    ------
    WrongChain : it is not.
    """
    runtime = contract_runtime()
    if chain.code(contract)[: len(runtime)] != runtime:
        raise WrongChain(
            "there is no contract of anchors at this address.",
            where=chain.place,
            remedy="Check the chain and the address.",
        )


def chain_view(chain: Chain, contract: str, origin: str, chain_id: int | None = None) -> ChainView:
    """What a contract says of a ledger.

    Raises
    ------
    WrongChain : another chain than the one with this number, or no such contract.
    ChainUnavailable : the node does not answer.
    """
    if chain_id is not None:
        check_chain(chain, chain_id)
    is_contract(chain, contract)
    return read_view(chain.call(contract, latest_call(ledger_id(origin))))


def anchored_roots(chain: Chain, contract: str, origin: str, sizes: Sequence[int]) -> dict[int, bytes]:
    """The roots that are anchored, of these sizes; raises as `chain_view`."""
    found: dict[int, bytes] = {}
    for at in range(0, len(sizes), MOST_ROOTS):
        asked = sizes[at : at + MOST_ROOTS]
        roots = roots_from(chain.call(contract, roots_call(ledger_id(origin), asked)))
        found |= {size: root for size, root in zip(asked, roots, strict=True) if any(root)}
    return found


def until_done(
    step: Callable[[bool], Step], clock: Clock, pause: Callable[[float], None], *, wait_s: float
) -> Step:
    """Step until nothing is on its way.

    Parameters
    ----------
    step : is told whether it may anchor; once is enough, though the ledger grows meanwhile

    Raises
    ------
    ChainUnavailable : it took longer than ``wait_s``; nothing is lost.
    """
    end_s, pause_s = clock.now_s() + wait_s, _FIRST_PAUSE_S
    done: tuple[Done, ...] = ()
    skipped: tuple[int, ...] = ()
    while True:
        found = step(not any(one.deed == "anchor" for one in done))
        done, skipped = (*done, *found.done), (*skipped, *found.skipped)
        if not found.is_waiting:
            return Step(done=done, skipped=skipped, is_compared=found.is_compared)
        if clock.now_s() >= end_s:
            raise ChainUnavailable(
                f"a transaction is not deep enough in the chain after {wait_s:.0f} s.",
                where="chain",
                remedy="It is kept: run the command again and it goes on.",
            )
        pause_s = _FIRST_PAUSE_S if found.done else min(2 * pause_s, _LONGEST_PAUSE_S)
        pause(pause_s)


def _consents(
    statements: Statements, org: str, start: int, stop: int
) -> Iterator[tuple[int, ConsentChanged]]:
    for number, content in enumerate(entries_between(statements, org, start, stop), start):
        if content.startswith(_CONSENT):
            entry = read_entry(content, f"entry {number}")
            if isinstance(entry, ConsentChanged):
                yield number, entry


def _root_at(statements: Statements, org: str, size: int) -> bytes | None:
    """Root of the checkpoint of exactly this size."""
    kept = checkpoint_before(statements, org, size)
    if kept is None or kept[0] != size:
        return None
    said = checkpoint_of(read_note(kept[1], "kept checkpoint"))
    if said.size != size:
        raise LedgerTampered("a checkpoint is kept as one of another size.", where=f"checkpoint {size}")
    return said.root


def _is_there(one: KeptAnchor, kept: KeptChain) -> bool:
    return (one.chain_id, one.contract) == (kept.chain_id, kept.contract)


def _anchor_row(kept: KeptChain, anchor: Anchor, block: int, at_s: int) -> KeptAnchor:
    return KeptAnchor(
        org=kept.org,
        chain_id=kept.chain_id,
        contract=kept.contract,
        size=anchor.size,
        root=anchor.root,
        transaction="",
        block=block,
        at_s=at_s,
        gas=0,
        fee_wei=0,
    )


def _no_contract() -> NotFound:
    return NotFound(
        "the ledger is anchored nowhere yet.", where="contract", remedy="einthoven ledger anchor deploy"
    )
