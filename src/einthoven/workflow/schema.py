"""The form of a workflow as JSON Schema, for editors and for those who write workflows by program.

It says what `einthoven.workflow.reader` says in strict mode. What a text means (sources, distributions,
whether a producer is visible) no schema can say: that is the checker's affair.
"""

from typing import Any, Final

from einthoven.workflow.model import TYPES

__all__ = ["workflow_schema"]

_TEXT: Final = {"type": "string"}
_FLAG: Final = {"type": "boolean"}
_WORD_FLAG: Final = {"enum": ["true", "false"]}
_BODY: Final = {"$ref": "#/$defs/body"}
_SETTINGS: Final = {"properties": {"$ref": "#/$defs/settings"}, "constraints": {"$ref": "#/$defs/settings"}}
_NAME: Final = {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_.-]*$"}
_PORTS: Final = {
    "name": _NAME,
    "dataIns": {"type": "array", "items": {"$ref": "#/$defs/dataIn"}},
    "dataOuts": {"type": "array", "items": {"$ref": "#/$defs/dataOut"}},
    **_SETTINGS,
}
_LOOPS: Final = {"type": "array", "items": {"$ref": "#/$defs/dataLoop"}}
_COUNTER: Final = {"$ref": "#/$defs/loopCounter"}
_CONDITION: Final = {"$ref": "#/$defs/condition"}


def workflow_schema() -> dict[str, Any]:
    """A schema of draft 2020-12."""
    port = {"name": _NAME, "type": {"enum": list(TYPES)}, "passing": _FLAG, **_SETTINGS}
    sub_workflow = _object({**_PORTS, "subFCBody": _BODY}, "name", "subFCBody")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "AFCL workflow",
        **_object(
            {
                "name": _NAME,
                "subFCs": {"type": "array", "items": sub_workflow},
                "dataIns": _PORTS["dataIns"],
                "workflowBody": _BODY,
                "dataOuts": _PORTS["dataOuts"],
            },
            "name",
            "workflowBody",
        ),
        "$defs": {
            "body": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/construct"}},
            "settings": {"type": "array", "items": _object({"name": _TEXT, "value": _TEXT}, "name", "value")},
            "dataIn": _object({**port, "source": _TEXT, "value": _TEXT}, "name", "type"),
            "dataOut": _object({**port, "source": _TEXT, "saveto": _TEXT}, "name", "type"),
            "dataLoop": _object(
                {**port, "initSource": _TEXT, "value": _TEXT, "loopSource": _TEXT}, "name", "type"
            ),
            "loopCounter": _object(
                {"name": _NAME, "type": _TEXT, "from": _TEXT, "to": _TEXT, "step": _TEXT},
                "name",
                "type",
                "from",
                "to",
            ),
            "condition": _object(
                {
                    "combinedWith": _TEXT,
                    "conditions": {
                        "type": "array",
                        "items": _object(
                            {"data1": _TEXT, "data2": _TEXT, "operator": _TEXT, "negation": _WORD_FLAG},
                            "data1",
                            "data2",
                            "operator",
                        ),
                    },
                },
                "combinedWith",
                "conditions",
            ),
            "construct": {
                "type": "object",
                "minProperties": 1,
                "maxProperties": 1,
                "additionalProperties": False,
                "properties": _constructs(),
            },
        },
    }


def _constructs() -> dict[str, Any]:
    case = _object({"value": _TEXT, "break": _WORD_FLAG, "functions": _BODY}, "value", "functions")
    looked_at = _object({"name": _TEXT, "type": _TEXT, "source": _TEXT}, "name", "type", "source")
    section = _object({"section": _BODY}, "section")
    own: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
        "function": ({"type": _TEXT}, ("type",)),
        "sequence": ({"sequenceBody": _BODY}, ("sequenceBody",)),
        "if": ({"condition": _CONDITION, "then": _BODY, "else": _BODY}, ("condition", "then")),
        "switch": (
            {"dataEval": looked_at, "cases": _some(case), "default": _BODY},
            ("dataEval", "cases"),
        ),
        "for": (
            {"dataLoops": _LOOPS, "loopCounter": _COUNTER, "loopBody": _BODY},
            ("loopCounter", "loopBody"),
        ),
        "while": (
            {"dataLoops": _LOOPS, "condition": _CONDITION, "loopBody": _BODY},
            ("condition", "loopBody"),
        ),
        "parallel": ({"parallelBody": _some(section)}, ("parallelBody",)),
        "parallelFor": ({"loopCounter": _COUNTER, "loopBody": _BODY}, ("loopCounter", "loopBody")),
    }
    return {word: _object({**_PORTS, **keys}, "name", *needed) for word, (keys, needed) in own.items()}


def _object(keys: dict[str, Any], *needed: str) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": list(needed), "properties": keys}


def _some(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": item}
