"""Indexes of large files, made once in a process: a piece after the other is read of them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final, Generic, TypeVar

__all__ = ["KeptIndexes"]

KEPT_FROM_BYTES: Final = 16 * 2**20
_KEPT: Final = 4
_Index = TypeVar("_Index")


class KeptIndexes(Generic[_Index]):
    """The indexes of the last few files, by path, size, time and number: whoever writes to one changes these.

    Small files are looked at anew each time.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int, int, int], _Index] = {}

    def of(self, path: Path, file: BinaryIO, make: Callable[[], _Index]) -> _Index:
        """The index of an open file."""
        about = os.fstat(file.fileno())
        if about.st_size < KEPT_FROM_BYTES:
            return make()
        key = (str(path), about.st_size, about.st_mtime_ns, about.st_ino)
        found = self._kept.get(key)
        if found is None:
            found = make()
            while len(self._kept) >= _KEPT:
                self._kept.pop(next(iter(self._kept)), None)
            self._kept[key] = found
        return found
