"""``einthoven patients run``: one object, exit codes that mean something, no secret on the way."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from einthoven.cli import run
from einthoven.cli.patients_view import RunView, ending
from einthoven.records import write_recording
from einthoven.runtime.load.target import Target
from einthoven.server.patient_runs import RunSettings
from einthoven.simulation import SCENES, VirtualPatient

SHORT = ["--rate", "50", "--duration", "0.4", "--patients", "5", "--files-per-minute", "60"]


def report(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict:
    assert run(["patients", "run", *words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_run_prints_one_object(destination: str, capsys) -> None:
    found = report(capsys, f"{destination}/true/cli", *SHORT, "--encoding", "msgpack", "--batch", "3")
    assert found["counts"]["analysed"] == found["counts"]["sent"] == 20
    assert (found["lost"], found["encoding"], found["traffic"]["batch"]) == (0, "msgpack", 3)
    assert {"p50", "p90", "p99", "p999", "max"} <= set(found["latency_ms"])
    assert {"machine", "version", "timeline", "errors", "cpu_us_per_segment"} <= set(found)


def test_a_loss_is_an_exit_code_and_a_sentence(destination: str, capsys) -> None:
    assert report(capsys, f"{destination}/error-text/cli", *SHORT, code=1)["lost"] == 6
    assert run(["patients", "run", f"{destination}/error-text/cli", *SHORT]) == 1
    out = capsys.readouterr().out
    assert "lost 7" in out
    assert "wrong-body 7" in out


def test_lines_tell_each_second_and_the_report(destination: str, capsys) -> None:
    assert run(["patients", "run", f"{destination}/true/lines", *SHORT, "--lines"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events][-3:] == ["started", "second", "summary"]


def test_the_truth_is_written_beside(destination: str, tmp_path: Path, capsys) -> None:
    path = tmp_path / "truth.jsonl"
    words = ["--truth", str(path), "--mix", "ectopy=1", "--name", "ward"]
    report(capsys, f"{destination}/true/truth", *SHORT, *words)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["patient"] for line in lines] == [f"ward-{n:05d}" for n in range(5)]
    assert {line["scene"] for line in lines} == {"ectopy"}
    assert all(line["samples"] == 4 * 125 for line in lines)


def test_recordings_of_a_folder_are_sent(destination: str, tmp_path: Path, capsys) -> None:
    write_recording(tmp_path / "one", VirtualPatient(1, SCENES["svt"], duration_s=10.0, fs=250.0))
    found = report(
        capsys, f"{destination}/true/folder", *SHORT, "--records", str(tmp_path), "--noise", "white:0.05"
    )
    assert found["counts"]["analysed"] == 20
    assert run(["patients", "run", destination, "--records", str(tmp_path / "none")]) == 2


def test_the_same_devices_go_on_where_they_stopped(destination: str, capsys) -> None:
    words = [f"{destination}/true/again", *SHORT, "--name", "ward"]
    assert report(capsys, *words)["counts"]["analysed"] == 20
    assert report(capsys, *words)["errors"] == {"unexpected-duplicate": 20}
    assert report(capsys, *words, "--first-sequence", "4", code=0)["counts"]["analysed"] == 20


def test_tokens_come_from_the_environment_or_a_file_and_are_never_shown(
    destination: str, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.setenv("EINTHOVEN_TOKEN", "eig_right")
    assert "eig_right" not in json.dumps(report(capsys, f"{destination}/guarded/cli", *SHORT))
    monkeypatch.delenv("EINTHOVEN_TOKEN")
    tokens = tmp_path / "tokens.json"
    tokens.write_text(json.dumps({f"d{n}": "eig_right" for n in range(5)}))
    assert report(capsys, f"{destination}/guarded/file", *SHORT, "--tokens", str(tokens))["is_whole"]
    tokens.write_text("[]")
    assert run(["patients", "run", destination, "--tokens", str(tokens)]) == 2
    assert run(["patients", "run", destination, "--tokens", str(tmp_path / "none")]) == 2


def test_who_gives_no_token_is_told_how_to_make_one(destination: str, capsys, monkeypatch) -> None:
    monkeypatch.delenv("EINTHOVEN_TOKEN", raising=False)
    assert run(["patients", "run", f"{destination}/guarded/none", *SHORT]) == 1
    assert "einthoven tokens issue" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "words", [["--mix", "happy=1"], ["--mix", "x"], ["--noise", "hum"], ["--noise", "white:a"]]
)
def test_what_cannot_be_is_refused(destination: str, words: list[str], capsys) -> None:
    assert run(["patients", "run", destination, *SHORT, *words]) == 2
    assert "input-invalid" not in capsys.readouterr().out


def test_ctrl_c_ends_a_run_with_its_report(destination: str) -> None:
    words = [
        "patients",
        "run",
        f"{destination}/true/interrupted",
        "--rate",
        "20",
        "--duration",
        "0",
        "--lines",
    ]
    with subprocess.Popen([sys.executable, "-m", "einthoven", *words], stdout=subprocess.PIPE) as process:
        assert any(b'"second"' in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        last = json.loads(process.stdout.read().splitlines()[-1])
    assert (process.returncode, last["event"], last["is_whole"]) == (0, "summary", True)


def in_a_terminal(*words: str) -> tuple[int, bytes, str]:
    """Exit code, standard output, and what the terminal on standard error showed."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "einthoven", "patients", "run", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the terminal ends with the program
            while part := os.read(ours, 65536):
                shown += part
        out = process.stdout.read()
    os.close(ours)
    return process.returncode, out, shown.decode()


def test_a_terminal_shows_the_run_and_the_object_goes_to_standard_output(destination: str) -> None:
    code, out, shown = in_a_terminal(f"{destination}/true/terminal", *SHORT, "--duration", "1.5", "--json")
    report = json.loads(out)
    assert (code, report["is_whole"], report["counts"]["analysed"]) == (0, True, 75)
    assert "virtual patients" in shown
    assert "p99" in shown


def test_an_error_in_the_watched_process_is_said_as_here() -> None:
    code, _, shown = in_a_terminal("http://127.0.0.1:1", *SHORT)
    assert code == 3
    assert "Start the service" in shown.replace("\r\n", " ")


def test_nobody_there_is_a_peers_fault(capsys) -> None:
    assert run(["patients", "run", "http://127.0.0.1:1", *SHORT, "--json"]) == 3
    assert "destination-unavailable" in capsys.readouterr().err


def test_the_view_shows_rates_and_latencies(destination: str, capsys) -> None:
    from rich.console import Console  # noqa: PLC0415

    assert run(["patients", "run", f"{destination}/true/view", *SHORT, "--lines"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    view = RunView(RunSettings(Target(destination=destination)))
    for event in events[:-1]:
        view.take(event)
        Console().print(view.draw())
    Console().print(ending(events[-1]))
    out = capsys.readouterr().out
    assert "p99" in out
    assert "analysed 20" in out
    assert "Not a medical device" in out
