"""``einthoven recordings``: what the service analyses as wholes, directly in its database."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import click
import msgspec
from rich.console import Console

from einthoven.cli.offline import opened, printed, with_database
from einthoven.cli.recording_page import page_of, sentence_of
from einthoven.clock import SystemClock
from einthoven.errors import Conflict
from einthoven.notice import SHORT_NOTICE
from einthoven.server.recording_routes import result_of, seen_of
from einthoven.server.settings import Settings
from einthoven.server.wire import utc_text
from einthoven.storage import Statements, open_store
from einthoven.storage.recordings import (
    KeptRecording,
    cancel_recording,
    hours_done,
    list_recordings,
    recording_of,
    redrive_recording,
)

__all__ = ["command"]


@click.group(name="recordings")
def command() -> None:
    """See recordings that the service analyses as wholes, and cancel them."""


@command.command(name="list")
@click.option("--patient", help="Pseudonym; of this patient only.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most.")
@with_database
def list_(patient: str | None, limit: int, organisation: str, as_json: bool, **flags: Any) -> None:
    """List recordings, the newest first."""
    with _writing(flags) as (statements, _):
        found = list_recordings(statements, organisation, patient=patient, limit=limit)
        rows = [_row(statements, one) for one in found]
    printed(rows, as_table=not as_json)


@command.command(name="show")
@click.argument("recording", metavar="RECORDING")
@with_database
def show(recording: str, organisation: str, as_json: bool, **flags: Any) -> None:
    """Show how far a recording is, and what was found in it."""
    with _writing(flags) as (statements, settings):
        kept = recording_of(statements, organisation, recording)
        seen = msgspec.to_builtins(seen_of(statements, kept))
    result = None
    if kept.state == "done":
        result = msgspec.to_builtins(result_of(kept, open_store(settings.objects_url)))
    if as_json:
        printed({**seen, "result": result})
    elif result is None:
        click.echo(sentence_of(seen))
    else:
        Console().print(page_of(seen, result))
        click.echo(SHORT_NOTICE)


@command.command(name="cancel")
@click.argument("recording", metavar="RECORDING")
@with_database
def cancel(recording: str, organisation: str, as_json: bool, **flags: Any) -> None:
    """Do not analyse a recording, or no further; what was received stays."""
    with _writing(flags) as (statements, _):
        kept = recording_of(statements, organisation, recording)
        if not cancel_recording(statements, kept.number, SystemClock().utc_ns()):
            raise Conflict("the recording has ended.", where=recording, remedy="Show it.")
    if as_json:
        printed({"recording": recording, "state": "cancelled"})
    else:
        click.echo("It is cancelled.")


@command.command(name="redrive")
@click.argument("recording", metavar="RECORDING")
@with_database
def redrive(recording: str, organisation: str, as_json: bool, **flags: Any) -> None:
    """Have a recording analysed anew that failed or was cancelled."""
    with _writing(flags) as (statements, _):
        kept = recording_of(statements, organisation, recording)
        if not redrive_recording(statements, kept.number):
            raise Conflict(
                "the recording neither failed nor was cancelled, or is still being cleared away.",
                where=recording,
                remedy="Show it, or try again in a moment.",
            )
    if as_json:
        printed({"recording": recording, "state": "waiting"})
    else:
        click.echo("It waits for its turn.")


def _row(statements: Statements, one: KeptRecording) -> dict[str, Any]:
    return {
        "recording": one.id,
        "patient": one.patient,
        "device": one.device,
        "state": one.state,
        "hours": None if one.hours is None else f"{hours_done(statements, one)} of {one.hours}",
        "received": utc_text(one.created_ns),
        "took_s": None
        if one.ended_ns is None or one.began_ns is None
        else round((one.ended_ns - one.began_ns) / 1e9, 3),
    }


@contextmanager
def _writing(flags: dict[str, Any]) -> Iterator[tuple[Statements, Settings]]:
    """One transaction on the service's database, and the settings that name it."""
    database, settings = opened(flags)
    with closing(database.connect()) as connection, connection.writing() as statements:
        yield statements, settings
