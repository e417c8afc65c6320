"""Rules are in force when a clinician's account signed them; what was altered since is refused."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.alerts import AlertRules, SignedRules, rules_in_force, sign, verify
from einthoven.errors import RulesRefused

KEYS = {"k1": b"0" * 32, "k2": b"1" * 32}


def signed(version: int = 1, before: SignedRules | None = None, at_ns: int = 100, **facts) -> SignedRules:
    rules = AlertRules(patient="p-1", version=version, note=f"version {version}")
    given = {"account": "dr-7", "role": "clinician", "keys": KEYS, "key": "k1", **facts}
    return sign(rules, at_ns=at_ns, before=before, **given)


def test_what_was_signed_is_what_is_read() -> None:
    one = signed()
    assert verify(one, KEYS) == AlertRules(patient="p-1", note="version 1")
    assert one.signature.account == "dr-7"
    assert one.signature.signed_ns == 100


@pytest.mark.parametrize("role", ["admin", "technician", "auditor", "patient", ""])
def test_only_a_clinicians_account_signs(role: str) -> None:
    with pytest.raises(RulesRefused, match="may not sign"):
        signed(role=role)


def test_unsigned_rules_are_refused() -> None:
    one = signed()
    bare = SignedRules(one.document, msgspec.structs.replace(one.signature, mac=""))
    with pytest.raises(RulesRefused, match="no valid signature"):
        verify(bare, KEYS)


@given(st.integers(0, 10_000), st.integers(1, 127))
def test_a_changed_byte_of_the_document_is_found(place: int, change: int) -> None:
    one = signed()
    document = bytearray(one.document.encode())
    document[place % len(document)] ^= change
    with pytest.raises(RulesRefused):
        verify(SignedRules(document.decode("utf-8", "replace"), one.signature), KEYS)


@pytest.mark.parametrize(
    "facts",
    [
        {"account": "dr-8"},
        {"role": "admin"},
        {"signed_ns": 101},
        {"org": "other"},
        {"patient": "p-2"},
        {"version": 2},
        {"digest": "0" * 64},
        {"before": "0" * 64},
        {"key": "k2"},
        {"key": "gone"},
        {"mac": "ü"},
    ],
)
def test_a_changed_word_of_the_signature_is_found(facts: dict) -> None:
    one = signed()
    with pytest.raises(RulesRefused):
        verify(SignedRules(one.document, msgspec.structs.replace(one.signature, **facts)), KEYS)


def test_another_key_does_not_verify_and_an_old_one_still_does() -> None:
    one = signed()
    with pytest.raises(RulesRefused):
        verify(one, {"k1": b"2" * 32})
    verify(one, {**KEYS, "k3": b"3" * 32})
    with pytest.raises(RulesRefused, match="key"):
        signed(keys={"k1": b"short"})


def test_versions_follow_each_other() -> None:
    one = signed()
    two = signed(2, one, at_ns=200)
    three = signed(3, two, at_ns=300, key="k2")
    rules = rules_in_force((one, two, three), KEYS, org="main", patient="p-1")
    assert rules is not None
    assert rules.version == 3
    assert rules_in_force((), KEYS, org="main", patient="p-1") is None


@pytest.mark.parametrize("version", [1, 3, 9])
def test_a_version_out_of_turn_is_not_signed(version: int) -> None:
    with pytest.raises(RulesRefused, match="next version is 2"):
        signed(version, signed())


def test_a_version_is_not_signed_before_the_one_before() -> None:
    with pytest.raises(RulesRefused):
        signed(2, signed(at_ns=300), at_ns=200)


def test_a_history_with_a_gap_another_order_or_anothers_page_is_refused() -> None:
    one = signed()
    two = signed(2, one, at_ns=200)
    three = signed(3, two, at_ns=300)
    other_one = signed(at_ns=99, account="dr-8")
    replaced = sign(
        AlertRules(patient="p-1", note="replaced"),
        account="dr-7",
        role="clinician",
        at_ns=5,
        keys=KEYS,
        key="k1",
    )
    assert verify(other_one, KEYS)
    for history in ((one, three), (two, three), (two, one), (replaced, two, three)):
        with pytest.raises(RulesRefused):
            rules_in_force(history, KEYS, org="main", patient="p-1")
    with pytest.raises(RulesRefused, match="another patient"):
        rules_in_force((one,), KEYS, org="main", patient="p-2")


def test_the_error_names_no_patient() -> None:
    one = signed()
    with pytest.raises(RulesRefused) as caught:
        verify(SignedRules(one.document + " ", one.signature), KEYS)
    assert "p-1" not in str(caught.value)
