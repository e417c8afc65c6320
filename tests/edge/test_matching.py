"""Which node gets a nanoservice, and what a nanoservice may be."""

import re
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.edge.matching import LASTING, WHY_NOT, Candidate, Matched, Unplaced, match, unfit
from einthoven.edge.nanoservices import Nanoservice, read_nanoservice
from einthoven.edge.nodes import NodeDescription
from einthoven.errors import InputInvalid
from einthoven.placement.offloading import Admitted, Offers, Sessions
from einthoven.trust.policy import read_policy

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "nodes.md").read_text()
POLICY = read_policy(
    """
    version = 1
    [functions]
    analysis = ["samples"]
    analyses = ["samples"]
    [[rules]]
    name = "here"
    data = ["samples"]
    tiers = ["local", "edge"]
    """
)


def a_service(**more) -> Nanoservice:
    return Nanoservice(**{"name": "ecg", "version": "1", "region": "icu", **more})


def a_node(name: str = "pi", *, stands: dict | None = None, **has) -> Candidate:
    return Candidate(name=name, description=NodeDescription(**has), **(stands or {}))


@pytest.mark.parametrize(
    ("why", "service", "has", "stands"),
    [
        ("away", {}, {}, {"is_here": False}),
        ("draining", {}, {}, {"is_draining": True}),
        ("back-end", {}, {"back_ends": ("wasm",)}, {}),
        ("architecture", {"architectures": ("aarch64",)}, {"architecture": "x86_64"}, {}),
        ("capability", {"needs": ("spo2@1", "o2-valve")}, {"capabilities": ("spo2@1",)}, {}),
        ("tier", {"highest_tier": "local"}, {"tier": "edge"}, {}),
        ("battery", {"needs_mains": True}, {"power": "battery"}, {}),
        ("unstable", {"needs_stable": True}, {"is_stable": False}, {}),
        ("policy", {}, {"tier": "core"}, {}),
        ("taken", {}, {}, {"runs": frozenset({("ecg", "1")})}),
        ("failed", {}, {}, {"has_failed": True}),
        ("memory", {"memory_bytes": 60.0}, {"memory_bytes": 100.0}, {"memory_bytes": 50.0}),
        (
            "deadline",
            {"work_cycles": 6.0, "deadline_s": 1.0},
            {"cycles_per_s": 10.0},
            {"cycles_per_s": 5.0},
        ),
    ],
)
def test_each_rule_leaves_a_node_out_and_is_told(why: str, service: dict, has: dict, stands: dict) -> None:
    found = match(a_service(**service), [a_node(stands=stands, **has)], partial(unfit, policy=POLICY))
    assert found == Unplaced({"pi": why})
    assert f"| `{why}` | {WHY_NOT[why]} |" in PAGE


def test_what_waiting_cannot_change_is_of_the_node_and_the_service() -> None:
    assert {"away", "draining", "failed", "memory", "deadline"} == WHY_NOT.keys() - LASTING


def test_the_emptiest_node_is_taken_then_the_nearest_then_the_one_that_stays() -> None:
    far = {"tier": "edge", "memory_bytes": 100.0}
    near = {"tier": "local", "memory_bytes": 100.0}
    full = a_node("a", stands={"memory_bytes": 20.0}, **near)
    assert match(a_service(), [full, a_node("b", **far)]) == Matched("b")
    assert match(a_service(), [a_node("a", **far), a_node("b", **near)]) == Matched("b")
    assert match(a_service(), [a_node("a", is_stable=False, **near), a_node("b", **near)]) == Matched("b")
    assert match(a_service(), [a_node("b", **near), a_node("a", **near)]) == Matched("a")


@given(
    st.lists(st.tuples(st.floats(1, 100), st.floats(0.01, 10)), min_size=1, max_size=8), st.floats(10, 1000)
)
def test_who_is_in_time_is_who_the_planner_admits(asked: list[tuple[float, float]], capacity: float) -> None:
    """With one resource, the spectral test of offloading is the sum that matching looks at."""
    sessions = Sessions(np.array([capacity]))
    taken = 0.0
    for number, (work, deadline_s) in enumerate(asked):
        service = a_service(work_cycles=work, deadline_s=deadline_s)
        part = (taken + service.cycles_per_s) / capacity
        if abs(part - 1) < 1e-6:
            return
        node = a_node(stands={"cycles_per_s": taken}, cycles_per_s=capacity)
        offers = Offers(paths=np.array([[0]]), demands=np.array([[service.cycles_per_s]]), sites=("pi",))
        planned = sessions.admit(str(number), offers)
        assert isinstance(match(service, [node]), Matched) == isinstance(planned, Admitted)
        if isinstance(planned, Admitted):
            taken += service.cycles_per_s


def test_a_file_says_what_a_nanoservice_is() -> None:
    text = (
        'name = "ecg"\nversion = "1.2"\nregion = "icu"\nmemory = "300 MB"\nlease = "2 s"\nneeds = ["spo2@1"]'
    )
    assert read_nanoservice(text) == a_service(
        version="1.2", memory_bytes=3e8, lease_s=2.0, needs=("spo2@1",)
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name =", "not TOML"),
        ('version = "1"', "no `name`"),
        ('name = "ecg"\nversion = "1"', "region"),
        ('name = "ECG"\nversion = "1"\nregion = "icu"', "63 letters"),
        ('name = "ecg"\nversion = "1"\nregion = "icu"\nmemory = 3', "no unit"),
        ('name = "ecg"\nversion = "1"\nregion = "icu"\ncolour = "red"', "colour"),
        ('name = "ecg"\nversion = "1"\nregion = "icu"\nis_exclusive = true\nreplicas = 2', "has one"),
        ('name = "ecg"\nversion = "1"\nregion = "icu"\nwork = "2 Mcycle"', "deadline"),
        ('name = "ecg"\nversion = "1"\nregion = "icu"\nprogram = "../x"', "SHA-256"),
    ],
)
def test_a_file_that_says_something_else_is_refused(text: str, says: str) -> None:
    with pytest.raises(InputInvalid, match=says):
        read_nanoservice(text)


def test_the_example_of_the_page_is_one() -> None:
    page = (Path(__file__).parents[2] / "docs" / "nodes.md").read_text()
    [text] = [one for one in re.findall(r"^```toml\n(.*?)^```", page, re.M | re.S) if "version" in one]
    assert read_nanoservice(text).replicas == 2


def test_every_key_of_the_file_is_on_its_page() -> None:
    for field in msgspec.structs.fields(Nanoservice):
        assert f"`{field.encode_name}`" in PAGE
