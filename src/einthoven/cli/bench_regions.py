"""``einthoven bench regions``: what it costs to decide where, and to go there."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console
from rich.table import Table

from einthoven.cli.machine import machine
from einthoven.cli.offline import printed
from einthoven.errors import InputInvalid
from einthoven.version import __version__

if TYPE_CHECKING:
    from einthoven.experiments.regions import RegionCosts

__all__ = ["command"]


@click.command(name="regions")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(as_json: bool) -> None:
    """Time decisions among 16 regions, and the way of a 30-s segment to regions of each kind."""
    if find_spec("aiohttp") is None:
        raise InputInvalid(
            "aiohttp is not installed.", where="einthoven", remedy="pip install 'einthoven[delivery]'"
        )
    from einthoven.experiments.regions import bench_regions  # noqa: PLC0415 - an extra

    with Console(stderr=True).status("Starting") as status:
        costs = bench_regions(lambda what: status.update(f"Running: {what}"))
    if as_json:
        printed({**msgspec.to_builtins(costs), "machine": machine(), "version": __version__})
    else:
        _print(costs)


def _print(costs: "RegionCosts") -> None:
    console = Console()
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("policy")
    table.add_column("µs a decision", justify="right")
    for decision in costs.decisions:
        table.add_row(decision.policy, f"{decision.us:.1f}")
    console.print(table)
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for heading in ("region", "encoding", "p50 ms", "p99 ms", "beyond the function, ms"):
        table.add_column(heading, justify="left" if heading in ("region", "encoding") else "right")
    for way in costs.ways:
        table.add_row(
            way.kind, way.encoding, f"{way.p50_ms:.2f}", f"{way.p99_ms:.2f}", f"[bold]{way.over_ms:.2f}[/]"
        )
    console.print(table)
