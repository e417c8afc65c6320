"""Secrets in the folder ``keys`` of the data folder, for their owner alone to read; closed if asked for."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from einthoven.errors import KeyRefused, NotFound, StoreUnavailable
from einthoven.trust.envelopes import PayloadKey
from einthoven.trust.notes import SigningKey
from einthoven.trust.payload_ids import payload_key_id
from einthoven.trust.secrets import SECRET_BYTES, SecretKind, close_secret, open_secret

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "PASSPHRASE",
    "destroy_secret",
    "keep_ledger_key",
    "keep_payload_key",
    "keep_secret",
    "ledger_keys",
    "payload_keys",
    "public_ledger_keys",
    "secret_named",
    "secrets_in",
]

PASSPHRASE: Final = "EINTHOVEN_PASSPHRASE"  # noqa: S105 - the name of the variable
"""Environment variable that opens secrets that were closed with it, and closes new ones."""
_MODE: Final = 0o600


def keep_secret(
    folder: Path, kind: SecretKind, name: str, secret: bytes | None = None, passphrase: str | None = None
) -> bytes:
    """Keep a secret, a new one unless it is given, under a name that is not taken.

    Raises
    ------
    KeyRefused : the name is taken.
    StoreUnavailable : it could not be written.
    """
    secret = os.urandom(SECRET_BYTES) if secret is None else secret
    text = close_secret(kind, secret, _passphrase(passphrase))
    path = folder / "keys" / f"{kind}-{name}.json"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
        try:
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE), "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            _named(aside, path)
        finally:
            aside.unlink(missing_ok=True)
        _sync(path.parent)
    except FileExistsError:
        raise KeyRefused("there is a key of this name.", where=path.name) from None
    except OSError as error:
        raise StoreUnavailable(
            f"the key could not be written ({error.strerror}).", where=path.name, remedy="Check the rights."
        ) from error
    return secret


def secret_named(folder: Path, kind: SecretKind, name: str, passphrase: str | None = None) -> bytes | None:
    """The secret of this name, whatever others there are; None if there is none.

    Raises
    ------
    KeyRefused : it cannot be opened.
    StoreUnavailable : it cannot be read.
    """
    path = folder / "keys" / f"{kind}-{name}.json"
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error) from error
    return open_secret(kind, text, _passphrase(passphrase), path.name)


def secrets_in(
    folder: Path, kind: SecretKind, prefix: str = "", passphrase: str | None = None
) -> dict[str, bytes]:
    """Secrets of one kind, under their names, of those whose name begins so.

    Raises
    ------
    KeyRefused : one cannot be opened.
    StoreUnavailable : one cannot be read.
    """
    found = {}
    for path in sorted((folder / "keys").glob(f"{kind}-{prefix}*.json")):
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise _unreadable(path, error) from error
        found[path.stem.removeprefix(f"{kind}-")] = open_secret(
            kind, text, _passphrase(passphrase), path.name
        )
    return found


def destroy_secret(folder: Path, kind: SecretKind, name: str) -> None:
    """Remove a secret for good.

    Raises
    ------
    NotFound : there is none of this name. StoreUnavailable : it could not be removed.
    """
    path = folder / "keys" / f"{kind}-{name}.json"
    try:
        path.unlink()
    except FileNotFoundError:
        raise NotFound("there is no key of this name.", where=path.name, remedy="List the keys.") from None
    except OSError as error:
        raise StoreUnavailable(
            f"the key could not be removed ({error.strerror}).", where=path.name, remedy="Check the rights."
        ) from error


def keep_payload_key(folder: Path, now_ns: int, passphrase: str | None = None) -> PayloadKey:
    """A new key for which devices seal; raises as `keep_secret` does."""
    key = PayloadKey.made()
    name = f"{now_ns // 10**9:012d}.{payload_key_id(key.public).hex()}"
    keep_secret(folder, "payload", name, key.secret, passphrase)
    return key


def payload_keys(folder: Path, passphrase: str | None = None) -> dict[str, PayloadKey]:
    """The keys for which devices seal, by name, the oldest first; raises as `secrets_in` does."""
    return {name: PayloadKey(one) for name, one in secrets_in(folder, "payload", "", passphrase).items()}


def keep_ledger_key(folder: Path, org: str, key: SigningKey, passphrase: str | None = None) -> None:
    """Keep a key of an organisation's ledger; raises as `keep_secret` does."""
    keep_secret(folder, "ledger", f"{org}.{key.verifying.id.hex()}", key.secret, passphrase)


def ledger_keys(folder: Path, org: str, origin: str, passphrase: str | None = None) -> list[SigningKey]:
    """All keys of an organisation's ledger that are here; which are in force the ledger says."""
    found = secrets_in(folder, "ledger", f"{org}.", passphrase)
    return [SigningKey(origin, Ed25519PrivateKey.from_private_bytes(one)) for one in found.values()]


def public_ledger_keys(folder: Path) -> dict[str, list[bytes]]:
    """The public halves of all ledgers' keys that are here, by organisation; raises as `secrets_in` does."""
    found: dict[str, list[bytes]] = {}
    for name, secret in secrets_in(folder, "ledger").items():
        public = Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
        found.setdefault(name.rpartition(".")[0], []).append(public)
    return found


def _unreadable(path: Path, error: OSError) -> StoreUnavailable:
    return StoreUnavailable(
        f"the key could not be read ({error.strerror}).", where=path.name, remedy="Check the rights."
    )


def _named(aside: Path, path: Path) -> None:
    """Give a file its name, whole or not at all, and never in place of another; raises FileExistsError."""
    try:
        os.link(aside, path)
    except FileExistsError:
        raise
    except OSError:  # a file has one name only there
        with _alone(path.parent):
            if path.exists():
                raise FileExistsError(errno.EEXIST, "File exists") from None
            aside.rename(path)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other process does this in the folder meanwhile; where that cannot be had, renaming refuses."""
    handle = None
    try:
        if fcntl is not None:
            handle = os.open(folder, os.O_RDONLY)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _sync(folder: Path) -> None:
    """Have a new name in a folder on disk too; where folders cannot be opened they need no such thing."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _passphrase(given: str | None) -> str:
    return os.environ.get(PASSPHRASE, "") if given is None else given
