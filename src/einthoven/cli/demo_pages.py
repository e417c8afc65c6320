"""``einthoven demo --pages``: a service of its own, virtual patients that send to it, a link to its pages.

Everything is as it is in earnest (segments over HTTP, a database, alerts, sessions), but for the folder,
which is gone with the demonstration unless one is named, and the user, whose password is in the link.
"""

import json
import secrets
import signal
import tempfile
import time
import urllib.request
import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from einthoven.clock import SystemClock
from einthoven.notice import SHORT_NOTICE
from einthoven.server import accounts
from einthoven.server.passwords import hash_password
from einthoven.server.running import RunningService
from einthoven.signal.recording import RecordingSource
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.storage import open_database

__all__ = ["WARD", "show_pages"]

WARD: Final = (
    *("healthy", "ectopy", "vt_to_vf", "atrial_fibrillation", "pauses", "noise_only"),
    *("bigeminy", "lead_off", "sick_sinus", "svt", "av_block", "bradycardia"),
)
"""Scenes of the ward, one patient each."""
_USER: Final = "demo"
_TIMEOUT_S: Final = 30.0


class _Stream:
    """One virtual patient and how far was sent."""

    def __init__(self, name: str, source: RecordingSource) -> None:
        self.name = name
        self.source = source

    def segment(self, number: int, size: int, start_ns: int) -> dict[str, Any]:
        """A segment as a gateway sends it."""
        info, lead = self.source.info, self.source.info.leads[0]
        counts = self.source.read(number * size, (number + 1) * size)[0]
        return {
            "patientId": self.name,
            "deviceId": f"{self.name}-chest",
            "sequence": number,
            "startTime": start_ns + round(number * size / info.fs * 1e9),
            "samples": counts.astype("<i2").tobytes(),
            "fs": info.fs,
            "gain": lead.gain,
            "baseline": lead.baseline,
            "lead": "II",
        }


def show_pages(
    *,
    seconds: float | None,
    as_json: bool,
    segment_s: float,
    seed: int,
    port: int,
    folder: Path | None,
    opens_browser: bool,
) -> None:
    """Serve the pages with a ward of virtual patients until Ctrl-C or SIGTERM, or for some seconds."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="einthoven-demo-")))
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        service = stack.enter_context(_running(folder, port))
        link = f"{service.url}/sign-in#{_USER}:{_password(service)}"
        if as_json:
            click.echo(json.dumps({"event": "started", "url": link, "folder": str(folder)}))
        else:
            click.echo(f"{SHORT_NOTICE}\n\nThe ward:  {link}\nIn         {folder}\n\nCtrl-C ends it.")
        if opens_browser:
            webbrowser.open(link)
        run = secrets.token_hex(2)
        streams = [
            _Stream(f"demo-{run}-{number + 1:02}", VirtualPatient(seed + number, SCENES[scene]))
            for number, scene in enumerate(WARD)
        ]
        counts = _send(service, streams, segment_s=segment_s, seconds=seconds)
        _tell(counts, as_json=as_json)


@contextmanager
def _running(folder: Path, port: int) -> Iterator[RunningService]:
    service = RunningService(folder, workers=1, flags=("--port", str(port)))
    try:
        service.wait_until_ready()
        yield service
    finally:
        service.stop()


def _password(service: RunningService) -> str:
    """Of a clinician who is made, or given a new one."""
    password = secrets.token_urlsafe(12)
    hash_, now_ns = hash_password(password), SystemClock().utc_ns()
    connection = open_database(service.database).connect()
    try:
        with connection.writing() as statements:
            known = [one for one in accounts.list_users(statements, accounts.MAIN) if one.name == _USER]
            if known:
                accounts.change_user(statements, known[0], hash_=hash_)
            else:
                accounts.add_user(
                    statements, accounts.MAIN, _USER, "clinician", patient=None, hash_=hash_, now_ns=now_ns
                )
    finally:
        connection.close()
    return password


def _send(
    service: RunningService, streams: list[_Stream], *, segment_s: float, seconds: float | None
) -> Mapping[str, int]:
    """Send each segment when its last sample has been taken; how many, and how many were analysed."""
    token, clock = service.token(), SystemClock()
    start_ns, start_s = clock.utc_ns(), clock.now_s()
    size = max(1, round(segment_s * streams[0].source.info.fs))
    number = analysed = 0
    try:
        while seconds is None or (number + 1) * segment_s <= seconds:
            time.sleep(max(0.0, start_s + (number + 1) * segment_s - clock.now_s()))
            batch = [one.segment(number, size, start_ns) for one in streams]
            analysed += _post(f"{service.url}/v1/segments", token, batch)
            number += 1
    except KeyboardInterrupt:
        click.echo("Interrupted.", err=True)
    return {"sent": number * len(streams), "analysed": analysed, "lost": number * len(streams) - analysed}


def _post(url: str, token: str, batch: list[dict[str, Any]]) -> int:
    """Send a batch; how many of it were analysed."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/msgpack"}
    asked = urllib.request.Request(url, msgspec.msgpack.encode(batch), headers)  # noqa: S310 - our own service
    with urllib.request.urlopen(asked, timeout=_TIMEOUT_S) as answer:  # noqa: S310
        found = msgspec.msgpack.decode(answer.read())
    return sum(one["status"] == "analysed" for one in found)


def _tell(counts: Mapping[str, int], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"event": "summary", **counts}))
        return
    click.echo(
        f"Sent {counts['sent']:,} segments, analysed {counts['analysed']:,}, lost {counts['lost']:,}.\n"
        "Next: einthoven serve · einthoven patients run URL · einthoven analyze FILE"
    )
