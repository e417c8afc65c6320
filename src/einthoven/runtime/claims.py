"""What invocations gave, as it is kept: what is small in the database, what is large in the object store."""

import hashlib
from typing import Any, Final

import msgspec

from einthoven.errors import ObjectDamaged
from einthoven.storage import ObjectStore
from einthoven.workflow import Done, Entry, Failure
from einthoven.workflow.references import Kind, Referenced

__all__ = ["LEAST_BYTES", "Claims"]

LEAST_BYTES: Final = 64 * 1024
"""From this size on an entry is an object: rows stay small, and a transaction of many short."""


class _Claim(msgspec.Struct, frozen=True, tag="claim"):
    """Where an entry lies, and what it must be."""

    name: str
    digest: str
    bytes: int


_REFERENCED: Final = 1
"""The extension type of a value that lies elsewhere."""


def _packed_reference(value: Any) -> msgspec.msgpack.Ext:
    if not isinstance(value, Referenced):
        raise NotImplementedError
    said = (value.name, value.sha256, value.bytes, value.kind)
    return msgspec.msgpack.Ext(_REFERENCED, msgspec.msgpack.encode(said))


def _unpacked_reference(code: int, content: memoryview) -> Referenced:
    if code != _REFERENCED:
        raise NotImplementedError
    return Referenced(*msgspec.msgpack.decode(content, type=tuple[str, str, int, Kind]))


_ENCODER: Final = msgspec.msgpack.Encoder(enc_hook=_packed_reference)
_KEPT: Final = msgspec.msgpack.Decoder(Done | Failure | _Claim, ext_hook=_unpacked_reference)
_ENTRY: Final = msgspec.msgpack.Decoder(Entry, ext_hook=_unpacked_reference)


class Claims:
    """Packs the entries of runs; the objects of a run lie in a folder of its own, and go with it.

    Parameters
    ----------
    store : None: everything is kept in the database.
    """

    def __init__(self, store: ObjectStore | None, least_bytes: int = LEAST_BYTES) -> None:
        self._store = store
        self._least_bytes = least_bytes

    def packed(self, run: str, entry: Entry) -> bytes:
        """An entry as it is kept; what is large is in the store before this returns.

        Raises
        ------
        StoreUnavailable : the store did not take it.
        """
        content = _ENCODER.encode(entry)
        if self._store is None or len(content) < self._least_bytes:
            return content
        digest = hashlib.sha256(content).hexdigest()
        name = f"{_folder(run)}/{digest[:32]}"
        self._store.put(name, content)
        return msgspec.msgpack.encode(_Claim(name, digest, len(content)))

    def entry(self, content: bytes) -> Entry:
        """What `packed` packed.

        Raises
        ------
        ObjectDamaged : the object is not what was written.
        RecordingNotFound, StoreUnavailable : see `ObjectStore`.
        """
        kept: Done | Failure | _Claim = _KEPT.decode(content)
        if not isinstance(kept, _Claim):
            return kept
        if self._store is None:
            raise ObjectDamaged(
                "an entry of the run lies in an object store, and none is given.",
                where=kept.name,
                remedy="Give the store with which the run was begun.",
            )
        found = self._store.get(kept.name)
        if hashlib.sha256(found).hexdigest() != kept.digest:
            raise ObjectDamaged(
                "an entry of the run is not what was written.",
                where=kept.name,
                remedy="Bring the object back from a backup, or begin the run anew.",
            )
        entry: Entry = _ENTRY.decode(found)
        return entry

    @staticmethod
    def size_of(content: bytes) -> int:
        """Bytes of what an invocation gave, wherever they lie; 0 where it failed."""
        kept: Done | Failure | _Claim = _KEPT.decode(content)
        if isinstance(kept, _Claim):
            return kept.bytes
        if isinstance(kept, Failure):
            return 0
        return len(content) + sum(one.bytes for one in kept.outputs.values() if isinstance(one, Referenced))

    def forget(self, run: str) -> int:
        """Remove the objects of a run; how many."""
        if self._store is None:
            return 0
        names = list(self._store.names(_folder(run)))
        for name in names:
            self._store.delete(name)
        return len(names)


def _folder(run: str) -> str:
    return f"runs/{run}"
