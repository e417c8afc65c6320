"""A perceptron with one output, a logarithm of odds: how it answers, and how it is trained.

Both are compiled without reordered or fused operations and draw their own random numbers and
exponentials, so that training gives the same weights, and a row the same answer, on every machine and
in whatever company.
"""

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.signal.kernel import kernel
from einthoven.signal.lanes import LANES, ROWS, dense, in_whole_lanes, rectify, whole

__all__ = [
    "Perceptron",
    "Recipe",
    "answer",
    "column_squares",
    "column_sums",
    "draw",
    "exponential",
    "fit",
    "moments",
    "pack",
    "unpack",
]

ROWS_AT_ONCE = 64
"""Rows whose values between the layers are kept at a time."""
_CLIP = np.float32(5)
"""Standard deviations beyond which an input says no more."""


class Perceptron(NamedTuple):
    """Weights as flat arrays for the kernel."""

    mean: NDArray[np.float32]
    inverse_spread: NDArray[np.float32]
    """Of each input, over the training rows."""
    sizes: NDArray[np.int64]
    """Width of each layer, input first; the last is 1."""
    weights: NDArray[np.float32]
    """Per layer: the matrix (in, out) row by row, then the bias."""
    layers: NDArray[np.float32]
    """The same as `lanes.dense` reads it."""

    @staticmethod
    def of(
        mean: NDArray[np.float32],
        inverse_spread: NDArray[np.float32],
        sizes: NDArray[np.int64],
        weights: NDArray[np.float32],
    ) -> "Perceptron":
        """From the weights as they are trained."""
        return Perceptron(mean, inverse_spread, sizes, weights, in_whole_lanes(weights, sizes.tolist()))


class Recipe(NamedTuple):
    """How a perceptron is trained."""

    hidden: tuple[int, int]
    epochs: int
    batch: int
    keep: float
    """Share of the inputs that dropout leaves."""
    peak_rate: float = 5e-3
    decay: float = 1e-2


class Packed(msgspec.Struct, frozen=True):
    """A perceptron in a file: float32 arrays as little-endian bytes."""

    sizes: tuple[int, ...]
    mean: bytes
    inverse_spread: bytes
    weights: bytes


def pack(perceptron: Perceptron) -> Packed:
    """As it is written."""
    mean, inverse_spread, sizes, weights, _ = perceptron
    floats = [part.astype("<f4").tobytes() for part in (mean, inverse_spread, weights)]
    return Packed(tuple(sizes.tolist()), *floats)


def unpack(packed: Packed) -> Perceptron:
    """As it is used."""
    mean, inverse_spread, weights = (
        np.frombuffer(part, "<f4").astype(np.float32)
        for part in (packed.mean, packed.inverse_spread, packed.weights)
    )
    return Perceptron.of(mean, inverse_spread, np.array(packed.sizes, np.int64), weights)


def fit(
    rows: NDArray[np.float32],
    labels: NDArray[np.bool_],
    importance: NDArray[np.float32],
    recipe: Recipe,
    seed: int,
) -> Perceptron:
    """Train on ``rows`` (n, inputs) with one label and one weight each.

    AdamW (Loshchilov and Hutter, arXiv 1711.05101) on weighted cross-entropy with input dropout and one
    cycle of the learning rate.
    """
    mean, spread = moments(rows)
    sizes = np.array([rows.shape[1], *recipe.hidden, 1], np.int64)
    centre = mean.astype(np.float32)
    inverse = (1 / (spread + 1e-6)).astype(np.float32)
    weights = _train(
        rows,
        labels,
        importance,
        centre,
        inverse,
        sizes,
        recipe.epochs,
        recipe.batch,
        np.float32(recipe.keep),
        recipe.peak_rate,
        np.float32(recipe.decay),
        np.uint64(seed),
    )
    return Perceptron.of(centre, inverse, sizes, weights)


def moments(rows: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each column."""
    count = max(rows.shape[0], 1)
    mean = column_sums(rows) / count
    return mean, np.sqrt(column_squares(rows, mean) / count)


def column_sums(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """The sum of each column."""
    sums = np.zeros(rows.shape[1])
    _add(rows, sums)
    return sums


def column_squares(rows: NDArray[np.float32], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of the squared distances of each column from a mean."""
    squares = np.zeros(rows.shape[1])
    _add_squares(rows, mean, squares)
    return squares


@kernel
def answer(rows, count, perceptron, out):  # type: ignore[no-untyped-def]
    """Log odds of the first ``count`` rows; each adds in the same order, whatever stands in the others."""
    mean, inverse, sizes, _, layers = perceptron
    last = sizes.size - 1
    widest = sizes[0]
    for size in sizes:
        widest = max(widest, whole(size, LANES))
    most = min(whole(count, ROWS), ROWS_AT_ONCE)
    a, b = np.zeros((most, widest), np.float32), np.empty((most, widest), np.float32)
    for first in range(0, count, ROWS_AT_ONCE):
        used = min(ROWS_AT_ONCE, count - first)
        for k in range(used):
            scaled, row = a[k, : mean.size], rows[first + k, : mean.size]
            for i in range(scaled.size):
                scaled[i] = min(max((row[i] - mean[i]) * inverse[i], -_CLIP), _CLIP)
        at = 0
        for layer in range(last):
            at = dense(a, used, sizes[layer], layers, at, sizes[layer + 1], b)
            if layer + 1 < last:
                rectify(b, used, sizes[layer + 1])
            a, b = b, a
        for k in range(used):
            out[first + k] = a[k, 0]


@kernel
def _add(rows, sums):  # type: ignore[no-untyped-def]
    """Row after row, so that the order of additions is one."""
    for k in range(rows.shape[0]):
        for i in range(rows.shape[1]):
            sums[i] += rows[k, i]


@kernel
def _add_squares(rows, mean, squares):  # type: ignore[no-untyped-def]
    for k in range(rows.shape[0]):
        for i in range(rows.shape[1]):
            away = rows[k, i] - mean[i]
            squares[i] += away * away


_HALVES = np.array([2.0**-k for k in range(127)], np.float32)


@kernel
def exponential(x):  # type: ignore[no-untyped-def]
    """The exponential of a 32-bit ``x`` of at most 0, within 2 units in the last place; 0 below -80.

    A polynomial of degree 6 after Cody and Waite's reduction, coefficients of Cephes ``expf`` (Moshier).
    """
    if x < np.float32(-80):
        return np.float32(0)
    k = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
    r = x - k * np.float32(0.693359375) + k * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    return (p * r * r + r + np.float32(1)) * _HALVES[-np.int64(k)]


@kernel
def draw(state):  # type: ignore[no-untyped-def]
    """The next state of Marsaglia's xorshift (J. Stat. Software 8(14), 2003), 64 bits: 13, 7, 17."""
    state ^= state << np.uint64(13)
    state ^= state >> np.uint64(7)
    state ^= state << np.uint64(17)
    return state


@kernel
def _train(  # type: ignore[no-untyped-def]
    rows, labels, importance, mean, inverse, sizes, epochs, batch, keep, peak_rate, decay, seed
):
    state = np.uint64(88172645463325252) + seed * np.uint64(2654435761)
    layers = sizes.size - 1
    total = 0
    starts = np.empty(layers + 1, np.int64)
    for layer in range(layers):
        starts[layer] = total
        total += sizes[layer] * sizes[layer + 1] + sizes[layer + 1]
    starts[layers] = total
    weights = np.zeros(total, np.float32)
    for layer in range(layers):
        # He's variance of 2 / inputs, from a flat distribution.
        reach = np.float32(np.sqrt(6.0 / sizes[layer]))
        for i in range(sizes[layer] * sizes[layer + 1]):
            state = draw(state)
            flat = np.float32(state >> np.uint64(40)) * np.float32(2.0**-23) - np.float32(1)
            weights[starts[layer] + i] = flat * reach
    gradients = np.zeros(total, np.float32)
    first = np.zeros(total, np.float32)
    second = np.zeros(total, np.float32)
    widest = np.max(sizes)
    values = np.zeros((layers + 1, widest), np.float32)
    slopes = np.zeros((layers + 1, widest), np.float32)
    order = np.arange(rows.shape[0])
    kept = np.uint64(keep * 16777216)
    per_epoch = rows.shape[0] // batch
    steps = per_epoch * epochs
    peak = int(0.3 * steps)
    step = 0
    power1 = power2 = 1.0
    zero = np.float32(0)
    for _ in range(epochs):
        for i in range(order.size - 1, 0, -1):
            state = draw(state)
            j = np.int64((state >> np.uint64(20)) % np.uint64(i + 1))
            order[i], order[j] = order[j], order[i]
        for number in range(per_epoch):
            gradients[:] = 0
            for row in order[number * batch : (number + 1) * batch]:
                for i in range(sizes[0]):
                    state = draw(state)
                    v = zero
                    if (state >> np.uint64(40)) < kept:
                        v = (rows[row, i] - mean[i]) * inverse[i]
                        v = min(max(v, -_CLIP), _CLIP) / keep
                    values[0, i] = v
                for layer in range(layers):
                    inputs, width = sizes[layer], sizes[layer + 1]
                    out = values[layer + 1, :width]
                    bias = starts[layer] + inputs * width
                    out[:] = weights[bias : bias + width]
                    for i in range(inputs):
                        v = values[layer, i]
                        if v != zero:
                            w = weights[starts[layer] + i * width : starts[layer] + (i + 1) * width]
                            for o in range(width):
                                out[o] += v * w[o]
                    if layer + 1 < layers:
                        for o in range(width):
                            out[o] = max(out[o], zero)
                odds = values[layers, 0]
                small = exponential(-abs(odds))
                share = np.float32(1) / (np.float32(1) + small)
                if odds < 0:
                    share = np.float32(1) - share
                target = np.float32(1) if labels[row] else zero
                slopes[layers, 0] = (share - target) * importance[row] / np.float32(batch)
                for back in range(layers):
                    layer = layers - 1 - back
                    inputs, width = sizes[layer], sizes[layer + 1]
                    slope = slopes[layer + 1, :width]
                    bias = starts[layer] + inputs * width
                    for o in range(width):
                        gradients[bias + o] += slope[o]
                    for i in range(inputs):
                        v = values[layer, i]
                        if v == zero:
                            slopes[layer, i] = zero
                            continue
                        at = starts[layer] + i * width
                        g = gradients[at : at + width]
                        for o in range(width):
                            g[o] += v * slope[o]
                        if layer > 0:
                            w = weights[at : at + width]
                            passed = zero
                            for o in range(width):
                                passed += slope[o] * w[o]
                            slopes[layer, i] = passed
            # Up over the first 30 per cent and down to nothing, smoothly.
            if step < peak:
                where = step / peak
                rate = np.float32(peak_rate * (0.04 + 0.96 * where * where * (3 - 2 * where)))
            else:
                where = (step - peak) / (steps - peak)
                rate = np.float32(peak_rate * (1 - where * where * (3 - 2 * where)))
            step += 1
            power1 *= 0.9
            power2 *= 0.999
            scale1, scale2 = np.float32(1 / (1 - power1)), np.float32(1 / (1 - power2))
            for i in range(total):
                g = gradients[i]
                first[i] += np.float32(0.1) * (g - first[i])
                second[i] += np.float32(0.001) * (g * g - second[i])
                change = first[i] * scale1 / (np.sqrt(second[i] * scale2) + np.float32(1e-8))
                weights[i] -= rate * (change + decay * weights[i])
    return weights
