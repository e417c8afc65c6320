"""A workflow as it is written: the constructs of AFCL, each a frozen value.

Source: Ristov, Pedratscher, Fahringer, "AFCL: An Abstract Function Choreography Language for serverless
workflow specification", FGCS 114, 2021, doi 10.1016/j.future.2020.08.012, and the language as public
workflows use it. Texts stay as they are written (a source, a constant, a bound):
`einthoven.workflow.sources` and `einthoven.workflow.expressions` say what they mean,
`einthoven.workflow.checker` whether they make sense together.
"""

from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from einthoven.workflow.flaws import Path

__all__ = [
    "ASYNC_HANDLER",
    "KEYS",
    "TYPES",
    "Body",
    "Case",
    "Comparison",
    "Compound",
    "Condition",
    "Construct",
    "DataEval",
    "DataIn",
    "DataLoop",
    "DataOut",
    "For",
    "Function",
    "If",
    "LoopCounter",
    "Parallel",
    "ParallelFor",
    "PortType",
    "Sequence",
    "Setting",
    "SubWorkflow",
    "Switch",
    "While",
    "Workflow",
    "bodies_of",
    "constructs_in",
]

ASYNC_HANDLER: Final = "build-in:asyncHandler"
"""The function of the language that waits for asynchronous calls."""

PortType = Literal["string", "number", "boolean", "null", "object", "array", "collection", "file"]
TYPES: Final[tuple[PortType, ...]] = (
    "string",
    "number",
    "boolean",
    "null",
    "object",
    "array",
    "collection",
    "file",
)


class _Node(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Setting(_Node, frozen=True, kw_only=True):
    """A property (a hint) or a constraint (to be kept): both are a name and a text."""

    name: str
    value: str


class DataIn(_Node, frozen=True, kw_only=True):
    """What a construct is given."""

    name: str
    type: str
    source: str | None = None
    """Where it comes from: a reference, several, a URL; of the workflow the key of the input document."""
    value: str | None = None
    """A constant instead of a source."""
    passing: bool = False
    """Not sent to the function, only readable behind it."""
    properties: tuple[Setting, ...] = ()
    constraints: tuple[Setting, ...] = ()


class DataOut(_Node, frozen=True, kw_only=True):
    """What a construct gives."""

    name: str
    type: str
    source: str | None = None
    """Of a compound: which of its children's it is."""
    saveto: str | None = None
    passing: bool = False
    properties: tuple[Setting, ...] = ()
    constraints: tuple[Setting, ...] = ()


class DataLoop(_Node, frozen=True, kw_only=True):
    """What an iteration hands to the next."""

    name: str
    type: str
    init_source: str | None = None
    value: str | None = None
    loop_source: str | None = None
    passing: bool = False
    properties: tuple[Setting, ...] = ()
    constraints: tuple[Setting, ...] = ()


class LoopCounter(_Node, frozen=True, kw_only=True):
    """``begin`` inclusive, ``end`` exclusive; each a literal or a reference."""

    name: str | None = None
    type: str | None = None
    begin: str
    end: str
    step: str | None = None


class Comparison(_Node, frozen=True, kw_only=True):
    """One term of a condition."""

    data1: str
    data2: str
    operator: str
    negation: bool = False


class Condition(_Node, frozen=True, kw_only=True):
    """Terms, all or one of which must hold."""

    combined_with: str
    conditions: tuple[Comparison, ...]


class DataEval(_Node, frozen=True, kw_only=True):
    """What a switch looks at."""

    name: str
    type: str
    source: str


class _Construct(_Node, frozen=True, kw_only=True):
    name: str
    data_ins: tuple[DataIn, ...] = ()
    data_outs: tuple[DataOut, ...] = ()
    properties: tuple[Setting, ...] = ()
    constraints: tuple[Setting, ...] = ()


class Function(_Construct, frozen=True, kw_only=True):
    """One call of a function type, of a sub-workflow, or of a built-in."""

    type: str | None = None
    """None only where a lenient reader let it pass: it does nothing and returns nulls."""
    deployment: str | None = None


class Sequence(_Construct, frozen=True, kw_only=True):
    """One after the other, with ports of its own."""

    body: "Body"


class If(_Construct, frozen=True, kw_only=True):
    """One of two bodies, or none."""

    condition: Condition
    then: "Body"
    otherwise: "Body" = ()


class Case(_Node, frozen=True, kw_only=True):
    """One value of a switch and what it leads to."""

    value: str
    functions: "Body"
    breaks: bool = False


class Switch(_Construct, frozen=True, kw_only=True):
    """The bodies of all cases that are equal, up to one that breaks."""

    data_eval: DataEval
    cases: tuple[Case, ...]
    default: "Body" = ()


class For(_Construct, frozen=True, kw_only=True):
    """Iterations strictly one after the other."""

    counter: LoopCounter
    data_loops: tuple[DataLoop, ...] = ()
    body: "Body"


class While(_Construct, frozen=True, kw_only=True):
    """Iterations as long as a condition holds; it is tested before each."""

    condition: Condition
    data_loops: tuple[DataLoop, ...] = ()
    body: "Body"


class Parallel(_Construct, frozen=True, kw_only=True):
    """Sections side by side."""

    sections: tuple["Body", ...]


class ParallelFor(_Construct, frozen=True, kw_only=True):
    """Iterations side by side; results in the order of the counter."""

    counter: LoopCounter
    body: "Body"


Body = tuple["Construct", ...]
Compound = Sequence | If | Switch | For | While | Parallel | ParallelFor
Construct = Function | Compound


class SubWorkflow(_Construct, frozen=True, kw_only=True):
    """A procedure: a function whose type is its name calls it."""

    body: tuple[Construct, ...]


class Workflow(_Node, frozen=True, kw_only=True):
    """A whole document."""

    name: str
    sub_workflows: tuple[SubWorkflow, ...] = ()
    data_ins: tuple[DataIn, ...] = ()
    body: tuple[Construct, ...]
    data_outs: tuple[DataOut, ...] = ()


KEYS: Final[dict[type[Construct], str]] = {
    Function: "function",
    Sequence: "sequence",
    If: "if",
    Switch: "switch",
    For: "for",
    While: "while",
    Parallel: "parallel",
    ParallelFor: "parallelFor",
}
"""The word of the language for each construct."""


def bodies_of(construct: Construct) -> tuple[tuple[Path, Body], ...]:
    """The bodies of a construct as they are written, each with its path; a function has none."""
    match construct:
        case Function():
            return ()
        case Sequence():
            return ((("sequenceBody",), construct.body),)
        case If():
            then: tuple[Path, Body] = (("then",), construct.then)
            return (then, (("else",), construct.otherwise)) if construct.otherwise else (then,)
        case Switch():
            cases = [(("cases", k, "functions"), one.functions) for k, one in enumerate(construct.cases)]
            return (*cases, (("default",), construct.default)) if construct.default else tuple(cases)
        case Parallel():
            return tuple((("parallelBody", k, "section"), one) for k, one in enumerate(construct.sections))
        case For() | While() | ParallelFor():
            return ((("loopBody",), construct.body),)


def constructs_in(body: Body) -> Iterator[Construct]:
    """Every construct of a body, outer ones before those within them."""
    for construct in body:
        yield construct
        for _, inner in bodies_of(construct):
            yield from constructs_in(inner)
