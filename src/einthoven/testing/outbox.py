"""An outbox in memory, and the check of any outbox: `check_outbox`."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any, Final

import msgspec

from einthoven.alerts import Contact, Failure, Heartbeat, Notification, Receipt, heartbeat
from einthoven.alerts.notifications import Recipient
from einthoven.server.delivery.outbox import DeadLetter, Due, Outbox

__all__ = ["OUTBOX_LAWS", "MemoryOutbox", "a_notification", "check_outbox"]

SECOND_NS: Final = 1_000_000_000


class _Row(msgspec.Struct):
    notification: Notification
    again_ns: int
    attempts: int = 0
    claim: int = 0
    leased_until_ns: int | None = None
    receipt: Receipt | None = None
    failure: Failure | None = None
    is_dead: bool = False

    @property
    def is_waiting(self) -> bool:
        return self.receipt is None and not self.is_dead

    @property
    def due_ns(self) -> int:
        return self.again_ns if self.leased_until_ns is None else max(self.again_ns, self.leased_until_ns)


class MemoryOutbox:
    """See `Outbox`. It also keeps every receipt and failure, for tests to look at."""

    def __init__(self) -> None:
        self._rows: dict[str, _Row] = {}
        self.receipts: list[Receipt] = []
        self.failures: list[Failure] = []

    async def add(self, notifications: Iterable[Notification]) -> None:
        """See `Outbox`."""
        for one in notifications:
            self._rows.setdefault(one.id, _Row(one, one.created_ns))

    async def claim(
        self, at_ns: int, *, lease_s: float, limit: int, most_each: int, full: Collection[Recipient]
    ) -> list[Due]:
        """See `Outbox`."""
        claimed: list[Due] = []
        each: Counter[Recipient] = Counter()
        for row in sorted(self._heads(), key=lambda row: (row.notification.urgency, row.due_ns)):
            recipient = row.notification.recipient
            if row.due_ns > at_ns or recipient in full or each[recipient] >= most_each:
                continue
            if len(claimed) >= limit:
                break
            each[recipient] += 1
            row.claim += 1
            row.leased_until_ns = at_ns + round(lease_s * SECOND_NS)
            claimed.append(Due(row.notification, row.attempts, str(row.claim)))
        return claimed

    def _heads(self) -> list[_Row]:
        """The first of each lane that is neither done nor dead."""
        heads: dict[Any, _Row] = {}
        for row in self._rows.values():
            if row.is_waiting:
                head = heads.setdefault(row.notification.lane, row)
                if row.notification.step < head.notification.step:
                    heads[row.notification.lane] = row
        return list(heads.values())

    async def done(self, due: Due, receipt: Receipt) -> None:
        """See `Outbox`."""
        row = self._rows[due.notification.id]
        if row.receipt is None:
            row.receipt = receipt
            row.is_dead = False
            self.receipts.append(receipt)

    async def failed(self, due: Due, failure: Failure, again_ns: int | None) -> None:
        """See `Outbox`."""
        row = self._rows[due.notification.id]
        if not row.is_waiting or row.leased_until_ns is None or str(row.claim) != due.claim:
            return
        row.attempts += 1
        row.failure = failure
        row.leased_until_ns = None
        row.is_dead = again_ns is None
        row.again_ns = row.again_ns if again_ns is None else again_ns
        self.failures.append(failure)

    async def next_due_ns(self) -> int | None:
        """See `Outbox`."""
        return min((row.due_ns for row in self._heads()), default=None)

    async def dead_letters(self, org: str) -> list[DeadLetter]:
        """See `Outbox`."""
        return [
            DeadLetter(row.notification, row.attempts, row.failure)
            for row in self._rows.values()
            if row.is_dead and row.failure is not None and row.notification.org == org
        ]

    async def revive(self, notification_id: str, at_ns: int) -> bool:
        """See `Outbox`."""
        row = self._rows.get(notification_id)
        if row is None or not row.is_dead:
            return False
        row.notification = msgspec.structs.replace(row.notification, created_ns=at_ns)
        row.again_ns, row.attempts, row.is_dead = at_ns, 0, False
        return True


def a_notification(name: str = "1", **facts: Any) -> Notification:
    """A heart-beat in the clothes of an alert's notification: its lane is what the test says."""
    beat = heartbeat("main", Contact("webhook", "http://127.0.0.1/"), 60.0, 0)
    known = {"id": f"msg_{name}", "alert_id": f"alt_{name}", "step": 1, "urgency": 1}
    return msgspec.structs.replace(beat, **{**known, **facts})


class _Conversation:
    """An outbox, spoken to in seconds."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox

    async def claims(self, at_s: float, **facts: Any) -> list[Due]:
        asked = {"lease_s": 60.0, "limit": 100, "most_each": 100, "full": frozenset(), **facts}
        return await self.outbox.claim(round(at_s * SECOND_NS), **asked)

    async def names(self, at_s: float, **facts: Any) -> list[str]:
        return [due.notification.id.removeprefix("msg_") for due in await self.claims(at_s, **facts)]

    async def fails(self, due: Due, at_s: float, again_s: float | None) -> None:
        failure = Failure(due.notification.id, round(at_s * SECOND_NS), "the receiver answered 500.")
        await self.outbox.failed(due, failure, None if again_s is None else round(again_s * SECOND_NS))

    async def is_done(self, due: Due, at_s: float = 0, reference: str = "HTTP 200") -> None:
        await self.outbox.done(due, Receipt(due.notification.id, round(at_s * SECOND_NS), reference))


async def added_again_it_changes_nothing(told: _Conversation) -> None:
    """A notification is known by its id."""
    await told.outbox.add([a_notification(), a_notification()])
    (due,) = await told.claims(1)
    assert due.notification == a_notification()
    await told.is_done(due)
    await told.outbox.add([a_notification()])
    assert await told.names(100) == []


async def what_is_claimed_is_nobody_elses_until_its_lease_is_over(told: _Conversation) -> None:
    """So a dispatcher may die."""
    await told.outbox.add([a_notification()])
    (first,) = await told.claims(1, lease_s=30.0)
    assert await told.names(30.9) == []
    (second,) = await told.claims(31)
    assert (second.notification, second.attempts) == (first.notification, 0)
    assert second.claim != first.claim


async def claimants_at_once_share_nothing(told: _Conversation) -> None:
    """Each notification has one claimant, and those who keep asking find them all."""
    await told.outbox.add([a_notification(str(n)) for n in range(40)])
    names: list[str] = []
    for _ in range(20):
        found = await asyncio.gather(*(told.names(1, limit=7) for _ in range(8)))
        names += [name for one in found for name in one]
    assert len(names) == len(set(names)) == 40


async def a_lane_is_delivered_in_order(told: _Conversation) -> None:
    """The next of an alert to a recipient is due when the one before is done or dead."""
    lane = {"alert_id": "alt_9"}
    await told.outbox.add([a_notification("c", step=3, **lane), a_notification("a", step=1, **lane)])
    await told.outbox.add([a_notification("b", step=2, urgency=0, **lane)])
    (first,) = await told.claims(1)
    assert first.notification.id == "msg_a"
    await told.fails(first, 1, again_s=5)
    assert await told.names(4) == []
    (first,) = await told.claims(5)
    assert first.attempts == 1
    await told.is_done(first)
    (second,) = await told.claims(6)
    assert second.notification.id == "msg_b"
    await told.fails(second, 6, again_s=None)
    assert await told.names(6) == ["c"]


async def lanes_do_not_wait_for_each_other(told: _Conversation) -> None:
    """Another alert, another address, another channel: another lane."""
    await told.outbox.add(
        [
            a_notification("1", alert_id="alt_9"),
            a_notification("2", alert_id="alt_8"),
            a_notification("3", alert_id="alt_9", address="other"),
            a_notification("4", alert_id="alt_9", channel="mail"),
        ]
    )
    (first, *_) = await told.claims(1, limit=1)
    await told.fails(first, 1, again_s=1000)
    assert len(await told.names(2)) == 3


async def the_most_urgent_and_the_oldest_come_first(told: _Conversation) -> None:
    """And nothing before its time."""
    await told.outbox.add(
        [
            a_notification("new", created_ns=20 * SECOND_NS),
            a_notification("old", created_ns=10 * SECOND_NS),
            a_notification("urgent", created_ns=30 * SECOND_NS, urgency=0),
            a_notification("future", created_ns=50 * SECOND_NS, urgency=0),
        ]
    )
    assert await told.names(5) == []
    assert await told.names(40) == ["urgent", "old", "new"]


async def a_recipient_gets_no_more_than_its_share(told: _Conversation) -> None:
    """However much waits for a slow one, and however urgent: it cannot fill the dispatcher."""
    slow = [a_notification(f"slow{n}", urgency=0, address="slow") for n in range(60)]
    await told.outbox.add([*slow, a_notification("quick"), a_notification("other", channel="mail")])
    names = await told.names(1, limit=4, most_each=2)
    assert len(names) == 4
    assert {"quick", "other"} < set(names)
    full = {("main", "webhook", "slow"), ("main", "mail", "nobody")}
    assert await told.names(1, limit=4, full=full) == []


async def what_failed_is_due_again_with_one_attempt_more(told: _Conversation) -> None:
    """At the given time; a failure by a claim that is over changes nothing."""
    await told.outbox.add([a_notification()])
    (stale,) = await told.claims(1, lease_s=10.0)
    (due,) = await told.claims(20, lease_s=10.0)
    await told.fails(stale, 21, again_s=500)
    await told.fails(due, 22, again_s=40)
    await told.fails(due, 23, again_s=500)
    assert await told.names(39) == []
    (again,) = await told.claims(40)
    assert again.attempts == 1


async def what_is_done_stays_done(told: _Conversation) -> None:
    """With its first receipt, even if the lease was over when it came."""
    await told.outbox.add([a_notification()])
    (slow,) = await told.claims(1, lease_s=10.0)
    (due,) = await told.claims(20)
    await told.is_done(slow, 21)
    await told.is_done(due, 22, "HTTP 204")
    await told.fails(due, 23, again_s=24)
    assert await told.names(1000) == []
    assert await told.outbox.next_due_ns() is None


async def dead_letters_are_seen_and_can_be_revived(told: _Conversation) -> None:
    """By their organisation only; revived they are as new."""
    await told.outbox.add([a_notification("1"), a_notification("2", org="other")])
    for due in await told.claims(1):
        await told.fails(due, 2, again_s=None)
    assert await told.names(1000) == []
    (letter,) = await told.outbox.dead_letters("main")
    assert (letter.notification.id, letter.attempts) == ("msg_1", 1)
    assert letter.failure.reason == "the receiver answered 500."
    assert not await told.outbox.revive("msg_nobody", 50 * SECOND_NS)
    assert await told.outbox.revive("msg_1", 50 * SECOND_NS)
    assert not await told.outbox.revive("msg_1", 50 * SECOND_NS)
    assert await told.outbox.dead_letters("main") == []
    (due,) = await told.claims(50)
    assert (due.attempts, due.notification.created_ns) == (0, 50 * SECOND_NS)


async def when_to_look_again_is_never_too_late(told: _Conversation) -> None:
    """The earliest of what waits, what is tried again and what leases end."""
    assert await told.outbox.next_due_ns() is None
    await told.outbox.add([a_notification("1", created_ns=10 * SECOND_NS)])
    assert _seconds(await told.outbox.next_due_ns()) <= 10
    (due,) = await told.claims(10, lease_s=30.0)
    assert _seconds(await told.outbox.next_due_ns()) <= 40
    await told.fails(due, 11, again_s=90)
    assert _seconds(await told.outbox.next_due_ns()) <= 90


async def what_goes_in_comes_out_whole(told: _Conversation) -> None:
    """Every field, in any script."""
    strange = a_notification(address="https://example.org/ü?a=1&b='\"", content=Heartbeat("main", 0.5, "now"))
    await told.outbox.add([strange])
    (due,) = await told.claims(1)
    assert due.notification == strange


def _seconds(ns: int | None) -> float:
    assert ns is not None
    return ns / SECOND_NS


OUTBOX_LAWS: Final[tuple[Callable[[_Conversation], Awaitable[None]], ...]] = (
    added_again_it_changes_nothing,
    what_is_claimed_is_nobody_elses_until_its_lease_is_over,
    claimants_at_once_share_nothing,
    a_lane_is_delivered_in_order,
    lanes_do_not_wait_for_each_other,
    the_most_urgent_and_the_oldest_come_first,
    a_recipient_gets_no_more_than_its_share,
    what_failed_is_due_again_with_one_attempt_more,
    what_is_done_stays_done,
    dead_letters_are_seen_and_can_be_revived,
    when_to_look_again_is_never_too_late,
    what_goes_in_comes_out_whole,
)


async def check_outbox(outbox: Outbox, law: Callable[[_Conversation], Awaitable[None]]) -> None:
    """Check one of `OUTBOX_LAWS` on an outbox that is empty; each law's docstring is the rule."""
    await law(_Conversation(outbox))
