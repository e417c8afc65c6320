"""Training of the rhythm scores: small perceptrons in NumPy, the same on every run.

One hidden layer of units u / (1 + |u|), Adam with weight decay, noise on the inputs. The loss is a mixture
of weighted cross-entropy and of 1 - F1 taken softly over the batch (Dice): labels of atrial fibrillation
on short records are wrong in some per cent, and cross-entropy pays nearly everything for those. The recipe
was chosen by cross-validation over records.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["FittedScore", "Perceptron", "Recipe", "fit_logistic", "fit_score", "scores_of"]

Floats = NDArray[np.float64]


class Perceptron(NamedTuple):
    """One member of the vote."""

    inputs: Floats
    """Shape (features, hidden)."""
    biases: Floats
    outputs: Floats
    bias: float


class FittedScore(NamedTuple):
    """Mean and standard deviation of the features, and the perceptrons."""

    mean: Floats
    spread: Floats
    perceptrons: tuple[Perceptron, ...]


class Recipe(NamedTuple):
    """How a score is trained."""

    hidden: int
    perceptrons: int
    epochs: int
    batch: int
    peak_rate: float
    decay: float
    noise: float
    """Standard deviation of what is added to the scaled inputs."""
    dropout: float
    cross_entropy: float
    """Share of cross-entropy in the loss; the rest is Dice."""


def fit_score(features: Floats, labels: Floats, weights: Floats, recipe: Recipe) -> FittedScore:
    """A score from rows (n, f), labels (n,) of 0 and 1, and the weight of each row (mean 1)."""
    mean = np.average(features, 0, weights)
    spread = np.sqrt(np.average((features - mean) ** 2, 0, weights)) + 1e-9
    scaled = _scaled(features, mean, spread)
    return FittedScore(
        mean,
        spread,
        tuple(_perceptron(scaled, labels, weights, recipe, seed) for seed in range(recipe.perceptrons)),
    )


def scores_of(fitted: FittedScore, features: Floats) -> Floats:
    """The scores of rows (n, f); the kernel's, up to rounding."""
    scaled = _scaled(features, fitted.mean, fitted.spread)
    votes = [_forward(scaled, one)[1] for one in fitted.perceptrons]
    return np.asarray(np.mean(votes, 0), np.float64)


def fit_logistic(features: Floats, labels: Floats, weights: Floats, ridge: float = 3.0) -> Floats:
    """Coefficients (f + 1,) of a weighted logistic regression by Newton's method, the bias last."""
    rows = np.column_stack((features, np.ones(len(features))))
    penalty = ridge * np.eye(rows.shape[1])
    penalty[-1, -1] = 1e-6
    found = np.zeros(rows.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-rows @ found))
        slope = rows.T @ (weights * (chance - labels)) + penalty @ found
        curve = (rows * (weights * chance * (1 - chance))[:, None]).T @ rows + penalty
        step = np.linalg.solve(curve, slope)
        found -= step
        if np.abs(step).max() < 1e-6:
            break
    return found


def _scaled(features: Floats, mean: Floats, spread: Floats) -> Floats:
    return np.asarray(np.clip((features - mean) / spread, -4, 4), np.float64)


def _forward(x: Floats, one: Perceptron) -> tuple[Floats, Floats]:
    u = x @ one.inputs + one.biases
    hidden = u / (1 + np.abs(u))
    return hidden, hidden @ one.outputs + one.bias


def _perceptron(x: Floats, y: Floats, w: Floats, recipe: Recipe, seed: int) -> Perceptron:
    rng = np.random.default_rng(seed)
    size = x.shape[1]
    parameters = [
        rng.standard_normal((size, recipe.hidden)) / np.sqrt(size),
        np.zeros(recipe.hidden),
        rng.standard_normal(recipe.hidden) / np.sqrt(recipe.hidden),
        np.zeros(1),
    ]
    first = [np.zeros_like(p) for p in parameters]
    second = [np.zeros_like(p) for p in parameters]
    batches = max(1, len(x) // recipe.batch)
    steps = recipe.epochs * batches
    step = 0
    for epoch in range(recipe.epochs):
        order = rng.permutation(len(x))
        for k in range(batches):
            rows = order[k * recipe.batch : (k + 1) * recipe.batch]
            noisy = x[rows] + recipe.noise * rng.standard_normal((rows.size, size))
            noisy *= (rng.random(noisy.shape) > recipe.dropout) / (1 - recipe.dropout)
            u = noisy @ parameters[0] + parameters[1]
            below = 1 + np.abs(u)
            hidden = u / below
            chance = 1 / (1 + np.exp(-(hidden @ parameters[2] + parameters[3])))
            share = 1.0 if epoch < recipe.epochs // 7 else recipe.cross_entropy
            slope = _slope(chance, y[rows], w[rows], share)
            back = slope[:, None] * parameters[2] / below**2
            gradients = [noisy.T @ back, back.sum(0), hidden.T @ slope, slope.sum(keepdims=True)]
            gradients[0] += recipe.decay * parameters[0]
            gradients[2] += recipe.decay * parameters[2]
            step += 1
            rate = recipe.peak_rate * 0.5 * (1 + np.cos(np.pi * step / steps))
            for i, gradient in enumerate(gradients):
                first[i] += 0.1 * (gradient - first[i])
                second[i] += 0.001 * (gradient**2 - second[i])
                parameters[i] -= (
                    rate * first[i] / (1 - 0.9**step) / (np.sqrt(second[i] / (1 - 0.999**step)) + 1e-8)
                )
    return Perceptron(parameters[0], parameters[1], parameters[2], float(parameters[3][0]))


def _slope(chance: Floats, y: Floats, w: Floats, share: float) -> Floats:
    """Slope of the loss by the output of each row."""
    entropy = w * (chance - y) / y.size
    if share == 1:
        return np.asarray(entropy, np.float64)
    both = 2 * (w * chance * y).sum()
    all_of = (w * chance).sum() + (w * y).sum()
    dice = -(2 * w * y * all_of - both * w) / all_of**2 * chance * (1 - chance)
    return np.asarray(share * entropy + (1 - share) * dice, np.float64)
