"""Drawings as files: SVG, or PNG where the extra for it is installed."""

from pathlib import Path
from typing import Final

from einthoven.errors import InputInvalid
from einthoven.records.files import write_whole

__all__ = ["checked_picture", "write_picture"]

_PNG_DPI: Final = 150


def checked_picture(path: Path | None) -> Path | None:
    """The path, if its ending is of a kind of drawing.

    Raises
    ------
    InputInvalid : it is another.
    """
    if path is not None and path.suffix.lower() not in {".svg", ".png"}:
        raise InputInvalid(
            f"{path.suffix or 'a name without an ending'} is not a kind of drawing.",
            where=str(path),
            remedy="Give a name that ends in .svg or .png.",
        )
    return path


def write_picture(path: Path, svg: str) -> None:
    """Write a drawing as its name's ending says, all of it or nothing.

    Raises
    ------
    InputInvalid : a PNG without the library for it.
    """
    write_whole(path, _png(svg) if path.suffix.lower() == ".png" else svg.encode())


def _png(svg: str) -> bytes:
    try:
        import resvg_py  # noqa: PLC0415 - an extra, wanted by this kind of file alone
    except ImportError:
        raise InputInvalid(
            "a PNG needs a library that is not installed.",
            where="--output",
            remedy="Install einthoven[plot], or give a name that ends in .svg.",
        ) from None
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, dpi=_PNG_DPI))
