"""A federation of real regions in this process, in front of which faults are put."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from einthoven.clock import SystemClock
from einthoven.continuum import Region
from einthoven.errors import Conflict
from einthoven.functions import Ecg, encode
from einthoven.placement import Terms
from einthoven.runtime.conducting import InvocationBroke
from einthoven.runtime.federation import Federation, Request
from einthoven.runtime.hosted import Asked, Hosted, perform
from einthoven.runtime.local_regions import InlineRegion
from einthoven.runtime.region_port import Call
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.testing.faulty import FaultyRegion

ECG = Ecg(
    samples=VirtualPatient(7, SCENES["healthy"], fs=125.0, duration_s=30.0)
    .read(0, 3750, 0)[0]
    .astype(np.int32)
)
CONTENT = encode(Asked(ecg=ECG), "msgpack")
CALL = Call(function="analysis", content=CONTENT, encoding="msgpack", key="k", timeout_s=10.0)
EXPECTED = perform(Hosted(), CALL).content


def request(number: int, **more: Any) -> Request:
    more = {"timeout_s": 10.0, **more}
    return Request(function="analysis", content=CONTENT, encoding="msgpack", key=f"k{number}", **more)


def federated(
    run: Callable[[Federation, dict[str, FaultyRegion]], Awaitable[None]],
    names: str = "abcd",
    slots: int = 4,
    delay_s: float = 0.02,
    **terms: Any,
) -> None:
    async def main() -> None:
        ports = {name: FaultyRegion(InlineRegion(Hosted()), slots, delay_s) for name in names}
        regions = [Region(name=name, kind="inline", slots=slots) for name in names]
        federation = Federation(regions, ports, SystemClock(), Terms(**terms))
        try:
            await run(federation, ports)
        finally:
            await federation.close()

    asyncio.run(main())


def test_every_answer_is_that_of_the_function_wherever_it_ran() -> None:
    async def run(federation: Federation, ports: dict[str, FaultyRegion]) -> None:
        answers = await asyncio.gather(*(federation.invoke(request(n)) for n in range(100)))
        assert {one.content for one in answers} == {EXPECTED}
        assert all(port.keys for port in ports.values()), "all of them took part"
        assert all(port.most <= 4 and port.refused == 0 for port in ports.values())

    federated(run)


def test_four_regions_carry_nearly_four_times_what_one_carries() -> None:
    rates = []

    async def run(federation: Federation, _: dict[str, FaultyRegion]) -> None:
        count = 40 * len(federation.standings)
        began_s = time.perf_counter()
        await asyncio.gather(*(federation.invoke(request(n)) for n in range(count)))
        rates.append(count / (time.perf_counter() - began_s))

    federated(run, "a", slots=2, delay_s=0.1)
    federated(run, "abcd", slots=2, delay_s=0.1)
    assert rates[1] / rates[0] > 3.2


@pytest.mark.parametrize("fault", ["transport", "server", "reply", "hangs", "function"])
def test_a_region_that_fails_costs_nobody_an_answer(fault: str) -> None:
    async def run(federation: Federation, ports: dict[str, FaultyRegion]) -> None:
        going = [asyncio.ensure_future(federation.invoke(request(n))) for n in range(40)]
        await asyncio.sleep(0.03)
        if fault == "hangs":
            ports["b"].hangs = True
        else:
            ports["b"].fails = fault  # type: ignore[assignment]
        for n in range(40, 200):
            going.append(asyncio.ensure_future(federation.invoke(request(n, session=f"p{n % 7}"))))
            await asyncio.sleep(0.005)
        answers = await asyncio.wait_for(asyncio.gather(*going), 15)
        assert {one.content for one in answers} == {EXPECTED}
        assert len(answers) == 200
        assert federation.standings["b"].breaker != "closed"
        ports["b"].mend()
        before = len(ports["b"].keys)
        for n in range(200, 3400, 16):
            await asyncio.gather(*(federation.invoke(request(n + k)) for k in range(16)))
            if len(ports["b"].keys) > before + 3:
                break
        assert len(ports["b"].keys) > before + 3, "it is used again when it is well"

    federated(run)


def test_when_all_are_full_what_waits_is_bounded_and_the_rest_is_refused_at_once() -> None:
    async def run(federation: Federation, _: dict[str, FaultyRegion]) -> None:
        answers = await asyncio.gather(
            *(federation.invoke(request(n, urgency=0)) for n in range(50)), return_exceptions=True
        )
        refused = [one for one in answers if isinstance(one, InvocationBroke)]
        assert len(refused) == 50 - 4 - 10
        assert {one.kind for one in refused} == {"throttled"}
        assert refused[0].retry_after_s == 1.0
        assert federation.waiting == 0

    federated(run, "ab", slots=2, waiting=10)


def test_what_two_regions_refuse_is_refused() -> None:
    async def run(federation: Federation, ports: dict[str, FaultyRegion]) -> None:
        broken = Request(function="analysis", content=b"\x81", encoding="msgpack", key="x", timeout_s=5.0)
        with pytest.raises(InvocationBroke) as caught:
            await federation.invoke(broken)
        assert caught.value.kind == "refused"
        assert sum(one.answers for one in federation.standings.values()) == 2
        with pytest.raises(InvocationBroke, match="label"):
            await federation.invoke(request(1, needs=frozenset({"moon"})))

    federated(run)


def test_an_answer_that_does_not_come_in_time_is_none() -> None:
    async def run(federation: Federation, ports: dict[str, FaultyRegion]) -> None:
        for port in ports.values():
            port.hangs = True
        began_s = time.perf_counter()
        with pytest.raises(InvocationBroke) as caught:
            await federation.invoke(request(1, timeout_s=0.4))
        assert caught.value.kind == "timeout"
        assert 0.35 < time.perf_counter() - began_s < 2.0

    federated(run)


def test_who_waits_no_more_leaves_nothing_behind() -> None:
    async def run(federation: Federation, ports: dict[str, FaultyRegion]) -> None:
        going = [asyncio.ensure_future(federation.invoke(request(n))) for n in range(100)]
        await asyncio.sleep(0.01)
        for task in going:
            task.cancel()
        await asyncio.gather(*going, return_exceptions=True)
        await asyncio.sleep(0.05)
        assert all(port.now == 0 for port in ports.values())
        assert all(one.in_flight == 0 for one in federation.standings.values())
        assert federation.waiting == 0
        assert (await federation.invoke(request(1000))).content == EXPECTED

    federated(run)


def test_regions_are_added_drained_and_removed_while_work_goes_on() -> None:
    async def run(federation: Federation, ports: dict[str, FaultyRegion]) -> None:
        going = [asyncio.ensure_future(federation.invoke(request(n))) for n in range(60)]
        await asyncio.sleep(0.01)
        new = FaultyRegion(InlineRegion(Hosted()), 4, 0.01)
        federation.add(Region(name="e", kind="inline", slots=4), new)
        with pytest.raises(Conflict):
            federation.add(Region(name="e", kind="inline"), new)
        federation.change(Region(name="a", kind="inline", slots=4, is_draining=True))
        await federation.remove("b")
        answers = await asyncio.gather(*going)
        assert len(answers) == 60
        assert new.keys
        before = len(ports["a"].keys)
        await asyncio.gather(*(federation.invoke(request(100 + n)) for n in range(20)))
        assert len(ports["a"].keys) == before
        probed, took_s = await federation.probe("e")
        assert "analysis" in [one.name for one in probed.functions]
        assert took_s < 1

    federated(run)


def test_a_region_is_kept_warm_from_the_beginning_and_woken_before_what_is_expected() -> None:
    async def main() -> None:
        ports = {name: FaultyRegion(InlineRegion(Hosted()), 8) for name in "ab"}
        regions = [
            Region(name="a", kind="inline", slots=8, warm=3, idle_s=0.2),
            Region(name="b", kind="inline", slots=8, cold_s=0.0),
        ]
        federation = Federation(regions, ports, SystemClock(), Terms())
        try:
            federation.begin()
            await asyncio.sleep(0.05)
            assert len(ports["a"].keys) == 3
            assert len(set(ports["a"].keys)) == 3, "else one answer would do for all"
            await asyncio.sleep(0.3)
            assert len(ports["a"].keys) >= 6
            assert ports["b"].keys == []
            federation.expect("b", 5, 0.05)
            await asyncio.sleep(0.3)
            assert len(ports["b"].keys) == 5
            assert federation.standings["b"].warmings == 5
            assert federation.standings["b"].answers == 0, "nothing was asked"
        finally:
            await federation.close()

    asyncio.run(main())
