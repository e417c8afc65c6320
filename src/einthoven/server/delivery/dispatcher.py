"""Empties an outbox through channels: many at once, bounded, in order per alert, nobody waits for the slow.

At least once: a receipt that is lost with the process is asked for again, under the same id. The alert itself
is never doubled, because nothing is written here but receipts and failures.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, Literal

import msgspec

from einthoven.alerts import DeliveryPolicy, Failure, Heartbeat, Notification, Receipt, next_attempt_ns
from einthoven.alerts.notifications import Recipient
from einthoven.clock import Clock
from einthoven.errors import DeliveryFailed, InputInvalid, PeerError
from einthoven.server.delivery.channel import Channel
from einthoven.server.delivery.outbox import Due, Outbox
from einthoven.server.logs import place_of

__all__ = ["Dispatcher", "Outcome"]

_LOG: Final = logging.getLogger("einthoven.delivery")
_NS: Final = 1_000_000_000
_FULL_S: Final = 0.1


class Outcome(msgspec.Struct, frozen=True):
    """What became of one attempt; for metrics. It names no patient."""

    channel: str
    outcome: Literal["delivered", "failed", "dead"]
    urgency: int
    age_s: float
    """Since the notification was made."""


class Dispatcher:
    """Delivers what is due.

    Parameters
    ----------
    channels : by the name that contacts use
    parallel : deliveries under way at once; waiting costs little, so there is room for many who hang
    most_each : of these, to one recipient; to one that fails, a single one
    timeout_s : for one attempt
    lease_s : how long a claim holds; longer than an attempt
    poll_s : how often to look for what others put in, if nobody calls `wake`
    told : hears of every attempt
    """

    def __init__(
        self,
        outbox: Outbox,
        channels: Mapping[str, Channel],
        clock: Clock,
        *,
        policy: DeliveryPolicy | None = None,
        parallel: int = 1024,
        most_each: int = 4,
        timeout_s: float = 10.0,
        lease_s: float = 60.0,
        poll_s: float = 1.0,
        told: Callable[[Outcome], None] | None = None,
    ) -> None:
        if lease_s < 2 * timeout_s:
            raise InputInvalid(
                "a lease must last at least two time-outs.", where="lease_s", remedy="Raise lease_s."
            )
        self._outbox = outbox
        self._channels = channels
        self._clock = clock
        self._policy = policy or DeliveryPolicy()
        self._parallel = parallel
        self._most_each = most_each
        self._timeout_s = timeout_s
        self._lease_s = lease_s
        self._poll_s = poll_s
        self._told = told
        self._woken = asyncio.Event()
        self._is_stopping = False
        self._under_way: set[asyncio.Task[None]] = set()
        self._in_flight: Counter[Recipient] = Counter()
        self._failing: set[Recipient] = set()

    def wake(self) -> None:
        """Something was put into the outbox; call it after the commit, from the loop's own thread."""
        self._woken.set()

    async def run(self) -> None:
        """Deliver until `stop`."""
        while not self._is_stopping:
            self._woken.clear()
            try:
                wait_s = 0.0 if await self._start_due() else await self._idle_s()
            except PeerError:
                # The store is away; what is under way goes on, and its leases end by themselves.
                wait_s = self._poll_s
            except Exception as error:  # noqa: BLE001 - one row that cannot be read ends no delivery
                _LOG.error("deliveries failed", extra=place_of(error))
                wait_s = self._poll_s
            if wait_s > 0:
                await self._woken_within(wait_s)
            else:
                await asyncio.sleep(0)

    async def deliver_due(self) -> int:
        """Deliver everything that is due at the clock's time, and say how many attempts that were."""
        attempts = 0
        while True:
            started = await self._start_due()
            attempts += started
            if self._under_way:
                await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
            elif not started:
                return attempts

    async def stop(self) -> None:
        """Start nothing more, and wait for what is under way; at most one time-out."""
        self._is_stopping = True
        self._woken.set()
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=self._timeout_s)

    async def _start_due(self) -> int:
        room = self._parallel - len(self._under_way)
        if room <= 0:
            return 0
        full = {one for one, n in self._in_flight.items() if n >= self._room_for(one)}
        claimed = await self._outbox.claim(
            self._clock.utc_ns(),
            lease_s=self._lease_s,
            limit=room,
            most_each=self._most_each,
            full=full,
        )
        for due in claimed:
            self._in_flight[due.notification.recipient] += 1
            task = asyncio.create_task(self._attempt(due))
            self._under_way.add(task)
            task.add_done_callback(self._over)
        return len(claimed)

    def _room_for(self, recipient: Recipient) -> int:
        return 1 if recipient in self._failing else self._most_each

    async def _idle_s(self) -> float:
        if len(self._under_way) >= self._parallel:
            return self._poll_s
        next_ns = await self._outbox.next_due_ns()
        if next_ns is None:
            return self._poll_s
        wait_s = (next_ns - self._clock.utc_ns()) / _NS
        # What is due and was not claimed waits for a recipient that is full; when it has room, we are woken.
        return min(self._poll_s, wait_s if wait_s > 0 else _FULL_S)

    async def _woken_within(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._woken.wait()
        except TimeoutError:
            return

    def _over(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._woken.set()
        if not task.cancelled():
            task.result()

    async def _attempt(self, due: Due) -> None:
        recipient = due.notification.recipient
        try:
            outcome = await self._send(due)
            if isinstance(outcome, Receipt):
                self._failing.discard(recipient)
                await self._outbox.done(due, outcome)
                self._tell(due, "delivered")
            else:
                self._failing.add(recipient)
                again_ns = next_attempt_ns(
                    self._policy_for(due.notification),
                    outcome,
                    attempts=due.attempts + 1,
                    created_ns=due.notification.created_ns,
                )
                await self._outbox.failed(due, outcome, again_ns)
                self._tell(due, "dead" if again_ns is None else "failed")
        except PeerError:
            # The store is away: the lease ends, and it is sent again under the same id.
            return
        finally:
            self._in_flight[recipient] -= 1
            if not self._in_flight[recipient]:
                del self._in_flight[recipient]

    def _policy_for(self, notification: Notification) -> DeliveryPolicy:
        """A heart-beat is worth nothing once the next is due."""
        content = notification.content
        if isinstance(content, Heartbeat):
            return msgspec.structs.replace(self._policy, give_up_s=content.every_s)
        return self._policy

    async def _send(self, due: Due) -> Receipt | Failure:
        notification = due.notification

        def failure(
            reason: str, *, retry_after_s: float | None = None, is_permanent: bool = False
        ) -> Failure:
            return Failure(notification.id, self._clock.utc_ns(), reason, retry_after_s, is_permanent)

        channel = self._channels.get(notification.channel)
        if channel is None:
            return failure("no channel of this name is configured")
        try:
            async with asyncio.timeout(self._timeout_s):
                return await channel.send(notification)
        except DeliveryFailed as error:
            return failure(error.what, retry_after_s=error.retry_after_s, is_permanent=error.is_permanent)
        except TimeoutError:
            return failure(f"no answer within {self._timeout_s:g} s")
        except Exception as error:  # noqa: BLE001 - a channel's defect must not stop the others
            return failure(f"the channel failed: {type(error).__name__}")

    def _tell(self, due: Due, outcome: Literal["delivered", "failed", "dead"]) -> None:
        if self._told is not None:
            notification = due.notification
            age_s = (self._clock.utc_ns() - notification.created_ns) / _NS
            self._told(Outcome(notification.channel, outcome, notification.urgency, age_s))
