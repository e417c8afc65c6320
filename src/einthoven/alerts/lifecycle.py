"""The life of an alert, as a table.

Rule 1: an alert changes state here and nowhere else.
Rule 2: acknowledging silences the signal; only the ECG ends the condition.
Rule 3: a condition that comes back before anybody looked is the same alert.
The four states are those of IEC 60601-1-8's vocabulary: condition active or over, signal acknowledged or not.
"""

from enum import Enum
from typing import Final

__all__ = ["LIFECYCLE", "AlertState", "LifeEvent"]


class AlertState(Enum):
    """Condition × acknowledgement."""

    RAISED = "raised"
    """Active, nobody has looked."""
    ACKNOWLEDGED = "acknowledged"
    """Active, somebody has looked."""
    OVER = "over"
    """Ended, nobody has looked."""
    CLOSED = "closed"
    """Ended and looked at."""


class LifeEvent(Enum):
    """What can happen to an alert."""

    BEGAN = "began"
    ENDED = "ended"
    ACKNOWLEDGED = "acknowledged"


LIFECYCLE: Final[dict[AlertState, dict[LifeEvent, AlertState]]] = {
    AlertState.RAISED: {
        LifeEvent.BEGAN: AlertState.RAISED,
        LifeEvent.ENDED: AlertState.OVER,
        LifeEvent.ACKNOWLEDGED: AlertState.ACKNOWLEDGED,
    },
    AlertState.ACKNOWLEDGED: {
        LifeEvent.BEGAN: AlertState.ACKNOWLEDGED,
        LifeEvent.ENDED: AlertState.CLOSED,
    },
    AlertState.OVER: {
        LifeEvent.BEGAN: AlertState.RAISED,
        LifeEvent.ACKNOWLEDGED: AlertState.CLOSED,
    },
    AlertState.CLOSED: {},
}
