"""Which object store an address names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from einthoven.errors import InputInvalid
from einthoven.storage.objects import FolderStore, ObjectStore

__all__ = ["open_store"]

_REMOTE: Final = ("s3", "gs", "az", "abfs", "abfss", "memory")


def open_store(url: str, options: Mapping[str, str] | None = None) -> ObjectStore:
    """The store at an address like ``file:///var/lib/einthoven/objects`` or ``s3://bucket/folder``.

    Parameters
    ----------
    url : ``file``, ``s3``, ``gs``, ``az``, ``abfss`` or ``memory``; what has no scheme is a folder's path
    options : what the environment does not say, under the names that it has there: ``AWS_ACCESS_KEY_ID``,
        ``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION``, ``AWS_ENDPOINT_URL`` …, ``GOOGLE_…``, ``AZURE_…``

    Raises
    ------
    InputInvalid : not an address of a store, one that holds credentials, or the extra is not installed.
    """
    parts = urlsplit(url)
    if not parts.scheme and parts.path:
        return FolderStore(Path(url))
    if parts.scheme == "file" and parts.netloc in {"", "localhost"} and parts.path:
        return FolderStore(Path(unquote(parts.path)))
    if parts.scheme not in _REMOTE or (parts.scheme != "memory" and not parts.netloc):
        raise InputInvalid(
            "the address is not one of a store.",
            where="store",
            remedy="Give file:///folder, s3://bucket/folder, gs://…, az://… or memory:///.",
        )
    user, _, _ = parts.netloc.rpartition("@")
    if parts.query or parts.fragment or ":" in user or (user and not parts.scheme.startswith("abfs")):
        raise InputInvalid(
            "the address holds credentials or options.",
            where="store",
            remedy="Give them in the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and so on.",
        )
    try:
        from einthoven.storage.remote import RemoteStore  # noqa: PLC0415 - an extra
    except ImportError:
        raise InputInvalid(
            f"stores at {parts.scheme}:// need obstore, which is not installed.",
            where="store",
            remedy="Run: pip install 'einthoven[s3]'.",
        ) from None
    return RemoteStore(url, options or {})
