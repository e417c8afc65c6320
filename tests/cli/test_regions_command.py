"""`einthoven regions`: a file of regions is read, changed and asked, as somebody does at a terminal."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from einthoven.cli.regions import command
from einthoven.continuum import Price, Region, read_continuum
from einthoven.errors import Conflict, DestinationUnavailable, EinthovenError, InputInvalid, NotFound


def run(*arguments: str, path: Path, code: int = 0) -> Result:
    done = CliRunner().invoke(command, [*arguments, "--continuum", str(path)])
    if isinstance(done.exception, EinthovenError):
        raise done.exception
    assert done.exit_code == code, done.output
    return done


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "continuum.toml"


def test_regions_are_added_listed_drained_and_removed(path: Path) -> None:
    run("add", "here", "--kind", "inline", "--slots", "4", "--label", "eu", path=path)
    run(
        *("add", "far", "--kind", "http", "--address", "http://127.0.0.1:9", "--slots", "1000"),
        *("--place", "oregon", "--rtt", "0.176", "--per-invocation", "4e-7", "--token-file", "secret"),
        path=path,
    )
    continuum = read_continuum(path.read_text())
    assert continuum.region("here") == Region(name="here", kind="inline", slots=4, labels=("eu",))
    assert continuum.region("far").price == Price(per_invocation=4e-7)
    listed = run("list", "--no-probe", path=path).output
    assert "here" in listed
    assert "oregon" in listed
    assert "4e-07" in listed
    rows = json.loads(run("list", "--no-probe", "--json", path=path).output)
    assert [row["name"] for row in rows["regions"]] == ["here", "far"]
    assert "secret" not in json.dumps(rows), "where secrets lie is nobody's business"
    run("drain", "here", path=path)
    assert read_continuum(path.read_text()).region("here").is_draining
    assert "draining" in run("list", path=path).output
    run("resume", "here", path=path)
    assert not read_continuum(path.read_text()).region("here").is_draining
    assert json.loads(run("remove", "far", "--json", path=path).output) == {
        "region": "far",
        "state": "removed",
    }
    assert [one.name for one in read_continuum(path.read_text()).regions] == ["here"]


def test_a_region_that_answers_is_up_and_one_that_does_not_is_down_with_its_reason(path: Path) -> None:
    run("add", "here", "--kind", "inline", path=path)
    run("add", "gone", "--kind", "http", "--address", "http://127.0.0.1:9", path=path)
    rows = json.loads(run("list", "--json", path=path).output)["regions"]
    assert [row["answers"] for row in rows] == [True, False]
    assert "analysis" in rows[0]["functions_there"]
    assert rows[0]["rtt_ms"] < 1000
    assert "127.0.0.1" in rows[1]["why"]
    assert "down" in run("list", path=path).output


def test_a_service_that_does_not_answer_is_said_so(path: Path) -> None:
    run("add", "here", "--kind", "inline", path=path)
    with pytest.raises(DestinationUnavailable):
        run("list", "--no-probe", "--service", "http://127.0.0.1:9", path=path)
    with pytest.raises(InputInvalid):
        run("list", "--no-probe", "--service", "nowhere", path=path)


def test_a_region_is_probed_with_segments(path: Path) -> None:
    run("add", "here", "--kind", "inline", path=path)
    row = json.loads(run("probe", "here", "--calls", "5", "--json", path=path).output)
    assert (row["calls"], row["failed"]) == (5, 0)
    assert 0 < row["busy_ms"] <= row["p50_ms"] <= row["p99_ms"]
    said = run("probe", "here", "--calls", "3", path=path).output
    assert "3 of 3 segments analysed" in said
    run("add", "gone", "--kind", "http", "--address", "http://127.0.0.1:9", path=path)
    run("probe", "gone", path=path, code=3)


def test_what_is_wrong_is_said(path: Path) -> None:
    with pytest.raises(NotFound, match="regions add"):
        run("list", path=path)
    run("add", "here", "--kind", "inline", path=path)
    with pytest.raises(Conflict, match="already"):
        run("add", "here", "--kind", "pool", path=path)
    with pytest.raises(InputInvalid, match="slots"):
        run("add", "there", "--kind", "pool", "--slots", "0", path=path)
    with pytest.raises(InputInvalid, match="no region 'x'"):
        run("remove", "x", path=path)
    path.write_text("[regions.here]\nkind = 3\n")
    with pytest.raises(InputInvalid, match=r"continuum\.toml"):
        run("list", path=path)
