"""Regions that are real processes: what they carry together, and that no fault of one loses an answer."""

from einthoven.experiments.real_regions import measure_fault, measure_offered, measure_throughput


def test_two_regions_carry_nearly_twice_what_one_carries_and_every_answer_is_right() -> None:
    one, two = measure_throughput((1, 2), slots=2, seconds=2.0)
    assert (one.lost, one.wrong, two.lost, two.wrong) == (0, 0, 0, 0)
    assert one.ratio == 1.0
    assert 10 < one.answered_per_s < 21, "two slots, a tenth of a second each"
    assert two.ratio > 1.6


def test_a_region_that_dies_loses_nobody_an_answer() -> None:
    row = measure_fault("dies", regions=2, slots=2, seconds=3.0)
    assert (row.lost, row.wrong) == (0, 0)
    assert row.answered == row.sent > 80
    assert row.recovered_s < 2.5, "the other region carries its whole share well before the window ends"


def test_what_is_offered_below_the_limit_is_answered_as_fast_as_if_it_were_alone() -> None:
    row = measure_offered(10.0, regions=2, slots=2, seconds=2.0)
    assert (row.refused, row.wrong) == (0, 0)
    assert row.answered_per_s > 8
    assert 100 <= row.mean_ms < 250
