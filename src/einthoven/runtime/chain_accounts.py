"""An account on a chain that sends one transaction at a time, and offers more for one that waits too long.

A transaction is kept before it is sent, so that a crash loses none and doubles none: whoever goes on sends
the same one again.
"""

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import msgspec

from einthoven.clock import Clock
from einthoven.errors import ChainUnavailable, FundsMissing, TransactionReverted, WrongChain
from einthoven.runtime.json_rpc import Chain, Receipt
from einthoven.storage import anchors as rows
from einthoven.storage.anchors import Deed, SentTransaction
from einthoven.storage.database import Connection, Statements
from einthoven.trust.contract_calls import repriced, sender_of, sign_transaction

__all__ = ["ChainAccount", "Done", "Landed", "check_chain"]

_PATIENCE_NS: Final = 90 * 10**9
"""A transaction that is in no block for so long is offered more for."""
_GAS_RESERVE: Final = (6, 5)
"""Between the estimate and the block somebody else's transaction may change what ours costs."""


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction that is on the chain, deep enough."""

    deed: Deed
    size: int
    """What it did ends at this entry."""
    transaction: str
    block: int
    gas: int
    fee_wei: int


class Landed(NamedTuple):
    """A transaction that is on the chain, deep enough, and what the chain says of it."""

    sent: SentTransaction
    transaction: str
    """Under this hash."""
    receipt: Receipt
    at_s: int
    """The block's own time, s since the epoch."""


class ChainAccount:
    """One organisation's account on a chain.

    Parameters
    ----------
    secret : key of the account
    confirmations : blocks, with its own, until a transaction is believed
    landed : keeps what a transaction did, in the database's transaction that ends it
    """

    def __init__(
        self,
        chain: Chain,
        org: str,
        clock: Clock,
        secret: bytes,
        *,
        confirmations: int,
        landed: Callable[[Statements, Landed], None],
    ) -> None:
        self._chain = chain
        self._org = org
        self._clock = clock
        self._secret = secret
        self._account = sender_of(secret)
        self._confirmations = confirmations
        self._landed = landed

    @property
    def address(self) -> str:
        """Of the account."""
        return self._account

    def send(self, connection: Connection, deed: Deed, to: str | None, data: bytes, size: int) -> None:
        """Keep a transaction and send it, unless another is on its way; raises as `Anchoring.step` does."""
        chain_id = self._chain.chain_id()
        times, by = _GAS_RESERVE
        gas = self._chain.estimate(self._account, to, data) * times // by
        fees = self._chain.fees()
        has, needs = self._chain.balance(self._account), gas * fees.most
        if has < needs:
            raise FundsMissing(
                f"the account {self._account} has {has} wei; the transaction may cost {needs}.",
                where=self._chain.place,
                remedy="Send it some of the chain's money.",
            )
        nonce = self._chain.nonce(self._account, "pending")
        signed = sign_transaction(
            self._secret, chain_id=chain_id, nonce=nonce, to=to, data=data, gas=gas, fees=fees
        )
        sent = SentTransaction(
            org=self._org,
            chain_id=chain_id,
            deed=deed,
            size=size,
            nonce=nonce,
            hashes=(signed.hash,),
            raw=signed.raw,
            sent_ns=self._clock.utc_ns(),
        )
        with connection.writing() as statements:
            is_ours = rows.add_sent(statements, sent)
        if is_ours:
            self._hand_over(connection, sent)

    def _hand_over(self, connection: Connection, sent: SentTransaction) -> None:
        """Send it, again too. Whatever the node says, it stays kept: another may have taken it."""
        is_late = self._clock.utc_ns() - sent.sent_ns > _PATIENCE_NS
        try:
            sending = self._chain.send(sent.raw)
        except ChainUnavailable:  # it may refuse for reasons that money changes
            if not is_late or not self._offer_more(connection, sent):
                raise
            return
        if sending == "underpriced" or (is_late and sending != "taken"):
            self._offer_more(connection, sent)

    def _offer_more(self, connection: Connection, sent: SentTransaction) -> bool:
        """Send it again for more, unless that would be too much."""
        signed = repriced(self._secret, sent.raw, self._chain.fees())
        if signed is None:
            return False
        more = msgspec.structs.replace(
            sent, hashes=(*sent.hashes, signed.hash), raw=signed.raw, sent_ns=self._clock.utc_ns()
        )
        with connection.writing() as statements:
            rows.replace_sent(statements, more)
        self._chain.send(more.raw)
        return True

    def settled(self, connection: Connection) -> tuple[tuple[Done, ...], bool]:
        """What became of the transaction that is on its way, and whether it still is."""
        with connection.reading() as statements:
            sent = rows.sent_of(statements, self._org)
        if sent is None:
            return (), False
        check_chain(self._chain, sent.chain_id)
        found = self._receipt(sent)
        if found is None and self._chain.nonce(self._account, self._deep_enough()) > sent.nonce:
            found = self._receipt(sent)
            if found is None:  # another transaction of this account took its number
                self._ended(connection, sent)
                return (), False
        if found is None:
            self._hand_over(connection, sent)
            return (), True
        hash_, receipt = found
        if self._chain.block().number - receipt.block + 1 < self._confirmations:
            return (), True
        if not receipt.has_succeeded:
            self._ended(connection, sent)
            raise TransactionReverted(
                "the contract refused a transaction that it had taken before.",
                where=self._chain.place,
                remedy="Run it again: it says why.",
            )
        return self._finished(connection, sent, hash_, receipt), False

    def _deep_enough(self) -> Literal["latest"] | int:
        """The newest block that is believed."""
        if self._confirmations <= 1:
            return "latest"
        return max(0, self._chain.block().number - self._confirmations + 1)

    def _receipt(self, sent: SentTransaction) -> tuple[str, Receipt] | None:
        for one in reversed(sent.hashes):
            receipt = self._chain.receipt(one)
            if receipt is not None:
                return one, receipt
        return None

    def _ended(self, connection: Connection, sent: SentTransaction) -> None:
        with connection.writing() as statements:
            rows.end_sent(statements, sent)

    def _finished(
        self, connection: Connection, sent: SentTransaction, hash_: str, receipt: Receipt
    ) -> tuple[Done, ...]:
        at_s = self._chain.block(receipt.block).at_s
        with connection.writing() as statements:
            if not rows.end_sent(statements, sent):
                return ()
            self._landed(statements, Landed(sent, hash_, receipt, at_s))
        return (
            Done(
                deed=sent.deed,
                size=sent.size,
                transaction=hash_,
                block=receipt.block,
                gas=receipt.gas,
                fee_wei=receipt.fee_wei,
            ),
        )


def check_chain(chain: Chain, chain_id: int) -> None:
    """Whether it is the chain with this number.

    Raises
    ------
    WrongChain : it is another.
    """
    if chain.chain_id() != chain_id:
        raise WrongChain(
            "this is another chain than the one that the ledger is anchored on.",
            where=chain.place,
            remedy="Give the address of a node of the right one.",
        )
