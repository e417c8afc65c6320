"""The web service of the virtual patients, as a program of its own: who may ask, what may be sent where."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from einthoven.notice import SHORT_NOTICE


class Service:
    """The service and its token."""

    def __init__(self, line: str) -> None:
        self.url, _, self.token = line.strip().removeprefix("Open ").partition("/#token=")

    def ask(self, path: str, body: Any = None, *, token: str | None = "", last: str = "") -> tuple[int, Any]:
        headers = {"Content-Type": "application/json", "Last-Event-ID": last}
        if token is not None:
            headers["Authorization"] = f"Bearer {token or self.token}"
        content = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(self.url + path, content, headers)  # noqa: S310 - our own address
        try:
            with urllib.request.urlopen(asked) as answer:  # noqa: S310
                status, text = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode()
        return status, json.loads(text) if text.startswith(("{", "[")) else text

    def events(self, number: str, last: str = "") -> list[dict]:
        status, text = self.ask(f"/v1/runs/{number}/events", last=last)
        assert status == 200
        return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    words = [
        "-m",
        "einthoven",
        "patients",
        "serve",
        "--port",
        "0",
        "--allow-destination",
        "allowed.invalid:81",
    ]
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Service(process.stdout.readline())
        finally:
            process.terminate()


def an_order(destination: str, **traffic: Any) -> dict:
    return {
        "target": {"destination": f"{destination}/true/web", "connections": 4},
        "traffic": {"patients": 10, "rate_per_s": 50, "duration_s": 1.2, "segments_per_minute": 60} | traffic,
        "mix": {"healthy": 2, "svt": 1},
        "noises": [{"kind": "muscle", "amplitude_mv": 0.05}],
        "token": "eig_secret",
    }


def test_a_run_is_started_watched_and_reported(service: Service, destination: str) -> None:
    status, run = service.ask("/v1/runs", an_order(destination))
    assert (status, run["state"]) == (201, "running")
    events = service.events(run["id"])
    kinds = [event["event"] for event in events]
    assert kinds[0] == "preparing"
    assert kinds[-1] == "summary"
    assert kinds.count("second") >= 2
    report = events[-1]
    assert report["counts"]["analysed"] == report["counts"]["sent"] == 60
    assert report["is_whole"]
    assert service.events(run["id"], last=str(len(events) - 2)) == events[-1:], "a watcher may come back"
    status, shown = service.ask(f"/v1/runs/{run['id']}")
    assert (status, shown["state"], shown["last"]) == (200, "over", report)
    listed = {one["id"]: one for one in service.ask("/v1/runs")[1]}
    assert listed[run["id"]]["last"] == {key: value for key, value in report.items() if key != "timeline"}
    assert "eig_secret" not in json.dumps([shown, events])


def test_a_run_can_be_stopped(service: Service, destination: str) -> None:
    run = service.ask("/v1/runs", an_order(destination, duration_s=None))[1]
    with urllib.request.urlopen(  # noqa: S310 - our own address
        urllib.request.Request(  # noqa: S310
            f"{service.url}/v1/runs/{run['id']}/events", headers={"Authorization": f"Bearer {service.token}"}
        )
    ) as events:
        assert any(b'"second"' in line for line in events)
        status, stopping = service.ask(f"/v1/runs/{run['id']}/stop", {})
        assert (status, stopping["state"]) == (202, "stopping")
        assert b'"summary"' in events.read()
    report = service.ask(f"/v1/runs/{run['id']}")[1]["last"]
    assert report["is_whole"]
    assert report["counts"]["analysed"] > 0


def test_a_run_stopped_before_it_began_says_so(service: Service, destination: str) -> None:
    run = service.ask("/v1/runs", an_order(destination))[1]
    service.ask(f"/v1/runs/{run['id']}/stop", {})
    last = service.events(run["id"])[-1]
    assert (last["event"], last["error"]["what"]) == ("failed", "the run was stopped before it began.")


def test_no_more_runs_go_on_than_may(service: Service, destination: str) -> None:
    order = an_order(destination, duration_s=None)
    runs = [service.ask("/v1/runs", order) for _ in range(5)]
    assert [status for status, _ in runs] == [201] * 4 + [429]
    assert runs[-1][1]["code"] == "too-many-runs"
    for _, run in runs[:4]:
        service.ask(f"/v1/runs/{run['id']}/stop", {})
        service.ask(f"/v1/runs/{run['id']}/stop", {})
    for _, run in runs[:4]:
        assert service.events(run["id"])[-1]["event"] in ("failed", "summary")


def test_the_openapi_document_knows_every_route(service: Service) -> None:
    status, document = service.ask("/schema/openapi.json", token=None)
    assert status == 200
    assert set(document["paths"]) == {
        "/v1/runs", "/v1/runs/{number}", "/v1/runs/{number}/stop", "/v1/runs/{number}/events"
    }  # fmt: skip


def test_a_run_to_nobody_says_so(service: Service) -> None:
    order = {"target": {"destination": "http://127.0.0.1:1"}, "traffic": {"patients": 1}}
    run = service.ask("/v1/runs", order)[1]
    last = service.events(run["id"])[-1]
    assert (last["event"], last["error"]["code"]) == ("failed", "destination-unavailable")


@pytest.mark.parametrize("path", ["/v1/runs", "/v1/runs/x", "/v1/runs/x/events"])
@pytest.mark.parametrize("token", [None, "wrong"])
def test_nobody_is_answered_without_the_token(service: Service, path: str, token: str | None) -> None:
    status, problem = service.ask(path, token=token)
    assert (status, problem["code"]) == (401, "unauthorised")


@pytest.mark.parametrize(
    "destination",
    ["http://example.org", "http://10.0.0.1", "http://127.0.0.1.example.org", "http://allowed.invalid:82",
     "http://0.0.0.0:80", "https://[2001:db8::1]"],
)  # fmt: skip
def test_other_machines_are_not_sent_to(service: Service, destination: str) -> None:
    status, problem = service.ask("/v1/runs", {"target": {"destination": destination}})
    assert (status, problem["code"]) == (400, "destination-refused")


def test_a_destination_allowed_at_the_start_is_sent_to(service: Service) -> None:
    order = {"target": {"destination": "http://allowed.invalid:81"}, "traffic": {"patients": 1}}
    status, run = service.ask("/v1/runs", order)
    assert status == 201
    assert service.events(run["id"])[-1]["error"]["code"] == "destination-unavailable"


@pytest.mark.parametrize(
    ("order", "where"),
    [
        ({}, "target"),
        ({"target": {"destination": "file:///etc/passwd"}}, "destination"),
        ({"target": {"destination": "http://127.0.0.1"}, "traffic": {"patients": 10_001}}, "patients"),
        ({"target": {"destination": "http://127.0.0.1"}, "records": "/etc"}, "records"),
        ({"target": {"destination": "http://127.0.0.1"}, "noises": [{"kind": "x"}]}, "noise"),
        ({"target": {"destination": "http://127.0.0.1"}, "name": "a b"}, "name"),
        ([], "object"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(service: Service, order: Any, where: str) -> None:
    status, problem = service.ask("/v1/runs", order)
    assert status == 400
    assert where in problem["where"] + problem["what"]


def test_a_run_that_is_not_there_is_not_found(service: Service) -> None:
    assert service.ask("/v1/runs/nothing")[0] == 404
    assert service.ask("/v1/runs/nothing/stop", {})[0] == 404


def test_the_page_carries_the_notice_and_nothing_from_elsewhere(service: Service) -> None:
    with urllib.request.urlopen(service.url) as answer:  # noqa: S310 - our own address
        page, policy = answer.read().decode(), answer.headers["content-security-policy"]
    assert SHORT_NOTICE in page
    assert "{{" not in page
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not [word for word in ("https://", "@import", "<style", "<script>") if word in page]
    assert service.token not in page
    for path, status in (("/pages/load.js", 200), ("/pages/nothing.js", 404), ("/pages/..%2fapp.py", 404)):
        assert service.ask(path, token=None)[0] == status
