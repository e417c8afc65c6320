"""Alerts: what must be told, once, and what became of it. No I/O."""

from einthoven.alerts.alert import (
    Alert,
    AlertEpisode,
    AlertKey,
    Change,
    LifeStep,
    PatientAlerts,
    What,
    retimed,
)
from einthoven.alerts.answering import acknowledge, assign, close, delivered, escalate, resume, suppress
from einthoven.alerts.book import AlertBook
from einthoven.alerts.clockwork import pass_time
from einthoven.alerts.delivery import DeliveryPolicy, Failure, Receipt, next_attempt_ns
from einthoven.alerts.drawing import mermaid
from einthoven.alerts.dry_run import Counted, DryRun, count_alerts, dry_run
from einthoven.alerts.lifecycle import LIFECYCLE, AlertState, LifeEvent, state_after
from einthoven.alerts.notifications import AlertMessage, Heartbeat, Notification, heartbeat, instant, notify
from einthoven.alerts.receiving import end_all, episodes_needed, receive
from einthoven.alerts.rules import AlertRules, Choice, Contact, Patience, Rung, parse_rules, print_rules
from einthoven.alerts.sightings import (
    ALERT_KINDS,
    MARKS,
    PRIORITIES,
    AlertKind,
    AlertPriority,
    Sighting,
    WatchKind,
    mark_of,
    sightings_of,
)
from einthoven.alerts.signing import Signature, SignedRules, rules_in_force, sign, verify
from einthoven.alerts.watching import (
    ChannelHealth,
    DeviceSeen,
    PathPolicy,
    watch_channel,
    watch_device,
    watch_emergency,
    watch_ledger,
)

__all__ = [
    "ALERT_KINDS",
    "LIFECYCLE",
    "MARKS",
    "PRIORITIES",
    "Alert",
    "AlertBook",
    "AlertEpisode",
    "AlertKey",
    "AlertKind",
    "AlertMessage",
    "AlertPriority",
    "AlertRules",
    "AlertState",
    "Change",
    "ChannelHealth",
    "Choice",
    "Contact",
    "Counted",
    "DeliveryPolicy",
    "DeviceSeen",
    "DryRun",
    "Failure",
    "Heartbeat",
    "LifeEvent",
    "LifeStep",
    "Notification",
    "PathPolicy",
    "Patience",
    "PatientAlerts",
    "Receipt",
    "Rung",
    "Sighting",
    "Signature",
    "SignedRules",
    "WatchKind",
    "What",
    "acknowledge",
    "assign",
    "close",
    "count_alerts",
    "delivered",
    "dry_run",
    "end_all",
    "episodes_needed",
    "escalate",
    "heartbeat",
    "instant",
    "mark_of",
    "mermaid",
    "next_attempt_ns",
    "notify",
    "parse_rules",
    "pass_time",
    "print_rules",
    "receive",
    "resume",
    "retimed",
    "rules_in_force",
    "sightings_of",
    "sign",
    "state_after",
    "suppress",
    "verify",
    "watch_channel",
    "watch_device",
    "watch_emergency",
    "watch_ledger",
]
