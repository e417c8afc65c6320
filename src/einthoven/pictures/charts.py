"""Charts: lines and bars with axes, in colours that most people can tell apart (Okabe and Ito, 2008)."""

import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import Final

import msgspec
import numpy as np

from einthoven.pictures.svg import INK, MUTED, Svg, element, number

__all__ = ["COLOURS", "Bars", "Chart", "Line", "draw_bars", "draw_lines"]

COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_LEFT: Final = 17.0
_RIGHT: Final = 6.0
_TOP: Final = 15.0
_FOOT: Final = 14.0
_SMALL: Final = 2.7
_GRID: Final = "#e6e9ed"
_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_MARKS: Final = ("circle", "square", "diamond", "triangle")


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """What every chart says."""

    title: str
    x: str
    """Of the axis, with its unit."""
    y: str
    subtitle: str = ""
    width_mm: float = 150.0
    height_mm: float = 90.0


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line; NaN leaves a gap."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    is_dashed: bool = False
    """For what others have published."""
    is_joined: bool = True
    """False: marks alone."""
    colour: int | None = None
    """Which of COLOURS; None: the next."""
    within: Sequence[float] = ()
    """How far each value may be off, up and down; none: not shown."""


class Bars(msgspec.Struct, frozen=True, kw_only=True):
    """One series of bars; NaN leaves one out."""

    name: str
    values: Sequence[float]
    is_hollow: bool = False
    """For what others have published."""
    colour: int | None = None


class _Axes:
    """Where values lie on the sheet."""

    def __init__(
        self, svg: Svg, chart: Chart, y_most: float, x_least: float, x_most: float, keys: int
    ) -> None:
        self.svg = svg
        self.left = _LEFT
        self.right = chart.width_mm - _RIGHT
        self.top = _TOP + 4.5 * math.ceil(keys / 3)
        self.bottom = chart.height_mm - _FOOT
        self.ticks = _ticks(y_most)
        self._y_most = self.ticks[-1]
        self._x_least, self._x_most = x_least, x_most

    def x(self, value: float) -> float:
        span = (self._x_most - self._x_least) or 1.0
        return self.left + (value - self._x_least) / span * (self.right - self.left)

    def y(self, value: float) -> float:
        return self.bottom - value / self._y_most * (self.bottom - self.top)


def _ticks(most: float) -> list[float]:
    """Round values from 0 to the first that is not below ``most``."""
    if not (math.isfinite(most) and most > 0):
        most = 1.0
    raw = most / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(one * power for one in _STEPS if one * power >= raw * (1 - 1e-9))
    return [step * n for n in range(math.ceil(most / step - 1e-9) + 1)]


def _said(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:g}"


def _most(rows: Sequence[Sequence[float]]) -> float:
    known = [value for row in rows for value in row if math.isfinite(value)]
    return max(known, default=1.0)


def _reached(line: Line) -> list[float]:
    """Values with how far they may be off."""
    offs = [off if math.isfinite(off) else 0.0 for off in line.within]
    return [value + off for value, off in zip_longest(line.y, offs, fillvalue=0.0)]


def _sheet(chart: Chart) -> Svg:
    svg = Svg(chart.width_mm, chart.height_mm)
    svg.rectangle(0, 0, svg.width_mm, svg.height_mm, "#ffffff")
    svg.text(_LEFT, 6.5, chart.title, 3.8, bold=True)
    if chart.subtitle:
        svg.text(_LEFT, 11.0, chart.subtitle, _SMALL, fill=MUTED)
    return svg


def _draw_frame(axes: _Axes, chart: Chart) -> None:
    svg = axes.svg
    for tick in axes.ticks:
        y = axes.y(tick)
        svg.line(axes.left, y, axes.right, y, _GRID if tick else MUTED, 0.2)
        svg.text(axes.left - 1.5, y + 0.9, _said(round(tick, 9)), _SMALL, fill=MUTED, anchor="end")
    middle = (axes.left + axes.right) / 2
    svg.text(middle, chart.height_mm - 3, chart.x, _SMALL, fill=INK, anchor="middle")
    y = (axes.top + axes.bottom) / 2
    turned = element(
        "text",
        _escaped(chart.y),
        x=4.5,
        y=y,
        font_size=_SMALL,
        fill=INK,
        text_anchor="middle",
        transform=f"rotate(-90 4.5 {number(y)})",
    )
    svg.add(turned)


def _escaped(words: str) -> str:
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _place(number_: int, chart: Chart) -> tuple[float, float]:
    """Where the key of a series stands: three in a row."""
    row, column = divmod(number_, 3)
    return _LEFT + column * (chart.width_mm - _LEFT - _RIGHT) / 3, 15.5 + 4.5 * row


def _mark(svg: Svg, kind: str, x: float, y: float, colour: str, *, is_hollow: bool) -> None:
    fill, size = ("#ffffff" if is_hollow else colour), 0.95
    points = {
        "square": ((-1, -1), (1, -1), (1, 1), (-1, 1)),
        "diamond": ((0, -1.35), (1.35, 0), (0, 1.35), (-1.35, 0)),
        "triangle": ((0, -1.3), (1.25, 0.95), (-1.25, 0.95)),
    }.get(kind)
    if points is None:
        svg.add(element("circle", cx=x, cy=y, r=size, fill=fill, stroke=colour, stroke_width=0.35))
        return
    path = "M" + "L".join(f"{number(x + size * dx)} {number(y + size * dy)}" for dx, dy in points) + "Z"
    svg.add(element("path", d=path, fill=fill, stroke=colour, stroke_width=0.35))


def draw_lines(chart: Chart, lines: Sequence[Line], *, x_from_zero: bool = True) -> Svg:
    """Lines over a number; both axes are linear, y from 0."""
    xs = [value for line in lines for value in line.x]
    low = 0.0 if x_from_zero else min(xs, default=0.0)
    svg = _sheet(chart)
    most = 1.03 * _most([_reached(line) for line in lines])
    axes = _Axes(svg, chart, most, low, max(xs, default=1.0), len(lines))
    _draw_frame(axes, chart)
    for tick in _ticks(max(xs, default=1.0)):
        if low <= tick <= max(xs, default=1.0) * 1.0001:
            x = axes.x(tick)
            svg.line(x, axes.bottom, x, axes.bottom + 1, MUTED, 0.2)
            words = _said(round(tick, 9))
            svg.text(x, axes.bottom + 4, words, _SMALL, fill=MUTED, anchor="middle")
    for position, line in enumerate(lines):
        which = position if line.colour is None else line.colour
        colour, kind = COLOURS[which % len(COLOURS)], _MARKS[which % len(_MARKS)]
        xs_mm = np.array([axes.x(value) for value in line.x])
        ys_mm = np.array([axes.y(value) for value in line.y])
        if line.is_joined:
            dashes = "120 90" if line.is_dashed else None
            svg.curve(xs_mm, ys_mm, colour, 0.5, dashes=dashes)
        for at_x, value, off in zip(xs_mm.tolist(), line.y, line.within, strict=False):
            if math.isfinite(value) and math.isfinite(off):
                svg.line(at_x, axes.y(max(0.0, value - off)), at_x, axes.y(value + off), colour, 0.25)
        for at_x, at_y in zip(xs_mm.tolist(), ys_mm.tolist(), strict=True):
            if math.isfinite(at_y):
                _mark(svg, kind, at_x, at_y, colour, is_hollow=line.is_dashed)
        at_x, at_y = _place(position, chart)
        if line.is_joined:
            dashes = "120 90" if line.is_dashed else None
            svg.curve(np.array([at_x, at_x + 6]), np.array([at_y, at_y]), colour, 0.5, dashes=dashes)
        _mark(svg, kind, at_x + 3, at_y, colour, is_hollow=line.is_dashed)
        svg.text(at_x + 7.5, at_y + 0.9, line.name, _SMALL)
    return svg


def draw_bars(chart: Chart, names: Sequence[str], series: Sequence[Bars]) -> Svg:
    """Groups of bars, a group for each name, each bar with its value."""
    svg = _sheet(chart)
    most = 1.08 * _most([one.values for one in series])
    axes = _Axes(svg, chart, most, 0.0, float(len(names)), len(series))
    _draw_frame(axes, chart)
    wide = 0.78 / max(1, len(series))
    for position, one in enumerate(series):
        colour = COLOURS[(position if one.colour is None else one.colour) % len(COLOURS)]
        for group, value in enumerate(one.values):
            if not math.isfinite(value):
                continue
            left = axes.x(group + 0.11 + position * wide)
            width = axes.x(wide) - axes.x(0) - 0.4
            y = axes.y(value)
            fill = "#ffffff" if one.is_hollow else colour
            svg.rectangle(left, y, width, axes.bottom - y, fill, stroke=colour, rounded=0.4)
            words = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
            svg.text(left + width / 2, y - 0.9, words, 2.3, fill=INK, anchor="middle")
        at_x, at_y = _place(position, chart)
        fill = "#ffffff" if one.is_hollow else colour
        svg.rectangle(at_x + 2, at_y - 1.2, 4, 2.4, fill, stroke=colour, rounded=0.4)
        svg.text(at_x + 7.5, at_y + 0.9, one.name, _SMALL)
    for group, name in enumerate(names):
        svg.text(axes.x(group + 0.5), axes.bottom + 4, name, _SMALL, fill=INK, anchor="middle")
    return svg
