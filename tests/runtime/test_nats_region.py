"""A region over real NATS servers: members share, die, drain and come back, and no call is lost."""

import asyncio
import base64
import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import msgspec
import nats
import nkeys
import pytest
import trustme

from einthoven.clock import SystemClock
from einthoven.errors import InputInvalid
from einthoven.records import write_recording
from einthoven.runtime.conducting import Conductor, FunctionUnknown, InProcess, InvocationBroke, Invoker
from einthoven.runtime.ecg_functions import ecg_functions, holding
from einthoven.runtime.hosted import Hosted, perform
from einthoven.runtime.local_regions import InlineRegion, PoolRegion
from einthoven.runtime.nats_host import NatsHost
from einthoven.runtime.nats_link import NatsLink
from einthoven.runtime.nats_region import NatsRegion
from einthoven.runtime.region_invoker import RegionInvoker
from einthoven.runtime.region_port import Answer, Call, RegionPort
from einthoven.runtime.run_sessions import shipped
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.testing.loop import in_loop
from einthoven.testing.regions import REGION_CHECKS, a_call, a_slow_call
from einthoven.workflow import Done, Execution, check_text, compile_workflow
from einthoven.workflow.fusion import fuse

HOST = """
import sys
from einthoven.runtime.hosted import Hosted
from einthoven.runtime.nats_host import serve_over_nats
from einthoven.runtime.nats_link import NatsLink

serve_over_nats(
    "icu",
    NatsLink(servers=(sys.argv[1],)),
    Hosted(),
    workers=int(sys.argv[2]),
    ready=lambda: print("ready", flush=True),
)
"""


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def a_server(folder: Path, port: int, more: str = "") -> Iterator[subprocess.Popen[bytes]]:
    program = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which(
        "nats-server"
    )
    if program is None:
        pytest.skip("no nats-server; install the test extra")
    conf = folder / f"{port}.conf"
    conf.write_text(f'host: "127.0.0.1"\nport: {port}\nserver_name: "s{port}"\n{more}\n')
    log = folder / f"{port}.log"
    process = subprocess.Popen([program, "-c", str(conf), "-l", str(log)])
    try:
        for _ in range(500):
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.01)
        yield process
    finally:
        process.kill()
        process.wait(10)


@contextmanager
def a_host(port: int, workers: int = 1) -> Iterator[subprocess.Popen[str]]:
    program = [sys.executable, "-c", HOST, url_of(port), str(workers)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def url_of(port: int) -> str:
    return f"nats://127.0.0.1:{port}"


def link_to(*ports: int) -> NatsLink:
    return NatsLink(servers=tuple(url_of(port) for port in ports))


@asynccontextmanager
async def a_region(*ports: int, **how) -> AsyncIterator[NatsRegion]:
    region = NatsRegion("icu", link_to(*ports), **how)
    try:
        yield region
    finally:
        await region.close()


@asynccontextmanager
async def an_own_host(port: int, inner: RegionPort, **how) -> AsyncIterator[NatsHost]:
    host = NatsHost("icu", link_to(port), inner, **how)
    await host.start()
    try:
        yield host
    finally:
        await host.stop()


class Counting(InlineRegion):
    """It counts what it is asked, and takes its time."""

    def __init__(self, pause_s: float = 0.0) -> None:
        super().__init__(Hosted())
        self.pause_s = pause_s
        self.calls = 0

    async def invoke(self, call: Call) -> Answer:
        self.calls += 1
        await asyncio.sleep(self.pause_s)
        return await super().invoke(call)


async def refused(region: RegionPort, call: Call) -> InvocationBroke:
    with pytest.raises(InvocationBroke) as caught:
        await region.invoke(call)
    return caught.value


async def until_there(region: RegionPort, slots: int) -> None:
    """Gateways need a moment to know of each other."""
    until_s = time.monotonic() + 20
    while time.monotonic() < until_s:
        with suppress(InvocationBroke):
            if (await region.probe()).slots == slots:
                return
    raise AssertionError("the members do not find each other")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server with one member, of one thread."""
    (port,) = free_ports(1)
    with a_server(tmp_path_factory.mktemp("nats"), port), a_host(port):
        yield port


@pytest.fixture
def server(tmp_path: Path) -> Iterator[int]:
    """A server alone."""
    (port,) = free_ports(1)
    with a_server(tmp_path, port):
        yield port


@pytest.mark.parametrize("check", REGION_CHECKS, ids=lambda check: check.__name__)
@in_loop
async def test_a_region_over_nats_keeps_the_promises(served: int, check) -> None:
    await check(lambda: a_region(served))


def test_two_processes_share_the_work(tmp_path: Path) -> None:
    port, monitored = free_ports(2)

    @in_loop
    async def asked() -> None:
        async with a_region(port) as region:
            assert (await region.probe()).slots == 2
            answers = await asyncio.gather(*(region.invoke(a_call(seed)) for seed in range(60)))
            for seed, answer in enumerate(answers):
                assert answer.content == perform(Hosted(), a_call(seed)).content

    with a_server(tmp_path, port, f"http: 127.0.0.1:{monitored}"), a_host(port), a_host(port):
        asked()
        with urllib.request.urlopen(f"http://127.0.0.1:{monitored}/connz") as answer:
            connections = json.load(answer)["connections"]
        had = [one["out_bytes"] for one in connections if one["name"] == "einthoven-host-icu"]
    assert len(had) == 2
    assert min(had) > 10 * 15_000


def test_killing_a_member_under_flow_loses_nothing_and_answers_nothing_twice(server: int) -> None:
    count, at_once = 400, 16

    @in_loop
    async def flow() -> None:
        async with a_region(server, patience_s=0.5) as region:
            answers: dict[int, list[bytes]] = {}
            numbers = iter(range(count))

            async def ask() -> None:
                for number in numbers:
                    if number == count // 3:
                        victim.kill()
                    answer = await region.invoke(a_call(number % 20))
                    answers.setdefault(number, []).append(answer.content)

            await asyncio.gather(*(ask() for _ in range(at_once)))
            assert (await region.probe()).slots == 1
        assert sorted(answers) == list(range(count))
        expected = [perform(Hosted(), a_call(seed)).content for seed in range(20)]
        assert all(answers[number] == [expected[number % 20]] for number in range(count))

    with a_host(server) as victim, a_host(server):
        flow()


def test_members_nearby_are_preferred_and_others_serve_when_they_are_gone(tmp_path: Path) -> None:
    east, west, *gates = free_ports(4)
    both = ", ".join(
        f'{{name: {name}, url: "nats://127.0.0.1:{gate}"}}'
        for name, gate in zip(("east", "west"), gates, strict=True)
    )

    def gateway(name: str, gate: int) -> str:
        return f'gateway {{ name: {name}, host: "127.0.0.1", port: {gate}, gateways: [{both}] }}'

    @in_loop
    async def asked() -> None:
        near, far = Counting(), Counting()
        async with an_own_host(west, far), a_region(east, patience_s=0.3) as region:
            await until_there(region, 1)
            async with an_own_host(east, near):
                await until_there(region, 2)
                for seed in range(50):
                    await region.invoke(a_call(seed))
                assert (near.calls, far.calls) == (50, 0)
            began_s = time.perf_counter()
            answer = await region.invoke(a_call(99))
            took_s = [time.perf_counter() - began_s]
            assert answer.content == perform(Hosted(), a_call(99)).content
            assert far.calls == 1
            with a_host(east) as process:
                await until_there(region, 2)
                process.send_signal(signal.SIGSTOP)
                under_way = [asyncio.ensure_future(region.invoke(a_call(n))) for n in range(4)]
                await asyncio.sleep(0.02)
                process.kill()
                began_s = time.perf_counter()
                await asyncio.gather(*under_way)
                took_s.append(time.perf_counter() - began_s)
            assert far.calls == 5
            async with a_region(east, west) as other:
                before = far.calls
                await other.invoke(a_call(1))
                server.kill()
                began_s = time.perf_counter()
                await other.invoke(a_call(2))
                took_s.append(time.perf_counter() - began_s)
                assert far.calls == before + 2
        assert max(took_s) < 1

    with (
        a_server(tmp_path, east, gateway("east", gates[0])) as server,
        a_server(tmp_path, west, gateway("west", gates[1])),
    ):
        asked()


@in_loop
async def test_a_function_that_some_members_have_is_called_there(server: int, tmp_path: Path) -> None:
    more = InlineRegion(Hosted(store=tmp_path.as_uri()))
    async with an_own_host(server, InlineRegion(Hosted())), a_region(server) as region:
        call = msgspec.structs.replace(
            a_call(1, function="countHours"), content=msgspec.msgpack.encode({"ecgDataFilePath": "/none"})
        )
        assert "nobody here knows" in (await refused(region, call)).message
        async with an_own_host(server, more):
            await until_there(region, 2)
            assert "countHours" in {one.name for one in (await region.probe()).functions}
            for _ in range(10):
                broke = await refused(region, msgspec.structs.replace(call, key=uuid4().hex))
                assert broke.kind == "refused"
                assert "nobody here knows" not in broke.message


@in_loop
async def test_a_fused_call_goes_to_a_member_that_has_all_of_its_functions(
    server: int, tmp_path: Path
) -> None:
    """It is named by all of them, which is no subject; a workflow is the one that this process performs."""
    path = tmp_path / "long"
    write_recording(path, VirtualPatient(3, SCENES["healthy"], fs=125.0, duration_s=1200.0))
    here, there = tmp_path / "here", tmp_path / "there"
    program = fuse(compile_workflow(check_text(shipped("ecg-batch"))), lambda *_: "there")

    async def performed(invoker: Invoker) -> object:
        execution = Execution(program, "r", {"ecgDataFilePath": str(path)})
        return await Conductor(invoker, slots=2, clock=SystemClock()).run(execution)

    expected = await performed(InProcess(ecg_functions(str(here), 600.0), holding=holding(str(here))))
    assert isinstance(expected, Done)
    async with (
        an_own_host(server, InlineRegion(Hosted(store=str(there), chunk_s=600.0))),
        a_region(server) as region,
    ):
        assert await performed(RegionInvoker(region, 30.0)) == expected
        for name in ("split+nobody", "nobody+split"):
            with pytest.raises(FunctionUnknown):
                await region.invoke(a_call(1, function=name))


@in_loop
async def test_a_member_may_begin_before_its_server_and_end_without_it(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    for is_there in (True, False):
        host = NatsHost("icu", link_to(port), InlineRegion(Hosted()))
        starting = asyncio.ensure_future(host.start())
        await asyncio.sleep(0.1)
        assert not starting.done()
        with ExitStack() as server:
            if is_there:
                server.enter_context(a_server(tmp_path, port))
                await asyncio.wait_for(starting, 5)
                async with a_region(port) as region:
                    await region.invoke(a_call(1))
            await asyncio.wait_for(host.stop(), 5)
        assert (await asyncio.gather(starting, return_exceptions=True)) is not None
        assert starting.done()


def test_after_its_server_was_restarted_a_region_goes_on(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with ExitStack() as hosts:

        @in_loop
        async def asked() -> None:
            async with a_region(port, patience_s=0.3) as region:
                for _ in range(3):
                    with a_server(tmp_path, port):
                        if not begun:
                            begun.append(hosts.enter_context(a_host(port)))
                        until_s = time.monotonic() + 10
                        while True:
                            try:
                                answer = await region.invoke(a_call(1))
                                break
                            except InvocationBroke as broke:
                                assert broke.kind == "transport", broke
                                assert time.monotonic() < until_s
                        assert answer.content == perform(Hosted(), a_call(1)).content
                    began_s = time.monotonic()
                    assert (await refused(region, a_call(2))).kind == "transport"
                    assert time.monotonic() - began_s < 2

        begun: list[object] = []
        asked()


def test_a_call_that_is_under_way_survives_a_restart_of_the_server(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    slow = Counting(0.5)

    @in_loop
    async def asked() -> None:
        with ExitStack() as first:
            first.enter_context(a_server(tmp_path, port))
            async with an_own_host(port, slow), a_region(port) as region:
                call = a_call(3)
                task = asyncio.ensure_future(region.invoke(call))
                while slow.calls == 0:
                    await asyncio.sleep(0.01)
                first.close()
                with a_server(tmp_path, port):
                    assert (await task).content == perform(Hosted(), call).content
        assert slow.calls == 1

    asked()


def test_a_member_that_drains_finishes_what_it_has(server: int) -> None:
    @in_loop
    async def asked() -> None:
        async with a_region(server) as region:
            await region.invoke(a_slow_call())
            calls = [a_slow_call() for _ in range(12)]
            under_way = [asyncio.ensure_future(region.invoke(call)) for call in calls]
            await asyncio.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.1)
            assert (await region.probe()).is_draining
            contents = {answer.content for answer in await asyncio.gather(*under_way)}
            assert contents == {perform(Hosted(), calls[0]).content}
            assert await asyncio.to_thread(process.wait, 10) == 0
            broke = await refused(region, a_call(1))
            assert (broke.kind, broke.message) == ("transport", "no member of the region is there")

    with a_host(server) as process:
        asked()


def test_members_that_are_replaced_one_by_one_are_not_noticed(server: int) -> None:
    @in_loop
    async def flow() -> None:
        async with a_region(server) as region:
            is_over = False
            count = 0

            async def ask(seed: int) -> None:
                nonlocal count
                while not is_over:
                    assert (await region.invoke(a_call(seed))).content == expected[seed]
                    count += 1
                    await asyncio.sleep(0.01)

            expected = [perform(Hosted(), a_call(seed)).content for seed in range(4)]
            asking = [asyncio.ensure_future(ask(seed)) for seed in range(4)]
            for old in members[:2]:
                await asyncio.sleep(0.2)
                members.append(await asyncio.to_thread(hosts.enter_context, a_host(server)))
                old.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(old.wait, 10) == 0
            is_over = True
            await asyncio.gather(*asking)
            assert count > 50

    with ExitStack() as hosts:
        members = [hosts.enter_context(a_host(server)) for _ in range(2)]
        flow()


@in_loop
async def test_a_worker_of_a_member_that_is_killed_costs_no_call(server: int) -> None:
    inner = PoolRegion(Hosted(), 2)
    async with an_own_host(server, inner), a_region(server) as region:
        await inner.warm()
        calls = [a_slow_call() for _ in range(8)]
        under_way = [asyncio.ensure_future(region.invoke(call)) for call in calls]
        await asyncio.sleep(0.08)
        os.kill(min(child.pid for child in multiprocessing.active_children()), signal.SIGKILL)
        contents = {answer.content for answer in await asyncio.gather(*under_way)}
    assert contents == {perform(Hosted(), calls[0]).content}


@in_loop
async def test_messages_that_are_no_calls_do_no_harm(server: int) -> None:
    async with an_own_host(server, InlineRegion(Hosted())), a_region(server) as region:
        client = await nats.connect(url_of(server))
        subject = "einthoven.functions.icu.call.analysis"
        good = {"Idempotency-Key": "k", "Einthoven-Encoding": "json", "Einthoven-Timeout-Ms": "1000"}
        for name in good:
            for value in ("", "x", "-1", "9" * 5000, "\u0663", "%ff%00"):
                answer = await client.request(subject, b"{}", headers={**good, name: value})
                assert "Einthoven-Error" in answer.headers
        assert (await client.request(subject, b"{}")).headers["Einthoven-Error"] == "refused"
        await client.publish(subject, b"{}")
        await client.publish("einthoven.functions.icu.info", b"nobody is to answer")
        await client.close()
        assert (await region.invoke(a_call(1))).content == perform(Hosted(), a_call(1)).content


@in_loop
async def test_a_full_member_says_so_and_takes_no_more(server: int) -> None:
    inner = Counting(2.0)
    async with an_own_host(server, inner, waiting=2), a_region(server) as region:
        ended = await asyncio.gather(*(region.invoke(a_call(n)) for n in range(20)), return_exceptions=True)
    broke = [one for one in ended if isinstance(one, InvocationBroke)]
    assert {one.kind for one in broke} == {"throttled"}
    assert all(one.retry_after_s is not None for one in broke)
    assert inner.calls == len(ended) - len(broke)
    assert 3 <= inner.calls < 20


@in_loop
async def test_what_comes_again_is_not_performed_again(server: int) -> None:
    inner = Counting(0.2)
    call = a_call(1)
    async with an_own_host(server, inner), a_region(server) as one, a_region(server) as other:
        answers = await asyncio.gather(*(region.invoke(call) for region in (one, other, one)))
        answers.append(await other.invoke(call))
        assert inner.calls == 1
        assert {answer.content for answer in answers} == {perform(Hosted(), call).content}
        await one.invoke(a_call(2, key=call.key))
        assert inner.calls == 2


@in_loop
async def test_only_so_much_is_remembered(server: int) -> None:
    inner = Counting()
    calls = [a_call(seed) for seed in range(3)]
    most = 2 * 512 + 2 * max(len(perform(Hosted(), call).content) for call in calls)
    async with an_own_host(server, inner, remembered_max_bytes=most), a_region(server) as region:
        for call in (*calls, calls[2], calls[1], calls[0]):
            await region.invoke(call)
        assert inner.calls == 4
    inner = Counting()
    async with an_own_host(server, inner, remembered_s=0.05), a_region(server) as region:
        await region.invoke(calls[0])
        await region.invoke(calls[0])
        await asyncio.sleep(0.1)
        await region.invoke(calls[0])
        assert inner.calls == 2


@in_loop
async def test_a_long_call_is_not_sent_to_another_while_somebody_works_on_it(server: int) -> None:
    both = Counting(1.5), Counting(1.5)
    async with (
        an_own_host(server, both[0]),
        an_own_host(server, both[1]),
        a_region(server, patience_s=0.6) as region,
    ):
        await region.invoke(a_call(1))
    assert sum(one.calls for one in both) == 1


@in_loop
async def test_whoever_joins_a_call_has_his_own_time(server: int) -> None:
    inner = PoolRegion(Hosted(), 1)
    async with an_own_host(server, inner), a_region(server) as region:
        await region.invoke(a_slow_call())
        call = a_slow_call()
        short = asyncio.ensure_future(region.invoke(msgspec.structs.replace(call, timeout_s=0.02)))
        await asyncio.sleep(0.005)
        answer = await region.invoke(call)
        assert answer.content == perform(Hosted(), call).content
        with pytest.raises(InvocationBroke, match="no answer within"):
            await short


@in_loop
async def test_what_is_too_large_is_to_go_by_reference(served: int) -> None:
    async with a_region(served) as region:
        call = a_call(1, duration_s=4000.0)
        there = await refused(region, call)
        back = await refused(region, msgspec.structs.replace(a_slow_call(), function="preprocessing"))
    for broke in (there, back):
        assert broke.kind == "payload"
        assert "by reference" in broke.message


@in_loop
async def test_without_a_server_it_breaks_soon_and_tells_no_secret() -> None:
    (port,) = free_ports(1)
    link = NatsLink(servers=(f"nats://somebody:geheim@127.0.0.1:{port}",))
    region = NatsRegion("icu", link, patience_s=0.2)
    for _ in range(2):
        broke = await refused(region, a_call(1))
        assert broke.kind == "transport"
        assert str(port) in broke.message
        assert "geheim" not in broke.message + repr(link)
    await region.close()


def test_a_server_that_knows_nobody_is_no_server(tmp_path: Path) -> None:
    (port,) = free_ports(1)

    @in_loop
    async def asked() -> None:
        async with a_region(port, patience_s=0.3) as stranger:
            assert (await refused(stranger, a_call(1))).kind == "transport"
        known = NatsLink(servers=(f"nats://me:secret@127.0.0.1:{port}",))
        host = NatsHost("icu", known, InlineRegion(Hosted()))
        region = NatsRegion("icu", known)
        await host.start()
        assert (await region.invoke(a_call(1))).content == perform(Hosted(), a_call(1)).content
        await region.close()
        await host.stop()

    with a_server(tmp_path, port, "authorization { user: me, password: secret }"):
        asked()


def signed(by: nkeys.KeyPair, subject: str, claims: dict[str, object]) -> str:
    """A token of NATS' decentralised authorisation."""

    def part(content: bytes) -> str:
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

    said = {
        "jti": subject,
        "iat": 1_700_000_000,
        "iss": by.public_key.decode(),
        "name": "test",
        "sub": subject,
        "nats": {"version": 2, **claims},
    }
    head = part(json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}).encode())
    body = part(json.dumps(said).encode())
    return f"{head}.{body}.{part(by.sign(f'{head}.{body}'.encode()))}"


def a_key(prefix: int) -> nkeys.KeyPair:
    return nkeys.from_seed(nkeys.encode_seed(os.urandom(32), prefix))


def test_a_credentials_file_opens_what_is_closed_to_others(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    operator, account, user = (
        a_key(kind)
        for kind in (nkeys.PREFIX_BYTE_OPERATOR, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_USER)
    )
    names = [one.public_key.decode() for one in (operator, account, user)]
    unlimited = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
    of_account = signed(operator, names[1], {"type": "account", "limits": {**unlimited, "wildcards": True}})
    may = {"pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1, "type": "user"}
    of_user = signed(account, names[2], may)
    path = tmp_path / "user.creds"
    path.write_text(
        f"-----BEGIN NATS USER JWT-----\n{of_user}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
    )
    more = (
        f"operator: {signed(operator, names[0], {'type': 'operator'})}\n"
        f"resolver: MEMORY\nresolver_preload {{ {names[1]}: {of_account} }}"
    )

    @in_loop
    async def asked() -> None:
        known = NatsLink(servers=(url_of(port),), credentials=str(path))
        host = NatsHost("icu", known, InlineRegion(Hosted()))
        await host.start()
        region = NatsRegion("icu", known)
        assert (await region.invoke(a_call(1))).content == perform(Hosted(), a_call(1)).content
        await region.close()
        await host.stop()
        lost = msgspec.structs.replace(known, credentials=str(tmp_path / "none"))
        for link in (link_to(port), lost):
            stranger = NatsRegion("icu", link, patience_s=0.3)
            assert (await refused(stranger, a_call(1))).kind == "transport"
            await stranger.close()
        with pytest.raises(InputInvalid, match="credentials file"):
            await NatsHost("icu", lost, InlineRegion(Hosted())).start()

    with a_server(tmp_path, port, more):
        asked()


def test_with_tls_a_server_without_it_is_not_spoken_to(tmp_path: Path, server: int) -> None:
    (port,) = free_ports(1)
    authority = trustme.CA()
    ca = str(tmp_path / "ca.pem")
    authority.cert_pem.write_to_path(ca)
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    more = f'tls {{ cert_file: "{tmp_path}/cert.pem", key_file: "{tmp_path}/key.pem" }}'

    @in_loop
    async def asked() -> None:
        link = NatsLink(servers=(f"tls://127.0.0.1:{port}",), ca=ca)
        host = NatsHost("icu", link, InlineRegion(Hosted()))
        await host.start()
        region = NatsRegion("icu", link)
        assert (await region.invoke(a_call(1))).content == perform(Hosted(), a_call(1)).content
        await region.close()
        await host.stop()
        for wrong in (
            NatsLink(servers=(url_of(server),), ca=ca),
            NatsLink(servers=(f"tls://127.0.0.1:{port}",)),
        ):
            region = NatsRegion("icu", wrong, patience_s=0.3)
            assert (await refused(region, a_call(1))).kind == "transport"
            await region.close()

    with a_server(tmp_path, port, more):
        asked()


def test_addresses_and_names_that_are_none_are_told_at_once() -> None:
    for servers in ((), ("",), ("http://x",), ("nats://",), ("nats://x:abc",)):
        with pytest.raises(InputInvalid):
            NatsLink(servers=servers)
    with pytest.raises(InputInvalid, match="go together"):
        NatsLink(servers=("nats://x",), certificate="x")
    for name in ("", "a b", "a.b", ">", "ä"):
        with pytest.raises(InputInvalid):
            NatsRegion(name, link_to(1))


def test_without_the_extra_it_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules['nats'] = None\n"
        "from einthoven.runtime.nats_link import NatsLink\n"
        "from einthoven.runtime.nats_region import NatsRegion\n"
        "try: NatsRegion('icu', NatsLink(servers=('nats://x',)))\n"
        "except Exception as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "pip install 'einthoven[nats]'" in done.stdout
