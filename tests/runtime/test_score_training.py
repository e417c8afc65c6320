"""The rhythm scores: learnt the same every time, from records that may be learnt from."""

import hashlib
from importlib import resources

import numpy as np
import pytest

from einthoven.errors import DefectError, RecordingNotFound
from einthoven.runtime.score_training import (
    DATABASES,
    atrial_rows,
    fibrillation_rows,
    prepare,
    prepare_all,
    told_spans,
)
from einthoven.signal import scores as scores_module
from einthoven.signal.atrial import ATRIAL_FEATURES
from einthoven.signal.quality import FIBRILLATION_FEATURES
from einthoven.signal.score_learning import Recipe, fit_logistic, fit_score, scores_of
from einthoven.signal.scores import SCORES_FILE, SCORES_SHA256, evaluate, load_scores, score_model

RECIPE = Recipe(
    hidden=12,
    perceptrons=2,
    epochs=150,
    batch=64,
    peak_rate=2e-2,
    decay=1e-4,
    noise=0.05,
    dropout=0.0,
    cross_entropy=0.5,
)


def rows(count: int = 600) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(count, 3))
    labels = (features[:, 0] ** 2 + features[:, 1] > 0.5).astype(float)
    return features, labels, np.ones(count)


def test_a_score_learns_what_is_not_linear_and_is_the_same_every_time() -> None:
    features, labels, weights = rows()
    one, two = (scores_of(fit_score(features, labels, weights, RECIPE), features) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert np.mean((one > 0) == (labels > 0)) > 0.85


def test_the_kernel_says_what_the_fit_says() -> None:
    features, labels, weights = rows(200)
    fitted = fit_score(features, labels, weights, RECIPE)
    model = score_model(fitted)
    told = [
        evaluate(row.copy(), model.mean, model.inverse_spread, model.weights, model.perceptrons, model.bias)
        for row in features
    ]
    np.testing.assert_allclose(told, scores_of(fitted, features), atol=1e-4)


def test_a_logistic_regression_finds_the_slope() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4000, 1))
    y = (rng.random(4000) < 1 / (1 + np.exp(-(2 * x[:, 0] - 1)))).astype(float)
    np.testing.assert_allclose(fit_logistic(x, y, np.ones(4000)), [2, -1], atol=0.2)


def test_the_shipped_scores_are_those_of_this_version() -> None:
    content = resources.files("einthoven.signal").joinpath(SCORES_FILE).read_bytes()
    assert hashlib.sha256(content).hexdigest() == SCORES_SHA256
    shipped = load_scores()
    assert shipped.fibrillation.mean.size == len(FIBRILLATION_FEATURES)
    assert shipped.atrial.mean.size == len(ATRIAL_FEATURES)


def test_another_file_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(scores_module, "SCORES_SHA256", "0" * 64)
    load_scores.cache_clear()
    with pytest.raises(DefectError, match="digest"):
        load_scores()
    load_scores.cache_clear()


def test_a_missing_database_is_named(tmp_path) -> None:
    with pytest.raises(RecordingNotFound, match=DATABASES[0]):
        prepare_all(tmp_path)


def test_rows_lie_inside_or_outside_fibrillation_and_not_before_it(data) -> None:
    path = data / "cudb" / "cu05"
    found = fibrillation_rows(path, prepare(path))
    assert found.features.shape == (found.labels.size, len(FIBRILLATION_FEATURES))
    assert set(found.labels) == {0.0, 1.0}
    unmarked = data / "cudb" / "cu02"
    assert fibrillation_rows(unmarked, prepare(unmarked)).labels.size == 0


def test_flutter_is_neither_learnt_as_fibrillation_nor_as_its_absence(data) -> None:
    path = data / "mitdb" / "203"
    record = prepare(path)
    found = atrial_rows(path, record, load_scores(), None)
    assert 0 < found.labels.size < 60
    assert told_spans(record, load_scores(), "atrial_fibrillation").shape[1] == 2
