"""The class of a beat: three small perceptrons whose votes are summed.

The weights come from `einthoven.signal.learning`, trained on DS1 (de Chazal's design half of the
MIT-BIH records), and travel with the package as one MessagePack file whose digest is checked.
"""

import functools
import hashlib
from importlib import resources
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import DefectError
from einthoven.signal.kernel import kernel
from einthoven.signal.learning import CLASSES, Ensemble

__all__ = ["CLASSES", "ClassModel", "classify", "load_model", "pack_model", "vote"]

_LANES: Final = 64
MODEL_FILE: Final = "beat-classes.msgpack"
MODEL_SHA256: Final = "8666bc1ff09411886a8aa9a8a74b62a360875707e3794de96f7f46d95a2a3b8f"


class _Packed(msgspec.Struct, frozen=True):
    """The file's content: float32 arrays as little-endian bytes."""

    version: str
    features: int
    sizes: tuple[int, ...]
    perceptrons: int
    mean: bytes
    spread: bytes
    weights: bytes


class ClassModel(msgspec.Struct, frozen=True, eq=False):
    """The ensemble as flat arrays for the kernel."""

    version: str
    mean: NDArray[np.float32]
    inverse_spread: NDArray[np.float32]
    sizes: NDArray[np.int64]
    """Width of each layer, input first."""
    weights: NDArray[np.float32]
    """Per perceptron and layer: the matrix (in, out) row by row, then the bias."""
    perceptrons: int


def pack_model(ensemble: Ensemble, version: str) -> bytes:
    """The file that `load_model` reads, for an ensemble from `learning.fit`."""
    mean, spread, perceptrons = ensemble
    flat = [part.ravel() for layers in perceptrons for layer in layers for part in layer]
    sizes = (mean.size, *(bias.size for _, bias in perceptrons[0]))
    return msgspec.msgpack.encode(
        _Packed(
            version=version,
            features=mean.size,
            sizes=sizes,
            perceptrons=len(perceptrons),
            mean=mean.astype("<f4").tobytes(),
            spread=spread.astype("<f4").tobytes(),
            weights=np.concatenate(flat).astype("<f4").tobytes(),
        )
    )


def unpack_model(content: bytes) -> ClassModel:
    """The model in a file's content."""
    packed = msgspec.msgpack.decode(content, type=_Packed)
    floats = [
        np.frombuffer(part, "<f4").astype(np.float32) for part in (packed.mean, packed.spread, packed.weights)
    ]
    return ClassModel(
        version=packed.version,
        mean=floats[0],
        inverse_spread=(1 / floats[1]).astype(np.float32),
        sizes=np.array(packed.sizes, np.int64),
        weights=floats[2],
        perceptrons=packed.perceptrons,
    )


@functools.cache
def load_model() -> ClassModel:
    """The shipped model.

    Raises
    ------
    DefectError : the file in the package is not the one that this version was released with.
    """
    content = resources.files("einthoven.signal").joinpath(MODEL_FILE).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != MODEL_SHA256:
        raise DefectError(
            "the beat classifier's file does not have the digest that this version was released with.",
            where=MODEL_FILE,
            remedy="Install Einthoven again.",
        )
    return unpack_model(content)


def classify(features: NDArray[np.float32], model: ClassModel) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Class (index into `CLASSES`) and confidence (per cent) of each beat; features of shape (n, f).

    Each beat is computed alone and in the same order of additions, so that its class cannot depend on
    the beats that happen to be analysed with it.
    """
    classes, confidences, _ = _ballot(features, model)
    return classes, confidences


def vote(features: NDArray[np.float32], model: ClassModel) -> NDArray[np.float32]:
    """Each class' share of the votes that `classify` counts, shape (n, len(CLASSES)); rows sum to 1."""
    return _ballot(features, model)[2]


def _ballot(
    features: NDArray[np.float32], model: ClassModel
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    classes = np.empty(len(features), np.uint8)
    confidences = np.empty(len(features), np.uint8)
    shares = np.empty((len(features), int(model.sizes[-1])), np.float32)
    _classify(
        features,
        model.mean,
        model.inverse_spread,
        model.sizes,
        model.weights,
        model.perceptrons,
        classes,
        confidences,
        shares,
    )
    return classes, confidences, shares


@kernel
def _classify(features, mean, inverse, sizes, weights, perceptrons, classes, confidences, shares):  # type: ignore[no-untyped-def]
    """Side by side over up to 64 beats, so that the inner loop is SIMD; each lane adds in the same order."""
    layers = sizes.size - 1
    outputs = sizes[layers]
    scaled = np.empty((sizes[0], _LANES), np.float32)
    a = np.empty((np.max(sizes), _LANES), np.float32)
    b = np.empty((np.max(sizes), _LANES), np.float32)
    votes = np.empty((outputs, _LANES), np.float32)
    zero = np.float32(0)
    for first in range(0, features.shape[0], _LANES):
        n = min(_LANES, features.shape[0] - first)
        for k in range(n):
            for i in range(sizes[0]):
                v = (features[first + k, i] - mean[i]) * inverse[i]
                scaled[i, k] = min(max(v, np.float32(-5)), np.float32(5))
        votes[:] = 0
        at = 0
        for _ in range(perceptrons):
            for i in range(sizes[0]):
                for k in range(n):
                    a[i, k] = scaled[i, k]
            for layer in range(layers):
                inputs, width = sizes[layer], sizes[layer + 1]
                bias = at + inputs * width
                for o in range(width):
                    total = b[o, :n]
                    total[:] = weights[bias + o]
                    for i in range(inputs):
                        w = weights[at + i * width + o]
                        x = a[i, :n]
                        for k in range(n):
                            total[k] += w * x[k]
                at = bias + width
                for o in range(width):
                    for k in range(n):
                        a[o, k] = max(b[o, k], zero) if layer + 1 < layers else b[o, k]
            for k in range(n):
                top = a[0, k]
                for o in range(1, outputs):
                    top = max(top, a[o, k])
                sum_of = zero
                for o in range(outputs):
                    a[o, k] = np.exp(a[o, k] - top)
                    sum_of += a[o, k]
                for o in range(outputs):
                    votes[o, k] += a[o, k] / sum_of
        for k in range(n):
            best = 0
            for o in range(1, outputs):
                if votes[o, k] > votes[best, k]:
                    best = o
            classes[first + k] = best
            confidences[first + k] = np.uint8(100 * votes[best, k] / perceptrons + np.float32(0.5))
            for o in range(outputs):
                shares[first + k, o] = votes[o, k] / perceptrons
