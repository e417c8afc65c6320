"""A patient's views over a span as one drawing: rates, the rhythms' share of the time, what could be read."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.pictures.svg import INK, MUTED, Svg, element
from einthoven.signal.rules import RULES, Kind
from einthoven.views import Field, Tallies, measures

__all__ = ["Drawing", "draw_trend"]

_LEFT: Final = 38.0
_WIDTH: Final = 156.0
_RIGHT: Final = 8.0
_TOP: Final = 12.0
_RATE: Final = 44.0
_LANE: Final = 7.0
_GAP: Final = 5.0
_FOOT: Final = 9.0
_SMALL: Final = 2.6
_LINE: Final = "#dde1e6"
_BAND: Final = "#cfd9ea"
_MEAN: Final = "#1f4e8c"
_PRIORITY: Final = {
    "high": "#c6282b",
    "medium": "#d9822b",
    "low": "#b59a1d",
    "technical": "#7b8794",
    "none": "#7b8794",
}
_GRADES: Final = (
    (Field.CLEAR_S, "#8cbf9f", "all waves"),
    (Field.QRS_ONLY_S, "#e8c468", "QRS only"),
    (Field.UNREADABLE_S, "#c9737a", "unreadable"),
)
_RATES: Final = (20, 30, 40, 60, 80, 100, 150, 200, 300)
_STEPS_MIN: Final = (
    5,
    15,
    60,
    180,
    360,
    720,
    1440,
    2880,
    7 * 1440,
    14 * 1440,
    30 * 1440,
    61 * 1440,
    122 * 1440,
)
_TICKS: Final = 9
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Drawing(msgspec.Struct, frozen=True, eq=False):
    """What is drawn."""

    title: str
    tallies: Tallies
    first: int
    """Minutes since 1970, UTC."""
    last: int
    burden_ms: Mapping[Kind, NDArray[np.int64]]


def draw_trend(drawing: Drawing) -> Svg:
    """Draw the views of a span; a bucket without anything stays empty."""
    kinds = _kinds(drawing)
    height = _TOP + _RATE + _GAP + (len(kinds) + 1) * (_LANE + 1.5) + _FOOT
    svg = Svg(_LEFT + _WIDTH + _RIGHT, height)
    svg.rectangle(0, 0, svg.width_mm, svg.height_mm, "#ffffff")
    svg.text(_LEFT, 6.5, drawing.title, 3.8, bold=True)
    _draw_rates(svg, drawing, _TOP)
    y = _TOP + _RATE + _GAP
    width_ms = 60_000.0 * drawing.tallies.width
    for kind in kinds:
        share = drawing.burden_ms[kind] / width_ms
        _draw_lane(svg, drawing, y, kind.replace("_", " "), [(share, _PRIORITY[RULES[kind].priority])])
        y += _LANE + 1.5
    seconds = 60.0 * drawing.tallies.width
    _draw_lane(
        svg,
        drawing,
        y,
        "readable",
        [(drawing.tallies.column(field) / seconds, colour) for field, colour, _ in _GRADES],
    )
    _draw_key(svg, 6.5)
    _draw_axis(svg, drawing, _TOP, y + _LANE)
    return svg


def _kinds(drawing: Drawing) -> list[Kind]:
    """The most urgent first."""
    order = list(_PRIORITY)
    return sorted(drawing.burden_ms, key=lambda kind: (order.index(RULES[kind].priority), kind))


def _x(drawing: Drawing, minute: NDArray[np.int64] | int) -> NDArray[np.float64]:
    share = (np.asarray(minute) - drawing.first) / (drawing.last - drawing.first)
    return np.asarray(_LEFT + _WIDTH * share, np.float64)


def _draw_rates(svg: Svg, drawing: Drawing, top: float) -> None:
    said = measures(drawing.tallies)
    known = np.concatenate([said.heart_rate_min, said.heart_rate_max, said.heart_rate_mean])
    known = known[np.isfinite(known)]
    low = max((one for one in _RATES if not known.size or one <= known.min()), default=_RATES[0])
    high = min((one for one in _RATES if not known.size or one >= known.max()), default=_RATES[-1])
    low, high = (40, 100) if not known.size else (low, max(high, low + 1))

    def y(rate: NDArray[np.float64] | float) -> NDArray[np.float64]:
        share = (np.log(rate) - np.log(low)) / (np.log(high) - np.log(low))
        return np.asarray(top + _RATE * (1 - np.clip(share, 0, 1)))

    for rate in (one for one in _RATES if low <= one <= high):
        svg.line(_LEFT, float(y(rate)), _LEFT + _WIDTH, float(y(rate)), _LINE)
        svg.text(_LEFT - 1.5, float(y(rate)) + 0.9, str(rate), _SMALL, fill=MUTED, anchor="end")
    svg.text(_LEFT - 9, top + 0.9, "beats/min", _SMALL, fill=MUTED, anchor="end")
    starts = drawing.tallies.starts
    left, right = _x(drawing, starts), _x(drawing, starts + drawing.tallies.width)
    least, most = y(said.heart_rate_min), y(said.heart_rate_max)
    bars = "".join(
        f"M{a:.2f} {low_y:.2f}H{b:.2f}V{high_y:.2f}H{a:.2f}z"
        for a, b, low_y, high_y in zip(left, right, least, most, strict=True)
        if np.isfinite(low_y) and np.isfinite(high_y)
    )
    if bars:
        svg.add(element("path", d=bars, fill=_BAND))
    apart = np.flatnonzero(np.diff(starts) > drawing.tallies.width) + 1
    middle = np.insert((left + right) / 2, apart, np.nan)
    svg.curve(middle, np.insert(y(said.heart_rate_mean), apart, np.nan), _MEAN, 0.35)


def _draw_lane(
    svg: Svg, drawing: Drawing, top: float, name: str, layers: list[tuple[NDArray[np.float64], str]]
) -> None:
    """Shares of each bucket's time, one above the other."""
    svg.rectangle(_LEFT, top, _WIDTH, _LANE, "#f5f6f8")
    svg.text(_LEFT - 1.5, top + _LANE / 2 + 0.9, name, _SMALL, anchor="end")
    starts = drawing.tallies.starts
    left, right = _x(drawing, starts), _x(drawing, starts + drawing.tallies.width)
    below = np.zeros(starts.size)
    for share, colour in layers:
        above = np.clip(below + share, 0, 1)
        bars = "".join(
            f"M{a:.2f} {top + _LANE * (1 - low):.2f}H{b:.2f}V{top + _LANE * (1 - high):.2f}H{a:.2f}z"
            for a, b, low, high in zip(left, right, below, above, strict=True)
            if high > low
        )
        if bars:
            svg.add(element("path", d=bars, fill=colour))
        below = above


def _draw_key(svg: Svg, y: float) -> None:
    x = _LEFT + _WIDTH
    for _, colour, words in reversed(_GRADES):
        svg.text(x, y, words, _SMALL, fill=MUTED, anchor="end")
        x -= 1.45 * len(words) + 3
        svg.rectangle(x, y - 2, 2, 2, colour)
        x -= 3


def _draw_axis(svg: Svg, drawing: Drawing, top: float, bottom: float) -> None:
    span = drawing.last - drawing.first
    step = next((one for one in _STEPS_MIN if span / one <= _TICKS), _STEPS_MIN[-1])
    for minute in range(-(-drawing.first // step) * step, drawing.last + 1, step):
        x = float(_x(drawing, minute))
        svg.line(x, top, x, bottom, _LINE)
        moment = _EPOCH + timedelta(minutes=minute)
        words = f"{moment:%d %b}" if step >= 1440 or not minute % 1440 else f"{moment:%H:%M}"
        svg.text(x, bottom + 4, words, _SMALL, fill=INK, anchor="middle")
    year = _EPOCH + timedelta(minutes=drawing.first)
    svg.text(_LEFT - 9, bottom + 4, f"UTC, {year:%Y}", _SMALL, fill=MUTED, anchor="end")
