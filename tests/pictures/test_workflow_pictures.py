"""Workflows drawn: everything is there, nothing lies over anything else, and colours mean something."""

import os
import re
import xml.etree.ElementTree as ET
from importlib.resources import files
from itertools import combinations
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from einthoven.pictures.workflows import Performed, draw_workflow
from einthoven.workflow import check_text
from einthoven.workflow.drawing import Drawn, tree_of

PICTURE = Path(__file__).parent.parent.parent / "docs" / "pictures" / "workflow.svg"
SVG = "{http://www.w3.org/2000/svg}"

leaves = st.builds(
    Drawn, st.just("function"), st.text("abcdefghij", min_size=1, max_size=40), st.text(max_size=90)
)
kinds = st.sampled_from(
    ["sequence", "if", "switch", "for", "while", "parallel", "parallelFor", "then", "section"]
)
trees = st.recursive(
    leaves,
    lambda inner: st.builds(
        Drawn,
        kinds,
        st.text("abc", max_size=30),
        st.text(max_size=90),
        st.lists(inner, min_size=1, max_size=4).map(tuple),
    ),
    max_leaves=12,
)


def rectangles(svg: str) -> list[tuple[float, float, float, float]]:
    found = ET.fromstring(svg).iter(f"{SVG}rect")
    boxes = [tuple(float(one.attrib[key]) for key in ("x", "y", "width", "height")) for one in found]
    return [(x, y, x + width, y + height) for x, y, width, height in boxes]


@given(trees)
def test_boxes_lie_within_each_other_or_apart(tree: Drawn) -> None:
    text = draw_workflow(tree, {}, {}).file("made")
    for a, b in combinations(rectangles(text), 2):
        is_apart = a[2] <= b[0] + 0.02 or b[2] <= a[0] + 0.02 or a[3] <= b[1] + 0.02 or b[3] <= a[1] + 0.02
        is_within = all(x <= y + 0.02 for x, y in ((a[0], b[0]), (a[1], b[1]), (b[2], a[2]), (b[3], a[3])))
        assert is_apart or is_within, (a, b)


def batch() -> Drawn:
    text = files("einthoven.workflow").joinpath("ecg", "batch.yaml").read_bytes()
    workflow = check_text(text).workflow
    assert workflow is not None
    return tree_of(workflow)


def test_every_function_is_named_and_one_invocation_has_one_colour() -> None:
    names = ["countHours", "split", "preprocessing", "bdc", "postprocessing", "finalization", "join"]
    svg = draw_workflow(batch(), dict.fromkeys(names[1:6], 1), {}).inner("batch")
    assert all(f">{name}</text>" in svg for name in names)
    assert svg.count('fill="#e3ecf8"') == 5


def test_a_run_shows_what_succeeded_and_what_failed() -> None:
    performed = {
        "split": Performed(done=12, took_s=0.25, bytes=1200),
        "bdc": Performed(done=11, failed=1, took_s=0.75, bytes=3_456_000),
    }
    svg = draw_workflow(batch(), {}, performed).inner("batch")
    assert "✓ 12</text>" in svg
    assert "✓ 11</text>" in svg
    assert "✗ 1</text>" in svg
    assert ">250 ms, 1.2 kB</text>" in svg
    assert ">750 ms, 3.46 MB</text>" in svg
    bars = [float(one) for one in re.findall(r'width="([\d.]+)" height="0.7"', svg)]
    assert len(bars) == 2
    assert bars[1] > 2 * bars[0], "a bar is the share of the time"


def test_the_picture_of_the_pages_is_that_of_the_program() -> None:
    names = ["split", "preprocessing", "bdc", "postprocessing", "finalization"]
    content = draw_workflow(batch(), dict.fromkeys(names, 1), {}).file("The batch workflow of hours of ECG")
    if os.environ.get("EINTHOVEN_WRITE_DOCS"):
        PICTURE.write_text(content)
    assert PICTURE.read_text() == content
