"""The ledger as FHIR AuditEvents: valid, complete, provable, and telling nobody what was found."""

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any, get_args

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.runtime import ledgers
from einthoven.server.settings import Settings
from einthoven.storage import open_database
from einthoven.storage.ledgers import entries_between
from einthoven.testing.serving import Served, serving
from einthoven.trust.audit_events import EVENT_TYPES, audit_event, event_type
from einthoven.trust.entries import (
    ENTRY_KINDS,
    Accessed,
    AlertStepped,
    ConsentChanged,
    Entry,
    GrantChanged,
    read_entry,
    write_entry,
)
from einthoven.trust.notes import SigningKey

pytest.importorskip("cryptography")
BUNDLE = "/v1/audit-events"
SEEN = Accessed(
    at_ns=1_800_000_000 * 10**9,
    patient="p1",
    by="bea",
    role="clinician",
    what="/v1/patients/patient/beats",
    purpose="treatment",
    verdict="permit",
)
STEPPED = AlertStepped(
    at_ns=1_800_000_001 * 10**9,
    patient="p1",
    alert="alt_0",
    condition="asystole",
    event="began",
    state="active",
)


def valid(event: dict[str, Any]) -> None:
    """As a library of others reads FHIR R4B, which in this resource is R4."""
    from fhir.resources.R4B.auditevent import AuditEvent  # noqa: PLC0415 - takes seconds

    AuditEvent.model_validate_json(json.dumps(event))


def details(event: dict[str, Any]) -> dict[str, str]:
    return {
        one["type"]: one.get("valueString") or one["valueBase64Binary"]
        for one in event["entity"][-1]["detail"]
    }


def proven(event: dict[str, Any]) -> bytes:
    """The line of the entry that the event says it stands for, if that is its leaf."""
    said = details(event)
    line = said["line"].encode()
    assert base64.b64decode(said["leaf"]) == hashlib.sha256(b"\0" + line).digest()
    return line


def entries() -> st.SearchStrategy[Entry]:
    """One of every kind, whatever is in it."""
    words = st.from_regex(r"[A-Za-z0-9._:/+=-]{0,20}", fullmatch=True)
    pseudonyms = st.sampled_from(["", "p1", "p2"])
    digests = st.binary(max_size=8).map(bytes.hex)

    def field(name: str, kind: Any) -> st.SearchStrategy[Any]:
        if name in ("patient", "pseudonym"):
            return pseudonyms
        if name in ("digest", "root"):
            return digests
        if kind is bool:
            return st.booleans()
        if kind is int:
            return st.integers(0, 2**61)
        if kind is str:
            return words
        choices = [one for part in (get_args(kind) or (kind,)) for one in (get_args(part) or (part,))]
        return st.sampled_from(choices)

    def kind_of(kind: type[Entry]) -> st.SearchStrategy[Entry]:
        from typing import get_type_hints  # noqa: PLC0415

        hints = get_type_hints(kind)
        return st.builds(kind, **{name: field(name, hints[name]) for name in kind.__struct_fields__})

    return st.one_of([kind_of(kind) for kind in ENTRY_KINDS.values()])


@given(entries(), st.integers(0, 2**40))
def test_every_entry_is_a_valid_event_that_names_its_leaf(entry: Entry, number: int) -> None:
    line = write_entry(entry)
    event = audit_event(line, number, org="main", origin="clinic.example/ledger")
    valid(event)
    assert details(event)["number"] == str(number)
    assert event_type(entry) in EVENT_TYPES
    if isinstance(entry, AlertStepped):
        assert "line" not in details(event)
    else:
        assert read_entry(proven(event)) == entry


def test_what_was_found_is_in_no_event() -> None:
    event = audit_event(write_entry(STEPPED), 3, org="main", origin="clinic.example/ledger")
    assert "asystole" not in json.dumps(event)
    leaf = hashlib.sha256(b"\0" + write_entry(STEPPED)).digest()
    assert base64.b64decode(details(event)["leaf"]) == leaf


def test_the_codes_are_those_of_the_standards() -> None:
    broken = audit_event(
        write_entry(Accessed(**{**fields(SEEN), "is_emergency": True, "reason": "emergency"})),
        1,
        org="main",
        origin="o",
    )
    assert broken["type"] == {
        "system": "http://terminology.hl7.org/CodeSystem/audit-event-type",
        "code": "rest",
        "display": "RESTful Operation",
    }
    assert [one["code"] for one in broken["subtype"]] == ["read"]
    assert broken["purposeOfEvent"][0]["coding"][0] == {
        "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason",
        "code": "BTG",
    }
    assert (broken["action"], broken["outcome"], broken["agent"][0]["requestor"]) == ("R", "0", True)
    assert broken["entity"][0]["role"]["code"] == "1"
    listed = Accessed(**{**fields(SEEN), "what": "/v1/alerts", "patient": "", "verdict": "deny"})
    event = audit_event(write_entry(listed), 1, org="main", origin="o")
    assert (event["type"]["code"], event["outcome"]) == ("110112", "8")
    glass = GrantChanged(
        at_ns=1,
        patient="p1",
        change="given",
        grant="grt_0",
        account="bea",
        role="",
        data="findings",
        until_ns=2,
        basis="emergency",
        by="bea",
        by_role="clinician",
        reason="emergency",
    )
    event = audit_event(write_entry(glass), 1, org="main", origin="o")
    assert (event["type"]["code"], event["subtype"][0]["code"]) == ("110113", "110127")


def fields(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in entry.__struct_fields__}


CONSENT = ConsentChanged(
    at_ns=1_800_086_400 * 10**9, patient="p2", change="given", consent="c", version=1, digest="00", by="ann"
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with a ledger of some entries."""
    folder = tmp_path_factory.mktemp("audit")
    database = open_database(str(folder / "einthoven.db"))
    database.migrate()
    with serving(database, settings=Settings(data_folder=str(folder))) as served:
        served.person("admin")
        with served.writing() as statements:
            ledgers.create(
                statements, "main", SigningKey.made("clinic.example/ledger"), by="test", now_ns=10**18
            )
            for one in (SEEN, STEPPED, CONSENT):
                ledgers.append(statements, "main", [one])
            ledgers.append(statements, "main", [SEEN] * 20)
        yield served


def asked(client: httpx.Client, query: str = "") -> list[dict[str, Any]]:
    """Events of all pages."""
    found: list[dict[str, Any]] = []
    url = f"{BUNDLE}?{query}"
    while url:
        answer = client.get(url)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("application/fhir+json")
        page = answer.json()
        assert (page["resourceType"], page["type"]) == ("Bundle", "searchset")
        found += [one["resource"] for one in page.get("entry", ())]
        url = {one["relation"]: one["url"] for one in page["link"]}.get("next", "")
    return found


def numbers(events: list[dict[str, Any]]) -> list[int]:
    return [int(details(one)["number"]) for one in events]


def test_an_auditor_reads_the_ledger_in_pages_and_that_is_an_event(kept: Served) -> None:
    auditor = kept.person("auditor")
    page = auditor.get(f"{BUNDLE}?limit=7").json()
    from fhir.resources.R4B.bundle import Bundle  # noqa: PLC0415 - takes seconds

    Bundle.model_validate_json(json.dumps(page))
    ones = asked(auditor, "limit=1")
    assert numbers(ones) == list(range(len(ones))), "reading it a page at a time comes to an end"
    events = asked(auditor, "limit=7")
    assert numbers(events) == list(range(len(events)))
    assert len(events) >= 24
    with kept.writing() as statements:
        lines = list(entries_between(statements, "main", 0, len(events)))
    assert [proven(one) for one in events if "line" in details(one)] == [
        one for one in lines if b"alert-stepped" not in one
    ]
    used = [one for one in events if one["type"]["code"] == "110101"]
    assert {one["agent"][0]["altId"] for one in used} == {"auditor"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("agent=ann", [3]),
        ("patient=p2", [3]),
        ("type=110110&patient=p1", [2]),
        ("type=http://dicom.nema.org/resources/ontology/DCM|110110", [2, 3]),
        ("type=http://example.org|110110", []),
        ("date=2027-01-16", [3]),
        ("date=ge2027-01-15T08:00:01Z&date=lt2027-01-16", [2]),
        ("date=gt2027-01-15&date=le2027-01-16", [3]),
        ("date=2027-01-15T08:00:01.000Z", [2]),
        ("date=eq2027-01-15T08:00Z&type=110110", [2]),
        ("patient=nobody", []),
    ],
)
def test_events_are_found_by_whom_about_whom_when_and_what(kept: Served, query: str, expected) -> None:
    events = [one for one in asked(kept.person("admin"), query) if one["type"]["code"] != "110101"]
    assert numbers(events) == expected


@pytest.mark.parametrize(
    "query",
    [
        "date=2027-13-01",
        "date=",
        "date=ge",
        "date=yesterday",
        "patient=a/b",
        "limit=0",
        "kind=x",
        "date=2027-01-15T25:00Z",
    ],
)
def test_what_is_no_filter_is_refused(kept: Served, query: str) -> None:
    assert kept.person("admin").get(f"{BUNDLE}?{query}").status_code == 400


def test_a_patient_reads_what_was_done_to_their_own(kept: Served) -> None:
    own = kept.person("patient", patient="p2")
    events = asked(own)
    assert numbers(events)[0] == 3
    assert {one["entity"][0]["what"]["identifier"]["value"] for one in events} == {"p2"}
    assert own.get(f"{BUNDLE}?patient=p1").status_code == 403
    assert kept.person("clinician").get(BUNDLE).status_code == 403


def test_without_a_ledger_there_are_no_events(kept: Served) -> None:
    assert asked(kept.person("auditor", "elsewhere")) == []
