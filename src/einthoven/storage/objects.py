"""Objects by name: the seam, and the folder that keeps them by default."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from einthoven.errors import RecordingNotFound, ReferenceRefused, StoreUnavailable

__all__ = ["FolderStore", "ObjectStore", "checked_name", "not_found"]

_PART: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_LONGEST: Final = 512


class ObjectStore(Protocol):
    """Objects under names like ``patients/7/2026-11-25.ecg``, whole or not at all.

    Every call may raise `ReferenceRefused` (the name is not one inside this store) and `StoreUnavailable`
    (the store did not do it; trying again may help). Those that read raise `RecordingNotFound` when nothing
    is kept under the name. `einthoven.testing.check_store` checks all that is promised here.
    """

    def put(self, name: str, content: bytes) -> None:
        """Keep an object in place of an earlier one; when this returns it is safe, whole."""
        ...

    def create(self, name: str, content: bytes) -> bool:
        """Keep an object if there is none of this name; of several who try at once one is told True.

        (None, if the answer to that one was lost on the way and it had to ask again.)
        """
        ...

    def get(self, name: str) -> bytes:
        """The object under a name."""
        ...

    def read(self, name: str, start: int, length: int) -> bytes:
        """A stretch of it, shorter where the object ends."""
        ...

    def read_end(self, name: str, length: int) -> bytes:
        """Its last bytes, all of them when it is shorter."""
        ...

    def names(self, folder: str = "") -> Iterator[str]:
        """All names below ``folder``, sorted; "a" holds "a/b" and "a/b/c", neither "a" nor "ab/c"."""
        ...

    def delete(self, name: str) -> None:
        """Forget an object; nothing happens when there is none."""
        ...


def checked_name(name: str) -> str:
    """The name, if it is one.

    Raises
    ------
    ReferenceRefused : it is not a name inside a store.
    """
    if not name or len(name) > _LONGEST or not all(_PART.fullmatch(part) for part in name.split("/")):
        raise ReferenceRefused(
            "the reference is not a name inside the store.",
            where="ecgDataFilePath",
            remedy="Use letters, digits, '.', '_', '-' and '/', no part beginning with a dot.",
        )
    return name


def not_found(name: str) -> RecordingNotFound:
    """Nothing is kept under this name."""
    return RecordingNotFound(
        "no object is kept under this name.", where=name, remedy="Upload it first, or check the path."
    )


class FolderStore:
    """Objects as files in one folder, written aside and moved into place."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def __repr__(self) -> str:
        return f"FolderStore({str(self._root)!r})"

    def put(self, name: str, content: bytes) -> None:
        """See `ObjectStore`."""
        path = self._path(name)
        with self._written(name), self._aside(path, content) as aside:
            aside.replace(path)
            _sync(path.parent)

    def create(self, name: str, content: bytes) -> bool:
        """See `ObjectStore`."""
        path = self._path(name)
        with self._written(name):
            if path.exists():
                _sync(path.parent)  # whoever made it may not have come to this
                return False
            with self._aside(path, content) as aside:
                try:
                    os.link(aside, path)
                except FileExistsError:
                    return False
                _sync(path.parent)
            return True

    def get(self, name: str) -> bytes:
        """See `ObjectStore`."""
        path = self._path(name)
        with self._found(name):
            return path.read_bytes()

    def read(self, name: str, start: int, length: int) -> bytes:
        """See `ObjectStore`."""
        path = self._path(name)
        with self._found(name), path.open("rb") as file:
            file.seek(start)
            return file.read(length)

    def read_end(self, name: str, length: int) -> bytes:
        """See `ObjectStore`."""
        path = self._path(name)
        with self._found(name), path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - length))
            return file.read(length)

    def names(self, folder: str = "") -> Iterator[str]:
        """See `ObjectStore`."""
        root = self._path(folder) if folder else self._root
        found = []
        try:
            for at, folders, files in os.walk(root, onerror=_raise):
                folders[:] = filter(_PART.fullmatch, folders)
                where = Path(at).relative_to(self._root)
                found += [(where / file).as_posix() for file in filter(_PART.fullmatch, files)]
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise StoreUnavailable(
                f"the folder could not be read ({error.strerror}).",
                where=folder,
                remedy="Check the store's rights.",
            ) from error
        yield from sorted(found)

    def delete(self, name: str) -> None:
        """See `ObjectStore`."""
        path = self._path(name)
        with self._written(name):
            try:
                path.unlink()
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError):
                if path.is_file():
                    raise
                return
            _sync(path.parent)

    @contextmanager
    def _aside(self, path: Path, content: bytes) -> Iterator[Path]:
        """A file beside ``path`` with this content, on disk; gone afterwards unless it was moved."""
        missing = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in missing:
            _sync(folder.parent)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as aside:
            try:
                aside.write(content)
                aside.flush()
                os.fsync(aside.fileno())
                yield Path(aside.name)
            finally:
                Path(aside.name).unlink(missing_ok=True)

    @contextmanager
    def _written(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreUnavailable(
                f"the object could not be written ({error.strerror}).",
                where=name,
                remedy="Check space and rights.",
            ) from error

    @contextmanager
    def _found(self, name: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise not_found(name) from error
        except OSError as error:
            raise StoreUnavailable(
                f"the object could not be read ({error.strerror}).",
                where=name,
                remedy="Check the store's rights.",
            ) from error

    def _path(self, name: str) -> Path:
        path = self._root.joinpath(*checked_name(name).split("/"))
        if not path.resolve().is_relative_to(self._root):
            raise ReferenceRefused(
                "the reference leads out of the store.", where="ecgDataFilePath", remedy="Remove the link."
            )
        return path


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


def _raise(error: OSError) -> None:
    raise error
