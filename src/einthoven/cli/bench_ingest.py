"""``einthoven bench ingest``: segments a second, accepted, analysed and on disk."""

import json
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from einthoven.cli.machine import machine, workers_here
from einthoven.experiments.ingest import (
    AlertRun,
    IngestRun,
    PeerRun,
    Plan,
    bench_alerts,
    bench_ingest,
    bench_peer,
)
from einthoven.version import __version__

__all__ = ["command"]


@click.command(name="ingest")
@click.option("--seconds", type=click.FloatRange(2), default=20.0, show_default=True, help="Of each run.")
@click.option("--workers", type=click.IntRange(0), default=0, help="Of the service.  [default: processors]")
@click.option(
    "--rate", type=click.FloatRange(1), default=1000.0, show_default=True,
    help="Segments a second of the run below saturation.",
)  # fmt: skip
@click.option("--peer/--no-peer", default=True, help="The plain service too, where it is installed.")
@click.option(
    "--long", "is_long", is_flag=True,
    help="Also 10,000 patients at 333/s for five minutes, with ten times as many for ten seconds.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(seconds: float, workers: int, rate: float, peer: bool, is_long: bool, as_json: bool) -> int:
    """Start the service and the generator on this machine, and count what is on disk afterwards."""
    workers = workers or workers_here()
    plans = [
        Plan("json", 1, None, seconds),
        Plan("msgpack", 1, None, seconds),
        Plan("msgpack", 16, None, seconds, connections=64),
        Plan("json", 1, rate, seconds),
    ]
    if is_long:
        plans.append(Plan("json", 1, 1000 / 3, 300.0, patients=10_000))
        plans.append(Plan("json", 1, 1000 / 3, 60.0, patients=10_000, burst=True))
    console = Console(stderr=True)
    with console.status("Starting") as status:
        runs = bench_ingest(plans, workers, lambda what: status.update(f"Running: {what}"))
        status.update("Running: webhooks of alerts at half load")
        half = runs[0].durable_per_s / 2
        alerts = bench_alerts(half, seconds, workers)
        status.update("Running: the plain service")
        other = bench_peer(seconds, workers, runs[0].durable_per_s) if peer else None
    if as_json:
        figures: dict[str, Any] = {
            "runs": [msgspec.to_builtins(run) for run in runs],
            "alerts": msgspec.to_builtins(alerts),
            "peer": None if other is None else msgspec.to_builtins(other),
            "workers": workers,
            "machine": machine(),
            "version": __version__,
        }
        click.echo(json.dumps(figures))
    else:
        _print(runs, alerts, other, workers)
    return int(any(run.lost for run in runs))


def _print(runs: list[IngestRun], alerts: AlertRun, peer: PeerRun | None, workers: int) -> None:
    console = Console()
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for heading in (
        "Encoding",
        "batch",
        "offered/s",
        "on disk/s",
        "lost",
        "p50 ms",
        "p99 ms",
        "CPU µs",
        "CPU",
    ):
        table.add_column(heading, justify="left" if heading == "Encoding" else "right")
    for run in runs:
        table.add_row(
            run.encoding,
            str(run.batch),
            "as answered" if run.mode == "closed" else f"{run.offered_per_s:,.0f}",
            f"[bold]{run.durable_per_s:,.0f}[/]",
            f"[green]{run.lost}[/]" if run.lost == 0 else f"[red]{run.lost}[/]",
            f"{run.p50_ms:.1f}",
            f"{run.p99_ms:.1f}",
            f"{run.cpu_us_per_segment:.0f} + {run.generator_us_per_segment:.0f}",
            f"{100 * run.cpu_share:.0f} %",
        )
    console.print(f"{workers} workers, generator on the same machine; CPU of service + generator a segment")
    console.print(table)
    for run in runs:
        if run.recovered_s is not None:
            console.print(f"After a burst of ten times the load latency was back in {run.recovered_s:.0f} s.")
    if alerts.p99_ms is not None:
        console.print(
            f"Alerts at {alerts.offered_per_s:,.0f}/s: from arrival to the webhook p50 {alerts.p50_ms} ms, "
            f"[bold]p99 {alerts.p99_ms} ms[/] ({alerts.alerts} alerts)"
        )
    if peer is not None and peer.per_s is not None:
        console.print(f"{peer.name}: {peer.per_s:,.0f}/s; ours is [bold]{peer.ratio:g} times[/] as many")
    elif peer is not None:
        console.print(f"[dim]{peer.name}: {peer.reason}[/]")
