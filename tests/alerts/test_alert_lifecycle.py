"""The life of an alert is its table: every path is walked, none leads around it, the picture is of it."""

import os
import re
from itertools import product
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.alerts import (
    LIFECYCLE,
    Alert,
    AlertRules,
    AlertState,
    LifeEvent,
    acknowledge,
    assign,
    close,
    delivered,
    escalate,
    mermaid,
    pass_time,
    resume,
    state_after,
    suppress,
)
from einthoven.alerts.alert import advance
from einthoven.errors import AlertStepRefused
from einthoven.testing.alerts import SECOND_NS, a_ladder, a_raised_alert, after_event

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "alerts.md"
RULES = AlertRules(ladder=a_ladder("nurse", "physician"))


def in_state(state: AlertState) -> Alert:
    """An alert brought there step by step."""
    alert = a_raised_alert(RULES).alert
    for event in shortest_ways()[state]:
        alert = after_event(alert, event, RULES)
    assert alert.state is state
    return alert


def shortest_ways() -> dict[AlertState, tuple[LifeEvent, ...]]:
    """From a raised alert to each state."""
    ways: dict[AlertState, tuple[LifeEvent, ...]] = {AlertState.ACTIVE: ()}
    todo = [AlertState.ACTIVE]
    while todo:
        state = todo.pop(0)
        for event, after in LIFECYCLE[state].items():
            if after not in ways:
                ways[after] = (*ways[state], event)
                todo.append(after)
    return ways


def test_every_state_is_reached_and_only_closed_is_final() -> None:
    assert set(shortest_ways()) == set(AlertState) - {AlertState.NEW}
    assert set(LIFECYCLE) == set(AlertState)
    assert [state for state, row in LIFECYCLE.items() if not row] == [AlertState.CLOSED]
    assert {event for row in LIFECYCLE.values() for event in row} == set(LifeEvent)


@pytest.mark.parametrize(
    ("state", "event"), list(product(shortest_ways(), LifeEvent)), ids=lambda one: one.value
)
def test_every_path_of_the_table_is_taken_and_no_other(state: AlertState, event: LifeEvent) -> None:
    """Each step writes who, when and why, and counts one up; what the table lacks is refused."""
    alert = in_state(state)
    if event not in LIFECYCLE[state]:
        with pytest.raises(AlertStepRefused, match=f"{state.value} cannot be {event.value}"):
            advance(alert, event, RULES, 99, by="x")
        return
    change = advance(alert, event, RULES, 99, by="dr-7", why="because")
    assert change.alert.state is LIFECYCLE[state][event] is state_after(state, event)
    assert change.step.number == change.alert.steps == alert.steps + 1
    assert (change.step.before, change.step.after) == (state, change.alert.state)
    assert (change.step.by, change.step.why, change.step.at_ns) == ("dr-7", "because", 99)
    assert change.alert.changed_ns == 99


def test_a_closed_alert_takes_no_step_at_all() -> None:
    assert LIFECYCLE[AlertState.CLOSED] == {}


def test_only_what_was_watched_ends_a_condition() -> None:
    """No person's step leads from active to cleared."""
    people = {LifeEvent.ACKNOWLEDGED, LifeEvent.ASSIGNED, LifeEvent.SUPPRESSED, LifeEvent.RESUMED}
    for state, event in product(LIFECYCLE, people):
        after = LIFECYCLE[state].get(event)
        assert after is None or after.is_active == state.is_active


def test_what_nobody_looked_at_nobody_closes() -> None:
    for state in (AlertState.ACTIVE, AlertState.CLEARED):
        with pytest.raises(AlertStepRefused):
            close(in_state(state), RULES, 0, by="dr-7", why="false")


def test_a_condition_that_comes_back_opens_the_signal_again() -> None:
    again = advance(in_state(AlertState.CLEARED_ACKNOWLEDGED), LifeEvent.BEGAN, RULES, 50, by="ecg")
    assert again.what == "reopened"
    assert again.alert.state is AlertState.ACTIVE
    assert (again.alert.rung, again.alert.rung_ns) == (0, 50)


def test_suppressing_needs_a_reason_and_a_time_within_a_week() -> None:
    alert = in_state(AlertState.ACTIVE)
    week_ns = 7 * 86_400 * SECOND_NS
    for until_ns, why in ((10, " "), (0, "bathing"), (week_ns + 1, "bathing")):
        with pytest.raises(AlertStepRefused):
            suppress(alert, RULES, 0, until_ns=until_ns, by="dr-7", why=why)
    off = suppress(alert, RULES, 0, until_ns=week_ns, by="dr-7", why="bathing").alert
    assert off.state is AlertState.ACTIVE_SUPPRESSED
    assert off.suppressed_until_ns == off.due_ns == week_ns
    on = resume(off, RULES, 5, by="dr-7").alert
    assert on.state is AlertState.ACTIVE
    assert on.suppressed_until_ns is None


def test_a_suppression_ends_by_itself() -> None:
    off = suppress(in_state(AlertState.ACTIVE), RULES, 0, until_ns=100, by="dr-7", why="bathing").alert
    assert pass_time(off, RULES, 99) == ()
    (change,) = pass_time(off, RULES, 100)
    assert (change.what, change.alert.state) == ("resumed", AlertState.ACTIVE)
    assert pass_time(change.alert, RULES, 100) == ()


def test_assigning_leaves_the_signal_on() -> None:
    change = assign(in_state(AlertState.ACTIVE), RULES, 5, to="dr-8", by="dr-7")
    assert change.alert.assignee == change.step.detail == "dr-8"
    assert change.alert.state is AlertState.ACTIVE


def test_an_unanswered_alert_climbs_one_rung_once() -> None:
    """No acknowledgement in time: the next rung, however late it is noticed; then its whole time again."""
    alert = a_raised_alert(AlertRules(ladder=a_ladder("a", "b", "c")), at_s=0).alert
    rules = AlertRules(ladder=a_ladder("a", "b", "c"))
    (told,) = delivered(alert, rules, 3 * SECOND_NS, rung=0, receipt="200")
    assert told.alert.escalate_ns == 60 * SECOND_NS
    late_ns = 3600 * SECOND_NS
    (climbed,) = pass_time(told.alert, rules, late_ns)
    assert (climbed.what, climbed.alert.rung, climbed.step.why) == ("escalated", 1, "no acknowledgement")
    assert pass_time(climbed.alert, rules, late_ns) == ()
    assert climbed.alert.escalate_ns == late_ns + 20 * SECOND_NS


def test_a_rung_without_a_receipt_is_left_sooner() -> None:
    alert = a_raised_alert(RULES, at_s=0).alert
    assert alert.escalate_ns == 20 * SECOND_NS
    (climbed,) = pass_time(alert, RULES, 20 * SECOND_NS)
    assert climbed.step.why == "no delivery receipt"
    assert climbed.alert.escalate_ns is None, "there is no further rung"


def test_a_receipt_counts_once_and_only_for_the_rung_that_was_told_last() -> None:
    alert = a_raised_alert(RULES, at_s=0).alert
    (first,) = delivered(alert, RULES, 5, rung=0, receipt="200")
    assert first.alert.delivered_ns == 5
    assert delivered(first.alert, RULES, 6, rung=0, receipt="200") == ()
    (climbed,) = pass_time(first.alert, RULES, 60 * SECOND_NS)
    assert delivered(climbed.alert, RULES, 61 * SECOND_NS, rung=0, receipt="200") == ()
    assert climbed.alert.delivered_ns is None


def test_an_acknowledgement_stops_the_climb() -> None:
    alert = acknowledge(a_raised_alert(RULES, at_s=0).alert, RULES, 5, by="nurse").alert
    assert alert.due_ns is None
    assert pass_time(alert, RULES, 10**18) == ()


def test_somebody_may_climb_before_the_time_comes_and_nobody_higher_than_the_ladder() -> None:
    """The next rung then has its whole time."""
    raised = a_raised_alert(RULES, at_s=0).alert
    last = len(RULES.ladder) - 1
    alert = raised
    for rung in range(1, last + 1):
        climbed = escalate(alert, RULES, rung * SECOND_NS, by="nurse", why="far away")
        alert = climbed.alert
        assert (climbed.what, alert.rung, alert.rung_ns) == ("escalated", rung, rung * SECOND_NS)
        assert (climbed.step.by, climbed.step.why) == ("nurse", "far away")
    with pytest.raises(AlertStepRefused, match="no higher rung"):
        escalate(alert, RULES, 10**12, by="nurse")
    known = acknowledge(raised, RULES, 5, by="nurse").alert
    with pytest.raises(AlertStepRefused, match="cannot be escalated"):
        escalate(known, RULES, 6, by="nurse")


def test_high_latches_and_low_expires() -> None:
    """What stays until somebody looks is visible in the rules."""
    high = after_event(a_raised_alert(RULES).alert, LifeEvent.ENDED, RULES)
    assert (high.close_ns, high.escalate_ns is None) == (None, False)
    low = after_event(a_raised_alert(RULES, priority="low").alert, LifeEvent.ENDED, RULES, at_s=20)
    assert low.escalate_ns is None
    assert low.close_ns == (20 + 1800) * SECOND_NS
    (over,) = pass_time(low, RULES, low.close_ns)
    assert (over.what, over.alert.state, over.step.event) == ("closed", AlertState.CLOSED, LifeEvent.EXPIRED)


def test_the_picture_in_the_page_is_of_this_table() -> None:
    page = PAGE.read_text()
    current = re.sub(r"(?<=```mermaid\n).*?(?=```)", lambda _: mermaid(), page, flags=re.DOTALL)
    if os.environ.get("EINTHOVEN_WRITE_DOCS"):
        PAGE.write_text(current)
    assert PAGE.read_text() == current, "the picture is stale; CONTRIBUTING.md says how to write it"


EVENTS = st.lists(st.sampled_from(list(LifeEvent)), max_size=40)


@given(EVENTS, st.integers(0, 3))
def test_no_path_leads_around_the_table(events: list[LifeEvent], rungs: int) -> None:
    """Whatever is tried, each state follows from the one before by the table, and steps are numbered."""
    rules = AlertRules(ladder=a_ladder(*"abc"[:rungs]))
    alert = a_raised_alert(rules).alert
    for n, event in enumerate(events):
        allowed = LIFECYCLE[alert.state].get(event)
        try:
            after = after_event(alert, event, rules, at_s=20.0 + n)
        except AlertStepRefused:
            assert allowed is None
            continue
        assert after.state is allowed
        assert after.steps == alert.steps + 1
        assert after.suppressed_until_ns is None or after.state.is_suppressed
        assert after.escalate_ns is None or after.state.is_unacknowledged
        assert after.close_ns is None or not after.state.is_active
        alert = after


@given(st.integers(1, 6), st.lists(st.floats(0, 400), min_size=1, max_size=60))
def test_escalations_climb_once(rungs: int, waits_s: list[float]) -> None:
    """However often and late the clock is asked: each rung once, in order, none before its time."""
    rules = AlertRules(ladder=a_ladder(*"abcdef"[:rungs]))
    alert, at_s, climbed = a_raised_alert(rules, at_s=0).alert, 0.0, []
    for wait_s in waits_s:
        at_s += wait_s
        due_ns = alert.escalate_ns
        changes = pass_time(alert, rules, round(at_s * SECOND_NS))
        assert len(changes) == (due_ns is not None and due_ns <= round(at_s * SECOND_NS))
        for change in changes:
            alert = change.alert
            climbed.append(alert.rung)
        assert pass_time(alert, rules, round(at_s * SECOND_NS)) == ()
    assert climbed == list(range(1, len(climbed) + 1))
    assert len(climbed) < rungs


def test_an_alert_survives_its_row() -> None:
    """Every field is plain, so that a row can hold it."""
    for state in shortest_ways():
        alert = in_state(state)
        assert msgspec.json.decode(msgspec.json.encode(alert), type=Alert) == alert
