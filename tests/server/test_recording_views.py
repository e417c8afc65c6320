"""A recording that was uploaded counts where it covers, and nothing counts twice."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from einthoven.functions import analyse, count_hours, own_part, split
from einthoven.runtime.joined_findings import JoinedKeeping
from einthoven.server.recording_views import RecordingViews
from einthoven.signal.findings import Findings
from einthoven.signal.recording import Recording, Segment
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.storage import Database, FolderStore
from einthoven.storage.recordings import (
    KeptRecording,
    RecordingFile,
    add_recording,
    analyse_again,
    end_recording,
    mark_tidy,
)
from einthoven.storage.view_rows import sources_of
from einthoven.testing.views import Lake, said, segments_of_source

NS = 10**9
DAY_NS = 86_400 * NS
MIDNIGHT_NS = 1_700_000_000 * NS // DAY_NS * DAY_NS
START_NS = MIDNIGHT_NS - 11 * 60 * NS + 123_456_789
MINUTES = 20
UNTIL_NS = START_NS + (MINUTES + 1) * 60 * NS
SCENE = SCENES["paroxysm"]


@pytest.fixture
def lake(database: Database, tmp_path: Path) -> Iterator[Lake]:
    connection = database.connect()
    yield Lake(connection, FolderStore(tmp_path / "objects"))
    connection.close()


@pytest.fixture(scope="module")
def segments() -> list[Segment]:
    return segments_of_source(VirtualPatient(5, SCENE, duration_s=60.0 * MINUTES), START_NS)


def analysed(
    lake: Lake,
    segments: list[Segment],
    device: str = "d",
    start_ns: int | None = None,
    hour_s: float = 3600.0,
) -> int:
    """What these segments are as one recording, whose workflow has ended; its number."""
    counts = np.concatenate([one.recording.counts for one in segments], axis=1)
    samples = counts.shape[1]
    recording = Recording(msgspec.structs.replace(segments[0].recording.info, samples=samples), counts)
    joining = JoinedKeeping(lake.store, hour_s)
    for hour in hours_of(recording, hour_s):
        joining.add(hour)
    name, _, _ = joining.end()
    file = RecordingFile("a.edf", f"{segments[0].sequence:064}")
    new = KeptRecording(org="main", patient="p", device=device, digest=file.sha256, files=(file,))
    with lake.connection.writing() as statements:
        kept, _ = add_recording(statements, new)
        statements.run(
            "UPDATE recordings SET state = 'done', result = ?, start_ns = ?, fs = 125.0, samples = ? "
            "WHERE number = ?",
            (name, segments[0].start_ns if start_ns is None else start_ns, samples, kept.number),
        )
    return kept.number


def hours_of(recording: Recording, hour_s: float) -> Iterator[Findings]:
    for chunk in count_hours(recording.info, hour_s):
        findings = analyse(split(recording, chunk))[0].findings
        assert findings is not None
        yield own_part(findings, chunk)


def publish(lake: Lake) -> None:
    views = RecordingViews(lake.batch, lake.store)
    while views.publish(lake.connection, lake.now_ns):
        pass


def noisy(segment: Segment) -> Segment:
    """The same, spoilt on its way."""
    counts = np.random.default_rng(segment.sequence).integers(-4000, 4000, segment.recording.counts.shape)
    return msgspec.structs.replace(
        segment, recording=Recording(segment.recording.info, counts.astype(np.int16))
    )


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Episodes that go on are ended where a recording ends."""
    keys = [key for key in one if key.startswith("trend") or key in {"beats", "quality"}]
    return all(one[key][:2] == other[key][:2] for key in keys)


@pytest.mark.parametrize("hour_s", [3600.0, 60.0, 77.0, 300.0])
def test_a_recording_alone_says_what_its_stream_would_have_said(
    lake: Lake, segments: list[Segment], hour_s: float
) -> None:
    """In however many parts its findings lie."""
    analysed(lake, segments, hour_s=hour_s)
    lake.now_ns = UNTIL_NS
    publish(lake)
    recorded = said(lake, START_NS, UNTIL_NS)
    lake.send([msgspec.structs.replace(one, patient="q", device="e") for one in segments], last=39)
    lake.cover()
    streamed = said(lake, START_NS, UNTIL_NS, patient="q")
    assert len(streamed["beats"][0]) > 1000
    assert same(recorded, streamed)
    ends = [(one[0], one[1]) for one in streamed["episodes"]]
    assert [(one[0], one[1]) for one in recorded["episodes"]] == ends


@pytest.mark.parametrize("covers", ["before", "after", "never"])
def test_it_counts_instead_of_what_its_device_sent_of_the_same_time(
    lake: Lake, segments: list[Segment], covers: str
) -> None:
    """Whether that is in batch views, or only in real-time views."""
    spoilt = [noisy(one) if 8 <= one.sequence < 30 else one for one in segments]
    lake.send(spoilt)
    if covers == "before":
        lake.cover()
    before = said(lake, START_NS, UNTIL_NS)
    taken = segments[6:32]
    analysed(lake, taken)
    publish(lake)
    if covers == "after":
        lake.cover()
    after = said(lake, START_NS, UNTIL_NS)
    start_ns, stop_ns = taken[0].start_ns, taken[-1].start_ns + 30 * NS
    beats = after["beats"][0]
    assert len(set(beats)) == len(beats)
    inside = [at for at in beats if start_ns <= at < stop_ns]
    assert len(inside) > 600
    outside = [at for at in beats if not start_ns <= at < stop_ns]
    assert outside == [at for at in before["beats"][0] if not start_ns <= at < stop_ns]
    seconds = [at for at, *_ in after["quality"]]
    assert len(set(seconds)) == len(seconds)
    assert len(seconds) == pytest.approx(60 * MINUTES, abs=8)
    total = after["trend None"][1][0]
    assert sum(total[:5]) == len(beats)
    assert sum(total[5:8]) == len(seconds)


def test_what_the_device_sends_later_of_the_same_time_does_not_count_either(
    lake: Lake, segments: list[Segment]
) -> None:
    analysed(lake, segments[10:30])
    lake.now_ns = UNTIL_NS
    publish(lake)
    recorded = said(lake, START_NS, UNTIL_NS)["beats"][0]
    lake.send(segments[:20])
    lake.cover()
    lake.send(segments[20:])
    lake.speed.keep(lake.connection, 0)
    after = said(lake, START_NS, UNTIL_NS)["beats"][0]
    start_ns, stop_ns = segments[10].start_ns, segments[30].start_ns
    assert [at for at in after if start_ns <= at < stop_ns] == recorded
    assert len(set(after)) == len(after)


def test_another_device_counts_beside_it(lake: Lake, segments: list[Segment]) -> None:
    lake.send(segments)
    before = said(lake, START_NS, UNTIL_NS)["beats"][0]
    analysed(lake, segments, device="other")
    publish(lake)
    assert len(said(lake, START_NS, UNTIL_NS)["beats"][0]) > 1.9 * len(before)


def test_a_recording_without_a_time_is_in_no_view(lake: Lake, segments: list[Segment]) -> None:
    number = analysed(lake, segments)
    with lake.connection.writing() as statements:
        statements.run("UPDATE recordings SET start_ns = NULL WHERE number = ?", (number,))
    lake.now_ns = UNTIL_NS
    publish(lake)
    with lake.connection.reading() as statements:
        assert sources_of(statements, "main", "p") == []


def test_analysed_anew_it_takes_its_own_place(lake: Lake, segments: list[Segment]) -> None:
    number = analysed(lake, segments)
    with lake.connection.reading() as statements:
        ((result,),) = statements.rows("SELECT result FROM recordings WHERE number = ?", (number,))
    lake.now_ns = UNTIL_NS
    publish(lake)
    first = said(lake, START_NS, UNTIL_NS)
    with lake.connection.writing() as statements:
        assert not analyse_again(statements, number), "what it needed on the way is not cleared away yet"
        mark_tidy(statements, number)
        assert analyse_again(statements, number)
    publish(lake)
    assert said(lake, START_NS, UNTIL_NS) == first, "until then it is asked as it was"
    with lake.connection.writing() as statements:
        assert end_recording(statements, number, "done", 1, result=result)
    publish(lake)
    assert said(lake, START_NS, UNTIL_NS) == first
    with lake.connection.reading() as statements:
        assert statements.rows("SELECT COUNT(DISTINCT generation), COUNT(*) FROM view_days") == [(1, 2)]
