"""Traces, received by a real OTLP receiver: who took how long, and nothing of whom."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from einthoven.server.running import RunningService
from einthoven.testing.builders import some_segments

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed")
TRACE = "0af7651916cd43dd8448eb211c80319c"


class _Spans(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.bodies.append(body)  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def receiver() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Spans)
    server.bodies = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_request_and_its_batch_are_spans_of_the_callers_trace_and_name_nobody(
    tmp_path: Path, receiver: ThreadingHTTPServer
) -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415 - an extra
        ExportTraceServiceRequest,
    )

    url = f"http://127.0.0.1:{receiver.server_address[1]}/v1/traces"
    service = RunningService(tmp_path, workers=1, flags=("--traces-url", url))
    service.wait_until_ready()
    (segment,) = some_segments("secret-name", 1)
    body = {
        "patientId": segment.patient,
        "deviceId": segment.device,
        "sequence": 0,
        "startTime": segment.start_ns,
        "samples": segment.recording.counts[0].tolist(),
    }
    headers = {
        "Authorization": f"Bearer {service.token()}",
        "traceparent": f"00-{TRACE}-b7ad6b7169203331-01",
    }
    answer = httpx.post(
        f"{service.url}/v1/segments", content=json.dumps(body), headers=headers, trust_env=False, timeout=30
    )
    assert answer.status_code == 200
    assert service.stop() == 0
    bodies: list[bytes] = receiver.bodies  # type: ignore[attr-defined]
    found = {}
    for content in bodies:
        for resource in ExportTraceServiceRequest.FromString(content).resource_spans:
            for scope in resource.scope_spans:
                found.update({span.name: span for span in scope.spans})
    assert set(found) == {"ingest", "batch"}
    assert found["ingest"].trace_id.hex() == TRACE
    names = {one.key for one in found["ingest"].attributes}
    assert names == {"encoding", "segments", "analysed"}
    assert not any(b"secret-name" in content for content in bodies)
