"""Views as they are asked over HTTP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest

from einthoven.server.batch_views import BatchLayer
from einthoven.server.sealing import Sealer
from einthoven.server.settings import Settings
from einthoven.signal.recording import Segment
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.storage import Database, MasterDataset, open_store
from einthoven.testing.serving import Served, serving
from einthoven.testing.views import segments_of_source

NS = 10**9
START_NS = 1_700_000_000 * NS
MINUTES = 12
SPAN = {"from": "2023-11-14T22:00:00Z", "until": "2023-11-14T23:00:00Z"}
PATHS = ("trends", "summary", "episodes", "beats", "quality")


@pytest.fixture(scope="module")
def segments() -> list[Segment]:
    return segments_of_source(VirtualPatient(3, SCENES["paroxysm"], duration_s=60.0 * MINUTES), START_NS)


@pytest.fixture
def asked(database: Database, tmp_path: Path, segments: list[Segment]) -> Iterator[Served]:
    """A service to which a device sent twelve minutes, the first eight of which are in batch views."""
    settings = Settings(data_folder=str(tmp_path))
    with serving(database, settings=settings) as running:
        device = running.device("p1", device="chest")
        for one in segments[:16]:
            send(device, one)
        cover(database, settings)
        for one in segments[16:]:
            send(device, one)
        yield running


def send(device: httpx.Client, segment: Segment) -> None:
    lead = segment.recording.info.leads[0]
    body = {
        "sequence": segment.sequence,
        "startTime": segment.start_ns,
        "gain": lead.gain,
        "samples": segment.recording.counts[0].astype("<i2").tobytes(),
    }
    answer = device.post(
        "/v1/segments", content=msgspec.msgpack.encode(body), headers={"Content-Type": "application/msgpack"}
    )
    assert answer.status_code == 200, answer.text


def cover(database: Database, settings: Settings) -> None:
    store = open_store(settings.objects_url)
    dataset = MasterDataset(store)
    connection = database.connect()
    far_ns = 2 * START_NS
    try:
        assert Sealer(dataset, after_s=0.0, bytes_=2**24).seal(connection, far_ns) == 16
        batch = BatchLayer(dataset, store, lambda _s, _o, _p: None)
        assert batch.refresh(connection, far_ns) == 1
    finally:
        connection.close()


def found(client: httpx.Client, path: str, patient: str = "p1", **parameters: Any) -> Any:
    answer = client.get(f"/v1/patients/{patient}/{path}", params={**SPAN, **parameters})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_clinician_sees_batch_and_real_time_views_as_one(asked: Served) -> None:
    clinician = asked.person("clinician")
    trend = found(clinician, "trends", resolution="1m")
    beats = found(clinician, "beats")
    summary = found(clinician, "summary")
    episodes = found(clinician, "episodes")
    quality = found(clinician, "quality")
    assert trend["devices"] == ["chest"]
    assert len(trend["startMs"]) == MINUTES + 1  # they begin within one
    assert np.diff(trend["startMs"]).tolist() == [60_000] * MINUTES
    per_minute = np.sum([trend["beats"][name] for name in "NSVFQ"], axis=0)
    at = np.array(beats["atMs"])
    assert per_minute.tolist() == [
        int(((at >= start) & (at < start + 60_000)).sum()) for start in trend["startMs"]
    ]
    assert len(at) == len(beats["classes"]) == len(beats["confidences"])
    assert np.all(np.diff(at) > 0)
    assert sum(summary["beats"][name][0] for name in "NSVFQ") == len(at)
    assert summary["burdenMs"]["atrial_fibrillation"][0] == sum(trend["burdenMs"]["atrial_fibrillation"]) > 0
    fibrillation = [one for one in episodes["items"] if one["kind"] == "atrial_fibrillation"]
    assert fibrillation
    assert sum(trend["onsets"]["atrial_fibrillation"]) == len(fibrillation)
    assert {one["grade"] for one in quality["items"]} <= {1, 2, 3}
    assert trend["batchUntil"] == "2023-11-15T00:00:00Z"
    ((_, functions),) = trend["functions"].items()
    assert {"preprocessing", "bdc", "postprocessing", "finalization"} <= functions.keys()


def test_every_resolution_has_the_same_beats(asked: Served) -> None:
    clinician = asked.person("clinician")
    totals = {
        resolution: np.sum(
            [found(clinician, "trends", resolution=resolution)["beats"][name] for name in "NSVFQ"]
        )
        for resolution in ("1m", "5m", "15m", "1h", "6h", "1d")
    }
    assert len(set(totals.values())) == 1


def test_a_patient_sees_their_own_views_and_nobody_elses(asked: Served) -> None:
    patient = asked.person("patient", patient="p1")
    for path in PATHS:
        found(patient, path)
        answer = patient.get(f"/v1/patients/p2/{path}")
        assert answer.status_code == 403
        assert answer.json()["code"] == "access-denied"


def test_another_organisation_sees_nothing(asked: Served) -> None:
    stranger = asked.person("clinician", org="elsewhere")
    for path in PATHS:
        said = found(stranger, path)
        assert [said.get(name, []) for name in ("items", "startMs", "atMs", "devices")] == [[], [], [], []]


@pytest.mark.parametrize(
    ("path", "parameters", "where"),
    [
        ("trends", {"from": SPAN["until"], "until": SPAN["from"]}, "until"),
        ("summary", {"from": SPAN["until"], "until": SPAN["from"]}, "until"),
        ("trends", {"from": "2022-01-01T00:00:00Z", "resolution": "1m"}, "resolution"),
        ("trends", {"resolution": "2h"}, "resolution"),
        ("trends", {"from": "yesterday"}, "from"),
        ("beats", {"from": "2023-11-01T00:00:00Z"}, "until"),
        ("quality", {"from": "2023-11-01T00:00:00Z"}, "until"),
        ("beats", {"speed": "fast"}, "query"),
        ("episodes", {"device": "../x"}, "device"),
    ],
)
def test_what_is_wrong_with_a_question_is_told(
    sqlite_served: Served, path: str, parameters: dict[str, str], where: str
) -> None:
    answer = sqlite_served.person("clinician").get(f"/v1/patients/p1/{path}", params={**SPAN, **parameters})
    assert answer.status_code == 400, answer.text
    assert answer.json()["where"] == where


def test_without_a_span_the_last_day_is_meant(asked: Served) -> None:
    """Which these twelve minutes are not in."""
    said = asked.person("clinician").get("/v1/patients/p1/trends").json()
    assert said["startMs"] == []


def test_episodes_come_in_pages(asked: Served) -> None:
    clinician = asked.person("clinician")
    whole = found(clinician, "episodes")["items"]
    assert len(whole) >= 2
    first = found(clinician, "episodes", limit=1)
    assert first["items"] == whole[:1]
    assert first["next"] == whole[1]["onset"]
