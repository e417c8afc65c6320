"""What was found of a patient, asked as FHIR: searchsets, lines, and nothing for those who may not."""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import msgspec
import pytest

from einthoven.errors import DefectError
from einthoven.fhir import capability_of
from einthoven.server.roles import ROUTES
from einthoven.server.settings import Settings
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.storage import Database
from einthoven.testing.serving import Served, serving
from einthoven.testing.views import segments_of_source

START_NS = 1_700_000_000 * 10**9
SPAN = {"from": "2023-11-14T22:00:00Z", "until": "2023-11-14T23:00:00Z"}
NOWHERE = {"from": "2001-01-01T00:00:00Z", "until": "2001-01-02T00:00:00Z"}
KINDS = ("Observation", "DiagnosticReport", "$export")


@pytest.fixture
def asked(database: Database, tmp_path: Path) -> Iterator[Served]:
    """A service to which a device sent five minutes with atrial fibrillation."""
    with serving(database, settings=Settings(data_folder=str(tmp_path))) as running:
        device = running.device("p1", device="chest")
        for one in segments_of_source(
            VirtualPatient(3, SCENES["atrial_fibrillation"], duration_s=300.0), START_NS
        ):
            lead = one.recording.info.leads[0]
            body = {
                "sequence": one.sequence,
                "startTime": one.start_ns,
                "gain": lead.gain,
                "samples": one.recording.counts[0].astype("<i2").tobytes(),
            }
            answer = device.post(
                "/v1/segments",
                content=msgspec.msgpack.encode(body),
                headers={"Content-Type": "application/msgpack"},
            )
            assert answer.status_code == 200, answer.text
        yield running


def asks(client: httpx.Client, route: str, patient: str = "p1", **span: str) -> httpx.Response:
    return client.get(f"/v1/fhir/Patient/{patient}/{route}", params=span or SPAN)


def resources(answer: httpx.Response, mode: str = "match") -> list[dict[str, Any]]:
    entries = answer.json()["entry"]
    return [entry["resource"] for entry in entries if entry["search"]["mode"] == mode]


def test_observations_are_the_views_in_other_words(asked: Served) -> None:
    clinician = asked.person("clinician")
    answer = asks(clinician, "Observation")
    assert answer.headers["content-type"] == "application/fhir+json"
    by_text: dict[str, list[dict[str, Any]]] = {}
    for one in resources(answer):
        by_text.setdefault(one["code"]["text"], []).append(one)
    summary = clinician.get("/v1/patients/p1/summary", params=SPAN).json()
    episodes = clinician.get("/v1/patients/p1/episodes", params=SPAN).json()["items"]
    (rate,), (beats,) = by_text["Heart rate"], by_text["Beats"]
    assert rate["valueQuantity"]["value"] == summary["heartRate"]["mean"][0]
    assert beats["valueInteger"] == sum(row[0] for row in summary["beats"].values())
    assert len(by_text["Rhythm"]) == len([one for one in episodes if one["priority"] != "technical"])
    (first, *_) = by_text["Rhythm"]
    assert first["valueCodeableConcept"]["coding"][0]["code"] == "147720"
    assert {one["resourceType"] for one in resources(answer, "include")} == {"Patient", "Device"}


def test_the_models_take_the_answers_and_every_reference_is_in_them(asked: Served) -> None:
    model = importlib.import_module("fhir.resources.R4B.bundle").Bundle
    for route in ("Observation", "DiagnosticReport"):
        answer = asks(asked.person("clinician"), route)
        model.model_validate_json(answer.text)
        urls = {entry["fullUrl"] for entry in answer.json()["entry"]}
        assert len(urls) == len(answer.json()["entry"])
        referred = [part.split('"')[0] for part in answer.text.split('"reference":"')[1:]]
        assert referred
        assert set(referred) <= urls
    (report,) = resources(answer)
    assert report["status"] == "preliminary"
    assert report["result"]


def test_the_statement_is_of_the_routes_that_there_are_and_of_no_others(sqlite_served: Served) -> None:
    """The routes are made anew of what it says, and are those of the table; so are their parameters."""
    answer = httpx.get(f"{sqlite_served.url}/v1/fhir/metadata")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/fhir+json"
    model = importlib.import_module("fhir.resources.R4B.capabilitystatement").CapabilityStatement
    model.model_validate_json(answer.text)
    said = answer.json()
    assert (said["kind"], said["fhirVersion"], said["software"]["name"]) == ("instance", "4.0.1", "Einthoven")
    (rest,) = said["rest"]
    routes = {"/v1/fhir/metadata": set()}
    for resource in rest["resource"]:
        for operation in resource.get("operation", []):
            routes[f"/v1/fhir/Patient/{{patient}}/${operation['name']}"] = {"from", "until"}
        if resource["type"] != "Patient":
            path = f"/v1/fhir/Patient/{{patient}}/{resource['type']}"
            routes[path] = {one["name"] for one in resource["searchParam"]}
        assert "interaction" not in resource, "nothing is read by its id, nothing is searched for everywhere"
    assert routes.keys() == {path for _, path in ROUTES if path.startswith("/v1/fhir/")}
    assert {method for method, path in ROUTES if path.startswith("/v1/fhir/")} == {"GET"}
    paths = sqlite_served.person("clinician").get("/schema/openapi.json").json()["paths"]
    for path, parameters in routes.items():
        known = {one["name"] for one in paths[path]["get"].get("parameters", []) if one["in"] == "query"}
        assert known == parameters, path


def test_a_route_that_nobody_wrote_down_is_a_defect() -> None:
    for route in ("Observation", "Patient/{patient}/Observation/{id}", "Patient/{patient}"):
        with pytest.raises(DefectError):
            capability_of([route], START_NS)


def test_an_export_has_a_resource_a_line(asked: Served) -> None:
    answer = asks(asked.person("clinician"), "$export")
    assert answer.headers["content-type"].startswith("application/fhir+ndjson")
    kinds = [json.loads(line)["resourceType"] for line in answer.text.splitlines()]
    assert {"Patient", "Device", "Observation", "DiagnosticReport"} == set(kinds)


def test_who_may_not_sees_nothing(asked: Served) -> None:
    patient, stranger = asked.person("patient", patient="p1"), asked.person("clinician", org="elsewhere")
    for route in KINDS:
        assert asks(patient, route).status_code == 200
        assert asks(patient, route, "p2").status_code == 403
        assert asks(asked.person("technician"), route).status_code == 403
        assert "Rhythm" not in asks(stranger, route).text


def test_of_a_span_without_anything_there_is_no_rate(asked: Served) -> None:
    answer = asks(asked.person("clinician"), "Observation", **NOWHERE)
    assert answer.json()["total"] == 0
    assert resources(answer) == []
    (report,) = resources(asks(asked.person("clinician"), "DiagnosticReport", **NOWHERE))
    assert "result" not in report


def test_the_link_to_itself_asks_the_same_again(asked: Served) -> None:
    clinician = asked.person("clinician")
    for span in (SPAN, {}):
        answer = clinician.get("/v1/fhir/Patient/p1/Observation", params=span)
        (link,) = answer.json()["link"]
        query = dict(parse_qsl(urlsplit(link["url"]).query))
        assert set(query) == {"from", "until"}
        assert span.items() <= query.items()
        again = clinician.get(link["url"]).json()
        assert again["link"] == [link]
        assert [entry["resource"]["id"] for entry in again["entry"]] == [
            entry["resource"]["id"] for entry in answer.json()["entry"]
        ]


def test_what_is_wrong_with_a_question_is_told(sqlite_served: Served) -> None:
    answer = asks(sqlite_served.person("clinician"), "Observation", **{**SPAN, "from": "yesterday"})
    assert answer.status_code == 400
    assert answer.json()["where"] == "from"
