"""A workflow as a tree of what runs after what, for whoever draws it."""

import msgspec

from einthoven.workflow.constraints import value_of
from einthoven.workflow.model import (
    KEYS,
    Body,
    Condition,
    Construct,
    For,
    Function,
    If,
    LoopCounter,
    Parallel,
    ParallelFor,
    Sequence,
    Switch,
    While,
    Workflow,
)

__all__ = ["Drawn", "tree_of"]


class Drawn(msgspec.Struct, frozen=True):
    """One node: a construct, or one of its bodies."""

    kind: str
    name: str
    detail: str = ""
    inner: tuple["Drawn", ...] = ()


def tree_of(workflow: Workflow) -> Drawn:
    """The whole workflow; sub-workflows come first."""
    subs = tuple(Drawn("sub-workflow", one.name, "", _body(one.body)) for one in workflow.sub_workflows)
    return Drawn("workflow", workflow.name, "", (*subs, *_body(workflow.body)))


def _body(body: Body) -> tuple[Drawn, ...]:
    return tuple(map(_construct, body))


def _construct(one: Construct) -> Drawn:
    kind = KEYS[type(one)]
    match one:
        case Function():
            return Drawn(kind, one.name, _call(one))
        case Sequence():
            return Drawn(kind, one.name, "one after the other", _body(one.body))
        case If():
            branches = [Drawn("then", "", "", _body(one.then))]
            if one.otherwise:
                branches.append(Drawn("else", "", "", _body(one.otherwise)))
            return Drawn(kind, one.name, _condition(one.condition), tuple(branches))
        case Switch():
            cases = [
                Drawn("case", case.value, "and no other" if case.breaks else "", _body(case.functions))
                for case in one.cases
            ]
            if one.default:
                cases.append(Drawn("default", "", "", _body(one.default)))
            return Drawn(kind, one.name, one.data_eval.source, tuple(cases))
        case For():
            return Drawn(kind, one.name, f"{_counter(one.counter)}, one after the other", _body(one.body))
        case While():
            return Drawn(kind, one.name, f"as long as {_condition(one.condition)}", _body(one.body))
        case Parallel():
            sections = tuple(
                Drawn("section", str(k), "", _body(section)) for k, section in enumerate(one.sections, 1)
            )
            return Drawn(kind, one.name, "side by side", sections)
        case ParallelFor():
            most = value_of(one.constraints, "concurrency")
            limit = f", at most {most}" if most else ""
            return Drawn(kind, one.name, f"{_counter(one.counter)}, side by side{limit}", _body(one.body))


def _call(one: Function) -> str:
    said = [one.type or "does nothing"]
    for name, word in (("FT-Retries", "retries"), ("C-maxRunningTime", "ms at most")):
        value = value_of(one.constraints, name)
        said += [] if value is None else [f"{value} {word}"]
    plans = sum(setting.name.startswith("FT-AltPlan-") for setting in one.constraints)
    said += [f"{plans} plans"] if plans else []
    said += ["asynchronous"] if (value_of(one.properties, "invoke-type") or "").upper() == "ASYNC" else []
    resource = value_of(one.properties, "resource")
    return ", ".join(said) + (f"  → {resource}" if resource else "")


def _counter(one: LoopCounter) -> str:
    step = f" by {one.step}" if one.step not in {None, "1"} else ""
    return f"{one.name or 'counter'} from {one.begin} to below {one.end}{step}"


def _condition(one: Condition) -> str:
    terms = (
        f"{'not ' if term.negation else ''}{term.data1} {term.operator} {term.data2}"
        for term in one.conditions
    )
    return f" {one.combined_with} ".join(terms)
