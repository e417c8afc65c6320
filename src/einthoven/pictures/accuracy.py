"""The EC57 report as one HTML page that needs nothing else: figures, per-record table, worst strips.

The page is well-formed XML too. Every number on it is one of the figures that ``bench ec57 --json`` prints,
rounded for reading; the figures themselves lie in the page, as JSON, for programs.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

from einthoven.evaluation.mistakes import MISTAKES, MistakeKind, Strip
from einthoven.notice import NOTICE
from einthoven.pictures.strips import MISTAKE_COLOURS, MISTAKE_WORDS, clock, draw_strip
from einthoven.pictures.svg import element

__all__ = ["accuracy_page", "chosen_strips"]

Figures = Mapping[str, Any]
_PER_KIND: Final = 4
_STYLE: Final = """
:root{color-scheme:light;--ink:#1b1f24;--muted:#5b6470;--line:#dde1e6;--soft:#f5f6f8;--accent:#9c1c2e}
*{box-sizing:border-box}
body{margin:0;background:#fff;color:var(--ink);
 font:14px/1.45 "Helvetica Neue",Helvetica,Arial,"Liberation Sans","DejaVu Sans",sans-serif}
main{max-width:1120px;margin:0 auto;padding:28px 28px 60px}
header{border-bottom:3px solid var(--accent);padding-bottom:12px;margin-bottom:18px}
h1{font-size:26px;margin:0;letter-spacing:-.01em}
h1 small{font-weight:400;color:var(--muted);font-size:16px;margin-left:10px}
h2{font-size:18px;margin:36px 0 10px;padding-bottom:4px;border-bottom:1px solid var(--line)}
h3{font-size:14px;margin:18px 0 6px}
p{margin:6px 0;max-width:78ch}
.muted{color:var(--muted)}
.notice{background:#fff8e6;border:1px solid #e6cf8b;border-radius:6px;padding:10px 14px;margin:14px 0;
 font-size:12.5px}
.notice p{margin:2px 0;max-width:none}
.flag{display:inline-block;background:#fdf0d5;border:1px solid #e6cf8b;border-radius:4px;padding:1px 7px;
 font-size:12px;color:#6b4e00}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(132px,1fr));gap:10px;margin:14px 0}
.tile{background:var(--soft);border:1px solid var(--line);border-radius:8px;padding:10px 12px}
.tile b{display:block;font-size:24px;font-variant-numeric:tabular-nums;letter-spacing:-.01em}
.tile b small{font-size:14px;font-weight:400;color:var(--muted);margin-left:3px}
.tile span{color:var(--muted);font-size:12px}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px}
th,td{padding:3px 9px;text-align:right;border-bottom:1px solid #eceff2;white-space:nowrap}
th{color:var(--muted);font-weight:600;font-size:12px;border-bottom:1px solid var(--line);
 vertical-align:bottom}
th:first-child,td:first-child{text-align:left}
thead tr.groups th{text-align:center;border-bottom:0;color:var(--ink)}
tbody tr:hover td{background-color:#fafbfc}
tfoot td{font-weight:700;border-top:2px solid var(--line)}
tfoot tr+tr td{border-top:0;font-weight:400}
td.none{color:#a3abb5}
.wide{overflow-x:auto}
.pair{display:flex;flex-wrap:wrap;gap:10px 48px;align-items:flex-start}
dl{display:grid;grid-template-columns:max-content 1fr;gap:3px 16px;margin:8px 0}
dt{color:var(--muted)}dd{margin:0}
figure{margin:16px 0 22px;break-inside:avoid}
figcaption{margin-bottom:2px}
figcaption b{margin-right:6px}
figure svg{display:block;max-width:none}
.key span{display:inline-block;margin-right:18px}
.key i{display:inline-block;width:11px;height:11px;border-radius:2px;margin-right:5px;vertical-align:-1px}
.grades{display:inline-flex;width:130px;height:11px;border-radius:2px;overflow:hidden;vertical-align:-1px}
.grades i{display:block}
footer{margin-top:40px;border-top:1px solid var(--line);padding-top:8px;font-size:12px;color:var(--muted)}
@page{size:A4 landscape;margin:10mm}
@media print{main{max-width:none;padding:0}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
 h2,h3{break-after:avoid}tr,.pair,.tiles{break-inside:avoid}tfoot{display:table-row-group}}
"""
_GRADES: Final = ("#8cbf9f", "#e8c468", "#c9737a")


def chosen_strips(strips: Sequence[Strip], kind: MistakeKind, noise: str = "") -> list[Strip]:
    """The strips of the records with most mistakes of a kind in ten seconds, at most four."""
    found = [strip for strip in strips if strip.kind == kind and strip.noise == noise]
    return sorted(found, key=lambda strip: (-strip.mistakes, strip.record))[:_PER_KIND]


def accuracy_page(figures: Figures, strips: Sequence[Strip]) -> str:
    """The page of the figures of ``bench ec57``."""
    protocol = figures["protocol"]
    noise: Figures = figures.get("noise", {})
    parts = [
        _header(protocol, figures),
        _tiles(figures),
        _protocol(figures),
        _section("Beat by beat", _summary(figures) + _confusion(figures["confusion"])),
        _section("Ventricular runs and episodes", _runs(figures["gross"]) + _episodes(figures["gross"])),
        _section("Noise stress", _noise(figures, noise)) if noise else "",
        _section("Record by record", _records(figures)),
        _section("Where it goes wrong", _strips(strips, list(noise))),
        _footer(figures),
    ]
    kept = json.dumps(figures).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    data = f'<script type="application/json" id="figures">{kept}</script>'
    title = f"EC57 report: {protocol['database']}"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><main>{''.join(parts)}</main>{data}</body></html>\n"
    )


def _text(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>\n{content}</section>\n"


def _cell(value: float | None, digits: int = 2, style: str = "") -> str:
    if value is None:
        return '<td class="none">–</td>'
    return element("td", _text(value, digits), style=style or None)


def _header(protocol: Figures, figures: Figures) -> str:
    flag = "" if protocol["standard"] else ' <span class="flag">non-standard comparison</span>'
    count = len(figures["records"])
    first, rest = " ".join(NOTICE.split()).split(". ", 1)
    notice = f"<p><b>{escape(first)}.</b></p><p>{escape(rest)}</p>"
    return (
        f"<header><h1>EC57 report<small>{escape(protocol['database'])}, {count} record{'s' * (count != 1)}, "
        f"lead {protocol['lead']}</small></h1>"
        f'<p class="muted">Einthoven {escape(figures["version"])}: own detections against the '
        f"experts&#8217; annotations.{flag}</p></header>\n"
        f'<div class="notice">{notice}</div>\n'
    )


def _tiles(figures: Figures) -> str:
    gross = figures["gross"]
    tiles = [
        ("QRS sensitivity", gross["qrs"]["se"], 2, "%"),
        ("QRS positive predictivity", gross["qrs"]["ppv"], 2, "%"),
        ("V sensitivity", gross["veb"]["se"], 1, "%"),
        ("V positive predictivity", gross["veb"]["ppv"], 1, "%"),
        ("S sensitivity", gross["sveb"]["se"], 1, "%"),
        ("S positive predictivity", gross["sveb"]["ppv"], 1, "%"),
        ("heart-rate error", gross["hr_error_bpm"], 2, "/min"),
    ]
    return (
        '<div class="tiles">'
        + "".join(
            f'<div class="tile"><b>{_text(value, digits)}<small>{unit}</small></b><span>{name}</span></div>'
            for name, value, digits, unit in tiles
        )
        + "</div>\n"
    )


def _protocol(figures: Figures) -> str:
    protocol = figures["protocol"]
    modes = {
        "stream": "30-s segments with their state carried",
        "isolated": "30-s segments, each alone",
        "whole": "the whole record at once",
    }
    rows = [
        ("Database", f"{protocol['database']}: {', '.join(protocol['records'])}"),
        (
            "Analysis",
            f"{modes[protocol['mode']]}; lead {protocol['lead']} alone; {protocol['fs']}-Hz grid",
        ),
        ("Test period", f"from {protocol['start_s']:g} s to the end of each record"),
        ("Match window", f"{1000 * protocol['window_s']:g} ms each side, at the record's own rate"),
        ("Class map", f"{protocol['class_map']} (escape beats are {_escape_class(protocol['class_map'])})"),
        ("Fibrillation", "beats inside the reference's are left out; a mark of the test excuses none"),
        ("Machine", f"{figures['machine']['processor']}, {figures['machine']['cores']} cores"),
    ]
    if protocol["noise"]:
        rows.append(("Noise", f"{', '.join(protocol['noise'])} dB, after nst; see below"))
    return _section(
        "Protocol",
        "<dl>" + "".join(f"<dt>{name}</dt><dd>{escape(str(text))}</dd>" for name, text in rows) + "</dl>",
    )


def _escape_class(class_map: str) -> str:
    return "S" if class_map == "bxb" else "N"


def _heat(share: float | None, full: float) -> str:
    """A tint that is none at 100 % and full at ``full`` %."""
    if share is None:
        return ""
    depth = min(1.0, max(0.0, (100 - share) / (100 - full)))
    return f"background-color:rgba(200,40,50,{0.55 * depth:.3f})"


def _bar(value: float | None, most: float) -> str:
    """A bar behind the number."""
    if not value or not most:
        return ""
    width = 100 * min(1.0, value / most)
    return f"background:linear-gradient(to left,#f3c9b0 {width:.1f}%,transparent {width:.1f}%)"


_SUMMARY: Final = (
    ("qrs", "QRS", None),
    ("veb", "V (ventricular)", "veb_fpr"),
    ("sveb", "S (supraventricular)", "sveb_fpr"),
)


def _summary(figures: Figures) -> str:
    gross, average = figures["gross"], figures["average"]
    rows = []
    for name, title, fpr in _SUMMARY:
        found, missed, extra = gross["counts"][name]
        rows.append(
            f"<tr><td>{title}</td>"
            + "".join(_cell(gross[name][key]) for key in ("se", "ppv", "f1"))
            + (_cell(gross[fpr], 3) if fpr else "<td></td>")
            + "".join(_cell(average[name][key]) for key in ("se", "ppv", "f1"))
            + f"<td>{found}</td><td>{missed}</td><td>{extra}</td></tr>"
        )
    head = (
        '<tr class="groups"><th></th><th colspan="4">gross (pooled beats), %</th>'
        '<th colspan="3">average of the records, %</th><th colspan="3">beats</th></tr>'
        "<tr><th></th><th>Se</th><th>+P</th><th>F1</th><th>FPR</th><th>Se</th><th>+P</th><th>F1</th>"
        "<th>found</th><th>missed</th><th>extra</th></tr>"
    )
    jk = "" if figures["jk"] is None else f" Index jk over N, S, V and F: <b>{_text(figures['jk'], 3)}</b>."
    return (
        f'<div class="wide"><table id="summary"><thead>{head}</thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        f"<p>RR error {_text(gross['rr_error_ms'], 1)} ms. Heart-rate error {_text(gross['hr_error_bpm'])} "
        f"beats/min, {_text(gross['hr_error_percent'])} % of the mean rate. Shutdown "
        f"{_text(gross['shutdown_s'], 0)} s, in which {gross['missed_in_shutdown']} beats were missed.{jk} "
        "Positions lie on an 8-ms grid, which alone makes an RR error of 3.3 ms.</p>\n"
    )


def _confusion(confusion: Figures) -> str:
    counts = confusion["counts"]
    most = max((max(row) for row in counts), default=0)
    rows = []
    for i, row in enumerate(counts):
        cells = []
        for j, count in enumerate(row):
            right = i == j and confusion["rows"][i] in "NSVFQ"
            depth = (len(str(count)) / len(str(most))) if count else 0.0
            colour = "60,140,90" if right else "200,40,50"
            style = f"background-color:rgba({colour},{0.35 * depth:.3f})" if count else ""
            empty = i >= 5 and j >= 5
            cells.append(
                '<td class="none"></td>' if empty else element("td", str(count), style=style or None)
            )
        rows.append(f"<tr><td><b>{confusion['rows'][i]}</b></td>{''.join(cells)}</tr>")
    head = "".join(f"<th>{column}</th>" for column in confusion["columns"])
    return (
        '<h3>Reference (rows) against test (columns)</h3><div class="wide"><table id="confusion">'
        f"<thead><tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        '<p class="muted">o: missed; x: missed where the test says that it does not analyse; O: no beat '
        "there; X: no beat there, in the reference&#8217;s shutdown.</p>\n"
    )


_RUNS: Final = {
    "couplets": "Couplets (2)",
    "short_runs": "Short runs (3 to 5)",
    "long_runs": "Long runs (6 and more)",
}
_EPISODES: Final = {"atrial_fibrillation": "Atrial fibrillation", "fibrillation": "VF or flutter"}


def _runs(gross: Figures) -> str:
    rows = "".join(
        f"<tr><td>{title}</td>{_cell(gross['runs'][name]['se'])}{_cell(gross['runs'][name]['ppv'])}</tr>"
        for name, title in _RUNS.items()
    )
    return (
        '<div class="pair"><table id="runs"><thead><tr><th>Ventricular runs</th><th>Se %</th>'
        f"<th>+P %</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def _episodes(gross: Figures) -> str:
    rows = "".join(
        f"<tr><td>{title}, by {what}</td>"
        f"{_cell(gross['episodes'][name][kind]['se'])}{_cell(gross['episodes'][name][kind]['ppv'])}</tr>"
        for name, title in _EPISODES.items()
        for kind, what in (("episodes", "episode"), ("duration", "time"))
    )
    return (
        '<table id="episodes"><thead><tr><th>Episodes</th><th>Se %</th><th>+P %</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>\n"
    )


_RECORD_GROUPS: Final = (
    '<tr class="groups"><th></th><th colspan="4">QRS</th><th colspan="3">V, %</th>'
    '<th colspan="3">S, %</th><th colspan="3">intervals and time</th></tr>'
    "<tr><th>Record</th><th>Se %</th><th>+P %</th><th>missed</th><th>extra</th>"
    "<th>Se</th><th>+P</th><th>FPR</th><th>Se</th><th>+P</th><th>FPR</th>"
    "<th>RR ms</th><th>HR /min</th><th>off s</th></tr>"
)


def _records(figures: Figures) -> str:
    records = figures["records"]
    most = {
        "missed": max(one["counts"]["qrs"][1] for one in records.values()),
        "extra": max(one["counts"]["qrs"][2] for one in records.values()),
        "rr": max((one["rr_error_ms"] or 0) for one in records.values()),
        "hr": max((one["hr_error_bpm"] or 0) for one in records.values()),
    }
    body = "".join(_record_row(name, one, most) for name, one in records.items())
    average = figures["average"]
    means = (
        f"<tr><td>Average</td>{_cell(average['qrs']['se'])}{_cell(average['qrs']['ppv'])}<td></td><td></td>"
        f"{_cell(average['veb']['se'])}{_cell(average['veb']['ppv'])}{_cell(average['veb_fpr'], 3)}"
        f"{_cell(average['sveb']['se'])}{_cell(average['sveb']['ppv'])}{_cell(average['sveb_fpr'], 3)}"
        f"{_cell(average['rr_error_ms'], 1)}{_cell(average['hr_error_bpm'])}<td></td></tr>"
    )
    foot = _record_row("Gross", figures["gross"], None) + means
    return (
        f'<div class="wide"><table id="records"><thead>{_RECORD_GROUPS}</thead><tbody>{body}</tbody>'
        f"<tfoot>{foot}</tfoot></table></div>"
        '<p class="muted">Red: further from 100 % (full at 97 for QRS, at 50 for V and S). Bars: against the '
        "worst record. off: seconds that the test says it does not analyse.</p>\n"
    )


def _record_row(name: str, one: Figures, most: Mapping[str, float] | None) -> str:
    _, missed, extra = one["counts"]["qrs"]

    def heat(share: float | None, full: float) -> str:
        return _cell(share, 2, "" if most is None else _heat(share, full))

    def bar(value: float | None, digits: int, key: str) -> str:
        return _cell(value, digits, "" if most is None else _bar(value, most[key]))

    return (
        f"<tr><td>{escape(name)}</td>{heat(one['qrs']['se'], 97)}{heat(one['qrs']['ppv'], 97)}"
        f"{bar(missed, 0, 'missed')}{bar(extra, 0, 'extra')}"
        f"{heat(one['veb']['se'], 50)}{heat(one['veb']['ppv'], 50)}{_cell(one['veb_fpr'], 3)}"
        f"{heat(one['sveb']['se'], 50)}{heat(one['sveb']['ppv'], 50)}{_cell(one['sveb_fpr'], 3)}"
        f"{bar(one['rr_error_ms'], 1, 'rr')}{bar(one['hr_error_bpm'], 2, 'hr')}"
        f"{_cell(one['shutdown_s'], 0)}</tr>"
    )


def _noise(figures: Figures, noise: Figures) -> str:
    levels = {"none": figures["gross"], **{level: one["gross"] for level, one in noise.items()}}
    rows = []
    for level, one in levels.items():
        noisy = one["noisy"]
        shares = noisy["share_by_grade"]
        grades = "".join(
            f'<i style="width:{share or 0:.1f}%;background:{colour}"></i>'
            for share, colour in zip(shares, _GRADES, strict=True)
        )
        rows.append(
            f"<tr><td>{escape(level)}</td>{_cell(noisy['measured_snr_db'], 1)}"
            f"{_cell(noisy['qrs']['se'], 2, _heat(noisy['qrs']['se'], 80))}"
            f"{_cell(noisy['qrs']['ppv'], 2, _heat(noisy['qrs']['ppv'], 60))}"
            f"{_cell(noisy['veb']['se'])}{_cell(noisy['veb']['ppv'])}"
            f"{_cell(one['qrs']['se'])}{_cell(one['qrs']['ppv'])}{_cell(one['hr_error_bpm'], 1)}"
            f'{"".join(_cell(share, 1) for share in shares)}<td><span class="grades">{grades}</span></td>'
            f"{_cell(noisy['shutdown_s'], 0)}</tr>"
        )
    head = (
        '<tr class="groups"><th colspan="2">noise, dB</th><th colspan="4">inside the noisy periods, %</th>'
        '<th colspan="3">whole test period</th><th colspan="5">quality inside</th></tr>'
        "<tr><th>asked</th><th>measured</th><th>QRS Se</th><th>+P</th><th>V Se</th><th>+P</th>"
        "<th>QRS Se %</th><th>+P %</th><th>HR /min</th>"
        "<th>grade 1 %</th><th>2 %</th><th>3 %</th><th></th><th>off s</th></tr>"
    )
    beats = sum(levels["none"]["noisy"]["counts"]["qrs"][:2])
    return (
        "<p>Real noise (PhysioNet nstdb) added from 5:00 on, two minutes in four, after WFDB&#8217;s nst: "
        f"bw baseline wander, ma muscle artefact, em electrode motion. {beats} beats lie in the noisy "
        f"periods of {len(figures['records'])} records. Gross figures.</p>"
        f'<div class="wide"><table id="noise"><thead>{head}</thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>\n"
    )


_COUNTED: Final[dict[MistakeKind, str]] = {"missed": "missed", "extra": "extra", "class": "of another class"}
_TITLES: Final[dict[MistakeKind, str]] = {
    "missed": "Missed beats",
    "extra": "Beats that are none",
    "class": "V and S taken for something else, or the reverse",
}


def _strips(strips: Sequence[Strip], levels: Sequence[str]) -> str:
    key = "".join(
        f'<span><i style="background:{MISTAKE_COLOURS[kind]}"></i>{MISTAKE_WORDS[kind]}</span>'
        for kind in MISTAKES
    )
    parts = [
        "<p>The ten seconds with most mistakes, of the records that have most. 25 mm/s, 10 mm/mV; the pulse "
        "is 1 mV and 0.2 s; the reference&#8217;s beats above, the test&#8217;s below.</p>"
        f'<p class="key">{key}</p>'
    ]
    number = 0
    for title, chosen in [
        *((_TITLES[kind], chosen_strips(strips, kind)) for kind in MISTAKES),
        *((f"In noise, {level}", _of_each_kind(strips, level)) for level in levels),
    ]:
        if chosen:
            parts.append(f"<h3>{escape(title)}</h3>")
        for strip in chosen:
            number += 1
            words = f"{strip.mistakes} {_COUNTED[strip.kind]}"
            caption = (
                f"<b>{escape(strip.record)}</b> {escape(strip.lead)}, from {clock(strip.start_s)} "
                f'<span class="muted">({words})</span>'
            )
            named = f"Record {strip.record} at {clock(strip.start_s)}"
            svg = draw_strip(strip, f"strip{number}").inner(named)
            parts.append(f'<figure><figcaption>{caption}</figcaption><div class="wide">{svg}</div></figure>')
    if not number:
        parts.append("<p>No mistake in the test period.</p>")
    return "".join(parts)


def _of_each_kind(strips: Sequence[Strip], level: str) -> list[Strip]:
    return [strip for kind in MISTAKES for strip in chosen_strips(strips, kind, level)[:1]]


def _footer(figures: Figures) -> str:
    return (
        f"<footer>Einthoven {escape(figures['version'])}. The records are of public databases (PhysioNet; "
        "MIT-BIH Arrhythmia Database, Moody and Mark, IEEE Eng. Med. Biol. 20(3), 2001; Goldberger et al., "
        "Circulation 101(23), 2000; ODC-By 1.0). Not a medical device.</footer>"
    )
