"""One alert per patient and condition; its life is the table, and no path leads around it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.alerts import LIFECYCLE, AlertBook, AlertState, LifeEvent
from einthoven.errors import InputInvalid
from einthoven.signal.findings import Condition


def found(onset: int, end: int | None = None, kind: str = "asystole") -> Condition:
    return Condition(kind, "high", onset, end, 90, 1)


class Told:
    """A conversation with a book, in words."""

    def __init__(self) -> None:
        self.book = AlertBook()

    def hears(self, *conditions: Condition, patient: str = "p") -> list[str]:
        return [change.what for change in self.book.receive(patient, conditions, fs=125.0, at_s=1.0)]


def test_a_condition_is_raised_once_however_often_it_is_found() -> None:
    told = Told()
    assert told.hears(found(10)) == ["raised"]
    assert told.hears(found(10)) == []
    assert told.hears(found(10), found(10)) == []
    assert len(told.book.open_alerts) == 1


def test_a_condition_that_was_over_before_it_was_told_is_raised_and_ended() -> None:
    assert Told().hears(found(10, 20)) == ["raised", "ended"]


def test_the_end_is_told_once() -> None:
    told = Told()
    told.hears(found(10))
    assert told.hears(found(10, 20)) == ["ended"]
    assert told.hears(found(10, 20)) == []


def test_what_comes_back_before_anybody_looked_is_the_same_alert() -> None:
    told = Told()
    told.hears(found(10, 20))
    assert told.hears(found(30, 40)) == ["repeated", "ended"]
    (alert,) = told.book.open_alerts
    assert (alert.number, alert.episodes, alert.onset_s, alert.end_s) == (1, 2, 30 / 125, 40 / 125)


def test_acknowledging_silences_and_only_the_ecg_ends_the_condition() -> None:
    told = Told()
    told.hears(found(10))
    assert told.book.acknowledge(1).alert.state is AlertState.ACKNOWLEDGED
    assert told.hears(found(10)) == []
    assert told.hears(found(10, 20)) == ["closed"]
    assert told.book.open_alerts == ()
    assert told.hears(found(30)) == ["raised"]


def test_acknowledging_what_is_over_closes_it() -> None:
    told = Told()
    told.hears(found(10, 20))
    assert told.book.acknowledge(1).what == "closed"
    with pytest.raises(InputInvalid, match="no such alert is open"):
        told.book.acknowledge(1)


def test_acknowledging_twice_is_refused() -> None:
    told = Told()
    told.hears(found(10))
    told.book.acknowledge(1)
    with pytest.raises(InputInvalid, match="acknowledged cannot be acknowledged"):
        told.book.acknowledge(1)


def test_patients_and_conditions_do_not_share_alerts() -> None:
    told = Told()
    assert told.hears(found(10), found(10, kind="pause")) == ["raised", "raised"]
    assert told.hears(found(10), patient="q") == ["raised"]
    assert [alert.number for alert in told.book.open_alerts] == [1, 2, 3]


ACTIONS = st.one_of(
    st.tuples(
        st.just("find"),
        st.sampled_from(["asystole", "pause"]),
        st.integers(0, 30),
        st.integers(1, 9) | st.none(),
    ),
    st.tuples(st.just("acknowledge"), st.integers(1, 6)),
)


@given(st.lists(ACTIONS, max_size=40))
def test_at_most_one_alert_is_open_per_condition_whatever_happens(actions: list[tuple[object, ...]]) -> None:
    book = AlertBook()
    raised = closed = 0
    for action in actions:
        try:
            if action[0] == "find":
                _, kind, onset, length = action
                end = None if length is None else onset + length
                changes = book.receive("p", (found(onset, end, kind),), fs=125.0, at_s=0.0)
            else:
                changes = (book.acknowledge(action[1]),)
        except InputInvalid:
            continue
        raised += sum(change.what == "raised" for change in changes)
        closed += sum(change.what == "closed" for change in changes)
        kinds = [alert.condition for alert in book.open_alerts]
        assert len(kinds) == len(set(kinds))
        assert raised - closed == len(kinds)
        assert all(alert.state is not AlertState.CLOSED for alert in book.open_alerts)


def test_every_state_of_the_table_can_be_reached_and_only_closed_is_final() -> None:
    reached, todo = set(), [AlertState.RAISED]
    while todo:
        state = todo.pop()
        if state not in reached:
            reached.add(state)
            todo += LIFECYCLE[state].values()
    assert reached == set(AlertState) == set(LIFECYCLE)
    assert [state for state, exits in LIFECYCLE.items() if not exits] == [AlertState.CLOSED]
    assert {event for exits in LIFECYCLE.values() for event in exits} == set(LifeEvent)


def test_what_is_held_alerts_nobody() -> None:
    held = Condition("ventricular_run", "medium", 10, None, 40, 1, "hold", "not sure")
    told = Told()
    assert told.hears(held) == []
    assert told.book.open_alerts == ()


def test_a_doubt_is_a_technical_alert_that_says_why() -> None:
    doubt = Condition("asystole", "technical", 10, None, 40, 3, "doubt", "cannot be read")
    told = Told()
    assert told.hears(doubt) == ["raised"]
    (alert,) = told.book.open_alerts
    assert alert.priority == "technical"
    assert alert.reason == "cannot be read"
