"""From a node that is switched on to a nanoservice that works there: as published, and as it is done here.

Published is a prototype on Raspberry Pi boards (Islam et al., IEEE Access 9:115868, 2021, doi
10.1109/ACCESS.2021.3102867): 6 to 17 s for discovery and matching together, of which containers are 1 to
1.5 s, 10 to 15 %. How long each phase took was not printed. The model here draws each phase so that the
printed totals come out; which phase takes which part is ours.

Our side is no model of ours: agents and the site manager are the very code of real nodes, in a virtual
network with a virtual clock (`einthoven.simulation.nodes`). How long a program takes to start on such a board
is the model's.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from einthoven.edge.nanoservices import Nanoservice
from einthoven.edge.nodes import NodeDescription
from einthoven.edge.site_events import Deploy
from einthoven.experiments.figures import Found, Setup, row
from einthoven.experiments.published import local_edge
from einthoven.pictures.charts import Bars, Chart, draw_bars
from einthoven.simulation.nodes import VirtualSite

__all__ = ["deployment", "drawn_s"]


_DRAWS: Final = 200_000
_NODES: Final = (1, 50, 200)
_START_S: Final = 0.3
"""Until a native program is ready on such a board, at most; as in the model."""
_PROGRAM: Final = "ab" * 32
_LIMIT_S: Final = 120.0


def drawn_s(phases: Mapping[str, Sequence[float]], draws: int, seed: int) -> NDArray[np.float64]:
    """How long deployments take, s; one phase after the other, each uniformly from least to most."""
    rng = np.random.default_rng(seed)
    total: NDArray[np.float64] = np.zeros(draws)
    for least_s, most_s in phases.values():
        total += rng.uniform(least_s, most_s, draws)
    return total


def deployment(setup: Setup) -> Found:
    """A nanoservice on a fresh node, and on hundreds that are switched on at once."""
    setup.told("the published prototype")
    known = local_edge()
    whole_s, adds_s, adds_pct = (
        tuple(known["ranges"][name]) for name in ("whole_s", "container_adds_s", "container_adds_pct")
    )
    native, container = (drawn_s(known[name], _DRAWS, setup.seed) for name in ("native", "container"))
    added = float(container.mean() - native.mean())
    rows = [
        row("prototype, native", "mean", "s", float(native.mean())),
        row("prototype, container", "mean", "s", float(container.mean()), within_range=whole_s),
        row("prototype, container", "p1", "s", float(np.percentile(container, 1)), within_range=(6.0, 17.0)),
        row(
            "prototype, container", "p99", "s", float(np.percentile(container, 99)), within_range=(6.0, 17.0)
        ),
        row("prototype", "added by containers", "s", added, within_range=adds_s),
        row("prototype", "added by containers", "%", 100 * added / native.mean(), within_range=adds_pct),
    ]
    names, means, worst = ["native", "container"], [native.mean(), container.mean()], []
    worst += [float(np.percentile(one, 95)) for one in (native, container)]
    for count in _NODES:
        setup.told(f"{count} nodes switched on at once")
        took_s = _took_s(count, setup.seed)
        case = "ours, a fresh node" if count == 1 else f"ours, {count} at once"
        rows += [
            row(case, "mean", "s", float(took_s.mean())),
            row(case, "p95", "s", float(np.percentile(took_s, 95))),
            row(case, "the last one", "s", float(took_s.max())),
        ]
        names.append("one" if count == 1 else f"{count}")
        means.append(took_s.mean())
        worst.append(float(np.percentile(took_s, 95)))
    chart = Chart(
        title="A nanoservice on a fresh node",
        subtitle="the prototype on Raspberry Pi boards, native and in containers; ours, by nodes at once",
        x="",
        y="s until it works",
    )
    bars = [Bars(name="mean", values=[float(one) for one in means]), Bars(name="p95", values=worst)]
    return Found(
        rows=tuple(rows),
        charts=(("deployment.svg", draw_bars(chart, names, bars).file(chart.title)),),
        remarks=(
            "Of the prototype the totals were printed, not the phases: these are chosen so that they add up.",
            "Ours: the agents and the manager of real nodes in a virtual network without loss; a program is "
            f"fetched in 0.05 to 1 s, not an image in 2.5 to 7, and ready after {_START_S:g} s at most, as "
            "the model has it of such boards. On real processes: einthoven bench deploy.",
        ),
    )


def _took_s(count: int, seed: int) -> NDArray[np.float64]:
    """From when all nodes are switched on until the manager knows that each runs it; shape (count,)."""
    site = VirtualSite(seed, startup_s=_START_S)
    site.start_manager()
    service = Nanoservice(name="spo2", version="1", region="ward", replicas=count, program=_PROGRAM)
    site.wish(Deploy(service))
    site.run(5.0)
    began_s = site.now_s
    for number in range(count):
        site.add(f"node-{number}", NodeDescription(tier="local"))
    ready: dict[str, float] = {}
    seen = 0

    def are_all_ready() -> bool:
        nonlocal seen
        for at_s, one in site.happenings[seen:]:
            if one.kind == "ready":
                ready.setdefault(one.node, at_s - began_s)
        seen = len(site.happenings)
        return len(ready) == count

    site.run(_LIMIT_S, until=are_all_ready)
    return np.array(sorted(ready.values()))
