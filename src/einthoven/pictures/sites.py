"""The continuum drawn: sites by tier, what joins them, and how full a plan makes all of it."""

from collections.abc import Mapping
from statistics import mean
from typing import Final

import msgspec
import numpy as np

from einthoven.continuum import DIMENSIONS, Continuum, Link, RadioCell, Site, write_quantity
from einthoven.pictures.svg import INK, MUTED, Svg, element, number
from einthoven.placement.offloading.options import (
    compute_resource,
    down_resource,
    link_resource,
    up_resource,
)

__all__ = ["Loads", "draw_continuum", "heat", "link_part"]

_WIDE: Final = 38.0
_HIGH: Final = 15.0
_LINE: Final = 3.4
_GAP: Final = 9.0
_ROW_GAP: Final = 26.0
_LEFT: Final = 20.0
_TOP: Final = 18.0
_NAME: Final = 3.0
_SMALL: Final = 2.4
_LETTER: Final = 1.75
"""Width of a letter of a name, mm, generously."""
_HEAT: Final = ((0.5, "#009e73"), (0.8, "#e69f00"), (0.95, "#d55e00"), (float("inf"), "#c6282b"))
_IDLE: Final = "#9aa3ad"
_FILLS: Final = {"core": "#f3effa", "edge": "#eaf3fb", "local": "#eef6ee", "air": "#ffffff"}


class Loads(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan does to a continuum; empty where none is shown."""

    parts: Mapping[str, float] = {}
    """Given away of each resource, by its name."""
    computed: Mapping[str, int] = {}
    """Requests that each site computes."""
    accepted: Mapping[str, int] = {}
    """Requests of each class that are accepted."""
    title: str = ""


class _Box(msgspec.Struct, frozen=True, kw_only=True):
    """One site or radio cell, with the lines of text in it."""

    name: str
    tier: str
    lines: tuple[str, ...]
    part: float | None
    begins: tuple[tuple[str, bool], ...]
    """What begins there, and whether all of it is accepted."""
    is_stable: bool = True

    @property
    def wide(self) -> float:
        longest = max(1.25 * len(self.name), *(len(one) for one in (*self.lines, *self.names)))
        return max(_WIDE, longest * _LETTER * 0.85 + 4)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.begins)

    @property
    def high(self) -> float:
        return _HIGH + _LINE * (len(self.lines) - 1 + len(self.begins))


def heat(part: float | None) -> str:
    """The colour of something of which this part is given away."""
    if not part:
        return _IDLE
    return next(colour for limit, colour in _HEAT if part < limit)


def link_part(link: Link, parts: Mapping[str, float]) -> float | None:
    """How full the fuller direction of a link is; None without a plan."""
    known = [parts[name] for end in link.between if (name := link_resource(link, end)) in parts]
    return max(known) if known else 0.0 if parts else None


def draw_continuum(continuum: Continuum, loads: Loads | None = None) -> Svg:
    """Draw sites, the core on top, radio cells at the foot; colours say how full a plan makes them."""
    shown = loads or Loads()
    rows = _rows(continuum, shown)
    width = max(_width(row) for row in rows) + _LEFT + _GAP
    tops = [_TOP]
    for row in rows[:-1]:
        tops.append(tops[-1] + max((box.high for box in row), default=0.0) + (_ROW_GAP if row else 0.0))
    svg = Svg(width, tops[-1] + max((box.high for box in rows[-1]), default=0.0) + 10.0)
    svg.rectangle(0, 0, svg.width_mm, svg.height_mm, "#ffffff")
    svg.text(_GAP, 7.0, shown.title or "What there is", 3.8, bold=True)
    if shown.parts:
        _draw_key(svg)
    places: dict[str, tuple[float, float, _Box]] = {}
    for row, top, label in zip(rows, tops, ("core", "edge", "local"), strict=True):
        x = _LEFT + (width - _LEFT - _GAP - _width(row)) / 2
        if row:
            svg.text(4.0, top + 5.0, label, _NAME, fill=MUTED, bold=True)
        for box in row:
            places[box.name] = (x, top, box)
            x += box.wide + _GAP
    for link in continuum.links:
        _draw_link(svg, link, places, shown)
    for cell in continuum.cells:
        _draw_air(svg, places[f"cell {cell.name}"], places[f"site {cell.site}"], shown)
    for x, y, box in places.values():
        _draw_box(svg, x, y, box)
    return svg


def _width(row: list[_Box]) -> float:
    return sum(box.wide for box in row) + _GAP * max(0, len(row) - 1)


def _rows(continuum: Continuum, loads: Loads) -> list[list[_Box]]:
    """Core, edge, and local sites beside radio cells; each row in the order of what it hangs on."""
    boxes = {
        **{f"site {site.name}": _site_box(continuum, site, loads) for site in continuum.sites},
        **{f"cell {cell.name}": _cell_box(continuum, cell, loads) for cell in continuum.cells},
    }
    joined: dict[str, list[str]] = {name: [] for name in boxes}
    for a, b in [
        *((f"site {one.between[0]}", f"site {one.between[1]}") for one in continuum.links),
        *((f"cell {one.name}", f"site {one.site}") for one in continuum.cells),
    ]:
        joined[a].append(b)
        joined[b].append(a)
    edge = [name for name, box in boxes.items() if box.tier == "edge"]
    order = {name: float(place) for place, name in enumerate(edge)}

    def middle(name: str) -> float:
        above = [order[one] for one in joined[name] if one in order]
        return mean(above) if above else len(edge) / 2

    core = sorted((name for name, box in boxes.items() if box.tier == "core"), key=middle)
    below = sorted((name for name, box in boxes.items() if box.tier in ("local", "air")), key=middle)
    return [[boxes[name] for name in row] for row in (core, edge, below)]


def _begins(continuum: Continuum, loads: Loads, **at: str) -> tuple[tuple[str, bool], ...]:
    """The classes of requests that begin at a site, or in a cell."""
    (field, name), *_ = at.items()
    found = []
    for one in continuum.requests:
        if getattr(one, field) != name:
            continue
        accepted = loads.accepted.get(one.name, 0)
        of = f"{accepted} of {one.count}" if loads.parts else f"{one.count}"
        found.append((f"{of} × {one.name}", not loads.parts or accepted == one.count))
    return tuple(found)


def _site_box(continuum: Continuum, site: Site, loads: Loads) -> _Box:
    cycles_per_s = continuum.cycles_per_s(site)
    lines = [_said(cycles_per_s, "compute") if cycles_per_s else "passes on"]
    part = loads.parts.get(compute_resource(site), 0.0) if loads.parts and cycles_per_s else None
    if part is not None:
        lines.append(f"computes {loads.computed.get(site.name, 0)}, {100 * part:.0f} % given")
    if site.capabilities:
        lines.append(" ".join(site.capabilities))
    return _Box(
        name=f"site {site.name}",
        tier=site.tier,
        lines=tuple(lines),
        part=part,
        begins=_begins(continuum, loads, site=site.name),
        is_stable=site.is_stable,
    )


def _cell_box(continuum: Continuum, cell: RadioCell, loads: Loads) -> _Box:
    lines = [f"air, {_said(cell.bandwidth_hz, 'frequency')}"]
    part = None
    if loads.parts:
        part = max(loads.parts.get(name, 0.0) for name in (up_resource(cell), down_resource(cell)))
        lines.append(f"{100 * part:.0f} % given")
    return _Box(
        name=f"cell {cell.name}",
        tier="air",
        lines=tuple(lines),
        part=part,
        begins=_begins(continuum, loads, cell=cell.name),
    )


def _draw_box(svg: Svg, x: float, y: float, box: _Box) -> None:
    edge = heat(box.part)
    dashes = None if box.is_stable else "1.2 0.9"
    svg.add(
        element(
            "rect", x=x, y=y, width=box.wide, height=box.high, rx=6.0 if box.tier == "air" else 1.2,
            fill=_FILLS[box.tier], stroke=edge, stroke_width=0.5 if box.part else 0.25,
            stroke_dasharray=dashes,
        )
    )  # fmt: skip
    middle = x + box.wide / 2
    svg.text(middle, y + 4.8, box.name.split(" ", 1)[1], _NAME, anchor="middle", bold=True)
    below = y + 8.8
    for line in box.lines:
        svg.text(middle, below, line, _SMALL, fill=MUTED, anchor="middle")
        below += _LINE
    if box.part is not None:
        inner = box.wide - 6.0
        svg.rectangle(x + 3.0, below - 1.6, inner, 1.3, "#e6e9ed", rounded=0.6)
        svg.rectangle(x + 3.0, below - 1.6, inner * min(1.0, box.part), 1.3, edge, rounded=0.6)
    below += 2.2
    for words, is_whole in box.begins:
        svg.text(middle, below, words, _SMALL, fill=INK if is_whole else _HEAT[-1][1], anchor="middle")
        below += _LINE


def _draw_link(svg: Svg, link: Link, places: Mapping[str, tuple[float, float, _Box]], loads: Loads) -> None:
    part = link_part(link, loads.parts)
    colour, wide = heat(part), 0.4 + 0.9 * (part or 0.0)
    (ax, ay, a), (bx, by, b) = sorted((places[f"site {end}"] for end in link.between), key=lambda one: one[1])
    words = f"{_said(link.bits_per_s, 'rate')}, {_said(link.latency_s, 'time')}"
    if part is not None:
        words += f", {100 * part:.0f} %"
    if ay == by:
        left, right = (ax, bx) if ax < bx else (bx, ax)
        start, end = left + (a if ax < bx else b).wide * 0.7, right + (b if ax < bx else a).wide * 0.3
        rise = 5.0 + 0.04 * (end - start)
        path = f"M{number(start)} {number(ay)}Q{number((start + end) / 2)} {number(ay - 2 * rise)} "
        path += f"{number(end)} {number(ay)}"
        svg.add(element("path", d=path, fill="none", stroke=colour, stroke_width=wide))
        _label(svg, (start + end) / 2, ay - rise, words)
        return
    start_x, end_x = ax + a.wide / 2, bx + b.wide / 2
    start_x += max(-a.wide / 3, min(a.wide / 3, 0.25 * (end_x - start_x)))
    top, bottom = ay + a.high, by
    svg.curve(np.array([start_x, end_x]), np.array([top, bottom]), colour, wide)
    # Nearer to the lower end, where lines to one upper site are apart.
    _label(svg, start_x + 0.62 * (end_x - start_x), top + 0.62 * (bottom - top), words)


def _draw_air(
    svg: Svg, cell: tuple[float, float, _Box], site: tuple[float, float, _Box], loads: Loads
) -> None:
    (cx, cy, lower), (sx, sy, upper) = cell, site
    part = lower.part if loads.parts else None
    from_x = sx + upper.wide / 2
    to_x = cx + lower.wide / 2
    from_x += max(-upper.wide / 3, min(upper.wide / 3, 0.25 * (to_x - from_x)))
    bottom = sy + upper.high
    xs, ys = np.array([from_x, to_x]), np.array([bottom, cy])
    svg.curve(xs, ys, heat(part), 0.4 + 0.9 * (part or 0.0), dashes="100 120")


def _label(svg: Svg, x: float, y: float, words: str) -> None:
    width = len(words) * 1.28 + 1.5
    svg.rectangle(x - width / 2, y - 2.0, width, 3.2, "#ffffff", opacity=0.88)
    svg.text(x, y + 0.4, words, 2.2, fill=MUTED, anchor="middle")


def _draw_key(svg: Svg) -> None:
    x = _GAP
    for words, part in (("nothing", 0.0), ("below 50 %", 0.1), ("80 %", 0.6), ("95 %", 0.9), ("full", 1.0)):
        svg.rectangle(x, 9.6, 4.0, 2.2, heat(part), rounded=0.4)
        svg.text(x + 5.0, 11.5, words, _SMALL, fill=MUTED)
        x += 9.0 + len(words) * 1.5


def _said(value: float, dimension: str) -> str:
    return write_quantity(float(f"{value:.3g}"), DIMENSIONS[dimension])
