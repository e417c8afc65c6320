"""``einthoven train``: the shipped beat classifier, made again from the raw records."""

import hashlib
import json
import time
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.progress import track

from einthoven.cli.machine import machine
from einthoven.errors import RecordingNotFound
from einthoven.runtime.training import DS1, VARIANTS, training_rows
from einthoven.signal.classes import MODEL_FILE, MODEL_SHA256, pack_model
from einthoven.signal.learning import CLASSES, fit

__all__ = ["command"]

MODEL_VERSION = "1"


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
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(data: Path, out: Path, as_json: bool) -> int:
    """Train the beat classifier on DS1, deterministically."""
    folder = data / "mitdb"
    if not folder.is_dir():
        raise RecordingNotFound(
            "there is no such folder.", where=str(folder), remedy="Give --data its parent."
        )
    began_s = time.perf_counter()
    console = Console(stderr=True)
    todo = [(name, variant) for name in DS1 for variant in VARIANTS]
    rows = [
        training_rows(folder, name, variant)
        for name, variant in track(todo, "Reading", console=console, transient=True, disable=as_json)
    ]
    features = np.concatenate([row.features for row in rows])
    labels = np.concatenate([row.labels for row in rows])
    with console.status("Training"):
        content = pack_model(fit(features, labels), MODEL_VERSION)
    out.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    counts = np.bincount(labels, minlength=len(CLASSES)).tolist()
    figures = {
        "file": str(out),
        "bytes": len(content),
        "sha256": digest,
        "is_shipped": digest == MODEL_SHA256,
        "records": DS1,
        "rows": dict(zip(CLASSES, counts, strict=True)),
        "elapsed_s": round(time.perf_counter() - began_s, 1),
        "machine": machine(),
    }
    if as_json:
        click.echo(json.dumps(figures))
    else:
        same = "the shipped model, bit for bit" if figures["is_shipped"] else "not the shipped model"
        click.echo(
            f"{out}: {len(content):,} bytes from {len(labels):,} beats in {figures['elapsed_s']} s; {same}."
        )
    return 0
