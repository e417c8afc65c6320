"""The seam to the file system: every failure leaves here as a typed error."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from einthoven.errors import RecordingNotFound, RecordingUnreadable, ReferenceRefused

__all__ = [
    "MAX_TEXT_BYTES",
    "beside",
    "open_file",
    "read_exactly",
    "read_span",
    "read_text",
    "replacing",
    "size_of",
    "write_whole",
]

MAX_TEXT_BYTES: Final = 4 * 2**20
"""Longest header that is read."""


def open_file(path: Path) -> BinaryIO:
    """A regular file, open for reading.

    Raises
    ------
    RecordingNotFound : no such file.
    RecordingUnreadable : a folder, a device, or no right to read it.
    """
    try:
        if path.exists() and not path.is_file():
            raise RecordingUnreadable(
                "this is not a regular file.", where=str(path), remedy="Name a recording's file."
            )
        return path.open("rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RecordingNotFound(
            "there is no such file.",
            where=str(path),
            remedy="Check the path; a WFDB record is named by its stem.",
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "the name is not one of a file"
        raise RecordingUnreadable(
            f"the file cannot be opened ({reason}).", where=str(path), remedy="Check its name and rights."
        ) from error


def read_span(file: BinaryIO, start: int, size: int, where: str) -> bytes:
    """``size`` bytes from ``start`` on; fewer at the end of the file."""
    try:
        file.seek(start)
        return file.read(size)
    except (OSError, OverflowError, ValueError) as error:
        raise RecordingUnreadable(
            "the file cannot be read.", where=where, remedy="Check the disk, and that it was not closed."
        ) from error


def read_exactly(file: BinaryIO, start: int, size: int, where: str, least: int | None = None) -> bytes:
    """``size`` bytes from ``start`` on, of a file that was long enough when it was opened.

    Where ``least`` is given, the file may end after so many.

    Raises
    ------
    RecordingUnreadable : it has become shorter.
    """
    content = read_span(file, start, size, where)
    needed = size if least is None else least
    if len(content) < needed:
        raise RecordingUnreadable(
            f"the file became shorter while it was read: {len(content)} bytes where {needed} were.",
            where=where,
            remedy="Open it again when nothing writes to it.",
        )
    return content


def size_of(file: BinaryIO, where: str) -> int:
    """Length of an open file, bytes."""
    try:
        return file.seek(0, os.SEEK_END)
    except (OSError, ValueError) as error:
        raise RecordingUnreadable(
            "the file cannot be read.", where=where, remedy="Check the disk, and that it was not closed."
        ) from error


def read_text(path: Path) -> str:
    """A small text file, whole.

    Raises
    ------
    RecordingUnreadable : too long, or not text.
    """
    with open_file(path) as file:
        content = read_span(file, 0, MAX_TEXT_BYTES + 1, str(path))
    if len(content) > MAX_TEXT_BYTES:
        raise RecordingUnreadable(
            f"the header is longer than {MAX_TEXT_BYTES} bytes.",
            where=str(path),
            remedy="Is it a header at all?",
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecordingUnreadable(
            f"the header is not text (byte {error.start}).", where=str(path), remedy="Is it a header at all?"
        ) from error


def beside(header: Path, name: str) -> Path:
    """The file called ``name`` in the folder of a header, and nowhere else.

    Raises
    ------
    ReferenceRefused : the name has a folder, or is not a name.
    """
    if not name or name in {".", ".."} or any(c in name for c in "/\\\0") or len(name) > 255:
        raise ReferenceRefused(
            "the header refers to a file outside its own folder.",
            where=str(header),
            remedy="Signal files lie beside their header; edit the header if you trust it.",
        )
    return header.parent / name


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file beside ``path`` to write to, moved into its place if nothing is raised, else removed.

    Raises
    ------
    RecordingUnreadable : the folder or the disk does not take it.
    """
    aside = path.parent / f".{secrets.token_hex(8)}"
    try:
        file = aside.open("xb")  # a temporary file would be readable by nobody else
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from error
    try:
        with file:
            yield file
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise _unwritable(path, error) from error
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def _unwritable(path: Path, error: Exception) -> RecordingUnreadable:
    reason = getattr(error, "strerror", None) or "the name is not one of a file"
    return RecordingUnreadable(
        f"the file cannot be written ({reason}).",
        where=str(path),
        remedy="Check the folder, its rights and its free space.",
    )


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all; raises as `replacing` does."""
    with replacing(path) as file:
        file.write(content)
