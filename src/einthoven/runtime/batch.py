"""Recordings analysed in chunks, side by side, and joined."""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

import msgspec

from einthoven.errors import DefectError, EinthovenError, InputInvalid
from einthoven.functions import Chunk, analyse, count_hours, join, own_part, split
from einthoven.functions.chunks import CHUNK_S
from einthoven.records import Described
from einthoven.signal.findings import Findings
from einthoven.signal.recording import RecordingInfo, RecordingSource
from einthoven.signal.rules import Criteria

__all__ = ["Job", "Outcome", "analyse_files", "analyse_source", "lead_number", "plan"]

_AHEAD = 4
"""Chunks given to each worker in advance."""


class Job(msgspec.Struct, frozen=True):
    """One lead of one file, and the chunks that it is cut into."""

    path: Path
    lead: int
    info: RecordingInfo
    chunks: tuple[Chunk, ...]
    criteria: Criteria | None = None
    remarks: tuple[str, ...] = ()
    """What was taken for granted of the file, and what of it was left out."""
    described: Described = Described()


class Outcome(msgspec.Struct, frozen=True, eq=False):
    """What became of one job: findings, or the error that ended it; None for an empty recording."""

    job: Job
    findings: Findings | None
    error: EinthovenError | None
    elapsed_s: float


def plan(
    path: Path,
    lead: str | None = None,
    chunk_s: float = CHUNK_S,
    criteria: Criteria | None = None,
    described: Described = Described(),  # noqa: B008 - frozen
) -> Job:
    """Open a recording and cut it; the limits of the rhythm rules are the defaults when None.

    Raises
    ------
    InputInvalid : no such lead, or chunks too short.
    RecordingNotFound, RecordingUnreadable : see `einthoven.records`.
    """
    with described.opened(path) as source:
        info, remarks = source.info, source.remarks
    chunks = count_hours(info, chunk_s)
    return Job(path, lead_number(info, lead), info, chunks, criteria, remarks, described)


def lead_number(info: RecordingInfo, lead: str | None) -> int:
    """A lead's number from its name, or from digits; the first when None."""
    names = [described.name for described in info.leads]
    if lead is None:
        return 0
    if lead in names:
        return names.index(lead)
    if lead.isdigit() and int(lead) < len(names):
        return int(lead)
    raise InputInvalid(
        f"there is no lead {lead!r}; the recording has {', '.join(names)}.",
        where=info.name,
        remedy="Give one of these names, or a number from 0.",
    )


def analyse_source(
    source: RecordingSource, lead: int = 0, chunk_s: float = CHUNK_S, criteria: Criteria | None = None
) -> Findings | None:
    """Analyse one recording in this process, chunk after chunk; None when it is empty."""
    parts = [own_part(_findings(source, chunk, lead), chunk) for chunk in count_hours(source.info, chunk_s)]
    return join(parts, criteria) if parts else None


def analyse_files(
    jobs: list[Job], workers: int, progress: Callable[[Job], None] = lambda _: None
) -> Iterator[Outcome]:
    """Analyse many recordings, ``workers`` chunks at a time; outcomes come as they are ready.

    ``progress`` is called after each chunk. With one worker everything runs in this process.
    """
    if workers <= 1 or sum(len(job.chunks) for job in jobs) <= 1:
        for job in jobs:
            yield _alone(job, progress)
        return
    with _pool(workers) as pool:
        yield from _side_by_side(jobs, pool, workers, progress)


def _findings(source: RecordingSource, chunk: Chunk, lead: int) -> Findings:
    findings = analyse(split(source, chunk, lead))[0].findings
    if findings is None:
        raise DefectError("the pipeline left no findings.")
    return findings


def _chunk_of_file(path: Path, described: Described, lead: int, chunk: Chunk) -> tuple[Findings, float]:
    """What a worker does: open, read, analyse, keep its own part; and the processor time it took."""
    began = os.times()
    with described.opened(path) as source:
        part = own_part(_findings(source, chunk, lead), chunk)
    ended = os.times()
    return part, ended.user + ended.system - began.user - began.system


def _alone(job: Job, progress: Callable[[Job], None]) -> Outcome:
    parts: list[Findings] = []
    elapsed_s = 0.0
    try:
        for chunk in job.chunks:
            part, used_s = _chunk_of_file(job.path, job.described, job.lead, chunk)
            parts.append(part)
            elapsed_s += used_s
            progress(job)
    except EinthovenError as error:
        return Outcome(job, None, error, elapsed_s)
    return Outcome(job, join(parts, job.criteria) if parts else None, None, elapsed_s)


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _side_by_side(
    jobs: list[Job], pool: ProcessPoolExecutor, workers: int, progress: Callable[[Job], None]
) -> Iterator[Outcome]:
    todo = [(job, chunk) for job in jobs for chunk in job.chunks]
    done: dict[int, dict[int, tuple[Findings, float]]] = {id(job): {} for job in jobs}
    failed: dict[int, EinthovenError] = {}
    running: dict[Future[tuple[Findings, float]], tuple[Job, Chunk]] = {}
    for job in jobs:
        if not job.chunks:
            yield Outcome(job, None, None, 0.0)
    todo.reverse()
    while todo or running:
        while todo and len(running) < _AHEAD * workers:
            job, chunk = todo.pop()
            if id(job) not in failed:
                running[pool.submit(_chunk_of_file, job.path, job.described, job.lead, chunk)] = (
                    job,
                    chunk,
                )
        ready, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in ready:
            job, chunk = running.pop(future)
            progress(job)
            try:
                done[id(job)][chunk.number] = future.result()
            except EinthovenError as error:
                if id(job) not in failed:
                    failed[id(job)] = error
                    yield Outcome(job, None, error, 0.0)
                continue
            parts = done[id(job)]
            if len(parts) == len(job.chunks):
                ordered = [parts[number] for number in sorted(parts)]
                whole = join([part for part, _ in ordered], job.criteria)
                yield Outcome(job, whole, None, sum(used_s for _, used_s in ordered))
                done[id(job)] = {}
