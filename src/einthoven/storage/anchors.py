"""The rows of anchors: what an outside chain says of a ledger, and the one transaction that is on its way.

A transaction is kept before it is sent, so that whoever goes on after a crash sends the same one again, which
a chain takes once, and never a second one beside it.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from einthoven.storage.database import LOCK, Statements

__all__ = [
    "Deed",
    "KeptAnchor",
    "KeptChain",
    "SentTransaction",
    "add_anchor",
    "add_sent",
    "anchors_of",
    "chain_of",
    "chains",
    "end_sent",
    "forget_anchors",
    "keep_chain",
    "registered",
    "replace_sent",
    "sent_of",
]

Deed = Literal["deploy", "admit", "anchor", "register"]


class KeptChain(msgspec.Struct, frozen=True, kw_only=True):
    """Where an organisation's ledger is anchored."""

    org: str
    chain_id: int
    contract: str
    """Address."""
    registered: int = 0
    """Entries whose changes of consent are on the chain."""


class KeptAnchor(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint that the chain has, deep enough."""

    org: str
    chain_id: int
    contract: str
    size: int
    root: bytes
    transaction: str
    """Hash; empty where the chain had it already, from elsewhere."""
    block: int
    at_s: int
    """The block's own time, s since the epoch."""
    gas: int
    fee_wei: int


class SentTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction on its way; an organisation has one at a time."""

    org: str
    chain_id: int
    deed: Deed
    size: int
    """What it does ends at this entry."""
    nonce: int
    hashes: tuple[str, ...]
    """Under which it was sent, the last with the highest fee."""
    raw: bytes
    sent_ns: int


def chain_of(statements: Statements, org: str) -> KeptChain | None:
    """Where an organisation's ledger is anchored; None if nowhere yet."""
    rows = statements.rows(
        f"SELECT chain_id, contract, registered FROM ledger_chains WHERE org = ? {LOCK}",  # noqa: S608
        (org,),
    )
    return (
        KeptChain(org=org, chain_id=rows[0][0], contract=rows[0][1], registered=rows[0][2]) if rows else None
    )


def chains(statements: Statements) -> list[str]:
    """Organisations whose ledger is anchored somewhere."""
    return [str(row[0]) for row in statements.rows("SELECT org FROM ledger_chains ORDER BY org")]


def keep_chain(statements: Statements, chain: KeptChain) -> None:
    """Anchor there from now on."""
    statements.run(
        "INSERT INTO ledger_chains (org, chain_id, contract, registered) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (org) DO UPDATE SET chain_id = excluded.chain_id, contract = excluded.contract, "
        "registered = excluded.registered",
        (chain.org, chain.chain_id, chain.contract, chain.registered),
    )


def registered(statements: Statements, org: str, upto: int) -> None:
    """Changes of consent before entry ``upto`` are on the chain."""
    statements.run(
        "UPDATE ledger_chains SET registered = ? WHERE org = ? AND registered < ?", (upto, org, upto)
    )


def add_anchor(statements: Statements, one: KeptAnchor) -> bool:
    """Keep what the chain has; False if it is kept."""
    return bool(
        statements.run(
            "INSERT INTO ledger_anchors "
            "(org, chain_id, contract, size, root, tx, block, at_s, gas, fee_wei) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (
                *(one.org, one.chain_id, one.contract, one.size, one.root),
                *(one.transaction, one.block, one.at_s, one.gas, str(one.fee_wei)),
            ),
        )
    )


def anchors_of(statements: Statements, org: str) -> list[KeptAnchor]:
    """All that are kept of an organisation's ledger, the smallest first."""
    rows = statements.rows(
        "SELECT chain_id, contract, size, root, tx, block, at_s, gas, fee_wei FROM ledger_anchors "
        "WHERE org = ? ORDER BY size, chain_id, contract",
        (org,),
    )
    return [
        KeptAnchor(
            org=org,
            chain_id=chain_id,
            contract=contract,
            size=size,
            root=bytes(root),
            transaction=transaction,
            block=block,
            at_s=at_s,
            gas=gas,
            fee_wei=int(fee),
        )
        for chain_id, contract, size, root, transaction, block, at_s, gas, fee in rows
    ]


def forget_anchors(statements: Statements, chain: KeptChain, sizes: Sequence[int]) -> None:
    """A chain does not have these any more: it went back further than was waited for."""
    statements.run_many(
        "DELETE FROM ledger_anchors WHERE org = ? AND chain_id = ? AND contract = ? AND size = ?",
        [(chain.org, chain.chain_id, chain.contract, size) for size in sizes],
    )


def add_sent(statements: Statements, one: SentTransaction) -> bool:
    """Keep a transaction before it is sent; False if another is on its way."""
    return bool(
        statements.run(
            "INSERT INTO ledger_transactions (org, chain_id, deed, size, nonce, hashes, raw, sent_ns) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (org) DO NOTHING",
            (one.org, one.chain_id, one.deed, one.size, one.nonce, _joined(one), one.raw, one.sent_ns),
        )
    )


def replace_sent(statements: Statements, one: SentTransaction) -> None:
    """The same with a higher fee."""
    statements.run(
        "UPDATE ledger_transactions SET hashes = ?, raw = ?, sent_ns = ? WHERE org = ? AND nonce = ?",
        (_joined(one), one.raw, one.sent_ns, one.org, one.nonce),
    )


def sent_of(statements: Statements, org: str) -> SentTransaction | None:
    """The transaction that is on its way."""
    rows = statements.rows(
        "SELECT chain_id, deed, size, nonce, hashes, raw, sent_ns FROM ledger_transactions WHERE org = ?",
        (org,),
    )
    if not rows:
        return None
    chain_id, deed, size, nonce, hashes, raw, sent_ns = rows[0]
    return SentTransaction(
        org=org,
        chain_id=chain_id,
        deed=deed,
        size=size,
        nonce=nonce,
        hashes=tuple(hashes.split()),
        raw=bytes(raw),
        sent_ns=sent_ns,
    )


def end_sent(statements: Statements, one: SentTransaction) -> bool:
    """It is on the chain, or will never be; False if somebody else found that."""
    return bool(
        statements.run(
            "DELETE FROM ledger_transactions WHERE org = ? AND chain_id = ? AND nonce = ?",
            (one.org, one.chain_id, one.nonce),
        )
    )


def _joined(one: SentTransaction) -> str:
    return " ".join(one.hashes)
