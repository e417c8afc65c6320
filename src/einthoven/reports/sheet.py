"""Pages of a PDF, drawn in millimetres from the top left, as pictures are; true to scale on paper.

The file is the same whenever it is made of the same: no clock, no random identifier.
"""

import bisect
import io
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from einthoven.errors import InputInvalid
from einthoven.pictures.paper import MM_PER_MV, MM_PER_S, SHEET, THICK, THIN
from einthoven.pictures.svg import INK, MUTED

__all__ = ["HEIGHT_MM", "WIDTH_MM", "Sheet"]

WIDTH_MM: Final = 210.0
HEIGHT_MM: Final = 297.0
_POINTS: Final = 72.0 / 25.4
_FONTS: Final = {False: "Helvetica", True: "Helvetica-Bold"}


class Sheet:
    """A document that grows page by page.

    Parameters
    ----------
    title : of the document.
    subject : kept in the file for programs: what kind of report it is, its state and version.

    Raises
    ------
    InputInvalid : reportlab is not installed.
    """

    def __init__(self, title: str, subject: str) -> None:
        try:
            from reportlab.pdfgen.canvas import Canvas  # noqa: PLC0415 - an extra
        except ImportError:
            raise InputInvalid(
                "reportlab is not installed.", where="einthoven", remedy="pip install 'einthoven[report]'"
            ) from None
        self._content = io.BytesIO()
        size = (WIDTH_MM * _POINTS, HEIGHT_MM * _POINTS)
        self._canvas: Any = Canvas(self._content, pagesize=size, pageCompression=1, invariant=1)
        self._canvas.setTitle(title)
        self._canvas.setSubject(subject)
        self._canvas.setCreator("Einthoven")
        self._canvas.setAuthor("")

    def finished(self) -> bytes:
        """The file; nothing can be drawn any more."""
        self._canvas.save()
        return self._content.getvalue()

    def turn(self) -> None:
        """End this page."""
        self._canvas.showPage()

    def chapter(self, title: str, key: str) -> None:
        """Make this page one that a reader can jump to."""
        self._canvas.bookmarkPage(key)
        self._canvas.addOutlineEntry(title, key)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: float = 3.2,
        *,
        fill: str = INK,
        anchor: str = "start",
        bold: bool = False,
    ) -> None:
        """Words whose baseline begins, ends or is centred at a point; size in mm."""
        self._canvas.setFont(_FONTS[bold], size * _POINTS)
        self._canvas.setFillColor(_colour(fill))
        put = {"start": "drawString", "middle": "drawCentredString", "end": "drawRightString"}[anchor]
        getattr(self._canvas, put)(x * _POINTS, self._y(y), printable(words))

    def width_of(self, words: str, size: float, *, bold: bool = False) -> float:
        """How wide words are, mm."""
        width: float = self._canvas.stringWidth(printable(words), _FONTS[bold], size * _POINTS)
        return width / _POINTS

    def wrapped(self, words: str, width_mm: float, size: float) -> list[str]:
        """Words in lines that are no wider; a word that is wider is cut."""
        lines: list[str] = []
        for paragraph in words.expandtabs(4).splitlines():
            line = ""
            for word in paragraph.split(" "):
                tried = f"{line} {word}" if line else word
                if line and self.width_of(tried, size) > width_mm:
                    lines.append(line)
                    tried = word
                while self.width_of(tried, size) > width_mm and len(tried) > 1:
                    fits = self._fitting(tried, width_mm, size)
                    lines.append(tried[:fits])
                    tried = tried[fits:]
                line = tried
            lines.append(line)
        return lines

    def _fitting(self, word: str, width_mm: float, size: float) -> int:
        """How many of its letters are no wider; one at least."""
        most = 1
        while most < len(word) and self.width_of(word[:most], size) <= width_mm:
            most = min(2 * most, len(word))
        counts = range(1, most + 1)
        return max(1, bisect.bisect_right(counts, width_mm, key=lambda n: self.width_of(word[:n], size)))

    def line(
        self, x1: float, y1: float, x2: float, y2: float, stroke: str = MUTED, width: float = 0.2
    ) -> None:
        """A straight line."""
        self._canvas.setStrokeColor(_colour(stroke))
        self._canvas.setLineWidth(width * _POINTS)
        self._canvas.line(x1 * _POINTS, self._y(y1), x2 * _POINTS, self._y(y2))

    def rectangle(
        self, x: float, y: float, width: float, height: float, fill: str | None, *, stroke: str | None = None
    ) -> None:
        """A box from its top left corner."""
        if fill is not None:
            self._canvas.setFillColor(_colour(fill))
        if stroke is not None:
            self._canvas.setStrokeColor(_colour(stroke))
            self._canvas.setLineWidth(0.2 * _POINTS)
        self._canvas.rect(
            x * _POINTS,
            self._y(y + height),
            width * _POINTS,
            height * _POINTS,
            stroke=int(stroke is not None),
            fill=int(fill is not None),
        )

    def curve(
        self, x_mm: NDArray[np.floating], y_mm: NDArray[np.floating], stroke: str = INK, width: float = 0.3
    ) -> None:
        """A line through points; NaN leaves a gap."""
        known = np.isfinite(x_mm) & np.isfinite(y_mm)
        edges = np.flatnonzero(np.diff(np.concatenate(([0], known.astype(np.int8), [0]))))
        self._canvas.setStrokeColor(_colour(stroke))
        self._canvas.setLineWidth(width * _POINTS)
        self._canvas.setLineJoin(1)
        self._canvas.setLineCap(1)
        x, y = (x_mm * _POINTS).tolist(), ((HEIGHT_MM - y_mm) * _POINTS).tolist()
        path = self._canvas.beginPath()
        for begin, end in edges.reshape(-1, 2).tolist():
            path.moveTo(x[begin], y[begin])
            for k in range(begin + 1, end):
                path.lineTo(x[k], y[k])
        self._canvas.drawPath(path)

    def area(
        self,
        x_mm: NDArray[np.floating],
        low_mm: NDArray[np.floating],
        high_mm: NDArray[np.floating],
        fill: str,
    ) -> None:
        """What lies between two curves of finite points."""
        path = self._canvas.beginPath()
        x = np.concatenate((x_mm, x_mm[::-1])) * _POINTS
        y = (HEIGHT_MM - np.concatenate((low_mm, high_mm[::-1]))) * _POINTS
        path.moveTo(x[0], y[0])
        for one, other in zip(x[1:].tolist(), y[1:].tolist(), strict=True):
            path.lineTo(one, other)
        path.close()
        self._canvas.setFillColor(_colour(fill))
        self._canvas.drawPath(path, stroke=0, fill=1)

    def paper(self, x: float, y: float, width: float, height: float) -> None:
        """ECG paper: 1-mm and 5-mm lines. The file has one of each size, and refers to it."""
        name = f"paper-{width:g}-{height:g}"
        if not self._canvas.hasForm(name):
            self._canvas.beginForm(name, 0, 0, width * _POINTS, height * _POINTS)
            self._canvas.setFillColor(_colour(SHEET))
            self._canvas.rect(0, 0, width * _POINTS, height * _POINTS, stroke=0, fill=1)
            for step, stroke, thick in ((1, THIN, 0.1), (5, THICK, 0.2)):
                path = self._canvas.beginPath()
                for k in range(0, int(width) + 1, step):
                    path.moveTo(k * _POINTS, 0)
                    path.lineTo(k * _POINTS, height * _POINTS)
                for k in range(0, int(height) + 1, step):
                    path.moveTo(0, k * _POINTS)
                    path.lineTo(width * _POINTS, k * _POINTS)
                self._canvas.setStrokeColor(_colour(stroke))
                self._canvas.setLineWidth(thick * _POINTS)
                self._canvas.drawPath(path)
            self._canvas.endForm()
        self._canvas.saveState()
        self._canvas.translate(x * _POINTS, self._y(y + height))
        self._canvas.doForm(name)
        self._canvas.restoreState()

    def trace(
        self, x: float, y: float, width: float, height: float, ecg_mv: NDArray[np.floating], fs: float
    ) -> None:
        """A lead at 25 mm/s and 10 mm/mV, its middle in the middle of the box, cut off where that ends."""
        known = ecg_mv[np.isfinite(ecg_mv)]
        middle_mv = float(np.percentile(known, (0.5, 99.5)).mean()) if known.size else 0.0
        x_mm = x + np.arange(ecg_mv.size) / fs * MM_PER_S
        y_mm = y + height / 2 - (ecg_mv.astype(np.float64) - middle_mv) * MM_PER_MV
        self._canvas.saveState()
        box = self._canvas.beginPath()
        box.rect(x * _POINTS, self._y(y + height), width * _POINTS, height * _POINTS)
        self._canvas.clipPath(box, stroke=0, fill=0)
        self.curve(x_mm, y_mm, INK, 0.25)
        self._canvas.restoreState()

    def _y(self, y: float) -> float:
        return (HEIGHT_MM - y) * _POINTS


def _colour(code: str) -> Any:
    from reportlab.lib.colors import HexColor  # noqa: PLC0415 - an extra

    return HexColor(code)


def printable(words: str) -> str:
    """In the fonts that every PDF reader has; what these have not becomes a question mark."""
    kept = words.encode("cp1252", "replace").decode("cp1252")
    return "".join(one if one.isprintable() else "?" for one in kept)
