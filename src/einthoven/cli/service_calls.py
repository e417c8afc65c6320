"""What the commands share that talk to a running service as somebody with a token."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from einthoven.clock import SystemClock
from einthoven.errors import InputInvalid
from einthoven.names import is_pseudonym
from einthoven.runtime.upload_client import Destination

__all__ = ["connected", "patient_path", "with_service"]

F = TypeVar("F", bound=Callable[..., Any])
_PATIENCE_S: Final = 10.0


def with_service(function: F) -> F:
    """Options that say which service, and who asks it."""
    function = click.option("--token", envvar="EINTHOVEN_TOKEN", hidden=True)(function)
    function = click.option(
        "--token-file",
        type=click.Path(path_type=Path, dir_okay=False, exists=True),
        help="File that holds the token of who asks; else EINTHOVEN_TOKEN.",
    )(function)
    return click.option(
        "--to", "url", required=True, envvar="EINTHOVEN_URL", show_envvar=True, help="The service."
    )(function)


@contextmanager
def connected(url: str, token_file: Path | None, token: str | None) -> Iterator[Destination]:
    """The service that the options name.

    Raises
    ------
    InputInvalid : no token, or no address.
    """
    secret = token_file.read_text().strip() if token_file else token
    if not secret:
        raise InputInvalid("there is no token.", where="--token-file", remedy="Set EINTHOVEN_TOKEN.")
    destination = Destination(url, secret, SystemClock(), patience_s=_PATIENCE_S)
    try:
        yield destination
    finally:
        destination.close()


def patient_path(patient: str, rest: str) -> str:
    """Where a patient's affairs are; raises InputInvalid if that is no pseudonym."""
    if not is_pseudonym(patient):
        raise InputInvalid("this is no pseudonym.", where="PATIENT", remedy="Never give a name.")
    return f"/v1/patients/{patient}/{rest}"
