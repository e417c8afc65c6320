"""When a checkpoint is due: after so many entries, or when the oldest that none covers is so old.

A signature costs as much as some fifty appends, so that entries share one. What is gained is paid in time: an
entry can be shown to nobody, and its loss is not noticed, before the next checkpoint.
"""

import math
from typing import Final

import msgspec

from einthoven.errors import InputInvalid

__all__ = ["BatchLimits", "Batching"]

_ENTRIES_MOST: Final = 1_000_000
_AGE_MOST_S: Final = 86_400.0


class BatchLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How long entries may wait for a checkpoint."""

    entries: int = 64
    """A checkpoint at the latest when so many wait."""
    age_s: float = 5.0
    """A checkpoint at the latest when one has waited for so long."""

    def __post_init__(self) -> None:
        if not 1 <= self.entries <= _ENTRIES_MOST:
            raise InputInvalid(f"a batch has 1 to {_ENTRIES_MOST} entries.", where="entries")
        if not 0 <= self.age_s <= _AGE_MOST_S or math.isnan(self.age_s):
            raise InputInvalid(f"a batch is closed after 0 to {_AGE_MOST_S:g} s.", where="age_s")


class Batching:
    """Entries in, "now" out. Times are of one clock that only goes forward, s."""

    def __init__(self, limits: BatchLimits | None = None) -> None:
        self._limits = limits or BatchLimits()
        self._waiting = 0
        self._oldest_s = 0.0

    @property
    def waiting(self) -> int:
        """Entries that no checkpoint covers."""
        return self._waiting

    @property
    def due_s(self) -> float | None:
        """When a checkpoint is due at the latest, if nothing more comes; None when nothing waits."""
        return self._oldest_s + self._limits.age_s if self._waiting else None

    def appended(self, entries: int, now_s: float) -> bool:
        """So many entries were kept; whether a checkpoint is due."""
        if entries and not self._waiting:
            self._oldest_s = now_s
        self._waiting += entries
        return self.is_due(now_s)

    def is_due(self, now_s: float) -> bool:
        """Whether a checkpoint is due."""
        if not self._waiting:
            return False
        return self._waiting >= self._limits.entries or now_s >= self._oldest_s + self._limits.age_s

    def closed(self, entries: int, now_s: float) -> None:
        """A checkpoint was kept that covers the oldest ``entries`` of those that wait.

        Those behind it came at an unknown time up to now; they are counted from the oldest's, which is safe.
        """
        self._waiting = max(0, self._waiting - entries)
        if not self._waiting:
            self._oldest_s = now_s
