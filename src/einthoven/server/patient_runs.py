"""A run of virtual patients from its settings to its report: in this process, or watched from another.

Events and report are JSON, one object a line, so that a terminal, a web page and a test watch the same run in
the same way, and none of them disturbs what it measures.
"""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import msgspec

from einthoven.clock import SystemClock
from einthoven.errors import DefectError, EinthovenError, InputInvalid, RecordingNotFound
from einthoven.records import open_recording
from einthoven.runtime.load.deliveries import Bodies
from einthoven.runtime.load.engine import LoadRun
from einthoven.runtime.load.report import Counts, Report, Second
from einthoven.runtime.load.target import Target
from einthoven.signal.recording import RecordingSource
from einthoven.simulation.bank import RECORDS, Bank, Names, virtual_records
from einthoven.simulation.noise import Noise
from einthoven.simulation.traffic import Traffic, requests

__all__ = ["RunProcess", "RunSettings", "Tell", "perform", "run_alone", "summary"]

Event = dict[str, Any]
Tell = Callable[[Event], None]

_PROGRESS_STEPS: Final = 20
_LONGEST_LINE: Final = 64 * 2**20
_STOP_S: Final = 5.0
_FASTEST_PER_S: Final = 20_000.0
"""A closed run is thought to reach at most this, when the streams' first stamps are chosen."""
_LONG_S: Final = 3600.0


class RunSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that a run depends on, besides the clock and the destination."""

    target: Target
    traffic: Traffic = Traffic()
    names: Names = Names()
    mix: dict[str, float] | None = None
    """Scenes and their weights."""
    noises: tuple[Noise, ...] = ()
    records: str | None = None
    """Folder of recordings to send instead of virtual patients."""
    technician_token: str | None = None
    """With which keys are registered, so that each body goes sealed; None to send them as they are."""
    truth: str | None = None
    """File for what really happened, a line of JSON for each patient."""


def perform(settings: RunSettings, tell: Tell) -> Report:
    """Do the run in this process; Ctrl-C or SIGTERM ends it early and still gives the report.

    Raises
    ------
    EinthovenError : settings that contradict each other, unreadable records, nobody at the destination.
    """
    traffic, head_start_s = _planned(settings)
    target = settings.target
    if not target.is_closed:
        target = msgspec.structs.replace(target, duration_s=traffic.duration_s)
    with ExitStack() as stack:
        bank = Bank(
            traffic,
            list(_sources(settings, stack)),
            settings.target.encoding,
            settings.names,
            noises=settings.noises,
            head_start_s=head_start_s,
        )
        told = -1
        for share in bank.fill():
            if int(share * _PROGRESS_STEPS) > told:
                told = int(share * _PROGRESS_STEPS)
                tell({"event": "preparing", "share": round(share, 3)})
        bodies = bank if settings.technician_token is None else _sealed(settings, bank)
        with asyncio.Runner(loop_factory=_fast_loop()) as runner:
            report = runner.run(_perform(target, traffic, bank, bodies, tell))
        if settings.truth is not None:
            _write_truth(Path(settings.truth), bank, settings.traffic, report)
    return report


def _planned(settings: RunSettings) -> tuple[Traffic, float]:
    """The traffic to plan, and how far in the past its streams begin.

    A closed run has no schedule: its plan is endless, and it ends by the clock.
    """
    traffic = settings.traffic
    if not settings.target.is_closed:
        return traffic, traffic.head_start_s
    if traffic.offline_share or traffic.burst_at_s is not None or traffic.ramp_s:
        raise InputInvalid(
            "a closed run has no schedule for absences, bursts and ramps.",
            where="closed",
            remedy="Give a rate instead.",
        )
    fastest = msgspec.structs.replace(
        traffic, rate_per_s=_FASTEST_PER_S, duration_s=settings.target.duration_s or _LONG_S
    )
    return msgspec.structs.replace(traffic, duration_s=None), fastest.head_start_s


def _sealed(settings: RunSettings, bank: Bank) -> Bodies:
    if settings.traffic.batch > 1:
        raise InputInvalid("an envelope is of one device.", where="batch", remedy="Seal segments singly.")
    if find_spec("cryptography") is None:
        raise InputInvalid(
            "cryptography is not installed.", where="seal", remedy="pip install 'einthoven[trust]'"
        )
    from einthoven.server import sealed_patients  # noqa: PLC0415 - an extra

    clock = SystemClock()
    devices = [settings.names.device(number) for number in range(settings.traffic.patients)]
    sealers = sealed_patients.sealers_for(settings.target, settings.technician_token or "", devices)
    time.sleep(sealed_patients.FOLLOWED_S)
    return sealed_patients.SealedBodies(bank, sealers, clock.utc_ns() // 10**6)


async def _perform(target: Target, traffic: Traffic, bank: Bank, bodies: Bodies, tell: Tell) -> Report:
    def watch(second: Second, counts: Counts) -> None:
        tell({"event": "second", **msgspec.to_builtins(second), "counts": msgspec.to_builtins(counts)})

    run = LoadRun(target, requests(traffic), bodies, watch)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):  # not in the main thread
            loop.add_signal_handler(number, run.stop)
    tell({"event": "started"})
    bank.begin(SystemClock().utc_ns())
    return await run.perform()


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The loop of uvloop where there is one: a request costs half as much."""
    if sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415 - not on Windows

    return uvloop.new_event_loop


def _sources(settings: RunSettings, stack: ExitStack) -> Iterator[RecordingSource]:
    if settings.records is None:
        yield from virtual_records(settings.traffic, settings.mix, settings.noises)
        return
    folder = Path(settings.records)
    paths = sorted(path for path in folder.glob("*") if path.suffix in {".hea", ".csv", ".json"})
    if not paths:
        raise RecordingNotFound(
            "the folder holds no recordings.",
            where=str(folder),
            remedy="Name a folder of WFDB, CSV or JSON files.",
        )
    for path in paths[: min(RECORDS, settings.traffic.patients)]:
        yield stack.enter_context(open_recording(path))


def _write_truth(path: Path, bank: Bank, traffic: Traffic, report: Report) -> None:
    """As many segments of each patient as the run came to."""
    planned = report.counts.planned
    counts = [len(range(patient, planned, traffic.patients)) for patient in range(traffic.patients)]
    with path.open("wb") as file:
        for line in bank.truth(counts):
            file.write(msgspec.json.encode(line) + b"\n")


def summary(settings: RunSettings, report: Report) -> Event:
    """The report, with the parameters that made it; no token."""
    return {
        "traffic": msgspec.to_builtins(settings.traffic),
        "mix": settings.mix,
        "run": settings.names.run,
        **msgspec.to_builtins(report),
    }


def run_alone() -> None:
    """The life of a process that does one run: settings on standard input, events on standard output."""

    def tell(event: Event) -> None:
        sys.stdout.buffer.write(msgspec.json.encode(event) + b"\n")
        sys.stdout.buffer.flush()

    try:
        settings = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=RunSettings)
        report = perform(settings, tell)
    except EinthovenError as error:
        tell({"event": "failed", "error": error.as_dict()})
        return
    tell({"event": "summary", **summary(settings, report)})


class RunProcess:
    """A run in a process of its own."""

    def __init__(self, settings: RunSettings) -> None:
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self._has_started = False
        self.is_stopped = False
        """`stop` was called."""

    async def events(self) -> AsyncIterator[Event]:
        """Start it; gives its events, the last of which is ``summary`` or ``failed``."""
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from einthoven.server.patient_runs import run_alone; run_alone()",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LONGEST_LINE,
            start_new_session=True,
        )
        if process.stdin is None or process.stdout is None:
            raise DefectError("a child process has no pipes.")
        process.stdin.write(msgspec.msgpack.encode(self._settings))  # JSON has no infinity
        process.stdin.close()
        if self.is_stopped:
            process.terminate()
        try:
            async for line in process.stdout:
                event = msgspec.json.decode(line)
                self._has_started = self._has_started or event["event"] == "started"
                yield event
        finally:
            await self._end(process)

    def stop(self) -> None:
        """Let it send nothing more, and end when its answers have come; a second time: end now.

        Before it has sent anything it ends at once, without a report.
        """
        self.is_stopped = True
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGINT if self._has_started else signal.SIGTERM)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is None:
            try:
                await asyncio.wait_for(process.wait(), 1.0)
            except TimeoutError:
                process.terminate()
                try:
                    await asyncio.wait_for(process.wait(), _STOP_S)
                except TimeoutError:
                    process.kill()
                    await process.wait()
