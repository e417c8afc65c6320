"""The layer in registers: each sum is added in one order, whatever the shape and the company."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from einthoven.signal.lanes import LANES, ROWS, dense, in_whole_lanes, rectify, whole


@given(
    count=st.integers(1, 40),
    sizes=st.lists(st.integers(1, 70), min_size=2, max_size=4),
    seed=st.integers(0, 1000),
)
def test_a_layer_adds_bias_and_products_in_the_order_of_the_inputs(
    count: int, sizes: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    shapes = list(pairwise(sizes))
    weights = rng.standard_normal(sum(a * b + b for a, b in shapes)).astype(np.float32)
    layers = in_whole_lanes(weights, sizes)
    rows = rng.standard_normal((count, sizes[0])).astype(np.float32)
    start = at = 0
    for inputs, width in shapes:
        matrix = weights[start : start + inputs * width].reshape(inputs, width)
        expected = np.tile(weights[start + inputs * width : start + (inputs + 1) * width], (count, 1))
        for i in range(inputs):
            expected = expected + rows[:, i : i + 1] * matrix[i]
        x = np.zeros((whole(count, ROWS), inputs), np.float32)
        x[:count] = rows
        out = np.empty((whole(count, ROWS), whole(width, LANES)), np.float32)
        at = dense(x, count, inputs, layers, at, width, out)
        np.testing.assert_array_equal(out[:count, :width], expected)
        rectify(out, count, width)
        rows = out[:count, :width].copy()
        np.testing.assert_array_equal(rows, np.maximum(expected, 0))
        start += (inputs + 1) * width
    assert at == layers.size
