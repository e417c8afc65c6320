"""``einthoven bench deploy``: real nodes, whose phases add up to what it took."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from einthoven.cli import run


def test_phases_of_real_deployments_add_up(capsys) -> None:
    beside = str(Path(sys.executable).parent)
    if not (shutil.which("nats-server", path=beside) or shutil.which("nats-server")):
        pytest.skip("no nats-server; install the test extra")
    assert run(["bench", "deploy", "--repeats", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    for kind in ("functions", "program"):
        (one,) = found[kind]
        parts = [one[f"{name}_s"] for name in ("announce", "describe", "match", "fetch", "start", "register")]
        assert all(part >= 0 for part in parts)
        assert sum(parts) == pytest.approx(one["whole_s"], abs=0.05)
        assert one["found_to_result_s"] == pytest.approx(one["whole_s"] - one["announce_s"], abs=0.001)
    assert found["program"][0]["fetch_s"] > 0, "it was not on the node"
    assert found["functions"][0]["fetch_s"] == 0
    assert found["program"][0]["whole_s"] < 6, "the published prototype takes 6 to 17 s"
    assert 10 < found["agent_mb"] < 60
    assert 0 < found["node_folder_bytes"] < 10_000
    assert found["unmeasured"][0]["what"] == "containers"
    assert found["published"]["container_adds_s"] == [1, 1.5]
