"""``einthoven bench views`` gives the figures that the page of performance tells."""

import json

import pytest

from einthoven.cli import run


def test_every_question_is_asked_and_answered(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "views", "--days", "30", "--asked", "5", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert {"days", "questions", "batch_s_per_day", "refresh_ms_per_segment", "machine"} < set(figures)
    assert len(figures["questions"]) == 9
    for one in figures["questions"]:
        assert one["asked"] == 5
        assert one["bytes"] > 100
        assert 0 < one["p50_ms"] <= one["p99_ms"] < 2000
