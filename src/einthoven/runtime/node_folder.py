"""What a node has on its disk: its key, where it belongs, its newest orders as they were signed, programs."""

import hashlib
import os
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from einthoven.continuum import Tier
from einthoven.edge.messages import Orders
from einthoven.errors import InputInvalid, KeyRefused, StoreUnavailable
from einthoven.runtime.node_link import MANAGER, opened

__all__ = ["Membership", "NodeFolder"]

_KEY_BYTES: Final = 32


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """Where a node belongs."""

    site: str
    node: str
    manager: bytes
    """The site's public key."""
    tier: Tier = "local"
    labels: tuple[str, ...] = ()


class NodeFolder:
    """One node's folder; whatever is written is there whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            for folder in (path, path / "programs", path / "logs"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailable(
                f"the node's folder cannot be made ({error.strerror}).", where=str(path)
            ) from None

    def key(self) -> Ed25519PrivateKey:
        """The node's key, a new one the first time.

        Raises
        ------
        KeyRefused : the file is not one.
        """
        path = self.path / "node.key"
        if not path.exists():
            self._write("node.key", Ed25519PrivateKey.generate().private_bytes_raw())
        secret = path.read_bytes()
        if len(secret) != _KEY_BYTES:
            raise KeyRefused("this is no key of a node.", where=str(path), remedy="Let the node join anew.")
        return Ed25519PrivateKey.from_private_bytes(secret)

    def membership(self) -> Membership | None:
        """Where it belongs, if it has joined."""
        try:
            return msgspec.json.decode((self.path / "membership.json").read_bytes(), type=Membership)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError:
            raise InputInvalid(
                "this does not say where the node belongs.",
                where=str(self.path / "membership.json"),
                remedy="Remove it, and let the node join anew.",
            ) from None

    def join(self, membership: Membership) -> None:
        """It belongs there from now on."""
        self._write("membership.json", msgspec.json.encode(membership))

    def orders(self, member: Membership) -> Orders | None:
        """The newest orders; None where there are none, or none that the site's manager signed for it."""
        try:
            message = (self.path / "orders").read_bytes()
        except FileNotFoundError:
            return None
        found: Orders | None = opened(member.manager, member.site, MANAGER, member.node, message, Orders)
        return found

    def keep_orders(self, message: bytes) -> None:
        """As the manager signed them."""
        self._write("orders", message)

    def programs(self) -> frozenset[str]:
        """Digests of those that are here."""
        return frozenset(one.stem for one in (self.path / "programs").glob("*.pyz"))

    def program(self, digest: str) -> Path | None:
        """Where a program is; None if it is not, or not what its digest says: then it is removed."""
        path = self._program_path(digest)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        if hashlib.sha256(content).hexdigest() == digest:
            return path
        path.unlink()
        return None

    def keep_program(self, digest: str, content: bytes) -> bool:
        """Whether it was what its digest says."""
        if hashlib.sha256(content).hexdigest() != digest:
            return False
        self._write(f"programs/{digest}.pyz", content)
        return True

    def log(self, service: str) -> Path:
        """Where what an instance prints goes."""
        return self.path / "logs" / f"{service}.log"

    def _program_path(self, digest: str) -> Path:
        return self.path / "programs" / f"{digest}.pyz"

    def _write(self, name: str, content: bytes) -> None:
        path = self.path / name
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise StoreUnavailable(
                f"the node's folder did not take it ({error.strerror}).", where=str(path)
            ) from None
