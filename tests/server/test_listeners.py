"""Whoever listens hears each change once and in order, whatever happened while the missed ones were read."""

from hypothesis import given
from hypothesis import strategies as st

from einthoven.alerts import AlertRules, Change, PatientAlerts, Sighting, receive
from einthoven.server.identities import Person
from einthoven.server.listeners import Listener, News, Told, ToldStreams, Wish
from einthoven.trust.grants import Grant

CLINICIAN = Person("main", "ann", "clinician", 1, True, None)


def a_change() -> Change:
    sighting = Sighting(
        condition="asystole", priority="high", is_technical=False, onset_ns=1, end_ns=None, until_ns=2
    )
    (change,) = receive(PatientAlerts("main", "p1"), (sighting,), AlertRules(), 2)
    return change


def taken(listener: Listener) -> list[int | str | None]:
    found: list[int | str | None] = []
    while not listener.queue.empty():
        one = listener.queue.get_nowait()
        found.append(one.number if isinstance(one, Told) else "streams" if one is not None else None)
    return found


@given(
    missed=st.lists(st.integers(1, 30), unique=True).map(sorted),
    waiting=st.lists(st.integers(1, 60) | st.just("streams"), max_size=20),
    is_over=st.booleans(),
)
def test_what_was_missed_comes_before_what_came_meanwhile_each_once(missed, waiting, is_over) -> None:
    listener = Listener(CLINICIAN, Wish())
    change = a_change()
    for one in waiting:
        listener.put(
            ToldStreams([], [], (), 0.0) if one == "streams" else Told(one, change, (), 0.0)  # type: ignore[arg-type]
        )
    if is_over:
        listener.queue.put_nowait(None)
    listener.begin([Told(number, change, (), 0.0) for number in missed])
    numbers = sorted({*missed, *(one for one in waiting if one != "streams")})
    assert taken(listener) == [*numbers, *["streams"] * waiting.count("streams"), *[None] * is_over]


def test_who_has_missed_more_than_waits_is_cut_off_behind_the_first() -> None:
    listener = Listener(CLINICIAN, Wish())
    change = a_change()
    listener.put(Told(5000, change, (), 0.0))
    listener.begin([Told(number, change, (), 0.0) for number in range(1, 1200)])
    assert taken(listener) == [*range(1, 1001), None], "and comes back for the rest"


def test_what_somebody_was_let_see_of_one_patient_shows_nothing_of_another() -> None:
    grants = {
        patient: [
            Grant(
                id=f"g{patient}",
                patient=patient,
                account="ann",
                data=("alerts",),
                basis="granted",
                since_ns=0,
                by="admin",
                by_role="admin",
                reason="treatment",
            )
        ]
        for patient in ("p1", "p2")
    }
    change, listener = a_change(), Listener(CLINICIAN, Wish())
    assert listener.told(1, change, News([], "granted", {"p2": grants["p2"]}, 5, 0.0)) is None
    assert listener.told(1, change, News([], "granted", grants, 5, 0.0)) is not None
