"""The data policy where it counts: what a service sends to regions, and what its ledger says of it."""

import base64
import contextlib
import gzip
import json
import random
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

import httpx
import msgspec
import pytest
from gateways import cut

from einthoven.clock import SystemClock
from einthoven.continuum import Price, Region, RegionKind, write_region
from einthoven.functions import decode_state
from einthoven.functions.codec import decode_as
from einthoven.runtime import ledgers
from einthoven.runtime.hosted import ANALYSES, INTERPRETATIONS
from einthoven.runtime.secret_files import keep_ledger_key
from einthoven.runtime.segment_analysis import AnalysesAsked
from einthoven.server import accounts
from einthoven.server.data_gate import DataGate
from einthoven.server.movements import Movements
from einthoven.server.running import RunningService
from einthoven.signal.recording import Segment
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.storage import Connection, Database, Statements, open_database
from einthoven.storage.consents import Movement, add_movements
from einthoven.storage.ledgers import entries_between, head_of
from einthoven.testing.uploads import send_whole
from einthoven.testing.wiretap import Wiretap, wiretap
from einthoven.trust.entries import (
    AlertStepped,
    ConsentChanged,
    DataMoved,
    Entry,
    Placed,
    PolicyChanged,
    read_entry,
)
from einthoven.trust.exports import verify_export
from einthoven.trust.notes import SigningKey
from einthoven.trust.policy import read_policy

pytest.importorskip("cryptography")

T = TypeVar("T")
POLICY = """
version = 1

[functions]
preprocessing = ["samples", "pseudonymised"]
bdc = ["samples", "pseudonymised"]
postprocessing = ["samples", "pseudonymised"]
finalization = ["features"]

[[rules]]
name = "at-the-site"
data = ["samples", "features", "findings"]
tiers = ["local"]
purposes = ["treatment"]
consent = "none"

[[rules]]
name = "less-in-the-cloud"
data = ["features", "findings"]
labels = ["eu"]
purposes = ["treatment"]
consent = "unless-refused"

[[rules]]
name = "more-with-consent"
data = ["pseudonymised"]
labels = ["eu"]
purposes = ["treatment"]
"""


FEATURES = """
version = 1

[functions]
preprocessing = ["samples", "pseudonymised"]
bdc = ["samples", "pseudonymised"]
postprocessing = ["features"]
finalization = ["features", "findings"]

[[rules]]
name = "less-in-the-cloud"
data = ["features", "findings"]
labels = ["eu"]
purposes = ["treatment"]
consent = "none"
"""


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, "it did not happen"
        time.sleep(0.05)


@contextlib.contextmanager
def a_host(folder: Path) -> Iterator[int]:
    """``einthoven functions serve``; its port."""
    words = ["functions", "serve", "--json", "--store", str(folder), "--port", "0"]
    process = subprocess.Popen([sys.executable, "-m", "einthoven", *words], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield int(json.loads(process.stdout.readline())["url"].rsplit(":", 1)[1])
    finally:
        process.kill()
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()


class Site:
    """A service with a ward of its own, a region far away behind a wiretap, a policy, and a ledger."""

    def __init__(
        self,
        folder: Path,
        tap: Wiretap,
        *more: str,
        policy: str = POLICY,
        has_ward: bool = True,
        is_nats: bool = False,
    ) -> None:
        self.tap = tap
        self.folder = folder
        self.database = str(folder / "einthoven.db")
        self.key = SigningKey.made("einthoven.example/clinic")
        keep_ledger_key(folder, "main", self.key)
        database = open_database(self.database)
        database.migrate()
        self.write(lambda s: ledgers.create(s, "main", self.key, by="test", now_ns=time.time_ns()))
        ward = Region(name="ward", kind="inline", tier="local", slots=4, price=Price(per_invocation=1.0))
        kind: RegionKind = "nats" if is_nats else "http"
        address = tap.url.replace("http", kind)
        far = Region(name="far", kind=kind, address=address, tier="core", labels=("eu",), slots=4)
        regions = [ward, far] if has_ward else [far]
        (folder / "continuum.toml").write_text("\n".join(map(write_region, regions)))
        self.policy = folder / "policy.toml"
        self.policy.write_text(policy)
        flags = ("--segments-in", "regions", "--regions-policy", "cheapest", "--regions-patience-s", "10")
        self.service = RunningService(
            folder,
            workers=1,
            flags=(*flags, "--policy", str(self.policy), "--movements-s", "1", *more),
        )
        self.service.wait_until_ready()
        self.nurse = self.client(self.write(self._clinician))
        self.gateway = self.client(self.service.token("gateway"))

    def write(self, change: Callable[[Statements], T]) -> T:
        connection = open_database(self.database).connect()
        try:
            with connection.writing() as statements:
                return change(statements)
        finally:
            connection.close()

    @staticmethod
    def _clinician(statements: Statements) -> str:
        now_ns = time.time_ns()
        nurse = accounts.add_user(
            statements, "main", "nurse", "clinician", patient=None, hash_="", now_ns=now_ns
        )
        return accounts.issue(statements, "main", "session", user=nurse, now_ns=now_ns, lifetime_s=3600.0)[1]

    def client(self, token: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.service.url, headers=headers, trust_env=False, timeout=60)

    def send(self, segment: Segment) -> None:
        lead = segment.recording.info.leads[0]
        body = {
            "patientId": segment.patient,
            "deviceId": segment.device,
            "sequence": segment.sequence,
            "startTime": segment.start_ns,
            "fs": segment.recording.info.fs,
            "gain": lead.gain,
            "baseline": lead.baseline,
            "samples": segment.recording.counts[0].tolist(),
        }
        answer = self.gateway.post("/v1/segments", json=body)
        assert (answer.status_code, answer.json()["status"]) == (200, "analysed"), answer.text

    @property
    def calls(self) -> int:
        """Invocations that went far."""
        return self.tap.sent.count(b"POST /")

    def consent(self, patient: str, version: int, status: str = "active") -> dict[str, Any]:
        answer = self.nurse.put(f"/v1/patients/{patient}/consent", json=a_consent(patient, version, status))
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def entries(self) -> list[Entry]:
        def found(statements: Statements) -> list[Entry]:
            head = head_of(statements, "main")
            assert head is not None
            return [read_entry(one) for one in entries_between(statements, "main", 0, head.size)]

        return self.write(found)

    def exported(self) -> list[bytes]:
        """The ledger with a last checkpoint, as an auditor gets it."""

        def signed(statements: Statements) -> list[bytes]:
            head = head_of(statements, "main")
            assert head is not None
            if head.size > head.signed:
                ledgers.checkpoint(statements, "main", [self.key], time.time_ns())
            return b"".join(ledgers.export(statements, "main")).splitlines(keepends=True)

        return self.write(signed)

    def close(self) -> None:
        self.nurse.close()
        self.gateway.close()
        assert self.service.stop() == 0


def a_consent(patient: str, version: int, status: str = "active") -> dict[str, Any]:
    coding = "http://terminology.hl7.org/CodeSystem"
    return {
        "resourceType": "Consent",
        "id": "c-1",
        "meta": {"versionId": str(version)},
        "status": status,
        "scope": {"coding": [{"system": f"{coding}/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"identifier": {"system": "urn:einthoven:pseudonym", "value": patient}},
        "dateTime": "2026-11-26T08:00:00Z",
        "policyRule": {"coding": [{"system": f"{coding}/v3-ActCode", "code": "OPTIN"}]},
    }


@contextlib.contextmanager
def a_member(folder: Path) -> Iterator[int]:
    """A NATS server with one member of the region ``far``; its port."""
    program = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which(
        "nats-server"
    )
    if program is None:
        pytest.skip("no nats-server; install the test extra")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    server = [program, "-a", "127.0.0.1", "-p", str(port), "-l", str(folder / "nats.log")]
    member = [sys.executable, "-m", "einthoven", "functions", "join", "far"]
    with (
        subprocess.Popen(server) as nats,
        subprocess.Popen([*member, "--nats", f"nats://127.0.0.1:{port}"]) as one,
    ):
        try:
            yield port
        finally:
            one.kill()
            nats.kill()


@contextlib.contextmanager
def a_site(folder: Path, *more: str, policy: str = POLICY, has_ward: bool = True) -> Iterator[Site]:
    home = folder / "service"
    home.mkdir(parents=True)
    with a_host(home / "objects" / "work") as port, wiretap(port) as tap:
        site = Site(home, tap, *more, policy=policy, has_ward=has_ward)
        try:
            yield site
        finally:
            site.close()


def test_samples_go_far_with_consent_alone_and_the_ledger_proves_it(tmp_path: Path) -> None:
    """The ward alerts without the cloud; consent opens the way with the next segment, revocation ends it."""
    segments = cut(0, 14)
    patient = segments[0].patient
    with a_site(tmp_path) as site:
        for segment in segments[:8]:
            site.send(segment)
        assert site.tap.sent == b"", "nobody far away was even spoken to"
        assert [one["condition"] for one in site.nurse.get("/v1/alerts").json()["items"]], "it alerts"

        assert site.consent(patient, 1)["meta"]["versionId"] == "1"
        with_consent = iter(segments[8:12])
        while not site.calls:  # the ward may be asked too, where the first answer from far is late
            site.send(next(with_consent))

        site.consent(patient, 2, "inactive")
        before = site.calls
        site.send(segments[12])
        assert site.calls == before
        assert site.nurse.get(f"/v1/patients/{patient}/consent").json()["status"] == "inactive"

        site.policy.write_text("version = ")
        site.consent(patient, 3)
        site.send(segments[13])
        assert site.calls == before, "a policy that cannot be read lets nothing go"
        until(lambda: any(isinstance(one, DataMoved) for one in site.entries()))
        lines = site.exported()
    report = verify_export(lines, keys=[site.key.verifying])
    assert (report.is_pinned, report.entries) == (True, len(site.entries()))
    seen = [one for one in site.entries() if not isinstance(one, AlertStepped)]
    placed = [one for one in seen if isinstance(one, Placed) and one.function == ANALYSES]
    far = [one for one in placed if one.region == "far"]
    assert [(one.verdict, one.data, one.rule.partition(":")[0]) for one in far] == [
        ("deny", "", "no-consent"),
        ("permit", "pseudonymised", "more-with-consent"),
        ("deny", "", "consent-over"),
        ("deny", "", "no-policy"),
    ]
    changes = [one for one in seen if isinstance(one, ConsentChanged)]
    assert [(one.change, one.version, one.by) for one in changes] == [
        ("given", 1, "nurse"),
        ("revoked", 2, "nurse"),
        ("changed", 3, "nurse"),
    ]
    order = [seen.index(one) for one in (far[0], changes[0], far[1], changes[1], far[2], changes[2], far[3])]
    assert order == sorted(order), "each decision stands behind what it follows from"
    (policy,) = [one for one in seen if isinstance(one, PolicyChanged)]
    assert policy.digest == far[0].digest == far[1].digest == read_policy(POLICY).digest
    (moved,) = [one for one in seen if isinstance(one, DataMoved)]
    assert (moved.patient, moved.data) == (patient, "pseudonymised")
    assert (moved.from_region, moved.from_tier, moved.to_region, moved.to_tier) == (
        "here",
        "local",
        "far",
        "core",
    )
    assert moved.content_bytes > segments[8].recording.counts.nbytes
    ward = [one for one in placed if one.region == "ward"]
    assert ward[0].verdict == "permit"
    assert ward[-1].verdict == "deny"
    assert {one.patient for one in far} == {patient}


def test_features_leave_where_samples_may_not_and_the_site_alerts_of_what_they_mean(tmp_path: Path) -> None:
    """Samples stay where they were received; what they mean is found far away, and alerted of here."""
    segments = cut(0, 8)
    patient = segments[0].patient
    with a_site(tmp_path, policy=FEATURES, has_ward=False) as site:
        for segment in segments:
            site.send(segment)
        alerts = site.nurse.get("/v1/alerts").json()["items"]
        assert alerts, "it alerts"
        answers = site.nurse.get(f"/v1/patients/{patient}/segments").json()["items"]
        until(lambda: any(isinstance(one, DataMoved) for one in site.entries()))
        seen = site.entries()
    asked = interpretations_in(site.tap.sent)
    assert asked, "something went"
    assert site.tap.sent.count(b"POST /") == site.tap.sent.count(f"/functions/{INTERPRETATIONS}".encode())
    for stream in (stream for one in asked for stream in one.streams):
        for piece in (piece for its in stream.segments for piece in its.pieces):
            assert piece.samples is None
            assert piece.cleaned is not None
            assert piece.cleaned.samples.size == 0
        assert stream.state is None or decode_state(stream.state).cleaning is None
    decided = {(one.function, one.verdict, one.data) for one in seen if isinstance(one, Placed)}
    assert decided == {(ANALYSES, "deny", ""), (INTERPRETATIONS, "permit", "features")}
    moved = [one for one in seen if isinstance(one, DataMoved)]
    assert {(one.data, one.to_region) for one in moved} == {("features", "far")}
    with a_site(tmp_path / "alone", policy="version = 1", has_ward=False) as alone:
        for segment in segments:
            alone.send(segment)
        assert alone.tap.sent == b""
        there = alone.nurse.get("/v1/alerts").json()["items"]
        assert [one["condition"] for one in there] == [one["condition"] for one in alerts]
        found = alone.nurse.get(f"/v1/patients/{patient}/segments").json()["items"]
        assert [one["answer"] for one in found] == [one["answer"] for one in answers], "the same is found"


def interpretations_in(sent: bytes) -> list[AnalysesAsked]:
    """The calls in what went over a connection, as MessagePack."""
    found = []
    for part in sent.split(b"POST /")[1:]:
        head, _, body = part.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        found.append(decode_as(body[:length], "msgpack", AnalysesAsked))
    return found


def test_what_went_is_told_once_the_ledger_can_be_written_again(database: Database) -> None:
    key, sums = SigningKey.made("einthoven.example/clinic"), Movements(after_s=1.0, tier="local")
    with contextlib.closing(database.connect()) as connection:
        with connection.writing() as statements:
            for org in ("main", "ward"):
                ledgers.create(statements, org, key, by="test", now_ns=1)
            (peaks,) = statements.rows("SELECT peaks FROM ledgers WHERE org = 'main'")[0]
            add_movements(statements, [went(org) for org in ("main", "none", "ward")])
            statements.run("UPDATE ledgers SET peaks = ? WHERE org = 'main'", (b"",))
        assert sums.enter(connection, 10 * 10**9) == 2
        assert moved(connection, "ward") == [1000]
        with connection.writing() as statements:
            add_movements(statements, [went("main")])
            statements.run("UPDATE ledgers SET peaks = ? WHERE org = 'main'", (bytes(peaks),))
        assert sums.enter(connection, 20 * 10**9) == 1
        assert moved(connection, "main") == [2000]
        assert sums.enter(connection, 30 * 10**9) == 0


def went(org: str) -> Movement:
    return Movement(
        org=org, patient="p-1", region="far", tier="core", data="samples", since_ns=1, content_bytes=1000
    )


def moved(connection: Connection, org: str) -> list[int]:
    with connection.reading() as statements:
        head = head_of(statements, org)
        assert head is not None
        entries = [read_entry(one) for one in entries_between(statements, org, 0, head.size)]
    return [one.content_bytes for one in entries if isinstance(one, DataMoved)]


def test_what_goes_is_counted_while_a_decision_waits_for_the_database(tmp_path: Path) -> None:
    """Whoever sends is on the way of every segment, and must not wait for who writes."""
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    far = Region(name="far", kind="http", address="http://127.0.0.1:1", tier="core", labels=("eu",), slots=4)
    is_deciding, may_decide = threading.Event(), threading.Event()

    def regions() -> tuple[Region, ...]:
        is_deciding.set()
        may_decide.wait(30)
        return (far,)

    database = open_database(str(tmp_path / "gate.db"))
    database.migrate()
    gate = DataGate(policy, regions, SystemClock())
    with contextlib.closing(database.connect()) as connection:
        deciding = threading.Thread(target=gate.admitted, args=(connection, [("main", "p-1")], "bdc"))
        deciding.start()
        assert is_deciding.wait(30)
        sending = threading.Thread(target=gate.sent, args=(("main", "p-1"), {}, far, 1000))
        sending.start()
        sending.join(10)
        was_held = sending.is_alive()
        may_decide.set()
        for thread in (deciding, sending):
            thread.join(30)
        assert not was_held
        with connection.writing() as statements:
            assert list(gate.keep(statements).values()) == [1000]


# -------------------------------------------------------------------- whose it is stays here


class Collector(BaseHTTPRequestHandler):
    """Takes the traces."""

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        is_packed = self.headers.get("Content-Encoding") == "gzip"
        self.server.kept.append(gzip.decompress(content) if is_packed else content)  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def a_collector() -> Iterator[tuple[str, list[bytes]]]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        kept: list[bytes] = []
        server.kept = kept  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", kept
        server.shutdown()
        thread.join()


def names(seed: int, count: int) -> list[str]:
    """What somebody careless would take for pseudonyms."""
    rng = random.Random(seed)
    given, family = ("Maria", "Joao", "Aino", "Zeynep"), ("Huber", "Lindqvist", "Okonkwo", "Virtanen")
    return [
        f"{rng.choice(given)}.{rng.choice(family)}-{rng.randrange(1930, 2010)}-{rng.randrange(10**6):06}"
        for _ in range(count)
    ]


def forms(name: str) -> set[bytes]:
    """What an identifier looks like, however it is written."""
    found = set()
    for said in (name, name.lower(), name.upper(), *name.replace("-", ".").split(".")[:2]):
        raw = said.encode()
        found |= {raw, raw.hex().encode(), raw.hex().upper().encode(), quote(said, safe="").encode()}
        found |= {quote_plus(said.replace("-", "%2D")).encode(), said.encode("utf-16-le"), raw[::-1]}
        for shift in range(3):  # base64 within something longer: what does not depend on its neighbours
            packed = base64.b64encode(b"\0" * shift + raw)
            whole = packed[(0, 2, 3)[shift] : len(packed) // 4 * 4 - 4]
            found |= {whole, whole.replace(b"+", b"-").replace(b"/", b"_")}
    return {one for one in found if len(one) >= 5}


def test_no_identifier_is_on_the_wire_to_a_region_in_logs_metrics_or_traces(tmp_path: Path) -> None:
    """Segments and a recording, analysed far away, of patients and devices with names that would tell."""
    pytest.importorskip("opentelemetry")
    patients, devices = names(1, 3), names(2, 3)
    with a_collector() as (url, traces):
        flags = ("--recordings-in", "regions", "--batch-processes", "1", "--traces-url", url)
        with a_site(tmp_path, *flags) as site:
            site.policy.write_text(POLICY.replace('tiers = ["local"]', 'regions = ["nowhere"]'))
            for number, (patient, device) in enumerate(zip(patients, devices, strict=True)):
                site.consent(patient, 1)
                for one in cut(number, 3):
                    site.send(msgspec.structs.replace(one, patient=patient, device=device))
            assert site.calls >= 6, "they went far"
            calls = site.calls
            upload = send_whole(site.gateway, record(tmp_path), "recording.csv")
            about = {"patientId": patients[0], "deviceId": devices[0], "startTime": "2026-11-26T08:00:00Z"}
            seen = site.gateway.post(
                "/v1/recordings", json={"uploads": [upload], "fs": 125.0, "gain": 200.0, **about}
            ).json()
            path = f"/v1/recordings/{seen['id']}"
            until(lambda: site.gateway.get(path).json()["state"] == "done")
            assert site.calls > calls, "its hours went far"
            metrics = httpx.get(f"{site.service.url}/metrics", trust_env=False).content
        places = {
            "to the region": site.tap.sent,
            "from the region": site.tap.received,
            "metrics": metrics,
            "logs": (site.folder / "service.log").read_bytes(),
            "traces": b"\n".join(traces),
        }
    assert all(places.values())
    assert b"content-encoding" not in (site.tap.sent + site.tap.received).lower(), (
        "what is read is not packed"
    )
    assert b"analyses" in site.tap.sent
    for where, content in places.items():
        for name in (*patients, *devices):
            assert not [one for one in forms(name) if one in content], f"{where}: {name}"
    assert [one for one in forms(patients[0]) if one in f"x{patients[0]}".encode()], "it would be found"


def record(folder: Path) -> bytes:
    """Some minutes as a file."""
    patient = VirtualPatient(4, SCENES["ectopy"], fs=125.0, duration_s=300.0)
    path = folder / "recording.csv"
    path.write_text("\n".join(map(str, patient.read(0, round(300 * 125.0))[0].tolist())))
    return path.read_bytes()


def test_no_identifier_is_on_the_wire_to_a_region_over_nats(tmp_path: Path) -> None:
    """The same of a region whose members hang on a NATS server: subjects, headers and bodies."""
    patients, devices = names(3, 2), names(4, 2)
    home = tmp_path / "service"
    home.mkdir()
    with a_member(tmp_path) as port, wiretap(port) as tap:
        site = Site(home, tap, has_ward=False, is_nats=True)
        try:
            for number, (patient, device) in enumerate(zip(patients, devices, strict=True)):
                site.consent(patient, 1)
                segments = [
                    msgspec.structs.replace(one, patient=patient, device=device) for one in cut(number, 4)
                ]
                for one in segments:
                    site.send(one)
            metrics = httpx.get(f"{site.service.url}/metrics", trust_env=False).text
        finally:
            site.close()
        places = {
            "to the region": tap.sent,
            "from the region": tap.received,
            "logs": (home / "service.log").read_bytes(),
            "NATS server's log": (tmp_path / "nats.log").read_bytes(),
        }
    there = re.search(r'einthoven_analysed_segments_total\{where="regions"\} (\d+)', metrics)
    assert there is not None
    assert int(there[1]) >= 4, "they went far"
    assert len(tap.sent) > 4 * segments[0].recording.counts.nbytes
    for where, content in places.items():
        assert content, where
        for name in (*patients, *devices):
            assert not [one for one in forms(name) if one in content], f"{where}: {name}"
