"""``einthoven bench views``: how fast the serving layer answers, and what views cost."""

import click
import msgspec
from rich.console import Console
from rich.table import Table

from einthoven.cli.machine import machine
from einthoven.cli.offline import printed
from einthoven.experiments.views import ViewCosts, bench_views
from einthoven.version import __version__

__all__ = ["command"]


@click.command(name="views")
@click.option("--days", type=click.IntRange(30, 3660), default=365, show_default=True, help="Of one patient.")
@click.option(
    "--asked", type=click.IntRange(1, 100_000), default=200, show_default=True, help="Times, each question."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(days: int, asked: int, as_json: bool) -> None:
    """Ask a service for views of a patient with a year of ECG, over HTTP, and time the answers."""
    with Console(stderr=True).status("Starting") as status:
        costs = bench_views(days, asked, lambda what: status.update(f"Running: {what}"))
    if as_json:
        printed({**msgspec.to_builtins(costs), "machine": machine(), "version": __version__})
    else:
        _print(costs)


def _print(costs: ViewCosts) -> None:
    console = Console()
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for heading in ("question", "kB", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="left" if heading == "question" else "right")
    for one in costs.questions:
        table.add_row(one.name, f"{one.bytes / 1000:,.0f}", f"{one.p50_ms:.1f}", f"[bold]{one.p99_ms:.1f}[/]")
    console.print(f"A patient with {costs.days} days of ECG; each question {costs.questions[0].asked} times.")
    console.print(table)
    console.print(
        f"A day of views is made anew in {costs.batch_s_per_day:.2f} s; what comes is taken in at "
        f"{costs.refresh_ms_per_segment:.2f} ms a segment. A day takes {costs.row_bytes / 1000:.0f} kB in "
        f"the database and {costs.beat_bytes / 1000:.0f} kB in the object store."
    )
