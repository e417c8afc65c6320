"""Whole recordings analysed beside everything else, by the workflow ``ecg-batch``.

A thread with an event loop takes what waits, the oldest first, a few at a time. Each step can be done again:
files are fetched into a local folder and checked, the run is journaled, and how a recording ended is one
statement that only the first makes. So whoever is killed is followed by whoever takes the lease, on this
machine or another, and what was journaled is not done again. The hours are computed in processes of low
priority, so that segments go first.
"""

import asyncio
import hashlib
import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from einthoven.clock import Clock
from einthoven.errors import (
    Conflict,
    DefectError,
    DigestMismatch,
    EinthovenError,
    InputInvalid,
    NotFound,
    RecordingNotFound,
    RecordingUnreadable,
    ReferenceRefused,
    StoreUnavailable,
)
from einthoven.functions import count_hours
from einthoven.placement import Terms
from einthoven.runtime.batch import lead_number
from einthoven.runtime.ecg_functions import STAGES, Reading
from einthoven.runtime.federation import FederatedRegions
from einthoven.runtime.hosted import FUSED
from einthoven.runtime.joined_findings import moved_joined
from einthoven.runtime.region_port import RegionPort
from einthoven.runtime.run_sessions import RunFunctions, run_session, shipped
from einthoven.runtime.worker_pool import WorkerPool
from einthoven.runtime.workflow_runs import LEASE_S, WorkflowRuns
from einthoven.server.connections import Connections
from einthoven.server.data_gate import DataGate
from einthoven.server.logs import place_of
from einthoven.server.metrics import METRICS
from einthoven.server.recording_admission import RecordingAdmission
from einthoven.server.served_regions import ServedRegions
from einthoven.server.settings import Settings
from einthoven.signal.recording import RecordingInfo
from einthoven.storage import Connection, Database, Statements, open_store
from einthoven.storage.leases import give_back, take_lease
from einthoven.storage.received import PART_BYTES, Part, ReceivedFiles, write_checked
from einthoven.storage.recordings import (
    KeptRecording,
    RecordingFile,
    RecordingState,
    begin_attempt,
    describe_recording,
    due_recordings,
    end_recording,
    forgive_attempt,
    mark_tidy,
    recording_numbered,
)
from einthoven.storage.runs import KeptRun
from einthoven.workflow import Done, Failure

__all__ = ["RecordingRuns"]

_T = TypeVar("_T")
_LOG: Final = logging.getLogger("einthoven.recordings")
_WORKFLOW: Final = "ecg-batch"
_WORK: Final = "work"
"""Folder of the object store."""
_PATIENCE_S: Final = 10.0
_LONGEST_S: Final = 900.0
_WAITING: Final = 100_000
_LOOK_S: Final = 0.5
_AT_ONCE: Final = 2
"""Recordings: while one is fetched another is computed."""
_DUE: Final = 64
_ATTEMPTS: Final = 20
"""A recording that so many processes did not survive is given up."""
_NICENESS: Final = 10
_IDLE_S: Final = 30.0
"""So long after the last recording the processes that compute are kept."""
_AGAIN_S: Final = 5.0
_AGAIN_MOST_S: Final = 300.0


class _Cancelled(Exception):
    """Somebody ended the recording meanwhile."""


class RecordingRuns:
    """The thread that analyses recordings.

    Parameters
    ----------
    holder : this process, among those that share the database.
    """

    def __init__(self, database: Database, clock: Clock, settings: Settings, holder: str) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._holder = holder
        self._store = open_store(settings.objects_url)
        self._files = ReceivedFiles(self._store)
        self._cache = settings.folder / "recordings-cache"
        self._connections = Connections(database, 1, "recordings")
        self._pool = WorkerPool(settings.batch_workers, _NICENESS)
        self._going: dict[int, asyncio.Task[None]] = {}
        self._ended: set[int] = set()
        """Those of them that somebody cancelled."""
        self._again_s: dict[int, tuple[float, float]] = {}
        """When a recording is tried again, and after how long."""
        self._used_s = clock.now_s()
        self._regions: ServedRegions | None = None
        self._gate: DataGate | None = None
        self._keeping = asyncio.Lock()
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recordings", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Leave what is going on where it is; it is gone on with later, here or elsewhere."""
        self._is_stopping.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        try:
            await self._join_regions()
            while not self._is_stopping.is_set():
                try:
                    await self._look()
                except EinthovenError as error:
                    _LOG.warning("recordings could not be looked at", extra={"code": error.code})
                except Exception as error:  # noqa: BLE001 - the next look may succeed
                    _LOG.error("recordings could not be looked at", extra=place_of(error))
                await asyncio.sleep(_LOOK_S)
        finally:
            for task in self._going.values():
                task.cancel()
            await asyncio.gather(*self._going.values(), return_exceptions=True)
            if self._regions is not None:
                await self._regions.close()
            await asyncio.to_thread(self._pool.close)
            self._connections.close()

    async def _join_regions(self) -> None:
        settings = self._settings
        if settings.recordings_in == "here":
            return
        terms = Terms(
            policy=settings.regions_policy, attempt_s=_LONGEST_S, waiting=_WAITING, patience_s=_PATIENCE_S
        )
        self._regions = ServedRegions(
            settings.continuum_path,
            self._clock,
            terms,
            shares=settings.region_shares,
            function=FUSED.join(STAGES),
        )
        await self._regions.start()
        if settings.policy_path is not None:
            self._gate = DataGate(settings.policy_path, self._regions.declared, self._clock)

    async def _look(self) -> None:
        """Begin what is due, and end what somebody cancelled."""
        for number, task in list(self._going.items()):
            if task.done():
                del self._going[number]
                self._ended.discard(number)
        due = await self._ask(lambda s: due_recordings(s, _DUE), reading=True)
        now_s = self._clock.now_s()
        for one in due:
            task_ = self._going.get(one.number)
            if task_ is not None:
                if one.state == "cancelled":
                    self._ended.add(one.number)
                    task_.cancel()
            elif len(self._going) < _AT_ONCE and now_s >= self._again_s.get(one.number, (0.0, 0.0))[0]:
                self._going[one.number] = asyncio.create_task(self._perform(one))
        if self._going:
            self._used_s = now_s
        elif now_s - self._used_s > _IDLE_S:
            await asyncio.to_thread(self._pool.close)

    # ---------------------------------------------------------------- one recording

    async def _perform(self, one: KeptRecording) -> None:
        """Bring a recording a step on, under its lease; what fails for a while is tried again later."""
        if not await self._hold(one):
            self._put_off(one.number, LEASE_S / 4)
            return
        keeping = asyncio.create_task(self._keep(one))
        try:
            if one.state in ("waiting", "going"):
                one = await self._analysed(one)
            await asyncio.to_thread(self._tidy, one)
            self._again_s.pop(one.number, None)
        except asyncio.CancelledError:
            await self._after_cancelling(one)
            raise
        except _Cancelled:
            await self._after_cancelling(one)
        except Conflict:  # whoever drove the run has died, and its lease has not ended
            await self._forgive(one)
            self._put_off(one.number, LEASE_S / 4)
        except (EinthovenError, OSError) as error:
            code = error.code if isinstance(error, EinthovenError) else "disk"
            _LOG.warning("a recording could not be analysed now", extra={"code": code})
            await self._forgive(one)
            self._put_off(one.number)
        except Exception as error:  # noqa: BLE001 - the others go on
            _LOG.error("a recording could not be analysed now", extra=place_of(error))
            self._put_off(one.number)
        finally:
            keeping.cancel()
            await self._give_back(one)
            await self._keep_movements()

    async def _keep_movements(self) -> None:
        gate = self._gate
        if gate is None:
            return
        try:
            async with self._keeping:  # what is being kept is not counted twice
                gate.kept(await self._ask(gate.keep))
        except EinthovenError as error:  # kept with the next recording
            _LOG.warning("what went to regions was not kept yet", extra={"code": error.code})

    async def _analysed(self, one: KeptRecording) -> KeptRecording:
        if one.attempts >= _ATTEMPTS:
            broken = DefectError("the analysis broke each time.", where="recording", remedy="Report it.")
            return await self._end(one, "failed", error=broken)
        if not await self._ask(lambda s: begin_attempt(s, one.number)):
            raise _Cancelled
        try:
            path, size = await asyncio.to_thread(self._fetched, one)
            reading, info, remarks = await asyncio.to_thread(self._opened, path, one)
        except EinthovenError as error:
            if error.fault != "caller":
                raise
            return await self._end(one, "failed", error=error)
        start_ns = info.start_ns if one.start_ns is None else one.start_ns
        if start_ns is None:
            unknown = InputInvalid(
                "the file does not say when it begins.", where="startTime", remedy="Send it with startTime."
            )
            return await self._end(one, "failed", error=unknown)
        id_ = one.run or hashlib.sha256(f"{one.id} {self._clock.utc_ns()}".encode()).hexdigest()[:16]
        described = await self._ask(
            lambda s: describe_recording(
                s,
                one.number,
                start_ns=start_ns,
                lead=info.leads[reading.lead].name,
                fs=info.fs,
                samples=info.samples,
                hours=len(count_hours(info)),
                remarks=remarks,
                size=size,
                run=id_,
                now_ns=self._clock.utc_ns(),
            )
        )
        if not described:
            raise _Cancelled
        one = msgspec.structs.replace(one, run=id_, start_ns=start_ns)
        entry = await self._driven(one, id_, path, reading)
        if isinstance(entry, Failure):
            return await self._end(one, "failed", error=_error_of(entry))
        found = entry.outputs["ecgDataFilePath"]
        if found is None:
            empty = InputInvalid("the recording is empty.", where="recording", remedy="Send another one.")
            return await self._end(one, "failed", error=empty)
        result = await asyncio.to_thread(self._kept, one, found)
        return await self._end(one, "done", result=result)

    async def _driven(self, one: KeptRecording, id_: str, path: Path, reading: Reading) -> Done | Failure:
        kept = self._run_of(one, reading)
        inputs = {"ecgDataFilePath": str(path.relative_to(self._cache))}
        count = self._settings.batch_workers

        def begun(runs: WorkflowRuns) -> KeptRun:
            try:
                return runs.resume(id_)
            except NotFound:
                return runs.begin(shipped(_WORKFLOW), inputs, options=msgspec.to_builtins(kept), id_=id_)

        with run_session(
            self._database,
            one.org,
            kept,
            self._pool,
            count,
            self._clock,
            folder=str(self._cache),
            regions=self._in_regions(one),
            there=frozenset(STAGES),
            or_here=True,
        ) as runs:
            return await runs.drive(await asyncio.to_thread(begun, runs))

    async def _end(self, one: KeptRecording, state: RecordingState, **more: Any) -> KeptRecording:
        now_ns = self._clock.utc_ns()
        if not await self._ask(lambda s: end_recording(s, one.number, state, now_ns, **more)):
            raise _Cancelled
        METRICS.recordings.labels(state).inc()
        return msgspec.structs.replace(one, state=state)

    async def _forgive(self, one: KeptRecording) -> None:
        with suppress(EinthovenError):
            await self._ask(lambda s: forgive_attempt(s, one.number))

    async def _after_cancelling(self, one: KeptRecording) -> None:
        """Of a recording that somebody cancelled, and not of one that this process leaves."""
        now = await self._ask(lambda s: recording_numbered(s, one.number), reading=True)
        if now.state == "cancelled":
            await asyncio.to_thread(self._tidy, now)
        else:
            await self._forgive(one)

    # ---------------------------------------------------------------- files

    def _opened(self, path: Path, one: KeptRecording) -> tuple[Reading, RecordingInfo, tuple[str, ...]]:
        """How it is read, what is known of it, and remarks; an error names no path of ours."""
        about = one.read_as
        reading = Reading(str(self._cache), 0, about.fs, about.gain, about.baseline)
        try:
            with reading.opened(str(path)) as source:
                info, remarks = source.info, source.remarks
            lead = lead_number(info, about.lead or None)
            return msgspec.structs.replace(reading, folder="", lead=lead), info, remarks
        except EinthovenError as error:
            raise type(error)(error.what, where="recording", remedy=error.remedy) from None

    def _fetched(self, one: KeptRecording) -> tuple[Path, int]:
        """The files of a recording in the local folder, checked; the first of them, and their size."""
        folder = self._cache / one.id
        size = 0
        for file in one.files:
            path = folder / file.name
            if file.object and self._files.manifest(one.org, file.sha256) is None:
                self._fetch_from_store(one, file, path)
            elif not _is_right(path, file.sha256):
                self._files.copy_to(one.org, file.sha256, path, lambda: self._refuse_ended(one))
            size += path.stat().st_size
        return folder / one.files[0].name, size

    def _fetch_from_store(self, one: KeptRecording, file: RecordingFile, path: Path) -> None:
        """A file of the operator's store; from then on it is the service's too."""
        org = one.org
        store = open_store(self._settings.recordings_store) if self._settings.recordings_store else None
        parts: list[Part] = []
        upload = f"store-{hashlib.sha256(file.object.encode()).hexdigest()[:24]}"

        def blocks() -> Iterator[bytes]:
            first = 0
            while store is not None:
                self._refuse_ended(one)
                content = store.read(file.object, first, PART_BYTES)
                if content:
                    parts.append(self._files.put_part(org, file.sha256, upload, first, content))
                    yield content
                first += len(content)
                if len(content) < PART_BYTES:
                    return

        try:
            write_checked(path, blocks(), file.sha256)
        except (RecordingNotFound, ReferenceRefused, DigestMismatch):
            self._files.discard(org, file.sha256, upload)
            raise DigestMismatch(
                "there is no such object in the store of recordings, or it has another SHA-256.",
                where="object",
                remedy="Check its name and its SHA-256.",
            ) from None
        is_kept = self._files.keep(org, file.sha256, parts)
        self._files.discard(org, file.sha256, upload, but=parts if is_kept else ())

    def _kept(self, one: KeptRecording, found: str) -> str:
        """The findings, out of what goes and into what stays."""
        work = open_store(self._work)
        return moved_joined(found, work, self._store, f"findings/{one.org}")

    @property
    def _work(self) -> str:
        """Address of the store of what is only needed on the way; regions have the same."""
        return f"{self._settings.objects_url.rstrip('/')}/{_WORK}"

    def _run_of(self, one: KeptRecording, reading: Reading = Reading()) -> RunFunctions:  # noqa: B008 - frozen
        return RunFunctions(self._work, reading=reading, folder=one.id, recording=one.id)

    def _in_regions(self, one: KeptRecording) -> RegionPort | None:
        """Where hours are analysed; None: here."""
        if self._regions is None or self._regions.current is None:
            return None
        gate = self._gate
        admission = None if gate is None else RecordingAdmission(gate, self._with, (one.org, one.patient))
        return FederatedRegions(
            self._regions.federation, urgency=2, needs=self._settings.needs, admission=admission
        )

    def _tidy(self, one: KeptRecording) -> None:
        """Remove what was only needed on the way, and end the run of a recording that was cancelled."""
        if one.run is not None:
            kept = self._run_of(one)
            session = run_session(self._database, one.org, kept, self._pool, 1, self._clock)
            with session as runs, suppress(NotFound):
                runs.cancel(one.run)
        for name in list(self._store.names(_work_folder(one))):
            self._store.delete(name)
        shutil.rmtree(self._cache / one.id, ignore_errors=True)
        with closing(self._database.connect()) as connection, connection.writing() as statements:
            mark_tidy(statements, one.number)

    def _refuse_ended(self, one: KeptRecording) -> None:
        if self._is_stopping.is_set() or one.number in self._ended:
            raise _Cancelled

    # ---------------------------------------------------------------- whose it is

    async def _hold(self, one: KeptRecording) -> bool:
        now_ns = self._clock.utc_ns()
        return await self._with(lambda c: take_lease(c, _job(one), self._holder, now_ns, LEASE_S))

    async def _keep(self, one: KeptRecording) -> None:
        while True:
            await asyncio.sleep(LEASE_S / 3)
            try:
                await self._hold(one)
            except EinthovenError:
                continue

    async def _give_back(self, one: KeptRecording) -> None:
        try:
            await self._with(lambda c: give_back(c, self._holder, _job(one)))
        except EinthovenError:
            _LOG.warning("a lease was not given back; it ends by itself")

    def _put_off(self, number: int, for_s: float | None = None) -> None:
        before_s = self._again_s.get(number, (0.0, _AGAIN_S / 2))[1]
        wait_s = for_s or min(_AGAIN_MOST_S, 2 * before_s)
        self._again_s[number] = (self._clock.now_s() + wait_s, wait_s if for_s is None else before_s)

    async def _ask(self, question: Callable[[Statements], _T], *, reading: bool = False) -> _T:
        ask = self._connections.read if reading else self._connections.write
        return await ask(question)

    async def _with(self, use: Callable[[Connection], _T]) -> _T:
        def perform() -> _T:
            connection = self._database.connect()
            try:
                return use(connection)
            finally:
                connection.close()

        return await asyncio.to_thread(perform)


def _error_of(failure: Failure) -> EinthovenError:
    """Whose fault it is that a run failed; its message names kinds and places, never values."""
    what = f"{failure.message} ({failure.code})."
    if failure.broke == "refused":
        return RecordingUnreadable(what, where="recording", remedy="Mend the file, and send it again.")
    if failure.broke in ("transport", "timeout", "throttled", "server"):
        return StoreUnavailable(what, where="recording", remedy="Redrive it.")
    return DefectError(what, where="recording", remedy="Report it.")


def _is_right(path: Path, sha256: str) -> bool:
    """Whether an earlier attempt left the file whole."""
    if not path.is_file():
        return False
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(PART_BYTES):
            digest.update(block)
    return digest.hexdigest() == sha256


def _work_folder(one: KeptRecording) -> str:
    return f"{_WORK}/{one.id}"


def _job(one: KeptRecording) -> str:
    return f"recording:{one.number}"
