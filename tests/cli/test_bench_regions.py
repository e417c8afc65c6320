"""``einthoven bench regions`` gives the figures that the page of performance tells."""

import json

import pytest

from einthoven.cli import run
from einthoven.placement import POLICIES


def test_decisions_and_ways_are_timed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "regions", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert {"decisions", "ways", "machine", "version"} == set(figures)
    assert [one["policy"] for one in figures["decisions"]] == list(POLICIES)
    assert all(0 < one["us"] < 500 for one in figures["decisions"])
    kinds = [(one["kind"], one["encoding"]) for one in figures["ways"]]
    assert kinds == [
        ("inline", "msgpack"),
        ("pool", "msgpack"),
        ("http", "msgpack"),
        ("http", "json"),
        ("http, federated", "msgpack"),
    ]
    assert all(0 < one["p50_ms"] <= one["p99_ms"] < 1000 for one in figures["ways"])
