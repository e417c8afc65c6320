"""Nothing goes anywhere unless a rule and, where it asks for one, a consent say so; and it is said why."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.continuum import TIERS, Region
from einthoven.errors import InputInvalid, PolicyDenied
from einthoven.trust import read_entry, write_entry
from einthoven.trust.consent import (
    DATA_CLASSES,
    PURPOSES,
    Consent,
    Provision,
    changed,
    read_consent,
    revoked,
    write_consent,
)
from einthoven.trust.policy import WHY, Emergency, Policy, Question, decide, placed, read_policy, require

HOUR_NS = 3600 * 10**9
NOW_NS = 1_764_000_000_000_000_000
WARD = Region(name="ward", kind="inline", tier="local", labels=("eu",))
HOSPITAL = Region(name="hospital", kind="inline", tier="edge", labels=("eu",))
CLOUD = Region(name="cloud", kind="inline", tier="core", labels=("eu",))
FAR = Region(name="far", kind="inline", tier="core", labels=("us",))
REGIONS = [WARD, HOSPITAL, CLOUD, FAR]
DOCUMENT = """
version = 3

[functions]
bdc = ["samples", "pseudonymised"]
finalization = ["features"]
count_hours = ["findings"]

[[rules]]
name = "care-at-the-site"
data = ["samples", "features", "findings"]
tiers = ["local", "edge"]
purposes = ["treatment"]
consent = "unless-refused"

[[rules]]
name = "care-in-the-cloud"
data = ["features", "findings"]
labels = ["eu"]
purposes = ["treatment"]

[[rules]]
name = "research"
data = ["pseudonymised"]
labels = ["eu"]
purposes = ["research"]

[[rules]]
name = "not-abroad"
verdict = "deny"
data = ["samples", "pseudonymised", "features"]
labels = ["us"]

[[rules]]
name = "counting"
data = ["findings"]
consent = "none"

[emergency]
data = ["samples"]
tiers = ["core"]
labels = ["eu"]
most_s = 3600
"""
POLICY = read_policy(DOCUMENT)
YES = Consent(id="c-1", patient="p1-a", version=1, status="active", base="permit", given_ns=NOW_NS)


def asked(function="bdc", region=WARD, purpose="treatment", consent=YES, now_ns=NOW_NS) -> Question:
    return Question(function=function, region=region, purpose=purpose, consent=consent, now_ns=now_ns)


def told(**what) -> tuple[str, str, str | None]:
    found = decide(POLICY, asked(**what))
    return found.why, found.rule, found.data


def test_features_leave_the_site_where_samples_may_not() -> None:
    """And the system goes on: what needs features only may run in the cloud."""
    assert told(region=WARD) == ("permitted", "care-at-the-site", "samples")
    assert told(region=CLOUD) == ("no-rule", "no-rule", None)
    assert told(function="finalization", region=CLOUD) == ("permitted", "care-in-the-cloud", "features")
    assert told(function="finalization", region=FAR) == ("denied", "not-abroad", None)
    assert told(function="count_hours", region=FAR) == ("permitted", "counting", "findings")
    assert told(function="unheard-of") == ("no-function", "no-function", None)


def test_research_gets_pseudonymised_samples_with_consent_and_nothing_without() -> None:
    research = {"purpose": "research", "region": CLOUD}
    assert told(**research) == ("permitted", "research", "pseudonymised")
    assert told(**research, consent=None) == ("no-consent", "research", None)
    assert told(**research, consent=revoked(YES, at_ns=NOW_NS)) == ("consent-over", "research", None)
    later = msgspec.structs.replace(YES, start_ns=NOW_NS + 1)
    assert told(**research, consent=later) == ("consent-over", "research", None)
    no = msgspec.structs.replace(YES, base="deny")
    assert told(**research, consent=no) == ("consent-refuses", "research", None)
    with pytest.raises(PolicyDenied, match="consent does not allow it"):
        require(decide(POLICY, asked(**research, consent=no)))
    assert require(decide(POLICY, asked(**research))) == "pseudonymised"


def test_care_goes_on_until_somebody_says_no() -> None:
    assert told(consent=None) == ("permitted", "care-at-the-site", "samples")
    over = msgspec.structs.replace(YES, until_ns=NOW_NS)
    assert told(consent=over)[0] == "permitted"
    assert told(consent=revoked(YES, at_ns=NOW_NS))[0] == "consent-over"
    assert told(consent=msgspec.structs.replace(YES, base="deny"))[0] == "consent-refuses"


def test_a_revocation_is_seen_by_the_next_decision_and_is_an_entry() -> None:
    before = decide(POLICY, asked(purpose="research", region=CLOUD))
    withdrawn = revoked(YES, at_ns=NOW_NS + 1)
    after = decide(POLICY, asked(purpose="research", region=CLOUD, consent=withdrawn, now_ns=NOW_NS + 1))
    assert (before.is_permitted, before.consent) == (True, "c-1/1")
    assert (after.is_permitted, after.consent) == (False, "c-1/2")
    given_, taken = changed(YES, None, by="ann", at_ns=1), changed(withdrawn, YES, by="ann", at_ns=2)
    assert (given_.change, taken.change, taken.version) == ("given", "revoked", 2)
    assert given_.digest != taken.digest
    again = msgspec.structs.replace(withdrawn, status="active", version=3)
    assert changed(again, withdrawn, by="ann", at_ns=3).change == "changed"
    for wrong in (YES, msgspec.structs.replace(withdrawn, patient="p1-b")):
        with pytest.raises(InputInvalid, match="next version is 2"):
            changed(wrong, YES, by="ann", at_ns=1)


def test_an_emergency_opens_what_the_policy_says_for_as_long_as_it_says() -> None:
    said = Emergency(by="ann", role="clinician", reason="emergency", since_ns=NOW_NS)

    def why(emergency: Emergency = said, **what) -> str:
        return decide(POLICY, asked(**{"region": CLOUD, "consent": None, **what}), emergency).why

    assert why() == "emergency"
    assert why(region=WARD) == "permitted", "what is permitted anyway needs none"
    assert why(now_ns=NOW_NS + HOUR_NS) == "emergency"
    for what in (
        {"now_ns": NOW_NS + HOUR_NS + 1}, {"now_ns": NOW_NS - 1}, {"region": FAR}, {"purpose": "research"},
        {"function": "finalization", "region": FAR}, {"function": "unheard-of"},
        {"emergency": msgspec.structs.replace(said, role="admin")},
    ):  # fmt: skip
        assert why(**what) != "emergency", what
    decision = decide(POLICY, asked(region=CLOUD, consent=None), said)
    entry = placed(POLICY, asked(region=CLOUD, consent=None), decision, patient="p1-a", invocation="7")
    assert entry.rule == "emergency/ann:emergency"
    assert read_entry(write_entry(entry)) == entry


def test_a_decision_is_an_entry_with_its_rule_and_the_policy_it_was_made_by() -> None:
    question = asked(purpose="research", region=CLOUD)
    entry = placed(POLICY, question, decide(POLICY, question), patient="p1-a")
    assert (entry.verdict, entry.rule, entry.data, entry.tier) == (
        "permit",
        "research",
        "pseudonymised",
        "core",
    )
    assert entry.digest == POLICY.digest == read_policy(f"# again\n{DOCUMENT}").digest
    question = asked(purpose="research", region=CLOUD, consent=None)
    entry = placed(POLICY, question, decide(POLICY, question), patient="p1-a")
    assert (entry.verdict, entry.rule, entry.data) == ("deny", "no-consent:research", "")
    assert read_policy(DOCUMENT.replace("version = 3", "version = 4")).digest != POLICY.digest


REGION = st.sampled_from(REGIONS)
INSTANT = st.none() | st.integers(-(10**18), 4 * 10**18)
PROVISIONS = st.builds(
    Provision,
    verdict=st.sampled_from(["permit", "deny"]),
    purposes=st.lists(st.sampled_from(list(PURPOSES)), max_size=2).map(tuple),
    data=st.lists(st.sampled_from(DATA_CLASSES), max_size=2).map(tuple),
    tiers=st.lists(st.sampled_from(TIERS), max_size=2).map(tuple),
    start_ns=INSTANT,
    until_ns=INSTANT,
) | st.builds(
    Provision,
    verdict=st.sampled_from(["permit", "deny"]),
    labels=st.lists(st.sampled_from(["eu", "us", "gpu"]), max_size=2).map(tuple),
)
CONSENTS = st.builds(
    Consent,
    id=st.from_regex(r"[A-Za-z0-9.-]{1,64}", fullmatch=True),
    patient=st.just("p1-a"),
    version=st.integers(1, 9),
    status=st.sampled_from(["draft", "proposed", "active", "rejected", "inactive", "entered-in-error"]),
    base=st.sampled_from(["permit", "deny"]),
    provisions=st.lists(PROVISIONS, max_size=4).map(tuple),
    given_ns=st.integers(0, 4 * 10**18),
    start_ns=INSTANT,
    until_ns=INSTANT,
)
QUESTIONS = st.builds(
    Question,
    function=st.sampled_from([*POLICY.functions, "unheard-of"]),
    region=REGION,
    purpose=st.sampled_from(list(PURPOSES)),
    consent=st.none() | CONSENTS,
    now_ns=st.integers(0, 4 * 10**18),
)


@given(CONSENTS)
def test_a_consent_that_goes_out_as_fhir_comes_in_as_the_same(consent: Consent) -> None:
    resource = write_consent(consent)
    assert read_consent(resource) == consent
    assert read_consent(json.dumps(resource).encode()) == consent


@given(QUESTIONS)
def test_nothing_is_permitted_without_a_rule_that_permits_it(question: Question) -> None:
    found = decide(POLICY, question)
    assert found.is_permitted == (found.data is not None) == (found.why == "permitted")
    assert found.why in WHY
    entry = placed(POLICY, question, found, patient="p1-a")
    assert read_entry(write_entry(entry)) == entry
    if found.is_permitted:
        rule = next(one for one in POLICY.rules if one.name == found.rule)
        assert found.data in rule.data
        assert found.data in POLICY.functions[question.function]
        assert not rule.tiers or question.region.tier in rule.tiers
        assert set(rule.labels) <= set(question.region.labels)
        if rule.consent == "required":
            assert question.consent
            assert question.consent.holds(question.now_ns)
            assert (
                question.consent.says(found.data, question.region, question.purpose, question.now_ns)
                == "permit"
            )


@given(QUESTIONS)
def test_taking_a_rule_or_the_consent_away_permits_nothing_new(question: Question) -> None:
    """Fail-closed: less said is never more allowed, but for the rules that deny."""
    if decide(POLICY, question).is_permitted:
        return
    permits = [rule for rule in POLICY.rules if rule.verdict == "permit"]
    for gone in permits:
        rules = tuple(rule for rule in POLICY.rules if rule is not gone)
        assert not decide(msgspec.structs.replace(POLICY, rules=rules), question).is_permitted
    needs = [rule for rule in POLICY.rules if rule.consent != "unless-refused"]
    strict = msgspec.structs.replace(POLICY, rules=tuple(needs))
    assert not decide(strict, msgspec.structs.replace(question, consent=None)).is_permitted
    assert not decide(Policy(version=1), question).is_permitted


@given(QUESTIONS)
def test_a_rule_that_denies_stands_above_all_that_permit(question: Question) -> None:
    deny = read_policy(
        'version = 1\n[[rules]]\nname = "all"\nverdict = "deny"\n'
        'data = ["findings", "features", "pseudonymised", "samples", "identity"]\n'
    ).rules
    closed = msgspec.structs.replace(POLICY, rules=(*POLICY.rules, *deny))
    assert not decide(closed, question).is_permitted


@pytest.mark.parametrize("end", ["9999", "9999-12-31", "9999-12-31T23:59:59Z", "2500-06-01"])
def test_a_consent_until_the_end_of_time_is_one_that_holds(end: str) -> None:
    resource = write_consent(YES)
    resource.setdefault("provision", {})["period"] = {"start": "2025", "end": end}
    consent = read_consent(json.dumps(resource).encode())
    assert consent.holds(NOW_NS)
    assert consent.holds(NOW_NS + 200 * 365 * 24 * HOUR_NS)


def test_the_last_exception_that_speaks_of_it_answers() -> None:
    consent = msgspec.structs.replace(
        YES,
        base="deny",
        provisions=(
            Provision(verdict="permit", purposes=("research",)),
            Provision(verdict="deny", purposes=("research",), data=("samples",)),
            Provision(verdict="permit", labels=("us",), until_ns=NOW_NS),
        ),
    )
    says = consent.says
    assert says("findings", CLOUD, "research", NOW_NS) == "permit"
    assert says("samples", CLOUD, "research", NOW_NS) == "deny"
    assert says("samples", FAR, "research", NOW_NS - 1) == "permit"
    assert says("samples", FAR, "research", NOW_NS) == "deny"
    assert says("findings", CLOUD, "treatment", NOW_NS) == "deny"


FHIR = {
    "resourceType": "Consent", "id": "c-1", "meta": {"versionId": "2"}, "status": "active",
    "text": {"status": "generated"}, "organization": [{"display": "the clinic"}],
    "scope": {"coding": [
        {"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"},
    ]},
    "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
    "patient": {"identifier": {"system": "urn:einthoven:pseudonym", "value": "p1-a"}},
    "dateTime": "2025-11-24", "policyRule": {"coding": [
        {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTINR"},
    ]},
    "provision": {"period": {"start": "2025", "end": "2026-02"}, "provision": [{
        "type": "deny", "purpose": [
            {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HRESCH"},
        ],
    }]},
}  # fmt: skip


def test_a_consent_of_another_system_is_read_with_days_and_years_as_long_as_they_are() -> None:
    consent = read_consent(FHIR)
    assert (consent.base, consent.version) == ("permit", 2)
    assert consent.provisions == (Provision(verdict="deny", purposes=("research",)),)
    year_2025_ns, march_2026_ns = 1_735_689_600 * 10**9, 1_772_323_200 * 10**9
    assert (consent.start_ns, consent.until_ns) == (year_2025_ns, march_2026_ns)
    assert consent.holds(march_2026_ns - 1)
    assert not consent.holds(march_2026_ns)
    moved = {**FHIR, "dateTime": "2025-11-24T17:00:00+01:00", "provision": {"period": {"end": "2026-12"}}}
    assert read_consent(moved).given_ns == NOW_NS
    assert read_consent(moved).until_ns == 1_798_761_600 * 10**9
    ends = {**FHIR, "provision": {"period": {"end": "2025-11-24T16:00:00Z"}}}
    assert read_consent(ends).until_ns == NOW_NS + 10**9
    whole = {**FHIR, "provision": {"period": {"end": "2025-11-24"}}}
    assert read_consent(whole).until_ns == NOW_NS + 8 * HOUR_NS


def changes() -> list[dict[str, object]]:
    inner = FHIR["provision"]["provision"][0]

    def nested(**more: object) -> dict[str, object]:
        return {"provision": {"provision": [{**inner, **more}]}}

    return [
        {"resourceType": "Patient"}, {"modifierExtension": []}, {"implicitRules": "x"}, {"status": "maybe"},
        {"scope": {"coding": []}}, {"scope": {"coding": [{"system": "x", "code": "research"}]}},
        {"patient": {"reference": "Patient/17"}},
        {"patient": {"identifier": {"system": "mrn", "value": "17"}}},
        {"policyRule": {"coding": [{"system": "x", "code": "OPTIN"}]}},
        {"dateTime": "yesterday"}, {"meta": {}}, {"provision": {"type": "permit"}},
        {"provision": {"period": {"begin": "2025"}}},
        nested(action=[]), nested(dataPeriod={}), nested(data=[]), nested(code=[]), nested(provision=[]),
        nested(modifierExtension=[]), nested(type="maybe"),
        nested(purpose=[{"system": "x", "code": "HRESCH"}]),
        nested(purpose=[{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "MARKT"}]),
        {"provision": {"provision": [{"type": "deny", "class": [{"system": "x", "code": "samples"}]}]}},
        nested(actor=[{"role": FHIR["policyRule"], "reference": {"identifier": {"system": "x", "value": "y"}},
        }]),
        nested(actor=[{"reference": {}}]),
    ]  # fmt: skip


@pytest.mark.parametrize("change", changes(), ids=str)
def test_a_consent_that_is_not_wholly_understood_is_not_read_at_all(change: dict[str, object]) -> None:
    """A restriction that is skipped would be a permission."""
    with pytest.raises(InputInvalid, match="not understood"):
        read_consent({**FHIR, **change})
    for content in (b"", b"[]", b"{}", b"\xff"):
        with pytest.raises(InputInvalid):
            read_consent(content)


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ("version = 0", "version"),
        ("version = 1\nnonsense = 2", "document"),
        ('version = 1\n[[rules]]\nname = "a"\ndata = []', "data"),
        ('version = 1\n[[rules]]\nname = "A b"\ndata = ["samples"]', "name"),
        ('version = 1\n[[rules]]\nname = "a"\ndata = ["everything"]', "rules"),
        ('version = 1\n[[rules]]\nname = "a"\ndata = ["samples"]\ntiers = ["moon"]', "rules"),
        ('version = 1\n[functions]\nbdc = []', "functions.bdc"),
        ('version = 1\n[emergency]\ndata = ["samples"]\nmost_s = 1e9', "most_s"),
        ('version = 1\n[[rules]]\nname = "a"\ndata = ["samples"]\n' * 2, "rules[0]"),
        ("version = ", "TOML"),
    ],
)  # fmt: skip
def test_a_policy_that_is_wrong_is_refused_with_its_place(document: str, place: str) -> None:
    with pytest.raises(InputInvalid) as raised:
        read_policy(document)
    assert place in str(raised.value)


def test_values_are_checked_when_they_are_made() -> None:
    rule = '[[rules]]\nname = "a"\ndata = ["samples"]\n'
    with pytest.raises(InputInvalid, match="different names"):
        read_policy("version = 1\n" + rule * 2)
    with pytest.raises(InputInvalid, match="not both"):
        Provision(verdict="deny", tiers=("core",), labels=("eu",))
    for field, value in (("id", "a b"), ("patient", "Jane Doe"), ("version", 0), ("given_ns", 2**63)):
        with pytest.raises(InputInvalid):
            msgspec.structs.replace(YES, **{field: value}).__post_init__()
    with pytest.raises(InputInvalid, match="at most 100"):
        msgspec.structs.replace(YES, provisions=(Provision(verdict="deny"),) * 101).__post_init__()
    with pytest.raises(InputInvalid, match="more than"):
        read_policy("#" * (2**20 + 1))
