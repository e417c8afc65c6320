"""Technical alerts that no ECG shows: a device is silent, its data is late, an alert path is broken.

Each function compares what was last seen with what is known to be alerted of and gives sightings for
`receive`. The onset is the moment last seen, so that whoever looks, and however often, sees the same.
"""

from typing import Literal

import msgspec

from einthoven.alerts.alert import Alert, PatientAlerts
from einthoven.alerts.rules import AlertRules
from einthoven.alerts.sightings import NS, WATCH_KINDS, Sighting, WatchKind

__all__ = [
    "ChannelHealth",
    "DeviceSeen",
    "PathPolicy",
    "watch_channel",
    "watch_device",
    "watch_emergency",
    "watch_ledger",
]


class DeviceSeen(msgspec.Struct, frozen=True):
    """When a device was last heard of: a row."""

    org: str
    patient: str
    device: str
    seen_ns: int
    """Arrival of its last segment."""
    data_ns: int
    """When the newest sample of it was taken."""
    is_over: bool = False
    """It said that its stream ends; its silence is no news."""
    told: frozenset[WatchKind] = frozenset()
    """What has been alerted of it and goes on."""

    def due(self, rules: AlertRules, at_ns: int) -> frozenset[WatchKind]:
        """What it is now: silent, or late in what it sends."""
        if self.is_over:
            return frozenset()
        silent: WatchKind = "device_silent"
        late: WatchKind = "data_late"
        is_silent = at_ns - self.seen_ns >= round(rules.silent_after_s * NS)
        is_late = self.seen_ns - self.data_ns >= round(rules.late_after_s * NS)
        return frozenset([silent] * is_silent + [late] * is_late)


class ChannelHealth(msgspec.Struct, frozen=True):
    """How deliveries through one channel of an organisation go: a row."""

    org: str
    channel: str
    failures: int = 0
    """In a row, since the last receipt."""
    failing_ns: int | None = None
    """Since when."""
    receipt_ns: int | None = None
    """The last."""
    waiting_ns: int | None = None
    """When the oldest notification that has no receipt yet was made; None when none waits."""

    def after_receipt(self, at_ns: int, waiting_ns: int | None = None) -> "ChannelHealth":
        """A receipt came."""
        return ChannelHealth(self.org, self.channel, 0, None, at_ns, waiting_ns)

    def after_failure(self, at_ns: int) -> "ChannelHealth":
        """A delivery failed."""
        since_ns = at_ns if self.failing_ns is None else self.failing_ns
        return msgspec.structs.replace(self, failures=self.failures + 1, failing_ns=since_ns)


class PathPolicy(msgspec.Struct, frozen=True):
    """When a channel counts as broken."""

    failures: int = 3
    """So many in a row."""
    receipt_within_s: float = 60.0
    """Or a notification has waited so long for its receipt."""
    heartbeat_s: float = 300.0
    """How often each channel carries a heart-beat, so that silence is noticed at both ends."""


def watch_device(
    known: PatientAlerts, device: DeviceSeen, rules: AlertRules, at_ns: int
) -> tuple[Sighting, ...]:
    """What has changed since it was last told: silent or heard again, late or in time again."""
    due = device.due(rules, at_ns)
    return tuple(
        sighting
        for kind in sorted(due ^ device.told)
        for sighting in _told(
            known, kind, device.device, device.seen_ns if kind in due else None, device.seen_ns, at_ns
        )
    )


def watch_channel(
    known: PatientAlerts, health: ChannelHealth, policy: PathPolicy, at_ns: int
) -> tuple[Sighting, ...]:
    """Whether deliveries through a channel fail, or their receipts stop."""
    fails = health.failures >= policy.failures
    waits = health.waiting_ns is not None and at_ns - health.waiting_ns >= round(policy.receipt_within_s * NS)
    onset_ns = None
    if fails or waits:
        since = (health.failing_ns if fails else None, health.waiting_ns if waits else None)
        onset_ns = min(one for one in since if one is not None)
    mended_ns = health.receipt_ns if health.receipt_ns is not None else at_ns
    return _told(known, "alert_path_broken", health.channel, onset_ns, mended_ns, at_ns)


def watch_ledger(
    known: PatientAlerts, *, is_whole: bool, at_ns: int, by: Literal["ledger", "chain"] = "ledger"
) -> tuple[Sighting, ...]:
    """Whether an organisation's ledger is still what was signed, or what a chain says that it was."""
    return _told(known, "ledger_inconsistent", by, None if is_whole else at_ns, at_ns, at_ns)


def watch_emergency(
    known: PatientAlerts, grant: str, *, since_ns: int, is_over: bool, at_ns: int, reason: str
) -> tuple[Sighting, ...]:
    """Somebody sees a patient in an emergency without having been let; each time is a condition by itself."""
    onset_ns = None if is_over else since_ns
    told = _told(known, "emergency_access", grant, onset_ns, at_ns, at_ns)
    return tuple(msgspec.structs.replace(one, reason=reason) for one in told)


def _told(
    known: PatientAlerts, kind: WatchKind, about: str, onset_ns: int | None, end_ns: int, at_ns: int
) -> tuple[Sighting, ...]:
    """It is so since ``onset_ns``; or it is not so, and ends what is told."""
    alert = known.latest((kind, about))
    goes_on = alert if alert is not None and alert.state.is_active else None
    if onset_ns is not None:
        # While it goes on it is the same episode, though what was last seen may have moved.
        since_ns = goes_on.onset_ns if goes_on else onset_ns
        return (_sighting(kind, about, since_ns, None, at_ns),)
    if goes_on:
        return (_sighting(kind, about, goes_on.onset_ns, _after(goes_on, end_ns), at_ns),)
    return ()


def _after(alert: Alert, end_ns: int) -> int:
    return max(end_ns, alert.onset_ns)


def _sighting(kind: WatchKind, about: str, onset_ns: int, end_ns: int | None, at_ns: int) -> Sighting:
    return Sighting(
        condition=kind,
        priority=WATCH_KINDS[kind][0],
        is_technical=True,
        onset_ns=onset_ns,
        end_ns=end_ns,
        until_ns=max(at_ns, onset_ns),
        path="watch",
        about=about,
    )
