"""The site manager as a part of the service: its keys, its policy, and a thread with an event loop."""

import asyncio
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from einthoven.edge.nanoservices import check_name
from einthoven.errors import EinthovenError, InputInvalid, KeyRefused
from einthoven.runtime.nats_link import NatsLink
from einthoven.runtime.secret_files import keep_secret, secret_named
from einthoven.runtime.site_office import SiteOffice
from einthoven.server.data_gate import PolicyFile
from einthoven.server.logs import place_of
from einthoven.server.metrics import METRICS
from einthoven.server.settings import Settings
from einthoven.storage import Database, open_store
from einthoven.trust.policy import Policy, read_policy

__all__ = ["SiteManaging", "node_link_of", "office_of", "site_key"]

_LOG: Final = logging.getLogger("einthoven.nodes")


def site_key(folder: Path, site: str) -> Ed25519PrivateKey:
    """The site's key, a new one the first time.

    On several machines the file in the folder ``keys`` of the data folder must be the same.

    Raises
    ------
    KeyRefused : it cannot be opened.
    StoreUnavailable : it cannot be read or written.
    """
    check_name(site)
    found = secret_named(folder, "site", site)
    if found is None:
        try:
            found = keep_secret(folder, "site", site)
        except KeyRefused:  # another process was quicker
            found = secret_named(folder, "site", site)
            if found is None:
                raise
    return Ed25519PrivateKey.from_private_bytes(found)


def node_link_of(settings: Settings) -> NatsLink:
    """How the nodes' servers are reached; raises InputInvalid if the settings do not say so."""
    return NatsLink(
        servers=tuple(one for part in settings.nodes_nats.split(",") if (one := part.strip())),
        ca=settings.nodes_ca or None,
        credentials=settings.nodes_credentials or None,
    )


def office_of(
    settings: Settings, database: Database, holder: str, ready: Callable[[], None] | None = None
) -> SiteOffice:
    """The office of the settings' site.

    Raises
    ------
    InputInvalid : the servers or the policy are not good.
    """
    return SiteOffice(
        settings.nodes_site,
        node_link_of(settings),
        database,
        open_store(settings.objects_url),
        site_key(settings.folder, settings.nodes_site),
        holder=holder,
        policy=_policy(settings.policy),
        ready=ready,
        told=lambda one: METRICS.site_happenings.labels(settings.nodes_site, one.kind).inc(),
    )


def _policy(path: str) -> Callable[[], Policy | None] | None:
    if not path:
        return None
    try:
        read_policy(Path(path).read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise InputInvalid(f"the policy cannot be read ({type(error).__name__}).", where=path) from None
    return PolicyFile(Path(path)).current


class SiteManaging:
    """A thread that is in office whenever no other process is."""

    def __init__(self, settings: Settings, database: Database, holder: str) -> None:
        self._settings = settings
        self._database = database
        self._holder = holder
        self._loop = asyncio.new_event_loop()
        self._office: SiteOffice | None = None
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="site", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Leave office; the nodes go on."""
        self._is_stopping.set()
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._leave)
        self._thread.join(timeout_s)

    def _leave(self) -> None:
        if self._office is not None:
            self._office.stop()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except EinthovenError as error:
            _LOG.error("there is no site manager: %s", error, extra={"code": error.code})
        except Exception as error:  # noqa: BLE001 - the service goes on
            _LOG.error("the site manager ended", extra=place_of(error))

    async def _serve(self) -> None:
        self._office = office_of(self._settings, self._database, self._holder)
        if not self._is_stopping.is_set():
            await self._office.run()
