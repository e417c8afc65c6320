"""What nodes and their site manager agree on over NATS: subjects, signatures, and how a node joins.

``einthoven.nodes.SITE.manager``
    from a node to the manager
``einthoven.nodes.SITE.node.NAME``
    from the manager to a node
``einthoven.nodes.SITE.all``
    from the manager to all nodes
``einthoven.nodes.SITE.enrol``
    asked by who wants to become a node
``einthoven.nodes.SITE.program``
    asked by a node for a piece of a program

Everything is signed (Ed25519) over the site, who says it, to whom, and what. A node that joins proves with
the one-time token's private half that it was given the token, and the answer must verify with the manager's
key that stands in the token; neither the token nor a secret of either side goes over the network.
"""

import base64
import binascii
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from einthoven.continuum import Tier
from einthoven.edge.nanoservices import check_name
from einthoven.errors import InputInvalid, TokenInvalid

__all__ = [
    "ALL",
    "ENROLS",
    "MANAGER",
    "PIECE_BYTES",
    "JoinAnswer",
    "JoinAsked",
    "JoinToken",
    "PieceAsked",
    "opened",
    "sealed",
    "subject_of",
    "subject_of_node",
    "who_says",
]

MANAGER: Final = "manager"
ENROLS: Final = "enrol"
ALL: Final = "all"
PIECE_BYTES: Final = 256 * 1024
"""Of a program, in one answer."""
_PREFIX: Final = "einthoven-node-1"
_TOKEN: Final = "einthoven-node"  # noqa: S105 - what a token begins with
_KEY_BYTES: Final = 32


class _Sealed(msgspec.Struct, frozen=True, array_like=True):
    by: str
    content: bytes
    signature: bytes


class JoinToken(msgspec.Struct, frozen=True):
    """What a node is given to join a site once. It is a secret."""

    site: str
    node: str
    manager: bytes
    """The site's public key."""
    seed: bytes
    """Of the token's own key."""

    @classmethod
    def made(cls, site: str, node: str, manager: bytes) -> "JoinToken":
        """A new one."""
        seed = Ed25519PrivateKey.generate().private_bytes_raw()
        return cls(check_name(site), check_name(node), manager, seed)

    @classmethod
    def read(cls, text: str) -> "JoinToken":
        """The token that a text is.

        Raises
        ------
        TokenInvalid : it is none.
        """
        try:
            word, site, node, keys = text.strip().split(".")
            both = base64.urlsafe_b64decode(keys + "=" * (-len(keys) % 4))
            if word != _TOKEN or len(both) != 2 * _KEY_BYTES:
                raise ValueError
            return cls(check_name(site), check_name(node), both[:_KEY_BYTES], both[_KEY_BYTES:])
        except (ValueError, binascii.Error, InputInvalid):
            raise TokenInvalid(
                "this is no token of a node.",
                where="token",
                remedy="Make one with: einthoven nodes enrol NAME.",
            ) from None

    @property
    def key(self) -> Ed25519PrivateKey:
        """The token's own key."""
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    @property
    def text(self) -> str:
        """As it is handed over."""
        keys = base64.urlsafe_b64encode(self.manager + self.seed).decode().rstrip("=")
        return f"{_TOKEN}.{self.site}.{self.node}.{keys}"

    def __repr__(self) -> str:
        return f"JoinToken({self.site!r}, {self.node!r})"


class JoinAsked(msgspec.Struct, frozen=True, kw_only=True):
    """A node wants to join; signed by the node's new key, and inside by the token's."""

    node: str
    public: bytes
    token: bytes
    """The token's public key."""
    proof: bytes
    """By the token, of the node's public key."""


class JoinAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of it; signed by the manager."""

    public: bytes
    """The node's, as it was asked."""
    refused: str = ""
    """Why not."""
    tier: Tier = "local"
    labels: tuple[str, ...] = ()


class PieceAsked(msgspec.Struct, frozen=True, kw_only=True):
    """A node wants a piece of a program."""

    program: str
    offset: int


def subject_of(site: str, what: str) -> str:
    """Where something of a site is said."""
    return f"einthoven.nodes.{site}.{what}"


def subject_of_node(site: str, node: str) -> str:
    """Where a node is spoken to."""
    return f"einthoven.nodes.{site}.node.{node}"


def sealed(key: Ed25519PrivateKey, site: str, by: str, to: str, content: object) -> bytes:
    """A signed message."""
    written = msgspec.msgpack.encode(content)
    return msgspec.msgpack.encode(_Sealed(by, written, key.sign(_signed(site, by, to, written))))


def who_says(message: bytes) -> str:
    """Who claims to have said it; empty: this is no message."""
    try:
        return msgspec.msgpack.decode(message, type=_Sealed).by
    except msgspec.MsgspecError:
        return ""


def opened(public: bytes, site: str, by: str, to: str, message: bytes, kind: Any) -> Any:
    """What a message says; None if it is not by this one to that one, or not of this kind."""
    try:
        found = msgspec.msgpack.decode(message, type=_Sealed)
        if found.by != by:
            return None
        key = Ed25519PublicKey.from_public_bytes(public)
        key.verify(found.signature, _signed(site, by, to, found.content))
        return msgspec.msgpack.decode(found.content, type=kind)
    except (msgspec.MsgspecError, InvalidSignature, ValueError):
        return None


def _signed(site: str, by: str, to: str, content: bytes) -> bytes:
    return "\0".join((_PREFIX, site, by, to, "")).encode() + content
