"""``einthoven bench rhythm``: fibrillation, false alerts and quality on five databases."""

import json
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from einthoven.cli.machine import machine
from einthoven.errors import RecordingNotFound
from einthoven.evaluation import EpisodeScore, Share
from einthoven.evaluation.windows import WindowScore
from einthoven.runtime.rhythm_accuracy import (
    RecordRhythm,
    challenge_score,
    names_of,
    record_rhythm,
)
from einthoven.version import __version__

__all__ = ["command", "rhythm_figures"]

PACED: Final = ("102", "104", "107", "217")
FLUTTER: Final = "207"
"""The MIT-BIH record with ventricular flutter."""
UNREADABLE: Final = "16272"
"""A record of normal rhythm with long stretches that nobody annotated."""
DAY_S: Final = 86400.0


@click.command(name="rhythm")
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="Folder that holds the databases."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(data: Path, as_json: bool) -> int:
    """Compare rhythm, alerts and quality with what is known of the records.

    Reads cinc2017/, mitdb/, cudb/ and nsrdb/, as far as they are there. The shipped scores learnt from
    these records; train-rhythm --folds tells how they do on others.
    """
    figures = rhythm_figures(data, quiet=as_json)
    if as_json:
        click.echo(json.dumps({**figures, "machine": machine(), "version": __version__}))
    else:
        _print(figures)
    return 0


def rhythm_figures(data: Path, *, quiet: bool = True) -> dict[str, Any]:
    """Every figure, by database; None for a database that is not there.

    Raises
    ------
    RecordingNotFound : none of them is.
    """
    console = Console(stderr=True)
    records: dict[str, list[RecordRhythm]] = {}
    for database in ("mitdb", "cudb", "nsrdb"):
        names = names_of(data / database)
        each = track(names, f"Reading {database}", console=console, transient=True, disable=quiet)
        records[database] = [r for name in each if (r := record_rhythm(data / database / name)) is not None]
    has_challenge = bool(names_of(data / "cinc2017"))
    if not has_challenge and not any(records.values()):
        raise RecordingNotFound(
            "none of the databases is there.", where=str(data), remedy="Give --data the folder above mitdb/."
        )
    return {
        "sample": "in",
        "cinc2017": _challenge(data / "cinc2017") if has_challenge else None,
        "af_mitdb": _atrial(records["mitdb"]),
        "vf_windows": _windows(records),
        "alerts": {
            "mitdb": _alerts(records["mitdb"]),
            "nsrdb": _alerts([r for r in records["nsrdb"] if r.name != UNREADABLE]),
            f"nsrdb_{UNREADABLE}": _alerts([r for r in records["nsrdb"] if r.name == UNREADABLE]),
        },
    }


def _challenge(folder: Path) -> dict[str, Any]:
    score = challenge_score(folder)
    found, missed, extra, rejected = score.atrial_fibrillation()
    share = Share.of(found, missed, extra)
    auc, auc_beats, se, sp = score.noise()
    return {
        "records": len(score.labels),
        "atrial_fibrillation": {
            "se": _round(share.se),
            "ppv": _round(share.ppv),
            "f1": _round(share.f1),
            "sp": _round(100 * rejected / max(rejected + extra, 1)),
            "counts": {"found": found, "missed": missed, "extra": extra},
        },
        "noise": {
            "auc_unreadable_seconds": _round(auc),
            "auc_agreement": _round(auc_beats),
            "se": _round(None if se is None else 100 * se),
            "sp": _round(None if sp is None else 100 * sp),
        },
    }


def _atrial(records: list[RecordRhythm]) -> dict[str, Any] | None:
    chosen = [r for r in records if r.name not in PACED]
    if not chosen:
        return None
    total = EpisodeScore()
    flutter_s = 0.0
    for record in chosen:
        total += record.atrial_fibrillation
        flutter_s += record.flutter_s
    duration = Share.of(total.both_s, total.reference_s - total.both_s, total.test_s - total.both_s)
    beside = Share.of(total.both_s, 0, total.test_s - total.both_s - flutter_s)
    return {
        "records": len(chosen),
        "duration": {"se": _round(duration.se), "ppv": _round(duration.ppv)},
        "duration_ppv_flutter_left_out": _round(beside.ppv),
        "episodes": {
            "se": _round(Share.of(total.found, total.missed, 0).se),
            "ppv": _round(Share.of(total.right, 0, total.wrong).ppv),
        },
        "per_record": {
            record.name: _of_record(record.atrial_fibrillation, record.duration_s) for record in chosen
        },
    }


def _of_record(score: EpisodeScore, duration_s: float) -> dict[str, Any]:
    free_s = duration_s - 300.0 - score.reference_s
    false_s = score.test_s - score.both_s
    return {
        "annotated_s": _round(score.reference_s),
        "told_s": _round(score.test_s),
        "both_s": _round(score.both_s),
        "sp": _round(100 * (1 - false_s / free_s)) if free_s > 0 else None,
    }


def _windows(records: dict[str, list[RecordRhythm]]) -> dict[str, Any]:
    cudb, free, flutter = WindowScore(), WindowScore(), WindowScore()
    false = 0
    free_s = 0.0
    for database, group in records.items():
        for record in group:
            if record.windows is None:
                continue
            if database == "cudb":
                cudb += record.windows
            elif record.name == FLUTTER:
                flutter += record.windows
            else:
                free += record.windows
                free_s += record.duration_s
                false += sum(
                    one.raised
                    for one in record.alerts
                    if one.condition == "ventricular_fibrillation" and one.priority == "high"
                )
    return {
        "width_s": 8,
        "cudb": {
            "se": _round(cudb.sensitivity()),
            "sp": _round(cudb.specificity()),
            "sp_without_minute_before": _round(cudb.specificity(with_before=False)),
        },
        "mitdb_207": {"se": _round(flutter.sensitivity()), "sp": _round(flutter.specificity())},
        "mitdb_nsrdb": {
            "sp": _round(free.specificity()),
            "hours": _round(free_s / 3600),
            "false_alerts": false,
            "false_alerts_per_day": _round(false * DAY_S / free_s) if free_s else None,
        },
    }


def _alerts(records: list[RecordRhythm]) -> dict[str, Any] | None:
    if not records:
        return None
    total_s = sum(record.duration_s for record in records)
    counts: dict[tuple[str, str], list[int]] = {}
    for record in records:
        for one in record.alerts:
            both = counts.setdefault((one.condition, one.priority), [0, 0])
            both[0] += one.raised
            both[1] += one.unconfirmed
    urgent = [count for (_, priority), count in counts.items() if priority != "technical"]
    return {
        "hours": _round(total_s / 3600),
        "per_day": _round(sum(raised for raised, _ in urgent) * DAY_S / total_s),
        "false_per_day": _round(sum(false for _, false in urgent) * DAY_S / total_s),
        "kinds": [
            {
                "condition": kind,
                "priority": priority,
                "raised": raised,
                "per_day": _round(raised * DAY_S / total_s),
                "unconfirmed": false,
            }
            for (kind, priority), (raised, false) in sorted(counts.items())
        ],
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _print(figures: dict[str, Any]) -> None:
    console = Console()
    console.print("[bold]Rhythm[/] on records that the scores learnt from; own detections, first lead.")
    challenge, atrial, windows = figures["cinc2017"], figures["af_mitdb"], figures["vf_windows"]
    if challenge:
        af, noise = challenge["atrial_fibrillation"], challenge["noise"]
        console.print(
            f"Atrial fibrillation, {challenge['records']} records of cinc2017: "
            f"F1 {af['f1']}  Se {af['se']}  +P {af['ppv']}  Sp {af['sp']}"
        )
        console.print(
            f"Noisy records of cinc2017: area under the curve {noise['auc_unreadable_seconds']} by "
            f"unreadable seconds, {noise['auc_agreement']} by beats; Se {noise['se']}  Sp {noise['sp']}"
        )
    if atrial:
        both = atrial["duration"]
        console.print(
            f"Atrial fibrillation by duration, {atrial['records']} records of mitdb: Se {both['se']}  "
            f"+P {both['ppv']} (flutter left out {atrial['duration_ppv_flutter_left_out']})"
        )
        for name, one in atrial["per_record"].items():
            if one["told_s"] or one["annotated_s"]:
                console.print(
                    f"  {name}: annotated {one['annotated_s']} s, told {one['told_s']} s, "
                    f"both {one['both_s']} s, Sp {one['sp']}"
                )
    cudb, free = windows["cudb"], windows["mitdb_nsrdb"]
    console.print(
        f"Ventricular fibrillation, 8-s windows of cudb: Se {cudb['se']}  Sp {cudb['sp']} "
        f"(the minute before an onset left out {cudb['sp_without_minute_before']}); "
        f"record 207 Se {windows['mitdb_207']['se']}"
    )
    console.print(
        f"  mitdb and nsrdb, {free['hours']} h: Sp {free['sp']}, {free['false_alerts']} false alerts"
    )
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for heading in ("Alerts", "priority", "raised", "a day", "unconfirmed"):
        table.add_column(heading, justify="left" if heading in {"Alerts", "priority"} else "right")
    for name, one in figures["alerts"].items():
        if one:
            table.add_row(f"[bold]{name}[/], {one['hours']} h", "", "", str(one["per_day"]), "")
            for row in one["kinds"]:
                table.add_row(
                    f"  {row['condition']}",
                    row["priority"],
                    str(row["raised"]),
                    str(row["per_day"]),
                    str(row["unconfirmed"]),
                )
    console.print(table)
