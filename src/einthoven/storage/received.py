"""Files as they were received: parts in the object store and, once a file is whole, its manifest.

A file lies under its organisation and the SHA-256 of its content::

    recordings/<org>/<sha256>/<upload>/<first byte>-<random>   its parts
    recordings/<org>/<sha256>/manifest                         which parts they are, in order

No two writes have the same name, so that no later one changes an earlier one, and one that came to nothing
can be removed. The manifest is created once; of two who send the same file the first makes it. What it
names is part of the master dataset and is never changed or removed.
"""

import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from einthoven.errors import DigestMismatch, ObjectDamaged, RecordingNotFound
from einthoven.storage.objects import ObjectStore

__all__ = ["PART_BYTES", "Manifest", "Part", "ReceivedFiles", "write_checked"]

PART_BYTES: Final = 8 * 2**20
"""Largest part: what is held in memory of a file at one time."""


class Part(msgspec.Struct, frozen=True, array_like=True):
    """A stretch of a file and where it lies."""

    first: int
    bytes: int
    object: str

    @property
    def until(self) -> int:
        """The first byte behind it."""
        return self.first + self.bytes


class Manifest(msgspec.Struct, frozen=True):
    """A whole file."""

    sha256: str
    bytes: int
    parts: tuple[Part, ...]
    version: int = 1


_MANIFEST: Final = msgspec.json.Decoder(Manifest)


class ReceivedFiles:
    """The files that organisations sent."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def put_part(self, org: str, sha256: str, upload: str, first: int, content: bytes) -> Part:
        """Keep a stretch of a file that should become ``sha256``; it is safe when this returns.

        Raises
        ------
        StoreUnavailable : the store did not take it.
        """
        name = f"{_folder(org, sha256)}/{upload}/{first:015d}-{secrets.token_hex(8)}"
        self._store.put(name, content)
        return Part(first, len(content), name)

    def feed(self, parts: Iterable[Part], digest: Any) -> None:
        """Put the content of parts through a hash.

        Raises
        ------
        RecordingNotFound, StoreUnavailable : see `ObjectStore`.
        """
        for part in parts:
            digest.update(self._store.get(part.object))

    def manifest(self, org: str, sha256: str) -> Manifest | None:
        """What is known of a whole file; None when there is none.

        Raises
        ------
        StoreUnavailable : see `ObjectStore`.
        """
        try:
            return _MANIFEST.decode(self._store.get(f"{_folder(org, sha256)}/manifest"))
        except RecordingNotFound:
            return None

    def keep(self, org: str, sha256: str, parts: Sequence[Part]) -> bool:
        """Make a file of parts whose content was checked; False when it is there already, from others.

        Raises
        ------
        StoreUnavailable : see `ObjectStore`.
        """
        manifest = Manifest(sha256, sum(part.bytes for part in parts), tuple(parts))
        is_new = self._store.create(f"{_folder(org, sha256)}/manifest", msgspec.json.encode(manifest))
        return is_new is not False or self.manifest(org, sha256) == manifest

    def remove_part(self, part: Part) -> None:
        """Remove a part that came to nothing.

        Raises
        ------
        StoreUnavailable : see `ObjectStore`.
        """
        self._store.delete(part.object)

    def discard(self, org: str, sha256: str, upload: str, *, but: Iterable[Part] = ()) -> None:
        """Remove the parts of an upload, except for some.

        Raises
        ------
        StoreUnavailable : see `ObjectStore`.
        """
        kept = {part.object for part in but}
        for name in list(self._store.names(f"{_folder(org, sha256)}/{upload}")):
            if name not in kept:
                self._store.delete(name)

    def content(self, manifest: Manifest) -> Iterator[bytes]:
        """A file, part by part.

        Raises
        ------
        ObjectDamaged : a part is missing, or has another length.
        StoreUnavailable : see `ObjectStore`.
        """
        for part in manifest.parts:
            try:
                content = self._store.get(part.object)
            except RecordingNotFound:
                content = b""
            if len(content) != part.bytes:
                raise ObjectDamaged(
                    "a part of the received file is not what was written.",
                    where=part.object,
                    remedy="Bring the object back from a backup.",
                )
            yield content

    def copy_to(self, org: str, sha256: str, path: Path, told: Callable[[], None] = lambda: None) -> None:
        """Write a whole file to a path; it is there only if its content is what it should be.

        Parameters
        ----------
        told : called before each part; what it raises ends the copying.

        Raises
        ------
        ObjectDamaged : it is not there, or not what was received.
        StoreUnavailable : see `ObjectStore`.
        """
        manifest = self.manifest(org, sha256)
        damaged = ObjectDamaged(
            "a received file is not what was written.",
            where=_folder(org, sha256),
            remedy="Bring its objects back from a backup.",
        )
        if manifest is None:
            raise damaged
        try:
            write_checked(path, _each(self.content(manifest), told), sha256)
        except DigestMismatch:
            raise damaged from None


def _each(blocks: Iterable[bytes], told: Callable[[], None]) -> Iterator[bytes]:
    for block in blocks:
        told()
        yield block


def write_checked(path: Path, blocks: Iterable[bytes], sha256: str) -> int:
    """Write blocks to a file beside ``path`` and move it there if their SHA-256 is right; how many bytes.

    Raises
    ------
    DigestMismatch : it is not.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part")
    digest = hashlib.sha256()
    size = 0
    try:
        with aside.open("wb") as file:
            for block in blocks:
                digest.update(block)
                file.write(block)
                size += len(block)
        if digest.hexdigest() != sha256:
            raise DigestMismatch(
                "the content is not what its SHA-256 says.", where="sha256", remedy="Send the file again."
            )
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return size


def _folder(org: str, sha256: str) -> str:
    return f"recordings/{org}/{sha256}"
