"""A workflow as nested boxes: downwards what runs one after the other, beside each other what does not."""

from collections.abc import Mapping
from typing import Final

import msgspec

from einthoven.pictures.svg import INK, MUTED, Svg
from einthoven.workflow.drawing import Drawn

__all__ = ["Performed", "Progress", "draw_workflow", "what_it_took"]


class Performed(msgspec.Struct, frozen=True):
    """What a run has performed of a function."""

    done: int = 0
    failed: int = 0
    took_s: float = 0.0
    """All its invocations together; a fused invocation counts for its last function."""
    bytes: int = 0
    """Given by them."""


Progress = Mapping[str, Performed]
"""By function."""

_BESIDE: Final = frozenset({"if", "switch", "parallel"})
_PAD: Final = 3.0
_GAP: Final = 5.0
_HEAD: Final = 9.5
_LEAF: Final = 10.5
_LETTER: Final = 1.5
"""Width of a letter of the small size, mm, generously."""
_NAME: Final = 3.0
_SMALL: Final = 2.5
_LONGEST: Final = 76
_TOOK: Final = 3.5
"""Room for how long its invocations took."""
_COUNTS: Final = 9.0
"""Room for how many invocations succeeded, and failed."""
_FUSED: Final = ("#e3ecf8", "#f3e8d8", "#e4f1e2", "#f0e3f1")
_DONE: Final = "#1a7f37"
_FAILED: Final = "#c6282b"
_TIME: Final = "#d9822b"
_EDGES: Final = {
    "parallel": "#2a62a8",
    "parallelFor": "#2a62a8",
    "if": "#8a5a00",
    "switch": "#8a5a00",
    "for": "#6b3fa0",
    "while": "#6b3fa0",
}


class _Box(msgspec.Struct, frozen=True):
    """One node with its size and, within it, the boxes of what it holds and where they lie."""

    node: Drawn
    width: float
    height: float
    inner: tuple[tuple[float, float, "_Box"], ...] = ()


def draw_workflow(root: Drawn, groups: Mapping[str, int], progress: Progress) -> Svg:
    """Draw a workflow.

    Parameters
    ----------
    groups : of each function that is part of a fused invocation, the number of that; they share a colour.
    progress : empty where no run is shown.
    """
    box = _laid_out(root, _COUNTS if progress else 0.0)
    svg = Svg(box.width + 2 * _PAD, box.height + 2 * _PAD)
    svg.rectangle(0, 0, svg.width_mm, svg.height_mm, "#ffffff")
    _draw(svg, box, _PAD, _PAD, groups, progress)
    return svg


def _shortened(words: str) -> str:
    return words if len(words) <= _LONGEST else words[: _LONGEST - 1] + "…"


def _laid_out(node: Drawn, beside: float) -> _Box:
    """``beside`` is what stands on both sides of a function's name, mm."""
    title = len(node.name) + (0 if node.kind == "function" else len(node.kind) + 2)
    least = max(26.0, (max(1.3 * title, len(_shortened(node.detail))) + 3) * _LETTER)
    if not node.inner:
        return _Box(node, least + 2 * beside, _LEAF + (_TOOK if beside else 0.0))
    boxes = [_laid_out(one, beside) for one in node.inner]
    if node.kind in _BESIDE:
        width = sum(one.width for one in boxes) + _GAP * (len(boxes) - 1)
        height = max(one.height for one in boxes)
    else:
        width = max(one.width for one in boxes)
        height = sum(one.height for one in boxes) + _GAP * (len(boxes) - 1)
    whole = max(width + 2 * _PAD, least)
    x, y = (whole - width) / 2, _HEAD
    inner: list[tuple[float, float, _Box]] = []
    for one in boxes:
        if node.kind in _BESIDE:
            inner.append((x, y, one))
            x += one.width + _GAP
        else:
            inner.append(((whole - one.width) / 2, y, one))
            y += one.height + _GAP
    return _Box(node, whole, height + _HEAD + _PAD, tuple(inner))


def _draw(svg: Svg, box: _Box, x: float, y: float, groups: Mapping[str, int], progress: Progress) -> None:
    node = box.node
    if node.kind == "function":
        _draw_function(svg, box, x, y, groups, progress)
        return
    edge = _EDGES.get(node.kind, "#9aa3ad")
    svg.rectangle(x, y, box.width, box.height, "#ffffff", stroke=edge, rounded=1.2)
    svg.text(x + _PAD, y + 4.2, node.kind, _SMALL, fill=edge, bold=True)
    svg.text(x + _PAD + (len(node.kind) + 1) * _LETTER, y + 4.2, node.name, _NAME, bold=True)
    svg.text(x + _PAD, y + 7.8, _shortened(node.detail), _SMALL, fill=MUTED)
    before: tuple[float, float, _Box] | None = None
    for dx, dy, one in box.inner:
        if before is not None and node.kind not in _BESIDE:
            _arrow(svg, x + box.width / 2, y + before[1] + before[2].height, y + dy)
        _draw(svg, one, x + dx, y + dy, groups, progress)
        before = (dx, dy, one)


def _draw_function(
    svg: Svg, box: _Box, x: float, y: float, groups: Mapping[str, int], progress: Progress
) -> None:
    name = box.node.name
    fill = _FUSED[(groups[name] - 1) % len(_FUSED)] if name in groups else "#f6f7f9"
    performed = progress.get(name, Performed())
    done, failed = performed.done, performed.failed
    edge = _FAILED if failed else _DONE if done else "#9aa3ad"
    svg.rectangle(x, y, box.width, box.height, fill, stroke=edge, rounded=0.8)
    svg.text(x + box.width / 2, y + 4.4, name, _NAME, fill=INK, anchor="middle", bold=True)
    svg.text(x + box.width / 2, y + 8.2, _shortened(box.node.detail), _SMALL, fill=MUTED, anchor="middle")
    took = what_it_took(performed)
    if took:
        _draw_share(svg, box, x, y, performed.took_s, progress)
        svg.text(x + box.width - 1, y + box.height - 1.2, took, 2.2, fill=MUTED, anchor="end")
    if done:
        svg.text(x + box.width - 1, y + 3.2, f"✓ {done}", 2.2, fill=_DONE, anchor="end")
    if failed:
        svg.text(x + 1, y + 3.2, f"✗ {failed}", 2.2, fill=_FAILED)


def _draw_share(svg: Svg, box: _Box, x: float, y: float, took_s: float, progress: Progress) -> None:
    """A bar along the foot: the function's share of all the time that functions took."""
    whole_s = sum(one.took_s for one in progress.values())
    if whole_s:
        svg.rectangle(x, y + box.height - 0.7, box.width * took_s / whole_s, 0.7, _TIME)


def what_it_took(performed: Performed) -> str:
    """The time of the invocations of a function, and the size of what they gave, in words."""
    if not performed.took_s and not performed.bytes:
        return ""
    time = f"{1000 * performed.took_s:.0f} ms" if performed.took_s < 1 else f"{performed.took_s:.1f} s"
    size = float(performed.bytes)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{time}, {size:.3g} {unit}"
        size /= 1000
    return f"{time}, {size:.3g} GB"


def _arrow(svg: Svg, x: float, top: float, bottom: float) -> None:
    svg.line(x, top, x, bottom, width=0.3)
    svg.line(x, bottom, x - 1.1, bottom - 1.8, width=0.3)
    svg.line(x, bottom, x + 1.1, bottom - 1.8, width=0.3)
