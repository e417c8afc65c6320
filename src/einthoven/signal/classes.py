"""The class of a beat: by its shape V, F or neither; if neither, by its rhythm S or N.

Two heads of five small perceptrons each, whose logits are averaged. The weights come from
`einthoven.signal.learning`, trained on DS1 (de Chazal's design half of the MIT-BIH records), and travel
with the package as one MessagePack file whose digest is checked.
"""

import functools
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.signal.kernel import kernel
from einthoven.signal.learning import CLASSES, Ensemble, Head
from einthoven.signal.perceptron import exponential
from einthoven.signal.shipped import shipped

__all__ = ["CLASSES", "ClassModel", "classify", "load_model", "pack_model", "vote"]

_LANES: Final = 64
_REGISTER: Final = 16
MODEL_FILE: Final = "beat-classes.msgpack"
MODEL_SHA256: Final = "5bd712e098fcae4cce771e35978e680e53ff3f53ddab13081f67a7161745f427"


class _PackedHead(msgspec.Struct, frozen=True):
    """One head: float32 arrays as little-endian bytes."""

    columns: tuple[int, ...]
    sizes: tuple[int, ...]
    networks: int
    mean: bytes
    spread: bytes
    weights: bytes


class _Packed(msgspec.Struct, frozen=True):
    """The file's content."""

    version: str
    shape: _PackedHead
    rhythm: _PackedHead


class HeadArrays(NamedTuple):
    """One head as flat arrays for the kernel."""

    columns: NDArray[np.int64]
    """Which features it sees."""
    mean: NDArray[np.float32]
    inverse_spread: NDArray[np.float32]
    sizes: NDArray[np.int64]
    """Width of each layer, input first."""
    weights: NDArray[np.float32]
    """Per perceptron and layer: the matrix (in, out) row by row, then the bias."""
    networks: int


class ClassModel(NamedTuple):
    """The classifier, ready for `classify`."""

    version: str
    shape: HeadArrays
    rhythm: HeadArrays


def pack_model(ensemble: Ensemble, version: str) -> bytes:
    """The file that `load_model` reads, for an ensemble from `learning.fit`."""
    return msgspec.msgpack.encode(_Packed(version, _pack(ensemble.shape), _pack(ensemble.rhythm)))


def _pack(head: Head) -> _PackedHead:
    flat = [part.ravel() for layers in head.networks for layer in layers for part in layer]
    return _PackedHead(
        columns=tuple(head.columns.tolist()),
        sizes=(head.columns.size, *(bias.size for _, bias in head.networks[0])),
        networks=len(head.networks),
        mean=head.mean.astype("<f4").tobytes(),
        spread=head.spread.astype("<f4").tobytes(),
        weights=np.concatenate(flat).astype("<f4").tobytes(),
    )


def unpack_model(content: bytes) -> ClassModel:
    """The model in a file's content."""
    packed = msgspec.msgpack.decode(content, type=_Packed)
    return ClassModel(packed.version, _unpack(packed.shape), _unpack(packed.rhythm))


def _unpack(head: _PackedHead) -> HeadArrays:
    mean, spread, weights = (
        np.frombuffer(part, "<f4").astype(np.float32) for part in (head.mean, head.spread, head.weights)
    )
    return HeadArrays(
        columns=np.array(head.columns, np.int64),
        mean=mean,
        inverse_spread=(1 / spread).astype(np.float32),
        sizes=np.array(head.sizes, np.int64),
        weights=weights,
        networks=head.networks,
    )


@functools.cache
def load_model() -> ClassModel:
    """The shipped model.

    Raises
    ------
    DefectError : the file in the package is not the one that this version was released with.
    """
    content = shipped(MODEL_FILE, MODEL_SHA256)
    return unpack_model(content)


def classify(features: NDArray[np.float32], model: ClassModel) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Class (index into `CLASSES`) and confidence (per cent) of each beat; features of shape (n, f).

    Each beat is computed alone and in the same order of additions, so that its class cannot depend on
    the beats that happen to be analysed with it.
    """
    classes, confidences, _ = _ballot(features, model)
    return classes, confidences


def vote(features: NDArray[np.float32], model: ClassModel) -> NDArray[np.float32]:
    """The probability of each class that `classify` tells by, shape (n, len(CLASSES)); rows sum to 1.

    For N and S it is that of neither V nor F by shape, shared out by rhythm.
    """
    return _ballot(features, model)[2]


def _ballot(
    features: NDArray[np.float32], model: ClassModel
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    classes = np.empty(len(features), np.uint8)
    confidences = np.empty(len(features), np.uint8)
    shares = np.empty((len(features), len(CLASSES)), np.float32)
    _classify(features, model.shape, model.rhythm, classes, confidences, shares)
    return classes, confidences, shares


@kernel
def _classify(features, shape, rhythm, classes, confidences, shares):  # type: ignore[no-untyped-def]
    votes = np.empty((3, _LANES), np.float32)
    early = np.empty((2, _LANES), np.float32)
    widest = max(np.max(shape.sizes), np.max(rhythm.sizes))
    scaled = np.empty((widest, _LANES), np.float32)
    a = np.empty((widest, _LANES), np.float32)
    b = np.empty((widest, _LANES), np.float32)
    for first in range(0, features.shape[0], _LANES):
        n = min(_LANES, features.shape[0] - first)
        scaled[:] = 0
        _vote(features, first, n, shape, scaled, a, b, votes)
        _vote(features, first, n, rhythm, scaled, a, b, early)
        for k in range(n):
            of = shares[first + k]
            of[0] = votes[0, k] * (np.float32(1) - early[1, k])
            of[1] = votes[0, k] * early[1, k]
            of[2] = votes[1, k]
            of[3] = votes[2, k]
            best = 0
            for o in range(1, of.size):
                if of[o] > of[best]:
                    best = o
            classes[first + k] = best
            confidences[first + k] = np.uint8(np.float32(100) * of[best] + np.float32(0.5))


@kernel
def _vote(features, first, n, head, scaled, a, b, votes):  # type: ignore[no-untyped-def]
    """Probabilities from the mean logits of one head.

    Side by side over up to 64 beats, so that the inner loop is SIMD; each lane adds in the same order.
    """
    columns, mean, inverse, sizes, weights, networks = head
    layers = sizes.size - 1
    outputs = sizes[layers]
    zero = np.float32(0)
    # Whole registers, so that no beat is left over for a slow end of the loop.
    lanes = (n + _REGISTER - 1) // _REGISTER * _REGISTER
    for i in range(sizes[0]):
        for k in range(n):
            v = (features[first + k, columns[i]] - mean[i]) * inverse[i]
            scaled[i, k] = min(max(v, np.float32(-5)), np.float32(5))
    votes[:] = 0
    at = 0
    for _ in range(networks):
        for i in range(sizes[0]):
            for k in range(lanes):
                a[i, k] = scaled[i, k]
        for layer in range(layers):
            inputs, width = sizes[layer], sizes[layer + 1]
            bias = at + inputs * width
            for o in range(width):
                total = b[o, :lanes]
                total[:] = weights[bias + o]
                quads = inputs // 4 * 4
                for i in range(0, quads, 4):
                    w = at + i * width + o
                    w0, w1 = weights[w], weights[w + width]
                    w2, w3 = weights[w + 2 * width], weights[w + 3 * width]
                    x0, x1, x2, x3 = a[i, :lanes], a[i + 1, :lanes], a[i + 2, :lanes], a[i + 3, :lanes]
                    for k in range(lanes):
                        total[k] = (((total[k] + w0 * x0[k]) + w1 * x1[k]) + w2 * x2[k]) + w3 * x3[k]
                for i in range(quads, inputs):
                    w0, x0 = weights[at + i * width + o], a[i, :lanes]
                    for k in range(lanes):
                        total[k] += w0 * x0[k]
            at = bias + width
            for o in range(width):
                for k in range(lanes):
                    a[o, k] = max(b[o, k], zero) if layer + 1 < layers else b[o, k]
        for o in range(outputs):
            for k in range(lanes):
                votes[o, k] += a[o, k]
    for k in range(n):
        top = votes[0, k]
        for o in range(1, outputs):
            top = max(top, votes[o, k])
        sum_of = zero
        for o in range(outputs):
            votes[o, k] = exponential((votes[o, k] - top) / np.float32(networks))
            sum_of += votes[o, k]
        for o in range(outputs):
            votes[o, k] /= sum_of
