"""A region behind HTTP: bytes there and back, and a name for every way to get none."""

import asyncio
import base64
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Any

import numpy as np
import pytest

aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed (extra delivery)")
from aiohttp import web  # noqa: E402 - only where it is installed

from einthoven.clock import VirtualClock  # noqa: E402
from einthoven.errors import InputInvalid  # noqa: E402
from einthoven.functions import Ecg, encode  # noqa: E402
from einthoven.runtime.conducting import InvocationBroke  # noqa: E402
from einthoven.runtime.hosted import Asked, Hosted, perform  # noqa: E402
from einthoven.runtime.http_region import HttpRegion  # noqa: E402
from einthoven.runtime.identity_tokens import IdentityTokens, metadata_tokens  # noqa: E402
from einthoven.runtime.region_port import Answer, Call, HostedFunction, Probed  # noqa: E402
from einthoven.simulation import SCENES, VirtualPatient  # noqa: E402
from einthoven.testing.function_hosts import a_host  # noqa: E402
from einthoven.testing.regions import REGION_CHECKS  # noqa: E402

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def a_call(**more: Any) -> Call:
    known = {"function": "f", "content": b"{}", "encoding": "json", "key": "run/a", "timeout_s": 20.0}
    return Call(**{**known, **more})


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """A host of one's own: all it is asked comes to the handler."""
    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def told(handler: Handler, asks: Callable[[HttpRegion], Awaitable[Any]], **more: Any) -> Any:
    """What comes of asking a host of one's own."""

    async def run() -> Any:
        async with serving(handler) as address:
            region = HttpRegion(address, **more)
            try:
                return await asks(region)
            finally:
                await region.close()

    return asyncio.run(run())


def broke(handler: Handler, **more: Any) -> InvocationBroke:
    with pytest.raises(InvocationBroke) as caught:
        told(handler, lambda region: region.invoke(a_call(**more)))
    return caught.value


def saying(status: int, body: bytes = b"{}", type_: str = "application/json", **headers: str) -> Handler:
    async def handler(_: web.Request) -> web.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, body=body, headers={"Content-Type": type_, **named})

    return handler


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with a_host() as found:
        yield found


def asked_of(url: str, asks: Callable[[HttpRegion], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        region = HttpRegion(url)
        try:
            return await asks(region)
        finally:
            await region.close()

    return asyncio.run(run())


# -------------------------------------------------------------------- with a real host


@pytest.mark.parametrize("check", REGION_CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_what_every_region_promises(url: str, check: Any) -> None:
    @asynccontextmanager
    async def a_region() -> AsyncIterator[HttpRegion]:
        region = HttpRegion(url)
        try:
            yield region
        finally:
            await region.close()

    asyncio.run(check(a_region))


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_its_answer_is_that_of_the_function_to_the_byte(url: str, encoding: Any) -> None:
    samples = VirtualPatient(3, SCENES["healthy"]).read(0, 3750)[0].astype(np.int32)
    call = a_call(
        function="preprocessing", content=encode(Asked(ecg=Ecg(samples=samples)), encoding), encoding=encoding
    )
    found = asked_of(url, lambda region: region.invoke(call))
    assert found.content == perform(Hosted(), call).content
    assert 0 < found.busy_s < 10


def test_it_says_what_it_has(url: str) -> None:
    found = asked_of(url, lambda region: region.probe())
    assert found == Probed(functions=Hosted().functions, slots=1, encodings=("json", "msgpack"))


def test_many_calls_at_once_come_back_to_who_asked(url: str) -> None:
    async def asks(region: HttpRegion) -> list[Answer]:
        calls = []
        for n in range(24):
            samples = VirtualPatient(n, SCENES["healthy"]).read(0, 1250)[0].astype(np.int32)
            content = encode(Asked(ecg=Ecg(samples=samples)), "msgpack")
            calls.append(a_call(function="analysis", content=content, encoding="msgpack", key=f"many/{n}"))
        found = await asyncio.gather(*(region.invoke(call) for call in calls))
        assert [one.content for one in found] == [perform(Hosted(), call).content for call in calls]
        return found

    asked_of(url, asks)


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"function": "nothing"}, "refused"),
        ({"function": "../healthz"}, "refused"),
        ({"content": b"beats"}, "refused"),
        ({"content": b'{"ecg": {}}', "function": "postprocessing"}, "refused"),
    ],
)
def test_what_a_real_host_refuses_is_refused(url: str, more: Any, kind: str) -> None:
    with pytest.raises(InvocationBroke) as caught:
        asked_of(url, lambda region: region.invoke(a_call(**{"function": "analysis", "key": "", **more})))
    assert caught.value.kind == kind


# -------------------------------------------------------------------- what is sent


def test_a_call_arrives_as_it_is_with_key_time_and_type() -> None:
    seen: dict[str, Any] = {}

    async def handler(request: web.Request) -> web.Response:
        seen.update(path=request.raw_path, body=await request.read(), headers=request.headers)
        return web.Response(body=b"\x81\xa1y\x01", content_type="application/msgpack")

    call = a_call(
        function="bdc", content=b"\x81\xa1x\x01", encoding="msgpack", key="ü/7\r\nx", timeout_s=12.5
    )
    answer = told(handler, lambda region: region.invoke(call))
    assert answer.content == b"\x81\xa1y\x01"
    assert math.isnan(answer.busy_s)
    assert (seen["path"], seen["body"]) == ("/functions/bdc", b"\x81\xa1x\x01")
    headers = seen["headers"]
    assert headers["Content-Type"] == "application/msgpack"
    assert headers["Idempotency-Key"] == "%C3%BC/7%0D%0Ax"
    assert headers["X-Timeout-S"] == "12.5"
    assert "Authorization" not in headers


def test_large_calls_and_large_answers_go_through() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        content = await request.read()
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)  # in chunks, without a length
        await answer.write(content)
        await answer.write_eof()
        return answer

    content = json.dumps({"samples": list(range(1_000_000))}).encode()
    assert len(content) > 2**22
    assert told(handler, lambda region: region.invoke(a_call(content=content))).content == content


def test_connections_are_used_again() -> None:
    peers = set()

    async def handler(request: web.Request) -> web.Response:
        peers.add(request.transport.get_extra_info("peername"))
        return web.json_response({})

    async def asks(region: HttpRegion) -> None:
        for _ in range(20):
            await region.invoke(a_call())

    told(handler, asks)
    assert len(peers) == 1


def test_how_long_the_function_was_busy_is_read_from_server_timing() -> None:
    for said, expected in (
        ("busy;dur=12.5", 0.0125),
        ('db;dur=3, busy;dur="4"', 0.004),
        ("busy ; dur = 2, x", 0.002),
    ):
        found = told(saying(200, Server_Timing=said), lambda region: region.invoke(a_call()))
        assert found.busy_s == expected
    for said in ("lazybusy;dur=1", "busy;dur=1.2.3", "busy", "busy;dur=ms"):
        found = told(saying(200, Server_Timing=said), lambda region: region.invoke(a_call()))
        assert math.isnan(found.busy_s)


# -------------------------------------------------------------------- what is no answer


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, "refused"),
        (400, "refused"),
        (401, "refused"),
        (404, "refused"),
        (408, "timeout"),
        (413, "payload"),
        (415, "refused"),
        (422, "refused"),
        (429, "throttled"),
        (500, "server"),
        (502, "server"),
        (503, "server"),
        (504, "timeout"),
    ],
)
def test_each_status_has_its_kind(status: int, kind: str) -> None:
    found = broke(saying(status))
    assert (found.kind, found.retry_after_s) == (kind, None)
    assert str(status) in found.message


def test_throttling_says_when_to_come_again() -> None:
    for status in (429, 503):
        found = broke(saying(status, Retry_After="7"))
        assert (found.kind, found.retry_after_s) == ("throttled", 7.0)


def test_a_date_to_come_again_at_is_counted_from_now() -> None:
    clock = VirtualClock(1_700_000_000 * 10**9)
    handler = saying(503, Retry_After=formatdate(1_700_000_090, usegmt=True))
    with pytest.raises(InvocationBroke) as caught:
        told(handler, lambda region: region.invoke(a_call()), clock=clock)
    assert (caught.value.kind, caught.value.retry_after_s) == ("throttled", 90.0)


def test_a_function_that_broke_is_told_from_a_host_that_did() -> None:
    problem = json.dumps({"title": "x", "status": 500, "detail": "y", "kind": "function"}).encode()
    assert broke(saying(500, problem, "application/problem+json")).kind == "function"
    assert broke(saying(502, problem, "application/problem+json")).kind == "server"
    assert broke(saying(500, b'{"kind": "refused"}')).kind == "server"


@pytest.mark.parametrize(
    ("body", "encoding", "type_", "kind"),
    [
        (b"<html>hello</html>", "json", "text/html", "reply"),
        (b"", "json", "application/json", "reply"),
        (b"[]", "json", "application/json", "reply"),
        (b'{"y": 1', "json", "application/json", "reply"),
        (b'{"y": 1}', "msgpack", "application/json", "reply"),
        (b"\x81\xa1y\x01", "json", "application/msgpack", "reply"),
        (b"\x81\xa1y", "msgpack", "application/msgpack", "reply"),
        (b"[" * 100_000, "json", "application/json", "reply"),
        (b'{"error": "it broke", "y": 1}', "json", "application/json", "function"),
        (b'{"y": 1, "error": {}}', "json", "application/json", "function"),
        (b"\x81\xa5error\xa1x", "msgpack", "application/msgpack", "function"),
        (b'{"title": "x", "status": 500, "detail": "y"}', "json", "application/json", "function"),
        (b'{"y": 1}', "json", "application/problem+json", "function"),
    ],
)
def test_a_200_without_an_answer_is_none(body: bytes, encoding: str, type_: str, kind: str) -> None:
    assert broke(saying(200, body, type_), encoding=encoding).kind == kind


def test_an_error_that_is_null_is_none_and_a_status_is_only_a_name() -> None:
    for body in (b'{"error": null, "y": 1}', b'{"status": 500}', b'{"status": "analysed", "title": 1}'):
        answer = told(saying(200, body), lambda region: region.invoke(a_call()))
        assert answer.content == body


def test_nothing_of_what_a_host_says_is_repeated() -> None:
    problem = {"title": "secret", "status": 500, "detail": "secret", "kind": "secret"}
    for status in (200, 400, 500):
        found = broke(saying(status, json.dumps({**problem, "error": "secret"}).encode()))
        assert "secret" not in str(found)


def test_nobody_there_is_a_matter_of_transport() -> None:
    async def run() -> None:
        region = HttpRegion("http://127.0.0.1:9")
        for asks in (region.probe(), region.invoke(a_call())):
            with pytest.raises(InvocationBroke) as caught:
                await asks
            assert caught.value.kind == "transport"
        await region.close()

    asyncio.run(run())


def test_a_connection_that_is_cut_is_a_matter_of_transport() -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        request.transport.close()
        return web.Response()

    async def cut_later(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "100"})
        await answer.prepare(request)
        await answer.write(b'{"y"')
        request.transport.close()
        return answer

    assert broke(cut).kind == "transport"
    assert broke(cut_later).kind == "transport"


def test_who_takes_longer_than_the_call_has_is_not_waited_for() -> None:
    async def handler(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.json_response({})

    async def slow_body(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"{")
        await asyncio.sleep(30)
        return answer

    assert broke(handler, timeout_s=0.1).kind == "timeout"
    assert broke(slow_body, timeout_s=0.1).kind == "timeout"


def test_a_call_that_is_cancelled_leaves_the_region_usable() -> None:
    async def handler(request: web.Request) -> web.Response:
        if request.headers["Idempotency-Key"] == "slow":
            await asyncio.sleep(30)
        return web.json_response({})

    async def asks(region: HttpRegion) -> None:
        going = asyncio.ensure_future(region.invoke(a_call(key="slow")))
        await asyncio.sleep(0.05)
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        await region.invoke(a_call(key="quick"))

    told(handler, asks)


@pytest.mark.parametrize("address", ["", "ftp://host", "http://", "host:80", "http://host/?a=1"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(InputInvalid):
        HttpRegion(address)


# -------------------------------------------------------------------- what it has


def test_only_a_host_without_a_list_is_asked_whether_it_is_ready() -> None:
    async def only_ready(request: web.Request) -> web.Response:
        return web.Response(status={"/readyz": 200}.get(request.path, 404))

    async def draining(request: web.Request) -> web.Response:
        return web.Response(status={"/readyz": 503}.get(request.path, 404), headers={"Retry-After": "1"})

    function = HostedFunction(name="f", version="1", memory_mb=64, timeout_s=3.0)
    assumed = Probed(functions=(function,), slots=8)
    assert told(only_ready, lambda region: region.probe(), assumed=assumed) == assumed
    assert told(draining, lambda region: region.probe(), assumed=assumed).is_draining
    for status, kind in ((500, "server"), (401, "refused")):
        with pytest.raises(InvocationBroke) as caught:
            told(saying(status), lambda region: region.probe(), assumed=assumed)
        assert caught.value.kind == kind


def test_a_list_may_say_more_and_must_be_one() -> None:
    said = {
        "functions": [{"name": "f", "version": "2", "memory_mb": 1, "timeout_s": 2, "language": "Java"}],
        "slots": 3,
        "more": 1,
    }
    function = HostedFunction(name="f", version="2", memory_mb=1, timeout_s=2.0)
    found = told(saying(200, json.dumps(said).encode()), lambda region: region.probe())
    assert found == Probed(functions=(function,), slots=3)
    with pytest.raises(InvocationBroke) as caught:
        told(saying(200, b'{"functions": "f"}'), lambda region: region.probe())
    assert caught.value.kind == "reply"


# -------------------------------------------------------------------- tokens


def a_token(end_s: float, name: str = "") -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": end_s, "n": name}).encode()).decode().rstrip("=")
    return f"header.{claims}.signature"


def test_a_token_that_is_known_is_shown() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"y": request.headers["Authorization"]})

    answer = told(handler, lambda region: region.invoke(a_call()), token="t-1")  # noqa: S106 - of a test
    assert json.loads(answer.content) == {"y": "Bearer t-1"}


def test_an_identity_token_is_kept_and_fetched_anew_before_it_ends() -> None:
    clock = VirtualClock(10**18)
    fetched: list[str] = []

    async def fetch() -> str:
        await asyncio.sleep(0)
        fetched.append(a_token(clock.utc_ns() / 1e9 + 3600, str(len(fetched))))
        return fetched[-1]

    async def run() -> None:
        tokens = IdentityTokens(fetch, clock)
        assert len(set(await asyncio.gather(*(tokens() for _ in range(8))))) == 1
        clock.advance(3539)
        await tokens()
        assert len(fetched) == 1
        clock.advance(2)
        assert await tokens() == fetched[1]
        tokens.forget("another")
        assert await tokens() == fetched[1]
        tokens.forget(fetched[1])
        assert await tokens() == fetched[2]

    asyncio.run(run())


def test_a_token_that_is_refused_is_fetched_anew_once() -> None:
    fetched: list[str] = []

    async def fetch() -> str:
        fetched.append(f"t{len(fetched)}")
        return fetched[-1]

    async def handler(request: web.Request) -> web.Response:
        is_good = request.headers["Authorization"] == "Bearer t1"
        return web.json_response({}, status=200 if is_good else 401)

    async def asks(region: HttpRegion) -> None:
        await region.invoke(a_call())
        await region.invoke(a_call())

    told(handler, asks, token=fetch)
    assert fetched == ["t0", "t1"]
    with pytest.raises(InvocationBroke) as caught:
        told(saying(401), lambda region: region.invoke(a_call()), token=fetch)
    assert caught.value.kind == "refused"
    assert len(fetched) == 4


def test_without_a_token_to_be_had_nothing_is_sent() -> None:
    async def fetch() -> str:
        raise RuntimeError("secret")

    with pytest.raises(InvocationBroke) as caught:
        told(saying(200), lambda region: region.invoke(a_call()), token=fetch)
    assert caught.value.kind == "transport"
    assert "secret" not in str(caught.value)


def test_the_machines_own_token_is_asked_for_the_audience() -> None:
    async def handler(request: web.Request) -> web.Response:
        assert request.headers["Metadata-Flavor"] == "Google"
        return web.Response(text=f"token-for-{request.query['audience']}\n")

    async def run() -> str:
        async with serving(handler) as address:
            return await metadata_tokens("https://ecg.example", f"{address}/identity")()

    assert asyncio.run(run()) == "token-for-https://ecg.example"
