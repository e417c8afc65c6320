"""A federation learns what its regions have and read: from what they say, and from what they refuse."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("aiohttp", reason="aiohttp is not installed (extra delivery)")
import msgspec

from einthoven.clock import SystemClock, VirtualClock
from einthoven.continuum import Region
from einthoven.errors import InputInvalid
from einthoven.placement import Terms
from einthoven.records import write_recording
from einthoven.runtime.conducting import FunctionUnknown, InvocationBroke
from einthoven.runtime.ecg_functions import Reading
from einthoven.runtime.federation import Federation, Request
from einthoven.runtime.hosted import Hosted
from einthoven.runtime.http_region import HttpRegion
from einthoven.runtime.local_regions import InlineRegion
from einthoven.runtime.reencoding import reencoded_answer, reencoded_call
from einthoven.runtime.region_port import Answer, Call, Probed, RegionPort
from einthoven.runtime.worker_pool import WorkerPool
from einthoven.server.function_host import FunctionHost, Receive, Scope, Send, in_workers
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.testing.function_hosts import HOST_CHECKS, check_function_host, serving_host
from einthoven.testing.loop import in_loop
from einthoven.testing.regions import (
    a_call,
    a_state_goes_along,
    any_number_may_be_under_way,
    the_same_again_answers_the_same,
    what_is_invoked_answers_as_in_this_process,
    what_it_says_it_has_it_has,
)


class Counted:
    """A region, and what it was given."""

    def __init__(self, port: RegionPort) -> None:
        self.port = port
        self.asked: list[str] = []
        self.probes = 0
        self.is_away = False

    async def invoke(self, call: Call) -> Answer:
        self.asked.append(call.function)
        if self.is_away:
            raise InvocationBroke("transport", "it is away")
        return await self.port.invoke(call)

    async def probe(self) -> Probed:
        self.probes += 1
        if self.is_away:
            raise InvocationBroke("transport", "it is away")
        return await self.port.probe()

    async def close(self) -> None:
        await self.port.close()


@pytest.fixture
def whole(tmp_path: Path) -> Hosted:
    """With a store there are three functions more."""
    write_recording(tmp_path / "r", VirtualPatient(3, SCENES["healthy"], fs=125.0, duration_s=60.0))
    return Hosted(store=str(tmp_path), reading=Reading(folder=str(tmp_path)))


def counting(number: int) -> Request:
    content = json.dumps({"ecgDataFilePath": "r"}).encode()
    return Request(function="countHours", content=content, encoding="json", key=f"k{number}", timeout_s=5.0)


def federated(clock: Any = None, **ports: RegionPort) -> tuple[Federation, dict[str, Counted]]:
    counted = {name: Counted(port) for name, port in ports.items()}
    regions = [Region(name=name, kind="inline", slots=8) for name in counted]
    return Federation(regions, counted, clock or SystemClock(), Terms(policy="round-robin")), counted


@in_loop
async def test_what_a_region_lacks_it_is_asked_for_once_at_most(whole: Hosted) -> None:
    federation, ports = federated(a=InlineRegion(Hosted()), b=InlineRegion(Hosted()), c=InlineRegion(whole))
    for number in range(30):
        assert json.loads((await federation.invoke(counting(number))).content)["hoursCount"] == 1
    assert ports["c"].asked == ["countHours"] * 30
    assert max(ports["a"].asked.count("countHours"), ports["b"].asked.count("countHours")) <= 1
    assert [one.probes for one in ports.values()] == [1, 1, 1], "each is asked once what it has"
    call = a_call(1)
    for number in range(9):
        await federation.invoke(
            Request(function=call.function, content=call.content, encoding=call.encoding, key=f"a{number}")
        )
    assert all("analysis" in one.asked for one in ports.values()), "what all have all are given"
    await federation.close()


@in_loop
async def test_after_a_restart_it_is_learnt_anew(whole: Hosted) -> None:
    """Nothing else tells that a host has been replaced by one that has more."""
    clock = VirtualClock()
    federation, ports = federated(clock, a=InlineRegion(Hosted()), b=InlineRegion(whole))
    for number in range(4):
        await federation.invoke(counting(number))
    before = len(ports["a"].asked)
    ports["a"].is_away = True
    call = a_call(2)

    def analysis(number: int) -> Request:
        return Request(
            function=call.function, content=call.content, encoding=call.encoding, key=f"n{number}", urgency=0
        )

    for number in range(4):
        await federation.invoke(analysis(number))
    assert len(ports["a"].asked) > before
    ports["a"].is_away, ports["a"].port = False, InlineRegion(whole)
    clock.advance(2.0)
    for number in range(4, 12):
        await federation.invoke(analysis(number))
        await asyncio.sleep(0)
    ports["a"].asked.clear()
    for number in range(20, 30):
        await federation.invoke(counting(number))
    assert "countHours" in ports["a"].asked
    await federation.close()


@in_loop
async def test_a_function_that_nobody_has_is_unknown_and_looked_for_again(whole: Hosted) -> None:
    clock = VirtualClock()
    federation, ports = federated(clock, a=InlineRegion(Hosted()), b=InlineRegion(Hosted()))
    with pytest.raises(FunctionUnknown):
        await federation.invoke(counting(1))
    ports["b"].port = InlineRegion(whole)
    clock.advance(5.0)
    with pytest.raises(FunctionUnknown):
        await federation.invoke(counting(2))
    await asyncio.sleep(0.01)
    assert json.loads((await federation.invoke(counting(3))).content)["hoursCount"] == 1
    await federation.close()


# -------------------------------------------------------------------- hosts that read JSON alone


class JsonOnly:
    """In front of a host: it reads no MessagePack, and may say so."""

    def __init__(self, host: FunctionHost, *, says_so: bool) -> None:
        self._host = host
        self._says_so = says_so
        self.refused = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/functions" and scope["method"] == "GET":
            probed = msgspec.to_builtins(self._host.probed)
            probed["encodings"] = ["json"]
            if not self._says_so:
                del probed["encodings"]
            await self._answer(send, 200, b"application/json", msgspec.json.encode(probed))
        elif (b"content-type", b"application/msgpack") in scope["headers"]:
            self.refused += 1
            problem = {"title": "Unsupported Media Type", "status": 415, "detail": "only JSON is read"}
            await self._answer(send, 415, b"application/problem+json", msgspec.json.encode(problem))
        else:
            await self._host(scope, receive, send)

    async def _answer(self, send: Send, status: int, type_: bytes, content: bytes) -> None:
        headers = [(b"content-type", type_), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})


@contextmanager
def json_only(*, says_so: bool) -> Iterator[tuple[str, JsonOnly]]:
    workers = WorkerPool(1)
    host = JsonOnly(FunctionHost(Hosted(), in_workers(Hosted(), workers), SystemClock()), says_so=says_so)
    try:
        with serving_host(host) as url:
            yield url, host
    finally:
        workers.close()


@pytest.fixture(scope="module", params=[True, False], ids=["says so", "does not say"])
def plain(request: pytest.FixtureRequest) -> Iterator[tuple[str, JsonOnly]]:
    with json_only(says_so=request.param) as found:
        yield found


@pytest.mark.parametrize(
    "check",
    [
        what_is_invoked_answers_as_in_this_process,
        the_same_again_answers_the_same,
        any_number_may_be_under_way,
        a_state_goes_along,
        what_it_says_it_has_it_has,
    ],
    ids=lambda check: check.__name__,
)
def test_a_host_that_reads_json_alone_keeps_the_promises_in_both_encodings(plain: Any, check: Any) -> None:
    """To the byte: what is rewritten on the way is the same there and back."""
    url, _ = plain

    @asynccontextmanager
    async def made() -> AsyncIterator[RegionPort]:
        region = HttpRegion(url)
        try:
            yield region
        finally:
            await region.close()

    asyncio.run(check(made))


def test_that_it_reads_json_alone_is_found_out_once(plain: Any) -> None:
    url, host = plain

    async def run() -> int:
        region = HttpRegion(url)
        before = host.refused
        for number in range(5):
            await region.invoke(a_call(3, key=f"once-{url}-{number}"))
        await region.close()
        return host.refused - before

    assert asyncio.run(run()) == 1


def test_where_it_says_so_it_is_never_sent_messagepack() -> None:
    with json_only(says_so=True) as (url, host):

        async def run() -> None:
            region = HttpRegion(url)
            assert (await region.probe()).encodings == ("json",)
            await region.invoke(a_call(4))
            await region.close()

        asyncio.run(run())
        assert host.refused == 0
        for check in HOST_CHECKS:
            if check.__name__ == "it_answers_in_the_encoding_of_the_question":
                check_function_host(url, check)


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), PLAIN, max_size=5))
def test_what_both_encodings_can_say_is_the_same_there_and_back(value: dict[str, Any]) -> None:
    content = msgspec.msgpack.encode(value)
    there = reencoded_call("anything", content, "msgpack", "json")
    assert msgspec.json.decode(there) == value
    assert msgspec.msgpack.decode(reencoded_answer("anything", there, "json", "msgpack")) == value


@pytest.mark.parametrize("value", [{"a": b"bytes"}, {"a": float("nan")}, {"a": [{"b": float("inf")}]}])
def test_what_json_cannot_say_is_refused_and_not_bent(value: dict[str, Any]) -> None:
    with pytest.raises(InputInvalid):
        reencoded_call("anything", msgspec.msgpack.encode(value), "msgpack", "json")
