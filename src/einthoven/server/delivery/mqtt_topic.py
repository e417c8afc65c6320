"""MQTT 5: CloudEvents on topics such as ``einthoven/main/alerts/high``; no patient is in a topic."""

import asyncio
import ssl
from contextlib import AsyncExitStack
from typing import Literal

import aiomqtt
import msgspec
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from einthoven.alerts import Notification, Receipt
from einthoven.clock import Clock
from einthoven.errors import DeliveryFailed
from einthoven.server.delivery.cloudevents import CONTENT_TYPE, cloud_event
from einthoven.server.delivery.nats_subject import subject_of

__all__ = ["MqttBroker", "MqttChannel"]


class MqttBroker(msgspec.Struct, frozen=True):
    """Where messages are published."""

    host: str
    port: int = 8883
    version: Literal["5", "3.1.1"] = "5"
    """Version 3.1.1 has no content type and no expiry."""
    user: str = ""
    password: str = ""
    expiry_s: int = 3600
    """A message that nobody fetched for so long is dropped by the broker."""


class MqttChannel:
    """Publishes with QoS 1 to the topic that is a contact's address; the acknowledgement is the receipt."""

    def __init__(
        self,
        clock: Clock,
        broker: MqttBroker,
        *,
        prefix: str = "einthoven",
        source: str = "/einthoven",
        tls: ssl.SSLContext | None = None,
        timeout_s: float = 5.0,
    ) -> None:
        self._clock = clock
        self._broker = broker
        self._prefix = prefix
        self._source = source
        self._tls = tls
        self._timeout_s = timeout_s
        self._opening = asyncio.Lock()
        self._held = AsyncExitStack()
        self._client: aiomqtt.Client | None = None

    async def send(self, notification: Notification) -> Receipt:
        """See `Channel`."""
        topic = notification.address or subject_of(notification, self._prefix).replace(".", "/")
        body = cloud_event(notification, source=self._source)
        client = None
        try:
            client = await self._opened()
            await client.publish(
                topic, body, qos=1, properties=self._properties(notification), timeout=self._timeout_s
            )
        except (aiomqtt.MqttError, OSError, ValueError) as error:
            await self._dropped(client)
            raise DeliveryFailed(
                f"the broker did not take it ({type(error).__name__}).",
                where="mqtt",
                remedy="Look at the MQTT broker and the topic.",
            ) from None
        return Receipt(notification.id, self._clock.utc_ns(), "PUBACK")

    async def close(self) -> None:
        """See `Channel`."""
        await self._dropped(self._client)

    async def _opened(self) -> aiomqtt.Client:
        async with self._opening:
            if self._client is None:
                broker = self._broker
                client = aiomqtt.Client(
                    broker.host,
                    broker.port,
                    username=broker.user or None,
                    password=broker.password or None,
                    protocol=aiomqtt.ProtocolVersion.V5
                    if broker.version == "5"
                    else aiomqtt.ProtocolVersion.V311,
                    tls_context=self._tls,
                    timeout=self._timeout_s,
                )
                held = AsyncExitStack()
                await held.enter_async_context(client)
                self._client, self._held = client, held
            return self._client

    async def _dropped(self, client: aiomqtt.Client | None) -> None:
        """The connection failed: the next one is new."""
        async with self._opening:
            if client is None or client is not self._client:
                return
            held, self._client, self._held = self._held, None, AsyncExitStack()
            try:
                await held.aclose()
            except aiomqtt.MqttError:
                return

    def _properties(self, notification: Notification) -> Properties | None:
        if self._broker.version != "5":
            return None
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ContentType = CONTENT_TYPE
        properties.MessageExpiryInterval = self._broker.expiry_s
        properties.UserProperty = [("webhook-id", notification.id)]
        return properties
