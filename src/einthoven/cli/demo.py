"""``einthoven demo``: virtual patients stream to the service in this process; watch."""

import json
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from einthoven.alerts import MARKS, Alert, Change
from einthoven.cli.drawing import braille
from einthoven.cli.machine import machine
from einthoven.clock import SystemClock
from einthoven.notice import SHORT_NOTICE
from einthoven.records import open_recording
from einthoven.runtime.kernels import kernels_are_cached, warm_kernels
from einthoven.runtime.streaming import Analysed, Player, StreamSummary
from einthoven.signal.recording import RecordingSource
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.version import __version__

__all__ = ["command", "event"]

WARD: Final = ("vt_to_vf", "atrial_fibrillation", "pauses", "noise_only", "healthy", "ectopy", "lead_off")
"""Scenes of the demonstration, one patient each."""
_STRIP_S: Final = 6.0
_COLOURS: Final = {
    "high": "bold white on red",
    "medium": "black on yellow",
    "low": "bold cyan",
    "technical": "magenta",
}
_MARKS: Final = {str(priority): mark for priority, mark in MARKS.items()} | {"technical": "(t)"}
_ALERTS_SHOWN: Final = 8


@click.command(name="demo")
@click.option("--seconds", type=click.FloatRange(min=0.5), help="End by itself.  [default: until Ctrl-C]")
@click.option("--json", "as_json", is_flag=True, help="Events as JSON lines; no live view.")
@click.option(
    "--replay",
    "replay",
    multiple=True,
    help="Stream this recording instead of virtual patients; may be given more than once.",
)
@click.option(
    "--segment",
    "segment_s",
    type=click.FloatRange(0.5, 60),
    default=2.0,
    show_default=True,
    help="Seconds a segment.",
)
@click.option(
    "--speed", type=click.FloatRange(0.1, 1000), default=1.0, show_default=True, help="Times real time."
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=1905, show_default=True, help="Of the virtual patients."
)
@click.option(
    "--pages", "has_pages", is_flag=True, help="In a browser: a service, its pages, twelve patients."
)
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=0, help="Of the pages.  [default: a free one]"
)
@click.option("--no-browser", is_flag=True, help="Print the pages' address, and open nothing.")
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep what the service of the pages writes here.  [default: gone at the end]",
)
@click.argument("more", nargs=-1)
def command(
    seconds: float | None,
    as_json: bool,
    replay: tuple[str, ...],
    segment_s: float,
    speed: float,
    seed: int,
    has_pages: bool,
    port: int,
    no_browser: bool,
    keep: Path | None,
    more: tuple[str, ...],
) -> int:
    """Watch virtual patients stream, and alerts fire.

    MORE are further recordings to replay: ``--replay FILE FILE …``.
    """
    if has_pages:
        if replay or more or speed != 1.0:
            raise click.UsageError("--pages shows virtual patients, as fast as they live.")
        from einthoven.cli.demo_pages import show_pages  # noqa: PLC0415 - the service takes time to import

        show_pages(
            seconds=seconds,
            as_json=as_json,
            segment_s=segment_s,
            seed=seed,
            port=port,
            folder=keep,
            opens_browser=not (no_browser or as_json),
        )
        return 0
    files = tuple(map(Path, (*replay, *more)))
    if not kernels_are_cached():
        click.echo("Compiling kernels once; this takes some seconds.", err=True)
    warm_kernels()
    with ExitStack() as stack:
        sources: dict[str, RecordingSource] = (
            {_unique(path, n): stack.enter_context(open_recording(path)) for n, path in enumerate(files)}
            if files
            else {name: VirtualPatient(seed + n, SCENES[name]) for n, name in enumerate(WARD)}
        )
        player = Player(sources, SystemClock(), time.sleep, segment_s=segment_s, speed=speed)
        if as_json:
            _as_lines(player, seconds)
        else:
            _as_view(player, tuple(sources), seconds)
    return 0


def _unique(path: Path, number: int) -> str:
    return f"{path.stem}" if number == 0 else f"{path.stem}.{number}"


def event(change: Change, at_s: float) -> dict[str, Any]:
    """What a change of an alert looks like as a line of JSON."""
    alert = change.alert
    name = "technical" if alert.is_technical else "alert"
    return {
        "event": name if change.what in {"raised", "repeated", "reopened"} else f"{name}_{change.what}",
        "at_s": round(at_s, 3),
        "patient": alert.patient,
        "condition": alert.condition,
        "priority": _list_of(alert),
        "state": alert.state.value,
        "onset_s": round(alert.onset_ns / 1e9, 3),
        "end_s": None if alert.end_ns is None else round(alert.end_ns / 1e9, 3),
        "episodes": alert.episodes,
    }


def _list_of(alert: Alert) -> str:
    return "technical" if alert.is_technical else alert.priority


def _as_lines(player: Player, seconds: float | None) -> None:
    click.echo(json.dumps({"event": "started", "at_s": 0.0, "machine": machine(), "version": __version__}))
    try:
        for happening in player.play(seconds):
            if isinstance(happening, Analysed):
                for change in happening.changes:
                    click.echo(json.dumps(event(change, happening.at_s)))
    except KeyboardInterrupt:
        pass
    click.echo(json.dumps(_summary_line(player.summary(), player.at_s())))


def _summary_line(summary: StreamSummary, at_s: float) -> dict[str, Any]:
    return {
        "event": "summary",
        "at_s": round(at_s, 3),
        "sent": summary.sent,
        "received": summary.counts.received,
        "analysed": summary.counts.analysed,
        "lost": summary.lost,
        "alerts": summary.alerts,
        "technical": summary.technical,
        "latency_ms": {"p50": _round(summary.latency_p50_ms), "p99": _round(summary.latency_p99_ms)},
        "machine": machine(),
        "version": __version__,
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


class _Row:
    """What the view knows of one patient."""

    def __init__(self) -> None:
        self.rate = "–"
        self.quality = ""
        self.lag = "–"

    def take(self, happening: Analysed) -> None:
        findings = happening.receipt.findings
        if findings is None:
            return
        if findings.heart_rate.mean is not None:
            self.rate = f"{findings.heart_rate.mean:.0f}"
        if findings.quality.cells.size:
            grade = int(findings.quality.cells[-1] & 3)
            self.quality = ("", "good", "QRS only", "unusable")[grade]
            if grade == 3:
                self.rate = "–"
        self.lag = f"{1000 * happening.receipt.elapsed_s:.1f} ms"


def _as_view(player: Player, patients: tuple[str, ...], seconds: float | None) -> None:
    console = Console()
    rows = {patient: _Row() for patient in patients}
    log: list[tuple[float, Change]] = []
    drawn_s = -1.0
    clock = SystemClock()
    try:
        with Live(console=console, auto_refresh=False, transient=False) as live:
            for happening in player.play(seconds, tick_s=0.05):
                if isinstance(happening, Analysed):
                    rows[happening.patient].take(happening)
                    log += [(happening.at_s, change) for change in happening.changes]
                if clock.now_s() - drawn_s > 0.12:
                    drawn_s = clock.now_s()
                    live.update(_view(player, rows, log, console.width), refresh=True)
    except KeyboardInterrupt:
        console.print("Interrupted.", style="dim")
    console.print(_ending(player.summary(), player.at_s()))


def _view(player: Player, rows: dict[str, _Row], log: list[tuple[float, Change]], width: int) -> Group:
    table = Table(box=None, padding=(0, 1), expand=False)
    strip_width = max(16, min(72, width - 84))
    table.add_column("Patient", no_wrap=True, width=20)
    table.add_column("Signal, 6 s", no_wrap=True, width=strip_width)
    table.add_column("bpm", justify="right", no_wrap=True, width=4)
    table.add_column("Readable", no_wrap=True, width=9)
    table.add_column("Alert", no_wrap=True)
    urgent: dict[str, Alert] = {}
    for active in player.book.open_alerts:
        best = urgent.get(active.patient)
        if active.end_ns is None and (best is None or _rank(active) < _rank(best)):
            urgent[active.patient] = active
    for patient, row in rows.items():
        alert = urgent.get(patient)
        signal = player.window(patient, _STRIP_S)
        signal = np.concatenate((np.full(max(0, round(_STRIP_S * 125) - signal.size), np.nan), signal))
        centre = float(np.nanmedian(signal)) if np.isfinite(signal).any() else 0.0
        strip = braille(signal, strip_width, 2, centre - 1.2, centre + 1.8)
        style = _COLOURS[_list_of(alert)] if alert else ""
        said = f"{_MARKS[_list_of(alert)]} {alert.title}" if alert else ""
        table.add_row(
            Text(patient),
            Text("\n".join(strip), style="red" if alert and _list_of(alert) == "high" else "green"),
            Text(row.rate, style="bold"),
            Text(f"{row.quality}\n{row.lag}", style="dim"),
            Text(said, style=style),
        )
    lines = [
        Text.assemble(
            (f"{at_s:6.1f} s  ", "dim"),
            (f"{_MARKS[_list_of(change.alert)]:>3} ", _COLOURS[_list_of(change.alert)]),
            f" {change.alert.patient:<20} {change.alert.title:<36} {change.what}",
        )
        for at_s, change in log[-_ALERTS_SHOWN:]
    ]
    counts = player.summary().counts
    title = f"Einthoven {__version__}   {player.at_s():.0f} s   {counts.analysed} segments analysed"
    return Group(
        Panel(table, title=title, title_align="left", subtitle=SHORT_NOTICE),
        Panel(
            Group(*lines) if lines else Text("No alert yet.", style="dim"), title="Alerts", title_align="left"
        ),
    )


def _rank(alert: Alert) -> int:
    return ("high", "medium", "low", "technical").index(_list_of(alert))


def _ending(summary: StreamSummary, at_s: float) -> Text:
    counts = summary.counts
    style = "bold green" if summary.lost == 0 else "bold red"
    latency = (
        f"latency p50 {summary.latency_p50_ms:.1f} ms, p99 {summary.latency_p99_ms:.1f} ms"
        if summary.latency_p50_ms is not None
        else "no latency"
    )
    return Text.assemble(
        (f"{at_s:.0f} s: ", "bold"),
        f"sent {summary.sent}, received {counts.received}, analysed {counts.analysed}, ",
        (f"lost {summary.lost}", style),
        f"; {summary.alerts} alerts, {summary.technical} technical; {latency}.",
    )
