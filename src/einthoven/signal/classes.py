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
from einthoven.signal.lanes import LANES, ROWS, dense, in_whole_lanes, rectify, whole
from einthoven.signal.learning import CLASSES, Ensemble, Head
from einthoven.signal.perceptron import exponential
from einthoven.signal.shipped import shipped

__all__ = ["CLASSES", "ClassModel", "classify", "load_model", "pack_model", "vote"]

_ROWS_AT_ONCE: Final = 256
"""Beats whose values between the layers are kept at a time."""
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
    layers: NDArray[np.float32]
    """Of each perceptron, as `lanes.dense` reads them."""
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
    each = np.split(weights, head.networks)
    return HeadArrays(
        columns=np.array(head.columns, np.int64),
        mean=mean,
        inverse_spread=(1 / spread).astype(np.float32),
        sizes=np.array(head.sizes, np.int64),
        layers=np.concatenate([in_whole_lanes(one, head.sizes) for one in each]),
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
    # As plain tuples: of a named one the dispatcher reads every name, each time.
    _classify(features, tuple(model.shape), tuple(model.rhythm), classes, confidences, shares)
    return classes, confidences, shares


@kernel
def _classify(features, shape, rhythm, classes, confidences, shares):  # type: ignore[no-untyped-def]
    most = min(whole(features.shape[0], ROWS), _ROWS_AT_ONCE)
    votes, early = np.empty((most, LANES), np.float32), np.empty((most, LANES), np.float32)
    for first in range(0, features.shape[0], _ROWS_AT_ONCE):
        rows = features[first : min(first + _ROWS_AT_ONCE, features.shape[0])]
        _vote(rows, shape, votes)
        _vote(rows, rhythm, early)
        for k in range(rows.shape[0]):
            of = shares[first + k]
            of[0] = votes[k, 0] * (np.float32(1) - early[k, 1])
            of[1] = votes[k, 0] * early[k, 1]
            of[2] = votes[k, 1]
            of[3] = votes[k, 2]
            best = 0
            for o in range(1, of.size):
                if of[o] > of[best]:
                    best = o
            classes[first + k] = best
            confidences[first + k] = np.uint8(np.float32(100) * of[best] + np.float32(0.5))


@kernel
def _vote(features, head, votes):  # type: ignore[no-untyped-def]
    """Probabilities from the mean logits of one head; each row adds in the same order."""
    columns, mean, inverse, sizes, layers, networks = head
    count = features.shape[0]
    last = sizes.size - 1
    outputs = sizes[last]
    widest = sizes[0]
    for size in sizes:
        widest = max(widest, whole(size, LANES))
    most = whole(count, ROWS)
    scaled = np.zeros((most, sizes[0]), np.float32)
    a, b = np.empty((most, widest), np.float32), np.empty((most, widest), np.float32)
    for k in range(count):
        for i in range(sizes[0]):
            v = (features[k, columns[i]] - mean[i]) * inverse[i]
            scaled[k, i] = min(max(v, np.float32(-5)), np.float32(5))
    votes[:count] = 0
    at = 0
    for _ in range(networks):
        at = dense(scaled, count, sizes[0], layers, at, sizes[1], a)
        for layer in range(1, last):
            rectify(a, count, sizes[layer])
            at = dense(a, count, sizes[layer], layers, at, sizes[layer + 1], b)
            a, b = b, a
        for k in range(count):
            of, more = votes[k], a[k]
            for o in range(LANES):
                of[o] += more[o]
    for k in range(count):
        of = votes[k]
        top = of[0]
        for o in range(1, outputs):
            top = max(top, of[o])
        sum_of = np.float32(0)
        for o in range(outputs):
            of[o] = exponential((of[o] - top) / np.float32(networks))
            sum_of += of[o]
        for o in range(outputs):
            of[o] /= sum_of
