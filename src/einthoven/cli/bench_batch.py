"""``einthoven bench batch``: the batch workflow, by length of the recording, chunks and workers."""

from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from einthoven.cli.machine import machine, workers_here
from einthoven.cli.offline import printed
from einthoven.experiments.batch import BatchPlan, BatchRun, InvocationCost, bench_batch, bench_invocations
from einthoven.experiments.peers import PeerRun, bench_peers
from einthoven.version import __version__

__all__ = ["command"]


@click.command(name="batch")
@click.option(
    "--hours",
    type=click.FloatRange(0.1, 240),
    multiple=True,
    default=(1.0, 2.0, 12.0, 24.0),
    show_default=True,
    help="Length of the recording; may be repeated.",
)
@click.option(
    "--chunk",
    "chunks_min",
    type=click.FloatRange(1, 1440),
    multiple=True,
    default=(60.0,),
    show_default=True,
    help="Minutes of a chunk; may be repeated.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    multiple=True,
    help="Processes.  [default: 1 and one a processor]",
)
@click.option("--unfused", is_flag=True, help="Also without fusion: every function an invocation of its own.")
@click.option(
    "--peers",
    is_flag=True,
    help="Also Lithops and plain Ray tasks, where installed, on the longest recording in 24 chunks.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(
    hours: tuple[float, ...],
    chunks_min: tuple[float, ...],
    workers: tuple[int, ...],
    unfused: bool,
    peers: bool,
    as_json: bool,
) -> int:
    """Run the batch workflow on a virtual patient's hours, everything journaled, and compare with the whole.

    Leaves with 1 where a result is not that of the unsplit recording.
    """
    counts = workers or tuple(sorted({1, workers_here()}))
    plans = [
        BatchPlan(one, count, chunk, is_fused)
        for one in hours
        for count in counts
        for chunk in chunks_min
        for is_fused in ((True, False) if unfused else (True,))
    ]
    with Console(stderr=True).status("Starting") as status:
        beside = (
            bench_peers(max(hours), max(counts), lambda what: status.update(f"Peers: {what}"))
            if peers
            else []
        )
        runs = bench_batch(plans, lambda what: status.update(f"Running: {what}"))
        status.update("Running: invocations of nothing")
        cost = bench_invocations()
    if as_json:
        figures: dict[str, Any] = {
            "runs": [msgspec.to_builtins(run) for run in runs],
            "invocation_us": msgspec.to_builtins(cost),
            "machine": machine(),
            "version": __version__,
        }
        if peers:
            figures["peers"] = [msgspec.to_builtins(one) for one in beside]
        printed(figures)
    else:
        _print(runs, cost)
        if peers:
            _print_peers(beside)
    return int(not all(run.identical for run in runs))


def _print(runs: list[BatchRun], cost: InvocationCost) -> None:
    console = Console()
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for heading in ("h", "chunk", "on", "calls", "s", "article", "speed-up", "eff.", "min/s", "exact"):
        table.add_column(heading, justify="right")
    for run in runs:
        table.add_row(
            f"{run.hours:g}",
            f"{run.chunk_min:g}",
            str(run.workers),
            f"{run.invocations}{'' if run.is_fused else ' apart'}",
            f"[bold]{run.makespan_s:.3f}[/]",
            "" if run.article_s is None else f"{run.article_s:.2f}",
            "" if run.speedup is None else f"{run.speedup:.2f}",
            "" if run.efficiency is None else f"{100 * run.efficiency:.0f} %",
            f"{run.ecg_min_per_s:,.0f}",
            "[green]yes[/]" if run.identical else "[red]no[/]",
        )
    console.print("Hours of ECG, minutes of a chunk, workers, invocations; makespan in s, and the article's.")
    console.print(table)
    console.print(
        f"An invocation that does nothing costs {cost.plain:.0f} µs, journaled {cost.journaled:.0f} µs. "
        "The article's makespans are of a public cloud with an instance for each hour."
    )


def _print_peers(runs: list[PeerRun]) -> None:
    console = Console()
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("program")
    for heading in ("version", "s", "ours ÷ its", "the same"):
        table.add_column(heading, justify="right")
    for run in runs:
        if run.makespan_s is None:
            table.add_row(run.name, run.version or "", f"[yellow]{run.reason}[/]", "", "")
            continue
        same = "[green]yes[/]" if run.identical else "[red]no[/]"
        table.add_row(run.name, run.version, f"[bold]{run.makespan_s:.3f}[/]", f"{run.ratio:.3f}", same)
    console.print(
        "The longest recording in 24 chunks, the same functions on as many processes; medians of five."
    )
    console.print(table)
