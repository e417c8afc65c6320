"""Gateways that send patients' segments until each is acknowledged, and what must come of it."""

import http.client
import json
import threading
import time
from typing import Any

import msgspec
import numpy as np

from einthoven.alerts import Alert, AlertBook, sightings_of
from einthoven.clock import VirtualClock
from einthoven.runtime.online import OnlinePath
from einthoven.server.running import RunningService
from einthoven.server.wire import Answer, answer_of
from einthoven.signal.recording import Recording, Segment
from einthoven.simulation import SCENES, VirtualPatient

NS = 10**9
PACE_S = 0.1
SIZE_S = 10
SCENES_USED = ("vt_to_vf", "pauses", "atrial_fibrillation", "healthy", "asystole", "ectopy")


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


def cut(number: int, count: int) -> list[Segment]:
    """A virtual patient's stream in so many segments; it begins now."""
    start_ns = time.time_ns()
    scene = SCENES_USED[number % len(SCENES_USED)]
    patient = VirtualPatient(seed=number, scene=SCENES[scene], duration_s=count * SIZE_S)
    size = round(SIZE_S * patient.info.fs)
    info = msgspec.structs.replace(patient.info, samples=size, leads=patient.info.leads[:1])
    info = msgspec.structs.replace(info, leads=(msgspec.structs.replace(info.leads[0], name="ECG"),))
    return [
        Segment(
            f"p-{number}",
            f"d-{number}",
            k,
            start_ns + k * SIZE_S * NS,
            Recording(info, np.array(patient.read(k * size, (k + 1) * size, 0))),
        )
        for k in range(count)
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
