"""Uploads of one worker: bytes into parts, parts into a file whose content is known to be what was announced.

A part is an object before the offset moves, and the offset moves only from where the part begins; so of two
that send the same stretch one counts, and a worker that is killed loses what was in its memory and nothing
that was acknowledged. Hashing, writing and reading are done in threads: a worker has segments to answer.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from functools import cached_property
from typing import Any, Final

import msgspec

from einthoven.clock import Clock
from einthoven.errors import (
    Conflict,
    DigestMismatch,
    InputInvalid,
    NotFound,
    Overloaded,
)
from einthoven.server.connections import Connections
from einthoven.server.metrics import METRICS
from einthoven.server.parties import Party
from einthoven.server.settings import Settings
from einthoven.storage import ObjectStore, open_store
from einthoven.storage.database import Database, Statements
from einthoven.storage.received import PART_BYTES, Part, ReceivedFiles
from einthoven.storage.uploads import (
    Upload,
    advance,
    close_upload,
    find_or_begin,
    forget_upload,
    parts_of,
    set_state,
    upload_of,
)

__all__ = ["OPEN_MAX", "Body", "PartMismatch", "TooLarge", "Uploads"]

_AT_ONCE: Final = 128
"""Bodies that one worker reads at one time."""
_MEMORY: Final = 64 * 2**20
"""What they hold together, bytes; the more there are the smaller their parts."""
_LEAST: Final = 256 * 2**10
_PARTS_MAX: Final = 2**17
OPEN_MAX: Final = 64
"""Unfinished uploads of one device or person."""
_OPEN_MAX_GATEWAYS: Final = 4096
"""Of all gateways of an organisation."""
_IDLE_S: Final = 60.0
"""A sender that is silent for so long has gone."""
_REMEMBERED: Final = 256


class TooLarge(InputInvalid):
    """More than was announced, or than is taken."""


class PartMismatch(DigestMismatch):
    """A body that is not what its checksum says; none of it counts."""


class Body:
    """The body of a request, block by block."""

    def __init__(self, receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> None:
        self._receive = receive
        self._rest = memoryview(b"")
        self._has_ended = False
        self.is_cut = False
        """It ended before it was whole."""

    @property
    def is_over(self) -> bool:
        """Nothing more will come."""
        return self._has_ended and not self._rest

    async def block(self, most: int) -> list[memoryview]:
        """The next bytes, as many as that unless the body ends."""
        taken: list[memoryview] = []
        size = 0
        while size < most:
            if not self._rest:
                if self._has_ended:
                    break
                await self._next()
            piece = self._rest[: most - size]
            self._rest = self._rest[len(piece) :]
            taken.append(piece)
            size += len(piece)
        return taken

    async def _next(self) -> None:
        try:
            async with asyncio.timeout(_IDLE_S):
                message = await self._receive()
        except TimeoutError:
            message = {"type": "http.disconnect"}
        if message["type"] == "http.disconnect":
            self._has_ended = self.is_cut = True
            return
        self._rest = memoryview(message.get("body", b""))
        self._has_ended = not message.get("more_body", False)


class Uploads:
    """What the routes ask; for one event loop."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._connections = Connections(database, 1, "uploads")
        self._clock = clock
        self._settings = settings
        self._going = 0
        self._hashes: OrderedDict[str, tuple[int, Any]] = OrderedDict()
        self._settling: dict[str, asyncio.Task[Upload]] = {}

    @cached_property
    def store(self) -> ObjectStore:
        """The service's object store."""
        return open_store(self._settings.objects_url)

    @cached_property
    def files(self) -> ReceivedFiles:
        """Where parts and whole files lie."""
        return ReceivedFiles(self.store)

    @property
    def most_bytes(self) -> int:
        """Size of the largest file that is taken."""
        return self._settings.upload_max_bytes

    def close(self) -> None:
        """Finish what was begun."""
        self._connections.close()

    async def begin(self, party: Party, filename: str, sha256: str, size: int) -> tuple[Upload, bool]:
        """A new upload, or the sender's earlier one of the same file; whether it is new.

        Raises
        ------
        TooLarge : the file is larger than is taken. Conflict : too many of the sender's are unfinished.
        """
        if size > self.most_bytes:
            raise TooLarge(
                f"the file is larger than {self.most_bytes} bytes.",
                where="Upload-Length",
                remedy="Cut the recording, or ask whoever runs the service (upload_max_bytes).",
            )
        now_ns = self._clock.utc_ns()

        def change(statements: Statements) -> tuple[Upload, bool]:
            return find_or_begin(
                statements,
                org=party.org,
                owner=party.owner,
                filename=filename,
                sha256=sha256,
                size=size,
                now_ns=now_ns,
                expires_ns=self._expiry_ns(),
                open_max=_OPEN_MAX_GATEWAYS if party.kind == "gateway" else OPEN_MAX,
            )

        return await self._connections.write(change)

    async def find(self, party: Party, id_: str) -> Upload:
        """An upload of the sender's.

        Raises
        ------
        NotFound : there is none, or its time is over.
        """
        upload = await self._connections.read(lambda s: upload_of(s, party.org, party.owner, id_))
        if upload.state != "whole" and upload.expires_ns <= self._clock.utc_ns():
            raise NotFound("the upload has expired.", where="upload", remedy="Begin a new one.")
        return upload

    async def receive(self, upload: Upload, body: Body, expected: bytes | None) -> Upload:
        """Take what comes behind what is safe; when this returns it is safe too.

        Parameters
        ----------
        expected : SHA-256 of the body; then all of it counts or nothing. None: what came before a cut counts.

        Raises
        ------
        Conflict : somebody else sent the same stretch. PartMismatch : not the content that was expected.
        TooLarge : more than was announced. Overloaded : too many send at once.
        """
        if self._going >= _AT_ONCE:
            raise Overloaded(
                "too many uploads go on at once.", where="service", remedy="Send it again in a moment."
            )
        self._going += 1
        try:
            return await self._receive(upload, body, expected)
        finally:
            self._going -= 1

    async def _receive(self, upload: Upload, body: Body, expected: bytes | None) -> Upload:
        offset, known = self._hashes.get(upload.id, (0, hashlib.sha256()))
        whole = known.copy() if offset == upload.received else None
        digest = None if expected is None else hashlib.sha256()
        held: list[Part] = []
        first = upload.received
        try:
            while not body.is_over:
                block = await body.block(self._part_bytes())
                size = sum(map(len, block))
                if first + size > upload.bytes:
                    raise TooLarge(
                        "the body goes beyond the length that was announced.",
                        where="Upload-Length",
                        remedy="Ask for the offset, and send what is behind it.",
                    )
                if size:
                    part = await asyncio.to_thread(self._put, upload, first, block, (digest, whole))
                    held.append(part)
                    first = part.until
                    if digest is None:
                        upload = await self._commit(upload, held, whole)
                        held.clear()
            if digest is not None and (body.is_cut or digest.digest() != expected):
                raise PartMismatch(
                    "the body is not what its checksum says.",
                    where="Upload-Checksum",
                    remedy="Send it again.",
                )
            return await self._commit(upload, held, whole) if held else upload
        except (TooLarge, PartMismatch, Conflict):  # none of these was counted, for certain
            for one in held:
                await asyncio.to_thread(self.files.remove_part, one)
            raise

    def _put(self, upload: Upload, first: int, block: Sequence[memoryview], hashes: Sequence[Any]) -> Part:
        content = b"".join(block)
        for one in hashes:
            if one is not None:
                one.update(content)
        return self.files.put_part(upload.org, upload.sha256, upload.id, first, content)

    async def _commit(self, upload: Upload, parts: Sequence[Part], whole: Any) -> Upload:
        if upload.parts + len(parts) > _PARTS_MAX:
            raise Conflict(
                "the upload has too many parts.", where="upload", remedy="Begin anew, with larger parts."
            )
        expires_ns = self._expiry_ns()
        if not await self._connections.write(lambda s: advance(s, upload, parts, expires_ns)):
            raise Conflict(
                "the offset has moved.", where="Upload-Offset", remedy="Ask for it (HEAD), and go on there."
            )
        METRICS.upload_bytes.inc(parts[-1].until - parts[0].first)
        if whole is not None:
            self._hashes[upload.id] = (parts[-1].until, whole.copy())
            self._hashes.move_to_end(upload.id)
            while len(self._hashes) > _REMEMBERED:
                self._hashes.popitem(last=False)
        return msgspec.structs.replace(
            upload, received=parts[-1].until, parts=upload.parts + len(parts), expires_ns=expires_ns
        )

    async def settle(self, upload: Upload) -> Upload:
        """See that a file of which all bytes came is what was announced, and keep it as a whole.

        Raises
        ------
        Conflict : not all bytes came. DigestMismatch : it is another file; the upload cannot be used.
        """
        if upload.state == "open" and upload.received < upload.bytes:
            raise Conflict(
                "the upload is not complete.", where="upload", remedy="Send what is missing; HEAD says it."
            )
        if upload.state == "open":
            task = self._settling.get(upload.id)
            if task is None:
                task = self._settling[upload.id] = asyncio.create_task(self._settle(upload))
                task.add_done_callback(lambda _: self._settling.pop(upload.id, None))
            upload = await asyncio.shield(task)
        if upload.state == "wrong":
            raise DigestMismatch(
                "the file is not what its SHA-256 says; this upload cannot be used.",
                where="sha256",
                remedy="Begin a new upload.",
            )
        return upload

    async def _settle(self, upload: Upload) -> Upload:
        offset, known = self._hashes.pop(upload.id, (0, hashlib.sha256()))

        def question(statements: Statements) -> tuple[Upload, list[Part]]:
            return (
                upload_of(statements, upload.org, upload.owner, upload.id),
                parts_of(statements, upload.number),
            )

        upload, parts = await self._connections.read(question)
        if upload.state != "open":
            return upload
        is_right = await asyncio.to_thread(self._checked, upload, parts, offset, known)

        def change(statements: Statements) -> Upload:
            set_state(statements, upload.number, "whole" if is_right else "wrong")
            return upload_of(statements, upload.org, upload.owner, upload.id)

        return await self._connections.write(change)

    def _checked(self, upload: Upload, parts: list[Part], offset: int, known: Any) -> bool:
        self.files.feed([part for part in parts if part.first >= offset], known)
        is_right = bool(known.hexdigest() == upload.sha256)
        is_kept = is_right and self.files.keep(upload.org, upload.sha256, parts)
        self.files.discard(upload.org, upload.sha256, upload.id, but=parts if is_kept else ())
        return is_right

    async def remove(self, upload: Upload) -> None:
        """Forget an upload that is not whole.

        Raises
        ------
        Conflict : it is; what was received as a whole stays.
        """
        if not await self._connections.write(lambda s: close_upload(s, upload.number)):
            raise Conflict(
                "the file was received as a whole, and is kept.",
                where="upload",
                remedy="Cancel its recording, if it is not to be analysed.",
            )
        self._hashes.pop(upload.id, None)
        await asyncio.to_thread(self.files.discard, upload.org, upload.sha256, upload.id)
        await self._connections.write(lambda s: forget_upload(s, upload.number))

    def _part_bytes(self) -> int:
        return max(_LEAST, min(PART_BYTES, _MEMORY // max(1, self._going)))

    def _expiry_ns(self) -> int:
        return self._clock.utc_ns() + round(3600e9 * self._settings.upload_keep_h)
