"""The site manager, event by event; and how a whole site behaves in a virtual world without malice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.edge.messages import (
    Announce,
    InstanceReport,
    Orders,
    Report,
    Turn,
    Unknown,
)
from einthoven.edge.nanoservices import Nanoservice
from einthoven.edge.nodes import NodeDescription, NodeLoad
from einthoven.edge.site_events import (
    Deploy,
    Drain,
    Enrol,
    Forget,
    Govern,
    Heard,
    Remove,
    Scale,
    Tell,
    Ticked,
)
from einthoven.edge.site_manager import SiteManager, lease_over_s
from einthoven.edge.site_state import SiteState
from einthoven.errors import Conflict, NotFound
from einthoven.simulation.nodes import VirtualSite
from einthoven.trust.policy import read_policy


def a_service(name: str = "ecg", version: str = "1", **more) -> Nanoservice:
    return Nanoservice(name=name, version=version, region="icu", **more)


class Talk:
    """A manager, and nodes whose every word the test says."""

    def __init__(self, *nodes: str, state: SiteState | None = None, at_s: float = 0.0) -> None:
        self.at_s = at_s
        self.manager = SiteManager(state or SiteState(site="s"), at_s)
        self.manager.begin()
        self.sequence = 0
        self.orders: dict[str, Orders] = {}
        for node in nodes:
            self.says(Enrol(node, node.encode()))
            self.announces(node)

    def says(self, event) -> list:
        commands = self.manager.receive(event, self.at_s)
        for one in commands:
            if isinstance(one, Tell) and isinstance(one.message, Orders):
                self.orders[one.node] = one.message
        return commands

    def announces(self, node: str, boot: int = 1, applied: Turn = Turn()) -> list:  # noqa: B008 - frozen
        self.sequence += 1
        return self.says(
            Heard(
                node,
                Announce(
                    boot=boot, sequence=self.sequence, description=NodeDescription(cores=1), applied=applied
                ),
            )
        )

    def reports(self, node: str, **more) -> list:
        """By default all that it was told to run is ready."""
        self.sequence += 1
        orders = self.orders[node]
        said = {
            "boot": orders.boot,
            "visit": orders.visit,
            "sequence": self.sequence,
            "applied": orders.turn,
            "instances": tuple(InstanceReport(id=one.id, state="ready") for one in orders.assignments),
        }
        return self.says(Heard(node, Report(**{**said, **more})))

    def passes(self, seconds: float, *nodes: str, **more) -> None:
        for _ in range(round(seconds * 2)):
            self.at_s += 0.5
            for node in nodes:
                self.reports(node, **more)
            self.says(Ticked())

    def runs(self, node: str) -> list[tuple[str, str]]:
        return [(one.service.name, one.service.version) for one in self.orders[node].assignments]

    def where(self, name: str) -> list[str]:
        return [one.node for one in self.manager.state.held if one.service.name == name]


def test_a_node_that_nobody_let_in_is_not_answered() -> None:
    talk = Talk("a")
    assert talk.announces("stranger") == []


def test_whose_visit_is_not_known_is_asked_who_it_is() -> None:
    talk = Talk("a")
    [command] = talk.reports("a", visit=7)
    assert command == Tell("a", Unknown(boot=1))


def test_a_report_that_comes_late_changes_nothing() -> None:
    """It says that the instance is not there, as it was before that was ordered."""
    talk = Talk("a")
    talk.says(Deploy(a_service()))
    early = Report(boot=1, visit=talk.orders["a"].visit, sequence=talk.sequence, applied=Turn())
    talk.reports("a")
    talk.says(Heard("a", early))
    assert talk.manager.standings(talk.at_s)[0].instances[0].state == "ready"


def test_an_exclusive_one_begins_elsewhere_when_its_node_says_that_it_has_ended() -> None:
    talk = Talk("a", "b")
    talk.says(Deploy(a_service(is_exclusive=True)))
    [first] = talk.where("ecg")
    other = "b" if first == "a" else "a"
    before = talk.orders[first].turn
    talk.reports(first)
    talk.says(Drain(first))
    assert talk.where("ecg") == [], "the old one may act yet"
    talk.reports(first, applied=before, instances=())
    assert talk.where("ecg") == [], "that was said before it heard of it"
    talk.reports(first, instances=(InstanceReport(id=1, state="stopping"),))
    assert talk.where("ecg") == []
    talk.reports(first)
    assert talk.where("ecg") == [other]


def test_an_exclusive_one_begins_elsewhere_when_its_lease_is_surely_over() -> None:
    talk = Talk("a", "b")
    talk.says(Deploy(a_service(is_exclusive=True, lease_s=20.0)))
    [first] = talk.where("ecg")
    other = "b" if first == "a" else "a"
    talk.reports(first)
    assert talk.orders[first].leases == {1: 20.0}
    assert lease_over_s(20.0) > 20.0 * 1.05, "the other clock may be slower"
    talk.passes(lease_over_s(20.0) - 0.5, other)
    assert talk.where("ecg") == []
    talk.passes(1.0, other)
    assert talk.where("ecg") == [other]


def test_a_manager_that_follows_another_does_not_know_whom_that_let_act() -> None:
    talk = Talk("a", state=SiteState(site="s", term=4))
    talk.says(Deploy(a_service(is_exclusive=True, lease_s=4.0)))
    talk.passes(lease_over_s(4.0) - 0.5, "a")
    assert talk.where("ecg") == []
    talk.passes(1.0, "a")
    assert talk.where("ecg") == ["a"]


def test_a_manager_with_an_old_memory_outdoes_what_nodes_were_told() -> None:
    talk = Talk("a")
    talk.announces("a", boot=2, applied=Turn(9, 70))
    assert talk.orders["a"].turn > Turn(9, 70)


def test_a_manager_with_an_old_memory_outdoes_one_node_though_its_own_count_is_greater() -> None:
    talk = Talk("a", "b")
    talk.says(Deploy(a_service(replicas=2)))
    talk.passes(1.0, "a", "b")
    turn = talk.orders["a"].turn
    for number in range(5):
        talk.says(Deploy(a_service("other", version=str(number), needs=("nowhere",))))
    told = Turn(turn.term, turn.generation + 1)  # by a manager whose memory is lost
    talk.reports("a", applied=told, instances=())
    assert talk.orders["a"].turn > told
    assert [name for name, _ in talk.runs("a")] == ["ecg"]


def test_who_is_forgotten_is_told_to_run_nothing_until_it_says_so() -> None:
    talk = Talk("a", "b")
    talk.says(Deploy(a_service(replicas=2)))
    talk.passes(1.0, "a", "b")
    before = talk.orders["a"]
    running = tuple(InstanceReport(id=one.id, state="ready") for one in before.assignments)
    assert running
    talk.says(Forget("a"))  # what it is told then is lost
    for _ in range(3):
        talk.reports("a", applied=before.turn, instances=running)
        assert talk.orders["a"].assignments == ()
        assert talk.orders["a"].turn > before.turn
    other = Talk(state=talk.manager.state, at_s=talk.at_s)
    other.announces("a", boot=2, applied=before.turn)
    assert (other.orders["a"].assignments, other.orders["a"].boot) == ((), 2), (
        "nor does the next manager forget"
    )
    talk.reports("a", instances=())
    assert talk.reports("a", instances=()) == [], "it is nobody's any more"
    assert talk.manager.state.forgotten == ()


def test_who_is_forgotten_and_let_in_again_is_given_its_work() -> None:
    talk = Talk("a")
    talk.says(Deploy(a_service()))
    talk.says(Forget("a"))
    talk.says(Enrol("a", b"a"))
    talk.announces("a", boot=2, applied=talk.orders["a"].turn)
    assert talk.where("ecg") == ["a"]
    assert [name for name, _ in talk.runs("a")] == ["ecg"]


def test_another_policy_holds_for_what_runs_already() -> None:
    talk = Talk("a")
    talk.says(Deploy(a_service(functions=("analysis",))))
    talk.passes(1.0, "a")
    assert talk.where("ecg") == ["a"]
    says = """
        version = 1
        [functions]
        analysis = ["samples"]
        [[rules]]
        name = "nearby"
        data = ["samples"]
        tiers = ["{tier}"]
    """
    talk.says(Govern(read_policy(says.format(tier="core"))))
    assert talk.where("ecg") == []
    assert talk.manager.unplaced == {"ecg": {"a": "policy"}}
    talk.says(Govern(read_policy(says.format(tier="local"))))
    assert talk.where("ecg") == ["a"]


def test_an_upgrade_ends_where_there_is_no_room_for_all_of_it_and_never_will_be() -> None:
    talk = Talk("a")
    talk.says(Deploy(a_service(replicas=2)))
    talk.passes(1.0, "a")
    talk.says(Deploy(a_service(version="2", replicas=2)))
    talk.passes(30.0, "a")
    assert talk.runs("a") == [("ecg", "2")]
    (wanted,) = talk.manager.state.services
    assert wanted.before is None


def test_a_full_node_gives_only_to_one_that_is_less_full_then() -> None:
    talk = Talk("a")
    talk.says(Deploy(a_service("ecg")))
    talk.passes(31, "a")
    for node in ("b", "c"):
        talk.says(Enrol(node, node.encode()))
        talk.announces(node)
    placed = []
    for _ in range(400):
        talk.at_s += 0.5
        talk.reports("a", load=NodeLoad(processors=0.97))
        talk.reports("b", load=NodeLoad(processors=0.96))  # an emptier one by what is counted on it
        talk.reports("c", load=NodeLoad(processors=0.3))
        talk.says(Ticked())
        placed.append(tuple(talk.where("ecg")))
    assert placed[-1] == ("c",)
    assert not any("b" in where for where in placed)


def test_a_node_that_was_silent_is_replaced_and_what_does_well_is_taken_as_it_is() -> None:
    talk = Talk("a", "b")
    talk.says(Deploy(a_service()))
    [first] = talk.where("ecg")
    other = "b" if first == "a" else "a"
    talk.reports(first)
    talk.passes(4.5, other)
    assert talk.where("ecg") == [first], "nobody is given up at once"
    talk.passes(1.0, other, instances=(InstanceReport(id=2, state="starting"),))
    assert sorted(talk.where("ecg")) == ["a", "b"]
    talk.reports(first)
    assert talk.where("ecg") == [first], "the other was not ready yet"


def test_an_upgrade_never_leaves_fewer_than_are_wanted() -> None:
    talk = Talk("a", "b", "c")
    talk.says(Deploy(a_service(replicas=3)))
    talk.passes(1.0, "a", "b", "c")
    talk.says(Deploy(a_service(version="2", replicas=3)))
    for _ in range(40):
        talk.passes(0.5, "a", "b", "c")
        held = [one.id for node in "abc" for one in talk.orders[node].assignments]
        assert 3 <= len(held) <= 4
    assert [talk.runs(node) for node in "abc"] == [[("ecg", "2")]] * 3


def test_a_version_is_what_it_was() -> None:
    talk = Talk("a")
    talk.says(Deploy(a_service()))
    with pytest.raises(Conflict, match="another one"):
        talk.says(Deploy(a_service(memory_bytes=5.0)))
    with pytest.raises(Conflict, match="exclusive"):
        talk.says(Deploy(a_service(version="2", is_exclusive=True)))
    with pytest.raises(Conflict, match="another key"):
        talk.says(Enrol("a", b"other"))
    with pytest.raises(NotFound, match="no nanoservice"):
        talk.says(Scale("other", 2))
    talk.says(Deploy(a_service(priority=3)))


def test_the_more_important_is_placed_first() -> None:
    talk = Talk()
    for name, priority in (("a-low", 1), ("b-high", 2)):
        talk.says(Deploy(a_service(name, priority=priority, memory_bytes=60.0)))
    talk.says(Enrol("a", b"a"))
    talk.sequence += 1
    description = NodeDescription(memory_bytes=100.0)
    talk.says(Heard("a", Announce(boot=1, sequence=9, description=description, applied=Turn())))
    assert talk.runs("a") == [("b-high", "1")]
    assert talk.manager.unplaced == {"a-low": {"a": "memory"}}


def test_what_is_less_important_makes_room_and_comes_back() -> None:
    talk = Talk("a")
    talk.sequence += 1
    roomy = NodeDescription(memory_bytes=100.0)
    talk.says(Heard("a", Announce(boot=1, sequence=talk.sequence, description=roomy, applied=Turn())))
    for name, priority, memory in (("low", 0, 30.0), ("middle", 1, 60.0), ("high", 2, 40.0)):
        talk.says(Deploy(a_service(name, priority=priority, memory_bytes=memory)))
        talk.passes(1.0, "a")
    assert sorted(talk.runs("a")) == [("high", "1"), ("middle", "1")]
    assert talk.manager.unplaced == {"low": {"a": "memory"}}
    before = talk.orders["a"].turn
    talk.passes(20.0, "a")
    assert talk.orders["a"].turn == before, "nobody goes and comes"
    talk.says(Remove("middle"))
    talk.passes(1.0, "a")
    assert sorted(talk.runs("a")) == [("high", "1"), ("low", "1")]


def test_load_is_answered_and_not_followed() -> None:
    """More when it lasts, one at a time, and no change within the cooldown of another."""
    talk = Talk("a", "b", "c")
    talk.says(Deploy(a_service(replicas=1, replicas_max=3)))

    def under(busy: float, seconds: float) -> list[int]:
        counts = []
        for _ in range(round(seconds * 2)):
            talk.at_s += 0.5
            for node in "abc":
                instances = [
                    InstanceReport(id=one.id, state="ready", busy=busy)
                    for one in talk.orders[node].assignments
                ]
                talk.reports(node, instances=tuple(instances))
            talk.says(Ticked())
            counts.append(len(talk.where("ecg")))
        return counts

    assert under(0.95, 9) == [1] * 18
    assert under(0.95, 3)[-1] == 2
    assert under(0.95, 25)[-1] == 2
    assert under(0.95, 15)[-1] == 3
    swings = [count for _ in range(20) for count in (*under(0.95, 2), *under(0.55, 2))]
    assert set(swings) == {3}
    assert under(0.1, 120)[-1] == 1


def test_a_full_node_gives_something_away_once() -> None:
    talk = Talk("a")
    talk.says(Deploy(a_service("ecg", priority=2)))
    talk.says(Deploy(a_service("less")))
    talk.passes(31, "a")
    talk.says(Enrol("b", b"b"))
    talk.announces("b")
    moves = []
    for number in range(120):
        talk.at_s += 0.5
        used = 0.98 if number % 6 else 0.92
        talk.reports("a", load=NodeLoad(processors=used))
        talk.reports("b", load=NodeLoad(processors=0.2))
        talk.says(Ticked())
        moves.append((tuple(talk.where("ecg")), tuple(talk.where("less"))))
    assert moves[15] == (("a",), ("a",))
    assert moves[40] == (("a",), ("b",)), "the less important one, and no second within the cooldown"
    assert len(set(moves)) <= 5


# ---------------------------------------------------------------- a whole site


def a_site(*nodes: str, **more) -> VirtualSite:
    site = VirtualSite(1, **more)
    site.start_manager()
    for node in nodes:
        site.add(node, NodeDescription())
    return site


def ready(site: VirtualSite) -> list[str]:
    return sorted(
        f"{one.assignment.service.name}@{machine.name}"
        for machine in site.machines.values()
        for one in machine.processes.values()
        if one.is_ready
    )


def test_ten_minutes_cut_off_and_nothing_that_did_well_is_started_again() -> None:
    site = a_site("a", "b")
    site.wish(Deploy(a_service(replicas=2)))
    site.run(5)
    assert ready(site) == ["ecg@a", "ecg@b"]
    site.network.cut_off |= {"a", "b"}
    site.run(600)
    assert ready(site) == ["ecg@a", "ecg@b"]
    site.network.cut_off.clear()
    site.run(10)
    assert ready(site) == ["ecg@a", "ecg@b"]
    assert [one.starts for one in site.machines.values()] == [1, 1]


def test_a_manager_may_be_killed_without_anybody_noticing() -> None:
    site = a_site("a", "b")
    site.wish(Deploy(a_service(replicas=2)))
    site.run(5)
    site.crash_manager()
    site.run(60)
    site.start_manager()
    site.run(10)
    assert ready(site) == ["ecg@a", "ecg@b"]
    assert [one.starts for one in site.machines.values()] == [1, 1]
    site.add("c", NodeDescription())
    site.wish(Deploy(a_service("more", replicas=3)))
    site.run(3)
    assert ready(site) == ["ecg@a", "ecg@b", "more@a", "more@b", "more@c"]


def test_what_is_left_over_is_gone_five_seconds_after_a_node_joins() -> None:
    site = a_site("a", "b")
    site.wish(Deploy(a_service()))
    site.run(5)
    [first] = [name for name, one in site.machines.items() if one.processes]
    site.network.cut_off.add(first)
    site.run(20)
    assert len(ready(site)) == 2
    site.network.cut_off.clear()
    site.run(5)
    assert len(ready(site)) == 1


def test_a_hundred_nodes_are_given_their_work_within_seconds() -> None:
    site = a_site(*(f"n{number}" for number in range(100)))
    site.wish(Deploy(a_service(replicas=100)))
    took_s = site.run(30, until=lambda: len(ready(site)) == 100)
    assert took_s < 3


@given(
    rooms=st.lists(st.integers(50, 150), min_size=1, max_size=4),
    services=st.lists(
        st.tuples(st.integers(10, 120), st.integers(0, 3), st.integers(1, 3), st.booleans()),
        min_size=1,
        max_size=6,
    ),
    seed=st.integers(0, 99),
)
def test_room_is_never_exceeded_the_important_have_it_and_nobody_goes_round(
    rooms: list[int], services: list[tuple[int, int, int, bool]], seed: int
) -> None:
    site = VirtualSite(seed)
    site.start_manager()
    for number, room in enumerate(rooms):
        site.add(f"n{number}", NodeDescription(memory_bytes=float(room)))
    for number, (memory, priority, replicas, is_exclusive) in enumerate(services):
        service = a_service(
            f"s{number}",
            memory_bytes=float(memory),
            priority=priority,
            replicas=1 if is_exclusive else replicas,
            is_exclusive=is_exclusive,
            lease_s=2.0,
        )
        site.wish(Deploy(service))
        site.run(0.5)
    site.run(20)
    used = dict.fromkeys(site.machines, 0.0)
    for one in site.kept.held:
        used[one.node] += one.service.memory_bytes
    left = {name: site.machines[name].description.memory_bytes - used[name] for name in used}
    assert min(left.values()) >= 0
    for wanted in site.kept.services:
        places = {one.node for one in site.kept.held if one.service.name == wanted.service.name}
        if len(places) < wanted.replicas:
            for node in used.keys() - places:
                less = sum(
                    one.service.memory_bytes
                    for one in site.kept.held
                    if one.node == node and one.service.priority < wanted.service.priority
                )
                assert left[node] + less < wanted.service.memory_bytes
    before = site.kept.generation
    site.run(30)
    assert site.kept.generation == before
