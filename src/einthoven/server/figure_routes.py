"""The route of figures: what the service counts and measures, for the page of whoever runs it."""

import asyncio
import math
from typing import Final

import msgspec
from litestar import get
from litestar.types import ControllerRouterHandler

from einthoven.server.metrics import families
from einthoven.server.requests import Asker, Parts, instant

__all__ = ["HANDLERS"]

_MADE: Final = "_created"


class Figure(msgspec.Struct, frozen=True):
    """One number; see docs/reference/metrics.md."""

    name: str
    labels: dict[str, str]
    value: float


class Figures(msgspec.Struct, frozen=True, rename="camel"):
    """Everything that is counted and measured, of all workers."""

    at_ms: float
    """The service's clock, ms since 1970."""
    items: list[Figure]


@get("/v1/figures")
async def figures(reception: Parts, person: Asker) -> Figures:  # noqa: ARG001 - of the whole service
    """The same numbers as `/metrics`, as JSON."""
    items = await asyncio.to_thread(_figures)
    return Figures(instant(reception.clock.utc_ns()).timestamp() * 1000, items)


HANDLERS: Final[tuple[ControllerRouterHandler, ...]] = (figures,)


def _figures() -> list[Figure]:
    return [
        Figure(sample.name, dict(sample.labels), float(sample.value))
        for family in families()
        for sample in family.samples
        if not sample.name.endswith(_MADE) and math.isfinite(sample.value)
    ]
