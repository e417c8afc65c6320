"""The alerts of many patients in memory."""

import pytest

from einthoven.alerts import AlertBook, AlertRules, AlertState
from einthoven.errors import AlertStepRefused, InputInvalid
from einthoven.testing.alerts import a_ladder, a_sighting


def test_patients_do_not_share_alerts() -> None:
    book = AlertBook()
    for patient in ("p", "q"):
        (change,) = book.receive(patient, (a_sighting(10),), 11.0)
        assert change.what == "raised"
    assert [alert.patient for alert in book.open_alerts] == ["p", "q"]


def test_acknowledging_silences_once() -> None:
    book = AlertBook()
    (raised,) = book.receive("p", (a_sighting(10),), 11.0)
    assert book.acknowledge(raised.alert.id, 12.0, by="nurse").alert.state is AlertState.ACTIVE_ACKNOWLEDGED
    with pytest.raises(AlertStepRefused):
        book.acknowledge(raised.alert.id, 13.0, by="nurse")
    with pytest.raises(InputInvalid, match="no such alert is open"):
        book.acknowledge("alt_0", 13.0, by="nurse")


def test_time_climbs_and_closes() -> None:
    book = AlertBook(AlertRules(ladder=a_ladder("a", "b"), close_after_s=10))
    book.receive("p", (a_sighting(10), a_sighting(10, 12, condition="pause", priority="low")), 12.0)
    assert [change.what for change in book.pass_time(33.0)] == ["escalated", "closed"]
    assert book.pass_time(33.0) == ()
    assert [alert.condition for alert in book.open_alerts] == ["asystole"]


def test_nothing_sighted_is_no_change() -> None:
    assert AlertBook().receive("p", (), 0.0) == ()
