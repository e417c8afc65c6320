"""How many instances a load asks for: more when it lasts, fewer when it is gone for long, never at once."""

import math
from collections.abc import Sequence

from einthoven.edge.site_events import SiteTerms

__all__ = ["Scaling"]


class Scaling:
    """Remembers since when what is too busy, and when something was last changed."""

    def __init__(self, terms: SiteTerms) -> None:
        self._terms = terms
        self._changed_s = -math.inf
        self._busy_since_s: dict[str, float] = {}
        self._idle_since_s: dict[str, float] = {}

    def may_change(self, now_s: float) -> bool:
        """Whether the last change is long enough ago."""
        return now_s - self._changed_s >= self._terms.cooldown_s

    def changed(self, now_s: float) -> None:
        """Something was changed because of load."""
        self._changed_s = now_s

    def change_of(self, service: str, busy: Sequence[float], now_s: float) -> int:
        """One more, one less, or neither.

        Parameters
        ----------
        busy : of each of its instances.
        """
        total = sum(busy)
        is_busy = total > self._terms.busy * len(busy)
        is_idle = len(busy) > 1 and total < self._terms.idle * (len(busy) - 1)
        busy_s = _lasted_s(self._busy_since_s, service, is_busy, now_s)
        idle_s = _lasted_s(self._idle_since_s, service, is_idle, now_s)
        if not self.may_change(now_s):
            return 0
        return (busy_s >= self._terms.sustained_s) - (idle_s >= self._terms.sustained_s)


def _lasted_s(since_s: dict[str, float], name: str, is_so: bool, now_s: float) -> float:
    if not is_so:
        since_s.pop(name, None)
        return -1.0
    return now_s - since_s.setdefault(name, now_s)
