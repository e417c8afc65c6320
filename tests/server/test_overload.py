"""More than fits, and the end: what was acknowledged is kept, what was refused left no trace."""

import http.client
import json
import threading
from pathlib import Path

import pytest

from einthoven.server.running import RunningService
from einthoven.storage import open_database
from einthoven.testing.builders import some_segments

BODIES = {
    segment.sequence: json.dumps(
        {
            "sequence": segment.sequence,
            "startTime": segment.start_ns,
            "samples": segment.recording.counts[0].tolist(),
        }
    )
    for segment in some_segments("a", 150, 5.0)
}


Heard = tuple[str, int, int, str | None]
"""Device, sequence, status and when to try again."""


def send_all(service: RunningService, token: str, device: str, mode: str, heard: list[Heard]) -> None:
    """A device's segments, one after the other, whatever is answered."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    headers = {"Authorization": f"Bearer {token}", **({"Prefer": mode} if mode else {})}
    try:
        for sequence, body in BODIES.items():
            about = json.dumps({"patientId": device, "deviceId": device})[:-1]
            connection.request("POST", "/v1/segments", f"{about}, {body[1:]}", headers)
            answer = connection.getresponse()
            answer.read()
            heard.append((device, sequence, answer.status, answer.headers["retry-after"]))
    except (OSError, http.client.HTTPException):
        return  # the service is gone
    finally:
        connection.close()


class Crowd:
    """Many devices that send at once."""

    def __init__(self, service: RunningService, devices: int, mode: str = "") -> None:
        token = service.token()
        self.answers: list[Heard] = []
        self._threads = [
            threading.Thread(target=send_all, args=(service, token, f"d-{k}", mode, self.answers))
            for k in range(devices)
        ]
        for thread in self._threads:
            thread.start()

    def wait(self) -> None:
        for thread in self._threads:
            thread.join()


def kept(service: RunningService) -> set[tuple[str, int]]:
    connection = open_database(service.database).connect()
    with connection.reading() as statements:
        rows = statements.rows("SELECT device, sequence FROM segments JOIN streams ON id = stream")
    connection.close()
    return set(rows)  # type: ignore[arg-type]


def test_what_does_not_fit_is_refused_and_left_no_trace(tmp_path: Path) -> None:
    service = RunningService(
        tmp_path, workers=1, flags=("--queue-limit", "2", "--batch-limit", "2", "--gateway-rate-per-s", "0")
    )
    service.wait_until_ready()
    crowd = Crowd(service, 24)
    crowd.wait()
    statuses = {status for _, _, status, _ in crowd.answers}
    assert statuses == {200, 503}
    assert all(after == "1" for _, _, status, after in crowd.answers if status == 503)
    assert kept(service) == {(device, k) for device, k, status, _ in crowd.answers if status == 200}
    assert service.stop() == 0


@pytest.mark.parametrize("mode", ["", "respond-async"])
def test_a_service_that_is_told_to_end_finishes_what_it_accepted(tmp_path: Path, mode: str) -> None:
    service = RunningService(tmp_path, workers=2, flags=("--gateway-rate-per-s", "0"))
    service.wait_until_ready()
    crowd = Crowd(service, 16, mode)
    while len(crowd.answers) < 30:
        threading.Event().wait(0.01)
    assert service.stop() == 0
    crowd.wait()
    acknowledged = {(device, k) for device, k, status, _ in crowd.answers if status in (200, 202)}
    assert len(acknowledged) >= 30
    assert len(acknowledged) < 16 * len(BODIES), "the load was over before the end"
    assert acknowledged <= kept(service)


def test_segments_whose_sender_waits_are_not_held_up_by_those_that_can_wait(tmp_path: Path) -> None:
    """A flood of accepted segments; a device that wants findings gets them in a moment."""
    service = RunningService(tmp_path, workers=1, flags=("--gateway-rate-per-s", "0"))
    service.wait_until_ready()
    flood = Crowd(service, 24, "respond-async")
    heard: list[Heard] = []
    send_all(service, service.token(), "urgent", "", heard)
    connection = open_database(service.database).connect()
    with connection.reading() as statements:
        ((waiting,),) = statements.rows("SELECT SUM(waiting) FROM streams")
    connection.close()
    assert [status for _, _, status, _ in heard] == [200] * len(BODIES)
    assert waiting > 0, "the flood was over before the urgent ones were"
    flood.wait()
    assert service.stop() == 0
