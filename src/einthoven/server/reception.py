"""What the routes of a worker work with."""

import asyncio
from collections.abc import Mapping
from functools import cached_property
from typing import Final

import msgspec

from einthoven.clock import Clock
from einthoven.server.connections import Connections
from einthoven.server.identities import Identities
from einthoven.server.intake import Intake
from einthoven.server.logins import Logins
from einthoven.server.passwords import PasswordCost, Passwords
from einthoven.server.payload_opening import PayloadOpening
from einthoven.server.settings import Settings
from einthoven.server.tracing import NO_TRACES, Spans
from einthoven.server.uploading import Uploads
from einthoven.storage import ObjectStore, open_store
from einthoven.storage.database import Database

__all__ = ["Reception", "Service"]

_THREADS: Final = 2
_PRINTED: Final = 1


class Service(msgspec.Struct, frozen=True, eq=False):
    """The parts that one worker is made of."""

    identities: Identities
    database: Database
    clock: Clock
    intake: Intake
    settings: Settings
    keys: Mapping[str, bytes] = {}
    """Under which alert rules are signed, by name."""
    spans: Spans = NO_TRACES


class Reception:
    """The service, and what its routes share."""

    def __init__(self, service: Service, cost: PasswordCost) -> None:
        self.identities = service.identities
        self.clock = service.clock
        self.intake = service.intake
        self.settings = service.settings
        self.keys = service.keys
        self.connections = Connections(service.database, _THREADS)
        self.health = Connections(service.database, 1, "health")
        self.views = Connections(service.database, _THREADS, "views")
        """For questions that read much: the others do not wait for them."""
        self.verifying = Connections(service.database, 1, "verifying", waiting_max=4)
        """For what reads everything: one at a time."""
        self.printing = asyncio.Semaphore(_PRINTED)
        """Reports that are made at one time."""
        self.uploads = Uploads(service.database, service.clock, service.settings)
        self.payloads = PayloadOpening(service.database, service.clock, service.settings.folder)
        self.passwords = Passwords(cost)
        self.logins = Logins(
            self.connections, self.passwords, service.clock, 3600.0 * service.settings.session_h
        )

    @cached_property
    def store(self) -> ObjectStore:
        """The service's object store."""
        return open_store(self.settings.objects_url)

    def close(self) -> None:
        """Finish what was asked."""
        self.passwords.close()
        self.payloads.close()
        self.uploads.close()
        self.views.close()
        self.verifying.close()
        self.connections.close()
        self.health.close()
