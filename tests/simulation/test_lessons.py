"""Lessons: what their names say, other patients for another seed, and harder ones in a test."""

import numpy as np
import pytest

from einthoven.simulation import LESSONS, UNTAUGHT, lesson
from einthoven.simulation.lessons import CONDUCTED, ECTOPIC, VENTRICULAR


def kinds(name: str, seed: int) -> set[str]:
    return set(lesson(name, seed).truth(0, 480).beats.classes.tolist())


@pytest.mark.parametrize("name", sorted(LESSONS))
def test_a_lesson_has_the_beats_of_its_rhythm(name: str) -> None:
    found = set().union(*(kinds(name, seed) for seed in range(4)))
    assert ("S" in found) == (name in ECTOPIC)
    if name in CONDUCTED:
        assert found == {"N"}
    if name in VENTRICULAR:
        assert found == {"N", "V"}


def test_a_seed_is_a_patient_and_a_test_has_others() -> None:
    one, same, other, test = (
        lesson("sick sinus", seed, wide=wide).read(0, 3750)
        for seed, wide in ((1, False), (1, False), (2, False), (1, True))
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    assert (one != test).any()


def test_what_is_not_taught_is_a_lesson_all_the_same() -> None:
    assert UNTAUGHT
    for name in UNTAUGHT:
        assert len(lesson(name, 1).truth(0, 480).beats.classes) > 100
