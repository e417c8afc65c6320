"""How fast the serving layer answers for a patient with a year of ECG, and what its views cost.

One day of a virtual patient is sent, sealed and made views of as the service does it. The days before it are
that day again, each at its own date. Then the service is started on it, as a user starts it, and asked over
HTTP, by one asker after the other.
"""

import http.client
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import msgspec

from einthoven.clock import SystemClock
from einthoven.errors import DefectError
from einthoven.server import accounts
from einthoven.server.accounts import MAIN
from einthoven.server.batch_views import BatchLayer
from einthoven.server.engine import Engine
from einthoven.server.running import RunningService
from einthoven.server.sealing import Sealer
from einthoven.server.view_days import moved, parts_in
from einthoven.server.wire import Arrival
from einthoven.signal.recording import Recording, RecordingInfo, Segment
from einthoven.simulation import Scene, VirtualPatient
from einthoven.simulation.rhythms import Period
from einthoven.storage import Connection, MasterDataset, open_database, open_store
from einthoven.storage.view_rows import day_row, put_day, source_of_stream
from einthoven.views import DAY_NS, day_of

__all__ = ["Questions", "ViewCosts", "bench_views"]

_NS: Final = 10**9
_SEGMENT_S: Final = 30
_PATIENT: Final = "p-1"
_SCENE: Final = Scene(
    "a day",
    "sinus rhythm with single ectopic beats, and four times a day atrial fibrillation",
    (
        Period("sinus", 3 * 3600, 68, pvc_share=0.01, pac_share=0.01),
        Period("atrial_fibrillation", 1500, 104),
        Period("sinus", 2.5 * 3600, 76, pvc_share=0.02),
    ),
)
_AT_ONCE: Final = 120


class Questions(msgspec.Struct, frozen=True):
    """One kind of question, asked many times."""

    name: str
    asked: int
    bytes: int
    """Of the longest answer."""
    p50_ms: float
    p99_ms: float


class ViewCosts(msgspec.Struct, frozen=True):
    """What a year of views costs."""

    days: int
    questions: tuple[Questions, ...]
    batch_s_per_day: float
    """To make a day of one patient's views anew from the master dataset, on one processor."""
    refresh_ms_per_segment: float
    """To take in what came since, an hour at a time."""
    row_bytes: int
    """Of one day in the database."""
    beat_bytes: int
    """Of one day's beats and seconds in the object store."""


def bench_views(days: int, asked: int, told: Callable[[str], object]) -> ViewCosts:
    """Make views of so many days, and ask each kind of question so often."""
    with tempfile.TemporaryDirectory(prefix="einthoven-bench-") as name:
        folder = Path(name)
        database = open_database(str(folder / "einthoven.db"))
        database.migrate()
        connection = database.connect()
        try:
            told("a day of ECG is sent and sealed")
            today = day_of(SystemClock().utc_ns()) - 1
            costs = _first_day(connection, folder, today)
            told(f"the {days - 1} days before")
            _other_days(connection, folder, today, days)
        finally:
            connection.close()
        told("the service starts")
        service = RunningService(folder, workers=1)
        try:
            service.wait_until_ready()
            questions = _ask(service, today, days, asked, told)
        finally:
            service.stop()
    return msgspec.structs.replace(costs, days=days, questions=tuple(questions))


def _first_day(connection: Connection, folder: Path, day: int) -> ViewCosts:
    store = open_store(str(folder / "objects"))
    dataset = MasterDataset(store)
    engine = Engine(connection)
    sealer = Sealer(dataset, after_s=0.0, bytes_=2**31, pause=lambda _s: None)
    batch = BatchLayer(dataset, store, lambda _statements, _org, _patient: None)
    segments = _segments(day)
    refresh_s = 0.0
    for first in range(0, len(segments), _AT_ONCE):
        engine.process(
            [Arrival(MAIN, one, False, one.start_ns + _NS) for one in segments[first : first + _AT_ONCE]]
        )
        if first + _AT_ONCE < len(segments):  # the last hour is the speed layer's
            sealer.seal(connection, segments[-1].start_ns + DAY_NS)
            began_s = time.perf_counter()
            batch.refresh(connection, segments[-1].start_ns + 2 * DAY_NS)
            refresh_s += time.perf_counter() - began_s
    with connection.reading() as statements:
        stream = int(statements.rows("SELECT id FROM streams")[0][0])
    began_s = time.perf_counter()
    batch.rebuild(connection, stream, segments[-1].start_ns + 2 * DAY_NS, lambda _progress: None)
    rebuilt_s = time.perf_counter() - began_s
    with connection.reading() as statements:
        source = source_of_stream(statements, stream)
        row = None if source is None else day_row(statements, source.id, source.generation, day)
    if row is None:
        raise DefectError("the batch layer made no views.")
    share = (len(segments) - _AT_ONCE) / len(segments)
    return ViewCosts(
        days=1,
        questions=(),
        batch_s_per_day=round(rebuilt_s / share, 3),
        refresh_ms_per_segment=round(1000 * refresh_s / (share * len(segments)), 3),
        row_bytes=sum(len(value) for value in msgspec.structs.astuple(row) if isinstance(value, bytes)),
        beat_bytes=sum(len(store.get(part.name)) for part in parts_in(row.parts)),
    )


def _segments(day: int) -> list[Segment]:
    patient = VirtualPatient(7, _SCENE, duration_s=86_400.0)
    size = round(_SEGMENT_S * patient.info.fs)
    info = RecordingInfo("segment", patient.info.fs, patient.info.leads, size)
    return [
        Segment(
            _PATIENT,
            "chest-1",
            number,
            day * DAY_NS + number * _SEGMENT_S * _NS,
            Recording(info, patient.read(number * size, (number + 1) * size)),
        )
        for number in range(patient.info.samples // size)
    ]


def _other_days(connection: Connection, folder: Path, day: int, days: int) -> None:
    store = open_store(str(folder / "objects"))
    with connection.reading() as statements:
        source = source_of_stream(statements, 1)
        row = None if source is None else day_row(statements, source.id, source.generation, day)
    if source is None or row is None:
        raise DefectError("the batch layer made no views.")
    for first in range(1, days, 30):
        with connection.writing() as statements:
            for back in range(first, min(first + 30, days)):
                put_day(statements, source.id, source.generation, moved(row, -back, source, store))


def _ask(
    service: RunningService, today: int, days: int, asked: int, told: Callable[[str], object]
) -> list[Questions]:
    headers = {"Authorization": f"Bearer {_clinician(service)}"}
    with closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)) as connection:
        return _answers(connection, headers, today, days, asked, told)


def _answers(
    connection: http.client.HTTPConnection,
    headers: dict[str, str],
    today: int,
    days: int,
    asked: int,
    told: Callable[[str], object],
) -> list[Questions]:
    draw = random.Random(1)  # noqa: S311 - where spans begin
    found = []
    for name, path, length, more in (
        ("a year by days", "trends", days, {"resolution": "1d"}),
        ("half a year by hours", "trends", days // 2, {"resolution": "1h"}),
        ("a month by hours", "trends", 30, {"resolution": "1h"}),
        ("a week by quarters of an hour", "trends", 7, {"resolution": "15m"}),
        ("a day by minutes", "trends", 1, {"resolution": "1m"}),
        ("a year as one", "summary", days, {}),
        ("a year's episodes, the first hundred", "episodes", days, {}),
        ("every beat of a day", "beats", 1, {}),
        ("the quality of a day", "quality", 1, {}),
    ):
        told(name)
        times, size = [], 0
        for number in range(asked + 3):
            start = today + 1 - length - (draw.randrange(days - length + 1) if number % 2 else 0)
            span = {"from": _text(start), "until": _text(start + length)}
            began_s = time.perf_counter()
            connection.request(
                "GET", f"/v1/patients/{_PATIENT}/{path}?{urlencode(span | more)}", headers=headers
            )
            answer = connection.getresponse()
            content = answer.read()
            times.append(1000 * (time.perf_counter() - began_s))
            if answer.status != 200:
                raise DefectError(f"the service answered {answer.status} to {name}.")
            size = max(size, len(content))
        found.append(_summary(name, times[3:], size))
    return found


def _summary(name: str, times_ms: Sequence[float], size: int) -> Questions:
    ordered = sorted(times_ms)
    return Questions(
        name=name,
        asked=len(ordered),
        bytes=size,
        p50_ms=round(ordered[len(ordered) // 2], 2),
        p99_ms=round(ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))], 2),
    )


def _clinician(service: RunningService) -> str:
    """Somebody who may ask."""
    now_ns = SystemClock().utc_ns()
    connection = open_database(service.database).connect()
    try:
        with connection.writing() as statements:
            user = accounts.add_user(
                statements, MAIN, "bench", "clinician", patient=None, hash_="", now_ns=now_ns
            )
            _, secret = accounts.issue(
                statements, MAIN, "session", user=user, now_ns=now_ns, lifetime_s=3600.0
            )
    finally:
        connection.close()
    return secret


def _text(day: int) -> str:
    return datetime.fromtimestamp(day * 86_400, UTC).isoformat().replace("+00:00", "Z")
