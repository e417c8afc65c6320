"""A connection to NATS that comes back by itself, and whose failures are of one kind."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from einthoven.errors import InputInvalid
from einthoven.runtime.nats_link import NatsLink, Unreached

__all__ = ["Msg", "NatsConnection", "Subscription"]

_WAITING_MAX_BYTES: Final = 512 * 2**20
"""What came and was not looked at yet, or goes and was not sent; more is dropped, and sent again by whoever
waits for it."""
_PING_S: Final = 5
_CLOSING_S: Final = 2.0
_AGAIN_S: Final = 0.1


class _Client(Client):
    """Never says who it is to a server without TLS, where TLS is wanted."""

    is_encrypted = False

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        scheme = self._current_server.uri.scheme if self._current_server is not None else ""
        if initial_connection and self.is_encrypted and scheme != "wss" and not info.get("tls_required"):
            raise NatsError("nats: the server does not offer TLS")
        await super()._process_info(info, initial_connection)


class NatsConnection:
    """See `einthoven.runtime.nats_opening.connected`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @classmethod
    async def opened(
        cls, link: NatsLink, *, name: str, lost: Callable[[], None], closed: Callable[[], Awaitable[None]]
    ) -> "NatsConnection":
        """See `einthoven.runtime.nats_opening.connected`."""

        async def told() -> None:
            lost()

        client = _Client()
        client.is_encrypted = link.is_encrypted
        options = _options(link)
        connecting = asyncio.ensure_future(
            client.connect(
                servers=list(link.servers),
                name=name,
                dont_randomize=True,
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.1,  # type: ignore[arg-type] # seconds, of any kind
                connect_timeout=2,
                ping_interval=_PING_S,
                # Beyond it a call would wait for the socket, and go on waiting when that is closed.
                pending_size=_WAITING_MAX_BYTES,
                flush_timeout=_CLOSING_S,
                error_cb=_quiet,
                disconnected_cb=told,
                closed_cb=closed,
                **options,
            )
        )
        try:
            await asyncio.shield(connecting)
        except BaseException:
            while not connecting.done():  # the client takes some cancellations for servers that do not answer
                connecting.cancel()
                await asyncio.wait({connecting}, timeout=_AGAIN_S)
            await _let_go(client)
            raise
        return cls(client)

    @property
    def is_up(self) -> bool:
        """Whether a server is there now."""
        return self._client.is_connected

    @property
    def is_closed(self) -> bool:
        """It does not come back."""
        return self._client.is_closed

    @property
    def message_max_bytes(self) -> int:
        """What the server takes at most, headers and all."""
        return self._client.max_payload

    def new_inbox(self) -> str:
        """A subject that nobody else has."""
        return self._client.new_inbox()

    async def publish(self, subject: str, content: bytes, headers: dict[str, str], reply: str = "") -> None:
        """Send; that somebody has it is said by an answer only.

        Raises
        ------
        Unreached : it was not sent.
        """
        if not self.is_up:
            raise Unreached("no NATS server can be reached")
        try:
            await self._client.publish(subject, content, reply=reply, headers=headers)
        except (NatsError, OSError, ValueError) as error:
            raise Unreached(f"the NATS server did not take it ({type(error).__name__})") from None

    async def subscribe(
        self, subject: str, heard: Callable[[Msg], Awaitable[None]], queue: str = ""
    ) -> Subscription:
        """Hear what is sent there; raises as `publish` does."""
        try:
            return await self._client.subscribe(
                subject, queue=queue, cb=heard, pending_bytes_limit=_WAITING_MAX_BYTES
            )
        except (NatsError, OSError, ValueError) as error:
            raise Unreached(f"the NATS server did not take it ({type(error).__name__})") from None

    async def drain(self, subscription: Subscription) -> None:
        """Take nothing new there; what came is heard before this ends. Raises as `publish` does."""
        try:
            await subscription.drain()  # type: ignore[no-untyped-call]
        except (NatsError, OSError) as error:
            raise Unreached(f"the NATS server does not answer ({type(error).__name__})") from None

    async def flush(self) -> None:
        """Wait until the server has everything; raises as `publish` does."""
        try:
            await self._client.flush(timeout=round(_CLOSING_S))
        except (NatsError, OSError, TimeoutError) as error:
            raise Unreached(f"the NATS server does not answer ({type(error).__name__})") from None

    async def close(self) -> None:
        """Let it go."""
        await _let_go(self._client)


def _options(link: NatsLink) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if link.is_encrypted:
        try:
            context = ssl.create_default_context(cafile=link.ca)
            if link.certificate is not None:
                context.load_cert_chain(link.certificate, link.key)
        except (OSError, ssl.SSLError) as error:
            raise InputInvalid(
                f"the certificates cannot be read ({type(error).__name__}).", where="nats"
            ) from None
        options["tls"] = context
    if link.credentials is not None:
        if not Path(link.credentials).is_file():
            raise InputInvalid("the credentials file is not there.", where="nats")
        options["user_credentials"] = link.credentials
    return options


async def _let_go(client: Client) -> None:
    """Close it; and its socket, because closing ends early when what was pending cannot be sent."""
    with suppress(NatsError, OSError, TimeoutError):
        await asyncio.wait_for(client.close(), _CLOSING_S)
    if client._transport is not None:
        client._transport.close()  # type: ignore[no-untyped-call]


async def _quiet(_: Exception) -> None:
    """What fails is told by the call that fails."""
