"""Whose fault it is, where it happened, and what to do.

::

    EinthovenError
    ├─ CallerError              yours: what was given is wrong; retrying cannot help
    │  ├─ InputInvalid            a value breaks the contract (type, range, length, unit)
    │  ├─ RecordingNotFound       no recording at that path
    │  ├─ RecordingUnreadable     a file or payload that we refuse to guess about
    │  ├─ ReferenceRefused        a reference that points outside its store
    │  ├─ StateUnreadable         a patient state of another version, stream or function
    │  ├─ NotFound                nothing of that name, or nothing that you may see
    │  ├─ Conflict                it is there already, or something stands against it
    │  ├─ TokenInvalid            no token, or one that is unknown, expired or revoked
    │  ├─ AccessDenied            a valid token that may not do this
    │  ├─ DigestMismatch          content that is not what its digest says
    │  ├─ SequenceReused          a device's sequence number came again with other content
    │  ├─ AlertStepRefused        an alert in this state cannot take this step
    │  ├─ DestinationRefused      segments must not be sent there from here
    │  ├─ TooManyRuns             as many runs go on as this service does at once
    │  ├─ RulesRefused            alert rules that are unsigned, altered or out of turn
    │  ├─ KeyRefused              a key that is missing, unreadable, unknown or retired
    │  ├─ EnvelopeRefused         an encrypted payload that nobody here can open, or that was altered
    │  │  └─ EnvelopeReplayed       one that came before
    │  ├─ PolicyDenied            the data policy does not let this go there
    │  └─ ChainRefused            a chain does not take this from here
    │     ├─ WrongChain             it is another chain, or the contract is not there
    │     ├─ TransactionReverted    the contract refused, and said why
    │     └─ FundsMissing           the account cannot pay what it costs
    ├─ PeerError                theirs: something we depend on failed; retrying may help
    │  ├─ ObjectDamaged           a kept object is not what was written
    │  ├─ LedgerTampered          a ledger, or a part of it, is not what was signed
    │  ├─ StoreUnavailable        the object store did not take or give an object
    │  ├─ DestinationUnavailable  nobody takes connections where segments are to be sent
    │  ├─ DatabaseUnavailable     the database did not answer
    │  ├─ SolverFailed            the optimiser did not run, or gave no point
    │  ├─ ChainUnavailable        a chain did not answer, or did not take a transaction in time
    │  ├─ DeliveryFailed          a receiver did not take a notification
    │  └─ Overloaded              more work is waiting than fits; nothing was accepted
    │     └─ RateExceeded           one sender sends more than it may
    └─ DefectError              ours: an invariant broke; please report it
       └─ PlanRefuted             a plan that we made does not hold

Each error says what, where and the remedy, and carries the same facts as attributes, with a
machine-readable ``code``. Nothing in a message is a sample, a patient identifier or a token.
"""

from typing import Any, ClassVar, Literal

__all__ = [
    "AccessDenied",
    "AlertStepRefused",
    "CallerError",
    "ChainRefused",
    "ChainUnavailable",
    "Conflict",
    "DatabaseUnavailable",
    "DefectError",
    "DeliveryFailed",
    "DestinationRefused",
    "DestinationUnavailable",
    "DigestMismatch",
    "EinthovenError",
    "EnvelopeRefused",
    "EnvelopeReplayed",
    "Fault",
    "FundsMissing",
    "InputInvalid",
    "KeyRefused",
    "LedgerTampered",
    "NotFound",
    "ObjectDamaged",
    "Overloaded",
    "PeerError",
    "PlanRefuted",
    "PolicyDenied",
    "RateExceeded",
    "RecordingNotFound",
    "RecordingUnreadable",
    "ReferenceRefused",
    "RulesRefused",
    "SequenceReused",
    "SolverFailed",
    "StateUnreadable",
    "StoreUnavailable",
    "TokenInvalid",
    "TooManyRuns",
    "TransactionReverted",
    "WrongChain",
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


class NotFound(CallerError):
    """Nothing of that name, or nothing that you may see."""

    code: ClassVar[str] = "not-found"


class Conflict(CallerError):
    """It is there already, or something stands against it."""

    code: ClassVar[str] = "conflict"


class TokenInvalid(CallerError):
    """No token, or one that is unknown, expired or revoked."""

    code: ClassVar[str] = "token-invalid"


class AccessDenied(CallerError):
    """A valid token that may not do this."""

    code: ClassVar[str] = "access-denied"


class DigestMismatch(CallerError):
    """Content that is not what its digest says."""

    code: ClassVar[str] = "digest-mismatch"


class SequenceReused(CallerError):
    """A device's sequence number came again with other content."""

    code: ClassVar[str] = "sequence-reused"


class AlertStepRefused(CallerError):
    """The life cycle has no such step from the alert's state, or the step lacks what it needs."""

    code: ClassVar[str] = "alert-step-refused"


class RulesRefused(CallerError):
    """Alert rules that are unsigned, altered, signed by the wrong account or out of turn."""

    code: ClassVar[str] = "rules-refused"


class DestinationRefused(CallerError):
    """Segments must not be sent there from here."""

    code: ClassVar[str] = "destination-refused"


class TooManyRuns(CallerError):
    """As many runs go on as this service does at once."""

    code: ClassVar[str] = "too-many-runs"


class KeyRefused(CallerError):
    """A key that is missing, unreadable, unknown or retired."""

    code: ClassVar[str] = "key-refused"


class EnvelopeRefused(CallerError):
    """An encrypted payload that nobody here can open, or that was altered; which is not said."""

    code: ClassVar[str] = "envelope-refused"


class EnvelopeReplayed(EnvelopeRefused):
    """An encrypted payload whose sequence number was taken before, or is too old to tell."""

    code: ClassVar[str] = "envelope-replayed"


class PolicyDenied(CallerError):
    """The data policy does not let this go there."""

    code: ClassVar[str] = "policy-denied"


class ChainRefused(CallerError):
    """A chain does not take this from here."""

    code: ClassVar[str] = "chain-refused"


class WrongChain(ChainRefused):
    """It is another chain than the one that was named, or the contract is not on it."""

    code: ClassVar[str] = "wrong-chain"


class TransactionReverted(ChainRefused):
    """The contract refused a call; the sentence has its reason."""

    code: ClassVar[str] = "transaction-reverted"


class FundsMissing(ChainRefused):
    """The account cannot pay what a transaction may cost."""

    code: ClassVar[str] = "funds-missing"


class PeerError(EinthovenError):
    """Something we depend on failed; retrying may help."""

    fault: ClassVar[Fault] = "peer"
    code: ClassVar[str] = "peer"


class ObjectDamaged(PeerError):
    """A kept object, or a part of it, is not what was written; another copy may be."""

    code: ClassVar[str] = "object-damaged"


class LedgerTampered(PeerError):
    """A ledger, or a part of it, is not what was signed."""

    code: ClassVar[str] = "ledger-tampered"


class DestinationUnavailable(PeerError):
    """Nobody takes connections where segments are to be sent."""

    code: ClassVar[str] = "destination-unavailable"


class StoreUnavailable(PeerError):
    """The object store did not take or give an object."""

    code: ClassVar[str] = "store-unavailable"


class DatabaseUnavailable(PeerError):
    """The database did not answer."""

    code: ClassVar[str] = "database-unavailable"


class ChainUnavailable(PeerError):
    """A chain did not answer, or did not take a transaction in time."""

    code: ClassVar[str] = "chain-unavailable"


class SolverFailed(PeerError):
    """The optimiser did not run, or gave no point."""

    code: ClassVar[str] = "solver-failed"


class Overloaded(PeerError):
    """More work is waiting than fits; nothing of this was accepted."""

    code: ClassVar[str] = "overloaded"


class RateExceeded(Overloaded):
    """One sender sends more than it may; nothing of this was accepted."""

    code: ClassVar[str] = "rate-exceeded"


class DeliveryFailed(PeerError):
    """A receiver did not take a notification.

    Parameters
    ----------
    retry_after_s : how long the receiver asked us to wait, if it did
    is_permanent : it will never take it; trying again is no use
    """

    code: ClassVar[str] = "delivery-failed"

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        remedy: str = "",
        retry_after_s: float | None = None,
        is_permanent: bool = False,
    ) -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.retry_after_s = retry_after_s
        self.is_permanent = is_permanent

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors cross process borders whole."""
        facts = {"retry_after_s": self.retry_after_s, "is_permanent": self.is_permanent}
        return _rebuild, (type(self), self.what, self.where, self.remedy), facts


class DefectError(EinthovenError):
    """An invariant of ours broke; please report it."""

    code: ClassVar[str] = "defect"


class PlanRefuted(DefectError):
    """A plan that we made does not hold: a deadline or a capacity is exceeded."""

    code: ClassVar[str] = "plan-refuted"
