"""Whoever listens to what happens: what of it they may see, and what they have not taken yet."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from einthoven.alerts import Change
from einthoven.server.access import alert_ask
from einthoven.server.identities import Person
from einthoven.server.parties import party_for
from einthoven.server.ward import StreamNow, without_findings
from einthoven.trust.grants import AccessAsk, AccessDecision, Grant, decide_access

__all__ = ["Listener", "News", "Told", "ToldStreams", "Wish"]

_WAITING: Final = 1000
_KEEPERS: Final = frozenset({"admin", "technician"})
"""They look after devices, and see of streams what is no finding."""

Through = tuple[tuple[AccessAsk, AccessDecision], ...]
"""Broken glasses, and what was asked."""


class Wish(msgspec.Struct, frozen=True):
    """What somebody wants to hear."""

    after: int | None = None
    """The last change that was heard; None to begin now."""
    streams: bool = False
    patient: str | None = None
    """Of this one only."""


class Told(msgspec.Struct, frozen=True):
    """A change that somebody may see, and why."""

    number: int
    change: Change
    through: Through
    decided_s: float

    @property
    def patients(self) -> set[str]:
        """Whom it concerns."""
        return {self.change.alert.patient}


class ToldStreams(msgspec.Struct, frozen=True):
    """Streams that changed, and what somebody may see of them."""

    changed: Sequence[StreamNow]
    seen: list[StreamNow]
    through: Through
    decided_s: float

    @property
    def patients(self) -> set[str]:
        """Whom they concern."""
        return {one.patient for one in self.changed}


class News(msgspec.Struct, frozen=True):
    """Changes of one organisation, and what says who may see them."""

    rows: list[tuple[int, Change]]
    rule: str
    grants: Mapping[str, Sequence[Grant]]
    """By patient."""
    now_ns: int
    read_s: float

    def decision(self, ask: AccessAsk) -> AccessDecision:
        """Whether somebody may see what these are of."""
        return decide_access(ask, self.rule, self.grants.get(ask.patient, ()), self.now_ns)


class Listener:
    """One who listens."""

    def __init__(self, person: Person, wish: Wish) -> None:
        self.person = person
        self.patient = wish.patient
        """The only one of whom is told; None for all that this person may see."""
        self.hears_streams = wish.streams
        self.is_new = True
        """It may have read the ward a moment before it was told of what changes."""
        self.queue: asyncio.Queue[Told | ToldStreams | None] = asyncio.Queue()
        self.entered: set[str] = set()
        """Broken glasses through which something was seen, and of which that is entered."""

    def told(self, number: int, change: Change, news: News) -> Told | None:
        """A change, if this person may see it."""
        alert = change.alert
        if self.patient not in (None, alert.patient):
            return None
        ask = alert_ask(party_for(self.person), self.person.user, alert.patient, alert.condition)
        decision = news.decision(ask)
        if decision.verdict == "deny":
            return None
        return Told(number, change, _through([(ask, decision)]), news.read_s)

    def told_streams(self, changed: Sequence[StreamNow], news: News) -> ToldStreams | None:
        """Streams that this person may see, if they are listened to."""
        if not self.hears_streams:
            return None
        named = [one for one in changed if self.patient in (None, one.patient)]
        made = [(one, ask, news.decision(ask)) for one in named for ask in (self._ask(one.patient),)]
        seen = [one for one, _, decision in made if decision.verdict == "permit"]
        if not seen:
            return None
        if self.person.role in _KEEPERS:
            seen = without_findings(seen)
        through = _through([(ask, decision) for _, ask, decision in made])
        return ToldStreams(changed, seen, through, news.read_s)

    def again(self, told: Told | ToldStreams, news: News) -> Told | ToldStreams | None:
        """The same as it may be seen now."""
        if isinstance(told, Told):
            return self.told(told.number, told.change, news)
        return self.told_streams(told.changed, news)

    def begin(self, missed: Sequence[Told]) -> None:
        """Put what was missed before what came in the meantime, each change once, in order."""
        waiting = [self.queue.get_nowait() for _ in range(self.queue.qsize())]
        changes = {one.number: one for one in (*missed, *waiting) if isinstance(one, Told)}
        streams = [one for one in waiting if isinstance(one, ToldStreams)]
        for number in sorted(changes):
            self.put(changes[number])
        for one in streams:
            self.put(one)
        if None in waiting:
            self.queue.put_nowait(None)

    def put(self, told: Told | ToldStreams | None) -> None:
        """Hand on what this person may see; one that is too slow is cut off, and comes back for the rest."""
        if told is None:
            return
        if self.queue.qsize() < _WAITING:
            self.queue.put_nowait(told)
        elif self.queue.qsize() == _WAITING:
            self.queue.put_nowait(None)

    def _ask(self, patient: str) -> AccessAsk:
        return AccessAsk(
            account=self.person.user,
            role=self.person.role,
            own_patient=party_for(self.person).patient,
            patient=patient,
            data="findings",
            may_ask=True,
            is_kept=self.person.role in _KEEPERS,
        )


def _through(made: Sequence[tuple[AccessAsk, AccessDecision]]) -> Through:
    return tuple((ask, decision) for ask, decision in made if decision.is_emergency)
