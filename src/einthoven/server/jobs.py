"""What is done beside the requests: each job by one worker at a time, wherever it runs."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from einthoven.clock import Clock
from einthoven.errors import EinthovenError
from einthoven.server.logs import place_of
from einthoven.storage.database import Connection, Database
from einthoven.storage.leases import give_back, take_lease

__all__ = ["Job", "Jobs"]

_LOG: Final = logging.getLogger("einthoven.jobs")
_TICK_S: Final = 0.25
_LEASE_FACTOR: Final = 2.0
"""A lease outlives so many periods, and ten seconds at least: the holder prolongs it each time."""


class Job(msgspec.Struct, frozen=True):
    """Something that is done again and again."""

    name: str
    every_s: float
    perform: Callable[[Connection, int], int]
    """With a connection and the time, UTC ns; how much there was to do. Again at once while there was any."""


class Jobs:
    """A thread that does the jobs whose leases it holds."""

    def __init__(self, database: Database, clock: Clock, holder: str, jobs: Sequence[Job]) -> None:
        self._database = database
        self._clock = clock
        self._holder = holder
        self._jobs = jobs
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Finish what is being done and let others have the leases."""
        self._is_stopping.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        connection: Connection | None = None
        due_s = {job.name: self._clock.now_s() for job in self._jobs}
        while not self._is_stopping.wait(_TICK_S):
            try:
                connection = connection or self._database.connect()
                for job in self._jobs:
                    if self._clock.now_s() >= due_s[job.name]:
                        due_s[job.name] = self._clock.now_s() + job.every_s
                        self._perform(connection, job)
            except EinthovenError as error:
                _LOG.warning("a job failed", extra={"code": error.code})
            except Exception as error:  # noqa: BLE001 - the other jobs go on
                _LOG.error("a job failed", extra=place_of(error))
        if connection is not None:
            try:
                give_back(connection, self._holder)
            except EinthovenError:
                _LOG.warning("leases were not given back; they end by themselves")
            connection.close()

    def _perform(self, connection: Connection, job: Job) -> None:
        lease_s = max(10.0, _LEASE_FACTOR * job.every_s)
        while not self._is_stopping.is_set():
            now_ns = self._clock.utc_ns()
            if not take_lease(connection, job.name, self._holder, now_ns, lease_s):
                return
            if not job.perform(connection, now_ns):
                return
