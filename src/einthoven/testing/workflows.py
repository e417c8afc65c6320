"""Workflows run with plain functions and a virtual clock: for tests of workflows, ours and yours."""

import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from einthoven.simulation.enacting import Answer, Enactment, enact
from einthoven.workflow import (
    Break,
    Broke,
    Entry,
    Execution,
    Flaw,
    Invoke,
    Policy,
    Program,
    Replied,
    check_text,
    compile_workflow,
)
from einthoven.workflow.flaws import Mode

__all__ = ["Breakdown", "answers", "flaws_of", "program_of", "run_workflow"]


def flaws_of(text: str, mode: Mode = "strict", **options: Any) -> list[Flaw]:
    """What is wrong with a document, without the hints about what is merely unused."""
    found = check_text(textwrap.dedent(text), mode, **options).flaws
    return [one for one in found if one.code not in {"W603", "W606", "W607"}]


def program_of(text: str, *, lenient: bool = False) -> Program:
    """The program of a document that must be sound."""
    checked = check_text(textwrap.dedent(text), "lenient" if lenient else "strict")
    errors = [one.text("file") for one in checked.flaws if one.severity == "error"]
    if errors:
        raise AssertionError("\n".join(errors))
    return compile_workflow(checked, is_lenient=lenient)


Function = Callable[..., Any]


def answers(
    functions: Mapping[str, Function], after_s: float | Callable[[Invoke], float] = 0.0
) -> Callable[[Invoke], Answer]:
    """Answers of plain functions by their type; a raised `Breakdown` is a failed attempt."""

    def answer(invoke: Invoke) -> Answer:
        pause_s = after_s(invoke) if callable(after_s) else after_s
        try:
            reply = functions[invoke.type](**invoke.inputs)
        except Breakdown as broken:
            return Answer(pause_s, Broke(0, broken.kind, broken.message, broken.retry_after_s))
        return Answer(pause_s, Replied(0, reply))

    return answer


class Breakdown(Exception):
    """An attempt that fails."""

    def __init__(
        self, kind: Break = "server", message: str = "it broke", retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.kind, self.message, self.retry_after_s = kind, message, retry_after_s


def run_workflow(
    text: str | Program,
    functions: Mapping[str, Function],
    inputs: Mapping[str, Any] | None = None,
    *,
    after_s: float | Callable[[Invoke], float] = 0.0,
    lenient: bool = False,
    known: Mapping[str, Entry] | None = None,
    policy: Policy | None = None,
    **options: Any,
) -> Enactment:
    """Run a workflow with plain functions and a virtual clock."""
    program = text if isinstance(text, Program) else program_of(text, lenient=lenient)
    execution = Execution(program, "run", inputs or {}, known=known, policy=policy)
    return enact(execution, answers(functions, after_s), **options)
