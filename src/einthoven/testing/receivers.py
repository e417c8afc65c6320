"""Real receivers of notifications, in this process: a web server that behaves as it is told."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from aiohttp import web

from einthoven.server.delivery.webhook_signing import new_secret, verify_webhook

__all__ = ["WebhookReceiver", "a_webhook_receiver"]

HANGS: Final = 0
"""A behaviour: it takes the request and never answers."""


class WebhookReceiver:
    """Takes webhooks, verifies their signatures, and answers with its behaviours in turn, then with 200."""

    def __init__(self) -> None:
        self.secret = new_secret()
        self.url = ""
        self.behaviours: list[int] = []
        """Statuses to answer with, first to last; `HANGS` for no answer."""
        self.answers: dict[str, str] = {}
        """Further headers of its answers."""
        self.ids: list[str] = []
        """Of everything that arrived, in order, whatever was answered."""
        self.taken: list[str] = []
        """Of what was answered with 200."""
        self.events: list[dict[str, Any]] = []
        self.arrived_s: list[float] = []
        """On `time.perf_counter`."""
        self._release = asyncio.Event()

    def secrets(self, _org: str, _url: str) -> tuple[str, ...]:
        """For `WebhookChannel`."""
        return (self.secret,)

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request."""
        body = await request.read()
        arrived_s = time.perf_counter()
        message_id = verify_webhook(
            (self.secret,), request.headers, body, at_s=float(request.headers["webhook-timestamp"])
        )
        self.ids.append(message_id)
        self.events.append(msgspec.json.decode(body))
        self.arrived_s.append(arrived_s)
        status = self.behaviours.pop(0) if self.behaviours else 200
        if status == HANGS:
            await self._release.wait()
            status = 500
        if status == 200:
            self.taken.append(message_id)
        return web.Response(status=status, headers=self.answers, text="")

    def release(self) -> None:
        """Let go of what hangs."""
        self._release.set()


@asynccontextmanager
async def a_webhook_receiver(
    receiver: WebhookReceiver | None = None, *, port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[WebhookReceiver]:
    """A receiver that listens on loopback while the block runs."""
    receiver = receiver or WebhookReceiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls)
        await site.start()
        listening = runner.addresses[0][1]
        receiver.url = f"{'https' if tls else 'http'}://127.0.0.1:{listening}/hook"
        yield receiver
    finally:
        receiver.release()
        await runner.cleanup()
