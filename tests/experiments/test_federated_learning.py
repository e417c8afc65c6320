"""``einthoven experiment federated-learning``: figures of every round, from DS1 alone."""

import csv
import json
from pathlib import Path

import pytest

from einthoven.cli import run
from einthoven.experiments import federated_learning
from einthoven.experiments.federated_learning import SPLITS
from einthoven.runtime.training import DS1, VARIANTS


def test_each_site_has_records_of_its_own_and_together_they_have_all() -> None:
    for groups in SPLITS.values():
        assert sorted(name for group in groups for name in group) == sorted(DS1)


def test_it_tells_what_each_round_gives_and_what_it_sends(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One fold of one reading of each record, one perceptron, two rounds, for speed."""
    monkeypatch.setattr(federated_learning, "VARIANTS", VARIANTS[:1])
    words = ["--data", str(data), "--folds", "1", "--networks", "1", "--rounds", "2"]
    assert run(["experiment", "federated-learning", *words, "--out", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    learnt = {(one["split"], one["learnt"], one["round"]) for one in found["rows"]}
    assert len(learnt) == len(found["rows"]) == 2 * (1 + 3 + 2)
    for one in found["rows"]:
        assert 0 <= one["v_f1"] <= 100
        assert 0 <= one["s_f1"] <= 100
        assert (one["up_bytes"] > 10_000) == (one["learnt"] == "together")
    assert {Path(one).name for one in found["files"]} == {
        *("federated-learning.csv", "federated-learning-figures.csv"),
        *("federated-learning-V.svg", "federated-learning-S.svg"),
    }
    with (tmp_path / "federated-learning.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(found["rows"])


def test_without_recordings_it_says_what_it_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EINTHOVEN_DATA", raising=False)
    words = ["experiment", "federated-learning", "--out", str(tmp_path)]
    assert run(words) == 2
    assert "--data" in capsys.readouterr().err
    assert run([*words, "--data", str(tmp_path)]) == 2
