"""Charts show every value once, also where there are none."""

import math
from xml.etree import ElementTree

from einthoven.pictures.charts import Bars, Chart, Line, draw_bars, draw_lines

CHART = Chart(title="A < B", x="x", y="a & b")


def words(svg: str) -> list[str]:
    return [one.text or "" for one in ElementTree.fromstring(svg).iter() if one.tag.endswith("text")]


def test_bars_carry_their_values_and_names() -> None:
    svg = draw_bars(CHART, ["one", "two"], [Bars(name="ours", values=[12.34, math.nan])]).file("t")
    said = words(svg)
    for wanted in ("A < B", "a & b", "one", "two", "ours", "12.3"):
        assert wanted in said
    assert "nan" not in svg


def test_lines_have_a_mark_for_each_value_and_round_ticks() -> None:
    line = Line(name="ours", x=[0, 500, 1500], y=[0.0, math.nan, 1000.0])
    svg = draw_lines(CHART, [line]).file("t")
    assert svg.count("<circle") == 3, "two values and the key"
    assert {"1,000", "1,500", "0"} <= set(words(svg))
    assert "nan" not in svg


def test_a_chart_of_nothing_is_a_chart() -> None:
    for drawn in (
        draw_lines(CHART, []),
        draw_bars(CHART, [], []),
        draw_bars(CHART, ["a"], [Bars(name="b", values=[0])]),
    ):
        ElementTree.fromstring(drawn.file("t"))


def test_lines_show_how_sure_a_value_is() -> None:
    """An error bar for each value that has one; where it is not known, none."""
    line = Line(name="ours", x=[0, 1, 2], y=[1.0, 2.0, math.nan], within=[0.5, math.nan, 1.0])
    plain = draw_lines(CHART, [Line(name="ours", x=line.x, y=line.y)]).file("t")
    svg = draw_lines(CHART, [line]).file("t")
    assert svg.count("<line") > plain.count("<line")
    assert "nan" not in svg
    tall = draw_lines(CHART, [Line(name="ours", x=[0, 1], y=[1.0, 2.0], within=[30.0, 1.0])]).file("t")
    ends = [float(one.attrib["y2"]) for one in ElementTree.fromstring(tall).iter() if "y2" in one.attrib]
    assert min(ends) >= 15.0, "nothing is drawn above where the axes end"
