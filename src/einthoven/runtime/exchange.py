"""Values between functions: small ones go with the call, large ones lie in the object store.

Whoever makes a large output keeps it, under a name that says which run it belongs to and what is in it, and
gives where it lies; whoever is given that fetches it and checks it. A worker does both itself, so a large
value passes neither through the process that drives the run nor into its journal. How large is large is one
number; what may be passed so at all is seen in the program (`einthoven.workflow.references`).
"""

import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from einthoven.errors import ObjectDamaged
from einthoven.storage import ObjectStore, open_store
from einthoven.workflow import Invoke
from einthoven.workflow.references import Referenced, kind_of

__all__ = ["LEAST_BYTES", "Exchange", "called", "forget_values"]

LEAST_BYTES: Final = 64 * 1024
"""From this size on a value is an object. Between processes of one machine and a folder 10 kB would do."""


class Exchange(msgspec.Struct, frozen=True):
    """Where large values lie; it can be sent to another process."""

    store: str
    """Address of the object store."""
    least_bytes: int = LEAST_BYTES

    def sent(self, invoke: Invoke) -> dict[str, Any]:
        """The inputs of a call, with what they refer to.

        Raises
        ------
        ObjectDamaged : an object is not what was written.
        RecordingNotFound, StoreUnavailable : see `ObjectStore`.
        """
        if not invoke.comes:
            return invoke.inputs
        wanted = frozenset(invoke.comes)
        return {
            port: self._fetched(value) if port in wanted else value for port, value in invoke.inputs.items()
        }

    def given(self, invoke: Invoke, reply: Any) -> Any:
        """An answer with what is large in it kept, where that may be.

        Raises
        ------
        StoreUnavailable : the store did not take it.
        """
        if not invoke.leaves or not isinstance(reply, Mapping):
            return reply
        large = {port: self._kept(invoke, reply[port]) for port in invoke.leaves if port in reply}
        return {**reply, **large}

    def _kept(self, invoke: Invoke, value: Any) -> Any:
        kind = kind_of(value)
        if kind is None or (kind == "string" and 4 * len(value) < self.least_bytes):
            return value
        content = msgspec.msgpack.encode(value)
        if len(content) < self.least_bytes:
            return value
        digest = hashlib.sha256(content).hexdigest()
        name = f"{_folder(invoke.key.partition('/')[0])}/{digest[:32]}"
        _store(self.store).put(name, content)
        return Referenced(name, digest, len(content), kind)

    def _fetched(self, value: Any) -> Any:
        if isinstance(value, Referenced):
            content = _store(self.store).get(value.name)
            if hashlib.sha256(content).hexdigest() != value.sha256:
                raise ObjectDamaged(
                    "a value of the run is not what was written.",
                    where=value.name,
                    remedy="Begin the run anew.",
                )
            return msgspec.msgpack.decode(content)
        if isinstance(value, list):
            return [self._fetched(one) for one in value]
        if isinstance(value, dict):
            return {key: self._fetched(one) for key, one in value.items()}
        return value


def called(exchange: Exchange, invoke: Invoke, call: Callable[[dict[str, Any]], Any]) -> Any:
    """A call, with what is large fetched before and kept after it."""
    return exchange.given(invoke, call(exchange.sent(invoke)))


def forget_values(store: ObjectStore, run: str) -> int:
    """Remove the values of a run; how many."""
    names = list(store.names(_folder(run)))
    for name in names:
        store.delete(name)
    return len(names)


@lru_cache(maxsize=8)
def _store(address: str) -> ObjectStore:
    """One for each process: opening a remote one takes long."""
    return open_store(address)


def _folder(run: str) -> str:
    return f"runs/{run}/values"
