"""Two small scores of rhythm, each a vote of perceptrons with one hidden layer and one output.

``fibrillation`` says of four seconds of signal whether they look like ventricular fibrillation or
flutter; ``atrial`` says of thirty seconds of beats whether they look like atrial fibrillation. A score is
a log-odds: above 0 means more likely than not, in the mix of records that it was trained on. The weights
come from `einthoven.signal.score_learning` and travel with the package as one MessagePack file whose
digest is checked, as those of `einthoven.signal.classes` do.
"""

import functools
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.signal.kernel import kernel
from einthoven.signal.score_learning import FittedScore
from einthoven.signal.shipped import shipped

__all__ = [
    "SCORES_FILE",
    "SCORES_SHA256",
    "RhythmScores",
    "ScoreModel",
    "evaluate",
    "load_scores",
    "pack_scores",
    "score_model",
]

SCORES_FILE: Final = "rhythm-scores.msgpack"
SCORES_SHA256: Final = "cb78952a3ae9bc3f306db7c1bed0c2241623790d488010dff57eced963974f41"


class _PackedScore(msgspec.Struct, frozen=True):
    """float32 arrays as little-endian bytes."""

    features: int
    hidden: int
    mean: bytes
    spread: bytes
    weights: bytes


class _Packed(msgspec.Struct, frozen=True):
    """The file's content."""

    version: str
    fibrillation: _PackedScore
    evidence: bytes
    atrial: _PackedScore


class ScoreModel(msgspec.Struct, frozen=True, eq=False):
    """One score as flat arrays for the kernel."""

    mean: NDArray[np.float32]
    inverse_spread: NDArray[np.float32]
    weights: NDArray[np.float32]
    """Shape (features + 2, units): input weights, bias and output weight of every perceptron's units."""
    perceptrons: int
    bias: float
    """Mean output bias."""


class RhythmScores(msgspec.Struct, frozen=True, eq=False):
    """What the file holds."""

    version: str
    fibrillation: ScoreModel
    evidence: NDArray[np.float64]
    """Shape (5,): weights of the mean score of 8 s, of the beats per second, of their mean agreement, of the
    share that resembles the patient's beat, and the bias."""
    atrial: ScoreModel


def score_model(fitted: FittedScore) -> ScoreModel:
    """The model of a fit, in the numbers that it will have when it is read back."""
    return _unpack(_pack(fitted))


def pack_scores(
    version: str, fibrillation: FittedScore, evidence: NDArray[np.float64], atrial: FittedScore
) -> bytes:
    """The file that `load_scores` reads."""
    return msgspec.msgpack.encode(
        _Packed(version, _pack(fibrillation), evidence.astype("<f8").tobytes(), _pack(atrial))
    )


@functools.cache
def load_scores() -> RhythmScores:
    """The shipped scores.

    Raises
    ------
    DefectError : the file in the package is not the one that this version was released with.
    """
    content = shipped(SCORES_FILE, SCORES_SHA256)
    packed = msgspec.msgpack.decode(content, type=_Packed)
    return RhythmScores(
        packed.version,
        _unpack(packed.fibrillation),
        np.frombuffer(packed.evidence, "<f8").astype(np.float64),
        _unpack(packed.atrial),
    )


def _pack(fitted: FittedScore) -> _PackedScore:
    units = [
        np.concatenate((one.inputs, one.biases[None, :], one.outputs[None, :])).T
        for one in fitted.perceptrons
    ]
    bias = np.mean([one.bias for one in fitted.perceptrons])
    flat = np.concatenate([*(unit.ravel() for unit in units), [bias]])
    return _PackedScore(
        features=fitted.mean.size,
        hidden=units[0].shape[0],
        mean=fitted.mean.astype("<f4").tobytes(),
        spread=fitted.spread.astype("<f4").tobytes(),
        weights=flat.astype("<f4").tobytes(),
    )


def _unpack(packed: _PackedScore) -> ScoreModel:
    mean, spread, flat = (
        np.frombuffer(part, "<f4").astype(np.float32) for part in (packed.mean, packed.spread, packed.weights)
    )
    return ScoreModel(
        mean,
        (1 / spread).astype(np.float32),
        np.ascontiguousarray(flat[:-1].reshape(-1, packed.features + 2).T),
        flat.size // packed.hidden // (packed.features + 2),
        float(flat[-1]),
    )


@kernel
def evaluate(x, mean, inverse, weights, perceptrons, bias):  # type: ignore[no-untyped-def]
    """The score of one row of features, which is scaled in place; units side by side."""
    size = x.size
    units = np.empty(weights.shape[1], np.float64)
    start = weights[size]
    for h in range(units.size):
        units[h] = start[h]
    for i in range(size):
        v = min(max((x[i] - mean[i]) * inverse[i], -4.0), 4.0)
        x[i] = v
        row = weights[i]
        for h in range(units.size):
            units[h] += v * row[h]
    total = 0.0
    last = weights[size + 1]
    for h in range(units.size):
        total += last[h] * units[h] / (1.0 + abs(units[h]))
    return bias + total / perceptrons
