"""Which region analyses which stream: planned while the service runs, under the deadline that is declared.

Where `continuum.toml` declares the class of requests ``segments`` (what a segment is, what it takes, by when
it must be answered), each stream that sends is a session of `LiveSessions`: it is given a region in which
each of its segments is answered in time whatever the others send, or refused at once with the reason. One
that is refused is analysed in the workers. What regions are found to be (how many invocations they take, how
far away they are, whether they answer) takes the place of what is declared, and streams move when they must.
"""

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from einthoven.continuum import Continuum, Region
from einthoven.errors import EinthovenError, NotFound
from einthoven.placement.offloading import LiveSessions, Refused, RegionNow, as_it_stands
from einthoven.runtime.continuum_file import ContinuumFile
from einthoven.runtime.hosted import ANALYSES
from einthoven.server.data_gate import DataGate, Patient
from einthoven.server.metrics import METRICS
from einthoven.server.region_figures import RegionFigures
from einthoven.storage.database import Connection

__all__ = ["REQUEST", "Placing"]

_LOG: Final = logging.getLogger("einthoven.placing")
REQUEST: Final = "segments"
"""The class of requests that streams are."""
_IDLE_NS: Final = 120 * 10**9
"""A stream that was not heard of for so long holds nothing."""
_STEP: Final = 1.25
"""What was measured counts in steps of so many times: a plan that follows every wind moves everybody."""
_AGAIN_NS: Final = 10 * 10**9
"""After so long those that were refused are looked at again."""

_NOWHERE: Final = ("", "")
_STREAMS: Final = (
    "SELECT id, region, refused, is_over, seen_ns, org, patient FROM streams "
    "WHERE (is_over = 0 AND seen_ns > ?) OR region <> '' OR refused <> ''"
)


class Placing:
    """Places streams, and writes where into the database.

    Parameters
    ----------
    path : of the file that declares the continuum.
    figures : how regions stand now, by name.
    gate : says which regions may have a patient's data; None: all.
    """

    def __init__(
        self,
        path: Path,
        figures: Callable[[], Mapping[str, RegionFigures]],
        gate: DataGate | None = None,
    ) -> None:
        self._gate = gate
        self._may: dict[str, frozenset[str] | None] = {}
        """The regions that each of those that run may be in."""
        self._file = ContinuumFile(path)
        self._figures = figures
        self._live: LiveSessions | None = None
        self._stands: Continuum | None = None
        self._again_ns = 0
        self._seen: tuple[int, int, int] | None = None
        self._declared: Continuum | None = None

    @property
    def regions(self) -> tuple[Region, ...]:
        """Those that are declared, where streams are planned."""
        return () if self._declared is None else self._declared.regions

    def place(self, connection: Connection, now_ns: int) -> int:
        """Bring the plan up to date; nothing is left to do then."""
        self._follow()
        with connection.reading() as statements:
            rows = statements.rows(_STREAMS, (now_ns - _IDLE_NS,))
        before = {id_: (region, refused) for id_, region, refused, *_ in rows}
        sending = {
            id_: (org, patient)
            for id_, _, _, is_over, seen_ns, org, patient in rows
            if not is_over and seen_ns > now_ns - _IDLE_NS
        }
        wanted = self._wanted(sending, self._allowed(connection, sending), before, now_ns)
        changed = [
            (*wanted.get(id_, _NOWHERE), id_)
            for id_, was in before.items()
            if wanted.get(id_, _NOWHERE) != was
        ]
        if changed:
            with connection.writing() as statements:
                statements.run_many("UPDATE streams SET region = ?, refused = ? WHERE id = ?", changed)
        refused = sum(bool(why) for _, why in wanted.values())
        METRICS.placements.labels("placed").set(len(wanted) - refused)
        METRICS.placements.labels("refused").set(refused)
        return 0

    def _follow(self) -> None:
        """What is declared and how regions stand holds from now on."""
        declared = self._read()
        if declared is None:
            self._live = self._stands = None
            return
        stands = as_it_stands(declared, self._found(declared))
        if stands == self._stands:
            return
        if self._live is None:
            self._live = LiveSessions(stands)
        else:
            self._live.follow(stands)
        self._stands, self._again_ns = stands, 0

    def _read(self) -> Continuum | None:
        """What is declared, if streams are to be planned; of a file with an error what it said before."""
        stamp = self._file.stamp()
        if stamp == self._seen:
            return self._declared
        self._seen = stamp
        try:
            declared = self._file.read()
        except NotFound:
            declared = Continuum()
        except EinthovenError as error:
            _LOG.error("the plan stays as it was: %s", error.what, extra={"code": error.code})
            return self._declared
        self._declared = declared if any(one.name == REQUEST for one in declared.requests) else None
        return self._declared

    def _found(self, declared: Continuum) -> dict[str, RegionNow]:
        figures = self._figures()
        return {
            one.name: RegionNow(
                slots=_slots(figures[one.name].slots, one.slots),
                latency_s=_stepped(figures[one.name].way_s),
                bits_per_s=_stepped(figures[one.name].way_bits_per_s),
            )
            for one in declared.regions
            if one.name in figures and figures[one.name].slots is not None
        }

    def _allowed(
        self, connection: Connection, sending: Mapping[int, Patient]
    ) -> Mapping[int, frozenset[str] | None]:
        """The regions that each stream may be in; None: all."""
        if self._gate is None or self._live is None:
            return dict.fromkeys(sending)
        admitted = self._gate.admitted(connection, set(sending.values()), ANALYSES)
        return {id_: frozenset(spot.name for spot in admitted[own]) for id_, own in sending.items()}

    def _wanted(
        self,
        sending: Mapping[int, Patient],
        allowed: Mapping[int, frozenset[str] | None],
        before: Mapping[int, tuple[str, str]],
        now_ns: int,
    ) -> dict[int, tuple[str, str]]:
        """Region and reason of each stream that sends; nothing of any where nothing is planned."""
        live = self._live
        if live is None:
            return {}
        self._may = {name: may for name, may in self._may.items() if int(name) in sending}
        for name in live.names:
            if int(name) not in sending or self._may.get(name) != allowed[int(name)]:
                live.depart(name)
                self._again_ns = 0
        runs = set(live.names)
        is_again = now_ns >= self._again_ns
        if is_again:
            self._again_ns = now_ns + _AGAIN_NS
        wanted: dict[int, tuple[str, str]] = {}
        for id_ in sorted(sending):
            name = str(id_)
            if name not in runs and before[id_][1] and not is_again:
                wanted[id_] = before[id_]
                continue
            may = allowed[id_]
            answer = None if name in runs else live.admit(name, REQUEST, at_s=now_ns / 1e9, regions=may)
            self._may[name] = may
            wanted[id_] = ("", answer.says) if isinstance(answer, Refused) else (live.region(name), "")
        return wanted


def _slots(found: float | None, declared: int) -> int:
    """In steps, so that what grows by and by is not planned anew each second; never more than declared."""
    if found is None or found >= declared:
        return declared
    return 0 if found < 1 else max(1, int(_STEP ** math.floor(math.log(found, _STEP))))


def _stepped(value: float | None) -> float | None:
    return None if not value else _STEP ** round(math.log(value, _STEP))
