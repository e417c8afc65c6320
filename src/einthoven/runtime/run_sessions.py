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
from einthoven.continuum import Continuum
from einthoven.placement import Terms
from einthoven.runtime.conducting import (
    ByReference,
    Conductor,
    Elsewhere,
    InProcess,
    InRegions,
    Invoker,
    Own,
    Routed,
)
from einthoven.runtime.ecg_functions import (
    AHEAD,
    CUT,
    Reading,
    ahead_functions,
    cutting_of,
    ecg_functions,
    holding,
)
from einthoven.runtime.exchange import LEAST_BYTES, Exchange
from einthoven.runtime.federation import DataOf, FederatedRegions, federation_of
from einthoven.runtime.hosted import Hosted
from einthoven.runtime.planned_regions import PlannedRegions
from einthoven.runtime.region_invoker import RegionInvoker
from einthoven.runtime.region_port import RegionPort
from einthoven.runtime.worker_pool import WorkerPool
from einthoven.runtime.workflow_runs import WorkflowRuns
from einthoven.storage import Database, open_store
from einthoven.storage.runs import KeptRun
from einthoven.workflow import Policy
from einthoven.workflow.expressions import Resource

__all__ = [
    "SCHEDULE",
    "SHIPPED",
    "RunFunctions",
    "functions_of",
    "place",
    "regions_of",
    "run_session",
    "shipped",
]

_HELD_BACK: Final = 10_000
"""Calls that are scheduled together, at most."""
_LONGEST_S: Final = 3600.0
"""One invocation in a region takes at most so long."""
SCHEDULE: Final = "schedule"
"""Instead of a policy: what waits is scheduled together."""
_HOUR_BYTES: Final = 2_760_000
"""Of an hour of one lead, as the article's recordings have it (33 MB in 12 h)."""
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
    continuum: str = ""
    """File that declares the regions where the ECG functions run; empty: in this process."""
    policy: str = Terms().policy
    """Of `einthoven.placement.POLICIES`, or `SCHEDULE`."""
    data_at: str = ""
    """The place of the regions where recordings lie; empty: nobody says."""
    needs: tuple[str, ...] = ()
    """Labels that a region must have."""
    folder: str = ""
    """Of the store, in which all objects of the run lie; empty: its top."""
    recording: str = ""
    """The recording that the service analyses with it, and goes on with by itself."""


def shipped(name: str) -> bytes:
    """The document of a workflow that comes with the program."""
    return files("einthoven.workflow").joinpath("ecg", SHIPPED[name]).read_bytes()


def functions_of(run: KeptRun) -> RunFunctions:
    """With what a run is performed."""
    return msgspec.json.decode(run.options, type=RunFunctions)


def regions_of(continuum: Continuum, kept: RunFunctions, clock: Clock) -> tuple[RegionPort, int]:
    """The regions where a run's ECG functions are performed, as one, and how many calls to give it at once.

    Raises
    ------
    InputInvalid : as `federation_of` does.
    """
    hosted = Hosted(store=kept.store, reading=kept.reading, chunk_s=60.0 * kept.chunk_min)
    is_scheduled = kept.policy == SCHEDULE
    policy = Terms().policy if is_scheduled else kept.policy
    terms = Terms(policy=policy, attempt_s=900.0, waiting=100_000)
    federation = federation_of(continuum, hosted, clock, terms)
    hour_bytes = round(_HOUR_BYTES * kept.chunk_min / 60.0) if kept.data_at else 0

    def data_of(function: str) -> DataOf:
        return DataOf(kept.data_at, hour_bytes if function.startswith("split") else 0)

    needs = frozenset(kept.needs)
    if is_scheduled:
        return PlannedRegions(federation, clock, needs=needs, data_of=data_of), _HELD_BACK
    slots = sum(one.slots for one in continuum.regions)
    return FederatedRegions(federation, urgency=2, needs=needs, data_of=data_of), min(_HELD_BACK, 2 * slots)


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
    regions: RegionPort | None = None,
    there: frozenset[str] | None = None,
    or_here: bool = False,
    at_once: int = 64,
) -> Iterator[WorkflowRuns]:
    """Runs that are performed so; the caller closes ``pool``, ``elsewhere`` and ``regions``.

    Parameters
    ----------
    count : workers of ``pool``.
    more : functions beside the ECG functions, by their type.
    elsewhere : who calls functions that are not here.
    folder : where recordings lie on this machine; None: where the run was begun with.
    regions : where the ECG functions are performed; None: in this process.
    there : types of those that are performed there; None: all.
    or_here : whether what no region did is done in this process.
    at_once : invocations that are under way at one time, or held back by whoever schedules them; more where
        the workers of ``pool`` want more.
    """
    reading = kept.reading if folder is None else msgspec.structs.replace(kept.reading, folder=folder)
    ecg = ecg_functions(kept.store, kept.chunk_min * 60.0, reading, folder=kept.folder)
    values = f"{kept.store}/{kept.folder}" if kept.folder else kept.store
    exchange = Exchange(values, kept.by_reference_from)
    ahead = ahead_functions(kept.store, kept.chunk_min * 60.0, reading, folder=kept.folder)
    here = InProcess({**ecg, **more}, pool, holding(kept.store), exchange, ahead)
    places = dict.fromkeys([*ecg, *more], "here")
    own: Own = here
    if regions is not None:
        there = (frozenset(ecg) if there is None else there) - frozenset(more)
        places |= dict.fromkeys(there, "regions")
        cutting = cutting_of(kept.reading, kept.chunk_min * 60.0)
        invoker_there = RegionInvoker(regions, _LONGEST_S, {type_: {"cutting": cutting} for type_ in CUT})
        own = InRegions(here, ByReference(invoker_there, exchange), there, or_here=or_here)
    invoker: Invoker = own
    if elsewhere is not None:
        invoker = Routed(own, ByReference(elsewhere, exchange), prefers_own=not kept.elsewhere)
    runs = WorkflowRuns(
        database,
        Conductor(invoker, slots=max(at_once, 4 * count), clock=clock, foreseen=here.foresee),
        clock,
        org=org,
        policy=Policy(
            concurrency=4 * count if regions is None else max(at_once, 4 * count),
            ahead={type_: port for type_, port in AHEAD.items() if type_ not in (there or ())},
        ),
        place_of=partial(place, places, not kept.elsewhere),
        store=open_store(values),
        passes_references=True,
    )
    try:
        yield runs
    finally:
        runs.close()


def place(places: Mapping[str, str], prefers_own: bool, type_: str, resource: Resource | None) -> str | None:
    """Functions of one place run one after the other in one process; of those of others nothing is known."""
    return places.get(type_) if prefers_own or resource is None else None
