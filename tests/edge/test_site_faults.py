"""A site under every fault there is: what is wanted comes about, and what must not be never is.

The machine of rules drives `VirtualSite`: agents and manager are the real ones, time and network are not.
"""

import os

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from einthoven.edge.matching import unfit
from einthoven.edge.nanoservices import Nanoservice
from einthoven.edge.nodes import NodeDescription
from einthoven.edge.site_events import Deploy, Drain, Enrol, Forget, Remove, Scale
from einthoven.simulation.nodes import VirtualSite
from einthoven.trust.policy import Policy, read_policy

POLICY: Policy = read_policy(
    """
    version = 1
    [functions]
    analysis = ["samples"]
    analyses = ["samples"]
    control = ["samples"]
    [[rules]]
    name = "near-the-patient"
    data = ["samples"]
    tiers = ["local", "edge"]
    [[rules]]
    name = "not-there"
    verdict = "deny"
    data = ["samples"]
    labels = ["shared"]
    """
)
DESCRIPTIONS = [
    NodeDescription(tier="local", capabilities=("spo2@1",)),
    NodeDescription(tier="local", capabilities=("spo2@1", "o2-valve")),
    NodeDescription(tier="edge", capabilities=("o2-valve",)),
    NodeDescription(tier="edge"),
    NodeDescription(tier="edge", labels=("shared",), capabilities=("o2-valve", "spo2@1")),
    NodeDescription(tier="core", capabilities=("o2-valve", "spo2@1")),
]
SERVICES = {
    "ecg": {"region": "icu"},
    "spo2": {"region": "spo2", "needs": ("spo2@1",), "replicas": 2},
    "control": {"region": "o2", "functions": ("control",), "is_exclusive": True, "lease_s": 5.0},
    "valve": {"region": "o2v", "needs": ("o2-valve",), "is_exclusive": True, "lease_s": 3.0},
    "fetched": {"region": "more", "program": "ab" * 32, "highest_tier": "local"},
}
PAUSES = st.sampled_from([0.0, 0.3, 3.0, 12.0, 25.0])
VERSIONS = ["1", "2", "3", "broken-1", "broken-2"]
SETTLED_S = 150.0
"""Within so long after the last fault everything is as wanted."""


def a_service(name: str, version: str = "1", **more) -> Nanoservice:
    return Nanoservice(name=name, version=version, **{**SERVICES[name], **more})


class Site(RuleBasedStateMachine):
    names = Bundle("names")

    @initialize(
        target=names,
        seed=st.integers(0, 2**16),
        which=st.lists(st.integers(0, len(DESCRIPTIONS) - 1), min_size=2, max_size=4),
        services=st.sets(st.sampled_from(sorted(SERVICES)), min_size=1),
    )
    def begin(self, seed: int, which: list[int], services: set[str]) -> MultipleResults[str]:
        self.site = VirtualSite(seed, policy=POLICY, broken=lambda version: version.startswith("broken"))
        self.site.start_manager()
        self.bought = 0
        for name in sorted(services):
            self.site.wish(Deploy(a_service(name)))
        names = [self.joins_with(one, 1.0) for one in which]
        self.site.run(2)
        return multiple(*names)

    def joins_with(self, which: int, rate: float) -> str:
        self.bought += 1
        self.site.add(f"node-{self.bought}", DESCRIPTIONS[which], rate)
        return f"node-{self.bought}"

    # ------------------------------------------------------------ what people do

    @precondition(lambda self: self.bought < 6 and self.site.manager is not None)
    @rule(target=names, which=st.integers(0, len(DESCRIPTIONS) - 1), rate=st.floats(0.97, 1.03))
    def joins(self, which: int, rate: float) -> str:
        return self.joins_with(which, rate)

    @precondition(lambda self: self.site.manager is not None)
    @rule(name=st.sampled_from(sorted(SERVICES)), version=st.sampled_from(VERSIONS))
    def deploys(self, name: str, version: str) -> None:
        self.site.wish(Deploy(a_service(name, version)))

    @precondition(lambda self: self.site.manager is not None and self.site.kept.services)
    @rule(which=st.integers(0, 9), replicas=st.integers(1, 4))
    def scales(self, which: int, replicas: int) -> None:
        wanted = self.site.kept.services[which % len(self.site.kept.services)].service
        if not wanted.is_exclusive:
            self.site.wish(Scale(wanted.name, replicas))

    @precondition(lambda self: self.site.manager is not None and self.site.kept.services)
    @rule(which=st.integers(0, 9))
    def removes(self, which: int) -> None:
        self.site.wish(Remove(self.site.kept.services[which % len(self.site.kept.services)].service.name))

    @precondition(lambda self: self.site.manager is not None)
    @rule(name=names, is_draining=st.booleans())
    def drains(self, name: str, is_draining: bool) -> None:
        if name in members_of(self.site):
            self.site.wish(Drain(name, is_draining))

    @precondition(lambda self: self.site.manager is not None)
    @rule(name=names, then_s=PAUSES)
    def is_forgotten(self, name: str, then_s: float) -> None:
        if name in members_of(self.site):
            self.site.wish(Forget(name))
            self.site.run(then_s)

    @precondition(lambda self: self.site.manager is not None)
    @rule(name=names)
    def is_let_in_again(self, name: str) -> None:
        if name not in members_of(self.site):
            has = self.site.machines[name].description
            self.site.wish(Enrol(name, name.encode(), has.tier, has.labels))

    @rule(name=names, which=st.integers(0, len(DESCRIPTIONS) - 1))
    def changes(self, name: str, which: int) -> None:
        has = self.site.machines[name].description
        others = DESCRIPTIONS[which].capabilities
        self.site.change(name, NodeDescription(tier=has.tier, labels=has.labels, capabilities=others))

    # ------------------------------------------------------------ what goes wrong

    @rule(name=names, then_s=PAUSES)
    def leaves(self, name: str, then_s: float) -> None:
        self.site.leave(name)
        self.site.run(then_s)

    @rule(name=names, then_s=PAUSES)
    def its_agent_is_killed(self, name: str, then_s: float) -> None:
        self.site.crash_agent(name)
        self.site.run(then_s)

    @rule(name=names, then_s=PAUSES)
    def its_power_fails(self, name: str, then_s: float) -> None:
        self.site.crash_machine(name)
        self.site.run(then_s)

    @rule(name=names, then_s=PAUSES)
    def its_agent_is_stopped(self, name: str, then_s: float) -> None:
        self.site.stop_agent(name)
        self.site.run(then_s)

    @rule(service=st.sampled_from(["control", "valve"]), then_s=PAUSES)
    def the_agent_of_who_may_act_is_stopped(self, service: str, then_s: float) -> None:
        for name, machine in self.site.machines.items():
            if any(one.assignment.service.name == service for one in machine.processes.values()):
                self.site.stop_agent(name)
        self.site.run(then_s)

    @rule(name=names, then_s=PAUSES)
    def its_agent_goes_on(self, name: str, then_s: float) -> None:
        self.site.wake_agent(name)
        self.site.run(then_s)

    @rule(name=names, ago=st.sampled_from([0, 0, 1, 2, 5]), then_s=PAUSES)
    def is_switched_on(self, name: str, ago: int, then_s: float) -> None:
        self.site.switch_on(name, orders_ago=ago)
        self.site.run(then_s)

    @rule(name=names, which=st.integers(0, 9))
    def one_of_its_instances_breaks(self, name: str, which: int) -> None:
        running = sorted(self.site.machines[name].processes)
        if running:
            self.site.crash_process(name, running[which % len(running)])

    @rule(name=names, then_s=PAUSES)
    def is_cut_off(self, name: str, then_s: float) -> None:
        self.site.network.cut_off.add(name)
        self.site.run(then_s)

    @rule(service=st.sampled_from(["control", "valve"]), then_s=PAUSES)
    def who_may_act_is_cut_off(self, service: str, then_s: float) -> None:
        for name, machine in self.site.machines.items():
            if any(one.assignment.service.name == service for one in machine.processes.values()):
                self.site.network.cut_off.add(name)
        self.site.run(then_s)

    @rule(name=names, then_s=PAUSES)
    def is_joined_again(self, name: str, then_s: float) -> None:
        self.site.network.cut_off.discard(name)
        self.site.run(then_s)

    @rule(
        loss=st.sampled_from([0.0, 0.2, 0.6]),
        twice=st.sampled_from([0.0, 0.5]),
        delay_s=st.sampled_from([0.01, 0.5, 4.0]),
    )
    def the_network_turns(self, loss: float, twice: float, delay_s: float) -> None:
        network = self.site.network
        network.loss, network.twice, network.delay_most_s = loss, twice, delay_s

    @rule(then_s=PAUSES)
    def the_manager_is_killed(self, then_s: float) -> None:
        self.site.crash_manager()
        self.site.run(then_s)

    @rule(ago=st.integers(1, 12), then_s=PAUSES)
    def the_database_is_put_back(self, ago: int, then_s: float) -> None:
        self.site.restore(ago)
        self.site.run(then_s)

    @rule(then_s=PAUSES)
    def a_manager_takes_over(self, then_s: float) -> None:
        self.site.start_manager()
        self.site.run(then_s)

    @rule(seconds=st.sampled_from([0.1, 1.0, 4.0, 7.0, 20.0]))
    def time_passes(self, seconds: float) -> None:
        self.site.run(seconds)

    # ------------------------------------------------------------ what must be

    @invariant()
    def no_two_exclusive_instances_act(self) -> None:
        assert self.site.most_acting <= 1

    @invariant()
    def nothing_is_started_where_it_must_not_be(self) -> None:
        assert self.site.misplaced == 0

    @invariant()
    def nothing_is_ordered_where_it_must_not_be(self) -> None:
        nodes = {one.name: one for one in self.site.kept.nodes}
        for held in self.site.kept.held:
            assert unfit(held.service, held.node, nodes[held.node].description, POLICY) is None

    def teardown(self) -> None:
        if not hasattr(self, "site"):
            return
        site = self.site
        site.network.loss, site.network.twice, site.network.delay_most_s = 0.0, 0.0, 0.02
        site.network.cut_off.clear()
        for name in site.machines:
            site.wake_agent(name)
        site.run(15)  # whoever was leaving has left
        site.start_manager()
        for name in site.machines:
            site.switch_on(name)
            if name in members_of(site):
                site.wish(Drain(name, is_draining=False))
        site.run(SETTLED_S, until=lambda: site.now_s % 1 < 0.25 and not flaws_of(site))
        assert not flaws_of(site)
        site.run(5)  # what was on its way when all seemed well
        assert not flaws_of(site)
        assert site.most_acting <= 1
        assert site.misplaced == 0
        before = {name: one.starts for name, one in site.machines.items()}
        if not any(one.service.version.startswith("broken") for one in site.kept.services):
            site.run(40)
            assert {name: one.starts for name, one in site.machines.items()} == before, "it goes round"


def members_of(site: VirtualSite) -> set[str]:
    return {one.name for one in site.kept.nodes}


def flaws_of(site: VirtualSite) -> list[str]:
    """How the world differs from what is wanted."""
    members = members_of(site)
    flaws = [
        f"{machine.name} is forgotten and runs something"
        for machine in site.machines.values()
        if machine.name not in members and machine.processes
    ]
    wanted = {one.service.name: one for one in site.kept.services}
    runs = [(machine.name, one) for machine in site.machines.values() for one in machine.processes.values()]
    for node, one in runs:
        service = one.assignment.service
        if service.name not in wanted or service.version != wanted[service.name].service.version:
            flaws.append(f"{node} runs {service.name} {service.version}")
        if unfit(service, node, site.machines[node].description, POLICY):
            flaws.append(f"{node} must not run {service.name}")
    for name, one in wanted.items():
        fit = [
            machine.name
            for machine in site.machines.values()
            if machine.name in members
            and unfit(one.service, machine.name, machine.description, POLICY) is None
        ]
        where = [node for node, process in runs if process.assignment.service.name == name]
        ready = [
            node for node, process in runs if process.assignment.service.name == name and process.is_ready
        ]
        least = min(one.replicas, len(fit))
        if len(where) > least or len(set(where)) < len(where):
            flaws.append(f"{name} runs at {where}, wanted {least} times")
        if not one.service.version.startswith("broken") and len(ready) != least:
            flaws.append(f"{name} is ready at {ready}, wanted {least} times")
    return flaws


IS_THOROUGH = os.environ.get("EINTHOVEN_EXAMPLES") == "thorough"

TestSite = Site.TestCase
TestSite.settings = settings(
    max_examples=150 if IS_THOROUGH else 15,
    stateful_step_count=60 if IS_THOROUGH else 40,
    deadline=None,
    phases=(
        Phase.explicit,
        Phase.reuse,
        Phase.generate,
    ),  # a history of faults does not get shorter in minutes
)
