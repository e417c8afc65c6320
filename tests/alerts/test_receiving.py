"""One alert per patient and condition, however often and by whom it is found."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.alerts import (
    AlertRules,
    AlertState,
    Change,
    Choice,
    LifeEvent,
    PatientAlerts,
    Sighting,
    acknowledge,
    close,
    end_all,
    episodes_needed,
    pass_time,
    receive,
    sightings_of,
    suppress,
)
from einthoven.errors import AlertStepRefused
from einthoven.signal.findings import Condition
from einthoven.testing.alerts import SECOND_NS, a_ladder, a_sighting


class Told:
    """A conversation about one patient."""

    def __init__(self, **rules: Any) -> None:
        self.rules = AlertRules(**rules)
        self.known = PatientAlerts("main", "p-1")
        self.changes: list[Change] = []

    def hears(self, *sightings: Sighting, at_s: float = 100.0) -> list[str]:
        return self.takes(receive(self.known, sightings, self.rules, round(at_s * SECOND_NS)))

    def takes(self, changes: tuple[Change, ...]) -> list[str]:
        self.known = self.known.after(changes)
        self.changes += changes
        return [change.what for change in changes]

    def acknowledges(self) -> list[str]:
        (alert,) = [one for one in self.known.alerts if one.state.is_open]
        return self.takes((acknowledge(alert, self.rules, 0, by="dr-7"),))


def late(onset_s: float, end_s: float | None = None, **facts: Any) -> Sighting:
    return a_sighting(onset_s, end_s, path="batch", **facts)


def test_a_condition_is_raised_once_however_often_it_is_found() -> None:
    told = Told()
    assert told.hears(a_sighting(10)) == ["raised"]
    assert told.hears(a_sighting(10), a_sighting(10.2)) == []


def test_a_condition_that_was_over_before_it_was_told_is_raised_and_ended() -> None:
    assert Told().hears(a_sighting(10, 12)) == ["raised", "ended"]


def test_the_end_is_told_once() -> None:
    told = Told()
    told.hears(a_sighting(10))
    assert told.hears(a_sighting(10, 20)) == ["ended"]
    assert told.hears(a_sighting(10, 20), a_sighting(10)) == []


def test_what_comes_back_before_anybody_looked_is_the_same_alert() -> None:
    told = Told()
    told.hears(a_sighting(10, 20))
    assert told.hears(a_sighting(30, 40)) == ["repeated", "ended"]
    (alert,) = told.known.alerts
    assert (alert.number, alert.episodes, alert.onset_ns) == (1, 2, 30 * SECOND_NS)


def test_what_comes_back_after_somebody_looked_calls_again() -> None:
    told = Told()
    told.hears(a_sighting(10, 20))
    told.acknowledges()
    assert told.hears(a_sighting(30)) == ["reopened"]
    assert told.known.alerts[0].state is AlertState.ACTIVE


def test_an_end_that_was_not_seen_is_made_good_at_the_next_onset() -> None:
    told = Told()
    told.hears(a_sighting(10))
    assert told.hears(a_sighting(30)) == ["ended", "repeated"]
    assert told.changes[1].alert.end_ns == 30 * SECOND_NS
    assert [one.end_ns for one in told.known.episodes] == [30 * SECOND_NS, None]


def test_a_closed_alert_stays_closed_while_the_same_episode_goes_on() -> None:
    told = Told()
    told.hears(a_sighting(10))
    told.acknowledges()
    told.takes((close(told.known.alerts[0], told.rules, 15 * SECOND_NS, by="dr-7", why="false"),))
    assert told.hears(a_sighting(10), a_sighting(10, 90)) == []
    assert told.hears(a_sighting(120)) == ["raised"]
    assert told.known.alerts[0].number == 2
    assert told.changes[-1].alert.id != told.changes[0].alert.id


def test_a_doubt_and_the_certain_thing_are_two_alerts_on_two_lists() -> None:
    told = Told()
    doubt = a_sighting(10, priority="low", is_technical=True, about="doubt", reason="cannot be read")
    assert told.hears(doubt, a_sighting(10)) == ["raised", "raised"]
    assert [(one.priority, one.is_technical) for one in told.known.alerts] == [("low", True), ("high", False)]


def test_what_both_paths_find_is_one_alert() -> None:
    """In whichever order, wherever the two put its borders."""
    for first, second in (
        (a_sighting(10, 20), late(10, 20)),
        (a_sighting(10, 20), late(8, 14)),
        (a_sighting(10, 20), late(12, 30)),
        (a_sighting(10), late(12, 30)),
        (late(10, 20), a_sighting(11, 19)),
        (late(10, 20), a_sighting(9)),
    ):
        told = Told()
        told.hears(first)
        told.hears(second)
        assert [change.what for change in told.changes].count("raised") == 1
        assert told.known.alerts[0].episodes == 1


def test_the_batch_layer_does_not_end_what_the_stream_shows() -> None:
    told = Told()
    told.hears(a_sighting(10))
    assert told.hears(late(10, 20)) == []
    assert told.known.alerts[0].state is AlertState.ACTIVE


def test_what_only_the_batch_layer_found_is_told_and_marked_late() -> None:
    told = Told()
    assert told.hears(late(10, 20)) == ["raised", "ended"]
    (alert,) = told.known.alerts
    assert alert.is_late
    assert alert.state is AlertState.CLEARED
    assert told.hears(a_sighting(400)) == ["repeated"]
    assert not told.known.alerts[0].is_late


def test_a_late_episode_of_an_active_alert_is_counted_and_the_alert_goes_on() -> None:
    told = Told()
    told.hears(a_sighting(100))
    assert told.hears(late(10, 20)) == ["repeated"]
    (alert,) = told.known.alerts
    assert (alert.episodes, alert.onset_ns, alert.state) == (2, 100 * SECOND_NS, AlertState.ACTIVE)
    assert told.changes[-1].step.detail == "late"
    assert told.hears(late(10, 20), a_sighting(100)) == []


def test_a_late_episode_of_an_acknowledged_alert_calls_again_and_is_over() -> None:
    told = Told()
    told.hears(a_sighting(100, 110))
    told.acknowledges()
    assert told.hears(late(10, 20)) == ["reopened", "ended"]
    assert told.known.alerts[0].state is AlertState.CLEARED
    assert told.known.alerts[0].is_late
    assert told.hears(a_sighting(100, 110)) == []


def test_atrial_fibrillation_is_one_alert_from_onset_to_end() -> None:
    told = Told()
    af = {"condition": "atrial_fibrillation", "priority": "low"}
    words = [told.hears(a_sighting(10, until_ns=(10 + n) * SECOND_NS, **af)) for n in range(30)]
    words.append(told.hears(a_sighting(10, 300, **af)))
    assert [word for words_of_one in words for word in words_of_one] == ["raised", "ended"]


def test_a_hold_delay_alerts_only_of_what_lasts() -> None:
    told = Told(choices={"tachycardia": Choice(delay_s=60)})
    fast = {"condition": "tachycardia", "priority": "low"}
    assert told.hears(a_sighting(10, until_ns=69 * SECOND_NS, **fast)) == []
    assert told.hears(a_sighting(10, until_ns=70 * SECOND_NS, **fast)) == ["raised"]
    assert told.hears(a_sighting(200, 230, **fast)) == []


def test_a_condition_that_is_turned_off_alerts_nobody_and_ends_what_is_told() -> None:
    told = Told()
    pause = {"condition": "pause", "priority": "medium"}
    told.hears(a_sighting(10, **pause))
    told.rules = AlertRules(choices={"pause": Choice(alerts=False)})
    assert told.hears(a_sighting(10, 14, **pause), a_sighting(20, 24, **pause)) == ["ended"]


def test_a_priority_can_be_changed_and_a_higher_one_calls_again() -> None:
    told = Told()
    pause = {"condition": "pause", "priority": "medium"}
    told.hears(a_sighting(10, **pause))
    told.acknowledges()
    told.rules = AlertRules(choices={"pause": Choice(priority="high")})
    assert told.hears(a_sighting(10, **pause)) == ["worsened"]
    assert told.hears(a_sighting(10, **pause)) == []
    (alert,) = told.known.alerts
    assert (alert.priority, alert.state) == ("high", AlertState.ACTIVE)


def test_what_goes_on_ends_with_its_stream() -> None:
    told = Told()
    told.hears(a_sighting(10), a_sighting(10, condition="pause", about="", priority="medium"))
    told.hears(a_sighting(10, condition="device_silent", is_technical=True, about="d", path="watch"))
    words = told.takes(end_all(told.known, told.rules, 50, stream=1, end_ns=50, why="it began anew"))
    assert words == ["ended", "ended"]
    assert [one.state.is_active for one in told.known.alerts] == [False, False, True]


def test_what_two_streams_show_is_one_alert_until_neither_shows_it() -> None:
    told = Told()
    assert told.hears(a_sighting(10, stream=1)) == ["raised"]
    assert told.hears(a_sighting(12, stream=2)) == ["joined"]
    assert told.hears(a_sighting(12, stream=2), a_sighting(10, stream=1)) == []
    assert told.hears(a_sighting(10, 20, stream=1)) == ["left"]
    assert told.hears(a_sighting(10, 20, stream=1)) == []
    assert told.known.alerts[0].state is AlertState.ACTIVE
    assert told.hears(a_sighting(12, 25, stream=2)) == ["ended"]
    (alert,) = told.known.alerts
    assert (alert.number, alert.episodes, alert.end_ns) == (1, 1, 25 * SECOND_NS)


def test_one_stream_does_not_end_what_another_shows() -> None:
    """Neither by ending, nor by beginning anew, nor by a short episode of its own."""
    told = Told()
    told.hears(a_sighting(10, stream=1))
    assert told.hears(a_sighting(12, 14, stream=2)) == []
    assert told.takes(end_all(told.known, told.rules, 50, stream=2, end_ns=50, why="it began anew")) == []
    assert told.known.alerts[0].state is AlertState.ACTIVE


def test_an_onset_anew_in_one_stream_while_another_shows_it_is_the_same_episode() -> None:
    told = Told()
    told.hears(a_sighting(10, stream=1), a_sighting(11, stream=2), a_sighting(10, 20, stream=1))
    assert told.hears(a_sighting(30, stream=1)) == ["joined"]
    assert told.known.alerts[0].episodes == 1


def test_a_stream_that_joins_with_more_urgency_calls_again() -> None:
    told = Told()
    told.hears(a_sighting(10, priority="medium", stream=1))
    told.acknowledges()
    assert told.hears(a_sighting(12, priority="high", stream=2)) == ["joined", "worsened"]
    assert told.known.alerts[0].state is AlertState.ACTIVE


def test_what_is_held_or_has_no_priority_is_no_sighting() -> None:
    conditions = (
        Condition("ventricular_run", "medium", 10, None, 40, 1, "hold", "not sure"),
        Condition("bigeminy", "none", 10, None, 40, 1),
        Condition("asystole", "technical", 125, 250, 40, 3, "doubt", "cannot be read"),
        Condition("pause", "medium", 125, None, 90, 1),
    )
    doubt, pause = sightings_of(conditions, fs=125.0, start_ns=SECOND_NS, until=500)
    assert (doubt.priority, doubt.is_technical, doubt.about) == ("low", True, "doubt")
    assert (doubt.onset_ns, doubt.end_ns) == (2 * SECOND_NS, 3 * SECOND_NS)
    assert (pause.end_ns, pause.until_ns) == (None, 5 * SECOND_NS)
    (over,) = sightings_of(conditions[3:], fs=125.0, start_ns=SECOND_NS, until=500, is_over=True)
    assert over.end_ns == 5 * SECOND_NS


def test_the_episodes_to_be_loaded_begin_at_the_earliest_onset_of_each_key() -> None:
    needed = episodes_needed((a_sighting(30), a_sighting(10), a_sighting(5, condition="pause")))
    assert needed == {
        ("asystole", ""): 10 * SECOND_NS - SECOND_NS // 2,
        ("pause", ""): 5 * SECOND_NS - SECOND_NS // 2,
    }


KINDS = ("asystole", "pause", "atrial_fibrillation")
SIGHTINGS = st.builds(
    lambda kind, onset, length, path, stream, is_technical: a_sighting(
        onset,
        None if length is None else onset + length,
        condition=kind,
        path=path,
        stream=stream if path == "online" else None,
        is_technical=is_technical,
        about="doubt" if is_technical else "",
    ),
    st.sampled_from(KINDS),
    st.integers(0, 60),
    st.integers(1, 12) | st.none(),
    st.sampled_from(["online", "batch"]),
    st.sampled_from([1, 2]),
    st.booleans(),
)
ACTIONS = st.one_of(
    SIGHTINGS,
    st.tuples(st.sampled_from(["acknowledge", "suppress", "close", "time", "end"]), st.integers(0, 5)),
)


def acted(known: PatientAlerts, rules: AlertRules, word: str, number: int, at_ns: int) -> tuple[Change, ...]:
    if word == "time":
        return tuple(step for one in known.alerts for step in pass_time(one, rules, at_ns))
    if word == "end":
        return end_all(known, rules, at_ns, stream=1 + number % 2, end_ns=at_ns, why="it began anew")
    if number >= len(known.alerts):
        return ()
    alert = known.alerts[number]
    try:
        if word == "acknowledge":
            return (acknowledge(alert, rules, at_ns, by="dr-7"),)
        if word == "suppress":
            return (suppress(alert, rules, at_ns, until_ns=at_ns + SECOND_NS, by="dr-7", why="bathing"),)
        return (close(alert, rules, at_ns, by="dr-7", why="false"),)
    except AlertStepRefused:
        return ()


@given(st.lists(ACTIONS, max_size=40))
def test_at_most_one_alert_of_a_key_is_open_whatever_happens(actions: list[Any]) -> None:
    """By any interleaving of stream, batch layer, people and clock; no change skips a step or a number."""
    rules = AlertRules(ladder=a_ladder("a", "b"), close_after_s=5)
    known = PatientAlerts("main", "p-1")
    steps: dict[str, int] = {}
    is_open: dict[tuple[Any, ...], set[str]] = {}
    for n, action in enumerate(actions):
        at_ns = (100 + 3 * n) * SECOND_NS
        if isinstance(action, Sighting):
            changes = receive(known, (action,), rules, at_ns)
        else:
            changes = acted(known, rules, *action, at_ns)
        for change in changes:
            alert = change.alert
            assert change.step.number == alert.steps == steps.get(alert.id, 0) + 1
            steps[alert.id] = alert.steps
            ids = is_open.setdefault(alert.key, set())
            (ids.add if alert.state.is_open else ids.discard)(alert.id)
            assert len(ids) <= 1
            assert alert.state.is_active == (alert.end_ns is None)
            assert alert.state.is_active or not alert.shown
        known = known.after(changes)
        for key in {one.key for one in known.episodes}:
            goes_on = [one for one in known.episodes if one.key == key and one.end_ns is None]
            assert len(goes_on) <= 1


@given(st.lists(SIGHTINGS, max_size=25))
def test_a_sighting_again_changes_nothing(sightings: list[Sighting]) -> None:
    """A segment may be analysed twice, a transaction tried again."""
    rules = AlertRules()
    known = PatientAlerts("main", "p-1")
    for one in sightings:
        known = known.after(receive(known, (one,), rules, 0))
        assert receive(known, (one,), rules, 1) == ()


@given(st.lists(SIGHTINGS, max_size=25), st.integers(1, 5), st.booleans())
def test_a_whole_history_again_changes_nothing(sightings: list[Sighting], size: int, is_batch: bool) -> None:
    """Of the stream, however it was cut into segments; of a batch layer that saw whole recordings."""
    history = [
        one
        for one in sightings
        if (one.stream is None if is_batch else one.stream == 1) and not (is_batch and one.end_ns is None)
    ]
    rules = AlertRules()
    known = PatientAlerts("main", "p-1")
    for start in range(0, len(history), size):
        known = known.after(receive(known, history[start : start + size], rules, 0))
        assert receive(known, history[: start + size], rules, 1) == ()


@given(st.lists(SIGHTINGS, max_size=25))
def test_only_the_episodes_asked_for_need_be_loaded(sightings: list[Sighting]) -> None:
    rules = AlertRules()
    known = PatientAlerts("main", "p-1")
    for one in sightings:
        needed = episodes_needed((one,))
        part = tuple(
            episode
            for episode in known.episodes
            if episode.key in needed and (episode.end_ns is None or episode.end_ns >= needed[episode.key])
        )
        partly = msgspec.structs.replace(known, episodes=part)
        assert receive(partly, (one,), rules, 0) == receive(known, (one,), rules, 0)
        known = known.after(receive(known, (one,), rules, 0))


@pytest.mark.parametrize("event", [LifeEvent.BEGAN, LifeEvent.ENDED])
def test_steps_of_the_ecg_are_by_the_ecg(event: LifeEvent) -> None:
    told = Told()
    told.hears(a_sighting(10, 20))
    assert {change.step.by for change in told.changes if change.step.event is event} == {"ecg"}


def test_two_transactions_from_the_same_rows_collide_on_the_step() -> None:
    """A database with a key on (organisation, alert, step) lets one of them through: never two alerts."""
    known, rules = PatientAlerts("main", "p-1"), AlertRules()
    (stream,) = receive(known, (a_sighting(10),), rules, 0)
    batch, _ = receive(known, (late(11, 20),), rules, 5)
    assert (stream.alert.id, stream.step.number) == (batch.alert.id, batch.step.number)
    again = receive(known.after((stream,)), (late(11, 20),), rules, 5)
    assert again == ()
