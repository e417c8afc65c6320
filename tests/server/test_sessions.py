"""Sessions of browsers: the cookie, what stands against forged requests, and the files of the pages."""

import base64
import itertools
import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from einthoven.server.page_files import PAGES, POLICY, page_files
from einthoven.server.sessions import cookie_for, csrf_token, without_cookie
from einthoven.testing.serving import PASSWORD, Served, a_segment


def begun(served: Served, role: Any = "clinician") -> tuple[httpx.Client, dict]:
    """A browser's session."""
    served.person(role)
    browser = served.client()
    answer = browser.post("/v1/session", json={"name": role, "password": PASSWORD})
    assert answer.status_code == 201, answer.text
    return browser, answer.json()


def test_the_token_of_a_session_is_in_a_cookie_that_no_script_reads(sqlite_served: Served) -> None:
    sqlite_served.person("clinician")
    answer = sqlite_served.client().post("/v1/session", json={"name": "clinician", "password": PASSWORD})
    cookie = answer.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    token = cookie.split("=", 1)[1].split(";")[0]
    assert token not in answer.text
    assert answer.json()["csrfToken"] == csrf_token(token)


def test_over_tls_the_cookie_goes_over_tls_alone() -> None:
    assert cookie_for("x", 60, "https").startswith("__Host-einthoven_session=x; Max-Age=60; ")
    assert cookie_for("x", 60, "https").endswith("; Secure")
    assert "Secure" not in cookie_for("x", 60, "http")
    assert "Max-Age=0" in without_cookie("https")


def test_a_cookie_reads_and_changes_nothing_without_the_word_of_its_page(sqlite_served: Served) -> None:
    browser, session = begun(sqlite_served)
    assert browser.get("/v1/ward").status_code == 200
    assert browser.get("/v1/session").json() == session
    alert = f"/v1/alerts/alt_{'0' * 24}/acknowledge"
    for said in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": "0" * 64}):
        refused = browser.post(alert, json={}, headers=said)
        assert (refused.status_code, refused.json()["where"]) == (403, "X-CSRF-Token")
    known = {"X-CSRF-Token": session["csrfToken"]}
    assert browser.post(alert, json={}, headers=known).status_code == 404
    other, _ = begun(sqlite_served)
    assert other.post(alert, json={}, headers=known).status_code == 403  # the word of another session


def test_another_site_cannot_sign_somebody_in(sqlite_served: Served) -> None:
    sqlite_served.person("clinician")
    body = {"name": "clinician", "password": PASSWORD}
    answer = sqlite_served.client().post("/v1/session", json=body, headers={"Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, answer.json()["code"]) == (403, "access-denied")
    assert "Set-Cookie" not in answer.headers


def test_a_socket_is_not_opened_with_a_cookie(sqlite_served: Served) -> None:
    """Another site's page may open one, and the browser would send the cookie along."""
    browser, _ = begun(sqlite_served)
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    url = f"{sqlite_served.url.replace('http', 'ws')}/v1/events"
    with pytest.raises(InvalidStatus) as refused, connect(url, additional_headers={"Cookie": cookie}):
        pass
    assert refused.value.response.status_code == 403


def test_signing_out_ends_the_session_everywhere(sqlite_served: Served) -> None:
    browser, session = begun(sqlite_served)
    thief = sqlite_served.client()
    thief.cookies.update(browser.cookies)
    assert browser.delete("/v1/session").status_code == 403
    gone = browser.delete("/v1/session", headers={"X-CSRF-Token": session["csrfToken"]})
    assert (gone.status_code, "Max-Age=0" in gone.headers["Set-Cookie"]) == (200, True)
    assert thief.get("/v1/session").status_code == 401


def test_a_header_comes_before_the_cookie(sqlite_served: Served) -> None:
    """A program that says who it is is not taken for somebody else."""
    browser, _ = begun(sqlite_served)
    assert browser.get("/v1/me", headers={"Authorization": "Basic eA=="}).status_code == 401
    device = sqlite_served.token("device")[1]
    assert browser.get("/v1/me", headers={"Authorization": f"Bearer {device}"}).status_code == 403
    assert browser.get("/v1/me", headers={"Cookie": "einthoven_session=;;=; ="}).status_code == 401


def test_the_ward_is_one_view_in_pages_and_for_each_role_what_it_may_see(served: Served) -> None:
    for patient in ("w1", "w2", "w3"):
        assert served.device(patient).post("/v1/segments", json=a_segment(0)).status_code == 200
    clinician = served.person("clinician")
    first = clinician.get("/v1/ward?limit=2").json()
    rest = clinician.get("/v1/ward", params={"after": first["next"]}).json()
    both = [one["patient"] for page in (first, rest) for one in page["items"]]
    assert both == sorted(set(both))
    assert {"w1", "w2", "w3"} <= set(both)
    (w1,) = clinician.get("/v1/ward?patient=w1").json()["items"]
    assert (w1["streams"][0]["device"], w1["streams"][0]["readable"]) == ("w1-chest", "all")
    (seen,) = served.person("technician").get("/v1/ward?patient=w1").json()["items"]
    assert (seen["streams"][0]["heartRate"], seen["streams"][0]["readable"]) == (None, None)
    own = served.person("patient", patient="w2")
    assert [one["patient"] for one in own.get("/v1/ward").json()["items"]] == ["w2"]
    assert own.get("/v1/ward?patient=w1").status_code == 403


def heard_first(listener: httpx.Client, path: str, then: Callable[[], None]) -> set[str]:
    """Devices in the first news of streams that comes after something was done."""
    with listener.stream("GET", path) as stream:
        lines = stream.iter_lines()
        assert next(lines) == ": listening"
        then()
        for line in lines:
            if line.startswith('data: {"streams":'):
                return {one["device"] for one in json.loads(line[6:])["streams"]}
    return set()


def test_listeners_hear_of_streams_if_they_ask_and_may(served: Served) -> None:
    devices = {name: served.device(name) for name in ("live", "other")}
    numbers = itertools.count()

    def send() -> None:
        number = next(numbers)
        for device in devices.values():
            assert device.post("/v1/segments", json=a_segment(number, seconds=2.0)).status_code == 200

    clinician = served.person("clinician")
    assert heard_first(clinician, "/v1/events?streams=true", send) >= {"live-chest", "other-chest"}
    assert heard_first(clinician, "/v1/events?streams=true&patient=live", send) == {"live-chest"}
    own = served.person("patient", patient="other")
    assert heard_first(own, "/v1/events?streams=true", send) == {"other-chest"}
    assert own.get("/v1/events?patient=live").status_code == 403
    for wrong in ("streams=perhaps", "patient=.."):
        refused = clinician.get(f"/v1/events?{wrong}")
        assert (refused.status_code, refused.json()["where"]) == (400, wrong.partition("=")[0])


def test_samples_of_a_strip_are_those_that_were_sent(served: Served) -> None:
    device = served.device("strip")
    for number in range(3):
        body = a_segment(number, gain=200.0)
        assert device.post("/v1/segments", json=body).status_code == 200
    span = {"from": "2027-01-15T08:00:05Z", "until": "2027-01-15T08:00:25Z"}
    found = served.person("clinician").get("/v1/patients/strip/ecg", params=span).json()["items"]
    assert [one["startMs"] for one in found] == [1_800_000_005_000, 1_800_000_010_000, 1_800_000_020_000]
    sent = np.array(a_segment(1)["samples"]) * 5
    assert np.frombuffer(base64.b64decode(found[1]["samplesBase64"]), "<i2").tolist() == sent.tolist()
    longest = {**span, "until": "2027-01-15T09:00:25Z"}
    assert served.person("clinician").get("/v1/patients/strip/ecg", params=longest).status_code == 400
    for patient, status in (("strip", 200), ("other", 403)):
        own = served.person("patient", patient=patient)
        assert own.get("/v1/patients/strip/ecg", params=span).status_code == status


def test_pages_carry_the_policy_and_are_not_sent_twice(sqlite_served: Served) -> None:
    nobody = sqlite_served.client()
    for path in (*PAGES, "/pages/base.css", "/pages/ward.js"):
        answer = nobody.get(path)
        assert (answer.status_code, answer.headers.get_list("Content-Security-Policy")) == (200, [POLICY])
        assert nobody.get(path, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
    assert nobody.get("/pages/../app.py").status_code == 404
    assert nobody.get("/pages/nothing.js").status_code == 404
    assert "unsafe" not in POLICY


def test_nothing_in_the_pages_is_inline_or_from_elsewhere() -> None:
    files = page_files()
    for name, file in files.items():
        text = file.content.decode()
        if name.endswith(".html"):
            assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script>|javascript:", text), name
            assert "Not a medical device" in text, name
            for link in re.findall(r'(?:src|href)="([^"#]+)"', text):
                assert link.removeprefix("/pages/") in files, (name, link)
        if name.endswith(".js"):
            assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text), name
            for module in re.findall(r'from "\./([^"]+)"', text):
                assert module in files, (name, module)
        if name.endswith((".js", ".css", ".html")):
            assert not re.search(r"https?://(?!www\.w3\.org/|127\.0\.0\.1:)", text), name
