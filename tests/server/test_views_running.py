"""A service by itself: what comes is sealed, batch views take it in, and whoever is killed is not missed."""

import http.client
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from einthoven.cli.views import command
from einthoven.clock import SystemClock
from einthoven.server import accounts
from einthoven.server.running import RunningService, processes_under
from einthoven.server.serving_layer import read_trend
from einthoven.server.view_routes import trend_seen
from einthoven.signal.recording import Segment
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.storage import FolderStore, open_database
from einthoven.testing.views import Lake, segments_of_source

NS = 10**9
START_NS = 1_700_000_000 * NS // (86_400 * NS) * 86_400 * NS + (23 * 3600 + 3000) * NS
"""Ten minutes before a day ends."""
MINUTES = 20
SPAN = ("2023-11-14T23:50:00Z", "2023-11-15T00:10:00Z")
LONGEST_S = 60.0


@pytest.fixture(scope="module")
def segments() -> list[Segment]:
    return segments_of_source(
        VirtualPatient(3, SCENES["ectopy"], duration_s=60.0 * MINUTES),
        START_NS,
        device="chest",
        patient="p-1",
    )


@pytest.fixture(scope="module")
def expected(segments: list[Segment], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What batch views of all segments say."""
    folder = tmp_path_factory.mktemp("expected")
    database = open_database(str(folder / "einthoven.db"))
    database.migrate()
    connection = database.connect()
    try:
        lake = Lake(connection, FolderStore(folder / "objects"))
        lake.send(segments)
        lake.cover()
        with connection.reading() as statements:
            until_ns = START_NS + MINUTES * 60 * NS
            trend = read_trend(statements, "main", "p-1", START_NS, until_ns, 1, now_ns=until_ns)
    finally:
        connection.close()
    found: dict[str, Any] = msgspec.to_builtins(trend_seen(trend))
    return found


@pytest.fixture
def service(tmp_path: Path) -> Iterator[RunningService]:
    running = RunningService(
        tmp_path,
        workers=1,
        flags=("--seal-after-s", "1", "--views-after-s", "0", "--gateway-rate-per-s", "0"),
    )
    running.wait_until_ready()
    yield running
    running.stop()


def clinician(service: RunningService) -> str:
    connection = open_database(service.database).connect()
    try:
        with connection.writing() as statements:
            now_ns = SystemClock().utc_ns()
            user = accounts.add_user(
                statements, "main", "cleo", "clinician", patient=None, hash_="", now_ns=now_ns
            )
            secret: str = accounts.issue(
                statements, "main", "session", user=user, now_ns=now_ns, lifetime_s=600.0
            )[1]
    finally:
        connection.close()
    return secret


def ask(service: RunningService, token: str, method: str, path: str, body: bytes | None = None) -> Any:
    """Again until there is an answer: the service may be about to start."""
    until_s = time.monotonic() + LONGEST_S
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
        try:
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/msgpack"}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status == 200:
                return json.loads(content) if method == "GET" else content
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        assert time.monotonic() < until_s
        time.sleep(0.1)


def body_of(segment: Segment) -> bytes:
    lead = segment.recording.info.leads[0]
    return msgspec.msgpack.encode(
        {
            "patientId": segment.patient,
            "deviceId": segment.device,
            "sequence": segment.sequence,
            "startTime": segment.start_ns,
            "gain": lead.gain,
            "lead": lead.name,
            "samples": segment.recording.counts[0].astype("<i2").tobytes(),
        }
    )


def listed(service: RunningService) -> dict[str, Any]:
    done = CliRunner().invoke(
        command,
        ["list", "--json", "--data-folder", str(service.folder), "--database", service.database],
        catch_exceptions=False,
    )
    (row,) = json.loads(done.stdout)
    return dict(row)


def kill_background(service: RunningService) -> None:
    for number in processes_under(service.process.pid):
        try:
            words = Path(f"/proc/{number}/cmdline").read_bytes()
        except OSError:
            continue
        if b"einthoven.server.background" in words:
            os.kill(number, signal.SIGKILL)


def test_killed_in_the_midst_of_it_a_service_has_all_in_batch_views_at_last(
    service: RunningService, segments: list[Segment], expected: dict[str, Any]
) -> None:
    token, asker = service.token(), clinician(service)
    path = f"/v1/patients/p-1/trends?from={SPAN[0]}&until={SPAN[1]}&resolution=1m"
    for one in segments:
        ask(service, token, "POST", "/v1/segments", body_of(one))
        if one.sequence in (9, 19):
            time.sleep(1.2)  # something of it is sealed
            kill_background(service)
        if one.sequence == 29:
            service.process.kill()
            service.restart()
    while_it_runs = ask(service, asker, "GET", path)
    until_s = time.monotonic() + LONGEST_S
    while listed(service)["behind"]:
        assert time.monotonic() < until_s
        time.sleep(0.2)
    at_last = ask(service, asker, "GET", path)
    for name in ("startMs", "beats", "heartRate", "variability", "quality", "burdenMs", "onsets"):
        assert while_it_runs[name] == at_last[name], name
    wanted = json.loads(json.dumps(expected).replace("NaN", "null"))
    for name in ("startMs", "beats", "heartRate", "variability", "intervals", "quality", "onsets"):
        assert at_last[name] == wanted[name], name
    assert listed(service) == {
        "device": "chest",
        "patient": "p-1",
        "what": "stream",
        "days": 2,
        "newest": "2023-11-15",
        "behind": 0,
        "outdated": 0,
    }
