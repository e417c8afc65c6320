"""Instances of nanoservices as processes of this machine.

A process carries in its environment whose instance it is, so that an agent that starts anew finds those of
the one before, whatever that had time to write. An exclusive one has a warden beside it, which ends it when
its lease is over or the agent is gone; and the kernel ends it with the agent. (As Linux has it.)
"""

import asyncio
import ctypes
import hashlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from einthoven.edge.agent_events import AgentEvent, Alive, Ended, Lost, Ready
from einthoven.edge.messages import Assignment
from einthoven.errors import StoreUnavailable
from einthoven.runtime import lease_warden
from einthoven.runtime.nats_link import NatsLink
from einthoven.runtime.node_folder import NodeFolder
from einthoven.runtime.node_machine import busy_s

__all__ = ["INSTANCE", "InstanceProcesses"]

INSTANCE: Final = "EINTHOVEN_INSTANCE"
"""In the environment of a process: whose instance it is."""
_GRACE_S: Final = 10.0
_DIES_S: Final = 1.0
_WATCHDOG_US: Final = 2_000_000
_LOG_BYTES: Final = 2**20
_PR_SET_PDEATHSIG: Final = 1
_PASSED_ON: Final = frozenset(
    {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "XDG_CACHE_HOME",
     "NUMBA_CACHE_DIR", "SSL_CERT_FILE", "EINTHOVEN_FUNCTIONS_LEARN_FROM"}
)  # fmt: skip
"""What an instance is told of the agent's environment; the rest may be secret."""


class _Process(msgspec.Struct):
    assignment: Assignment
    pid: int
    child: subprocess.Popen[bytes] | None
    """None: the agent before started it."""
    born: str
    notices: socket.socket
    warden: subprocess.Popen[bytes] | None = None
    """Ends an exclusive one when its lease is over."""
    kill_s: float | None = None
    """When it is ended at once, if it has not ended by then."""
    seen_s: float = 0.0
    busy_s: float = 0.0


class InstanceProcesses:
    """All instances of one node; of one event loop.

    Parameters
    ----------
    told : what happened to one of them.
    """

    def __init__(self, folder: NodeFolder, link: NatsLink, told: Callable[[AgentEvent], None]) -> None:
        self._folder = folder
        self._link = link
        self._told = told
        self._mark = hashlib.sha256(str(folder.path.resolve()).encode()).hexdigest()[:16]
        self._processes: dict[int, _Process] = {}
        self._sockets = _own_folder(Path(tempfile.gettempdir()) / f"einthoven-{self._mark}")

    def adopt(self, wanted: Mapping[int, Assignment]) -> dict[int, Assignment]:
        """Take over what the agent before left; what is not wanted, and what is exclusive, is ended."""
        found: dict[int, Assignment] = {}
        for pid, id_ in _marked(self._mark):
            assignment = wanted.get(id_)
            born = _born(pid)
            if assignment is None or assignment.service.is_exclusive or id_ in found or born is None:
                _end(pid)
                continue
            self._processes[id_] = _Process(assignment, pid, None, born, self._listen(id_))
            found[id_] = assignment
        return found

    def start(self, assignment: Assignment) -> None:
        """Start an instance; `told` hears what becomes of it."""
        service, id_ = assignment.service, assignment.id
        command = self._command(assignment)
        if command is None:
            self._told(Lost(service.program))
            self._told(Ended(id_, "its program was not what its digest says"))
            return
        notices: socket.socket | None = None
        child: subprocess.Popen[bytes] | None = None
        try:
            notices = self._listen(id_)
            with self._log(service.name) as log:
                child = subprocess.Popen(  # noqa: S603 - our own program, or one whose digest was signed
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self._environment(assignment),
                    start_new_session=True,
                    preexec_fn=_die_with_parent if service.is_exclusive else None,  # noqa: PLW1509 - one thread
                )
            warden = _warden_of(child.pid) if service.is_exclusive else None
        except OSError as error:
            if child is not None:  # without its warden it must not act
                _end(child.pid)
                child.wait(_DIES_S)
            if notices is not None:
                self._deafen(id_, notices)
            self._told(Ended(id_, f"it cannot be started ({error.strerror})"))
            return
        born = _born(child.pid) or ""
        self._processes[id_] = _Process(assignment, child.pid, child, born, notices, warden)

    def hold(self, id_: int, until_s: float) -> None:
        """An exclusive one may act until then."""
        one = self._processes.get(id_)
        if one is not None and one.warden is not None and one.warden.stdin is not None:
            with suppress(OSError):  # it has done what it is for
                one.warden.stdin.write(b"%.3f\n" % until_s)
                one.warden.stdin.flush()

    def stop(self, id_: int) -> None:
        """Let it finish, for a while."""
        one = self._processes.get(id_)
        if one is not None and one.kill_s is None:
            one.kill_s = time.monotonic() + _GRACE_S
            with suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGTERM)

    def kill(self, id_: int) -> None:
        """End it at once."""
        one = self._processes.get(id_)
        if one is not None:
            _end(one.pid)
            if one.child is not None:
                with suppress(subprocess.TimeoutExpired):
                    one.child.wait(_DIES_S)
            self.look()

    def look(self) -> None:
        """Notice who has ended."""
        for id_, one in list(self._processes.items()):
            why = _why_ended(one)
            if why is not None:
                del self._processes[id_]
                self._deafen(id_, one.notices)
                _end(one.pid)  # whom it left behind
                _dismiss(one.warden)
                self._told(Ended(id_, why))
            elif one.kill_s is not None and time.monotonic() >= one.kill_s:
                one.kill_s = None
                _end(one.pid)
            elif one.warden is not None and one.warden.poll() is not None:
                _end(one.pid)  # nobody watches its lease

    def busy(self) -> dict[int, float]:
        """By instance: the share of its workers' time that it used since this was asked before."""
        found = {}
        for id_, one in self._processes.items():
            now_s, spent_s = time.monotonic(), busy_s(one.pid)
            if one.seen_s and now_s > one.seen_s:
                share = (spent_s - one.busy_s) / (now_s - one.seen_s)
                found[id_] = min(1.0, max(0.0, share / max(1, one.assignment.service.workers)))
            one.seen_s, one.busy_s = now_s, spent_s
        return found

    def close(self) -> None:
        """Hear nothing more; who runs goes on, unless it is exclusive."""
        for id_, one in self._processes.items():
            self._deafen(id_, one.notices)
            if one.warden is not None:
                _end(one.pid)
                _dismiss(one.warden)
        self._processes = {}

    # ---------------------------------------------------------------- how one is started

    def _command(self, assignment: Assignment) -> list[str] | None:
        service = assignment.service
        if service.program:
            path = self._folder.program(service.program)
            return None if path is None else [sys.executable, str(path)]
        command = [sys.executable, "-m", "einthoven", "functions", "join", service.region]
        command += ["--workers", str(service.workers)]
        for function in service.functions:
            command += ["--function", function]
        for flag, value in (("--ca", self._link.ca), ("--credentials", self._link.credentials)):
            command += [flag, value] if value is not None else []
        return command

    def _environment(self, assignment: Assignment) -> dict[str, str]:
        """Servers may carry a password, so they are here and in no argument of a program."""
        service = assignment.service
        own = {
            INSTANCE: f"{self._mark}:{assignment.id}",
            "NOTIFY_SOCKET": str(self._sockets / str(assignment.id)),
            "WATCHDOG_USEC": str(_WATCHDOG_US),
            "EINTHOVEN_REGION": service.region,
            "EINTHOVEN_NATS": " ".join(self._link.servers),
            "EINTHOVEN_WORKERS": str(service.workers),
            "EINTHOVEN_FENCE": str(assignment.id),
        }
        return {name: value for name, value in os.environ.items() if name in _PASSED_ON} | own

    def _log(self, service: str) -> BinaryIO:
        path = self._folder.log(service)
        if path.exists() and path.stat().st_size > _LOG_BYTES:
            path.replace(path.with_suffix(".old"))
        return path.open("ab")

    # ---------------------------------------------------------------- what one says

    def _listen(self, id_: int) -> socket.socket:
        path = self._sockets / str(id_)
        path.unlink(missing_ok=True)
        one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            one.setblocking(False)
            one.bind(str(path))
        except OSError:
            one.close()
            raise
        asyncio.get_running_loop().add_reader(one, self._hear, id_, one)
        return one

    def _hear(self, id_: int, notices: socket.socket) -> None:
        with suppress(OSError):
            said = notices.recv(4096).split(b"\n")
            if b"READY=1" in said:
                self._told(Ready(id_))
            if b"WATCHDOG=1" in said:
                self._told(Alive(id_))

    def _deafen(self, id_: int, notices: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(notices)
        notices.close()
        (self._sockets / str(id_)).unlink(missing_ok=True)


def _own_folder(path: Path) -> Path:
    """A folder that only we can write to; not the node's own, because a socket's path must be short."""
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise StoreUnavailable("somebody else's folder is there.", where=str(path), remedy="Remove it.")
    return path


def _marked(mark: str) -> list[tuple[int, int]]:
    """Instances of a mark that lead their sessions; what is left of others is ended."""
    wanted = f"{INSTANCE}={mark}:".encode()
    found: dict[int, tuple[int, int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            variables = (folder / "environ").read_bytes().split(b"\0")
            ids = [int(one[len(wanted) :]) for one in variables if one.startswith(wanted)]
            if ids:
                found[int(folder.name)] = (os.getsid(int(folder.name)), ids[0])
    for pid, (leader, _) in found.items():
        if leader not in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return [(pid, id_) for pid, (leader, id_) in found.items() if leader == pid]


def _born(pid: int) -> str | None:
    """When a process began, in the kernel's own words; None if it is gone."""
    with suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in {"Z", "X"} else fields[19]
    return None


def _why_ended(one: _Process) -> str | None:
    if one.child is None:
        return None if _born(one.pid) == one.born else "it ended"
    code = one.child.poll()
    if code is None:
        return None
    return f"it was ended by signal {-code}" if code < 0 else f"it ended with {code}"


def _end(pid: int) -> None:
    """It and all that it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _warden_of(session: int) -> subprocess.Popen[bytes]:
    """Apart from the agent, so that what stops it does not stop this."""
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-I", "-S", lease_warden.__file__, str(session)],
        stdin=subprocess.PIPE,
        env={},
        start_new_session=True,
    )


def _dismiss(warden: subprocess.Popen[bytes] | None) -> None:
    if warden is not None:
        with warden:
            warden.kill()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
