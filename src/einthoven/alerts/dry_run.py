"""What other rules would have alerted of: the same history under two documents, counted."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import msgspec

from einthoven.alerts.alert import Change, PatientAlerts
from einthoven.alerts.receiving import receive
from einthoven.alerts.rules import AlertRules
from einthoven.alerts.sightings import NS, AlertKind, AlertPriority, Sighting

__all__ = ["Counted", "DryRun", "count_alerts", "dry_run"]

List = Literal[AlertPriority, "technical"]
LISTS: Final[tuple[List, ...]] = ("high", "medium", "low", "technical")
_DAY_NS: Final = 86_400 * NS


class Counted(msgspec.Struct, frozen=True):
    """How often the signal would have begun."""

    patient_days: float
    by_list: dict[List, int]
    by_condition: dict[AlertKind, int]
    by_day: dict[int, dict[List, int]]
    """By days since the epoch, UTC."""

    def per_day(self, which: List) -> float:
        """A patient-day."""
        return self.by_list[which] / self.patient_days if self.patient_days else 0.0


class DryRun(msgspec.Struct, frozen=True):
    """The same time under two sets of rules."""

    before: Counted
    after: Counted

    def gone(self) -> dict[AlertKind, int]:
        """Alerts, by condition, that the new rules would not raise any more."""
        return _difference(self.before, self.after)

    def added(self) -> dict[AlertKind, int]:
        """Alerts, by condition, that only the new rules would raise."""
        return _difference(self.after, self.before)


def dry_run(
    history: Mapping[str, Sequence[Sighting]],
    before: AlertRules,
    after: AlertRules,
    *,
    patient_days: float,
    history_after: Mapping[str, Sequence[Sighting]] | None = None,
) -> DryRun:
    """Replay sightings of each patient, in the order of their onset, under two sets of rules.

    Where the limits of the rhythm rules differ, the recordings are analysed again with the new ones, and
    what was then found is given as ``history_after``.
    """
    return DryRun(
        count_alerts(history, before, patient_days=patient_days),
        count_alerts(history if history_after is None else history_after, after, patient_days=patient_days),
    )


def count_alerts(
    history: Mapping[str, Sequence[Sighting]], rules: AlertRules, *, patient_days: float
) -> Counted:
    """How often, of what and how urgently somebody would have been called, if each call was answered."""
    begun = [
        change
        for patient, sightings in history.items()
        for change in _replay(patient, sightings, rules)
        if change.what in {"raised", "reopened", "worsened", "repeated"}
    ]
    by_day: dict[int, dict[List, int]] = {}
    for change in begun:
        day = by_day.setdefault(change.alert.onset_ns // _DAY_NS, dict.fromkeys(LISTS, 0))
        day[_list_of(change)] += 1
    lists = Counter(map(_list_of, begun))
    return Counted(
        patient_days=patient_days,
        by_list={name: lists[name] for name in LISTS},
        by_condition=dict(Counter(change.alert.condition for change in begun)),
        by_day=dict(sorted(by_day.items())),
    )


def _replay(patient: str, sightings: Iterable[Sighting], rules: AlertRules) -> Iterable[Change]:
    known = PatientAlerts(rules.org, patient)
    for sighting in sightings:
        changes = receive(known, (sighting,), rules, sighting.until_ns)
        known = known.after(changes).since(sighting.onset_ns - NS)
        yield from changes


def _list_of(change: Change) -> List:
    return "technical" if change.alert.is_technical else change.alert.priority


def _difference(one: Counted, other: Counted) -> dict[AlertKind, int]:
    left = {kind: n - other.by_condition.get(kind, 0) for kind, n in one.by_condition.items()}
    return {kind: n for kind, n in left.items() if n > 0}
