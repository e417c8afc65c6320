"""Webhooks: a CloudEvent, signed as Standard Webhooks has it, posted to a receiver's URL."""

import ssl
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp

from einthoven.alerts import Notification, Receipt
from einthoven.clock import Clock
from einthoven.errors import DeliveryFailed
from einthoven.server.delivery.addresses import AddressGuard, GuardedResolver
from einthoven.server.delivery.cloudevents import CONTENT_TYPE, cloud_event
from einthoven.server.delivery.webhook_signing import sign_webhook
from einthoven.version import __version__

__all__ = ["SecretsOf", "WebhookChannel"]

SecretsOf = Callable[[str, str], Sequence[str]]
"""The signing secrets of a receiver, newest first, by organisation and URL."""
_NS: Final = 1_000_000_000
_ANSWER_BYTES: Final = 2048
_GONE: Final = 410


class WebhookChannel:
    """Posts to the URL that is a contact's address.

    Any 2xx is a receipt. 410 is for good; everything else is tried again, after ``Retry-After`` if given.

    Parameters
    ----------
    secrets : of each receiver
    guard : where webhooks may go
    source : the CloudEvents source, a URI of this service
    tls : what certificates are believed; the system's by default
    """

    def __init__(
        self,
        clock: Clock,
        secrets: SecretsOf,
        *,
        guard: AddressGuard | None = None,
        source: str = "/einthoven",
        type_prefix: str = "einthoven",
        tls: ssl.SSLContext | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        self._clock = clock
        self._secrets = secrets
        self._guard = guard or AddressGuard()
        self._source = source
        self._type_prefix = type_prefix
        self._tls = tls
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def send(self, notification: Notification) -> Receipt:
        """See `Channel`."""
        self._guard.check_url(notification.address)
        secrets = self._secrets(notification.org, notification.address)
        if not secrets:
            raise DeliveryFailed(
                "the receiver has no signing secret.", where="webhook", remedy="Make one and share it."
            )
        body = cloud_event(notification, source=self._source, type_prefix=self._type_prefix)
        timestamp_s = self._clock.utc_ns() // _NS
        headers = {
            "content-type": CONTENT_TYPE,
            "webhook-id": notification.id,
            "webhook-timestamp": str(timestamp_s),
            "webhook-signature": sign_webhook(secrets, notification.id, timestamp_s, body),
        }
        try:
            async with self._opened().post(
                notification.address, data=body, headers=headers, allow_redirects=False
            ) as response:
                await response.content.read(_ANSWER_BYTES)
                return self._receipt(notification, response)
        except aiohttp.ClientConnectorCertificateError:
            raise _failed("the receiver's certificate is not valid") from None
        except aiohttp.ClientSSLError:
            raise _failed("no encrypted connection could be made") from None
        except aiohttp.InvalidURL:
            raise _failed("the address is no URL", is_permanent=True) from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _failed(f"the receiver did not answer ({type(error).__name__})") from None

    async def close(self) -> None:
        """See `Channel`."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=0,
                resolver=GuardedResolver(self._guard),
                ssl=self._tls if self._tls is not None else True,
                keepalive_timeout=60,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"user-agent": f"einthoven/{__version__}"},
                timeout=self._timeout,
                trust_env=False,
            )
        return self._session

    def _receipt(self, notification: Notification, response: aiohttp.ClientResponse) -> Receipt:
        if 200 <= response.status < 300:
            return Receipt(notification.id, self._clock.utc_ns(), f"HTTP {response.status}")
        raise _failed(
            f"the receiver answered {response.status}",
            retry_after_s=self._asked_s(response.headers.get("retry-after", "")),
            is_permanent=response.status == _GONE,
        )

    def _asked_s(self, text: str) -> float | None:
        """``Retry-After``: seconds or a date."""
        if text.isascii() and text.isdigit():
            return float(text[:9])
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, TypeError):
            return None
        return max(0.0, moment.timestamp() - self._clock.utc_ns() / _NS)


def _failed(what: str, *, retry_after_s: float | None = None, is_permanent: bool = False) -> DeliveryFailed:
    return DeliveryFailed(
        what + ".",
        where="webhook",
        remedy="Look at the receiver.",
        retry_after_s=retry_after_s,
        is_permanent=is_permanent,
    )
