"""Alerts: what must be told, once, and what became of it. No I/O."""

from einthoven.alerts.book import Alert, AlertBook, Change
from einthoven.alerts.lifecycle import LIFECYCLE, AlertState, LifeEvent

__all__ = ["LIFECYCLE", "Alert", "AlertBook", "AlertState", "Change", "LifeEvent"]
