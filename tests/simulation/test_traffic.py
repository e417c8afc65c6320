"""The plan of a run: every segment once, evenly spread, in order, the same for the same seed."""

import itertools
import math
from collections import defaultdict

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from einthoven.errors import InputInvalid
from einthoven.simulation.pace import Burst, Pace
from einthoven.simulation.traffic import Traffic, deliveries, requests

SHARES = st.sampled_from([0.0, 0.1, 0.5, 1.0])


@st.composite
def traffics(draw) -> Traffic:
    return Traffic(
        patients=draw(st.integers(1, 40)),
        segments_per_minute=draw(st.sampled_from([1.0, 2.0, 7.0, 30.0])),
        rate_per_s=draw(st.none() | st.floats(0.5, 50)),
        duration_s=draw(st.floats(0.5, 120)),
        ramp_s=draw(st.sampled_from([0.0, 3.0, 500.0])),
        burst_at_s=draw(st.none() | st.floats(0, 60)),
        burst_length_s=draw(st.floats(0.1, 20)),
        offline_share=draw(SHARES),
        offline_s=draw(st.floats(0.5, 100)),
        repeated_share=draw(SHARES),
        late_share=draw(SHARES),
        swapped_share=draw(SHARES),
        batch=draw(st.sampled_from([1, 2, 7, 256])),
        seed=draw(st.integers(0, 2**40)),
    )


@given(traffics())
def test_every_segment_is_delivered_once_and_only_repeats_come_again(traffic: Traffic) -> None:
    plan = list(deliveries(traffic))
    once = sorted((one.number, one.stream) for one in plan if one.kind != "repeat")
    assert once == [divmod(n, traffic.patients) for n in range(traffic.segments)]
    again = [(one.number, one.stream) for one in plan if one.kind == "repeat"]
    assert len(again) == len(set(again)) <= len(once)
    assert set(again) <= set(once)


@given(traffics())
def test_the_same_parameters_are_the_same_plan(traffic: Traffic) -> None:
    assert list(deliveries(traffic)) == list(deliveries(traffic))
    other = msgspec.structs.replace(traffic, batch=1)
    assert list(deliveries(other)) == list(deliveries(traffic)), "gathering does not change what is due"


@given(traffics())
def test_deliveries_come_in_the_order_in_which_they_are_due_and_before_the_end(traffic: Traffic) -> None:
    dues = [one.due_s for one in deliveries(traffic)]
    assert all(a <= b for a, b in itertools.pairwise(dues))
    assert not dues or (dues[0] >= 0 and dues[-1] <= traffic.duration_s + 1e-6)


@given(traffics())
def test_a_patient_who_comes_back_delivers_in_order_what_was_kept(traffic: Traffic) -> None:
    traffic = msgspec.structs.replace(traffic, late_share=0.0, swapped_share=0.0, offline_share=1.0)
    numbers = defaultdict(list)
    for one in deliveries(traffic):
        if one.kind != "repeat":
            numbers[one.stream].append(one.number)
    assert all(found == list(range(len(found))) for found in numbers.values())


@given(traffics())
def test_the_last_segment_of_each_stream_says_so_and_comes_last(traffic: Traffic) -> None:
    last = {}
    for one in deliveries(traffic):
        if one.kind != "repeat":
            last.setdefault(one.stream, []).append(one.is_last)
    assert all(found == [False] * (len(found) - 1) + [True] for found in last.values())


@given(traffics())
def test_requests_hold_every_delivery_in_order(traffic: Traffic) -> None:
    plan, gathered = list(deliveries(traffic)), list(requests(traffic))
    assert [one for request in gathered for one in request.deliveries] == plan
    assert all(len(request.deliveries) <= traffic.batch for request in gathered)
    for request in gathered:
        first, last = request.deliveries[0].due_s, request.deliveries[-1].due_s
        assert last <= request.due_s <= first + traffic.linger_s + 1e-9
    assert all(a.due_s <= b.due_s + 1e-9 for a, b in itertools.pairwise(gathered))


@given(st.integers(1, 200), st.sampled_from([1.0, 2.0, 6.0]), st.integers(1, 5))
def test_streams_start_evenly_over_the_time_between_two_files(
    patients: int, per_minute: float, rounds: int
) -> None:
    """As the article's streams do: 60/(CS·FPM) s apart, and each sends every 60/FPM s."""
    traffic = Traffic(patients=patients, segments_per_minute=per_minute, duration_s=rounds * 60 / per_minute)
    dues = [one.due_s for one in deliveries(traffic)]
    np.testing.assert_allclose(dues, np.arange(patients * rounds) * 60 / (patients * per_minute))


def test_two_patients_and_two_files_a_minute_send_every_fifteen_seconds() -> None:
    found = [(one.due_s, one.stream, one.number) for one in deliveries(Traffic())]
    assert found == [(0, 0, 0), (15, 1, 0), (30, 0, 1), (45, 1, 1)]


def test_a_patient_is_away_for_as_long_as_asked_and_then_comes_with_everything() -> None:
    traffic = Traffic(patients=10, segments_per_minute=60, duration_s=600, offline_share=0.3, offline_s=30)
    back = defaultdict(lambda: defaultdict(int))
    for one in deliveries(traffic):
        if one.kind == "buffered":
            back[one.stream][one.due_s] += 1
    assert len(back) == 3
    for returns in back.values():
        assert len(returns) >= 600 // 90
        assert all(count in (30, 31) for due_s, count in returns.items() if due_s < 600)


def test_a_late_segment_comes_after_its_successor() -> None:
    traffic = Traffic(patients=5, segments_per_minute=60, duration_s=60, late_share=0.1, swapped_share=0.1)
    at = {(one.stream, one.number): (one.due_s, one.kind) for one in deliveries(traffic)}
    late = [key for key, (_, kind) in at.items() if kind == "late"]
    assert 20 < len(late) < 100
    behind = sum(at[key][0] >= at[key[0], key[1] + 1][0] for key in late)
    assert behind > 0.8 * len(late), "unless its successor is late too"


@given(
    st.floats(0.1, 1e4), st.floats(0, 100), st.floats(0, 200), st.floats(1, 20), st.lists(st.floats(0, 1e4))
)
@example(rate=1, ramp_s=10, at_s=20, factor=2, numbers=[5e-324])
@example(rate=1, ramp_s=5e-324, at_s=20, factor=2, numbers=[1])
def test_the_pace_and_its_inverse_agree(
    rate: float, ramp_s: float, at_s: float, factor: float, numbers
) -> None:
    pace = Pace(rate, ramp_s, (Burst(at_s, 10, factor),))
    for n in numbers:
        assert math.isclose(pace.passed(pace.due_s(n)), n, rel_tol=1e-6, abs_tol=1e-5)


def test_a_burst_of_ten_times_for_ten_seconds_brings_that_many() -> None:
    traffic = Traffic(patients=100, rate_per_s=10, duration_s=60, burst_at_s=20)
    dues = np.array([one.due_s for one in deliveries(traffic)])
    assert np.count_nonzero((dues >= 20) & (dues < 30)) == pytest.approx(1000, abs=1)
    assert dues.size == pytest.approx(1500, abs=1)


def test_a_ramp_halves_what_comes_meanwhile() -> None:
    assert Traffic(patients=100, rate_per_s=10, duration_s=60, ramp_s=60).segments == 300


def test_no_stream_runs_ahead_of_the_clock() -> None:
    assert Traffic(patients=10, duration_s=300).head_start_s == 0
    fast = Traffic(patients=10, rate_per_s=10, duration_s=300)
    assert fast.head_start_s == pytest.approx(3000 / 10 * 30 - 300)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("patients", 0),
        ("patients", 10_001),
        ("batch", 257),
        ("late_share", 1.1),
        ("rate_per_s", float("nan")),
    ],
)
def test_what_cannot_be_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(InputInvalid, match=field):
        Traffic(**{field: value})


def test_a_plan_without_an_end_goes_on() -> None:
    traffic = Traffic(patients=3, duration_s=None, repeated_share=0.2, late_share=0.2, offline_share=0.5)
    found = list(itertools.islice(deliveries(traffic), 1000))
    assert not any(one.is_last for one in found)
