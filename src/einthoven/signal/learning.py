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

__all__ = [
    "BATCH",
    "CLASSES",
    "LEARNER",
    "NETWORKS",
    "RHYTHM",
    "RHYTHM_FEATURES",
    "SHAPE",
    "Ensemble",
    "Head",
    "Layers",
    "Lesson",
    "Portion",
    "Recipe",
    "begun",
    "fit",
    "layers_of",
    "lessons_of",
    "portion_of",
    "scaling",
    "steps_of",
    "train_on",
    "weight_of_kinds",
]

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


class Recipe(NamedTuple):
    """How one head is trained."""

    columns: tuple[int, ...]
    """Of the features, that it sees."""
    hidden: int
    outputs: int
    thin: int
    """One N row in so many is used, another one for each perceptron."""
    epochs: int
    keep: float
    """Share of the inputs that dropout leaves."""

    @property
    def parameters(self) -> int:
        """Numbers of one perceptron."""
        return (len(self.columns) + 1) * self.hidden + (self.hidden + 1) * self.outputs


SHAPE: Final = Recipe(
    columns=tuple(range(len(SHAPE_FEATURES))), hidden=16, outputs=3, thin=6, epochs=4, keep=0.8
)
RHYTHM: Final = Recipe(
    columns=tuple(map(FEATURES.index, RHYTHM_FEATURES)), hidden=24, outputs=2, thin=4, epochs=14, keep=1.0
)
LEARNER: Final = 3
"""Rows of a perceptron in training: its parameters, and both moments of AdamW."""


class Lesson(NamedTuple):
    """What one head learns from."""

    recipe: Recipe
    x: Floats
    """Its columns."""
    kinds: Integers
    """Which of its outputs is right."""
    counts: Integers
    """Rows of each kind that were not made."""
    importance: NDArray[np.float64]
    """How much each row counts beside its kind."""


class Portion(NamedTuple):
    """What one perceptron of a head is shown."""

    x: Floats
    """Scaled."""
    kinds: Integers
    weights: NDArray[np.float64]
    weight: float
    """Their sum."""


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
    return Ensemble(
        *(_fitted(lesson, seed, networks) for lesson in lessons_of(features, labels, records, made=made))
    )


def lessons_of(
    features: Floats,
    labels: Integers,
    records: Integers,
    *,
    made: tuple[Floats, Integers] | None = None,
) -> tuple[Lesson, Lesson]:
    """What each head learns from, shape first; see `fit`."""
    kinds = np.array([0, 0, 1, 2])[labels]
    rest = labels <= 1
    rows, early = features[rest], labels[rest]
    importance = _by_record(early, records[rest])
    if made is not None:
        also = made[1] <= 1
        rows = np.concatenate((rows, made[0][also]))
        early = np.concatenate((early, made[1][also]))
        importance = np.append(importance, np.where(made[1][also] == 1, _MADE_S, _MADE))
    return (
        Lesson(
            SHAPE,
            np.ascontiguousarray(features[:, SHAPE.columns]),
            kinds,
            np.bincount(kinds, minlength=SHAPE.outputs),
            np.ones(kinds.size),
        ),
        Lesson(
            RHYTHM,
            np.ascontiguousarray(rows[:, RHYTHM.columns]),
            early,
            np.bincount(labels[rest], minlength=RHYTHM.outputs),
            importance,
        ),
    )


def _by_record(labels: Integers, records: Integers) -> NDArray[np.float64]:
    """How much each row counts, so that no record's S beats outweigh the others'."""
    importance = np.ones(labels.size)
    for record in np.unique(records[labels == 1]).tolist():
        rows = (records == record) & (labels == 1)
        importance[rows] = min(np.sqrt(_RECORD_ROWS / np.count_nonzero(rows)), _RECORD_MOST)
    return importance


def _fitted(lesson: Lesson, seed: int, networks: int) -> Head:
    recipe = lesson.recipe
    mean, spread = scaling(*moments(lesson.x))
    by_kind = weight_of_kinds(lesson.counts)
    trained: list[Layers] = []
    for number in range(networks):
        portion = portion_of(lesson, mean, spread, by_kind, number)
        learner = begun(recipe, number, seed)
        shown = portion.kinds.size
        train_on(learner, recipe, portion, shown / portion.weight, steps_of(recipe, shown), number, seed)
        trained.append(layers_of(learner, recipe))
    return Head(np.array(recipe.columns), mean, spread, trained)


def steps_of(recipe: Recipe, shown: int) -> int:
    """How many steps a perceptron is trained for that is shown so many rows."""
    return shown // BATCH * recipe.epochs


def scaling(mean: NDArray[np.float64], deviation: NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Mean and spread as the rows are scaled by them."""
    return mean.astype(np.float32), (deviation + 1e-6).astype(np.float32)


def weight_of_kinds(counts: Integers) -> NDArray[np.float64]:
    """How much a row of each kind counts: the rarer, the more."""
    counts = np.maximum(counts, 1)
    weights: NDArray[np.float64] = np.rint(_GRAIN * (counts.sum() / counts) ** WEIGHT_POWER) / _GRAIN
    return weights


def portion_of(
    lesson: Lesson, mean: Floats, spread: Floats, by_kind: NDArray[np.float64], number: int
) -> Portion:
    """What the perceptron of this number is shown."""
    thin = lesson.recipe.thin
    chosen = np.ones(lesson.kinds.size, np.bool_)
    rarely = np.flatnonzero(lesson.kinds == 0)
    chosen[rarely] = (np.arange(rarely.size) + number) % thin == 0
    kinds = lesson.kinds[chosen]
    weights = (by_kind[lesson.kinds] * lesson.importance)[chosen] * np.where(kinds == 0, thin, 1)
    scaled = np.clip((lesson.x[chosen] - mean) / spread, -5, 5).astype(np.float32)
    return Portion(scaled, kinds, weights, float(_sum(weights)))


def begun(recipe: Recipe, number: int, seed: int) -> Floats:
    """A perceptron that has learnt nothing: `LEARNER` rows of parameters, the moments of AdamW zero."""
    learner = np.zeros((LEARNER, recipe.parameters), np.float32)
    first, _, second, _ = parts_of(learner[0], recipe)
    _begin(first, second, _seed_of(number, seed))
    return learner


def train_on(
    learner: Floats,
    recipe: Recipe,
    portion: Portion,
    scale: float,
    steps: int,
    number: int,
    seed: int,
    part: int = 0,
    parts: int = 1,
) -> None:
    """Train a perceptron, in place, through one of several parts of the schedule.

    What was drawn in the parts before is drawn again, so that the parts one after the other give what the
    whole gives, bit for bit.

    Parameters
    ----------
    scale : by which the weights are multiplied, so that their mean is one over all who train
    steps : of the whole schedule
    """
    weights = np.rint(_GRAIN * portion.weights * scale) / _GRAIN
    _train(
        portion.x,
        portion.kinds,
        weights.astype(np.float32),
        parts_of(learner[0], recipe),
        parts_of(learner[1], recipe),
        parts_of(learner[2], recipe),
        steps,
        np.float32(recipe.keep),
        _seed_of(number, seed),
        steps * part // parts,
        steps * (part + 1) // parts,
    )


def _seed_of(number: int, seed: int) -> np.uint64:
    return np.uint64(1 + number + 1000 * seed)


def parts_of(flat: Floats, recipe: Recipe) -> tuple[Floats, Floats, Floats, Floats]:
    """Matrix and bias of both layers, as views of one row of a learner."""
    inputs, hidden, outputs = len(recipe.columns), recipe.hidden, recipe.outputs
    ends = np.cumsum([inputs * hidden, hidden, hidden * outputs])
    w1, b1, w2, b2 = np.split(flat, ends)
    return w1.reshape(inputs, hidden), b1.reshape(1, hidden), w2.reshape(hidden, outputs), b2.reshape(1, -1)


def layers_of(learner: Floats, recipe: Recipe) -> Layers:
    """What a learner has learnt."""
    w1, b1, w2, b2 = parts_of(learner[0].copy(), recipe)
    return [(w1, b1[0]), (w2, b2[0])]


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
def _begin(w1, w2, seed):  # type: ignore[no-untyped-def]
    """He's variance of 2 / inputs, from a flat distribution."""
    state = np.uint64(88172645463325252) + seed * np.uint64(2654435761)
    for layer in (w1, w2):
        reach = np.float32(np.sqrt(6.0 / layer.shape[0]))
        for i in range(layer.shape[0]):
            for o in range(layer.shape[1]):
                state = draw(state)
                flat = np.float32(state >> np.uint64(40)) * np.float32(2.0**-23) - np.float32(1)
                layer[i, o] = flat * reach


@kernel
def _train(  # type: ignore[no-untyped-def]
    x, kinds, importance, values, first, second, steps, keep, seed, begin, end
):
    """One perceptron with one hidden layer, from one step of its schedule to before another."""
    rows, inputs = x.shape
    w1, b1, w2, b2 = values
    f1, fb1, f2, fb2 = first
    s1, sb1, s2, sb2 = second
    hidden, outputs = w2.shape
    state = np.uint64(88172645463325252) + seed * np.uint64(2654435761)
    for _ in range(w1.size + w2.size):  # what the beginning drew
        state = draw(state)
    g1, gb1, g2, gb2 = np.zeros_like(w1), np.zeros_like(b1), np.zeros_like(w2), np.zeros_like(b2)
    shown = np.empty(inputs, np.float32)
    inner = np.empty(hidden, np.float32)
    slope1 = np.empty(hidden, np.float32)
    slope2 = np.empty(outputs, np.float32)
    order = np.arange(rows)
    kept = np.uint64(keep * 16777216)
    per_epoch = rows // BATCH
    if per_epoch == 0:
        return
    peak = int(0.3 * steps)
    step = 0
    power1 = power2 = 1.0
    while True:
        for i in range(rows - 1, 0, -1):
            state = draw(state)
            j = np.int64((state >> np.uint64(20)) % np.uint64(i + 1))
            order[i], order[j] = order[j], order[i]
        for batch in range(per_epoch):
            if step >= end:
                return
            if step < begin:
                for _ in range(BATCH * inputs):
                    state = draw(state)
                step += 1
                power1 *= 0.9
                power2 *= 0.999
                continue
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
