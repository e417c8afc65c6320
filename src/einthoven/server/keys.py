"""Keys under which alert rules are signed."""

import os
import secrets
from pathlib import Path

__all__ = ["signing_keys"]


def signing_keys(folder: Path) -> dict[str, bytes]:
    """Keys under which alert rules are signed; the first is made where there is none.

    On several machines the file ``signing.key`` in the data folder must be the same.
    """
    path = folder / "signing.key"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    else:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(32))
            file.flush()
            os.fsync(file.fileno())
    return {"1": path.read_bytes()}
