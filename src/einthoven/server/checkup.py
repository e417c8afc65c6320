"""Whether the service could do its work with these settings: each part is tried, none is believed."""

import secrets
import socket
import time
from collections.abc import Callable
from typing import Final

import msgspec

from einthoven.clock import SystemClock
from einthoven.errors import EinthovenError
from einthoven.server.channels import open_channels, read_channels
from einthoven.server.settings import Settings
from einthoven.storage import open_database, open_store
from einthoven.storage.migrations import MIGRATIONS

__all__ = ["Check", "check_service"]

_COMMITS: Final = 20


class Check(msgspec.Struct, frozen=True):
    """One part and how it is."""

    name: str
    is_well: bool
    detail: str
    remedy: str = ""


def check_service(settings: Settings) -> list[Check]:
    """Try the database, the object store, the channels and the port; nothing is left behind."""
    return [
        _tried("database", lambda: _database(settings)),
        _tried("objects", lambda: _objects(settings)),
        _tried("channels", lambda: _channels(settings)),
        _tried("port", lambda: _port(settings)),
    ]


def _tried(name: str, part: Callable[[], str]) -> Check:
    try:
        return Check(name, is_well=True, detail=part())
    except EinthovenError as error:
        return Check(name, is_well=False, detail=error.what, remedy=error.remedy)
    except OSError as error:
        return Check(name, is_well=False, detail=error.strerror or "it cannot be had.")


def _database(settings: Settings) -> str:
    settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = open_database(settings.database_url)
    database.migrate()
    connection = database.connect()
    job = f"doctor-{secrets.token_hex(8)}"
    spent_ms = []
    try:
        for _ in range(_COMMITS):
            began_s = time.perf_counter()
            with connection.writing() as statements:
                statements.run("DELETE FROM leases WHERE job = ?", (job,))
                statements.run("INSERT INTO leases (job, holder, until_ns) VALUES (?, ?, 0)", (job, job))
            spent_ms.append(1000 * (time.perf_counter() - began_s))
        with connection.writing() as statements:
            statements.run("DELETE FROM leases WHERE job = ?", (job,))
            waiting = statements.rows("SELECT COUNT(*) FROM journal")[0][0]
            dead = statements.rows("SELECT COUNT(*) FROM outbox WHERE state = 'dead'")[0][0]
    finally:
        connection.close()
    middle_ms = sorted(spent_ms)[_COMMITS // 2]
    kind = "PostgreSQL" if settings.database_url.startswith("postgres") else "SQLite"
    return (
        f"{kind}, version {len(MIGRATIONS)}; a commit takes {middle_ms:.1f} ms; "
        f"{waiting} segments wait to be sealed, {dead} dead letters"
    )


def _objects(settings: Settings) -> str:
    store = open_store(settings.objects_url)
    name = f"doctor/{secrets.token_hex(8)}"
    began_s = time.perf_counter()
    store.put(name, name.encode())
    store.get(name)
    store.delete(name)
    return f"an object is written, read and removed in {1000 * (time.perf_counter() - began_s):.0f} ms"


def _channels(settings: Settings) -> str:
    found = open_channels(read_channels(settings.folder / "channels.toml"), SystemClock())
    return (
        f"configured: {', '.join(sorted(found))}" if found else "none is configured: nobody is told of alerts"
    )


def _port(settings: Settings) -> str:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    socket.create_server((settings.host, settings.port), family=family).close()
    return f"{settings.host}:{settings.port} is free"
