"""The contract of anchors in the words of a chain: calls, answers and signed transactions as bytes.

Nothing is sent from here. The contract was compiled from ``contracts/LedgerAnchors.vy`` into the file beside
this module; a test compiles it again and compares.
"""

import binascii
import json
import sys
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec
import rlp
from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils.address import is_address, to_checksum_address
from eth_utils.crypto import keccak

from einthoven.errors import ChainUnavailable, InputInvalid, KeyRefused
from einthoven.trust.anchoring import NO_ROOT, Anchor, BlindedConsent, ChainView

_DEPTH: Final = sys.getrecursionlimit()
from eth_account import Account  # noqa: E402
from eth_account.signers.local import LocalAccount  # noqa: E402

# py_ecc, which they import, sets it so high that deeply nested JSON ends the process instead of the call.
sys.setrecursionlimit(_DEPTH)

__all__ = [
    "MOST_CONSENTS",
    "MOST_ROOTS",
    "Fees",
    "SignedTransaction",
    "admit_call",
    "anchor_call",
    "checked_address",
    "consent_call",
    "consent_from",
    "contract_creation",
    "contract_runtime",
    "latest_call",
    "raised_fees",
    "read_view",
    "register_call",
    "repriced",
    "revert_reason",
    "roots_call",
    "roots_from",
    "sender_of",
    "sign_transaction",
]

MOST_CONSENTS: Final = 64
"""That one transaction registers."""
MOST_ROOTS: Final = 256
"""That one call asks for."""
_REVERTED: Final = keccak(text="Error(string)")[:4]
_NOBODY: Final = "0x" + 40 * "0"
_RAISED: Final = (9, 8)
"""A node takes another transaction of the same number only for a tenth more."""
_MOST_TIMES: Final = 10


class Fees(msgspec.Struct, frozen=True):
    """What is offered for gas, wei."""

    most: int
    """For one unit of gas, all in all."""
    tip: int | None
    """Of that at most to whoever makes the block (EIP-1559); None on a chain that has one price."""


class SignedTransaction(msgspec.Struct, frozen=True):
    """What a node takes."""

    hash: str
    raw: bytes
    nonce: int


# -------------------------------------------------------------------- the contract


def contract_creation() -> bytes:
    """Code that makes the contract."""
    return bytes.fromhex(_compiled()["creation"])


def contract_runtime() -> bytes:
    """Code that the contract then is; behind it stand the values of its own that never change."""
    return bytes.fromhex(_compiled()["runtime"])


@cache
def _compiled() -> dict[str, str]:
    content = files("einthoven.trust").joinpath("ledger-anchors.json").read_text(encoding="ascii")
    found: dict[str, str] = json.loads(content)
    return found


def admit_call(ledger: bytes, site: str) -> bytes:
    """Let an account write about a ledger."""
    return _call("admit(bytes32,address)", ledger, site)


def anchor_call(ledger: bytes, anchor: Anchor) -> bytes:
    """Anchor a checkpoint."""
    return _call("anchor(bytes32,uint64,bytes32)", ledger, anchor.size, anchor.root)


def register_call(ledger: bytes, consents: Sequence[BlindedConsent]) -> bytes:
    """Register versions of consents."""
    rows = [(one.subject, one.version, one.digest, one.is_revoked) for one in consents]
    return _call("register(bytes32,(bytes32,uint64,bytes32,bool)[])", ledger, rows)


def latest_call(ledger: bytes) -> bytes:
    """Ask who writes about a ledger, and for its newest anchor."""
    return _call("latest(bytes32)", ledger)


def read_view(answer: bytes) -> ChainView:
    """What `latest_call` is answered."""
    site, size, root = _decoded(["address", "uint64", "bytes32"], answer)
    return ChainView(
        site="" if site == _NOBODY else to_checksum_address(site),
        latest=None if root == NO_ROOT else Anchor(size, root),
    )


def roots_call(ledger: bytes, sizes: Sequence[int]) -> bytes:
    """Ask for the roots that were anchored for sizes."""
    return _call("roots_at(bytes32,uint64[])", ledger, list(sizes))


def roots_from(answer: bytes) -> list[bytes]:
    """What `roots_call` is answered; zeros for what was not anchored."""
    (roots,) = _decoded(["bytes32[]"], answer)
    return list(roots)


def consent_call(ledger: bytes, subject: bytes) -> bytes:
    """Ask for the latest version of a consent."""
    return _call("consent(bytes32,bytes32)", ledger, subject)


def consent_from(answer: bytes, subject: bytes) -> BlindedConsent | None:
    """What `consent_call` is answered."""
    version, digest, is_revoked = _decoded(["uint64", "bytes32", "bool"], answer)
    if digest == NO_ROOT:
        return None
    return BlindedConsent(subject=subject, version=version, digest=digest, is_revoked=is_revoked)


def revert_reason(data: str) -> str:
    """Why a contract refused, from what it answered; empty where it does not say."""
    try:
        content = bytes.fromhex(data.removeprefix("0x"))
        if content[:4] != _REVERTED:
            return ""
        (reason,) = decode(["string"], content[4:])
    except (ValueError, DecodingError, OverflowError):
        return ""
    return " ".join(str(reason).split())[:200]


def _call(signature: str, *values: Any) -> bytes:
    types = _types_of(signature)
    return bytes(keccak(text=signature)[:4] + encode(types, values))


def _types_of(signature: str) -> list[str]:
    """The types in a signature: at its commas that stand in no inner brackets."""
    inner = signature[signature.index("(") + 1 : -1]
    types, depth, start = [], 0, 0
    for at, sign in enumerate(inner):
        depth += (sign == "(") - (sign == ")")
        if sign == "," and not depth:
            types.append(inner[start:at])
            start = at + 1
    return [*types, inner[start:]]


def _decoded(types: list[str], answer: bytes) -> tuple[Any, ...]:
    try:
        return tuple(decode(types, answer))
    except (DecodingError, ValueError, OverflowError):
        raise ChainUnavailable(
            "what the chain answered is not understood.",
            where="chain",
            remedy="Check the contract's address.",
        ) from None


# -------------------------------------------------------------------- transactions


def checked_address(text: str) -> str:
    """An address as it is usually written.

    Raises
    ------
    InputInvalid : it is none.
    """
    if not is_address(text):
        raise InputInvalid(
            "this is no address on a chain.", where="address", remedy="Give 0x and 40 hexadecimal digits."
        )
    return str(to_checksum_address(text))


def sender_of(secret: bytes) -> str:
    """The account of a secret key.

    Raises
    ------
    KeyRefused : the number is not a key of the curve.
    """
    return str(_account(secret).address)


def raised_fees(before: Fees, now: Fees) -> Fees | None:
    """Fees for which a node takes a transaction in place of one that waits too long.

    None if that would be more than ten times what gas costs now: then something else is the reason.
    """
    times, by = _RAISED
    most = max(now.most, before.most * times // by + 1)
    if most > _MOST_TIMES * now.most:
        return None
    if before.tip is None or now.tip is None:
        return Fees(most, now.tip)
    return Fees(most, max(now.tip, before.tip * times // by + 1))


def sign_transaction(
    secret: bytes, *, chain_id: int, nonce: int, to: str | None, data: bytes, gas: int, fees: Fees
) -> SignedTransaction:
    """A transaction that carries a call and no money; ``to`` is None for one that makes a contract.

    Raises
    ------
    KeyRefused : the number is not a key of the curve.
    """
    fields: dict[str, Any] = {"chainId": chain_id, "nonce": nonce, "gas": gas, "value": 0, "data": data}
    if to is not None:
        fields["to"] = to
    if fees.tip is None:
        fields["gasPrice"] = fees.most
    else:
        fields |= {"maxFeePerGas": fees.most, "maxPriorityFeePerGas": min(fees.tip, fees.most), "type": 2}
    signed = _account(secret).sign_transaction(fields)
    return SignedTransaction("0x" + bytes(signed.hash).hex(), bytes(signed.raw_transaction), nonce)


def repriced(secret: bytes, raw: bytes, now: Fees) -> SignedTransaction | None:
    """The same transaction for fees with which it replaces the one before; None as `raised_fees`."""
    is_typed = raw[:1] == b"\2"
    fields = rlp.decode(raw[1:] if is_typed else raw)
    if is_typed:
        chain_id, nonce, tip, most, gas, to, _, data = fields[:8]
        before = Fees(int.from_bytes(most), int.from_bytes(tip))
    else:
        nonce, price, gas, to, _, data, v = fields[:7]
        chain_id, before = ((int.from_bytes(v) - 35) // 2).to_bytes(8), Fees(int.from_bytes(price), None)
    fees = raised_fees(before, now if before.tip is not None else Fees(now.most, None))
    if fees is None:
        return None
    return sign_transaction(
        secret,
        chain_id=int.from_bytes(chain_id),
        nonce=int.from_bytes(nonce),
        to=to_checksum_address(to) if to else None,
        data=data,
        gas=int.from_bytes(gas),
        fees=fees,
    )


def _account(secret: bytes) -> LocalAccount:
    try:
        found: LocalAccount = Account.from_key(secret)
    except (ValueError, binascii.Error):
        raise KeyRefused("this is no key of an account.", where="chain key") from None
    return found
