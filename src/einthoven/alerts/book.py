"""One alert per patient and condition, however often and in however many segments it is found."""

from typing import Final, Literal

import msgspec

from einthoven.alerts.lifecycle import LIFECYCLE, AlertState, LifeEvent
from einthoven.errors import InputInvalid
from einthoven.signal.findings import Condition
from einthoven.signal.rules import Kind, Priority

__all__ = ["Alert", "AlertBook", "Change"]

What = Literal["raised", "repeated", "ended", "acknowledged", "closed"]


class Alert(msgspec.Struct, frozen=True):
    """One condition of one patient that somebody must be told of."""

    number: int
    patient: str
    """Pseudonym."""
    condition: Kind
    priority: Priority
    state: AlertState
    onset_s: float
    """Of the latest episode, s from the start of the stream."""
    end_s: float | None
    episodes: int
    """How many episodes it stands for."""
    raised_at_s: float
    """When it was raised, on the caller's clock."""
    reason: str = ""
    """Why it is technical when its kind would be urgent."""


class Change(msgspec.Struct, frozen=True):
    """Something that happened to an alert; what a display or a notifier hears of."""

    what: What
    alert: Alert


class AlertBook:
    """Keeps the alerts of many patients; findings in, changes out."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, Kind], Alert] = {}
        self._seen: dict[tuple[str, Kind], int] = {}
        self._count = 0

    @property
    def open_alerts(self) -> tuple[Alert, ...]:
        """Those that are not closed, oldest first."""
        return tuple(sorted(self._open.values(), key=lambda alert: alert.number))

    def receive(
        self, patient: str, conditions: tuple[Condition, ...], *, fs: float, at_s: float
    ) -> tuple[Change, ...]:
        """Take in what was found in one span of a patient's stream, in order; what is held alerts nobody."""
        changes: list[Change] = []
        for condition in conditions:
            if condition.action == "hold":
                continue
            key = (patient, condition.condition)
            is_new = condition.onset > self._seen.get(key, -1)
            if is_new:
                self._seen[key] = condition.onset
                changes.append(self._begin(key, condition, fs, at_s))
            if condition.end is not None:
                changes.extend(self._end(key, condition.end / fs))
        return tuple(changes)

    def acknowledge(self, number: int) -> Change:
        """Somebody has looked.

        Raises
        ------
        InputInvalid : no such alert is open, or it was acknowledged before.
        """
        for key, alert in self._open.items():
            if alert.number == number:
                return self._step(key, alert, LifeEvent.ACKNOWLEDGED)
        raise InputInvalid("no such alert is open.", where=f"alert {number}", remedy="List the open alerts.")

    def _begin(self, key: tuple[str, Kind], condition: Condition, fs: float, at_s: float) -> Change:
        known = self._open.get(key)
        if known is None:
            self._count += 1
            alert = Alert(
                number=self._count,
                patient=key[0],
                condition=condition.condition,
                priority=condition.priority,
                state=AlertState.RAISED,
                onset_s=condition.onset / fs,
                end_s=None,
                episodes=1,
                raised_at_s=at_s,
                reason=condition.reason,
            )
            self._open[key] = alert
            return Change("raised", alert)
        again = msgspec.structs.replace(
            known, onset_s=condition.onset / fs, end_s=None, episodes=known.episodes + 1
        )
        return self._step(key, again, LifeEvent.BEGAN)

    def _end(self, key: tuple[str, Kind], end_s: float) -> list[Change]:
        known = self._open.get(key)
        if known is None or known.end_s is not None:
            return []
        return [self._step(key, msgspec.structs.replace(known, end_s=end_s), LifeEvent.ENDED)]

    def _step(self, key: tuple[str, Kind], alert: Alert, event: LifeEvent) -> Change:
        after = LIFECYCLE[alert.state].get(event)
        if after is None:
            raise InputInvalid(
                f"an alert that is {alert.state.value} cannot be {event.value}.",
                where=f"alert {alert.number}",
            )
        moved = msgspec.structs.replace(alert, state=after)
        if after is AlertState.CLOSED:
            del self._open[key]
            return Change("closed", moved)
        self._open[key] = moved
        return Change(_WHAT[event], moved)


_WHAT: Final[dict[LifeEvent, What]] = {
    LifeEvent.BEGAN: "repeated",
    LifeEvent.ENDED: "ended",
    LifeEvent.ACKNOWLEDGED: "acknowledged",
}
