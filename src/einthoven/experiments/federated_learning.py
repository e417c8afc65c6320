"""The beat classifier learnt by three sites that keep their records, against learning in one place.

Records of DS1 alone, in the folds of `einthoven.runtime.training`: who is told was at no site. DS2 is never
opened. All learn from the annotated records; what is made for the shipped model is left out, because a site
has only its own.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from einthoven.errors import InputInvalid, RecordingNotFound
from einthoven.evaluation.beats import BeatTable
from einthoven.experiments.figures import Found, Row, Setup, row
from einthoven.experiments.intervals import mean_of
from einthoven.pictures.charts import Chart, Line, draw_lines
from einthoven.runtime.federated_sites import site_from
from einthoven.runtime.training import DS1, FOLDS, VARIANTS, Rows, told_by, train, training_rows
from einthoven.signal.federated import Coordinator, Learn, Plan, Site, answer_packed
from einthoven.signal.learning import NETWORKS, Ensemble

__all__ = ["SPLITS", "LearningRow", "federated_learning"]

SPLITS: Final = {
    "mixed": tuple(DS1[at::3] for at in range(3)),
    "by disease": (
        ("118", "124", "201", "207", "209", "220", "223"),
        ("106", "114", "116", "119", "203", "205", "208", "215"),
        ("101", "108", "109", "112", "115", "122", "230"),
    ),
}
"""Which site has which records: every third; or nearly all S at one, nearly all V and F at another."""
_SITES: Final = ("first", "second", "third")

Records = Mapping[str, list[Rows]]


class LearningRow(msgspec.Struct, frozen=True, kw_only=True):
    """How well held-out records are told, after a round."""

    split: str
    seed: int
    learnt: str
    """In one place, at one site, or together."""
    round: int
    """0: not in rounds."""
    v_f1: float
    s_f1: float
    down_bytes: int
    """To one site in this round, and back."""
    up_bytes: int


class _Learnt(NamedTuple):
    split: str
    learnt: str
    round: int
    table: BeatTable
    down_bytes: int = 0
    up_bytes: int = 0


def federated_learning(setup: Setup) -> Found:
    """V and S F1 in one place, together after each round, and at each site alone."""
    records = _read(setup)
    seeds = range(setup.seed, setup.seed + setup.seeds)
    found: list[LearningRow] = []
    for seed in seeds:
        setup.told(f"seed {seed}: {setup.folds} folds")
        found += _of_seed(records, seed, setup)
    lines = [
        line for at, split in enumerate(SPLITS) for line in _lines(found, split, setup.rounds, colour=2 * at)
    ]
    title = "Federated learning of the beat classifier"
    charts = []
    for kind, name in (("v_f1", "V"), ("s_f1", "S")):
        chart = Chart(title=title, subtitle=f"{name} F1 of held-out records of DS1", x="round", y="F1, %")
        charts.append(
            (f"federated-learning-{name}.svg", draw_lines(chart, [one[kind] for one in lines]).file(title))
        )
    return Found(
        rows=tuple(_figures(found, setup.rounds)),
        charts=tuple(charts),
        changes=tuple(found),
        units={"v_f1": "%", "s_f1": "%", "down_bytes": "B", "up_bytes": "B"},
        remarks=_remarks(setup),
        how="ours",
        known="Nothing is published of this classifier; the target is ours.",
    )


def _read(setup: Setup) -> Records:
    if setup.data is None:
        raise InputInvalid(
            "the experiment needs recordings.", where="--data", remedy="Give the folder that holds mitdb/."
        )
    folder = setup.data / "mitdb"
    if not folder.is_dir():
        raise RecordingNotFound(
            "there is no such folder.", where=str(folder), remedy="Give --data its parent."
        )
    return {name: _of_record(folder, name, setup) for name in DS1}


def _of_record(folder: Path, name: str, setup: Setup) -> list[Rows]:
    setup.told(f"reading record {name}")
    return [training_rows(folder, name, variant) for variant in VARIANTS]


def _of_seed(records: Records, seed: int, setup: Setup) -> list[LearningRow]:
    with ThreadPoolExecutor(max_workers=min(setup.folds, os.cpu_count() or 1)) as pool:
        folds = list(pool.map(lambda fold: list(_of_fold(records, fold, seed, setup)), range(setup.folds)))
    made = []
    for of_folds in zip(*folds, strict=True):
        first, *others = of_folds
        table = sum((one.table for one in others), first.table)
        made.append(
            LearningRow(
                split=first.split,
                seed=seed,
                learnt=first.learnt,
                round=first.round,
                v_f1=_f1(*table.veb()),
                s_f1=_f1(*table.sveb()),
                down_bytes=max(one.down_bytes for one in of_folds),
                up_bytes=max(one.up_bytes for one in of_folds),
            )
        )
    return made


def _of_fold(records: Records, fold: int, seed: int, setup: Setup) -> Iterator[_Learnt]:
    networks = setup.networks
    held_out = {name: records[name][0] for name in DS1[fold::FOLDS]}
    known = {name: parts for name, parts in records.items() if name not in held_out}
    central = _told(_trained(known, seed, networks), held_out)
    for split, groups in SPLITS.items():
        own = [{name: known[name] for name in group if name in known} for group in groups]
        yield _Learnt(split, "in one place", 0, central)
        for name, part in zip(_SITES, own, strict=True):
            yield _Learnt(split, f"at the {name} site", 0, _told(_trained(part, seed, networks), held_out))
        sites = {name: site_from(part) for name, part in zip(_SITES, own, strict=True)}
        plan = Plan(rounds=setup.rounds, networks=networks, seed=seed)
        for number, (ensemble, down, up) in enumerate(_rounds(plan, sites), 1):
            yield _Learnt(split, "together", number, _told(ensemble, held_out), down, up)


def _rounds(plan: Plan, sites: Mapping[str, Site]) -> Iterator[tuple[Ensemble, int, int]]:
    """What is learnt after each round, and the bytes to a site and back."""
    coordinator = Coordinator(plan)
    while not coordinator.is_done:
        asked = coordinator.question
        question = msgspec.msgpack.encode(asked)
        answers = {name: answer_packed(site, question) for name, site in sites.items()}
        coordinator.receive(answers)
        if isinstance(asked, Learn):
            yield coordinator.ensemble(), len(question), max(map(len, answers.values()))


def _trained(records: Records, seed: int, networks: int) -> Ensemble:
    rows = ((name, part) for name, parts in records.items() for part in parts)
    return train(rows, seed=seed, networks=networks)


def _told(ensemble: Ensemble, held_out: Mapping[str, Rows]) -> BeatTable:
    first, *others = told_by(ensemble, held_out.values())
    return sum(others, first)


def _f1(found: int, missed: int, false: int) -> float:
    return round(200 * found / max(2 * found + missed + false, 1), 2)


def _of(found: Sequence[LearningRow], split: str, learnt: str, number: int = 0) -> list[LearningRow]:
    return [one for one in found if (one.split, one.learnt, one.round) == (split, learnt, number)]


def _figures(found: Sequence[LearningRow], rounds: int) -> Iterator[Row]:
    for split in SPLITS:
        case = f"three sites, {split}"
        central = _of(found, split, "in one place")
        together = _of(found, split, "together", rounds)
        for learnt, of in (
            ("in one place", central),
            (f"together, {rounds} rounds", together),
            *((f"at the {name} site", _of(found, split, f"at the {name} site")) for name in _SITES),
        ):
            for kind, name in (("v_f1", "V"), ("s_f1", "S")):
                mean = mean_of([getattr(one, kind) for one in of])
                yield row(case, f"{name} F1 {learnt}", "%", mean.value, within=mean.within)
        for kind, name in (("v_f1", "V"), ("s_f1", "S")):
            mean = mean_of(
                [getattr(a, kind) - getattr(b, kind) for a, b in zip(together, central, strict=True)]
            )
            yield row(
                case, f"{name} F1 together beyond in one place", "points", mean.value, within=mean.within
            )
        yield row(case, "to a site, a round", "B", together[0].down_bytes)
        yield row(case, "from a site, a round", "B", together[0].up_bytes)


def _lines(found: Sequence[LearningRow], split: str, count: int, colour: int) -> Iterator[dict[str, Line]]:
    """In one place and together, for each figure."""
    rounds = range(1, count + 1)
    for learnt in ("in one place", "together"):
        made = {}
        for kind in ("v_f1", "s_f1"):
            means = [
                mean_of([getattr(one, kind) for one in _of(found, split, learnt, number)])
                for number in (rounds if learnt == "together" else (0,) * count)
            ]
            made[kind] = Line(
                name=f"{learnt}, {split}" if learnt == "together" else learnt,
                x=list(rounds),
                y=[one.value for one in means],
                within=[one.within for one in means] if learnt == "together" else (),
                is_dashed=learnt != "together",
                colour=colour + (learnt == "together"),
            )
        if learnt == "together" or colour == 0:
            yield made


def _remarks(setup: Setup) -> tuple[str, ...]:
    few = setup.folds < FOLDS or setup.networks < NETWORKS
    return (
        f"First lead of the held-out records of DS1, {setup.folds} of {FOLDS} folds, {setup.networks} "
        f"perceptrons a head, {setup.seeds} seeds; DS2 was not opened.",
        "Made beats, from which the shipped model also learns, are left out everywhere.",
        *(("With fewer folds or perceptrons the figures are for a first look.",) if few else ()),
    )
