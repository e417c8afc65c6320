"""Objects by name: the seam, and the folder that keeps them by default."""

import os
import re
import tempfile
from pathlib import Path
from typing import Final, Protocol

from einthoven.errors import RecordingNotFound, ReferenceRefused, StoreUnavailable

__all__ = ["FolderStore", "ObjectStore"]

_PART: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_LONGEST: Final = 512


class ObjectStore(Protocol):
    """Whole objects under names like ``patients/7/2026-11-25.ecg``."""

    def put(self, name: str, content: bytes) -> None:
        """Keep an object; when this returns it is on disk, whole."""
        ...

    def get(self, name: str) -> bytes:
        """The object under a name."""
        ...


class FolderStore:
    """Objects as files in one folder, written aside and moved into place."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def put(self, name: str, content: bytes) -> None:
        """See `ObjectStore`.

        Raises
        ------
        ReferenceRefused : the name is not one inside this store.
        StoreUnavailable : the folder did not take it.
        """
        path = self._path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as aside:
                try:
                    aside.write(content)
                    aside.flush()
                    os.fsync(aside.fileno())
                    Path(aside.name).replace(path)
                except BaseException:
                    Path(aside.name).unlink(missing_ok=True)
                    raise
        except OSError as error:
            raise StoreUnavailable(
                f"the object could not be written ({error.strerror}).",
                where=name,
                remedy="Check space and rights.",
            ) from error

    def get(self, name: str) -> bytes:
        """See `ObjectStore`.

        Raises
        ------
        ReferenceRefused : the name is not one inside this store.
        RecordingNotFound : nothing is kept under it.
        StoreUnavailable : the folder did not give it.
        """
        path = self._path(name)
        try:
            return path.read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise RecordingNotFound(
                "no object is kept under this name.", where=name, remedy="Upload it first, or check the path."
            ) from error
        except OSError as error:
            raise StoreUnavailable(
                f"the object could not be read ({error.strerror}).",
                where=name,
                remedy="Check the store's rights.",
            ) from error

    def _path(self, name: str) -> Path:
        parts = name.split("/")
        if not name or len(name) > _LONGEST or not all(_PART.fullmatch(part) for part in parts):
            raise ReferenceRefused(
                "the reference is not a name inside the store.",
                where="ecgDataFilePath",
                remedy="Use letters, digits, '.', '_', '-' and '/', no part beginning with a dot.",
            )
        path = self._root.joinpath(*parts)
        if not path.resolve().is_relative_to(self._root):
            raise ReferenceRefused(
                "the reference leads out of the store.", where="ecgDataFilePath", remedy="Remove the link."
            )
        return path
