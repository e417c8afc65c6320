"""``einthoven bench``: accuracy as EC57's reference tools count it, and speed beside others."""

import json
import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.progress import track
from rich.table import Table

from einthoven.cli.bench_batch import command as batch
from einthoven.cli.bench_deploy import command as deploy
from einthoven.cli.bench_ingest import command as ingest
from einthoven.cli.bench_regions import command as regions
from einthoven.cli.bench_rhythm import command as rhythm
from einthoven.cli.bench_trust import command as trust
from einthoven.cli.bench_views import command as views
from einthoven.cli.machine import machine, workers_here
from einthoven.errors import CallerError, RecordingNotFound
from einthoven.evaluation import CLASS_MAPS, NoisyPeriods, RecordReport, Report, Share, report_of
from einthoven.evaluation.beats import ROWS, BeatTable
from einthoven.evaluation.mistakes import Strip
from einthoven.evaluation.stress import NoiseLevel
from einthoven.pictures.accuracy import accuracy_page
from einthoven.records.files import write_whole
from einthoven.runtime.accuracy import Mode, Stress, compared_record
from einthoven.runtime.kernels import kernels_are_cached, warm_kernels
from einthoven.runtime.speed import BATCH, batch_us, kernel_times_s, samples_of, stream_us, time_all
from einthoven.version import __version__

__all__ = ["command"]

PACED: Final = ("102", "104", "107", "217")
START_S: Final = 300.0
STRESSED: Final = "100,103,118,119,122,209"
"""Records of a noise-stress test: clean, of both halves, with different QRS and some V and S."""
CLEAN: Final = "none"
"""How the row without noise is called among the levels of noise."""
SPREAD: Final = ("100", "105", "108", "118", "124", "200", "203", "213", "222", "233")


@click.group(name="bench")
def command() -> None:
    """Measure accuracy, and compare."""


command.add_command(rhythm)
command.add_command(ingest)
command.add_command(batch)
command.add_command(views)
command.add_command(regions)
command.add_command(trust)
command.add_command(deploy)


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
@click.option(
    "--records",
    help=f"Only these, separated by commas.  [default: all without the paced; with --noise {STRESSED}]",
)
@click.option(
    "--noise",
    "noise",
    multiple=True,
    metavar="KIND:DB",
    help="Add real noise of DATA/nstdb: bw (baseline wander), ma (muscle) or em (electrode motion) "
    "at so many dB, such as em:6. Several by commas, or give it again.",
)
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
@click.option(
    "--page",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a report with the worst strips into this HTML file; it needs nothing else.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def ec57(
    data: Path,
    database: str,
    mode: Mode,
    lead: int,
    class_map: str,
    records: str | None,
    noise: tuple[str, ...],
    with_paced: bool,
    start_s: float,
    workers: int | None,
    page: Path | None,
    as_json: bool,
) -> int:
    """Compare the analysis with expert annotations, beat by beat, run by run, episode by episode.

    With --noise, real noise is added as WFDB's nst does it, five clean minutes and then two noisy and
    two clean ones in turn, and the noisy periods are also counted apart.
    """
    folder = data / database
    levels = [NoiseLevel.parse(text) for texts in noise for text in texts.split(",")]
    if levels and records is None:
        records = STRESSED
    names = _names(folder, records, skip=PACED if database == "mitdb" and not with_paced else ())
    if not kernels_are_cached():
        click.echo("Compiling kernels once; this takes some seconds.", err=True)
        warm_kernels()
    runs: list[Stress | None] = [None]
    if levels:
        runs = [Stress(level, data / "nstdb", data / "mitdb" / "118") for level in (None, *levels)]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers or workers_here(), mp_context=spawn) as pool:
        running = [
            (
                number,
                name,
                pool.submit(
                    compared_record,
                    folder / name,
                    lead=lead,
                    mode=mode,
                    class_map=class_map,
                    start_s=start_s,
                    stress=stress,
                    with_strips=page is not None,
                ),
            )
            for number, stress in enumerate(runs)
            for name in names
        ]
        reports: list[dict[str, RecordReport]] = [{} for _ in runs]
        strips: list[Strip] = []
        for number, name, future in track(
            running,
            "Comparing",
            total=len(running),
            console=Console(stderr=True),
            transient=True,
            disable=as_json,
        ):
            compared = future.result()
            reports[number][name] = compared.report
            strips += compared.strips
    report = report_of(reports[0])
    noisy = {str(level): report_of(one) for level, one in zip(levels, reports[1:], strict=True)}
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
        "noise": [str(level) for level in levels],
        "standard": start_s == START_S and database == "mitdb" and not with_paced and records is None,
    }
    figures = _figures(report, noisy, protocol)
    if page is not None:
        write_whole(page, accuracy_page(figures, strips).encode())
        click.echo(f"Report: {page}", err=True)
    if as_json:
        click.echo(json.dumps(figures))
    else:
        _print(report, noisy, protocol)
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
        batched_us = batch_us(samples, turns=40)
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
            "batched_us": round(batched_us, 1),
            "batch": BATCH,
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
        f"[bold]{single_us:.0f} µs[/] a segment, of {BATCH} patients at once {batched_us:.0f} µs. "
        f"Kernels: compiled in {compile_s:.1f} s, from cache {cached_s:.1f} s."
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


def _percent(share: float | None) -> float | None:
    return _round(None if share is None else 100 * share)


def _beats(beats: BeatTable, shares: dict[str, Share]) -> dict[str, Any]:
    return {
        **{name: _share(share) for name, share in shares.items()},
        "veb_fpr": _percent(beats.veb_fpr()),
        "sveb_fpr": _percent(beats.sveb_fpr()),
        "counts": {"qrs": beats.qrs(), "veb": beats.veb(), "sveb": beats.sveb()},
        "rr_error_ms": _round(beats.rr_error_ms),
        "shutdown_s": _round(beats.shutdown_s),
        "missed_in_shutdown": beats.missed_in_shutdown(),
    }


def _one(report: RecordReport) -> dict[str, Any]:
    return {
        **_beats(report.beats, report.shares()),
        "hr_error_bpm": _round(report.rates.error_bpm),
        "hr_error_percent": _round(report.rates.error_percent),
        "runs": {name: _share(share) for name, share in report.run_shares().items()},
        "episodes": {
            name: {kind: _share(share) for kind, share in both.items()}
            for name, both in report.episode_shares().items()
        },
        **({} if report.noisy is None else {"noisy": _noisy(report.noisy)}),
    }


def _noisy(periods: NoisyPeriods) -> dict[str, Any]:
    total = sum(periods.seconds_by_grade)
    measured = [snr for snr in periods.snr_db if math.isfinite(snr)]
    return {
        **_beats(periods.beats, periods.shares()),
        "seconds_by_grade": periods.seconds_by_grade,
        "share_by_grade": [
            _percent(seconds / total) if total else None for seconds in periods.seconds_by_grade
        ],
        "measured_snr_db": _round(sum(measured) / len(measured)) if measured else None,
    }


def _average(report: Report) -> dict[str, Any]:
    shares = {name: _share(share) for name, share in report.average.items()}
    return {**shares, **{name: _round(value) for name, value in report.average_errors.items()}}


def _figures(report: Report, noisy: dict[str, Report], protocol: dict[str, Any]) -> dict[str, Any]:
    return {
        "protocol": protocol,
        "gross": _one(report.gross),
        "average": _average(report),
        "records": {name: _one(one) for name, one in report.records.items()},
        "jk": _round(report.jk),
        "confusion": {"rows": ROWS, "columns": ROWS.lower(), "counts": report.gross.beats.counts.tolist()},
        **(
            {
                "noise": {
                    level: {
                        "gross": _one(one.gross),
                        "average": _average(one),
                        "records": {name: _one(record) for name, record in one.records.items()},
                    }
                    for level, one in noisy.items()
                }
            }
            if noisy
            else {}
        ),
        "machine": machine(),
        "version": __version__,
    }


_LEAST_WIDTH: Final = 116
_HEADINGS: Final = (
    *("Record", "QRS Se", "+P", "V Se", "+P", "FPR", "S Se", "+P", "FPR"),
    *("missed", "extra", "off s", "RR ms", "HR /min"),
)


def _print(report: Report, noisy: dict[str, Report], protocol: dict[str, Any]) -> None:
    console = _wide_console()
    kind = "" if protocol["standard"] else "  [yellow](non-standard comparison)[/]"
    console.print(
        f"[bold]EC57[/] {protocol['database']}, {len(report.records)} records, lead {protocol['lead']}, "
        f"{protocol['mode']}, 125 Hz, own detections, map {protocol['class_map']}, "
        f"from {protocol['start_s']:g} s, 150 ms{kind}"
    )
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading == "Record" else "right", no_wrap=True)
    for name, one in report.records.items():
        table.add_row(name, *_cells(one))
    table.add_section()
    table.add_row("Gross", *_cells(report.gross), style="bold")
    average, errors = report.average, report.average_errors
    table.add_row(
        "Average",
        *(_text(value) for value in (average["qrs"].se, average["qrs"].ppv)),
        *(_text(value) for value in (average["veb"].se, average["veb"].ppv)),
        _text(errors["veb_fpr"], 3),
        *(_text(value) for value in (average["sveb"].se, average["sveb"].ppv)),
        _text(errors["sveb_fpr"], 3),
        *("", "", ""),
        _text(errors["rr_error_ms"], 1),
        _text(errors["hr_error_bpm"], 1),
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
    if noisy:
        console.print(_noise_table({CLEAN: report, **noisy}))
        console.print("[dim]Noisy: inside the noisy periods; whole: the whole test period. Gross figures.")


def _wide_console() -> Console:
    """Wide enough for every figure: a narrower terminal wraps lines and loses no digit."""
    console = Console()
    console.width = max(console.width, _LEAST_WIDTH)
    return console


def _noise_table(reports: dict[str, Report]) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="dim", title="Noise stress", title_justify="left")
    for heading in (
        *("Noise", "is dB", "noisy QRS Se", "+P", "V Se", "+P", "whole QRS Se", "+P"),
        *("HR /min", "grade 1 %", "2 %", "3 %", "off s"),
    ):
        table.add_column(heading, justify="left" if heading == "Noise" else "right")
    for level, report in reports.items():
        if report.gross.noisy is None:
            continue
        figures = _one(report.gross)
        noisy = figures["noisy"]
        table.add_row(
            level,
            _text(noisy["measured_snr_db"], 1),
            *(_text(share[key]) for share in (noisy["qrs"], noisy["veb"]) for key in ("se", "ppv")),
            *(_text(figures["qrs"][key]) for key in ("se", "ppv")),
            _text(figures["hr_error_bpm"], 1),
            *(_text(share, 1) for share in noisy["share_by_grade"]),
            _text(noisy["shutdown_s"], 0),
        )
    return table


def _cells(one: RecordReport) -> list[str]:
    shares, beats = one.shares(), one.beats
    _, missed, extra = beats.qrs()
    cells = [_text(shares["qrs"].se), _text(shares["qrs"].ppv)]
    for name, fpr in (("veb", beats.veb_fpr()), ("sveb", beats.sveb_fpr())):
        cells += [_text(shares[name].se), _text(shares[name].ppv), _text(_percent(fpr), 3)]
    return [
        *cells,
        str(missed),
        str(extra),
        _text(beats.shutdown_s, 0),
        _text(beats.rr_error_ms, 1),
        _text(one.rates.error_bpm, 1),
    ]


def _text(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
