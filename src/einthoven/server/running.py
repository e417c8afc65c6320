"""A service in processes of its own, on this machine: for benchmarks and tests."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

from einthoven.clock import Clock, SystemClock
from einthoven.errors import DefectError
from einthoven.server import accounts
from einthoven.server.tokens import TokenKind
from einthoven.storage import open_database

__all__ = ["RunningService", "cpu_s_of", "processes_under"]

_START_S: Final = 90.0
_STOP_S: Final = 60.0
_LOOK_S: Final = 0.05
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class RunningService:
    """``einthoven serve``, started as a user starts it.

    Parameters
    ----------
    folder : its data folder; its log goes there too.
    flags : further ones of ``einthoven serve``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        database: str = "",
        workers: int = 2,
        flags: Sequence[str] = (),
        environment: Mapping[str, str] = {},
        clock: Clock | None = None,
    ) -> None:
        self.folder = folder
        self.database = database or str(folder / "einthoven.db")
        self.port = 0
        self._flags = ("--workers", str(workers), *flags)
        self._environment = {**os.environ, **environment}
        self._clock = clock or SystemClock()
        self._log: IO[bytes] = (folder / "service.log").open("ab")
        self.process = self._start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def token(self, kind: TokenKind = "gateway", **about: Any) -> str:
        """A new token, written into its database."""
        connection = open_database(self.database).connect()
        try:
            with connection.writing() as statements:
                now_ns = self._clock.utc_ns()
                return accounts.issue(statements, accounts.MAIN, kind, now_ns=now_ns, **about)[1]
        finally:
            connection.close()

    def wait_until_ready(self) -> None:
        """Return when a worker takes segments.

        Raises
        ------
        DefectError : it ended, or took too long.
        """
        until_s = self._clock.now_s() + _START_S
        while self._clock.now_s() < until_s and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/health/ready", timeout=5):  # noqa: S310 - ours
                    return
            except (urllib.error.URLError, OSError):
                try:
                    self.process.wait(0.05)
                except subprocess.TimeoutExpired:
                    continue
        raise DefectError("the service did not start.", where=str(self.folder / "service.log"))

    def restart(self) -> None:
        """Start it again at the same port, after it ended or was killed.

        Workers of a supervisor that was killed hold the port until they have noticed.
        """
        until_s = self._clock.now_s() + _START_S
        while not _is_free(self.port) and self._clock.now_s() < until_s:
            time.sleep(_LOOK_S)
        self._close()
        self.process = self._start()

    def workers(self) -> list[int]:
        """Process numbers of its workers."""
        return [
            number
            for number in processes_under(self.process.pid)
            if b"spawn_main" in _read(Path("/proc") / str(number) / "cmdline")
        ]

    def cpu_s(self) -> float:
        """Processor time that it and its workers have taken so far."""
        return cpu_s_of([self.process.pid, *processes_under(self.process.pid)])

    def stop(self) -> int:
        """End it as SIGTERM does; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self._close()
        self._log.close()
        return code

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(  # noqa: S603 - this interpreter
            [
                *(sys.executable, "-m", "einthoven", "serve", "--json", "--port", str(self.port)),
                *("--data-folder", str(self.folder), "--database", self.database, *self._flags),
            ],
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=self._environment,
        )
        line = process.stdout.readline() if process.stdout else b""
        if not line:
            process.wait()
            raise DefectError("the service did not start.", where=str(self.folder / "service.log"))
        self.port = json.loads(line)["port"]
        return process

    def _close(self) -> None:
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process.wait()


def processes_under(parent: int) -> list[int]:
    """Numbers of all processes that descend from one."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            fields = _read(folder / "stat").rpartition(b")")[2].split()
            if fields:
                children.setdefault(int(fields[1]), []).append(int(folder.name))
    found: list[int] = []
    waiting = [parent]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def cpu_s_of(processes: Sequence[int]) -> float:
    """Processor time of these processes so far, s."""
    ticks = 0
    for number in processes:
        fields = _read(Path("/proc") / str(number) / "stat").rpartition(b")")[2].split()
        if fields:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
