"""The pages of a report: A4, upright, strips at 25 mm/s and 10 mm/mV, the notice at the foot of each."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import numpy as np

from einthoven.notice import SHORT_NOTICE
from einthoven.pictures.charts import COLOURS
from einthoven.pictures.paper import height_for
from einthoven.pictures.svg import INK, MUTED
from einthoven.reports.content import HOUR_S, Cluster, EpisodesOfKind, Hour, Report, Strip
from einthoven.reports.sheet import HEIGHT_MM, WIDTH_MM, Sheet
from einthoven.signal.ectopy import Ectopy
from einthoven.signal.rules import RULES
from einthoven.version import __version__

__all__ = ["clock", "print_report"]

_LEFT: Final = 15.0
_RIGHT: Final = WIDTH_MM - 15.0
_TOP: Final = 20.0
_BOTTOM: Final = HEIGHT_MM - 18.0
_RULE: Final = "#c9ced6"
_BAND: Final = "#dbe9f4"
_ROW: Final = 5.2
_GAP: Final = 6.0
"""Between columns."""
_STRIPS_MM: Final = (30.0, 45.0)
"""Height of a strip's paper: the least that shows it, in steps of 5 mm."""
_PULSE_MM: Final = 5.0
_LETTERS: Final = {
    "N": "normal",
    "S": "supraventricular",
    "V": "ventricular",
    "F": "fusion",
    "Q": "not classifiable",
}

_HOW: Final = (
    (
        "Beats",
        "Found and classed (AAMI: N, S, V, F, Q) in one lead on a grid of 125 Hz. What the classes are worth "
        "was measured on annotated records; the figures, and what is missed, are in docs/performance.md and "
        "docs/beat-classes.md of this version.",
    ),
    (
        "Rates",
        "Means over intervals without an unreadable second between; least and greatest are means of eight "
        "such intervals in a row. Those in ventricular fibrillation or asystole are left out.",
    ),
    (
        "Variability",
        "Over NN intervals: both beats normal, 0.3 to 2 s, not next to an ectopic beat. It is not given "
        "where these are less than 80 % of all intervals (Task Force, Circulation 93(5), 1996).",
    ),
    (
        "Episodes",
        "By the rules of docs/reference/rhythm-rules.md. Those that alerted nobody for want of quality are "
        "shown too.",
    ),
    ("Strips", "As the recorder gave them: no filter. What lies beyond the paper is cut off."),
)


def print_report(report: Report) -> bytes:
    """The PDF of a report.

    Raises
    ------
    InputInvalid : reportlab is not installed.
    """
    heading = report.heading
    subject = f"einthoven report 1; {heading.state}; version {heading.version}; recording {report.mark}"
    if heading.amends:
        subject += f"; amends {heading.amends}"

    def printed(pages: int) -> tuple[bytes, int]:
        made = _Pages(report, Sheet(f"ECG report {report.name}", subject), pages)
        return made.printed(), made.page

    return printed(printed(0)[1])[0]


def clock(seconds: float) -> str:
    """Time from the start of the recording, h:mm:ss."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _lasting(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else clock(seconds)


def _said(value: float | None, unit: str = "", digits: int = 0) -> str:
    return "–" if value is None else f"{value:,.{digits}f}{' ' * bool(unit)}{unit}"


class _Pages:
    """``of`` is how many pages there are, which is known once they were drawn."""

    def __init__(self, report: Report, sheet: Sheet, of: int) -> None:
        self._report = report
        self._sheet = sheet
        self._of = of
        self.page = 0
        self._y = 0.0

    def printed(self) -> bytes:
        self._begin("Summary", "summary")
        self._summary()
        self._begin("Hour by hour", "hours")
        self._hourly()
        self._begin("Strips", "strips")
        for strip in self._report.strips:
            self._strip(strip)
        self._begin("Beats that look alike", "beats")
        self._alike()
        self._begin("How it was made", "method")
        self._method()
        self._end()
        return self._sheet.finished()

    # ---------------------------------------------------------------- page by page

    def _begin(self, title: str, key: str = "") -> None:
        if self.page:
            self._end()
        self.page += 1
        sheet, report = self._sheet, self._report
        sheet.text(_LEFT, 12.0, "ECG report", 4.6, bold=True)
        sheet.text(_RIGHT, 12.0, f"{report.name}   {self._state()}", 3.0, fill=MUTED, anchor="end")
        sheet.line(_LEFT, 14.5, _RIGHT, 14.5, _RULE, 0.3)
        if key:
            sheet.chapter(title, key)
        sheet.text(_LEFT, _TOP + 2, title, 4.0, bold=True)
        self._y = _TOP + 8

    def _end(self) -> None:
        sheet = self._sheet
        sheet.line(_LEFT, HEIGHT_MM - 14, _RIGHT, HEIGHT_MM - 14, _RULE, 0.3)
        sheet.text(_LEFT, HEIGHT_MM - 10, SHORT_NOTICE, 2.6, fill=MUTED)
        sheet.text(_RIGHT, HEIGHT_MM - 10, f"page {self.page} of {self._of}", 2.6, fill=MUTED, anchor="end")
        sheet.turn()

    def _state(self) -> str:
        heading = self._report.heading
        said = f"{heading.state}, version {heading.version}"
        return said if heading.by else f"{said}: nobody has looked at it yet"

    def _room(self, height: float, title: str) -> None:
        """Begin another page where so much does not fit any more."""
        if self._y + height > _BOTTOM:
            self._begin(f"{title} (continued)")

    def _heading(self, words: str) -> None:
        self._sheet.text(_LEFT, self._y + 3, words, 3.4, bold=True)
        self._y += 6.5

    # ---------------------------------------------------------------- summary

    def _summary(self) -> None:
        report, heading = self._report, self._report.heading
        began = "not known"
        if report.start_ns is not None:
            began = f"{datetime.fromtimestamp(report.start_ns // 10**9, UTC):%Y-%m-%d %H:%M:%S} UTC"
        self._pairs(
            [
                ("Patient", heading.patient or "not given"),
                ("Recorder", heading.recorder or "not given"),
                ("Indication", heading.indication or "not given"),
                ("Begins", began),
                ("Lasts", clock(report.duration_s)),
                ("Lead", f"{report.lead}, {report.fs:g} Hz"),
            ]
        )
        self._y += 3
        columns = (self._rates(), self._ectopy(), self._measures())
        width = (_RIGHT - _LEFT - 2 * _GAP) / 3
        lowest = self._y
        for number, (title, rows) in enumerate(columns):
            lowest = max(lowest, self._column(_LEFT + number * (width + _GAP), width, title, rows))
        self._y = lowest + 4
        self._heading("Heart rate, beats/min")
        self._trend(report.hours)
        self._episodes()
        self._conclusion()

    def _pairs(self, pairs: Sequence[tuple[str, str]]) -> None:
        half = (_RIGHT - _LEFT) / 2
        for number, (name, words) in enumerate(pairs):
            x, y = _LEFT + number % 2 * half, self._y + number // 2 * _ROW + 3
            self._sheet.text(x, y, name, 3.0, fill=MUTED)
            self._sheet.text(x + 22, y, self._cut(words, half - 26, 3.2), 3.2)
        self._y += math.ceil(len(pairs) / 2) * _ROW

    def _cut(self, words: str, width: float, size: float) -> str:
        if self._sheet.width_of(words, size) <= width:
            return words
        return self._sheet.wrapped(words, width - 3, size)[0] + " …"

    def _column(self, x: float, width: float, title: str, rows: Sequence[tuple[str, str]]) -> float:
        sheet = self._sheet
        sheet.text(x, self._y + 3, title, 3.4, bold=True)
        sheet.line(x, self._y + 4.8, x + width, self._y + 4.8, _RULE)
        y = self._y + 9
        for name, words in rows:
            sheet.text(x, y, name, 3.0, fill=MUTED)
            sheet.text(x + width, y, words, 3.0, anchor="end")
            y += 4.6
        return y

    def _rates(self) -> tuple[str, list[tuple[str, str]]]:
        report = self._report
        rows = [
            ("Beats", f"{sum(report.beats.values()):,}"),
            ("Mean rate", _said(report.mean_bpm, "/min")),
        ]
        for name, rate in (("Slowest", report.slowest), ("Fastest", report.fastest)):
            rows.append((name, "–" if rate is None else f"{rate.bpm:.0f} /min at {clock(rate.at_s)}"))
        pauses = report.pauses
        longest = "" if pauses.longest_s is None else f", longest {pauses.longest_s:.1f} s"
        rows.append(("Pauses", f"{pauses.count}{longest}" if pauses.count else "none"))
        af = next((one for one in report.episodes if one.kind == "atrial_fibrillation"), None)
        share = 0.0 if af is None or not report.duration_s else af.total_s / report.duration_s
        rows.append(("Atrial fibrillation", f"{100 * share:.1f} %" if af is not None else "none seen"))
        share_read = report.readable.share
        rows.append(("Could be analysed", "–" if share_read is None else f"{100 * share_read:.1f} %"))
        return "Rhythm", rows

    def _ectopy(self) -> tuple[str, list[tuple[str, str]]]:
        report = self._report
        unclear = report.beats["Q"]
        total = max(1, sum(report.beats.values()) - unclear)
        hours = report.duration_s / 3600

        def rows(name: str, one: Ectopy) -> list[tuple[str, str]]:
            each = f"{one.beats:,} ({100 * one.beats / total:.1f} %)"
            return [
                (name, each),
                ("  an hour", _said(one.beats / hours if hours >= 1 else None, digits=1)),
                ("  pairs, runs", f"{one.couplets:,}, {one.short_runs + one.long_runs:,}"),
                ("  longest run", f"{one.longest} beats" if one.longest > 2 else "–"),
            ]

        both = rows("Ventricular", report.ventricular) + rows("Supraventricular", report.supraventricular)
        return "Ectopy", [*both, ("Not classifiable", f"{unclear:,}")]

    def _measures(self) -> tuple[str, list[tuple[str, str]]]:
        report, hrv = self._report, self._report.variability
        return "Intervals and variability", [
            ("QRS", _said(report.qrs_ms, "ms")),
            ("QT", _said(report.qt_ms, "ms")),
            ("QTc (Fridericia)", _said(report.qtc_ms, "ms")),
            ("SDNN", _said(hrv.sdnn_ms, "ms")),
            ("SDANN", _said(hrv.sdann_ms, "ms")),
            ("RMSSD", _said(hrv.rmssd_ms, "ms")),
            ("pNN50", _said(hrv.pnn50_percent, "%", 1)),
            ("NN of all intervals", f"{100 * hrv.nn_share:.1f} %"),
        ]

    def _trend(self, hours: Sequence[Hour]) -> None:
        """Mean, and from least to greatest, hour by hour."""
        sheet, height = self._sheet, 32.0
        left, right, bottom = _LEFT + 9, _RIGHT, self._y + height
        known = [one for one in hours if one.mean_bpm is not None]
        most = max([one.max_bpm or one.mean_bpm or 0.0 for one in known], default=100.0)
        high = 20 * math.ceil(max(most, 100.0) / 20)
        for bpm in range(0, high + 1, 20 if high <= 120 else 40):
            y = bottom - bpm / high * height
            sheet.line(left, y, right, y, "#e6e9ed", 0.15)
            sheet.text(left - 1.5, y + 1, str(bpm), 2.5, fill=MUTED, anchor="end")
        lasts_s = max(self._report.duration_s, 1.0)
        each = (right - left) / lasts_s * HOUR_S
        for number, one in enumerate(hours):
            if one.mean_bpm is None:
                continue
            x = left + number * each
            wide = min(each, right - x)
            if one.min_bpm is not None and one.max_bpm is not None:
                y = bottom - one.max_bpm / high * height
                sheet.rectangle(
                    x + 0.1 * wide, y, 0.8 * wide, (one.max_bpm - one.min_bpm) / high * height, _BAND
                )
            y = bottom - one.mean_bpm / high * height
            sheet.line(x + 0.1 * wide, y, x + 0.9 * wide, y, COLOURS[0], 0.5)
        every = max(1, math.ceil(len(hours) / 12))
        for number in range(0, int(lasts_s / HOUR_S) + 1, every):
            anchor = "end" if number * each > right - left - _GAP else "middle"
            sheet.text(left + number * each, bottom + 3.5, f"{number} h", 2.5, fill=MUTED, anchor=anchor)
        self._y = bottom + 8

    def _episodes(self) -> None:
        self._heading("Episodes")
        if not self._report.episodes:
            self._sheet.text(_LEFT, self._y + 3, "None was seen.", 3.2)
            self._y += _ROW
            return

        def row(one: EpisodesOfKind) -> tuple[str, ...]:
            return (
                RULES[one.kind].title,
                f"{one.count:,}",
                _lasting(one.total_s),
                _lasting(one.longest_s),
                clock(one.longest_at_s),
                _said(one.fastest_bpm, "/min"),
            )

        names = ("", "how many", "in all", "longest", "at", "fastest")
        self._table(names, (66, 22, 24, 24, 22, 22), [row(one) for one in self._report.episodes], "Summary")

    def _conclusion(self) -> None:
        sheet, heading = self._sheet, self._report.heading
        lines = sheet.wrapped(heading.conclusion or "", _RIGHT - _LEFT - 6, 3.2) if heading.conclusion else []
        height = max(16.0, 4.6 * len(lines) + 4)
        self._y += 3
        self._room(min(height, 150.0) + 22, "Summary")
        self._heading("Conclusion")
        for line in lines:
            self._room(26, "Conclusion")
            sheet.text(_LEFT + 2, self._y + 3, line, 3.2)
            self._y += 4.6
        if not lines:
            sheet.rectangle(_LEFT, self._y, _RIGHT - _LEFT, 16, None, stroke=_RULE)
            self._y += 16
        self._y += 12
        if heading.by:
            sheet.text(_LEFT, self._y - 1.5, self._cut(heading.by, 85, 3.2), 3.2)
            sheet.text(_LEFT + 95, self._y - 1.5, self._cut(heading.at, 85, 3.2), 3.2)
        for x, words in ((_LEFT, "name and signature"), (_LEFT + 95, "date")):
            sheet.line(x, self._y, x + 85, self._y, MUTED)
            sheet.text(x, self._y + 3.5, words, 2.6, fill=MUTED)
        self._y += 8

    # ---------------------------------------------------------------- hours

    def _hourly(self) -> None:
        def row(one: Hour) -> tuple[str, ...]:
            return (
                clock(one.start_s),
                f"{one.analysed_s / 60:.0f}",
                f"{one.beats:,}",
                _said(one.min_bpm),
                _said(one.mean_bpm),
                _said(one.max_bpm),
                f"{one.ventricular:,}",
                f"{one.ventricular_runs:,}",
                f"{one.supraventricular:,}",
                f"{one.pauses:,}",
                f"{one.fibrillation_s / 60:.1f}",
            )

        names = ("from", "min read", "beats", "least", "mean", "most", "V", "V runs", "S", "pauses", "AF min")
        self._table(
            names,
            (20, 18, 18, 16, 16, 16, 16, 16, 14, 16, 14),
            [row(one) for one in self._report.hours],
            "Hour by hour",
        )
        self._y += 4
        readable = self._report.readable
        self._room(36, "Hour by hour")
        self._heading("What could be read")
        for name, seconds in (
            ("All waves", readable.all_waves_s),
            ("QRS only", readable.qrs_only_s),
            ("Unusable", readable.unusable_s),
            ("  of that lead off", readable.of_which_lead_off_s),
            ("  of that missing", readable.of_which_lost_s),
            ("  of that beyond the recorder's range", readable.of_which_saturated_s),
        ):
            self._sheet.text(_LEFT, self._y + 3, name, 3.0, fill=MUTED)
            self._sheet.text(_LEFT + 80, self._y + 3, clock(seconds), 3.0, anchor="end")
            self._y += 4.6

    def _table(
        self, names: Sequence[str], widths: Sequence[float], rows: Sequence[Sequence[str]], title: str
    ) -> None:
        """The first column to the left, all others to the right."""

        def put(words: Sequence[str], size: float, fill: str) -> None:
            x = _LEFT
            for number, (one, width) in enumerate(zip(words, widths, strict=True)):
                at, anchor = (x, "start") if number == 0 else (x + width, "end")
                self._sheet.text(at, self._y + 3, one, size, fill=fill, anchor=anchor)
                x += width
            self._y += 4.7

        put(names, 2.7, MUTED)
        for row in rows:
            if self._y + _ROW > _BOTTOM:
                self._begin(f"{title} (continued)")
                put(names, 2.7, MUTED)
            self._sheet.line(_LEFT, self._y - 0.4, _LEFT + sum(widths), self._y - 0.4, "#e6e9ed", 0.15)
            put(row, 3.0, INK)

    # ---------------------------------------------------------------- strips and shapes

    def _strip(self, strip: Strip) -> None:
        height = float(np.clip(height_for(strip.ecg_mv), *_STRIPS_MM))
        self._room(height + 13, "Strips")
        sheet, y = self._sheet, self._y
        sheet.text(_LEFT, y + 3, strip.title, 3.2, bold=True)
        sheet.text(
            _RIGHT, y + 3, f"at {clock(strip.at_s)}, lead {self._report.lead}", 2.8, fill=MUTED, anchor="end"
        )
        top = y + 8.5
        for at_s, letter in strip.beats:
            sheet.text(
                _LEFT + _PULSE_MM + at_s * 25, top - 1, letter, 2.8, anchor="middle", bold=letter != "N"
            )
        sheet.paper(_LEFT, top, 180.0, height)
        self._pulse(_LEFT, top + height / 2 + 5)
        sheet.trace(_LEFT + _PULSE_MM, top, 175.0, height, strip.ecg_mv, strip.fs)
        sheet.text(_LEFT + 1, top + height - 1, "25 mm/s  10 mm/mV", 2.2, fill=MUTED)
        self._y = top + height + 4.5

    def _pulse(self, x: float, base: float) -> None:
        """1 mV, a tenth of a second."""
        left = x + 1.0
        x_mm = np.array([left - 0.8, left, left, left + 2.5, left + 2.5, left + 3.3])
        self._sheet.curve(x_mm, np.array([base, base, base - 10, base - 10, base, base]), INK, 0.25)

    def _alike(self) -> None:
        clusters = self._report.clusters
        if not clusters:
            self._sheet.text(_LEFT, self._y + 3, "No beats were found.", 3.2)
            return
        words = "Mean of the beats of one class whose QRS look alike; shaded: one standard deviation."
        self._sheet.text(_LEFT, self._y + 2, words, 2.8, fill=MUTED)
        self._y += 6
        columns, width, height = 4, 45.0, 40.0
        for number, cluster in enumerate(clusters):
            if number % columns == 0 and number:
                self._y += height + 8
                self._room(height + 8, "Beats that look alike")
            self._shape(cluster, _LEFT + number % columns * width, self._y, width - 5, height)

    def _shape(self, cluster: Cluster, x: float, y: float, width: float, height: float) -> None:
        sheet = self._sheet
        sheet.text(x, y + 3, f"{cluster.letter}  {cluster.beats:,}", 3.2, bold=True)
        sheet.text(x + width, y + 3, _LETTERS[cluster.letter], 2.6, fill=MUTED, anchor="end")
        sheet.rectangle(x, y + 5, width, height - 5, None, stroke=_RULE)
        seconds = np.arange(cluster.mean_mv.size) / cluster.fs
        x_mm = x + 1 + seconds / seconds[-1] * (width - 2)
        low, high = cluster.mean_mv - cluster.spread_mv, cluster.mean_mv + cluster.spread_mv
        least, most = float(low.min()), float(high.max())
        scale = min(10.0, (height - 8) / max(most - least, 1e-3))
        middle = (least + most) / 2

        def at(mv: np.ndarray) -> np.ndarray:
            return y + 5 + (height - 5) / 2 - (mv - middle) * scale

        sheet.area(x_mm, at(low), at(high), _BAND)
        sheet.curve(x_mm, at(cluster.mean_mv), INK, 0.35)
        sheet.text(x + 1, y + height - 1, f"{scale:.1f} mm/mV", 2.2, fill=MUTED)

    # ---------------------------------------------------------------- method

    def _method(self) -> None:
        report, heading = self._report, self._report.heading
        versions = ", ".join(f"{name} {version}" for name, version in sorted(report.versions.items()))
        program = f"Einthoven {__version__}. Functions: {versions or 'none'}."
        file = [("The file", " ".join(report.remarks))] if report.remarks else []
        paragraphs = [("Program", program), *file, *_HOW, ("State", self._history())]
        if heading.conclusion and not heading.by:
            paragraphs.append(("Conclusion", "It is a draft: nobody stands for it."))
        for name, words in paragraphs:
            lines = self._sheet.wrapped(words, _RIGHT - _LEFT - 30, 3.2)
            self._room(4.8 * len(lines) + 3, "How it was made")
            self._sheet.text(_LEFT, self._y + 3, name, 3.2, fill=MUTED)
            for line in lines:
                self._sheet.text(_LEFT + 30, self._y + 3, line, 3.2)
                self._y += 4.8
            self._y += 2

    def _history(self) -> str:
        heading = self._report.heading
        said = f"Version {heading.version}, {heading.state}"
        said += f" by {heading.by}, {heading.at}." if heading.by else "."
        if heading.amends:
            said += f" It takes the place of the report with SHA-256 {heading.amends}."
        return said
