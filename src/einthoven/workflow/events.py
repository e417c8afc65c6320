"""What an execution is told and what it says: events in, commands out, and how invocations and runs end."""

from typing import Any, Literal

import msgspec

from einthoven.workflow.expressions import Resource

__all__ = [
    "Abandon",
    "Break",
    "Broke",
    "Cancelled",
    "Command",
    "Done",
    "Ended",
    "Entry",
    "Event",
    "Failure",
    "Foresee",
    "Handed",
    "Invoke",
    "Record",
    "Replied",
    "Stage",
    "Warn",
    "Woken",
]

Break = Literal["transport", "timeout", "throttled", "server", "refused", "payload", "function", "reply"]
"""Why an attempt failed: the way there, no answer in time, too many calls, the other end, a call that it
will never take, inputs that are too large to be sent, an ``error`` that the function itself gave, an answer
that is none."""


class Failure(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """Why something did not come to its end. The message names places and kinds, never values."""

    code: str
    path: str
    message: str
    broke: Break | None = None


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The outputs of an invocation, or of a run."""

    outputs: dict[str, Any]


Entry = Done | Failure
"""How an invocation ended; what is recorded of it."""


# -------------------------------------------------------------------- events


class Replied(msgspec.Struct, frozen=True):
    """An attempt gave an answer: whatever it is, it is looked at here."""

    call: int
    reply: Any


class Broke(msgspec.Struct, frozen=True):
    """An attempt failed."""

    call: int
    kind: Break
    message: str
    retry_after_s: float | None = None


class Woken(msgspec.Struct, frozen=True):
    """Time has passed."""


class Cancelled(msgspec.Struct, frozen=True):
    """Nobody wants it any more."""

    reason: str = "it was cancelled"


Event = Replied | Broke | Woken | Cancelled


# -------------------------------------------------------------------- commands


class Invoke(msgspec.Struct, frozen=True, kw_only=True):
    """Call a function."""

    call: int
    """Counts the attempts of this execution."""
    path: str
    """What is invoked: the same in every attempt, and after a restart."""
    key: str
    """For the other end: the same key is the same invocation."""
    type: str
    resource: Resource | None
    """None: the function type says where it is."""
    inputs: dict[str, Any]
    attempt: int
    stages: tuple["Stage", ...] = ()
    """Of a fused invocation: the functions, one after the other. Its inputs and outputs are then named
    ``stage/port``, and ``type`` says the stages' types, divided by +."""
    leaves: tuple[str, ...] = ()
    """Outputs that may be given as `einthoven.workflow.references.Referenced`."""
    comes: tuple[str, ...] = ()
    """Inputs in which there may be such."""


class Handed(msgspec.Struct, frozen=True):
    """What an earlier stage of the same invocation gave."""

    stage: str
    port: str
    segments: tuple[str, ...] = ()


class Stage(msgspec.Struct, frozen=True):
    """One function of a fused invocation."""

    name: str
    type: str
    inputs: tuple[tuple[str, Handed | None], ...]
    """By port; None: it is among the invocation's inputs."""
    outputs: tuple[tuple[str, str | None], ...]
    """Every port that it must give, and its type."""
    leaving: tuple[str, ...]
    """Those that the invocation gives."""


class Abandon(msgspec.Struct, frozen=True):
    """Nobody waits for this attempt any more; its answer will be ignored."""

    call: int


class Record(msgspec.Struct, frozen=True):
    """Keep how an invocation ended, in this order."""

    path: str
    entry: Entry


class Warn(msgspec.Struct, frozen=True):
    """Something was tolerated."""

    code: str
    path: str
    message: str


class Foresee(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an invocation that will come: whoever wants to may go ahead with it.

    Nothing depends on that. Said again and again while the elements of one of its inputs arise.
    """

    key: str
    """As the `Invoke` will have it."""
    type: str
    inputs: dict[str, Any]
    """All but the one that arises."""
    port: str
    """Its name."""
    first: int
    """Where the new elements stand in it."""
    values: tuple[Any, ...]


class Ended(msgspec.Struct, frozen=True):
    """The run is over."""

    entry: Entry


Command = Invoke | Abandon | Record | Warn | Foresee | Ended
