"""Files of weights in the package: only the one that this version was released with is read."""

import hashlib
from importlib import resources

from einthoven.errors import DefectError

__all__ = ["shipped"]


def shipped(file: str, sha256: str) -> bytes:
    """Content of a file beside this module.

    Raises
    ------
    DefectError : it does not have the digest.
    """
    content = resources.files("einthoven.signal").joinpath(file).read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DefectError(
            "a file of weights does not have the digest that this version was released with.",
            where=file,
            remedy="Install Einthoven again.",
        )
    return content
