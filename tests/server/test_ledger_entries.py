"""What the service does with alerts and with those who look is in the organisation's ledger."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from einthoven.clock import SystemClock
from einthoven.runtime import ledgers
from einthoven.runtime.secret_files import keep_ledger_key
from einthoven.server.access import SHOWN
from einthoven.server.desk import Desk, Raised
from einthoven.server.ledger_keeper import LedgerKeeper
from einthoven.server.roles import ROUTES
from einthoven.server.settings import Settings
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.storage import Database
from einthoven.storage.ledgers import entries_between, head_of
from einthoven.testing.serving import Served, serving
from einthoven.trust.batching import BatchLimits
from einthoven.trust.entries import Accessed, AlertStepped, Entry, read_entry
from einthoven.trust.notes import SigningKey

pytest.importorskip("cryptography")


ACCESSED = Accessed(
    at_ns=1, patient="p1", by="dr", role="clinician", what="/v1", purpose="treatment", verdict="permit"
)


@pytest.fixture
def served(database: Database, tmp_path: Path) -> Iterator[Served]:
    desk = Desk({"1": bytes(32)})
    with serving(database, follower=desk, settings=Settings(data_folder=str(tmp_path))) as running:
        yield running


def with_a_ledger(served: Served) -> SigningKey:
    key = SigningKey.made("einthoven.example/clinic")
    keep_ledger_key(served.service.settings.folder, "main", key)
    with served.writing() as statements:
        ledgers.create(statements, "main", key, by="test", now_ns=SystemClock().utc_ns())
    return key


def entries(served: Served) -> list[Entry]:
    with served.writing() as statements:
        head = head_of(statements, "main")
        assert head is not None
        return [read_entry(one) for one in entries_between(statements, "main", 0, head.size)]


def alarm(served: Served) -> None:
    """A minute that ends in ventricular fibrillation."""
    device = served.device("p1")
    patient = VirtualPatient(5, SCENES["vt_to_vf"], fs=125.0, duration_s=60.0)
    for number in range(2):
        counts = patient.read(3750 * number, 3750 * (number + 1))[0]
        answer = device.post(
            "/v1/segments",
            json={
                "sequence": number,
                "startTime": time.time_ns(),
                "fs": 125.0,
                "gain": patient.info.leads[0].gain,
                "baseline": patient.info.leads[0].baseline,
                "samples": counts.tolist(),
            },
        )
        assert answer.status_code == 200, answer.text


def test_each_step_of_an_alert_is_entered_with_the_alert(served: Served) -> None:
    with_a_ledger(served)
    alarm(served)
    clinician = served.person("clinician")
    (alert, *_) = clinician.get("/v1/alerts").json()["items"]
    assert clinician.post(f"/v1/alerts/{alert['id']}/acknowledge", json={}).status_code < 300
    stepped = [one for one in entries(served) if isinstance(one, AlertStepped) and one.alert == alert["id"]]
    assert stepped[0].event == "began"
    assert stepped[-1].event == "acknowledged"
    assert (stepped[0].by, stepped[-1].by) == ("", "clinician")
    assert {one.patient for one in stepped} == {"p1"}
    with served.writing() as statements:
        steps = statements.rows("SELECT COUNT(*) FROM alert_steps")[0][0]
    assert sum(isinstance(one, AlertStepped) for one in entries(served)) == steps


def test_whoever_looks_at_a_patient_or_is_refused_is_entered(served: Served) -> None:
    with_a_ledger(served)
    before = len(entries(served))
    assert served.person("clinician").get("/v1/patients/p1/summary").status_code in {200, 404}
    assert served.person("technician").get("/v1/patients/p1/beats").status_code == 403
    assert served.person("clinician").get("/v1/fhir/Patient/p1/Observation").status_code == 200
    assert served.person("technician").get("/v1/fhir/Patient/p1/$export").status_code == 403
    assert served.person("admin").get("/v1/users").status_code == 200
    seen = entries(served)[before:]
    assert [(one.by, one.patient, one.what, one.verdict) for one in seen if isinstance(one, Accessed)] == [
        ("clinician", "p1", "/v1/patients/patient/summary", "permit"),
        ("technician", "p1", "/v1/patients/patient/beats", "deny"),
        ("clinician", "p1", "/v1/fhir/Patient/patient/Observation", "permit"),
        ("technician", "p1", "/v1/fhir/Patient/patient/export", "deny"),
    ]


def test_whoever_opens_the_ward_or_a_strip_or_listens_is_entered(served: Served) -> None:
    with_a_ledger(served)
    before = len(entries(served))
    assert served.person("technician").get("/v1/ward").status_code == 200
    assert served.person("technician").get("/v1/patients/p1/ecg").status_code == 403
    for role, patient, path, status in (
        ("clinician", None, "/v1/events", 200),
        ("patient", "p2", "/v1/events", 200),
        ("patient", "p2", "/v1/events?patient=p1", 403),
    ):
        with served.person(role, patient=patient).stream("GET", path) as stream:  # type: ignore[arg-type]
            assert stream.status_code == status
    seen = [one for one in entries(served)[before:] if isinstance(one, Accessed)]
    assert [(one.by, one.patient, one.what, one.verdict) for one in seen] == [
        ("technician", "", "/v1/ward", "permit"),
        ("technician", "p1", "/v1/patients/patient/ecg", "deny"),
        ("clinician", "", "/v1/events", "permit"),
        ("patient-p2", "p2", "/v1/events", "permit"),
        ("patient-p2", "p1", "/v1/events", "deny"),
    ]


def test_of_an_alert_it_is_entered_whose_it_is_and_nobody_sees_anothers(served: Served) -> None:
    with_a_ledger(served)
    alarm(served)
    clinician = served.person("clinician")
    (alert, *_) = clinician.get("/v1/alerts?patient=p1").json()["items"]
    before = len(entries(served))
    assert clinician.get(f"/v1/alerts/{alert['id']}").status_code == 200
    assert clinician.get("/v1/recordings/rec_000000000000000000000000/result").status_code == 404
    assert served.person("patient", patient="p2").get("/v1/patients/p1/beats").status_code == 403
    seen = [one for one in entries(served)[before:] if isinstance(one, Accessed)]
    assert [(one.by, one.patient, one.verdict) for one in seen] == [
        ("clinician", "p1", "permit"),
        ("clinician", "", "permit"),
        ("patient-p2", "p1", "deny"),
    ]


def test_routes_that_are_watched_are_routes() -> None:
    assert ROUTES.keys() >= SHOWN.keys()


def test_without_a_ledger_nothing_is_entered_and_alerts_go_on(served: Served) -> None:
    alarm(served)
    assert served.person("clinician").get("/v1/alerts").json()["items"]
    with served.writing() as statements:
        assert head_of(statements, "main") is None


def test_checkpoints_are_signed_and_what_was_altered_raises_an_alert(served: Served) -> None:
    with_a_ledger(served)
    told: list[Raised] = []
    at_once = BatchLimits(age_s=0.0)
    keeper = LedgerKeeper(served.service.settings.folder, Desk({"1": bytes(32)}), told.append, at_once)
    alarm(served)
    connection = served.database.connect()
    now_ns = SystemClock().utc_ns()
    keeper.sign(connection, now_ns)
    with connection.reading() as statements:
        head = head_of(statements, "main")
        assert head is not None
        assert head.signed == head.size > 1
    keeper.verify(connection, now_ns)
    assert [change for one in told for change in one.changes] == []
    with connection.writing() as statements:
        (content,) = statements.rows("SELECT content FROM ledger_batches ORDER BY first DESC LIMIT 1")[0]
        altered = bytes(content).replace(b"began", b"ended", 1)
        assert altered != bytes(content)
        statements.run(
            "UPDATE ledger_batches SET content = ? WHERE first = (SELECT MAX(first) FROM ledger_batches)",
            (altered,),
        )
    keeper.verify(connection, now_ns + 1)
    keeper.verify(connection, now_ns + 2)
    raised = [change.alert for one in told for change in one.changes if change.what == "raised"]
    assert [(one.condition, one.priority, one.patient) for one in raised] == [
        ("ledger_inconsistent", "high", "")
    ]
    with connection.writing() as statements:
        statements.run(
            "UPDATE ledger_batches SET content = ? WHERE first = (SELECT MAX(first) FROM ledger_batches "
            "WHERE first < ?)",
            (bytes(content), head.size),
        )
    keeper.verify(connection, now_ns + 3)
    assert [change.alert.state.value for one in told for change in one.changes][-1].startswith("cleared")
    connection.close()


def broken(served: Served, sql: str) -> list[str]:
    """Conditions that are alerted of once something was done to a ledger."""
    told: list[Raised] = []
    keeper = LedgerKeeper(served.service.settings.folder, Desk({"1": bytes(32)}), told.append)
    connection = served.database.connect()
    with connection.writing() as statements:
        for one in sql.split(";"):
            statements.run(one)
    keeper.verify(connection, SystemClock().utc_ns())
    connection.close()
    return [change.alert.condition for one in told for change in one.changes if change.what == "raised"]


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE ledgers SET signed = 0",
        "UPDATE ledgers SET size = size - 1",
        "UPDATE ledgers SET origin = 'elsewhere.example'",
        "DELETE FROM ledger_checkpoints",
        "DELETE FROM ledger_batches; DELETE FROM ledger_checkpoints; DELETE FROM ledger_keys; "
        "DELETE FROM ledger_cosignatures; DELETE FROM ledger_tiles; DELETE FROM ledgers",
    ],
)
def test_whatever_is_done_to_a_ledger_it_is_alerted_of_and_segments_go_on(served: Served, sql: str) -> None:
    with_a_ledger(served)
    assert broken(served, sql) == ["ledger_inconsistent"]
    alarm(served)
    alerts = served.person("clinician").get("/v1/alerts").json()["items"]
    assert {one["patient"] for one in alerts} >= {"p1"}


def test_a_ledger_that_was_made_anew_with_another_key_is_alerted_of(served: Served) -> None:
    with_a_ledger(served)
    tables = ("batches", "checkpoints", "keys", "cosignatures", "tiles")
    with served.writing() as statements:
        for one in tables:
            statements.run(f"DELETE FROM ledger_{one}")  # noqa: S608
        statements.run("DELETE FROM ledgers")
        other = SigningKey.made("einthoven.example/clinic")
        ledgers.create(statements, "main", other, by="thief", now_ns=SystemClock().utc_ns())
    assert broken(served, "SELECT 1") == ["ledger_inconsistent"]


def test_a_checkpoint_comes_with_enough_entries_or_with_time(served: Served) -> None:
    with_a_ledger(served)
    limits = BatchLimits(entries=3, age_s=60.0)
    keeper = LedgerKeeper(served.service.settings.folder, Desk({"1": bytes(32)}), lambda _: None, limits)
    connection = served.database.connect()
    now_ns = SystemClock().utc_ns()

    def after(entries: int, seconds: float) -> int:
        nonlocal now_ns
        now_ns += round(seconds * 1e9)
        with connection.writing() as statements:
            for _ in range(entries):
                ledgers.append(statements, "main", [ACCESSED])
        keeper.sign(connection, now_ns)
        with connection.reading() as statements:
            head = head_of(statements, "main")
            assert head is not None
            return head.size - head.signed

    assert after(2, 1.0) == 2
    assert after(1, 1.0) == 0
    assert after(1, 1.0) == 1
    assert after(0, 61.0) == 0
    connection.close()
