"""The life cycle drawn from its table, in Mermaid; the picture in the docs is this."""

from einthoven.alerts.lifecycle import LIFECYCLE, AlertState

__all__ = ["mermaid"]

_TITLES = {
    AlertState.ACTIVE: "active, unacknowledged",
    AlertState.ACTIVE_ACKNOWLEDGED: "active, acknowledged",
    AlertState.ACTIVE_SUPPRESSED: "active, suppressed",
    AlertState.CLEARED: "cleared, unacknowledged",
    AlertState.CLEARED_ACKNOWLEDGED: "cleared, acknowledged",
    AlertState.CLEARED_SUPPRESSED: "cleared, suppressed",
}


def mermaid() -> str:
    """A state diagram; what leaves a state where it is is written beside it, not drawn."""
    lines = ["stateDiagram-v2"]
    lines += [f"    {state.name}: {title}" for state, title in _TITLES.items()]
    for state, row in LIFECYCLE.items():
        leads: dict[AlertState, list[str]] = {}
        for event, after in row.items():
            if after is not state:
                leads.setdefault(after, []).append(event.value)
        lines += [
            f"    {_end(state)} --> {_end(after)}: {', '.join(events)}" for after, events in leads.items()
        ]
    return "\n".join(lines) + "\n"


def _end(state: AlertState) -> str:
    return state.name if state.is_open else "[*]"
