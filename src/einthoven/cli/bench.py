"""``einthoven bench``: accuracy as EC57's reference tools count it, and speed beside others."""

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.progress import track
from rich.table import Table

from einthoven.cli.bench_rhythm import command as rhythm
from einthoven.cli.machine import machine, workers_here
from einthoven.errors import CallerError, RecordingNotFound
from einthoven.evaluation import CLASS_MAPS, RecordReport, Report, Share, report_of
from einthoven.evaluation.beats import ROWS
from einthoven.runtime.accuracy import Mode, record_report
from einthoven.runtime.kernels import kernels_are_cached, warm_kernels
from einthoven.runtime.speed import kernel_times_s, samples_of, stream_us, time_all
from einthoven.version import __version__

__all__ = ["command"]

PACED: Final = ("102", "104", "107", "217")
START_S: Final = 300.0
SPREAD: Final = ("100", "105", "108", "118", "124", "200", "203", "213", "222", "233")


@click.group(name="bench")
def command() -> None:
    """Measure accuracy, and compare."""


command.add_command(rhythm)


@command.command(name="ec57")
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="Folder that holds the databases."
)
@click.option(
    "--database", default="mitdb", show_default=True, help="Which one: a folder with RECORDS and .atr files."
)
@click.option(
    "--mode", type=click.Choice(["stream", "isolated", "whole"]), default="stream", show_default=True,
    help="30-s segments with their state carried, 30-s segments alone, or the whole record at once.",
)  # fmt: skip
@click.option("--lead", type=click.IntRange(min=0), default=0, show_default=True, help="Number of the lead.")
@click.option(
    "--map", "class_map", type=click.Choice(sorted(CLASS_MAPS)), default="bxb", show_default=True,
    help="Escape beats are S (bxb) or N (de-chazal).",
)  # fmt: skip
@click.option("--records", help="Only these, separated by commas.")
@click.option("--all", "with_paced", is_flag=True, help="The four paced records of mitdb too.")
@click.option(
    "--start",
    "start_s",
    type=click.FloatRange(min=0),
    default=START_S,
    show_default=True,
    help="Seconds not scored.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Processes.  [default: one per processor]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def ec57(
    data: Path,
    database: str,
    mode: Mode,
    lead: int,
    class_map: str,
    records: str | None,
    with_paced: bool,
    start_s: float,
    workers: int | None,
    as_json: bool,
) -> int:
    """Compare the analysis with expert annotations, beat by beat, run by run, episode by episode."""
    folder = data / database
    names = _names(folder, records, skip=PACED if database == "mitdb" and not with_paced else ())
    if not kernels_are_cached():
        click.echo("Compiling kernels once; this takes some seconds.", err=True)
        warm_kernels()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers or workers_here(), mp_context=spawn) as pool:
        running = {
            name: pool.submit(
                record_report, folder / name, lead=lead, mode=mode, class_map=class_map, start_s=start_s
            )
            for name in names
        }
        console = Console(stderr=True)
        reports = {
            name: future.result()
            for name, future in track(
                running.items(),
                "Comparing",
                total=len(running),
                console=console,
                transient=True,
                disable=as_json,
            )
        }
    report = report_of(reports)
    protocol: dict[str, Any] = {
        "database": database,
        "records": names,
        "mode": mode,
        "lead": lead,
        "fs": 125,
        "class_map": class_map,
        "start_s": start_s,
        "window_s": 0.15,
        "detections": "own",
        "standard": start_s == START_S and database == "mitdb" and not with_paced and records is None,
    }
    if as_json:
        click.echo(json.dumps(_figures(report, protocol)))
    else:
        _print(report, protocol)
    return 0


@command.command(name="signal")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder that holds mitdb/.")
@click.option(
    "--peers",
    "with_peers",
    is_flag=True,
    help="Time NeuroKit2, BioSPPy, wfdb and sleepecg too, where installed.",
)
@click.option("--records", default=",".join(SPREAD), show_default=True, help="Whose segments.")
@click.option("--segments", type=click.IntRange(1, 50), default=3, show_default=True, help="Of each record.")
@click.option(
    "--rounds", type=click.IntRange(1, 100), default=3, show_default=True, help="Times each is visited."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def signal(data: Path, with_peers: bool, records: str, segments: int, rounds: int, as_json: bool) -> int:
    """Time the whole analysis of one segment, beside other programs, on identical segments."""
    samples = samples_of(data / "mitdb", _names(data / "mitdb", records, ()), segments)
    warm_kernels()
    with Console(stderr=True).status("Timing"):
        single_us = stream_us(samples * 3)
        timings = time_all(samples, with_peers=with_peers, rounds=rounds)
        compile_s, cached_s = kernel_times_s()
    mine = timings[0]
    rows = [
        {
            **msgspec.structs.asdict(timing),
            "ratio": None
            if timing.ms_per_segment is None or mine.ms_per_segment is None
            else round(timing.ms_per_segment / mine.ms_per_segment, 2),
        }
        for timing in timings
    ]
    if as_json:
        figures = {
            "single_us": round(single_us, 1),
            "batched_us": None,
            "batched_reason": "there is no batched kernel yet",
            "compile_s": round(compile_s, 2),
            "cached_start_s": round(cached_s, 2),
            "isolated": rows[0],
            "peers": rows[1:],
            "segments": len(samples),
            "machine": machine(),
            "version": __version__,
        }
        click.echo(json.dumps(figures))
        return 0
    console = Console()
    console.print(
        f"[bold]{len(samples)} segments[/] of 30 s at 125 Hz, one processor. In a stream: "
        f"[bold]{single_us:.0f} µs[/] a segment. Kernels: compiled in {compile_s:.1f} s, "
        f"from cache {cached_s:.1f} s."
    )
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for heading in ("Program", "Version", "ms/segment", "x ours", "Se", "+P", "raised"):
        table.add_column(heading, justify="left" if heading in {"Program", "Version"} else "right")
    for timing, row in zip(timings, rows, strict=True):
        if timing.ms_per_segment is None:
            table.add_row(timing.name, timing.reason or "", style="dim")
            continue
        table.add_row(
            timing.name,
            timing.version or "",
            f"{timing.ms_per_segment:.2f}",
            f"{row['ratio']:.1f}",
            _text(timing.se),
            _text(timing.ppv),
            str(timing.failed),
            style="bold" if timing is mine else "",
        )
    console.print(table)
    return 0


def _names(folder: Path, records: str | None, skip: tuple[str, ...]) -> list[str]:
    if records:
        return [name.strip() for name in records.split(",") if name.strip()]
    index = folder / "RECORDS"
    if not index.is_file():
        raise RecordingNotFound(
            "there is no such file.", where=str(index), remedy="Give --data and --database."
        )
    names = [name for name in index.read_text(encoding="utf-8").split() if name not in skip]
    names = [name for name in names if (folder / f"{name}.atr").is_file()]
    if not names:
        raise CallerError("no record has annotations.", where=str(folder), remedy="Choose another database.")
    return names


def _share(share: Share) -> dict[str, float | None]:
    return {
        "se": _round(share.se),
        "ppv": _round(share.ppv),
        "f1": _round(share.f1),
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _one(report: RecordReport) -> dict[str, Any]:
    beats = report.beats
    fpr = beats.veb_fpr()
    return {
        **{name: _share(share) for name, share in report.shares().items()},
        "veb_fpr": _round(None if fpr is None else 100 * fpr),
        "runs": {name: _share(share) for name, share in report.run_shares().items()},
        "episodes": {
            name: {kind: _share(share) for kind, share in both.items()}
            for name, both in report.episode_shares().items()
        },
        "counts": {"qrs": beats.qrs(), "veb": beats.veb(), "sveb": beats.sveb()},
        "rr_error_ms": _round(beats.rr_error_ms),
        "shutdown_s": _round(beats.shutdown_s),
    }


def _figures(report: Report, protocol: dict[str, Any]) -> dict[str, Any]:
    return {
        "protocol": protocol,
        "gross": _one(report.gross),
        "average": {name: _share(share) for name, share in report.average.items()},
        "records": {name: _one(one) for name, one in report.records.items()},
        "jk": _round(report.jk),
        "confusion": {"rows": ROWS, "columns": ROWS.lower(), "counts": report.gross.beats.counts.tolist()},
        "machine": machine(),
        "version": __version__,
    }


def _print(report: Report, protocol: dict[str, Any]) -> None:
    console = Console()
    kind = "" if protocol["standard"] else "  [yellow](non-standard comparison)[/]"
    console.print(
        f"[bold]EC57[/] {protocol['database']}, {len(report.records)} records, lead {protocol['lead']}, "
        f"{protocol['mode']}, 125 Hz, own detections, map {protocol['class_map']}, "
        f"from {protocol['start_s']:g} s, 150 ms{kind}"
    )
    table = Table(box=None, padding=(0, 1), header_style="dim")
    headings = (
        "Record",
        "QRS Se",
        "QRS +P",
        "V Se",
        "V +P",
        "V FPR",
        "S Se",
        "S +P",
        "missed",
        "extra",
        "RR ms",
    )
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "Record" else "right")
    for name, one in report.records.items():
        table.add_row(name, *_cells(one))
    table.add_section()
    table.add_row("Gross", *_cells(report.gross), style="bold")
    average = report.average
    table.add_row(
        "Average",
        *(_text(value) for name in ("qrs", "veb") for value in (average[name].se, average[name].ppv)),
        "",
        _text(average["sveb"].se),
        _text(average["sveb"].ppv),
    )
    console.print(table)
    for name, share in report.gross.run_shares().items():
        console.print(
            f"Ventricular {name.replace('_', ' '):<11} Se {_text(share.se):>6}  +P {_text(share.ppv):>6}"
        )
    for name, both in report.gross.episode_shares().items():
        title = {"atrial_fibrillation": "Atrial fibrillation", "fibrillation": "VF or flutter"}[name]
        for kind, share in both.items():
            console.print(f"{title:<20} {kind:<9} Se {_text(share.se):>6}  +P {_text(share.ppv):>6}")
    if report.jk is not None:
        console.print(f"jk {report.jk:.3f}")


def _cells(one: RecordReport) -> list[str]:
    shares, beats = one.shares(), one.beats
    _, missed, extra = beats.qrs()
    fpr = beats.veb_fpr()
    return [
        _text(shares["qrs"].se),
        _text(shares["qrs"].ppv),
        _text(shares["veb"].se),
        _text(shares["veb"].ppv),
        "-" if fpr is None else f"{100 * fpr:.3f}",
        _text(shares["sveb"].se),
        _text(shares["sveb"].ppv),
        str(missed),
        str(extra),
        "" if beats.rr_error_ms is None else f"{beats.rr_error_ms:.1f}",
    ]


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
