"""``einthoven train-rhythm``: the shipped rhythm scores, made again from the raw records."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console

from einthoven.cli.machine import machine
from einthoven.evaluation.report import Share
from einthoven.evaluation.windows import WindowScore
from einthoven.runtime.score_training import Fold, cross_validate, prepare_all, train
from einthoven.signal.scores import SCORES_FILE, SCORES_SHA256, pack_scores

__all__ = ["command"]

SCORES_VERSION = "1"


@click.command(name="train-rhythm")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder that holds mitdb/, cudb/, nsrdb/, nstdb/ and cinc2017/.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=SCORES_FILE,
    show_default=True,
    help="Where to write.",
)
@click.option(
    "--folds", type=click.IntRange(min=2, max=20), help="Cross-validate first, in so many folds of records."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(data: Path, out: Path, folds: int | None, as_json: bool) -> int:
    """Train the scores of ventricular and atrial fibrillation, deterministically."""
    began_s = time.perf_counter()
    console = Console(stderr=True, quiet=as_json)
    with console.status("Reading"):
        prepared = prepare_all(data)
    honest = None
    if folds:
        with console.status("Cross-validating"):
            honest = _honest(cross_validate(data, prepared, folds))
    with console.status("Training"):
        content = pack_scores(SCORES_VERSION, *train(data, prepared))
    out.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    figures = {
        "file": str(out),
        "bytes": len(content),
        "sha256": digest,
        "is_shipped": digest == SCORES_SHA256,
        "records": len(prepared),
        "cross_validation": honest,
        "elapsed_s": round(time.perf_counter() - began_s, 1),
        "machine": machine(),
    }
    if as_json:
        click.echo(json.dumps(figures))
        return 0
    same = "the shipped scores, bit for bit" if figures["is_shipped"] else "not the shipped scores"
    click.echo(
        f"{out}: {len(content):,} bytes from {len(prepared):,} records in {figures['elapsed_s']} s; {same}."
    )
    if honest:
        click.echo(json.dumps(honest, indent=2))
    return 0


def _honest(folds: list[Fold]) -> dict[str, Any]:
    """Figures on records that the fit had not seen, pooled over the folds; the spread over folds of F1."""
    windows, free = WindowScore(), WindowScore()
    for fold in folds:
        windows += fold.windows
        free += fold.free
    pooled = Share.of(*(sum(column) for column in list(zip(*folds, strict=True))[2:]))
    each = [Share.of(fold.found, fold.missed, fold.extra).f1 or 0.0 for fold in folds]
    return {
        "folds": len(folds),
        "cinc2017_af": {
            "se": _round(pooled.se),
            "ppv": _round(pooled.ppv),
            "f1": _round(pooled.f1),
            "f1_mean": _round(float(np.mean(each))),
            "f1_sd": _round(float(np.std(each))),
        },
        "cudb_vf_windows": {
            "se": _round(windows.sensitivity()),
            "sp": _round(windows.specificity()),
            "sp_without_minute_before": _round(windows.specificity(with_before=False)),
        },
        "mitdb_nsrdb_vf_windows": {"sp": _round(free.specificity())},
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
