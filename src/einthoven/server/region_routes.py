"""Routes of regions: what there is and how it stands, and changing that while the service runs.

They are of the whole service: administrators of ``main`` change them. A change is written to the file that
declares them, and holds in every process within two seconds.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from litestar import delete, get, patch, post
from litestar.params import JSONBody, PathParameter
from litestar.types import ControllerRouterHandler
from msgspec import Meta

from einthoven.clock import SystemClock
from einthoven.continuum import Continuum, Price, Region, Tier
from einthoven.errors import AccessDenied, Conflict, EinthovenError, InputInvalid, NotFound
from einthoven.runtime.continuum_file import ContinuumFile
from einthoven.runtime.reaching import reached
from einthoven.runtime.region_probe import RegionReport, report_on
from einthoven.server.accounts import MAIN
from einthoven.server.auditing import record
from einthoven.server.identities import Person
from einthoven.server.metrics import families
from einthoven.server.reception import Reception
from einthoven.server.region_figures import RegionFigures, figures_in
from einthoven.server.requests import Asker, Parts
from einthoven.storage.database import Statements

__all__ = ["HANDLERS", "TOKENS_FOLDER"]

TOKENS_FOLDER: Final = "region-tokens"
"""In the data folder: files with tokens that the API may name. It names no other file."""
_NAME: Final = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
_LABEL: Final = r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$"
_FUNCTION: Final = "^[A-Za-z0-9_]{1,64}$"
_PROBE_S: Final = 5.0

RegionName = Annotated[str, Meta(pattern=_NAME, description="A region's name.")]
RegionInPath = Annotated[str, PathParameter(pattern=_NAME, description="A region's name.")]
State = Literal["in-use", "draining", "avoided"]
Amount = Annotated[float, Meta(ge=0, le=1e12)]


class PriceOf(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What a region asks, in the currency of the file."""

    per_invocation: Amount = 0.0
    per_gb_s: Amount = 0.0
    per_egress_gb: Amount = 0.0
    billing_step_s: Annotated[float, Meta(ge=0, le=3600)] = 0.001


class NewRegion(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A region to be; see docs/reference/continuum.md."""

    name: RegionName
    kind: Literal["http", "nats", "ray"]
    address: Annotated[str, Meta(pattern=r"^((https?|nats|tls|ray)://[!-?A-Z^-~]{1,480}|auto)$")]
    tier: Tier = "core"
    place: Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9._-]*$")] = ""
    labels: Annotated[tuple[Annotated[str, Meta(pattern=_LABEL)], ...], Meta(max_length=32)] = ()
    slots: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    functions: Annotated[tuple[Annotated[str, Meta(pattern=_FUNCTION)], ...], Meta(max_length=64)] = ()
    rtt_s: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    price: PriceOf = PriceOf()
    token_file: Annotated[
        str,
        Meta(
            pattern=r"^([A-Za-z0-9_-][A-Za-z0-9._-]{0,99})?$",
            description="Name of a file in the folder region-tokens of the service; empty for none.",
        ),
    ] = ""


class RegionChange(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What is to be different."""

    is_draining: bool


class RegionSeen(msgspec.Struct, frozen=True, rename="camel"):
    """A region, and how it stands with all processes of this service."""

    name: str
    kind: str
    tier: Tier
    place: str
    labels: tuple[str, ...]
    slots: int
    functions: tuple[str, ...]
    price: PriceOf
    state: State
    """Avoided: some process gives it nothing now, for it fails."""
    in_flight: int
    answered: int
    """Attempts since the service started."""
    failed: int
    error_rate: float | None
    mean_s: float | None
    """Of a call lately; None where nothing was called."""
    cost: float


class RegionList(msgspec.Struct, frozen=True, rename="camel"):
    """Regions in the order of the file."""

    currency: str
    segments_in: str
    recordings_in: str
    items: list[RegionSeen]


class RegionProbed(msgspec.Struct, frozen=True, rename="camel"):
    """What a region says of itself."""

    answers: bool
    why: str
    rtt_s: float | None
    slots: int | None
    is_draining: bool
    functions: tuple[str, ...]


@get("/v1/regions")
async def regions(reception: Parts) -> RegionList:
    """Regions, and how they stand."""
    declared = await asyncio.to_thread(_declared, _file(reception))
    figures = await asyncio.to_thread(_figures)
    settings = reception.settings
    return RegionList(
        declared.currency,
        settings.segments_in,
        settings.recordings_in,
        [_seen(one, figures[one.name]) for one in declared.regions],
    )


@post("/v1/regions", status_code=201)
async def add_region(reception: Parts, person: Asker, data: JSONBody[NewRegion]) -> RegionSeen:
    """Add a region."""
    region = _region(reception.settings.folder, data)
    await _change(reception, person, lambda file: file.add(region), "region.added", data.name)
    return _seen(region, RegionFigures())


@patch("/v1/regions/{name:str}")
async def change_region(
    reception: Parts, person: Asker, name: RegionInPath, data: JSONBody[RegionChange]
) -> RegionSeen:
    """Give a region nothing new, or something again."""
    act = "region.drained" if data.is_draining else "region.resumed"
    await _change(reception, person, lambda file: file.drain(name, is_draining=data.is_draining), act, name)
    declared = await asyncio.to_thread(_declared, _file(reception))
    figures = await asyncio.to_thread(_figures)
    return _seen(_named(declared, name), figures[name])


@delete("/v1/regions/{name:str}", status_code=204)
async def remove_region(reception: Parts, person: Asker, name: RegionInPath) -> None:
    """Remove a region; what it has is asked of others, or done here."""
    await _change(reception, person, lambda file: file.remove(name), "region.removed", name)


@post("/v1/regions/{name:str}/probe", status_code=200)
async def probe_region(reception: Parts, person: Asker, name: RegionInPath) -> RegionProbed:
    """Ask a region how it is."""
    _allow(person)
    region = _named(await asyncio.to_thread(_declared, _file(reception)), name)
    try:
        port = reached(region)
    except EinthovenError as error:
        return _probed(RegionReport(answers=False, why=error.what))
    try:
        return _probed(await report_on(port, SystemClock(), timeout_s=_PROBE_S))
    finally:
        await port.close()


HANDLERS: Final[tuple[ControllerRouterHandler, ...]] = (
    regions,
    add_region,
    change_region,
    remove_region,
    probe_region,
)


async def _change(
    reception: Reception,
    person: Person,
    change: Callable[[ContinuumFile], None],
    act: str,
    name: str,
) -> None:
    """Change the file, and keep who did it."""
    _allow(person)
    file = _file(reception)

    def perform() -> None:
        if act != "region.added":
            _named(_declared(file), name)
        change(file)

    await asyncio.to_thread(perform)
    now_ns = reception.clock.utc_ns()

    def noted(statements: Statements) -> None:
        record(statements, MAIN, now_ns, person.user, act, f"region:{name}")

    await reception.connections.write(noted)


def _allow(person: Person) -> None:
    if person.org != MAIN:
        raise AccessDenied(
            "only those who run the service do this.", where="Authorization", remedy=f"Ask one of {MAIN}."
        )


def _file(reception: Reception) -> ContinuumFile:
    return ContinuumFile(reception.settings.continuum_path)


def _declared(file: ContinuumFile) -> Continuum:
    try:
        return file.read()
    except NotFound:
        return Continuum()


def _named(declared: Continuum, name: str) -> Region:
    for one in declared.regions:
        if one.name == name:
            return one
    raise NotFound("there is no region of this name.", where="region", remedy="List the regions.")


def _region(folder: Path, data: NewRegion) -> Region:
    price = Price(**msgspec.structs.asdict(data.price))
    fields = {**msgspec.structs.asdict(data), "price": price}
    if data.token_file:
        fields["token_file"] = str(folder / TOKENS_FOLDER / data.token_file)
    try:
        return Region(**fields)
    except InputInvalid as error:
        if error.where != "address":
            raise
        raise Conflict(
            "the address is not one of this kind of region.", where="address", remedy=error.remedy
        ) from None


def _seen(region: Region, figures: RegionFigures) -> RegionSeen:
    state: State = "draining" if region.is_draining else "avoided" if figures.is_avoided else "in-use"
    return RegionSeen(
        name=region.name,
        kind=region.kind,
        tier=region.tier,
        place=region.place,
        labels=region.labels,
        slots=region.slots,
        functions=region.functions,
        price=PriceOf(**{name: getattr(region.price, name) for name in PriceOf.__struct_fields__}),
        state=state,
        in_flight=figures.in_flight,
        answered=figures.answered,
        failed=figures.failed,
        error_rate=figures.error_rate,
        mean_s=figures.mean_s,
        cost=figures.cost,
    )


def _figures() -> Mapping[str, RegionFigures]:
    return figures_in(families())


def _probed(report: RegionReport) -> RegionProbed:
    return RegionProbed(
        report.answers,
        report.why,
        report.rtt_s,
        report.slots,
        report.is_draining,
        report.functions,
    )
