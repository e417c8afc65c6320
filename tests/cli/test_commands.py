"""The front door: help at once, the notice, exit codes that mean something."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from einthoven.cli import run
from einthoven.cli.drawing import braille, sparkline
from einthoven.notice import NOTICE
from einthoven.version import __version__


def test_help_answers_at_once() -> None:
    """Under 0.3 s, the interpreter's start included; the best of five, because machines are noisy."""
    took_s = []
    for _ in range(5):
        began_s = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "einthoven", "--help"], capture_output=True, check=True, text=True
        )
        took_s.append(time.perf_counter() - began_s)
    assert "analyze" in done.stdout
    assert min(took_s) < 0.3


def test_the_version_comes_with_the_notice(capsys) -> None:
    assert run(["--version"]) == 0
    out = capsys.readouterr().out
    assert __version__ in out
    assert NOTICE in out


def test_the_doctor_finds_this_machine_well(capsys) -> None:
    assert run(["doctor", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["beat_model"]
    assert figures["segment_us"] > 0
    assert run(["doctor"]) == 0
    assert "ready" in capsys.readouterr().out


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


def test_sparklines_show_the_shape_and_leave_gaps() -> None:
    assert sparkline(np.array([1.0, 2.0, 3.0]), 3) == "▁▅█"
    assert sparkline(np.array([1.0, np.nan, 3.0]), 3) == "▁ █"
    assert sparkline(np.array([5.0, 5.0]), 2) == "▁▁"
    assert sparkline(np.array([]), 5) == ""
    assert sparkline(np.array([np.nan]), 5) == " "


@pytest.mark.parametrize("size", [0, 1, 7, 1000])
def test_strips_have_the_size_they_are_asked_for(size: int) -> None:
    rows = braille(np.sin(np.arange(size)), 20, 3, -1.0, 1.0)
    assert [len(row) for row in rows] == [20, 20, 20]


def test_no_spike_is_lost_in_a_strip() -> None:
    signal = np.zeros(5000)
    signal[1234] = 1.0
    top = braille(signal, 20, 3, 0.0, 1.0)[0]
    assert sum(character != "\u2800" for character in top) == 1
