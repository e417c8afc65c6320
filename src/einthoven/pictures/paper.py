"""ECG paper: 25 mm/s, 10 mm/mV, 1-mm and 5-mm lines, a calibration pulse, and a trace on it."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from einthoven.pictures.svg import INK, MUTED, Svg, element, number

__all__ = ["MM_PER_MV", "MM_PER_S", "Paper", "height_for"]

MM_PER_S: Final = 25.0
MM_PER_MV: Final = 10.0
SHEET: Final = "#fff9f7"
THIN: Final = "#f7d6d0"
THICK: Final = "#eba79d"
PULSE_MM: Final = 7.0
"""Room left of the trace for the calibration pulse: 1 mV, 0.2 s."""
_LEAST_MM, _MOST_MM = 25, 60


def height_for(ecg_mv: NDArray[np.floating]) -> float:
    """Height of the paper that shows a trace, in whole 5-mm squares; 25 to 60 mm."""
    known = ecg_mv[np.isfinite(ecg_mv)]
    if not known.size:
        return float(_LEAST_MM)
    low, high = np.percentile(known, (0.1, 99.9))
    squares = int(np.ceil((high - low) * MM_PER_MV / 5)) + 2
    return float(np.clip(5 * squares, _LEAST_MM, _MOST_MM))


class Paper:
    """A sheet at (``x_mm``, ``y_mm``) of a drawing, on which seconds and millivolts have their places.

    ``name`` must differ between the sheets of a page. 0 mV is put where the trace fits best.
    """

    def __init__(
        self,
        svg: Svg,
        x_mm: float,
        y_mm: float,
        *,
        seconds: float,
        height_mm: float,
        name: str,
        with_pulse: bool = True,
        mm_per_s: float = MM_PER_S,
        mm_per_mv: float = MM_PER_MV,
    ) -> None:
        self.svg = svg
        self.mm_per_s = mm_per_s
        self.mm_per_mv = mm_per_mv
        self.x_mm = x_mm
        self.y_mm = y_mm
        self.left_mm = x_mm + (PULSE_MM if with_pulse else 0.0)
        self.width_mm = (PULSE_MM if with_pulse else 0.0) + seconds * mm_per_s
        self.height_mm = height_mm
        self.bottom_mm = y_mm + height_mm
        self.name = name
        self._with_pulse = with_pulse
        self._draw_sheet()

    def _draw_sheet(self) -> None:
        grid, clip = f"{self.name}-grid", f"{self.name}-clip"
        thin = "".join(f"M{k} 0V5M0 {k}H5" for k in range(1, 5))
        pattern = element(
            "pattern",
            element("path", d=thin, stroke=THIN, stroke_width=0.12, fill="none")
            + element("path", d="M0 0V5M0 0H5", stroke=THICK, stroke_width=0.4, fill="none"),
            id=grid,
            width=5,
            height=5,
            patternUnits="userSpaceOnUse",
            patternTransform=f"translate({number(self.left_mm)} {number(self.y_mm)})",
        )
        box = element("rect", x=self.x_mm, y=self.y_mm, width=self.width_mm, height=self.height_mm)
        self.svg.add(element("defs", pattern + element("clipPath", box, id=clip)))
        for fill in (SHEET, f"url(#{grid})"):
            self.svg.rectangle(self.x_mm, self.y_mm, self.width_mm, self.height_mm, fill)
        self.svg.rectangle(self.x_mm, self.y_mm, self.width_mm, self.height_mm, "none", stroke=THICK)

    def x(self, at_s: float) -> float:
        """Where a second of the strip lies, mm."""
        return self.left_mm + at_s * self.mm_per_s

    def trace(
        self,
        ecg_mv: NDArray[np.floating],
        fs: float,
        *,
        stroke: str = INK,
        first_s: float = 0.0,
        zero_mv: float | None = None,
    ) -> float:
        """Draw a lead from ``first_s`` on; returns the mV that lie in the middle of the sheet."""
        known = ecg_mv[np.isfinite(ecg_mv)]
        if zero_mv is None:
            zero_mv = float(np.percentile(known, (0.1, 99.9)).mean()) if known.size else 0.0
        middle = self.y_mm + self.height_mm / 2
        x_mm = self.left_mm + (first_s + np.arange(ecg_mv.size) / fs) * self.mm_per_s
        y_mm = middle - (ecg_mv.astype(np.float64) - zero_mv) * self.mm_per_mv
        self.svg.curve(x_mm, y_mm, stroke, 0.28, clip=f"{self.name}-clip")
        if self._with_pulse:
            self._draw_pulse(middle + self.mm_per_mv / 2)
        return zero_mv

    def _draw_pulse(self, base: float) -> None:
        left = self.x_mm + 0.6
        width = 0.2 * self.mm_per_s
        x_mm = np.array(
            [left, left + 0.4, left + 0.4, left + 0.4 + width, left + 0.4 + width, left + width + 0.8]
        )
        top = base - self.mm_per_mv
        self.svg.curve(x_mm, np.array([base, base, top, top, base, base]), INK, 0.28)

    def band(self, at_s: float, fill: str, width_s: float = 0.3) -> None:
        """A tinted column, to lead the eye to a beat."""
        left = max(self.left_mm, self.x(at_s - width_s / 2))
        right = min(self.x_mm + self.width_mm, self.x(at_s + width_s / 2))
        self.svg.rectangle(left, self.y_mm, right - left, self.height_mm, fill, opacity=0.16)

    def scale_words(self) -> None:
        """Say the scale in the lower left corner."""
        words = f"{number(self.mm_per_s)} mm/s  {number(self.mm_per_mv)} mm/mV"
        self.svg.text(self.x_mm + 1, self.bottom_mm - 1, words, 2.2, fill=MUTED)
