"""Dispatching: invocations in, "send this there" out.

No I/O and no clock: it is told what happened and when, and says what is to be done. The runtime performs it
with real regions, the simulation with virtual ones, tests in a list. Its laws: each invocation is settled
once; no region is given more than its slots; what is urgent goes first; what waits is bounded, and beyond
that is refused at once, before anything accepted is dropped.
"""

import heapq
import itertools
import math
import random
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from typing import Final, NamedTuple

import msgspec

from einthoven.continuum import Region, Spot
from einthoven.errors import Conflict, NotFound
from einthoven.placement.policies import Invocation, Policy, expected_s, moved_bytes, policy_named
from einthoven.placement.standing import Standing
from einthoven.workflow import Break

__all__ = ["Command", "Dispatch", "Failed", "GiveUp", "Send", "Settle", "Terms", "Warm"]

_LATER_S: Final = 0.05
_LATER_MOST_S: Final = 2.0
_LOOK_S: Final = 0.1
_SESSIONS: Final = 100_000
_GAIN: Final = 0.05
_PATIENT: Final = 2.0
_HOPELESS: Final = 1.1
_SOON_S: Final = 1.0
_FAITHFUL: Final = 2.0
"""A session stays with its region as long as that is expected to take no more than so many times the best."""
_SHARES: Final = (1.0, 0.8, 0.6)
"""Of the room for what waits, by urgency: what can wait is refused first."""
_REFRESHED: Final = 0.8
"""What is kept warm is called after so much of the time after which it would be gone."""
_SAID: Final = frozenset({"refused", "payload", "function"})
"""What a region says of an invocation: that may be so everywhere, or be the region's own."""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """How invocations are dispatched."""

    policy: str = "balanced"
    attempts: int = 4
    attempt_s: float = 30.0
    """Time of one attempt, at most."""
    waiting: int = 1000
    """Invocations that wait for a region, at most."""
    patience_s: float = 10.0
    """An invocation waits so long while none of its regions answers."""
    explored_share: float = 0.01
    """Of the invocations that are not urgent, sent anywhere: what was slow is found to be fast again."""
    hedged_share: float = 0.05
    """Of the invocations, at most, that are sent to a second region because the first is late; 0: none."""
    seed: int = 0


class Send(NamedTuple):
    """Invoke it there."""

    attempt: int
    invocation: Invocation
    region: str
    timeout_s: float


class GiveUp(NamedTuple):
    """Nobody waits for this attempt any more."""

    attempt: int


class Failed(NamedTuple):
    """Why an invocation failed."""

    kind: Break
    message: str
    retry_after_s: float | None = None
    is_unknown: bool = False
    """There is no such function."""


class Settle(NamedTuple):
    """An invocation has ended: with the answer of an attempt, or failed."""

    number: int
    attempt: int | None
    failed: Failed | None


class Warm(NamedTuple):
    """Call a region so many times at once, and ask for nothing: as many instances are warm then."""

    region: str
    calls: int


Command = Send | GiveUp | Settle | Warm


class _Attempt(NamedTuple):
    number: int
    invocation: int
    standing: Standing
    began_s: float


class _Open:
    """An invocation that is not settled."""

    def __init__(self, invocation: Invocation) -> None:
        self.invocation = invocation
        self.attempts: dict[int, _Attempt] = {}
        self.tried: set[str] = set()
        self.made = 0
        self.said_no = 0
        self.is_waiting = False


class _Kind(NamedTuple):
    """What decides which regions an invocation may go to."""

    function: str
    needs: frozenset[str]
    admits: frozenset[Spot] | None


class _Group:
    """Invocations that may go to the same regions."""

    def __init__(self, standings: list[Standing]) -> None:
        self.standings = standings
        self.waiting: list[tuple[int, float, int, int]] = []
        """A heap: urgency, deadline, order of arrival, number."""


class Dispatch:
    """Sends invocations to regions.

    Parameters
    ----------
    regions : those that there are; others may come and go later.
    """

    def __init__(self, regions: Iterable[Region], terms: Terms = Terms()) -> None:  # noqa: B008 - frozen
        self.terms = terms
        self._policy: Policy = policy_named(terms.policy)
        self._rng = random.Random(terms.seed)  # noqa: S311 - chooses regions
        self._usual_s: dict[str, float] = {}
        self.standings: dict[str, Standing] = {one.name: Standing(one, self._usual_s) for one in regions}
        self._groups: dict[_Kind, _Group] = {}
        self._open: dict[int, _Open] = {}
        self._attempts: dict[int, _Attempt] = {}
        self._order = itertools.count()
        self._waits = 0
        self._timers: list[tuple[float, int, str, int]] = []
        self._homes: OrderedDict[str, str] = OrderedDict()
        self._seen = self._hedged = 0
        self._look_at_s = math.inf
        self._warmings: list[tuple[float, int, str, int | None]] = []
        """A heap: when, order, region, how many instances; None: those that are kept, again and again."""
        self._kept: set[str] = set()
        for name in self.standings:
            self._keep_warm(name, -math.inf)

    # ---------------------------------------------------------------- what there is

    def add(self, region: Region) -> None:
        """Another region; raises Conflict."""
        if region.name in self.standings:
            raise Conflict(f"there is a region {region.name!r} already.", where="regions")
        self.standings[region.name] = Standing(region, self._usual_s)
        self._keep_warm(region.name, -math.inf)
        self._regroup()

    def change(self, region: Region, now_s: float) -> list[Command]:
        """Its declaration has changed: slots, prices, labels, or that it is draining; raises NotFound."""
        standing = self._standing(region.name)
        standing.declare(region)
        self._keep_warm(region.name, now_s)
        self._regroup()
        return self._pump(now_s)

    def remove(self, name: str, now_s: float) -> list[Command]:
        """A region that is gone; what it has is sent elsewhere. Raises NotFound."""
        gone = self._standing(name)
        del self.standings[name]
        self._regroup()
        commands: list[Command] = []
        for attempt in [one for one in self._attempts.values() if one.standing is gone]:
            commands.append(GiveUp(attempt.number))
            commands += self._after(attempt, Failed("transport", f"the region {name} is gone"), now_s)
        return commands + self._pump(now_s)

    def _standing(self, name: str) -> Standing:
        if name not in self.standings:
            raise NotFound(f"there is no region {name!r}.", where="regions")
        return self.standings[name]

    def _regroup(self) -> None:
        self._groups = {key: group for key, group in self._groups.items() if group.waiting}
        for key, group in self._groups.items():
            group.standings = self._fit(key)

    def _fit(self, kind: _Kind) -> list[Standing]:
        return [
            one
            for one in self.standings.values()
            if kind.needs.issubset(one.region.labels)
            and (kind.admits is None or one.region.spot in kind.admits)
            and one.may_have(kind.function)
        ]

    def _group_of(self, invocation: Invocation) -> _Group:
        kind = _Kind(invocation.function, invocation.needs, invocation.admits)
        group = self._groups.get(kind)
        if group is None:
            group = self._groups[kind] = _Group(self._fit(kind))
        return group

    def learn(self, name: str, functions: Collection[str], now_s: float) -> list[Command]:
        """A region has said what functions it has; none: it does not say. Nothing happens if it is gone."""
        if name not in self.standings:
            return []
        self.standings[name].learn(functions)
        self._regroup()
        return self._refuse_homeless() + self._pump(now_s)

    def _refuse_homeless(self) -> list[Command]:
        """What waits for a function that no region has any more."""
        commands: list[Command] = []
        for key, group in self._groups.items():
            if not group.standings:
                numbers, group.waiting = [number for *_, number in group.waiting], []
                for one in (self._open.get(number) for number in numbers):
                    if one is not None and one.is_waiting:
                        commands += self._settle(one, _nobody_has(key))
        return commands

    # ---------------------------------------------------------------- what happens

    def submit(self, invocation: Invocation, now_s: float) -> list[Command]:
        """An invocation has come; its number is its own."""
        group = self._group_of(invocation)
        self._seen += 1
        if not any(not one.region.is_draining for one in group.standings):
            kind = _Kind(invocation.function, invocation.needs, invocation.admits)
            return [Settle(invocation.number, None, _nobody_has(kind))]
        one = _Open(invocation)
        if not group.waiting:
            commands = self._sent(one, group, now_s)
            if commands:
                self._open[invocation.number] = one
                return commands
        if self._waits >= self.terms.waiting * _SHARES[min(invocation.urgency, 2)]:
            return [Settle(invocation.number, None, Failed("throttled", "all regions are full", 1.0))]
        self._open[invocation.number] = one
        self._wait(one, group, now_s)
        return []

    def answered(self, attempt: int, now_s: float) -> list[Command]:
        """An attempt has its answer."""
        ended = self._attempts.pop(attempt, None)
        if ended is None:
            return []
        one = self._open.pop(ended.invocation)
        invocation = one.invocation
        took_s = now_s - ended.began_s
        region = ended.standing.region
        busy_s = invocation.busy_s or max(0.0, took_s - region.rtt_s)
        cost = region.price.of_call(busy_s, invocation.memory_mb, moved_bytes(invocation, region))
        ended.standing.answered(invocation.function, took_s, now_s, cost)
        self._note(invocation.function, max(0.0, took_s - region.rtt_s))
        commands: list[Command] = [Settle(invocation.number, attempt, None)]
        return commands + self._forget_attempts(one, attempt) + self._pump(now_s)

    def broke(
        self,
        attempt: int,
        kind: Break,
        message: str,
        now_s: float,
        retry_after_s: float | None = None,
        *,
        is_unknown: bool = False,
    ) -> list[Command]:
        """An attempt has none.

        Parameters
        ----------
        is_unknown : the region does not have the function; it is not given it again before it says otherwise.
        """
        ended = self._attempts.get(attempt)
        if ended is None:
            return []
        failed = Failed(kind, message, retry_after_s, is_unknown)
        if is_unknown:
            ended.standing.refused(now_s)
            ended.standing.lack(self._open[ended.invocation].invocation.function)
            self._regroup()
        elif kind == "throttled":
            ended.standing.throttled(now_s, retry_after_s)
        elif kind in ("refused", "payload"):
            ended.standing.refused(now_s)
        elif kind == "timeout" and self._was_hurried(ended, now_s):
            ended.standing.given_up()
        else:
            ended.standing.failed(now_s)
        commands = self._after(ended, failed, now_s)
        return commands + (self._refuse_homeless() if is_unknown else []) + self._pump(now_s)

    def cancel(self, number: int, now_s: float) -> list[Command]:
        """Nobody waits for an invocation any more."""
        one = self._open.pop(number, None)
        if one is None:
            return []
        if one.is_waiting:
            self._waits -= 1
        return self._forget_attempts(one, None) + self._pump(now_s)

    def expect(self, name: str, count: int, at_s: float) -> None:
        """So many invocations will be with a region at one time, from then on: have instances warm for them.

        Nothing happens if there is no such region.
        """
        if name in self.standings:
            early_s = self.standings[name].region.cold_s
            heapq.heappush(self._warmings, (at_s - early_s, next(self._order), name, count))

    def warmed(self, name: str, busy_s: float, memory_mb: int = 128) -> None:
        """A call of `Warm` was answered; it costs what others do."""
        if name in self.standings:
            self.standings[name].warmed(busy_s, memory_mb)

    def _keep_warm(self, name: str, at_s: float) -> None:
        if self.standings[name].region.warm and name not in self._kept:
            self._kept.add(name)
            heapq.heappush(self._warmings, (at_s, next(self._order), name, None))

    def _warm(self, now_s: float) -> list[Command]:
        """Calls that are due so that instances are warm; what is in use need not be called."""
        commands: list[Command] = []
        while self._warmings and self._warmings[0][0] <= now_s:
            _, _, name, count = heapq.heappop(self._warmings)
            standing = self.standings.get(name)
            if count is None:
                self._kept.discard(name)
            if standing is None:
                continue
            region = standing.region
            if count is None:
                count = region.warm
                self._keep_warm(name, now_s + _REFRESHED * region.idle_s)
            lacking = min(count, int(standing.limit)) - standing.in_flight
            if lacking > 0 and standing.breaker == "closed" and not region.is_draining:
                commands.append(Warm(name, lacking))
        return commands

    def woken(self, now_s: float) -> list[Command]:
        """Time has passed."""
        commands = self._warm(now_s)
        while self._timers and self._timers[0][0] <= now_s:
            _, _, kind, number = heapq.heappop(self._timers)
            if kind == "late":
                commands += self._hedge(number, now_s)
            elif number in self._open:
                commands += _ALARMS[kind](self, number, now_s)
        if now_s >= self._look_at_s:
            self._look_at_s = now_s + _LOOK_S if self._attempts else math.inf
            for standing in list(self.standings.values()):
                if standing.is_stalled(now_s):
                    standing.avoid(now_s)
                    commands += self._rescue(standing, now_s)
        return commands + self._pump(now_s)

    @property
    def waiting(self) -> int:
        """Invocations that wait for a region."""
        return self._waits

    @property
    def unsettled(self) -> int:
        """Invocations that have not ended."""
        return len(self._open)

    def wake_at_s(self, now_s: float) -> float:
        """When it wants to be woken; infinite where nothing but news changes anything."""
        at_s = min(
            self._look_at_s,
            self._timers[0][0] if self._timers else math.inf,
            self._warmings[0][0] if self._warmings else math.inf,
        )
        if self._waits:
            at_s = min(at_s, *(one.free_at_s(now_s) for one in self.standings.values()), math.inf)
        return at_s

    # ---------------------------------------------------------------- sending

    def _sent(self, one: _Open, group: _Group, now_s: float, *, is_second: bool = False) -> list[Command]:
        """Send it to the best region that is free, if there is one."""
        tried = one.tried
        free = [s for s in group.standings if s.is_free(now_s)]
        if tried:
            fresh = [s for s in free if s.region.name not in tried]
            # Back to where it failed only if there is nowhere else.
            free = fresh if fresh or is_second or _has_others(group, tried) else free
        if not free:
            return []
        invocation = one.invocation
        left_s = math.inf if invocation.deadline_s is None else invocation.deadline_s - now_s
        if left_s <= 0:
            return []
        due = []
        if invocation.urgency and not is_second:
            due = [
                s for s in free if s.is_due(now_s) and left_s > _PATIENT * s.latency_s(invocation.function)
            ]
        wanted = invocation.prefers
        preferred = [s for s in free if s.region.name == wanted] if wanted else []
        if due:
            chosen = due[0]
        elif preferred:
            chosen = preferred[0]
        elif invocation.urgency and len(free) > 1 and self._rng.random() < self.terms.explored_share:
            chosen = self._rng.choice(free)
        else:
            chosen = free[0] if len(free) == 1 else self._policy(invocation, free, left_s, self._rng)
        if invocation.session is not None and not due and not preferred:
            chosen = self._faithful(invocation, free, chosen)
        name = chosen.region.name
        attempt = _Attempt(next(self._order), invocation.number, chosen, now_s)
        self._attempts[attempt.number] = one.attempts[attempt.number] = attempt
        tried.add(name)
        one.made += 1
        chosen.begin(now_s)
        timeout_s = min(self.terms.attempt_s, left_s, chosen.region.longest_s)
        self._look_at_s = min(self._look_at_s, now_s + _LOOK_S)
        late_s = chosen.late_s(invocation.function)
        if late_s is not None and self.terms.hedged_share and invocation.urgency < 2 and late_s < timeout_s:
            self._alarm(now_s + late_s, "late", attempt.number)
        return [Send(attempt.number, invocation, name, timeout_s)]

    def _faithful(self, invocation: Invocation, free: list[Standing], chosen: Standing) -> Standing:
        """Where the session was, unless that is much worse."""
        session = invocation.session or ""
        home = self._homes.get(session)
        for standing in free:
            if standing.region.name == home:
                is_near = expected_s(invocation, standing) <= _FAITHFUL * expected_s(invocation, chosen)
                chosen = standing if is_near else chosen
        self._homes[session] = chosen.region.name
        self._homes.move_to_end(session)
        if len(self._homes) > _SESSIONS:
            self._homes.popitem(last=False)
        return chosen

    def _note(self, function: str, took_s: float) -> None:
        """How long a function takes anywhere."""
        known = self._usual_s.get(function)
        self._usual_s[function] = took_s if known is None else known + _GAIN * (took_s - known)

    def _is_too_late(self, one: _Open, group: _Group, now_s: float) -> bool:
        """Whether the time that is left is so short that no region would answer in it."""
        deadline_s = one.invocation.deadline_s
        if deadline_s is None or not group.standings:
            return False
        function = one.invocation.function
        if function not in self._usual_s:
            return False
        return deadline_s - now_s < _HOPELESS * min(s.latency_s(function) for s in group.standings)

    def _was_hurried(self, ended: _Attempt, now_s: float) -> bool:
        """Whether an attempt ran out of time before the region was late by its own measure."""
        invocation = self._open[ended.invocation].invocation
        late_s = ended.standing.late_s(invocation.function)
        most_s = min(self.terms.attempt_s, ended.standing.region.longest_s)
        return now_s - ended.began_s < min(most_s, _SOON_S if late_s is None else late_s)

    def _wait(self, one: _Open, group: _Group, now_s: float) -> None:
        invocation = one.invocation
        deadline_s = math.inf if invocation.deadline_s is None else invocation.deadline_s
        heapq.heappush(group.waiting, (invocation.urgency, deadline_s, next(self._order), invocation.number))
        one.is_waiting = True
        self._waits += 1
        if deadline_s < math.inf:
            self._alarm(deadline_s, "expired", invocation.number)
        self._alarm(now_s + self.terms.patience_s, "dark", invocation.number)

    def _pump(self, now_s: float) -> list[Command]:
        """Send what waits, the most urgent first, as far as there are free regions."""
        if not self._waits:
            return []
        commands: list[Command] = []
        ready = {key: group for key, group in self._groups.items() if group.waiting}
        while ready:
            key = min(ready, key=lambda one: ready[one].waiting[0])
            group = ready[key]
            one = self._open.get(group.waiting[0][3])
            if one is None or not one.is_waiting:
                heapq.heappop(group.waiting)
            elif self._is_too_late(one, group, now_s):
                heapq.heappop(group.waiting)
                commands += self._settle(one, Failed("timeout", "no region was free in time"))
            elif sent := self._sent(one, group, now_s):
                heapq.heappop(group.waiting)
                one.is_waiting = False
                self._waits -= 1
                commands += sent
            else:
                del ready[key]
                continue
            if not group.waiting:
                del ready[key]
        return commands

    # ---------------------------------------------------------------- when it does not go well

    def _after(self, ended: _Attempt, failed: Failed, now_s: float) -> list[Command]:
        """An attempt is over without an answer: another one, or that was it."""
        del self._attempts[ended.number]
        one = self._open[ended.invocation]
        del one.attempts[ended.number]
        group = self._group_of(one.invocation)
        if failed.is_unknown:
            one.made -= 1
        else:
            one.said_no += failed.kind in _SAID
        if one.said_no > 1:
            return self._settle(one, failed)
        if one.attempts:
            return []
        # A function that a region does not have may be had of another, which is waited for too.
        goes_on = group.standings if failed.is_unknown else _has_others(group, one.tried)
        if failed.kind in _SAID and not goes_on:
            return self._settle(one, failed)
        if failed.kind == "throttled":
            one.made -= 1
        if one.made >= self.terms.attempts:
            return self._settle(one, failed)
        if _has_others(group, one.tried):
            sent = self._sent(one, group, now_s)
            if not sent:
                self._wait(one, group, now_s)
            return sent
        pause_s = min(_LATER_MOST_S, _LATER_S * 2 ** max(0, one.made - 1)) * self._rng.uniform(0.5, 1.5)
        if failed.retry_after_s is not None:
            pause_s = max(pause_s, failed.retry_after_s)
        deadline_s = one.invocation.deadline_s
        if deadline_s is not None and now_s + pause_s >= deadline_s:
            return self._settle(one, failed)
        self._alarm(now_s + pause_s, "again", one.invocation.number)
        return []

    def _again(self, number: int, now_s: float) -> list[Command]:
        """Every region was tried; begin anew."""
        one = self._open[number]
        if one.attempts or one.is_waiting:
            return []
        one.tried.clear()
        group = self._group_of(one.invocation)
        sent = self._sent(one, group, now_s)
        if not sent:
            self._wait(one, group, now_s)
        return sent

    def _expire(self, number: int, now_s: float) -> list[Command]:
        """Its time is over while it waits."""
        one = self._open[number]
        if not one.is_waiting or (one.invocation.deadline_s or math.inf) > now_s:
            return []
        return self._settle(one, Failed("timeout", "no region was free in time"))

    def _give_up_on(self, number: int, now_s: float) -> list[Command]:
        """It waited for long: none of its regions may answer at all."""
        one = self._open[number]
        if not one.is_waiting:
            return []
        group = self._group_of(one.invocation)
        if any(s.breaker == "closed" and not s.region.is_draining for s in group.standings):
            self._alarm(now_s + self.terms.patience_s, "dark", number)
            return []
        return self._settle(one, Failed("transport", "no region answers"))

    def _settle(self, one: _Open, failed: Failed) -> list[Command]:
        del self._open[one.invocation.number]
        if one.is_waiting:
            self._waits -= 1
        commands: list[Command] = [Settle(one.invocation.number, None, failed)]
        return commands + self._forget_attempts(one, None)

    def _forget_attempts(self, one: _Open, but: int | None) -> list[Command]:
        commands: list[Command] = []
        for number, attempt in one.attempts.items():
            if number != but:
                del self._attempts[number]
                attempt.standing.given_up()
                commands.append(GiveUp(number))
        return commands

    def _hedge(self, number: int, now_s: float) -> list[Command]:
        """An answer is late: ask another region too, if not too many are asked twice."""
        attempt = self._attempts.get(number)
        if attempt is None or self._hedged >= self.terms.hedged_share * self._seen:
            return []
        return self._twice(attempt, now_s)

    def _rescue(self, standing: Standing, now_s: float) -> list[Command]:
        """Ask other regions for all that a region has that hangs."""
        hanging = [one for one in self._attempts.values() if one.standing is standing]
        return [command for attempt in hanging for command in self._twice(attempt, now_s)]

    def _twice(self, attempt: _Attempt, now_s: float) -> list[Command]:
        one = self._open[attempt.invocation]
        if len(one.attempts) > 1 or one.made >= self.terms.attempts:
            return []
        group = self._group_of(one.invocation)
        sent = self._sent(one, group, now_s, is_second=True)
        self._hedged += bool(sent)
        return sent

    def _alarm(self, at_s: float, kind: str, number: int) -> None:
        heapq.heappush(self._timers, (at_s, next(self._order), kind, number))


def _nobody_has(kind: _Kind) -> Failed:
    labels = " and ".join(sorted(kind.needs))
    where = f" with the label {labels}" if labels else ""
    where += "" if kind.admits is None else " that may have the data"
    return Failed("refused", f"no region{where} has the function {kind.function[:64]!r}", is_unknown=True)


def _has_others(group: _Group, tried: set[str]) -> bool:
    """Whether there are regions where it was not tried, and that are to be had before long."""
    return any(
        one.region.name not in tried and not one.region.is_draining and one.breaker != "open"
        for one in group.standings
    )


_ALARMS: Final[dict[str, Callable[[Dispatch, int, float], list[Command]]]] = {
    "again": Dispatch._again,
    "dark": Dispatch._give_up_on,
    "expired": Dispatch._expire,
}
