"""Routes for whoever watches the service."""

import asyncio
from typing import Final, Literal

import msgspec
from litestar import Response, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ControllerRouterHandler

from einthoven.errors import EinthovenError
from einthoven.server.requests import Parts

__all__ = ["HANDLERS"]

_ANSWERS_S: Final = 2.0
"""A database that takes longer is not ready."""


class Live(msgspec.Struct, frozen=True):
    """The worker answers."""

    status: Literal["live"] = "live"


class Ready(msgspec.Struct, frozen=True):
    """Whether segments would be taken now, and what stands against it."""

    status: Literal["ready", "not-ready"]
    database: bool
    engine: bool
    waiting: int


@get("/health/live", media_type="application/json")
async def live() -> Live:
    """Whether the worker answers; if not, start it again."""
    return Live()


@get(
    "/health/ready",
    media_type="application/json",
    responses={503: ResponseSpec(Ready, generate_examples=False, description="Not ready, and why")},
)
async def ready(reception: Parts) -> Response[Ready]:
    """Whether to send requests here: the database answers, the engine takes work."""
    has_database = False
    try:
        async with asyncio.timeout(_ANSWERS_S):
            has_database = bool(await reception.health.read(lambda s: s.rows("SELECT 1")))
    except (EinthovenError, TimeoutError):
        pass
    has_engine = reception.intake.is_alive
    is_ready = has_database and has_engine
    found = Ready("ready" if is_ready else "not-ready", has_database, has_engine, reception.intake.waiting)
    return Response(found, status_code=200 if is_ready else 503)


HANDLERS: Final[tuple[ControllerRouterHandler, ...]] = (live, ready)
