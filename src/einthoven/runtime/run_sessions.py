"""What it takes to drive a run of a workflow with the functions of this program.

The command line and the service both do it so.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.resources import files
from typing import Any, Final

import msgspec

from einthoven.clock import Clock
from einthoven.runtime.conducting import ByReference, Conductor, Elsewhere, InProcess, Invoker, Routed
from einthoven.runtime.ecg_functions import Reading, ecg_functions, holding
from einthoven.runtime.exchange import LEAST_BYTES, Exchange
from einthoven.runtime.worker_pool import WorkerPool
from einthoven.runtime.workflow_runs import WorkflowRuns
from einthoven.storage import Database, open_store
from einthoven.storage.runs import KeptRun
from einthoven.workflow import Policy
from einthoven.workflow.expressions import Resource

__all__ = ["SHIPPED", "RunFunctions", "functions_of", "place", "run_session", "shipped"]

SHIPPED: Final = {"ecg-near-real-time": "near_real_time.yaml", "ecg-batch": "batch.yaml"}
"""Workflows that come with the program."""


class RunFunctions(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a run's functions are found, and how long its hours are; kept with it, for it must stay so."""

    store: str
    module: str | None = None
    chunk_min: float = 60.0
    elsewhere: bool = False
    reading: Reading = Reading()
    """Its folder may be another one on each machine."""
    by_reference_from: int = LEAST_BYTES
    """Bytes from which on a value between functions lies in the store."""
    recording: str = ""
    """The recording that the service analyses with it, and goes on with by itself."""


def shipped(name: str) -> bytes:
    """The document of a workflow that comes with the program."""
    return files("einthoven.workflow").joinpath("ecg", SHIPPED[name]).read_bytes()


def functions_of(run: KeptRun) -> RunFunctions:
    """With what a run is performed."""
    return msgspec.json.decode(run.options, type=RunFunctions)


@contextmanager
def run_session(
    database: Database,
    org: str,
    kept: RunFunctions,
    pool: WorkerPool,
    count: int,
    clock: Clock,
    *,
    more: Mapping[str, Callable[..., Any]] = {},
    elsewhere: Elsewhere | None = None,
    folder: str | None = None,
) -> Iterator[WorkflowRuns]:
    """Runs that are performed so; the caller closes ``pool`` and ``elsewhere``.

    Parameters
    ----------
    count : workers of ``pool``.
    more : functions beside the ECG functions, by their type.
    elsewhere : who calls functions that are not here.
    folder : where recordings lie on this machine; None: where the run was begun with.
    """
    reading = kept.reading if folder is None else msgspec.structs.replace(kept.reading, folder=folder)
    functions = {**ecg_functions(kept.store, kept.chunk_min * 60.0, reading), **more}
    exchange = Exchange(kept.store, kept.by_reference_from)
    own = InProcess(functions, pool, holding(kept.store), exchange)
    invoker: Invoker = own
    if elsewhere is not None:
        invoker = Routed(own, ByReference(elsewhere, exchange), prefers_own=not kept.elsewhere)
    runs = WorkflowRuns(
        database,
        Conductor(invoker, slots=max(64, 4 * count), clock=clock),
        clock,
        org=org,
        policy=Policy(concurrency=4 * count),
        place_of=partial(place, frozenset(functions), not kept.elsewhere),
        store=open_store(kept.store),
        passes_references=True,
    )
    try:
        yield runs
    finally:
        runs.close()


def place(own: frozenset[str], prefers_own: bool, type_: str, resource: Resource | None) -> str | None:
    """Functions of this program run here, one after the other in one process; of others nothing is known."""
    return "here" if type_ in own and (prefers_own or resource is None) else None
