"""The model card: of the model that is shipped, printed from its figures, and a ratchet."""

import hashlib
from importlib import resources
from pathlib import Path

import msgspec
import numpy as np
import pytest

from einthoven.evaluation import BeatTable
from einthoven.runtime.model_card import ModelCard, card_of, page
from einthoven.runtime.training import (
    FOLDS,
    Rows,
    Tables,
    Variant,
    cross_validate,
    with_other_folds,
)
from einthoven.signal.classes import MODEL_FILE, MODEL_SHA256
from einthoven.signal.morphology import FEATURES

CARD = Path(__file__).parents[2] / "docs" / "beat-classes.md"
V_F1, S_F1 = (92.4, 86.7), (81.2, 73.3)
"""Cross-validated on DS1, per lead, mean over the seeds. Raise them when you improve; never lower them."""


def the_card() -> ModelCard:
    return msgspec.json.decode(CARD.with_suffix(".json").read_bytes(), type=ModelCard)


def test_the_card_is_of_the_shipped_model() -> None:
    content = resources.files("einthoven.signal").joinpath(MODEL_FILE).read_bytes()
    card = the_card()
    assert card.sha256 == MODEL_SHA256 == hashlib.sha256(content).hexdigest()
    assert card.bytes == len(content)


def test_the_page_is_printed_from_the_figures() -> None:
    assert page(the_card()) == CARD.read_text(encoding="utf-8")


def test_the_figures_do_not_slip() -> None:
    leads = the_card().leads
    assert all(lead.v_f1.mean >= floor for lead, floor in zip(leads, V_F1, strict=True))
    assert all(lead.s_f1.mean >= floor for lead, floor in zip(leads, S_F1, strict=True))


def some_rows(names: str, beats: int = 800) -> dict[tuple[str, Variant], Rows]:
    """Records whose classes are plain to see."""
    rows = {}
    for number, name in enumerate(names):
        for variant in (Variant(0), Variant(1), Variant(0, 2)):
            rng = np.random.default_rng((number, *variant))
            labels = rng.integers(0, 4, beats)
            features = rng.random((beats, len(FEATURES))).astype(np.float32)
            features[:, FEATURES.index("pre/typical")] += 4 * (labels == 1)
            features[:, FEATURES.index("corr QRS")] += 4 * (labels == 2)
            features[:, FEATURES.index("noise")] += 4 * (labels == 3)
            rows[name, variant] = Rows(features, labels)
    return rows


def test_every_record_is_told_once_on_each_lead_by_a_stranger() -> None:
    """A record whose labels contradict the others' is told wrongly: nothing of it was learnt."""
    rows = some_rows("1234567")
    for (name, variant), part in list(rows.items()):
        if name == "4":
            rows[name, variant] = Rows(part.features, (part.labels + 1) % 4)
    steps: list[int] = []
    (tables,) = cross_validate(rows, {}, seeds=[3], networks=1, done=lambda: steps.append(1))
    assert list(tables) == list("1234567")
    assert len(steps) == FOLDS
    for name, of_leads in tables.items():
        for table in of_leads:
            assert table.counts.sum() == 800
            assert (table.counts.trace() > 640) == (name != "4")


def test_other_folds_are_other_and_the_same_for_a_seed() -> None:
    rows = some_rows("1234567", beats=1)
    assert set(with_other_folds(rows, 1)) == set(rows)
    assert list(with_other_folds(rows, 1)) == list(with_other_folds(rows, 1)) != list(rows)


def test_a_card_counts_as_the_reference_tool_counts() -> None:
    """F called V is neither right nor wrong for V, an error for S, and wrong in the plain count."""
    counts = np.zeros((7, 7), np.int64)
    counts[2, 2], counts[2, 0], counts[0, 2], counts[3, 2] = 8, 2, 1, 5
    counts[1, 1], counts[1, 0], counts[3, 1], counts[0, 0] = 6, 4, 2, 72
    tables: Tables = {"1": (BeatTable(counts), BeatTable(counts))}
    card = card_of("x", "0" * 64, 1, {"N": 1}, {"S": 1}, [tables, tables], [tables])
    lead = card.leads[0]
    assert lead.v_sensitivity.mean == 80
    assert lead.v_predictivity.mean == pytest.approx(100 * 8 / 9, abs=0.01)
    assert lead.v_f1_plain.mean == pytest.approx(200 * 8 / 24, abs=0.01)
    assert lead.s_f1.mean == pytest.approx(200 * 6 / 18, abs=0.01)
    assert lead.accuracy.mean == 86
    assert lead.v_f1.deviation == 0
    assert card.records[1][0].v == (8, 2, 1)
    assert "| 1 | 8 / 2 / 1 | 8 / 2 / 1 | 6 / 4 / 2 | 6 / 4 / 2 |" in page(card)
