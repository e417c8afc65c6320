"""The lambda law: batch views and real-time views together say what all of the data says, at any time."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from einthoven.errors import Conflict, StoreUnavailable
from einthoven.functions import Ecg, analyse
from einthoven.server import batch_views
from einthoven.server.batch_views import BatchLayer, Progress
from einthoven.server.metrics import METRICS
from einthoven.server.serving_layer import read_beats, read_trend
from einthoven.signal.recording import Segment
from einthoven.simulation import SCENES, Scene, VirtualPatient
from einthoven.simulation.rhythms import Period
from einthoven.storage import Connection, Database, FolderStore, open_database
from einthoven.storage.view_rows import day_traits, live_row, source_of_stream, sources_of
from einthoven.testing.views import Lake, said, segments_of_source

NS = 10**9
DAY_NS = 86_400 * NS
MIDNIGHT_NS = 1_700_000_000 * NS // DAY_NS * DAY_NS
START_NS = MIDNIGHT_NS - 11 * 60 * NS + 123_456_789
"""Eleven minutes before a day ends, and not on a second."""
MINUTES = 20
UNTIL_NS = START_NS + (MINUTES + 1) * 60 * NS
SCENE = Scene(
    "all of it",
    "ectopic beats, fibrillation, runs, a pause, a lead that falls off",
    (
        Period("sinus", 200, 72, pvc_share=0.08, pac_share=0.03),
        Period("atrial_fibrillation", 240, 104),
        Period("ventricular_tachycardia", 12, 180),
        Period("sinus", 120, 60),
        Period("asystole", 6),
    ),
    SCENES["lead_off"].noises,
)


@pytest.fixture(scope="module")
def segments() -> list[Segment]:
    """Twenty minutes over midnight, the last of which says so."""
    return segments_of_source(VirtualPatient(5, SCENE, duration_s=60.0 * MINUTES), START_NS)


@pytest.fixture
def lake(database: Database, tmp_path: Path) -> Iterator[Lake]:
    connection = database.connect()
    yield Lake(connection, FolderStore(tmp_path / "objects"))
    connection.close()


@pytest.fixture(scope="module")
def new_lake(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Makes an empty one."""
    opened: list[Connection] = []

    def make() -> Lake:
        folder = tmp_path_factory.mktemp("lake")
        database = open_database(str(folder / "einthoven.db"))
        database.migrate()
        opened.append(database.connect())
        return Lake(opened[-1], FolderStore(folder / "objects"))

    yield make
    for connection in opened:
        connection.close()


@pytest.fixture(scope="module")
def whole(new_lake: Any, segments: list[Segment]) -> dict[str, Any]:
    """What the batch layer alone says of all segments."""
    lake = new_lake()
    lake.send(segments, last=segments[-1].sequence)
    lake.cover()
    return said(lake, START_NS, UNTIL_NS)


def test_the_scene_shows_what_views_are_of(whole: dict[str, Any]) -> None:
    """Or the law would be one of nothing."""
    kinds = {episode[0] for episode in whole["episodes"]}
    assert {"atrial_fibrillation", "ventricular_run", "asystole", "lead_off"} <= kinds
    days = whole["trend 1440"][0]
    assert len(days) == 2
    assert len(whole["beats"][0]) > 1000
    assert {1, 3} <= {grade for _, grade, _ in whole["quality"]}


def test_batch_views_are_those_of_the_unsplit_recording(
    lake: Lake, segments: list[Segment], whole: dict[str, Any]
) -> None:
    samples = np.concatenate([one.recording.counts[0] for one in segments]).astype(np.int32)
    lead = segments[0].recording.info.leads[0]
    ecg, _ = analyse(Ecg(samples=samples, gain=lead.gain, baseline=lead.baseline, lead=lead.name))
    assert ecg.findings is not None
    beats = ecg.findings.beats
    assert whole["beats"][0] == (START_NS + beats.positions * 8_000_000).tolist()
    assert whole["beats"][1] == "".join("NSVFQ"[code] for code in beats.classes.tolist())
    lasted: dict[str, int] = {}
    for one in ecg.findings.episodes:
        end = one.end if one.end is not None else samples.size
        lasted[one.kind] = lasted.get(one.kind, 0) + 8 * (end - one.onset)
    ms = {kind: sum(row) for kind, row in whole["trend None"][2].items()}
    assert ms.keys() == lasted.keys()
    for kind, span_ms in ms.items():
        assert abs(span_ms - lasted[kind]) <= 2 * len(ecg.findings.episodes)


def test_real_time_views_alone_say_what_batch_views_say(
    lake: Lake, segments: list[Segment], whole: dict[str, Any]
) -> None:
    lake.send(segments, last=segments[-1].sequence)
    assert said(lake, START_NS, UNTIL_NS) == whole


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(use_true_random=False))
def test_at_every_watermark_batch_and_real_time_together_say_what_all_says(
    new_lake: Any, segments: list[Segment], whole: dict[str, Any], chance: random.Random
) -> None:
    lake = new_lake()
    for one in segments:
        lake.send([one], last=segments[-1].sequence)
        match chance.randrange(12):
            case 0:
                lake.cover()
            case 1:
                lake.seal()
            case 2:
                lake.speed.keep(lake.connection, 0)
    assert said(lake, START_NS, UNTIL_NS) == whole


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(use_true_random=False))
def test_late_repeated_and_reordered_segments_leave_the_same_once_batch_has_seen_them(
    new_lake: Any, segments: list[Segment], whole: dict[str, Any], chance: random.Random
) -> None:
    """And until then no beat is there twice."""
    lake = new_lake()
    late: list[Segment] = []
    outage = chance.randrange(40)
    for one in segments:
        if chance.random() < 0.1 or outage <= one.sequence < outage + chance.choice([0, 13]):
            late.append(one)
            continue
        lake.send([one], last=segments[-1].sequence)
        for again in (one, late[0] if late else one):
            if chance.random() < 0.2:
                lake.send([again], last=segments[-1].sequence)
        if chance.random() < 0.1:
            lake.cover()
            beats = said(lake, START_NS, UNTIL_NS)["beats"][0]
            assert len(set(beats)) == len(beats)
    chance.shuffle(late)
    lake.send(late, last=segments[-1].sequence)
    lake.cover()
    assert said(lake, START_NS, UNTIL_NS) == whole
    assert lake.cover() == 0


def test_a_real_time_view_is_dropped_when_batch_covers_it(lake: Lake, segments: list[Segment]) -> None:
    lake.send(segments[:10])
    lake.cover()
    lake.send(segments[10:20])
    assert lake.speed.keep(lake.connection, 0) == 1
    assert _live(lake) is not None
    lake.cover()
    assert _live(lake) is None


def _live(lake: Lake) -> Any:
    with lake.connection.reading() as statements:
        source = source_of_stream(statements, 1)
        return None if source is None else live_row(statements, source)


def test_what_is_sealed_waits_for_more_before_batch_takes_it_in(lake: Lake, segments: list[Segment]) -> None:
    lake.send(segments[:4])
    lake.seal()
    patient = BatchLayer(lake.dataset, lake.store, lambda _s, _o, _p: None, after_s=600.0)
    sealed_ns = lake.now_ns + NS
    assert patient.refresh(lake.connection, sealed_ns + 599 * NS) == 0
    assert METRICS.views_behind._value.get() == pytest.approx(599.0)
    assert patient.refresh(lake.connection, sealed_ns + 600 * NS) == 1
    assert patient.refresh(lake.connection, sealed_ns + 601 * NS) == 0
    assert METRICS.views_behind._value.get() == 0


def test_segments_that_wait_to_be_analysed_are_no_loss(
    lake: Lake, segments: list[Segment], whole: dict[str, Any]
) -> None:
    lake.send(segments[:20])
    lake.send(segments[20:], last=segments[-1].sequence, mode="accept")
    lake.cover()
    while lake.engine.work_off(7):
        lake.cover()
    lake.cover()
    assert said(lake, START_NS, UNTIL_NS) == whole


def test_two_devices_count_each_and_one_can_be_asked_for(lake: Lake, segments: list[Segment]) -> None:
    lake.send(segments[:20])
    other = [msgspec.structs.replace(one, device="e") for one in segments[:20]]
    lake.send(other[:10])
    lake.cover()
    lake.send(other[10:])
    with lake.connection.reading() as statements:
        span = ("main", "p", START_NS, UNTIL_NS, None)
        both = read_trend(statements, *span, now_ns=UNTIL_NS)
        one = read_trend(statements, *span, device="e", now_ns=UNTIL_NS)
        same = read_trend(statements, *span, device="d", now_ns=UNTIL_NS)
        nobody = read_trend(statements, "main", "q", START_NS, UNTIL_NS, None, now_ns=UNTIL_NS)
        other_org = read_trend(statements, "elsewhere", "p", START_NS, UNTIL_NS, None, now_ns=UNTIL_NS)
    assert (both.devices, one.devices) == (("d", "e"), ("e",))
    assert one.tallies.rows[0, 0] == same.tallies.rows[0, 0]
    assert both.tallies.rows[0, 0] == 2 * one.tallies.rows[0, 0]
    assert not len(nobody.tallies)
    assert not len(other_org.tallies)


def test_views_of_a_stream_that_paused_for_an_hour_have_no_interval_over_it(
    lake: Lake, segments: list[Segment]
) -> None:
    """The batch layer decides the end of what was before; the online path never hears of it."""
    lake.send(segments[:8])
    paused = [msgspec.structs.replace(one, start_ns=one.start_ns + 3600 * NS) for one in segments[8:16]]
    lake.send(paused)
    before = said(lake, START_NS, UNTIL_NS + 3600 * NS)
    lake.cover()
    after = said(lake, START_NS, UNTIL_NS + 3600 * NS)
    added = set(after["beats"][0]) - set(before["beats"][0])
    assert set(before["beats"][0]) <= set(after["beats"][0])
    edge_ns = segments[8].start_ns
    assert added
    assert all(edge_ns - 15 * NS < at_ns < edge_ns for at_ns in added)


# ---------------------------------------------------------------- made anew


def rebuilt(lake: Lake, batch: BatchLayer | None = None) -> tuple[int, list[Progress]]:
    told: list[Progress] = []
    layer = batch or lake.batch
    return layer.rebuild(lake.connection, 1, lake.now_ns, told.append), told


def test_views_made_anew_are_the_same(lake: Lake, segments: list[Segment], whole: dict[str, Any]) -> None:
    lake.send(segments, last=segments[-1].sequence)
    lake.cover()
    count, told = rebuilt(lake)
    assert count == 2
    assert [(one.day, one.days) for one in told] == [(1, 2), (2, 2)]
    assert said(lake, START_NS, UNTIL_NS) == whole


def test_views_can_be_made_from_the_master_dataset_alone(
    lake: Lake, segments: list[Segment], whole: dict[str, Any]
) -> None:
    lake.send(segments, last=segments[-1].sequence)
    lake.cover()
    with lake.connection.writing() as statements:
        for table in ("view_days", "view_live", "view_sources", "view_due"):
            statements.run(f"DELETE FROM {table}")  # noqa: S608 - these
        statements.run("UPDATE segments SET answer = NULL")
    assert rebuilt(lake)[0] == 2
    assert said(lake, START_NS, UNTIL_NS) == whole


class Newer(BatchLayer):
    """The batch layer after an upgrade of a function."""

    @property
    def versions(self) -> dict[str, str]:  # type: ignore[override]
        return {**super().versions, "bdc": "999"}


def newer(lake: Lake) -> BatchLayer:
    return Newer(lake.dataset, lake.store, lambda _s, _o, _p: None)


def versions(lake: Lake) -> set[str]:
    with lake.connection.reading() as statements:
        trend = read_trend(statements, "main", "p", START_NS, UNTIL_NS, None, now_ns=UNTIL_NS)
    return {made["bdc"] for made in trend.made_by.values()}


def test_each_row_says_which_functions_made_it_and_an_upgrade_takes_their_place_at_once(
    lake: Lake, segments: list[Segment]
) -> None:
    lake.send(segments[:-10])
    lake.cover()
    (old,) = versions(lake)
    seen: list[set[str]] = []
    upgraded = newer(lake)
    upgraded.rebuild(lake.connection, 1, lake.now_ns, lambda _progress: seen.append(versions(lake)))
    assert seen == [{old}, {old}]
    assert versions(lake) == {"999"}


def test_a_day_is_never_of_two_versions(lake: Lake, segments: list[Segment]) -> None:
    """What is added to a day after an upgrade has the whole day replayed."""
    lake.send(segments[:-10])
    lake.cover()
    lake.send(segments[-10:])
    lake.seal()
    while newer(lake).refresh(lake.connection, lake.now_ns + 2 * NS):
        pass
    with lake.connection.reading() as statements:
        rows = day_traits(statements, 1, 1)
    assert len({one.made_by for one in rows}) == 2
    assert sum(one.segments for one in rows) == len(segments)


def test_a_rebuild_that_was_cut_off_goes_on_where_it_was(
    lake: Lake, segments: list[Segment], whole: dict[str, Any]
) -> None:
    lake.send(segments, last=segments[-1].sequence)
    lake.cover()
    upgraded = newer(lake)

    def cut(progress: Progress) -> None:
        if progress.day == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upgraded.rebuild(lake.connection, 1, lake.now_ns, cut)
    assert said(lake, START_NS, UNTIL_NS) == whole
    assert upgraded.rebuild(lake.connection, 1, lake.now_ns, lambda _p: None) == 1
    assert said(lake, START_NS, UNTIL_NS) == whole
    assert versions(lake) == {"999"}


def test_what_came_during_a_rebuild_is_in_the_views_that_take_the_place(
    lake: Lake, segments: list[Segment], whole: dict[str, Any]
) -> None:
    late = segments.pop(5)
    try:
        lake.send(segments[:-8])
        lake.cover()

        def more(progress: Progress) -> None:
            if progress.day == progress.days:
                lake.send([late])
                lake.send(segments[-8:], last=segments[-1].sequence)
                lake.cover()

        lake.batch.rebuild(lake.connection, 1, lake.now_ns, more)
        assert said(lake, START_NS, UNTIL_NS) == whole
    finally:
        segments.insert(5, late)


def test_views_of_what_the_master_dataset_has_no_more_are_no_more(
    lake: Lake, segments: list[Segment], tmp_path: Path
) -> None:
    lake.send(segments)
    lake.cover()
    for path in (tmp_path / "objects" / "segments" / "main").glob(f"{_date(MIDNIGHT_NS - DAY_NS)}/*.eseg"):
        path.unlink()
    assert rebuilt(lake)[0] == 1
    found = said(lake, START_NS, UNTIL_NS)["beats"][0]
    assert found
    assert min(found) >= MIDNIGHT_NS


def _date(at_ns: int) -> str:
    return f"{datetime.fromtimestamp(at_ns // NS, UTC):%Y/%m/%d}"


def test_of_two_rebuilds_at_once_one_gives_way(lake: Lake, segments: list[Segment]) -> None:
    lake.send(segments)
    lake.cover()
    other = BatchLayer(lake.dataset, lake.store, lambda _s, _o, _p: None)

    def second(progress: Progress) -> None:
        if progress.day == progress.days:
            other.rebuild(lake.connection, 1, lake.now_ns, lambda _p: None)

    with pytest.raises(Conflict, match="another process"):
        lake.batch.rebuild(lake.connection, 1, lake.now_ns, second)


# ---------------------------------------------------------------- what goes wrong


def test_a_damaged_segment_is_left_out_and_the_others_are_not(
    lake: Lake, segments: list[Segment], tmp_path: Path
) -> None:
    lake.send(segments)
    lake.seal()
    (path, *_) = sorted((tmp_path / "objects" / "segments").rglob("*.eseg"))
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    lake.cover()
    beats = said(lake, START_NS, UNTIL_NS)["beats"][0]
    assert len(beats) > 1000


def test_a_store_that_does_not_answer_costs_time_and_nothing_else(
    lake: Lake, segments: list[Segment], whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.send(segments, last=segments[-1].sequence)
    lake.seal()

    def gone(*_: object) -> None:
        raise StoreUnavailable("no answer.", where="objects")

    with monkeypatch.context() as patched:
        patched.setattr(FolderStore, "read", gone)
        lake.batch.refresh(lake.connection, lake.now_ns + 2 * NS)
        assert said(lake, START_NS, UNTIL_NS)["trend 1"] == whole["trend 1"]
    lake.now_ns += 10 * NS
    lake.cover()
    assert said(lake, START_NS, UNTIL_NS) == whole


def test_objects_that_are_no_longer_needed_are_deleted_later_and_no_others(
    lake: Lake, segments: list[Segment], whole: dict[str, Any]
) -> None:
    late = segments[3]
    lake.send([*segments[:3], *segments[4:]], last=segments[-1].sequence)
    lake.cover()
    before = set(lake.store.names("views"))
    lake.send([late])
    lake.cover()
    assert before < set(lake.store.names("views"))
    assert lake.batch.tidy(lake.connection, lake.now_ns + 300 * NS) == 0
    assert lake.batch.tidy(lake.connection, lake.now_ns + 700 * NS) > 0
    assert said(lake, START_NS, UNTIL_NS) == whole
    with lake.connection.reading() as statements:
        read_beats(statements, lake.store, "main", "p", START_NS, UNTIL_NS)
    assert len(set(lake.store.names("views"))) == len(before)


def test_a_state_of_another_program_ends_there_and_views_go_on(lake: Lake, segments: list[Segment]) -> None:
    lake.send(segments[:20])
    lake.cover()
    with lake.connection.writing() as statements:
        (carried,) = statements.rows("SELECT carried FROM view_days")[0]
        stream, state, views = msgspec.msgpack.decode(carried)
        old = msgspec.msgpack.encode([stream, b"\x00" + state[1:], views])
        statements.run("UPDATE view_days SET carried = ?", (old,))
    lake.send(segments[20:])
    lake.cover()
    beats = said(lake, START_NS, UNTIL_NS)["beats"][0]
    assert len(set(beats)) == len(beats) > 1000


def test_one_stream_that_breaks_the_batch_layer_keeps_no_other_waiting(
    lake: Lake, segments: list[Segment], monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.send(segments[:10])
    lake.send([msgspec.structs.replace(one, device="e") for one in segments[:10]])
    lake.seal()
    place = batch_views.place

    def broken(stream: Any, segment: Segment, **more: Any) -> Any:
        if segment.device == "d":
            raise ZeroDivisionError
        return place(stream, segment, **more)

    with monkeypatch.context() as patched:
        patched.setattr(batch_views, "place", broken)
        assert lake.batch.refresh(lake.connection, lake.now_ns + 2 * NS) == 2
    with lake.connection.reading() as statements:
        sources = sources_of(statements, "main", "p")
    assert [(one.device, one.through) for one in sources] == [("d", -1), ("e", 9)]
    lake.now_ns += 10 * NS
    lake.cover()
    with lake.connection.reading() as statements:
        assert [one.through for one in sources_of(statements, "main", "p")] == [9, 9]


def test_a_clock_that_was_years_away_costs_a_rebuild_no_time(lake: Lake, segments: list[Segment]) -> None:
    """Only days on which something was sealed are looked at."""
    lake.send(
        [msgspec.structs.replace(one, start_ns=one.start_ns - 50 * 365 * DAY_NS) for one in segments[:4]]
    )
    lake.send(segments[4:])
    lake.cover()
    before = said(lake, START_NS, UNTIL_NS)
    count, told = rebuilt(lake)
    assert count == len(told) == 3
    assert said(lake, START_NS, UNTIL_NS) == before
