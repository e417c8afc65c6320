"""``einthoven workflow`` as a person and as a program meet it."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from einthoven.cli import run
from einthoven.records import write_recording
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.storage import open_database

DOUBLE = """
name: "double"
dataIns: [{name: "n", type: "number", source: "n"}]
workflowBody:
- parallelFor:
    name: "each"
    loopCounter: {name: "k", type: "number", from: "0", to: "double/n"}
    loopBody:
    - function:
        name: "twice"
        type: "twice"
        dataIns: [{name: "x", type: "number", source: "each/k"}]
        dataOuts: [{name: "y", type: "number"}]
    dataOuts: [{name: "ys", type: "collection", source: "twice/y"}]
    constraints: [{name: "concurrency", value: "1"}]
dataOuts: [{name: "ys", type: "collection", source: "each/ys"}]
"""

MODULE = """
import os, pathlib, time

def twice(x):
    folder = pathlib.Path(os.environ["TWICE_FOLDER"])
    with (folder / "called").open("a") as file:
        file.write(f"{x}\\n")
    if (folder / "broken").exists() and x == 2:
        raise ValueError("broken")
    time.sleep(float(os.environ.get("TWICE_PAUSE", "0")))
    return {"y": 2 * x}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "double.yaml").write_text(DOUBLE)
    (tmp_path / "my_functions.py").write_text(MODULE)
    monkeypatch.setenv("TWICE_FOLDER", str(tmp_path))
    monkeypatch.setenv("EINTHOVEN_DATA_FOLDER", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def called(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any, str]:
    code = run(["workflow", *words, "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else None, err


RUN = ("run", "double.yaml", "--functions", "my_functions", "--workers", "1")


def test_a_workflow_runs_with_functions_of_ones_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = called(capsys, *RUN, "n=4")
    assert (code, said["type"], said["outputs"]) == (0, "done", {"ys": [0, 2, 4, 6]})
    (folder / "in.json").write_text('{"n": 2}')
    assert called(capsys, *RUN, "--inputs", "in.json")[1]["outputs"] == {"ys": [0, 2]}
    code, rows, _ = called(capsys, "runs")
    assert [(row["workflow"], row["state"]) for row in rows] == [("double", "done")] * 2


def test_a_person_is_told_the_outputs_and_how_to_go_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["workflow", *RUN, "n=2"]) == 0
    out, err = capsys.readouterr()
    assert out == "ys: [0, 2]\n"
    assert "is done" in err
    (folder / "broken").touch()
    assert run(["workflow", *RUN, "n=4"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "each[2]/twice" in err
    assert "workflow redrive" in err


def test_what_failed_is_repeated_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "broken").touch()
    code, failed, _ = called(capsys, *RUN, "n=5")
    assert (code, failed["type"], failed["path"]) == (1, "failed", "each[2]/twice")
    (folder / "broken").unlink()
    (folder / "called").unlink()
    options = ("--workers", "1")
    code, done, _ = called(capsys, "redrive", failed["run"], *options)
    assert (code, done["outputs"]) == (0, {"ys": [0, 2, 4, 6, 8]})
    assert (folder / "called").read_text().split() == ["2", "3", "4"]
    assert called(capsys, "redrive", failed["run"], *options)[0] == 2, "all of it succeeded"


def test_a_run_that_was_killed_is_resumed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "einthoven", "workflow", *RUN, "n=12"],
        env={**os.environ, "TWICE_PAUSE": "0.05"},
    )
    calls = folder / "called"
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s and (not calls.exists() or len(calls.read_text().split()) < 6):
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    _, (row,), _ = called(capsys, "runs")
    assert row["state"] == "going"
    options = ("--workers", "1")
    code, _, err = called(capsys, "resume", row["run"], *options)
    assert (code, "another process" in err) == (2, True), "for ten seconds the dead one is believed to live"
    database = open_database(str(folder / "state" / "einthoven.db"))
    with closing(database.connect()) as connection, connection.writing() as statements:
        statements.run("UPDATE leases SET until_ns = 0")
    code, said, _ = called(capsys, "resume", row["run"], *options)
    assert (code, said["outputs"]) == (0, {"ys": [2 * k for k in range(12)]})
    assert len(calls.read_text().split()) <= 15, "only what was in flight or not yet written is done again"
    assert called(capsys, "resume", row["run"], *options)[1]["outputs"] == said["outputs"]


def test_all_that_nobody_drives_is_resumed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [called(capsys, *RUN, f"n={n}")[1]["run"] for n in (1, 2, 3)]
    database = open_database(str(folder / "state" / "einthoven.db"))
    with closing(database.connect()) as connection, connection.writing() as statements:
        statements.run("UPDATE runs SET state = 'going', outcome = NULL WHERE id <> ?", (runs[0],))
        statements.run("INSERT INTO leases (job, holder, until_ns) VALUES ('run:3', 'other', ?)", (2**62,))
    options = ("--workers", "1", "--all")
    code, said, err = called(capsys, "resume", *options)
    assert (code, said["run"], said["outputs"]) == (0, runs[1], {"ys": [0, 2]})
    assert f"{runs[2]}: another process drives it" in err
    assert run(["workflow", "resume"]) == 2


def test_whoever_interrupts_a_run_is_told_how_to_go_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "einthoven", "workflow", *RUN, "n=200"],
        env={**os.environ, "TWICE_PAUSE": "0.02"},
        stderr=subprocess.PIPE,
        text=True,
    )
    calls = folder / "called"
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s and (not calls.exists() or len(calls.read_text().split()) < 6):
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "Traceback" not in err
    _, (row,), _ = called(capsys, "runs")
    assert f"einthoven workflow resume {row['run']}" in err
    options = ("--workers", "1")
    code, said, _ = called(capsys, "resume", row["run"], *options)
    assert (code, len(said["outputs"]["ys"])) == (0, 200), (
        "at once: whoever is interrupted gives the run back"
    )


def test_the_batch_workflow_comes_with_the_program(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_recording(folder / "one", VirtualPatient(7, SCENES["vt_to_vf"], fs=250.0, duration_s=200.0))
    code, said, _ = called(
        capsys, "run", "ecg-batch", "ecgDataFilePath=one", "--chunk", "1", "--workers", "2"
    )
    assert (code, len(said["outputs"]["results"])) == (0, 4)
    assert said["outputs"]["alert"]["priority"] == "high"
    assert (folder / "state" / "work" / said["outputs"]["ecgDataFilePath"]).is_file()


@pytest.mark.parametrize("policy", ["schedule", "cheapest"])
def test_a_run_in_regions_gives_what_a_run_here_gives(
    folder: Path, capsys: pytest.CaptureFixture[str], policy: str
) -> None:
    write_recording(folder / "one", VirtualPatient(7, SCENES["vt_to_vf"], fs=250.0, duration_s=200.0))
    (folder / "continuum.toml").write_text(
        '[regions.here]\nkind = "inline"\nplace = "vienna"\n[regions.there]\nkind = "inline"\nslots = 2\n'
    )
    begun = ("ecg-batch", "ecgDataFilePath=one", "--chunk", "1", "--workers", "1")
    _, here, _ = called(capsys, "run", *begun, "--store", "here")
    elsewhere = (
        "--continuum",
        "continuum.toml",
        "--policy",
        policy,
        "--data-at",
        "vienna",
        "--store",
        "there",
    )
    code, there, _ = called(capsys, "run", *begun, *elsewhere)
    assert (code, there["outputs"]) == (0, here["outputs"])
    name = there["outputs"]["ecgDataFilePath"]
    assert (folder / "there" / name).read_bytes() == (folder / "here" / name).read_bytes()
    code, again, _ = called(capsys, "resume", there["run"])
    assert (code, again["outputs"]) == (0, here["outputs"])


def test_a_run_goes_on_as_it_was_begun(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_recording(folder / "one", VirtualPatient(7, SCENES["vt_to_vf"], fs=250.0, duration_s=200.0))
    begun = ("ecg-batch", "ecgDataFilePath=one", "--chunk", "1", "--workers", "1", "--store", "mine")
    _, first, _ = called(capsys, "run", *begun)
    database = open_database(str(folder / "state" / "einthoven.db"))
    with closing(database.connect()) as connection, connection.writing() as statements:
        statements.run("UPDATE runs SET state = 'going', outcome = NULL")
        statements.run("DELETE FROM invocations WHERE path LIKE 'ParallelFor[2]/%' OR path = 'join'")
    code, again, _ = called(capsys, "resume", first["run"], "--workers", "1")
    assert (code, again["outputs"]) == (0, first["outputs"])
    assert (folder / "mine" / again["outputs"]["ecgDataFilePath"]).is_file()
    assert not (folder / "state" / "work").exists()


def test_errors_are_all_said_with_their_place(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.yaml").write_text(
        DOUBLE.replace("each/k", "eech/k").replace('type: "twice"', 'tipe: "twice"')
    )
    code, rows, _ = called(capsys, "check", "bad.yaml")
    assert code == 1
    assert {row["code"] for row in rows if row["severity"] == "error"} == {"E103", "E104", "E302"}
    (folder / "bad.yaml").write_text(
        DOUBLE.replace("each/k", "eech/k").replace('to: "double/n"', 'to: "2.5"')
    )
    assert run(["workflow", "check", "bad.yaml"]) == 1
    out, _ = capsys.readouterr()
    assert "bad.yaml:7:61  E404  workflowBody[0].parallelFor.loopCounter.to" in out
    assert "E302" in out
    assert "Did you mean 'each'?" in out
    code, _, err = called(capsys, "run", "bad.yaml")
    assert (code, "E404" in err, "And 1 more." in err) == (2, True, True)


def test_a_sound_workflow_is_said_to_be_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["workflow", "check", "ecg-batch", "ecg-near-real-time"]) == 0
    assert capsys.readouterr().out == "Nothing is wrong with them.\n"


def test_a_workflow_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["workflow", "show", "ecg-batch"]) == 0
    out = capsys.readouterr().out
    assert "workflow ecgBatch" in out
    assert "side by side" in out


def test_a_drawing_says_what_is_one_invocation_and_how_far_a_run_has_come(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["workflow", "show", "ecg-batch"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert ["⧉1" in line for line in lines if "function" in line] == [
        False,
        True,
        True,
        True,
        True,
        True,
        False,
    ]
    (folder / "broken").touch()
    _, failed, _ = called(capsys, *RUN, "n=5")
    assert run(["workflow", "show", "double.yaml", "--run", failed["run"]]) == 0
    assert "function twice ✓ 2 ✗ 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [("run", "nowhere.yaml"), ("resume", "nonsense"), ("run", "double.yaml", "n")]
)
def test_what_is_not_there_is_the_callers_fault(
    folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert folder.is_dir()
    assert run(["workflow", *words]) == 2
    assert "Traceback" not in capsys.readouterr().err
