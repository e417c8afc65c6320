"""One run of a workflow: events in, commands out, no clock and no input or output of its own.

Whoever drives it performs the commands and says what came of them. What it does depends on the events and
on nothing else, and what comes out not even on their order. A run that was cut off is run again with what
was recorded (`known`): it passes by the invocations that have ended and goes on where nothing is known.

Tasks are what runs side by side, whatever it is (`einthoven.workflow.tasks`); constructs are what the
language makes of them (`einthoven.workflow.constructs`). Source: the execution rules of AFCL.
"""

from collections.abc import Mapping
from typing import Any

from einthoven.workflow.constructs import Constructs
from einthoven.workflow.events import Command, Entry, Event
from einthoven.workflow.invocations import Invocations
from einthoven.workflow.policy import Policy
from einthoven.workflow.program import Program
from einthoven.workflow.tasks import Tasks

__all__ = ["Execution"]


class Execution:
    """One run.

    Parameters
    ----------
    run : its name; invocations are known by it and their path.
    inputs : the input document.
    known : how invocations ended that were recorded before, by path.
    """

    def __init__(
        self,
        program: Program,
        run: str,
        inputs: Mapping[str, Any],
        *,
        known: Mapping[str, Entry] | None = None,
        policy: Policy | None = None,
    ) -> None:
        policy = policy or Policy()
        self._inputs = inputs
        self._tasks = Tasks()
        invocations = Invocations(self._tasks, run, known or {}, policy)
        self._constructs = Constructs(program, self._tasks, invocations, policy)

    @property
    def entry(self) -> Entry | None:
        """How the run ended; None as long as it has not."""
        return self._tasks.entry

    @property
    def wake_at_s(self) -> float | None:
        """When it wants `Woken`, should nothing happen before."""
        return self._tasks.wake_at_s

    def start(self, now_s: float) -> list[Command]:
        """Begin; times are seconds since 1970."""
        return self._tasks.start(self._constructs.main(self._inputs), now_s)

    def handle(self, event: Event, now_s: float) -> list[Command]:
        """What is to be done now; an answer that nobody waits for is ignored."""
        return self._tasks.handle(event, now_s)
