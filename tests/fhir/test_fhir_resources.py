"""An export as others read it: by the models of fhir.resources, and by rules that these do not know."""

import base64
import importlib
import json
import re
from datetime import datetime

import numpy as np
import pytest

from einthoven.fhir import Export, bundle_of, ndjson_of, read_sampled_data, resources_of
from einthoven.fhir.exporting import report
from einthoven.fhir.subjects import About
from einthoven.runtime.batch import analyse_source
from einthoven.signal.recording import RecordingSource
from einthoven.simulation import SCENES, VirtualPatient

START_NS = 1_795_600_800_123_456_789
ID = re.compile(r"[A-Za-z0-9.-]{1,64}")


def exported(scene: str = "vt_to_vf", duration_s: float = 180, **changes) -> tuple[list, RecordingSource]:
    source = VirtualPatient(seed=4, scene=SCENES[scene], fs=250, duration_s=duration_s)
    findings = analyse_source(source)
    about = About(
        patient="p-7", device="holter_1", recording="r1",
        **{name: changes.pop(name) for name in ("is_test", "with_snomed") if name in changes},
    )  # fmt: skip
    changes = {"start_ns": START_NS, **changes}
    export = Export(about=about, fs=250.0, issued_ns=START_NS + 10**12, **changes)
    return resources_of(export, findings, source), source


@pytest.fixture(scope="module")
def resources() -> list[dict]:
    return exported()[0]


def of(resources: list[dict], kind: str) -> list[dict]:
    return [one for one in resources if one["resourceType"] == kind]


def every(value: object, key: str) -> list:
    """All values of one key, wherever it stands."""
    if isinstance(value, dict):
        return [inner for name, inner in value.items() if name == key] + [
            found for inner in value.values() for found in every(inner, key)
        ]
    return [found for inner in value for found in every(inner, key)] if isinstance(value, list) else []


def empties(value: object) -> list:
    """FHIR has no empty objects, lists or texts, and no null."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return ([value] if value in ({}, [], "", None) else []) + [x for one in inner for x in empties(one)]


def test_the_models_of_fhir_resources_take_every_resource(resources: list[dict]) -> None:
    """R4B, which for these resources has what R4 has; a pass is needed and is no proof."""
    for one in [*resources, bundle_of(resources, START_NS)]:
        kind = one["resourceType"]
        model = getattr(importlib.import_module(f"fhir.resources.R4B.{kind.lower()}"), kind)
        model.model_validate_json(json.dumps(one))


def test_the_bundle_is_whole_and_refers_to_nothing_else(resources: list[dict]) -> None:
    bundle = bundle_of(resources, START_NS)
    urls = [entry["fullUrl"] for entry in bundle["entry"]]
    assert len(set(urls)) == len(urls)
    assert set(every(bundle, "reference")) <= set(urls)
    assert not empties(bundle)
    assert all(ID.fullmatch(one["id"]) for one in resources)
    assert {"Patient", "Device", "Observation", "DiagnosticReport", "Provenance"} == {
        one["resourceType"] for one in resources
    }


def test_a_report_of_nothing_has_no_list_of_results() -> None:
    about = About(patient="p-7", device="", recording="r1")
    found = report(about, [], (START_NS, START_NS + 10**9), START_NS + 10**10)
    assert not empties(found)
    model = importlib.import_module("fhir.resources.R4B.diagnosticreport").DiagnosticReport
    model.model_validate_json(json.dumps(found))


def test_another_start_is_another_provenance(resources: list[dict]) -> None:
    """Of the same file, whose clock was found to be wrong: no resource of the one is one of the other."""
    later, _ = exported(start_ns=START_NS + 10**9)
    kept = {"Patient", "Device"}
    ids = [{one["id"] for one in some if one["resourceType"] not in kept} for some in (resources, later)]
    assert not ids[0] & ids[1]


def test_lines_for_bulk_export_refer_by_kind_and_id(resources: list[dict]) -> None:
    lines = [json.loads(line) for line in ndjson_of(resources).splitlines()]
    names = {f"{one['resourceType']}/{one['id']}" for one in lines}
    assert set(every(lines, "reference")) <= names


def test_the_same_export_has_the_same_ids(resources: list[dict]) -> None:
    assert [one["id"] for one in exported()[0]] == [one["id"] for one in resources]


def test_an_urgent_rhythm_has_a_strip_that_decodes_to_what_was_recorded() -> None:
    resources, source = exported()
    urgent = [
        one
        for one in of(resources, "Observation")
        if {"code": {"text": "Priority"}, "valueString": "high"} in one.get("component", [])
    ]
    assert urgent
    strips = {f"Observation/{one['id']}": one for one in of(resources, "Observation")}
    for one in urgent:
        assert "coding" in one["code"]
        strip = strips[one["derivedFrom"][0]["reference"]]
        assert strip["code"]["coding"][0]["code"] == "131328"
        (component,) = strip["component"]
        assert component["code"] == {"text": "Lead MLII"}, "there is no code for a modified lead"
        decoded_mv, fs = read_sampled_data(component["valueSampledData"])
        assert (fs, decoded_mv.size) == (250.0, 2500)
        first = round((seconds_of(strip["effectivePeriod"]["start"]) - START_NS / 1e9) * 250)
        lead = source.info.leads[0]
        counts = source.read(first, first + 2500)[0]
        np.testing.assert_allclose(decoded_mv, (counts - lead.baseline) / lead.gain, atol=0.5 / lead.gain)


def seconds_of(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()


def test_a_short_recording_is_in_it_whole() -> None:
    resources, source = exported("healthy", 30)
    (strip,) = [one for one in of(resources, "Observation") if one["code"]["text"] == "ECG"]
    decoded_mv, _ = read_sampled_data(strip["component"][0]["valueSampledData"])
    assert decoded_mv.size == source.info.samples
    assert strip["effectivePeriod"] == {
        "start": "2026-11-25T10:00:00.123456Z",
        "end": "2026-11-25T10:00:30.123456Z",
    }


def test_the_heart_rate_is_a_vital_sign_with_its_code_and_unit(resources: list[dict]) -> None:
    (rate,) = [one for one in of(resources, "Observation") if one["code"]["text"] == "Heart rate"]
    assert rate["category"][0]["coding"][0]["code"] == "vital-signs"
    assert [one["code"] for one in rate["code"]["coding"]] == ["8867-4", "147842"]
    assert rate["valueQuantity"]["code"] == "/min"
    assert 30 < rate["valueQuantity"]["value"] < 250
    assert "effectivePeriod" in rate


def test_a_rate_of_nothing_is_absent_and_not_nought() -> None:
    resources, _ = exported("asystole", 12)
    rate = next(one for one in of(resources, "Observation") if one["code"]["text"] == "Heart rate")
    assert ("valueQuantity" in rate) != ("dataAbsentReason" in rate)


def test_everything_is_preliminary_and_says_that_it_is_no_medical_device(resources: list[dict]) -> None:
    assert {one["status"] for one in resources if "status" in one} == {"preliminary"}
    assert "Not a medical device" in of(resources, "DiagnosticReport")[0]["conclusion"]


def test_a_demonstration_is_labelled_in_every_resource(resources: list[dict]) -> None:
    assert not every(resources, "security")
    labelled, _ = exported(duration_s=20, is_test=True)
    assert all(one["meta"]["security"][0]["code"] == "HTEST" for one in labelled)


def test_snomed_is_left_out_when_asked() -> None:
    assert "http://snomed.info/sct" in every(exported("asystole", 60)[0], "system")
    assert "http://snomed.info/sct" not in every(exported("asystole", 60, with_snomed=False)[0], "system")


def test_the_report_carries_the_pdf_and_the_files_are_named_by_digest() -> None:
    resources, _ = exported(duration_s=20, pdf=b"%PDF-1.7 x", sha256=("ab" * 32,))
    (report,) = of(resources, "DiagnosticReport")
    assert base64.b64decode(report["presentedForm"][0]["data"]) == b"%PDF-1.7 x"
    (provenance,) = of(resources, "Provenance")
    assert provenance["entity"][0]["what"]["identifier"]["value"] == "ab" * 32
    versions = {
        one["type"]["text"] for device in of(resources, "Device") for one in device.get("version", [])
    }
    assert versions >= {"package", "preprocessing", "bdc"}
