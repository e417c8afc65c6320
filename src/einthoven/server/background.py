"""The process beside the workers: sealing, views, the clock of alerts, the watch over devices and channels.

It is a process of its own because what it does in bursts would hold up the requests of a worker that did it.
One for each machine is started; of all machines that share a database one at a time does each job.
"""

import logging
import os
import secrets
import signal
import socket
import threading
from types import FrameType
from typing import Final

from einthoven.clock import SystemClock
from einthoven.server.anchor_keeper import LOOKS_EVERY_S, AnchorKeeper
from einthoven.server.batch_views import BatchLayer
from einthoven.server.data_gate import DataGate
from einthoven.server.desk import Desk, Raised, limits_of
from einthoven.server.jobs import Job, Jobs
from einthoven.server.keys import signing_keys
from einthoven.server.ledger_keeper import LedgerKeeper
from einthoven.server.logs import configure_logs
from einthoven.server.metrics import count_alerts, families
from einthoven.server.movements import Movements
from einthoven.server.placing import Placing
from einthoven.server.real_time_views import SpeedLayer
from einthoven.server.recording_runs import RecordingRuns
from einthoven.server.recording_views import RecordingViews
from einthoven.server.region_figures import figures_in
from einthoven.server.sealing import Sealer
from einthoven.server.settings import Settings, handed_over
from einthoven.server.site_managing import SiteManaging
from einthoven.server.sql_outbox import forget_heartbeats
from einthoven.server.upload_expiry import UploadExpiry
from einthoven.server.watch import Watch
from einthoven.storage import Connection, MasterDataset, open_database, open_store
from einthoven.storage.received import ReceivedFiles

__all__ = ["main"]

_LOG: Final = logging.getLogger("einthoven.background")
_LOOK_S: Final = 0.5
_NICE: Final = 5
_HEARTBEATS_NS: Final = 24 * 3600 * 10**9


def main() -> None:
    """Do the jobs until SIGTERM, or until the supervisor is gone."""
    settings, supervisor = handed_over()
    configure_logs(settings.log_level)
    os.nice(_NICE)
    is_over = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        is_over.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the supervisor says when
    jobs = _jobs(settings)
    _LOG.info("ready")
    while not is_over.wait(_LOOK_S) and os.getppid() == supervisor:
        pass
    for one in jobs:
        one.stop(settings.drain_s)


def _jobs(settings: Settings) -> tuple[Jobs | RecordingRuns | SiteManaging, ...]:
    """The watch over alerts, and apart from it what may take long: no ladder waits for an object store."""
    database, clock = open_database(settings.database_url), SystemClock()
    watch = Watch(Desk(signing_keys(settings.folder)), _raised)
    store = open_store(settings.objects_url)
    dataset = MasterDataset(store)
    sealer = Sealer(dataset, after_s=settings.seal_after_s, bytes_=settings.seal_bytes)
    holder = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    watching = (
        Job("clock", 1.0, watch.pass_clock),
        Job("devices", 10.0, watch.look_at_devices),
        Job("channels", 5.0, watch.look_at_channels),
        Job("emergencies", 5.0, watch.look_at_emergencies),
        Job("heartbeats", 30.0, watch.beat),
    )
    movements = Movements(after_s=settings.movements_s, tier=settings.tier)
    keeping = (
        Job("seal", 1.0, sealer.seal),
        Job("tidy", 1.0, _tidy),
        Job("forget", 3600.0, _forget),
        Job("uploads", 60.0, UploadExpiry(ReceivedFiles(store)).remove),
    )
    limits = limits_of(Desk(signing_keys(settings.folder)))
    batch = BatchLayer(dataset, store, limits, after_s=settings.views_after_s)
    viewing = (
        Job("batch-views", 5.0, batch.refresh),
        Job("recording-views", 5.0, RecordingViews(batch, store).publish),
        Job("real-time-views", 10.0, SpeedLayer().keep),
        Job("needless-views", 60.0, batch.tidy),
    )
    ledgers = LedgerKeeper(settings.folder, Desk(signing_keys(settings.folder)), _raised)
    prompt: tuple[Job, ...] = (
        Job("checkpoints", 1.0, ledgers.sign),
        Job("movements", 1.0, movements.enter),
    )
    if settings.segments_in == "regions":
        path = settings.policy_path
        gate = None if path is None else DataGate(path, lambda: placing.regions, clock)
        placing = Placing(settings.continuum_path, lambda: figures_in(families()), gate)
        prompt = (*prompt, Job("placements", 1.0, placing.place))
    anchors = AnchorKeeper(settings, Desk(signing_keys(settings.folder)), _raised)
    anchoring = (Job("anchors", min(LOOKS_EVERY_S, settings.anchor_every_s), anchors.anchor),)
    sites = (SiteManaging(settings, database, f"{holder}-site"),) if settings.nodes_nats else ()
    return (
        *sites,
        *([Jobs(database, clock, f"{holder}-anchoring", anchoring)] if settings.chain_url else []),
        Jobs(database, clock, f"{holder}-watching", watching),
        Jobs(database, clock, f"{holder}-keeping", keeping),
        Jobs(database, clock, f"{holder}-viewing", viewing),
        Jobs(database, clock, f"{holder}-prompt", prompt),
        Jobs(database, clock, f"{holder}-verifying", (Job("ledgers", 900.0, ledgers.verify),)),
        RecordingRuns(database, clock, settings, f"{holder}-recordings"),
    )


def _raised(raised: Raised) -> None:
    count_alerts(raised.changes)


def _tidy(connection: Connection, _now_ns: int) -> int:
    connection.tidy()
    return 0


def _forget(connection: Connection, now_ns: int) -> int:
    with connection.writing() as statements:
        forget_heartbeats(statements, now_ns - _HEARTBEATS_NS)
    return 0


if __name__ == "__main__":
    main()
