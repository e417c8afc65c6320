"""Nodes, their site manager and what they run as real processes over a real NATS server."""

import asyncio
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from einthoven.cli import run
from einthoven.runtime.conducting import InvocationBroke
from einthoven.runtime.nats_link import NatsLink
from einthoven.runtime.nats_region import NatsRegion
from einthoven.runtime.site_office import SiteStatus, read_state
from einthoven.server.settings import Settings
from einthoven.server.site_managing import SiteManaging
from einthoven.storage import open_database
from einthoven.storage.sites import read_site
from einthoven.testing.regions import a_call

PATIENCE_S = 40.0
"""A busy machine takes its time."""
PROGRAM = """
import os, signal, socket, sys, time
from pathlib import Path

VERSION = {version!r}
if VERSION.startswith("broken"):
    sys.exit(3)
notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

def tell(what):
    try:
        notices.sendto(what, os.environ["NOTIFY_SOCKET"])
    except OSError:
        pass

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("pid", os.getpid(), VERSION, flush=True)
tell(b"READY=1")
while True:
    time.sleep(0.3)
    tell(b"WATCHDOG=1")
"""


def eventually(what: Callable[[], object], says: str = "it does not come about") -> float:
    """Wait until something is so; how long that took."""
    began_s = time.monotonic()
    while not what():
        assert time.monotonic() - began_s < PATIENCE_S, says
        time.sleep(0.02)
    return time.monotonic() - began_s


@contextmanager
def a_nats_server(folder: Path, port: int = 0) -> Iterator[str]:
    program = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which(
        "nats-server"
    )
    if program is None:
        pytest.skip("no nats-server; install the test extra")
    if not port:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
    with subprocess.Popen(
        [program, "-a", "127.0.0.1", "-p", str(port), "-l", str(folder / "nats.log")]
    ) as server:
        try:
            eventually(lambda: not _refuses(port))
            yield f"nats://127.0.0.1:{port}"
        finally:
            server.kill()


def _refuses(port: int) -> int:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port))


class Place:
    """A site on this machine: folders, a server, a manager, nodes."""

    def __init__(self, folder: Path, nats: str) -> None:
        self.folder = folder
        self.nats = nats
        self.settings = Settings(data_folder=str(folder / "data"), nodes_nats=nats)
        self.settings.folder.mkdir()
        self.flags = ["--data-folder", str(self.settings.folder)]
        self.database = open_database(self.settings.database_url)
        self.database.migrate()
        self.connection = self.database.connect()
        self.manager: SiteManaging | None = None
        self.managing: subprocess.Popen[str] | None = None
        self.agents: dict[str, subprocess.Popen[str]] = {}
        self.nodes: set[str] = set()

    # ------------------------------------------------------------ what happens

    def start_manager(self) -> None:
        self.manager = SiteManaging(self.settings, self.database, "here")

    def start_managing_process(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "einthoven", "nodes", "manage", "--json", *self.flags]
        process = subprocess.Popen(
            [*command, "--nodes-nats", self.nats],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.managing = process
        assert json.loads(process.stdout.readline())["event"] == "in-office"
        return process

    def stop_manager(self) -> None:
        if self.manager is not None:
            self.manager.stop(20)
            self.manager = None

    def token(self, node: str, *more: str) -> str:
        path = self.folder / f"{node}.token"
        with path.open("w") as file, _printing_to(file):
            assert run(["nodes", "enrol", node, "--json", *more, *self.flags]) == 0
        return str(json.loads(path.read_text())["token"])

    def start_node(self, node: str, *more: str, token: str | None = None) -> subprocess.Popen[str]:
        if token is None and node not in self.nodes:
            token = self.token(node)
        self.nodes.add(node)
        command = [sys.executable, "-m", "einthoven", "node", "--json", "--nats", self.nats]
        command += ["--folder", str(self.folder / node), *more]
        environment = {**os.environ, "EINTHOVEN_NODE_TOKEN": token or ""}
        agent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        self.agents[node] = agent
        return agent

    def is_up(self, node: str) -> bool:
        """Waits for what the agent says when what it had on disk goes on."""
        return json.loads(self.agents[node].stdout.readline())["event"] == "ready"

    def kill_agent(self, node: str) -> None:
        self.agents[node].kill()
        self.gone(node)

    def gone(self, node: str) -> int:
        """Waits for it."""
        with self.agents.pop(node) as agent:
            return agent.wait(PATIENCE_S)

    def cut_power(self, node: str) -> None:
        self.kill_agent(node)
        for pid in self.processes(node):
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        eventually(lambda: not self.processes(node))

    def deploy(self, name: str, version: str, *, program: bool = True, **more) -> None:
        fields = {"name": name, "version": version, "region": name, **more}
        text = "\n".join(f"{key} = {json.dumps(value)}" for key, value in fields.items())
        file = self.folder / f"{name}-{version}.toml"
        file.write_text(text)
        words = ["nodes", "deploy", str(file), *self.flags]
        if program:
            archive = self.folder / f"{name}-{version}.pyz"
            with zipfile.ZipFile(archive, "w") as zipped:
                zipped.writestr("__main__.py", PROGRAM.format(version=version))
            words += ["--program", str(archive)]
        assert run(words) == 0

    def end(self) -> None:
        self.stop_manager()
        if self.managing is not None:
            with self.managing as process:
                process.kill()
        for node in list(self.agents):
            self.cut_power(node)
        self.connection.close()

    # ------------------------------------------------------------ what is seen

    def processes(self, node: str) -> list[int]:
        """Leaders of the sessions of its instances."""
        mark = hashlib.sha256(str((self.folder / node).resolve()).encode()).hexdigest()[:16]
        found = []
        for one in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                pid = int(one.name)
                is_one = f"EINTHOVEN_INSTANCE={mark}:".encode() in (one / "environ").read_bytes()
                found += [pid] if is_one and os.getsid(pid) == pid else []
        return found

    def state(self):
        with self.connection.reading() as statements:
            return read_state(read_site(statements, "site").content)

    def status(self) -> SiteStatus:
        with self.connection.reading() as statements:
            kept = read_site(statements, "site")
        return (
            msgspec.msgpack.decode(kept.status, type=SiteStatus)
            if kept is not None and kept.status
            else SiteStatus()
        )

    def ready(self, service: str) -> set[tuple[str, str]]:
        """Nodes and versions of what is ready now, as the manager sees it."""
        reports = {one.id: one for node in self.status().nodes for one in node.instances}
        return {
            (one.node, one.service.version)
            for one in self.state().held
            if one.service.name == service and one.id in reports and reports[one.id].state == "ready"
        }


@contextmanager
def _printing_to(file) -> Iterator[None]:
    stdout, sys.stdout = sys.stdout, file
    try:
        yield
    finally:
        sys.stdout = stdout


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with a_nats_server(tmp_path) as nats:
        found = Place(tmp_path, nats)
        try:
            yield found
        finally:
            found.end()


def test_a_fresh_node_is_found_and_gives_its_first_result(place: Place, capsys) -> None:
    """No step waits for a beacon: what takes time is Python and its compiled kernels being loaded."""
    place.start_manager()
    place.deploy("ecg", "1", program=False)
    token = place.token("pi")
    switched_on_s = time.time()
    place.start_node("pi", token=token)

    async def first_result() -> float:
        region = NatsRegion("ecg", NatsLink(servers=(place.nats,)))
        try:
            while True:
                with suppress(InvocationBroke):
                    await region.invoke(a_call(timeout_s=2.0))
                    answered_s = time.time()
                    probed = await region.probe()
                    assert {one.name for one in probed.functions} == {"analyses", "analysis"}
                    return answered_s
                await asyncio.sleep(0.02)
        finally:
            await region.close()

    answered_s = asyncio.run(asyncio.wait_for(first_result(), PATIENCE_S))
    eventually(lambda: place.ready("ecg") == {("pi", "1")})
    with capsys.disabled():
        at_s: dict[str, float] = {}
        with place.connection.reading() as statements:
            rows = statements.rows("SELECT at_ns, content FROM site_happenings ORDER BY id")
        for at_ns, content in rows:
            at_s.setdefault(json.loads(bytes(content))["kind"], at_ns / 1e9)
        phases = {
            "announce": at_s["enrolled"] - switched_on_s,
            "describe": at_s["joined"] - at_s["enrolled"],
            "match": at_s["placed"] - at_s["joined"],
            "start": answered_s - at_s["placed"],
        }
        said = ", ".join(f"{name} {1000 * s:.0f} ms" for name, s in phases.items())
        sys.stderr.write(f"\n{said}; all but announce {answered_s - at_s['enrolled']:.2f} s\n")
    assert answered_s - at_s["enrolled"] < 30, "two seconds, where nothing else runs"


def test_an_idle_agent_is_small_and_quick(place: Place) -> None:
    place.start_manager()
    place.start_node("pi")
    assert place.is_up("pi")
    place.cut_power("pi")
    took_s = []
    for _ in range(3):
        began_s = time.monotonic()
        agent = place.start_node("pi")
        assert place.is_up("pi")
        took_s.append(time.monotonic() - began_s)
        if len(took_s) < 3:
            place.cut_power("pi")
    eventually(lambda: any(node.state == "here" for node in place.status().nodes))
    resident_mb = int(Path(f"/proc/{agent.pid}/status").read_text().split("VmRSS:")[1].split()[0]) / 1024
    assert resident_mb < 60
    assert min(took_s) < 10, "a second, where nothing else runs"


def test_whoever_is_killed_is_followed_and_who_does_well_is_left_alone(place: Place) -> None:
    in_office = place.start_managing_process()
    place.start_node("pi")
    place.deploy("watch", "1")
    eventually(lambda: place.ready("watch") == {("pi", "1")})
    before = place.processes("pi")
    assert len(before) == 1

    place.kill_agent("pi")  # the agent: what it started goes on, and is taken over
    place.start_node("pi")
    assert place.is_up("pi")
    eventually(lambda: place.ready("watch") == {("pi", "1")})
    assert place.processes("pi") == before

    term = place.state().term
    in_office.kill()  # nobody manages: the agent starts again what ends
    in_office.wait()
    os.kill(before[0], signal.SIGKILL)
    eventually(lambda: place.processes("pi") not in ([], before))
    after = place.processes("pi")

    place.start_manager()  # the next, when the lease of the one before is over, finds all as it is
    eventually(lambda: place.state().term > term)
    place.deploy("other", "1")
    eventually(lambda: place.ready("other") == {("pi", "1")})
    assert set(after) < set(place.processes("pi"))


def test_who_may_act_alone_ends_with_its_lease_though_its_agent_is_stopped(place: Place) -> None:
    place.start_manager()
    agent = place.start_node("pi")
    place.deploy("only-one", "1", is_exclusive=True, lease="1 s")
    eventually(lambda: place.ready("only-one"))
    os.kill(agent.pid, signal.SIGSTOP)
    eventually(lambda: not place.processes("pi"))
    os.kill(agent.pid, signal.SIGCONT)
    eventually(lambda: place.processes("pi"))
    agent.kill()
    eventually(lambda: not place.processes("pi"))


def test_without_power_and_network_a_node_begins_with_what_it_ran(tmp_path: Path) -> None:
    with a_nats_server(tmp_path) as nats:
        place = Place(tmp_path, nats)
        place.start_manager()
        place.start_node("pi")
        place.deploy("watch", "1")
        place.deploy("only-one", "1", is_exclusive=True, lease="2 s")
        eventually(lambda: place.ready("only-one") and place.ready("watch"))
        place.stop_manager()
    try:
        place.cut_power("pi")
        place.start_node("pi")
        assert place.is_up("pi")
        eventually(lambda: place.processes("pi"))
        assert len(place.processes("pi")) == 1, "an exclusive one needs a lease"

        place.cut_power("pi")  # nobody but the manager gives orders, and programs are what they were
        orders = tmp_path / "pi" / "orders"
        kept = orders.read_bytes()
        orders.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        place.start_node("pi")
        assert place.is_up("pi")
        assert place.processes("pi") == []
        place.cut_power("pi")
        orders.write_bytes(kept)
        for program in (tmp_path / "pi" / "programs").iterdir():
            program.write_bytes(program.read_bytes() + b" ")
        place.start_node("pi")
        assert place.is_up("pi")
        assert place.processes("pi") == []

        for pause_s in (0.0, 0.3, 1.1):  # it is told to end while it looks for a server
            place.cut_power("pi") if "pi" in place.agents else None
            agent = place.start_node("pi")
            assert place.is_up("pi")
            time.sleep(pause_s)
            agent.terminate()
            assert place.gone("pi") == 0
    finally:
        place.end()


def test_a_node_whose_folder_takes_no_orders_ends_and_says_so(place: Place) -> None:
    place.start_manager()
    agent = place.start_node("pi")
    assert place.is_up("pi")
    orders = place.folder / "pi" / "orders"
    orders.unlink(missing_ok=True)
    (orders / "in-the-way").mkdir(parents=True)
    place.deploy("watch", "1")
    assert agent.wait(PATIENCE_S) not in (0, -signal.SIGKILL)
    place.gone("pi")
    assert place.processes("pi") == [], "orders that are not on disk are not followed"
    shutil.rmtree(orders)
    place.start_node("pi")
    eventually(lambda: place.ready("watch") == {("pi", "1")})


def test_a_node_that_is_forgotten_while_it_is_away_ends_what_it_ran_when_it_comes(place: Place) -> None:
    place.start_manager()
    place.start_node("pi")
    place.deploy("watch", "1")
    eventually(lambda: place.ready("watch"))
    place.kill_agent("pi")
    assert len(place.processes("pi")) == 1
    assert run(["nodes", "forget", "pi", *place.flags]) == 0
    place.start_node("pi")
    eventually(lambda: place.processes("pi") == [])
    eventually(lambda: place.state().forgotten == ())


def test_a_manager_that_reaches_no_server_makes_way_for_one_that_does(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with a_nats_server(tmp_path) as there:
        with a_nats_server(tmp_path / "one") as here:
            place = Place(tmp_path, here)
            place.start_manager()
            eventually(lambda: read_site_of(place) is not None)
        first = place.manager
        assert first is not None
        term = place.state().term
        place.settings = msgspec.structs.replace(place.settings, nodes_nats=there)
        try:
            place.manager = SiteManaging(place.settings, place.database, "there")
            eventually(lambda: place.state().term > term)
        finally:
            first.stop(20)
            place.end()


def read_site_of(place: Place) -> object:
    with place.connection.reading() as statements:
        return read_site(statements, "site")


def test_a_version_that_breaks_is_rolled_back_and_one_that_works_replaces_the_old(place: Place) -> None:
    place.start_manager()
    place.start_node("pi")
    place.deploy("watch", "1")
    eventually(lambda: place.ready("watch") == {("pi", "1")})
    before = place.processes("pi")

    place.deploy("watch", "broken-2")
    eventually(lambda: place.state().services[0].condemned == ("broken-2",))
    eventually(lambda: place.ready("watch") == {("pi", "1")} and place.processes("pi") == before)

    place.deploy("watch", "3")
    eventually(lambda: place.ready("watch") == {("pi", "3")} and len(place.processes("pi")) == 1)
    assert place.processes("pi") != before
    assert "3" in (place.folder / "pi" / "logs" / "watch.log").read_text()


def test_work_goes_to_another_node_when_its_own_is_drained_leaves_or_dies(place: Place) -> None:
    place.start_manager()
    for node in ("a", "b"):
        place.start_node(node)
    eventually(lambda: sum(one.state == "here" for one in place.status().nodes) == 2)
    place.deploy("watch", "1", needs=[])
    eventually(lambda: place.ready("watch"))
    [(first, _)] = place.ready("watch")
    other = "b" if first == "a" else "a"

    assert run(["nodes", "drain", first, *place.flags]) == 0
    eventually(lambda: place.ready("watch") == {(other, "1")} and not place.processes(first))
    assert run(["nodes", "resume", first, *place.flags]) == 0

    place.agents[other].terminate()  # it waits until the other has taken over
    assert place.gone(other) == 0
    assert place.ready("watch") == {(first, "1")} or eventually(
        lambda: place.ready("watch") == {(first, "1")}
    )
    assert place.processes(other) == []

    place.start_node(other)
    eventually(lambda: all(one.state == "here" for one in place.status().nodes))
    place.cut_power(first)
    took_s = eventually(lambda: place.ready("watch") == {(other, "1")})
    assert took_s > 3, "nobody is given up at once"


def test_a_token_for_another_node_is_refused_where_one_belongs_to_the_site_already(place: Place) -> None:
    place.start_manager()
    place.start_node("pi")
    assert place.is_up("pi")
    place.cut_power("pi")
    agent = place.start_node("pi", token=place.token("other"))
    assert agent.wait(PATIENCE_S) == 2
    place.gone("pi")
    place.start_node("pi", token=place.token("pi"))
    assert place.is_up("pi"), "its own, which is not needed any more, is no mistake"


def test_only_whom_the_site_let_in_is_heard(place: Place) -> None:
    place.start_manager()
    token = place.token("pi", "--tier", "edge", "--label", "ward-7")
    place.start_node("pi", token=token)
    assert place.is_up("pi")
    place.start_node("thief", token=token)
    assert place.gone("thief") == 2, "a token is good once"
    eventually(lambda: [one.name for one in place.state().nodes] == ["pi"])
    eventually(lambda: place.state().nodes[0].description)
    assert place.state().nodes[0].description.tier == "edge"
    assert place.state().nodes[0].description.labels == ("ward-7",)

    place.deploy("watch", "1")
    eventually(lambda: place.ready("watch"))
    assert run(["nodes", "forget", "pi", *place.flags]) == 0
    eventually(lambda: place.state().nodes == () and not place.processes("pi"))
    place.deploy("watch", "2")
    assert place.state().held == (), "it is there and speaks, and is given nothing"
