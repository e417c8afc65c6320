"""Patients monitored at home, in three deployments, with and without evidence of what was done.

A sensor sends a window, something is computed, an actuator is told. *cloud*: logic and algorithm are in the
cloud; *edge*: the algorithm is at the base station; *local*: at home. Evidence is *off*; a *chain*, in which
every message is hashed, signed and verified by itself; or a *log*, in which messages share a signed
checkpoint (`einthoven.trust`).

Which step goes where, and in which order, is a reconstruction: the published study
(doi 10.3390/s21072502) is known by what it varies and by three ranges of what came out.
"""

import math
from collections.abc import Callable, Iterator
from functools import cache
from typing import Final, Literal, get_args

import msgspec

from einthoven.continuum import Continuum, Link, read_continuum
from einthoven.experiments.published import health_blockedge, health_blockedge_continuum
from einthoven.simulation.flow_events import Emission
from einthoven.simulation.flows import Flow, Step, Transfer, Work

__all__ = [
    "CLASSES",
    "DEPLOYMENTS",
    "EVIDENCES",
    "Deployment",
    "Evidence",
    "Parameters",
    "algorithm_cycles",
    "emissions",
    "flow",
    "homes",
    "parameters",
]

Deployment = Literal["cloud", "edge", "local"]
Evidence = Literal["off", "chain", "log"]
DEPLOYMENTS: Final[tuple[Deployment, ...]] = get_args(Deployment)
EVIDENCES: Final[tuple[Evidence, ...]] = get_args(Evidence)
CLASSES: Final[dict[str, Callable[[int], float]]] = {
    "n": float,
    "n log n": lambda n: n * math.log2(n),
    "n^2": lambda n: float(n**2),
    "n^3": lambda n: float(n**3),
}
"""How the steps of an algorithm grow with the samples of a window."""
_MILLION: Final = 1e6
_PER_HOME: Final = frozenset({"sensor", "home", "actuator"})


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """What the study's figures hang on; work in cycles."""

    patients: int
    period_s: float
    """A window of each patient."""
    samples: int
    operations_per_step: float
    raw_bytes: float
    result_bytes: float
    command_bytes: float
    envelope_bytes: float
    """Of a message of the chain."""
    hash_cycles: float
    preprocess_cycles: float
    application_cycles: float
    sign_cycles: float
    verify_cycles: float
    anonymise_cycles: float
    log_leaves: int
    """That share a checkpoint."""
    log_bytes: float
    """Of a message of the log: its leaf, and its part of the checkpoint."""
    log_append_cycles: float


class _Added(msgspec.Struct, frozen=True):
    """What evidence adds to each message."""

    content_bytes: float = 0.0
    sign: float = 0.0
    verify: float = 0.0
    once: float = 0.0
    """Hash and anonymise, of a window."""


@cache
def parameters(name: str = "A") -> Parameters:
    """The set of this name: A, or B, in which verifying is dearer than signing."""
    told = health_blockedge()
    scenario, work, log = told["scenario"], told["sets"][name], told["log"]
    return Parameters(
        patients=scenario["patients"],
        period_s=scenario["period_s"],
        samples=scenario["samples"],
        operations_per_step=scenario["operations_per_step"],
        raw_bytes=scenario["raw_bytes"],
        result_bytes=scenario["result_bytes"],
        command_bytes=scenario["command_bytes"],
        envelope_bytes=scenario["envelope_bytes"],
        hash_cycles=scenario["hash_cycles_per_byte"] * scenario["raw_bytes"],
        **{f"{key}_cycles": _MILLION * value for key, value in work.items()},
        log_leaves=log["leaves"],
        log_bytes=log["inline_bytes"] + log["checkpoint_bytes"] / log["leaves"],
        log_append_cycles=_MILLION * log["append"],
    )


def algorithm_cycles(of: Parameters, complexity: str) -> float:
    """What the algorithm takes for a window."""
    return of.operations_per_step * CLASSES[complexity](of.samples)


def _added(of: Parameters, evidence: Evidence) -> _Added:
    once = of.hash_cycles + of.anonymise_cycles
    if evidence == "chain":
        return _Added(of.envelope_bytes, of.sign_cycles, of.verify_cycles, once)
    if evidence == "log":
        share = 1 / of.log_leaves
        append = of.log_append_cycles
        return _Added(of.log_bytes, share * of.sign_cycles, share * of.verify_cycles + append, once)
    return _Added()


def flow(of: Parameters, deployment: Deployment, evidence: Evidence, cycles: float, home: str = "") -> Flow:
    """One window of one patient.

    Parameters
    ----------
    cycles : of the algorithm
    home : what the names of the patient's own sites and links end with
    """
    added = _added(of, evidence)
    steps = {"cloud": _in_the_cloud, "edge": _at_the_edge, "local": _at_home}[deployment](of, added, cycles)
    return Flow(name=f"{deployment}, {evidence}", steps=tuple(_of_home(one, home) for one in steps))


def _of_home(step: Step, home: str) -> Step:
    if isinstance(step, Work):
        return msgspec.structs.replace(step, site=step.site + home if step.site in _PER_HOME else step.site)
    return msgspec.structs.replace(
        step,
        link=step.link + home if _PER_HOME & set(step.link.split("-")) else step.link,
        to=step.to + home if step.to in _PER_HOME else step.to,
    )


def _sensed(of: Parameters, added: _Added) -> list[Step]:
    """A window is at home, and made ready."""
    return [
        Transfer(
            name="sense", link="sensor-home", to="home", content_bytes=of.raw_bytes, data="samples", after=()
        ),
        Work(
            name="pre-process", site="home", cycles=of.preprocess_cycles + added.once + added.sign, after=(0,)
        ),
    ]


def _acted(of: Parameters, after: int) -> Step:
    return Transfer(
        name="act",
        link="home-actuator",
        to="actuator",
        content_bytes=of.command_bytes,
        data="command",
        after=(after,),
    )


def _result(of: Parameters, added: _Added, link: str, to: str, after: int) -> Step:
    return Transfer(
        name="result",
        link=link,
        to=to,
        content_bytes=of.result_bytes + added.content_bytes,
        data="result",
        after=(after,),
        is_loop=False,
        is_kept=True,
    )


def _in_the_cloud(of: Parameters, added: _Added, cycles: float) -> list[Step]:
    raw, command = of.raw_bytes + added.content_bytes, of.command_bytes + added.content_bytes
    up = (("home-edge", "edge"), ("edge-proxy", "proxy"), ("proxy-cloud", "cloud"))
    down = (("proxy-cloud", "proxy"), ("edge-proxy", "edge"), ("home-edge", "home"))
    steps = _sensed(of, added)
    for number, (link, to) in enumerate(up, 1):
        steps.append(
            Transfer(name="up", link=link, to=to, content_bytes=raw, data="samples", after=(number,))
        )
    work = added.verify + cycles + of.application_cycles + added.sign
    steps.append(Work(name="verify, algorithm, logic, sign", site="cloud", cycles=work, after=(4,)))
    for number, (link, to) in enumerate(down, 5):
        steps.append(
            Transfer(name="down", link=link, to=to, content_bytes=command, data="command", after=(number,))
        )
    steps.append(Work(name="verify command", site="home", cycles=added.verify, after=(8,)))
    steps.append(_acted(of, 9))
    steps.append(Work(name="verify", site="edge", cycles=added.verify, after=(2,), is_loop=False))
    return steps


def _at_the_edge(of: Parameters, added: _Added, cycles: float) -> list[Step]:
    raw, command = of.raw_bytes + added.content_bytes, of.command_bytes + added.content_bytes
    logic = of.application_cycles + added.verify
    return [
        *_sensed(of, added),
        Transfer(name="up", link="home-edge", to="edge", content_bytes=raw, data="samples", after=(1,)),
        Work(
            name="verify, algorithm, sign",
            site="edge",
            cycles=added.verify + cycles + added.sign,
            after=(2,),
        ),
        Transfer(name="down", link="home-edge", to="home", content_bytes=command, data="command", after=(3,)),
        Work(name="verify command", site="home", cycles=added.verify, after=(4,)),
        _acted(of, 5),
        _result(of, added, "edge-proxy", "proxy", 3),
        _result(of, added, "proxy-cloud", "cloud", 7),
        Work(name="verify, logic", site="cloud", cycles=logic, after=(8,), is_loop=False),
    ]


def _at_home(of: Parameters, added: _Added, cycles: float) -> list[Step]:
    logic = of.application_cycles + added.verify
    return [
        *_sensed(of, added),
        Work(name="algorithm", site="home", cycles=cycles, after=(1,)),
        _acted(of, 2),
        Work(name="sign result", site="home", cycles=added.sign, after=(2,), is_loop=False),
        _result(of, added, "home-edge", "edge", 4),
        Work(name="verify", site="edge", cycles=added.verify, after=(5,), is_loop=False),
        _result(of, added, "edge-proxy", "proxy", 5),
        _result(of, added, "proxy-cloud", "cloud", 7),
        Work(name="verify, logic", site="cloud", cycles=logic, after=(8,), is_loop=False),
    ]


@cache
def homes(count: int) -> Continuum:
    """The sites and links of so many patients: each has its own sensor, home and actuator."""
    one = read_continuum(health_blockedge_continuum())
    suffixes = [_suffix(number) for number in range(count)]
    return Continuum(
        sites=(
            *(site for site in one.sites if site.name not in _PER_HOME),
            *(
                msgspec.structs.replace(site, name=site.name + suffix)
                for suffix in suffixes
                for site in one.sites
                if site.name in _PER_HOME
            ),
        ),
        links=(
            *(link for link in one.links if not _PER_HOME & set(link.between)),
            *(
                _link_of_home(link, suffix)
                for suffix in suffixes
                for link in one.links
                if _PER_HOME & set(link.between)
            ),
        ),
    )


def _suffix(number: int) -> str:
    return f"-{number + 1}"


def _link_of_home(link: Link, suffix: str) -> Link:
    first, second = (end + suffix if end in _PER_HOME else end for end in link.between)
    return msgspec.structs.replace(link, name=link.name + suffix, between=(first, second))


def emissions(
    of: Parameters,
    deployment: Deployment,
    evidence: Evidence,
    cycles: float,
    *,
    windows: int = 1,
    period_s: float | None = None,
    is_staggered: bool = True,
) -> Iterator[Emission]:
    """So many windows of every patient, one after the other or, not staggered, of all patients at once."""
    every_s = period_s or of.period_s
    flows = [flow(of, deployment, evidence, cycles, _suffix(patient)) for patient in range(of.patients)]
    for window in range(windows):
        for patient, one in enumerate(flows):
            offset_s = every_s * patient / of.patients if is_staggered else 0.0
            yield Emission(at_s=every_s * window + offset_s, flow=one)
