"""A joined recording in an object store: few numbers about the whole, and its findings day by day.

Writing and reading take the memory of a day, however long the recording is.
"""

from collections.abc import Iterable, Iterator
from typing import Final, get_args

import msgspec

from einthoven.errors import ObjectDamaged
from einthoven.functions import Ecg, Joined, Joining, encode, in_sequence
from einthoven.runtime.invocation import digest_of, fetch
from einthoven.signal.findings import Condition, Findings
from einthoven.signal.rules import Priority
from einthoven.storage import ObjectStore

__all__ = [
    "SPAN_S",
    "JoinedKeeping",
    "findings_in",
    "joined_in",
    "most_urgent",
    "moved_joined",
]

SPAN_S: Final = 86_400.0
"""Of how much of a recording the findings lie together, at least, s."""
_URGENCY: Final[tuple[Priority, ...]] = get_args(Priority)
"""The most urgent first."""


class JoinedKeeping:
    """Consecutive spans that are joined and kept as they come."""

    def __init__(self, store: ObjectStore, span_s: float = SPAN_S, folder: str = "findings") -> None:
        self._store = store
        self._span_s = span_s
        self._folder = folder
        self._joining = Joining()
        self._last: Findings | None = None
        """Joined when it is known whether another one follows."""
        self._some: list[Findings] = []
        """Joined, and not long enough yet to be kept."""
        self._names: list[str] = []
        self._urgent: list[Condition] = []

    def add(self, part: Findings) -> None:
        """Take the next span.

        Raises
        ------
        InputInvalid : it does not follow the one before. StoreUnavailable : see `ObjectStore`.
        """
        last, self._last = self._last, part
        if last is not None:
            self._take(self._joining.add(last, is_last=False))

    def end(self) -> tuple[str, Joined, list[Condition]]:
        """There are no more spans.

        Returns
        -------
        the name of the ECG object, its section ``joined``, and the most urgent condition, if there is any.

        Raises
        ------
        StoreUnavailable : see `ObjectStore`.
        """
        if self._last is not None:
            self._take(self._joining.add(self._last, is_last=True))
            self._last = None
        if self._some:
            self._keep_some()
        whole = msgspec.structs.replace(self._joining.totals, parts=tuple(self._names))
        return _keep_whole(whole, self._store, self._folder), whole, self._urgent

    def _take(self, part: Findings) -> None:
        self._some.append(part)
        if part.until - self._some[0].first >= self._span_s * part.fs:
            self._keep_some()

    def _keep_some(self) -> None:
        span = in_sequence(self._some)
        self._some = []
        self._names.append(_keep(Ecg(fs=span.fs, findings=span), self._store, self._folder))
        first = most_urgent([*self._urgent, *span.conditions])
        self._urgent = [] if first is None else [first]


def most_urgent(conditions: Iterable[Condition]) -> Condition | None:
    """Of those that alert, the first of the most urgent ones."""
    told = [one for one in conditions if one.action == "alert"]
    return min(told, key=lambda one: _URGENCY.index(one.priority), default=None)


def _keep(ecg: Ecg, store: ObjectStore, folder: str) -> str:
    return _keep_content(encode(ecg, "msgpack"), store, folder)


def _keep_whole(whole: Joined, store: ObjectStore, folder: str) -> str:
    return _keep(Ecg(fs=whole.fs, joined=whole, versions=whole.versions), store, folder)


def _keep_content(content: bytes, store: ObjectStore, folder: str) -> str:
    name = f"{folder}/{digest_of(content)}"
    store.put(name, content)
    return name


def joined_in(name: str, store: ObjectStore) -> Joined:
    """What is kept of a joined recording as a whole.

    Raises
    ------
    ObjectDamaged : it is another ECG object. RecordingNotFound, StoreUnavailable : see `ObjectStore`.
    """
    found = fetch(name, store).joined
    if found is None:
        raise ObjectDamaged("the object is no joined recording.", where=name, remedy="Redrive the recording.")
    return found


def findings_in(whole: Joined, store: ObjectStore) -> Iterator[Findings]:
    """Its findings, span after span.

    Raises
    ------
    ObjectDamaged : an object holds no findings. RecordingNotFound, StoreUnavailable : see `ObjectStore`.
    """
    for name in whole.parts:
        found = fetch(name, store).findings
        if found is None:
            raise ObjectDamaged("the object holds no findings.", where=name, remedy="Redrive the recording.")
        yield found


def moved_joined(name: str, store: ObjectStore, to: ObjectStore, folder: str) -> str:
    """Keep a joined recording in a folder of another store too; its name there.

    Raises
    ------
    as `joined_in`.
    """
    whole = joined_in(name, store)
    parts = tuple(_keep_content(store.get(part), to, folder) for part in whole.parts)
    return _keep_whole(msgspec.structs.replace(whole, parts=parts), to, folder)
