"""Routes of whole recordings: analyse this, how far is it, what was found."""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Final

import msgspec
from litestar import Response, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody, Parameter, PathParameter
from litestar.types import ControllerRouterHandler
from msgspec import UNSET, Meta, UnsetType

from einthoven.errors import AccessDenied, Conflict, InputInvalid
from einthoven.names import PSEUDONYM
from einthoven.records.edf_header import edf_start_ns
from einthoven.records.files import MAX_TEXT_BYTES
from einthoven.records.header import parse_header
from einthoven.records.ishne import ishne_start_ns
from einthoven.runtime.joined_findings import findings_in, joined_in
from einthoven.server.access import Wanted, admit
from einthoven.server.metrics import METRICS
from einthoven.server.parties import Party
from einthoven.server.problems import Problem
from einthoven.server.reception import Reception
from einthoven.server.requests import Limit, Parts, Pseudonym, Seeing, Sending, instant
from einthoven.server.roles import SENDERS
from einthoven.server.uploading import Uploads
from einthoven.server.uploads import SHA256, UPLOAD_NAME
from einthoven.server.wire import instant_of
from einthoven.signal.findings import Condition, Episode, HeartRate
from einthoven.storage import ObjectStore
from einthoven.storage.database import Statements
from einthoven.storage.recordings import (
    KeptRecording,
    ReadAs,
    RecordingFile,
    add_recording,
    cancel_recording,
    digest_of_files,
    hours_done,
    list_recordings,
    recording_of,
    redrive_recording,
)

__all__ = ["HANDLERS", "RecordingResult", "RecordingSeen", "result_of", "seen_of"]

_FILES_MAX: Final = 1024
_BEGINNING: Final = 4096
_PART: Final = "[A-Za-z0-9_-][A-Za-z0-9._-]*"

RecordingInPath = Annotated[str, PathParameter(pattern="^rec_[0-9a-f]{24}$", description="A recording's id.")]
UploadName = Annotated[str, Meta(pattern=UPLOAD_NAME)]
ObjectName = Annotated[str, Meta(pattern=f"^{_PART}(/{_PART})*$", max_length=512)]
LeadName = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f]{1,64}$")]


class RecordingSent(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A recording to be analysed: exactly one of upload, uploads and object is set."""

    upload: UploadName | UnsetType = UNSET
    """Its one file."""
    uploads: Annotated[list[UploadName], Meta(min_length=1, max_length=_FILES_MAX)] | UnsetType = UNSET
    """Its files; of a WFDB record the header first."""
    object: Annotated[ObjectName, Meta(description="In the store of recordings; sha256 too.")] | UnsetType = (
        UNSET
    )
    sha256: Annotated[str, Meta(pattern=SHA256, description="Of the object.")] | UnsetType = UNSET
    patient_id: Pseudonym | UnsetType = UNSET
    device_id: Pseudonym | UnsetType = UNSET
    start_time: Annotated[datetime, Meta(tz=True, description="First sample, UTC; RFC 3339.")] | UnsetType = (
        UNSET
    )
    """Needed unless the file says it."""
    lead: LeadName | Annotated[int, Meta(ge=0, le=511)] | UnsetType = UNSET
    """Its name, or its number from 0; the first if it is left out."""
    fs: (
        Annotated[float, Meta(ge=50, le=1000, description="Hz, where the file does not say it.")] | UnsetType
    ) = UNSET
    gain: Annotated[float, Meta(ge=1e-3, le=1e7, description="Counts per mV, likewise.")] | UnsetType = UNSET
    baseline: (
        Annotated[int, Meta(gt=-(2**31), lt=2**31, description="Count at 0 mV, likewise.")] | UnsetType
    ) = UNSET


class Progress(msgspec.Struct, frozen=True, rename="camel"):
    """Hours of the recording."""

    done: int
    total: int | None
    """None while nobody has opened it."""


class Trouble(msgspec.Struct, frozen=True, rename="camel"):
    """Why a recording could not be analysed."""

    code: str
    what: str


class RecordingSeen(msgspec.Struct, frozen=True, rename="camel"):
    """One recording, and how far it is."""

    id: str
    patient: str
    device: str
    lead: str | None
    """None while nobody has opened it."""
    state: str
    progress: Progress
    start_time: datetime | None
    fs: float | None
    samples: int | None
    remarks: list[str]
    """What was taken for granted of its files, and what of them was left out."""
    bytes: int
    created_at: datetime
    began_at: datetime | None
    ended_at: datetime | None
    error: Trouble | None


class RecordingPage(msgspec.Struct, frozen=True, rename="camel"):
    """The newest first; ``next`` is ``after`` of the next page."""

    items: list[RecordingSeen]
    next: str | None


class CountedBeats(msgspec.Struct, frozen=True, rename="camel"):
    """How many beats."""

    total: int
    classes: dict[str, int]


class SeenQuality(msgspec.Struct, frozen=True, rename="camel"):
    """What could be read."""

    grades: tuple[int, int, int]
    """Seconds of grades 1, 2 and 3."""
    analysable_fraction: float | None


class RecordingResult(msgspec.Struct, frozen=True, rename="camel"):
    """What was found in a whole recording; positions count its samples."""

    id: str
    patient: str
    start_time: datetime
    fs: float
    first: int
    until: int
    beats: CountedBeats
    heart_rate: HeartRate
    episodes: list[Episode]
    conditions: list[Condition]
    """What somebody should know."""
    alerts: list[Condition]
    """Those of them that alert."""
    quality: SeenQuality
    versions: dict[str, str]
    object: str
    """The ECG object with all findings, in the service's object store."""


@get("/v1/recordings")
async def recordings(
    reception: Parts,
    party: Sending,
    sight: Seeing,
    patient: Annotated[str | None, Parameter(pattern=PSEUDONYM, description="Of one patient only.")] = None,
    after: Annotated[
        str, Parameter(pattern=r"^[0-9]{0,16}$", description="Where the page before ended.")
    ] = "",
    limit: Limit = 100,
) -> RecordingPage:
    """Recordings of the organisation, the newest first; a device and a patient see the own ones."""
    if party.patient is not None:
        if patient not in (None, party.patient):
            raise AccessDenied("these are another one's data.", where="patient", remedy="Ask for your own.")
        patient = party.patient
    before = int(after.strip() or 2**62)

    def question(statements: Statements) -> RecordingPage:
        found = list_recordings(
            statements,
            party.org,
            patient=patient,
            before=before,
            limit=limit + 1,
            seen=sight.of("recordings"),
        )
        return RecordingPage(
            [seen_of(statements, one) for one in found[:limit]],
            str(found[limit - 1].number) if found[limit:] else None,
        )

    return await reception.connections.read(question)


@post(
    "/v1/recordings",
    status_code=202,
    response_description="It will be analysed",
    responses={
        200: ResponseSpec(RecordingSeen, generate_examples=False, description="It was here before"),
        422: ResponseSpec(
            Problem, generate_examples=False, description="A file is not what its SHA-256 says"
        ),
    },
)
async def analyse_recording(
    reception: Parts, party: Sending, data: JSONBody[RecordingSent]
) -> Response[RecordingSeen]:
    """Analyse a recording that was uploaded, or that lies in the store of recordings.

    The same recording of the same device, start and lead is answered with what became of it.
    """
    patient = _own("patientId", data.patient_id, party.patient)
    device = _own("deviceId", data.device_id, party.device)
    if party.kind not in SENDERS:
        wanted = Wanted(party=party, route=("POST", "/v1/recordings"), named={"patient": patient})
        await admit(reception.connections, reception.clock, wanted)
    files = await _files(reception, party, data)
    asked_ns = -1 if data.start_time is UNSET else instant_of(data.start_time)
    if asked_ns < 0:
        asked_ns = await asyncio.to_thread(_start_in, reception.uploads, party.org, files[0])
    new = KeptRecording(
        org=party.org,
        patient=patient,
        device=device,
        read_as=ReadAs(
            "" if data.lead is UNSET else str(data.lead),
            None if data.fs is UNSET else data.fs,
            None if data.gain is UNSET else data.gain,
            None if data.baseline is UNSET else data.baseline,
        ),
        asked_ns=asked_ns,
        start_ns=None if asked_ns < 0 else asked_ns,
        digest=digest_of_files(files),
        bytes=sum(one.bytes for one in files),
        files=files,
        created_ns=reception.clock.utc_ns(),
    )

    def change(statements: Statements) -> tuple[RecordingSeen, bool]:
        found, is_new = add_recording(statements, new)
        return seen_of(statements, found), is_new

    seen, is_new = await reception.connections.write(change)
    return Response(seen, status_code=202 if is_new else 200)


@get("/v1/recordings/{recording:str}")
async def recording_detail(reception: Parts, party: Sending, recording: RecordingInPath) -> RecordingSeen:
    """One recording, and how far it is."""

    def question(statements: Statements) -> RecordingSeen:
        return seen_of(statements, recording_of(statements, party.org, recording, patient=party.patient))

    return await reception.connections.read(question)


@post("/v1/recordings/{recording:str}/cancel", status_code=200)
async def cancel(reception: Parts, party: Sending, recording: RecordingInPath) -> RecordingSeen:
    """Do not analyse it, or no further; what was received stays."""
    now_ns = reception.clock.utc_ns()

    def change(statements: Statements) -> tuple[RecordingSeen, bool]:
        found = recording_of(statements, party.org, recording, patient=party.patient)
        has_ended = cancel_recording(statements, found.number, now_ns)
        if not has_ended and found.state != "cancelled":
            raise Conflict("the recording has ended.", where="recording", remedy="Look at its state.")
        again = recording_of(statements, party.org, recording, patient=party.patient)
        return seen_of(statements, again), has_ended

    seen, has_ended = await reception.connections.write(change)
    if has_ended:
        METRICS.recordings.labels("cancelled").inc()
    return seen


@post("/v1/recordings/{recording:str}/redrive", status_code=200)
async def redrive(reception: Parts, party: Sending, recording: RecordingInPath) -> RecordingSeen:
    """Analyse a recording anew that failed or was cancelled."""

    def change(statements: Statements) -> RecordingSeen:
        found = recording_of(statements, party.org, recording, patient=party.patient)
        if not redrive_recording(statements, found.number):
            raise Conflict(
                "the recording neither failed nor was cancelled, or is still being cleared away.",
                where="recording",
                remedy="Look at its state, or ask again in a moment.",
            )
        return seen_of(statements, recording_of(statements, party.org, recording))

    return await reception.connections.write(change)


@get("/v1/recordings/{recording:str}/result")
async def recording_result(reception: Parts, party: Sending, recording: RecordingInPath) -> RecordingResult:
    """What was found in it."""
    found = await reception.connections.read(
        lambda s: recording_of(s, party.org, recording, patient=party.patient)
    )
    if found.state != "done" or found.result is None:
        raise Conflict(
            f"there is no result; the recording is {found.state}.",
            where="recording",
            remedy="Ask for its state until it is done.",
        )
    return await asyncio.to_thread(result_of, found, reception.uploads.store)


HANDLERS: Final[tuple[ControllerRouterHandler, ...]] = (
    recordings,
    analyse_recording,
    recording_detail,
    cancel,
    redrive,
    recording_result,
)


def _own(field: str, given: str | UnsetType, allowed: str | None) -> str:
    if allowed is None:
        if given is UNSET:
            raise InputInvalid("it is needed where one sends for many.", where=field, remedy=f"Add {field}.")
        return given
    if given not in (UNSET, allowed):
        raise AccessDenied(
            "the token is for another one.", where=field, remedy="Use the token made for this device."
        )
    return allowed


async def _files(reception: Reception, party: Party, data: RecordingSent) -> tuple[RecordingFile, ...]:
    """What the recording is made of, the file that is opened first."""
    if sum(one is not UNSET for one in (data.upload, data.uploads, data.object)) != 1:
        raise InputInvalid(
            "exactly one of upload, uploads and object is wanted.", where="upload", remedy="Send one."
        )
    if data.object is not UNSET:
        return (_in_store(reception, data.object, data.sha256),)
    names = [data.upload] if data.upload is not UNSET else [] if data.uploads is UNSET else data.uploads
    files = []
    for name in names:
        upload = await reception.uploads.settle(await reception.uploads.find(party, name))
        files.append(RecordingFile(upload.filename, upload.sha256, upload.bytes))
    if len({one.name for one in files}) < len(files):
        raise InputInvalid(
            "two files have one name.", where="uploads", remedy="Name each as its record does."
        )
    headers = [one for one in files if one.name.endswith(".hea")]
    if len(headers) == 1:
        files.sort(key=lambda one: one is not headers[0])
    return tuple(files)


def _in_store(reception: Reception, name: str, sha256: str | UnsetType) -> RecordingFile:
    if not reception.settings.recordings_store:
        raise AccessDenied(
            "this service takes no recordings from a store.",
            where="object",
            remedy="Upload it, or have the setting recordings_store set.",
        )
    if sha256 is UNSET:
        raise InputInvalid("the object's SHA-256 is missing.", where="sha256", remedy="Add sha256.")
    return RecordingFile(name.rpartition("/")[2], sha256, 0, name)


def _start_in(uploads: Uploads, org: str, file: RecordingFile) -> int:
    """When a recording begins, if its first file says so, ns; -1 where only whoever reads all of it knows.

    Raises
    ------
    InputInvalid : it does not, and nobody else said it.
    """
    if file.object:
        return -1
    manifest = uploads.files.manifest(org, file.sha256)
    beginning = b"" if manifest is None else _beginning(uploads.files.content(manifest))
    if file.name.endswith(".hea"):
        found = parse_header(beginning.decode("utf-8", "replace"), file.name).start_ns
        if found is not None:
            return found
    elif (start_ns := ishne_start_ns(beginning)) is not None:
        return start_ns
    elif edf_start_ns(beginning) is not None:
        return -1  # to the second; its first data record says the rest
    elif beginning[:_BEGINNING].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        return -1
    raise InputInvalid(
        "the file does not say when it begins.",
        where="startTime",
        remedy="Add startTime (--start), RFC 3339 in UTC.",
    )


def _beginning(blocks: Iterator[bytes]) -> bytes:
    """As much of a file as a header may have."""
    found = b""
    for block in blocks:
        found += block
        if len(found) >= MAX_TEXT_BYTES:
            break
    return found


def seen_of(statements: Statements, one: KeptRecording) -> RecordingSeen:
    """A recording as it goes out."""
    return RecordingSeen(
        id=one.id,
        patient=one.patient,
        device=one.device,
        lead=one.lead,
        state=one.state,
        progress=Progress(hours_done(statements, one), one.hours),
        start_time=None if one.start_ns is None else instant(one.start_ns),
        fs=one.fs,
        samples=one.samples,
        remarks=list(one.remarks),
        bytes=one.bytes,
        created_at=instant(one.created_ns),
        began_at=None if one.began_ns is None else instant(one.began_ns),
        ended_at=None if one.ended_ns is None else instant(one.ended_ns),
        error=Trouble(one.code, one.error) if one.code else None,
    )


def result_of(one: KeptRecording, store: ObjectStore) -> RecordingResult:
    """What was found in a recording that is done.

    Raises
    ------
    ObjectDamaged : an object holds no findings. RecordingNotFound, StoreUnavailable : see `ObjectStore`.
    """
    found = joined_in(one.result or "", store)
    episodes: list[Episode] = []
    conditions: list[Condition] = []
    for part in findings_in(found, store):
        episodes += part.episodes
        conditions += part.conditions
    conditions.sort(key=lambda each: (each.onset, each.condition))
    clear, readable, unreadable = found.seconds
    share = (clear + readable) / (clear + readable + unreadable) if any(found.seconds) else None
    return RecordingResult(
        id=one.id,
        patient=one.patient,
        start_time=instant(one.start_ns or 0),
        fs=found.fs,
        first=found.first,
        until=found.until,
        beats=CountedBeats(sum(found.beats.values()), found.beats),
        heart_rate=found.heart_rate,
        episodes=sorted(episodes, key=lambda each: (each.onset, each.kind)),
        conditions=conditions,
        alerts=[each for each in conditions if each.action == "alert"],
        quality=SeenQuality(
            found.seconds,
            None if share is None else round(share, 4),
        ),
        versions=found.versions,
        object=one.result or "",
    )
