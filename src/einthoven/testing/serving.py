"""A real server on a real socket, with whoever asks it something; for tests."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import msgspec
import numpy as np
import uvicorn

from einthoven.clock import Clock, SystemClock
from einthoven.runtime.kernels import warm_kernels
from einthoven.server import accounts
from einthoven.server.accounts import Role
from einthoven.server.app import App, Service, build_app
from einthoven.server.engine import Engine, Follower
from einthoven.server.identities import Identities, Rates
from einthoven.server.intake import Intake
from einthoven.server.passwords import PasswordCost, hash_password
from einthoven.server.settings import Settings
from einthoven.storage import Connection, Database, Statements
from einthoven.testing.builders import a_recording

CHEAP = PasswordCost(1, 8)
PASSWORD = "three words long enough"  # noqa: S105 - of a test


class Served:
    """A running service, and ways to prepare its database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.url = ""
        self.app: App
        self.service: Service
        self._clients: list[httpx.Client] = []

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    def client(self, token: str | None = None) -> httpx.Client:
        """Somebody with a token, or without."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        client = httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)
        self._clients.append(client)
        return client

    def person(self, role: Role = "admin", org: str = "main", patient: str | None = None) -> httpx.Client:
        """A user of this role, made if there is none, with a session."""
        name = f"{role}-{patient}" if patient else str(role)
        with self.writing() as statements:
            now_ns = self.service.clock.utc_ns()
            self._org(statements, org)
            found = [one for one in accounts.list_users(statements, org) if one.name == name.lower()]
            user = (
                found[0]
                if found
                else accounts.add_user(
                    statements,
                    org,
                    name.lower(),
                    role,
                    patient=(patient or "p1") if role == "patient" else None,
                    hash_=hash_password(PASSWORD, CHEAP),
                    now_ns=now_ns,
                )
            )
            _, secret = accounts.issue(
                statements, org, "session", user=user, now_ns=now_ns, lifetime_s=3600.0
            )
        return self.client(secret)

    def device(self, patient: str = "p1", org: str = "main", device: str | None = None) -> httpx.Client:
        """A device with its token."""
        return self.client(self.token("device", patient, org, device)[1])

    def gateway(self, org: str = "main") -> httpx.Client:
        """A gateway with its token."""
        return self.client(self.token("gateway", org=org)[1])

    def token(
        self, kind: Any, patient: str = "p1", org: str = "main", device: str | None = None
    ) -> tuple[int, str]:
        """A device's or gateway's token."""
        with self.writing() as statements:
            self._org(statements, org)
            is_device = kind == "device"
            token, secret = accounts.issue(
                statements,
                org,
                kind,
                now_ns=self.service.clock.utc_ns(),
                patient=patient if is_device else None,
                device=(device or f"{patient}-chest") if is_device else None,
            )
        return token.id, secret

    @contextmanager
    def writing(self) -> Iterator[Statements]:
        """One transaction on the service's database."""
        connection = self.database.connect()
        try:
            with connection.writing() as statements:
                yield statements
        finally:
            connection.close()

    def close(self) -> None:
        """Let everybody go."""
        for client in self._clients:
            client.close()

    @staticmethod
    def _org(statements: Statements, org: str) -> None:
        if org not in [one.org for one in accounts.list_organisations(statements)]:
            accounts.add_organisation(statements, org, "", SystemClock().utc_ns())


@contextmanager
def serving(
    database: Database,
    rates: Rates = Rates(0, 0),  # noqa: B008 - frozen
    follower: Follower | None = None,
    settings: Settings = Settings(),  # noqa: B008
    port: int = 0,
    clock: Clock = SystemClock(),  # noqa: B008
) -> Iterator[Served]:
    """Run the service in a thread, as one worker."""
    warm_kernels()  # compiled now, or the first request would wait for it
    served = Served(database)
    begun = threading.Event()
    failure: list[BaseException] = []
    servers: list[uvicorn.Server] = []

    async def run() -> None:
        identities = Identities(database, clock, rates)
        conversations: list[Connection] = []

        def engine() -> Engine:
            conversations.append(database.connect())
            return Engine(conversations[0], follower)

        intake = Intake(engine, clock)
        served.service = Service(identities, database, clock, intake, settings, {"1": bytes(32)})
        served.app = build_app(served.service, cost=CHEAP)
        config = uvicorn.Config(served.app, port=port, log_config=None, access_log=False, lifespan="on")
        server = uvicorn.Server(config)
        servers.append(server)
        task = asyncio.create_task(server.serve())
        while not server.started and not task.done():
            await asyncio.sleep(0.01)
        served.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        begun.set()
        await task
        await asyncio.to_thread(intake.stop, 10.0)
        await identities.close()
        for conversation in conversations:
            conversation.close()

    def work() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:  # noqa: BLE001 - shown to the test
            failure.append(error)
            begun.set()

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait(60)
    if failure:
        raise failure[0]
    try:
        yield served
    finally:
        served.close()
        servers[0].should_exit = True
        thread.join(30)
    if failure:
        raise failure[0]


def a_segment(sequence: int = 0, *, seconds: float = 10.0, **more: Any) -> dict[str, Any]:
    """A body as a device would send it."""
    counts = a_recording(seed=3, duration_s=seconds).counts[0].clip(-32767, 32767).astype(np.int16)
    return {
        "sequence": sequence,
        "startTime": 1_800_000_000 * 10**9 + round(sequence * seconds * 1e9),
        "fs": float(a_recording(seed=3, duration_s=seconds).info.fs),
        "samples": counts.tolist(),
        **more,
    }


def packed(body: dict[str, Any]) -> bytes:
    """The same as MessagePack."""
    return msgspec.msgpack.encode({**body, "samples": np.array(body["samples"], "<i2").tobytes()})
