"""The agent of a node, event by event."""

import pytest

from einthoven.edge.agent import NodeAgent
from einthoven.edge.agent_events import (
    AgentTerms,
    Alive,
    Connected,
    Described,
    End,
    Ended,
    Fetch,
    Fetched,
    FetchFailed,
    Hold,
    KeepOrders,
    Kill,
    Leaving,
    Lost,
    Ready,
    Say,
    Start,
    Stop,
    TimePassed,
    Told,
)
from einthoven.edge.messages import Announce, Assignment, Gone, Hail, Leave, Orders, Report, Turn, Unknown
from einthoven.edge.nanoservices import Nanoservice
from einthoven.edge.nodes import NodeDescription

PROGRAM = "ab" * 32


def an_assignment(id_: int = 1, **more) -> Assignment:
    return Assignment(id=id_, service=Nanoservice(**{"name": "ecg", "version": "1", "region": "icu", **more}))


def some_orders(*assignments: Assignment, generation: int = 1, **more) -> Orders:
    said = {"node": "pi", "boot": 1, "visit": 5, "echo": 1, "turn": Turn(1, generation), **more}
    return Orders(assignments=assignments, **said)


class Talk:
    """An agent, and all that happens to it."""

    def __init__(self, **more) -> None:
        self.at_s = 0.0
        self.agent = NodeAgent("pi", 1, NodeDescription(capabilities=("spo2@1",)), 0.0, **more)
        self.begun = self.agent.begin(0.0)

    def hears(self, event, *, after_s: float = 0.0) -> list:
        """What it does about it, apart from reporting."""
        self.at_s += after_s
        commands = self.agent.receive(event, self.at_s)
        self.said = [one.message for one in commands if isinstance(one, Say)]
        return [one for one in commands if not isinstance(one, Say)]

    def is_told(self, *assignments: Assignment, **more) -> list:
        return self.hears(Told(some_orders(*assignments, **more)))

    @property
    def states(self) -> list[str]:
        return [one.state for one in self.agent.reports]


def a_member(*assignments: Assignment, **more) -> Talk:
    """One that knows its manager."""
    talk = Talk()
    talk.hears(Connected())
    talk.commands = talk.is_told(*assignments, **more)
    return talk


def test_it_says_who_it_is_until_it_is_answered() -> None:
    talk = Talk()
    assert talk.hears(Connected()) == []
    assert [type(one) for one in talk.said] == [Announce]
    talk.hears(TimePassed(), after_s=0.5)
    assert talk.said == []
    talk.hears(TimePassed(), after_s=0.5)
    assert [type(one) for one in talk.said] == [Announce]
    talk.is_told()
    assert [type(one) for one in talk.said] == [Report]


@pytest.mark.parametrize("event", [Told(Hail(term=2)), Told(Unknown(boot=1)), Described(NodeDescription())])
def test_it_says_again_who_it_is_and_takes_no_older_answer(event) -> None:
    talk = a_member()
    talk.hears(event)
    assert [type(one) for one in talk.said] == [Announce]
    talk.is_told(generation=1)  # to what it said before
    talk.hears(TimePassed(), after_s=1.0)
    assert [type(one) for one in talk.said] == [Announce]


def test_orders_are_kept_before_they_are_followed_and_older_ones_are_forgotten() -> None:
    talk = a_member(an_assignment(1), generation=2)
    assert [type(one) for one in talk.commands] == [KeepOrders, Start]
    assert talk.is_told(generation=1) == []
    assert talk.is_told(boot=2, generation=9) == []
    assert talk.is_told(node="other", generation=9) == []
    assert [type(one) for one in talk.is_told(generation=3)] == [KeepOrders, Stop]


def test_what_ends_is_started_again_later_each_time_and_that_is_forgotten_when_it_does_well() -> None:
    talk = a_member(an_assignment())
    waits = []
    for _ in range(9):
        assert talk.hears(Ended(1, "it broke")) == []
        waited_s = 0.0
        while not talk.hears(TimePassed(), after_s=0.1):
            waited_s += 0.1
        waits.append(round(waited_s + 0.1, 1))
    assert waits == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0], abs=0.11)
    talk.hears(Ready(1))
    talk.hears(TimePassed(), after_s=AgentTerms().well_s)
    assert talk.agent.reports[0].failures == 0


def test_what_is_not_ready_in_time_or_falls_silent_is_ended() -> None:
    talk = a_member(an_assignment(start_limit_s=5.0))
    assert talk.hears(TimePassed(), after_s=5.0) == [Kill(1)]
    talk.hears(Ended(1, "it was ended by signal 9"))
    assert talk.agent.reports[0].why == "it was not ready in time"
    assert [type(one) for one in talk.hears(TimePassed(), after_s=1.0)] == [Start]
    talk.hears(Ready(1))
    assert talk.hears(TimePassed(), after_s=60.0) == [], "one that never gives signs of life is not watched"
    talk.hears(Alive(1))
    assert talk.hears(TimePassed(), after_s=9.0) == []
    assert talk.hears(TimePassed(), after_s=1.0) == [Kill(1)]


def test_a_lease_counts_from_what_it_said_and_not_from_when_it_was_answered() -> None:
    exclusive = an_assignment(is_exclusive=True, lease_s=5.0)
    talk = a_member(exclusive)
    assert [type(one) for one in talk.commands] == [KeepOrders], "without a lease it does not act"
    report = talk.said[-1]
    talk.at_s += 3.0
    leased = talk.is_told(exclusive, echo=report.sequence, leases={1: 5.0})
    assert leased == [Start(exclusive), Hold(1, 5.0)], "whoever watches the lease is told"
    assert talk.hears(TimePassed(), after_s=1.9) == []
    assert talk.hears(TimePassed(), after_s=0.1) == [Kill(1)]
    assert talk.hears(TimePassed(), after_s=0.1) == []
    talk.hears(Ended(1, "it was ended by signal 9"))
    assert talk.hears(TimePassed(), after_s=60.0) == []
    assert talk.states == ["waiting"]


def test_a_program_is_brought_first_and_again_when_it_is_lost() -> None:
    talk = a_member(an_assignment(program=PROGRAM))
    assert talk.commands[1:] == [Fetch(PROGRAM)]
    assert talk.hears(FetchFailed(PROGRAM, "nobody has it")) == []
    assert talk.hears(TimePassed(), after_s=0.2) == [Fetch(PROGRAM)]
    assert [type(one) for one in talk.hears(Fetched(PROGRAM))] == [Start]
    talk.hears(Lost(PROGRAM))
    talk.hears(Ended(1, "its program was not what its digest says"))
    assert talk.hears(TimePassed(), after_s=1.0) == [Fetch(PROGRAM)]


def test_what_the_node_lacks_is_not_run_whoever_says_so() -> None:
    talk = a_member(an_assignment(needs=("o2-valve",)), an_assignment(2, needs=("spo2@1",)))
    assert [one.assignment.id for one in talk.commands if isinstance(one, Start)] == [2]
    assert talk.states == ["refused", "starting"]
    assert talk.hears(Described(NodeDescription())) == [Stop(2)]
    talk.hears(Ended(2, ""))
    assert talk.states == ["refused", "refused"]
    assert [type(one) for one in talk.hears(Described(NodeDescription(capabilities=("spo2@1",))))] == [Start]


def test_it_begins_with_what_was_on_its_disk_and_takes_over_what_runs() -> None:
    orders = some_orders(an_assignment(1), an_assignment(2), an_assignment(3, is_exclusive=True))
    talk = Talk(orders=orders, running={1: an_assignment(1), 4: an_assignment(4)}, ready=frozenset({1}))
    assert talk.begun == [Start(an_assignment(2)), Stop(4)] or talk.begun == [
        Stop(4),
        Start(an_assignment(2)),
    ]
    assert talk.agent.turn == Turn(1, 1)


def test_the_same_number_for_something_else_is_something_else() -> None:
    talk = a_member(an_assignment(1))
    other = an_assignment(1, name="other")
    assert talk.is_told(other, generation=2)[1:] == [Stop(1)]
    assert talk.hears(Ended(1, "")) == []
    assert talk.hears(TimePassed(), after_s=0.1) == [Start(other)]


def test_it_goes_when_others_have_taken_over_or_after_a_while() -> None:
    talk = a_member(an_assignment())
    talk.hears(Ready(1))
    assert talk.hears(Leaving()) == []
    assert [type(one) for one in talk.said] == [Report, Leave]
    assert talk.is_told(an_assignment(), may_go=True) == [Stop(1)]
    assert talk.hears(Ended(1, "")) == [End()]
    assert [type(one) for one in talk.said] == [Gone]

    talk = a_member(an_assignment())
    talk.hears(Leaving())
    assert talk.hears(TimePassed(), after_s=9.9) == []
    assert talk.hears(TimePassed(), after_s=0.1) == [Stop(1)]
