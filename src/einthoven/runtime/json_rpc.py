"""A chain, asked over JSON-RPC and HTTP: what every maker of EVM nodes answers, and nothing more.

The address may carry a secret of whoever runs the node, so messages name only its host.
"""

import base64
import http.client
import itertools
import ssl
from collections.abc import Sequence
from typing import Any, Final, Literal
from urllib.parse import unquote, urlsplit

import msgspec

from einthoven.errors import ChainUnavailable, FundsMissing, InputInvalid, TransactionReverted
from einthoven.trust.contract_calls import Fees, checked_address, revert_reason

__all__ = ["Block", "Chain", "Receipt", "Sending"]

Sending = Literal["sent", "known", "taken", "underpriced"]
"""What a node says of a transaction: it took it, it had it, its number is used up, it offers too little for
what gas costs or beside one of the same number."""
_ANSWER_S: Final = 10.0
_MOST_BYTES: Final = 4 * 2**20
_GWEI: Final = 10**9
_MOST_SHOWN: Final = 160
_UNANSWERED: Final = (OSError, http.client.HTTPException)
_SENDINGS: Final[tuple[tuple[str, Sending], ...]] = (
    ("already known", "known"),
    ("already imported", "known"),
    ("known transaction", "known"),
    ("nonce too low", "taken"),
    ("nonce is too low", "taken"),
    ("underpriced", "underpriced"),
    ("less than block base fee", "underpriced"),
)


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a block that is asked for."""

    number: int
    at_s: int
    """Its own time, s since the epoch."""
    base_fee: int | None
    """wei for one unit of gas; None on a chain without EIP-1559."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a transaction that is in a block."""

    block: int
    has_succeeded: bool
    gas: int
    fee_wei: int
    contract: str
    """Address of the contract that it made; empty if none."""


class _Refused(msgspec.Struct, frozen=True):
    """A node's own answer that it will not."""

    message: str = ""
    code: int = 0
    data: Any = None


class Chain:
    """A node.

    Parameters
    ----------
    url : http or https, with name and password or a path if its keeper asks for them
    answer_s : so long one answer is waited for

    Raises
    ------
    InputInvalid : not an address.
    """

    def __init__(self, url: str, *, answer_s: float = _ANSWER_S) -> None:
        try:
            parts = urlsplit(url)
            self._host, self._port = parts.hostname or "", parts.port
            self._host.encode("idna")  # as whoever looks the host up does
        except ValueError:
            parts, self._host = urlsplit(""), ""
        if not url.isascii() or parts.scheme not in {"http", "https"} or not self._host:
            raise InputInvalid(
                "this is no address of a chain's node.", where="chain", remedy="Give http://host:port."
            )
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._headers = {"Content-Type": "application/json"}
        if parts.username is not None:
            words = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = "Basic " + base64.b64encode(words.encode()).decode()
        self._answer_s = answer_s
        self._numbers = itertools.count(1)

    @property
    def place(self) -> str:
        """For messages: the node's host, without what opens it."""
        return f"chain at {self._host}"

    def chain_id(self) -> int:
        """The number by which transactions name their chain."""
        return self._number(self.asked("eth_chainId"))

    def code(self, address: str) -> bytes:
        """Of a contract; empty where there is none."""
        return self._bytes(self.asked("eth_getCode", address, "latest"))

    def nonce(self, account: str, at: Literal["latest", "pending"] | int) -> int:
        """How many transactions of an account are in blocks, in those up to one, or in blocks and waiting."""
        tag = hex(at) if isinstance(at, int) else at
        return self._number(self.asked("eth_getTransactionCount", account, tag))

    def balance(self, account: str) -> int:
        """What an account has, wei."""
        return self._number(self.asked("eth_getBalance", account, "latest"))

    def block(self, number: int | None = None) -> Block:
        """One block, or the newest."""
        tag = "latest" if number is None else hex(number)
        found = self._fields(self.asked("eth_getBlockByNumber", tag, False))
        fee = found.get("baseFeePerGas")
        return Block(
            number=self._number(found.get("number")),
            at_s=self._number(found.get("timestamp")),
            base_fee=None if fee is None else self._number(fee),
        )

    def fees(self) -> Fees:
        """What gas costs now: twice the base fee, so that it goes in though blocks are full; or the price."""
        base = self.block().base_fee
        if base is None:
            return Fees(self._number(self.asked("eth_gasPrice")), None)
        answer = self._ask("eth_maxPriorityFeePerGas", ())
        tip = _GWEI if isinstance(answer, _Refused) else self._number(answer)
        return Fees(2 * base + tip, tip)

    def call(self, contract: str, data: bytes, sender: str | None = None) -> bytes:
        """Ask a contract.

        Raises
        ------
        TransactionReverted : it refuses.
        """
        fields = _fields_of(contract, data, sender)
        return self._bytes(self._accepted(self._ask("eth_call", (fields, "latest"))))

    def estimate(self, sender: str, contract: str | None, data: bytes) -> int:
        """Gas that a transaction would take.

        Raises
        ------
        TransactionReverted : the contract would refuse it.
        FundsMissing : the account could not pay for it.
        """
        fields = _fields_of(contract, data, sender)
        return self._number(self._accepted(self._ask("eth_estimateGas", (fields,))))

    def send(self, raw: bytes) -> Sending:
        """Hand a signed transaction over.

        Raises
        ------
        FundsMissing : the account cannot pay for it.
        """
        answer = self._ask("eth_sendRawTransaction", ("0x" + raw.hex(),))
        if not isinstance(answer, _Refused):
            return "sent"
        said = answer.message.lower()
        for words, sending in _SENDINGS:
            if words in said:
                return sending
        self._accepted(answer)
        return "sent"

    def receipt(self, transaction: str) -> Receipt | None:
        """What became of a transaction; None while it is in no block."""
        answer = self.asked("eth_getTransactionReceipt", transaction)
        if answer is None:
            return None
        found = self._fields(answer)
        gas = self._number(found.get("gasUsed"))
        price = found.get("effectiveGasPrice")
        return Receipt(
            block=self._number(found.get("blockNumber")),
            has_succeeded=found.get("status") == "0x1",
            gas=gas,
            fee_wei=0 if price is None else gas * self._number(price),
            contract=self._address(found.get("contractAddress")),
        )

    # ---------------------------------------------------------------- one question

    def asked(self, method: str, *params: Any) -> Any:
        """Any question that is not of those above."""
        return self._accepted(self._ask(method, params))

    def _accepted(self, answer: Any) -> Any:
        if not isinstance(answer, _Refused):
            return answer
        reason = revert_reason(answer.data) if isinstance(answer.data, str) else ""
        said = " ".join(answer.message.split())[:_MOST_SHOWN]
        if reason or "revert" in said.lower():
            raise TransactionReverted(f"the contract refuses: {reason or said}.", where=self.place)
        if "insufficient funds" in said.lower() or "insufficient balance" in said.lower():
            raise FundsMissing(
                "the account cannot pay for the transaction.",
                where=self.place,
                remedy="Send it some of the chain's money.",
            )
        raise ChainUnavailable(f"the chain's node refuses: {said}.", where=self.place)

    def _ask(self, method: str, params: Sequence[Any]) -> Any:
        number = next(self._numbers)
        body = msgspec.json.encode({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        connection = self._opened()
        try:
            connection.request("POST", self._path, body, self._headers)
            answer = connection.getresponse()
            content = answer.read(_MOST_BYTES)
        except _UNANSWERED as error:
            raise self._silent(f"the chain's node does not answer ({type(error).__name__})") from None
        finally:
            connection.close()
        try:
            found = self._fields(msgspec.json.decode(content))
            if "error" in found and found["error"] is not None:
                return msgspec.convert(found["error"], _Refused)
            return found["result"]
        except (ValueError, KeyError, RecursionError, msgspec.MsgspecError):
            raise self._silent(f"no node of a chain answers there (status {answer.status})") from None

    def _opened(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._answer_s)
        return http.client.HTTPSConnection(self._host, self._port, timeout=self._answer_s, context=self._tls)

    def _silent(self, what: str) -> ChainUnavailable:
        return ChainUnavailable(
            f"{what}.", where=self.place, remedy="Check the address; nothing is lost, try again later."
        )

    def _number(self, value: Any) -> int:
        try:
            return int(value, 16)
        except (TypeError, ValueError):
            raise self._silent("the chain's answer is not understood") from None

    def _address(self, value: Any) -> str:
        try:
            return checked_address(value) if value is not None else ""
        except (TypeError, InputInvalid):
            raise self._silent("the chain's answer is not understood") from None

    def _bytes(self, value: Any) -> bytes:
        try:
            return bytes.fromhex(value.removeprefix("0x"))
        except (AttributeError, ValueError):
            raise self._silent("the chain's answer is not understood") from None

    def _fields(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._silent("the chain's answer is not understood")
        return value


def _fields_of(contract: str | None, data: bytes, sender: str | None) -> dict[str, str]:
    fields = {"data": "0x" + data.hex()}
    if contract is not None:
        fields["to"] = contract
    if sender is not None:
        fields["from"] = sender
    return fields
