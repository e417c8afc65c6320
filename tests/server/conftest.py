"""A running service for the tests of its routes."""

from collections.abc import Iterator

import pytest

from einthoven.storage import Database, open_database
from einthoven.testing.serving import Served, serving


@pytest.fixture
def served(database: Database) -> Iterator[Served]:
    """The service on each kind of database."""
    with serving(database) as running:
        yield running


@pytest.fixture(scope="module")
def sqlite_served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The service on SQLite, shared by a module's tests."""
    database = open_database(str(tmp_path_factory.mktemp("served") / "einthoven.db"))
    database.migrate()
    with serving(database) as running:
        yield running
