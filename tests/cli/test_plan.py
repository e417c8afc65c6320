"""``einthoven plan``: what is decided is in time, can be kept, checked and seen; what is not is told why."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from einthoven.cli import run
from einthoven.continuum import example
from einthoven.placement.offloading import METHODS

SMALL = """
[sites.ward]
tier = "local"
compute = "4 Gcycle/s"
[sites.mast]
tier = "edge"
compute = "8 Gcycle/s"
[links.lan]
between = ["ward", "mast"]
rate = "10 Mbit/s"
latency = "2 ms"
[requests.alarm]
site = "ward"
input = "100 kbit"
output = "1 kbit"
work = "300 Mcycle"
deadline = "200 ms"
count = 9
[requests.scan]
site = "ward"
input = "1 kbit"
work = "1 Mcycle"
deadline = "100 ms"
needs = ["mri"]
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    file = tmp_path / "small.toml"
    file.write_text(SMALL)
    return file


def told(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> Any:
    assert run(["plan", *map(str, words), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_an_example_is_written_once_and_can_be_planned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "hospital.toml"
    told(capsys, "new", file)
    assert file.read_text() == example()
    assert run(["plan", "new", str(file)]) == 2
    assert "there is such a file already" in capsys.readouterr().err
    plan = told(capsys, "solve", file, "--method", "hra")
    assert plan["offered"] == 70
    assert plan["method"] == "hra"


@pytest.mark.parametrize("shares", ["balanced", "stretched", "cheapest"])
def test_what_is_accepted_is_in_time_and_nothing_is_given_away_twice(
    small: Path, capsys: pytest.CaptureFixture[str], shares: str
) -> None:
    """Counted again here, from the phases in the answer."""
    plan = told(capsys, "solve", small, "--shares", shares)
    assert 0 < plan["accepted"] < plan["offered"] == 10
    assert len(plan["requests"]) == plan["accepted"]
    given: dict[str, float] = {}
    for request in plan["requests"]:
        takes_s = request["delay_s"] + sum(phase["takes_s"] for phase in request["phases"])
        assert takes_s == pytest.approx(request["answers_s"])
        assert takes_s <= request["deadline_s"] * (1 + 1e-9)
        for phase in request["phases"]:
            given[phase["resource"]] = given.get(phase["resource"], 0.0) + phase["share"]
    for resource in plan["resources"]:
        part = given.get(resource["resource"], 0.0) / resource["capacity"]
        assert part == pytest.approx(resource["part"], abs=1e-9)
        assert part <= 1 + 1e-9
    assert plan["bound"] >= plan["value"] * (1 - 1e-6)
    assert len(plan["refused"]) + plan["accepted"] == plan["offered"]


def test_every_refusal_has_its_reason(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused = {one["request"]: one for one in told(capsys, "solve", small, "--explain")["refused"]}
    assert refused["scan"]["says"] == "scan can run nowhere: no site that computes has mri."
    full = [one for name, one in refused.items() if name != "scan"]
    assert full
    assert all(one["why"] == "full" and "left" in one["says"] for one in full)
    assert run(["plan", "solve", str(small), "--explain"]) == 0
    said = capsys.readouterr().out
    for words in ("accepted", "lan to mast", "Scarcest", "can run nowhere", "× "):
        assert words in said


def test_where_nothing_can_be_accepted_that_is_the_plan(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small.write_text(SMALL.replace("count = 9", 'count = 9\nneeds = ["mri"]'))
    for method in METHODS:
        plan = told(capsys, "solve", small, "--method", method, "--save", tmp_path / "plan.json")
        assert (plan["accepted"], plan["value"], len(plan["refused"])) == (0, 0.0, 10)
        assert told(capsys, "verify", tmp_path / "plan.json")["holds"]


def test_who_wants_all_is_told_by_the_exit_code(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "solve", small, "--all", code=1)["accepted"] < 10
    small.write_text(SMALL.replace("count = 9", "count = 2").replace('["mri"]', "[]"))
    assert told(capsys, "solve", small, "--all")["accepted"] == 3


@pytest.mark.parametrize("ending", [".json", ".msgpack"])
def test_a_plan_that_was_kept_is_checked_and_what_was_altered_is_found(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    kept = tmp_path / f"plan{ending}"
    assert told(capsys, "solve", small, "--save", kept)["certificate"] == str(kept)
    found = told(capsys, "verify", kept, "--of", small)
    assert found["holds"]
    assert found["flaws"] == []
    small.write_text(SMALL.replace("8 Gcycle/s", "7 Gcycle/s"))
    (flaw,) = told(capsys, "verify", kept, "--of", small, code=1)["flaws"]
    assert "another problem" in flaw
    if ending == ".json":
        content = json.loads(kept.read_text())
        content["plan"]["shares"][0] *= 0.5
        kept.write_text(json.dumps(content))
        assert run(["plan", "verify", str(kept)]) == 1
        assert "of its slack" in capsys.readouterr().out


def test_what_is_no_certificate_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "verify", str(tmp_path / "none.json")]) == 2
    (tmp_path / "text.json").write_text("{}")
    assert run(["plan", "verify", str(tmp_path / "text.json")]) == 2
    assert "this is no certificate" in capsys.readouterr().err


def test_all_methods_are_compared_and_none_beats_the_optimum(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(capsys, "compare", small)
    rows = {one["method"]: one for one in found["rows"]}
    assert set(rows) == set(METHODS)
    assert rows["exact"]["is_proven"]
    assert max(one["value"] for one in rows.values()) == rows["exact"]["value"]
    assert rows["default"]["bound"] >= rows["exact"]["value"] - 1e-6
    assert all(one["took_ms"] > 0 for one in rows.values())
    words = ["--scenario", "one-station", "--requests", "10", "--method", "hra", "--method", "fcfs"]
    assert run(["plan", "compare", *words]) == 0
    said = capsys.readouterr().out
    assert "10 requests" in said
    assert "a reconstruction" in said
    assert run(["plan", "compare"]) == 2


def test_the_tree_and_the_drawing_show_how_full_a_plan_makes_everything(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = tmp_path / "small.svg"
    assert run(["plan", "show", str(small)]) == 0
    plain = capsys.readouterr().out
    assert "asks 9 × alarm" in plain
    assert "%" not in plain
    assert run(["plan", "show", str(small), "--method", "default", "--output", str(drawn)]) == 0
    said = capsys.readouterr().out
    assert "of 10 requests accepted" in said
    assert "█" in said
    words = [one.text for one in ElementTree.parse(drawn).iter() if one.tag.endswith("text")]
    assert any(word and word.endswith("× alarm") for word in words)
    shown = told(capsys, "show", small, "--method", "default")
    assert shown["plan"]["parts"]["mast compute"] > 0.5
    assert shown["sites"][0]["one_request"] is None, "JSON knows no infinity"
    assert run(["plan", "show", str(small), "--output", "small.gif"]) == 2


def test_a_file_that_is_missing_or_wrong_is_an_error_that_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["plan", "solve", str(tmp_path / "none.toml")]) == 2
    assert "plan new" in capsys.readouterr().err
    (tmp_path / "wrong.toml").write_text('[sites.x]\ntier = "edge"\ncompute = "20 GHz"\n')
    assert run(["plan", "solve", str(tmp_path / "wrong.toml")]) == 2
    assert "sites.x.compute" in capsys.readouterr().err
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    assert run(["plan", "show", str(tmp_path / "bytes.toml")]) == 2


def test_the_bench_gives_the_figures_that_are_promised(capsys: pytest.CaptureFixture[str]) -> None:
    """Their keys are a public contract."""
    found = told(capsys, "bench", "--quick", "--seeds", "2", "--exact-most", "20")
    assert {"rows", "online", "time_s", "machine", "version"} == set(found)
    for row in found["rows"]:
        assert {"n", "fcfs", "edge_first", "cloud_only", "hra", "ours", "exact", "bound", "seeds"} <= set(row)
        assert row["fcfs"] <= row["ours"] <= row["bound"] + 1e-6
    assert found["rows"][0]["exact"] >= found["rows"][0]["ours"]
    assert found["rows"][1]["exact"] is None
    assert all(set(row) == {"load", "fcfs", "ours"} for row in found["online"])
    assert {"n300", "online_ms", "n10000"} <= set(found["time_s"])


def test_a_sheet_of_costs_and_risks_is_told_and_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "hospital.toml"
    file.write_text(example())
    sheet = told(capsys, "cost", file)
    assert sheet["per_year"] == pytest.approx(sum(sheet["by_kind"].values()))
    assert {one["part"] for one in sheet["failures"]} >= {"ward", "backhaul-north", "south"}
    assert sheet["currency"] == "EUR"
    picture = tmp_path / "year.svg"
    assert run(["plan", "cost", str(file), "--output", str(picture)]) == 0
    said = capsys.readouterr().out
    for words in ("EUR a year", "mast-north", "GDPR Art. 9", "In no sum", "no advice"):
        assert words in said
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")
