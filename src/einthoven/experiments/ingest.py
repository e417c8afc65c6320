"""How many segments a second this machine accepts, analyses and has on disk; and what a plain service does.

Service and generator are separate processes on the same machine, as a user would start them. What counts is
what lies in the database afterwards, not what was answered.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from einthoven.alerts import AlertRules, Contact, Rung, sign
from einthoven.server import alert_tables
from einthoven.server.delivery.webhook_signing import new_secret
from einthoven.server.keys import signing_keys
from einthoven.server.running import RunningService, processes_under
from einthoven.storage import open_database

__all__ = ["AlertRun", "IngestRun", "PeerRun", "Plan", "bench_alerts", "bench_ingest", "bench_peer"]

_CONNECTIONS: Final = 384
"""Where a request is one segment: more than two workers take into a transaction, so that none waits."""
_CONNECTIONS_OF_PEER: Final = 16
"""With hundreds it answers none of them within the generator's patience."""
Encoding = Literal["json", "json-base64", "msgpack"]


class Plan(msgspec.Struct, frozen=True):
    """One run to be made."""

    encoding: Encoding
    batch: int
    rate_per_s: float | None
    """None: as fast as answers come."""
    seconds: float
    patients: int = 6000
    connections: int = _CONNECTIONS
    burst: bool = False
    """Ten times as many for ten seconds, a third into the run."""


class IngestRun(msgspec.Struct, frozen=True):
    """One run that was made."""

    encoding: Encoding
    batch: int
    mode: Literal["open", "closed"]
    offered_per_s: float
    durable_per_s: float
    """In the database, analysed, each second of the run."""
    sent: int
    durable: int
    lost: int
    """Answered as kept, and not in the database; or never kept."""
    p50_ms: float
    p99_ms: float
    max_ms: float
    cpu_us_per_segment: float
    """Of the service, all its processes."""
    generator_us_per_segment: float
    cpu_share: float
    """Of the whole machine, service and generator."""
    memory_mb: float
    """Resident, of all workers together at the end; pages that they share count each time."""
    recovered_s: float | None = None
    """After a burst: until the median latency of a second was under 100 ms again."""


class PeerRun(msgspec.Struct, frozen=True):
    """The plain service."""

    name: str
    per_s: float | None
    ratio: float | None
    reason: str | None = None


class AlertRun(msgspec.Struct, frozen=True):
    """From a segment's arrival to the webhook received."""

    offered_per_s: float
    alerts: int
    p50_ms: float | None
    p99_ms: float | None


def bench_ingest(plans: Sequence[Plan], workers: int, told: Callable[[str], None]) -> list[IngestRun]:
    """Each plan on a new service with an empty database."""
    runs = []
    for plan in plans:
        told(_title(plan))
        with tempfile.TemporaryDirectory(prefix="einthoven-bench-") as folder:
            service = _service(Path(folder), workers)
            try:
                runs.append(_run(service, plan))
            finally:
                service.stop()
    return runs


def bench_alerts(rate_per_s: float, seconds: float, workers: int) -> AlertRun:
    """Webhooks of every alert to a receiver in this process, while segments come at a rate."""
    receiver = _Receiver()
    with tempfile.TemporaryDirectory(prefix="einthoven-bench-") as name:
        folder = Path(name)
        (folder / "channels.toml").write_text(
            f'[webhook]\nnetworks = ["127.0.0.0/8"]\nallows_http = true\n'
            f'[[webhook.receivers]]\nurl = "{receiver.url}"\nsecrets = ["{new_secret()}"]\n'
        )
        service = _service(folder, workers)
        try:
            _put_in_force(service, AlertRules(ladder=(Rung((Contact("webhook", receiver.url),)),)))
            report = _generate(service, Plan("json", 1, rate_per_s, seconds))
        finally:
            service.stop()
            receiver.close()
    ages = sorted(receiver.ages_ms)
    return AlertRun(
        offered_per_s=report["sent_per_s"],
        alerts=len(ages),
        p50_ms=round(ages[len(ages) // 2], 1) if ages else None,
        p99_ms=round(ages[min(len(ages) - 1, int(0.99 * len(ages)))], 1) if ages else None,
    )


def bench_peer(seconds: float, workers: int, ours_per_s: float) -> PeerRun:
    """The plain service under the same generator, as fast as answers come."""
    name = "FastAPI + NeuroKit2 ecg_process + SQLite, uvicorn"
    missing = [one for one in ("fastapi", "neurokit2") if find_spec(one) is None]
    if missing:
        return PeerRun(name, None, None, f"{' and '.join(missing)} not installed: einthoven[peers]")
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="einthoven-bench-") as folder:
        environment = {**os.environ, "PLAIN_DATABASE": str(Path(folder) / "plain.db")}
        process = subprocess.Popen(  # noqa: S603 - this interpreter
            [
                *(sys.executable, "-m", "uvicorn", "einthoven.experiments.plain:app", "--port", str(port)),
                *("--workers", str(workers), "--log-level", "error", "--no-access-log"),
            ],
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        try:
            if not _listens(port, 60.0):
                return PeerRun(name, None, None, "it did not start")
            plan = Plan("json", 1, None, seconds, patients=200, connections=_CONNECTIONS_OF_PEER)
            report = _send(f"http://127.0.0.1:{port}", "none", plan)
        finally:
            process.terminate()
            process.wait()
    per_s = report["counts"]["analysed"] / report["elapsed_s"]
    return PeerRun(name, round(per_s, 1), round(ours_per_s / per_s, 1) if per_s else None)


def _title(plan: Plan) -> str:
    rate = "as fast as answers come" if plan.rate_per_s is None else f"{plan.rate_per_s:g}/s"
    return f"{plan.encoding}, {plan.batch} a request, {rate}, {plan.seconds:g} s"


def _service(folder: Path, workers: int) -> RunningService:
    service = RunningService(folder, workers=workers, flags=("--gateway-rate-per-s", "0"))
    service.wait_until_ready()
    return service


def _run(service: RunningService, plan: Plan) -> IngestRun:
    _generate(service, msgspec.structs.replace(plan, seconds=2.0, rate_per_s=200.0, burst=False))
    before = _rows(service)
    cpu_s, began_s = service.cpu_s(), time.perf_counter()
    report = _generate(service, plan)
    spent_s = time.perf_counter() - began_s
    cpu_s = service.cpu_s() - cpu_s
    memory_mb = sum(map(_resident_mb, processes_under(service.process.pid)))
    counts = report["counts"]
    durable = _rows(service) - before
    generator_us = report["cpu_us_per_segment"] or 0.0
    return IngestRun(
        encoding=plan.encoding,
        batch=plan.batch,
        mode=report["mode"],
        offered_per_s=round(report["sent_per_s"], 1),
        durable_per_s=round(durable / report["elapsed_s"], 1),
        sent=counts["sent"],
        durable=durable,
        lost=max(counts["planned"] - durable, report["lost"]),
        p50_ms=report["latency_ms"]["p50"],
        p99_ms=report["latency_ms"]["p99"],
        max_ms=report["latency_ms"]["max"],
        cpu_us_per_segment=round(1e6 * cpu_s / max(durable, 1), 1),
        generator_us_per_segment=generator_us,
        cpu_share=round((cpu_s + 1e-6 * generator_us * durable) / (spent_s * (os.cpu_count() or 1)), 3),
        memory_mb=round(memory_mb, 1),
        recovered_s=_recovered_s(report, plan) if plan.burst else None,
    )


def _recovered_s(report: dict[str, Any], plan: Plan) -> float | None:
    """Seconds from the end of the burst until the median latency of a second is small."""
    end_s = plan.seconds / 3 + 10.0
    for second in report["timeline"]:
        if second["at_s"] >= end_s and (second["p50_ms"] or 0.0) < 100.0 and second["waiting"] < 200:
            return float(second["at_s"] - end_s)
    return None


def _rows(service: RunningService) -> int:
    connection = open_database(service.database).connect()
    try:
        with connection.reading() as statements:
            return int(statements.rows("SELECT COUNT(*) FROM segments WHERE status = 'analysed'")[0][0])
    finally:
        connection.close()


def _generate(service: RunningService, plan: Plan) -> dict[str, Any]:
    return _send(service.url, service.token(), plan)


def _send(url: str, token: str, plan: Plan) -> dict[str, Any]:
    """Run the generator as a process of its own; its report."""
    flags = ["--patients", str(plan.patients), "--duration", f"{plan.seconds:g}"]
    flags += ["--encoding", plan.encoding, "--batch", str(plan.batch), "--json"]
    flags += ["--connections", str(plan.connections)]
    flags += ["--closed"] if plan.rate_per_s is None else ["--rate", f"{plan.rate_per_s:g}"]
    if plan.burst:
        flags += ["--burst-at", f"{plan.seconds / 3:g}", "--burst-length", "10", "--burst-factor", "10"]
    done = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-m", "einthoven", "patients", "run", url, *flags],
        env={**os.environ, "EINTHOVEN_TOKEN": token},
        capture_output=True,
        check=False,
    )
    report: dict[str, Any] = json.loads(done.stdout.decode().strip().splitlines()[-1])
    return report


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def _listens(port: int, within_s: float) -> bool:
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            time.sleep(0.1)
        else:
            return True
    return False


def _resident_mb(process: int) -> float:
    try:
        pages = int((Path("/proc") / str(process) / "statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _put_in_force(service: RunningService, rules: AlertRules) -> None:
    connection = open_database(service.database).connect()
    try:
        with connection.writing() as statements:
            keys = signing_keys(service.folder)
            signed = sign(rules, account="bench", role="clinician", at_ns=0, keys=keys, key="1")
            alert_tables.add_rules(statements, signed)
    finally:
        connection.close()


class _Receiver:
    """Takes webhooks in a thread of its own and notes how old each alert was."""

    def __init__(self) -> None:
        self.ages_ms: list[float] = []
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/alerts"
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()
                return
            length = next(
                int(line.split(b":")[1])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length")
            )
            body = await reader.readexactly(length)
            now_s = time.time()
            data = json.loads(body)["data"]
            if data["kind"] == "alert" and data["what"] in {"raised", "reopened", "worsened"}:
                at = datetime.fromisoformat(data["at"]).timestamp()
                self.ages_ms.append(1000 * (now_s - at))
            writer.write(b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()

    def close(self) -> None:
        """Take no more."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
