"""Routes of the keys with which payloads are sealed: the site's, to seal for, and each device's."""

import base64
import binascii
from datetime import datetime
from typing import Annotated, Final

import msgspec
from litestar import delete, get, put
from litestar.params import JSONBody, PathParameter
from litestar.types import ControllerRouterHandler
from msgspec import Meta

from einthoven.errors import InputInvalid
from einthoven.server import payload_tables
from einthoven.server.payload_tables import KnownKey
from einthoven.server.requests import Asker, Parts, PseudonymInPath, Sending, instant
from einthoven.trust.payload_ids import PAYLOAD_KEY_BYTES

__all__ = ["HANDLERS"]

PublicKey = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$",
        description="X25519, base64 of 32 bytes.",
        examples=["hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="],
    ),
]
KeyInPath = Annotated[str, PathParameter(pattern="^[0-9a-f]{16}$", description="A key's id.")]


class SiteKeySeen(msgspec.Struct, frozen=True, rename="camel"):
    """A key to seal for."""

    id: str
    public_key: str


class SiteKeys(msgspec.Struct, frozen=True, rename="camel"):
    """Keys that open what is sealed for them; seal for the first, which is the newest."""

    items: list[SiteKeySeen]


class NewDeviceKey(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The public half of a key that the device made."""

    public_key: PublicKey


class DeviceKeySeen(msgspec.Struct, frozen=True, rename="camel"):
    """A key of a device."""

    id: str
    public_key: str
    since: datetime
    retired_at: datetime | None


class DeviceKeys(msgspec.Struct, frozen=True, rename="camel"):
    """All keys of a device, oldest first."""

    items: list[DeviceKeySeen]


@get("/v1/payload-keys")
async def site_keys(reception: Parts, party: Sending) -> SiteKeys:  # noqa: ARG001 - let in by it
    """The site's keys, for which devices seal. None where nothing sealed is taken."""
    found = await reception.payloads.site_keys()
    return SiteKeys([SiteKeySeen(one.id, _base64(one.public)) for one in found])


@get("/v1/devices/{device:str}/payload-keys")
async def device_keys(reception: Parts, person: Asker, device: PseudonymInPath) -> DeviceKeys:
    """The keys with which a device seals, the retired ones too."""
    found = await reception.connections.read(lambda s: payload_tables.keys_of(s, person.org, device))
    return DeviceKeys([_seen(one) for one in found])


@put("/v1/devices/{device:str}/payload-keys")
async def add_device_key(
    reception: Parts, person: Asker, device: PseudonymInPath, data: JSONBody[NewDeviceKey]
) -> DeviceKeySeen:
    """Take what this key seals for the device's, within two seconds; beside its other keys.

    The same again changes nothing. A key is one device's, and comes back no more once it is retired.
    """
    now_ns = reception.clock.utc_ns()
    public = _public(data.public_key)
    added = await reception.connections.write(
        lambda s: payload_tables.add_key(s, person.org, device, public, by=person.user, now_ns=now_ns)
    )
    return _seen(added)


@delete("/v1/devices/{device:str}/payload-keys/{key:str}", status_code=204)
async def retire_device_key(reception: Parts, person: Asker, device: PseudonymInPath, key: KeyInPath) -> None:
    """Retire a key; within two seconds nothing is taken that it seals."""
    now_ns = reception.clock.utc_ns()
    await reception.connections.write(
        lambda s: payload_tables.retire_key(s, person.org, device, key, by=person.user, now_ns=now_ns)
    )


HANDLERS: Final[tuple[ControllerRouterHandler, ...]] = (
    site_keys,
    device_keys,
    add_device_key,
    retire_device_key,
)


def _public(text: str) -> bytes:
    try:
        public = base64.b64decode(text, validate=True)
    except binascii.Error:
        public = b""
    if len(public) != PAYLOAD_KEY_BYTES:
        raise InputInvalid("this is no key.", where="publicKey", remedy="Send base64 of 32 bytes.")
    return public


def _base64(public: bytes) -> str:
    return base64.b64encode(public).decode()


def _seen(key: KnownKey) -> DeviceKeySeen:
    return DeviceKeySeen(
        id=key.id,
        public_key=_base64(key.public),
        since=instant(key.since_ns),
        retired_at=None if key.retired_ns is None else instant(key.retired_ns),
    )
