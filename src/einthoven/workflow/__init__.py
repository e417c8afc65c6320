"""AFCL, the language of workflows: its model, reader, printer and checker, and the execution of what it says.

Nothing in here does input or output, looks at a clock, or starts anything: an `Execution` takes events and
gives commands, and whoever drives it performs them.
"""

from einthoven.workflow.calling import FunctionType
from einthoven.workflow.checker import Checked, check, check_text
from einthoven.workflow.events import (
    Abandon,
    Break,
    Broke,
    Cancelled,
    Command,
    Done,
    Ended,
    Entry,
    Event,
    Failure,
    Foresee,
    Invoke,
    Record,
    Replied,
    Stage,
    Warn,
    Woken,
)
from einthoven.workflow.execution import Execution
from einthoven.workflow.flaws import CODES, Flaw, Place
from einthoven.workflow.model import Workflow
from einthoven.workflow.policy import Policy
from einthoven.workflow.printer import print_workflow
from einthoven.workflow.program import NotRunnable, Program, compile_workflow
from einthoven.workflow.reader import Reading, read

__all__ = [
    "CODES",
    "Abandon",
    "Break",
    "Broke",
    "Cancelled",
    "Checked",
    "Command",
    "Done",
    "Ended",
    "Entry",
    "Event",
    "Execution",
    "Failure",
    "Flaw",
    "Foresee",
    "FunctionType",
    "Invoke",
    "NotRunnable",
    "Place",
    "Policy",
    "Program",
    "Reading",
    "Record",
    "Replied",
    "Stage",
    "Warn",
    "Woken",
    "Workflow",
    "check",
    "check_text",
    "compile_workflow",
    "print_workflow",
    "read",
]
