"""``einthoven bench batch`` gives the figures that are promised, and says whether the result is exact."""

import json

import pytest

from einthoven.cli import run


def test_the_json_has_the_keys_that_are_promised(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--hours", "0.1", "--chunk", "2", "--workers", "1", "--workers", "2", "--unfused"]
    assert run(["bench", "batch", *words, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert set(figures) == {"runs", "invocation_us", "machine", "version"}
    assert len(figures["runs"]) == 4
    for one in figures["runs"]:
        assert {
            "hours",
            "workers",
            "chunk_min",
            "makespan_s",
            "speedup",
            "efficiency",
            "ecg_min_per_s",
        } < set(one)
        assert one["identical"]
        assert one["invocations"] == (2 + 3 if one["is_fused"] else 2 + 5 * 3)
    assert 0 < figures["invocation_us"]["plain"] < 1000
    assert 0 < figures["invocation_us"]["journaled"] < 5000
