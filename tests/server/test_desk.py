"""Alerts of what segments show: once, whoever analyses, whatever fails."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import msgspec
import pytest

from einthoven.alerts import Alert, AlertBook, AlertRules, Choice, Contact, Rung, sightings_of, sign
from einthoven.clock import VirtualClock
from einthoven.errors import DatabaseUnavailable
from einthoven.runtime.online import OnlinePath
from einthoven.server import alert_tables
from einthoven.server.desk import Desk, Raised
from einthoven.server.engine import Engine
from einthoven.server.stream_plans import Recorded
from einthoven.server.watch import Watch
from einthoven.server.wire import Answer, Arrival
from einthoven.signal.recording import Recording, Segment
from einthoven.signal.rules import Criteria
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.storage import Connection, Database, Statements
from einthoven.testing.alerts import a_raised_alert

NS = 10**9
START_NS = 1000 * NS
KEYS = {"1": b"k" * 32}
Connect = Callable[[], Connection]


@pytest.fixture
def connect(database: Database) -> Iterator[Connect]:
    """New connections, closed at the end."""
    with ExitStack() as stack:

        def fresh() -> Connection:
            connection = database.connect()
            stack.callback(connection.close)
            return connection

        yield fresh


def stream(scene: str, seconds: int = 120, *, device: str = "d-1", size_s: int = 10) -> list[Arrival]:
    """A virtual patient's segments, as they arrive."""
    patient = VirtualPatient(seed=3, scene=SCENES[scene], duration_s=seconds)
    size = round(size_s * patient.info.fs)
    info = msgspec.structs.replace(patient.info, samples=size)
    found = []
    for number in range(seconds // size_s):
        counts = patient.read(number * size, (number + 1) * size, 0).copy()
        start_ns = START_NS + number * size_s * NS
        segment = Segment("p-1", device, number, start_ns, Recording(info, counts))
        is_last = number == seconds // size_s - 1
        found.append(Arrival("main", segment, is_last, start_ns + (size_s + 1) * NS))
    return found


def alerts_in(connection: Connection) -> list[Alert]:
    with connection.reading() as statements:
        rows = statements.rows("SELECT content FROM alerts ORDER BY raised_ns, id")
    return [msgspec.msgpack.decode(row[0], type=Alert) for row in rows]


def by_the_book(these: Sequence[Arrival]) -> list[Alert]:
    """What the path and the book in memory make of it."""
    path, book = OnlinePath(VirtualClock()), AlertBook()
    for one in these:
        receipt = path.receive(one.segment, is_last=one.is_last)
        assert receipt.findings is not None
        found = receipt.findings
        sightings = sightings_of(
            found.conditions,
            fs=found.fs,
            start_ns=receipt.start_ns,
            until=found.until,
            is_over=one.is_last,
        )
        book.receive("p-1", sightings, one.received_ns / NS)
    return [alert for known in book._patients.values() for alert in known.alerts]


def named(alerts: Sequence[Alert]) -> list[tuple[object, ...]]:
    return sorted(
        (one.condition, one.about, one.number, one.onset_ns, one.end_ns, one.episodes) for one in alerts
    )


@pytest.mark.parametrize("scene", ["vt_to_vf", "pauses", "atrial_fibrillation", "lead_off"])
def test_alerts_are_those_of_the_book_in_memory(connect: Connect, scene: str) -> None:
    these = stream(scene)
    engine = Engine(connect(), Desk(KEYS))
    for one in these:
        engine.process([one])
    found = alerts_in(connect())
    assert found
    assert named(found) == named(by_the_book(these))


def test_two_engines_by_turns_raise_each_alert_once(connect: Connect) -> None:
    these = stream("vt_to_vf")
    engines = [Engine(connect(), Desk(KEYS)) for _ in range(2)]
    for number, one in enumerate(these):
        engines[number % 2].process([one])
        engines[(number + 1) % 2].process([one])
    assert named(alerts_in(connect())) == named(by_the_book(these))


class Breaking(Desk):
    """A desk in whose transactions the database breaks now and then."""

    count = 0

    def follow(self, statements: Statements, found: Sequence[Recorded]) -> Raised:
        raised = super().follow(statements, found)
        self.count += 1
        if self.count % 2:
            raise DatabaseUnavailable("the connection broke.")
        return raised


def test_an_alert_whose_transaction_failed_is_raised_with_the_next(connect: Connect) -> None:
    these = stream("vt_to_vf")
    engine = Engine(connect(), Breaking(KEYS))
    for one in these:
        with pytest.raises(DatabaseUnavailable):
            engine.process([one])
        (outcome,) = engine.process([one])
        assert isinstance(outcome, Answer)
        assert outcome.status == "analysed"
    assert named(alerts_in(connect())) == named(by_the_book(these))


def test_two_devices_of_one_patient_side_by_side_are_one_alert(connect: Connect) -> None:
    one, other = stream("vt_to_vf"), stream("vt_to_vf", device="d-2")
    engines = [Engine(connect(), Desk(KEYS)) for _ in range(2)]
    for mine, yours in zip(one, other, strict=True):
        engines[0].process([mine])
        engines[1].process([yours])
    assert named(alerts_in(connect())) == named(by_the_book(one))


def put_in_force(connection: Connection, rules: AlertRules, keys: dict[str, bytes] = KEYS) -> None:
    with connection.writing() as statements:
        history = alert_tables.read_history(statements, rules.org, rules.patient)
        before = history[-1] if history else None
        signed = sign(
            rules, account="dr-7", role="clinician", at_ns=len(history), keys=keys, key="1", before=before
        )
        alert_tables.add_rules(statements, signed)


def test_a_patients_own_rules_hold_from_the_next_segment(connect: Connect) -> None:
    connection = connect()
    these = stream("vt_to_vf")
    engine = Engine(connection, Desk(KEYS))
    engine.process(these[:1])
    quiet = {kind: Choice(alerts=False) for kind in ("ventricular_fibrillation", "ventricular_tachycardia")}
    put_in_force(connection, AlertRules(patient="p-1", note="hospice", choices=quiet))  # type: ignore[arg-type]
    for one in these[1:]:
        engine.process([one])
    kinds = {alert.condition for alert in alerts_in(connection)}
    assert not kinds & set(quiet)


def test_limits_of_the_rhythm_rules_are_the_patients(connect: Connect) -> None:
    connection = connect()
    put_in_force(connection, AlertRules(patient="p-1", limits=Criteria(tachycardia_bpm=61.0)))
    engine = Engine(connection, Desk(KEYS))
    for one in stream("healthy"):
        engine.process([one])
    assert "tachycardia" in {alert.condition for alert in alerts_in(connection)}


def test_rules_that_somebody_altered_do_not_hold(connect: Connect) -> None:
    connection = connect()
    quiet = {"ventricular_fibrillation": Choice(alerts=False)}
    rules = AlertRules(patient="p-1", note="forged", choices=quiet)  # type: ignore[arg-type]
    put_in_force(connection, rules, {"1": b"x" * 32})
    engine = Engine(connection, Desk(KEYS))
    for one in stream("vt_to_vf"):
        engine.process([one])
    assert "ventricular_fibrillation" in {alert.condition for alert in alerts_in(connection)}


def test_who_is_to_be_told_is_written_with_the_alert(connect: Connect) -> None:
    connection = connect()
    ladder = (Rung((Contact("webhook", "https://ward.example/alerts"),)),)
    put_in_force(connection, AlertRules(ladder=ladder))
    engine = Engine(connection, Desk(KEYS))
    for one in stream("vt_to_vf"):
        engine.process([one])
    with connection.reading() as statements:
        told = statements.rows("SELECT alert_id, channel, state FROM outbox")
    raised = {alert.id for alert in alerts_in(connection)}
    assert {row[0] for row in told} == raised
    assert {row[1:] for row in told} == {("webhook", "waiting")}


def test_the_clock_climbs_the_ladder_once(connect: Connect) -> None:
    connection = connect()
    ladder = (Rung((Contact("webhook", "a"),)), Rung((Contact("webhook", "b"),)))
    put_in_force(connection, AlertRules(ladder=ladder))
    engine = Engine(connection, Desk(KEYS))
    these = stream("vt_to_vf")
    for one in these:
        engine.process([one])
    done: list[Raised] = []
    watch = Watch(Desk(KEYS), done.append)
    later_ns = these[-1].received_ns + 10 * NS
    while watch.pass_clock(connection, later_ns + 60 * NS):
        pass
    climbed = [change.alert.id for raised in done for change in raised.changes if change.what == "escalated"]
    active = [alert.id for alert in alerts_in(connection) if alert.rung == 1]
    assert climbed
    assert sorted(climbed) == sorted(active)
    assert len(set(climbed)) == len(climbed)


def test_a_device_that_falls_silent_is_alerted_once_and_until_it_is_heard_again(connect: Connect) -> None:
    connection = connect()
    these = stream("healthy", 60)
    engine = Engine(connection, Desk(KEYS))
    engine.process(these[:2])
    watch = Watch(Desk(KEYS), lambda _: None)
    heard_ns = these[1].received_ns
    for seconds in (60, 130, 140, 300):
        watch.look_at_devices(connection, heard_ns + seconds * NS)
    (alert,) = alerts_in(connection)
    assert (alert.condition, alert.about, alert.onset_ns, alert.is_technical) == (
        "device_silent",
        "d-1",
        heard_ns,
        True,
    )
    again = msgspec.structs.replace(these[2].segment, start_ns=these[2].segment.start_ns + 300 * NS)
    engine.process([msgspec.structs.replace(these[2], segment=again, received_ns=heard_ns + 310 * NS)])
    watch.look_at_devices(connection, heard_ns + 311 * NS)
    (alert,) = [one for one in alerts_in(connection) if one.condition == "device_silent"]
    assert not alert.state.is_active


def test_however_many_are_open_the_urgent_one_is_on_the_list(connect: Connect) -> None:
    """A page is cut off at its end, so the order is the table's and not the page's."""
    rules = AlertRules()
    with connect().writing() as statements:
        for second in range(1, 6):
            about = {"condition": "device_silent", "about": f"d-{second}", "is_technical": True}
            alert_tables.store(statements, (a_raised_alert(rules, at_s=second, **about),), rules)
        alert_tables.store(statements, (a_raised_alert(rules, at_s=20),), rules)
        (shown,) = alert_tables.open_alerts(statements, "main", None, 1)
        (of_patient,) = alert_tables.open_alerts(statements, "main", "p-1", 1)
    assert (shown.condition, of_patient) == ("asystole", shown)


def test_a_device_that_said_goodbye_is_not_missed(connect: Connect) -> None:
    connection = connect()
    these = stream("healthy", 20)
    Engine(connection, Desk(KEYS)).process(these)
    Watch(Desk(KEYS), lambda _: None).look_at_devices(connection, these[-1].received_ns + 10**4 * NS)
    assert alerts_in(connection) == []


def test_what_goes_on_ends_with_its_stream(connect: Connect) -> None:
    connection = connect()
    engine = Engine(connection, Desk(KEYS))
    for one in stream("atrial_fibrillation"):
        engine.process([one])
    (alert,) = [one for one in alerts_in(connection) if one.condition == "atrial_fibrillation"]
    assert alert.end_ns is not None


def test_what_goes_on_ends_where_the_stream_begins_anew(connect: Connect) -> None:
    connection = connect()
    engine = Engine(connection, Desk(KEYS))
    for one in stream("atrial_fibrillation")[:-1]:
        engine.process([one])
    (later,) = stream("healthy", 10)
    segment = msgspec.structs.replace(later.segment, sequence=100, start_ns=START_NS + 3600 * NS)
    engine.process([msgspec.structs.replace(later, segment=segment, received_ns=START_NS + 3611 * NS)])
    (alert,) = [one for one in alerts_in(connection) if one.condition == "atrial_fibrillation"]
    assert alert.end_ns == START_NS + 3600 * NS
