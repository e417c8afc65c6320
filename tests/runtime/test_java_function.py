"""A function in Java between functions in Python: the example, federated."""

import asyncio
import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("aiohttp", reason="aiohttp is not installed (extra delivery)")

from einthoven.functions import Ecg, encode
from einthoven.functions.codec import decode_as
from einthoven.records import open_recording
from einthoven.runtime.ecg_functions import STAGES
from einthoven.runtime.hosted import Asked, Gave, Hosted, perform
from einthoven.runtime.http_region import HttpRegion
from einthoven.runtime.region_port import Call
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.testing.function_hosts import HOST_CHECKS, check_function_host

SOURCE = Path(__file__).parents[2] / "examples" / "java" / "BeatDetection.java"
BDC = "beatDetectionClassification"


@pytest.fixture(scope="module")
def java() -> Iterator[str]:
    """The URL of the example."""
    program = shutil.which("java")
    if program is None:
        pytest.skip("no java is installed: apt-get install default-jdk-headless")
    with subprocess.Popen([program, str(SOURCE), "0"], stdout=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().strip()
        if not url:
            pytest.skip("this java cannot run a single source file: it needs a JDK of 17 or later")
        yield url
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


async def _through(url: str | None, inputs: dict[str, Any]) -> dict[str, Any]:
    """The four functions, beat detection where it is said."""
    region = None if url is None else HttpRegion(url)
    try:
        for name in STAGES:
            content = json.dumps({"ecg": inputs["ecg"]}).encode()
            call = Call(function=name, content=content, encoding="json", key=f"java/{name}", timeout_s=20.0)
            if region is not None and name == BDC:
                answer = await region.invoke(call)
            else:
                answer = perform(Hosted(), call)
            inputs = msgspec.json.decode(answer.content)
    finally:
        if region is not None:
            await region.close()
    return inputs


def through(url: str | None, samples: np.ndarray, fs: float = 125.0, gain: float = 200.0) -> dict[str, Any]:
    ecg = Ecg(fs=fs, gain=gain, samples=samples.astype(np.int32))
    return asyncio.run(_through(url, {"ecg": json.loads(encode(Asked(ecg=ecg), "json"))["ecg"]}))


@pytest.mark.parametrize("check", HOST_CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_the_contract(java: str, check: Any) -> None:
    check_function_host(java, check)


@pytest.mark.parametrize("seed", range(5))
def test_it_finds_the_heart_rate_of_a_healthy_patient(java: str, seed: int) -> None:
    samples = VirtualPatient(seed, SCENES["healthy"]).read(0, 125 * 120)[0]
    ours, theirs = through(None, samples), through(java, samples)
    assert abs(theirs["summary"]["heartRate"] - ours["summary"]["heartRate"]) < 2
    assert theirs["ecg"]["versions"]["bdc"] == "java-1.0"
    assert theirs["ecg"]["cleaned"] == ours["ecg"]["cleaned"]
    assert theirs["alert"] == ours["alert"] is None


def test_positions_are_samples_of_the_recording(java: str, data: Path) -> None:
    """At 360 Hz, and in a real heart."""
    with open_recording(data / "mitdb" / "100") as source:
        counts = source.read(0, 360 * 60, 0)[0]
        gain = source.info.leads[0].gain
    ours, theirs = through(None, counts - 1024, 360.0, gain), through(java, counts - 1024, 360.0, gain)
    found = [np.array(one["ecg"]["findings"]["beats"]["positions"]) for one in (ours, theirs)]
    near = np.abs(found[0][:, None] - found[1][None, :]).min(axis=1)
    assert np.mean(near < 0.1 * 360) > 0.97
    assert abs(theirs["summary"]["heartRate"] - ours["summary"]["heartRate"]) < 2


def test_it_knows_none_of_messagepack_and_keeps_no_state(java: str) -> None:
    async def kind_of(encoding: Any, content: bytes) -> str:
        region = HttpRegion(java)
        call = Call(function=BDC, content=content, encoding=encoding, key="", timeout_s=5.0)
        try:
            await region.invoke(call)
        except Exception as error:  # noqa: BLE001 - looked at
            return str(getattr(error, "kind", error))
        finally:
            await region.close()
        return "answered"

    assert asyncio.run(kind_of("msgpack", b"\x80")) == "refused"
    content = encode(Asked(ecg=Ecg(samples=np.zeros(4, np.int32))), "msgpack")
    assert asyncio.run(kind_of("msgpack", content)) == "refused", "without the section that it needs"
    cleaned = perform(
        Hosted(), Call(function="preprocessing", content=content, encoding="msgpack", key="", timeout_s=9.0)
    )
    onward = encode(Asked(ecg=decode_as(cleaned.content, "msgpack", Gave).ecg), "msgpack")
    assert asyncio.run(kind_of("msgpack", onward)) == "answered", "it is sent JSON, and did not refuse it"
    assert asyncio.run(kind_of("json", b'{"ecg": {}, "state": "AAAA"}')) == "refused"
