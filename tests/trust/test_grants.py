"""Nobody sees a patient whom nobody let, whatever was granted, taken back or broken before."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.errors import InputInvalid
from einthoven.trust.entries import REASONS, read_entry, write_entry
from einthoven.trust.grants import (
    SEEN_CLASSES,
    AccessAsk,
    Grant,
    accessed,
    decide_access,
    granted,
)

ROLES = ("clinician", "technician", "auditor")
PATIENTS = ("p1", "p2")
ACCOUNTS = ("ann", "bea")


def a_grant(**more) -> Grant:
    fields = {
        "id": "grt_1",
        "patient": "p1",
        "account": "ann",
        "data": ("findings",),
        "basis": "granted",
        "since_ns": 10,
        "by": "patient-p1",
        "by_role": "patient",
        "reason": "patient-request",
    }
    return Grant(**{**fields, **more})


def an_ask(**more) -> AccessAsk:
    fields = {"account": "ann", "role": "clinician", "patient": "p1", "data": "findings", "may_ask": True}
    return AccessAsk(**{**fields, **more})


CHOSEN = st.sampled_from
WHO = st.one_of(
    CHOSEN(ACCOUNTS).map(lambda one: {"account": one, "role": ""}),
    CHOSEN(ROLES).map(lambda one: {"account": "", "role": one}),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("grant"),
            WHO,
            CHOSEN(PATIENTS),
            st.lists(CHOSEN(SEEN_CLASSES), min_size=1, max_size=4, unique=True),
            st.none() | st.integers(1, 5),
            CHOSEN(("granted", "care-team", "emergency")),
        ),
        st.tuples(st.just("revoke"), st.integers(0, 10)),
        st.tuples(st.just("wait"), st.integers(1, 4)),
        st.tuples(
            st.just("ask"),
            CHOSEN(ACCOUNTS),
            CHOSEN(ROLES),
            CHOSEN(PATIENTS),
            CHOSEN(SEEN_CLASSES),
            st.booleans(),
        ),
    ),
    max_size=30,
)


class Remembered:
    """Who may see what, kept the plain way: seconds for which each of them may, ticked off one by one."""

    def __init__(self) -> None:
        self.left: dict[str, tuple[dict[str, str], str, list[str], float]] = {}

    def wait(self, seconds: int) -> None:
        self.left = {
            id_: (who, patient, data, left - seconds)
            for id_, (who, patient, data, left) in self.left.items()
            if left - seconds > 0
        }

    def lets(self, account: str, role: str, patient: str, data: str) -> bool:
        return any(
            patient == whose and data in which and (who["account"] == account or who["role"] == role)
            for who, whose, which, _ in self.left.values()
        )


@given(STEPS)
def test_nobody_sees_without_role_and_grant_in_time(steps) -> None:
    grants: list[Grant] = []
    remembered, now_ns = Remembered(), 100
    for kind, *rest in steps:
        if kind == "grant":
            who, patient, data, seconds, basis = rest
            until_ns = None if seconds is None else now_ns + seconds
            id_ = f"grt_{len(grants)}"
            grants.append(
                a_grant(
                    id=id_,
                    **who,
                    patient=patient,
                    data=tuple(data),
                    until_ns=until_ns,
                    since_ns=now_ns,
                    basis=basis,
                )
            )
            remembered.left[id_] = (who, patient, data, float("inf") if seconds is None else seconds)
        elif kind == "revoke" and grants:
            at = rest[0] % len(grants)
            grants[at] = msgspec.structs.replace(grants[at], revoked_ns=now_ns)
            remembered.left.pop(grants[at].id, None)
        elif kind == "wait":
            now_ns += rest[0]
            remembered.wait(rest[0])
        elif kind == "ask":
            account, role, patient, data, may_ask = rest
            ask = an_ask(account=account, role=role, patient=patient, data=data, may_ask=may_ask)
            made = decide_access(ask, "granted", grants, now_ns)
            expected = may_ask and remembered.lets(account, role, patient, data)
            assert (made.verdict == "permit") == expected
            if expected:
                assert made.grant is not None
                assert made.grant.holds(now_ns)
            entry = accessed(ask, made, "/v1/alerts", now_ns)
            assert read_entry(write_entry(entry)) == entry
            assert (entry.verdict, entry.is_emergency) == (made.verdict, made.is_emergency)


@given(CHOSEN(("granted", "", "Open", "open ", "closed")))
def test_a_rule_that_is_not_known_lets_nobody(rule: str) -> None:
    assert decide_access(an_ask(), rule, [], 20).verdict == "deny"


@pytest.mark.parametrize("rule", ["open", "granted"])
def test_a_patient_sees_what_is_their_own_and_nothing_else(rule: str) -> None:
    grants = [a_grant(account="", role="patient"), a_grant(account="pat")]
    for patient, own, verdict in (("p1", "p1", "permit"), ("p1", "p2", "deny"), ("p1", None, "deny")):
        ask = an_ask(account="pat", role="patient", own_patient=own, patient=patient)
        assert decide_access(ask, rule, grants, 20).verdict == verdict


def test_where_the_rule_is_open_a_role_is_enough_and_no_role_is_not() -> None:
    assert decide_access(an_ask(), "open", [], 20).basis == "role"
    assert decide_access(an_ask(may_ask=False), "open", [a_grant()], 20).verdict == "deny"


def test_whoever_was_let_is_not_told_of_as_an_emergency() -> None:
    broken = a_grant(basis="emergency", reason="emergency", until_ns=50)
    assert decide_access(an_ask(), "granted", [broken], 49).is_emergency
    assert decide_access(an_ask(), "granted", [broken, a_grant()], 49).basis == "granted"
    assert decide_access(an_ask(), "granted", [broken], 50).verdict == "deny"


@pytest.mark.parametrize(
    "wrong",
    [{"account": ""}, {"role": "clinician"}, {"data": ()}, {"until_ns": 10}, {"patient": "a name"}],
)
def test_a_grant_to_nobody_of_nothing_or_that_is_over_is_none(wrong) -> None:
    with pytest.raises(InputInvalid):
        a_grant(**wrong)


@given(st.sets(CHOSEN(SEEN_CLASSES), min_size=1), CHOSEN(REASONS), st.none() | st.integers(11, 2**60))
def test_each_change_is_an_entry_that_reads_back(data, reason, until_ns) -> None:
    grant = a_grant(data=tuple(data), until_ns=until_ns)
    entry = granted(grant, "given", by="ann", by_role="admin", reason=reason, case="C-1", at_ns=20)
    assert read_entry(write_entry(entry)) == entry
    assert set(entry.data.split("+")) == data
    assert entry.until_ns == (until_ns or 0)
