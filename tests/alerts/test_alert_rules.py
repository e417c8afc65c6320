"""Alert rules are a document: read is printed backwards, and nonsense is refused by its name."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.alerts import ALERT_KINDS, MARKS, PRIORITIES, AlertRules, Choice, Contact, Patience, Rung
from einthoven.alerts.rules import choice_of, parse_rules, print_rules
from einthoven.errors import InputInvalid
from einthoven.names import ORGANISATION, PSEUDONYM
from einthoven.signal.rules import RANGES, RULES, Criteria

WORDS = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
LINES = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp", "Cf", "Cn", "Co")), max_size=40)
PLAIN_LINES = LINES.filter(lambda text: all(one.isprintable() for one in text))
CHOICES = st.builds(
    Choice,
    st.booleans(),
    st.sampled_from(PRIORITIES) | st.none(),
    st.floats(0, 86_400),
    st.booleans() | st.none(),
)
CONTACTS = st.builds(Contact, st.from_regex(r"[a-z0-9-]{1,40}", fullmatch=True), PLAIN_LINES)
PATIENCES = st.tuples(st.floats(0.01, 1000), st.floats(0, 1000)).map(lambda two: Patience(two[0], sum(two)))
DOCUMENTS = st.builds(
    AlertRules,
    org=st.from_regex(ORGANISATION, fullmatch=True),
    patient=st.just("") | st.from_regex(PSEUDONYM, fullmatch=True),
    version=st.integers(1, 2**31 - 1),
    note=WORDS.map(lambda text: "why " + text),
    limits=st.builds(Criteria, lead_off_s=st.floats(*RANGES["lead_off_s"])),
    choices=st.dictionaries(
        st.sampled_from([kind for kind in ALERT_KINDS if kind != "emergency_access"]), CHOICES, max_size=5
    ),
    ladder=st.lists(st.lists(CONTACTS, min_size=1, max_size=3).map(tuple).map(Rung), max_size=4).map(tuple),
    patience=st.dictionaries(st.sampled_from(PRIORITIES), PATIENCES),
    latching=st.sampled_from([("high",), ("high", "medium"), ("low", "high"), ("high", "medium", "low")]),
    close_after_s=st.floats(1, 1e6),
)


@given(DOCUMENTS)
def test_what_is_printed_reads_as_it_was(rules: AlertRules) -> None:
    assert parse_rules(print_rules(rules)) == rules
    assert parse_rules(print_rules(rules).encode()) == rules


@given(DOCUMENTS)
def test_json_reads_as_it_was(rules: AlertRules) -> None:
    assert parse_rules(msgspec.json.encode(rules)) == rules


def test_what_is_not_named_keeps_its_default() -> None:
    rules = parse_rules('version = 3\n[limits]\npause_s = 2.5\n[choices.pause]\npriority = "high"')
    assert rules == AlertRules(
        version=3, limits=Criteria(pause_s=2.5), choices={"pause": Choice(priority="high")}
    )


def test_atrial_fibrillation_alone_tells_its_end_unless_told_otherwise() -> None:
    telling = [kind for kind in ALERT_KINDS if choice_of(AlertRules(), kind).tells_end]
    assert telling == ["atrial_fibrillation"]
    rules = AlertRules(choices={"atrial_fibrillation": Choice(delay_s=120)})
    assert choice_of(rules, "atrial_fibrillation").tells_end


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version = ", "not valid TOML"),
        ("[choices.nonsense]\nalerts = false", "nonsense"),
        ("[choices.bigeminy]\ndelay_s = 5", "condition that can alert"),
        ("[choices.asystole]\nalerts = false", "only with a note"),
        ("[choices.pause]\npriority = 'urgent'", "urgent"),
        ("[choices.pause]\ndelay_s = -1", "delay_s"),
        ("[limits]\npause_s = 99", "pause_s"),
        ("nonsense = 1", "nonsense"),
        ("version = 0", "version"),
        ("org = 'A B'", "org"),
        ("patient = 'Jane Doe'", "pseudonym"),
        ("latching = ['low']", "high always"),
        ("[[ladder]]\ncontacts = []", "contact on each rung"),
        ("[[ladder]]\ncontacts = [{channel = 'E MAIL'}]", "channel"),
        ('[[ladder]]\ncontacts = [{channel = "mail", address = "a\\nb"}]', "one line"),
        ("[patience.high]\nreceipt_s = 9\nacknowledge_s = 5", "receipt_s <= acknowledge_s"),
        ("{", ""),
        ("[1]", ""),
        ("\ud800", "not valid TOML"),
    ],
)
def test_nonsense_is_refused_by_its_name(text: str, words: str) -> None:
    with pytest.raises(InputInvalid) as caught:
        parse_rules(text)
    assert words in str(caught.value)


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.integers() | st.text(max_size=5), max_size=4))
def test_any_other_document_is_a_typed_error(tree: dict[str, Any]) -> None:
    try:
        parse_rules(msgspec.json.encode(tree))
    except InputInvalid:
        return
    assert set(tree) <= set(AlertRules.__struct_fields__)


def test_a_dangerous_condition_is_turned_off_with_a_reason() -> None:
    rules = AlertRules(note="palliative care, agreed", choices={"asystole": Choice(alerts=False)})
    assert not choice_of(rules, "asystole").alerts


PAGE = Path(__file__).parents[2] / "docs" / "reference" / "alerts.md"


def test_the_page_knows_every_name_of_a_document_and_its_example_is_one() -> None:
    page = PAGE.read_text()
    for kind in (AlertRules, Choice, Contact, Patience):
        for name in kind.__struct_fields__:
            assert re.search(rf"`(choices\.KIND\.)?{name}", page), name
    (example,) = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    rules = parse_rules(example)
    assert (rules.version, rules.limits.pause_s) == (2, 2.5)
    assert parse_rules(print_rules(rules)) == rules


def test_the_page_says_the_priorities_and_the_patience_of_the_program() -> None:
    page = PAGE.read_text()
    for priority in PRIORITIES:
        conditions = ", ".join(f"`{kind}`" for kind, rule in RULES.items() if rule.priority == priority)
        assert f"| {priority} | `{MARKS[priority]}` |" in page
        assert f"| {conditions} |" in page
        patience = AlertRules().patience_for(priority)
        assert f"| {priority} | {patience.receipt_s:g} | {patience.acknowledge_s:g} |" in page


def test_a_broken_glass_is_told_whatever_the_rules_say() -> None:
    """Those who sign rules are those whom it watches."""
    with pytest.raises(InputInvalid, match="emergency_access"):
        AlertRules(note="quiet, please", choices={"emergency_access": Choice(delay_s=60.0)})
