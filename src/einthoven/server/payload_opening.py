"""Sealed payloads are opened here, before anything reads them: with the site's keys, by the devices' keys.

The site's keys are secret files of the data folder, the devices' are rows. A worker looks every second
whether either changed, and goes on with the sessions of the keys that stay. Where it cannot look it trusts
what it knows for `STALE_S`.
"""

import asyncio
import logging
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from einthoven.clock import Clock
from einthoven.errors import EinthovenError, InputInvalid, Overloaded, StoreUnavailable
from einthoven.server.connections import Connections
from einthoven.server.payload_tables import KnownKey, key_epoch, keys_in_force
from einthoven.server.wire import SEALED_AS, Encoding, Envelope, Sender
from einthoven.storage.database import Database
from einthoven.trust.payload_ids import payload_key_id
from einthoven.trust.replay import ReplayWindow

if TYPE_CHECKING:
    from einthoven.trust.envelopes import Opened, Opener, PayloadKey

__all__ = ["STALE_S", "NotOpenedHere", "OpenedPayload", "PayloadOpening", "SiteKey"]

HAS_KEYS: Final = find_spec("cryptography") is not None
"""Whether the extra ``trust`` is installed."""
_LOG: Final = logging.getLogger("einthoven.payloads")
STALE_S: Final = 2.0
"""Nothing is opened on what was read longer ago."""
_DUE_S: Final = 1.0
_RETRY_S: Final = 0.5
_KEY_FILES: Final = "payload-*.json"
_TAG_BYTES: Final = 16
_AT_ONCE_BYTES: Final = 65_536
"""What is larger is opened beside the event loop."""
_ENCODINGS: Final[dict[int, Encoding]] = {number: name for name, number in SEALED_AS.items()}


class NotOpenedHere(InputInvalid):
    """Nothing here opens envelopes."""


class SiteKey(msgspec.Struct, frozen=True):
    """The public half of a key of the site."""

    id: str
    public: bytes


class OpenedPayload(msgspec.Struct, frozen=True):
    """What was in an envelope, and for whom it may speak."""

    sender: Sender
    encoding: Encoding
    content: bytes
    envelope: Envelope


class PayloadOpening:
    """What the route of segments asks; for one event loop.

    Parameters
    ----------
    folder : the data folder.
    """

    def __init__(self, database: Database, clock: Clock, folder: Path) -> None:
        self._clock = clock
        self._folder = folder
        self._reading = Connections(database, 1, "payload-keys")
        self._site: list[PayloadKey] = []
        self._openers: dict[str, Opener] = {}
        self._openers_before: dict[str, Opener] = {}
        """Those whose keys changed: what follows them goes on with their sessions."""
        self._files: tuple[tuple[str, int], ...] | None = None
        self._epoch = -1
        self._due_s = float("-inf")
        self._stale_s = float("-inf")
        self._looking: asyncio.Task[None] | None = None
        self._making: dict[str, asyncio.Task[Opener]] = {}

    async def open(self, sender: Sender, content: bytes) -> OpenedPayload:
        """What a device sealed.

        Raises
        ------
        EnvelopeRefused : it cannot be opened, or another one sealed it than may send; which is not said.
        NotOpenedHere : the extra is not installed.
        InputInvalid : what was sealed does not say its encoding.
        Overloaded, DatabaseUnavailable : nobody knows at the moment.
        """
        if not HAS_KEYS:
            raise NotOpenedHere(
                "sealed segments are not taken here.",
                where="Content-Type",
                remedy="Install the service with the extra trust: pip install 'einthoven[trust]'.",
            )
        opener = await self._opener(sender.org)
        if len(content) <= _AT_ONCE_BYTES and opener.knows(content):
            opened = opener.open(content, ReplayWindow())
        else:
            opened = await asyncio.to_thread(opener.open, content, ReplayWindow())
        return _read(sender, opened, content)

    async def site_keys(self) -> list[SiteKey]:
        """For which keys devices may seal, the newest first."""
        if not HAS_KEYS:
            return []
        await self._look()
        found = [SiteKey(payload_key_id(one.public).hex(), one.public) for one in self._site]
        return found[::-1]

    def close(self) -> None:
        """End its conversation with the database."""
        self._reading.close()

    # ---------------------------------------------------------------- keys

    async def _opener(self, org: str) -> "Opener":
        await self._look()
        opener = self._openers.get(org)
        if opener is not None:
            return opener
        task = self._making.get(org)
        if task is None:
            task = self._making[org] = asyncio.create_task(self._make(org))
            task.add_done_callback(lambda _: self._making.pop(org))
        return await asyncio.shield(task)

    async def _make(self, org: str) -> "Opener":
        epoch, files = self._epoch, self._files
        devices = await self._reading.read(lambda statements: keys_in_force(statements, org))
        before = self._openers_before.get(org)
        opener = await asyncio.to_thread(_opener, self._site, devices, before)
        if (epoch, files) == (self._epoch, self._files):  # else the next one reads again
            self._openers[org] = opener
            self._openers_before.pop(org, None)
        return opener

    async def _look(self) -> None:
        """Bring what is known of the keys up to date."""
        now_s = self._clock.now_s()
        if now_s >= self._due_s and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._refresh(now_s))
        if now_s >= self._stale_s:
            if self._looking is not None:
                await asyncio.shield(self._looking)
            if self._clock.now_s() >= self._stale_s:
                raise Overloaded(
                    "sealed segments cannot be opened at the moment.",
                    where="service",
                    remedy="Send it again in a moment.",
                )

    async def _refresh(self, began_s: float) -> None:
        try:
            epoch = await self._reading.read(key_epoch)
            files = await asyncio.to_thread(_files_in, self._folder)
            if files != self._files:
                self._site = await asyncio.to_thread(_keys_in, self._folder)
        except EinthovenError as error:
            _LOG.error("the keys of payloads cannot be read: %s", error.what, extra={"code": error.code})
            self._due_s = began_s + _RETRY_S
            return
        if (epoch, files) != (self._epoch, self._files):
            self._openers_before |= self._openers
            self._openers = {}
        self._epoch, self._files = epoch, files
        self._due_s = began_s + _DUE_S
        self._stale_s = began_s + STALE_S


def _files_in(folder: Path) -> tuple[tuple[str, int], ...]:
    """The files of keys, and when each was written."""
    try:
        return tuple(sorted((one.name, one.stat().st_mtime_ns) for one in (folder / "keys").glob(_KEY_FILES)))
    except OSError as error:  # one of them was removed meanwhile
        raise StoreUnavailable(f"the keys cannot be listed ({error.strerror}).", where="keys") from None


def _keys_in(folder: Path) -> "list[PayloadKey]":
    """The site's keys, the oldest first."""
    from einthoven.runtime.secret_files import payload_keys  # noqa: PLC0415 - an extra

    return list(payload_keys(folder).values())


def _opener(site: "list[PayloadKey]", devices: list[KnownKey], before: "Opener | None") -> "Opener":
    from einthoven.trust.envelopes import DeviceKey, Opener  # noqa: PLC0415 - an extra

    known = [DeviceKey(one.device, one.public) for one in devices]
    return Opener(site, known) if before is None else before.renewed(site, known)


def _read(sender: Sender, opened: "Opened", content: bytes) -> OpenedPayload:
    from einthoven.trust.envelopes import envelope_refused  # noqa: PLC0415 - an extra

    if sender.device is not None and opened.device != sender.device:
        raise envelope_refused()
    encoding = _ENCODINGS.get(opened.payload[0]) if opened.payload else None
    if encoding is None:
        raise InputInvalid(
            "the payload does not begin with an encoding.",
            where="payload",
            remedy="Begin it with the byte 1 for JSON, 2 for MessagePack.",
        )
    return OpenedPayload(
        sender=msgspec.structs.replace(sender, device=opened.device),
        encoding=encoding,
        content=opened.payload[1:],
        envelope=Envelope(opened.sequence, content[-_TAG_BYTES:]),
    )
