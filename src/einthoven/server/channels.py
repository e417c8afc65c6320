"""Which channels there are: ``channels.toml`` in the data folder, read when the service starts.

A contact in the alert rules names a channel and an address; how the channel is reached, and its secrets, are
the deployment's and stand here. docs/reference/alerts.md has an example of each.
"""

import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from einthoven.clock import Clock
from einthoven.errors import InputInvalid
from einthoven.server.delivery import Channel

__all__ = ["ChannelSettings", "open_channels", "read_channels"]


class Receiver(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A receiver of webhooks and its signing secrets, newest first."""

    url: str
    secrets: tuple[str, ...]
    org: str = "main"


class WebhookSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Webhooks: HTTPS to public addresses, and to the networks that are named."""

    receivers: tuple[Receiver, ...] = ()
    networks: tuple[str, ...] = ()
    allows_http: bool = False


class MailSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """E-mail."""

    host: str
    sender: str
    link: str
    """Of the web application."""
    port: int = 587
    encryption: Literal["starttls", "tls", "none"] = "starttls"
    user: str = ""
    password: str = ""


class NatsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """NATS subjects."""

    servers: tuple[str, ...]
    prefix: str = "einthoven"
    needs_stream: bool = True


class MqttSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """MQTT topics."""

    host: str
    port: int = 8883
    version: Literal["5", "3.1.1"] = "5"
    user: str = ""
    password: str = ""
    prefix: str = "einthoven"


class ChannelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file says; a channel that is not named does not exist."""

    webhook: WebhookSettings | None = None
    mail: MailSettings | None = None
    nats: NatsSettings | None = None
    mqtt: MqttSettings | None = None


_EXTRAS: Final = {"webhook": "delivery", "mail": "delivery", "nats": "nats", "mqtt": "mqtt"}


def read_channels(path: Path) -> ChannelSettings:
    """The file's content; no channels where there is no file.

    Raises
    ------
    InputInvalid : not TOML, or not as it should be; no value of it is in the text.
    """
    if not path.exists():
        return ChannelSettings()
    try:
        return msgspec.convert(tomllib.loads(path.read_text()), ChannelSettings)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise InputInvalid("this is not TOML.", where=path.name, remedy="Mend it.") from None
    except msgspec.ValidationError as error:
        raise InputInvalid(f"{error}.", where=path.name, remedy="See docs/reference/alerts.md.") from None


def open_channels(settings: ChannelSettings, clock: Clock) -> dict[str, Channel]:
    """The channels by name.

    Raises
    ------
    InputInvalid : one whose extra is not installed.
    """
    makers: dict[str, Callable[[], Channel]] = {}
    if settings.webhook is not None:
        makers["webhook"] = lambda: _webhook(settings.webhook, clock)  # type: ignore[arg-type]
    if settings.mail is not None:
        makers["mail"] = lambda: _mail(settings.mail, clock)  # type: ignore[arg-type]
    if settings.nats is not None:
        makers["nats"] = lambda: _nats(settings.nats, clock)  # type: ignore[arg-type]
    if settings.mqtt is not None:
        makers["mqtt"] = lambda: _mqtt(settings.mqtt, clock)  # type: ignore[arg-type]
    channels = {}
    for name, make in makers.items():
        try:
            channels[name] = make()
        except ImportError as error:
            raise InputInvalid(
                f"the channel needs {error.name}, which is not installed.",
                where=name,
                remedy=f"Run: pip install 'einthoven[{_EXTRAS[name]}]'.",
            ) from error
    return channels


def _webhook(settings: WebhookSettings, clock: Clock) -> Channel:
    from einthoven.server.delivery.addresses import AddressGuard  # noqa: PLC0415 - an extra
    from einthoven.server.delivery.webhook import WebhookChannel  # noqa: PLC0415

    known = {(one.org, one.url): one.secrets for one in settings.receivers}

    def secrets_of(org: str, url: str) -> Sequence[str]:
        return known.get((org, url), ())

    guard = AddressGuard(settings.networks, allows_http=settings.allows_http)
    return WebhookChannel(clock, secrets_of, guard=guard)


def _mail(settings: MailSettings, clock: Clock) -> Channel:
    from einthoven.server.delivery.mail import MailChannel, MailServer  # noqa: PLC0415 - an extra

    about = {name: getattr(settings, name) for name in ("host", "port", "encryption", "user", "password")}
    server = msgspec.convert(about, MailServer)
    return MailChannel(clock, server, sender=settings.sender, link=settings.link)


def _nats(settings: NatsSettings, clock: Clock) -> Channel:
    from einthoven.server.delivery.nats_subject import NatsChannel  # noqa: PLC0415 - an extra

    return NatsChannel(
        clock, list(settings.servers), prefix=settings.prefix, needs_stream=settings.needs_stream
    )


def _mqtt(settings: MqttSettings, clock: Clock) -> Channel:
    from einthoven.server.delivery.mqtt_topic import MqttBroker, MqttChannel  # noqa: PLC0415 - an extra

    about = {name: getattr(settings, name) for name in ("host", "port", "version", "user", "password")}
    return MqttChannel(clock, msgspec.convert(about, MqttBroker), prefix=settings.prefix)
