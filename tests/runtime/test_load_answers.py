"""An answer is what its body says, and only if that can be."""

import msgspec
import pytest

from einthoven.runtime.load.answers import Answer, Brief, judge, oddity, read_answers, read_full, read_problem
from einthoven.runtime.load.deliveries import Delivery

SANE = {
    "sequence": 4,
    "status": "analysed",
    "startTime": "2026-11-26T00:00:00Z",
    "first": 0,
    "until": 3000,
    "fs": 125.0,
    "beats": {"positions": [100, 200, 300], "classes": "NVN"},
    "heartRate": {"mean": 75.0, "min": 70.0, "max": 80.0},
    "episodes": [{"kind": "pause", "onset": 100, "end": 200, "priority": "low"}],
    "conditions": [],
    "quality": {"grades": [20, 4, 0]},
}


@pytest.mark.parametrize(
    ("encoding", "encode"), [("json", msgspec.json.encode), ("msgpack", msgspec.msgpack.encode)]
)
def test_bodies_that_are_no_answers_are_seen(encoding, encode) -> None:
    good = encode(SANE)
    assert read_answers(good, encoding, 1)[0].status == "analysed"
    assert read_answers(encode([SANE, SANE]), encoding, 2)[1].sequence == 4
    for bad in (b"", b"<html>", good[:-1], encode({"error": "out of memory"}), encode([SANE]), encode(None)):
        assert read_answers(bad, encoding, 1) is None
    assert read_answers(encode([SANE]), encoding, 2) is None, "one is missing"
    assert read_answers(good, encoding, 2) is None
    assert read_full(good, encoding, 1)[0].beats.classes == "NVN"
    for field in ("beats", "until", "quality", "heartRate"):
        assert read_full(encode({k: v for k, v in SANE.items() if k != field}), encoding, 1) is None


def test_sane_findings_have_nothing_odd() -> None:
    assert oddity(msgspec.convert(SANE, Answer)) == ""


@pytest.mark.parametrize(
    ("odd", "change"),
    [
        ("span", {"until": -1}),
        ("span", {"fs": 0.0}),
        ("classes", {"beats": {"positions": [1], "classes": "NN"}}),
        ("classes", {"beats": {"positions": [1], "classes": "X"}}),
        ("order", {"beats": {"positions": [2, 2], "classes": "NN"}}),
        ("positions", {"beats": {"positions": [3000], "classes": "N"}}),
        ("positions", {"beats": {"positions": [-5], "classes": "N"}}),
        ("rate", {"heartRate": {"mean": 4000.0, "min": None, "max": None}}),
        ("episodes", {"episodes": [{"kind": "pause", "onset": 9, "end": 2, "priority": "low"}]}),
        ("quality", {"quality": {"grades": [1, 2]}}),
        ("quality", {"quality": {"grades": [1, 2, -1]}}),
    ],
)
def test_findings_that_cannot_be_are_named(odd: str, change: dict) -> None:
    assert oddity(msgspec.convert(SANE | change, Answer)) == odd


@pytest.mark.parametrize(
    ("kind", "status", "resent", "outcome", "error"),
    [
        ("timely", "analysed", False, "analysed", ""),
        ("timely", "duplicate", False, "duplicate", "unexpected-duplicate"),
        ("timely", "duplicate", True, "duplicate", ""),
        ("timely", "late", False, "late", "unexpected-late"),
        ("timely", "accepted", False, "accepted", "unexpected-accepted"),
        ("timely", "fine", False, "wrong", "wrong-status"),
        ("late", "late", False, "late", ""),
        ("late", "analysed", False, "analysed", ""),
        ("repeat", "duplicate", False, "duplicate", ""),
        ("repeat", "late", False, "late", ""),
        ("repeat", "analysed", False, "wrong", "analysed-twice"),
        ("buffered", "analysed", False, "analysed", ""),
    ],
)
def test_a_status_is_judged_by_what_was_sent(kind, status, resent, outcome, error) -> None:
    verdict = judge(Brief(7, status), Delivery(0.0, 0, 7, kind), 7, is_resent=resent, may_accept=False)
    assert (verdict.outcome, verdict.error) == (outcome, error)


def test_another_sequence_is_no_answer() -> None:
    verdict = judge(Brief(8, "analysed"), Delivery(0.0, 0, 7), 7, is_resent=False, may_accept=False)
    assert (verdict.outcome, verdict.error) == ("wrong", "wrong-sequence")


@pytest.mark.parametrize(("fault", "outcome"), [("caller", "refused"), ("ours", "again"), ("peer", "again")])
def test_whose_fault_a_refusal_is_decides_whether_it_is_sent_again(fault: str, outcome: str) -> None:
    body = msgspec.json.encode({"sequence": 7, "status": "refused", "error": {"code": "c", "fault": fault}})
    item = read_answers(body, "json", 1)[0]
    verdict = judge(item, Delivery(0.0, 0, 7), 7, is_resent=False, may_accept=False)
    assert (verdict.outcome, verdict.error) == (outcome, "refused-c")


def test_a_refusal_without_a_reason_is_unknown() -> None:
    assert read_problem(b"oh", "json").code == "unknown"
    assert read_problem(b'{"code":"x"}', "msgpack").code == "x", "problems may come as JSON all the same"
    assert read_problem(msgspec.msgpack.encode({"code": "x"}), "msgpack").code == "x"
