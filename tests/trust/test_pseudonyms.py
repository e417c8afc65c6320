"""Who it is stays where the secret is; what leaves says only what somebody said it may."""

import base64
import json
import string
from datetime import date
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.errors import InputInvalid, NotFound
from einthoven.names import is_pseudonym
from einthoven.trust import write_entry
from einthoven.trust.anonymity import anonymity
from einthoven.trust.deidentification import CLASSES, RESEARCH, SAFE_HARBOR, Profile, deidentified
from einthoven.trust.pseudonyms import DAY_NS, PseudonymKey, epoch_of, reidentify

SECRET = bytes(range(32))
RESEARCH_KEY = PseudonymKey.of(SECRET, "main", "research", 1)
IDENTIFIERS = st.text(max_size=40)


def test_a_pseudonym_is_the_same_in_every_version_of_this_program() -> None:
    """Or nobody would find whose an old one is."""
    assert RESEARCH_KEY.pseudonym("MRN-0017") == "p1-tulsgkhf5szdu2jr6my2krzkeu"
    assert RESEARCH_KEY.pseudonym("MRN-0017", "device") == "d1-yn7xgpfdnb6emyin5upuymvzoe"
    assert RESEARCH_KEY.shift_ns("MRN-0017", 365) == -109 * DAY_NS


@given(IDENTIFIERS, IDENTIFIERS)
def test_different_patients_purposes_epochs_and_sites_have_nothing_in_common(one: str, other: str) -> None:
    keys = [
        RESEARCH_KEY,
        PseudonymKey.of(SECRET, "main", "research", 2),
        PseudonymKey.of(SECRET, "main", "quality", 1),
        PseudonymKey.of(SECRET, "ward", "research", 1),
        PseudonymKey.of(SECRET[::-1], "main", "research", 1),
    ]
    names = [key.pseudonym(who)[3:] for key in keys for who in {one, other}]
    assert len(set(names)) == len(names)
    assert all(is_pseudonym(key.pseudonym(one)) for key in keys)
    assert RESEARCH_KEY.pseudonym(one) == PseudonymKey.of(SECRET, "main", "research", 1).pseudonym(one)
    assert RESEARCH_KEY.pseudonym(one)[3:] != RESEARCH_KEY.pseudonym(one, "device")[3:]


@given(IDENTIFIERS, st.integers(1, 3650), st.integers(-(2**60), 2**60))
def test_what_lies_between_two_times_of_a_patient_stays(who: str, most: int, at_ns: int) -> None:
    shift_ns = RESEARCH_KEY.shift_ns(who, most)
    assert shift_ns % DAY_NS == 0
    assert -most * DAY_NS <= shift_ns <= -DAY_NS
    row = {"who": who or "x", "from": at_ns, "until": at_ns + 12_345}
    fields = {"who": "patient", "from": "instant-ns", "until": "instant-ns"}
    left = deidentified(row, fields, RESEARCH, RESEARCH_KEY, now_year=2026)
    assert left["until"] - left["from"] == 12_345
    assert left["from"] < at_ns


def test_with_the_secret_and_a_reason_it_is_found_whose_it_is_and_the_ledger_says_so() -> None:
    patients = [f"MRN-{number}" for number in range(50)]
    shown = RESEARCH_KEY.pseudonym("MRN-17")
    facts = {"by": "ann", "reason": "research-recall", "at_ns": 5, "case": "IRB-12"}
    who, entry = reidentify(RESEARCH_KEY, shown, patients, **facts)
    assert who == "MRN-17"
    assert (entry.pseudonym, entry.by, entry.reason, entry.case) == (
        shown,
        "ann",
        "research-recall",
        "IRB-12",
    )
    assert b"MRN-17" not in write_entry(entry)
    device = RESEARCH_KEY.pseudonym("SN-3", "device")
    assert reidentify(RESEARCH_KEY, device, ["SN-1", "SN-3"], **facts)[0] == "SN-3"
    with pytest.raises(NotFound, match="nobody here"):
        reidentify(RESEARCH_KEY, shown, patients[:17], **facts)
    with pytest.raises(NotFound):
        reidentify(PseudonymKey.of(SECRET[::-1], "main", "research", 1), shown, patients, **facts)
    with pytest.raises(InputInvalid, match="epoch 1, the key of epoch 2"):
        reidentify(PseudonymKey.of(SECRET, "main", "research", 2), shown, patients, **facts)
    with pytest.raises(InputInvalid, match="no names"):
        reidentify(RESEARCH_KEY, shown, patients, **{**facts, "case": "her sister asked"})
    for wrong in ("MRN-17", "p1-", f"x{shown}", shown.upper()):
        with pytest.raises(InputInvalid, match="no pseudonym"):
            epoch_of(wrong)


def test_a_key_is_not_printed_and_a_weak_one_not_taken() -> None:
    assert SECRET.hex() not in repr(RESEARCH_KEY)
    assert RESEARCH_KEY.key not in repr(RESEARCH_KEY).encode("latin-1", "replace")
    for secret, purpose, epoch in ((b"short", "a", 0), (SECRET, "A b", 0), (SECRET, "a", -1)):
        with pytest.raises(InputInvalid):
            PseudonymKey.of(secret, "main", purpose, epoch)
    with pytest.raises(InputInvalid, match="shifted by 0 to"):
        RESEARCH_KEY.shift_ns("a", 4000)
    assert RESEARCH_KEY.shift_ns("a", 0) == 0


FIELDS = {
    "mrn": "patient", "name": "name", "street": "geographic", "zip": "zip", "born": "date",
    "admitted": "date",
    "start_ns": "instant-ns", "age": "age", "phone": "phone", "fax": "fax", "email": "email",
    "ssn": "social-security", "chart": "record-number", "plan": "plan-number", "account": "account",
    "licence": "licence", "car": "vehicle", "serial": "device-serial", "site": "url", "ip": "ip-address",
    "voice": "biometric", "photo": "photograph", "employer": "other-identifier", "notes": "free-text",
    "gateway": "device", "samples": "plain", "rhythm": "plain",
}  # fmt: skip
_FIRST = date(1900, 1, 1)
_WORDS = st.from_regex(r"Q[a-zäöüß]{5,12} [A-Z]", fullmatch=True)
_DIGITS = st.from_regex(r"N[0-9]{6,10}", fullmatch=True)


@st.composite
def patients(draw: st.DrawFn) -> dict[str, object]:
    """A patient with every identifier that there is, and notes that repeat some."""
    row: dict[str, object] = {name: draw(_WORDS) for name in FIELDS}
    row |= {
        name: draw(_DIGITS) for name in ("phone", "fax", "ssn", "chart", "plan", "account", "mrn", "serial")
    }
    row["email"] = f"{draw(_WORDS)}@example.org"
    row["ip"] = ".".join(str(draw(st.integers(100, 255))) for _ in range(4))
    row["zip"] = draw(st.text(string.digits, min_size=5, max_size=5))
    row["born"] = draw(st.dates(min_value=_FIRST)).isoformat()
    row["admitted"] = f"{draw(st.dates(min_value=_FIRST)).isoformat()}T12:00:00Z"
    row["start_ns"] = draw(st.integers(10**18, 2 * 10**18))
    row["age"] = draw(st.integers(0, 120))
    row["samples"] = draw(st.lists(st.integers(-5, 5), max_size=5))
    row["rhythm"] = draw(st.sampled_from(["sinus", "fibrillation"]))
    told = draw(st.lists(st.sampled_from(["name", "phone", "mrn", "street"]), max_size=3))
    row["notes"] = " ".join(str(row[name]) for name in told) + draw(_WORDS)
    return row


def forms_of(identifier: str) -> list[bytes]:
    """As it stands, and as encodings carry it."""
    raw = identifier.encode()
    texts = {
        identifier,
        identifier.lower(),
        identifier.upper(),
        quote(identifier),
        json.dumps(identifier)[1:-1],
    }
    return [
        *(text.encode() for text in texts),
        identifier.encode("utf-16-le"),
        raw.hex().encode(),
        base64.b64encode(raw).rstrip(b"=")[:-1],
        raw[::-1],
    ]


@given(patients(), st.sampled_from([SAFE_HARBOR, RESEARCH]))
def test_no_identifier_of_a_patient_leaves_in_any_encoding(row: dict[str, object], profile: Profile) -> None:
    left = deidentified(row, FIELDS, profile, RESEARCH_KEY, now_year=2026)
    sent = b"\n".join(
        [
            msgspec.json.encode(left),
            msgspec.msgpack.encode(left),
            json.dumps(left).encode(),
            repr(left).encode(),
            ",".join(map(str, left.values())).encode(),
        ]
    )
    stays = set(FIELDS) - {"samples", "rhythm", "age", "zip", "born", "admitted", "start_ns"}
    for name in stays:
        identifier = str(row[name])
        for form in forms_of(identifier):
            assert form not in sent, name
    for name in ("born", "admitted"):
        assert str(row[name])[:10].encode() not in sent or str(row[name])[5:10] == "01-01"
    assert str(row["start_ns"]).encode() not in sent
    assert str(row["zip"]).encode() not in json.dumps(left["zip"]).encode()
    assert set(left) == {
        "mrn",
        "zip",
        "born",
        "admitted",
        "start_ns",
        "age",
        "serial",
        "gateway",
        "samples",
        "rhythm",
    }
    assert left["samples"] == row["samples"]


def test_safe_harbor_is_what_the_rule_says() -> None:
    """45 CFR 164.514(b)(2): years, three digits, 90 and more as one."""

    def left(**row: object) -> dict[str, object]:
        full = {"mrn": "1", **row}
        found = deidentified(full, {**FIELDS, "mrn": "patient"}, SAFE_HARBOR, RESEARCH_KEY, now_year=2026)
        return {name: found[name] for name in row if name in found}

    assert left(zip="02139", age=89, admitted="2025-05-04") == {"zip": "021", "age": 89, "admitted": "2025"}
    assert left(zip="03601-1234", age=90) == {"zip": "000", "age": "90+"}
    assert left(age="101", born="1925-01-02") == {"age": "90+", "born": "1936-"}
    assert left(born="1936-12-31") == {"born": "1936-"}
    assert left(born="1937-01-01") == {"born": "1937"}
    assert left(start_ns=1_764_000_000_000_000_000) == {"start_ns": "2025"}
    assert left(unheard_of="Jane", notes="Jane", name=None) == {}
    assert {of for of in CLASSES if of not in SAFE_HARBOR.actions} == {
        *("name", "geographic", "phone", "fax", "email", "social-security", "record-number", "plan-number"),
        *(
            "account",
            "licence",
            "vehicle",
            "url",
            "ip-address",
            "biometric",
            "photograph",
            "other-identifier",
        ),
        "free-text",
    }


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ({"zip": "2139"}, "zip"),
        ({"age": "old"}, "age"),
        ({"age": True}, "age"),
        ({"born": "yesterday"}, "born"),
        ({"born": "2025-02-31"}, "born"),
        ({"start_ns": 1.5}, "start_ns"),
        ({"start_ns": "9" * 5000}, "start_ns"),
        ({"mrn": ""}, "patient"),
    ],
)
def test_what_is_not_of_its_class_does_not_leave_and_is_not_repeated(
    row: dict[str, object], place: str
) -> None:
    with pytest.raises(InputInvalid) as raised:
        deidentified({"mrn": "1", **row}, FIELDS, RESEARCH, RESEARCH_KEY, now_year=2026)
    assert raised.value.where == place
    assert not any(value and str(value) in str(raised.value) for name, value in row.items() if name != "mrn")


def test_groups_of_an_export_are_counted_in_patients() -> None:
    rows = [
        {"who": f"p{number}", "age": 40 + number // 5, "sex": "f", "rhythm": "sinus"} for number in range(10)
    ] + [{"who": "p99", "age": 77, "sex": "m", "rhythm": "pause"}] * 6
    report = anonymity(rows, ["age", "sex"], patient="who", wanted=5, sensitive="rhythm")
    assert (report.rows, report.patients, report.groups, report.k) == (16, 11, 3, 1)
    assert (report.patients_below, report.rows_below, report.sizes) == (1, 6, {1: 1, 5: 2})
    assert report.alike == 2, "all of a group of five have the same rhythm"
    assert not report.is_enough
    assert anonymity(rows[:10], ["age", "sex"], patient="who").is_enough
    assert anonymity(rows, [], patient="who").k == 11
    assert anonymity([], ["age"], patient="who").k == 0
    with pytest.raises(InputInvalid, match="lacks a field"):
        anonymity(rows, ["zip"], patient="who")
    with pytest.raises(InputInvalid, match="at least one"):
        anonymity(rows, ["age"], patient="who", wanted=0)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2), st.integers(0, 1)), max_size=30))
def test_k_is_that_of_the_definition(triples: list[tuple[int, int, int]]) -> None:
    rows = [{"who": who, "a": a, "b": b} for who, a, b in triples]
    report = anonymity(rows, ["a", "b"], patient="who", wanted=2)
    groups = {(a, b): {w for w, c, d in triples if (c, d) == (a, b)} for _, a, b in triples}
    assert report.k == min((len(who) for who in groups.values()), default=0)
    assert report.is_enough == all(len(who) >= 2 for who in groups.values())
    assert sum(size * count for size, count in report.sizes.items()) >= report.patients
