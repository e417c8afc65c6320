"""Regions of a running service: who sees and changes them, and what becomes of segments and recordings."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, get_args, get_type_hints

import httpx
import msgspec
import pytest
from click.testing import CliRunner
from gateways import SCENES_USED, Sender, by_the_book, cut, named

from einthoven.alerts import Alert
from einthoven.cli.regions import command
from einthoven.continuum import Price, Region, read_continuum, write_region
from einthoven.functions import Ecg, encode, in_sequence
from einthoven.placement import POLICIES
from einthoven.records import open_recording, recording_files, write_recording
from einthoven.runtime.batch import analyse_source
from einthoven.runtime.joined_findings import findings_in, joined_in
from einthoven.server.metrics import METRICS
from einthoven.server.running import RunningService
from einthoven.server.settings import Settings
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.storage import FolderStore, open_database
from einthoven.testing.serving import Served, serving
from einthoven.testing.uploads import send_whole

NEW = {"name": "away", "kind": "http", "address": "http://127.0.0.1:9", "slots": 8, "labels": ["eu"]}


# -------------------------------------------------------------------- who sees and changes them


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("regions")
    database = open_database(str(folder / "einthoven.db"))
    database.migrate()
    with serving(database, settings=Settings(data_folder=str(folder))) as running:
        yield running


@pytest.fixture
def served(service: Served) -> Iterator[Served]:
    yield service
    service.service.settings.continuum_path.unlink(missing_ok=True)


def test_the_policies_that_can_be_set_are_those_there_are() -> None:
    kind = get_type_hints(Settings, include_extras=True)["regions_policy"]
    assert set(get_args(get_args(kind)[0])) == set(POLICIES)


def test_a_region_is_added_drained_resumed_and_removed(served: Served) -> None:
    admin = served.person("admin")
    assert admin.get("/v1/regions").json() == {
        "currency": "EUR",
        "segmentsIn": "here",
        "recordingsIn": "here",
        "items": [],
    }
    price = {"perInvocation": 4e-7, "perGbS": 0.0, "perEgressGb": 0.12, "billingStepS": 0.1}
    added = admin.post("/v1/regions", json={**NEW, "price": price, "tokenFile": "away.token"})
    assert added.status_code == 201, added.text
    assert (added.json()["state"], added.json()["price"], added.json()["meanS"]) == ("in-use", price, None)
    path = served.service.settings.continuum_path
    (kept,) = read_continuum(path.read_text()).regions
    assert kept.token_file == str(served.service.settings.folder / "region-tokens" / "away.token")
    assert (kept.price, kept.labels) == (
        Price(per_invocation=4e-7, per_egress_gb=0.12, billing_step_s=0.1),
        ("eu",),
    )
    assert "token" not in admin.get("/v1/regions").text
    again = admin.post("/v1/regions", json=NEW)
    assert again.status_code == 409
    assert admin.patch("/v1/regions/away", json={"isDraining": True}).json()["state"] == "draining"
    assert read_continuum(path.read_text()).region("away").is_draining
    assert admin.patch("/v1/regions/away", json={"isDraining": False}).json()["state"] == "in-use"
    assert admin.delete("/v1/regions/away").status_code == 204
    assert admin.get("/v1/regions").json()["items"] == []
    assert admin.delete("/v1/regions/away").status_code == 404
    assert admin.patch("/v1/regions/away", json={"isDraining": True}).status_code == 404
    acts = [one["action"] for one in admin.get("/v1/audit").json()["items"]]
    assert acts[-4:] == ["region.added", "region.drained", "region.resumed", "region.removed"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "inline"},
        {"name": "../away"},
        {"address": "ftp://elsewhere"},
        {"address": "http://user:word@elsewhere"},
        {"slots": 0},
        {"tokenFile": "../../etc/passwd"},
        {"tokenFile": "/etc/passwd"},
        {"labels": ["not a label"]},
        {"price": {"perInvocation": -1}},
        {"nobody": "knows"},
    ],
)
def test_a_region_that_cannot_be_is_refused(served: Served, wrong: dict[str, Any]) -> None:
    answer = served.person("admin").post("/v1/regions", json={**NEW, **wrong})
    assert answer.status_code == 400, answer.text
    assert not served.service.settings.continuum_path.exists()


def test_an_address_of_another_kind_of_region_is_a_conflict(served: Served) -> None:
    answer = served.person("admin").post("/v1/regions", json={**NEW, "address": "nats://127.0.0.1:9"})
    assert (answer.status_code, answer.json()["where"]) == (409, "address")


def test_only_administrators_of_the_service_change_regions(served: Served) -> None:
    for role in ("clinician", "technician", "auditor", "patient"):
        assert served.person(role).post("/v1/regions", json=NEW).status_code == 403
    assert served.person("admin", org="elsewhere").post("/v1/regions", json=NEW).status_code == 403
    assert served.person("technician").get("/v1/regions").status_code == 200
    assert served.person("clinician").get("/v1/regions").status_code == 403


def test_how_a_region_stands_is_counted(served: Served) -> None:
    admin = served.person("admin")
    admin.post("/v1/regions", json={**NEW, "name": "counted"})
    METRICS.region_calls.labels("counted", "answered").inc(3)
    METRICS.region_calls.labels("counted", "failed").inc(1)
    METRICS.region_in_flight.labels("counted").set(2)
    METRICS.region_seconds.labels("counted").set(0.25)
    METRICS.region_cost.labels("counted").inc(0.5)
    (seen,) = admin.get("/v1/regions").json()["items"]
    assert [seen[name] for name in ("inFlight", "answered", "failed", "errorRate", "meanS", "cost")] == [
        2,
        3,
        1,
        0.25,
        0.25,
        0.5,
    ]
    METRICS.region_avoided.labels("counted").set(1)
    assert admin.get("/v1/regions").json()["items"][0]["state"] == "avoided"
    METRICS.region_avoided.labels("counted").set(0)


def test_a_region_is_asked_how_it_is(served: Served) -> None:
    admin = served.person("admin")
    admin.post("/v1/regions", json=NEW)
    found = admin.post("/v1/regions/away/probe").json()
    assert (found["answers"], found["slots"]) == (False, None)
    assert found["why"]
    assert admin.post("/v1/regions/nobody/probe").status_code == 404


def test_a_file_with_an_error_is_said_to_have_one(served: Served) -> None:
    served.service.settings.continuum_path.write_text("regions = 3")
    answer = served.person("admin").get("/v1/regions")
    assert (answer.status_code, answer.json()["code"]) == (400, "input-invalid")


# -------------------------------------------------------------------- segments and recordings there


class Garbage(BaseHTTPRequestHandler):
    """A region that answers everything with something."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        content = msgspec.msgpack.encode({"version": "1", "streams": [None, 3]})
        self.send_response(200)
        self.send_header("Content-Type", "application/msgpack")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def garbage() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Garbage) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


SKEWED = """
import sys, time
real, real_ns = time.time, time.time_ns
time.time = lambda: real() + 3600.0
time.time_ns = lambda: real_ns() + 3600 * 10**9
from einthoven.cli import main
main(sys.argv[1:])
"""
"""A host whose clock is an hour ahead."""


class Host:
    """``einthoven functions serve`` at one port, killed and started as one likes."""

    def __init__(self, store: Path, port: int = 0) -> None:
        self.store = store
        self.port = port
        self.start()

    def start(self) -> None:
        words = ["functions", "serve", "--json", "--store", str(self.store), "--port", str(self.port)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", SKEWED, *words], stdout=subprocess.PIPE, start_new_session=True
        )
        assert self.process.stdout is not None
        self.url = json.loads(self.process.stdout.readline())["url"]
        self.port = int(self.url.rsplit(":", 1)[1])

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        self.send(signal.SIGCONT)
        self.send(signal.SIGKILL)
        self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextlib.contextmanager
def a_host(store: Path) -> Iterator[Host]:
    host = Host(store)
    try:
        yield host
    finally:
        host.kill()


def alerts_in(database: str) -> list[Alert]:
    connection = open_database(database).connect()
    try:
        with connection.reading() as statements:
            rows = statements.rows("SELECT content FROM alerts")
    finally:
        connection.close()
    return [one for row in rows if (one := msgspec.msgpack.decode(row[0], type=Alert)).patient]


def findings_of(path: Path) -> bytes:
    with open_recording(path) as source:
        found = analyse_source(source, 0, chunk_s=1e9)
    return encode(Ecg(fs=found.fs, findings=found), "msgpack")


def counted(url: str, name: str, **labels: str) -> float:
    """A figure of the service's metrics."""
    text = httpx.get(f"{url}/metrics", trust_env=False).text
    wanted = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
    found = [line for line in text.splitlines() if line.startswith(f"{name}{{{wanted}}}")]
    return float(found[0].rsplit(" ", 1)[1]) if found else 0.0


def test_whatever_regions_do_no_result_and_no_alert_is_lost_or_doubled(tmp_path: Path) -> None:
    """Segments and a recording at once; a region hangs, dies, comes back, is drained, tells nonsense."""
    folder = tmp_path / "service"
    folder.mkdir()
    record = tmp_path / "record"
    write_recording(record, VirtualPatient(11, SCENES["ectopy"], fs=125.0, duration_s=6 * 3600.0))
    work = folder / "objects" / "work"
    patients = [cut(number, 70) for number in range(len(SCENES_USED))]
    with a_host(work) as one, a_host(work) as other, garbage() as liar:
        path = folder / "continuum.toml"
        regions = [
            Region(name="one", kind="http", address=one.url, slots=4),
            Region(name="other", kind="http", address=other.url, slots=4),
            Region(name="liar", kind="http", address=liar, slots=4),
        ]
        path.write_text("\n".join(write_region(region) for region in regions))
        flags = ("--segments-in", "regions", "--recordings-in", "regions", "--batch-processes", "1")
        service = RunningService(folder, workers=1, flags=flags)
        try:
            service.wait_until_ready()
            token = service.token("gateway")
            senders = [Sender(service, token, these[0].patient, these) for these in patients]
            for sender in senders:
                sender.start()
            with httpx.Client(
                base_url=service.url,
                headers={"Authorization": f"Bearer {token}"},
                trust_env=False,
                timeout=60,
            ) as client:
                uploads = [
                    send_whole(client, file.read_bytes(), file.name) for file in recording_files(record)
                ]
                about = {"patientId": "offline", "deviceId": "holter", "startTime": "2026-11-26T08:00:00Z"}
                seen = client.post("/v1/recordings", json={"uploads": uploads, **about}).json()
                one.send(signal.SIGSTOP)
                time.sleep(1.5)
                one.send(signal.SIGCONT)
                other.kill()
                time.sleep(1.0)
                other.start()
                path.write_text(
                    "\n".join(
                        write_region(msgspec.structs.replace(region, is_draining=region.name == "one"))
                        for region in regions
                    )
                )
                time.sleep(1.5)
                path.write_text("\n".join(write_region(region) for region in regions[:2]))
                for sender in senders:
                    sender.join(60)
                until_s = time.monotonic() + 60
                while seen["state"] in ("waiting", "going"):
                    assert time.monotonic() < until_s, (folder / "service.log").read_text()[-3000:]
                    time.sleep(0.1)
                    seen = client.get(f"/v1/recordings/{seen['id']}").json()
                assert seen["state"] == "done", seen
                result = client.get(f"/v1/recordings/{seen['id']}/result").json()
            there = counted(service.url, "einthoven_analysed_segments_total", where="regions")
            here = counted(service.url, "einthoven_analysed_segments_total", where="here")
            words = ["list", "--no-probe", "--json", "--service", service.url, "--continuum", str(path)]
            listed = json.loads(CliRunner().invoke(command, words).output)["regions"]
            words.remove("--json")
            assert "answered" in CliRunner().invoke(command, words).output
        finally:
            assert service.stop() == 0
    expected: list[Alert] = []
    for sender, segments in zip(senders, patients, strict=True):
        answers, alerts = by_the_book(segments)
        expected += alerts
        assert [{**mine, "status": "analysed"} for mine in sender.answers] == [
            json.loads(msgspec.json.encode(answer)) for answer in answers
        ]
    assert named(alerts_in(service.database)) == named(expected)
    assert len(expected) > 3
    store = FolderStore(folder / "objects")
    found = in_sequence(list(findings_in(joined_in(result["object"], store), store)))
    assert encode(Ecg(fs=found.fs, findings=found), "msgpack") == findings_of(record)
    assert there + here == sum(map(len, patients)), "each segment was analysed once"
    assert there > 0.2 * (there + here)
    assert {one["name"] for one in listed} == {"one", "other"}
    assert all(one["with_service"]["answered"] for one in listed)
    assert any(one["with_service"]["failed"] for one in listed), "one was killed, and one hung"
    assert not any(one["with_service"]["in_flight"] for one in listed)


# -------------------------------------------------------------------- beyond one machine, over NATS


@contextlib.contextmanager
def a_process(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(list(words), start_new_session=True)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, "it did not happen"
        time.sleep(0.05)


UNDER_A_DEADLINE = """
[sites.clinic]
tier = "local"

[sites.server-room]
tier = "edge"
region = "ward"
slot_compute = "3 Gcycle/s"

[links.lan]
between = ["clinic", "server-room"]
rate = "1 Gbit/s"

[requests.segments]
site = "clinic"
input = "40 kbit"
work = "2 Mcycle"
deadline = "2 s"
"""


def planned(database: str) -> list[tuple[str, bool]]:
    """Where each stream is analysed, and whether it was refused."""
    connection = open_database(database).connect()
    try:
        with connection.reading() as statements:
            rows = statements.rows("SELECT region, refused FROM streams")
    finally:
        connection.close()
    return [(region, bool(refused)) for region, refused in rows]


def test_members_of_a_region_over_nats_analyse_segments_and_may_die(tmp_path: Path) -> None:
    """Two members share the work; one is killed, then the other, then the segments are analysed here."""
    program = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which(
        "nats-server"
    )
    if program is None:
        pytest.skip("no nats-server; install the test extra")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path / "service"
    folder.mkdir()
    address = f"nats://127.0.0.1:{port}"
    (folder / "continuum.toml").write_text(
        write_region(Region(name="ward", kind="nats", address=address, slots=4)) + UNDER_A_DEADLINE
    )
    member = [sys.executable, "-m", "einthoven", "functions", "join", "ward", "--nats", address]
    patients = [cut(number, 60) for number in range(3)]
    with (
        a_process(program, "-a", "127.0.0.1", "-p", str(port), "-l", str(tmp_path / "nats.log")),
        a_process(*member) as one,
        a_process(*member) as other,
    ):
        service = RunningService(folder, workers=1, flags=("--segments-in", "regions"))
        try:
            service.wait_until_ready()
            token = service.token("gateway")

            def analysed(where: str) -> float:
                return counted(service.url, "einthoven_analysed_segments_total", where=where)

            senders = [Sender(service, token, these[0].patient, these) for these in patients]
            for sender in senders:
                sender.start()
            until(lambda: analysed("regions") > 20)
            until(lambda: planned(service.database) == [("ward", False)] * 3)
            os.killpg(one.pid, signal.SIGKILL)
            before = analysed("regions")
            until(lambda: analysed("regions") > before + 20)
            os.killpg(other.pid, signal.SIGKILL)
            until(lambda: planned(service.database) == [("", True)] * 3)
            for sender in senders:
                sender.join(60)
            there, here = analysed("regions"), analysed("here")
        finally:
            assert service.stop() == 0
    for sender, segments in zip(senders, patients, strict=True):
        answers, _ = by_the_book(segments)
        assert [{**mine, "status": "analysed"} for mine in sender.answers] == [
            json.loads(msgspec.json.encode(answer)) for answer in answers
        ]
    assert there + here == sum(map(len, patients))
    assert here > 0
