"""``einthoven plan bench``: the planner beside the baselines and the optimum, and how long it takes."""

from typing import Final

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from einthoven.cli.machine import machine
from einthoven.cli.offline import printed
from einthoven.experiments.planning import PlanFigures, Sizes, bench_plan
from einthoven.version import __version__

__all__ = ["command"]

_QUICK: Final = Sizes(requests=(20, 40), loads=(20,), arrivals=400, many=60, many_stations=5)


@click.command(name="bench")
@click.option(
    "--seeds", type=click.IntRange(1, 100), default=12, show_default=True, help="Draws of each size."
)
@click.option(
    "--exact-most", type=click.IntRange(0, 300), default=120, show_default=True,
    help="Requests up to which the optimum is sought; it takes seconds a draw.",
)  # fmt: skip
@click.option("--quick", is_flag=True, help="Small sizes only: a look, no figures.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(seeds: int, exact_most: int, quick: bool, as_json: bool) -> None:
    """Measure acceptance at three base stations, of sessions that come and go, and how long planning takes.

    Minutes. HRA is a reconstruction.
    """
    with Progress(
        TextColumn("{task.description:<44}"),
        BarColumn(),
        TextColumn("{task.completed:>3.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task("", total=100)
        figures = bench_plan(
            seeds,
            exact_most,
            lambda what, done: progress.update(task, description=what, completed=done),
            sizes=_QUICK if quick else Sizes(),
        )
    if as_json:
        printed({**msgspec.to_builtins(figures), "machine": machine(), "version": __version__})
    else:
        _print(figures)


def _print(figures: PlanFigures) -> None:
    console = Console()
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for heading in ("requests", "fcfs", "edge first", "cloud only", "HRA", "ours", "optimum", "bound"):
        table.add_column(heading, justify="right")
    for one in figures.rows:
        optimum = "" if one.exact is None else f"{one.exact:.1f}"
        if one.exact is not None and one.exact_proven < one.seeds:
            optimum += f" ({one.exact_proven} of {one.seeds} proven)"
        cells = (one.fcfs, one.edge_first, one.cloud_only, one.hra)
        table.add_row(
            str(one.n),
            *(f"{cell:.1f}" for cell in cells),
            f"[bold]{one.ours:.1f}[/]",
            optimum,
            f"{one.bound:.1f}",
        )
    console.print("Accepted, %; means over seeds. HRA is a reconstruction.")
    console.print(table)
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for heading in ("sessions offered at one time", "shares never changed", "ours"):
        table.add_column(heading, justify="right")
    for run in figures.online:
        table.add_row(str(run.load), f"{run.fcfs:.1f}", f"[bold]{run.ours:.1f}[/]")
    console.print(table)
    times = figures.time_s
    console.print(
        f"300 requests take {times.n300:.2f} s, an arrival among a hundred sessions {times.online_ms:.2f} "
        f"ms, {times.many_requests:,} requests at {times.many_sites} sites {times.n10000:.1f} s."
    )
