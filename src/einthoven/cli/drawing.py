"""Pictures made of characters: sparklines and strips."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["braille", "sparkline"]

_BARS: Final = "▁▂▃▄▅▆▇█"
_DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def sparkline(values: NDArray[np.float64], width: int) -> str:
    """The values as one row of bars, averaged into ``width`` columns; a blank where there are none (NaN)."""
    if values.size == 0:
        return ""
    columns = np.array_split(values, min(width, values.size))
    means = np.array([np.nanmean(c) if np.isfinite(c).any() else np.nan for c in columns])
    known = means[np.isfinite(means)]
    if known.size == 0:
        return " " * len(columns)
    low, high = known.min(), known.max()
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((mean - low) * scale)] if np.isfinite(mean) else " " for mean in means)


def braille(samples: NDArray[np.float64], width: int, height: int, low: float, high: float) -> list[str]:
    """A curve in braille dots, ``height`` rows of ``width`` characters; each character is 2 x 4 dots.

    Each column of dots shows the range of its samples, so that no spike is lost.
    """
    dots = np.zeros((4 * height, 2 * width), np.bool_)
    if samples.size:
        edges = np.linspace(0, samples.size, 2 * width + 1).astype(int)
        span = max(high - low, 1e-9)
        for x in range(2 * width):
            piece = samples[max(0, edges[x] - 1) : max(edges[x] + 1, edges[x + 1])]
            piece = piece[np.isfinite(piece)]
            if piece.size == 0:
                continue
            top = (high - piece.max()) / span * (4 * height - 1)
            bottom = (high - piece.min()) / span * (4 * height - 1)
            a, b = (int(np.clip(round(edge), 0, 4 * height - 1)) for edge in (top, bottom))
            dots[a : b + 1, x] = True
    rows = []
    for row in range(height):
        characters = []
        for column in range(width):
            code = 0x2800
            for y in range(4):
                for x in range(2):
                    if dots[4 * row + y, 2 * column + x]:
                        code |= _DOTS[y][x]
            characters.append(chr(code))
        rows.append("".join(characters))
    return rows
