"""`einthoven grants`, against a real service whose organisation shows patients to whom somebody let."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from einthoven.cli import run as whole
from einthoven.cli.grants import command
from einthoven.errors import (
    AccessDenied,
    Conflict,
    EinthovenError,
    InputInvalid,
    NotFound,
)
from einthoven.server.settings import Settings
from einthoven.storage import Database
from einthoven.testing.serving import Served, a_segment, serving

pytest.importorskip("cryptography")

As = Callable[..., Result]


@pytest.fixture
def served(database: Database, tmp_path: Path) -> Iterator[Served]:
    with serving(database, settings=Settings(data_folder=str(tmp_path))) as running:
        changed = running.person("admin").patch(
            "/v1/organisations/main", json={"access": "granted", "reason": "legal-duty"}
        )
        assert changed.status_code == 200
        assert running.device("p1").post("/v1/segments", json=a_segment(0, seconds=2.0)).status_code == 200
        yield running


@pytest.fixture
def as_(served: Served, tmp_path: Path) -> As:
    """Run a command as somebody of a role."""

    def run(client: httpx.Client, *words: str, code: int = 0) -> Result:
        file = tmp_path / "token"
        file.write_text(str(client.headers["Authorization"]).removeprefix("Bearer ") + "\n")
        more = ["--to", served.url, "--token-file", str(file)]
        done = CliRunner().invoke(command, [*words, *more])
        if isinstance(done.exception, EinthovenError):
            raise done.exception
        assert done.exit_code == code, done.output
        return done

    return run


def status(client: httpx.Client) -> int:
    return client.get("/v1/patients/p1/summary").status_code


def test_a_patient_lets_somebody_see_and_takes_it_back(served: Served, as_: As) -> None:
    patient, clinician = served.person("patient"), served.person("clinician")
    assert status(clinician) == 403
    assert as_(patient, "list", "p1").output == "None.\n"
    words = ["p1", "--account", "clinician", "--data", "findings", "--data", "alerts"]
    given = as_(patient, "give", *words, "--reason", "treatment", "--case", "C-1", "--json")
    grant = json.loads(given.stdout)
    assert (grant["account"], grant["data"], grant["case"]) == ("clinician", ["findings", "alerts"], "C-1")
    assert status(clinician) == 200
    shown = as_(patient, "list", "p1").output
    assert grant["id"] in shown
    assert "findings alerts" in shown
    assert [one["id"] for one in json.loads(as_(clinician, "list", "p1", "--json").stdout)] == [grant["id"]]
    ended = as_(patient, "end", "p1", grant["id"], "--reason", "patient-request").output
    assert ended == f"{grant['id']}: clinician, findings alerts, over.\n"
    assert status(clinician) == 403
    assert json.loads(as_(patient, "list", "p1", "--json").stdout) == []
    (past,) = json.loads(as_(patient, "list", "p1", "--all", "--json").stdout)
    assert (past["id"], past["isInForce"]) == (grant["id"], False)


def test_an_administrator_assigns_a_role_to_the_care_team_for_a_time(served: Served, as_: As) -> None:
    words = ["give", "p1", "--role", "clinician", "--data", "findings", "--reason", "treatment"]
    until = "2099-01-01T08:00:00Z"
    said = as_(served.person("admin"), *words, "--care-team", "--until", until).output
    assert "every clinician, findings, until 2099-01-01T08:00:00" in said
    assert status(served.person("clinician")) == 200
    with pytest.raises(AccessDenied, match="administrators assign"):
        as_(served.person("patient"), *words, "--care-team")


def test_all_pages_are_listed(served: Served, as_: As) -> None:
    admin = served.person("admin")
    body = {"role": "auditor", "data": ["findings"], "reason": "quality-review"}
    made = [admin.post("/v1/patients/p1/grants", json=body).json()["id"] for _ in range(103)]
    assert [one["id"] for one in json.loads(as_(admin, "list", "p1", "--json").stdout)] == made


def test_a_clinician_breaks_the_glass_with_words_that_administrators_read(served: Served, as_: As) -> None:
    clinician = served.person("clinician")
    broken = as_(clinician, "break-glass", "p1", "--reason", "emergency", "--why", "unconscious").output
    assert "findings segments alerts recordings, until 20" in broken
    assert status(clinician) == 200
    (seen,) = json.loads(as_(served.person("admin"), "list", "p1", "--json").stdout)
    assert (seen["basis"], seen["why"]) == ("emergency", "unconscious")
    with pytest.raises(AccessDenied):
        as_(served.person("patient"), "end", "p1", seen["id"], "--reason", "patient-request")
    as_(served.person("admin"), "end", "p1", seen["id"], "--reason", "correction")
    assert status(clinician) == 403


def test_what_cannot_be_is_said_by_its_kind(served: Served, as_: As) -> None:
    admin = served.person("admin")
    who = ["--account", "nobody", "--data", "findings", "--reason", "treatment"]
    with pytest.raises(NotFound, match="nobody of this name"):
        as_(admin, "give", "p1", *who)
    with pytest.raises(InputInvalid, match="no pseudonym"):
        as_(admin, "give", "Jane Doe", *who)
    with pytest.raises(InputInvalid, match="no grant"):
        as_(admin, "end", "p1", "../consent", "--reason", "treatment")
    with pytest.raises(InputInvalid):
        as_(admin, "give", "p1", *who, "--until", "tomorrow")
    assert "one of --account and --role" in as_(admin, "give", "p1", *who[2:], code=2).output
    assert (
        "one of --account and --role" in as_(admin, "give", "p1", *who, "--role", "clinician", code=2).output
    )
    opened = admin.patch("/v1/organisations/main", json={"access": "open", "reason": "legal-duty"})
    assert opened.status_code == 200
    with pytest.raises(Conflict):
        as_(served.person("clinician"), "break-glass", "p1", "--reason", "emergency", "--why", "x")


def test_a_service_that_is_away_is_told_from_a_refusal_by_the_exit_code(
    served: Served, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    token = str(served.person("clinician").headers["Authorization"]).removeprefix("Bearer ")
    monkeypatch.setenv("EINTHOVEN_TOKEN", token)
    words = ["grants", "break-glass", "p2", "--reason", "emergency", "--why", "x", "--to"]
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        assert whole([*words, f"http://127.0.0.1:{nobody.getsockname()[1]}"]) == 3
    assert "it may have done it" in capfd.readouterr().err
    give = ["grants", "give", "p1", "--role", "clinician", "--data", "findings", "--reason", "treatment"]
    assert whole([*give, "--to", served.url]) == 2
    assert token not in capfd.readouterr().err
