"""The service as its callers see it, on a real socket and on both databases."""

import asyncio
import base64
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import msgspec
import numpy as np
import pytest

from einthoven.server import accounts
from einthoven.server.accounts import ROLES
from einthoven.server.app import build_app
from einthoven.server.engine import Nobody
from einthoven.server.identities import Rates
from einthoven.server.page_files import PAGES
from einthoven.server.roles import ROUTES
from einthoven.storage import open_database
from einthoven.testing.serving import CHEAP, PASSWORD, Served, a_segment, packed, serving


def test_from_the_first_start_to_the_first_finding(served: Served) -> None:
    """Setup token, administrator, clinician, device, segment, findings."""
    with served.writing() as statements:
        setup = accounts.issue_setup(statements, "main", 1_700_000_000 * 10**9)
    nobody = served.client()
    body = {"name": "ada", "password": PASSWORD}
    assert nobody.post("/v1/setup", json=body).status_code == 401
    assert served.client(setup).post("/v1/setup", json=body).status_code == 401  # a day has passed
    with served.writing() as statements:
        setup = accounts.issue_setup(statements, "main", served.service.clock.utc_ns())
    begun = served.client(setup).post("/v1/setup", json=body)
    assert begun.status_code == 201, begun.text
    assert served.client(setup).post("/v1/setup", json={**body, "name": "eve"}).status_code == 401

    ada = served.client(begun.json()["token"])
    assert ada.get("/v1/me").json() == {
        "organisation": "main",
        "user": "ada",
        "role": "admin",
        "patient": None,
    }
    for role, patient in (("clinician", None), ("patient", "p1")):
        made = ada.post(
            "/v1/users", json={"name": role, "role": role, "password": PASSWORD, "patient": patient}
        )
        assert made.status_code == 201, made.text
    issued = ada.post("/v1/tokens", json={"kind": "device", "patient": "p1", "device": "chest"})
    assert issued.status_code == 201
    device = served.client(issued.json()["token"])
    answer = device.post("/v1/segments", json=a_segment(0))
    assert (answer.status_code, answer.json()["status"]) == (200, "analysed")
    assert device.post("/v1/segments", json=a_segment(2)).status_code == 200

    login = nobody.post("/v1/login", json={"name": "clinician", "password": PASSWORD})
    clinician = served.client(login.json()["token"])
    found = clinician.get("/v1/patients/p1/segments").json()
    assert [one["sequence"] for one in found["items"]] == [0, 2]
    assert found["items"][0]["answer"]["beats"] == answer.json()["beats"]
    streams = clinician.get("/v1/streams").json()["items"]
    assert [(one["device"], one["patient"], one["missing"]) for one in streams] == [("chest", "p1", 1)]
    assert clinician.get("/v1/streams/chest").json()["gaps"] == [[1, 1]]
    acts = [one["action"] for one in ada.get("/v1/audit").json()["items"]]
    assert acts == [
        "token.issued",
        "token.issued",
        "user.added",
        "login",
        "user.added",
        "user.added",
        "token.issued",
        "login",
    ]


def test_a_session_ends_with_logging_out(served: Served) -> None:
    served.person("clinician")
    body = {"name": "clinician", "password": PASSWORD}
    begun = served.client().post("/v1/login", json=body).json()
    client = served.client(begun["token"])
    assert client.get("/v1/me").status_code == 200
    assert client.post("/v1/logout").status_code == 204
    assert client.get("/v1/me").status_code == 401


def test_a_new_password_ends_the_old_sessions(served: Served) -> None:
    client = served.person("clinician")
    new = "other words, also long"
    wrong = client.put("/v1/me/password", json={"current": "wrong", "new": new})
    assert wrong.status_code == 403
    assert client.put("/v1/me/password", json={"current": PASSWORD, "new": new}).status_code == 204
    nobody = served.client()
    assert nobody.post("/v1/login", json={"name": "clinician", "password": PASSWORD}).status_code == 401
    assert nobody.post("/v1/login", json={"name": "clinician", "password": new}).status_code == 201


def test_the_same_segment_in_every_encoding_gets_the_same_findings(served: Served) -> None:
    gateway = served.gateway()
    answers = []
    for device, encode in (("a", None), ("b", "base64"), ("c", "msgpack")):
        body = a_segment(0, patientId="p9", deviceId=device)
        headers = {"Content-Type": "application/json"}
        if encode == "msgpack":
            content, headers["Content-Type"] = packed(body), "application/msgpack"
        elif encode == "base64":
            counts = np.array(body.pop("samples"), "<i2")
            body["samplesBase64"] = base64.b64encode(counts.tobytes()).decode()
            content = msgspec.json.encode(body)
        else:
            content = msgspec.json.encode(body)
        answer = gateway.post("/v1/segments", content=content, headers=headers)
        assert answer.status_code == 200, answer.text
        decode = msgspec.msgpack.decode if encode == "msgpack" else msgspec.json.decode
        answers.append(decode(answer.content))
    assert answers[0] == answers[1] == answers[2]


def test_a_token_that_is_revoked_sends_nothing_after_five_seconds(served: Served) -> None:
    id_, secret = served.token("device")
    device = served.client(secret)
    assert device.post("/v1/segments", json=a_segment(0)).status_code == 200
    assert served.person("technician").delete(f"/v1/tokens/{id_}").status_code == 204
    served.service.identities._due_s = served.service.identities._stale_s = float("-inf")  # 5 s pass
    assert device.post("/v1/segments", json=a_segment(1)).status_code == 401


def test_the_health_of_the_service(served: Served) -> None:
    nobody = served.client()
    assert nobody.get("/health/live").json() == {"status": "live"}
    ready = nobody.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    served.service.intake.stop(10.0)
    ready = nobody.get("/health/ready")
    assert (ready.status_code, ready.json()["engine"]) == (503, False)
    refused = served.device().post("/v1/segments", json=a_segment(0))
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")


def filled(path: str) -> str:
    """A path with things that are not there."""
    return path.format(
        name="nobody",
        number=999_999,
        device="none",
        patient="p1",
        organisation="none",
        grant="none",
        key="0" * 16,
        alert=f"alt_{'0' * 24}",
        notification=f"msg_{'0' * 32}",
        upload=f"upl_{'0' * 24}",
        recording=f"rec_{'0' * 24}",
        file="base.css",
    )


def asked(client: httpx.Client, method: str, path: str, **more) -> httpx.Response:
    """The answer, of which nothing is awaited that has no end."""
    with client.stream(method, path, **more) as answer:
        if answer.headers.get("Content-Type") != "text/event-stream":
            answer.read()
    return answer


@pytest.mark.parametrize("role", ROLES)
def test_each_role_may_do_what_the_table_says(role, sqlite_served: Served) -> None:
    """Every route of the table, with a body that is wrong where one is needed: 403 comes before 400."""
    for (method, path), allowed in ROUTES.items():
        client = sqlite_served.person(role)
        answer = asked(client, method, filled(path), json=None if method in ("GET", "DELETE") else {})
        if "setup" in allowed:
            assert answer.status_code in (400, 401)
        elif "anyone" in allowed:
            assert answer.status_code not in (401, 403), (method, path, answer.text)
        elif role in allowed:
            assert answer.status_code not in (401, 405), (method, path, answer.text)
            if answer.status_code == 403:  # not for the role: for what was sent
                assert answer.json()["where"] != "Authorization", (method, path, answer.text)
        else:
            assert answer.status_code == 403, (method, path, answer.text)
            assert method == "HEAD" or answer.json()["code"] == "access-denied"


def test_nobody_passes_without_a_token(sqlite_served: Served) -> None:
    device = sqlite_served.token("device")[1]
    for (method, path), allowed in ROUTES.items():
        body = {"name": "nobody", "password": PASSWORD}
        for headers in ({}, {"Authorization": "Basic eA=="}, {"Authorization": "Bearer eiu_" + "x" * 43}):
            answer = asked(sqlite_served.client(), method, filled(path), headers=headers, json=body)
            if "anyone" not in allowed:
                assert answer.status_code == 401, (method, path)
                assert answer.headers["WWW-Authenticate"] == "Bearer"
        if allowed.isdisjoint({"anyone", "setup", "device"}):
            answer = asked(sqlite_served.client(device), method, filled(path))
            assert answer.status_code == 403, (method, path)


def test_every_route_is_in_the_table(sqlite_served: Served) -> None:
    documented = {
        (method.upper(), path)
        for path, item in sqlite_served.app.document["paths"].items()
        for method in item
        if method in ("get", "head", "post", "put", "patch", "delete")
    }
    beside = {("GET", path) for path in ("/schema/openapi.json", "/metrics", *PAGES, "/pages/{file}")}
    assert documented == set(ROUTES) - beside


def test_no_statement_of_the_program_changes_the_audit() -> None:
    for path in Path(accounts.__file__).parents[1].rglob("*.py"):
        assert not re.search(r"(UPDATE|DELETE FROM|DROP TABLE|REPLACE INTO) audit", path.read_text()), path


def test_every_answer_carries_the_headers_of_caution(sqlite_served: Served) -> None:
    nobody = sqlite_served.client()
    for answer in (
        nobody.get("/health/live"),
        nobody.get("/nowhere"),
        nobody.get("/v1/me"),
        nobody.post("/v1/segments", content=b"x"),
        sqlite_served.device("h1").post("/v1/segments", json=a_segment(0)),
    ):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nowhere", None, 404),
        ("PUT", "/v1/users", None, 405),
        ("GET", "/v1/segments", None, 405),
        ("POST", "/v1/users", b"{", 400),
        ("POST", "/v1/users", b'{"name": "x", "role": "king", "password": "0123456789ab"}', 400),
        ("POST", "/v1/users", b'{"name": "x", "role": "admin", "password": "short"}', 400),
        ("POST", "/v1/users", b'{"name": "x", "role": "patient", "password": "0123456789ab"}', 400),
        ("POST", "/v1/users", b'{"name": "x\\u0000", "role": "admin", "password": "0123456789ab"}', 400),
        ("POST", "/v1/users", b"[" * 60_000, 400),
        ("POST", "/v1/users", b" " * 70_000, 413),
        ("POST", "/v1/tokens", b'{"kind": "device"}', 400),
        ("POST", "/v1/tokens", b'{"kind": "gateway", "patient": "p1"}', 400),
        ("POST", "/v1/tokens", b'{"kind": "gateway", "days": "3"}', 400),
        ("POST", "/v1/tokens", b'{"kind": "gateway", "surprise": 1}', 400),
        ("DELETE", "/v1/tokens/99999999999999999999", None, 400),
        ("DELETE", "/v1/tokens/0", None, 400),
        ("GET", "/v1/users/NOBODY", None, 400),
        ("GET", "/v1/users/nobody", None, 404),
        ("GET", "/v1/users?limit=0", None, 400),
        ("DELETE", "/v1/users/admin", None, 409),
        ("POST", "/v1/organisations", b'{"organisation": "main"}', 409),
        ("GET", "/v1/streams/none", None, 404),
    ],
)
def test_what_is_wrong_is_told_as_a_problem(method, path, body, status, sqlite_served: Served) -> None:
    answer = sqlite_served.person("admin").request(method, path, content=body)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"code", "fault", "what", "where", "remedy"}
    assert answer.json()["fault"] == "caller"


def test_tokens_are_for_those_who_may_see_them(sqlite_served: Served) -> None:
    org = "tokens"
    technician, clinician, admin = (
        sqlite_served.person(role, org) for role in ("technician", "clinician", "admin")
    )
    own = clinician.post("/v1/tokens", json={"kind": "user", "label": "script", "days": 30})
    assert own.status_code == 201
    assert (
        clinician.post("/v1/tokens", json={"kind": "device", "patient": "p", "device": "d"}).status_code
        == 403
    )
    assert technician.post("/v1/tokens", json={"kind": "gateway"}).status_code == 403
    device = technician.post("/v1/tokens", json={"kind": "device", "patient": "p", "device": "d"})
    assert device.status_code == 201
    number = own.json()["about"]["id"]

    script = sqlite_served.client(own.json()["token"])
    assert script.get("/v1/me").json()["user"] == "clinician"
    assert script.post("/v1/tokens", json={"kind": "user"}).status_code == 403  # needs a password first
    assert [one["id"] for one in clinician.get("/v1/tokens").json()["items"]] == [number]
    assert [one["kind"] for one in technician.get("/v1/tokens").json()["items"]] == ["device"]
    assert [one["kind"] for one in admin.get("/v1/tokens").json()["items"]] == ["user", "device"]
    assert technician.delete(f"/v1/tokens/{number}").status_code == 403
    assert admin.delete(f"/v1/tokens/{number}").status_code == 204
    assert admin.get("/v1/tokens").json()["items"][0]["revokedAt"] is not None


def test_pages_follow_each_other_without_a_seam(served: Served) -> None:
    clinician, admin = served.person("clinician"), served.person("admin")
    for patient in ("p1", "p2"):
        for device in ("a", "b"):
            client = served.device(patient, device=f"{patient}-{device}")
            batch = [a_segment(number, seconds=2.0) for number in range(5)]
            assert client.post("/v1/segments", json=batch).status_code == 200
    for client, path, key in (
        (clinician, "/v1/streams", "device"),
        (clinician, "/v1/patients/p1/segments", "device"),
        (admin, "/v1/tokens", "id"),
        (admin, "/v1/users", "name"),
        (admin, "/v1/audit", "id"),
    ):
        whole = client.get(path, params={"limit": 500}).json()["items"]
        for limit in (1, 3):
            pages, after = [], None
            while True:
                page = client.get(path, params={"limit": limit} | ({"after": after} if after else {})).json()
                pages += page["items"]
                after = page["next"]
                if after is None:
                    break
            assert pages == whole, path
        assert [one[key] for one in whole] == sorted(one[key] for one in whole)
    found = clinician.get(
        "/v1/patients/p1/segments",
        params={"from": "2027-01-15T08:00:02Z", "until": "2027-01-15T08:00:06Z"},
    ).json()["items"]
    assert [(one["device"], one["sequence"]) for one in found] == [
        ("p1-a", 1),
        ("p1-a", 2),
        ("p1-b", 1),
        ("p1-b", 2),
    ]


def test_a_patient_sees_what_is_theirs(sqlite_served: Served) -> None:
    for patient in ("own", "other"):
        sqlite_served.device(patient).post("/v1/segments", json=a_segment(0))
    client = sqlite_served.person("patient", patient="own")
    assert [one["patient"] for one in client.get("/v1/streams").json()["items"]] == ["own"]
    assert client.get("/v1/streams?patient=other").status_code == 403
    assert client.get("/v1/streams/own-chest").status_code == 200
    assert client.get("/v1/streams/other-chest").status_code == 404
    assert client.get("/v1/patients/own/segments").status_code == 200
    assert client.get("/v1/patients/other/segments").status_code == 403


def test_whoever_sends_too_much_waits_and_the_others_do_not(tmp_path) -> None:
    database = open_database(str(tmp_path / "einthoven.db"))
    database.migrate()
    with serving(database, Rates(device_per_s=1.0)) as served:
        eager, calm = served.device("eager"), served.device("calm")
        batch = [a_segment(number, seconds=0.1) for number in range(250)]
        assert eager.post("/v1/segments", json=batch).status_code == 200
        refused = eager.post("/v1/segments", json=batch)
        assert (refused.status_code, refused.json()["code"]) == (429, "rate-exceeded")
        assert refused.headers["Retry-After"] == "1"
        assert calm.post("/v1/segments", json=a_segment(0)).status_code == 200


def test_a_segment_that_breaks_the_engine_breaks_no_other(tmp_path) -> None:
    """Many at once share a transaction; a defect in one of them is told to its sender alone."""
    database = open_database(str(tmp_path / "einthoven.db"))
    database.migrate()

    class Poisoned(Nobody):
        def follow(self, statements, found) -> None:  # noqa: ARG002 - as the seam has it
            if any(one.patient == "poison" for one in found):
                raise ZeroDivisionError

    with serving(database, follower=Poisoned()) as served:
        gateway = served.gateway()

        def send(number: int) -> int:
            patient = "poison" if number % 5 == 0 else f"p{number}"
            body = a_segment(0, seconds=2.0, patientId=patient, deviceId=f"d{number}")
            return gateway.post("/v1/segments", json=body).status_code

        with ThreadPoolExecutor(20) as pool:
            statuses = list(pool.map(send, range(40)))
    assert statuses == [500 if number % 5 == 0 else 200 for number in range(40)]


def test_a_defect_is_told_without_its_words(sqlite_served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """An answer on disk that cannot be read; and a route in front that breaks."""
    sqlite_served.device("broken").post("/v1/segments", json=a_segment(0, seconds=2.0))
    with sqlite_served.writing() as statements:
        statements.run(
            "UPDATE segments SET answer = ? WHERE stream = (SELECT id FROM streams WHERE patient = 'broken')",
            (b"\xc1secret",),
        )
    found = sqlite_served.person("clinician").get("/v1/patients/broken/segments")

    async def breaks(_scope, _receive, _send) -> None:
        raise ValueError("secret")

    async def ask() -> httpx.Response:
        app = build_app(sqlite_served.service, cost=CHEAP, front={("GET", "/breaks"): breaks})
        async with app.framework.lifespan():
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.get("/breaks")

    for answer in (found, asyncio.run(ask())):
        assert (answer.status_code, answer.json()["code"]) == (500, "defect")
        assert "secret" not in answer.text
    logged = [record for record in caplog.records if record.name == "einthoven.server"]
    assert [record.getMessage() for record in logged] == ["a request failed"] * 2
    assert all(record.exc_info is None for record in logged)


def test_a_user_is_changed_by_an_administrator(served: Served) -> None:
    admin = served.person("admin", "ward")
    body = {"name": "eva", "role": "clinician", "password": PASSWORD}
    assert admin.post("/v1/users", json=body).status_code == 201
    assert admin.post("/v1/users", json=body).status_code == 409
    assert admin.get("/v1/users/eva").json()["role"] == "clinician"
    assert admin.patch("/v1/users/eva", json={"role": "patient"}).status_code == 400
    changed = admin.patch("/v1/users/eva", json={"role": "patient", "patient": "p7"})
    assert (changed.json()["role"], changed.json()["patient"]) == ("patient", "p7")
    new = "a password of her own"
    assert admin.patch("/v1/users/eva", json={"password": new, "role": "auditor"}).status_code == 200
    login = {"name": "eva", "password": new, "organisation": "ward"}
    eva = served.client(served.client().post("/v1/login", json=login).json()["token"])
    assert eva.get("/v1/me").json()["role"] == "auditor"
    details = [one["detail"] for one in eva.get("/v1/audit").json()["items"]]
    assert "role password patient>auditor" in details
    assert new not in repr(details)
    assert admin.delete("/v1/users/eva").status_code == 204
    assert admin.delete("/v1/users/eva").status_code == 404
    assert served.client().post("/v1/login", json=login).status_code == 401
