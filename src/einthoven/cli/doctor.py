"""``einthoven doctor``: can this machine run Einthoven, and how fast."""

import json
import shutil
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from einthoven.cli.machine import machine
from einthoven.cli.setting_flags import resolved, with_settings
from einthoven.functions import Ecg, analyse
from einthoven.runtime.kernels import kernels_are_cached, warm_kernels
from einthoven.server.checkup import check_service
from einthoven.signal.classes import load_model
from einthoven.version import __version__

__all__ = ["command"]

EXIT_PEER = 3


@click.command(name="doctor")
@with_settings("host", "port", "data_folder", "database", "objects")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(as_json: bool, **flags: Any) -> int:
    """Check kernels, model, disk and speed of this machine, and what the service stands on.

    Exit code 3 if a part of the service cannot be had.
    """
    was_cached = kernels_are_cached()
    if not was_cached and not as_json:
        click.echo("Compiling kernels once; this takes some seconds.", err=True)
    began_s = time.perf_counter()
    warm_kernels()
    loading_s = time.perf_counter() - began_s
    free_gb = shutil.disk_usage(Path(tempfile.gettempdir())).free / 2**30
    figures: dict[str, Any] = {
        "version": __version__,
        "machine": machine(),
        "kernels": {"were_cached": was_cached, "loading_s": round(loading_s, 2)},
        "beat_model": load_model().version,
        "segment_us": round(_segment_us()),
        "free_disk_gb": round(free_gb, 1),
        "libraries": {
            name: metadata.version(name) for name in ("numpy", "numba", "msgspec", "click", "rich")
        },
    }
    checks = check_service(resolved(flags).settings)
    figures["service"] = [msgspec.to_builtins(check) for check in checks]
    code = 0 if all(check.is_well for check in checks) else EXIT_PEER
    if as_json:
        click.echo(json.dumps(figures))
        return code
    table = Table.grid(padding=(0, 3))
    table.add_row("Einthoven", __version__)
    table.add_row("Machine", "{cores} processors, {processor}, Python {python}".format(**figures["machine"]))
    cached = "from cache" if was_cached else "compiled now"
    table.add_row("Kernels", f"[green]ready[/] in {loading_s:.1f} s ({cached})")
    table.add_row("Beat model", f"[green]intact[/], version {figures['beat_model']}")
    table.add_row(
        "One segment", f"{figures['segment_us']} µs for 30 s of ECG, all four functions, one processor"
    )
    table.add_row("Disk", f"{free_gb:.0f} GB free for temporary files")
    for check in checks:
        told = f"[green]{check.detail}[/]" if check.is_well else f"[red]{check.detail}[/] {check.remedy}"
        table.add_row(f"Service: {check.name}", told)
    Console().print(table)
    return code


def _segment_us() -> float:
    """Median time of the four functions over one 30-s segment, noise and all, in a running stream."""
    rng = np.random.default_rng(1)
    state = None
    spent_us = []
    for number in range(40):
        samples = np.rint(6 * rng.standard_normal(3750)).astype(np.int32)
        samples[50::100] += 250
        began_s = time.perf_counter()
        _, state = analyse(Ecg(first=3750 * number, is_last=False, samples=samples), state)
        spent_us.append(1e6 * (time.perf_counter() - began_s))
    return float(np.median(spent_us))
