"""``einthoven fhir``: what was found in a recording, as a FHIR R4 bundle."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import click
import msgspec

from einthoven.cli.analyze import analysed, ready_kernels
from einthoven.cli.described import with_description
from einthoven.cli.machine import workers_here
from einthoven.cli.replacing import refuse_there
from einthoven.clock import Clock, SystemClock
from einthoven.errors import InputInvalid
from einthoven.fhir import Export, bundle_of, ndjson_of, resources_of
from einthoven.fhir.subjects import About
from einthoven.names import is_pseudonym
from einthoven.records import Described, recording_files
from einthoven.records.files import open_file, read_span, write_whole
from einthoven.runtime.batch import plan
from einthoven.runtime.upload_client import file_digest

__all__ = ["command"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_PDF_BYTES: Final = 64 * 2**20


@click.command(name="fhir")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("output", metavar="OUT", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--patient", required=True, help="Pseudonym; never a name.")
@click.option("--device", default="unknown", show_default=True, help="Name of the recorder.")
@click.option("--start", help="UTC of the first sample, RFC 3339; needed unless the file says it.")
@click.option("--lead", help="Name or number (from 0) of the lead to analyse.  [default: the first]")
@with_description
@click.option(
    "--pdf",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Report to put into the DiagnosticReport.",
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option("--test-data", "is_test", is_flag=True, help="Label every resource as made up (HTEST).")
@click.option("--without-snomed", is_flag=True, help="Leave out codes whose use may need a licence.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(
    file: Path,
    output: Path,
    patient: str,
    device: str,
    start: str | None,
    lead: str | None,
    fs: float | None,
    gain: float | None,
    baseline: int | None,
    pdf: Path | None,
    force: bool,
    is_test: bool,
    without_snomed: bool,
    as_json: bool,
) -> None:
    """Analyse a recording, and write what was found as FHIR R4 resources.

    FILE is as for 'analyze'. OUT is a Bundle, or has a resource a line if its name ends in .ndjson. Strips of
    at most 60 s are in it; longer ones are not.
    """
    if not is_pseudonym(patient):
        raise InputInvalid(
            "this is no pseudonym.", where="--patient", remedy="Letters, digits, '.', '_' and '-' only."
        )
    refuse_there([output], force=force, inputs=[*recording_files(file), *([] if pdf is None else [pdf])])
    job = plan(file, lead, described=Described(fs=fs, gain=gain, baseline=baseline))
    start_ns = job.info.start_ns if start is None else _start_ns(start)
    if start_ns is None:
        raise InputInvalid(
            "the file does not say when it begins, and findings without a time are none.",
            where=str(file),
            remedy="Say it with --start 2026-11-27T08:00:00Z.",
        )
    report = b"" if pdf is None else _content(pdf)
    ready_kernels()
    (outcome,) = analysed([job], workers_here(), quiet=as_json)
    if outcome.error is not None:
        raise outcome.error
    if outcome.findings is None:
        raise InputInvalid("the recording is empty.", where=str(file), remedy="Export one that has samples.")
    about = About(
        patient=patient,
        device=device,
        recording=job.info.name,
        is_test=is_test,
        with_snomed=not without_snomed,
    )
    clock: Clock = SystemClock()
    export = Export(
        about=about,
        start_ns=start_ns,
        fs=job.info.fs,
        issued_ns=clock.utc_ns(),
        pdf=report,
        sha256=_digests(file),
    )
    with job.described.opened(file) as source:
        resources = resources_of(export, outcome.findings, source)
    if output.suffix.lower() == ".ndjson":
        write_whole(output, ndjson_of(resources))
    else:
        write_whole(output, msgspec.json.encode(bundle_of(resources, export.issued_ns)) + b"\n")
    kinds = [one["resourceType"] for one in resources]
    counted = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    if as_json:
        click.echo(json.dumps({"to": str(output), "resources": counted, "remarks": list(job.remarks)}))
    else:
        said = ", ".join(f"{count} {kind}" for kind, count in counted.items())
        click.echo(f"{output}: {said}.")
        for remark in job.remarks:
            click.echo(remark, err=True)


def _start_ns(start: str) -> int:
    try:
        at: datetime = msgspec.convert(start, Annotated[datetime, msgspec.Meta(tz=True)])
    except msgspec.ValidationError:
        raise InputInvalid(
            "this is no time.", where="--start", remedy="Give it as 2026-11-26T08:00:00Z."
        ) from None
    return (at - _EPOCH) // timedelta(microseconds=1) * 1000


def _content(path: Path) -> bytes:
    with open_file(path) as file:
        content = read_span(file, 0, _MAX_PDF_BYTES + 1, str(path))
    if len(content) > _MAX_PDF_BYTES or not content.startswith(b"%PDF-"):
        raise InputInvalid("this is no PDF of at most 64 MiB.", where=str(path), remedy="Give the report.")
    return content


def _digests(path: Path) -> tuple[str, ...]:
    """What says later that these and no other files were analysed."""
    return tuple(file_digest(one, lambda _: None)[0] for one in recording_files(path))
