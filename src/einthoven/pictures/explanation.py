"""One moment of a recording on a sheet: both strips, quality, the beat beside the patient's, and why."""

import textwrap
from typing import Final

import numpy as np

from einthoven.functions.evidence import Evidence, FeatureEvidence
from einthoven.notice import SHORT_NOTICE
from einthoven.pictures.paper import PULSE_MM, Paper, height_for
from einthoven.pictures.reasons import CLASS_NAMES, beat_reason, episode_reason, episode_span, grade_reason
from einthoven.pictures.strips import clock
from einthoven.pictures.svg import INK, MUTED, Svg, number
from einthoven.runtime.explaining import STRIP_S, Explanation
from einthoven.signal.findings import BEAT_CLASSES, Episode
from einthoven.signal.morphology import AFTER, BEFORE
from einthoven.signal.quality import CELL, GRADE
from einthoven.signal.resampling import FS
from einthoven.signal.rules import RULES, Criteria

__all__ = ["draw_explanation"]

CLASS_COLOURS: Final = {"N": INK, "S": "#0b6e99", "V": "#b3122a", "F": "#8a4bb0", "Q": "#8a8f98"}
_GRADES: Final = {1: "#8cbf9f", 2: "#e8c468", 3: "#c9737a"}
_PRIORITIES: Final = {
    "high": "#b3122a",
    "medium": "#b88600",
    "low": "#0b7f8c",
    "technical": "#8a4bb0",
    "none": "#8a8f98",
}
_ACCENT: Final = "#1f5fd0"
_LEFT: Final = 14.0
_RIGHT: Final = 6.0
_WIDTH: Final = _LEFT + PULSE_MM + STRIP_S * 25 + _RIGHT
_PANELS_MM: Final = 66.0
_FEATURES_SHOWN: Final = 10
_LETTERS: Final = 132
"""Letters of running text that fit into a line."""


def draw_explanation(told: Explanation, criteria: Criteria | None = None) -> Svg:
    """The sheet, at its true size."""
    limits = criteria or Criteria()
    reasons = _reason_lines(told, limits)
    raw_mm, clean_mm = height_for(told.ecg_mv), height_for(told.cleaned_mv)
    tracks = _tracks(told.episodes)
    bars_mm = 4.4 * (max(tracks, default=-1) + 1)
    top = 22.0
    second = top + raw_mm + 14.5 + bars_mm
    panels = second + clean_mm + 8
    below = panels + (_PANELS_MM if told.evidence is not None else 0.0)
    svg = Svg(_WIDTH, below + 5.2 * len(reasons) + 11)
    svg.rectangle(0, 0, svg.width_mm, svg.height_mm, "#ffffff")
    _title(svg, told)
    raw = Paper(svg, _LEFT, top, seconds=STRIP_S, height_mm=raw_mm, name="raw")
    _mark_chosen(raw, told)
    raw.trace(told.ecg_mv, told.fs)
    raw.scale_words()
    svg.text(0.5, top + 4, "recorded", 2.4, fill=MUTED)
    _beat_labels(raw, told)
    _intervals(raw, told)
    _quality(raw, told)
    _episode_bars(raw, told, tracks)
    clean = Paper(svg, _LEFT, second, seconds=STRIP_S, height_mm=clean_mm, name="clean")
    _mark_chosen(clean, told)
    clean.trace(told.cleaned_mv, FS)
    clean.scale_words()
    svg.text(0.5, second + 4, "analysed", 2.4, fill=MUTED)
    _seconds(clean, told)
    if told.evidence is not None:
        _beat_panel(svg, told.evidence, panels)
        _votes_panel(svg, told, told.evidence, panels)
        _features_panel(svg, told.evidence, panels)
    for k, (words, colour) in enumerate(reasons):
        svg.text(_LEFT, below + 3 + 5.2 * k, words, 3.4, fill=colour)
    svg.text(_LEFT, svg.height_mm - 3, SHORT_NOTICE, 2.4, fill=MUTED)
    return svg


def _title(svg: Svg, told: Explanation) -> None:
    svg.text(_LEFT, 7.5, told.recording, 5.4, bold=True)
    words = (
        f"lead {told.lead}, {number(told.fs)} Hz, {clock(told.start_s)} to {clock(told.start_s + STRIP_S)}"
    )
    svg.text(_LEFT + 3.3 * len(told.recording) + 5, 7.5, words, 3.6, fill=MUTED)
    versions = ", ".join(f"{name} {version}" for name, version in told.versions.items())
    svg.text(_WIDTH - _RIGHT, 7.5, versions, 2.3, fill=MUTED, anchor="end")
    svg.line(_LEFT, 10.5, _WIDTH - _RIGHT, 10.5, "#9c1c2e", 0.6)


def _at_s(told: Explanation, k: int) -> float:
    return float(told.beats.positions[k]) / told.fs - told.start_s


def _mark_chosen(paper: Paper, told: Explanation) -> None:
    if told.chosen is not None:
        paper.band(_at_s(told, told.chosen), _ACCENT, 0.36)


def _beat_labels(paper: Paper, told: Explanation) -> None:
    for k in range(len(told.beats)):
        at_s = _at_s(told, k)
        if not 0 <= at_s <= STRIP_S:
            continue
        label = BEAT_CLASSES[told.beats.classes[k]]
        x, y = paper.x(at_s), paper.y_mm - 2
        is_chosen = k == told.chosen
        if is_chosen:
            paper.svg.rectangle(x - 2.6, y - 4.1, 5.2, 5.3, "#ffffff", stroke=_ACCENT, rounded=1.0)
        paper.svg.text(
            *(x, y, label, 3.6), fill=CLASS_COLOURS[label], anchor="middle", bold=is_chosen or label != "N"
        )
        first = BEAT_CLASSES[told.beats.morphology[k]]
        if first != label:
            paper.svg.text(x, y - 4.4, f"was {first}", 2.1, fill=MUTED, anchor="middle")


def _intervals(paper: Paper, told: Explanation) -> None:
    y = paper.bottom_mm + 3.6
    paper.svg.text(0.5, y, "RR, ms", 2.4, fill=MUTED)
    for k in range(1, len(told.beats)):
        before_s, at_s = _at_s(told, k - 1), _at_s(told, k)
        middle = (max(before_s, 0) + min(at_s, STRIP_S)) / 2
        if at_s < 0 or before_s > STRIP_S or min(at_s, STRIP_S) - max(before_s, 0) < 0.25:
            continue
        chosen = told.chosen is not None and k in {told.chosen, told.chosen + 1}
        paper.svg.text(
            *(paper.x(middle), y, f"{1000 * (at_s - before_s):.0f}", 2.6),
            fill=_ACCENT if chosen else INK,
            anchor="middle",
            bold=chosen,
        )


def _quality(paper: Paper, told: Explanation) -> None:
    y = paper.bottom_mm + 5.6
    paper.svg.text(0.5, y + 2.6, "quality", 2.4, fill=MUTED)
    for k, cell in enumerate(told.quality.cells.tolist()):
        begin_s = (told.quality.first_cell + k) * CELL / FS - told.start_s
        low, high = max(0.0, begin_s), min(STRIP_S, begin_s + 1)
        if high <= low:
            continue
        grade = cell & GRADE
        left, right = paper.x(low), paper.x(high)
        paper.svg.rectangle(left, y, right - left - 0.4, 3.4, _GRADES.get(grade, MUTED), rounded=0.5)
        if right - left > 8:
            words = f"{grade}  {grade_reason(cell)}".strip()
            paper.svg.text((left + right) / 2, y + 2.5, words, 2.3, anchor="middle")


def _tracks(episodes: tuple[Episode, ...]) -> list[int]:
    """A line for each episode, so that those of one line do not overlap."""
    ends: list[float] = []
    tracks = []
    for episode in episodes:
        free = [track for track, end in enumerate(ends) if end <= episode.onset]
        track = free[0] if free else len(ends)
        if not free:
            ends.append(0.0)
        ends[track] = np.inf if episode.end is None else episode.end
        tracks.append(track)
    return tracks


def _episode_bars(paper: Paper, told: Explanation, tracks: list[int]) -> None:
    if told.episodes:
        paper.svg.text(0.5, paper.bottom_mm + 13.2, "episodes", 2.4, fill=MUTED)
    for episode, track in zip(told.episodes, tracks, strict=True):
        begin_s = max(0.0, episode.onset / told.fs - told.start_s)
        end_s = STRIP_S if episode.end is None else min(STRIP_S, episode.end / told.fs - told.start_s)
        y = paper.bottom_mm + 10.2 + 4.4 * track
        left, right = paper.x(begin_s), paper.x(end_s)
        colour = _PRIORITIES[episode.priority]
        paper.svg.rectangle(left, y, max(right - left, 0.8), 3.8, colour, rounded=0.6, opacity=0.2)
        paper.svg.rectangle(left, y, 0.8, 3.8, colour)
        title = RULES[episode.kind].title
        anchor, x = ("end", right - 1) if left > _WIDTH - 60 else (None, left + 1.8)
        paper.svg.text(x, y + 2.9, title, 2.6, fill=colour, anchor=anchor, bold=True)


def _seconds(paper: Paper, told: Explanation) -> None:
    for k in range(int(STRIP_S) + 1):
        second = np.ceil(told.start_s) + k
        if 0 <= second - told.start_s <= STRIP_S:
            x = paper.x(float(second - told.start_s))
            paper.svg.line(x, paper.bottom_mm, x, paper.bottom_mm + 1.2)
            words = clock(float(second)).removesuffix(".0")
            anchor = "middle" if x < _WIDTH - _RIGHT - 5 else "end"
            paper.svg.text(x, paper.bottom_mm + 3.8, words, 2.3, fill=MUTED, anchor=anchor)


def _heading(svg: Svg, x: float, y: float, words: str) -> None:
    svg.text(x, y + 3.2, words, 3.4, bold=True)


def _beat_panel(svg: Svg, evidence: Evidence, y: float) -> None:
    """The beat over the patient's mean calm beat, at 50 mm/s."""
    _heading(svg, _LEFT, y, "The beat and the patient's")
    shape, template = evidence.shape_mv, evidence.template_mv
    both = np.concatenate((shape, template))
    span_mv = float(np.ptp(both)) if both.size else 0.0
    mm_per_mv = next((scale for scale in (20.0, 10.0, 5.0, 2.5) if span_mv * scale <= 40), 1.0)
    paper = Paper(
        *(svg, _LEFT, y + 5.5),
        seconds=(BEFORE + AFTER) / FS,
        height_mm=45,
        name="beat",
        with_pulse=False,
        mm_per_s=60.0,
        mm_per_mv=mm_per_mv,
    )
    zero_mv = (float(both.max()) + float(both.min())) / 2
    svg.line(paper.x(BEFORE / FS), paper.y_mm, paper.x(BEFORE / FS), paper.bottom_mm, _ACCENT, 0.2)
    if template.size:
        paper.trace(template, FS, stroke="#7d8793", zero_mv=zero_mv)
    paper.trace(shape, FS, stroke=_ACCENT, zero_mv=zero_mv)
    paper.scale_words()
    y = paper.bottom_mm + 3.6
    svg.line(_LEFT, y - 0.9, _LEFT + 4, y - 0.9, _ACCENT, 0.5)
    svg.text(_LEFT + 5, y, "this beat", 2.5)
    svg.line(_LEFT + 20, y - 0.9, _LEFT + 24, y - 0.9, "#7d8793", 0.5)
    known = f"mean of {evidence.template_beats} calm beats" if template.size else "nothing known yet"
    svg.text(_LEFT + 25, y, known, 2.5)


def _votes_panel(svg: Svg, told: Explanation, evidence: Evidence, y: float) -> None:
    x = _LEFT + 80
    _heading(svg, x, y, "Votes")
    for k, (name, share) in enumerate(evidence.votes.items()):
        row = y + 8 + 7.5 * k
        svg.text(x, row + 3, name, 3.6, fill=CLASS_COLOURS[name], bold=name == evidence.kind)
        svg.text(x + 4.5, row + 2.9, CLASS_NAMES[name], 2.3, fill=MUTED)
        svg.rectangle(x, row + 4, 34, 1.6, "#eceff2", rounded=0.4)
        svg.rectangle(x, row + 4, 34 * share, 1.6, CLASS_COLOURS[name], rounded=0.4)
        svg.text(x + 34, row + 3, f"{100 * share:.1f} %", 2.7, anchor="end")
    final = evidence.kind if told.chosen is None else BEAT_CLASSES[told.beats.classes[told.chosen]]
    row = y + 12 + 7.5 * len(evidence.votes)
    svg.text(x, row, "told as", 2.5, fill=MUTED)
    svg.text(x, row + 7, final, 7.0, fill=CLASS_COLOURS[final], bold=True)
    if final != evidence.kind:
        svg.text(x + 8, row + 6.6, f"the votes say {evidence.kind}", 2.3, fill=MUTED)


def _features_panel(svg: Svg, evidence: Evidence, y: float) -> None:
    x = _LEFT + 126
    _heading(svg, x, y, f"What speaks for {evidence.kind}, and against it")
    known = [one for one in evidence.features if one.weight is not None]
    if not known:
        svg.text(x, y + 10, "Too few beats of the patient are known to call anything usual.", 2.8, fill=MUTED)
        return
    for words, column, anchor in (
        ("feature", 0.0, None),
        ("this beat", 47.0, "end"),
        ("usual", 58.0, "end"),
        ("10 to 90 %", 76.0, "end"),
        ("weight (log odds)", 104.0, "middle"),
    ):
        svg.text(x + column, y + 8, words, 2.3, fill=MUTED, anchor=anchor)
    shown = sorted(known, key=lambda one: -abs(one.weight or 0))[:_FEATURES_SHOWN]
    most = max(abs(one.weight or 0) for one in shown) or 1.0
    for k, one in enumerate(shown):
        _feature_row(svg, one, x, y + 12.5 + 4.6 * k, max(most, 1.0))
    total = sum(one.weight or 0 for one in known)
    words = (
        f"All {len(known)} features together: {total:+.2f}, from the median of {evidence.usual_beats} usual "
        "beats to this one."
    )
    svg.text(x, y + 12.5 + 4.6 * len(shown) + 0.6, words, 2.4, fill=MUTED)


def _feature_row(svg: Svg, one: FeatureEvidence, x: float, y: float, most: float) -> None:
    weight = one.weight or 0.0
    svg.text(x, y, one.name, 2.8)
    is_odd = one.usual_low is not None and not one.usual_low <= one.value <= (one.usual_high or 0)
    svg.text(x + 47, y, f"{one.value:.2f}", 2.8, anchor="end", bold=is_odd)
    if one.usual is not None:
        svg.text(x + 58, y, f"{one.usual:.2f}", 2.8, fill=MUTED, anchor="end")
        svg.text(x + 76, y, f"{one.usual_low:.2f} to {one.usual_high:.2f}", 2.3, fill=MUTED, anchor="end")
    middle, length = x + 104.0, 20 * abs(weight) / most
    svg.line(middle, y - 3, middle, y + 1)
    left = middle if weight >= 0 else middle - length
    svg.rectangle(left, y - 2.3, length, 2.6, "#2f7d55" if weight >= 0 else "#b85c00", opacity=0.85)
    at, anchor = (middle + length + 1, None) if weight >= 0 else (middle - length - 1, "end")
    svg.text(at, y - 0.2, f"{weight:+.2f}", 2.3, fill=MUTED, anchor=anchor)


def _reason_lines(told: Explanation, criteria: Criteria) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    if told.evidence is not None:
        final = told.evidence.kind if told.chosen is None else BEAT_CLASSES[told.beats.classes[told.chosen]]
        at = clock(told.evidence.position / told.fs)
        lines += _wrapped(f"{at}  {beat_reason(told.evidence, final)}", INK)
    else:
        lines += _wrapped("No beat was found here.", INK)
    for episode in told.episodes:
        rule = RULES[episode.kind]
        words = (
            f"{rule.title}, {episode_span(episode, told.fs)}, priority {episode.priority}: "
            f"{episode_reason(episode, told.beats, told.fs, criteria)}"
        )
        lines += _wrapped(words, _PRIORITIES[episode.priority])
    return lines


def _wrapped(words: str, colour: str) -> list[tuple[str, str]]:
    return [(line, colour) for line in textwrap.wrap(words, _LETTERS)]
