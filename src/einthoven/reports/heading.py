"""Whose report it is, of what state, and who says so."""

from typing import Final, Literal

import msgspec

from einthoven.errors import InputInvalid

__all__ = ["Heading", "State"]

State = Literal["analysed", "finalised"]
"""Before a recording is analysed it is ready, and there is no report."""
_WORDS_MOST: Final = 4000


class Heading(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says of a recording; nothing of it is read from the file.

    Raises
    ------
    InputInvalid : a report that is finalised without anybody, or without a conclusion.
    """

    patient: str = ""
    """As it is to be printed."""
    recorder: str = ""
    indication: str = ""
    conclusion: str = ""
    by: str = ""
    """Who finalised it."""
    at: str = ""
    """When, as it is to be printed."""
    amends: str = ""
    """SHA-256 of the report that this one takes the place of."""
    version: int = 1

    def __post_init__(self) -> None:
        for name in ("patient", "recorder", "indication", "conclusion", "by", "at"):
            if len(getattr(self, name)) > _WORDS_MOST:
                raise InputInvalid(f"more than {_WORDS_MOST} characters.", where=name)
        if self.by and not self.conclusion.strip():
            raise InputInvalid(
                "a report is finalised with a conclusion.",
                where="conclusion",
                remedy="Say what was found, or leave out who finalises it.",
            )
        if bool(self.by) != bool(self.at):
            raise InputInvalid("who finalised a report and when are said together.", where="by")

    @property
    def state(self) -> State:
        """Finalised once somebody stands for it."""
        return "finalised" if self.by else "analysed"
