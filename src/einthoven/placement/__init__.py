"""Where each invocation runs. No I/O: the runtime, the simulator and tests drive the same code."""

from einthoven.placement.dispatch import Command, Dispatch, Failed, GiveUp, Send, Settle, Terms, Warm
from einthoven.placement.listing import Planned, Schedule, Step, schedule
from einthoven.placement.planner import Go, Planner
from einthoven.placement.policies import POLICIES, Invocation, Policy
from einthoven.placement.standing import Standing

__all__ = [
    "POLICIES",
    "Command",
    "Dispatch",
    "Failed",
    "GiveUp",
    "Go",
    "Invocation",
    "Planned",
    "Planner",
    "Policy",
    "Schedule",
    "Send",
    "Settle",
    "Standing",
    "Step",
    "Terms",
    "Warm",
    "schedule",
]
