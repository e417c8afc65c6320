"""Order statistics without branches: what sorting says."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from einthoven.signal.selection import EMPTY, SLOTS, select, select_by_rank, select_three


def in_slots(values: list[int]) -> np.ndarray:
    slots = np.full(SLOTS, EMPTY, np.int32)
    slots[: len(values)] = values
    return slots


@given(
    values=st.lists(st.integers(-(2**15), 2**15 - 1), min_size=1, max_size=SLOTS), share=st.floats(0, 0.999)
)
def test_the_selected_value_is_the_sorted_one(values: list[int], share: float) -> None:
    n = int(share * len(values))
    assert select(in_slots(values), n, -(2**15), 16) == sorted(values)[n]


@given(values=st.lists(st.integers(0, 511), min_size=1, max_size=SLOTS))
def test_three_at_once_are_each_the_sorted_one(values: list[int]) -> None:
    wanted = (len(values) // 4, len(values) // 2, 3 * len(values) // 4)
    assert select_three(in_slots(values), wanted, 9) == tuple(sorted(values)[n] for n in wanted)


@given(values=st.lists(st.floats(0, 1e6), min_size=1, max_size=SLOTS), share=st.floats(0, 0.999))
def test_by_rank_any_number_is_found(values: list[float], share: float) -> None:
    slots = np.full(SLOTS, np.inf)
    slots[: len(values)] = values
    n = int(share * len(values))
    assert select_by_rank(slots, len(values), n) == sorted(values)[n]
