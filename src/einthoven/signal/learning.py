"""Training of the beat classifier: a small ensemble of perceptrons, in NumPy, the same on every run.

AdamW on weighted cross-entropy with input dropout and label smoothing, one learning-rate cycle. The
recipe was chosen by cross-validation over records of DS1 (de Chazal's design set) alone.
"""

import itertools

import numpy as np
from numpy.typing import NDArray

__all__ = ["CLASSES", "Ensemble", "Layers", "fit"]

CLASSES = "NSVF"
"""Classes in the order of the outputs."""
HIDDEN = (32, 16)
EPOCHS, BATCH, PEAK_RATE, DECAY = 10, 256, 5e-3, 1e-2
KEEP, SMOOTH, WEIGHT_POWER = 0.9, 0.05, 0.4
SEEDS = 3

Floats = NDArray[np.float32]
Layers = list[tuple[Floats, Floats]]
Ensemble = tuple[Floats, Floats, list[Layers]]
"""Mean and standard deviation of the features, and the perceptrons."""


def fit(features: Floats, labels: NDArray[np.int64], seeds: int = SEEDS) -> Ensemble:
    """An ensemble of ``seeds`` perceptrons; features (n, f), labels (n,) indices into `CLASSES`."""
    mean = features.mean(0, dtype=np.float64).astype(np.float32)
    spread = (features.std(0, dtype=np.float64) + 1e-6).astype(np.float32)
    scaled = np.clip((features - mean) / spread, -5, 5).astype(np.float32)
    return mean, spread, [_perceptron(scaled, labels, seed) for seed in range(seeds)]


def _rate(step: int, steps: int) -> float:
    """One cycle: a cosine up over the first 30 %, and a cosine down to nearly nothing."""
    peak = int(0.3 * steps)
    if step < peak:
        start, end, at = PEAK_RATE / 25, PEAK_RATE, step / peak
    else:
        start, end, at = PEAK_RATE, PEAK_RATE / 25e4, (step - peak) / (steps - peak)
    return float(end + (start - end) * 0.5 * (1 + np.cos(np.pi * at)))


def _perceptron(x: Floats, y: NDArray[np.int64], seed: int) -> Layers:
    rng = np.random.default_rng(seed)
    sizes = (x.shape[1], *HIDDEN, len(CLASSES))
    weights = [
        rng.standard_normal((a, b)).astype(np.float32) * np.float32(np.sqrt(2 / a))
        for a, b in itertools.pairwise(sizes)
    ]
    biases = [np.zeros(b, np.float32) for b in sizes[1:]]
    count = np.bincount(y, minlength=len(CLASSES))
    importance = (count.sum() / np.maximum(count, 1)) ** WEIGHT_POWER
    importance = (importance / (importance * count).sum() * count.sum()).astype(np.float32)
    target = np.eye(len(CLASSES), dtype=np.float32) * (1 - SMOOTH) + np.float32(SMOOTH / len(CLASSES))
    parameters = [p for pair in zip(weights, biases, strict=True) for p in pair]
    first = [np.zeros_like(p) for p in parameters]
    second = [np.zeros_like(p) for p in parameters]
    steps = len(x) // BATCH * EPOCHS
    step = 0
    for _ in range(EPOCHS):
        order = rng.permutation(len(x))
        for k in range(len(x) // BATCH):
            rows = order[k * BATCH : (k + 1) * BATCH]
            kept = rng.random((BATCH, x.shape[1])) < KEEP
            hidden = [x[rows] * kept / np.float32(KEEP)]
            for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
                z = hidden[-1] @ w + b
                hidden.append(np.maximum(z, 0) if i < len(HIDDEN) else z)
            p = np.exp(hidden[-1] - hidden[-1].max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            slope = (p - target[y[rows]]) * (importance[y[rows]] / BATCH)[:, None]
            gradients: list[Floats] = []
            for i in reversed(range(len(weights))):
                gradients[:0] = [hidden[i].T @ slope, slope.sum(0)]
                if i:
                    slope = (slope @ weights[i].T) * (hidden[i] > 0)
            rate = np.float32(_rate(step, steps))
            step += 1
            for i, gradient in enumerate(gradients):
                first[i] += 0.1 * (gradient - first[i])
                second[i] += 0.001 * (gradient * gradient - second[i])
                update = first[i] / (1 - 0.9**step) / (np.sqrt(second[i] / (1 - 0.999**step)) + 1e-8)
                parameters[i] -= rate * (update + DECAY * parameters[i]).astype(np.float32)
    return list(zip(weights, biases, strict=True))
