"""From a segment to whoever must hear of it: a real service, a real receiver, a real listener."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from websockets.sync.client import connect

from einthoven.alerts import AlertRules, Contact, Rung
from einthoven.server import accounts
from einthoven.server.delivery.webhook_signing import new_secret, verify_webhook
from einthoven.server.passwords import PasswordCost, hash_password
from einthoven.server.running import RunningService
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.storage import open_database

SIZE_S = 5
SECRET = new_secret()


class Receiver(ThreadingHTTPServer):
    """Takes webhooks, and can be told not to."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Hook)
        self.got: list[tuple[str, dict[str, Any], float]] = []
        self.status = 204
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/ward"


class _Hook(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        at_s = time.time()
        body = self.rfile.read(int(self.headers["content-length"]))
        id_ = verify_webhook([SECRET], dict(self.headers.items()), body, at_s=at_s)
        status = self.server.status
        if status < 300:
            self.server.got.append((id_, json.loads(body)["data"], at_s))
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


class Ward:
    """A running service with one clinician, one receiver of webhooks, one gateway."""

    def __init__(self, folder: Path) -> None:
        self.receiver = Receiver()
        (folder / "channels.toml").write_text(
            f'[webhook]\nnetworks = ["127.0.0.0/8"]\nallows_http = true\n'
            f'[[webhook.receivers]]\nurl = "{self.receiver.url}"\nsecrets = ["{SECRET}"]\n'
        )
        self.service = RunningService(folder)
        self.gateway = self.service.token()
        connection = open_database(self.service.database).connect()
        with connection.writing() as statements:
            now_ns = time.time_ns()
            user = accounts.add_user(
                statements,
                "main",
                "dr-7",
                "clinician",
                patient=None,
                hash_=hash_password("three words long enough", PasswordCost(1, 8)),
                now_ns=now_ns,
            )
            session = accounts.issue(
                statements, "main", "session", user=user, now_ns=now_ns, lifetime_s=3600.0
            )[1]
        connection.close()
        self.clinician = httpx.Client(
            base_url=self.service.url,
            headers={"Authorization": f"Bearer {session}"},
            timeout=30,
            trust_env=False,
        )
        self.service.wait_until_ready()

    def send(self, patient: str, scene: str = "vt_to_vf", seconds: int = 60) -> list[float]:
        """Stream a virtual patient as fast as it goes; when each segment was sent."""
        source = VirtualPatient(seed=3, scene=SCENES[scene], duration_s=seconds)
        size = round(SIZE_S * source.info.fs)
        start_ns = time.time_ns() - seconds * 10**9
        sent = []
        connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=30)
        for number in range(seconds // SIZE_S):
            counts = np.array(source.read(number * size, (number + 1) * size, 0))[0]
            body = json.dumps(
                {
                    "patientId": patient,
                    "deviceId": f"d-{patient}",
                    "sequence": number,
                    "startTime": start_ns + number * SIZE_S * 10**9,
                    "samples": counts.tolist(),
                }
            )
            sent.append(time.time())
            connection.request("POST", "/v1/segments", body, {"Authorization": f"Bearer {self.gateway}"})
            response = connection.getresponse()
            assert response.status == 200, response.read()
            response.read()
        connection.close()
        return sent

    def put_in_force(self, rules: AlertRules, patient: str = "") -> None:
        path = f"/v1/patients/{patient}/rules" if patient else "/v1/rules"
        answer = self.clinician.put(path, content=msgspec.json.encode(rules))
        assert answer.status_code == 200, answer.text

    def close(self) -> None:
        self.clinician.close()
        self.service.stop()
        self.receiver.shutdown()
        self.receiver.server_close()


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    found = Ward(tmp_path_factory.mktemp("ward"))
    found.put_in_force(AlertRules(ladder=(Rung((Contact("webhook", found.receiver.url),)),)))
    yield found
    found.close()


def until(seconds: float, question: Any) -> Any:
    """What a question gives once it gives something."""
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        found = question()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come about")


def hooks(ward: Ward, patient: str, what: str) -> list[dict[str, Any]]:
    return [
        data for _, data, _ in ward.receiver.got if data.get("patient") == patient and data["what"] == what
    ]


def test_a_doctor_hears_of_fibrillation_acknowledges_and_closes(ward: Ward) -> None:
    ward.send("p-1")
    until(10, lambda: [one for one in hooks(ward, "p-1", "raised") if "fibrillation" in one["condition"]])
    items = ward.clinician.get("/v1/alerts", params={"patient": "p-1"}).json()["items"]
    alert = next(one for one in items if one["condition"] == "ventricular_fibrillation")
    assert alert["mark"] == "***"
    done = ward.clinician.post(f"/v1/alerts/{alert['id']}/acknowledge", json={"why": "on my way"})
    assert done.status_code == 200, done.text
    again = ward.clinician.post(f"/v1/alerts/{alert['id']}/acknowledge", json={})
    assert again.status_code == 409
    closed = ward.clinician.post(f"/v1/alerts/{alert['id']}/close", json={"why": "defibrillated"})
    assert closed.json()["state"] == "closed"
    detail = ward.clinician.get(f"/v1/alerts/{alert['id']}").json()
    assert [step["event"] for step in detail["steps"]][:2] == ["began", "delivered"]
    assert {step["by"] for step in detail["steps"]} >= {"ecg", "receipt", "dr-7"}


def test_each_alert_is_told_once(ward: Ward) -> None:
    ward.send("p-2")
    raised = until(10, lambda: hooks(ward, "p-2", "raised"))
    time.sleep(0.5)
    ids = [id_ for id_, data, _ in ward.receiver.got if data.get("patient") == "p-2"]
    assert len(ids) == len(set(ids))
    told = hooks(ward, "p-2", "raised")
    assert len(told) == len({one["alertId"] for one in told}) >= len(raised)


def listen(
    ward: Ward, path: str, events: list[dict[str, Any]], ready: threading.Event, stop: threading.Event
) -> None:
    with ward.clinician.stream("GET", path) as stream:
        for line in stream.iter_lines():
            ready.set()
            if line.startswith("data: "):
                events.append(json.loads(line.removeprefix("data: ")))
            if stop.is_set():
                return


def test_listeners_of_any_worker_hear_what_any_worker_found(ward: Ward) -> None:
    heard: list[list[dict[str, Any]]] = [[], [], []]
    stop = threading.Event()
    threads = []
    for events in heard:
        ready = threading.Event()
        threads.append(
            threading.Thread(target=listen, args=(ward, "/v1/events", events, ready, stop), daemon=True)
        )
        threads[-1].start()
        assert ready.wait(10)
    ward.send("p-3")
    for events in heard:
        until(10, lambda events=events: [one for one in events if one["alert"]["patient"] == "p-3"])
    newest = heard[0][0]["id"]
    time.sleep(0.5)
    late: list[dict[str, Any]] = []
    thread = threading.Thread(
        target=listen,
        args=(ward, f"/v1/events?after={newest - 1}", late, threading.Event(), stop),
        daemon=True,
    )
    thread.start()
    until(10, lambda: len(late) >= len(heard[0]))
    assert [one["id"] for one in late][: len(heard[0])] == [one["id"] for one in heard[0]]
    stop.set()


def test_events_come_over_a_websocket_too(ward: Ward) -> None:
    token = ward.clinician.headers["Authorization"]
    url = f"{ward.service.url.replace('http', 'ws')}/v1/events"
    with connect(url, additional_headers={"Authorization": token}) as socket:
        ward.send("p-4")
        event = json.loads(socket.recv(timeout=10))
    assert event["alert"]["patient"] == "p-4"
    with pytest.raises(Exception, match=r"403|1008|rejected"), connect(url) as socket:
        socket.recv(timeout=5)


@pytest.mark.parametrize("is_busy", [False, True])
def test_who_has_logged_out_hears_nothing_more(ward: Ward, is_busy: bool) -> None:
    login = {"organisation": "main", "name": "dr-7", "password": "three words long enough"}
    token = httpx.post(f"{ward.service.url}/v1/login", json=login, trust_env=False).json()["token"]
    who = {"Authorization": f"bearer {token}"}
    url = f"{ward.service.url}/v1/events"
    with (
        httpx.Client(headers=who, timeout=30, trust_env=False) as client,
        client.stream("GET", url) as stream,
    ):
        lines = stream.iter_lines()
        assert next(lines) == ": listening"
        httpx.post(f"{ward.service.url}/v1/logout", headers=who, trust_env=False)
        gone_s = time.monotonic()
        if is_busy:
            ward.send("p-15")
        for _ in lines:
            assert time.monotonic() - gone_s < 15.0
    assert time.monotonic() - gone_s < 15.0


def test_listeners_are_sent_away_when_the_service_ends_and_hold_nothing_up(tmp_path: Path) -> None:
    ward = Ward(tmp_path)
    try:
        with ward.clinician.stream("GET", "/v1/events") as stream:
            lines = stream.iter_lines()
            assert next(lines) == ": listening"
            began_s = time.monotonic()
            assert ward.service.stop() == 0
            assert time.monotonic() - began_s < 8.0, "it would wait 10 s for what does not end"
            assert not [line for line in lines if line.startswith("data")]
    finally:
        ward.close()


def test_a_receiver_that_is_down_hears_when_it_is_back_and_the_broken_path_is_an_alert(ward: Ward) -> None:
    ward.receiver.status = 503
    ward.send("p-5")
    time.sleep(1.0)
    assert not hooks(ward, "p-5", "raised")

    def broken() -> list[Any]:
        items = ward.clinician.get("/v1/alerts", params={"limit": 500}).json()["items"]
        return [one for one in items if one["condition"] == "alert_path_broken"]

    (alert,) = until(30, broken)
    assert (alert["about"], alert["priority"], alert["isTechnical"]) == ("webhook", "medium", True)
    ward.receiver.status = 204
    until(30, lambda: hooks(ward, "p-5", "raised"))
    until(30, lambda: not [one for one in broken() if one["end"] is None])


def test_what_can_never_be_delivered_is_a_dead_letter_and_can_be_retried(ward: Ward) -> None:
    unknown = f"http://127.0.0.1:{ward.receiver.server_address[1]}/unknown"
    rules = AlertRules(patient="p-6", ladder=(Rung((Contact("webhook", unknown),)),))
    ward.put_in_force(rules, "p-6")
    ward.receiver.status = 410
    ward.send("p-6")

    def letters() -> list[Any]:
        return list(ward.clinician.get("/v1/dead-letters").json()["items"])

    time.sleep(1.0)
    ward.receiver.status = 204
    for letter in letters():
        assert letter["channel"] == "webhook"
        answer = ward.clinician.post(f"/v1/dead-letters/{letter['id']}/retry")
        assert answer.status_code == 200
    assert ward.clinician.post(f"/v1/dead-letters/msg_{'0' * 32}/retry").status_code == 404


def test_from_arrival_to_the_webhook_it_takes_less_than_a_quarter_second(ward: Ward) -> None:
    """Median of the service's own histogram; the percentile under load is `bench ingest`'s."""
    ward.send("p-7")
    until(10, lambda: hooks(ward, "p-7", "raised"))
    text = httpx.get(f"{ward.service.url}/metrics", trust_env=False).text
    buckets = {
        line.split('le="')[1].split('"')[0]: float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith("einthoven_delivery_seconds_bucket")
    }
    assert buckets["0.25"] >= 0.5 * buckets["+Inf"] > 0
