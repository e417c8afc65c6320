"""Files that a command is to write: what is there is replaced only if that was said, and the input never."""

from collections.abc import Iterable
from pathlib import Path

from einthoven.errors import Conflict

__all__ = ["refuse_there"]


def refuse_there(files: Iterable[Path], *, force: bool, inputs: Iterable[Path] = ()) -> None:
    """Nothing happens where the files may be written.

    Parameters
    ----------
    inputs : files that are read; they are never replaced.

    Raises
    ------
    Conflict : one is an input, or is there and ``force`` was not said.
    """
    read = [path.resolve() for path in inputs]
    for path in files:
        if path.resolve() in read:
            raise Conflict("this is what is read.", where=str(path), remedy="Name another file.")
        if path.exists() and not force:
            raise Conflict(
                "the file is there already.", where=str(path), remedy="Name another, or say --force."
            )
