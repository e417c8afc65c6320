"""What every test may ask for: the real recordings, and how hard to look."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "quick", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "thorough", deadline=None, max_examples=500, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("EINTHOVEN_EXAMPLES", "quick"))

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("EINTHOVEN_DATA", ROOT.parent / "shared" / "data")).resolve()


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real recordings."""
    if not (DATA / "mitdb" / "RECORDS").exists():
        pytest.skip(f"no recordings in {DATA}; set EINTHOVEN_DATA to a folder that holds mitdb, cudb, ...")
    return DATA


@contextlib.contextmanager
def running_destination(*words: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A little service in another process, and its port; see `destination.py`."""
    program = [sys.executable, str(ROOT / "tests" / "destination.py"), *words]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


@pytest.fixture(scope="session")
def destination() -> Iterator[str]:
    """The URL of a little service for all tests."""
    with running_destination() as (_, port):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def a_destination():
    """Starts one of one's own."""
    return running_destination
