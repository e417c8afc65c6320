"""``einthoven train``: the shipped beat classifier, made again from the raw records, and its card."""

import hashlib
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click
import msgspec
import numpy as np
from rich.console import Console
from rich.progress import Progress, track

from einthoven.cli.machine import machine
from einthoven.cli.made import real_on_other_rhythms, virtual
from einthoven.errors import RecordingNotFound
from einthoven.runtime.model_card import ModelCard, card_of, page
from einthoven.runtime.training import (
    DS1,
    FOLDS,
    VARIANTS,
    MadeRows,
    Rows,
    Variant,
    cross_validate,
    train,
    training_rows,
    with_other_folds,
)
from einthoven.signal.classes import MODEL_FILE, MODEL_SHA256, pack_model
from einthoven.signal.learning import CLASSES

__all__ = ["command"]

MODEL_VERSION: Final = "3"
VIRTUAL_PATIENTS: Final = 10
"""Of each lesson."""
SEEDS: Final = 5
"""Seeds of the cross-validation."""


@click.command(name="train")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder that holds mitdb/ with the MIT-BIH Arrhythmia records.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=MODEL_FILE,
    show_default=True,
    help="Where to write.",
)
@click.option(
    "--cross-validate", "validates", is_flag=True, help="Also score the recipe on held-out records of DS1."
)
@click.option(
    "--card",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Cross-validate, and write the model card: Markdown here, JSON beside it.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(data: Path, out: Path, validates: bool, card: Path | None, as_json: bool) -> int:
    """Train the beat classifier on DS1, its beats on other rhythms, and virtual patients.

    The same bytes on every machine.
    """
    folder = data / "mitdb"
    if not folder.is_dir():
        raise RecordingNotFound(
            "there is no such folder.", where=str(folder), remedy="Give --data its parent."
        )
    began_s = time.perf_counter()
    console = Console(stderr=True)
    todo = [(name, variant) for name in DS1 for variant in VARIANTS]
    rows = {
        (name, variant): training_rows(folder, name, variant)
        for name, variant in track(todo, "Reading", console=console, transient=True, disable=as_json)
    }
    with console.status("Making"):
        made = {**real_on_other_rhythms(folder, seed=0, names=DS1), **virtual(seeds=range(VIRTUAL_PATIENTS))}
    with console.status("Training"):
        content = pack_model(
            train(((name, part) for (name, _), part in rows.items()), made.values()), MODEL_VERSION
        )
    out.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    by_class, made_by_class = _by_class(rows.values()), _by_class(made.values())
    figures: dict[str, object] = {
        "file": str(out),
        "bytes": len(content),
        "sha256": digest,
        "is_shipped": digest == MODEL_SHA256,
        "records": DS1,
        "rows": by_class,
        "made": made_by_class,
    }
    validated = None
    if validates or card is not None:
        validated = _validated(
            rows, made, console, digest, len(content), (by_class, made_by_class), is_quiet=as_json
        )
        figures["cross_validation"] = msgspec.to_builtins(validated.leads)
    if validated is not None and card is not None:
        card.write_text(page(validated), encoding="utf-8")
        card.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(validated)) + b"\n")
        figures["card"] = str(card)
    figures |= {"elapsed_s": round(time.perf_counter() - began_s, 1), "machine": machine()}
    if as_json:
        click.echo(json.dumps(figures))
        return 0
    same = "the shipped model, bit for bit" if figures["is_shipped"] else "not the shipped model"
    click.echo(
        f"{out}: {len(content):,} bytes from {sum(by_class.values()):,} rows and "
        f"{sum(made_by_class.values()):,} made ones in {figures['elapsed_s']} s; {same}."
    )
    for lead, of_lead in enumerate(validated.leads if validated else ()):
        v, s = of_lead.v_f1, of_lead.s_f1
        click.echo(
            f"lead {lead}, held-out records of DS1: V F1 {v.mean:.1f} ± {v.deviation:.1f} %, "
            f"S F1 {s.mean:.1f} ± {s.deviation:.1f} %."
        )
    return 0


def _validated(
    rows: dict[tuple[str, Variant], Rows],
    made: MadeRows,
    console: Console,
    digest: str,
    size: int,
    by_class: tuple[dict[str, int], dict[str, int]],
    *,
    is_quiet: bool,
) -> ModelCard:
    with Progress(console=console, transient=True, disable=is_quiet) as progress:
        task = progress.add_task("Cross-validating", total=2 * SEEDS * FOLDS)
        runs = list(cross_validate(rows, made, seeds=range(SEEDS), done=lambda: progress.advance(task)))
        others = [
            tables
            for seed in range(SEEDS)
            for tables in cross_validate(
                with_other_folds(rows, seed), made, seeds=[seed], done=lambda: progress.advance(task)
            )
        ]
    return card_of(MODEL_VERSION, digest, size, *by_class, runs, others)


def _by_class(parts: Iterable[Rows]) -> dict[str, int]:
    counts = sum(np.bincount(part.labels, minlength=len(CLASSES)) for part in parts)
    return dict(zip(CLASSES, np.asarray(counts).tolist(), strict=True))
