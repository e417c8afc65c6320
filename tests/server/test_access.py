"""Where an organisation wants it, nobody sees a patient whom nobody let; and every answer is entered."""

import itertools
import json
import time
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einthoven.alerts import AlertRules, Contact, Rung, Sighting, receive, sign
from einthoven.clock import SystemClock, VirtualClock
from einthoven.runtime import ledgers
from einthoven.server import accounts, alert_tables, grant_tables
from einthoven.server.access import SHOWN, alert_ask, alerts_seen
from einthoven.server.desk import Desk, Raised
from einthoven.server.grant_tables import Sight, grants_for
from einthoven.server.granting import give, new_id, revoke_of_account
from einthoven.server.parties import Party
from einthoven.server.roles import ROUTES
from einthoven.server.settings import Settings
from einthoven.server.watch import Watch
from einthoven.storage import Database, open_database
from einthoven.storage.ledgers import entries_between, head_of
from einthoven.testing.serving import Served, a_segment, serving
from einthoven.testing.uploads import send_whole
from einthoven.trust.entries import Accessed, AccessRuleChanged, Entry, GrantChanged, read_entry
from einthoven.trust.grants import SEEN_CLASSES, AccessAsk, Grant, decide_access
from einthoven.trust.notes import SigningKey

pytest.importorskip("cryptography")

NUMBERS = itertools.count()
KEYS = {"1": bytes(32)}
VIEWS = ("summary", "trends", "episodes", "beats", "quality", "segments", "rules", "ecg")
FHIR = ("Observation", "DiagnosticReport", "$export")
BROKEN = {"reason": "emergency", "why": "unconscious in the corridor"}


class Ward:
    """A service whose organisation shows patients to whoever was let; it has a ledger and a clock."""

    def __init__(self, served: Served, clock: VirtualClock) -> None:
        self.served, self.clock = served, clock
        self.people: dict[str, httpx.Client] = {}

    def person(self, role: str, patient: str | None = None) -> httpx.Client:
        name = f"{role}-{patient}"
        if name not in self.people:
            self.people[name] = self.served.person(role, patient=patient)  # type: ignore[arg-type]
        return self.people[name]

    def entries(self, after: int = 0) -> list[Entry]:
        with self.served.writing() as statements:
            head = head_of(statements, "main")
            assert head is not None
            return [read_entry(one) for one in entries_between(statements, "main", after, head.size)]

    def alert(self, patient: str, condition: str = "asystole", **more) -> str:
        """An alert of this patient."""
        now_ns = self.clock.utc_ns()
        fields = {"priority": "high", "is_technical": False, "onset_ns": now_ns, "end_ns": None, **more}
        sighting = Sighting(condition=condition, until_ns=now_ns, **fields)  # type: ignore[arg-type]
        with self.served.writing() as statements:
            known = alert_tables.load_patient(statements, "main", patient, (sighting,))
            changes = receive(known, (sighting,), AlertRules(), now_ns)
            alert_tables.store(statements, changes, AlertRules())
        return changes[0].alert.id


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    folder = tmp_path_factory.mktemp("ward")
    database = open_database(str(folder / "einthoven.db"))
    database.migrate()
    clock = VirtualClock(time.time_ns())
    chosen = Settings(data_folder=str(folder), emergency_access_h=0.05)
    with serving(database, follower=Desk(KEYS), settings=chosen, clock=clock) as served:
        ward = Ward(served, clock)
        admin, *_ = [ward.person(role) for role in ("admin", "clinician", "technician", "auditor")]
        with served.writing() as statements:
            key = SigningKey.made("einthoven.example/ward")
            ledgers.create(statements, "main", key, by="test", now_ns=clock.utc_ns())
            rules = AlertRules(ladder=(Rung((Contact("board", "admins"),)),))
            alert_tables.add_rules(
                statements,
                sign(rules, account="a", role="clinician", at_ns=1, keys=KEYS, key="1", before=None),
            )
        changed = admin.patch("/v1/organisations/main", json={"access": "granted", "reason": "legal-duty"})
        assert changed.json()["access"] == "granted", changed.text
        yield ward
        served.app.feed.send_away()


def a_patient(ward: Ward) -> str:
    """A patient of whom something was sent."""
    patient = f"p{next(NUMBERS)}"
    assert ward.served.device(patient).post("/v1/segments", json=a_segment(0, seconds=2.0)).status_code == 200
    return patient


def statuses(client: httpx.Client, patient: str) -> set[int]:
    return {client.get(f"/v1/patients/{patient}/{view}").status_code for view in VIEWS}


def test_every_route_that_shows_a_patient_is_asked_at() -> None:
    """A route that is added must be named: either it shows what was found, or here is why it does not."""
    elsewhere = {
        ("GET", "/v1/patients/{patient}/grants"),  # who may, not what
        ("POST", "/v1/patients/{patient}/grants"),
        ("POST", "/v1/patients/{patient}/grants/{grant}/revoke"),
        ("POST", "/v1/patients/{patient}/emergency-access"),
        ("GET", "/v1/patients/{patient}/consent"),  # what the patient said, not what was found
        ("PUT", "/v1/patients/{patient}/consent"),
        ("GET", "/v1/audit-events"),  # who did what
        ("GET", "/v1/devices/{device}/payload-keys"),  # with which keys a device seals, not what
        ("PUT", "/v1/devices/{device}/payload-keys"),
        ("DELETE", "/v1/devices/{device}/payload-keys/{key}"),
    }
    marks = (
        "{patient}",
        "{alert}",
        "{recording}",
        "{device}",
        "alerts",
        "events",
        "streams",
        "recordings",
        "ward",
    )
    shows = {route for route in ROUTES if any(mark in route[1] for mark in marks)}
    assert shows == SHOWN.keys() | elsewhere
    assert ROUTES.keys() >= SHOWN.keys()


def test_whom_nobody_let_sees_nothing_and_learns_nothing(ward: Ward) -> None:
    there, nobody = a_patient(ward), "nobody-0"
    alert, mine = ward.alert(there), a_patient(ward)
    body = {"account": "clinician", "data": list(SEEN_CLASSES), "reason": "treatment"}
    assert ward.person("admin").post(f"/v1/patients/{mine}/grants", json=body).status_code == 201
    before = len(ward.entries())
    for role in ("clinician", "auditor", "technician"):
        client = ward.person(role)
        for view in VIEWS:
            for more in (f"device={mine}-chest", f"patient={mine}", f"alert={alert}", f"recording={alert}"):
                assert client.get(f"/v1/patients/{there}/{view}?{more}").status_code in {400, 403}, more
            one, other = (client.get(f"/v1/patients/{patient}/{view}") for patient in (there, nobody))
            assert (one.status_code, one.content) == (403, other.content), view
        for kind in FHIR:
            one, other = (client.get(f"/v1/fhir/Patient/{patient}/{kind}") for patient in (there, nobody))
            assert (one.status_code, one.content) == (403, other.content), kind
        hidden, absent = (client.get(f"/v1/alerts/{id_}") for id_ in (alert, "alt_" + "0" * 24))
        assert (hidden.status_code, hidden.content) == (404, absent.content)
    clinician = ward.person("clinician")
    for step in ("acknowledge", "assign", "suppress", "resume", "close"):
        body = {"assign": {"to": "ann"}, "suppress": {"minutes": 5, "why": "x"}, "close": {"why": "x"}}
        assert clinician.post(f"/v1/alerts/{alert}/{step}", json=body.get(step, {})).status_code == 404
    listed = {
        path: [one["patient"] for one in clinician.get(f"/v1/{path}").json()["items"]]
        for path in ("alerts", "streams", "recordings")
    }
    assert there not in itertools.chain(*listed.values())
    hidden, absent = (clinician.get(f"/v1/streams/{device}") for device in (f"{there}-chest", "nobody-chest"))
    assert (hidden.status_code, hidden.content) == (404, absent.content)
    assert clinician.get(f"/v1/alerts?patient={there}").status_code == 403
    device = ward.served.device(there)
    sent = {"uploads": [send_whole(device, b"0\n", "ecg.csv")], "startTime": "2026-11-26T08:00:00Z"}
    recording = device.post("/v1/recordings", json=sent).json()["id"]
    for path in ("", "/result", "/report", "/reports"):
        hidden, absent = (
            clinician.get(f"/v1/recordings/{id_}{path}") for id_ in (recording, "rec_" + "0" * 24)
        )
        assert (hidden.status_code, hidden.content) == (404, absent.content), path
    for path in ("cancel", "redrive", "reports"):
        body = {"conclusion": "x"} if path == "reports" else None
        assert clinician.post(f"/v1/recordings/{recording}/{path}", json=body).status_code == 404
    assert there not in [one["patient"] for one in clinician.get("/v1/recordings").json()["items"]]
    assert device.post(f"/v1/recordings/{recording}/cancel").status_code == 200
    denied = [one for one in ward.entries(before) if isinstance(one, Accessed) and one.verdict == "deny"]
    assert {one.by for one in denied} == {"clinician", "auditor", "technician"}
    assert {one.what for one in denied if one.by == "clinician"} >= {
        "/v1/patients/patient/trends",
        "/v1/alerts/alert",
        "POST:/v1/alerts/alert/close",
        "/v1/streams/device",
    }


def test_a_role_that_may_not_ask_is_entered_on_routes_that_devices_share_too(ward: Ward) -> None:
    before = len(ward.entries())
    assert ward.person("auditor").get("/v1/recordings").status_code == 403
    assert ward.person("admin").get(f"/v1/recordings/rec_{'0' * 24}/result").status_code == 403
    seen = [one for one in ward.entries(before) if isinstance(one, Accessed)]
    assert [(one.by, one.what, one.verdict) for one in seen] == [
        ("auditor", "/v1/recordings", "deny"),
        ("admin", "/v1/recordings/recording/result", "deny"),
    ]


def test_patients_see_no_alert_of_the_organisation(ward: Ward) -> None:
    alert = ward.alert("", "alert_path_broken", priority="medium", is_technical=True)
    own = ward.person("patient", a_patient(ward))
    assert own.get(f"/v1/alerts/{alert}").status_code == 404
    assert own.get("/v1/alerts").json()["items"] == []
    assert ward.person("technician").get(f"/v1/alerts/{alert}").status_code == 200


def test_a_patient_lets_somebody_see_some_of_it_for_a_while(ward: Ward) -> None:
    patient = a_patient(ward)
    clinician, own = ward.person("clinician"), ward.person("patient", patient)
    until = ward.clock.utc_ns() + 60 * 10**9
    given = own.post(
        f"/v1/patients/{patient}/grants",
        json={
            "account": "clinician",
            "data": ["findings"],
            "reason": "patient-request",
            "until": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(until // 10**9))}Z",
        },
    )
    assert given.status_code == 201, given.text
    assert clinician.get(f"/v1/patients/{patient}/summary").status_code == 200
    assert clinician.get(f"/v1/patients/{patient}/segments").status_code == 403
    assert ward.person("auditor").get(f"/v1/patients/{patient}/summary").status_code == 403
    ward.clock.advance(61.0)
    assert clinician.get(f"/v1/patients/{patient}/summary").status_code == 403
    (seen,) = own.get(f"/v1/patients/{patient}/grants").json()["items"]
    assert (seen["isInForce"], seen["by"], seen["basis"]) == (False, f"patient-{patient}", "granted")
    assert clinician.get(f"/v1/patients/{patient}/grants").json()["items"] == [seen]


def test_a_patient_grants_and_sees_the_grants_of_nobody_else(ward: Ward) -> None:
    patient, own = a_patient(ward), ward.person("patient", "p-other")
    body = {"account": "clinician", "data": ["findings"], "reason": "patient-request"}
    assert own.post(f"/v1/patients/{patient}/grants", json=body).status_code == 403
    assert own.get(f"/v1/patients/{patient}/grants").status_code == 403
    assert ward.person("clinician").post(f"/v1/patients/{patient}/grants", json=body).status_code == 403
    own_patient = {**body, "isCareTeam": True}
    assert own.post("/v1/patients/p-other/grants", json=own_patient).status_code == 403
    for wrong in ({"account": "nobody"}, {"account": f"patient-{patient}"}):
        refused = own.post("/v1/patients/p-other/grants", json={**body, **wrong})
        assert refused.status_code == 404


def test_the_care_team_is_assigned_and_taken_off_by_administrators(ward: Ward) -> None:
    patient = a_patient(ward)
    admin, clinician, own = ward.person("admin"), ward.person("clinician"), ward.person("patient", patient)
    before = len(ward.entries())
    body = {"role": "clinician", "data": list(SEEN_CLASSES), "reason": "treatment", "isCareTeam": True}
    made = admin.post(f"/v1/patients/{patient}/grants", json=body).json()
    assert statuses(clinician, patient) == {200}
    assert patient in [one["patient"] for one in clinician.get("/v1/streams").json()["items"]]
    path = f"/v1/patients/{patient}/grants/{made['id']}/revoke"
    assert own.post(path, json={"reason": "patient-request"}).status_code == 403
    assert admin.post(path, json={"reason": "correction"}).status_code == 200
    assert admin.post(path, json={"reason": "correction"}).status_code == 409
    assert statuses(clinician, patient) == {403}
    told = [one for one in ward.entries(before) if isinstance(one, GrantChanged)]
    assert [(one.change, one.grant, one.role, one.basis, one.by) for one in told] == [
        ("given", made["id"], "clinician", "care-team", "admin"),
        ("revoked", made["id"], "clinician", "care-team", "admin"),
    ]


def test_whoever_breaks_the_glass_sees_for_a_while_and_administrators_are_told(ward: Ward) -> None:
    patient = a_patient(ward)
    admin, clinician, own = ward.person("admin"), ward.person("clinician"), ward.person("patient", patient)
    path = f"/v1/patients/{patient}/emergency-access"
    for wrong in ({}, {"reason": "emergency"}, {"why": "x"}, {**BROKEN, "reason": "quality-review"}):
        assert clinician.post(path, json=wrong).status_code == 400
    assert ward.person("technician").post(path, json=BROKEN).status_code == 403
    before = len(ward.entries())
    broken = clinician.post(path, json=BROKEN)
    assert broken.status_code == 201, broken.text
    assert clinician.post(path, json=BROKEN).status_code == 409
    assert statuses(clinician, patient) == {200}
    listed = clinician.get("/v1/alerts").json()["items"]
    told = [one for one in listed if one["condition"] == "emergency_access"]
    assert [(one["patient"], one["priority"], one["isTechnical"]) for one in told] == [
        (patient, "high", True)
    ]
    assert told[0]["reason"] == "clinician: emergency"

    (shown,) = own.get(f"/v1/patients/{patient}/grants").json()["items"]
    assert (shown["basis"], shown["account"], shown["why"]) == ("emergency", "clinician", BROKEN["why"])
    entries = ward.entries(before)
    assert BROKEN["why"] not in repr(entries)
    assert [(one.basis, one.reason) for one in entries if isinstance(one, GrantChanged)] == [
        ("emergency", "emergency")
    ]
    seen = [one for one in entries if isinstance(one, Accessed) and one.verdict == "permit" and one.patient]
    assert {(one.purpose, one.is_emergency, one.reason) for one in seen} == {("emergency", True, "emergency")}
    assert {one.what for one in seen} >= {"/v1/alerts", "/v1/patients/patient/beats"}

    with ward.served.writing() as statements:
        (letter,) = statements.rows(
            "SELECT channel, address FROM outbox WHERE alert_id = ?", (told[0]["id"],)
        )
    assert letter == ("board", "admins")
    acknowledge = f"/v1/alerts/{told[0]['id']}/acknowledge"
    assert clinician.post(acknowledge, json={}).status_code == 403
    assert told[0]["id"] in [one["id"] for one in admin.get("/v1/alerts").json()["items"]]
    assert admin.post(acknowledge, json={"why": "called the ward"}).status_code == 200
    found = ward.alert(patient)
    assert admin.get(f"/v1/alerts/{found}").status_code == 404, "administrators see no findings"
    seen_by_admin = {one["condition"] for one in admin.get("/v1/alerts").json()["items"]}
    assert {"emergency_access"} <= seen_by_admin <= {"emergency_access", "alert_path_broken"}

    ward.clock.advance(0.05 * 3600 + 1)
    assert statuses(clinician, patient) == {403}
    changes: list[Raised] = []
    connection = ward.served.database.connect()
    Watch(Desk(KEYS), changes.append).look_at_emergencies(connection, ward.clock.utc_ns())
    Watch(Desk(KEYS), changes.append).look_at_emergencies(connection, ward.clock.utc_ns())
    connection.close()
    assert [one.what for raised in changes for one in raised.changes if one.alert.patient == patient] == [
        "ended"
    ]


def test_the_glass_is_not_broken_where_it_is_open(ward: Ward) -> None:
    clinician = ward.served.person("clinician", "elsewhere")
    assert clinician.post("/v1/patients/p1/emergency-access", json=BROKEN).status_code == 409
    assert clinician.get("/v1/patients/p1/summary").status_code == 200


def test_rules_cannot_keep_a_broken_glass_from_being_told(ward: Ward) -> None:
    body = {"note": "quiet, please", "version": 2, "choices": {"emergency_access": {"alerts": False}}}
    assert ward.person("clinician").put("/v1/rules", json=body).status_code == 400


def test_each_organisation_decides_for_itself_and_its_rule_is_entered(ward: Ward) -> None:
    other = ward.served.person("admin", "elsewhere")
    body = {"access": "open", "reason": "legal-duty"}
    assert other.patch("/v1/organisations/main", json=body).status_code == 403
    assert ward.person("clinician").patch("/v1/organisations/main", json=body).status_code == 403
    rules = [one.rule for one in ward.entries() if isinstance(one, AccessRuleChanged)]
    assert rules == ["granted"]


def test_a_grant_goes_with_the_account_and_not_with_its_name(ward: Ward) -> None:
    patient = a_patient(ward)
    admin = ward.person("admin")

    def made() -> httpx.Client:
        with ward.served.writing() as statements:
            now_ns = ward.clock.utc_ns()
            user = accounts.add_user(
                statements, "main", "gus", "clinician", patient=None, hash_="", now_ns=now_ns
            )
            _, secret = accounts.issue(
                statements, "main", "session", user=user, now_ns=now_ns, lifetime_s=999
            )
        return ward.served.client(secret)

    first = made()
    ward.clock.advance(1.0)
    body = {"account": "gus", "data": ["findings"], "reason": "treatment"}
    assert admin.post(f"/v1/patients/{patient}/grants", json=body).status_code == 201
    assert first.get(f"/v1/patients/{patient}/summary").status_code == 200
    with ward.served.writing() as statements:  # as the command line does, which knows of no grants
        accounts.remove_user(statements, accounts.read_user(statements, "main", "gus"), ward.clock.utc_ns())
    ward.clock.advance(1.0)
    second = made()
    assert second.get(f"/v1/patients/{patient}/summary").status_code == 403
    assert admin.delete("/v1/users/gus").status_code == 204
    (seen,) = admin.get(f"/v1/patients/{patient}/grants").json()["items"]
    assert seen["revokedAt"] is not None


def test_listeners_hear_of_those_alone_whom_they_may_see(ward: Ward) -> None:
    let, other = a_patient(ward), a_patient(ward)
    body = {"account": "clinician", "data": ["alerts"], "reason": "treatment"}
    grant = ward.person("admin").post(f"/v1/patients/{let}/grants", json=body).json()
    with ward.served.writing() as statements:
        newest = alert_tables.newest_change(statements, "main")
    with ward.person("clinician").stream("GET", f"/v1/events?after={newest}") as stream:
        lines = (line for line in stream.iter_lines() if line.startswith("data:"))
        before = len(ward.entries())
        ward.alert(other)
        first = ward.alert(let)
        assert json.loads(next(lines)[5:])["alert"]["id"] == first
        broken = ward.person("clinician").post(f"/v1/patients/{other}/emergency-access", json=BROKEN)
        assert broken.status_code == 201
        heard = json.loads(next(lines)[5:])["alert"]
        assert (heard["patient"], heard["condition"]) == (other, "emergency_access")
        path = f"/v1/patients/{let}/grants/{grant['id']}/revoke"
        assert ward.person("admin").post(path, json={"reason": "correction"}).status_code == 200
        ward.alert(let, "pause", priority="medium")
        last = ward.alert(other, "ventricular_fibrillation")
        assert json.loads(next(lines)[5:])["alert"]["id"] == last
    seen = [one for one in ward.entries(before) if isinstance(one, Accessed) and one.what == "/v1/events"]
    assert [(one.patient, one.is_emergency) for one in seen] == [(other, True)]
    with ward.person("clinician").stream("GET", "/v1/events?after=0") as stream:
        lines = (line for line in stream.iter_lines() if line.startswith("data:"))
        assert json.loads(next(lines)[5:])["alert"]["patient"] != let
    assert ward.person("auditor").get("/v1/events").status_code == 403


def shown_in_ward(client: httpx.Client) -> dict[str, tuple[int, int]]:
    """Streams and alerts of each patient."""
    page = client.get("/v1/ward?limit=2000").json()
    return {one["patient"]: (len(one["streams"]), len(one["alerts"])) for one in page["items"]}


def test_a_ward_shows_those_alone_whom_one_may_see(ward: Ward) -> None:
    let, told, hidden = (a_patient(ward) for _ in range(3))
    for patient in (let, told, hidden):
        ward.alert(patient)
    for patient, data in ((let, "findings"), (told, "alerts")):
        body = {"account": "clinician", "data": [data], "reason": "treatment"}
        assert ward.person("admin").post(f"/v1/patients/{patient}/grants", json=body).status_code == 201
    shown = shown_in_ward(ward.person("clinician"))
    assert (shown[let], shown[told]) == ((1, 0), (0, 1))
    assert hidden not in shown
    assert ward.person("clinician").get(f"/v1/ward?patient={hidden}").status_code == 403
    kept = shown_in_ward(ward.person("technician"))
    assert [kept[one] for one in (let, told, hidden)] == [(1, 0)] * 3
    own = ward.person("patient", patient=hidden).get("/v1/ward").json()["items"]
    assert [(one["patient"], len(one["streams"]), len(one["alerts"])) for one in own] == [(hidden, 1, 1)]
    for path in ("ecg", "summary"):
        assert ward.person("clinician").get(f"/v1/patients/{told}/{path}").status_code == 403


def test_streams_that_change_are_told_to_those_alone_who_may_see_them(ward: Ward) -> None:
    let, hidden = a_patient(ward), a_patient(ward)
    body = {"account": "clinician", "data": ["findings"], "reason": "treatment"}
    assert ward.person("admin").post(f"/v1/patients/{let}/grants", json=body).status_code == 201
    with ward.person("clinician").stream("GET", "/v1/events?streams=true") as stream:
        lines = (line for line in stream.iter_lines() if line.startswith('data: {"streams"'))
        told: set[str] = set()
        for sequence in range(1, 40):
            for patient in (hidden, let):
                segment = a_segment(sequence, seconds=2.0)
                ward.served.device(patient).post("/v1/segments", json=segment)
            told |= {one["patient"] for one in json.loads(next(lines)[5:])["streams"]}
            if let in told:
                break
    assert let in told
    assert hidden not in told


def test_who_may_see_findings_alone_listens_to_streams_alone(ward: Ward) -> None:
    patient = a_patient(ward)
    body = {"account": "clinician", "data": ["findings"], "reason": "treatment"}
    assert ward.person("admin").post(f"/v1/patients/{patient}/grants", json=body).status_code == 201
    before = len(ward.entries())
    path = f"/v1/events?patient={patient}"
    assert ward.person("clinician").get(path).status_code == 403
    for role, condition in (("clinician", "asystole"), ("technician", "ventricular_fibrillation")):
        with ward.person(role).stream("GET", f"{path}&streams=true") as stream:
            lines = (line for line in stream.iter_lines() if line.startswith("data: {"))
            ward.alert(patient, condition)
            for sequence in range(1, 40):
                segment = a_segment(sequence, seconds=2.0)
                ward.served.device(patient).post("/v1/segments", json=segment)
                heard = json.loads(next(lines)[5:])
                assert "alert" not in heard
                if heard["streams"]:
                    break
    seen = [one for one in ward.entries(before) if isinstance(one, Accessed) and "events" in one.what]
    assert [(one.by, one.patient, one.what, one.verdict) for one in seen] == [
        ("clinician", patient, "/v1/events", "deny"),
        ("clinician", patient, "/v1/events:streams", "permit"),
        ("technician", patient, "/v1/events:streams", "permit"),
    ]
    for wrong in ("device=x", "streams=true&streams=false", "patient=a&patient=b", "patient="):
        assert ward.person("clinician").get(f"/v1/events?{wrong}").status_code == 400


ASKS = st.lists(
    st.one_of(
        st.tuples(
            st.just("grant"),
            st.sampled_from(("account", "role")),
            st.sampled_from(SEEN_CLASSES),
            st.none() | st.integers(1, 3),
        ),
        st.tuples(st.just("revoke"), st.integers(0, 5)),
        st.tuples(st.just("break")),
        st.tuples(st.just("wait"), st.integers(1, 200)),
        st.tuples(st.just("ask"), st.sampled_from(("summary", "segments", "rules"))),
    ),
    min_size=4,
    max_size=12,
)
SHOWS = {"summary": "findings", "segments": "segments", "rules": "alerts"}


@settings(max_examples=12)
@given(ASKS)
def test_over_http_nobody_sees_without_being_let_in_time(ward: Ward, steps) -> None:
    """Whatever was granted, revoked, broken or waited for: 200 if and only if something lets, and entered."""
    ward.people.clear()  # sessions end by themselves
    patient = f"q{next(NUMBERS)}"
    admin, clinician = ward.person("admin"), ward.person("clinician")
    held: dict[str, tuple[set[str], float]] = {}
    for kind, *rest in steps:
        now_ns = ward.clock.utc_ns()
        if kind == "grant":
            to, data, minutes = rest
            body = {to: "clinician", "data": [data], "reason": "treatment"}
            until_ns = float("inf")
            if minutes is not None:
                until_ns = (now_ns // 10**9 + 60 * minutes) * 10**9
                body["until"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(until_ns // 10**9))
            made = admin.post(f"/v1/patients/{patient}/grants", json=body)
            held[made.json()["id"]] = ({data}, until_ns)
        elif kind == "revoke" and held:
            id_ = list(held)[rest[0] % len(held)]
            path = f"/v1/patients/{patient}/grants/{id_}/revoke"
            assert admin.post(path, json={"reason": "correction"}).status_code in {200, 409}
            del held[id_]
        elif kind == "break":
            made = clinician.post(f"/v1/patients/{patient}/emergency-access", json=BROKEN)
            if made.status_code == 201:
                held[made.json()["id"]] = (set(SEEN_CLASSES), now_ns + 0.05 * 3600 * 1e9)
        elif kind == "wait":
            ward.clock.advance(float(rest[0]))
        elif kind == "ask":
            with ward.served.writing() as statements:
                head = head_of(statements, "main")
            assert head is not None
            answer = clinician.get(f"/v1/patients/{patient}/{rest[0]}")
            may = any(SHOWS[rest[0]] in data and now_ns < until_ns for data, until_ns in held.values())
            assert answer.status_code == (200 if may else 403)
            # A listener of another test may not know yet that nobody listens any more.
            (entry,) = (one for one in ward.entries(head.size) if getattr(one, "what", "") != "/v1/events")
            assert isinstance(entry, Accessed)
            assert (entry.patient, entry.verdict) == (patient, "permit" if may else "deny")


GRANTS = st.lists(
    st.tuples(
        st.sampled_from(("ann", "bea", "clinician", "technician")),
        st.sampled_from(("p1", "p2", "p3")),
        st.sets(st.sampled_from(SEEN_CLASSES), min_size=1),
        st.integers(0, 4),
        st.none() | st.integers(1, 4),
        st.none() | st.integers(0, 6),
    ),
    max_size=6,
)


def test_a_list_shows_those_whom_the_decision_lets_see(database: Database) -> None:
    with_accounts(database)
    orgs = itertools.count()

    @settings(max_examples=25)
    @given(
        GRANTS,
        st.sampled_from(("open", "granted")),
        st.sampled_from(("clinician", "technician", "auditor", "patient")),
    )
    def check(given_, rule, role) -> None:
        own = "p2" if role == "patient" else None
        org = f"o{next(orgs)}"
        connection = database.connect()
        with connection.writing() as statements:
            accounts.add_organisation(statements, org, "", 0)
            for name in ("ann", "bea"):
                accounts.add_user(statements, org, name, "clinician", patient=None, hash_="", now_ns=0)
            for to, patient, data, since, lasts, revoked in given_:
                is_role = to in ("clinician", "technician")
                grant = Grant(
                    id=new_id(),
                    patient=patient,
                    account="" if is_role else to,
                    role=to if is_role else "",
                    data=tuple(data),
                    basis="granted",
                    since_ns=since,
                    until_ns=None if lasts is None else since + lasts,
                    by="admin",
                    by_role="admin",
                    reason="treatment",
                )
                give(statements, org, grant, "")
                if revoked is not None:
                    grant_tables.void_grant(statements, grant.id, revoked)
            for patient in ("", "p1", "p2", "p3"):
                for condition in ("asystole", "device_silent"):
                    key = (org, patient, condition)
                    statements.run(
                        "INSERT INTO alerts (org, patient, condition, about, number, id, steps, urgency, "
                        "is_open, raised_ns, content) VALUES (?, ?, ?, '', 1, ?, 1, 0, 1, 0, ?)",
                        (*key, "/".join(key), b""),
                    )
            now_ns = 5
            sight = Sight(org, "ann", role, own, rule, now_ns)
            known = grants_for(statements, org, ["p1", "p2", "p3"], account="ann", role=role)
            party = Party(org, role, "user/ann", own)
            for data in SEEN_CLASSES:
                sql, values = sight.of(data)
                rows = statements.rows(
                    f"SELECT DISTINCT patient FROM alerts WHERE org = ? AND {sql}",  # noqa: S608
                    (org, *values),
                )
                asks = [
                    AccessAsk(account="ann", role=role, own_patient=own, patient=one, data=data, may_ask=True)
                    for one in ("p1", "p2", "p3")
                ]
                let = {
                    one.patient for one in asks if decide_access(one, rule, known, now_ns).verdict == "permit"
                }
                assert {row[0] for row in rows} - {""} == let
            sql, values = alerts_seen(sight)
            rows = statements.rows(
                f"SELECT patient, condition FROM alerts WHERE org = ? AND {sql}",  # noqa: S608
                (org, *values),
            )
            assert {tuple(row) for row in rows} == {
                (patient, condition)
                for patient in ("", "p1", "p2", "p3")
                for condition in ("asystole", "device_silent")
                if decide_access(alert_ask(party, "ann", patient, condition), rule, known, now_ns).verdict
                == "permit"
            }
            revoke_of_account(statements, org, "ann", by="admin", by_role="admin", at_ns=now_ns)
            assert not grant_tables.grants_of_account(statements, org, "ann", now_ns)
        connection.close()

    check()


def with_accounts(database: Database) -> None:
    connection = database.connect()
    with connection.writing() as statements:
        accounts.ensure_main(statements, SystemClock().utc_ns())
    connection.close()
