"""What an engine makes of segments: the online path, kept in a database."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from einthoven.clock import VirtualClock
from einthoven.errors import DatabaseUnavailable, InputInvalid, SequenceReused
from einthoven.runtime.online import OnlinePath
from einthoven.server.engine import Engine, Nobody
from einthoven.server.kept_segments import unpack_segment
from einthoven.server.stream_plans import Recorded
from einthoven.server.wire import Answer, Arrival, answer_of, digest_of
from einthoven.signal.recording import Segment
from einthoven.storage import Connection, Database, Statements, open_database
from einthoven.testing.builders import some_segments as segments

SECOND_NS = 10**9


def arrivals(these: Sequence[Segment], mode: str = "answer") -> list[Arrival]:
    return [Arrival("main", one, False, one.start_ns + 31 * SECOND_NS, mode) for one in these]  # type: ignore[arg-type]


def expected(these: Sequence[Segment]) -> list[Answer]:
    """What the path in memory answers."""
    path = OnlinePath(VirtualClock())
    answers = []
    for one in these:
        receipt = path.receive(one)
        assert receipt.findings is not None
        answers.append(answer_of(one.sequence, receipt.findings, receipt.start_ns))
    return answers


def statuses(outcomes: Sequence[object]) -> list[str]:
    return [one.status if isinstance(one, Answer) else type(one).__name__ for one in outcomes]


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


def table(database: Database, sql: str) -> list[tuple[object, ...]]:
    connection = database.connect()
    with connection.reading() as statements:
        found = statements.rows(sql)
    connection.close()
    return found


def test_the_answers_are_those_of_the_path_in_memory(connect: Connect) -> None:
    these = segments("a", 5)
    engine = Engine(connect())
    assert [engine.process([one])[0] for one in arrivals(these)] == expected(these)


def test_a_batch_answers_as_its_segments_one_by_one(connect: Connect) -> None:
    mine, yours = segments("a", 4), segments("b", 4, seed=2)
    mixed = [one for pair in zip(mine, yours, strict=True) for one in pair]
    outcomes = Engine(connect()).process(arrivals(mixed))
    assert outcomes[0::2] == expected(mine)
    assert outcomes[1::2] == expected(yours)


def test_two_engines_take_turns_with_one_patient(connect: Connect) -> None:
    these = segments("a", 6)
    engines = [Engine(connect()) for _ in range(2)]
    found = [engines[number % 2].process([one])[0] for number, one in enumerate(arrivals(these))]
    assert found == expected(these)


class Meddling:
    """A connection before whose first commit another engine is faster."""

    def __init__(self, inner: Connection, meddle: list[object]) -> None:
        self._inner = inner
        self._meddle = meddle
        self.reading = inner.reading
        self.close = inner.close

    def writing(self):  # type: ignore[no-untyped-def]
        if self._meddle:
            self._meddle.pop()()  # type: ignore[operator]
        return self._inner.writing()


@pytest.mark.parametrize("begin", [0, 2])
def test_whoever_was_slower_does_the_stream_again(connect: Connect, begin: int) -> None:
    these = segments("a", 4)
    other = Engine(connect())
    other.process(arrivals(these[:begin]))
    faster = [lambda: other.process(arrivals(these[begin : begin + 1]))]
    engine = Engine(Meddling(connect(), faster))  # type: ignore[arg-type]
    if begin:
        engine.process(arrivals(these[:1]))
        faster.append(lambda: other.process(arrivals(these[begin : begin + 1])))
    (outcome,) = engine.process(arrivals(these[begin + 1 : begin + 2]))
    assert outcome == expected(these[: begin + 2])[-1]


def test_a_segment_that_comes_again_has_the_same_answer_and_changes_nothing(
    database: Database, connect: Connect
) -> None:
    these = segments("a", 3)
    engine = Engine(connect())
    first = engine.process(arrivals(these))
    before = table(database, "SELECT version, state FROM streams")
    again = engine.process(arrivals([these[1], these[1]]))
    assert again == [msgspec.structs.replace(first[1], status="duplicate")] * 2  # type: ignore[type-var]
    assert table(database, "SELECT version, state FROM streams") == before


def test_twice_in_one_batch_is_once(database: Database, connect: Connect) -> None:
    (one,) = segments("a", 1)
    outcomes = Engine(connect()).process(arrivals([one, one]))
    assert statuses(outcomes) == ["analysed", "duplicate"]
    assert table(database, "SELECT COUNT(*) FROM segments") == [(1,)]


def test_a_number_that_comes_again_with_other_content_is_refused(
    database: Database, connect: Connect
) -> None:
    these, others = segments("a", 2), segments("a", 2, seed=9)
    engine = Engine(connect())
    engine.process(arrivals(these))
    (outcome,) = engine.process(arrivals(others[1:]))
    assert isinstance(outcome, SequenceReused)
    assert table(database, "SELECT COUNT(*) FROM journal") == [(2,)]


def test_a_late_segment_is_kept_and_closes_its_part_of_the_gap(database: Database, connect: Connect) -> None:
    these = segments("a", 6)
    engine = Engine(connect())
    engine.process(arrivals([these[0], these[5]]))
    assert table(database, "SELECT first, last FROM gaps") == [(1, 4)]
    assert statuses(engine.process(arrivals([these[3]]))) == ["late"]
    assert table(database, "SELECT first, last FROM gaps ORDER BY first") == [(1, 2), (4, 4)]
    assert statuses(engine.process(arrivals([these[3]]))) == ["duplicate"]
    assert statuses(engine.process(arrivals([these[1], these[2], these[4]]))) == ["late"] * 3
    assert table(database, "SELECT first, last FROM gaps") == []
    assert table(database, "SELECT COUNT(*) FROM journal") == [(6,)]


def test_what_was_lost_between_is_missing_signal_and_no_shift(connect: Connect) -> None:
    these = segments("a", 4)
    kept = [these[0], these[1], these[3]]
    assert Engine(connect()).process(arrivals(kept)) == expected(kept)


def test_the_wrong_one_of_a_batch_leaves_the_others_alone(connect: Connect) -> None:
    mine, yours = segments("a", 2), segments("b", 1, seed=2)
    stranger = msgspec.structs.replace(mine[1], patient="p-x")
    engine = Engine(connect())
    engine.process(arrivals(mine[:1]))
    outcomes = engine.process(arrivals([stranger, *yours]))
    assert isinstance(outcomes[0], InputInvalid)
    assert outcomes[1:] == expected(yours)
    assert "p-x" not in str(outcomes[0])


def test_accepted_segments_are_analysed_later_as_if_at_once(connect: Connect) -> None:
    these = segments("a", 4)
    engine = Engine(connect())
    engine.process(arrivals(these[:1]))
    outcomes = engine.process(arrivals([these[2], these[1]], "accept"))
    assert statuses(outcomes) == ["accepted"] * 2
    assert statuses(engine.process(arrivals([these[2]], "accept"))) == ["duplicate"]
    assert engine.work_off(8) == 2
    assert engine.work_off(8) == 0
    assert engine.process(arrivals(these[3:])) == expected(these)[3:]
    again = engine.process(arrivals(these[1:3]))
    assert [msgspec.structs.replace(one, status="analysed") for one in again] == expected(these)[1:3]  # type: ignore[type-var]


def test_of_what_waits_so_much_is_worked_off_as_was_asked(database: Database, connect: Connect) -> None:
    """A device that delivers half a day must not keep everybody else waiting."""
    engine = Engine(connect())
    engine.process(arrivals([*segments("a", 5), *segments("b", 2, seed=2)], "accept"))
    counts = []
    while counts[-1:] != [0]:
        counts.append(engine.work_off(3))
    assert counts == [3, 3, 1, 0]
    assert table(database, "SELECT DISTINCT status FROM segments") == [("analysed",)]


def test_in_one_batch_too_an_answer_waits_for_those_that_are_only_accepted(connect: Connect) -> None:
    these = segments("a", 3)
    mixed = [*arrivals(these[1:2]), *arrivals(these[:1], "accept"), *arrivals(these[2:])]
    outcomes = Engine(connect()).process(mixed)
    assert statuses(outcomes) == ["analysed", "accepted", "analysed"]
    assert [outcomes[0], outcomes[2]] == expected(these)[1:]


def test_a_late_segment_does_not_wake_a_stream_that_ended(database: Database, connect: Connect) -> None:
    these = arrivals(segments("a", 3))
    engine = Engine(connect())
    engine.process([these[0], msgspec.structs.replace(these[2], is_last=True)])
    engine.process([these[1]])
    assert table(database, "SELECT is_over FROM streams") == [(1,)]


def test_a_segment_that_must_be_answered_waits_for_those_accepted_before_it(
    database: Database, connect: Connect
) -> None:
    these = segments("a", 4)
    one, other = (Engine(connect()) for _ in range(2))
    one.process(arrivals(these[:3], "accept"))
    assert other.process(arrivals(these[3:])) == expected(these)[3:]
    assert one.work_off(8) == 0
    assert table(database, "SELECT waiting FROM streams") == [(0,)]
    assert table(database, "SELECT DISTINCT status FROM segments") == [("analysed",)]


def test_an_accepted_segment_that_fits_nowhere_is_left_to_the_batch_layer(
    database: Database, connect: Connect
) -> None:
    """A stream's set-up changed in the database meanwhile: the others are analysed all the same."""
    these = segments("a", 4)
    engine = Engine(connect())
    engine.process(arrivals(these[:2], "accept"))
    connection = connect()
    with connection.writing() as statements:
        statements.run("UPDATE streams SET gain = 100, version = version + 1")
    assert engine.work_off(8) == 2
    assert engine.work_off(8) == 0
    assert table(database, "SELECT status, COUNT(*) FROM segments GROUP BY status") == [("late", 2)]
    assert table(database, "SELECT waiting FROM streams") == [(0,)]


def test_a_device_that_changed_its_set_up_is_refused_before_it_is_accepted(connect: Connect) -> None:
    these = segments("a", 2)
    engine = Engine(connect())
    engine.process(arrivals(these[:1]))
    info = these[1].recording.info
    lead = msgspec.structs.replace(info.leads[0], gain=100.0)
    changed = msgspec.structs.replace(
        these[1],
        recording=msgspec.structs.replace(
            these[1].recording, info=msgspec.structs.replace(info, leads=(lead,))
        ),
    )
    for mode in ("answer", "accept"):
        (outcome,) = engine.process(arrivals([changed], mode))
        assert isinstance(outcome, InputInvalid)


def test_an_accepted_segment_that_is_asked_for_is_answered(connect: Connect) -> None:
    these = segments("a", 2)
    engine = Engine(connect())
    engine.process(arrivals(these, "accept"))
    assert engine.process(arrivals(these[1:])) == expected(these)[1:]


class Dying:
    """A connection that breaks in the middle of its next transaction."""

    def __init__(self, inner: Connection) -> None:
        self._inner = inner
        self.is_dying = False
        self.reading = inner.reading
        self.close = inner.close

    def writing(self):  # type: ignore[no-untyped-def]
        if not self.is_dying:
            return self._inner.writing()
        self.is_dying = False
        return self._half()

    def _half(self):  # type: ignore[no-untyped-def]
        @contextmanager
        def half():  # type: ignore[no-untyped-def]
            with self._inner.writing() as statements:
                yield statements
                raise DatabaseUnavailable("the connection broke.")

        return half()


def test_a_transaction_that_fails_leaves_nothing_and_can_be_sent_again(
    database: Database, connect: Connect
) -> None:
    these = segments("a", 3)
    connection = Dying(connect())
    engine = Engine(connection)  # type: ignore[arg-type]
    engine.process(arrivals(these[:1]))
    connection.is_dying = True
    with pytest.raises(DatabaseUnavailable):
        engine.process(arrivals(these[1:2]))
    assert table(database, "SELECT COUNT(*) FROM segments") == [(1,)]
    assert engine.process(arrivals(these[1:])) == expected(these)[1:]


def test_whoever_follows_is_in_the_same_transaction(database: Database, connect: Connect) -> None:
    """What follows sees each finding once, and where it fails nothing was accepted."""
    these = segments("a", 3)
    told: list[Recorded] = []
    done: list[object] = []

    class Listener(Nobody):
        def follow(self, statements: Statements, found: Sequence[Recorded]) -> int:  # noqa: ARG002
            told.extend(found)
            if len(told) == 2:
                raise InputInvalid("no.")
            return len(told)

        def committed(self, result: object) -> None:
            done.append(result)

    engine = Engine(connect(), Listener())
    engine.process(arrivals(these[:1]))
    with pytest.raises(InputInvalid):
        engine.process(arrivals(these[1:2]))
    engine.process(arrivals(these[1:]))
    assert [one.findings.first for one in told] == [
        told[0].findings.first,
        *[told[1].findings.first] * 2,
        told[3].findings.first,
    ]
    assert done == [1, 4]
    assert table(database, "SELECT COUNT(*) FROM segments") == [(3,)]


def test_a_state_of_another_program_begins_the_stream_anew(connect: Connect) -> None:
    these = segments("a", 3)
    Engine(connect()).process(arrivals(these[:2]))
    connection = connect()
    with connection.writing() as statements:
        statements.run("UPDATE streams SET state = ?", (b"of old",))
    (outcome,) = Engine(connection).process(arrivals(these[2:]))
    assert isinstance(outcome, Answer)
    assert outcome.status == "analysed"
    assert outcome.first == 0


def test_the_journal_gives_back_what_was_sent(database: Database, connect: Connect) -> None:
    these = segments("a", 2)
    Engine(connect()).process(arrivals(these))
    rows = table(database, "SELECT block FROM journal ORDER BY sequence")
    for one, (block,) in zip(these, rows, strict=True):
        back = unpack_segment(block)  # type: ignore[arg-type]
        np.testing.assert_array_equal(back.recording.counts, one.recording.counts)
        assert digest_of(back) == digest_of(one)


@given(plan=st.data())
def test_any_delivery_over_any_engines_keeps_all_and_doubles_nothing(
    tmp_path_factory: pytest.TempPathFactory, plan: st.DataObject
) -> None:
    """Whatever is repeated, mixed or torn: each segment is kept once, and what came in order is answered."""
    path: Path = tmp_path_factory.mktemp("engine") / "e.db"
    database = open_database(str(path))
    database.migrate()
    with ExitStack() as stack:
        engines = [Engine(database.connect()) for _ in range(2)]
        for engine in engines:
            stack.callback(engine.close)
        _deliver(plan, database, engines)


def _deliver(plan: st.DataObject, database: Database, engines: list[Engine]) -> None:
    sent = {device: segments(device, 4, 6.0, seed=seed) for seed, device in enumerate("ab")}
    queue = [(device, k) for device in "ab" for k in range(4)]
    order = plan.draw(st.permutations(queue + plan.draw(st.lists(st.sampled_from(queue), max_size=4))))
    if plan.draw(st.booleans()):
        order = sorted(order, key=lambda one: one[1])
    answered: dict[tuple[str, int], list[Answer]] = {}
    while order:
        size = plan.draw(st.integers(1, 5))
        batch, order = order[:size], order[size:]
        modes = plan.draw(
            st.lists(st.sampled_from(["answer", "answer", "accept"]), min_size=size, max_size=size)
        )
        engine = plan.draw(st.sampled_from(engines))
        outcomes = engine.process(
            [
                one
                for (device, k), mode in zip(batch, modes, strict=False)
                for one in arrivals([sent[device][k]], mode)
            ]
        )
        first_seen = set(batch) - answered.keys()
        for key, outcome in zip(batch, outcomes, strict=True):
            assert isinstance(outcome, Answer)
            answered.setdefault(key, []).append(outcome)
        assert all(set(statuses(answered[key])) != {"duplicate"} for key in first_seen)
    while sum(engine.work_off(8) for engine in engines):
        pass
    assert table(database, "SELECT COUNT(*) FROM segments") == [(8,)]
    assert table(database, "SELECT COUNT(*) FROM journal") == [(8,)]
    assert table(database, "SELECT SUM(waiting) FROM streams") == [(0,)]
    assert not table(database, "SELECT 1 FROM segments WHERE status = 'accepted'")
    for key, those in answered.items():
        assert all(statuses(those).count(once) <= 1 for once in ("analysed", "late", "accepted")), key
        found = [one for one in those if one.beats is not UNSET]
        assert all(
            msgspec.structs.replace(one, status="analysed")
            == msgspec.structs.replace(found[0], status="analysed")
            for one in found
        )
    for device in "ab":
        analysed = [
            sequence
            for name, sequence, status in table(
                database, "SELECT device, sequence, status FROM segments JOIN streams ON id = stream"
            )
            if name == device and status == "analysed"
        ]
        in_order = [sent[device][k] for k in sorted(analysed)]  # type: ignore[type-var, index]
        for one, answer in zip(in_order, expected(in_order), strict=True):
            for mine in answered[device, one.sequence]:
                if mine.beats is not UNSET:
                    assert msgspec.structs.replace(mine, status="analysed") == answer
