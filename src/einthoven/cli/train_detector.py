"""``einthoven train-detector``: the shipped networks of beat detection, made again from the raw records."""

import hashlib
import json
import time
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.progress import track

from einthoven.cli.machine import machine
from einthoven.runtime.detection import RENDERINGS, train_judges
from einthoven.runtime.training import DS1
from einthoven.signal.beats import JUDGES_FILE, JUDGES_SHA256, pack_judges

__all__ = ["command"]

JUDGES_VERSION: Final = "1"


@click.command(name="train-detector")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder that holds mitdb/ and nstdb/.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=JUDGES_FILE,
    show_default=True,
    help="Where to write.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(data: Path, out: Path, as_json: bool) -> int:
    """Train the beat detector on DS1 with noise, deterministically; two minutes, 1.5 GB of memory."""
    began_s = time.perf_counter()
    names = track(
        DS1, "Reading, then training", console=Console(stderr=True), transient=True, disable=as_json
    )
    content = pack_judges(train_judges(data, JUDGES_VERSION, names))
    out.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    figures = {
        "file": str(out),
        "bytes": len(content),
        "sha256": digest,
        "is_shipped": digest == JUDGES_SHA256,
        "records": DS1,
        "renderings": len(RENDERINGS),
        "elapsed_s": round(time.perf_counter() - began_s, 1),
        "machine": machine(),
    }
    if as_json:
        click.echo(json.dumps(figures))
        return 0
    same = "the shipped networks, bit for bit" if figures["is_shipped"] else "not the shipped networks"
    click.echo(f"{out}: {len(content):,} bytes from {len(DS1)} records in {figures['elapsed_s']} s; {same}.")
    return 0
