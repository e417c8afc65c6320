"""The little network: answers that do not depend on company, training that does not depend on the day."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.signal.perceptron import ROWS_AT_ONCE, Perceptron, Recipe, answer, fit, pack, unpack

RECIPE = Recipe(hidden=(12, 6), epochs=30, batch=64, keep=1.0)


def answers(rows: np.ndarray, perceptron: Perceptron) -> np.ndarray:
    out = np.empty(len(rows), np.float32)
    answer(rows, len(rows), perceptron, out)
    return out


@pytest.fixture(scope="module")
def exclusive_or() -> tuple[np.ndarray, np.ndarray, Perceptron]:
    """Four thousand points of the plane, whether their signs differ, and a network that was told."""
    rows = np.random.default_rng(3).standard_normal((4000, 2)).astype(np.float32)
    labels = (rows[:, 0] > 0) != (rows[:, 1] > 0)
    return rows, labels, fit(rows, labels, np.ones(4000, np.float32), RECIPE, seed=1)


def test_it_learns_what_no_line_can_separate(exclusive_or) -> None:
    rows, labels, perceptron = exclusive_or
    assert np.mean((answers(rows, perceptron) > 0) == labels) > 0.97


def test_training_twice_gives_the_same_weights_and_another_seed_gives_others(exclusive_or) -> None:
    rows, labels, perceptron = exclusive_or
    again = fit(rows, labels, np.ones(4000, np.float32), RECIPE, seed=1)
    other = fit(rows, labels, np.ones(4000, np.float32), RECIPE, seed=2)
    np.testing.assert_array_equal(again.weights, perceptron.weights)
    assert not np.array_equal(other.weights, perceptron.weights)


@given(first=st.integers(0, 200), count=st.integers(1, 3 * ROWS_AT_ONCE))
def test_a_row_has_one_answer_in_whatever_company(exclusive_or, first: int, count: int) -> None:
    rows, _, perceptron = exclusive_or
    np.testing.assert_array_equal(
        answers(rows[first : first + count], perceptron),
        answers(rows[:500], perceptron)[first : first + count],
    )


def test_the_answer_is_the_network_s_formula(exclusive_or) -> None:
    rows, _, perceptron = exclusive_or
    mean, inverse, sizes, weights, _ = perceptron
    values = np.clip((rows.astype(float) - mean) * inverse, -5, 5)
    at = 0
    for layer, (inputs, width) in enumerate(itertools.pairwise(sizes)):
        matrix = weights[at : at + inputs * width].reshape(inputs, width)
        values = values @ matrix + weights[at + inputs * width : at + (inputs + 1) * width]
        values = np.maximum(values, 0) if layer + 2 < sizes.size else values
        at += (inputs + 1) * width
    np.testing.assert_allclose(answers(rows, perceptron), values[:, 0], atol=1e-3)


def test_importance_moves_the_odds() -> None:
    """Rows that say nothing: the answer is the weighted share of the labels."""
    rows = np.random.default_rng(5).standard_normal((4000, 2)).astype(np.float32)
    labels = np.arange(4000) % 2 == 0
    weights = np.where(labels, 3.0, 1.0).astype(np.float32)
    found = answers(rows, fit(rows, labels, weights, RECIPE, seed=1))
    assert np.median(found) == pytest.approx(np.log(3), abs=0.2)


def test_unpack_after_pack_is_the_same_network(exclusive_or) -> None:
    _, _, perceptron = exclusive_or
    for before, after in zip(perceptron, unpack(pack(perceptron)), strict=True):
        np.testing.assert_array_equal(before, after)
