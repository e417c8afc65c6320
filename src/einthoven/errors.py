"""Whose fault it is, where it happened, and what to do.

::

    EinthovenError
    ├─ CallerError              yours: what was given is wrong; retrying cannot help
    │  ├─ InputInvalid            a value breaks the contract (type, range, length, unit)
    │  ├─ RecordingNotFound       no recording at that path
    │  ├─ RecordingUnreadable     a file or payload that we refuse to guess about
    │  ├─ ReferenceRefused        a reference that points outside its store
    │  └─ StateUnreadable         a patient state of another version, stream or function
    ├─ PeerError                theirs: something we depend on failed; retrying may help
    │  ├─ ObjectDamaged           a kept object is not what was written
    │  └─ StoreUnavailable        the object store did not take or give an object
    └─ DefectError              ours: an invariant broke; please report it

Each error says what, where and the remedy, and carries the same facts as attributes, with a
machine-readable ``code``. Nothing in a message is a sample, a patient identifier or a token.
"""

from typing import Any, ClassVar, Literal

__all__ = [
    "CallerError",
    "DefectError",
    "EinthovenError",
    "Fault",
    "InputInvalid",
    "ObjectDamaged",
    "PeerError",
    "RecordingNotFound",
    "RecordingUnreadable",
    "ReferenceRefused",
    "StateUnreadable",
    "StoreUnavailable",
]

Fault = Literal["caller", "peer", "ours"]


class EinthovenError(Exception):
    """The root of every error that Einthoven raises on purpose.

    Parameters
    ----------
    what : one sentence, what is wrong
    where : the file, field or place; empty when there is none
    remedy : one sentence, what to do now
    """

    fault: ClassVar[Fault] = "ours"
    code: ClassVar[str] = "error"

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        super().__init__(what, where, remedy)

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        remedy = f" {self.remedy}" if self.remedy else ""
        return f"{place}{self.what}{remedy}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors cross process borders whole."""
        return _rebuild, (type(self), self.what, self.where, self.remedy)

    def as_dict(self) -> dict[str, str]:
        """The machine-readable form: code, fault, what, where, remedy."""
        return {
            "code": self.code,
            "fault": self.fault,
            "what": self.what,
            "where": self.where,
            "remedy": self.remedy,
        }


def _rebuild(kind: type[EinthovenError], what: str, where: str, remedy: str) -> EinthovenError:
    return kind(what, where=where, remedy=remedy)


class CallerError(EinthovenError):
    """What was given is wrong; retrying cannot help."""

    fault: ClassVar[Fault] = "caller"
    code: ClassVar[str] = "caller"


class InputInvalid(CallerError):
    """A value breaks its contract: type, range, length or unit."""

    code: ClassVar[str] = "input-invalid"


class RecordingNotFound(CallerError):
    """No recording at that path."""

    code: ClassVar[str] = "recording-not-found"


class RecordingUnreadable(CallerError):
    """A file or payload that we refuse to guess about: truncated, corrupt, unknown format."""

    code: ClassVar[str] = "recording-unreadable"


class ReferenceRefused(CallerError):
    """A reference that points outside its store, or is not a reference at all."""

    code: ClassVar[str] = "reference-refused"


class StateUnreadable(CallerError):
    """A patient state of another version, another stream or another function."""

    code: ClassVar[str] = "state-unreadable"


class PeerError(EinthovenError):
    """Something we depend on failed; retrying may help."""

    fault: ClassVar[Fault] = "peer"
    code: ClassVar[str] = "peer"


class ObjectDamaged(PeerError):
    """A kept object, or a part of it, is not what was written; another copy may be."""

    code: ClassVar[str] = "object-damaged"


class StoreUnavailable(PeerError):
    """The object store did not take or give an object."""

    code: ClassVar[str] = "store-unavailable"


class DefectError(EinthovenError):
    """An invariant of ours broke; please report it."""

    code: ClassVar[str] = "defect"
