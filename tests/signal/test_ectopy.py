"""Ectopic beats in a row, counted by hand."""

import numpy as np
import pytest

from einthoven.signal.ectopy import Ectopy, count_runs

CODES = {"N": 0, "S": 1, "V": 2, "F": 3, "Q": 4}


def counted(story: str, rr: int = 100) -> Ectopy:
    classes = np.array([CODES[kind] for kind in story], np.uint8)
    return count_runs(np.arange(len(story)) * rr, classes, CODES["V"])


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        ("", Ectopy(0, 0, 0, 0, 0, 0)),
        ("NNNN", Ectopy(0, 0, 0, 0, 0, 0)),
        ("NVN", Ectopy(1, 1, 0, 0, 0, 1)),
        ("NVVN", Ectopy(2, 0, 1, 0, 0, 2)),
        ("VVVNVVVVV", Ectopy(8, 0, 0, 2, 0, 5)),
        ("NVVVVVVN", Ectopy(6, 0, 0, 0, 1, 6)),
        ("VNVNVVNVVVNVVVVVVV", Ectopy(14, 2, 1, 1, 1, 7)),
        ("VFV", Ectopy(2, 2, 0, 0, 0, 1)),
        ("VQVSV", Ectopy(3, 3, 0, 0, 0, 1)),
    ],
)
def test_runs_are_grouped_by_length(story: str, expected: Ectopy) -> None:
    assert counted(story) == expected


def test_beats_with_a_silence_between_are_not_in_a_row() -> None:
    assert counted("VV", rr=376) == Ectopy(2, 2, 0, 0, 0, 1)
    assert counted("VV", rr=375) == Ectopy(2, 0, 1, 0, 0, 2)
