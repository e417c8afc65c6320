"""``einthoven bench signal``: a time for ours, and for each peer a time or the reason why not."""

import json

from einthoven.cli import run
from einthoven.runtime.speed import PEERS


def test_every_peer_has_a_time_or_a_reason(data, capsys) -> None:
    words = ["bench", "signal", "--data", str(data), "--records", "100", "--segments", "1", "--rounds", "1"]
    assert run([*words, "--peers", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["single_us"] > 0
    assert figures["batched_us"] > 0
    assert figures["compile_s"] > figures["cached_start_s"] > 0
    assert figures["isolated"]["se"] > 90
    assert {peer["name"] for peer in figures["peers"]} == set(PEERS)
    for peer in figures["peers"]:
        assert (peer["ms_per_segment"] is None) == (peer["reason"] is not None)
