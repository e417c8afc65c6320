"""``/v1/uploads``: files of any size, in pieces, over connections that break.

The protocol is tus 1.0.0 (https://tus.io/protocols/resumable-upload) with the extensions creation, checksum,
termination and expiration, so that the clients that exist for it work here. It stands in front of the
framework, which would read a body whole.

Deviations: the answer to a creation carries the offset too, since it may be that of an upload which the
sender has forgotten (status 200 then, not 201). With ``Upload-Checksum`` all of a body counts or nothing;
without, what came before a cut counts too.
"""

import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Mapping
from email.utils import format_datetime
from typing import Final

import msgspec

from einthoven.errors import Conflict, EinthovenError, InputInvalid, NotFound
from einthoven.server.identities import Identities
from einthoven.server.ingest import RETRY_AFTER_S, Receive, Scope, Send, status_of, token_in
from einthoven.server.parties import Party, party_of
from einthoven.server.requests import instant
from einthoven.server.roles import ROUTES
from einthoven.server.uploading import Body, PartMismatch, TooLarge, Uploads
from einthoven.storage.uploads import Upload

__all__ = ["BODY_TYPE", "FILENAME", "SHA256", "UPLOADS_PATH", "UPLOAD_NAME", "UploadsRoute"]

UPLOADS_PATH: Final = "/v1/uploads"
UPLOAD_NAME: Final = r"^upl_[0-9a-f]{24}$"
FILENAME: Final = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$"
SHA256: Final = r"^[0-9a-f]{64}$"
VERSION: Final = "1.0.0"
_OPTIONS: Final = {
    "Tus-Version": VERSION,
    "Tus-Extension": "creation,checksum,termination,expiration",
    "Tus-Checksum-Algorithm": "sha256",
}
BODY_TYPE: Final = "application/offset+octet-stream"
_ONE: Final = f"{UPLOADS_PATH}/{{upload}}"


class _WrongVersion(InputInvalid):
    """Another version of the protocol."""


class _WrongType(InputInvalid):
    """Not the type of a body of the protocol."""


class _WrongMethod(InputInvalid):
    """The path has no such method."""


class _Unusable(NotFound):
    """It was there, and will not be again."""


_STATUS: Final[dict[type[EinthovenError], int]] = {
    _WrongVersion: 412,
    _WrongType: 415,
    _WrongMethod: 405,
    _Unusable: 410,
    PartMismatch: 460,
    TooLarge: 413,
}
"""Where the protocol has a word of its own."""


class _Answer(msgspec.Struct, frozen=True):
    status: int
    headers: dict[str, str] = {}
    content: bytes = b""


class UploadsRoute:
    """An ASGI application for the path and what is below it."""

    def __init__(self, uploads: Uploads, identities: Identities) -> None:
        self._uploads = uploads
        self._identities = identities

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            answer = await self._answer(scope["method"], scope["path"], headers, receive)
        except EinthovenError as error:
            answer = _refusal(error)
        fields = {"Tus-Resumable": VERSION, **answer.headers}
        if answer.status != 204:
            fields["Content-Length"] = str(len(answer.content))
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": [(name.lower().encode(), value.encode()) for name, value in fields.items()],
            }
        )
        content = b"" if scope["method"] == "HEAD" else answer.content
        await send({"type": "http.response.body", "body": content})

    async def _answer(self, method: str, path: str, headers: Mapping[str, str], receive: Receive) -> _Answer:
        rest = path.removeprefix(UPLOADS_PATH).removeprefix("/")
        known: dict[str, Callable[[str, Mapping[str, str], Receive, Party], Awaitable[_Answer]]]
        known = (
            {"HEAD": self._head, "PATCH": self._patch, "DELETE": self._delete}
            if rest
            else {"POST": self._post}
        )
        if method == "OPTIONS":
            more = {"Tus-Max-Size": str(self._uploads.most_bytes), "Allow": ", ".join([*known, "OPTIONS"])}
            return _Answer(204, {**_OPTIONS, **more})
        if method not in known:
            raise _WrongMethod(
                "this path has no such method.", where="request", remedy=f"It has {', '.join(known)}."
            )
        if headers.get("tus-resumable", VERSION) != VERSION:
            raise _WrongVersion(
                "the protocol's version is not one of ours.",
                where="Tus-Resumable",
                remedy=f"Use {VERSION}.",
            )
        token = token_in(headers.get("authorization", "").encode("latin-1"))
        allowed = ROUTES[method, _ONE if rest else UPLOADS_PATH]
        party = await party_of(self._identities, token, allowed, segments=0 if rest else 1)
        if rest and not re.fullmatch(UPLOAD_NAME, rest):
            raise NotFound("there is no such upload.", where="upload", remedy="Begin a new one.")
        return await known[method](rest, headers, receive, party)

    async def _post(self, _: str, headers: Mapping[str, str], _receive: Receive, party: Party) -> _Answer:
        size = _whole_number(headers, "Upload-Length")
        if size == 0:
            raise InputInvalid("the file is empty.", where="Upload-Length", remedy="Send a recording.")
        metadata = _metadata(headers.get("upload-metadata", ""))
        filename = _named(
            metadata, "filename", FILENAME, "Use letters, digits, '.', '_', '-'; never a person's name."
        )
        sha256 = _named(
            metadata, "sha256", SHA256, "Give the SHA-256 of the whole file, 64 hexadecimal digits."
        )
        upload, is_new = await self._uploads.begin(party, filename, sha256, size)
        where = {"Location": f"{UPLOADS_PATH}/{upload.id}"}
        return _Answer(201 if is_new else 200, {**where, **_progress(upload)})

    async def _head(self, id_: str, _: Mapping[str, str], _receive: Receive, party: Party) -> _Answer:
        upload = await self._usable(party, id_)
        about = f"filename {_base64(upload.filename)},sha256 {_base64(upload.sha256)}"
        more = {"Upload-Length": str(upload.bytes), "Upload-Metadata": about}
        return _Answer(200, {**more, **_progress(upload)})

    async def _patch(self, id_: str, headers: Mapping[str, str], receive: Receive, party: Party) -> _Answer:
        if headers.get("content-type", "").split(";")[0].strip().lower() != BODY_TYPE:
            raise _WrongType(
                "the body's type is not that of a piece.", where="Content-Type", remedy=f"Send {BODY_TYPE}."
            )
        offset = _whole_number(headers, "Upload-Offset")
        expected = _checksum(headers.get("upload-checksum"))
        upload = await self._usable(party, id_)
        if offset != upload.received:
            raise Conflict(
                "the offset is another one.",
                where="Upload-Offset",
                remedy="Ask for it (HEAD), and go on there.",
            )
        length = headers.get("content-length", "")
        if length.isdecimal() and offset + int(length) > upload.bytes:
            raise TooLarge(
                "the body goes beyond the length that was announced.",
                where="Upload-Length",
                remedy="Send no more than is missing.",
            )
        if upload.state == "open":
            upload = await self._uploads.receive(upload, Body(receive), expected)
            if upload.received == upload.bytes:
                upload = await self._uploads.settle(upload)
        return _Answer(204, _progress(upload))

    async def _delete(self, id_: str, _: Mapping[str, str], _receive: Receive, party: Party) -> _Answer:
        await self._uploads.remove(await self._uploads.find(party, id_))
        return _Answer(204)

    async def _usable(self, party: Party, id_: str) -> Upload:
        upload = await self._uploads.find(party, id_)
        if upload.state == "wrong":
            raise _Unusable(
                "the file was not what its SHA-256 says; this upload cannot be used.",
                where="upload",
                remedy="Begin a new one.",
            )
        return upload


def _refusal(error: EinthovenError) -> _Answer:
    status = _STATUS.get(type(error)) or status_of(error)
    headers = {"Content-Type": "application/json"}
    if status == 412:
        headers["Tus-Version"] = VERSION
    if status == 405:
        headers["Allow"] = "OPTIONS, POST, HEAD, PATCH, DELETE"
    if status in (429, 503):
        headers["Retry-After"] = str(RETRY_AFTER_S)
    return _Answer(status, headers, msgspec.json.encode(error.as_dict()))


def _progress(upload: Upload) -> dict[str, str]:
    fields = {"Upload-Offset": str(upload.received)}
    if upload.state == "open":
        fields["Upload-Expires"] = format_datetime(instant(upload.expires_ns), usegmt=True)
    return fields


def _whole_number(headers: Mapping[str, str], name: str) -> int:
    text = headers.get(name.lower(), "")
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise InputInvalid(
            "this is no number of bytes.", where=name, remedy="Send a whole number, 0 or greater."
        )
    return int(text)


def _metadata(text: str) -> dict[str, str]:
    """Upload-Metadata: names and base64 values."""
    found = {}
    for pair in text.split(",") if text.strip() else ():
        name, _, value = pair.strip().partition(" ")
        try:
            found[name] = base64.b64decode(value.strip(), validate=True).decode()
        except (binascii.Error, ValueError):
            raise InputInvalid(
                "a value is not base64 of a text.", where="Upload-Metadata", remedy="Encode each value."
            ) from None
    return found


def _named(metadata: Mapping[str, str], name: str, pattern: str, remedy: str) -> str:
    value = metadata.get(name, "")
    if not re.fullmatch(pattern, value):
        raise InputInvalid(f"{name} is missing or not one.", where="Upload-Metadata", remedy=remedy)
    return value


def _checksum(text: str | None) -> bytes | None:
    if text is None:
        return None
    algorithm, _, value = text.strip().partition(" ")
    try:
        digest = base64.b64decode(value.strip(), validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if algorithm.lower() != "sha256" or len(digest) != 32:
        raise InputInvalid(
            "this is no SHA-256.", where="Upload-Checksum", remedy="Send 'sha256' and the digest in base64."
        )
    return digest


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
