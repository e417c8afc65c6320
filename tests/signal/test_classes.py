"""The beat classifier: its file is intact, a beat's class is its own, training repeats to the last bit."""

import hashlib
import os
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from einthoven.signal.classes import (
    MODEL_FILE,
    MODEL_SHA256,
    classify,
    load_model,
    pack_model,
    unpack_model,
    vote,
)
from einthoven.signal.learning import RHYTHM_FEATURES, Ensemble, Head, exponential, fit
from einthoven.signal.morphology import FEATURES, SHAPE_FEATURES


def some_features(count: int) -> np.ndarray:
    return (3.4 * np.random.default_rng(1).random((count, len(FEATURES))) - 1.7).astype(np.float32)


def told_apart(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features that tell the classes: the first column of the rhythm head S, others V and F."""
    features, labels = some_features(count), np.random.default_rng(2).integers(0, 4, count)
    marks = [FEATURES.index(name) for name in ("context", RHYTHM_FEATURES[0], "corr QRS", "noise")]
    features[np.arange(count), np.array(marks)[labels]] += 4
    return features, labels, np.arange(count) % 7


def probabilities(head: Head, features: np.ndarray) -> np.ndarray:
    """In NumPy, of the mean logits."""
    scaled = np.clip((features[:, head.columns] - head.mean) / head.spread, -5, 5)
    logits = np.zeros((len(features), head.networks[0][-1][1].size))
    for layers in head.networks:
        x = scaled
        for number, (weights, bias) in enumerate(layers):
            x = x @ weights + bias
            x = np.maximum(x, 0) if number + 1 < len(layers) else x
        logits += x / len(head.networks)
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def told_by_numpy(ensemble: Ensemble, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    shape, rhythm = (probabilities(head, features) for head in ensemble)
    of_class = np.stack([shape[:, 0] * rhythm[:, 0], shape[:, 0] * rhythm[:, 1], shape[:, 1], shape[:, 2]], 1)
    return of_class.argmax(1), 100 * of_class.max(1)


def test_the_shipped_model_is_the_released_one_and_small() -> None:
    content = resources.files("einthoven.signal").joinpath(MODEL_FILE).read_bytes()
    assert hashlib.sha256(content).hexdigest() == MODEL_SHA256
    assert len(content) < 2**20
    model = load_model()
    assert [FEATURES[column] for column in model.shape.columns] == list(SHAPE_FEATURES)
    assert [FEATURES[column] for column in model.rhythm.columns] == list(RHYTHM_FEATURES)


def test_a_beat_is_classified_alone_as_in_company() -> None:
    features = some_features(64)
    together = classify(features, load_model())
    alone = [classify(features[k : k + 1], load_model()) for k in range(64)]
    np.testing.assert_array_equal(together[0], [row[0][0] for row in alone])
    np.testing.assert_array_equal(together[1], [row[1][0] for row in alone])


def test_the_kernel_computes_what_numpy_computes() -> None:
    features, labels, records = told_apart(6000)
    ensemble = fit(features, labels, records, networks=2)
    classes, confidences = classify(features, unpack_model(pack_model(ensemble, "test")))
    expected, sure = told_by_numpy(ensemble, features)
    assert np.mean(classes == expected) > 0.999
    assert np.abs(confidences - sure)[classes == expected].max() <= 1
    assert np.mean(classes == labels) > 0.8, "it learns"


def test_the_votes_are_those_that_the_class_is_told_by() -> None:
    features = some_features(200)
    votes = vote(features, load_model())
    classes, confidences = classify(features, load_model())
    np.testing.assert_array_equal(votes.argmax(1), classes)
    np.testing.assert_allclose(votes.sum(1), 1, atol=1e-5)
    assert np.abs(100 * votes.max(1) - confidences).max() <= 0.51


@given(x=st.floats(-90, 0, width=32))
def test_the_exponential_is_the_exponential(x: float) -> None:
    expected = np.exp(np.float64(np.float32(x)))
    assert abs(float(exponential(np.float32(x))) - expected) <= 3e-7 * expected + 2e-35


def test_training_is_the_same_every_time_and_another_seed_is_another() -> None:
    rows = told_apart(600)
    assert pack_model(fit(*rows), "x") == pack_model(fit(*rows), "x")
    assert pack_model(fit(*rows), "x") != pack_model(fit(*rows, seed=1), "x")


def test_made_rows_teach_the_rhythm_head_alone() -> None:
    """What annotated beats do not show is learnt from made ones; shapes are told as before."""
    features, labels, records = told_apart(2000)
    made, early = some_features(20_000), np.arange(20_000) % 2
    made[early == 1, FEATURES.index("late P")] -= 5
    plain = fit(features, labels, records)
    taught = fit(features, labels, records, made=(made, early))
    for one, other in zip(plain.shape.networks, taught.shape.networks, strict=True):
        for before, after in zip(one, other, strict=True):
            np.testing.assert_array_equal(before[0], after[0])
    asked = some_features(200)
    asked[:, FEATURES.index("late P")] -= 5
    before, after = (
        float(np.mean(probabilities(ensemble.rhythm, asked)[:, 1])) for ensemble in (plain, taught)
    )
    assert after > before + 0.2


DIGEST = "7758f65e416a6735ce0d1e20b53092dbff5835d7ac7b36dba94c003d91f789ca"
"""SHA-256 of the model trained on `told_apart`: another value means another recipe or arithmetic."""


def test_training_gives_these_very_bytes() -> None:
    assert hashlib.sha256(pack_model(fit(*told_apart(600)), "x")).hexdigest() == DIGEST


def test_training_does_not_depend_on_the_processor(tmp_path: Path) -> None:
    """Compiled for the oldest 64-bit processor, and with another BLAS kernel: the same digest."""
    program = (
        "import hashlib, sys; sys.path.insert(0, sys.argv[1]); import test_classes as t\n"
        "print(hashlib.sha256(t.pack_model(t.fit(*t.told_apart(600)), 'x')).hexdigest())"
    )
    plain = {
        **os.environ,
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CACHE_DIR": str(tmp_path),
        "OPENBLAS_CORETYPE": "Prescott",
    }
    done = subprocess.run(
        [sys.executable, "-c", program, str(Path(__file__).parent)],
        env=plain,
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stdout.strip() == DIGEST
