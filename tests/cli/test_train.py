"""``einthoven train``: the shipped model again, and a card that can be trusted.

What training reads and makes takes twenty seconds and is the same whoever asks, so that it is made once here.
"""

import functools
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from einthoven.cli import made, run, train
from einthoven.evaluation import BeatTable
from einthoven.runtime import training
from einthoven.runtime.model_card import ModelCard
from einthoven.runtime.training import DS1, VARIANTS, Tables, cross_validate

CARD = Path(__file__).parents[2] / "docs" / "beat-classes.json"


@pytest.fixture(scope="module", autouse=True)
def _made_once() -> Iterator[None]:
    """The real functions, each of which remembers what it gave."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "training_rows", functools.cache(training.training_rows))
        patch.setattr(train, "real_on_other_rhythms", functools.cache(made.real_on_other_rhythms))
        patch.setattr(train, "virtual", functools.cache(made.virtual))
        yield


def f1(found: int, missed: int, false: int) -> float:
    return 200 * found / (2 * found + missed + false)


def pooled(tables: Tables, lead: int) -> BeatTable:
    first, *others = (of_record[lead] for of_record in tables.values())
    return sum(others, first)


def test_training_makes_the_shipped_model_bit_for_bit(data, tmp_path: Path, capsys) -> None:
    assert run(["train", "--data", str(data), "--out", str(tmp_path / "model"), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["is_shipped"]
    assert (tmp_path / "model").stat().st_size == figures["bytes"] < 2**20
    assert figures["rows"]["V"] == 8 * 3788
    assert run(["train", "--data", str(tmp_path)]) == 2


def test_training_writes_the_card_that_it_is_asked_for(data, tmp_path: Path, capsys, monkeypatch) -> None:
    """With one seed and the fewest records and virtual patients, for speed."""
    monkeypatch.setattr("einthoven.cli.train.VIRTUAL_PATIENTS", 1)
    monkeypatch.setattr("einthoven.cli.train.SEEDS", 1)
    monkeypatch.setattr("einthoven.cli.train.DS1", ("106", "118", "119", "208", "209", "223"))
    card = tmp_path / "card.md"
    assert run(["train", "--data", str(data), "--out", str(tmp_path / "model"), "--card", str(card)]) == 0
    assert "held-out records of DS1: V F1" in capsys.readouterr().out
    figures = json.loads(card.with_suffix(".json").read_text())
    assert figures["seeds"] == 1
    assert figures["sha256"] in card.read_text()


def test_one_seed_measured_again_lies_within_the_card(data) -> None:
    """Both leads of every held-out record, by classifiers trained without it: the card can be trusted."""
    folder = data / "mitdb"
    rows = {(name, v): train.training_rows(folder, name, v) for name in DS1 for v in VARIANTS}
    played = train.real_on_other_rhythms(folder, seed=0, names=DS1)
    (tables,) = cross_validate(
        rows, {**played, **train.virtual(seeds=range(train.VIRTUAL_PATIENTS))}, seeds=[0]
    )
    assert list(tables) == list(DS1)
    for lead, figures in enumerate(msgspec.json.decode(CARD.read_bytes(), type=ModelCard).leads):
        table = pooled(tables, lead)
        assert table.counts.sum() == 51_013
        assert figures.v_f1.least - 0.01 <= f1(*table.veb()) <= figures.v_f1.most + 0.01
        assert figures.s_f1.least - 0.01 <= f1(*table.sveb()) <= figures.s_f1.most + 0.01
