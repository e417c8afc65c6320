"""``einthoven views``: what was found of a patient over time, and the views that say so."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from einthoven.cli.offline import opened, printed, with_database
from einthoven.cli.picture_files import checked_picture, write_picture
from einthoven.clock import SystemClock
from einthoven.errors import NotFound
from einthoven.pictures.trends import Drawing, draw_trend
from einthoven.server.batch_views import BatchLayer
from einthoven.server.batch_views import Progress as Done
from einthoven.server.desk import Desk, limits_of
from einthoven.server.keys import signing_keys
from einthoven.server.requests import instant_ns
from einthoven.server.serving_layer import RESOLUTIONS, Trend, read_trend
from einthoven.server.settings import Settings
from einthoven.server.view_routes import trend_seen
from einthoven.server.wire import utc_text
from einthoven.storage import Connection, MasterDataset, Statements, open_store
from einthoven.storage.recordings import analyse_again
from einthoven.storage.view_rows import SourceRow, day_traits, recordings_in_views, source_of_stream
from einthoven.views import DAY_NS, Field, Tallies

__all__ = ["command"]

_WIDE: Final = 200
"""Columns where nobody says how many there are."""
_SPARK: Final = "▁▂▃▄▅▆▇█"
_MINUTE_NS: Final = 60 * 10**9
_HELP_SPAN: Final = "As 2026-11-26T08:00:00Z."


@click.group(name="views")
def command() -> None:
    """See what was found of a patient over time; make the views of it anew."""


@command.command(name="show")
@click.argument("patient")
@click.option("--from", "from_", help=f"Where the span begins; a day before its end. {_HELP_SPAN}")
@click.option("--until", help="Where it ends; now.")
@click.option(
    "--resolution", type=click.Choice(list(RESOLUTIONS)), default="1h", show_default=True, help="Of the rows."
)
@click.option("--device", help="What one device sent only.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A drawing: .svg or .png.")
@with_database
def show(
    patient: str,
    from_: str | None,
    until: str | None,
    resolution: str,
    device: str | None,
    output: Path | None,
    organisation: str,
    as_json: bool,
    **flags: Any,
) -> None:
    """Show rates, rhythms, beats and quality of PATIENT over a span, from the service's database."""
    checked_picture(output)
    now_ns = SystemClock().utc_ns()
    until_ns = instant_ns("--until", until, now_ns + _MINUTE_NS)
    from_ns = instant_ns("--from", from_, until_ns - DAY_NS)
    with _connected(flags) as (connection, _), connection.reading() as statements:
        trend = read_trend(
            statements,
            organisation,
            patient,
            from_ns,
            until_ns,
            RESOLUTIONS[resolution],
            device=device,
            now_ns=now_ns,
        )
    if output is not None:
        first, last = trend.from_ns // _MINUTE_NS, trend.until_ns // _MINUTE_NS
        svg = draw_trend(Drawing(f"Patient {patient}", trend.tallies, first, last, trend.burden_ms))
        write_picture(output, svg.file(f"Views of patient {patient}"))
    if as_json:
        click.echo(msgspec.json.encode(trend_seen(trend)).decode())
    else:
        _print(trend)


@command.command(name="list")
@with_database
def list_(organisation: str, as_json: bool, **flags: Any) -> None:
    """List streams and recordings: how far their batch views go, and whether another version made them."""
    with _connected(flags) as (connection, settings):
        made_by = _batch_layer(settings).made_by
        with connection.reading() as statements:
            rows = [
                _source_row(statements, source_of_stream(statements, stream), made_by, device, patient, sent)
                for stream, device, patient, sent in statements.rows(_STREAMS, (organisation,))
            ]
            rows += [
                _source_row(statements, one, made_by, one.device, one.patient, None)
                for one in recordings_in_views(statements, organisation)
            ]
    printed(rows, as_table=not as_json)


def _source_row(
    statements: Statements,
    source: SourceRow | None,
    made_by: str,
    device: str,
    patient: str,
    next_sequence: int | None,
) -> dict[str, Any]:
    """A stream, or where no sequence is given a recording."""
    days = [] if source is None else day_traits(statements, source.id, source.generation)
    behind = None if next_sequence is None else next_sequence - 1 - (source.through if source else -1)
    return {
        "device": device,
        "patient": patient,
        "what": "recording" if next_sequence is None else "stream",
        "days": len(days),
        "newest": None if source is None or source.newest is None else _day(source.newest),
        "behind": behind,
        "outdated": sum(one.made_by != made_by for one in days),
    }


@command.command(name="rebuild")
@click.option("--patient", help="Of this patient only.")
@click.option("--device", help="Of this device only.")
@click.option("--outdated", is_flag=True, help="Only where another version of a function made some.")
@with_database
def rebuild(
    patient: str | None,
    device: str | None,
    outdated: bool,
    organisation: str,
    as_json: bool,
    **flags: Any,
) -> None:
    """Make batch views anew from the master dataset, beside those that are asked, and let them take over.

    Cut off, it goes on where it was when it is begun again. The service may run meanwhile; it analyses
    uploaded recordings anew by itself, which are asked as they were until then.
    """
    with _connected(flags) as (connection, settings):
        layer = _batch_layer(settings)
        with connection.reading() as statements:
            streams = [
                (int(stream), str(name))
                for stream, name, whose, _ in statements.rows(_STREAMS, (organisation,))
                if patient in {None, whose} and device in {None, name}
            ]
        if not streams and (patient or device):
            raise NotFound("there is no such stream.", where="stream", remedy="einthoven views list")
        if outdated:
            streams = [one for one in streams if _is_outdated(connection, layer, one[0])]
        days = 0
        with _progress() as told:
            for number, (stream, name) in enumerate(streams):
                now_ns = SystemClock().utc_ns()
                days += layer.rebuild(
                    connection, stream, now_ns, told(f"{name} ({number + 1} of {len(streams)})")
                )
        recordings = _analyse_again(
            connection, organisation, layer, patient=patient, device=device, outdated=outdated
        )
    if as_json:
        printed({"streams": len(streams), "days": days, "recordings": recordings, "made_by": layer.made_by})
        return
    click.echo(f"Views made anew: {len(streams)} streams, {days} days.")
    if recordings:
        click.echo(f"Recordings that the service analyses anew while it runs: {recordings}.")


def _analyse_again(
    connection: Connection,
    org: str,
    layer: BatchLayer,
    *,
    patient: str | None,
    device: str | None,
    outdated: bool,
) -> int:
    """Have the service analyse recordings anew that are in views; how many."""
    with connection.reading() as statements:
        found = [
            one
            for one in recordings_in_views(statements, org)
            if patient in {None, one.patient} and device in {None, one.device}
        ]
        old = [
            one.recording
            for one in found
            if one.recording is not None
            and not (
                outdated
                and all(
                    row.made_by == layer.made_by for row in day_traits(statements, one.id, one.generation)
                )
            )
        ]
    with connection.writing() as statements:
        return sum(analyse_again(statements, number) for number in old)


_STREAMS: Final = "SELECT id, device, patient, next_sequence FROM streams WHERE org = ? ORDER BY device"


@contextmanager
def _connected(flags: dict[str, Any]) -> Iterator[tuple[Connection, Settings]]:
    database, settings = opened(flags)
    connection = database.connect()
    try:
        yield connection, settings
    finally:
        connection.close()


def _batch_layer(settings: Settings) -> BatchLayer:
    store = open_store(settings.objects_url)
    return BatchLayer(MasterDataset(store), store, limits_of(Desk(signing_keys(settings.folder))))


def _is_outdated(connection: Connection, layer: BatchLayer, stream: int) -> bool:
    with connection.reading() as statements:
        source = source_of_stream(statements, stream)
        if source is None:
            return False
        return any(
            one.made_by != layer.made_by for one in day_traits(statements, source.id, source.generation)
        )


@contextmanager
def _progress() -> Iterator[Callable[[str], Callable[[Done], None]]]:
    """A bar for each stream, on standard error."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("days"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:

        def told(name: str) -> Callable[[Done], None]:
            bar = bars.add_task(name)
            return lambda done: bars.update(bar, completed=done.day, total=done.days)

        yield told


# ---------------------------------------------------------------- printing


def _print(trend: Trend) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = _WIDE
    if not len(trend.tallies):
        console.print("Nothing was received in this span.")
        return
    span = f"{utc_text(trend.from_ns)} to {utc_text(trend.until_ns)}"
    console.print(f"[bold]{', '.join(trend.devices)}[/], {span}, rows of {trend.width} min, UTC")
    seen = trend_seen(trend)
    console.print(f"rate {_spark(seen.heart_rate.mean)} beats/min, mean of each row\n")
    table = Table(box=None, padding=(0, 1), header_style="dim")
    headings = (
        "begin",
        "rate",
        "least",
        "most",
        "beats",
        "S",
        "V",
        "SDNN",
        "RMSSD",
        "QTc",
        "read",
        *trend.burden_ms,
    )
    for heading in headings:
        table.add_column(heading.replace("_", " "), justify="right", no_wrap=heading == "begin")
    for row in range(len(trend.tallies)):
        table.add_row(*_row(trend, seen, row))
    console.print(table)
    console.print(
        "\n[dim]Rates in beats/min; SDNN, RMSSD and QTc in ms; read: seconds of grade 1 or 2; rhythms: share "
        "of the time.[/]"
    )


def _row(trend: Trend, seen: Any, row: int) -> list[str]:
    tallies: Tallies = trend.tallies
    numbers = tallies.rows[row]
    beats = int(numbers[: Field.CLEAR_S].sum())
    readable = int(numbers[Field.CLEAR_S] + numbers[Field.QRS_ONLY_S])
    width_ms = 60_000 * trend.width
    return [
        f"{_minute(int(tallies.starts[row])):%d %b %H:%M}",
        *(f"[bold]{_said(seen.heart_rate.mean[row])}[/]",),
        _said(seen.heart_rate.min[row]),
        _said(seen.heart_rate.max[row]),
        f"{beats:,}",
        f"{numbers[Field.SUPRAVENTRICULAR] or '':}",
        f"{numbers[Field.VENTRICULAR] or '':}",
        _said(seen.variability.sdnn_ms[row]),
        _said(seen.variability.rmssd_ms[row]),
        _said(seen.intervals.qtc_ms[row]),
        f"{readable:,} s",
        *(f"{100 * ms[row] / width_ms:.1f} %" if ms[row] else "" for ms in trend.burden_ms.values()),
    ]


def _said(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.0f}"


def _spark(values: Sequence[float | None]) -> str:
    known = np.array([np.nan if one is None else one for one in values])
    if np.isnan(known).all():
        return ""
    least, most = np.nanmin(known), np.nanmax(known)
    scaled = (known - least) / max(most - least, 1e-9) * (len(_SPARK) - 1)
    line = "".join(" " if np.isnan(one) else _SPARK[round(one)] for one in scaled.tolist())
    return f"{least:.0f} {line} {most:.0f}"


def _minute(minute: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)


def _day(day: int) -> str:
    return f"{_minute(day * 1440):%Y-%m-%d}"
