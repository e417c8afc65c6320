"""Regions as a process of the running service uses them.

The file that declares them is looked at again and again, so that what the command line or the API changes in
it holds in every process within a second; a file with an error changes nothing. Each process has its share of
a region's slots. What becomes of the calls is counted for all processes together.
"""

import asyncio
import logging
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from einthoven.clock import Clock
from einthoven.continuum import Continuum, Region
from einthoven.errors import EinthovenError, NotFound
from einthoven.placement import Terms
from einthoven.runtime.continuum_file import ContinuumFile
from einthoven.runtime.federation import Federation
from einthoven.runtime.hosted import Hosted
from einthoven.runtime.reaching import reached, way_of
from einthoven.server.logs import place_of
from einthoven.server.metrics import METRICS

__all__ = ["ServedRegions"]

_LOG: Final = logging.getLogger("einthoven.regions")
_LOOK_S: Final = 1.0


class ServedRegions:
    """A federation that follows its file; of one event loop.

    Parameters
    ----------
    path : of the file; where there is none, there are no regions.
    shares : processes that share the slots.
    function : the one whose times are told.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        terms: Terms,
        *,
        shares: int,
        function: str,
        hosted: Hosted = Hosted(),  # noqa: B008 - frozen
    ) -> None:
        self._file = ContinuumFile(path)
        self._shares = shares
        self._function = function
        self._hosted = hosted
        self._seen: tuple[int, int, int] | None = None
        self._counted: dict[str, tuple[int, int, float]] = {}
        self._known: set[str] = set()
        self._refused: dict[str, Region] = {}
        """Those that could not be reached so far."""
        self._task: asyncio.Task[None] | None = None
        self.federation = Federation((), {}, clock, terms)

    @property
    def current(self) -> Federation | None:
        """The federation, if it has regions."""
        return self.federation if self.federation.standings else None

    def declared(self) -> tuple[Region, ...]:
        """Those that there are, as they are declared now; for any thread."""
        return tuple(one.region for one in tuple(self.federation.standings.values()))

    async def start(self) -> None:
        """Look at the file for the first time, and from now on."""
        await self._follow()
        self._task = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Look no more, and give up all connections."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._tell(gone=True)
        await self.federation.close()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                await self._follow()
                self._tell()
            except Exception as error:  # noqa: BLE001 - the next look may succeed
                self._seen = None
                _LOG.error("the regions could not be looked at", extra=place_of(error))

    # ---------------------------------------------------------------- the file

    async def _follow(self) -> None:
        """What the file says now holds from now on; regions that could not be reached are tried again."""
        stamp = self._file.stamp()
        if stamp != self._seen:
            self._seen = stamp
            declared = self._read()
            if declared is not None:
                await self._declare(declared)
        for region in list(self._refused.values()):
            self._add(region)

    def _read(self) -> Continuum | None:
        try:
            return self._file.read()
        except NotFound:
            return Continuum()
        except EinthovenError as error:
            _LOG.error("the regions stay as they were: %s", error.what, extra={"code": error.code})
            return None

    async def _declare(self, declared: Continuum) -> None:
        wanted = {one.name: self._share_of(one) for one in declared.regions}
        had = {name: standing.region for name, standing in self.federation.standings.items()}
        self._refused.clear()
        for name, region in had.items():
            if name not in wanted or way_of(wanted[name]) != way_of(region):
                await self.federation.remove(name)
        for name, region in wanted.items():
            if name not in self.federation.standings:
                self._add(region)
            elif had[name] != region:
                self.federation.change(region)
        self.federation.begin()

    def _add(self, region: Region) -> None:
        try:
            self.federation.add(region, reached(region, self._hosted))
        except (EinthovenError, ValueError) as error:
            if region.name not in self._refused:
                said = error.what if isinstance(error, EinthovenError) else "its address is none."
                _LOG.error("the region %s cannot be used: %s", region.name, said)
            self._refused[region.name] = region
        else:
            self._refused.pop(region.name, None)

    def _share_of(self, region: Region) -> Region:
        return msgspec.structs.replace(region, slots=max(1, math.ceil(region.slots / self._shares)))

    # ---------------------------------------------------------------- what is told

    def _tell(self, *, gone: bool = False) -> None:
        """How the regions stand, to whoever asks any process."""
        standings = {} if gone else dict(self.federation.standings)
        for name, one in standings.items():
            is_well = one.breaker == "closed" and not one.region.is_draining
            way = self.federation.ways.get(name)
            self._say(
                name,
                in_flight=one.in_flight,
                avoided=one.breaker != "closed",
                seconds=one.latency_s(self._function) if one.answers else 0.0,
                slots=one.limit if is_well else 0.0,
                way=None if way is None else way.latency_s,
                rate=None if way is None else way.bits_per_s,
            )
            answers, failures, spent = self._counted.get(name, (0, 0, 0.0))
            if one.answers < answers or one.failures < failures:  # removed and added again
                answers, failures, spent = 0, 0, 0.0
            METRICS.region_calls.labels(name, "answered").inc(one.answers - answers)
            METRICS.region_calls.labels(name, "failed").inc(one.failures - failures)
            METRICS.region_cost.labels(name).inc(max(0.0, one.spent - spent))
            self._counted[name] = (one.answers, one.failures, one.spent)
        self._forget(self._known - standings.keys())
        self._known = set(standings)

    def _forget(self, names: Iterable[str]) -> None:
        for name in names:
            self._counted.pop(name, None)
            self._say(name)

    @staticmethod
    def _say(name: str, **figures: float | None) -> None:
        """What is told of a region; nothing of what is left out."""
        for figure in ("in_flight", "avoided", "seconds", "slots", "way", "rate"):
            getattr(METRICS, f"region_{figure}").labels(name).set(figures.get(figure) or 0.0)
