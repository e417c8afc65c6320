"""NATS: CloudEvents on subjects such as ``einthoven.main.alerts.high``; no patient is in a subject."""

import asyncio
from contextlib import suppress

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import NoStreamResponseError

from einthoven.alerts import AlertMessage, Notification, Receipt
from einthoven.clock import Clock
from einthoven.errors import DeliveryFailed
from einthoven.server.delivery.cloudevents import CONTENT_TYPE, cloud_event

__all__ = ["NatsChannel", "subject_of"]


class NatsChannel:
    """Publishes to the subject that is a contact's address, or to one by organisation and priority.

    Parameters
    ----------
    servers : URLs of one cluster
    needs_stream : the receipt is that of a JetStream stream, which drops what it has seen; False: the
        server has it, and whoever listens
    """

    def __init__(
        self,
        clock: Clock,
        servers: list[str],
        *,
        prefix: str = "einthoven",
        needs_stream: bool = True,
        source: str = "/einthoven",
        timeout_s: float = 5.0,
    ) -> None:
        self._clock = clock
        self._servers = servers
        self._prefix = prefix
        self._needs_stream = needs_stream
        self._source = source
        self._timeout_s = timeout_s
        self._client: Client | None = None
        self._opening = asyncio.Lock()

    async def send(self, notification: Notification) -> Receipt:
        """See `Channel`."""
        subject = notification.address or subject_of(notification, self._prefix)
        body = cloud_event(notification, source=self._source)
        headers = {"Nats-Msg-Id": notification.id, "content-type": CONTENT_TYPE}
        client = None
        try:
            client = await self._opened()
            if self._needs_stream:
                ack = await client.jetstream(timeout=self._timeout_s).publish(subject, body, headers=headers)
                said = f"{ack.stream} {ack.seq}"
            else:
                await client.publish(subject, body, headers=headers)
                await client.flush(timeout=max(1, round(self._timeout_s)))
                said = "taken by the server"
        except NoStreamResponseError:
            raise _failed("no stream keeps this subject") from None
        except (NatsError, OSError, TimeoutError, ValueError) as error:
            await self._dropped(client)
            raise _failed(f"the server did not take it ({type(error).__name__})") from None
        return Receipt(notification.id, self._clock.utc_ns(), said)

    async def close(self) -> None:
        """See `Channel`."""
        await self._dropped(self._client)

    async def _dropped(self, client: Client | None) -> None:
        """The connection failed, or is not needed: the next one is new."""
        async with self._opening:
            if client is None or client is not self._client:
                return
            self._client = None
            await _let_go(client)

    async def _opened(self) -> Client:
        async with self._opening:
            if self._client is None:
                client = Client()
                try:
                    await client.connect(
                        servers=self._servers,
                        name="einthoven-alerts",
                        connect_timeout=max(1, round(self._timeout_s)),
                        # The dispatcher tries again; a client that did so as well would hold what is stale.
                        allow_reconnect=False,
                        max_reconnect_attempts=1,
                        reconnect_time_wait=0,
                        error_cb=_quiet,
                    )
                except BaseException:
                    await _let_go(client)
                    raise
                self._client = client
            return self._client


def subject_of(notification: Notification, prefix: str = "einthoven") -> str:
    """``PREFIX.ORG.alerts.high``, ``….technical`` or ``PREFIX.ORG.heartbeat``."""
    content = notification.content
    if not isinstance(content, AlertMessage):
        return f"{prefix}.{notification.org}.heartbeat"
    return f"{prefix}.{notification.org}.alerts.{'technical' if content.is_technical else content.priority}"


async def _let_go(client: Client) -> None:
    """Close it; and its socket, because closing ends early when what was pending cannot be sent."""
    with suppress(NatsError, OSError):
        await client.close()
    if client._transport is not None:
        client._transport.close()  # type: ignore[no-untyped-call]


async def _quiet(_: Exception) -> None:
    """What fails is told by the call that fails."""


def _failed(what: str) -> DeliveryFailed:
    return DeliveryFailed(what + ".", where="nats", remedy="Look at the NATS server and its streams.")
