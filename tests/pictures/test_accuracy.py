"""The EC57 report: one file, well formed, and every figure on it the one that JSON has."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from einthoven.cli import run
from einthoven.evaluation import Labels
from einthoven.evaluation.mistakes import Mistake, mistakes, strip_of, worst_start
from einthoven.notice import NOTICE
from einthoven.pictures.accuracy import chosen_strips
from einthoven.pictures.strips import clock, draw_strip

FS = 100.0
NONE = np.empty((0, 2), np.int64)
SVG = "{http://www.w3.org/2000/svg}"


def side(beats: dict[int, str]) -> Labels:
    return Labels(np.array(sorted(beats)), np.array([beats[k] for k in sorted(beats)], "U1"), *(NONE,) * 3)


REFERENCE = side({1000: "N", 1100: "V", 1200: "N", 1300: "F", 1400: "S", 3000: "N", 3100: "N"})
TEST = side({1000: "N", 1102: "N", 1250: "N", 1300: "N", 1400: "S", 1450: "V", 3000: "V"})
FOUND = mistakes(REFERENCE, TEST, fs=FS, start_s=0.0, end=10_000)


def test_mistakes_are_missed_extra_and_of_another_class() -> None:
    """F called N is no mistake here: V and S are what is asked for."""
    assert [
        Mistake("class", 1100, 1102),
        Mistake("missed", 1200, None),
        Mistake("extra", None, 1250),
        Mistake("extra", None, 1450),
        Mistake("class", 3000, 3000),
        Mistake("missed", 3100, None),
    ] == FOUND


def test_the_worst_strip_has_most_of_a_kind_in_its_middle() -> None:
    assert worst_start(FOUND, "extra", fs=FS, end=10_000) == (1250 + 1450) // 2 - 500
    assert worst_start(FOUND, "missed", fs=FS, end=10_000) == 1200 - 500
    assert worst_start(FOUND, "missed", fs=FS, end=1300) == 300, "inside the record"
    assert worst_start([], "missed", fs=FS, end=10_000) is None


def a_strip(kind, record="r", ecg=None):
    ecg_mv = np.sin(np.arange(1000) / 9).astype(np.float32) if ecg is None else ecg
    return strip_of(ecg_mv, REFERENCE, TEST, FOUND, kind, record=record, lead="MLII", fs=FS, start=850)


def test_a_strip_names_its_own_mistakes_on_both_sides() -> None:
    strip = a_strip("extra")
    assert strip.mistakes == 2
    assert [(beat.label, beat.mistake) for beat in strip.reference] == [
        *(("N", None), ("V", "class"), ("N", "missed"), ("F", None), ("S", None)),
    ]
    assert [(beat.label, beat.mistake) for beat in strip.test] == [
        *(("N", None), ("N", "class"), ("N", "extra"), ("N", None), ("S", None), ("V", "extra")),
    ]


@pytest.mark.parametrize(
    "ecg", [np.zeros(1000), np.full(1000, np.nan), np.linspace(-40, 40, 1000), np.empty(0)]
)
def test_any_ecg_can_be_drawn_at_its_true_size(ecg: np.ndarray) -> None:
    svg = draw_strip(a_strip("missed", ecg=ecg.astype(np.float32)), "a")
    root = ET.fromstring(svg.file("a title & more"))
    assert root.attrib["width"] == f"{svg.width_mm:g}mm"
    assert root.attrib["viewBox"].split()[2] == f"{svg.width_mm:g}"
    assert svg.width_mm >= 250, "ten seconds at 25 mm/s"


def test_a_second_is_25_mm_and_a_millivolt_10() -> None:
    step = np.repeat([0.0, 1.0], 500).astype(np.float32)
    root = ET.fromstring(draw_strip(a_strip("missed", ecg=step), "a").file("t"))
    trace, pulse = [path.attrib["d"] for path in root.iter(f"{SVG}path") if path.get("transform")]
    steps = np.array(re.findall(r"-?\d+", trace), int)[2:].reshape(-1, 2)
    assert steps[:, 0].sum() == 100 * 25 * 9.99, "hundredths of a millimetre"
    assert steps[:, 1].min() == -1000
    pulse_steps = np.array(re.findall(r"-?\d+", pulse), int)[2:].reshape(-1, 2)
    assert [pulse_steps[:, 1].min(), pulse_steps[:, 1].max()] == [-1000, 1000]
    assert pulse_steps[2, 0] == 500, "0.2 s"


def test_strips_come_from_the_records_with_most_mistakes() -> None:
    strips = [a_strip("extra", f"r{k}") for k in range(6)] + [a_strip("missed", "m")]
    assert [strip.record for strip in chosen_strips(strips, "extra")] == ["r0", "r1", "r2", "r3"]
    assert chosen_strips(strips, "extra", "em:6") == []


def test_times_are_told_in_hours_minutes_and_seconds() -> None:
    assert [clock(s) for s in (0, 59.96, 1352.41, 3600)] == [
        "0:00:00.0",
        "0:01:00.0",
        "0:22:32.4",
        "1:00:00.0",
    ]


@pytest.fixture(scope="module")
def report(data, tmp_path_factory) -> Path:
    page = tmp_path_factory.mktemp("report") / "page.html"
    words = ["--records", "116,207,208", "--noise", "em:6", "--workers", "1", "--page", str(page)]
    assert run(["bench", "ec57", "--data", str(data), *words]) == 0
    return page


def rows_of(root: ET.Element, table: str) -> dict[str, list[str]]:
    (found,) = [one for one in root.iter("table") if one.get("id") == table]
    rows = [["".join(cell.itertext()) for cell in row.iter("td")] for row in found.iter("tr")]
    return {row[0]: row[1:] for row in rows if row}


def told(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def test_the_page_is_one_well_formed_file_that_loads_nothing(report: Path) -> None:
    text = report.read_text()
    root = ET.fromstring(text)
    assert not re.findall(r"(?:src|href)=", text)
    assert not re.findall(r"@import|url\((?!#)", text)
    for address in re.findall(r"https?://[^\s\"'<]+", text):
        assert address == "http://www.w3.org/2000/svg", "a name of SVG, not a place"
    scripts = list(root.iter("script"))
    assert [script.get("type") for script in scripts] == ["application/json"]
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_the_page_says_the_notice_and_that_it_is_not_the_standard_comparison(report: Path) -> None:
    text = " ".join("".join(ET.fromstring(report.read_text()).itertext()).split())
    assert "non-standard comparison" in text
    for sentence in " ".join(NOTICE.split()).split(". "):
        assert sentence in text


def test_every_figure_on_the_page_is_the_one_in_json(report: Path, data, capsys) -> None:
    root = ET.fromstring(report.read_text())
    (script,) = root.iter("script")
    kept = json.loads(script.text or "")
    words = ["--records", "116,207,208", "--noise", "em:6", "--workers", "1", "--json"]
    assert run(["bench", "ec57", "--data", str(data), *words]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert kept == figures
    rows = rows_of(root, "records")
    assert list(rows) == ["116", "207", "208", "Gross", "Average"]
    for name, one in {**figures["records"], "Gross": figures["gross"]}.items():
        _, missed, extra = one["counts"]["qrs"]
        assert rows[name] == [
            *(told(one["qrs"][key], 2) for key in ("se", "ppv")),
            *(str(missed), str(extra)),
            *(told(one["veb"]["se"], 2), told(one["veb"]["ppv"], 2), told(one["veb_fpr"], 3)),
            *(told(one["sveb"]["se"], 2), told(one["sveb"]["ppv"], 2), told(one["sveb_fpr"], 3)),
            *(told(one["rr_error_ms"], 1), told(one["hr_error_bpm"], 2), told(one["shutdown_s"], 0)),
        ]
    average = figures["average"]
    assert rows["Average"][6] == told(average["veb_fpr"], 3)
    assert rows["Average"][-3:-1] == [told(average["rr_error_ms"], 1), told(average["hr_error_bpm"], 2)]
    confusion = rows_of(root, "confusion")
    for row, counts in zip(figures["confusion"]["rows"], figures["confusion"]["counts"], strict=True):
        assert [int(cell or 0) for cell in confusion[row]] == counts
    noisy = figures["noise"]["em:6"]["gross"]["noisy"]
    assert rows_of(root, "noise")["em:6"][1:3] == [told(noisy["qrs"][key], 2) for key in ("se", "ppv")]
    assert set(rows_of(root, "noise")) == {"none", "em:6"}
    runs = rows_of(root, "runs")
    assert runs["Couplets (2)"] == [
        told(figures["gross"]["runs"]["couplets"][key], 2) for key in ("se", "ppv")
    ]


def test_the_page_draws_missed_extra_and_confused_beats(report: Path) -> None:
    root = ET.fromstring(report.read_text())
    text = "".join(root.itertext())
    for words in ("Missed beats", "Beats that are none", "V and S taken", "In noise, em:6", "25 mm/s"):
        assert words in text
    figures = list(root.iter("figure"))
    assert 6 <= len(figures) <= 15
    titles = {"".join(title.itertext()) for title in root.iter(f"{SVG}title")}
    assert any(title.startswith("Record 208 at") for title in titles)


def test_a_page_that_cannot_be_written_is_said_so(data, tmp_path: Path, capsys) -> None:
    words = ["--records", "119", "--workers", "1", "--page", str(tmp_path / "none" / "page.html"), "--json"]
    assert run(["bench", "ec57", "--data", str(data), *words]) == 2
    assert "recording-unreadable" in capsys.readouterr().err
