"""A running service for the tests of its routes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from einthoven.server.settings import Settings
from einthoven.storage import Database, open_database
from einthoven.testing.serving import Served, serving


@pytest.fixture
def served(database: Database, tmp_path: Path) -> Iterator[Served]:
    """The service on each kind of database."""
    with serving(database, settings=Settings(data_folder=str(tmp_path))) as running:
        yield running


@pytest.fixture(scope="module")
def sqlite_served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The service on SQLite, shared by a module's tests."""
    folder = tmp_path_factory.mktemp("served")
    database = open_database(str(folder / "einthoven.db"))
    database.migrate()
    with serving(database, settings=Settings(data_folder=str(folder))) as running:
        yield running
