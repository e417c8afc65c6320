"""``einthoven functions``: a host as a process, and the check of any host."""

import asyncio
import contextlib
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
import trustme

pytest.importorskip("aiohttp", reason="aiohttp is not installed (extra delivery)")

from einthoven.cli import run
from einthoven.functions import Ecg, encode
from einthoven.runtime.hosted import Asked, Hosted
from einthoven.runtime.http_region import HttpRegion
from einthoven.runtime.kernels import kernels_are_cached, warm_kernels
from einthoven.runtime.region_port import Call
from einthoven.server.function_checks import HOST_CHECKS
from einthoven.server.running import processes_under
from einthoven.simulation import SCENES, VirtualPatient

START_S = 6.0
"""A generous bound; on an idle machine the first answer comes within a second."""


@contextlib.contextmanager
def a_process(*flags: str, **environment: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """``einthoven functions serve``, and its URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "einthoven", "functions", "serve", "--json", *flags],
        stdout=subprocess.PIPE,
        env={**os.environ, **environment},
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())["url"]
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(60)
        process.stdout.close()


def an_input(times: int = 1) -> bytes:
    """Half a minute, so many times."""
    samples = VirtualPatient(3, SCENES["healthy"]).read(0, 3750)[0].astype(np.int32)
    return encode(Asked(ecg=Ecg(samples=np.tile(samples, times))), "msgpack")


def posted(url: str, content: bytes, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(
        f"{url}/functions/analysis",
        content=content,
        headers={"Content-Type": "application/msgpack", **named},
        timeout=60,
        trust_env=False,
    )


def test_the_first_answer_comes_soon_after_the_start(record_property: Any) -> None:
    if not kernels_are_cached():
        warm_kernels()
    began_s = time.perf_counter()
    with a_process("--port", "0") as (process, url):
        answer = posted(url, an_input())
        took_s = time.perf_counter() - began_s
        assert answer.status_code == 200
        record_property("first_answer_s", took_s)
        assert took_s < START_S
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_with_a_certificate_it_speaks_tls_to_whoever_trusts_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    ca, cert, key = (str(tmp_path / name) for name in ("ca.pem", "cert.pem", "key.pem"))
    authority.cert_pem.write_to_path(ca)
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    with a_process("--port", "0", "--tls-cert", cert, "--tls-key", key) as (_, url):
        assert url.startswith("https://")
        assert run(["functions", "check", url, "--ca", ca, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["ok"] is True
        assert run(["functions", "check", url]) == 3
    assert run(["functions", "serve", "--tls-cert", cert]) == 2
    assert run(["functions", "serve", "--tls-cert", cert, "--tls-key", ca]) == 2


def test_starting_loads_neither_the_web_framework_nor_the_client() -> None:
    script = (
        "import sys, einthoven.cli.functions, einthoven.server.function_serving\n"
        "print([name for name in ('litestar', 'aiohttp', 'prometheus_client', 'einthoven.simulation', "
        "'einthoven.server.engine') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_end_waits_for_what_is_under_way_and_sends_others_away() -> None:
    """Twelve hours of ECG are a second's work."""
    content = an_input(12 * 120)
    with a_process("--port", "0") as (process, url), ThreadPoolExecutor(2) as threads:
        assert posted(url, an_input()).status_code == 200
        going = threads.submit(posted, url, content, X_Timeout_S="60")
        with httpx.Client(base_url=url, trust_env=False) as client:
            client.get("/readyz")
            time.sleep(0.25)
            process.send_signal(signal.SIGTERM)
            until_s = time.perf_counter() + 5
            while client.get("/readyz").status_code == 200 and time.perf_counter() < until_s:
                time.sleep(0.01)
            away = client.post(
                "/functions/analysis", content=b"\x80", headers={"Content-Type": "application/msgpack"}
            )
        assert (away.status_code, away.headers["retry-after"]) == (503, "1")
        answer = going.result()
        assert answer.status_code == 200
        assert len(msgspec.msgpack.decode(answer.content)["ecg"]["findings"]["beats"]["grid"]) > 8 * 40_000
        assert process.wait(20) == 0


def test_ctrl_c_reaches_the_workers_too_and_they_finish() -> None:
    content = an_input(12 * 120)
    with a_process("--port", "0", "--workers", "2") as (process, url), ThreadPoolExecutor(2) as threads:
        assert posted(url, an_input()).status_code == 200
        going = threads.submit(posted, url, content, X_Timeout_S="60")
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGINT)
        assert going.result().status_code == 200
        assert process.wait(20) == 0


def test_a_call_takes_little_more_than_the_function(record_property: Any) -> None:
    """A generous bound; on an idle machine it is half a millisecond."""

    async def overheads(url: str) -> list[float]:
        region = HttpRegion(url)
        found = []
        for n in range(200):
            call = Call(
                function="analysis", content=an_input(), encoding="msgpack", key=f"t/{n}", timeout_s=20.0
            )
            began_s = time.perf_counter()
            answer = await region.invoke(call)
            found.append(time.perf_counter() - began_s - answer.busy_s)
        await region.close()
        return found

    with a_process("--port", "0") as (_, url):
        assert posted(url, an_input()).status_code == 200
        middle_s = float(np.median(asyncio.run(overheads(url))))
    record_property("overhead_ms", 1e3 * middle_s)
    assert middle_s < 0.010


def test_a_worker_that_dies_is_replaced() -> None:
    with a_process("--port", "0", "--workers", "2") as (process, url):
        assert posted(url, an_input()).status_code == 200
        for worker in processes_under(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        found = [posted(url, an_input()).status_code for _ in range(3)]
        assert found[-1] == 200
        assert set(found) <= {200, 502}
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_the_port_is_that_of_the_environment_unless_it_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with a_process(PORT=str(port)) as (_, url):
        assert url == f"http://127.0.0.1:{port}"
    with a_process("--port", "0", PORT=str(port)) as (_, url):
        assert url != f"http://127.0.0.1:{port}"


def test_tokens_come_from_a_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("one\n\ntwo\n")
    with a_process("--port", "0", "--token-file", str(file)) as (_, url):
        assert posted(url, an_input()).status_code == 401
        assert posted(url, an_input(), Authorization="Bearer two").status_code == 200
    with a_process("--port", "0", EINTHOVEN_FUNCTIONS_TOKEN="three") as (_, url):  # noqa: S106 - of a test
        assert posted(url, an_input(), Authorization="Bearer two").status_code == 401
        assert posted(url, an_input(), Authorization="Bearer three").status_code == 200


def test_what_goes_by_reference_needs_a_store(tmp_path: Path) -> None:
    samples = VirtualPatient(3, SCENES["healthy"]).read(0, 3750)[0].astype(np.int32)
    (tmp_path / "hours").mkdir()
    (tmp_path / "hours" / "a").write_bytes(encode(Ecg(samples=samples), "msgpack"))
    asked = msgspec.msgpack.encode({"ecgDataFilePath": "hours/a"})
    headers = {"Content-Type": "application/msgpack"}
    with a_process("--port", "0", "--store", str(tmp_path)) as (_, url):
        answer = httpx.post(
            f"{url}/functions/preprocessing", content=asked, headers=headers, timeout=60, trust_env=False
        )
        (where,) = (tmp_path / "hours").glob("*.preprocessing")
        assert msgspec.msgpack.decode(answer.content)["ecgDataFilePath"] == f"hours/{where.name}"
        names = {one["name"] for one in httpx.get(f"{url}/functions", trust_env=False).json()["functions"]}
        assert names == {one.name for one in Hosted(store=str(tmp_path)).functions}


def test_nobody_serves_others_by_accident(capsys: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv("EINTHOVEN_FUNCTIONS_TOKEN", raising=False)
    assert run(["functions", "serve", "--host", "0.0.0.0", "--port", "0"]) == 2  # noqa: S104 - refused
    assert "--allow-anonymous" in capsys.readouterr().err
    (tmp_path / "empty").write_text("\n")
    assert run(["functions", "serve", "--token-file", str(tmp_path / "empty"), "--port", "0"]) == 2
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert run(["functions", "serve", "--port", str(taken.getsockname()[1])]) == 2
    assert "cannot be listened at" in capsys.readouterr().err


def test_the_list_says_what_each_function_needs(capsys: Any) -> None:
    assert run(["functions", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == [one.name for one in Hosted().functions]
    assert run(["functions", "list", "--store", "memory"]) == 0
    assert "countHours" in capsys.readouterr().out


# -------------------------------------------------------------------- the check


def test_our_own_host_passes_the_check(capsys: Any) -> None:
    with a_process("--port", "0") as (_, url):
        assert run(["functions", "check", url, "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said["ok"] is True
        assert said["functions"] == [one.name for one in Hosted().functions]
        outcomes = {one["name"]: one["outcome"] for one in said["checks"]}
        assert list(outcomes) == [check.__name__ for check in HOST_CHECKS]
        assert outcomes.pop("it_asks_for_the_token") == "skipped"
        assert set(outcomes.values()) == {"passed"}
        assert run(["functions", "check", url]) == 0
        assert "It survives one sample" in capsys.readouterr().out


class Liar(http.server.BaseHTTPRequestHandler):
    """A host that says 200 to everything, and forgets what it was given."""

    def do_GET(self) -> None:
        one = {"name": "postprocessing", "version": "1", "memory_mb": 1, "timeout_s": 1}
        self._say(json.dumps({"functions": [one], "slots": 1}).encode())

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        if length < 2**30:
            self.rfile.read(length)
        self._say(b'{"error": "it broke", "ecg": {}, "ecgDataFilePath": null}')

    def _say(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class Patient(http.server.ThreadingHTTPServer):
    """Of many who come at once none is turned away."""

    request_queue_size = 128


@pytest.fixture
def liar() -> Iterator[str]:
    with Patient(("127.0.0.1", 0), Liar) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_host_that_lies_is_found_out_and_told_what_to_do(liar: str, capsys: Any) -> None:
    assert run(["functions", "check", liar, "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["ok"], said["functions"]) == (False, ["postprocessing"])
    failed = {one["name"]: one for one in said["checks"] if one["outcome"] == "failed"}
    assert set(failed) == {
        "it_answers_in_the_encoding_of_the_question",
        "it_adds_its_section",
        "it_leaves_other_sections_alone",
        "it_refuses_garbage",
        "it_refuses_an_object_without_what_it_needs",
        "it_refuses_what_it_does_not_have",
        "it_survives_any_ecg",
        "it_refuses_what_is_too_large",
        "it_never_says_200_with_an_error",
    }
    assert all(one["remedy"] and one["detail"] for one in failed.values())
    assert run(["functions", "check", liar]) == 1
    assert "failed" in capsys.readouterr().out


def test_a_host_that_is_not_there_is_said_so(capsys: Any) -> None:
    assert run(["functions", "check", "http://127.0.0.1:9"]) == 3
    assert run(["functions", "check", "nothing"]) == 2
    capsys.readouterr()
