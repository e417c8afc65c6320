"""Values that are remembered for a while, and no more of them than there is room for."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, NamedTuple, TypeVar

from einthoven.clock import Clock

__all__ = ["KeptAnswers"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
_ENTRY_BYTES: Final = 512
"""What an entry takes besides its answer, about."""


class _Kept(NamedTuple, Generic[V]):
    value: V
    bytes: int
    until_s: float


class KeptAnswers(Generic[K, V]):
    """Answers by a name; the oldest are forgotten first.

    Parameters
    ----------
    max_bytes : all together, with some for each entry; what alone is larger is not kept.
    keep_s : how long each is kept.
    """

    def __init__(self, clock: Clock, *, max_bytes: int, keep_s: float) -> None:
        self._clock = clock
        self._max_bytes = max_bytes
        self._keep_s = keep_s
        self._bytes = 0
        self._kept: OrderedDict[K, _Kept[V]] = OrderedDict()

    def get(self, name: K) -> V | None:
        """What is remembered under a name."""
        now_s = self._clock.now_s()
        while self._kept and next(iter(self._kept.values())).until_s <= now_s:
            self._drop(next(iter(self._kept)))
        found = self._kept.get(name)
        return None if found is None else found.value

    def put(self, name: K, value: V, size_bytes: int) -> None:
        """Remember an answer, instead of an earlier one of the name."""
        size_bytes += _ENTRY_BYTES
        if name in self._kept:
            self._drop(name)
        if size_bytes > self._max_bytes:
            return
        self._kept[name] = _Kept(value, size_bytes, self._clock.now_s() + self._keep_s)
        self._bytes += size_bytes
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, name: K) -> None:
        self._bytes -= self._kept.pop(name).bytes
