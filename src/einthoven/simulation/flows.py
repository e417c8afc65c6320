"""What is computed and sent because of one event, over sites and links that are declared. No I/O.

A *flow* is a set of steps, works and transfers, each of which begins when those before it have ended. Some
are on the *control loop*: from the event to what is done about it. An operation is one cycle of the site's
processor, so a million instructions (MI) are 1 Mcycle.

`formula` says what one flow takes when nothing else goes on; `einthoven.simulation.flow_events` what many do.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from einthoven.continuum import Continuum, Site
from einthoven.errors import InputInvalid

__all__ = [
    "Flow",
    "Formula",
    "Step",
    "Transfer",
    "Work",
    "above_idle_w",
    "formula",
    "sending_s",
    "servers_of",
    "working_s",
]


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is computed."""

    name: str
    site: str
    cycles: float
    after: tuple[int, ...] = ()
    """Steps of the flow that must have ended; none: it begins with the flow."""
    is_loop: bool = True
    """Whether it is on the control loop."""


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is sent over one link."""

    name: str
    link: str
    to: str
    """The site at the end of the link where it arrives."""
    content_bytes: float
    data: str = ""
    """What it carries: "samples", "result", "command"."""
    after: tuple[int, ...] = ()
    is_loop: bool = True
    is_kept: bool = False
    """What cannot be sent waits until the link is back; else it is dropped."""


Step = Work | Transfer


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """Steps in an order in which each comes behind those that it waits for."""

    name: str
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        if not any(step.is_loop for step in self.steps):
            raise InputInvalid("a flow has a control loop of at least one step.", where=self.name)
        for number, step in enumerate(self.steps):
            if not all(0 <= one < number for one in step.after):
                raise InputInvalid(
                    "a step waits for one that does not stand before it.", where=f"{self.name}: {step.name}"
                )
            if step.is_loop and not all(self.steps[one].is_loop for one in step.after):
                raise InputInvalid(
                    "a step of the control loop waits for one that is not.", where=f"{self.name}: {step.name}"
                )
            amount = step.cycles if isinstance(step, Work) else step.content_bytes
            if not (math.isfinite(amount) and amount >= 0):
                raise InputInvalid(
                    f"the amount is {amount:g}; it must be 0 or more.", where=f"{self.name}: {step.name}"
                )


class Formula(msgspec.Struct, frozen=True, kw_only=True):
    """One flow alone: what it takes, to the last digit."""

    latency_s: float
    """Of the control loop."""
    cycles: Mapping[str, float]
    """By site."""
    sent_bytes: Mapping[str, float]
    """By link."""
    byte_seconds: float
    """Bytes, each times the latency of its link: what iFogSim calls network usage, in other units."""
    compute_j: float
    """Above idle."""
    network_j: float


def servers_of(continuum: Continuum, site: Site) -> tuple[int, float]:
    """How many works a site does at one time, and how fast each, cycle/s; raises InputInvalid if none."""
    whole = continuum.cycles_per_s(site)
    if not whole > 0:
        raise InputInvalid("it computes nothing.", where=f"sites.{site.name}", remedy="Give it `compute`.")
    each = min(whole, site.slot_cycles_per_s or whole, site.one_request_cycles_per_s)
    return max(1, math.floor(whole / each + 1e-9)), each


def above_idle_w(site: Site) -> float:
    """What a site takes more when it computes all that it can; nothing if only idle power is declared."""
    return max(0.0, site.busy_w - site.idle_w)


def working_s(continuum: Continuum, work: Work) -> float:
    """How long a work takes once it has begun."""
    return work.cycles / servers_of(continuum, continuum.site(work.site))[1]


def sending_s(continuum: Continuum, transfer: Transfer) -> float:
    """How long a link is taken by a transfer; it arrives one latency later. Raises InputInvalid."""
    link = continuum.link(transfer.link)
    if transfer.to not in link.between:
        raise InputInvalid(f"the link {link.name!r} does not lead to {transfer.to!r}.", where=transfer.name)
    return 8 * transfer.content_bytes / link.bits_per_s


def formula(continuum: Continuum, flow: Flow) -> Formula:
    """What a flow takes when it is alone, nothing is lost, and nothing waits.

    Raises
    ------
    InputInvalid : a site or a link that is not declared, or a site that computes nothing.
    """
    ends_s: list[float] = []
    cycles: Counter[str] = Counter()
    sent: Counter[str] = Counter()
    byte_seconds = compute_j = network_j = 0.0
    for step in flow.steps:
        begins_s = max((ends_s[one] for one in step.after), default=0.0)
        if isinstance(step, Work):
            site = continuum.site(step.site)
            ends_s.append(begins_s + site.startup_s + working_s(continuum, step))
            cycles[step.site] += step.cycles  # type: ignore[assignment]
            compute_j += above_idle_w(site) * step.cycles / continuum.cycles_per_s(site)
        else:
            link = continuum.link(step.link)
            ends_s.append(begins_s + sending_s(continuum, step) + link.latency_s)
            sent[step.link] += step.content_bytes  # type: ignore[assignment]
            byte_seconds += link.latency_s * step.content_bytes
            network_j += 8 * step.content_bytes * link.joules_per_bit
    return Formula(
        latency_s=_latest(flow.steps, ends_s),
        cycles=dict(cycles),
        sent_bytes=dict(sent),
        byte_seconds=byte_seconds,
        compute_j=compute_j,
        network_j=network_j,
    )


def _latest(steps: Sequence[Step], ends_s: Sequence[float]) -> float:
    return max(end_s for step, end_s in zip(steps, ends_s, strict=True) if step.is_loop)
