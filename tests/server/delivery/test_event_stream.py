"""Listeners in this process hear what is delivered, each their organisation's, and can resume."""

import asyncio

import pytest

from einthoven.clock import VirtualClock
from einthoven.errors import InputInvalid
from einthoven.server.delivery import EventStream, Subscription
from einthoven.testing.loop import in_loop
from einthoven.testing.outbox import a_notification


async def taken(subscription: Subscription, count: int) -> list[str]:
    return [(await asyncio.wait_for(anext(subscription), 1)).id for _ in range(count)]


@in_loop
async def test_listeners_hear_their_own_organisation_once() -> None:
    stream = EventStream(VirtualClock())
    here, there = stream.subscribe("main"), stream.subscribe("other")
    await stream.send(a_notification("1"))
    await stream.send(a_notification("1"))
    await stream.send(a_notification("2", org="other"))
    assert await taken(here, 1) == ["msg_1"]
    assert await taken(there, 1) == ["msg_2"]
    stream.unsubscribe(here)
    await stream.send(a_notification("3"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(here), 0.01)


@in_loop
async def test_a_break_is_made_good_from_the_last_event_taken() -> None:
    stream = EventStream(VirtualClock(), kept=3)
    for n in range(5):
        await stream.send(a_notification(str(n)))
    assert await taken(stream.subscribe("main", after="msg_2"), 2) == ["msg_3", "msg_4"]
    with pytest.raises(InputInvalid, match="not kept"):
        stream.subscribe("main", after="msg_1")
    with pytest.raises(InputInvalid):
        stream.subscribe("other", after="msg_3")


@in_loop
async def test_a_slow_listener_is_cut_off_after_what_it_was_given() -> None:
    stream = EventStream(VirtualClock(), waiting=2)
    slow = stream.subscribe("main")
    for n in range(5):
        await stream.send(a_notification(str(n)))
    assert [one.id async for one in slow] == ["msg_0", "msg_1"]
    assert slow.is_cut_off


@in_loop
async def test_closing_ends_every_stream() -> None:
    stream = EventStream(VirtualClock())
    subscription = stream.subscribe("main")
    await stream.close()
    assert [one async for one in subscription] == []
