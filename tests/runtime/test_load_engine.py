"""Runs against a real little service: all is counted, nothing is lost, no lie is believed."""

import asyncio
import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import msgspec
import pytest
import uvloop

from einthoven.errors import DestinationUnavailable, InputInvalid
from einthoven.runtime.load.engine import LoadRun
from einthoven.runtime.load.report import Report
from einthoven.runtime.load.target import Target
from einthoven.simulation.bank import Bank, Names
from einthoven.simulation.traffic import Traffic, deliveries, requests
from einthoven.testing.builders import a_recording


def run(
    destination: str,
    *,
    token: str | None = None,
    is_stopped: bool = False,
    is_stopped_early: bool = False,
    backlog: int = 20_000,
    **given,
) -> Report:
    """A short run with the given fields of `Target` and `Traffic`; ``is_stopped``: after its first second,
    or early, while it connects."""
    fields = {"patients": 20, "segments_per_minute": 60.0, "rate_per_s": 100.0, "duration_s": 0.6} | given
    target = Target(
        destination=destination,
        **{"connections": 8, "check_every": 1} | _of(Target, fields),
    )
    traffic = Traffic(**_of(Traffic, fields))
    bank = Bank(traffic, [a_recording(duration_s=20)], target.encoding, Names(gateway_token=token))
    list(bank.fill())
    bank.begin(1_700_000_000_000_000_000)
    plan = traffic if not target.is_closed else msgspec.structs.replace(traffic, duration_s=None)

    async def perform() -> Report:
        def watch(*_: object) -> None:
            if is_stopped:
                one.stop()

        one = LoadRun(target, requests(plan), bank, watch, backlog=backlog)
        if is_stopped_early:
            asyncio.get_running_loop().call_soon(one.stop)
        return await one.perform()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(perform())


def _of(kind, fields: dict) -> dict:
    return {name: fields[name] for name in kind.__struct_fields__ if name in fields}


def seen(destination: str, path: str) -> list[tuple[str, int]]:
    """What the service saw there, in order."""
    with urllib.request.urlopen(f"{destination}/seen{path}") as answer:  # noqa: S310 - our own address
        return [tuple(row) for row in json.loads(answer.read())]


@pytest.mark.parametrize("encoding", ["json", "json-base64", "msgpack"])
@pytest.mark.parametrize("batch", [1, 7])
def test_what_is_sent_is_answered_and_analysed(destination: str, encoding: str, batch: int) -> None:
    report = run(f"{destination}/true/{encoding}/{batch}", encoding=encoding, batch=batch)
    counts = report.counts
    assert counts.planned == counts.sent == counts.answered == counts.analysed == counts.checked == 60
    assert (report.lost, report.errors, report.is_whole) == (0, {}, True)
    assert 0 < report.service_ms.p50 <= report.service_ms.max
    assert sum(second.answered for second in report.timeline) == 60


def test_what_is_late_repeated_or_buffered_is_counted_apart(destination: str) -> None:
    more = {"late_share": 0.1, "swapped_share": 0.1, "repeated_share": 0.2, "offline_share": 0.5}
    report = run(f"{destination}/true/mixed", duration_s=1.5, offline_s=0.4, **more)
    plan = list(deliveries(Traffic(patients=20, segments_per_minute=60.0, rate_per_s=100.0, duration_s=1.5,
                                   offline_s=0.4, **more)))  # fmt: skip
    counts = report.counts
    assert counts.repeats == sum(one.kind == "repeat" for one in plan) > 0
    assert counts.analysed + counts.late == counts.sent == 150
    assert 0 < counts.late <= sum(one.kind == "late" for one in plan)
    assert report.errors == {}
    assert report.is_whole


def test_segments_of_a_device_arrive_in_order_whatever_goes_wrong(destination: str) -> None:
    path = "/busy/ordered"
    report = run(destination + path, patients=4, rate_per_s=200.0, connections=16)
    assert report.counts.retries > 0
    assert report.lost == 0
    order = seen(destination, path)
    for device in {name for name, _ in order}:
        numbers = [number for name, number in order if name == device]
        assert numbers == sorted(numbers)


@pytest.mark.parametrize("batch", [1, 5])
def test_whatever_the_service_does_the_totals_add_up_and_order_is_kept(destination: str, batch: int) -> None:
    path = f"/chaos/{batch}"
    more = {"repeated_share": 0.1, "offline_share": 0.3, "offline_s": 0.3, "duration_s": 0.8}
    report = run(destination + path, batch=batch, timeout_s=0.3, **more)
    counts = report.counts
    assert {"status-503", "status-429", "status-500", "reset", "timeout"} <= set(report.errors)
    assert counts.planned == counts.sent == counts.answered == 80
    assert counts.analysed + counts.duplicates == counts.kept == 80
    assert (report.lost, report.is_whole) == (0, True)
    first = dict.fromkeys(seen(destination, path))
    assert len(first) == 80
    for device in {name for name, _ in first}:
        numbers = [number for name, number in first if name == device]
        assert numbers == sorted(numbers)


def test_what_does_not_fit_into_the_backlog_is_sent_all_the_same(destination: str) -> None:
    report = run(f"{destination}/true/backlog", rate_per_s=500.0, duration_s=0.4, connections=2, backlog=10)
    assert report.counts.analysed == 200
    assert report.is_whole


def test_what_was_never_sent_for_want_of_time_is_lost(destination: str) -> None:
    report = run(f"{destination}/silent", rate_per_s=500.0, duration_s=0.4, backlog=10, drain_s=0.2,
                 timeout_s=0.2)  # fmt: skip
    assert (report.counts.planned, report.counts.sent, report.lost) == (200, 10, 200)


@pytest.mark.parametrize(
    ("behaviour", "error", "mended"),
    [
        ("busy", "status-503", "analysed"),
        ("limited", "status-429", "analysed"),
        ("broken", "status-500", "analysed"),
        ("hangs", "timeout", "analysed"),
        ("drops", "reset", "duplicates"),
    ],
)
def test_what_a_retry_can_mend_is_counted_and_mended(destination, behaviour, error, mended) -> None:
    """With the same sequence numbers: what had arrived before its answer was lost is a duplicate."""
    report = run(f"{destination}/{behaviour}/retry", timeout_s=0.5 if behaviour == "hangs" else 10.0)
    assert set(report.errors) == {error}
    assert report.counts.retries == report.errors[error] > 10
    assert getattr(report.counts, mended) > 10
    assert report.counts.analysed + report.counts.duplicates == 60
    assert report.is_whole


def test_of_a_batch_only_the_refused_part_is_sent_again(destination: str) -> None:
    report = run(f"{destination}/partly/x", batch=5)
    assert report.errors["refused-overload"] > 0
    assert report.is_whole
    assert report.counts.duplicates > 0, "the service had analysed what it refused"


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        ("error-text", "wrong-body"),
        ("not-json", "wrong-body"),
        ("wrong-sequence", "wrong-sequence"),
        ("wrong-status", "wrong-status"),
    ],
)
def test_status_200_with_a_wrong_body_is_an_error_and_a_loss(destination, behaviour, error, batch) -> None:
    report = run(f"{destination}/{behaviour}/{batch}", batch=batch)
    assert set(report.errors) == {error}
    assert report.lost == report.counts.wrong == report.errors[error] > 0
    assert not report.is_whole


@pytest.mark.parametrize(("behaviour", "error"), [("insane", "odd-order"), ("shapeless", "odd-shape")])
def test_findings_that_cannot_be_are_found(destination: str, behaviour: str, error: str) -> None:
    report = run(f"{destination}/{behaviour}/x")
    assert set(report.errors) == {error}
    assert report.counts.odd == report.errors[error] == 20
    assert not report.is_whole


def test_a_refusal_for_good_is_not_repeated(destination: str) -> None:
    wrong, right = "eig_wrong", "eig_right"
    report = run(f"{destination}/guarded/x", token=wrong)
    assert report.errors == {"refused-token-invalid": 60}
    assert (report.counts.refused, report.counts.retries, report.lost) == (60, 0, 60)
    assert run(f"{destination}/guarded/y", token=right).is_whole


def test_latency_counts_from_when_a_segment_was_due(destination: str) -> None:
    """A service that stalls is charged for all that had to wait, not only for those that were sent."""
    report = run(f"{destination}/hangs/late", connections=1, timeout_s=0.5, duration_s=0.1, drain_s=20.0)
    assert report.counts.kept == 10
    assert report.latency_ms.p50 > 500
    assert report.service_ms.p50 < 250


def test_a_service_that_never_answers_loses_everything_and_the_run_ends(destination: str) -> None:
    began_s = time.perf_counter()
    report = run(f"{destination}/silent", timeout_s=0.2, drain_s=0.5)
    assert time.perf_counter() - began_s < 5
    assert (report.counts.planned, report.lost, report.counts.answered) == (60, 60, 0)
    assert set(report.errors) == {"timeout"}


def test_a_closed_run_ends_though_nobody_answers(destination: str) -> None:
    """Its plan has no end: nothing of it may be counted to the end."""
    report = run(
        f"{destination}/silent", is_closed=True, duration_s=0.4, timeout_s=0.2, drain_s=0.3, connections=4
    )
    assert (report.counts.planned, report.counts.answered, report.lost) == (4, 0, 4)


def test_a_closed_run_goes_as_fast_as_answers_come(destination: str) -> None:
    report = run(f"{destination}/true/closed", is_closed=True, duration_s=1.0, connections=4)
    assert report.mode == "closed"
    assert report.send_lag_ms.max == 0
    assert report.counts.analysed == report.counts.sent > 100
    assert report.is_whole


def test_one_core_can_offer_five_thousand_segments_a_second(destination: str) -> None:
    """By processor time, which a busy machine changes little; 20 to 35 µs where it was measured."""
    report = run(f"{destination}/canned/cheap", is_closed=True, duration_s=1.0, segments_per_minute=2.0)
    assert report.cpu_us_per_segment < 500, "some 100 on a machine that does nothing else"


def test_a_stopped_run_waits_for_its_answers(destination: str) -> None:
    report = run(f"{destination}/true/stopped", duration_s=600.0, is_stopped=True)
    assert 50 < report.counts.analysed == report.counts.planned < 1000
    assert report.is_whole


def test_a_run_that_is_stopped_while_it_connects_sends_nothing(destination: str) -> None:
    report = run(f"{destination}/true/never", duration_s=60.0, is_stopped_early=True)
    assert (report.counts.planned, report.counts.lost, report.is_whole) == (0, 0, True)


def test_a_service_that_dies_and_comes_back_loses_nothing(a_destination) -> None:
    with contextlib.ExitStack() as stack:
        process, port = stack.enter_context(a_destination())

        def restart() -> None:
            process.kill()
            process.wait()
            time.sleep(0.3)  # it really is away
            stack.enter_context(a_destination(str(port)))

        killer = threading.Timer(0.6, restart)
        killer.start()
        report = run(f"http://127.0.0.1:{port}", duration_s=3.0)
        killer.join()
    assert report.is_whole
    assert report.counts.analysed + report.counts.duplicates == 300
    assert report.errors["connect"] > 0


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_a_certificate_is_verified(a_destination, tmp_path: Path, monkeypatch) -> None:
    certificate, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate]  # fmt: skip
    subprocess.run([shutil.which("openssl"), *words], check=True, capture_output=True)
    with a_destination("0", certificate, key) as (_, port):
        with pytest.raises(DestinationUnavailable, match="SSL"):
            run(f"https://localhost:{port}")
        monkeypatch.setenv("SSL_CERT_FILE", certificate)
        assert run(f"https://localhost:{port}/true/secure").is_whole


def test_nobody_there_is_said_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DestinationUnavailable, match="Start the service"):
        run(f"http://127.0.0.1:{port}")


@pytest.mark.parametrize(
    "url",
    ["ftp://a", "file:///etc/passwd", "127.0.0.1:80", "http://", "http://a:0", "http://a:99999",
     "http://user:secret@a", "http://a b", "http://a/\r\nX: y", "http://[::1"],
)  # fmt: skip
def test_only_plain_http_urls_are_destinations(url: str) -> None:
    with pytest.raises(InputInvalid, match="destination"):
        Target(destination=url)


def test_the_ingest_path_is_added_to_a_bare_address() -> None:
    assert Target(destination="http://a:81").path == "/v1/segments"
    assert Target(destination="https://[::1]/x?y=1").path == "/x?y=1"
    assert (Target(destination="https://a").port, Target(destination="http://a").port) == (443, 80)
    assert b"Host: [::1]:443\r\n" in Target(destination="https://[::1]").head("a/b", None)
