"""``einthoven analyze``: recordings in, one readable page each out."""

import time
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import numpy as np
from rich.console import Console, Group
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from einthoven.cli import report
from einthoven.cli.described import with_description
from einthoven.cli.drawing import sparkline
from einthoven.cli.explain import explain_moment
from einthoven.cli.machine import machine, workers_here
from einthoven.errors import EinthovenError, InputInvalid
from einthoven.functions.chunks import CHUNK_S
from einthoven.notice import SHORT_NOTICE
from einthoven.records import Described, annotations_of, write_annotations
from einthoven.runtime.batch import Job, Outcome, analyse_files, plan
from einthoven.runtime.kernels import kernels_are_cached, warm_kernels
from einthoven.signal.ectopy import Ectopy, count_runs
from einthoven.signal.findings import BEAT_CLASSES, Condition, Episode, Findings
from einthoven.signal.rules import RULES, Criteria, criteria_of
from einthoven.signal.variability import rr_intervals
from einthoven.version import __version__

__all__ = [
    "COLOURS",
    "MARKS",
    "analysed",
    "clock_of",
    "command",
    "criteria_in",
    "lasting",
    "ready_kernels",
    "summary",
]

COLOURS: Final = {
    "high": "bold white on red",
    "medium": "black on yellow",
    "low": "cyan",
    "technical": "magenta",
    "none": "dim",
}
MARKS: Final = {"high": "***", "medium": "** ", "low": "*  ", "technical": "(t)", "none": "   "}
_SHOWN: Final = 40


@click.command(name="analyze")
@click.argument("files", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON list on standard output.")
@click.option(
    "--annotations",
    "annotations",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write WFDB annotation files NAME.ein into this folder.",
)
@click.option("--lead", help="Name or number (from 0) of the lead to analyse.  [default: the first]")
@with_description
@click.option(
    "--chunk",
    "chunk_min",
    type=click.FloatRange(min=1.0),
    default=CHUNK_S / 60,
    show_default=True,
    help="Minutes of ECG analysed as one piece; the result does not depend on it.",
)
@click.option(
    "--rules",
    type=click.Path(path_type=Path, dir_okay=False),
    help="TOML file with limits of the rhythm rules that differ from the defaults.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Processes.  [default: one per processor]")
@click.option(
    "--explain",
    "moment",
    metavar="T",
    help="Draw why: the beat at T (seconds, or h:mm:ss), or an episode such as pause or pause:2. One FILE.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the drawing goes: .svg, or .png with einthoven[plot].  [default: NAME-T.svg]",
)
def command(
    files: tuple[str, ...],
    as_json: bool,
    annotations: Path | None,
    lead: str | None,
    fs: float | None,
    gain: float | None,
    baseline: int | None,
    chunk_min: float,
    rules: Path | None,
    workers: int | None,
    moment: str | None,
    output: Path | None,
) -> int:
    """Find beats, rhythm and conditions in recordings.

    FILES are WFDB records (by stem or header), EDF, BDF or ISHNE files, CSV files of integers, one
    sample a row, or JSON.
    """
    if moment is not None and annotations is not None:
        raise InputInvalid(
            "a drawing is of one moment, annotations are of whole recordings.",
            where="--explain",
            remedy="Leave out --explain or --annotations.",
        )
    criteria = None if rules is None else criteria_in(rules)
    described = Described(fs=fs, gain=gain, baseline=baseline)
    if moment is not None:
        return explain_moment(
            tuple(map(Path, files)), lead, moment, output, criteria, described, as_json=as_json
        )
    if output is not None:
        raise InputInvalid("there is nothing to draw.", where="--output", remedy="Say what with --explain T.")
    jobs, errors = _plan(tuple(map(Path, files)), lead, chunk_min * 60, criteria, described)
    for path, error in errors:
        _complain(path, error, as_json=as_json)
    ready_kernels()
    outcomes = analysed(jobs, workers or workers_here(), quiet=as_json)
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    for outcome in failed:
        if outcome.error is not None:
            _complain(outcome.job.path, outcome.error, as_json=as_json)
    if annotations is not None:
        annotations.mkdir(parents=True, exist_ok=True)
        for outcome in outcomes:
            if outcome.findings is not None:
                write_annotations(
                    annotations / f"{outcome.job.info.name}.ein", annotations_of(outcome.findings)
                )
    good = [outcome for outcome in outcomes if outcome.error is None]
    if as_json:
        click.echo(msgspec.json.encode([summary(outcome) for outcome in good]).decode())
    else:
        console = Console()
        for outcome in good:
            console.print(_page(outcome, console.width))
        if good:
            console.print(Text(SHORT_NOTICE, style="dim"))
    codes = [error.fault for _, error in errors] + [o.error.fault for o in failed if o.error is not None]
    return 0 if not codes else {"caller": 2, "peer": 3, "ours": 70}[codes[0]]


def _complain(path: Path, error: EinthovenError, *, as_json: bool) -> None:
    report(
        error if error.where else type(error)(error.what, where=str(path), remedy=error.remedy),
        as_json=as_json,
    )


def criteria_in(path: Path) -> Criteria:
    """The limits in a file; what is wrong with it is said with its name."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputInvalid(
            "the rules cannot be read.", where=str(path), remedy="Give a TOML file that exists."
        ) from error
    try:
        return criteria_of(content, str(path))
    except InputInvalid as error:
        where = str(path) if error.where in {"", str(path)} else f"{path}: {error.where}"
        raise InputInvalid(error.what, where=where, remedy=error.remedy) from None


def _plan(
    files: tuple[Path, ...],
    lead: str | None,
    chunk_s: float,
    criteria: Criteria | None,
    described: Described,
) -> tuple[list[Job], list[tuple[Path, EinthovenError]]]:
    jobs: list[Job] = []
    errors: list[tuple[Path, EinthovenError]] = []
    for path in files:
        try:
            jobs.append(plan(path, lead, chunk_s, criteria, described))
        except EinthovenError as error:
            errors.append((path, error))
    return jobs, errors


def ready_kernels() -> None:
    """Compile in this process before any worker would, and say so."""
    if not kernels_are_cached():
        click.echo("Compiling kernels once; this takes some seconds.", err=True)
        warm_kernels()


def analysed(jobs: list[Job], workers: int, *, quiet: bool) -> list[Outcome]:
    """All outcomes in the order of the jobs, with a progress bar on standard error."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("chunks"),
        TimeElapsedColumn(),
    )
    total = sum(len(job.chunks) for job in jobs)
    outcomes: list[Outcome] = []
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(f"Analysing {len(jobs)} recording{'s' * (len(jobs) != 1)}", total=total)
        outcomes.extend(analyse_files(jobs, workers, lambda _: bar.advance(task)))
    order = {id(job): number for number, job in enumerate(jobs)}
    return sorted(outcomes, key=lambda outcome: order[id(outcome.job)])


def summary(outcome: Outcome) -> dict[str, Any]:
    """The public figures of one recording; the schema is in docs/reference/analyze.schema.json."""
    info, findings = outcome.job.info, outcome.findings
    result: dict[str, Any] = {
        "recording": {
            "name": info.name,
            "fs": info.fs,
            "duration_s": round(info.duration_s, 3),
            "leads": [lead.name for lead in info.leads],
            "remarks": list(outcome.job.remarks),
        },
        "lead": info.leads[outcome.job.lead].name if info.leads else None,
        "beats": {"total": 0, "by_class": dict.fromkeys(BEAT_CLASSES, 0)},
        "ectopy": {"supraventricular": None, "ventricular": None},
        "heart_rate_bpm": {"mean": None, "min": None, "max": None},
        "episodes": [],
        "quality": {"analysable_fraction": None, "seconds_by_grade": [0, 0, 0]},
        "intervals": {"qrs_ms": None, "qt_ms": None, "qtc_fridericia_ms": None},
        "hrv": None,
        "versions": {},
        "alerts": [],
        "held": [],
        "elapsed_s": round(outcome.elapsed_s, 4),
        "machine": machine(),
        "version": __version__,
    }
    if findings is None:
        return result
    counts = np.bincount(findings.beats.classes, minlength=len(BEAT_CLASSES))
    result["beats"] = {
        "total": len(findings.beats),
        "by_class": {name: int(count) for name, count in zip(BEAT_CLASSES, counts, strict=True)},
    }
    result["ectopy"] = {name: msgspec.structs.asdict(runs) for name, runs in _ectopy(findings).items()}
    rate = findings.heart_rate
    result["heart_rate_bpm"] = {"mean": _one(rate.mean), "min": _one(rate.min), "max": _one(rate.max)}
    episodes = in_time_order(findings)
    result["episodes"] = [_episode(episode, findings.fs) for episode in episodes]
    share = findings.quality.analysable_fraction
    result["quality"] = {
        "analysable_fraction": None if share is None else round(share, 4),
        "seconds_by_grade": [findings.quality.seconds(grade) for grade in (1, 2, 3)],
    }
    result["intervals"] = {
        "qrs_ms": _one(_median([row.qrs_ms for row in findings.intervals])),
        "qt_ms": _one(_median([row.qt_ms for row in findings.intervals])),
        "qtc_fridericia_ms": _one(_median([row.qtc_ms for row in findings.intervals])),
    }
    result["hrv"] = {
        name: None if value is None else round(value, 3)
        for name, value in msgspec.structs.asdict(findings.variability).items()
    }
    told = sorted(findings.conditions, key=lambda one: (one.onset, one.condition))
    result["alerts"] = [_told(one, findings.fs) for one in told if one.action != "hold"]
    result["held"] = [_told(one, findings.fs) for one in told if one.action == "hold"]
    result["versions"] = findings.versions
    return result


def _ectopy(findings: Findings) -> dict[str, Ectopy]:
    beats = findings.beats
    return {
        "supraventricular": count_runs(beats.grid, beats.classes, BEAT_CLASSES.index("S")),
        "ventricular": count_runs(beats.grid, beats.classes, BEAT_CLASSES.index("V")),
    }


def in_time_order(findings: Findings) -> list[Episode]:
    """Episodes by onset."""
    return sorted(findings.episodes, key=lambda episode: (episode.onset, episode.kind))


def _episode(episode: Episode, fs: float) -> dict[str, Any]:
    return {
        "kind": episode.kind,
        "onset_s": round(episode.onset / fs, 3),
        "end_s": None if episode.end is None else round(episode.end / fs, 3),
        "priority": episode.priority,
        "confidence": episode.confidence,
        "grade": episode.grade,
    }


def _told(condition: Condition, fs: float) -> dict[str, Any]:
    return {
        "condition": condition.condition,
        "priority": condition.priority,
        "onset_s": round(condition.onset / fs, 3),
        "confidence": condition.confidence,
        "grade": condition.grade,
        "reason": condition.reason,
    }


def _one(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def _page(outcome: Outcome, width: int) -> Panel:
    info, findings = outcome.job.info, outcome.findings
    title = f"[bold]{info.name}[/]  {info.fs:g} Hz  {lasting(info.duration_s)}"
    if findings is None:
        return Panel(Text("An empty recording: nothing to analyse."), title=title, title_align="left")
    lead = info.leads[outcome.job.lead].name
    parts: list[Any] = [_figures(findings, lead), _tachogram(findings, width)]
    episodes = in_time_order(findings)
    if episodes:
        parts.append(_episodes(episodes, findings.fs, with_rules=width >= 110))
    else:
        parts.append(Text("No episodes.", style="green"))
    parts += [Text(remark, style="dim") for remark in outcome.job.remarks]
    return Panel(
        Group(*parts), title=title, title_align="left", subtitle=f"{outcome.elapsed_s:.2f} s of work"
    )


def _figures(findings: Findings, lead: str) -> Table:
    table = Table.grid(padding=(0, 3))
    counts = np.bincount(findings.beats.classes, minlength=len(BEAT_CLASSES))
    beats = "  ".join(f"{name} {count:,}" for name, count in zip(BEAT_CLASSES, counts, strict=True) if count)
    rate = findings.heart_rate
    table.add_row("Beats", f"[bold]{len(findings.beats):,}[/]   {beats}   [dim]lead {lead}[/]")
    for name, runs in _ectopy(findings).items():
        if runs.beats:
            told = [
                f"{count:,} {what}{'s' * (count != 1)}"
                for count, what in (
                    (runs.singles, "single"),
                    (runs.couplets, "couplet"),
                    (runs.short_runs, "short run"),
                    (runs.long_runs, "long run"),
                )
                if count
            ]
            table.add_row(name.capitalize(), "   ".join(told))
    if rate.mean is not None:
        table.add_row(
            "Heart rate", f"[bold]{rate.mean:.0f}[/]/min   {_number(rate.min)} to {_number(rate.max)}"
        )
    qrs = _median([row.qrs_ms for row in findings.intervals])
    qt = _median([row.qt_ms for row in findings.intervals])
    qtc = _median([row.qtc_ms for row in findings.intervals])
    if qrs is not None:
        more = f"   QT {qt:.0f} ms" if qt is not None else ""
        more += f"   QTc {qtc:.0f} ms (Fridericia)" if qtc is not None else ""
        table.add_row("Intervals", f"QRS {qrs:.0f} ms{more}")
    hrv = findings.variability
    if hrv.sdnn_ms is not None and hrv.rmssd_ms is not None:
        table.add_row(
            "Variability",
            f"SDNN {hrv.sdnn_ms:.0f} ms   RMSSD {hrv.rmssd_ms:.0f} ms"
            f"   [dim]{hrv.nn_share:.0%} of RR are NN[/]",
        )
    else:
        table.add_row("Variability", f"[dim]not given: {hrv.nn_share:.0%} of RR are NN, 80% are needed[/]")
    share = findings.quality.analysable_fraction
    if share is not None:
        grades = "  ".join(f"grade {grade} {findings.quality.seconds(grade):,} s" for grade in (1, 2, 3))
        table.add_row("Quality", f"[bold]{share:.1%}[/] analysable   {grades}")
    return table


def _tachogram(findings: Findings, width: int) -> Text:
    quality = findings.quality
    intervals = rr_intervals(findings.beats.grid, findings.beats.classes, quality.first_cell, quality.cells)
    if intervals.rr.size == 0:
        return Text("")
    rates = np.where(intervals.sound, 60 / np.maximum(intervals.rr_s, 0.1), np.nan)
    return Text(sparkline(rates, max(20, width - 24)) + "  beats/min", style="green")


def _episodes(episodes: list[Episode], fs: float, *, with_rules: bool) -> Table:
    table = Table(box=None, padding=(0, 2), show_header=True, header_style="dim")
    for heading in ("", "Onset", "Lasts", "Episode", *(("Rule",) if with_rules else ())):
        table.add_column(heading, no_wrap=heading != "Episode")
    urgent = [e for e in episodes if e.priority in {"high", "medium", "low", "technical"}]
    shown = sorted((urgent or episodes)[:_SHOWN], key=lambda e: e.onset)
    for episode in shown:
        rule = RULES[episode.kind]
        lasts = "goes on" if episode.end is None else lasting((episode.end - episode.onset) / fs)
        table.add_row(
            Text(MARKS[episode.priority], style=COLOURS[episode.priority]),
            clock_of(episode.onset / fs),
            lasts,
            Text(rule.title, style=COLOURS[episode.priority]),
            *((Text(rule.rule, style="dim"),) if with_rules else ()),
        )
    rest: dict[str, int] = {}
    for episode in episodes:
        if episode not in shown:
            title = RULES[episode.kind].title.lower()
            rest[title] = rest.get(title, 0) + 1
    if rest:
        more = ", ".join(f"{count} {title}" for title, count in rest.items())
        table.add_row("", "", "", Text(f"and {more}", style="dim"))
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def lasting(seconds: float) -> str:
    """How long, as a person reads it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return time.strftime("%H:%M:%S", time.gmtime(seconds)) if seconds < 86400 else f"{seconds / 3600:.1f} h"


def clock_of(seconds: float) -> str:
    """When in a recording, as a person reads it."""
    hours, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours:02.0f}:{minutes:02.0f}:{left:04.1f}"
