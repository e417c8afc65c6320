"""SVG as text, in millimetres: a drawing is a list of elements, and prints at its true size."""

import re
from typing import Final
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import NDArray

__all__ = ["FONT", "INK", "MUTED", "Svg", "element", "number"]

FONT: Final = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
INK: Final = "#1b1f24"
MUTED: Final = "#5b6470"


def number(value: float) -> str:
    """A coordinate with at most two decimals."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def element(tag: str, content: str = "", **attributes: str | float | None) -> str:
    """One element; underscores in attribute names become hyphens, None leaves one out."""
    words = [
        f" {name.rstrip('_').replace('_', '-')}="
        + quoteattr(number(value) if isinstance(value, int | float) else value)
        for name, value in attributes.items()
        if value is not None
    ]
    return f"<{tag}{''.join(words)}>{content}</{tag}>" if content else f"<{tag}{''.join(words)}/>"


_UNWRITABLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""What XML cannot carry, escaped or not."""


def _written(words: str) -> str:
    return escape(_UNWRITABLE.sub("\ufffd", words))


class Svg:
    """A drawing that grows; lengths are millimetres from the top left."""

    def __init__(self, width_mm: float, height_mm: float) -> None:
        self.width_mm = width_mm
        self.height_mm = height_mm
        self._parts: list[str] = []

    def add(self, part: str) -> None:
        """An element as text."""
        self._parts.append(part)

    def rectangle(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: str,
        *,
        stroke: str | None = None,
        rounded: float | None = None,
        opacity: float | None = None,
    ) -> None:
        """A filled box."""
        self.add(
            element(
                "rect",
                x=x,
                y=y,
                width=max(width, 0),
                height=max(height, 0),
                fill=fill,
                stroke=stroke,
                stroke_width=None if stroke is None else 0.2,
                rx=rounded,
                fill_opacity=opacity,
            )
        )

    def line(
        self, x1: float, y1: float, x2: float, y2: float, stroke: str = MUTED, width: float = 0.2
    ) -> None:
        """A straight line."""
        self.add(element("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=stroke, stroke_width=width))

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: float = 3.0,
        *,
        fill: str = INK,
        anchor: str | None = None,
        bold: bool = False,
    ) -> None:
        """Words whose baseline begins, or with ``anchor`` is centred or ends, at a point."""
        self.add(
            element(
                "text",
                _written(words),
                x=x,
                y=y,
                font_size=size,
                fill=fill,
                text_anchor=anchor,
                font_weight="bold" if bold else None,
            )
        )

    def curve(
        self,
        x_mm: NDArray[np.float64],
        y_mm: NDArray[np.float64],
        stroke: str = INK,
        width: float = 0.3,
        *,
        clip: str | None = None,
        dashes: str | None = None,
        opacity: float | None = None,
    ) -> None:
        """A line through points, to a hundredth of a millimetre; NaN leaves a gap."""
        known = np.isfinite(x_mm) & np.isfinite(y_mm)
        edges = np.flatnonzero(np.diff(np.concatenate(([0], known.astype(np.int8), [0]))))
        words = []
        for begin, end in edges.reshape(-1, 2):
            x = np.rint(100 * x_mm[begin:end]).astype(np.int64)
            y = np.rint(100 * y_mm[begin:end]).astype(np.int64)
            steps = " ".join(f"{dx} {dy}" for dx, dy in zip(np.diff(x), np.diff(y), strict=True))
            words.append(f"M{x[0]} {y[0]}" + (f"l{steps}" if steps else "l0 0"))
        if not words:
            return
        path = element(
            "path",
            d="".join(words),
            transform="scale(.01)",
            fill="none",
            stroke=stroke,
            stroke_width=100 * width,
            stroke_linejoin="round",
            stroke_linecap="round",
            stroke_dasharray=dashes,
            stroke_opacity=opacity,
        )
        self.add(element("g", path, clip_path=None if clip is None else f"url(#{clip})"))

    def put(self, other: "Svg", x: float, y: float) -> None:
        """Another drawing as a part of this one, its top left at a point."""
        moved = f"translate({number(x)} {number(y)})"
        self.add(element("g", "".join(other._parts), transform=moved))

    def inner(self, title: str) -> str:
        """The ``svg`` element, for a page."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{number(self.width_mm)}mm" '
            f'height="{number(self.height_mm)}mm" '
            f'viewBox="0 0 {number(self.width_mm)} {number(self.height_mm)}" role="img" '
            f'font-family="{FONT}"><title>{_written(title)}</title>{"".join(self._parts)}</svg>'
        )

    def file(self, title: str) -> str:
        """The whole content of an SVG file."""
        return f'<?xml version="1.0" encoding="UTF-8"?>\n{self.inner(title)}\n'
