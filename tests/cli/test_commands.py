"""The front door: help at once, the notice, exit codes that mean something."""

import json
import subprocess
import sys
import time

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


def test_the_doctor_finds_this_machine_well(capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("EINTHOVEN_DATA_FOLDER", str(tmp_path))
    assert run(["doctor", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["beat_model"]
    assert figures["segment_us"] > 0
    assert run(["doctor"]) == 0
    assert "ready" in capsys.readouterr().out


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
