"""The dispatcher delivers at least once, in order per alert, and waits for nobody who is slow."""

import asyncio
import time
from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.alerts import (
    AlertRules,
    Contact,
    DeliveryPolicy,
    Heartbeat,
    Notification,
    Receipt,
    Rung,
    notify,
)
from einthoven.clock import SystemClock, VirtualClock
from einthoven.errors import DeliveryFailed, InputInvalid, StoreUnavailable
from einthoven.server.delivery import Dispatcher, Outcome
from einthoven.server.delivery.addresses import AddressGuard
from einthoven.server.delivery.webhook import WebhookChannel
from einthoven.testing.alerts import a_raised_alert
from einthoven.testing.loop import in_loop
from einthoven.testing.outbox import MemoryOutbox, a_notification
from einthoven.testing.receivers import a_webhook_receiver

SECOND_NS = 1_000_000_000


class Scripted:
    """A channel that fails as often as it is told, per notification, and counts what is under way."""

    def __init__(self, failures: dict[str, int] | None = None, takes_s: float = 0.0) -> None:
        self.failures = failures or {}
        self.takes_s = takes_s
        self.sent: list[Notification] = []
        self.taken: list[str] = []
        self.under_way: dict[str, int] = defaultdict(int)
        self.most: dict[str, int] = defaultdict(int)

    async def send(self, notification: Notification) -> Receipt:
        address = notification.address
        self.sent.append(notification)
        self.under_way[address] += 1
        self.most[address] = max(self.most[address], self.under_way[address])
        try:
            await asyncio.sleep(self.takes_s)
            left = self.failures.get(notification.id, 0)
            if left:
                self.failures[notification.id] = left - 1
                raise DeliveryFailed("the receiver answered 500.")
            self.taken.append(notification.id)
            return Receipt(notification.id, 0, "HTTP 200")
        finally:
            self.under_way[address] -= 1

    async def close(self) -> None:
        pass


class Hanging:
    """A channel whose receivers never answer."""

    async def send(self, notification: Notification) -> Receipt:
        await asyncio.Event().wait()
        raise AssertionError(notification.id)

    async def close(self) -> None:
        pass


async def delivered_in_the_end(dispatcher: Dispatcher, outbox: MemoryOutbox, clock: VirtualClock) -> None:
    """Let time pass until nothing waits."""
    while (due_ns := await outbox.next_due_ns()) is not None:
        clock.advance(max(0.0, (due_ns - clock.utc_ns()) / SECOND_NS))
        await dispatcher.deliver_due()


@in_loop
async def test_what_fails_is_tried_again_later_under_the_same_id() -> None:
    outbox, clock, channel = MemoryOutbox(), VirtualClock(), Scripted({"msg_1": 3})
    await outbox.add([a_notification()])
    outcomes: list[Outcome] = []
    dispatcher = Dispatcher(
        outbox, {"webhook": channel}, clock, policy=DeliveryPolicy(jitter=0), told=outcomes.append
    )
    assert await dispatcher.deliver_due() == 1
    assert await dispatcher.deliver_due() == 0
    await delivered_in_the_end(dispatcher, outbox, clock)
    assert [one.id for one in channel.sent] == ["msg_1"] * 4
    assert clock.utc_ns() == (1 + 2 + 4) * SECOND_NS
    assert [one.outcome for one in outcomes] == ["failed", "failed", "failed", "delivered"]
    assert len(outbox.receipts) == 1


@in_loop
async def test_what_is_given_up_is_a_dead_letter_that_can_be_revived() -> None:
    outbox, clock, channel = MemoryOutbox(), VirtualClock(), Scripted({"msg_1": 4})
    await outbox.add([a_notification(content=a_content())])
    dispatcher = Dispatcher(
        outbox, {"webhook": channel}, clock, policy=DeliveryPolicy(jitter=0, give_up_s=10)
    )
    await delivered_in_the_end(dispatcher, outbox, clock)
    (letter,) = await outbox.dead_letters("main")
    assert (letter.attempts, letter.failure.reason) == (4, "the receiver answered 500.")
    assert await outbox.revive("msg_1", clock.utc_ns())
    await dispatcher.deliver_due()
    assert channel.taken == ["msg_1"]


def a_content():
    rules = AlertRules(ladder=(Rung((Contact("webhook"),)),))
    return notify(a_raised_alert(rules), rules)[0].content


@in_loop
async def test_a_heart_beat_is_given_up_when_the_next_is_due() -> None:
    outbox, clock = MemoryOutbox(), VirtualClock()
    await outbox.add([a_notification(content=Heartbeat("main", 5.0, "now"))])
    dispatcher = Dispatcher(outbox, {"webhook": Scripted({"msg_1": 99})}, clock)
    await delivered_in_the_end(dispatcher, outbox, clock)
    assert len(await outbox.dead_letters("main")) == 1
    assert clock.utc_ns() <= 5 * SECOND_NS


@in_loop
async def test_a_channel_that_is_not_configured_and_one_that_breaks_are_failures() -> None:
    class Broken(Scripted):
        async def send(self, notification: Notification) -> Receipt:
            raise KeyError(notification.id)

    outbox = MemoryOutbox()
    await outbox.add([a_notification("1"), a_notification("2", channel="mail")])
    await Dispatcher(outbox, {"webhook": Broken()}, VirtualClock()).deliver_due()
    assert sorted(failure.reason for failure in outbox.failures) == [
        "no channel of this name is configured",
        "the channel failed: KeyError",
    ]


@pytest.mark.parametrize("receivers", [5, 200])
@in_loop
async def test_those_who_hang_keep_nobody_else_waiting(receivers: int) -> None:
    """However many they are, and though what they wait for is more urgent."""
    outbox, channel = MemoryOutbox(), Scripted()
    facts = {"channel": "slow", "urgency": 0}
    await outbox.add([a_notification(f"h{n}", address=f"h{n % receivers}", **facts) for n in range(400)])
    channels = {"slow": Hanging(), "webhook": channel}
    dispatcher = Dispatcher(outbox, channels, SystemClock(), timeout_s=5, lease_s=10)
    running = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(0.1)
    began_s = time.perf_counter()
    await outbox.add([a_notification(f"q{n}", address="quick") for n in range(50)])
    dispatcher.wake()
    while len(channel.taken) < 50:
        await asyncio.sleep(0.001)
    assert time.perf_counter() - began_s < 1
    running.cancel()


@in_loop
async def test_a_time_out_is_a_failure_and_one_that_fails_gets_one_at_a_time() -> None:
    outbox, clock = MemoryOutbox(), VirtualClock()
    await outbox.add([a_notification(str(n), channel="slow", address="h") for n in range(6)])
    dispatcher = Dispatcher(outbox, {"slow": Hanging()}, clock, timeout_s=0.05, lease_s=10)
    assert await dispatcher.deliver_due() == 6
    assert {failure.reason for failure in outbox.failures} == {"no answer within 0.05 s"}


@in_loop
async def test_the_load_is_bounded_in_all_and_for_each() -> None:
    outbox, channel = MemoryOutbox(), Scripted(takes_s=0.002)
    await outbox.add([a_notification(f"{n}", address=f"r{n % 9}") for n in range(180)])
    dispatcher = Dispatcher(outbox, {"webhook": channel}, VirtualClock(), parallel=10, most_each=3)
    assert await dispatcher.deliver_due() == 180
    assert max(channel.most.values()) <= 3
    assert len(channel.taken) == 180


@in_loop
async def test_a_dispatcher_that_dies_is_replaced_and_nothing_is_lost() -> None:
    """Killed in the middle of an attempt: its leases end, the next one sends under the same ids."""
    outbox, clock = MemoryOutbox(), VirtualClock()
    await outbox.add([a_notification(str(n)) for n in range(4)])
    first = Dispatcher(outbox, {"webhook": Hanging()}, clock, lease_s=60)
    dying = asyncio.create_task(first.deliver_due())
    await asyncio.sleep(0.01)
    dying.cancel()
    channel = Scripted()
    second = Dispatcher(outbox, {"webhook": channel}, clock)
    assert await second.deliver_due() == 0
    clock.advance(60)
    assert await second.deliver_due() == 4
    assert sorted(channel.taken) == [f"msg_{n}" for n in range(4)]


@pytest.mark.parametrize("error", [StoreUnavailable("the database does not answer."), ValueError("a row")])
@in_loop
async def test_a_store_that_fails_for_a_moment_stops_nothing(error: Exception) -> None:
    class Away(MemoryOutbox):
        left = 2

        async def claim(self, *args, **kwargs):
            self.left -= 1
            if self.left >= 0:
                raise error
            return await super().claim(*args, **kwargs)

    outbox, channel = Away(), Scripted()
    await outbox.add([a_notification()])
    dispatcher = Dispatcher(outbox, {"webhook": channel}, SystemClock(), poll_s=0.01)
    running = asyncio.create_task(dispatcher.run())
    while not outbox.receipts:
        await asyncio.sleep(0.005)
    await dispatcher.stop()
    await running


@in_loop
async def test_a_receipt_that_cannot_be_kept_is_asked_for_again() -> None:
    class Forgetful(MemoryOutbox):
        left = 1

        async def done(self, due, receipt):
            self.left -= 1
            if self.left >= 0:
                raise StoreUnavailable("the database does not answer.")
            await super().done(due, receipt)

    outbox, clock, channel = Forgetful(), VirtualClock(), Scripted()
    await outbox.add([a_notification()])
    dispatcher = Dispatcher(outbox, {"webhook": channel}, clock)
    await dispatcher.deliver_due()
    clock.advance(60)
    await dispatcher.deliver_due()
    assert channel.taken == ["msg_1", "msg_1"], "at least once, under one id"
    assert len(outbox.receipts) == 1


@in_loop
async def test_stopping_waits_for_what_is_under_way() -> None:
    outbox, channel = MemoryOutbox(), Scripted(takes_s=0.05)
    await outbox.add([a_notification()])
    dispatcher = Dispatcher(outbox, {"webhook": channel}, SystemClock())
    running = asyncio.create_task(dispatcher.run())
    while not channel.sent:
        await asyncio.sleep(0.001)
    await dispatcher.stop()
    assert channel.taken == ["msg_1"]
    await running


def test_a_lease_outlasts_an_attempt() -> None:
    with pytest.raises(InputInvalid, match="lease"):
        Dispatcher(MemoryOutbox(), {}, VirtualClock(), timeout_s=10, lease_s=15)


LANES = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), min_size=1, max_size=25)


@given(LANES, st.integers(1, 8), st.integers(1, 4))
def test_in_order_per_alert_whatever_fails(
    lanes: list[tuple[str, int]], parallel: int, most_each: int
) -> None:
    """Each notification is taken once, those of an alert one after the other."""

    async def scenario() -> None:
        outbox, clock = MemoryOutbox(), VirtualClock()
        notifications = [
            a_notification(str(n), alert_id=f"alt_{alert}", step=n) for n, (alert, _) in enumerate(lanes)
        ]
        await outbox.add(notifications)
        channel = Scripted({f"msg_{n}": failures for n, (_, failures) in enumerate(lanes)})
        dispatcher = Dispatcher(outbox, {"webhook": channel}, clock, parallel=parallel, most_each=most_each)
        await delivered_in_the_end(dispatcher, outbox, clock)
        assert sorted(channel.taken) == sorted(one.id for one in notifications)
        by_id = {one.id: one for one in notifications}
        for alert in "abc":
            steps = [by_id[name].step for name in channel.taken if by_id[name].alert_id == f"alt_{alert}"]
            assert all(one < other for one, other in pairwise(steps))

    asyncio.run(scenario())


@in_loop
async def test_from_change_to_webhook_takes_less_than_fifty_milliseconds() -> None:
    """99 of 100, on loopback, at 50 alerts a second."""
    outbox, clock = MemoryOutbox(), SystemClock()
    async with a_webhook_receiver() as receiver:
        channel = WebhookChannel(clock, receiver.secrets, guard=AddressGuard.of_this_machine())
        dispatcher = Dispatcher(outbox, {"webhook": channel}, clock)
        running = asyncio.create_task(dispatcher.run())
        rules = AlertRules(ladder=(Rung((Contact("webhook", receiver.url),)),))
        made_s: dict[str, float] = {}
        began_s = time.perf_counter()
        for n in range(100):
            await asyncio.sleep(max(0.0, began_s + n / 50 - time.perf_counter()))
            change = a_raised_alert(rules, at_s=clock.utc_ns() / 1e9, condition="pause", about=str(n))
            notifications = notify(change, rules)
            made_s[notifications[0].id] = time.perf_counter()
            await outbox.add(notifications)
            dispatcher.wake()
        while len(outbox.receipts) < 100:
            await asyncio.sleep(0.005)
        await dispatcher.stop()
        await running
        await channel.close()
        late_ms = [
            1000 * (at - made_s[name]) for name, at in zip(receiver.ids, receiver.arrived_s, strict=True)
        ]
    assert len(late_ms) == 100
    assert np.percentile(late_ms, 99) < 50
    print(f"p50 {np.percentile(late_ms, 50):.2f} ms, p99 {np.percentile(late_ms, 99):.2f} ms")  # noqa: T201
