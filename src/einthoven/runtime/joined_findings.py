"""A joined recording in an object store: few numbers about the whole, and its findings day by day.

Writing and reading take the memory of a day, however long the recording is.
"""

from collections.abc import Iterable, Iterator
from typing import Final, get_args

import msgspec

from einthoven.errors import ObjectDamaged
from einthoven.functions import Ecg, Joined, Joining, encode, in_sequence, joined
from einthoven.runtime.invocation import digest_of, fetch
from einthoven.signal.findings import Condition, Findings
from einthoven.signal.rules import Priority
from einthoven.storage import ObjectStore

__all__ = ["SPAN_S", "findings_in", "joined_in", "keep_joined", "most_urgent", "moved_joined"]

SPAN_S: Final = 86_400.0
"""Of how much of a recording the findings lie together, at least, s."""
_URGENCY: Final[tuple[Priority, ...]] = get_args(Priority)
"""The most urgent first."""


def keep_joined(
    parts: Iterable[Findings], store: ObjectStore, span_s: float = SPAN_S, folder: str = "findings"
) -> tuple[str, Joined, list[Condition]]:
    """Join consecutive spans and keep what comes of it.

    Returns
    -------
    the name of the ECG object, its section ``joined``, and the most urgent condition, if there is any.

    Raises
    ------
    InputInvalid : the spans do not follow each other. StoreUnavailable : see `ObjectStore`.
    """
    joining = Joining()
    names: list[str] = []
    urgent: list[Condition] = []
    for part in _long_enough(joined(parts, joining), span_s):
        names.append(_keep(Ecg(fs=part.fs, findings=part), store, folder))
        first = most_urgent([*urgent, *part.conditions])
        urgent = [] if first is None else [first]
    whole = msgspec.structs.replace(joining.totals, parts=tuple(names))
    return _keep_whole(whole, store, folder), whole, urgent


def most_urgent(conditions: Iterable[Condition]) -> Condition | None:
    """Of those that alert, the first of the most urgent ones."""
    told = [one for one in conditions if one.action == "alert"]
    return min(told, key=lambda one: _URGENCY.index(one.priority), default=None)


def _long_enough(parts: Iterable[Findings], span_s: float) -> Iterator[Findings]:
    some: list[Findings] = []
    for part in parts:
        some.append(part)
        if part.until - some[0].first >= span_s * part.fs:
            yield in_sequence(some)
            some = []
    if some:
        yield in_sequence(some)


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
