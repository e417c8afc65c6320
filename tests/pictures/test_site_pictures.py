"""The drawing of a continuum shows all that there is, and how full a plan makes it."""

from xml.etree import ElementTree

import pytest

from einthoven.continuum import example, read_continuum
from einthoven.pictures.sites import Loads, draw_continuum, heat, link_part

HOSPITAL = read_continuum(example())


def words_of(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg.split("\n", 1)[1])
    return [element.text or "" for element in root.iter() if element.tag.endswith("text")]


def test_all_that_is_declared_is_in_the_drawing() -> None:
    words = words_of(draw_continuum(HOSPITAL).file("hospital"))
    for one in (*HOSPITAL.sites, *HOSPITAL.cells):
        assert one.name in words
    for request in HOSPITAL.requests:
        assert f"{request.count} × {request.name}" in words
    assert "50 Mbit/s, 8 ms" in words
    assert {"core", "edge", "local"} <= set(words)


def test_a_plan_is_told_in_parts_and_colours() -> None:
    loads = Loads(
        parts={"ward compute": 0.3, "backhaul-north to data-centre": 0.85, "north up": 1.0},
        computed={"ward": 3},
        accepted={"ward-alarm": 12, "home-near": 20},
        title="32 of 70",
    )
    svg = draw_continuum(HOSPITAL, loads).file("hospital")
    words = words_of(svg)
    assert "computes 3, 30 % given" in words
    assert "300 Mbit/s, 15 ms, 85 %" in words
    assert "100 % given" in words
    assert {"12 of 12 × ward-alarm", "20 of 24 × home-near", "32 of 70"} <= set(words)
    for part in (0.3, 0.85, 1.0):
        assert heat(part) in svg


def test_fuller_is_another_colour_and_the_fuller_direction_of_a_link_counts() -> None:
    assert len({heat(part) for part in (0.0, 0.4, 0.7, 0.9, 1.0)}) == 5
    assert heat(None) == heat(0.0)
    (link,) = [one for one in HOSPITAL.links if one.name == "ambulance-5g"]
    parts = {"ambulance-5g to mast-south": 0.4, "ambulance-5g to ambulance": 0.1}
    assert link_part(link, parts) == 0.4
    assert link_part(link, {}) is None
    assert link_part(link, {"other": 1.0}) == 0.0


@pytest.mark.parametrize("text", ["", '[sites.alone]\ntier = "local"\n'])
def test_hardly_anything_is_drawn_too(text: str) -> None:
    assert words_of(draw_continuum(read_continuum(text)).file("little"))
