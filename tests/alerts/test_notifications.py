"""Who is told what of a change, once each, in words that name nobody."""

import msgspec
import pytest

from einthoven.alerts import (
    AlertRules,
    Change,
    Contact,
    LifeEvent,
    Notification,
    PatientAlerts,
    Rung,
    acknowledge,
    delivered,
    heartbeat,
    instant,
    notify,
    pass_time,
    receive,
    suppress,
)
from einthoven.alerts.alert import advance
from einthoven.testing.alerts import SECOND_NS, a_ladder, a_raised_alert, a_sighting

RULES = AlertRules(ladder=a_ladder("nurse", "physician", "chief"))


def told(change: Change, rules: AlertRules = RULES) -> list[tuple[str, int]]:
    return [(one.address, one.rung) for one in notify(change, rules)]


def changes_of(*sightings, rules: AlertRules = RULES) -> tuple[Change, ...]:
    return receive(PatientAlerts("main", "p-1"), sightings, rules, 100 * SECOND_NS)


def test_the_first_rung_hears_the_onset_and_the_next_when_it_is_climbed() -> None:
    raised = a_raised_alert(RULES, at_s=0)
    assert told(raised) == [("nurse", 0)]
    (climbed,) = pass_time(raised.alert, RULES, 10**12)
    assert told(climbed) == [("physician", 1)]
    assert told(acknowledge(climbed.alert, RULES, 0, by="x")) == []


def test_everybody_who_was_told_hears_that_it_is_worse() -> None:
    (climbed,) = pass_time(a_raised_alert(RULES, at_s=0).alert, RULES, 10**12)
    worse = advance(climbed.alert, LifeEvent.WORSENED, RULES, 0, by="ecg")
    assert told(worse) == [("nurse", 0), ("physician", 1)]


def test_the_end_is_told_of_atrial_fibrillation_only() -> None:
    af = {"condition": "atrial_fibrillation", "priority": "low"}
    assert [told(change) for change in changes_of(a_sighting(10, 20, **af))] == [[("nurse", 0)]] * 2
    assert [told(change) for change in changes_of(a_sighting(10, 20))] == [[("nurse", 0)], []]


def test_a_repeated_onset_is_not_told_again_but_one_found_late_is() -> None:
    assert [told(change) for change in changes_of(a_sighting(10, 20), a_sighting(30))][-1] == []
    found_late = changes_of(a_sighting(30), a_sighting(10, 20, path="batch"))[-1]
    assert told(found_late) == [("nurse", 0)]
    assert notify(found_late, RULES)[0].content.is_late


def test_what_is_suppressed_is_told_to_nobody() -> None:
    off = suppress(a_raised_alert(RULES).alert, RULES, 0, until_ns=5, by="x", why="bathing").alert
    again = advance(off, LifeEvent.BEGAN, RULES, 1, by="ecg")
    assert told(again) == []


def test_nobody_hears_twice() -> None:
    rules = AlertRules(ladder=(Rung((Contact("mail", "a"), Contact("mail", "a"))),))
    assert told(a_raised_alert(rules), rules) == [("a", 0)]


def test_what_takes_a_heart_beat_is_no_receipt_of_a_rung() -> None:
    """The path works; nobody was called."""
    raised = a_raised_alert(RULES, at_s=0)
    beat = heartbeat("main", Contact("webhook", "a"), 60.0, 0)
    assert delivered(raised.alert, RULES, 1, rung=beat.rung, receipt="1") == ()


def test_a_broken_path_is_not_told_through_itself() -> None:
    rules = AlertRules(ladder=(Rung((Contact("mail", "a"), Contact("webhook", "b"))),))
    broken = a_sighting(
        10, condition="alert_path_broken", priority="medium", is_technical=True, about="mail", path="watch"
    )
    (change,) = changes_of(broken, rules=rules)
    assert told(change, rules) == [("b", 0)]


def test_a_rung_that_hangs_on_the_broken_channel_is_stood_in_for() -> None:
    rules = AlertRules(ladder=(Rung((Contact("mail", "a"),)), Rung((Contact("webhook", "b"),))))
    broken = a_sighting(10, condition="alert_path_broken", is_technical=True, about="mail", path="watch")
    (change,) = changes_of(broken, rules=rules)
    assert told(change, rules) == [("b", 0)]


def test_a_notification_is_the_same_when_it_is_made_again_and_a_row_can_hold_it() -> None:
    (one,) = notify(a_raised_alert(RULES), RULES)
    assert notify(a_raised_alert(RULES), RULES) == (one,)
    assert msgspec.json.decode(msgspec.json.encode(one), type=Notification) == one
    (climbed,) = pass_time(a_raised_alert(RULES, at_s=0).alert, RULES, 10**12)
    assert notify(climbed, RULES)[0].id != one.id


def test_urgent_ones_come_first_and_technical_ones_last() -> None:
    kinds = [
        a_raised_alert(RULES, priority=priority, is_technical=is_technical)
        for is_technical in (False, True)
        for priority in ("high", "medium", "low")
    ]
    assert [notify(change, RULES)[0].urgency for change in kinds] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("ns", "text"),
    [(0, "1970-01-01T00:00:00.000Z"), (1_700_000_000_123_999_999, "2023-11-14T22:13:20.123Z")],
)
def test_instants_are_rfc_3339(ns: int, text: str) -> None:
    assert instant(ns) == text


def test_the_heart_beat_of_a_period_is_one() -> None:
    beats = [heartbeat("main", Contact("mail", "a"), 60, at_s * SECOND_NS) for at_s in (0, 59, 60)]
    assert beats[0].id == beats[1].id != beats[2].id
    assert beats[0].alert_id == ""
