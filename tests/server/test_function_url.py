"""One URL for each function: our host behind an AWS Lambda function URL, and others."""

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import pytest

pytest.importorskip("aiohttp", reason="aiohttp is not installed (extra delivery)")
import aiohttp
from aiohttp import web

from einthoven.clock import SystemClock
from einthoven.continuum import Region
from einthoven.errors import InputInvalid
from einthoven.runtime.conducting import FunctionUnknown
from einthoven.runtime.hosted import Hosted, perform
from einthoven.runtime.http_region import HttpRegion
from einthoven.runtime.reaching import reached
from einthoven.runtime.region_port import Probed, RegionPort
from einthoven.runtime.worker_pool import WorkerPool
from einthoven.server import function_url
from einthoven.server.function_host import FunctionHost, in_workers
from einthoven.server.function_url import FunctionUrl
from einthoven.testing.function_hosts import HOST_CHECKS, check_function_host, serving_host
from einthoven.testing.regions import REGION_CHECKS, a_call

EVENT: dict[str, Any] = {
    "version": "2.0",
    "routeKey": "$default",
    "rawPath": "/functions/analysis",
    "rawQueryString": "",
    "cookies": ["cookie1", "cookie2"],
    "headers": {
        "x-amzn-tls-version": "TLSv1.3",
        "content-type": "application/json",
        "x-forwarded-proto": "https",
        "x-forwarded-port": "443",
        "x-forwarded-for": "203.0.113.7",
        "host": "urlid.lambda-url.eu-west-1.on.aws",
        "authorization": "Bearer of-a-test",
        "idempotency-key": "run-7/a",
        "user-agent": "curl/8.5.0",
    },
    "requestContext": {
        "accountId": "anonymous",
        "apiId": "urlid",
        "authentication": None,
        "domainName": "urlid.lambda-url.eu-west-1.on.aws",
        "domainPrefix": "urlid",
        "http": {
            "method": "POST",
            "path": "/functions/analysis",
            "protocol": "HTTP/1.1",
            "sourceIp": "203.0.113.7",
            "userAgent": "curl/8.5.0",
        },
        "requestId": "6d8f8b3c-1f6f-4c56-9d5c-6e0a8f1c6a11",
        "routeKey": "$default",
        "stage": "$default",
        "time": "26/Nov/2026:09:30:00 +0000",
        "timeEpoch": 1795685400000,
    },
    "isBase64Encoded": False,
}
"""As Lambda sends it (payload format 2.0); a body comes with it where the request has one."""


class Context:
    """What Lambda tells of an invocation."""

    def __init__(self, left_s: float = 60.0) -> None:
        self._left_s = left_s

    def get_remaining_time_in_millis(self) -> int:
        return round(1000 * self._left_s)


@pytest.fixture
def entry() -> Iterator[FunctionUrl]:
    made = FunctionUrl(Hosted(), tokens=("of-a-test",))
    yield made
    made.close()


def an_event(body: bytes | None = None, *, path: str = "/functions/analysis", **headers: str) -> Any:
    """As Lambda makes it: what is no text comes in base64."""
    event = {**EVENT, "rawPath": path, "headers": {**EVENT["headers"], **headers}}
    if body is not None:
        is_text = headers.get("content-type", "application/json").startswith(("application/json", "text/"))
        with suppress(UnicodeDecodeError):
            event["body"] = body.decode()
        is_text = is_text and "body" in event
        event["body"] = body.decode() if is_text else base64.b64encode(body).decode()
        event["isBase64Encoded"] = not is_text
    return event


def content_of(returned: dict[str, Any]) -> bytes:
    json.dumps(returned)  # Lambda does so
    body = returned["body"]
    return base64.b64decode(body) if returned["isBase64Encoded"] else body.encode()


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_an_event_is_a_call_and_what_is_returned_its_answer(entry: FunctionUrl, encoding: Any) -> None:
    call = a_call(3, encoding=encoding)
    event = an_event(call.content, **{"content-type": f"application/{encoding}"})
    returned = entry(event, Context())
    assert returned["statusCode"] == 200
    assert returned["isBase64Encoded"] == (encoding == "msgpack")
    assert returned["headers"]["content-type"] == f"application/{encoding}"
    assert "content-length" not in returned["headers"]
    assert content_of(returned) == perform(Hosted(), call).content
    again = entry(event, Context())
    assert again["headers"]["idempotent-replayed"] == "true"
    assert again["body"] == returned["body"]


def test_a_body_in_base64_is_the_same_call(entry: FunctionUrl) -> None:
    """Lambda decides by the type; whatever it says is believed."""
    call = a_call(4, encoding="json")
    event = an_event(call.content)
    event |= {"body": base64.b64encode(call.content).decode(), "isBase64Encoded": True}
    assert content_of(entry(event, Context())) == perform(Hosted(), call).content


def test_what_is_no_answer_is_a_problem_and_what_has_no_token_is_refused(entry: FunctionUrl) -> None:
    for event, status in (
        (an_event(b"beats"), 400),
        (an_event(b"{}", authorization="Bearer wrong"), 401),
        (an_event(b"{}", path="/functions/nobody"), 404),
        (an_event(b"<ecg/>", **{"content-type": "text/xml"}), 415),
        (an_event(), 400),
        (an_event(path="/"), 404),
    ):
        returned = entry(event, Context())
        assert returned["statusCode"] == status, event
        assert returned["headers"]["content-type"] == "application/problem+json"
        assert json.loads(content_of(returned))["status"] == status


def test_what_is_no_event_of_a_url_is_said_without_its_values(entry: FunctionUrl) -> None:
    for event in ({}, {"key1": "somebody-4711"}, {**EVENT, "body": "%", "isBase64Encoded": True}):
        with pytest.raises(InputInvalid) as caught:
            entry(event, Context())
        assert "4711" not in str(caught.value)


def test_a_call_is_told_that_it_takes_too_long_before_lambda_ends_it() -> None:
    entry = FunctionUrl(Hosted())
    event = an_event(a_call(7, duration_s=16_000.0, fs=125.0, encoding="json").content)
    event["headers"]["x-timeout-s"] = "900"
    try:
        returned = entry(event, Context(0.55))
        assert (returned["statusCode"], json.loads(returned["body"])["kind"]) == (504, "timeout")
    finally:
        entry.close()


def test_an_instance_whose_function_hangs_ends_so_that_there_is_another(
    entry: FunctionUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ended(Exception):
        pass

    def end(code: int) -> None:
        assert code
        raise Ended

    monkeypatch.setattr(function_url.os, "_exit", end)
    assert entry(an_event(), Context())["statusCode"] != 500
    monkeypatch.setattr(WorkerPool, "hangs", property(lambda _: True))
    with pytest.raises(Ended):
        entry(an_event(), Context())


def test_an_answer_that_lambda_does_not_give_back_is_to_go_by_reference() -> None:
    entry = FunctionUrl(Hosted())
    call = a_call(7, duration_s=16_000.0, fs=250.0, function="preprocessing")
    assert len(perform(Hosted(), call).content) > 5_000_000
    event = an_event(call.content, path="/functions/preprocessing", **{"content-type": "application/msgpack"})
    try:
        returned = entry(event, Context())
        assert (returned["statusCode"], json.loads(returned["body"])["kind"]) == (413, "payload")
    finally:
        entry.close()


def test_the_handler_serves_nobody_until_it_is_said_who_may_call(monkeypatch: pytest.MonkeyPatch) -> None:
    function_url._own.cache_clear()
    with pytest.raises(InputInvalid, match="anybody"):
        function_url.handler(an_event(), Context())
    monkeypatch.setenv("EINTHOVEN_FUNCTIONS_TOKEN", "of-a-test")
    event = an_event(path="/functions")
    event["requestContext"]["http"]["method"] = "GET"
    try:
        said = json.loads(content_of(function_url.handler(event, Context())))
        assert "analysis" in [one["name"] for one in said["functions"]]
    finally:
        function_url._own().close()
        function_url._own.cache_clear()
        event["requestContext"]["http"]["method"] = "POST"


@contextmanager
def behind_a_url(entry: FunctionUrl) -> Iterator[str]:
    """HTTP in front of it, as a function URL is: one event at a time, what is too large does not come."""
    one_at_a_time = threading.Lock()

    def called(event: Any) -> Any:
        with one_at_a_time:
            return entry(event, Context())

    async def ask(request: web.Request) -> web.Response:
        if (request.content_length or 0) > 6 * 2**20:
            problem = {"title": "Too large", "status": 413, "detail": "more than 6 MB"}
            return web.json_response(problem, status=413, content_type="application/problem+json")
        headers = {name.lower(): value for name, value in request.headers.items()}
        event = an_event(await request.read(), path=request.raw_path, **headers)
        event["requestContext"] = {**event["requestContext"], "http": {"method": request.method}}
        event["headers"].setdefault("content-type", "")
        if "authorization" not in headers:
            del event["headers"]["authorization"]
        if "idempotency-key" not in headers:
            del event["headers"]["idempotency-key"]
        returned = await asyncio.to_thread(called, event)
        return web.Response(
            status=returned["statusCode"], headers=returned["headers"], body=content_of(returned)
        )

    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{path:.*}", ask)
    with in_a_thread(app) as url:
        yield url


@contextmanager
def in_a_thread(app: web.Application) -> Iterator[str]:
    began, found = threading.Event(), []
    loop = asyncio.new_event_loop()

    def serve() -> None:
        asyncio.set_event_loop(loop)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        loop.run_until_complete(runner.setup())
        loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", 0).start())
        found.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        began.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()

    thread = threading.Thread(target=serve)
    thread.start()
    began.wait()
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def test_behind_its_url_it_is_a_host_as_any_other(entry: FunctionUrl) -> None:
    """But for `it_handles_many_calls_at_once`: Lambda itself begins as many as are needed."""
    with behind_a_url(entry) as url:
        for check in HOST_CHECKS:
            check_function_host(url, check, "of-a-test")

        @asynccontextmanager
        async def made() -> AsyncIterator[RegionPort]:
            region = HttpRegion(url, token="of-a-test")  # noqa: S106 - of a test
            try:
                yield region
            finally:
                await region.close()

        for check in REGION_CHECKS[:6]:
            asyncio.run(check(made))


# -------------------------------------------------------------------- a URL for each function


@contextmanager
def only(name: str) -> Iterator[str]:
    """A host of one function."""
    workers = WorkerPool(1)
    try:
        with serving_host(
            FunctionHost(Hosted(), in_workers(Hosted(), workers), SystemClock(), only=name)
        ) as url:
            yield url
    finally:
        workers.close()


async def _asked(region: Region) -> tuple[Probed, list[bytes]]:
    port = reached(region)
    try:
        calls = [a_call(5, function=name) for name in region.functions]
        gave = [(await port.invoke(call)).content for call in calls]
        for unknown in ("postprocessing", "+".join(region.functions) + "+x", "../healthz"):
            with pytest.raises(FunctionUnknown):
                await port.invoke(a_call(5, function=unknown))
        return await port.probe(), gave
    finally:
        await port.close()


def test_an_address_may_be_one_function() -> None:
    with only("analysis") as url:
        for address in (url, f"{url}/", f"{url}/functions/analysis"):
            region = Region(
                name="a", kind="http", address=address, functions=("analysis",), is_one_function=True
            )
            probed, gave = asyncio.run(_asked(region))
            assert gave == [perform(Hosted(), a_call(5)).content]
            assert probed.slots == 1
            assert probed.functions == ()


def test_an_address_may_have_the_name_of_the_function_in_it() -> None:
    """As OpenFaaS has it: what is behind a gateway is one host for each function."""
    with only("analysis") as one, only("preprocessing") as other:
        hosts = {"analysis": one, "preprocessing": other}

        async def gateway(request: web.Request) -> web.StreamResponse:
            host = hosts.get(request.match_info["name"])
            if host is None:
                return web.Response(status=404)
            headers = {
                k: v for k, v in request.headers.items() if k.lower() not in ("host", "content-length")
            }
            async with (
                aiohttp.ClientSession() as session,
                session.request(
                    request.method, f"{host}/", data=await request.read(), headers=headers
                ) as answer,
            ):
                kept = {k: v for k, v in answer.headers.items() if k.lower() != "content-length"}
                return web.Response(status=answer.status, headers=kept, body=await answer.read())

        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/function/{name}", gateway)
        with in_a_thread(app) as url:
            region = Region(
                name="faas",
                kind="http",
                address=f"{url}/function/{{function}}",
                functions=("analysis", "preprocessing"),
                slots=7,
            )
            probed, gave = asyncio.run(_asked(region))
    calls = [a_call(5, function=name) for name in region.functions]
    assert gave == [perform(Hosted(), call).content for call in calls]
    assert probed.slots == 1, "as the host behind the first of them says"


def test_there_is_no_host_of_a_function_that_there_is_not() -> None:
    with pytest.raises(InputInvalid, match="nobody"):
        FunctionHost(Hosted(), lambda _: None, SystemClock(), only="nobody")
    with pytest.raises(InputInvalid):
        HttpRegion("https://x.example/{function}")
