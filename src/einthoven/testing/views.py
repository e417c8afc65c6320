"""A whole lambda architecture in one thread: what a stream sends, and what its views say; for tests."""

from collections.abc import Iterable
from typing import Any

import msgspec

from einthoven.server.batch_views import BatchLayer
from einthoven.server.engine import Engine
from einthoven.server.real_time_views import SpeedLayer
from einthoven.server.sealing import Sealer
from einthoven.server.serving_layer import read_beats, read_episodes, read_quality, read_trend
from einthoven.server.wire import Arrival, Mode
from einthoven.signal.recording import Recording, RecordingInfo, RecordingSource, Segment
from einthoven.storage import Connection, MasterDataset, ObjectStore

__all__ = ["Lake", "said", "segments_of_source"]

NS = 10**9
_HOUR_NS = 3600 * NS


def segments_of_source(
    source: RecordingSource, start_ns: int, *, device: str = "d", patient: str = "p", seconds: float = 30.0
) -> list[Segment]:
    """A recording as a device sends it."""
    info = source.info
    size = round(seconds * info.fs)
    return [
        Segment(
            patient,
            device,
            number,
            start_ns + round(number * size * NS / info.fs),
            Recording(
                RecordingInfo("segment", info.fs, info.leads[:1], size),
                source.read(number * size, (number + 1) * size)[:1],
            ),
        )
        for number in range(info.samples // size)
    ]


class Lake:
    """Engine, sealer, batch layer, speed layer and serving layer on one database and one store."""

    def __init__(self, connection: Connection, store: ObjectStore) -> None:
        self.connection = connection
        self.store = store
        self.engine = Engine(connection)
        self.dataset = MasterDataset(store)
        self.batch = BatchLayer(self.dataset, store, lambda _statements, _org, _patient: None)
        self.speed = SpeedLayer(least=1)
        self.now_ns = 0

    def send(
        self, segments: Iterable[Segment], *, last: int | None = None, mode: Mode = "answer"
    ) -> list[Any]:
        """Send these; the one with the number ``last`` says that it is the last."""
        arrivals = []
        for one in segments:
            self.now_ns = max(self.now_ns, one.start_ns + 60 * NS)
            arrivals.append(Arrival("main", one, one.sequence == last, self.now_ns, mode))
        return self.engine.process(arrivals)

    def seal(self) -> int:
        """Bring all that was sent into the master dataset."""
        sealer = Sealer(self.dataset, after_s=0.0, bytes_=2**24, pause=lambda _s: None)
        count = 0
        while some := sealer.seal(self.connection, self.now_ns + NS):
            count += some
        return count

    def cover(self) -> int:
        """Seal, and have the batch layer see to all that is due."""
        self.seal()
        count = 0
        while some := self.batch.refresh(self.connection, self.now_ns + 2 * NS):
            count += some
        return count


def said(lake: Lake, start_ns: int, until_ns: int, *, patient: str = "p") -> dict[str, Any]:
    """All that the serving layer says of a patient's span, at every resolution, in plain values."""
    found: dict[str, Any] = {}
    with lake.connection.reading() as statements:
        for width in (1, 5, 15, 60, 360, 1440, None):
            trend = read_trend(
                statements, "main", patient, start_ns, until_ns, width, now_ns=until_ns + _HOUR_NS
            )
            found[f"trend {width}"] = (
                trend.tallies.starts.tolist(),
                trend.tallies.rows.tolist(),
                {kind: ms.tolist() for kind, ms in trend.burden_ms.items()},
                {kind: count.tolist() for kind, count in trend.onsets.items()},
            )
        found["episodes"] = [
            msgspec.structs.astuple(one)
            for one in read_episodes(statements, "main", patient, start_ns, until_ns)
        ]
        beats = read_beats(statements, lake.store, "main", patient, start_ns, until_ns)
        found["beats"] = (beats.at_ns.tolist(), beats.classes, beats.confidences.tolist())
        quality = read_quality(statements, lake.store, "main", patient, start_ns, until_ns)
        found["quality"] = _seconds(quality)
    return found


def _seconds(runs: Iterable[Any]) -> list[tuple[int, int, tuple[str, ...]]]:
    """Runs second by second, however they were cut."""
    return [
        (at_ns, run.grade, run.reasons) for run in runs for at_ns in range(run.start_ns, run.until_ns, NS)
    ]
