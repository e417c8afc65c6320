"""Consents that the service keeps, and what its gate makes of them, on both kinds of database."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from einthoven.cli.consent import command
from einthoven.clock import SystemClock
from einthoven.continuum import Region
from einthoven.errors import Conflict
from einthoven.runtime import ledgers
from einthoven.server import data_gate
from einthoven.server.data_gate import DataGate
from einthoven.server.settings import Settings
from einthoven.storage import Database, Statements
from einthoven.storage.consents import add_consent
from einthoven.storage.ledgers import entries_between, head_of
from einthoven.testing.serving import Served, serving
from einthoven.trust.consent import read_consent, write_consent
from einthoven.trust.entries import ConsentChanged, Entry, Placed, PolicyChanged, read_entry
from einthoven.trust.notes import SigningKey

pytest.importorskip("cryptography")

WARD = Region(name="ward", kind="pool", tier="local")
FAR = Region(name="far", kind="http", address="http://127.0.0.1:9", tier="core", labels=("eu",))
POLICY = """
version = 1
[functions]
preprocessing = ["samples", "pseudonymised"]
bdc = ["samples"]
postprocessing = ["samples"]
finalization = ["features"]
[[rules]]
name = "ward"
data = ["samples", "features"]
tiers = ["local"]
consent = "none"
[[rules]]
name = "far"
data = ["samples", "features"]
labels = ["eu"]
purposes = ["treatment"]
"""


@pytest.fixture
def served(database: Database, tmp_path: Path) -> Iterator[Served]:
    with serving(database, settings=Settings(data_folder=str(tmp_path))) as running:
        yield running


def a_consent(version: int = 1, *, patient: str = "p1", **more: Any) -> dict[str, Any]:
    given = {
        "resourceType": "Consent",
        "id": "c-1",
        "meta": {"versionId": str(version)},
        "status": "active",
        "scope": {
            "coding": [
                {"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}
            ]
        },
        "patient": {"identifier": {"system": "urn:einthoven:pseudonym", "value": patient}},
        "dateTime": "2026-11-26T08:00:00Z",
        "policyRule": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTIN"}]
        },
    }
    return {**given, **more}


@contextlib.contextmanager
def writing(database: Database) -> Iterator[Statements]:
    connection = database.connect()
    try:
        with connection.writing() as statements:
            yield statements
    finally:
        connection.close()


def with_a_ledger(database: Database) -> None:
    key = SigningKey.made("einthoven.example/clinic")
    with writing(database) as statements:
        ledgers.create(statements, "main", key, by="test", now_ns=1)


def entries(database: Database) -> list[Entry]:
    with writing(database) as statements:
        head = head_of(statements, "main")
        assert head is not None
        return [read_entry(one) for one in entries_between(statements, "main", 0, head.size)][1:]


PATH = "/v1/patients/p1/consent"


def test_a_consent_goes_version_by_version_and_each_is_in_the_ledger(served: Served) -> None:
    with_a_ledger(served.database)
    nurse = served.person("clinician")
    assert nurse.get(PATH).status_code == 404
    first = nurse.put(PATH, json=a_consent(1))
    assert first.status_code == 200, first.text
    assert first.headers["content-type"].startswith("application/fhir+json")
    assert nurse.get(PATH).json() == first.json() == write_consent(read_consent(a_consent(1)))
    assert nurse.put(PATH, json=a_consent(1)).json() == first.json(), "the same again changes nothing"
    for wrong in (a_consent(3), a_consent(1, status="inactive"), a_consent(2, id="c-2")):
        answer = nurse.put(PATH, json=wrong)
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict"), answer.text
    assert nurse.put(PATH, json=a_consent(2, status="inactive")).status_code == 200
    assert nurse.get(PATH).json()["status"] == "inactive"
    seen = [one for one in entries(served.database) if isinstance(one, ConsentChanged)]
    assert [(one.change, one.version, one.by) for one in seen] == [
        ("given", 1, "clinician"),
        ("revoked", 2, "clinician"),
    ]
    with served.writing() as statements:
        kept = statements.rows("SELECT version, account FROM consents ORDER BY version")
    assert kept == [(1, "clinician"), (2, "clinician")], "nothing is deleted"


def test_what_is_not_understood_is_not_kept(served: Served) -> None:
    nurse = served.person("clinician")
    for wrong in (
        {"resourceType": "Patient"},
        {"patient": {"identifier": {"system": "urn:einthoven:pseudonym", "value": "p2"}}},
        {"policyRule": {"coding": []}},
        {"provision": {"provision": [{"type": "deny", "securityLabel": []}]}},
        {"modifierExtension": []},
    ):
        assert nurse.put(PATH, json=a_consent(1, **wrong)).status_code == 400
    assert nurse.get(PATH).status_code == 404


def test_the_command_line_gives_and_takes_back(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "consent.json"
    file.write_text(json.dumps(a_consent(1)))
    token = str(served.person("clinician").headers["Authorization"]).removeprefix("Bearer ")
    monkeypatch.setenv("EINTHOVEN_TOKEN", token)
    monkeypatch.setenv("EINTHOVEN_URL", served.url)

    def said(*words: str) -> str:
        done = CliRunner().invoke(command, words, catch_exceptions=False)
        assert done.exit_code == 0
        return done.output

    assert said("put", "p1", str(file)) == "c-1, version 1, active.\n"
    assert read_consent(said("show", "p1").encode()) == read_consent(a_consent(1))
    assert said("revoke", "p1") == "c-1, version 2, inactive.\n"
    with pytest.raises(Conflict, match="the next version is 3"):
        said("put", "p1", str(file))


def test_who_may(served: Served) -> None:
    own, other = served.person("patient", patient="p1"), served.person("patient", patient="p2")
    assert own.put(PATH, json=a_consent(1)).status_code == 200
    assert own.get(PATH).status_code == 200
    assert other.get(PATH).status_code == other.put(PATH, json=a_consent(2)).status_code == 403
    assert served.person("auditor").get(PATH).status_code == 200
    for role in ("admin", "technician", "auditor"):
        assert served.person(role).put(PATH, json=a_consent(2)).status_code == 403
    assert served.person("clinician", org="elsewhere").get(PATH).status_code == 404


# -------------------------------------------------------------------- the gate


class Gate:
    """A gate, and whose data is asked of."""

    def __init__(self, database: Database, path: Path) -> None:
        self.database = database
        self.path = path
        self.path.write_text(POLICY)
        self.regions: tuple[Region, ...] = (WARD, FAR)
        self.gate = self.another()

    def another(self) -> DataGate:
        """That of another process."""
        return DataGate(self.path, lambda: self.regions, SystemClock())

    def admits(self, gate: DataGate | None = None, function: str = "analyses") -> set[str]:
        connection = self.database.connect()
        try:
            found = (gate or self.gate).admitted(connection, [("main", "p1")], function)
            return {spot.name for spot in found["main", "p1"]}
        finally:
            connection.close()

    def consents(self, version: int, **more: Any) -> None:
        resource = json.dumps(a_consent(version, **more)).encode()
        with writing(self.database) as statements:
            add_consent(statements, "main", "p1", version, resource, by="test", at_ns=1)

    def placed(self) -> list[tuple[str, str, str]]:
        return [
            (one.region, one.verdict, one.rule) for one in entries(self.database) if isinstance(one, Placed)
        ]


@pytest.fixture
def gate(database: Database, tmp_path: Path) -> Gate:
    return Gate(database, tmp_path / "policy.toml")


def test_each_process_sees_a_change_with_its_next_question_and_enters_it_once(gate: Gate) -> None:
    with_a_ledger(gate.database)
    other = gate.another()
    assert gate.admits() == gate.admits(other) == {"ward"}
    gate.consents(1)
    assert gate.admits() == gate.admits(other) == gate.admits() == {"ward", "far"}
    gate.consents(2, status="inactive")
    assert gate.admits(other) == gate.admits() == gate.admits(other) == {"ward"}
    assert [one for one in gate.placed() if one[0] == "far"] == [
        ("far", "deny", "no-consent:far"),
        ("far", "permit", "far"),
        ("far", "deny", "consent-over:far"),
    ]
    assert sum(isinstance(one, PolicyChanged) for one in entries(gate.database)) == 1
    gate.path.write_text(POLICY.replace("version = 1", "version = 2"))
    assert gate.admits() == {"ward"}
    versions = [one.version for one in entries(gate.database) if isinstance(one, PolicyChanged)]
    assert versions == [1, 2]


@pytest.mark.parametrize("break_it", [Path.unlink, lambda path: path.write_bytes(b"\xff = 1")])
def test_a_policy_that_cannot_be_read_permits_nothing(gate: Gate, break_it: Callable[[Path], object]) -> None:
    assert gate.admits() == {"ward"}
    break_it(gate.path)
    assert gate.admits() == set()
    gate.path.write_text(POLICY)
    assert gate.admits() == {"ward"}


def test_a_consent_that_cannot_be_read_is_none_at_all(gate: Gate) -> None:
    with writing(gate.database) as statements:
        add_consent(statements, "main", "p1", 1, b"{}", by="test", at_ns=1)
    assert gate.admits() == set(), "not even where no consent is asked for"


def test_what_cannot_be_entered_does_not_go(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    with_a_ledger(gate.database)
    with monkeypatch.context() as without_the_extra:
        without_the_extra.setattr(data_gate, "ledgers_here", lambda: None)
        assert gate.admits() == set()
    assert gate.admits() == {"ward"}
    with writing(gate.database) as statements:
        statements.run("UPDATE ledgers SET size = size - 1")
    gate.regions = (WARD,)
    gate.path.write_text(POLICY.replace("version = 1", "version = 2"))
    assert gate.admits() == set()


def test_a_function_is_given_no_samples_where_it_takes_features(gate: Gate) -> None:
    gate.consents(1)
    assert gate.admits(function="preprocessing+beatDetectionClassification") == {"ward", "far"}
    assert gate.admits(function="finalization") == set(), "its call would hold samples"
    assert gate.admits(function="nobody-knows") == set()


def test_a_region_that_was_moved_or_has_other_labels_is_another_one(gate: Gate) -> None:
    gate.consents(1)
    assert gate.admits() == {"ward", "far"}
    gate.regions = (WARD, Region(name="far", kind="http", address="http://127.0.0.1:9", labels=("us",)))
    assert gate.admits() == {"ward"}


def test_a_consent_holds_until_it_ends(gate: Gate) -> None:
    gate.consents(1, provision={"period": {"end": "2026-11-26T09:00:00Z"}})
    assert gate.admits() == {"ward"}
