"""``einthoven upload``: recordings to a service, over whatever connection there is."""

import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import click
import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from einthoven.cli.described import with_description
from einthoven.cli.recording_page import page_of, sentence_of
from einthoven.clock import SystemClock
from einthoven.errors import InputInvalid
from einthoven.notice import SHORT_NOTICE
from einthoven.records import recording_files
from einthoven.runtime.upload_client import LONG_S, Destination, Sent, accepted, file_digest, send_file

__all__ = ["command"]

EXIT_FAILED: Final = 1
"""A recording could not be analysed, or was cancelled."""
_LOOK_S: Final = 1.0
_LOOK_MOST_S: Final = 10.0


@click.command(name="upload")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--to", "url", required=True, envvar="EINTHOVEN_URL", show_envvar=True, help="The service.")
@click.option("--token", envvar="EINTHOVEN_TOKEN", show_envvar=True, help="A device's, gateway's or user's.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="File that holds the token.",
)
@click.option("--patient", help="Pseudonym; needed unless the token is a device's.")
@click.option("--device", help="Name of the device; needed unless the token is a device's.")
@click.option("--start", help="UTC of the first sample, RFC 3339; needed unless the file says it.")
@click.option("--lead", help="Name or number (from 0) of the lead to analyse.  [default: the first]")
@with_description
@click.option("--wait", "waits", is_flag=True, help="Wait for the analysis, and show what was found.")
@click.option(
    "--patience",
    "patience_s",
    type=click.FloatRange(min=0),
    default=3600.0,
    show_default=True,
    help="Seconds without any progress after which it gives up.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON list on standard output.")
def command(
    files: tuple[str, ...],
    url: str,
    token: str | None,
    token_file: Path | None,
    waits: bool,
    patience_s: float,
    as_json: bool,
    **about: Any,
) -> int:
    """Send recordings to a service, which analyses them.

    FILES are as for 'analyze'; of a WFDB record the header or its stem is enough. A cut connection is waited
    for. The same command, called again after whatever happened, goes on where it stopped, and sends nothing
    that the service has.
    """
    if about["start"] is not None:
        _checked_start(about["start"], len(files))
    secret = token_file.read_text().strip() if token_file else token
    if not secret:
        raise InputInvalid("there is no token.", where="--token", remedy="Set EINTHOVEN_TOKEN.")
    destination = Destination(url, secret, SystemClock(), patience_s=patience_s)
    try:
        rows = [_performed(destination, file, about, waits=waits, quiet=as_json) for file in files]
    finally:
        destination.close()
    if as_json:
        click.echo(json.dumps(rows))
    elif waits:
        click.echo(SHORT_NOTICE)
    return EXIT_FAILED if any(row["state"] in ("failed", "cancelled") for row in rows) else 0


def _checked_start(start: str, count: int) -> None:
    if count > 1:
        raise InputInvalid(
            "several recordings do not begin at one time.", where="--start", remedy="Send them one by one."
        )
    try:
        msgspec.convert(start, Annotated[datetime, msgspec.Meta(tz=True)])
    except msgspec.ValidationError:
        raise InputInvalid(
            "this is no time.", where="--start", remedy="Give it as 2026-11-26T08:00:00Z."
        ) from None


def _performed(
    destination: Destination, file: str, about: dict[str, Any], *, waits: bool, quiet: bool
) -> dict[str, Any]:
    """One recording: sent, begun, and waited for if it is to be."""
    console = Console(stderr=True)
    with _progress(console, quiet=quiet) as progress:
        try:
            sent = _sent(destination, recording_files(file), progress)
            seen = _begun(destination, sent, about)
            if waits:
                seen = _awaited(destination, seen, progress)
        except KeyboardInterrupt:
            progress.stop()
            click.echo("What was sent is kept. The same command goes on.", err=True)
            raise
    row = {
        "file": file,
        "recording": seen["id"],
        "state": seen["state"],
        "uploads": [one.upload for one in sent],
        "bytes": sum(one.bytes for one in sent),
        "sent_bytes": sum(one.sent_bytes for one in sent),
        "error": seen["error"],
    }
    if waits and seen["state"] == "done":
        row["result"] = accepted(destination.ask("GET", f"/v1/recordings/{seen['id']}/result")).value
    if not quiet:
        _tell(file, seen, row)
    return row


def _progress(console: Console, *, quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )


def _sent(destination: Destination, paths: tuple[Path, ...], progress: Progress) -> list[Sent]:
    """All files of a recording, those that are small too."""
    total = sum(path.stat().st_size for path in paths)
    reading = progress.add_task("Reading", total=total)
    digests = [file_digest(path, _advancing(progress, reading)) for path in paths]
    progress.remove_task(reading)
    sending = progress.add_task("Sending", total=total)
    found, before = [], 0
    for path, (sha256, size) in zip(paths, digests, strict=True):
        told = _reaching(progress, sending, before)
        found.append(send_file(destination, path, _name_of(path, len(paths)), sha256, size, told))
        before += size
    progress.remove_task(sending)
    return found


def _advancing(progress: Progress, task: TaskID) -> Callable[[int], None]:
    return lambda count: progress.advance(task, count)


def _reaching(progress: Progress, task: TaskID, before: int) -> Callable[[int], None]:
    return lambda count: progress.update(task, completed=before + count)


def _name_of(path: Path, count: int) -> str:
    """Files of a record refer to each other; any other name may be that of a person, and stays here."""
    if count > 1:
        return path.name
    suffix = path.suffix.lower()
    return f"recording{suffix}" if suffix[1:].isalnum() and suffix.isascii() else "recording"


def _begun(destination: Destination, sent: list[Sent], about: dict[str, Any]) -> dict[str, Any]:
    names = {"patient": "patientId", "device": "deviceId", "start": "startTime"}
    body: dict[str, Any] = {
        names.get(name, name): value for name, value in about.items() if value is not None
    }
    body |= {"upload": sent[0].upload} if len(sent) == 1 else {"uploads": [one.upload for one in sent]}
    content = json.dumps(body).encode()
    answer = destination.ask(
        "POST", "/v1/recordings", content, {"Content-Type": "application/json"}, timeout_s=LONG_S
    )
    seen: dict[str, Any] = accepted(answer).value
    return seen


def _awaited(destination: Destination, seen: dict[str, Any], progress: Progress) -> dict[str, Any]:
    task = progress.add_task("Waiting", total=None)
    pause_s = _LOOK_S / 4
    while seen["state"] in ("waiting", "going"):
        time.sleep(pause_s)
        pause_s = min(_LOOK_MOST_S, 1.2 * pause_s)
        seen = accepted(destination.ask("GET", f"/v1/recordings/{seen['id']}")).value
        progress.update(task, description=sentence_of(seen))
    progress.remove_task(task)
    return seen


def _tell(file: str, seen: dict[str, Any], row: dict[str, Any]) -> None:
    if "result" in row:
        Console().print(page_of(seen, row["result"]))
        return
    how = (
        f"{row['sent_bytes']:,} of {row['bytes']:,} bytes were sent" if row["sent_bytes"] else "it was there"
    )
    click.echo(f"{file} is recording {row['recording']}; {how}. {sentence_of(seen)}")
