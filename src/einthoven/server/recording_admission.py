"""Which regions may be given the hours of one recording, asked before each call."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from einthoven.continuum import Region, Spot
from einthoven.runtime.region_port import Call
from einthoven.server.data_gate import Admitted, DataGate, Patient
from einthoven.storage.database import Connection

__all__ = ["RecordingAdmission"]

_T = TypeVar("_T")


class _With(Protocol):
    def __call__(self, use: Callable[[Connection], _T], /) -> Awaitable[_T]: ...


class RecordingAdmission:
    """An `einthoven.runtime.federation.Admission`.

    Parameters
    ----------
    with_connection : performs a question in a thread with a connection.
    """

    def __init__(self, gate: DataGate, with_connection: _With, patient: Patient) -> None:
        self._gate = gate
        self._with = with_connection
        self._patient = patient
        self._admitted: dict[str, Admitted] = {}

    async def __call__(self, function: str) -> frozenset[Spot]:
        """See `einthoven.runtime.federation.Admission`."""
        found = await self._with(lambda one: self._gate.admitted(one, [self._patient], function))
        self._admitted[function] = found[self._patient]
        return frozenset(found[self._patient])

    def sent(self, call: Call, region: Region) -> None:
        """See `einthoven.runtime.federation.Admission`; what lies in the store is not counted."""
        self._gate.sent(self._patient, self._admitted.get(call.function, {}), region, len(call.content))
