"""Objects in S3 and what speaks like it, Google Cloud Storage, Azure, or memory; needs the extra ``s3``.

obstore does the talking. What it says of an error may hold addresses, keys and signatures, so none of it is
repeated: an error of ours says the kind of fault, the object's name and what to do.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import from_url

from einthoven.errors import InputInvalid, StoreUnavailable
from einthoven.storage.objects import checked_name, not_found

__all__ = ["RemoteStore"]

_CONNECT: Final = timedelta(seconds=5)
_ANSWER: Final = timedelta(seconds=30)
_RETRIES: Final = 4
_FORBIDDEN: Final = re.compile(r"status code: 40[13]\b")
_GIVE_UP: Final = timedelta(seconds=60)


class RemoteStore:
    """Objects in a store that obstore speaks to."""

    def __init__(self, url: str, options: Mapping[str, str]) -> None:
        """See `open_store`, which has looked at the address."""
        self._url = url
        settings: dict[str, Any] = {}
        if not url.startswith("memory:"):
            known = {**os.environ, **options}
            plain = known.get("AWS_ENDPOINT_URL", known.get("AWS_ENDPOINT", "")).startswith("http://")
            settings = {
                "client_options": {
                    "connect_timeout": _CONNECT,
                    "timeout": _ANSWER,
                    **({"allow_http": True} if plain else {}),
                },
                "retry_config": {"max_retries": _RETRIES, "retry_timeout": _GIVE_UP},
                **({"config": dict(options)} if options else {}),
            }
        try:
            self._store = from_url(url, **settings)
        except (BaseError, ValueError):
            raise InputInvalid(
                "the store cannot be addressed so.",
                where="store",
                remedy="Check the address and the settings in the environment.",
            ) from None

    def __repr__(self) -> str:
        return f"RemoteStore({self._url!r})"

    def put(self, name: str, content: bytes) -> None:
        """See `ObjectStore`."""
        checked_name(name)
        with _named(name, reading=False):
            obstore.put(self._store, name, content)

    def create(self, name: str, content: bytes) -> bool:
        """See `ObjectStore`."""
        checked_name(name)
        with _named(name, reading=False):
            try:
                obstore.put(self._store, name, content, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
        return True

    def get(self, name: str) -> bytes:
        """See `ObjectStore`."""
        checked_name(name)
        with _named(name):
            return bytes(obstore.get(self._store, name).bytes())

    def read(self, name: str, start: int, length: int) -> bytes:
        """See `ObjectStore`."""
        checked_name(name)
        with _named(name):
            try:
                if length > 0:
                    return bytes(obstore.get_range(self._store, name, start=start, length=length))
            except BaseError:
                if start < self._size(name):
                    raise
            self._size(name)
            return b""

    def read_end(self, name: str, length: int) -> bytes:
        """See `ObjectStore`."""
        checked_name(name)
        with _named(name):
            try:
                found = obstore.get(self._store, name, options={"range": {"suffix": length}})
                return bytes(found.bytes())
            except BaseError:  # Azure knows no such range, and nobody one of an empty object
                size = self._size(name)
        return self.read(name, max(0, size - length), length)

    def names(self, folder: str = "") -> Iterator[str]:
        """See `ObjectStore`."""
        if folder:
            checked_name(folder)
        with _named(folder):
            found = [
                entry["path"]
                for page in obstore.list(self._store, prefix=folder or None)
                for entry in page
                if not folder or entry["path"].startswith(f"{folder}/")
            ]
        yield from sorted(found)

    def delete(self, name: str) -> None:
        """See `ObjectStore`."""
        checked_name(name)
        with _named(name, reading=False):
            try:
                obstore.delete(self._store, name)
            except (NotFoundError, FileNotFoundError):
                return

    def _size(self, name: str) -> int:
        return obstore.head(self._store, name)["size"]


@contextmanager
def _named(name: str, *, reading: bool = True) -> Iterator[None]:
    """The store's errors as ours, without a word of what it said."""
    try:
        yield
    except (NotFoundError, FileNotFoundError):
        if reading:
            raise not_found(name) from None
        raise StoreUnavailable(
            "the store has no such bucket.", where=name, remedy="Create the bucket, or correct the address."
        ) from None
    except (BaseError, OSError, ValueError) as error:
        refused = isinstance(error, (PermissionDeniedError, UnauthenticatedError))
        if refused or _FORBIDDEN.search(str(error)):  # which listing tells in its text only
            raise StoreUnavailable(
                "the store refused our credentials.",
                where=name,
                remedy="Check the credentials in the environment, and what they permit.",
            ) from None
        raise StoreUnavailable(
            f"the store failed or did not answer, {_RETRIES} retries included.",
            where=name,
            remedy="Check the address, the network and the store's own health.",
        ) from None
