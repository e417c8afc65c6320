"""Which database a URL names."""

from pathlib import Path
from urllib.parse import urlsplit

from einthoven.errors import InputInvalid
from einthoven.storage.database import Database
from einthoven.storage.sqlite import SqliteDatabase

__all__ = ["open_database"]


def open_database(url: str) -> Database:
    """The database at ``sqlite:///path``, a bare path, or ``postgresql://…``.

    Raises
    ------
    InputInvalid : another scheme, or PostgreSQL without its extra.
    """
    scheme = urlsplit(url).scheme if "://" in url else "sqlite"
    if scheme == "sqlite":
        return SqliteDatabase(Path(url.removeprefix("sqlite://")))
    if scheme in ("postgresql", "postgres"):
        try:
            from einthoven.storage.postgresql import PostgresqlDatabase  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise InputInvalid(
                "PostgreSQL needs a driver that is not installed.",
                where="database",
                remedy="pip install 'einthoven[postgres]'",
            ) from error
        return PostgresqlDatabase(url)
    raise InputInvalid(
        f"the database's scheme is {scheme!r}.",
        where="database",
        remedy="Give a path, sqlite:///path, or postgresql://user@host/name.",
    )
