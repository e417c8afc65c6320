"""The file that declares regions, changed by the command line and the running service alike.

It is replaced whole or not at all, by one process at a time; comments and all that is not touched stay.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from einthoven.continuum import (
    Continuum,
    Region,
    drain_region,
    read_continuum,
    remove_region,
    write_region,
)
from einthoven.errors import Conflict, InputInvalid, NotFound

try:
    import fcntl
except ImportError:  # Windows: who changes it last wins
    fcntl = None  # type: ignore[assignment]

__all__ = ["ContinuumFile"]

_EMPTY: Final = "# What exists; see docs/reference/continuum.md.\n"


class ContinuumFile:
    """A `continuum.toml`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Continuum:
        """What it declares.

        Raises
        ------
        NotFound : there is no file.
        InputInvalid : it cannot be read, or declares something wrong.
        """
        return read_continuum(self._text(), self.path.name)

    def stamp(self) -> tuple[int, int, int] | None:
        """What changes with the file; None while there is none."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def add(self, region: Region) -> None:
        """Declare a region, in a file that is made where there is none.

        Raises
        ------
        Conflict : there is one of this name.
        InputInvalid : the file cannot be read.
        """

        def added(text: str) -> str:
            if any(one.name == region.name for one in read_continuum(text, self.path.name).regions):
                raise Conflict(
                    f"there is a region {region.name!r} already.",
                    where=self.path.name,
                    remedy="Remove it first.",
                )
            gap = "" if text.endswith("\n\n") or not text else "\n" if text.endswith("\n") else "\n\n"
            after = f"{text}{gap}{write_region(region)}"
            if read_continuum(after, self.path.name).region(region.name) != region:
                raise InputInvalid(
                    "the region cannot be written.", where=self.path.name, remedy="Add it by hand."
                )
            return after

        self._change(added, or_make=True)

    def drain(self, name: str, *, is_draining: bool = True) -> None:
        """Give a region nothing new, or something again; raises as `drain_region` and `read` do."""
        self._change(lambda text: drain_region(text, name, is_draining=is_draining))

    def remove(self, name: str) -> None:
        """Remove a region; raises as `remove_region` and `read` do."""
        self._change(lambda text: remove_region(text, name))

    def _change(self, change: Callable[[str], str], *, or_make: bool = False) -> None:
        with self._alone():
            text = _EMPTY if or_make and not self.path.exists() else self._text()
            self._write(change(text))

    def _text(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise NotFound(
                "there is no such file.",
                where=str(self.path),
                remedy="Declare a region with `einthoven regions add`.",
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise InputInvalid(f"it cannot be read ({type(error).__name__}).", where=str(self.path)) from None

    def _write(self, text: str) -> None:
        aside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        aside.write_text(text, encoding="utf-8")
        if self.path.exists():
            aside.chmod(self.path.stat().st_mode & 0o777)
        aside.replace(self.path)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process changes the file meanwhile."""
        try:
            lock = os.open(self.path.with_name(f".{self.path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as error:
            raise InputInvalid(
                f"nothing can be written beside it ({type(error).__name__}).", where=str(self.path)
            ) from None
        try:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)
