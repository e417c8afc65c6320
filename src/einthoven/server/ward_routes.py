"""The route of the ward: everything that a page shows at its beginning, in one consistent view."""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec
from litestar import get
from litestar.params import Parameter
from litestar.types import ControllerRouterHandler

from einthoven.continuum import Tier
from einthoven.errors import EinthovenError
from einthoven.runtime.continuum_file import ContinuumFile
from einthoven.server.alert_routes import AlertSeen, seen
from einthoven.server.requests import Asker, Parts, Seeing, instant, own_patient
from einthoven.server.ward import StreamNow, WardPage, read_ward, without_findings

__all__ = ["HANDLERS"]

PatientFilter = Annotated[
    str | None,
    Parameter(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="This patient only."),
]


class WardPatient(msgspec.Struct, frozen=True, rename="camel"):
    """One patient: what the devices send, and which alerts are open."""

    patient: str
    """Empty for what concerns the organisation, such as a channel."""
    streams: list[StreamNow]
    alerts: list[AlertSeen]


class Ward(msgspec.Struct, frozen=True, rename="camel"):
    """Patients by pseudonym; ``next`` is ``after`` of the next page."""

    at: datetime
    """The service's clock."""
    newest: int
    """To be given to `/v1/events` as ``after``: what happens from then on."""
    tiers: dict[str, Tier]
    """Of the regions that are declared."""
    items: list[WardPatient]
    next: str | None


@get("/v1/ward")
async def ward(
    reception: Parts,
    person: Asker,
    sight: Seeing,
    patient: PatientFilter = None,
    after: Annotated[
        str | None,
        Parameter(pattern="^[A-Za-z0-9._-]{0,64}$", description="Where the page before ended."),
    ] = None,
    limit: Annotated[int, Parameter(ge=1, le=2000, description="Most patients on this page.")] = 500,
) -> Ward:
    """All patients as they are now; technicians see no findings but alerts, patients themselves."""
    if person.role == "patient":
        patient = own_patient(person, patient or person.patient)
    found = await reception.views.read(
        lambda s: read_ward(s, sight, patient=patient, after=after, limit=limit)
    )
    tiers = await asyncio.to_thread(_tiers, reception.settings.continuum_path)
    streams = without_findings(found.streams) if person.role == "technician" else found.streams
    return Ward(
        instant(reception.clock.utc_ns()), found.newest, tiers, _by_patient(found, streams), found.next
    )


HANDLERS: Final[tuple[ControllerRouterHandler, ...]] = (ward,)


def _by_patient(found: WardPage, streams: list[StreamNow]) -> list[WardPatient]:
    patients = {name: WardPatient(name, [], []) for name in found.patients}
    for stream in streams:
        patients[stream.patient].streams.append(stream)
    for alert in found.alerts:
        patients[alert.patient].alerts.append(seen(alert))
    return list(patients.values())


def _tiers(path: Path) -> dict[str, Tier]:
    """None where none are declared, or the file cannot be read: a ward is shown without them."""
    try:
        return {region.name: region.tier for region in ContinuumFile(path).read().regions}
    except EinthovenError:
        return {}
