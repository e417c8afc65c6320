"""Routes of reports: the pages of a recording, and who stands for them.

A report that nobody finalised is made anew whenever it is asked for. One that was finalised is kept as it is;
an amendment is the next version, which names the one before by its SHA-256.
"""

import asyncio
import hashlib
from datetime import datetime
from typing import Annotated, Final

import msgspec
from litestar import Response, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody, Parameter
from litestar.types import ControllerRouterHandler

from einthoven.errors import Conflict
from einthoven.reports import Heading
from einthoven.server.printing import print_recording
from einthoven.server.reception import Reception
from einthoven.server.recording_routes import RecordingInPath
from einthoven.server.requests import Asker, Parts, Sending, instant
from einthoven.storage.database import Statements
from einthoven.storage.recordings import KeptRecording, recording_of
from einthoven.storage.reports import KeptReport, add_report, newest_report, report_of, reports_of

__all__ = ["HANDLERS", "ReportSeen"]

_PDF: Final = "application/pdf"
_VERSIONS: Final = 1_000_000
_WORDS: Final = r"^[^\x00-\x09\x0b-\x1f\x7f-\x9f]*$"

Words = Annotated[str, msgspec.Meta(max_length=200, pattern=_WORDS)]


class ReportSeen(msgspec.Struct, frozen=True, rename="camel"):
    """One version that somebody stands for."""

    version: int
    sha256: str
    bytes: int
    by: str
    at: datetime
    conclusion: str


class ReportList(msgspec.Struct, frozen=True, rename="camel"):
    """The newest first."""

    items: list[ReportSeen]


class Finalised(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What a clinician says of a recording."""

    conclusion: Annotated[str, msgspec.Meta(min_length=1, max_length=4000, pattern=_WORDS)]
    recorder: Words = ""
    indication: Words = ""
    amends: Annotated[
        int, msgspec.Meta(ge=0, le=_VERSIONS, description="The newest version; 0: there is none.")
    ] = 0


@get(
    "/v1/recordings/{recording:str}/report",
    media_type=_PDF,
    responses={200: ResponseSpec(bytes, media_type=_PDF, generate_examples=False, description="The pages")},
)
async def report(
    reception: Parts,
    party: Sending,
    recording: RecordingInPath,
    version: Annotated[
        int | None, Parameter(ge=1, le=_VERSIONS, description="One that somebody finalised; else the newest.")
    ] = None,
) -> Response[bytes]:
    """The report of a recording as a PDF; where nobody finalised one, as it was analysed."""

    def question(statements: Statements) -> tuple[KeptRecording, KeptReport | None]:
        found = recording_of(statements, party.org, recording, patient=party.patient)
        if version is not None:
            return found, report_of(statements, party.org, recording, version)
        return found, newest_report(statements, party.org, recording)

    found, kept = await reception.connections.read(question)
    if kept is None:
        content = await _printed(reception, found, Heading(patient=found.patient))
    else:
        content = await asyncio.to_thread(reception.store.get, kept.object)
    name = f"{recording}.pdf" if kept is None else f"{recording}-{kept.version}.pdf"
    headers = {"Content-Disposition": f'inline; filename="{name}"', "Cache-Control": "no-store"}
    return Response(content, media_type=_PDF, headers=headers)


@get("/v1/recordings/{recording:str}/reports")
async def reports(reception: Parts, party: Sending, recording: RecordingInPath) -> ReportList:
    """The versions that somebody finalised."""

    def question(statements: Statements) -> list[KeptReport]:
        recording_of(statements, party.org, recording, patient=party.patient)
        return reports_of(statements, party.org, recording)

    return ReportList([_seen(one) for one in await reception.connections.read(question)])


@post("/v1/recordings/{recording:str}/reports", status_code=201)
async def finalise(
    reception: Parts, person: Asker, recording: RecordingInPath, data: JSONBody[Finalised]
) -> ReportSeen:
    """Stand for a report. ``amends`` is the newest version: of two who finalise at once one is told so."""

    def question(statements: Statements) -> tuple[KeptRecording, KeptReport | None]:
        found = recording_of(statements, person.org, recording)
        return found, newest_report(statements, person.org, recording)

    found, before = await reception.connections.read(question)
    newest = 0 if before is None else before.version
    if data.amends != newest:
        raise Conflict(
            f"the newest version is {newest}.", where="amends", remedy="Read it, and amend that one."
        )
    now_ns = reception.clock.utc_ns()
    heading = Heading(
        patient=found.patient,
        recorder=data.recorder,
        indication=data.indication,
        conclusion=data.conclusion,
        by=person.user,
        at=f"{instant(now_ns):%Y-%m-%d %H:%M} UTC",
        amends="" if before is None else before.sha256,
        version=newest + 1,
    )
    content = await _printed(reception, found, heading)
    sha256 = hashlib.sha256(content).hexdigest()
    kept = KeptReport(
        org=person.org,
        recording=recording,
        version=newest + 1,
        sha256=sha256,
        bytes=len(content),
        object=f"reports/{person.org}/{recording}/{newest + 1}-{sha256[:32]}.pdf",
        by=person.user,
        at_ns=now_ns,
        conclusion=data.conclusion,
    )
    await asyncio.to_thread(reception.store.put, kept.object, content)
    await reception.connections.write(lambda s: add_report(s, kept))
    return _seen(kept)


HANDLERS: Final[tuple[ControllerRouterHandler, ...]] = (report, reports, finalise)


async def _printed(reception: Reception, found: KeptRecording, heading: Heading) -> bytes:
    async with reception.printing:
        return await asyncio.to_thread(
            print_recording, found, reception.store, reception.settings.reports_cache, heading
        )


def _seen(one: KeptReport) -> ReportSeen:
    return ReportSeen(
        version=one.version,
        sha256=one.sha256,
        bytes=one.bytes,
        by=one.by,
        at=instant(one.at_ns),
        conclusion=one.conclusion,
    )
