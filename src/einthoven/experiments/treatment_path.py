"""A patient's way from home over the ambulance to the hospital, and the services that go along.

The story is published (Finnish Journal of eHealth and eWelfare 14(1), 2022): at home a patient is watched and
deteriorates; in the ambulance a mask joins the oximeter by itself and doses oxygen; in the hospital the
service is extended by its instruments. Times, numbers and the patient (`einthoven.simulation.oxygenation`)
are ours.

Nodes, agents and the site manager are the code of real ones, in virtual time (`einthoven.simulation.nodes`):
whether oxygen is dosed in a second is whether an instance of the controller acts in it. It is exclusive, so
that no two ever do. Everything else is a nanoservice that waits for the node that can do it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.edge.nanoservices import Nanoservice
from einthoven.edge.nodes import NodeDescription
from einthoven.edge.site_events import Deploy, Drain
from einthoven.experiments.figures import Found, Row, Setup, row
from einthoven.pictures.charts import Chart, Line, draw_lines
from einthoven.simulation.nodes import VirtualSite
from einthoven.simulation.oxygenation import (
    ControllerState,
    Disturbances,
    OxygenPatient,
    disturbances,
    dosed,
)

__all__ = ["SECONDS", "Path", "Treated", "shunt_at", "travelled", "treated", "treatment_path"]

SECONDS: Final = 7200
_WORSE_S: Final = 600
_AMBULANCE_S: Final = 2400
_HOSPITAL_S: Final = 3900
_CUT_S: Final = (2700, 3300)
"""The network that the ambulance hangs on is gone."""
_SILENT_S: Final = (2850, 2870)
"""The oximeter is."""
_MEAN_S: Final = 15
_STALE_S: Final = 10
"""On older readings nobody doses: the valve keeps its flow."""
_LATEST_S: Final = 30
"""After so long without a reading at least this flow, L/min:"""
_SAFE_FLOW: Final = 6.0
_SEEDS: Final = 8
_LOOKED_AT_S: Final = 30
_STEP_S: Final = 0.0625
"""For so long after something happened it is looked so often who doses; else once a second."""
_CONTROL: Final = "o2-control"
_HOME: Final = {"hub": ("spo2@1", "ecg@1")}
_AMBULANCE: Final = {"amb-gw": (), "mask": ("o2-valve",), "amb-monitor": ("ecg12@1",)}
_HOSPITAL: Final = {
    "ward-gw-1": ("ward",), "ward-gw-2": ("ward",), "bed-monitor": ("ecg12@1", "icu"),
    "high-flow": ("o2-valve",), "pump": ("pump",), "ehr": ("ehr",),
}  # fmt: skip
_SERVICES: Final = (
    ("spo2-read", ("spo2@1",), 2),
    ("ecg-rhythm", ("ecg@1",), 2),
    ("deterioration", (), 3),
    ("ecg12-view", ("ecg12@1",), 1),
    ("icu-view", ("icu",), 1),
    ("ward-alarms", ("ward",), 3),
    ("pump-watch", ("pump",), 1),
    ("ehr-sync", ("ehr",), 1),
)
"""Name, what the node must have, how important."""


def shunt_at(at_s: int) -> float:
    """How ill the patient is: worse from the tenth minute, worse when carried, better in the hospital."""
    shunt = 0.06 + 0.20 * min(max((at_s - _WORSE_S) / 1200, 0), 1)
    if abs(at_s - _AMBULANCE_S) < 60 or abs(at_s - _HOSPITAL_S) < 60:
        shunt += 0.04
    if at_s > _HOSPITAL_S + 600:
        shunt -= 0.10 * min((at_s - _HOSPITAL_S - 600) / 1800, 1)
    return shunt


# -------------------------------------------------------------------- who doses


class Path(msgspec.Struct, frozen=True, eq=False):
    """What the nodes did, second by second."""

    doses: tuple[str, ...]
    """Node whose controller acts at the end of each second; empty: none."""
    gaps_s: tuple[float, ...]
    """How long no controller acts: until the first does after a valve came, and each time after that."""
    extended: tuple[tuple[str, float], ...]
    """Services in the order in which they came to work, and how long after their node was there, s."""
    most_acting: int
    misplaced: int


def travelled(seed: int, told: Callable[[str], None] = lambda _: None) -> Path:
    """The nodes on the way: joining, leaving, failing and coming back as the story has it."""
    site = VirtualSite(seed, startup_s=0.3)
    site.start_manager()
    for name, needs, priority in _SERVICES:
        site.wish(Deploy(Nanoservice(name=name, version="1", region=name, needs=needs, priority=priority)))
    control = Nanoservice(
        name=_CONTROL,
        version="1",
        region="o2",
        needs=("o2-valve",),
        is_exclusive=True,
        lease_s=3.0,
        priority=9,
    )
    site.wish(Deploy(control))
    came_s: dict[str, float] = {}

    def come(nodes: Mapping[str, tuple[str, ...]]) -> None:
        for name, capabilities in nodes.items():
            site.add(name, NodeDescription(tier="local", capabilities=capabilities))
            came_s[name] = site.now_s

    def go(nodes: Sequence[str]) -> None:
        for name in nodes:
            site.leave(name)

    def killed() -> None:
        for name, machine in site.machines.items():
            for id_, one in list(machine.processes.items()):
                if one.assignment.service.name == _CONTROL:
                    site.crash_process(name, id_)

    come(_HOME)
    events: dict[int, Callable[[], None]] = {
        _AMBULANCE_S: partial(come, _AMBULANCE),
        3000: killed,
        _HOSPITAL_S: partial(come, _HOSPITAL),
        _HOSPITAL_S + 30: partial(site.wish, Drain("mask", is_draining=True)),
        _HOSPITAL_S + 60: partial(go, tuple(_AMBULANCE)),
        5000: partial(site.crash_machine, "ward-gw-1"),
        5200: partial(site.switch_on, "ward-gw-1"),
        6000: partial(site.crash_machine, "ward-gw-2"),
        6060: partial(site.switch_on, "ward-gw-2"),
    }
    doses: list[str] = []
    gaps_s: list[float] = []
    absent_s = 0.0
    quick_until_s = 0
    quiet_s = _AMBULANCE_S - 60  # at home nothing changes but the patient, so the nodes are switched on later
    doses += [""] * quiet_s
    for at_s in range(quiet_s, SECONDS):
        if at_s in events:
            told(f"{at_s} s")
            quick_until_s = at_s + _LOOKED_AT_S
            events[at_s]()
        step_s = _STEP_S if at_s < quick_until_s else 1.0
        for number in range(round(1 / step_s)):
            site.run(at_s - quiet_s + (number + 1) * step_s - site.now_s)
            acting = [
                name
                for name, machine in site.machines.items()
                for one in machine.processes.values()
                if one.assignment.service.name == _CONTROL and one.is_ready
            ]
            if at_s >= _AMBULANCE_S:
                if not acting:
                    absent_s += step_s
                elif absent_s or not gaps_s:
                    gaps_s.append(absent_s)
                    absent_s = 0.0
        doses.append(acting[0] if acting else "")
    first: dict[str, float] = {}
    for at, happened in site.happenings:
        if happened.kind == "ready" and happened.service not in first:
            first[happened.service] = at - came_s.get(happened.node, 0.0)
    return Path(tuple(doses), tuple(gaps_s), tuple(first.items()), site.most_acting, site.misplaced)


# -------------------------------------------------------------------- what it does for the patient


class Treated(msgspec.Struct, frozen=True, eq=False):
    """One patient's two hours."""

    saturation_pct: NDArray[np.float64]
    flow_l_min: NDArray[np.float64]
    readings: int
    delivered: int
    """Readings that the hospital has in the end, each once."""

    def share_pct(self, least: float, most: float) -> float:
        """Part of the time from the end of the ambulance's first five minutes with such a saturation."""
        part = self.saturation_pct[_AMBULANCE_S + 300 :]
        return float(100 * np.mean((part >= least) & (part <= most)))

    def below_s(self, limit: float) -> int:
        """Seconds below a saturation since the ambulance came."""
        return int((self.saturation_pct[_AMBULANCE_S:] < limit).sum())

    @property
    def until_safe_s(self) -> int:
        """From when the ambulance came until 92 %."""
        reached = np.flatnonzero(self.saturation_pct[_AMBULANCE_S:] >= 92)
        return int(reached[0]) if reached.size else SECONDS - _AMBULANCE_S

    @property
    def litres(self) -> float:
        """Of oxygen."""
        return float(self.flow_l_min.sum() / 60)


def treated(
    doses: Sequence[str],
    also: Disturbances,
    *,
    hands_over: bool = True,
    silent_s: tuple[int, int] = _SILENT_S,
    cut_s: tuple[int, int] = _CUT_S,
) -> Treated:
    """The patient under whoever doses.

    Parameters
    ----------
    doses : node whose controller acts, second by second; empty: none.
    hands_over : whether a controller begins with what the one before it knew.
    """
    patient = OxygenPatient(shunt_at(0), also)
    state, before = ControllerState(), ""
    window: list[float] = []
    flow, age_s = 0.0, 0
    saturations, flows = np.empty(SECONDS), np.empty(SECONDS)
    waiting: list[int] = []
    delivered: dict[int, None] = {}
    readings = 0
    for at_s in range(SECONDS):
        saturations[at_s], reading = patient.step(flow, shunt_at(at_s))
        if silent_s[0] <= at_s < silent_s[1]:
            age_s += 1
        else:
            age_s = 0
            window = [*window, reading][-_MEAN_S:]
            readings += 1
            waiting.append(at_s)
        if not cut_s[0] <= at_s < cut_s[1]:  # the newest first, then what waited
            for number in reversed(waiting):
                delivered.setdefault(number)
            waiting.clear()
        node = doses[at_s]
        if node and node != before:
            if before and not hands_over:
                state = ControllerState(flow_l_min=flow)
            before = node
        if node and age_s <= _STALE_S:
            state = dosed(state, float(np.mean(window)))
            flow = state.flow_l_min
        elif node and age_s > _LATEST_S:
            flow = max(flow, _SAFE_FLOW)
            state = ControllerState(state.summed, flow)
        flows[at_s] = flow
    return Treated(saturations, flows, readings, len(delivered))


# -------------------------------------------------------------------- the experiment


def treatment_path(setup: Setup) -> Found:
    """The whole way: services extended at each stop, no sample lost, oxygen dosed without a gap."""
    path = travelled(setup.seed, setup.told)
    setup.told("patients")
    always = tuple("mask" if at_s >= _AMBULANCE_S else "" for at_s in range(SECONDS))
    none = ("",) * SECONDS
    seeds = [disturbances(seed, SECONDS) for seed in range(_SEEDS)]
    ours = [treated(path.doses, also) for also in seeds]
    rows = [
        *_rows("nobody doses", [treated(none, also) for also in seeds]),
        *_rows("a controller that is always there", [treated(always, also) for also in seeds]),
        *_rows("ours, through three places", ours),
    ]
    gaps = path.gaps_s
    still = treated(path.doses, Disturbances.none(SECONDS))
    forgetful = treated(path.doses, Disturbances.none(SECONDS), hands_over=False)
    around = slice(_HOSPITAL_S, _HOSPITAL_S + 300)
    rows += [
        row("ours, through three places", "from the mask's arrival to the first dose", "s", gaps[0]),
        row("ours, through three places", "without a controller since: in all", "s", float(sum(gaps[1:]))),
        row("ours, through three places", "the longest of it", "s", max(gaps[1:], default=0.0)),
        row("ours, through three places", "controllers at one time, at most", "", float(path.most_acting)),
        row("ours, through three places", "started where they must not be", "", float(path.misplaced)),
        row("ours, through three places", "readings lost", "", float(ours[0].readings - ours[0].delivered)),
        row(
            "handed over with its state", "below 92 % around it", "s",
            float((still.saturation_pct[around] < 92).sum()),
        ),
        row(
            "handed over without", "below 92 % around it", "s",
            float((forgetful.saturation_pct[around] < 92).sum()),
        ),
        *(
            row("until it works", name, "s", float(took_s))
            for name, took_s in path.extended
        ),
    ]  # fmt: skip
    return Found(
        rows=tuple(rows),
        charts=tuple(_drawn(ours[0], path)),
        remarks=(
            f"Means over {_SEEDS} patients; time in range counts from five minutes after the ambulance came. "
            f"Home until {_AMBULANCE_S} s, ambulance until {_HOSPITAL_S} s, then the hospital; the network "
            f"is gone from {_CUT_S[0]} to {_CUT_S[1]} s, the oximeter from {_SILENT_S[0]} to {_SILENT_S[1]}, "
            "the controller is killed at 3000, ward gateways fail at 5000 and 6000. Who doses is looked at "
            f"every {_STEP_S:g} s.",
            "A simulation for the study of deployments: not a medical device, and no advice on oxygen.",
        ),
    )


def _rows(case: str, patients: Sequence[Treated]) -> list[Row]:
    def mean(of: Callable[[Treated], float]) -> float:
        return float(np.mean([of(one) for one in patients]))

    return [
        row(case, "time in 92 to 96 %", "%", mean(lambda one: one.share_pct(92, 96))),
        row(case, "time below 90 %", "%", mean(lambda one: one.share_pct(0, 90))),
        row(case, "below 88 % since the ambulance came", "s", mean(lambda one: one.below_s(88))),
        row(case, "until 92 %", "s", mean(lambda one: one.until_safe_s)),
        row(case, "oxygen", "L", mean(lambda one: one.litres)),
    ]


def _drawn(one: Treated, path: Path) -> list[tuple[str, str]]:
    minutes = np.arange(SECONDS) / 60
    step = slice(None, None, 20)
    saturation = Chart(
        title="Saturation on the way", x="min", y="%", subtitle="home, ambulance at 40, hospital at 65 min"
    )
    flow = Chart(title="Oxygen on the way", x="min", y="L/min", subtitle="who doses, and how much")
    lines = []
    for node in dict.fromkeys(node for node in path.doses if node):
        is_its = np.array([its == node for its in path.doses])
        lines.append(
            Line(
                name=node,
                x=minutes[step].tolist(),
                y=np.where(is_its, one.flow_l_min, np.nan)[step].tolist(),
                is_joined=False,
            )
        )
    shown = [
        Line(name="true", x=minutes[step].tolist(), y=one.saturation_pct[step].tolist(), is_joined=False),
        Line(name="92 %", x=[0.0, 120.0], y=[92.0, 92.0], is_dashed=True),
        Line(name="96 %", x=[0.0, 120.0], y=[96.0, 96.0], is_dashed=True),
    ]
    return [
        ("treatment-path.svg", draw_lines(saturation, shown).file(saturation.title)),
        ("treatment-path-oxygen.svg", draw_lines(flow, lines).file(flow.title)),
    ]
