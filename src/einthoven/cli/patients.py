"""``einthoven patients``: virtual patients send segments to a service and read its answers."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import sys
from pathlib import Path
from typing import Any, Final, cast

import click
import msgspec
import uvicorn
from rich.console import Console
from rich.live import Live

from einthoven.cli.machine import machine
from einthoven.cli.patients_view import RunView, ending
from einthoven.clock import SystemClock
from einthoven.errors import DefectError, InputInvalid
from einthoven.notice import SHORT_NOTICE
from einthoven.runtime.load.target import Target
from einthoven.runtime.told_errors import error_of
from einthoven.server.patient_runs import RunProcess, RunSettings, perform, summary
from einthoven.server.patient_service import patient_service
from einthoven.simulation.bank import Names
from einthoven.simulation.noise import Noise, NoiseKind
from einthoven.simulation.traffic import MAX_BATCH, MAX_PATIENTS, Traffic
from einthoven.version import __version__

__all__ = ["command"]

EXIT_LOST: Final = 1
"""Something was lost, or answered wrongly."""
_SHARE: Final = click.FloatRange(0, 1)


@click.group(name="patients")
def command() -> None:
    """Virtual patients that send segments to a service."""


@command.command(name="run")
@click.argument("destination")
@click.option(
    "--patients",
    type=click.IntRange(1, MAX_PATIENTS),
    default=2,
    show_default=True,
    help="Concurrent streams.",
)
@click.option(
    "--files-per-minute",
    "segments_per_minute",
    type=click.FloatRange(1, 120),
    default=2.0,
    show_default=True,
    help="Segments a minute of each patient; 2 are segments of 30 s.",
)
@click.option(
    "--rate",
    "rate_per_s",
    type=click.FloatRange(min=0.001),
    help="Segments a second of all patients.  [default: as in life]",
)
@click.option(
    "--closed", "is_closed", is_flag=True, help="As fast as answers come, instead of by a fixed schedule."
)
@click.option(
    "--duration",
    "duration_s",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="Seconds; 0 for no end but Ctrl-C.",
)
@click.option(
    "--ramp",
    "ramp_s",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Seconds in which the rate rises from nothing.",
)
@click.option(
    "--burst-at", "burst_at_s", type=click.FloatRange(min=0), help="Second at which a burst begins."
)
@click.option(
    "--burst-length",
    "burst_length_s",
    type=click.FloatRange(min=0.1),
    default=10.0,
    show_default=True,
    help="Seconds of the burst.",
)
@click.option(
    "--burst-factor",
    type=click.FloatRange(min=1),
    default=10.0,
    show_default=True,
    help="How many times as many segments come in the burst.",
)
@click.option(
    "--offline-share",
    type=_SHARE,
    default=0.0,
    show_default=True,
    help="Share of patients that leave, and deliver what they kept when they come back.",
)
@click.option(
    "--offline",
    "offline_s",
    type=click.FloatRange(min=0.1),
    default=120.0,
    show_default=True,
    help="Seconds of an absence; each begins at random within three times as many.",
)
@click.option(
    "--repeated",
    "repeated_share",
    type=_SHARE,
    default=0.0,
    show_default=True,
    help="Share of segments sent twice.",
)
@click.option(
    "--late", "late_share", type=_SHARE, default=0.0, show_default=True, help="Share of segments sent late."
)
@click.option(
    "--late-by", "late_s", type=click.FloatRange(min=0), help="Seconds.  [default: two and a half intervals]"
)
@click.option(
    "--swapped",
    "swapped_share",
    type=_SHARE,
    default=0.0,
    show_default=True,
    help="Share of segments sent after their successor.",
)
@click.option(
    "--clock-skew",
    "clock_skew_s",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Devices' clocks are wrong by up to so many seconds.",
)
@click.option(
    "--clock-drift",
    "clock_drift_ppm",
    type=click.FloatRange(0, 10_000),
    default=0.0,
    show_default=True,
    help="And run wrong by up to so many parts in a million.",
)
@click.option(
    "--batch", type=click.IntRange(1, MAX_BATCH), default=1, show_default=True, help="Segments in a request."
)
@click.option(
    "--linger",
    "linger_s",
    type=click.FloatRange(0, 60),
    default=1.0,
    show_default=True,
    help="Seconds after which an incomplete batch goes.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=1905,
    show_default=True,
    help="The same seed is the same run.",
)
@click.option("--mix", help="Scenes and weights: healthy=7,paroxysm=3.  [default: 7 of 10 healthy]")
@click.option(
    "--noise",
    "noises",
    multiple=True,
    help="Disturbance of every signal, kind and mV: motion:0.2. May be given more than once.",
)
@click.option(
    "--records",
    type=click.Path(path_type=Path),
    help="Folder of recordings to send instead of virtual patients.",
)
@click.option(
    "--encoding",
    type=click.Choice(["json", "json-base64", "msgpack"]),
    default="json",
    show_default=True,
    help="Of the segments.",
)
@click.option("--connections", type=click.IntRange(1, 4096), default=64, show_default=True, help="At most.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0.01),
    default=10.0,
    show_default=True,
    help="Seconds to wait for an answer before sending again.",
)
@click.option(
    "--drain",
    "drain_s",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    help="Seconds to wait for the last answers.",
)
@click.option(
    "--check-every",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Look wholly at one answer in so many; sequence and status are checked in all.",
)
@click.option("--respond-async", "prefers_async", is_flag=True, help="Ask for answers before the analysis.")
@click.option("--token", envvar="EINTHOVEN_TOKEN", show_envvar=True, help="A gateway's token.")
@click.option(
    "--tokens",
    type=click.Path(path_type=Path),
    help='JSON file of device tokens: {"device": "token"}; its devices are the patients.',
)
@click.option(
    "--seal",
    "is_sealed",
    is_flag=True,
    help="Devices seal what they send, with keys made for this run and registered at the service.",
)
@click.option(
    "--technician-token",
    envvar="EINTHOVEN_TECHNICIAN_TOKEN",
    show_envvar=True,
    help="A technician's token, which registers the keys; needed to seal.",
)
@click.option("--name", help="Begins the patients' pseudonyms.  [default: from the time]")
@click.option(
    "--first-sequence",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of each device; to go on with devices that have sent before.",
)
@click.option(
    "--truth",
    type=click.Path(path_type=Path),
    help="Write what really happened here: a line of JSON for each patient.",
)
@click.option("--json", "as_json", is_flag=True, help="The report as one object.")
@click.option("--lines", "as_lines", is_flag=True, help="Every second as a line of JSON, and the report.")
def run_command(
    destination: str,
    mix: str | None,
    noises: tuple[str, ...],
    records: Path | None,
    token: str | None,
    tokens: Path | None,
    is_sealed: bool,
    technician_token: str | None,
    name: str | None,
    first_sequence: int,
    truth: Path | None,
    as_json: bool,
    as_lines: bool,
    **parameters: Any,
) -> int:
    """Send segments of virtual patients to DESTINATION, and count what comes back.

    DESTINATION is the URL of a service that you may load: this is a load generator. Exit code 0 only if
    nothing was lost and every answer was right.
    """
    if is_sealed and not technician_token:
        raise click.UsageError("--seal needs --technician-token.")
    duration_s = parameters["duration_s"] or None
    names = Names(
        run=name or f"v{SystemClock().utc_ns() // 10**9:x}",
        first_sequence=first_sequence,
        gateway_token=token,
        device_tokens=None if tokens is None else _device_tokens(tokens),
    )
    fields: dict[str, Any] = parameters | {"duration_s": duration_s}
    settings = RunSettings(
        target=Target(destination=destination, **_fields_of(Target, fields)),
        traffic=Traffic(**_fields_of(Traffic, fields)),
        names=names,
        mix=None if mix is None else _weights(mix),
        noises=tuple(map(_noise, noises)),
        records=None if records is None else str(records),
        technician_token=technician_token if is_sealed else None,
        truth=None if truth is None else str(truth),
    )
    if as_lines or not sys.stderr.isatty():
        report = summary(settings, perform(settings, _say_line if as_lines else _say_nothing))
    else:
        report = asyncio.run(_watched(settings))
    if as_lines:
        _say_line({"event": "summary", **report, "machine": machine(), "version": __version__})
    elif as_json:
        click.echo(json.dumps({**report, "machine": machine(), "version": __version__}))
    else:
        Console().print(ending(report))
    return 0 if report["is_whole"] else EXIT_LOST


def _fields_of(kind: type[msgspec.Struct], parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: parameters[name] for name in kind.__struct_fields__ if name in parameters}


def _say_line(event: dict[str, Any]) -> None:
    click.echo(json.dumps(event))


def _say_nothing(event: dict[str, Any]) -> None:
    """No terminal watches."""


async def _watched(settings: RunSettings) -> dict[str, Any]:
    """Run it in another process and draw it here, so that drawing delays no request."""
    process = RunProcess(settings)
    with contextlib.suppress(NotImplementedError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, process.stop)
    view = RunView(settings)
    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:
        async for event in process.events():
            if event["event"] == "failed":
                raise error_of(event["error"])
            if event["event"] == "summary":
                return event
            view.take(event)
            live.update(view.draw(), refresh=True)
    if process.is_stopped:
        raise click.Abort
    raise DefectError("the run ended without a report.")


def _device_tokens(path: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except OSError as error:
        raise InputInvalid("the file of tokens cannot be read.", where=str(path)) from error
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InputInvalid(
            "the file of tokens is not a JSON object of names and tokens.", where=str(path)
        ) from None


def _weights(mix: str) -> dict[str, float]:
    try:
        pairs = [part.split("=") for part in mix.split(",")]
        return {name.strip(): float(weight) for name, weight in pairs}
    except ValueError:
        raise InputInvalid(
            "the mix cannot be read.", where="mix", remedy="Write scene=weight, with commas between."
        ) from None


def _noise(text: str) -> Noise:
    kind, _, amplitude = text.partition(":")
    try:
        amplitude_mv = float(amplitude or 0.1)
    except ValueError:
        raise InputInvalid("the noise cannot be read.", where="noise", remedy="Write kind:mV.") from None
    return Noise(cast("NoiseKind", kind), amplitude_mv)


@command.command(name="serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8090,
    show_default=True,
    help="Port to listen on; 0 for any that is free.",
)
@click.option(
    "--allow-destination",
    "allowed",
    multiple=True,
    help="Host, or host:port, besides this machine that runs may send to. May be given more than once.",
)
def serve_command(host: str, port: int, allowed: tuple[str, ...]) -> int:
    """Start, watch and stop runs from a web page.

    Whoever has the address that is printed at the start can make this machine send as much as it is able to:
    let it listen on other addresses than 127.0.0.1, and allow destinations, only where you may.
    """
    token = secrets.token_urlsafe(32)
    app = patient_service(token, allowed)
    try:
        listening = socket.create_server((host, port), family=_family(host))
    except OSError as error:
        raise InputInvalid(
            f"it cannot listen there ({os.strerror(error.errno or 0)}).",
            where=f"{host}:{port}",
            remedy="Give another --port.",
        ) from None
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"Open http://{shown}:{listening.getsockname()[1]}/#token={token}")
    click.echo(SHORT_NOTICE, err=True)
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])
    return 0


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
