"""Training of the beat classifier: two small ensembles of perceptrons, the same on every machine.

*The shape head* sees the features of shape and tells V and F from the rest. *The rhythm head* sees measures
of intervals and of the P wave, and tells S from N among the rest. Apart they
generalise better than one network for all four classes: from twenty-two patients a network learns shapes of
supraventricular beats that no other patient has, so this head is not shown any. The P wave changes nothing
in cross-validation, but halves the false S of healthy sleepers (nsrdb), whose sinus rhythm is irregular.

The recordings hold no patient whose beats are mostly atrial, and hardly any block. So the rhythm head also
learns from *made* rows: real beats on other rhythms, and virtual patients. They count little, and S among
them less than in the recordings: what they teach must be clear to be believed.

AdamW on weighted cross-entropy with input dropout and label smoothing, one learning-rate cycle. The recipe
was chosen by cross-validation over records of DS1 (de Chazal's design set) alone.

Training is compiled without reordered or fused operations, and draws its own random numbers, exponentials
and rates: no library whose last bit depends on the processor takes part.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from einthoven.signal.kernel import kernel
from einthoven.signal.morphology import FEATURES, SHAPE_FEATURES
from einthoven.signal.perceptron import draw, exponential, moments

__all__ = ["CLASSES", "RHYTHM_FEATURES", "Ensemble", "Head", "Layers", "fit"]

CLASSES = "NSVF"
"""Classes in the order of the outputs."""
RHYTHM_FEATURES: Final = (
    "pre/typical",
    "post/typical",
    "pre2/typical",
    "pre/local",
    "pre/lower",
    "irregular share",
    "irregular minutes",
    "P gain",
    "pre/long",
    "steady",
    "onset",
    "multiple",
    "common share",
    "late P",
    "bare P",
)
"""What the rhythm head sees."""
NETWORKS: Final = 5
"""Perceptrons of each head, whose logits are averaged."""
BATCH: Final = 128
PEAK_RATE, DECAY, SMOOTH, WEIGHT_POWER = 5e-3, 1e-2, 0.05, 0.4
_RECORD_ROWS, _RECORD_MOST = 200.0, 5.0
"""S rows of a record that count as they are; those of poorer records count more, at most so many times."""
_MADE, _MADE_S = 0.1, 0.04
"""How much a made row counts, and a made S."""
_GRAIN = 1024
"""Weights are rounded to this fraction, so that a power's last bit does not matter."""

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Layers = list[tuple[Floats, Floats]]
"""Matrix (in, out) and bias of each layer."""


class _Recipe(NamedTuple):
    """How one head is trained."""

    hidden: int
    outputs: int
    thin: int
    """One N row in so many is used, another one for each perceptron."""
    epochs: int
    keep: float
    """Share of the inputs that dropout leaves."""


_SHAPE: Final = _Recipe(hidden=16, outputs=3, thin=6, epochs=4, keep=0.8)
_RHYTHM: Final = _Recipe(hidden=24, outputs=2, thin=4, epochs=14, keep=1.0)


class Head(NamedTuple):
    """Perceptrons that see the same columns of the features."""

    columns: Integers
    mean: Floats
    spread: Floats
    """Standard deviation of each column."""
    networks: list[Layers]


class Ensemble(NamedTuple):
    """The trained classifier."""

    shape: Head
    """Outputs: N or S, V, F."""
    rhythm: Head
    """Outputs: N, S."""


def fit(
    features: Floats,
    labels: Integers,
    records: Integers,
    *,
    made: tuple[Floats, Integers] | None = None,
    seed: int = 0,
    networks: int = NETWORKS,
) -> Ensemble:
    """Train both heads.

    Parameters
    ----------
    features : shape (n, len(FEATURES))
    labels : shape (n,), indices into `CLASSES`
    records : shape (n,), a number for each record, by which S rows are balanced
    made : features and labels that only the rhythm head learns from
    seed : another seed gives other perceptrons of the same recipe
    networks : perceptrons a head
    """
    kinds = np.array([0, 0, 1, 2])[labels]
    shape = np.arange(len(SHAPE_FEATURES))
    rest = labels <= 1
    rows, early = features[rest], labels[rest]
    importance = _by_record(early, records[rest])
    if made is not None:
        also = made[1] <= 1
        rows = np.concatenate((rows, made[0][also]))
        early = np.concatenate((early, made[1][also]))
        importance = np.append(importance, np.where(made[1][also] == 1, _MADE_S, _MADE))
    columns = np.array([FEATURES.index(name) for name in RHYTHM_FEATURES])
    counts = np.bincount(labels[rest], minlength=_RHYTHM.outputs)
    return Ensemble(
        _head(
            _SHAPE,
            shape,
            features,
            kinds,
            np.bincount(kinds, minlength=_SHAPE.outputs),
            np.ones(kinds.size),
            seed,
            networks,
        ),
        _head(_RHYTHM, columns, rows, early, counts, importance, seed, networks),
    )


def _by_record(labels: Integers, records: Integers) -> NDArray[np.float64]:
    """How much each row counts, so that no record's S beats outweigh the others'."""
    importance = np.ones(labels.size)
    for record in np.unique(records[labels == 1]).tolist():
        rows = (records == record) & (labels == 1)
        importance[rows] = min(np.sqrt(_RECORD_ROWS / np.count_nonzero(rows)), _RECORD_MOST)
    return importance


def _head(
    recipe: _Recipe,
    columns: Integers,
    features: Floats,
    kinds: Integers,
    counts: Integers,
    importance: NDArray[np.float64],
    seed: int,
    networks: int,
) -> Head:
    x = np.ascontiguousarray(features[:, columns])
    centre, deviation = moments(x)
    mean, spread = centre.astype(np.float32), (deviation + 1e-6).astype(np.float32)
    scaled = np.clip((x - mean) / spread, -5, 5).astype(np.float32)
    counts = np.maximum(counts, 1)
    by_kind = np.rint(_GRAIN * (counts.sum() / counts) ** WEIGHT_POWER) / _GRAIN
    total = by_kind[kinds] * importance
    rarely = np.flatnonzero(kinds == 0)
    trained: list[Layers] = []
    for number in range(networks):
        chosen = np.ones(kinds.size, np.bool_)
        chosen[rarely] = (np.arange(rarely.size) + number) % recipe.thin == 0
        weights = total[chosen] * np.where(kinds[chosen] == 0, recipe.thin, 1)
        weights = np.rint(_GRAIN * weights * (weights.size / _sum(weights))) / _GRAIN
        parameters = _train(
            scaled[chosen],
            kinds[chosen],
            weights.astype(np.float32),
            recipe.hidden,
            recipe.outputs,
            recipe.epochs,
            np.float32(recipe.keep),
            np.uint64(1 + number + 1000 * seed),
        )
        trained.append([(parameters[0], parameters[1]), (parameters[2], parameters[3])])
    return Head(columns.astype(np.int64), mean, spread, trained)


@kernel
def _sum(values):  # type: ignore[no-untyped-def]
    total = 0.0
    for value in values:
        total += value
    return total


@kernel
def _adjust(values, gradients, first, second, rate, decay, scale1, scale2):  # type: ignore[no-untyped-def]
    """One step of AdamW (Loshchilov and Hutter, arXiv 1711.05101)."""
    for i in range(values.shape[0]):
        for o in range(values.shape[1]):
            g = gradients[i, o]
            first[i, o] += np.float32(0.1) * (g - first[i, o])
            second[i, o] += np.float32(0.001) * (g * g - second[i, o])
            step = first[i, o] * scale1 / (np.sqrt(second[i, o] * scale2) + np.float32(1e-8))
            values[i, o] -= rate * (step + decay * values[i, o])


@kernel
def _train(x, kinds, importance, hidden, outputs, epochs, keep, seed):  # type: ignore[no-untyped-def]
    """One perceptron with one hidden layer; its matrices and biases."""
    rows, inputs = x.shape
    state = np.uint64(88172645463325252) + seed * np.uint64(2654435761)
    w1 = np.empty((inputs, hidden), np.float32)
    w2 = np.empty((hidden, outputs), np.float32)
    reach = np.float32(np.sqrt(6.0 / inputs))
    for i in range(inputs):
        for o in range(hidden):
            state = draw(state)
            w1[i, o] = (np.float32(state >> np.uint64(40)) * np.float32(2.0**-23) - np.float32(1)) * reach
    reach = np.float32(np.sqrt(6.0 / hidden))
    for i in range(hidden):
        for o in range(outputs):
            state = draw(state)
            w2[i, o] = (np.float32(state >> np.uint64(40)) * np.float32(2.0**-23) - np.float32(1)) * reach
    b1 = np.zeros((1, hidden), np.float32)
    b2 = np.zeros((1, outputs), np.float32)
    f1, s1, g1 = np.zeros_like(w1), np.zeros_like(w1), np.zeros_like(w1)
    f2, s2, g2 = np.zeros_like(w2), np.zeros_like(w2), np.zeros_like(w2)
    fb1, sb1, gb1 = np.zeros_like(b1), np.zeros_like(b1), np.zeros_like(b1)
    fb2, sb2, gb2 = np.zeros_like(b2), np.zeros_like(b2), np.zeros_like(b2)
    shown = np.empty(inputs, np.float32)
    inner = np.empty(hidden, np.float32)
    slope1 = np.empty(hidden, np.float32)
    slope2 = np.empty(outputs, np.float32)
    order = np.arange(rows)
    kept = np.uint64(keep * 16777216)
    per_epoch = rows // BATCH
    steps = per_epoch * epochs
    peak = int(0.3 * steps)
    step = 0
    power1 = power2 = 1.0
    for _ in range(epochs):
        for i in range(rows - 1, 0, -1):
            state = draw(state)
            j = np.int64((state >> np.uint64(20)) % np.uint64(i + 1))
            order[i], order[j] = order[j], order[i]
        for batch in range(per_epoch):
            g1[:] = 0
            g2[:] = 0
            gb1[:] = 0
            gb2[:] = 0
            for row in order[batch * BATCH : (batch + 1) * BATCH]:
                inner[:] = b1[0]
                for i in range(inputs):
                    state = draw(state)
                    value = x[row, i] / keep if (state >> np.uint64(40)) < kept else np.float32(0)
                    shown[i] = value
                    if value != 0:
                        for o in range(hidden):
                            inner[o] += value * w1[i, o]
                slope2[:] = b2[0]
                for i in range(hidden):
                    inner[i] = max(inner[i], np.float32(0))
                    for o in range(outputs):
                        slope2[o] += inner[i] * w2[i, o]
                top = slope2[0]
                for o in range(outputs):
                    top = max(top, slope2[o])
                total = np.float32(0)
                for o in range(outputs):
                    slope2[o] = exponential(slope2[o] - top)
                    total += slope2[o]
                share = importance[row] / np.float32(BATCH)
                for o in range(outputs):
                    target = np.float32(SMOOTH / outputs)
                    if o == kinds[row]:
                        target += np.float32(1 - SMOOTH)
                    slope2[o] = (slope2[o] / total - target) * share
                    gb2[0, o] += slope2[o]
                for i in range(hidden):
                    back = np.float32(0)
                    for o in range(outputs):
                        g2[i, o] += inner[i] * slope2[o]
                        back += slope2[o] * w2[i, o]
                    slope1[i] = back if inner[i] > 0 else np.float32(0)
                    gb1[0, i] += slope1[i]
                for i in range(inputs):
                    value = shown[i]
                    if value != 0:
                        for o in range(hidden):
                            g1[i, o] += value * slope1[o]
            # Up over the first 30 per cent and down to nothing, smoothly.
            if step < peak:
                at = step / peak
                rate = np.float32(PEAK_RATE * (0.04 + 0.96 * at * at * (3 - 2 * at)))
            else:
                at = (step - peak) / (steps - peak)
                rate = np.float32(PEAK_RATE * (1 - at * at * (3 - 2 * at)))
            step += 1
            power1 *= 0.9
            power2 *= 0.999
            scale1, scale2 = np.float32(1 / (1 - power1)), np.float32(1 / (1 - power2))
            decay, none = np.float32(DECAY), np.float32(0)
            _adjust(w1, g1, f1, s1, rate, decay, scale1, scale2)
            _adjust(w2, g2, f2, s2, rate, decay, scale1, scale2)
            _adjust(b1, gb1, fb1, sb1, rate, none, scale1, scale2)
            _adjust(b2, gb2, fb2, sb2, rate, none, scale1, scale2)
    return w1, b1[0], w2, b2[0]
