"""Sessions come and go: deadlines hold at every moment, frozen shares stay, value decides who remains."""

import heapq
import os
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.errors import Conflict, InputInvalid, NotFound
from einthoven.placement.offloading import (
    THREE_STATIONS,
    Admitted,
    Instance,
    Offers,
    Refused,
    Scenario,
    Sessions,
    Terms,
    draw,
    draw_online,
    offers_of,
)
from einthoven.placement.offloading.feasibility import is_feasible

THOROUGH = os.environ.get("EINTHOVEN_EXAMPLES") == "thorough"


class World:
    """Sessions, and beside them all that was asked, so that laws can be checked from outside."""

    def __init__(self, instance: Instance, terms: Terms | None = None) -> None:
        self.instance = instance
        self.sessions = Sessions(instance.capacities, resources=instance.resources, terms=terms)
        self.asked: dict[str, tuple[Offers, float]] = {}
        self.frozen: dict[str, dict[int, float]] = {}

    def admit(self, name: str, request: int, **others: Any) -> Admitted | Refused:
        offers = offers_of(self.instance, request)
        answer = self.sessions.admit(name, offers, **others)
        if isinstance(answer, Admitted):
            self.asked[name] = (offers, others.get("value", 1.0))
            assert answer.shares == self.sessions.shares(name)
            if others.get("is_frozen"):
                self.frozen[name] = answer.shares
        self.forget()
        return answer

    def forget(self) -> None:
        self.asked = {name: one for name, one in self.asked.items() if name in self.sessions}
        self.frozen = {name: one for name, one in self.frozen.items() if name in self.sessions}

    def demand(self, name: str) -> dict[int, float]:
        offers, _ = self.asked[name]
        option = offers.sites.index(self.sessions.site(name))
        pairs = zip(offers.paths[option].tolist(), offers.demands[option].tolist(), strict=True)
        return {resource: demand for resource, demand in pairs if demand > 0}

    def check(self) -> None:
        used = np.zeros(len(self.instance.capacities))
        for name in self.sessions.names:
            shares, demand = self.sessions.shares(name), self.demand(name)
            assert shares.keys() == demand.keys()
            assert sum(demand[one] / shares[one] for one in demand) <= 1 + 1e-9
            for resource, share in shares.items():
                used[resource] += share
        assert np.all(used <= self.sessions.capacities * (1 + 1e-9))
        for name, shares in self.frozen.items():
            assert self.sessions.shares(name) == shares

    def rebuilt(self) -> np.ndarray:
        """M, from nothing but what runs and is not frozen."""
        room = self.sessions.capacities
        for shares in self.frozen.values():
            for resource, share in shares.items():
                room[resource] -= share
        matrix = np.zeros((len(room), len(room)))
        for name in self.sessions.names:
            if name not in self.frozen:
                demand = self.demand(name)
                path = list(demand)
                root = np.sqrt([demand[one] / room[one] for one in path])
                matrix[np.ix_(path, path)] += np.outer(root, root)
        return matrix


@given(data=st.data())
def test_at_every_moment_deadlines_and_capacities_hold_and_frozen_shares_stay(data: st.DataObject) -> None:
    seed = data.draw(st.integers(0, 1000))
    terms = data.draw(
        st.sampled_from(
            [Terms(), Terms(reallocations_per_s=0), Terms(reallocations_per_s=1, burst=2), Terms(moves=1)]
        )
    )
    world = World(draw(THREE_STATIONS, 60, seed).instance, terms)
    random = np.random.default_rng(seed)
    for step in range(40):
        names = world.sessions.names
        kind = random.random()
        if kind < 0.7 or not names:
            world.admit(
                f"s{step}",
                int(random.integers(60)),
                at_s=0.3 * step,
                value=float(random.choice([1, 3, 10])),
                is_frozen=bool(random.random() < 0.2),
                may_preempt=bool(random.random() < 0.2),
            )
        elif kind < 0.85:
            world.sessions.depart(str(random.choice(names)))
        elif kind < 0.9:
            name = str(random.choice(names))
            before = world.sessions.shares(name)
            world.sessions.freeze(name)
            world.frozen[name] = before
        else:
            resource = int(random.integers(13))
            part = float(random.choice([0, 0.5, 1, 1.5]))
            world.sessions.set_capacity(resource, part * world.instance.capacities[resource])
        world.forget()
        world.check()


def test_after_ten_thousand_comings_and_goings_nothing_has_drifted() -> None:
    world = World(draw(THREE_STATIONS, 200, 11).instance)
    random = np.random.default_rng(11)
    for step in range(10_000):
        names = world.sessions.names
        if len(names) < 5 or random.random() < 0.55:
            world.admit(f"s{step}", int(random.integers(200)), is_frozen=step % 97 == 0)
        else:
            world.sessions.depart(names[int(random.integers(len(names)))])
        world.forget()
        if step % 2500 == 2499:
            world.check()
            matrix = world.rebuilt()
            inverse = np.linalg.inv(np.eye(len(matrix)) - matrix)
            assert np.abs(world.sessions.matrix - matrix).max() <= 1e-8
            assert np.abs(world.sessions.inverse - inverse).max() <= 1e-8 * np.abs(inverse).max()


def test_who_comes_gets_what_takes_least_and_everybody_computes_the_new_shares_from_the_prices() -> None:
    world = World(draw(THREE_STATIONS, 60, 2).instance)
    for request in range(12):
        answer = world.admit(f"s{request}", request)
        assert isinstance(answer, Admitted)
        assert answer.prices == tuple(world.sessions.prices.tolist())
    prices = world.sessions.prices
    for name in world.sessions.names:
        demand = world.demand(name)
        total = sum((prices[one] * demand[one]) ** 0.5 for one in demand)
        for resource, share in world.sessions.shares(name).items():
            assert share == pytest.approx((demand[resource] / prices[resource]) ** 0.5 * total)
    used = world.sessions.utilisations()
    assert used.max() <= 1
    world.sessions.depart("s3")
    assert "s3" not in world.sessions
    assert len(world.sessions) == 11
    assert tuple(world.sessions.prices.tolist()) == answer.prices


def test_who_does_not_fit_is_refused_at_once_with_the_reason() -> None:
    world = World(draw(THREE_STATIONS, 200, 5).instance)
    refused = [
        answer for request in range(200) if isinstance(answer := world.admit(f"s{request}", request), Refused)
    ]
    full = [one for one in refused if one.reason == "full"]
    assert full
    for one in full:
        assert one.take > 1 - 1e-9
        assert one.resource in world.instance.resources
        assert f"most of it of {one.resource}" in one.says
        together = [world.instance.options_of(int(name[1:])) for name in world.sessions.names]
        held = [
            next(o for o in span if world.instance.sites[o] == world.sessions.site(f"s{name[1:]}"))
            for span, name in zip(together, world.sessions.names, strict=True)
        ]
    # Each of them was refused beside fewer, so none fits now.
    for one in full[:20]:
        for option in world.instance.options_of(int(one.name[1:])):
            assert not is_feasible(world.instance, np.array([*held, option]))


def one_way(demand: float, *, resource: int = 0) -> Offers:
    return Offers(paths=np.array([[resource]]), demands=np.array([[demand]]), sites=(f"at-{resource}",))


def two_ways(demand: float) -> Offers:
    return Offers(paths=np.array([[0], [1]]), demands=np.array([[demand], [demand]]), sites=("at-0", "at-1"))


def test_the_reasons_are_told_apart() -> None:
    sessions = Sessions([10.0, 10.0], resources=["link", "spare"])
    never = sessions.admit("a", one_way(12.0))
    assert isinstance(never, Refused)
    assert (never.reason, never.take) == ("never", pytest.approx(1.2))
    assert "alone" in never.says
    assert isinstance(sessions.admit("b", one_way(6.0)), Admitted)
    full = sessions.admit("c", one_way(6.0))
    assert isinstance(full, Refused)
    assert (full.reason, full.resource) == ("full", "link")
    gone = sessions.set_capacity(0, 5.0)
    assert gone.evicted == ("b",)
    lost = sessions.admit("d", one_way(6.0))
    assert isinstance(lost, Refused)
    assert lost.reason == "lost"
    assert "that is left" in lost.says
    nowhere = Offers(paths=np.zeros((0, 1), dtype=int), demands=np.zeros((0, 1)), sites=())
    assert isinstance(sessions.admit("e", nowhere), Refused)


def test_when_shares_may_not_change_a_newcomer_gets_what_the_others_leave_or_waits() -> None:
    world = World(draw(THREE_STATIONS, 120, 4).instance, Terms(reallocations_per_s=0.5))
    told = settled = waits = 0
    for request in range(120):
        before = {name: world.sessions.shares(name) for name in world.sessions.names}
        answer = world.admit(f"s{request}", request, at_s=0.2 * request)
        if isinstance(answer, Refused):
            if answer.reason == "settled":
                waits += 1
                assert answer.retry_after_s is not None
                assert 0 <= answer.retry_after_s <= 2
                assert "not yet" in answer.says
        elif answer.prices is None:
            settled += 1
            assert all(world.sessions.shares(name) == shares for name, shares in before.items())
        else:
            told += 1
        world.check()
    assert told <= 1 + 0.5 * 0.2 * 120
    assert min(told, settled, waits) >= 1


def test_a_frozen_session_keeps_its_shares_until_it_ends() -> None:
    world = World(draw(THREE_STATIONS, 80, 6).instance)
    frozen = world.admit("keeps", 0, is_frozen=True)
    assert isinstance(frozen, Admitted)
    for request in range(1, 60):
        world.admit(f"s{request}", request)
        assert world.sessions.shares("keeps") == frozen.shares
    world.sessions.freeze("s1")
    world.sessions.freeze("s1")
    world.frozen["s1"] = world.sessions.shares("s1")
    world.admit("late", 61)
    world.check()
    world.sessions.depart("keeps")
    world.frozen.pop("keeps")
    world.forget()
    world.check()


def test_an_emergency_displaces_only_what_is_worth_less() -> None:
    sessions = Sessions([10.0])
    for name, value in (("low", 1.0), ("middle", 3.0), ("high", 10.0)):
        assert isinstance(sessions.admit(name, one_way(3.0), value=value), Admitted)
    equal = sessions.admit("equal", one_way(3.0), value=1.0, may_preempt=True)
    assert isinstance(equal, Refused)
    plain = sessions.admit("plain", one_way(3.0), value=10.0)
    assert isinstance(plain, Refused)
    urgent = sessions.admit("urgent", one_way(3.0), value=10.0, may_preempt=True)
    assert isinstance(urgent, Admitted)
    assert urgent.evicted == ("low",)
    assert sessions.names == ("middle", "high", "urgent")
    frozen = sessions.admit("frozen", one_way(4.0), value=5.0, may_preempt=True, is_frozen=True)
    assert isinstance(frozen, Admitted)
    assert frozen.evicted == ("middle",)


def test_a_lost_link_moves_who_can_be_moved_and_ends_the_least_valuable() -> None:
    sessions = Sessions([10.0, 10.0])
    for name, value in (("a", 1.0), ("b", 3.0), ("c", 10.0)):
        sessions.admit(name, two_ways(4.0), value=value)
    assert {sessions.site(name) for name in "abc"} == {"at-0", "at-1"}
    done = sessions.set_capacity(0, 0.0)
    assert done.evicted == ("a",)
    assert {sessions.site(name) for name in ("b", "c")} == {"at-1"}
    assert done.prices[1] > 0
    back = sessions.set_capacity(0, 20.0)
    assert (back.moved, back.evicted) == ((), ())
    assert isinstance(sessions.admit("d", two_ways(9.0)), Admitted)
    few = Sessions([10.0, 10.0], terms=Terms(moves=1))
    for name in "abc":
        few.admit(name, two_ways(3.0))
    only = few.set_capacity(0, 0.0)
    assert len(only.moved) <= 1


def test_nobody_is_ended_while_one_of_less_value_could_go_instead() -> None:
    """Removing any link at some 120 sessions takes less than a tenth of a second, too."""
    instance = draw(Scenario(stations=14), 360, 3).instance
    random = np.random.default_rng(3)
    values = random.choice([1.0, 3.0, 10.0], 360, p=[0.5, 0.3, 0.2])
    slowest_s = 0.0
    for resource in range(57) if THOROUGH else (0, 56):
        world = World(instance)
        for request in range(360):
            world.admit(f"s{request}", request, value=float(values[request]))
        assert len(world.sessions) >= 100
        start = time.perf_counter()
        done = world.sessions.set_capacity(resource, 0.0)
        slowest_s = max(slowest_s, time.perf_counter() - start)
        world.forget()
        world.check()
        capacities = world.sessions.capacities
        left = np.where(capacities > 0, capacities, 1e-6)
        room = {name: world.demand(name) for name in world.sessions.names}
        for name in done.evicted:
            request = int(name[1:])
            dearer = [one for one in room if world.asked[one][1] >= values[request]]
            for option in instance.options_of(request):
                pairs = zip(instance.paths[option].tolist(), instance.demands[option].tolist(), strict=True)
                own = {at: demand for at, demand in pairs if demand > 0}
                assert not together([own, *(room[one] for one in dearer)], left)
    assert slowest_s < 1.0


def together(rows: list[dict[int, float]], capacities: np.ndarray) -> bool:
    dense = np.zeros((len(rows), len(capacities)))
    for number, row in enumerate(rows):
        for resource, demand in row.items():
            dense[number, resource] += demand / capacities[resource]
    return bool(np.linalg.norm(np.sqrt(dense), 2) ** 2 <= 1)


def served(load: float, seed: int, terms: Terms, *, is_frozen: bool, requests: int = 1500) -> float:
    """Accepted per cent of the newcomers after the first 200."""
    online = draw_online(THREE_STATIONS, load, seed, requests=requests)
    sessions = Sessions(online.instance.capacities, terms=terms)
    ends: list[tuple[float, str]] = []
    accepted = np.zeros(online.instance.count, dtype=bool)
    for request, at_s in enumerate(online.arrives_s.tolist()):
        while ends and ends[0][0] <= at_s:
            sessions.depart(heapq.heappop(ends)[1])
        name = str(request)
        answer = sessions.admit(name, offers_of(online.instance, request), at_s=at_s, is_frozen=is_frozen)
        if isinstance(answer, Admitted):
            accepted[request] = True
            heapq.heappush(ends, (at_s + online.holds_s[request], name))
    return 100 * float(accepted[200:].mean())


def test_new_shares_for_all_accept_ten_points_more_than_frozen_ones() -> None:
    """The reference: 81.9 against 70.2 per cent at 30 sessions offered, mean of four seeds."""
    seeds = range(4 if THOROUGH else 1)
    fluid = np.mean([served(30, seed, Terms(), is_frozen=False) for seed in seeds])
    frozen = np.mean([served(30, seed, Terms(reallocations_per_s=0), is_frozen=True) for seed in seeds])
    assert fluid - frozen >= 9
    if THOROUGH:
        assert fluid == pytest.approx(81.9, abs=0.5)
        assert frozen == pytest.approx(70.2, abs=0.5)


def test_under_overload_refusing_the_dear_lets_more_in_and_otherwise_changes_little() -> None:
    loads = (20, 50)
    plain = [served(load, 0, Terms(), is_frozen=False, requests=700) for load in loads]
    choosy = [served(load, 0, Terms(dear_from=0.8), is_frozen=False, requests=700) for load in loads]
    assert choosy[0] >= plain[0] - 2
    assert choosy[1] >= plain[1] + 1


def test_an_arrival_among_a_hundred_takes_less_than_a_millisecond_or_so() -> None:
    instance = draw(Scenario(stations=24), 400, 1).instance
    world = World(instance)
    for request in range(390):
        world.admit(f"s{request}", request)
    assert len(world.sessions) >= 95
    took = []
    for request in range(390, 400):
        start = time.perf_counter()
        world.sessions.admit(f"s{request}", offers_of(instance, request))
        took.append(time.perf_counter() - start)
    assert min(took) < 0.01


def test_what_cannot_be_is_refused() -> None:
    sessions = Sessions([10.0])
    sessions.admit("a", one_way(1.0))
    with pytest.raises(Conflict):
        sessions.admit("a", one_way(1.0))
    for missing in (sessions.depart, sessions.freeze, sessions.shares, sessions.site):
        with pytest.raises(NotFound):
            missing("b")
    wrong = [
        one_way(-1.0),
        one_way(0.0),
        one_way(float("nan")),
        one_way(1.0, resource=1),
        Offers(paths=np.array([[0]]), demands=np.array([[1.0]]), sites=()),
        Offers(paths=np.array([0]), demands=np.array([1.0]), sites=("x",)),
    ]
    for offers in wrong:
        with pytest.raises(InputInvalid):
            sessions.admit("c", offers)
    with pytest.raises(InputInvalid):
        sessions.admit("c", one_way(1.0), value=0.0)
    for resource, capacity in ((1, 1.0), (-1, 1.0), (0, -1.0), (0, float("nan"))):
        with pytest.raises(InputInvalid):
            sessions.set_capacity(resource, capacity)
    for capacities in ([], [0.0], [[1.0]]):
        with pytest.raises(InputInvalid):
            Sessions(capacities)
    for terms in ({"reallocations_per_s": -1}, {"burst": 0}, {"moves": -1}, {"dear_from": 0}):
        with pytest.raises(InputInvalid):
            Terms(**terms)
