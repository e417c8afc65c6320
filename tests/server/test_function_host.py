"""The host of functions: what it answers, to whom, how often, and what it says when it does not."""

import asyncio
import json
import socket
import ssl
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import trustme
from prometheus_client.parser import text_string_to_metric_families

pytest.importorskip("aiohttp", reason="aiohttp is not installed (extra delivery)")

from einthoven.clock import SystemClock, VirtualClock
from einthoven.continuum import Region
from einthoven.errors import Conflict, InputInvalid, Overloaded
from einthoven.functions import Ecg, encode
from einthoven.runtime.conducting import InvocationBroke
from einthoven.runtime.hosted import Asked, Hosted, perform
from einthoven.runtime.http_region import HttpRegion
from einthoven.runtime.reaching import reached
from einthoven.runtime.region_port import Answer, Call
from einthoven.runtime.worker_pool import WorkerPool
from einthoven.server.answer_memory import AnswerMemory
from einthoven.server.function_checks import checked_host
from einthoven.server.function_host import FunctionHost, HostLimits, in_workers
from einthoven.server.function_serving import check_tls, refuse_open_host
from einthoven.server.slots import Slots
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.testing.function_hosts import (
    HOST_CHECKS,
    a_host,
    check_function_host,
    serving_host,
)

JSON = {"Content-Type": "application/json"}


def an_input(encoding: str = "json") -> bytes:
    samples = VirtualPatient(3, SCENES["healthy"]).read(0, 3750)[0].astype("int32")
    return encode(Asked(ecg=Ecg(samples=samples)), encoding)


class Function:
    """A function that ends when it is told to, and counts its calls."""

    def __init__(self, *, is_open: bool = False, breaks: str | None = None) -> None:
        self.calls = 0
        self.breaks = breaks
        self.began = threading.Semaphore(0)
        self._goes_on = threading.Event()
        if is_open:
            self._goes_on.set()

    async def __call__(self, _: Call) -> Answer:
        self.calls += 1
        self.began.release()
        await asyncio.to_thread(self._goes_on.wait)
        if self.breaks is not None:
            raise InvocationBroke(self.breaks, "the function broke: ValueError")
        return Answer(content=b'{"call": %d}' % self.calls, busy_s=0.25)

    def let_go(self) -> None:
        self._goes_on.set()


class Asking:
    """A host of one's own function, and who asks it."""

    def __init__(self, host: FunctionHost, function: Function, url: str) -> None:
        self.host = host
        self.function = function
        self.client = httpx.Client(base_url=url, timeout=20, trust_env=False)
        self.threads = ThreadPoolExecutor(32)

    def post(self, content: bytes = b"{}", name: str = "analysis", **headers: str) -> httpx.Response:
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        return self.client.post(f"/functions/{name}", content=content, headers={**JSON, **sent})

    def begin(self, content: bytes = b"{}", **headers: str) -> Any:
        return self.threads.submit(self.post, content, **headers)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.client.get(path, headers=headers)


@pytest.fixture
def asking(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Starts hosts; all of them end with the test, whatever their functions still do."""
    opened: list[Any] = []

    def start(function: Function | None = None, clock: Any = None, **more: Any) -> Asking:
        function = function or Function(is_open=True)
        tokens = more.pop("tokens", ())
        host = FunctionHost(
            Hosted(), function, clock or SystemClock(), limits=HostLimits(**more), tokens=tokens
        )
        serving = serving_host(host)
        asked = Asking(host, function, serving.__enter__())
        opened.append((asked, serving))
        return asked

    yield start
    for asked, serving in opened:
        asked.function.let_go()
        asked.client.close()
        asked.threads.shutdown()
        serving.__exit__(None, None, None)


def problem_of(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["status"] == answer.status_code
    assert said["title"]
    assert said["detail"]
    return answer.status_code, said["kind"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with a_host() as found:
        yield found


@pytest.mark.parametrize("check", HOST_CHECKS, ids=lambda check: check.__name__)
def test_our_own_host_keeps_the_contract(url: str, check: Any) -> None:
    check_function_host(url, check)


def test_it_keeps_the_contract_behind_a_token_and_in_processes() -> None:
    workers = WorkerPool(2)
    host = FunctionHost(
        Hosted(), in_workers(Hosted(), workers), SystemClock(), limits=HostLimits(slots=2), tokens=("a", "b")
    )
    with serving_host(host) as address:
        for check in HOST_CHECKS:
            check_function_host(address, check, "b")
    workers.close()


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_the_answer_is_what_the_function_gives_and_how_long_it_took(url: str, encoding: str) -> None:
    content = an_input(encoding)
    call = Call(function="analysis", content=content, encoding=encoding, key="", timeout_s=10.0)
    type_ = f"application/{encoding}"
    answer = httpx.post(
        f"{url}/functions/analysis", content=content, headers={"Content-Type": type_}, trust_env=False
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == type_
    assert answer.content == perform(Hosted(), call).content
    name, _, dur = answer.headers["server-timing"].partition(";dur=")
    assert name == "busy"
    assert 0 < float(dur) < 10_000


def test_what_it_has_is_what_hosted_says(url: str) -> None:
    said = httpx.get(f"{url}/functions", trust_env=False).json()
    assert [one["name"] for one in said["functions"]] == [one.name for one in Hosted().functions]
    assert (said["slots"], said["is_draining"]) == (1, False)


def test_its_document_names_each_function_and_each_status(url: str) -> None:
    said = httpx.get(f"{url}/openapi.json", trust_env=False).json()
    assert {f"/functions/{one.name}" for one in Hosted().functions} < set(said["paths"])
    post = said["paths"]["/functions/analysis"]["post"]
    assert set(post["responses"]) >= {"200", "400", "413", "415", "422", "429", "500", "503", "504"}


# -------------------------------------------------------------------- keys


def test_a_key_is_performed_once(asking: Any) -> None:
    asked = asking()
    first = asked.post(Idempotency_Key="run/a")
    again = asked.post(Idempotency_Key="run/a")
    assert asked.function.calls == 1
    assert first.content == again.content
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["server-timing"] == "busy;dur=250.000"
    assert asked.post(Idempotency_Key="run/b").content != first.content
    assert asked.post().content != asked.post().content


def test_a_key_that_is_under_way_is_joined(asking: Any) -> None:
    asked = asking(Function())
    going = [asked.begin(Idempotency_Key="k") for _ in range(5)]
    asked.function.began.acquire()
    asked.function.let_go()
    assert {one.result().content for one in going} == {b'{"call": 1}'}
    assert asked.function.calls == 1


def test_a_key_stands_for_one_content_of_one_function(asking: Any) -> None:
    asked = asking()
    asked.post(b'{"ecg": 1}', Idempotency_Key="k")
    assert problem_of(asked.post(b'{"ecg": 2}', Idempotency_Key="k")) == (422, "refused")
    assert asked.post(b'{"ecg": 2}', "postprocessing", Idempotency_Key="k").status_code == 200


def test_a_call_that_broke_is_performed_again(asking: Any) -> None:
    asked = asking(Function(is_open=True, breaks="function"))
    assert problem_of(asked.post(Idempotency_Key="k")) == (500, "function")
    asked.function.breaks = None
    assert asked.post(Idempotency_Key="k").status_code == 200


def test_an_answer_is_forgotten_after_its_time(asking: Any) -> None:
    clock = VirtualClock()
    asked = asking(clock=clock, remembered_s=60.0)
    asked.post(Idempotency_Key="k")
    clock.advance(59.0)
    asked.post(Idempotency_Key="k")
    assert asked.function.calls == 1
    clock.advance(2.0)
    asked.post(Idempotency_Key="k")
    assert asked.function.calls == 2


def test_memory_holds_no_more_bytes_than_it_may() -> None:
    async def kept(memory: AnswerMemory, key: str, size: int) -> Call:
        async def answered() -> Answer:
            return Answer(content=bytes(size), busy_s=0.0)

        call = Call(function="f", content=b"x", encoding="json", key=key, timeout_s=1.0)
        task = asyncio.ensure_future(answered())
        memory.keep(call, task)
        assert memory.find(call) is task
        await task
        await asyncio.sleep(0)
        return call

    async def run() -> None:
        memory = AnswerMemory(VirtualClock(), max_bytes=10_000, keep_s=60.0)
        calls = [await kept(memory, str(n), 3000) for n in range(5)]
        assert [memory.find(call) is not None for call in calls] == [False, False, False, True, True]
        too_large = await kept(memory, "large", 10_000)
        assert memory.find(too_large) is None
        assert memory.find(calls[-1]) is not None
        with pytest.raises(Conflict):
            memory.find(msgspec.structs.replace(calls[-1], content=b"y"))

    asyncio.run(run())


# -------------------------------------------------------------------- slots, time


def test_beyond_its_slots_it_lets_wait_and_then_sends_away(asking: Any) -> None:
    asked = asking(Function(), slots=2, wait_s=0.3)
    going = [asked.begin() for _ in range(2)]
    for _ in going:
        asked.function.began.acquire()
    away = asked.post()
    assert problem_of(away) == (429, "throttled")
    assert away.headers["retry-after"] == "1"
    waiting = asked.begin()
    asked.function.let_go()
    assert [one.result().status_code for one in (*going, waiting)] == [200] * 3
    assert asked.function.calls == 3


def test_not_too_many_wait(asking: Any) -> None:
    asked = asking(Function(), slots=1, waiting_max=1, wait_s=20.0)
    first = asked.begin()
    asked.function.began.acquire()
    second, third = asked.begin(), asked.begin()
    assert problem_of(next(as_completed((second, third))).result())[0] == 429
    asked.function.let_go()
    assert sorted(one.result().status_code for one in (first, second, third)) == [200, 200, 429]


def test_who_waits_longest_comes_first_and_who_left_holds_no_slot() -> None:
    async def run() -> None:
        slots = Slots(1, 8)
        await slots.take(1.0)
        order: list[int] = []

        async def taking(number: int) -> None:
            await slots.take(5.0)
            order.append(number)

        tasks = [asyncio.ensure_future(taking(n)) for n in range(4)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.sleep(0)
        slots.give()
        tasks[2].cancel()
        await asyncio.sleep(0)
        slots.give()
        slots.give()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert order == [0, 3]
        await slots.take(0.0)
        with pytest.raises(Overloaded):
            await slots.take(0.01)

    asyncio.run(run())


def test_a_call_that_takes_too_long_is_told_so_and_holds_its_slot(asking: Any) -> None:
    asked = asking(Function(), wait_s=0.05)
    late = asked.post(X_Timeout_S="0.2", Idempotency_Key="k")
    assert problem_of(late) == (504, "timeout")
    assert problem_of(asked.post())[0] == 429
    again = asked.begin(Idempotency_Key="k")
    asked.function.let_go()
    assert again.result().content == b'{"call": 1}'
    assert asked.function.calls == 1


def test_nobody_is_given_more_time_than_the_host_allows(asking: Any) -> None:
    asked = asking(Function(), timeout_max_s=0.1)
    assert problem_of(asked.post()) == (504, "timeout")


# -------------------------------------------------------------------- the end


def test_draining_it_finishes_what_it_has_and_takes_nothing_new(asking: Any) -> None:
    asked = asking(Function())
    assert asked.get("/readyz").status_code == 200
    going = asked.begin()
    asked.function.began.acquire()
    asked.host.drain()
    refused = asked.post()
    assert problem_of(refused) == (503, "throttled")
    assert refused.headers["retry-after"] == "1"
    assert problem_of(asked.get("/readyz"))[0] == 503
    assert asked.get("/healthz").status_code == 200
    assert asked.get("/functions").json()["is_draining"] is True
    asked.function.let_go()
    assert going.result().status_code == 200


def test_it_is_ready_when_it_is_warm(asking: Any) -> None:
    asked = asking()
    began, warm = threading.Event(), threading.Event()

    async def warming() -> None:
        began.set()
        await asyncio.to_thread(warm.wait)

    going = asked.threads.submit(lambda: asyncio.run(asked.host.warm_up(warming())))
    began.wait()
    assert problem_of(asked.get("/readyz"))[0] == 503
    warm.set()
    going.result()
    assert asked.get("/readyz").status_code == 200


# -------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Encoding": "gzip"}, 415),
        ({"Idempotency-Key": "k" * 513}, 400),
        ({"X-Timeout-S": "soon"}, 400),
        ({"X-Timeout-S": "nan"}, 400),
        ({"X-Timeout-S": "-1"}, 400),
        ({"Content-Type": "Application/JSON; charset=utf-8"}, 200),
    ],
)
def test_each_header_that_is_wrong_has_its_status(asking: Any, headers: dict[str, str], status: int) -> None:
    asked = asking()
    answer = asked.client.post("/functions/analysis", content=b"{}", headers={**JSON, **headers})
    assert answer.status_code == status
    if status != 200:
        problem_of(answer)
        assert asked.function.calls == 0


def test_paths_and_methods_that_there_are_not(asking: Any) -> None:
    asked = asking()
    assert problem_of(asked.get("/nothing"))[0] == 404
    assert problem_of(asked.post(name="nothing"))[0] == 404
    answer = asked.get("/functions/analysis")
    assert problem_of(answer)[0] == 405
    assert answer.headers["allow"] == "POST"
    assert asked.client.post("/readyz").status_code == 405


def test_a_body_that_is_too_large_is_not_read(asking: Any) -> None:
    """Whether it says its length or not; the connection goes on."""
    asked = asking(body_max_bytes=100_000)
    assert problem_of(asked.post(b" " * 100_001)) == (413, "payload")

    def pieces() -> Iterator[bytes]:
        for _ in range(30):
            yield b" " * 10_000

    assert problem_of(asked.client.post("/functions/analysis", content=pieces(), headers=JSON))[0] == 413
    assert asked.post(b" " * 100_000).status_code == 200


def test_all_bodies_together_are_bounded(asking: Any) -> None:
    asked = asking(Function(), slots=8, body_max_bytes=100_000, bodies_max_bytes=150_000)
    going = asked.begin(b" " * 100_000)
    asked.function.began.acquire()
    assert problem_of(asked.post(b" " * 100_000)) == (429, "throttled")
    asked.function.let_go()
    assert going.result().status_code == 200
    assert asked.post(b" " * 100_000).status_code == 200


def test_a_body_that_does_not_come_is_not_waited_for(asking: Any) -> None:
    asked = asking(body_s=0.2)

    def pieces() -> Iterator[bytes]:
        yield b"{"
        threading.Event().wait(0.6)
        yield b"}"

    answer = asked.client.post("/functions/analysis", content=pieces(), headers=JSON)
    assert problem_of(answer)[0] == 408


@pytest.mark.parametrize(
    ("kind", "status"), [("refused", 422), ("server", 502), ("function", 500), ("payload", 413)]
)
def test_each_way_to_break_has_its_status(asking: Any, kind: str, status: int) -> None:
    asked = asking(Function(is_open=True, breaks=kind))
    assert problem_of(asked.post()) == (status, kind)


def test_a_content_that_is_none_and_one_that_is_not_wanted_are_told_apart(url: str) -> None:
    for content, status in ((b'{"ecg": [', 400), (b'{"ecg": []}', 422), (b"{}", 422), (b"[]", 422)):
        answer = httpx.post(f"{url}/functions/analysis", content=content, headers=JSON, trust_env=False)
        assert problem_of(answer) == (status, "refused")


def test_no_value_is_in_what_it_says(url: str) -> None:
    content = json.dumps({"ecg": {"patientId": "secret-7", "samples": [123454321, "secret-8"]}}).encode()
    answer = httpx.post(f"{url}/functions/analysis", content=content, headers=JSON, trust_env=False)
    assert answer.status_code == 422
    for word in ("secret", "123454321"):
        assert word not in answer.text


# -------------------------------------------------------------------- who may call


def test_without_one_of_its_tokens_nobody_calls(asking: Any) -> None:
    asked = asking(tokens=("one", "two"))
    for headers in ({}, {"Authorization": "Bearer three"}, {"Authorization": "one"}):
        answer = asked.post(**headers)
        assert problem_of(answer) == (401, "refused")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert asked.get("/functions", **headers).status_code == 401
    for token in ("one", "two"):
        assert asked.post(Authorization=f"Bearer {token}").status_code == 200
    assert asked.get("/healthz").status_code == asked.get("/readyz").status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "ward.example"])  # noqa: S104 - refused
def test_nobody_from_elsewhere_calls_without_a_token(host: str) -> None:
    with pytest.raises(InputInvalid, match="by anybody"):
        refuse_open_host(host, has_tokens=False, allows_anonymous=False)
    refuse_open_host(host, has_tokens=True, allows_anonymous=False)
    refuse_open_host(host, has_tokens=False, allows_anonymous=True)
    refuse_open_host("127.0.0.1", has_tokens=False, allows_anonymous=False)


# -------------------------------------------------------------------- what it counts


def counted(asked: Asking) -> dict[tuple[str, ...], float]:
    text = asked.get("/metrics")
    assert text.headers["content-type"].startswith("text/plain")
    return {
        (one.name, *one.labels.values()): one.value
        for family in text_string_to_metric_families(text.text)
        for one in family.samples
        if not one.name.endswith(("_bucket", "_created"))
    }


def test_it_counts_calls_by_function_and_by_what_became_of_them(asking: Any) -> None:
    asked = asking(slots=3)
    asked.post(Idempotency_Key="k")
    asked.post(Idempotency_Key="k")
    asked.post(name="postprocessing")
    asked.post(name="somebody-4711")
    asked.post(name="analysis+finalization")
    asked.post(X_Timeout_S="soon")
    asked.function.breaks = "function"
    asked.post()
    found = counted(asked)
    calls = {key[1:]: value for key, value in found.items() if key[0] == "einthoven_function_calls_total"}
    assert calls == {
        ("analysis", "answered"): 1,
        ("analysis", "replayed"): 1,
        ("analysis", "refused"): 1,
        ("analysis", "function"): 1,
        ("postprocessing", "answered"): 1,
        ("unknown", "refused"): 1,
        ("fused", "answered"): 1,
    }
    assert found["einthoven_function_seconds_count", "analysis"] == 1
    assert found["einthoven_function_seconds_sum", "analysis"] == pytest.approx(0.25)
    assert (found["einthoven_function_slots",], found["einthoven_function_slots_busy",]) == (3, 0)
    assert "4711" not in asked.get("/metrics").text


def test_it_says_how_many_of_its_slots_are_taken(asking: Any) -> None:
    asked = asking(Function(), slots=2, wait_s=0.05)
    going = asked.begin()
    asked.function.began.acquire()
    assert counted(asked)["einthoven_function_slots_busy",] == 1
    asked.function.let_go()
    going.result()
    assert counted(asked)["einthoven_function_slots_busy",] == 0


# -------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def authority() -> Any:
    return trustme.CA()


@pytest.fixture(scope="module")
def certificate(authority: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """Files of the authority, of a certificate for this machine, and of its key."""
    folder = tmp_path_factory.mktemp("tls")
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(str(folder / "own.pem"), append=number > 0)
    issued.private_key_pem.write_to_path(str(folder / "own.key"))
    return str(folder / "ca.pem"), str(folder / "own.pem"), str(folder / "own.key")


@pytest.fixture(scope="module")
def secret(certificate: tuple[str, str, str]) -> Iterator[str]:
    workers = WorkerPool(1)
    host = FunctionHost(Hosted(), in_workers(Hosted(), workers), SystemClock(), tokens=("a",))
    with serving_host(host, certificate[1:]) as url:
        yield url
    workers.close()


def invoked(url: str, **more: Any) -> bytes:
    async def run() -> bytes:
        region = HttpRegion(url, token="a", **more)  # noqa: S106 - of a test
        try:
            call = Call(function="analysis", content=an_input(), encoding="json", key="", timeout_s=10.0)
            await region.probe()
            return (await region.invoke(call)).content
        finally:
            await region.close()

    return asyncio.run(run())


def test_with_a_certificate_it_keeps_the_contract_over_tls(secret: str, certificate: Any) -> None:
    assert secret.startswith("https://")

    async def run() -> list[Any]:
        _, found = await checked_host(secret, "a", ca=certificate[0])
        return found

    outcomes = {one.name: one.outcome for one in asyncio.run(run())}
    assert set(outcomes.values()) == {"passed"}, outcomes


def test_whoever_trusts_its_authority_is_answered_and_nobody_else_asks(
    secret: str, certificate: Any, tmp_path: Path
) -> None:
    expected = perform(
        Hosted(), Call(function="analysis", content=an_input(), encoding="json", key="", timeout_s=10.0)
    )
    assert invoked(secret, ca_file=certificate[0]) == expected.content
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    for ca_file in (str(other), None):
        with pytest.raises(InvocationBroke) as caught:
            invoked(secret, ca_file=ca_file)
        assert caught.value.kind == "transport"
    for file in (tmp_path / "nothing.pem", tmp_path):
        with pytest.raises(InputInvalid):
            HttpRegion(secret, ca_file=str(file))
    region = Region(name="a", kind="http", address=secret, ca_file=str(tmp_path / "nothing.pem"))
    with pytest.raises(InputInvalid):
        reached(region)


@pytest.mark.parametrize(
    ("version", "is_spoken"),
    [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)],
)
def test_nothing_older_than_tls_1_2_is_spoken(
    secret: str, certificate: Any, version: ssl.TLSVersion, is_spoken: bool
) -> None:
    context = ssl.create_default_context(cafile=certificate[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    port = int(secret.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
        if is_spoken:
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as spoken:
                assert spoken.version() == version.name.replace("v1_", "v1.")
        else:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_a_certificate_that_does_not_fit_is_said_before_anything_listens(certificate: Any) -> None:
    check_tls(*certificate[1:])
    for pair in (
        (certificate[1], certificate[1]),
        (certificate[0], certificate[2]),
        (certificate[2], "/nothing"),
    ):
        with pytest.raises(InputInvalid, match="cannot be used together"):
            check_tls(*pair)
