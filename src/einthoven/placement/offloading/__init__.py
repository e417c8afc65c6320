"""Requests with deadlines, and the radio, links and processors they share: who gets what, and where.

No I/O and no clock of its own. The model and its theorem are told in docs/offloading.md.
"""

from einthoven.placement.offloading.certificate import (
    Certificate,
    certify,
    problem_digest,
    read_certificate,
    verify_certificate,
    write_certificate,
)
from einthoven.placement.offloading.instance import KINDS, Instance, Kind, prepare
from einthoven.placement.offloading.live import LiveSessions, RegionNow, Started, as_it_stands
from einthoven.placement.offloading.methods import METHODS, Method, plan
from einthoven.placement.offloading.plans import ALLOCATIONS, Allocation, Dual, Limits, Plan
from einthoven.placement.offloading.scenario import ONE_STATION, THREE_STATIONS, Scenario, draw, draw_online
from einthoven.placement.offloading.sessions import (
    Admitted,
    Offers,
    Refused,
    Replanned,
    Sessions,
    Terms,
    offers_of,
)
from einthoven.placement.offloading.verify import flaws_of

__all__ = [
    "ALLOCATIONS",
    "KINDS",
    "METHODS",
    "ONE_STATION",
    "THREE_STATIONS",
    "Admitted",
    "Allocation",
    "Certificate",
    "Dual",
    "Instance",
    "Kind",
    "Limits",
    "LiveSessions",
    "Method",
    "Offers",
    "Plan",
    "Refused",
    "RegionNow",
    "Replanned",
    "Scenario",
    "Sessions",
    "Started",
    "Terms",
    "as_it_stands",
    "certify",
    "draw",
    "draw_online",
    "flaws_of",
    "offers_of",
    "plan",
    "prepare",
    "problem_digest",
    "read_certificate",
    "verify_certificate",
    "write_certificate",
]
