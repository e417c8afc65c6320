"""The card of the beat classifier: what it was made from, and how well it tells beats that it never saw.

A card is a value made of counts; its page is printed from it. Nothing in it is written by hand, so that a
figure cannot outlive the model that it was measured on.
"""

import statistics
from typing import Final

import msgspec

from einthoven.evaluation.beats import BeatTable
from einthoven.runtime.training import DS1, FOLDS, VARIANTS, Tables
from einthoven.signal.learning import BATCH, CLASSES, NETWORKS, RHYTHM_FEATURES
from einthoven.signal.morphology import SHAPE_FEATURES

__all__ = ["LeadFigures", "ModelCard", "RecordFigures", "Spread", "card_of", "page"]

LEADS: Final = ("first lead", "second lead")


class Spread(msgspec.Struct, frozen=True):
    """A figure in per cent over the seeds."""

    mean: float
    deviation: float
    """Standard deviation between seeds."""
    least: float
    most: float


class LeadFigures(msgspec.Struct, frozen=True):
    """One lead, counts of all held-out records pooled."""

    v_sensitivity: Spread
    v_predictivity: Spread
    v_f1: Spread
    v_f1_plain: Spread
    """The same where F called V is an error too."""
    s_sensitivity: Spread
    s_predictivity: Spread
    s_f1: Spread
    accuracy: Spread


class RecordFigures(msgspec.Struct, frozen=True):
    """One record on one lead, counts as means over the seeds: found, missed, false."""

    record: str
    v: tuple[float, float, float]
    s: tuple[float, float, float]


class ModelCard(msgspec.Struct, frozen=True):
    """What is known of one version of the classifier."""

    version: str
    sha256: str
    bytes: int
    rows: dict[str, int]
    """Training beats by class, all variants together."""
    made: dict[str, int]
    """Beats of made recordings by class, from which the rhythm head also learns."""
    seeds: int
    networks: int
    leads: tuple[LeadFigures, ...]
    other_folds: tuple[LeadFigures, ...]
    """The same where each seed has folds of its own, drawn at random."""
    records: tuple[tuple[RecordFigures, ...], ...]
    """Per lead."""


def card_of(
    version: str,
    sha256: str,
    size: int,
    rows: dict[str, int],
    made: dict[str, int],
    runs: list[Tables],
    others: list[Tables],
) -> ModelCard:
    """The card of a model file with this digest, from the cross-validation of its recipe.

    One run a seed in ``runs``, the folds always the same, and in ``others``, other folds for each seed.
    """
    leads = range(len(LEADS))
    return ModelCard(
        version=version,
        sha256=sha256,
        bytes=size,
        rows=rows,
        made=made,
        seeds=len(runs),
        networks=NETWORKS,
        leads=tuple(_lead([_pooled(tables, lead) for tables in runs]) for lead in leads),
        other_folds=tuple(_lead([_pooled(tables, lead) for tables in others]) for lead in leads),
        records=tuple(
            tuple(_record(name, [tables[name][lead] for tables in runs]) for name in runs[0])
            for lead in leads
        ),
    )


def _pooled(tables: Tables, lead: int) -> BeatTable:
    first, *others = (of_record[lead] for of_record in tables.values())
    return sum(others, first)


def _record(name: str, tables: list[BeatTable]) -> RecordFigures:
    def means(triples: list[tuple[int, int, int]]) -> tuple[float, float, float]:
        found, missed, false = (round(statistics.fmean(column), 1) for column in zip(*triples, strict=True))
        return found, missed, false

    return RecordFigures(name, means([t.veb() for t in tables]), means([t.sveb() for t in tables]))


def _lead(tables: list[BeatTable]) -> LeadFigures:
    v, s = [table.veb() for table in tables], [table.sveb() for table in tables]
    plain = [
        (found, missed, false + int(table.counts[CLASSES.index("F"), CLASSES.index("V")]))
        for table, (found, missed, false) in zip(tables, v, strict=True)
    ]
    right = [100 * int(table.counts.trace()) / int(table.counts.sum()) for table in tables]
    return LeadFigures(
        v_sensitivity=_spread([_share(found, missed) for found, missed, _ in v]),
        v_predictivity=_spread([_share(found, false) for found, _, false in v]),
        v_f1=_spread([_f1(*triple) for triple in v]),
        v_f1_plain=_spread([_f1(*triple) for triple in plain]),
        s_sensitivity=_spread([_share(found, missed) for found, missed, _ in s]),
        s_predictivity=_spread([_share(found, false) for found, _, false in s]),
        s_f1=_spread([_f1(*triple) for triple in s]),
        accuracy=_spread(right),
    )


def _share(right: int, wrong: int) -> float:
    return 100 * right / max(right + wrong, 1)


def _f1(found: int, missed: int, false: int) -> float:
    return 200 * found / max(2 * found + missed + false, 1)


def _spread(values: list[float]) -> Spread:
    return Spread(
        mean=round(statistics.fmean(values), 2),
        deviation=round(statistics.pstdev(values), 2),
        least=round(min(values), 2),
        most=round(max(values), 2),
    )


def page(card: ModelCard) -> str:
    """The card as Markdown."""
    return "\n".join([*_head(card), *_figures(card), *_per_record(card), *_limits()])


def _head(card: ModelCard) -> list[str]:
    beats, made = (
        ", ".join(f"{kind} {count:,}" for kind, count in rows.items()) for rows in (card.rows, card.made)
    )
    return [
        "# Beat classifier",
        "",
        "Generated by `einthoven train --data DIR --card FILE`; the same figures lie beside it as JSON. "
        "Not a medical device.",
        "",
        "| | |",
        "|---|---|",
        f"| version | {card.version} |",
        f"| SHA-256 | `{card.sha256}` |",
        f"| size | {card.bytes:,} bytes, MessagePack, no code |",
        "| task | class N, S, V or F of each beat of one lead (AAMI classes, de Chazal's map: `e` "
        "and `j` are N) |",
        f"| shape head | {card.networks} perceptrons {len(SHAPE_FEATURES)}-16-3: neither, V, F |",
        f"| rhythm head | {card.networks} perceptrons {len(RHYTHM_FEATURES)}-24-2: N, S, for what "
        f"is neither |",
        "| data | MIT-BIH Arrhythmia Database, PhysioNet, ODC-By 1.0 "
        "(Moody and Mark, IEEE Eng. Med. Biol. 20(3), 2001; Goldberger et al., Circulation 101(23), 2000) |",
        f"| records | the {len(DS1)} of DS1 (de Chazal's design half): {' '.join(DS1)} |",
        f"| rows | {beats}; {len(VARIANTS)} readings of each record (both leads, displaced, 90 and "
        f"110 % tempo) |",
        f"| made rows | {made}: beats of DS1 on other rhythms, and virtual patients; for the rhythm head, a "
        f"tenth of the weight |",
        f"| recipe | AdamW, batches of {BATCH}; see `signal/learning.py`. The same bytes on every machine |",
        "",
    ]


def _figures(card: ModelCard) -> list[str]:
    lines = [
        "## Patients it never saw",
        "",
        f"DS1, {FOLDS} folds by record, {card.seeds} seeds, at the annotated positions, whole records, "
        "counts of all held-out records pooled; per cent, mean ± standard deviation over seeds "
        "(least to most). Counted as EC57's `bxb` counts: F called V is neither right nor wrong; "
        "*plain* counts it as wrong.",
        "",
        f"| | {' | '.join(LEADS)} |",
        "|---|" + "---|" * len(LEADS),
    ]
    named = {
        "V sensitivity": "v_sensitivity",
        "V predictivity": "v_predictivity",
        "**V F1**": "v_f1",
        "V F1, plain": "v_f1_plain",
        "S sensitivity": "s_sensitivity",
        "S predictivity": "s_predictivity",
        "**S F1**": "s_f1",
        "accuracy, four classes": "accuracy",
    }
    for title, field in named.items():
        cells = [_cell(getattr(lead, field)) for lead in card.leads]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return [
        *lines,
        "",
        "The features were chosen on these folds. With other folds, drawn at random for each seed:",
        "",
        f"| | {' | '.join(LEADS)} |",
        "|---|" + "---|" * len(LEADS),
        *(
            f"| {title} | {' | '.join(_cell(getattr(lead, field)) for lead in card.other_folds)} |"
            for title, field in (("V F1", "v_f1"), ("S F1", "s_f1"))
        ),
        "",
    ]


def _cell(spread: Spread) -> str:
    return f"{spread.mean:.1f} ± {spread.deviation:.1f} ({spread.least:.1f} to {spread.most:.1f})"


def _per_record(card: ModelCard) -> list[str]:
    lines = [
        "### By record",
        "",
        "Found / missed / false, means over the seeds.",
        "",
        "| record | V, first | V, second | S, first | S, second |",
        "|---|---|---|---|---|",
    ]
    for of_leads in zip(*card.records, strict=True):
        cells = [" / ".join(f"{n:.0f}" for n in row.v) for row in of_leads]
        cells += [" / ".join(f"{n:.0f}" for n in row.s) for row in of_leads]
        lines.append(f"| {of_leads[0].record} | {' | '.join(cells)} |")
    return [*lines, ""]


def _limits() -> list[str]:
    return [
        "## Limits",
        "",
        "- Twenty-two adult patients on 1970s Holter tape, chosen for their arrhythmias. The recipe "
        "itself was "
        "chosen by these folds, so expect less elsewhere.",
        "- F is learnt from 415 beats, nearly all of one record: do not rely on it.",
        "- S is told by intervals and the P wave. A supraventricular beat that is not early, or "
        "whose shape is aberrant, is "
        "missed (records 124 and 201); an early normal beat of an irregular sinus rhythm may be called S.",
        "- Where conduction changes (2:1 and 1:1), after sinus pauses, and in fast regular flutter, ordinary "
        "beats are still called S; where every P wave looks alike, dense atrial ectopy is missed. What was "
        "made to teach these is not what patients have: it is a substitute for records that are lacking.",
        "- In fibrillation of the atria S means nothing; the irregularity of the last minutes "
        "suppresses most.",
        "- Figures are at annotated positions; end to end, missed and invented beats count too.",
        "- Paced rhythm was not trained on. Class Q is not told here.",
        "- DS2, the test half, is scored once for each release and logged in "
        "[releases/ds2.md](releases/ds2.md).",
        "",
    ]
