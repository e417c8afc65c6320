"""``einthoven convert``: a recording in another format, and what that costs."""

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from einthoven.cli.described import with_description
from einthoven.cli.replacing import refuse_there
from einthoven.errors import InputInvalid
from einthoven.records import open_recording, read_annotations, recording_files
from einthoven.records.converting import Conversion, annotations_with, plan_conversion
from einthoven.signal.recording import Counts, RecordingInfo, RecordingSource

__all__ = ["command"]


@click.command(name="convert")
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option(
    "--annotations",
    "marks",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="WFDB annotation file to take instead of those that come with IN.",
)
@click.option("--strict", is_flag=True, help="Write nothing if anything cannot be carried.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
@with_description
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(
    source: Path,
    target: Path,
    marks: Path | None,
    strict: bool,
    force: bool,
    fs: float | None,
    gain: float | None,
    baseline: int | None,
    as_json: bool,
) -> None:
    """Write a recording in another format, its annotations with it.

    IN is as for 'analyze'. The ending of OUT says the format: .edf, .bdf, .ecg (ISHNE), .csv, .json;
    without one it is the stem of a WFDB record. Counts are carried as they are. What cannot be carried is
    said.
    """
    with open_recording(source, fs=fs, gain=gain, baseline=baseline) as opened:
        annotations = annotations_with(source, opened) if marks is None else read_annotations(marks)
        with _progress(quiet=as_json) as progress:
            watched = _Watched(opened, progress)
            plan = plan_conversion(watched, target, annotations)
            losses = (*opened.remarks, *plan.losses)
            _refuse_losses(plan, losses, strict=strict)
            read = (*recording_files(source), *(() if marks is None else (marks,)))
            refuse_there((*plan.files, *plan.removed), force=force, inputs=read)
            watched.begin("Writing")
            plan.perform()
    about: dict[str, Any] = {
        "from": str(source),
        "to": [str(path) for path in plan.files],
        "format": plan.format,
        "leads": [lead.name for lead in opened.info.leads],
        "samples": opened.info.samples,
        "annotations": plan.annotations,
        "not_carried": list(losses),
    }
    _tell(about, as_json=as_json)


class _Watched:
    """A source that tells how far it has been read."""

    def __init__(self, source: RecordingSource, progress: Progress) -> None:
        self._source, self._progress = source, progress
        self._task = progress.add_task("Reading", total=max(1, source.info.samples))

    @property
    def info(self) -> RecordingInfo:
        """See `einthoven.signal.recording.RecordingSource`."""
        return self._source.info

    def read(self, start: int, stop: int, lead: int | None = None) -> Counts:
        """See `einthoven.signal.recording.RecordingSource`."""
        counts = self._source.read(start, stop, lead)
        self._progress.update(self._task, completed=min(stop, self.info.samples))
        return counts

    def begin(self, what: str) -> None:
        """From here on it is read for something else."""
        self._progress.reset(self._task, description=what)


def _progress(*, quiet: bool) -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )


def _refuse_losses(plan: Conversion, losses: tuple[str, ...], *, strict: bool) -> None:
    if strict and losses:
        raise InputInvalid(
            f"not everything can be carried. {' '.join(losses)}",
            where=str(plan.files[0]),
            remedy="Choose another format, or leave out --strict.",
        )


def _tell(about: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(about))
        return
    marks = f", {about['annotations']:,} annotations" if about["annotations"] else ""
    click.echo(f"{' '.join(about['to'])}: {', '.join(about['leads'])}, {about['samples']:,} samples{marks}.")
    for sentence in about["not_carried"]:
        click.echo(f"Not carried: {sentence}", err=True)
