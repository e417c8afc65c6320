"""The batch workflow measured: how long a recording takes, by its length, its chunks and the workers."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from einthoven.clock import SystemClock
from einthoven.functions import Ecg, encode, in_sequence
from einthoven.functions.chunks import CHUNK_S
from einthoven.records import open_recording, write_recording
from einthoven.runtime.batch import analyse_source
from einthoven.runtime.conducting import Conductor, InProcess
from einthoven.runtime.ecg_functions import AHEAD, ahead_functions, ecg_functions, holding
from einthoven.runtime.joined_findings import findings_in, joined_in
from einthoven.runtime.worker_pool import WorkerPool
from einthoven.runtime.workflow_runs import WorkflowRuns
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.storage import Database, FolderStore, open_database
from einthoven.workflow import Done, Entry, Execution, Policy, check_text, compile_workflow

__all__ = [
    "ARTICLE",
    "BatchPlan",
    "BatchRun",
    "InvocationCost",
    "Performed",
    "a_patients_hours",
    "bench_batch",
    "bench_invocations",
    "new_database",
    "perform_batch",
]

ARTICLE: Final = {1.0: 12.27, 2.0: 12.35, 12.0: 14.36}
"""Makespans of Ristov et al., IEEE Computer 2023, by hours of ECG, s: means over four regions of a public
cloud, one function instance an hour; derived from the printed minutes of ECG a second."""
_REPEATS: Final = 3
_UNSPLIT_HOURS: Final = 24.0
_ITERATIONS: Final = 5000
_FS: Final = 125.0


class BatchPlan(msgspec.Struct, frozen=True):
    """One measurement to be made."""

    hours: float
    workers: int
    chunk_min: float = 60.0
    is_fused: bool = True


class BatchRun(msgspec.Struct, frozen=True):
    """What was measured."""

    hours: float
    workers: int
    chunk_min: float
    is_fused: bool
    makespan_s: float
    """From the run's beginning until its result is on disk: the median of three."""
    speedup: float | None
    """Against one worker in the same bench; None where that was not measured."""
    efficiency: float | None
    ecg_min_per_s: float
    invocations: int
    identical: bool
    """Whether the findings are, byte for byte, those of the unsplit recording (of more than 24 hours, of the
    recording analysed hour after hour: unsplit it would need gigabytes)."""
    article_s: float | None


class InvocationCost(msgspec.Struct, frozen=True):
    """What the machinery costs for an invocation that does nothing, µs."""

    plain: float
    journaled: float


def bench_batch(plans: Sequence[BatchPlan], told: Callable[[str], None]) -> list[BatchRun]:
    """Each plan with warm workers; uploading, and starting processes, are not in it."""
    alone: dict[tuple[float, float, bool], float] = {}
    found: list[BatchRun] = []
    with tempfile.TemporaryDirectory(prefix="einthoven-bench-") as folder:
        for plan in sorted(plans, key=lambda one: (one.workers, one.hours, one.chunk_min)):
            told(f"{plan.hours:g} h, {plan.workers} workers, chunks of {plan.chunk_min:g} min")
            made = _run(Path(folder), plan)
            key = (plan.hours, plan.chunk_min, plan.is_fused)
            if plan.workers == 1:
                alone[key] = made.makespan_s
            speedup = alone[key] / made.makespan_s if key in alone else None
            found.append(
                msgspec.structs.replace(
                    made,
                    speedup=None if speedup is None else round(speedup, 2),
                    efficiency=None if speedup is None else round(speedup / plan.workers, 3),
                )
            )
    return found


def _run(folder: Path, plan: BatchPlan) -> BatchRun:
    recording = a_patients_hours(folder, plan.hours)
    makespans: list[float] = []  # the first, in many chunks, wakes every worker
    with tempfile.TemporaryDirectory(dir=folder) as place, closing(WorkerPool(plan.workers)) as pool:
        database = new_database(Path(place))
        for repeat in range(_REPEATS + 1):
            store = Path(place) / f"work-{repeat}"
            chunk_min = plan.chunk_min if repeat else max(1.0, plan.hours * 60.0 / (8 * plan.workers))
            done = perform_batch(
                recording, store, database, pool, msgspec.structs.replace(plan, chunk_min=chunk_min)
            )
            makespans.append(done.took_s)
        is_identical = done.findings == _alone(recording, plan.hours)
    makespan_s = statistics.median(makespans[1:])
    return BatchRun(
        hours=plan.hours,
        workers=plan.workers,
        chunk_min=plan.chunk_min,
        is_fused=plan.is_fused,
        makespan_s=round(makespan_s, 4),
        speedup=None,
        efficiency=None,
        ecg_min_per_s=round(plan.hours * 60.0 / makespan_s, 1),
        invocations=done.invocations,
        identical=is_identical,
        article_s=ARTICLE.get(plan.hours),
    )


def a_patients_hours(folder: Path, hours: float) -> Path:
    """The recording that is measured with, written when it is not there."""
    recording = folder / f"record-{round(hours * 3600)}"
    if not recording.with_suffix(".hea").exists():
        write_recording(recording, VirtualPatient(3, SCENES["healthy"], fs=_FS, duration_s=hours * 3600.0))
    return recording


class Performed(NamedTuple):
    """One run of the batch workflow."""

    took_s: float
    """Until its result was on disk."""
    invocations: int
    findings: bytes
    """Of the joined recording; empty where the run failed."""


def perform_batch(
    recording: Path, store: Path, database: Database, pool: WorkerPool, plan: BatchPlan
) -> Performed:
    """Run the batch workflow once, journaled."""
    document = files("einthoven.workflow").joinpath("ecg", "batch.yaml").read_bytes()
    clock = SystemClock()
    functions = ecg_functions(str(store), plan.chunk_min * 60.0)
    ahead = ahead_functions(str(store), plan.chunk_min * 60.0)
    invoker = InProcess(functions, pool, holding(str(store)), ahead=ahead)
    runs = WorkflowRuns(
        database,
        Conductor(invoker, slots=4 * plan.workers, clock=clock, foreseen=invoker.foresee),
        clock,
        policy=Policy(concurrency=4 * plan.workers, ahead=dict(AHEAD)),
        place_of=(lambda *_: "here") if plan.is_fused else None,
    )
    paths: list[str] = []
    began_s = time.perf_counter()
    run = runs.begin(document, {"ecgDataFilePath": str(recording)})
    entry = asyncio.run(runs.drive(run, ended=paths.append))
    took_s = time.perf_counter() - began_s
    runs.close()
    return Performed(took_s, len(paths), _findings(entry, store))


def new_database(folder: Path) -> Database:
    """An empty one for runs."""
    database = open_database(str(folder / "runs.db"))
    database.migrate()
    return database


def _findings(entry: Entry, store: Path) -> bytes:
    if not isinstance(entry, Done):
        return b""
    kept = FolderStore(store)
    whole = joined_in(entry.outputs["ecgDataFilePath"], kept)
    found = in_sequence(list(findings_in(whole, kept)))
    return encode(Ecg(findings=found), "msgpack")


def _alone(recording: Path, hours: float) -> bytes:
    with open_recording(recording) as source:
        found = analyse_source(source, chunk_s=1e9 if hours <= _UNSPLIT_HOURS else CHUNK_S)
        return encode(Ecg(findings=found), "msgpack")


# -------------------------------------------------------------------- invocations


_NOTHING: Final = """
name: "nothing"
dataIns: [{name: "n", type: "number", source: "n"}]
workflowBody:
- parallelFor:
    name: "each"
    loopCounter: {name: "k", type: "number", from: "0", to: "nothing/n"}
    loopBody:
    - function:
        name: "same"
        type: "same"
        dataIns: [{name: "x", type: "number", source: "each/k"}]
        dataOuts: [{name: "x", type: "number"}]
    dataOuts: [{name: "xs", type: "collection", source: "same/x"}]
dataOuts: [{name: "xs", type: "collection", source: "each/xs"}]
"""


def bench_invocations() -> InvocationCost:
    """A loop of functions that do nothing, in this process, without and with a journal on disk."""
    document = _NOTHING.encode()
    program = compile_workflow(check_text(document))
    clock = SystemClock()
    conductor = Conductor(InProcess({"same": lambda x: {"x": x}}), slots=64, clock=clock)
    inputs = {"n": _ITERATIONS}
    asyncio.run(conductor.run(Execution(program, "warm", {"n": 200})))
    began_s = time.perf_counter()
    asyncio.run(conductor.run(Execution(program, "plain", inputs)))
    plain_s = time.perf_counter() - began_s
    with (
        tempfile.TemporaryDirectory(prefix="einthoven-bench-") as folder,
        closing(WorkflowRuns(new_database(Path(folder)), conductor, clock)) as runs,
    ):
        began_s = time.perf_counter()
        asyncio.run(runs.drive(runs.begin(document, inputs)))
        journaled_s = time.perf_counter() - began_s
    return InvocationCost(round(plain_s / _ITERATIONS * 1e6, 1), round(journaled_s / _ITERATIONS * 1e6, 1))
