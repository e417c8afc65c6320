"""What things may be called: one pattern for each kind of name, wherever it is read, kept or shown."""

import re
from typing import Final

__all__ = ["ORGANISATION", "PSEUDONYM", "USER", "is_organisation", "is_pseudonym"]

ORGANISATION: Final = r"^[a-z0-9][a-z0-9-]{0,39}$"
"""An organisation; also a part of a path in the master dataset."""
USER: Final = r"^[a-z0-9][a-z0-9._-]{0,63}$"
"""A person who logs in."""
PSEUDONYM: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""A patient as the system knows them, or a device: no path, no address, no header can be made of it."""
_ORGANISATION: Final = re.compile(ORGANISATION)
_PSEUDONYM: Final = re.compile(PSEUDONYM)


def is_organisation(name: str) -> bool:
    """Whether an organisation may be called so."""
    return _ORGANISATION.fullmatch(name) is not None


def is_pseudonym(name: str) -> bool:
    """Whether a patient or a device may be called so."""
    return _PSEUDONYM.fullmatch(name) is not None
