"""Whatever is killed, at any moment, under load: nothing acknowledged is lost, no alert is doubled."""

import http.client
import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from einthoven.alerts import Alert, AlertBook, AlertRules, Contact, Rung, sightings_of, sign
from einthoven.clock import VirtualClock
from einthoven.runtime.online import OnlinePath
from einthoven.server import accounts, alert_tables
from einthoven.server.keys import signing_keys
from einthoven.server.running import RunningService
from einthoven.server.wire import Answer, answer_of
from einthoven.signal.recording import Recording, Segment
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.storage import Connection, open_database

NS = 10**9
START_NS = time.time_ns()
KILLS = 25 if os.environ.get("EINTHOVEN_EXAMPLES") == "thorough" else 6
SEGMENTS = 14 * KILLS
PACE_S = 0.1
SIZE_S = 10
SCENES_USED = ("vt_to_vf", "pauses", "atrial_fibrillation", "healthy", "asystole", "ectopy")


def kill_one(service: RunningService, choose: random.Random) -> str:
    """SIGKILL a worker, or now and then the supervisor, which is then started again."""
    workers = service.workers()
    if not workers or choose.random() < 0.25:
        service.process.kill()
        service.restart()
        return "supervisor"
    os.kill(choose.choice(workers), signal.SIGKILL)
    return "worker"


class Sender(threading.Thread):
    """A gateway that sends one patient's segments in order, again and again until each is acknowledged."""

    def __init__(self, service: RunningService, token: str, patient: str, segments: list[Segment]) -> None:
        super().__init__(daemon=True)
        self._service = service
        self._token = token
        self._patient = patient
        self._segments = segments
        self.answers: list[dict[str, Any]] = []
        self.repeated = 0

    def run(self) -> None:
        for segment in self._segments:
            body = json.dumps(
                {
                    "patientId": segment.patient,
                    "deviceId": segment.device,
                    "sequence": segment.sequence,
                    "startTime": segment.start_ns,
                    "samples": segment.recording.counts[0].tolist(),
                }
            )
            while True:
                answer = self._send(body)
                if answer is not None:
                    self.answers.append(answer)
                    time.sleep(PACE_S)
                    break
                self.repeated += 1
                time.sleep(0.1)

    def _send(self, body: str) -> dict[str, Any] | None:
        connection = http.client.HTTPConnection("127.0.0.1", self._service.port, timeout=20)
        try:
            connection.request("POST", "/v1/segments", body, {"Authorization": f"Bearer {self._token}"})
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        if response.status == 200:
            return dict(json.loads(content))
        assert response.status == 503, content
        return None


def cut(number: int) -> list[Segment]:
    """A virtual patient's stream in segments."""
    scene = SCENES_USED[number % len(SCENES_USED)]
    patient = VirtualPatient(seed=number, scene=SCENES[scene], duration_s=SEGMENTS * SIZE_S)
    size = round(SIZE_S * patient.info.fs)
    info = msgspec.structs.replace(patient.info, samples=size, leads=patient.info.leads[:1])
    info = msgspec.structs.replace(info, leads=(msgspec.structs.replace(info.leads[0], name="ECG"),))
    return [
        Segment(
            f"p-{number}",
            f"d-{number}",
            k,
            START_NS + k * SIZE_S * NS,
            Recording(info, np.array(patient.read(k * size, (k + 1) * size, 0))),
        )
        for k in range(SEGMENTS)
    ]


def by_the_book(segments: list[Segment]) -> tuple[list[Answer], list[Alert]]:
    """What one process that nobody kills answers, and alerts of."""
    path, book, answers = OnlinePath(VirtualClock()), AlertBook(), []
    for one in segments:
        receipt = path.receive(one)
        assert receipt.findings is not None
        found = receipt.findings
        answers.append(answer_of(one.sequence, found, receipt.start_ns))
        sightings = sightings_of(found.conditions, fs=found.fs, start_ns=receipt.start_ns, until=found.until)
        book.receive(one.patient, sightings, 0.0)
    alerts = [alert for known in book._patients.values() for alert in known.alerts]
    return answers, alerts


def named(alerts: list[Alert]) -> list[tuple[object, ...]]:
    return sorted(
        (a.patient, a.condition, a.about, a.number, a.onset_ns, a.end_ns, a.episodes) for a in alerts
    )


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    database = open_database(database_url)
    database.migrate()
    found = database.connect()
    yield found
    found.close()


def test_kill_minus_nine_of_anything_loses_nothing_and_doubles_no_alert(
    tmp_path: Path, database_url: str, connection: Connection
) -> None:
    ladder = AlertRules(ladder=(Rung((Contact("nobody"),)),))
    with connection.writing() as statements:
        accounts.add_organisation(statements, "main", "", 0)
        _, token = accounts.issue(statements, "main", "gateway", now_ns=0)
        keys = signing_keys(tmp_path)
        alert_tables.add_rules(
            statements, sign(ladder, account="dr", role="clinician", at_ns=0, keys=keys, key="1")
        )
    patients = [cut(number) for number in range(len(SCENES_USED))]
    service = RunningService(tmp_path, database=database_url)
    senders = [Sender(service, token, segments[0].patient, segments) for segments in patients]
    for sender in senders:
        sender.start()
    choose = random.Random(1905)
    killed: list[str] = []
    while any(sender.is_alive() for sender in senders):
        time.sleep(choose.uniform(0.3, 2.0))
        if len(killed) < KILLS:
            killed.append(kill_one(service, choose))
    assert service.stop() == 0
    assert len(killed) == KILLS, "the load was over before all were killed"
    assert {"worker", "supervisor"} <= set(killed)

    with connection.reading() as statements:
        kept = statements.rows(
            "SELECT device, sequence, COUNT(*) FROM segments JOIN streams ON id = stream GROUP BY 1, 2"
        )
        samples = statements.rows("SELECT COUNT(*) FROM journal")
        rows = statements.rows("SELECT content FROM alerts")
        told = statements.rows(
            "SELECT alert_id, step, COUNT(*) FROM outbox WHERE alert_id <> '' GROUP BY 1, 2"
        )
    assert sorted(kept) == sorted((s.device, s.sequence, 1) for segments in patients for s in segments)
    assert samples == [(len(patients) * SEGMENTS,)]
    expected_alerts: list[Alert] = []
    for sender, segments in zip(senders, patients, strict=True):
        answers, alerts = by_the_book(segments)
        expected_alerts += alerts
        for mine, answer in zip(sender.answers, answers, strict=True):
            theirs = json.loads(msgspec.json.encode(answer))
            assert {**mine, "status": "analysed"} == theirs
    everything = [msgspec.msgpack.decode(row[0], type=Alert) for row in rows]
    alerts_kept = [alert for alert in everything if alert.patient]  # not that nobody could be told
    assert named(alerts_kept) == named(expected_alerts)
    assert {row[2] for row in told} == {1}
    assert {row[0] for row in told} == {alert.id for alert in alerts_kept}
