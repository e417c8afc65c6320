"""The alerts of many patients in memory: for the demonstration, for tests, for one process.

The service does the same with rows: it loads `PatientAlerts`, calls `receive`, stores the changes.
"""

import msgspec

from einthoven.alerts.alert import Alert, Change, PatientAlerts
from einthoven.alerts.answering import acknowledge
from einthoven.alerts.clockwork import pass_time
from einthoven.alerts.receiving import receive
from einthoven.alerts.rules import AlertRules
from einthoven.alerts.sightings import NS, Sighting
from einthoven.errors import InputInvalid

__all__ = ["AlertBook"]


class AlertBook:
    """Keeps the alerts of many patients; sightings in, changes out."""

    def __init__(self, rules: AlertRules | None = None) -> None:
        self._rules = rules or AlertRules()
        self._patients: dict[str, PatientAlerts] = {}

    @property
    def open_alerts(self) -> tuple[Alert, ...]:
        """Those that are not closed, oldest first."""
        alerts = [alert for known in self._patients.values() for alert in known.alerts if alert.state.is_open]
        return tuple(sorted(alerts, key=lambda alert: alert.raised_ns))

    def receive(self, patient: str, sightings: tuple[Sighting, ...], at_s: float) -> tuple[Change, ...]:
        """Take in what was found in one span of a patient's stream, in order."""
        if not sightings:
            return ()
        known = self._patients.get(patient) or PatientAlerts(self._rules.org, patient)
        changes = receive(known, sightings, self._rules, round(at_s * NS))
        if changes:
            self._keep(known.after(changes))
        return changes

    def acknowledge(self, alert_id: str, at_s: float, *, by: str) -> Change:
        """Somebody has looked.

        Raises
        ------
        InputInvalid : no such alert is open.
        AlertStepRefused : it was acknowledged before.
        """
        for known in self._patients.values():
            for alert in known.alerts:
                if alert.id == alert_id and alert.state.is_open:
                    change = acknowledge(alert, self._rules, round(at_s * NS), by=by)
                    self._keep(known.after((change,)))
                    return change
        raise InputInvalid("no such alert is open.", where="alert", remedy="List the open alerts.")

    def pass_time(self, at_s: float) -> tuple[Change, ...]:
        """Climb the ladders, end suppressions, close what is over."""
        changes: list[Change] = []
        for known in tuple(self._patients.values()):
            steps = [
                step for alert in known.alerts for step in pass_time(alert, self._rules, round(at_s * NS))
            ]
            if steps:
                self._keep(known.after(steps))
            changes += steps
        return tuple(changes)

    def _keep(self, known: PatientAlerts) -> None:
        """A stream never goes back: of each key the last episode is enough."""
        last = {episode.key: episode for episode in sorted(known.episodes, key=lambda one: one.onset_ns)}
        self._patients[known.patient] = msgspec.structs.replace(known, episodes=tuple(last.values()))
