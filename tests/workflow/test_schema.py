"""The published JSON Schema says of the form what the reader says."""

import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from einthoven.workflow import print_workflow, read
from einthoven.workflow.schema import workflow_schema

PAGE = Path(__file__).parent.parent.parent / "docs" / "reference" / "workflow.schema.json"
VALIDATOR = jsonschema_rs.Draft202012Validator(workflow_schema())


def test_the_published_schema_is_that_of_the_program() -> None:
    content = json.dumps(workflow_schema(), indent=2) + "\n"
    if os.environ.get("EINTHOVEN_WRITE_DOCS"):
        PAGE.write_text(content)
    assert PAGE.read_text() == content
    jsonschema_rs.meta.validate(workflow_schema())


@pytest.mark.parametrize("name", ["batch.yaml", "near_real_time.yaml"])
def test_the_workflows_that_come_with_the_program_fit(name: str) -> None:
    text = files("einthoven.workflow").joinpath("ecg", name).read_text()
    VALIDATOR.validate(yaml.safe_load(text))
    workflow = read(text).workflow
    assert workflow is not None
    VALIDATOR.validate(yaml.safe_load(print_workflow(workflow)))


FUNCTION = {"name": "a", "type": "f", "dataIns": [{"name": "x", "type": "number", "value": "1"}]}


def document(body: Any = None, **more: Any) -> dict[str, Any]:
    return {"name": "w", "workflowBody": [{"function": FUNCTION}] if body is None else body, **more}


SOUND = [
    document(),
    document([{"sequence": {"name": "s", "sequenceBody": [{"function": FUNCTION}]}}]),
    document([{"parallel": {"name": "p", "parallelBody": [{"section": [{"function": FUNCTION}]}]}}]),
    document(dataOuts=[{"name": "y", "type": "number", "source": "a/y"}]),
]
BAD = [
    document([{"function": {**FUNCTION, "properties": [{"name": "services", "value": [{"name": "s3"}]}]}}]),
    {},
    document([]),
    document([{}]),
    document([{"function": FUNCTION, "sequence": {}}]),
    document([{"fuction": FUNCTION}]),
    document([{"function": {**FUNCTION, "nmae": "b"}}]),
    document([{"function": {"name": "a"}}]),
    document([{"function": {**FUNCTION, "dataIns": [{"name": "x", "type": "number", "value": 1}]}}]),
    document([{"function": {**FUNCTION, "dataIns": [{"name": "x"}]}}]),
    document([{"sequence": {"name": "s", "sequenceBody": []}}]),
    document([{"parallel": {"name": "p", "parallelBody": [{}]}}]),
    document(
        [
            {
                "for": {
                    "name": "l",
                    "loopBody": [{"function": FUNCTION}],
                    "loopCounter": {"from": "0", "to": "1"},
                }
            }
        ]
    ),
    document([{"if": {"name": "i", "then": [{"function": FUNCTION}], "condition": {"combinedWith": "and"}}}]),
    document(
        [
            {
                "switch": {
                    "name": "s",
                    "cases": [{"value": "1", "break": True, "functions": [{"function": FUNCTION}]}],
                }
            }
        ]
    ),
]


@pytest.mark.parametrize("what", SOUND)
def test_what_fits_is_read(what: dict[str, Any]) -> None:
    assert VALIDATOR.is_valid(what)
    assert read(yaml.safe_dump(what)).workflow is not None


@pytest.mark.parametrize("what", BAD)
def test_what_does_not_fit_is_not_read(what: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(what)
    assert read(yaml.safe_dump(what)).workflow is None
