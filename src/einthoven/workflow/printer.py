"""A workflow back as YAML: what is printed reads as the same workflow."""

from collections.abc import Iterable
from typing import Final

import yaml

from einthoven.workflow.model import (
    Comparison,
    Condition,
    Construct,
    DataIn,
    DataLoop,
    DataOut,
    For,
    Function,
    If,
    LoopCounter,
    Parallel,
    ParallelFor,
    Sequence,
    Setting,
    SubWorkflow,
    Switch,
    While,
    Workflow,
)

__all__ = ["print_workflow"]

_Items = Iterable[tuple[str, yaml.Node | None]]
_WIDTH: Final = 2**20
"""Lines are not folded: a source is easier to find in one."""


def print_workflow(workflow: Workflow) -> str:
    """The document; every text in double quotes, keys in the order of the language's description."""
    node = _mapping(
        [
            ("name", _text(workflow.name)),
            ("subFCs", _list(_sub_workflow(one) for one in workflow.sub_workflows)),
            ("dataIns", _list(map(_data_in, workflow.data_ins))),
            ("workflowBody", _body(workflow.body)),
            ("dataOuts", _list(map(_data_out, workflow.data_outs))),
        ]
    )
    return str(
        yaml.serialize(node, Dumper=yaml.SafeDumper, allow_unicode=True, width=_WIDTH, explicit_start=True)
    )


def _mapping(items: _Items) -> yaml.MappingNode:
    return yaml.MappingNode(
        "tag:yaml.org,2002:map",
        [(yaml.ScalarNode(_STR, key), node) for key, node in items if node is not None],
        flow_style=False,
    )


def _list(nodes: Iterable[yaml.Node]) -> yaml.SequenceNode | None:
    """None where nothing is in it: the key is left out."""
    found = list(nodes)
    return yaml.SequenceNode("tag:yaml.org,2002:seq", found, flow_style=False) if found else None


_STR: Final = "tag:yaml.org,2002:str"


def _text(text: str | None) -> yaml.ScalarNode | None:
    return None if text is None else yaml.ScalarNode(_STR, text, style='"')


def _flag(flag: bool) -> yaml.ScalarNode | None:
    return yaml.ScalarNode("tag:yaml.org,2002:bool", "true") if flag else None


def _settings(settings: tuple[Setting, ...]) -> yaml.SequenceNode | None:
    return _list(_mapping([("name", _text(one.name)), ("value", _text(one.value))]) for one in settings)


def _tail(one: Construct | SubWorkflow | DataIn | DataOut | DataLoop) -> _Items:
    return [("properties", _settings(one.properties)), ("constraints", _settings(one.constraints))]


def _data_in(one: DataIn) -> yaml.Node:
    return _mapping(
        [
            ("name", _text(one.name)),
            ("type", _text(one.type)),
            ("source", _text(one.source)),
            ("value", _text(one.value)),
            ("passing", _flag(one.passing)),
            *_tail(one),
        ]
    )


def _data_out(one: DataOut) -> yaml.Node:
    return _mapping(
        [
            ("name", _text(one.name)),
            ("type", _text(one.type)),
            ("source", _text(one.source)),
            ("saveto", _text(one.saveto)),
            ("passing", _flag(one.passing)),
            *_tail(one),
        ]
    )


def _data_loop(one: DataLoop) -> yaml.Node:
    return _mapping(
        [
            ("name", _text(one.name)),
            ("type", _text(one.type)),
            ("initSource", _text(one.init_source)),
            ("value", _text(one.value)),
            ("loopSource", _text(one.loop_source)),
            ("passing", _flag(one.passing)),
            *_tail(one),
        ]
    )


def _counter(one: LoopCounter) -> yaml.Node:
    return _mapping(
        [
            ("name", _text(one.name)),
            ("type", _text(one.type)),
            ("from", _text(one.begin)),
            ("to", _text(one.end)),
            ("step", _text(one.step)),
        ]
    )


def _condition(one: Condition) -> yaml.Node:
    terms = _list(map(_comparison, one.conditions))
    return _mapping(
        [
            ("combinedWith", _text(one.combined_with)),
            ("conditions", terms or yaml.SequenceNode("tag:yaml.org,2002:seq", [], flow_style=True)),
        ]
    )


def _comparison(one: Comparison) -> yaml.Node:
    return _mapping(
        [
            ("data1", _text(one.data1)),
            ("data2", _text(one.data2)),
            ("operator", _text(one.operator)),
            ("negation", _text("true") if one.negation else None),
        ]
    )


def _body(body: tuple[Construct, ...]) -> yaml.SequenceNode | None:
    return _list(map(_construct, body))


def _sub_workflow(one: SubWorkflow) -> yaml.Node:
    return _mapping(
        [
            ("name", _text(one.name)),
            ("dataIns", _list(map(_data_in, one.data_ins))),
            ("subFCBody", _body(one.body)),
            ("dataOuts", _list(map(_data_out, one.data_outs))),
            *_tail(one),
        ]
    )


def _construct(one: Construct) -> yaml.Node:
    key, own = _own(one)
    return _mapping(
        [
            (
                key,
                _mapping(
                    [
                        ("name", _text(one.name)),
                        *([("type", _text(one.type))] if isinstance(one, Function) else []),
                        ("dataIns", _list(map(_data_in, one.data_ins))),
                        *own,
                        ("dataOuts", _list(map(_data_out, one.data_outs))),
                        *_tail(one),
                    ]
                ),
            )
        ]
    )


def _own(one: Construct) -> tuple[str, _Items]:
    """The construct's word, and the keys that it alone has."""
    match one:
        case Function():
            return "function", [("deployment", _text(one.deployment))]
        case Sequence():
            return "sequence", [("sequenceBody", _body(one.body))]
        case If():
            return "if", [
                ("condition", _condition(one.condition)),
                ("then", _body(one.then)),
                ("else", _body(one.otherwise)),
            ]
        case Switch():
            return "switch", _switch(one)
        case For():
            loops = _list(map(_data_loop, one.data_loops))
            return "for", [
                ("dataLoops", loops),
                ("loopCounter", _counter(one.counter)),
                ("loopBody", _body(one.body)),
            ]
        case While():
            loops = _list(map(_data_loop, one.data_loops))
            return "while", [
                ("dataLoops", loops),
                ("condition", _condition(one.condition)),
                ("loopBody", _body(one.body)),
            ]
        case Parallel():
            sections = _list(_mapping([("section", _body(section))]) for section in one.sections)
            return "parallel", [("parallelBody", sections)]
        case ParallelFor():
            return "parallelFor", [
                ("loopCounter", _counter(one.counter)),
                ("loopBody", _body(one.body)),
            ]


def _switch(one: Switch) -> _Items:
    looked_at = one.data_eval
    return [
        (
            "dataEval",
            _mapping(
                [
                    ("name", _text(looked_at.name)),
                    ("type", _text(looked_at.type)),
                    ("source", _text(looked_at.source)),
                ]
            ),
        ),
        (
            "cases",
            _list(
                _mapping(
                    [
                        ("value", _text(case.value)),
                        ("break", _text("true") if case.breaks else None),
                        ("functions", _body(case.functions)),
                    ]
                )
                for case in one.cases
            ),
        ),
        ("default", _body(one.default)),
    ]
