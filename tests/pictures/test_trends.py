"""Views drawn: what is there has its place in time, and what is not stays empty."""

import os
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.pictures.trends import Drawing, draw_trend
from einthoven.signal.rules import KINDS, Kind
from einthoven.views import Field, Tallies
from einthoven.views.tallies import FIELDS

PICTURE = Path(__file__).parent.parent.parent / "docs" / "pictures" / "trend.svg"
DAY = 20_000 * 1440
SVG = "{http://www.w3.org/2000/svg}"


def some_hours(hours: list[int], rng: np.random.Generator) -> Tallies:
    """A night that is slow, a day that is quick, and seconds that cannot be read."""
    rows = np.zeros((len(hours), FIELDS), np.int64)
    rate = 68 + 14 * np.sin((np.array(hours) % 24 - 9) / 24 * 2 * np.pi) + rng.normal(0, 2, len(hours))
    rows[:, Field.SOUND] = 60 * rate
    rows[:, Field.SOUND_MS] = 3_600_000
    rows[:, Field.SLOWEST_MS] = 480_000 / (rate - rng.uniform(8, 16, len(hours)))
    rows[:, Field.FASTEST_MS] = 480_000 / (rate + rng.uniform(20, 60, len(hours)))
    rows[:, Field.UNREADABLE_S] = rng.integers(0, 300, len(hours))
    rows[:, Field.QRS_ONLY_S] = rng.integers(0, 500, len(hours))
    rows[:, Field.CLEAR_S] = 3600 - rows[:, Field.UNREADABLE_S] - rows[:, Field.QRS_ONLY_S]
    return Tallies(60, DAY + 60 * np.array(hours, np.int64), rows)


@given(st.sets(st.integers(0, 47)), st.sets(st.sampled_from(KINDS), max_size=4), st.integers(0, 99))
def test_every_drawing_is_whole_and_within_its_borders(hours: set[int], kinds: set[Kind], seed: int) -> None:
    rng = np.random.default_rng(seed)
    tallies = some_hours(sorted(hours), rng)
    burden = {kind: rng.integers(0, 3_600_001, len(tallies)) for kind in kinds}
    svg = draw_trend(Drawing("Patient p", tallies, DAY, DAY + 2 * 1440, burden))
    root = ET.fromstring(svg.file("made"))
    words = {one.text for one in root.iter(f"{SVG}text")}
    assert {kind.replace("_", " ") for kind in kinds} <= words
    for path in root.iter(f"{SVG}path"):
        if "transform" in path.attrib:
            continue
        for x, y in re.findall(r"M([\d.-]+) ([\d.-]+)", path.attrib["d"]):
            assert 0 <= float(x) <= svg.width_mm
            assert 0 <= float(y) <= svg.height_mm


def test_a_bucket_without_anything_stays_empty() -> None:
    rng = np.random.default_rng(1)
    drawing = Drawing("p", some_hours([0, 1, 10], rng), DAY, DAY + 1440, {})
    text = draw_trend(drawing).file("made")
    (mean,) = re.findall(r'd="(M[^"]*l[^"]*)" transform', text)
    assert mean.count("M") == 2, "the line is broken where nothing was received"


def test_the_picture_of_the_documentation_is_what_is_drawn() -> None:
    rng = np.random.default_rng(7)
    hours = [hour for hour in range(7 * 24) if not 60 <= hour < 71]
    tallies = some_hours(hours, rng)
    fibrillation = np.where((np.array(hours) % 40 < 6), rng.integers(300_000, 3_600_000, len(hours)), 0)
    run = np.where(rng.random(len(hours)) < 0.05, 40_000, 0)
    drawing = Drawing(
        "Patient p-17",
        tallies,
        DAY,
        DAY + 7 * 1440,
        {"atrial_fibrillation": fibrillation, "ventricular_run": run},
    )
    text = draw_trend(drawing).file("Views of a week")
    if os.environ.get("EINTHOVEN_WRITE_DOCS"):
        PICTURE.write_text(text)
    assert PICTURE.read_text() == text


@pytest.mark.parametrize("span_min", [60, 1440, 30 * 1440, 366 * 1440])
def test_the_axis_has_a_few_labels_whatever_the_span(span_min: int) -> None:
    svg = draw_trend(Drawing("p", Tallies.none(60), DAY, DAY + span_min, {}))
    labels = re.findall(r">(\d\d (?:[A-Z][a-z]{2})|\d\d:\d\d)<", svg.file("made"))
    assert 2 <= len(labels) <= 10
