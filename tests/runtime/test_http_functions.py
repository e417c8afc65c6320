"""Functions behind HTTP: what is sent arrives unchanged, and every way to fail has its name."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed (extra delivery)")
from aiohttp import web  # noqa: E402 - only where it is installed

from einthoven.clock import SystemClock  # noqa: E402
from einthoven.runtime.conducting import Conductor, InProcess, Routed  # noqa: E402
from einthoven.runtime.http_functions import ANSWER_MAX_BYTES, HttpFunctions  # noqa: E402
from einthoven.testing.workflows import program_of  # noqa: E402
from einthoven.workflow import Done, Execution, Failure, Policy, Program  # noqa: E402


def program(address: str, constraints: str = "", type_: str = "f") -> Program:
    return program_of(
        f"""
        name: "w"
        dataIns: [{{name: "x", type: "string", source: "x"}}]
        workflowBody:
        - function:
            name: "a"
            type: "{type_}"
            dataIns: [{{name: "x", type: "string", source: "w/x"}}]
            dataOuts: [{{name: "y", type: "string"}}]
            properties: [{{name: "resource", value: "python:{address}"}}]
            constraints: [{constraints}]
        dataOuts: [{{name: "y", type: "string", source: "a/y"}}]
        """
    )


@asynccontextmanager
async def serving(answer: Any) -> AsyncIterator[str]:
    app = web.Application(client_max_size=2**24)
    app.router.add_post("/f", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/f"
    finally:
        await runner.cleanup()


def called(answer: Any, text: str = "x", constraints: str = "", **policy: Any) -> Any:
    async def run() -> Any:
        functions = HttpFunctions()
        async with serving(answer) as address:
            conductor = Conductor(functions, slots=64, clock=SystemClock())
            try:
                execution = Execution(
                    program(address, constraints), "r", {"x": text}, policy=Policy(backoff_s=0.001, **policy)
                )
                return await conductor.run(execution)
            finally:
                await functions.close()

    return asyncio.run(run())


def test_a_value_arrives_unchanged_in_a_post_with_a_key() -> None:
    seen: list[tuple[str, str, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.method, request.headers["Idempotency-Key"], await request.json()))
        return web.json_response({"y": (await request.json())["x"], "more": 1})

    text = "a&b=c?d=ü\n\"'\\ %20"
    assert called(answer, text) == Done({"y": text})
    assert seen == [("POST", "r/a", {"x": text})]


@pytest.mark.parametrize(
    ("status", "broke", "attempts"),
    [
        (400, "refused", 1),
        (404, "refused", 1),
        (301, "refused", 1),
        (408, "timeout", 3),
        (429, "throttled", 3),
        (503, "server", 1),
    ],
)
def test_a_status_says_whether_it_helps_to_try_again(status: int, broke: str, attempts: int) -> None:
    seen: list[int] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(1)
        return web.json_response({"y": "fine"}, status=status)

    entry = called(answer)
    assert isinstance(entry, Failure)
    assert (entry.broke, len(seen)) == (broke, attempts)


@pytest.mark.parametrize(
    ("body", "broke"),
    [
        (b"fine", "reply"),
        (b"[1]", "reply"),
        (b"{}", "reply"),
        (b'{"error": "no"}', "function"),
        (b'{"y": 1}', "reply"),
    ],
)
def test_a_good_status_is_not_yet_a_good_answer(body: bytes, broke: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body)

    entry = called(answer)
    assert isinstance(entry, Failure)
    assert entry.broke == broke


def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        piece = bytes(2**20)
        for _ in range(2 * ANSWER_MAX_BYTES // 2**20):
            try:
                await response.write(piece)
            except OSError:
                break
        return response

    entry = called(answer)
    assert isinstance(entry, Failure)
    assert (entry.broke, str(ANSWER_MAX_BYTES) in entry.message) == ("reply", True)


def test_inputs_that_are_too_large_are_not_sent() -> None:
    seen: list[int] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(len(await request.read()))
        return web.json_response({"y": "taken"})

    async def run(length: int) -> Any:
        functions = HttpFunctions(inputs_max_bytes=1000)
        async with serving(answer) as address:
            try:
                execution = Execution(program(address), "r", {"x": "8" * length})
                return await Conductor(functions, slots=1, clock=SystemClock()).run(execution)
            finally:
                await functions.close()

    assert asyncio.run(run(900)) == Done({"y": "taken"})
    entry = asyncio.run(run(1000))
    assert isinstance(entry, Failure)
    assert (entry.code, entry.broke, len(seen), "88" in entry.message) == ("R713", "payload", 1, False)


def test_nobody_there_is_a_failed_way() -> None:
    async def run() -> Any:
        functions = HttpFunctions()
        conductor = Conductor(functions, slots=1, clock=SystemClock())
        policy = Policy(backoff_s=0.001)
        try:
            return await conductor.run(
                Execution(program("http://127.0.0.1:9/f"), "r", {"x": "marker"}, policy=policy)
            )
        finally:
            await functions.close()

    entry = asyncio.run(run())
    assert isinstance(entry, Failure)
    assert (entry.broke, "(3 attempts)" in entry.message, "marker" in entry.message) == (
        "transport",
        True,
        False,
    )


def test_an_alternative_is_called_when_the_first_fails() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"y": "second"})

    async def run() -> Any:
        functions = HttpFunctions()
        async with serving(answer) as address:
            plan = f'{{name: "FT-AltPlan-0", value: "0.9;{address};"}}, {{name: "FT-Retries", value: "0"}}'
            execution = Execution(program("http://127.0.0.1:9/f", plan), "r", {"x": "1"})
            try:
                return await Conductor(functions, slots=4, clock=SystemClock()).run(execution)
            finally:
                await functions.close()

    assert asyncio.run(run()) == Done({"y": "second"})


def test_a_thousand_calls_at_once_reach_each_their_own_address() -> None:
    async def one(request: web.Request) -> web.Response:
        return web.json_response({"y": "one " + (await request.json())["x"]})

    async def two(request: web.Request) -> web.Response:
        return web.json_response({"y": "two " + (await request.json())["x"]})

    async def run() -> list[Any]:
        functions = HttpFunctions()
        conductor = Conductor(functions, slots=200, clock=SystemClock())
        async with serving(one) as first, serving(two) as second:
            programs = [program(first), program(second)]
            try:
                return await asyncio.gather(
                    *(conductor.run(Execution(programs[k % 2], str(k), {"x": str(k)})) for k in range(1000))
                )
            finally:
                await functions.close()

    entries = asyncio.run(run())
    assert entries == [Done({"y": f"{('one', 'two')[k % 2]} {k}"}) for k in range(1000)]


def test_a_function_of_this_process_may_stand_in_for_its_resource() -> None:
    async def run(prefers_own: bool) -> Any:
        functions = HttpFunctions()
        own = InProcess({"f": lambda x: {"y": "own " + x}})
        routed = Routed(own, functions, prefers_own=prefers_own)
        policy = Policy(retries=0)
        try:
            execution = Execution(program("http://127.0.0.1:9/f"), "r", {"x": "1"}, policy=policy)
            return await Conductor(routed, slots=1, clock=SystemClock()).run(execution)
        finally:
            await functions.close()

    assert asyncio.run(run(True)) == Done({"y": "own 1"})
    assert isinstance(asyncio.run(run(False)), Failure)


def test_requests_are_json() -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.content_type == "application/json"
        return web.json_response({"y": json.dumps(await request.json())})

    assert called(answer, "1") == Done({"y": '{"x": "1"}'})
