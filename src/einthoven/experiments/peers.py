"""The batch workflow beside what one would otherwise take: Lithops, and plain Ray tasks.

All of them call the same functions on the same file and the same chunks, on as many processes; what is timed
is how long it takes until the findings of the whole recording are joined. Ours journals each invocation, and
keeps every chunk and the result on disk besides; the peers do neither. Everything that can be started before
is: our workers, and Ray's. Lithops starts a process for each call, so it is also given one call for each
process, with its share of the chunks. Each turn begins when nothing is left to be written.
"""

import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import (
    AbstractContextManager,
    ExitStack,
    closing,
    contextmanager,
    redirect_stderr,
    redirect_stdout,
)
from importlib import metadata
from itertools import count, pairwise
from pathlib import Path
from typing import Any, Final

import msgspec

from einthoven.errors import DefectError
from einthoven.experiments.batch import BatchPlan, a_patients_hours, new_database, perform_batch
from einthoven.functions import Ecg, analyse, count_hours, encode, join, own_part, split
from einthoven.records import open_recording
from einthoven.runtime.worker_pool import WorkerPool
from einthoven.signal.findings import Findings

__all__ = ["PEERS", "PeerRun", "bench_peers"]

Turn = Callable[[], tuple[float, bytes]]
"""Performs the batch once: how long it took, and the findings."""
Contender = Callable[[Path, Path, float, int], AbstractContextManager[Turn]]
"""Starts a program: in a folder, on a recording of so many hours, with so many processes."""
_ROUNDS: Final = 5
_CHUNKS: Final = 24


class PeerRun(msgspec.Struct, frozen=True, kw_only=True):
    """One program on the batch."""

    name: str
    version: str | None
    makespan_s: float | None = None
    """The median of five, one of each program in every round."""
    ratio: float | None = None
    """Our makespan divided by this one's, in the same rounds."""
    identical: bool | None = None
    """Whether the findings are, byte for byte, ours."""
    reason: str | None = None
    """Why it could not be timed."""


def bench_peers(hours: float, workers: int, told: Callable[[str], None]) -> list[PeerRun]:
    """Ours first; a peer that is not installed has a row that says so.

    Parameters
    ----------
    hours : of ECG, cut into 24 chunks.

    Raises
    ------
    InputInvalid : chunks of less than a minute.
    """
    rows: list[PeerRun] = []
    with tempfile.TemporaryDirectory(prefix="einthoven-bench-") as folder:
        recording = a_patients_hours(Path(folder), hours)
        with open_recording(recording) as source:
            count_hours(source.info, hours * 3600.0 / _CHUNKS)
        for distribution in dict.fromkeys(distribution for distribution, _ in PEERS.values()):
            of_it = {name: peer for name, peer in PEERS.items() if peer[0] == distribution}
            own = Path(folder) / distribution
            own.mkdir()
            ours, *theirs = _side_by_side(own, recording, hours, workers, of_it, told)
            rows += theirs if rows else [ours, *theirs]
    return rows


def _side_by_side(
    folder: Path,
    recording: Path,
    hours: float,
    workers: int,
    peers: Mapping[str, tuple[str, Contender]],
    told: Callable[[str], None],
) -> list[PeerRun]:
    """Ours and some peers, in turns.

    One program at a time: threads that it leaves in this process would disturb whoever comes after it.
    """
    absent: list[PeerRun] = []
    turns: dict[str, Turn] = {}
    versions: dict[str, str | None] = {}
    with ExitStack() as started:
        for name, (distribution, contender) in {_OURS: ("einthoven", _ours), **peers}.items():
            told(f"starting {name}")
            versions[name] = _version(distribution)
            if versions[name] is None:
                absent.append(PeerRun(name=name, version=None, reason=f"{distribution} is not installed"))
                continue
            try:
                turns[name] = started.enter_context(contender(folder, recording, hours, workers))
                turns[name]()  # caches and workers are warm before anybody is timed
            except Exception as error:  # a peer may raise anything
                if name == _OURS:
                    raise
                turns.pop(name, None)
                absent.append(PeerRun(name=name, version=versions[name], reason=type(error).__name__))
        spent: dict[str, list[float]] = {name: [] for name in turns}
        found: dict[str, bytes] = {}
        for number in range(_ROUNDS):
            for name, turn in turns.items():
                told(f"{name}, {number + 1} of {_ROUNDS}")
                os.sync()  # whoever waits for the disk is not to wait for what the one before left to write
                took_s, found[name] = turn()
                spent[name].append(took_s)
    makespans = {name: statistics.median(each) for name, each in spent.items()}
    return [
        PeerRun(
            name=name,
            version=versions[name],
            makespan_s=round(makespan_s, 4),
            ratio=round(makespans[_OURS] / makespan_s, 3),
            identical=found[name] == found[_OURS] != b"",
        )
        for name, makespan_s in makespans.items()
    ] + absent


# -------------------------------------------------------------------- what all of them call


def part_of(path: str, hours: float, number: int) -> Findings:
    """What is found in one chunk of a recording, without what was read around it."""
    with open_recording(Path(path)) as source:
        chunk = count_hours(source.info, hours * 3600.0 / _CHUNKS)[number]
        found = analyse(split(source, chunk))[0].findings
    if found is None:
        raise DefectError("the pipeline left no findings.")
    return own_part(found, chunk)


def parts_of(path: str, hours: float, first: int, until: int) -> list[Findings]:
    """The same of some chunks."""
    return [part_of(path, hours, number) for number in range(first, until)]


def _joined(parts: list[Findings]) -> bytes:
    return encode(Ecg(findings=join(parts)), "msgpack")


def _timed(parts: Callable[[], list[Findings]]) -> Turn:
    def turn() -> tuple[float, bytes]:
        began_s = time.perf_counter()
        found = _joined(parts())
        return time.perf_counter() - began_s, found

    return turn


# -------------------------------------------------------------------- the contenders


@contextmanager
def _ours(folder: Path, recording: Path, hours: float, workers: int) -> Iterator[Turn]:
    plan = BatchPlan(hours, workers, hours * 60.0 / _CHUNKS)
    numbers = count()
    database = new_database(folder)
    with closing(WorkerPool(workers)) as pool:

        def turn() -> tuple[float, bytes]:
            done = perform_batch(recording, folder / f"work-{next(numbers)}", database, pool, plan)
            return done.took_s, done.findings

        yield turn


@contextmanager
def _ray_tasks(_: Path, recording: Path, hours: float, workers: int) -> Iterator[Turn]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray  # noqa: PLC0415 - an optional peer

    ray.init(
        address="local",
        num_cpus=workers,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _system_config={"worker_niceness": 0},  # by itself 15: others on the machine would go before it
    )
    remote = ray.remote(part_of)
    try:
        yield _timed(
            lambda: ray.get([remote.remote(str(recording), hours, number) for number in range(_CHUNKS)])
        )
    finally:
        ray.shutdown()


@contextmanager
def _lithops(_: Path, recording: Path, hours: float, workers: int) -> Iterator[Turn]:
    def parts(executor: Any) -> list[Findings]:
        executor.map(part_of, [(str(recording), hours, n) for n in range(_CHUNKS)], include_modules=None)
        return list(executor.get_result(show_progressbar=False))

    with _lithops_executor(workers) as executor:
        yield _timed(lambda: parts(executor))


@contextmanager
def _lithops_shares(_: Path, recording: Path, hours: float, workers: int) -> Iterator[Turn]:
    edges = [round(_CHUNKS * number / workers) for number in range(workers + 1)]
    shares = [(str(recording), hours, *edge) for edge in pairwise(edges)]

    def parts(executor: Any) -> list[Findings]:
        executor.map(parts_of, shares, include_modules=None)
        return [part for share in executor.get_result(show_progressbar=False) for part in share]

    with _lithops_executor(workers) as executor:
        yield _timed(lambda: parts(executor))


@contextmanager
def _lithops_executor(workers: int) -> Iterator[Any]:
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        import lithops  # noqa: PLC0415 - an optional peer

        config = {
            "lithops": {
                "backend": "localhost",
                "storage": "localhost",
                "telemetry": False,
                "log_level": "CRITICAL",
            },
            # Version 2 takes ten times as long for a call that does nothing.
            "localhost": {"runtime": sys.executable, "version": 1, "worker_processes": workers},
        }
        executor = lithops.FunctionExecutor(config=config)
    with executor:
        yield executor


_OURS: Final = "einthoven, journaled"
PEERS: Final[dict[str, tuple[str, Contender]]] = {
    "ray tasks": ("ray", _ray_tasks),
    "lithops, localhost": ("lithops", _lithops),
    "lithops, one call a process": ("lithops", _lithops_shares),
}
"""Distribution and how it is started, by name."""


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
