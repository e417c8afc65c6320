"""``einthoven report``: a recording as pages that a doctor reads and signs."""

import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from einthoven.cli.analyze import criteria_in, ready_kernels
from einthoven.cli.described import with_description
from einthoven.cli.machine import workers_here
from einthoven.cli.offline import printed
from einthoven.cli.replacing import refuse_there
from einthoven.errors import Conflict, InputInvalid
from einthoven.records import Described, recording_files
from einthoven.records.files import write_whole
from einthoven.reports import Heading, Report, gather
from einthoven.reports.identity import mark_of
from einthoven.reports.pages import print_report
from einthoven.runtime.batch import Job, analyse_files, plan
from einthoven.signal.findings import Findings

__all__ = ["command"]

_FILE: Final = click.Path(path_type=Path)
_FINALISED: Final = re.compile(rb"einthoven report 1; finalised; version (\d{1,6}); recording ([0-9a-f]{32})")
_REPORT: Final = b"einthoven report 1;"
_WORDS_MOST: Final = 100_000
_REPORT_MOST: Final = 1 << 28


@click.command(name="report")
@click.argument("file", metavar="RECORDING", type=_FILE)
@click.option("-o", "--output", type=_FILE, help="Where the PDF goes.  [default: NAME.pdf]")
@click.option("--lead", help="Name or number of the lead.  [default: the first]")
@with_description
@click.option("--patient", default="", help="As it is to be printed; nothing is taken from the file.")
@click.option("--recorder", default="", help="What recorded it.")
@click.option("--indication", default="", help="Why it was recorded.")
@click.option("--conclusion", type=_FILE, help="A text file with the conclusion.")
@click.option("--finalise", "by", default="", metavar="NAME", help="Who stands for it; needs a conclusion.")
@click.option("--at", help="When it was finalised, as it is to be printed.  [default: now, UTC]")
@click.option("--amends", type=_FILE, help="A finalised report that this one takes the place of.")
@click.option("--rules", type=_FILE, help="Limits of the rhythm rules, a TOML file.")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes.  [default: one a processor]")
@click.option("--force", is_flag=True, help="Replace a file that is there and no report.")
@click.option("--json", "as_json", is_flag=True, help="What the report says as one JSON object.")
def command(
    file: Path,
    output: Path | None,
    lead: str | None,
    fs: float | None,
    gain: float | None,
    baseline: int | None,
    conclusion: Path | None,
    by: str,
    at: str | None,
    amends: Path | None,
    rules: Path | None,
    workers: int | None,
    force: bool,
    as_json: bool,
    **words: str,
) -> int:
    """Analyse a recording and print its report: summary, hours, strips, beats that look alike, method.

    A report that nobody finalised says so on each page. One that was finalised is never written over: it is
    amended by another, which names it by its SHA-256. The same input gives the same bytes.
    """
    criteria = None if rules is None else criteria_in(rules)
    described = Described(fs=fs, gain=gain, baseline=baseline)
    job = plan(file, lead, criteria=criteria, described=described)
    version, digest = _amended(amends, job)
    heading = Heading(
        **words,
        conclusion="" if conclusion is None else _text(conclusion),
        by=by,
        at=(at or f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC") if by else "",
        amends=digest,
        version=version,
    )
    where = output or Path(f"{job.info.name}.pdf")
    is_report = _is_unfinalised_report(where)
    words_in = [one for one in (conclusion, amends, rules) if one is not None]
    refuse_there([where], force=force or is_report, inputs=[*recording_files(file), *words_in])
    ready_kernels()
    report = _made(job, heading, workers or workers_here(), quiet=as_json)
    content = print_report(report)
    write_whole(where, content)
    told = {"file": str(where), "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    if as_json:
        printed({**told, "report": _figures(report)})
    else:
        click.echo(f"{where}: {heading.state}, version {heading.version}, SHA-256 {told['sha256']}")
        for remark in report.remarks:
            click.echo(remark, err=True)
    return 0


def _made(job: Job, heading: Heading, workers: int, *, quiet: bool) -> Report:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("Analysing", total=len(job.chunks))
        (outcome,) = analyse_files([job], workers, lambda _: bar.advance(task))
        if outcome.error is not None:
            raise outcome.error
        if outcome.findings is None:
            raise InputInvalid("an empty recording: there is nothing to report.", where=str(job.path))
        return _gathered(job, outcome.findings, heading, bar)


def _gathered(job: Job, findings: Findings, heading: Heading, bar: Progress) -> Report:
    task = bar.add_task("Reading strips and beats", total=None)
    with job.described.opened(job.path) as source:
        return gather(
            source,
            job.lead,
            findings,
            heading,
            lambda done, of: bar.update(task, completed=done, total=of),
            job.remarks,
        )


def _figures(report: Report) -> dict[str, Any]:
    """Without samples."""
    bare = msgspec.structs.replace(report, strips=(), clusters=())
    said: dict[str, Any] = msgspec.to_builtins(bare)
    said["strips"] = [{"title": one.title, "at_s": round(one.at_s, 3)} for one in report.strips]
    said["clusters"] = [{"class": one.letter, "beats": one.beats} for one in report.clusters]
    return said


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
        if len(content) > _WORDS_MOST:
            raise InputInvalid("the conclusion is too long.", where=str(path))
        return content.decode().strip()
    except OSError as error:
        raise InputInvalid(f"the conclusion cannot be read ({error.strerror}).", where=str(path)) from None
    except UnicodeDecodeError:
        raise InputInvalid("the conclusion is not UTF-8.", where=str(path)) from None


def _amended(path: Path | None, job: Job) -> tuple[int, str]:
    """The version that follows, and the digest of the one that is amended."""
    if path is None:
        return 1, ""
    content = _content(path)
    said = None if content is None else _FINALISED.search(content)
    if content is None or said is None:
        raise InputInvalid(
            "there is no finalised report in this file.",
            where=str(path),
            remedy="One that nobody finalised needs no amendment: print it anew.",
        )
    with job.described.opened(job.path) as source:
        if said[2].decode() != mark_of(source):
            raise InputInvalid(
                "this is a report of another recording.",
                where=str(path),
                remedy="Give the report that this recording has.",
            )
    return int(said[1]) + 1, hashlib.sha256(content).hexdigest()


def _is_unfinalised_report(path: Path) -> bool:
    """Whether a report lies there that nobody stands for: it is made anew.

    Raises
    ------
    Conflict : somebody stands for it.
    """
    content = _content(path)
    if content is not None and _FINALISED.search(content) is not None:
        raise Conflict(
            "a finalised report lies there, and is not written over.",
            where=str(path),
            remedy=f"Give another --output; to take its place, also --amends {path}.",
        )
    return content is not None and _REPORT in content


def _content(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(_REPORT_MOST)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputInvalid(f"the file cannot be read ({error.strerror}).", where=str(path)) from None
