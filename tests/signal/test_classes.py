"""The beat classifier's file: intact, refused when it is not, and the same alone as in company."""

import hashlib
from importlib import resources

import numpy as np

from einthoven.signal.classes import (
    MODEL_FILE,
    MODEL_SHA256,
    classify,
    load_model,
    pack_model,
    unpack_model,
)
from einthoven.signal.learning import fit
from einthoven.signal.morphology import FEATURES


def some_features(count: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((count, len(FEATURES))).astype(np.float32)


def test_the_shipped_model_is_the_released_one_and_small() -> None:
    content = resources.files("einthoven.signal").joinpath(MODEL_FILE).read_bytes()
    assert hashlib.sha256(content).hexdigest() == MODEL_SHA256
    assert len(content) < 2**20
    assert load_model().sizes[0] == len(FEATURES)


def test_a_beat_is_classified_alone_as_in_company() -> None:
    features = some_features(64)
    together = classify(features, load_model())
    alone = [classify(features[k : k + 1], load_model()) for k in range(64)]
    np.testing.assert_array_equal(together[0], [row[0][0] for row in alone])
    np.testing.assert_array_equal(together[1], [row[1][0] for row in alone])


def test_the_kernel_computes_what_numpy_computes() -> None:
    rng = np.random.default_rng(2)
    features, labels = some_features(6000), rng.integers(0, 4, 6000)
    features[np.arange(6000), labels] += 3
    ensemble = fit(features, labels, seeds=2)
    mean, spread, perceptrons = ensemble
    scaled = np.clip((features - mean) / spread, -5, 5)
    votes = np.zeros((6000, 4))
    for layers in perceptrons:
        x = scaled
        for number, (weights, bias) in enumerate(layers):
            x = x @ weights + bias
            x = np.maximum(x, 0) if number + 1 < len(layers) else x
        shifted = np.exp(x - x.max(1, keepdims=True))
        votes += shifted / shifted.sum(1, keepdims=True)
    classes, confidences = classify(features, unpack_model(pack_model(ensemble, "test")))
    assert np.mean(classes == votes.argmax(1)) > 0.995
    assert np.abs(confidences - 50 * votes.max(1)).max() <= 1
    assert np.mean(classes == labels) > 0.8, "it learns"


def test_training_is_the_same_every_time() -> None:
    features, labels = some_features(300), np.arange(300) % 4
    assert pack_model(fit(features, labels), "x") == pack_model(fit(features, labels), "x")
