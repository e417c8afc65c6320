"""The way to a region is measured by the calls that go there."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.placement.ways import WayMeter


@given(
    latency_s=st.floats(0.0001, 1.0),
    rate=st.floats(1e5, 1e10),
    sizes=st.lists(st.floats(1e3, 1e7), min_size=20, max_size=60),
)
def test_latency_and_rate_of_a_way_are_found(latency_s: float, rate: float, sizes: list[float]) -> None:
    meter = WayMeter()
    for bits in [1e4, *sizes, 5e6, 1e5]:
        meter.note(bits, latency_s + bits / rate)
    assert meter.bits_per_s == pytest.approx(rate, rel=1e-3)
    assert meter.latency_s == pytest.approx(latency_s, rel=1e-2, abs=1e-2 * 5e6 / rate)


@given(st.floats(1e3, 1e7), st.floats(0.0, 10.0))
def test_calls_of_one_size_tell_no_rate(bits: float, took_s: float) -> None:
    meter = WayMeter()
    assert meter.latency_s is None
    for _ in range(50):
        meter.note(bits, took_s)
    assert meter.bits_per_s is None
    assert meter.latency_s == pytest.approx(took_s)


def test_what_changes_is_noticed() -> None:
    rng, meter = random.Random(1), WayMeter()

    def call(rate: float) -> None:
        bits = rng.uniform(1e4, 1e6)
        meter.note(bits, 0.01 + bits / rate + rng.uniform(0, 0.0005))

    for _ in range(200):
        call(50e6)
    assert meter.bits_per_s == pytest.approx(50e6, rel=0.1)
    for _ in range(300):
        call(5e6)
    assert meter.bits_per_s == pytest.approx(5e6, rel=0.1)
    assert meter.latency_s == pytest.approx(0.01, abs=0.003)


def test_what_is_no_measurement_changes_nothing() -> None:
    meter = WayMeter()
    meter.note(float("nan"), 1.0)
    meter.note(1.0, float("inf"))
    meter.note(-1.0, 1.0)
    assert meter.latency_s is None
    meter.note(1.0, -0.5)
    assert meter.latency_s == 0.0
