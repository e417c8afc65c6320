"""The life of an alert, as a table.

Rule 1: an alert changes state here and nowhere else.
Rule 2: acknowledging silences the signal; only the ECG, or whatever else was watched, ends the condition.
Rule 3: a condition that comes back before the alert is closed is the same alert; if somebody had looked at
the one before, the signal begins again.
Rule 4: a person closes only what somebody has looked at; what nobody looked at can only expire, and only
if its priority does not latch.

The two halves of a state are those of IEC 60601-1-8: the alarm condition (active or cleared) and the alarm
signal (unacknowledged, acknowledged, or suppressed until some time).
"""

from enum import Enum
from typing import Final

from einthoven.errors import AlertStepRefused

__all__ = ["LIFECYCLE", "AlertState", "LifeEvent", "state_after"]


class AlertState(Enum):
    """Condition × signal, the beginning and the end."""

    NEW = "new"
    """Nobody knows of it yet."""
    ACTIVE = "active-unacknowledged"
    ACTIVE_ACKNOWLEDGED = "active-acknowledged"
    ACTIVE_SUPPRESSED = "active-suppressed"
    CLEARED = "cleared-unacknowledged"
    CLEARED_ACKNOWLEDGED = "cleared-acknowledged"
    CLEARED_SUPPRESSED = "cleared-suppressed"
    CLOSED = "closed"

    @property
    def is_open(self) -> bool:
        """Neither before its beginning nor after its end."""
        return self not in {AlertState.NEW, AlertState.CLOSED}

    @property
    def is_active(self) -> bool:
        """The condition goes on."""
        return self.value.startswith("active")

    @property
    def is_unacknowledged(self) -> bool:
        """The signal calls for somebody."""
        return self.value.endswith("unacknowledged")

    @property
    def is_suppressed(self) -> bool:
        """The signal is off until some time."""
        return self.value.endswith("suppressed")


class LifeEvent(Enum):
    """What can happen to an alert."""

    BEGAN = "began"
    """The condition began, or began again."""
    WORSENED = "worsened"
    """The condition has a higher priority than it was told with."""
    JOINED = "joined"
    """Another stream of the patient shows the condition too."""
    LEFT = "left"
    """A stream shows it no more, and another still does."""
    ENDED = "ended"
    DELIVERED = "delivered"
    """The first receipt for the rung that was told last."""
    ESCALATED = "escalated"
    """Nobody answered in time: the next rung is told."""
    ASSIGNED = "assigned"
    ACKNOWLEDGED = "acknowledged"
    SUPPRESSED = "suppressed"
    """The signal is off until some time, for a reason."""
    RESUMED = "resumed"
    """The time is over, or somebody ended it."""
    EXPIRED = "expired"
    """Cleared for long enough: closed by the clock."""
    CLOSED = "closed"
    """Closed by somebody who says why."""


_STAYS: Final = (LifeEvent.DELIVERED, LifeEvent.ASSIGNED)


_STAYS_ACTIVE: Final = (LifeEvent.JOINED, LifeEvent.LEFT)


def _row(state: AlertState, moves: dict[LifeEvent, AlertState]) -> dict[LifeEvent, AlertState]:
    stays = _STAYS + _STAYS_ACTIVE if state.is_active else _STAYS
    return {**dict.fromkeys(stays, state), **moves}


LIFECYCLE: Final[dict[AlertState, dict[LifeEvent, AlertState]]] = {
    AlertState.NEW: {LifeEvent.BEGAN: AlertState.ACTIVE},
    AlertState.ACTIVE: _row(
        AlertState.ACTIVE,
        {
            LifeEvent.BEGAN: AlertState.ACTIVE,
            LifeEvent.WORSENED: AlertState.ACTIVE,
            LifeEvent.ENDED: AlertState.CLEARED,
            LifeEvent.ESCALATED: AlertState.ACTIVE,
            LifeEvent.ACKNOWLEDGED: AlertState.ACTIVE_ACKNOWLEDGED,
            LifeEvent.SUPPRESSED: AlertState.ACTIVE_SUPPRESSED,
        },
    ),
    AlertState.ACTIVE_ACKNOWLEDGED: _row(
        AlertState.ACTIVE_ACKNOWLEDGED,
        {
            LifeEvent.BEGAN: AlertState.ACTIVE_ACKNOWLEDGED,
            LifeEvent.WORSENED: AlertState.ACTIVE,
            LifeEvent.ENDED: AlertState.CLEARED_ACKNOWLEDGED,
            LifeEvent.SUPPRESSED: AlertState.ACTIVE_SUPPRESSED,
            LifeEvent.CLOSED: AlertState.CLOSED,
        },
    ),
    AlertState.ACTIVE_SUPPRESSED: _row(
        AlertState.ACTIVE_SUPPRESSED,
        {
            LifeEvent.BEGAN: AlertState.ACTIVE_SUPPRESSED,
            LifeEvent.WORSENED: AlertState.ACTIVE,
            LifeEvent.ENDED: AlertState.CLEARED_SUPPRESSED,
            LifeEvent.ACKNOWLEDGED: AlertState.ACTIVE_ACKNOWLEDGED,
            LifeEvent.SUPPRESSED: AlertState.ACTIVE_SUPPRESSED,
            LifeEvent.RESUMED: AlertState.ACTIVE,
            LifeEvent.CLOSED: AlertState.CLOSED,
        },
    ),
    AlertState.CLEARED: _row(
        AlertState.CLEARED,
        {
            LifeEvent.BEGAN: AlertState.ACTIVE,
            LifeEvent.WORSENED: AlertState.ACTIVE,
            LifeEvent.ESCALATED: AlertState.CLEARED,
            LifeEvent.ACKNOWLEDGED: AlertState.CLEARED_ACKNOWLEDGED,
            LifeEvent.SUPPRESSED: AlertState.CLEARED_SUPPRESSED,
            LifeEvent.EXPIRED: AlertState.CLOSED,
        },
    ),
    AlertState.CLEARED_ACKNOWLEDGED: _row(
        AlertState.CLEARED_ACKNOWLEDGED,
        {
            LifeEvent.BEGAN: AlertState.ACTIVE,
            LifeEvent.WORSENED: AlertState.ACTIVE,
            LifeEvent.SUPPRESSED: AlertState.CLEARED_SUPPRESSED,
            LifeEvent.EXPIRED: AlertState.CLOSED,
            LifeEvent.CLOSED: AlertState.CLOSED,
        },
    ),
    AlertState.CLEARED_SUPPRESSED: _row(
        AlertState.CLEARED_SUPPRESSED,
        {
            LifeEvent.BEGAN: AlertState.ACTIVE_SUPPRESSED,
            LifeEvent.WORSENED: AlertState.ACTIVE,
            LifeEvent.ACKNOWLEDGED: AlertState.CLEARED_ACKNOWLEDGED,
            LifeEvent.SUPPRESSED: AlertState.CLEARED_SUPPRESSED,
            LifeEvent.RESUMED: AlertState.CLEARED_ACKNOWLEDGED,
            LifeEvent.CLOSED: AlertState.CLOSED,
        },
    ),
    AlertState.CLOSED: {},
}
"""Where each event leads from each state; what is not named cannot happen there."""


def state_after(state: AlertState, event: LifeEvent) -> AlertState:
    """The only way from one state to another.

    Raises
    ------
    AlertStepRefused : the table has no such step.
    """
    after = LIFECYCLE[state].get(event)
    if after is None:
        possible = ", ".join(one.value for one in LIFECYCLE[state]) or "nothing"
        raise AlertStepRefused(
            f"an alert that is {state.value} cannot be {event.value}.",
            where="alert",
            remedy=f"What can happen to it: {possible}.",
        )
    return after
