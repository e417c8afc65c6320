"""The event stream of this process: what web pages and terminals listen to."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

from einthoven.alerts import Notification, Receipt
from einthoven.clock import Clock
from einthoven.errors import InputInvalid

__all__ = ["EventStream", "Subscription"]

_KEPT: Final = 10_000
_WAITING: Final = 1_000


class Subscription:
    """What one listener has not taken yet. A listener that is too slow is cut off, and told so."""

    def __init__(self, org: str, waiting: int) -> None:
        self.org = org
        self.is_cut_off = False
        """It was too slow; it may subscribe again, after the last event that it took."""
        self._most = waiting
        self._queue: deque[Notification] = deque()
        self._filled = asyncio.Event()

    def put(self, notification: Notification) -> None:
        """Give it an event; never waits."""
        if len(self._queue) >= self._most:
            self.is_cut_off = True
        else:
            self._queue.append(notification)
        self._filled.set()

    def end(self) -> None:
        """Nothing more comes."""
        self.is_cut_off = True
        self._filled.set()

    def __aiter__(self) -> AsyncIterator[Notification]:
        return self

    async def __anext__(self) -> Notification:
        while not self._queue:
            if self.is_cut_off:
                raise StopAsyncIteration
            self._filled.clear()
            await self._filled.wait()
        return self._queue.popleft()


class EventStream:
    """A channel whose receivers are in this process; each organisation hears its own.

    Parameters
    ----------
    kept : events that a listener can still ask for after a break
    waiting : events that a listener may leave untaken
    """

    def __init__(self, clock: Clock, *, kept: int = _KEPT, waiting: int = _WAITING) -> None:
        self._clock = clock
        self._kept: deque[Notification] = deque(maxlen=kept)
        self._ids: set[str] = set()
        self._waiting = waiting
        self._subscriptions: set[Subscription] = set()

    async def send(self, notification: Notification) -> Receipt:
        """See `Channel`; an event that was sent before reaches nobody again."""
        if notification.id not in self._ids:
            if len(self._kept) == self._kept.maxlen and self._kept:
                self._ids.discard(self._kept[0].id)
            self._kept.append(notification)
            self._ids.add(notification.id)
            for one in self._subscriptions:
                if one.org == notification.org:
                    one.put(notification)
        return Receipt(notification.id, self._clock.utc_ns(), f"{len(self._subscriptions)} listeners")

    async def close(self) -> None:
        """See `Channel`; every listener's stream ends."""
        for one in tuple(self._subscriptions):
            one.end()
        self._subscriptions.clear()

    def subscribe(self, org: str, *, after: str | None = None) -> Subscription:
        """Listen from now on, or from after an event that was taken before (``Last-Event-ID``).

        Raises
        ------
        InputInvalid : that event is not kept any more; ask for the open alerts instead.
        """
        missed: list[Notification] = []
        if after is not None:
            known = [one for one in self._kept if one.org == org]
            place = next((n for n, one in enumerate(known) if one.id == after), None)
            if place is None:
                raise InputInvalid(
                    "the events after this one are not kept.",
                    where="after",
                    remedy="Ask for the open alerts, then subscribe without it.",
                )
            missed = known[place + 1 :]
        subscription = Subscription(org, max(self._waiting, len(missed) + 1))
        for one in missed:
            subscription.put(one)
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop listening."""
        self._subscriptions.discard(subscription)
